"""Reads the order flow of other venues into plain integer rows: Bitstamp's websocket and LOBSTER.

    orders.csv[.xz|.gz]            id,timestamp,exchange.timestamp,price,volume,action,direction
    2015-05-01.log[.xz|.gz]        1430438404518 order_created {"price": "236.47", "amount": …}
    …_message_10.csv               34200.004241176,1,16113575,18,5853300,1
    …_orderbook_10.csv             5859400,200,5853300,18,5859800,200,… (ask, qty, bid, qty; best first)

A loader believes nothing: every row is checked for its columns, its integers, its words and its time,
and the first wrong one is an `InputFileError` with file, line and what was due there. So is a file
that is missing, empty, binary, cut off inside its compression, or of another format.

No number passes through a float. A decimal such as "236.47" is taken apart as text and becomes 23647
units; more digits than the unit has are an error. The one exception are the trades of the Bitstamp
log, which its recorder wrote from binary floats ("1.7885566900000001"): they are read to the nearest
unit and must lie within a ten-thousandth of it.

Units: Bitstamp prices are cents and quantities 1e-8 BTC; LOBSTER prices are 1/10,000 dollar and
quantities shares; times are ns (Bitstamp since 1970, LOBSTER since midnight). The volumes of
orders.csv went through a binary float that was cut, not rounded, so one in twelve is a unit too low;
`BitstampFeed.tolerance_units` says so to whoever compares them.

Everything is read into memory: about 200 bytes a row. O(rows).
"""

from __future__ import annotations

import gzip
import json
import lzma
import re
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from rightsx.errors import InputFileError

if TYPE_CHECKING:
    from collections.abc import Iterator

LINE_BYTES_MAX: Final = 1 << 20
FOUND_CHARACTERS: Final = 60  # of a wrong cell, so that a complaint stays one line
INT64_END: Final = 1 << 63

# ── rows ─────────────────────────────────────────────────────────────────────────────────────────


class BitstampEvent(NamedTuple):
    """One report about one order; `qty` is what is open of it after the event.

    `action` is created, changed or deleted; `side` is buy or sell; `line` is where the file says so.
    """

    line: int
    time_ns: int
    venue_time_ns: int
    action: str
    order_id: int
    side: str
    price: int
    qty: int


class BitstampTrade(NamedTuple):
    """One trade that the venue printed."""

    line: int
    time_ns: int
    trade_id: int
    price: int
    qty: int


class BitstampFeed(NamedTuple):
    """A whole Bitstamp file. `trades` is None where the format has none (orders.csv).

    `tolerance_units` is how far two volumes of this file may differ and still mean the same.
    """

    path: Path
    events: list[BitstampEvent]
    trades: list[BitstampTrade] | None
    snapshot_count: int
    tolerance_units: int


class LobsterMessage(NamedTuple):
    """One LOBSTER message; `side` is that of the resting order it is about.

    `kind` is 1 new, 2 partial cancel, 3 delete, 4 execution, 5 hidden execution, 6 cross, 7 halt.
    """

    line: int
    time_ns: int
    kind: int
    order_id: int
    qty: int
    price: int
    side: str


class LobsterRow(NamedTuple):
    """The best levels after a message, best first, as (price, qty); empty levels are left out."""

    bids: tuple[tuple[int, int], ...]
    asks: tuple[tuple[int, int], ...]


class LobsterFeed(NamedTuple):
    """A LOBSTER pair: `rows[i]` is the book after `messages[i]`, at most `level_count` levels a side."""

    path: Path
    book_path: Path
    messages: list[LobsterMessage]
    rows: list[LobsterRow]
    level_count: int


# ── numbers ──────────────────────────────────────────────────────────────────────────────────────

_DECIMAL: Final = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,40}))?(?:[eE]([+-]?[0-9]{1,2}))?")
_INTEGER: Final = re.compile(r"-?[0-9]{1,18}")
NEAREST_PARTS: Final = 10_000  # a number written from a binary float is this close to what it means


def decimal_units(text: str, places: int, *, nearest: bool = False) -> int | None:
    """Read a non-negative decimal as a count of 10^-`places`, or None if it is not exactly one.

    `nearest` reads what a binary float left behind: an exponent is allowed, and the number may be off
    by a ten-thousandth of a unit.

    >>> decimal_units("236.47", 2), decimal_units("236.475", 2), decimal_units("1.7885566900000001", 8, nearest=True)
    (23647, None, 178855669)
    """
    parts = _DECIMAL.fullmatch(text)
    if parts is None or (parts[3] and not nearest):
        return None
    fraction = parts[2] or ""
    power = places - len(fraction) + int(parts[3] or 0)
    digits = int(parts[1] + fraction)
    numerator, denominator = (digits * 10**power, 1) if power >= 0 else (digits, 10**-power)
    units = (2 * numerator + denominator) // (2 * denominator)
    slack = abs(numerator - units * denominator) * NEAREST_PARTS
    if slack > (denominator if nearest else 0) or units >= INT64_END:
        return None
    return units


