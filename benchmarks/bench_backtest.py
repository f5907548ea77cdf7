"""How fast backtests are: a replay with depth and bars, a compiled strategy, a strategy in Python, a sweep.

    python benchmarks/bench_backtest.py [--commands 1000000] [--runs 5] [--file LOG] [--append]

*Replay*: market data alone over a column of events; the flow `calm` with owners through the whole market, with market data,
trades and bars of it. *Compiled*: beside it a strategy that looks at every command and moves two quotes a millisecond of the
flow. Each with events kept (new memory for all of them) and not, in millions of commands and of events a second. *Python*: a
strategy that is called at intervals and moves two quotes, in microseconds a call, with what it asks and sends. *Sweep*: eight
points in one process and in as many as there are cores. With --file also a real day: a Bitstamp log.

Compiling a strategy, about a second, is outside the clock. The digest is of the fills.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import bench_exchange
import numpy as np
import workloads
from telling import Table, tell, tenth

from rightsx.backtest import BacktestResult, Strategy, backtest, buy, cancel, sell
from rightsx.bars import bars
from rightsx.border import time_ns
from rightsx.loaders import load_bitstamp
from rightsx.marketdata import MarketData
from rightsx.replay.flow import bitstamp_flow
from rightsx.sweep import sweep

if TYPE_CHECKING:
    from rightsx import Exchange

START: Final = time_ns("start", bench_exchange.START)
STEP_NS: Final = 1_000  # between two commands of the flow
QUOTE_NS: Final = 1_000_000
POINTS: Final = 8


def flow_of(adds: int) -> np.ndarray:
    """Make the flow, a microsecond between commands."""
    flow = bench_exchange.owned(workloads.commands("calm", adds=adds))
    flow["time_ns"] = START + np.arange(len(flow)) * STEP_NS
    return flow


def stage() -> tuple[Exchange, int]:
    """Make a market for it, and the strategy's account."""
    market = bench_exchange.stage(1, keep_events=True)
    account = int(market.open_account())
    market.deposit(account=account, amount=2**40)
    market.subscribe(series=1, account=account, qty=100_000)
    return market, account


def quotes(view: Any, memory: Any, orders: Any) -> int:
    """Move two quotes to the best prices, at intervals of `memory[3]`."""
    if view["series"] != 1 or view["bid_qty"] == 0 or view["ask_qty"] == 0 or view["time_ns"] - memory[0] < memory[3]:
        return 0
    memory[0] = view["time_ns"]
    sent = 0
    if memory[1] != 0:
        sent = cancel(orders, sent, memory[1])
        sent = cancel(orders, sent, memory[2])
    memory[1] = view["next_id"] + sent
    sent = buy(orders, sent, 1, view["bid"], 5, memory[1])
    memory[2] = view["next_id"] + sent
    return int(sell(orders, sent, 1, view["ask"], 5, memory[2]))


class Quotes(Strategy):
    """The same in Python."""

    def __init__(self) -> None:
        """Begin with no quotes."""
        self.ids: list[int] = []
        self.calls = 0

    def on_market(self, desk: Any) -> None:
        """Move the quotes."""
        self.calls += 1
        for order_id in self.ids:
            if order_id in desk.open_orders:
                desk.cancel(order_id)
        top = desk.market.top(1)
        if top["bid_qty"] and top["ask_qty"]:
            self.ids = [desk.buy(series=1, price=top["bid"], qty=5), desk.sell(series=1, price=top["ask"], qty=5)]


def quoted(flow: np.ndarray, *, keep_events: bool, every_ns: int = QUOTE_NS) -> tuple[float, BacktestResult]:
    """Run the compiled strategy; gives seconds."""
    market, account = stage()
    memory = np.array([0, 0, 0, every_ns])
    start = time.perf_counter()
    result = backtest(market, flow, quotes, account=account, memory=memory, latency=5_000, keep_events=keep_events)
    return time.perf_counter() - start, result


def replayed(flow: np.ndarray, *, keep_events: bool) -> tuple[float, BacktestResult]:
    """Replay with market data and bars; gives seconds."""
    market, _ = stage()
    start = time.perf_counter()
    result = backtest(market, flow, keep_events=keep_events)
    bars(result.data.trades, every="1s")
    return time.perf_counter() - start, result


def point(every_us: int, adds: int, seed: int) -> dict[str, int]:
    """Run a point of the sweep."""
    del seed
    return quoted(flow_of(adds), keep_events=False, every_ns=every_us * 1_000)[1].sums


