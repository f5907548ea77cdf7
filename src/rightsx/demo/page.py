"""Shows a demo on one page: price and value against time, a book's depth, where the money is, what became of the face.

    demo.html ── figures        sold, traded, redeemed, rescued
              ├─ price, value   one small picture a series: value as steps, trades as dots, the spread, the ends
              ├─ depth          the fullest book of the season, both sides cumulated
              ├─ money          stacked: holders, escrow, merchants, stores, platform; their sum is what came in
              ├─ face           stacked: redeemed, decayed, expired …; their sum is what was sold
              └─ totals         the same table as in the terminal, and the conservation line

One file without scripts, fonts or references: it opens from a disk without a network and will look the
same in ten years. It follows the reader's light or dark scheme, and every wide picture is drawn a second
time for narrow screens rather than shrunk beyond reading. All numbers are those of `DemoResult`; a
page decides nothing and rounds nothing but pixels.

Money and face are minor currency units (cents, fen); axes above five million count in millions of them.
Costs: O(trades shown + samples) text, some hundred kilobytes.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Final, NamedTuple

from rightsx.demo.style import STYLE
from rightsx.demo.sums import PURSES
from rightsx.demo.svg import Frame, Margins, drawing, element, label, moment_text, pixel, ticks, unit_of
from rightsx.views import number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from rightsx.demo.sums import Book, DemoResult, Story

STORIES_SHOWN: Final = 6
WIDE: Final = 1_000
HALF: Final = 480
NARROW: Final = 370
STACK_OF_FATES: Final = ("redeemed", "decayed", "expired", "refunded", "bought back", "defaulted", "owed")
_SHAPE_WORDS: Final = {
    "cliff": "full value to the end",
    "linear": "falls in equal steps",
    "geometric": "loses a tenth at each step",
    "stepwise": "falls in three steps",
}
_POLICY_WORDS: Final = {"forfeit": "lapses at expiry", "principal": "pays back at expiry"}


def write_demo_page(result: DemoResult, path: Path) -> Path:
    """Write the page of a demo to `path` and give the path back. Overwrites; raises `OSError` as `open` does."""
    path.write_text(demo_page(result), encoding="utf-8")
    return path


def demo_page(result: DemoResult) -> str:
    """Give the page of a demo as one self-contained HTML text."""
    sections = [_header(result), _prices(result), _depth(result), _money(result), _face(result), _totals(result)]
    title = f"rightsx demo, seed {result.seed}"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n'
        f"<body>\n<main>\n{''.join(sections)}</main>\n</body>\n</html>\n"
    )


# ── pieces of the page ───────────────────────────────────────────────────────────────────────────


class Key(NamedTuple):
    """One entry of a legend: the class of its colour, how it is drawn, its words."""

    colour: str
    kind: str
    text: str


def _section(name: str, title: str, words: str, *content: str) -> str:
    """Frame one panel: what is seen, how to read it, the picture."""
    return f'<section id="{name}">\n<h2>{html.escape(title)}</h2>\n<p>{html.escape(words)}</p>\n{"".join(content)}</section>\n'


def _legend(keys: Iterable[Key]) -> str:
    entries = (f'<li><i class="key {key.kind} {key.colour}"></i>{html.escape(key.text)}</li>' for key in keys)
    return f'<ul class="legend">{"".join(entries)}</ul>\n'


def _both(draw: Callable[[int], str], wide: int) -> str:
    """Draw a picture for a wide and for a narrow place; the style sheet shows one of them."""
    return f'<div class="wide">{draw(wide)}</div><div class="narrow">{draw(NARROW)}</div>\n'


def _percent(part: int, whole: int) -> str:
    """Write a share with one decimal, rounded down."""
    share = part * 1_000 // whole if whole else 0
    return f"{share // 10}.{share % 10} %"


def _header(result: DemoResult) -> str:
    """Say what was played, and give the five figures that matter."""
    t = result.totals
    tiles = (
        ("sold", t.sold_money, f"{t.sold_units:,} units, in the primary sale"),
        ("traded", t.traded_money, f"{t.trades:,} trades in the books"),
        ("redeemed", t.redeemed_face, f"face turned into goods, {_percent(t.redeemed_face, t.sold_face)} of what was sold"),
        (
            "rescued",
            t.rescued_face,
            f"face redeemed by people who bought it from others, {_percent(t.rescued_face, t.redeemed_face)} of all",
        ),
        ("lost to time", t.decayed_face + t.decayed_before_sale_face + t.expired_face, "face decayed or expired"),
    )
    cells = "".join(f"<div><dt>{name}</dt><dd>{value:,}</dd><dd class=small>{words}</dd></div>" for name, value, words in tiles)
    played = (
        f"{result.days:,} days, {result.series:,} series of prepaid cards, {result.holders:,} holders, "
        f"{result.command_count:,} commands; seed {result.seed}, engine {result.engine}. "
        "Money and face are minor currency units, such as cents."
    )
    title = "A market of consumption rights, from listing to expiry"
    return f"<header>\n<h1>{title}</h1>\n<p>{played}</p>\n<dl>{cells}</dl>\n</header>\n"


# ── price and value ──────────────────────────────────────────────────────────────────────────────


def chosen_stories(stories: Sequence[Story]) -> list[Story]:
    """Choose what to show: the most traded series of each shape, one that defaulted, one that pays back."""

    def most(candidates: Iterable[Story]) -> list[Story]:
        return sorted(candidates, key=lambda story: (-len(story.trades), story.series))[:1]

    chosen: list[Story] = []
    for shape in _SHAPE_WORDS:
        chosen += most(s for s in stories if s.shape == shape and s.policy == "forfeit" and not s.defaulted_ns)
    chosen += most(s for s in stories if s.policy == "principal" and not s.defaulted_ns)
    chosen += most(s for s in stories if s.defaulted_ns)
    rest = sorted((s for s in stories if s not in chosen), key=lambda story: (-len(story.trades), story.series))
    return sorted([*chosen, *rest][:STORIES_SHOWN], key=lambda story: (story.defaulted_ns > 0, story.series))


def _prices(result: DemoResult) -> str:
    keys = (
        Key("value", "line", "value: what a unit redeems for now"),
        Key("trade", "dot", "trades"),
        Key("spread", "area", "between best bid and best ask"),
        Key("issue", "dashes", "issue price"),
    )
    figures = "".join(_story(story) for story in chosen_stories(result.stories))
    return _section(
        "prices",
        "Prices never exceed value, and give way as the deadline nears",
        "Each picture is one series from its listing to its expiry. A decay step lowers the value, which no order may exceed.",
        _legend(keys),
        f'<div class="panels">{figures}</div>\n',
    )


def _story(story: Story) -> str:
    """Caption and picture of one series."""
    prices = [trade.price for trade in story.trades]
    traded = f"{len(prices):,} trades at {min(prices):,} to {max(prices):,}" if prices else "no trades"
    fate = "its merchant defaults" if story.defaulted_ns else _POLICY_WORDS.get(story.policy, "")
    words = f"{_SHAPE_WORDS.get(story.shape, '')}, {fate}; {traded}"
    title = f"{story.merchant}, {story.product} (series {story.series})"
    caption = f"<figcaption><b>{html.escape(title)}</b><br>{html.escape(words)}</figcaption>"
    return f"<figure>{caption}{_both(lambda width: story_chart(story, width), HALF)}</figure>\n"


def story_chart(story: Story, width: int, height: int = 264) -> str:
    """Draw one series: value as steps, trades as dots, the spread as a band, the ends as marks."""
    frame = Frame(width, height, (story.listed_ns, story.expire_ns), ticks(story.par, 5), Margins(left=52, top=40))
    value = [(story.listed_ns, story.first_value), *((when, v) for when, v in story.steps if when > story.listed_ns)]
    parts = frame.axes(frame.days(), y_name="minor units per unit")
    parts += [
        element(
            "path", d=frame.line([(story.listed_ns, story.issue_price), (story.expire_ns, story.issue_price)]), class_="issue"
        )
    ]
    parts += [element("path", d=_spread(story, frame), class_="spread")]
    lived = [(when, v) for when, v in value if when < story.end_ns]
    fall = "" if story.defaulted_ns else f"V{pixel(frame.bottom)}"
    parts += [element("path", d=frame.steps(lived, story.end_ns) + fall, class_="value")]
    if story.defaulted_ns:
        promised = [(story.end_ns, lived[-1][1]), *((when, v) for when, v in value if when >= story.end_ns)]
        parts += [element("path", d=frame.steps(promised, story.expire_ns), class_="value promised")]
    parts += [element("path", d=frame.dots((trade.time_ns, trade.price) for trade in story.trades), class_="trade")]
    parts += _ends(story, frame)
    return drawing(width, height, parts, title=f"price and value of series {story.series} against time")


def _ends(story: Story, frame: Frame) -> list[str]:
    """Mark opening, last trade, expiry and default; the two rows of the top margin keep their words apart."""
    parts = []
    if story.open_ns:
        parts += frame.upright(story.open_ns, "opening auction", row=1, anchor="start")
    if story.defaulted_ns:
        return parts + frame.upright(story.defaulted_ns, "default", row=0, anchor="end", class_="alarm")
    if story.last_trade_ns == story.expire_ns:
        return parts + frame.upright(story.expire_ns, "last trade and expiry", row=0, anchor="end")
    parts += frame.upright(story.last_trade_ns, "last trade", row=0, anchor="end")
    return parts + frame.upright(story.expire_ns, "expiry", row=1, anchor="end")


def _spread(story: Story, frame: Frame) -> str:
    """Write the area between best bid and best ask, broken where a side is empty."""
    runs: list[list[tuple[int, int, int]]] = [[]]
    for time_ns, bid, ask in story.quotes:
        # Prices hold until they are next looked at, so each edge is a step.
        if runs[-1]:
            runs[-1].append((time_ns, *runs[-1][-1][1:]))
        if bid is None or ask is None:
            runs.append([])
        else:
            runs[-1].append((time_ns, bid, ask))
    bands = (tuple(zip(*run, strict=True)) for run in runs if len(run) > 1)
    return "".join(frame.band(*band) for band in bands) or "M0 0"


# ── depth ────────────────────────────────────────────────────────────────────────────────────────


def _depth(result: DemoResult) -> str:
    book = result.book
    if book is None:
        return _section("depth", "No book ever had both sides", "Nobody bid and offered in the same series at the same time.")
    story = next(story for story in result.stories if story.series == book.series)
    bids, asks = book.bids, book.asks
    keys = (
        Key("bid", "area", f"bids: {sum(level.qty for level in bids):,} units at {len(bids)} prices, best {bids[0].price:,}"),
        Key("ask", "area", f"asks: {sum(level.qty for level in asks):,} units at {len(asks)} prices, best {asks[0].price:,}"),
    )
    return _section(
        "depth",
        f"One book when it was fullest: {story.merchant}, {story.product} (series {book.series})",
        f"On {moment_text(book.time_ns)} UTC a unit redeemed for {book.value:,}. The areas show how many units one could "
        "sell or buy at a price or better, the stems what stands at each price.",
        _legend(keys),
        _both(lambda width: depth_chart(book, width), WIDE),
    )


def depth_chart(book: Book, width: int, height: int = 320) -> str:
    """Draw a book: both sides cumulated from the middle outward, a stem at each price; value as a mark, if it is near."""
    prices = [level.price for level in (*book.bids, *book.asks)]
    room = max(1, (max(prices) - min(prices)) // 30)
    lo, hi = min(prices) - room, max(prices) + room
    near = book.value <= hi + 4 * room
    hi = max(hi, book.value + room) if near else hi
    total = max(sum(level.qty for level in side) for side in (book.bids, book.asks))
    frame = Frame(width, height, (lo, hi), ticks(total, 5), Margins(left=52, bottom=44, right=16))
    marks = [(price, f"{price:,}") for price in ticks(hi, max(5, width // 110), lo) if lo <= price <= hi]
    parts = frame.axes(marks, y_name="units, cumulated", x_name="price, minor units per unit")
    for side, name, edge in ((book.bids, "bid", lo), (book.asks, "ask", hi)):
        points, depth = [(side[0].price, 0)], 0
        for level in side:
            depth += level.qty
            points.append((level.price, depth))
        outline = frame.steps(points, edge)
        parts.append(element("path", d=f"{outline}V{pixel(frame.bottom)}Z", class_=f"{name} cumulated"))
        stems = "".join(f"M{frame.point(level.price, 0)}V{pixel(frame.y.at(level.qty))}" for level in side)
        parts.append(element("path", d=stems, class_=f"{name} stem"))
    if near:
        parts += frame.upright(book.value, f"value {book.value:,}", row=0, anchor="end")
    else:
        parts.append(label(frame.right, 12, f"value {book.value:,} lies further right →", anchor="end", class_="mark-text"))
    return drawing(width, height, parts, title=f"depth of series {book.series} by price")


# ── where money and face are ─────────────────────────────────────────────────────────────────────


def _money(result: DemoResult) -> str:
    flows = result.flows
    keys = [Key(f"purse-{name}", "area", f"{name} {flows.money[name][-1]:,}") for name in reversed(PURSES)]
    keys.append(Key("sum", "dashes", f"deposits − withdrawals − chargebacks {flows.net[-1]:,}"))
    return _section(
        "money",
        "Where the money is: the sum is always what came in",
        "Buyers' money goes to merchants and, in part, into escrow, which is released as rights are redeemed or lapse. "
        "Figures beside the names are those of the last day.",
        _legend(keys),
        _both(lambda width: stack_chart(result, width, "money"), WIDE),
    )


def _face(result: DemoResult) -> str:
    face = result.flows.face
    sold = sum(series[-1] for series in face.values())
    keys = [
        Key(f"fate-{name.replace(' ', '-')}", "area", f"{name} {face[name][-1]:,} ({_percent(face[name][-1], sold)})")
        for name in reversed(STACK_OF_FATES)
    ]
    return _section(
        "face",
        "Where the face went: every unit sold is redeemed, lost, given back, or still owed",
        "The whole is the face of all units sold so far, at their value when they were sold. Figures are those of the last day.",
        _legend(keys),
        _both(lambda width: stack_chart(result, width, "face"), WIDE),
    )


def stack_chart(result: DemoResult, width: int, what: str, height: int = 340) -> str:
    """Draw the samples of `what` (money or face) as stacked areas, and what they must add up to as a dashed line."""
    flows = result.flows
    parts_of = flows.money if what == "money" else flows.face
    names = PURSES if what == "money" else STACK_OF_FATES
    totals = [sum(parts_of[name][k] for name in names) for k in range(len(flows.times))]
    divisor, unit = unit_of(max(totals))
    y_ticks = [tick * divisor for tick in ticks(-(-max(totals) // divisor), 5)]
    frame = Frame(width, height, (flows.times[0], flows.times[-1]), y_ticks, Margins(left=52, top=40))
    areas, below = [], [0] * len(flows.times)
    for name in names:
        above = [low + part for low, part in zip(below, parts_of[name], strict=True)]
        tip = element("title", html.escape(name))
        kind = "purse" if what == "money" else "fate"
        areas.append(
            element("path", tip, d=frame.band(flows.times, below, above), class_=f"stack {kind}-{name.replace(' ', '-')}")
        )
        below = above
    axes = frame.axes(frame.days(), y_name=unit, divisor=divisor)
    if what == "money":
        areas.append(element("path", d=frame.line(zip(flows.times, flows.net, strict=True)), class_="sum"))
    defaults = sorted({story.defaulted_ns for story in result.stories if story.defaulted_ns})
    marks = [
        part for when in defaults for part in frame.upright(when, "a merchant defaults", row=1, anchor="end", class_="alarm")
    ]
    return drawing(width, height, [*areas, *axes, *marks], title=f"{what} over time, stacked")


# ── totals ───────────────────────────────────────────────────────────────────────────────────────


def _totals(result: DemoResult) -> str:
    rows = "".join(_row(what, values) for what, *values in result.rows())
    head = "<tr><th></th><th>units</th><th>face</th><th>money</th></tr>"
    proof = result.conservation
    verdict = "ok" if proof.holds else "broken"
    return _section(
        "totals",
        "The season in numbers",
        "Rebuilt from the public events and compared with the engine's own balances, account by account and series by series.",
        f'<pre class="proof {verdict}">{html.escape(str(proof))}</pre>\n',
        f'<div class="scroll"><table>{head}{rows}</table></div>\n',
        f"<p>{html.escape(result.commands_text())}</p>\n",
        f'<p class="hash">state hash {html.escape(result.state_hash)}</p>\n',
    )


def _row(what: str, values: Iterable[int | None]) -> str:
    """Write one row of the totals; a part of the row above is set in."""
    head = f"<th{' class=part' if what.startswith(' ') else ''}>{html.escape(what.strip())}</th>"
    return f"<tr>{head}{''.join(f'<td>{number(value)}</td>' for value in values)}</tr>"
