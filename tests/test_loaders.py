"""The loaders read what the venues wrote, to the last unit, and name the line of whatever they did not.

Every kind of damage is made here, in files of a few lines: a wrong cell of every column, a file that
is missing, empty, binary, torn inside its compression, or of another format. The real files, where
they are present, must read as their descriptions say.
"""

from __future__ import annotations

import gzip
import lzma
from typing import TYPE_CHECKING

import pytest

from rightsx.errors import InputFileError
from rightsx.loaders.bitstamp import BitstampEvent, BitstampTrade, load_bitstamp
from rightsx.loaders.lobster import LobsterMessage, LobsterRow, load_lobster
from rightsx.loaders.text import decimal_units

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEAD = "id,timestamp,exchange.timestamp,price,volume,action,direction"
ROW = "65595247,1430438404518,1430438404000,236.47,200000000,created,bid"
LOG = (
    '1430438404518 order_created {"price": "236.47", "amount": "2.00000000", "datetime": "1430438404", "id": 7, "order_type": 0}'
)
TRADE = '1430438404645 trade {"price": 236.34999999999999, "amount": 1.7885566900000001, "id": 8111041}'
BOOK = '1430438405885 order_book {"bids": [["236.47", "1.78855669"]], "asks": []}'
MESSAGE = "34200.004241176,1,16113575,18,5853300,1"
LEVELS = "5859400,200,5853300,18,5859800,200,5853000,150"


def written(path: Path, *lines: str) -> Path:
    """Write lines to a file and give its path."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def complaint(path: Path, load: Callable[[Path], object]) -> InputFileError:
    """Load a wrong file and give the error, which must be one line."""
    with pytest.raises(InputFileError) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(caught.value.path))
    return caught.value


# ── numbers ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "places", "units"),
    [
        ("236.47", 2, 23647),
        ("236", 2, 23600),
        ("0.00000001", 8, 1),
        ("2.50", 1, 25),
        ("0", 8, 0),
        ("99999999.99999999", 8, 10**16 - 1),
    ],
)
def test_a_decimal_is_read_exactly(text: str, places: int, units: int) -> None:
    """No digit is lost, and none is invented."""
    assert decimal_units(text, places) == units


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", "1.", ".5", "1e2", "1,5", "1_0", " 1", "nan", "inf", "0x1", "٣", "1.005", "9" * 19]
)
def test_what_is_not_a_whole_count_of_units_is_none(text: str) -> None:
    """Neither signs nor exponents nor finer decimals pass."""
    assert decimal_units(text, 2) is None


def test_a_decimal_left_by_a_binary_float_is_read_to_the_nearest_unit() -> None:
    """The log's trades carry 17 digits of a float, and small ones an exponent."""
    assert decimal_units("236.34999999999999", 2, nearest=True) == 23635
    assert decimal_units("9.9999999999999995e-07", 8, nearest=True) == 100
    assert decimal_units("1e3", 2, nearest=True) == 100_000


def test_a_decimal_between_two_units_has_no_nearest() -> None:
    """Rounding is for what a float left, not for half a cent."""
    assert decimal_units("236.475", 2, nearest=True) is None
    assert decimal_units("236.4701", 2, nearest=True) is None


def test_a_decimal_beyond_64_bits_is_none() -> None:
    """What would not fit a record is wrong already here."""
    assert decimal_units("9223372036854775807", 0) is None
    assert decimal_units("922337203685477580", 1) == 9_223_372_036_854_775_800
    assert decimal_units("922337203685477581", 1) is None


# ── Bitstamp ─────────────────────────────────────────────────────────────────────────────────────

EVENT = BitstampEvent(2, 1430438404518 * 10**6, 1430438404 * 10**9, "created", 65595247, "buy", 23647, 200000000)


def test_an_event_list_becomes_integer_rows(tmp_path: Path) -> None:
    """Prices are cents, volumes 1e-8 BTC, times ns."""
    feed = load_bitstamp(written(tmp_path / "orders.csv", HEAD, ROW))
    assert feed.events == [EVENT]
    assert (feed.trades, feed.tolerance_units) == (None, 2)


@pytest.mark.parametrize(("suffix", "squeeze"), [(".xz", lzma.compress), (".gz", gzip.compress)])
def test_a_compressed_file_reads_like_the_plain_one(tmp_path: Path, suffix: str, squeeze: Callable[[bytes], bytes]) -> None:
    """The suffix tells the compression."""
    path = tmp_path / f"orders.csv{suffix}"
    path.write_bytes(squeeze(f"{HEAD}\r\n{ROW}".encode()))
    assert load_bitstamp(path).events == [EVENT]


