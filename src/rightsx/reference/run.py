"""One command in, its events out: the clock, what falls due, references, refusals, dispatch (R2, R35).

    command ─► clock ─► timers due ─► answered before? ─► checks ─► writes ─► remember its `ref`
                 │                          │               │
           ClockBackwards               DUPLICATE        REFUSED        (neither is a leaf of the journal)

A refused command leaves only the clock that it brought and the timers that fired. Each chapter's
function makes all its checks before its first write; `RefusedError` ends the checks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rightsx.protocol import (
    AT_ENGINE_CLOCK,
    DAY_NS,
    FIRST_COLD_KIND,
    TIME_END,
    Command,
    CommandKind,
    Event,
    EventKind,
    Refusal,
)
from rightsx.reference import (
    auction,
    baskets,
    default,
    holders,
    listing,
    orders,
    plans,
    primary,
    publication,
    redemption,
    switches,
    transfer,
    value,
    vouchers,
)
from rightsx.reference.state import Market, Reference, RefusedError, Timer, TimerKind
from rightsx.vocabulary import saturated
from rightsx.wording import field_number

if TYPE_CHECKING:
    from collections.abc import Callable

_HOT: Final[dict[CommandKind, Callable[[Market, Command], None]]] = {
    CommandKind.PLACE: orders.place,
    CommandKind.CANCEL: orders.cancel,
    CommandKind.AMEND: orders.amend,
    CommandKind.CANCEL_ALL: orders.cancel_all,
    CommandKind.CANCEL_AFTER: orders.cancel_after,
    CommandKind.SUBSCRIBE: primary.subscribe,
    CommandKind.GRANT: primary.grant,
    CommandKind.TRANSFER: transfer.transfer,
    CommandKind.REDEEM: redemption.redeem,
    CommandKind.REDEEM_BILL: redemption.redeem_bill,
    CommandKind.REFUND: redemption.refund,
    CommandKind.LOCK_VOUCHER: vouchers.lock_voucher,
    CommandKind.UPLOAD_VOUCHER: vouchers.upload_voucher,
    CommandKind.HALT: switches.halt,
    CommandKind.RESUME: switches.resume,
    CommandKind.FREEZE: default.freeze,
    CommandKind.UNFREEZE: default.unfreeze,
    CommandKind.KILL: switches.kill,
    CommandKind.UNKILL: switches.unkill,
    CommandKind.DEFAULT: default.default,
    CommandKind.CHARGEBACK: default.chargeback,
    CommandKind.DEPOSIT: transfer.deposit,
    CommandKind.WITHDRAW: transfer.withdraw,
    CommandKind.ADVANCE: switches.advance,
    CommandKind.OPEN_ACCOUNT: holders.open_account,
    CommandKind.SET_ACCOUNT: holders.set_account,
    CommandKind.SET_TIER: holders.set_tier,
    CommandKind.PUBLISH: publication.publish,
    CommandKind.PAY_BILL: baskets.pay_bill,
    CommandKind.BUY_PRODUCT: baskets.buy_product,
    CommandKind.ROLL: baskets.roll,
    CommandKind.PLAN_SALE: plans.plan_sale,
}
_COLD: Final[dict[CommandKind, Callable[[Market, Command, dict[str, Any]], None]]] = {
    CommandKind.REGISTER_MERCHANT: listing.register_merchant,
    CommandKind.REGISTER_STORE: listing.register_store,
    CommandKind.REGISTER_TERMINAL: listing.register_terminal,
    CommandKind.REGISTER_CHANNEL: listing.register_channel,
    CommandKind.LIST_SERIES: listing.list_series,
    CommandKind.IMPORT_MEMBERS: primary.import_members,
}


def run(market: Market, command: Command, payload: dict[str, Any]) -> list[Event]:
    """Apply one command: run what falls due, then accept or refuse it; gives all events in order."""
    market.out = []
    market.checked = 0
    market.command_seq += 1
    try:
        set_clock(market, command)
        if not answer_again(market, command, payload):
            start = len(market.out)
            perform(market, command, payload)
            remember(market, command, payload, start)
    except RefusedError as refusal:
        refuse(market, command, refusal)
    return market.out


def set_clock(market: Market, command: Command) -> None:
    """Move the clock to the command's time, running everything due by then (R2)."""
    time_ns = market.clock_ns if command.time_ns == AT_ENGINE_CLOCK else command.time_ns
    market.refuse_if(time_ns < market.clock_ns, Refusal.ClockBackwards, "time_ns", time_ns, market.clock_ns)
    market.refuse_if(time_ns >= TIME_END, Refusal.BadTime, "time_ns", time_ns, TIME_END - 1)
    fire_due(market, time_ns)
    market.clock_ns = time_ns
    market.checked = 0


