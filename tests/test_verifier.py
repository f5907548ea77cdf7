"""The verifier that anybody can copy: it accepts what the journal writes, and names the first thing that somebody changed."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import io
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rightsx.errors import ProofError
from rightsx.ledger import Journal
from rightsx.merkle import EMPTY_ROOT, leaf_hash
from rightsx.note import Checkpoint, VerifierKey, format_note, make_signing_key
from rightsx.receipt import Receipt, parse_receipt
from rightsx.tiles import tile_path
from test_ledger import some_events

pytest.importorskip("cryptography", reason="signatures need the extra `proofs`")
pytestmark = pytest.mark.unaudited

FILE = Path(__file__).resolve().parents[1] / "examples" / "verify_journal.py"
VECTORS = Path(os.environ.get("RIGHTSX_TEST_DATA", Path(__file__).parent.parent.parent / "shared")) / "vectors"
needs_vectors = pytest.mark.skipif(not VECTORS.is_dir(), reason="the test vectors are not here (RIGHTSX_TEST_DATA)")
KEY = make_signing_key("market.example/rightsx", bytes(range(32)))
OTHER = make_signing_key(KEY.name, bytes(range(1, 33)))
SIZES = [0, 1, 255, 256, 257, 512, 66_100]
RECORD, HASH = 120, 32
ROOT = "A" * 43 + "="

_spec = importlib.util.spec_from_file_location("verify_journal", FILE)
verifier = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(verifier)


def make(folder, size, key=KEY, **options):
    journal = Journal(folder, origin=key.name, signer=key, secret=bytes(range(100, 132)), **options)
    if size:
        journal.append(some_events(size))
    journal.publish()
    journal.close()
    return journal


@pytest.fixture(scope="module")
def journals(tmp_path_factory):
    """Give a function from a size to the folder of a journal, made once: to read, or to alter by `alter`."""
    made = {}

    def find(size, **options):
        named = (size, *options)
        if named not in made:
            made[named] = tmp_path_factory.mktemp("journal")
            make(made[named], size, **options)
        return made[named]

    return find


@pytest.fixture
def alter():
    """Give a function that writes a file, or removes it for None; in the end all are as they were."""
    before = {}

    def write(path, data):
        before.setdefault(path, path.read_bytes())
        path.unlink() if data is None else path.write_bytes(data)

    yield write
    for path, data in before.items():
        path.write_bytes(data)


def verify(*arguments, key=KEY):
    """Give the exit code and the line."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = verifier.main([*map(str, arguments), "--key", str(key.verifier)])
    printed = out.getvalue() + err.getvalue()
    assert printed.count("\n") == 1
    assert len(printed) <= 201, printed
    assert bool(err.getvalue()) == (code > 1)
    return code, printed.strip()


def refused(folder, why, *arguments, **options):
    """Say whether a journal is refused for this reason."""
    code, line = verify(folder, *arguments, **options)
    print(line)
    return code == 1 and line.startswith("does not hold: ") and re.search(why, line) is not None


def flipped(path, at, bit=1):
    data = bytearray(path.read_bytes())
    data[at] ^= bit
    return bytes(data)


# ── what holds ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", SIZES)
def test_a_journal_of_any_size_holds(journals, size):
    code, line = verify(journals(size))
    assert code == 0
    assert line.startswith(f"holds: {size} events of market.example/rightsx, root ")
    assert line.endswith("checked every tile and record" if size else "checked every tile, and no record, for none is here")


@pytest.mark.parametrize("size", SIZES[1:])
def test_a_journal_holds_with_the_bundles_of_records_alone_or_with_none(journals, size):
    folder = journals(size, open_records=True)
    assert verify(folder / "public")[1].endswith("checked every tile and record")
    assert verify(folder)[1].endswith("checked every tile and record")
    assert verify(journals(size) / "public")[1].endswith("checked every tile, and no record, for none is here")


def test_the_folder_may_be_the_public_one_the_journals_or_the_stores(tmp_path):
    folder = tmp_path / "journal"
    make(folder, 257)
    for one in (folder, tmp_path):
        assert verify(one)[1].endswith("every tile and record")
    assert "no record" in verify(folder / "public")[1]
    assert verify(folder / "public", "--entries", folder / "entries")[1].endswith("every tile and record")


