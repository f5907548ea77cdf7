"""An exchange that is cut short, by Ctrl-C or for want of memory, has done whole commands and lost no event."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from market_flow import Flow
from rightsx._jit import COMPILED
from rightsx.engine import memory, twin
from rightsx.engine.desk import Desk
from rightsx.engine.twin import CompiledExchange
from rightsx.errors import AuditError
from rightsx.exchange import Exchange
from rightsx.protocol import FIRST_COLD_KIND, Limits, Venue, command_records, event_records
from rightsx.reference.audit import canonical
from rightsx.reference.twin import ReferenceExchange

whole_kernels = pytest.mark.skipif(not COMPILED, reason="a kernel that is not compiled can be interrupted itself")
VENUE = Venue(gift_fee=2, reference_days=3, limits=Limits(orders=60, accounts=40, holdings=200, series=1_000))


class Interrupter:
    """Raises a KeyboardInterrupt at the given instruction of the twin or of its memory."""

    FILES = (twin.__file__, memory.__file__)

    def __init__(self, *moments):
        self.moments, self.passed = set(moments), 0
        lines = Path(twin.__file__).read_text().splitlines()
        begins = next(n for n, line in enumerate(lines, 1) if line.startswith("    def _run("))
        # From here the caller has the events: nothing between this line and the caller lets an interrupt in.
        self.last_line = next(n for n, line in enumerate(lines, 1) if n > begins and line == "        self._begun = None")

    def __enter__(self):
        self.before = sys.gettrace()
        sys.settrace(self.trace)
        return self

    def __exit__(self, *_):
        sys.settrace(self.before)

    def trace(self, frame, event, _):
        if frame.f_code.co_filename not in self.FILES:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        ended = frame.f_code.co_name == "apply_batch" or (frame.f_code.co_name == "_run" and frame.f_lineno >= self.last_line)
        if event == "opcode" and not ended:
            self.passed += 1
            if self.passed in self.moments:
                raise KeyboardInterrupt
        return self.trace


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
        done, events = market.take_unread()
        assert len(market.take_unread()[1]) == 0, "what was taken is taken"
        told += [events, market.apply_batch(rows[done:])]
    return np.concatenate(told), market, interrupter.passed


@whole_kernels
def test_a_batch_interrupted_anywhere_has_done_whole_commands_and_keeps_their_events(flow):
    events, market, moments = cut_short(flow)
    assert events.tobytes() == flow[2].tobytes()
    raw = market.memory_hash()
    assert moments > 2_000
    for moment in range(1, moments, 23):
        events, market, _ = cut_short(flow, moment)
        assert events.tobytes() == flow[2].tobytes(), f"interrupted at {moment}"
        assert market.memory_hash() == raw, f"interrupted at {moment}"
    assert market.canonical() == flow[3]


@whole_kernels
def test_a_batch_interrupted_while_it_settles_settles_later(flow):
    *_, moments = cut_short(flow)
    for first in range(5, moments, 149):
        events, market, _ = cut_short(flow, first, first + first % 37 + 1)
        assert events.tobytes() == flow[2].tobytes(), f"interrupted at {first}"
        assert market.canonical() == flow[3], f"interrupted at {first}"


@whole_kernels
@pytest.mark.unaudited
def test_an_interrupted_exchange_keeps_its_events(flow):
    found = set()
    for moment in range(20, 220, 9):
        market = Exchange(gift_fee=2, reference_days=3, limits=VENUE.limits)
        for record, payload in flow[0]:
            market.apply(record, payload)
        before = len(market.events)
        with pytest.raises(KeyboardInterrupt), Interrupter(moment):
            market.apply_batch(flow[1])
        done, events = market.take_unread()
        found.add(done)
        assert len(market.events) - before == len(events)
        rest = market.apply_batch(flow[1][done:])
        assert np.concatenate([events, rest]).tobytes() == flow[2].tobytes()
        assert market.take_unread()[0] == 0
    assert found == {0, len(flow[1])}, "the whole batch is one call of the kernel"


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
    done, _ = market.take_unread()
    market.apply_batch(flow[1][row + done :])
    assert market.canonical() == flow[3] != state


def _no_memory(*_):
    raise MemoryError


def test_a_cold_command_cut_short_in_its_writes_stops_the_market(flow, monkeypatch):
    market = begun(flow)
    listing = next(pair for pair in reversed(flow[0]) if pair[1])
    monkeypatch.setattr(Desk, "commit_series", _no_memory)
    with pytest.raises((AuditError, MemoryError)):
        market.apply(*listing)
    monkeypatch.undo()
    with pytest.raises(AuditError, match="cannot go on"):
        market.apply_batch(flow[1][:1])
