"""The compiled engine as a twin: commands in, events out, behind the same small interface as the reference.

    single order ──► OP_ONE ─► row 0 ────┐            own 64 events ──► bytes
    any command ───► OP_RUN ─► row 0 ────┼─► kernel ─┤
    batch ─────────► OP_RUN ─► caller's ─┘    │       caller's array, or a new one ──► a slice of it
                                              ├─ FULL ──► a larger array, the run goes on
                                              ├─ GROW ──► tables double, the run goes on
                                              ├─ COLD ──► a Desk performs a command that brings a payload
                                              └─ RARE ──► the whole engine is loaded, the run goes on

Between two calls of the kernel a run may be cut short from outside (a KeyboardInterrupt, no memory). Then
the command that was begun is finished, those after it are not begun, and `take_unread` gives what
happened; where finishing itself is cut short, the next call does it first (`settle`). So no command is
ever half done, and no event is lost. The writes of a cold command are begun again from their first.

WORLD's `held` is raised before anything but row 0 and the own events is put under the kernel, and lowered when
those are back; every step in between may be done twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from rightsx._jit import aligned_zeros, entry_handle, exact_entry
from rightsx.engine.desk import Desk
from rightsx.engine.export import export_market
from rightsx.engine.hot import FINISH, IDLE, OP_DUE, OP_ENTER, OP_ONE, OP_RUN, hot_entry
from rightsx.engine.memory import MarketMemory
from rightsx.engine.queries import Queries
from rightsx.engine.registry import Registry
from rightsx.engine.run import engine_entry
from rightsx.engine.spare import Spare
from rightsx.engine.state import AT_WORLD, BUSY, COLD, COMMANDS, DONE, EVENTS, EVENTS_PER_STEP, FULL, GROW, RARE
from rightsx.errors import AuditError, MisuseError
from rightsx.protocol import (
    COMMAND,
    EVENT,
    FIRST_COLD_KIND,
    Command,
    CommandKind,
    Event,
    Refusal,
    Venue,
    event_records,
    events_in,
)
from rightsx.reference.audit import canonical, check, state_hash
from rightsx.vocabulary import check_hot, unpack

if TYPE_CHECKING:
    from collections.abc import Callable

    from rightsx.reference.state import Market

HOT: Final = "the engine for plain orders"
WHOLE: Final = "the whole engine"
FIRST_ROWS: Final = 1_024
SCRATCH_EVENTS: Final = 64
BATCH: Final = 65_536  # commands a call of the kernel, which nothing can interrupt
NO_EVENTS: Final = np.zeros(0, EVENT)
_FORGED: Final = "commands changed while they ran: one became a listing, registration or import; this market cannot go on"


@dataclass(slots=True)
class Begun:
    """What runs now: commands, the array that their events go to, and the payload of a cold one, which comes alone."""

    rows: np.ndarray
    out: np.ndarray
    room: int  # events that the kernel may write before it asks
    cold: Command | None = None
    payload: dict[str, Any] | None = None
    desk: Desk | None = None  # once it has performed the cold one
    events: int = 0  # that there are with those of the desk


class ShortWay(NamedTuple):
    """How a plain order, amend or cancel goes straight to compiled code.

    `call(state, code, bits, series, account, order_id, price, qty, ref, time_ns)` takes ints and their children, where
    `bits` are kind + side × 2^8 + time in force × 2^16 + flags × 2^24. It gives −1 for a series, an account or a ref that
    fits no record; else n × 4 + r: where r is 0 the first n EVENTs of `raw` are the answer, otherwise
    `finish(r, numbers)` gives their bytes, with the same eight numbers.
    """

    call: Callable[..., int]
    state: Any
    code: int
    raw: bytearray
    finish: Callable[[int, tuple[int, ...]], bytes]


class CompiledExchange(Queries):
    """The whole market, compiled. Equal to `ReferenceExchange` in every event and in all of its state."""

    resumable = True

    def __init__(self, venue: Venue, *, event_rows: int | None = None, first_rows: int = FIRST_ROWS) -> None:
        """Begin empty, at time 0; compiles what plain orders need the first time ever, the rest at its first use.

        `event_rows`, from 8, makes room for so many events, and for so many more whenever they are full, instead of
        for all; `first_rows` is what every pool begins with, a power of two from 8. Neither changes what happens.
        """
        assert event_rows is None or event_rows >= EVENTS_PER_STEP, "a step needs room for its events"
        self._call: Callable[..., int] = exact_entry(hot_entry, 10, HOT)
        self._entry: Callable[..., int] = hot_entry  # what that was made of
        self._driven = False
        self._venue = venue
        self._memory = MarketMemory(venue, first_rows, lambda *numbers: self._operate(OP_ENTER, *numbers))
        self._registry = Registry()
        self._event_rows = event_rows
        # A bytearray, because a slice of one is the fastest copy that Python has.
        self._event_bytes = bytearray((event_rows or SCRATCH_EVENTS) * EVENT.itemsize)
        self._scratch = np.frombuffer(self._event_bytes, EVENT)
        self._command = aligned_zeros(1, COMMAND)
        self._spare = Spare(EVENT)
        self._begun: Begun | None = None
        self._unread = NO_EVENTS
        self._forged = False
        self._release()

    def _operate(
        self, what: int, a: int = 0, b: int = 0, c: int = 0, d: int = 0, e: int = 0, f: int = 0, g: int = 0, h: int = 0
    ) -> int:
        """Let the kernel do one thing for Python."""
        return self._call(self._memory.state, what, a, b, c, d, e, f, g, h)

    # ── commands ─────────────────────────────────────────────────────────────────────────────────

    def apply(self, command: Command, payload: bytes = b"") -> list[Event]:
        """Apply one command and give its events, as `apply_raw` does."""
        return events_in(self.apply_raw(command, payload))

    def apply_raw(self, command: Command, payload: bytes = b"") -> bytes:
        """Apply one command and give the bytes of its EVENTs; a cold one brings its payload.

        Raises `MisuseError` for an unknown kind and `CorruptionError` for a payload that is not what
        the command states; nothing has changed then.
        """
        if command.kind not in CommandKind._value2member_map_:
            raise MisuseError(f"kind was {command.kind}; no command has that number", Refusal.BadTerms)
        cold = command.kind >= FIRST_COLD_KIND
        content = unpack(command, payload) if cold else None
        self.settle()
        self._command[0] = tuple(command)
        return self._complete(self._begin_single(command if cold else None, content)).tobytes()

    def apply_batch(self, records: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Apply COMMAND[n] and give EVENT[m]; cold kinds are a `MisuseError` before the first write.

        The events are written to `out` and the answer is a part of it, as long as they fit.
        """
        check_hot(records)
        self.settle()
        rows = np.ascontiguousarray(records)
        if rows.ctypes.data % 8:
            rows = rows.copy()
        if out is None or len(out) < EVENTS_PER_STEP:
            # What is not written to is not paid for: untouched pages of an empty array take no memory.
            out = self._spare.take(2 * len(rows) + SCRATCH_EVENTS)
        return self._complete(Begun(rows, out, min(len(out), self._event_rows or len(out))))

    def short_way(self) -> ShortWay:
        """Give what calls OP_ONE without a detour."""
        return ShortWay(self._call, self._memory.state, OP_ONE, self._event_bytes, self.finish_one)

    def finish_one(self, ended: int, numbers: tuple[int, ...]) -> bytes:
        """Finish what a call of OP_ONE with these eight numbers began, or could not begin: its events."""
        if ended == BUSY:
            self.settle()
            ended = self._operate(OP_ONE, *numbers) & 3
            assert ended != BUSY, "a settled market is not busy"
        return self._complete(self._begin_single(), resumed=True).tobytes()

    def heard(self) -> None:
        """Forget the last answer: its caller has it."""
        self._unread = NO_EVENTS

    def take_unread(self, told: int) -> np.ndarray:
        """Give what a call that an exception cut short had done: the events of commands after number `told`."""
        self.settle()
        unread = self._unread[self._unread["command_seq"] > told]
        if len(unread):
            return unread
        # Then a single order was done, or nothing.
        single = self._scratch[: int(self._memory.world["event_count"])]
        return single[single["command_seq"] > told]

    # ── running ──────────────────────────────────────────────────────────────────────────────────

    def drive(self, rows: np.ndarray, out: np.ndarray, go: Callable[..., int]) -> np.ndarray:
        """Let somebody else run the commands that he writes to `rows` one by one, and give their events, which begin in `out`.

        `go(handle, state, events, world)` lets the entry that lies at `handle` run up to one row after the other, from 0, and
        gives DONE, or what else the entry answered: then it is called again. Until `end_drive` nobody else may change anything.
        """
        self._driven = False
        self.settle()
        world = self._memory.world
        begun = Begun(rows, out, len(out))
        self._unread = NO_EVENTS
        world["row"] = world["event_count"] = world["ref"] = 0
        try:
            self._begun = begun
            self._hold(begun)
            self._driven = True
            while (ended := go(entry_handle(self._entry), self._memory.state, begun.out, self._memory.arrays[AT_WORLD])) != DONE:
                if ended == GROW:
                    self._memory.grow_short()
                elif ended == FULL:
                    self._lengthen(begun)
                else:
                    assert ended == RARE, "a feed has no cold commands"
                    self._call, self._entry = whole_entry(), engine_entry
            events = begun.out[: int(world["event_count"])]
            self._unread = events
            self._release()
            world["held"] = 1  # so that single commands, too, are refused
        except BaseException:
            self._driven = False
            self.settle()
            raise
        return events

    def end_drive(self) -> None:
        """Let everybody send commands again. Done twice it is done once."""
        self._driven = False
        self.settle()

    def _begin_single(self, cold: Command | None = None, payload: dict[str, Any] | None = None) -> Begun:
        """Give what stands in row 0, to be run into the own events."""
        return Begun(self._command, self._scratch, len(self._scratch), cold, payload)

    def _complete(self, begun: Begun, *, resumed: bool = False) -> np.ndarray:
        """Run commands to their end and give all events, or settle and let the exception pass."""
        world = self._memory.world
        count = len(begun.rows)
        self._unread = NO_EVENTS
        if not resumed:
            world["row"] = world["event_count"] = 0
            world["ref"] = _signed(begun.payload["ref"]) if begun.payload else 0
        try:
            self._begun = begun
            self._hold(begun)
            self._run(begun, count)
            events = begun.out[: int(world["event_count"])]
            if begun.out is self._scratch:
                events = events.copy()
            self._unread = events
            self._release()
        except BaseException as error:
            self.settle()
            error.add_note(f"{world['row']} of {count} commands were applied; take_unread() gives their events")
            raise
        return events

    def _run(self, begun: Begun, count: int) -> None:
        """Let the kernel go on to command `count`, in bounded steps, with more room where it asks for it."""
        world = self._memory.world
        ended = GROW
        while ended != DONE or world["row"] < count:
            ended = self._operate(OP_RUN, min(count, int(world["row"]) + BATCH))
            if ended == GROW:
                self._memory.grow_short()
            elif ended == FULL:
                self._lengthen(begun)
            elif ended == COLD:
                self._perform(begun)
            elif ended == RARE:
                self._call, self._entry = whole_entry(), engine_entry

    def _lengthen(self, begun: Begun) -> None:
        """Make room for more events, in a longer array if it comes to that."""
        wanted = begun.room + (self._event_rows or begun.room)
        if wanted > len(begun.out):
            more = np.empty(max(wanted, 2 * len(begun.out)), EVENT)
            more[: begun.room] = begun.out[: begun.room]
            begun.out = more
        begun.room = wanted
        self._hold(begun)

    def _perform(self, begun: Begun) -> None:
        """Perform a cold command, which the kernel has led to its checks: on a desk first, then in the tables."""
        if begun.cold is None or begun.payload is None:
            self._forged = True
            raise AuditError(_FORGED)
        world = self._memory.world
        if begun.desk is None:
            self._memory.grow_short()
            before = int(world["event_count"])
            desk = Desk(self._memory, self._registry, self._venue, self._operate)
            desk.run(begun.cold, begun.payload)
            begun.out = np.concatenate([begun.out[:before], event_records(desk.out), np.zeros(SCRATCH_EVENTS, EVENT)])
            begun.room = len(begun.out)
            begun.events = before + len(desk.out)
            begun.desk = desk
        # From here all may be done twice.
        self._hold(begun)
        begun.desk.write()
        world["event_count"] = begun.events
        if not begun.desk.accepted:
            world["memo"] = 0  # Nothing is to be remembered of a refusal.
        world["phase"] = FINISH

    def _hold(self, begun: Begun) -> None:
        """Let the kernel read these commands and write these events."""
        world = self._memory.world
        world["held"] = 1
        self._put(COMMANDS, begun.rows)
        self._put(EVENTS, begun.out)
        world["event_rows"] = begun.room

    def _put(self, table: int, array: np.ndarray) -> None:
        """Let a table be this array, unless it is."""
        if self._memory.arrays[table] is not array:
            self._memory.put(table, array)

    def _release(self) -> None:
        """Let single orders have row 0 and the own events again."""
        world = self._memory.world
        self._put(COMMANDS, self._command)
        self._put(EVENTS, self._scratch)
        world["event_rows"] = len(self._scratch)
        self._begun = None
        world["event_count"] = 0
        # Only now may what the kernel wrote to be forgotten.
        world["held"] = 0

    def settle(self) -> None:
        """Finish the command that an exception cut short, if there is one. O(1) if not.

        Raises `AuditError` where the caller changed a batch while it ran, so that it cannot be finished.
        """
        if self._forged:
            raise AuditError(_FORGED)
        if self._driven:
            raise MisuseError("a backtest is running in this market; what is to be known of it is on the strategy's desk")
        world = self._memory.world
        self._memory.settle()
        if self._begun is None:
            if world["phase"] == IDLE:
                world["held"] = 0
                return
            self._begun = self._begin_single()
        begun = self._begun
        self._hold(begun)
        if world["phase"] != IDLE:
            self._run(begun, int(world["row"]) + 1)
        self._unread = begun.out[: int(world["event_count"])].copy()
        self._release()

    # ── snapshots ────────────────────────────────────────────────────────────────────────────────

    def save(self) -> tuple[dict[str, Any], dict[int, np.ndarray]]:
        """Give everything that a market is: what has names, and the tables, which are not copied."""
        self.settle()
        return self._registry.save(), self._memory.save()

    def load(self, names: dict[str, Any], tables: dict[int, np.ndarray]) -> None:
        """Become the market that was saved; only an empty one may."""
        assert self.command_seq == 0, "a snapshot is loaded into an empty market"
        self._memory.load(tables)
        self._registry.load(names)
        self._release()

    # ── the whole ────────────────────────────────────────────────────────────────────────────────

    def export(self) -> Market:
        """Rebuild the market as the reference's objects. O(state)."""
        self.settle()
        return export_market(self._memory, self._registry, self._venue)

    def check(self) -> None:
        """Raise `AuditError` if the books do not add up. O(state)."""
        check(self.export())

    def canonical(self) -> list[Any]:
        """List everything that decides anything, in one order. O(state)."""
        return canonical(self.export())

    def state_hash(self) -> str:
        """Hash the canonical state. O(state)."""
        return state_hash(self.export())

    def memory_hash(self) -> str:
        """Hash the tables as they are: equal for the same commands, however batched, compiled or not. O(bytes)."""
        return self._memory.memory_hash()

    @property
    def next_due_ns(self) -> int | None:
        """When the next timer falls due, or None."""
        due_ns = self._operate(OP_DUE)
        return due_ns if due_ns >= 0 else None


def whole_entry() -> Callable[..., int]:
    """Compile the entry that runs every command, or load it."""
    return exact_entry(engine_entry, 10, WHOLE)  # type: ignore[no-any-return]


def _signed(ref: int) -> int:
    """Give a reference as the signed number with the same bits."""
    return ref - 2**64 if ref >= 2**63 else ref
