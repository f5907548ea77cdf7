"""Makes commands durable before they are acknowledged, and brings a market back from them.

    command ─► checked ─► frame ─► one write ─► sync ─► twin ─► events ─► journal ─► acknowledged
                           │                                                │
    store.json  lock  secret   log/00000001 …                     journal/public  journal/entries

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

import contextlib
import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from rightsx.commandlog import FrameKind, LogReader, LogWriter
from rightsx.disk import RealDisk, read_whole, write_aside
from rightsx.errors import CorruptionError, DivergenceError, MisuseError, StoreFailedError
from rightsx.ledger import SECRET_BYTES, Journal
from rightsx.protocol import (
    AT_ENGINE_CLOCK,
    COMMAND,
    EVENT,
    FIRST_COLD_KIND,
    RULES_VERSION,
    TIME_END,
    Command,
    CommandKind,
    Limits,
    Refusal,
    Venue,
)
from rightsx.vocabulary import check_hot, unpack

if TYPE_CHECKING:
    from collections.abc import Callable

    from rightsx.commandlog import End
    from rightsx.disk import Disk
    from rightsx.ledger import Published
    from rightsx.note import SigningKey
    from rightsx.twins import Twin

FORMAT: Final = 1
DURABILITIES: Final = ("disk", "os", "none")
MODES: Final = ("tail", "strict")
HEADER_FILE: Final = "store.json"
REPLAY_BATCH: Final = 65_536
HELD_COMMANDS: Final = 1_024
NO_EVENTS: Final = np.zeros(0, EVENT)


class StoreHeader(NamedTuple):
    """What a store is: written once, when it is made."""

    store: str
    origin: str
    venue: Venue

    def pack(self) -> bytes:
        """Write it as people can read it."""
        venue = {**self.venue._asdict(), "limits": self.venue.limits._asdict()}
        told = {"format": FORMAT, "rules": RULES_VERSION, "store": self.store, "origin": self.origin, "venue": venue}
        check = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
        return json.dumps({**told, "check": check}, indent=1).encode() + b"\n"


def unpack_header(path: Path, data: bytes) -> StoreHeader:
    """Read a store's header, or raise `CorruptionError`."""
    try:
        told = json.loads(data)
        venue = told["venue"]
        found = StoreHeader(told["store"], told["origin"], Venue(**{**venue, "limits": Limits(**venue["limits"])}))
        version = told["format"], told["rules"]
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptionError(f"this is no header of a store: {error}", path) from error
    if version != (FORMAT, RULES_VERSION):
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
    ) -> None:
        """Open the folder, or make it if it is to be written to."""
        self.path = path
        self.disk: Disk = disk or RealDisk()
        self.writes = writes
        self._lock: Any = None
        header = path / HEADER_FILE
        if not self.disk.exists(header):
            if not writes:
                raise MisuseError(f"{path} is no store; there is no {HEADER_FILE}")
            self._make(origin or (signer.name if signer else "rightsx.local/store"), venue or Venue())
        if writes:
            self._lock = self.disk.lock(path / "lock")
        try:
            data = read_whole(self.disk, header)
            self.header = unpack_header(header, data)
            self.digest = hashlib.sha256(data).digest()
            self.tag = int.from_bytes(self.digest[:4], "little")
            self._same(venue, origin)
            self.journal = Journal(
                path / "journal", origin=self.header.origin, signer=signer, secret=self._secret(), writes=writes, disk=self.disk
            )
        except BaseException:
            self.close()
            raise

    def _make(self, origin: str, venue: Venue) -> None:
        self.disk.make_directory(self.path / "log")
        self.disk.make_directory(self.path / "journal")
        secret = self.path / "secret"
        if not self.disk.exists(secret):
            write_aside(self.disk, secret, secrets.token_bytes(SECRET_BYTES))
            with contextlib.suppress(OSError, AttributeError):
                secret.chmod(0o600)
        # The header comes last: a folder without one is no store yet.
        write_aside(self.disk, self.path / HEADER_FILE, StoreHeader(secrets.token_hex(16), origin, venue).pack())
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

    def reader(self, *, strict: bool = False) -> LogReader:
        """Give what walks through the log."""
        return LogReader(self.disk, self.path / "log", tag=self.tag, header=self.digest, strict=strict)

    def writer(self, end: End, **options: int) -> LogWriter:
        """Give what appends to the log where it ends."""
        return LogWriter(self.disk, self.path / "log", end, tag=self.tag, header=self.digest, **options)

    def close(self) -> None:
        """Let another writer have it."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


# ── a durable twin ───────────────────────────────────────────────────────────────────────────────


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
        self._options = options
        self._log: LogWriter | None = None
        self._process = os.getpid()
        self._held: list[np.ndarray] = []  # acknowledged under "none", and in no frame yet
        self._held_from: tuple[int, bytes] = (0, b"")
        self._ahead: tuple[np.ndarray, bytes, int] | None = None  # logged, not yet applied to the end; the first one's number
        self._done: list[np.ndarray] = []  # events of those among them that are applied
        self._unread = NO_EVENTS
        self._root = self.journal.root()

    def __getattr__(self, name: str) -> Any:
        """Let the twin answer questions."""
        return getattr(self.twin, name)

    # ── recovery ─────────────────────────────────────────────────────────────────────────────────

    def recover(
        self, hear: Callable[[np.ndarray], None], *, mode: str = "tail", progress: Callable[[int, int], None] | None = None
    ) -> None:
        """Apply the whole log, compare it with what was recorded, and go on from its end; `hear` is given all events.

        `progress` is told how many commands are applied, and of how many bytes of log. Raises `CorruptionError` or
        `DivergenceError`, and then the store is as it was.
        """
        if mode not in MODES:
            raise MisuseError(f"mode was {mode!r}; one of {', '.join(MODES)} is due")
        reader = self.store.reader(strict=mode == "strict")
        rows: list[np.ndarray] = []
        count = 0

        def apply_rows() -> None:
            nonlocal count
            if rows:
                self._replay(np.concatenate(rows), b"", hear)
                rows.clear()
                count = 0
            if progress is not None:
                progress(self.twin.command_seq, reader.size_bytes)

        for frame in reader:
            cold = frame.kind == FrameKind.COLD
            if cold or count + frame.commands > REPLAY_BATCH:
                apply_rows()
                self._compare(frame.journal_size, frame.root, frame.first_seq)
            command = np.frombuffer(frame.body, COMMAND, frame.commands)
            if cold:
                payload = frame.body[COMMAND.itemsize :][: int(command[0]["qty"])]
                self._replay(command, payload, hear)
            else:
                rows.append(command)
                count += frame.commands
        apply_rows()
        promised = self.journal.promised
        if promised is not None and self.journal.size < promised.size:
            raise DivergenceError(
                f"a checkpoint of {promised.size} events was handed out; the log gives {self.journal.size}: its end is missing"
            )
        if self.store.writes:
            self._log = self.store.writer(reader.end, **self._options)
            self._append(FrameKind.OPEN, 0, b"")
            self._log.sync()

    def _replay(self, rows: np.ndarray, payload: bytes, hear: Callable[[np.ndarray], None]) -> None:
        events = self._apply(rows, payload)
        self._journal(events)
        hear(events)

    def _compare(self, size: int, root: bytes, seq: int) -> None:
        """Hold the journal against what a frame says of it."""
        if (self.journal.size, self._root) != (size, root):
            raise DivergenceError(
                f"before command {seq} the log states a journal of {size} events with root {root.hex()}; "
                f"its commands give {self.journal.size} and {self._root.hex()}"
            )

    # ── commands ─────────────────────────────────────────────────────────────────────────────────

    def apply_raw(self, command: Command, payload: bytes = b"") -> bytes:
        """Log one command, apply it, and give the bytes of its EVENTs; checked as by the twin, before it is logged."""
        if command.kind not in CommandKind._value2member_map_:
            raise MisuseError(f"kind was {command.kind}; no command has that number", Refusal.BadTerms)
        if command.kind >= FIRST_COLD_KIND:
            unpack(command, payload)
        elif payload:
            raise MisuseError("a payload came with a command that has none", Refusal.BadTerms)
        self._ready()
        row = np.array([tuple(command)], COMMAND)
        return self._complete(self._resolved(row), payload, cold=command.kind >= FIRST_COLD_KIND).tobytes()

    def apply_batch(self, records: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Log COMMAND[n] as one frame, apply them, and give EVENT[m], in `out` if they fit."""
        check_hot(records)
        self._ready()
        if not len(records):
            return self.twin.apply_batch(records, out)
        return self._complete(self._resolved(records.copy()), b"", cold=False, out=out)

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

    def _resolved(self, rows: np.ndarray) -> np.ndarray:
        """Put the time into commands that come at the engine's clock: what the clock will be then. Changes `rows`."""
        times = rows["time_ns"]
        unstamped = times == AT_ENGINE_CLOCK
        if unstamped.any():
            moving = np.where((times >= 0) & (times < TIME_END), times, 0)
            clock = np.maximum(np.maximum.accumulate(moving), self.twin.clock_ns)
            rows["time_ns"] = np.where(unstamped, clock, times)
        return rows

    def _complete(self, rows: np.ndarray, payload: bytes, *, cold: bool, out: np.ndarray | None = None) -> np.ndarray:
        """Log, apply, journal."""
        assert self._log is not None
        if cold or self.durability != "none":
            self._release()
            self._append(FrameKind.COLD if cold else FrameKind.BATCH, len(rows), rows.tobytes() + payload)
            if self.durability == "disk":
                self._log.sync()
        else:
            self._hold(rows)
        # From here the commands will be applied, if not by this call then by the next.
        self._done = []
        self._ahead = rows, payload, self._log.next_seq + sum(map(len, self._held)) - len(rows)
        try:
            events = self._apply(rows, payload, out)
            self._unread = events
            self._journal(events)
            self._ahead = None
        except BaseException:
            if not self.twin.resumable:
                self._log.failed = True  # Half a command is done; the log has it whole.
                raise
            self._finish()
            raise
        return events

    def _apply(self, rows: np.ndarray, payload: bytes, out: np.ndarray | None = None) -> np.ndarray:
        if int(rows[0]["kind"]) < FIRST_COLD_KIND:
            return self.twin.apply_batch(rows, out)
        return np.frombuffer(self.twin.apply_raw(Command._make(rows[0].item()), payload), EVENT)

    def _journal(self, events: np.ndarray) -> None:
        """Give the journal the events that it does not have yet; done twice it is done once."""
        leaves = events[events["event_seq"] >= self.journal.size] if len(events) else events
        if len(leaves):
            self.journal.append(leaves)
        self._root = self.journal.root()

    def _finish(self) -> None:
        """Apply what was logged and not yet applied to its end, and journal it. May be cut short and done again."""
        if self._ahead is None:
            return
        rows, payload, first = self._ahead
        told = int(self._done[-1][-1]["command_seq"]) if self._done else first - 1
        done = self.twin.take_unread(told)
        if len(done):
            self._done.append(done)
        rest = rows[self.twin.command_seq - first + 1 :]
        if len(rest):
            self._done.append(self._apply(rest, payload))
        self._unread = np.concatenate(self._done)
        self._journal(self._unread)
        self._ahead = None

    # ── the log ──────────────────────────────────────────────────────────────────────────────────

    def _append(self, kind: FrameKind, count: int, body: bytes) -> None:
        assert self._log is not None
        self._log.append(kind, count, body, self.journal.size, self._root)

    def _hold(self, rows: np.ndarray) -> None:
        """Keep commands for the next frame."""
        if not self._held:
            self._held_from = self.journal.size, self._root
        self._held.append(rows)
        if sum(map(len, self._held)) >= HELD_COMMANDS:
            self._release()

    def _release(self) -> None:
        """Write the commands that are held as a frame."""
        assert self._log is not None
        if self._held:
            rows = np.concatenate(self._held)
            self._log.append(FrameKind.BATCH, len(rows), rows.tobytes(), *self._held_from)
            self._held = []

    def sync(self) -> int:
        """Make everything acknowledged so far safe; gives the number of the last command that is."""
        self._ready()
        assert self._log is not None
        self._release()
        self._log.sync()
        return self._log.next_seq - 1

    def publish(self) -> Published:
        """Make everything acknowledged safe, then publish the journal."""
        self.sync()
        return self.journal.publish()

    def close(self) -> None:
        """Make everything safe, say so in the log, and let another writer have the store."""
        try:
            if self._log is not None and not self._log.failed and os.getpid() == self._process:
                self._finish()
                self._release()
                self._append(FrameKind.CLOSE, 0, b"")
                self._log.sync()
        finally:
            if self._log is not None:
                self._log.close()
            self._log = None
            self.journal.close()
            self.store.close()


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
