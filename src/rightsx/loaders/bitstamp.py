"""Reads Bitstamp's order-level websocket, as ob-analytics and others recorded it.

    orders.csv[.xz|.gz]            id,timestamp,exchange.timestamp,price,volume,action,direction
    2015-05-01.log[.xz|.gz]        1430438404518 order_created {"price": "236.47", "amount": …}

The first line tells which. Prices are cents, quantities 1e-8 BTC, times ns since 1970. The one exception to exact decimals are
the trades of the log, which its recorder wrote from binary floats. The volumes of orders.csv went through a binary float that
was cut, not rounded, so one in twelve is a unit too low; `BitstampFeed.tolerance_units` says so to whoever compares them.

Everything is read into memory: about 200 bytes a row. O(rows).
"""

from __future__ import annotations

import json
import re
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rightsx.errors import InputFileError
from rightsx.loaders.text import Place, decimal_units, lines_of, whole
from rightsx.progress import following

if TYPE_CHECKING:
    from rightsx.progress import Progress

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

    `tolerance_units` is how far two volumes of this file may differ and still mean the same; `skipped` are lines that were
    left out as wrong, `complaints` the first few of them.
    """

    path: Path
    events: list[BitstampEvent]
    trades: list[BitstampTrade] | None
    snapshot_count: int
    tolerance_units: int
    skipped: int = 0
    complaints: tuple[str, ...] = ()


# ── Bitstamp ─────────────────────────────────────────────────────────────────────────────────────

_CSV_HEAD: Final = "id,timestamp,exchange.timestamp,price,volume,action,direction"
_CSV_SIDES: Final = {"bid": "buy", "ask": "sell"}
_CSV_TOLERANCE: Final = 2  # a fill is the difference of two volumes, each at most one unit too low, seen from two sides
_LOG_LINE: Final = re.compile(r"([0-9]{1,15}) ([a-z_]+) (\{.*\})")
_LOG_SIDES: Final = ("buy", "sell")
_ACTIONS: Final = ("created", "changed", "deleted")
_MS: Final = 1_000_000
_SECOND: Final = 1_000_000_000


def load_bitstamp(path: Path | str, *, errors: str = "raise", progress: Progress = None) -> BitstampFeed:
    """Read a Bitstamp event list (`orders.csv`) or raw websocket log; the first line tells which.

    Raises `InputFileError` for the first line that is wrong; with `errors="skip"` wrong lines are left out and
    counted. O(rows).
    """
    place = Place(Path(path), errors)
    with following(progress, "Bitstamp") as step:
        lines = lines_of(place.path, step)
        place.line, first = next(lines)
        if first == _CSV_HEAD:
            rows = [row for row in (place.row(line, _csv_event, text) for line, text in lines) if row is not None]
            return _feed(place, rows, None, 0)
        if not _LOG_LINE.fullmatch(first):
            place.wrong(f'the header "{_CSV_HEAD}" or a log line such as "1430438404518 order_created {{…}}" was expected')
        events: list[BitstampEvent] = []
        trades: list[BitstampTrade] = []
        snapshot_count = 0
        for line, text in chain([(1, first)], lines):
            row = place.row(line, _log_row, text)
            if isinstance(row, BitstampEvent):
                events.append(row)
            elif isinstance(row, BitstampTrade):
                trades.append(row)
            else:
                snapshot_count += row is not None
        return _feed(place, events, trades, snapshot_count)


def _feed(place: Place, events: list[BitstampEvent], trades: list[BitstampTrade] | None, snapshot_count: int) -> BitstampFeed:
    """Give the feed, unless nothing in the file can drive a book."""
    complaints = place.complaints
    if not events:
        place.line += trades is None
        place.wrong("at least one order event was expected" + f"; {complaints.skipped} were wrong" * bool(complaints.skipped))
    tolerance = _CSV_TOLERANCE if trades is None else 0
    return BitstampFeed(place.path, events, trades, snapshot_count, tolerance, complaints.skipped, tuple(complaints.first))


def _csv_event(place: Place, text: str) -> BitstampEvent:
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
        order_id=place.due(whole(order_id), order_id, "a positive integer id", 1),
        time_ns=place.time(place.due(whole(time), time, "a timestamp in ms") * _MS),
        venue_time_ns=place.due(whole(venue_time), venue_time, "an exchange.timestamp in ms") * _MS,
        price=place.due(decimal_units(price, 2), price, "a positive price in dollars with at most 2 decimals", 1),
        qty=place.due(whole(volume), volume, "a non-negative integer volume in 1e-8 BTC"),
        action=action,
        side=_CSV_SIDES[direction],
    )


def _log_row(place: Place, text: str) -> BitstampEvent | BitstampTrade | str:
    """Read a line of the log; a snapshot of the book is told by its word alone."""
    time_ns, kind, payload = _log_line(place, text)
    action = kind.removeprefix("order_")
    if kind == "trade":
        return _log_trade(place, time_ns, payload)
    if action in _ACTIONS:
        return _log_event(place, time_ns, action, payload)
    if kind != "order_book":
        place.wrong(f"order_created, order_changed, order_deleted, order_book or trade was expected, {kind!r} was found")
    if not isinstance(payload.get("bids"), list) or not isinstance(payload.get("asks"), list):
        place.wrong("lists of bids and asks were expected in an order_book")
    return kind


def _log_line(place: Place, text: str) -> tuple[int, str, dict[str, Any]]:
    parts = _LOG_LINE.fullmatch(text)
    if parts is None:
        place.wrong('a log line "milliseconds kind {json}" was expected')
    try:
        payload = json.loads(parts[3], parse_float=str, parse_constant=str)
    except (ValueError, RecursionError) as error:
        raise InputFileError(place.path, place.line, f"a JSON object was expected after the kind: {error}") from error
    return place.time(int(parts[1]) * _MS), parts[2], payload


def _json_number(place: Place, payload: dict[str, Any], key: str) -> str:
    """Give a JSON number, or a number in a JSON string, as its text."""
    value = payload.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        place.wrong(f"a number was expected as {key!r}, {value!r} was found")
    return str(value)


def _log_event(place: Place, time_ns: int, action: str, payload: dict[str, Any]) -> BitstampEvent:
    order_id, price, amount, time, side = (
        _json_number(place, payload, key) for key in ("id", "price", "amount", "datetime", "order_type")
    )
    if side not in ("0", "1"):
        place.wrong(f"an order_type of 0 (buy) or 1 (sell) was expected, {side!r} was found")
    return BitstampEvent(
        line=place.line,
        order_id=place.due(whole(order_id), order_id, "a positive integer id", 1),
        time_ns=time_ns,
        venue_time_ns=place.due(whole(time), time, "a datetime in seconds") * _SECOND,
        price=place.due(decimal_units(price, 2), price, "a positive price in dollars with at most 2 decimals", 1),
        qty=place.due(decimal_units(amount, 8), amount, "an amount of BTC with at most 8 decimals"),
        action=action,
        side=_LOG_SIDES[int(side)],
    )


def _log_trade(place: Place, time_ns: int, payload: dict[str, Any]) -> BitstampTrade:
    trade_id, price, amount = (_json_number(place, payload, key) for key in ("id", "price", "amount"))
    return BitstampTrade(
        line=place.line,
        time_ns=time_ns,
        trade_id=place.due(whole(trade_id), trade_id, "a positive integer trade id", 1),
        price=place.due(decimal_units(price, 2, nearest=True), price, "a positive trade price in whole cents", 1),
        qty=place.due(decimal_units(amount, 8, nearest=True), amount, "a positive trade amount in whole 1e-8 BTC", 1),
    )
