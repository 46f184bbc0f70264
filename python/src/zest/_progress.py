"""The bars that huggingface_hub would show, fed by us. They appear when the first bytes have come: until then the original may
still do it all, with its own. Where it has two, one shows what came over the line, the other what is proven and in its place."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import Any

# Between two pictures of a bar, seconds: as often as hf_xet gives its.
_PICTURE_S = 0.1

# Longest name in a bar, as in huggingface_hub.
_NAME_MAX = 40


@dataclass
class _Report:
    """What hf_xet reports of a download, for the reporter of huggingface_hub."""

    total_bytes: int
    total_bytes_completed: int
    total_bytes_completion_rate: float | None
    total_transfer_bytes_completed: int
    total_transfer_bytes_completion_rate: float | None


class Bars:
    """The bars of one file.

    Args:
        hub: The module ``huggingface_hub.file_download``.
        name: As shown.
        total: Bytes.
        tqdm_class: The caller's kind of bar.
        outer: A bar of the caller's that is to be fed instead.
        show: Whether there are to be any.
        plain: As for a download without Xet.
    """

    def __init__(
        self,
        hub: Any,
        name: str,
        total: int | None,
        tqdm_class: Any,
        outer: Any,
        show: bool = True,
        plain: bool = False,
    ) -> None:
        self._hub = hub
        self._name = name if len(name) <= _NAME_MAX else f"{name[:_NAME_MAX]}(…)"
        self._total = total
        self._tqdm_class = tqdm_class
        self._outer = outer
        self._show = show
        self._plain = plain
        self._open = contextlib.ExitStack()
        self._reporter: Any = None
        self._bar: Any = None
        # What is in its place, what came over the line, and what the bars show of both.
        self._done = self._came = 0
        self._shown = self._shown_came = 0
        self._began, self._last = time.monotonic(), 0.0
        self._is_open = False

    @property
    def bar(self) -> Any:
        """The bar to hand on to the original, so that it opens none beside it; ``None`` if there is none."""
        return self._bar

    def add(self, count: int) -> None:
        """So many bytes are written."""
        self._done += count
        self._look()

    def came(self, count: int) -> None:
        """So many bytes in all have come over the line, of which some may still have to be proven."""
        self._came = max(self._came, count)
        self._look()

    def take_back(self) -> None:
        """The bytes so far do not count: the file begins anew."""
        self._picture()
        if self._bar is not None and self._shown:
            self._bar.update(-self._shown)
        back = getattr(self._bar, "update_transfer", None)
        if self._reporter is not None and callable(back) and self._shown_came:
            back(-self._shown_came)
        self._done = self._came = self._shown = self._shown_came = 0

    def close(self) -> None:
        """Closes what was opened here."""
        self._picture()
        self._open.close()

    def _look(self) -> None:
        now = time.monotonic()
        if not self._is_open:
            self._is_open = True
            if self._show:
                self._begin()
        if now - self._last >= _PICTURE_S or self._done == self._total:
            self._last = now
            self._picture()

    def _begin(self) -> None:
        level = self._hub.logger.getEffectiveLevel()
        Reporter = None if self._plain else _reporter()  # noqa: N806
        if Reporter is None:
            options: dict[str, Any] = {"tqdm_class": self._tqdm_class} if self._tqdm_class is not None else {}
            context = self._hub._get_progress_bar_context(
                desc=self._name,
                log_level=level,
                total=self._total,
                initial=0,
                name="huggingface_hub.http_get" if self._plain else "huggingface_hub.xet_get",
                _tqdm_bar=self._outer,
                **options,
            )
            self._bar = self._open.enter_context(context)
            return
        reporter = Reporter(
            reconstruction_desc=f"{self._name}: reconstructing file",
            transfer_desc=f"{self._name}: downloading bytes",
            total=self._total,
            log_level=level,
            name="huggingface_hub.xet_get",
            tqdm_class=self._tqdm_class,
            external_reconstruction_bar=self._outer,
        )
        self._reporter = self._open.enter_context(reporter)
        self._bar = reporter.reconstruction_bar

    def _picture(self) -> None:
        came = max(self._came, self._done)
        fresh, fresh_came = self._done - self._shown, came - self._shown_came
        self._shown, self._shown_came = self._done, came
        if self._bar is None or (fresh <= 0 and fresh_came <= 0):
            return
        if self._reporter is None:
            if fresh > 0:
                self._bar.update(fresh)
            return
        spent = time.monotonic() - self._began
        rates = (self._done / spent, came / spent) if spent > 0 else (None, None)
        self._reporter.update_progress(_Report(self._total or 0, self._done, rates[0], came, rates[1]), {})


def _reporter() -> Any:
    """What huggingface_hub shows a Xet download with, since 1.19."""
    try:
        from huggingface_hub.utils import _xet_progress_reporting as reporting
    except ImportError:
        return None
    return getattr(reporting, "XetDownloadProgressReporter", None)
