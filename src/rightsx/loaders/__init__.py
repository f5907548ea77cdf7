"""Venues' files and tables become typed rows of integers, or one clear error.

text       lines, exact numbers, and what becomes of a wrong row
bitstamp   Bitstamp's order-level websocket, as ob-analytics recorded it
lobster    LOBSTER: a stock's messages, and its book after each of them
databento  CME's orders as Databento sells them (extra `databento`)
flow       COMMAND records in NumPy's files, `.npy` and `.npz`
cells      columns of anybody's table, as fields of COMMAND
table      CSV, Parquet, and tables of polars, pandas, pyarrow, DuckDB, as a feed (extras `arrow`, `parquet`)

Every loader has `errors` ("raise", or "skip": wrong rows are left out and counted) and `progress` (True, False, a callable of
(done, total), or a class as tqdm). `rightsx.replay` holds what they give against the venue, and makes feeds for backtests of it.
"""

from __future__ import annotations

from rightsx.loaders.bitstamp import BitstampFeed, load_bitstamp
from rightsx.loaders.databento import DatabentoFeed, load_databento
from rightsx.loaders.flow import load_flow, save_flow
from rightsx.loaders.lobster import LobsterFeed, load_lobster
from rightsx.loaders.table import TableFeed, load_table

__all__ = [
    "BitstampFeed",
    "DatabentoFeed",
    "LobsterFeed",
    "TableFeed",
    "load_bitstamp",
    "load_databento",
    "load_flow",
    "load_lobster",
    "load_table",
    "save_flow",
]
