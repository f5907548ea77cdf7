"""Two engines that are given the same commands, and what they answer differently.

              ┌─► judge    (reference) ─┐   events or reports, byte for byte
    command ──┤                         ├─► the rows that the events name
              └─► subject  (compiled)  ─┘   the whole state

`MarketPair` compares exchanges, `BookPair` bare books; a part of a flow is one command with its payload,
or an array that goes through `apply_batch`. A pair knows which ids a command has brought into being, so
that a script of commands can be handed over again with some of them left out.

A compiled engine that is wrong may also hang or destroy its own process: `in_child` does a piece of work
in a forked process, where a `Watch` notes in shared memory how far it has come and gives each call of the
subject a limited time. Hanging and dying are answers like any other.
"""

from __future__ import annotations

import faulthandler
import mmap
import os
import pickle
import signal
import struct
import traceback
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from rightsx._jit import COMPILED
from rightsx.engine.twin import whole_entry
from rightsx.errors import AuditError
from rightsx.protocol import (
    EVENT,
    FIRST_COLD_KIND,
    REPORT,
    Command,
    CommandKind as K,
    EventKind,
    ReportKind,
    Side,
    Venue,
    command_records,
    commands_of,
    event_records,
    report_records,
)
from rightsx.reference.audit import canonical
from rightsx.reference.bare import ReferenceBook, reports_of
from rightsx.reference.twin import ReferenceExchange
from rightsx.wording import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rightsx.reference.state import Market

USUAL: Final = Venue()
Part = tuple[Command, bytes] | np.ndarray
FORKS: Final = hasattr(os, "fork") and not os.environ.get("RIGHTSX_IN_PROCESS")
CALL_S: Final = 20.0 if COMPILED else 120.0  # one call of the subject, of at most some thousand commands

# ── the work of a child ──────────────────────────────────────────────────────────────────────────


class Watch:
    """Tells a parent how far its child has come, and ends a child whose engine does not come back."""

    def __init__(self, call_s: float = CALL_S) -> None:
        """Give each call of the subject so many seconds; they count in a child alone."""
        self._shared = mmap.mmap(-1, 8)
        self._call_s = call_s
        self.in_child = False

    @property
    def handed(self) -> int:
        """How many commands the subject has been handed."""
        return int(struct.unpack("<q", self._shared[:8])[0])

    @handed.setter
    def handed(self, count: int) -> None:
        self._shared[:8] = struct.pack("<q", count)

    def __enter__(self) -> None:
        """Begin a call of the subject."""
        if self.in_child:
            signal.setitimer(signal.ITIMER_REAL, self._call_s)

    def __exit__(self, *_: object) -> None:
        """End it."""
        if self.in_child:
            signal.setitimer(signal.ITIMER_REAL, 0)


class Ending(NamedTuple):
    """How a piece of work ended: with a value, or how not ("hangs", "dies", "raises") and what was said."""

    value: Any
    how: str = ""
    said: str = ""


def in_child(work: Callable[[Watch], Any], watch: Watch) -> Ending:
    """Do a piece of work in a forked process; in this one where there is no fork, or under RIGHTSX_IN_PROCESS=1.

    A child's branches are not counted: whoever measures coverage stays in one process.
    """
    if not FORKS:
        return done_here(work, watch)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        watch.in_child = True
        faulthandler.disable()  # The parent says what it was.
        # A kernel cannot be interrupted: the alarm ends the process.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        try:
            os.close(read)
            with os.fdopen(write, "wb") as pipe:
                pipe.write(pickle.dumps(done_here(work, watch)))
        finally:
            os._exit(0)
    os.close(write)
    try:
        with os.fdopen(read, "rb") as pipe:
            told = pipe.read()
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        status = os.waitpid(child, 0)[1]
    if told:
        return pickle.loads(told)  # type: ignore[no-any-return]  # noqa: S301 - our own child's
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM:
        return Ending(None, "hangs", f"a call of the subject did not come back; {watch.handed} commands had been handed over")
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    name = signal.Signals(number).name if number else f"exit {status}"
    return Ending(None, "dies", f"the process died of {name}; {watch.handed} commands had been handed over")


