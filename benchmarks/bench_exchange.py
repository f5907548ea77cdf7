"""How fast a whole market is: every check, account, fee, lock, timer and event, in nanoseconds per command.

    python benchmarks/bench_exchange.py [--runs 5] [--adds 1000000] [--calls 200000] [--holders 1000000] [--append]

Four tables. *Batch*: the flows `calm` (one series) and `market` (a thousand) with owners: fifty accounts with cash and
units to spare, maker fee 10 bps, taker fee 30 bps; COMMANDs in, every EVENT out, in one `apply_batch`: into
memory that was used before (`out=`, nothing kept), or as where nothing is said (new memory, all events kept).
*One call per command*: `place` that rests, `place` that trades, `cancel`, a hundred calls at a time, typed results.
*Expiry*: a series with a million holders, its gifts and its last day, the run of the expiry alone. *Threads*: two
threads with an exchange each against one thread with one.

Markets are fresh for each run; runs of one table take turns; each line is the median and the worst of the
runs. The digest is over the fills, as in `workloads`; the tests compare shorter flows with the reference.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import workloads
from bench_book import folded
from telling import Table, spread, tell, tenth

from rightsx import COMMAND, EVENT, CommandKind, EventKind, Exchange, Limits
from rightsx.border import time_ns as to_ns
from rightsx.protocol import AT_ENGINE_CLOCK, CALLER_ID_FIRST, command_records
from rightsx.vocabulary import command

if TYPE_CHECKING:
    from rightsx.results import Created

PEOPLE: Final = 50
FIRST_OWNER: Final = 2  # after the merchant
DOWN: Final = 99_000  # what brings the flows' prices below the cap
START: Final = "2026-01-01"
FLOWS: Final = ("calm", "market")
CALLS: Final = 200_000

# ── a market for a flow ──────────────────────────────────────────────────────────────────────────


def stage(series: int, *, engine: Any = "compiled", keep_events: bool = False) -> Exchange:
    """Make a market in which the flow's owners have cash and units to spare. O(series × owners)."""
    market = Exchange(engine=engine, keep_events=keep_events)
    furnish(market, series)
    return market


def furnish(market: Exchange, series: int) -> None:
    """Open accounts in an empty market, and give them cash and units to spare."""
    shop = market.register_merchant("bench", time_ns=START)
    for number in range(series):
        list_series(market, shop, f"card {number}")
    owners = np.zeros(PEOPLE, COMMAND)
    owners["kind"], owners["time_ns"] = CommandKind.OPEN_ACCOUNT, AT_ENGINE_CLOCK
    cash = np.zeros(PEOPLE, COMMAND)
    cash["kind"], cash["time_ns"], cash["qty"] = CommandKind.DEPOSIT, AT_ENGINE_CLOCK, 2**50
    cash["account"] = FIRST_OWNER + np.arange(PEOPLE)
    units = np.zeros(PEOPLE * series, COMMAND)
    units["kind"], units["time_ns"], units["qty"] = CommandKind.SUBSCRIBE, AT_ENGINE_CLOCK, 1_000_000 if series == 1 else 100_000
    units["account"], units["series"] = (
        FIRST_OWNER + np.arange(PEOPLE * series) % PEOPLE,
        1 + np.arange(PEOPLE * series) // PEOPLE,
    )
    events = market.apply_batch(np.concatenate([owners, cash, units]))
    assert not (events["kind"] == EventKind.REFUSED).any()


def list_series(market: Exchange, shop: int, product: str) -> Created:
    """List a series at whose cap of 2,000 the flows' prices stay."""
    return market.list_series(
        merchant=shop, product=product, par=2_000, issue_price=1_000, authorised=2**31 // 16, expire="2027-01-01",
        policy="forfeit", maker_bps=10, taker_bps=30, clawback=False,
    )  # fmt: skip


def owned(stream: np.ndarray) -> np.ndarray:
    """Turn a flow for bare books into one for the exchange: owners, callers' ids, prices below the cap. O(n)."""
    rows = stream.copy()
    places = rows["kind"] == CommandKind.PLACE
    rows["time_ns"] = AT_ENGINE_CLOCK
    rows["account"] = FIRST_OWNER + rows["order_id"] % PEOPLE
    rows["order_id"] += CALLER_ID_FIRST
    rows["series"] = np.where(places, rows["series"] + 1, 0)
    rows["price"] = np.where(places, rows["price"] - DOWN, 0)
    return rows


