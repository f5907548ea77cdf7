"""Turns the columns of a table into those of COMMAND: words, whole numbers, exact decimals, times.

    a column ─► NumPy integers ─────────────► checked as a whole ─┬─► values, which rows have one, which rows are wrong
             └► text, None, Decimal, float ─► cell by cell ───────┘

A cell that is empty or None gives no value; what that means for its row is said in `table`. A float is taken only if it is a
whole number: 236.47 is none, whatever was meant, while the text "236.47" and the Decimal are exact.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from rightsx.border import SIDES, TIMES_IN_FORCE
from rightsx.errors import MisuseError
from rightsx.protocol import (
    CALLER_ID_FIRST,
    COMMAND,
    FIRST_COLD_KIND,
    INT64_MAX,
    TIME_END,
    AmendFlag,
    CommandKind,
    OrderFlag,
    Side,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FIELDS: Final = COMMAND.names or ()
TIMES: Final = ("time_ns", "deadline_ns")
PRICES: Final = ("price", "stop_price")
QUANTITIES: Final = ("qty", "display")
TIME_PLACES: Final = {"ns": 0, "us": 3, "ms": 6, "s": 9}  # digits of a unit that are left to a nanosecond
IDS: Final = ("venue", "engine", "text")
KEPT_CELLS: Final = 1 << 16  # texts whose numbers are remembered, a field

WORDS: Final[dict[str, dict[str, int]]] = {
    "kind": {
        **{kind.name.lower(): kind for kind in CommandKind if kind < FIRST_COLD_KIND},
        **dict.fromkeys(("new", "add"), CommandKind.PLACE),
        **dict.fromkeys(("modify", "replace"), CommandKind.AMEND),
        "delete": CommandKind.CANCEL,
    },
    "side": {**SIDES, "b": Side.BUY, "s": Side.SELL, "bid": Side.BUY, "ask": Side.SELL},
    "time_in_force": dict(TIMES_IN_FORCE),
    "flags": {flag.name.lower(): flag for flag in (*OrderFlag, *AmendFlag) if flag.name},
}
NUMBERED: Final = {
    "kind": (1, max(WORDS["kind"].values()) + 1),
    "side": (0, 3),
    "time_in_force": (0, 5),
}  # what a number may be, half-open

_INTEGER: Final = re.compile(r"-?[0-9]{1,20}")
_DECIMAL: Final = re.compile(r"(-?)([0-9]{1,20})(?:\.([0-9]{1,40}))?")
_ISO: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?(Z|[+-][0-9]{2}:?[0-9]{2})"
)
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class Column(NamedTuple):
    """Cells of one column: NumPy integers, or a list with None where nothing is; times are counts of `tick_ns`."""

    cells: np.ndarray | list[Any]
    tick_ns: int = 0


class Read(NamedTuple):
    """What a column says: a value a row (0 where there is none), where there is one, and cells that cannot be."""

    values: np.ndarray
    given: np.ndarray
    wrong: np.ndarray


# ── one cell ─────────────────────────────────────────────────────────────────────────────────────


def exact(text: str, places: int) -> int | None:
    """Read a decimal as a count of 10^-`places`, or None if it is not exactly one.

    >>> exact("236.47", 2), exact("-0.5", 1), exact("236.475", 2), exact("236.470", 2)
    (23647, -5, None, 23647)
    """
    parts = _DECIMAL.fullmatch(text)
    if parts is None:
        return None
    fraction = (parts[3] or "").rstrip("0")
    if len(fraction) > places:
        return None
    units = int(parts[2] + fraction.ljust(places, "0"))
    return -units if parts[1] else units


def iso_ns(text: str) -> int | None:
    """Read an ISO time with its zone as ns since 1970, or None; nine decimals are kept.

    >>> iso_ns("1970-01-01T01:00:00.000000007+01:00"), iso_ns("1970-01-01T00:00:00")
    (7, None)
    """
    parts = _ISO.fullmatch(text)
    if parts is None:
        return None
    try:
        moment = dt.datetime.fromisoformat(f"{parts[1]}T{parts[2]}{parts[4]}")
    except ValueError:
        return None
    return (moment - _EPOCH) // dt.timedelta(seconds=1) * 1_000_000_000 + int((parts[3] or "").ljust(9, "0"))


def _plain(cell: object) -> object:
    """Make Python's own of what NumPy and Arrow give; a truth becomes a word."""
    if isinstance(cell, np.generic):
        cell = cell.item()
    return str(cell).lower() if isinstance(cell, bool) else cell


def _number(cell: object, places: int) -> int | None:
    """Read a number of any kind as a count of 10^-`places`, or None if it is not exactly one."""
    if isinstance(cell, str):
        return exact(cell, places) if places else int(cell) if _INTEGER.fullmatch(cell) else exact(cell, 0)
    if isinstance(cell, int):
        return cell * int(10**places)
    if isinstance(cell, Decimal) and cell.is_finite():
        return exact(f"{cell:f}", places)
    if isinstance(cell, float) and cell.is_integer() and abs(cell) <= 2**53:
        return int(cell) * int(10**places)
    return None