def done_here(work: Callable[[Watch], Any], watch: Watch) -> Ending:
    """Do a piece of work in this process; whatever it raises is its ending."""
    try:
        return Ending(work(watch))
    except BaseException as error:  # noqa: BLE001 - whatever it is, the parent is to hear it
        last = traceback.extract_tb(error.__traceback__)[-4:]
        where = " < ".join(f"{os.path.basename(one.filename)}:{one.lineno} {one.name}" for one in reversed(last))  # noqa: PTH119
        return Ending(None, "raises", f"{type(error).__name__}: {error} ({where})")


# ── differences ──────────────────────────────────────────────────────────────────────────────────


def rows_differ(judge: np.ndarray, subject: np.ndarray) -> tuple[int, str]:
    """Give the first row that two arrays of records tell differently, and both in words; (−1, "") if none."""
    if judge.tobytes() == subject.tobytes():
        return -1, ""
    common = min(len(judge), len(subject))
    unlike = np.flatnonzero(judge[:common] != subject[:common])
    at = int(unlike[0]) if len(unlike) else common
    words = [_row_words(rows[at]) if at < len(rows) else "no more" for rows in (judge, subject)]
    fields = ""
    if at < common:
        names = [name for name in judge.dtype.names or () if np.any(judge[at][name] != subject[at][name])]
        fields = f" ({', '.join(f'{name} {judge[at][name]} / {subject[at][name]}' for name in names)})"
    return at, f"answer {at} of {len(judge)} / {len(subject)}: judge: {words[0]}; subject: {words[1]}{fields}"


def answer_bytes(answers: np.ndarray) -> bytes:
    """Give the bytes of answers without what depends on how the commands were batched."""
    if answers.dtype == REPORT:
        answers = answers.copy()
        answers["command_index"] = 0
    return answers.tobytes()


def _row_words(row: np.void) -> str:
    if row.dtype == EVENT:
        kind = int(row["kind"])
        return f"{EventKind(kind).name if kind in EventKind._value2member_map_ else kind} {describe(row)}"
    return str(dict(zip(row.dtype.names or (), row.item(), strict=True)))


_TOP: Final = "venue counters accounts products stores channels tiers members series claims references timers"
_COUNTERS: Final = (
    "clock command_seq event_seq accept_seq lot_seq timer_seq next_order_id killed deposited withdrawn charged_back"
)
_SERIES: Final = "terms steps stores channel_caps now sums channels book stops holdings vouchers"
PLACES: Final = {(): _TOP.split(), ("counters",): _COUNTERS.split(), ("series", "*"): _SERIES.split()}


def first_difference(judge: Any, subject: Any, path: tuple[str, ...] = ()) -> str:
    """Name the first place where two nested lists differ, with what stands there; "" if none; tuples are lists."""
    nested = (list, tuple)
    if not isinstance(judge, nested) or not isinstance(subject, nested):
        return "" if judge == subject and type(judge) is type(subject) else f"{' › '.join(path)}: {judge!r} / {subject!r}"
    key = path if len(path) < 2 else (path[0], "*") if len(path) == 2 else path
    names = PLACES.get(key, [])
    for place, (mine, theirs) in enumerate(zip(judge, subject, strict=False)):
        if mine != theirs:
            name = names[place] if place < len(names) else str(place)
            said = first_difference(mine, theirs, (*path, name))
            if said:
                return said
    if len(judge) != len(subject):
        return f"{' › '.join(path)}: {len(judge)} / {len(subject)} rows: {judge!r} / {subject!r}"[:2_000]
    return ""


# ── a pair of exchanges ──────────────────────────────────────────────────────────────────────────


def compiled_exchange(twins: MarketTwins) -> Any:
    """Open the compiled exchange."""
    from rightsx.engine.twin import CompiledExchange  # noqa: PLC0415 - loads the compiler

    rooms = {name: rows for name, rows in (("event_rows", twins.event_rows), ("first_rows", twins.first_rows)) if rows}
    return CompiledExchange(twins.venue, **rooms)


