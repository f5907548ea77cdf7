"""Whether the books add up, and what the whole state is, in one canonical order (R11, R36).

`check` believes nothing that it can work out another way: cash from deposits, holdings from orders and
vouchers, lots from quantities, locks from R17's formula, the face ledger from R11. It is what every
test calls after every command. `state_hash` covers everything that decides anything, so two markets
with one hash answer every later command alike; the order of its rows is stated in FORMATS.md, because
another engine has to reproduce it.
"""

from __future__ import annotations

import hashlib
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

import msgpack

from rightsx.errors import AuditError
from rightsx.protocol import BPS, CASH_END, Side, TimeInForce
from rightsx.reference.settle import ceil_bps, lock_due
from rightsx.reference.state import Plan, TimerKind, series_timer
from rightsx.reference.value import sweep_price

if TYPE_CHECKING:
    from rightsx.reference.book import Order
    from rightsx.reference.lots import Holding, Lot
    from rightsx.reference.state import Market, Series


def require(holds: bool, claim: str, *values: object) -> None:  # noqa: FBT001 - a claim reads as one
    """Raise `AuditError` naming a claim that does not hold, with the values that break it."""
    if not holds:
        raise AuditError(f"{claim}: {', '.join(map(str, values))}")


def check(market: Market) -> None:
    """Verify R36 and R11 completely, and every sum that the state keeps twice. O(state)."""
    check_cash(market)
    for series in market.series:
        check_face(series)
        check_units(market, series)
        check_book(market, series)
        check_plans(market, series)
    check_timers(market)
    plans = sum(len(series.plans) for series in market.series)
    require(plans == market.plan_count, "plans are counted wrongly", plans, market.plan_count)
    rows = sum(len(series.holdings) for series in market.series)
    require(rows == market.holding_count, "holdings are counted wrongly", rows, market.holding_count)


def check_cash(market: Market) -> None:
    """Verify that cash is conserved and that what is locked is locked by orders (R17, R36)."""
    balances = [cash for account in market.accounts for cash in (account.cash_free, account.cash_locked)]
    escrows = [series.escrow for series in market.series]
    total = sum(balances) + sum(escrows)
    due = market.deposited - market.withdrawn - market.charged_back
    require(total == due, "cash is not conserved (R36)", total, due)
    require(min([0, *balances, *escrows]) == 0, "an account or an escrow is negative (R36)")
    require(due < CASH_END, "cash is beyond R1's limit", due)
    for account in market.accounts:
        locked = sum(order.cash_locked for order in account.orders.values())
        require(locked == account.cash_locked, "locked cash is not that of the orders (R17)", account.id, locked)
        require(not (account.frozen and account.orders), "a frozen account has orders (R32)", account.id)


def check_face(series: Series) -> None:
    """Verify the face ledger, the escrow's base and the cumulative totals of the primary sale (R6, R11, R12)."""
    terms = series.terms
    gone = series.redeemed + series.decayed + series.decayed_before_sale + series.expired_face
    gone += series.refunded + series.bought_back + series.defaulted_face
    owed = series.face_owed if series.live else 0
    require(
        series.sold * terms.par == gone + owed, "the face ledger is off (R11)", series.id, series.sold * terms.par, gone, owed
    )
    require(series.base != 0 or series.escrow == 0, "escrow stands for nothing (R12)", series.id, series.escrow)
    require(series.sold <= terms.authorised, "more sold than authorised (R5)", series.id)
    require(series.fee_total == ceil_bps(series.gross * terms.issue_bps), "the issue fee is off (R6)", series.id)
    escrow_due = ceil_bps(series.gross * terms.escrow_bps)
    require(series.escrow_total <= escrow_due, "the escrow total is off (R6)", series.id)
    # f + x of one sale is below g × (both rates) + 2, so where that is at most g the limit g − f never held back.
    unlimited = terms.issue_price * (BPS - terms.issue_bps - terms.escrow_bps) >= 2 * BPS
    require(not unlimited or series.escrow_total == escrow_due, "the escrow total is off (R6)", series.id)
    require(sum(series.channel_sold.values()) == series.sold, "channels do not add up to sold (R45)", series.id)
    require(sum(series.channel_gross.values()) == series.gross, "channels do not add up to G (R45)", series.id)


