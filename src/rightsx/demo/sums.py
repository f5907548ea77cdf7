"""Adds a demo up from its events alone, and holds the sums against the engine's own.

    market.events ──► Books ──► totals, flows of money and face, stories of series
                        │
                        └────── conservation ◄────── what the engine says of every account and series

Everything that the table and the picture show is rebuilt from the public events, as a third party
would do it; only quotes and one book's depth were noted while the market ran. The *conservation* then
asks the engine for every account's cash and every series' escrow, units and face ledger, and names
each number in which events and engine differ. A lost, doubled or altered event shows there: the check
can fail, and a test makes it fail.

**Rescued value** is the face consumed by people who had bought the units from other holders: what the
market as such adds, as the sellers had given these units up. To know them, each holding is kept as a
queue of parcels with their origin (sold by the merchant, bought from a holder, given), oldest first,
as R15 takes lots; a gift and a unit from the primary sale rescue nothing. That a seller would have let
every such unit lapse is an assumption, so the figure is the most that was rescued.

Invariants
- Only integers; face and money in minor units (fen, cents), never mixed with units.
- Money: deposits − withdrawals − chargebacks = Σ cash + Σ escrow, at every sample of the flows (R36).
- Face: sold × par = redeemed + decayed, also before sale + expired + refunded + bought back
  + defaulted + owed, for every series (R11).

Costs: one pass over the events; O(accounts + series) questions to the engine.
"""

from __future__ import annotations

import textwrap
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from rightsx.protocol import EventKind, FillFlag, NameOf, Side, Term
from rightsx.reports import PLATFORM, Books
from rightsx.views import text_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rightsx.exchange import Exchange
    from rightsx.inspection import StoreReport
    from rightsx.protocol import Event
    from rightsx.views import Level

PURSES: Final = ("holders", "escrow", "merchants", "stores", "platform")
FATES: Final = ("owed", "redeemed", "decayed", "expired", "refunded", "bought back", "defaulted")
WIDTH: Final = 80  # columns of a terminal


# ── what is handed back ──────────────────────────────────────────────────────────────────────────


class Totals(NamedTuple):
    """The sums of a whole demo. `_face` and `_money` in minor units, `_units` in units.

    `rescued_*` is the part of `redeemed_*` that was bought from other holders.
    """

    issued_units: int
    issued_face: int
    sold_units: int
    sold_face: int
    sold_money: int
    trades: int
    traded_units: int
    traded_money: int
    gifted_units: int
    redeemed_units: int
    redeemed_face: int
    rescued_units: int
    rescued_face: int
    decayed_face: int
    decayed_before_sale_face: int
    expired_units: int
    expired_face: int
    refunded_units: int
    refunded_face: int
    refunded_money: int
    bought_back_units: int
    bought_back_face: int
    bought_back_money: int
    defaulted_units: int
    defaulted_face: int
    owed_face: int
    escrow_in: int
    escrow_out: int
    escrow_left: int
    issue_fees: int
    trade_fees: int
    gift_fees: int
    royalties: int
    claims: int
    debts: int


@dataclass(frozen=True)
class Conservation:
    """Whether nothing was lost: the cash that came in, where it is, and all that does not agree.

    `cash` and `escrow` are the engine's own sums, `differences` one clause for each number in which
    the events say something else. `holds` is the verdict.
    """

    deposits: int
    withdrawals: int
    chargebacks: int
    cash: int
    escrow: int
    account_count: int
    series_count: int
    differences: tuple[str, ...]

    @property
    def net(self) -> int:
        """What came in and has not gone out, by the events."""
        return self.deposits - self.withdrawals - self.chargebacks

    @property
    def holds(self) -> bool:
        """Whether every sum agrees."""
        return not self.differences and self.net == self.cash + self.escrow

    def __str__(self) -> str:
        """Say it in three lines, and name up to five differences."""
        verdict = "nothing is lost" if self.holds else "DOES NOT HOLD"
        lines = [
            f"conservation: {verdict}",
            f"  deposits {self.deposits:,} − withdrawals {self.withdrawals:,} − chargebacks {self.chargebacks:,}",
            f"  = {self.net:,} {'=' if self.net == self.cash + self.escrow else '≠'} cash {self.cash:,} + escrow {self.escrow:,}",
            f"  events and engine agree on {self.account_count:,} accounts and {self.series_count:,} series"
            if not self.differences
            else f"  events and engine differ in {len(self.differences):,} numbers:",
        ]
        return "\n".join(lines + [f"    {clause}" for clause in self.differences[:5]])


