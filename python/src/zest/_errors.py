"""What can go wrong, by kind: the words of the daemon's API and of the program's exit codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ZestError(Exception):
    """Something did not work.

    Attributes:
        kind: A word: ``usage``, ``auth``, ``not-found``, ``network``, ``verify``, ``disk``, ``place``, ``interrupted``,
            ``daemon`` or ``other``.
        hint: What the user can do next, if there is something.
        files: Files that could not be had where the others are in place, each with ``path``, ``kind`` and ``message``.
        retry_after: For how many seconds a server asked to be left alone.
    """

    kind = "other"

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        files: list[dict[str, str]] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.hint = hint
        self.files = files or []
        self.retry_after = retry_after

    def __str__(self) -> str:
        text = super().__str__()
        return f"{text} ({self.hint})" if self.hint else text


class UsageError(ZestError):
    """What was asked for makes no sense."""

    kind = "usage"


class AuthError(ZestError):
    """The Hub refuses: the repository is gated, or the token is wrong."""

    kind = "auth"


class NotFoundError(ZestError):
    """There is no such repository, revision or file; without a token the Hub says so of a private one, too."""

    kind = "not-found"


class NetworkError(ZestError):
    """Neither peers nor the Hub could be reached, or they failed."""

    kind = "network"


class VerifyError(ZestError):
    """Bytes were not what the Hub says they are, and no others could be had."""

    kind = "verify"


class DiskError(ZestError):
    """The disk is full, or a file cannot be written."""

    kind = "disk"


class PlaceError(ZestError):
    """Something else is at the place where a file should go."""

    kind = "place"


class Interrupted(ZestError):
    """It was cancelled."""

    kind = "interrupted"


class DaemonError(ZestError):
    """There is no daemon, it cannot be started, or it does not answer."""

    kind = "daemon"


_BY_KIND: dict[str, type[ZestError]] = {
    kind.kind: kind
    for kind in (
        UsageError,
        AuthError,
        NotFoundError,
        NetworkError,
        VerifyError,
        DiskError,
        PlaceError,
        Interrupted,
        DaemonError,
    )
}


def of_document(document: Any, otherwise: str) -> ZestError:
    """The error that the daemon's ``{"kind", "message", "hint"}`` stands for."""
    fields: Mapping[str, Any] = document if isinstance(document, Mapping) else {}
    kind = _BY_KIND.get(str(fields.get("kind")), ZestError)
    hint, files, wait = fields.get("hint"), fields.get("files"), fields.get("retry_after_s")
    return kind(
        str(fields.get("message") or otherwise),
        hint=str(hint) if hint else None,
        files=files if isinstance(files, list) else None,
        retry_after=float(wait) if isinstance(wait, (int, float)) else None,
    )