def test_a_journal_that_grew_since_its_checkpoint_holds(tmp_path):
    make(tmp_path, 257, open_records=True)
    before = (tmp_path / "public" / "checkpoint").read_bytes()
    make(tmp_path, 700, open_records=True)
    assert verify(tmp_path)[1].startswith("holds: 700 ")
    (tmp_path / "public" / "tile" / "0" / "002.p" / "9").write_bytes(b"of an older size, or of none")
    assert verify(tmp_path)[1].startswith("holds: 700 ")
    (tmp_path / "public" / "checkpoint").write_bytes(before)
    assert not (tmp_path / "public" / "tile" / "0" / "001.p" / "1").exists()
    assert verify(tmp_path)[1].startswith("holds: 257 ")


# ── what does not ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [0, 257])
def test_a_checkpoint_altered_anywhere_is_refused(journals, alter, size):
    path = journals(size) / "public" / "checkpoint"
    data = path.read_bytes()
    for at in range(0, len(data), 7):
        for wrong in (data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], data[:at], data + data[at:]):
            alter(path, wrong)
            assert refused(path.parent, "checkpoint: ")


def test_without_its_checkpoint_a_journal_cannot_be_checked(journals, alter):
    alter(journals(1) / "public" / "checkpoint", None)
    assert verify(journals(1))[1].startswith("cannot check: checkpoint is missing")


def test_the_signature_of_another_key_is_refused(journals):
    assert refused(journals(1), f"no signature is by the key {OTHER.verifier.id.hex()}", key=OTHER)
    assert refused(journals(1), "no signature is by", key=make_signing_key("elsewhere.example", KEY.seed))


def test_a_wrong_signature_of_the_key_condemns_and_those_of_strangers_are_passed_over(journals, alter):
    path = journals(1) / "public" / "checkpoint"
    text = path.read_bytes().decode().partition("\n\n")[0] + "\n"
    alter(path, format_note(text, [make_signing_key("witness.example", bytes(32)), KEY, OTHER]))
    assert verify(path.parent)[0] == 0
    alter(path, format_note(text, [KEY]) + format_note("another text\n", [KEY]).partition(b"\n\n")[2])
    assert refused(path.parent, "the signature of market.example/rightsx is not one of its key over this text")


def test_a_checkpoint_of_another_origin_is_refused(journals, alter):
    alter(journals(0) / "public" / "checkpoint", format_note(str(Checkpoint("elsewhere", 0, EMPTY_ROOT)), [KEY]))
    assert refused(journals(0), "one of 'elsewhere'; the key signs for 'market.example/rightsx'")


@pytest.mark.parametrize(
    "lines", [["1"], ["01", ROOT], ["9223372036854775808", ROOT], ["0", "AAAA"], ["0", ROOT, ""], ["0", ROOT[:42] + "B="]]
)
def test_what_is_signed_and_no_checkpoint_is_refused(journals, alter, lines):
    alter(journals(0) / "public" / "checkpoint", format_note("\n".join([KEY.name, *lines, ""]), [KEY]))
    assert refused(journals(0), "does not state an origin, a size and a root")


@pytest.mark.parametrize(("size", "folder"), [(0, "public"), (256, "."), (257, "public")])
def test_a_signed_root_of_other_events_is_refused(journals, alter, size, folder):
    alter(journals(size) / "public" / "checkpoint", format_note(str(Checkpoint(KEY.name, size, bytes(32))), [KEY]))
    last = ", unless tile/0/001.p/1 is wrong" if size == 257 else ""
    assert refused(journals(size) / folder, r"checkpoint: its root is not .{44}, on which the tiles agree" + last + "$")


TILES = [
    (257, 1, 0, 1),
    (257, 0, 0, 256),
    (257, 0, 1, 1),
    (66_100, 2, 0, 1),
    (66_100, 1, 0, 256),
    (66_100, 1, 1, 2),
    (66_100, 0, 77, 256),
    (66_100, 0, 258, 52),
]


@pytest.mark.parametrize(("size", "level", "number", "width"), TILES)
def test_the_byte_of_a_tile_that_was_altered_is_named(journals, alter, size, level, number, width):
    name = tile_path(level, number, width)
    path = journals(size) / "public" / name
    for at in (0, HASH * width - 1)[size > 257 :]:
        data = path.read_bytes()
        alter(path, flipped(path, at))
        assert refused(journals(size), f"{name}: byte {at}, in hash {at // HASH}, is not what")
        alter(path, data)


