"""Tells what falls due by a time, in a defined order: the timing wheel (R2).

    level 10 … level 1, level 0          READY                      LATE
    ┌─┬─┬─┬─┬─┬─┬─┐ 64 buckets           queue ─► t3 ⇄ t8 ⇄ t9
    └─┴─┴┬┴─┴─┴─┴─┘ each      ──turn──►  queue ─► t5 ⇄ t7           a heap ─► t4    ──► fires
         t2 ⇄ t6 ⇄ t1                    … at most eight

Eleven levels of 64 buckets hold every time 0 ≤ t < 2^63. Times are read in digits of six bits: a timer lies
at the level of the highest digit in which its due time differs from the wheel's base, in the bucket
which that digit names. So the first bucket of the lowest level that has any holds what is due next, and a
word of bits for each level, and one for all levels, find it in two steps, however much empty time
lies between. When something in it may be due, the bucket is *turned*: the base jumps to the least due time
in it, and its timers are placed anew, at lower levels (so at most eleven times in a timer's life) or, if
due at the base, in READY.

What is ready fires in the order (due, rank, seq). READY is eight sorted queues: a timer follows in the first
queue whose last one fires before it. As seq counts armings and buckets keep the order in which they
were filled, one queue for each rank will do, whatever their mixture, and nothing need be sorted. Only what
fits no queue goes to LATE, a pairing heap through the same links (Fredman, Sedgewick, Sleator and Tarjan,
1986). Sorting a bucket's list when it is turned would be twice as fast as the heap for a million
timers in disorder, but far slower than the queues for mixed ranks; and one that is armed out of order
while others of its time fire would have it sorted again.

Invariants: a bucket's bit is set exactly if it has timers; `least_ns` is a lower bound of its due times, and
its first timer attains it unless that one was disarmed; nothing is due before `idle_ns`; a slot in
use is never moved; slot 0 is nobody and may be scribbled on, so that unlinking needs no branch.
Costs: arm and disarm O(1); firing O(1) amortised, O(log n) out of LATE; an empty span O(1), whatever its
length. A single pop may turn a bucket of any size.

The kernels are the engine's, over its own tables; `TimingWheel` is the same wheel for everybody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

import numpy as np

from rightsx._jit import (
    INT64_SIGN,
    Tables,
    aligned_zeros,
    entry,
    kernel,
    leading_zeros,
    leaf,
    prefetch,
    table,
    trailing_zeros,
    wrap_mul,
)
from rightsx.errors import MisuseError
from rightsx.protocol import INT64_MAX, INT64_MIN, Refusal
from rightsx.vocabulary import integer

if TYPE_CHECKING:
    from collections.abc import Iterator

# ── tables ───────────────────────────────────────────────────────────────────────────────────────

# Row 0 is the wheel; of row 1 + k only `bits` is used: the buckets of level k that have timers.
WHEEL: Final = np.dtype(
    [
        (name, "<i8")
        for name in (
            "bits",  # of row 0: the levels that have timers
            "base_ns",  # where timers are placed from; never beyond now_ns between two calls
            "idle_ns",  # nothing is due before
            "now_ns",
            "late",  # the root of the heap
            "armed",
            "popped",  # slots in use of timers that are in no bucket any more
            "timer_free",  # the slot freed last, 0 for none
            "timer_used",  # slots from here on were never used
            "timer_rows",
        )
    ]
)
BUCKET: Final = np.dtype([("least_ns", "<i8"), ("head", "<i4"), ("tail", "<i4")])
# What unlinking and turning touch comes first, within one cache line as often as 48 bytes allow.
TIMER: Final = np.dtype(
    [
        ("due_ns", "<i8"),
        ("ref", "<i8"),  # whatever the owner wants: a u64 as signed bits
        ("next", "<i4"),
        ("prev", "<i4"),
        ("bucket", "<i4"),  # 0 in none; in LATE: −1 − first child
        ("rank", "<i2"),
        ("kind", "<i2"),
        ("seq", "<i8"),
        ("subject", "<i8"),
    ]
)
WHEEL_TABLES: Final = (WHEEL, BUCKET, TIMER)
WHEEL_INDEX, BUCKET_INDEX, TIMER_INDEX = 10, 11, 12
wheel_at = table(WHEEL_INDEX, WHEEL)
bucket_at = table(BUCKET_INDEX, BUCKET)
timer_at = table(TIMER_INDEX, TIMER)

NIL: Final = 0  # never used as a timer
LEVELS: Final = 11
FAN: Final = 64
# Digit 0 never differs upwards from a base's digit, so bucket 0 of every level stays empty: 0 can mean none.
NO_BUCKET: Final = 0
READY: Final = LEVELS * FAN  # the first of the queues of what is due at the base or before
QUEUES: Final = 8
QUEUE_BITS: Final = 2**QUEUES - 1
BUCKETS: Final = READY + QUEUES

# ── arithmetic ───────────────────────────────────────────────────────────────────────────────────


@leaf
def bit(place: int) -> int:
    """Give the word whose only bit is `place`."""
    return wrap_mul(1, 1 << place)


@leaf
def level_of(differs: int) -> int:
    """Give the six-bit digit in which two times differ first; `differs` is their difference by bits, above 0.

    43 / 256 is so little above 1 / 6 that the quotients of 0 … 63 are the same, and a shift is faster.
    """
    return ((63 - leading_zeros(differs)) * 43) >> 8


@leaf
def fires_before(state: int, a: int, b: int) -> bool:
    """Say whether timer a fires before timer b: by (due, rank, seq) (R2)."""
    one, other = timer_at(state, a), timer_at(state, b)
    if one["due_ns"] != other["due_ns"]:
        return one["due_ns"] < other["due_ns"]
    if one["rank"] != other["rank"]:
        return one["rank"] < other["rank"]
    return one["seq"] < other["seq"]


# ── late comers: a pairing heap ──────────────────────────────────────────────────────────────────
#
# `next` is a sibling, `prev` the sibling before or, of a first child, the parent.


@kernel
def late_meld(state: int, a: int, b: int) -> int:
    """Make one tree of two: the root that fires later becomes the other's first child. O(1)."""
    root, child = (b, a) if fires_before(state, b, a) else (a, b)
    parent = timer_at(state, root)
    row = timer_at(state, child)
    sibling = -1 - parent["bucket"]
    row["next"] = sibling
    row["prev"] = root
    timer_at(state, sibling)["prev"] = child
    parent["bucket"] = -1 - child
    return root


