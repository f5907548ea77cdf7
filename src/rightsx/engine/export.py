"""Rebuilds the reference's objects from the tables: what audits, state hashes and cold commands read.

    tables ──► reference.state.Market ──► audit.check, audit.canonical, audit.state_hash
           ──► one Series, one Account ──► the cold verbs of `reference`, run over a `Desk`

So there is one audit and one canonical state, by whatever engine a market runs, and a market of this
engine can be carried on by the reference at any moment. O(what is rebuilt).
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rightsx.book import FLAG_BITS, FLAG_MASK, ICEBERG
from rightsx.engine import memory as at
from rightsx.engine.primary import NO_CAP
from rightsx.engine.state import SERIES, WAITING
from rightsx.expiry import timers_armed
from rightsx.protocol import BPS, CASH_END, Command, OrderFlag, Side, Terms
from rightsx.reference.book import Book, Order
from rightsx.reference.lots import Holding, Lot
from rightsx.reference.state import Account, Market, Plan, Reference, Series, Timer, TimerKind, Voucher

if TYPE_CHECKING:
    from rightsx.engine.memory import MarketMemory
    from rightsx.engine.registry import Registry
    from rightsx.protocol import Venue

_U64: Final = 2**64
_SUMS: Final = (
    "step_index", "last_price", "sold", "gross", "fee_total", "escrow_total", "escrow", "units",
    "voucher_units", "voucher_face", "voucher_count", "redeemed", "decayed", "decayed_before_sale", "expired_face", "refunded",
    "bought_back", "defaulted_face",
)  # fmt: skip
_SWITCHES: Final = ("in_auction", "uncross_waits", "halted", "closed", "expired", "defaulted")


def export_account(memory: MarketMemory, account: int, terminals: list[str]) -> Account:
    """Rebuild an account, without its orders. O(1)."""
    row = memory.arrays[at.ACCOUNT][account]
    return Account(
        id=account,
        is_merchant=bool(row["terminals"] >= 0),
        cash_free=int(row["cash_free"]),
        cash_locked=int(row["cash_locked"]),
        debt=int(row["debt"]),
        frozen=bool(row["frozen"]),
        defaulted=bool(row["defaulted"]),
        tier=int(row["tier"]),
        max_open=int(row["max_open"]),
        max_notional=int(row["max_notional"]),
        terminals=terminals,
    )


def export_series(memory: MarketMemory, series: int, book: Book | None = None) -> Series:
    """Rebuild a series, without its book (unless it is given), its holdings and its vouchers. O(steps + stores + channels)."""
    row = dict(zip(SERIES.names or (), memory.arrays[at.SERIES][series].item(), strict=True))
    steps = memory.arrays[at.STEP][row["step_start"] :][: row["step_count"]]
    shops = memory.arrays[at.SHOP][row["shop_start"] :][: row["shop_count"]]
    sums: dict[str, Any] = {name: row[name] for name in _SUMS} | {name: bool(row[name]) for name in _SWITCHES}
    found = Series(
        id=series,
        merchant=row["merchant"],
        product=row["product"],
        terms=Terms(*(row[name] for name in Terms._fields)),
        steps=steps.tolist(),
        stores=tuple(shops["store"].tolist()),
        channel_caps={},
        value=row["value"],
        reference=row["reference"],
        book=Book() if book is None else book,
        **sums,
    )
    slot = row["first_channel"]
    while slot:
        channel = memory.arrays[at.CHANNEL][slot]
        number = int(channel["channel"])
        if channel["cap"] != NO_CAP:
            found.channel_caps[number] = int(channel["cap"])
        if channel["sold"]:
            found.channel_sold[number] = int(channel["sold"])
            found.channel_gross[number] = int(channel["gross"])
        slot = int(channel["next"])
    found.channel_caps = dict(sorted(found.channel_caps.items()))
    return found


def export_lots(memory: MarketMemory, first: int) -> list[Lot]:
    """Rebuild a list of lots. O(lots)."""
    lots = []
    table = memory.arrays[at.HOLDING + 2]
    while first:
        row = table[first]
        lots.append(Lot(int(row["acquired_ns"]), int(row["seq"]), int(row["qty"]), int(row["cost"]), bool(row["primary"])))
        first = int(row["next"])
    return lots


def export_order(memory: MarketMemory, slot: int) -> Order:
    """Rebuild an order. O(lots)."""
    order, ticket, part = (memory.arrays[index][slot] for index in (at.ORDERS, at.TICKETS, at.ORDERS + 1))
    word = int(order["word"])
    shown, iceberg = word >> FLAG_BITS, bool(word & ICEBERG)
    hidden = int(part["hidden"]) if iceberg else 0
    is_fok = ticket["time_in_force"] == 4
    waits = ticket["place"] == WAITING
    timer = int(ticket["timer"])
    return Order(
        id=int(order["id"]),
        account=int(order["account"]),
        series=int(ticket["series"]),
        side=Side(int(ticket["side"])),
        limit=int(ticket["limit"]),
        open_qty=shown + hidden,
        display=int(part["display"]) if iceberg else 0,
        flags=word & (FLAG_MASK - ICEBERG) | (OrderFlag.PEG if ticket["peg"] else 0),
        time_in_force=int(ticket["time_in_force"]),
        deadline_ns=0 if is_fok else int(ticket["deadline"]),
        stop_price=int(ticket["stop_price"]),
        budget=int(ticket["deadline"]) if is_fok else 0,
        peg=int(ticket["peg"]),
        planned=bool(ticket["planned"]),
        shown_qty=0 if waits else shown,
        filled_qty=int(ticket["filled_qty"]),
        accept_seq=int(ticket["accept_seq"]),
        timer_seq=int(memory.arrays[at.TIMER_INDEX][timer]["seq"]) if timer else 0,
        fee_owed=-int(ticket["fee_slack"]),
        fee_charged=int(ticket["fee_charged"]),
        royalty_owed=int(ticket["royalty_held"]) * BPS + int(ticket["royalty_rest"]),
        cash_locked=int(ticket["cash_locked"]),
        lots=export_lots(memory, int(ticket["first_lot"])),
    )


def live_orders(memory: MarketMemory) -> list[int]:
    """List the slots of all live orders, in order of acceptance. O(orders log orders)."""
    slots = memory.arrays[6]["slot"]
    found = slots[slots != 0]
    return [int(slot) for slot in found[memory.arrays[at.TICKETS]["accept_seq"][found].argsort()]]


def level_slots(memory: MarketMemory, side: int, most: int | None = None) -> list[list[int]]:
    """List the best levels of a side, each with its orders' slots in the order of its queue. O(orders listed)."""
    found: list[list[int]] = []
    root = int(memory.arrays[1][side]["root"])
    nodes = [root] if root else []
    orders, cells = memory.arrays[at.ORDERS], memory.arrays[3]
    while nodes and (most is None or len(found) < most):
        node = nodes.pop()
        row = memory.arrays[2][node]
        heads = [int(cells[node * 64 + place]["head"]) for place in _bits(int(row["bitmap"]))]
        if row["shift"]:
            nodes += reversed(heads)
            continue
        for head in heads if most is None else heads[: most - len(found)]:
            queue, slot = [], head
            while slot:
                queue.append(slot)
                slot = int(orders[slot]["next"])
            found.append(queue)
    return found


