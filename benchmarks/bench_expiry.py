"""How fast timers are: nanoseconds per timer, of the wheel and of what people use instead.

    python benchmarks/bench_expiry.py [--timers 1000000] [--runs 5] [--rival-runs 5]

A million due times, uniform over an hour; all are armed in one order, fire in another, and are armed
again to be disarmed in a third. heapq disarms lazily (it keeps a set of what is void), as its manual advises.
Each line is the median and the worst of the runs, which take turns; times and orders are made outside
the clock, and so is the memory of the wheel where a line does not say otherwise. The digest is that
of the subjects in the order in which they fired: equal for all.
"""

from __future__ import annotations

import argparse
import hashlib
import heapq
import sys
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from sortedcontainers import SortedList
from telling import Table, show, spread

from rightsx._jit import entry
from rightsx.expiry import TimingWheel, wheel_pop

if TYPE_CHECKING:
    from collections.abc import Callable

NOW_NS: Final = 1_767_225_600_000_000_000
HOUR_NS: Final = 3_600_000_000_000
CENTURY_NS: Final = 36_525 * 86_400 * 10**9
SEED: Final = 20_260_101
LONGEST: Final = 100_000  # single calls and empty spans per run


class Line(NamedTuple):
    """One measurement: what, how long in all, how many, and the digest of what fired, if anything did."""

    what: str
    elapsed_ns: int
    times: int
    digest: str = ""


class Flow:
    """Seeded due times and an order of disarming."""

    def __init__(self, timers: int) -> None:
        """Draw them."""
        random = np.random.default_rng(SEED)
        self.due_ns = NOW_NS + 1 + random.integers(0, HOUR_NS, timers)
        self.subject = np.arange(timers)
        self.order = random.permutation(timers)
        self.ranks = random.integers(0, 7, timers)


def timed(work: Callable[[], Any]) -> tuple[int, Any]:
    """Run and give (ns, result)."""
    start = time.perf_counter_ns()
    result = work()
    return time.perf_counter_ns() - start, result


def digest_of(subjects: np.ndarray) -> str:
    """Digest the subjects in the order in which they fired."""
    return hashlib.sha256(np.ascontiguousarray(subjects, "<i8").tobytes()).hexdigest()[:16]


# ── the wheel ────────────────────────────────────────────────────────────────────────────────────


def wheel_batches(flow: Flow) -> list[Line]:
    """Arm, fire, arm in the slots that became free, disarm."""
    count = len(flow.due_ns)
    wheel = TimingWheel(now_ns=NOW_NS, capacity=count)
    # Touch the memory, and free the slots so that they are taken in ascending order, as fresh ones are.
    wheel.disarm_batch(wheel.arm_batch(flow.due_ns, flow.subject)[::-1])
    armed, _ = timed(lambda: wheel.arm_batch(flow.due_ns, flow.subject))
    fired, rows = timed(lambda: wheel.advance_batch(to=NOW_NS + HOUR_NS))
    late, handles = timed(lambda: wheel.arm_batch(flow.due_ns + HOUR_NS, flow.subject))
    chosen = handles[flow.order]
    disarmed, answers = timed(lambda: wheel.disarm_batch(chosen))
    assert answers.all()
    assert len(wheel) == 0
    return [
        Line("wheel: arm", armed, count),
        Line("wheel: arm, in slots that others left in disorder", late, count),
        Line("wheel: disarm, in random order", disarmed, count),
        Line("wheel: fire", fired, count, digest_of(rows["subject"])),
    ]


def wheel_growing(flow: Flow) -> list[Line]:
    """Arm from nothing: the table doubles ten times, and its memory is new."""
    wheel = TimingWheel(now_ns=NOW_NS)
    parts = np.array_split(flow.due_ns, 64)
    elapsed, _ = timed(lambda: [wheel.arm_batch(part) for part in parts])
    return [Line("wheel: arm, from nothing, growth included", elapsed, len(flow.due_ns))]


def wheel_crowded(flow: Flow) -> list[Line]:
    """Fire all at one ns: in the order of arming, and of seven ranks in any order."""
    count = len(flow.due_ns)
    lines = []
    for what, rank, order in (
        ("wheel: fire, all at one ns", 0, flow.subject),
        ("wheel: fire, all at one ns, seven ranks mixed", flow.ranks, np.argsort(flow.ranks, kind="stable")),
    ):
        wheel = TimingWheel(now_ns=NOW_NS, capacity=count)
        wheel.arm_batch(np.full(count, NOW_NS + HOUR_NS), flow.subject, rank)
        fired, rows = timed(lambda wheel=wheel: wheel.advance_batch(to=NOW_NS + HOUR_NS))  # type: ignore[misc]
        assert np.array_equal(rows["subject"], order)
        lines.append(Line(what, fired, count))
    return lines


def spans_pass(state: int, count: int, from_ns: int, span_ns: int) -> int:
    """Let `count` empty spans pass; gives how many timers were due."""
    due = 0
    for index in range(count):
        if wheel_pop(state, from_ns + index * span_ns) != 0:
            due += 1
    return due