@kernel
def late_join(state: int, first: int) -> int:
    """Make one tree of siblings: pairs from left to right, then all of them from right to left; NIL of none.

    Both passes are needed for O(log n) amortised.
    """
    pairs = NIL
    while first != NIL:
        second = timer_at(state, first)["next"]
        rest = NIL
        if second != NIL:
            rest = timer_at(state, second)["next"]
            first = late_meld(state, first, second)
        timer_at(state, first)["next"] = pairs
        pairs = first
        first = rest
    root = NIL
    while pairs != NIL:
        rest = timer_at(state, pairs)["next"]
        root = pairs if root == NIL else late_meld(state, root, pairs)
        pairs = rest
    row = timer_at(state, root)
    row["next"] = NIL
    row["prev"] = NIL
    return root


@kernel
def late_add(state: int, slot: int) -> None:
    """Put a timer into the heap. O(1)."""
    wheel = wheel_at(state, 0)
    row = timer_at(state, slot)
    row["bucket"] = -1
    row["next"] = NIL
    row["prev"] = NIL
    wheel["late"] = slot if wheel["late"] == NIL else late_meld(state, wheel["late"], slot)


@kernel
def late_remove(state: int, slot: int) -> None:
    """Take a timer out of the heap. O(log n) amortised."""
    wheel = wheel_at(state, 0)
    row = timer_at(state, slot)
    children = late_join(state, -1 - row["bucket"])
    if wheel["late"] == slot:
        wheel["late"] = children
        return
    before = timer_at(state, row["prev"])
    if -1 - before["bucket"] == slot:
        before["bucket"] = -1 - row["next"]
    else:
        before["next"] = row["next"]
    timer_at(state, row["next"])["prev"] = row["prev"]
    if children != NIL:
        wheel["late"] = late_meld(state, wheel["late"], children)


# ── placing ──────────────────────────────────────────────────────────────────────────────────────


@leaf
def list_append(state: int, bucket: int, slot: int) -> None:
    """Put a timer at the end of a list that has others."""
    list_row = bucket_at(state, bucket)
    tail = list_row["tail"]
    row = timer_at(state, slot)
    row["bucket"] = bucket
    row["next"] = NIL
    row["prev"] = tail
    timer_at(state, tail)["next"] = slot
    list_row["tail"] = slot


@leaf
def list_begin(state: int, bucket: int, slot: int) -> None:
    """Let a timer be all of a list that was empty."""
    level = bucket >> 6
    wheel = wheel_at(state, 0)
    level_row = wheel_at(state, 1 + level)
    wheel["bits"] = wheel["bits"] | (1 << level)
    level_row["bits"] = level_row["bits"] | bit(bucket & (FAN - 1))
    list_row = bucket_at(state, bucket)
    row = timer_at(state, slot)
    row["bucket"] = bucket
    row["next"] = NIL
    row["prev"] = NIL
    list_row["head"] = slot
    list_row["tail"] = slot


@kernel
def ready_add(state: int, slot: int) -> None:
    """Let a timer wait for its turn to fire: in a queue that it may follow, in a new one, else in LATE. O(1)."""
    used = wheel_at(state, 1 + LEVELS)["bits"]
    bits = used
    while bits != 0:
        queue = READY + trailing_zeros(bits)
        if not fires_before(state, slot, bucket_at(state, queue)["tail"]):
            list_append(state, queue, slot)
            return
        bits &= bits - 1
    if used != QUEUE_BITS:
        list_begin(state, READY + trailing_zeros(~used), slot)
    else:
        late_add(state, slot)


