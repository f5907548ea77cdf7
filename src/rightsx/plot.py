"""Draws what a market and a backtest are like: matplotlib axes, for notebooks and files (extra `plot`).

    depth             what is bid and asked at each price, added up from the best
    prices            each trade, and the value that it is below, with its decay steps
    candles           bars of trades, with their volume below
    equity            cash and position over a run, at value and at the bid, fills marked
    discounts         the discount of each trade by the time that was left to expiry
    discount_surface  the median discount over time, or series, and time to expiry
    calendar          what is outstanding, by the day on which it expires

Each takes `ax` (a new figure unless it is given), draws into it, and gives it. Prices are minor units, times UTC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rightsx.bars import BAR
from rightsx.errors import MisuseError
from rightsx.marketdata import MarketData
from rightsx.protocol import BPS, DAY_NS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rightsx.backtest import BacktestResult

BID: Final = "#2a6fb0"
ASK: Final = "#c05020"
VALUE: Final = "#3a8f5a"
QUIET: Final = "#8a8a8a"
SIZE: Final = (8.0, 4.5)
HOUR_NS: Final = DAY_NS // 24
CELLS_MOST: Final = 1_000
FAR: Final = 3  # times the highest price


def check_drawing() -> Any:
    """Give matplotlib's Figure, or raise `MisuseError` where the extra `plot` is missing."""
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - an extra
    except ImportError:
        raise MisuseError("pictures need the package matplotlib: pip install 'rightsx[plot]'") from None
    return Figure


def _axes(ax: Any, *, title: str, across: str, up: str) -> Any:
    """Give the axes to draw into, with their words."""
    if ax is None:
        ax = check_drawing()(figsize=SIZE, layout="constrained").subplots()
    ax.set_title(title, loc="left", fontsize=11)
    ax.set_xlabel(across)
    ax.set_ylabel(up)
    ax.grid(visible=True, color="#e4e4e4", linewidth=0.6)
    ax.set_axisbelow(True)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    ax.yaxis.set_major_formatter(lambda number, _: f"{number:,.0f}")
    return ax


def _times(ns: np.ndarray) -> np.ndarray:
    """Give times as matplotlib draws them."""
    return np.asarray(ns).astype("datetime64[ns]")


def _by_date(ax: Any) -> None:
    """Write dates as short as they may be."""
    from matplotlib import dates  # noqa: PLC0415 - an extra

    made: Any = dates  # untyped
    locator = made.AutoDateLocator()
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(made.ConciseDateFormatter(locator))


def _nothing(ax: Any, told: str) -> Any:
    """Say that there is nothing to draw."""
    ax.text(0.5, 0.5, told, transform=ax.transAxes, ha="center", va="center", color=QUIET)
    return ax


def depth(data: MarketData, series: int, *, most: int | None = 50, ax: Any = None) -> Any:
    """Draw what is bid and asked in a series now, added up from the best price on, over `most` levels a side."""
    ax = _axes(ax, title=f"depth of series {series}, value {data.value_of(series):,}", across="price", up="units")
    sides = {side: data.levels(series, side, most) for side in ("buy", "sell")}
    if not any(len(levels) for levels in sides.values()):
        return _nothing(ax, "nobody bids, nobody offers")
    for side, levels in sides.items():
        colour, name = (BID, "bid") if side == "buy" else (ASK, "asked")
        if len(levels):
            prices, sums = levels["price"], np.cumsum(levels["qty"])
            ax.step(prices, sums, where="post", color=colour, label=name)
            ax.fill_between(prices, sums, step="post", color=colour, alpha=0.18, linewidth=0)
    left, right = ax.get_xlim()
    if left <= data.value_of(series) <= right + (right - left) / 2:  # else it would squeeze all that is to be seen
        ax.axvline(data.value_of(series), color=VALUE, linestyle="--", linewidth=1, label="value")
    ax.set_ylim(bottom=0)
    ax.legend(frameon=False)
    return ax


