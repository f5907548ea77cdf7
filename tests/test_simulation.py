"""A thousandth of what `make crashes` does, and a file system that really runs full."""

from __future__ import annotations

import collections
import errno
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="signatures need the extra `proofs`")

import simulate_crashes
from crashes import VENUE
from rightsx.inspection import verify_store
from rightsx.protocol import Command, CommandKind
from rightsx.reference.twin import ReferenceExchange
from rightsx.storage import open_twin

pytestmark = pytest.mark.unaudited


def test_a_thousand_crashes_a_hundred_damaged_stores_and_a_killed_process_lose_nothing():
    counts = collections.Counter()
    simulate_crashes.simulate(1, 1_000, 100, 5, counts, shown=False)
    print(dict(counts))
    assert simulate_crashes.total(counts, "states: ") >= 1_000
    assert simulate_crashes.total(counts, "images: ") >= 100
    assert counts["kills"] == 5
    assert counts["states: cut"] > 100


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 12 MB, where this machine lets us make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", folder], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"no file system can be made here: {made.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_file_system_that_runs_full_loses_nothing_acknowledged(small_disk):
    store = small_disk / "store"

    def opened():
        twin = open_twin(store, ReferenceExchange, venue=VENUE, segment_bytes=1 << 20)
        try:
            twin.recover(lambda _: None)
        except OSError:
            twin.close()
            raise
        return twin

    acknowledged = 0

    def deposit_on(twin):
        nonlocal acknowledged
        while True:
            twin.apply_raw(Command(kind=CommandKind.DEPOSIT, account=1, qty=1))
            acknowledged += 1

    def open_again_and_again():
        while True:
            opened().close()

    filler = small_disk / "filler"
    filler.write_bytes(bytes(7 << 20))
    twin = opened()
    twin.apply_raw(Command(kind=CommandKind.OPEN_ACCOUNT))
    acknowledged = 1
    with pytest.raises(OSError, match="No space") as caught:
        deposit_on(twin)
    assert caught.value.errno == errno.ENOSPC
    assert Path(caught.value.filename).is_relative_to(store / "log")
    assert acknowledged > 10_000
    twin.close()
    with pytest.raises(OSError, match="No space"):
        open_again_and_again()  # Each opening takes room in the log, until its last file is full, too.
    filler.unlink()
    again = opened()
    assert again.command_seq in (acknowledged, acknowledged + 1)
    assert again.apply_raw(Command(kind=CommandKind.DEPOSIT, account=1, qty=1))
    again.publish()
    again.close()
    assert verify_store(store, engine="reference").commands == again.command_seq
