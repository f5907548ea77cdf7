"""Random markets: conservation, and events that say everything, after command upon command (R36, R37)."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from market_flow import Flow, Judged, random_market
from rightsx.protocol import FIRST_COLD_KIND, T0_NS, Command, CommandKind, Refusal
from rightsx.reference.audit import state_hash
from rightsx.reference.run import run
from rightsx.vocabulary import unpack

LONG_SEEDS = tuple(range(1, 11))
LONG_COMMANDS = 20_000


@pytest.mark.parametrize("seed", LONG_SEEDS)
def test_long_random_markets_add_up(seed):
    """200,000 commands in all, every fiftieth checked thoroughly and each market at its end."""
    judged = random_market(seed, LONG_COMMANDS, thorough_every=50)
    assert judged.commands >= LONG_COMMANDS


@pytest.mark.parametrize("seed", range(1_000, 1_006))
def test_every_command_of_a_random_market_adds_up(seed):
    assert random_market(seed, 1_500).commands > 1_500


EXAMPLES = settings(
    max_examples=int(os.environ.get("RIGHTSX_EXAMPLES", "30")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@EXAMPLES
@given(choices=st.randoms(use_true_random=False), commands=st.integers(1, 60))
def test_a_random_market_of_any_length_adds_up(choices, commands):
    """Every choice of the flow is Hypothesis' own, so that a failure shrinks to the fewest commands."""
    assert random_market(choices, commands).commands > commands


def edges(low, high):
    """Draw numbers of a field's whole range, its edges and small ones above all."""
    special = [value for value in (0, 1, 2, 3, -1, 2**31 - 1, 2**31, 2**48, 2**62 - 1, 2**62, low, high) if low <= value <= high]
    return st.sampled_from(special) | st.integers(max(low, 0), min(high, 12)) | st.integers(low, high)


ANYTHING = st.builds(
    Command,
    time_ns=st.just(T0_NS + 2) | edges(-(2**63), 2**63 - 1),
    kind=st.sampled_from([kind for kind in CommandKind if kind < FIRST_COLD_KIND]),
    side=edges(0, 255),
    time_in_force=edges(0, 255),
    flags=edges(0, 255),
    series=edges(0, 2**32 - 1),
    account=edges(0, 2**32 - 1),
    other_account=edges(0, 2**32 - 1),
    order_id=edges(-(2**63), 2**63 - 1),
    price=edges(-(2**63), 2**63 - 1),
    qty=edges(-(2**63), 2**63 - 1),
    deadline_ns=st.just(T0_NS + 5) | edges(-(2**63), 2**63 - 1),
    display=edges(-(2**63), 2**63 - 1),
    stop_price=edges(-(2**63), 2**63 - 1),
    ref=edges(0, 2**64 - 1),
)


@EXAMPLES
@given(commands=st.lists(ANYTHING, min_size=1, max_size=40))
def test_no_record_whatever_breaks_the_market(commands):
    """Commands of any bytes are accepted or refused, and the books add up after each."""
    judged = Judged()
    for made, payload in Flow(3, judged.market).opening():
        judged.apply(made, payload, thorough=False)
    for made in commands:
        assert judged.apply(made, b"", thorough=True)


def test_random_markets_meet_every_refusal_and_every_command():
    refusals, kinds = set(), set()
    for seed in range(50, 62):
        judged = random_market(seed, 6_000, thorough_every=10**9)
        refusals |= set(judged.refusals)
        kinds |= set(judged.kinds)
    assert {refusal.name for refusal in Refusal} - refusals <= {"ScheduleNotMonotone", "ScheduleBelowPrincipal"}
    assert {kind.name for kind in CommandKind} == kinds


def test_the_same_commands_give_the_same_events_and_state():
    first = Judged()
    flow = Flow(7, first.market)
    commands = list(flow.opening())
    for made, payload in commands:
        run(first.market, made, unpack(made, payload) if payload else {})
    events = []
    for _ in range(2_000):
        made, payload = flow.next()
        commands.append((made, payload))
        events += run(first.market, made, unpack(made, payload) if payload else {})
    second = Judged()
    replayed = []
    for made, payload in commands:
        replayed += run(second.market, made, unpack(made, payload) if payload else {})
    assert replayed[-len(events) :] == events
    assert state_hash(first.market) == state_hash(second.market)
