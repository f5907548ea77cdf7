"""Verifiers that others wrote accept our proofs, checkpoints and receipts, and refuse them altered."""

from __future__ import annotations

import base64
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
