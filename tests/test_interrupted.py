"""An exchange that is cut short, by Ctrl-C or for want of memory, has done whole commands and lost no event."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from interrupter import Interrupter
from market_flow import Flow, cold_commands
from rightsx import _jit
from rightsx._jit import COMPILED
from rightsx.engine import memory
from rightsx.engine.twin import CompiledExchange, whole_entry
from rightsx.errors import AuditError
from rightsx.exchange import Exchange
from rightsx.protocol import (
    FIRST_COLD_KIND,
    CommandKind as K,
    Limits,
    Venue,
    command_records,
    event_records,
    events_of,
)
from rightsx.reference.audit import canonical
from rightsx.reference.twin import ReferenceExchange

whole_kernels = pytest.mark.skipif(not COMPILED, reason="a kernel that is not compiled can be interrupted itself")
VENUE = Venue(gift_fee=2, reference_days=3, limits=Limits(orders=60, accounts=40, holdings=200, series=1_000))


@pytest.fixture(scope="module", autouse=True)
def compiled():
    """Have the whole engine at hand: compiling it is not what is interrupted here."""
    whole_entry()


@pytest.fixture(scope="module")
def flow():
    """An opening, and hot commands that grow every table and sweep: with the events and the state that are due."""
    reference = ReferenceExchange(VENUE)
    made = Flow(11, reference._market)
    opening, rows = list(made.opening()), []
    for record, payload in opening:
        reference.apply(record, payload)
    events = []
    while len(rows) < 90:
        record, payload = made.next()
        if record.kind < FIRST_COLD_KIND:
            rows.append(record)
            events += reference.apply(record, payload)
    return opening, command_records(rows), event_records(events), canonical(reference._market)


def begun(flow):
    market = CompiledExchange(VENUE, event_rows=8, first_rows=8)
    for record, payload in flow[0]:
        market.apply(record, payload)
    return market


def cut_short(flow, *moments):
    """Apply the batch, interrupted, then the rest of it: all events, the market, the instructions passed."""
    market, told = begun(flow), []
    rows = flow[1]
    try:
        with Interrupter(*moments) as interrupter:
            told.append(market.apply_batch(rows))
    except KeyboardInterrupt:
        before = len(flow[0])
        events = market.take_unread(before)
        assert len(market.take_unread(before + len(rows))) == 0, "what was taken is taken"
        done = int(events["command_seq"].max(initial=before)) - before
        told += [events, market.apply_batch(rows[done:])]
    return np.concatenate(told), market, interrupter.passed


@whole_kernels
def test_a_batch_interrupted_anywhere_has_done_whole_commands_and_keeps_their_events(flow):
    events, market, moments = cut_short(flow)
    assert events.tobytes() == flow[2].tobytes()
    raw = market.memory_hash()
    assert moments > 200
    for moment in range(1, moments):
        events, market, _ = cut_short(flow, moment)
        assert events.tobytes() == flow[2].tobytes(), f"interrupted at {moment}"
        assert market.memory_hash() == raw, f"interrupted at {moment}"
    assert market.canonical() == flow[3]


@whole_kernels
def test_a_batch_interrupted_while_it_settles_settles_later(flow):
    *_, moments = cut_short(flow)
    for first in range(5, moments, 7):
        events, market, _ = cut_short(flow, first, first + first % 17 + 1)
        assert events.tobytes() == flow[2].tobytes(), f"interrupted at {first}"
        assert market.canonical() == flow[3], f"interrupted at {first}"


def opened(flow, **how):
    market = Exchange(gift_fee=2, reference_days=3, limits=VENUE.limits, **how)
    for record, payload in flow[0]:
        market.apply(record, payload)
    return market


@whole_kernels
@pytest.mark.unaudited
@pytest.mark.parametrize("keeps", [True, False])
def test_an_interrupted_exchange_keeps_its_events(flow, keeps):
    market, found = opened(flow), set()
    with Interrupter() as whole:
        market.apply_batch(flow[1])
    for moment in range(1, whole.passed + 1):
        market = opened(flow, keep_events=keeps)
        before = len(market.events)
        with Interrupter(moment):
            try:
                told, done = market.apply_batch(flow[1]), len(flow[1])
            except KeyboardInterrupt:
                done, told = market.take_unread()
        found.add(done)
        assert len(market.events) - before == len(told) * keeps
        rest = market.apply_batch(flow[1][done:])
        assert np.concatenate([told, rest]).tobytes() == flow[2].tobytes()
        assert market.take_unread()[0] == 0
    assert found == {0, len(flow[1])}, "the whole batch is one call of the kernel"


def orders_of(market, shop, ann):
    """Place three orders, of which the last two meet, and cancel one: the calls, to be made one by one."""
    coffee = market.list_series(
        merchant=shop, product="coffee", par=100, issue_price=80, authorised=99, expire="2026-06-30", policy="forfeit"
    )
    market.subscribe(series=coffee, account=ann, qty=9)
    bob = market.open_account()
    market.deposit(account=bob, amount=10_000)
    first = 2**62
    return [
        lambda: market.place(series=int(coffee), account=int(ann), side="sell", price=95, qty=3, order_id=first),
        lambda: market.place(series=int(coffee), account=int(ann), side="sell", price=90, qty=3, order_id=first + 1),
        lambda: market.place(series=int(coffee), account=int(bob), side="buy", price=91, qty=3, order_id=first + 2),
        lambda: market.amend(account=int(ann), order_id=first, qty=2),
        lambda: market.cancel(account=int(ann), order_id=first),
        lambda: market.cancel(account=int(ann), order_id=first),
        lambda: market.place(series=int(coffee), account=int(ann), side="sell", price=94, qty=3, display=1),
        lambda: market.redeem(series=coffee, account=ann, qty=1),
        market.open_account,
        lambda: market.register_store(merchant=shop, name="till"),
        lambda: market.import_members(series=coffee, rows=[(7, 250), (8, 99)]),
    ]


def staged(keeps):
    market = Exchange(keep_events=keeps)
    shop, ann = market.register_merchant("Nord", time_ns="2026-01-01"), market.open_account()
    market.deposit(account=ann, amount=10_000)
    return market, orders_of(market, shop, ann)


@whole_kernels
@pytest.mark.unaudited
@pytest.mark.parametrize("keeps", [True, False])
def test_a_single_order_interrupted_anywhere_is_done_and_told_or_was_not_begun(keeps):
    market, calls = staged(keeps)
    due = [call().events for call in calls]
    final, history = market.state_hash(), market.events
    outcomes = set()
    for which in range(len(calls)):
        moment = passed = 0
        while moment <= passed:
            moment += 1
            market, calls = staged(keeps)
            told = [call().events for call in calls[:which]]
            with Interrupter(moment) as interrupter:
                try:
                    result = calls[which]()
                except KeyboardInterrupt:
                    result = None
            passed = interrupter.passed
            done, records = market.take_unread()
            outcomes.add((result is not None, done))
            assert result is None or not done, "what was told is not unread"
            result = calls[which]() if result is None and not done else result
            told.append(tuple(events_of(records)) if done else result.events)
            told += [call().events for call in calls[which + 1 :]]
            assert told == due, f"order {which} interrupted at {moment}"
            assert market.events == history
            assert market.state_hash() == final
    assert outcomes == {(True, 0), (False, 0), (False, 1)}


def test_growing_without_memory_changes_nothing(flow, monkeypatch):
    market = begun(flow)
    state = market.canonical()
    monkeypatch.setattr(memory, "grown", _no_memory)
    failed = 0
    for row in range(len(flow[1])):
        try:
            market.apply_batch(flow[1][row : row + 1])
        except MemoryError:
            failed += 1
            break
    assert failed
    monkeypatch.undo()
    before = len(flow[0]) + row
    done = int(market.take_unread(before)["command_seq"].max(initial=before)) - before
    market.apply_batch(flow[1][row + done :])
    assert market.canonical() == flow[3] != state


def _no_memory(*_):
    raise MemoryError


# ── cold commands ────────────────────────────────────────────────────────────────────────────────


@whole_kernels
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of a generator that is closed then
@pytest.mark.parametrize("again", [None, 1, 5])
def test_a_cold_command_interrupted_anywhere_is_finished_or_was_not_begun(again):
    """`again` is how many moments after the first the finishing is interrupted itself."""
    script = list(cold_commands())
    whole, due, states = CompiledExchange(VENUE, event_rows=8, first_rows=8), [], []
    for record, payload in script:
        due.append(whole.apply_raw(record, payload))
        states.append(whole.memory_hash())
    whole.check()
    reference = ReferenceExchange(VENUE)
    assert [event_records(reference.apply(*pair)).tobytes() for pair in script] == due
    assert canonical(reference._market) == whole.canonical()
    outcomes = set()
    for which, (record, payload) in enumerate(script):
        if not payload:
            continue
        moment = passed = 0
        while moment <= passed:
            moment += 4 if again else 1
            market = CompiledExchange(VENUE, event_rows=8, first_rows=8)
            for pair in script[:which]:
                market.apply_raw(*pair)
            told = b""
            moments = [moment, moment + again] if again else [moment]
            with contextlib.suppress(KeyboardInterrupt), Interrupter(*moments) as interrupter:
                told = market.apply_raw(record, payload)
            passed = interrupter.passed
            was_told = bool(told)
            told = told or market.take_unread(which).tobytes()
            outcomes.add((was_told, bool(told)))
            told = told or market.apply_raw(record, payload)
            assert told == due[which], f"command {which} interrupted at {moment}"
            assert market.memory_hash() == states[which], f"command {which} interrupted at {moment}"
            if moment % 10 == 0:
                assert [market.apply_raw(*pair) for pair in script[which + 1 :]] == due[which + 1 :]
                assert market.memory_hash() == states[-1]
                market.check()
    assert outcomes == {(True, True), (False, True), (False, False)}


def test_a_cold_command_without_memory_is_finished_when_there_is_some(monkeypatch):
    script = list(cold_commands())
    due = []
    whole = CompiledExchange(VENUE, first_rows=8)
    due = [whole.apply_raw(*pair) for pair in script]
    market, failed = CompiledExchange(VENUE, first_rows=8), 0
    for which, pair in enumerate(script):
        monkeypatch.setattr(_jit, "aligned_zeros", _no_memory)
        monkeypatch.setattr(memory, "aligned_zeros", _no_memory)
        monkeypatch.setattr(memory, "grown", _no_memory)
        told = b""
        for _ in range(2):
            try:
                told = told or market.apply_raw(*pair)
            except MemoryError:
                failed += 1
        monkeypatch.undo()
        told = told or market.take_unread(which).tobytes() or market.apply_raw(*pair)
        assert told == due[which]
    assert failed > 3
    assert market.memory_hash() == whole.memory_hash()


def test_a_batch_that_is_forged_while_it_runs_stops_the_market(flow, monkeypatch):
    market = begun(flow)
    rows = flow[1].copy()
    run = market._run

    def forging(started, count):
        rows["kind"][-1] = K.LIST_SERIES
        run(started, count)

    monkeypatch.setattr(market, "_run", forging)
    with pytest.raises(AuditError, match="commands changed while they ran"):
        market.apply_batch(rows)
    monkeypatch.undo()
    with pytest.raises(AuditError, match="cannot go on"):
        market.apply_batch(flow[1][:1])
