"""A map with sums proves what each key holds, and that another holds nothing; no alteration of a proof passes."""

import hashlib
import random

import numpy as np
import pytest

from rightsx.commitment import SumMaps
from rightsx.errors import MisuseError, ProofError
from rightsx.merkle import node_hash
from rightsx.summap import EMPTY_MAP, KEY_BITS, SUM_END, Step, SumProof, check_sum, entry_hash, parse_sum_proof, side

SIZES = [1, 2, 3, 4, 5, 7, 8, 16, 33, 100]


def key_of(number):
    return hashlib.sha256(number.to_bytes(8, "little")).digest()


def built(held):
    """Build one map of key → units as the project does; gives it, its root, its total."""
    keys = np.frombuffer(b"".join(held), np.uint8).reshape(-1, 32)
    maps = SumMaps(np.zeros(len(held), np.int64), keys, np.array(list(held.values()), np.int64))
    return maps, bytes(maps.roots()[0]), sum(held.values())


def plain(held, bit=0):
    """Build the same map once more, as its docstring says it: gives the entry's inner hash and word."""
    if len(held) == 1:
        ((key, units),) = held.items()
        return key, units
    while len({side(key, bit) for key in held}) == 1:
        bit += 1
    below = [plain({key: units for key, units in held.items() if side(key, bit) == at}, bit + 1) for at in (0, 1)]
    total = sum(word % SUM_END for _, word in below)
    return node_hash(*(entry_hash(*each) for each in below)), total + (bit + 1) * SUM_END


@pytest.mark.parametrize("size", SIZES)
def test_a_map_is_what_its_docstring_says(size):
    held = {key_of(number): number * number + 1 for number in range(size)}
    maps, root, total = built(held)
    assert entry_hash(*plain(held)) == root
    for key, units in held.items():
        assert check_sum(maps.prove(0, key), key, total, root) == units
    for number in range(size, size + 40):
        assert check_sum(maps.prove(0, key_of(number)), key_of(number), total, root) == 0


def test_keys_that_part_late_are_parted():
    near = [bytes(31) + bytes([value]) for value in (0, 1, 128, 255)] + [b"\xff" * 31 + bytes([value]) for value in (254, 255)]
    held = {key: 5 + number for number, key in enumerate(near)}
    maps, root, total = built(held)
    assert entry_hash(*plain(held)) == root
    proof = maps.prove(0, near[-1])
    assert [step.bit for step in proof.way] == [0, KEY_BITS - 1]
    assert check_sum(proof, near[-1], total, root) == held[near[-1]]


def test_many_maps_are_built_as_each_alone():
    rng = random.Random(4)
    held = [{key_of(100 * group + number): rng.randint(1, 99) for number in range(size)} for group, size in enumerate(SIZES)]
    groups = np.repeat(np.arange(len(SIZES)), SIZES)
    keys = np.frombuffer(b"".join(key for each in held for key in each), np.uint8).reshape(-1, 32)
    maps = SumMaps(groups, keys, np.array([units for each in held for units in each.values()], np.int64))
    assert list(map(bytes, maps.roots())) == [built(each)[1] for each in held]
    for group, each in enumerate(held):
        for key, units in each.items():
            assert check_sum(maps.prove(group, key), key, sum(each.values()), bytes(maps.roots()[group])) == units


def test_a_written_proof_is_read_again():
    maps, *_ = built({key_of(number): 1 for number in range(50)})
    proof = maps.prove(0, key_of(3))
    assert parse_sum_proof(bytes(proof)) == proof
    assert parse_sum_proof(b"") == SumProof()
    assert bytes(SumProof()) == b""
    for length in (1, 39, 41, len(bytes(proof)) - 1):
        with pytest.raises(ProofError, match="41 a step"):
            parse_sum_proof(bytes(proof)[:length])


def test_each_byte_of_a_proof_counts():
    held = {key_of(number): number + 1 for number in range(40)}
    maps, root, total = built(held)
    for key, due in ((key_of(7), 8), (key_of(99), 0)):
        data = bytes(maps.prove(0, key))
        assert check_sum(parse_sum_proof(data), key, total, root) == due
        for at in range(len(data)):
            for bit in (1, 0x80):
                altered = bytearray(data)
                altered[at] ^= bit
                with pytest.raises(ProofError):
                    check_sum(parse_sum_proof(bytes(altered)), key, total, root)
        for cut in range(1, len(maps.prove(0, key).way) + 1):
            proof = maps.prove(0, key)
            with pytest.raises(ProofError):
                check_sum(proof._replace(way=proof.way[cut:]), key, total, root)


