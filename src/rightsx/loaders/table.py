"""Reads anybody's table of orders as a feed: CSV, Parquet, and what polars, pandas, pyarrow or DuckDB hold.

    orders.csv[.gz|.xz]  ─┐                                    ┌─ columns={"time_ns": "ts", "price": "px", …}
    orders.parquet       ─┼─► columns of cells ─► COMMAND[n]  ◄┼─ words={"side": {"A": "sell"}}
    any Arrow table      ─┘                                    └─ kind="place", series=1, account=3

Every field of COMMAND comes from a column, or is one constant, or is 0. A row has what its kind needs (`vocabulary.COMMANDS`):
a place without a side is wrong, a cancel without one is right. A place without a time in force is good till cancelled; an amend
without flags changes what its row names. What is a number out of the market's limits is left for the market to refuse.

Times must not go back. Order ids: a venue's own are moved up by 2^62, where callers' ids are, so that none meets one the engine
issued ("venue"); or taken as they are ("engine"); or any text, numbered as it comes ("text").

Arrow streams need the extra `arrow`, Parquet the extra `parquet` (DuckDB reads it, and names damage at which others abort the
process); pandas needs neither. Memory: 80 bytes a command, beside one batch of cells; of Parquet the columns, too. O(cells).
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from rightsx.border import word
from rightsx.errors import InputFileError, MisuseError
from rightsx.loaders.cells import FIELDS, IDS, TIME_PLACES, WORDS, Column, Read, Reader, reader_of
from rightsx.loaders.text import Complaints, lines_of, shown
from rightsx.progress import following
from rightsx.protocol import AT_ENGINE_CLOCK, COMMAND, AmendFlag, CommandKind, OrderFlag, TimeInForce
from rightsx.vocabulary import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rightsx.progress import Progress, Step

BATCH_ROWS: Final = 1 << 14
UNITS: Final = {**TIME_PLACES, "iso": 0}
MOST_PLACES: Final = 18
_FREE_PRICE: Final = OrderFlag.MARKET | OrderFlag.STOP_RISE | OrderFlag.STOP_FALL
_TICKS: Final = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}


class TableFeed(NamedTuple):
    """A whole table as COMMAND[n], in its order; `skipped` are rows that were left out as wrong, `complaints` the first few."""

    source: str
    commands: np.ndarray
    skipped: int = 0
    complaints: tuple[str, ...] = ()


class _Batch(NamedTuple):
    """Some rows: the columns by their own names, and the line of each in its file, or its number in the table."""

    columns: dict[str, Column]
    places: Sequence[int]


class _Plan(NamedTuple):
    """What is asked for: where fields come from, how they are read, what is the same in each row."""

    columns: dict[str, str]
    readers: dict[str, Reader]
    constants: dict[str, int]


def load_table(
    source: Any,
    *,
    columns: Mapping[str, str],
    time_unit: str = "ns",
    price_places: int = 0,
    qty_places: int = 0,
    ids: str = "venue",
    words: Mapping[str, Mapping[Any, Any]] | None = None,
    delimiter: str = ",",
    names: Sequence[str] | None = None,
    errors: str = "raise",
    progress: Progress = None,
    **constants: int | str,
) -> TableFeed:
    """Read a table as a feed: a path (`.parquet`, else CSV, `.gz` and `.xz` too), or an object with `__arrow_c_stream__`.

    `columns` names the source's column for each field of COMMAND, `constants` are fields that are the same in each row.
    `time_unit` is ns, us, ms, s, or iso; Arrow's timestamps need none, and are UTC where they have no zone. `price_places=2`
    reads 236.47 as 23647, of every kind of command. `words` are a venue's own: `{"side": {"A": "sell"}}`. `names` are the columns
    of a CSV without a head. A `deadline_ns` is a time in `time_unit`, so a fill-or-kill's budget fits only with ns.

    Raises `MisuseError` for a wrong map or a missing extra, `InputFileError` for the first wrong row; with `errors="skip"` wrong
    rows are left out and counted.
    """
    complaints = Complaints(errors)
    for name, places in (("price_places", price_places), ("qty_places", qty_places)):
        if type(places) is not int or not 0 <= places <= MOST_PLACES:
            raise MisuseError(f"{name} was {places!r}; 0 to {MOST_PLACES} is due")
    word("time_unit", time_unit, UNITS)
    word("ids", ids, dict.fromkeys(IDS, 0))
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise MisuseError(f"delimiter was {delimiter!r}; one character is due")
    options = {"time_unit": time_unit.lower(), "price_places": price_places, "qty_places": qty_places, "ids": ids.lower()}
    plan = _plan(columns, words or {}, constants, options)
    path = Path(source) if isinstance(source, (str, Path)) else None
    what = str(path) if path else type(source).__module__.partition(".")[0].lstrip("_") + "." + type(source).__name__
    with following(progress, "table") as step:
        if path is None:
            batches = _pandas(source, plan, what, step) if what.startswith("pandas.") else _arrow(source, plan, what, step)
        elif path.suffix == ".parquet":
            batches = _parquet(path, plan, step)
        else:
            batches = _csv(path, plan, step, complaints, delimiter, names)
        rows = _Rows(plan, what, path is not None and path.suffix != ".parquet", complaints)
        parts = [rows.batch(batch) for batch in batches]
    made = np.concatenate(parts) if parts else np.zeros(0, COMMAND)
    if not len(made):
        raise InputFileError(what, 0, "at least one right row was expected" + f"; {complaints.skipped} were wrong" * bool(parts))
    return TableFeed(what, made, complaints.skipped, tuple(complaints.first))


# ── what is asked for ────────────────────────────────────────────────────────────────────────────


def _plan(columns: Mapping[str, str], words: Mapping[str, Any], constants: Mapping[str, int | str], options: Any) -> _Plan:
    """Check the map, the words and the constants before anything is read."""
    for what, given in (("columns", columns), ("words", words), ("constants", constants)):
        for field in given:
            if field not in FIELDS:
                raise MisuseError(f"{what} named {field!r}; fields of COMMAND are due: {', '.join(FIELDS)}")
    for field in constants:
        if field in columns:
            raise MisuseError(f"{field} was both a column and a constant; one of the two is due")
    missing = [field for field in ("time_ns", "kind") if field not in columns and field not in constants]
    if missing:
        raise MisuseError(f"neither a column nor a constant was given for {missing[0]}, which every command has")
    readers = {field: reader_of(field, words=words.get(field, {}), **options) for field in (*columns, *constants)}
    return _Plan(dict(columns), readers, {field: _constant(readers[field], value) for field, value in constants.items()})


def _constant(reader: Reader, value: int | str) -> int:
    """Read a constant: a word, or the integer that goes into the record."""
    if isinstance(value, str) and value.lower() in reader.words:
        return reader.words[value.lower()]
    fits = isinstance(value, (int, np.integer)) and not isinstance(value, bool) and reader.least <= value < reader.end
    if not fits and (reader.field, value) != ("time_ns", AT_ENGINE_CLOCK):
        due = ", ".join(WORDS.get(reader.field, ())) or f"an integer from {reader.least} to {reader.end - 1}"
        raise MisuseError(f"{reader.field} was {value!r}; {due} is due")
    return int(value)


def _found(plan: _Plan, names: Sequence[str], what: str, line: int) -> None:
    """Let a head pass that has every column of the map, once."""
    for field, name in plan.columns.items():
        if list(names).count(name) != 1:
            found = "it is there twice" if name in names else f"the columns are {', '.join(map(str, names))}"
            raise InputFileError(what, line, f"a column {name!r} was expected for {field}; {found}")


# ── rows ─────────────────────────────────────────────────────────────────────────────────────────


class _Rows:
    """Makes commands of batches, and knows the last time."""

    def __init__(self, plan: _Plan, what: str, has_lines: bool, complaints: Complaints) -> None:  # noqa: FBT001
        self._plan, self._what, self._has_lines, self._complaints = plan, what, has_lines, complaints
        self._last_ns = plan.constants.get("time_ns", 0)

    def batch(self, batch: _Batch) -> np.ndarray:
        """Make the right rows of a batch; the wrong ones are complained of in their order."""
        rows, count = np.zeros(len(batch.places), COMMAND), len(batch.places)
        given = {field: np.zeros(count, bool) for field in FIELDS}
        said: dict[int, str] = {}  # the first complaint of each wrong row
        for field, name in self._plan.columns.items():
            reader, column = self._plan.readers[field], batch.columns[name]
            read: Read = reader.column(column)
            rows[field], given[field] = read.values, read.given
            for at in np.flatnonzero(read.wrong).tolist():
                found = column.cells[at] if isinstance(column.cells, list) else int(column.cells[at])
                hint = "; a float is no exact decimal" if isinstance(found, float) and not found.is_integer() else ""
                said.setdefault(at, f"{reader.expected} was expected as {field} ({name}), {shown(found)} was found{hint}")
        for field, value in self._plan.constants.items():
            rows[field], given[field] = value, np.ones(count, bool)
        given["side"] &= rows["side"] != 0
        self._fill(rows, given)
        self._need(rows, given, said)
        self._order(rows, said)
        for at in sorted(said):
            place = batch.places[at]
            line, where = (place, "") if self._has_lines else (0, f"row {place}: ")
            self._complaints.take(InputFileError(self._what, line, where + said[at]))
        right = np.ones(count, bool)
        right[list(said)] = False
        return rows[right]

    @staticmethod
    def _fill(rows: np.ndarray, given: dict[str, np.ndarray]) -> None:
        """Write what follows from the rest of a row."""
        places, amends = rows["kind"] == CommandKind.PLACE, rows["kind"] == CommandKind.AMEND
        rows["time_in_force"][places & (rows["time_in_force"] == 0)] = TimeInForce.GTC
        derived = amends & ~given["flags"]
        rows["flags"][derived] = (AmendFlag.PRICE * given["price"] + AmendFlag.QTY * given["qty"])[derived]
        given["flags"] |= derived & (rows["flags"] != 0)

    @staticmethod
    def _need(rows: np.ndarray, given: dict[str, np.ndarray], said: dict[int, str]) -> None:
        """Complain of rows without what their kind needs."""
        lacks = {("time_ns", "every command"): ~given["time_ns"], ("kind", "every command"): ~given["kind"]}
        for kind in np.unique(rows["kind"]).tolist():
            chosen = rows["kind"] == kind
            for argument in COMMANDS.get(CommandKind(kind), ()) if kind else ():
                if argument.default is None:
                    lacks[argument.field, CommandKind(kind).name.lower()] = chosen & ~given[argument.field]
            if kind == CommandKind.PLACE:
                priced = (rows["flags"] & _FREE_PRICE) == 0
                lacks["price", "place"] = chosen & priced & ~given["price"]
        for (field, who), lack in lacks.items():
            for at in np.flatnonzero(lack).tolist():
                said.setdefault(at, f"{field} was expected for {who}, nothing was found")

    def _order(self, rows: np.ndarray, said: dict[int, str]) -> None:
        """Complain of times that go back; a wrong row moves no clock."""
        right = np.ones(len(rows), bool)
        right[list(said)] = False
        times = np.where(right, rows["time_ns"], self._last_ns)
        latest = np.maximum.accumulate(np.concatenate([[self._last_ns], times]))
        for at in np.flatnonzero(right & (times < latest[:-1])).tolist():
            said[at] = f"a time not before {latest[at]} ns was expected as time_ns, {times[at]} ns was found"
        self._last_ns = int(latest[-1])


# ── sources ──────────────────────────────────────────────────────────────────────────────────────


def _csv(
    path: Path, plan: _Plan, step: Step, complaints: Complaints, delimiter: str, names: Sequence[str] | None
) -> Iterator[_Batch]:
    """Yield batches of a CSV file; empty lines are none."""
    texts = (text.removeprefix("\ufeff") if number == 1 else text for number, text in lines_of(path, step))
    reader = csv.reader(texts, delimiter=delimiter, strict=True)
    head, rows, places, line = list(names) if names is not None else None, [], [], 0
    if head is not None:
        _found(plan, head, str(path), 0)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise InputFileError(path, line, f"a row of CSV was expected: {error}") from error
        if cells is not None and head is None:
            head = cells
            _found(plan, head, str(path), line)
            continue
        if head is not None and cells and len(cells) != len(head):
            found = f"{len(head)} columns were expected, {len(cells)} were found"
            complaints.take(InputFileError(path, line, found))
        elif cells:
            rows.append(cells)
            places.append(line)
        if head is not None and rows and (cells is None or len(rows) == BATCH_ROWS):
            at = {name: head.index(name) for name in plan.columns.values()}
            yield _Batch({name: Column([row[number] for row in rows]) for name, number in at.items()}, places)
            rows, places = [], []
        if cells is None:
            return


def _parquet(path: Path, plan: _Plan, step: Step) -> Iterator[_Batch]:
    """Yield batches of a Parquet file, read with DuckDB: the whole file is known to be sound before the first of them."""
    try:
        import duckdb  # noqa: PLC0415 - an extra
    except ImportError:
        raise MisuseError("Parquet needs the packages duckdb and arro3-core: pip install 'rightsx[parquet]'") from None
    if not path.is_file():
        raise InputFileError(path, 0, "a readable file was expected; there is none")
    try:
        with duckdb.connect() as base:
            told = base.from_parquet(str(path))
            _found(plan, told.columns, str(path), 0)
            told.select(*(duckdb.ColumnExpression(name) for name in sorted(set(plan.columns.values())))).create("told")
            yield from _arrow(base.table("told"), plan, str(path), step)
    except duckdb.Error as error:
        raise InputFileError(path, 0, f"a sound Parquet file was expected: {str(error).splitlines()[0]}") from error


def _arrow(source: Any, plan: _Plan, what: str, step: Step) -> Iterator[_Batch]:
    """Yield batches of an Arrow stream."""
    if not hasattr(source, "__arrow_c_stream__"):
        raise MisuseError(f"source was {type(source).__name__}; a path, or a table with __arrow_c_stream__ is due")
    try:
        from arro3.core import DataType, RecordBatchReader  # noqa: PLC0415 - an extra
    except ImportError:
        raise MisuseError("Arrow needs the package arro3-core: pip install 'rightsx[arrow]'") from None
    shape = getattr(source, "shape", None)  # before the stream is open: DuckDB would count with a query of its own
    reader = RecordBatchReader.from_stream(source)
    _found(plan, reader.schema.names, what, 0)
    total, done = int(shape[0]) if isinstance(shape, tuple) and shape else 0, 0
    for batch in reader:
        for first in range(0, batch.num_rows, BATCH_ROWS):
            part = batch.slice(first, min(BATCH_ROWS, batch.num_rows - first))
            wanted = set(plan.columns.values())
            columns = {name: _arrow_column(part.column(name), DataType) for name in wanted}
            yield _Batch(columns, range(done, done + part.num_rows))
            done += part.num_rows
            step(done, max(total, done))


def _arrow_column(column: Any, types: Any) -> Column:
    """Take the cells out of an Arrow column."""
    kind, tick_ns = column.type, 0
    if types.is_timestamp(kind):
        column, tick_ns = column.cast(types.int64()), _TICKS[kind.time_unit]
    if types.is_integer(column.type) and not column.null_count:
        return Column(np.array(column.to_numpy()), tick_ns)
    return Column(column.to_pylist(), tick_ns)


def _pandas(source: Any, plan: _Plan, what: str, step: Step) -> Iterator[_Batch]:
    """Yield batches of a pandas DataFrame, which would need pyarrow to give a stream."""
    if not hasattr(source, "columns"):
        raise MisuseError(f"source was {what}; a path, or a table with __arrow_c_stream__ is due")
    _found(plan, list(source.columns), what, 0)
    for first in range(0, len(source), BATCH_ROWS):
        part = source.iloc[first : first + BATCH_ROWS]
        columns = {name: _pandas_column(part[name]) for name in set(plan.columns.values())}
        yield _Batch(columns, range(first, first + len(part)))
        step(first + len(part), len(source))


def _pandas_column(column: Any) -> Column:
    """Take the cells out of a pandas column."""
    if getattr(column.dtype, "tz", None) is not None:
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    cells, nothing = column.to_numpy(), column.isna().to_numpy()
    tick_ns = 0
    if cells.dtype.kind == "M":
        tick_ns = _TICKS[np.datetime_data(cells.dtype)[0]]
        cells = cells.astype(np.int64)
    if cells.dtype.kind in "iu" and not nothing.any():
        return Column(cells, tick_ns)
    return Column([None if empty else cell for cell, empty in zip(cells.tolist(), nothing.tolist(), strict=True)], tick_ns)
