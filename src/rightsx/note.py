"""Signs short texts and checks them: C2SP signed notes, and the checkpoints of logs among them.

    market.example/rightsx          origin: whose log it is           ┐
    1234                            how many leaves                   │ the checkpoint's text, which is signed
    qINS1GRFhWHwdkUeqLEoP4y…        root, base64                      ┘ (further lines are extensions)
                                    an empty line
    — market.example/rightsx Az3g…  a line a signature: name, base64 of the key's 4-byte id and the signature

Keys are lines of text, too, as Go's `note` writes them: `name+id+key`, and `PRIVATE+KEY+name+id+seed`. Signatures of
keys that one does not know are passed over; one of a known key that is wrong condemns the note. A name is not blank
and has no space and no plus sign.

The signatures are Ed25519 (RFC 8032), by way of `cryptography` (extra `proofs`), as OpenSSL judges them: without the
cofactor, S below the group's order. Sources: c2sp.org/signed-note, c2sp.org/tlog-checkpoint.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rightsx.errors import MisuseError, ProofError
from rightsx.merkle import HASH_BYTES, SIZE_END

if TYPE_CHECKING:
    from collections.abc import Iterable

ED25519: Final = 1  # the algorithm's number in a key
KEY_BYTES: Final = 32
ID_BYTES: Final = 4
SIGNATURE_BYTES: Final = 64
MOST_SIGNATURES: Final = 100
MOST_BYTES: Final = 1_000_000
PRIVATE: Final = "PRIVATE+KEY+"
_SIZE: Final = re.compile("0|[1-9][0-9]{0,18}")
_UNSEEN: Final = re.compile("[\x00-\x09\x0b-\x1f\x7f]")


def is_name(name: str) -> bool:
    """Say whether a key or a log may have this name."""
    return bool(name) and "+" not in name and not any(map(str.isspace, name)) and name.isprintable()


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────


class VerifierKey(NamedTuple):
    """What checks the signatures of one signer; `str` is the line of text to hand out, `parse_verifier_key` reads it.

    >>> key = parse_verifier_key("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    >>> key.name, key.id.hex()
    ('PeterNeumann', 'c74f20a3')
    """

    name: str
    key: bytes

    @property
    def id(self) -> bytes:
        """The four bytes by which a signature line names this key."""
        named = self.name.encode() + b"\n" + bytes([ED25519]) + self.key
        return hashlib.sha256(named).digest()[:ID_BYTES]

    def __str__(self) -> str:
        """Write the key as a line of text."""
        return f"{self.name}+{self.id.hex()}+{_text64(bytes([ED25519]) + self.key)}"

    def check(self, data: bytes, signature: bytes) -> None:
        """Raise `ProofError` unless this key signed these bytes."""
        primitives, invalid = _ed25519()
        try:
            primitives.Ed25519PublicKey.from_public_bytes(self.key).verify(signature, data)
        except (invalid, ValueError):
            raise ProofError(f"the signature of {self.name} is not one of its key over this text") from None


@dataclass(frozen=True, slots=True)
class SigningKey:
    """What signs. `secret` is the line of text to keep to oneself; shown is the name alone."""

    name: str
    seed: bytes

    def __repr__(self) -> str:
        """Show whose key it is, and nothing of the key."""
        return f"signing key of {self.name}"

    @property
    def secret(self) -> str:
        """The key as a line of text."""
        verifier = self.verifier
        return f"{PRIVATE}{self.name}+{verifier.id.hex()}+{_text64(bytes([ED25519]) + self.seed)}"

    @property
    def verifier(self) -> VerifierKey:
        """What checks its signatures."""
        primitives, _ = _ed25519()
        return VerifierKey(self.name, primitives.Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw())

    def sign(self, data: bytes) -> bytes:
        """Sign bytes: 64 bytes, the same for the same bytes."""
        primitives, _ = _ed25519()
        signature: bytes = primitives.Ed25519PrivateKey.from_private_bytes(self.seed).sign(data)
        return signature


def make_signing_key(name: str, seed: bytes) -> SigningKey:
    """Make a key of 32 secret bytes; `MisuseError` for a name that is none, or for another number of bytes."""
    if not isinstance(name, str) or not is_name(name):
        raise MisuseError(f"the name of a key was {name!r}; printable characters without space and plus are due")
    if not isinstance(seed, bytes) or len(seed) != KEY_BYTES:
        raise MisuseError(f"a key is made of {KEY_BYTES} bytes")
    return SigningKey(name, seed)


def parse_verifier_key(text: str) -> VerifierKey:
    """Read a key as `str` writes it; `ProofError` if it is none, or if its id is not that of its name and key."""
    name, _, rest = text.strip().partition("+")
    found = VerifierKey(name, _key_bytes(rest, "key"))
    if not is_name(name) or rest[: 2 * ID_BYTES] != found.id.hex():
        raise ProofError(f"the key of {name!r} does not have the id that it states")
    return found


def parse_signing_key(text: str) -> SigningKey:
    """Read a secret key; `ProofError` if it is none. Nothing of it stands in the message."""
    text = text.strip()
    if not text.startswith(PRIVATE):
        raise ProofError(f"a signing key begins with {PRIVATE}")
    name, _, rest = text[len(PRIVATE) :].partition("+")
    found = SigningKey(name, _key_bytes(rest, "signing key"))
    if not is_name(name) or rest[: 2 * ID_BYTES] != found.verifier.id.hex():
        raise ProofError(f"the signing key of {name!r} does not have the id that it states")
    return found


def _key_bytes(rest: str, what: str) -> bytes:
    stated, _, encoded = rest.partition("+")
    data = _bytes64(encoded)
    if not re.fullmatch(f"[0-9a-f]{{{2 * ID_BYTES}}}", stated) or data is None or len(data) != 1 + KEY_BYTES:
        raise ProofError(f"a {what} is a name, 8 hexadecimal digits and base64 of {1 + KEY_BYTES} bytes, joined by +")
    if data[0] != ED25519:
        raise ProofError(f"a {what} was of algorithm {data[0]}; {ED25519} is Ed25519, the only one known here")
    return data[1:]


def _ed25519() -> tuple[Any, type[Exception]]:
    try:
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - an optional extra
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415
    except ImportError:
        raise MisuseError("signatures need the package cryptography: pip install 'rightsx[proofs]'") from None
    return ed25519, InvalidSignature


# ── notes ────────────────────────────────────────────────────────────────────────────────────────


class Signature(NamedTuple):
    """A line at the end of a note: who signed, the id of the key, and what the key made of the text."""

    name: str
    key_id: bytes
    signature: bytes


class Note(NamedTuple):
    """A text with its signatures, none of them checked yet."""

    text: str
    signatures: tuple[Signature, ...]

    def check(self, *keys: VerifierKey) -> list[VerifierKey]:
        """Give those of the keys that signed; `ProofError` if none did, or if a signature of one of them is wrong."""
        signed = []
        for key in keys:
            lines = [one for one in self.signatures if (one.name, one.key_id) == (key.name, key.id)]
            for one in lines:
                key.check(self.text.encode(), one.signature)
            if lines:
                signed.append(key)
        if not signed:
            names = ", ".join(one.name for one in self.signatures)
            known = ", ".join(f"{key.name} ({key.id.hex()})" for key in keys) or "nobody"
            raise ProofError(f"the note is signed by {names}; signatures of {known} are looked for")
        return signed


def format_note(text: str, signers: Iterable[SigningKey]) -> bytes:
    """Sign a text that ends with a newline; `MisuseError` if it cannot be a note's."""
    if not text.endswith("\n") or _UNSEEN.search(text):
        raise MisuseError("the text of a note ends with a newline and has no other control characters")
    data = text.encode()
    lines = [f"— {one.name} {_text64(one.verifier.id + one.sign(data))}\n" for one in signers]
    if not lines:
        raise MisuseError("a note needs a signature")
    return data + b"\n" + "".join(lines).encode()


def parse_note(data: bytes) -> Note:
    """Read a note; `ProofError` says why it is none. Its signatures are not checked (`Note.check`)."""
    if len(data) > MOST_BYTES:
        raise ProofError(f"a note has at most {MOST_BYTES} bytes; this one has {len(data)}")
    try:
        whole = data.decode()
    except UnicodeDecodeError as error:
        raise ProofError(f"the note is not UTF-8 at byte {error.start}") from None
    if _UNSEEN.search(whole):
        raise ProofError("the note has a control character")
    body, found, lines = whole.rpartition("\n\n")
    if not found or not lines or not lines.endswith("\n"):
        raise ProofError("a note is a text, an empty line, and at least one line of a signature")
    signatures = tuple(_signature(line) for line in lines[:-1].split("\n"))
    if len(signatures) > MOST_SIGNATURES:
        raise ProofError(f"a note has at most {MOST_SIGNATURES} signatures; this one has {len(signatures)}")
    return Note(body + "\n", signatures)


def _signature(line: str) -> Signature:
    parts = line.split(" ")
    data = _bytes64(parts[2]) if len(parts) == 3 else None  # noqa: PLR2004 - dash, name, base64
    if data is None or parts[0] != "—" or not is_name(parts[1]) or len(data) <= ID_BYTES:
        raise ProofError(f"{line!r} is no line of a signature: a dash, a name, and base64")
    return Signature(parts[1], data[:ID_BYTES], data[ID_BYTES:])


# ── checkpoints ──────────────────────────────────────────────────────────────────────────────────


class Checkpoint(NamedTuple):
    """What a log signs: its name (`origin`), how many leaves it has, and their root; `extensions` are further lines."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Write the text that is signed."""
        return "".join(f"{line}\n" for line in (self.origin, str(self.size), _text64(self.root), *self.extensions))


def parse_checkpoint(text: str) -> Checkpoint:
    """Read the text of a checkpoint; `ProofError` says what is wrong with it."""
    lines = text.split("\n")
    if len(lines) < 4 or lines.pop():  # noqa: PLR2004 - three lines and the end of the last
        raise ProofError("a checkpoint has three lines at least: origin, size, root")
    origin, size, root, *extensions = lines
    if not origin:
        raise ProofError("the origin of a checkpoint is empty")
    if not _SIZE.fullmatch(size) or int(size) >= SIZE_END:
        raise ProofError(f"the size of a checkpoint was {size!r}; a whole number without leading zeros is due")
    data = _bytes64(root)
    if data is None or len(data) != HASH_BYTES:
        raise ProofError(f"the root of a checkpoint was {root!r}; base64 of {HASH_BYTES} bytes is due")
    if not all(extensions):
        raise ProofError("an extension line of a checkpoint is empty")
    return Checkpoint(origin, int(size), data, tuple(extensions))


def check_checkpoint(data: bytes, key: VerifierKey) -> Checkpoint:
    """Give the checkpoint in a note that this key signed, for the log of the key's name; else `ProofError`."""
    note = parse_note(data)
    note.check(key)
    found = parse_checkpoint(note.text)
    if found.origin != key.name:
        raise ProofError(f"the checkpoint is one of {found.origin!r}; the key signs for {key.name!r}")
    return found


def _text64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes64(text: str) -> bytes | None:
    """Read canonical base64, or None: what is read is written the same way again."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if _text64(data) == text else None