def check_units(market: Market, series: Series) -> None:
    """Verify that units are conserved and that lots, orders and vouchers agree with holdings (R15, R36)."""
    units = sum(holding.units for holding in series.holdings.values())
    require(units == series.units, "units are not conserved (R36)", series.id, units, series.units)
    live = [voucher for voucher in series.vouchers.values() if not voucher.redeemed and not voucher.lapsed]
    face = sum(voucher.qty * voucher.value for voucher in live)
    require(face == series.voucher_face, "voucher face is off (R11)", series.id)
    require(sum(voucher.qty for voucher in live) == series.voucher_units, "voucher units are off", series.id)
    for account, holding in series.holdings.items():
        orders = [order for order in market.accounts[account].orders.values() if order.series == series.id]
        offered = sum(order.open_qty for order in orders if order.side == Side.SELL)
        bid = sum(order.open_qty for order in orders if order.side == Side.BUY)
        frozen = sum(voucher.qty for voucher in live if voucher.account == account)
        found = (holding.offered_qty, holding.bid_qty, holding.voucher_qty)
        require(found == (offered, bid, frozen), "a holding is not what its orders and vouchers say", series.id, account, found)
        require(min(holding.free_qty, *found) >= 0, "a holding is negative (R36)", series.id, account)
        lots = sum(lot.qty for lot in holding.lots)
        require(all(lot.qty > 0 for lot in holding.lots), "a lot of nothing (R15)", series.id, account)
        require(lots == (holding.free_qty if series.keeps_lots else 0), "lots are off (R15)", series.id, account, lots)
    for voucher in live:
        lots = sum(lot.qty for lot in voucher.lots)
        require(lots == (voucher.qty if series.keeps_lots else 0), "a voucher's lots are off (R15)", voucher.id)


def check_book(market: Market, series: Series) -> None:
    """Verify that every open order is where it should be, locked as it should be, and allowed there."""
    orders = series.orders()
    expected = [order.id for order in market.orders.values() if order.series == series.id]
    require({order.id for order in orders} == set(expected), "an order is lost", series.id)
    require(not orders or not series.closed, "an order outlives last trade (R22)", series.id)
    for order in orders:
        require(order.cash_locked == lock_due(series, order), "a lock is off (R17)", order.id, order.cash_locked)
        require(sweep_price(order) <= series.cap, "an order stands above the cap (R10)", order.id)
        shown = order.id in series.stops or 0 < order.shown_qty <= order.open_qty
        require(shown, "an order shows too much or nothing (R40)", order.id, order.shown_qty)
        lots = sum(lot.qty for lot in order.lots)
        offers = order.side == Side.SELL and series.keeps_lots
        require(lots == (order.open_qty if offers else 0), "an order's lots are off (R15)", order.id, lots)


def check_plans(market: Market, series: Series) -> None:
    """Verify that plans and their orders know each other, and end with trading (R55)."""
    require(not series.plans or not (series.closed or series.defaulted), "a plan outlives last trade (R55)", series.id)
    placed = {plan.order_id for plan in series.plans.values()} & market.orders.keys()
    planned = {order.id for order in series.orders() if order.planned}
    require(placed == planned, "an order is not what its plan placed (R55)", series.id, sorted(placed ^ planned))
    mine = all(market.orders[plan.order_id].account == plan.account for plan in series.plans.values() if plan.order_id in placed)
    require(mine, "a plan sells for somebody else (R55)", series.id)


def check_timers(market: Market) -> None:
    """Verify that exactly what can fall due is armed (R2)."""
    armed = {(timer.kind, timer.seq) for timer in market.timers}
    forgets = [timer for timer in market.timers if timer.kind == TimerKind.FORGET]
    known = {(timer.subject, timer.ref) for timer in forgets} == set(market.references)
    require(known and len(forgets) == len(market.references), "a reference is forgotten twice or never")
    due = {(TimerKind.FORGET, timer.seq) for timer in forgets}
    for order in market.orders.values():
        if order.time_in_force == TimeInForce.GTD:
            due.add((TimerKind.ORDER_DUE, order.timer_seq))
    due |= {(TimerKind.ACCOUNT_SILENT, one.cancel_after.seq) for one in market.accounts if one.cancel_after}
    for series in market.series:
        waiting = [voucher for voucher in series.vouchers.values() if not voucher.redeemed and not voucher.lapsed]
        due |= {(TimerKind.VOUCHER_LAPSE, voucher.timer_seq) for voucher in waiting}
        due |= {(TimerKind.PLAN_DUE, plan.timer_seq) for plan in series.plans.values() if plan.step <= plan.falls}
        due |= {(kind, series.id) for kind in life_ahead(market, series)}
    require(armed == due, "timers are not those that can fall due (R2)", sorted(armed ^ due))


def life_ahead(market: Market, series: Series) -> set[TimerKind]:
    """List what should still fall due in a series' life."""
    expiry = series_timer(series.terms.expire_ns, TimerKind.EXPIRY, series.id)
    if series.expired or (series.defaulted and expiry not in market.timers):
        return set()
    ahead = {TimerKind.EXPIRY}
    if series.defaulted:
        return ahead
    if not series.closed:
        ahead.add(TimerKind.LAST_TRADE)
    if series.in_auction and not series.uncross_waits:
        ahead.add(TimerKind.UNCROSS)
    if series.step_index < len(series.steps):
        ahead.add(TimerKind.DECAY)
    return ahead


# ── the canonical state ──────────────────────────────────────────────────────────────────────────


