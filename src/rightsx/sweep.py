"""Runs one function over a grid of parameters on all cores, and gives one table.

    grid {"spread": [1, 2, 5], "qty": [10, 50]} ─► points ─► function(spread=…, qty=…, seed=…) ─► rows of one table

Each point has a seed of its own that depends on nothing but its parameters and the sweep's seed: so the table is the same from
one process or from many, in whatever order they ended, and a point can be run again alone.

The function stands in a module; where processes are copied (Linux) it may be defined anywhere, in a notebook too. It gives
numbers by name, such as `result.sums` of a backtest. What it raises ends the sweep and names the point.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import multiprocessing
import os
import pickle
import sys
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rightsx.errors import MisuseError
from rightsx.frames import arrow_stream, to_pandas, to_polars
from rightsx.progress import Progress, following
from rightsx.views import text_table

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

ROWS_SHOWN: Final = 20


class Sweep:
    """The table of a sweep: a row a point, in the order of the grid, with its parameters, its seed and what the function gave.

    `columns` are NumPy arrays by name.
    """

    def __init__(self, columns: dict[str, np.ndarray]) -> None:
        """Take the columns, which are of one length."""
        self.columns = columns

    def __len__(self) -> int:
        """Count the points."""
        return len(next(iter(self.columns.values()), ()))

    def __getitem__(self, name: str) -> np.ndarray:
        """Give a column."""
        return self.columns[name]

    def row(self, at: int) -> dict[str, Any]:
        """Give a row by name."""
        return {name: column[at].item() for name, column in self.columns.items()}

    def best(self, name: str) -> dict[str, Any]:
        """Give the row in which a column is greatest; the first of several."""
        if name not in self.columns:
            raise MisuseError(f"there is no column {name!r}; one of {', '.join(self.columns)} is due")
        return self.row(int(np.argmax(self.columns[name])))

    def to_dict(self) -> dict[str, list[Any]]:
        """Give the columns as lists of Python's numbers and words."""
        return {name: column.tolist() for name, column in self.columns.items()}

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Give the table as a stream of Arrow's, by the PyCapsule protocol. `MisuseError` without the extra `arrow`."""
        return arrow_stream(self.columns, requested_schema)

    def to_polars(self) -> Any:
        """Give a polars DataFrame; `MisuseError` where polars or the extra `arrow` is missing."""
        return to_polars(self.columns)

    def to_pandas(self) -> Any:
        """Give a pandas DataFrame; `MisuseError` where pandas is missing."""
        return to_pandas(self.columns)

    def __repr__(self) -> str:
        """Show the first rows."""
        shown = [name for name in self.columns if name != "seed"]
        rows = [[_shown(self.columns[name][at].item()) for name in shown] for at in range(min(len(self), ROWS_SHOWN))]
        more = f"\n… {len(self) - ROWS_SHOWN} more" if len(self) > ROWS_SHOWN else ""
        return text_table(tuple(shown), rows) + more


def _shown(value: Any) -> str:
    return (
        f"{value:,}"
        if isinstance(value, int) and not isinstance(value, bool)
        else f"{value:.4g}"
        if isinstance(value, float)
        else str(value)
    )


def sweep(
    function: Callable[..., Mapping[str, float]],
    grid: Mapping[str, Sequence[Any]],
    *,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress = None,
) -> Sweep:
    """Call a function at every point of a grid, in as many processes as there are cores (`workers`), and give the table.

    `function(**point, seed=…)` gives numbers by name, the same names at every point. `MisuseError` for an empty or wrong
    grid, and where the names differ. `progress` is told of points: see `rightsx.progress`. An interrupt ends it at once.

    >>> sweep(lambda a, b, seed: {"sum": a + b}, {"a": [1, 2], "b": [10, 20]}, workers=1)["sum"].tolist()
    [11, 21, 12, 22]
    """
    points = _points(grid)
    if not callable(function):
        raise MisuseError(f"function was {function!r}; a function of the grid's names and seed is due")
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise MisuseError(f"seed was {seed!r}; an integer is due")
    count = os.cpu_count() or 1 if workers is None else workers
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise MisuseError(f"workers was {workers!r}; 1 or more is due")
    seeds = [seed_of(point, seed) for point in points]
    rows: list[Mapping[str, float]] = []
    called = contextlib.closing(_called(function, points, seeds, min(count, len(points))))
    with following(progress, "sweep") as step, called as found:
        for row in found:
            rows.append(row)
            step(len(rows), len(points))
    names = list(rows[0])
    for point, row in zip(points, rows, strict=True):
        if list(row) != names:
            raise MisuseError(f"at {point} the function gave {list(row)}; at the first point it gave {names}")
        if "seed" in row or set(row) & set(point):
            raise MisuseError(f"the function gave {list(row)}; other names than those of the grid, and seed, are due")
    columns = {name: np.array([point[name] for point in points]) for name in grid}
    columns["seed"] = np.array(seeds, np.uint64)
    columns |= {name: np.array([row[name] for row in rows]) for name in names}
    return Sweep(columns)


def seed_of(point: Mapping[str, Any], seed: int = 0) -> int:
    """Give the seed of a point: 62 bits of SHA-256 over its parameters and the sweep's seed."""
    words = json.dumps({"seed": seed, "point": {name: _plain(value) for name, value in point.items()}}, sort_keys=True)
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:8], "little") >> 2


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _points(grid: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    if not hasattr(grid, "items") or not len(grid):
        raise MisuseError(f"grid was {grid!r}; names with lists of values are due")
    for name, values in grid.items():
        if not isinstance(name, str) or name == "seed":
            raise MisuseError(f"the grid names {name!r}; words other than seed are due")
        if isinstance(values, str) or not hasattr(values, "__len__") or not len(values):
            raise MisuseError(f"{name} was {values!r}; a list of one or more values is due")
        if not all(isinstance(_plain(value), int | float | str | bool) for value in values):
            raise MisuseError(f"{name} was {values!r}; numbers and words are due")
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


_FUNCTION: list[Callable[..., Mapping[str, float]]] = []  # which a copied process has without its being sent


def _called(
    function: Callable[..., Mapping[str, float]], points: list[dict[str, Any]], seeds: list[int], workers: int
) -> Generator[Mapping[str, float]]:
    """Give the rows in the order of the points."""
    if workers == 1:
        for point, seed in zip(points, seeds, strict=True):
            yield _at_point(function, point, seed)
        return
    copies = sys.platform == "linux"
    context = multiprocessing.get_context("fork" if copies else "spawn")
    _FUNCTION[:] = [function]
    with ProcessPoolExecutor(workers, context) as pool:
        try:
            sent = None if copies else function
            asked = [pool.submit(_at_point, sent, point, seed) for point, seed in zip(points, seeds, strict=True)]
            for one in asked:
                yield one.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _at_point(function: Callable[..., Mapping[str, float]] | None, point: dict[str, Any], seed: int) -> Mapping[str, float]:
    """Call the function at a point; what it raises names the point."""
    try:
        return dict((function or _FUNCTION[0])(**point, seed=seed))
    except BaseException as error:
        told = f"at {point}, seed {seed}"
        error.add_note(told)
        try:
            pickle.loads(pickle.dumps(error))  # noqa: S301 - our own, to see whether it may be sent
        except (pickle.PickleError, TypeError, AttributeError, ValueError, ImportError):
            raise RuntimeError(f"{type(error).__name__}: {error}; {told}") from None
        raise


__all__ = ["Sweep", "seed_of", "sweep"]
