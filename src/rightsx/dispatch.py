"""Hands commands to a twin and keeps what it answers: nothing that happened is lost on the way to the caller.

    verb ─┬─ plain order ─► short way ──► bytes of EVENTs ─┐
          ├─ any command ─► apply_raw ──► bytes of EVENTs ─┼─► log ─► result, or RefusedError
          └─ batch ───────► apply_batch ► EVENT[m] ────────┘

Events stay bytes until somebody reads them. The log is all of them, or under `keeps=False` the last
command's; either way its end says how far we have heard. So whenever a call is cut short (Ctrl-C, no
memory), what the twin did after that is fetched, logged and kept for `take_unread`. That itself can be cut
short; then the next call begins with it.
"""

from __future__ import annotations

from bisect import bisect_left
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from rightsx.errors import MisuseError, RefusedError
from rightsx.protocol import EVENT, EventKind, events_in
from rightsx.results import LAST_KIND, refused_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from rightsx.protocol import Command, Event
    from rightsx.results import Result
    from rightsx.twins import Twin

Raw = bytes | bytearray  # EVENT[n]
R = TypeVar("R", bound="Result")
SIZE: Final = EVENT.itemsize
SEQ_AT: Final = 24
REFUSED: Final = int(EventKind.REFUSED)
NO_EVENTS: Final = np.zeros(0, EVENT)
SLICES: Final = [slice(0, answer // 4 * SIZE) for answer in range(4 * 64 + 1)]  # of the short way's answers

assert max(EventKind) == EventKind.DUPLICATE == REFUSED + 1, "what is no acceptance comes last"
assert EVENT.fields is not None
assert EVENT.fields["command_seq"][1] == SEQ_AT


class Dispatcher:
    """The line to one twin, with the log of what it said; `raises` makes an exception of every refusal.

    `one_thread` refuses commands of any other thread than the one that makes it.
    """

    def __init__(self, twin: Twin, *, keeps: bool, raises: bool, one_thread: bool = False) -> None:
        """Begin with nothing heard."""
        self._owner = get_ident() if one_thread else 0
        self.twin = twin
        self.keeps = keeps
        self._raises = raises
        self._log: Raw = bytearray()
        self._unread: tuple[int, np.ndarray] = (0, NO_EVENTS)
        self._cut: tuple[Raw, int, np.ndarray] | None = None
        self.told = True  # False from the moment that `send` begins until its caller has the answer
        self._before: tuple[Raw, int] = (self._log, 0)  # what the log was when `send` began
        self._call: Callable[..., int] = _no_short_way
        self._state: Any = None
        self._code = 0
        self._raw = bytearray()
        self._finish: Callable[..., bytes] = _no_short_way
        self._take_short_way()

    # ── sending ──────────────────────────────────────────────────────────────────────────────────

    def send(self, record: Command, payload: bytes = b"", *, as_first: bool = True) -> Raw:
        """Apply one command and give its EVENTs; a repeat's come after those of the first time, if `as_first`.

        Whoever hands the answer on says so (`answer`, `told`); until then `take_unread` gives it. Raises
        `RefusedError` if refusals are to be raised.
        """
        self.admit()
        if self._cut is not None:
            self._keep_unread(*self._cut)
        log = self._log
        start = len(log)
        self._before = log, start
        self.told = False
        try:
            raw = self.twin.apply_raw(record, payload)
            answer = self.keep(raw)
        except RefusedError:
            self.told = True
            raise
        except BaseException:
            self.told = True
            self._keep_unread(log, start)
            raise
        return answer if as_first else raw

    def answer(self, kind: type[R], raw: Raw) -> R:
        """Answer with the bytes of EVENT[n ≥ 1]: from here on the caller has heard."""
        result = kind()
        result.raw = raw
        self.told = True
        return result

    def send_plain(
        self, bits: int, series: int, account: int, order_id: int, price: int, qty: int, ref: int, at_ns: int
    ) -> Raw | None:
        """Send a plain order, amend or cancel the short way; None if it cannot go that way, and then nothing is done.

        `bits` as in `ShortWay`; the numbers are whatever the caller gave.
        """
        log = self._log
        start = len(log)
        try:
            try:
                answer = self._call(self._state, self._code, bits, series, account, order_id, price, qty, ref, at_ns)
            except (TypeError, OverflowError):
                return None  # The entry takes ints of 64 bits.
            if not answer & 3:
                raw: Raw = self._raw[SLICES[answer]]
            elif answer > 0:
                raw = self._finish(answer & 3, (bits, series, account, order_id, price, qty, ref, at_ns))
                self._take_short_way()  # which may lead to the whole engine now
            else:
                return None
            # As `keep`, which would cost a tenth of the whole call.
            if self.keeps:
                self._log += raw
            else:
                self._log = raw
            return raw if raw[LAST_KIND] < REFUSED else self._unaccepted(raw)
        except RefusedError:
            raise
        except BaseException:
            self._keep_unread(log, start)
            raise

    def send_batch(self, commands: np.ndarray, out: np.ndarray | None) -> np.ndarray:
        """Apply COMMAND[n] and give EVENT[m], in `out` if they fit."""
        self.admit()
        if self._cut is not None:
            self._keep_unread(*self._cut)
        log = self._log
        start = len(log)
        records = NO_EVENTS
        try:
            records = self.twin.apply_batch(commands, out)
            self._log_on(records)
            self.twin.heard()
        except BaseException:
            self._keep_unread(log, start, records)
            raise
        return records

    def admit(self) -> None:
        """Refuse another thread, before it touches anything."""
        if self._owner and self._owner != get_ident():
            raise MisuseError("a kept market takes commands from the thread that opened it; another one may open it read-only")

    # ── hearing ──────────────────────────────────────────────────────────────────────────────────

    def keep(self, raw: Raw) -> Raw:
        """Log the events of a command, raise its refusal if that is wanted, and answer a repeat as the first time."""
        if self.keeps:
            self._log += raw
        else:
            self._log = raw
        return raw if raw[LAST_KIND] < REFUSED else self._unaccepted(raw)

    def _unaccepted(self, raw: Raw) -> Raw:
        """Answer with a refusal, or what a repeat repeats and then the repeat."""
        if raw[LAST_KIND] == EventKind.DUPLICATE:
            return self._first_answer(raw) + raw
        if self._raises:
            refused = refused_in(raw)
            assert refused is not None
            raise RefusedError(refused, tuple(events_in(raw)))
        return raw

    def _first_answer(self, raw: Raw) -> Raw:
        """Give the events of the command that a repeat repeats, as far as they are kept. O(log events)."""
        if not self.keeps:
            return b""
        first = events_in(raw)[-1].other_order_id
        rows = range(len(self._log) // SIZE)
        place, until = (bisect_left(rows, seq, key=lambda row: _seq(self._log, (row + 1) * SIZE)) for seq in (first, first + 1))
        return self._log[place * SIZE : until * SIZE]

    def driven(self, records: np.ndarray, *, keeps: bool) -> None:
        """Take the events of commands that somebody else had the twin apply; unless it `keeps`, the log ends for good."""
        self.keeps = self.keeps and keeps
        told = _seq(self._log, len(self._log))
        if len(records) and int(records[0]["command_seq"]) <= told:
            records = records[records["command_seq"] > told]  # a call before this one was cut short behind its logging
        self._log_on(records)
        self._take_short_way()

    def hear(self, records: np.ndarray) -> None:
        """Take the events of commands that were applied before this line was there."""
        self._log_on(records)

    def _log_on(self, records: np.ndarray) -> None:
        """Log events; where they are not kept the last one does, which says how far we have heard."""
        if self.keeps:
            self._log += records.view(np.uint8).data
        elif len(records):
            self._log = records[-1:].tobytes()

    def _keep_unread(self, log: Raw, start: int, given: np.ndarray = NO_EVENTS) -> None:
        """Keep for `take_unread` what a call had done that is cut short.

        The log was `log`, of `start` bytes, when it began; `given` is what the twin has answered already.
        """
        self._cut = log, start, given  # until it is kept
        self._call = _no_short_way
        told = _seq(log, start)
        logged = self._log is not log or len(log) > start
        if not len(given) and logged:
            given = np.frombuffer(bytes(self._log[start:] if self._log is log else self._log), EVENT)
        elif not len(given):
            given = self.twin.take_unread(told)
        if len(given):
            given = given.copy()  # The caller's `out` is the caller's.
            unread = int(given[-1]["command_seq"]) - told, given
            if not logged:
                self._log_on(given)
            self._unread = unread
        self._cut = None
        self._take_short_way()

    def _keep_unheard(self) -> None:
        """Keep for `take_unread` what one command had done that `send` gave, but the verb did not get to hand on."""
        log, start = self._before
        rows = np.frombuffer(bytes(self._log[start:] if self._log is log else self._log), EVENT)
        rows = rows[rows["command_seq"] == _seq(log, start) + 1]
        if len(rows):
            self._unread = 1, rows

    def _take_short_way(self) -> None:
        """Let plain orders go straight to compiled code, where there is any."""
        way = self.twin.short_way()
        if way is not None:
            self._call, self._state, self._code, self._raw, self._finish = way

    def take_unread(self) -> tuple[int, np.ndarray]:
        """Give what a call that was cut short had done, once: how many commands, and their EVENTs."""
        if self._cut is not None:
            self._keep_unread(*self._cut)
        if not self.told:
            self._keep_unheard()
            self.told = True
        unread, self._unread = self._unread, (0, NO_EVENTS)
        return unread

    # ── the log ──────────────────────────────────────────────────────────────────────────────────

    def records(self) -> np.ndarray:
        """Copy all events as EVENT[m]; `MisuseError` if they are not kept. O(events)."""
        return np.frombuffer(self._kept(), EVENT)

    def events(self) -> list[Event]:
        """Read all events; `MisuseError` if they are not kept. O(events)."""
        return events_in(self._kept())

    def _kept(self) -> bytes:
        if self._cut is not None:
            self._keep_unread(*self._cut)
        if not self.keeps:
            raise MisuseError("statements and reports need the events; this exchange was made with keep_events=False")
        return bytes(self._log)  # A view of it would keep it from growing.


def _seq(raw: Raw, end: int) -> int:
    """Give the number of the command that the last of the EVENTs before byte `end` belongs to, 0 if there is none."""
    return int.from_bytes(raw[end - SIZE + SEQ_AT : end - SIZE + SEQ_AT + 8], "little") if end else 0


def _no_short_way(*_: object) -> Any:
    """Stand in for compiled code where there is none: the command goes the long way."""
    raise TypeError
