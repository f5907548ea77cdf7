"""Benchmarks compute what they should, in small; their times are nobody's business here."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import bench_book
import bench_reference
import numpy as np
import pytest
import rivals
import telling
import workloads

from rightsx import OrderBook
from rightsx._jit import COMPILED
from rightsx.protocol import CommandKind, TimeInForce

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
    assert len(lines) == 2 + len(workloads.PROFILES) + 1


def test_the_example_runs(capsys):
    runpy.run_path(str(ROOT / "examples" / "first_market.py"), run_name="__main__")
    assert "the books add up" in capsys.readouterr().out


def test_random_markets_can_be_run_from_the_command_line():
    words = [sys.executable, "tests/simulate_forever.py", "--seed", "5", "--commands", "200", "--length", "200"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT)
    assert "commands agreed" in done.stdout
