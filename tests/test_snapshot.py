"""A market brought back from a snapshot is the market that reading the whole log gives."""

from __future__ import annotations

import random

import numpy as np
import pytest

pytest.importorskip("cryptography", reason="signatures need the extra `proofs`")

from crashes import KEY, STORE, VENUE, FaultyDisk, PowerLost, Run, Script, judge, opened
from rightsx import Exchange, snapshot
from rightsx._jit import COMPILED
from rightsx.commandlog import segment_path
from rightsx.engine.twin import CompiledExchange
from rightsx.errors import CorruptionError, DivergenceError, MisuseError
from rightsx.inspection import verify_store
from rightsx.protocol import EVENT
from rightsx.reference.twin import ReferenceExchange
from rightsx.snapshot import names_of

pytestmark = pytest.mark.unaudited
SNAPSHOTS = STORE / "snapshots"
COUNT = 120 if COMPILED else 30


@pytest.fixture(scope="module")
def script():
    return Script(3, COUNT)


def kept(script, *, at, closes=True):
    """Run a script with snapshots after some commands; gives the disk and the twin."""
    disk = FaultyDisk()
    twin = opened(disk, make=CompiledExchange)
    for number, step in enumerate(script.steps, 1):
        twin.apply_raw(*step)
        if number in at:
            twin.snapshot()
        if number % 50 == 0:
            twin.publish()
    if closes:
        twin.close()
    return disk, twin


def recovered(disk, **options):
    """Open a store without `crashes`, hearing all events; gives the twin, the events, how much log was read."""
    heard = []
    twin = opened(disk, make=CompiledExchange)
    twin.close()
    twin = snapshot_twin(disk)
    reader = twin.recover(heard.append, **options)
    return twin, np.concatenate(heard) if heard else np.zeros(0, EVENT), reader.size_bytes


def snapshot_twin(disk):
    from rightsx.storage import open_twin  # noqa: PLC0415

    return open_twin(STORE, CompiledExchange, disk=disk, venue=VENUE, signer=KEY, segment_bytes=8_192)


def leaves(events):
    return events[events["event_seq"] >= 0].tobytes()


