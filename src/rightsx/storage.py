"""Makes commands durable before they are acknowledged, and brings a market back from them.

    command ─► checked ─► frame ─► one write ─► sync ─► twin ─► events ─► journal ─► acknowledged
                           │                                                │
    store.json  lock  secret  salts   log/00000001 …              journal/public  journal/entries

The command log is the one source of truth; events, records and tiles are functions of it and of the secret. Opening a store
applies the log to an empty twin and holds the result against what was recorded: every frame states the journal's size and
root before it, and the checkpoint what was signed. A replay that gives another one goes no further (`DivergenceError`).

What is checked is checked before it is logged, so that no command in the log is a wrong call. Once it is logged it will be
applied: a call that is cut short (Ctrl-C) between the two is finished by the next, and `take_unread` gives its events. A
write or sync that failed ends the writer (`StoreFailedError`); so does a fork, in the child.

Levels of `durability`: "disk", what is acknowledged is on the disk; "os", it survives the process, not the machine; "none",
neither, until `sync`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import secrets
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeVar

import numpy as np

from rightsx.commandlog import FrameKind, LogReader, LogWriter
from rightsx.commitment import State
from rightsx.disk import RealDisk, read_whole, write_aside
from rightsx.errors import CorruptionError, DivergenceError, MisuseError, StoreFailedError
from rightsx.ledger import SECRET_BYTES, Journal, check_origin
from rightsx.protocol import (
    AT_ENGINE_CLOCK,
    COMMAND,
    EVENT,
    FIRST_COLD_KIND,
    RULES_VERSION,
    TIME_END,
    Command,
    CommandKind,
    EventKind,
    Limits,
    Refusal,
    Venue,
    events_in,
)
from rightsx.salts import KNOWN, MISSING, Salts
from rightsx.snapshot import Snapshot, read_snapshot, write_snapshot
from rightsx.solvency import draw_up
from rightsx.twins import SavingTwin
from rightsx.vocabulary import check_hot, command, root_in, root_words, unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rightsx.commandlog import End
    from rightsx.disk import Disk
    from rightsx.ledger import Published
    from rightsx.note import SigningKey
    from rightsx.solvency import SolvencyProof
    from rightsx.twins import Twin

FORMAT: Final = 2
READABLE: Final = (1, 2)  # 1 published no states
DURABILITIES: Final = ("disk", "os", "none")
MODES: Final = ("tail", "strict")
HEADER_FILE: Final = "store.json"
REPLAY_FRAMES: Final = 4_096  # replayed at once
HELD_BYTES: Final = 1_024 * COMMAND.itemsize
MANY: Final = 256  # events that the journal is told of at once: hashing few at a time costs more
KEPT_BYTES: Final = MANY * EVENT.itemsize
KINDS: Final = frozenset(map(int, CommandKind))
COMMAND_STRUCT: Final = Struct("<q4B3I6qQ")
KIND_AT: Final = 8  # where a COMMAND says what it is
GROUP_SECONDS: Final = 0.001  # the longest that a durable command waits for others
SEQ_AT: Final = 24  # where an EVENT says whose it is
NO_EVENTS: Final = np.zeros(0, EVENT)
Answer = TypeVar("Answer", bytes, np.ndarray)

assert COMMAND_STRUCT.size == COMMAND.itemsize


class StoreHeader(NamedTuple):
    """What a store is: written once, when it is made."""

    store: str
    origin: str
    venue: Venue
    format: int

    def pack(self) -> bytes:
        """Write it as people can read it."""
        venue = {**self.venue._asdict(), "limits": self.venue.limits._asdict()}
        told = {"format": self.format, "rules": RULES_VERSION, "store": self.store, "origin": self.origin, "venue": venue}
        check = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
        return json.dumps({**told, "check": check}, indent=1).encode() + b"\n"


def unpack_header(path: Path, data: bytes) -> StoreHeader:
    """Read a store's header, or raise `CorruptionError`."""
    try:
        told = json.loads(data)
        venue = told["venue"]
        limited = Venue(**{**venue, "limits": Limits(**venue["limits"])})
        found = StoreHeader(told["store"], told["origin"], limited, told["format"])
        version = told["format"], told["rules"]
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptionError(f"this is no header of a store: {error}", path) from error
    if version[0] not in READABLE or version[1] != RULES_VERSION:
        raise CorruptionError(
            f"the store has format {version[0]} and rules {version[1]}; this is {FORMAT} and {RULES_VERSION}", path
        )
    if found.pack() != data:
        raise CorruptionError("the header of the store is not as it was written", path)
    return found