def _whole(text: str) -> int | None:
    """Read an integer of at most 18 digits, or None: `int` alone would also take "1_000" and " 7"."""
    return int(text) if _INTEGER.fullmatch(text) else None


# ── lines ────────────────────────────────────────────────────────────────────────────────────────


def _open(path: Path) -> IO[bytes] | lzma.LZMAFile | gzip.GzipFile:
    if path.suffix == ".xz":
        return lzma.open(path, "rb")
    if path.suffix == ".gz":
        return gzip.open(path, "rb")
    return path.open("rb")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, text without its end) of every line; whatever cannot be read is one clear error."""
    number = 0
    try:
        with _open(path) as file:
            while raw := file.readline(LINE_BYTES_MAX):
                number += 1
                if b"\0" in raw or len(raw) == LINE_BYTES_MAX:
                    raise InputFileError(path, number, "a line of text was expected; this looks like a binary file")
                yield number, raw.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise InputFileError(path, number, "UTF-8 text was expected; this looks like a binary file") from error
    except EOFError as error:
        raise InputFileError(path, number + 1, "the compressed data end too early; the whole file was expected") from error
    except (lzma.LZMAError, gzip.BadGzipFile, zlib.error) as error:
        raise InputFileError(path, number + 1, f"sound {path.suffix} data were expected: {error}") from error
    except OSError as error:
        raise InputFileError(path, 0, f"a readable file was expected: {error.strerror or error}") from error
    if not number:
        raise InputFileError(path, 0, "the file is empty; at least one row was expected")


class _Place:
    """Where a loader is, so that every complaint names file and line; `due` checks one value."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.line = 0
        self._last_ns = 0

    def wrong(self, expected: str) -> NoReturn:
        raise InputFileError(self.path, self.line, expected)

    def due(self, value: int | None, found: object, expected: str, least: int = 0) -> int:
        if value is None or value < least:
            shown = repr(found)
            self.wrong(f"{expected} was expected, {shown[:FOUND_CHARACTERS]}{'…' * (len(shown) > FOUND_CHARACTERS)} was found")
        return value

    def time(self, value: int) -> int:
        if value < self._last_ns:
            self.wrong(f"a time not before the previous row's ({self._last_ns} ns) was expected, {value} ns was found")
        self._last_ns = value
        return value


# ── Bitstamp ─────────────────────────────────────────────────────────────────────────────────────

_CSV_HEAD: Final = "id,timestamp,exchange.timestamp,price,volume,action,direction"
_CSV_SIDES: Final = {"bid": "buy", "ask": "sell"}
_CSV_TOLERANCE: Final = 2  # a fill is the difference of two volumes, each at most one unit too low, seen from two sides
_LOG_LINE: Final = re.compile(r"([0-9]{1,15}) ([a-z_]+) (\{.*\})")
_LOG_SIDES: Final = ("buy", "sell")
_ACTIONS: Final = ("created", "changed", "deleted")
_MS: Final = 1_000_000
_SECOND: Final = 1_000_000_000


def load_bitstamp(path: Path | str) -> BitstampFeed:
    """Read a Bitstamp event list (`orders.csv`) or raw websocket log; the first line tells which.

    Raises `InputFileError` for the first line that is wrong. O(rows).
    """
    place = _Place(Path(path))
    lines = _lines(place.path)
    place.line, first = next(lines)
    if first == _CSV_HEAD:
        events = []
        for place.line, text in lines:
            events.append(_csv_event(place, text))
        if not events:
            place.line += 1
            place.wrong("a row of events was expected after the header")
        return BitstampFeed(place.path, events, None, 0, _CSV_TOLERANCE)
    if not _LOG_LINE.fullmatch(first):
        place.wrong(f'the header "{_CSV_HEAD}" or a log line such as "1430438404518 order_created {{…}}" was expected')
    return _load_log(place, first, lines)