class Quote(NamedTuple):
    """The best prices of a series at a moment."""

    time_ns: int
    bid: int | None
    ask: int | None


class Trade(NamedTuple):
    """One fill."""

    time_ns: int
    price: int
    qty: int


@dataclass
class Story:
    """The life of one series, for drawing. Times in ns; `open_ns` is 0 without an opening auction."""

    series: int
    par: int
    issue_price: int
    first_value: int
    listed_ns: int
    last_trade_ns: int
    expire_ns: int
    open_ns: int = 0
    defaulted_ns: int = 0
    merchant: str = ""
    product: str = ""
    shape: str = ""
    policy: str = ""
    steps: list[tuple[int, int]] = field(default_factory=list)
    trades: list[Trade] = field(default_factory=list)
    quotes: list[Quote] = field(default_factory=list)

    @property
    def end_ns(self) -> int:
        """When it was over: at its expiry, or when its merchant defaulted."""
        return self.defaulted_ns or self.expire_ns


@dataclass
class Flows:
    """Samples at equal distances: whose money, and what became of the face (minor units)."""

    times: list[int] = field(default_factory=list)
    money: dict[str, list[int]] = field(default_factory=lambda: {name: [] for name in PURSES})
    face: dict[str, list[int]] = field(default_factory=lambda: {name: [] for name in FATES})
    net: list[int] = field(default_factory=list)


class Book(NamedTuple):
    """One book at one moment: all prices of both sides, best first."""

    series: int
    time_ns: int
    value: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


@dataclass(frozen=True)
class DemoResult:
    """A demo that has been played: its sums, its proof, its picture's data, and the market itself.

    `commands` counts accepted commands by verb, `refusals` refused ones by code. `str` is the table.
    """

    days: int
    series: int
    holders: int
    seed: int
    engine: str
    totals: Totals
    conservation: Conservation
    commands: dict[str, int]
    refusals: dict[str, int]
    state_hash: str
    flows: Flows
    stories: tuple[Story, ...]
    book: Book | None
    market: Exchange = field(repr=False, compare=False)
    seconds: float = field(default=0.0, repr=False, compare=False)  # in the market's verbs, if somebody held a watch
    kept: StoreReport | None = field(default=None, repr=False, compare=False)  # what its store was found to be

    @property
    def command_count(self) -> int:
        """How many commands were given, refused ones included."""
        return sum(self.commands.values()) + sum(self.refusals.values())

    def rows(self) -> list[tuple[str, int | None, int | None, int | None]]:
        """List the table: what, units, face, money."""
        t = self.totals
        return [
            ("issued (authorised)", t.issued_units, t.issued_face, None),
            ("sold by merchants", t.sold_units, t.sold_face, t.sold_money),
            (f"traded, {t.trades:,} times", t.traded_units, None, t.traded_money),
            ("redeemed", t.redeemed_units, t.redeemed_face, None),
            ("  of it rescued by resale", t.rescued_units, t.rescued_face, None),
            ("decayed", None, t.decayed_face, None),
            ("decayed before sale", None, t.decayed_before_sale_face, None),
            ("expired", t.expired_units, t.expired_face, None),
            ("refunded", t.refunded_units, t.refunded_face, t.refunded_money),
            ("bought back", t.bought_back_units, t.bought_back_face, t.bought_back_money),
            ("lost in a default", t.defaulted_units, t.defaulted_face, None),
            ("still owed in goods", None, t.owed_face, None),
            ("escrow paid in", None, None, t.escrow_in),
            ("escrow paid out", None, None, t.escrow_out),
            ("escrow left", None, None, t.escrow_left),
            ("fees of the platform", None, None, t.issue_fees + t.trade_fees + t.gift_fees),
            ("royalties of merchants", None, None, t.royalties),
            ("claims on merchants", None, None, t.claims),
        ]

    def commands_text(self) -> str:
        """Say how many commands were given, and how many were refused for what, the most frequent first."""
        refused = sum(self.refusals.values())
        share = refused * 1_000 // max(1, self.command_count)
        ranked = sorted(self.refusals.items(), key=lambda one: (-one[1], one[0]))
        listed = ", ".join(f"{name} {count:,}" for name, count in ranked) or "none"
        return f"commands: {self.command_count:,}, of which refused {refused:,} ({share // 10}.{share % 10} %): {listed}"

    def pace_text(self) -> str:
        """Say how many commands a second the market took, its Python verbs included; "" if nobody held a watch."""
        if not self.seconds:
            return ""
        took = f"{self.seconds:.1f} s" if self.seconds >= 1 else f"{self.seconds * 1_000:.0f} ms"
        return f"{self.command_count / self.seconds:,.0f} commands a second, one call each: {took} in the market"

    def __str__(self) -> str:
        """Lay the demo out in 80 columns: the table, the commands, the conservation, the hash."""
        title = f"{self.days:,} days, {self.series:,} series, {self.holders:,} holders, seed {self.seed}, engine {self.engine}"
        lines = [
            text_table(("", "units", "face", "money"), self.rows(), title),
            "face and money in minor units, such as cents",
            "",
            *textwrap.wrap(self.commands_text(), WIDTH, subsequent_indent="  "),
            str(self.conservation),
            f"state hash {self.state_hash}",
        ]
        return "\n".join(lines)


