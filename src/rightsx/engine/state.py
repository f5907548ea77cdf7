"""The state of the market in tables, and the few ways in which all of it changes.

    WORLD ── clock, counters, what runs now          TASK ── what is still to be done of the running command
      │
      ├─ ACCOUNT, HOLDING, LOT (`accounts`)          ORDER, SIDE, NODE (`book`) ── TICKET, OWN beside each order
      ├─ SERIES ── STEP, SHOP, CHANNEL, VOUCHER      TIMER (`expiry`)
      └─ STORE, PRODUCT, TIER, CLAIM, PLAN, REFERENCE   SCRATCH ── lists put in order

The chapters of RULES.md (`orders`, `value`, `redemption`, …) change it; the functions here are what they
share. A chapter's `admit_…` gives 0, or the number of the refusal with its field and values left in
WORLD by `no`; the checks of all verbs come in the order of those numbers. Then come writes alone.

Nothing allocates. What can touch many rows (a sweep, an uncross, an expiry) is a task on a small stack;
its step needs at most the rows that `has_room_for_step` has made sure of, so a run can stop between two
steps for a full buffer or a short table and go on from there. A table is short when fewer than a step's
rows were never used, whatever its free list holds: so it grows at the same command in every run.

Series have four sides of a book: 4 s buys, 4 s + 1 sells, 4 s + 2 stops that wait for a rise, 4 s + 3
stops that wait for a fall; a stop is queued by its stop price.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from rightsx._jit import kernel, leading_zeros, leaf, mul_div, row_clear, shift_right, table, wide, wrap_mul
from rightsx.accounts import (
    account_at,
    funds_at,
    holding_at,
    holding_drop,
    holding_find,
    holding_make,
    lot_append,
    lot_make,
)
from rightsx.book import FLAG_BITS, FLAG_MASK, has_room, order_at, side_at
from rightsx.engine.numbers import (
    ACCOUNT_FROZEN,
    BAD_AMOUNT,
    BAD_QUANTITY,
    E_ESCROW_RELEASED,
    E_REFUSED,
    F_ACCOUNT,
    F_QTY,
    F_TIME_NS,
    FORFEIT,
    MERCHANT_DEFAULTED,
    SERIES_EXPIRED,
)
from rightsx.expiry import timer_at, wheel_arm, wheel_disarm, wheel_has_room
from rightsx.protocol import BPS, COMMAND, EVENT, EVENT_LENGTH, EVENT_VERSION, PRICE_END, QTY_END, Terms

# ── tables ───────────────────────────────────────────────────────────────────────────────────────


def _numbers(*names: str) -> list[tuple[str, str]]:
    return [(name, "<i8") for name in names]


WORLD: Final = np.dtype(
    _numbers(
        "clock_ns",
        "command_seq",
        "event_seq",
        "accept_seq",
        "timer_seq",
        "next_order_id",
        "killed",
        # Sums of all deposits, withdrawals and chargebacks, in two parts: high × 2^62 + low.
        "deposited",
        "deposited_high",
        "withdrawn",
        "withdrawn_high",
        "charged_back",
        "charged_back_high",
        "cash",  # deposits − withdrawals − chargebacks
        # the venue
        "gift_fee",
        "reference_ns",
        # registries
        "series_count",
        "store_count",
        "product_count",
        "channel_count",
        # tables
        "voucher_free",
        "voucher_used",
        "voucher_rows",
        "channel_used",
        "channel_rows",
        "claim_used",
        "claim_rows",
        "plan_free",
        "plan_used",
        "plan_rows",
        "plan_count",
        "reference_free",
        "reference_used",
        "reference_rows",
        "index_shift",
        "index_count",
        "scratch_rows",
        "scratch_need",
        # the batch
        "event_count",
        "event_rows",
        "row",
        "phase",
        "until_ns",
        "depth",  # tasks on the stack
        # the running command
        "no_field",
        "no_found",
        "no_allowed",
        "ref",
        "memo",
        "memo_order",
        "memo_filled",
        "memo_code",
        "traded",
        "traded_low",
        "traded_high",
        "held",  # 1 while Python runs commands that are not row 0's, or moves tables
    )
)
SERIES: Final = np.dtype(
    [
        # what the plain path of an order reads
        *_numbers("open_until_ns", "price_low", "price_high", "size_low", "size_high", "dear_bps", "value", "last_price"),
        ("merchant", "<i4"),
        ("order_count", "<i4"),
        ("keeps_lots", "i1"),
        ("in_auction", "i1"),
        ("uncross_waits", "i1"),
        ("halted", "i1"),
        ("closed", "i1"),
        ("expired", "i1"),
        ("defaulted", "i1"),
        ("has_moving", "i1"),  # whether an order that moves with the value, a peg or a plan's, was ever accepted
        # the terms, as listed (R3)
        *_numbers(*Terms._fields),
        # the sums (R6, R11, R12)
        *_numbers(
            "reference", "sold", "gross", "fee_total", "escrow_total", "escrow", "units", "voucher_units", "voucher_face",
            "redeemed", "decayed", "decayed_before_sale", "expired_face", "refunded", "bought_back", "defaulted_face",
        ),
        # what belongs to it
        *(
            (name, "<i4")
            for name in (
                "product", "product_next", "first_holding", "holding_count", "first_channel", "shop_start", "shop_count",
                "step_start", "step_count", "step_index", "first_voucher", "last_voucher", "voucher_count",
                "decay_timer", "uncross_timer", "last_trade_timer", "expiry_timer", "first_plan",
                # its part in a command over several books (R50): units, worst price, the level that is looked at next
                "leg_qty", "leg_price", "leg_level", "spare",
            )
        ),
    ]
)  # fmt: skip
STEP: Final = np.dtype(_numbers("ns", "value"))
SHOP: Final = np.dtype([("store", "<i4")])
STORE: Final = np.dtype([("merchant", "<i4"), ("settles_to", "<i4")])
PRODUCT: Final = np.dtype([("merchant", "<i4"), ("first_series", "<i4")])
CHANNEL: Final = np.dtype([("channel", "<i4"), ("next", "<i4"), *_numbers("cap", "sold", "gross")])
TIER: Final = np.dtype(_numbers("cap"))
CLAIM: Final = np.dtype([("account", "<i4"), ("series", "<i4"), ("amount", "<i8")])
VOUCHER: Final = np.dtype(
    [
        *_numbers("id", "qty", "value", "lock_ns", "redeem_end_ns", "lapse_ns", "timer_seq", "terminals"),
        ("account", "<i4"),
        ("timer", "<i4"),
        ("first_lot", "<i4"),
        ("next", "<i4"),
        ("redeemed", "<i4"),
        ("lapsed", "<i4"),
    ]
)
# What an account sells of a series if it is still unused, and how far that has come (R55); row 0 is nobody's.
PLAN: Final = np.dtype(
    [
        *_numbers("start_ns", "price", "last_price", "falls", "keep", "step", "order_id", "timer_seq"),
        *((name, "<i4") for name in ("account", "series", "timer", "next", "prev", "spare")),
    ]
)
# What settlement keeps beside an order (R17, R18, R38, R41); same slot.
TICKET: Final = np.dtype(
    [
        *_numbers("limit", "stop_price", "deadline", "accept_seq", "filled_qty", "fee_charged", "cash_locked", "royalty_held"),
        ("series", "<i4"),
        ("holding", "<i4"),
        ("first_lot", "<i4"),
        ("last_lot", "<i4"),
        ("timer", "<i4"),
        ("fee_slack", "<i2"),  # fee_charged × 10,000 − Σ notional × bps
        ("royalty_rest", "<i2"),  # Σ notional × bps modulo 10,000
        ("side", "i1"),
        ("time_in_force", "i1"),
        ("place", "i1"),  # where it is: LOOSE, RESTING or WAITING
        ("planned", "i1"),  # whether a plan placed it (R55)
        ("peg", "<i4"),  # bps of v, or below 0 what it stays below v; 0 of an order that is none (R54)
    ]
)
OWN: Final = np.dtype([("next", "<i4"), ("prev", "<i4")])  # orders of one account, in order of acceptance
REFERENCE: Final = np.dtype([*COMMAND.descr, *_numbers("first_seq", "first_order", "filled_qty", "code")])
INDEX: Final = np.dtype(_numbers("a", "b", "slot"))
TASK: Final = np.dtype(_numbers("kind", "a", "b", "c", "d", "e", "f", "g", "h"))
SCRATCH: Final = np.dtype(_numbers("key", "slot"))
COUNTER: Final = np.dtype(_numbers("count"))

OTHER_TABLES: Final = (
    WORLD, SERIES, STEP, SHOP, STORE, PRODUCT, CHANNEL, TIER, CLAIM, VOUCHER, TICKET, OWN, REFERENCE, INDEX, TASK, SCRATCH,
    COUNTER, PLAN,
)  # fmt: skip
COMMANDS, EVENTS, AT_WORLD = 7, 8, 18
command_at = table(COMMANDS, COMMAND)
event_at = table(EVENTS, EVENT)
world_at = table(AT_WORLD, WORLD)
series_at = table(AT_WORLD + 1, SERIES)
step_at = table(AT_WORLD + 2, STEP)
shop_at = table(AT_WORLD + 3, SHOP)
store_at = table(AT_WORLD + 4, STORE)
product_at = table(AT_WORLD + 5, PRODUCT)
channel_at = table(AT_WORLD + 6, CHANNEL)
tier_at = table(AT_WORLD + 7, TIER)
claim_at = table(AT_WORLD + 8, CLAIM)
voucher_at = table(AT_WORLD + 9, VOUCHER)
ticket_at = table(AT_WORLD + 10, TICKET)
own_at = table(AT_WORLD + 11, OWN)
reference_at = table(AT_WORLD + 12, REFERENCE)
index_at = table(AT_WORLD + 13, INDEX)
task_at = table(AT_WORLD + 14, TASK)
scratch_at = table(AT_WORLD + 15, SCRATCH)
counter_at = table(AT_WORLD + 16, COUNTER)
plan_at = table(AT_WORLD + 17, PLAN)

NIL: Final = 0
LOOSE, RESTING, WAITING = 0, 1, 2
TASK_ROWS: Final = 16  # more than any nesting of tasks
DONE, FULL, GROW, COLD, MORE, RARE = 0, 1, 2, 3, 4, 5  # how a run, or a step, ends; MORE: the task is not over
BUSY: Final = COLD  # of a single command, which is never a cold one: others are to be finished first
EVENTS_PER_STEP: Final = 8
ROWS_PER_STEP: Final = 4
VOUCHERS: Final = -1  # the `a` of a voucher's index key; of a reference it is the account
PLANS: Final = -2  # the `a` of an account's plans is this less its number; the `b` is the series

# ── room ─────────────────────────────────────────────────────────────────────────────────────────


@leaf
def room_for_plain(state: int) -> bool:
    """Say whether a plain order or one of its fills has all the rows that it may need."""
    world = world_at(state, 0)
    funds = funds_at(state, 0)
    events = world["event_count"] + EVENTS_PER_STEP <= world["event_rows"]
    holdings = funds["holding_used"] + ROWS_PER_STEP <= funds["holding_rows"]
    lots = funds["lot_used"] + ROWS_PER_STEP <= funds["lot_rows"]
    return events and holdings and lots and has_room(state)


@kernel
def room_for_step(state: int) -> int:
    """Say whether any step of any task has all the rows that it may need: DONE, FULL or GROW."""
    world = world_at(state, 0)
    if world["event_count"] + EVENTS_PER_STEP > world["event_rows"]:
        return FULL
    if not room_for_plain(state) or not wheel_has_room(state, ROWS_PER_STEP):
        return GROW
    vouchers = world["voucher_used"] + ROWS_PER_STEP <= world["voucher_rows"]
    channels = world["channel_used"] + ROWS_PER_STEP <= world["channel_rows"]
    claims = world["claim_used"] + ROWS_PER_STEP <= world["claim_rows"]
    plans = world["plan_used"] + ROWS_PER_STEP <= world["plan_rows"]
    references = world["reference_used"] + ROWS_PER_STEP <= world["reference_rows"]
    accounts = funds_at(state, 0)["account_count"] + ROWS_PER_STEP <= funds_at(state, 0)["account_rows"]
    index = 2 * (world["index_count"] + ROWS_PER_STEP) <= 1 << (32 - world["index_shift"])
    return DONE if vouchers and channels and claims and plans and references and accounts and index else GROW


@leaf
def scratch_short(state: int, rows: int) -> bool:
    """Say whether SCRATCH is too short to put `rows` rows in order, and note what it needs."""
    world = world_at(state, 0)
    if 2 * rows <= world["scratch_rows"]:
        return False
    world["scratch_need"] = 2 * rows
    return True


# ── saying no, saying what happened ──────────────────────────────────────────────────────────────


@leaf
def no(state: int, code: int, field: int, found: int, allowed: int) -> int:
    """Note what is wrong with the running command, and give the refusal."""
    world = world_at(state, 0)
    world["no_field"] = field
    world["no_found"] = found
    world["no_allowed"] = allowed
    return code


@leaf
def event_write(state: int, kind: int, seq: int) -> int:
    """Begin an event with all its other fields zero; gives its row in EVENTS."""
    world = world_at(state, 0)
    at = world["event_count"]
    world["event_count"] = at + 1
    event = event_at(state, at)
    row_clear(event)
    event["length"] = EVENT_LENGTH
    event["version"] = EVENT_VERSION
    event["kind"] = kind
    event["event_seq"] = seq
    event["time_ns"] = world["clock_ns"]
    event["command_seq"] = world["command_seq"]
    return at


@leaf
def event_begin(state: int, kind: int) -> int:
    """Begin an event that is a leaf of the journal (R37); gives its row in EVENTS."""
    world = world_at(state, 0)
    seq = world["event_seq"]
    world["event_seq"] = seq + 1
    return event_write(state, kind, seq)


@kernel
def event_about(state: int, kind: int, series: int, account: int) -> int:
    """Begin an event about a series and an account; gives its row in EVENTS."""
    at = event_begin(state, kind)
    event = event_at(state, at)
    event["series"] = series
    event["account"] = account
    return at


@kernel
def refuse(state: int, row: int, code: int) -> None:
    """Answer a refusal: the code, the field at fault, what was found and what is allowed (R35)."""
    world = world_at(state, 0)
    command = command_at(state, row)
    event = event_at(state, event_write(state, E_REFUSED, -1))
    event["series"] = wide(command["series"])
    event["account"] = wide(command["account"])
    event["code"] = code
    event["extra"] = wide(command["kind"])
    event["flags"] = world["no_field"]
    event["amount"] = world["no_found"]
    event["fee"] = world["no_allowed"]


# ── finding and checking ─────────────────────────────────────────────────────────────────────────


@leaf
def series_known(state: int, series: int) -> bool:
    """Say whether there is such a series."""
    return 0 < series and series <= world_at(state, 0)["series_count"]


@leaf
def series_live(state: int, series: int) -> bool:
    """Say whether it has neither expired nor been ended by its merchant's default."""
    row = series_at(state, series)
    return row["expired"] == 0 and row["defaulted"] == 0


