"""Sweeps: one table, the same from one process or from many."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from backtesting import quoter, some_feed, staged
from rightsx.backtest import backtest
from rightsx.errors import MisuseError
from rightsx.sweep import seed_of, sweep

pytestmark = pytest.mark.unaudited
GRID = {"a": [1, 2, 3], "b": ["x", "y"], "c": [0.5]}


def product(a, b, c, seed):
    return {"sum": a + c, "word": b * a, "luck": np.random.default_rng(seed).integers(10**9)}


def run_of(latency, count, seed):
    market, mine, people = staged()
    feed = some_feed(seed % 1_000, count, people)
    return backtest(market, feed, quoter, account=mine, memory=np.zeros(4, np.int64), latency=latency, keep_events=False).sums


def test_a_table_has_a_row_for_each_point_in_the_order_of_the_grid():
    table = sweep(product, GRID, workers=1)
    assert len(table) == 6
    assert table["a"].tolist() == [1, 1, 2, 2, 3, 3]
    assert table["b"].tolist() == ["x", "y"] * 3
    assert table["sum"].tolist() == [1.5, 1.5, 2.5, 2.5, 3.5, 3.5]
    assert table["word"].tolist() == ["x", "y", "xx", "yy", "xxx", "yyy"]
    assert list(table.to_dict()) == ["a", "b", "c", "seed", "sum", "word", "luck"]
    assert len(set(table["luck"].tolist())) == 6
    assert table.row(3)["word"] == "yy"
    assert table.best("sum")["a"] == 3
    with pytest.raises(MisuseError, match="no column"):
        table.best("profit")


@pytest.mark.skipif(sys.platform != "linux", reason="a function of a test is there only where processes are copied")
@pytest.mark.parametrize("function", [product, run_of])
def test_many_processes_give_the_same_table(function):
    grid = GRID if function is product else {"latency": [0, 1_000], "count": [60, 80]}
    one, many = (sweep(function, grid, seed=7, workers=workers) for workers in (1, 3))
    assert one.to_dict() == many.to_dict()


def test_seeds_are_of_the_point_and_of_the_sweep_alone():
    assert seed_of({"a": 1, "b": 2}) == seed_of({"b": np.int64(2), "a": 1})
    assert len({seed_of({"a": 1}), seed_of({"a": 2}), seed_of({"a": 1}, 1), seed_of({"b": 1})}) == 4
    part = sweep(product, {"a": [2], "b": ["y"], "c": [0.5]}, workers=1)
    assert part["luck"][0] == sweep(product, GRID, workers=1)["luck"][3]


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_point_raises_names_the_point(workers):
    def breaks(a, seed):
        if a == 2:
            raise ZeroDivisionError(seed)
        return {"sum": a}

    if workers > 1 and sys.platform != "linux":
        pytest.skip("a function of a test is there only where processes are copied")
    with pytest.raises(ZeroDivisionError) as caught:
        sweep(breaks, {"a": [1, 2, 3]}, workers=workers)
    assert any("{'a': 2}" in note for note in caught.value.__notes__)


class OddError(Exception):
    def __init__(self, *, told):
        super().__init__(told)


@pytest.mark.skipif(sys.platform != "linux", reason="a function of a test is there only where processes are copied")
def test_an_error_that_cannot_be_sent_is_told_all_the_same():
    def breaks(a, seed):
        raise OddError(told=f"odd {a} {seed > 0}")

    for workers in (1, 2):
        with pytest.raises(RuntimeError, match=r"OddError: odd 1 True; at .'a': 1."):
            sweep(breaks, {"a": [1, 2]}, workers=workers)
    with pytest.raises(MisuseError, match="function was"):
        sweep(None, {"a": [1]})


@pytest.mark.parametrize(
    ("grid", "options"),
    [
        (None, {}),
        ({}, {}),
        ({"a": []}, {}),
        ({"a": "words"}, {}),
        ({"a": 3}, {}),
        ({"a": [None]}, {}),
        ({"a": [1]}, {"seed": 1.0}),
        ({"seed": [1]}, {}),
        ({3: [1]}, {}),
        ({"a": [1]}, {"workers": 0}),
        ({"a": [1]}, {"workers": True}),
    ],
)
def test_what_is_no_grid_is_misuse(grid, options):
    with pytest.raises(MisuseError):
        sweep(lambda seed, **_: {"x": seed}, grid, **options)


def test_points_that_give_other_names_are_misuse():
    with pytest.raises(MisuseError, match="at the first point"):
        sweep(lambda a, **_: {"x" * a: 1}, {"a": [1, 2]}, workers=1)
    with pytest.raises(MisuseError, match="other names"):
        sweep(lambda a, **_: {"a": a}, {"a": [1, 2]}, workers=1)


def test_a_table_shows_its_first_rows():
    text = repr(sweep(lambda a, **_: {"square": a * a}, {"a": list(range(1_000, 1_030))}, workers=1))
    assert "1,000,000" in text
    assert text.endswith("… 10 more")


def test_progress_is_told_in_points():
    told = []
    sweep(summed, {"a": [1, 2, 3]}, workers=1, progress=lambda *step: told.append(step))
    assert told == [(1, 3), (2, 3), (3, 3)]
    with pytest.raises(MisuseError, match="progress was 'yes'"):
        sweep(summed, {"a": [1]}, workers=1, progress="yes")


def summed(a, seed):
    return {"sum": a + seed % 2}