def _bits(word: int) -> list[int]:
    return [place for place in range(64) if word >> place & 1]


def live_holdings(memory: MarketMemory, series: int) -> list[np.void]:
    """List the rows of the holdings of a series. O(holdings)."""
    found = []
    slot = int(memory.arrays[at.SERIES][series]["first_holding"])
    while slot:
        row = memory.arrays[at.HOLDING][slot]
        found.append(row)
        slot = int(row["next"])
    return found


def export_market(memory: MarketMemory, registry: Registry, venue: Venue) -> Market:
    """Rebuild the whole market. O(state)."""
    market = Market(venue)
    world, funds = memory.world, memory.funds
    for name in ("clock_ns", "command_seq", "event_seq", "accept_seq", "timer_seq", "next_order_id"):
        setattr(market, name, int(world[name]))
    market.lot_seq, market.killed = int(funds["lot_seq"]), bool(world["killed"])
    for name in ("deposited", "withdrawn", "charged_back"):
        setattr(market, name, int(world[f"{name}_high"]) * CASH_END + int(world[name]))
    market.accounts = [
        export_account(memory, number, registry.terminals.get(number, [])) for number in range(int(funds["account_count"]))
    ]
    market.series = [export_series(memory, number + 1) for number in range(int(world["series_count"]))]
    market.products, market.product_ids = registry.products, registry.product_ids
    market.stores, market.channels, market.members = registry.stores, registry.channels, registry.members
    caps = memory.arrays[at.TIER]["cap"]
    market.tiers = {int(tier): int(caps[tier]) for tier in np.flatnonzero(caps)}
    market.holding_count = int(funds["holding_count"])
    for claim in memory.arrays[at.CLAIM][: int(world["claim_used"])]:
        market.claims[int(claim["account"]), int(claim["series"])] = int(claim["amount"])
    _export_orders(memory, market)
    _export_holdings(memory, market)
    _export_vouchers(memory, market)
    _export_timers(memory, market)
    market.plan_count = int(world["plan_count"])
    for series in market.series:
        plans = [export_plan(memory, at_row) for at_row in plan_rows(memory, series.id)]
        series.plans = {plan.account: plan for plan in plans}
    return market


