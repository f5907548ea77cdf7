"""ITCH 5.0: what an independent writer packed comes back, and whatever is wrong is named by its byte."""

from __future__ import annotations

import gzip
import lzma
import struct
from contextlib import nullcontext

import numpy as np
import pytest

from itch_day import (
    OPEN_NS,
    OTHER,
    OWN,
    Day,
    added,
    cancelled,
    deleted,
    directory,
    executed,
    executed_at,
    hidden,
    message,
    replaced,
    state,
)
from rightsx.errors import InputFileError, MisuseError
from rightsx.loaders import itch, load_itch

HEAD = directory("AAPL", OWN)
ORDER = added(OPEN_NS, 7, "buy", 300, 1_850_000)
END = b"\0\0"


def written(path, *parts, name="day.itch"):
    place = path / name
    place.write_bytes(b"".join(parts))
    return place


def columns(feed, *names):
    return [tuple(row) for row in feed.messages[list(names)].tolist()]


def test_every_kind_of_order_message_comes_back(tmp_path):
    parts = [
        HEAD,
        ORDER,
        added(OPEN_NS + 1, 8, "sell", 200, 1_850_100, owner="MPID"),
        executed(OPEN_NS + 2, 7, 100, 51),
        executed_at(OPEN_NS + 3, 7, 50, 52, "N", 1_849_950),
        cancelled(OPEN_NS + 4, 7, 20),
        replaced(OPEN_NS + 5, 7, 9, 400, 1_849_900),
        deleted(OPEN_NS + 6, 9),
        hidden(OPEN_NS + 7, 30, 1_850_050, 53),
        message("Q", OPEN_NS + 8, "Q8sIQc", 1_000, "AAPL    ", 1_850_000, 54, "O"),
        message("B", OPEN_NS + 9, "Q", 53),
    ]
    feed = load_itch(written(tmp_path, *parts, END))
    assert columns(feed, "kind", "order_id", "new_order_id", "side", "qty", "price", "match_number", "printable") == [
        (b"A", 7, 0, b"B", 300, 1_850_000, 0, b""),
        (b"F", 8, 0, b"S", 200, 1_850_100, 0, b""),
        (b"E", 7, 0, b"", 100, 0, 51, b""),
        (b"C", 7, 0, b"", 50, 1_849_950, 52, b"N"),
        (b"X", 7, 0, b"", 20, 0, 0, b""),
        (b"U", 7, 9, b"", 400, 1_849_900, 0, b""),
        (b"D", 9, 0, b"", 0, 0, 0, b""),
        (b"P", 0, 0, b"B", 30, 1_850_050, 53, b""),
        (b"Q", 0, 0, b"", 1_000, 1_850_000, 54, b""),
        (b"B", 0, 0, b"", 0, 0, 53, b""),
    ]
    assert feed.messages["time_ns"].tolist() == [OPEN_NS + at for at in range(10)]
    assert np.diff(feed.messages["offset"]).tolist() == [len(part) for part in parts[1:-1]]
    assert (feed.total, feed.skipped, feed.directory["stock"].tolist()) == (11, 0, [b"AAPL"])


def test_a_day_is_read_as_it_was_told_whatever_the_pieces(tmp_path, monkeypatch):
    raw, told = Day(5).run(2_000)
    whole = load_itch(written(tmp_path, raw))
    trades = whole.messages[np.isin(whole.messages["kind"], [b"E", b"C"])]
    assert [(row["time_ns"], row["order_id"], row["qty"]) for row in trades] == [fill[:3] for fill in told]
    assert set(whole.states["state"].tolist()) == {b"T", b"H"}
    for size in (1, 7, 64, 1_000):
        monkeypatch.setattr(itch, "_PIECE_BYTES", size)
        piecemeal = load_itch(written(tmp_path, raw))
        assert piecemeal.messages.tobytes() == whole.messages.tobytes()
        assert piecemeal.total == whole.total


