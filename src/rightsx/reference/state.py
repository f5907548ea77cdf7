"""The state of the market as plain Python objects, and the few ways in which all of it changes.

    Market ─┬─ accounts[0 is the platform]      cash free and locked, flags, live orders
            ├─ series[from 1] ─┬─ book, stops   who wants to trade
            │                  ├─ holdings      account → units by where they are, lots
            │                  └─ vouchers      units frozen for use offline
            ├─ timers                           what falls due: (due, class, seq) (R2)
            ├─ references                       commands remembered by their `ref`
            └─ out                              events of the command that runs now

The chapters of RULES.md (`orders`, `value`, `redemption`, …) change it. The methods here are what they
share: `cash_lock` and `pay` move cash, `units_move` changes the parts of a holding, `escrow_pay` releases
escrow; `audit.check` adds everything up behind them. Who is refused, and why, is decided by the
chapters through `refuse_if`, which also asserts that the checks are made in the order of their numbers.

Everything that decides anything is an attribute here and is covered by `audit.state_hash`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from sortedcontainers import SortedList

from rightsx.protocol import (
    BPS,
    CALLER_ID_FIRST,
    NOT_A_LEAF,
    PRICE_END,
    QTY_END,
    Channel,
    Command,
    Event,
    EventKind,
    NameOf,
    Policy,
    Refusal,
    Terms,
    Venue,
)
from rightsx.reference.book import Book, Order
from rightsx.reference.lots import Holding, Lot
from rightsx.wording import name_parts

if TYPE_CHECKING:
    from collections.abc import Iterable

PLATFORM: Final = 0  # the platform's cash is that of account 0, which cannot act


class TimerKind(IntEnum):
    """What can fall due. Its class decides the order at one and the same ns (R2)."""

    DECAY = 1
    VOUCHER_LAPSE = 2
    ORDER_DUE = 3
    ACCOUNT_SILENT = 4
    UNCROSS = 5
    LAST_TRADE = 6
    EXPIRY = 7
    FORGET = 8
    PLAN_DUE = 9


# Good-till-date, cancel-after and plans are of one class: among them the sequence of creation decides (R2).
CLASS_OF: Final = dict(zip(TimerKind, (0, 1, 2, 2, 3, 4, 5, 6, 2), strict=True))


class RefusedError(Exception):
    """Leaves the checks of one command; `run` turns it into a REFUSED event."""

    def __init__(self, code: Refusal, field: str = "", found: int = 0, allowed: int = 0) -> None:
        """Keep the code, what is wrong (COMMAND field, payload key or term), what was found and what is allowed."""
        super().__init__(code.name)
        self.code, self.field, self.found, self.allowed = code, field, found, allowed


class Timer(NamedTuple):
    """Something that falls due, in the order in which timers run (R2).

    `subject` is the id of a series, voucher, order or account; `ref` is the reference to forget, or the series of a plan.
    """

    due_ns: int
    rank: int
    seq: int
    kind: TimerKind
    subject: int
    ref: int = 0


def timer(due_ns: int, kind: TimerKind, seq: int, subject: int, ref: int = 0) -> Timer:
    """Make a timer of its kind's class."""
    return Timer(due_ns, CLASS_OF[kind], seq, kind, subject, ref)


def series_timer(due_ns: int, kind: TimerKind, series: int) -> Timer:
    """Make a timer of a series; at one ns they run by series id, as if created at the listing (R2)."""
    return timer(due_ns, kind, series, series)


@dataclass(slots=True)
class Account:
    """Who owns cash and units."""

    id: int
    is_merchant: bool = False
    cash_free: int = 0
    cash_locked: int = 0
    debt: int = 0
    frozen: bool = False
    defaulted: bool = False
    tier: int = 0
    max_open: int = 0
    max_notional: int = 0
    orders: dict[int, Order] = field(default_factory=dict)
    cancel_after: Timer | None = None
    terminals: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Voucher:
    """Units frozen at their value for use offline (R28)."""

    id: int
    account: int
    qty: int
    value: int
    lock_ns: int
    redeem_end_ns: int
    lapse_ns: int
    timer_seq: int
    terminals: int
    lots: list[Lot]
    redeemed: bool = False
    lapsed: bool = False


@dataclass(slots=True)
class Plan:
    """What an account sells of a series if it is still unused, and how far that has come (R55)."""

    account: int
    start_ns: int
    price: int
    last_price: int
    falls: int
    keep: int
    step: int = 0  # how often it was due
    order_id: int = 0  # of the order that it placed last, which may be gone
    timer_seq: int = 0


