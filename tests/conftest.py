"""What several test files share: where the venues' files are, which never enter this repository.

`RIGHTSX_TEST_DATA` names their directory, relative to the repository's root unless absolute; the
default is `../shared`. A test that needs an absent file is skipped and says which one.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rightsx.dispatch import Dispatcher
from rightsx.exchange import Exchange

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def venue_file() -> Callable[[str], Path]:
    """Give a function from a path inside the test data to the file, which skips the test if it is absent."""
    data = (ROOT / os.environ.get("RIGHTSX_TEST_DATA", "../shared")).resolve()

    def find(name: str) -> Path:
        path = data / name
        if not path.is_file():
            pytest.skip(f"{path} is absent; RIGHTSX_TEST_DATA names the directory of the venues' files")
        return path

    return find


# What takes every branch of the reference between them; a traced test takes twice as long, so no other is.
COVERING = {
    "test_beyond_scenarios",
    "test_events",
    "test_exchange",
    "test_hostile",
    "test_marketdata",
    "test_orderbook",
    "test_plans",
    "test_random",
    "test_reports",
    "test_scenarios",
    "test_solvency",
}


def pytest_collection_modifyitems(items):
    """Trace those tests alone where coverage is asked for; what takes longest comes first, or one core waits for it at the end."""
    items.sort(key=lambda item: item.path.stem != "test_kernel_coverage")
    for item in items:
        if item.path.stem not in COVERING or item.name.startswith("test_long_random"):
            item.add_marker("no_cover")


BY_EVERY_ENGINE = {"test_exchange", "test_hostile", "test_events", "test_reports", "test_beyond_scenarios"}


def pytest_generate_tests(metafunc):
    """Let the tests of these files run on every engine."""
    if metafunc.module.__name__.rpartition(".")[2] in BY_EVERY_ENGINE:
        metafunc.fixturenames.append("by_engine")
        metafunc.parametrize("by_engine", ["compiled", "reference"])


@pytest.fixture(autouse=True)
def _by_engine(request, monkeypatch):
    """Make the engine of a test's `by_engine` the default of `Exchange`; autouse, to come before whatever makes one."""
    engine = getattr(getattr(request.node, "callspec", None), "params", {}).get("by_engine")
    if engine:
        monkeypatch.setitem(Exchange.__init__.__kwdefaults__, "engine", engine)


@pytest.fixture(autouse=True)
def _every_command_is_audited(request, monkeypatch):
    """Audit the books after every command that a test gives to an `Exchange` (R11, R36).

    Whole demos audit themselves at their own intervals, or a test would take minutes: `unaudited`.
    """
    if request.node.get_closest_marker("unaudited"):
        return
    for verb in ("send", "send_plain"):
        monkeypatch.setattr(Dispatcher, verb, _audited(getattr(Dispatcher, verb)))


def _audited(send):
    def audited(self, *arguments, **named):
        try:
            return send(self, *arguments, **named)
        finally:
            self.twin.check()

    return audited