@leaf
def cap_of(state: int, series: int) -> int:
    """Give the price above which nobody may bid or ask (R10)."""
    row = series_at(state, series)
    return row["value"] * row["cap_bps"] // BPS


@leaf
def band_edge(state: int, series: int, rate: int) -> int:
    """Give reference × rate, rounded half up to the tick (R21)."""
    row = series_at(state, series)
    tick = row["tick"]
    return (row["reference"] * rate * 2 + BPS * tick) // (2 * BPS * tick) * tick


@leaf
def band_low(state: int, series: int) -> int:
    """Give the lowest allowed price (R21)."""
    bps = series_at(state, series)["band_bps"]
    return band_edge(state, series, BPS - bps) if bps != 0 else 1


@leaf
def band_high(state: int, series: int) -> int:
    """Give the highest allowed price (R21)."""
    bps = series_at(state, series)["band_bps"]
    return band_edge(state, series, BPS + bps) if bps != 0 else PRICE_END - 1


@kernel
def series_refresh(state: int, series: int) -> None:
    """Work out what the plain path of an order may take for granted; to be called after any change of it."""
    row = series_at(state, series)
    shut = wide(row["halted"]) | row["in_auction"] | row["closed"] | row["expired"] | row["defaulted"]
    odd = row["hold_ns"] != 0 or row["tick"] != 1 or row["lot"] != 1 or row["resale"] == 0
    row["open_until_ns"] = 0 if shut != 0 or odd else row["last_trade_ns"]
    row["price_low"] = max(1, band_low(state, series))
    row["price_high"] = min(cap_of(state, series), band_high(state, series))
    row["size_low"] = max(1, row["min_qty"])
    row["size_high"] = row["max_qty"] if row["max_qty"] != 0 else QTY_END - 1
    row["dear_bps"] = max(row["maker_bps"], row["taker_bps"])


