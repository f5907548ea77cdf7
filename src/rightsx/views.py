"""What people look at: small typed objects that show themselves in a terminal and in a notebook.

A view is a copy of a few numbers, taken when it was asked for; it does not follow the market. `str`
gives a table (80 columns, unless numbers are huge), `_repr_html_` the same table for a notebook. The numbers stay integers;
only their writing is for people (1,234). Nothing here decides anything.
"""

from __future__ import annotations

import html
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rightsx.border import iso

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


MOST_LETTERS: Final = 24


def number(value: object) -> str:
    """Write a cell: integers with thousands separators, None as a dash.

    >>> number(12345), number(None)
    ('12,345', '–')
    """
    if value is None:
        return "–"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)


def word(value: object) -> str:
    r"""Write a word of somebody's choice: no control characters, at most 24 letters.

    >>> word("coffee\x1b[31m"), word("x" * 30)
    ('coffee�[31m', 'xxxxxxxxxxxxxxxxxxxxxxx…')
    """
    letters = "".join(letter if letter.isprintable() else "\ufffd" for letter in str(value))
    return letters if len(letters) <= MOST_LETTERS else letters[: MOST_LETTERS - 1] + "…"


def numeric_columns(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[bool]:
    """Say which columns hold numbers alone, so that they stand to the right."""
    return [bool(rows) and all(isinstance(row[k], int) or row[k] in (None, "") for row in rows) for k in range(len(head))]


def text_table(head: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> str:
    """Lay out a table in plain text: numbers to the right, words to the left. O(cells)."""
    body = [list(row) for row in rows]
    cells = [[number(value) for value in row] for row in body]
    right = numeric_columns(head, body)
    widths = [max([len(head[k])] + [len(row[k]) for row in cells]) for k in range(len(head))]

    def line(row: Sequence[str]) -> str:
        return "  ".join(row[k].rjust(widths[k]) if right[k] else row[k].ljust(widths[k]) for k in range(len(head))).rstrip()

    lines = [title] if title else []
    lines += [line(head), "  ".join("─" * width for width in widths)]
    return "\n".join(lines + [line(row) for row in cells])


def html_table(head: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> str:
    """Lay out the same table for a notebook. O(cells)."""
    body = [list(row) for row in rows]
    aligned = ["right" if right else "left" for right in numeric_columns(head, body)]

    def line(tag: str, row: Sequence[object]) -> str:
        cells = (
            f'<{tag} style="text-align:{a}">{html.escape(number(value))}</{tag}>' for a, value in zip(aligned, row, strict=True)
        )
        return "<tr>" + "".join(cells) + "</tr>"

    lines = [f"<caption>{html.escape(title)}</caption>"] if title else []
    return "<table>" + "".join([*lines, line("th", head), *(line("td", row) for row in body)]) + "</table>"


class _Shown(ABC):
    """A view that is one table: `_table` gives head, rows and title."""

    __slots__ = ()

    @abstractmethod
    def _table(self) -> tuple[Sequence[str], list[Sequence[object]], str]: ...

    def __str__(self) -> str:
        """Show the table in plain text."""
        return text_table(*self._table())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html_table(*self._table())


class Level(NamedTuple):
    """One price of a book: what it shows and how many orders stand there."""

    price: int
    qty: int
    orders: int


@dataclass(frozen=True, repr=False)
class Ladder(_Shown):
    """The best prices of both sides: asks above, bids below, the spread between.

    `bids` and `asks` are best first.
    """

    title: str
    bids: list[Level]
    asks: list[Level]

    @property
    def best_bid(self) -> int | None:
        """The highest bid, or None."""
        return self.bids[0].price if self.bids else None

    @property
    def best_ask(self) -> int | None:
        """The lowest ask, or None."""
        return self.asks[0].price if self.asks else None

    def _table(self) -> tuple[Sequence[str], list[Sequence[object]], str]:
        rows: list[Sequence[object]] = [("", level.price, level.qty, level.orders) for level in reversed(self.asks)]
        rows += [(level.qty, level.price, "", level.orders) for level in self.bids]
        return ("bid", "price", "ask", "orders"), rows, self.title or "depth"

    def _repr_html_(self) -> str:
        head, _, title = self._table()
        most = max((level.qty for level in [*self.bids, *self.asks]), default=1)

        def bar(qty: int | None, colour: str, align: str, grows: str) -> str:
            if qty is None:
                return "<td></td>"
            share = 100 * qty // most
            back = f"background:linear-gradient(to {grows},{colour} {share}%,transparent {share}%)"
            return f'<td style="text-align:{align};min-width:7em;{back}">{number(qty)}</td>'

        levels = [(None, one, one.qty) for one in reversed(self.asks)] + [(one.qty, one, None) for one in self.bids]
        lines = [f"<caption>{html.escape(title)}</caption>", "<tr>" + "".join(f"<th>{word}</th>" for word in head) + "</tr>"]
        for bid, one, ask in levels:
            price = f'<td style="text-align:center"><b>{number(one.price)}</b></td>'
            cells = bar(bid, "#9ccfb480", "right", "left") + price + bar(ask, "#f0b9a480", "left", "right")
            lines.append(f'<tr>{cells}<td style="text-align:right">{number(one.orders)}</td></tr>')
        return "<table>" + "".join(lines) + "</table>"


class AuctionRow(NamedTuple):
    """One candidate price of a call auction: executable volume, buy minus sell surplus (R20)."""

    price: int
    volume: int
    surplus: int


class ProductView(NamedTuple):
    """A merchant's card product and its series in order of expiry."""

    product: int
    merchant: int
    name: str
    series: list[int]


class VoucherView(NamedTuple):
    """An offline voucher: units frozen at `value` fen each; `state` is live, redeemed or lapsed."""

    voucher_id: int
    account: int
    qty: int
    value: int
    redeem_end_ns: int
    lapse_ns: int
    state: str


class OrderView(NamedTuple):
    """A live order. `price` is its limit; of a plain stop, the price that it locks at. `peg` is bps of v, or below 0 below v.

    `planned`: a plan of its owner's placed it (R55).
    """

    order_id: int
    account: int
    series: int
    side: str
    price: int
    open_qty: int
    shown_qty: int
    filled_qty: int
    cash_locked: int
    stop_price: int | None
    deadline_ns: int | None
    fee_charged: int
    peg: int | None = None
    planned: bool = False


class PlanView(NamedTuple):
    """A plan of an account to sell what is unused of a series from `start_ns` on (R55).

    `price` falls `falls` times, to `last_price`; `keep` units stay free. `due_ns` is when it is due next, None if its price
    has fallen for the last time; `order_id` its live order, or None.
    """

    series: int
    account: int
    start_ns: int
    price: int
    last_price: int
    falls: int
    keep: int
    due_ns: int | None
    order_id: int | None


class HoldingView(NamedTuple):
    """What an account has in a series: units by where they are, what they cost, what they redeem for.

    `cost` is None where the series keeps no lots (R15).
    """

    series: int
    free_qty: int
    offered_qty: int
    voucher_qty: int
    cost: int | None
    value: int
    last_price: int | None
    expire_ns: int

    @property
    def units(self) -> int:
        """All units, wherever they are."""
        return self.free_qty + self.offered_qty + self.voucher_qty


def discount_bps(price: int, value: int) -> int | None:
    """Give the discount of a price in bps of the value; None where nothing can be redeemed.

    >>> discount_bps(90, 100)
    1000
    """
    return 10_000 - price * 10_000 // value if value else None


@dataclass(frozen=True, repr=False)
class AccountView(_Shown):
    """An account: cash, switches, limits and holdings. Amounts are minor units."""

    account: int
    is_merchant: bool
    cash_free: int
    cash_locked: int
    debt: int
    claims: dict[int, int]
    frozen: bool
    defaulted: bool
    tier: int
    max_open: int
    max_notional: int
    open_orders: int
    holdings: list[HoldingView]

    @property
    def cash(self) -> int:
        """All cash, free and locked."""
        return self.cash_free + self.cash_locked

    def units(self, series: int) -> int:
        """Free units of one series."""
        return next((holding.free_qty for holding in self.holdings if holding.series == series), 0)

    def _table(self) -> tuple[Sequence[str], list[Sequence[object]], str]:
        words = [
            word for word, on in (("merchant", self.is_merchant), ("frozen", self.frozen), ("defaulted", self.defaulted)) if on
        ]
        title = f"account {self.account}{' (' + ', '.join(words) + ')' if words else ''}"
        rows: list[Sequence[object]] = [("cash", self.cash_free, self.cash_locked, None, self.cash)]
        if self.debt:
            rows.append(("debt", None, None, None, -self.debt))
        rows += [(f"claim on series {series}", None, None, None, claim) for series, claim in self.claims.items()]
        rows += [(f"units of series {h.series}", h.free_qty, h.offered_qty, h.voucher_qty, h.units) for h in self.holdings]
        return ("", "free", "locked", "in vouchers", "in all"), rows, title


@dataclass(frozen=True, repr=False)
class SeriesView(_Shown):
    """A series: its terms, its value now, and the sums of its face ledger (R11), in minor units of face."""

    series: int
    merchant: int
    product: int
    name: str
    terms: Any
    steps: tuple[tuple[int, int], ...]
    stores: tuple[int, ...]
    value: int
    cap: int
    reference: int
    band: tuple[int, int] | None
    last_price: int | None
    sold: int
    gross: int
    units: int
    escrow: int
    face_owed: int
    redeemed: int
    decayed: int
    decayed_before_sale: int
    expired: int
    refunded: int
    bought_back: int
    defaulted: int
    phase: str
    channels: dict[str, tuple[int, int]] = field(default_factory=dict)

    def _table(self) -> tuple[Sequence[str], list[Sequence[object]], str]:
        title = f"series {self.series}: {word(self.name)}, until {iso(self.terms.expire_ns)}, {self.phase}"
        names = ["value", "cap", "last_price", "sold", "units", "escrow", "face_owed", "redeemed", "decayed"]
        names += ["decayed_before_sale", "expired", "refunded", "bought_back", "defaulted"]
        return ("", "now"), [(name.replace("_", " "), getattr(self, name)) for name in names], title


@dataclass(frozen=True, repr=False)
class ProductTable(_Shown):
    """All expiries of a card product side by side, by price and discount.

    Each row: series, expiry, phase, value, best bid, best ask, discount of the ask in bps of the
    value, last price, outstanding units.
    """

    title: str
    rows: list[tuple[int, str, str, int, int | None, int | None, int | None, int | None, int]]

    def _table(self) -> tuple[Sequence[str], list[Sequence[object]], str]:
        head = ("series", "expiry", "phase", "value", "bid", "ask", "discount bps", "last", "units")
        return head, list(self.rows), self.title


class CardRow(NamedTuple):
    """One position on a card: what it is, is worth, cost; `market` is units × last price."""

    series: int
    product: str
    expiry: str
    units: int
    value: int
    market: int | None
    cost: int | None
    profit: int | None


@dataclass(frozen=True, repr=False)
class Card(_Shown):
    """An account's positions at one merchant (R47). Values, costs and profits are in minor units.

    `profit` is what the units would bring at the last price, less their cost.
    """

    account: int
    merchant: int
    rows: list[CardRow]

    def _table(self) -> tuple[Sequence[str], list[Sequence[object]], str]:
        return CardRow._fields, list(self.rows), f"card of account {self.account} at merchant {self.merchant}"


class Entry(NamedTuple):
    """One line of a statement: when, what, and by how much cash and the units of a series changed."""

    time_ns: int
    what: str
    series: int
    units: int
    cash: int
    event_seq: int


@dataclass(frozen=True, repr=False)
class Statement(_Shown):
    """An account's cash and units over a span: opening + entries = closing (R47). Amounts are minor units."""

    account: int
    opening_cash: int
    closing_cash: int
    opening_units: dict[int, int]
    closing_units: dict[int, int]
    entries: list[Entry]

    def _table(self) -> tuple[Sequence[str], list[Sequence[object]], str]:
        rows: list[Sequence[object]] = [("", "opening", None, None, None, self.opening_cash)]
        cash = self.opening_cash
        for entry in self.entries:
            cash += entry.cash
            rows.append((iso(entry.time_ns), entry.what, entry.series or None, entry.units or None, entry.cash or None, cash))
        rows.append(("", "closing", None, None, None, self.closing_cash))
        return ("time", "what", "series", "units", "cash", "balance"), rows, f"statement of account {self.account}"


@dataclass(frozen=True, repr=False)
class Report(_Shown):
    """The sums of one or more series over a span (R47); face and money in minor units, the rest in units.

    `opening` and `closing` hold units, face owed and escrow; `moved` every movement between them:
    face owed: opening + issued − redeemed − decayed − expired − refunded − bought back − defaulted
    = closing; escrow: opening + in − out = closing.
    """

    title: str
    opening: dict[str, int]
    moved: dict[str, int]
    closing: dict[str, int]
    sold_by_channel: dict[str, int]
    redeemed_by_store: dict[str, int]

    def _table(self) -> tuple[Sequence[str], list[Sequence[object]], str]:
        rows: list[Sequence[object]] = [(f"opening {name}", value) for name, value in self.opening.items()]
        rows += [(name, value) for name, value in self.moved.items()]
        rows += [(f"sold through {word(name)}", value) for name, value in self.sold_by_channel.items()]
        rows += [(f"redeemed at {word(name)}", value) for name, value in self.redeemed_by_store.items()]
        rows += [(f"closing {name}", value) for name, value in self.closing.items()]
        return ("", "in all"), rows, self.title