def plan_rows(memory: MarketMemory, series: int) -> list[int]:
    """List the rows of the plans of a series. O(plans of the series)."""
    found = []
    at_row = int(memory.arrays[at.SERIES][series]["first_plan"])
    while at_row:
        found.append(at_row)
        at_row = int(memory.arrays[at.PLAN][at_row]["next"])
    return found


def export_plan(memory: MarketMemory, at_row: int) -> Plan:
    """Rebuild a plan. O(1)."""
    row = memory.arrays[at.PLAN][at_row]
    return Plan(**{one.name: int(row[one.name]) for one in fields(Plan)})


def _export_orders(memory: MarketMemory, market: Market) -> None:
    for slot in live_orders(memory):
        order = export_order(memory, slot)
        market.orders[order.id] = market.accounts[order.account].orders[order.id] = order
    ids = memory.arrays[at.ORDERS]["id"]
    for series in market.series:
        for side in (0, 1, 2, 3):
            for queue in level_slots(memory, 4 * series.id + side):
                for slot in queue:
                    order = market.orders[int(ids[slot])]
                    shown = order.shown_qty
                    if side > 1:
                        series.stops[order.id] = order
                    else:
                        series.book.insert(order)
                        order.shown_qty = shown


def _export_holdings(memory: MarketMemory, market: Market) -> None:
    for series in market.series:
        for row in live_holdings(memory, series.id):
            parts = (int(row[name]) for name in ("free_qty", "offered_qty", "voucher_qty", "bid_qty"))
            holding = series.holdings[int(row["account"])] = Holding(*parts)
            holding.lots.update(export_lots(memory, int(row["first_lot"])))


def _export_vouchers(memory: MarketMemory, market: Market) -> None:
    for series in market.series:
        slot = int(memory.arrays[at.SERIES][series.id]["first_voucher"])
        while slot:
            voucher = export_voucher(memory, slot)
            series.vouchers[voucher.id] = voucher
            slot = int(memory.arrays[at.VOUCHER][slot]["next"])


def export_voucher(memory: MarketMemory, slot: int) -> Voucher:
    """Rebuild a voucher. O(lots)."""
    row = memory.arrays[at.VOUCHER][slot]
    names = ("id", "account", "qty", "value", "lock_ns", "redeem_end_ns", "lapse_ns", "timer_seq")
    return Voucher(
        **{name: int(row[name]) for name in names},
        terminals=int(row["terminals"]) % _U64,
        lots=export_lots(memory, int(row["first_lot"])),
        redeemed=bool(row["redeemed"]),
        lapsed=bool(row["lapsed"]),
    )


def _export_timers(memory: MarketMemory, market: Market) -> None:
    for row in timers_armed(memory):
        kind, subject = TimerKind(int(row["kind"])), int(row["subject"])
        ref = int(row["ref"]) % _U64
        timer = Timer(int(row["due_ns"]), int(row["rank"]), int(row["seq"]), kind, subject, ref)
        market.timers.add(timer)
        if kind == TimerKind.ACCOUNT_SILENT:
            market.accounts[subject].cancel_after = timer
        elif kind == TimerKind.FORGET:
            market.references[subject, ref] = export_reference(memory, subject, ref)


def export_reference(memory: MarketMemory, account: int, ref: int) -> Reference:
    """Rebuild what is remembered under a `ref`. O(references)."""
    cells = memory.arrays[at.INDEX_TABLE]
    signed = ref - _U64 if ref >= _U64 // 2 else ref
    match: Any = cells[(cells["slot"] != 0) & (cells["a"] == account) & (cells["b"] == signed)]
    row = memory.arrays[at.REFERENCE][int(match[0]["slot"])]
    content = Command(*(int(row[name]) for name in Command._fields))
    return Reference(content, *(int(row[name]) for name in ("first_seq", "first_order", "filled_qty", "code")))
