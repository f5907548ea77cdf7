"""Random markets, one seed after another, each command audited, until stopped: `make sim`.

A failure prints the seed and the number of the command, which is all that is needed to see it again.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from market_flow import random_market


def main() -> int:
    """Run until a market fails, the commands are used up, or the user stops it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed (default 1)")
    parser.add_argument("--commands", type=int, default=0, help="stop after so many commands; 0: never (default)")
    parser.add_argument("--length", type=int, default=5_000, help="commands per market (default 5000)")
    options = parser.parse_args()
    done, start = 0, time.monotonic()
    try:
        for seed in itertools.count(options.seed):
            done += random_market(seed, options.length, thorough_every=5).commands
            rate = done / (time.monotonic() - start)
            print(f"\rseed {seed}: {done:,} commands, {rate:,.0f} a second, no violation", end="", flush=True)
            if 0 < options.commands <= done:
                break
    except KeyboardInterrupt:
        pass
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
