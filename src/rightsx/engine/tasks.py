"""The kinds of work that a command can leave on the stack, to be done step by step (R35).

K_MATCH order                K_STOPS series               K_CANCEL_ORDERS account, reason
K_CANCEL_LIST series, reason, above                       K_UNCROSS series, price
K_PAY_OUT series, …          K_BILL account, product, …   K_CHARGEBACK account, wanted
K_DEFAULT merchant           K_LAPSE series               K_DEFAULT_END series
K_LEGS account, series, …    K_LEG account, series, …     K_LEG_REDEEM account, series, …
K_PEGS series
"""

from __future__ import annotations

(
    K_MATCH,
    K_STOPS,
    K_CANCEL_ORDERS,
    K_CANCEL_LIST,
    K_UNCROSS,
    K_PAY_OUT,
    K_BILL,
    K_CHARGEBACK,
    K_DEFAULT,
    K_LAPSE,
    K_DEFAULT_END,
    K_LEGS,
    K_LEG,
    K_LEG_REDEEM,
    K_PEGS,
) = range(1, 16)
