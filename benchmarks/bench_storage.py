"""What it costs to keep a market: commands a second that are durable and hashed, and to bring it back.

    python benchmarks/bench_storage.py [--commands 1000000] [--runs 5] [--where DIR] [--append]

Three tables, over the flow `calm` with owners, as in `bench_exchange`, on the disk of DIR (default: the temporary one).
*Commit*: the flow in batches of 1, 16, 256, 4,096 and 16,384, each one frame, one write, one sync, applied, every event
hashed into the journal: microseconds of a batch; ns of a command to encode its frame, to write and to sync it, to apply it
and to hash its events, the rest being checks and copies; acknowledged commands a second, with and without syncs. *Publish*:
ns an event to write records and tiles and sign a checkpoint. *Back*: commands a second replayed when it is opened again,
hashes compared; milliseconds of a proof from files.

Each line is the median of the runs, worst in the last column; the digest is of the market's state.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import bench_exchange
import numpy as np
import workloads
from telling import Table, tell, tenth

from rightsx import Exchange
from rightsx.disk import RealDisk
from rightsx.inspection import read_receipt
from rightsx.note import make_signing_key
from rightsx.storage import open_twin
from rightsx.twins import twin_of

if TYPE_CHECKING:
    from rightsx.disk import File
    from rightsx.storage import DurableTwin

SIZES: Final = (1, 16, 256, 4_096, 16_384)
FEWER: Final = {1: 200, 16: 20, 256: 2}  # a part of the flow is enough where batches are small
KEY: Final = make_signing_key("bench.example/calm", bytes(32))
PROOFS: Final = 200


class TimedDisk(RealDisk):
    """A disk that adds up what its writes and syncs take, in ns."""

    def __init__(self) -> None:
        """Begin at 0."""
        self.written = self.synced = 0

    def open(self, path: Path, *, create: bool = False, write: bool = True, private: bool = False) -> File:
        """Open a file whose writes and syncs are timed."""
        return _TimedFile(super().open(path, create=create, write=write, private=private), self)


class _TimedFile:
    def __init__(self, file: File, disk: TimedDisk) -> None:
        self._file, self._disk, self.path = file, disk, file.path
        self.size, self.read, self.close = file.size, file.read, file.close

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        start = time.perf_counter_ns()
        self._file.write(offset, data)
        self._disk.written += time.perf_counter_ns() - start

    def sync(self) -> None:
        start = time.perf_counter_ns()
        self._file.sync()
        self._disk.synced += time.perf_counter_ns() - start


class _Timed:
    """A method of an object that adds up what it takes, in ns."""

    def __init__(self, owner: Any, name: str) -> None:
        self.ns = 0
        usual = getattr(owner, name)

        def call(*given: Any) -> Any:
            start = time.perf_counter_ns()
            answer = usual(*given)
            self.ns += time.perf_counter_ns() - start
            return answer

        setattr(owner, name, call)


def stage(folder: Path, disk: TimedDisk | None = None) -> DurableTwin:
    """Make a kept market in which the flow's owners have cash and units to spare."""
    # The face makes the market; the benchmark goes on with the twin, whose disk it can time.
    with Exchange.open(folder, durability="os", signer=KEY, keep_events=False) as market:
        bench_exchange.furnish(market, 1)
    twin = open_twin(folder, lambda venue: twin_of("compiled", venue), signer=KEY, disk=disk)
    twin.recover(lambda _: None)
    return twin


def committed(commands: np.ndarray, batch: int, folder: Path) -> tuple[dict[str, float], DurableTwin]:
    """Commit a flow in batches; gives ns."""
    disk = TimedDisk()
    twin = stage(folder, disk)
    parts = {
        "encode": _Timed(twin._log, "append"),  # noqa: SLF001 - timed where it is called
        "apply": _Timed(twin.twin, "apply_batch"),
        "hash": _Timed(twin.journal, "append"),
    }
    disk.written = disk.synced = 0
    each = []
    start = time.perf_counter_ns()
    for at in range(0, len(commands), batch):
        begun = time.perf_counter_ns()
        twin.apply_batch(commands[at : at + batch])
        twin.heard()
        each.append(time.perf_counter_ns() - begun)
    whole = time.perf_counter_ns() - start
    return {
        "whole": whole,
        "write": disk.written,
        "sync": disk.synced,
        **{name: part.ns for name, part in parts.items()},
        "p50": statistics.median(each),
        "batches": len(each),
    }, twin


