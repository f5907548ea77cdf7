"""What people ask of a store: does it hold, what is in it, a receipt of an event, and what of a damaged one can be saved.

verify_store     reads everything, applies it to an empty market, compares every file; writes nothing
log_lines        the commands as people read them
read_receipt     a receipt from the journal's files alone
salvage          a new store of what verifies of a damaged one
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rightsx import hashing, tiles
from rightsx.border import iso
from rightsx.commandlog import FrameKind
from rightsx.disk import RealDisk, read_whole
from rightsx.errors import CorruptionError, MisuseError
from rightsx.ledger import CHECKPOINT, PUBLIC, RECORD_BYTES, SEGMENT_ENTRIES, entries_file
from rightsx.merkle import check_inclusion, leaf_hash, prove_inclusion
from rightsx.note import parse_checkpoint, parse_note
from rightsx.protocol import COMMAND, Command, CommandKind
from rightsx.receipt import Receipt
from rightsx.solvency import draw_up
from rightsx.storage import DurableTwin, Store, open_twin
from rightsx.twins import twin_of
from rightsx.views import text_table
from rightsx.vocabulary import COMMANDS, root_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rightsx.disk import Disk, File
    from rightsx.note import VerifierKey
    from rightsx.protocol import Venue
    from rightsx.solvency import SolvencyProof

# ── does it hold ─────────────────────────────────────────────────────────────────────────────────


class StoreReport(NamedTuple):
    """What a store is, and what in it is not what its commands give."""

    path: Path
    commands: int
    events: int
    root: bytes
    published: int
    signer: str  # whose key signed the checkpoint, "" if it was not checked
    log_bytes: int
    torn_bytes: int
    state_hash: str
    states: tuple[int, int]  # published ones that were compared, and that could not be, because salts are forgotten
    differing: tuple[Path, ...]
    missing: tuple[Path, ...]

    @property
    def holds(self) -> bool:
        """Whether every file of the journal is what the commands give. The rest would have raised."""
        return not self.differing and not self.missing

    def __str__(self) -> str:
        """Show a table, and what differs."""
        signed = f"{self.published:,} events, " + (
            f"signed by {self.signer}" if self.signer else "its signature not checked (no key)"
        )
        rows = [
            ("commands", f"{self.commands:,}, in {_size(self.log_bytes)} of log; every frame follows the one before it"),
            ("torn end", f"{self.torn_bytes} bytes of a write that was cut short" if self.torn_bytes else "none"),
            ("journal", f"{self.events:,} events, root {self.root.hex()[:16]}…"),
            ("checkpoint", signed if self.published else "none"),
            ("books", "add up"),
            ("state", f"{self.state_hash[:16]}…"),
            ("published", _states(*self.states)),
        ]
        wrong = [f"{path}: not what the commands give" for path in self.differing]
        wrong += [f"{path}: missing" for path in self.missing]
        told = "everything holds" if self.holds else "\n".join(wrong)
        return f"{text_table(('what', 'found'), rows)}\n\n{self.path}: {told}"


def _states(compared: int, unknown: int) -> str:
    """Say what became of the states that were published."""
    if not compared + unknown:
        return "no state of what is owed"
    told = f"{compared:,} state{'s' * (compared != 1)} of what is owed, as the market was"
    return told + (f"; {unknown:,} not compared, their salts are forgotten" if unknown else "")


def _size(count: int) -> str:
    """Write a number of bytes."""
    return f"{count / 1e6:,.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"  # noqa: PLR2004


class ComparingDisk(RealDisk):
    """A disk that lets nothing be written, and remembers which files would have been made."""

    def __init__(self) -> None:
        """Begin with nothing missed."""
        self.missing: list[Path] = []

    def open(self, path: Path, *, create: bool = False, write: bool = True, private: bool = False) -> File:
        """Open a file for reading; one that would be made is empty."""
        del write, private
        if not create:
            return _Unwritten(path, super().open(path, write=False))
        self.missing.append(path.with_name(path.name.removesuffix(".new")))
        return _Unwritten(path, None)

    def make_directory(self, path: Path) -> None:
        """Make nothing."""

    def rename(self, old: Path, new: Path) -> None:
        """Rename nothing."""

    def remove(self, path: Path) -> None:
        """Remove nothing."""

    def sync_directory(self, path: Path) -> None:
        """Sync nothing."""

    def sync_everything(self) -> None:
        """Sync nothing."""

    def lock(self, path: Path) -> Any:
        """Hold nothing: a reader disturbs nobody."""
        del path
        return contextlib.nullcontext()


class _Unwritten:
    """A file that is read and not written to."""

    def __init__(self, path: Path, file: File | None) -> None:
        self.path, self._file = path, file

    def size(self) -> int:
        return 0 if self._file is None else self._file.size()

    def read(self, offset: int, length: int) -> bytes:
        return b"" if self._file is None else self._file.read(offset, length)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        pass

    def sync(self) -> None:
        pass

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def verify_store(
    path: Path | str,
    *,
    key: VerifierKey | None = None,
    engine: str = "compiled",
    progress: Callable[[int, int, str], None] | None = None,
) -> StoreReport:
    """Read a whole store and hold everything in it against everything else; nothing is written, a writer may be at work.

    Every frame of the log, every root that a frame states, the checkpoint and its signature (with `key`), every tile and record
    up to it, conservation (R11, R36). `progress` is told (bytes of log read, all bytes, what). Raises `CorruptionError`,
    `DivergenceError`, `ProofError` or `AuditError` naming what does not hold; files of the journal that differ are in the
    report. O(commands).
    """
    disk = ComparingDisk()
    store = Store(Path(path), disk=disk, writes=False, compares=True)
    total = log_bytes(path)
    twin = DurableTwin(store, twin_of(engine, store.header.venue))
    tell = progress or (lambda *_: None)
    tell(0, total, "log")
    reader = twin.recover(whole=True, states="all", progress=lambda _, read: tell(read, total, "log"))
    tell(total, total, "books")
    twin.close()
    twin.check()
    signer = ""
    checkpoint = Path(path) / "journal" / PUBLIC / CHECKPOINT
    if key is not None:
        parse_note(read_whole(disk, checkpoint)).check(key)
        signer = key.name
    promised = twin.journal.promised
    missing = tuple(one for one in dict.fromkeys(disk.missing) if one not in twin.journal.repaired)
    return StoreReport(
        Path(path),
        twin.command_seq,
        twin.journal.size,
        twin.journal.root(),
        promised.size if promised else 0,
        signer,
        reader.size_bytes,
        reader.end.torn,
        twin.state_hash(),
        twin.compared,
        tuple(dict.fromkeys(twin.journal.repaired)),
        missing,
    )


def log_bytes(path: Path | str) -> int:
    """Say how many bytes the files of a store's log have."""
    return sum(one.stat().st_size for one in (Path(path) / "log").glob("*") if one.name.isdigit())


