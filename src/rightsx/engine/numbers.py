"""The numbers of protocol's enums as plain integers, because kernels take no objects.

C_ commands      E_ events      BY_ reasons of a cancellation      F_ fields of a COMMAND, as a REFUSED names them
T_ and RANK_ timers (R2)       refusals as they are called, in capitals
"""

from __future__ import annotations

from typing import Final

from rightsx.protocol import (
    CancelReason,
    Command,
    CommandKind,
    EventKind,
    FillFlag,
    OrderFlag,
    Policy,
    Refusal,
    Side,
    TimeInForce,
)

# ── commands ─────────────────────────────────────────────────────────────────────────────────────

C_PLACE: Final = int(CommandKind.PLACE)
C_CANCEL: Final = int(CommandKind.CANCEL)
C_AMEND: Final = int(CommandKind.AMEND)
C_CANCEL_ALL: Final = int(CommandKind.CANCEL_ALL)
C_CANCEL_AFTER: Final = int(CommandKind.CANCEL_AFTER)
C_SUBSCRIBE: Final = int(CommandKind.SUBSCRIBE)
C_GRANT: Final = int(CommandKind.GRANT)
C_TRANSFER: Final = int(CommandKind.TRANSFER)
C_REDEEM: Final = int(CommandKind.REDEEM)
C_REDEEM_BILL: Final = int(CommandKind.REDEEM_BILL)
C_REFUND: Final = int(CommandKind.REFUND)
C_LOCK_VOUCHER: Final = int(CommandKind.LOCK_VOUCHER)
C_UPLOAD_VOUCHER: Final = int(CommandKind.UPLOAD_VOUCHER)
C_HALT: Final = int(CommandKind.HALT)
C_RESUME: Final = int(CommandKind.RESUME)
C_FREEZE: Final = int(CommandKind.FREEZE)
C_UNFREEZE: Final = int(CommandKind.UNFREEZE)
C_KILL: Final = int(CommandKind.KILL)
C_UNKILL: Final = int(CommandKind.UNKILL)
C_DEFAULT: Final = int(CommandKind.DEFAULT)
C_CHARGEBACK: Final = int(CommandKind.CHARGEBACK)
C_DEPOSIT: Final = int(CommandKind.DEPOSIT)
C_WITHDRAW: Final = int(CommandKind.WITHDRAW)
C_ADVANCE: Final = int(CommandKind.ADVANCE)
C_OPEN_ACCOUNT: Final = int(CommandKind.OPEN_ACCOUNT)
C_SET_ACCOUNT: Final = int(CommandKind.SET_ACCOUNT)
C_SET_TIER: Final = int(CommandKind.SET_TIER)
C_PUBLISH: Final = int(CommandKind.PUBLISH)
C_PAY_BILL: Final = int(CommandKind.PAY_BILL)
C_BUY_PRODUCT: Final = int(CommandKind.BUY_PRODUCT)
C_ROLL: Final = int(CommandKind.ROLL)
C_PLAN_SALE: Final = int(CommandKind.PLAN_SALE)
C_REGISTER_MERCHANT: Final = int(CommandKind.REGISTER_MERCHANT)
C_REGISTER_STORE: Final = int(CommandKind.REGISTER_STORE)
C_REGISTER_TERMINAL: Final = int(CommandKind.REGISTER_TERMINAL)
C_REGISTER_CHANNEL: Final = int(CommandKind.REGISTER_CHANNEL)
C_LIST_SERIES: Final = int(CommandKind.LIST_SERIES)
C_IMPORT_MEMBERS: Final = int(CommandKind.IMPORT_MEMBERS)

# ── events ───────────────────────────────────────────────────────────────────────────────────────

