"""What the journal costs: hashing, publishing and proving events, and stating what everybody is owed.

    python benchmarks/bench_ledger.py [--events 1000000] [--holders 1000000] [--runs 5] [--where DIR] [--append]

Three tables, on the disk of DIR (default: the temporary one), for a journal in a folder by itself, without a market.
*Journal*: events in batches of 1, 16, 256, 4,096 and 16,384, each hashed into the tree as it comes and all published at the
end: ns an event to hash (salt, leaf, nodes), to publish (records, tiles, checkpoint) and for its syncs. *Proofs*: µs of an
inclusion proof from what is in memory, and from files, of events at random; µs to check one. *State*: seconds to build
what is owed to so many holders, in one series and in a thousand; again when one of them has changed; µs to prove a
holding and to check it.

Each line is the median of the runs, worst beside it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from bench_storage import FEWER, KEY, SIZES, TimedDisk
from telling import Table, spread, tell

from rightsx.commitment import State, holder_key
from rightsx.ledger import Journal
from rightsx.merkle import check_inclusion, leaf_hash
from rightsx.protocol import EVENT, EVENT_LENGTH, EVENT_VERSION, HOLDER, PROMISE
from rightsx.summap import check_sum

if TYPE_CHECKING:
    from collections.abc import Callable

EVENTS: Final = 1_000_000
HOLDERS: Final = 1_000_000
PROOFS: Final = 500
MANY_SERIES: Final = 1_000


def events_of(count: int) -> np.ndarray:
    """Make events that differ."""
    rows = np.zeros(count, EVENT)
    rows["length"], rows["version"], rows["kind"] = EVENT_LENGTH, EVENT_VERSION, 2
    rows["event_seq"] = rows["price"] = np.arange(count)
    return rows


def journal_of(folder: Path, disk: TimedDisk) -> Journal:
    """Make a journal in a folder."""
    return Journal(folder, origin=KEY.name, signer=KEY, secret=bytes(32), disk=disk)


def published(events: np.ndarray, batch: int, folder: Path) -> tuple[float, float, float, Journal]:
    """Hash events in batches and publish them; gives ns an event to hash, to publish, for its syncs."""
    disk = TimedDisk()
    journal = journal_of(folder, disk)
    start = time.perf_counter_ns()
    for at in range(0, len(events), batch):
        journal.append(events[at : at + batch])
    hashed = time.perf_counter_ns() - start
    disk.synced = 0
    start = time.perf_counter_ns()
    journal.publish()
    whole = time.perf_counter_ns() - start
    count = len(events)
    return hashed / count, (whole - disk.synced) / count, disk.synced / count, journal


def journal_tables(count: int, runs: int, where: Path | None) -> list[Table]:
    """Measure hashing, publishing and proofs."""
    events = events_of(count)
    rows: list[tuple[object, ...]] = []
    proofs: dict[str, list[float]] = {"inclusion, hashes in memory": [], "inclusion, from files": [], "check of an inclusion": []}
    for size in SIZES:
        some = events[: max(size, count // FEWER.get(size, 1))]
        found = []
        for _ in range(runs):
            with tempfile.TemporaryDirectory(dir=where) as folder:
                *times, journal = published(some, size, Path(folder) / "journal")
                found.append(times)
                if size == SIZES[-1]:
                    for name, took in proof_times(journal, events).items():
                        proofs[name].append(took)
                journal.close()
        rows.append((f"{size:,}", len(some), *(cell for each in zip(*found, strict=True) for cell in spread(each))))
    told = [(name, PROOFS, *spread(each)) for name, each in proofs.items()]
    return [
        (("journal, batches of", "events", "hash ns", "worst", "publish ns", "worst", "its syncs ns", "worst"), rows),
        (("a proof of one event", "proofs", "µs, median", "worst"), list(told)),
    ]


def proof_times(journal: Journal, events: np.ndarray) -> dict[str, float]:
    """Time proofs of events at random, in µs: from files, from memory, and checking them."""
    numbers = np.random.default_rng(1).integers(0, journal.size, PROOFS).tolist()
    in_memory = Journal(origin=KEY.name, secret=bytes(32))
    in_memory.append(events)
    proofs = [in_memory.prove_inclusion(number) for number in numbers]
    leaves = [leaf_hash(journal.record(number)[2:]) for number in numbers]
    size, root = journal.size, journal.root()

    def check_all() -> None:
        for number, leaf, proof in zip(numbers, leaves, proofs, strict=True):
            check_inclusion(leaf, number, size, proof, root)

    return {
        "inclusion, hashes in memory": timed(lambda: [in_memory.prove_inclusion(number) for number in numbers]) / PROOFS,
        "inclusion, from files": timed(lambda: [journal.prove_inclusion(number) for number in numbers]) / PROOFS,
        "check of an inclusion": timed(check_all) / PROOFS,
    }


def timed(call: Callable[[], object]) -> float:
    """Give the µs of a call."""
    start = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - start) / 1e3


def state_table(count: int, runs: int) -> Table:
    """Measure stating what is owed."""
    rows: list[tuple[object, ...]] = []
    rng = np.random.default_rng(1)
    salts = rng.integers(0, 256, (count + 1, 32)).astype(np.uint8)
    for series in (1, MANY_SERIES):
        promises, holders = np.zeros(series, PROMISE), np.zeros(count, HOLDER)
        promises["series"] = np.arange(1, series + 1)
        holders["account"], holders["series"] = np.arange(1, count + 1), np.arange(count) % series + 1
        holders["units"] = rng.integers(1, 50, count)
        promises["units"] = np.bincount(holders["series"], holders["units"], series + 1)[1:]
        times: dict[str, list[float]] = {}
        for _ in range(runs):
            for name, took in state_times(promises, holders, salts).items():
                times.setdefault(name, []).append(took)
        rows += [(f"{name}, {series:,} series", count, *spread(each)) for name, each in times.items()]
    return ("state", "holders", "µs, median", "worst"), rows


def state_times(promises: np.ndarray, holders: np.ndarray, salts: np.ndarray) -> dict[str, float]:
    """Time a state, in µs: built, built again with one holder changed, a holding proved and checked."""
    built: list[State] = []
    first = timed(lambda: built.append(State(promises, holders, salts)))
    promises, holders = promises.copy(), holders.copy()
    holders["units"][0] += 1
    promises["units"][0] += 1
    again = timed(lambda: built.append(State(promises, holders, salts, built[0])))
    state = built[1]
    some = [holders[number].item() for number in range(0, len(holders), 1 + len(holders) // PROOFS)]
    proofs = [state.prove_holder(account, series) for series, account, _ in some]

    def check_all() -> None:
        for (series, account, units), proof in zip(some, proofs, strict=True):
            promise = state.promises[series - 1]
            key = holder_key(bytes(salts[account]), account, series)
            assert check_sum(proof, key, int(promise["units"]), bytes(promise["holders"])) == units

    return {
        "built": first,
        "again, one holder changed": again,
        "a holding proved": timed(lambda: [state.prove_holder(account, series) for series, account, _ in some]) / len(some),
        "and checked": timed(check_all) / len(some),
    }


def measured(events: int, holders: int, runs: int, where: Path | None = None) -> list[Table]:
    """Measure all tables."""
    with tempfile.TemporaryDirectory(dir=where) as folder:
        published(events_of(64), 64, Path(folder) / "journal")[-1].close()  # compiles now, if that is still to be done
    return [*journal_tables(events, runs, where), state_table(holders, runs)]


def main() -> int:
    """Measure, print, and append if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="runs per line (default 5)")
    parser.add_argument("--events", type=int, default=EVENTS, help="events of the journal (default 1000000)")
    parser.add_argument("--holders", type=int, default=HOLDERS, help="holders of the state (default 1000000)")
    parser.add_argument("--where", type=Path, help="a directory of the disk to be measured (default: the temporary one)")
    parser.add_argument("--append", action="store_true", help="add the tables to HISTORY.md")
    options = parser.parse_args()
    tables = measured(options.events, options.holders, options.runs, options.where)
    tell("the journal", tables, keeps=options.append)
    return 0


if __name__ == "__main__":
    sys.exit(main())
