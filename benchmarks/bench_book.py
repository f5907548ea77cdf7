"""How fast the order book is: nanoseconds per command, beside other libraries, with a digest of the trades.

    python benchmarks/bench_book.py [--runs 5] [--adds 1000000] [--no-rivals] [--rival-adds 20000] [--append]

Three tables. *Batch*: COMMANDs in, every REPORT out, in one `apply_batch`, six flows, callers' ids and
handles; reports go to memory that was used before (`out=`), or to new memory, as where nothing is said. A
batch cannot name a handle that is issued inside it; so each flow is first gone through call by
call, which tells the handles (the rule that issues them is deterministic), and what is timed is the whole
flow in one batch with these handles in it. *One call per command*: `OrderBook` with typed results, the
reference, and what pip can install, on the same shorter flows. *One place*: a hundred calls at a time.

Flows are made outside the clock; books are fresh for each run; runs of one flow take turns, so that a
busy moment hits all alike. Each line is the median and the worst of the runs. Every digest is compared with
that of a plain book; a rival whose trades differ says so. --append writes the tables to HISTORY.md.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import rivals
import workloads
from telling import Table, spread, tell, tenth

from rightsx import OrderBook
from rightsx.protocol import COMMAND, REPORT, CommandKind, ReportKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FOLD: Final = np.uint64(1_000_003)
PLACES: Final = 200_000
RESTING: Final = 10_000

# ── digests ──────────────────────────────────────────────────────────────────────────────────────


def folded(maker: np.ndarray, taker: np.ndarray, price: np.ndarray, qty: np.ndarray) -> str:
    """Fold trades as `workloads.fold` does one by one: h = Σ trade × 1000003^(trades after it), modulo 2^64. O(n)."""
    with np.errstate(over="ignore"):
        words = maker ^ (taker * 31) ^ (price * 131) ^ (qty * 8191)
        factors = np.full(len(words), FOLD)
        factors[:1] = 1
        powers = np.multiply.accumulate(factors)
        return f"{int((words.astype(np.uint64) * powers[::-1]).sum(dtype=np.uint64)):016x}"


def digest_of(reports: np.ndarray, names: tuple[np.ndarray, np.ndarray] | None = None) -> str:
    """Fold the fills of a batch; `names` are handles in order and the ids that they stand for."""
    fills = reports[reports["kind"] == ReportKind.FILL]
    maker, taker = fills["other_order_id"], fills["order_id"]
    if names is not None:
        maker, taker = (names[1][np.searchsorted(names[0], handles)] for handles in (maker, taker))
    return folded(maker, taker, fills["price"], fills["qty"])


# ── batches ──────────────────────────────────────────────────────────────────────────────────────


def with_handles(stream: np.ndarray, books: int) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Give a flow as a caller would send it who was told each handle, and the handles with their ids. O(n)."""
    book: Any = OrderBook(books=books, ids="handles")
    known: dict[int, int] = {}
    told = []
    order_ids = []
    for kind, order_id, side, price, qty, number, ioc in rivals.plain_rows(stream):
        if kind == CommandKind.PLACE:
            words = {"side": "buy" if side == 1 else "sell", "time_in_force": "ioc" if ioc else "gtc"}
            known[order_id] = book.place(price=price, qty=qty, book=number, **words).order_id
            told.append((known[order_id], order_id))
            order_ids.append(0)
        else:
            order_ids.append(known[order_id])
            if kind == CommandKind.CANCEL:
                book.cancel(order_id=known[order_id])
            else:
                book.amend(order_id=known[order_id], price=price, qty=qty)
    named = stream.copy()
    named["order_id"] = order_ids
    handles, ids = np.array(sorted(told), np.int64).reshape(-1, 2).T.copy()
    return named, (handles, ids)


def batch_table(adds: int, runs: int) -> Table:
    """Time whole flows in one batch each."""
    rows: list[tuple[object, ...]] = []
    for name in workloads.FLOWS:
        stream = workloads.commands(name, adds=adds)
        expected = workloads.EXPECTED[name] if adds == workloads.ADDS else workloads.answers(name, stream)
        books = workloads.books(name)
        named, names = with_handles(stream, books)
        out = np.zeros(3 * len(stream) + 8, REPORT)
        out["qty"] = 1  # so that its memory is there
        ways: dict[str, Callable[[], tuple[int, np.ndarray]]] = {
            "caller": lambda: batch("caller", stream, books, out),  # noqa: B023 - called in this turn
            "handles": lambda: batch("handles", named, books, out),  # noqa: B023 - called in this turn
            "caller, new memory": lambda: batch("caller", stream, books, None),  # noqa: B023 - called in this turn
        }
        times: dict[str, list[float]] = {ids: [] for ids in ways}
        for _ in range(runs):
            for ids, way in ways.items():
                elapsed, reports = way()
                times[ids].append(elapsed / len(stream))
                digest = digest_of(reports, names if ids == "handles" else None)
                assert digest == expected.digest, f"{name} with {ids}: trades are {digest}, {expected.digest} is due"
        for ids, each in times.items():
            rows.append((name, ids, len(stream), len(reports), *spread(each), digest))
    return ("batch", "ids", "commands", "reports", "ns, median", "ns, worst", "trades"), rows


