"""Merkle proofs: everything at every small size, each broken once, and other people's vectors."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import os
import random
import re
from pathlib import Path

import pytest

from rightsx import merkle
from rightsx.errors import MisuseError, ProofError
from rightsx.merkle import (
    EMPTY_ROOT,
    Frontier,
    check_batch,
    check_consistency,
    check_inclusion,
    complete_nodes,
    leaf_hash,
    node_hash,
    prove_batch,
    prove_consistency,
    prove_inclusion,
    range_root,
)

VECTORS = Path(os.environ.get("RIGHTSX_TEST_DATA", Path(__file__).parent.parent.parent / "shared")) / "vectors"
MOST = 34
LEAVES = [leaf_hash(bytes([number])) for number in range(MOST)]


@functools.cache
def mth(start, end):
    """Root of leaves [start, end) as RFC 6962 defines it, in its own words."""
    if start == end:
        return EMPTY_ROOT
    if end - start == 1:
        return LEAVES[start]
    k = 1
    while k * 2 < end - start:
        k *= 2
    return node_hash(mth(start, start + k), mth(start + k, end))


def node(level, number):
    assert (number + 1) << level <= MOST, "a complete node is asked for"
    return mth(number << level, (number + 1) << level)


def subtrees(size):
    for start in range(size):
        for end in range(start + 1, size + 1):
            if start % (1 << (end - start - 1).bit_length()) == 0:
                yield start, end


def altered(hashes):
    """Each list that differs from this one in one bit of one hash, lacks one, or has one more."""
    for at, one in enumerate(hashes):
        yield [*hashes[:at], bytes([one[0] ^ 1]) + one[1:], *hashes[at + 1 :]]
        yield [*hashes[:at], *hashes[at + 1 :]]
        yield [*hashes[:at], one, *hashes[at:]]
    yield [*hashes, bytes(32)]


# ── roots ────────────────────────────────────────────────────────────────────────────────────────


def test_a_frontier_has_the_root_of_every_size():
    frontier = Frontier()
    for size in range(MOST):
        assert (frontier.size, frontier.root()) == (size, mth(0, size))
        assert frontier.hashes == [node(*piece) for piece in complete_nodes(0, size)]
        assert Frontier(size, frontier.hashes).root() == mth(0, size)
        frontier.append(LEAVES[size])


def test_the_root_of_every_subtree_is_folded_from_complete_nodes():
    for start, end in subtrees(MOST):
        assert range_root(start, end, node) == mth(start, end)


def test_a_frontier_of_the_wrong_length_is_misuse():
    with pytest.raises(MisuseError, match="a frontier of size 3 has 2 hashes; 1 were given"):
        Frontier(3, [LEAVES[0]])


# ── inclusion ────────────────────────────────────────────────────────────────────────────────────


def test_every_leaf_of_every_tree_is_proved_and_no_altered_proof_passes():
    for size in range(1, MOST):
        for index in range(size):
            proof = prove_inclusion(index, size, node)
            check_inclusion(LEAVES[index], index, size, proof, mth(0, size))
            for wrong in altered(proof):
                with pytest.raises(ProofError):
                    check_inclusion(LEAVES[index], index, size, wrong, mth(0, size))
            with pytest.raises(ProofError):
                check_inclusion(LEAVES[index], (index + 1) % size if size > 1 else 1, size, proof, mth(0, size))
            with pytest.raises(ProofError):
                check_inclusion(bytes(32), index, size, proof, mth(0, size))
            with pytest.raises(ProofError, match=r"give the root .* was stated"):
                check_inclusion(LEAVES[index], index, size, proof, bytes(32))


def test_every_leaf_of_every_subtree_is_proved():
    for start, end in subtrees(MOST):
        for index in range(start, end):
            proof = prove_inclusion(index, end, node, start=start)
            check_inclusion(LEAVES[index], index, end, proof, mth(start, end), start=start)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (3, 3), (-1, 3), (2**63, 2**64), (True, 3), (1.0, 3)])
def test_a_leaf_that_no_tree_has_is_neither_proved_nor_checked(index, size):
    with pytest.raises(MisuseError):
        prove_inclusion(index, size, node)
    with pytest.raises(ProofError):
        check_inclusion(LEAVES[0], index, size, [], LEAVES[0])


@pytest.mark.parametrize("one", [b"", bytes(31), bytes(33), "a" * 32, bytearray(32)])
def test_only_hashes_of_32_bytes_are_checked(one):
    for leaf, proof, root in ((one, [LEAVES[1]], LEAVES[0]), (LEAVES[0], [one], LEAVES[0]), (LEAVES[0], [LEAVES[1]], one)):
        with pytest.raises(ProofError, match="32 bytes are due"):
            check_inclusion(leaf, 0, 2, proof, root)


# ── consistency ──────────────────────────────────────────────────────────────────────────────────


def test_every_tree_is_proved_a_part_of_every_later_one_and_no_altered_proof_passes():
    for new in range(1, MOST):
        for old in range(1, new + 1):
            proof = prove_consistency(old, new, node)
            check_consistency(old, new, proof, mth(0, old), mth(0, new))
            for wrong in altered(proof):
                with pytest.raises(ProofError):
                    check_consistency(old, new, wrong, mth(0, old), mth(0, new))
            with pytest.raises(ProofError):
                check_consistency(old, new, proof, bytes(32), mth(0, new))
            with pytest.raises(ProofError):
                check_consistency(old, new, proof, mth(0, old), bytes(32))


def test_every_subtree_is_proved_a_part_of_every_tree():
    for new in range(1, MOST - 10):
        for start, end in subtrees(new):
            proof = prove_consistency(end, new, node, start=start)
            check_consistency(end, new, proof, mth(start, end), mth(0, new), start=start)
            for wrong in altered(proof):
                with pytest.raises(ProofError):
                    check_consistency(end, new, wrong, mth(start, end), mth(0, new), start=start)


@pytest.mark.parametrize(("start", "old", "new"), [(0, 4, 3), (-1, 2, 3), (None, 0, 3), (1, 3, 5), (0, 2, 2**63)])
def test_what_is_no_part_of_a_tree_is_neither_proved_nor_checked(start, old, new):
    with pytest.raises(MisuseError):
        prove_consistency(old, new, node, start=start)
    with pytest.raises(ProofError):
        check_consistency(old, new, [], EMPTY_ROOT, EMPTY_ROOT, start=start)


# ── many at once ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(5))
def test_leaves_proved_together_need_no_hash_twice(seed):
    chance = random.Random(seed)
    for _ in range(60):
        size = chance.randrange(1, MOST)
        indices = chance.sample(range(size), chance.randrange(1, size + 1))
        proof = prove_batch(indices, size, node)
        leaves = {index: LEAVES[index] for index in indices}
        check_batch(leaves, size, proof, mth(0, size))
        assert len(proof) <= sum(len(prove_inclusion(index, size, node)) for index in indices)
        assert len(set(proof)) == len(proof)
        for wrong in altered(proof):
            with pytest.raises(ProofError):
                check_batch(leaves, size, wrong, mth(0, size))
        for index in indices:
            with pytest.raises(ProofError):
                check_batch({**leaves, index: bytes(32)}, size, proof, mth(0, size))


def test_a_batch_of_one_is_an_inclusion_proof_in_the_order_of_leaves():
    assert sorted(prove_batch([3], 7, node)) == sorted(prove_inclusion(3, 7, node))
    assert prove_batch([], 7, node) == []
    assert prove_batch([2, 2], 7, node) == prove_batch([2], 7, node)


def test_a_batch_of_nothing_or_beyond_the_tree_is_refused():
    with pytest.raises(ProofError, match="no leaf"):
        check_batch({}, 3, [], EMPTY_ROOT)
    with pytest.raises(ProofError, match="index was 3"):
        check_batch({3: LEAVES[3]}, 3, [], EMPTY_ROOT)
    with pytest.raises(MisuseError, match="index was 3"):
        prove_batch([3], 3, node)


# ── other people's vectors ───────────────────────────────────────────────────────────────────────

needs_vectors = pytest.mark.skipif(not VECTORS.is_dir(), reason="the test vectors are not here (RIGHTSX_TEST_DATA)")


def vectors(kind):
    paths = sorted((VECTORS / "transparency-dev-merkle" / "testdata" / kind).rglob("*.json"))
    return [json.loads(path.read_text()) for path in paths]


def read(text):
    """Read a hash; a few are words that only have to be equal or not."""
    found = base64.b64decode(text or "")
    return hashlib.sha256(found).digest() if found.startswith(b"don't care") else found


@needs_vectors
def test_the_classic_eight_leaves_have_their_roots():
    known = json.loads((VECTORS / "rfc6962-roots" / "leaves8.json").read_text())
    leaves = [leaf_hash(bytes.fromhex(one)) for one in known["leaf_inputs_hex"]]
    assert [one.hex() for one in leaves] == known["node_hashes_hex"][0]
    roots = next(value for key, value in known.items() if "root" in key and isinstance(value, list))
    frontier = Frontier()
    found = [frontier.root().hex()]
    for leaf in leaves:
        frontier.append(leaf)
        found.append(frontier.root().hex())
    assert found == roots


@needs_vectors
@pytest.mark.parametrize(("kind", "count"), [("inclusion", 98), ("subtreeinclusion", 204)])
def test_inclusion_is_judged_as_by_transparency_dev(kind, count):
    found = vectors(kind)
    assert len(found) == count
    for one in found:
        start, end = one.get("start", 0), one["end"] if "end" in one else one["treeSize"]
        arguments = read(one["leafHash"]), one["leafIdx"], end, [read(text) for text in one["proof"] or ()], read(one["root"])
        judge(one, lambda arguments=arguments, start=start: check_inclusion(*arguments, start=start))


@needs_vectors
@pytest.mark.parametrize(("kind", "count"), [("consistency", 98), ("subtreeconsistency", 118)])
def test_consistency_is_judged_as_by_transparency_dev(kind, count):
    found = vectors(kind)
    assert len(found) == count
    for one in found:
        start = one.get("start")
        old, new = (one["end"], one["size"]) if "end" in one else (one["size1"], one["size2"])
        arguments = old, new, [read(text) for text in one["proof"] or ()], read(one["root1"]), read(one["root2"])
        judge(one, lambda arguments=arguments, start=start: check_consistency(*arguments, start=start))


def judge(one, check):
    if one["wantErr"]:
        with pytest.raises(ProofError):
            check()
    else:
        check()


@needs_vectors
def test_ranges_of_the_fuzz_corpus_fold_from_few_nodes():
    paths = sorted((VECTORS / "transparency-dev-merkle" / "compact").rglob("FuzzRangeNodes/*"))
    assert len(paths) > 10
    for path in paths:
        start, end = map(int, re.findall(r"uint64\((\d+)\)", path.read_text()))
        nodes = complete_nodes(0, end) if start <= end < merkle.SIZE_END else []
        assert sum(1 << level for level, _ in nodes) in (0, end)
        assert len(nodes) <= 64