@dataclass(slots=True)
class Series:
    """One series: its terms, its book, and the sums of its face ledger (R11)."""

    id: int
    merchant: int
    product: int
    terms: Terms
    steps: list[tuple[int, int]]
    stores: tuple[int, ...]
    channel_caps: dict[int, int]
    value: int
    reference: int
    step_index: int = 0
    book: Book = field(default_factory=Book)
    stops: dict[int, Order] = field(default_factory=dict)
    holdings: dict[int, Holding] = field(default_factory=dict)
    vouchers: dict[int, Voucher] = field(default_factory=dict)
    plans: dict[int, Plan] = field(default_factory=dict)  # by account
    in_auction: bool = False
    uncross_waits: bool = False
    halted: bool = False
    closed: bool = False
    expired: bool = False
    defaulted: bool = False
    last_price: int = 0
    sold: int = 0
    gross: int = 0
    fee_total: int = 0
    escrow_total: int = 0
    escrow: int = 0
    units: int = 0
    voucher_units: int = 0
    voucher_face: int = 0
    voucher_count: int = 0
    redeemed: int = 0
    decayed: int = 0
    decayed_before_sale: int = 0
    expired_face: int = 0
    refunded: int = 0
    bought_back: int = 0
    defaulted_face: int = 0
    channel_sold: Counter[int] = field(default_factory=Counter)
    channel_gross: Counter[int] = field(default_factory=Counter)

    @property
    def face_owed(self) -> int:
        """L: what the merchant still owes in goods (R11)."""
        return (self.units - self.voucher_units) * self.value + self.voucher_face

    @property
    def base(self) -> int:
        """B: what the escrow stands for (R12)."""
        return self.face_owed if self.terms.policy == Policy.FORFEIT else self.units

    def base_of(self, qty: int, value: int) -> int:
        """Give the part of the base that `qty` units of this value make up (R12)."""
        return qty * value if self.terms.policy == Policy.FORFEIT else qty

    @property
    def cap(self) -> int:
        """The price above which nobody may bid or ask (R10)."""
        return self.value * self.terms.cap_bps // BPS

    @property
    def live(self) -> bool:
        """Whether it has neither expired nor been ended by its merchant's default."""
        return not self.expired and not self.defaulted

    @property
    def keeps_lots(self) -> bool:
        """Whether the origin of units has an effect here (R15)."""
        return bool(self.terms.hold_ns or self.terms.cooling_off_ns or self.terms.clawback)

    def band(self) -> tuple[int, int]:
        """Give the lowest and the highest allowed price (R21): rounded half up to the tick."""
        if not self.terms.band_bps:
            return 1, PRICE_END - 1
        tick = self.terms.tick
        low, high = (
            (self.reference * rate * 2 + BPS * tick) // (2 * BPS * tick) * tick
            for rate in (BPS - self.terms.band_bps, BPS + self.terms.band_bps)
        )
        return low, high

    def orders(self) -> list[Order]:
        """List every open order and stop in order of acceptance (R48)."""
        resting = [order for side in (1, 2) for order in self.book.orders(side)]  # type: ignore[arg-type]
        return sorted([*resting, *self.stops.values()], key=lambda order: order.accept_seq)


class Product(NamedTuple):
    """A merchant's card product and the ids of its series, in order of listing."""

    merchant: int
    name: str
    series: list[int]


class Store(NamedTuple):
    """A till of a merchant and the account that its redemptions pay."""

    merchant: int
    name: str
    settles_to: int


class Reference(NamedTuple):
    """What a command with a `ref` was, and how it was answered the first time."""

    content: Command
    command_seq: int
    order_id: int
    filled_qty: int
    code: int