# ── what is in it ────────────────────────────────────────────────────────────────────────────────


def command_line(seq: int, command: Command) -> str:
    """Say in one line what a command asks.

    >>> command_line(7, Command(time_ns=0, kind=CommandKind.DEPOSIT, account=3, qty=500))
    '      7  1970-01-01  deposit  account 3, amount 500'
    """
    kind = CommandKind(command.kind)
    told = [f"{one.name} {value}" for one in COMMANDS[kind] if (value := getattr(command, one.field)) or one.default is None]
    if kind == CommandKind.PUBLISH:
        told = [f"root {root_in(command).hex()}"]
    return f"{seq:7d}  {iso(command.time_ns)}  {kind.name.lower().replace('_', ' ')}  {', '.join(told)}".rstrip()


def log_lines(
    path: Path | str, *, first: int = 1, last: int | None = None, kinds: frozenset[int] = frozenset(), account: int | None = None
) -> Iterator[str]:
    """Give the commands of a store's log, a line each: those from `first` to `last`, of some kinds, of an account.

    Raises `CorruptionError` where the log is damaged, after the lines before it.
    """
    store = Store(Path(path), writes=False)
    for frame in store.reader():
        if last is not None and frame.first_seq > last:
            return
        if not frame.commands or frame.first_seq + frame.commands <= first:
            continue
        for index, row in enumerate(np.frombuffer(frame.body, COMMAND, frame.commands).tolist()):
            command, seq = Command._make(row), frame.first_seq + index
            if not first <= seq <= (seq if last is None else last):
                continue
            if kinds and command.kind not in kinds:
                continue
            if account is None or account in (command.account, command.other_account):
                yield command_line(seq, command)


# ── a receipt ────────────────────────────────────────────────────────────────────────────────────


