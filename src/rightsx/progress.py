"""Shows on a terminal how far long work is."""

from __future__ import annotations

import sys
from typing import Any


class Bar:
    """A progress bar on standard error: tqdm's where it is installed, else a line of percents.

    Nothing is drawn unless standard error is a terminal.
    """

    def __init__(self, title: str, *, shown: bool) -> None:
        """Draw nothing yet: what ends within its first step needs no bar."""
        self._title = title
        self._shown = shown and sys.stderr.isatty()
        self._bar: Any = None

    def step(self, done: int, total: int, label: str = "") -> None:
        """Show that `done` of `total` steps are done."""
        if not self._shown:
            return
        if self._bar is None:
            self._bar = _make_bar(self._title, total)
        self._bar.set_postfix_str(label, refresh=False)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.close()


class _PlainBar:
    """A line of percents, for where tqdm is not installed."""

    def __init__(self, title: str, total: int) -> None:
        self.n = 0
        self._title, self._total, self._label = title, total, ""

    def set_postfix_str(self, label: str, **_: bool) -> None:
        self._label = label

    def update(self, steps: int) -> None:
        self.n += steps
        percent = 100 * self.n // max(1, self._total)
        print(f"\r{self._title}: {percent:3d} % {self._label:<40.40}", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        print(file=sys.stderr)


def _make_bar(title: str, total: int) -> Any:
    try:
        from tqdm import tqdm  # noqa: PLC0415
    except ImportError:
        return _PlainBar(title, total)
    return tqdm(total=total, desc=title, file=sys.stderr, dynamic_ncols=True, leave=False)
