"""Random flows for the bare order book: whole batches of COMMANDs from arrays drawn in advance, all from one seed.

    BookShape ─► BookFlow(seed) ─► batch(n, known) ─► COMMAND[n]
       what the market is like          ▲
                                        └── orders that are live now: whom a cancel or an amend may name

A shape says how prices, quantities and ids fall, how much is placed, cancelled and amended, and how
much is hostile: an id that was never given, a handle whose sign is turned, flags that do not go together,
numbers at the ends of their fields. Everything is drawn for a batch at a time, so that the flow costs
less than what it is given to. `known` is all that a flow learns of the books; commands are a function
of the seed and of what was known before each batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from rightsx.book import ID_MULTIPLIER
from rightsx.protocol import (
    AT_ENGINE_CLOCK,
    BOOK_QTY_END,
    COMMAND,
    INT64_MAX,
    INT64_MIN,
    AmendFlag,
    CommandKind,
    OrderFlag,
    TimeInForce,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    Draw = Callable[[np.random.Generator, int], np.ndarray]

PLACE, CANCEL, AMEND = int(CommandKind.PLACE), int(CommandKind.CANCEL), int(CommandKind.AMEND)
MAKER, BOTH, POST = int(OrderFlag.CANCEL_MAKER), int(OrderFlag.CANCEL_BOTH), int(OrderFlag.POST_ONLY)
GTC, IOC, FOK = int(TimeInForce.GTC), int(TimeInForce.IOC), int(TimeInForce.FOK)
SIGN: Final = np.int64(INT64_MIN)
EDGES: Final = np.array([INT64_MIN, INT64_MIN + 1, -1, 0, 1, 63, 64, 2**62, INT64_MAX - 1, INT64_MAX], np.int64)
RECENT: Final = 4_096  # known orders that a batch may name
UNHASH: Final = np.int64(pow(ID_MULTIPLIER, -1, 2**64) - (pow(ID_MULTIPLIER, -1, 2**64) >> 63 << 64))
FRESH_STEP: Final = 0x1E37_79B9_7F4A_7C15  # odd: callers' ids are spread over all positive numbers and never repeat

# ── how numbers fall ─────────────────────────────────────────────────────────────────────────────


def near(middle: int, width: int) -> Draw:
    """Draw prices within `width` of a middle."""
    return lambda rng, n: rng.integers(middle - width, middle + width + 1, n)


def ends(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw prices at both ends of the int64 range and around zero."""
    return rng.choice(EDGES, n)


