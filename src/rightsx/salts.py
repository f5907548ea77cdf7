"""Keeps the salts by which accounts are found in a state's maps: random, apart from all else, each to be forgotten at will.

    salts     block · block · …

    block     first account u4 · count u4 · since i8 · CRC-32 u4 · 12 zeros · count salts of 32 bytes

A block holds the salts of some neighbouring accounts, which count from command `since` on; of two for one account the later
counts. A salt of zeros is forgotten. A block is on the disk before anything is computed with it, so only the last one can be
torn, and that one is drawn anew. Forgetting writes the file aside and renames it. (What a disk keeps of blocks that no
file has any more, no program decides.)
"""

from __future__ import annotations

import contextlib
import secrets
import zlib
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from rightsx.disk import read_whole, write_aside
from rightsx.errors import CorruptionError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rightsx.disk import Disk

SALT_BYTES: Final = 32
MISSING, FORGOTTEN, KNOWN = range(3)
_HEAD: Final = Struct("<IIqI12x")
_COUNTED: Final = 16  # bytes of the head that the CRC covers, before those of the salts


class Block(NamedTuple):
    """Salts of `count` accounts from `first` on, from command `since` on: uint8[count, 32]."""

    first: int
    since: int
    salts: np.ndarray

    def pack(self) -> bytes:
        """Write it."""
        body = self.salts.tobytes()
        head = _HEAD.pack(self.first, len(self.salts), self.since, 0)
        return _HEAD.pack(self.first, len(self.salts), self.since, zlib.crc32(body, zlib.crc32(head[:_COUNTED]))) + body


class Salts:
    """The salts of a store; the file is read when they are first asked for.

    Who draws, renews or forgets first makes sure of what is there: a process before may have been killed between a write and its
    sync. A change that is cut short is as if it had not been, to this process; what it left in the file is read again.
    """

    def __init__(self, disk: Disk, path: Path) -> None:
        """Take a place, where there may be nothing yet."""
        self._disk = disk
        self._path = path
        self._read: tuple[list[Block], int] | None = None  # the blocks, and where the next one goes; None to be read (again)
        self._safe = False

    def in_force(self, accounts: int, seq: int) -> tuple[np.ndarray, np.ndarray]:
        """Give the salts of accounts 0 … `accounts` − 1 at a command, uint8[accounts, 32], and what is known of each.

        That is int[accounts]: `KNOWN`, `FORGOTTEN` since, or `MISSING`. `CorruptionError` for a damaged file. O(accounts).
        """
        found = np.zeros((accounts, SALT_BYTES), np.uint8)
        known = np.full(accounts, MISSING)
        for block in self._all()[0]:
            if block.since <= seq and block.first < accounts:
                part = slice(block.first, block.first + len(block.salts))
                found[part] = block.salts[: accounts - block.first]
                known[part] = FORGOTTEN
        known[(found != 0).any(axis=1)] = KNOWN
        return found, known

    def draw(self, accounts: int, seq: int) -> np.ndarray:
        """Give the salts of all accounts at the command that comes next, after drawing those that are not known. O(accounts)."""
        self._make_sure()
        found, known = self.in_force(accounts, seq)
        for first, end in _runs(np.flatnonzero(known != KNOWN)):
            found[first:end] = drawn = _random(end - first)
            self._append(Block(first, seq, drawn))
        return found

    def renew(self, account: int, seq: int) -> None:
        """Draw another salt for an account, which counts from a command on."""
        self._make_sure()
        self._append(Block(account, seq, _random(1)))

    def forget(self, account: int) -> int:
        """Forget all salts of an account but the last; gives how many. O(file)."""
        self._make_sure()
        blocks, forgotten = [], 0
        mine = [block for block in self._all()[0] if block.first <= account < block.first + len(block.salts)]
        for block in self._all()[0]:
            kept = block
            if any(block is one for one in mine[:-1]) and block.salts[account - block.first].any():
                kept = block._replace(salts=block.salts.copy())
                kept.salts[account - block.first] = 0
                forgotten += 1
            blocks.append(kept)
        if forgotten:
            data = b"".join(block.pack() for block in blocks)
            with self._changing(blocks, len(data)):
                write_aside(self._disk, self._path, data, private=True)
        return forgotten

    def take_from(self, other: Salts) -> None:
        """Become a copy of the salts of another store; only where there are none yet."""
        for block in other._all()[0]:
            self._append(block)

    def forget_all(self, accounts: int) -> None:
        """Say of all accounts that their salts are forgotten, where there never were any."""
        self._append(Block(0, 0, np.zeros((accounts, SALT_BYTES), np.uint8)))

    def read_again(self) -> None:
        """Read the file again when it is asked for next: somebody else may have written to it."""
        self._read = None

    def _append(self, block: Block) -> None:
        """Write a block behind the others, and have it on the disk when this returns."""
        blocks, end = self._all()
        data = block.pack()
        with self._changing([*blocks, block], end + len(data)):
            file = self._disk.open(self._path, create=not self._disk.exists(self._path), private=True)
            try:
                file.write(end, data)
                file.sync()
            finally:
                file.close()

    @contextlib.contextmanager
    def _changing(self, blocks: list[Block], end: int) -> Iterator[None]:
        """Change the file; the new blocks are ours when it and its name are safe."""
        self._read, self._safe = None, False
        yield
        self._disk.sync_directory(self._path.parent)
        self._read, self._safe = (blocks, end), True

    def _make_sure(self) -> None:
        """Have on the disk what is in the file."""
        if not self._safe:
            self._read = None
            if self._disk.exists(self._path):
                file = self._disk.open(self._path)
                try:
                    file.sync()
                finally:
                    file.close()
                self._disk.sync_directory(self._path.parent)
            self._safe = True

    def _all(self) -> tuple[list[Block], int]:
        """Read the file, once; a last block that is not whole is none."""
        if self._read is None:
            data = read_whole(self._disk, self._path) if self._disk.exists(self._path) else b""
            self._read = _blocks(data, self._path)
        return self._read