def prices(data: MarketData, series: int, *, ax: Any = None) -> Any:
    """Draw each trade of a series, and the value at each, which falls at decay steps.

    A value that is always more than `FAR` times every price, as in a venue's flow, is not drawn: it would press them into a line.
    """
    trades = data.trades.view(np.ndarray)
    own = trades[trades["series"] == series]
    is_far = len(own) > 0 and int(own["value"].min()) > FAR * int(own["price"].max())
    told = f"price of series {series}, far below its value" if is_far else f"price and value of series {series}"
    ax = _axes(ax, title=told, across="", up="minor units a unit")
    if not len(own):
        return _nothing(ax, "no trades")
    times = _times(own["time_ns"])
    for side, colour, name in ((1, BID, "taker bought"), (2, ASK, "taker sold")):
        chosen = own["side"] == side
        ax.plot(times[chosen], own["price"][chosen], ".", color=colour, markersize=3, label=name)
    if not is_far:
        ax.step(times, own["value"], where="post", color=VALUE, linewidth=1.4, label="value")
    _by_date(ax)
    ax.legend(frameon=False)
    return ax


def candles(rows: np.ndarray, *, ax: Any = None) -> Any:
    """Draw bars of one series (`bars`): open and close as bodies, high and low as lines, volume below."""
    if not isinstance(rows, np.ndarray) or rows.dtype != BAR:
        raise MisuseError(f"bars were {getattr(rows, 'dtype', type(rows).__name__)}; BAR[n] of `bars` is due")
    if len(np.unique(rows["series"])) > 1:
        raise MisuseError(f"bars were of {len(np.unique(rows['series']))} series; those of one are due")
    ax = _axes(ax, title="bars" + (f" of series {rows['series'][0]}" if len(rows) else ""), across="", up="minor units a unit")
    if not len(rows):
        return _nothing(ax, "no trades")
    times = _times(rows["start_ns"])
    steps = np.diff(rows["start_ns"])
    wide = np.timedelta64(int(0.7 * (steps.min() if len(steps) and steps.min() > 0 else HOUR_NS)), "ns")
    rose = rows["close"] >= rows["open"]
    for chosen, colour in ((rose, BID), (~rose, ASK)):
        if not chosen.any():
            continue  # Matplotlib cannot place no bars by date.
        ax.vlines(times[chosen], rows["low"][chosen], rows["high"][chosen], color=colour, linewidth=0.9)
        bodies = np.maximum(np.abs(rows["close"] - rows["open"])[chosen], 0.02)
        ax.bar(times[chosen], bodies, wide, np.minimum(rows["open"], rows["close"])[chosen], color=colour, linewidth=0)
    below = ax.twinx()
    below.bar(times, rows["volume"], wide, color=QUIET, alpha=0.35, linewidth=0)
    below.set_ylim(0, 4 * max(1, int(rows["volume"].max())))
    below.set_yticks([])
    below.spines[["top", "right"]].set_visible(False)
    _by_date(ax)
    return ax


def equity(result: BacktestResult, *, ax: Any = None) -> Any:
    """Draw a run: what cash and position, at value and at the bid, are more than at its beginning, and where there were fills."""
    curve, fills = result.equity.view(np.ndarray), result.fills.view(np.ndarray)
    ax = _axes(ax, title=f"profit {result.profit:,}", across="", up="minor units since the beginning")
    if not len(curve):
        return _nothing(ax, "nothing happened")
    times = _times(curve["time_ns"])
    grown = {name: curve[name] - curve[name][0] for name in ("at_value", "at_bid")}
    ax.step(times, grown["at_value"], where="post", color=VALUE, label="position at value")
    ax.step(times, grown["at_bid"], where="post", color=QUIET, linewidth=0.8, label="position at the bid")
    heights = grown["at_value"][np.clip(np.searchsorted(curve["time_ns"], fills["time_ns"], side="right") - 1, 0, None)]
    for buys, mark, colour in ((True, "^", BID), (False, "v", ASK)):
        chosen = (fills["qty"] > 0) == buys
        ax.plot(
            _times(fills["time_ns"][chosen]),
            heights[chosen],
            mark,
            color=colour,
            markersize=3,
            label="bought" if buys else "sold",
        )
    _by_date(ax)
    ax.legend(frameon=False)
    return ax


