"""Random markets: conservation, and events that say everything, after command upon command (R36, R37)."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from market_flow import Flow, Judged, random_market
from rightsx.protocol import CommandKind, Refusal
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
    random_market(seed, 1_500)


@settings(
    max_examples=int(os.environ.get("RIGHTSX_EXAMPLES", "25")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(seed=st.integers(0, 2**32), commands=st.integers(1, 150))
def test_a_random_market_of_any_length_adds_up(seed, commands):
    random_market(seed, commands)


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