# ── a store on disk ──────────────────────────────────────────────────────────────────────────────


class Store:
    """A folder with a log and a journal: makes it, or reads what it is; nothing is applied yet.

    `MisuseError` if `venue` or `origin` are given and are not those it was made with.
    """

    def __init__(
        self,
        path: Path,
        *,
        disk: Disk | None = None,
        venue: Venue | None = None,
        origin: str | None = None,
        signer: SigningKey | None = None,
        writes: bool = True,
        compares: bool = False,
    ) -> None:
        """Open the folder, or make it if it is to be written to; with `compares` the journal's files are read, too."""
        if origin is not None:
            check_origin(origin, signer)
        self.path = path
        self.disk: Disk = disk or RealDisk()
        self.writes = writes
        self._lock: Any = None
        header = path / HEADER_FILE
        if writes:
            self.disk.make_directory(path)
            self._lock = self.disk.lock(path / "lock")  # first: two may make the same store
        try:
            if not self.disk.exists(header):
                if not writes:
                    raise MisuseError(f"{path} is no store; there is no {HEADER_FILE}")  # noqa: TRY301
                self._make(origin or (signer.name if signer else "rightsx.local/store"), venue or Venue())
            data = read_whole(self.disk, header)
            self.header = unpack_header(header, data)
            self.digest = hashlib.sha256(data).digest()
            self.tag = int.from_bytes(self.digest[:4], "little")
            self._same(venue, origin)
            if writes:
                # A process before may have been killed between giving a name and making it safe.
                for folder in (path.parent, path, path / "log"):
                    self.disk.sync_directory(folder)
            self.salts = Salts(self.disk, path / "salts")
            self.journal = Journal(
                path / "journal",
                origin=self.header.origin,
                signer=signer,
                secret=self._secret(),
                writes=writes or compares,
                disk=self.disk,
            )
        except BaseException:
            self.close()
            raise

    def _make(self, origin: str, venue: Venue) -> None:
        self.disk.make_directory(self.path / "log")
        self.disk.make_directory(self.path / "journal")
        secret = self.path / "secret"
        if not self.disk.exists(secret):
            write_aside(self.disk, secret, secrets.token_bytes(SECRET_BYTES), private=True)
        # The header comes last, when all else is safe: a folder without one is no store yet.
        self.disk.sync_directory(self.path)
        write_aside(self.disk, self.path / HEADER_FILE, StoreHeader(secrets.token_hex(16), origin, venue, FORMAT).pack())
        for folder in (self.path, self.path.parent):
            self.disk.sync_directory(folder)

    def _same(self, venue: Venue | None, origin: str | None) -> None:
        """Refuse another venue or origin than the store was made with."""
        header = self.header
        if venue is not None and venue != header.venue:
            raise MisuseError(f"{self.path} was made with {header.venue}; {venue} was given")
        if origin is not None and origin != header.origin:
            raise MisuseError(f"{self.path} was made with the origin {header.origin!r}; {origin!r} was given")

    def _secret(self) -> bytes:
        path = self.path / "secret"
        secret = read_whole(self.disk, path)
        if len(secret) != SECRET_BYTES:
            raise CorruptionError(f"the secret has {len(secret)} bytes; {SECRET_BYTES} are due", path)
        return secret

    def reader(self, *, strict: bool = False, start: End | None = None) -> LogReader:
        """Give what walks through the log, from its beginning or from where a snapshot was taken."""
        return LogReader(self.disk, self.path / "log", tag=self.tag, header=self.digest, strict=strict, start=start)

    def writer(self, end: End, **options: int) -> LogWriter:
        """Give what appends to the log where it ends."""
        return LogWriter(self.disk, self.path / "log", end, tag=self.tag, header=self.digest, **options)

    def close(self) -> None:
        """Let another writer have it."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


# ── a durable twin ───────────────────────────────────────────────────────────────────────────────


class Held(NamedTuple):
    """COMMANDs acknowledged under "none", and in no frame yet: the number of the first, and their bytes."""

    first: int
    rows: bytearray

    @property
    def end(self) -> int:
        """The number after the last of them."""
        return self.first + len(self.rows) // COMMAND.itemsize


class Ahead(NamedTuple):
    """Commands on their way through the log: their bytes, a payload, the first one's number, events so far."""

    rows: bytes
    payload: bytes
    first: int
    done: list[np.ndarray]


