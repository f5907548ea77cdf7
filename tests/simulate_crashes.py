"""Crashes, failing disks, damage and killed processes, as many as asked for: every one opens with all that was acknowledged.

    python tests/simulate_crashes.py [--seed 1] [--states 1000000] [--images 100000] [--kills 1000] [--workers 2]

Each seed is a market of its own on a disk in memory: it is stopped at random calls of the disk, and several of the
states that a crash may leave there are opened (`crashes`). Then the whole store is damaged at random (`damage`), which must be named or
harmless. Killed processes are real ones on the real disk. Each seed is a task of its own, on all cores; the seed that
ends a run is printed, and a later one goes on from there.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import errno
import itertools
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from crashes import FaultyDisk, PowerLost, Run, Script, judge
from damage import damage
from rightsx.engine.twin import CompiledExchange
from rightsx.errors import RightsxError
from rightsx.exchange import Exchange
from rightsx.progress import Bar
from rightsx.reference.twin import ReferenceExchange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STOPS = 12  # moments at which a seed's market is stopped
STATES = 8  # that are opened of each
IMAGES = 10  # damaged ones of each seed
WRITER = """
import sys
from rightsx import Exchange
market = Exchange.open(sys.argv[1], engine="reference", durability=sys.argv[2])
while True:
    print(int(market.open_account()), flush=True)
"""

Counts = collections.Counter[str]


def again_after_kill(run: Run, fail_at: int) -> tuple[Run, FaultyDisk]:
    """Go on in another process, which finds what the one before had not made safe, until the power goes."""
    disk = run.disk.killed()
    disk.fail_at = fail_at
    again = Run(run.script, disk, fail_at, durability=run.durability, make=run.make)
    again.published = run.published
    before = run.safe
    try:
        again.go()
    except PowerLost:
        again.safe = max(again.safe, before)
        again.issued = max(again.issued, run.issued)
    return again, disk


def crash_states(seed: int, counts: Counts) -> None:
    """Stop one market at several moments, and open what may be left."""
    chance = random.Random(seed)
    script = Script(seed, chance.randrange(10, 90), chance.choice((0, 0.1, 0.3)))
    durability = chance.choice(("disk", "disk", "os", "none"))
    make = chance.choice((ReferenceExchange, ReferenceExchange, CompiledExchange))  # which alone takes snapshots
    whole = FaultyDisk()
    Run(script, whole, seed, durability=durability, make=make).go()
    seen = set()
    for _ in range(STOPS):
        disk = FaultyDisk()
        disk.fail_at, disk.part = chance.randrange(1, whole.calls + 1), chance.choice((0, 0, chance.random()))
        disk.error = chance.choice((None, None, errno.EIO, errno.ENOSPC))
        run = Run(script, disk, seed, durability=durability, make=make)
        try:
            run.go()
        except (PowerLost, OSError):
            counts["stopped by " + ("the power" if disk.error is None else errno.errorcode[disk.error])] += 1
            if chance.random() < 0.4:
                counts["killed before"] += 1
                run, disk = again_after_kill(run, chance.randrange(1, whole.calls + 1))
        for _ in range(STATES):
            state = disk.crash(chance)
            if (key := hash(state.image())) in seen:
                counts["states seen before"] += 1
                continue
            seen.add(key)
            counts[f"states: {judge(run, state, legal=True)}"] += 1
    run = Run(script, FaultyDisk(), seed, durability=durability, make=make)
    run.go()
    for _ in range(IMAGES):
        kind, state = damage(run.disk, chance)
        try:
            outcome = judge(run, state, legal=False)
            assert outcome != "cut", f"{kind}: acknowledged commands are cut"
        except (RightsxError, FileNotFoundError):
            outcome = "refused"
        counts[f"images: {kind} {outcome}"] += 1


def kill(seed: int, counts: Counts) -> None:
    """Kill a real process in the midst of its work, several times over one store."""
    chance = random.Random(seed)
    durability = chance.choice(("disk", "os"))
    with tempfile.TemporaryDirectory() as folder:
        store, told = Path(folder) / "store", 0
        for _ in range(5):
            words = [sys.executable, "-c", WRITER, str(store), durability]
            with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                for _ in range(chance.randrange(1, 60)):
                    told = int(process.stdout.readline())
                time.sleep(chance.random() / 50)
                process.send_signal(signal.SIGKILL)
                told = max([told, *map(int, process.stdout.read().split("\n")[:-1])])
            with Exchange.open(store, engine="reference") as market:
                assert market.command_seq >= told, f"{told} was acknowledged; {market.command_seq} commands are there"
                market.check()
            counts["kills"] += 1


def total(counts: Counts, what: str) -> int:
    """Add up the counts whose name begins so."""
    return sum(count for name, count in counts.items() if name.startswith(what))


def counted(work: Callable[[int, Counts], None], seed: int) -> Counts:
    """Do a seed's work and give its counts; an error says which seed it was."""
    counts: Counts = collections.Counter()
    try:
        work(seed, counts)
    except BaseException as error:
        error.add_note(f"seed {seed}")
        raise
    return counts


def each_seed(work: Callable[[int, Counts], None], seed: int, workers: int) -> Iterator[Counts]:
    """Do the work of one seed after the other, in processes of their own if there are several, and give the counts in order."""
    if workers == 1:
        yield from (counted(work, one) for one in itertools.count(seed))
    # A new process, not a copy of this one: what a copy has inherited may be locked.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        asked = collections.deque(pool.submit(counted, work, one) for one in range(seed, seed + 2 * workers))
        try:
            for one in itertools.count(seed + 2 * workers):
                yield asked.popleft().result()
                asked.append(pool.submit(counted, work, one))
        finally:
            pool.shutdown(cancel_futures=True)


def simulate(seed: int, states: int, images: int, kills: int, counts: Counts, *, workers: int = 1, shown: bool = True) -> int:
    """Go on until there were so many states, images and kills; gives the next seed."""
    wanted = {"states: ": states, "images: ": images, "kills": kills}
    bar = Bar("crashes", shown=shown)

    def until(work: Callable[[int, Counts], None], first: int, *names: str) -> int:
        """Go on with one kind of work; gives the next seed."""
        with contextlib.closing(each_seed(work, first, workers)) as found:
            seed = first
            while any(total(counts, name) < wanted[name] for name in names):
                counts.update(next(found))
                seed += 1
                done = sum(min(total(counts, name), most) for name, most in wanted.items())
                bar.step(done, sum(wanted.values()), f"seed {seed}")
        return seed

    try:
        return until(kill, until(crash_states, seed, "states: ", "images: "), "kills")
    finally:
        bar.close()


def main() -> int:
    """Simulate, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="the first seed (default 1)")
    parser.add_argument("--states", type=int, default=1_000_000, help="crash states to be opened (default 1000000)")
    parser.add_argument("--images", type=int, default=100_000, help="damaged stores to be opened (default 100000)")
    parser.add_argument("--kills", type=int, default=1_000, help="processes to be killed (default 1000)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: as many as processors)")
    options = parser.parse_args()
    counts: Counts = collections.Counter()
    start = time.perf_counter()
    try:
        seed = simulate(options.seed, options.states, options.images, options.kills, counts, workers=options.workers)
    finally:
        for name, count in sorted(counts.items()):
            print(f"{count:9,}  {name}")
    print(f"nothing acknowledged was lost; {time.perf_counter() - start:.0f} s; --seed {seed} goes on")
    return 0


if __name__ == "__main__":
    sys.path[:0] = [os.fspath(Path(__file__).parent)]
    sys.exit(main())
