"""Benchmarks compute what they should, in small; their times are nobody's business here."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import bench
import bench_backtest
import bench_book
import bench_exchange
import bench_hashing
import bench_ledger
import bench_reference
import bench_storage
import bench_worst
import numpy as np
import pytest
import rivals
import telling
import workloads

from rightsx import OrderBook
from rightsx._jit import COMPILED
from rightsx.hashing import implementations
from rightsx.protocol import CommandKind, EventKind, TimeInForce

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("engine", ["compiled", "reference"])
@pytest.mark.parametrize("name", workloads.FLOWS)
def test_the_book_makes_the_trades_of_a_plain_one(name, engine):
    stream = workloads.commands(name, adds=4_000)
    expected = workloads.answers(name, stream)
    reports = OrderBook(books=workloads.books(name), engine=engine).apply_batch(stream)
    assert bench_reference.trades_digest(reports) == bench_book.digest_of(reports) == expected.digest
    assert (reports["kind"] == 2).sum() == expected.trades > 0
    assert (reports["kind"] == 5).sum() == expected.rejects


@pytest.mark.skipif(not COMPILED, reason="a million orders are too many for a book that is not compiled")
@pytest.mark.parametrize("name", workloads.FLOWS)
def test_a_whole_flow_makes_the_trades_that_are_recorded(name):
    stream = workloads.commands(name)
    reports = OrderBook(books=workloads.books(name)).apply_batch(stream)
    expected = workloads.EXPECTED[name]
    fills = reports[reports["kind"] == 2]
    assert bench_book.digest_of(reports) == expected.digest
    assert (len(fills), fills["qty"].sum(), (fills["qty"] * fills["price"]).sum()) == expected[:3]
    assert (reports["kind"] == 5).sum() == expected.rejects


def test_crash_walks_over_tens_of_thousands_of_prices_with_a_thin_book():
    stream = workloads.commands("crash", adds=100_000)
    placed = stream[stream["kind"] == CommandKind.PLACE]
    assert placed["price"].max() - placed["price"].min() > 35_000
    assert 0.14 < (placed["time_in_force"] == TimeInForce.IOC).mean() < 0.16
    assert (stream["kind"] == CommandKind.AMEND).mean() > 0.25
    expected = workloads.crash_oracle(stream)
    assert 0.3 < expected.rejects / (len(stream) - len(placed)) < 0.6
    assert expected.resting < 200


@pytest.mark.parametrize("name", workloads.FLOWS)
def test_a_flow_with_handles_makes_the_same_trades(name):
    stream = workloads.commands(name, adds=2_000)
    named, names = bench_book.with_handles(stream, workloads.books(name))
    assert (named["order_id"][named["kind"] == CommandKind.PLACE] == 0).all()
    _, reports = bench_book.batch("handles", named, workloads.books(name), None)
    assert bench_book.digest_of(reports, names) == workloads.answers(name, stream).digest


@pytest.mark.parametrize("library", ["compiled", "reference", *rivals.ADAPTERS])
@pytest.mark.parametrize("name", workloads.FLOWS)
def test_a_rival_makes_the_trades_of_a_plain_book(name, library):
    if library in rivals.ADAPTERS:
        there, absent = rivals.present()
        if library in absent:
            pytest.skip(f"{library} is absent: {absent[library]}")
        rival = next(one for one in there if isinstance(one, rivals.ADAPTERS[library][0]))
    else:
        rival = rivals.Ours(library)
    stream = workloads.commands(name, adds=500)
    elapsed, trades = rival.run(rivals.plain_rows(stream), workloads.books(name))
    assert elapsed > 0
    assert bench_book.fold_trades(trades) == workloads.answers(name, stream).digest


@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_folding_at_once_is_folding_one_by_one(count):
    rng = np.random.default_rng(count)
    trades = rng.integers(-(2**62), 2**62, (4, count))
    digest = 0
    for trade in trades.T.tolist():
        digest = workloads.fold(digest, *trade)
    assert bench_book.folded(*trades) == f"{digest:016x}"


def test_the_book_benchmark_prints_its_tables_and_keeps_them(monkeypatch, capsys, tmp_path):
    history = tmp_path / "HISTORY.md"
    history.write_text("# What was measured\n")
    monkeypatch.setattr(telling, "HISTORY", history)
    words = ["bench", "--adds", "300", "--rival-adds", "200", "--runs", "2", "--places", "50", "--append", "--no-rivals"]
    monkeypatch.setattr(sys, "argv", words)
    assert bench_book.main() == 0
    printed = capsys.readouterr().out
    assert printed.count("caller") == 2 * printed.count("handles") == 2 * len(workloads.FLOWS)
    kept = history.read_text()
    assert kept.startswith("# What was measured\n\n## ")
    assert kept.count("\n| ") == 3 * 2 + 3 * len(workloads.FLOWS) + 2 + 1
    assert "--adds 300 --rival-adds 200" in kept


def test_absent_rivals_are_named_with_a_reason(monkeypatch):
    monkeypatch.setitem(sys.modules, "bourse", None)
    there, absent = rivals.present()
    assert "pip install bourse" in absent["bourse"]
    assert len(there) + len(absent) == len(rivals.ADAPTERS)


def test_a_digest_tells_one_trade_from_another():
    assert workloads.fold(0, 1, 2, 3, 4) != workloads.fold(0, 1, 2, 3, 5)
    assert workloads.fold(5, 1, 2, 3, 4) != workloads.fold(6, 1, 2, 3, 4)


def test_the_benchmark_prints_its_table(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench", "--adds", "300", "--runs", "2"])
    assert bench_reference.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 + len(workloads.PROFILES) + 1


def test_the_example_runs(capsys):
    runpy.run_path(str(ROOT / "examples" / "first_market.py"), run_name="__main__")
    assert "the books add up" in capsys.readouterr().out


def test_random_markets_can_be_run_from_the_command_line():
    words = [sys.executable, "tests/simulate_forever.py", "--seed", "5", "--commands", "200", "--length", "200"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT)
    assert "commands agreed" in done.stdout


# ── the whole exchange, the worst, everything ────────────────────────────────────────────────────


@pytest.mark.unaudited
@pytest.mark.parametrize("name", bench_exchange.FLOWS)
def test_the_whole_exchange_makes_the_events_of_the_reference(name):
    stream = bench_exchange.owned(workloads.commands(name, adds=1_500))
    series = 1 + int(stream["series"].max()) if name == "market" else 1
    stream["series"] = np.minimum(stream["series"], 12)
    markets = [bench_exchange.stage(min(series, 12), engine=engine) for engine in ("compiled", "reference")]
    events = [market.apply_batch(stream) for market in markets]
    assert events[0].tobytes() == events[1].tobytes()
    assert bench_exchange.fills_digest(events[0]) == bench_exchange.fills_digest(events[1])
    assert (events[0]["kind"] == EventKind.REFUSED).mean() < 0.05
    assert markets[0].state_hash() == markets[1].state_hash()


@pytest.mark.unaudited
def test_the_exchange_benchmark_measures_all_its_tables():
    batches, calls, due, threads = bench_exchange.measured(1_500, 1, 200, 300)
    assert [row[0] for row in batches[1]] == ["calm", "calm", "market", "market"]
    assert len({row[-1] for row in batches[1]}) == 2
    assert len(calls[1]) == 3
    assert [row[1] for row in due[1]] == [4, 304, 601, 601]
    assert len(threads[1]) == 1


@pytest.mark.unaudited
def test_the_worst_benchmark_leaves_growth_out_and_weighs_what_there_is():
    worst, growth, memory = bench_worst.measured(1_000, 160, 2)
    assert worst[1][-1][0] == "all"
    assert worst[1][-1][1] <= 160
    assert len(growth[1]) == 3
    weights = {row[:2]: int(str(row[2])) for row in memory[1]}
    assert weights["Exchange", "the empty book of a series"] == 64
    assert weights["Exchange", "a holding and its cells"] <= 64
    assert weights["OrderBook, handles", "1,000 orders"] < weights["OrderBook, caller", "1,000 orders"]


def test_the_hashing_benchmark_finds_the_same_root_in_every_way_and_batch(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench", "--leaves", "200", "--runs", "1"])
    assert bench_hashing.main() == 0
    lines = capsys.readouterr().out.splitlines()
    ways = implementations()
    roots = {line.split()[-1] for line in lines if "with all nodes" in line and "hashlib" not in line}
    assert len(lines) == 4 + 4 * (len(ways) - 1) + 2
    assert len(roots) == (len(ways) > 1)


@pytest.mark.parametrize("words", [["--quick", "--only", "reference"], ["--only", "reference", "--runs", "1", "--no-rivals"]])
def test_everything_can_be_measured_and_is_kept_unless_it_was_quick(monkeypatch, capsys, tmp_path, words):
    history = tmp_path / "HISTORY.md"
    history.write_text("# What was measured\n")
    monkeypatch.setattr(telling, "HISTORY", history)
    monkeypatch.setitem(bench.PARTS, "reference", lambda *_, **__: ([(("reference", "ns"), [("calm", "5")])], ["a note"]))
    monkeypatch.setattr(sys, "argv", ["bench", *words])
    assert bench.main() == 0
    told = capsys.readouterr()
    assert "a note" in told.out
    assert "measuring: reference" in told.err
    assert ("| calm | 5 |" in history.read_text()) == ("--quick" not in words)
    monkeypatch.setattr(sys, "argv", ["bench", "--only", "books"])
    with pytest.raises(SystemExit):
        bench.main()
    assert "'books' is not some of book,exchange" in capsys.readouterr().err


def test_the_ledger_benchmark_measures_every_line():
    journal, proofs, state = bench_ledger.measured(600, 40, 1)
    assert [len(table[1]) for table in (journal, proofs, state)] == [5, 3, 8]


@pytest.mark.unaudited
def test_the_storage_benchmark_commits_the_same_market_in_every_batch():
    commits, publish, back = bench_storage.measured(60, 1)
    states = {(row[1], row[-1]) for row in commits[1]}
    assert len({state for count, state in states if count == max(count for count, _ in states)}) == 1
    assert len(commits[1]) == 5
    assert len(publish[1]) == 1
    assert len(back[1]) == 2


@pytest.mark.unaudited
def test_the_backtest_benchmark_trades_the_same_with_events_and_without():
    runs, calls, grid = bench_backtest.measured(300, 1)
    assert len(runs[1]) == 5
    assert runs[1][1][-1] == runs[1][3][-1] != runs[1][2][-1] == runs[1][4][-1]
    assert len(calls[1]) == len(grid[1]) == 1