def test_packed_files_are_read_and_cut_ones_named(tmp_path):
    raw, _ = Day(6).run(300)
    due = load_itch(written(tmp_path, raw)).messages.tobytes()
    for suffix, pack in {"gz": gzip.compress, "xz": lzma.compress}.items():
        packed = pack(raw)
        assert load_itch(written(tmp_path, packed, name=f"a.{suffix}")).messages.tobytes() == due
        with pytest.raises(InputFileError, match=rf"b\.{suffix}, byte \d+: the compressed data end too early"):
            load_itch(written(tmp_path, packed[:-20], name=f"b.{suffix}"), errors="skip")
        with pytest.raises(InputFileError, match="sound"):
            load_itch(written(tmp_path, b"no such data", name=f"c.{suffix}"))


def test_bytes_that_look_like_a_message_within_one_are_none(tmp_path):
    # Order id 0x0013 44 …: a zero, the length of a delete, and its kind.
    trap = added(OPEN_NS, int.from_bytes(b"\0\x13D" + b"\0\x13D" + b"\0\x13", "big"), "buy", 0x00134400, 0x00134400)
    feed = load_itch(written(tmp_path, HEAD, trap, trap, deleted(OPEN_NS, 0x0013440013440013), END))
    assert feed.messages["kind"].tolist() == [b"A", b"A", b"D"]


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (struct.pack(">H", 3) + b"Z12", "a kind of ITCH 5.0 was expected, 3 bytes of kind 'Z' were found"),
        (struct.pack(">H", 20) + ORDER[2:22], "36 bytes of kind 'A' were expected, 20 bytes of kind 'A' were found"),
        (struct.pack(">H", 300) + b"A" * 300, "36 bytes of kind 'A' were expected, 300 bytes of kind 'A' were found"),
        (added(OPEN_NS, 0, "buy", 1, 1), "an order id from 1 to"),
        (added(OPEN_NS, 2**63, "buy", 1, 1), "an order id from 1 to"),
        (added(OPEN_NS, 3, "up", 1, 1), "a side of B or S was expected as side, b'U' was found"),
        (added(OPEN_NS, 3, "buy", 0, 1), "1 share or more was expected as qty, 0 was found"),
        (added(OPEN_NS, 3, "buy", 1, 0), "a price of 1 or more"),
        (added(OPEN_NS - 1, 3, "buy", 1, 1), "a time not before"),
        (added(86_400 * 10**9, 3, "buy", 1, 1), "a time within the day"),
        (replaced(OPEN_NS, 7, 0, 1, 1), "a new order id"),
        (executed(OPEN_NS, 7, 0, 1), "1 share or more"),
    ],
)
def test_a_wrong_message_is_named_by_its_byte_or_left_out(tmp_path, bad, expected):
    path = written(tmp_path, HEAD, ORDER, bad, deleted(OPEN_NS, 7), END)
    with pytest.raises(InputFileError) as caught:
        load_itch(path)
    place = len(HEAD) + len(ORDER)
    assert str(caught.value).startswith(f"{path}, byte {place}: ")
    assert expected in str(caught.value)
    assert caught.value.offset == place
    feed = load_itch(path, errors="skip")
    assert (feed.messages["kind"].tolist(), feed.skipped) == ([b"A", b"D"], 1)
    assert feed.complaints == (str(caught.value),)


def plainly(raw):
    """Follow the frames one by one: where sound messages begin, and how many are not sound."""
    places, at, wrong = [], 0, 0
    while at + 2 <= len(raw):
        length = int.from_bytes(raw[at : at + 2], "big")
        if not length:
            return places, wrong + (at + 2 < len(raw))
        if at + 2 + length > len(raw):
            break
        if itch.LENGTHS.get(raw[at + 2]) == length:
            places.append(at)
        else:
            wrong += 1
        at += 2 + length
    return places, wrong + (at < len(raw))


@pytest.mark.parametrize("seed", range(12))
def test_damaged_files_are_read_as_a_plain_loop_reads_them(tmp_path, monkeypatch, seed):
    chance = np.random.default_rng(seed)
    raw = bytearray(Day(seed).run(60)[0])
    for _ in range(40):
        hurt = bytearray(raw)
        for place in chance.integers(0, len(raw), chance.integers(1, 6)).tolist():
            hurt[place] = chance.choice([0, 0x13, ord("D"), 0x24, ord("A"), 0xFF, chance.integers(0, 256)])
        monkeypatch.setattr(itch, "_PIECE_BYTES", int(chance.integers(1, 4_000)))
        day = itch._Day(tmp_path, "AAPL", itch.Complaints("skip"))
        due, wrong = plainly(bytes(hurt))
        left = b""
        pieces = [bytes(hurt[at : at + itch._PIECE_BYTES]) for at in range(0, len(hurt), itch._PIECE_BYTES)]
        for piece in pieces:
            left = day.take(left + piece)
        with nullcontext() if due else pytest.raises(InputFileError, match="none was found"):
            day.finish(left)
        assert (day.total, day.complaints.skipped) == (len(due), wrong)