@pytest.mark.parametrize("at", [{1}, {COUNT // 2}, {COUNT}, {COUNT // 3, COUNT // 2, COUNT - 5}])
def test_a_market_from_a_snapshot_is_the_one_that_the_log_gives(script, at):
    disk, _ = kept(script, at=at)
    by_snapshot, heard, read = recovered(disk.copy())
    by_log, all_heard, whole = recovered(disk.copy(), whole=True)
    assert by_snapshot.state_hash() == by_log.state_hash() == script.states[-1]
    assert by_snapshot.memory_hash() == by_log.memory_hash()
    assert by_snapshot.journal.root() == by_log.journal.root()
    assert leaves(heard) == leaves(all_heard)
    assert read <= whole
    for number in range(0, by_log.journal.size, 13):
        assert by_snapshot.journal.record(number) == by_log.journal.record(number)
        assert by_snapshot.journal.prove_inclusion(number) == by_log.journal.prove_inclusion(number)
    by_snapshot.check()


def test_a_market_from_a_snapshot_goes_on_as_the_other(script):
    disk, twin = kept(script, at={COUNT // 2})
    events = []
    for whole in (False, True):
        state = disk.copy()
        twin, _, _ = recovered(state, whole=whole)
        events.append(b"".join(twin.apply_raw(*step) for step in Script(8, 40).steps))
        twin.publish()
        root, hashed = twin.journal.root(), twin.state_hash()
        twin.close()
        again = opened(state, make=CompiledExchange)
        assert (again.journal.root(), again.state_hash()) == (root, hashed)
    assert events[0] == events[1]


def test_the_log_before_a_snapshot_is_not_needed(script):
    disk, twin = kept(script, at={COUNT - 2})
    first = min(int(name) for name in disk.names(STORE / "log"))
    state = twin.state_hash()
    assert len(disk.names(STORE / "log")) > 1
    del disk.files[segment_path(STORE / "log", first)]
    assert opened(disk.copy(), make=CompiledExchange).state_hash() == state
    with pytest.raises(CorruptionError, match="missing"):
        opened(disk.copy())
    (last,) = disk.names(STORE / "log")[-1:]
    emptied = disk.copy()
    content = emptied.files[segment_path(STORE / "log", int(last))].now
    content[160:] = bytes(len(content) - 160)
    with pytest.raises(CorruptionError, match="before a snapshot is not there"):
        opened(emptied, make=CompiledExchange)
    for name in disk.names(STORE / "log"):
        del disk.files[segment_path(STORE / "log", int(name))]
    with pytest.raises(CorruptionError, match="which a snapshot names"):
        opened(disk, make=CompiledExchange)


def test_a_snapshot_that_is_damaged_or_of_another_layout_is_passed_over(script, monkeypatch):
    disk, twin = kept(script, at={COUNT // 3, COUNT // 2})
    state = twin.state_hash()
    oldest, newest = (SNAPSHOTS / name for name in names_of(disk, SNAPSHOTS))
    reads = []
    for path in (None, newest, oldest):
        if path is not None:
            content = disk.files[path].now
            content[random.Random(1).randrange(len(content))] ^= 1
        twin, _, read = recovered(disk.copy())
        assert twin.state_hash() == state
        reads.append(read)
    assert reads == sorted(reads)
    disk, twin = kept(script, at={COUNT // 2})
    monkeypatch.setattr(snapshot, "layout_of", lambda _: "another")
    assert recovered(disk)[0].state_hash() == state


def test_two_snapshots_are_kept(script):
    disk, _ = kept(script, at=set(range(1, 20, 3)))
    assert names_of(disk, SNAPSHOTS) == [f"{number:016d}" for number in (16, 19)]


def test_a_snapshot_of_another_store_or_against_the_checkpoint_is_not_believed(script):
    disk, _ = kept(script, at={COUNT - 2})
    other, twin = kept(script, at={COUNT - 3})
    (name,) = names_of(disk, SNAPSHOTS)
    other.files[SNAPSHOTS / f"{10**9:016d}"] = disk.files[SNAPSHOTS / name]
    assert opened(other.copy(), make=CompiledExchange).state_hash() == twin.state_hash()
    checkpoint = STORE / "journal" / "public" / "checkpoint"
    other.files[checkpoint] = disk.files[checkpoint]
    with pytest.raises(DivergenceError, match="another root than the checkpoint"):
        opened(other, make=CompiledExchange)


def test_the_judge_begins_at_the_beginning(script):
    disk, twin = kept(script, at={COUNT // 2})
    assert opened(disk, make=ReferenceExchange).state_hash() == twin.state_hash()
    judge_twin = opened(FaultyDisk())
    with pytest.raises(MisuseError, match="takes no snapshots"):
        judge_twin.snapshot()


@pytest.mark.skipif(not COMPILED, reason="many markets, and kernels in Python are slow")
def test_whatever_a_crash_leaves_of_snapshots_opens_with_everything_acknowledged():
    script = Script(5, 60)
    whole = FaultyDisk()
    Run(script, whole, 2, make=CompiledExchange, chance_of=(0.1, 0.1, 0.3)).go()
    assert names_of(whole, SNAPSHOTS)
    found = {"whole": 0, "cut": 0}
    for at in range(1, whole.calls + 1, 2):
        disk = FaultyDisk()
        disk.fail_at, disk.part = at, random.Random(at).choice((0, 0.3, 0.9))
        run = Run(script, disk, 2, make=CompiledExchange, chance_of=(0.1, 0.1, 0.3))
        with pytest.raises(PowerLost):
            run.go()
        for number in range(3):
            found[judge(run, disk.crash(random.Random(at + number)), legal=True)] += 1
    print(found)
    assert min(found.values()) > 10


def test_a_snapshot_is_taken_of_a_real_market_and_verified_from_the_beginning(tmp_path):
    with Exchange.open(tmp_path / "store", signer=KEY) as market:
        ann = market.open_account()
        market.deposit(account=ann, amount=500, ref=3)
        path = market.snapshot()
        market.deposit(account=ann, amount=7)
        market.publish()
        statement = market.statement(ann)
    assert path.parent == tmp_path / "store" / "snapshots"
    with Exchange.open(tmp_path / "store") as market:
        assert market.account(ann).cash_free == 507
        assert market.statement(ann) == statement
        assert market.deposit(account=ann, amount=500, ref=3).duplicate
    with Exchange.open(tmp_path / "store", keep_events=False) as market:
        assert market.command_seq == 5
    assert verify_store(tmp_path / "store", key=KEY.verifier).holds
