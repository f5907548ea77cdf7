"""The accounts of the market, rebuilt from events alone: statements and reports (R47).

A third party that has only the journal can do what is done here: it never looks into an engine. `Books`
reads events one by one and keeps cash per account, units per holder, and for every series the escrow,
the outstanding units and the sums of the face ledger; each event is turned into *movements*, the lines
of a statement. Tests compare the books with the engine's own balances after every command, which is
how the events are shown to say everything.

    EVENT ─► movements: who, which series, ± cash, ± units        ─► Statement
          └► sums of its series: sold, redeemed, decayed, fees …  ─► Report
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from rightsx.protocol import Channel, Event, EventKind, FillFlag, NameOf, Side, Term
from rightsx.views import Entry, Report, Statement
from rightsx.wording import name_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PLATFORM: Final = 0
MOVED: Final = (
    "sold units",
    "granted units",
    "imported units",
    "issued face",
    "redeemed",
    "decayed",
    "expired",
    "refunded",
    "bought back",
    "defaulted",
    "traded units",
    "traded notional",
    "gross",
    "issue fees",
    "trade fees",
    "gift fees",
    "royalties",
    "escrow in",
    "escrow out",
    "borne twice",
)


class Movement(NamedTuple):
    """One change: an account's cash and its units of a series."""

    account: int
    series: int
    cash: int
    units: int
    what: str


@dataclass
class SeriesBooks:
    """One series as events tell it. `sums` counts `MOVED`; face and money in minor units."""

    merchant: int
    product: int
    par: int
    issue_price: int
    value: int
    expire_ns: int
    policy: int = 0
    units: int = 0
    escrow: int = 0
    face_owed: int = 0
    holders: Counter[int] = field(default_factory=Counter)
    sums: Counter[str] = field(default_factory=Counter)
    channels: Counter[int] = field(default_factory=Counter)
    stores: Counter[int] = field(default_factory=Counter)
    decayed_before_sale: int = 0
    last_price: int = 0


