"""A market kept in a folder: whatever stops it, everything acknowledged is there again, or the damage is named."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cryptography", reason="signatures need the extra `proofs`")

from crashes import KEY, SEGMENT, STORE, VENUE, FaultyDisk, PowerLost, Run, Script, judge, opened
from interrupter import Interrupter
from rightsx import Exchange, Limits, commandlog, ledger, storage
from rightsx._jit import COMPILED
from rightsx.commandlog import SECTOR, segment_path
from rightsx.engine.twin import CompiledExchange
from rightsx.errors import (
    CorruptionError,
    DivergenceError,
    MisuseError,
    ProofError,
    RightsxError,
    StoreFailedError,
    StoreLockedError,
)
from rightsx.note import make_signing_key
from rightsx.protocol import AT_ENGINE_CLOCK, COMMAND, TIME_END, Command, CommandKind, command_records, events_of
from rightsx.reference.twin import ReferenceExchange

pytestmark = pytest.mark.unaudited
LOG = STORE / "log"


@pytest.fixture(scope="module")
def script():
    return Script(1, 80)


@pytest.fixture(scope="module")
def publishing_script():
    return Script(6, 60, publishes=0.2)


def run_whole(script, seed=1, **options):
    disk = FaultyDisk()
    run = Run(script, disk, seed, **options)
    run.go()
    return run, disk


# ── closing and opening ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("durability", ["disk", "os", "none"])
@pytest.mark.parametrize("make", [ReferenceExchange, CompiledExchange])
def test_a_market_closed_and_opened_is_the_same_market(script, durability, make):
    disk = FaultyDisk()
    twin = opened(disk, make=make, durability=durability)
    judge_twin = ReferenceExchange(VENUE)
    steps = script.steps if COMPILED or make is ReferenceExchange else script.steps[:30]
    for number, (record, payload) in enumerate(steps):
        events = twin.apply_raw(record, payload)
        assert events == judge_twin.apply_raw(record, payload)
        if number % 20 == 10:
            twin.close()
            twin = opened(disk, make=make, durability=durability)
    assert twin.state_hash() == judge_twin.state_hash()
    journal = twin.journal_now()
    root, size = journal.root(), journal.size
    twin.close()
    again = opened(disk.copy(), make=make)
    assert (again.state_hash(), again.journal.size, again.journal.root()) == (judge_twin.state_hash(), size, root)
    assert len(disk.names(LOG)) > 1, "there are several segments"


def test_a_store_gives_statements_of_what_was_before(tmp_path):
    with Exchange.open(tmp_path / "store", engine="reference", signer=KEY) as market:
        ann = market.open_account()
        market.deposit(account=ann, amount=500)
        market.deposit(account=ann, amount=70, ref=9)
        before, told = market.statement(ann), market.events
    with Exchange.open(tmp_path / "store", engine="reference", signer=KEY) as market:
        assert (market.statement(ann), market.events) == (before, told)
        assert market.deposit(account=ann, amount=70, ref=9).duplicate
        assert market.deposit(account=ann, amount=1).command_seq == 5
        published = market.publish()
        assert market.journal.receipt(2).check(KEY.verifier) == published.checkpoint


def test_a_batch_is_answered_as_in_memory(script):
    for make in (ReferenceExchange, CompiledExchange):
        twin, memory = opened(FaultyDisk(), make=make), ReferenceExchange(VENUE)
        for record, payload in script.steps[:30]:
            twin.apply_raw(record, payload), memory.apply_raw(record, payload)
        rows = command_records([record for record, _ in script.steps[30:] if record.kind < 64])
        before = rows.copy()
        assert events_of(twin.apply_batch(rows)) == events_of(memory.apply_batch(rows))
        assert len(twin.apply_batch(rows[:0])) == 0
        assert rows.tobytes() == before.tobytes()
        assert twin.state_hash() == memory.state_hash()


def test_the_log_holds_the_times_that_the_clock_gave():
    disk = FaultyDisk()
    twin = opened(disk)
    times = [5, AT_ENGINE_CLOCK, 3, 9, AT_ENGINE_CLOCK, TIME_END, -7, AT_ENGINE_CLOCK]
    twin.apply_raw(Command(time_ns=2, kind=CommandKind.OPEN_ACCOUNT))
    rows = command_records([Command(time_ns=at, kind=CommandKind.DEPOSIT, account=1, qty=1) for at in times])
    twin.apply_batch(rows)
    assert twin.clock_ns == 9
    frames = [frame for frame in twin.store.reader() if frame.commands]
    logged = np.frombuffer(frames[1].body, COMMAND)["time_ns"].tolist()
    assert logged == [5, 5, 3, 9, 9, TIME_END, -7, 9]


def test_a_store_beside_its_writer_is_read_and_takes_no_commands(tmp_path):
    with Exchange.open(tmp_path / "store", engine="reference", signer=KEY) as market:
        ann = market.open_account()
        market.deposit(account=ann, amount=500)
        with pytest.raises(StoreLockedError, match="one writer at a time"):
            Exchange.open(tmp_path / "store", engine="reference")
        with Exchange.open(tmp_path / "store", engine="reference", read_only=True) as reader:
            assert reader.account(ann).cash_free == 500
            assert reader.journal.prove_inclusion(1)
            for call in (lambda: reader.deposit(account=ann, amount=1), reader.publish, reader.sync):
                with pytest.raises(MisuseError, match="read-only"):
                    call()
        market.deposit(account=ann, amount=1)


def test_a_market_in_memory_has_nothing_to_keep():
    with Exchange(engine="reference") as market:
        for call in (market.sync, market.publish, lambda: market.journal):
            with pytest.raises(MisuseError, match="in memory"):
                call()


@pytest.mark.parametrize(
    "options",
    [
        {"durability": "paper"},
        {"mode": "salvage"},
        {"engine": "steam"},
        {"read_only": 1},
        {"gift_fee": 3},
        {"limits": Limits(orders=5)},
        {"origin": "elsewhere"},
        {"clock": 5},
        {"signer": make_signing_key("elsewhere", bytes(32))},
    ],
)
def test_what_does_not_fit_the_store_is_misuse_and_lets_it_go(tmp_path, options):
    Exchange.open(tmp_path, engine="reference", signer=KEY, gift_fee=2).close()
    with pytest.raises(MisuseError):
        Exchange.open(tmp_path, **{"engine": "reference", **options})
    Exchange.open(tmp_path, engine="reference", gift_fee=2).close()


@pytest.mark.parametrize(
    "options", [{"origin": "two words"}, {"origin": "a", "signer": KEY}, {"durability": "paper"}, {"mode": "x"}]
)
def test_what_is_refused_before_a_store_is_made_makes_none(tmp_path, options):
    with pytest.raises(MisuseError):
        Exchange.open(tmp_path / "store", engine="reference", **options)
    assert not (tmp_path / "store" / "store.json").exists()


def test_two_who_make_one_store_at_once_make_one(tmp_path):
    words = [sys.executable, "-c", MAKER, str(tmp_path / "store")]
    makers = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    told = sorted(maker.communicate()[0].strip() for maker in makers)
    assert set(told) <= {"made", "locked"}
    assert "made" in told
    with Exchange.open(tmp_path / "store", engine="reference") as market:
        assert market.command_seq == told.count("made")


MAKER = """
import sys
from rightsx import Exchange, StoreLockedError
try:
    with Exchange.open(sys.argv[1], engine="reference") as market:
        market.open_account()
        print("made")
