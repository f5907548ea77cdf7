"""Lets other libraries read our records as tables: Arrow's PyCapsule protocol, polars, pandas, plain dictionaries.

    NumPy records ─► Frame ─┬─ NumPy as before: fields, masks, arithmetic
                            ├─ __arrow_c_stream__ ─► polars, pandas, pyarrow, without a copy there
                            └─ to_dict, to_polars, to_pandas; shows itself in terminals and notebooks

A `Frame` is a NumPy array, so nothing that takes one need know of it. `frame(records)` makes one of any records, events
and commands too. Fields named `…_ns` are told as UTC timestamps of ns, those named `to_…_ns` as durations, all else as the
integers that they are; prices stay integers. A field of several numbers (a salt, padding) is left out.

Arrow needs the extra `arrow` (arro3-core); it turns rows into columns, one copy. Whoever lacks an extra is told so in a line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rightsx.errors import MisuseError
from rightsx.protocol import DAY_NS
from rightsx.views import html_table, text_table

if TYPE_CHECKING:
    from collections.abc import Mapping

ROWS_SHOWN: Final = 10


class Frame(np.ndarray):
    """Records, as a NumPy array that other libraries read as a table, too; a field of it is a NumPy array and no more."""

    def __getitem__(self, key: Any) -> Any:
        """Give rows as a `Frame`, a field as a plain array."""
        found = super().__getitem__(key)
        return found.view(np.ndarray) if isinstance(found, Frame) and found.dtype.names is None else found

    def to_dict(self) -> dict[str, list[Any]]:
        """Give columns of Python's numbers by name; times stay integers. O(cells)."""
        return {name: column.tolist() for name, column in columns_of(self).items()}

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Give the table as a stream of Arrow's, by the PyCapsule protocol. `MisuseError` without the extra `arrow`."""
        return arrow_stream(columns_of(self), requested_schema)

    def to_polars(self) -> Any:
        """Give a polars DataFrame; `MisuseError` where polars or the extra `arrow` is missing."""
        return to_polars(columns_of(self))

    def to_pandas(self) -> Any:
        """Give a pandas DataFrame; `MisuseError` where pandas is missing."""
        return to_pandas(columns_of(self))

    def _table(self) -> tuple[list[str], list[list[object]], str]:
        columns = columns_of(self)
        rows = [[_shown(name, column[at]) for name, column in columns.items()] for at in range(min(len(self), ROWS_SHOWN))]
        return list(columns), rows, f"{len(self):,} rows" + (f", the first {ROWS_SHOWN}" if len(self) > ROWS_SHOWN else "")

    def __repr__(self) -> str:
        """Show the first rows; what is no column of records shows itself as NumPy does."""
        if self.dtype.names is None or self.ndim != 1:
            return repr(self.view(np.ndarray))
        return text_table(*self._table())

    __str__ = __repr__

    def _repr_html_(self) -> str | None:
        return None if self.dtype.names is None or self.ndim != 1 else html_table(*self._table())


def _shown(name: str, value: Any) -> object:
    """Write a time as people read it, and give anything else as it is."""
    kind = kind_of(name)
    if kind == "time":
        return str(np.datetime64(int(value), "ns").astype("datetime64[ms]")).replace("T", " ").removesuffix(".000")
    return f"{int(value) / DAY_NS:.2f} d" if kind else value.item()


def frame(records: np.ndarray) -> Frame:
    """See records as a `Frame`, where they lie; `MisuseError` for what is no column of records.

    >>> import numpy as np
    >>> frame(np.array([(90, 5), (91, 2)], [("price", "<i8"), ("qty", "<i8")])).to_dict()
    {'price': [90, 91], 'qty': [5, 2]}
    """
    if not isinstance(records, np.ndarray) or records.dtype.names is None or records.ndim != 1:
        raise MisuseError(f"records were {getattr(records, 'dtype', type(records).__name__)}; a column of NumPy records is due")
    return records.view(Frame)


def columns_of(records: np.ndarray) -> dict[str, np.ndarray]:
    """Give the fields that are one number each, by name, where they lie."""
    plain = records.view(np.ndarray)
    if plain.dtype.names is None or plain.ndim != 1:
        raise MisuseError(f"this is {plain.dtype}{list(plain.shape)}; a column of records is due")
    return {name: plain[name] for name in plain.dtype.names if not plain.dtype[name].shape and name != "unused"}


# ── other libraries ──────────────────────────────────────────────────────────────────────────────


def arrow_stream(columns: Mapping[str, np.ndarray], requested_schema: object = None) -> object:
    """Give columns as a stream of Arrow's. O(cells)."""
    return _arrow_table(columns).__arrow_c_stream__(requested_schema)


def _arrow_table(columns: Mapping[str, np.ndarray]) -> Any:
    try:
        from arro3.core import Array, DataType, Table  # noqa: PLC0415 - an extra
    except ImportError:
        raise MisuseError("Arrow needs the package arro3-core: pip install 'rightsx[arrow]'") from None
    kinds = {"time": DataType.timestamp("ns", tz="UTC"), "span": DataType.duration("ns")}
    made: dict[str, Any] = {}
    for name, column in columns.items():
        if column.dtype.kind in "US":
            words = [value.decode() if isinstance(value, bytes) else value for value in column.tolist()]
            made[name] = Array(words, type=DataType.utf8())
            continue
        array = Array.from_numpy(np.ascontiguousarray(column))
        kind = kind_of(name)
        made[name] = array.cast(kinds[kind]) if kind else array
    return Table.from_pydict(made)


def kind_of(name: str) -> str | None:
    """Say whether a field is a time or a span, by its name.

    >>> [kind_of(name) for name in ("time_ns", "to_expiry_ns", "price")]
    ['time', 'span', None]
    """
    if not name.endswith("_ns"):
        return None
    return "span" if name.startswith("to_") else "time"


def to_polars(columns: Mapping[str, np.ndarray]) -> Any:
    """Give columns as a polars DataFrame."""
    try:
        import polars  # noqa: PLC0415, ICN001 - an extra
    except ImportError:
        raise MisuseError("this needs polars: pip install polars") from None
    return polars.DataFrame(_arrow_table(columns))


def to_pandas(columns: Mapping[str, np.ndarray]) -> Any:
    """Give columns as a pandas DataFrame."""
    try:
        import pandas  # noqa: PLC0415, ICN001 - an extra
    except ImportError:
        raise MisuseError("this needs pandas: pip install pandas") from None
    made = {}
    for name, column in columns.items():
        kind = kind_of(name)
        values = np.ascontiguousarray(column)
        if kind == "time":
            made[name] = pandas.to_datetime(values, unit="ns", utc=True)
        else:
            made[name] = pandas.to_timedelta(values, unit="ns") if kind else values
    return pandas.DataFrame(made)
