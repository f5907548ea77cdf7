"""Where the nodes and records of a log stand in files: C2SP tlog-tiles.

    tile/0/000          hashes of leaves 0 … 255        a tile is 256 hashes of one level, 32 bytes each; what lies
    tile/0/001.p/44     leaves 256 … 299, not full      between two levels of tiles is folded from the one below
    tile/1/000.p/1      node (8, 0): the root of tile/0/000
    tile/entries/000    the records of leaves 0 … 255, each after its length (two bytes, big-endian)

Tile (L, N) holds nodes (8 × L, 256 × N) and on. A full tile never changes; a partial one (`.p/` and its width) goes when
it is full. Any server of files publishes a log, and any client can work out proofs. Numbers are written in groups of
three digits: 1234067 is x001/x234/067.

Source: c2sp.org/tlog-tiles.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from rightsx.errors import CorruptionError
from rightsx.merkle import HASH_BYTES, node_hash

if TYPE_CHECKING:
    from collections.abc import Callable

TILE_LEVELS: Final = 8  # levels of the tree between two levels of tiles
TILE_WIDTH: Final = 1 << TILE_LEVELS
CACHED_TILES: Final = 256


def tile_path(level: int, number: int, width: int = TILE_WIDTH) -> str:
    """Name the file of a tile, full or of some width.

    >>> tile_path(0, 1234067), tile_path(1, 0, 3)
    ('tile/0/x001/x234/067', 'tile/1/000.p/3')
    """
    return f"tile/{level}/{_grouped(number)}{_partial(width)}"


def bundle_path(number: int, width: int = TILE_WIDTH) -> str:
    """Name the file of a bundle of records.

    >>> bundle_path(5, 12)
    'tile/entries/005.p/12'
    """
    return f"tile/entries/{_grouped(number)}{_partial(width)}"


def _grouped(number: int) -> str:
    groups = [f"{number % 1000:03d}"]
    while number >= 1000:  # noqa: PLR2004 - three digits a group
        number //= 1000
        groups.append(f"x{number % 1000:03d}")
    return "/".join(reversed(groups))


def _partial(width: int) -> str:
    return "" if width == TILE_WIDTH else f".p/{width}"


def tile_widths(size: int) -> list[int]:
    """Say how many hashes each level of tiles has in a tree of a size, from the leaves up, as long as there are any.

    >>> tile_widths(70_000)
    [70000, 273, 1]
    """
    widths = []
    while size:
        widths.append(size)
        size >>= TILE_LEVELS
    return widths


def levels_above(hashes: bytes) -> list[bytes]:
    """Give the complete nodes above some hashes, level by level, each level as bytes. O(hashes)."""
    found = []
    while len(hashes) >= 2 * HASH_BYTES:
        ends = range(HASH_BYTES, len(hashes) // HASH_BYTES * HASH_BYTES, 2 * HASH_BYTES)
        hashes = b"".join(node_hash(hashes[end - HASH_BYTES : end], hashes[end : end + HASH_BYTES]) for end in ends)
        found.append(hashes)
    return found


class TileReader:
    """Gives the complete nodes of a tree of `size` leaves from its tiles; as `node` of `merkle`.

    `read(path)` gives the bytes of a file of the log, as a web server or a folder would; `above` is `levels_above`, or one
    that is faster. The tiles last read are kept, with the nodes that are folded from them. Raises `CorruptionError` for a
    tile of another length than it must have.
    """

    def __init__(self, size: int, read: Callable[[str], bytes], above: Callable[[bytes], list[bytes]] = levels_above) -> None:
        """Read nothing yet."""
        self.size = size
        self._read = read
        self._above = above
        self._tiles: OrderedDict[tuple[int, int], list[bytes]] = OrderedDict()

    def node(self, level: int, number: int) -> bytes:
        """Give the hash of a complete node. One file and 255 hashes, unless its tile was read lately."""
        tile_level, inside = divmod(level, TILE_LEVELS)
        tile = self.tile(tile_level, (number << inside) // TILE_WIDTH)
        if inside and len(tile) == 1:
            tile += self._above(tile[0])
        at = number % (TILE_WIDTH >> inside) * HASH_BYTES
        return tile[inside][at : at + HASH_BYTES]

    def tile(self, level: int, number: int) -> list[bytes]:
        """Give the hashes of a tile, as many as it has in a tree of this size, and what was folded from them."""
        found = self._tiles.get((level, number))
        if found is not None:
            self._tiles.move_to_end((level, number))
            return found
        width = min(TILE_WIDTH, (self.size >> TILE_LEVELS * level) - number * TILE_WIDTH)
        path = tile_path(level, number, width)
        hashes = self._read(path)
        if len(hashes) != width * HASH_BYTES:
            raise CorruptionError(f"{path} has {len(hashes)} bytes; {width} hashes have {width * HASH_BYTES}")
        found = self._tiles[level, number] = [hashes]
        if len(self._tiles) > CACHED_TILES:
            self._tiles.popitem(last=False)
        return found