# ── who bought what from whom ────────────────────────────────────────────────────────────────────


class Parcels:
    """Every holding as a queue of [units, bought from a holder?], oldest first, and what was rescued."""

    def __init__(self) -> None:
        """Begin empty."""
        self.units = 0
        self.face = 0
        self._held: defaultdict[tuple[int, int], deque[list[int]]] = defaultdict(deque)

    def read(self, e: Event) -> None:
        """Follow one event; what a series' end leaves is never asked for again. O(parcels passed)."""
        kind = e.kind
        if kind in (EventKind.SOLD, EventKind.GRANTED, EventKind.IMPORTED):
            self._held[e.account, e.series].append([e.qty, 0])
        elif kind == EventKind.GIFTED:
            self._take(e.account, e.series, e.qty)
            self._held[e.other_account, e.series].append([e.qty, 0])
        elif kind == EventKind.FILL:
            first_buys = e.side == Side.BUY
            buyer, seller = (e.account, e.other_account) if first_buys else (e.other_account, e.account)
            self._take(seller, e.series, e.qty)
            if not e.flags & FillFlag.BUYBACK:
                self._held[buyer, e.series].append([e.qty, 1])
        elif kind in (EventKind.REDEEMED, EventKind.VOUCHER_REDEEMED):
            bought = self._take(e.account, e.series, e.qty)
            self.units += bought
            self.face += bought * e.price
        elif kind == EventKind.REFUNDED:
            self._take(e.account, e.series, e.qty, of=0)

    def _take(self, account: int, series: int, qty: int, of: int | None = None) -> int:
        """Take the oldest parcels, of one origin if named, and count the bought units among them."""
        queue, kept, bought = self._held[account, series], [], 0
        while qty and queue:
            parcel = queue.popleft()
            if of is not None and parcel[1] != of:
                kept.append(parcel)
                continue
            taken = min(qty, parcel[0])
            parcel[0] -= taken
            qty -= taken
            bought += taken * parcel[1]
            if parcel[0]:
                kept.append(parcel)
        queue.extendleft(reversed(kept))
        return bought


# ── one pass over the events ─────────────────────────────────────────────────────────────────────


