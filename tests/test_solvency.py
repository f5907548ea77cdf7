"""What a market owes is stated in its journal and proved part by part, to whoever has its key and nothing else."""

import contextlib
import json
import random
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("cryptography", reason="signatures need the extra `proofs`")

from crashes import STORE
from faulty_disk import FaultyDisk, MemoryFile
from market_flow import Flow
from rightsx import Exchange, storage
from rightsx.cli import main
from rightsx.commitment import Numbered, State, state_root
from rightsx.errors import CorruptionError, DivergenceError, MisuseError, ProofError
from rightsx.hashing import leaf_hashes
from rightsx.inspection import read_solvency, salvage, verify_store
from rightsx.note import make_signing_key
from rightsx.protocol import EVENT, HOLDER, PROMISE, CommandKind, Event, EventKind, Limits, Venue
from rightsx.reference.twin import ReferenceExchange
from rightsx.solvency import draw_up, parse_solvency
from rightsx.summap import EMPTY_MAP, SumProof
from rightsx.vocabulary import command, root_in, root_words

pytestmark = pytest.mark.unaudited
KEY = make_signing_key("market.example/coffee", bytes(range(32)))


def opened(path, **options):
    return Exchange.open(path, **{"signer": KEY, "engine": "reference", **options})


def cafe(market):
    """Two merchants, three series, three people, of whom the last holds nothing."""
    nord, sud = market.register_merchant("Nord"), market.register_merchant("Sud")
    people = [int(market.open_account()) for _ in range(3)]
    for person in people:
        market.deposit(account=person, amount=100_000)
    series = [
        int(
            market.list_series(
                merchant=merchant, product=name, par=100, issue_price=80, authorised=1_000, expire="2026-06-30",
                policy="forfeit", escrow_bps=4_000,
            )
        )
        for merchant, name in ((nord, "coffee"), (nord, "tea"), (sud, "soup"))
    ]  # fmt: skip
    for number, person in enumerate(people[:2]):
        market.subscribe(series=series[0], account=person, qty=10 + number)
    market.subscribe(series=series[2], account=people[1], qty=5)
    return people, series


@pytest.fixture
def kept(tmp_path):
    with opened(tmp_path / "store") as market:
        people, series = cafe(market)
        yield market, people, series


# ── what is stated ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(3))
def test_holders_of_a_random_market_add_up_to_its_promises(seed):
    """`twins.whole_differs` compares the rows of both engines wherever it compares whole states."""
    twin = ReferenceExchange(Venue(gift_fee=3, limits=Limits(holdings=120, orders=60)))
    flow = Flow(seed, twin._market)
    for made, payload in flow.opening():
        twin.apply(made, payload)
    for number in range(600):
        twin.apply(*flow.next())
        if number % 100 == 99:
            promises, holders, accounts = twin.promises()
            state = State(promises, holders, np.ones((accounts, 32), np.uint8))
            assert state.promises["face"].tolist() == [one.face_owed if one.live else 0 for one in twin._market.series]
    assert len(holders) > 10


def test_the_last_event_before_a_checkpoint_states_the_root(kept):
    market, *_ = kept
    published = market.publish()
    last = market.events[-1]
    assert (last.kind, last.event_seq) == (EventKind.STATE, published.checkpoint.size - 1)
    assert root_in(last) == market._keeper.state.root
    assert market.publish().checkpoint == published.checkpoint, "nothing happened since"
    market.deposit(account=3, amount=1)
    assert market.publish().checkpoint.size == published.checkpoint.size + 2


def test_only_publish_gives_the_command(kept):
    market, *_ = kept
    before = market.command_seq
    made = command(CommandKind.PUBLISH, **root_words(bytes(32)))
    for wrong in (
        lambda: market.publish_root(root=bytes(32)),
        lambda: market.apply(made),
        lambda: market.apply_batch(np.array([made], dtype=storage.COMMAND)),
    ):
        with pytest.raises(MisuseError, match="publish"):
            wrong()
    assert market.command_seq == before
    in_memory = Exchange(engine="reference")
    in_memory.publish_root(root=bytes(range(32)))
    assert root_in(in_memory.events[-1]) == bytes(range(32))
    for root in (bytes(31), "0" * 32, None):
        with pytest.raises(MisuseError, match="32 bytes"):
            in_memory.publish_root(root=root)