@leaf
def check_qty(state: int, qty: int) -> int:
    """Refuse a quantity outside R1's range."""
    if 0 < qty < QTY_END:
        return 0
    return no(state, BAD_QUANTITY, F_QTY, qty, 1 if qty <= 0 else QTY_END - 1)


@leaf
def check_amount(state: int, amount: int) -> int:
    """Refuse an amount of nothing or less (R1)."""
    return 0 if amount > 0 else no(state, BAD_AMOUNT, F_QTY, amount, 1)


@leaf
def check_unexpired(state: int, series: int) -> int:
    """Refuse a series from its expiry on (R22)."""
    now = world_at(state, 0)["clock_ns"]
    end = series_at(state, series)["expire_ns"]
    return 0 if now < end else no(state, SERIES_EXPIRED, F_TIME_NS, now, end - 1)


@kernel
def check_living(state: int, series: int, account: int, receiver: int) -> int:
    """Refuse where default, freeze or expiry has ended what an account may do in a series (R22, R29, R32).

    Who receives from the account must not be frozen either (R27).
    """
    if series_at(state, series)["defaulted"] != 0 or account_at(state, account)["defaulted"] != 0:
        return no(state, MERCHANT_DEFAULTED, 0, 0, 0)
    if account_at(state, account)["frozen"] != 0:
        return no(state, ACCOUNT_FROZEN, F_ACCOUNT, account, 0)
    if account_at(state, receiver)["frozen"] != 0:
        return no(state, ACCOUNT_FROZEN, F_ACCOUNT, receiver, 0)
    return check_unexpired(state, series)


