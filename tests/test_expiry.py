"""The timing wheel against a plain sorted list; the same tests run compiled and uncompiled."""

from __future__ import annotations

import copy
import hashlib
import os
import pickle
import random
import subprocess
import sys
from pathlib import Path

import bench_expiry
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from rightsx import expiry
from rightsx._jit import COMPILED, INT64_SIGN, Tables, entry
from rightsx.errors import MisuseError
from rightsx.expiry import (
    BUCKET_INDEX,
    FAN,
    FIRED,
    FIRST_FIRED,
    LAST_GENERATION,
    LEVELS,
    NIL,
    NUMBER,
    QUEUES,
    READY,
    TIMER_INDEX,
    WHEEL_INDEX,
    WHEEL_TABLES,
    Fired,
    TimingWheel,
    level_of,
    timer_free,
    timer_next,
    timers_armed,
    timers_grow,
    wheel_arm,
    wheel_check,
    wheel_disarm,
    wheel_due,
    wheel_has_room,
    wheel_idle_until,
    wheel_pop,
    wheel_tables,
)
from rightsx.protocol import INT64_MAX, INT64_MIN, Refusal

MANY = 1_000_000 if COMPILED else 2_000
STEPS = 1_000 if COMPILED else 500
CENTURY_NS = 36_525 * 86_400 * 10**9
NOW_NS = 1_767_225_600_000_000_000

# ── the kernels, as an engine would call them ────────────────────────────────────────────────────

ARM, DISARM, POP, FREE, DUE, IDLE, ROOM, NEXT, LEVEL = range(9)


def engine_call(state: int, what: int, a: int, b: int, c: int, d: int, e: int, f: int) -> int:
    """Call one kernel of the wheel."""
    if what == ARM:
        return wheel_arm(state, a, b, c, d, e, f)
    if what == POP:
        return wheel_pop(state, a)
    if what == DUE:
        return wheel_due(state)
    if what == IDLE:
        return wheel_idle_until(state)
    if what == ROOM:
        return 1 if wheel_has_room(state, a) else 0
    if what == NEXT:
        return timer_next(state)
    if what == LEVEL:
        return level_of(a)
    if what == DISARM:
        wheel_disarm(state, a)
    else:
        timer_free(state, a)
    return 0


class Engine:
    """A wheel in tables of its own, as an engine keeps it; numbers armings unless told otherwise."""

    def __init__(self, *, rows=64, now_ns=0):
        self.tables = Tables((NUMBER,) * WHEEL_INDEX + WHEEL_TABLES)
        wheel_tables(self.tables, timer_rows=rows, now_ns=now_ns)
        self.call = entry(engine_call, 8, "tests of the timing wheel")
        self.seq = 0

    @property
    def wheel(self):
        return self.tables.arrays[WHEEL_INDEX][0]

    def row(self, slot):
        return self.tables.arrays[TIMER_INDEX][slot]

    def do(self, what, *numbers):
        return self.call(self.tables.state, what, *numbers, *(0,) * (6 - len(numbers)))

    def arm(self, due_ns, rank=0, seq=None, kind=0, subject=0, ref=0):
        self.seq += 1
        if not self.do(ROOM, 1):
            timers_grow(self.tables)
        return self.do(ARM, due_ns, rank, self.seq if seq is None else seq, kind, subject, ref)

    def fire(self, until_ns):
        """Pop and free everything due; (due, rank, seq) of each."""
        fired = []
        while (slot := self.do(POP, until_ns)) != NIL:
            row = self.row(slot)
            fired.append((int(row["due_ns"]), int(row["rank"]), int(row["seq"])))
            self.do(FREE, slot)
        return fired

    def bytes(self):
        return b"".join(self.tables.arrays[index].tobytes() for index in (WHEEL_INDEX, BUCKET_INDEX, TIMER_INDEX))


class Pair:
    """A wheel and the sorted list that judges it, driven together."""

    def __init__(self, *, now_ns=0, rows=4):
        self.engine = Engine(rows=rows, now_ns=now_ns)
        self.now_ns = now_ns
        self.armed = {}  # slot → (due, rank, seq)
        self.popped = []  # slots not yet freed

    def arm(self, due_ns, rank, seq):
        slot = self.engine.arm(due_ns, rank, seq, kind=seq % 7, subject=-seq, ref=seq * 3)
        assert slot not in self.armed
        assert slot not in self.popped
        assert slot != NIL
        self.armed[slot] = (due_ns, rank, seq)

    def disarm(self, which):
        if self.armed:
            slot = sorted(self.armed)[which % len(self.armed)]
            del self.armed[slot]
            self.engine.do(DISARM, slot)

    def pop(self, until_ns):
        slot = self.engine.do(POP, until_ns)
        due = [key for key in self.armed.values() if key[0] <= until_ns]
        if not due:
            assert slot == NIL
            self.now_ns = max(self.now_ns, until_ns)
            return False
        assert self.armed.pop(slot) == min(due)
        row = self.engine.row(slot)
        seq = min(due)[2]
        assert (row["kind"], row["subject"], row["ref"]) == (seq % 7, -seq, seq * 3)
        self.now_ns = max(self.now_ns, min(due)[0])
        self.popped.append(slot)
        return True

    def free(self):
        if self.popped:
            self.engine.do(FREE, self.popped.pop())

    def check(self):
        wheel_check(self.engine.tables)
        wheel = self.engine.wheel
        assert (wheel["armed"], wheel["popped"], wheel["now_ns"]) == (len(self.armed), len(self.popped), self.now_ns)
        first = min((key[0] for key in self.armed.values()), default=-1)
        assert self.engine.do(DUE) == first
        assert self.engine.do(IDLE) <= (INT64_MAX if first < 0 else first)


