"""A wrong kernel is noticed, one that is only written otherwise is not, and the sources stay as they are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
HOME = TESTS.parent / "src" / "rightsx"

# Two mutants, judged by one short flow: cash that is taken where it should be given, and a refusal that is −2 instead of −1.
CODE = """
import mutants
mutants.checks = lambda path, scripts: [("flows", lambda: mutants.flows(["calm"], 60, 1, thorough=False))]
every = mutants.mutants()
wrong = next(one for one in every if one.kernel.name == "cash_credit" and " - amount" in one.made()[2])
same = next(one for one in every if one.kernel.name == "bare_entry" and one.made()[1:3] == ("return -1", "return -2"))
assert same.alike and not wrong.alike
mutants.ALIKE.clear()
print(mutants.judged(None, {}, 60) or "nothing")
print(mutants.survey([wrong, same], {}, 60))
print([number for number, one in enumerate(every) if one.number != number], len(every) > 5_000)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a mutant lives in a forked process")
def test_a_wrong_kernel_is_noticed_and_one_that_is_the_same_survives():
    before = {path: path.read_bytes() for path in HOME.rglob("*.py")}
    paths = os.pathsep.join([str(TESTS), str(HOME.parent)])
    env = os.environ | {"NUMBA_DISABLE_JIT": "1", "RIGHTSX_IN_PROCESS": "1", "PYTHONPATH": paths}
    ran = subprocess.run([sys.executable, "-c", CODE], env=env, capture_output=True, text=True, check=False)
    lines = ran.stdout.replace("\r", "\n").splitlines()
    assert ran.returncode == 0, ran.stderr
    assert lines[0] == "nothing"
    assert lines[-3:] == ["noticed by flows 1", "(2, 1)", "[] True"]
    (told,) = [number for number, line in enumerate(lines) if line.startswith("survived: --only")]
    assert [line.strip() for line in lines[told + 1 : told + 3]] == ["- return -1", "+ return -2"]
    assert {path: path.read_bytes() for path in HOME.rglob("*.py")} == before
