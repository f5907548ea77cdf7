"""Proves what one key holds in a map, or that it holds nothing, and what all hold together; hashlib is all that checks need.

    SumMap                 14 ·bit 0·                     an entry    SHA-256(hash ‖ word), 40 bytes together
                    ┌────────┴────────┐                   its word    sum + tag × 2^48, 8 bytes little-endian
    key 0…        9 ·bit 2·        key 1…   5             a leaf      hash is its key, tag is 0
              ┌─────┴─────┐                               a node      hash is SHA-256(1 ‖ left entry ‖ right entry),
    key 000…  4        key 001…   5                                   its tag is 1 + the bit at which its keys part

Keys are hashes, so whoever knows a key knows the one way down to it: at each node to the side of that bit of the key. The
leaf at the end is the key's own, and says what it holds, or another's, and then the key is not in the map. That needs no
trust in how the map was built: two leaves for one key cannot both lie at the end of its way.

The total cannot be talked down, either: each entry on the way binds its own sum, so a node binds the sums of both its
children, not only theirs together (with which a large child can be shown as small beside one, as large beside another).
Sums are from 1 to 2^48 − 1 and their additions are checked, so none is negative and none comes round.

A proof shows sums of the other sides of the way, and of the leaf it ends at; whose they are, it does not show, as long as
nobody can make keys by guessing. Cost: log2 n steps and a half, of 41 bytes each.

Sources: the liabilities tree of G. Maxwell with both sums hashed (Chalkias and others, "Broken proofs of solvency", 2022);
trees whose nodes are where keys part: D. J. Bernstein, "crit-bit trees".
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

from rightsx.errors import ProofError
from rightsx.merkle import HASH_BYTES, node_hash

if TYPE_CHECKING:
    from collections.abc import Sequence

KEY_BITS: Final = 8 * HASH_BYTES
SUM_BITS: Final = 48
SUM_END: Final = 2**SUM_BITS
STEP_BYTES: Final = 1 + HASH_BYTES + 8


def entry_hash(inner: bytes, word: int) -> bytes:
    """Hash an entry of a map: what it is of, and its word."""
    return hashlib.sha256(inner + word.to_bytes(8, "little")).digest()


EMPTY_MAP: Final = entry_hash(bytes(HASH_BYTES), 0)  # the entry of a map without a key


class Step(NamedTuple):
    """A node on the way: the bit at which its keys part, and the entry on the other side."""

    bit: int
    inner: bytes
    word: int


class SumProof(NamedTuple):
    """The leaf at the end of a key's way, and the way to it, from the root; an empty map has neither."""

    key: bytes = b""
    units: int = 0
    way: tuple[Step, ...] = ()

    def __bytes__(self) -> bytes:
        """Write it: the key, its units, and 41 bytes a step."""
        steps = (bytes([step.bit]) + step.inner + step.word.to_bytes(8, "little") for step in self.way)
        return self.key + self.units.to_bytes(8, "little") + b"".join(steps) if self.key else b""


def parse_sum_proof(data: bytes) -> SumProof:
    """Read a proof; `ProofError` unless its length can be one's. Nothing is checked yet (`check_sum`)."""
    if not data:
        return SumProof()
    head = HASH_BYTES + 8
    if len(data) < head or (len(data) - head) % STEP_BYTES:
        raise ProofError(f"a proof of a holding has {head} bytes and {STEP_BYTES} a step; there were {len(data)}")
    way = []
    for start in range(head, len(data), STEP_BYTES):
        inner = data[start + 1 : start + 1 + HASH_BYTES]
        way.append(Step(data[start], inner, int.from_bytes(data[start + 1 + HASH_BYTES : start + STEP_BYTES], "little")))
    return SumProof(data[:HASH_BYTES], int.from_bytes(data[HASH_BYTES:head], "little"), tuple(way))


def side(key: bytes, bit: int) -> int:
    """Say on which side of a bit a key is: 0 or 1, from the first bit of its first byte.

    >>> side(bytes([0x40]), 0), side(bytes([0x40]), 1)
    (0, 1)
    """
    return key[bit >> 3] >> (7 - (bit & 7)) & 1


def check_sum(proof: SumProof, key: bytes, total: int, root: bytes) -> int:
    """Give what the key holds in the map whose entry is `root` and whose total is `total`: 0 if it is not there.

    `ProofError` unless the proof shows it.
    """
    if not proof.key:
        if total or root != EMPTY_MAP:
            raise ProofError("the proof is of an empty map; this one has entries")
        return 0
    if len(key) != HASH_BYTES or len(proof.key) != HASH_BYTES:
        raise ProofError(f"a key has {HASH_BYTES} bytes")
    inner, word = proof.key, _sum(proof.units)
    below = KEY_BITS
    for step in reversed(proof.way):
        if not 0 <= step.bit < below:
            raise ProofError(f"the proof parts at bit {step.bit} above bit {below}; bits grow on the way down")
        if side(proof.key, step.bit) != side(key, step.bit):
            raise ProofError(f"the proof leaves the key's way at bit {step.bit}")
        inner, word = _parent(step, inner, word, side(key, step.bit))
        below = step.bit
    if word % SUM_END != total:
        raise ProofError(f"the entries of the proof hold {word % SUM_END} together; {total} are stated")
    if entry_hash(inner, word) != root:
        raise ProofError("the proof gives another root than is stated")
    return proof.units if proof.key == key else 0


def _parent(step: Step, inner: bytes, word: int, at: int) -> tuple[bytes, int]:
    """Fold an entry with the one beside it."""
    tag, beside = divmod(step.word, SUM_END)
    if tag and not step.bit + 1 < tag <= KEY_BITS:
        raise ProofError(f"an entry below bit {step.bit} says that its keys part at bit {tag - 1}")
    if len(step.inner) != HASH_BYTES:
        raise ProofError(f"an entry of the proof has {len(step.inner)} bytes; {HASH_BYTES} are due")
    both = _sum(word % SUM_END + _sum(beside))
    pair: Sequence[bytes] = (entry_hash(inner, word), entry_hash(step.inner, step.word))
    return node_hash(pair[at], pair[1 - at]), both + (step.bit + 1) * SUM_END


def _sum(units: int) -> int:
    """Let a sum pass that some holding can have."""
    if not 0 < units < SUM_END:
        raise ProofError(f"an entry of the proof holds {units}; 1 to {SUM_END - 1} can be")
    return units