class Books:
    """Balances and face ledgers rebuilt from events; `apply` takes them in order."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        """Begin empty and read what is given."""
        self.cash: Counter[int] = Counter()
        self.series: dict[int, SeriesBooks] = {}
        self.claims: Counter[tuple[int, int]] = Counter()
        self.debts: Counter[int] = Counter()
        self.name_events: defaultdict[tuple[int, int, int], list[Event]] = defaultdict(list)
        for event in events:
            self.apply(event)

    def apply(self, event: Event) -> list[Movement]:
        """Book one event and give the movements that it means. O(1), O(holders) when a series ends."""
        handler = _HANDLERS.get(event.kind)
        if handler is None:
            return []
        movements = handler(self, event)
        for account, series, cash, units, _ in movements:
            self.cash[account] += cash
            if units:
                book = self.series[series]
                book.holders[account] += units
                book.units += units
        return movements

    def name(self, what: NameOf, number: int, account: int = 0) -> str:
        """Give the name of something registered, or its number."""
        for (kind, owner, named), parts in self.name_events.items():
            if (kind, named) == (what, number) and account in (0, owner):
                return name_text(parts)
        return str(number)


# ── one handler for each kind of event that moves something ──────────────────────────────────────


def _cash_in(books: Books, e: Event) -> list[Movement]:
    return [Movement(e.account, 0, e.amount, 0, "deposit")]


def _cash_out(books: Books, e: Event) -> list[Movement]:
    return [Movement(e.account, 0, -e.amount, 0, "withdrawal")]


def _charged_back(books: Books, e: Event) -> list[Movement]:
    books.debts[e.account] += e.fee
    return [Movement(e.account, 0, -e.amount, 0, "chargeback")]


def _listed(books: Books, e: Event) -> list[Movement]:
    books.series[e.series] = SeriesBooks(e.account, e.extra, e.amount, e.price, e.fee, e.other_order_id)
    return []


def _term(books: Books, e: Event) -> list[Movement]:
    if e.code == Term.POLICY:
        books.series[e.series].policy = e.amount
    return []


def _name(books: Books, e: Event) -> list[Movement]:
    parts = books.name_events[e.code, e.account, e.extra]
    if e.flags == 0:
        parts.clear()
    parts.append(e)
    return []


def _issue(books: Books, e: Event, sums: dict[str, int]) -> SeriesBooks:
    book = books.series[e.series]
    book.sums.update(sums)
    book.sums["issued face"] += e.qty * book.value
    book.face_owed += e.qty * book.value
    book.decayed_before_sale += e.qty * (book.par - book.value)
    book.channels[e.extra] += e.qty
    book.sums["escrow in"] += e.other_fee
    book.escrow += e.other_fee
    return book


def _sold(books: Books, e: Event) -> list[Movement]:
    _issue(books, e, {"sold units": e.qty, "gross": e.amount, "issue fees": e.fee})
    return [
        Movement(e.account, e.series, -e.amount, e.qty, "subscription"),
        Movement(PLATFORM, e.series, e.fee, 0, "issue fee"),
        Movement(e.other_account, e.series, e.amount - e.fee - e.other_fee, 0, "primary sale"),
    ]


def _granted(books: Books, e: Event) -> list[Movement]:
    _issue(books, e, {"granted units": e.qty})
    return [Movement(e.account, e.series, 0, e.qty, "grant")]


def _imported(books: Books, e: Event) -> list[Movement]:
    _issue(books, e, {"imported units": e.qty, "gross": e.qty * e.price})
    return [
        Movement(e.account, e.series, 0, e.qty, "import"),
        Movement(e.other_account, e.series, -e.other_fee, 0, "escrow of an import"),
    ]


def _fill(books: Books, e: Event) -> list[Movement]:
    book = books.series[e.series]
    notional = e.price * e.qty
    first_buys = e.side == Side.BUY
    buyer, buyer_fee = (e.account, e.fee) if first_buys else (e.other_account, e.other_fee)
    seller, seller_fee = (e.other_account, e.other_fee) if first_buys else (e.account, e.fee)
    sums = {"traded units": e.qty, "traded notional": notional, "trade fees": e.fee + e.other_fee, "royalties": e.amount}
    book.sums.update(sums)
    book.last_price = e.price
    kept = 0 if e.flags & FillFlag.BUYBACK else e.qty
    if not kept:
        _remove_face(book, "bought back", e.qty * book.value)
    return [
        Movement(buyer, e.series, -notional - buyer_fee, kept, "purchase"),
        Movement(seller, e.series, notional - seller_fee - e.amount, -e.qty, "sale"),
        Movement(PLATFORM, e.series, e.fee + e.other_fee, 0, "trade fee"),
        Movement(book.merchant, e.series, e.amount, 0, "royalty"),
    ]


def _gifted(books: Books, e: Event) -> list[Movement]:
    books.series[e.series].sums["gift fees"] += e.fee
    return [
        Movement(e.account, e.series, -e.fee, -e.qty, "gift given"),
        Movement(e.other_account, e.series, 0, e.qty, "gift received"),
        Movement(PLATFORM, e.series, e.fee, 0, "gift fee"),
    ]


def _remove_face(book: SeriesBooks, name: str, face: int) -> None:
    book.sums[name] += face
    book.face_owed -= face


def _redeemed(books: Books, e: Event) -> list[Movement]:
    book = books.series[e.series]
    _remove_face(book, "redeemed", e.amount)
    book.stores[e.extra] += e.amount
    return [Movement(e.account, e.series, 0, -e.qty, "redemption")]


def _refunded(books: Books, e: Event) -> list[Movement]:
    _remove_face(books.series[e.series], "refunded", e.qty * e.price)
    return [
        Movement(e.account, e.series, e.other_fee, -e.qty, "refund"),
        Movement(e.other_account, e.series, -e.other_fee, 0, "refund paid"),
    ]


def _released(books: Books, e: Event) -> list[Movement]:
    book = books.series[e.series]
    book.escrow -= e.amount
    book.sums["escrow out"] += e.amount
    return [Movement(e.account, e.series, e.amount, 0, "escrow")]


def _decayed(books: Books, e: Event) -> list[Movement]:
    book = books.series[e.series]
    _remove_face(book, "decayed", e.amount)
    book.value = e.price
    return []


def _lapsed(books: Books, e: Event) -> list[Movement]:
    _remove_face(books.series[e.series], "decayed", e.amount)
    return []


def _ended(books: Books, e: Event) -> list[Movement]:
    """Book the end of a series: the units of all its holders go (R23, R29)."""
    book = books.series[e.series]
    what = "expiry" if e.kind == EventKind.EXPIRED else "default"
    _remove_face(book, "expired" if what == "expiry" else "defaulted", e.amount)
    if what == "expiry":
        book.value = 0
    book.escrow -= e.fee
    book.sums["escrow out"] += e.fee
    gone = [Movement(account, e.series, 0, -units, what) for account, units in sorted(book.holders.items()) if units]
    # A default pays holders from the escrow alone; other_fee is 0 there.
    return [*gone, Movement(e.account, e.series, -e.other_fee, 0, "paid to holders")]


def _paid_out(books: Books, e: Event) -> list[Movement]:
    books.claims[e.account, e.series] += e.other_fee
    return [Movement(e.account, e.series, e.amount, 0, "pay-out")]


def _double(books: Books, e: Event) -> list[Movement]:
    books.series[e.series].sums["borne twice"] += e.amount
    return []


_HANDLERS: Final[dict[int, Callable[[Books, Event], list[Movement]]]] = {
    EventKind.DEPOSITED: _cash_in,
    EventKind.WITHDRAWN: _cash_out,
    EventKind.CHARGED_BACK: _charged_back,
    EventKind.LISTED: _listed,
    EventKind.TERM: _term,
    EventKind.NAME: _name,
    EventKind.SOLD: _sold,
    EventKind.GRANTED: _granted,
    EventKind.IMPORTED: _imported,
    EventKind.FILL: _fill,
    EventKind.GIFTED: _gifted,
    EventKind.REDEEMED: _redeemed,
    EventKind.VOUCHER_REDEEMED: _redeemed,
    EventKind.REFUNDED: _refunded,
    EventKind.ESCROW_RELEASED: _released,
    EventKind.DECAYED: _decayed,
    EventKind.VOUCHER_LAPSED: _lapsed,
    EventKind.EXPIRED: _ended,
    EventKind.SERIES_DEFAULTED: _ended,
    EventKind.PAID_OUT: _paid_out,
    EventKind.DOUBLE_REDEEMED: _double,
}


# ── what is asked of them (R47) ──────────────────────────────────────────────────────────────────


def statement(events: Iterable[Event], account: int, from_ns: int, to_ns: int) -> Statement:
    """Draw up an account's statement for the span from_ns ≤ t < to_ns. O(events)."""
    books, entries = Books(), []
    opening_cash, opening_units = 0, {}
    opened = False
    for event in events:
        if event.time_ns >= from_ns and not opened:
            opened, opening_cash, opening_units = True, books.cash[account], _units(books, account)
        if event.time_ns >= to_ns:
            break
        moves = books.apply(event)
        if opened:
            entries += [
                Entry(event.time_ns, move.what, move.series, move.units, move.cash, event.event_seq)
                for move in moves
                if move.account == account and (move.cash or move.units)
            ]
    if not opened:
        opening_cash, opening_units = books.cash[account], _units(books, account)
    return Statement(account, opening_cash, books.cash[account], opening_units, _units(books, account), entries)