except StoreLockedError:
    print("locked")
"""


def test_a_folder_without_a_store_is_not_read(tmp_path):
    with pytest.raises(MisuseError, match="is no store"):
        Exchange.open(tmp_path, read_only=True)


def test_a_wrong_call_is_refused_before_it_is_logged():
    twin = opened(FaultyDisk())
    for call in (
        lambda: twin.apply_raw(Command(kind=200)),
        lambda: twin.apply_raw(Command(kind=CommandKind.REGISTER_MERCHANT), b"x"),
        lambda: twin.apply_raw(Command(kind=CommandKind.DEPOSIT, account=1, qty=1), b"x"),
        lambda: twin.apply_batch(command_records([Command(kind=CommandKind.LIST_SERIES)])),
        lambda: twin.apply_batch(np.zeros(3)),
    ):
        with pytest.raises((MisuseError, CorruptionError)):
            call()
    assert [frame.commands for frame in twin.store.reader()] == [0]


# ── crashes ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("durability", ["disk", "os", "none"])
def test_whatever_a_crash_leaves_opens_with_everything_acknowledged(script, durability):
    _, disk = run_whole(script, durability=durability)
    found = {"whole": 0, "cut": 0}
    seen = set()
    for at in range(1, disk.calls + 1):
        crashed = FaultyDisk()
        crashed.fail_at, crashed.part = at, random.Random(at).choice((0, 0, 0.3, 0.9))
        run = Run(script, crashed, 1, durability=durability)
        with pytest.raises(PowerLost):
            run.go()
        for number in range(6):
            state = crashed.crash(random.Random(at * 1_000 + number))
            if (key := hash(state.image())) not in seen:
                seen.add(key)
                found[judge(run, state, legal=True)] += 1
    print(f"{sum(found.values())} states: {found}")
    assert sum(found.values()) > 300
    assert found["cut"] > 20 or durability == "none"


def test_a_crash_in_a_publication_leaves_its_state_and_its_salts_or_neither(publishing_script):
    script = publishing_script
    _, disk = run_whole(script)
    found = {"whole": 0, "cut": 0}
    for at in range(1, disk.calls + 1):
        crashed = FaultyDisk()
        crashed.fail_at, crashed.part = at, random.Random(at).choice((0, 0, 0.3, 0.9))
        run = Run(script, crashed, 1)
        with pytest.raises(PowerLost):
            run.go()
        for number in range(3):
            found[judge(run, crashed.crash(random.Random(at * 1_000 + number)), legal=True)] += 1
    print(f"{sum(found.values())} states: {found}")
    assert min(found.values()) > 20
    caught = 0
    for at in range(30, disk.calls, 2):
        crashed = FaultyDisk()
        crashed.forget, crashed.fail_at = {("sync", "salts")}, at
        run = Run(script, crashed, 1)
        with pytest.raises(PowerLost):
            run.go()
        try:
            judge(run, crashed.crash(random.Random(at)), legal=True)
        except (AssertionError, RightsxError):
            caught += 1
    assert caught, "nobody missed a sync of salts"


def test_a_sync_that_is_forgotten_is_caught(script):
    for forgotten in [("sync", "log"), ("sync_directory", "log"), ("sync", "public"), ("sync_directory", "store")]:
        caught = False
        for at in range(30, 190, 3):
            disk = FaultyDisk()
            disk.forget = {forgotten}
            disk.fail_at = at
            run = Run(script, disk, 1)
            with pytest.raises(PowerLost):
                run.go()
            for number in range(4):
                try:
                    judge(run, disk.crash(random.Random(at + number)), legal=True)
                except (AssertionError, RightsxError, OSError):
                    caught = True
        assert caught, f"nobody missed {forgotten}"


def test_a_crash_while_opening_is_a_crash_like_any_other(script):
    disk = FaultyDisk()
    disk.fail_at, disk.part = 120, 0.5
    run = Run(script, disk, 1)
    with pytest.raises(PowerLost):
        run.go()
    torn = disk.crash(random.Random(3))
    for at in range(1, 40):
        again = torn.copy()
        again.fail_at = at
        try:
            opened(again).close()
        except PowerLost:
            judge(run, again.crash(random.Random(at)), legal=True)


# ── a disk that fails ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("part", [0, 0.4])
def test_whichever_call_fails_nothing_more_is_acknowledged_and_nothing_is_lost(script, error, part):
    _, whole = run_whole(script)
    for at in range(1, whole.calls + 1, 2):
        disk = FaultyDisk()
        disk.fail_at, disk.error, disk.part = at, error, part
        run = Run(script, disk, 1)
        with pytest.raises(OSError, match=errno.errorcode[error]) as caught:
            run.go()
        assert caught.value.filename
        # The process ends, and the machine with it or not.
        for state in (disk.copy(), disk.crash(random.Random(at))):
            judge(run, state, legal=True)


@pytest.mark.parametrize("call", ["write", "sync"])
def test_a_writer_that_failed_once_takes_nothing_more(call):
    disk = FaultyDisk()
    twin = opened(disk)
    twin.apply_raw(Command(kind=CommandKind.OPEN_ACCOUNT))
    disk.error = errno.EIO
    disk.fail_at = disk.calls + (1 if call == "write" else 2)
    with pytest.raises(OSError, match="EIO"):
        twin.apply_raw(Command(kind=CommandKind.DEPOSIT, account=1, qty=1))
    for again in (lambda: twin.apply_raw(Command(kind=CommandKind.DEPOSIT, account=1, qty=1)), twin.sync, twin.publish):
        with pytest.raises(StoreFailedError, match="open it anew"):
            again()
    twin.close()
    with pytest.raises(StoreFailedError, match="closed"):
        twin.apply_raw(Command(kind=CommandKind.OPEN_ACCOUNT))
    assert opened(disk).command_seq in (1, 2)


# ── damage ───────────────────────────────────────────────────────────────────────────────────────


def damaged(disk, path, change):
    found = disk.copy()
    inode = found.files[path]
    content = bytearray(inode.now)
    change(content)
    inode.now, inode.safe = bytearray(content), bytearray(content)
    return found


def test_a_flipped_bit_anywhere_is_named_or_harmless(script):
    run, disk = run_whole(script)
    chance = random.Random(7)
    outcomes = {"whole": 0, "cut": 0, "refused": 0}
    for path in sorted(disk.files):
        if path.name == "lock":
            continue
        size = len(disk.files[path].now)
        used = len(bytes(disk.files[path].now).rstrip(b"\0")) or 1
        for at in {*chance.sample(range(used), min(used, 60)), chance.randrange(size or 1)}:
            if at >= size:
                continue
            state = damaged(disk, path, lambda content, at=at: content.__setitem__(at, content[at] ^ 1 << chance.randrange(8)))
            try:
                outcomes[judge(run, state, legal=False)] += 1
            except ProofError:
                assert path.name == "checkpoint"
                outcomes["refused"] += 1
    print(outcomes)
    assert outcomes["refused"] > 200
    assert outcomes["cut"] == 0


def test_damage_to_the_log_names_the_file_and_the_byte(script):
    _, disk = run_whole(script)
    path = segment_path(LOG, 1)
    used = len(bytes(disk.files[path].now).rstrip(b"\0"))
    for at in range(0, used, 37):
        state = damaged(disk, path, lambda content, at=at: content.__setitem__(at, content[at] ^ 16))
        with pytest.raises(CorruptionError) as caught:
            opened(state)
        assert caught.value.path == path
        assert 0 <= caught.value.offset <= at
        assert f"{path}, byte {caught.value.offset}: " in str(caught.value)


def test_the_last_frame_flipped_anywhere_is_damage_and_no_torn_end(script):
    disk = FaultyDisk()
    twin = opened(disk)
    for step in script.steps[:9]:
        twin.apply_raw(*step)
    (path,) = [segment_path(LOG, int(name)) for name in disk.names(LOG)][-1:]
    offset = commandlog.place_words(list(twin.store.reader())[-1].place)[1]
    used = len(bytes(disk.files[path].now).rstrip(b"\0"))
    for at in range(offset, used):
        for bit in (1, 128):
            state = damaged(disk, path, lambda content, at=at, bit=bit: content.__setitem__(at, content[at] ^ bit))
            state.files.pop(STORE / "lock")
            with pytest.raises(CorruptionError, match="changed after it was written"):
                opened(state)


def test_a_log_truncated_at_any_length_is_refused(script):
    _, disk = run_whole(script)
    for name in disk.names(LOG):
        path = segment_path(LOG, int(name))
        for length in range(0, len(disk.files[path].now), 211):
            with pytest.raises(CorruptionError):
                opened(damaged(disk, path, lambda content, length=length: content.__delitem__(slice(length, None))))


def test_segments_and_frames_that_are_swapped_doubled_stale_or_foreign_are_refused(script):
    _, disk = run_whole(script)
    _, other = run_whole(script)
    _, older = run_whole(Script(2, 40))
    first, second = segment_path(LOG, 1), segment_path(LOG, 2)
    last = segment_path(LOG, len(disk.names(LOG)))

    def exchanged(one, two):
        state = disk.copy()
        state.files[one], state.files[two] = state.files[two], state.files[one]
        return state

    def replaced(path, source, found=disk):
        state = disk.copy()
        state.files[path] = found.copy().files[source]
        return state

    def without(path):
        state = disk.copy()
        del state.files[path]
        return state

    def doubled(content):
        begin = 104 + 40 + 8 + 104 + 8  # the first frame with commands
        length = int.from_bytes(content[begin + 8 : begin + 12], "little")
        content[begin + length : begin + 2 * length] = content[begin : begin + length]

    states = {
        "swapped": exchanged(first, second),
        "doubled segment": replaced(second, first),
        "foreign": replaced(second, second, other),
        "stale": replaced(first, first, older),
        "missing": without(first),
        "missing between": without(second),
        "beyond": replaced(segment_path(LOG, len(disk.names(LOG)) + 1), second),
        "doubled frame": damaged(disk, first, doubled),
        "another header": replaced(STORE / "store.json", STORE / "store.json", other),
        "the last segment is gone, and the checkpoint knows": without(last),
    }
    for name, state in states.items():
        with pytest.raises((CorruptionError, DivergenceError)) as caught:
            opened(state)
        print(f"{name}: {caught.value}")


def frames_of(content):
    """Give where frames begin and how long they are, those of commands."""
    at = content.find(b"RXLF")
    while at >= 0:
        found = commandlog.unpack_header(bytes(content), at)
        if found is not None and found[0].commands:
            yield at, found[0].length
        at = content.find(b"RXLF", at + 1)


def test_a_torn_frame_is_no_excuse_for_what_was_moved_or_changed_behind_it():
    _, disk = run_whole(Script(3, 40), durability="os", chance_of=(0, 0, 0))  # so that no frame says of another that it is safe
    path = segment_path(LOG, 1)
    assert disk.names(LOG) == [path.name]
    sector = 2 * SECTOR
    later, length = next(one for one in frames_of(disk.files[path].now) if one[0] > sector + SECTOR)

    def lost(content):
        content[sector : sector + SECTOR] = bytes(SECTOR)

    def moved(content):
        frame = bytes(content[later : later + length])
        lost(content)
        content[later + 8 : later + 8 + length] = frame

    def changed(content):
        lost(content)
        content[later + length - 16] ^= 1

    opened(damaged(disk, path, lost)).close()  # may be a crash before anything was synced
    for change, message in ((moved, "written elsewhere"), (changed, "changed after it was written")):
        with pytest.raises(CorruptionError, match=message):
            opened(damaged(disk, path, change))


def test_a_strict_opening_refuses_a_torn_end_and_tail_cuts_it():
    disk = FaultyDisk()
    twin = opened(disk)
    for _ in range(20):
        twin.apply_raw(Command(kind=CommandKind.OPEN_ACCOUNT))
    path = segment_path(LOG, len(disk.names(LOG)))
    content = disk.files[path].now
    end = len(bytes(content).rstrip(b"\0"))
    start = commandlog.place_words(list(twin.store.reader())[-1].place)[1]
    border = next(at for at in range(start // SECTOR * SECTOR + SECTOR, end + SECTOR, SECTOR))
    state = damaged(disk, path, lambda content: content.__setitem__(slice(border, None), bytes(len(content) - border)))
    state.files.pop(STORE / "lock")
    if border < end:
        with pytest.raises(CorruptionError, match="cut short"):
            opened(state.copy(), mode="strict")
    assert opened(state).command_seq in (19, 20)


def test_the_log_gives_what_was_recorded_or_the_store_goes_no_further(script):
    class Forgetful(ReferenceExchange):
        """Deposits one more than it is told, as a version with another rule would."""

        def apply_raw(self, command, payload=b""):
            odd = command.kind == CommandKind.DEPOSIT
            return super().apply_raw(command._replace(qty=command.qty + 1) if odd else command, payload)

        def apply_batch(self, records, out=None):
            odd = records["kind"] == CommandKind.DEPOSIT
            rows = records.copy()
            rows["qty"][odd] += 1
            return super().apply_batch(rows, out)

    _, disk = run_whole(script)
    with pytest.raises(DivergenceError):
        opened(disk, make=Forgetful)


def test_a_root_that_the_log_states_is_compared_without_any_checkpoint(script):
    disk = FaultyDisk()
    twin = opened(disk, signer=None)
    for step in script.steps[:40]:
        twin.apply_raw(*step)
    twin.close()
    disk.files[STORE / "secret"].now[:] = bytes(range(32))
    with pytest.raises(DivergenceError, match="before command"):
        opened(disk, signer=None)


# ── processes ────────────────────────────────────────────────────────────────────────────────────


def test_a_forked_child_cannot_write(tmp_path):
    with Exchange.open(tmp_path / "store", engine="reference") as market:
        market.open_account()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                market.open_account()
            except StoreFailedError as error:
                code = 0 if "forked" in str(error) else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert int(market.open_account()) == 2


WRITER = """
import sys
from rightsx import Exchange
market = Exchange.open(sys.argv[1], engine="reference", durability=sys.argv[2])
while True:
    print(int(market.open_account()), flush=True)