def wheel_empty(flow: Flow) -> list[Line]:
    """Let empty spans pass inside a kernel: of a ns, and of years."""
    count = min(LONGEST, len(flow.due_ns))
    call = entry(spans_pass, 4, "the benchmark's empty spans")
    lines = []
    for what, span_ns in (("a ns", 1), ("two centuries in all", 2 * CENTURY_NS // count)):
        wheel = TimingWheel(now_ns=NOW_NS)
        wheel.arm(due_ns=2**63 - 1)
        tables = wheel._tables  # noqa: SLF001 - an engine calls the kernel over its own tables
        elapsed, due = timed(lambda tables=tables, span_ns=span_ns: call(tables.state, count, NOW_NS, span_ns))  # type: ignore[misc]
        assert due == 0
        lines.append(Line(f"wheel: an empty span, {what}", elapsed, count))
    return lines


def wheel_single(flow: Flow) -> list[Line]:
    """Make one call from Python for each timer."""
    count = min(LONGEST, len(flow.due_ns))
    dues = flow.due_ns[:count].tolist()
    wheel = TimingWheel(now_ns=NOW_NS, capacity=count)
    armed, handles = timed(lambda: [wheel.arm(due_ns=due_ns) for due_ns in dues])
    # Nothing is kept: a list of as many lists would time the collector of garbage.
    empty, due = timed(lambda: sum(1 for _ in dues if wheel.advance(to=NOW_NS)))
    disarmed, answers = timed(lambda: [wheel.disarm(handle) for handle in handles])
    assert all(answers)
    assert due == 0
    return [
        Line("wheel, one call each: arm", armed, count),
        Line("wheel, one call each: disarm", disarmed, count),
        Line("wheel, one call each: advance, nothing due", empty, count),
    ]


# ── rivals ───────────────────────────────────────────────────────────────────────────────────────


def with_heapq(flow: Flow) -> list[Line]:
    """Do the same with heapq and a set of what is void."""
    pairs = list(zip(flow.due_ns.tolist(), flow.subject.tolist(), strict=True))
    order = flow.order.tolist()
    heap: list[tuple[int, int]] = []
    void: set[int] = set()

    def arm() -> None:
        for pair in pairs:
            heapq.heappush(heap, pair)

    def fire() -> list[int]:
        fired = []
        while heap and heap[0][0] <= NOW_NS + HOUR_NS:
            subject = heapq.heappop(heap)[1]
            if subject in void:
                void.remove(subject)
            else:
                fired.append(subject)
        return fired

    def disarm() -> None:
        for subject in order:
            void.add(subject)

    return rival("heapq", arm, fire, disarm, len(pairs))


def with_sorted_list(flow: Flow) -> list[Line]:
    """Do the same with sortedcontainers."""
    pairs = list(zip(flow.due_ns.tolist(), flow.subject.tolist(), strict=True))
    chosen = [pairs[index] for index in flow.order.tolist()]
    timers = SortedList()

    def arm() -> None:
        for pair in pairs:
            timers.add(pair)

    def fire() -> list[int]:
        fired = []
        while timers and timers[0][0] <= NOW_NS + HOUR_NS:
            fired.append(timers.pop(0)[1])
        return fired

    def disarm() -> None:
        for pair in chosen:
            timers.remove(pair)

    return rival("sortedcontainers", arm, fire, disarm, len(pairs))


def rival(
    name: str, arm: Callable[[], None], fire: Callable[[], list[int]], disarm: Callable[[], None], count: int
) -> list[Line]:
    """Time the three operations of a rival."""
    armed, _ = timed(arm)
    fired, subjects = timed(fire)
    arm()
    disarmed, _ = timed(disarm)
    return [
        Line(f"{name}: arm", armed, count),
        Line(f"{name}: disarm, in random order", disarmed, count),
        Line(f"{name}: fire", fired, count, digest_of(np.array(subjects))),
    ]


def main() -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--timers", type=int, default=1_000_000, help="timers per run (default 1000000)")
    parser.add_argument("--runs", type=int, default=5, help="runs of the wheel (default 5)")
    parser.add_argument("--rival-runs", type=int, default=5, help="runs of heapq and sortedcontainers (default 5)")
    options = parser.parse_args()
    show([measured(options.timers, options.runs, options.rival_runs)])
    return 0


def measured(timers: int, most_runs: int, rival_runs: int) -> Table:
    """Measure the wheel and its rivals in turn."""
    flow = Flow(timers)
    wheels = (wheel_batches, wheel_growing, wheel_crowded, wheel_empty, wheel_single)
    rivals = (with_heapq, with_sorted_list)
    for work in (*wheels, *rivals):  # warm up: compile, import, fault memory in
        work(Flow(min(1_000, timers)))
    results: dict[str, list[Line]] = {}
    for turn in range(max(most_runs, rival_runs)):
        for work in (*wheels * (turn < most_runs), *rivals * (turn < rival_runs)):
            for line in work(flow):
                results.setdefault(line.what, []).append(line)
    digests = {line.digest for lines in results.values() for line in lines} - {""}
    assert len(digests) <= 1, f"they fired in different orders: {digests}"
    rows: list[tuple[object, ...]] = []
    for what, lines in results.items():
        each = [line.elapsed_ns / line.times for line in lines]
        rows.append((what, len(lines), *spread(each), lines[0].digest))
    return (f"{timers:,} timers", "runs", "ns, median", "ns, worst", "digest"), rows


if __name__ == "__main__":
    sys.exit(main())