E_ACCEPTED: Final = int(EventKind.ACCEPTED)
E_FILL: Final = int(EventKind.FILL)
E_CANCELLED: Final = int(EventKind.CANCELLED)
E_AMENDED: Final = int(EventKind.AMENDED)
E_TRIGGERED: Final = int(EventKind.TRIGGERED)
E_MASS_CANCELLED: Final = int(EventKind.MASS_CANCELLED)
E_CANCEL_AFTER_SET: Final = int(EventKind.CANCEL_AFTER_SET)
E_UNCROSSED: Final = int(EventKind.UNCROSSED)
E_REPRICED: Final = int(EventKind.REPRICED)
E_SALE_PLANNED: Final = int(EventKind.SALE_PLANNED)
E_PLAN_STEPPED: Final = int(EventKind.PLAN_STEPPED)
E_SOLD: Final = int(EventKind.SOLD)
E_GRANTED: Final = int(EventKind.GRANTED)
E_IMPORTED: Final = int(EventKind.IMPORTED)
E_GIFTED: Final = int(EventKind.GIFTED)
E_REDEEMED: Final = int(EventKind.REDEEMED)
E_BILL_REDEEMED: Final = int(EventKind.BILL_REDEEMED)
E_REFUNDED: Final = int(EventKind.REFUNDED)
E_VOUCHER_LOCKED: Final = int(EventKind.VOUCHER_LOCKED)
E_VOUCHER_REDEEMED: Final = int(EventKind.VOUCHER_REDEEMED)
E_VOUCHER_LAPSED: Final = int(EventKind.VOUCHER_LAPSED)
E_DOUBLE_REDEEMED: Final = int(EventKind.DOUBLE_REDEEMED)
E_BILL_PAID: Final = int(EventKind.BILL_PAID)
E_PRODUCT_BOUGHT: Final = int(EventKind.PRODUCT_BOUGHT)
E_ROLLED: Final = int(EventKind.ROLLED)
E_ESCROW_RELEASED: Final = int(EventKind.ESCROW_RELEASED)
E_DECAYED: Final = int(EventKind.DECAYED)
E_TRADING_ENDED: Final = int(EventKind.TRADING_ENDED)
E_EXPIRED: Final = int(EventKind.EXPIRED)
E_PAID_OUT: Final = int(EventKind.PAID_OUT)
E_MERCHANT_DEFAULTED: Final = int(EventKind.MERCHANT_DEFAULTED)
E_SERIES_DEFAULTED: Final = int(EventKind.SERIES_DEFAULTED)
E_HALTED: Final = int(EventKind.HALTED)
E_RESUMED: Final = int(EventKind.RESUMED)
E_FROZEN: Final = int(EventKind.FROZEN)
E_UNFROZEN: Final = int(EventKind.UNFROZEN)
E_KILLED: Final = int(EventKind.KILLED)
E_UNKILLED: Final = int(EventKind.UNKILLED)
E_CHARGED_BACK: Final = int(EventKind.CHARGED_BACK)
E_DEPOSITED: Final = int(EventKind.DEPOSITED)
E_WITHDRAWN: Final = int(EventKind.WITHDRAWN)
E_ADVANCED: Final = int(EventKind.ADVANCED)
E_REFERENCE_FORGOTTEN: Final = int(EventKind.REFERENCE_FORGOTTEN)
E_STATE: Final = int(EventKind.STATE)
E_ACCOUNT_OPENED: Final = int(EventKind.ACCOUNT_OPENED)
E_ACCOUNT_SET: Final = int(EventKind.ACCOUNT_SET)
E_TIER_SET: Final = int(EventKind.TIER_SET)
E_MERCHANT_REGISTERED: Final = int(EventKind.MERCHANT_REGISTERED)
E_STORE_REGISTERED: Final = int(EventKind.STORE_REGISTERED)
E_TERMINAL_REGISTERED: Final = int(EventKind.TERMINAL_REGISTERED)
E_CHANNEL_REGISTERED: Final = int(EventKind.CHANNEL_REGISTERED)
E_LISTED: Final = int(EventKind.LISTED)
E_STEP: Final = int(EventKind.STEP)
E_TERM: Final = int(EventKind.TERM)
E_NAME: Final = int(EventKind.NAME)
E_REFUSED: Final = int(EventKind.REFUSED)
E_DUPLICATE: Final = int(EventKind.DUPLICATE)

# ── refusals ─────────────────────────────────────────────────────────────────────────────────────

