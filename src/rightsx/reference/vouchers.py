"""Offline vouchers: units frozen at their value for a till without a network (R28).

    lock ───────────── redeemable ─────────────► lock + ttl ── late uploads ──► lapse
     │ v(lock) holds, the units do not decay                                     │ decay booked,
     └ worst case told: q × v × (terminals − 1)                                  └ units come back

A voucher's id is `series << 32 | n`, so that an upload can be answered `SeriesExpired` after its row
is forgotten. Rows stay until expiry, because a late second upload must still be recognised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rightsx.protocol import TIME_END, EventKind, Policy, Refusal
from rightsx.reference.lots import lots_return, lots_take
from rightsx.reference.plans import units_recall, usable_qty
from rightsx.reference.redemption import settlement_account
from rightsx.reference.state import Market, Series, TimerKind, Voucher, escrow_share

if TYPE_CHECKING:
    from rightsx.protocol import Command

_U64 = 2**64


def lock_voucher(market: Market, command: Command) -> None:
    """Freeze free units at their value for named terminals (R28)."""
    series = admit_lock(market, command)
    # From here the command must succeed.
    qty, now = command.qty, market.clock_ns
    series.voucher_count += 1
    voucher_id = series.id << 32 | series.voucher_count
    redeem_end, lapse = now + command.deadline_ns, now + command.deadline_ns + command.display
    units_recall(market, series, command.account, qty)
    lots = lots_take(market.holding(command.account, series), qty)
    market.units_move(command.account, series, free=-qty, voucher=qty)
    terminals = command.stop_price % _U64
    timer_seq = market.arm(lapse, TimerKind.VOUCHER_LAPSE, voucher_id).seq
    series.vouchers[voucher_id] = Voucher(
        id=voucher_id,
        account=command.account,
        qty=qty,
        value=series.value,
        lock_ns=now,
        redeem_end_ns=redeem_end,
        lapse_ns=lapse,
        timer_seq=timer_seq,
        terminals=terminals,
        lots=lots,
    )
    series.voucher_units += qty
    series.voucher_face += qty * series.value
    market.emit(
        EventKind.VOUCHER_LOCKED,
        series=series.id,
        order_id=voucher_id,
        other_order_id=command.stop_price,
        account=command.account,
        price=series.value,
        qty=qty,
        amount=qty * series.value * (terminals.bit_count() - 1),
        fee=redeem_end,
        other_fee=lapse,
    )


def admit_lock(market: Market, command: Command) -> Series:
    """Make every check of a voucher lock."""
    qty, ttl, grace = command.qty, command.deadline_ns, command.display
    known = market.find_series(command.series)
    market.check_qty(qty)
    market.refuse_if(not 0 < ttl < TIME_END, Refusal.BadTime, "deadline_ns", ttl, 1)
    market.refuse_if(not 0 <= grace < TIME_END, Refusal.BadTime, "display", grace, 0)
    registered = len(market.accounts[known.merchant].terminals) if known else 64
    named = command.stop_price % _U64
    market.refuse_if(not 0 < named < 1 << registered, Refusal.BadTerms, "stop_price", command.stop_price, registered)
    market.check_reference(command)
    account = market.known_account(command.account)
    series = market.known_series(command.series)
    market.check_living(series, account)
    now, end = market.clock_ns, series.terms.expire_ns
    market.refuse_if(series.value == 0, Refusal.NoRedeemableValue, "series", series.id)
    market.refuse_if(now + ttl + grace > end, Refusal.VoucherBeyondExpiry, "deadline_ns", ttl + grace, end - now)
    usable = usable_qty(market, series, account.id)
    market.refuse_if(qty > usable, Refusal.InsufficientUnits, "qty", qty, usable)
    return series


def upload_voucher(market: Market, command: Command) -> None:
    """Book what a terminal redeemed offline: the first upload wins (R28)."""
    series, voucher = admit_upload(market, command)
    # From here the command must succeed.
    goods = voucher.qty * voucher.value
    store = command.other_account if command.other_account in series.stores else 0
    payee = settlement_account(market, series, store)
    share = escrow_share(series, series.base_of(voucher.qty, voucher.value))
    voucher.redeemed = True
    voucher.lots = []
    market.disarm_voucher(voucher)
    market.units_move(voucher.account, series, voucher=-voucher.qty)
    series.units -= voucher.qty
    series.voucher_units -= voucher.qty
    series.voucher_face -= goods
    series.redeemed += goods
    market.emit(
        EventKind.VOUCHER_REDEEMED,
        series=series.id,
        order_id=voucher.id,
        account=voucher.account,
        other_account=payee,
        price=voucher.value,
        qty=voucher.qty,
        amount=goods,
        extra=store,
        flags=command.display,
        fee=command.deadline_ns,
    )
    market.escrow_pay(series, payee, share)


def admit_upload(market: Market, command: Command) -> tuple[Series, Voucher]:
    """Make the checks of an upload in R28's own order, and no others."""
    terminal, redeemed_ns = command.display, command.deadline_ns
    market.check_reference(command)
    series = market.find_series(command.order_id >> 32)
    voucher = series.vouchers.get(command.order_id) if series else None
    known = series is not None and 0 < command.order_id & 0xFFFF_FFFF <= series.voucher_count
    market.refuse_if(not known, Refusal.UnknownVoucher, "order_id", command.order_id)
    assert series is not None
    market.check_unexpired(series)
    assert voucher is not None
    named = 0 < terminal <= 64 and voucher.terminals >> (terminal - 1) & 1  # noqa: PLR2004 - bits of the record
    market.refuse_if(not named, Refusal.TerminalNotAllowed, "display", terminal)
    in_time = voucher.lock_ns <= redeemed_ns < voucher.redeem_end_ns
    market.refuse_if(not in_time, Refusal.VoucherExpired, "deadline_ns", redeemed_ns, voucher.redeem_end_ns - 1)
    borne = voucher.qty * voucher.value
    if voucher.redeemed:
        # The one refusal that writes an entry (R35): the merchant bears what was consumed twice.
        market.emit(
            EventKind.DOUBLE_REDEEMED,
            series=series.id,
            order_id=voucher.id,
            account=voucher.account,
            other_account=series.merchant,
            qty=voucher.qty,
            amount=borne,
            flags=terminal,
        )
    market.refuse_if(voucher.redeemed, Refusal.DoubleRedeem, "display", terminal)
    market.refuse_if(voucher.lapsed, Refusal.VoucherLapsed, "time_ns", market.clock_ns, voucher.lapse_ns - 1)
    return series, voucher


def lapse(market: Market, series: Series, voucher: Voucher, *, releases: bool = True) -> None:
    """Return a voucher's units to the holder and book the decay that they missed (R28, R29)."""
    missed = voucher.qty * (voucher.value - series.value)
    frees = releases and series.terms.policy == Policy.FORFEIT
    share = escrow_share(series, missed) if frees else 0
    voucher.lapsed = True
    series.voucher_units -= voucher.qty
    series.voucher_face -= voucher.qty * voucher.value
    series.decayed += missed
    holding = market.units_move(voucher.account, series, free=voucher.qty, voucher=-voucher.qty)
    lots_return(holding, voucher.lots)
    voucher.lots = []
    market.emit(
        EventKind.VOUCHER_LAPSED,
        series=series.id,
        order_id=voucher.id,
        account=voucher.account,
        qty=voucher.qty,
        price=series.value,
        amount=missed,
    )
    market.escrow_pay(series, series.merchant, share)


def voucher_due(market: Market, voucher_id: int) -> None:
    """Let a voucher lapse whose upload did not come."""
    series = market.series[(voucher_id >> 32) - 1]
    lapse(market, series, series.vouchers[voucher_id])