def state_hash(market: Market) -> str:
    """Hash the canonical state with SHA-256; equal states give equal hashes. O(state)."""
    return hashlib.sha256(msgpack.packb(canonical(market))).hexdigest()


def canonical(market: Market) -> list[Any]:
    """List everything that decides anything: the venue, counters, accounts, registries, series, references, timers."""
    counters = (
        market.clock_ns,
        market.command_seq,
        market.event_seq,
        market.accept_seq,
        market.lot_seq,
        market.timer_seq,
        market.next_order_id,
        int(market.killed),
        market.deposited,
        market.withdrawn,
        market.charged_back,
    )
    return [
        [market.venue.gift_fee, market.venue.reference_days, *market.venue.limits],
        list(map(_number, counters)),
        [_account_row(account) for account in market.accounts],
        [list(product) for product in market.products],
        [list(store) for store in market.stores],
        list(market.channels),
        sorted(market.tiers.items()),
        sorted((*key, account) for key, account in market.members.items()),
        [_series_rows(series) for series in market.series],
        sorted((*key, claim) for key, claim in market.claims.items()),
        sorted((*key, *map(int, one.content), *map(int, one[1:])) for key, one in market.references.items()),
        [list(map(int, timer)) for timer in market.timers],
    ]


def _account_row(account: Any) -> list[Any]:
    silent = account.cancel_after.due_ns if account.cancel_after else 0
    switches = (account.is_merchant, account.frozen, account.defaulted)
    limits = (account.tier, account.max_open, account.max_notional)
    return [account.cash_free, account.cash_locked, account.debt, *map(int, switches), *limits, silent, account.terminals]


def _series_rows(series: Series) -> list[Any]:
    switches = (series.in_auction, series.uncross_waits, series.halted, series.closed, series.expired, series.defaulted)
    sums = (
        series.sold,
        series.gross,
        series.fee_total,
        series.escrow_total,
        series.escrow,
        series.units,
        series.voucher_count,
        series.redeemed,
        series.decayed,
        series.decayed_before_sale,
        series.expired_face,
        series.refunded,
        series.bought_back,
        series.defaulted_face,
    )
    return [
        [series.merchant, series.product, *map(int, series.terms)],
        [list(step) for step in series.steps],
        list(series.stores),
        sorted(series.channel_caps.items()),
        [series.value, series.reference, series.step_index, series.last_price, *map(int, switches)],
        list(sums),
        sorted((channel, series.channel_sold[channel], series.channel_gross[channel]) for channel in series.channel_sold),
        [[_order_row(order) for order in series.book.orders(side)] for side in Side],
        [_order_row(order) for order in sorted(series.stops.values(), key=lambda one: one.accept_seq)],
        [_holding_row(account, series.holdings[account]) for account in sorted(series.holdings)],
        [_voucher_row(series.vouchers[number]) for number in sorted(series.vouchers)],
        # So that states without plans keep their hashes.
        *([[_plan_row(series.plans[account]) for account in sorted(series.plans)]] if series.plans else []),
    ]


_PLAN: Final = tuple(one.name for one in fields(Plan))


def _plan_row(plan: Plan) -> list[int]:
    return [getattr(plan, name) for name in _PLAN]


def _order_row(order: Order) -> list[Any]:
    numbers = (
        order.id,
        order.account,
        order.side,
        order.limit,
        order.open_qty,
        order.shown_qty,
        order.display,
        order.filled_qty,
        order.flags,
        order.time_in_force,
        order.deadline_ns,
        order.stop_price,
        order.budget,
        order.accept_seq,
        order.timer_seq,
        order.fee_owed,
        order.fee_charged,
        order.royalty_owed,
        order.cash_locked,
        *([order.peg] if order.peg else []),  # so that states without pegs keep their hashes
    )
    return [*map(_number, numbers), _lot_rows(order.lots)]


def _number(number: int) -> int | str:
    """Write a sum that may pass 2^63, which msgpack cannot write, as text."""
    return int(number) if abs(number) < 2**63 else str(number)


def _lot_rows(lots: Any) -> list[list[int]]:
    rows: list[Lot] = list(lots)
    return [[lot.acquired_ns, lot.seq, lot.qty, lot.cost, int(lot.primary)] for lot in rows]


def _holding_row(account: int, holding: Holding) -> list[Any]:
    return [account, holding.free_qty, holding.offered_qty, holding.voucher_qty, holding.bid_qty, _lot_rows(holding.lots)]


def _voucher_row(voucher: Any) -> list[Any]:
    times = (voucher.lock_ns, voucher.redeem_end_ns, voucher.lapse_ns, voucher.timer_seq)
    ended = (int(voucher.redeemed), int(voucher.lapsed))
    return [voucher.id, voucher.account, voucher.qty, voucher.value, *times, voucher.terminals, *ended, _lot_rows(voucher.lots)]
