"""Compiling goes from the last kernel to the entry, tells how far it is, and begins anew after Ctrl-C."""

import os
import subprocess
import sys

import pytest

from rightsx import _jit
from rightsx.engine import barebook, hot, run

pytestmark = pytest.mark.skipif(not _jit.COMPILED, reason="nothing is compiled in this run")

INTERRUPTED = """
import signal
import sys

from numba.core.dispatcher import Dispatcher

from rightsx import TimingWheel

signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background is begun without
sys.stderr.isatty = lambda: True
usual = Dispatcher.compile
begun = []

def compile(self, signature):
    begun.append(self)
    if len(begun) == 5:
        signal.raise_signal(signal.SIGINT)
    return usual(self, signature)

Dispatcher.compile = compile
try:
    TimingWheel()
except KeyboardInterrupt:
    wheel = TimingWheel()
    wheel.arm(due_ns=7)
    print(len(begun), len(wheel))
"""


@pytest.mark.parametrize("function", [barebook.bare_entry, hot.hot_entry, run.engine_entry])
def test_a_kernel_comes_after_all_that_it_calls(function):
    from rightsx._compile import Kernel, callees  # noqa: PLC0415 - an uncompiled run has no numba

    kernels = callees(function)
    place = {kernel: at for at, kernel in enumerate(kernels)}
    assert len(place) == len(kernels) > 50
    for at, caller in enumerate(kernels):
        found = [caller.py_func.__globals__.get(name) for name in caller.py_func.__code__.co_names]
        assert all(place[called] <= at for called in found if isinstance(called, Kernel)), caller


def test_compiling_shows_how_far_it_is_and_begins_anew_after_an_interrupt(tmp_path):
    environment = {**os.environ, "RIGHTSX_CACHE_DIR": str(tmp_path)}
    ended = subprocess.run([sys.executable, "-c", INTERRUPTED], env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout, f"the interrupt was not heard: {ended.stderr}"
    begun, armed = map(int, ended.stdout.split())
    assert (begun > 10, armed) == (True, 1)
    told = ended.stderr.replace("\n", "\r").split("\r")
    parts = [int(line.rsplit("… ", 1)[1][:-1]) for line in told if line.endswith("%")]
    assert parts[0] == 0
    assert max(parts) > 90
    assert any("cut short after " in line for line in told)
    assert told[-2].endswith(" s")
    assert "cut short" not in told[-2]


WARM = """
import sys

import rightsx

exchange = rightsx.Exchange()
account = exchange.open_account()
exchange.deposit(account=account, amount=5)
print(exchange.account(account).cash, *(name for name in sys.modules if name.startswith(("numba.cpython.listobj", "numba.typed.typedlist"))))
"""


def test_what_was_compiled_before_runs_without_the_rules_for_compiling(tmp_path):
    environment = {**os.environ, "RIGHTSX_CACHE_DIR": str(tmp_path)}
    told = [
        subprocess.run([sys.executable, "-c", WARM], env=environment, capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert [len(each.stdout.split()) for each in told] == [3, 1]
    assert [each.stdout.split()[0] for each in told] == ["5", "5"]
    assert "once" in told[0].stderr
    assert told[1].stderr == ""
