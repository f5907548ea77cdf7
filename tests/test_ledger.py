"""The journal: files that other people's tools read, receipts that prove themselves, damage that is named."""

from __future__ import annotations

import hashlib
import shutil
import sys

import numpy as np
import pytest

from rightsx import Exchange, ledger
from rightsx.errors import DivergenceError, MisuseError, ProofError
from rightsx.ledger import Journal, entries_file
from rightsx.merkle import EMPTY_ROOT, Frontier, check_batch, check_consistency, check_inclusion, leaf_hash
from rightsx.note import make_signing_key, parse_note
from rightsx.protocol import EVENT, EVENT_LENGTH, EVENT_VERSION, NOT_A_LEAF
from rightsx.receipt import Receipt, parse_receipt
from rightsx.tiles import TileReader, bundle_path, tile_path, tile_widths

pytest.importorskip("cryptography", reason="signatures need the extra `proofs`")
pytestmark = pytest.mark.unaudited

KEY = make_signing_key("market.example/rightsx", bytes(range(32)))
SECRET = bytes(range(100, 132))


def some_events(count, first=0, seed=0):
    rows = np.zeros(count, EVENT)
    rows["length"], rows["version"], rows["kind"] = EVENT_LENGTH, EVENT_VERSION, 2
    rows["event_seq"] = np.arange(first, first + count)
    rows["amount"] = np.random.default_rng(seed).integers(1, 1_000, count)
    return rows


def judge_of(journal):
    frontier = Frontier()
    for number in range(journal.size):
        frontier.append(leaf_hash(journal.record(number)[2:]))
    return frontier


def make(folder=None, **options):
    return Journal(folder, origin=KEY.name, signer=KEY, **options)


# ── the tree ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(3))
def test_however_events_come_the_root_is_that_of_their_leaves(seed):
    chance = np.random.default_rng(seed)
    journal = make(secret=SECRET)
    assert journal.root() == EMPTY_ROOT
    while journal.size < 1_500:
        journal.append(some_events(int(chance.integers(0, 300)), journal.size, seed))
        judge = judge_of(journal)
        assert journal.root() == judge.root()
    for number in range(0, journal.size, 97):
        check_inclusion(
            leaf_hash(journal.record(number)[2:]), number, journal.size, journal.prove_inclusion(number), journal.root()
        )


def test_one_event_at_a_time_gives_the_root_of_all_at_once():
    one_by_one, at_once = make(), make()
    events = some_events(530)
    for at in range(len(events)):
        one_by_one.append(events[at : at + 1])
    at_once.append(events)
    assert one_by_one.root() == at_once.root()


def test_refusals_and_repeats_are_no_leaves():
    market = Exchange(engine="reference")
    market.open_account()
    market.deposit(account=1, amount=5, ref=7)
    market.deposit(account=1, amount=5, ref=7)
    market.deposit(account=9, amount=5)
    assert NOT_A_LEAF in market.event_records["event_seq"]
    journal = make()
    journal.append(market.event_records)
    assert journal.size == 2


def test_an_event_that_does_not_follow_is_a_divergence_and_nothing_changes():
    journal = make()
    journal.append(some_events(3))
    before = journal.root()
    for wrong in (some_events(2, 4), some_events(2, 2)):
        with pytest.raises(DivergenceError, match="where 3 was due"):
            journal.append(wrong)
    with pytest.raises(MisuseError, match="EVENT"):
        journal.append(np.zeros(3))
    assert (journal.size, journal.root()) == (3, before)


def test_what_is_appended_is_not_written_to():
    events = some_events(5)
    before = events.copy()
    make(secret=SECRET).append(events)
    assert events.tobytes() == before.tobytes()


def test_salts_are_those_of_the_secret_and_hide_equal_records():
    journal, plain = make(secret=SECRET), make()
    for one in (journal, plain):
        one.append(some_events(3))
    assert journal.record(2)[104:] == hashlib.sha256(SECRET + (2).to_bytes(8, "little")).digest()[:16]
    assert plain.record(2)[104:] == bytes(16)


@pytest.mark.parametrize("options", [{"secret": b"short"}, {"secret": "a" * 32}, {"origin": "elsewhere"}])
def test_a_wrong_secret_or_origin_is_misuse(options):
    with pytest.raises(MisuseError):
        Journal(**{"origin": KEY.name, "signer": KEY, **options})


