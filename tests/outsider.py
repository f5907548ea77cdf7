"""A third party who has only the journal: from events and the rules it works out what nobody tells it.

Beyond balances, face and queues (`reports.Books`, `reference.marketdata.EventDepth`) that is: what is locked and
for which order, where every unit came from and what it cost (lots), open bids, limits, deadlines,
reference prices, phases, halts, freezes, debts, claims. `differences` compares all of it with the
engine. It shares no code with `reference/` on purpose.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace

from rightsx.protocol import CancelReason, EventKind as E, FillFlag, Side, Term


@dataclass
class Parcel:
    acquired: int
    seq: int
    qty: int
    cost: int
    primary: bool


@dataclass
class Offer:
    account: int
    series: int
    side: int
    limit: int
    qty: int
    stop: int
    deadline: int
    numerator: int = 0
    charged: int = 0
    locked: int = 0
    parcels: list[Parcel] = field(default_factory=list)


@dataclass
class Position:
    free: int = 0
    offered: int = 0
    voucher: int = 0
    bid: int = 0
    parcels: list[Parcel] = field(default_factory=list)


@dataclass
class Paper:
    merchant: int
    terms: dict[str, int] = field(default_factory=dict)
    last: int = 0
    halted: bool = False
    auction: bool = False


def cut(parcel, qty):
    cost = parcel.cost * qty // parcel.qty
    parcel.qty -= qty
    parcel.cost -= cost
    return replace(parcel, qty=qty, cost=cost)


def take(parcels, qty, eligible=lambda _: True, *, youngest=False):
    """Take units, oldest first, out of a list of parcels."""
    taken = []
    for parcel in sorted(parcels, key=lambda one: (one.acquired, one.seq), reverse=youngest):
        if qty and eligible(parcel):
            whole = parcel.qty <= qty
            taken.append(parcel if whole else cut(parcel, qty))
            qty -= taken[-1].qty
            if whole:
                parcels.remove(parcel)
    return taken


def give_back(parcels, returned):
    for parcel in returned:
        rest = next((one for one in parcels if (one.acquired, one.seq) == (parcel.acquired, parcel.seq)), None)
        if rest is None:
            parcels.append(parcel)
        else:
            rest.qty += parcel.qty
            rest.cost += parcel.cost


class Outsider:
    def __init__(self):
        self.free, self.locked, self.debts = Counter(), Counter(), Counter()
        self.limits, self.silent, self.claims = {}, {}, {}
        self.frozen = set()
        self.papers, self.offers, self.vouchers = {}, {}, {}
        self.positions = defaultdict(Position)
        self.parcel_seq = 0

    def apply(self, event):
        handler = getattr(self, f"_{E(event.kind).name.lower()}", None)
        if handler:
            handler(event)

    def _pay(self, payer, payee, amount):
        self.free[payer] -= amount
        self.free[payee] += amount

    # ── accounts ─────────────────────────────────────────────────────────────────────────────────

    def _account_opened(self, e):
        self.limits[e.account] = (e.extra, e.qty, e.amount)

    _account_set = _account_opened

    def _merchant_registered(self, e):
        self.limits[e.account] = (0, 0, 0)

    def _deposited(self, e):
        self.free[e.account] += e.amount

    def _withdrawn(self, e):
        self.free[e.account] -= e.amount

    def _charged_back(self, e):
        self.free[e.account] -= e.amount
        self.debts[e.account] += e.fee

    def _frozen(self, e):
        self.frozen.add(e.account)

    def _unfrozen(self, e):
        self.frozen.discard(e.account)

    def _cancel_after_set(self, e):
        self.silent[e.account] = e.amount

    def _mass_cancelled(self, e):
        if e.code == CancelReason.CANCEL_AFTER:
            self.silent[e.account] = 0

    # ── series ───────────────────────────────────────────────────────────────────────────────────

    def _listed(self, e):
        self.papers[e.series] = Paper(e.account)

    def _term(self, e):
        if e.code < Term.STORE:
            self.papers[e.series].terms[Term(e.code).name] = e.amount
        if e.code == Term.OPEN_NS:
            self.papers[e.series].auction = bool(e.amount)

    def _uncrossed(self, e):
        self.papers[e.series].auction = False

    _trading_ended = _uncrossed

    def _halted(self, e):
        self.papers[e.series].halted = True

    def _resumed(self, e):
        self.papers[e.series].halted = False

    def _decayed(self, e):
        terms = self.papers[e.series].terms
        cap = e.price * terms["CAP_BPS"] // 10_000
        if cap >= 1:
            terms["REFERENCE_PRICE"] = min(terms["REFERENCE_PRICE"], cap)

    # ── orders ───────────────────────────────────────────────────────────────────────────────────

    def _lock(self, offer):
        terms = self.papers[offer.series].terms
        notional = offer.limit * offer.qty
        dearest = max(terms["MAKER_BPS"], terms["TAKER_BPS"])
        due = notional - (-(offer.numerator + notional * dearest) // 10_000) - offer.charged
        change = (due if offer.side == Side.BUY else 0) - offer.locked
        offer.locked += change
        self.free[offer.account] -= change
        self.locked[offer.account] += change

    def _enter(self, offer, now):
        position = self.positions[offer.account, offer.series]
        if offer.side == Side.BUY:
            position.bid += offer.qty
        else:
            hold = self.papers[offer.series].terms["HOLD_NS"]
            position.free -= offer.qty
            position.offered += offer.qty
            offer.parcels = take(position.parcels, offer.qty, lambda one: now >= one.acquired + hold)
        self._lock(offer)

    def _leave(self, offer):
        position = self.positions[offer.account, offer.series]
        if offer.side == Side.BUY:
            position.bid -= offer.qty
            self.free[offer.account] += offer.locked
            self.locked[offer.account] -= offer.locked
            offer.locked = 0
        else:
            position.free += offer.qty
            position.offered -= offer.qty
            give_back(position.parcels, offer.parcels)
            offer.parcels = []

    def _accepted(self, e):
        offer = Offer(e.account, e.series, e.side, e.price, e.qty, e.fee, e.other_fee)
        self.offers[e.order_id] = offer
        self._enter(offer, e.time_ns)

    def _amended(self, e):
        offer = self.offers[e.order_id]
        if e.flags:
            self._leave(offer)
            offer.limit, offer.qty = e.price, e.qty
            self._enter(offer, e.time_ns)
            return
        less, offer.qty = offer.qty - e.qty, e.qty
        position = self.positions[offer.account, offer.series]
        if offer.side == Side.BUY:
            position.bid -= less
        else:
            position.free += less
            position.offered -= less
            give_back(position.parcels, take(offer.parcels, less, youngest=True))
        self._lock(offer)

    def _triggered(self, e):
        offer = self.offers[e.order_id]
        offer.limit, offer.stop = e.price, 0
        self._lock(offer)

    def _repriced(self, e):
        offer = self.offers[e.order_id]
        offer.limit = e.price
        self._lock(offer)

    def _cancelled(self, e):
        self._leave(self.offers.pop(e.order_id))

    def _fill(self, e):
        paper, notional = self.papers[e.series], e.price * e.qty
        in_auction = e.flags & FillFlag.AUCTION
        first, second = self.offers[e.order_id], self.offers[e.other_order_id]
        for offer, rate, fee in ((first, "TAKER_BPS", e.fee), (second, "MAKER_BPS", e.other_fee)):
            offer.qty -= e.qty
            offer.numerator += notional * paper.terms["AUCTION_BPS" if in_auction else rate]
            offer.charged += fee
            assert offer.charged == -(-offer.numerator // 10_000), "a fee is not the cumulative one (R18)"
        buy, sell = (first, second) if first.side == Side.BUY else (second, first)
        buy_fee, sell_fee = (e.fee, e.other_fee) if buy is first else (e.other_fee, e.fee)
        buy.locked -= notional + buy_fee
        self.locked[buy.account] -= notional + buy_fee
        self._lock(buy)
        self.free[sell.account] += notional - sell_fee - e.amount
        self.free[paper.merchant] += e.amount
        self.free[0] += buy_fee + sell_fee
        self.positions[sell.account, e.series].offered -= e.qty
        self.positions[buy.account, e.series].bid -= e.qty
        take(sell.parcels, e.qty)
        if not e.flags & FillFlag.BUYBACK:
            self._receive(e, buy.account, notional + buy_fee)
        paper.last = e.price
        for order_id in (e.order_id, e.other_order_id):
            if not self.offers[order_id].qty:
                del self.offers[order_id]

    # ── units ────────────────────────────────────────────────────────────────────────────────────

    def _receive(self, e, account, cost, *, primary=False):
        terms = self.papers[e.series].terms
        self.positions[account, e.series].free += e.qty
        if e.qty and (terms["HOLD_NS"] or terms["COOLING_OFF_NS"] or terms["CLAWBACK"]):
            self.parcel_seq += 1
            self.positions[account, e.series].parcels.append(Parcel(e.time_ns, self.parcel_seq, e.qty, cost, primary))

    def _use(self, e, eligible=lambda _: True):
        position = self.positions[e.account, e.series]
        position.free -= e.qty
        return take(position.parcels, e.qty, eligible)

    def _sold(self, e):
        self.free[e.account] -= e.amount
        self.free[0] += e.fee
        self.free[e.other_account] += e.amount - e.fee - e.other_fee
        self._receive(e, e.account, e.amount, primary=True)

    def _granted(self, e):
        self._receive(e, e.account, 0)

    def _imported(self, e):
        self.free[e.other_account] -= e.other_fee
        self._receive(e, e.account, 0)

    def _gifted(self, e):
        self._pay(e.account, 0, e.fee)
        self._receive(e, e.other_account, sum(parcel.cost for parcel in self._use(e)))

    def _redeemed(self, e):
        self._use(e)

    def _refunded(self, e):
        cooling = self.papers[e.series].terms["COOLING_OFF_NS"]
        self._use(e, lambda one: one.primary and (e.flags or e.time_ns < one.acquired + cooling))
        self._pay(e.other_account, e.account, e.other_fee)

    def _escrow_released(self, e):
        self.free[e.account] += e.amount

    def _voucher_locked(self, e):
        self.vouchers[e.order_id] = self._use(e)
        self.positions[e.account, e.series].voucher += e.qty

    def _voucher_redeemed(self, e):
        self.positions[e.account, e.series].voucher -= e.qty
        del self.vouchers[e.order_id]

    def _voucher_lapsed(self, e):
        position = self.positions[e.account, e.series]
        position.voucher -= e.qty
        position.free += e.qty
        give_back(position.parcels, self.vouchers.pop(e.order_id))

    def _expired(self, e):
        self.free[e.account] -= e.other_fee
        for key in [key for key in self.positions if key[1] == e.series]:
            del self.positions[key]

    _series_defaulted = _expired

    def _paid_out(self, e):
        self.free[e.account] += e.amount
        if e.other_fee:
            self.claims[e.account, e.series] = e.other_fee

    # ── the comparison ───────────────────────────────────────────────────────────────────────────

    def differences(self, market):
        """List what the outsider and the engine tell differently."""
        pairs = []
        for one in market.accounts:
            mine = (self.free[one.id], self.locked[one.id], self.debts[one.id], one.id in self.frozen)
            pairs.append((f"account {one.id}", mine, (one.cash_free, one.cash_locked, one.debt, one.frozen)))
            if one.id:
                pairs.append((f"limits {one.id}", self.limits[one.id], (one.tier, one.max_open, one.max_notional)))
            due = one.cancel_after.due_ns if one.cancel_after else 0
            pairs.append((f"silence {one.id}", self.silent.get(one.id, 0), due))
        pairs.append(("claims", self.claims, market.claims))
        pairs.append(("orders", set(self.offers), set(market.orders)))
        for order_id, order in market.orders.items():
            offer = self.offers[order_id]
            mine = (offer.limit, offer.qty, offer.locked, offer.stop, offer.deadline, plain(offer.parcels))
            deadline = order.deadline_ns or order.budget
            theirs = (order.limit, order.open_qty, order.cash_locked, order.stop_price, deadline, plain_lots(order.lots))
            pairs.append((f"order {order_id}", mine, theirs))
        for series in market.series:
            paper = self.papers[series.id]
            mine = (paper.terms["REFERENCE_PRICE"], paper.last, paper.halted, paper.auction and series.live)
            theirs = (series.reference, series.last_price, series.halted, series.in_auction)
            pairs.append((f"series {series.id}", mine, theirs))
            pairs.append((f"holdings of {series.id}", self._held(series.id), held(series)))
        return [pair for pair in pairs if pair[1] != pair[2]]

    def _held(self, series):
        return {
            account: (one.free, one.offered, one.voucher, one.bid, plain(one.parcels))
            for (account, number), one in self.positions.items()
            if number == series and (one.free or one.offered or one.voucher or one.bid)
        }


def plain(parcels):
    return sorted((one.acquired, one.seq, one.qty, one.cost, one.primary) for one in parcels)


def plain_lots(lots):
    return sorted((lot.acquired_ns, lot.seq, lot.qty, lot.cost, lot.primary) for lot in lots)


def held(series):
    return {
        account: (one.free_qty, one.offered_qty, one.voucher_qty, one.bid_qty, plain_lots(one.lots))
        for account, one in series.holdings.items()
    }