CLOCK_BACKWARDS: Final = int(Refusal.ClockBackwards)
BAD_QUANTITY: Final = int(Refusal.BadQuantity)
BAD_PRICE: Final = int(Refusal.BadPrice)
BAD_AMOUNT: Final = int(Refusal.BadAmount)
BAD_TIME: Final = int(Refusal.BadTime)
BAD_TERMS: Final = int(Refusal.BadTerms)
IDEMPOTENCY_CONFLICT: Final = int(Refusal.IdempotencyConflict)
UNKNOWN_ACCOUNT: Final = int(Refusal.UnknownAccount)
UNKNOWN_SERIES: Final = int(Refusal.UnknownSeries)
UNKNOWN_VOUCHER: Final = int(Refusal.UnknownVoucher)
ORDER_NOT_OPEN: Final = int(Refusal.OrderNotOpen)
NOT_OWNER: Final = int(Refusal.NotOwner)
DUPLICATE_ID: Final = int(Refusal.DuplicateId)
POLICY_MISSING: Final = int(Refusal.PolicyMissing)
SCHEDULE_NOT_MONOTONE: Final = int(Refusal.ScheduleNotMonotone)
SCHEDULE_BELOW_PRINCIPAL: Final = int(Refusal.ScheduleBelowPrincipal)
MERCHANT_DEFAULTED: Final = int(Refusal.MerchantDefaulted)
ACCOUNT_FROZEN: Final = int(Refusal.AccountFrozen)
SERIES_EXPIRED: Final = int(Refusal.SeriesExpired)
TRADING_CLOSED: Final = int(Refusal.TradingClosed)
KILLED: Final = int(Refusal.Killed)
SERIES_HALTED: Final = int(Refusal.SeriesHalted)
MERCHANT_CANNOT_SUBSCRIBE: Final = int(Refusal.MerchantCannotSubscribe)
MERCHANT_CANNOT_RESELL: Final = int(Refusal.MerchantCannotResell)
BUYBACK_FLAG_REQUIRED: Final = int(Refusal.BuybackFlagRequired)
RESALE_FORBIDDEN: Final = int(Refusal.ResaleForbidden)
SELF_TRANSFER: Final = int(Refusal.SelfTransfer)
STORE_NOT_IN_PRODUCT: Final = int(Refusal.StoreNotInProduct)
NO_REDEEMABLE_VALUE: Final = int(Refusal.NoRedeemableValue)
VOUCHER_BEYOND_EXPIRY: Final = int(Refusal.VoucherBeyondExpiry)
AUTHORISED_EXCEEDED: Final = int(Refusal.AuthorisedExceeded)
CHANNEL_CAP_EXCEEDED: Final = int(Refusal.ChannelCapExceeded)
COOLING_OFF_NOT_AVAILABLE: Final = int(Refusal.CoolingOffNotAvailable)
PRICE_ABOVE_CAP: Final = int(Refusal.PriceAboveCap)
OUTSIDE_PRICE_BAND: Final = int(Refusal.OutsidePriceBand)
HOLDER_LIMIT_EXCEEDED: Final = int(Refusal.HolderLimitExceeded)
ORDER_LIMIT_EXCEEDED: Final = int(Refusal.OrderLimitExceeded)
INSUFFICIENT_UNITS: Final = int(Refusal.InsufficientUnits)
HOLDING_PERIOD: Final = int(Refusal.HoldingPeriod)
INSUFFICIENT_CASH: Final = int(Refusal.InsufficientCash)
MERCHANT_FUNDS_INSUFFICIENT: Final = int(Refusal.MerchantFundsInsufficient)
POST_ONLY_WOULD_CROSS: Final = int(Refusal.PostOnlyWouldCross)
FOK_UNFILLABLE: Final = int(Refusal.FOKUnfillable)
TERMINAL_NOT_ALLOWED: Final = int(Refusal.TerminalNotAllowed)
VOUCHER_EXPIRED: Final = int(Refusal.VoucherExpired)
DOUBLE_REDEEM: Final = int(Refusal.DoubleRedeem)
VOUCHER_LAPSED: Final = int(Refusal.VoucherLapsed)
CAPACITY_EXCEEDED: Final = int(Refusal.CapacityExceeded)