def far_and_near(rng, now_ns):
    """Give a due time: near, far, long past, or one of few that many share."""
    span = rng.choice((0, 1, 3, 64, 4_096, 10**6, 10**12, CENTURY_NS, INT64_MAX))
    at = rng.choice((now_ns, now_ns, 0, 2**40, 2**62))
    return max(0, min(INT64_MAX, at + rng.randint(-span, span)))


def random_steps(pair, rng, count, check_every):
    """Arm, disarm, pop and free at random, with few or many ranks, and seqs in or out of order."""
    ranks, disorder = rng.choice((1, 8, 100)), rng.choice((0, 5, 10**6))
    for step in range(count):
        chance = rng.random()
        if chance < 0.5:
            pair.arm(far_and_near(rng, pair.now_ns), rng.randrange(ranks), 10**7 + 10 * step - rng.randint(0, disorder) * 10)
        elif chance < 0.65:
            pair.disarm(rng.randrange(2**30))
        elif chance < 0.95:
            pair.pop(max(pair.now_ns, far_and_near(rng, pair.now_ns)) if chance < 0.7 else pair.now_ns)
        else:
            pair.free()
        if step % check_every == 0:
            pair.check()


@pytest.mark.parametrize("seed", range(12))
def test_random_operations_agree_with_a_sorted_list(seed):
    rng = random.Random(seed)
    pair = Pair(now_ns=rng.choice((0, NOW_NS, 2**62)))
    random_steps(pair, rng, STEPS, 7)
    while pair.pop(INT64_MAX):
        pair.free()
    pair.check()


OPERATION = st.one_of(
    st.tuples(st.just("arm"), st.one_of(st.integers(0, 70), st.integers(0, INT64_MAX)), st.integers(0, 2), st.integers(0, 9)),
    st.tuples(st.just("disarm"), st.integers(0, 20)),
    st.tuples(st.just("pop"), st.one_of(st.integers(0, 70), st.integers(0, INT64_MAX))),
    st.tuples(st.just("free")),
)


@settings(max_examples=300 if COMPILED else 150, deadline=None)
@given(st.sampled_from((0, 63, 2**36 - 1)), st.lists(OPERATION, max_size=60))
def test_any_operations_agree_with_a_sorted_list(now_ns, operations):
    pair = Pair(now_ns=now_ns)
    for number, (name, *numbers) in enumerate(operations):
        if name == "arm":
            due_ns, rank, seq = numbers
            pair.arm(due_ns, rank, seq * 100 + number)  # no two alike
        elif name == "disarm":
            pair.disarm(*numbers)
        elif name == "pop":
            pair.pop(*numbers)
        else:
            pair.free()
        pair.check()


@settings(max_examples=200 if COMPILED else 60, deadline=None)
@given(st.permutations(range(48)), st.lists(st.integers(0, 47), max_size=16), st.integers(0, 16))
def test_one_ns_in_any_order_of_arming_fires_in_order(order, disarmed, popped):
    pair = Pair()
    for seq in order:
        pair.arm(100, 0, seq)
    for _ in range(popped):
        pair.pop(100)
    for which in disarmed:
        pair.disarm(which)
        pair.check()
    while pair.pop(100):
        pair.check()


# ── order ────────────────────────────────────────────────────────────────────────────────────────


def test_equal_deadlines_fire_in_the_order_of_arming():
    engine = Engine()
    for due_ns in (900, 500, 900, 500, 500):
        engine.arm(due_ns)
    assert engine.fire(1_000) == [(500, 0, 2), (500, 0, 4), (500, 0, 5), (900, 0, 1), (900, 0, 3)]


def test_classes_come_before_arming_at_one_ns():
    engine = Engine()
    for rank in (5, 0, 2, 0, 5, 1):
        engine.arm(700, rank)
    assert engine.fire(700) == [(700, 0, 2), (700, 0, 4), (700, 1, 6), (700, 2, 3), (700, 5, 1), (700, 5, 5)]


def test_a_seq_that_was_kept_takes_its_old_place():
    engine = Engine()
    for seq in (30, 10, 20):
        engine.arm(700, 2, seq)
    assert [seq for _, _, seq in engine.fire(700)] == [10, 20, 30]


@pytest.mark.parametrize("chains", [1, QUEUES, QUEUES + 1, 3 * QUEUES])
def test_disorder_of_any_depth_fires_in_order(chains):
    engine = Engine()
    for seq in (chains - k + chains * turn for turn in range(4) for k in range(chains)):
        engine.arm(700, 0, seq)
    assert [seq for _, _, seq in engine.fire(700)] == list(range(1, 4 * chains + 1))
    wheel_check(engine.tables)


def test_a_timer_armed_while_others_of_its_ns_fire_takes_its_place():
    engine = Engine()
    for seq in (10, 20, 30):
        engine.arm(700, 3, seq)
    assert engine.row(engine.do(POP, 700))["seq"] == 10
    engine.arm(700, 3, 25)
    engine.arm(700, 2, 99)  # of an earlier class: next
    engine.arm(700, 4, 1)
    engine.arm(700, 3, 5)  # before all that is left of its class, though it would have come before the one that fired
    wheel_check(engine.tables)
    assert [key[1:] for key in engine.fire(700)] == [(2, 99), (3, 5), (3, 20), (3, 25), (3, 30), (4, 1)]