def test_only_what_changed_is_built_anew(kept):
    market, people, series = kept
    market.publish()
    before = market._keeper.state
    market.subscribe(series=series[1], account=people[2], qty=1)
    market.publish()
    after = market._keeper.state
    assert after._maps[series[0]] is before._maps[series[0]]
    assert series[1] not in before._maps
    market.redeem(series=series[1], account=people[2], qty=1)
    market.publish()
    assert series[1] not in market._keeper.state._maps
    assert bytes(market._keeper.state.promises["holders"][series[1] - 1]) == EMPTY_MAP
    promises, holders, _ = market._keeper.twin.promises()
    anew = State(promises, holders, market._keeper.state.salts)
    assert anew.root == market._keeper.state.root


def test_holders_that_do_not_add_up_are_refused():
    promises, holders = np.zeros(1, PROMISE), np.zeros(1, HOLDER)
    promises["series"], promises["units"] = 1, 5
    holders["series"], holders["account"], holders["units"] = 1, 1, 4
    with pytest.raises(MisuseError, match="series 1 hold 4 units; 5 are outstanding"):
        State(promises, holders, np.ones((2, 32), np.uint8))


# ── proofs ───────────────────────────────────────────────────────────────────────────────────────


def test_a_proof_shows_what_is_owed_who_holds_it_and_who_does_not(kept):
    market, people, series = kept
    market.publish()
    proof = market.prove_solvency(holders=[(people[0], series[0]), (people[2], series[0]), (people[1], series[1])])
    assert parse_solvency(bytes(proof)) == proof
    shown = proof.check(KEY.verifier)
    assert [(each.series, each.merchant, each.units, each.face, each.escrow) for each in shown.promises] == [
        (1, 1, 21, 2_100, market.series(1).escrow),
        (2, 1, 0, 0, 0),
        (3, 2, 5, 500, market.series(3).escrow),
    ]
    assert shown.holdings == [(people[0], 1, 10), (people[2], 1, 0), (people[1], 2, 0)]
    assert "all 3 series" in str(shown)
    assert "<table>" in shown._repr_html_()
    one = market.prove_solvency(series=[3]).check(KEY.verifier)
    assert [each.series for each in one.promises] == [3]
    assert "1 of 3 series" in str(one)


def altered(value):
    """Give other values of the same type, each wrong."""
    if isinstance(value, bool) or value is None:
        return []
    if isinstance(value, int):
        return [value + 1, -1, 2**70, "1", True]
    if isinstance(value, str) and len(value) > 40 and "\n" not in value:
        return [("B" if value[0] != "B" else "C") + value[1:], value[:-4], "§", 7]
    return []


def places(told, path=()):
    if isinstance(told, dict | list):
        for key, value in told.items() if isinstance(told, dict) else enumerate(told):
            yield from places(value, (*path, key))
    else:
        yield path


def test_every_part_of_a_proof_counts(kept):
    market, people, series = kept
    market.publish()
    data = bytes(market.prove_solvency(holders=[(people[0], series[0]), (people[2], series[2])]))
    count = 0
    for path in places(json.loads(data)):
        for other in altered(_at(json.loads(data), path)):
            told = json.loads(data)
            _at(told, path[:-1])[path[-1]] = other
            with pytest.raises(ProofError):
                parse_solvency(json.dumps(told).encode()).check(KEY.verifier)
            count += 1
    assert count > 60


def _at(told, path):
    for key in path:
        told = told[key]
    return told


def test_what_is_no_proof_says_so(kept):
    market, people, series = kept
    market.publish()
    proof = market.prove_solvency(holders=[(people[0], series[0])])
    told = json.loads(bytes(proof))
    for wrong in (b"", b"[]", b"{}", b"\xff", b"7", json.dumps({**told, "format": "rightsx-solvency/9"}).encode()):
        with pytest.raises(ProofError):
            parse_solvency(wrong)
    for wrong in (
        proof._replace(promises=proof.promises[:1] + proof.promises[:1] + proof.promises[2:]),
        proof._replace(promises=(), proof=(), holders=()),
        proof._replace(promises=proof.promises[1:]),
        proof._replace(receipt=bytes(market.journal.receipt(3))),
        proof._replace(holders=(proof.holders[0]._replace(entry=SumProof()),)),
        proof._replace(holders=(proof.holders[0]._replace(series=99),)),
    ):
        with pytest.raises(ProofError):
            wrong.check(KEY.verifier)
    with pytest.raises(ProofError):
        proof.check(make_signing_key("market.example/coffee", bytes(32)).verifier)