def test_a_log_is_told_by_its_first_line(tmp_path: Path) -> None:
    """Orders, the venue's own trades, and how many snapshots went by."""
    feed = load_bitstamp(written(tmp_path / "day.log", LOG, TRADE, BOOK))
    assert feed.events == [EVENT._replace(line=1, order_id=7)]
    assert feed.trades == [BitstampTrade(2, 1430438404645 * 10**6, 8111041, 23635, 178855669)]
    assert (feed.snapshot_count, feed.tolerance_units) == (1, 0)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (ROW + ",x", "7 columns were expected, 8 were found"),
        ("", "7 columns were expected, 1 were found"),
        (ROW.replace("65595247", "x"), "integer id"),
        (ROW.replace("65595247", "0"), "positive integer id"),
        (ROW.replace("1430438404518", "1.5"), "timestamp in ms"),
        (ROW.replace("1430438404000", ""), "exchange.timestamp in ms"),
        (ROW.replace("236.47", "236.475"), "at most 2 decimals"),
        (ROW.replace("236.47", "0.00"), "positive price"),
        (ROW.replace("236.47", "-236.47"), "positive price"),
        (ROW.replace("200000000", "-1"), "non-negative integer volume"),
        (ROW.replace("200000000", "2e8"), "non-negative integer volume"),
        (ROW.replace("created", "moved"), "created, changed, deleted was expected, 'moved' was found"),
        (ROW.replace("bid", "buy"), "bid, ask was expected, 'buy' was found"),
        (ROW.replace("1430438404518", "1430438404517"), "a time not before the previous row's"),
    ],
)
def test_a_wrong_row_of_an_event_list_is_named_with_its_line(tmp_path: Path, row: str, expected: str) -> None:
    """One wrong cell of every column; the row before it is right."""
    error = complaint(written(tmp_path / "orders.csv", HEAD, ROW, row), load_bitstamp)
    assert error.line == 3
    assert expected in error.expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("x", "milliseconds kind {json}"),
        (LOG.replace("order_created", "order_moved"), "order_deleted, order_book or trade was expected, 'order_moved'"),
        (LOG.replace('"id": 7', '"id": '), "a JSON object was expected"),
        (LOG.replace('"id": 7', '"id": ' + "9" * 5000), "a JSON object was expected"),
        (LOG.replace('"id": 7', '"id": true'), "a number was expected as 'id', True was found"),
        (LOG.replace('"id": 7', '"id": 7.5'), "integer id"),
        (LOG.replace('"id": 7, ', ""), "a number was expected as 'id', None was found"),
        (LOG.replace("236.47", "NaN"), "positive price"),
        (LOG.replace('"2.00000000"', '"2.000000001"'), "at most 8 decimals"),
        (LOG.replace('"1430438404"', '"soon"'), "datetime in seconds"),
        (LOG.replace('"order_type": 0', '"order_type": 2'), "order_type of 0 (buy) or 1 (sell)"),
        (LOG.replace("1430438404518", "1430438404517"), "a time not before the previous row's"),
        (TRADE.replace("236.34999999999999", "236.345"), "whole cents"),
        (TRADE.replace("1.7885566900000001", "0"), "positive trade amount"),
        (TRADE.replace("8111041", "-1"), "positive integer trade id"),
        (BOOK.replace("[]", "0"), "lists of bids and asks"),
    ],
)
def test_a_wrong_line_of_a_log_is_named_with_its_line(tmp_path: Path, line: str, expected: str) -> None:
    """One wrong value of every key; the line before it is right."""
    error = complaint(written(tmp_path / "day.log", LOG, line), load_bitstamp)
    assert error.line == 2
    assert expected in error.expected


def test_another_format_is_told_by_its_first_line(tmp_path: Path) -> None:
    """The error says both first lines that would have been right."""
    error = complaint(written(tmp_path / "orders.csv", "id,price", ROW), load_bitstamp)
    assert error.line == 1
    assert HEAD in error.expected
    assert "order_created" in error.expected


def test_a_header_without_rows_is_an_error(tmp_path: Path) -> None:
    """Nothing to replay is not a success."""
    assert complaint(written(tmp_path / "orders.csv", HEAD), load_bitstamp).line == 2