@pytest.mark.parametrize(("size", "level", "number", "width"), TILES)
def test_without_records_an_altered_tile_is_named_and_its_byte_if_tiles_below_tell(journals, alter, size, level, number, width):
    name = tile_path(level, number, width)
    path = journals(size) / "public" / name
    alter(path, flipped(path, HASH * width - 5))
    if level:
        why = f"{name}: byte {HASH * width - 5}, in hash {width - 1}, is not what tile/{level - 1}/"
    else:
        why = f"{name}: bytes 0 to 8191 do not give hash" if width == 256 else f"on which the tiles agree, unless {name} is wrong"
    assert refused(journals(size) / "public", why)


@pytest.mark.parametrize(("size", "level", "number", "width"), TILES)
def test_a_tile_that_is_short_long_or_missing_is_named(journals, alter, size, level, number, width):
    name = tile_path(level, number, width)
    path = journals(size) / "public" / name
    data = path.read_bytes()
    for wrong in (b"", data[:-1], data + b"\0"):
        alter(path, wrong)
        assert refused(journals(size) / "public", f"{name} has {len(wrong)} bytes; {len(data)} are due")
    alter(path, None)
    assert refused(journals(size) / "public", f"{name} is missing")


def test_two_tiles_in_each_others_place_are_named(journals, alter):
    one, other = (journals(66_100) / "public" / tile_path(0, number) for number in (5, 200))
    data = one.read_bytes()
    alter(one, other.read_bytes())
    alter(other, data)
    assert refused(journals(66_100) / "public", "tile/0/005: bytes 0 to 8191 do not give hash 5 of tile/1/000")
    assert refused(journals(66_100), "tile/0/005: byte 0, in hash 0, is not what record 1280 of entries/00000000 gives")


FIELDS = {0: "length", 1: "length", 2: "version", 3: "", 8: "event_seq", 15: "event_seq", 16: "", 119: ""}
ALTERED = [
    *((257, seq, place) for seq in (0, 256) for place in FIELDS),
    *((66_100, seq, place) for seq in (65_535, 66_099) for place in (9, 50)),
]


@pytest.mark.parametrize("bundled", [False, True])
@pytest.mark.parametrize(("size", "seq", "place"), ALTERED)
def test_the_record_that_was_altered_is_named_and_its_byte_if_one_can_know(journals, alter, size, seq, place, bundled):
    tile = tile_path(0, seq // 256, min(256, size - seq // 256 * 256))
    name = tile.replace("tile/0", "tile/entries") if bundled else f"entries/{seq // 65_536:08d}"
    folder = journals(size, open_records=True) / "public" if bundled else journals(size)
    at = seq % (256 if bundled else 65_536) * RECORD
    alter(folder / name, flipped(folder / name, at + place, 4))
    field = {**FIELDS, 9: "event_seq"}.get(place)
    known = f"byte {at + place}, in the {field} of record {seq}, is 0x..; 0x.. is due"
    assert refused(
        folder, f"{name}: {known if field else f'record {seq}, from byte {at} on, does not have hash {seq % 256} of {tile}'}$"
    )


def test_records_that_changed_places_are_named(journals, alter):
    path = journals(257) / "entries" / "00000000"
    data = path.read_bytes()
    alter(path, data[:RECORD] + data[2 * RECORD : 3 * RECORD] + data[RECORD : 2 * RECORD] + data[3 * RECORD :])
    assert refused(journals(257), f"byte {RECORD + 8}, in the event_seq of record 1, is 0x02; 0x01 is due")


def test_a_record_and_its_hash_altered_alike_are_named_by_the_tile(journals, alter):
    records, tile = journals(257) / "entries" / "00000000", journals(257) / "public" / "tile" / "0" / "000"
    alter(records, flipped(records, 7 * RECORD + 50))
    leaf = leaf_hash(records.read_bytes()[7 * RECORD + 2 : 8 * RECORD])
    alter(tile, tile.read_bytes()[: 7 * HASH] + leaf + tile.read_bytes()[8 * HASH :])
    assert refused(journals(257), "tile/0/000: bytes 0 to 8191 do not give hash 0 of tile/1/000.p/1")


def test_files_of_records_that_are_short_long_or_missing_are_named(journals, alter):
    folder = journals(66_100)
    first, last = (folder / "entries" / f"0000000{number}" for number in (0, 1))
    whole = first.read_bytes()
    alter(first, whole + bytes(RECORD))
    assert refused(folder, "entries/00000000 has 7864440 bytes; 7864320 are due")
    alter(first, whole[:1_000])
    assert refused(folder, "entries/00000000 has 1000 bytes; 30720 are due")
    alter(first, whole)
    alter(last, last.read_bytes() + bytes(RECORD))  # an event after the checkpoint
    assert verify(folder)[0] == 0
    alter(last, None)
    assert refused(folder, "entries/00000001 is missing")


@pytest.mark.parametrize("seed", range(3))
def test_no_byte_of_a_journal_can_be_altered_unnoticed(journals, alter, seed):
    chance = random.Random(seed)
    folder = journals(600, open_records=True)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        data, told = path.read_bytes(), str(path.relative_to(folder)).removeprefix("public/")
        for _ in range(3):
            alter(path, flipped(path, chance.randrange(len(data)), 1 << chance.randrange(8)))
            assert refused(folder, f"^does not hold: {told}: ")
            alter(path, data)
    assert verify(folder)[0] == 0


# ── receipts ─────────────────────────────────────────────────────────────────────────────────────


def receipts(size):
    journal = Journal(origin=KEY.name, signer=KEY)
    journal.append(some_events(size))
    journal.publish()
    return journal


def judged(path, data):
    path.write_bytes(data)
    return verify("--receipt", path)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13, 300])