def discounts(data: MarketData, *, ax: Any = None) -> Any:
    """Draw the discount of every trade against its value, by the days that were left to expiry; darker is more units."""
    trades = data.trades.view(np.ndarray)
    table = data.series_table().view(np.ndarray)
    ax = _axes(ax, title="discounts by time to expiry", across="days to expiry", up="discount, %")
    known = trades[trades["value"] > 0]
    if not len(known):
        return _nothing(ax, "no trades")
    ends = np.zeros(int(table["series"].max()) + 1, np.int64)
    ends[table["series"]] = table["expire_ns"]
    days = (ends[known["series"]] - known["time_ns"]) / DAY_NS
    off = 100 * (BPS - known["price"] * BPS / known["value"]) / BPS
    picture = ax.hexbin(
        days, off, C=known["qty"], reduce_C_function=np.sum, gridsize=45, cmap="Blues", bins="log", linewidths=0.1
    )
    ax.figure.colorbar(picture, ax=ax, label="units")
    ax.invert_xaxis()
    return ax


# ── the surface of discounts ─────────────────────────────────────────────────────────────────────


def discount_surface(
    data: MarketData | Sequence[MarketData], *, by: str = "time", cells: int = 40, gap: int = 12, ax: Any = None
) -> Any:
    """Draw the median discount of trades against v(t), in bps, over time and the days that were left to expiry.

    `by="series"` puts series beside each other in place of time; of several markets, each is listed by its number. The days, and
    time, are cut into `cells`. A cell without trades lies between two that have some, at most `gap` cells away in its row or
    column, and is interpolated; or it is left blank. Dots mark cells with trades. Between series nothing is interpolated.
    """
    if by not in ("time", "series"):
        raise MisuseError(f"by was {by!r}; time or series is due")
    for name, value in (("cells", cells), ("gap", gap)):
        if type(value) is not int or not 1 <= value <= CELLS_MOST:
            raise MisuseError(f"{name} was {value!r}; 1 to {CELLS_MOST} is due")
    across = "" if by == "time" else "series"
    ax = _axes(ax, title="median discount by time to expiry", across=across, up="days to expiry")
    times, days, off, listing, labels = _discounted([data] if isinstance(data, MarketData) else data)
    if not len(times):
        return _nothing(ax, "no trades")
    deep = np.linspace(0, max(float(days.max()), 1e-6), cells + 1)
    if by == "time":
        start, end = int(times.min()), int(times.max()) + 1
        column = (times - start) * cells // (end - start)
        wide = _times(np.linspace(start, end, cells + 1).astype(np.int64))
        count = cells
    else:
        kinds, column = np.unique(listing, return_inverse=True)
        count, wide = len(kinds), np.arange(len(kinds) + 1) - 0.5
        ax.set_xticks(np.arange(len(kinds)), [labels[kind] for kind in kinds.tolist()])
    row = np.clip(np.searchsorted(deep, days, side="right") - 1, 0, cells - 1)
    told = _medians(row, column, off, (cells, count))
    between = _between(told, gap, sideways=by == "time")
    low, high = np.percentile(told[~np.isnan(told)], (2, 98))
    whole = np.ma.masked_invalid(np.where(np.isnan(told), between, told))
    picture = ax.pcolormesh(wide, deep, whole, cmap="YlGnBu", vmin=low, vmax=max(high, low + 1), rasterized=True)
    bar = ax.figure.colorbar(picture, ax=ax, label="median discount, bps of v(t)", extend="both")
    bar.ax.yaxis.set_major_formatter(lambda number, _: f"{number:,.0f}")
    bar.outline.set_visible(False)
    ax.grid(visible=False)
    ax.set_facecolor("#eeeeee")  # the lightest colour is not to pass for a blank
    if by == "time":
        _by_date(ax)
    else:
        ax.vlines(wide[1:-1], deep[0], deep[-1], color="white", linewidth=3)
    if (np.isnan(told) & ~np.isnan(between)).any():
        up, right = np.nonzero(~np.isnan(told))
        middle = wide[:-1] + (wide[1:] - wide[:-1]) / 2
        ax.plot(middle[right], (deep[:-1] + deep[1:])[up] / 2, ".", color="#333333", alpha=0.55, markersize=2.5)
        ax.set_title("dots: trades; between them interpolated", loc="right", fontsize=9, color=QUIET)
    return ax