def test_a_timer_that_always_arms_another_at_its_ns_fires_for_ever_in_order():
    engine = Engine()
    engine.arm(700)
    for number in range(1, 200):
        slot = engine.do(POP, 700)
        assert engine.row(slot)["seq"] == number
        engine.arm(700)
        engine.do(FREE, slot)
    assert len(engine.tables.arrays[TIMER_INDEX]) == 64


SHUFFLED = random.Random(1).sample(range(30), 30)


@pytest.mark.parametrize("popped", [0, 1, 2, 9])
@pytest.mark.parametrize("order", [range(30), range(29, -1, -1), SHUFFLED], ids=["in order", "in reverse", "shuffled"])
def test_one_of_many_at_one_ns_can_be_disarmed(popped, order):
    for which in range(popped, 30):
        engine = Engine()
        slots = {seq: engine.arm(700, 0, seq) for seq in order}
        assert [engine.do(POP, 700) for _ in range(popped)] == [slots[seq] for seq in range(popped)]
        engine.do(DISARM, slots[which])
        wheel_check(engine.tables)
        assert [seq for _, _, seq in engine.fire(700)] == [seq for seq in range(popped, 30) if seq != which]


def test_a_timer_that_is_being_handled_can_still_be_read_while_others_come_and_go():
    engine = Engine()
    engine.arm(700, 1, 1, kind=6, subject=-(2**63), ref=2**63 - 1)
    other = engine.arm(700, 1, 2)
    slot = engine.do(POP, 700)
    engine.do(DISARM, other)
    assert engine.arm(700) == other
    row = engine.row(slot)
    assert (row["due_ns"], row["kind"], row["subject"], row["ref"]) == (700, 6, -(2**63), 2**63 - 1)


def test_a_million_at_one_ns_fire_in_the_order_of_arming():
    wheel = TimingWheel(now_ns=NOW_NS)
    wheel.arm_batch(np.full(MANY, NOW_NS + 10**9), np.arange(MANY))
    assert len(wheel.advance_batch(to=NOW_NS + 10**9 - 1)) == 0
    assert np.array_equal(wheel.advance_batch(to=NOW_NS + 10**9)["subject"], np.arange(MANY))


def test_a_million_at_one_ns_in_disorder_fire_in_order():
    wheel = TimingWheel()
    ranks = np.random.default_rng(3).integers(0, 1_000, MANY)
    wheel.arm_batch(np.full(MANY, 77), np.arange(MANY), ranks)
    assert np.array_equal(wheel.advance_batch(to=77)["subject"], np.argsort(ranks, kind="stable"))