def test_a_log_without_orders_is_an_error(tmp_path: Path) -> None:
    """Trades alone cannot drive a book."""
    assert "at least one order event" in complaint(written(tmp_path / "day.log", TRADE), load_bitstamp).expected


# ── any file ─────────────────────────────────────────────────────────────────────────────────────

MESSAGE_NAME = "X_message_2.csv"


@pytest.mark.parametrize(("name", "load"), [("orders.csv", load_bitstamp), (MESSAGE_NAME, load_lobster)])
def test_a_missing_empty_or_binary_file_is_one_clear_line(tmp_path: Path, name: str, load: Callable[[Path], object]) -> None:
    """The same words whatever the format."""
    path = tmp_path / name
    assert "a readable file was expected: No such file" in complaint(path, load).expected
    path.write_bytes(b"")
    assert "the file is empty" in complaint(path, load).expected
    path.write_bytes(b"\x7fELF\x00\x01")
    assert "binary file" in complaint(path, load).expected
    path.write_bytes(b"caf\xe9,1\n")
    assert "UTF-8" in complaint(path, load).expected
    path.write_bytes(b"1" * (1 << 20))
    assert "binary file" in complaint(path, load).expected


def test_a_directory_is_not_a_file(tmp_path: Path) -> None:
    """The system's own reason is passed on."""
    assert "a readable file was expected" in complaint(tmp_path, load_bitstamp).expected


@pytest.mark.parametrize(("suffix", "squeeze"), [(".xz", lzma.compress), (".gz", gzip.compress)])
def test_a_torn_compressed_file_says_that_it_ends_too_early(
    tmp_path: Path, suffix: str, squeeze: Callable[[bytes], bytes]
) -> None:
    """Torn at many places: never a traceback, never a silent half."""
    whole = squeeze("\n".join([HEAD, *[ROW.replace("65595247", str(k * 7919)) for k in range(1, 400)]]).encode())
    path = tmp_path / f"orders.csv{suffix}"
    for size in range(2, len(whole), 97):
        path.write_bytes(whole[:size])
        assert "the compressed data end too early" in complaint(path, load_bitstamp).expected


@pytest.mark.parametrize("suffix", [".xz", ".gz"])
def test_a_file_that_is_not_what_its_suffix_says_is_an_error(tmp_path: Path, suffix: str) -> None:
    """Plain text under a compressed name."""
    error = complaint(written(tmp_path / f"orders.csv{suffix}", HEAD, ROW, ROW), load_bitstamp)
    assert f"sound {suffix} data were expected" in error.expected


# ── LOBSTER ──────────────────────────────────────────────────────────────────────────────────────


def pair(path: Path, messages: list[str], rows: list[str]) -> Path:
    """Write a message file and its orderbook file."""
    written(path / "X_orderbook_2.csv", *rows)
    return written(path / MESSAGE_NAME, *messages)


def test_a_lobster_pair_becomes_integer_rows(tmp_path: Path) -> None:
    """Empty levels are left out, and the time is exact to the nanosecond."""
    feed = load_lobster(pair(tmp_path, [MESSAGE, MESSAGE], [LEVELS, LEVELS.replace("5853000,150", "-9999999999,0")]))
    assert feed.messages[0] == LobsterMessage(1, 34200_004241176, 1, 16113575, 18, 5853300, "buy")
    assert feed.rows[0] == LobsterRow(((5853300, 18), (5853000, 150)), ((5859400, 200), (5859800, 200)))
    assert feed.rows[1].bids == ((5853300, 18),)
    assert (feed.level_count, feed.book_path.name) == (2, "X_orderbook_2.csv")


