"""What says whether to go on with a file: that the daemon receives something for it, and that the user has not interrupted."""

from __future__ import annotations

import gc
import os
import secrets
import sys
import threading
from collections.abc import Callable
from typing import Any, Union

from zest import _daemon
from zest._errors import ZestError
from zest._wire import Broken, Connection

# How long the daemon may take to say whether it receives any, seconds.
_SIGNS_S = 1.0


class Signs:
    """What the daemon receives for a file while none of it can be proven, asked for on a connection of its own."""

    def __init__(self, came: Callable[[int], None] | None) -> None:
        self.name = secrets.token_hex(16)
        self._came = came
        self._last = 0
        # Something has come.
        self.seen = False
        self._connection: Connection | None = None

    def ask(self) -> bool:
        """Whether anything has come since this was asked last."""
        try:
            if self._connection is None:
                self._connection = _daemon.connect(_SIGNS_S, interrupted)
            self._connection.patience = _SIGNS_S
            response = self._connection.ask("GET", f"/v1/reads/{self.name}")
            document = response.json() if response.status == 200 else None
        except (ZestError, Broken, OSError, ValueError):
            self.close()
            return False
        # A daemon that is older knows nothing of it.
        if not isinstance(document, dict) or not isinstance(document.get("signs"), int):
            self.close()
            return False
        last, self._last = self._last, document["signs"]
        bytes_came = document.get("bytes")
        if self._came is not None and isinstance(bytes_came, int) and bytes_came > 0:
            self._came(bytes_came)
        if self._last == last:
            return False
        self.seen = True
        return True

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


_Active = Union[BaseException, tuple[Any, Any, Any], None]

# How far back the exceptions of which one came while another was handled are followed.
_CHAIN_MAX = 16

# Until Python 3.12 a garbage collection can begin inside of `sys._current_exceptions`, which holds a lock of the interpreter's.
# What it takes away may need that lock, and the process stands still for good.
_COLLECTS = sys.version_info < (3, 12)

# Held while that is switched off.
_looking = threading.Lock()


# For each thread, which interruption its first download found: who downloads while one is being handled means it. Only the name of
# it, since the exception would keep all that it has gone through.
_found = threading.local()


def begin() -> None:
    """Says that a download begins in this thread."""
    if not hasattr(_found, "name"):
        _found.name = id(_interruption())


def interrupted() -> None:
    """Raises ``KeyboardInterrupt`` in a thread whose main thread is on its way out with one: it waits for its threads, and they
    for the network."""
    now = _interruption()
    if now is None:
        _found.name = id(None)
    elif id(now) != getattr(_found, "name", None):
        raise KeyboardInterrupt


def _interruption() -> BaseException | None:
    """The ``KeyboardInterrupt`` that the main thread handles, or in whose handling what it handles was raised."""
    main = threading.main_thread()
    if threading.current_thread() is main or main.ident is None:
        return None
    active = _handled().get(main.ident)
    if isinstance(active, tuple):
        active = active[1]
    for _ in range(_CHAIN_MAX):
        if active is None or isinstance(active, KeyboardInterrupt):
            return active
        active = active.__context__
    return None


def _handled() -> dict[int, _Active]:
    """What the threads handle."""
    look: Callable[[], dict[int, _Active]] | None = getattr(sys, "_current_exceptions", None)
    if look is None:
        return {}
    if not _COLLECTS:
        return look()
    with _looking:
        collects = gc.isenabled()
        gc.disable()
        try:
            return look()
        finally:
            if collects:
                gc.enable()


def _forget_lock() -> None:
    global _looking
    _looking = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_lock)
