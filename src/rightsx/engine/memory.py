"""The memory of a compiled market: its tables laid out, grown by doubling, hashed as they are.

Pools begin small and double between two steps, at a command that depends on the commands alone, so the
raw bytes are the same for every way in which those are batched (`memory_hash`). A growth that fails for
want of memory leaves everything as it was: a new array is complete before it takes the old one's place,
and the number of rows that kernels believe in is written last.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from rightsx._jit import Tables, aligned_zeros
from rightsx.accounts import ACCOUNT_TABLES, FIRST_TABLE, account_tables, holding_cells, holding_shift
from rightsx.book import BOOK_TABLES, EnterIds, book_tables, grown, nodes_growth, orders_growth
from rightsx.engine.bare import LEVEL
from rightsx.engine.state import AT_WORLD, COMMANDS, EVENTS, INDEX, OTHER_TABLES, OWN, ROWS_PER_STEP, TASK_ROWS, TICKET, WORLD
from rightsx.expiry import TIMER_INDEX, WHEEL_INDEX, WHEEL_TABLES, wheel_tables
from rightsx.probing import pair_homes, spots_of
from rightsx.protocol import COMMAND, EVENT, MAX_TIERS

if TYPE_CHECKING:
    from rightsx.protocol import Venue

MARKET_TABLES: Final = (*BOOK_TABLES, COMMAND, EVENT, LEVEL, *WHEEL_TABLES, *ACCOUNT_TABLES, *OTHER_TABLES)
SERIES, STEP, SHOP, STORE, PRODUCT, CHANNEL, TIER, CLAIM, VOUCHER = range(AT_WORLD + 1, AT_WORLD + 10)
TICKETS, OWNS, REFERENCE, INDEX_TABLE, TASK, SCRATCH, COUNTER, PLAN = range(AT_WORLD + 10, AT_WORLD + 18)
HEADS, SIDES, ORDERS = 0, 1, 4
FUNDS, ACCOUNT, HOLDING = FIRST_TABLE, FIRST_TABLE + 1, FIRST_TABLE + 2

assert MARKET_TABLES[AT_WORLD] is WORLD
assert MARKET_TABLES[TICKETS] is TICKET
assert MARKET_TABLES[OWNS] is OWN
assert MARKET_TABLES[INDEX_TABLE] is INDEX


class MarketGrowth(NamedTuple):
    """Larger tables, made and filled but not yet in use, and the fields that will tell kernels of them."""

    arrays: dict[int, np.ndarray]
    fields: list[tuple[int, str, int]]


def index_cells(old: np.ndarray, cells: int, shift: int) -> np.ndarray:
    """Make a larger index with what the old one has. O(cells)."""
    kept = old[old["slot"] != 0]
    new = aligned_zeros(cells, INDEX)
    new[spots_of(pair_homes(kept["a"], kept["b"], shift), cells)] = kept
    return new


class MarketMemory(Tables):
    """All tables of one market; `first_rows` is what every pool begins with, a power of two from 8."""

    def __init__(self, venue: Venue, first_rows: int, enter_ids: EnterIds) -> None:
        """Lay out an empty market at time 0; `enter_ids` calls the kernel that growing needs."""
        super().__init__(MARKET_TABLES)
        self._enter_ids = enter_ids
        self._growth: MarketGrowth | None = None
        book_tables(self, sides=4, order_rows=first_rows, node_rows=first_rows)
        wheel_tables(self, timer_rows=first_rows)
        account_tables(self, rows=first_rows)
        for index in (TICKETS, OWNS, CHANNEL, CLAIM, VOUCHER, PLAN, REFERENCE):
            self.grow(index, first_rows)
        for index, rows in ((AT_WORLD, 1), (SERIES, 1), (STORE, 1), (PRODUCT, 1), (TIER, MAX_TIERS), (TASK, TASK_ROWS)):
            self.grow(index, rows)
        self.grow(COUNTER, 256)
        self.grow(INDEX_TABLE, 2 * first_rows)
        self.grow(SCRATCH, 2 * first_rows)
        world = self.world
        world["next_order_id"] = 1
        world["channel_count"] = 2
        world["voucher_used"] = world["channel_used"] = world["plan_used"] = world["reference_used"] = 1
        for name in ("voucher", "channel", "claim", "plan", "reference"):
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

    def grow_short(self) -> None:
        """Double every table that a step might find too short; a failure on the way changes nothing. O(rows)."""
        self._growth = self._growth_due()
        self.settle()

    def settle(self) -> None:
        """Use the larger tables that are made, if there are any; done twice it is done once."""
        if self._growth is not None:
            for index, array in self._growth.arrays.items():
                self.put(index, array)
            for index, name, value in self._growth.fields:
                self.arrays[index][0][name] = value
            self._growth = None

    def _growth_due(self) -> MarketGrowth:
        """Make larger tables for those that are short; none is in use yet."""
        arrays: dict[int, np.ndarray] = {}
        fields: list[tuple[int, str, int]] = []
        self._books_due(arrays, fields)
        funds, world, wheel = self.funds, self.world, self.arrays[WHEEL_INDEX][0]
        if funds["holding_used"] + ROWS_PER_STEP > funds["holding_rows"]:
            rows = 2 * int(funds["holding_rows"])
            arrays[HOLDING] = grown(self.arrays[HOLDING], rows)
            arrays[HOLDING + 1] = holding_cells(self, rows)
            fields += [(FUNDS, "holding_rows", rows), (FUNDS, "holding_shift", holding_shift(rows))]
        if 2 * (world["index_count"] + ROWS_PER_STEP) > len(self.arrays[INDEX_TABLE]):
            cells = 2 * len(self.arrays[INDEX_TABLE])
            shift = 33 - cells.bit_length()
            arrays[INDEX_TABLE] = index_cells(self.arrays[INDEX_TABLE], cells, shift)
            fields.append((AT_WORLD, "index_shift", shift))
        for row, used, name, index in (
            (funds, funds["lot_used"], "lot_rows", HOLDING + 2),
            (funds, funds["account_count"], "account_rows", ACCOUNT),
            (wheel, wheel["armed"] + wheel["popped"] + 1, "timer_rows", TIMER_INDEX),
            (world, world["voucher_used"], "voucher_rows", VOUCHER),
            (world, world["channel_used"], "channel_rows", CHANNEL),
            (world, world["claim_used"], "claim_rows", CLAIM),
            (world, world["plan_used"], "plan_rows", PLAN),
            (world, world["reference_used"], "reference_rows", REFERENCE),
        ):
            if used + ROWS_PER_STEP > row[name]:
                rows = 2 * int(row[name])
                arrays[index] = grown(self.arrays[index], rows)
                home = FUNDS if row is funds else WHEEL_INDEX if row is wheel else AT_WORLD
                fields.append((home, name, rows))
        if world["scratch_need"] > world["scratch_rows"]:
            rows = 1 << int(world["scratch_need"] - 1).bit_length()
            arrays[SCRATCH] = aligned_zeros(rows, self.arrays[SCRATCH].dtype)
            fields.append((AT_WORLD, "scratch_rows", rows))
        return MarketGrowth(arrays, fields)

    def _books_due(self, arrays: dict[int, np.ndarray], fields: list[tuple[int, str, int]]) -> None:
        """Make larger tables of orders and of the nodes of prices, where those are short."""
        head = self.head
        growths = []
        if head["order_free"] == 0 and head["order_used"] >= head["order_rows"]:
            growths.append(orders_growth(self, self._enter_ids))
            rows = growths[0].head["order_rows"]
            arrays[TICKETS], arrays[OWNS] = grown(self.arrays[TICKETS], rows), grown(self.arrays[OWNS], rows)
        if head["node_used"] + 2 > head["node_rows"]:
            growths.append(nodes_growth(self))
        for growth in growths:
            arrays.update(growth.arrays)
            fields += [(HEADS, name, value) for name, value in growth.head.items()]

    def grow_by_doubling(self, index: int, rows: int) -> None:
        """Make sure that a registry's table has `rows` rows."""
        have = len(self.arrays[index])
        if rows > have:
            self.grow(index, max(rows, 2 * have))

    # ── snapshots ────────────────────────────────────────────────────────────────────────────────

    def save(self) -> dict[int, np.ndarray]:
        """Give all tables but those that a batch brings, as they are."""
        return {index: array for index, array in enumerate(self.arrays) if index not in {COMMANDS, EVENTS}}

    def load(self, tables: dict[int, np.ndarray]) -> None:
        """Take tables that were saved."""
        for index, array in tables.items():
            new = aligned_zeros(len(array), array.dtype)
            new.view(np.uint8)[:] = np.frombuffer(array.tobytes(), np.uint8)
            self.put(index, new)

    # ── hashing ──────────────────────────────────────────────────────────────────────────────────

    def memory_hash(self) -> str:
        """Hash every table as it is, but for the batch: SHA-256 over all bytes. O(bytes)."""
        digest = hashlib.sha256()
        for index, array in enumerate(self.arrays):
            if index in {COMMANDS, EVENTS, SCRATCH, COUNTER, TASK}:
                continue  # what a batch brought, and what tasks scribbled on
            rows = array.copy() if index == AT_WORLD else array
            if index == AT_WORLD:
                for name in ("event_count", "event_rows", "held", "row", "scratch_need", "scratch_rows"):
                    rows[name] = 0
            digest.update(rows.tobytes())
        return digest.hexdigest()


__all__ = ["MARKET_TABLES", "TIMER_INDEX", "MarketMemory"]
