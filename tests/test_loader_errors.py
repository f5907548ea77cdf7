"""Wrong rows are left out and counted where that is asked for, and progress is told to whoever wants it."""

from __future__ import annotations

import numpy as np
import pytest

from rightsx.errors import InputFileError, MisuseError
from rightsx.loaders import load_bitstamp, load_lobster
from rightsx.loaders.databento import MBO, _right
from rightsx.loaders.text import COMPLAINTS_KEPT, Complaints
from rightsx.progress import following
from rightsx.replay import replay_lobster

HEAD = "id,timestamp,exchange.timestamp,price,volume,action,direction"
ROW = "7,1430438404518,1430438404000,236.47,200000000,created,bid"
LOG = '1430438404518 order_created {"price": "236.47", "amount": "2.0", "datetime": "1430438404", "id": 7, "order_type": 0}'
MESSAGES = ["1.0,1,1,5,100,1", "2.0,1,2,5,99,1", "3.0,1,3,5,98,1", "4.0,1,4,1,100,1"]
ROWS = ["120,9,100,5", "120,9,100,5", "120,9,100,5", "120,9,100,6"]


def written(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def pair(path, messages, rows):
    written(path / "X_orderbook_1.csv", rows)
    return written(path / "X_message_1.csv", messages)


def test_wrong_rows_of_an_event_list_are_left_out_and_counted(tmp_path):
    path = written(tmp_path / "orders.csv", [HEAD, ROW, ROW.replace("bid", "up"), ROW, *["x"] * COMPLAINTS_KEPT])
    with pytest.raises(InputFileError, match=r"orders\.csv:3: a direction"):
        load_bitstamp(path)
    feed = load_bitstamp(path, errors="skip")
    assert [event.line for event in feed.events] == [2, 4]
    assert feed.skipped == 1 + COMPLAINTS_KEPT
    assert len(feed.complaints) == COMPLAINTS_KEPT
    assert feed.complaints[0].startswith(f"{path}:3: a direction of bid, ask was expected, 'up' was found")


def test_a_wrong_line_of_a_log_is_left_out_and_counted(tmp_path):
    feed = load_bitstamp(written(tmp_path / "day.log", [LOG, LOG.replace("236.47", "NaN"), LOG]), errors="skip")
    assert ([event.line for event in feed.events], feed.skipped) == ([1, 3], 1)


def test_a_row_that_is_left_out_moves_no_clock(tmp_path):
    late = ROW.replace("1430438404518", "1430438409999").replace("236.47", "0")
    assert load_bitstamp(written(tmp_path / "orders.csv", [HEAD, late, ROW]), errors="skip").skipped == 1


@pytest.mark.parametrize("content", [[], ["x"], [HEAD], [HEAD, "x"]])
def test_a_file_of_nothing_right_is_an_error_under_skip_too(tmp_path, content):
    with pytest.raises(InputFileError):
        load_bitstamp(written(tmp_path / "orders.csv", content), errors="skip")


def test_a_wrong_lobster_line_takes_its_partner_with_it(tmp_path):
    path = pair(tmp_path, [MESSAGES[0], "x", *MESSAGES[2:]], [*ROWS[:2], "1,2,3", ROWS[3]])
    feed = load_lobster(path, errors="skip")
    assert ([message.line for message in feed.messages], feed.skipped, len(feed.rows)) == ([1, 4], 2, 2)
    assert sorted(complaint.partition(": ")[0][-5:] for complaint in feed.complaints) == ["csv:2", "csv:3"]
    found = replay_lobster(feed)
    assert (found.gaps, found.rows, found.agrees) == (1, 0, True)


def test_lobster_files_of_different_length_are_no_pair_under_skip_too(tmp_path):
    with pytest.raises(InputFileError, match="one for each message"):
        load_lobster(pair(tmp_path, MESSAGES, ROWS[:3]), errors="skip")


@pytest.mark.parametrize(
    ("name", "value"), [("action", b"Z"), ("order_id", 0), ("side", b"N"), ("price", 2**63 - 1), ("size", 0)]
)
def test_a_wrong_databento_record_is_named_or_left_out(tmp_path, name, value):
    rows = np.zeros(3, MBO)
    rows["order_id"], rows["price"], rows["size"], rows["action"], rows["side"] = 1, 5, 1, b"A", b"B"
    rows[name][1] = value
    with pytest.raises(InputFileError, match=rf"record 1: .* was expected as {name}"):
        _right(tmp_path, rows, Complaints("raise"))
    complaints = Complaints("skip")
    assert _right(tmp_path, rows, complaints).tolist() == [True, False, True]
    assert complaints.skipped == 1


def test_another_word_for_errors_is_misuse(tmp_path):
    with pytest.raises(MisuseError, match="errors was 'ignore'"):
        load_bitstamp(tmp_path / "orders.csv", errors="ignore")


def test_progress_is_told_to_a_callable_or_a_class_of_bars(tmp_path, capsys):
    path = written(tmp_path / "orders.csv", [HEAD, ROW])
    told = []
    load_bitstamp(path, progress=lambda *one: told.append(one))
    assert told == [(path.stat().st_size,) * 2]
    made = []

    class Bars:
        n = 0

        def __init__(self, **named):
            made.append(named)

        def update(self, steps):
            self.n += steps

        def close(self):
            made.append(self.n)

    load_bitstamp(path, progress=Bars)
    assert made == [{"total": told[0][0], "desc": "Bitstamp"}, told[0][0]]
    for silent in (True, False, None):
        load_bitstamp(path, progress=silent)
    assert capsys.readouterr() == ("", "")


def test_progress_of_another_kind_is_misuse():
    with pytest.raises(MisuseError, match="progress was 3"), following(3, "work"):
        pass
