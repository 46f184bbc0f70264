"""The entry point of ``vllm.general_plugins``: vLLM calls it in each of its processes before it fetches anything."""

from __future__ import annotations

import os


def register() -> None:
    """Enables zest if ``ZEST=1`` or ``VLLM_PLUGINS`` names it; installing the package alone changes nothing."""
    named = [name.strip() for name in os.environ.get("VLLM_PLUGINS", "").split(",")]
    if "zest" in named or os.environ.get("ZEST", "").strip().lower() in ("1", "on", "yes", "true"):
        from zest import enable

        enable()
