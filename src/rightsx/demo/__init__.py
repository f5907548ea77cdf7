"""A made-up market from listing to expiry, and its page of pictures.

scene    merchants, plans, listings          sums    totals and conservation, from events
crowd    how people behave                   page    one self-contained HTML page (style, svg)
run      the calendar: `run_demo`
"""
