"""Every venue's orders as a feed: the market does what the venue did, counted, and a strategy may trade in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backtesting import quoter
from itch_day import OPEN_NS, Day, added, executed, executed_at
from rightsx.backtest import backtest
from rightsx.cli import main
from rightsx.errors import MisuseError
from rightsx.loaders import load_file, load_itch
from rightsx.protocol import CALLER_ID_FIRST, CommandKind, EventKind, OrderFlag, TimeInForce
from rightsx.replay import venue_flow
from rightsx.replay.flow import BUYERS, EXECUTION, SELLERS, SERIES, TAKERS, Agreement, market_id

pytestmark = pytest.mark.unaudited
T = OPEN_NS
LOBSTER = "data/lobster-aapl-l10-excerpt/AAPL_2012-06-21_34200000_57600000_message_10.csv"
CME = "data/dbn-mbo/esh4-glbx-mdp3-20231225.mbo.dbn.zst"
# What of the venue's executions our market's fills are: all, but the quantity, of how many.
FIGURES = {
    "itch": ("", Agreement(1_622, 0, 1_622)),
    "lobster": (LOBSTER, Agreement(98, 0, 98)),
    "bitstamp": ("data/bitstamp-ob-analytics/2015-05-01.log.xz", Agreement(524, 17, 544)),
    "databento": (CME, Agreement(5_862, 0, 6_229)),
}


def itch_feed(folder, *parts):
    path = folder / "day.itch"
    path.write_bytes(b"".join(parts))
    return load_itch(path)


@pytest.fixture(scope="module")
def flow_of(venue_file, tmp_path_factory):
    """Give a function from a format to its feed as a flow, each made once."""
    made = {}

    def flow(form):
        if form not in made:
            if form == "databento":
                pytest.importorskip("databento_dbn")
                pytest.importorskip("zstandard")
            if form == "itch":
                feed = itch_feed(tmp_path_factory.mktemp("itch"), Day(3).run(5_000)[0])
            else:
                feed = load_file(venue_file(FIGURES[form][0]), form=form)
            made[form] = venue_flow(feed)
        return made[form]

    return flow


@pytest.mark.parametrize("form", FIGURES)
def test_the_market_executes_what_the_venue_did(form, flow_of):
    flow = flow_of(form)
    market = flow.market()
    result = backtest(market, flow.commands)
    market.check()
    assert flow.agreement(result.data.trades) == FIGURES[form][1]
    if form != "bitstamp":  # there it is the venue's customers who speak, also too late
        assert not (result.events["kind"] == EventKind.REFUSED).any()


@pytest.mark.parametrize("form", FIGURES)
def test_times_rise_and_prices_are_below_the_value(form, flow_of):
    flow = flow_of(form)
    placed = flow.commands[flow.commands["kind"] == CommandKind.PLACE]
    assert np.diff(flow.commands["time_ns"]).min() >= 0
    assert placed["price"].min() > 0
    assert placed["price"].max() < flow.par
    assert flow.left_out == 0
    assert flow.par * (flow.units + flow.taker_units) < 2**48
    adds = placed[(placed["account"] != TAKERS) & (placed["flags"] == 0)]
    assert set(adds["time_in_force"].tolist()) == {TimeInForce.GTC}
    takers = placed[placed["account"] == TAKERS]
    assert set(takers["time_in_force"].tolist()) <= {TimeInForce.IOC}


@pytest.mark.parametrize("form", FIGURES)
def test_a_strategy_trades_in_every_flow(form, flow_of):
    flow = flow_of(form)
    market = flow.market(taker_bps=10)
    account = market.open_account()
    market.deposit(account=account, amount=10**10)
    market.subscribe(series=SERIES, account=account, qty=10_000)
    result = backtest(market, flow.commands, quoter, account=account, memory=np.zeros(4, np.int64), latency="1ms")
    market.check()
    assert len(result.fills) > 0
    found = flow.agreement(result.data.trades)
    assert 0 < found.agreed <= FIGURES[form][1].agreed


def test_each_kind_of_message_is_told_in_its_way(tmp_path):
    flow = venue_flow(
        itch_feed(
            tmp_path,
            added(T, 1, "buy", 300, 10_000),
            added(T + 1, 2, "sell", 200, 10_300),
            executed(T + 2, 1, 100, 9),
            executed_at(T + 3, 2, 50, 9, "Y", 10_150),
        )
    )
    names = ["kind", "account", "order_id", "side", "time_in_force", "price", "qty", "flags"]
    rows = flow.commands[names].tolist()
    assert (flow.price_unit, flow.par) == (100, 16 * 100)
    place, amend, one = CommandKind.PLACE, CommandKind.AMEND, CALLER_ID_FIRST
    assert rows == [
        (place, BUYERS, one + 1, 1, TimeInForce.GTC, 100, 300, 0),
        (place, SELLERS, one + 2, 2, TimeInForce.GTC, 103, 200, 0),
        (place, TAKERS, market_id(2**61 + 1), 2, TimeInForce.IOC, 100, 100, 0),
        (amend, SELLERS, one + 2, 0, 0, 0, 150, 2),
    ]
    assert flow.executions.tolist() == [(one + 1, 0, 100, 100), (one + 2, 0, 102, 50)]
    market = flow.market()
    result = backtest(market, flow.commands)
    assert str(flow.agreement(result.data.trades)) == "1 of 2 executions (50.0%) as at the venue"


def test_prices_that_a_unit_does_not_divide_are_rounded_so_that_takers_still_meet(tmp_path):
    feed = itch_feed(
        tmp_path,
        added(T, 1, "buy", 300, 10_030),
        added(T, 2, "sell", 300, 10_170),
        executed(T, 1, 300, 9),
        executed(T, 2, 300, 9),
    )
    flow = venue_flow(feed, price_unit=100)
    assert flow.commands["price"].tolist() == [100, 102, 100, 102]
    assert flow.agreement(backtest(flow.market(), flow.commands).data.trades) == (2, 0, 2)


def test_quantities_in_round_lots_agree_less_for_each_is_rounded_up(tmp_path):
    coarse = venue_flow(itch_feed(tmp_path, Day(3).run(3_000)[0]), qty_unit=100)
    found = coarse.agreement(backtest(coarse.market(), coarse.commands).data.trades)
    assert coarse.commands["qty"].max() == 9
    assert found == (836, 79, 956)


def test_what_agrees_is_counted_once(tmp_path):
    flow = venue_flow(itch_feed(tmp_path, added(T, 1, "buy", 300, 100), executed(T, 1, 100, 9), executed(T, 1, 100, 9)))
    trades = backtest(flow.market(), flow.commands).data.trades
    assert flow.agreement(trades) == (2, 0, 2)
    assert flow.agreement(trades[:1]) == (1, 0, 2)
    other = trades.copy()
    other["qty"] += 1
    assert flow.agreement(other) == (0, 2, 2)
    assert "2 more but for the quantity" in str(flow.agreement(other))


def test_a_stub_quote_far_above_is_left_out_and_its_cancel_with_it(tmp_path):
    flow = venue_flow(
        itch_feed(
            tmp_path, *(added(T, at, "sell", 100, 10_000 + at) for at in (1, 2, 3)), added(T, 9, "sell", 100, 1_999_999_900)
        )
    )
    assert (flow.left_out, len(flow.commands), flow.price_unit) == (1, 3, 1)


def test_ids_of_a_venue_never_meet_those_of_a_strategy():
    assert market_id(2**40 - 1) < CALLER_ID_FIRST + 2**40
    assert {market_id(number) >= CALLER_ID_FIRST + 2**61 for number in (2**40, 2**61 + 5, 2**62 + 5)} == {True}
    assert market_id(2**63 - 1) < 2**63


def test_a_feed_of_nothing_is_an_empty_flow_and_a_wrong_one_misuse(tmp_path):
    flow = venue_flow(itch_feed(tmp_path, Day(1).run(0)[0]))
    assert (len(flow.commands), flow.executions.dtype) == (0, EXECUTION)
    assert flow.agreement(backtest(flow.market(), flow.commands).data.trades) == (0, 0, 0)
    for wrong in (None, "day.itch", Path()):
        with pytest.raises(MisuseError, match="feed was"):
            venue_flow(wrong)
    feed = itch_feed(tmp_path, added(T, 1, "buy", 4_000_000_000, 4_000_000_000))
    with pytest.raises(MisuseError, match="larger qty_unit"):
        venue_flow(feed)
    with pytest.raises(MisuseError, match="larger price_unit"):
        venue_flow(feed, price_unit=1)
    for wrong in (0, -1, 1.5):
        with pytest.raises(MisuseError, match="price_unit"):
            venue_flow(feed, price_unit=wrong)


def test_opening_orders_of_bitstamp_are_post_only(flow_of):
    flags = flow_of("bitstamp").commands["flags"]
    assert OrderFlag.POST_ONLY in flags.tolist()


@pytest.mark.parametrize("form", ["itch", "lobster"])
def test_the_command_line_backtests_every_format(form, venue_file, tmp_path, capsys):
    strategy = tmp_path / "mine.py"
    strategy.write_text(
        "from rightsx.backtest import buy\n"
        "def step(view, memory, orders):\n"
        "    return buy(orders, 0, 1, view['ask'], 2, view['next_id']) if view['ask_qty'] else 0\n"
    )
    if form == "itch":
        path = tmp_path / "day.itch"
        path.write_bytes(Day(3).run(300)[0] + b"\0")
    else:
        path = venue_file(LOBSTER)
    words = ["backtest", str(path), "--format", form, "--strategy", f"{strategy}:step", "--quiet"]
    assert main([*words, "--errors", "skip"]) == 0
    assert "as at the venue" in capsys.readouterr().out
    if form == "itch":
        assert main(words) == 2
        assert main([*words, "--errors", "skip", "--stock", "NONE"]) == 2
