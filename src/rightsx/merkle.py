"""Proves that a record is in a log and that a log only grew; nothing but hashlib is needed to check it.

    size 6                root ─────────────┐            leaf   SHA-256(0 ‖ data)
                     ┌─────┴─────┐          │            node   SHA-256(1 ‖ left ‖ right)
    level 2          A           │          │            A tree of n leaves is cut at the largest power of two below n:
                  ┌──┴──┐     ┌──┴──┐       │            what is to the left of a cut is complete and never changes.
    level 1      (B)   [C]    [D]   │       │
                 ┌┴┐   ┌┴┐    ┌┴┐            the frontier of size 6 is A, D: all that is needed to go on
    leaves       0 1   2 3    4 5            leaf 2 is in: [leaf 3], (B), [D], from the leaf upwards

A node is named by its level and its number there: node (k, i) covers leaves i × 2^k up to (i + 1) × 2^k. Provers are
given a function that fetches complete nodes; everything else they fold. Checks follow the same cuts, so that prover and
verifier are one walk written down twice. A check returns nothing: it raises `ProofError` and says what is wrong.

Proofs may also be about a subtree [start, end) of the log, with start a multiple of the smallest power of two that is
not below end − start; the whole tree is [0, size).

A root does not say how large its tree is: size and root must come from one signed checkpoint.

Costs: O(log size) hashes a proof, 32 bytes each. Source: RFC 6962, section 2.1; subtrees as in the IETF's
draft on Merkle tree certificates (draft-ietf-plants-merkle-tree-certs), section 4.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from rightsx.errors import MisuseError, ProofError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    Node = Callable[[int, int], bytes]  # (level, number) → hash of a complete node

HASH_BYTES: Final = 32
SIZE_END: Final = 2**63
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()

# ── hashing ──────────────────────────────────────────────────────────────────────────────────────


def leaf_hash(data: bytes) -> bytes:
    """Hash a record as a leaf.

    >>> leaf_hash(b"").hex()[:8]
    '6e340b9c'
    """
    return hashlib.sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two nodes as their parent."""
    return hashlib.sha256(b"\1" + left + right).digest()


def cut(size: int) -> int:
    """Give the largest power of two below a size from 2: where a tree is cut.

    >>> cut(2), cut(6), cut(8)
    (1, 4, 4)
    """
    return 1 << (size - 1).bit_length() - 1


def range_root(start: int, end: int, node: Node) -> bytes:
    """Fold the root of leaves [start, end), a valid subtree, from complete nodes. O(log n) of them."""
    if start == end:
        return EMPTY_ROOT
    pieces = complete_nodes(start, end)
    root = node(*pieces[-1])
    for piece in reversed(pieces[:-1]):
        root = node_hash(node(*piece), root)
    return root


def complete_nodes(start: int, end: int) -> list[tuple[int, int]]:
    """List (level, number) of the complete nodes that a valid subtree [start, end) consists of, from the left.

    >>> complete_nodes(0, 6)
    [(2, 0), (1, 2)]
    """
    nodes = []
    while start < end:
        level = (end - start).bit_length() - 1
        nodes.append((level, start >> level))
        start += 1 << level
    return nodes


class Frontier:
    """What a log must remember of a tree in order to go on: at most 63 hashes, however many leaves there are.

    >>> frontier = Frontier()
    >>> frontier.append(leaf_hash(b""))
    >>> frontier.size, frontier.root() == leaf_hash(b"")
    (1, True)
    """

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        """Begin empty, or with the complete nodes of a tree, from the left; `MisuseError` if they are too few or too many."""
        self.size = _size("size", size)
        self.hashes = [bytes(one) for one in hashes]
        if len(self.hashes) != size.bit_count():
            raise MisuseError(f"a frontier of size {size} has {size.bit_count()} hashes; {len(self.hashes)} were given")

    def append(self, leaf: bytes) -> None:
        """Add the hash of a leaf. O(1) on average, O(log size) at worst."""
        for _ in range((self.size ^ (self.size + 1)).bit_length() - 1):
            leaf = node_hash(self.hashes.pop(), leaf)
        self.hashes.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """Give the root of all leaves so far. O(log size)."""
        if not self.hashes:
            return EMPTY_ROOT
        root = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            root = node_hash(left, root)
        return root