# ── holdings ─────────────────────────────────────────────────────────────────────────────────────


@leaf
def holding_of(state: int, account: int, series: int) -> int:
    """Give the slot of a holding, making and linking its row where there is none."""
    slot = holding_find(state, account, series)
    return slot if slot != NIL else holding_begin(state, account, series)


@kernel
def holding_begin(state: int, account: int, series: int) -> int:
    """Make the row of a holding and link it to its series."""
    slot = holding_make(state, account, series)
    row = series_at(state, series)
    first = wide(row["first_holding"])
    holding = holding_at(state, slot)
    holding["next"] = first
    holding["prev"] = NIL
    holding_at(state, first)["prev"] = slot  # of slot 0 nobody reads what is written
    row["first_holding"] = slot
    row["holding_count"] = wide(row["holding_count"]) + 1
    return slot


@leaf
def holding_tidy(state: int, slot: int) -> None:
    """Let a holding's row go if it has neither units nor bids."""
    row = holding_at(state, slot)
    if (wide(row["free_qty"]) | row["offered_qty"] | row["voucher_qty"]) == 0 and row["bid_qty"] == 0:
        holding_end(state, slot)


@kernel
def holding_end(state: int, slot: int) -> None:
    """Unlink a holding from its series and give its row back."""
    holding = holding_at(state, slot)
    series = series_at(state, wide(holding["series"]))
    before = wide(holding["prev"])
    after = wide(holding["next"])
    if before == NIL:
        series["first_holding"] = after
    else:
        holding_at(state, before)["next"] = after
    holding_at(state, after)["prev"] = before
    series["holding_count"] = wide(series["holding_count"]) - 1
    holding_drop(state, slot)