def _units(books: Books, account: int) -> dict[int, int]:
    return {number: book.holders[account] for number, book in books.series.items() if book.holders[account]}


def report(events: Iterable[Event], wanted: Callable[[int, SeriesBooks], bool], title: str, from_ns: int, to_ns: int) -> Report:
    """Add up the series that `wanted` chooses over the span from_ns ≤ t < to_ns. O(events)."""
    books, before = Books(), None
    for event in events:
        if event.time_ns >= from_ns and before is None:
            before = _totals(books, wanted)
        if event.time_ns >= to_ns:
            break
        books.apply(event)
    opening, closing = before or _totals(books, wanted), _totals(books, wanted)
    ends = ("units", "face owed", "escrow")
    moved = {name: closing.sums[name] - opening.sums[name] for name in MOVED}
    built_in = {channel.value: channel.name.lower() for channel in Channel}
    channels: Counter[str] = Counter()
    for number, qty in (closing.channels - opening.channels).items():
        channels[built_in.get(number) or books.name(NameOf.CHANNEL, number)] += qty
    stores: Counter[str] = Counter()
    for number, face in (closing.stores - opening.stores).items():
        stores[books.name(NameOf.STORE, number) if number else "no store"] += face
    return Report(
        title,
        {name: opening.ends[name] for name in ends},
        moved,
        {name: closing.ends[name] for name in ends},
        dict(channels),
        dict(stores),
    )


class _Totals(NamedTuple):
    sums: Counter[str]
    ends: Counter[str]
    channels: Counter[int]
    stores: Counter[int]


def _totals(books: Books, wanted: Callable[[int, SeriesBooks], bool]) -> _Totals:
    totals = _Totals(Counter(), Counter(), Counter(), Counter())
    for number, book in books.series.items():
        if wanted(number, book):
            totals.sums.update(book.sums)
            totals.ends.update({"units": book.units, "face owed": book.face_owed, "escrow": book.escrow})
            totals.channels.update(book.channels)
            totals.stores.update(book.stores)
    return totals
