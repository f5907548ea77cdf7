"""Draws small, sober charts as SVG text: scales, ticks, axes, steps, dots, stacked areas. No library, no file.

      y ticks   ┌─ top margin: unit of y, labels of marks ─┐
       1,000 ─  │             ╭───┐                        │      data ──Scale──► pixels
         500 ─  │     ╭───────┘   └──── a step line        │      integers in, text out
           0 ─  └──────────────────────────────────────────┘
                  5 Jan       19 Jan       2 Feb

A `Frame` is a plotting area with its two scales; it draws axes and turns data into the `d` of a path.
Nothing here has a colour: every element carries a class, and the page's style sheet says what it
looks like, so that one drawing serves a light and a dark page.

Invariants
- Output is a function of the data alone; numbers are written with one decimal, in one way.
- Ticks are round integers (1, 2 or 5 times a power of ten, never finer than 1), written with thousands
  separators; date ticks are midnights UTC with English month names, whatever the locale.
- Text from outside is escaped. There is no reference to anything outside the page.

Costs: O(points) text. Floats appear here and nowhere else in the demo: pixels are not money.
"""

from __future__ import annotations

import datetime as dt
import html
from typing import TYPE_CHECKING, Final, NamedTuple

from rightsx.protocol import DAY_NS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAY_STEPS: Final = (1, 2, 3, 5, 7, 10, 14, 21, 28, 56, 84, 182, 364, 728)
_MILLION: Final = 1_000_000
_EPOCH: Final = dt.date(1970, 1, 1)


class Scale(NamedTuple):
    """A straight map from data (lo … hi) to pixels (start … end)."""

    lo: int
    hi: int
    start: float
    end: float

    def at(self, value: float) -> float:
        """Give the pixel of a value; a value outside lies outside.

        >>> Scale(0, 10, 100, 0).at(4)
        60.0
        """
        return self.start + (value - self.lo) * (self.end - self.start) / max(1, self.hi - self.lo)


class Margins(NamedTuple):
    """Room around a plotting area, in pixels."""

    left: int = 62
    top: int = 34
    right: int = 14
    bottom: int = 26


# ── text ─────────────────────────────────────────────────────────────────────────────────────────


def pixel(value: float) -> str:
    """Write a coordinate with at most one decimal.

    >>> pixel(3.0), pixel(2.25), pixel(-0.01)
    ('3', '2.2', '0')
    """
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def element(tag: str, content: str = "", **attributes: str | float) -> str:
    """Write one element; `content` is markup, attributes are escaped, `class_` and `text_anchor` lose their underscores.

    >>> element("line", x1=1, class_="mark")
    '<line x1="1" class="mark"/>'
    """
    names = {name: name.rstrip("_").replace("_", "-") for name in attributes}
    names |= {"viewBox": "viewBox"}
    words = [f'{names[name]}="{value if isinstance(value, str) else pixel(value)}"' for name, value in _escaped(attributes)]
    head = " ".join([tag, *words])
    return f"<{head}>{content}</{tag}>" if content else f"<{head}/>"


def _escaped(attributes: dict[str, str | float]) -> list[tuple[str, str | float]]:
    return [(name, html.escape(value) if isinstance(value, str) else value) for name, value in attributes.items()]


def label(x: float, y: float, text: str, *, anchor: str = "start", class_: str = "label") -> str:
    """Write words at a place; `anchor` is start, middle or end."""
    return element("text", html.escape(text), x=x, y=y, text_anchor=anchor, class_=class_)


def drawing(width: int, height: int, parts: Iterable[str], *, title: str) -> str:
    """Put parts into one `svg` element that scales to its place; `title` is read aloud by screen readers."""
    content = element("title", html.escape(title)) + "".join(parts)
    return element("svg", content, viewBox=f"0 0 {width} {height}", role="img", class_="chart")


