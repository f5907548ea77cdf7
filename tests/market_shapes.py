"""Shapes of market flow: whole batches of COMMANDs from arrays drawn in advance, all from one seed.

    MarketShape ─► MarketFlow(seed, market) ─► (command, payload) | COMMAND[n] | (command, payload) | …
      what the market is like        ▲            cold ones singly, hot ones in batches
                                     └── a reference market: who is there, what rests, what falls due

A shape says what is asked how often, how prices and quantities fall, what series are like and how long
they live, how time passes, how large the venue may grow, how small the engine's buffers are. A flow
looks at the reference before each batch, so that it names orders, holders and vouchers that are there,
and gives times at which something falls due; the commands are a function of the seed and of what the
reference answered, so that they can be made again without the engine that failed. What it draws, it
draws for a whole batch, so that it costs less than what it is given to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from market_flow import EDGES, HOUR, WEIGHTS, Flow
from rightsx import schedule
from rightsx.protocol import (
    AT_ENGINE_CLOCK,
    BPS,
    CALLER_ID_FIRST,
    CASH_END,
    COMMAND,
    DAY_NS,
    FIRST_COLD_KIND,
    INT64_MAX,
    PRICE_END,
    QTY_END,
    T0_NS,
    TIME_END,
    AmendFlag,
    Command,
    CommandKind as K,
    Limits,
    OrderFlag,
    Policy,
    Side,
    Term,
    TimeInForce,
    Venue,
    command_records,
)
from rightsx.reference.plans import usable_qty
from rightsx.vocabulary import cold_command, command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rightsx.reference.state import Market

    Draw = Callable[[np.random.Generator, int], np.ndarray]
    Piece = tuple[Command, bytes] | np.ndarray

VENUE: Final = Venue(gift_fee=3, reference_days=1, limits=Limits(holdings=4_000, orders=3_000))
GTC, GTD, IOC, FOK = (int(one) for one in TimeInForce)
BUY, SELL = int(Side.BUY), int(Side.SELL)
POST_ONLY, BUYBACK, MARKET = int(OrderFlag.POST_ONLY), int(OrderFlag.BUYBACK), int(OrderFlag.MARKET)
PEG = int(OrderFlag.PEG)
RISE, FALL = int(OrderFlag.STOP_RISE), int(OrderFlag.STOP_FALL)
OWN_MODES: Final = (0, int(OrderFlag.CANCEL_MAKER), int(OrderFlag.CANCEL_BOTH))
SEEN: Final = 512  # of the orders, holders and vouchers that a batch may name

# ── how numbers fall ─────────────────────────────────────────────────────────────────────────────


def upto(most: int) -> Draw:
    """Draw quantities from 1 to `most`."""
    return lambda rng, n: rng.integers(1, most + 1, n)


def heavy(usual: int, rare: int) -> Draw:
    """Draw small quantities, and a large one now and then."""
    return lambda rng, n: np.where(rng.random(n) < 0.08, rng.integers(1, rare + 1, n), rng.integers(1, usual + 1, n))


def edges(*some: int) -> Draw:
    """Draw from a few numbers."""
    return lambda rng, n: rng.choice(np.array(some, np.int64), n)


UP_TO_20: Final = upto(20)

# ── shapes ───────────────────────────────────────────────────────────────────────────────────────


def mostly(**given: float) -> dict[K, float]:
    """Give the usual weights of hot commands, those named here changed."""
    usual = {kind: weight for kind, weight in WEIGHTS.items() if kind < FIRST_COLD_KIND}
    return (
        usual | {K.SET_TIER: 0.1, K.HALT: 0.3, K.RESUME: 3, K.UNFREEZE: 4} | {K[name]: weight for name, weight in given.items()}
    )


@dataclass(frozen=True)
class Paper:
    """What series are like. Shares are of 1; a series gets each of the terms with its share."""

    life: tuple[int, int] = (2 * DAY_NS, 40 * DAY_NS)
    grid: int = 1  # expiries fall on multiples of this many ns
    par: tuple[int, ...] = (100, 97, 1_000, 1)
    authorised: tuple[int, ...] = (500, 5_000, 60)
    issue: tuple[int, int] = (6_000, 9_500)  # bps of par
    steps: int = 6
    principal: float = 0.4
    trial: float = 0.06
    auction: float = 0.2
    band: float = 0.25
    bands: tuple[int, ...] = (1_000, 3_000, 10_000)
    sizes: float = 0.15
    cooling_off: float = 0.3
    hold: float = 0.3
    clawback: float = 0.5
    caps: float = 0.3
    early_close: float = 0.4
    wrong: float = 0.05
    products: int = 2
    issue_bps: tuple[int, ...] = (0, 150, 200, 6_000)
    escrow_bps: tuple[int, ...] = (0, 4_000, 9_000, 10_000)
    maker_bps: tuple[int, ...] = (0, 10)
    taker_bps: tuple[int, ...] = (0, 30, 9_000)
    royalty_bps: tuple[int, ...] = (0, 100, 5_000)


@dataclass(frozen=True)
class MarketShape:
    """What a flow is like. Shares are of 1, rates in bps of a series' cap, spans in ns.

    `event_rows` and `first_rows` 0 are the engine's own choice; any other makes its event buffer or the
    first size of its pools so small that a command stops in the middle.
    """

    weights: dict[K, float] = field(default_factory=mostly)
    paper: Paper = Paper()
    venue: Venue = VENUE
    event_rows: int = 0
    first_rows: int = 0
    batches: tuple[int, ...] = (1, 16, 64, 256)
    merchants: int = 2
    accounts: int = 10
    series: int = 4  # that trade at one time
    cash: int = 200_000
    pace: int = HOUR // 20
    still: float = 0.5  # of the commands: at the same ns as the one before
    due: float = 0.04  # of the commands: exactly when something falls due, or 1 ns before
    leap: float = 0.1  # of the batches: time moves on to what falls due next
    bids: tuple[int, int] = (5_500, 9_900)
    asks: tuple[int, int] = (7_000, 10_020)
    qty: Draw = UP_TO_20
    times: tuple[float, float, float, float] = (0.6, 0.2, 0.1, 0.1)
    good_till: int = 12 * HOUR
    iceberg: float = 0.15
    stop: float = 0.12
    market: float = 0.1
    post_only: float = 0.1
    pegs: float = 0.06
    buyback: float = 0.05
    own_modes: float = 0.3
    given_ids: float = 0.06
    ref: float = 0.06
    refs: int = 40
    hostile: float = 0.04
    edges: float = 0.01  # of prices, quantities, amounts: those at the ends of what R1 allows
    members: float = 0.1  # of the batches: after them, an import
    most_members: int = 6
    buyers: int = 20  # of a new series
    terminals: int = 2  # of each merchant
    singly: bool = False  # the flow of `market_flow`, which knows before each command what the last one did


def only(**given: float) -> dict[K, float]:
    """Give the weights of these commands, and a little cash and time."""
    return {K.DEPOSIT: 3, K.SUBSCRIBE: 5, K.ADVANCE: 0.5, K.PUBLISH: 0.2} | {K[name]: weight for name, weight in given.items()}


QUIET: Final = Paper(auction=0, band=0, sizes=0, trial=0, wrong=0, hold=0, cooling_off=0, steps=0, taker_bps=(30,))
LIMITED: Final = Limits(orders=20, accounts=16, holdings=40, series=16)

MARKETS: Final[dict[str, MarketShape]] = {
    "everything": MarketShape(),
    "singly": MarketShape(venue=Venue(gift_fee=3, reference_days=1, limits=Limits(holdings=120, orders=60)), singly=True),
    "calm": MarketShape(only(PLACE=60, CANCEL=25, AMEND=10), QUIET, hostile=0, stop=0, market=0, iceberg=0, own_modes=0),
    "deep": MarketShape(
        only(PLACE=90, CANCEL=3, AMEND=3),
        Paper(par=(100_000,), authorised=(2**20,), band=0, sizes=0, trial=0, steps=2, hold=0, auction=0),
        cash=2**40,
        bids=(1_000, 8_000),
        asks=(8_001, 10_000),
        pace=HOUR // 200,
        series=2,
        batches=(512,),
        times=(0.95, 0.05, 0, 0),
        market=0.01,
        given_ids=0.01,
        venue=Venue(limits=Limits(orders=2**15)),
    ),
    "sweep": MarketShape(
        only(PLACE=80, CANCEL=5, AMEND=3), Paper(par=(1_000,), band=0, trial=0, sizes=0), qty=heavy(8, 300), series=2, cash=10**7
    ),
    "icebergs": MarketShape(only(PLACE=70, CANCEL=8, AMEND=15), QUIET, iceberg=0.7, qty=upto(60), series=2, bids=(9_500, 10_000)),
    "stops": MarketShape(only(PLACE=70, CANCEL=8, AMEND=10), stop=0.55, market=0.3, iceberg=0.1, series=2, qty=upto(12)),
    "market_orders": MarketShape(only(PLACE=70, CANCEL=5, AMEND=5), market=0.4, times=(0.4, 0.1, 0.2, 0.3), series=2, cash=10**6),
    "cancel_storm": MarketShape(mostly(CANCEL=45, CANCEL_ALL=3, CANCEL_AFTER=4, FREEZE=1, UNFREEZE=4)),
    "amend_storm": MarketShape(mostly(AMEND=60), iceberg=0.3, post_only=0.25),
    "self_trades": MarketShape(only(PLACE=70, CANCEL=5, AMEND=15), accounts=3, own_modes=0.8, iceberg=0.3, series=2),
    "auctions": MarketShape(
        mostly(PLACE=60, AMEND=12, CANCEL=10),
        Paper(life=(4 * HOUR, 30 * HOUR), auction=0.95, steps=3),
        accounts=6,
        market=0.25,
        pace=HOUR // 30,
    ),
    "halted_auctions": MarketShape(
        mostly(PLACE=50, HALT=3, RESUME=4), Paper(life=(2 * HOUR, 12 * HOUR), auction=0.95), pace=HOUR // 20, stop=0.3
    ),
    "expiry_wave": MarketShape(
        paper=Paper(life=(DAY_NS // 2, 2 * DAY_NS), grid=DAY_NS, trial=0.1), series=12, accounts=40, pace=HOUR // 10, leap=0.3
    ),
    "decay": MarketShape(
        mostly(PLACE=60),
        Paper(life=(DAY_NS, 4 * DAY_NS), grid=DAY_NS // 2, steps=60, band=0.1),
        pace=HOUR // 8,
        bids=(8_000, 10_000),
    ),
    "one_moment": MarketShape(
        paper=Paper(life=(DAY_NS, 2 * DAY_NS), grid=HOUR, steps=30), good_till=2 * HOUR, still=0.95, due=0.2, pace=HOUR, leap=0.5
    ),
    "edges": MarketShape(
        mostly(DEPOSIT=8, SET_TIER=3, SET_ACCOUNT=8, OPEN_ACCOUNT=0.1),
        Paper(par=(1, 2, 131_071, PRICE_END - 1), authorised=(1, 2, 131_071, 2**31 - 1), steps=3, wrong=0.1),
        cash=2**40,
        edges=0.3,
        hostile=0.05,
        accounts=5,
    ),
    "riches": MarketShape(
        paper=Paper(par=(PRICE_END - 1,), authorised=(131_000,), steps=4), cash=2**58, qty=heavy(500, 20_000), accounts=6
    ),
    "treasury": MarketShape(
        only(DEPOSIT=30, WITHDRAW=30, CHARGEBACK=10, PLACE=10, UNFREEZE=15, SUBSCRIBE=10), cash=2**60, accounts=3, edges=0.02
    ),
    "bands": MarketShape(
        only(PLACE=70, CANCEL=5, AMEND=10),
        Paper(life=(DAY_NS, 4 * DAY_NS), steps=40, band=1, bands=(1, 50, 1_000), sizes=0.6, early_close=0, hold=0),
        stop=0.5,
        asks=(8_000, 10_000),
        bids=(8_000, 10_000),
        series=2,
        pace=HOUR // 8,
        cash=10**7,
    ),
    "fen": MarketShape(paper=Paper(par=(1, 2, 3, 7), authorised=(5_000,), issue=(9_000, 10_000)), cash=5_000, qty=upto(9)),
    "vouchers": MarketShape(
        mostly(LOCK_VOUCHER=30, UPLOAD_VOUCHER=25, SUBSCRIBE=15), Paper(life=(6 * HOUR, 2 * DAY_NS), steps=10), pace=HOUR // 30
    ),
    "many_terminals": MarketShape(mostly(LOCK_VOUCHER=30, UPLOAD_VOUCHER=30, SUBSCRIBE=15), terminals=64),
    "crowd": MarketShape(
        mostly(SUBSCRIBE=30, TRANSFER=10, DEFAULT=0.1, CHARGEBACK=0),
        Paper(
            life=(DAY_NS // 2, 2 * DAY_NS),
            grid=DAY_NS,
            steps=4,
            trial=0.15,
            authorised=(20_000,),
            caps=0,
            par=(100,),
            principal=0.8,
        ),
        Venue(gift_fee=1),
        cash=10**7,
        event_rows=8,
        first_rows=8,
        accounts=120,
        buyers=120,
        series=2,
        pace=HOUR // 8,
        members=0.2,
        most_members=200,
        leap=0.3,
    ),
    "listings": MarketShape(
        paper=Paper(life=(HOUR, 2 * DAY_NS), steps=8, principal=0.6, wrong=0.6),
        series=40,
        batches=(1, 8),
        pace=HOUR // 8,
        cash=10**7,
    ),
    "century": MarketShape(
        mostly(DEPOSIT=5), venue=Venue(reference_days=36_525), ref=0.5, refs=2_000, pace=1, still=0.2, leap=0.02
    ),
    "defaults": MarketShape(
        mostly(DEFAULT=0.4, CHARGEBACK=4, FREEZE=2, UNFREEZE=12, LOCK_VOUCHER=8),
        merchants=5,
        series=10,
        leap=0.2,
        batches=(1, 16, 64),
    ),
    "late_defaults": MarketShape(
        mostly(PLACE=60, DEFAULT=0.08, LOCK_VOUCHER=8),
        Paper(life=(DAY_NS, 3 * DAY_NS), steps=2, auction=0.4),
        times=(0.3, 0.7, 0, 0),
        merchants=4,
        series=6,
        pace=HOUR // 12,
    ),
    "chargebacks": MarketShape(
        mostly(CHARGEBACK=6, UNFREEZE=15, SUBSCRIBE=20, REFUND=8, WITHDRAW=5),
        Paper(cooling_off=0.8, trial=0.1),
        series=8,
        cash=4_000,
    ),
    "primary": MarketShape(
        mostly(SUBSCRIBE=40, GRANT=12, REFUND=15, SET_ACCOUNT=2, SET_TIER=1),
        Paper(trial=0.3, caps=0.6, cooling_off=0.7),
        members=0.3,
    ),
    "redemption": MarketShape(mostly(REDEEM=25, REDEEM_BILL=25, SUBSCRIBE=25), Paper(products=1, steps=12), series=10),
    "baskets": MarketShape(
        mostly(PLACE=60, PAY_BILL=20, BUY_PRODUCT=20, ROLL=25, SUBSCRIBE=25, AMEND=3),
        Paper(products=2, steps=6, auction=0.1, par=(100, 97, 1_000)),
        series=10,
        qty=upto(12),
    ),
    "pegs": MarketShape(
        mostly(PLACE=80, SUBSCRIBE=25, HALT=0.6, RESUME=1),
        Paper(life=(DAY_NS, 6 * DAY_NS), steps=12, auction=0.2, band=0.3),
        series=4,
        pegs=0.5,
        pace=HOUR // 4,
    ),
    "plans": MarketShape(
        mostly(PLAN_SALE=30, PLACE=40, SUBSCRIBE=25, REDEEM=25, REDEEM_BILL=8, LOCK_VOUCHER=8, HALT=0.6, RESUME=1),
        Paper(life=(DAY_NS, 6 * DAY_NS), steps=12, auction=0.15, band=0.3, products=1),
        series=4,
        ref=0.2,
        pace=HOUR // 5,
        leap=0.25,
    ),
    "gifts": MarketShape(mostly(TRANSFER=35, SUBSCRIBE=15, REDEEM=8), Paper(hold=0.7, cooling_off=0.7, clawback=1), qty=upto(9)),
    "references": MarketShape(
        mostly(CANCEL=15, ADVANCE=5, SET_TIER=2, SET_ACCOUNT=2, DEFAULT=0.05, CHARGEBACK=1),
        ref=0.7,
        refs=12,
        leap=0.4,
        pace=HOUR // 2,
    ),
    "full": MarketShape(mostly(OPEN_ACCOUNT=2), venue=Venue(limits=LIMITED), series=8, members=0.4, qty=upto(4)),
    "many_series": MarketShape(paper=Paper(life=(HOUR, 3 * DAY_NS), products=3, steps=4), series=60, accounts=20, cash=10**6),
    "switches": MarketShape(
        mostly(HALT=4, RESUME=6, KILL=1, UNKILL=6, FREEZE=3, UNFREEZE=6, CANCEL_AFTER=8, SET_ACCOUNT=3), good_till=HOUR
    ),
    "tiny_buffer": MarketShape(event_rows=8, qty=heavy(4, 200), series=3, batches=(1, 16, 256)),
    "tiny_pools": MarketShape(first_rows=8, accounts=40, series=20, members=0.3),
    "tiny_both": MarketShape(
        mostly(PLACE=60, DEFAULT=0.3), Paper(grid=DAY_NS, auction=0.4, life=(DAY_NS // 2, 2 * DAY_NS)), event_rows=8, first_rows=8
    ),
    "tiny_deep": MarketShape(
        only(PLACE=90, CANCEL=3, AMEND=3, CANCEL_ALL=0.5, FREEZE=0.3, UNFREEZE=2),
        Paper(par=(100_000,), authorised=(2**20,), life=(DAY_NS // 2, 2 * DAY_NS), band=0, sizes=0, trial=0),
        event_rows=8,
        first_rows=8,
        cash=2**40,
        bids=(1_000, 8_000),
        asks=(8_001, 10_000),
        pace=HOUR // 60,
        market=0,
        stop=0.05,
    ),
    "hostile": MarketShape(hostile=0.5, edges=0.05, given_ids=0.3, event_rows=8),
    "end_of_time": MarketShape(paper=Paper(life=(2**46, 2**57), steps=20, wrong=0.2), pace=2**47, good_till=2**58, leap=0.5),
}


# ── the flow ─────────────────────────────────────────────────────────────────────────────────────

# Columns of `papers`: series that trade.
ID, MERCHANT, CAP, TICK, LOT, TRIAL = range(6)


class MarketFlow:
    """An endless stream of commands, a function of the seed and of what the reference answers."""

    def __init__(self, shape: MarketShape, seed: int, market: Market) -> None:
        """Begin a flow for an empty market."""
        self.shape = shape
        self.market = market
        self.rng = np.random.default_rng(seed)
        self.past = np.zeros(0, COMMAND)
        total = sum(shape.weights.values())
        self._kinds = np.array([int(kind) for kind in shape.weights])
        self._shares = np.array([weight / total for weight in shape.weights.values()])

    def pieces(self, commands: int) -> Iterator[Piece]:
        """Make about so many commands: cold ones with their payloads, hot ones in batches."""
        made = 0
        for piece in self._endless():
            yield piece
            made += len(piece) if isinstance(piece, np.ndarray) else 1
            if made >= commands:
                return

    def _endless(self) -> Iterator[Piece]:
        yield from self._opening()
        while True:
            for _ in range(self.shape.series):
                if sum(one.live and not one.closed for one in self.market.series[-3 * self.shape.series :]) >= self.shape.series:
                    break
                yield self._listing()
                yield self._first_sale()
            if len(self._merchants()) < 2:
                yield cold_command(K.REGISTER_MERCHANT, {"name": "later", "ref": self._one_ref()})
            yield self._batch(int(self.rng.choice(self.shape.batches)))
            if self.market.series and self.rng.random() < self.shape.members:
                yield self._members()

    # ── a market to begin with ───────────────────────────────────────────────────────────────────

    def _opening(self) -> Iterator[Piece]:
        """Register merchants, stores, terminals, tiers, channels and accounts, with cash."""
        shape = self.shape
        for number in range(1, shape.merchants + 1):
            yield cold_command(K.REGISTER_MERCHANT, {"name": f"m{number}", "ref": 0}, time_ns=T0_NS)
            yield cold_command(K.REGISTER_STORE, {"name": f"st{number}", "settles_to": 0, "ref": 0}, account=number)
            for terminal in range(shape.terminals):
                yield cold_command(K.REGISTER_TERMINAL, {"name": f"t{terminal}", "ref": 0}, account=number)
        yield cold_command(K.REGISTER_CHANNEL, {"name": "web", "ref": 0})
        rows = [command(K.SET_TIER, tier=tier, amount=cap) for tier, cap in ((1, shape.cash // 6), (2, shape.cash))]
        for number in range(shape.accounts):
            limits = {"max_open": 6 if number % 9 == 8 else 0, "max_notional": shape.cash // 4 if number % 10 == 9 else 0}
            rows.append(command(K.OPEN_ACCOUNT, tier=(0, 0, 1, 2)[number % 4], **limits))
        funds = [max(1, shape.cash // 1_000)] * shape.merchants + [shape.cash] * shape.accounts
        rows += [command(K.DEPOSIT, account=account, amount=cash) for account, cash in enumerate(funds, 1)]
        yield command_records(rows)
        yield cold_command(K.REGISTER_STORE, {"name": "franchise", "settles_to": shape.merchants + 1, "ref": 0}, account=1)

    def _merchants(self) -> list[int]:
        return [account.id for account in self.market.accounts if account.is_merchant and not account.defaulted]

    def _one(self, some: Sequence[int]) -> int:
        return some[int(self.rng.integers(len(some)))]

    def _any(self, some: Sequence[Any]) -> Any:
        return some[int(self.rng.integers(len(some)))]

    def _chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def _listing(self) -> Piece:
        """List a series with random terms."""
        rng, paper = self.rng, self.shape.paper
        now = max(self.market.clock_ns, T0_NS)
        merchant = self._one(self._merchants() or [1])
        life = int(rng.integers(*paper.life))
        expire = min(-(-(now + life) // paper.grid) * paper.grid, TIME_END - 1)
        life = max(1, expire - now)
        par = self._one(paper.par)
        count = int(rng.integers(0, paper.steps + 1))
        shape = (
            schedule.cliff() if count == 0 else schedule.geometric(num=19, den=20, steps=count, every=max(1, life // (count + 2)))
        )
        if count and self._chance(0.5):
            shape = schedule.linear(steps=count, every=max(1, life // (count + 1)))
        steps = [[ns // min(paper.grid, HOUR) * min(paper.grid, HOUR), value] for ns, value in shape.compile(par, expire)]
        if self._chance(paper.wrong / 8):
            steps.reverse()
        payload = {
            "product": ("coffee", "tea", "bread")[int(rng.integers(paper.products))],
            "terms": {int(term): int(value) for term, value in self._terms(now, life, expire, par, steps).items()},
            "steps": steps,
            "stores": [n for n, one in enumerate(self.market.stores, 1) if one.merchant == merchant] if self._chance(0.5) else [],
            "channel_caps": {3: 40} if self._chance(paper.caps) else {},
            "ref": self._one_ref(),
        }
        return cold_command(K.LIST_SERIES, payload, account=merchant)

    def _terms(self, now: int, life: int, expire: int, par: int, steps: list[list[int]]) -> dict[Term, int]:
        rng, paper = self.rng, self.shape.paper
        trial = self._chance(paper.trial)
        issue = 0 if trial else min(par, max(1, par * int(rng.integers(*paper.issue)) // BPS))
        most = max(1, (2**48 - 1) // par)
        terms: dict[Term, int] = {
            Term.PAR: par,
            Term.ISSUE_PRICE: issue,
            Term.AUTHORISED: min(most, self._one(paper.authorised)),
            Term.EXPIRE_NS: expire,
            Term.POLICY: Policy.PRINCIPAL if not trial and self._chance(paper.principal) else Policy.FORFEIT,
            Term.ISSUE_BPS: self._one(paper.issue_bps),
            Term.ESCROW_BPS: self._one(paper.escrow_bps),
            Term.MAKER_BPS: self._one(paper.maker_bps),
            Term.TAKER_BPS: self._one(paper.taker_bps),
            Term.ROYALTY_BPS: self._one(paper.royalty_bps),
            Term.RESALE: int(not trial),
            Term.GIFTS: int(not trial),
            Term.TRIAL: int(trial),
            Term.CLAWBACK: int(self._chance(paper.clawback)),
        }
        if terms[Term.POLICY] == Policy.PRINCIPAL:
            terms[Term.RESIDUAL] = self._one((0, min([issue, *(value for _, value in steps)])))
        if self._chance(paper.early_close):
            terms[Term.LAST_TRADE_NS] = max(now + 1, expire - life // 10)
        if self._chance(paper.auction):
            terms[Term.OPEN_NS] = now + life // int(rng.integers(3, 12))
            terms[Term.AUCTION_BPS] = min(10, terms[Term.TAKER_BPS])
        if self._chance(paper.band) and not trial:
            terms[Term.BAND_BPS] = self._one(paper.bands)
        if self._chance(paper.cooling_off):
            terms[Term.COOLING_OFF_NS] = life // 4
        if self._chance(paper.hold):
            terms[Term.HOLD_NS] = life // 12
        if self._chance(paper.sizes):
            terms |= {Term.TICK: self._one((2, 5)), Term.LOT: self._one((1, 3)), Term.MIN_QTY: 3, Term.MAX_QTY: 60}
        if self._chance(0.2):
            terms[Term.CAP_BPS] = self._one((10_000, 9_000, 5_000))
        if self._chance(paper.wrong):
            terms[self._any(list(terms))] = self._one((*EDGES, BPS + 1))
            if Term.RESIDUAL in terms:
                terms[Term.RESIDUAL] = self._one((issue, par, 0))
        return terms

    def _first_sale(self) -> Piece:
        """Sell the newest series to half of the accounts, so that there is something to trade."""
        if not self.market.series:
            return command_records([command(K.ADVANCE)])
        series = self.market.series[-1]
        rows = []
        buyers = [one.id for one in self.market.accounts[1:] if not one.is_merchant]
        for account in buyers[:: 2 if self._chance(0.8) else 1][: self.shape.buyers]:
            funds = self.market.accounts[account].cash_free // max(1, 4 * series.terms.issue_price)
            qty = max(1, min(series.terms.authorised // max(2, len(buyers)), funds))
            if series.terms.trial:
                rows.append(command(K.GRANT, series=series.id, account=series.merchant, recipient=account, qty=qty))
            else:
                rows.append(command(K.SUBSCRIBE, series=series.id, account=account, qty=qty))
        return command_records(rows or [command(K.ADVANCE)])

    def _members(self) -> Piece:
        rng = self.rng
        series = self._any(self.market.series[-self.shape.series :])
        most = self.shape.most_members
        pairs = {int(rng.integers(1, 7 * most)): int(rng.choice([0, 5, 250, 1_234])) for _ in range(int(rng.integers(1, most)))}
        if self._chance(0.1):
            pairs[self._one(EDGES)] = 500
        rows = [[member, balance] for member, balance in pairs.items()]
        if self._chance(0.15):
            rows.append([rows[0][0], self._one((-1, 7))])
        payload = {"rows": rows, "ref": self._one_ref()}
        owner = series.merchant if self._chance(0.95) else 3
        return cold_command(K.IMPORT_MEMBERS, payload, series=series.id, account=owner)

    def _one_ref(self) -> int:
        return int(self.rng.integers(1, self.shape.refs + 1)) if self._chance(self.shape.ref) else 0

    # ── a batch ──────────────────────────────────────────────────────────────────────────────────

    def _batch(self, n: int) -> np.ndarray:
        """Make COMMAND[n] of hot kinds."""
        rng, shape = self.rng, self.shape
        self._look()
        rows = np.zeros(n, COMMAND)
        rows["kind"] = rng.choice(self._kinds, n, p=self._shares)
        self.now = self._times(n)
        rows["time_ns"] = np.where(rng.random(n) < 0.05, AT_ENGINE_CLOCK, self.now)
        for kind in np.unique(rows["kind"]):
            at = np.flatnonzero(rows["kind"] == kind)
            _FILL[K(int(kind))](self, rows, at)
        rows["ref"] = np.where(rng.random(n) < shape.ref, rng.integers(1, shape.refs + 1, n), 0)
        for place in np.flatnonzero(rng.random(n) < shape.hostile):
            self._bend(rows[place : place + 1])
        self._repeat(rows)
        return rows

    def _repeat(self, rows: np.ndarray) -> None:
        """Let some commands be those of before that had a reference, to the last field but the time."""
        named = rows[rows["ref"] != 0]
        self.past = np.concatenate([self.past, named])[-32:]
        if len(self.past):
            at = np.flatnonzero(self.rng.random(len(rows)) < self.shape.ref / 4)
            times = rows["time_ns"][at].copy()
            rows[at] = self.past[self.rng.integers(0, len(self.past), len(at))]
            rows["time_ns"][at] = times

    def _look(self) -> None:
        """Note who is there, what trades, who holds, what rests, which vouchers there are."""
        market = self.market
        alive = [one for one in market.series[-4 * self.shape.series :] if one.live and not one.closed][-self.shape.series :]
        alive = alive or market.series[-1:]
        trading = [one for one in alive if not one.terms.trial]
        alive = trading + [one for one in alive if one.terms.trial]
        self.trading = len(trading)
        self.papers = _table([(s.id, s.merchant, s.cap, s.terms.tick, s.terms.lot, s.terms.trial) for s in alive], 6)
        held = [
            (account, place, usable_qty(market, series, account))
            for place, series in enumerate(alive)
            for account, one in islice(series.holdings.items(), max(8, SEEN // len(alive)))
            if one.free_qty or account in series.plans or self._chance(0.05)
        ]
        self.holders = _table(held, 3)
        orders = market.orders.values()
        some = [*islice(orders, SEEN // 4), *islice(reversed(orders), SEEN)]
        self.orders = _table([(one.id, one.account, one.limit, one.open_qty) for one in some], 4)
        vouchers = [
            (one.id, one.account, one.lock_ns, one.redeem_end_ns)
            for series in alive
            for one in islice(reversed(series.vouchers.values()), 24)
        ]
        self.vouchers = _table(vouchers, 4)
        self.people = len(market.accounts)

    def _times(self, n: int) -> np.ndarray:
        """Let time pass: mostly a little, often not at all, at times to exactly what falls due."""
        rng, shape, market = self.rng, self.shape, self.market
        clock = max(market.clock_ns, T0_NS)
        steps = np.where(rng.random(n) < shape.still, 0, rng.integers(0, 2 * shape.pace, n))
        times = clock + np.minimum(np.cumsum(steps), TIME_END)
        dues = np.array([one.due_ns for one in islice(market.timers, 32)], np.int64)
        if len(dues) and rng.random() < shape.leap:
            start = int(rng.integers(n))
            times[start:] = np.maximum(times[start:], int(rng.choice(dues[:4])) + times[start:] - times[start])
        for at in np.flatnonzero(rng.random(n) < shape.due):
            near = np.searchsorted(dues, times[at])
            if near < len(dues):
                times[at] = max(times[at], dues[near] - rng.integers(0, 2)) if dues[near] < times[-1] else times[at]
        return np.minimum(np.maximum.accumulate(times), max(clock, TIME_END - 1))

    def _bend(self, row: np.ndarray) -> None:
        """Put a hostile value into one field of COMMAND[1]."""
        name = self._any(COMMAND.names or ())
        if name == "kind":
            name = "flags"
        width = COMMAND[name].itemsize
        if name == "time_ns":
            row[name] = self._one((0, -1, TIME_END, self.market.clock_ns - 1, AT_ENGINE_CLOCK, AT_ENGINE_CLOCK + 1))
        elif width == 1:
            row[name] = self.rng.integers(0, 256)
        elif COMMAND[name].kind == "u":
            row[name] = self._one([edge for edge in (*EDGES, 2**63, 2**64 - 1) if 0 <= edge < 2 ** (8 * width)])
        else:
            near = int(row[name][0])
            row[name] = self._one((*EDGES, near + (near < 2**62), near - (near > -(2**62)), CALLER_ID_FIRST - 1))

    # ── what each kind of command says ───────────────────────────────────────────────────────────

    def _some(self, table: np.ndarray, n: int, *, once: bool = False) -> np.ndarray:
        """Choose n rows of a table, where `once` and there are enough each at most once; zeros where it is empty."""
        if not len(table):
            return np.zeros((n, table.shape[1]), np.int64)
        if once and n <= len(table):
            return table[self.rng.permutation(len(table))[:n]]
        return table[self.rng.integers(0, len(table), n)]

    def _people(self, n: int) -> np.ndarray:
        """Choose accounts, mostly people."""
        first = self.shape.merchants + 1 if self._chance(0.7) else 1
        return self.rng.integers(min(first, self.people - 1), self.people + (1 if self._chance(0.03) else 0), n)

    def _edge(self, values: np.ndarray, *some: int) -> np.ndarray:
        """Replace a share of numbers by those at the ends of their range."""
        edge = self.rng.choice(np.array(some, np.int64), len(values))
        return np.where(self.rng.random(len(values)) < self.shape.edges, edge, values)

    def _series(self, rows: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Name series that trade; gives their rows of `papers`."""
        papers = self._some(self.papers, len(at))
        rows["series"][at] = papers[:, ID]
        return papers

    def _holding(self, rows: np.ndarray, at: np.ndarray) -> None:
        """Name holders, their series and a quantity that they mostly have."""
        held = self._some(self.holders, len(at), once=True)
        rows["account"][at] = np.where(self.rng.random(len(at)) < 0.95, held[:, 0], self._people(len(at)))
        rows["series"][at] = self.papers[held[:, 1], ID] if len(self.papers) else 0
        draw, free = self.rng.random(len(at)), np.maximum(1, held[:, 2])
        qty = self.shape.qty(self.rng, len(at))
        qty = np.where(draw < 0.15, free, np.where(draw < 0.85, np.minimum(qty, free), qty))
        rows["qty"][at] = self._edge(qty, 0, 1, QTY_END - 1, QTY_END)

    def _place(self, rows: np.ndarray, at: np.ndarray) -> None:
        rng, shape, n = self.rng, self.shape, len(at)
        papers = self._some(self.papers[: self.trading] if self.trading and self._chance(0.95) else self.papers, n)
        side = rng.integers(1, 3, n)
        account = self._people(n)
        qty = shape.qty(rng, n) * np.maximum(1, papers[:, LOT])
        sells = np.flatnonzero((side == SELL) & (rng.random(n) < 0.95))
        if len(self.holders):
            held = self._some(self.holders, len(sells), once=True)
            account[sells] = held[:, 0]
            papers[sells] = self.papers[held[:, 1]]
            within = rng.random(len(sells)) < 0.9
            qty[sells] = np.where(within, np.minimum(qty[sells], np.maximum(1, held[:, 2])), qty[sells])
        bought_back = rng.random(n) < shape.buyback
        side = np.where(bought_back, BUY, side)
        account = np.where(bought_back & (rng.random(n) < 0.95), papers[:, MERCHANT], account)
        rate = np.where(side == BUY, rng.integers(*shape.bids, n), rng.integers(*shape.asks, n))
        tick = papers[:, TICK]
        price = np.maximum(tick, papers[:, CAP] * rate // BPS // np.maximum(1, tick) * tick)
        rows["series"][at] = papers[:, ID]
        rows["account"][at] = account
        rows["side"][at] = side
        rows["price"][at] = self._edge(price, 0, 1, PRICE_END - 1, PRICE_END)
        rows["qty"][at] = self._edge(qty, 0, 1, QTY_END - 1, QTY_END)
        rows["flags"][at] = np.where(bought_back, BUYBACK, 0)
        self._ask_more(rows, at)

    def _ask_more(self, rows: np.ndarray, at: np.ndarray) -> None:
        """Give orders their times in force, flags, hidden parts, stops and ids."""
        rng, shape, n = self.rng, self.shape, len(at)
        price, qty = rows["price"][at].copy(), rows["qty"][at].copy()
        times = rng.choice([GTC, GTD, IOC, FOK], n, p=shape.times)
        till = self.now[at] + rng.integers(1, shape.good_till, n)
        till = np.where(rng.random(n) < 0.5, np.minimum(till, TIME_END - 1), till // HOUR * HOUR + HOUR)
        notional = np.clip(price, 0, PRICE_END - 1) * np.clip(qty, 0, QTY_END - 1)
        budget = np.where(rng.random(n) < 0.4, np.maximum(1, notional + rng.integers(-20, 21, n)), 0)
        flags = rows["flags"][at] | np.where(rng.random(n) < shape.own_modes, rng.choice(OWN_MODES, n), 0)
        waits = rng.random(n) < shape.stop
        flags |= np.where(waits, rng.choice([0, 0, RISE, FALL], n), 0)
        is_market = rng.random(n) < shape.market
        times = np.where(is_market & ~waits & (times == GTD) & (rng.random(n) < 0.9), IOC, times)
        flags |= np.where(is_market, MARKET, 0)
        posts = (rng.random(n) < shape.post_only) & ~is_market & ((times == GTC) | (times == GTD))
        hides = (rng.random(n) < shape.iceberg) & (qty > 1)
        display = 1 + (rng.random(n) * np.minimum(np.maximum(1, qty - 1), 12)).astype(np.int64)
        rows["flags"][at] = flags | np.where(posts, POST_ONLY, 0)
        rows["time_in_force"][at] = times
        rows["deadline_ns"][at] = np.where(times == GTD, till, np.where(times == FOK, budget, 0))
        rows["display"][at] = np.where(hides, np.minimum(display, np.maximum(1, qty - 1)), 0)
        rows["stop_price"][at] = np.where(waits, np.maximum(1, np.minimum(price, PRICE_END - 9) + rng.integers(-6, 7, n)), 0)
        pegs = (rng.random(n) < shape.pegs) & ~is_market & ((rng.random(n) < 0.05) | ~waits)
        rates = np.where(rng.random(n) < 0.6, rng.integers(*shape.bids, n), -rng.integers(0, 40, n))
        rows["flags"][at] |= np.where(pegs, PEG, 0).astype(np.uint8)
        rows["price"][at] = np.where(is_market, 0, np.where(pegs, rates, price))
        given = rng.random(n) < shape.given_ids
        rows["order_id"][at] = np.where(given, CALLER_ID_FIRST + rng.integers(0, 24, n), 0)

    def _name(self, rows: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Name orders: live ones, those that this batch is placing, and some that are gone; gives what is known of them."""
        rng, n = self.rng, len(at)
        known = self._some(self.orders, n, once=True)
        places = np.flatnonzero(rows["kind"] == K.PLACE)
        order_id, account = known[:, 0], known[:, 1]
        if len(places):
            rank = rng.integers(0, len(places), n)
            mine = (rng.random(n) < 0.2) & (places[rank] < at)
            order_id = np.where(mine, self.market.next_order_id + rank, order_id)
            account = np.where(mine, rows["account"][places[rank]], account)
        gone = rng.random(n) < 0.04
        rows["order_id"][at] = np.where(gone, rng.integers(0, self.market.next_order_id + 1, n), order_id)
        rows["account"][at] = np.where(rng.random(n) < 0.04, self._people(n), account)
        return known

    def _amend(self, rows: np.ndarray, at: np.ndarray) -> None:
        rng, n = self.rng, len(at)
        known = self._name(rows, at)
        flags = rng.choice([AmendFlag.QTY, AmendFlag.QTY, AmendFlag.PRICE, AmendFlag.QTY | AmendFlag.PRICE], n)
        price = np.maximum(1, known[:, 2] + rng.integers(-4, 5, n))
        less = rng.random(n) < 0.6
        qty = np.maximum(1, np.where(less, known[:, 3] - rng.integers(0, 5, n), known[:, 3] + rng.integers(0, 9, n)))
        rows["flags"][at] = flags
        rows["price"][at] = np.where(flags & AmendFlag.PRICE, self._edge(price, 0, 1, PRICE_END - 1), 0)
        rows["qty"][at] = np.where(flags & AmendFlag.QTY, self._edge(qty, 0, 1, QTY_END - 1), 0)

    def _cancel_all(self, rows: np.ndarray, at: np.ndarray) -> None:
        self._series(rows, at)
        rows["account"][at] = self._people(len(at))
        which = self.rng.random(len(at)) < 0.5
        rows["series"][at] = np.where(which, rows["series"][at], 0)
        rows["account"][at] = np.where(which & (self.rng.random(len(at)) < 0.95), 0, rows["account"][at])

    def _cancel_after(self, rows: np.ndarray, at: np.ndarray) -> None:
        rows["account"][at] = self._people(len(at))
        silent = self.now[at] + self.rng.integers(1, 4 * HOUR, len(at))
        rows["deadline_ns"][at] = np.where(self.rng.random(len(at)) < 0.2, 0, silent // (HOUR // 4) * (HOUR // 4))

    def _subscribe(self, rows: np.ndarray, at: np.ndarray) -> None:
        self._series(rows, at)
        rows["account"][at] = self._people(len(at))
        rows["qty"][at] = self._edge(self.shape.qty(self.rng, len(at)), 0, 1, QTY_END - 1, QTY_END)
        rows["other_account"][at] = self.rng.choice([0, 0, 0, 3, 1, 2, 4], len(at))

    def _grant(self, rows: np.ndarray, at: np.ndarray) -> None:
        trials = self.papers[self.papers[:, TRIAL] != 0]
        papers = self._some(trials if len(trials) else self.papers, len(at))
        rows["series"][at] = papers[:, ID]
        stranger = self.rng.random(len(at)) < 0.05
        rows["account"][at] = np.where(stranger, self._people(len(at)), papers[:, MERCHANT])
        to_itself = self.rng.random(len(at)) < 0.05
        rows["other_account"][at] = np.where(to_itself, papers[:, MERCHANT], self._people(len(at)))
        rows["qty"][at] = self.shape.qty(self.rng, len(at))

    def _transfer(self, rows: np.ndarray, at: np.ndarray) -> None:
        self._holding(rows, at)
        rows["other_account"][at] = self._people(len(at))

    def _redeem(self, rows: np.ndarray, at: np.ndarray) -> None:
        self._holding(rows, at)
        rows["other_account"][at] = self._stores(len(at))

    def _stores(self, n: int) -> np.ndarray:
        return self.rng.integers(0, len(self.market.stores) + 2, n) * (self.rng.random(n) < 0.6)

    def _redeem_bill(self, rows: np.ndarray, at: np.ndarray) -> None:
        self._holding(rows, at)
        rows["order_id"][at] = self.rng.integers(1, len(self.market.products) + 2, len(at))
        rows["qty"][at] = self._edge(self.rng.integers(1, 3_000, len(at)), 0, 1, CASH_END - 1)
        rows["series"][at] = 0
        rows["other_account"][at] = self._stores(len(at))

    def _pay_bill(self, rows: np.ndarray, at: np.ndarray) -> None:
        self._redeem_bill(rows, at)
        rows["price"][at] = self._edge(
            self.rng.integers(1, 130, len(at)) * (self.rng.random(len(at)) < 0.3), -1, PRICE_END - 1, PRICE_END
        )

    def _buy_product(self, rows: np.ndarray, at: np.ndarray) -> None:
        rng, n = self.rng, len(at)
        self._pay_bill(rows, at)
        rows["other_account"][at] = 0
        rows["qty"][at] = self._edge(rng.integers(1, 40, n), 0, QTY_END - 1, QTY_END)
        until = self.market.clock_ns + rng.integers(1, 60 * DAY_NS, n)
        rows["deadline_ns"][at] = self._edge(until * (rng.random(n) < 0.3), -1, TIME_END - 1, TIME_END)
        rows["time_in_force"][at] = rng.choice(
            [TimeInForce.IOC, TimeInForce.IOC, TimeInForce.FOK, TimeInForce.GTC], n, p=[0.5, 0.2, 0.28, 0.02]
        )

    def _roll(self, rows: np.ndarray, at: np.ndarray) -> None:
        rng, n = self.rng, len(at)
        self._holding(rows, at)
        rows["other_account"][at] = rng.integers(1, len(self.market.series) + 2, n)
        rows["price"][at] = self._edge(rng.integers(-30, 120, n), -PRICE_END, 1 - PRICE_END, PRICE_END)

    def _plan_sale(self, rows: np.ndarray, at: np.ndarray) -> None:
        rng, n = self.rng, len(at)
        self._holding(rows, at)
        papers = self._some(self.papers, n)
        rows["series"][at] = np.where(rng.random(n) < 0.1, papers[:, ID], rows["series"][at])
        begins = rng.random(n) < 0.85
        tick = np.maximum(1, papers[:, TICK])
        price = np.maximum(tick, papers[:, CAP] * rng.integers(*self.shape.asks, n) // BPS // tick * tick)
        last = np.where(
            rng.random(n) < 0.2, price, np.maximum(tick, price * rng.integers(4_000, 10_000, n) // BPS // tick * tick)
        )
        ahead = max(0, self.market.clock_ns) + rng.integers(1, self.shape.good_till, n)
        rows["qty"][at] = np.where(begins, self._edge(rng.choice([0, 0, 0, 2, 9], n), -1, QTY_END - 1, QTY_END), 0)
        rows["price"][at] = np.where(begins, self._edge(price, 0, 1, PRICE_END - 1, PRICE_END), 0)
        rows["stop_price"][at] = np.where(begins, self._edge(last, 0, 1, PRICE_END - 1), 0)
        rows["deadline_ns"][at] = np.where(begins, self._edge(ahead, 1, TIME_END - 1, INT64_MAX), 0)
        rows["display"][at] = np.where(begins, self._edge(rng.choice([0, 1, 3, 9], n), -1, 4_096, 4_097), 0)

    def _refund(self, rows: np.ndarray, at: np.ndarray) -> None:
        self._holding(rows, at)

    def _lock_voucher(self, rows: np.ndarray, at: np.ndarray) -> None:
        rng, n = self.rng, len(at)
        self._holding(rows, at)
        rows["deadline_ns"][at] = rng.integers(1, 6 * HOUR, n)
        rows["display"][at] = rng.choice([0, HOUR, 1], n)
        all_of_them = (1 << self.shape.terminals) - 1
        all_of_them -= (all_of_them >> 63) << 64  # the 64th bit is the sign
        rows["stop_price"][at] = rng.choice(np.array([1, 3, 2, all_of_them, all_of_them >> 1, 0, 1 << 40], np.int64), n)

    def _upload_voucher(self, rows: np.ndarray, at: np.ndarray) -> None:
        rng, n = self.rng, len(at)
        known = self._some(self.vouchers, n)
        rows["order_id"][at] = known[:, 0]
        used = np.where(rng.random(n) < 0.8, (known[:, 2] + known[:, 3]) // 2, known[:, 3] - rng.integers(0, 2, n))
        rows["deadline_ns"][at] = used
        rows["display"][at] = rng.choice([1, 1, 1, 2, self.shape.terminals, 0, 65], n)
        rows["other_account"][at] = self._stores(n)
        rows["account"][at] = np.where(rng.random(n) < 0.5, known[:, 1], 0)

    def _halted(self, rows: np.ndarray, at: np.ndarray) -> None:
        self._series(rows, at)
        halted = np.array([one.id for one in self.market.series[-4 * self.shape.series :] if one.halted and one.live], np.int64)
        if len(halted):
            resumes = rows["kind"][at] == K.RESUME
            rows["series"][at] = np.where(resumes, self.rng.choice(halted, len(at)), rows["series"][at])

    def _frozen(self, rows: np.ndarray, at: np.ndarray) -> None:
        rows["account"][at] = self._people(len(at))
        frozen = np.array([one.id for one in self.market.accounts if one.frozen], np.int64)
        if len(frozen):
            thaws = rows["kind"][at] == K.UNFREEZE
            rows["account"][at] = np.where(thaws, self.rng.choice(frozen, len(at)), rows["account"][at])

    def _default(self, rows: np.ndarray, at: np.ndarray) -> None:
        rows["account"][at] = self.rng.choice([*self._merchants(), self.shape.merchants + 1], len(at))

    def _cash(self, rows: np.ndarray, at: np.ndarray) -> None:
        rows["account"][at] = self._people(len(at))
        amount = self.rng.choice([1, 500, max(1, self.shape.cash // 10)], len(at))
        whole = np.array([one.cash_free for one in self.market.accounts], np.int64)
        takes = (rows["kind"][at] != K.DEPOSIT) & (self.rng.random(len(at)) < 0.3)
        mine = whole[np.minimum(rows["account"][at], len(whole) - 1)]
        amount = np.where(takes, np.maximum(1, mine + self.rng.integers(-1, 2, len(at))), amount)
        rows["qty"][at] = self._edge(amount, 0, 1, 2**61, CASH_END - 1, CASH_END)

    def _limits(self, rows: np.ndarray, at: np.ndarray) -> None:
        rng, n = self.rng, len(at)
        rows["account"][at] = np.where(rows["kind"][at] == K.SET_ACCOUNT, self._people(n), 0)
        rows["other_account"][at] = rng.choice([0, 0, 1, 2, 3], n)
        rows["qty"][at] = self._edge(rng.choice([0, 0, 8, 1], n), -1, QTY_END - 1, QTY_END)
        rows["price"][at] = self._edge(rng.choice([0, 0, self.shape.cash // 4], n), 1, -1, INT64_MAX)

    def _tier(self, rows: np.ndarray, at: np.ndarray) -> None:
        rows["other_account"][at] = self.rng.integers(1, 4, len(at))
        rows["qty"][at] = self._edge(
            self.rng.choice([self.shape.cash // 6, self.shape.cash], len(at)), 0, 1, CASH_END - 1, CASH_END, INT64_MAX
        )

    def _root(self, rows: np.ndarray, at: np.ndarray) -> None:
        """Publish any 32 bytes."""
        for name in ("order_id", "price", "qty", "deadline_ns"):
            rows[name][at] = self.rng.integers(-(2**63), 2**63 - 1, len(at))

    def _nothing(self, rows: np.ndarray, at: np.ndarray) -> None:
        """Say nothing more."""


_FILL: Final[dict[K, Callable[[MarketFlow, np.ndarray, np.ndarray], Any]]] = {
    K.PLACE: MarketFlow._place,
    K.CANCEL: MarketFlow._name,
    K.AMEND: MarketFlow._amend,
    K.CANCEL_ALL: MarketFlow._cancel_all,
    K.CANCEL_AFTER: MarketFlow._cancel_after,
    K.SUBSCRIBE: MarketFlow._subscribe,
    K.GRANT: MarketFlow._grant,
    K.TRANSFER: MarketFlow._transfer,
    K.REDEEM: MarketFlow._redeem,
    K.REDEEM_BILL: MarketFlow._redeem_bill,
    K.PAY_BILL: MarketFlow._pay_bill,
    K.BUY_PRODUCT: MarketFlow._buy_product,
    K.ROLL: MarketFlow._roll,
    K.PLAN_SALE: MarketFlow._plan_sale,
    K.REFUND: MarketFlow._refund,
    K.LOCK_VOUCHER: MarketFlow._lock_voucher,
    K.UPLOAD_VOUCHER: MarketFlow._upload_voucher,
    K.HALT: MarketFlow._halted,
    K.RESUME: MarketFlow._halted,
    K.FREEZE: MarketFlow._frozen,
    K.UNFREEZE: MarketFlow._frozen,
    K.KILL: MarketFlow._nothing,
    K.UNKILL: MarketFlow._nothing,
    K.DEFAULT: MarketFlow._default,
    K.CHARGEBACK: MarketFlow._cash,
    K.DEPOSIT: MarketFlow._cash,
    K.WITHDRAW: MarketFlow._cash,
    K.ADVANCE: MarketFlow._nothing,
    K.OPEN_ACCOUNT: MarketFlow._limits,
    K.SET_ACCOUNT: MarketFlow._limits,
    K.SET_TIER: MarketFlow._tier,
    K.PUBLISH: MarketFlow._root,
}


def _table(rows: Sequence[tuple[int, ...]], columns: int) -> np.ndarray:
    return np.array(rows, np.int64).reshape(len(rows), columns)


# ── the flow of the reference's own tests ────────────────────────────────────────────────────────


class SingleFlow:
    """The flow of `market_flow`, one command at a time: each knows what the one before has done."""

    def __init__(self, seed: int, market: Market) -> None:
        """Begin a flow for an empty market."""
        self._flow = Flow(seed, market)

    def pieces(self, commands: int) -> Iterator[Piece]:
        """Make so many commands after an opening."""
        yield from self._flow.opening()
        for _ in range(commands):
            yield self._flow.next()


def flow_of(shape: MarketShape, seed: int, market: Market) -> MarketFlow | SingleFlow:
    """Begin the flow of a shape for an empty market."""
    return SingleFlow(seed, market) if shape.singly else MarketFlow(shape, seed, market)
