"""The Merkle-chained settlement journal: every event is a leaf of one log, and anybody can check what is said of it.

    EVENT[n] ─► salts ─► leaf hashes ─► nodes ─► frontier ─► root          on the commit path
       │                    │
       │                    └── publish ──► tile/…, checkpoint             public: proves, and shows no record
       └─────────────────────── publish ──► entries/…                      private: a receipt opens one of them

A record is 120 bytes whose first two are C2SP's length of the 118 that follow; those are the leaf. 65,536 records are a
file of `entries/`, and any 256 of them on a border of 256 are an entry bundle as they stand. `publish` writes what is new
in tiles and records, and then a checkpoint, safe before it is handed out. All files but the checkpoint are functions of the
commands and the secret: what a crash takes of them is made again, and must come out the same.

The secret hides what is beside a proof: `salt = SHA-256(secret ‖ event_seq)[:16]` stands in each record, so that nobody can
guess a record whose hash he sees. Without a secret salts are zero.

A journal is usable alone: `append` takes the events of any exchange. Costs: two hashes an event and O(log n) a batch; 32 bytes
an event of memory until it is published (without a folder for good), 120 + 32.13 bytes of files.
Sources: RFC 6962; C2SP tlog-tiles, tlog-checkpoint, tlog-proof.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from rightsx.disk import RealDisk, read_whole, write_aside
from rightsx.errors import CorruptionError, DivergenceError, MisuseError, ProofError
from rightsx.hashing import LEVELS, levels_above, take_leaves, tree_levels
from rightsx.merkle import (
    HASH_BYTES,
    Frontier,
    prove_batch,
    prove_consistency,
    prove_inclusion,
    range_root,
)
from rightsx.note import Checkpoint, check_checkpoint, format_note, is_name, parse_checkpoint, parse_note
from rightsx.protocol import EVENT
from rightsx.receipt import Receipt
from rightsx.slabs import Slabs
from rightsx.tiles import CACHED_TILES, TILE_LEVELS, TILE_WIDTH, TileReader, bundle_path, tile_path, tile_widths

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rightsx.disk import Disk, File
    from rightsx.note import SigningKey

SEGMENT_ENTRIES: Final = 65_536
MOST_KEPT: Final = SEGMENT_ENTRIES  # records in memory while a log is read again, where they are in files
SECRET_BYTES: Final = 32
RECORD_BYTES: Final = EVENT.itemsize
CHECKPOINT: Final = "checkpoint"
ENTRIES: Final = "entries"
PUBLIC: Final = "public"

assert SEGMENT_ENTRIES % TILE_WIDTH == 0, "a bundle stands in one segment"


_above = lru_cache(maxsize=CACHED_TILES)(levels_above)  # of the bytes of a tile: its other nodes

# ── the tree ─────────────────────────────────────────────────────────────────────────────────────


class Tree:
    """All of a tree that is not in files yet: the frontier, and hashes of the levels that tiles hold.

    A call of `append` that an interrupt cuts short has done nothing, whatever it had written: it is the size that counts.
    """

    def __init__(self) -> None:
        """Begin with no leaves."""
        self._grown: tuple[int, np.ndarray] = (0, np.zeros((LEVELS, HASH_BYTES), np.uint8))  # size and frontier, changed together
        self.tiled = 0  # the size up to which all full tiles were let go
        self._held: list[Slabs] = []  # by level of tiles
        self._made = np.empty((0, HASH_BYTES), np.uint8)  # where the nodes of a batch are made

    @property
    def size(self) -> int:
        """How many leaves there are."""
        return self._grown[0]

    def room(self, count: int) -> np.ndarray:
        """Give memory for the next `count` leaf hashes, uint8[count, 32]; those need not move."""
        return self._place(0, self.size, count)

    def append(self, leaves: np.ndarray) -> None:
        """Add leaf hashes, uint8[n, 32]. O(n + log size) hashes."""
        size, frontier = self._grown
        frontier = frontier.copy()
        if len(self._made) < len(leaves) + LEVELS:
            self._made = np.empty((2 * len(leaves) + LEVELS, HASH_BYTES), np.uint8)
        levels = tree_levels(leaves, self._made, frontier=frontier, size=size)
        for tile_level, nodes in enumerate(levels[::TILE_LEVELS]):
            place = self._place(tile_level, size >> TILE_LEVELS * tile_level, len(nodes))
            if nodes.base is not place.base:  # else they stand in their room
                place[:] = nodes
        self._grown = size + len(leaves), frontier

    def _place(self, tile_level: int, number: int, count: int) -> np.ndarray:
        """Give memory for the hashes of a level of tiles from a number on."""
        if tile_level == len(self._held):
            self._held.append(Slabs(HASH_BYTES))
        return self._held[tile_level].room(number, count, first=self._first(tile_level))

    def _first(self, tile_level: int) -> int:
        """Give the number from which on hashes of a level of tiles are held: where a tile begins that was not full."""
        return (self.tiled >> TILE_LEVELS * tile_level) // TILE_WIDTH * TILE_WIDTH

    def frontier(self) -> Frontier:
        """Give what the tree must remember to go on."""
        size, frontier = self._grown
        levels = [level for level in range(size.bit_length()) if size >> level & 1]
        return Frontier(size, [frontier[level].tobytes() for level in reversed(levels)])

    def hashes(self, tile_level: int, number: int, count: int) -> bytes | None:
        """Give hashes of a level of tiles, those of them that there are, or None if they are not held any more."""
        if number < self._first(tile_level):
            return None
        return self._held[tile_level].read(number, min(count, (self.size >> TILE_LEVELS * tile_level) - number))

    def node(self, level: int, number: int) -> bytes | None:
        """Give a complete node, or None if its tile is not held any more."""
        tile_level, inside = divmod(level, TILE_LEVELS)
        tile, at = divmod(number << inside, TILE_WIDTH)
        hashes = self.hashes(tile_level, tile * TILE_WIDTH, TILE_WIDTH)
        if hashes is None:
            return None
        start = (at >> inside) * HASH_BYTES
        return (_above(hashes)[inside - 1] if inside else hashes)[start : start + HASH_BYTES]

    def save(self) -> dict[str, Any]:
        """Give all of it, after `let_go`: bytes and numbers."""
        size, frontier = self._grown
        held = [[self._first(level), self.hashes(level, self._first(level), TILE_WIDTH)] for level in range(len(self._held))]
        return {"size": size, "frontier": frontier.tobytes(), "held": held}

    def load(self, saved: dict[str, Any]) -> None:
        """Become what was saved."""
        frontier = np.frombuffer(saved["frontier"], np.uint8).reshape(LEVELS, HASH_BYTES).copy()
        self.tiled = saved["size"]
        for level, (first, hashes) in enumerate(saved["held"]):
            rows = np.frombuffer(hashes, np.uint8).reshape(-1, HASH_BYTES)
            self._place(level, first, len(rows))[:] = rows
        self._grown = saved["size"], frontier

    def let_go(self) -> None:
        """Hold no tile any more that is full."""
        self.tiled = self.size
        for tile_level, held in enumerate(self._held):
            held.let_go(self._first(tile_level))


class Records:
    """Records that are not in files yet. How many there are is the size of the tree."""

    def __init__(self) -> None:
        """Begin with none."""
        self.first = 0  # the number of the first of them: those before are in files
        self._slabs = Slabs(EVENT)

    def room(self, size: int, count: int) -> np.ndarray:
        """Give memory for the next `count` records behind `size`, EVENT[count]."""
        return self._slabs.room(size, count, first=self.first)

    def read(self, first: int, count: int) -> bytes:
        """Give the bytes of `count` records from number `first` on, all of which there are."""
        return self._slabs.read(first, count)

    def arrays(self, size: int) -> Iterator[tuple[int, np.ndarray]]:
        """Give what there is, as arrays, with the number of their first row."""
        return self._slabs.arrays(self.first, size)

    def let_go(self, until: int) -> None:
        """Drop records before number `until`."""
        self.first = until
        self._slabs.let_go(until)


# ── the journal ──────────────────────────────────────────────────────────────────────────────────


class Published(NamedTuple):
    """What `publish` made public: the checkpoint, and the signed note (empty without a signer)."""

    checkpoint: Checkpoint
    note: bytes


class Journal:
    """The log of everything that was settled.

    `folder` is where `public/` and `entries/` are written; without it all stays in memory. `origin` names the log and must be
    the signer's name. `secret` is 32 bytes that hide records from those who hold a neighbour's proof. `open_records` makes
    all records public, as entry bundles.

    In a folder that has a checkpoint the events are appended again from the first on, and nothing is published before they
    have reached it. If they give the root that it states, files that are missing or not what the events give are
    made again (`repaired` names them), else it is a `DivergenceError`. Without `writes` files are let alone.

    >>> from rightsx import Exchange
    >>> market = Exchange(engine="reference")
    >>> ann = market.open_account()
    >>> journal = Journal(origin="market.example/rightsx")
    >>> journal.append(market.event_records)
    >>> journal.size, len(journal.prove_inclusion(0))
    (1, 0)
    """

    def __init__(
        self,
        folder: Path | str | None = None,
        *,
        origin: str,
        signer: SigningKey | None = None,
        secret: bytes | None = None,
        open_records: bool = False,
        writes: bool = True,
        disk: Disk | None = None,
    ) -> None:
        """Begin with no leaves.

        `MisuseError` for a signer of another name or a secret of another length; `ProofError` if the checkpoint in the folder
        is none, or none that the signer signed.
        """
        check_origin(origin, signer)
        if secret is not None and (not isinstance(secret, bytes) or len(secret) != SECRET_BYTES):
            raise MisuseError(f"secret was {type(secret).__name__}; {SECRET_BYTES} bytes are due")
        self.origin = origin
        self.published: Published | None = None
        self._tiles: TileReader | None = None  # what was read of files lately
        self._folder = None if folder is None else Path(folder)
        self._signer = signer
        self._secret = secret
        self._disk: Disk = disk or RealDisk()
        self._tree = Tree()
        self._records = Records()
        self._open_records = open_records
        self._writes = writes
        self._files: dict[int, File] = {}
        self._made: set[Path] = set()  # directories
        self._swept = False  # all that this journal finds of partial tiles it has written itself
        self.repaired: list[Path] = []  # files that were there and not what the events give
        self.for_market = False  # if so, only the market publishes, after stating what is owed
        self.promised = self._read_promised()

    def _read_promised(self) -> Checkpoint | None:
        """Read the checkpoint that was handed out last; receipts are drawn up against it, once the events have reached it."""
        path = None if self._folder is None else self._folder / PUBLIC / CHECKPOINT
        if path is None or not self._disk.exists(path):
            return None
        data = read_whole(self._disk, path)
        found = parse_checkpoint(parse_note(data).text)
        self.published = Published(found, data)
        if self._signer is not None:
            return check_checkpoint(data, self._signer.verifier)
        if found.origin != self.origin:
            raise ProofError(f"the checkpoint in the folder is one of {found.origin!r}; the journal is {self.origin!r}")
        return found

    # ── appending ────────────────────────────────────────────────────────────────────────────────

    @property
    def size(self) -> int:
        """How many events there are."""
        return self._tree.size

    def root(self) -> bytes:
        """Give the root of all events so far. O(log size)."""
        return self._tree.frontier().root()

    def append(self, events: np.ndarray) -> None:
        """Add EVENT[n], in order; those that are no leaves (refusals, repeats) are passed over. O(n).

        Raises `MisuseError` for another dtype, and `DivergenceError` if `event_seq` does not go on where the journal ends,
        or if the events do not give the root that was promised.
        """
        if not isinstance(events, np.ndarray) or events.dtype != EVENT or events.ndim != 1:
            raise MisuseError(f"events were {getattr(events, 'dtype', type(events).__name__)}; a NumPy array EVENT[n] is due")
        size, count = self.size, len(events)
        records, room = self._records.room(size, count), self._tree.room(count)
        _, hashes = take_leaves(np.ascontiguousarray(events), size, self._secret, records=records, hashes=room)
        promised = self.promised
        if promised is not None and size < promised.size <= size + len(hashes):
            until = promised.size - size
            self._tree.append(hashes[:until])
            if self.root() != promised.root:
                raise DivergenceError(self._first_difference(promised.size))
            if self._writes:
                self._write_entries()
                self._write_tiles()
            hashes = hashes[until:]
        self._tree.append(hashes)
        if promised is not None and self._writes and self._records.first + MOST_KEPT <= self.size < promised.size:
            self._let_go_of_known()

    def _let_go_of_known(self) -> None:
        """Forget records and full tiles that are in files just so; before the promised root is reached nothing is written."""
        assert self._folder is not None
        records, public = self._records, self._folder / PUBLIC
        for first, rows in records.arrays(self.size):
            for start, stop in _segments(first, first + len(rows)):
                path = entries_file(self._folder, start // SEGMENT_ENTRIES)
                if self._there(path, start % SEGMENT_ENTRIES * RECORD_BYTES, rows[start - first : stop - first].tobytes()):
                    continue
                return
            records.let_go(first + len(rows))
        for level, count in enumerate(tile_widths(self.size)):
            for number in range((self._tree.tiled >> TILE_LEVELS * level) // TILE_WIDTH, count // TILE_WIDTH):
                hashes = self._tree.hashes(level, number * TILE_WIDTH, TILE_WIDTH)
                if hashes is None or not self._there(public / tile_path(level, number), 0, hashes):
                    return
        self._tree.let_go()

    def _there(self, path: Path, offset: int, data: bytes) -> bool:
        """Say whether a file has these bytes."""
        if not self._disk.exists(path):
            return False
        file = self._disk.open(path, write=False)
        try:
            return file.read(offset, len(data)) == data
        finally:
            file.close()

    # ── publishing ───────────────────────────────────────────────────────────────────────────────

    def publish(self) -> Published:
        """Write what is new of tiles and records, then a checkpoint of all events so far, which is safe when this returns.

        `DivergenceError` before the events have reached the last checkpoint again; `MisuseError` for the journal of a market,
        which publishes it itself. O(events since the last time).
        """
        if self.for_market:
            raise MisuseError("this is a market's journal; market.publish() states what is owed first")
        return self.publish_stated()

    def publish_stated(self) -> Published:
        """Publish what a market has prepared: see `publish`."""
        if not self._writes:
            raise MisuseError("the journal was opened read-only; it publishes nothing")
        if self.promised is not None and self.size < self.promised.size:
            raise DivergenceError(f"a checkpoint of {self.promised.size} events was handed out; there are {self.size} now")
        checkpoint = Checkpoint(self.origin, self.size, self.root())
        note = format_note(str(checkpoint), [self._signer]) if self._signer is not None else b""
        if self._folder is not None:
            public = self._folder / PUBLIC
            self._write_entries()
            outgrown = self._write_tiles()
            if note:
                write_aside(self._disk, public / CHECKPOINT, note)
                self._disk.sync_directory(public)
            for path in outgrown:
                for name in self._disk.names(path):
                    self._disk.remove(path / name)
        self.promised = checkpoint
        self.published = Published(checkpoint, note)
        return self.published

    def _write_entries(self) -> None:
        assert self._folder is not None
        records = self._records
        for first, rows in records.arrays(self.size):
            for start, stop in _segments(first, first + len(rows)):
                number, inside = divmod(start, SEGMENT_ENTRIES)
                self._put(self._entries(number), inside * RECORD_BYTES, rows[start - first : stop - first].tobytes())
            records.let_go(first + len(rows))

    def _put(self, file: File, offset: int, data: bytes) -> None:
        """Write bytes, unless they are there."""
        there = file.read(offset, len(data))
        if there != data:
            if there and not data.startswith(there):
                self.repaired.append(file.path)
            file.write(offset, data)

    def _first_difference(self, size: int) -> str:
        """Say where the events begin to differ from the records on the disk."""
        told = f"the first {size} events give another root than the checkpoint states"
        assert self._folder is not None
        for start, stop in _segments(self._records.first, size):
            number, inside = divmod(start, SEGMENT_ENTRIES)
            path = entries_file(self._folder, number)
            if not self._disk.exists(path):
                break
            there = read_whole(self._disk, path)[inside * RECORD_BYTES :]
            given = self._records.read(start, stop - start)
            for at in range(0, min(len(there), len(given)), RECORD_BYTES):
                if there[at : at + RECORD_BYTES] != given[at : at + RECORD_BYTES]:
                    return f"{told}; the first that differs from {path} is event {start + at // RECORD_BYTES}"
        return told

    def _entries(self, number: int) -> File:
        """Open a file of records, making it if need be."""
        assert self._folder is not None
        if number not in self._files:
            path = entries_file(self._folder, number)
            self._disk.make_directory(path.parent)
            for file in self._files.values():
                file.close()
            self._files = {number: self._disk.open(path, create=not self._disk.exists(path))}
        return self._files[number]

    def _write_tiles(self) -> list[Path]:
        """Write what is new of tiles; gives the directories of partial ones that are full now."""
        assert self._folder is not None
        public = self._folder / PUBLIC
        self._make_directory(public)
        outgrown = []
        for level, count in enumerate(tile_widths(self.size)):
            first = (self._tree.tiled >> TILE_LEVELS * level) // TILE_WIDTH
            for number in range(first, -(-count // TILE_WIDTH)):
                width = min(TILE_WIDTH, count - number * TILE_WIDTH)
                hashes = self._tree.hashes(level, number * TILE_WIDTH, width)
                assert hashes is not None, "a tile is held until it was written"
                assert len(hashes) == width * HASH_BYTES, "a tile is written whole"
                paths = [public / tile_path(level, number, width)]
                self._write_public(paths[0], hashes)
                if self._open_records and level == 0:
                    paths.append(public / bundle_path(number, width))
                    self._write_public(paths[1], self._read_records(number * TILE_WIDTH, width))
                # Partial before was only the first, but for what a process before us had written.
                if width == TILE_WIDTH and (number == first or not self._swept):
                    outgrown += [path.with_name(path.name + ".p") for path in paths]
        self._tree.let_go()
        self._swept = True
        return outgrown

    def _make_directory(self, path: Path) -> None:
        """Make a directory, unless this journal has made it before."""
        if path not in self._made:
            self._disk.make_directory(path)
            self._made.add(path)

    def _write_public(self, path: Path, data: bytes) -> None:
        """Write a file, unless it is there."""
        if self._disk.exists(path):
            if read_whole(self._disk, path) == data:
                return
            self.repaired.append(path)
        self._make_directory(path.parent)
        write_aside(self._disk, path, data, sync=False)

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    def record(self, event_seq: int) -> bytes:
        """Give the 120 bytes of an event; `MisuseError` if there is none. O(1)."""
        if not isinstance(event_seq, int) or isinstance(event_seq, bool) or not 0 <= event_seq < self.size:
            raise MisuseError(f"event_seq was {event_seq!r}; the journal has {self.size} events, from 0")
        return self._read_records(event_seq, 1)

    def _read_records(self, first: int, count: int) -> bytes:
        """Read records, all of them in files or none, and in one segment."""
        if first >= self._records.first:
            return self._records.read(first, count)
        assert self._folder is not None
        number, inside = divmod(first, SEGMENT_ENTRIES)
        path = entries_file(self._folder, number)
        file = self._disk.open(path, write=False)
        try:
            data = file.read(inside * RECORD_BYTES, count * RECORD_BYTES)
        finally:
            file.close()
        if len(data) < count * RECORD_BYTES:
            raise CorruptionError("the file ends before the record", path, inside * RECORD_BYTES)
        return data

    def node(self, level: int, number: int) -> bytes:
        """Give a complete node of the tree."""
        found = self._tree.node(level, number)
        return found if found is not None else self._reader().node(level, number)

    def _reader(self) -> TileReader:
        assert self._folder is not None
        public = self._folder / PUBLIC
        if self._tiles is None or self._tiles.size != self._tree.tiled:
            self._tiles = TileReader(self._tree.tiled, lambda path: read_whole(self._disk, public / path), levels_above)
        return self._tiles

    def prove_inclusion(self, event_seq: int, *, size: int | None = None) -> list[bytes]:
        """Prove that an event is in the journal as it is, or as it was at `size`. `MisuseError` if it is not."""
        return prove_inclusion(event_seq, self._size(size), self.node)

    def prove_consistency(self, old: int, new: int | None = None) -> list[bytes]:
        """Prove that the journal of `new` events (all of them) begins with the one of `old`. `MisuseError` if there is none."""
        return prove_consistency(old, self._size(new), self.node)

    def prove_batch(self, event_seqs: Iterable[int], *, size: int | None = None) -> list[bytes]:
        """Prove several events together; hashes that their proofs share are in it once."""
        return prove_batch(event_seqs, self._size(size), self.node)

    def receipt(self, event_seq: int) -> Receipt:
        """Draw up what a customer keeps of an event: the record, its proof, the signed checkpoint it is proved against.

        `MisuseError` if no signed checkpoint covers it yet (`publish`).
        """
        if self.published is None or not self.published.note:
            raise MisuseError("a receipt needs a signed checkpoint; make the journal with a signer and call publish()")
        size = self.published.checkpoint.size
        record = self.record(event_seq)
        if event_seq >= size:
            raise MisuseError(f"event {event_seq} is not covered by the last checkpoint, which has {size}; call publish()")
        return Receipt(event_seq, record[2:], tuple(self.prove_inclusion(event_seq, size=size)), self.published.note)

    def _size(self, size: int | None) -> int:
        if size is not None and (not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= self.size):
            raise MisuseError(f"size was {size!r}; the journal has {self.size} events")
        return self.size if size is None else size

    # ── snapshots ────────────────────────────────────────────────────────────────────────────────

    def save(self) -> dict[str, Any]:
        """Write what is new of records and tiles, and give the rest of what a journal is, which is small."""
        assert self._folder is not None, "a journal in memory is made anew"
        self._write_entries()
        self._write_tiles()
        return self._tree.save()

    def load(self, saved: dict[str, Any]) -> None:
        """Become the journal that was saved, whose files are there; only an empty one may.

        `DivergenceError` if the checkpoint in the folder is not one of this journal.
        """
        assert self.size == 0, "a snapshot is loaded into an empty journal"
        self._tree.load(saved)
        self._records.let_go(self.size)
        promised = self.promised
        if promised is not None and 0 < promised.size <= self.size and range_root(0, promised.size, self.node) != promised.root:
            raise DivergenceError(f"the first {promised.size} events give another root than the checkpoint states")

    def saved_events(self) -> Iterator[np.ndarray]:
        """Read the records that are in files, as EVENT[n] with salts of zero."""
        assert self._folder is not None
        for start, stop in _segments(0, self._records.first):
            path = entries_file(self._folder, start // SEGMENT_ENTRIES)
            data = bytearray(read_whole(self._disk, path)[: (stop - start) * RECORD_BYTES])
            if len(data) < (stop - start) * RECORD_BYTES:
                raise CorruptionError("the file ends before the last record of a snapshot", path, len(data))
            events = np.frombuffer(data, EVENT)
            events["salt"] = 0
            yield events

    def close(self) -> None:
        """Close the files. What was not published is made again from the commands."""
        for file in self._files.values():
            file.close()
        self._files = {}


def _segments(start: int, end: int) -> Iterator[tuple[int, int]]:
    """Cut a range of records where files of them begin."""
    while start < end:
        stop = min(end, (start // SEGMENT_ENTRIES + 1) * SEGMENT_ENTRIES)
        yield start, stop
        start = stop


def check_origin(origin: object, signer: SigningKey | None) -> None:
    """Let a name for a journal pass, which is its signer's if it has one; else `MisuseError`."""
    if not isinstance(origin, str) or not is_name(origin):
        raise MisuseError(f"origin was {origin!r}; printable characters without space and plus are due")
    if signer is not None and signer.name != origin:
        raise MisuseError(f"the signer is {signer.name!r} and the origin {origin!r}; one name is due")


def entries_file(folder: Path, number: int) -> Path:
    """Name the file of records 65,536 × number and on."""
    return folder / ENTRIES / f"{number:08d}"
