"""A small market with a feed, and strategies in both manners: for the tests, compiled and not."""

from __future__ import annotations

import hashlib
import random

import numpy as np

from rightsx import Exchange, schedule
from rightsx.backtest import Strategy, amend, backtest, buy, cancel, sell
from rightsx.protocol import CALLER_ID_FIRST, COMMAND, DAY_NS, T0_NS, CommandKind, TimeInForce

PEOPLE = 6
SERIES = 2
SPAN_NS = 12 * DAY_NS


def staged(*, engine="compiled", keep_events=True):
    """Make a market of two series that decay and expire within the feed, people with cash and units, and the strategy's account."""
    market = Exchange(engine=engine, keep_events=keep_events)
    shop = market.register_merchant("Shop", time_ns=T0_NS)
    for number in range(SERIES):
        terms = {"policy": "forfeit"} if number else {"policy": "principal", "residual": 200}
        expire = T0_NS + SPAN_NS - number * 3 * DAY_NS
        market.list_series(
            merchant=shop, product=f"tea {number}", par=1_000, issue_price=700, authorised=100_000, expire=expire,
            last_trade=expire - DAY_NS, schedule=schedule.linear(steps=4, every="1d"), maker_bps=10, taker_bps=30, royalty_bps=50,
            escrow_bps=5_000, **terms,
        )  # fmt: skip
    accounts = [int(market.open_account()) for _ in range(PEOPLE + 1)]
    for account in accounts:
        market.deposit(account=account, amount=50_000_000)
        for series in range(1, SERIES + 1):
            market.subscribe(series=series, account=account, qty=5_000)
    return market, accounts[0], accounts[1:]


def some_feed(seed, count, people):
    """Make orders and cancels of people over the life of the series, and a last command when all is over."""
    chance = random.Random(seed)
    feed = np.zeros(count + 1, COMMAND)
    live = []
    now = T0_NS + 1
    for at in range(count):
        now += chance.choice((0, 1, SPAN_NS // count, SPAN_NS // count))
        row = feed[at]
        row["time_ns"] = now
        if live and chance.random() < 0.3:
            row["kind"], (row["order_id"], row["account"]) = CommandKind.CANCEL, live.pop(chance.randrange(len(live)))
            continue
        side = chance.choice((1, 2))
        row["kind"], row["side"], row["account"] = CommandKind.PLACE, side, chance.choice(people)
        row["time_in_force"] = chance.choice((TimeInForce.GTC, TimeInForce.GTC, TimeInForce.IOC))
        row["series"], row["qty"] = chance.randrange(1, SERIES + 1), chance.randrange(1, 30)
        row["price"] = 600 + chance.randrange(-40, 41) + (5 if side == 2 else -5)
        row["order_id"] = CALLER_ID_FIRST + at
        live.append((row["order_id"], row["account"]))
    feed[count] = (T0_NS + SPAN_NS + 1, CommandKind.ADVANCE, *[0] * 13)
    return feed


def quoter(view, memory, orders):
    """Quote one tick inside of the best, anew every sixth look; memory: looks, bid, ask, what was seen last."""
    memory[0] += 1
    memory[3] = (
        memory[3] * 31 + view["bid"] * 7 + view["ask"] * 3 + view["position"] + view["cash"] + view["filled_id"]
    ) % 1_000_003
    if view["series"] != 1 or view["bid_qty"] == 0 or view["ask_qty"] == 0 or memory[0] % 6 != 0:
        return 0
    sent = 0
    if memory[1] != 0:
        sent = amend(orders, sent, memory[1], view["bid"] + 1, 7) if memory[0] % 12 == 0 else cancel(orders, sent, memory[1])
        sent = cancel(orders, sent, memory[2])
    if memory[0] % 12 != 0 or memory[1] == 0:
        memory[1] = view["next_id"] + sent
        sent = buy(orders, sent, 1, view["bid"] + 1, 7, memory[1])
    memory[2] = view["next_id"] + sent
    return sell(orders, sent, 1, view["ask"] - 1, 5, memory[2])


def taker(view, memory, orders):
    """Lift what is offered below value, hit what is bid above; whatever it sees."""
    memory[0] += 1
    if view["series"] == 0 or memory[0] % 4 != 0:
        return 0
    sent = 0
    if view["ask_qty"] > 0:
        sent = buy(orders, sent, view["series"], view["ask"], 3, view["next_id"])
    if view["bid_qty"] > 0 and view["position"] > 3:
        sent = sell(orders, sent, view["series"], view["bid"], 3, view["next_id"] + sent)
    return sent


class Maker(Strategy):
    """Quote around the value, by the day; keep a list of what was heard."""

    def __init__(self):
        self.heard = []
        self.ids = []

    def on_start(self, desk):
        self.heard.append(("start", desk.time_ns))
        desk.wake(T0_NS + 5 * DAY_NS + 7)

    def on_market(self, desk):
        for order_id in self.ids:
            if order_id in desk.open_orders:
                desk.cancel(order_id)
        top = desk.market.top(1)
        self.heard.append(("market", desk.time_ns, desk.cash, desk.position(1), tuple(top.values()), len(desk.open_orders)))
        self.ids = []
        if top["bid_qty"] and top["ask_qty"]:
            self.ids = [
                desk.buy(series=1, price=top["bid"] + 1, qty=20),
                desk.sell(series=1, price=top["ask"] - 1, qty=20),
            ]

    def on_fill(self, desk, fills):
        self.heard.append(("fill", desk.time_ns, fills["price"].tolist(), fills["qty"].tolist()))
        if len(self.heard) % 5 == 0 and desk.open_orders:
            order_id, (_, _, price, qty) = next(iter(desk.open_orders.items()))
            desk.amend(order_id, price=price, qty=qty)

    def on_timer(self, desk):
        self.heard.append(("timer", desk.time_ns))


def digest(result):
    """Say in a word what a run was."""
    parts = (result.commands, result.events, result.fills, result.equity, result.data.trades, result.data.quotes)
    return hashlib.sha256(b"".join(part.tobytes() for part in parts) + repr(result.sums).encode()).hexdigest()


def several(seed=1, count=400):
    """Run each strategy, and give the digests."""
    said = []
    for strategy, latency in ((None, 0), (quoter, 0), (quoter, 50_000), (taker, 1), (Maker(), 1_000)):
        market, mine, people = staged()
        feed = some_feed(seed, count, people)
        options = {} if strategy is None else {"account": mine, "every": "6h", "latency": latency}
        if strategy in (quoter, taker):
            options["memory"] = np.zeros(4, np.int64)
        said.append(digest(backtest(market, feed, strategy, **options)))
    return said


if __name__ == "__main__":
    print(*several(), sep="\n")