def test_a_million_over_centuries_fire_in_order():
    wheel = TimingWheel(now_ns=NOW_NS)
    dues = NOW_NS + np.random.default_rng(5).integers(0, 2 * CENTURY_NS, MANY)
    wheel.arm_batch(dues, np.arange(MANY))
    fired = np.concatenate([wheel.advance_batch(to=NOW_NS + CENTURY_NS * part // 2) for part in range(5)])
    order = np.argsort(dues, kind="stable")
    assert np.array_equal(fired["subject"], order)
    assert np.array_equal(fired["due_ns"], dues[order])


# ── time ─────────────────────────────────────────────────────────────────────────────────────────


def test_nothing_fires_a_ns_too_early_or_too_late():
    for due_ns in (1, 63, 64, 4_095, 4_096, NOW_NS, 2**62 - 1, 2**62, INT64_MAX):
        engine = Engine()
        engine.arm(due_ns)
        assert engine.do(POP, due_ns - 1) == NIL
        assert engine.wheel["now_ns"] == due_ns - 1
        assert engine.fire(due_ns) == [(due_ns, 0, 1)]
        assert engine.wheel["now_ns"] == due_ns


def test_the_edges_of_time_can_be_armed_together():
    engine = Engine()
    edges = [0, 1, 2**62 - 1, 2**62, 2**62 + 1, INT64_MAX - 1, INT64_MAX]
    for due_ns in reversed(edges):
        engine.arm(due_ns)
    wheel_check(engine.tables)
    assert [due_ns for due_ns, _, _ in engine.fire(INT64_MAX)] == edges
    engine.arm(INT64_MAX)
    engine.arm(0)
    assert [due_ns for due_ns, _, _ in engine.fire(INT64_MAX)] == [0, INT64_MAX]
    assert engine.do(POP, INT64_MAX) == NIL


def test_a_timer_in_the_past_is_due_at_once_in_its_place():
    engine = Engine(now_ns=1_000)
    for due_ns in (1_000, 5, 999, 1_001):
        engine.arm(due_ns)
    assert engine.do(DUE) == engine.do(IDLE) == 5
    assert [due_ns for due_ns, _, _ in engine.fire(1_000)] == [5, 999, 1_000]
    assert engine.wheel["now_ns"] == 1_000


def test_the_clock_never_goes_back():
    engine = Engine(now_ns=1_000)
    engine.arm(400)
    assert engine.do(POP, 300) == NIL
    assert engine.wheel["now_ns"] == 1_000
    assert engine.fire(400) == [(400, 0, 1)]
    assert engine.wheel["now_ns"] == 1_000


def test_popping_moves_the_clock_to_each_due_time():
    engine = Engine()
    engine.arm(40)
    engine.arm(90)
    for moment in (40, 90):
        engine.do(FREE, engine.do(POP, 95))
        assert engine.wheel["now_ns"] == moment
    assert engine.do(POP, 95) == NIL
    assert engine.wheel["now_ns"] == 95


def test_an_empty_century_passes_at_once():
    engine = Engine(now_ns=NOW_NS)
    engine.arm(NOW_NS + CENTURY_NS)
    before = engine.tables.arrays[BUCKET_INDEX].tobytes()
    for part in range(100):
        assert engine.do(POP, NOW_NS + part * CENTURY_NS // 100) == NIL
    assert engine.tables.arrays[BUCKET_INDEX].tobytes() == before


def test_the_earliest_time_is_known_after_its_timer_was_disarmed():
    engine = Engine()
    slots = [engine.arm(due_ns) for due_ns in (5_000, 5_003, 5_001, 5_002, 4_999)]
    assert engine.do(DUE) == 4_999
    for slot, due_ns in ((slots[4], 5_000), (slots[0], 5_001), (slots[2], 5_002), (slots[3], 5_003), (slots[1], -1)):
        engine.do(DISARM, slot)
        assert engine.do(DUE) == due_ns
        wheel_check(engine.tables)


def test_asking_for_the_earliest_time_changes_no_byte():
    engine = Engine()
    first = engine.arm(5_000)
    engine.arm(5_001)
    engine.do(DISARM, first)
    before = engine.bytes()
    assert engine.do(DUE) == 5_001
    assert engine.do(IDLE) == 5_000
    assert engine.bytes() == before


def test_the_idle_time_is_exact_again_after_time_has_passed_it():
    engine = Engine()
    first = engine.arm(5_000)
    engine.arm(5_060)
    engine.arm(9_000_000)
    assert engine.do(IDLE) == 5_000
    engine.do(DISARM, first)
    assert engine.do(IDLE) == 5_000
    assert engine.do(POP, 5_030) == NIL
    assert engine.do(IDLE) == 5_060
    assert engine.fire(5_060) == [(5_060, 0, 2)]
    assert engine.do(IDLE) == 9_000_000
    engine.fire(9_000_000)
    assert engine.do(IDLE) == INT64_MAX


def test_an_order_of_the_past_that_is_not_due_yet_bounds_the_idle_time():
    engine = Engine(now_ns=1_000)
    engine.arm(400)
    engine.arm(300)
    engine.do(DISARM, 2)
    assert engine.do(POP, 350) == NIL
    assert engine.do(IDLE) == engine.do(DUE) == 400


def test_the_level_is_the_first_digit_that_differs():
    engine = Engine()
    for place in range(63):
        assert engine.do(LEVEL, 1 << place) == engine.do(LEVEL, (2 << place) - 1) == place // 6


def test_no_bucket_of_digit_0_is_ever_used():
    engine = Engine(rows=1_024)
    rng = random.Random(4)
    for _ in range(400):
        engine.arm(far_and_near(rng, int(engine.wheel["now_ns"])))
        engine.do(POP, int(engine.wheel["now_ns"]) + rng.choice((1, 10**6, 10**15)))
        assert not any(int(engine.tables.arrays[WHEEL_INDEX][1 + level]["bits"]) & 1 for level in range(LEVELS))
    assert not any(engine.tables.arrays[BUCKET_INDEX][level * FAN]["head"] for level in range(LEVELS))


# ── slots ────────────────────────────────────────────────────────────────────────────────────────


def test_slots_are_taken_last_in_first_out_then_fresh_ones_ascending():
    engine = Engine()
    assert [engine.arm(900) for _ in range(4)] == [1, 2, 3, 4]
    engine.do(DISARM, 2)
    engine.do(DISARM, 4)
    for slot in (4, 2, 5):
        assert engine.do(NEXT) == slot
        assert engine.arm(900) == slot


def test_slot_0_is_never_armed():
    engine = Engine()
    rng = random.Random(6)
    armed = []
    for _ in range(STEPS):
        if rng.random() < 0.5 or not armed:
            armed.append(engine.arm(rng.randrange(10**6)))
            assert armed[-1] != NIL
        else:
            engine.do(DISARM, armed.pop(rng.randrange(len(armed))))
    row = engine.row(NIL)
    assert (row["due_ns"], row["seq"], row["subject"], row["ref"], row["bucket"]) == (0, 0, 0, 0, 0)


def test_room_counts_what_is_popped_and_not_freed():
    engine = Engine(rows=4)
    assert engine.do(ROOM, 3)
    assert not engine.do(ROOM, 4)
    slot = engine.arm(5)
    engine.arm(9)
    engine.do(POP, 5)
    assert engine.do(ROOM, 1)
    assert not engine.do(ROOM, 2)
    engine.do(FREE, slot)
    assert engine.do(ROOM, 2)


def test_growth_keeps_slots_and_order():
    engine = Engine(rows=2)
    slots = [engine.arm(due_ns) for due_ns in range(300, 0, -1)]
    assert slots == list(range(1, 301))
    assert len(engine.tables.arrays[TIMER_INDEX]) == 512
    wheel_check(engine.tables)
    assert [due_ns for due_ns, _, _ in engine.fire(300)] == list(range(1, 301))


def test_a_pop_between_two_growths_resumes():
    engine = Engine(rows=2)
    engine.arm(7)
    slot = engine.do(POP, 7)
    for _ in range(9):
        engine.arm(7)
    engine.do(FREE, slot)
    assert [seq for _, _, seq in engine.fire(7)] == list(range(2, 11))


def test_armed_timers_are_listed_in_firing_order():
    engine = Engine()
    for due_ns, rank in ((900, 0), (10, 3), (900, -1), (10, 3)):
        engine.arm(due_ns, rank)
    engine.do(DISARM, engine.arm(1))
    assert timers_armed(engine.tables)[["due_ns", "rank", "seq"]].tolist() == [(10, 3, 2), (10, 3, 4), (900, -1, 3), (900, 0, 1)]


def test_the_same_operations_leave_the_same_bytes():
    assert seeded_digest(9) == seeded_digest(9) != seeded_digest(10)


def test_compiled_and_uncompiled_runs_leave_the_same_bytes():
    code = "import test_expiry; print(test_expiry.seeded_digest(9))"
    here = Path(__file__).parent
    more = {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": f"{here}{os.pathsep}{here.parent / 'benchmarks'}"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ | more)
    assert done.stdout.strip() == seeded_digest(9)


def seeded_digest(seed):
    pair = Pair(now_ns=NOW_NS)
    random_steps(pair, random.Random(seed), 400, 100)
    return hashlib.sha256(pair.engine.bytes()).hexdigest()


# ── the wheel by itself ──────────────────────────────────────────────────────────────────────────


@pytest.fixture
def wheel():
    return TimingWheel()


def test_a_wheel_begins_empty(wheel):
    assert (len(wheel), wheel.now_ns, wheel.next_due_ns, wheel.advance(to=0)) == (0, 0, None, [])
    assert wheel._face["fired_rows"] == FIRST_FIRED
    assert repr(wheel) == "<TimingWheel at 0: 0 armed, next due None>"
    assert repr(TimingWheel(now_ns=NOW_NS)).startswith(f"<TimingWheel at {NOW_NS}")


def test_what_falls_due_names_its_time_subject_and_handle(wheel):
    handle = wheel.arm(due_ns=500, subject=-7)
    assert wheel.advance(to=499) == []
    assert wheel.next_due_ns == 500
    assert wheel.advance(to=10**18) == [Fired(500, -7, handle)]
    assert (wheel.now_ns, len(wheel), wheel.next_due_ns) == (10**18, 0, None)


def test_time_0_is_a_time(wheel):
    wheel.arm(due_ns=0)
    assert wheel.next_due_ns == 0
    assert [fired.due_ns for fired in wheel.advance(to=0)] == [0]


def test_lower_ranks_fire_first_at_one_time(wheel):
    for rank in (2, 0, 2**15 - 1, 1):
        wheel.arm(due_ns=5, subject=rank, rank=rank)
    assert [fired.subject for fired in wheel.advance(to=5)] == [0, 1, 2, 2**15 - 1]


def test_every_int64_is_a_subject(wheel):
    for subject in (INT64_MIN, -1, 0, INT64_MAX):
        wheel.arm(due_ns=1, subject=subject)
    assert [fired.subject for fired in wheel.advance(to=1)] == [INT64_MIN, -1, 0, INT64_MAX]


def test_a_handle_of_a_fired_or_disarmed_timer_touches_nobody(wheel):
    fired, disarmed = wheel.arm(due_ns=1), wheel.arm(due_ns=2)
    wheel.advance(to=1)
    assert wheel.disarm(disarmed)
    later = [wheel.arm(due_ns=9), wheel.arm(due_ns=9)]  # in the slots of those two
    for handle in (fired, disarmed):
        assert not wheel.disarm(handle)
        wheel.check()
    assert len({fired, disarmed, *later}) == 4
    assert [item.handle for item in wheel.advance(to=9)] == later


def test_numbers_that_are_no_handles_touch_nobody(wheel):
    handle = wheel.arm(due_ns=9)
    gone = wheel.arm(due_ns=9)
    wheel.disarm(gone)
    turned = int(wheel._tables.arrays[TIMER_INDEX][gone & 0xFFFF_FFFF]["ref"])
    assert turned < 0
    for number in (
        0,
        -1,
        1,
        2,
        3,
        handle + 1,
        handle + 2**32,
        -handle,
        turned,
        turned ^ INT64_SIGN,
        2**63,
        2**64,
        2**400,
        -(2**63),
        -(2**64),
    ):
        assert not wheel.disarm(number)
    assert wheel.disarm(np.int64(handle))


def test_a_handle_beyond_a_full_table_is_never_looked_up():
    wheel = TimingWheel(capacity=1)
    handle = wheel.arm(due_ns=9)
    assert len(wheel._tables.arrays[TIMER_INDEX]) == 2
    assert not wheel.disarm(handle + 1)
    assert not wheel.disarm_batch(np.full(40, handle + 1)).any()
    assert wheel.disarm(handle)


def test_a_slot_whose_generations_are_used_up_is_retired(wheel):
    first = wheel.arm(due_ns=1)
    timers = wheel._tables.arrays[TIMER_INDEX]
    timers[1]["ref"] += (LAST_GENERATION - 2) << 32  # as if it had been used so often
    wheel.advance(to=1)
    wheel.check()
    last = wheel.arm(due_ns=2)
    assert last == LAST_GENERATION << 32 | 1
    assert wheel.disarm(last)
    assert not wheel.disarm(last)
    wheel.check()
    assert wheel.arm(due_ns=3) == (1 << 32) | 2
    assert not wheel.disarm(first)
    assert len(wheel) == 1


def test_a_retired_slot_is_room_no_more():
    wheel = TimingWheel(capacity=3)
    wheel.arm(due_ns=1)
    wheel._tables.arrays[TIMER_INDEX][1]["ref"] += (LAST_GENERATION - 1) << 32
    wheel.advance(to=1)
    handles = wheel.arm_batch(np.full(3, 2))
    assert len(wheel._tables.arrays[TIMER_INDEX]) == 8
    wheel.check()
    assert [fired.handle for fired in wheel.advance(to=2)] == handles.tolist()


def test_a_wheel_grows_while_it_is_used():
    wheel = TimingWheel(capacity=1)
    handles = [wheel.arm(due_ns=100 - n, subject=n) for n in range(40)]
    wheel.check()
    assert [fired.handle for fired in wheel.advance(to=100)] == handles[::-1]


def test_a_batch_grows_a_wheel_as_far_as_it_needs():
    wheel = TimingWheel(capacity=1)
    wheel.arm_batch(np.arange(100))
    assert len(wheel._tables.arrays[TIMER_INDEX]) == 128
    wheel.check()
    wheel = TimingWheel(capacity=100)
    wheel.arm_batch(np.arange(100))
    assert len(wheel._tables.arrays[TIMER_INDEX]) == 101


def test_what_was_handed_over_is_the_callers(wheel):
    wheel.arm_batch(np.array([1, 2]))
    first = wheel.advance_batch(to=1)
    second = wheel.advance_batch(to=2)
    assert first["due_ns"].tolist() + second["due_ns"].tolist() == [1, 2]


@pytest.mark.parametrize("count", [FIRST_FIRED - 1, FIRST_FIRED, FIRST_FIRED + 1, 5 * FIRST_FIRED])
def test_a_full_buffer_resumes(wheel, count):
    wheel.arm_batch(np.full(count, 3), np.arange(count))
    wheel.arm(due_ns=4)
    fired = wheel.advance_batch(to=3)
    assert fired.dtype == FIRED
    assert fired["subject"].tolist() == list(range(count))
    assert len(wheel.advance(to=4)) == 1
    assert len(wheel._tables.arrays[expiry.FIRES]) == FIRST_FIRED, "what had to grow is given back"
    assert fired["subject"].tolist() == list(range(count))  # what was given away is the caller's


def test_an_interrupted_advance_loses_nothing(wheel):
    wheel.arm_batch(np.arange(2 * FIRST_FIRED))
    call = wheel._call

    def interrupted(*numbers):
        call(*numbers)
        raise KeyboardInterrupt

    wheel._call = interrupted
    with pytest.raises(KeyboardInterrupt):
        wheel.advance(to=10**6)
    wheel._call = call
    wheel.check()
    assert [fired.due_ns for fired in wheel.advance(to=10**6)] == list(range(2 * FIRST_FIRED))


def test_time_never_goes_back(wheel):
    wheel.advance(to=10)
    wheel.arm(due_ns=3)
    for advance in (wheel.advance, wheel.advance_batch):
        with pytest.raises(MisuseError, match="to was 9; the wheel stands at 10 and never goes back") as caught:
            advance(to=9)
        assert caught.value.code == Refusal.ClockBackwards
    assert [fired.due_ns for fired in wheel.advance(to=10)] == [3]


def test_a_wheel_cannot_be_copied(wheel):
    for make in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(MisuseError, match="cannot be copied"):
            make(wheel)


# ── batches ──────────────────────────────────────────────────────────────────────────────────────


def test_a_batch_does_what_single_calls_do():
    rng = np.random.default_rng(8)
    one, many = TimingWheel(), TimingWheel(capacity=3)
    for turn in range(6):
        due_ns, subject, rank = rng.integers(0, 400, 50) + 100 * turn, rng.integers(-9, 9, 50), rng.integers(0, 3, 50)
        singles = [one.arm(due_ns=int(a), subject=int(b), rank=int(c)) for a, b, c in zip(due_ns, subject, rank, strict=True)]
        handles = many.arm_batch(due_ns, subject, rank)
        assert handles.tolist() == singles
        gone = rng.choice(handles, 60)
        assert many.disarm_batch(gone).tolist() == [one.disarm(handle) for handle in gone.tolist()]
        assert many.advance_batch(to=100 * turn).tolist() == one.advance(to=100 * turn)
        many.check()
    assert len(one) == len(many) > 0


def test_one_subject_or_rank_may_stand_for_all(wheel):
    wheel.arm_batch(np.array([5, 4]), 7, 1)
    wheel.arm_batch(np.array([5, 4]), np.array([8, 9]), 0)
    assert [fired.subject for fired in wheel.advance(to=5)] == [9, 7, 8, 7]


@pytest.mark.parametrize("dtype", ["i1", "u2", "<i4", ">i4", "u8", ">i8"])
def test_integers_of_any_width_and_order_are_taken(wheel, dtype):
    column = np.array([3, 0, 1, 0, 99, 0, 2], dtype)[::2]
    wheel.arm_batch(column, column)
    assert [fired.subject for fired in wheel.advance(to=200)] == [1, 2, 3, 99]


def test_empty_batches_do_nothing(wheel):
    none = np.zeros(0, np.int64)
    assert wheel.arm_batch(none).tolist() == wheel.disarm_batch(none).tolist() == wheel.advance_batch(to=0).tolist() == []
    assert wheel.arm_batch(none, none, none).dtype == np.int64
    assert wheel.disarm_batch(none).dtype == np.bool_


def test_a_batch_of_handles_answers_each_once(wheel):
    first, second = wheel.arm_batch(np.array([1, 2])).tolist()
    asked = np.array([first, first, 0, -1, second + 2**32, INT64_MAX, INT64_MIN, first + 10**6, second])
    assert wheel.disarm_batch(asked).tolist() == [True] + 7 * [False] + [True]
    assert not wheel.disarm_batch(np.tile(asked, 9)).any()
    assert wheel.disarm_batch(np.array([2**64 - 1, 2**63], np.uint64)).tolist() == [False, False]


def test_a_long_batch_of_handles_in_any_order_disarms_all(wheel):
    handles = wheel.arm_batch(np.arange(500) * 1_000)
    assert wheel.disarm_batch(np.random.default_rng(2).permutation(handles)).all()
    wheel.check()
    assert len(wheel) == 0


def test_a_batch_leaves_the_callers_arrays_alone(wheel):
    due_ns = np.array([3, 1])
    due_ns.flags.writeable = False
    handles = wheel.arm_batch(due_ns)
    kept = handles.copy()
    wheel.disarm_batch(handles)
    assert np.array_equal(handles, kept)


# ── wrong calls ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("arguments", "clause"),
    [
        ({"due_ns": -1}, r"due_ns was -1; 0 to 9223372036854775807 is allowed"),
        ({"due_ns": 2**63}, r"due_ns was 9223372036854775808; 0 to"),
        ({"due_ns": 1.0}, r"due_ns was 1.0, a float; an integer is due \(BadTime\)"),
        ({"due_ns": True}, r"due_ns was True, a bool"),
        ({"due_ns": "1"}, r"due_ns was '1', a str"),
        ({"due_ns": None}, r"due_ns was None"),
        ({"due_ns": 1, "subject": 2**63}, r"subject was 9223372036854775808; -9223372036854775808 to"),
        ({"due_ns": 1, "subject": -(2**63) - 1}, r"subject was -9223372036854775809; -9223372036854775808 to"),
        ({"due_ns": 1, "subject": 1.5}, r"subject was 1.5, a float"),
        ({"due_ns": 1, "rank": -1}, r"rank was -1; 0 to 32767 is allowed"),
        ({"due_ns": 1, "rank": 2**15}, r"rank was 32768; 0 to 32767"),
        ({"due_ns": 1, "rank": False}, r"rank was False, a bool"),
    ],
)
def test_a_wrong_arming_is_misuse_and_arms_nothing(wheel, arguments, clause):
    with pytest.raises(MisuseError, match=clause):
        wheel.arm(**arguments)
    assert len(wheel) == 0
    assert wheel.arm(due_ns=1) == 2**32 + 1


def test_numpy_integers_are_integers(wheel):
    handle = wheel.arm(due_ns=np.uint64(INT64_MAX), subject=np.int8(-1), rank=np.int16(3))
    assert wheel.advance(to=np.int64(INT64_MAX)) == [Fired(INT64_MAX, -1, handle)]
    assert TimingWheel().arm(due_ns=np.int64(0), subject=np.int64(INT64_MIN), rank=np.uint8(0)) == 2**32 + 1


@pytest.mark.parametrize(
    ("arguments", "clause"),
    [
        (([1, 2],), r"due_ns was a list; a NumPy array of integers is due"),
        ((np.array([1.0]),), r"due_ns was a 1-dimensional array of float64; a one-dimensional array of integers is due"),
        ((np.array([True]),), r"array of bool"),
        ((np.array([1], "m8[ns]"),), r"array of timedelta64"),
        ((np.array([1], object),), r"array of object"),
        ((np.array([[1]]),), r"2-dimensional array of int64"),
        ((np.array(1),), r"0-dimensional array"),
        ((np.array([4, -5, 3]),), r"due_ns had -5 in row 1; 0 to 9223372036854775807 is allowed"),
        ((np.array([1, 2**63], np.uint64),), r"due_ns had 9223372036854775808 in row 1; 0 to"),
        ((np.array([1]), np.array([2**63], np.uint64)), r"subject had 9223372036854775808 in row 0"),
        ((np.array([1]), np.array([1, 2])), r"subject had 2 rows; 1 are due, one for each due_ns"),
        ((np.array([1]), 1.0), r"subject was 1.0, a float"),
        ((np.array([1]), 0, np.array([-1])), r"rank had -1 in row 0; 0 to 32767"),
        ((np.array([1]), 0, np.array([2**15])), r"rank had 32768 in row 0"),
        ((np.array([1]), 0, 2**15), r"rank was 32768"),
    ],
)
def test_a_wrong_batch_is_misuse_and_arms_nothing(wheel, arguments, clause):
    with pytest.raises(MisuseError, match=clause):
        wheel.arm_batch(*arguments)
    assert len(wheel) == 0


def test_other_wrong_calls_are_misuse(wheel):
    wheel.arm(due_ns=5)
    calls = [
        (lambda: wheel.disarm(1.0), "handle was 1.0, a float"),
        (lambda: wheel.disarm(True), "handle was True, a bool"),
        (lambda: wheel.disarm_batch([1]), "handles was a list"),
        (lambda: wheel.advance(to=-1), "to was -1; 0 to"),
        (lambda: wheel.advance(to=2**63), "to was 9223372036854775808"),
        (lambda: wheel.advance_batch(to=5.0), "to was 5.0, a float"),
        (lambda: TimingWheel(now_ns=-1), "now_ns was -1; 0 to"),
        (lambda: TimingWheel(now_ns=2**63), "now_ns was 9223372036854775808"),
        (lambda: TimingWheel(capacity=0), "capacity was 0; 1 to 2147483646 is allowed"),
        (lambda: TimingWheel(capacity=2**31 - 1), "capacity was 2147483647; 1 to"),
    ]
    for call, clause in calls:
        with pytest.raises(MisuseError, match=clause):
            call()
    assert (len(wheel), wheel.now_ns) == (1, 0)


# ── check ────────────────────────────────────────────────────────────────────────────────────────


def damaged():
    """Give (what check says, a change that breaks it), over a wheel with timers of every kind."""

    def timer(slot, field, value):
        return lambda tables: tables.arrays[TIMER_INDEX][slot].__setitem__(field, value)

    def wheel(field, value, row=0):
        return lambda tables: tables.arrays[WHEEL_INDEX][row].__setitem__(field, value)

    def bucket(number, field, value):
        return lambda tables: tables.arrays[BUCKET_INDEX][number].__setitem__(field, value)

    return [
        ("slots in use lie in the table", wheel("timer_used", 0)),
        ("slots in use lie in the table", wheel("timer_rows", 63)),
        ("the base is not ahead", wheel("now_ns", 699)),
        ("each free slot", wheel("popped", 5)),
        ("each free slot", wheel("timer_free", 0)),
        ("free slots are not armed", timer(1, "bucket", 9)),
        ("every armed timer", lambda tables: (wheel("armed", 20)(tables), wheel("popped", -5)(tables))),
        ("who is in a bucket says so", timer(3, "bucket", 1)),
        ("nothing is due before", wheel("idle_ns", 701)),
        ("a timer knows its bucket", timer(15, "bucket", 1)),
        ("links back and forth agree", timer(16, "prev", 9)),
        ("a level's bit tells the truth", wheel("bits", 1)),
        ("a level's bit tells the truth", wheel("bits", 0, 1 + LEVELS)),
        ("a bucket with a bit has timers", bucket(1 * FAN + 15, "head", 0)),
        ("the last timer is the tail", bucket(1 * FAN + 15, "tail", 15)),
        ("the last timer is the tail", bucket(READY, "tail", 9)),
        ("what is due at the base is ready", timer(15, "due_ns", 700)),
        ("above its level", timer(15, "due_ns", 5_000)),
        ("the digit chooses the bucket", timer(15, "due_ns", 900)),
        ("least_ns is a lower bound", bucket(1 * FAN + 15, "least_ns", 1_020)),
        ("a queue is sorted", timer(2, "rank", 9)),
        ("who is late says so", timer(12, "bucket", 1)),
        ("links back and forth agree", timer(12, "prev", 9)),
        ("no child fires before its parent", timer(12, "rank", -9)),
        ("what is ready is due", timer(11, "due_ns", 701)),
    ]


def with_every_kind():
    """Give a wheel with a free slot (1), a popped one (3), a queue (2, 14), a heap (13, 12, 11) and a bucket (15, 16)."""
    engine = Engine()
    for seq in (0, 100, 1, *range(99, 89, -1), 101):
        engine.arm(700, 0, seq)
    engine.arm(1_010)
    engine.arm(1_011)
    engine.do(FREE, engine.do(POP, 700))
    engine.do(POP, 700)
    return engine


@pytest.mark.parametrize(("clause", "damage"), damaged())
def test_check_finds_what_is_broken(clause, damage):
    engine = with_every_kind()
    wheel_check(engine.tables)
    damage(engine.tables)
    with pytest.raises(AssertionError, match=clause):
        wheel_check(engine.tables)


def test_check_finds_a_handle_that_names_another_slot(wheel):
    wheel.arm(due_ns=5)
    timers = wheel._tables.arrays[TIMER_INDEX]
    timers[1]["ref"] += 1
    with pytest.raises(AssertionError, match="a handle names its slot"):
        wheel.check()
    timers[1]["ref"] = -1
    with pytest.raises(AssertionError, match="armed timers have handles"):
        wheel.check()


def test_every_kind_of_place_is_in_the_wheel_that_is_damaged():
    engine = with_every_kind()
    assert engine.wheel["late"] == 13
    assert [int(engine.row(slot)["bucket"]) for slot in (13, 12, 11)] == [-13, -12, -1]
    assert [int(engine.row(slot)["bucket"]) for slot in (15, 16)] == [FAN + 15, FAN + 15]
    assert engine.tables.arrays[WHEEL_INDEX][1 + LEVELS]["bits"] == 2**QUEUES - 1
    assert [int(engine.row(slot)["bucket"]) for slot in (2, 14)] == [READY, READY]


def test_the_benchmark_prints_its_table(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench", "--timers", "300", "--runs", "2", "--rival-runs", "1"])
    assert bench_expiry.main() == 0
    lines = capsys.readouterr().out.splitlines()
    digests = {line.split()[-1] for line in lines if ": fire  " in line}
    assert len(digests) == 1
    assert len(lines) == 3 + 12 + 6