@dataclass(frozen=True)
class MarketTwins:
    """Which two exchanges are compared; sizes 0 are the engine's own choice."""

    venue: Venue = USUAL
    event_rows: int = 0
    first_rows: int = 0
    subject: Callable[[MarketTwins], Any] = compiled_exchange

    def open(self, watch: Watch) -> MarketPair:
        """Open both, empty."""
        return MarketPair(self, watch)


class MarketPair:
    """A reference exchange and another one."""

    def __init__(self, twins: MarketTwins, watch: Watch) -> None:
        """Open both, empty."""
        self.judge = ReferenceExchange(twins.venue)
        self._watch = watch
        with watch:
            self.subject = twins.subject(twins)

    def ask(self, part: Part) -> tuple[np.ndarray, np.ndarray]:
        """Hand a part to both; gives EVENT arrays of the judge and of the subject."""
        if isinstance(part, np.ndarray):
            told = self.judge.apply_batch(part)
            with self._watch:
                return told, self.subject.apply_batch(part)
        return self.ask_judge(part), self.ask_subject(part)

    def ask_judge(self, part: tuple[Command, bytes]) -> np.ndarray:
        """Hand one command to the judge alone."""
        return event_records(self.judge.apply(*part))

    def ask_subject(self, part: tuple[Command, bytes]) -> np.ndarray:
        """Hand one command to the subject alone."""
        with self._watch:
            return event_records(self.subject.apply(*part))

    def ask_subject_batch(self, commands: list[Command]) -> np.ndarray:
        """Hand commands to the subject alone, as one batch."""
        with self._watch:
            return self.subject.apply_batch(command_records(commands))  # type: ignore[no-any-return]

    def command_of(self, before: int, answer: np.void) -> int:
        """Say which command of a part an event answers: `before` commands had been applied."""
        return int(answer["command_seq"]) - before - 1

    def named_differ(self, events: np.ndarray) -> str:
        """Compare every row that these events name, asked from both twins; "" if they are alike."""
        accounts = {int(number) for name in ("account", "other_account") for number in events[name]}
        series = {int(number) for number in events["series"]}
        orders = {int(number) for name in ("order_id", "other_order_id") for number in events[name]}
        pairs = {(int(e["account"]), int(e["series"])) for e in events} | {
            (int(e["other_account"]), int(e["series"])) for e in events
        }
        with self._watch:
            for verb, chosen in (("account", accounts), ("series", series), ("order", orders), ("voucher", orders)):
                for number in sorted(chosen):
                    mine, theirs = getattr(self.judge, verb)(number), getattr(self.subject, verb)(number)
                    if mine != theirs:
                        return f"{verb}({number}): {_fields_unlike(mine, theirs)}"
            for account, number in sorted(pairs):
                mine, theirs = self.judge.holding(account, number), self.subject.holding(account, number)
                if mine != theirs:
                    return f"holding({account}, {number}): {_fields_unlike(mine, theirs)}"
            return self._face_differs(series)

    def _face_differs(self, series: Iterable[int]) -> str:
        """Compare the clock, what is due next, the platform's cash, and the best levels of these series."""
        for name in ("clock_ns", "next_due_ns", "platform_cash"):
            mine, theirs = getattr(self.judge, name), getattr(self.subject, name)
            if mine != theirs:
                return f"{name}: {mine} / {theirs}"
        for number in sorted(series):
            for side in Side:
                mine, theirs = self.judge.depth(number, side, 3), self.subject.depth(number, side, 3)
                if mine != theirs:
                    return f"depth({number}, {side.name}): {mine} / {theirs}"
        return ""

    def whole_differs(self, *, audit: bool = True) -> str:
        """Compare the whole states, and under `audit` what the subject says of itself; "" if they are alike."""
        mine = canonical(self.judge._market)
        with self._watch:
            theirs = self.subject.canonical()
            said = first_difference(mine, theirs) if mine != theirs else ""
            said = said or self._face_differs(range(len(self.judge._market.series), 0, -7))
            if said or not audit:
                return said
            try:
                self.subject.check()
            except (AuditError, AssertionError) as error:
                return f"the subject's books do not add up: {error}"
            hashes = self.judge.state_hash(), self.subject.state_hash()
            owed = [(a.tobytes(), np.sort(b).tobytes(), c) for a, b, c in (self.judge.promises(), self.subject.promises())]
        if owed[0] != owed[1]:
            return f"promises: {self.judge.promises()} / {self.subject.promises()}"
        if hashes[0] != hashes[1]:
            return f"state_hash: {hashes[0]} / {hashes[1]}"
        return rows_lost(self.subject._memory, self.judge._market) if hasattr(self.subject, "_memory") else ""

    def queries_differ(self) -> str:
        """Compare every query about everything that there is, and some things that there are not; "" if alike."""
        judge, subject, market = self.judge, self.subject, self.judge._market
        edge = (-1, 0, 2**31, 2**32 - 1, 2**62, 2**63 - 1)
        accounts, series = [*range(len(market.accounts) + 1), *edge], [*range(len(market.series) + 1), *edge]
        orders = [*islice(market.orders, 50), *edge]
        vouchers = [number for one in market.series for number in one.vouchers]
        asked: list[tuple[str, list[tuple[Any, ...]]]] = [
            ("account", [(one,) for one in accounts]),
            ("terminals", [(one,) for one in accounts]),
            ("stores", [(one,) for one in accounts]),
            ("series", [(one,) for one in series]),
            ("auction", [(one,) for one in series]),
            ("holding", [(one, other) for one in accounts for other in series[-12:]]),
            ("depth", [(one, side, most) for one in series for side in Side for most in (None, 0, 1, 2)]),
            ("queue", [(one, side) for one in series for side in Side]),
            ("order", [(one,) for one in orders]),
            ("voucher", [(one,) for one in [*vouchers, *edge]]),
            ("product", [(one, name) for one in accounts[:9] for name in ("coffee", "tea", "")]),
            ("member", [(one, member) for one in (1, 2) for member in (*range(1, 12), *edge)]),
            ("products", [()]),
            ("channels", [()]),
        ]
        for verb, calls in asked:
            for call in calls:
                mine, theirs = getattr(judge, verb)(*call), getattr(subject, verb)(*call)
                if mine != theirs:
                    return f"{verb}{call}: {_fields_unlike(mine, theirs)}"
        for chosen in [{}, *({"account": one} for one in range(len(market.accounts))), *({"series": one} for one in series)]:
            if judge.orders(**chosen) != subject.orders(**chosen):
                return f"orders({chosen}): {judge.orders(**chosen)} / {subject.orders(**chosen)}"
        return ""

    def made(self, command: Command, answers: np.ndarray) -> tuple[str, int] | None:
        """Say what a command has brought into being: its sort and its id, or None."""
        sort, kind, field = _MADE.get(command.kind, ("", 0, ""))
        found = answers[answers["kind"] == kind] if sort else answers[:0]
        return (sort, int(found[0][field])) if len(found) else None