@leaf
def units_receive(state: int, holding: int, qty: int, cost: int, primary: int) -> None:
    """Give a holding units, as a new lot dated now where the series keeps lots (R15)."""
    row = holding_at(state, holding)
    row["free_qty"] = wide(row["free_qty"]) + qty
    if series_at(state, wide(row["series"]))["keeps_lots"] != 0:
        lot_receive(state, holding, qty, cost, primary)


@kernel
def lot_receive(state: int, holding: int, qty: int, cost: int, primary: int) -> None:
    """Add a lot dated now to a holding."""
    funds = funds_at(state, 0)
    funds["lot_seq"] = funds["lot_seq"] + 1
    lot = lot_make(state, world_at(state, 0)["clock_ns"], funds["lot_seq"], qty, cost, primary)
    lot_append(state, holding, lot)


@leaf
def room_for_holding(state: int, account: int, series: int) -> bool:
    """Say whether a holding is there, or fits the venue's limit."""
    funds = funds_at(state, 0)
    return funds["holding_count"] < funds["holding_limit"] or holding_find(state, account, series) != NIL


# ── escrow (R12) ─────────────────────────────────────────────────────────────────────────────────


@leaf
def face_owed(state: int, series: int) -> int:
    """Give L: what the merchant still owes in goods (R11)."""
    row = series_at(state, series)
    return (row["units"] - row["voucher_units"]) * row["value"] + row["voucher_face"]


