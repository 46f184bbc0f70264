"""Pulls through the daemon: one, several at once, with what happens to them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Union

from zest import _daemon, _env
from zest._errors import DaemonError, Interrupted, NetworkError, ZestError, of_document
from zest._wire import Broken

# Silence of a stream of events after which it is broken, seconds: three times the daemon's signs of life.
_SILENCE_S = 45.0

# Tries to open a broken stream of events again, and the pause before each, seconds.
_TRIES = 5
_AGAIN_S = 0.2

Paths = Union[str, "os.PathLike[str]"]
Patterns = Union[str, Sequence[str]]


@dataclass(frozen=True)
class Event:
    """Something that happened to a pull.

    Attributes:
        name: ``phase``, ``progress``, ``file``, ``notice``, ``out``, ``back``, ``paused``, ``resumed``, ``done``, ``failed``,
            or ``lost``: some were forgotten before they were asked for.
        pull: Number of the pull.
        data: All that is said of it.
        id: To go on from there.
    """

    name: str
    pull: int | None
    data: Mapping[str, Any]
    id: str | None = None


@dataclass(frozen=True)
class Progress:
    """How far a pull is. Bytes are of the files' content."""

    phase: str
    bytes_done: int
    bytes_total: int
    from_peers: int
    from_cdn: int
    from_disk: int
    files_done: int
    files_total: int
    peers: int

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Progress:
        """Of what an event says."""
        count = {name: int(data.get(name) or 0) for name in cls.__dataclass_fields__ if name != "phase"}
        return cls(phase=str(data.get("phase") or ""), **count)


class Pull:
    """A pull of a :class:`Session`."""

    def __init__(self, session: Session, id: int) -> None:  # noqa: A002
        self._session = session
        self.id = id

    def __repr__(self) -> str:
        return f"Pull({self.id})"

    def status(self) -> dict[str, Any]:
        """Its state: ``running``, ``paused``, ``done``, ``failed`` or ``cancelled``, ``progress``, and at its end ``report`` or
        ``failure``."""
        return dict(_daemon.request("GET", f"/v1/pulls/{self.id}"))

    def pause(self) -> None:
        """Lets it rest."""
        _daemon.request("POST", f"/v1/pulls/{self.id}/pause")

    def resume(self) -> None:
        """Lets it go on."""
        _daemon.request("POST", f"/v1/pulls/{self.id}/resume")

    def cancel(self) -> None:
        """Ends it. What is proven of its files is kept, and used by the next pull of them."""
        _daemon.request("POST", f"/v1/pulls/{self.id}/cancel")

    def events(self) -> Iterator[Event]:
        """What happens to it, from its beginning to its end."""
        return _events(f"/v1/pulls/{self.id}/events", None)

    def wait(self, on_event: Callable[[Event], None] | None = None) -> str:
        """Waits for its end.

        Args:
            on_event: Called with each event. What it raises ends the wait, not the pull.

        Returns:
            The folder of its files.

        Raises:
            ZestError: Of the kind of its failure.
        """
        for event in self.events():
            if on_event is not None:
                on_event(event)
            if event.name == "done":
                return str(event.data.get("path"))
            if event.name == "failed":
                raise of_document(event.data, "the pull failed")
        return self._ended()

    def _ended(self) -> str:
        status = self.status()
        if status.get("report"):
            return str(status["report"]["path"])
        if status.get("failure"):
            raise of_document(status["failure"], "the pull failed")
        raise DaemonError(f"the daemon forgot pull {self.id}")