# ── reasons of a cancellation ────────────────────────────────────────────────────────────────────

BY_USER: Final = int(CancelReason.USER)
BY_IOC: Final = int(CancelReason.IOC)
BY_GTD: Final = int(CancelReason.GTD)
BY_SELF_TRADE: Final = int(CancelReason.SELF_TRADE)
BY_PRICE_ABOVE_CAP: Final = int(CancelReason.PRICE_ABOVE_CAP)
BY_LAST_TRADE: Final = int(CancelReason.LAST_TRADE)
BY_MERCHANT_DEFAULT: Final = int(CancelReason.MERCHANT_DEFAULT)
BY_ACCOUNT_FROZEN: Final = int(CancelReason.ACCOUNT_FROZEN)
BY_CHARGEBACK: Final = int(CancelReason.CHARGEBACK)
BY_CANCEL_ALL: Final = int(CancelReason.CANCEL_ALL)
BY_CANCEL_AFTER: Final = int(CancelReason.CANCEL_AFTER)

# ── orders ───────────────────────────────────────────────────────────────────────────────────────

BUY: Final = int(Side.BUY)
SELL: Final = int(Side.SELL)
GTC: Final = int(TimeInForce.GTC)
GTD: Final = int(TimeInForce.GTD)
IOC: Final = int(TimeInForce.IOC)
FOK: Final = int(TimeInForce.FOK)
POST_ONLY: Final = int(OrderFlag.POST_ONLY)
BUYBACK: Final = int(OrderFlag.BUYBACK)
MARKET: Final = int(OrderFlag.MARKET)
CANCEL_MAKER: Final = int(OrderFlag.CANCEL_MAKER)
CANCEL_BOTH: Final = int(OrderFlag.CANCEL_BOTH)
STOP_RISE: Final = int(OrderFlag.STOP_RISE)
STOP_FALL: Final = int(OrderFlag.STOP_FALL)
PEG: Final = int(OrderFlag.PEG)
OWN_MODES: Final = CANCEL_MAKER | CANCEL_BOTH
STOP_WAYS: Final = STOP_RISE | STOP_FALL
FILL_AUCTION: Final = int(FillFlag.AUCTION)
FILL_BUYBACK: Final = int(FillFlag.BUYBACK)
FORFEIT: Final = int(Policy.FORFEIT)
PRINCIPAL: Final = int(Policy.PRINCIPAL)

# ── fields of a command, from 1 ──────────────────────────────────────────────────────────────────

F_TIME_NS: Final = Command._fields.index("time_ns") + 1
F_KIND: Final = Command._fields.index("kind") + 1
F_SIDE: Final = Command._fields.index("side") + 1
F_TIME_IN_FORCE: Final = Command._fields.index("time_in_force") + 1
F_FLAGS: Final = Command._fields.index("flags") + 1
F_SERIES: Final = Command._fields.index("series") + 1
F_ACCOUNT: Final = Command._fields.index("account") + 1
F_OTHER_ACCOUNT: Final = Command._fields.index("other_account") + 1
F_ORDER_ID: Final = Command._fields.index("order_id") + 1
F_PRICE: Final = Command._fields.index("price") + 1
F_QTY: Final = Command._fields.index("qty") + 1
F_DEADLINE_NS: Final = Command._fields.index("deadline_ns") + 1
F_DISPLAY: Final = Command._fields.index("display") + 1
F_STOP_PRICE: Final = Command._fields.index("stop_price") + 1
F_REF: Final = Command._fields.index("ref") + 1

# ── timers (R2) ──────────────────────────────────────────────────────────────────────────────────

T_DECAY, T_VOUCHER_LAPSE, T_ORDER_DUE, T_ACCOUNT_SILENT, T_UNCROSS, T_LAST_TRADE, T_EXPIRY, T_FORGET, T_PLAN_DUE = range(1, 10)
# Good-till-date and cancel-after are of one rank: among them the sequence of creation decides.
RANK_DECAY, RANK_VOUCHER, RANK_ORDER, RANK_UNCROSS, RANK_LAST_TRADE, RANK_EXPIRY, RANK_FORGET = range(7)