# ── files ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(2))
def test_tiles_and_bundles_are_those_of_a_tiled_log(tmp_path, seed):
    chance = np.random.default_rng(seed)
    journal = make(tmp_path, secret=SECRET, open_records=True)
    public = tmp_path / "public"
    while journal.size < 66_100:
        journal.append(some_events(int(chance.integers(1, 20_000)), journal.size, seed))
        journal.publish()
    for level, count in enumerate(tile_widths(journal.size)):
        for number in range(-(-count // 256)):
            width = min(256, count - number * 256)
            assert (public / tile_path(level, number, width)).stat().st_size == 32 * width
            assert not list(public.glob(tile_path(level, number, 1).rpartition("/")[0] + "/*")) or width < 256
    reader = TileReader(journal.size, lambda path: (public / path).read_bytes())
    for number in (0, 255, 256, 65_535, 65_536, journal.size - 1):
        width = min(256, journal.size - number // 256 * 256)
        bundle = (public / bundle_path(number // 256, width)).read_bytes()
        record = bundle[number % 256 * 120 : number % 256 * 120 + 120]
        assert record == journal.record(number)
        assert int.from_bytes(record[:2], "big") == 118
        assert reader.node(0, number) == leaf_hash(record[2:])
        check_inclusion(leaf_hash(record[2:]), number, journal.size, journal.prove_inclusion(number), journal.root())
    for old in (1, 256, 300, 65_536, journal.size):
        check_consistency(old, journal.size, journal.prove_consistency(old), root_at(journal, old), journal.root())
    several = [3, 4, 700, 66_000]
    leaves = {number: leaf_hash(journal.record(number)[2:]) for number in several}
    check_batch(leaves, journal.size, journal.prove_batch(several), journal.root())


def root_at(journal, size):
    frontier = Frontier()
    for number in range(size):
        frontier.append(journal.node(0, number))
    return frontier.root()


def test_records_stay_private_unless_they_are_opened(tmp_path):
    journal = make(tmp_path)
    journal.append(some_events(300))
    journal.publish()
    assert sorted({path.relative_to(tmp_path / "public").parts[0] for path in (tmp_path / "public").rglob("*")}) == [
        "checkpoint",
        "tile",
    ]
    assert not (tmp_path / "public" / "tile" / "entries").exists()
    assert entries_file(tmp_path, 0).read_bytes() == b"".join(journal.record(number) for number in range(300))


def test_the_checkpoint_is_signed_over_the_root_of_all_events(tmp_path):
    journal = make(tmp_path)
    journal.append(some_events(300))
    found = journal.publish()
    note = parse_note((tmp_path / "public" / "checkpoint").read_bytes())
    note.check(KEY.verifier)
    assert note.text == str(found.checkpoint)
    assert (found.checkpoint.size, found.checkpoint.root) == (300, journal.root())


def test_a_journal_begun_again_compares_everything_and_goes_on(tmp_path):
    events = some_events(70_000)
    first = make(tmp_path, secret=SECRET)
    first.append(events[:66_000])
    first.publish()
    first.append(events[66_000:66_100])  # never published
    again = make(tmp_path, secret=SECRET)
    assert again.promised.size == 66_000
    again.append(events[:30_000])
    with pytest.raises(DivergenceError, match="66000 events was handed out; there are 30000 now"):
        again.publish()
    again.append(events[30_000:])
    again.publish()
    whole = make(secret=SECRET)
    whole.append(events)
    assert again.root() == whole.root()
    assert again.prove_inclusion(17) == whole.prove_inclusion(17)


@pytest.mark.parametrize("damaged", ["", "entries/00000001", "public/tile/0/300"])
def test_a_journal_begun_again_keeps_little_in_memory_and_writes_nothing_before_its_root(tmp_path, damaged):
    events = some_events(200_000)
    first = make(tmp_path)
    first.append(events)
    first.publish()
    if damaged:
        path = tmp_path / damaged
        before = path.read_bytes()
        path.write_bytes(before[:100] + b"!" + before[101:])
    again = make(tmp_path)
    kept = []
    for at in range(0, len(events), 10_000):
        again.append(events[at : at + 10_000])
        kept.append(again.size - again._records.first)
        assert again.repaired == ([path] if damaged and again.size == len(events) else [])
    assert again.root() == first.root()
    assert (max(kept) < 80_000) == (damaged != "entries/00000001")
    assert again._tree.tiled == len(events)
    for number in (0, 65_536, 150_000, 199_999):
        assert again.record(number) == first.record(number)
        assert again.prove_inclusion(number) == first.prove_inclusion(number)


def test_a_replay_that_gives_another_root_than_was_signed_is_a_divergence(tmp_path):
    make_first = make(tmp_path)
    make_first.append(some_events(300, seed=1))
    make_first.publish()
    events = some_events(400, seed=1)
    events["qty"][177] += 1
    with pytest.raises(DivergenceError, match=r"first 300 events give another root .* is event 177"):
        make(tmp_path).append(events)


@pytest.mark.parametrize("name", ["entries/00000000", "public/tile/0/000", "public/tile/1/000.p/1"])
def test_a_file_that_was_altered_is_named_and_made_again(tmp_path, name):
    events = some_events(300)
    journal = make(tmp_path)
    journal.append(events)
    journal.publish()
    path = tmp_path / name
    before = path.read_bytes()
    path.write_bytes(before[:17] + bytes([before[17] ^ 4]) + before[18:])
    again = make(tmp_path)
    again.append(events)
    assert again.repaired == [path]
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["entries", "public/tile", "public/tile/1"])
def test_a_file_that_is_missing_or_short_is_made_again(tmp_path, name):
    events = some_events(300)
    journal = make(tmp_path)
    journal.append(events)
    journal.publish()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    shutil.rmtree(tmp_path / name)
    if name != "entries":
        with (tmp_path / "entries" / "00000000").open("r+b") as file:
            file.truncate(1_000)
    again = make(tmp_path)
    again.append(events)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_checkpoint_of_another_key_is_refused(tmp_path):
    journal = make(tmp_path)
    journal.append(some_events(3))
    journal.publish()
    other = make_signing_key(KEY.name, bytes(32))
    with pytest.raises(ProofError, match="are looked for"):
        Journal(tmp_path, origin=KEY.name, signer=other)


# ── receipts ─────────────────────────────────────────────────────────────────────────────────────


def receipt_of(number=41, size=300):
    journal = make(secret=SECRET)
    journal.append(some_events(size))
    journal.publish()
    return journal.receipt(number)


def test_a_receipt_proves_itself_and_opens_one_record():
    receipt = receipt_of()
    again = parse_receipt(bytes(receipt))
    assert again == receipt
    assert again.check(KEY.verifier).size == 300


def test_a_receipt_altered_anywhere_proves_nothing():
    data = bytes(receipt_of(size=9, number=4))
    for at in range(len(data)):
        for wrong in (data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], data[:at], data[:at] + data[at + 1 :]):
            with pytest.raises(ProofError):
                parse_receipt(wrong).check(KEY.verifier)


def test_a_receipt_of_another_place_does_not_pass():
    journal = make()
    events = some_events(2)
    events["event_seq"] = [0, 1]
    journal.append(events)
    journal.publish()
    honest = journal.receipt(1)
    stolen = Receipt(0, honest.leaf, honest.proof, honest.checkpoint)
    with pytest.raises(ProofError):
        stolen.check(KEY.verifier)


def test_a_receipt_needs_a_signed_checkpoint_that_covers_the_event():
    journal = make()
    journal.append(some_events(3))
    with pytest.raises(MisuseError, match="needs a signed checkpoint"):
        journal.receipt(0)
    journal.publish()
    journal.append(some_events(3, 3))
    with pytest.raises(MisuseError, match="not covered by the last checkpoint, which has 3"):
        journal.receipt(3)
    assert journal.receipt(2).check(KEY.verifier).size == 3
    unsigned = Journal(origin="a")
    unsigned.append(some_events(3))
    unsigned.publish()
    with pytest.raises(MisuseError, match="with a signer"):
        unsigned.receipt(0)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "begins with the line"),
        ("c2sp.org/tlog-proof@v1\nindex 0\n\n", "second and third line"),
        ("c2sp.org/tlog-proof@v1\nextra AAAA\nindex 0\n\nx", "base64 of 118 bytes"),
        ("c2sp.org/tlog-proof@v1\nextra AAAA\nindex 00\n\nx", "without leading zeros"),
        ("c2sp.org/tlog-proof@v1\nextra é\nindex 0\n\nx", "not ASCII"),
    ],
)
def test_what_is_no_receipt_says_why(text, why):
    with pytest.raises(ProofError, match=why):
        parse_receipt(text.encode())


