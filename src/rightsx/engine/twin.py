"""The compiled engine as a twin: commands in, events out, behind the same small interface as the reference.

    records ──► run ─┬─ DONE ──► events
                     ├─ FULL ──► events so far are taken away, the run goes on
                     ├─ GROW ──► tables double, the run goes on
                     └─ COLD ──► a Desk performs a command that brings a payload

Between two calls of the kernel a run may be cut short from outside (a KeyboardInterrupt, no memory). Then
the command that was begun is finished, those after it are not begun, and `take_unread` gives what
happened; where finishing itself is cut short, the next call does it first (`settle`). So no hot command is
ever half done, and no event is lost. A cold command cannot be finished from the middle of its writes:
a market in which that happened refuses to go on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from rightsx._jit import aligned_zeros, entry
from rightsx.engine.desk import Desk
from rightsx.engine.export import export_market
from rightsx.engine.memory import MarketMemory
from rightsx.engine.queries import Queries
from rightsx.engine.registry import Registry
from rightsx.engine.run import FINISH, IDLE, OP_DUE, OP_RUN, OP_TAKEN, engine_call
from rightsx.engine.state import COLD, COMMANDS, DONE, EVENTS, EVENTS_PER_STEP, FULL, GROW
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
    command_records,
    event_records,
    events_of,
)
from rightsx.reference.audit import canonical, check, state_hash
from rightsx.vocabulary import unpack

if TYPE_CHECKING:
    from rightsx.reference.state import Market

WHAT: Final = "the engine"
FIRST_ROWS: Final = 1_024
EVENT_ROWS: Final = 4_096
BATCH: Final = 65_536  # commands a call of the kernel, which nothing can interrupt
_KINDS: Final = np.zeros(256, bool)
_KINDS[[kind for kind in CommandKind if kind < FIRST_COLD_KIND]] = True


class Begun(NamedTuple):
    """The commands that run now; a cold one comes alone, with its payload."""

    records: np.ndarray
    cold: Command | None
    payload: dict[str, Any]


class CompiledExchange(Queries):
    """The whole market, compiled. Equal to `ReferenceExchange` in every event and in all of its state."""

    def __init__(self, venue: Venue, *, event_rows: int = EVENT_ROWS, first_rows: int = FIRST_ROWS) -> None:
        """Begin empty, at time 0; compiles the kernels the first time ever.

        `event_rows` is the size of the buffer of events, at least 8; `first_rows` what every pool begins
        with, a power of two from 8. Neither changes what happens.
        """
        assert event_rows >= EVENTS_PER_STEP, "a step needs room for its events"
        self._call = entry(engine_call, 10, WHAT)
        self._venue = venue
        self._memory = MarketMemory(venue, first_rows)
        self._registry = Registry()
        self._events = aligned_zeros(event_rows, EVENT)
        self._memory.put(EVENTS, self._events)
        self._memory.world["event_rows"] = event_rows
        self._begun: Begun | None = None
        self._parts: dict[int, np.ndarray] = {}
        self._unread = (0, np.zeros(0, EVENT))
        self._torn = False

    def _operate(
        self, what: int, a: int = 0, b: int = 0, c: int = 0, d: int = 0, e: int = 0, f: int = 0, g: int = 0, h: int = 0
    ) -> int:
        """Let the kernel do one thing for Python."""
        return self._call(self._memory.state, what, a, b, c, d, e, f, g, h)  # type: ignore[no-any-return]

    # ── commands ─────────────────────────────────────────────────────────────────────────────────

    def apply(self, command: Command, payload: bytes = b"") -> list[Event]:
        """Apply one command and give its events; a cold one brings its payload.

        Raises `MisuseError` for an unknown kind and `CorruptionError` for a payload that is not what
        the command states; nothing has changed then.
        """
        if command.kind not in CommandKind._value2member_map_:
            raise MisuseError(f"kind was {command.kind}; no command has that number", Refusal.BadTerms)
        content = unpack(command, payload) if command.kind >= FIRST_COLD_KIND else {}
        return events_of(self._run(command_records([command]), command, content))

    def apply_batch(self, records: np.ndarray) -> np.ndarray:
        """Apply COMMAND[n] and give EVENT[m]; cold kinds are a `MisuseError` before the first write."""
        if not isinstance(records, np.ndarray) or records.dtype != COMMAND or records.ndim != 1:
            found = getattr(records, "dtype", type(records).__name__)
            raise MisuseError(f"commands were {found}; a NumPy array COMMAND[n] is due", Refusal.BadTerms)
        strange = np.flatnonzero(~_KINDS[records["kind"]])
        if len(strange):
            index = int(strange[0])
            kind = int(records["kind"][index])
            message = f"command {index} was of kind {kind}; a batch takes hot kinds alone, which have no payload"
            raise MisuseError(message, Refusal.BadTerms)
        return self._run(np.ascontiguousarray(records))

    def _run(self, records: np.ndarray, cold: Command | None = None, payload: dict[str, Any] | None = None) -> np.ndarray:
        """Run commands to their end and give all their events; an exception on the way leaves whole commands done."""
        self.settle()
        self._parts.clear()
        memory, world = self._memory, self._memory.world
        memory.put(COMMANDS, records)
        world["row"] = 0
        world["ref"] = _signed(payload["ref"]) if payload else 0
        self._begun = Begun(records, cold, payload or {})
        try:
            self._complete(len(records))
            events = self._joined()
        except BaseException as error:
            self.settle()
            error.add_note(f"{self._unread[0]} of {len(records)} commands were applied; take_unread() gives their events")
            raise
        self._begun = None
        return events

    def _complete(self, count: int) -> None:
        """Let the kernel go on to command `count`, in bounded steps, with more room where it asks for it."""
        world = self._memory.world
        ended = GROW
        while ended != DONE or world["row"] < count:
            ended = self._operate(OP_RUN, min(count, int(world["row"]) + BATCH))
            if ended == GROW:
                self._memory.grow_short()
                continue
            self._take()
            if ended == COLD:
                self._perform()

    def _take(self) -> None:
        """Take the events out of the buffer: kept under their place, so that taking them twice is taking them once."""
        world = self._memory.world
        count = int(world["event_count"])
        if count:
            self._parts[int(world["taken"])] = self._events[:count].copy()
            self._operate(OP_TAKEN)

    def _joined(self) -> np.ndarray:
        """Put the events together that were taken."""
        parts = list(self._parts.values())
        return parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else np.zeros(0, EVENT)

    def _perform(self) -> None:
        """Perform a cold command, which the kernel has led to its checks."""
        assert self._begun is not None
        assert self._begun.cold is not None
        world = self._memory.world
        self._memory.grow_short()
        desk = Desk(self._memory, self._registry, self._venue, self._operate)
        self._torn = True
        accepted = desk.run(self._begun.cold, self._begun.payload)
        self._parts[int(world["taken"])] = event_records(desk.out)
        world["taken"] += len(desk.out)
        if accepted:
            world["phase"] = FINISH
        else:
            world["phase"] = IDLE
            world["row"] += 1
        self._torn = False

    def settle(self) -> None:
        """Finish the command that an exception cut short, if there is one.

        Raises `AuditError` if that was a cold command in the midst of its writes: they are not taken back,
        and the market must not go on.
        """
        if self._torn:
            raise AuditError("a listing, registration or import was interrupted while it wrote; this market cannot go on")
        self._memory.settle()
        if self._begun is None:
            return
        world = self._memory.world
        self._take()
        if world["phase"] != IDLE:
            self._complete(int(world["row"]) + 1)
        self._unread = (int(world["row"]), self._joined())
        self._begun = None

    def take_unread(self) -> tuple[int, np.ndarray]:
        """Give what a call that an exception cut short had done, once: how many commands, and their EVENTs."""
        self.settle()
        unread, self._unread = self._unread, (0, np.zeros(0, EVENT))
        return unread

    # ── the whole ────────────────────────────────────────────────────────────────────────────────

    def export(self) -> Market:
        """Rebuild the market as the reference's objects. O(state)."""
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


def _signed(ref: int) -> int:
    """Give a reference as the signed number with the same bits."""
    return ref - 2**64 if ref >= 2**63 else ref


assert FULL not in (DONE, GROW, COLD)
