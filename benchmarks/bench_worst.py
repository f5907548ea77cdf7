"""What a book costs at its worst: the slowest single calls beside a million resting orders, and the bytes of each.

    python benchmarks/bench_worst.py [--orders 1000000] [--calls 20000] [--copies 5] [--append]

*Worst*: places that rest (near the best price, at new prices far away), places that trade through several levels, amends
that keep their place or lose it, and cancels, one call each, on copies of one book; no table grows meanwhile. A call's
time is the least of the copies', because what the machine does beside it hits one copy and not all; what is told
is the median, the worst call, and the worst of time ÷ (1 + reports) against the median of the same. *Growth*: the one place
that finds the tables full and doubles them, timed apart. *Memory*: all tables of the book and of the
exchange over the orders that rest in them, and the part of a holding.
"""

from __future__ import annotations

import argparse
import copy
import gc
import sys
import time
from typing import Any, Final

import numpy as np
from bench_exchange import PEOPLE, stage
from telling import Table, tell, tenth

from rightsx import COMMAND, OrderBook
from rightsx.protocol import AT_ENGINE_CLOCK, CommandKind, Side, TimeInForce

SEED: Final = 20_260_101
MID: Final = 1_000_000
Call = tuple[str, str, dict[str, Any]]  # what it is called here, the verb, its arguments

# ── a book ───────────────────────────────────────────────────────────────────────────────────────


def resting(orders: int, *, mid: int = MID, reach: int = 300) -> np.ndarray:
    """Make PLACE commands that all rest: prices thick near the middle, thin far off. O(n)."""
    random = np.random.default_rng(SEED)
    rows = np.zeros(orders, COMMAND)
    rows["kind"], rows["time_in_force"], rows["time_ns"] = CommandKind.PLACE, TimeInForce.GTC, AT_ENGINE_CLOCK
    rows["side"] = random.integers(1, 3, orders)
    away = 1 + np.minimum(np.floor(reach * random.pareto(2.5, orders)).astype(np.int64), 100 * reach)
    rows["price"] = mid + np.where(rows["side"] == Side.BUY, -away, away)
    rows["qty"], rows["order_id"] = random.integers(1, 100, orders), 1 + np.arange(orders)
    return rows