def rows_lost(memory: Any, market: Market) -> str:
    """Say of which pool of the compiled exchange a row is neither in use nor free; "" if of none. O(rows)."""
    from rightsx.engine.memory import FUNDS, HEADS, HOLDING, ORDERS, REFERENCE, TIMER_INDEX, VOUCHER  # noqa: PLC0415
    from rightsx.expiry import WHEEL_INDEX  # noqa: PLC0415

    head, funds, wheel, world = memory.arrays[HEADS][0], memory.arrays[FUNDS][0], memory.arrays[WHEEL_INDEX][0], memory.world
    vouchers = [voucher for series in market.series for voucher in series.vouchers.values()]
    owners: list[Any] = [*market.orders.values(), *vouchers]
    owners += [holding for series in market.series for holding in series.holdings.values()]
    for name, counts, index, link, live in (
        ("order", head, ORDERS, "next", len(market.orders)),
        ("holding", funds, HOLDING, "next", market.holding_count),
        ("lot", funds, HOLDING + 2, "next", sum(len(one.lots) for one in owners)),
        ("voucher", world, VOUCHER, "next", len(vouchers)),
        ("reference", world, REFERENCE, "first_seq", len(market.references)),
        ("timer", wheel, TIMER_INDEX, "next", len(market.timers)),
    ):
        used, free, slot = int(counts[f"{name}_used"]) - 1, 0, int(counts[f"{name}_free"])
        while slot and free <= used:
            free, slot = free + 1, int(memory.arrays[index][slot][link])
        if used != free + live:
            return f"{name} rows: {used} were used, {free} are free, {live} should be in use"
    return ""