def digits(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw prices that part from one another at any depth of a radix trie: one number with a few bits turned."""
    turned = rng.integers(0, 64, n) << (6 * rng.integers(0, 11, n))
    return np.where(rng.random(n) < 0.5, turned, ~turned) ^ rng.integers(-2, 3, n)


def mixed(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw prices of all these sorts, so that neighbours and ends meet in one book."""
    sort = rng.random(n)
    return np.where(sort < 0.6, near(0, 40)(rng, n), np.where(sort < 0.8, ends(rng, n), digits(rng, n)))


def upto(most: int) -> Draw:
    """Draw quantities from 1 to `most`."""
    return lambda rng, n: rng.integers(1, most + 1, n)


def huge(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw quantities at both ends of what a bare book takes."""
    some = np.array([1, 2, 999, 1_000, 1_001, BOOK_QTY_END // 2, BOOK_QTY_END - 2, BOOK_QTY_END - 1], np.int64)
    return rng.choice(some, n)


def crowd(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw positive ids whose 32-bit hashes are the greatest or the least there are: one long run, round the end."""
    tags = rng.integers(-3_000, 300, n) << 32 | rng.integers(0, 2**32, n)
    with np.errstate(over="ignore"):
        ids = tags * UNHASH
    return np.where(ids > 0, ids, rng.integers(60, 2**40, n))


TIGHT: Final = near(100, 6)
SMALL: Final = upto(12)

# ── shapes ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class BookShape:
    """What a flow is like. Shares are of 1; `kinds` are the weights of placing, cancelling and amending.

    `apart` keeps bids below asks by that much, so that the books fill. `report_rows` 0 is the engine's own
    choice, any other a buffer so small that answers have to be fetched in the middle of a command.
    """

    ids: Literal["caller", "handles"] = "caller"
    books: int = 3
    limit: int = 2**22
    report_rows: int = 0
    batch: int = 512
    kinds: tuple[float, float, float] = (0.6, 0.2, 0.2)
    price: Draw = TIGHT
    qty: Draw = SMALL
    apart: int = 0
    accounts: int = 5
    fancy: float = 0.4  # of the orders: other times in force, own-order modes, post-only
    iceberg: float = 0.15
    hostile: float = 0.04
    reuse: float = 0.1  # of the callers' ids: small numbers that come again and again
    crowded: float = 0  # of the callers' ids: those whose hashes stand side by side, at the end of the table of ids


SHAPES: Final[dict[str, BookShape]] = {
    "calm": BookShape(),
    "calm_handles": BookShape(ids="handles"),
    "plain": BookShape(fancy=0, iceberg=0, hostile=0, books=1),
    "icebergs": BookShape(iceberg=0.7, price=near(100, 2), books=1, qty=upto(40)),
    "icebergs_handles": BookShape(ids="handles", iceberg=0.7, price=near(100, 2), books=1, qty=upto(40)),
    "own_orders": BookShape(accounts=2, fancy=0.8, books=1),
    "own_orders_handles": BookShape(ids="handles", accounts=2, fancy=0.8, books=1, iceberg=0.3),
    "sweep": BookShape(kinds=(0.9, 0.05, 0.05), price=near(0, 2_000), qty=lambda rng, n: 1 + rng.geometric(0.02, n) ** 2 // 40),
    "deep": BookShape(kinds=(0.95, 0.03, 0.02), apart=60_000, price=near(0, 50_000), fancy=0.05, batch=4_096, reuse=0),
    "deep_handles": BookShape(ids="handles", kinds=(0.95, 0.03, 0.02), apart=60_000, price=near(0, 50_000), batch=4_096),
    "breathing": BookShape(kinds=(0.5, 0.35, 0.15), apart=100, price=near(0, 400), books=7),
    "cancel_storm": BookShape(kinds=(0.35, 0.6, 0.05), price=near(0, 300)),
    "amend_storm": BookShape(kinds=(0.3, 0.05, 0.65), iceberg=0.4, price=near(0, 20)),
    "ends": BookShape(price=ends, qty=huge, iceberg=0.3, books=2),
    "digits": BookShape(price=digits, books=2, kinds=(0.5, 0.4, 0.1)),
    "mixed_handles": BookShape(ids="handles", price=mixed, qty=huge, iceberg=0.3),
    "tiny_buffer": BookShape(
        report_rows=4, price=near(0, 3), qty=lambda rng, n: rng.choice([1, 1, 1, 40], n), iceberg=0.3, books=1
    ),
    "tiny_buffer_handles": BookShape(
        ids="handles", report_rows=3, price=near(0, 3), qty=lambda rng, n: rng.choice([1, 1, 40], n)
    ),
    "full": BookShape(limit=20, price=near(0, 10)),
    "hostile": BookShape(hostile=0.5, price=mixed),
    "hostile_handles": BookShape(ids="handles", hostile=0.5, price=mixed, books=1),
    "crowded_ids": BookShape(crowded=0.9, apart=1_000, price=near(0, 900), kinds=(0.5, 0.4, 0.1), reuse=0),
    "crowded_ids_growing": BookShape(crowded=0.9, apart=1_000, price=near(0, 900), kinds=(0.9, 0.05, 0.05), reuse=0),
    "many_books": BookShape(books=5_000, price=near(0, 4)),
}


class BookFlow:
    """An endless stream of batches, a function of the seed and of the orders that are known before each."""

    def __init__(self, shape: BookShape, seed: int) -> None:
        """Begin a flow."""
        self.shape = shape
        self._rng = np.random.default_rng(seed)
        self._issued = 0
        self._dead = np.zeros((0, 2), np.int64)

    def batch(self, n: int, known: np.ndarray) -> np.ndarray:
        """Make COMMAND[n]. `known` is int64[m, 2]: id and account of live orders; the last ones are named most."""
        rng, shape = self._rng, self.shape
        rows = np.zeros(n, COMMAND)
        rows["time_ns"] = AT_ENGINE_CLOCK
        rows["kind"] = rng.choice([PLACE, CANCEL, AMEND], n, p=shape.kinds)
        rows["series"] = rng.integers(0, shape.books, n)
        rows["account"] = rng.integers(0, shape.accounts, n)
        self._place(rows)
        self._name(rows, known)
        self._amend(rows)
        if shape.hostile:
            self._bend(rows)
        return rows

    def _place(self, rows: np.ndarray) -> None:
        rng, shape = self._rng, self.shape
        n = len(rows)
        placed = rows["kind"] == PLACE
        side = rng.integers(1, 3, n)
        price = shape.price(rng, n)
        if shape.apart:
            price = price + np.where(side == 1, -shape.apart, shape.apart)
        qty = shape.qty(rng, n)
        fancy = rng.random(n) < shape.fancy
        times = np.where(fancy, rng.choice([GTC, GTC, IOC, FOK], n), GTC)
        modes = rng.choice([0, MAKER, BOTH], n) | np.where((times == GTC) & (rng.random(n) < 0.3), POST, 0)
        hides = (rng.random(n) < shape.iceberg) & (qty > 1)
        least = np.maximum(1, -(-qty // 1_000))
        display = np.where(
            rng.random(n) < 0.2, least, least + (rng.random(n) * np.maximum(1, np.minimum(qty - least, 9))).astype(np.int64)
        )
        rows["side"] = np.where(placed, side, 0)
        rows["price"] = price
        rows["qty"] = qty
        rows["time_in_force"] = np.where(placed, times, 0)
        rows["flags"] = np.where(placed & fancy, modes, 0)
        rows["display"] = np.where(placed & hides & (display < qty), display, 0)
        if shape.ids == "caller":
            fresh = ((self._issued + 1 + np.arange(n)) * np.int64(FRESH_STEP)) & INT64_MAX
            rows["order_id"] = np.where(rng.random(n) < shape.reuse, rng.integers(1, 60, n), fresh)
            rows["order_id"] = np.where(rng.random(n) < shape.crowded, crowd(rng, n), rows["order_id"])
            self._issued += n

    def _name(self, rows: np.ndarray, known: np.ndarray) -> None:
        """Let cancels and amends name orders: known ones, dead ones, and those that this batch has placed before."""
        rng = self._rng
        if len(known) > RECENT:
            some = rng.integers(0, len(known), RECENT // 2)
            known = np.concatenate([known[np.sort(some)], known[-RECENT // 2 :]])
        mine = np.stack([rows["order_id"], rows["account"].astype(np.int64)], axis=1)
        placed = rows["kind"] == PLACE
        if self.shape.ids == "handles":
            rows["order_id"] = 0
            mine, placed = mine[:0], np.zeros(len(rows), bool)
        pool = np.concatenate([self._dead, known, mine[placed[: len(mine)]]])
        reach = len(self._dead) + len(known) + np.cumsum(placed)
        naming = np.flatnonzero((rows["kind"] != PLACE) & (reach > 0))
        chosen = pool[(reach[naming] * rng.random(len(naming)) ** 0.6).astype(np.int64)]
        rows["order_id"][naming] = chosen[:, 0]
        stranger = rng.random(len(naming)) < 0.04
        rows["account"][naming] = np.where(stranger, rows["account"][naming], chosen[:, 1])
        rows["series"][naming] = 0
        self._dead = pool[rng.integers(0, len(pool), 40)] if len(pool) else self._dead

    def _amend(self, rows: np.ndarray) -> None:
        rng = self._rng
        amends = rows["kind"] == AMEND
        flags = rng.choice([AmendFlag.QTY, AmendFlag.QTY, AmendFlag.PRICE, AmendFlag.PRICE | AmendFlag.QTY], len(rows))
        rows["flags"] = np.where(amends, flags, rows["flags"])
        rows["price"] = np.where(rows["kind"] == CANCEL, 0, rows["price"])
        rows["qty"] = np.where(rows["kind"] == CANCEL, 0, rows["qty"])

    def _bend(self, rows: np.ndarray) -> None:
        """Put a hostile value into one field of some commands."""
        rng = self._rng
        for at in np.flatnonzero(rng.random(len(rows)) < self.shape.hostile):
            row = rows[at]
            draw = rng.integers(0, 12)
            order_id = row["order_id"]
            if draw == 0:
                row["order_id"] = order_id ^ SIGN
            elif draw == 1:  # the handle that this slot gives next, also with its sign turned
                row["order_id"] = (order_id ^ (1 << 32)) ^ rng.choice(np.array([0, INT64_MIN]))
            elif draw == 2:
                row["order_id"] = rng.choice(EDGES) if rng.random() < 0.5 else rng.integers(0, 60) | (rng.integers(0, 3) << 32)
            elif draw == 3:
                row["flags"] = rng.integers(0, 256)
            elif draw == 4:
                row["side"] = rng.integers(0, 256)
            elif draw == 5:
                row["time_in_force"] = rng.integers(0, 256)
            elif draw == 6:
                row["series"] = rng.choice([self.shape.books, 2**31 - 1, 2**31, 2**32 - 1])
            elif draw == 7:
                row["account"] = rng.choice([0, 2**31 - 1, 2**31, 2**32 - 1])
            elif draw == 8:
                row["qty"] = rng.choice(np.append(EDGES, [BOOK_QTY_END - 1, BOOK_QTY_END]))
            elif draw == 9:
                qty = row["qty"]
                row["display"] = rng.choice(np.append(EDGES, [qty, qty - 1, (qty - 1) // 1_000]))
            elif draw == 10:
                row["price"] = rng.choice(EDGES)
            else:
                row[rng.choice(["stop_price", "deadline_ns"])] = rng.choice(EDGES)