# ── inclusion ────────────────────────────────────────────────────────────────────────────────────


def prove_inclusion(index: int, size: int, node: Node, *, start: int = 0) -> list[bytes]:
    """Prove that leaf `index` is in the tree of `size` leaves, or in the subtree [start, size): hashes from the leaf upwards.

    `MisuseError` if it is not. O(log size).
    """
    _within(index, start, size)
    proof: list[bytes] = []
    first, end = start, size
    while end - first > 1:
        middle = first + cut(end - first)
        if index < middle:
            proof.append(range_root(middle, end, node))
            end = middle
        else:
            proof.append(range_root(first, middle, node))
            first = middle
    return proof[::-1]


def check_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes, *, start: int = 0) -> None:
    """Raise `ProofError` unless the proof shows that a leaf of this hash is number `index` of the tree with this root."""
    _within(index, start, size, ProofError)
    _whole([leaf, root, *proof])
    steps = []
    first, end = start, size
    while end - first > 1:
        middle = first + cut(end - first)
        steps.append(index < middle)
        first, end = (first, middle) if index < middle else (middle, end)
    if len(proof) != len(steps):
        raise ProofError(f"the proof has {len(proof)} hashes; leaf {index} of {size} needs {len(steps)}")
    found = leaf
    for goes_left, sibling in zip(reversed(steps), proof, strict=True):
        found = node_hash(found, sibling) if goes_left else node_hash(sibling, found)
    _same_root(found, root, "the leaf and the proof")


# ── consistency ──────────────────────────────────────────────────────────────────────────────────


def prove_consistency(old: int, new: int, node: Node, *, start: int | None = None) -> list[bytes]:
    """Prove that the tree of `new` leaves begins with the one of `old` ≥ 1, or holds the subtree [start, old). O(log new)."""
    start = _begin(start, old, new)
    proof: list[bytes] = []
    if old == start:
        return proof
    first, end, known = 0, new, True
    while (start, old) != (first, end):
        middle = first + cut(end - first)
        if old <= middle:
            proof.append(range_root(middle, end, node))
            end = middle
        else:
            proof.append(range_root(first, middle, node))
            if start < middle:  # then the subtree begins here, and goes on beyond the cut
                start, known = middle, False
            first = middle
    if not known:
        proof.append(range_root(first, end, node))
    return proof[::-1]


def check_consistency(
    old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes, *, start: int | None = None
) -> None:
    """Raise `ProofError` unless the proof shows that the tree with the new root begins with the one with the old root.

    With `start` it holds the subtree [start, old). Every tree holds an empty one, whose root must be that of nothing;
    of an empty older tree, without `start`, nothing can be shown.
    """
    start = _begin(start, old, new, ProofError)
    _whole([old_root, new_root, *proof])
    steps: list[tuple[bool, bool]] = []  # (the sibling is to the right, it is a part of the old tree)
    first, end, begin = 0, new, start
    while (begin, old) != (first, end) and old != start:
        middle = first + cut(end - first)
        if old <= middle:
            steps.append((True, False))
            end = middle
        else:
            steps.append((False, begin < middle))
            begin, first = max(begin, middle), middle
    seeded = begin != start
    if len(proof) != len(steps) + seeded:
        raise ProofError(f"the proof has {len(proof)} hashes; {old} of {new} needs {len(steps) + seeded}")
    if old == start:
        _same_root(EMPTY_ROOT, old_root, "an empty tree")
        return
    rest = list(proof)
    before = after = rest.pop(0) if seeded else old_root
    for (to_right, in_old), sibling in zip(reversed(steps), rest, strict=True):
        after = node_hash(after, sibling) if to_right else node_hash(sibling, after)
        if in_old:
            before = node_hash(sibling, before)
    _same_root(before, old_root, "the proof and the older tree")
    _same_root(after, new_root, "the proof and the newer tree")