def _csv_event(place: _Place, text: str) -> BitstampEvent:
    cells = text.split(",")
    columns = _CSV_HEAD.count(",") + 1
    if len(cells) != columns:
        place.wrong(f"{columns} columns were expected, {len(cells)} were found")
    order_id, time, venue_time, price, volume, action, direction = cells
    if action not in _ACTIONS:
        place.wrong(f"an action of {', '.join(_ACTIONS)} was expected, {action!r} was found")
    if direction not in _CSV_SIDES:
        place.wrong(f"a direction of {', '.join(_CSV_SIDES)} was expected, {direction!r} was found")
    return BitstampEvent(
        line=place.line,
        order_id=place.due(_whole(order_id), order_id, "a positive integer id", 1),
        time_ns=place.time(place.due(_whole(time), time, "a timestamp in ms") * _MS),
        venue_time_ns=place.due(_whole(venue_time), venue_time, "an exchange.timestamp in ms") * _MS,
        price=place.due(decimal_units(price, 2), price, "a positive price in dollars with at most 2 decimals", 1),
        qty=place.due(_whole(volume), volume, "a non-negative integer volume in 1e-8 BTC"),
        action=action,
        side=_CSV_SIDES[direction],
    )


def _load_log(place: _Place, first: str, lines: Iterator[tuple[int, str]]) -> BitstampFeed:
    events: list[BitstampEvent] = []
    trades: list[BitstampTrade] = []
    snapshot_count = 0
    text: str | None = first
    while text is not None:
        time_ns, kind, payload = _log_line(place, text)
        if kind == "trade":
            trades.append(_log_trade(place, time_ns, payload))
        elif kind == "order_book":
            if not isinstance(payload.get("bids"), list) or not isinstance(payload.get("asks"), list):
                place.wrong("lists of bids and asks were expected in an order_book")
            snapshot_count += 1
        elif kind.removeprefix("order_") in _ACTIONS:
            events.append(_log_event(place, time_ns, kind.removeprefix("order_"), payload))
        else:
            place.wrong(f"order_created, order_changed, order_deleted, order_book or trade was expected, {kind!r} was found")
        place.line, text = next(lines, (place.line, None))
    if not events:
        place.wrong("at least one order event was expected in the log")
    return BitstampFeed(place.path, events, trades, snapshot_count, 0)


def _log_line(place: _Place, text: str) -> tuple[int, str, dict[str, Any]]:
    parts = _LOG_LINE.fullmatch(text)
    if parts is None:
        place.wrong('a log line "milliseconds kind {json}" was expected')
    try:
        payload = json.loads(parts[3], parse_float=str, parse_constant=str)
    except (ValueError, RecursionError) as error:
        raise InputFileError(place.path, place.line, f"a JSON object was expected after the kind: {error}") from error
    return place.time(int(parts[1]) * _MS), parts[2], payload


def _json_number(place: _Place, payload: dict[str, Any], key: str) -> str:
    """Give a JSON number, or a number in a JSON string, as its text."""
    value = payload.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        place.wrong(f"a number was expected as {key!r}, {value!r} was found")
    return str(value)


def _log_event(place: _Place, time_ns: int, action: str, payload: dict[str, Any]) -> BitstampEvent:
    order_id, price, amount, time, side = (
        _json_number(place, payload, key) for key in ("id", "price", "amount", "datetime", "order_type")
    )
    if side not in ("0", "1"):
        place.wrong(f"an order_type of 0 (buy) or 1 (sell) was expected, {side!r} was found")
    return BitstampEvent(
        line=place.line,
        order_id=place.due(_whole(order_id), order_id, "a positive integer id", 1),
        time_ns=time_ns,
        venue_time_ns=place.due(_whole(time), time, "a datetime in seconds") * _SECOND,
        price=place.due(decimal_units(price, 2), price, "a positive price in dollars with at most 2 decimals", 1),
        qty=place.due(decimal_units(amount, 8), amount, "an amount of BTC with at most 8 decimals"),
        action=action,
        side=_LOG_SIDES[int(side)],
    )


def _log_trade(place: _Place, time_ns: int, payload: dict[str, Any]) -> BitstampTrade:
    trade_id, price, amount = (_json_number(place, payload, key) for key in ("id", "price", "amount"))
    return BitstampTrade(
        line=place.line,
        time_ns=time_ns,
        trade_id=place.due(_whole(trade_id), trade_id, "a positive integer trade id", 1),
        price=place.due(decimal_units(price, 2, nearest=True), price, "a positive trade price in whole cents", 1),
        qty=place.due(decimal_units(amount, 8, nearest=True), amount, "a positive trade amount in whole 1e-8 BTC", 1),
    )


# ── LOBSTER ──────────────────────────────────────────────────────────────────────────────────────

