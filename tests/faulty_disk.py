"""A disk in memory that loses, tears, reorders and fails as a real one may, no more and no less.

    file:  what is safe ─┬─ writes since the last sync ─► what a reader sees now
                         └─ a crash keeps any of their sectors, each as it was before, or as any of the writes left it
    names: the same, operation by operation, until their directory is synced

`crash(chance)` gives a disk as it may be found after power was lost; `fail_at` makes one call fail, or stop the machine;
`forget` plants a defect: a kind of call that says it was done and does nothing.
"""

from __future__ import annotations

import copy
import errno
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rightsx.errors import StoreLockedError

if TYPE_CHECKING:
    import random

SECTOR = 512


class PowerLost(BaseException):
    """The machine stops here."""


@dataclass
class Inode:
    """A file: what is safe of it, and what was written since."""

    safe: bytearray = field(default_factory=bytearray)
    now: bytearray = field(default_factory=bytearray)
    writes: list[tuple[int, bytes]] = field(default_factory=list)
    locked: bool = False

    def write(self, offset: int, data: bytes) -> None:
        put(self.now, offset, data)
        self.writes.append((offset, bytes(data)))

    def sync(self) -> None:
        self.safe = bytearray(self.now)
        self.writes.clear()

    def after_crash(self, chance: random.Random) -> Inode:
        """Keep any sectors of what was not synced."""
        found = bytearray(self.safe)
        kind = chance.randrange(4)
        for offset, data in self.writes:
            at = offset
            while at < offset + len(data):
                end = min(offset + len(data), (at // SECTOR + 1) * SECTOR)
                if kind == 0 or (kind > 1 and chance.random() < 0.5):
                    put(found, at, data[at - offset : end - offset])
                at = end
        return Inode(found, bytearray(found))


def put(content: bytearray, offset: int, data: bytes) -> None:
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


class MemoryFile:
    """An open file of a `FaultyDisk`."""

    def __init__(self, disk: FaultyDisk, path: Path, inode: Inode) -> None:
        self.path, self._disk, self._inode = path, disk, inode

    def size(self) -> int:
        return len(self._inode.now)

    def read(self, offset: int, length: int) -> bytes:
        self._disk.call("read", self.path)
        return bytes(self._inode.now[offset : offset + length])

    def write(self, offset: int, data: Any) -> None:
        data = bytes(data)
        self._disk.call("write", self.path, lambda part: self._inode.write(offset, data[: int(len(data) * part)]))
        self._inode.write(offset, data)

    def sync(self) -> None:
        if self._disk.call("sync", self.path):
            self._inode.sync()

    def close(self) -> None:
        self._inode.locked = False


class FaultyDisk:
    """Files and names in memory."""

    def __init__(self) -> None:
        self.files: dict[Path, Inode] = {}
        self.safe_names: dict[Path, Inode] = {}
        self.steps: list[tuple[str, Path, Path | None, Inode | None]] = []
        self.calls = 0
        self.fail_at: int | None = None
        self.error: int | None = None  # an errno, or None for the power
        self.part = 0.0  # of a failing write that is done all the same
        self.forget: set[tuple[str, str]] = set()
        self.log: list[tuple[str, Path]] = []

    # ── what the store calls ─────────────────────────────────────────────────────────────────────

    def call(self, name: str, path: Path, partly: Any = None) -> bool:
        """Count a call, and fail if it is the one; False if it is to be forgotten."""
        self.calls += 1
        self.log.append((name, path))
        if self.calls == self.fail_at:
            if partly is not None and self.part:
                partly(self.part)
            if self.error is None:
                raise PowerLost
            raise OSError(self.error, errno.errorcode[self.error], str(path))
        return (name, path.parent.name) not in self.forget and (name, path.name) not in self.forget

    def open(self, path: Path, *, create: bool = False, write: bool = True, private: bool = False) -> MemoryFile:
        self.call("create" if create else "open", path)
        del write, private
        if create:
            if path in self.files:
                raise FileExistsError(errno.EEXIST, "exists", str(path))
            self.files[path] = inode = Inode()
            self.steps.append(("create", path, None, inode))
        if path not in self.files:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
        return MemoryFile(self, path, self.files[path])

    def make_directory(self, path: Path) -> None:
        self.call("mkdir", path)

    def names(self, path: Path) -> list[str]:
        return sorted(one.name for one in self.files if one.parent == path)

    def exists(self, path: Path) -> bool:
        return path in self.files

    def rename(self, old: Path, new: Path) -> None:
        self.call("rename", new)
        inode = self.files.pop(old)
        self.files[new] = inode
        self.steps.append(("rename", new, old, inode))

    def remove(self, path: Path) -> None:
        self.call("remove", path)
        del self.files[path]
        self.steps.append(("remove", path, None, None))

    def sync_directory(self, path: Path) -> None:
        if self.call("sync_directory", path):
            keep = []
            for step in self.steps:
                if step[1].parent == path:
                    take(self.safe_names, step)
                else:
                    keep.append(step)
            self.steps = keep

    def sync_everything(self) -> None:
        if self.call("sync_everything", Path("/")):
            for inode in self.files.values():
                inode.sync()
            self.safe_names, self.steps = dict(self.files), []

    def lock(self, path: Path) -> Any:
        inode = self.files.setdefault(path, Inode())
        if inode.locked:
            raise StoreLockedError(f"{path.parent} is open for writing elsewhere")
        inode.locked = True
        return MemoryFile(self, path, inode)

    # ── what may be found later ──────────────────────────────────────────────────────────────────

    def crash(self, chance: random.Random) -> FaultyDisk:
        """Give the disk as it may be after power was lost now."""
        names = dict(self.safe_names)
        kind = chance.randrange(3)
        for step in self.steps:
            if kind == 0 or (kind == 2 and chance.random() < 0.5):
                take(names, step)
        return self._of({path: inode.after_crash(chance) for path, inode in names.items()})

    def killed(self) -> FaultyDisk:
        """Give the disk as the next process finds it, which knows nothing of what is safe of it and what is not."""
        disk = FaultyDisk()
        disk.files, disk.safe_names, disk.steps = copy.deepcopy((self.files, self.safe_names, self.steps))
        for inode in disk.files.values():
            inode.locked = False
        return disk

    def copy(self) -> FaultyDisk:
        """Give the disk as a reader sees it now, all of it safe."""
        return self._of({path: Inode(bytearray(one.now), bytearray(one.now)) for path, one in self.files.items()})

    def _of(self, files: dict[Path, Inode]) -> FaultyDisk:
        disk = FaultyDisk()
        disk.files, disk.safe_names = files, dict(files)
        return disk

    def image(self) -> tuple[tuple[str, bytes], ...]:
        """Give all of it, to tell one state from another."""
        return tuple(sorted((str(path), bytes(inode.now)) for path, inode in self.files.items() if path.name != "lock"))


def take(names: dict[Path, Inode], step: tuple[str, Path, Path | None, Inode | None]) -> None:
    """Let a step befall some names, as far as it can."""
    kind, path, old, inode = step
    if kind == "remove":
        names.pop(path, None)
    elif kind == "create":
        assert inode is not None
        names[path] = inode
    else:
        assert old is not None
        assert inode is not None
        names.pop(old, None)
        names[path] = inode