def day_text(time_ns: int) -> str:
    """Write a day as on an axis.

    >>> day_text(1_767_225_600_000_000_000)
    '1 Jan'
    """
    day = _EPOCH + dt.timedelta(days=time_ns // DAY_NS)
    return f"{day.day} {MONTHS[day.month - 1]}"


def moment_text(time_ns: int) -> str:
    """Write a day with its year and the time to the minute, UTC.

    >>> moment_text(1_767_225_600_000_000_000)
    '1 Jan 2026, 00:00'
    """
    minutes = time_ns % DAY_NS // 60_000_000_000
    year = (_EPOCH + dt.timedelta(days=time_ns // DAY_NS)).year
    return f"{day_text(time_ns)} {year}, {minutes // 60:02}:{minutes % 60:02}"


# ── ticks ────────────────────────────────────────────────────────────────────────────────────────


def ticks(hi: int, most: int, lo: int = 0) -> list[int]:
    """List round values from lo to at least hi: at most `most` steps of 1, 2 or 5 times a power of ten.

    The first is at or below lo, the last at or above hi.

    >>> ticks(1_234, 5), ticks(3, 5), ticks(0, 4)
    ([0, 500, 1000, 1500], [0, 1, 2, 3], [0, 1])
    """
    step = 1
    while True:
        for factor in (1, 2, 5):
            first, last = lo // (step * factor), -(-hi // (step * factor))
            if last - first <= most:
                return [k * step * factor for k in range(first, max(last, first + 1) + 1)]
        step *= 10


def day_ticks(start_ns: int, end_ns: int, most: int) -> list[int]:
    """List midnights between two moments, at most `most` + 1 of them, at equal distances from the first.

    >>> [day_text(t) for t in day_ticks(0, 20 * 86_400_000_000_000, 4)]
    ['1 Jan', '6 Jan', '11 Jan', '16 Jan', '21 Jan']
    """
    first, last = -(-start_ns // DAY_NS), end_ns // DAY_NS
    step = next((step for step in _DAY_STEPS if (last - first) // step <= most), _DAY_STEPS[-1])
    return [day * DAY_NS for day in range(first, last + 1, step)]


def unit_of(hi: int) -> tuple[int, str]:
    """Choose how an axis of minor units is written: (divisor, words); ticks stay integers.

    >>> unit_of(900), unit_of(50_000_000)
    ((1, 'minor units'), (1000000, 'million minor units'))
    """
    return (_MILLION, "million minor units") if hi >= 5 * _MILLION else (1, "minor units")


# ── a plotting area ──────────────────────────────────────────────────────────────────────────────


class Frame:
    """A plotting area of `width` × `height` pixels, margins included, with a scale for x and one for y.

    The y axis begins at its lowest tick and ends at its highest.
    """

    def __init__(
        self, width: int, height: int, xs: tuple[int, int], y_ticks: Sequence[int], margins: Margins | None = None
    ) -> None:
        """Lay the area out for x from xs[0] to xs[1]."""
        self.width, self.height = width, height
        self.margins = margins or Margins()
        self.left, self.right = self.margins.left, width - self.margins.right
        self.top, self.bottom = self.margins.top, height - self.margins.bottom
        self.x = Scale(xs[0], xs[1], self.left, self.right)
        self.y = Scale(y_ticks[0], y_ticks[-1], self.bottom, self.top)
        self.y_ticks = y_ticks

    def axes(self, x_ticks: Iterable[tuple[int, str]], *, y_name: str, divisor: int = 1, x_name: str = "") -> list[str]:
        """Draw grid, ticks and names: y's above its axis, x's at the right below."""
        parts = []
        for value in self.y_ticks:
            y = self.y.at(value)
            parts.append(
                element(
                    "path",
                    d=f"M{pixel(self.left)} {pixel(y)}H{pixel(self.right)}",
                    class_="axis" if value == self.y.lo else "grid",
                )
            )
            parts.append(label(self.left - 7, y + 4, f"{value // divisor:,}", anchor="end", class_="tick"))
        for value, text in x_ticks:
            x = self.x.at(value)
            parts.append(element("path", d=f"M{pixel(x)} {pixel(self.bottom)}v5", class_="axis"))
            anchor = "end" if x > self.right - 16 else "start" if x < self.left + 8 else "middle"
            parts.append(label(min(x, self.right), self.bottom + 18, text, anchor=anchor, class_="tick"))
        parts.append(label(2, 12, y_name, class_="unit"))
        if x_name:
            parts.append(label(self.right, self.bottom + 36, x_name, anchor="end", class_="unit"))
        return parts

    def days(self) -> list[tuple[int, str]]:
        """Choose date ticks that fit the width."""
        room = int((self.right - self.left) // 70)
        return [(time, day_text(time)) for time in day_ticks(self.x.lo, self.x.hi, max(2, room))]

    def point(self, x: int, y: int) -> str:
        """Write a data point as pixels."""
        return f"{pixel(self.x.at(x))} {pixel(self.y.at(y))}"

    def steps(self, points: Sequence[tuple[int, int]], end: int) -> str:
        """Write a step line that holds each y from its x on, the last until `end`."""
        parts = [f"M{self.point(*points[0])}"] if points else []
        parts += [f"H{pixel(self.x.at(x))}V{pixel(self.y.at(y))}" for x, y in points[1:]]
        return "".join([*parts, f"H{pixel(self.x.at(end))}"] if points else [])

    def line(self, points: Iterable[tuple[int, int]]) -> str:
        """Write a line from point to point."""
        return "M" + "L".join(self.point(x, y) for x, y in points)

    def dots(self, points: Iterable[tuple[int, int]]) -> str:
        """Write points as strokes of no length, which a round line cap makes dots; equal pixels once."""
        seen = dict.fromkeys(f"{self.x.at(x):.0f} {self.y.at(y):.0f}" for x, y in points)
        return "".join(f"M{spot}h0" for spot in seen)

    def band(self, xs: Sequence[int], lows: Sequence[int], highs: Sequence[int]) -> str:
        """Write the area between two lines over the same xs."""
        up = [self.point(x, y) for x, y in zip(xs, highs, strict=True)]
        down = [self.point(x, y) for x, y in zip(reversed(xs), reversed(lows), strict=True)]
        return "M" + "L".join(up + down) + "Z"

    def upright(self, x: int, text: str, *, row: int, anchor: str, class_: str = "mark") -> list[str]:
        """Mark a moment by a vertical line that rises to its words in row 0 or 1 of the top margin."""
        spot = self.x.at(x)
        y = 12 + 15 * row
        shift = {"end": -4, "start": 4}.get(anchor, 0)
        line = element("path", d=f"M{pixel(spot)} {pixel(y - 9)}V{pixel(self.bottom)}", class_=class_)
        return [line, label(spot + shift, y, text, anchor=anchor, class_=f"{class_}-text")]