@leaf
def base_of_all(state: int, series: int) -> int:
    """Give B: what the escrow stands for."""
    row = series_at(state, series)
    return face_owed(state, series) if row["policy"] == FORFEIT else row["units"]


@leaf
def base_of(state: int, series: int, qty: int, value: int) -> int:
    """Give the part of the base that `qty` units of this value make up."""
    return qty * value if series_at(state, series)["policy"] == FORFEIT else qty


@kernel
def escrow_share(state: int, series: int, removed: int) -> int:
    """Work out what a removal from the base releases, before the removal.

    The removal of the whole base releases all of the escrow, so B = 0 leaves E = 0 behind.
    """
    base = base_of_all(state, series)
    escrow = series_at(state, series)["escrow"]
    if base == 0:
        return 0
    return escrow if removed == base else mul_div(escrow, removed, base)


@kernel
def escrow_pay(state: int, series: int, payee: int, amount: int) -> None:
    """Release escrow to an account; nothing is written for 0."""
    if amount == 0:
        return
    row = series_at(state, series)
    row["escrow"] = row["escrow"] - amount
    account = account_at(state, payee)
    account["cash_free"] = account["cash_free"] + amount
    event = event_at(state, event_about(state, E_ESCROW_RELEASED, series, payee))
    event["amount"] = amount


# ── rates ────────────────────────────────────────────────────────────────────────────────────────


@leaf
def bps_up(amount: int, bps: int) -> int:
    """Give ⌈amount × bps / 10,000⌉ for 0 ≤ amount < 2^62, without passing 64 bits."""
    whole = amount // BPS
    return whole * bps + ((amount - whole * BPS) * bps + BPS - 1) // BPS


# ── timers ───────────────────────────────────────────────────────────────────────────────────────


@kernel
def timer_arm(state: int, due_ns: int, rank: int, kind: int, subject: int, ref: int) -> int:
    """Arm a timer that is created now; gives its slot."""
    world = world_at(state, 0)
    world["timer_seq"] = world["timer_seq"] + 1
    return wheel_arm(state, due_ns, rank, world["timer_seq"], kind, subject, ref)


@kernel
def timer_disarm(state: int, slot: int) -> None:
    """Take a timer out, where there is one."""
    if slot != NIL:
        wheel_disarm(state, slot)


@leaf
def timer_seq(state: int, slot: int) -> int:
    """Give the sequence of creation of an armed timer."""
    return timer_at(state, slot)["seq"]


# ── tasks ────────────────────────────────────────────────────────────────────────────────────────


@kernel
def task_push(state: int, kind: int, a: int, b: int) -> None:
    """Put a task on the stack, to be done before what is below it."""
    world = world_at(state, 0)
    task = task_at(state, world["depth"])
    row_clear(task)
    task["kind"] = kind
    task["a"] = a
    task["b"] = b
    world["depth"] = world["depth"] + 1


@leaf
def task_pop(state: int) -> None:
    """Take the task that is over off the stack."""
    world = world_at(state, 0)
    world["depth"] = world["depth"] - 1


# ── the index of vouchers, references and plans ────────────────────────────────────────────────────


@leaf
def index_home(state: int, a: int, b: int) -> int:
    """Give the cell where the search for a key begins."""
    hashed = wrap_mul(b ^ wrap_mul(a, 0x1_0000_0001_0001), -7046029254386353131)
    return shift_right(hashed, 32) >> world_at(state, 0)["index_shift"]


@kernel
def index_place(state: int, a: int, b: int) -> int:
    """Give the cell of a key, or the empty one where it would be entered."""
    last = (1 << (32 - world_at(state, 0)["index_shift"])) - 1
    place = index_home(state, a, b)
    while True:
        cell = index_at(state, place)
        if cell["slot"] == NIL or (cell["a"] == a and cell["b"] == b):
            return place
        place = (place + 1) & last


