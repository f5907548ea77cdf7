"""Units come into being: the primary sale, grants of trials, the import of members (R4 … R6, R34, R45, R46).

buyer ──g──┬── f ──► platform       f, x: increases of ⌈G × bps / 10,000⌉ over the series' life,
           ├── x ──► escrow         so that totals never depend on how sales were sliced
           └── g−f−x ► merchant
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from rightsx.protocol import MAX_IMPORT_ROWS, Channel, EventKind, Refusal
from rightsx.reference.holders import account_add, check_account_room, check_holder_limit
from rightsx.reference.orders import check_trading
from rightsx.reference.settle import ceil_bps
from rightsx.reference.state import PLATFORM

if TYPE_CHECKING:
    from collections.abc import Callable

    from rightsx.protocol import Command
    from rightsx.reference.state import Account, Market, Series

    Write = Callable[[Any, Series, int, "Row"], None]


class Split(NamedTuple):
    """Where the money of a sale goes: the fee f, the escrow x."""

    fee: int
    escrow: int


def sale_split(series: Series, gross: int, fee_total: int, escrow_total: int, g: int) -> Split:
    """Work out f and x for a sale of `g` after sales of `gross` (R6).

    `fee_total` and `escrow_total` are what has been charged so far. Escrow held back by the limit
    g − f is made up by later sales, so that the total of R6 is reached as soon as it can be.
    """
    fee = ceil_bps((gross + g) * series.terms.issue_bps) - fee_total
    escrow = ceil_bps((gross + g) * series.terms.escrow_bps) - escrow_total
    return Split(fee, min(escrow, g - fee))


def check_sale(market: Market, series: Series, qty: int, channel: int, field: str = "qty") -> None:
    """Refuse more units than are authorised, or than the channel may sell (R5, R45)."""
    left = series.terms.authorised - series.sold
    market.refuse_if(qty > left, Refusal.AuthorisedExceeded, field, qty, left)
    cap = series.channel_caps.get(channel)
    if cap is not None:
        left = cap - series.channel_sold[channel]
        market.refuse_if(qty > left, Refusal.ChannelCapExceeded, field, qty, left)


def mint(market: Market, series: Series, account: int, qty: int, split: Split, channel: int, *, cost: int, primary: bool) -> None:
    """Bring units into being for an account and count the sale in every sum (R4, R6, R11)."""
    if not qty:
        return  # an imported member whose balance is below one unit
    g = qty * series.terms.issue_price
    series.sold += qty
    series.units += qty
    series.gross += g
    series.fee_total += split.fee
    series.escrow_total += split.escrow
    series.escrow += split.escrow
    series.decayed_before_sale += qty * (series.terms.par - series.value)
    series.channel_sold[channel] += qty
    series.channel_gross[channel] += g
    market.units_receive(account, series, qty, cost, primary=primary)


def subscribe(market: Market, command: Command) -> None:
    """Sell units of the primary sale: g = fee + escrow + merchant's part, in one step (R5, R6)."""
    series, account, split = admit_subscribe(market, command)
    # From here the command must succeed.
    qty, channel = command.qty, command.other_account or Channel.NONE
    g = qty * series.terms.issue_price
    account.cash_free -= g
    market.accounts[PLATFORM].cash_free += split.fee
    market.accounts[series.merchant].cash_free += g - split.fee - split.escrow
    mint(market, series, account.id, qty, split, channel, cost=g, primary=True)
    market.emit(
        EventKind.SOLD,
        series=series.id,
        account=account.id,
        other_account=series.merchant,
        price=series.terms.issue_price,
        qty=qty,
        amount=g,
        fee=split.fee,
        other_fee=split.escrow,
        extra=channel,
    )


def admit_subscribe(market: Market, command: Command) -> tuple[Series, Account, Split]:
    """Make every check of a primary sale; gives the series, the buyer and where the money goes."""
    qty, channel = command.qty, command.other_account or Channel.NONE
    market.check_qty(qty)
    unknown = channel > len(market.channels) or channel == Channel.IMPORT
    market.refuse_if(unknown, Refusal.BadTerms, "other_account", channel)
    market.check_reference(command)
    account = market.known_account(command.account)
    series = market.known_series(command.series)
    check_trading(market, series, account)
    market.refuse_if(account.id == series.merchant, Refusal.MerchantCannotSubscribe, "account", account.id)
    market.refuse_if(series.terms.trial, Refusal.ResaleForbidden, "series", series.id)
    check_sale(market, series, qty, channel)
    price = series.terms.issue_price
    market.refuse_if(price > series.cap, Refusal.PriceAboveCap, "price", price, series.cap)
    check_holder_limit(market, series, account, qty)
    g = qty * series.terms.issue_price
    market.refuse_if(g > account.cash_free, Refusal.InsufficientCash, "qty", g, account.cash_free)
    market.refuse_if(not market.has_room([(account.id, series)]), Refusal.CapacityExceeded)
    return series, account, sale_split(series, series.gross, series.fee_total, series.escrow_total, g)


