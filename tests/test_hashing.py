"""Hashes of batches are what hashlib says, whatever computes them; wrong calls are refused before a byte is written."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from rightsx import _sha256, hashing
from rightsx._jit import COMPILED
from rightsx.errors import DivergenceError, MisuseError
from rightsx.hashing import implementations, leaf_hashes, node_hashes, take_leaves, tree_levels
from rightsx.protocol import EVENT, NOT_A_LEAF

WAYS = implementations()
MOST = 1_100
BATCHES = [0, 1, 1, 2, 3, 0, 5, 64, 1, 100, 255, 256, 257]
compiled = pytest.mark.skipif(not COMPILED, reason="nothing is compiled in this run")

UNCOMPILED = """
import sys

import numpy as np

from rightsx import hashing
from rightsx.protocol import EVENT

records = np.arange(7 * EVENT.itemsize, dtype=np.uint32).astype(np.uint8).view(EVENT)
leaves = hashing.leaf_hashes(records)
levels = hashing.tree_levels(leaves, frontier=np.zeros((64, 32), np.uint8), size=0)
print(hashing.implementations(), "numba" in sys.modules, b"".join(level.tobytes() for level in levels).hex())
"""

# A page between two that nobody may read: whoever reads a byte too far is killed.
FENCED = """
import ctypes
import mmap
import sys

import numpy as np

from rightsx import hashing
from rightsx.protocol import EVENT

page = mmap.PAGESIZE
memory = np.frombuffer(mmap.mmap(-1, 3 * page), np.uint8)
start = memory.ctypes.data
protect = ctypes.CDLL(None, use_errno=True).mprotect
for fence in (start, start + 2 * page):
    assert protect(ctypes.c_void_p(fence), ctypes.c_size_t(page), 0) == 0