@leaf
def timer_place(state: int, slot: int, due_ns: int) -> None:
    """Put a timer where its due time and the base want it. O(1)."""
    base_ns = wheel_at(state, 0)["base_ns"]
    if due_ns <= base_ns:
        ready_add(state, slot)
        return
    level = level_of(due_ns ^ base_ns)
    digit = (due_ns >> (6 * level)) & (FAN - 1)
    bucket = level * FAN + digit
    list_row = bucket_at(state, bucket)
    if wheel_at(state, 1 + level)["bits"] & bit(digit) == 0:
        list_row["least_ns"] = due_ns
        list_begin(state, bucket, slot)
    elif due_ns >= list_row["least_ns"]:
        list_append(state, bucket, slot)
    else:
        list_row["least_ns"] = due_ns
        row = timer_at(state, slot)
        head = list_row["head"]
        row["bucket"] = bucket
        row["next"] = head
        row["prev"] = NIL
        timer_at(state, head)["prev"] = slot
        list_row["head"] = slot


@leaf
def list_end(state: int, bucket: int) -> None:
    """Say that a list is empty."""
    level = bucket >> 6
    level_row = wheel_at(state, 1 + level)
    left = level_row["bits"] & ~bit(bucket & (FAN - 1))
    level_row["bits"] = left
    if left == 0:
        wheel_at(state, 0)["bits"] = wheel_at(state, 0)["bits"] & ~(1 << level)


@leaf
def timer_unlink(state: int, slot: int) -> None:
    """Take an armed timer out of the wheel; its slot stays in use until it is freed. O(1), in LATE O(log n) amortised."""
    wheel = wheel_at(state, 0)
    row = timer_at(state, slot)
    bucket = row["bucket"]
    if bucket < 0:
        late_remove(state, slot)
    else:
        before = row["prev"]
        after = row["next"]
        timer_at(state, before)["next"] = after  # of slot 0 nobody reads what is written
        timer_at(state, after)["prev"] = before
        if before == NIL or after == NIL:
            list_row = bucket_at(state, bucket)
            if before == NIL:
                list_row["head"] = after
            if after == NIL:
                list_row["tail"] = before
            if before == after:
                list_end(state, bucket)
    row["bucket"] = NO_BUCKET
    wheel["armed"] = wheel["armed"] - 1
    wheel["popped"] = wheel["popped"] + 1


# ── slots ────────────────────────────────────────────────────────────────────────────────────────


@leaf
def wheel_has_room(state: int, count: int) -> bool:
    """Say whether so many more timers fit the table."""
    wheel = wheel_at(state, 0)
    return wheel["armed"] + wheel["popped"] + count < wheel["timer_rows"]


@leaf
def timer_next(state: int) -> int:
    """Give the slot that the next arming will take: the one freed last, or a fresh one."""
    wheel = wheel_at(state, 0)
    if wheel["timer_free"] != NIL:
        return wheel["timer_free"]
    return wheel["timer_used"]


@leaf
def timer_take(state: int) -> int:
    """Take a slot for a timer. The caller has checked that there is room."""
    wheel = wheel_at(state, 0)
    slot = wheel["timer_free"]
    if slot != NIL:
        wheel["timer_free"] = timer_at(state, slot)["next"]
    else:
        slot = wheel["timer_used"]
        wheel["timer_used"] = slot + 1
    return slot


@leaf
def timer_free(state: int, slot: int) -> None:
    """Give the slot of a popped timer back."""
    wheel = wheel_at(state, 0)
    timer_at(state, slot)["next"] = wheel["timer_free"]
    wheel["timer_free"] = slot
    wheel["popped"] = wheel["popped"] - 1


# ── operations ───────────────────────────────────────────────────────────────────────────────────


@leaf
def wheel_arm(state: int, due_ns: int, rank: int, seq: int, kind: int, subject: int, ref: int) -> int:
    """Arm a timer and give its slot, which is its until it is disarmed, or popped and freed.

    0 ≤ due_ns < 2^63; one that is not after now is due at once. The caller has checked
    `wheel_has_room`. (due_ns, rank, seq) decides the order, whatever the order of arming. O(1).
    """
    wheel = wheel_at(state, 0)
    slot = timer_take(state)
    row = timer_at(state, slot)
    row["due_ns"] = due_ns
    row["seq"] = seq
    row["subject"] = subject
    row["ref"] = ref
    row["rank"] = rank
    row["kind"] = kind
    wheel["idle_ns"] = min(wheel["idle_ns"], due_ns)
    wheel["armed"] = wheel["armed"] + 1
    timer_place(state, slot, due_ns)
    return slot


@leaf
def wheel_disarm(state: int, slot: int) -> None:
    """Take an armed timer out and give its slot back. O(1), of one that came out of order O(log n) amortised."""
    timer_unlink(state, slot)
    timer_free(state, slot)


@leaf
def wheel_idle_until(state: int) -> int:
    """Give a time before which nothing is due: a lower bound of all due times, 2^63 − 1 if none is known.

    It is what `wheel_due` gives unless the timer that it stood for was disarmed or popped since.
    """
    return wheel_at(state, 0)["idle_ns"]


@leaf
def ready_first(state: int) -> int:
    """Give the timer that fires next of those that are ready, or NIL. O(queues in use)."""
    first = wheel_at(state, 0)["late"]
    bits = wheel_at(state, 1 + LEVELS)["bits"]
    while bits != 0:
        head = bucket_at(state, READY + trailing_zeros(bits))["head"]
        if first == NIL or fires_before(state, head, first):
            first = head
        bits &= bits - 1
    return first


