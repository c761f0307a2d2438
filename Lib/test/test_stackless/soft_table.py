"""Makes Lib/stackless/soft.rst: which constructs can be left softly.

Usage: python -m test.test_stackless.soft_table >Lib/stackless/soft.rst
"""

from __future__ import annotations

import sys
import types
from typing import Any, Callable

import stackless
from stackless import schedule_remove, tasklet

from .constructs import SOFT, WARM, Construct
from .constructs_c import THROUGH_C
from .constructs_inline import INLINED
from .pickling import REFUSED, OtherProcess, how_pickled
from .support import reset_scheduler


def _fresh_code(code: types.CodeType) -> types.CodeType:
    consts = [_fresh_code(c) if isinstance(c, types.CodeType) else c
              for c in code.co_consts]
    return code.replace(co_consts=tuple(consts))


def fresh(f: Construct) -> Construct:
    """A copy of *f* that was never run, with the functions defined in it."""
    return types.FunctionType(_fresh_code(f.__code__), f.__globals__, f.__name__,
                              f.__defaults__, f.__closure__)


def _how_left(run: Callable[[Callable[[], Any]], Any]) -> str:
    """How a tasklet is suspended within run(): "soft", "hard" or "no", not at all."""
    def task():
        try:
            run(lambda: schedule_remove(None))
        except RuntimeError:
            pass                       # refused
    t = tasklet(task)()
    t.run()
    if not t.paused:
        how = "no"
    else:
        how = "hard" if t.nesting_level else "soft"
        t.run()
    reset_scheduler()
    return how


def cold(construct: Construct) -> str:
    return _how_left(fresh(construct))


def polymorphic(construct: Construct) -> str:
    # The classes that the construct defines are others each time.
    f = fresh(construct)
    for _ in range(20):
        f(lambda: None)
    return _how_left(f)


def traced(construct: Construct) -> str:
    f = fresh(construct)

    def trace(frame, event, arg):
        frame.f_trace_opcodes = True
        return trace

    def run(switch):
        sys.settrace(trace)
        try:
            return f(switch)
        finally:
            sys.settrace(None)
    return _how_left(run)


def monitored(construct: Construct) -> str:
    monitoring = sys.monitoring
    tool = monitoring.DEBUGGER_ID
    f = fresh(construct)
    monitoring.use_tool_id(tool, "soft_table")
    monitoring.set_events(tool, sum(
        getattr(monitoring.events, name) for name in dir(monitoring.events)
        if name.isupper() and name not in ("C_RETURN", "C_RAISE")))
    try:
        return _how_left(f)
    finally:
        monitoring.set_events(tool, 0)
        monitoring.free_tool_id(tool)


HEAD = """\
How tasklets are left
=====================

Written by ``python -m test.test_stackless.soft_table``, checked by the test suite.  A
function that a tasklet calls through the construct switched to another tasklet.  How was
the first one left?

- soft: nothing of it was on the C stack (nesting level 0), its frames were exchanged;
- hard: C functions were between its frames, a slice of C stack was copied;
- no: the switch was refused.

The code was

- cold: never run before;
- polymorphic: run 20 times, each with other classes;
- traced: with ``sys.settrace()``, by opcode;
- monitored: with all events of ``sys.monitoring``.

Pickled: was the tasklet, left softly there by cold code, loaded in another process, and went it
on there as it did here?  No, because:

REASONS
A task of asyncio, whose event loop runs in a tasklet, is soft in nearly every step, the
first one of an eager task included.  Hard are

- the first step of an eager task whose class has ``__new__`` or ``__init__`` of its own,
  or that is made by a ``functools.partial`` object;
- a step in which an exception is thrown through an awaitable whose ``throw`` is no plain
  method: it is an attribute of the instance, or its class has ``__getattr__``;
- a step that begins with ``GeneratorExit``.

``make bench`` measures what a turn costs within 17 of the soft constructs, and within some
of the hard ones.  ``exec()`` and ``eval()`` of a code object took 10 resumptions of a
generator a turn, and 6 if what they called just returned; an import 335, and 310.
"""

def _reasons() -> str:
    return "".join(f"- {name.replace('_', ' ')}: {reason};\n" for name, reason in REFUSED.items())


GROUPS = {
    "Functions, methods, expressions": SOFT,
    "Generators and classes": WARM,
    "Instructions that call Python functions": INLINED,
    "Through C functions": THROUGH_C,
}
MODES = {"cold": cold, "polymorphic": polymorphic, "traced": traced,
         "monitored": monitored}


def document() -> str:
    other = OtherProcess()
    modes = {**MODES, "pickled": lambda construct: how_pickled(fresh(construct), other)}
    lines = [HEAD.replace("REASONS\n", _reasons())]
    for title, table in GROUPS.items():
        width = max(map(len, table))
        rule = " ".join(["=" * width] + ["=" * len(mode) for mode in modes])
        lines += ["", title, "-" * len(title), "", rule,
                  " ".join(["construct".ljust(width), *modes]), rule]
        for name, construct in table.items():
            cells = [mode(construct).ljust(len(heading))
                     for heading, mode in modes.items()]
            title_of = name.replace("_", " ").ljust(width)
            lines.append(" ".join([title_of, *cells]).rstrip())
        lines.append(rule)
    other.close()
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    assert stackless
    sys.stdout.write(document())
