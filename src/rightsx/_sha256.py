"""Emits SHA-256 for whole batches: two messages at a time by the processor's own instructions, or many as vectors.

    an EVENT, or two hashes ── layout ──► two blocks of 16 words, four to a vector ── "sha-ni" or "vector" ──► the hash

    "sha-ni"   two messages in turn: each round needs the one before it, so one message alone waits half of the time
    "vector"   4, 8 or 16 messages, as wide as the processor's vectors are: lane i of every vector is message i

Both messages of a tree (RFC 6962, 2.1) fill two blocks: a leaf is 0x00 and bytes 2 … 120 of an EVENT, a node is 0x01 and
two hashes; the seed of a salt and a row of a state, 40 bytes each, fill one. So nothing loops over a message: a *layout* says
where each of its bytes comes from, padding included, and four words are one shuffle of what lies in memory with what is
constant.

Code with SHA-NI aborts the process where the processor has none, and so does the compiler where it may not use it. So
`features` asks both before anything is emitted, and `offered` names what may be. Where a batch does not come out even,
its last message is hashed once more: the same hash goes to the same place.

Cost: 40 ns a hash by SHA-NI, 90 in eight lanes (Zen 3). Sources: FIPS 180-4; Intel, "SHA Extensions" (2013). Why not plain
kernels: numba has no name for those instructions, and a loop over lanes left to LLVM's vectoriser is several times slower.
"""

from __future__ import annotations

from functools import cache
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

from rightsx._jit import COMPILED, entry
from rightsx.protocol import EVENT, NOT_A_LEAF

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

if not TYPE_CHECKING and COMPILED:
    from llvmlite import binding, ir
    from numba import types
    from numba.core import cgutils
    from numba.core.registry import cpu_target
    from numba.extending import intrinsic
else:  # what a type checker reads, too
    binding: Any = None
    ir: Any = None
    types: Any = None
    cgutils: Any = None
    cpu_target: Any = None

# ── what may be emitted ──────────────────────────────────────────────────────────────────────────


@cache
def features() -> frozenset[str]:
    """Name what this processor has and numba's compiler may use: NUMBA_CPU_NAME and NUMBA_CPU_FEATURES narrow it."""
    _, _, chosen = cpu_target.target_context.codegen().magic_tuple()
    allowed = {name[1:] for name in chosen.split(",") if name.startswith("+")}
    try:
        return frozenset(name for name, there in binding.get_host_cpu_features().items() if there and name in allowed)
    except RuntimeError:  # LLVM does not know this kind of processor
        return frozenset()


def offered() -> list[str]:
    """Name the ways to hash that may be emitted here, the fastest first; none in an uncompiled run.

    Sixteen lanes are faster than the processor's own instructions, eight are slower.
    """
    if not COMPILED:
        return []
    there = features()
    own = ["sha-ni"] if "sha" in there else []
    return ["vector", *own] if "avx512f" in there else [*own, "vector"]


def lanes_of(there: frozenset[str]) -> int:
    """Say how many 32-bit words a vector of the widest kind has."""
    return 16 if "avx512f" in there else 8 if "avx2" in there else 4


# ── constants ────────────────────────────────────────────────────────────────────────────────────


def _fraction(prime: int, power: int) -> int:
    """Give the first 32 bits behind the point of a root of a small prime: 2 its square root, 3 its cube root."""
    root = 0
    for bit in range(36, -1, -1):
        if (root | 1 << bit) ** power <= prime << 32 * power:
            root |= 1 << bit
    return root & 0xFFFF_FFFF


_PRIMES: Final = [number for number in range(2, 312) if all(number % divisor for divisor in range(2, number))]
K: Final = [_fraction(prime, 3) for prime in _PRIMES]  # FIPS 180-4, 4.2.2
START: Final = [_fraction(prime, 2) for prime in _PRIMES[:8]]  # FIPS 180-4, 5.3.3
assert (len(K), K[0], K[63], START[0]) == (64, 0x428A2F98, 0xC67178F2, 0x6A09E667)