@leaf
def bucket_first(state: int) -> int:
    """Give the bucket that holds the earliest timers after the base. The caller has checked that there is one."""
    level = trailing_zeros(wheel_at(state, 0)["bits"])
    return level * FAN + trailing_zeros(wheel_at(state, 1 + level)["bits"])


@kernel
def bucket_turn(state: int, bucket: int) -> None:
    """Let the base jump to the bucket's least time and place its timers anew. O(timers in it).

    It is the first bucket, so all levels below are empty; and those of its level and above still differ from the new base
    where they differed from the old one, since up to this bucket's level the two have the same digits. So nothing
    else has to move, and timers of one due time always lie in one bucket, in the order of arming.
    """
    list_row = bucket_at(state, bucket)
    slot = list_row["head"]
    wheel_at(state, 0)["base_ns"] = list_row["least_ns"]
    list_end(state, bucket)
    while slot != NIL:
        row = timer_at(state, slot)
        after = row["next"]
        timer_place(state, slot, row["due_ns"])
        slot = after


@kernel
def wheel_pop(state: int, until_ns: int) -> int:
    """Take out the timer that fires next if it is due by `until_ns`: its slot, for `timer_free`; else NIL.

    Changes: now_ns, to its due time, or to `until_ns` if there is none; never backwards. The row can be
    read until it is freed; meanwhile others may be armed, and disarmed. O(1) amortised.
    """
    wheel = wheel_at(state, 0)
    while wheel["idle_ns"] <= until_ns:
        slot = ready_first(state)
        if slot != NIL:
            due_ns = timer_at(state, slot)["due_ns"]
            if due_ns <= until_ns:
                timer_unlink(state, slot)
                wheel["now_ns"] = max(wheel["now_ns"], due_ns)
                return slot
            wheel["idle_ns"] = due_ns
        elif wheel["bits"] == 0:
            wheel["idle_ns"] = INT64_MAX
            break  # `until_ns` may be as large
        else:
            bucket = bucket_first(state)
            least_ns = bucket_at(state, bucket)["least_ns"]
            if least_ns <= until_ns:
                bucket_turn(state, bucket)
            else:
                wheel["idle_ns"] = least_ns
    wheel["now_ns"] = max(wheel["now_ns"], until_ns)
    return NIL


@kernel
def wheel_due(state: int) -> int:
    """Give the earliest due time, or −1 if no timer is armed; nothing changes.

    O(1), but O(timers of its bucket) while the earliest one of a bucket was disarmed.
    """
    slot = ready_first(state)
    if slot != NIL:
        return timer_at(state, slot)["due_ns"]
    if wheel_at(state, 0)["bits"] == 0:
        return -1
    list_row = bucket_at(state, bucket_first(state))
    slot = list_row["head"]
    due_ns = timer_at(state, slot)["due_ns"]
    while slot != NIL and due_ns != list_row["least_ns"]:
        row = timer_at(state, slot)
        due_ns = min(due_ns, row["due_ns"])
        slot = row["next"]
    return due_ns


# ── making, growing, checking ────────────────────────────────────────────────────────────────────


def wheel_tables(tables: Tables, *, timer_rows: int, now_ns: int = 0) -> None:
    """Lay out a wheel without timers in `tables`, whose tables from WHEEL_INDEX on are WHEEL_TABLES. O(rows)."""
    for index, rows in ((WHEEL_INDEX, 2 + LEVELS), (BUCKET_INDEX, BUCKETS), (TIMER_INDEX, timer_rows)):
        tables.grow(index, rows)
    wheel = tables.arrays[WHEEL_INDEX][0]
    wheel["timer_used"] = 1
    wheel["timer_rows"] = timer_rows
    wheel["base_ns"] = wheel["now_ns"] = now_ns
    wheel["idle_ns"] = INT64_MAX


def timers_grow(tables: Tables) -> None:
    """Double the timers. O(timers)."""
    wheel = tables.arrays[WHEEL_INDEX][0]
    rows = 2 * int(wheel["timer_rows"])
    tables.grow(TIMER_INDEX, rows)
    wheel["timer_rows"] = rows


def timers_armed(tables: Tables) -> np.ndarray:
    """Copy the rows of all armed timers, in the order in which they fire. O(n log n)."""
    used = int(tables.arrays[WHEEL_INDEX][0]["timer_used"])
    rows = tables.arrays[TIMER_INDEX][1:used]
    armed: np.ndarray = rows[rows["bucket"] != NO_BUCKET]
    return armed[np.lexsort((armed["seq"], armed["rank"], armed["due_ns"]))]