# ── one field ────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Reader:
    """Reads the cells of one field; `expected` says in words what is due."""

    field: str
    expected: str
    places: int
    iso: bool
    words: dict[str, int]
    least: int
    end: int
    ids: str

    def __post_init__(self) -> None:
        """Remember nothing yet."""
        self._known: dict[str, int | None] = {}
        self._numbers: dict[str, int] = {}  # of ids that are texts

    def column(self, column: Column) -> Read:
        """Read a column. O(rows)."""
        cells = column.cells
        if isinstance(cells, np.ndarray) and not self.words and self.ids == "engine" and not column.tick_ns:
            return self._whole(cells)
        if isinstance(cells, np.ndarray) and len(cells):
            kinds, place = np.unique(cells, return_inverse=True)
            if len(kinds) <= len(cells) // 4:  # a number that comes often is read once
                read = self._each(kinds.tolist(), column.tick_ns)
                return Read(read.values[place], read.given[place], read.wrong[place])
            cells = cells.tolist()
        return self._each(cells, column.tick_ns)

    def _whole(self, cells: np.ndarray) -> Read:
        """Read integers as a whole: the same as one by one."""
        factor = 10**self.places
        least, most = -(-self.least // factor), (self.end - 1) // factor
        bounds = np.iinfo(cells.dtype)
        wrong = np.zeros(len(cells), bool)
        if least > bounds.min:
            wrong |= cells < least
        if most < bounds.max:
            wrong |= cells > most
        values = np.where(wrong, 0, cells).astype(self._dtype) * self._dtype.type(factor)
        return Read(values, np.ones(len(cells), bool), wrong)

    def _each(self, cells: Iterable[Any], tick_ns: int) -> Read:
        found = [self._cell(cell, tick_ns) for cell in cells]
        given = np.array([number is not None for number in found], bool)
        wrong = np.array([number is not None and not self.least <= number < self.end for number in found], bool)
        values = [0 if number is None or bad else number for number, bad in zip(found, wrong.tolist(), strict=True)]
        return Read(np.array(values, self._dtype), given, wrong)

    @property
    def _dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint64 if self.field == "ref" else np.int64)

    def _cell(self, cell: Any, tick_ns: int) -> int | None:
        """Read a cell: None where nothing is, `end` for one that is wrong."""
        if type(cell) is str:
            if cell in self._known:
                return self._known[cell]
            number = self._text(cell)
            if self.field != "time_ns" and len(self._known) < KEPT_CELLS:
                self._known[cell] = number
            return number
        cell = _plain(cell)
        if cell is None or cell != cell:  # noqa: PLR0124 - a NaN is nothing, as pandas means it
            return None
        if tick_ns:
            return cell * tick_ns if isinstance(cell, int) and self.field in TIMES else self.end
        text = self._text(str(cell)) if self.words or self.ids == "text" or isinstance(cell, str) else None
        if text not in {None, self.end} or isinstance(cell, str):
            return text
        number = None if self.iso else _number(cell, self.places)
        return self.end if number is None else self._moved(number)

    def _text(self, cell: str) -> int | None:
        if not cell:
            return None
        if self.ids == "text":
            return CALLER_ID_FIRST + self._numbers.setdefault(cell, len(self._numbers) + 1)
        if self.words:
            return self._word(cell)
        number = iso_ns(cell) if self.iso else _number(cell, self.places)
        return self.end if number is None else self._moved(number)

    def _word(self, cell: str) -> int | None:
        """Read a word, words joined with `|` for flags, or the number that one stands for."""
        total = 0
        for part in cell.split("|") if self.field == "flags" else [cell]:
            number = self.words.get(part, self.words.get(part.strip().lower()))
            number = _number(part, self.places) if number is None else number
            if number is None or not self.least <= number < self.end:
                return self.end
            total |= number
        return total

    def _moved(self, number: int) -> int:
        """Move a venue's own id to where callers' ids are; 0 is none."""
        return number + CALLER_ID_FIRST if self.ids == "venue" and 0 < number < CALLER_ID_FIRST else number


def reader_of(field: str, *, time_unit: str, price_places: int, qty_places: int, ids: str, words: Mapping[Any, Any]) -> Reader:
    """Make the reader of a field; `words` are the caller's own, beside ours. `MisuseError` for one that says nothing."""
    bounds = np.iinfo(COMMAND[field].type)
    least, end = NUMBERED.get(field, (int(bounds.min), int(bounds.max) + 1))
    places, iso, expected = 0, False, "an integer" if least else f"an integer from 0 to {end - 1}"
    if field in TIMES:
        least, end, iso = 0, TIME_END, time_unit == "iso"
        places = 0 if iso else TIME_PLACES[time_unit]
        expected = "an ISO time with its zone" if iso else f"a time in {time_unit} since 1970"
    elif field in PRICES or field in QUANTITIES:
        places = price_places if field in PRICES else qty_places
        expected = f"a number with at most {places} decimals" if places else "a whole number"
    elif field == "order_id":
        end, expected = INT64_MAX + 1, "an order id below 2^63"
    own = {str(word).lower() if isinstance(word, bool) else str(word): _meaning(field, word, words[word]) for word in words}
    known = WORDS.get(field, {}) | own
    if known:
        expected = f"one of {', '.join(known)}" + (f", or {expected}" if field not in NUMBERED and field != "flags" else "")
    return Reader(field, expected, places, iso, known, least, end, ids if field == "order_id" else "engine")


def _meaning(field: str, word: object, meaning: object) -> int:
    """Read what a caller's word stands for: one of our words, or a number."""
    if isinstance(meaning, str) and meaning in WORDS.get(field, {}):
        return WORDS[field][meaning]
    if isinstance(meaning, int) and not isinstance(meaning, bool):
        least, end = NUMBERED.get(field, (int(np.iinfo(COMMAND[field].type).min), int(np.iinfo(COMMAND[field].type).max) + 1))
        if least <= meaning < end:
            return int(meaning)
    ours = ", ".join(WORDS.get(field, {})) or "an integer that fits"
    raise MisuseError(f"words[{field!r}][{word!r}] was {meaning!r}; {ours} is due")
