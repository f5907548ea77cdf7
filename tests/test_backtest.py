"""Backtests: the market is the real one, nothing is known early, and what became of the money adds up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import backtesting
from backtesting import Maker, digest, quoter, several, some_feed, staged, taker
from rightsx import Exchange, backtest as module, pump
from rightsx._jit import COMPILED
from rightsx.backtest import ORDERS, Strategy, backtest, buy, sell
from rightsx.errors import MisuseError
from rightsx.marketdata import MarketData
from rightsx.protocol import COMMAND, DAY_NS, T0_NS, CommandKind, EventKind

pytestmark = pytest.mark.unaudited
COUNT = 800 if COMPILED else 250
HERE = Path(__file__).parent


def ran(strategy=None, *, seed=1, count=COUNT, cut=None, **options):
    market, mine, people = staged()
    feed = some_feed(seed, count, people)[:cut]
    if strategy is not None:
        options["account"] = mine
    if strategy is not None and not isinstance(strategy, Strategy):
        options.setdefault("memory", np.zeros(4, np.int64))
    return market, feed, backtest(market, feed, strategy, **options)


# ── the market is the real one ───────────────────────────────────────────────────────────────────


def test_a_plain_replay_is_what_the_market_says_of_the_feed():
    market, feed, result = ran()
    other, *_ = staged()
    assert result.events.tobytes() == other.apply_batch(feed).tobytes()
    assert result.commands.tobytes() == feed.tobytes()
    assert market.state_hash() == other.state_hash()
    assert market.event_records.tobytes() == other.event_records.tobytes()
    assert result.fills.size == 0


@pytest.mark.parametrize("strategy", [quoter, taker, Maker])
@pytest.mark.parametrize("engine", ["compiled", "reference"])
def test_what_ran_gives_the_same_events_in_another_market(strategy, engine):
    market, _, result = ran(Maker() if strategy is Maker else strategy, latency=1_000, every="6h")
    assert len(result.fills) > 10
    other, *_ = staged(engine=engine)
    assert other.apply_batch(result.commands).tobytes() == result.events.tobytes()
    assert other.state_hash() == market.state_hash()
    market.check()


def test_a_run_is_the_same_again_in_small_windows_and_without_events_kept(monkeypatch):
    whole = [ran(strategy, latency=7)[2] for strategy in (quoter, taker)]
    for window in (3, 64):
        monkeypatch.setattr(module, "WINDOW", window)
        assert [digest(ran(strategy, latency=7)[2]) for strategy in (quoter, taker)] == [digest(one) for one in whole]
    monkeypatch.undo()
    market, _, lean = ran(quoter, latency=7, keep_events=False)
    assert (lean.sums, lean.fills.tobytes(), lean.equity.tobytes()) == (
        whole[0].sums,
        whole[0].fills.tobytes(),
        whole[0].equity.tobytes(),
    )
    assert (len(lean.events), len(lean.commands), len(market.event_records)) == (0, 0, 0)
    assert not market.keeps_events
    market.check()


@pytest.mark.skipif(not COMPILED, reason="this run is the other one")
def test_uncompiled_the_runs_are_the_same_to_the_last_byte():
    words = [sys.executable, str(HERE / "backtesting.py")]
    paths = os.pathsep.join([str(HERE), str(HERE.parent / "src"), os.environ.get("PYTHONPATH", "")])
    told = subprocess.run(
        words, env={**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": paths}, capture_output=True, text=True, check=True
    )
    assert told.stdout.split() == several()


def test_many_orders_on_their_way_and_many_events_of_one_command_find_room(monkeypatch):
    def crowd(view, memory, orders):
        sent = 0
        if memory[0] < 150 and view["ask_qty"] >= 0:
            memory[0] += 1
            for _ in range(ORDERS + 2):
                sent = buy(orders, sent, 1, 300, 1, view["next_id"] + sent)
        return sent

    monkeypatch.setattr(module, "WINDOW", 16)
    _, _, result = ran(crowd, latency="1d")
    assert (result.commands["account"] == result.account).sum() == 150 * ORDERS
    market, mine, people = staged()
    feed = np.zeros(301, COMMAND)
    feed["time_ns"], feed["kind"], feed["side"], feed["time_in_force"] = T0_NS + 1, CommandKind.PLACE, 1, 1
    feed["series"], feed["price"], feed["qty"], feed["account"], feed["order_id"] = 1, 400, 1, people[0], 2**62 + np.arange(301)
    feed["side"][300], feed["account"][300], feed["qty"][300] = 2, people[1], 300
    swept = backtest(market, feed, taker, account=mine, memory=np.zeros(4, np.int64))
    assert (swept.events["kind"] == EventKind.FILL).sum() >= 300
    assert len(swept.data.trades) == (swept.events["kind"] == EventKind.FILL).sum()


def bids(count, **fields):
    """Give so many bids of one person, at one moment."""
    market, mine, people = staged()
    feed = np.zeros(count, COMMAND)
    feed["time_ns"], feed["kind"], feed["side"], feed["time_in_force"] = T0_NS + 1, CommandKind.PLACE, 1, 1
    feed["series"], feed["price"], feed["qty"], feed["account"] = 1, 300, 1, people[0]
    feed["order_id"] = 2**62 + np.arange(count)
    for name, values in fields.items():
        feed[name] = values
    return market, mine, people, feed


def assert_shown(result, market):
    fresh = MarketData(market.event_records)
    assert result.data.trades.tobytes() == fresh.trades.tobytes()
    assert result.data.quotes.tobytes() == fresh.quotes.tobytes()
    assert result.data.series_table().tobytes() == fresh.series_table().tobytes()
    for side in ("buy", "sell"):
        assert result.data.orders(1, side).tobytes() == fresh.orders(1, side).tobytes()


def test_a_table_of_the_data_that_is_full_within_a_command_grows_and_nothing_is_read_twice():
    market, _, _, feed = bids(1_100, flags=32, stop_price=500)  # stops that wait
    assert_shown(backtest(market, feed), market)
    for before in range(50, 66):
        market, mine, people, feed = bids(before + 3, price=300 + 64 * 0)
        feed["price"][:before] = 1 + 4 * np.arange(before)
        feed["side"][before], feed["account"][before], feed["price"][before] = 2, people[1], 700
        feed["flags"][before + 1], feed["stop_price"][before + 1], feed["price"][before + 1] = 32, 700, 10**3
        feed["account"][before + 1] = people[2]
        feed["price"][before + 2], feed["account"][before + 2] = 700, people[3]
        assert_shown(backtest(market, feed, quoter, account=mine, memory=np.zeros(4, np.int64)), market)


@pytest.mark.parametrize("kind", [0, 4, 68, 200])
def test_a_row_that_is_no_order_is_misuse_and_the_market_whole(kind):
    def odd(_, memory, orders):
        orders[0]["kind"] = memory[0]
        return 1

    market, mine, people = staged()
    with pytest.raises(MisuseError, match=f"kind {kind}"):
        backtest(market, some_feed(1, 20, people), odd, account=mine, memory=np.array([kind]))
    market.check()
    assert market.place(series=1, account=mine, side="buy", price=1, qty=1)
    assert market.event_records["command_seq"][-1] == market.command_seq


def test_a_series_that_is_not_listed_shows_nothing():
    def looks(view, memory, orders):
        memory[0] += 1
        memory[1] = max(memory[1], abs(view["position"]))
        return buy(orders, 0, 3 + memory[0] % 13, 500, 1, view["next_id"]) if view["is_own"] == 0 else 0

    market, mine, people = staged()
    feed = some_feed(1, 200, people)
    feed["series"][3] = 2**32 - 1
    memory = np.zeros(2, np.int64)
    backtest(market, feed, looks, account=mine, memory=memory)
    assert memory[1] <= 5_000


def test_a_cancel_shows_the_series_that_it_was_about():
    def watches(view, memory, _):
        memory[view["series"]] += 1
        memory[10] = view["bid_qty"]
        return 0

    market, mine, _, feed = bids(2)
    feed["kind"][1], feed["order_id"][1], feed["series"][1], feed["side"][1] = CommandKind.CANCEL, feed["order_id"][0], 0, 0
    memory = np.zeros(11, np.int64)
    backtest(market, feed, watches, account=mine, memory=memory)
    assert (memory[0], memory[1], memory[10]) == (0, 2, 0)


def test_without_a_memory_each_run_has_one_of_its_own():
    def few(view, memory, orders):
        memory[0] += 1
        return buy(orders, 0, 1, 500, 1, view["next_id"]) if memory[0] < 5 else 0

    for _ in range(2):
        market, mine, people = staged()
        result = backtest(market, some_feed(1, 20, people), few, account=mine)
        assert (result.commands["account"] == mine).sum() == 4


def test_an_index_beyond_the_memory_is_an_error_and_the_market_whole():
    def beyond(_, memory, __):
        memory[1_000] = 1
        return 0

    market, mine, people = staged()
    with pytest.raises(IndexError):
        backtest(market, some_feed(1, 20, people), beyond, account=mine)
    market.check()


# ── nothing is known early ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("strategy", [quoter, taker, Maker])
@pytest.mark.parametrize("latency", [0, 1, 10**13])
def test_what_a_strategy_does_by_a_time_depends_on_nothing_after_it(strategy, latency):
    def made():
        return Maker() if strategy is Maker else strategy

    _, feed, whole = ran(made(), count=300, latency=latency, every="1h")
    for cut in (1, 2, 77, 150, 299):
        _, _, part = ran(made(), count=300, cut=cut, latency=latency, every="1h")
        until = feed["time_ns"][cut - 1]  # the last moment of the shorter feed
        early = [run.commands[run.commands["time_ns"] < until].tobytes() for run in (whole, part)]
        assert early[0] == early[1]


@pytest.mark.parametrize("latency", [0, 3, 86_400 * 10**9])
def test_an_order_arrives_just_so_late_and_behind_the_feed_of_its_time(latency):
    seen = []

    class Once(Strategy):
        def on_market(self, desk):
            if not seen:
                seen.append(desk.time_ns)
                desk.buy(series=1, price=500, qty=1)

    _, _, result = ran(Once(), every=DAY_NS, latency=latency)
    (own,) = result.commands[result.commands["account"] == result.account]
    assert own["time_ns"] == seen[0] + latency
    place = int(np.flatnonzero(result.commands["account"] == result.account)[0])
    assert (result.commands["time_ns"][:place] <= own["time_ns"]).all()
    assert (result.commands["time_ns"][place + 1 :] > own["time_ns"]).all()


def test_latencies_of_a_column_and_of_a_function_are_those_of_each_command():
    def always(view, memory, orders):
        memory[0] += 1
        return buy(orders, 0, 1, 300, 1, view["next_id"]) if view["is_own"] == 0 else 0

    _, feed, by_column = ran(always, count=40, latency=np.arange(41) * 11)
    *_, by_function = ran(always, count=40, latency=lambda times: np.arange(len(times)) * 11)
    assert digest(by_column) == digest(by_function)
    due = sorted(int(time_ns) + 11 * at for at, time_ns in enumerate(feed["time_ns"]))
    own = by_column.commands[by_column.commands["account"] == by_column.account]
    assert own["time_ns"].tolist() == due


# ── the money ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("strategy", [quoter, taker, Maker])
@pytest.mark.parametrize("cut", [300, None])
def test_profit_is_the_accounts_and_its_parts_add_up(strategy, cut):
    before, mine, _ = staged()
    cash, held = before.account(mine), [before.holding(account=mine, series=series).units for series in (1, 2)]
    market, _, result = ran(Maker() if strategy is Maker else strategy, cut=cut, latency=5, every="3h")
    after = market.account(mine)
    values = [result.data.value_of(series) for series in (1, 2)]
    units = [holding.units if (holding := market.holding(account=mine, series=series)) else 0 for series in (1, 2)]
    start = cash.cash_free + sum(count * 1_000 for count in held)
    end = after.cash_free + after.cash_locked + sum(count * value for count, value in zip(units, values, strict=True))
    assert result.profit == end - start
    assert result.other == 0
    assert result.profit == result.edge - result.charges - result.decay - result.expiry
    assert result.equity["at_value"][-1] == end
    assert result.equity["cash"][-1] == after.cash_free + after.cash_locked
    assert (result.decay > 0, result.expiry > 0) == ((True, True) if cut is None else (result.decay > 0, False))
    assert result.turnover == (result.fills["price"] * abs(result.fills["qty"])).sum()
    assert result.drawdown >= 0
    assert 0 <= result.maker_fills <= len(result.fills) == sum(1 for _ in result.fills)


def test_fills_tell_value_position_and_charges():
    market, _, result = ran(taker, latency=5)
    position = {1: 5_000, 2: 5_000}
    events = {int(event["event_seq"]): event for event in result.events}
    for fill in result.fills:
        series, event = int(fill["series"]), events[int(fill["event_seq"])]
        position[series] += int(fill["qty"])
        assert fill["position"] == position[series]
        first = event["account"] == result.account
        royalty = event["amount"] if fill["qty"] < 0 else 0
        assert fill["charge"] == (event["fee"] if first else event["other_fee"]) + royalty
        assert fill["is_maker"] == (not first)
    trades = result.data.trades
    mine = trades[np.isin(trades["event_seq"], result.fills["event_seq"])]
    assert mine["value"].tolist() == result.fills["value"].tolist()
    assert market.clock_ns == T0_NS + backtesting.SPAN_NS + 1


def test_a_result_shows_its_sums():
    *_, result = ran(taker)
    assert "profit at bid" in repr(result)
    assert f"{result.turnover:,}" in repr(result)
    assert "edge" in dir(result)
    with pytest.raises(AttributeError):
        result.luck  # noqa: B018


# ── strategies in Python ─────────────────────────────────────────────────────────────────────────


def test_a_strategy_is_called_at_its_intervals_its_timers_and_its_fills():
    maker = Maker()
    *_, result = ran(maker, every="6h", latency=1_000)
    kinds = [heard[0] for heard in maker.heard]
    assert kinds[0] == "start"
    assert kinds.count("timer") == 1
    times = [heard[1] for heard in maker.heard if heard[0] == "market"]
    assert set(np.diff(times)) == {6 * 3_600 * 10**9}
    assert sum(len(heard[2]) for heard in maker.heard if heard[0] == "fill") == len(result.fills)
    assert sorted(heard[1] for heard in maker.heard[1:]) == [heard[1] for heard in maker.heard[1:]]


def test_a_strategy_that_raises_is_heard_and_the_market_is_whole():
    class Breaks(Maker):
        def on_fill(self, *_):
            raise ZeroDivisionError

    market, mine, people = staged()
    feed = some_feed(1, COUNT, people)
    with pytest.raises(ZeroDivisionError):
        backtest(market, feed, Breaks(), account=mine, every="3h")
    market.check()
    other, *_ = staged()
    count = market.command_seq - other.command_seq
    assert count > 10
    assert market.event_records["command_seq"][-1] == market.command_seq
    assert market.place(series=1, account=mine, side="buy", price=1, qty=1)


def test_trades_are_seen_as_they_happen_and_a_position_ends_with_its_series():
    seen = []

    class Looks(Strategy):
        def on_market(self, desk):
            seen.append((len(desk.market.trades), len(desk.market.quotes), desk.position(1), desk.position(2)))
            with pytest.raises(MisuseError, match="there is none"):
                desk.position(99)
            with pytest.raises(MisuseError, match="fit a record"):
                desk.buy(series=-1, price=1, qty=1)

    *_, result = ran(Looks(), every="1d")
    assert 0 < seen[2][0] < seen[-1][0] <= len(result.data.trades)
    assert seen[0][2:] == (5_000, 5_000)
    assert seen[-1][3] == 0


def test_timers_end_with_the_feed():
    class Rearms(Strategy):
        calls = 0

        def on_start(self, desk):
            desk.wake(desk.time_ns + 1)

        def on_timer(self, desk):
            self.calls += 1
            desk.wake(desk.time_ns + DAY_NS)

    strategy = Rearms()
    ran(strategy, count=50, every="100d")
    assert 10 <= strategy.calls <= 13


def test_data_goes_on_after_a_run_without_events():
    market, _, people = staged()
    result = backtest(market, np.zeros(0, COMMAND))
    count = len(market.event_records)
    market.place(series=1, account=people[0], side="buy", price=500, qty=1)
    result.data.apply(market.event_records[count:])
    assert result.data.top(1)["bid"] == 500


def test_the_first_loss_is_a_drawdown():
    market, mine, people = staged()
    market.place(series=1, account=people[0], side="buy", price=100, qty=10)
    feed = np.zeros(1, COMMAND)
    feed["kind"], feed["time_ns"], feed["order_id"], feed["account"] = CommandKind.CANCEL, T0_NS + 1, 77, people[1]

    def hits(view, memory, orders):
        memory[0] += 1
        return sell(orders, 0, 1, 100, 10, view["next_id"]) if memory[0] == 1 else 0

    result = backtest(market, feed, hits, account=mine)
    assert result.drawdown == -result.profit > 0


def test_progress_may_not_use_the_market(monkeypatch):
    monkeypatch.setattr(module, "WINDOW", 64)
    market, mine, people = staged()

    def meddles(*_):
        market.place(series=1, account=mine, side="buy", price=500, qty=1)

    with pytest.raises(MisuseError, match="desk"):
        backtest(market, some_feed(1, 300, people), progress=meddles)
    market.check()
    MarketData(market.event_records)
    assert market.place(series=1, account=mine, side="buy", price=500, qty=1)


@pytest.mark.parametrize("line", range(12))
def test_a_run_interrupted_between_windows_keeps_every_event_once(line, monkeypatch):
    monkeypatch.setattr(module, "WINDOW", 64)
    market, _, people = staged()
    run_code, count, before = module._Run.run.__code__, 0, sys.gettrace()
    first = run_code.co_firstlineno

    def trace(frame, event, _):
        nonlocal count
        if frame.f_code is not run_code:
            return None
        if event == "line" and frame.f_lineno == first + 7 + line:
            count += 1
            if count == 2:
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        backtest(market, some_feed(1, 300, people))
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
    market.check()
    MarketData(market.event_records)
    assert market.event_records["command_seq"][-1] == market.command_seq


def test_a_strategy_asks_its_desk_and_not_the_market():
    class Asks(Strategy):
        def on_market(self, _):
            market.place(series=1, account=mine, side="buy", price=1, qty=1)

    market, mine, people = staged()
    with pytest.raises(MisuseError, match="desk"):
        backtest(market, some_feed(1, 50, people), Asks(), account=mine, every="6h")
    market.check()


# ── what is wrong ────────────────────────────────────────────────────────────────────────────────


def wrong(**changes):
    market, mine, people = staged()
    feed = some_feed(1, 20, people)
    given = {"market": market, "feed": feed, "strategy": quoter, "account": mine, "memory": np.zeros(4, np.int64), **changes}
    return backtest(given.pop("market"), given.pop("feed"), given.pop("strategy"), **given)


@pytest.mark.parametrize(
    "changes",
    [
        {"feed": None},
        {"feed": np.zeros(3)},
        {"strategy": "luck"},
        {"account": 0},
        {"account": 999},
        {"account": 3},
        {"account": True},
        {"latency": -1},
        {"latency": 2**62},
        {"latency": 10**30},
        {"strategy": Maker},
        {"memory": [0, 0, 0, 0]},
        {"memory": np.zeros(3, object)},
        {"market": None},
        {"account": 1},
        {"latency": "soon"},
        {"latency": np.zeros(3, np.int64)},
        {"latency": np.zeros(21)},
        {"progress": 3},
        {"keep_events": 1},
        {"strategy": Maker(), "every": 0},
        {"strategy": Maker(), "every": "never"},
    ],
)
def test_what_is_no_run_is_misuse_before_anything_runs(changes):
    with pytest.raises(MisuseError):
        wrong(**changes)


def test_a_feed_out_of_order_or_before_the_market_is_misuse():
    market, _, people = staged()
    feed = some_feed(1, 20, people)
    with pytest.raises(MisuseError, match="back in time at command"):
        backtest(market, feed[::-1], None)
    market.advance(to=T0_NS + DAY_NS)
    with pytest.raises(MisuseError, match="clock"):
        backtest(market, feed, None)
    for time_ns in (-(2**63), -1, 2**62):
        late = some_feed(1, 20, people)
        late["time_ns"][-1] = time_ns
        with pytest.raises(MisuseError, match="command 20"):
            backtest(market, late, None)
    feed["kind"][3] = 200
    with pytest.raises(MisuseError, match="command 3"):
        backtest(market, feed, None)


@pytest.mark.parametrize("market", [staged(engine="reference")[0], Exchange(keep_events=False)])
def test_a_market_that_cannot_be_driven_is_misuse(market):
    feed = np.zeros(1, COMMAND)
    feed["time_ns"], feed["kind"] = T0_NS + DAY_NS, CommandKind.ADVANCE
    with pytest.raises(MisuseError, match=r"compiled engine|keeps no events"):
        backtest(market, feed)


def test_an_empty_feed_is_a_run_too():
    market, mine, _ = staged()
    result = backtest(market, np.zeros(0, COMMAND), taker, account=mine, memory=np.zeros(4, np.int64))
    assert (len(result.commands), len(result.events), result.profit) == (0, 0, 0)


def test_progress_is_told_in_commands_of_the_feed(monkeypatch):
    monkeypatch.setattr(module, "WINDOW", 50)
    told = []
    _, feed, _ = ran(quoter, progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1] == (len(feed), len(feed))
    ran(count=30, progress=True)


def test_statuses_of_the_pump_are_apart():
    names = ("ENDED", "WAITS", "FULL", "FILLED", "CROWDED", "NO_ROOM", "NO_MARKS", "NO_ORDER")
    assert len({getattr(pump, name) for name in names}) == len(names)
    assert max(getattr(pump, name) for name in names) < pump.ENGINE