def measured(count: int, runs: int, where: Path | None = None) -> list[Table]:
    """Measure all three tables."""
    Exchange()
    flow = bench_exchange.owned(workloads.commands("calm", adds=count))
    commits, publishes, backs = [], [], []
    for size in SIZES:
        commands = flow[: max(size, len(flow) // FEWER.get(size, 1))]
        found = []
        for _ in range(runs):
            with tempfile.TemporaryDirectory(dir=where) as folder:
                store = Path(folder) / "store"
                numbers, twin = committed(commands, size, store)
                events = twin.journal_now().size
                state = twin.state_hash()[:16]
                start = time.perf_counter_ns()
                twin.publish()
                numbers["publish"] = (time.perf_counter_ns() - start) / events
                twin.close()
                found.append(numbers)
                if size == SIZES[-2]:
                    backs.append(back(store, len(commands)))
                if size == SIZES[-1]:
                    publishes.append(numbers["publish"])
        commits.append(commit_row(size, len(commands), found, state))
    return [
        (
            (
                *("commit, batches of", "commands", "p50 µs", "encode", "write", "sync", "apply", "hash", "rest"),
                *("a second", "without sync", "state"),
            ),
            commits,
        ),
        (("publish", "runs", "ns an event, median", "worst"), [("tiles, records, checkpoint", runs, *both(publishes))]),
        (
            ("back", "runs", "median", "worst"),
            [
                (
                    "replay, commands a second",
                    runs,
                    f"{statistics.median(b[0] for b in backs):,.0f}",
                    f"{min(b[0] for b in backs):,.0f}",
                ),
                ("a proof from files, ms", runs, *(f"{f(b[1] for b in backs):.3f}" for f in (statistics.median, max))),
            ],
        ),
    ]


def both(each: list[float]) -> tuple[str, str]:
    """Write the median and the worst."""
    return tenth(statistics.median(each)), tenth(max(each))


def commit_row(size: int, count: int, found: list[dict[str, float]], state: str) -> tuple[object, ...]:
    """Write one line of the first table."""

    def median(of: Any) -> float:
        return float(statistics.median(of(one) for one in found))

    parts = {
        name: median(lambda one, name=name: one[name] / count) for name in ("encode", "write", "sync", "apply", "hash", "whole")
    }
    parts["encode"] -= parts["write"]  # a frame is written where it is encoded
    parts["rest"] = parts.pop("whole") - sum(parts.values())
    second = median(lambda one: count / one["whole"] * 1e9)
    without = median(lambda one: count / (one["whole"] - one["sync"]) * 1e9)
    p50 = median(lambda one: one["p50"] / 1e3)
    return (f"{size:,}", count, f"{p50:,.0f}", *map(tenth, parts.values()), f"{second:,.0f}", f"{without:,.0f}", state)


def back(store: Path, count: int) -> tuple[float, float]:
    """Open a store again, and draw up receipts from its files: commands a second, and ms each."""
    twin = open_twin(store, lambda venue: twin_of("compiled", venue), signer=KEY)
    start = time.perf_counter_ns()
    twin.recover(lambda _: None)
    second = count / (time.perf_counter_ns() - start) * 1e9
    numbers = np.random.default_rng(1).integers(0, twin.journal.size, PROOFS).tolist()
    twin.close()
    start = time.perf_counter_ns()
    for number in numbers:
        read_receipt(store, number)
    return second, (time.perf_counter_ns() - start) / PROOFS / 1e6


def main() -> int:
    """Measure, print, and append if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="runs per line (default 5)")
    parser.add_argument("--commands", type=int, default=workloads.ADDS, help="orders of the flow (default 1000000)")
    parser.add_argument("--where", type=Path, help="a directory of the disk to be measured (default: the temporary one)")
    parser.add_argument("--append", action="store_true", help="add the tables to HISTORY.md")
    options = parser.parse_args()
    tables = measured(options.commands, options.runs, options.where)
    tell("keeping a market", tables, keeps=options.append)
    return 0


if __name__ == "__main__":
    sys.exit(main())
