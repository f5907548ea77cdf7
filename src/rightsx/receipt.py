"""What a customer keeps of an event: a file that proves it, by itself, to anybody who has the market's key.

    c2sp.org/tlog-proof@v1
    extra AQFHAAAA…                 the record, base64 of 118 bytes
    index 73894                     its number in the journal
    gSKyXoYZUgZ6…                   hashes from the leaf upwards
                                    an empty line
    market.example/rightsx          the signed checkpoint that it is proved against
    109482
    …

The format is C2SP's tlog-proof, whose `extra` is the application's: whoever checks such files checks ours. Source:
c2sp.org/tlog-proof.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from rightsx.errors import ProofError
from rightsx.merkle import HASH_BYTES, check_inclusion, leaf_hash
from rightsx.note import check_checkpoint

if TYPE_CHECKING:
    from rightsx.note import Checkpoint, VerifierKey

HEADER: Final = "c2sp.org/tlog-proof@v1"
LEAF_BYTES: Final = 118
_INDEX: Final = re.compile("0|[1-9][0-9]{0,18}")


class Receipt(NamedTuple):
    """An event (118 bytes as they stand in the journal), its proof, and the signed checkpoint that it is proved against."""

    event_seq: int
    leaf: bytes
    proof: tuple[bytes, ...]
    checkpoint: bytes

    def __bytes__(self) -> bytes:
        """Write the file."""
        lines = [HEADER, f"extra {_text64(self.leaf)}", f"index {self.event_seq}", *map(_text64, self.proof), "", ""]
        return "\n".join(lines).encode() + self.checkpoint

    def check(self, key: VerifierKey) -> Checkpoint:
        """Give the checkpoint that it is proved against; `ProofError` unless the key signed it and the event is in it.

        The record states its own number, so that a proof of another place does not pass.
        """
        checkpoint = check_checkpoint(self.checkpoint, key)
        check_inclusion(leaf_hash(self.leaf), self.event_seq, checkpoint.size, self.proof, checkpoint.root)
        stated = int.from_bytes(self.leaf[6:14], "little", signed=True)
        if stated != self.event_seq:
            raise ProofError(f"the record says that it is event {stated}; the proof is of {self.event_seq}")
        return checkpoint


def parse_receipt(data: bytes) -> Receipt:
    """Read a receipt; `ProofError` says why it is none. Nothing is checked yet (`Receipt.check`)."""
    head, found, checkpoint = data.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise ProofError(f"the receipt has a byte that is not ASCII at {error.start}") from None
    if not found or lines[0] != HEADER:
        raise ProofError(f"a receipt begins with the line {HEADER}, and an empty line stands before its checkpoint")
    if len(lines) < 3 or not lines[1].startswith("extra ") or not lines[2].startswith("index "):  # noqa: PLR2004
        raise ProofError("the second and third line of a receipt are extra, the record, and index, its number")
    index = lines[2][len("index ") :]
    if not _INDEX.fullmatch(index):
        raise ProofError(f"the index of the receipt was {index!r}; a whole number without leading zeros is due")
    leaf = _bytes64(lines[1][len("extra ") :], "record", LEAF_BYTES)
    return Receipt(int(index), leaf, tuple(_bytes64(line, "hash", HASH_BYTES) for line in lines[3:]), checkpoint)


def _text64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes64(text: str, what: str, length: int) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if len(data) != length or _text64(data) != text:
        raise ProofError(f"a {what} of the receipt was {text!r}; base64 of {length} bytes is due")
    return data
