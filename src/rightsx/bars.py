"""Bars of trades: by time, by number of trades, by volume.

    TRADE[n] ─► series by series ─► cut ─┬─ every="1h"     where a span of the clock begins (UTC)
                                         ├─ trades=100     after so many
                                         └─ volume=5_000   with the trade by which so many units were traded
                                         └─► BAR[k]: open, high, low, close, volume, VWAP, value, discount

A bar has trades: a span without any has no bar. No trade is divided, so a bar by volume may have more than was asked for, and
the last bar of a series has what is left. Bars are in order of series, then of time.

Costs: some NumPy passes over the trades, O(n log n) where several series are mixed; by volume also O(k log n).
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from rightsx.border import span_ns
from rightsx.errors import MisuseError
from rightsx.eventbook import TRADE
from rightsx.frames import Frame, frame
from rightsx.protocol import BPS, INT64_MAX, Refusal
from rightsx.vocabulary import integer

if TYPE_CHECKING:
    from datetime import timedelta

BAR: Final = np.dtype(
    [
        ("series", "<u4"),
        ("trades", "<u4"),
        ("start_ns", "<i8"),  # where the span begins; of other bars, the first trade
        ("end_ns", "<i8"),  # where it ends, half-open; of other bars, the last trade
        ("open", "<i8"),
        ("high", "<i8"),
        ("low", "<i8"),
        ("close", "<i8"),
        ("volume", "<i8"),
        ("notional", "<i8"),  # Σ price × qty, 2^63 − 1 if it is more
        ("bought", "<i8"),  # units of trades in which the taker bought
        ("value", "<i8"),  # v(t) at the last trade
        ("discount_bps", "<i8"),  # of the close against it; 0 where the value is 0
        ("vwap", "<f8"),
    ]
)


def bars(
    trades: np.ndarray, *, every: str | int | timedelta | None = None, count: int | None = None, volume: int | None = None
) -> Frame:
    """Draw up the bars of TRADE[n], which are in order of time; gives BAR[k].

    One of three says where a bar ends: `every`, a span such as "1h" or ns, on the clock of UTC; `count` trades; or `volume`,
    units traded. `MisuseError` for anything else, and for trades that go back in time.

    >>> import numpy as np
    >>> from rightsx.marketdata import TRADE
    >>> trades = np.zeros(3, TRADE)
    >>> trades["price"], trades["qty"], trades["value"], trades["series"] = (90, 95, 80), (1, 1, 2), 100, 1
    >>> bars(trades, count=2)[["open", "high", "close", "volume", "vwap"]].tolist()
    [(90, 95, 95, 2, 92.5), (80, 80, 80, 2, 80.0)]
    """
    if not isinstance(trades, np.ndarray) or trades.dtype != TRADE or trades.ndim != 1:
        raise MisuseError(f"trades were {getattr(trades, 'dtype', type(trades).__name__)}; a NumPy array TRADE[n] is due")
    if [every, count, volume].count(None) != 2:  # noqa: PLR2004 - one of three is given
        raise MisuseError("one of every, count, volume is due: where a bar ends")
    if (np.diff(trades["time_ns"]) < 0).any():
        raise MisuseError("trades went back in time; they are due in order")
    order = np.argsort(trades["series"], kind="stable")
    rows = trades.view(np.ndarray)[order]
    if every is not None:
        length = span_ns("every", every)
        if length < 1:
            raise MisuseError(f"every was {every!r}; a span longer than nothing is due", Refusal.BadTime)
        buckets = rows["time_ns"] // length
        first = _changes(rows["series"], buckets)
        made = _summed(rows, first)
        made["start_ns"] = buckets[first] * length
        made["end_ns"] = made["start_ns"] + length
        return frame(made)
    size = _size("count", count) if volume is None else _size("volume", volume)
    steps = np.ones(len(rows), np.int64) if volume is None else rows["qty"]
    return frame(_summed(rows, _cuts(rows["series"], steps, size)))


def _size(name: str, given: int | None) -> int:
    size = integer(name, given, Refusal.BadQuantity)
    if size < 1:
        raise MisuseError(f"{name} was {size}; 1 or more is due", Refusal.BadQuantity)
    return size


def _changes(*columns: np.ndarray) -> np.ndarray:
    """Give the rows in which one of the columns is not what it was in the row before, the first row included."""
    if not len(columns[0]):
        return np.zeros(0, np.intp)
    changed = np.any([np.diff(column) != 0 for column in columns], axis=0)
    return np.concatenate(([0], np.flatnonzero(changed) + 1))


def _cuts(series: np.ndarray, steps: np.ndarray, size: int) -> np.ndarray:
    """Give the rows in which bars begin that end with the row by which their steps reach a size."""
    sums = np.cumsum(steps)
    cuts = []
    borders = [*_changes(series).tolist(), len(series)]
    for begin, end in pairwise(borders):
        at = begin
        while at < end:
            cuts.append(at)
            before = int(sums[at - 1]) if at else 0
            at = int(np.searchsorted(sums[:end], before + size)) + 1
    return np.array(cuts, np.intp)


def _summed(rows: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Sum up the rows of each bar, which begin in these."""
    made = np.zeros(len(first), BAR)
    if not len(first):
        return made
    last = np.append(first[1:], len(rows)) - 1
    price, qty = rows["price"], rows["qty"]
    made["series"] = rows["series"][first]
    made["trades"] = last + 1 - first
    made["start_ns"], made["end_ns"] = rows["time_ns"][first], rows["time_ns"][last]
    made["open"], made["close"] = price[first], price[last]
    made["high"], made["low"] = np.maximum.reduceat(price, first), np.minimum.reduceat(price, first)
    made["volume"] = np.add.reduceat(qty, first)
    made["bought"] = np.add.reduceat(np.where(rows["side"] == 1, qty, 0), first)
    exact = np.add.reduceat(price * qty, first)
    near = np.add.reduceat(price.astype(np.float64) * qty, first)
    made["notional"] = np.where(np.abs(near) < 2.0**62, exact, INT64_MAX)
    made["vwap"] = near / made["volume"]
    made["value"] = rows["value"][last]
    known = made["value"] > 0
    made["discount_bps"][known] = BPS - made["close"][known] * BPS // made["value"][known]
    return made
