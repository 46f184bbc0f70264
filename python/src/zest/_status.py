"""How the daemon does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


class Status(Mapping[str, Any]):
    """The daemon's status: a mapping with everything it says, and attributes for what is asked for most.

    The first seven attributes are keys that zest has always had. Without a daemon they are 0 or empty, and ``running`` is false.
    """

    def __init__(self, document: Mapping[str, Any] | None = None) -> None:
        self._document: dict[str, Any] = {"running": document is not None, **_NOTHING, **(document or {})}

    def __getitem__(self, key: str) -> Any:
        return self._document[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._document)

    def __len__(self) -> int:
        return len(self._document)

    def __repr__(self) -> str:
        if not self.running:
            return "Status(running=False)"
        return (
            f"Status(running=True, version={self.version!r}, pid={self.pid}, http_port={self.http_port}, bt_peers={self.bt_peers})"
        )

    @property
    def running(self) -> bool:
        """Whether there is a daemon."""
        return bool(self._document["running"])

    @property
    def version(self) -> str:
        """Its program's version."""
        return str(self._document["version"])

    @property
    def bt_peers(self) -> int:
        """Peers linked."""
        return int(self._document["bt_peers"])

    @property
    def chunks_served(self) -> int:
        """Chunks uploaded to peers."""
        return int(self._document["chunks_served"])

    @property
    def xorbs_cached(self) -> int:
        """Whole xorbs in the cache that zest 0.4 used."""
        return int(self._document["xorbs_cached"])

    @property
    def http_requests(self) -> int:
        """Requests that its API has had."""
        return int(self._document["http_requests"])

    @property
    def http_port(self) -> int:
        """Port of its API, 0 for none."""
        return int(self._document["http_port"])

    @property
    def bt_port(self) -> int:
        """Port for peers, 0 for none."""
        return int(self._document["bt_port"])

    @property
    def pid(self) -> int | None:
        """Its process."""
        pid = self._document.get("pid")
        return int(pid) if pid is not None else None

    @property
    def uptime_s(self) -> float:
        """Seconds since it began."""
        return float(self._document.get("uptime_s") or 0.0)

    @property
    def on_demand(self) -> bool:
        """Whether it was started by a program that needed it, and ends by itself when nobody needs it any more."""
        return bool(self._document.get("on_demand"))

    @property
    def pulls(self) -> list[dict[str, Any]]:
        """Pulls under way, and the last ones that ended."""
        return list(self._document.get("pulls") or [])


_NOTHING: dict[str, Any] = {
    "version": "",
    "bt_peers": 0,
    "chunks_served": 0,
    "xorbs_cached": 0,
    "http_requests": 0,
    "http_port": 0,
    "bt_port": 0,
}