_MADE: Final[dict[int, tuple[str, int, str]]] = {
    K.PLACE: ("order", EventKind.ACCEPTED, "order_id"),
    K.LIST_SERIES: ("series", EventKind.LISTED, "series"),
    K.OPEN_ACCOUNT: ("account", EventKind.ACCOUNT_OPENED, "account"),
    K.REGISTER_MERCHANT: ("account", EventKind.MERCHANT_REGISTERED, "account"),
    K.LOCK_VOUCHER: ("voucher", EventKind.VOUCHER_LOCKED, "order_id"),
}


def _fields_unlike(judge: Any, subject: Any) -> str:
    """Say which fields of two views differ."""
    names = getattr(judge, "_fields", None) or list(getattr(judge, "__dataclass_fields__", ()))
    if not names or type(judge) is not type(subject):
        return f"{judge!r} / {subject!r}"
    unlike = [name for name in names if getattr(judge, name) != getattr(subject, name)]
    return ", ".join(f"{name} {getattr(judge, name)!r} / {getattr(subject, name)!r}" for name in unlike)


# ── a pair of bare books ─────────────────────────────────────────────────────────────────────────


def compiled_book(twins: BookTwins) -> Any:
    """Open the compiled book."""
    from rightsx.engine.barebook import CompiledBook  # noqa: PLC0415 - loads the compiler

    rooms = {"order_rows": twins.first_rows, "node_rows": twins.first_rows} if twins.first_rows else {}
    return CompiledBook(twins.books, twins.ids, twins.limit, report_rows=twins.report_rows or None, **rooms)


@dataclass(frozen=True)
class BookTwins:
    """Which two bare books are compared; sizes 0 are the engine's own choice."""

    books: int = 1
    ids: Any = "caller"
    limit: int = 2**22
    report_rows: int = 0
    first_rows: int = 0
    subject: Callable[[BookTwins], Any] = compiled_book

    def open(self, watch: Watch) -> BookPair:
        """Open both, empty."""
        return BookPair(self, watch)