def digest(fills: np.ndarray) -> str:
    """Say in a word what was traded."""
    return hashlib.sha256(fills.tobytes()).hexdigest()[:16]


def measured(adds: int, runs: int, file: Path | None = None) -> list[Table]:
    """Measure all tables."""
    flow = flow_of(adds)
    market, _ = stage()
    events = np.concatenate([market.event_records, market.apply_batch(flow)])
    count, per_command = len(flow), len(events) / len(flow)
    rows: list[tuple[object, ...]] = []
    quoted(flow[:1_000], keep_events=True)  # compiles

    def line(name: str, each: list[float], commands: int, ratio: float, told: str) -> None:
        best, middle = min(each), statistics.median(each)
        rows.append(
            (
                name,
                commands,
                *(f"{commands / s / 1e6:.2f}" for s in (middle, max(each), best)),
                f"{commands * ratio / middle / 1e6:.2f}",
                told,
            )
        )

    alone = []
    for _ in range(runs):
        start = time.perf_counter()
        data = MarketData(events)
        alone.append(time.perf_counter() - start)
    line("market data alone", alone, count, per_command, digest(data.trades))
    for keeps in (True, False):
        for name, run in (("replay, depth, bars", replayed), ("compiled strategy", quoted)):
            found = [run(flow, keep_events=keeps) for _ in range(runs)]
            line(
                f"{name}{'' if keeps else ', events not kept'}",
                [s for s, _ in found],
                count,
                per_command,
                digest(found[0][1].data.trades),
            )
    if file is not None:
        day = bitstamp_flow(load_bitstamp(file))
        found = []
        for _ in range(max(runs, 5)):
            real = day.market()
            start = time.perf_counter()
            result = backtest(real, day.commands, keep_events=False)
            bars(result.data.trades, every="1m")
            found.append((time.perf_counter() - start, result))
        real = day.market()
        ratio = len(real.apply_batch(day.commands)) / len(day.commands)
        line(f"a real day, {file.name}", [s for s, _ in found], len(day.commands), ratio, digest(found[0][1].data.trades))
    return [
        (("backtest", "commands", "M commands/s", "worst", "best", "M events/s", "fills"), rows),
        (("a strategy in Python", "calls", "µs a call", "worst"), [python_row(flow, runs)]),
        (("sweep", "points", "seconds", "one process", "times"), [sweep_row(adds)]),
    ]


def python_row(flow: np.ndarray, runs: int) -> tuple[object, ...]:
    """Measure what a call of a strategy in Python costs, beside the flow without one."""
    each = []
    for _ in range(runs):
        base, _ = replayed(flow, keep_events=False)
        market, account = stage()
        strategy = Quotes()
        start = time.perf_counter()
        backtest(market, flow, strategy, account=account, every=QUOTE_NS, latency=5_000, keep_events=False)
        each.append(max(0.0, time.perf_counter() - start - base) / max(1, strategy.calls) * 1e6)
    return "looks at the best, moves two quotes", strategy.calls, tenth(statistics.median(each)), tenth(max(each))


def sweep_row(adds: int) -> tuple[object, ...]:
    """Measure a sweep in one process and on all cores, of one table."""
    grid = {"every_us": [100 * 2**k for k in range(POINTS)], "adds": [adds]}
    seconds, tables = [], []
    for workers in (1, os.cpu_count() or 1):
        start = time.perf_counter()
        tables.append(sweep(point, grid, workers=workers))
        seconds.append(time.perf_counter() - start)
    assert tables[0].to_dict() == tables[1].to_dict(), "a table is the same from one process and from many"
    return f"{os.cpu_count()} cores", len(tables[0]), f"{seconds[1]:.2f}", f"{seconds[0]:.2f}", f"{seconds[0] / seconds[1]:.2f}"


def main() -> int:
    """Measure, print, and append if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="runs per line (default 5)")
    parser.add_argument("--commands", type=int, default=workloads.ADDS, help="orders of the flow (default 1000000)")
    parser.add_argument("--file", type=Path, help="a Bitstamp log or orders.csv, to be replayed too")
    parser.add_argument("--append", action="store_true", help="add the tables to HISTORY.md")
    options = parser.parse_args()
    tell("backtests", measured(options.commands, options.runs, options.file), keeps=options.append)
    return 0


if __name__ == "__main__":
    sys.exit(main())
