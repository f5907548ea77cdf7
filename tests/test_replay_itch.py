"""ITCH beside our book: a made-up day agrees to the last execution, and what differs is told with its reason."""

from __future__ import annotations

import pytest

from itch_day import (
    OPEN_NS,
    Day,
    added,
    cancelled,
    deleted,
    executed,
    executed_at,
    hidden,
    replaced,
    state,
)
from rightsx.cli import main
from rightsx.loaders import load_itch
from rightsx.replay import replay_file, replay_itch
from rightsx.replay.beside import Tape

pytestmark = pytest.mark.unaudited
T = OPEN_NS
FIRST, SECOND = added(T, 1, "buy", 300, 100), added(T, 2, "buy", 200, 100)


def replayed(tmp_path, *parts):
    path = tmp_path / "day.itch"
    path.write_bytes(b"".join(parts))
    return replay_itch(load_itch(path))


def outcome(tmp_path, *parts):
    found = replayed(tmp_path, *parts)
    names = ("exact", "at_another_price", "while_crossed", "others", "of_a_cross", "unknown", "about_unknown", "ids_twice")
    return {name: getattr(found, name) for name in names if getattr(found, name)}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_made_up_day_agrees_to_the_last_execution(tmp_path, seed):
    raw, told = Day(seed).run(5_000)
    path = tmp_path / "day.itch"
    path.write_bytes(raw)
    found = replay_file(path, form="itch", stock="AAPL")
    assert (found.executions, found.exact) == (len(told), len(told))
    assert len(told) > 1_000
    assert found.agrees
    assert "100.0%" in str(found)


def test_who_came_first_must_be_executed_first(tmp_path):
    assert outcome(tmp_path, FIRST, SECOND, executed(T, 1, 300, 9), executed(T, 2, 200, 9)) == {"exact": 2}
    assert outcome(tmp_path, FIRST, SECOND, executed(T, 2, 200, 9), executed(T, 1, 300, 9)) == {"exact": 1, "others": 1}
    better = added(T, 3, "buy", 100, 101)
    assert outcome(tmp_path, FIRST, better, executed(T, 1, 100, 9)) == {"others": 1}


def test_a_partial_cancel_keeps_the_place_and_a_replaced_order_goes_to_the_back(tmp_path):
    assert outcome(tmp_path, FIRST, SECOND, cancelled(T, 1, 100), executed(T, 1, 200, 9)) == {"exact": 1}
    assert outcome(tmp_path, FIRST, SECOND, replaced(T, 1, 3, 300, 100), executed(T, 2, 200, 9)) == {"exact": 1}
    assert outcome(tmp_path, FIRST, SECOND, replaced(T, 1, 3, 300, 100), executed(T, 3, 1, 9)) == {"others": 1}
    assert outcome(tmp_path, FIRST, SECOND, deleted(T, 1), executed(T, 2, 200, 9)) == {"exact": 1}
    assert outcome(tmp_path, FIRST, SECOND, cancelled(T, 1, 300), executed(T, 2, 200, 9)) == {"exact": 1}


def test_more_than_an_order_has_is_a_difference(tmp_path):
    found = replayed(tmp_path, FIRST, executed(T, 1, 301, 9))
    assert (found.others, found.agrees) == (1, False)
    assert "the venue met 301 of order 1 at 100, our first is (1, 100, 300)" in str(found)


def test_an_execution_at_another_price_still_takes_the_first(tmp_path):
    better = executed_at(T, 1, 100, 9, "Y", 99)
    assert outcome(tmp_path, FIRST, SECOND, better, executed(T, 1, 200, 9)) == {"at_another_price": 1, "exact": 1}
    assert outcome(tmp_path, FIRST, SECOND, executed_at(T, 2, 100, 9, "Y", 99)) == {"others": 1}
    assert outcome(tmp_path, FIRST, executed_at(T, 1, 100, 9, "Y", 100)) == {"exact": 1}


def test_what_a_cross_executes_is_not_asked(tmp_path):
    assert outcome(tmp_path, FIRST, SECOND, executed_at(T, 2, 200, 9, "N", 100)) == {"of_a_cross": 1}


def test_orders_that_cross_wait_until_they_can_rest(tmp_path):
    sell = added(T, 5, "sell", 100, 99)
    assert outcome(tmp_path, FIRST, sell, executed(T, 5, 50, 9)) == {"while_crossed": 1}
    assert outcome(tmp_path, FIRST, sell, cancelled(T, 5, 30), deleted(T, 1), executed(T, 5, 70, 9)) == {"exact": 1}


def test_orders_older_than_the_file_are_counted(tmp_path):
    assert outcome(tmp_path, FIRST, executed(T, 77, 50, 9), deleted(T, 78)) == {"unknown": 1, "about_unknown": 1}


def test_an_id_that_is_added_twice_is_a_contradiction(tmp_path):
    assert outcome(tmp_path, FIRST, FIRST, executed(T, 1, 300, 9)) == {"exact": 1, "ids_twice": 1}


def test_hidden_trades_and_halts_touch_nothing(tmp_path):
    found = replayed(tmp_path, FIRST, hidden(T, 50, 100, 9), state(T, "H"), executed(T, 1, 300, 9))
    assert (found.hidden, found.exact, found.agrees) == (1, 1, True)


def test_a_tape_is_a_book_that_gives_the_same_and_progress_is_told(tmp_path):
    raw, told = Day(4).run(1_000)
    path = tmp_path / "day.itch"
    path.write_bytes(raw)
    feed, tape, heard = load_itch(path), Tape(), []
    assert replay_itch(feed, tape=tape) == replay_itch(feed, progress=lambda *one: heard.append(one))
    assert heard[-1] == (len(feed.messages),) * 2
    assert [(noted.maker, noted.qty, noted.price) for noted in tape.noted] == [fill[1:] for fill in told]
    assert sum(call.is_taker for call in tape.told) == len(told)


def test_the_command_line_replays_a_day(tmp_path, capsys):
    path = tmp_path / "day.itch"
    path.write_bytes(Day(4).run(200)[0] + b"\0")
    words = ["replay", str(path), "--format", "itch", "--quiet"]
    assert main(words) == 2
    assert "behind the session's end" in capsys.readouterr().err
    assert main([*words, "--errors", "skip"]) == 0
    assert "replay of AAPL" in capsys.readouterr().out
    assert main([*words, "--errors", "skip", "--stock", "ZZZ"]) == 2
    assert "there are 2, as AAPL, MSFT" in capsys.readouterr().err