def test_a_file_cut_at_any_byte_is_an_error_or_its_last_message_is_skipped(tmp_path):
    raw = HEAD + ORDER + deleted(OPEN_NS, 7)
    ends = {len(HEAD): 0, len(HEAD + ORDER): 1, len(raw): 2}
    for size in range(len(HEAD), len(raw) + 1):
        path = written(tmp_path, raw[:size])
        feed = load_itch(path, errors="skip")
        assert feed.skipped == (size not in ends)
        assert len(feed.messages) == max(count for end, count in ends.items() if end <= size)
        if size not in ends:
            with pytest.raises(InputFileError, match=r", byte \d+: a message of .* was expected, the file ends after"):
                load_itch(path)


def test_what_stands_behind_the_end_of_the_session_is_wrong(tmp_path, monkeypatch):
    path = written(tmp_path, HEAD, ORDER, END, ORDER, ORDER)
    monkeypatch.setattr(itch, "_PIECE_BYTES", 16)
    with pytest.raises(InputFileError, match=f"nothing was expected .* {2 * len(ORDER)} bytes were found"):
        load_itch(path)
    assert load_itch(path, errors="skip").skipped == 1


def test_an_excerpt_without_a_directory_is_understood_by_the_names_in_its_orders(tmp_path):
    other = added(OPEN_NS, 5, "buy", 1, 1, name="MSFT", locate=OTHER)
    feed = load_itch(written(tmp_path, other, state(OPEN_NS, "T"), ORDER))
    assert feed.messages["order_id"].tolist() == [7]
    assert len(feed.directory) == 0
    assert load_itch(written(tmp_path, other, ORDER), stock="MSFT").messages["order_id"].tolist() == [5]


def test_an_unknown_stock_is_an_error_that_names_some(tmp_path):
    path = written(tmp_path, HEAD, directory("MSFT", OTHER))
    with pytest.raises(InputFileError, match="'AAPLE' was found; there are 2, as AAPL"):
        load_itch(path, stock="AAPLE", errors="skip")
    with pytest.raises(InputFileError, match="as AAPL, MSFT"):
        load_itch(path, stock="Z")


@pytest.mark.parametrize("stock", ["", "  ", "TOOLONGNAME", "ÄÖ", None, 5, b"AAPL"])
def test_what_can_be_no_stock_is_misuse(tmp_path, stock):
    with pytest.raises(MisuseError, match="stock was"):
        load_itch(tmp_path / "absent", stock=stock)


@pytest.mark.parametrize("content", [b"", b"\0", END, b"a text is no such file, of course", b"\0\x0cS"])
def test_a_file_without_a_message_is_an_error_under_skip_too(tmp_path, content):
    for errors in ("raise", "skip"):
        with pytest.raises(InputFileError, match=r"day\.itch"):
            load_itch(written(tmp_path, content), errors=errors)


def test_progress_is_told_and_an_absent_file_named(tmp_path):
    told = []
    path = written(tmp_path, HEAD, ORDER)
    load_itch(path, progress=lambda *one: told.append(one))
    assert told[-1] == (path.stat().st_size,) * 2
    with pytest.raises(InputFileError, match="readable"):
        load_itch(tmp_path / "absent")


def test_a_real_days_beginning_is_read_up_to_where_it_is_cut(venue_file):
    path = venue_file("data/itch-tiny/sample.itch")
    with pytest.raises(InputFileError, match="byte 4081: a message of 2 \\+ 39 bytes was expected, the file ends after 15"):
        load_itch(path)
    feed = load_itch(path, errors="skip")
    assert (feed.total, feed.skipped, len(feed.directory), len(feed.messages)) == (101, 1, 98, 0)
    assert (feed.directory["stock"][0], feed.directory["round_lot"][0]) == (b"A", 100)
    assert load_itch(path, errors="skip", stock="A").states["state"].tolist() == [b"T"]
