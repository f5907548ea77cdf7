"""Checks a rightsx journal, or a receipt out of one, with nothing but this file and Python 3.9.

    python verify_journal.py FOLDER --key KEY [--entries FOLDER]
    python verify_journal.py --receipt FILE --key KEY

A journal is a C2SP tiled log. A tile has up to 256 hashes of one level, and folds to one hash of the level above:

    checkpoint         signed: origin, size, root          KEY says who may sign, and for which origin
         │
    tile/1/000.p/2     hash 0, hash 1                      the tiles that are not full give the root: if it is the signed
         │     └───────────────┐                           one, their hashes are right, and what is below a right hash
    tile/0/000         tile/0/001      tile/0/002.p/44     is right or named
         │                  │               │
    records 0 … 255    256 … 511       512 … 555           120 bytes: 00 76, version 1, kind, series, own number, …

The walk goes down from the root and stops at the first thing wrong: a file that is missing or of another length, a byte of a
tile, a byte of a record, or a record whose hash is another (of which byte, no hash can tell). If the tiles do not give the
root, each is held against what is below it. Where no records are, only hashes are checked. In memory is one tile a level.

KEY is the log's verifier key, name+id+base64, or a file that holds it; take it from elsewhere than from the journal. FOLDER is
the public folder (with checkpoint and tile), or a store's folder or its journal folder, with public and entries inside;
--entries names the folder of records if it is elsewhere. A receipt needs no journal.
Exit code: 0 it holds, 1 it does not, 2 wrong use or a file that cannot be read, 130 interrupted.
Sources: RFC 6962, 2.1; RFC 8032, 5.1; c2sp.org/tlog-tiles, /tlog-checkpoint, /tlog-proof, /signed-note.
"""

from __future__ import annotations

import base64
import re
import sys
from getopt import GetoptError, gnu_getopt
from hashlib import sha256, sha512
from io import TextIOWrapper
from pathlib import Path
from typing import NamedTuple

WIDTH, HASH_BYTES, RECORD_BYTES, SEGMENT = 256, 32, 120, 65_536  # SEGMENT: records in a full file of `entries`
FIELDS = {0: "length", 1: "length", 2: "version", **dict.fromkeys(range(8, 16), "event_seq")}  # bytes of a record that are known
NUMBER, NOTE_BYTES, NOTE_SIGNATURES, COLUMNS = "0|[1-9][0-9]{0,18}", 1_000_000, 100, 200  # the longest of each


class WrongError(Exception):
    """What was looked at does not hold."""