class DurableTwin:
    """A twin whose commands are in a store before it applies them. It answers as the twin does.

    `recover` comes before the first command.
    """

    def __init__(self, store: Store, twin: Twin, *, durability: str = "disk", **options: int) -> None:
        """Take a store and an empty twin; `options` are the log writer's."""
        self.store = store
        self.twin = twin
        self.durability = durability
        self.journal = store.journal
        self.journal.for_market = True
        self._options = options
        self._log: LogWriter | None = None
        self._process = os.getpid()
        self._held = Held(0, bytearray())
        self._ahead: Ahead | None = None
        self._unread = NO_EVENTS
        self._group: asyncio.Task[None] | None = None  # the next sync of those who share one
        self._events = bytearray()  # EVENTs that the journal does not have yet
        self._told = 0  # the last command whose events the journal has, or had before these
        self._publishes: Command | None = None  # the one PUBLISH that passes
        self.state: State | None = None  # what was owed at the last publication, if that is known
        self._resalted = False  # an account has another salt since
        self.compared = (0, 0)  # states that were compared, and that could not be, because salts are forgotten
        self._stated = (0, self.journal.root())  # what frames say of the journal: its size and root when it was last told

    def __getattr__(self, name: str) -> Any:
        """Let the twin answer questions."""
        return getattr(self.twin, name)

    # ── recovery ─────────────────────────────────────────────────────────────────────────────────

    def recover(
        self,
        hear: Callable[[np.ndarray], None] | None = None,
        *,
        mode: str = "tail",
        whole: bool = False,
        states: Literal["last", "all"] = "last",
        progress: Callable[[int, int], None] | None = None,
    ) -> LogReader:
        """Apply the log, compare it with what was recorded, and go on from its end; `hear` is given all events.

        The log is read from the newest snapshot on, unless it is to be read `whole`. Of the `states` that were published the
        last one that a checkpoint was signed over is compared with the market as it was then, or all are. `progress` is told how
        many commands are applied, and of how many bytes of log. Gives the reader, at its end.
        Raises `CorruptionError` or `DivergenceError`, and then the store is as it was.
        """
        if mode not in MODES:
            raise MisuseError(f"mode was {mode!r}; one of {', '.join(MODES)} is due")
        start = None if whole else self._load(hear)
        hear = hear or _unheard
        reader = self.store.reader(strict=mode == "strict", start=start)
        bodies: list[bytes] = []

        def apply_bodies() -> None:
            if bodies:
                hear(self._replay(b"".join(bodies), b""))
                bodies.clear()
            if progress is not None:
                progress(self.twin.command_seq, reader.size_bytes)

        for frame in reader:
            if frame.kind != FrameKind.BATCH or frame.journal_size != self._stated[0] or len(bodies) >= REPLAY_FRAMES:
                apply_bodies()
            self._reach(frame.journal_size, frame.root, frame.first_seq)
            if frame.kind == FrameKind.BATCH and frame.body[KIND_AT] == CommandKind.PUBLISH:
                apply_bodies()
                hear(self._replay_state(frame.body, every=states == "all"))
            elif frame.kind == FrameKind.BATCH:
                bodies.append(frame.body)
            elif frame.kind == FrameKind.COLD:
                row, rest = frame.body[: COMMAND.itemsize], frame.body[COMMAND.itemsize :]
                hear(self._replay(row, rest[: int(np.frombuffer(row, COMMAND)[0]["qty"])]))
        apply_bodies()
        self._journal()
        promised = self.journal.promised
        if promised is not None and self.journal.size < promised.size:
            raise DivergenceError(
                f"a checkpoint of {promised.size} events was handed out; the log gives {self.journal.size}: its end is missing"
            )
        if self.store.writes:
            self._log = self.store.writer(reader.end, **self._options)
            self._log.append(FrameKind.OPEN, 0, b"", *self._stated)
            self._log.sync()
        return reader

    def _load(self, hear: Callable[[np.ndarray], None] | None) -> End | None:
        """Become the market of the newest snapshot, if there is one; gives where the log goes on."""
        twin, store = self.twin, self.store
        if not isinstance(twin, SavingTwin):
            return None
        found = read_snapshot(store.disk, store.path / "snapshots", store.tag, twin.save()[1])
        if found is None:
            return None
        twin.load(found.names, found.tables)
        self.journal.load(found.journal)
        self._stated = self.journal.size, self.journal.root()
        self._told = found.told
        if hear is not None:
            for events in self.journal.saved_events():
                hear(events)
        return found.end

    def _replay(self, rows: bytes, payload: bytes) -> np.ndarray:
        events = self._apply(rows, payload)
        self._keep(events)
        return events

    def _replay_state(self, row: bytes, *, every: bool) -> np.ndarray:
        """Apply a PUBLISH, which stands alone in its frame, and hold its root against the market's."""
        events = self._replay(row, b"")
        promised = self.journal.promised
        if every or (promised is not None and int(events[-1]["event_seq"]) == promised.size - 1):
            seq, stated = self.twin.command_seq, root_in(Command._make(COMMAND_STRUCT.unpack(row)))
            found = self._state_at(seq)
            if found is not None and found.root != stated and not self.store.writes:
                self.store.salts.read_again()  # a writer beside us may have drawn others since
                found = self._state_at(seq)
            if found is not None and found.root != stated:
                raise DivergenceError(f"command {seq} states what is owed as {stated.hex()}; the market is {found.root.hex()}")
            self.state = found
            compared, unknown = self.compared
            self.compared = (compared + (found is not None), unknown + (found is None))
        return events

    def _state_at(self, seq: int) -> State | None:
        """Build the state as it is, with the salts that were in force at a command; None if some of them are forgotten."""
        promises, holders, accounts = self.twin.promises()
        salts, known = self.store.salts.in_force(accounts, seq)
        missing = np.flatnonzero(known == MISSING)
        if len(missing):
            # They were on the disk before the command was: this is no torn end.
            told = f"the salt of account {missing[0]} is missing, and command {seq} states what it holds"
            raise CorruptionError(told, self.store.path / "salts")
        return State(promises, holders, salts, self.state) if (known == KNOWN).all() else None

    def _reach(self, size: int, root: bytes, seq: int) -> None:
        """Give the journal events up to a size that a frame states, and hold its root against the frame's."""
        if (size, root) == self._stated:
            return
        events = np.frombuffer(self._events, EVENT)
        numbers = events["event_seq"]
        begin, end = (
            int(np.argmax(reached)) if reached.any() else len(events)
            for reached in (numbers >= self.journal.size, numbers >= size)
        )
        self.journal.append(events[begin:end])
        self._stated = self.journal.size, self.journal.root()
        self._events = bytearray(events[end:].tobytes())
        if self._stated != (size, root):
            raise DivergenceError(
                f"before command {seq} the log states a journal of {size} events with root {root.hex()}; "
                f"its commands give {self._stated[0]} and {self._stated[1].hex()}"
            )

    # ── commands ─────────────────────────────────────────────────────────────────────────────────

    def apply_raw(self, command: Command, payload: bytes = b"") -> bytes:
        """Log one command, apply it, and give the bytes of its EVENTs; checked as by the twin, before it is logged."""
        if command.kind not in KINDS:
            raise MisuseError(f"kind was {command.kind}; no command has that number", Refusal.BadTerms)
        if command.kind >= FIRST_COLD_KIND:
            unpack(command, payload)
        elif payload:
            raise MisuseError("a payload came with a command that has none", Refusal.BadTerms)
        if command.kind == CommandKind.PUBLISH and command is not self._publishes:
            raise MisuseError("publish() gives this command in a market that is kept", Refusal.BadTerms)
        self._ready()
        if command.time_ns == AT_ENGINE_CLOCK:
            command = command._replace(time_ns=self.twin.clock_ns)
        return self._complete(COMMAND_STRUCT.pack(*command), payload, lambda: self.twin.apply_raw(command, payload))

    def apply_batch(self, records: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Log COMMAND[n] as one frame, apply them, and give EVENT[m], in `out` if they fit."""
        check_hot(records, kept=True)
        self._ready()
        if not len(records):
            return self.twin.apply_batch(records, out)
        raw = self._resolved(records)
        return self._complete(raw, b"", lambda: self.twin.apply_batch(np.frombuffer(raw, COMMAND), out))

    def short_way(self) -> None:
        """Give nothing: every command goes through the log."""

    def heard(self) -> None:
        """Forget the last answer: its caller has it."""
        self.twin.heard()
        self._unread = NO_EVENTS

    def take_unread(self, told: int) -> np.ndarray:
        """Give what a call that an exception cut short had done, and finish it first."""
        self._finish()
        return self._unread[self._unread["command_seq"] > told]

    def _ready(self) -> None:
        """Finish what was logged, and refuse where nothing more can be acknowledged."""
        if not self.store.writes:
            raise MisuseError("the store was opened read-only; it takes no commands")
        if self._log is None:
            raise StoreFailedError("the store is closed, or was never recovered")
        if os.getpid() != self._process:
            raise StoreFailedError(
                "this process was forked from the one that opened the store; open it anew after that one has ended"
            )
        if self._log.failed:
            raise StoreFailedError("a write to this store failed before; open it anew")
        self._finish()

    def _resolved(self, records: np.ndarray) -> bytes:
        """Give the bytes of commands, with the time in those that come at the engine's clock: what the clock will be then."""
        times = records["time_ns"]
        unstamped = times == AT_ENGINE_CLOCK
        if not unstamped.any():
            return records.tobytes()
        rows = np.frombuffer(bytearray(records.tobytes()), COMMAND)  # NumPy copies records field by field
        if unstamped.all():
            rows["time_ns"] = self.twin.clock_ns
        else:
            moving = np.where((times >= 0) & (times < TIME_END), times, 0)
            clock = np.maximum(np.maximum.accumulate(moving), self.twin.clock_ns)
            rows["time_ns"] = np.where(unstamped, clock, times)
        return rows.tobytes()

    def _complete(self, rows: bytes, payload: bytes, apply: Callable[[], Answer]) -> Answer:
        """Log, apply, keep for the journal; `apply` gives the events."""
        assert self._log is not None
        self._ahead = Ahead(rows, payload, self._next_seq(), [])
        try:
            self._write(rows, payload)
            # From here the commands will be applied, if not by this call then by the next.
            events = apply()
            self._unread = NO_EVENTS
            self._keep(events)
            self._ahead = None
        except BaseException:
            if not self.twin.resumable:
                self._log.failed = True  # Half a command may be done; the log has it whole.
                raise
            self._finish()
            raise
        return events

    def _write(self, rows: bytes, payload: bytes) -> None:
        """Write commands as a frame, or hold them for one."""
        assert self._log is not None
        cold = rows[KIND_AT] >= FIRST_COLD_KIND
        if self.durability == "none" and not cold and rows[KIND_AT] != CommandKind.PUBLISH:
            held = self._held
            if held.end <= self._log.next_seq:
                self._held = held = Held(self._log.next_seq, bytearray())
            held.rows.extend(rows)
            if len(held.rows) >= HELD_BYTES:
                self._release()
            return
        self._release()
        count = len(rows) // COMMAND.itemsize
        self._log.append(FrameKind.COLD if cold else FrameKind.BATCH, count, rows + payload if payload else rows, *self._stated)
        if self.durability == "disk":
            self._log.sync()

    def _release(self) -> None:
        """Write the commands that are held as a frame; done twice it is done once, because they have numbers."""
        assert self._log is not None
        held, logged = self._held, self._log.next_seq
        if held.end > logged:
            rows = bytes(held.rows[(logged - held.first) * COMMAND.itemsize :])
            self._log.append(FrameKind.BATCH, held.end - logged, rows, *self._stated)

    def _next_seq(self) -> int:
        """Give the number that the next command takes."""
        assert self._log is not None
        return max(self._log.next_seq, self._held.end)

    def _apply(self, rows: bytes, payload: bytes) -> np.ndarray:
        """Let the twin apply commands as they stand in the log."""
        if rows[KIND_AT] < FIRST_COLD_KIND:
            return self.twin.apply_batch(np.frombuffer(rows, COMMAND))
        return np.frombuffer(self.twin.apply_raw(Command._make(COMMAND_STRUCT.unpack(rows)), payload), EVENT)

    def _finish(self) -> None:
        """Apply what was logged and not yet applied to its end, once it is safe. May be cut short and done again."""
        ahead = self._ahead
        if ahead is None:
            return
        assert self._log is not None
        if self._log.failed or self._next_seq() == ahead.first:
            self._ahead = None  # It never got into the log.
            return
        if self.durability == "disk":
            self._log.sync()
        done = ahead.done
        told = int(done[-1][-1]["command_seq"]) if done else ahead.first - 1
        unread = self.twin.take_unread(told)
        if len(unread):
            done.append(unread.copy())
        rest = ahead.rows[(self.twin.command_seq - ahead.first + 1) * COMMAND.itemsize :]
        if rest:
            done.append(self._apply(rest, ahead.payload))
        self._unread = np.concatenate(done)
        self._keep(self._unread)
        self._ahead = None

    # ── the journal ──────────────────────────────────────────────────────────────────────────────

    def _keep(self, events: np.ndarray | bytes) -> None:
        """Keep events for the journal, and tell it if there are many; events that it has or that are kept are passed over."""
        last = seq_at(self._events, len(self._events) - EVENT.itemsize) if self._events else self._told
        if (
            not isinstance(events, bytes)
            and len(events) >= MANY
            and int(events[0]["command_seq"]) > last
            and self._log is not None
        ):
            self._journal()
            self._tell(events)
            return
        raw = events if isinstance(events, bytes) else events.tobytes()
        if raw and seq_at(raw, 0) <= last:
            rows = np.frombuffer(raw, EVENT)
            raw = rows[rows["command_seq"] > last].tobytes()
        self._events += raw
        if len(self._events) >= KEPT_BYTES and self._log is not None:
            self._journal()

    def _journal(self) -> None:
        """Give the journal the events that are kept for it; done twice it is done once."""
        if self._log is not None:
            self._release()  # A frame states nothing of its own commands.
        if self._events:
            self._tell(np.frombuffer(bytes(self._events), EVENT))
            self._events = bytearray()
        if self.journal.size != self._stated[0]:
            self._stated = self.journal.size, self.journal.root()

    def _tell(self, events: np.ndarray) -> None:
        """Give the journal events, unless it has them."""
        fresh = np.flatnonzero(events["event_seq"] >= self.journal.size)
        if len(fresh):
            self.journal.append(events[fresh[0] :])
            self._stated = self.journal.size, self.journal.root()
        self._told = int(events[-1]["command_seq"])

    # ── the store ────────────────────────────────────────────────────────────────────────────────

    def sync(self) -> int:
        """Make everything acknowledged so far safe; gives the number of the last command that is."""
        self._ready()
        assert self._log is not None
        self._release()
        self._log.sync()
        return self._log.next_seq - 1

    @contextlib.contextmanager
    def unsynced(self) -> Iterator[None]:
        """Let a command be acknowledged before it is safe, for somebody who will wait for that."""
        before = self.durability
        self.durability = "os" if before == "disk" else before
        try:
            yield
        finally:
            self.durability = before

    async def safe(self) -> None:
        """Wait until everything so far is safe: one sync for all who wait, at most a millisecond later."""
        if self._group is None:
            self._group = asyncio.create_task(self._sync_group())
        # A caller that is cancelled stops waiting; the others do not.
        await asyncio.shield(self._group)

    async def _sync_group(self) -> None:
        """Sync for all who wait; a failure is told to each of them."""
        await asyncio.sleep(GROUP_SECONDS)
        self._group = None  # Whoever comes now waits for the next.
        self.sync()

    def publish_command(self) -> Command | None:
        """Build the state as it is now, and give the command that publishes it; None where that was the last command.

        The accounts that have no salt get one. O(accounts + holdings).
        """
        self._ready()
        journal, twin = self.journal_now(), self.twin
        if self.store.header.format == 1:
            return None
        if journal.size and self.state is not None and not self._resalted:
            (last,) = events_in(journal.record(journal.size - 1))
            if (last.kind, last.command_seq) == (EventKind.STATE, twin.command_seq) and root_in(last) == self.state.root:
                return None
        promises, holders, accounts = twin.promises()
        salts = self.store.salts.draw(accounts, self._next_seq())
        self.state = State(promises, holders, salts, self.state)
        words = root_words(self.state.root)
        self._publishes = command(CommandKind.PUBLISH, time_ns=twin.clock_ns, **words)
        return self._publishes

    def state_again(self, command: Command) -> None:
        """Apply a PUBLISH of another store, as it is."""
        self._publishes = command
        self.apply_raw(command)

    def renew_salt(self, account: int) -> None:
        """Give an account another salt, from the next publication on; `MisuseError` if there is no such account."""
        self._ready()
        if not isinstance(account, int) or isinstance(account, bool) or self.twin.account(account) is None:
            raise MisuseError(f"account was {account!r}; there is none with that number", Refusal.UnknownAccount)
        self.store.salts.renew(account, self._next_seq())
        self._resalted = True

    def prove_solvency(self, series: Iterable[int] | None, holders: Iterable[tuple[int, int]]) -> SolvencyProof:
        """Prove what series owe and what accounts hold in them, by the last publication."""
        published = self.journal.published
        if self.state is None or published is None or not published.note:
            raise MisuseError("a proof needs a signed checkpoint over a state; open the market with a signer and publish()")
        receipt = self.journal.receipt(published.checkpoint.size - 1)
        return draw_up(self.state, receipt, series, holders)

    def publish(self) -> Published:
        """Make everything acknowledged safe, then publish the journal."""
        self.sync()
        published = self.journal_now().publish_stated()
        self._resalted = False
        return published

    def snapshot(self) -> Path:
        """Write the whole market as it is now, so that the next start reads the log from here on. O(bytes).

        `MisuseError` for an engine that cannot be saved.
        """
        twin = self.twin
        if not isinstance(twin, SavingTwin):
            raise MisuseError("the reference engine takes no snapshots; the compiled one does")
        self.sync()
        self._journal()
        assert self._log is not None
        store = self.store
        journal = self.journal.save()
        store.disk.sync_everything()
        found = Snapshot(twin.command_seq, self._log.end, journal, self._told, *twin.save())
        return write_snapshot(store.disk, store.path / "snapshots", store.tag, found)

    def journal_now(self) -> Journal:
        """Give the journal, with the events of all commands so far."""
        self._journal()
        return self.journal

    def close(self) -> None:
        """Make everything safe, say so in the log, and let another writer have the store."""
        try:
            if self._log is not None and not self._log.failed and os.getpid() == self._process:
                self._finish()
                self._release()
                self._journal()
                self._log.append(FrameKind.CLOSE, 0, b"", *self._stated)
                self._log.sync()
        finally:
            if self._log is not None:
                self._log.close()
            self._log = None
            self.journal.close()
            self.store.close()


def _unheard(_: np.ndarray) -> None:
    """Let nobody hear."""


def seq_at(raw: bytes | bytearray, start: int) -> int:
    """Give the number of the command that the EVENT at a byte belongs to."""
    return int.from_bytes(raw[start + SEQ_AT : start + SEQ_AT + 8], "little")


def open_twin(
    path: Path | str,
    make: Callable[[Venue], Twin],
    *,
    durability: str = "disk",
    read_only: bool = False,
    origin: str | None = None,
    signer: SigningKey | None = None,
    venue: Venue | None = None,
    disk: Disk | None = None,
    **options: int,
) -> DurableTwin:
    """Open a store, or make it, with an empty twin; `recover` is still to be called."""
    if durability not in DURABILITIES:
        raise MisuseError(f"durability was {durability!r}; one of {', '.join(DURABILITIES)} is due")
    store = Store(Path(path), disk=disk, venue=venue, origin=origin, signer=signer, writes=not read_only)
    try:
        return DurableTwin(store, make(store.header.venue), durability=durability, **options)
    except BaseException:
        store.close()
        raise