def _blocks(data: bytes, path: Path) -> tuple[list[Block], int]:
    """Take a file apart; gives the blocks, and where the next one goes."""
    found, start = [], 0
    while start + _HEAD.size <= len(data):
        first, count, since, _ = _HEAD.unpack_from(data, start)
        end = start + _HEAD.size + count * SALT_BYTES
        block = Block(first, since, _rows(data[start + _HEAD.size : end]))
        if not count or end > len(data) or block.pack() != data[start:end]:
            if _whole_after(data, start):
                raise CorruptionError("the salts are damaged: whole ones follow", path, start)
            break
        found.append(block)
        start = end
    return found, start


def _whole_after(data: bytes, start: int) -> bool:
    """Say whether a whole block begins anywhere behind a place: then what is there is no torn end."""
    for at in range(start + 4, len(data) - _HEAD.size + 1, 4):
        _, count, _, _ = _HEAD.unpack_from(data, at)
        end = at + _HEAD.size + count * SALT_BYTES
        if count and end <= len(data) and not any(data[at + 20 : at + _HEAD.size]):
            body = data[at + _HEAD.size : end]
            if zlib.crc32(body, zlib.crc32(data[at : at + _COUNTED])) == _HEAD.unpack_from(data, at)[3]:
                return True
    return False


def _random(count: int) -> np.ndarray:
    return _rows(secrets.token_bytes(count * SALT_BYTES))


def _rows(data: bytes) -> np.ndarray:
    """Give salts that may be changed; a part of one is none."""
    whole = len(data) // SALT_BYTES * SALT_BYTES
    return np.frombuffer(bytearray(data[:whole]), np.uint8).reshape(-1, SALT_BYTES)


def _runs(numbers: np.ndarray) -> list[tuple[int, int]]:
    """Give ascending numbers as ranges [first, end)."""
    parts = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
    return [(int(part[0]), int(part[-1]) + 1) for part in parts if len(part)]
