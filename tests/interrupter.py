"""Ctrl-C at a moment of one's choice: what tests of interrupted calls share."""

from __future__ import annotations

import dis
import sys
from functools import cache

from rightsx import _jit, book, dispatch, exchange, orderbook, results
from rightsx.engine import barebook, desk, memory, twin

CALLS = {code for name, code in dis.opmap.items() if name.startswith("CALL")}
STARTS = {dis.opmap["RESUME"], dis.opmap["JUMP_BACKWARD"]}


@cache
def opcodes(code):
    return code.co_code


class Interrupter:
    """Raises a KeyboardInterrupt at the given moments of those at which Python looks for one, in our own files.

    It looks as a function begins, as a loop goes round, and after a call of something written in C; never as a function
    returns. What C calls back (NumPy's attributes are Python) looks, too.
    """

    FILES = frozenset(
        module.__file__ for module in (dispatch, exchange, results, orderbook, book, barebook, desk, twin, memory, _jit)
    )

    def __init__(self, *moments):
        self.moments, self.passed, self.last = set(moments), 0, None

    def __enter__(self):
        self.before = sys.gettrace()
        sys.settrace(self.trace)
        return self

    def __exit__(self, *_):
        sys.settrace(self.before)

    def trace(self, frame, event, _):
        ours = frame.f_code.co_filename in self.FILES
        if event == "call":
            self.last = None
            if not ours:
                if frame.f_back.f_code.co_filename in self.FILES:
                    self.moment()
                return None
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        elif event == "opcode":
            before, opcode = self.last, opcodes(frame.f_code)[frame.f_lasti]
            self.last = (frame, opcode)
            if opcode in STARTS or (before is not None and before[0] is frame and before[1] in CALLS):
                self.moment()
        return self.trace

    def moment(self):
        self.passed += 1
        if self.passed in self.moments:
            raise KeyboardInterrupt