def test_no_proof_of_what_is_not_published_or_not_there(kept, tmp_path):
    market, people, _ = kept
    with pytest.raises(MisuseError, match="signed checkpoint"):
        market.prove_solvency()
    market.publish()
    for given in ({"series": [0]}, {"series": [4]}, {"series": ["1"]}, {"holders": [(99, 1)]}, {"holders": [(people[0], 7)]}):
        with pytest.raises(MisuseError, match="the state has"):
            market.prove_solvency(**given)
    with opened(tmp_path / "unsigned", signer=None) as other:
        other.publish()
        with pytest.raises(MisuseError, match="signed"):
            other.prove_solvency()
    with opened(tmp_path / "nothing") as other:
        other.publish()
        with pytest.raises(MisuseError, match="no series"):
            other.prove_solvency()


# ── salts ────────────────────────────────────────────────────────────────────────────────────────


def test_a_forgotten_salt_links_nothing_and_all_proofs_hold(kept, tmp_path):
    market, people, series = kept
    market.publish()
    mine, other = (market.prove_solvency(series=[series[0]], holders=[(person, series[0])]) for person in people[:2])
    salt = mine.holders[0].salt
    assert salt in (tmp_path / "store" / "salts").read_bytes()
    assert market.forget_salt(people[0]) == 1
    assert salt not in (tmp_path / "store" / "salts").read_bytes()
    for proof in (mine, other):
        proof.check(KEY.verifier)
    again = market.prove_solvency(holders=[(people[0], series[0]), (people[1], series[0])])
    assert again.check(KEY.verifier).holdings == [(people[0], series[0], 10), (people[1], series[0], 11)]
    assert again.holders[0].salt != salt
    assert again.holders[1].salt == other.holders[0].salt
    for account in (99, "1", True):
        with pytest.raises(MisuseError, match="there is none"):
            market.forget_salt(account)
    assert market.forget_salt(people[0]) == 1
    market.close()
    assert verify_store(tmp_path / "store", engine="reference").states == (1, 2)


def test_a_market_comes_back_with_its_salts(kept, tmp_path):
    market, people, series = kept
    market.publish()
    root, salts = market._keeper.state.root, market._keeper.state.salts.tobytes()
    market.close()
    with opened(tmp_path / "store") as again:
        assert again._keeper.compared == (1, 0)
        assert again._keeper.state.root == root
        assert again._keeper.state.salts.tobytes() == salts
        seq = again.command_seq
        again.publish()
        assert again.command_seq == seq, "nothing happened since"
        assert again.prove_solvency(holders=[(people[0], series[0])]).check(KEY.verifier).holdings == [(people[0], series[0], 10)]
        again.open_account()
        again.publish()
        assert again._keeper.state.salts.tobytes()[: len(salts)] == salts
        assert len(again._keeper.state.salts) == len(salts) // 32 + 1


def flips(data, end=None):
    """Give bytes with one bit changed: in every field of the first block's head, and in its salts up to the last."""
    for place in (0, 3, 9, 17, 40, (end or len(data)) - 1):
        yield data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]


