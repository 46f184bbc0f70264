"""What the environment says: where things are, and as whom this process acts. The same rules as the zest program's."""

from __future__ import annotations

import os
from collections.abc import Mapping

# Longest token file that is read, bytes. A token has 37.
_TOKEN_BYTES_MAX = 16_384

_YES = ("1", "on", "yes", "true")

Environ = Mapping[str, str]


def is_true(value: str | None) -> bool:
    """Whether a variable says yes, as huggingface_hub understands it."""
    return value is not None and value.strip().lower() in _YES


def zest_cache(environ: Environ = os.environ) -> str:
    """Zest's own folder: ``ZEST_CACHE_DIR``, else ``zest`` in ``XDG_CACHE_HOME`` or ``~/.cache``."""
    return _folder(environ, "ZEST_CACHE_DIR") or os.path.join(_cache_home(environ), "zest")


def hf_home(environ: Environ = os.environ) -> str:
    """``HF_HOME``, else ``huggingface`` in ``XDG_CACHE_HOME`` or ``~/.cache``."""
    return _folder(environ, "HF_HOME") or os.path.join(_cache_home(environ), "huggingface")


def _cache_home(environ: Environ) -> str:
    return _folder(environ, "XDG_CACHE_HOME") or os.path.join(_home(environ), ".cache")


def hub_cache(environ: Environ = os.environ) -> str:
    """The cache of Hugging Face's tools."""
    named = _folder(environ, "HF_HUB_CACHE") or _folder(environ, "HUGGINGFACE_HUB_CACHE")
    return named or os.path.join(hf_home(environ), "hub")


def endpoint(environ: Environ = os.environ) -> str | None:
    """The Hub, if the environment names one."""
    return (environ.get("HF_ENDPOINT") or "").rstrip("/") or None


def token(wanted: str | bool | None, environ: Environ = os.environ) -> str:
    """The token to use, by ``snapshot_download``'s rules: a text is one, ``False`` is none, ``None`` and ``True`` are that of the
    environment or of ``hf auth login``. Empty for none."""
    if isinstance(wanted, str):
        return wanted
    if wanted is False or (wanted is None and is_true(environ.get("HF_HUB_DISABLE_IMPLICIT_TOKEN"))):
        return ""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        value = "".join((environ.get(name) or "").split())
        if value:
            return value
    path = _folder(environ, "HF_TOKEN_PATH") or os.path.join(hf_home(environ), "token")
    try:
        with open(path, "rb") as file:
            return file.read(_TOKEN_BYTES_MAX).decode("ascii", "ignore").strip()
    except OSError:
        return ""


def _home(environ: Environ) -> str:
    return environ.get("HOME") or environ.get("USERPROFILE") or "."


def _folder(environ: Environ, name: str) -> str | None:
    value = environ.get(name)
    return os.path.expandvars(os.path.expanduser(value)) if value else None
