"""Tells what benchmarks measured: as tables on the screen, and as an entry of HISTORY.md.

A table is its head and its rows; the first column is what was measured.
"""

from __future__ import annotations

import datetime as dt
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rightsx.views import text_table

if TYPE_CHECKING:
    from collections.abc import Sequence

HISTORY: Final = Path(__file__).parent / "HISTORY.md"
Table = tuple[tuple[str, ...], list[tuple[object, ...]]]


def tenth(ns: float) -> str:
    """Write a number of nanoseconds as finely as it deserves."""
    return f"{ns:.1f}" if ns < 100 else f"{ns:,.0f}"  # noqa: PLR2004 - three digits


def spread(each: Sequence[float]) -> tuple[str, str]:
    """Write the median and the worst of some runs."""
    return tenth(statistics.median(each)), tenth(max(each))


def machine() -> str:
    """Name processor, Python, compiler and commit."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        cpu = next(
            (line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")), cpu
        )
    words = ["git", "-C", str(HISTORY.parent), "describe", "--always", "--dirty"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603 - words of our own
    import numba  # noqa: PLC0415 - only here, for its version

    return f"{cpu}, Python {platform.python_version()}, numba {numba.__version__}, commit {done.stdout.strip() or 'unknown'}"


def show(tables: Sequence[Table], notes: Sequence[str] = ()) -> None:
    """Print tables and notes."""
    for table in tables:
        print()
        print(text_table(*table))
    for note in notes:
        print(note)


def markdown(table: Table) -> str:
    """Write a table as HISTORY.md does."""
    head, rows = table
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *[[str(cell) for cell in row] for row in rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def tell(title: str, tables: Sequence[Table], notes: Sequence[str] = (), *, keeps: bool) -> None:
    """Print the machine, tables and notes; if asked, add them to HISTORY.md under the words that the program was called with."""
    print(machine())
    show(tables, notes)
    if keeps:
        program, *words = sys.argv
        append(title, " ".join(["python", f"benchmarks/{Path(program).name}", *words]), tables, notes)


def append(title: str, words: str, tables: Sequence[Table], notes: Sequence[str] = ()) -> None:
    """Add tables and notes to HISTORY.md under today's date."""
    parts = [f"## {dt.datetime.now(tz=dt.UTC):%Y-%m-%d}, {title}", f"`{words}`, {machine()}:"]
    parts += [markdown(table) for table in tables]
    parts += ["\n".join(f"- {note}" for note in notes)] if notes else []
    with HISTORY.open("a") as history:
        history.write("\n" + "\n\n".join(parts) + "\n")
