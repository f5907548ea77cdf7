"""Events say everything: an outsider with the rules works out what the engine keeps to itself."""

from __future__ import annotations

import pytest

from market_flow import Flow, Judged
from outsider import Outsider
from rightsx.protocol import EventKind, event_records, events_of


@pytest.mark.parametrize("seed", range(200, 206))
def test_an_outsider_works_out_locks_lots_limits_and_phases(seed):
    judged, outsider = Judged(), Outsider()
    flow = Flow(seed, judged.market)
    commands = [*flow.opening(), *(None for _ in range(1_500))]
    for number, given in enumerate(commands):
        made, payload = given or flow.next()
        for event in judged.apply(made, payload, thorough=False):
            outsider.apply(event)
        assert not outsider.differences(judged.market), f"seed {seed}, command {number}: {made}"


def test_every_event_of_a_random_market_fits_its_record_and_leaves_are_numbered_without_gaps():
    judged, events = Judged(), []
    flow = Flow(77, judged.market)
    for made, payload in flow.opening():
        events += judged.apply(made, payload, thorough=False)
    for _ in range(6_000):
        events += judged.apply(*flow.next(), thorough=False)
    assert events_of(event_records(events)) == events
    leaves = [event.event_seq for event in events if event.kind < EventKind.REFUSED]
    assert leaves == list(range(len(leaves)))
    assert {event.event_seq for event in events if event.kind >= EventKind.REFUSED} == {-1}
    assert [event.command_seq for event in events] == sorted(event.command_seq for event in events)
    times = [event.time_ns for event in events]
    assert times == sorted(times)


def test_an_outsider_can_be_told_wrong():
    judged, outsider = Judged(), Outsider()
    flow = Flow(78, judged.market)
    for made, payload in flow.opening():
        for event in judged.apply(made, payload, thorough=False):
            outsider.apply(event._replace(amount=event.amount + 1) if event.kind == EventKind.DEPOSITED else event)
    assert outsider.differences(judged.market)