def test_another_total_or_root_fails():
    maps, root, total = built({key_of(number): 5 for number in range(9)})
    proof = maps.prove(0, key_of(0))
    with pytest.raises(ProofError, match="hold 45 together; 44"):
        check_sum(proof, key_of(0), total - 1, root)
    with pytest.raises(ProofError, match="another root"):
        check_sum(proof, key_of(0), total, bytes(32))
    with pytest.raises(ProofError, match="32 bytes"):
        check_sum(proof, b"short", total, root)


def test_an_empty_map_holds_nothing():
    assert check_sum(SumProof(), key_of(1), 0, EMPTY_MAP) == 0
    for total, root in ((1, EMPTY_MAP), (0, bytes(32))):
        with pytest.raises(ProofError, match="empty"):
            check_sum(SumProof(), key_of(1), total, root)


def test_a_sum_cannot_be_negative_or_come_round():
    """The total of a cheat that owes 10 and says −9 for somebody else."""
    key, other = bytes(32), b"\xff" * 32
    for beside in (2**64 - 9, SUM_END - 9, 0):
        entries = (entry_hash(key, 10), entry_hash(other, beside % 2**64))
        total = (10 + beside) % SUM_END
        root = entry_hash(node_hash(*entries), total + SUM_END)
        with pytest.raises(ProofError):
            check_sum(SumProof(key, 10, (Step(0, other, beside),)), key, total, root)


def test_a_node_cannot_pass_as_a_leaf_nor_a_leaf_as_a_node():
    held = {key_of(number): 3 for number in range(30)}
    maps, root, total = built(held)
    way = maps.prove(0, key_of(0)).way
    node = next(step for step in way if step.word >= SUM_END)
    depth = way.index(node)
    # Somebody whose key lies below that node is to be shown as absent, by a leaf that is the node.
    target = next(
        key for key in held if maps.prove(0, key).way[:depth] == way[:depth] and side(key, node.bit) != side(key_of(0), node.bit)
    )
    with pytest.raises(ProofError):
        check_sum(SumProof(node.inner, node.word % SUM_END, way[:depth]), target, total, root)


def test_an_only_total_tree_would_be_cheated_and_this_one_is_not():
    """The known flaw: where a node binds its total alone, each child can be shown with a sum of its own."""
    left, right = bytes(32), b"\x80" + bytes(31)
    maps, root, total = built({left: 7, right: 5})
    proof = maps.prove(0, left)
    cheated = proof._replace(way=(proof.way[0]._replace(word=1),))
    with pytest.raises(ProofError, match="hold 8 together; 12"):
        check_sum(cheated, left, total, root)
    with pytest.raises(ProofError, match="another root"):
        check_sum(cheated, left, 8, root)


def test_what_a_map_cannot_hold_is_refused():
    keys = np.frombuffer(key_of(1) + key_of(2), np.uint8).reshape(-1, 32)
    for units in ([0, 1], [-1, 1], [SUM_END, 1]):
        with pytest.raises(MisuseError, match="can be held"):
            SumMaps(np.zeros(2, np.int64), keys, np.array(units))
    with pytest.raises(MisuseError, match="held together"):
        SumMaps(np.zeros(2, np.int64), keys, np.array([SUM_END - 1, 1]))
    with pytest.raises(MisuseError, match="alike"):
        SumMaps(np.zeros(2, np.int64), keys[[0, 0]], np.array([1, 1]))
    assert len(SumMaps(np.zeros(0, np.int64), keys[:0], np.zeros(0, np.int64)).roots()) == 0


def test_keys_alike_in_their_first_bytes_are_sorted_by_the_rest():
    same = bytes(8)
    held = {same + bytes([number]) + key_of(number)[9:]: number + 1 for number in range(20, 0, -1)}
    maps, root, total = built(held)
    assert entry_hash(*plain(held)) == root
    assert all(check_sum(maps.prove(0, key), key, total, root) == units for key, units in held.items())
