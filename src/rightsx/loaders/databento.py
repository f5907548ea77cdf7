"""Reads CME's order flow as Databento sells it: DBN files of MBO records (market by order), `.zst` or plain.

Needs the extra `databento` (databento-dbn decodes, zstandard unpacks). Prices are 1e-9 of the currency, times ns UTC. A record
whose action, side, id or size no order can have is wrong; what is no MBO record at all is left out unasked, as a file may hold
definitions, too. About 50 bytes a record when loaded. O(records).
"""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from rightsx.errors import InputFileError, MisuseError
from rightsx.loaders.text import Complaints, right_rows
from rightsx.progress import following

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rightsx.progress import Progress, Step

MBO: Final = np.dtype(
    [
        ("ts_event", "<i8"),
        ("order_id", "<i8"),
        ("price", "<i8"),
        ("size", "<i8"),
        ("sequence", "<i8"),
        ("action", "S1"),  # Add, Cancel, Modify, Trade, Fill, cleaR
        ("side", "S1"),  # Bid, Ask, None
        ("flags", "u1"),
    ]
)
SIDES: Final = {b"B": "buy", b"A": "sell"}
_ACTIONS: Final = [b"A", b"C", b"M", b"T", b"F", b"R", b"N"]
_PIECE_BYTES: Final = 1 << 22
_MOST_ID: Final = 2**63 - 1
_NO_PRICE: Final = 2**63 - 1  # what DBN writes where there is none


class DatabentoFeed(NamedTuple):
    """A whole MBO file: MBO[n] in the order of the file; `skipped` are records that were left out as wrong."""

    path: Path
    messages: np.ndarray
    skipped: int = 0
    complaints: tuple[str, ...] = ()


def load_databento(path: Path | str, *, errors: str = "raise", progress: Progress = None) -> DatabentoFeed:
    """Read a DBN file of MBO records, `.zst` or plain. O(records).

    Raises `MisuseError` where the extra `databento` is missing, `InputFileError` for a file that is none, is cut off, or has
    a wrong record; with `errors="skip"` wrong records are left out and counted, and so is one that the file's end cuts.
    """
    place, complaints = Path(path), Complaints(errors)
    try:
        from databento_dbn import DBNDecoder, DBNError, MBOMsg  # noqa: PLC0415 - an extra
    except ImportError:
        raise MisuseError("Databento's files need the package databento-dbn: pip install 'rightsx[databento]'") from None
    decoder, pieces, others, is_dbn = DBNDecoder(), [], 0, False
    with following(progress, "Databento") as step:
        for piece in _pieces_of(place, step):
            try:
                decoder.write(piece)
                records = decoder.decode()
            except (DBNError, ValueError) as error:
                raise InputFileError(place, 0, f"a DBN file was expected: {error}") from error
            is_dbn = is_dbn or bool(records)
            messages = [record for record in records if isinstance(record, MBOMsg)]
            others += len(records) - len(messages)
            pieces.append(_rows_of(messages))
    left = len(decoder.buffer())
    if not is_dbn:
        raise InputFileError(place, 0, "a DBN file was expected; its head is not there or not whole")
    if left:
        expected = f"whole records were expected; {left} bytes are left of one that is cut off"
        complaints.take(InputFileError(place, 0, expected))
    rows = np.concatenate(pieces)
    if not len(rows):
        raise InputFileError(place, 0, f"MBO records were expected; none is among {others - 1} records")
    rows = rows[_right(place, rows, complaints)]
    return DatabentoFeed(place, rows, complaints.skipped, tuple(complaints.first))


def _rows_of(messages: list[Any]) -> np.ndarray:
    """Take what we use out of decoded records."""
    rows = np.zeros(len(messages), MBO)
    for name in ("ts_event", "price", "size", "sequence"):
        rows[name] = [getattr(message, name) for message in messages]
    rows["order_id"] = [message.order_id if message.order_id <= _MOST_ID else -1 for message in messages]
    rows["action"], rows["side"] = ([str(getattr(message, name)) for message in messages] for name in ("action", "side"))
    rows["flags"] = [int(message.flags) for message in messages]
    return rows


def _right(path: Path, rows: np.ndarray, complaints: Complaints) -> np.ndarray:
    """Say which records can be: an order that is added or changed has an id, a side, a price and a size."""
    orders = np.isin(rows["action"], [b"A", b"M"])
    checks = {
        "an action of A, C, M, T, F, R or N": (np.isin(rows["action"], _ACTIONS), "action"),
        "an order id from 1 to 2^63 - 1": (~orders | (rows["order_id"] > 0), "order_id"),
        "a side of B or A": (~orders | np.isin(rows["side"], [b"B", b"A"]), "side"),
        "a price": (~orders | (rows["price"] != _NO_PRICE), "price"),
        "a size of 1 or more": (~orders | (rows["size"] > 0), "size"),
    }
    return right_rows(rows, checks, complaints, lambda at, expected: InputFileError(path, 0, f"record {at}: {expected}"))


def _pieces_of(path: Path, step: Step) -> Iterator[bytes]:
    """Read a file piece by piece, unpacked."""
    try:
        with path.open("rb") as raw:
            total = raw.seek(0, 2)
            raw.seek(0)
            read = _unpacker(path, raw) if path.suffix == ".zst" else raw.read
            while piece := read(_PIECE_BYTES):
                step(raw.tell(), total)
                yield piece
    except OSError as error:
        raise InputFileError(path, 0, f"a readable file was expected: {error.strerror or error}") from error


def _unpacker(path: Path, raw: IO[bytes]) -> Callable[[int], bytes]:
    """Give a function that reads zstd unpacked."""
    try:
        import zstandard  # noqa: PLC0415 - an extra
    except ImportError:
        raise MisuseError("files packed with zstd need the package zstandard: pip install 'rightsx[databento]'") from None
    stream = zstandard.ZstdDecompressor().stream_reader(raw)

    def read(count: int) -> bytes:
        try:
            return bytes(stream.read(count))
        except zstandard.ZstdError as error:
            raise InputFileError(path, 0, f"sound .zst data were expected: {error}") from error

    return read
