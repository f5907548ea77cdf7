"""What can befall the files of a store beside a crash: made up at random, to be named or to do no harm."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

    from faulty_disk import FaultyDisk

SECTOR = 512


def damage(disk: FaultyDisk, chance: random.Random) -> tuple[str, FaultyDisk]:
    """Give a copy of a disk with one thing wrong, and what that is."""
    found = disk.copy()
    paths = sorted(path for path in found.files if path.name != "lock")
    path = chance.choice(paths)
    log = [one for one in paths if one.parent.name == "log"]
    kind = chance.choice(
        ("bit", "bit", "bits", "byte", "garbage", "truncated", "removed", "swapped", "doubled", "sectors", "grown")
    )
    if kind == "removed" and path == log[-1]:
        kind = "bit"  # that the last segment is gone no store can know by itself
    if kind == "removed":
        del found.files[path]
    elif kind == "swapped" and len(log) > 1:
        one, two = chance.sample(log, 2)
        found.files[one], found.files[two] = found.files[two], found.files[one]
    elif kind == "doubled" and len(log) > 1:
        one, two = chance.sample(log, 2)
        found.files[two] = disk.copy().files[one]
    else:
        content = found.files[path].now
        alter(content, kind, chance)
        found.files[path].safe = bytearray(content)
    return kind, found


def alter(content: bytearray, kind: str, chance: random.Random) -> None:
    """Change the bytes of a file."""
    used = len(bytes(content).rstrip(b"\0"))
    if not used:
        return
    at = chance.randrange(used)
    if kind == "bits":
        for _ in range(chance.randrange(2, 20)):
            content[chance.randrange(used)] ^= 1 << chance.randrange(8)
    elif kind == "byte":
        content[at] = chance.randrange(256)
    elif kind == "garbage":
        length = chance.randrange(1, 2_000)
        content[at : at + length] = chance.randbytes(len(content[at : at + length]))
    elif kind == "truncated":
        del content[chance.randrange(len(content)) :]
    elif kind == "sectors":
        # Two sectors change places, as a confused disk would have it.
        one, two = (chance.randrange(used) // SECTOR * SECTOR for _ in range(2))
        first, second = bytes(content[one : one + SECTOR]), bytes(content[two : two + SECTOR])
        content[one : one + len(second)], content[two : two + len(first)] = second, first
    elif kind == "grown":
        content += chance.randbytes(chance.randrange(1, 2_000))
    else:
        content[at] ^= 1 << chance.randrange(8)
