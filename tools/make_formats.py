"""Writes FORMATS.md from the tables of `protocol` and `vocabulary`: run it when they change.

python tools/make_formats.py
"""

from __future__ import annotations

from pathlib import Path

from rightsx.protocol import (
    COMMAND,
    EVENT,
    PROMISE,
    REPORT,
    AmendFlag,
    CancelReason,
    Channel,
    FillFlag,
    NameOf,
    OrderFlag,
    Policy,
    Refusal,
    ReportKind,
    Side,
    Term,
    TimeInForce,
)
from rightsx.vocabulary import COMMANDS, PAYLOADS
from rightsx.wording import EVENTS

HEAD = """# Every byte that leaves the process

Little-endian, without padding. What a *kind* means by a field is in the tables below; a field that a kind does not name is 0.
This page is written by `tools/make_formats.py` from the tables in `protocol.py` and `vocabulary.py`; a test holds them together.
A number once given is never given again; a change of meaning raises `RULES_VERSION` or `EVENT_VERSION` (both 1).

"""

STATE = """## The canonical state

`state_hash()` is the SHA-256 of one msgpack list; equal states give equal hashes in every engine. Its rows, in order:

0. the venue: gift_fee, reference_days, limits of orders, accounts, holdings, series
1. counters: clock_ns, command_seq, event_seq, accept_seq, lot_seq, timer_seq, next order id, killed, deposited, withdrawn, charged back
2. accounts by id, 0 is the platform: free cash, locked cash, debt, is merchant, frozen, defaulted, tier, max_open, max_notional,
   cancel_after ns (0 for none), names of terminals
3. products by id: merchant, name, series ids · 4. stores by id: merchant, name, settles to · 5. channels by id · 6. tiers: number, cap
7. members: merchant, member id, account, sorted
8. series by id, each: [merchant, product, the terms in the order of Term] [steps] [stores] [channel, cap] [value, reference, next
   step, last price, in auction, uncross waits, halted, closed, expired, defaulted] [sold, G, fee total, escrow total, E, N, vouchers
   issued, redeemed, decayed, decayed before sale, expired, refunded, bought back, defaulted] [channel, units, gross] [bids, asks in
   the order in which they would trade] [stops by acceptance] [holdings by account] [vouchers by id]
   [plans by account], which is left out where there is none
9. claims: account, series, amount · 10. references: account, ref, the command (time 0), command_seq, order id, filled, code
11. timers in firing order: due ns, class, sequence, kind (1 decay, 2 voucher, 3 order, 4 silence of an account, 5 uncross, 6 last trade,
   7 expiry, 8 forgetting, 9 a plan), subject (of a plan the account), ref (of a plan the series)

An order: id, account, side, limit, open, shown, display, filled, flags, time in force, deadline, stop price, budget, accept_seq,
timer_seq, fee owed (Σ notional × bps − 10,000 × charged), fee charged, royalty owed (the same of the royalty), cash locked, [lots];
a peg has its peg before the lots. A plan: account, start ns, price, last price, falls, keep, how often it was due, order id, timer_seq.
A number of 2^63 or more is written as decimal text. A lot: acquired ns, seq, qty, cost, primary. A holding: account, free, offered, in vouchers, open bids, [lots].
A voucher: id, account, qty, value, lock ns, redeemable until ns, lapse ns, timer_seq, terminal bits, redeemed, lapsed, [lots].

`OrderBook.state_hash()` is the SHA-256 of the decimal text of its rows: every queue in order, then generations and free slots.

## A store

A folder. `store.json`: format, rules version, the store's id, the journal's origin, the venue, and `check`, the first 16 hexadecimal
digits of the SHA-256 of the object without it as Python's `json.dumps` writes it; two opens of one store give one file, byte for byte.
Format 2; stores of format 1 publish no states. `secret`: 32 bytes, for the owner alone. `salts`: see What is owed. `lock`: who holds its lock writes. `log/00000001` …: the command log. `journal/public`: a C2SP
tiled log ([tlog-tiles](https://c2sp.org/tlog-tiles): `checkpoint`, `tile/…`). `journal/entries/00000000` …: records of 120 bytes,
65,536 a file; any 256 of them from a multiple of 256 on are a C2SP entry bundle.

### A frame of the log

Segments are files filled with zeros when they are made; frames follow each other from the first byte, each of a multiple of 8 bytes.

| field | offset | type | |
|---|---:|---|---|
| magic | 0 | 4 bytes | `RXLF` |
| kind | 4 | u1 | 1 SEGMENT, 2 OPEN, 3 BATCH, 4 COLD, 5 CLOSE |
| version | 5 | u1 | 1 |
| rules | 6 | <u2 | the rules version |
| length | 8 | <u4 | of the whole frame, bytes |
| count | 12 | <u4 | commands in it |
| epoch | 16 | <u4 | which opening of the store wrote it, from 1 |
| tag | 20 | <u4 | the first 4 bytes of the SHA-256 of `store.json` |
| previous | 24 | <u4 | `crc` of the frame before it, 0 for the first |
| body_crc | 28 | <u4 | CRC-32 of the body, padding included |
| place | 32 | <u8 | segment × 2^40 + offset of the frame |
| durable | 40 | <u8 | the place up to which the log had been synced when it was written |
| first_seq | 48 | <u8 | number of its first command, or of the next one |
| journal_size | 56 | <u8 | a size of the journal before it |
| root | 64 | 32 bytes | the journal's root at that size |
| crc | 96 | <u4 | CRC-32 of the 96 bytes before it |
| head | 100 | 4 bytes | `head` |
| body | 104 | | BATCH: COMMAND[count]; COLD: one COMMAND and its payload; SEGMENT: file size <u8, SHA-256 of `store.json` |
| end | length − 8 | 8 bytes | `crc` once more, `end!` |

### Snapshots

`snapshots/0000000000077321`: `RXSN`, format <u4 (1), header length <u8, the header, tables, and the SHA-256 of everything before it. The header is a
msgpack map: `tag`, `layout` (a digest of the tables' fields), `command_seq`, `end` (place, crc, epoch, next command, 0), `journal`, `told`, `names`,
`tables` ([number, rows] each). Tables lie as in memory, which a new version may change: a snapshot of another layout is passed over.

### Salts, checkpoints, receipts

`salt` of an event is the first 16 bytes of SHA-256(secret ‖ `event_seq`, 8 bytes little-endian). A checkpoint is a
[signed note](https://c2sp.org/signed-note) over origin, size and root; keys are lines of text as Go's `note` has them. A receipt is a
[tlog-proof](https://c2sp.org/tlog-proof) whose `extra` is the record, base64 of 118 bytes.

### What is owed

`salts`: blocks of first account <u4, count <u4, the command from which on they count <i8, CRC-32 <u4 of those 16 bytes and of the salts,
12 zeros, and count salts of 32 bytes; of two salts of an account the later counts, one of zeros is forgotten. Then, with H for SHA-256, ‖ between parts,
numbers little-endian, MTH for the root of an RFC 6962 tree, and the four words of PUBLISH and STATE for the 32 bytes of the root of the state:

- key of an account in a series = H(salt ‖ account <u4 ‖ series <u4); leaf of an account = its key in series 0
- entry = H(inner ‖ word <u8), word = sum + tag × 2^48; a leaf's inner is its key, its tag 0; a node's inner is H(1 ‖ left entry ‖ right entry), its tag
  1 + the first bit at which its keys differ, from the first byte's highest on; the left ones have 0 there; an empty map is H(40 zeros)
- PROMISE: `length` and `version` as in an EVENT, `kind` 255; units outstanding, their face, escrow, value now, expiry, entry of the map of holders
- root = H(`rightsx/state/1` and a zero ‖ accounts <u8 ‖ MTH(leaves of accounts 0 …) ‖ series <u8 ‖ MTH(bytes 2 … of PROMISEs 1 …))

A proof of solvency is a JSON object (`src/rightsx/solvency.py` shows one) in one way of writing alone; `maps` has inner and word of each PROMISE's map; `proof` has the hashes that are missing to fold the leaves that are there, as
a walk through the tree from the left meets them; `entry` is key, units <u8, and 41 bytes a step from the root down: bit, inner and word of the other side.

## Scenario files

Text in UTF-8, a command or an expectation a line; `rightsx run --words` prints the vocabulary, `src/rightsx/scenario.py` explains it.
"""