def wheel_check(tables: Tables) -> None:
    """Assert the invariants of a wheel. O(slots), slowly."""
    wheel = tables.arrays[WHEEL_INDEX][0]
    timers = tables.arrays[TIMER_INDEX]
    used, base_ns = int(wheel["timer_used"]), int(wheel["base_ns"])
    assert 1 <= used <= int(wheel["timer_rows"]) == len(timers), "slots in use lie in the table"
    assert base_ns <= int(wheel["now_ns"]), "the base is not ahead of the clock"
    free = list(_free_slots(tables))
    assert len(set(free)) == len(free) == used - 1 - int(wheel["armed"] + wheel["popped"]), "each free slot is on the list once"
    assert all(0 < slot < used and timers[slot]["bucket"] == NO_BUCKET for slot in free), "free slots are not armed"
    buckets = list(_buckets_used(tables))
    found = [slot for bucket in buckets if bucket < READY for slot in _bucket_check(tables, bucket, base_ns)]
    found += [slot for bucket in buckets if bucket >= READY for slot in _queue_check(tables, bucket)]
    found += _late_check(tables)
    assert all(int(timers[slot]["due_ns"]) <= base_ns for slot in found if not 0 < timers[slot]["bucket"] < READY), (
        "what is ready is due at the base"
    )
    assert len(found) == len(set(found)) == int(wheel["armed"]), "every armed timer is in one place"
    assert set(found) == set((1 + np.flatnonzero(timers["bucket"][1:used])).tolist()), "who is in a bucket says so"
    assert all(int(timers[slot]["due_ns"]) >= wheel["idle_ns"] for slot in found), "nothing is due before idle_ns"


def _free_slots(tables: Tables) -> Iterator[int]:
    slot = int(tables.arrays[WHEEL_INDEX][0]["timer_free"])
    while slot != NIL:
        yield slot
        slot = int(tables.arrays[TIMER_INDEX][slot]["next"])


def _buckets_used(tables: Tables) -> Iterator[int]:
    """Give the buckets whose bit is set, queues included; assert that the levels' bits agree."""
    wheel = tables.arrays[WHEEL_INDEX]
    for level in range(LEVELS + 1):
        bits = int(wheel[1 + level]["bits"])
        assert (int(wheel[0]["bits"]) >> level & 1) == (bits != 0), "a level's bit tells the truth"
        yield from (level * FAN + digit for digit in range(FAN) if bits >> digit & 1)


def _list_check(tables: Tables, bucket: int) -> list[int]:
    """Give the slots of a list that has some; assert that its links agree."""
    slot, before, found = int(tables.arrays[BUCKET_INDEX][bucket]["head"]), NIL, []
    while slot != NIL:
        row = tables.arrays[TIMER_INDEX][slot]
        assert row["bucket"] == bucket, "a timer knows its bucket"
        assert row["prev"] == before, "links back and forth agree"
        found.append(slot)
        before, slot = slot, int(row["next"])
    assert found, "a bucket with a bit has timers"
    assert tables.arrays[BUCKET_INDEX][bucket]["tail"] == found[-1], "the last timer is the tail"
    return found


def _bucket_check(tables: Tables, bucket: int, base_ns: int) -> list[int]:
    """Give the slots in a bucket of a level; assert that they belong there."""
    level, digit = divmod(bucket, FAN)
    found = _list_check(tables, bucket)
    for slot in found:
        due_ns = int(tables.arrays[TIMER_INDEX][slot]["due_ns"])
        assert due_ns > base_ns, "what is due at the base is ready"
        assert due_ns >> (6 * level + 6) == base_ns >> (6 * level + 6), "above its level a due time is the base's"
        assert (due_ns >> 6 * level) % FAN == digit > (base_ns >> 6 * level) % FAN, "the digit chooses the bucket"
        assert due_ns >= tables.arrays[BUCKET_INDEX][bucket]["least_ns"], "least_ns is a lower bound"
    return found


def _key(row: np.void) -> tuple[int, int, int]:
    return int(row["due_ns"]), int(row["rank"]), int(row["seq"])


def _queue_check(tables: Tables, bucket: int) -> list[int]:
    """Give the slots of a queue of READY; assert that they are in order."""
    found = _list_check(tables, bucket)
    keys = [_key(tables.arrays[TIMER_INDEX][slot]) for slot in found]
    assert keys == sorted(keys), "a queue is sorted"
    return found


def _late_check(tables: Tables) -> list[int]:
    """Give the slots in LATE; assert that parents fire before children, and that links agree."""
    timers = tables.arrays[TIMER_INDEX]
    found = []
    families = [(int(tables.arrays[WHEEL_INDEX][0]["late"]), NIL)]  # first child and parent
    while families:
        slot, parent = families.pop()
        before = parent
        while slot != NIL:
            row = timers[slot]
            assert row["bucket"] < 0, "who is late says so"
            assert row["prev"] == before, "links back and forth agree"
            assert parent == NIL or _key(timers[parent]) <= _key(row), "no child fires before its parent"
            found.append(slot)
            families.append((-1 - int(row["bucket"]), slot))
            before, slot = slot, int(row["next"])
    return found


# ── the wheel by itself ──────────────────────────────────────────────────────────────────────────
#
# A handle is generation × 2^32 + slot and stands in `ref` of an armed timer. In `ref` of a free slot stands
# the next one with its sign turned, which is no handle. A slot whose generations are used up is retired.