class Session:
    """The daemon's pulls. It is started if it does not run.

    Sessions are cheap: one holds nothing open, and several threads may share it.
    """

    def pull(
        self,
        repo_id: str,
        revision: str | None = None,
        *,
        repo_type: str | None = None,
        allow_patterns: Patterns | None = None,
        ignore_patterns: Patterns | None = None,
        local_dir: Paths | None = None,
        cache_dir: Paths | None = None,
        token: str | bool | None = None,
        endpoint: str | None = None,
        force_download: bool = False,
        peers: Sequence[str] | None = None,
        policy: str | None = None,
        priority: str = "normal",
        dry_run: bool = False,
    ) -> Pull:
        """Begins a pull and does not wait for it. The arguments are those of :func:`zest.pull`.

        Args:
            force_download: Fetch even what is there.
            endpoint: The Hub, if not the one of ``HF_ENDPOINT``.
            priority: ``low``, ``normal`` or ``high``, among the daemon's pulls.
        """
        body: dict[str, Any] = {
            "repo": repo_id,
            "type": repo_type or "model",
            "revision": revision or "main",
            "include": _patterns(allow_patterns),
            "exclude": _patterns(ignore_patterns),
            "cache_dir": os.path.abspath(os.fspath(cache_dir) if cache_dir is not None else _env.hub_cache()),
            "local_dir": os.path.abspath(os.fspath(local_dir)) if local_dir is not None else None,
            "endpoint": endpoint or _env.endpoint(),
            "peers": list(peers or []),
            "priority": priority,
            "force": force_download,
            "dry_run": dry_run,
        }
        if policy is not None:
            body["policy"] = policy
        _daemon.ensure().close()
        # An empty one says that none is to be used: not the daemon's own either.
        state = _daemon.request("POST", "/v1/pull", body, {"X-HF-Token": _env.token(token)})
        return Pull(self, int(state["id"]))

    def pulls(self) -> list[Pull]:
        """Those under way, and those that ended and were not forgotten."""
        return [Pull(self, int(state["id"])) for state in _daemon.request("GET", "/v1/pulls")]

    def events(self, after: str | None = None) -> Iterator[Event]:
        """What happens to all pulls, from now on. It does not end by itself.

        Args:
            after: The id of the last event that is known: what came after it is told first.
        """
        return _events("/v1/events", after)

    def models(self) -> list[dict[str, Any]]:
        """What lies in the cache, by commit: ``name``, ``type``, ``commit``, ``files``, ``bytes`` and whether it is shared."""
        return list(_daemon.request("GET", "/v1/models"))


def pull(
    repo_id: str,
    revision: str | None = None,
    *,
    repo_type: str | None = None,
    allow_patterns: Patterns | None = None,
    ignore_patterns: Patterns | None = None,
    local_dir: Paths | None = None,
    cache_dir: Paths | None = None,
    token: str | bool | None = None,
    peers: Sequence[str] | None = None,
    policy: str | None = None,
    progress: bool | Callable[[Progress], None] = True,
    dry_run: bool = False,
) -> str:
    """Fetches a repository, or some of its files, as ``huggingface_hub.snapshot_download`` does: into the same cache, from peers
    first. The daemon is started if it does not run. Ctrl-C cancels the pull; what is proven is kept.

    Args:
        repo_id: ``ORG/NAME``.
        revision: Branch, tag or commit. ``main`` without one.
        repo_type: ``model``, ``dataset`` or ``space``.
        allow_patterns: Files to take; ``*`` also matches ``/``.
        ignore_patterns: Files to leave out.
        local_dir: Put the files at their paths in this folder instead of the cache.
        cache_dir: The cache, if not the usual one.
        token: A token; ``False`` for none; else that of the environment or of ``hf auth login``.
        peers: ``HOST:PORT`` of machines to ask first.
        policy: How the Hub's CDN is used beside peers: ``fastest`` or ``spare-origin``; without one as the daemon does.
        progress: Show a bar on standard error, or be called about ten times a second.
        dry_run: Fetch nothing; only see that everything is there.

    Returns:
        The folder of the snapshot, or ``local_dir``.

    Raises:
        ZestError: Of its kind.
    """
    begun = Session().pull(
        repo_id,
        revision,
        repo_type=repo_type,
        allow_patterns=allow_patterns,
        ignore_patterns=ignore_patterns,
        local_dir=local_dir,
        cache_dir=cache_dir,
        token=token,
        peers=peers,
        policy=policy,
        dry_run=dry_run,
    )
    with _cancelled_with_us(begun), _shown(repo_id, progress) as show:
        return begun.wait(show)


async def pull_async(
    repo_id: str,
    revision: str | None = None,
    *,
    repo_type: str | None = None,
    allow_patterns: Patterns | None = None,
    ignore_patterns: Patterns | None = None,
    local_dir: Paths | None = None,
    cache_dir: Paths | None = None,
    token: str | bool | None = None,
    peers: Sequence[str] | None = None,
    policy: str | None = None,
    progress: bool | Callable[[Progress], None] = True,
    dry_run: bool = False,
) -> str:
    """As :func:`pull`, for asyncio. Cancelling the task cancels the pull. ``progress`` is called in another thread."""
    begun: list[Pull] = []
    given_up = threading.Event()

    def work() -> str:
        session = Session()
        one = session.pull(
            repo_id,
            revision,
            repo_type=repo_type,
            allow_patterns=allow_patterns,
            ignore_patterns=ignore_patterns,
            local_dir=local_dir,
            cache_dir=cache_dir,
            token=token,
            peers=peers,
            policy=policy,
            dry_run=dry_run,
        )
        begun.append(one)
        with _cancelled_with_us(one), _shown(repo_id, progress) as show:

            def see(event: Event) -> None:
                if given_up.is_set() and event.name not in ("done", "failed"):
                    raise Interrupted("cancelled")
                show(event)

            return one.wait(see)

    loop = asyncio.get_running_loop()
    working = loop.run_in_executor(None, work)
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        given_up.set()
        # Its exception, if any, is nobody's any more.
        working.add_done_callback(lambda future: future.cancelled() or future.exception())
        for one in begun:
            with contextlib.suppress(ZestError):
                await loop.run_in_executor(None, one.cancel)
        raise