# ── Ed25519, as OpenSSL judges: no cofactor, S below the order, R byte for byte as one writes it ─────────────────────────────
PRIME, ORDER = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
CURVE = -121665 * pow(121666, -1, PRIME) % PRIME  # d in −x² + y² = 1 + d·x²·y²
ROOT_OF_MINUS_1 = pow(2, (PRIME - 1) // 4, PRIME)
Point = tuple[int, int, int, int]  # X, Y, Z, T: x = X/Z, y = Y/Z, xy = T/Z
Key = tuple[str, bytes, bytes]  # name, which is the log's origin too; four bytes by which signatures name the key; the key


def point_add(one: Point, other: Point) -> Point:
    """Add two points; complete, so that doubling and points of low order need no care."""
    a, b = (one[1] - one[0]) * (other[1] - other[0]), (one[1] + one[0]) * (other[1] + other[0])
    c, d = 2 * one[3] * other[3] * CURVE, 2 * one[2] * other[2]
    e, f, g, h = (b - a) % PRIME, (d - c) % PRIME, (d + c) % PRIME, (b + a) % PRIME
    return e * f % PRIME, g * h % PRIME, f * g % PRIME, e * h % PRIME


def point_parse(data: bytes) -> Point | None:
    """Read a point, or give None; y may be the prime or more, and x = 0 may have a sign, as with OpenSSL."""
    sign, y = divmod(int.from_bytes(data, "little"), 1 << 255)
    u, v = (y * y - 1) % PRIME, (CURVE * y * y + 1) % PRIME
    x = u * pow(v, 3, PRIME) * pow(u * pow(v, 7, PRIME), (PRIME - 5) // 8, PRIME) % PRIME
    if v * x * x % PRIME != u:
        x = x * ROOT_OF_MINUS_1 % PRIME
    x = x if x & 1 == sign else -x % PRIME
    return (x, y % PRIME, 1, x * y % PRIME) if v * x * x % PRIME == u else None


def signed_by(key: bytes, message: bytes, signature: bytes) -> bool:
    """Say whether this key signed this message: whether S·B − k·A, written down, is R. A few milliseconds."""
    base, point = point_parse((4 * pow(5, -1, PRIME) % PRIME).to_bytes(HASH_BYTES, "little")), point_parse(key)
    r, s = signature[:HASH_BYTES], int.from_bytes(signature[HASH_BYTES:], "little")
    if base is None or point is None or len(key) != HASH_BYTES or len(signature) != 2 * HASH_BYTES or s >= ORDER:
        return False
    k = int.from_bytes(sha512(r + key + message).digest(), "little") % ORDER
    minus, total = (-point[0] % PRIME, point[1], 1, -point[3] % PRIME), (0, 1, 1, 0)
    terms = (total, base, minus, point_add(base, minus))
    for bit in reversed(range(ORDER.bit_length())):  # both products in one walk
        total = point_add(point_add(total, total), terms[(s >> bit & 1) + 2 * (k >> bit & 1)])
    x, y = (one * pow(total[2], -1, PRIME) % PRIME for one in total[:2])
    return (y | (x & 1) << 255).to_bytes(HASH_BYTES, "little") == r


def bytes64(text: str) -> bytes:
    """Read base64 that is written as one writes it, or give nothing."""
    data = base64.b64decode(text) if re.fullmatch("[A-Za-z0-9+/]+={0,2}", text) and len(text) % 4 == 0 else b""
    return data if base64.b64encode(data).decode() == text else b""


def parse_key(argument: str) -> Key:
    """Read a verifier key, from its line or from a file that holds it."""
    text = Path(argument).read_bytes().decode(errors="replace") if Path(argument).is_file() else argument
    name, stated, encoded = [*text.strip().split("+", 2), "", ""][:3]
    key_id = sha256(name.encode(errors="replace") + b"\n" + bytes64(encoded)).digest()[:4]
    if bytes64(encoded)[:1] != b"\1" or len(bytes64(encoded)) != 1 + HASH_BYTES or stated != key_id.hex():
        raise GetoptError("KEY is no line of a verifier key (name+id+base64, Ed25519), nor a file that holds one")
    return name, key_id, bytes64(encoded)[1:]


def check_checkpoint(data: bytes, key: Key) -> tuple[int, bytes]:
    """Give size and root of the checkpoint in a note; `WrongError` unless the key signed it, for the log of its name."""
    name, key_id, point = key
    body, _, lines = data.decode(errors="replace").rpartition("\n\n")
    parts = [re.fullmatch("— ([^ +]+) ([^ ]+)", line) for line in lines.split("\n")[:-1]]
    signatures = [(one[1], bytes64(one[2])) for one in parts if one and bytes64(one[2])[len(key_id) :]]
    shaped = f"{body}\n\n{lines}".encode() == data and lines.endswith("\n") and not re.search(rb"[\0-\x09\x0b-\x1f\x7f]", data)
    if not shaped or not len(signatures) == len(parts) <= NOTE_SIGNATURES or len(data) > NOTE_BYTES:
        raise WrongError("checkpoint: it is no signed note: a text, an empty line, and lines of a dash, a name and base64")
    ours = [signature[4:] for signer, signature in signatures if (signer, signature[:4]) == (name, key_id)]
    if not ours:
        raise WrongError(f"checkpoint: no signature is by the key {key_id.hex()} of {name}")
    if not all(signed_by(point, f"{body}\n".encode(), one) for one in ours):
        raise WrongError(f"checkpoint: the signature of {name} is not one of its key over this text")
    origin, size, root, *extensions = body.split("\n") if body.count("\n") > 1 else [""] * 3
    if not re.fullmatch(NUMBER, size) or int(size) >> 63 or len(bytes64(root)) != HASH_BYTES or not all(extensions):
        raise WrongError("checkpoint: it is signed, and does not state an origin, a size and a root")
    if origin != name:
        raise WrongError(f"checkpoint: it is one of {origin!r}; the key signs for {name!r}")
    return int(size), bytes64(root)


def split(data: bytes, unit: int) -> list[bytes]:
    """Cut bytes into pieces of a length; the last may be shorter."""
    return [data[at : at + unit] for at in range(0, len(data), unit)]


def fold(hashes: bytes) -> bytes:
    """Give the root of hashes, one after the other; the last of a level without a neighbour goes up as it is."""
    while len(hashes) > HASH_BYTES:
        pairs = split(hashes, 2 * HASH_BYTES)
        hashes = b"".join([sha256(b"\1" + pair).digest() if len(pair) > HASH_BYTES else pair for pair in pairs])
    return hashes


def read_part(path: Path, name: str, start: int, length: int, *, whole: bool) -> bytes:
    """Read bytes of a file that has them; the `whole` file ends there."""
    if not path.exists():
        raise WrongError(f"{name} is missing")
    with path.open("rb") as file:
        there = file.seek(0, 2)
        if there < start + length or (whole and there > start + length):
            raise WrongError(f"{name} has {there} bytes; {start + length} are due")
        file.seek(start)
        return file.read(length)


class Log(NamedTuple):
    """The files of a log of `size` events: tiles in `public`, records there, or in `entries`, or nowhere."""

    public: Path
    entries: Path | None
    size: int
    bundles: bool

    def read(self, level: int, number: int, what: str = "", unit: int = HASH_BYTES) -> tuple[str, bytes]:
        """Give the name and the bytes of a tile, or of a bundle, as far as this log goes."""
        width = min(WIDTH, (self.size >> 8 * level) - number * WIDTH)
        *groups, last = f"{number:,}".split(",")
        full = "/".join(["tile", what or str(level), *(f"x{group:0>3}" for group in groups), f"{last:0>3}"])
        name = f"{full}.p/{width}"
        # One that was filled since the checkpoint may be there only as a whole, and begins with the same bytes.
        if width == WIDTH or ((self.public / full).exists() and not (self.public / name).exists()):
            return full, read_part(self.public / full, full, 0, WIDTH * unit, whole=True)[: width * unit]
        return name, read_part(self.public / name, name, 0, width * unit, whole=True)

    def check_all(self, root: bytes) -> None:
        """Raise `WrongError` for the first thing that is not as the root has it."""
        edge, found = [], b""
        for level in range(-(-self.size.bit_length() // 8)):
            number, width = divmod(self.size >> 8 * level, WIDTH)
            if width:  # a tile that is full stands below another
                edge.append((level, number, *self.read(level, number)))
                found = fold(edge[-1][3] + found)
        found = found or sha256(b"").digest()
        for level, number, name, tile in reversed(edge):
            self.check_below(level, number, name, tile, right=found == root)
        if found != root:
            suspect = "" if self.bundles or self.entries or self.size % WIDTH == 0 else f", unless {edge[0][2]} is wrong"
            raise WrongError(f"checkpoint: its root is not {base64.b64encode(found).decode()}, on which the tiles agree{suspect}")

    def check_below(self, level: int, number: int, name: str, tile: bytes, *, right: bool) -> None:
        """Hold what is below a tile against its hashes; if they are not known to be `right`, a difference is the tile's."""
        if level == 0:
            self.check_records(number, name, tile, right=right)
            return
        for at, due in enumerate(split(tile, HASH_BYTES)):
            below, child = self.read(level - 1, number * WIDTH + at)
            found = fold(child)
            if found != due and not right:
                byte = at * HASH_BYTES + next(i for i in range(HASH_BYTES) if found[i] != due[i])
                raise WrongError(f"{name}: byte {byte}, in hash {at}, is not what {below} gives")
            self.check_below(level - 1, number * WIDTH + at, below, child, right=right and found == due)
            if found != due:  # and nothing further down told which of its hashes it is
                raise WrongError(f"{below}: bytes 0 to {len(child) - 1} do not give hash {at} of {name}")

    def check_records(self, number: int, tile_name: str, tile: bytes, *, right: bool) -> None:
        """Hold the records below a tile, wherever they are, against its hashes, and each against its place."""
        hashes, first, files = split(tile, HASH_BYTES), number * WIDTH, []
        if self.bundles:
            files.append((0, *self.read(0, number, "entries", RECORD_BYTES)))
        if self.entries is not None:
            inside, name = first % SEGMENT, f"{self.entries.name}/{first // SEGMENT:08d}"
            start, length = inside * RECORD_BYTES, len(hashes) * RECORD_BYTES
            # The last file may go on: records are written before the checkpoint that covers them.
            data = read_part(self.entries / name[-8:], name, start, length, whole=inside + len(hashes) == SEGMENT)
            files.append((start, name, data))
        heads = [b"\0\x76\1" + seq.to_bytes(8, "little") for seq in range(first, first + len(hashes))]
        for start, name, data in files:
            records = split(data, RECORD_BYTES)
            leaves = [sha256(b"\0" + one[2:]).digest() for one in records]
            if leaves == hashes and [one[:3] + one[8:16] for one in records] == heads:
                continue
            for inside, record in enumerate(records):
                at, seq = start + inside * RECORD_BYTES, first + inside
                for place, due in zip(FIELDS, heads[inside]):  # noqa: B905 - `strict` is not in Python 3.9
                    if record[place] != due:
                        told = f"byte {at + place}, in the {FIELDS[place]} of record {seq}, is {record[place]:#04x}"
                        raise WrongError(f"{name}: {told}; {due:#04x} is due")
                if leaves[inside] != hashes[inside] and right:
                    raise WrongError(f"{name}: record {seq}, from byte {at} on, does not have hash {inside} of {tile_name}")
                if leaves[inside] != hashes[inside]:
                    byte = inside * HASH_BYTES + next(i for i in range(HASH_BYTES) if leaves[inside][i] != hashes[inside][i])
                    raise WrongError(f"{tile_name}: byte {byte}, in hash {inside}, is not what record {seq} of {name} gives")
        if sys.stderr.isatty() and number % 64 == 0:
            print(f"{first:,} of {self.size:,} events", end="\r", file=sys.stderr, flush=True)


def check_journal(folder: Path, entries: Path | None, key: Key) -> str:
    """Check a journal whole; gives what to say of it."""
    public = next((one for one in (folder, folder / "public", folder / "journal/public") if (one / "checkpoint").exists()), None)
    if public is None:
        raise GetoptError(f"checkpoint is missing; it is not in public, in journal/public, or as such in {folder}")
    if entries is None and public != folder and (public.parent / "entries").exists():
        entries = public.parent / "entries"
    if entries is not None and not entries.is_dir():
        raise GetoptError(f"{entries} is no folder of records")
    with (public / "checkpoint").open("rb") as file:
        size, root = check_checkpoint(file.read(NOTE_BYTES + 1), key)
    log = Log(public, entries, size, (public / "tile" / "entries").exists())
    log.check_all(root)
    what = "every tile and record" if log.bundles or entries else "every tile, and no record, for none is here"
    return f"holds: {size} events of {key[0]}, root {base64.b64encode(root).decode()}; checked {what}"


def check_receipt(path: Path, key: Key) -> str:
    """Check a receipt, a C2SP tlog-proof whose `extra` is the record; gives what to say of it."""
    with path.open("rb") as file:
        head, _, note = file.read(2 * NOTE_BYTES).partition(b"\n\n")
    pattern = rf"c2sp\.org/tlog-proof@v1\nextra (\S+)\nindex ({NUMBER})((?:\n\S+)*)"
    shape = re.fullmatch(pattern, head.decode("ascii", "replace"))
    record, proof = (bytes64(shape[1]), list(map(bytes64, shape[3].split()))) if shape else (b"", [])
    if shape is None or len(record) != RECORD_BYTES - 2 or any(len(one) != HASH_BYTES for one in proof):
        raise WrongError("receipt: c2sp.org/tlog-proof@v1, extra and base64 of 118 bytes, index, lines of 32 bytes are due")
    size, root = check_checkpoint(note, key)
    seq, last, found = int(shape[2]), size - 1, sha256(b"\0" + record).digest()
    if seq > last or int.from_bytes(record[6:14], "little", signed=True) != seq:
        raise WrongError(f"receipt: its index {seq} is not the record's, or not below the {size} events of the checkpoint")
    for sibling in proof:  # RFC 9162, 2.1.3.2
        while last and seq == last and not seq & 1:  # the last of a level without a neighbour goes up as it is
            seq, last = seq >> 1, last >> 1
        found = fold(sibling + found if seq & 1 else found + sibling) if last else b""
        seq, last = seq >> 1, last >> 1
    if found != root or last:
        raise WrongError(f"receipt: the record and its {len(proof)} hashes do not give the root that the checkpoint states")
    return f"holds: event {shape[2]} is in the journal of {key[0]}, whose checkpoint has {size} events"


def main(arguments: list[str]) -> int:
    """Do what the arguments ask for and say in one line whether it holds; gives the exit code."""
    for out in (sys.stdout, sys.stderr):
        if isinstance(out, TextIOWrapper):
            out.reconfigure(errors="backslashreplace")
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return 0
    try:
        pairs, rest = gnu_getopt(arguments, "", ["key=", "entries=", "receipt="])
        asked = dict(pairs)
        if "--key" not in asked or len(rest) + ("--receipt" in asked) != 1 or {"--receipt", "--entries"} <= set(asked):
            raise GetoptError("FOLDER or --receipt FILE is due, and --key KEY; see --help")  # noqa: TRY301 - as gnu_getopt does
        key, entries = parse_key(asked["--key"]), Path(asked["--entries"]) if "--entries" in asked else None
        code, line = 0, check_journal(Path(rest[0]), entries, key) if rest else check_receipt(Path(asked["--receipt"]), key)
    except WrongError as error:
        code, line = 1, f"does not hold: {error}"
    except (GetoptError, OSError) as error:
        code, line = 2, f"cannot check: {error}"
    except KeyboardInterrupt:
        code, line = 130, "interrupted: nothing is decided"
    line = "".join(one if one.isprintable() else "?" for one in line[:COLUMNS])
    print(line, file=sys.stderr if code > 1 else sys.stdout)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