def test_a_receipt_of_every_event_holds(tmp_path, size):
    journal = receipts(size)
    for number in range(0, size, 1 + size // 9):
        code, line = judged(tmp_path / "receipt", bytes(journal.receipt(number)))
        assert (code, line) == (0, f"holds: event {number} is in the journal of {KEY.name}, whose checkpoint has {size} events")


def test_a_receipt_altered_anywhere_is_refused(tmp_path):
    data = bytes(receipts(9).receipt(4))
    for at in range(0, len(data), 7):
        for wrong in (data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], data[:at], data[:at] + data[at + 1 :]):
            code, line = judged(tmp_path / "receipt", wrong)
            assert (code, line.startswith("does not hold: ")) == (1, True), (at, line)


def test_receipts_are_judged_as_the_package_judges_them(tmp_path):
    journal, accepted = receipts(7), 0
    for number in range(7):
        honest = journal.receipt(number)
        for proof in (honest.proof, honest.proof[:-1], (*honest.proof, bytes(32)), honest.proof[::-1], ()):
            for index in (number, number ^ 1, 7):
                data = bytes(honest._replace(proof=proof, event_seq=index))
                try:
                    parse_receipt(data).check(KEY.verifier)
                    holds = True
                except ProofError:
                    holds = False
                assert (judged(tmp_path / "receipt", data)[0] == 0) == holds
                accepted += holds
    assert accepted >= 7


def test_a_receipt_of_another_key_or_place_is_refused(tmp_path):
    honest = receipts(2).receipt(1)
    (tmp_path / "receipt").write_bytes(bytes(honest))
    assert refused("--receipt", "no signature is by the key", tmp_path / "receipt", key=OTHER)
    code, line = judged(tmp_path / "receipt", bytes(Receipt(0, honest.leaf, honest.proof, honest.checkpoint)))
    assert (code, "its index 0 is not the record's" in line) == (1, True)


# ── signatures ───────────────────────────────────────────────────────────────────────────────────


def package_accepts(key, message, signature):
    try:
        VerifierKey("a", key).check(message, signature)
    except ProofError:
        return False
    return True


@needs_vectors
def test_signatures_are_judged_as_by_wycheproof():
    known = json.loads((VECTORS / "wycheproof" / "testvectors_v1" / "ed25519_test.json").read_text())
    judged = 0
    for group in known["testGroups"]:
        key = bytes.fromhex(group["publicKey"]["pk"])
        for one in group["tests"]:
            message, signature = bytes.fromhex(one["msg"]), bytes.fromhex(one["sig"])
            assert verifier.signed_by(key, message, signature) == (one["result"] == "valid"), one
            assert package_accepts(key, message, signature) == (one["result"] == "valid"), one
            judged += 1
    assert judged == known["numberOfTests"]


@needs_vectors
def test_signatures_at_the_edges_are_judged_as_by_openssl():
    known = json.loads((VECTORS / "cctv-ed25519" / "ed25519vectors.json").read_text())
    accepted = 0
    for one in known:
        key, message, signature = bytes.fromhex(one["key"]), one["msg"].encode(), bytes.fromhex(one["sig"])
        found = verifier.signed_by(key, message, signature)
        assert found == package_accepts(key, message, signature), one
        accepted += found
    assert 0 < accepted < len(known)


