"""Verifiers that others wrote accept our proofs, checkpoints and receipts, and refuse them altered."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("cryptography", reason="signatures need the extra `proofs`")

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from rightsx.ledger import Journal
from rightsx.merkle import leaf_hash
from rightsx.note import make_signing_key
from rightsx.protocol import EVENT, EVENT_LENGTH, EVENT_VERSION

KEY = make_signing_key("market.example/rightsx", bytes(range(32)))
SIZES = [1, 2, 3, 7, 8, 100, 257, 600]


def journal_of(size):
    rows = np.zeros(size, EVENT)
    rows["length"], rows["version"], rows["kind"], rows["event_seq"] = EVENT_LENGTH, EVENT_VERSION, 2, np.arange(size)
    journal = Journal(origin=KEY.name, signer=KEY, secret=bytes(32))
    journal.append(rows)
    journal.publish()
    return journal


def some(size):
    return sorted({0, 1, size // 2, size - 2, size - 1} & set(range(size)))


# ── pymerkle ─────────────────────────────────────────────────────────────────────────────────────


def test_pymerkle_accepts_our_inclusion_proofs():
    pymerkle = pytest.importorskip("pymerkle", reason="pip install pymerkle")
    core = pytest.importorskip("pymerkle.core")
    proof_of = pytest.importorskip("pymerkle.proof").InclusionProof
    for size in SIZES:
        journal = journal_of(size)
        for number in some(size):
            leaf = leaf_hash(journal.record(number)[2:])
            rule, _ = core._inclusion_path_layout(number + 1, size)
            path = [leaf, *journal.prove_inclusion(number)]
            proof = proof_of("sha256", True, size, number + 1, rule, path)
            pymerkle.verify_inclusion(leaf, journal.root(), proof)
            if size > 1:
                wrong = proof_of("sha256", True, size, number + 1, rule, [leaf, bytes(32), *path[2:]])
                with pytest.raises(pymerkle.InvalidProof):
                    pymerkle.verify_inclusion(leaf, journal.root(), wrong)


def test_pymerkle_has_the_same_roots():
    pymerkle = pytest.importorskip("pymerkle", reason="pip install pymerkle")
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    journal = journal_of(600)
    for number in range(600):
        tree.append_entry(journal.record(number)[2:])
    assert tree.get_root() == journal.root()


# ── sigstore ─────────────────────────────────────────────────────────────────────────────────────


class Keyring:
    """What sigstore asks of a log's keys, with our one."""

    def __init__(self, errors):
        self._key = Ed25519PublicKey.from_public_bytes(KEY.verifier.key)
        self._errors = errors

    def verify(self, *, key_id, signature, data):
        assert key_id[:4] == KEY.verifier.id
        try:
            self._key.verify(signature, data)
        except InvalidSignature as error:
            raise self._errors.VerificationError("no") from error


def entry_of(receipt, checkpoint):
    proof = SimpleNamespace(
        log_index=receipt.event_seq,
        tree_size=checkpoint.size,
        root_hash=checkpoint.root,
        hashes=list(receipt.proof),
        checkpoint=SimpleNamespace(envelope=receipt.checkpoint.decode()),
    )
    inner = SimpleNamespace(
        inclusion_proof=proof, canonicalized_body=receipt.leaf, log_id=SimpleNamespace(key_id=KEY.verifier.id + bytes(28))
    )
    return SimpleNamespace(_inner=inner)


