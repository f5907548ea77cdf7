"""Turns what people type (words, dates, spans) into the integers of the protocol.

Everything that a verb of the public API accepts beside integers is read here and nowhere else, so
that a date means the same in a listing, in a scenario file and on the command line. A wrong word or
type is a `MisuseError` that says what is allowed; nothing has been logged by then.

    "2026-06-30"  "2026-06-30T12:00:00+02:00"  datetime  1767225600000000000   → ns since 1970, UTC
    "90s"  "15m"  "12h"  "7d"  "1d 12h"  timedelta  86400000000000             → ns
"""

from __future__ import annotations

import datetime as dt
import re
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar

import numpy as np

from rightsx.errors import MisuseError
from rightsx.protocol import DAY_NS, MAX_REFERENCE_DAYS, Limits, Refusal, Side, TimeInForce, Venue
from rightsx.vocabulary import integer

Time = int | str | dt.datetime | dt.date
Span = int | str | dt.timedelta

_UNIT_NS: Final = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": DAY_NS,
    "w": 7 * DAY_NS,
}
_SPAN: Final = re.compile(r"(\d+)\s*(ns|us|ms|[smhdw])\s*")
MAX_SPAN_TEXT: Final = 100
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

SIDES: Final = {"buy": Side.BUY, "sell": Side.SELL}
TIMES_IN_FORCE: Final = {"gtc": TimeInForce.GTC, "gtd": TimeInForce.GTD, "ioc": TimeInForce.IOC, "fok": TimeInForce.FOK}

T = TypeVar("T")


def time_ns(name: str, value: Time, code: Refusal = Refusal.BadTime) -> int:
    """Read a moment as ns since 1970 UTC: an integer of ns, an ISO date or time, a `datetime` or `date`.

    A time without a zone is UTC. Raises `MisuseError` with `code` for anything else. Exact to the
    microsecond that Python's `datetime` holds.

    >>> time_ns("expire", "2026-01-01")
    1767225600000000000
    """
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value)
        except ValueError as error:
            raise MisuseError(f"{name} was {value!r}; a date such as 2026-06-30 or 2026-06-30T12:00 is due", code) from error
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        value = dt.datetime(value.year, value.month, value.day)  # noqa: DTZ001 - the zone follows
    if isinstance(value, dt.datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=dt.UTC)
        try:
            return (moment - _EPOCH) // dt.timedelta(microseconds=1) * 1_000
        except (TypeError, ValueError) as error:
            raise MisuseError(f"{name} was {value!r}, whose time zone gives no offset", code) from error
    if isinstance(value, float) or value is None:
        raise MisuseError(f"{name} was {value!r}; ns since 1970, an ISO date or a datetime is due", code)
    return integer(name, value, code)


def span_ns(name: str, value: Span, code: Refusal = Refusal.BadTime) -> int:
    """Read a span as ns: an integer of ns, words such as "12h" or "1d 12h", or a `timedelta`.

    >>> span_ns("hold", "1d 12h")
    129600000000000
    """
    if isinstance(value, dt.timedelta):
        return value // dt.timedelta(microseconds=1) * 1_000
    if isinstance(value, str):
        parts = _SPAN.findall(value)
        if not parts or _SPAN.sub("", value).strip() or len(value) > MAX_SPAN_TEXT:
            raise MisuseError(f"{name} was {value!r}; a span such as 90s, 15m, 12h, 7d or '1d 12h' is due", code)
        return sum(int(count) * _UNIT_NS[unit] for count, unit in parts)
    return integer(name, value, code)


def word(name: str, value: object, words: dict[str, T], code: Refusal = Refusal.BadTerms) -> T:
    """Look a word up, whatever its case; raises `MisuseError` listing the words that are known.

    >>> word("side", "BUY", SIDES).name
    'BUY'
    """
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    for member in words.values():
        if type(value) is type(member) and type(value) is not int and value == member:
            return member
    raise MisuseError(f"{name} was {value!r}; one of {', '.join(words)} is due", code)