# ── many leaves at once ──────────────────────────────────────────────────────────────────────────


def prove_batch(indices: Iterable[int], size: int, node: Node) -> list[bytes]:
    """Prove several leaves together: what their proofs share is in it once, and no hash that follows from the leaves.

    The hashes stand in the order in which a walk from the left meets them. O(leaves × log size).
    """
    wanted = sorted(set(indices))
    for index in wanted:
        _within(index, 0, size)
    proof: list[bytes] = []

    def walk(first: int, end: int, inside: list[int]) -> None:
        if not inside:
            proof.append(range_root(first, end, node))
        elif end - first > 1:
            middle = first + cut(end - first)
            walk(first, middle, [index for index in inside if index < middle])
            walk(middle, end, [index for index in inside if index >= middle])

    if wanted:
        walk(0, size, wanted)
    return proof


def check_batch(leaves: Mapping[int, bytes], size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Raise `ProofError` unless the proof shows that all these leaves, hashes by number, are in the tree with this root."""
    if not leaves:
        raise ProofError("no leaf was given; a proof is about one at least")
    for index in leaves:
        _within(index, 0, size, ProofError)
    _whole([root, *leaves.values(), *proof])
    rest = list(reversed(proof))

    def walk(first: int, end: int, inside: list[int]) -> bytes:
        if not inside:
            if not rest:
                raise ProofError(f"the proof has {len(proof)} hashes; these leaves of {size} need more")
            return rest.pop()
        if end - first == 1:
            return leaves[first]
        middle = first + cut(end - first)
        left = walk(first, middle, [index for index in inside if index < middle])
        return node_hash(left, walk(middle, end, [index for index in inside if index >= middle]))

    found = walk(0, size, sorted(leaves))
    if rest:
        raise ProofError(f"the proof has {len(proof)} hashes; these leaves of {size} need {len(proof) - len(rest)}")
    _same_root(found, root, "the leaves and the proof")


# ── what is refused ──────────────────────────────────────────────────────────────────────────────


def _size(name: str, size: int, error: type[MisuseError | ProofError] = MisuseError) -> int:
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < SIZE_END:
        raise error(f"{name} was {size!r}; 0 to {SIZE_END - 1} is allowed")
    return size


def _within(index: int, start: int, end: int, error: type[MisuseError | ProofError] = MisuseError) -> None:
    """Let an index of a valid subtree pass."""
    _subtree(start, end, end, error)
    _size("index", index, error)
    if not start <= index < end:
        raise error(
            f"index was {index}; the tree has {start} to {end - 1}" if start < end else f"index was {index}; the tree is empty"
        )


def _begin(start: int | None, old: int, new: int, error: type[MisuseError | ProofError] = MisuseError) -> int:
    """Give where an older tree or a subtree begins, if it can be a part of the newer one."""
    _subtree(start or 0, old, new, error)
    if start is None and old == 0:
        raise error("the older tree was empty; every tree is an extension of it, and no proof says more")
    return start or 0


def _subtree(start: int, end: int, size: int, error: type[MisuseError | ProofError] = MisuseError) -> None:
    """Let a subtree pass that a tree of `size` leaves can have."""
    for name, number in (("start", start), ("end", end), ("size", size)):
        _size(name, number, error)
    if not start <= end <= size:
        raise error(f"leaves {start} to {end} are no part of a tree of {size}")
    width = end - start
    if width and start % (1 << (width - 1).bit_length()):
        raise error(f"leaves {start} to {end} are no subtree; one of {width} begins at a multiple of a power of two")


def _whole(hashes: Sequence[bytes]) -> None:
    for one in hashes:
        if not isinstance(one, bytes) or len(one) != HASH_BYTES:
            raise ProofError(f"a hash was {one!r}; {HASH_BYTES} bytes are due")


def _same_root(found: bytes, root: bytes, what: str) -> None:
    if found != root:
        raise ProofError(f"{what} give the root {found.hex()}; {root.hex()} was stated")