@kernel
def index_put(state: int, a: int, b: int, slot: int) -> None:
    """Enter a key that is not there."""
    cell = index_at(state, index_place(state, a, b))
    cell["a"] = a
    cell["b"] = b
    cell["slot"] = slot
    world = world_at(state, 0)
    world["index_count"] = world["index_count"] + 1


@kernel
def index_remove(state: int, a: int, b: int) -> None:
    """Take a key out; what was pushed past it moves back."""
    world = world_at(state, 0)
    last = (1 << (32 - world["index_shift"])) - 1
    gap = index_place(state, a, b)
    place = gap
    while True:
        place = (place + 1) & last
        cell = index_at(state, place)
        if cell["slot"] == NIL:
            break
        home = index_home(state, cell["a"], cell["b"])
        if ((place - home) & last) >= ((place - gap) & last):
            hole = index_at(state, gap)
            hole["a"] = cell["a"]
            hole["b"] = cell["b"]
            hole["slot"] = cell["slot"]
            gap = place
    index_at(state, gap)["slot"] = NIL
    world["index_count"] = world["index_count"] - 1


@leaf
def plan_key(account: int) -> int:
    """Give the `a` of an account's plans, below those of vouchers and references."""
    return PLANS - account


@kernel
def plan_find(state: int, account: int, series: int) -> int:
    """Give the row of an account's plan in a series, or NIL."""
    return index_at(state, index_place(state, plan_key(account), series))["slot"]


# ── putting lists in order ───────────────────────────────────────────────────────────────────────


@leaf
def scratch_write(state: int, at: int, key: int, slot: int) -> None:
    """Write a row of SCRATCH."""
    row = scratch_at(state, at)
    row["key"] = key
    row["slot"] = slot


@kernel
def scratch_sort(state: int, count: int) -> None:
    """Put the first `count` rows of SCRATCH in order of key, equal keys as they stand; the next `count` are scribbled on.

    Byte by byte, from the lowest to the highest in which keys differ; all keys are ≥ 0. O(count × bytes).
    """
    if count == 0:
        return
    low = scratch_at(state, 0)["key"]
    high = low
    ordered = True
    for at in range(1, count):
        key = scratch_at(state, at)["key"]
        ordered = ordered and scratch_at(state, at - 1)["key"] <= key
        low = min(low, key)
        high = max(high, key)
    if ordered:
        return
    bits = 64 - leading_zeros((high - low) | 1)
    source = 0
    shift = 0
    while shift < bits:
        scratch_pass(state, count, source, low, shift)
        source = count - source
        shift += 8
    if source != 0:
        for at in range(count):
            row = scratch_at(state, count + at)
            scratch_write(state, at, row["key"], row["slot"])


@kernel
def scratch_pass(state: int, count: int, source: int, low: int, shift: int) -> None:
    """Deal the rows from `source` on to the other half by one byte of their keys."""
    for value in range(256):
        counter_at(state, value)["count"] = 0
    for at in range(count):
        counter = counter_at(state, ((scratch_at(state, source + at)["key"] - low) >> shift) & 255)
        counter["count"] = counter["count"] + 1
    place = count - source
    for value in range(256):
        counter = counter_at(state, value)
        size = counter["count"]
        counter["count"] = place
        place += size
    for at in range(count):
        row = scratch_at(state, source + at)
        counter = counter_at(state, ((row["key"] - low) >> shift) & 255)
        scratch_write(state, counter["count"], row["key"], row["slot"])
        counter["count"] = counter["count"] + 1


# ── orders ───────────────────────────────────────────────────────────────────────────────────────


@leaf
def order_flags(state: int, slot: int) -> int:
    """Give an order's OrderFlag bits, and book's ICEBERG."""
    return order_at(state, slot)["word"] & FLAG_MASK


@leaf
def open_set(state: int, slot: int, qty: int) -> None:
    """Set the open quantity of an order that stands in no level; nothing of it is hidden then."""
    order = order_at(state, slot)
    order["word"] = (order["word"] & FLAG_MASK) | (qty << FLAG_BITS)


@leaf
def has_stops(state: int, series: int) -> bool:
    """Say whether any stop waits in a series."""
    return side_at(state, 4 * series + 2)["best"] != NIL or side_at(state, 4 * series + 3)["best"] != NIL
