"""Benchmarks compute what they should, in small; their times are nobody's business here."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import bench_reference
import pytest
import workloads

from rightsx import OrderBook

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", workloads.PROFILES)
def test_the_book_makes_the_trades_of_a_plain_one(name):
    stream = workloads.flow(name, adds=4_000)
    expected, late = workloads.oracle(stream)
    reports = OrderBook(books=workloads.PROFILES[name].books).apply_batch(stream)
    assert bench_reference.trades_digest(reports) == expected.digest
    assert (reports["kind"] == 2).sum() == expected.trades > 0
    assert (reports["kind"] == 5).sum() == expected.rejects == len(late)


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
    assert "no violation" in done.stdout