def check_out(out: object, name: str, dtype: np.dtype, commands: object) -> None:
    """Let None pass, and an array that records of this dtype can be written to while `commands` are read; else `MisuseError`."""
    if out is None:
        return
    if not isinstance(out, np.ndarray) or out.dtype != dtype or out.ndim != 1 or not out.flags.carray or out.ctypes.data % 8:
        found = f"{out.ndim}-dimensional {out.dtype}" if isinstance(out, np.ndarray) else type(out).__name__
        raise MisuseError(f"out was {found}; a whole, writable, aligned NumPy array {name}[n] is due", Refusal.BadTerms)
    if isinstance(commands, np.ndarray) and np.may_share_memory(out, commands):
        raise MisuseError("out was a part of the memory of the commands; memory of its own is due", Refusal.BadTerms)


def text(name: str, value: object, most_bytes: int) -> str:
    """Let a string of 1 to `most_bytes` bytes of UTF-8 pass."""
    # A lone surrogate is no text; nothing could write it.
    fits = isinstance(value, str) and 0 < len(value.encode(errors="surrogatepass")) <= most_bytes
    if not isinstance(value, str) or not fits or re.search("[\ud800-\udfff]", value):
        raise MisuseError(f"{name} was {value!r}; a text of 1 to {most_bytes} bytes is due", Refusal.BadTerms)
    return value


def rate(name: str, value: int, least: int, end: int = 2**31) -> int:
    """Let an integer of a range pass: `least` ≤ value < `end`."""
    found = integer(name, value, Refusal.BadTerms)
    if not least <= found < end:
        raise MisuseError(f"{name} was {value}; {least} to {end - 1} is allowed", Refusal.BadTerms)
    return found


def venue_of(gift_fee: int, reference_days: int, limits: Limits | None) -> Venue:
    """Make a venue of what was given, or raise `MisuseError` for a rate or limit that makes no sense."""
    if limits is not None and not isinstance(limits, Limits):
        raise MisuseError(f"limits was {limits!r}; rightsx.Limits is due", Refusal.BadTerms)
    caps = {name: rate(name, value, 1) for name, value in (limits or Limits())._asdict().items()}
    days = rate("reference_days", reference_days, 1, MAX_REFERENCE_DAYS + 1)
    return Venue(rate("gift_fee", gift_fee, 0), days, Limits(**caps))


def switch(name: str, value: object) -> bool:
    """Let True and False pass."""
    if not isinstance(value, bool):
        raise MisuseError(f"{name} was {value!r}; True or False is due", Refusal.BadTerms)
    return value


def listed(name: str, given: object) -> list[Any]:
    """Let anything be a list that can be walked, but a word, which would be read letter by letter."""
    if isinstance(given, Iterable) and not isinstance(given, (str, bytes, Mapping)):
        return list(given)
    raise MisuseError(f"{name} was {reprlib.repr(given)}; a list is due", Refusal.BadTerms)


def member_row(row: object) -> list[int]:
    """Read a row of an import: (member id, balance)."""
    pair = listed("row", row)
    if len(pair) != 2:  # noqa: PLR2004
        raise MisuseError(f"a row was {reprlib.repr(row)}; (member id, balance) is due", Refusal.BadTerms)
    return [integer("member", pair[0], Refusal.BadTerms), integer("balance", pair[1], Refusal.BadAmount)]


def number_of(given: int | str, names: Mapping[str, int], what: str, unknown: int) -> int:
    """Give the number of a store or terminal named by number or by name.

    An unknown name gives `unknown`, a number that no market has, so that the refusal is the market's.
    """
    if isinstance(given, str):
        return names.get(given, unknown)
    return integer(what, given, Refusal.BadTerms)


def iso(time: int) -> str:
    """Write a moment as people read it, in UTC, as fine as it needs to be.

    >>> iso(1767225600000000000), iso(1767225600000000001)
    ('2026-01-01', '2026-01-01 00:00:00.000000001')
    """
    seconds, nanos = divmod(time, 1_000_000_000)
    try:
        moment = _EPOCH + dt.timedelta(seconds=seconds)
    except OverflowError:
        return f"{time} ns"
    if nanos:
        return f"{moment:%Y-%m-%d %H:%M:%S}.{nanos:09d}"
    if time % DAY_NS:
        return f"{moment:%Y-%m-%d %H:%M:%S}"
    return f"{moment:%Y-%m-%d}"
