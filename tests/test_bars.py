"""Bars: each trade is in one of them, and they say what a plain loop says."""

from __future__ import annotations

import random

import numpy as np
import pytest

from rightsx.bars import BAR, bars
from rightsx.errors import MisuseError
from rightsx.eventbook import TRADE
from rightsx.protocol import INT64_MAX, T0_NS

HOUR = 3_600_000_000_000


def some_trades(seed, count, series=3):
    chance = random.Random(seed)
    trades = np.zeros(count, TRADE)
    now = T0_NS
    for at in range(count):
        now += chance.choice((0, 1, HOUR // 7, HOUR, 5 * HOUR))
        row = (chance.randrange(1, 120), chance.randrange(1, 40), chance.choice((0, 100, 110)), chance.randrange(1, series + 1))
        trades[at] = (now, at, *row[:3], 0, 0, 0, 0, row[3], chance.choice((1, 2)), 0, 0)
    return trades


def plain_bars(trades, ends):
    """Put each trade into the open bar of its series, which ends when `ends(bar, trade)` says so: before or after it."""
    made = []
    for number in sorted(set(trades["series"].tolist())):
        bar = []
        for trade in trades[trades["series"] == number]:
            if bar and ends(bar, trade):
                made.append(bar)
                bar = []
            bar.append(trade)
        made.append(bar)
    return made


def said(bar):
    prices = [int(trade["price"]) for trade in bar]
    qty = [int(trade["qty"]) for trade in bar]
    notional = sum(price * units for price, units in zip(prices, qty, strict=True))
    value = int(bar[-1]["value"])
    return {
        "series": bar[0]["series"],
        "trades": len(bar),
        "open": prices[0],
        "high": max(prices),
        "low": min(prices),
        "close": prices[-1],
        "volume": sum(qty),
        "notional": notional,
        "bought": sum(units for units, trade in zip(qty, bar, strict=True) if trade["side"] == 1),
        "value": value,
        "discount_bps": 10_000 - prices[-1] * 10_000 // value if value else 0,
        "vwap": notional / sum(qty),
    }


def assert_same(found, due):
    assert len(found) == len(due)
    for row, bar in zip(found, due, strict=True):
        assert {name: row[name] for name in said(bar)} == said(bar)


@pytest.mark.parametrize("seed", range(20))
def test_bars_say_what_a_plain_loop_says(seed):
    trades = some_trades(seed, 200)
    by_time = bars(trades, every="2h")
    assert_same(by_time, plain_bars(trades, lambda bar, trade: trade["time_ns"] // (2 * HOUR) != bar[0]["time_ns"] // (2 * HOUR)))
    assert (by_time["start_ns"] % (2 * HOUR) == 0).all()
    assert (by_time["end_ns"] - by_time["start_ns"] == 2 * HOUR).all()
    assert_same(bars(trades, count=7), plain_bars(trades, lambda bar, _: len(bar) == 7))
    assert_same(bars(trades, volume=90), plain_bars(trades, lambda bar, _: sum(trade["qty"] for trade in bar) >= 90))


def test_no_trades_have_no_bars():
    for options in ({"every": 1}, {"count": 1}, {"volume": 1}):
        made = bars(np.zeros(0, TRADE), **options)
        assert (len(made), made.dtype) == (0, BAR)


def test_a_sum_beyond_64_bits_is_told_as_the_largest_number():
    trades = some_trades(1, 8, series=1)
    trades["price"] = trades["qty"] = 2**31 - 1
    (bar,) = bars(trades, count=8)
    assert bar["notional"] == INT64_MAX
    assert bar["vwap"] == 2**31 - 1


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"every": "1h", "count": 3},
        {"every": "soon"},
        {"every": 0},
        {"every": -5},
        {"count": 0},
        {"volume": -1},
        {"count": 1.0},
        {"volume": True},
    ],
)
def test_what_does_not_say_where_a_bar_ends_is_misuse(options):
    with pytest.raises(MisuseError):
        bars(some_trades(1, 5), **options)


def test_trades_that_go_back_in_time_or_are_none_are_misuse():
    with pytest.raises(MisuseError, match="back in time"):
        bars(some_trades(1, 50)[::-1], count=1)
    for wrong in (None, [], np.zeros(3), np.zeros(3, BAR)):
        with pytest.raises(MisuseError, match="TRADE"):
            bars(wrong, count=1)
