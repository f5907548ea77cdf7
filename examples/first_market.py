"""A café presells coffee; somebody resells, somebody drinks, the rest expires.

python examples/first_market.py
"""

from __future__ import annotations

import rightsx as rx


def main() -> None:
    """Run the market and print what its people see."""
    market = rx.Exchange(gift_fee=10)
    shop = market.register_merchant("Cafe Nord", time_ns="2026-01-01")
    altona = market.register_store("Altona", merchant=shop)
    ann, bob, cleo = (market.open_account() for _ in range(3))
    for account in (ann, bob, cleo):
        market.deposit(account=account, amount=500_00)

    coffee = market.list_series(
        merchant=shop,
        product="coffee",
        par=1_00,
        issue_price=80,
        authorised=1_000,
        expire="2026-06-30",
        last_trade="2026-06-29",
        policy="forfeit",
        schedule=rx.schedule.linear(steps=5, every="7d"),
        stores=[altona],
        issue_bps=200,
        escrow_bps=5_000,
        taker_bps=30,
        royalty_bps=100,
    )
    market.subscribe(series=coffee, account=ann, qty=200, channel="web")

    market.advance(to="2026-03-01")
    market.place(series=coffee, account=ann, side="sell", price=92, qty=60)
    market.place(series=coffee, account=ann, side="sell", price=88, qty=60, display=20)
    market.place(series=coffee, account=bob, side="buy", price=90, qty=50)
    market.place(series=coffee, account=cleo, side="buy", price=84, qty=30)
    market.transfer(series=coffee, account=bob, recipient=cleo, qty=5)
    print(market.depth(coffee), "\n")

    bill = market.redeem_bill(merchant=shop, product="coffee", account=bob, amount=12_34, store=altona)
    print(f"Bob's bill of 12.34: {bill.qty} units, {bill.goods} in goods, {bill.cash_due} in cash\n")

    refused = market.place(series=coffee, account=bob, side="buy", price=101, qty=1).refused
    print(f"Nobody may bid more than the coffee costs: {refused}\n")

    market.advance(to="2026-06-15")
    print(market.product(shop, "coffee"), "\n")
    print(market.card(ann, shop), "\n")

    market.advance(to="2026-06-30")
    print(market.report(series=coffee), "\n")
    print(market.statement(cleo), "\n")
    market.check()
    print("the books add up")


if __name__ == "__main__":
    main()