def record(name: str, dtype) -> list[str]:
    rows = [
        f"| {field} | {dtype.fields[field][1]} | {dtype[field].str.lstrip('|') if dtype[field].shape == () else several(dtype[field])} |"
        for field in dtype.names
    ]
    return [f"### {name}, {dtype.itemsize} bytes", "", "| field | offset | type |", "|---|---:|---|", *rows, ""]


def several(dtype) -> str:
    base, (count,) = dtype.subdtype
    return f"{count} × {base.str.lstrip('|')}"


def numbers(enum) -> str:
    return f"- **{enum.__name__}**: " + ", ".join(f"{member.value} {member.name}" for member in enum)


def page() -> str:
    lines = ["## Records", ""]
    for name, dtype in (("COMMAND", COMMAND), ("EVENT", EVENT), ("REPORT", REPORT), ("PROMISE", PROMISE)):
        lines += record(name, dtype)
    lines += [
        "EVENT: `length` is 0x7600, whose bytes `00 76` are the big-endian 118 of a C2SP entry bundle; bytes 2 … 119 are one RFC 6962 leaf.",
        "`event_seq` is the leaf's index, −1 for REFUSED and DUPLICATE, which are no leaves. `salt` is 0 until a journal fills it in (see A store).",
        "COMMAND: `time_ns` −2^63 means at the engine's clock.",
        "",
        "## Numbers",
        "",
    ]
    flags = (Side, TimeInForce, OrderFlag, AmendFlag, FillFlag, Policy, Channel, NameOf, Term, ReportKind, Refusal, CancelReason)
    lines += [*map(numbers, flags), "", "## Commands", "", "| kind | number | fields |", "|---|---:|---|"]
    for kind, arguments in COMMANDS.items():
        fields = "<br>".join(f"`{argument.field}` {argument.meaning}" for argument in arguments)
        lines.append(f"| {kind.name} | {kind.value} | {fields or '–'} |")
    lines += [
        "",
        "### Payloads",
        "",
        "Canonical msgpack maps: keys sorted at every depth, shortest integers, exactly these keys.",
        "",
    ]
    for kind, keys in PAYLOADS.items():
        lines.append(f"- {kind.name}: " + "; ".join(f"`{key}` {meaning}" for key, meaning in keys.items()))
    lines += ["", "## Events", "", "| kind | number | fields |", "|---|---:|---|"]
    for event_kind, shape in EVENTS.items():
        fields = "<br>".join(f"`{field}` {meaning}" for field, meaning in shape.fields.items())
        lines.append(f"| {event_kind.name} | {event_kind.value} | {fields or '–'} |")
    return HEAD + "\n".join(lines) + "\n\n" + STATE


if __name__ == "__main__":
    (Path(__file__).resolve().parents[1] / "FORMATS.md").write_text(page(), encoding="utf-8")
