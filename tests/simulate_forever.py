"""Random markets and books on both engines, one seed after another, until stopped: `make sim`.

A seed says everything: which shape of flow (they take turns), and every command in it. Each runs in a process
of its own: commands singly, with the rows that they name compared after each; every fifth in batches. Both compare
whole states at intervals. The shape `audited` runs the reference alone, its books
audited by a third party. The digest is that of all answers so far, so a long run can be recorded, and gone
on with: `--seed` and `--digest` as the last line says. What differs is shrunk, written to tests/found and
ends the run.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

sys.path.insert(0, str(Path(__file__).parent))
from agreement import SHAPE_NAMES, Case, compare, explain
from market_flow import random_market
from twins import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

AUDITED: Final = "audited"
BATCHED_EVERY: Final = 5


def shape_of(seed: int, shapes: Sequence[str]) -> str:
    """Say whose turn it is."""
    return shapes[seed % len(shapes)]


def case_of(seed: int, shapes: Sequence[str], length: int) -> Case:
    """Say what a seed stands for."""
    # In turns of all shapes, so that each of them goes in batches, too.
    thorough = (seed + seed // len(shapes)) % BATCHED_EVERY != 0
    return Case(shape_of(seed, shapes), seed, length, thorough=thorough)


def audit(seed: int, length: int) -> Outcome:
    """Run the reference alone, audited."""
    judged = random_market(seed, min(length, 5_000), thorough_every=5)
    digest = hashlib.sha256(repr(sorted(judged.kinds.items()) + sorted(judged.refusals.items())).encode()).digest()
    return Outcome(judged.commands, judged.market.event_seq, digest)


def simulate(seeds: Sequence[int] | itertools.count[int], shapes: Sequence[str], length: int, most: int, digest: bytes) -> int:
    """Run seeds until one differs, so many commands are used up, or the user stops it."""
    done, start, seed = 0, time.monotonic(), 0
    following = None
    try:
        for seed in seeds:
            following = seed
            name = shape_of(seed, shapes)
            case = case_of(seed, shapes, length)
            outcome = audit(seed, length) if name == AUDITED else compare(case)
            if outcome.what:
                print(f"\n{explain(case, outcome)}", flush=True)
                return 1
            done += outcome.commands
            digest = hashlib.sha256(digest + outcome.digest).digest()
            following = seed + 1
            rate = done / (time.monotonic() - start)
            line = f"seed {seed} {name}: {done:,} commands, {rate:,.0f} a second, no difference, digest {digest.hex()[:16]}"
            print(f"\r{line:<110}", end="", flush=True)
            if 0 < most <= done:
                break
    except KeyboardInterrupt:
        pass
    print(f"\n{done:,} commands agreed; go on with --seed {following} --digest {digest.hex()}")
    return 0


def main() -> int:
    """Read what is to be run, and run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="the first seed (default 1)")
    parser.add_argument("--commands", type=int, default=0, help="stop after so many commands; 0: never (default)")
    parser.add_argument("--length", type=int, default=20_000, help="commands of one seed (default 20000)")
    parser.add_argument("--shape", action="append", choices=(*SHAPE_NAMES, AUDITED), help="only this shape; may be repeated")
    parser.add_argument("--digest", type=bytes.fromhex, default=b"", help="the digest of what was run before")
    options = parser.parse_args()
    shapes = options.shape or (*SHAPE_NAMES, AUDITED)
    return simulate(itertools.count(options.seed), shapes, options.length, options.commands, options.digest)


if __name__ == "__main__":
    sys.exit(main())