def perform(market: Market, command: Command, payload: dict[str, Any]) -> None:
    """Hand a command to its chapter."""
    kind = CommandKind(command.kind)
    if kind < FIRST_COLD_KIND:
        _HOT[kind](market, command)
    else:
        _COLD[kind](market, command, payload)


def refuse(market: Market, command: Command, refusal: RefusedError) -> None:
    """Answer a refusal: the code, the field at fault, what was found and what is allowed (R35)."""
    market.emit(
        EventKind.REFUSED,
        series=command.series,
        account=command.account,
        code=refusal.code,
        extra=command.kind,
        flags=field_number(command.kind, refusal.field),
        amount=saturated("price", refusal.found),  # a sum over a batch, or a ref, may be beyond the field
        fee=saturated("price", refusal.allowed),
    )


# ── what falls due (R2) ──────────────────────────────────────────────────────────────────────────


def fire_due(market: Market, until_ns: int) -> None:
    """Run every timer due by then in order of (due, class, creation), each finished before the next."""
    while market.timers and market.timers[0].due_ns <= until_ns:
        timer = market.timers.pop(0)
        market.clock_ns = timer.due_ns
        fire(market, timer)


def fire(market: Market, timer: Timer) -> None:
    """Let one timer take effect."""
    if timer.kind in _SERIES_TIMERS:
        _SERIES_TIMERS[timer.kind](market, market.series[timer.subject - 1])
    elif timer.kind == TimerKind.FORGET:
        forget(market, (timer.subject, timer.ref))
    elif timer.kind == TimerKind.PLAN_DUE:
        plans.plan_due(market, timer.subject, market.series[timer.ref - 1])
    else:
        _OTHER_TIMERS[timer.kind](market, timer.subject)


_SERIES_TIMERS: Final[dict[TimerKind, Callable[[Market, Any], None]]] = {
    TimerKind.DECAY: value.decay,
    TimerKind.UNCROSS: auction.uncross_due,
    TimerKind.LAST_TRADE: value.last_trade,
    TimerKind.EXPIRY: value.expire,
}
_OTHER_TIMERS: Final[dict[TimerKind, Callable[[Market, int], None]]] = {
    TimerKind.VOUCHER_LAPSE: vouchers.voucher_due,
    TimerKind.ORDER_DUE: orders.order_expire,
    TimerKind.ACCOUNT_SILENT: orders.account_silent,
}


# ── references (RULES.md, clarifications) ────────────────────────────────────────────────────────


def reference_key(command: Command, payload: dict[str, Any]) -> tuple[int, int] | None:
    """Give the (account, ref) under which a command is remembered, or None; a cold `ref` is in its payload."""
    ref = payload["ref"] if command.kind >= FIRST_COLD_KIND else command.ref
    return (command.account, ref) if ref else None


def answer_again(market: Market, command: Command, payload: dict[str, Any]) -> bool:
    """Answer a command that was accepted before under the same `ref`; False if it is another one."""
    key = reference_key(command, payload)
    known = market.references.get(key) if key else None
    if known is None or known.content != command._replace(time_ns=0):
        return False
    market.emit(
        EventKind.DUPLICATE,
        series=command.series,
        account=command.account,
        order_id=known.order_id,
        other_order_id=known.command_seq,
        qty=known.filled_qty,
        code=known.code,
    )
    return True


def remember(market: Market, command: Command, payload: dict[str, Any], start: int) -> None:
    """Remember an accepted command with a `ref`, and when to forget it."""
    key = reference_key(command, payload)
    if key is None:
        return
    events = market.out[start:]
    # What a plan's order gives back to a redemption or a voucher is no answer to it.
    naming = (EventKind.ACCEPTED, EventKind.VOUCHER_LOCKED, *([EventKind.AMENDED] if command.kind == CommandKind.AMEND else []))
    named = [event for event in events if event.kind in naming]
    order_id = named[0].order_id if named else 0
    fills = [event for event in events if event.kind == EventKind.FILL]
    filled = sum(event.qty for event in fills if order_id in (event.order_id, event.other_order_id))
    ends = [event.code for event in events if event.kind == EventKind.CANCELLED and event.order_id == order_id]
    market.references[key] = Reference(
        content=command._replace(time_ns=0),
        command_seq=market.command_seq,
        order_id=order_id,
        filled_qty=filled,
        code=ends[0] if ends else 0,
    )
    account, ref = key
    market.arm(market.clock_ns + market.venue.reference_days * DAY_NS, TimerKind.FORGET, account, ref)


def forget(market: Market, key: tuple[int, int]) -> None:
    """Forget a reference; the same `ref` is new again."""
    del market.references[key]
    account, ref = key
    signed = ref - 2**64 if ref >= 2**63 else ref
    market.emit(EventKind.REFERENCE_FORGOTTEN, account=account, order_id=signed)
