"""The few disk calls that everything durable goes through, so that tests can tear, lose, delay and reorder them.

What a crash may do is stated here, because everything above relies on it:
- a file's bytes are safe when `sync` has returned; before that any part of them may be lost or stay, sector by sector;
- a name (a new file, a rename, a removal) is safe when the directory's `sync_directory` has returned;
- a rename puts the one file or the other under the name, never a mixture.

Every error is the system's `OSError`, with the path in `filename`. Nothing is tried again: after a failed sync nobody
knows what is on the disk (A. Rebello and others, "Can applications recover from fsync failures?", USENIX ATC 2020).
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Protocol

from rightsx.errors import StoreLockedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class File(Protocol):
    """An open file. Offsets and sizes are bytes."""

    path: Path

    def size(self) -> int: ...  # noqa: D102
    def read(self, offset: int, length: int) -> bytes: ...  # noqa: D102
    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None: ...  # noqa: D102
    def sync(self) -> None: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


class Disk(Protocol):
    """Files and their names."""

    def open(self, path: Path, *, create: bool = False, write: bool = True, private: bool = False) -> File: ...  # noqa: D102
    def make_directory(self, path: Path) -> None: ...  # noqa: D102
    def names(self, path: Path) -> list[str]: ...  # noqa: D102
    def exists(self, path: Path) -> bool: ...  # noqa: D102
    def rename(self, old: Path, new: Path) -> None: ...  # noqa: D102
    def remove(self, path: Path) -> None: ...  # noqa: D102
    def sync_directory(self, path: Path) -> None: ...  # noqa: D102
    def sync_everything(self) -> None: ...  # noqa: D102
    def lock(self, path: Path) -> Any: ...  # noqa: D102


_sync_data = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


class _RealFile:
    """A file of the operating system."""

    def __init__(self, path: Path, flags: int, mode: int) -> None:
        self.path = path
        self._descriptor = os.open(path, flags, mode)

    def size(self) -> int:
        """Say how many bytes it has."""
        return os.fstat(self._descriptor).st_size

    def read(self, offset: int, length: int) -> bytes:
        """Read up to `length` bytes; fewer are there if the file ends before."""
        with _named(self.path):
            pieces = []
            while length:
                piece = os.pread(self._descriptor, length, offset)
                if not piece:
                    break
                pieces.append(piece)
                offset += len(piece)
                length -= len(piece)
            return b"".join(pieces)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write all bytes; what a failure leaves is unknown."""
        with _named(self.path):
            rest = memoryview(data).cast("B")
            while rest:
                written = os.pwrite(self._descriptor, rest, offset)
                offset += written
                rest = rest[written:]

    def sync(self) -> None:
        """Make all bytes written so far safe."""
        with _named(self.path):
            _sync_data(self._descriptor)

    def close(self) -> None:
        """Close it; a second time does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class RealDisk:
    """The disk of the operating system (POSIX)."""

    def open(self, path: Path, *, create: bool = False, write: bool = True, private: bool = False) -> File:
        """Open a file; with `create` one that must not be there yet, and that nobody else may read if it is `private`."""
        flags = (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC
        return _RealFile(path, flags | (os.O_CREAT | os.O_EXCL if create else 0), 0o600 if private else 0o666)

    def make_directory(self, path: Path) -> None:
        """Make a directory and those above it, where they are not there."""
        path.mkdir(parents=True, exist_ok=True)

    def names(self, path: Path) -> list[str]:
        """List a directory, in the order of names; one that is not there is empty."""
        try:
            return sorted(os.listdir(path))  # noqa: PTH208 - names, not paths
        except FileNotFoundError:
            return []

    def exists(self, path: Path) -> bool:
        """Say whether there is a file of this name."""
        return path.exists()

    def rename(self, old: Path, new: Path) -> None:
        """Give a file another name, in place of the file that had it."""
        os.replace(old, new)  # noqa: PTH105 - as the system call is named

    def remove(self, path: Path) -> None:
        """Remove a file."""
        path.unlink()

    def sync_directory(self, path: Path) -> None:
        """Make the names in a directory safe."""
        with _named(path):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def sync_everything(self) -> None:
        """Make all files and names safe, at once: cheaper than one by one where they are many."""
        os.sync()

    def lock(self, path: Path) -> Any:
        """Hold a file's lock until it is closed, or the process ends; `StoreLockedError` if another process holds it."""
        import fcntl  # noqa: PLC0415 - POSIX alone has it

        file = path.open("a+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise StoreLockedError(f"{path.parent} is open for writing elsewhere; one writer at a time") from None
        except BaseException:
            file.close()
            raise
        return file


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Put the path into an error of a call that takes a descriptor."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def write_aside(disk: Disk, path: Path, data: bytes, *, sync: bool = True, private: bool = False) -> None:
    """Put a whole file under its name at once: written aside, synced, renamed; the directory is the caller's to sync."""
    aside = path.with_name(path.name + ".new")
    if disk.exists(aside):
        disk.remove(aside)
    file = disk.open(aside, create=True, private=private)
    try:
        file.write(0, data)
        if sync:
            file.sync()
    finally:
        file.close()
    disk.rename(aside, path)


def read_whole(disk: Disk, path: Path) -> bytes:
    """Read a whole file."""
    file = disk.open(path, write=False)
    try:
        return file.read(0, file.size())
    finally:
        file.close()