def grant(market: Market, command: Command) -> None:
    """Give units of a trial series for nothing, by its merchant (R46)."""
    qty = command.qty
    known = market.find_series(command.series)
    market.check_qty(qty)
    market.refuse_if(known is not None and not known.terms.trial, Refusal.BadTerms, "series", command.series)
    market.check_reference(command)
    merchant = market.known_account(command.account)
    recipient = market.known_account(command.other_account, "other_account")
    series = market.known_series(command.series)
    market.refuse_if(merchant.id != series.merchant, Refusal.NotOwner, "account", merchant.id, series.merchant)
    check_trading(market, series, merchant, recipient)
    to_itself = recipient.id == series.merchant
    market.refuse_if(to_itself, Refusal.MerchantCannotSubscribe, "other_account", recipient.id)
    check_sale(market, series, qty, Channel.NONE)
    check_holder_limit(market, series, recipient, qty)
    market.refuse_if(not market.has_room([(recipient.id, series)]), Refusal.CapacityExceeded)
    # From here the command must succeed.
    mint(market, series, recipient.id, qty, Split(0, 0), Channel.NONE, cost=0, primary=False)
    market.emit(
        EventKind.GRANTED,
        series=series.id,
        account=recipient.id,
        other_account=series.merchant,
        qty=qty,
        extra=Channel.NONE,
    )


# ── import of members (R34) ──────────────────────────────────────────────────────────────────────


class Row(NamedTuple):
    """One member of an import: its units, what is left over, its part of the escrow."""

    member: int
    balance: int
    units: int
    dust: int
    split: Split


def import_units(market: Market, series: Series, account: int, row: Row) -> None:
    """Bring an imported member's units into being; the merchant pays their escrow."""
    market.accounts[series.merchant].cash_free -= row.split.escrow
    mint(market, series, account, row.units, row.split, Channel.IMPORT, cost=0, primary=False)


def import_members(market: Market, command: Command, payload: dict[str, Any], write: Write = import_units) -> None:
    """Turn legacy balances into units, the whole batch or nothing; `write` is what each row does to the market (R34)."""
    series, rows = admit_import(market, command, payload)
    # From here the command must succeed.
    for row in rows:
        key = (series.merchant, row.member)
        if key not in market.members:
            account = account_add(market).id
            market.members[key] = account
            market.emit(EventKind.ACCOUNT_OPENED, account=account, order_id=row.member, flags=1)
        account = market.members[key]
        write(market, series, account, row)
        market.emit(
            EventKind.IMPORTED,
            series=series.id,
            account=account,
            other_account=series.merchant,
            order_id=row.member,
            price=series.terms.issue_price,
            qty=row.units,
            amount=row.balance,
            fee=row.dust,
            other_fee=row.split.escrow,
            extra=Channel.IMPORT,
        )


def admit_import(market: Market, command: Command, payload: dict[str, Any]) -> tuple[Series, list[Row]]:
    """Make every check of an import; gives the series and the worked-out rows."""
    given: list[list[int]] = payload["rows"]
    negative = [balance for _, balance in given if balance < 0]
    market.refuse_if(negative, Refusal.BadAmount, "rows", negative[0] if negative else 0, 0)
    market.refuse_if(not 0 < len(given) <= MAX_IMPORT_ROWS, Refusal.BadTerms, "rows", len(given), MAX_IMPORT_ROWS)
    market.check_reference(command, payload["ref"])
    merchant = market.known_account(command.account)
    series = market.known_series(command.series)
    market.refuse_if(merchant.id != series.merchant, Refusal.NotOwner, "account", merchant.id, series.merchant)
    members = [member for member, _ in given]
    twice = [member for member, count in Counter(members).items() if count > 1]
    market.refuse_if(twice, Refusal.DuplicateId, "rows", twice[0] if twice else 0)
    market.check_living(series, merchant)
    market.refuse_if(series.value == 0, Refusal.NoRedeemableValue, "series", series.id)
    rows = import_rows(series, given)
    units = sum(row.units for row in rows)
    check_sale(market, series, units, Channel.IMPORT, "rows")
    due, cash = sum(row.split.escrow for row in rows), merchant.cash_free
    market.refuse_if(due > cash, Refusal.MerchantFundsInsufficient, "rows", due, cash)
    keys = [(series.merchant, member) for member in members]
    check_account_room(market, sum(key not in market.members for key in keys))
    # A fresh account has no id yet; a negative number stands for it, so that its holding counts as new.
    wanted = [(market.members.get(key, -1 - place), series) for place, key in enumerate(keys) if rows[place].units]
    market.refuse_if(not market.has_room(wanted), Refusal.CapacityExceeded)
    return series, rows


def import_rows(series: Series, given: list[list[int]]) -> list[Row]:
    """Work out units and dust row by row, fee and escrow as of one sale of the batch (R6, R34).

    A row's part is the increase from the units before it to its own, so the parts add up to the whole.
    The fee total of R6 is set without a charge.
    """
    rows = []
    units_before, before = 0, Split(0, 0)
    for member, balance in given:
        units, dust = divmod(balance, series.terms.par)
        units_before += units
        g = units_before * series.terms.issue_price
        after = sale_split(series, series.gross, series.fee_total, series.escrow_total, g)
        part = Split(after.fee - before.fee, after.escrow - before.escrow)
        rows.append(Row(member, balance, units, dust, part))
        before = after
    return rows
