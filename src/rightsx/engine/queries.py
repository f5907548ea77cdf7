"""Looking at a compiled market: copies rows of the tables into views.

Each question reads the rows that it is about and no others: an order by its id and a holding by its key
cost a few cells of a hash table, depth the levels that are shown. Only lists cost what they list.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from rightsx.book import FLAG_BITS, ICEBERG
from rightsx.engine import memory as at
from rightsx.engine.export import (
    export_account,
    export_lots,
    export_order,
    export_plan,
    export_series,
    export_voucher,
    level_slots,
    live_orders,
    plan_rows,
)
from rightsx.engine.state import PLANS
from rightsx.probing import pair_homes
from rightsx.protocol import HOLDER, PROMISE, Side
from rightsx.reference.book import Book
from rightsx.reference.lots import lots_cost
from rightsx.reference.state import PLATFORM
from rightsx.reference.twin import plan_view, series_view
from rightsx.views import AccountView, AuctionRow, HoldingView, Level, OrderView, PlanView, ProductView, SeriesView, VoucherView

if TYPE_CHECKING:
    from rightsx.engine.memory import MarketMemory
    from rightsx.engine.registry import Registry
    from rightsx.protocol import Venue
    from rightsx.reference.state import Series

_IDS, _HASH = 6, -7046029254386353131
_HALF = 0xFFFF_FFFF
NO_BOOK = Book()  # of a series that is shown: its book is not


class Queries:
    """What the face may ask of a compiled market."""

    _memory: MarketMemory
    _registry: Registry
    _venue: Venue

    @property
    def clock_ns(self) -> int:
        """The engine's clock."""
        return int(self._memory.world["clock_ns"])

    @property
    def command_seq(self) -> int:
        """How many commands there were."""
        return int(self._memory.world["command_seq"])

    @property
    def platform_cash(self) -> int:
        """What the platform has earned, in minor units."""
        return int(self._memory.arrays[at.ACCOUNT][PLATFORM]["cash_free"])

    # ── accounts and holdings ────────────────────────────────────────────────────────────────────

    def account(self, account: int) -> AccountView | None:
        """Copy an account, or None. O(holdings and claims of all accounts, in NumPy)."""
        if not 0 < account < int(self._memory.funds["account_count"]):
            return None
        found = export_account(self._memory, account, [])
        rows = self._memory.arrays[at.HOLDING][1 : int(self._memory.funds["holding_used"])]
        mine = sorted(int(series) for series in rows["series"][rows["account"] == account])
        claims = self._memory.arrays[at.CLAIM][: int(self._memory.world["claim_used"])]
        claims = claims[claims["account"] == account]
        return AccountView(
            account=account,
            is_merchant=found.is_merchant,
            cash_free=found.cash_free,
            cash_locked=found.cash_locked,
            debt=found.debt,
            claims=dict(sorted((int(claim["series"]), int(claim["amount"])) for claim in claims)),
            frozen=found.frozen,
            defaulted=found.defaulted,
            tier=found.tier,
            max_open=found.max_open,
            max_notional=found.max_notional,
            open_orders=int(self._memory.arrays[at.ACCOUNT][account]["open_orders"]),
            holdings=[view for series in dict.fromkeys(mine) if (view := self.holding(account, series)) and view.units],
        )

    def holding(self, account: int, series: int) -> HoldingView | None:
        """Copy a holding; zeros where there is none, None for an unknown series. O(lots, orders and vouchers of it)."""
        if not self._has_series(series):
            return None
        row = self._memory.arrays[at.SERIES][series]
        slot = self._holding_slot(account, series)
        free = offered = frozen = cost = 0
        if slot:
            held = self._memory.arrays[at.HOLDING][slot]
            free, offered, frozen = (int(held[name]) for name in ("free_qty", "offered_qty", "voucher_qty"))
            cost = self._cost(held, account, series)
        live = not row["expired"] and not row["defaulted"]
        return HoldingView(
            series=series,
            free_qty=free,
            offered_qty=offered,
            voucher_qty=frozen,
            cost=cost if row["keeps_lots"] else None,
            value=int(row["value"]) if live else 0,
            last_price=int(row["last_price"]) or None,
            expire_ns=int(row["expire_ns"]),
        )

    def _cost(self, held: np.void, account: int, series: int) -> int:
        """Add up what a holding's units cost, wherever they are."""
        firsts = [int(held["first_lot"])]
        if held["offered_qty"]:
            slot = int(self._memory.arrays[at.ACCOUNT][account]["first_order"])
            while slot:
                ticket = self._memory.arrays[at.TICKETS][slot]
                if ticket["series"] == series:
                    firsts.append(int(ticket["first_lot"]))
                slot = int(self._memory.arrays[at.OWNS][slot]["next"])
        if held["voucher_qty"]:
            slot = int(self._memory.arrays[at.SERIES][series]["first_voucher"])
            while slot:
                voucher = self._memory.arrays[at.VOUCHER][slot]
                if voucher["account"] == account:
                    firsts.append(int(voucher["first_lot"]))
                slot = int(voucher["next"])
        return sum(lots_cost(export_lots(self._memory, first)) for first in firsts)

    def _holding_slot(self, account: int, series: int) -> int:
        """Find a holding as the kernels do, or 0."""
        mixed = account ^ (series * 0x1_0000_0001_0001)
        cells = self._memory.arrays[at.HOLDING + 1]["slot"]
        rows = self._memory.arrays[at.HOLDING]
        place = (mixed * _HASH >> 32 & _HALF) >> int(self._memory.funds["holding_shift"])
        while slot := int(cells[place]):
            if rows[slot]["account"] == account and rows[slot]["series"] == series:
                return slot
            place = (place + 1) % len(cells)
        return 0

    # ── series and products ──────────────────────────────────────────────────────────────────────

    def _has_series(self, series: int) -> bool:
        return 0 < series <= int(self._memory.world["series_count"])

    def series(self, series: int) -> SeriesView | None:
        """Copy a series, or None."""
        if not self._has_series(series):
            return None
        found = export_series(self._memory, series, NO_BOOK)
        return series_view(found, self._registry.products[found.product - 1].name, self._registry.channels)

    def merchant_of(self, series: int) -> int:
        """Give the merchant of a series, or 0."""
        return int(self._memory.arrays[at.SERIES][series]["merchant"]) if self._has_series(series) else 0

    def products(self) -> list[ProductView]:
        """Copy every product: merchant, name, its series by expiry."""
        return [self._product(number) for number in range(1, len(self._registry.products) + 1)]

    def product(self, merchant: int, name: str) -> ProductView | None:
        """Copy one product by name, or None."""
        number = self._registry.product_ids.get((merchant, name))
        return self._product(number) if number is not None else None

    def _product(self, number: int) -> ProductView:
        product = self._registry.products[number - 1]
        expiry = self._memory.arrays[at.SERIES]["expire_ns"]
        return ProductView(
            number, product.merchant, product.name, sorted(product.series, key=lambda one: (int(expiry[one]), one))
        )

    # ── books ────────────────────────────────────────────────────────────────────────────────────

    def depth(self, series: int, side: Side, most: int | None) -> list[Level]:
        """List the best levels of one side. O(orders of the side)."""
        if not self._has_series(series):
            return []
        words = self._memory.arrays[at.ORDERS]["word"]
        limits = self._memory.arrays[at.TICKETS]["limit"]
        levels = level_slots(self._memory, 4 * series + side - 1, most)
        return [
            Level(int(limits[queue[0]]), sum(int(words[slot]) >> FLAG_BITS for slot in queue), len(queue)) for queue in levels
        ]

    def queue(self, series: int, side: Side) -> list[OrderView]:
        """List the resting orders of one side in the order in which they would trade."""
        if not self._has_series(series):
            return []
        return [self._order(slot) for queue in level_slots(self._memory, 4 * series + side - 1) for slot in queue]

    def auction(self, series: int) -> list[AuctionRow]:
        """List the candidate prices of a series that is in its auction; [] otherwise (R20). O(orders)."""
        if not self._has_series(series) or not self._memory.arrays[at.SERIES][series]["in_auction"]:
            return []
        totals: list[Counter[int]] = []
        for side in Side:
            total: Counter[int] = Counter()
            for order in self.queue(series, side):
                total[order.price] += order.open_qty
            totals.append(total)
        buys, sells = totals
        rows, buy, sell = [], sum(buys.values()), 0
        for price in sorted({*buys, *sells, int(self._memory.arrays[at.SERIES][series]["reference"])}):
            sell += sells[price]
            rows.append(AuctionRow(price, min(buy, sell), buy - sell))
            buy -= buys[price]
        return rows

    # ── orders and vouchers ──────────────────────────────────────────────────────────────────────

    def order(self, order_id: int) -> OrderView | None:
        """Copy a live order, or None. O(1)."""
        slot = self._order_slot(order_id)
        return self._order(slot) if slot else None

    def _order_slot(self, order_id: int) -> int:
        """Find an order as the kernels do, or 0."""
        cells, orders = self._memory.arrays[_IDS], self._memory.arrays[at.ORDERS]
        tag = order_id * _HASH >> 32 & _HALF
        place = tag >> int(self._memory.head["id_shift"])
        while slot := int(cells[place]["slot"]):
            if int(orders[slot]["id"]) == order_id:
                return slot
            place = (place + 1) % len(cells)
        return 0

    def _order(self, slot: int) -> OrderView:
        order, ticket = self._memory.arrays[at.ORDERS][slot], self._memory.arrays[at.TICKETS][slot]
        if int(order["word"]) & ICEBERG or ticket["timer"] or ticket["stop_price"]:
            found = export_order(self._memory, slot)
            open_qty, shown, deadline = found.open_qty, found.shown_qty, found.deadline_ns
        else:
            open_qty = shown = int(order["word"]) >> FLAG_BITS
            deadline = 0
        return OrderView(
            order_id=int(order["id"]),
            account=int(order["account"]),
            series=int(ticket["series"]),
            side=Side(int(ticket["side"])).name.lower(),
            price=int(ticket["limit"]),
            open_qty=open_qty,
            shown_qty=shown,
            filled_qty=int(ticket["filled_qty"]),
            cash_locked=int(ticket["cash_locked"]),
            stop_price=int(ticket["stop_price"]) or None,
            deadline_ns=deadline or None,
            fee_charged=int(ticket["fee_charged"]),
            peg=int(ticket["peg"]) or None,
            planned=bool(ticket["planned"]),
        )

    def plan(self, series: int, account: int) -> PlanView | None:
        """Copy an account's plan in a series, or None. O(terms of the series)."""
        at_row = self._plan_row(series, account) if self._has_series(series) else 0
        return self._plan(export_series(self._memory, series), at_row) if at_row else None

    def plans(self, *, account: int = 0, series: int = 0) -> list[PlanView]:
        """List plans, of an account or in a series if named, by series and account. O(series + plans listed)."""
        if series and not self._has_series(series):
            return []
        numbers = [series] if series else np.flatnonzero(self._memory.arrays[at.SERIES]["first_plan"]).tolist()
        found = []
        for number in numbers:
            mine = [self._plan_row(number, account)] if account else plan_rows(self._memory, number)
            if any(mine):
                terms = export_series(self._memory, number)
                found += sorted(self._plan(terms, at_row) for at_row in mine)
        return found

    def _plan(self, terms: Series, at_row: int) -> PlanView:
        plan = export_plan(self._memory, at_row)
        return plan_view(terms, plan, live=bool(self._order_slot(plan.order_id)))

    def _plan_row(self, series: int, account: int) -> int:
        """Find a plan as the kernels do, or 0."""
        cells = self._memory.arrays[at.INDEX_TABLE]
        key = PLANS - account
        homes = pair_homes(np.array([key]), np.array([series]), int(self._memory.world["index_shift"]))
        place = int(homes[0])
        while slot := int(cells[place]["slot"]):
            if (int(cells[place]["a"]), int(cells[place]["b"])) == (key, series):
                return slot
            place = (place + 1) % len(cells)
        return 0

    def orders(self, *, account: int = 0, series: int = 0) -> list[OrderView]:
        """List live orders of an account, or of a series, in order of acceptance. O(orders, of an account its own)."""
        if account:
            slots = []
            slot = int(self._memory.arrays[at.ACCOUNT][account]["first_order"])
            while slot:
                slots.append(slot)
                slot = int(self._memory.arrays[at.OWNS][slot]["next"])
        else:
            slots = live_orders(self._memory)
        home = self._memory.arrays[at.TICKETS]["series"]
        return [self._order(slot) for slot in slots if series in (0, int(home[slot]))]

    def voucher(self, voucher_id: int) -> VoucherView | None:
        """Copy a voucher whose row is still there, or None. O(vouchers of its series)."""
        if not self._has_series(voucher_id >> 32):
            return None
        slot = int(self._memory.arrays[at.SERIES][voucher_id >> 32]["first_voucher"])
        while slot and int(self._memory.arrays[at.VOUCHER][slot]["id"]) != voucher_id:
            slot = int(self._memory.arrays[at.VOUCHER][slot]["next"])
        if not slot:
            return None
        found = export_voucher(self._memory, slot)
        state = "redeemed" if found.redeemed else "lapsed" if found.lapsed else "live"
        return VoucherView(found.id, found.account, found.qty, found.value, found.redeem_end_ns, found.lapse_ns, state)

    # ── registries ───────────────────────────────────────────────────────────────────────────────

    def promises(self) -> tuple[np.ndarray, np.ndarray, int]:
        """Give PROMISE of each series without its holders, HOLDER of what is held, and the number of accounts. O(tables)."""
        count = int(self._memory.world["series_count"])
        rows = self._memory.arrays[at.SERIES][1 : count + 1]
        owed = np.zeros(count, PROMISE)
        owed["series"] = np.arange(1, count + 1)
        for name in ("merchant", "units", "escrow", "expire_ns"):
            owed[name] = rows[name]
        live = (rows["expired"] == 0) & (rows["defaulted"] == 0)
        face = (rows["units"] - rows["voucher_units"]) * rows["value"] + rows["voucher_face"]
        owed["face"], owed["value"] = np.where(live, face, 0), np.where(live, rows["value"], 0)
        slots = self._memory.arrays[at.HOLDING + 1]["slot"]
        table = self._memory.arrays[at.HOLDING][slots[slots != 0]]
        held = np.zeros(len(table), HOLDER)
        held["series"], held["account"] = table["series"], table["account"]
        held["units"] = table["free_qty"].astype(np.int64) + table["offered_qty"] + table["voucher_qty"]
        return owed, held[held["units"] > 0], int(self._memory.funds["account_count"])

    def channels(self) -> list[str]:
        """List channels, from id 1."""
        return list(self._registry.channels)

    def terminals(self, merchant: int) -> list[str]:
        """List a merchant's terminals, from number 1."""
        return list(self._registry.terminals.get(merchant, []))

    def stores(self, merchant: int) -> dict[str, int]:
        """Map a merchant's store names to ids."""
        stores = enumerate(self._registry.stores, 1)
        return {store.name: number for number, store in stores if store.merchant == merchant}

    def member(self, merchant: int, member: int) -> int | None:
        """Give the account of an imported member, or None."""
        return self._registry.members.get((merchant, member))
