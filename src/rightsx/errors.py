"""Every way a caller or a file can be wrong.

    RightsxError
    ├── MisuseError        the call itself is wrong: a float where an integer is due, an unknown word
    ├── RefusedError       the market said no, and the caller asked for exceptions
    ├── InputFileError     a file that people write is wrong: which file, which line, what was expected
    ├── CorruptionError    bytes that a machine wrote are not what was written: which file, which offset
    ├── DivergenceError    the same commands gave other events: nothing goes on from there
    ├── StoreLockedError   somebody else writes to this store
    ├── StoreFailedError   the disk failed this writer: nothing more is acknowledged, open it anew
    ├── ProofError         a proof, signature or checkpoint does not show what it claims
    └── AuditError         the books do not add up: a defect of this library, never of the caller

A *refusal* is not in this tree: it is an event with a code (R35), and only becomes an exception when
`raise_on_refusal=True` asks for it. A broken invariant inside the library is an `assert` or, in an
audit that was asked for, an `AuditError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class RightsxError(Exception):
    """The root of all errors that rightsx raises on purpose."""


class MisuseError(RightsxError, ValueError):
    """The call is wrong, whatever state the market is in; nothing was logged and nothing changed.

    `code` is the refusal number that the wrong value anticipates (R1), 0 where there is none.
    """

    def __init__(self, message: str, code: int = 0) -> None:
        """Keep the clause for people and the `code` for programs."""
        super().__init__(message)
        self.code = code


class RefusedError(RightsxError):
    """The market refused a command; raised only under `raise_on_refusal=True`.

    `refused` is what a result would have carried: code, field, what was found, what is allowed; `events` are
    the refusal and what fell due before the command.
    """

    def __init__(self, refused: object, events: tuple[object, ...] = ()) -> None:
        """Carry the refusal as it stands in a result."""
        super().__init__(str(refused))
        self.refused = refused
        self.events = events


class InputFileError(RightsxError):
    """A file that others wrote is wrong somewhere; the message is one line for a terminal."""

    def __init__(self, path: Path | str, line: int, expected: str, offset: int | None = None) -> None:
        """Name the file, its `line` (from 1; 0 is the file as a whole) or `offset` in bytes, and what was `expected` there."""
        where = f"{path}, byte {offset}" if offset is not None else f"{path}:{line}" if line else str(path)
        super().__init__(f"{where}: {expected}")
        self.path = path
        self.line = line
        self.expected = expected
        self.offset = offset

    def __reduce__(self) -> tuple[type[InputFileError], tuple[Path | str, int, str, int | None]]:
        """Let it cross from one process to another."""
        return type(self), (self.path, self.line, self.expected, self.offset)


class CorruptionError(RightsxError):
    """Bytes that a machine wrote do not match what they claim to be; nothing was applied.

    `path` and `offset` (bytes) say where, if they stand in a file.
    """

    def __init__(self, message: str, path: Path | None = None, offset: int | None = None) -> None:
        """Name the place before the clause."""
        where = "" if path is None else f"{path}: " if offset is None else f"{path}, byte {offset}: "
        super().__init__(where + message)
        self.path = path
        self.offset = offset


class DivergenceError(RightsxError):
    """A replay of the log does not give what was recorded; the message names the first difference."""


class StoreLockedError(RightsxError):
    """A store is open for writing elsewhere."""


class StoreFailedError(RightsxError):
    """A write or a sync of this store failed before, or it is closed or forked: it acknowledges nothing more."""


class ProofError(RightsxError):
    """A proof, a signature or a checkpoint does not show what it claims; the message says where it fails."""


class AuditError(RightsxError):
    """The books of a market do not add up (R11, R36); the message names the first sum that is off."""
