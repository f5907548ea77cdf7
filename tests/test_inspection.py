"""What the command line says of a kept market: verified, told, proved, saved."""

from __future__ import annotations

import shutil

import pytest

pytest.importorskip("cryptography", reason="signatures need the extra `proofs`")

from rightsx import Exchange
from rightsx.cli import main
from rightsx.inspection import read_receipt, salvage, verify_store
from rightsx.ledger import entries_file
from rightsx.note import make_signing_key, parse_signing_key, parse_verifier_key

pytestmark = pytest.mark.unaudited
KEY = make_signing_key("market.example/coffee", bytes(range(32)))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small market, kept and published, and what its state was."""
    path = tmp_path_factory.mktemp("kept") / "store"
    with Exchange.open(path, signer=KEY) as market:
        shop = market.register_merchant("Cafe Nord")
        ann, bob = int(market.open_account()), int(market.open_account())
        market.deposit(account=ann, amount=100_00)
        market.deposit(account=bob, amount=100_00)
        coffee = market.list_series(
            merchant=shop, product="coffee", par=1_00, issue_price=80, authorised=1_000, expire="2026-06-30", policy="forfeit"
        )
        market.subscribe(series=coffee, account=ann, qty=50)
        market.publish()
        for price in range(90, 99):
            market.place(series=coffee, account=ann, side="sell", price=price, qty=2)
            market.place(series=coffee, account=bob, side="buy", price=price, qty=1)
        market.publish()
        market.deposit(account=9, amount=1)
        return path, market.state_hash(), market.journal.size


@pytest.fixture
def store(made, tmp_path):
    return shutil.copytree(made[0], tmp_path / "store")


def told(capsys, *arguments):
    code = main([*map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


# ── verify ───────────────────────────────────────────────────────────────────────────────────────


def test_a_store_that_holds_says_so_and_nothing_in_it_changes(made, store, capsys):
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    code, out, err = told(capsys, "verify", store, "--key", str(KEY.verifier))
    assert (code, err) == (0, "")
    assert "everything holds" in out
    assert "signed by market.example/coffee" in out
    assert max(map(len, out.splitlines()[:-1])) < 80
    assert {path: path.read_bytes() for path in store.rglob("*") if path.is_file()} == before
    report = verify_store(store, engine="reference")
    assert (report.state_hash, report.events) == made[1:]


@pytest.mark.parametrize("name", ["journal/entries/00000000", "journal/public/tile/0/000.p"])
def test_a_file_of_the_journal_that_was_altered_or_removed_is_named(store, capsys, name):
    path = store / name
    path = max(path.iterdir(), key=lambda one: int(one.name)) if path.is_dir() else path
    data = path.read_bytes()
    path.write_bytes(data[:40] + bytes([data[40] ^ 1]) + data[41:])
    code, out, _ = told(capsys, "verify", store)
    assert code == 1
    assert f"{path}: not what the commands give" in out
    path.unlink()
    code, out, _ = told(capsys, "verify", store)
    assert code == 1
    assert f"{path}: missing" in out


def test_damage_to_the_log_or_the_checkpoint_is_one_clear_line(store, capsys):
    log, checkpoint = store / "log" / "00000001", store / "journal" / "public" / "checkpoint"
    for path, where in ((log, f"{log}, byte "), (checkpoint, "")):
        data = path.read_bytes()
        path.write_bytes(data[:400] + bytes([data[400] ^ 1]) + data[401:] if len(data) > 400 else data[:60] + b"!" + data[61:])
        code, out, err = told(capsys, "verify", store, "--key", str(KEY.verifier))
        assert (code, out) == (1, "")
        assert err.startswith(f"rightsx: {where}")
        assert err.count("\n") == 1
        path.write_bytes(data)


def test_another_key_is_refused(store, capsys):
    other = make_signing_key(KEY.name, bytes(32))
    code, _, err = told(capsys, "verify", store, "--key", str(other.verifier))
    assert code == 1
    assert "are looked for" in err


@pytest.mark.parametrize("arguments", [("verify", "nowhere"), ("verify", "a", "b"), ("verify", "receipt", "x"), ("log", "nowhere"),
                                       ("prove", "nowhere", "0"), ("recover", "nowhere"), ("verify", "nowhere", "--key", "x"),
                                       ("recover", "nowhere", "--mode", "salvage")])  # fmt: skip
def test_wrong_words_are_one_line_and_exit_with_2(capsys, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    code, out, err = told(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("rightsx: ")
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


# ── log ──────────────────────────────────────────────────────────────────────────────────────────


def test_the_log_is_told_in_lines_ranges_and_kinds(store, capsys):
    code, out, _ = told(capsys, "log", store)
    lines = out.splitlines()
    assert code == 0
    assert [int(line.split()[0]) for line in lines] == list(range(1, 29))
    assert "register merchant" in lines[0]
    assert told(capsys, "log", store, "--from", 4, "--to", 5)[1].splitlines() == lines[3:5]
    assert "deposit  account 3, amount 10000" in lines[4]
    placed = told(capsys, "log", store, "--kind", "place", "--account", 3)[1].splitlines()
    assert len(placed) == 9
    assert all("place  series 1, account 3, side 1" in line for line in placed)
    code, _, err = told(capsys, "log", store, "--kind", "dance")
    assert code == 2
    assert "--kind was 'dance'; one of place, cancel" in err


# ── prove ────────────────────────────────────────────────────────────────────────────────────────


def test_a_receipt_from_files_is_the_journals_own_and_verifies(store, capsys, tmp_path):
    with Exchange.open(store, signer=KEY) as market:
        market.publish()
        receipts = [market.journal.receipt(number) for number in range(market.journal.size)]
    assert [read_receipt(store, number) for number in range(len(receipts))] == receipts
    file, key = tmp_path / "receipt", tmp_path / "key"
    key.write_text(f"{KEY.verifier}\n")
    assert told(capsys, "prove", store, 3, "--to", file)[0] == 0
    assert file.read_bytes() == bytes(receipts[3])
    code, out, _ = told(capsys, "verify", "receipt", file, "--key", key)
    assert code == 0
    assert "event 3 of market.example/coffee is proved" in out
    assert out.splitlines()[1].startswith("1970-01-01: account 3")
    assert told(capsys, "prove", store, 3)[1].encode() == bytes(receipts[3])
    code, _, err = told(capsys, "prove", store, 4_000)
    assert code == 2
    assert "covers" in err
    file.write_bytes(bytes(receipts[3]).replace(b"index 3", b"index 2"))
    assert told(capsys, "verify", "receipt", file, "--key", key)[0] == 1


def test_a_receipt_is_not_drawn_up_from_files_that_do_not_fit(store, capsys):
    path = entries_file(store / "journal", 0)
    data = path.read_bytes()
    path.write_bytes(data[:50] + bytes([data[50] ^ 1]) + data[51:])
    code, _, err = told(capsys, "prove", store, 0)
    assert code == 1
    assert "give the root" in err
    path.write_bytes(data[:50])
    assert told(capsys, "prove", store, 0)[0] == 1


# ── recover ──────────────────────────────────────────────────────────────────────────────────────


def test_recover_opens_a_store_and_says_what_it_holds(store, capsys):
    for mode in ("strict", "tail"):
        code, out, _ = told(capsys, "recover", store, "--mode", mode)
        assert code == 0
        assert "28 commands" in out


def test_salvage_saves_what_comes_before_the_damage(made, store, capsys, tmp_path):
    code, out, _ = told(capsys, "recover", store, "--mode", "salvage", "--to", tmp_path / "whole")
    assert (code, "the log was whole" in out) == (0, True)
    assert verify_store(tmp_path / "whole").state_hash == made[1]
    log = store / "log" / "00000001"
    data = bytearray(log.read_bytes())
    data[3_000] ^= 1
    log.write_bytes(data)
    code, out, _ = told(capsys, "recover", store, "--mode", "salvage", "--to", tmp_path / "saved")
    assert code == 1
    assert f"{log}, byte " in out
    saved = verify_store(tmp_path / "saved")
    assert 5 < saved.commands < 28
    assert log.read_bytes() == data
    code, _, err = told(capsys, "recover", store, "--mode", "salvage", "--to", tmp_path / "saved")
    assert code == 2
    assert "exists" in err
    assert salvage(store, tmp_path / "again", engine="reference").commands == saved.commands


# ── keygen ───────────────────────────────────────────────────────────────────────────────────────


def test_a_key_is_made_once_and_is_ones_own(capsys, tmp_path):
    path = tmp_path / "key"
    code, out, err = told(capsys, "keygen", "market.example/x", "--to", path)
    assert code == 0
    key = parse_signing_key(path.read_text())
    assert parse_verifier_key(out) == key.verifier
    assert path.stat().st_mode & 0o077 == 0
    assert key.secret not in out + err
    before = path.read_text()
    code, _, err = told(capsys, "keygen", "market.example/x", "--to", path)
    assert code == 2
    assert "File exists" in err
    assert path.read_text() == before
    assert told(capsys, "keygen", "two words", "--to", tmp_path / "other")[0] == 2
    assert not (tmp_path / "other").exists()
