"""The rules of the market in plain Python, a file per chapter: the judge of every other engine.

    twin        commands in, events out, queries           bare        the book without money
    run         the clock, what falls due, references      audit       whether it adds up, one hash
    orders      R16 … R19, R38 … R42, R43                  auction     R20
    listing     R3, R7, R44, R46                           primary     R4 … R6, R34, R45
    value       R7 … R10, R22, R23                         redemption  R13, R14, R25
    vouchers    R28                                        transfer    R27, cash
    default     R29, R32, R33                              switches    R32, R43
    holders     R31, R49                                   lots        R15
    state       everything that decides anything           book        price-time queues

Right, then plain; never fast at the price of either.
"""