def test_salts_that_are_damaged_or_another_stores_are_noticed(kept, tmp_path):
    market, *_ = kept
    market.publish()
    market.close()
    path = tmp_path / "store" / "salts"
    data = path.read_bytes()
    for flipped in flips(data):
        path.write_bytes(flipped)
        # One block alone is as a torn one; but nothing is published with salts that are not safe.
        with pytest.raises(CorruptionError, match="salt of account 0 is missing") as error:
            opened(tmp_path / "store")
        assert error.value.path == path
    salvage(tmp_path / "store", tmp_path / "saved", engine="reference")
    with opened(tmp_path / "saved") as again:
        again.publish()
    assert verify_store(tmp_path / "saved", engine="reference").states == (1, 1)
    path.write_bytes(data)
    with opened(tmp_path / "store") as again:
        again.open_account()
        again.publish()
    both = path.read_bytes()
    assert both.startswith(data)
    for flipped in flips(both, len(data)):
        path.write_bytes(flipped)
        with pytest.raises(CorruptionError, match="salts are damaged") as error:
            opened(tmp_path / "store")
        assert error.value.path == path
    (tmp_path / "elsewhere").mkdir()
    with opened(tmp_path / "elsewhere" / "store") as other:
        cafe(other)
        other.open_account()
        other.publish()
    shutil.copy(tmp_path / "elsewhere" / "store" / "salts", path)
    with pytest.raises(DivergenceError, match="states what is owed"):
        opened(tmp_path / "store")


def test_a_torn_block_is_drawn_anew(kept, tmp_path):
    market, *_ = kept
    market.publish()
    market.close()
    path = tmp_path / "store" / "salts"
    data = path.read_bytes()
    with opened(tmp_path / "store") as again:
        again.open_account()
        path.write_bytes(data + b"\x07" * 50)
        again.publish()
    report = verify_store(tmp_path / "store", engine="reference")
    assert (report.holds, report.states) == (True, (2, 0))


def test_salvage_takes_states_and_salts_along(kept, tmp_path):
    market, *_ = kept
    market.publish()
    market.deposit(account=3, amount=1)
    market.close()
    assert salvage(tmp_path / "store", tmp_path / "saved", engine="reference").damage == ""
    assert verify_store(tmp_path / "saved", engine="reference").states == (1, 0)


# ── from a folder, and on the command line ───────────────────────────────────────────────────────


