"""Keeps the salts by which accounts are found in a state's maps: random, apart from all else, each to be forgotten at will.

    salts     block · block · …

    block     first account u4 · count u4 · since i8 · CRC-32 u4 · 12 zeros · count salts of 32 bytes

A block holds the salts of some neighbouring accounts, which count from command `since` on; of two for one account the later
counts. A salt of zeros is forgotten. A block is on the disk before anything is computed with it, so only the last one can be
torn, and that one is drawn anew. Forgetting writes the file aside and renames it. (What a disk keeps of blocks that no
file has any more, no program decides.)
"""

from __future__ import annotations

import secrets
import zlib
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from rightsx.disk import read_whole, write_aside
from rightsx.errors import CorruptionError

if TYPE_CHECKING:
    from pathlib import Path

    from rightsx.disk import Disk

SALT_BYTES: Final = 32
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
    """The salts of a store; the file is read when they are first asked for."""

    def __init__(self, disk: Disk, path: Path) -> None:
        """Take a place, where there may be nothing yet."""
        self._disk = disk
        self._path = path
        self._blocks: list[Block] | None = None
        self._end = 0

    def in_force(self, accounts: int, seq: int) -> tuple[np.ndarray, np.ndarray]:
        """Give the salts of accounts 0 … `accounts` − 1 at a command, uint8[accounts, 32], and bool[accounts]: which there are.

        One that was forgotten since is none. `CorruptionError` for a file that is damaged. O(accounts).
        """
        found = np.zeros((accounts, SALT_BYTES), np.uint8)
        for block in self._read():
            if block.since <= seq and block.first < accounts:
                found[block.first : block.first + len(block.salts)] = block.salts[: accounts - block.first]
        known: np.ndarray = (found != 0).any(axis=1)
        return found, known

    def draw(self, accounts: int, seq: int) -> np.ndarray:
        """Give the salts of all accounts at the command that comes next, after drawing those that are missing. O(accounts)."""
        known = self.in_force(accounts, seq)[1]
        for first, end in _runs(np.flatnonzero(~known)):
            self._append(Block(first, seq, _random(end - first)))
        return self.in_force(accounts, seq)[0]

    def renew(self, account: int, seq: int) -> None:
        """Draw another salt for an account, which counts from a command on."""
        self._append(Block(account, seq, _random(1)))

    def forget(self, account: int) -> int:
        """Forget all salts of an account but the last; gives how many. O(file)."""
        blocks, forgotten = self._read(), 0
        mine = [block for block in blocks if block.first <= account < block.first + len(block.salts)]
        for block in mine[:-1]:
            forgotten += bool(block.salts[account - block.first].any())
            block.salts[account - block.first] = 0
        if forgotten:
            write_aside(self._disk, self._path, b"".join(block.pack() for block in blocks), private=True)
            self._disk.sync_directory(self._path.parent)
        return forgotten

    def take_from(self, other: Salts) -> None:
        """Become a copy of the salts of another store; only where there are none yet."""
        for block in other._read():
            self._append(block)

    def _append(self, block: Block) -> None:
        """Write a block behind the others, and have it on the disk when this returns."""
        blocks, is_new = self._read(), not self._disk.exists(self._path)
        data = block.pack()
        file = self._disk.open(self._path, create=is_new, private=True)
        try:
            file.write(self._end, data)
            file.sync()
        finally:
            file.close()
        if is_new:
            self._disk.sync_directory(self._path.parent)
        self._end += len(data)
        blocks.append(block)

    def _read(self) -> list[Block]:
        """Read the file, once; a last block that is not whole is none."""
        if self._blocks is None:
            data = read_whole(self._disk, self._path) if self._disk.exists(self._path) else b""
            self._blocks, self._end = _blocks(data, self._path)
        return self._blocks


def _blocks(data: bytes, path: Path) -> tuple[list[Block], int]:
    """Take a file apart; gives the blocks, and where the next one goes."""
    found, start = [], 0
    while start + _HEAD.size <= len(data):
        first, count, since, _ = _HEAD.unpack_from(data, start)
        end = start + _HEAD.size + count * SALT_BYTES
        block = Block(first, since, _rows(data[start + _HEAD.size : start + _HEAD.size + count * SALT_BYTES]))
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