"""


@pytest.mark.parametrize("durability", ["disk", "os"])
def test_a_process_that_is_killed_loses_nothing_it_acknowledged(tmp_path, durability):
    chance = random.Random(durability)
    told = 0
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, tmp_path / "store", durability], stdout=subprocess.PIPE, text=True
        )
        for _ in range(chance.randrange(3, 40)):
            told = int(process.stdout.readline())
        time.sleep(chance.random() / 50)
        process.send_signal(signal.SIGKILL)
        told = max([told, *map(int, process.stdout.read().split("\n")[:-1])])
        process.wait()
        process.stdout.close()
        with Exchange.open(tmp_path / "store", engine="reference") as market:
            assert market._twin.command_seq >= told
            market.check()


# ── interrupts ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("durability", ["disk", "none"])
@pytest.mark.skipif(not COMPILED, reason="the uncompiled kernels are Python, where every line looks for interrupts")
def test_a_call_cut_short_anywhere_is_logged_and_done_or_neither(script, monkeypatch, durability):
    files = {module.__file__ for module in (storage, commandlog, ledger)}
    monkeypatch.setattr(Interrupter, "FILES", Interrupter.FILES | files)
    monkeypatch.setattr(storage, "HELD_BYTES", 4 * COMMAND.itemsize)  # so that what is held is written in this call
    rows = command_records([record for record, _ in script.steps[60:] if record.kind < 64])

    def begun():
        disk = FaultyDisk()
        twin = opened(disk, make=CompiledExchange, durability=durability)
        for step in script.steps[:60]:
            twin.apply_raw(*step)
        twin.heard()
        return disk, twin

    disk, twin = begun()
    with Interrupter() as interrupter:
        whole = twin.apply_batch(rows).tobytes()
    state, moments = twin.state_hash(), interrupter.passed
    outcomes = set()
    for moment in range(1, moments + 1, 1 + moments // 200):
        disk, twin = begun()
        before = twin.state_hash()
        with pytest.raises(KeyboardInterrupt), Interrupter(moment):
            twin.apply_batch(rows)
        failed = twin._log.failed
        try:
            unread = twin.take_unread(60)
        except StoreFailedError:
            unread = np.zeros(0)
        assert unread.tobytes() in (whole, b"")
        if len(unread):
            assert twin.state_hash() == state
            outcomes.add("done")
        else:
            assert twin.state_hash() == before
            outcomes.add("not begun")
        seq = twin.command_seq
        twin.close()
        disk.files[STORE / "lock"].locked = False
        again = opened(disk)
        if durability == "none" and failed:
            # Its frame was cut short: what was acknowledged before it, and never synced, may be gone.
            assert again.command_seq in (*range(57, 61), 60 + len(rows))
        else:
            assert again.command_seq in (seq, 60 + len(rows))
        assert again.state_hash() == (state if again.command_seq > 60 else script.states[again.command_seq])
    assert outcomes == {"done", "not begun"}


def test_segments_are_as_large_as_their_frames_need():
    disk = FaultyDisk()
    twin = opened(disk)
    twin.apply_batch(command_records([Command(kind=CommandKind.OPEN_ACCOUNT)] * 200))
    sizes = [len(disk.files[segment_path(LOG, int(name))].now) for name in disk.names(LOG)]
    assert sizes[0] == SEGMENT
    assert sizes[1] > SEGMENT
    twin.close()
    assert opened(disk).command_seq == 200


def test_names_of_disk_files_are_few_and_their_secret_is_ones_own(tmp_path):
    with Exchange.open(tmp_path / "store", engine="reference") as market:
        market.open_account()
        market.publish()
    names = sorted(str(path.relative_to(tmp_path / "store")) for path in (tmp_path / "store").rglob("*") if path.is_file())
    journal = ["journal/entries/00000000", "journal/public/tile/0/000.p/2"]
    assert names == [*journal, "lock", "log/00000001", "salts", "secret", "store.json"]
    assert all((tmp_path / "store" / name).stat().st_mode & 0o077 == 0 for name in ("secret", "salts"))
    assert Path(tmp_path / "store" / "store.json").read_text().startswith('{\n "format": 2')
