"""The notebooks run from their first cell to their last, as a reader would run them."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="the notebooks draw")

FOLDER = Path(__file__).resolve().parents[1] / "examples" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
pytestmark = pytest.mark.unaudited


def cells_of(path):
    book = json.loads(path.read_text())
    assert (book["nbformat"], len({cell["id"] for cell in book["cells"]})) == (4, len(book["cells"]))
    return ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]


def shown(source, names, name):
    """Run a cell, and give what a notebook would show: its last expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec"), names)  # noqa: S102 - the project's own examples
    return eval(compile(ast.Expression(last.value), name, "eval"), names) if last else None  # noqa: S307


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, monkeypatch, request):
    if "real" in path.stem:
        monkeypatch.setenv(
            "BITSTAMP_LOG", str(request.getfixturevalue("venue_file")("data/bitstamp-ob-analytics/2015-05-01.log.xz"))
        )
    names = {"__name__": path.stem}
    for at, source in enumerate(cells_of(path)):
        found = shown(source, names, f"{path.name}, code cell {at}")
        if found is not None:
            assert repr(found)
            if hasattr(found, "savefig"):
                found.savefig(Path("/dev/null"), format="png")


def test_notebooks_are_kept_without_what_they_gave():
    assert len(NOTEBOOKS) == 3
    for path in NOTEBOOKS:
        cells = json.loads(path.read_text())["cells"]
        assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells)