def _discounted(markets: Sequence[MarketData]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Give of all trades at a value: time, days to expiry, discount in bps, number of the listing; and names of listings."""
    parts: list[tuple[np.ndarray, ...]] = []
    labels: list[str] = []
    for number, data in enumerate(markets, 1):
        trades, table = data.trades.view(np.ndarray), data.series_table().view(np.ndarray)
        known = trades[trades["value"] > 0]
        if not len(known):
            continue
        alone = len(np.unique(known["series"])) == 1
        place = np.zeros(int(table["series"].max()) + 1, np.int64)
        ends = np.zeros_like(place)
        ends[table["series"]] = table["expire_ns"]
        for series in np.unique(known["series"]).tolist():
            place[series] = len(labels)
            labels.append(str(series) if len(markets) == 1 else str(number) if alone else f"{number}: {series}")
        days = (ends[known["series"]] - known["time_ns"]) / DAY_NS
        off = BPS - known["price"] * BPS / known["value"]
        parts.append((known["time_ns"].astype(np.int64), days, off, place[known["series"]]))
    if not parts:
        return np.zeros(0, np.int64), np.zeros(0), np.zeros(0), np.zeros(0, np.int64), labels
    times, days, off, listing = (np.concatenate(column) for column in zip(*parts, strict=True))
    return times, days, off, listing, labels


def _medians(row: np.ndarray, column: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Give the median of the values in each cell, NaN where there are none. O(n log n)."""
    made = np.full(shape, np.nan)
    key = row * shape[1] + column
    order = np.argsort(key, kind="stable")
    kinds, first = np.unique(key[order], return_index=True)
    made.flat[kinds] = [np.median(part) for part in np.split(values[order], first[1:])]
    return made


def _between(told: np.ndarray, gap: int, *, sideways: bool) -> np.ndarray:
    """Give values for empty cells between full ones of their row or column, nearer ones counting more; NaN elsewhere."""
    sums, weights = np.zeros(told.shape), np.zeros(told.shape)
    for cells, total, weight in [(told.T, sums.T, weights.T)] + [(told, sums, weights)] * sideways:
        for line, to, heavy in zip(cells, total, weight, strict=True):
            full = np.flatnonzero(~np.isnan(line))
            for left, right in zip(full[:-1].tolist(), full[1:].tolist(), strict=True):
                if 1 < right - left <= gap + 1:
                    part = np.arange(1, right - left) / (right - left)
                    to[left + 1 : right] += ((1 - part) * line[left] + part * line[right]) / (right - left)
                    heavy[left + 1 : right] += 1 / (right - left)
    return np.where(weights > 0, sums / np.where(weights > 0, weights, 1), np.nan)


def calendar(data: MarketData, *, ax: Any = None) -> Any:
    """Draw the face that is outstanding, by the day on which it expires."""
    table = data.series_table().view(np.ndarray)
    alive = table[(table["outstanding"] > 0) & (table["to_expiry_ns"] > 0)]
    ax = _axes(ax, title="expiry calendar", across="", up="face outstanding, minor units")
    if not len(alive):
        return _nothing(ax, "nothing is outstanding")
    days, place = np.unique(alive["expire_ns"] // DAY_NS, return_inverse=True)
    face = np.bincount(place, weights=alive["outstanding"] * alive["value"])
    escrow = np.bincount(place, weights=alive["escrow"])
    times = _times(days * DAY_NS)
    ax.set_xlim(times[0] - np.timedelta64(3, "D"), times[-1] + np.timedelta64(3, "D"))
    ax.bar(times, face, np.timedelta64(DAY_NS * 4 // 5, "ns"), color=BID, alpha=0.75, label="face")
    ax.bar(times, escrow, np.timedelta64(DAY_NS * 2 // 5, "ns"), color=VALUE, label="escrow behind it")
    _by_date(ax)
    ax.legend(frameon=False)
    return ax