def read_receipt(path: Path | str, event_seq: int, *, disk: Disk | None = None) -> Receipt:
    """Draw up the receipt of an event from a store's journal files: a record, a few tiles, the checkpoint. O(log events).

    `MisuseError` if no checkpoint covers it; `ProofError` or `CorruptionError` if the files do not fit together.
    """
    disk = disk or RealDisk()
    folder = Path(path) / "journal"
    public = folder / PUBLIC
    if not disk.exists(public / CHECKPOINT):
        raise MisuseError(f"{path} has no signed checkpoint; a receipt needs one (publish, with a signer)")
    note = read_whole(disk, public / CHECKPOINT)
    checkpoint = parse_checkpoint(parse_note(note).text)
    if not 0 <= event_seq < checkpoint.size:
        raise MisuseError(f"event_seq was {event_seq}; the checkpoint covers {checkpoint.size} events, from 0")
    # Loading the fast way takes longer than what it would spare a single receipt.
    above = hashing.levels_above if hashing.is_ready() else tiles.levels_above
    reader = tiles.TileReader(checkpoint.size, lambda name: read_whole(disk, public / name), above)
    number, inside = divmod(event_seq, SEGMENT_ENTRIES)
    file = disk.open(entries_file(folder, number), write=False)
    try:
        record = file.read(inside * RECORD_BYTES, RECORD_BYTES)
    finally:
        file.close()
    if len(record) < RECORD_BYTES:
        raise CorruptionError("the file ends before the record", entries_file(folder, number), inside * RECORD_BYTES)
    proof = prove_inclusion(event_seq, checkpoint.size, reader.node)
    check_inclusion(leaf_hash(record[2:]), event_seq, checkpoint.size, proof, checkpoint.root)
    return Receipt(event_seq, record[2:], tuple(proof), note)


def read_solvency(
    path: Path | str,
    *,
    series: Iterable[int] | None = None,
    merchant: int | None = None,
    accounts: Iterable[int] = (),
    engine: str = "compiled",
    progress: Callable[[int, int], None] | None = None,
) -> SolvencyProof:
    """Prove from a store what was owed at its last checkpoint: some series (all) or a merchant's, and what accounts hold there.

    The log is replayed up to there; nothing is written, a writer may be at work. `MisuseError` without a signed checkpoint
    over a state, and for series or accounts that it does not have. O(commands).
    """
    store = Store(Path(path), disk=ComparingDisk(), writes=False, compares=True)
    twin = DurableTwin(store, twin_of(engine, store.header.venue))
    try:
        twin.recover(whole=True, progress=progress)
        state, promised = twin.state, store.journal.promised
        if state is None or promised is None or store.journal.published is None:
            raise MisuseError(f"{path} has no signed checkpoint over a state whose salts are there (publish, with a signer)")
        shown = range(1, state.series.size + 1) if series is None else series
        if merchant is not None:
            shown = [number for number in shown if state.promises["merchant"][number - 1 : number].tolist() == [merchant]]
            if not shown:
                raise MisuseError(f"merchant {merchant} has no series in that state")
        shown = list(shown)
        holders = [(account, number) for account in accounts for number in shown]
        return draw_up(state, store.journal.receipt(promised.size - 1), shown, holders)
    finally:
        twin.close()


# ── what can be saved ────────────────────────────────────────────────────────────────────────────


class Salvage(NamedTuple):
    """What `salvage` saved: how many commands, and why no more (empty if the log was whole)."""

    to: Path
    commands: int
    damage: str

    def __str__(self) -> str:
        """Say it."""
        why = f"; the log is damaged after them:\n{self.damage}" if self.damage else "; the log was whole"
        return f"{self.to}: {self.commands:,} commands saved{why}"


def salvage(
    path: Path | str, to: Path | str, *, engine: str = "compiled", progress: Callable[[int, int], None] | None = None
) -> Salvage:
    """Make a new store of the commands of a damaged one up to the damage; the old one is only read.

    The journal is begun anew from them, with a secret of its own and no checkpoint; salts come along, as far as they are
    there; other accounts get new ones. `MisuseError` if there is something
    at `to`. `progress` is told how many commands are saved, and of how many bytes of log. O(commands).
    """
    if Path(to).exists():
        raise MisuseError(f"{to} exists; salvage writes to a place where nothing is")
    store = Store(Path(path), writes=False)

    def make(venue: Venue) -> Any:
        return twin_of(engine, venue)

    saved = open_twin(to, make, venue=store.header.venue, origin=store.header.origin, durability="os")
    damage = ""
    try:
        saved.recover()
        try:
            reader = store.reader()
            for frame in reader:
                if not frame.commands:
                    continue
                rows = np.frombuffer(frame.body, COMMAND, frame.commands)
                if frame.kind == FrameKind.COLD:
                    payload = frame.body[COMMAND.itemsize :][: int(rows[0]["qty"])]
                    saved.apply_raw(Command._make(rows[0].item()), payload)
                elif rows[0]["kind"] == CommandKind.PUBLISH:
                    saved.state_again(Command._make(rows[0].item()))
                else:
                    saved.apply_batch(rows)
                if progress is not None:
                    progress(saved.command_seq, reader.size_bytes)
        except CorruptionError as error:
            damage = str(error)
        saved.check()
        # What is no longer there of the salts is forgotten; what is there counts, because it comes later.
        saved.store.salts.forget_all(saved.twin.promises()[2])
        with contextlib.suppress(CorruptionError):
            saved.store.salts.take_from(store.salts)
        return Salvage(Path(to), saved.command_seq, damage)
    finally:
        saved.close()
