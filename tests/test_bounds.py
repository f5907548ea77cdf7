"""A row that a table does not have is an IndexError that names the table: uncompiled, and compiled under NUMBA_BOUNDSCHECK=1.

`make bounds` runs the whole suite with the checks compiled in. These tests show that such a run would see something: they plant
a kernel which reads where it must not.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rightsx._jit import BOUNDSCHECK, COMPILED, Tables, entry, table

ROOT = Path(__file__).resolve().parents[1]
ROWS = 3
PEBBLE = np.dtype([("weight", "<i8"), ("colour", "<i8")])
SAID = r"a row of table 1 \(weight, colour\) is out of range"

pebble_at = table(1, PEBBLE)


def weight_of(state: int, row: int) -> int:
    """Read a row, whichever it is: the planted mistake."""
    return pebble_at(state, row)["weight"]


def colour_set(state: int, row: int) -> int:
    """Write to a row, whichever it is."""
    pebble_at(state, row)["colour"] = 7
    return 0


@pytest.mark.skipif(COMPILED and not BOUNDSCHECK, reason="a compiled run without checks reads what lies there")
@pytest.mark.parametrize("kernel", [weight_of, colour_set], ids=["read", "write"])
@pytest.mark.parametrize("row", [ROWS, ROWS + 1, 2**31, 2**62, -1, -ROWS, -(2**63)])
def test_a_row_that_a_table_does_not_have_is_an_index_error(kernel, row):
    tables = Tables([PEBBLE, PEBBLE])
    tables.grow(0, 2 * ROWS)
    tables.grow(1, ROWS)
    tables.arrays[1]["weight"] = 5, 6, 7
    call = entry(kernel, 2, "a planted mistake")
    with pytest.raises(IndexError, match=SAID):
        call(tables.state, row)
    assert tables.arrays[0].tobytes() == bytes(tables.arrays[0].nbytes)
    assert tables.arrays[1].tolist() == [(5, 0), (6, 0), (7, 0)]
    assert [call(tables.state, place) for place in range(ROWS)] == ([5, 6, 7] if kernel is weight_of else [0, 0, 0])


@pytest.mark.skipif(BOUNDSCHECK or not COMPILED, reason="the other runs are made from the usual one")
@pytest.mark.parametrize(
    ("mode", "said"), [({"NUMBA_BOUNDSCHECK": "1"}, "14 passed"), ({"NUMBA_DISABLE_JIT": "1"}, "14 passed"), ({}, "14 skipped")]
)
def test_the_planted_mistake_is_seen_where_rows_are_checked(mode, said, tmp_path):
    env = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "COV_", "COVERAGE_", "PYTEST_"))}
    env |= {"RIGHTSX_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT / "src")} | mode
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", "does_not_have"]
    ran = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert said in ran.stdout, ran.stdout + ran.stderr
