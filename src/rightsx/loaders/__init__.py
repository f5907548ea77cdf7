"""Venues' files and tables become typed rows of integers, or one clear error.

text       lines, exact numbers, and what becomes of a wrong row
bitstamp   Bitstamp's order-level websocket, as ob-analytics recorded it
lobster    LOBSTER: a stock's messages, and its book after each of them
databento  CME's orders as Databento sells them (extra `databento`)
itch       NASDAQ's TotalView-ITCH 5.0: one stock's orders out of a day of all
flow       COMMAND records in NumPy's files, `.npy` and `.npz`
cells      columns of anybody's table, as fields of COMMAND
table      CSV, Parquet, and tables of polars, pandas, pyarrow, DuckDB, as a feed (extras `arrow`, `parquet`)

Every loader has `errors` ("raise", or "skip": wrong rows are left out and counted) and `progress` (True, False, a callable of
(done, total), or a class as tqdm). `rightsx.replay` holds what they give against the venue, and makes feeds for backtests of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rightsx.border import word
from rightsx.loaders.bitstamp import BitstampFeed, load_bitstamp
from rightsx.loaders.databento import DatabentoFeed, load_databento
from rightsx.loaders.flow import load_flow, save_flow
from rightsx.loaders.itch import ItchFeed, load_itch
from rightsx.loaders.lobster import LobsterFeed, load_lobster
from rightsx.loaders.table import TableFeed, load_table

if TYPE_CHECKING:
    from pathlib import Path

    from rightsx.progress import Progress

__all__ = [
    "BitstampFeed",
    "DatabentoFeed",
    "ItchFeed",
    "LobsterFeed",
    "TableFeed",
    "load_bitstamp",
    "load_databento",
    "load_file",
    "load_flow",
    "load_itch",
    "load_lobster",
    "load_table",
    "save_flow",
]

FORMATS: Final = {form: form for form in ("bitstamp", "databento", "itch", "lobster")}


def load_file(
    path: Path | str, *, form: str, stock: str = "AAPL", errors: str = "raise", progress: Progress = None
) -> BitstampFeed | DatabentoFeed | ItchFeed | LobsterFeed:
    """Load a file of the format `form` (bitstamp, databento, itch or lobster); `stock` is the one read out of a file of ITCH.

    Raises `MisuseError` for another format or a missing extra, `InputFileError` for a wrong file.
    """
    if word("format", form, FORMATS) == "bitstamp":
        return load_bitstamp(path, errors=errors, progress=progress)
    if form == "databento":
        return load_databento(path, errors=errors, progress=progress)
    if form == "itch":
        return load_itch(path, stock=stock, errors=errors, progress=progress)
    return load_lobster(path, errors=errors, progress=progress)
