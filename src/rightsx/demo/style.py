"""Says what the demo's page looks like: one style sheet for light and dark, wide and narrow.

Colours are named by what they show (`--value`, `--escrow`), each twice: for a light and for a dark
ground. Neighbours in a stack differ in lightness as well as in hue, so that they can be told apart
without colour vision, and a thin line of the ground's colour separates them. Red is kept for what
went wrong: a default, a broken sum.

There is nothing to load: fonts are the reader's own. Pictures hold classes only, so this file alone
can change how they look.
"""

from __future__ import annotations

from typing import Final

STYLE: Final = """
:root { color-scheme: light dark;
  --ground: #f6f7f8; --card: #ffffff; --ink: #1c2530; --soft: #5a6675; --rule: #e2e6ea; --edge: #c4ccd4;
  --value: #1f4e79; --trade: #d9730d; --spread: #7ba7d1; --bid: #2a7f62; --ask: #b8572a; --alarm: #b3261e;
  --holders: #8fb4d9; --escrow: #e9b44c; --merchants: #3f8f6b; --stores: #9ad1b3; --platform: #6a4c93;
  --redeemed: #3f8f6b; --decayed: #f0c566; --expired: #d98032; --refunded: #6f9fd8; --bought: #8a6bb8; --defaulted: #b3261e;
  --owed: #cfd8e1; }
@media (prefers-color-scheme: dark) { :root {
  --ground: #12161b; --card: #1a2027; --ink: #e6eaee; --soft: #9aa6b2; --rule: #2a323b; --edge: #4a5561;
  --value: #8ec1f0; --trade: #ffa04d; --spread: #6d9bc9; --bid: #53b892; --ask: #e08a5a; --alarm: #ff7a70;
  --holders: #3f6b96; --escrow: #d9a336; --merchants: #4fa67e; --stores: #a3dbbd; --platform: #a78bd0;
  --redeemed: #3f8f6b; --decayed: #e0b450; --expired: #c96f24; --refunded: #78a9e3; --bought: #a78bd0; --defaulted: #e5534b;
  --owed: #4b5763; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 24px 16px 48px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 6px; } h2 { font-size: 19px; line-height: 1.3; margin: 0 0 4px; }
p { margin: 0 0 10px; color: var(--soft); max-width: 96ch; }
section { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 18px 20px; margin-top: 18px; }
header dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(165px, 1fr)); gap: 12px; margin: 16px 0 0; }
header dl div { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 10px 14px; }
dt { color: var(--soft); font-size: 13px; }
dd { margin: 0; font-size: 22px; font-weight: 600; font-variant-numeric: tabular-nums; }
dd.small { font-size: 12px; font-weight: 400; line-height: 1.4; color: var(--soft); }
.panels { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 22px 26px; margin-top: 12px; }
figure { margin: 0; min-width: 0; } figcaption { font-size: 13px; line-height: 1.4; color: var(--soft); margin-bottom: 4px; }
figcaption b { color: var(--ink); font-size: 14px; }
.narrow { display: none; } svg.chart { display: block; width: 100%; height: auto; overflow: visible; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 3px 18px; margin: 2px 0 10px; padding: 0; font-size: 13px; }
.legend li { display: flex; align-items: center; gap: 7px; font-variant-numeric: tabular-nums; }
.key { flex: none; width: 16px; height: 12px; border-radius: 2px; background: var(--c); }
.key.line { height: 3px; } .key.dot { width: 8px; height: 8px; border-radius: 50%; }
.key.dashes { height: 0; border-radius: 0; background: none; border-top: 2px dashed var(--c); }
svg text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: var(--soft);
  font-variant-numeric: tabular-nums; }
svg text.mark-text { fill: var(--ink); } svg text.alarm-text { fill: var(--alarm); font-weight: 600; }
svg path { fill: none; } path.panels { stroke: var(--rule); } path.axis { stroke: var(--edge); }
path.mark { stroke: var(--soft); stroke-dasharray: 2 3; } path.alarm { stroke: var(--alarm); stroke-width: 1.5; }
path.issue { stroke: var(--edge); stroke-width: 1.5; stroke-dasharray: 6 4; } .key.issue { --c: var(--edge); }
path.value { stroke: var(--value); stroke-width: 2.2; } .key.value { --c: var(--value); }
path.promised { stroke-width: 1.4; stroke-dasharray: 3 4; }
path.trade { stroke: var(--trade); stroke-width: 4.5; stroke-linecap: round; stroke-opacity: .6; }
.key.trade { --c: var(--trade); }
path.spread { fill: var(--spread); fill-opacity: .38; } .key.spread { --c: var(--spread); }
.bid { --c: var(--bid); } .ask { --c: var(--ask); }
path.cumulated { fill: var(--c); fill-opacity: .22; stroke: var(--c); stroke-width: 1.6; }
path.stem { stroke: var(--c); stroke-width: 3.5; }
path.stack { fill: var(--c); stroke: var(--card); stroke-width: .7; }
path.sum { stroke: var(--ink); stroke-width: 1.6; stroke-dasharray: 6 4; } .key.sum { --c: var(--ink); }
.purse-holders { --c: var(--holders); } .purse-escrow { --c: var(--escrow); } .purse-merchants { --c: var(--merchants); }
.purse-stores { --c: var(--stores); } .purse-platform { --c: var(--platform); }
.fate-redeemed { --c: var(--redeemed); } .fate-decayed { --c: var(--decayed); } .fate-expired { --c: var(--expired); }
.fate-refunded { --c: var(--refunded); } .fate-bought-back { --c: var(--bought); } .fate-defaulted { --c: var(--defaulted); }
.fate-owed { --c: var(--owed); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; width: 100%; max-width: 720px; }
th, td { padding: 4px 10px; border-bottom: 1px solid var(--rule); text-align: right; }
th:first-child { text-align: left; font-weight: 400; }
th.part:first-child { padding-left: 26px; }
tr:first-child th { color: var(--soft); font-weight: 600; }
table { margin-bottom: 14px; }
pre.proof { margin: 4px 0 14px; padding: 10px 14px; border-left: 4px solid var(--merchants); background: var(--ground);
  overflow-x: auto;
  font: 13px/1.5 ui-monospace, "SF Mono", Consolas, monospace; } pre.broken { border-color: var(--alarm); color: var(--alarm); }
.hash { font: 12px ui-monospace, Consolas, monospace; overflow-wrap: anywhere; }
@media (max-width: 760px) {
  .wide { display: none; }
  .narrow { display: block; max-width: 560px; }
  .panels { grid-template-columns: minmax(0, 1fr); }
  section { padding: 14px 12px; } main { padding: 16px 10px 32px; } h1 { font-size: 22px; } h2 { font-size: 17px; }
  header dl { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  dd { font-size: 18px; }
  table { font-size: 12.5px; }
  th, td { padding: 3px 5px; }
  pre.proof { white-space: pre-wrap; font-size: 12px; } }
"""
