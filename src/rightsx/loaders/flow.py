"""Keeps order flow in NumPy's files: a `.npy` of COMMAND records, or a `.npz` with a member `commands`.

    COMMAND[n] ─► save_flow ─► flow.npy, flow.npz ─► load_flow ─► COMMAND[n], the same bytes
                               what `rightsx simulate --to` writes ─┘

A file is held to its head before memory is taken: the type must be COMMAND, the rows must be there to the last byte, and nothing
in it is ever unpickled. A `.npz` has a checksum, a `.npy` has none: a bit flipped among its numbers is another number.
A file is written beside its name and takes it when it is whole: a full disk or Ctrl-C leaves what was there.
"""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from shutil import copymode
from typing import IO, TYPE_CHECKING, Final

import numpy as np
from numpy.lib import format as npy

from rightsx.errors import InputFileError, MisuseError
from rightsx.progress import Progress, Step, following
from rightsx.protocol import COMMAND, commands_of

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMBER: Final = "commands.npy"
ENCRYPTED: Final = 1  # a bit of a member's flags
SUFFIXES: Final = (".npy", ".npz")
ROWS_AT_ONCE: Final = 1 << 16  # between two reports of progress
_HEADS: Final = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def save_flow(path: Path | str, commands: np.ndarray, *, progress: Progress = None) -> None:
    """Write COMMAND[n] to a `.npy`, or packed to a `.npz`; what stood there stays until all of it is written. O(n).

    `progress` is told of commands: see `rightsx.progress`. `MisuseError` for another suffix or dtype; an `OSError` passes.
    """
    place = _place(path).resolve()  # through a link, which stays one
    commands_of(commands[:0] if isinstance(commands, np.ndarray) and commands.ndim else commands)
    with following(progress, place.name) as step, _written_whole(place) as stream:
        if place.suffix == ".npy":
            _write(stream, commands, step)
        else:
            packed = zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED)
            with packed as bundle, bundle.open(MEMBER, "w", force_zip64=True) as member:
                _write(member, commands, step)


@contextmanager
def _written_whole(place: Path) -> Iterator[IO[bytes]]:
    """Give a file beside this place, which takes its name at the end, or is gone if that does not come."""
    part = place.with_name(f"{place.name}.{token_hex(4)}")
    stream = part.open("xb")  # never a file of somebody else's
    try:
        with stream:
            yield stream
        if place.exists():
            copymode(place, part)
        part.replace(place)
    finally:
        part.unlink(missing_ok=True)


def _write(stream: IO[bytes], commands: np.ndarray, step: Step) -> None:
    """Write an array in NumPy's format, a part after the other."""
    head = {"descr": npy.dtype_to_descr(COMMAND), "fortran_order": False, "shape": commands.shape}
    npy.write_array_header_1_0(stream, head)
    step(0, len(commands))
    for start in range(0, len(commands), ROWS_AT_ONCE):
        part = commands[start : start + ROWS_AT_ONCE]
        stream.write(part.tobytes())
        step(start + len(part), len(commands))


def load_flow(path: Path | str, *, progress: Progress = None) -> np.ndarray:
    """Read COMMAND[n] from a `.npy`, or from the member `commands` of a `.npz`. O(n).

    `progress` is told of commands: see `rightsx.progress`. `MisuseError` for another suffix; `InputFileError` for a file that is
    missing, damaged, or holds anything else.
    """
    place = _place(path)
    with following(progress, place.name) as step:
        return _load(place, step)


def _load(place: Path, step: Step) -> np.ndarray:
    try:
        if place.suffix == ".npy":
            with place.open("rb") as stream:
                return _read(stream, place, place.stat().st_size, step)
        with zipfile.ZipFile(place) as bundle:
            if MEMBER not in bundle.namelist():
                found = ", ".join(bundle.namelist()) or "nothing"
                raise InputFileError(place, 0, f"a member {MEMBER} was expected; {found} is there")
            info = bundle.getinfo(MEMBER)
            if info.flag_bits & ENCRYPTED:
                raise InputFileError(place, 0, "a member that anybody can read was expected; it is encrypted")
            with bundle.open(MEMBER) as stream:
                return _read(stream, place, info.file_size, step)
    # What `zipfile` raises for bytes that are no archive, packed data that end early or are damaged, a way of packing or
    # flags that it does not know, and names that are no text.
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError) as error:
        raise InputFileError(place, 0, f"a sound .npz file was expected: {error}") from error
    except OSError as error:
        raise InputFileError(place, 0, f"a readable file was expected: {error.strerror or error}") from error


def _place(path: Path | str) -> Path:
    place = Path(path)
    if place.suffix not in SUFFIXES:
        raise MisuseError(f"path was {str(path)!r}; a name ending in .npy or .npz is due")
    return place


def _read(stream: IO[bytes], place: Path, size: int, step: Step) -> np.ndarray:
    """Read an array of NumPy's format whose head says COMMAND and as many rows as there are bytes."""
    try:
        version = npy.read_magic(stream)
        if version not in _HEADS:
            raise InputFileError(place, 0, f"a .npy of version 1 or 2 was expected, {version} was found")
        shape, _, dtype = _HEADS[version](stream)
    except (ValueError, SyntaxError, TypeError, tokenize.TokenError) as error:
        raise InputFileError(place, 0, f"a head of NumPy's was expected: {str(error).splitlines()[0]}") from error
    if dtype != COMMAND or len(shape) != 1:
        found = f"{len(shape)} dimensions of {dtype if dtype.names is None else ', '.join(dtype.names)}"
        raise InputFileError(place, 0, f"COMMAND[n] was expected, {found} were found")
    due, left = shape[0] * COMMAND.itemsize, size - stream.tell()
    if due != left:
        raise InputFileError(place, 0, f"{shape[0]} commands of {COMMAND.itemsize} bytes were expected, {left} bytes were found")
    raw = bytearray()
    step(0, shape[0])
    while part := stream.read(min(due - len(raw), ROWS_AT_ONCE * COMMAND.itemsize)):
        raw += part
        step(len(raw) // COMMAND.itemsize, shape[0])
    if len(raw) != due or stream.read(1):
        raise InputFileError(place, 0, f"{due} bytes of commands were expected, {len(raw)} were found")
    return np.frombuffer(raw, COMMAND)