def fills_digest(events: np.ndarray) -> str:
    """Fold the fills of a batch."""
    fills = events[events["kind"] == EventKind.FILL]
    return folded(*(fills[field] for field in ("other_order_id", "order_id", "price", "qty")))


# ── batches ──────────────────────────────────────────────────────────────────────────────────────


def batch_table(adds: int, runs: int) -> Table:
    """Time whole flows in one batch each."""
    rows: list[tuple[object, ...]] = []
    for name in FLOWS:
        stream = owned(workloads.commands(name, adds=adds))
        out = np.zeros(3 * len(stream) + 8, EVENT)
        out["qty"] = 1  # so that its memory is there
        times: dict[str, list[float]] = {"out=, nothing kept": [], "new memory, all kept": []}
        digests = set()
        for _ in range(runs):
            for way, each in times.items():
                market = stage(workloads.books(name), keep_events=way.endswith("all kept"))
                start = time.perf_counter_ns()
                events = market.apply_batch(stream, out=None if way.endswith("all kept") else out)
                each.append((time.perf_counter_ns() - start) / len(stream))
                digests.add(fills_digest(events))
        assert len(digests) == 1, f"{name} computed different things: {digests}"
        for way, each in times.items():
            rows.append((name, way, len(stream), len(events), *spread(each), *digests))
    return ("batch", "events to", "commands", "events", "ns, median", "ns, worst", "fills"), rows


# ── one call per command ─────────────────────────────────────────────────────────────────────────