KIND_NEW, KIND_REDUCE, KIND_DELETE, KIND_EXECUTE, KIND_HIDDEN, KIND_CROSS, KIND_HALT = range(1, 8)
_LOBSTER_SIDES: Final = {"1": "buy", "-1": "sell"}
_MESSAGE_COLUMNS: Final = 6
_LEVEL_COLUMNS: Final = 4


def load_lobster(path: Path | str) -> LobsterFeed:
    """Read a LOBSTER message file together with the orderbook file beside it.

    The pair is found by name (`_message_` becomes `_orderbook_`). Raises `InputFileError` for the
    first line that is wrong, a missing pair, and files of different length. O(rows).
    """
    place = _Place(Path(path))
    if "_message_" not in place.path.name:
        place.wrong("a LOBSTER message file was expected, named like AAPL_2012-06-21_34200000_57600000_message_10.csv")
    messages = []
    for line, text in _lines(place.path):
        place.line = line
        messages.append(_message(place, text))
    book_path = place.path.with_name(place.path.name.replace("_message_", "_orderbook_"))
    if not book_path.is_file():
        raise InputFileError(book_path, 0, f"the orderbook file that belongs to {place.path.name} was expected here")
    rows, level_count = _load_rows(_Place(book_path))
    if len(rows) != len(messages):
        expected = f"{len(messages)} rows were expected, one for each message, {len(rows)} were found"
        raise InputFileError(book_path, min(len(rows), len(messages)) + 1, expected)
    return LobsterFeed(place.path, book_path, messages, rows, level_count)


def _message(place: _Place, text: str) -> LobsterMessage:
    cells = text.split(",")
    if len(cells) != _MESSAGE_COLUMNS:
        place.wrong(f"{_MESSAGE_COLUMNS} columns (time, type, id, size, price, direction) were expected, {len(cells)} were found")
    time, kind, order_id, size, price, direction = cells
    kind_number = place.due(_whole(kind), kind, "a message type from 1 to 7", KIND_NEW)
    if kind_number > KIND_HALT:
        place.wrong(f"a message type from 1 to 7 was expected, {kind!r} was found")
    if direction not in _LOBSTER_SIDES:
        place.wrong(f"a direction of 1 (buy) or -1 (sell) was expected, {direction!r} was found")
    about_order = kind_number <= KIND_EXECUTE
    return LobsterMessage(
        line=place.line,
        time_ns=place.time(place.due(decimal_units(time, 9), time, "a time in seconds with at most 9 decimals")),
        kind=kind_number,
        order_id=place.due(_whole(order_id), order_id, "a non-negative integer order id", int(about_order)),
        qty=place.due(_whole(size), size, "an integer size, positive for types 1 to 4", int(about_order)),
        # A halt uses its price as a code, which may be -1.
        price=place.due(_whole(price), price, "an integer price in 1/10,000 dollar", -1 if kind_number == KIND_HALT else 1),
        side=_LOBSTER_SIDES[direction],
    )


def _load_rows(place: _Place) -> tuple[list[LobsterRow], int]:
    rows: list[LobsterRow] = []
    columns = 0
    for line, text in _lines(place.path):
        place.line = line
        cells = text.split(",")
        if not columns:
            columns = len(cells)
            if columns % _LEVEL_COLUMNS:
                place.wrong(f"a multiple of 4 columns (ask, size, bid, size) was expected, {columns} were found")
        if len(cells) != columns:
            place.wrong(f"{columns} columns were expected as in the first row, {len(cells)} were found")
        rows.append(_row(place, cells))
    return rows, columns // _LEVEL_COLUMNS


def _row(place: _Place, cells: list[str]) -> LobsterRow:
    numbers = [place.due(_whole(cell), cell, "an integer", -INT64_END) for cell in cells]
    if min(numbers[1::2]) < 0:
        place.wrong(f"a non-negative size was expected, {min(numbers[1::2])} was found")
    # An empty level has the size 0 and a price far out; it may only follow the full ones.
    asks, bids = (
        [(price, qty) for price, qty in zip(numbers[k::_LEVEL_COLUMNS], numbers[k + 1 :: _LEVEL_COLUMNS], strict=True) if qty]
        for k in (0, 2)
    )
    ask_prices, bid_prices = [price for price, _ in asks], [price for price, _ in bids]
    if ask_prices != sorted(set(ask_prices)) or bid_prices != sorted(set(bid_prices), reverse=True):
        place.wrong("asks with rising and bids with falling prices were expected")
    if asks and bids and ask_prices[0] <= bid_prices[0]:
        place.wrong(f"a best bid below the best ask was expected, {bid_prices[0]} and {ask_prices[0]} were found")
    return LobsterRow(tuple(bids), tuple(asks))
