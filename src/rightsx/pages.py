"""Writes a run as one HTML page that needs nothing beside it: numbers, pictures, and how to make it again.

Pictures are SVG in the page itself (extra `plot`). The page is for light and dark, wide and narrow, and for paper.
"""

from __future__ import annotations

import html
import io
from typing import TYPE_CHECKING, Any, Final

from rightsx import plot
from rightsx.bars import bars

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rightsx.backtest import BacktestResult
    from rightsx.simulate import Simulation

STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1080px; padding: 24px 16px 48px; }
h1 { font-size: 24px; margin: 0 0 4px; } p { margin: 0 0 16px; opacity: 0.75; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 10px; margin: 0 0 16px; }
dl div { border: 1px solid #8884; border-radius: 8px; padding: 8px 12px; }
dt { font-size: 13px; opacity: 0.75; } dd { margin: 0; font-size: 19px; font-variant-numeric: tabular-nums; }
figure { background: #fff; border-radius: 8px; margin: 0 0 16px; padding: 8px; }
svg { display: block; height: auto; width: 100%; }
code { overflow-wrap: anywhere; }
pre { font-size: 13px; line-height: 1.35; overflow-x: auto; }
"""


def write_backtest(result: BacktestResult, path: Path, *, title: str, command: str) -> None:
    """Write the page of a backtest: its sums, equity, price and value, bars and depth of the series that traded most.

    `MisuseError` without the extra `plot`. The file is written whole or not at all, but for what a disk may do.
    """
    pictures = [plot.equity(result)] if result.account else []
    pictures += _traded(result)
    pictures.append(plot.calendar(result.data))
    _write(path, title, command, result.sums, pictures)


def _traded(result: BacktestResult) -> list[Any]:
    """Draw price and value, bars and depth of the series that traded most."""
    pictures: list[Any] = []
    trades = result.data.trades
    if len(trades):
        numbers, counts = _counted(trades["series"])
        series = int(numbers[counts.argmax()])
        span = max(1, int(trades["time_ns"][-1] - trades["time_ns"][0]) // 80)
        made = bars(trades[trades["series"] == series], every=span)
        pictures += [plot.prices(result.data, series), plot.candles(made), plot.depth(result.data, series)]
        if len(numbers) > 1:
            pictures.append(plot.discount_surface(result.data))
    return pictures


def write_replay(found: object, result: BacktestResult, path: Path, *, title: str, command: str) -> None:
    """Write the page of a replay: what was found, and the venue's orders alone in a market. As `write_backtest`."""
    _write(path, title, command, {}, _traded(result), told=str(found))


def write_simulation(found: Simulation, path: Path, *, command: str) -> None:
    """Write the page of a made-up market. As `write_backtest`."""
    data = found.data
    pictures = [plot.prices(data, 1), plot.discounts(data)]
    if len(data.trades):
        pictures.append(plot.candles(bars(data.trades, every="1d")))
    _write(path, "a made-up market of rights", command, found.sums, pictures)


def _counted(column: Any) -> Any:
    import numpy as np  # noqa: PLC0415 - where there is something to count

    return np.unique(column, return_counts=True)


def _write(path: Path, title: str, command: str, sums: Mapping[str, float], pictures: list[Any], *, told: str = "") -> None:
    drawn = []
    for ax in pictures:
        out = io.StringIO()
        ax.figure.savefig(out, format="svg", metadata={"Date": None})
        drawn.append(f"<figure>{out.getvalue()[out.getvalue().index('<svg') :]}</figure>")
    numbers = [
        f"<div><dt>{html.escape(name.replace('_', ' '))}</dt><dd>{_number(value)}</dd></div>" for name, value in sums.items()
    ]
    parts = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>',
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>',
        f"<h1>{html.escape(title)}</h1><p><code>{html.escape(command)}</code></p>",
        f"<dl>{''.join(numbers)}</dl>" if numbers else "",
        f"<pre>{html.escape(told)}</pre>" if told else "",
        *drawn,
        "</body></html>\n",
    ]
    path.write_text("\n".join(parts), encoding="utf-8")


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.1%}"
