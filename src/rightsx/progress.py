"""Shows on a terminal how far long work is, or tells whoever asks.

Whatever may take more than a second has an argument `progress`: True draws a bar, False and None nothing, a class such as `tqdm`
is made into a bar of its own kind, and any other callable is told (done, total). `following` makes one kind of all of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from rightsx.errors import MisuseError

if TYPE_CHECKING:
    from collections.abc import Iterator

Step: TypeAlias = Callable[[int, int], object]
Progress: TypeAlias = bool | Callable[..., Any] | None


@contextmanager
def following(progress: Progress, title: str) -> Iterator[Step]:
    """Give a function of (done, total) to be called now and then; what is drawn is taken away at the end.

    `MisuseError` for anything but True, False, None and a callable.

    >>> with following(lambda done, total: print(f"{done} of {total}"), "work") as step:
    ...     step(3, 4)
    3 of 4
    """
    if progress is None or progress is False:
        yield _nothing
    elif progress is True or isinstance(progress, type):
        bar = Bar(title, shown=True) if progress is True else Bar(title, shown=True, kind=progress)
        try:
            yield bar.step
        finally:
            bar.close()
    elif callable(progress):
        yield progress
    else:
        raise MisuseError(f"progress was {progress!r}; True, False, a callable of (done, total) or a class as tqdm is due")


def _nothing(_done: int, _total: int) -> None:
    """Tell nobody."""


class Bar:
    """A progress bar on standard error: tqdm's where it is installed, else a line of percents.

    Nothing is drawn unless standard error is a terminal. A `kind` that somebody brings decides that by itself.
    """

    def __init__(self, title: str, *, shown: bool, kind: Callable[..., Any] | None = None) -> None:
        """Draw nothing yet: what ends within its first step needs no bar."""
        self._title = title
        self._kind = kind
        self._shown = kind is not None or (shown and sys.stderr.isatty())
        self._bar: Any = None

    def step(self, done: int, total: int, label: str = "") -> None:
        """Show that `done` of `total` steps are done."""
        if not self._shown:
            return
        if self._bar is None:
            self._bar = _make_bar(self._title, total) if self._kind is None else self._kind(total=total, desc=self._title)
        if label:
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