def test_a_halt_may_carry_a_code_for_its_price(tmp_path: Path) -> None:
    """Types 5 to 7 are about no order."""
    feed = load_lobster(pair(tmp_path, ["34200.5,7,0,0,-1,-1"], [LEVELS]))
    assert feed.messages[0].price == -1


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (MESSAGE + ",1", "6 columns (time, type, id, size, price, direction) were expected, 7 were found"),
        (MESSAGE.replace("34200.004241176", "34200.0042411765"), "at most 9 decimals"),
        (MESSAGE.replace("34200.", "34199."), "a time not before the previous row's"),
        (MESSAGE.replace(",1,1", ",0,1"), "message type from 1 to 7"),
        (MESSAGE.replace(",1,1", ",8,1"), "message type from 1 to 7"),
        (MESSAGE.replace("16113575", "0"), "order id"),
        (MESSAGE.replace(",18,", ",0,"), "integer size, positive for types 1 to 4"),
        (MESSAGE.replace(",18,", ",1.5,"), "integer size"),
        (MESSAGE.replace("5853300", "-1"), "integer price in 1/10,000 dollar"),
        (MESSAGE[:-1] + "0", "direction of 1 (buy) or -1 (sell) was expected, '0' was found"),
    ],
)
def test_a_wrong_message_is_named_with_its_line(tmp_path: Path, row: str, expected: str) -> None:
    """One wrong cell of every column; the message before it is right."""
    error = complaint(pair(tmp_path, [MESSAGE, row], [LEVELS, LEVELS]), load_lobster)
    assert (error.line, error.path) == (2, tmp_path / MESSAGE_NAME)
    assert expected in error.expected


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (LEVELS + ",1", "8 columns were expected as in the first row, 9 were found"),
        (LEVELS.replace("200", "x", 1), "an integer was expected, 'x' was found"),
        (LEVELS.replace(",18,", ",-18,"), "a non-negative size was expected, -18 was found"),
        (LEVELS.replace("5859800", "5859400"), "asks with rising and bids with falling prices"),
        (LEVELS.replace("5853000", "5853400"), "asks with rising and bids with falling prices"),
        (LEVELS.replace("5853300", "5859400"), "a best bid below the best ask was expected, 5859400 and 5859400 were found"),
    ],
)
def test_a_wrong_row_of_levels_is_named_with_its_line(tmp_path: Path, row: str, expected: str) -> None:
    """A crossed, unsorted, short or negative row cannot be a book."""
    error = complaint(pair(tmp_path, [MESSAGE, MESSAGE], [LEVELS, row]), load_lobster)
    assert (error.line, error.path) == (2, tmp_path / "X_orderbook_2.csv")
    assert expected in error.expected


def test_the_first_row_of_levels_decides_the_columns(tmp_path: Path) -> None:
    """Four columns a level."""
    error = complaint(pair(tmp_path, [MESSAGE], ["1,2,3"]), load_lobster)
    assert "a multiple of 4 columns" in error.expected


def test_a_missing_orderbook_file_is_named(tmp_path: Path) -> None:
    """The error names the file that is due, not the one that was given."""
    error = complaint(written(tmp_path / MESSAGE_NAME, MESSAGE), load_lobster)
    assert error.path == tmp_path / "X_orderbook_2.csv"
    assert MESSAGE_NAME in error.expected


@pytest.mark.parametrize(("messages", "rows", "line"), [(2, 1, 2), (1, 2, 2)])
def test_a_pair_of_different_length_is_an_error(tmp_path: Path, messages: int, rows: int, line: int) -> None:
    """Each message has its row."""
    error = complaint(pair(tmp_path, [MESSAGE] * messages, [LEVELS] * rows), load_lobster)
    assert error.line == line
    assert f"{messages} rows were expected" in error.expected


def test_a_file_that_is_not_named_like_a_message_file_is_an_error(tmp_path: Path) -> None:
    """The orderbook file itself, for example."""
    assert "_message_10.csv" in complaint(written(tmp_path / "X_orderbook_2.csv", LEVELS), load_lobster).expected


# ── the real files ───────────────────────────────────────────────────────────────────────────────


def test_the_real_event_list_and_log_tell_the_same_events(venue_file: Callable[[str], Path]) -> None:
    """Line by line, but for the volumes that the event list cut one unit short."""
    short = load_bitstamp(venue_file("data/bitstamp-ob-analytics/orders.csv.xz"))
    raw = load_bitstamp(venue_file("data/bitstamp-ob-analytics/2015-05-01.log.xz"))
    assert len(short.events) == len(raw.events) == 50_414
    assert raw.trades is not None
    assert (len(raw.trades), raw.snapshot_count) == (575, 5_011)
    assert [row[1:-1] for row in short.events] == [row[1:-1] for row in raw.events]
    differences = [exact.qty - cut.qty for exact, cut in zip(raw.events, short.events, strict=True)]
    assert {value: differences.count(value) for value in set(differences)} == {0: 46_348, 1: 4_066}


def test_the_real_lobster_pair_has_999_rows(venue_file: Callable[[str], Path]) -> None:
    """Ten levels a side, all full."""
    feed = load_lobster(venue_file("data/lobster-aapl-l10-excerpt/AAPL_2012-06-21_34200000_57600000_message_10.csv"))
    assert len(feed.messages) == len(feed.rows) == 999
    assert {(len(row.bids), len(row.asks)) for row in feed.rows} == {(10, 10)}
