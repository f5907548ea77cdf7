"""Pictures: each is drawn, from a full market and from an empty one, into a figure of its own or into given axes."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="pictures need the extra `plot`")

from matplotlib.figure import Figure

from backtesting import quoter, some_feed, staged
from rightsx import plot
from rightsx.backtest import backtest
from rightsx.bars import BAR, bars
from rightsx.errors import MisuseError

pytestmark = pytest.mark.unaudited


@pytest.fixture(scope="module")
def result():
    market, mine, people = staged()
    return backtest(market, some_feed(1, 600, people)[:400], quoter, account=mine, memory=np.zeros(4, np.int64))


@pytest.fixture(scope="module")
def quiet():
    market, mine, _ = staged()
    feed = some_feed(1, 1, [1])[:0]
    return backtest(market, feed, quoter, account=mine, memory=np.zeros(4, np.int64))


PICTURES = {
    "depth": lambda one, ax: plot.depth(one.data, 1, ax=ax),
    "prices": lambda one, ax: plot.prices(one.data, 1, ax=ax),
    "candles": lambda one, ax: plot.candles(one_series(one), ax=ax),
    "equity": lambda one, ax: plot.equity(one, ax=ax),
    "discounts": lambda one, ax: plot.discounts(one.data, ax=ax),
    "calendar": lambda one, ax: plot.calendar(one.data, ax=ax),
}


def one_series(one):
    made = bars(one.data.trades, every="12h")
    return made[made["series"] == 1]


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_drawn(name, result, tmp_path):
    ax = PICTURES[name](result, None)
    ax.figure.savefig(tmp_path / "picture.png", dpi=40)
    assert (tmp_path / "picture.png").stat().st_size > 3_000
    assert ax.get_title(loc="left")
    assert not [text for text in ax.texts if text.get_text().startswith(("no", "nobody"))]
    given = Figure().subplots()
    assert PICTURES[name](result, given) is given


@pytest.mark.parametrize("name", [name for name in PICTURES if name != "calendar"])
def test_where_there_is_nothing_a_picture_says_so(name, quiet, tmp_path):
    ax = PICTURES[name](quiet, None)
    ax.figure.savefig(tmp_path / "picture.png", dpi=40)
    assert ax.texts[0].get_text().startswith(("no", "nobody"))


def test_bars_of_several_series_or_none_are_misuse(result):
    with pytest.raises(MisuseError, match="of one are due"):
        plot.candles(bars(result.data.trades, count=50))
    with pytest.raises(MisuseError, match="BAR"):
        plot.candles(np.zeros(3))
    assert plot.candles(np.zeros(0, BAR)).texts


def test_without_matplotlib_a_picture_says_what_is_missing(result, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MisuseError, match=r"rightsx\[plot\]"):
        plot.calendar(result.data)


def test_the_package_loads_no_matplotlib():
    words = "import sys, rightsx.backtest, rightsx.plot; print('matplotlib' in sys.modules, 'polars' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["False", "False"]