def script(orders: int, calls: int) -> list[Call]:
    """Draw single calls for a book of so many orders; every kind as often."""
    random = np.random.default_rng(SEED + 1)
    victims = iter((1 + random.permutation(orders)).tolist())
    far = (MID * 3 + random.permutation(calls) * 1_021).tolist()
    made: list[Call] = []
    for number in range(calls):
        order_id = orders + 1 + number
        side, sign = (("buy", -1), ("sell", 1))[number // 8 % 2]
        near = int(MID + sign * random.integers(1, 300))
        plain = {"order_id": order_id, "side": side, "qty": int(random.integers(1, 100))}
        made.append(
            (
                ("place near", "place", {**plain, "price": near}),
                ("place at a new price", "place", {**plain, "side": "sell", "price": far[number]}),
                ("place that trades", "place", {**plain, "qty": 400, "price": int(MID - sign * 5)}),
                ("place that sweeps", "place", {**plain, "qty": 20_000, "price": int(MID - sign * 300)}),
                ("amend in place", "amend", {"order_id": next(victims), "qty": 1}),
                ("amend to a new price", "amend", {"order_id": next(victims), "price": int(MID * 2 + number)}),
                ("cancel", "cancel", {"order_id": next(victims)}),
                ("cancel", "cancel", {"order_id": next(victims)}),
            )[number % 8]
        )
    return made


# ── measuring ────────────────────────────────────────────────────────────────────────────────────


def worst_table(orders: int, calls: int, copies: int) -> Table:
    """Time each call on every copy of one book, and keep the least."""
    original = OrderBook(limit=2 * orders + calls)
    original.apply_batch(resting(orders))
    drawn = script(orders, calls)
    times = np.full(len(drawn), 2**62)
    reports = np.zeros(len(drawn), np.int64)
    tick = time.perf_counter_ns
    grew = np.zeros(len(drawn), bool)
    for _ in range(copies):
        book = copy.deepcopy(original)
        # As timeit does: a collection of garbage would come at the same call of every copy.
        gc.collect()
        gc.disable()
        book.cancel(order_id=2**62)  # refused: what is only slow because it comes first is not to be told
        for at, (_, verb, arguments) in enumerate(drawn):
            call, rows_before = getattr(book, verb), table_rows(book)
            start = tick()
            result = call(**arguments)
            times[at] = min(times[at], tick() - start)
            reports[at] = len(result.reports)
            grew[at] = table_rows(book) != rows_before
        gc.enable()
    times, reports = times[~grew], reports[~grew]
    shares = times / (1 + reports)
    kinds = np.array([what for what, _, _ in drawn])[~grew]
    rows: list[tuple[object, ...]] = []
    for what in dict.fromkeys([*kinds.tolist(), "all"]):
        mine = (kinds == what) | (what == "all")
        middle = float(np.median(shares[mine]))
        cells = (np.median(times[mine]), times[mine].max(), reports[mine].max(), middle, shares[mine].max())
        rows.append((what, int(mine.sum()), *(tenth(float(cell)) for cell in cells), f"{shares[mine].max() / middle:.1f}"))
    head = (
        "beside a million orders",
        "calls",
        "ns, median",
        "ns, worst",
        "reports, most",
        "a report, median",
        "worst",
        "worst ÷ median",
    )
    return head, rows


def tables_of(book: OrderBook) -> list[np.ndarray]:
    """Give the tables of a book, to be weighed and not used."""
    twin: Any = book._twin  # noqa: SLF001
    return twin._tables.arrays[:7]  # type: ignore[no-any-return]  # noqa: SLF001


def table_rows(book: OrderBook) -> int:
    """Count the rows of all tables of a book: more than before if a call has grown one."""
    return sum(len(table) for table in tables_of(book))


def growth_table(orders: int) -> Table:
    """Time the place that doubles the tables of a book whose orders fill them."""
    full = 1 << (orders - 1).bit_length()
    rows: list[tuple[object, ...]] = []
    for count in (full // 16, full // 4, full):
        book = OrderBook(limit=4 * full)
        book.apply_batch(resting(count - 2))
        each = []
        for order_id in range(count, count + 4):
            start = time.perf_counter_ns()
            book.place(order_id=order_id, side="buy", price=1, qty=1)
            each.append(time.perf_counter_ns() - start)
        rows.append((f"{count:,} orders", tenth(max(each) / 1e6), tenth(max(each) / count)))
    return ("growth", "ms", "ns an order"), rows


def memory_table(orders: int) -> Table:
    """Weigh the tables of a book and of an exchange with so many orders at rest, and of as many holdings."""
    rows: list[tuple[object, ...]] = []
    both: tuple[Any, Any] = ("caller", "handles")
    for ids in both:
        book = OrderBook(ids=ids, limit=2 * orders)
        flow = resting(orders)
        flow["order_id"] = flow["order_id"] if ids == "caller" else 0
        book.apply_batch(flow)
        rows.append((f"OrderBook, {ids}", f"{orders:,} orders", f"{sum(table.nbytes for table in tables_of(book)) / orders:.0f}"))
    market = stage(1)
    flow = resting(orders, mid=1_000, reach=20)
    flow["price"] = np.clip(flow["price"], 500, 1_500)
    flow["order_id"], flow["series"], flow["account"], flow["qty"] = 0, 1, 2 + np.arange(orders) % PEOPLE, 1
    market.apply_batch(flow)
    memory: Any = market._twin._memory  # type: ignore[attr-defined]  # noqa: SLF001
    names = {index: table.dtype.names or () for index, table in enumerate(memory.arrays)}
    book_bytes = sum(
        memory.arrays[index].nbytes
        for index in (*range(7), *(i for i, n in names.items() if "limit" in n or n == ("next", "prev")))
    )
    rows.append(("Exchange", f"{int(memory.head['live']):,} orders", f"{book_bytes / int(memory.head['live']):.0f}"))
    holding = next(index for index, fields in names.items() if "offered_qty" in fields)
    each = memory.arrays[holding].itemsize + 2 * memory.arrays[holding + 1].itemsize
    rows.append(("Exchange", "a holding and its cells", str(each)))
    rows.append(("Exchange", "the empty book of a series", str(4 * memory.arrays[1].itemsize)))
    return ("memory", "of", "bytes each"), rows


def main() -> int:
    """Measure, print, and append if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=1_000_000, help="resting orders (default 1000000)")
    parser.add_argument("--calls", type=int, default=20_000, help="single calls (default 20000)")
    parser.add_argument("--copies", type=int, default=5, help="copies of the book that each call is made on (default 5)")
    parser.add_argument("--append", action="store_true", help="add the tables to HISTORY.md")
    options = parser.parse_args()
    tables = measured(options.orders, options.calls, options.copies)
    tell("the worst of a book", tables, keeps=options.append)
    return 0


def measured(orders: int, calls: int, copies: int) -> list[Table]:
    """Measure all three."""
    return [worst_table(orders, calls, copies), growth_table(orders), memory_table(orders)]


if __name__ == "__main__":
    sys.exit(main())
