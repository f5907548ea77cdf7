"""Lets people loose in the demo's market: they subscribe, redeem, dither, resell, hunt, and mistype.

    habit     of 100   presale        at the till      in the book
    regular       45   buys a little  comes often      sells a rest when time runs out
    dreamer       30   buys a lot     hardly comes     sells, lower and lower as the deadline nears
    hunter        20   waits          comes often      buys what dreamers give up, below value
    trader         5   now and then   hardly comes     bids and offers, icebergs, stops

Everyone looks only at what the public API shows: the own account, one series, the top of one book.
What a unit is worth to them is one integer formula (`Crowd.fair`): value × discount at issue × fame,
less the nearer the end is, as fewer people will still come by in time; never below what a PRINCIPAL
series gives back; and less for a merchant that is rumoured to fail. Noise around it makes the trades.

A few of a hundred act without looking. Their commands are refused, which is part of a market's day,
and the desk counts them by code.

Invariants
- One `random.Random` in one order of calls, no clock, no order taken from a set: same seed, same commands.
- Prices and amounts are integers. Every command carries the time it was asked to happen at.
- What the crowd believes is never used for the totals; those come from the events alone.

Costs: a turn is one look at an account, O(holdings × orders of their series), plus its commands.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from math import isqrt
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from rightsx.demo.scene import CHANNELS, HOUR_NS
from rightsx.protocol import BPS, DAY_NS, Refusal

if TYPE_CHECKING:
    import random

    from rightsx.demo.scene import Plan, Scene, Shop
    from rightsx.exchange import Exchange
    from rightsx.results import Created, OrderResult, Result
    from rightsx.views import HoldingView, Ladder, SeriesView

Answer = TypeVar("Answer", bound="Result | Created")
OPEN_ORDERS: Final = 5  # nobody watches more at a time


class Habit(NamedTuple):
    """How a kind of person behaves: chances in percent a turn, and the most units bought at once."""

    name: str
    redeem: int
    offer: int
    presale: int
    hunt: int
    appetite: int


HABITS: Final = (
    Habit("regular", redeem=34, offer=5, presale=50, hunt=14, appetite=8),
    Habit("dreamer", redeem=6, offer=28, presale=66, hunt=5, appetite=16),
    Habit("hunter", redeem=45, offer=5, presale=3, hunt=70, appetite=9),
    Habit("trader", redeem=5, offer=50, presale=12, hunt=85, appetite=20),
)
SHARES: Final = (45, 30, 20, 5)


@dataclass(slots=True)
class Person:
    """One holder: whom it likes, what it has open, and when it last bought in each series."""

    habit: Habit
    likes: tuple[int, ...]
    purse: int
    account: int = 0
    orders: list[int] = field(default_factory=list)
    bought_ns: dict[int, int] = field(default_factory=dict)


class Desk:
    """Counts what the market answered: accepted commands by verb, refusals by code."""

    def __init__(self) -> None:
        self.accepted: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    def note(self, verb: str, answer: Answer) -> Answer:
        """Count one answer and pass it on."""
        if answer.refused is None:
            self.accepted[verb] += 1
        else:
            self.refused[answer.refused.code.name] += 1
        return answer


class Upload(NamedTuple):
    """A voucher that a terminal will report: when, which, where, and when it was used."""

    due_ns: int
    voucher: int
    terminal: str
    redeemed_ns: int
    store: str


class Crowd:
    """All people and shopkeepers, their market, and what they are about to do.

    `quotes` keeps the best bid and ask of every series at each `glance`, `fullest` the book that had
    most prices on both sides, and when.
    """

    def __init__(self, market: Exchange, scene: Scene, rng: random.Random) -> None:
        self.market = market
        self.scene = scene
        self.rng = rng
        self.desk = Desk()
        self.plans: dict[int, Plan] = {}
        self.present: list[Person] = []
        self.uploads: list[Upload] = []
        self.quotes: defaultdict[int, list[tuple[int, int | None, int | None]]] = defaultdict(list)
        self.fullest: tuple[int, int, int, int, Ladder] | None = None
        self._sold_out: set[int] = set()
        self._trading: list[int] = []
        self._by_shop: dict[int, list[int]] = {}
        self._gone: set[int] = set()
        self._waning = False

    def chance(self, percent: int) -> bool:
        """Toss a coin that comes up `percent` times in a hundred."""
        return self.rng.randrange(100) < percent

    # ── what directs the day ─────────────────────────────────────────────────────────────────────

    def announce(self, plan: Plan, now: int) -> None:
        """List a series."""
        number = self.desk.note("list", self.market.list_series(**plan.terms, time_ns=now))
        if number:
            self.plans[int(number)] = plan
            self.refresh(now)

    def refresh(self, now: int) -> None:
        """Learn which series are still traded. O(series)."""
        live = [number for number, plan in self.plans.items() if now < plan.times.last_trade_ns and plan.shop not in self._gone]
        self._trading = live
        # When most series have had their last trade, people begin to take their money home.
        self._waning = len(self.plans) == len(self.scene.plans) and 2 * len(live) < len(self.plans)
        self._by_shop = {shop: [n for n in live if self.plans[n].shop == shop] for shop in range(len(self.scene.shops))}

    def arrive(self, person: Person, now: int) -> None:
        """Open an account and pay money in; one in twenty is a beginner, whom a tier limits."""
        account = self.desk.note("open", self.market.open_account(tier=int(self.chance(5)), time_ns=now))
        person.account = int(account)
        self.desk.note("deposit", self.market.deposit(account=account, amount=person.purse, time_ns=now))
        self.present.append(person)
        self.turn(person, now)

    def fail(self, now: int) -> None:
        """Let the doomed merchant default."""
        for index, shop in enumerate(self.scene.shops):
            if shop.doomed:
                self.desk.note("default", self.market.default(merchant=shop.account, time_ns=now))
                self._gone.add(index)
        self.refresh(now)

    def glance(self, now: int) -> None:
        """Note the best prices of every series, and the fullest book so far. O(levels of all books)."""
        for number in self._trading:
            if now < max(self.plans[number].times.open_ns, 1):
                continue
            ladder = self.market.depth(number, levels=None)
            self.quotes[number].append((now, ladder.best_bid, ladder.best_ask))
            score = min(len(ladder.bids), len(ladder.asks))
            if score and (self.fullest is None or score > self.fullest[0]):
                self.fullest = (score, now, number, self.market.series(number).value, ladder)

    def reverse(self, now: int) -> None:
        """Let a bank take money back from somebody (R33)."""
        if self.present:
            person = self.rng.choice(self.present)
            amount = self.rng.randrange(5, 60) * 1_000
            self.desk.note("chargeback", self.market.chargeback(account=person.account, amount=amount, time_ns=now))

    def pause(self, series: int, now: int) -> None:
        """Halt a series."""
        self.desk.note("halt", self.market.halt(series=series, time_ns=now))

    def unpause(self, series: int, now: int) -> None:
        """Lift the halt of a series."""
        self.desk.note("resume", self.market.resume(series=series, time_ns=now))

    def upload(self, one: Upload, now: int) -> None:
        """Report what a terminal redeemed while it was offline."""
        answer = self.market.upload_voucher(
            voucher=one.voucher, terminal=one.terminal, redeemed=one.redeemed_ns, store=one.store or 0, time_ns=now
        )
        self.desk.note("upload", answer)

    def mind(self, shop: Shop, index: int, day: int, now: int) -> None:
        """Let a shopkeeper take money home and buy units back; a doomed one takes all it can."""
        cash = self.market.account(shop.account).cash_free
        desperate = shop.doomed and now >= self.scene.rumour_ns
        share = 80 if desperate else 40 if day % 7 == index % 7 else 0
        if index in self._gone:
            return
        if cash * share >= BPS:
            self.desk.note("withdraw", self.market.withdraw(account=shop.account, amount=cash * share // 100, time_ns=now))
        own = [n for n in self._by_shop.get(index, ()) if self.plans[n].life_bps(now) < 5_000]  # noqa: PLR2004 - half
        if own and not desperate and self.chance(30):
            number = self.rng.choice(own)
            view = self.market.series(number)
            price = self.fit(view, self.fair(number, view.value, now) * 93 // 100)
            qty = min(self.rng.randrange(5, 60), cash // 2 // max(1, price))
            if price and qty:
                self.place(None, series=number, account=shop.account, side="buy", qty=qty, price=price, buyback=True,
                           deadline=now + 2 * DAY_NS, time_ns=now)  # fmt: skip

    # ── one person's turn ────────────────────────────────────────────────────────────────────────

    def turn(self, person: Person, now: int) -> None:
        """Look at the account, tend open orders, use what is held, spend what is left."""
        self.tend(person, now)
        view = self.market.account(person.account)
        if view.frozen:
            return
        for holding in view.holdings:
            if holding.free_qty and holding.value:
                self.use(person, holding, now)
        cash = view.cash_free
        if cash < person.purse // 3 and self.chance(15):
            self.desk.note("deposit", self.market.deposit(account=person.account, amount=person.purse // 2, time_ns=now))
        elif cash > (person.purse // 3 if self._waning else person.purse * 2) and self.chance(10):
            self.desk.note("withdraw", self.market.withdraw(account=person.account, amount=cash // 2, time_ns=now))
        if self.chance(person.habit.presale):
            cash -= self.subscribe(person, cash, now)
        if self.chance(person.habit.hunt):
            self.hunt(person, cash, now)
        if person.habit.name == "trader" and person.orders and self.chance(6):
            answer = self.market.cancel_after(account=person.account, at=now + 3 * DAY_NS, time_ns=now)
            self.desk.note("cancel after", answer)

    def tend(self, person: Person, now: int) -> None:
        """Reprice open orders, take some out, forget finished ones; one in a hundred cancels a finished one."""
        kept = []
        for number in person.orders:
            order = self.market.order(number)
            if order is None:
                if self.chance(1):
                    self.desk.note("cancel", self.market.cancel(account=person.account, order_id=number, time_ns=now))
                continue
            plan, roll = self.plans[order.series], self.rng.randrange(100)
            late = order.side == "sell" and plan.life_bps(now) < 1_500  # noqa: PLR2004 - the last sixth or so
            if roll < (25 if late else 6):
                self.desk.note("cancel", self.market.cancel(account=person.account, order_id=number, time_ns=now))
                continue
            kept.append(number)
            if roll < 45 and order.stop_price is None:  # noqa: PLR2004 - percent
                view = self.market.series(order.series)
                price = self.fit(view, self.fair(order.series, view.value, now) * self._markup(order.side, plan, now) // BPS)
                if price and (price < order.price if order.side == "sell" else price > order.price):
                    self.desk.note("amend", self.market.amend(account=person.account, order_id=number, price=price, time_ns=now))
        person.orders = kept

    def use(self, person: Person, holding: HoldingView, now: int) -> None:
        """Decide what to do with the units of one series: give back, redeem, give away, sell, or wait."""
        plan, habit = self.plans[holding.series], person.habit
        life = plan.life_bps(now)
        bought_ns = person.bought_ns.get(holding.series, 0)
        if plan.times.cooling_ns and self.rng.randrange(1_000) < (60 if now < bought_ns + plan.times.cooling_ns else 2):
            qty = self.rng.randrange(1, holding.free_qty + 1)
            answer = self.market.refund(series=holding.series, account=person.account, qty=qty, time_ns=now)
            self.desk.note("refund", answer)
        elif self.chance(habit.redeem * (130 if life < 2_500 else 100) // 100):  # noqa: PLR2004 - the last quarter
            self.redeem(person, holding, now)
        elif self.chance(1) and (now < plan.times.last_trade_ns or self.chance(5)):
            self.give(person, holding, now)
        elif now < plan.times.last_trade_ns or self.chance(1):
            early = plan.times.hold_ns and now < bought_ns + plan.times.hold_ns
            eager = habit.offer * (30 if life > 6_500 else 100 if life > 2_000 else 180) // 100  # noqa: PLR2004
            if self.chance(2 if early else eager) and len(person.orders) < OPEN_ORDERS:
                self.offer(person, holding, now)

    def redeem(self, person: Person, holding: HoldingView, now: int) -> None:
        """Go to a store and use units, pay a bill, or lock a voucher for a day without network."""
        plan, series = self.plans[holding.series], holding.series
        shop = self.scene.shops[plan.shop]
        store = self.rng.choice(plan.stores) if plan.stores and not self.chance(1) else 0
        most = min(holding.free_qty, 1 + person.habit.appetite // 2)
        qty, roll = self.rng.randrange(1, most + 1), self.rng.randrange(100)
        if roll < 5 and now + 2 * DAY_NS < plan.times.expire_ns:  # noqa: PLR2004 - percent
            self.lock(person, holding, shop, now)
        elif roll < 30:  # noqa: PLR2004
            bill = qty * holding.value + self.rng.randrange(holding.value)
            answer = self.market.redeem_bill(
                merchant=shop.account, product=plan.product, account=person.account, amount=bill, store=store, time_ns=now
            )
            self.desk.note("redeem bill", answer)
        else:
            qty += holding.free_qty if self.chance(1) else 0
            self.desk.note("redeem", self.market.redeem(series=series, account=person.account, qty=qty, store=store, time_ns=now))

    def lock(self, person: Person, holding: HoldingView, shop: Shop, now: int) -> None:
        """Lock a voucher; three in four are used and reported, some of them twice, the rest lapse."""
        terminals = shop.terminals[: self.rng.randrange(1, len(shop.terminals) + 1)]
        qty = self.rng.randrange(1, min(holding.free_qty, 3) + 1)
        answer = self.desk.note(
            "lock voucher",
            self.market.lock_voucher(
                series=holding.series,
                account=person.account,
                qty=qty,
                ttl=DAY_NS,
                grace=DAY_NS // 2,
                terminals=terminals,
                time_ns=now,
            ),
        )
        if answer and self.chance(75):
            plan = self.plans[holding.series]
            store = plan.stores[0] if plan.stores else ""
            used_ns = now + self.rng.randrange(1, 20) * HOUR_NS
            for _ in range(2 if self.chance(8) else 1):
                due_ns = used_ns + self.rng.randrange(1, 16) * HOUR_NS
                heapq.heappush(self.uploads, Upload(due_ns, answer.voucher_id, self.rng.choice(terminals), used_ns, store))

    def give(self, person: Person, holding: HoldingView, now: int) -> None:
        """Give a few units to somebody."""
        friend = self.rng.choice(self.present).account
        qty = self.rng.randrange(1, min(holding.free_qty, 4) + 1)
        answer = self.market.transfer(series=holding.series, account=person.account, recipient=friend, qty=qty, time_ns=now)
        self.desk.note("give", answer)

    # ── buying and selling ───────────────────────────────────────────────────────────────────────

    def subscribe(self, person: Person, cash: int, now: int) -> int:
        """Buy from the primary sale of a liked merchant, if it is still a good price, and give what was paid."""
        liked = [n for shop in person.likes for n in self._by_shop.get(shop, ()) if n not in self._sold_out or self.chance(1)]
        if not liked:
            return 0
        number = self.rng.choice(liked)
        plan, view = self.plans[number], self.market.series(number)
        qty = self.rng.randrange(1, person.habit.appetite + 1)
        if not self.chance(2):
            qty = min(qty, cash // plan.issue_price)
            dear = plan.issue_price * self.rng.randrange(82, 98) // 100 > self.fair(number, view.value, now)
            if not qty or dear or plan.issue_price > view.cap:
                return 0
        channel = self.rng.choice(CHANNELS)
        answer = self.desk.note(
            "subscribe", self.market.subscribe(series=number, account=person.account, qty=qty, channel=channel, time_ns=now)
        )
        if answer:
            person.bought_ns[number] = now
        elif answer.refused is not None and answer.refused.code == Refusal.AuthorisedExceeded:
            self._sold_out.add(number)
        return answer.paid

    def offer(self, person: Person, holding: HoldingView, now: int) -> None:
        """Offer units for sale, in one of the ways the book knows."""
        plan, view = self.plans[holding.series], self.market.series(holding.series)
        fair = self.fair(view.series, view.value, now)
        price = self.fit(view, fair * self._markup("sell", plan, now) // BPS)
        if not price:
            return
        qty, roll = self.rng.randrange((holding.free_qty + 1) // 2, holding.free_qty + 1), self.rng.randrange(100)
        order: dict[str, Any] = {"series": view.series, "account": person.account, "side": "sell", "qty": qty, "time_ns": now}
        if roll < (35 if plan.life_bps(now) < 1_000 else 3):  # noqa: PLR2004 - at the end people take what they get
            self.place(person, **order)
        elif roll < 45 and qty >= 8:  # noqa: PLR2004 - percent, units
            self.place(person, **order, price=price, display=-(-qty // 4))
        elif roll < 50 and view.last_price:  # noqa: PLR2004
            stop = self.fit(view, min(view.last_price, fair) * 92 // 100)
            self.place(person, **order, price=self.fit(view, stop * 9 // 10) or stop, stop_price=stop, trigger="fall")
        elif roll < 54:  # noqa: PLR2004
            self.place(person, **order, price=price, post_only=True)
        elif roll < 75:  # noqa: PLR2004
            self.place(person, **order, price=price, deadline=now + self.rng.randrange(1, 6) * DAY_NS)
        else:
            self.place(person, **order, price=price)

    def hunt(self, person: Person, cash: int, now: int) -> None:
        """Look for units below what they are worth: take a good ask, or leave a bid and wait."""
        number = self._pick(person)
        if not number or len(person.orders) >= OPEN_ORDERS:
            return
        plan, view = self.plans[number], self.market.series(number)
        if view.phase == "closed" and not self.chance(20):
            return
        ask = self.market.depth(number, levels=1).best_ask
        worth = self.fair(number, view.value, now) * self.rng.randrange(9_000, 10_700) // BPS
        take = ask is not None and ask <= worth
        price = self.fit(view, worth if take else worth * self.rng.randrange(82, 100) // 100)
        qty = self.rng.randrange(1, person.habit.appetite + 1)
        if not self.chance(2):
            qty = min(qty, cash * 98 // 100 // price) if price else 0
        if not qty or not price:
            return
        order: dict[str, Any] = {"series": number, "account": person.account, "side": "buy", "qty": qty, "time_ns": now}
        roll = self.rng.randrange(100)
        if take and roll < 12 and qty * view.cap < cash * 9 // 10:  # noqa: PLR2004 - a market order locks the cap
            self.place(person, **order)
        elif take and roll < 18:  # noqa: PLR2004 - percent
            self.place(person, **order, price=price, time_in_force="fok")
        elif take and roll < 50:  # noqa: PLR2004
            self.place(person, **order, price=price, time_in_force="ioc")
        elif roll < 56 and qty >= 8:  # noqa: PLR2004
            self.place(person, **order, price=price, display=-(-qty // 3))
        elif roll < 59 and view.last_price and plan.residual == 0:  # noqa: PLR2004
            stop = self.fit(view, view.last_price * 104 // 100)
            self.place(person, **order, price=stop, stop_price=stop, trigger="rise")
        elif roll < 75:  # noqa: PLR2004
            self.place(person, **order, price=price, deadline=now + self.rng.randrange(2, 8) * DAY_NS)
        else:
            self.place(person, **order, price=price, own_orders="cancel_maker")

    def place(self, person: Person | None, **order: Any) -> OrderResult:
        """Enter an order, count it, and remember it if it rests."""
        answer = self.desk.note("place", self.market.place(**order))
        if person is not None and answer.leaves_qty:
            person.orders.append(answer.order_id)
        if person is not None and answer.filled_qty and order["side"] == "buy":
            person.bought_ns[order["series"]] = order["time_ns"]
        return answer

    def _pick(self, person: Person) -> int:
        """Choose a series to look at: mostly a liked merchant's, sometimes any, 0 if there is none."""
        liked = [n for shop in person.likes for n in self._by_shop.get(shop, ())]
        if self.rng.randrange(1_000) < 5:  # noqa: PLR2004 - per mille: one whose time may be over
            liked = list(self.plans)
        elif not liked or self.chance(20):
            liked = self._trading
        return self.rng.choice(liked) if liked else 0

    # ── what a unit is worth to people ───────────────────────────────────────────────────────────

    def fair(self, series: int, value: int, now: int) -> int:
        """Give what people think a unit is worth now, in minor units, at least 1."""
        plan = self.plans[series]
        keen = 4_200 + 5_800 * isqrt(plan.life_bps(now) * BPS) // BPS
        price = value * plan.issue_price // plan.par * plan.fame // BPS * keen // BPS
        price = max(price, plan.residual * 94 // 100)
        rumour_ns, default_ns = self.scene.rumour_ns, self.scene.default_ns
        if plan.doomed and now > rumour_ns:
            price -= price * 60 // 100 * min(now - rumour_ns, default_ns - rumour_ns) // (default_ns - rumour_ns)
        return max(1, price)

    def fit(self, view: SeriesView, price: int) -> int:
        """Bring a price into the band, under the cap and onto the tick; 0 if nothing is allowed.

        One in a hundred forgets to look at value and band.
        """
        tick = self.plans[view.series].tick
        if self.chance(1):
            return max(tick, price * self.rng.choice((60, 145)) // 100 // tick * tick)
        low, high = view.band or (tick, view.cap)
        high = min(high, view.cap)
        price = min(max(price, low), high) // tick * tick
        return price if low <= price <= high else 0

    def _markup(self, side: str, plan: Plan, now: int) -> int:
        """Give what a person asks or bids for, in bps of the fair price: sellers give way as time goes."""
        if side == "buy":
            return self.rng.randrange(8_400, 10_000)
        return self.rng.randrange(9_850, 11_000) - (BPS - plan.life_bps(now)) // 10
