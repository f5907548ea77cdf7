"""The bytes of a whole market at one command: what a start needs instead of the log before it.

    snapshots/0000000000077321   [RXSN, lengths][header: msgpack][tables, as they lie in memory][SHA-256 of all before it]

A snapshot is written aside, synced, renamed, its directory synced, after the records and tiles that it relies on. It says after
which command it was taken, where the log goes on, and what the journal was. It holds for one store and one layout of
tables: where either is another, or a byte is, it is passed over, and an older one or the whole log is read instead. So a
snapshot can be lost or removed at any time; the two newest are kept.

Costs: O(bytes of the tables), about a second for a gigabyte.
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgpack
import numpy as np

from rightsx.commandlog import End
from rightsx.disk import read_whole, write_aside

if TYPE_CHECKING:
    from pathlib import Path

    from rightsx.disk import Disk

MAGIC: Final = b"RXSN"
FORMAT: Final = 1
START: Final = struct.Struct("<4sIQ")  # magic, format, bytes of the header
DIGEST_BYTES: Final = 32
KEPT: Final = 2
NAME_DIGITS: Final = 16


class Snapshot(NamedTuple):
    """A market after command number `command_seq`: where the log goes on, the journal, what has names, the tables."""

    command_seq: int
    end: End
    journal: dict[str, Any]
    told: int
    names: dict[str, Any]
    tables: dict[int, np.ndarray]


def layout_of(tables: dict[int, np.ndarray]) -> str:
    """Digest what the bytes of tables mean."""
    told = repr([(index, array.dtype.descr) for index, array in sorted(tables.items())])
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def write_snapshot(disk: Disk, folder: Path, tag: int, found: Snapshot) -> Path:
    """Write a snapshot and remove all but the newest; safe when this returns. Gives its path."""
    told = {
        "tag": tag,
        "layout": layout_of(found.tables),
        "command_seq": found.command_seq,
        "end": list(found.end),
        "journal": found.journal,
        "told": found.told,
        "names": found.names,
        "tables": [[index, len(array)] for index, array in sorted(found.tables.items())],
    }
    header = msgpack.packb(told)
    parts = [START.pack(MAGIC, FORMAT, len(header)), header]
    parts += [array.tobytes() for _, array in sorted(found.tables.items())]
    data = b"".join(parts)
    disk.make_directory(folder)
    path = folder / f"{found.command_seq:0{NAME_DIGITS}d}"
    write_aside(disk, path, data + hashlib.sha256(data).digest())
    disk.sync_directory(folder)
    for name in names_of(disk, folder)[:-KEPT]:
        disk.remove(folder / name)
    return path


def names_of(disk: Disk, folder: Path) -> list[str]:
    """List the snapshots there are, oldest first."""
    return [name for name in disk.names(folder) if name.isdigit() and len(name) == NAME_DIGITS]


def read_snapshot(disk: Disk, folder: Path, tag: int, tables: dict[int, np.ndarray]) -> Snapshot | None:
    """Read the newest snapshot that holds for this store and this layout of tables, or None."""
    for name in reversed(names_of(disk, folder)):
        data = read_whole(disk, folder / name)
        if hashlib.sha256(data[:-DIGEST_BYTES]).digest() != data[-DIGEST_BYTES:]:
            continue
        magic, version, length = START.unpack_from(data)
        if (magic, version) != (MAGIC, FORMAT):
            continue
        told = msgpack.unpackb(data[START.size : START.size + length])
        if (told["tag"], told["layout"]) != (tag, layout_of(tables)):
            continue
        at = START.size + length
        found = {}
        for index, rows in told["tables"]:
            dtype = tables[index].dtype
            found[index] = np.frombuffer(data, dtype, rows, at)
            at += rows * dtype.itemsize
        return Snapshot(told["command_seq"], End(*told["end"]), told["journal"], told["told"], told["names"], found)
    return None