@pytest.mark.parametrize("number", [-1, 3, True, 1.0, "0"])
def test_an_event_that_is_not_there_is_misuse(number):
    journal = make()
    journal.append(some_events(3))
    with pytest.raises(MisuseError):
        journal.record(number)
    with pytest.raises(MisuseError):
        journal.prove_inclusion(number)
    journal.publish()
    with pytest.raises(MisuseError):
        journal.receipt(number)


# ── interrupts ───────────────────────────────────────────────────────────────────────────────────


def test_a_publication_cut_short_anywhere_is_done_by_the_next(tmp_path):
    events = some_events(600)
    judge = make(secret=SECRET)
    judge.append(events)

    def interrupted(folder, moment):
        """Publish twice, the first time cut short at a line; says whether there was such a line."""
        journal = make(folder, secret=SECRET)
        journal.append(events[:200])
        journal.publish()
        journal.append(events[200:530])
        passed = 0

        def trace(frame, event, _):
            nonlocal passed
            if frame.f_code.co_filename == ledger.__file__:
                passed += event == "line"
                if passed == moment:
                    sys.settrace(before)
                    raise KeyboardInterrupt
                return trace
            return None

        before = sys.gettrace()  # which may be what measures coverage
        sys.settrace(trace)
        try:
            journal.publish()
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)
        journal.append(events[530:])
        journal.publish()
        assert journal.root() == judge.root()
        for number in (0, 199, 200, 256, 529, 599):
            assert journal.record(number) == judge.record(number)
            journal.receipt(number).check(KEY.verifier)
        assert journal.repaired == []
        again = make(folder, secret=SECRET)
        again.append(events)
        assert again.repaired == []
        return passed == moment

    moment = 1
    while interrupted(tmp_path / str(moment), moment):
        moment += 1
    assert moment > 60


@pytest.mark.parametrize("origin", ["", "a b", "a\nb", "a+b", None])
def test_an_origin_that_is_no_name_is_misuse(origin):
    with pytest.raises(MisuseError, match="origin was"):
        Journal(origin=origin)


def test_a_checkpoint_of_another_journal_is_refused_without_a_key_too(tmp_path):
    make(tmp_path).publish()
    with pytest.raises(ProofError, match="is one of"):
        Journal(tmp_path, origin="elsewhere")