@pytest.mark.parametrize("seed", range(5))
def test_what_a_key_signs_is_accepted_and_nothing_else(seed):
    chance = random.Random(seed)
    key, message = make_signing_key("a", chance.randbytes(32)), chance.randbytes(chance.randrange(99))
    signature = key.sign(message)
    assert verifier.signed_by(key.verifier.key, message, signature)
    at = chance.randrange(64)
    for wrong in (signature[:at] + bytes([signature[at] ^ 1]) + signature[at + 1 :], signature[:at], signature + b"\0", b""):
        assert not verifier.signed_by(key.verifier.key, message, wrong)
    assert not verifier.signed_by(key.verifier.key, message + b"\0", signature)


# ── the command ──────────────────────────────────────────────────────────────────────────────────


def command(*arguments):
    """Run the file as somebody would who has nothing else: no package, another folder, ASCII."""
    environment = {"PATH": os.environ.get("PATH", ""), "PYTHONIOENCODING": "ascii"}
    return subprocess.run([sys.executable, "-I", FILE, *arguments], capture_output=True, text=True, check=False, env=environment)


def test_the_file_alone_checks_a_journal_with_a_key_from_a_file(journals, tmp_path):
    (tmp_path / "key").write_text(f"{KEY.verifier}\n")
    found = command(journals(257), "--key", tmp_path / "key")
    assert (found.returncode, found.stdout.count("\n"), found.stderr) == (0, 1, "")
    found = command(journals(257), "--key", str(OTHER.verifier))
    assert (found.returncode, found.stdout.startswith("does not hold: checkpoint: "), found.stderr) == (1, True, "")


def test_help_says_how_to_use_it():
    found = command("--help")
    assert found.returncode == 0
    for word in ("FOLDER", "--key", "--entries", "--receipt", "Exit code"):
        assert word in found.stdout


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "--help"),
        (["."], "--key"),
        (["--key", "{key}"], "--help"),
        ([".", "--receipt", "a", "--key", "{key}"], "--help"),
        (["--entries", ".", "--receipt", "a", "--key", "{key}"], "--help"),
        ([".", "--quickly", "--key", "{key}"], "quickly"),
        ([".", "--key", "{secret}"], "no line of a verifier key"),
        ([".", "--key", "a+b"], "no line of a verifier key"),
        (["nowhere", "--key", "{key}"], "checkpoint is missing"),
        (["--receipt", "nowhere", "--key", "{key}"], "nowhere"),
        (["n" * 300, "--key", "{key}"], "n"),
    ],
)
def test_wrong_use_is_one_line_and_two(arguments, why, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = verifier.main([one.format(key=KEY.verifier, secret=KEY.secret) for one in arguments])
    out, err = capsys.readouterr()
    assert (code, out, err.count("\n"), err.startswith("cannot check: ")) == (2, "", 1, True)
    assert why in err
    assert len(err) <= 201
    assert KEY.secret[-20:] not in err


def test_a_folder_of_records_that_is_none_is_wrong_use(journals):
    assert verify(journals(1), "--entries", "nowhere") == (2, "cannot check: nowhere is no folder of records")


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    make(tmp_path, 1)
    path = tmp_path / "public" / "tile" / "0" / "000.p" / "1"
    path.unlink()
    path.mkdir()
    code, line = verify(tmp_path)
    assert (code, str(path) in line) == (2, True)


def test_who_interrupts_is_told_that_nothing_is_decided(journals, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(verifier, "check_journal", interrupted)
    assert verify(journals(1)) == (130, "interrupted: nothing is decided")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_shown_on_a_terminal_alone(journals, monkeypatch, capsys):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert verifier.main([str(journals(66_100)), "--key", str(KEY.verifier)]) == 0
    assert "16,384 of 66,100 events\r" in terminal.getvalue()
    assert "\n" not in terminal.getvalue()
    assert capsys.readouterr().out.count("\n") == 1


def test_the_file_is_short_and_needs_python_3_9_and_nothing_else():
    text = FILE.read_text()
    assert text.count("\n") <= 300
    tree = ast.parse(text, feature_version=(3, 9))
    imports = [one for one in ast.walk(tree) if isinstance(one, (ast.Import, ast.ImportFrom))]
    names = {
        name for one in imports for name in ([one.module] if isinstance(one, ast.ImportFrom) else [a.name for a in one.names])
    }
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names