class Reading:
    """All that one pass over the events gives: books, sums, flows, stories."""

    def __init__(self, events: Iterable[Event], *, start_ns: int, end_ns: int, samples: int) -> None:
        """Read the events, which lie between start and end, and sample the flows `samples` times."""
        self.books = Books()
        self.flows = Flows()
        self.stories: dict[int, Story] = {}
        self.parcels = Parcels()
        self.sums: Counter[str] = Counter()
        self.accounts: list[int] = [PLATFORM]
        self._purse: dict[int, str] = {PLATFORM: "platform"}
        self._money: Counter[str] = Counter()
        marks = deque(start_ns + (end_ns - start_ns) * k // samples for k in range(samples + 1))
        for event in events:
            while marks and event.time_ns > marks[0]:
                self._sample(marks.popleft())
            self._read(event)
        while marks:
            self._sample(marks.popleft())
        # A product's name follows its first listing, so stories get their names last.
        for number, story in self.stories.items():
            book = self.books.series[number]
            story.merchant = self.books.name(NameOf.ACCOUNT, book.merchant)
            story.product = self.books.name(NameOf.PRODUCT, book.product)

    def _sample(self, time_ns: int) -> None:
        books = self.books.series.values()
        self.flows.times.append(time_ns)
        for name in PURSES:
            self.flows.money[name].append(sum(book.escrow for book in books) if name == "escrow" else self._money[name])
        for name in FATES:
            self.flows.face[name].append(sum(book.face_owed if name == "owed" else book.sums[name] for book in books))
        self.flows.net.append(self.sums["deposit"] - self.sums["withdrawal"] - self.sums["chargeback"])

    def _read(self, e: Event) -> None:
        if e.kind in (EventKind.ACCOUNT_OPENED, EventKind.MERCHANT_REGISTERED):
            self.accounts.append(e.account)
            self._purse[e.account] = "holders" if e.kind == EventKind.ACCOUNT_OPENED else "merchants"
        elif e.kind == EventKind.STORE_REGISTERED and e.other_account != e.account:
            self._purse[e.other_account] = "stores"
        self._tell(e)
        self._count(e)
        self.parcels.read(e)
        for move in self.books.apply(e):
            self._money[self._purse.get(move.account, "holders")] += move.cash
            if move.what in ("deposit", "withdrawal", "chargeback"):
                self.sums[move.what] += abs(move.cash)

    def _tell(self, e: Event) -> None:
        """Write an event into its series' story."""
        if e.kind == EventKind.LISTED:
            self.stories[e.series] = Story(e.series, e.amount, e.price, e.fee, e.time_ns, e.order_id, e.other_order_id)
        elif e.kind == EventKind.STEP:
            self.stories[e.series].steps.append((e.other_order_id, e.price))
        elif e.kind == EventKind.TERM and e.code == Term.OPEN_NS:
            self.stories[e.series].open_ns = e.amount
        elif e.kind == EventKind.FILL:
            self.stories[e.series].trades.append(Trade(e.time_ns, e.price, e.qty))
        elif e.kind == EventKind.SERIES_DEFAULTED:
            self.stories[e.series].defaulted_ns = e.time_ns

    def _count(self, e: Event) -> None:
        """Add up what the books do not: counts, units and money of what left."""
        if e.kind == EventKind.LISTED:
            self.sums.update({"issued units": e.qty, "issued face": e.qty * e.amount})
        elif e.kind == EventKind.FILL:
            back = e.qty if e.flags & FillFlag.BUYBACK else 0
            self.sums.update({"trades": 1, "bought back units": back, "bought back money": back * e.price})
        elif e.kind in (EventKind.REDEEMED, EventKind.VOUCHER_REDEEMED):
            self.sums["redeemed units"] += e.qty
        elif e.kind == EventKind.REFUNDED:
            self.sums.update({"refunded units": e.qty, "refunded money": e.amount})
        elif e.kind == EventKind.GIFTED:
            self.sums["gifted units"] += e.qty
        elif e.kind == EventKind.EXPIRED:
            self.sums["expired units"] += e.qty
        elif e.kind == EventKind.SERIES_DEFAULTED:
            self.sums["defaulted units"] += e.qty

    def totals(self) -> Totals:
        """Add everything up. O(series)."""
        books, mine = self.books.series.values(), self.sums
        all_of: Counter[str] = Counter()
        for book in books:
            all_of.update(book.sums)
        return Totals(
            issued_units=mine["issued units"],
            issued_face=mine["issued face"],
            sold_units=all_of["sold units"],
            sold_face=sum(book.sums["sold units"] * book.par for book in books),
            sold_money=all_of["gross"],
            trades=mine["trades"],
            traded_units=all_of["traded units"],
            traded_money=all_of["traded notional"],
            gifted_units=mine["gifted units"],
            redeemed_units=mine["redeemed units"],
            redeemed_face=all_of["redeemed"],
            rescued_units=self.parcels.units,
            rescued_face=self.parcels.face,
            decayed_face=all_of["decayed"],
            decayed_before_sale_face=sum(book.decayed_before_sale for book in books),
            expired_units=mine["expired units"],
            expired_face=all_of["expired"],
            refunded_units=mine["refunded units"],
            refunded_face=all_of["refunded"],
            refunded_money=mine["refunded money"],
            bought_back_units=mine["bought back units"],
            bought_back_face=all_of["bought back"],
            bought_back_money=mine["bought back money"],
            defaulted_units=mine["defaulted units"],
            defaulted_face=all_of["defaulted"],
            owed_face=sum(book.face_owed for book in books),
            escrow_in=all_of["escrow in"],
            escrow_out=all_of["escrow out"],
            escrow_left=sum(book.escrow for book in books),
            issue_fees=all_of["issue fees"],
            trade_fees=all_of["trade fees"],
            gift_fees=all_of["gift fees"],
            royalties=all_of["royalties"],
            claims=sum(self.books.claims.values()),
            debts=sum(self.books.debts.values()),
        )


# ── events against engine ────────────────────────────────────────────────────────────────────────


def conservation(market: Exchange, events: Sequence[Event]) -> Conservation:
    """Compare what the events say with what the engine says, number by number. O(events + accounts × series).

    Any event lost, doubled or altered that moved money, units or face makes `holds` false.
    """
    books, opened, kinds = Books(), [], (EventKind.ACCOUNT_OPENED, EventKind.MERCHANT_REGISTERED)
    moved: Counter[str] = Counter()
    for event in events:
        opened += [event.account] if event.kind in kinds else []
        for move in books.apply(event):
            moved[move.what] += abs(move.cash)
    cash = {PLATFORM: market.platform_cash} | {account: market.account(account).cash for account in opened}
    found = [
        f"cash of account {account}: events {books.cash[account]:,}, engine {cash.get(account, 0):,}"
        for account in sorted(cash.keys() | books.cash.keys())
        if books.cash[account] != cash.get(account, 0)
    ]
    escrow = 0
    for number in sorted(books.series):
        escrow += market.series(number).escrow
        found += _series_differences(market, books, number)
    return Conservation(
        deposits=moved["deposit"],
        withdrawals=moved["withdrawal"],
        chargebacks=moved["chargeback"],
        cash=sum(cash.values()),
        escrow=escrow,
        account_count=len(cash),
        series_count=len(books.series),
        differences=tuple(found),
    )


def _series_differences(market: Exchange, books: Books, number: int) -> list[str]:
    """Name each number of a series in which events and engine differ, and a face ledger that is off (R11)."""
    view, book = market.series(number), books.series[number]
    issued = sum(book.sums[name] for name in ("sold units", "granted units", "imported units"))
    pairs = {
        "sold": (issued, view.sold),
        "gross": (book.sums["gross"], view.gross),
        "units": (book.units, view.units),
        "escrow": (book.escrow, view.escrow),
        "face owed": (book.face_owed, view.face_owed),
        "redeemed": (book.sums["redeemed"], view.redeemed),
        "decayed": (book.sums["decayed"], view.decayed),
        "decayed before sale": (book.decayed_before_sale, view.decayed_before_sale),
        "expired": (book.sums["expired"], view.expired),
        "refunded": (book.sums["refunded"], view.refunded),
        "bought back": (book.sums["bought back"], view.bought_back),
        "defaulted": (book.sums["defaulted"], view.defaulted),
    }
    ends = sum(ours for name, (ours, _) in pairs.items() if name not in ("sold", "gross", "units", "escrow"))
    pairs["face ledger"] = (issued * book.par, ends)
    return [f"{name} of series {number}: events {ours:,}, engine {its:,}" for name, (ours, its) in pairs.items() if ours != its]
