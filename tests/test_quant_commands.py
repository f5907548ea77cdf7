"""`rightsx backtest`, `simulate` and `replay`: what they print, the pages that they write, and what they refuse."""

from __future__ import annotations

import html
import importlib.util
import re
import sys

import numpy as np
import pytest

from rightsx.cli import main

pytestmark = pytest.mark.unaudited
STEP = """
import numpy as np
from rightsx.backtest import Strategy, buy, sell

MEMORY = np.zeros(2, np.int64)
NUMBER = 3

def step(view, memory, orders):
    memory[0] += 1
    if memory[0] % 3 != 0 or view["ask_qty"] == 0 or view["bid_qty"] == 0:
        return 0
    return buy(orders, 0, 1, view["ask"], 2, view["next_id"])

class Once(Strategy):
    def on_start(self, desk):
        desk.buy(series=1, price=24_000, qty=1)
"""


@pytest.fixture
def files(tmp_path):
    strategy, feed = tmp_path / "mine.py", tmp_path / "orders.csv"
    strategy.write_text(STEP)
    lines = ["id,timestamp,exchange.timestamp,price,volume,action,direction"]
    for at in range(60):
        side = ("bid", "ask")[at % 2]
        price = 236 + (at * 7 % 5 - 2) * 0.5 + (0.2 if side == "ask" else -0.2)
        lines.append(
            f"{at + 1},{1_430_000_000_000 + 1_000 * at},{1_430_000_000_000},{price:.2f},{50_000_000 + at},created,{side}"
        )
    feed.write_text("\n".join(lines) + "\n")
    return strategy, feed


def test_a_strategy_in_a_file_is_run_and_its_sums_are_told(files, capsys, tmp_path):
    strategy, feed = files
    page = tmp_path / "page.html"
    words = ["backtest", str(feed), "--strategy", f"{strategy}:step", "--latency", "20ms", "--taker-bps", "10", "--quiet"]
    code = main([*words, *(["--html", str(page)] if has_plot() else [])])
    told = capsys.readouterr().out
    assert code == 0
    assert re.search(r"^fills +\d+$", told, re.MULTILINE)
    if has_plot():
        text = page.read_text()
        assert text.count("<svg") >= 4
        assert "profit at price" in text
        assert not re.search(r'(src|href)="http', text)
        assert str(page) in told


def has_plot():
    return importlib.util.find_spec("matplotlib") is not None


def test_a_class_is_a_strategy_too(files, capsys):
    strategy, feed = files
    assert main(["backtest", str(feed), "--strategy", f"{strategy}:Once", "--quiet", "--units", "0"]) == 0
    assert re.search(r"^fills +1$", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize(
    ("strategy", "told"),
    [
        ("mine.py", "a file and a name"),
        ("absent.py:step", "no such file"),
        ("{}:luck", "has no 'luck'"),
        ("{}:NUMBER", "is a int"),
    ],
)
def test_what_is_no_strategy_is_told_in_a_line(files, capsys, strategy, told):
    own, feed = files
    assert main(["backtest", str(feed), "--strategy", strategy.format(own), "--quiet"]) == 2
    assert told in capsys.readouterr().err


def test_a_market_is_made_up_and_written(capsys, tmp_path):
    words = ["simulate", "--days", "6", "--holders", "30", "--seed", "3"]
    columns, page = tmp_path / "market.npz", tmp_path / "page.html"
    assert main([*words, "--to", str(columns), *(["--html", str(page)] if has_plot() else [])]) == 0
    first = capsys.readouterr().out
    assert "rescued part" in first
    with np.load(columns) as found:
        assert set(found.files) == {"commands", "events", "trades"}
        assert len(found["events"]) > 100
    if has_plot():
        assert page.read_text().count("<svg") >= 2
    assert main(words) == 0
    assert capsys.readouterr().out.strip() == first.split("\n\n")[0]


def test_a_page_that_cannot_be_written_or_drawn_is_told_before_the_work(files, capsys, monkeypatch, tmp_path):
    strategy, feed = files
    words = ["backtest", str(feed), "--strategy", f"{strategy}:step", "--quiet", "--html"]
    if has_plot():
        assert main([*words, str(tmp_path / "absent" / "page.html")]) == 2
        told = capsys.readouterr()
        assert "No such file" in told.err
        assert "fills" not in told.out
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main([*words, str(tmp_path / "page.html")]) == 2
    assert "rightsx[plot]" in capsys.readouterr().err


@pytest.mark.skipif(not has_plot(), reason="matplotlib is absent: pip install 'rightsx[plot]'")
def test_a_replay_writes_a_page_of_what_it_found_and_work_that_fails_writes_none(files, capsys, tmp_path):
    _, feed = files
    page = tmp_path / "page.html"
    assert main(["replay", str(feed), "--format", "bitstamp", "--quiet", "--html", str(page)]) in (0, 1)
    told, text = capsys.readouterr().out, page.read_text()
    assert told.endswith(f"pictures: {page}\n")
    assert text.count("<svg") == 3
    assert "orders.csv against our queue" in text
    assert html.escape(told.split("\n\npictures")[0]) in text
    feed.write_text("no such file\n")
    assert main(["replay", str(feed), "--format", "bitstamp", "--quiet", "--html", str(tmp_path / "new.html")]) == 2
    assert main(["replay", str(feed), "--format", "bitstamp", "--quiet", "--html", str(page)]) == 2
    assert not (tmp_path / "new.html").exists()
    assert page.read_text() == text


@pytest.mark.parametrize("words", [["simulate", "--days", "0"], ["simulate", "--hazard", "-1"], ["simulate", "--holders", "0"]])
def test_numbers_that_make_no_market_are_told_in_a_line(words, capsys):
    assert main(words) == 2
    assert "rightsx: " in capsys.readouterr().err


@pytest.mark.parametrize("command", ["backtest", "simulate"])
def test_help_fits_a_terminal(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80
