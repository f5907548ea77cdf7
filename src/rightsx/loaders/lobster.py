"""Reads a LOBSTER pair: the messages of a stock, and its book after each of them.

    …_message_10.csv               34200.004241176,1,16113575,18,5853300,1
    …_orderbook_10.csv             5859400,200,5853300,18,5859800,200,… (ask, qty, bid, qty; best first)

Prices are 1/10,000 dollar, quantities shares, times ns since midnight. Line i of one file belongs to line i of the other: a
wrong line that is left out takes its partner with it, and files of different length are no pair.

Everything is read into memory: about 200 bytes a row and 150 a level. O(rows).
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from rightsx.errors import InputFileError
from rightsx.loaders.text import COMPLAINTS_KEPT, INT64_END, Place, decimal_units, lines_of, whole
from rightsx.progress import following

if TYPE_CHECKING:
    from rightsx.progress import Progress, Step

# ── rows ─────────────────────────────────────────────────────────────────────────────────────────


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
    """A LOBSTER pair: `rows[i]` is the book after `messages[i]`, at most `level_count` levels a side.

    `skipped` are messages that were left out with their rows because one of the two was wrong.
    """

    path: Path
    book_path: Path
    messages: list[LobsterMessage]
    rows: list[LobsterRow]
    level_count: int
    skipped: int = 0
    complaints: tuple[str, ...] = ()


# ── loading ──────────────────────────────────────────────────────────────────────────────────────

KIND_NEW, KIND_REDUCE, KIND_DELETE, KIND_EXECUTE, KIND_HIDDEN, KIND_CROSS, KIND_HALT = range(1, 8)
_LOBSTER_SIDES: Final = {"1": "buy", "-1": "sell"}
_MESSAGE_COLUMNS: Final = 6
_LEVEL_COLUMNS: Final = 4


def load_lobster(path: Path | str, *, errors: str = "raise", progress: Progress = None) -> LobsterFeed:
    """Read a LOBSTER message file together with the orderbook file beside it.

    The pair is found by name (`_message_` becomes `_orderbook_`). Raises `InputFileError` for the first line that is wrong
    (with `errors="skip"` it is left out with its partner, and counted), a missing pair, and files of different length. O(rows).
    """
    place = Place(Path(path), errors)
    if "_message_" not in place.path.name:
        place.wrong("a LOBSTER message file was expected, named like AAPL_2012-06-21_34200000_57600000_message_10.csv")
    book_path = place.path.with_name(place.path.name.replace("_message_", "_orderbook_"))
    with following(progress, "LOBSTER messages") as step:
        messages = [place.row(line, _message, text) for line, text in lines_of(place.path, step)]
    if not book_path.is_file():
        raise InputFileError(book_path, 0, f"the orderbook file that belongs to {place.path.name} was expected here")
    beside = Place(book_path, errors)
    with following(progress, "LOBSTER rows") as step:
        rows, level_count = _load_rows(beside, step)
    if len(rows) != len(messages):
        expected = f"{len(messages)} rows were expected, one for each message, {len(rows)} were found"
        raise InputFileError(book_path, min(len(rows), len(messages)) + 1, expected)
    both = [(message, row) for message, row in zip(messages, rows, strict=True) if message is not None and row is not None]
    if not both:
        raise InputFileError(place.path, 0, f"a right message with a right row was expected; all {len(messages)} pairs are wrong")
    return LobsterFeed(
        path=place.path,
        book_path=book_path,
        messages=[message for message, _ in both],
        rows=[row for _, row in both],
        level_count=level_count,
        skipped=len(messages) - len(both),
        complaints=tuple((place.complaints.first + beside.complaints.first)[:COMPLAINTS_KEPT]),
    )


def _message(place: Place, text: str) -> LobsterMessage:
    cells = text.split(",")
    if len(cells) != _MESSAGE_COLUMNS:
        place.wrong(f"{_MESSAGE_COLUMNS} columns (time, type, id, size, price, direction) were expected, {len(cells)} were found")
    time, kind, order_id, size, price, direction = cells
    kind_number = place.due(whole(kind), kind, "a message type from 1 to 7", KIND_NEW)
    if kind_number > KIND_HALT:
        place.wrong(f"a message type from 1 to 7 was expected, {kind!r} was found")
    if direction not in _LOBSTER_SIDES:
        place.wrong(f"a direction of 1 (buy) or -1 (sell) was expected, {direction!r} was found")
    about_order = kind_number <= KIND_EXECUTE
    return LobsterMessage(
        line=place.line,
        time_ns=place.time(place.due(decimal_units(time, 9), time, "a time in seconds with at most 9 decimals")),
        kind=kind_number,
        order_id=place.due(whole(order_id), order_id, "a non-negative integer order id", int(about_order)),
        qty=place.due(whole(size), size, "an integer size, positive for types 1 to 4", int(about_order)),
        # A halt uses its price as a code, which may be -1.
        price=place.due(whole(price), price, "an integer price in 1/10,000 dollar", -1 if kind_number == KIND_HALT else 1),
        side=_LOBSTER_SIDES[direction],
    )


def _load_rows(place: Place, step: Step) -> tuple[list[LobsterRow | None], int]:
    """Read the book's rows; the first one decides how many levels there are."""
    lines = lines_of(place.path, step)
    place.line, first = next(lines)
    columns = first.count(",") + 1
    if columns % _LEVEL_COLUMNS:
        place.wrong(f"a multiple of 4 columns (ask, size, bid, size) was expected, {columns} were found")

    def row(place: Place, text: str) -> LobsterRow:
        cells = text.split(",")
        if len(cells) != columns:
            place.wrong(f"{columns} columns were expected as in the first row, {len(cells)} were found")
        return _row(place, cells)

    return [place.row(line, row, text) for line, text in chain([(1, first)], lines)], columns // _LEVEL_COLUMNS


def _row(place: Place, cells: list[str]) -> LobsterRow:
    numbers = [place.due(whole(cell), cell, "an integer", -INT64_END) for cell in cells]
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
