"""Words, dates and spans become integers in one place, and wrong ones say what is due."""

from __future__ import annotations

import datetime as dt

import pytest

from rightsx import schedule
from rightsx.border import SIDES, iso, span_ns, text, time_ns, word
from rightsx.errors import MisuseError
from rightsx.protocol import DAY_NS, T0_NS, Refusal, Side


@pytest.mark.parametrize(
    "value",
    [
        T0_NS,
        "2026-01-01",
        "2026-01-01T00:00:00Z",
        "2026-01-01T02:00:00+02:00",
        dt.date(2026, 1, 1),
        dt.datetime(2026, 1, 1),  # noqa: DTZ001 - a time without a zone is UTC
        dt.datetime(2026, 1, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=2))),
    ],
)
def test_one_moment_can_be_said_in_many_ways(value):
    assert time_ns("expire", value) == T0_NS


@pytest.mark.parametrize("value", ["tomorrow", "2026-13-01", 1.5, True, None, [1]])
def test_a_wrong_moment_is_misuse(value):
    with pytest.raises(MisuseError) as caught:
        time_ns("expire", value)
    assert caught.value.code == Refusal.BadTime


@pytest.mark.parametrize(
    ("value", "ns"),
    [
        (5, 5),
        ("90s", 90 * 10**9),
        ("1d 12h", DAY_NS * 3 // 2),
        ("2w", 14 * DAY_NS),
        ("3ms", 3_000_000),
        ("1ns", 1),
        ("4us", 4_000),
        ("5m", 300 * 10**9),
        (dt.timedelta(days=1), DAY_NS),
        (dt.timedelta(microseconds=1), 1_000),
    ],
)
def test_one_span_can_be_said_in_many_ways(value, ns):
    assert span_ns("hold", value) == ns


@pytest.mark.parametrize("value", ["", "soon", "5", "1.5h", "5x", 2.5, False])
def test_a_wrong_span_is_misuse(value):
    with pytest.raises(MisuseError):
        span_ns("hold", value)


def test_words_are_looked_up_whatever_their_case():
    assert word("side", "Sell", SIDES) is Side.SELL
    assert word("side", Side.BUY, SIDES) is Side.BUY
    with pytest.raises(MisuseError, match="side was 'both'; one of buy, sell is due"):
        word("side", "both", SIDES)


def test_a_text_has_a_length():
    assert text("name", "ä", 2) == "ä"
    for wrong in ("", "ää", 5, None):
        with pytest.raises(MisuseError):
            text("name", wrong, 2)


def test_moments_are_written_as_fine_as_they_need_to_be():
    assert iso(T0_NS + 3_600 * 10**9) == "2026-01-01 01:00:00"
    assert iso(2**62) == "2116-02-20 23:53:38.427387904"
    assert iso(2**80) == f"{2**80} ns"


# ── schedules (R8) ───────────────────────────────────────────────────────────────────────────────


def test_a_cliff_has_no_steps():
    assert schedule.cliff().compile(100, 10) == []


@pytest.mark.parametrize(("par", "values"), [(97, [77, 58, 38, 19]), (1, [0, 0, 0, 0])])
def test_linear_falls_in_equal_parts(par, values):
    steps = schedule.linear(steps=5, every="1d").compile(par, 10 * DAY_NS)
    assert [value for _, value in steps] == values
    assert [ns // DAY_NS for ns, _ in steps] == [6, 7, 8, 9]


def test_linear_of_one_step_is_a_cliff():
    assert schedule.linear(steps=1, every="1d").compile(100, DAY_NS) == []


def test_geometric_multiplies_and_rounds_down_each_time():
    steps = schedule.geometric(num=9, den=10, steps=10, every=1).compile(100, 10)
    assert [value for _, value in steps] == [90, 81, 72, 64, 57, 51, 45, 40, 36, 32]
    assert [ns for ns, _ in steps] == list(range(10))


def test_stepwise_is_taken_as_given():
    assert schedule.stepwise([("2026-01-01", 80), (5, 90)]).compile(100, 10) == [(T0_NS, 80), (5, 90)]


@pytest.mark.parametrize(
    "make",
    [
        lambda: schedule.linear(steps=0, every="1d"),
        lambda: schedule.linear(steps=4_098, every="1d"),
        lambda: schedule.linear(steps=5, every=0),
        lambda: schedule.linear(steps=5.0, every="1d"),
        lambda: schedule.geometric(num=11, den=10, steps=3, every="1d"),
        lambda: schedule.geometric(num=0, den=0, steps=3, every="1d"),
        lambda: schedule.geometric(num=-1, den=2, steps=3, every="1d"),
        lambda: schedule.stepwise([(1, 2.0)]),
    ],
)
def test_a_shape_of_wrong_numbers_is_misuse(make):
    with pytest.raises(MisuseError):
        make()