def test_sigstore_accepts_our_receipts_and_refuses_them_altered():
    merkle = pytest.importorskip("sigstore._internal.merkle", reason="pip install sigstore")
    checkpoints = pytest.importorskip("sigstore._internal.rekor.checkpoint")
    errors = pytest.importorskip("sigstore.errors")
    keyring = Keyring(errors)
    for size in SIZES:
        journal = journal_of(size)
        for number in some(size):
            receipt = journal.receipt(number)
            checkpoint = receipt.check(KEY.verifier)
            entry = entry_of(receipt, checkpoint)
            merkle.verify_merkle_inclusion(entry)
            checkpoints.verify_checkpoint(keyring, entry)
            wrong = entry_of(receipt._replace(leaf=bytes(118)), checkpoint)
            with pytest.raises(errors.VerificationError):
                merkle.verify_merkle_inclusion(wrong)
            text, _, signed = receipt.checkpoint.partition(b"\n\n")
            data = base64.b64decode(signed.split(b" ")[2])
            forged = b"\xe2\x80\x94 " + KEY.name.encode() + b" " + base64.b64encode(data[:-1] + bytes([data[-1] ^ 1])) + b"\n"
            with pytest.raises(errors.VerificationError):
                checkpoints.verify_checkpoint(keyring, entry_of(receipt._replace(checkpoint=text + b"\n\n" + forged), checkpoint))


# ── sigstore for JavaScript ──────────────────────────────────────────────────────────────────────

JUDGE = """
const [folder, question] = [process.argv[2], JSON.parse(require("fs").readFileSync(0, "utf8"))];
const { verifyCheckpoint } = require(folder + "/dist/tlog/checkpoint.js");
const { verifyMerkleInclusion } = require(folder + "/dist/tlog/merkle.js");
const publicKey = require("crypto").createPublicKey({ key: Buffer.from(question.key, "base64"), format: "der", type: "spki" });
const tlogs = [{ logID: Buffer.from(question.id, "base64"), baseURL: question.name, publicKey }];
const said = question.receipts.map((one) => {
  const inclusionProof = {
    logIndex: String(one.index), hashes: one.hashes.map((hash) => Buffer.from(hash, "base64")), checkpoint: { envelope: one.envelope },
  };
  const entry = { inclusionProof, canonicalizedBody: Buffer.from(one.leaf, "base64") };
  try {
    verifyMerkleInclusion(entry, verifyCheckpoint(entry, tlogs));
    return "";
  } catch (error) {
    return error.message;
  }
});
console.log(JSON.stringify(said));
"""


@pytest.fixture(scope="module")
def sigstore_verify(tmp_path_factory):
    """The folder of npm's `@sigstore/verify`, where there is node and npm gives it."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("there is no node with npm here")
    folder = tmp_path_factory.mktemp("npm")
    asked = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts", "@sigstore/verify@3"]
    try:
        subprocess.run(asked, check=True, capture_output=True, timeout=60)
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(f"npm does not give @sigstore/verify: {error}")
    return folder / "node_modules" / "@sigstore" / "verify"


def test_sigstore_verify_of_npm_accepts_our_receipts_and_refuses_them_altered(sigstore_verify, tmp_path):
    spki = bytes.fromhex("302a300506032b6570032100") + KEY.verifier.key  # RFC 8410: an Ed25519 key as SubjectPublicKeyInfo
    text = lambda data: base64.b64encode(data).decode()  # noqa: E731
    told, due = [], []
    for size in SIZES:
        journal = journal_of(size)
        for number in some(size):
            receipt = journal.receipt(number)
            one = {
                "index": number,
                "leaf": text(receipt.leaf),
                "hashes": list(map(text, receipt.proof)),
                "envelope": receipt.checkpoint.decode(),
            }
            note, _, signed = one["envelope"].rpartition(" ")
            data = bytearray(base64.b64decode(signed))
            data[-1] ^= 1
            told += [one, {**one, "leaf": text(bytes(118))}, {**one, "envelope": f"{note} {text(bytes(data))}\n"}]
            due += ["", "calculated root hash does not match inclusion proof", "invalid checkpoint signature"]
    (tmp_path / "judge.js").write_text(JUDGE)
    question = {"key": text(spki), "id": text(KEY.verifier.id + bytes(28)), "name": KEY.name, "receipts": told}
    answer = subprocess.run(
        ["node", tmp_path / "judge.js", str(sigstore_verify)],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(answer.stdout) == due