def batch(ids: Any, stream: np.ndarray, books: int, out: np.ndarray | None) -> tuple[int, np.ndarray]:
    """Apply a flow in one batch to fresh books."""
    book = OrderBook(books=books, ids=ids)
    start = time.perf_counter_ns()
    reports = book.apply_batch(stream, out=out)
    return time.perf_counter_ns() - start, reports


# ── one call per command ─────────────────────────────────────────────────────────────────────────


def call_table(adds: int, runs: int, *, others: bool) -> tuple[Table, list[str]]:
    """Time flows call by call, ours and other libraries in turn; gives notes on who is absent or does otherwise."""
    there, absent = rivals.present() if others else ([], {})
    libraries: list[rivals.Rival] = [rivals.Ours("compiled"), rivals.Ours("reference"), *there]
    notes = [f"{one.name}: {one.deviation}." for one in there] + [f"{name} is absent: {why}." for name, why in absent.items()]
    cells: dict[str, list[object]] = {one.name: [] for one in libraries}
    for name in workloads.FLOWS:
        stream = workloads.commands(name, adds=adds)
        expected = workloads.answers(name, stream)
        plain = rivals.plain_rows(stream)
        times: dict[str, list[float]] = {one.name: [] for one in libraries}
        for turn in range(runs):
            for one in libraries:
                # As timeit does: what results are kept for the digest is not to be searched for garbage.
                gc.collect()
                gc.disable()
                elapsed, trades = one.run(plain, workloads.books(name))
                gc.enable()
                times[one.name].append(elapsed / len(plain))
                if turn == 0 and (digest := fold_trades(trades)) != expected.digest:
                    notes.append(f"{one.name}, {name}: trades are {digest} and not {expected.digest}.")
        for who, each in times.items():
            cells[who].append(f"{statistics.median(each):,.0f} ({max(each):,.0f})")
    return (("one call per command", *workloads.FLOWS), [(who, *each) for who, each in cells.items()]), notes


def fold_trades(trades: Sequence[rivals.Trade]) -> str:
    """Fold a list of trades."""
    return folded(*np.array(trades, np.int64).reshape(-1, 4).T)


def place_table(runs: int, places: int) -> Table:
    """Time calls of `OrderBook.place` that rest, a hundred at a time, for a clock takes a tenth of a call itself.

    Up to 10,000 orders rest; then all are cancelled, outside the clock.
    """
    tick = time.perf_counter_ns
    hundreds = [[(number, 100 + number * 7_919 % 50) for number in range(first, first + 100)] for first in range(1, RESTING, 100)]
    cancels = np.zeros(RESTING, COMMAND)
    cancels["kind"], cancels["order_id"] = CommandKind.CANCEL, np.arange(1, RESTING + 1)
    medians, tails, worst = [], [], []
    for _ in range(runs):
        book = OrderBook()
        place = book.place
        took = []
        for _ in range(max(1, places // RESTING)):
            for hundred in hundreds:
                start = tick()
                for number, price in hundred:
                    place(order_id=number, side="buy", price=price, qty=5)
                took.append((tick() - start) / 100)
            book.apply_batch(cancels)
        took.sort()
        medians.append(took[len(took) // 2])
        tails.append(took[len(took) * 99 // 100])
        worst.append(took[-1])
    row = ("OrderBook.place", 100 * len(took), *(tenth(statistics.median(part)) for part in (medians, tails)), tenth(max(worst)))
    return ("one place", "calls", "ns, median", "ns, 99 %", "ns, worst"), [row]


def main() -> int:
    """Measure, print, and append if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="runs per line (default 5)")
    parser.add_argument("--adds", type=int, default=workloads.ADDS, help="orders per flow in batches (default 1000000)")
    parser.add_argument("--rivals", action=argparse.BooleanOptionalAction, default=True, help="measure other libraries too")
    parser.add_argument("--rival-adds", type=int, default=20_000, help="orders per flow, one call each (default 20000)")
    parser.add_argument("--places", type=int, default=PLACES, help=f"single places (default {PLACES})")
    parser.add_argument("--append", action="store_true", help="add the tables to HISTORY.md")
    options = parser.parse_args()
    tables, notes = measured(options.adds, options.runs, options.rival_adds, options.places, others=options.rivals)
    tell("the order book", tables, notes, keeps=options.append)
    return 0


def measured(adds: int, runs: int, rival_adds: int, places: int, *, others: bool) -> tuple[list[Table], list[str]]:
    """Measure all three tables; gives them and notes on the rivals."""
    OrderBook()  # compiles, if that is still to be done
    calls, notes = call_table(rival_adds, runs, others=others)
    return [batch_table(adds, runs), calls, place_table(runs, places)], notes


if __name__ == "__main__":
    sys.exit(main())