def call_table(runs: int, calls: int) -> Table:
    """Time calls, a hundred at a time, for a clock takes a tenth of a call itself."""
    took: dict[str, list[float]] = {"Exchange.place, rests": [], "Exchange.place, trades": [], "Exchange.cancel": []}
    for _ in range(runs):
        market = stage(1, keep_events=True)
        for _ in range(max(1, calls // runs // 100)):
            hundred(market, took)
    rows: list[tuple[object, ...]] = []
    for what, each in took.items():
        each.sort()
        rows.append((what, 100 * len(each), tenth(statistics.median(each)), tenth(each[len(each) * 99 // 100]), tenth(each[-1])))
    return ("one call", "calls", "ns, median", "ns, 99 %", "ns, worst"), rows


def hundred(market: Exchange, took: dict[str, list[float]]) -> None:
    """Rest two hundred orders, trade with half of them, cancel the other half; each as a hundred calls."""
    tick, place, cancel = time.perf_counter_ns, market.place, market.cancel

    def rest() -> list[int]:
        return [place(series=1, account=2, side="sell", price=1_100 + at % 50, qty=5).order_id for at in range(100)]

    start = tick()
    for at in range(100):
        place(series=1, account=2, side="sell", price=1_000 + at % 50, qty=5)
    took["Exchange.place, rests"].append((tick() - start) / 100)
    start = tick()
    for _ in range(100):
        place(series=1, account=3, side="buy", price=1_050, qty=5)
    took["Exchange.place, trades"].append((tick() - start) / 100)
    ids = rest()
    start = tick()
    for order_id in ids:
        cancel(account=2, order_id=order_id)
    took["Exchange.cancel"].append((tick() - start) / 100)


# ── what falls due at once ───────────────────────────────────────────────────────────────────────


def due_table(runs: int, holders: int) -> Table:
    """Time the end of a series that many people hold, under either policy, and their plans: one command, every event."""
    rows: list[tuple[object, ...]] = []
    for policy in ("forfeit", "principal"):
        each = [due(holders, policy, [to_ns("end", "2027-01-01")])[0] for _ in range(runs)]
        rows.append((f"expiry, {policy}, {holders:,} holders", each[0][1], *spread([ns / 1e6 for ns, _ in each])))
    days = [to_ns("day", f"2026-12-{day}") for day in (25, 26)]
    both = [due(holders, "forfeit", days, planned=True) for _ in range(runs)]
    for place, what in enumerate(("placed", "amended")):
        each = [one[place] for one in both]
        rows.append((f"a plan of each of {holders:,}: {what}", each[0][1], *spread([ns / 1e6 for ns, _ in each])))
    return ("due at once", "events", "ms, median", "ms, worst"), rows


def due(holders: int, policy: str, moments: list[int], *, planned: bool = False) -> list[tuple[int, int]]:
    """Move the clock in a market where everybody holds two units, perhaps with a plan; gives time and events of each move."""
    market = Exchange(keep_events=False, limits=Limits(accounts=2 * holders, holdings=2 * holders))
    shop = market.register_merchant("bench", time_ns=START)
    market.list_series(
        merchant=shop, product="card", par=100, issue_price=80, authorised=2 * holders, expire="2027-01-01", policy=policy,
        residual=10 if policy == "principal" else 0, escrow_bps=10_000,
    )  # fmt: skip
    each = np.zeros((3, holders), COMMAND)
    each["time_ns"] = AT_ENGINE_CLOCK
    each["kind"] = np.array([[CommandKind.OPEN_ACCOUNT], [CommandKind.DEPOSIT], [CommandKind.SUBSCRIBE]])
    each["account"][1:] = FIRST_OWNER + np.arange(holders)
    each["qty"][1], each["qty"][2], each["series"][2] = 1_000, 2, 1
    out = np.zeros(3 * holders + 1_000, EVENT)
    out["qty"] = 1
    events = market.apply_batch(each.reshape(-1), out=out)
    assert (events["kind"] == EventKind.SOLD).sum() == holders
    if planned:
        plan = command(CommandKind.PLAN_SALE, series=1, account=0, start_ns=moments[0], price=90, last_price=60, falls=6)
        plans = np.repeat(command_records([plan]), holders)
        plans["account"] = FIRST_OWNER + np.arange(holders)
        market.apply_batch(plans, out=out)
    took = []
    for moment in moments:
        move = command_records([command(CommandKind.ADVANCE, time_ns=moment)])
        start = time.perf_counter_ns()
        events = market.apply_batch(move, out=out)
        took.append((time.perf_counter_ns() - start, len(events)))
    return took


# ── threads ──────────────────────────────────────────────────────────────────────────────────────


def thread_table(adds: int, runs: int) -> Table:
    """Time two threads with an exchange each against one with one: what both do in the time of one."""
    stream = owned(workloads.commands("calm", adds=adds))
    outs = [np.zeros(3 * len(stream) + 8, EVENT) for _ in range(2)]
    for out in outs:
        out["qty"] = 1
    ratios, alone, both = [], [], []
    for _ in range(runs):
        one = together([stage(1)], stream, outs)
        two = together([stage(1), stage(1)], stream, outs)
        alone.append(one / len(stream))
        both.append(two / len(stream) / 2)
        ratios.append(2 * one / two)
    row = ("two exchanges", tenth(statistics.median(alone)), tenth(statistics.median(both)), f"{statistics.median(ratios):.2f}")
    return ("threads", "one, ns", "two, ns", "two ÷ one"), [row]


def together(markets: list[Exchange], stream: np.ndarray, outs: list[np.ndarray]) -> int:
    """Let each market apply the flow in a thread of its own; gives the time until all are done."""
    ready = threading.Barrier(len(markets) + 1)

    def work(market: Exchange, out: np.ndarray) -> None:
        ready.wait()
        market.apply_batch(stream, out=out)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(markets, outs, strict=False)]
    for thread in threads:
        thread.start()
    ready.wait()
    start = time.perf_counter_ns()
    for thread in threads:
        thread.join()
    return time.perf_counter_ns() - start


def main() -> int:
    """Measure, print, and append if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="runs per line (default 5)")
    parser.add_argument("--adds", type=int, default=workloads.ADDS, help="orders per flow in batches (default 1000000)")
    parser.add_argument("--calls", type=int, default=CALLS, help=f"single calls per line (default {CALLS})")
    parser.add_argument("--holders", type=int, default=1_000_000, help="holders where much is due at once (default 1000000)")
    parser.add_argument("--append", action="store_true", help="add the tables to HISTORY.md")
    options = parser.parse_args()
    tables = measured(options.adds, options.runs, options.calls, options.holders)
    tell("the whole exchange", tables, keeps=options.append)
    return 0


def measured(adds: int, runs: int, calls: int, holders: int) -> list[Table]:
    """Measure all four tables."""
    Exchange()  # compiles, if that is still to be done
    return [batch_table(adds, runs), call_table(runs, calls), due_table(runs, holders), thread_table(adds, runs)]


if __name__ == "__main__":
    sys.exit(main())