class Market:
    """The whole state. `venue` holds the rates and limits that it was made with."""

    def __init__(self, venue: Venue) -> None:
        """Begin empty, at time 0."""
        self.venue = venue
        self.clock_ns = 0
        self.command_seq = 0
        self.event_seq = 0
        self.accept_seq = 0
        self.lot_seq = 0
        self.timer_seq = 0
        self.next_order_id = 1
        self.killed = False
        self.accounts: list[Account] = [Account(PLATFORM)]
        self.series: list[Series] = []
        self.products: list[Product] = []
        self.product_ids: dict[tuple[int, str], int] = {}  # what `products` says, by name
        self.stores: list[Store] = []
        self.channels: list[str] = [channel.name.lower() for channel in Channel]
        self.tiers: dict[int, int] = {}
        self.members: dict[tuple[int, int], int] = {}
        self.orders: dict[int, Order] = {}
        self.holding_count = 0
        self.plan_count = 0
        self.claims: dict[tuple[int, int], int] = {}
        self.references: dict[tuple[int, int], Reference] = {}
        self.timers: SortedList = SortedList()
        self.deposited = 0
        self.withdrawn = 0
        self.charged_back = 0
        # Of the command that runs now; not part of the state between two commands.
        self.out: list[Event] = []
        self.checked = 0
        self.traded: tuple[int, int] | None = None

    # ── saying no, saying what happened ──────────────────────────────────────────────────────────

    def refuse_if(self, wrong: object, code: Refusal, field: str = "", found: int = 0, allowed: int = 0) -> None:
        """Refuse the running command if `wrong`; checks come in the order of their numbers.

        `field` is the COMMAND field, payload key or term at fault; `found` and `allowed` are the offending values (R35).
        """
        assert code >= self.checked, f"{code.name} is checked after {Refusal(self.checked).name}"
        self.checked = code
        if wrong:
            raise RefusedError(code, field, found, allowed)

    def emit(self, kind: EventKind, **fields: int) -> None:
        """Write one event; all but refusals and repeats are leaves of the journal (R37)."""
        leaf = kind < EventKind.REFUSED
        seq = self.event_seq if leaf else NOT_A_LEAF
        self.event_seq += leaf
        self.out.append(Event(kind=kind, event_seq=seq, time_ns=self.clock_ns, command_seq=self.command_seq, **fields))

    def emit_name(self, what: NameOf, text: str, **fields: int) -> None:
        """Write a name as NAME events."""
        for part in name_parts(text):
            self.emit(EventKind.NAME, code=what, **fields, **part)

    def check_reference(self, command: Command, ref: int | None = None) -> None:
        """Refuse a `ref` that stands for another command; equal ones were answered before."""
        key = (command.account, command.ref if ref is None else ref)
        self.refuse_if(key in self.references, Refusal.IdempotencyConflict, "ref", key[1])

    # ── finding ──────────────────────────────────────────────────────────────────────────────────

    def find_account(self, account: int) -> Account | None:
        """Give an account that can act, or None; the platform cannot."""
        return self.accounts[account] if 0 < account < len(self.accounts) else None

    def find_merchant(self, account: int) -> Account | None:
        """Give a merchant's account, or None."""
        found = self.find_account(account)
        return found if found is not None and found.is_merchant else None

    def find_series(self, series: int) -> Series | None:
        """Give a series, or None."""
        return self.series[series - 1] if 0 < series <= len(self.series) else None

    def check_qty(self, qty: int) -> None:
        """Refuse a quantity outside R1's range."""
        self.refuse_if(not 0 < qty < QTY_END, Refusal.BadQuantity, "qty", qty, 1 if qty <= 0 else QTY_END - 1)

    def check_amount(self, amount: int) -> None:
        """Refuse an amount of nothing or less (R1)."""
        self.refuse_if(amount <= 0, Refusal.BadAmount, "qty", amount, 1)

    def check_unexpired(self, series: Series) -> None:
        """Refuse a series from its expiry on (R22)."""
        end = series.terms.expire_ns
        self.refuse_if(self.clock_ns >= end, Refusal.SeriesExpired, "time_ns", self.clock_ns, end - 1)

    def check_living(self, series: Series, account: Account, receiver: Account | None = None) -> None:
        """Refuse where default, freeze or expiry has ended what an account may do in a series (R22, R29, R32).

        Who receives from the account must not be frozen either (R27).
        """
        self.refuse_if(series.defaulted or account.defaulted, Refusal.MerchantDefaulted)
        for one in (account, receiver or account):
            self.refuse_if(one.frozen, Refusal.AccountFrozen, "account", one.id)
        self.check_unexpired(series)

    def known_account(self, account: int, field: str = "account") -> Account:
        """Give an account, or refuse with UnknownAccount."""
        found = self.find_account(account)
        self.refuse_if(found is None, Refusal.UnknownAccount, field, account, len(self.accounts) - 1)
        return found  # type: ignore[return-value]

    def known_series(self, series: int, field: str = "series") -> Series:
        """Give a series, or refuse with UnknownSeries."""
        found = self.find_series(series)
        self.refuse_if(found is None, Refusal.UnknownSeries, field, series, len(self.series))
        return found  # type: ignore[return-value]

    def holding(self, account: int, series: Series) -> Holding:
        """Give a holding to read; an empty one where there is none."""
        return series.holdings.get(account) or Holding()

    def product_series(self, product: int) -> list[Series]:
        """List a product's series in the order in which bills walk them: (expiry, id) (R14)."""
        series = [self.series[number - 1] for number in self.products[product - 1].series]
        return sorted(series, key=lambda one: (one.terms.expire_ns, one.id))

    # ── moving ───────────────────────────────────────────────────────────────────────────────────

    def pay(self, payer: int, payee: int, amount: int) -> None:
        """Move free cash from one account to another."""
        self.accounts[payer].cash_free -= amount
        self.accounts[payee].cash_free += amount

    def cash_lock(self, account: int, amount: int) -> None:
        """Move free cash to locked; a negative amount moves it back."""
        self.accounts[account].cash_free -= amount
        self.accounts[account].cash_locked += amount

    def units_move(
        self, account: int, series: Series, *, free: int = 0, offered: int = 0, voucher: int = 0, bid: int = 0
    ) -> Holding:
        """Change the parts of a holding by these amounts; its row comes and goes as it is needed."""
        holding = series.holdings.get(account)
        if holding is None:
            holding = series.holdings[account] = Holding()
            self.holding_count += 1
        holding.free_qty += free
        holding.offered_qty += offered
        holding.voucher_qty += voucher
        holding.bid_qty += bid
        if not holding.units and not holding.bid_qty:
            del series.holdings[account]
            self.holding_count -= 1
        return holding

    def units_receive(self, account: int, series: Series, qty: int, cost: int, *, primary: bool = False) -> None:
        """Give an account units as a new lot dated now (R15)."""
        holding = self.units_move(account, series, free=qty)
        if series.keeps_lots:
            self.lot_seq += 1
            holding.lots.add(Lot(self.clock_ns, self.lot_seq, qty, cost, primary))

    def has_room(self, wanted: Iterable[tuple[int, Series]]) -> bool:
        """Say whether these holdings fit the venue's limit."""
        fresh = {(account, series.id) for account, series in wanted if account not in series.holdings}
        return self.holding_count + len(fresh) <= self.venue.limits.holdings

    # ── escrow ───────────────────────────────────────────────────────────────────────────────────

    def escrow_pay(self, series: Series, payee: int, amount: int) -> None:
        """Release escrow to an account; nothing is written for 0 (R12)."""
        if amount:
            series.escrow -= amount
            self.accounts[payee].cash_free += amount
            self.emit(EventKind.ESCROW_RELEASED, series=series.id, account=payee, amount=amount)

    # ── timers ───────────────────────────────────────────────────────────────────────────────────

    def arm(self, due_ns: int, kind: TimerKind, subject: int, ref: int = 0) -> Timer:
        """Arm a timer that is created now."""
        self.timer_seq += 1
        armed = timer(due_ns, kind, self.timer_seq, subject, ref)
        self.timers.add(armed)
        return armed

    def arm_series(self, due_ns: int, kind: TimerKind, series: int) -> None:
        """Arm a timer of a series' life."""
        self.timers.add(series_timer(due_ns, kind, series))

    def disarm(self, armed: Timer) -> None:
        """Take a timer out; one that has fired already is not there any more."""
        self.timers.discard(armed)

    def disarm_voucher(self, voucher: Voucher) -> None:
        """Take a voucher's timer out."""
        self.disarm(timer(voucher.lapse_ns, TimerKind.VOUCHER_LAPSE, voucher.timer_seq, voucher.id))

    # ── ids ──────────────────────────────────────────────────────────────────────────────────────

    def take_order_id(self, wanted: int) -> int:
        """Give the caller's id, or the next of the engine's own."""
        if wanted >= CALLER_ID_FIRST:
            return wanted
        self.next_order_id += 1
        return self.next_order_id - 1

    def next_accept_seq(self) -> int:
        """Count an acceptance (R48)."""
        self.accept_seq += 1
        return self.accept_seq


def escrow_share(series: Series, removed: int) -> int:
    """Work out what a removal of `removed` from the base releases, before the removal (R12).

    The removal of the whole base releases all of the escrow, so B = 0 leaves E = 0 behind.
    """
    base = series.base
    if base == 0:
        return 0
    return series.escrow if removed == base else series.escrow * removed // base


def pro_rata(pool: int, weights: dict[int, int]) -> dict[int, int]:
    """Divide a pool by weights: floors, then one each to the largest remainders (R24).

    `weights` maps account ids to weights ≥ 0; ties go to the smaller id. O(n log n).

    >>> pro_rata(10, {1: 1, 2: 1, 3: 1})
    {1: 4, 2: 3, 3: 3}
    """
    total = sum(weights.values())
    if not total:
        return dict.fromkeys(weights, 0)
    shares = {account: pool * weight // total for account, weight in weights.items()}
    by_remainder = sorted(weights, key=lambda account: (-(pool * weights[account] % total), account))
    for account in by_remainder[: pool - sum(shares.values())]:
        shares[account] += 1
    return shares