def told(capsys, *arguments):
    code = main([*map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_solvency_is_shown_proved_and_verified_from_the_store_alone(kept, tmp_path, capsys):
    market, people, series = kept
    store, file, key = tmp_path / "store", tmp_path / "proof", tmp_path / "key"
    code, _, err = told(capsys, "solvency", store)
    assert (code, "no signed checkpoint" in err) == (2, True)
    market.publish()
    market.subscribe(series=series[0], account=people[2], qty=3)  # is in the market, and in no checkpoint yet
    market.close()
    key.write_text(f"{KEY.verifier}\n")
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    code, out, err = told(capsys, "solvency", store, "--account", people[0], "--account", people[2], "--to", file)
    assert (code, err) == (0, "")
    assert "all 3 series" in out
    assert out.count("\n") < 25
    assert max(map(len, out.splitlines()[:8])) <= 80
    assert {path: path.read_bytes() for path in store.rglob("*") if path.is_file()} == before
    code, again, _ = told(capsys, "verify", "solvency", file, "--key", key)
    assert code == 0
    assert again.splitlines()[:14] == out.splitlines()[:14]
    assert parse_solvency(file.read_bytes()).check(KEY.verifier).holdings[:2] == [(people[0], 1, 10), (people[0], 2, 0)]
    assert "2 of 3 series" in told(capsys, "solvency", store, "--merchant", 1)[1]
    assert "1 of 3 series" in told(capsys, "solvency", store, "--series", 3)[1]
    for wrong, said in ((("--merchant", 9), "no series in that state"), (("--series", 9), "1 … 3"), (("--account", 99), "0 … 5")):
        code, _, err = told(capsys, "solvency", store, *wrong)
        assert (code, said in err, err.count("\n")) == (2, True, 1)
    assert told(capsys, "verify", "solvency", file)[0] == 2
    file.write_bytes(file.read_bytes().replace(b'"account": 3', b'"account": 4', 1))
    assert told(capsys, "verify", "solvency", file, "--key", key)[0] == 1
    assert len(read_solvency(store, engine="reference").promises) == 3


def test_a_state_that_the_market_does_not_give_is_divergence(kept, tmp_path):
    """Somebody who writes a PUBLISH of his own into the log, and salts to it, still has a market that owes something else."""
    market, *_ = kept
    keeper = market._keeper
    keeper.publish_command()
    keeper._publishes = command(CommandKind.PUBLISH, time_ns=keeper.clock_ns, **root_words(bytes(31) + b"\1"))
    market._line.send(keeper._publishes)
    keeper.publish()
    market.close()
    with pytest.raises(DivergenceError, match="states what is owed"):
        opened(tmp_path / "store")
    with pytest.raises(DivergenceError, match="states what is owed"):
        verify_store(tmp_path / "store", engine="reference")


def test_the_root_reads_as_it_was_written():
    root = bytes(range(200, 232))
    made = command(CommandKind.PUBLISH, **root_words(root))
    assert root_in(made) == root
    assert root_in(Event(EventKind.STATE, price=made.order_id, qty=made.price, amount=made.qty, fee=made.deadline_ns)) == root


# ── what an attack found ─────────────────────────────────────────────────────────────────────────


def test_a_state_of_before_is_none_of_this_checkpoint(kept):
    """One signed checkpoint has one state: the last event that it covers. Else each customer could be shown another."""
    market, people, series = kept
    first = market.publish().checkpoint.size
    before = market._keeper.state
    market.redeem(series=series[0], account=people[0], qty=10)
    market.publish()
    stale = draw_up(before, market.journal.receipt(first - 1), None, [(people[0], series[0])])
    with pytest.raises(ProofError, match="only the last one is the checkpoint's"):
        stale.check(KEY.verifier)
    assert market.prove_solvency(holders=[(people[0], series[0])]).check(KEY.verifier).holdings == [(people[0], series[0], 0)]


def test_a_file_is_written_in_one_way_alone(kept):
    market, people, series = kept
    market.publish()
    data = bytes(market.prove_solvency(holders=[(people[0], series[0]), (people[0], series[0]), (people[0], series[1])]))
    told = json.loads(data)
    assert len(told["holders"]) == 2
    root = told["accounts"][1]
    spare = root[:-2] + chr(ord(root[-2]) + 1) + "="  # another last digit, whose two lowest bits nobody reads
    for other in (
        json.dumps(told).encode(),
        data.replace(root.encode(), spare.encode()),
        data.replace(b'"holders": [', b'"units": 9, "holders": ['),
        data.replace(b'"entry": ""', b'"entry": null'),
        b"\xef\xbb\xbf" + data,
        data.decode().encode("utf-16"),
        b"[" * 5_000 + b"]" * 5_000,
    ):
        assert other != data
        with pytest.raises(ProofError):
            parse_solvency(other).check(KEY.verifier)
    proof = parse_solvency(data)
    for wrong in (
        proof._replace(holders=proof.holders[:1] * 2),
        proof._replace(promises=proof.promises[::-1], maps=proof.maps[::-1]),
        proof._replace(maps=proof.maps[:-1]),
        proof._replace(maps=(bytes(40), *proof.maps[1:])),
    ):
        with pytest.raises(ProofError):
            wrong.check(KEY.verifier)


@pytest.mark.parametrize(
    ("field", "value"), [("units", 20), ("version", 2), ("kind", 1), ("escrow", -1), ("series", 0), ("zeros", 1)]
)
def test_a_market_that_signs_nonsense_is_not_believed(kept, field, value):
    """The prover chooses the state: a total that is not its map's, another version, an escrow below nothing."""
    market, *_ = kept
    keeper = market._keeper
    keeper.publish_command()
    state = keeper.state
    state.promises[field][0] = value
    state.series = Numbered(leaf_hashes(state.promises.view(EVENT)))
    state.root = state_root(state.accounts.size, state.accounts.root(), state.series.size, state.series.root())
    keeper._publishes = command(CommandKind.PUBLISH, time_ns=keeper.clock_ns, **root_words(state.root))
    market._line.send(keeper._publishes)
    keeper.publish()
    with pytest.raises(ProofError):
        draw_up(state, market.journal.receipt(market.journal.size - 1)).check(KEY.verifier)


def test_wrong_words_are_wrong_calls(kept):
    market, *_ = kept
    market.publish()
    for given in ({"holders": [3]}, {"holders": 5}, {"series": 5}, {"holders": [(3,)]}, {"holders": [([], 1)]}):
        with pytest.raises(MisuseError):
            market.prove_solvency(**given)
    with pytest.raises(MisuseError, match="states what is owed first"):
        market.journal.publish()


def test_another_thread_touches_no_salt(kept, tmp_path):
    market, people, _ = kept
    market.publish()
    data = (tmp_path / "store" / "salts").read_bytes()
    for call in (market.publish, lambda: market.forget_salt(people[0])):
        with ThreadPoolExecutor(1) as pool, pytest.raises(MisuseError, match="thread"):
            pool.submit(call).result()
    assert (tmp_path / "store" / "salts").read_bytes() == data


class Stopping:
    """Stops one call of a disk after it was done: by Ctrl-C, or by an error."""

    def __init__(self, monkeypatch, kind, name, error):
        usual = getattr(kind, name)
        self.left = 0

        def call(this, *given, **named):
            answer = usual(this, *given, **named)
            if "salts" in str(getattr(this, "path", given[0] if given else "")) or name == "sync_directory":
                self.left -= 1
                if self.left == 0:
                    raise error
            return answer

        monkeypatch.setattr(kind, name, call)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(5, "EIO")], ids=["ctrl_c", "eio"])
