"""What all loaders share: lines, exact numbers, the place of every complaint, and what becomes of a wrong row.

    file ─► lines ─► Place.row ─┬─► a typed row
                                └─► InputFileError: file, line, field, what was due, what was found
                                      errors="raise"  the first one ends the loading
                                      errors="skip"   the row is left out and counted, the first few complaints are kept

A loader believes nothing: every row is checked for its columns, its integers, its words and its time. What makes a whole file
unusable (it is missing, empty, binary, cut off inside its compression, or of another format) is an error under either word.

No number passes through a float. A decimal such as "236.47" is taken apart as text and becomes 23647 units; more digits than the
unit has are an error. `nearest` reads what somebody wrote from a binary float ("1.7885566900000001"), to the nearest unit and
only within a ten-thousandth of it.

Progress is told in bytes of the file as it lies on the disk, so that a packed file has a total, too.
"""

from __future__ import annotations

import gzip
import lzma
import re
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Final, NoReturn, TypeVar

import numpy as np

from rightsx.border import word
from rightsx.errors import InputFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rightsx.progress import Step

LINE_BYTES_MAX: Final = 1 << 20
STEP_LINES: Final = 4_096  # between two reports of progress
FOUND_CHARACTERS: Final = 60  # of a wrong cell, so that a complaint stays one line
COMPLAINTS_KEPT: Final = 10
INT64_END: Final = 1 << 63
ERRORS: Final = {"raise": False, "skip": True}

T = TypeVar("T")

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


def whole(text: str) -> int | None:
    """Read an integer of at most 18 digits, or None: `int` alone would also take "1_000" and " 7".

    >>> whole("-18"), whole("1_000")
    (-18, None)
    """
    return int(text) if _INTEGER.fullmatch(text) else None


def shown(found: object) -> str:
    """Show what was found, cut where a line would become long."""
    text = repr(found)
    return text[:FOUND_CHARACTERS] + "…" * (len(text) > FOUND_CHARACTERS)


# ── files ────────────────────────────────────────────────────────────────────────────────────────


class Source:
    """An open file: `stream` gives its bytes unpacked; `done` and `total` are bytes on the disk."""

    def __init__(self, path: Path, raw: IO[bytes]) -> None:
        """Unpack what the suffix says."""
        self._raw = raw
        self.total = raw.seek(0, 2)
        raw.seek(0)
        self.stream: IO[bytes] | lzma.LZMAFile | gzip.GzipFile = raw
        if path.suffix == ".xz":
            self.stream = lzma.LZMAFile(raw, "rb")  # noqa: SIM115 - it lives as long as `raw`, which is closed below
        elif path.suffix == ".gz":
            self.stream = gzip.GzipFile(fileobj=raw, mode="rb")

    @property
    def done(self) -> int:
        """How much of the file has been read."""
        return self._raw.tell()


@contextmanager
def opened(path: Path, where: Callable[[], tuple[int, int | None]]) -> Iterator[Source]:
    """Open a file, plain or packed; whatever cannot be read within is one clear error where `where` says: line, byte or None."""
    try:
        with path.open("rb") as raw:
            yield Source(path, raw)
    except EOFError as error:
        line, offset = where()
        raise InputFileError(path, line, "the compressed data end too early; the whole file was expected", offset) from error
    except (lzma.LZMAError, gzip.BadGzipFile, zlib.error) as error:
        line, offset = where()
        raise InputFileError(path, line, f"sound {path.suffix} data were expected: {error}", offset) from error
    except OSError as error:
        raise InputFileError(path, 0, f"a readable file was expected: {error.strerror or error}") from error


def lines_of(path: Path, step: Step) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, text without its end) of every line; `step` hears of progress."""
    number = 0
    try:
        with opened(path, lambda: (number + 1, None)) as source:
            while raw := source.stream.readline(LINE_BYTES_MAX):
                number += 1
                if b"\0" in raw or len(raw) == LINE_BYTES_MAX:
                    raise InputFileError(path, number, "a line of text was expected; this looks like a binary file")
                if number % STEP_LINES == 0:
                    step(source.done, source.total)
                yield number, raw.decode("utf-8").rstrip("\r\n")
            step(source.total, source.total)
    except UnicodeDecodeError as error:
        raise InputFileError(path, number, "UTF-8 text was expected; this looks like a binary file") from error
    if not number:
        raise InputFileError(path, 0, "the file is empty; at least one row was expected")


# ── wrong rows ───────────────────────────────────────────────────────────────────────────────────


class Complaints:
    """What becomes of wrong rows: the first is raised, or all are counted and the first few kept."""

    def __init__(self, errors: str) -> None:
        """Take the word; `MisuseError` for another than raise or skip."""
        self._skips = word("errors", errors, ERRORS)
        self.skipped = 0
        self.first: list[str] = []

    def take(self, error: InputFileError, rows: int = 1) -> None:
        """Raise an error, or count the rows that it is about."""
        if not self._skips:
            raise error
        self.skipped += rows
        if len(self.first) < COMPLAINTS_KEPT:
            self.first.append(str(error))


def right_rows(
    rows: np.ndarray,
    checks: dict[str, tuple[np.ndarray, str]],
    complaints: Complaints,
    wrong: Callable[[int, str], InputFileError],
) -> np.ndarray:
    """Say which rows hold what is expected: `checks` are {expected: (holds, field)}, `wrong` makes the error of a row."""
    right = np.ones(len(rows), bool)
    for expected, (holds, name) in checks.items():
        for at in np.flatnonzero(right & ~holds).tolist():
            complaints.take(wrong(at, f"{expected} was expected as {name}, {rows[name][at].item()!r} was found"))
        right &= holds
    return right


class Place:
    """Where a loader is, so that every complaint names file and line; `due` checks one value."""

    def __init__(self, path: Path, errors: str = "raise") -> None:
        """Stand before the first line."""
        self.path = path
        self.line = 0
        self.complaints = Complaints(errors)
        self._last_ns = 0

    def row(self, line: int, make: Callable[[Place, str], T], text: str) -> T | None:
        """Make a row of a line; None for a wrong one that is left out, which moves no clock."""
        self.line, before = line, self._last_ns
        try:
            return make(self, text)
        except InputFileError as error:
            self._last_ns = before
            self.complaints.take(error)
            return None

    def wrong(self, expected: str) -> NoReturn:
        """Say what was due here."""
        raise InputFileError(self.path, self.line, expected)

    def due(self, value: int | None, found: object, expected: str, least: int = 0) -> int:
        """Let a number pass that was read and is at least `least`."""
        if value is None or value < least:
            self.wrong(f"{expected} was expected, {shown(found)} was found")
        return value

    def time(self, value: int) -> int:
        """Let a time pass that is not before the previous row's."""
        if value < self._last_ns:
            self.wrong(f"a time not before the previous row's ({self._last_ns} ns) was expected, {value} ns was found")
        self._last_ns = value
        return value
