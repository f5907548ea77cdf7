"""What a market owes, drawn up so that anybody can check it: a file with its proof, against a signed checkpoint.

    {"format": "rightsx-solvency/1",
     "receipt": "c2sp.org/tlog-proof@v1 …",              the STATE event, the last one of the signed journal
     "accounts": [7, "6d1f…"], "series": [3, "a0c4…"],   what the state's root is made of
     "promises": ["ABD/…", …], "maps": ["…", …],         PROMISEs of 118 bytes, and inner hash and word of each one's map
     "proof": ["…", …],                                  the hashes that prove the PROMISEs together
     "holders": [{"account": 3, "series": 2, "salt": "…", "entry": "…", "proof": ["…", …]}, …]}

Binary parts are base64; a file is written in one way alone. `SolvencyProof.check` needs the key and nothing else: the
checkpoint is signed, the STATE is the last event of its journal, so that there is one state for a checkpoint, the trees of
accounts and of series give its root, the PROMISEs are in the tree of series, the total of each one's map is its units, and
each holder's way ends in that map.

What it shows is what the market has signed. That face and escrow are what the journal makes them, only those can tell who
read the journal (`rightsx verify`); that nothing is left out of a map each holder finds out for himself.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from rightsx.border import iso
from rightsx.commitment import holder_key, state_root
from rightsx.errors import MisuseError, ProofError
from rightsx.merkle import HASH_BYTES, check_batch, leaf_hash
from rightsx.note import parse_checkpoint, parse_note
from rightsx.protocol import EVENT_LENGTH, EVENT_VERSION, PROMISE, PROMISE_KIND, EventKind, events_in
from rightsx.receipt import LEAF_BYTES, parse_receipt
from rightsx.summap import SUM_END, SumProof, check_sum, entry_hash, parse_sum_proof
from rightsx.views import html_table, text_table
from rightsx.vocabulary import root_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rightsx.commitment import State
    from rightsx.note import Checkpoint, VerifierKey
    from rightsx.receipt import Receipt

FORMAT: Final = "rightsx-solvency/1"
_LENGTH: Final = EVENT_LENGTH.to_bytes(2, "little")


class Promise(NamedTuple):
    """What a series owes: units outstanding, their face, the escrow behind them, the value of one; amounts in minor units."""

    series: int
    merchant: int
    units: int
    face: int
    escrow: int
    value: int
    expire_ns: int
    holders: bytes


class Holder(NamedTuple):
    """What an account holds in a series, 0 if nothing, and the proof of it."""

    account: int
    series: int
    salt: bytes
    entry: SumProof
    proof: tuple[bytes, ...]


@dataclass(frozen=True, repr=False)
class Stated:
    """What a proof shows: when, in which signed journal, what is owed in some series of how many, and who holds how much.

    It shows itself as a table, with the sums of each merchant of several series.
    """

    time_ns: int
    checkpoint: Checkpoint
    series: int
    promises: list[Promise]
    holdings: list[tuple[int, int, int]]  # account, series, units

    def __str__(self) -> str:
        """Show the tables in plain text."""
        return "\n\n".join(text_table(*table) for table in self._tables())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return "".join(html_table(*table) for table in self._tables())

    def _tables(self) -> list[tuple[Sequence[str], list[Sequence[object]], str]]:
        shown = "all" if len(self.promises) == self.series else f"{len(self.promises):,} of"
        title = f"{self.checkpoint.origin}, {self.checkpoint.size:,} events, {iso(self.time_ns)}: {shown} {self.series:,} series"
        rows: list[Sequence[object]] = [
            (promise.series, promise.merchant, promise.units, promise.value, *_owed(promise.face, promise.escrow))
            for promise in self.promises
        ]
        for merchant, mine in groupby(sorted(self.promises, key=_merchant), key=_merchant):
            several = list(mine)
            if len(several) > 1:
                owed = _owed(sum(each.face for each in several), sum(each.escrow for each in several))
                rows.append(("all", merchant, sum(each.units for each in several), None, *owed))
        tables: list[tuple[Sequence[str], list[Sequence[object]], str]] = [
            (("series", "merchant", "units", "value", "face owed", "escrow", "cover"), rows, title)
        ]
        if self.holdings:
            tables.append((("account", "series", "units"), [*self.holdings], "holdings"))
        return tables


def _merchant(promise: Promise) -> int:
    return promise.merchant


def _owed(face: int, escrow: int) -> tuple[int, int, str]:
    """Give what is owed, what stands behind it, and how much of it that is."""
    return face, escrow, f"{escrow / face:.1%}" if face else "–"


class SolvencyProof(NamedTuple):
    """Promises and holdings of one published state."""

    receipt: bytes
    accounts: int
    accounts_root: bytes
    series: int
    series_root: bytes
    promises: tuple[bytes, ...]
    maps: tuple[bytes, ...]
    proof: tuple[bytes, ...]
    holders: tuple[Holder, ...] = ()

    def __bytes__(self) -> bytes:
        """Write the file."""
        told = {
            "format": FORMAT,
            "receipt": self.receipt.decode(),
            "accounts": [self.accounts, _text(self.accounts_root)],
            "series": [self.series, _text(self.series_root)],
            "promises": list(map(_text, self.promises)),
            "maps": list(map(_text, self.maps)),
            "proof": list(map(_text, self.proof)),
            "holders": [
                {
                    "account": holder.account,
                    "series": holder.series,
                    "salt": _text(holder.salt),
                    "entry": _text(bytes(holder.entry)),
                    "proof": list(map(_text, holder.proof)),
                }
                for holder in self.holders
            ],
        }
        return json.dumps(told, indent=1).encode() + b"\n"

    def check(self, key: VerifierKey) -> Stated:
        """Give what it shows; `ProofError` unless the key signed the journal that it is proved against, and all of it holds."""
        receipt = parse_receipt(self.receipt)
        return self._shown(receipt, receipt.check(key))

    def shown(self) -> Stated:
        """Give what it shows, to whoever drew it up himself: no signature is checked."""
        receipt = parse_receipt(self.receipt)
        return self._shown(receipt, parse_checkpoint(parse_note(receipt.checkpoint).text))

    def _shown(self, receipt: Receipt, checkpoint: Checkpoint) -> Stated:
        """Check all but the journal."""
        (event,) = events_in(_LENGTH + receipt.leaf)
        if event.kind != EventKind.STATE:
            raise ProofError(f"event {event.event_seq} is of kind {event.kind}; a STATE is due")
        if event.event_seq != checkpoint.size - 1:
            raise ProofError(f"the state is event {event.event_seq} of {checkpoint.size}; only the last one is the checkpoint's")
        if root_in(event) != state_root(self.accounts, self.accounts_root, self.series, self.series_root):
            raise ProofError(f"the parts of the state give another root than event {event.event_seq} states")
        promises = {found.series: found for found in map(_promise, self.promises)}
        if list(promises) != sorted(promises) or len(promises) < len(self.promises) or len(self.maps) != len(self.promises):
            raise ProofError("the series of the proof are not there once each, in their order, with a map each")
        leaves = {found.series - 1: leaf_hash(leaf) for found, leaf in zip(promises.values(), self.promises, strict=True)}
        check_batch(leaves, self.series, self.proof, self.series_root)
        for promise, top in zip(promises.values(), self.maps, strict=True):
            _check_total(promise, top)
        if len({(holder.account, holder.series) for holder in self.holders}) < len(self.holders):
            raise ProofError("a holding stands in the proof twice")
        holdings = [(holder.account, holder.series, self._units(holder, promises)) for holder in self.holders]
        return Stated(event.time_ns, checkpoint, self.series, list(promises.values()), holdings)

    def _units(self, holder: Holder, promises: dict[int, Promise]) -> int:
        """Give what a holder holds, if it is proved."""
        account, series = holder.account, holder.series
        if series not in promises:
            raise ProofError(f"a holding in series {series} is shown without the series")
        check_batch({account: holder_key(holder.salt, account, 0)}, self.accounts, holder.proof, self.accounts_root)
        promise = promises[series]
        return check_sum(holder.entry, holder_key(holder.salt, account, series), promise.units, promise.holders)


def draw_up(
    state: State, receipt: Receipt, series: Iterable[int] | None = None, holders: Iterable[tuple[int, int]] = ()
) -> SolvencyProof:
    """Draw up a proof of these series (all, unless some are named), and of what accounts hold: (account, series) of `holders`.

    `MisuseError` for one that the state does not have, and for a receipt that is not of the event that states it. O(accounts).
    """
    (event,) = events_in(_LENGTH + receipt.leaf)
    if event.kind != EventKind.STATE or root_in(event) != state.root:
        raise MisuseError("what was published last is another state; publish() first")
    try:
        pairs = dict.fromkeys((account, number) for account, number in holders)
        shown = {*(range(1, state.series.size + 1) if series is None else series), *(number for _, number in pairs)}
    except (TypeError, ValueError):
        raise MisuseError("series are due as numbers, holders as pairs of account and series") from None
    for account, _ in pairs:
        _known("account", account, 0, state.accounts.size)
    numbers = sorted(_known("series", number, 1, state.series.size + 1) for number in shown)
    if not numbers:
        raise MisuseError("no series was named, and the state has none")
    return SolvencyProof(
        bytes(receipt),
        state.accounts.size,
        state.accounts.root(),
        state.series.size,
        state.series.root(),
        tuple(state.promises[number - 1].tobytes()[2:] for number in numbers),
        tuple(state.top_of(number) for number in numbers),
        tuple(state.series.prove(number - 1 for number in numbers)),
        tuple(
            Holder(
                account,
                number,
                bytes(state.salts[account]),
                state.prove_holder(account, number),
                tuple(state.accounts.prove([account])),
            )
            for account, number in pairs
        ),
    )


def _known(what: str, number: object, first: int, end: int) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or not first <= number < end:
        raise MisuseError(f"{what} was {number!r}; the state has {first} … {end - 1}")
    return number


def parse_solvency(data: bytes) -> SolvencyProof:
    """Read a file; `ProofError` says why it is none. Nothing is checked yet (`SolvencyProof.check`)."""
    try:
        told = json.loads(data)
        if told["format"] != FORMAT:
            raise ProofError(f"the format is {told['format']!r}; {FORMAT} is due")  # noqa: TRY301
        (accounts, accounts_root), (series, series_root) = told["accounts"], told["series"]
        found = SolvencyProof(
            told["receipt"].encode(),
            _count(accounts),
            _bytes(accounts_root, HASH_BYTES),
            _count(series),
            _bytes(series_root, HASH_BYTES),
            tuple(_bytes(each, LEAF_BYTES) for each in told["promises"]),
            tuple(_bytes(each, HASH_BYTES + 8) for each in told["maps"]),
            tuple(_bytes(each, HASH_BYTES) for each in told["proof"]),
            tuple(_holder(each) for each in told["holders"]),
        )
    except ProofError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ProofError(f"this is no proof of solvency: {type(error).__name__}: {error}") from None
    if bytes(found) != data:
        raise ProofError("the proof says what it says in another way than it is written")
    return found


def _holder(told: dict[str, Any]) -> Holder:
    return Holder(
        _id(told["account"]),
        _id(told["series"]),
        _bytes(told["salt"], HASH_BYTES),
        parse_sum_proof(_bytes(told["entry"])),
        tuple(_bytes(each, HASH_BYTES) for each in told["proof"]),
    )


def _check_total(promise: Promise, top: bytes) -> None:
    """Hold what a series owes against the total of its map, whose inner hash and word are given."""
    inner, word = top[:HASH_BYTES], int.from_bytes(top[HASH_BYTES:], "little")
    if entry_hash(inner, word) != promise.holders or word % SUM_END != promise.units:
        raise ProofError(f"series {promise.series} owes {promise.units} units; its holders hold {word % SUM_END} by another map")


def _promise(leaf: bytes) -> Promise:
    """Read a PROMISE."""
    if (leaf[0], leaf[1]) != (EVENT_VERSION, PROMISE_KIND):
        raise ProofError(f"a promise was of version {leaf[0]} and kind {leaf[1]}; {EVENT_VERSION} and {PROMISE_KIND} are due")
    values = dict(zip(PROMISE.names or (), np.frombuffer(_LENGTH + leaf, PROMISE)[0].item(), strict=True))
    found = Promise(**{name: int(values[name]) for name in Promise._fields[:-1]}, holders=bytes(values["holders"]))
    if values["zeros"].any():
        raise ProofError(f"a promise of series {found.series} has something behind its end")
    if found.series == 0 or min(found.units, found.face, found.escrow, found.value) < 0:
        raise ProofError(f"a promise of series {found.series} states less than nothing")
    return found


def _number(value: object, end: int) -> int:
    if type(value) is not int or not 0 <= value < end:
        raise ProofError(f"{value!r} stands where a number below {end} is due")
    return value


def _count(value: object) -> int:
    return _number(value, 2**62)


def _id(value: object) -> int:
    return _number(value, 2**32)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: object, length: int | None = None) -> bytes:
    try:
        data = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        raise ProofError(f"{text!r} is no base64") from None
    if length is not None and len(data) != length:
        raise ProofError(f"{text!r} stands where base64 of {length} bytes is due")
    return data