# ── layouts: where a message's bytes come from ───────────────────────────────────────────────────

CONSTANT, LEFT, RIGHT = 0, 1, 2  # a byte of the padding, of the record or left child, of the right child
HASH_BYTES: Final = 32
EVENT_BYTES: Final = EVENT.itemsize
Byte = tuple[int, int]  # one of these three, and the value or the offset
Layout = list[Byte]


def _padded(message: Layout, blocks: int = 2) -> Layout:
    """Pad a message to whole blocks (FIPS 180-4, 5.1.1)."""
    zeros = 64 * blocks - 8 - 1 - len(message)
    assert zeros >= 0
    length = (8 * len(message)).to_bytes(8, "big")
    return [*message, (CONSTANT, 0x80), *[(CONSTANT, 0)] * zeros, *[(CONSTANT, value) for value in length]]


LEAF: Final = _padded([(CONSTANT, 0x00), *[(LEFT, offset) for offset in range(2, EVENT.itemsize)]])
NODE: Final = _padded([(CONSTANT, 0x01), *[(side, offset) for side in (LEFT, RIGHT) for offset in range(HASH_BYTES)]])
ROW_BYTES: Final = 40
ROW: Final = _padded([(LEFT, offset) for offset in range(ROW_BYTES)], 1)
assert EVENT.fields is not None
SEQ_AT: Final = EVENT.fields["event_seq"][1]
SALT_AT: Final = EVENT.fields["salt"][1]
SALT_BYTES: Final = 16
# What an event's salt is made of: the secret on the left, the number in the event on the right.
SEED: Final = _padded([*[(LEFT, at) for at in range(HASH_BYTES)], *[(RIGHT, SEQ_AT + at) for at in range(8)]], 1)

# ── vectors ──────────────────────────────────────────────────────────────────────────────────────

if not TYPE_CHECKING and COMPILED:
    _I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
    _BYTES, _GROUP = ir.VectorType(_I8, 16), ir.VectorType(_I32, 4)
else:
    _I8 = _I32 = _I64 = _BYTES = _GROUP = ir


def _constant(values: Sequence[int], of: Any = None) -> Any:
    """Make a constant vector, of words unless said otherwise."""
    return ir.Constant(ir.VectorType(of or _I32, len(values)), list(values))


def _shuffle(builder: Any, first: Any, second: Any, order: Sequence[int]) -> Any:
    """Take elements of two vectors; those of the second are counted on from the first's."""
    return builder.shuffle_vector(first, second, _constant(order))


def _call(builder: Any, name: str, arguments: Sequence[Any]) -> Any:
    """Call an intrinsic of LLVM that takes and gives vectors of one type."""
    kind = arguments[0].type
    function = builder.module.globals.get(name)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(kind, [kind] * len(arguments)), name)
    return builder.call(function, arguments)


def _at(builder: Any, pointer: Any, index: int) -> Any:
    """Point to an element."""
    return builder.gep(pointer, [ir.Constant(_I64, index)])


def _group(builder: Any, picture: Layout, sources: dict[int, tuple[Any, int]]) -> Any:
    """Load sixteen bytes of a message as four big-endian words; `sources` has addresses and their numbers of bytes.

    They come from two of: sixteen bytes of the left, sixteen of the right, constants. No byte outside a source is read.
    """
    vectors: list[Any] = []
    place: dict[Byte, int] = {}
    for source, (pointer, length) in sources.items():
        offsets = [offset for where, offset in picture if where == source]
        if offsets:
            start = min(offsets[0], length - 16)
            place |= {(source, offset): 16 * len(vectors) + offset - start for offset in offsets}
            vectors.append(builder.load(builder.bitcast(_at(builder, pointer, start), _BYTES.as_pointer()), align=1))
    values = sorted({value for where, value in picture if where == CONSTANT})
    if values:
        place |= {(CONSTANT, value): 16 * len(vectors) + at for at, value in enumerate(values)}
        vectors.append(_constant(values + [0] * (16 - len(values)), _I8))
    first, second = vectors if len(vectors) == 2 else (*vectors, *vectors)  # noqa: PLR2004 - a shuffle takes two
    return builder.bitcast(_shuffle(builder, first, second, [place[picture[at ^ 3]] for at in range(16)]), _GROUP)


