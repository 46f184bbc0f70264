"""``ZEST=1``: hooks huggingface_hub when, and only when, it is imported.

Run at every start of the interpreter by ``zest.pth`` and ``zest.start``. It costs one look at the environment and, if that says
``ZEST=1``, one entry in ``sys.meta_path``; whatever else is needed is imported with huggingface_hub.
"""

from __future__ import annotations

import os
import sys

# As in __init__: importing typing costs more than all of this.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

# The modules that hold what is hooked.
HOOKED = ("huggingface_hub.file_download", "huggingface_hub.hf_file_system")


def run() -> None:
    """Begins, if ``ZEST`` says so. Never raises: a broken hook must not break an interpreter."""
    try:
        if os.environ.get("ZEST", "").strip().lower() in ("1", "on", "yes", "true"):
            watch()
    except Exception:  # noqa: BLE001, S110
        pass


def watch() -> None:
    """Hooks what is imported by now, and the rest when it is imported."""
    if not any(isinstance(finder, Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, Finder())
    for name in HOOKED:
        module = sys.modules.get(name)
        # One that is being imported right now is not whole.
        if module is not None and not getattr(getattr(module, "__spec__", None), "_initializing", False):
            _hook(module)


def unwatch() -> None:
    """Watches no more."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, Finder)]


def _hook(module: object) -> None:
    from zest import _hook as hook

    hook.install(module)


class Finder:
    """Lets the other finders find the two modules, and has a word with what they load."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in HOOKED:
            return None
        for finder in list(sys.meta_path):
            if isinstance(finder, Finder):
                continue
            find = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find(name, path, target) if find is not None else None
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader)  # type: ignore[assignment]
                return spec
        return None


class _Loader:
    """Another loader, with the hook set once the module has run."""

    def __init__(self, loader: object) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> object:
        return getattr(self._loader, name)

    def create_module(self, spec: object) -> object:
        return self._loader.create_module(spec)  # type: ignore[attr-defined]

    def exec_module(self, module: object) -> None:
        # Who looks at the module sees the loader that it really has.
        spec = module.__spec__  # type: ignore[attr-defined]
        spec.loader = module.__loader__ = self._loader  # type: ignore[attr-defined]
        self._loader.exec_module(module)  # type: ignore[attr-defined]
        try:
            _hook(module)
        except Exception:
            import logging

            logging.getLogger("zest").warning("huggingface_hub is not hooked", exc_info=True)