class BookPair:
    """A reference book and another one."""

    def __init__(self, twins: BookTwins, watch: Watch) -> None:
        """Open both, empty."""
        self.judge = ReferenceBook(twins.books, twins.ids, twins.limit)
        self._watch = watch
        with watch:
            self.subject = twins.subject(twins)

    def ask(self, part: Part) -> tuple[np.ndarray, np.ndarray]:
        """Hand a part to both; gives REPORT arrays of the judge and of the subject."""
        if isinstance(part, np.ndarray):
            told = _reports(reports_of(self.judge, commands_of(part)))
            with self._watch:
                return told, self.subject.apply_batch(part)
        return self.ask_judge(part), self.ask_subject(part)

    def ask_judge(self, part: tuple[Command, bytes]) -> np.ndarray:
        """Hand one command to the judge alone."""
        return _reports(self.judge.apply(part[0]))

    def ask_subject(self, part: tuple[Command, bytes]) -> np.ndarray:
        """Hand one command to the subject alone."""
        with self._watch:
            return _reports(self.subject.apply(part[0]))

    def ask_subject_batch(self, commands: list[Command]) -> np.ndarray:
        """Hand commands to the subject alone, as one batch; every report names command 0."""
        with self._watch:
            told: np.ndarray = self.subject.apply_batch(command_records(commands)).copy()
        told["command_index"] = 0
        return told

    def command_of(self, before: int, answer: np.void) -> int:
        """Say which command of a part a report answers."""
        del before
        return int(answer["command_index"])

    def named_differ(self, reports: np.ndarray) -> str:
        """Compare every order that these reports name and the best levels of their books; "" if they are alike."""
        with self._watch:
            for number in sorted({int(one) for name in ("order_id", "other_order_id") for one in reports[name]}):
                mine, theirs = _resting(self.judge.order(number)), _resting(self.subject.order(number))
                if mine != theirs:
                    return f"order({number}): {mine} / {theirs}"
            for number in sorted({int(one) for one in reports["series"] if one < self.judge._count}):
                for side in Side:
                    levels, others = self.judge.depth(number, side, 3), self.subject.depth(number, side, 3)
                    if levels != others:
                        return f"depth({number}, {side.name}): {levels} / {others}"
        return ""

    def whole_differs(self, *, audit: bool = True) -> str:
        """Compare the whole states, and under `audit` what the subject says of itself; "" if they are alike."""
        with self._watch:
            try:
                if audit:
                    self.subject.check()
            except AssertionError as error:
                return f"the subject's tables do not add up: {error}"
            if self.judge.state_hash() == self.subject.state_hash():
                return ""
            for number in sorted(self.judge._books):
                for side in Side:
                    for mine, theirs in zip(
                        [*map(_resting, self.judge.orders(number, side)), None],
                        [*map(_resting, self.subject.orders(number, side)), None],
                        strict=False,
                    ):
                        if mine != theirs:
                            return f"queue({number}, {side.name}): {mine} / {theirs}"
        return "state_hash, though all queues are alike: free slots or generations"

    def queries_differ(self) -> str:
        """Compare every query about everything that there is, and some things that there are not; "" if alike."""
        for number in self.judge._books:
            for side in Side:
                for most in (None, 0, 1, 2):
                    levels, others = self.judge.depth(number, side, most), self.subject.depth(number, side, most)
                    if levels != others:
                        return f"depth({number}, {side.name}, {most}): {levels} / {others}"
        for number in [*self.judge._live, -1, 0, 1, 2**32, 2**32 + 1, 2**63 - 1, -(2**63)]:
            mine, theirs = _resting(self.judge.order(number)), _resting(self.subject.order(number))
            if mine != theirs:
                return f"order({number}): {mine} / {theirs}"
        return ""

    def made(self, command: Command, answers: np.ndarray) -> tuple[str, int] | None:
        """Say what a command has brought into being: its sort and its id, or None."""
        if command.kind != K.PLACE or answers[0]["kind"] != ReportKind.ACCEPTED:
            return None
        return "order", int(answers[0]["order_id"])


def _reports(reports: list[Any]) -> np.ndarray:
    return report_records(reports) if reports else np.zeros(0, REPORT)


def _resting(order: Any) -> tuple[int, ...] | None:
    names = ("id", "account", "series", "side", "limit", "open_qty", "shown_qty", "display", "flags")
    return tuple(int(getattr(order, name)) for name in names) if order is not None else None


_WARM: Final[set[Any]] = set()


def warm(twins: Twins) -> None:
    """Open a subject once in this process, so that no child has to compile it within the time of a call."""
    if twins.subject not in _WARM:
        _WARM.add(twins.subject)
        twins.subject(twins)  # type: ignore[arg-type]
        whole_entry()


# ── a run ────────────────────────────────────────────────────────────────────────────────────────

Pair = MarketPair | BookPair
Twins = MarketTwins | BookTwins
WHOLE_EVERY: Final = 1_000  # commands
AUDIT_EVERY: Final = 5_000


class Outcome(NamedTuple):
    """What came of a run: `what` is "" if the twins agreed, else "events", "rows", "state", "hangs", "dies" or "raises".

    `commands` counts those that were applied, the one that differed included; `whole` is where whole states
    were last alike. `digest` is that of all answers of the judge, which are those of the subject.
    """

    commands: int
    answers: int
    digest: bytes
    what: str = ""
    said: str = ""
    whole: int = 0


def parts_of(pieces: Iterable[Part], *, singly: bool) -> Iterator[Part]:
    """Take batches apart into single commands, if they are to be."""
    for piece in pieces:
        if singly and isinstance(piece, np.ndarray):
            yield from ((one, b"") for one in commands_of(piece))
        else:
            yield piece


def is_cold(command: Command) -> bool:
    """Say whether a payload travels with a command."""
    return command.kind >= FIRST_COLD_KIND
