"""CME's order flow: made-up instants of which the outcome is known, and a real night."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from rightsx.errors import InputFileError, MisuseError
from rightsx.loaders.databento import MBO, DatabentoFeed, load_databento
from rightsx.replay import replay_databento, replay_file


def feed_of(*rows):
    messages = np.zeros(len(rows), MBO)
    for at, (time, action, side, order_id, price, size) in enumerate(rows):
        messages[at] = (time, order_id, price, size, at, action, side, 0)
    return DatabentoFeed(Path("made-up"), messages)


def outcome(*rows):
    found = replay_databento(feed_of(*rows))
    return {
        name: getattr(found, name)
        for name in ("exact", "own_orders", "icebergs", "others", "of_an_auction")
        if getattr(found, name)
    }


QUEUE = [(1, "A", "A", 11, 100, 2), (1, "A", "A", 12, 100, 3), (1, "A", "B", 13, 99, 4)]


def test_makers_in_the_order_of_our_queue_are_exact():
    fills = [(2, "F", "A", 11, 100, 2), (2, "F", "A", 12, 100, 1)]
    assert outcome(*QUEUE, (2, "T", "B", 0, 100, 3), *fills) == {"exact": 1}
    assert outcome(*QUEUE, (2, "T", "B", 0, 100, 3), *reversed(fills)) == {"icebergs": 1}


def test_a_modify_to_more_loses_the_place_and_to_less_keeps_it():
    trade, first, second = (3, "T", "B", 0, 100, 1), (3, "F", "A", 11, 100, 1), (3, "F", "A", 12, 100, 1)
    assert outcome(*QUEUE, (2, "M", "A", 11, 100, 1), trade, first) == {"exact": 1}
    assert outcome(*QUEUE, (2, "M", "A", 11, 100, 9), trade, second) == {"exact": 1}
    away_and_back = [(2, "M", "A", 11, 101, 2), (2, "M", "A", 11, 100, 2)]
    assert outcome(*QUEUE, *away_and_back, trade, second) == {"exact": 1}
    assert outcome(*QUEUE, *away_and_back, trade, first) == {"others": 1}


def test_a_maker_cancelled_at_the_instant_was_the_takers_own():
    rows = [*QUEUE, (2, "T", "B", 0, 100, 1), (2, "F", "A", 12, 100, 1), (2, "C", "A", 12, 100, 1)]
    assert outcome(*rows, (2, "C", "A", 11, 100, 2)) == {"own_orders": 1}
    assert outcome(*rows, (3, "C", "A", 11, 100, 2)) == {"others": 1}


def test_a_maker_that_trades_more_than_it_showed_is_an_iceberg():
    assert outcome(*QUEUE, (2, "T", "B", 0, 100, 7), (2, "F", "A", 11, 100, 4), (2, "F", "A", 12, 100, 3)) == {"icebergs": 1}


def test_the_takers_own_fill_is_no_maker_and_an_auction_is_left_out():
    assert outcome(*QUEUE, (2, "T", "B", 0, 100, 1), (2, "F", "B", 77, 100, 1), (2, "F", "A", 11, 100, 1)) == {"exact": 1}
    assert outcome(*QUEUE, (2, "T", "N", 0, 100, 1), (2, "F", "N", 11, 100, 1)) == {"of_an_auction": 1}


def test_what_would_cross_waits_until_it_may_rest():
    crossing = [(2, "A", "B", 14, 100, 1), (2, "C", "A", 11, 100, 2), (2, "C", "A", 12, 100, 3), (3, "T", "A", 0, 100, 1)]
    assert outcome(*QUEUE, *crossing, (3, "F", "B", 14, 100, 1)) == {"exact": 1}
    moved = [(2, "M", "B", 13, 100, 4), *crossing[1:3], (3, "T", "A", 0, 100, 4)]
    assert outcome(*QUEUE, *moved, (3, "F", "B", 13, 100, 4)) == {"exact": 1}


def test_a_clear_forgets_everything():
    assert outcome(*QUEUE, (2, "R", "N", 0, 0, 0), (2, "T", "B", 0, 100, 1), (2, "F", "A", 11, 100, 1)) == {"others": 1}


def test_a_result_shows_its_counts_and_progress_is_told():
    told = []
    found = replay_databento(
        feed_of(*QUEUE, (2, "T", "B", 0, 100, 1), (2, "F", "A", 12, 100, 1)), progress=lambda *one: told.append(one)
    )
    assert told[-1] == (5, 5)
    assert "message 3: the venue met [(12, 1)]" in str(found)
    assert not found.agrees


def test_a_real_night_is_explained_trade_by_trade(venue_file):
    pytest.importorskip("databento_dbn")
    pytest.importorskip("zstandard")
    path = venue_file("data/dbn-mbo/esh4-glbx-mdp3-20231225.mbo.dbn.zst")
    found = replay_file(path, form="databento")
    assert found.messages == 68_792
    assert (found.trades, found.of_an_auction) == (2_972, 1)
    assert (found.exact, found.own_orders, found.icebergs, found.others) == (2_831, 83, 58, 0)
    assert found.agrees
    assert "95.3%" in str(found)


def test_a_plain_file_is_read_and_a_wrong_one_named(venue_file, tmp_path):
    pytest.importorskip("databento_dbn")
    small = venue_file("data/dbn-mbo/test_data.mbo.v3.dbn")
    feed = load_databento(small)
    assert feed.messages["order_id"][1] == 647784973631
    assert replay_databento(feed).trades == 0
    raw = small.read_bytes()
    for name, content in {
        "cut": raw[:-5],
        "none": b"hello, this is no such file at all",
        "empty": b"",
        "head": raw[:300],
    }.items():
        path = tmp_path / f"{name}.dbn"
        path.write_bytes(content)
        with pytest.raises(InputFileError, match=f"{name}.dbn"):
            load_databento(path)
    with pytest.raises(InputFileError, match="readable"):
        load_databento(tmp_path / "absent.dbn")
    packed = tmp_path / "packed.dbn.zst"
    packed.write_bytes(b"not packed")
    pytest.importorskip("zstandard")
    with pytest.raises(InputFileError, match="zst"):
        load_databento(packed)


@pytest.mark.parametrize("missing", ["databento_dbn", "zstandard"])
def test_a_missing_extra_is_named_in_a_line(missing, monkeypatch, tmp_path):
    if missing == "zstandard":
        pytest.importorskip("databento_dbn")
    monkeypatch.setitem(sys.modules, missing, None)
    path = tmp_path / "a.dbn.zst"
    path.write_bytes(b"")
    with pytest.raises(MisuseError, match=r"rightsx\[databento\]"):
        load_databento(path)
