"""Random markets: commands that are mostly sensible, sometimes hostile, all from one seed.

`Flow` makes commands that know which accounts, series, orders and vouchers exist, and picks prices
near the books so that they trade; one command in twelve is bent: an id that does not exist, an edge of
a number's range, flags that do not go together. `Judged` applies them to the reference and believes
nothing: after a command it compares what a third party rebuilds from the events with the engine's own
balances and depth, and after a refusal that nothing has changed.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from rightsx import schedule
from rightsx.protocol import (
    DAY_NS,
    INT64_MAX,
    INT64_MIN,
    T0_NS,
    AmendFlag,
    Command,
    CommandKind as K,
    Event,
    EventKind,
    Limits,
    OrderFlag,
    Policy,
    Refusal,
    Side,
    Term,
    TimeInForce,
    Venue,
)
from rightsx.reference.audit import canonical, check
from rightsx.reference.marketdata import EventDepth
from rightsx.reference.run import run
from rightsx.reference.state import Market
from rightsx.reports import Books
from rightsx.vocabulary import cold_command, command, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator

EDGES = (0, -1, 1, 2**31 - 1, 2**31, 2**62, INT64_MAX, INT64_MIN, 2**32 - 1)
HOUR = DAY_NS // 24

WEIGHTS = {
    K.PLACE: 42,
    K.CANCEL: 8,
    K.AMEND: 9,
    K.SUBSCRIBE: 9,
    K.REDEEM: 4,
    K.REDEEM_BILL: 3,
    K.PAY_BILL: 2,
    K.BUY_PRODUCT: 2,
    K.ROLL: 2,
    K.PLAN_SALE: 3,
    K.TRANSFER: 3,
    K.REFUND: 3,
    K.LOCK_VOUCHER: 4,
    K.UPLOAD_VOUCHER: 4,
    K.DEPOSIT: 3,
    K.WITHDRAW: 1,
    K.GRANT: 1,
    K.CANCEL_ALL: 0.5,
    K.CANCEL_AFTER: 1,
    K.HALT: 0.5,
    K.RESUME: 1.5,
    K.FREEZE: 0.3,
    K.UNFREEZE: 2,
    K.KILL: 0.15,
    K.UNKILL: 3,
    K.CHARGEBACK: 0.6,
    K.DEFAULT: 0.04,
    K.ADVANCE: 1,
    K.PUBLISH: 0.3,
    K.SET_ACCOUNT: 0.3,
    K.LIST_SERIES: 0.5,
    K.IMPORT_MEMBERS: 0.5,
    K.OPEN_ACCOUNT: 0.2,
    K.REGISTER_MERCHANT: 0.05,
}


def cold_commands() -> Iterator[tuple[Command, bytes]]:
    """One of each kind, that grows tables, reorders a product, meets a timer that is due, repeats or is refused."""
    month = 30 * DAY_NS
    terms = {Term.PAR: 100, Term.ISSUE_PRICE: 80, Term.AUTHORISED: 5_000, Term.ESCROW_BPS: 4_000, Term.ISSUE_BPS: 150}

    def listing(expire_ns: int, ref: int, **more: Any) -> tuple[Command, bytes]:
        shape = {"steps": [], "stores": [], "channel_caps": {}} | more
        given = {int(term): value for term, value in terms.items()} | {Term.EXPIRE_NS: expire_ns, Term.POLICY: Policy.FORFEIT}
        return cold_command(K.LIST_SERIES, {"product": "tea", "terms": given, "ref": ref, **shape}, account=1)

    def members(first: int, ref: int) -> tuple[Command, bytes]:
        rows = [[number, 99 + 40 * (number - first)] for number in range(first, first + 11)]
        return cold_command(K.IMPORT_MEMBERS, {"rows": rows, "ref": ref}, account=1, series=1)

    yield cold_command(K.REGISTER_MERCHANT, {"name": "Nord", "ref": 1}, time_ns=T0_NS)
    yield cold_command(K.REGISTER_STORE, {"name": "till", "settles_to": 0, "ref": 2}, account=1)
    yield cold_command(K.REGISTER_TERMINAL, {"name": "reader", "ref": 3}, account=1)
    yield cold_command(K.REGISTER_CHANNEL, {"name": "web", "ref": 4})
    decay = {"steps": [[T0_NS + month, 90], [T0_NS + 2 * month, 50]]}
    yield listing(T0_NS + 6 * month, 5, stores=[1], channel_caps={1: 900, 3: 40}, **decay)
    yield listing(T0_NS + 5 * month, 0)
    yield listing(T0_NS + 6 * month, 0)
    yield listing(T0_NS - 1, 6)
    yield command(K.DEPOSIT, account=1, amount=100_000), b""
    yield members(7, 7)
    record, payload = members(7, 7)
    yield record, payload
    yield members(7, 8)
    record, payload = members(13, 9)
    yield record._replace(time_ns=T0_NS + month), payload
    yield cold_command(K.REGISTER_STORE, {"name": "till", "settles_to": 77, "ref": 10}, account=1)
    yield command(K.REDEEM_BILL, account=3, product=1, amount=90, time_ns=T0_NS + 3 * month), b""
    yield command(K.ADVANCE, time_ns=T0_NS + 9 * month), b""


class Flow:
    """An endless stream of (command, payload), a function of the seed and of what the market answers."""

    def __init__(self, seed: int | random.Random, market: Market) -> None:
        self.random = random.Random(seed) if isinstance(seed, int) else seed
        self.market = market
        self.kinds, self.weights = zip(*WEIGHTS.items(), strict=True)

    # ── a market to begin with ───────────────────────────────────────────────────────────────────

    def opening(self) -> Iterator[tuple[Command, bytes]]:
        """Register merchants, stores, terminals, tiers and accounts, and list a first set of series."""
        for name in ("M", "N"):
            yield cold_command(K.REGISTER_MERCHANT, {"name": name, "ref": 0}, time_ns=T0_NS)
        for tier, cap in ((1, 30_000), (2, 200_000)):
            yield command(K.SET_TIER, tier=tier, amount=cap), b""
        for number in range(10):
            limits = {"tier": number % 3, "max_open": 6 if number == 8 else 0, "max_notional": 50_000 if number == 9 else 0}
            yield command(K.OPEN_ACCOUNT, **limits), b""
        for merchant, pays in ((1, 0), (1, 5), (2, 0)):
            yield cold_command(K.REGISTER_STORE, {"name": f"st{merchant}", "settles_to": pays, "ref": 0}, account=merchant)
        for merchant in (1, 1, 2):
            yield cold_command(K.REGISTER_TERMINAL, {"name": "till", "ref": 0}, account=merchant)
        yield cold_command(K.REGISTER_CHANNEL, {"name": "web", "ref": 0})
        for account in range(1, 13):
            yield command(K.DEPOSIT, account=account, amount=100_000), b""
        for _ in range(8):
            yield self.listing()

    def listing(self) -> tuple[Command, bytes]:
        """List a series with random terms; one in eight has a term that is wrong."""
        rnd, now = self.random, max(self.market.clock_ns, T0_NS)
        merchant = rnd.choice(self.merchants() or [1])
        par = rnd.choice((100, 97, 1, 1000))
        issue = max(1, par * rnd.randint(60, 95) // 100)
        trial = rnd.random() < 0.1
        life = rnd.randint(2, 60) * HOUR * rnd.choice((1, 24))
        expire = now + life
        policy = rnd.choice((Policy.FORFEIT, Policy.PRINCIPAL))
        shape = rnd.choice(
            (
                schedule.cliff(),
                schedule.linear(steps=rnd.randint(1, 6), every=max(1, life // 8)),
                schedule.geometric(num=9, den=10, steps=rnd.randint(1, 6), every=max(1, life // 8)),
            )
        )
        steps = [list(step) for step in shape.compile(par, expire)]
        terms: dict[Term, int] = {
            Term.PAR: par,
            Term.ISSUE_PRICE: 0 if trial else issue,
            Term.AUTHORISED: rnd.choice((50, 500, 5_000)),
            Term.EXPIRE_NS: expire,
            Term.POLICY: Policy.FORFEIT if trial else policy,
            Term.ISSUE_BPS: rnd.choice((0, 150, 200, 6_000)),
            Term.ESCROW_BPS: rnd.choice((0, 4_000, 9_000, 10_000)),
            Term.MAKER_BPS: rnd.choice((0, 10)),
            Term.TAKER_BPS: rnd.choice((0, 30, 9_000)),
            Term.ROYALTY_BPS: rnd.choice((0, 100, 5_000)),
            Term.RESALE: int(not trial),
            Term.GIFTS: int(not trial),
            Term.TRIAL: int(trial),
            Term.CLAWBACK: rnd.choice((0, 1)),
        }
        if policy == Policy.PRINCIPAL and not trial:
            terms[Term.RESIDUAL] = rnd.choice((0, min([issue, *(value for _, value in steps)])))
        if rnd.random() < 0.4:
            terms[Term.LAST_TRADE_NS] = expire - life // 10
        if rnd.random() < 0.3:
            terms[Term.OPEN_NS] = now + life // rnd.randint(4, 40)
            terms[Term.AUCTION_BPS] = min(10, terms[Term.TAKER_BPS])
        if rnd.random() < 0.3 and not trial:
            terms[Term.BAND_BPS] = rnd.choice((1_000, 3_000, 10_000))
        if rnd.random() < 0.3:
            terms[Term.COOLING_OFF_NS] = life // 4
        if rnd.random() < 0.3:
            terms[Term.HOLD_NS] = life // 12
        if rnd.random() < 0.2:
            terms |= {Term.TICK: rnd.choice((2, 5)), Term.LOT: rnd.choice((1, 3)), Term.MIN_QTY: 3, Term.MAX_QTY: 60}
        if rnd.random() < 0.12:
            terms[rnd.choice(list(terms))] = rnd.choice((*EDGES[:3], 10_001, 2**31))
        own = [n for n, store in enumerate(self.market.stores, 1) if store.merchant == merchant]
        payload = {
            "product": rnd.choice(("coffee", "tea")),
            "terms": {int(term): int(value) for term, value in terms.items()},
            "steps": steps,
            "stores": own if rnd.random() < 0.5 else [],
            "channel_caps": {3: 40} if rnd.random() < 0.3 else {},
            "ref": self.ref(),
        }
        return cold_command(K.LIST_SERIES, payload, account=merchant)

    def merchants(self) -> list[int]:
        """List the merchants that have not failed."""
        return [account.id for account in self.market.accounts if account.is_merchant and not account.defaulted]

    # ── one command after another ────────────────────────────────────────────────────────────────

    def next(self) -> tuple[Command, bytes]:
        """Make the next command; one in twelve is bent."""
        kind = self.random.choices(self.kinds, self.weights)[0]
        if sum(series.live and not series.closed for series in self.market.series[-12:]) < 4:
            kind = self.random.choice((kind, K.LIST_SERIES))
        if len(self.merchants()) < 2:
            kind = K.REGISTER_MERCHANT
        if kind == K.LIST_SERIES:
            made, payload = self.listing()
        elif kind == K.IMPORT_MEMBERS:
            made, payload = self.members()
        elif kind == K.REGISTER_MERCHANT:
            made, payload = cold_command(kind, {"name": "later", "ref": self.ref()})
        else:
            made, payload = command(kind, **self.arguments(kind)), b""
        made = made._replace(time_ns=self.time())
        if kind < K.REGISTER_MERCHANT and self.random.random() < 1 / 12:
            made = self.bend(made)
        return made, payload

    def time(self) -> int:
        """Mostly a little later, often the same ns, at times exactly what falls due or just before it."""
        rnd, clock = self.random, max(self.market.clock_ns, T0_NS)
        draw = rnd.random()
        if draw < 0.4:
            return clock
        if draw < 0.402:
            return clock - 1
        if draw < 0.42 and self.market.timers:
            return max(clock, int(self.market.timers[0].due_ns) - rnd.choice((0, 0, 1)))
        return clock + rnd.randint(0, HOUR // 20)

    def bend(self, made: Command) -> Command:
        """Put an edge value into one field of a command."""
        rnd = self.random
        field = rnd.choice(Command._fields[2:])
        limit = {"side": 255, "time_in_force": 255, "flags": 255, "ref": 2**64 - 1}.get(field)
        if limit is None:
            unsigned = field in {"series", "account", "other_account"}
            value = rnd.choice([edge for edge in EDGES if not unsigned or 0 <= edge < 2**32])
        else:
            value = rnd.randint(0, limit)
        return made._replace(**{field: value})

    def account(self) -> int:
        return self.random.randrange(1, len(self.market.accounts)) if self.random.random() < 0.2 else self.random.randint(3, 12)

    def series(self) -> int:
        live = [series.id for series in self.market.series if series.live and not series.closed]
        if live and self.random.random() < 0.95:
            return self.random.choice(live[-5:])
        return self.random.randint(1, max(1, len(self.market.series)))

    def ref(self) -> int:
        return self.random.randint(1, 40) if self.random.random() < 0.1 else 0

    def basket(self, kind: K) -> dict[str, Any]:
        """Choose what a command over several books names."""
        rnd = self.random
        most = rnd.choice((0, 0, 0, rnd.randint(1, 120)))
        if kind == K.ROLL:
            old, new = self.series(), self.series()
            return {
                "account": self.account(),
                "series": old,
                "to": new,
                "qty": rnd.randint(1, 6),
                "net_price": rnd.randint(-30, 60),
            }
        wanted = {"account": self.account(), "product": rnd.randint(1, max(1, len(self.market.products))), "max_price": most}
        if kind == K.PAY_BILL:
            return wanted | {"amount": rnd.randint(1, 2_000), "store": self.store()}
        until = rnd.choice((0, 0, self.market.clock_ns + rnd.randint(1, 40 * DAY_NS)))
        tif = rnd.choice((TimeInForce.IOC, TimeInForce.IOC, TimeInForce.FOK))
        return wanted | {"qty": rnd.randint(1, 12), "expires_from_ns": until, "time_in_force": tif}

    def arguments(self, kind: K) -> dict[str, Any]:
        """Choose the arguments of one kind of command."""
        rnd = self.random
        chosen: dict[str, Any] = {"ref": self.ref()}
        if kind == K.PLACE:
            return chosen | self.order()
        if kind == K.AMEND:
            return chosen | self.amend()
        if kind == K.CANCEL:
            order = self.live_order()
            return chosen | {"account": order[1] if rnd.random() < 0.9 else self.account(), "order_id": order[0]}
        if kind in (K.SUBSCRIBE, K.REDEEM, K.REFUND, K.TRANSFER, K.GRANT, K.LOCK_VOUCHER):
            return chosen | self.units(kind)
        if kind == K.UPLOAD_VOUCHER:
            return chosen | self.upload()
        if kind == K.REDEEM_BILL:
            product = rnd.randint(1, max(1, len(self.market.products)))
            return chosen | {
                "account": self.account(),
                "product": product,
                "amount": rnd.randint(1, 3_000),
                "store": self.store(),
            }
        if kind in (K.PAY_BILL, K.BUY_PRODUCT, K.ROLL):
            return chosen | self.basket(kind)
        if kind == K.PLAN_SALE:
            return chosen | self.plan()
        if kind in (K.DEPOSIT, K.WITHDRAW, K.CHARGEBACK):
            return chosen | {"account": self.account(), "amount": rnd.choice((1, 500, 20_000))}
        if kind == K.CANCEL_ALL:
            return chosen | rnd.choice(({"account": self.account()}, {"series": self.series()}))
        if kind == K.CANCEL_AFTER:
            at_ns = rnd.choice((0, self.market.clock_ns + rnd.randint(1, 4 * HOUR)))
            return chosen | {"account": self.account(), "deadline_ns": at_ns}
        if kind in (K.HALT, K.RESUME):
            halted = [series.id for series in self.market.series if series.halted and series.live]
            return chosen | {"series": rnd.choice(halted) if halted and kind == K.RESUME else self.series()}
        if kind in (K.FREEZE, K.UNFREEZE):
            frozen = [account.id for account in self.market.accounts if account.frozen]
            return chosen | {"account": rnd.choice(frozen) if frozen and kind == K.UNFREEZE else self.account()}
        if kind == K.DEFAULT:
            return chosen | {"account": rnd.choice([*self.merchants(), 1, 3])}
        if kind == K.PUBLISH:
            return chosen | {f"root_{part}": rnd.randint(-(2**63), 2**63 - 1) for part in range(4)}
        if kind in (K.SET_ACCOUNT, K.OPEN_ACCOUNT):
            limits = {"tier": rnd.randint(0, 2), "max_open": rnd.choice((0, 0, 8)), "max_notional": rnd.choice((0, 0, 50_000))}
            return chosen | limits if kind == K.OPEN_ACCOUNT else {"account": rnd.randint(1, 12), **chosen, **limits}
        return chosen

    def plan(self) -> dict[str, Any]:
        """Choose what a plan names; one in eight ends one."""
        rnd = self.random
        meant = {"account": self.account(), "series": self.series()}
        if rnd.random() < 0.12:
            return meant | {"start_ns": 0}
        price = rnd.randint(40, 110)
        last = rnd.choice((price, rnd.randint(20, price)))
        when = self.market.clock_ns + rnd.choice((1, rnd.randint(1, 30 * HOUR)))
        return meant | {
            "start_ns": when,
            "price": price,
            "last_price": last,
            "falls": rnd.choice((0, 1, 3, 12)),
            "keep": rnd.choice((0, 0, 3)),
        }

    def store(self) -> int:
        return self.random.choice((0, 1, 2, 3))

    def units(self, kind: K) -> dict[str, Any]:
        rnd = self.random
        series = self.series()
        chosen: dict[str, Any] = {"series": series, "account": self.holder(series), "qty": rnd.randint(1, 30)}
        if kind == K.SUBSCRIBE:
            chosen |= {"account": self.account(), "channel": rnd.choice((0, 0, 3, 1))}
        elif kind == K.REDEEM:
            chosen["store"] = self.store()
        elif kind == K.TRANSFER:
            chosen["recipient"] = self.account()
        elif kind == K.GRANT:
            chosen |= {"account": self.market.series[series - 1].merchant, "recipient": self.account()}
        elif kind == K.LOCK_VOUCHER:
            grace = rnd.choice((0, HOUR))
            chosen |= {"ttl_ns": rnd.randint(1, 6 * HOUR), "grace_ns": grace, "terminals": rnd.choice((1, 3, 2))}
        return chosen

    def holder(self, series: int) -> int:
        """Somebody who holds units there, mostly."""
        held: list[int] = list(self.market.series[series - 1].holdings) if series <= len(self.market.series) else []
        return self.random.choice(held) if held and self.random.random() < 0.9 else self.account()

    def upload(self) -> dict[str, Any]:
        rnd = self.random
        rows = [voucher for series in self.market.series for voucher in series.vouchers.values()]
        if not rows:
            return {"voucher_id": 1, "terminal": 1, "redeemed_ns": 0}
        voucher = rnd.choice(rows[-12:])
        redeemed = rnd.choice((voucher.lock_ns, voucher.redeem_end_ns - 1, voucher.redeem_end_ns))
        return {"voucher_id": voucher.id, "terminal": rnd.choice((1, 1, 2)), "redeemed_ns": redeemed, "store": self.store()}

    def live_order(self) -> tuple[int, int]:
        orders = list(self.market.orders.values())[-20:]
        if not orders:
            return 1, 3
        order = self.random.choice(orders)
        return order.id, order.account

    def amend(self) -> dict[str, Any]:
        rnd = self.random
        order_id, account = self.live_order()
        order = self.market.orders.get(order_id)
        price = (order.limit if order else 50) + rnd.randint(-3, 3)
        qty = max(1, (order.open_qty if order else 5) + rnd.randint(-4, 4))
        flags = rnd.choice((AmendFlag.QTY, AmendFlag.QTY, AmendFlag.PRICE, AmendFlag.QTY | AmendFlag.PRICE))
        chosen: dict[str, Any] = {"account": account, "order_id": order_id, "flags": flags}
        if flags & AmendFlag.PRICE:
            chosen["price"] = price
        if flags & AmendFlag.QTY:
            chosen["qty"] = qty
        return chosen

    def order(self) -> dict[str, Any]:
        """An order near the value of its series; sells come from holders."""
        rnd = self.random
        number = self.series()
        series = self.market.find_series(number)
        cap = max(2, series.cap if series else 100)
        tick = series.terms.tick if series else 1
        side = rnd.choice((Side.BUY, Side.SELL))
        price = max(tick, rnd.randint(cap * 6 // 10, cap + (rnd.random() < 0.05)) // tick * tick)
        qty = rnd.randint(1, 20) * (series.terms.lot if series else 1)
        tif = rnd.choices((TimeInForce.GTC, TimeInForce.GTD, TimeInForce.IOC, TimeInForce.FOK), (6, 2, 1, 1))[0]
        account = self.holder(number) if side == Side.SELL else self.account()
        flags = rnd.choice((0, 0, 0, 0, OrderFlag.CANCEL_MAKER, OrderFlag.CANCEL_BOTH))
        chosen: dict[str, Any] = {
            "series": number,
            "account": account,
            "side": side,
            "qty": qty,
            "price": price,
            "time_in_force": tif,
        }
        if tif == TimeInForce.GTD:
            chosen["deadline_ns"] = self.market.clock_ns + rnd.randint(1, 12 * HOUR)
        if tif == TimeInForce.FOK and rnd.random() < 0.4:
            chosen["deadline_ns"] = max(1, price * qty + rnd.randint(-20, 20))
        if qty > 3 and rnd.random() < 0.2:
            chosen["display"] = rnd.randint(1, qty - 1)
        if rnd.random() < 0.12:
            flags |= OrderFlag.POST_ONLY
        if rnd.random() < 0.15:
            chosen["stop_price"] = max(1, price + rnd.randint(-5, 5))
            flags |= rnd.choice((0, 0, OrderFlag.STOP_RISE, OrderFlag.STOP_FALL))
        if rnd.random() < 0.12:
            flags |= OrderFlag.MARKET
            chosen["price"] = 0
        elif not chosen.get("stop_price") and rnd.random() < 0.15:
            flags |= OrderFlag.PEG
            chosen["price"] = rnd.choice((rnd.randint(6_000, 10_000), -rnd.randint(1, cap // 3 + 1)))
        if series and rnd.random() < 0.08:
            chosen["account"], chosen["side"] = series.merchant, Side.BUY
            flags |= OrderFlag.BUYBACK
        if rnd.random() < 0.05:
            chosen["order_id"] = 2**62 + rnd.randint(0, 20)
        return chosen | {"flags": flags}

    def members(self) -> tuple[Command, bytes]:
        rnd = self.random
        series = self.series()
        owner = self.market.series[series - 1].merchant if series <= len(self.market.series) else 1
        count = rnd.randint(1, 4)
        rows = [[rnd.randint(1, 30), rnd.choice((0, 5, 250, 1_234, -1))] for _ in range(count)]
        if rnd.random() < 0.7:
            rows = [[member, abs(balance)] for member, balance in {row[0]: row[1] for row in rows}.items()]
        return cold_command(K.IMPORT_MEMBERS, {"rows": rows, "ref": self.ref()}, series=series, account=owner)


class Judged:
    """A reference market whose every answer is checked against what its events tell an outsider."""

    def __init__(self, venue: Venue | None = None) -> None:
        self.market = Market(venue or Venue(gift_fee=3, reference_days=1, limits=Limits(holdings=120, orders=60)))
        self.books = Books()
        self.depth = EventDepth()
        self.refusals: dict[str, int] = {}
        self.kinds: dict[str, int] = {}
        self.commands = 0

    def apply(self, made: Command, payload: bytes, *, thorough: bool) -> list[Event]:
        """Apply one command, and check what can be known about the answer."""
        content = unpack(made, payload) if payload else {}
        before = self.settled(made) if thorough else None
        events = run(self.market, made, content)
        self.commands += 1
        for event in events:
            self.books.apply(event)
            self.depth.apply(event)
        name = K(made.kind).name
        self.kinds[name] = self.kinds.get(name, 0) + 1
        last = events[-1]
        if last.kind == EventKind.REFUSED:
            word = Refusal(last.code).name
            self.refusals[word] = self.refusals.get(word, 0) + 1
            assert last.event_seq == -1
            assert last.order_id == 0
            if before is not None and last.code != Refusal.DoubleRedeem:
                assert canonical(self.market)[2:] == before, f"a refused {name} changed the state"
        else:
            assert any(event.event_seq >= 0 for event in events) or last.kind == EventKind.DUPLICATE, "nothing was written"
        if thorough:
            self.check()
        return events

    def settled(self, made: Command) -> list[Any]:
        """Give the state with everything run that the command's time will run; None if it cannot be known."""
        if made.time_ns > self.market.clock_ns and made.time_ns < 2**62:
            events = run(self.market, Command(kind=K.ADVANCE, time_ns=made.time_ns), {})
            for event in events:
                self.books.apply(event)
                self.depth.apply(event)
        return canonical(self.market)[2:]

    def check(self) -> None:
        """Compare the engine with its own sums and with what the events say."""
        check(self.market)
        market = self.market
        for account in market.accounts:
            told = self.books.cash[account.id]
            assert told == account.cash_free + account.cash_locked, f"events tell another cash of {account.id}"
            assert self.books.debts[account.id] == account.debt
        for series in market.series:
            book = self.books.series[series.id]
            owed = series.face_owed if series.live else 0
            assert (book.units, book.escrow, book.face_owed, book.value) == (series.units, series.escrow, owed, series.value)
            assert {account: units for account, units in book.holders.items() if units} == {
                account: holding.units for account, holding in series.holdings.items() if holding.units
            }
            for side in Side:
                assert self.depth.queue(series.id, side) == [
                    (order.id, order.limit, order.open_qty, order.shown_qty) for order in series.book.orders(side)
                ], f"events tell another {side.name} side of series {series.id}"
        assert {key: claim for key, claim in self.books.claims.items() if claim} == market.claims


class noted:  # noqa: N801 - reads as a word in a `with`
    """Add to whatever goes wrong where it went wrong."""

    def __init__(self, where: str) -> None:
        self.where = where

    def __enter__(self) -> None:
        """Nothing to set up."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            error.add_note(self.where)


def random_market(seed: int | random.Random, commands: int, *, thorough_every: int = 1) -> Judged:
    """Run a random market and give it, judged; every `thorough_every`-th command is checked thoroughly."""
    judged = Judged()
    flow = Flow(seed, judged.market)
    for made, payload in flow.opening():
        judged.apply(made, payload, thorough=True)
    for number in range(commands):
        made, payload = flow.next()
        with noted(f"seed {seed}, command {number}: {made}"):
            judged.apply(made, payload, thorough=number % thorough_every == 0)
    judged.check()
    return judged
