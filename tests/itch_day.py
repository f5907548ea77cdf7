"""Writes ITCH 5.0 with `struct` alone: messages one by one, and a whole day of random orders that met in a book of ours.

    random order ─► OrderBook ─► its fills, its rest ─► E, C, A, F, … of one stock, and another stock's in between

What the made-up venue did is listed, too, so that a reader and a replay can be held against it.
"""

from __future__ import annotations

import random
import struct
from typing import NamedTuple

from rightsx.orderbook import OrderBook

OWN, OTHER = 13, 14  # the two stocks' numbers
OPEN_NS = 34_200 * 10**9
OTHER_SIDE = {"buy": "sell", "sell": "buy"}


def message(kind, time_ns, fields="", *values, locate=OWN):
    """Pack a message behind its length."""
    values = [value.encode() if isinstance(value, str) else value for value in values]
    head = struct.pack(">cHH", kind.encode(), locate, 0) + time_ns.to_bytes(6, "big")
    body = head + struct.pack(">" + fields, *values)
    return struct.pack(">H", len(body)) + body


def directory(name, locate):
    return message(
        "R", 1, "8sccIcc2scccccIc", name.ljust(8), "Q", "N", 100, "N", "C", "Z ", "P", "N", "N", "1", "N", 0, "N", locate=locate
    )


def added(time_ns, order_id, side, qty, price, *, name="AAPL", locate=OWN, owner=""):
    values = (order_id, side[0].upper(), qty, name.ljust(8), price)
    if owner:
        return message("F", time_ns, "QcI8sI4s", *values, owner, locate=locate)
    return message("A", time_ns, "QcI8sI", *values, locate=locate)


def executed(time_ns, order_id, qty, match):
    return message("E", time_ns, "QIQ", order_id, qty, match)


def executed_at(time_ns, order_id, qty, match, printable, price):
    return message("C", time_ns, "QIQcI", order_id, qty, match, printable, price)


def cancelled(time_ns, order_id, qty):
    return message("X", time_ns, "QI", order_id, qty)


def deleted(time_ns, order_id, locate=OWN):
    return message("D", time_ns, "Q", order_id, locate=locate)


def replaced(time_ns, order_id, new_id, qty, price):
    return message("U", time_ns, "QQII", order_id, new_id, qty, price)


def hidden(time_ns, qty, price, match):
    return message("P", time_ns, "QcI8sIQ", 0, "B", qty, "AAPL    ", price, match)


def state(time_ns, word):
    return message("H", time_ns, "8scc4s", "AAPL    ", word, " ", "    ")


class Told(NamedTuple):
    """One execution as the venue told it; the price is that of the trade."""

    time_ns: int
    maker: int
    qty: int
    price: int


class Day:
    """A venue of one stock, told message by message."""

    def __init__(self, seed, *, mid=1_850_000, tick=100):
        self.random = random.Random(seed)
        self.book = OrderBook()
        self.live = {}  # side and price
        self.time = OPEN_NS
        self.mid, self.tick = mid, tick
        self.ids = 0
        self.told = []
        self.parts = [message("S", 0, "c", "O", locate=0), directory("AAPL", OWN), directory("MSFT", OTHER), state(OPEN_NS, "T")]

    def new_id(self):
        self.ids += 1
        return self.ids

    def say(self, part):
        self.parts.append(part)

    def order(self):
        """Let somebody come with a limit order: what it meets is told maker by maker, what rests is added."""
        side, order_id = self.random.choice(("buy", "sell")), self.new_id()
        away = self.random.randint(-3, 8) * self.tick
        price = self.mid - away if side == "buy" else self.mid + away
        qty = self.random.randint(1, 9) * 100
        result = self.book.place(order_id=order_id, side=side, price=price, qty=qty)
        for fill in result.fills:
            self.trade(fill)
        if result.leaves_qty:
            self.live[order_id] = side, price
            owner = self.random.choice(("", "MPID"))
            self.say(added(self.time, order_id, side, result.leaves_qty, price, owner=owner))

    def trade(self, fill):
        price, qty, maker = tuple(fill)
        match = self.new_id()
        if self.random.random() < 0.1:
            self.say(executed_at(self.time, maker, qty, match, "Y", price))
        else:
            self.say(executed(self.time, maker, qty, match))
        self.told.append(Told(self.time, maker, qty, price))
        if not self.book.open_qty(maker):
            del self.live[maker]

    def withdraw(self):
        """Let somebody take back an order, or a part of it, or put another in its place."""
        if not self.live:
            return
        order_id = self.random.choice(sorted(self.live))
        side, price = self.live[order_id]
        open_qty = self.book.open_qty(order_id)
        way = self.random.random()
        if way < 0.3 and open_qty > 1:
            gone = self.random.randint(1, open_qty - 1)
            self.book.amend(order_id=order_id, qty=open_qty - gone)
            self.say(cancelled(self.time, order_id, gone))
            return
        self.book.cancel(order_id=order_id)
        del self.live[order_id]
        new_price = price + self.random.randint(-2, 2) * self.tick
        new_id, new_qty = self.new_id(), self.random.randint(1, 9) * 100
        if way < 0.7 and self.book.place(order_id=new_id, side=side, price=new_price, qty=new_qty, post_only=True):
            self.live[new_id] = side, new_price
            self.say(replaced(self.time, order_id, new_id, new_qty, new_price))
        else:
            self.say(deleted(self.time, order_id))

    def aside(self):
        """Tell what is about no visible order of the stock."""
        other = self.new_id()
        way = self.random.random()
        if way < 0.6:
            self.say(added(self.time, other, "buy", 100, 990_000, name="MSFT", locate=OTHER))
            self.say(deleted(self.time, other, OTHER))
        elif way < 0.9:
            self.say(hidden(self.time, 100, self.mid, other))
        else:
            self.say(state(self.time, "H"))
            self.say(state(self.time, "T"))

    def run(self, steps):
        """Let a number of things happen; gives the file and what was executed."""
        for _ in range(steps):
            self.time += self.random.randint(0, 10**7)
            if self.random.random() < 0.02:
                self.mid += self.random.randint(-2, 2) * self.tick
            self.random.choices((self.order, self.withdraw, self.aside), (60, 35, 5))[0]()
        return b"".join(self.parts) + b"\0\0", self.told