room = np.zeros((200, 32), np.uint8)
for count in (1, 2, 17):
    for width, view in ((EVENT.itemsize, lambda raw: raw.view(EVENT)), (32, lambda raw: raw.reshape(-1, 32))):
        for first in (page, 2 * page - count * width):
            rows = view(memory[first : first + count * width])
            for size in (0, 1):
                if width == 32:
                    hashing.tree_levels(rows, room, frontier=np.zeros((64, 32), np.uint8), size=size, using=sys.argv[1])
                else:
                    hashing.leaf_hashes(rows, room[:count], using=sys.argv[1])
                    rows["event_seq"] = np.arange(count)
                    hashing.take_leaves(rows, 0, bytes(32), using=sys.argv[1])
                    events = rows.copy()
                    events["event_seq"][1::2] = -1
                    events["event_seq"][::2] = np.arange((count + 1) // 2)
                    hashing.take_leaves(events, 0, bytes(32), records=rows, using=sys.argv[1])
"""


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def node(left, right):
    return sha256(b"\x01", left, right)


def random_bytes(seed, rows, width):
    print("seed", seed)
    return np.random.default_rng(seed).integers(0, 256, (rows, width), np.uint8)


def random_events(seed, count):
    return random_bytes(seed, count, EVENT.itemsize).view(EVENT)[:, 0]


def rows(hashes):
    return [row.tobytes() for row in hashes]


def zeros(count):
    return np.zeros((count, 32), np.uint8)


@pytest.fixture(scope="module")
def events():
    return random_events(6_962, MOST)


@pytest.fixture(scope="module")
def leaves(events):
    return [sha256(b"\x00", record.tobytes()[2:]) for record in events]


@pytest.fixture(scope="module")
def nodes(leaves):
    return [node(*pair) for pair in zip(leaves[::2], leaves[1::2], strict=True)]


@pytest.fixture
def _afresh():
    """Let what the processor has be asked for again."""
    hashing._found.cache_clear()
    yield
    hashing._found.cache_clear()


def plain_levels(leaves, size, before):
    """Give what `tree_levels` should: from all leaves, level by level, without those that were complete before."""
    levels, level, nodes = [], 0, leaves
    while nodes:
        levels.append(nodes[before >> level : size >> level])
        nodes = [node(*pair) for pair in zip(nodes[::2], nodes[1::2], strict=False)]
        level += 1
    return [made for made in levels if made]


def plain_root(leaves):
    """Give the root of a tree as RFC 6962, 2.1, defines it."""
    if len(leaves) <= 1:
        return leaves[0] if leaves else sha256()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return node(plain_root(leaves[:split]), plain_root(leaves[split:]))


def frontier_root(frontier, size):
    """Fold a frontier into the root."""
    root = None
    for level in range(64):
        if size >> level & 1:
            left = frontier[level].tobytes()
            root = left if root is None else node(left, root)
    return sha256() if root is None else root


# ── the bytes ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("using", WAYS)
def test_leaves_of_every_size_are_those_of_hashlib(using, events, leaves):
    out = zeros(MOST + 1)
    expected = np.frombuffer(b"".join(leaves), np.uint8).reshape(-1, 32)
    for count in range(MOST + 1) if using != "hashlib" else (0, 1, 2, MOST):
        out[:] = 7
        given = leaf_hashes(events[:count], out[:count], using=using)
        assert given.base is out
        assert np.array_equal(given, expected[:count]), count
        assert (out[count:] == 7).all(), f"something was written beyond {count} hashes"


@pytest.mark.parametrize("using", WAYS)
def test_nodes_of_every_size_are_those_of_hashlib(using, leaves, nodes):
    out = zeros(MOST // 2 + 1)
    children = np.frombuffer(b"".join(leaves), np.uint8).reshape(-1, 32)
    expected = np.frombuffer(b"".join(nodes), np.uint8).reshape(-1, 32)
    for count in range(MOST // 2 + 1) if using != "hashlib" else (0, 1, 2, MOST // 2):
        out[:] = 7
        assert np.array_equal(node_hashes(children[: 2 * count], out[:count], using=using), expected[:count]), count
        assert (out[count:] == 7).all(), f"something was written beyond {count} hashes"


@pytest.mark.parametrize("using", WAYS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_batches_grow_the_tree_of_the_definition(using, seed):
    rng = np.random.default_rng(seed)
    events = random_events(seed, sum(BATCHES))
    every = [sha256(b"\x00", record.tobytes()[2:]) for record in events]
    frontier, size = rng.integers(0, 256, (64, 32), np.uint8), 0
    for count in rng.permutation(BATCHES).tolist():
        leaves = leaf_hashes(events[size : size + count], using=using)
        out = zeros(count + 62) if seed == 1 else None
        levels = tree_levels(leaves, out, frontier=frontier, size=size, using=using)
        assert levels[0] is leaves
        assert [rows(level) for level in levels if len(level)] == plain_levels(every[: size + count], size + count, size)
        assert all(len(level) for level in levels[1:])
        size += count
        assert frontier_root(frontier, size) == plain_root(every[:size])


@pytest.mark.parametrize("using", WAYS)
def test_the_top_of_the_largest_tree_is_reached(using):
    frontier, leaves = random_bytes(4, 64, 32), random_bytes(5, 1, 32)
    size = 2**62 - 1
    expected = [leaves[0].tobytes()]
    for left in rows(frontier)[:62]:
        expected.append(node(left, expected[-1]))
    before = rows(frontier)
    levels = tree_levels(leaves, zeros(62), frontier=frontier, size=size, using=using)
    assert [level.tobytes() for level in levels] == expected
    assert rows(frontier) == [*before[:62], expected[62], before[63]]


@pytest.mark.parametrize("using", WAYS)
def test_the_tree_of_eight_known_leaves_has_its_known_nodes_and_roots(using, venue_file):
    known = json.loads(venue_file("vectors/rfc6962-roots/leaves8.json").read_text())
    every = [sha256(b"\x00", bytes.fromhex(text)) for text in known["leaf_inputs_hex"]]
    roots = [bytes.fromhex(text) for text in known["root_hashes_hex_by_size"]]
    levels = [[bytes.fromhex(text) for text in level] for level in known["node_hashes_hex"]]
    leaves = np.frombuffer(b"".join(every), np.uint8).reshape(8, 32)
    assert [rows(level) for level in tree_levels(leaves, frontier=zeros(64), size=0, using=using)] == levels
    frontier = zeros(64)
    for size in range(8):
        assert frontier_root(frontier, size) == roots[size]
        tree_levels(leaves[size : size + 1], frontier=frontier, size=size, using=using)
    assert frontier_root(frontier, 8) == roots[8]


def numbered(first, count, *, refused=()):
    """Events of random content that go on from a number; those in `refused` rows are no leaves."""
    events = random_bytes(first % 1_000 + 7 * count, count, EVENT.itemsize).view(EVENT).reshape(-1)
    leaves = np.isin(np.arange(count), refused, invert=True)
    events["event_seq"] = np.where(leaves, first + np.cumsum(leaves) - 1, NOT_A_LEAF)
    return events


@pytest.mark.parametrize("using", WAYS)
@pytest.mark.parametrize("secret", [None, bytes(range(7, 39))])
@pytest.mark.parametrize(
    ("first", "count", "refused"),
    [(0, 0, ()), (0, 1, ()), (0, 1, (0,)), (5, 2, (1,)), (2**40 - 3, 37, range(0, 37, 3)), (2**61, 300, range(100, 230))],
)
def test_leaves_are_taken_with_salts_and_hashes_of_hashlib(using, secret, first, count, refused):
    events = numbered(first, count, refused=refused)
    before = events.tobytes()
    records, hashes = take_leaves(events, first, secret, using=using)
    assert events.tobytes() == before
    due = []
    for event in events[events["event_seq"] != NOT_A_LEAF]:
        number = int(event["event_seq"]).to_bytes(8, "little")
        salt = event["salt"].tobytes() if secret is None else hashlib.sha256(secret + number).digest()[:16]
        due.append(event.tobytes()[:104] + salt)
    assert [record.tobytes() for record in records] == due
    assert rows(hashes) == [sha256(b"\x00", record[2:]) for record in due]


@pytest.mark.parametrize("using", WAYS)
@pytest.mark.parametrize("wrong", [0, 1, 200, 299])
def test_an_event_out_of_order_is_named_and_what_was_due(using, wrong):
    events = numbered(40, 300)
    events["event_seq"][wrong] += 1
    with pytest.raises(DivergenceError, match=f"event {41 + wrong} came where {40 + wrong} was due"):
        take_leaves(events, 40, using=using)


@pytest.mark.parametrize(
    ("size", "given"),
    [
        (0, {"secret": b"short"}),
        (0, {"secret": "a" * 32}),
        (-1, {}),
        (1.0, {}),
        (2**62, {}),
        (0, {"records": np.zeros(2, EVENT)}),
        (0, {"records": np.zeros((3, 120), np.uint8)}),
        (0, {"hashes": np.zeros((2, 32), np.uint8)}),
        (0, {"using": "luck"}),
    ],
)
def test_what_leaves_cannot_be_taken_with_is_misuse(size, given):
    with pytest.raises(MisuseError):
        take_leaves(numbered(0, 3), size, **given)


def test_leaves_are_not_taken_to_where_they_are_read():
    events = numbered(0, 3)
    with pytest.raises(MisuseError):
        take_leaves(events, 0, records=events)


@pytest.mark.parametrize("using", WAYS)
def test_records_and_hashes_may_begin_anywhere(using):
    raw, out = random_bytes(8, 1, 9 * EVENT.itemsize + 1)[0], np.zeros(9 * 32 + 1, np.uint8)
    given = leaf_hashes(raw[1:].view(EVENT), out[1:].reshape(9, 32), using=using)
    assert rows(given) == [sha256(b"\x00", record.tobytes()[2:]) for record in raw[1:].view(EVENT)]
    assert out[0] == 0


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="pages are fenced off by mprotect")
@pytest.mark.parametrize("using", WAYS)
def test_nothing_is_read_beside_records_and_hashes(using):
    done = subprocess.run([sys.executable, "-c", FENCED, using], check=False)
    assert done.returncode == 0, "it was ended at a fence"


def test_the_length_before_a_leaf_is_no_part_of_it(events):
    changed = events[:20].copy()
    changed["length"] += 1
    assert np.array_equal(leaf_hashes(changed), leaf_hashes(events[:20]))
    changed["version"] += 1
    assert not (leaf_hashes(changed) == leaf_hashes(events[:20])).all(axis=1).any()


@compiled
@pytest.mark.parametrize("lanes", [4, 16])
def test_vectors_of_any_width_give_the_same_hashes(lanes, events, leaves, nodes):
    run = _sha256.hasher(f"hash_by_{lanes}", _sha256.vector_hashes, lanes)
    for count in (1, 2, 15, 16, 17, 100):
        out = zeros(count)
        run(0, 0, 0, events.ctypes.data, count, out.ctypes.data, 0)
        assert rows(out) == leaves[:count]
    made = zeros(50)
    run(1, 0, 0, out.ctypes.data, 100, made.ctypes.data, 0)
    assert rows(made) == nodes[:50]


# ── which ways there are ─────────────────────────────────────────────────────────────────────────


@compiled
@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ((), ["vector", "hashlib"]),
        (("avx2",), ["vector", "hashlib"]),
        (("avx2", "sha"), ["sha-ni", "vector", "hashlib"]),
        (("avx2", "avx512f", "sha"), ["vector", "sha-ni", "hashlib"]),
    ],
)
@pytest.mark.usefixtures("_afresh")
def test_only_what_the_processor_has_is_offered(monkeypatch, features, expected):
    monkeypatch.setattr(_sha256, "features", lambda: frozenset(features))
    monkeypatch.setattr(_sha256, "hasher", lambda *_: pytest.fail("nothing is compiled for a wrong call"))
    assert implementations() == expected
    if "sha" not in features:
        with pytest.raises(MisuseError, match="using was 'sha-ni'; there are vector, hashlib here"):
            leaf_hashes(np.zeros(1, EVENT), using="sha-ni")


@compiled
def test_a_vector_is_as_wide_as_the_processor_has_it():
    there = [frozenset(), frozenset({"avx2"}), frozenset({"avx2", "avx512f"})]
    assert [_sha256.lanes_of(features) for features in there] == [4, 8, 16]


@compiled
@pytest.mark.parametrize("narrowed", [{"NUMBA_CPU_NAME": "generic"}, {"NUMBA_CPU_FEATURES": "+sse2,-sha"}])
def test_what_numba_may_not_use_is_not_offered(narrowed):
    code = "from rightsx import _sha256; print(_sha256.offered(), _sha256.lanes_of(_sha256.features()))"
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, env={**os.environ, **narrowed}, capture_output=True, text=True, check=True)
    assert done.stdout == "['vector'] 4\n"


def test_an_uncompiled_run_has_hashlib_alone_and_gives_the_same_bytes():
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-c", UNCOMPILED], env=environment, capture_output=True, text=True, check=True)
    records = np.arange(7 * EVENT.itemsize, dtype=np.uint32).astype(np.uint8).view(EVENT)
    levels = tree_levels(leaf_hashes(records), frontier=zeros(64), size=0)
    assert done.stdout == f"['hashlib'] False {b''.join(level.tobytes() for level in levels).hex()}\n"


def test_hashing_by_hashlib_loads_no_numba():
    code = "import sys\nimport numpy as np\nfrom rightsx import hashing\nhashing.node_hashes(np.zeros((2, 32), np.uint8), using='hashlib')\nprint('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# ── wrong calls ──────────────────────────────────────────────────────────────────────────────────

READ_ONLY = zeros(2)
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    ("records", "out", "message"),
    [
        ([1, 2], None, r"records was a list; a NumPy array EVENT\[n\] is due"),
        (np.zeros(240, np.uint8), None, r"records was uint8\[240\]; EVENT\[n\] is due"),
        (np.zeros((1, 2), EVENT), None, r"records was EVENT\[1, 2\]; EVENT\[n\] is due"),
        (np.zeros(4, EVENT)[::2], None, "rows of records did not lie one after the other"),
        (np.zeros(2, EVENT), [0], r"out was a list; a NumPy array uint8\[2, 32\] is due"),
        (np.zeros(2, EVENT), zeros(3), r"out was uint8\[3, 32\]; uint8\[2, 32\] is due"),
        (np.zeros(2, EVENT), np.zeros((2, 32), np.int8), r"out was int8\[2, 32\]; uint8\[2, 32\] is due"),
        (np.zeros(2, EVENT), np.zeros((2, 64), np.uint8)[:, ::2], "rows of out did not lie one after the other"),
        (np.zeros(2, EVENT), READ_ONLY, "out was read-only"),
    ],
)
def test_a_wrong_batch_of_leaves_is_misuse(records, out, message):
    with pytest.raises(MisuseError, match=message):
        leaf_hashes(records, out)


@pytest.mark.parametrize(
    ("children", "message"),
    [
        (zeros(3), "there were 3 children; pairs are due"),
        (np.zeros((2, 31), np.uint8), r"children was uint8\[2, 31\]; uint8\[n, 32\] is due"),
        (np.zeros(64, np.uint8), r"children was uint8\[64\]; uint8\[n, 32\] is due"),
        (np.zeros((2, 32), np.int64), r"children was int64\[2, 32\]"),
        (zeros(4)[::2], "rows of children did not lie"),
    ],
)
def test_a_wrong_batch_of_children_is_misuse(children, message):
    with pytest.raises(MisuseError, match=message):
        node_hashes(children)


@pytest.mark.parametrize("size", [-1, 2**62 - 2, True, 1.0, np.int64(1)])
def test_a_size_that_no_tree_has_is_misuse(size):
    with pytest.raises(MisuseError, match="an integer from 0 to 4611686018427387901 is due"):
        tree_levels(zeros(3), frontier=zeros(64), size=size)


@pytest.mark.parametrize(
    ("out", "frontier", "message"),
    [
        (None, zeros(63), r"frontier was uint8\[63, 32\]; uint8\[64, 32\] is due"),
        (None, None, r"frontier was a NoneType; a NumPy array uint8\[64, 32\] is due"),
        (zeros(2), zeros(64), "out had 2 rows; 3 are due"),
        (zeros(5)[::2], zeros(64), "rows of out did not lie"),
    ],
)
def test_a_wrong_frontier_or_too_little_room_is_misuse(out, frontier, message):
    with pytest.raises(MisuseError, match=message):
        tree_levels(zeros(3), out, frontier=frontier, size=1)


def test_hashes_are_never_written_over_what_is_read():
    memory = zeros(70)
    calls = [
        lambda: node_hashes(memory[:4], memory[3:5]),
        lambda: leaf_hashes(memory.ravel()[:240].view(EVENT), memory[7:9]),
        lambda: tree_levels(memory[:3], memory[2:5], frontier=zeros(64), size=0),
        lambda: tree_levels(zeros(3), memory[:5], frontier=memory[4:68], size=0),
        lambda: tree_levels(memory[:3], frontier=memory[2:66], size=0),
    ]
    for call in calls:
        with pytest.raises(MisuseError, match="overlapped what is read"):
            call()
    assert not memory.any()


@pytest.mark.parametrize("using", ["md5", "", 1, []])
def test_an_unknown_way_to_hash_is_misuse(using):
    out = zeros(1)
    with pytest.raises(MisuseError, match="using was "):
        node_hashes(zeros(2), out, using=using)
    assert not out.any()
