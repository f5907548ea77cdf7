"""The rules of the market in plain Python, a file per chapter: the judge of every other engine.

Read in this order; each file knows those above it.

    lots         where units came from (R15)                book       price-time queues (R16, R40, R42)
    state        everything that decides anything, and the few ways in which it changes (R2, R12, R21, R24)
    holders      accounts, limits, the cap on face held (R3, R31, R49)
    settle       locks, fees, royalties, buy-backs (R17, R18, R30)
    orders       entering, matching, stops, amending, cancelling (R16 … R19, R26, R38 … R43, R48)
    listing      merchants, stores, series (R3, R7, R20, R23, R44, R46)
    primary      sale, grants, import (R4 … R6, R34, R45, R46)
    plans        use it or sell it (R55)
    redemption   goods, bills, refunds (R12 … R14, R25)     transfer   cash, gifts (R27)
    baskets      bills, products and rolls over several books (R50 … R53)
    value        decay, last trade, expiry (R7, R9, R10, R22, R23)
    auction      one price, one moment (R20, R42)           vouchers   offline (R28)
    default      failing, freezing, charging back (R29, R32, R33)
    switches     halts, the kill switch, the clock (R20, R32, R43)
    run          one command in, its events out (R2, R35)   audit      whether it adds up (R11, R36)
    twin         the whole behind a face                    bare       the book without money

Shapes of schedules (R8) are compiled in `rightsx.schedule`, reports (R47) drawn in `rightsx.reports`.
Right, then plain; never fast at the price of either.
"""