NUMBER: Final = np.dtype([("value", "<i8")])
ANSWER: Final = np.dtype([("value", "i1")])
FIRED: Final = np.dtype([("due_ns", "<i8"), ("subject", "<i8"), ("handle", "<i8")])
FACE: Final = np.dtype([("seq", "<i8"), ("fired", "<i8"), ("fired_rows", "<i8")])
DUES, SUBJECTS, RANKS, HANDLES, ANSWERS, FIRES, FACES = range(7)
FACE_TABLES: Final = (NUMBER, NUMBER, NUMBER, NUMBER, ANSWER, FIRED, FACE, NUMBER, NUMBER, NUMBER, *WHEEL_TABLES)
due_given = table(DUES, NUMBER)
subject_given = table(SUBJECTS, NUMBER)
rank_given = table(RANKS, NUMBER)
handle_at = table(HANDLES, NUMBER)
answer_at = table(ANSWERS, ANSWER)
fired_at = table(FIRES, FIRED)
face_at = table(FACES, FACE)

HALF: Final = 0xFFFF_FFFF
GENERATION: Final = 1 << 32
LAST_GENERATION: Final = 2**31 - 1
AHEAD: Final = 16  # handles
ARM, DISARM, ADVANCE, DUE, ARM_ROWS, DISARM_ROWS = range(6)
BACKWARDS: Final = -1


@leaf
def face_arm(state: int, due_ns: int, rank: int, subject: int) -> int:
    """Arm a timer under the next handle of its slot. The caller has checked that there is room."""
    face = face_at(state, 0)
    slot = timer_next(state)
    handle = timer_at(state, slot)["ref"] ^ INT64_SIGN
    if handle == INT64_SIGN:
        handle = GENERATION | slot
    seq = face["seq"] + 1
    wheel_arm(state, due_ns, rank, seq, 0, subject, handle)
    face["seq"] = seq
    return handle


@leaf
def handle_end(state: int, slot: int) -> None:
    """Let the handle of a popped timer be void, and its slot free unless its generations are used up."""
    row = timer_at(state, slot)
    if row["ref"] >> 32 == LAST_GENERATION:
        row["ref"] = -1
    else:
        row["ref"] = (row["ref"] + GENERATION) ^ INT64_SIGN
        timer_free(state, slot)


@leaf
def face_disarm(state: int, handle: int) -> int:
    """Disarm the timer of a handle: 1, or 0 if there is none."""
    slot = handle & HALF
    if handle <= 0 or slot >= wheel_at(state, 0)["timer_used"] or timer_at(state, slot)["ref"] != handle:
        return 0
    timer_unlink(state, slot)
    handle_end(state, slot)
    return 1


@kernel
def face_advance(state: int, until_ns: int) -> int:
    """Write what falls due behind what was written: 2 × rows written, + 1 if there was no room for more, or BACKWARDS."""
    if until_ns < wheel_at(state, 0)["now_ns"]:
        return BACKWARDS
    face = face_at(state, 0)
    at = face["fired"]
    full = 1
    while at < face["fired_rows"]:
        slot = wheel_pop(state, until_ns)
        if slot == NIL:
            full = 0
            break
        row = timer_at(state, slot)
        fired = fired_at(state, at)
        fired["due_ns"] = row["due_ns"]
        fired["subject"] = row["subject"]
        fired["handle"] = row["ref"]
        handle_end(state, slot)
        at += 1
    face["fired"] = at
    return 2 * at + full


@kernel
def rows_arm(state: int, count: int, subject_step: int, rank_step: int) -> None:
    """Arm `count` timers; a step of 0 reads the one subject or rank again and again."""
    for index in range(count):
        due_ns = due_given(state, index)["value"]
        rank = rank_given(state, index * rank_step)["value"]
        subject = subject_given(state, index * subject_step)["value"]
        handle_at(state, index)["value"] = face_arm(state, due_ns, rank, subject)


