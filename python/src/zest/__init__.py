"""Hugging Face files from peers first, and through the Hub's CDN where peers lack them.

    import zest
    zest.enable()

From then on whatever uses ``huggingface_hub`` in this process and in its children asks the zest daemon of this machine first.
Caches, locks, return values and errors stay those of ``huggingface_hub``; if zest is missing, old, busy, dead or dying, its own
code runs within seconds. ``ZEST=1`` in the environment does the same without a line of code.

``pull``, ``status``, ``stop`` and ``Session`` speak to the daemon directly. This module costs nothing until one of its names is
used: the rest of the package is loaded then.
"""

from __future__ import annotations

# Type checkers take it for true. Importing typing takes longer than everything else that happens at the start of an interpreter.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from zest._daemon import start as start
    from zest._daemon import status as status
    from zest._daemon import stop as stop
    from zest._errors import AuthError as AuthError
    from zest._errors import DaemonError as DaemonError
    from zest._errors import DiskError as DiskError
    from zest._errors import Interrupted as Interrupted
    from zest._errors import NetworkError as NetworkError
    from zest._errors import NotFoundError as NotFoundError
    from zest._errors import PlaceError as PlaceError
    from zest._errors import UsageError as UsageError
    from zest._errors import VerifyError as VerifyError
    from zest._errors import ZestError as ZestError
    from zest._find import find_zest_bin as find_zest_bin
    from zest._hook import Counters as Counters
    from zest._hook import counters as counters
    from zest._hook import disable as disable
    from zest._hook import enable as enable
    from zest._hook import enabled as enabled
    from zest._hook import is_enabled as is_enabled
    from zest._session import Event as Event
    from zest._session import Progress as Progress
    from zest._session import Pull as Pull
    from zest._session import Session as Session
    from zest._session import pull as pull
    from zest._session import pull_async as pull_async
    from zest._status import Status as Status

    __version__: str

# Where each public name lives.
_HOMES = {
    "_daemon": ("start", "status", "stop"),
    "_errors": (
        "AuthError",
        "DaemonError",
        "DiskError",
        "Interrupted",
        "NetworkError",
        "NotFoundError",
        "PlaceError",
        "UsageError",
        "VerifyError",
        "ZestError",
    ),
    "_find": ("find_zest_bin",),
    "_hook": ("Counters", "counters", "disable", "enable", "enabled", "is_enabled"),
    "_session": ("Event", "Progress", "Pull", "Session", "pull", "pull_async"),
    "_status": ("Status",),
}

__all__ = [
    "AuthError",
    "Counters",
    "DaemonError",
    "DiskError",
    "Event",
    "Interrupted",
    "NetworkError",
    "NotFoundError",
    "PlaceError",
    "Progress",
    "Pull",
    "Session",
    "Status",
    "UsageError",
    "VerifyError",
    "ZestError",
    "__version__",
    "counters",
    "disable",
    "enable",
    "enabled",
    "find_zest_bin",
    "is_enabled",
    "pull",
    "pull_async",
    "start",
    "status",
    "stop",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("zest-transfer")
        except PackageNotFoundError:
            return "0+source"
    for home, names in _HOMES.items():
        if name in names:
            from importlib import import_module

            value = getattr(import_module(f"zest.{home}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'zest' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
