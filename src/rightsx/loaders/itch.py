"""Reads a day of NASDAQ's TotalView-ITCH 5.0: every order message of one stock, out of a file of all of them.

    00 24 │ A 00 0d 00 02 0a 4a …      length, big-endian │ message: kind, stock's number, tracking, time in six bytes, …
    00 13 │ D 00 0d …                  the next one begins where this one ends
    00 00                              the session ends

Each kind has one length, so most places where a message may begin are known without reading the ones before: a zero, the
length of the kind that follows, that kind. Whatever is found so and ends where the next begins is taken in one piece; only
where that chain breaks (bytes that happened to look so, a kind of no length here) is the next place looked up. Each kind is then
gathered at once through a record type that may begin at any byte. NumPy does all of it, 16 MB at a time.

Prices are 1/10,000 dollar, quantities shares, times ns since midnight. A stock has a number for the day, which the directory
tells at its beginning; an excerpt without one is understood by the names in its orders. Offsets count unpacked bytes. About 70
bytes a message of the stock are kept, others cost nothing. O(bytes).

Source of the layouts: Nasdaq TotalView-ITCH 5.0 (NQTVITCHspecification), and BinaryFILE for the frames.
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from rightsx.errors import InputFileError, MisuseError
from rightsx.loaders.text import Complaints, opened, right_rows
from rightsx.progress import following

if TYPE_CHECKING:
    from rightsx.progress import Progress

# ── rows ─────────────────────────────────────────────────────────────────────────────────────────

MESSAGE: Final = np.dtype(
    [
        ("time_ns", "<i8"),
        ("order_id", "<i8"),
        ("new_order_id", "<i8"),  # of a U alone
        ("match_number", "<i8"),
        ("price", "<i8"),  # of A, F, U: of the order; of C, P, Q: of the trade; else 0
        ("qty", "<i8"),  # of E, C, X: by how much the order becomes less; of D, B: 0
        ("offset", "<i8"),  # of the message in the file, for complaints
        ("kind", "S1"),  # Add, add with a name (F), Execute, execute at a price (C), cancel (X), Delete, replace (U),
        ("side", "S1"),  # a hidden order's trade (P), cross (Q), broken trade (B). Side: Buy, Sell
        ("printable", "S1"),  # of a C: N where the shares are told again by a Q
    ]
)
STOCK: Final = np.dtype(
    [("stock", "S8"), ("locate", "<u2"), ("market", "S1"), ("status", "S1"), ("round_lot", "<u4"), ("tier", "S1")]
)
STATE: Final = np.dtype([("time_ns", "<i8"), ("state", "S1"), ("reason", "S4")])  # Halted, Paused, Quotation only, Trading
SIDES: Final = {b"B": "buy", b"S": "sell"}


class ItchFeed(NamedTuple):
    """One stock's day: MESSAGE[n] in the order of the file, all stocks (STOCK), the stock's trading states (STATE).

    `total` are all sound messages of the file; `skipped` are those that were left out as wrong.
    """

    path: Path
    stock: str
    messages: np.ndarray
    directory: np.ndarray
    states: np.ndarray
    total: int
    skipped: int = 0
    complaints: tuple[str, ...] = ()


# ── layouts ──────────────────────────────────────────────────────────────────────────────────────

LENGTHS: Final = dict(
    zip(
        b"SRHYLVWKJhAFECXDUPQBINO",
        (12, 39, 25, 20, 26, 35, 12, 28, 35, 21, 36, 40, 31, 36, 23, 19, 35, 44, 40, 19, 50, 20, 48),
        strict=True,
    )
)
_HEAD: Final = [("kind", "S1"), ("locate", ">u2"), ("tracking", ">u2"), ("high", ">u2"), ("low", ">u4")]
_ORDER: Final = ("order_id", ">u8")
_MATCH: Final = ("match_number", ">u8")
_ADD: Final = [_ORDER, ("side", "S1"), ("qty", ">u4"), ("stock", "S8"), ("price", ">u4")]
_LAYOUTS: Final = {
    kind: np.dtype(_HEAD + fields)
    for kind, fields in {
        "A": _ADD,
        "F": [*_ADD, ("owner", "S4")],
        "E": [_ORDER, ("qty", ">u4"), _MATCH],
        "C": [_ORDER, ("qty", ">u4"), _MATCH, ("printable", "S1"), ("price", ">u4")],
        "X": [_ORDER, ("qty", ">u4")],
        "D": [_ORDER],
        "U": [_ORDER, ("new_order_id", ">u8"), ("qty", ">u4"), ("price", ">u4")],
        "P": [*_ADD, _MATCH],
        "Q": [("qty", ">u8"), ("stock", "S8"), ("price", ">u4"), _MATCH, ("cross", "S1")],
        "B": [_MATCH],
    }.items()
}
_STATE_LAYOUT: Final = np.dtype([*_HEAD, ("stock", "S8"), ("state", "S1"), ("unused", "S1"), ("reason", "S4")])
_STOCK_LAYOUT: Final = np.dtype(
    [
        *_HEAD,
        ("stock", "S8"),
        ("market", "S1"),
        ("status", "S1"),
        ("round_lot", ">u4"),
        ("terms", "V7"),
        ("tier", "S1"),
        ("etp", "V6"),
    ]
)
_NAMING: Final = {"R": 11, "H": 11, "A": 24, "F": 24, "P": 24, "Q": 19}  # where a kind has the stock's name
assert all(layout.itemsize == LENGTHS[ord(kind)] for kind, layout in _LAYOUTS.items())
assert (_STOCK_LAYOUT.itemsize, _STATE_LAYOUT.itemsize) == (LENGTHS[ord("R")], LENGTHS[ord("H")])

_NO_LENGTH: Final = 255
_LENGTH_OF: Final = np.full(256, _NO_LENGTH, np.uint8)
_LENGTH_OF[list(LENGTHS)] = list(LENGTHS.values())
_PIECE_BYTES: Final = 1 << 24
_PREFIX: Final = 2
_NAME_BYTES: Final = 8
_NAMES_SHOWN: Final = 5
_DAY_NS: Final = 86_400 * 10**9


def load_itch(path: Path | str, *, stock: str = "AAPL", errors: str = "raise", progress: Progress = None) -> ItchFeed:
    """Read one stock's order messages out of an ITCH 5.0 file, plain, `.gz` or `.xz`. O(bytes).

    Raises `InputFileError` with the byte for the first message of an unknown kind, a wrong length, an impossible field, or
    that the file's end cuts; with `errors="skip"` such are left out and counted. A stock that the file does not name, and
    a file without a message, are an error under either word. `MisuseError` for what can be no stock's name.
    """
    if not (isinstance(stock, str) and stock.isascii() and stock.isprintable() and 0 < len(stock.strip()) <= _NAME_BYTES):
        raise MisuseError(f"stock was {stock!r}; a symbol of 1 to 8 letters is due, as AAPL")
    day = _Day(Path(path), stock.strip(), Complaints(errors))
    with following(progress, "ITCH") as step, opened(day.path, lambda: (0, day.base)) as source:
        left = b""
        while piece := source.stream.read(_PIECE_BYTES):
            left = day.take(left + piece)
            step(source.done, source.total)
    day.finish(left)
    return day.feed()


class _Day:
    """What has been read so far; `base` is the offset of the bytes that are left to read."""

    def __init__(self, path: Path, stock: str, complaints: Complaints) -> None:
        self.path, self.stock, self.complaints = path, stock, complaints
        self.base = self.total = self._behind = 0
        self._name = stock.encode().ljust(_NAME_BYTES)
        self._locate: int | None = None
        self._has_ended = False
        self._names: set[bytes] = set()
        self._messages, self._states, self._stocks = [np.zeros(0, MESSAGE)], [np.zeros(0, STATE)], [np.zeros(0, STOCK)]

    def wrong(self, offset: int, expected: str) -> InputFileError:
        """Make the error of a place."""
        return InputFileError(self.path, 0, expected, offset)

    def take(self, data: bytes) -> bytes:
        """Take the whole messages of some bytes; gives the bytes behind them."""
        if self._has_ended:
            self._behind += len(data)
            return b""
        view = np.frombuffer(data, np.uint8)
        places, end = self._frames(view)
        if len(places):
            self.total += len(places)
            self._gather(data, places, view[places])
        self.base += end
        return data[end:]

    def finish(self, left: bytes) -> None:
        """Say what is left at the file's end, if it is not nothing."""
        if self._has_ended:
            self._behind += len(left)
            if self._behind:
                expected = f"nothing was expected behind the session's end, {self._behind} bytes were found"
                self.complaints.take(self.wrong(self.base, expected))
        elif left:
            due = f"{_PREFIX} bytes" if len(left) < _PREFIX else f"{_PREFIX} + {int.from_bytes(left[:_PREFIX], 'big')} bytes"
            self.complaints.take(self.wrong(self.base, f"a message of {due} was expected, the file ends after {len(left)}"))
        if not self.total:
            raise self.wrong(0, "messages of ITCH 5.0 were expected, none was found")

    def _frames(self, view: np.ndarray) -> tuple[np.ndarray, int]:
        """Find where messages begin (behind their lengths), and where the first begins that is not whole."""
        likely = (
            np.flatnonzero((view[:-2] == 0) & (view[1:-1] == _LENGTH_OF[view[2:]])) if len(view) > _PREFIX else np.zeros(0, int)
        )
        lengths = view[likely + 1].astype(np.int64)
        keep = (lengths != _NO_LENGTH) & (likely + _PREFIX + lengths <= len(view))
        heads, ends = likely[keep], (likely + _PREFIX + lengths)[keep]
        breaks = np.append(np.flatnonzero(heads[1:] != ends[:-1]), len(heads) - 1)  # the last of each unbroken chain
        pieces, at = [np.zeros(0, np.int64)], 0
        while True:
            first = int(np.searchsorted(heads, at))
            if first < len(heads) and heads[first] == at:
                last = int(breaks[np.searchsorted(breaks, first)])
                pieces.append(heads[first : last + 1])
                at = int(ends[last])
                continue
            step = self._odd_frame(view, at)
            at += step
            if not step or self._has_ended:
                return np.concatenate(pieces) + _PREFIX, at

    def _odd_frame(self, view: np.ndarray, at: int) -> int:
        """Step over what is no sound message; gives 0 where the bytes end before it does."""
        if len(view) - at < _PREFIX:
            return 0
        length = int(view[at]) << 8 | int(view[at + 1])
        if length == 0:
            self._has_ended = True
            return _PREFIX
        if at + _PREFIX + length > len(view):
            return 0
        kind = int(view[at + _PREFIX])
        due = (
            f"{LENGTHS[kind]} bytes of kind {chr(kind)!r} were expected" if kind in LENGTHS else "a kind of ITCH 5.0 was expected"
        )
        self.complaints.take(self.wrong(self.base + at, f"{due}, {length} bytes of kind {chr(kind)!r} were found"))
        return _PREFIX + length

    def _gather(self, data: bytes, places: np.ndarray, kinds: np.ndarray) -> None:
        """Keep what is about the stock, and the directory."""
        stocks = _records(data, _STOCK_LAYOUT, places[kinds == ord("R")])
        self._stocks.append(_like(stocks, STOCK))
        if self._locate is None:
            self._look_for_stock(data, places, kinds)
        if self._locate is None:
            return
        own = _records(data, np.dtype(">u2"), places + 1) == self._locate
        places, kinds = places[own], kinds[own]
        states = _records(data, _STATE_LAYOUT, places[kinds == ord("H")])
        self._states.append(_like(states, STATE))
        told = np.isin(kinds, [ord(kind) for kind in _LAYOUTS])
        places, kinds = places[told], kinds[told]
        rows = np.zeros(len(places), MESSAGE)
        rows["offset"] = self.base + places - _PREFIX
        for kind, layout in _LAYOUTS.items():
            chosen = np.flatnonzero(kinds == ord(kind))
            found = _like(_records(data, layout, places[chosen]), MESSAGE)
            found["offset"] = rows["offset"][chosen]
            rows[chosen] = found
        self._messages.append(rows)

    def _look_for_stock(self, data: bytes, places: np.ndarray, kinds: np.ndarray) -> None:
        """Learn the stock's number from whatever names it."""
        for kind, offset in _NAMING.items():
            chosen = places[kinds == ord(kind)]
            names = _records(data, np.dtype("S8"), chosen + offset)
            found = np.flatnonzero(names == self._name)
            if len(found):
                self._locate = int(_records(data, np.dtype(">u2"), chosen[found[:1]] + 1)[0])
                return
            self._names.update(np.unique(names).tolist())

    def feed(self) -> ItchFeed:
        """Give all of it, unless the file knows no such stock."""
        if self._locate is None:
            names = sorted(name.decode("ascii", "replace").strip() for name in self._names)
            shown = get_close_matches(self.stock, names, _NAMES_SHOWN) or names[:_NAMES_SHOWN]
            expected = (
                f"a stock of this file was expected, {self.stock!r} was found; there are {len(names)}, as {', '.join(shown)}"
            )
            raise InputFileError(self.path, 0, expected)
        rows = np.concatenate(self._messages)
        rows = rows[self._right(rows)]
        return ItchFeed(
            path=self.path,
            stock=self.stock,
            messages=rows,
            directory=np.concatenate(self._stocks),
            states=np.concatenate(self._states),
            total=self.total,
            skipped=self.complaints.skipped,
            complaints=tuple(self.complaints.first),
        )

    def _right(self, rows: np.ndarray) -> np.ndarray:
        """Say which messages can be."""
        kind, time = rows["kind"], rows["time_ns"]
        adds, orders = np.isin(kind, [b"A", b"F"]), ~np.isin(kind, [b"P", b"Q", b"B"])
        in_day = time < _DAY_NS
        before = np.maximum.accumulate(np.where(in_day, time, 0)) if len(rows) else time
        checks = {
            "a time within the day": (in_day, "time_ns"),
            "a time not before the message's before": (time >= before, "time_ns"),
            "an order id from 1 to 2^63 - 1": (~orders | (rows["order_id"] > 0), "order_id"),
            "a new order id from 1 to 2^63 - 1": ((kind != b"U") | (rows["new_order_id"] > 0), "new_order_id"),
            "a side of B or S": (~adds | np.isin(rows["side"], list(SIDES)), "side"),
            "1 share or more": (np.isin(kind, [b"D", b"Q", b"B"]) | (rows["qty"] > 0), "qty"),
            "a price of 1 or more": (~(adds | np.isin(kind, [b"U", b"C"])) | (rows["price"] > 0), "price"),
        }
        return right_rows(rows, checks, self.complaints, lambda at, expected: self.wrong(int(rows["offset"][at]), expected))


def _records(data: bytes, layout: np.dtype, places: np.ndarray) -> np.ndarray:
    """Gather records that begin at any byte."""
    if not len(places):
        return np.zeros(0, layout)
    records: np.ndarray = np.ndarray((len(data) - layout.itemsize + 1,), layout, data, strides=(1,))
    return np.asarray(records[places])


def _like(found: np.ndarray, rows: np.dtype) -> np.ndarray:
    """Give records of a layout as rows of ours: time in one number, names without their blanks."""
    made = np.zeros(len(found), rows)
    for name in set(rows.names or ()) & set(found.dtype.names or ()):
        made[name] = np.char.rstrip(found[name]) if name in {"stock", "reason"} else found[name]
    if "time_ns" in (rows.names or ()):
        made["time_ns"] = found["high"].astype(np.int64) << 32 | found["low"]
    return made