@pytest.mark.parametrize("name", ["write", "sync", "rename", "sync_directory"])
@pytest.mark.parametrize("first", [True, False])
def test_salts_that_a_call_left_half_way_are_read_again(monkeypatch, error, name, first):
    disk = FaultyDisk()
    usual = storage.open_twin
    monkeypatch.setattr(storage, "open_twin", lambda path, make, **given: usual(path, make, disk=disk, **given))
    stopping = Stopping(monkeypatch, MemoryFile if name in ("write", "sync") else FaultyDisk, name, error)
    market = opened(STORE)
    people, series = cafe(market)
    if not first:
        market.publish()
    for number in range(1, 4):
        stopping.left = number
        with contextlib.suppress(KeyboardInterrupt, OSError):
            market.forget_salt(people[0])
        stopping.left = 0
    if not market._keeper._log.failed:
        market.deposit(account=people[1], amount=1)
        market.publish()
        market.prove_solvency(holders=[(people[0], series[0])]).check(KEY.verifier)
    for seed in range(8):
        state = disk.crash(random.Random(seed))
        monkeypatch.setattr(storage, "open_twin", lambda path, make, **given: usual(path, make, disk=state, **given))  # noqa: B023
        with opened(STORE) as again:
            assert again._keeper.compared in ((1, 0), (0, 0)), "what was signed is compared"
            again.publish()
            again.prove_solvency(holders=[(people[0], series[0])]).check(KEY.verifier)


def test_a_publication_cut_short_is_done_by_the_next(kept, monkeypatch):
    """Ctrl-C after the state was built and before its command: the next one publishes, and proves what it has published."""
    market, people, series = kept
    market.publish()
    usual = type(market._line).send
    for _ in range(2):
        market._keeper.renew_salt(people[0])
        monkeypatch.setattr(type(market._line), "send", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            market.publish()
        monkeypatch.setattr(type(market._line), "send", usual)
        size = market.journal.size
        assert market.publish().checkpoint.size == size + 1
        assert market.prove_solvency(holders=[(people[0], series[0])]).check(KEY.verifier).holdings == [
            (people[0], series[0], 10)
        ]


def test_a_state_that_was_logged_and_not_signed_is_proved_after_the_next_publication(kept, tmp_path):
    market, people, series = kept
    market.publish()
    market.redeem(series=series[0], account=people[0], qty=1)
    market._line.send(market._keeper.publish_command())
    market._line.told = True
    market.close()  # as a crash before the checkpoint
    with opened(tmp_path / "store") as again:
        again.publish()
        assert again.prove_solvency(holders=[(people[0], series[0])]).check(KEY.verifier).holdings == [(people[0], series[0], 9)]


def test_a_reader_beside_a_writer_that_forgets_reads_salts_again(kept, tmp_path, monkeypatch):
    market, people, _ = kept
    market.publish()
    usual, read = storage.DurableTwin._replay_state, []

    def beside(self, row, **given):
        if not read:
            read.append(self.store.salts.in_force(1, 99))  # before the writer draws another
            market.forget_salt(people[0])
        return usual(self, row, **given)

    monkeypatch.setattr(storage.DurableTwin, "_replay_state", beside)
    report = verify_store(tmp_path / "store", engine="reference")
    assert report.holds
    assert sum(report.states) >= 1
