"""A venue's orders as a feed: in a market of ours they trade as they did there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rightsx.backtest import backtest
from rightsx.errors import MisuseError
from rightsx.loaders import load_bitstamp
from rightsx.loaders.bitstamp import BitstampEvent, BitstampFeed
from rightsx.protocol import CALLER_ID_FIRST, CommandKind, EventKind, Refusal
from rightsx.replay import venue_story
from rightsx.replay.flow import BUYERS, SELLERS, SERIES, bitstamp_flow

pytestmark = pytest.mark.unaudited
BTC = 10**8


def feed_of(*rows):
    events = [BitstampEvent(at, 10**15 + at, 10**15 + at, *row) for at, row in enumerate(rows, 1)]
    return BitstampFeed(Path("made-up"), events, None, 0, 0)


def test_what_was_told_to_the_venue_is_told_to_the_market():
    flow = bitstamp_flow(
        feed_of(
            ("created", 5, "sell", 101, 2 * BTC),
            ("created", 6, "buy", 100, BTC),
            ("created", 7, "buy", 101, BTC // 2),
            ("changed", 5, "sell", 101, 3 * BTC // 2),  # the venue's report of a fill
            ("deleted", 7, "buy", 101, 0),
            ("changed", 6, "buy", 99, BTC),
            ("deleted", 6, "buy", 99, BTC),
            ("created", 8, "buy", 10**7, 1),
        )
    )
    kinds = [CommandKind(kind).name for kind in flow.commands["kind"]]
    assert kinds == ["PLACE", "PLACE", "PLACE", "CANCEL", "AMEND", "CANCEL"]
    assert flow.left_out == 1
    assert flow.commands["account"].tolist() == [SELLERS, BUYERS, BUYERS, BUYERS, BUYERS, BUYERS]
    assert (flow.commands["order_id"] - CALLER_ID_FIRST).tolist() == [5, 6, 7, 7, 6, 6]
    assert flow.commands["qty"].tolist() == [20_000, 10_000, 5_000, 0, 0, 0]
    result = backtest(flow.market(), flow.commands)
    (trade,) = result.data.trades
    assert (trade["price"], trade["qty"], trade["taker_order"] - CALLER_ID_FIRST) == (101, 5_000, 7)
    assert result.data.top(SERIES) == {"bid": 0, "bid_qty": 0, "ask": 101, "ask_qty": 15_000}


def test_an_order_older_than_the_file_is_there_first():
    flow = bitstamp_flow(feed_of(("deleted", 3, "sell", 90, BTC), ("created", 4, "buy", 80, 1)))
    assert flow.commands["order_id"].tolist()[0] == CALLER_ID_FIRST + 3
    result = backtest(flow.market(), flow.commands)
    assert not (result.events["kind"] == EventKind.REFUSED).any()


def test_units_too_small_for_a_market_are_misuse():
    feed = feed_of(("created", 5, "sell", 101, 200_000 * BTC))
    with pytest.raises(MisuseError, match="larger qty_unit"):
        bitstamp_flow(feed, qty_unit=1)
    for wrong in (0, -1, 1.0, None):
        with pytest.raises(MisuseError):
            bitstamp_flow(feed, qty_unit=wrong)


def test_an_empty_file_is_an_empty_feed():
    flow = bitstamp_flow(feed_of())
    assert len(flow.commands) == 0
    assert len(backtest(flow.market(), flow.commands).events) == 0


@pytest.mark.parametrize("name", ["2015-05-01.log.xz", "orders.csv.xz"])
def test_a_real_morning_trades_as_it_did_at_the_venue(name, venue_file):
    feed = load_bitstamp(venue_file(f"data/bitstamp-ob-analytics/{name}"))
    flow = bitstamp_flow(feed)
    market = flow.market()
    result = backtest(market, flow.commands)
    market.check()
    refused = result.events[result.events["kind"] == EventKind.REFUSED]
    # A cancel of what has traded is refused, as it was pointless there.
    assert set(refused["code"].tolist()) <= {int(Refusal.OrderNotOpen), int(Refusal.PostOnlyWouldCross)}
    trades = result.data.trades
    ours = {
        (maker - CALLER_ID_FIRST, taker - CALLER_ID_FIRST, price)
        for maker, taker, price in zip(
            trades["maker_order"].tolist(), trades["taker_order"].tolist(), trades["price"].tolist(), strict=True
        )
    }
    theirs = [venue.fill for venue in venue_story(feed).fills if not venue.is_older and not venue.is_one_sided]
    agreed = sum((fill.maker, fill.taker, fill.price) in ours for fill in theirs)
    print(f"{agreed} of {len(theirs)} fills: the same maker, taker and price")
    assert len(theirs) > 500
    assert agreed >= 0.99 * len(theirs)
    assert np.diff(flow.commands["time_ns"]).min() >= 0