def _groups(builder: Any, layout: Layout, block: int, sources: dict[int, tuple[Any, int]]) -> list[Any]:
    """Load one of a message's blocks, as four groups of four words."""
    return [_group(builder, layout[start : start + 16], sources) for start in range(64 * block, 64 * block + 64, 16)]


# ── two messages by the processor's own instructions ─────────────────────────────────────────────


def sha_ni_hashes(builder: Any, layout: Layout, messages: Sequence[dict[int, tuple[Any, int]]]) -> list[tuple[Any, Any]]:
    """Hash messages by SHA-NI; gives two groups of four words for each. The instructions keep a state as FEBA, HGDC."""
    a, b, c, d, e, f, g, h = START
    states = [(_constant([f, e, b, a]), _constant([h, g, d, c])) for _ in messages]
    for block in range(len(layout) // 64):
        words = [_groups(builder, layout, block, sources) for sources in messages]
        states = _sha_ni_block(builder, states, words)
    orders = [3, 2, 7, 6], [1, 0, 5, 4]
    return [(_shuffle(builder, *state, orders[0]), _shuffle(builder, *state, orders[1])) for state in states]


def _sha_ni_block(builder: Any, states: list[tuple[Any, Any]], words: list[list[Any]]) -> list[tuple[Any, Any]]:
    """Compress a block of each message, four rounds of one after four of the other. `words` grow to the whole schedule."""
    now = list(states)
    for group in range(16):
        for message, known in enumerate(words):
            if group >= 4:  # noqa: PLR2004 - the groups of a block
                partly = _call(builder, "llvm.x86.sha256msg1", known[-4:-2])
                partly = builder.add(partly, _shuffle(builder, known[-2], known[-1], [1, 2, 3, 4]))
                known.append(_call(builder, "llvm.x86.sha256msg2", [partly, known[-1]]))
            added = builder.add(known[group], _constant(K[4 * group : 4 * group + 4]))
            feba, hgdc = now[message]
            # Two rounds turn the older half of a state into the newer one.
            newer = _call(builder, "llvm.x86.sha256rnds2", [hgdc, feba, added])
            added = _shuffle(builder, added, added, [2, 3, 2, 3])
            now[message] = _call(builder, "llvm.x86.sha256rnds2", [feba, newer, added]), newer
    return [(builder.add(a, b), builder.add(c, d)) for (a, c), (b, d) in zip(states, now, strict=True)]


# ── many messages, one in each lane ──────────────────────────────────────────────────────────────


def vector_hashes(builder: Any, layout: Layout, messages: Sequence[dict[int, tuple[Any, int]]]) -> list[tuple[Any, Any]]:
    """Hash as many messages as a vector has lanes; gives two groups of four words for each."""
    lanes = len(messages)
    vector = ir.VectorType(_I32, lanes)
    state, block_words = cgutils.alloca_once(builder, vector, 8), cgutils.alloca_once(builder, vector, 16)
    for index, word in enumerate(START):
        builder.store(_constant([word] * lanes), _at(builder, state, index))
    for block in range(len(layout) // 64):
        groups = [_groups(builder, layout, block, sources) for sources in messages]
        for group in range(4):
            rows = [_joined(builder, [groups[lane][group] for lane in range(row, lanes, 4)]) for row in range(4)]
            for index, word in enumerate(_transposed(builder, rows)):
                builder.store(word, _at(builder, block_words, 4 * group + index))
        builder.call(_compressor(builder.module, vector), [state, block_words])
    halves = []
    for half in (0, 4):
        rows = _transposed(builder, [builder.load(_at(builder, state, half + index)) for index in range(4)])
        halves.append([_shuffle(builder, rows[lane % 4], rows[lane % 4], _chunk(lane)) for lane in range(lanes)])
    return list(zip(*halves, strict=True))


def _chunk(lane: int) -> range:
    """Give the places of a lane's four words after `_transposed`."""
    return range(lane // 4 * 4, lane // 4 * 4 + 4)


def _joined(builder: Any, parts: list[Any]) -> Any:
    """Put vectors one behind the other: 1, 2 or 4 of them."""
    while len(parts) > 1:
        count = parts[0].type.count
        parts = [_shuffle(builder, *pair, range(2 * count)) for pair in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """Transpose every 4 × 4 words of four vectors: twice is not at all. Lane i stands in row i % 4, in its i // 4th four."""
    count = rows[0].type.count

    def mixed(first: Any, second: Any, order: Sequence[int]) -> Any:
        """Take these four of the eight elements of each two fours."""
        return _shuffle(builder, first, second, [at % 4 + four + at // 4 * count for four in range(0, count, 4) for at in order])

    a, b, c, d = rows
    low, high = [0, 4, 1, 5], [2, 6, 3, 7]
    left, right = (mixed(a, b, low), mixed(c, d, low)), (mixed(a, b, high), mixed(c, d, high))
    return [mixed(*pair, order) for pair in (left, right) for order in ([0, 1, 4, 5], [2, 3, 6, 7])]


def _compressor(module: Any, vector: Any) -> Any:
    """Give the function that compresses a block: it takes the addresses of 8 vectors of state and of 16 of words."""
    name = f"rightsx_compress_{vector.count}"
    function = module.globals.get(name)
    if function is None:
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), [vector.as_pointer()] * 2), name)
        function.linkage = "internal"
        function.attributes.add("noinline")  # one copy of 3,000 instructions, not four
        builder = ir.IRBuilder(function.append_basic_block())
        state, words = (
            [builder.load(_at(builder, at, index)) for index in range(n)] for at, n in zip(function.args, (8, 16), strict=True)
        )
        for index, word in enumerate(_vector_block(builder, state, words)):
            builder.store(word, _at(builder, function.args[0], index))
        builder.ret_void()
    return function


def _vector_block(builder: Any, state: list[Any], words: list[Any]) -> list[Any]:
    """Compress a block of each lane (FIPS 180-4, 6.2.2)."""
    count = state[0].type.count

    def splat(word: int) -> Any:
        return _constant([word] * count)

    def sigma(word: Any, *turns: int, shift: int = 0) -> Any:
        """Add without carry a word as it is rotated to the right by some turns, and as it is shifted."""
        parts = [_call(builder, f"llvm.fshr.v{count}i32", [word, word, splat(turn)]) for turn in turns]
        first, second, third = [*parts, builder.lshr(word, splat(shift))] if shift else parts
        return builder.xor(builder.xor(first, second), third)

    a, b, c, d, e, f, g, h = state
    b_or_c = builder.xor(b, c)
    for t in range(64):
        if t >= 16:  # noqa: PLR2004 - the words of a block
            near = builder.add(sigma(words[t - 2], 17, 19, shift=10), words[t - 7])
            words.append(builder.add(near, builder.add(sigma(words[t - 15], 7, 18, shift=3), words[t - 16])))
        chosen = builder.xor(g, builder.and_(e, builder.xor(f, g)))
        mixed = builder.add(builder.add(h, builder.add(words[t], splat(K[t]))), builder.add(chosen, sigma(e, 6, 11, 25)))
        # The majority of a, b, c is b unless b differs from both; what a ^ b is now, b ^ c is in the next round.
        a_or_b = builder.xor(a, b)
        majority = builder.xor(b, builder.and_(a_or_b, b_or_c))
        b_or_c = a_or_b
        newest = builder.add(mixed, builder.add(sigma(a, 2, 13, 22), majority))
        a, b, c, d, e, f, g, h = newest, a, b, c, builder.add(d, mixed), e, f, g
    return [builder.add(before, after) for before, after in zip(state, (a, b, c, d, e, f, g, h), strict=True)]


# ── ranges of leaves and of nodes ────────────────────────────────────────────────────────────────


def _emit_range(builder: Any, way: tuple[Callable[..., Any], int], layout: Layout, addresses: Sequence[Any]) -> None:
    """Hash `count` messages from address `source` on, write the hashes to `target`.

    Of nodes, the left child of the first stands at `head`, unlike all others; of seeds the secret stands there. A message
    beyond the last is the last.
    """
    head, source, count, target = addresses
    hashes, width = way
    zero, last = ir.Constant(_I64, 0), builder.sub(count, ir.Constant(_I64, 1))
    stride = 2 * HASH_BYTES if layout is NODE else ROW_BYTES if layout is ROW else EVENT.itemsize
    with cgutils.for_range_slice(builder, zero, count, ir.Constant(_I64, width), _I64) as (first, _):
        messages, places = [], []
        for lane in range(width):
            at = builder.add(first, ir.Constant(_I64, lane))
            at = builder.select(builder.icmp_signed("<", at, last), at, last)
            here = builder.add(source, builder.mul(at, ir.Constant(_I64, stride)))
            sources = {LEFT: (here, stride)}
            if layout is NODE:
                left = builder.select(builder.icmp_signed("==", at, zero), head, here)
                sources = {LEFT: (left, HASH_BYTES), RIGHT: (builder.add(here, ir.Constant(_I64, HASH_BYTES)), HASH_BYTES)}
            elif layout is SEED:
                sources = {LEFT: (head, HASH_BYTES), RIGHT: (here, stride)}
            messages.append(
                {side: (builder.inttoptr(address, _I8.as_pointer()), length) for side, (address, length) in sources.items()}
            )
            place = builder.add(target, builder.mul(at, ir.Constant(_I64, HASH_BYTES)))
            places.append(builder.inttoptr(place, _GROUP.as_pointer()))
        for place, halves in zip(places, hashes(builder, layout, messages), strict=True):
            for index, half in enumerate(halves):
                builder.store(_call(builder, "llvm.bswap.v4i32", [half]), _at(builder, place, index), align=1)


if not TYPE_CHECKING and COMPILED:

    def _ranges(hashes: Callable[..., Any], width: int, layout: Layout) -> Any:
        """Make what a kernel hashes many messages with, `width` at a time, as `_emit_range` does."""

        @intrinsic
        def hash_range(_typing: Any, _head: Any, _source: Any, _count: Any, _target: Any) -> Any:
            def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
                _emit_range(builder, (hashes, width), layout, args)
                return context.get_dummy_value()

            return types.none(*[types.int64] * 4), codegen

        return hash_range

    def _copier(words: int) -> Any:
        """Make what a kernel copies so many words of 64 bits with, from one address to another."""

        @intrinsic
        def copy(_typing: Any, _source: Any, _target: Any) -> Any:
            def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
                source, target = (builder.inttoptr(address, ir.VectorType(_I64, words).as_pointer()) for address in args)
                builder.store(builder.load(source, align=1), target, align=1)
                return context.get_dummy_value()

            return types.none(types.int64, types.int64), codegen

        return copy

    hash_copy = _copier(HASH_BYTES // 8)
    salt_copy = _copier(SALT_BYTES // 8)
    event_copy = _copier(EVENT.itemsize // 8)

    @intrinsic
    def word_at(_typing: Any, _address: Any) -> Any:
        """Read 64 bits at an address."""

        def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return builder.load(builder.inttoptr(args[0], _I64.as_pointer()), align=1)

        return types.int64(types.int64), codegen

else:
    _ranges: Any = None
    hash_copy: Any = None
    salt_copy: Any = None
    event_copy: Any = None
    word_at: Any = None

# ── entries ──────────────────────────────────────────────────────────────────────────────────────


# What these hash with: each `hasher` means ranges of its own.
leaf_range: Any = None
node_range: Any = None
row_range: Any = None
seed_range: Any = None
LEAVES: Final = 0
ROWS: Final = -1
TAKE: Final = -2
AT_ONCE: Final = 128  # events that are copied, salted and hashed while the processor's nearest memory has them


def _hash_batch(what: int, size: int, beside: int, source: int, count: int, target: int, records: int) -> int:
    """Hash `count` things at `source`, to a hash each at `target`; gives how many hashes.

    LEAVES: EVENTs, as leaves. ROWS: rows of 40 bytes, as they are. A number of levels, from 1: nodes, of which `size`
    others of their level stand before them; makes up to so many levels over them, one behind the other. Row k of
    `beside` is the last of the level that lies k above them, where bit k of `size` is set, and is kept to be that. TAKE:
    EVENTs of which those that are leaves are copied to `records`, with salts of the secret at `beside` if it is not 0, and hashed
    as leaves; their numbers go on from `size`, else it is −1 − the row of the first that does not.
    Changes: the memory at `target`, `records` and the levels' `beside`. O(count + levels).
    """
    if what == LEAVES:
        leaf_range(source, source, count, target)
        return count
    if what == ROWS:
        row_range(source, source, count, target)
        return count
    if what == TAKE:
        taken = 0
        row = 0
        while row < count:
            begun = taken
            while row < count and taken - begun < AT_ONCE:
                event = source + row * EVENT_BYTES
                number = word_at(event + SEQ_AT)
                if number != NOT_A_LEAF:
                    if number != size + taken:
                        return -1 - row
                    event_copy(event, records + taken * EVENT_BYTES)
                    taken += 1
                row += 1
            first = records + begun * EVENT_BYTES
            out = target + begun * HASH_BYTES
            if beside != 0:
                seed_range(beside, first, taken - begun, out)
                for at in range(taken - begun):
                    salt_copy(out + at * HASH_BYTES, first + at * EVENT_BYTES + SALT_AT)
            leaf_range(first, first, taken - begun, out)
        return taken
    start = target
    for level in range(what):
        lone = (size >> level) & 1
        pairs = (count + lone) >> 1
        row = beside + level * HASH_BYTES
        # Pairs are counted from where the lone left child would lie; it is read in its own place.
        first = source - lone * HASH_BYTES
        node_range(row if lone else first, first, pairs, target)
        if count > 0 and (count + lone) & 1:
            hash_copy(source + (count - 1) * HASH_BYTES, row)
        if pairs == 0:
            break
        source, count, target = target, pairs, target + pairs * HASH_BYTES
    return (target - start) // HASH_BYTES


def hasher(name: str, hashes: Callable[..., Any], width: int) -> Any:
    """Compile or load `_hash_batch` for one way to hash `width` messages at a time; it takes and gives 64-bit integers.

    All ways share its text: each is a function with its own meaning of four names. A closure would not be kept: every
    process would compile it anew.
    """
    layouts = {"leaf_range": LEAF, "node_range": NODE, "row_range": ROW, "seed_range": SEED}
    meant = {name: _ranges(hashes, width, layout) for name, layout in layouts.items()}
    function = FunctionType(_hash_batch.__code__, {**globals(), **meant}, name)
    function.__qualname__ = name
    return entry(function, 7, "the hashing")


def batch_hasher(name: str) -> Any:
    """Compile or load one of those that are `offered`."""
    assert name in offered(), f"{name} is not for this processor"
    if name == "sha-ni":
        return hasher("hash_by_sha_ni", sha_ni_hashes, 2)
    return hasher("hash_by_vectors", vector_hashes, lanes_of(features()))
