"""The memory of a compiled market: its tables laid out, grown by doubling, hashed as they are.

Pools begin small and double between two steps, at a command that depends on the commands alone, so the
raw bytes are the same for every way in which those are batched (`memory_hash`). A growth that fails for
want of memory leaves everything as it was: a new array is complete before it takes the old one's place,
and the number of rows that kernels believe in is written last.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from rightsx._jit import Tables, aligned_zeros
from rightsx.accounts import ACCOUNT_TABLES, FIRST_TABLE, account_tables, accounts_grow, holdings_grow, lots_grow
from rightsx.book import BOOK_TABLES, book_tables, growth_install, nodes_growth, orders_growth
from rightsx.engine.bare import LEVEL
from rightsx.engine.run import OP_ENTER_HOLDING, OP_ENTER_INDEX
from rightsx.engine.state import AT_WORLD, COMMANDS, EVENTS, INDEX, OTHER_TABLES, OWN, ROWS_PER_STEP, TASK_ROWS, TICKET, WORLD
from rightsx.expiry import TIMER_INDEX, WHEEL_INDEX, WHEEL_TABLES, timers_grow, wheel_tables
from rightsx.protocol import COMMAND, EVENT, MAX_TIERS

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from rightsx.protocol import Venue

MARKET_TABLES: Final = (*BOOK_TABLES, COMMAND, EVENT, LEVEL, *WHEEL_TABLES, *ACCOUNT_TABLES, *OTHER_TABLES)
SERIES, STEP, SHOP, STORE, PRODUCT, CHANNEL, TIER, CLAIM, VOUCHER = range(AT_WORLD + 1, AT_WORLD + 10)
TICKETS, OWNS, REFERENCE, INDEX_TABLE, TASK, SCRATCH, COUNTER = range(AT_WORLD + 10, AT_WORLD + 17)
HEADS, ORDERS = 0, 4
FUNDS, ACCOUNT, HOLDING = FIRST_TABLE, FIRST_TABLE + 1, FIRST_TABLE + 2

assert MARKET_TABLES[AT_WORLD] is WORLD
assert MARKET_TABLES[TICKETS] is TICKET
assert MARKET_TABLES[OWNS] is OWN
assert MARKET_TABLES[INDEX_TABLE] is INDEX


class MarketMemory(Tables):
    """All tables of one market; `first_rows` is what every pool begins with, a power of two from 8."""

    def __init__(self, venue: Venue, first_rows: int) -> None:
        """Lay out an empty market at time 0."""
        super().__init__(MARKET_TABLES)
        book_tables(self, sides=4, order_rows=first_rows, node_rows=first_rows)
        wheel_tables(self, timer_rows=first_rows)
        account_tables(self, rows=first_rows)
        for index in (TICKETS, OWNS, CHANNEL, CLAIM, VOUCHER, REFERENCE):
            self.grow(index, first_rows)
        for index, rows in ((AT_WORLD, 1), (SERIES, 1), (STORE, 1), (PRODUCT, 1), (TIER, MAX_TIERS), (TASK, TASK_ROWS)):
            self.grow(index, rows)
        self.grow(COUNTER, 256)
        self.grow(INDEX_TABLE, 2 * first_rows)
        self.grow(SCRATCH, 2 * first_rows)
        world = self.world
        world["next_order_id"] = 1
        world["channel_count"] = 2
        world["voucher_used"] = world["channel_used"] = world["reference_used"] = 1
        for name in ("voucher", "channel", "claim", "reference"):
            world[f"{name}_rows"] = first_rows
        world["scratch_rows"] = 2 * first_rows
        world["index_shift"] = 33 - (2 * first_rows).bit_length()
        world["gift_fee"] = venue.gift_fee
        world["reference_ns"] = venue.reference_days * 86_400_000_000_000
        self.head["live_limit"] = venue.limits.orders
        self.funds["account_limit"] = venue.limits.accounts
        self.funds["holding_limit"] = venue.limits.holdings

    @property
    def world(self) -> np.void:
        """WORLD's only row."""
        return self.arrays[AT_WORLD][0]  # type: ignore[no-any-return]

    @property
    def head(self) -> np.void:
        """The book's HEAD."""
        return self.arrays[HEADS][0]  # type: ignore[no-any-return]

    @property
    def funds(self) -> np.void:
        """The accounts' FUNDS."""
        return self.arrays[FUNDS][0]  # type: ignore[no-any-return]

    # ── growing ──────────────────────────────────────────────────────────────────────────────────

    def grow_short(self, operate: Callable[..., int]) -> None:
        """Double every table that a step might find too short; `operate` does the kernel's part. O(rows)."""
        head, funds, world = self.head, self.funds, self.world
        if head["order_free"] == 0 and head["order_used"] >= head["order_rows"]:
            rows = 2 * int(head["order_rows"])
            self.grow(TICKETS, rows)
            self.grow(OWNS, rows)
            growth_install(self, orders_growth(self))
        if head["node_used"] + 2 > head["node_rows"]:
            growth_install(self, nodes_growth(self))
        if funds["holding_used"] + ROWS_PER_STEP > funds["holding_rows"]:
            for slot in holdings_grow(self):
                operate(OP_ENTER_HOLDING, int(slot))
        if funds["lot_used"] + ROWS_PER_STEP > funds["lot_rows"]:
            lots_grow(self)
        if funds["account_count"] + ROWS_PER_STEP > funds["account_rows"]:
            accounts_grow(self, 2 * int(funds["account_rows"]))
        wheel = self.arrays[WHEEL_INDEX][0]
        if wheel["armed"] + wheel["popped"] + ROWS_PER_STEP >= wheel["timer_rows"]:
            timers_grow(self)
        for name, index in (("voucher", VOUCHER), ("channel", CHANNEL), ("claim", CLAIM), ("reference", REFERENCE)):
            if world[f"{name}_used"] + ROWS_PER_STEP > world[f"{name}_rows"]:
                rows = 2 * int(world[f"{name}_rows"])
                self.grow(index, rows)
                world[f"{name}_rows"] = rows
        if 2 * (world["index_count"] + ROWS_PER_STEP) > len(self.arrays[INDEX_TABLE]):
            self._grow_index(operate)
        if world["scratch_need"] > world["scratch_rows"]:
            rows = 1 << int(world["scratch_need"] - 1).bit_length()
            self.put(SCRATCH, aligned_zeros(rows, self.arrays[SCRATCH].dtype))
            world["scratch_rows"] = rows

    def _grow_index(self, operate: Callable[..., int]) -> None:
        old = self.arrays[INDEX_TABLE]
        new = aligned_zeros(2 * len(old), INDEX)
        self.put(INDEX_TABLE, new)
        self.world["index_shift"] -= 1
        self.world["index_count"] = 0
        for cell in old[old["slot"] != 0]:
            operate(OP_ENTER_INDEX, int(cell["a"]), int(cell["b"]), int(cell["slot"]))

    def grow_by_doubling(self, index: int, rows: int) -> None:
        """Make sure that a registry's table has `rows` rows."""
        have = len(self.arrays[index])
        if rows > have:
            self.grow(index, max(rows, 2 * have))

    # ── hashing ──────────────────────────────────────────────────────────────────────────────────

    def memory_hash(self) -> str:
        """Hash every table as it is, but for the batch: SHA-256 over all bytes. O(bytes)."""
        digest = hashlib.sha256()
        for index, array in enumerate(self.arrays):
            if index in {COMMANDS, EVENTS, SCRATCH, COUNTER, TASK}:
                continue  # what a batch brought, and what tasks scribbled on
            rows = array.copy() if index == AT_WORLD else array
            if index == AT_WORLD:
                for name in ("event_count", "event_rows", "row", "scratch_need", "scratch_rows"):
                    rows[name] = 0
            digest.update(rows.tobytes())
        return digest.hexdigest()


__all__ = ["MARKET_TABLES", "TIMER_INDEX", "MarketMemory"]