@contextlib.contextmanager
def _cancelled_with_us(begun: Pull) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        # One that failed has ended; one whose daemon is gone cannot be told.
        if not isinstance(error, ZestError) or isinstance(error, Interrupted):
            with contextlib.suppress(ZestError):
                begun.cancel()
        raise


def _patterns(given: Patterns | None) -> list[str]:
    if given is None:
        return []
    return [given] if isinstance(given, str) else list(given)


def _events(target: str, after: str | None) -> Iterator[Event]:
    """A stream of events, opened again where it breaks."""
    tries = 0
    while True:
        try:
            connection = _daemon.connect()
            with contextlib.closing(connection):
                connection.patience = _SILENCE_S
                headers = {"Accept": "text/event-stream", **({"Last-Event-ID": after} if after else {})}
                response = connection.ask("GET", target, None, headers)
                if response.status == 204:
                    return
                if response.status != 200:
                    _daemon.answer_of(response)
                for event in _parsed(response.lines()):
                    tries, after = 0, event.id or after
                    yield event
                    if event.name in ("done", "failed") and target != "/v1/events":
                        return
        except (Broken, DaemonError) as error:
            if tries >= _TRIES:
                raise NetworkError(f"the daemon is gone: {error}", hint="the next one goes on with the pull") from error
        tries += 1
        time.sleep(_AGAIN_S)


def _parsed(lines: Iterator[str]) -> Iterator[Event]:
    """Events of ``text/event-stream``."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            if name:
                value = value[1:] if value.startswith(" ") else value
                fields[name] = f"{fields[name]}\n{value}" if name == "data" and name in fields else value
            continue
        text = fields.get("data")
        if text is not None:
            with contextlib.suppress(ValueError):
                data = json.loads(text)
                if isinstance(data, dict):
                    name = str(data.get("event") or fields.get("event") or "message")
                    number = data.get("pull")
                    yield Event(name, int(number) if number is not None else None, data, fields.get("id"))
        fields = {}


@contextlib.contextmanager
def _shown(label: str, progress: bool | Callable[[Progress], None]) -> Iterator[Callable[[Event], None]]:
    """What to do with each event: a call, a bar, or nothing."""
    if callable(progress):
        call = progress

        def tell(event: Event) -> None:
            if event.name == "progress":
                call(Progress.of(event.data))

        yield tell
        return
    bar: Any = _bar(label) if progress else None
    try:
        yield (lambda event: _draw(bar, event)) if bar is not None else (lambda event: None)
    finally:
        if bar is not None:
            bar.close()


def _bar(label: str) -> Any:
    """A bar for terminals and notebooks, where tqdm is there; without it, a line on a terminal."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return _Line(label) if sys.stderr.isatty() else None
    return tqdm(desc=label, unit="B", unit_scale=True, total=0, disable=None)


class _Line:
    """One line that is written anew."""

    def __init__(self, label: str) -> None:
        self._label = label
        self.n = 0
        self.total = 0

    def set_postfix_str(self, text: str, refresh: bool = True) -> None:
        share = 100 * self.n // self.total if self.total else 0
        sys.stderr.write(f"\r{self._label}: {share:3d} % of {self.total / 1e6:,.1f} MB, {text}\033[K")
        sys.stderr.flush()

    def update(self, count: int) -> None:
        self.n += count

    def close(self) -> None:
        sys.stderr.write("\n")


def _draw(bar: Any, event: Event) -> None:
    if event.name != "progress":
        return
    now = Progress.of(event.data)
    bar.total = max(now.bytes_total, now.bytes_done)
    bar.update(now.bytes_done - bar.n)
    bar.set_postfix_str(_split(now))


def _split(now: Progress) -> str:
    """Where the bytes came from. Peers that are linked are not those that gave: some may have nothing that is missing."""
    linked = f"; {now.peers} peer{'' if now.peers == 1 else 's'} linked" if now.peers else ""
    return f"peers {now.from_peers / 1e6:,.1f} MB, CDN {now.from_cdn / 1e6:,.1f} MB{linked}"
