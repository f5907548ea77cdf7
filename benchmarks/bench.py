"""Measures everything: the order book and its rivals, exchange, wheel, hashing, journal, keeping, backtests, worst, reference.

    python benchmarks/bench.py [--quick] [--runs 5] [--only book,exchange] [--no-rivals] [--no-append]

Each part prints its tables when it is done; at the end all are appended to HISTORY.md under today's date and
the commit, unless --no-append says otherwise. Eight minutes; --quick measures a twentieth of everything,
which says that it works and little of how fast, and appends nothing. Each part has a file and options of its
own, `python benchmarks/bench_book.py --help`; small operations are timed by `pytest benchmarks/test_small.py`.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import bench_backtest
import bench_book
import bench_exchange
import bench_expiry
import bench_hashing
import bench_ledger
import bench_reference
import bench_storage
import bench_worst
import workloads
from telling import Table, append, machine, show

if TYPE_CHECKING:
    from collections.abc import Callable

Told = tuple[list[Table], list[str]]
MILLION: Final = workloads.ADDS

# ── the parts ────────────────────────────────────────────────────────────────────────────────────


def book(scale: int, runs: int, *, rivals: bool) -> Told:
    """Measure the order book and its rivals."""
    return bench_book.measured(MILLION // scale, runs, 20_000 // scale, bench_book.PLACES // scale, others=rivals)


def exchange(scale: int, runs: int, **_: bool) -> Told:
    """Measure the whole exchange."""
    return bench_exchange.measured(MILLION // scale, runs, bench_exchange.CALLS // scale, MILLION // scale), []


def expiry(scale: int, runs: int, **_: bool) -> Told:
    """Measure the wheel and its rivals."""
    return [bench_expiry.measured(MILLION // scale, runs, runs)], []


def hashing(scale: int, runs: int, **_: bool) -> Told:
    """Measure all ways to hash."""
    return [bench_hashing.measured(MILLION // scale, runs)], []


def ledger(scale: int, runs: int, **_: bool) -> Told:
    """Measure the journal."""
    return bench_ledger.measured(MILLION // scale, MILLION // scale, runs), []


def storage(scale: int, runs: int, **_: bool) -> Told:
    """Measure keeping a market."""
    return bench_storage.measured(MILLION // scale, runs), []


def backtest(scale: int, runs: int, **_: bool) -> Told:
    """Measure backtests."""
    return bench_backtest.measured(MILLION // scale, runs), []


def worst(scale: int, runs: int, **_: bool) -> Told:
    """Measure the worst calls beside a million orders, growth, memory."""
    return bench_worst.measured(MILLION // scale, 20_000 // scale, runs), []


def reference(scale: int, runs: int, **_: bool) -> Told:
    """Measure the reference."""
    return [bench_reference.measured(20_000 // scale, runs)], []


PARTS: Final[dict[str, Callable[..., Told]]] = {
    "book": book,
    "exchange": exchange,
    "expiry": expiry,
    "hashing": hashing,
    "ledger": ledger,
    "storage": storage,
    "backtest": backtest,
    "worst": worst,
    "reference": reference,
}

# ── all of them ──────────────────────────────────────────────────────────────────────────────────


def main() -> int:
    """Measure, print, append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a twentieth of everything; appends nothing")
    parser.add_argument("--runs", type=int, default=5, help="runs per line (default 5)")
    parser.add_argument("--only", type=_parts, default=list(PARTS), metavar="PARTS", help=f"some of {','.join(PARTS)}")
    parser.add_argument("--rivals", action=argparse.BooleanOptionalAction, default=True, help="measure other libraries too")
    parser.add_argument("--append", action=argparse.BooleanOptionalAction, default=True, help="add the tables to HISTORY.md")
    options = parser.parse_args()
    print(machine())
    tables: list[Table] = []
    notes: list[str] = []
    for name in options.only:
        found, said = timed(name, options)
        show(found, said)
        tables += found
        notes += said
    if options.append and not options.quick:
        append("everything", f"python benchmarks/bench.py {' '.join(sys.argv[1:])}".strip(), tables, notes)
    return 0


def timed(name: str, options: Any) -> Told:
    """Measure one part, and say on standard error how long that took."""
    print(f"measuring: {name} …", end="", file=sys.stderr, flush=True)
    start = time.perf_counter()
    found = PARTS[name](20 if options.quick else 1, options.runs, rivals=options.rivals)
    print(f" {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    return found


def _parts(text: str) -> list[str]:
    """Read names of parts."""
    names = text.split(",")
    if set(names) <= set(PARTS):
        return names
    raise argparse.ArgumentTypeError(f"{text!r} is not some of {','.join(PARTS)}")


if __name__ == "__main__":
    sys.exit(main())
