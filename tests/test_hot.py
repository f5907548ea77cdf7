"""The small entry begins every market: it does what the whole engine does, or hands over without a trace."""

from __future__ import annotations

import pytest

from market_flow import Flow, cold_commands
from rightsx import Exchange
from rightsx._jit import COMPILED, exact_entry
from rightsx.engine.desk import Desk
from rightsx.engine.hot import OP_ONE, OP_RUN, hot_entry
from rightsx.engine.state import BUSY
from rightsx.engine.twin import HOT, CompiledExchange, whole_entry
from rightsx.protocol import FIRST_COLD_KIND, Limits, Venue, command_records
from rightsx.reference.twin import ReferenceExchange

VENUE = Venue(gift_fee=2, reference_days=3, limits=Limits(orders=60, accounts=40, holdings=200, series=1_000))
COMMANDS = 4_000 if COMPILED else 600


def small():
    return exact_entry(hot_entry, 10, HOT)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("event_rows", [8, None])
def test_a_command_that_begins_small_ends_as_in_the_whole_engine(seed, event_rows):
    flow = Flow(seed, (judge := ReferenceExchange(VENUE))._market)
    begins_small, whole = (CompiledExchange(VENUE, event_rows=event_rows, first_rows=8) for _ in range(2))
    whole._call = whole_entry()
    script = flow.opening()
    stayed = 0
    for number in range(COMMANDS):
        record, payload = next(script, None) or flow.next()
        judge.apply(record, payload)
        begins_small._call = small()
        assert begins_small.apply_raw(record, payload) == whole.apply_raw(record, payload), f"command {number}"
        stayed += begins_small._call is small()
        if number % 10 == 0:
            assert begins_small.memory_hash() == whole.memory_hash(), f"command {number}"
    assert begins_small.memory_hash() == whole.memory_hash()
    assert COMMANDS // 50 < stayed < COMMANDS // 2, "there are usual commands and others"


def test_a_batch_that_begins_small_ends_as_in_the_whole_engine():
    flow = Flow(3, (judge := ReferenceExchange(VENUE))._market)
    begins_small, whole = (CompiledExchange(VENUE, first_rows=8) for _ in range(2))
    whole._call = whole_entry()
    for record, payload in flow.opening():
        for market in (judge, begins_small, whole):
            market.apply(record, payload)
    for _ in range(COMMANDS // 20):
        rows = []
        record, payload = flow.next()
        while record.kind < FIRST_COLD_KIND and len(rows) < 20:
            rows.append(record)
            judge.apply(record, payload)
            record, payload = flow.next()
        begins_small._call = small()
        batch = command_records(rows)
        assert begins_small.apply_batch(batch).tobytes() == whole.apply_batch(batch).tobytes()
        assert begins_small.memory_hash() == whole.memory_hash()
        for market in (judge, begins_small, whole):
            market.apply(record, payload)  # of any kind


def first_day(market):
    """Everything until the first fill: what is to need the small entry alone."""
    shop = market.register_merchant("Nord", time_ns="2026-01-01")
    till = market.register_store(merchant=shop, name="till")
    ann, bob = market.open_account(), market.open_account()
    for person in (shop, ann, bob):
        market.deposit(account=person, amount=100_000)
    coffee = market.list_series(
        merchant=shop, product="coffee", par=100, issue_price=80, authorised=99, expire="2026-06-30", policy="forfeit",
        stores=[till], channel_caps={"none": 50},
    )  # fmt: skip
    market.subscribe(series=coffee, account=ann, qty=20)
    market.import_members(series=coffee, rows=[(7, 250), (8, 99)])
    ask = market.place(series=coffee, account=ann, side="sell", price=95, qty=3)
    market.place(series=coffee, account=ann, side="sell", price=90, qty=3, time_ns="2026-01-02")
    market.cancel(account=ann, order_id=ask.order_id)
    assert market.place(series=coffee, account=bob, side="buy", price=91, qty=2).filled_qty == 2
    return ann, coffee


@pytest.mark.unaudited
def test_a_market_has_its_first_fill_before_it_needs_the_whole_engine():
    market = Exchange()
    ann, coffee = first_day(market)
    twin = market._twin
    assert twin._call is small()
    first = market._line._call
    ask = market.place(series=coffee, account=ann, side="sell", price=97, qty=3)
    market.amend(account=ann, order_id=ask.order_id, qty=2)
    assert twin._call is whole_entry()
    assert market._line._call is not first, "the next plain order goes straight to the whole engine"
    market.check()


def refused(market, ann, coffee):
    """What is refused, or waits for something that falls due: the calls, to be made one by one."""
    return [
        lambda: market.place(series=coffee, account=ann, side="sell", price=97, qty=10**6),
        lambda: market.subscribe(series=coffee, account=ann, qty=10**6),
        lambda: market.deposit(account=ann, amount=0),
        lambda: market.open_account(time_ns="2025-01-01"),
        lambda: market.open_account(time_ns="2026-07-01"),
    ]


@pytest.mark.unaudited
def test_what_is_refused_or_meets_a_deadline_is_the_same_from_either_entry():
    answers = {}
    for prepare in (small, whole_entry):
        market = Exchange()
        told = answers[prepare] = []
        for call in refused(market, *first_day(market)):
            market._twin._call = prepare()
            told.append(call().events)
        told.append(market.state_hash())
    assert answers[small] == answers[whole_entry]


# ── what Python asks of either ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("entry", [small, whole_entry])
def test_what_a_cold_command_asks_of_the_kernel_twice_is_done_once(entry):
    markets = [CompiledExchange(VENUE, first_rows=8) for _ in range(2)]
    for market in markets:
        market._call = entry()
    once, twice = markets
    operate = twice._operate
    twice._operate = lambda what, *numbers: [operate(what, *numbers) for _ in range(1 if what == OP_RUN else 2)][-1]
    for record, payload in cold_commands():
        assert twice.apply_raw(record, payload) == once.apply_raw(record, payload)
        assert twice.memory_hash() == once.memory_hash()


def test_a_cold_command_that_was_cut_short_goes_on_in_the_whole_engine(monkeypatch):
    market, whole = (CompiledExchange(VENUE, first_rows=8) for _ in range(2))
    command = next(Flow(1, ReferenceExchange(VENUE)._market).opening())  # without a `ref`
    run, failed = Desk.run, []

    def cut_short(*arguments):
        if not failed:
            failed.append(1)
            raise MemoryError
        run(*arguments)

    monkeypatch.setattr(Desk, "run", cut_short)
    with pytest.raises(MemoryError):
        market.apply_raw(*command)
    assert market._call is whole_entry()
    assert market.take_unread(0).tobytes() == whole.apply_raw(*command)
    assert market.canonical() == whole.canonical()


@pytest.mark.parametrize("entry", [small, whole_entry])
def test_either_entry_is_busy_while_python_holds_a_run_and_takes_no_number_too_large(entry):
    market = CompiledExchange(VENUE, first_rows=8)
    market._call = entry()
    before = market.memory_hash()
    assert market._operate(OP_ONE, 1, 2**32, 1, 0, 5, 1, 0, 0) == -1
    market._memory.world["held"] = 1
    assert market._operate(OP_ONE, 1, 1, 1, 0, 5, 1, 0, 0) & 3 == BUSY
    assert market.memory_hash() == before
