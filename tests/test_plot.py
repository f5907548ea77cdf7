"""Pictures: each is drawn, from a full market and from an empty one, into a figure of its own or into given axes."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="pictures need the extra `plot`")

from matplotlib.figure import Figure

from backtesting import quoter, some_feed, staged
from rightsx import plot
from rightsx.backtest import backtest
from rightsx.bars import BAR, bars
from rightsx.errors import MisuseError
from rightsx.marketdata import TRADE

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
    "discount_surface": lambda one, ax: plot.discount_surface(one.data, ax=ax),
    "discounts of series": lambda one, ax: plot.discount_surface([one.data], by="series", ax=ax),
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


@pytest.mark.parametrize(("times", "drawn"), [(3, True), (4, False)])
def test_a_value_far_above_all_prices_is_left_out(times, drawn):
    trades = np.zeros(2, TRADE)
    trades["series"], trades["side"], trades["price"], trades["value"] = 1, [1, 2], [90, 100], 100 * times
    ax = plot.prices(SimpleNamespace(trades=trades), 1)
    assert ("value" in [line.get_label() for line in ax.lines]) == drawn
    assert ("far below" in ax.get_title(loc="left")) == (not drawn)


def test_a_surface_is_the_median_of_each_cell_and_lies_only_between_trades(result):
    trades = result.data.trades
    ends = {int(row["series"]): int(row["expire_ns"]) for row in result.data.series_table()}
    start, end, cells = int(trades["time_ns"].min()), int(trades["time_ns"].max()) + 1, 12
    days = [(ends[int(row["series"])] - int(row["time_ns"])) / plot.DAY_NS for row in trades]
    found = {}
    for row, left in zip(trades, days, strict=True):
        place = (min(cells - 1, int(left / max(days) * cells)), (int(row["time_ns"]) - start) * cells // (end - start))
        found.setdefault(place, []).append(10_000 - int(row["price"]) * 10_000 / int(row["value"]))
    drawn = np.ma.filled(plot.discount_surface(result.data, cells=cells, gap=1).collections[0].get_array().astype(float), np.nan)
    assert drawn.shape == (cells, cells)
    for place, offs in found.items():
        assert drawn[place] == pytest.approx(np.median(offs))
    beside = {(up + y, right + x) for up, right in found for y, x in ((0, 1), (1, 0), (0, -1), (-1, 0))}
    told = {tuple(place) for place in np.argwhere(~np.isnan(drawn)).tolist()}
    assert set(found) <= told <= set(found) | beside
    assert len(told) < cells * cells


def test_between_two_cells_a_surface_is_a_line_and_wide_gaps_stay_blank():
    told = np.full((1, 9), np.nan)
    told[0, [0, 3, 8]] = 10, 40, 90
    near = plot._between(told, 2, sideways=True)
    assert near[0, 1:3].tolist() == pytest.approx([20, 30])
    assert np.isnan(near[0, 4:8]).all()
    assert plot._between(told, 4, sideways=True)[0, 4:8].tolist() == pytest.approx([50, 60, 70, 80])
    assert np.isnan(plot._between(told, 9, sideways=False)).all()


def test_series_of_several_markets_stand_beside_each_other(result):
    ax = plot.discount_surface([result.data, result.data], by="series")
    assert [text.get_text() for text in ax.get_xticklabels()] == ["1: 1", "1: 2", "2: 1", "2: 2"]
    assert ax.get_ylabel() == "days to expiry"
    assert [one.get_ylabel() for one in ax.figure.axes] == ["days to expiry", "median discount, bps of v(t)"]
    assert plot.discount_surface([]).texts[0].get_text() == "no trades"


@pytest.mark.parametrize("options", [{"by": "price"}, {"cells": 0}, {"cells": 1_001}, {"gap": 0}, {"gap": 2.0}])
def test_a_surface_of_what_cannot_be_is_misuse(result, options):
    with pytest.raises(MisuseError, match=next(iter(options))):
        plot.discount_surface(result.data, **options)


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


@pytest.mark.parametrize("close", [90, 80, 70])
def test_bars_that_all_rise_or_all_fall_are_drawn(close):
    rows = np.zeros(2, BAR)
    rows["start_ns"], rows["open"], rows["high"], rows["low"], rows["close"], rows["volume"] = [1, 10**12], 80, 95, 60, close, 4
    ax = plot.candles(rows)
    ax.figure.canvas.draw()
    assert len(ax.patches) == 2
