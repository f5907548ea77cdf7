"""Draws what a market and a backtest are like: matplotlib axes, for notebooks and files (extra `plot`).

    depth       what is bid and asked at each price, added up from the best
    prices      each trade, and the value that it is below, with its decay steps
    candles     bars of trades, with their volume below
    equity      cash and position over a run, at value and at the bid, fills marked
    discounts   the discount of each trade by the time that was left to expiry
    calendar    what is outstanding, by the day on which it expires

Each takes `ax` (a new figure unless it is given), draws into it, and gives it. Prices are minor units, times UTC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rightsx.bars import BAR
from rightsx.errors import MisuseError
from rightsx.protocol import BPS, DAY_NS

if TYPE_CHECKING:
    from rightsx.backtest import BacktestResult
    from rightsx.marketdata import MarketData

BID: Final = "#2a6fb0"
ASK: Final = "#c05020"
VALUE: Final = "#3a8f5a"
QUIET: Final = "#8a8a8a"
SIZE: Final = (8.0, 4.5)
HOUR_NS: Final = DAY_NS // 24


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
    """Draw each trade of a series, and the value at each, which falls at decay steps."""
    trades = data.trades.view(np.ndarray)
    own = trades[trades["series"] == series]
    ax = _axes(ax, title=f"price and value of series {series}", across="", up="minor units a unit")
    if not len(own):
        return _nothing(ax, "no trades")
    times = _times(own["time_ns"])
    for side, colour, name in ((1, BID, "taker bought"), (2, ASK, "taker sold")):
        chosen = own["side"] == side
        ax.plot(times[chosen], own["price"][chosen], ".", color=colour, markersize=3, label=name)
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