@leaf
def ask_early(state: int, index: int, count: int) -> None:
    """Ask memory for timers that are disarmed soon, then for their neighbours."""
    used = wheel_at(state, 0)["timer_used"]
    if index + AHEAD < count:
        slot = handle_at(state, index + AHEAD)["value"] & HALF
        if slot < used:
            prefetch(timer_at(state, slot))
    if index + AHEAD // 2 < count:
        slot = handle_at(state, index + AHEAD // 2)["value"] & HALF
        if slot < used:
            row = timer_at(state, slot)
            prefetch(timer_at(state, row["next"]))
            prefetch(timer_at(state, row["prev"]))


@kernel
def rows_disarm(state: int, count: int) -> None:
    """Disarm `count` handles and answer each."""
    for index in range(count):
        ask_early(state, index, count)
        answer_at(state, index)["value"] = face_disarm(state, handle_at(state, index)["value"])


def wheel_call(state: int, what: int, a: int, b: int, c: int) -> int:
    """Do one of six things; ARM gives 0 if there is no room."""
    if what == ARM:
        return face_arm(state, a, b, c) if wheel_has_room(state, 1) else 0
    if what == DISARM:
        return face_disarm(state, a)
    if what == ADVANCE:
        return face_advance(state, a)
    if what == DUE:
        return wheel_due(state)
    if what == ARM_ROWS:
        rows_arm(state, a, b, c)
    else:
        rows_disarm(state, a)
    return 0


WHAT: Final = "the timing wheel"
FIRST_TIMERS: Final = 1_024
FIRST_FIRED: Final = 256  # rows that are kept to write what falls due into
TIME_END: Final = 2**63
RANK_END: Final = 2**15
CAPACITY_END: Final = 2**31 - 1
BAD_TIME, BAD_TERMS = Refusal.BadTime, Refusal.BadTerms  # looked up once: an enum takes 70 ns to find a member


class Fired(NamedTuple):
    """One timer that fell due."""

    due_ns: int
    subject: int
    handle: int


def _within(name: str, value: object, least: int, end: int, code: Refusal) -> int:
    """Let an integer in [least, end) pass."""
    if type(value) is int and least <= value < end:
        return value
    number = integer(name, value, code)
    if not least <= number < end:
        raise MisuseError(f"{name} was {number}; {least} to {end - 1} is allowed", code)
    return number


def _column(name: str, value: object, least: int, end: int, code: Refusal) -> np.ndarray:
    """Let a one-dimensional array of integers in [least, end) pass, as int64."""
    if not isinstance(value, np.ndarray):
        raise MisuseError(f"{name} was a {type(value).__name__}; a NumPy array of integers is due", code)
    if value.dtype.kind not in "iu" or value.ndim != 1:
        found = f"{value.ndim}-dimensional array of {value.dtype}"
        raise MisuseError(f"{name} was a {found}; a one-dimensional array of integers is due", code)
    limits = np.iinfo(value.dtype)
    if len(value) and ((limits.min < least and value.min() < least) or (limits.max >= end and value.max() >= end)):
        row = int(value.argmin() if value.min() < least else value.argmax())
        raise MisuseError(f"{name} had {value[row]} in row {row}; {least} to {end - 1} is allowed", code)
    return np.ascontiguousarray(value, np.int64)


def _column_or_one(name: str, value: object, least: int, end: int, count: int) -> tuple[np.ndarray, int]:
    """Give a column of `count` integers and 1, or one integer for all and 0."""
    if not isinstance(value, np.ndarray):
        return np.full(1, _within(name, value, least, end, BAD_TERMS), np.int64), 0
    column = _column(name, value, least, end, BAD_TERMS)
    if len(column) != count:
        raise MisuseError(f"{name} had {len(column)} rows; {count} are due, one for each due_ns", BAD_TERMS)
    return column, 1


class TimingWheel:
    """Timers that fall due by a time, in the order (due_ns, rank, arming).

    There is no clock in it: time is what `advance` is told, 0 ≤ t < 2^63, in ns or whatever the caller
    counts. `subject` is any int64 that tells the caller what to do. Room is made by doubling, for the most
    timers that were armed at one time; for `capacity` timers it is there from the start. Not for two
    threads at once.

    >>> wheel = TimingWheel()
    >>> late, soon = wheel.arm(due_ns=900, subject=7), wheel.arm(due_ns=500, subject=8)
    >>> wheel.disarm(late), wheel.disarm(late), wheel.next_due_ns
    (True, False, 500)
    >>> [(fired.due_ns, fired.subject) for fired in wheel.advance(to=600)]
    [(500, 8)]
    """

    def __init__(self, *, now_ns: int = 0, capacity: int = FIRST_TIMERS) -> None:
        """Begin without timers at `now_ns`; compiles the kernels the first time ever."""
        now_ns = _within("now_ns", now_ns, 0, TIME_END, BAD_TIME)
        capacity = _within("capacity", capacity, 1, CAPACITY_END, Refusal.CapacityExceeded)
        self._call: Any = entry(wheel_call, 5, WHAT)
        self._tables = Tables(FACE_TABLES)
        wheel_tables(self._tables, timer_rows=capacity + 1, now_ns=now_ns)
        for index, rows in ((RANKS, 1), (SUBJECTS, 1), (FIRES, FIRST_FIRED), (FACES, 1)):
            self._tables.grow(index, rows)
        self._state: Any = self._tables.state
        self._wheel = self._tables.arrays[WHEEL_INDEX][0]
        self._face = self._tables.arrays[FACES][0]
        self._face["fired_rows"] = FIRST_FIRED

    def __len__(self) -> int:
        """Count the timers that are armed. O(1)."""
        return int(self._wheel["armed"])

    def __repr__(self) -> str:
        """Say what time it is, how many timers are armed, and when the first is due."""
        return f"<TimingWheel at {self.now_ns}: {len(self)} armed, next due {self.next_due_ns}>"

    def __reduce__(self) -> NoReturn:
        """Refuse to be copied or pickled: kernels know the wheel by its address."""
        raise MisuseError("a TimingWheel cannot be copied; arm its timers in a new one")

    @property
    def now_ns(self) -> int:
        """The time to which the wheel has been advanced."""
        return int(self._wheel["now_ns"])

    @property
    def next_due_ns(self) -> int | None:
        """The earliest due time, None if no timer is armed.

        O(1), but O(timers beside it) while the earliest one of a bucket was disarmed.
        """
        due_ns: int = self._call(self._state, DUE, 0, 0, 0)
        return None if due_ns < 0 else due_ns

    # ── one timer ────────────────────────────────────────────────────────────────────────────────

    def arm(self, *, due_ns: int, subject: int = 0, rank: int = 0) -> int:
        """Arm a timer and give its handle; one that is not after `now_ns` is due at the next `advance`.

        Raises `MisuseError` for a due time outside 0 … 2^63 − 1, a subject that is no int64, a rank outside
        0 … 2^15 − 1. O(1).
        """
        plain = type(due_ns) is type(subject) is type(rank) is int
        if not (plain and 0 <= due_ns < TIME_END and INT64_MIN <= subject < TIME_END and 0 <= rank < RANK_END):
            due_ns = _within("due_ns", due_ns, 0, TIME_END, BAD_TIME)
            subject = _within("subject", subject, INT64_MIN, TIME_END, BAD_TERMS)
            rank = _within("rank", rank, 0, RANK_END, BAD_TERMS)
        handle: int = self._call(self._state, ARM, due_ns, rank, subject)
        if handle == 0:
            timers_grow(self._tables)
            handle = self._call(self._state, ARM, due_ns, rank, subject)
        return handle

    def disarm(self, handle: int) -> bool:
        """Disarm the timer of a handle; False if it has fired or was disarmed, and nothing changes. O(1)."""
        if type(handle) is not int:
            handle = integer("handle", handle, BAD_TERMS)
        return 0 < handle < TIME_END and self._call(self._state, DISARM, handle, 0, 0) == 1

    def advance(self, *, to: int) -> list[Fired]:
        """Let time pass until `to` and list what fell due, in order.

        Raises `MisuseError` if `to` lies before `now_ns`. O(1 + fired), however long the span.
        """
        count = self._fire(to)
        if not count:
            return []
        told = [Fired(*row) for row in self._tables.arrays[FIRES][:count].tolist()]
        self._face["fired"] = 0  # the last thing that is done: until then the next call begins with them
        return told

    # ── many ─────────────────────────────────────────────────────────────────────────────────────

    def arm_batch(self, due_ns: np.ndarray, subject: np.ndarray | int = 0, rank: np.ndarray | int = 0) -> np.ndarray:
        """Arm timers in the order of the arrays and give their handles, int64[n].

        `subject` and `rank` are arrays of the same length, or one number for all. Raises `MisuseError` as
        `arm` does, before any timer is armed. O(n).
        """
        dues = _column("due_ns", due_ns, 0, TIME_END, BAD_TIME)
        subjects, subject_step = _column_or_one("subject", subject, INT64_MIN, TIME_END, len(dues))
        ranks, rank_step = _column_or_one("rank", rank, 0, RANK_END, len(dues))
        handles = np.empty(len(dues), np.int64)
        while int(self._wheel["armed"] + self._wheel["popped"]) + len(dues) >= int(self._wheel["timer_rows"]):
            timers_grow(self._tables)
        for index, column in ((DUES, dues), (SUBJECTS, subjects), (RANKS, ranks), (HANDLES, handles)):
            self._tables.put(index, column.view(NUMBER))
        # One call, which nothing interrupts: all of them are armed or none.
        self._call(self._state, ARM_ROWS, len(dues), subject_step, rank_step)
        return handles

    def disarm_batch(self, handles: np.ndarray) -> np.ndarray:
        """Disarm the timers of handles, in order; bool[n] says of each whether it was armed. O(n)."""
        column = _column("handles", handles, INT64_MIN, 2**64, BAD_TERMS)
        answers = np.zeros(len(column), ANSWER)
        self._tables.put(HANDLES, column.view(NUMBER))
        self._tables.put(ANSWERS, answers)
        self._call(self._state, DISARM_ROWS, len(column), 0, 0)
        return answers.view(np.bool_)

    def advance_batch(self, *, to: int) -> np.ndarray:
        """Let time pass until `to` and give what fell due, in order, as FIRED[n]: due_ns, subject, handle.

        Raises `MisuseError` if `to` lies before `now_ns`. O(1 + fired), however long the span.
        """
        count = self._fire(to)
        told = self._tables.arrays[FIRES][:count].copy()
        self._face["fired"] = 0
        return told

    def _fire(self, to: int) -> int:
        """Fire what is due and count it.

        What has fired stays in the wheel's own rows until all of it is handed over, so that a call which is
        interrupted loses none: the next one begins with it.
        """
        until_ns = _within("to", to, 0, TIME_END, BAD_TIME)
        if len(self._tables.arrays[FIRES]) > FIRST_FIRED and self._face["fired"] == 0:
            self._face["fired_rows"] = FIRST_FIRED  # before the memory goes
            self._tables.put(FIRES, aligned_zeros(FIRST_FIRED, FIRED))
        answer: int = self._call(self._state, ADVANCE, until_ns, 0, 0)
        if answer == BACKWARDS:
            raise MisuseError(f"to was {until_ns}; the wheel stands at {self.now_ns} and never goes back", Refusal.ClockBackwards)
        while answer & 1:
            self._tables.grow(FIRES, 2 * len(self._tables.arrays[FIRES]))
            self._face["fired_rows"] = len(self._tables.arrays[FIRES])
            answer = self._call(self._state, ADVANCE, until_ns, 0, 0)
        return answer >> 1

    def check(self) -> None:
        """Assert the wheel's invariants. O(slots), slowly."""
        wheel_check(self._tables)
        timers = self._tables.arrays[TIMER_INDEX]
        for slot in range(1, int(self._wheel["timer_used"])):
            handle = int(timers[slot]["ref"])
            assert (handle > 0) == (timers[slot]["bucket"] != NO_BUCKET), "armed timers have handles, no others"
            assert handle < 0 or handle & HALF == slot, "a handle names its slot"
