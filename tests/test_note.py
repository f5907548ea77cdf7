"""Signed notes and checkpoints: what is written is read, what is altered is refused, and others' vectors agree."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest

from rightsx.errors import MisuseError, ProofError
from rightsx.note import (
    Checkpoint,
    VerifierKey,
    check_checkpoint,
    format_note,
    make_signing_key,
    parse_checkpoint,
    parse_note,
    parse_signing_key,
    parse_verifier_key,
)

pytest.importorskip("cryptography", reason="signatures need the extra `proofs`")

VECTORS = Path(os.environ.get("RIGHTSX_TEST_DATA", Path(__file__).parent.parent.parent / "shared")) / "vectors"
needs_vectors = pytest.mark.skipif(not VECTORS.is_dir(), reason="the test vectors are not here (RIGHTSX_TEST_DATA)")
KEY = make_signing_key("market.example/rightsx", bytes(range(32)))
OTHER = make_signing_key("witness.example", bytes(range(1, 33)))
CHECKPOINT = Checkpoint("market.example/rightsx", 1234, bytes(range(32)))


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_key_written_is_the_key_read():
    assert parse_verifier_key(str(KEY.verifier)) == KEY.verifier
    assert parse_signing_key(KEY.secret + "\n") == KEY


def test_a_signing_key_shows_nothing_of_itself():
    assert str(KEY) == repr(KEY) == f"{[KEY]}"[1:-1] == "signing key of market.example/rightsx"
    with pytest.raises(ProofError) as caught:
        parse_signing_key(KEY.secret.replace("+AQ", "+BQ"))
    assert KEY.secret[-20:] not in str(caught.value)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\tb", "a\u2003b", "a\x00b", 7])
def test_a_name_with_a_space_or_a_plus_is_no_name(name):
    with pytest.raises(MisuseError, match="without space and plus"):
        make_signing_key(name, bytes(32))


def test_a_key_is_made_of_32_bytes():
    with pytest.raises(MisuseError, match="32 bytes"):
        make_signing_key("a", bytes(31))


def test_a_key_altered_anywhere_is_refused():
    for whole, read in ((str(KEY.verifier), parse_verifier_key), (KEY.secret, parse_signing_key)):
        for at, letter in enumerate(whole):
            wrong = whole[:at] + ("B" if letter != "B" else "C") + whole[at + 1 :]
            with pytest.raises(ProofError):
                read(wrong)
    with pytest.raises(ProofError, match="algorithm 4"):
        parse_verifier_key("a+00000000+" + base64.b64encode(bytes([4]) + bytes(32)).decode())


# ── notes ────────────────────────────────────────────────────────────────────────────────────────


def test_a_note_names_those_who_signed_and_passes_over_strangers():
    note = parse_note(format_note("hello\n", [KEY, OTHER]))
    assert note.text == "hello\n"
    assert note.check(KEY.verifier) == [KEY.verifier]
    assert note.check(OTHER.verifier, KEY.verifier) == [OTHER.verifier, KEY.verifier]
    alone = parse_note(format_note("hello\n", [OTHER]))
    assert alone.check(KEY.verifier, OTHER.verifier) == [OTHER.verifier]
    with pytest.raises(
        ProofError, match=r"signed by witness.example; signatures of market.example/rightsx \(.*\) are looked for"
    ):
        alone.check(KEY.verifier)


def test_a_wrong_signature_of_a_known_key_condemns_the_note():
    note = parse_note(format_note("hello\n", [KEY, OTHER]))
    forged = note._replace(signatures=(*note.signatures, note.signatures[0]._replace(signature=bytes(64))))
    with pytest.raises(ProofError, match=r"signature of market.example/rightsx"):
        forged.check(KEY.verifier, OTHER.verifier)
    assert forged.check(OTHER.verifier)


def test_a_note_altered_anywhere_is_refused():
    data = format_note(str(CHECKPOINT), [KEY])
    check_checkpoint(data, KEY.verifier)
    for at in range(len(data)):
        for bit in (1, 128):
            with pytest.raises(ProofError):
                check_checkpoint(data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :], KEY.verifier)
        with pytest.raises(ProofError):
            check_checkpoint(data[:at], KEY.verifier)


@pytest.mark.parametrize("text", ["", "a", "a\0\n", "a\x7f\n", "a\r\n"])
def test_only_a_text_that_can_be_a_note_is_signed(text):
    with pytest.raises(MisuseError, match="ends with a newline"):
        format_note(text, [KEY])


def test_a_note_needs_a_signature():
    with pytest.raises(MisuseError, match="needs a signature"):
        format_note("a\n", [])


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\xff\n\n- a b\n", "not UTF-8 at byte 0"),
        (b"a\t\n\n", "control character"),
        (b"a\n", "a text, an empty line"),
        (b"a\n\n", "a text, an empty line"),
        ("a\n\n— name YWJjZGU=".encode(), "a text, an empty line"),
        (b"a\n\n- name YWJjZGU=\n", "no line of a signature"),
        ("a\n\n— name YWJj\n".encode(), "no line of a signature"),
        ("a\n\n— name YWJjZGU\n".encode(), "no line of a signature"),
        ("a\n\n— name YWJjZGV=\n".encode(), "no line of a signature"),
        ("a\n\n— na+me YWJjZGU=\n".encode(), "no line of a signature"),
        (b"a" * 1_000_001, "at most 1000000 bytes"),
        (("a\n\n" + "— n YWJjZGU=\n" * 101).encode(), "at most 100 signatures"),
    ],
)
def test_what_is_no_note_says_why(data, why):
    with pytest.raises(ProofError, match=why):
        parse_note(data)


# ── checkpoints ──────────────────────────────────────────────────────────────────────────────────


def test_a_checkpoint_written_is_the_checkpoint_read():
    for one in (CHECKPOINT, CHECKPOINT._replace(size=0), CHECKPOINT._replace(size=2**63 - 1, extensions=("a", "b c"))):
        assert parse_checkpoint(str(one)) == one
        assert check_checkpoint(format_note(str(one), [KEY]), KEY.verifier) == one


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a\n1\n", "three lines"),
        ("a\n1\n" + "A" * 43 + "=", "three lines"),
        ("\n1\n" + "A" * 43 + "=\n", "origin .* is empty"),
        ("a\n01\n" + "A" * 43 + "=\n", "size .* was '01'"),
        ("a\n-1\n" + "A" * 43 + "=\n", "size .* was '-1'"),
        ("a\n9223372036854775808\n" + "A" * 43 + "=\n", "size .* was"),
        ("a\n1\nAAAA\n", "root .* was 'AAAA'"),
        ("a\n1\n" + "A" * 42 + "B=\n", "root .* was"),
        ("a\n1\n" + "A" * 43 + "=\n\n", "extension line"),
    ],
)
def test_what_is_no_checkpoint_says_why(text, why):
    with pytest.raises(ProofError, match=why):
        parse_checkpoint(text)


def test_a_checkpoint_of_another_log_is_refused():
    data = format_note(str(CHECKPOINT._replace(origin="elsewhere")), [KEY])
    with pytest.raises(ProofError, match="one of 'elsewhere'"):
        check_checkpoint(data, KEY.verifier)


# ── other people's vectors ───────────────────────────────────────────────────────────────────────


@needs_vectors
def test_notes_of_go_are_read_and_written_alike():
    known = json.loads((VECTORS / "golang-mod-note" / "note_examples.json").read_text())
    for one in known["note_keys"]:
        key, verifier = parse_signing_key(one["skey"]), parse_verifier_key(one["vkey"])
        assert key.verifier == verifier
        assert format_note(one["text"], [key]).decode() == one["text"] + "\n" + one["sig_line"]
    parse_note(known["sum_golang_org"]["checkpoint"].encode()).check(parse_verifier_key(known["sum_golang_org"]["vkey"]))
    assert parse_checkpoint(parse_note(known["sum_golang_org"]["checkpoint"].encode()).text).size == 31700353


@needs_vectors
def test_examples_of_the_specification_are_read():
    folder = VECTORS / "c2sp-spec-examples"
    parse_note((folder / "signed-note.1.txt").read_bytes()).check(
        parse_verifier_key((folder / "signed-note.vkey.txt").read_text())
    )
    assert parse_note((folder / "signed-note.0.txt").read_bytes()).signatures[0].name == "quasimodo.example/salvatore"
    for name, count in (("tlog-checkpoint.0.txt", 1), ("tlog-cosignature.0.txt", 2)):
        note = parse_note((folder / name).read_bytes())
        assert (len(note.signatures), parse_checkpoint(note.text).size) == (count, 20852163)


@needs_vectors
def test_checkpoints_of_a_tessera_log_are_accepted():
    key = parse_verifier_key("example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx")
    for size in range(1, 16):
        data = (VECTORS / "tessera" / "testdata" / "log" / f"checkpoint.{size}").read_bytes()
        assert check_checkpoint(data, key).size == size


@needs_vectors
@pytest.mark.parametrize("name", ["missing-origin", "missing-size", "missing-root-hash"])
def test_checkpoints_that_lack_a_line_are_refused(name):
    folder = VECTORS / "sigstore-conformance" / "test" / "assets" / "bundle-verify"
    bundle = json.loads((folder / f"rekor2-checkpoint-{name}_fail" / "bundle.sigstore.json").read_text())
    envelope = bundle["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]["checkpoint"]["envelope"]
    with pytest.raises(ProofError):
        parse_checkpoint(parse_note(envelope.encode()).text)


@needs_vectors
def test_signatures_are_judged_as_by_wycheproof():
    known = json.loads((VECTORS / "wycheproof" / "testvectors_v1" / "ed25519_test.json").read_text())
    judged = 0
    for group in known["testGroups"]:
        key = VerifierKey("a", bytes.fromhex(group["publicKey"]["pk"]))
        for one in group["tests"]:
            assert accepts(key, one["msg"], one["sig"]) == (one["result"] == "valid"), one
            judged += 1
    assert judged == known["numberOfTests"]


@needs_vectors
def test_signatures_at_the_edges_are_judged_without_the_cofactor():
    known = json.loads((VECTORS / "cctv-ed25519" / "ed25519vectors.json").read_text())
    accepted = {
        one["number"]
        for one in known
        if accepts(VerifierKey("a", bytes.fromhex(one["key"])), one["msg"].encode().hex(), one["sig"])
    }
    refused_for = {flag for one in known if one["number"] not in accepted for flag in one["flags"] or ()}
    taken_with = {flag for one in known if one["number"] in accepted for flag in one["flags"] or ()}
    assert "low_order_residue" in refused_for
    assert "low_order_residue" not in taken_with, "a check with the cofactor takes these"
    assert "non_canonical_R" not in taken_with
    assert "non_canonical_S" not in taken_with


def accepts(key, message, signature):
    try:
        key.check(bytes.fromhex(message), bytes.fromhex(signature))
    except ProofError:
        return False
    return True
