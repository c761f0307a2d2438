"""Random programs of the operations of stackless and greenlet.

make_case(seed) makes a text with functions body0() ..., of which tasklets and greenlets are
made, and main().  There are two kinds:

compare     each program runs softly, hard, through C functions, with call sites that ran
            before, and has to do the same each time
wild        whatever can be called, with finalizers, threads, signals, collections ...; it has
            to end without a crash, a hang, a SystemError
"""
from __future__ import annotations

import random
from typing import Any

from case import Case
from writer import Scope, Table, Writer

OPERATIONS = Table()
STATEMENTS = Table()
BODIES = 7              # the first ones are for tasklets, the last ones for greenlets
TASKLETS, GREENLETS, CHANNELS, SAVED = 5, 4, 3, 4
WILD = "wild"


def tasklet(g: Writer) -> str:
    return g.rng.choice([f"T[{g.rng.randrange(TASKLETS)}]"] * 5
                        + [f"saved[{g.rng.randrange(2)}]", "main_tasklet", "current()"])


def a_greenlet(g: Writer) -> str:
    return g.rng.choice([f"G[{g.rng.randrange(GREENLETS)}]"] * 5 + ["home", "home", "here()", "here().parent"])


def channel(g: Writer) -> str:
    return f"C[{g.rng.randrange(CHANNELS)}]"


def some_body(g: Writer) -> str:
    return f"body{g.rng.randrange(BODIES)}"


def argument(g: Writer) -> str:
    return g.rng.choice((str(g.number()), str(g.number()), f"Error({g.number()})", "None", f"({g.number()}, 'x')"))


def operation(g: Writer) -> str:
    """An expression."""
    return str(OPERATIONS.pick(g)(g))


def thunk(g: Writer) -> str:
    if g.depth > 2:
        return f"lambda: schedule({g.number()})"
    g.depth += 1
    try:
        return f"lambda: {operation(g)}"
    finally:
        g.depth -= 1


# --- the scheduler, tasklets ---------------------------------------------------------------

@OPERATIONS.add(8)
def scheduling(g: Writer) -> str:
    return g.rng.choice((f"schedule({g.number()})", f"schedule({g.number()})", "schedule()",
                         f"schedule_remove({g.number()})",
                         "run()", f"schedule(bomb(Error, {g.number()}))"))


@OPERATIONS.add(9)
def of_a_tasklet(g: Writer) -> str:
    n, t = g.number(), tasklet(g)
    return g.rng.choice((f"{t}.insert()", f"{t}.insert()", f"{t}.remove()", f"{t}.run()", f"{t}.run()", f"{t}.switch()",
                         f"{t}.kill()", f"{t}.kill(pending=True)", f"{t}.throw(Error, {n})",
                         f"{t}.throw(Error({n}), pending=True)",
                         f"{t}.raise_exception(Error, {n})", f"set_attribute({t}, 'tempval', {n})",
                         f"set_attribute({t}, 'tempval', bomb(Error, {n}))",
                         f"set_attribute({t}, 'block_trap', {n % 2})",
                         f"{t}.set_atomic({n % 3 == 0})", f"{t}.set_ignore_nesting({n % 2})", f"{t}.alive",
                         f"{t}.blocked",
                         f"saved.__setitem__(0, current())", f"{t}.throw(TaskletExit)", f"{t}.tempval"))


@OPERATIONS.add(5)
def begin_tasklet(g: Writer) -> str:
    n = g.rng.randrange(TASKLETS)
    return g.rng.choice((f"bind(T[{n}], {some_body(g)}, {argument(g)})", f"bind(T[{n}], {some_body(g)})",
                         f"bind(T[{n}], {channel(g)}.receive)", f"bind(T[{n}], {channel(g)}.send, {argument(g)})",
                         f"bind(T[{n}], {some_body(g)}).run()"))


@OPERATIONS.add(9)
def of_a_channel(g: Writer) -> str:
    c, n = channel(g), g.number()
    return g.rng.choice((f"{c}.send({argument(g)})", f"{c}.send({n})", f"{c}.receive()", f"{c}.receive()",
                         f"{c}.receive()",
                         f"{c}.send_exception(Error, {n})", f"{c}.send_throw(Error({n}))",
                         f"{c}.send_sequence([{n}, {n + 1000}])",
                         f"{c}.close()", f"{c}.open()", f"set_attribute({c}, 'preference', {n % 3 - 1})",
                         f"set_attribute({c}, 'schedule_all', {n % 2})", f"item_of({c})", f"{c}.send(bomb(Error, {n}))",
                         f"{c}.balance", f"{c}.send_sequence(schedule(i) for i in ({n}, {n + 1000}))"))


# --- greenlets -------------------------------------------------------------------------------

@OPERATIONS.add(12)
def of_a_greenlet(g: Writer) -> str:
    x, n = a_greenlet(g), g.number()
    return g.rng.choice((f"{x}.switch({argument(g)})", f"{x}.switch()", f"{x}.switch({n}, {n + 1000})",
                         f"{x}.switch({n}, a={n})",
                         f"{x}.switch(a={n})", f"home.switch({n})", f"here().parent.switch({n})",
                         f"{x}.throw(Error({n}))",
                         f"{x}.throw(Error, {n})", f"{x}.throw()", f"{x}.throw(GreenletExit, {n})",
                         f"set_attribute({x}, 'parent', {a_greenlet(g)})", f"bool({x})", f"{x}.dead",
                         f"{x}.gr_frame is None",
                         f"{x}.parent", f"set_attribute({x}, 'gr_context', None)", "saved.__setitem__(1, here())",
                         f"saved[1].switch({n})" if g.chance(0.2) else f"{x}.switch({n})"))


@OPERATIONS.add(4)
def begin_greenlet(g: Writer) -> str:
    x = f"G[{g.rng.randrange(GREENLETS)}]"
    return g.rng.choice((f"set_run({x}, {some_body(g)})", f"set_run({x}, {thunk(g)})", f"{x}.__init__({some_body(g)})",
                         f"{x}.__init__({some_body(g)}, {a_greenlet(g)})"))


# --- around an operation --------------------------------------------------------------------

@OPERATIONS.add(8)
def around(g: Writer) -> str:
    if g.depth > 2:
        return scheduling(g)
    g.depth += 1
    try:
        f, n = thunk(g), g.number()
        return g.rng.choice((f"do({n}, {f})", f"do({n}, {f})", f"do({n}, {f})", f"atomically({f})", f"handling({f})",
                             f"deeper({n % 7}, {f})", f"[{operation(g)} for i in (1, 2)]", f"finally_({f}, {thunk(g)})",
                             f"trapped({f})", f"({operation(g)}, {operation(g)})"))
    finally:
        g.depth -= 1


@OPERATIONS.add(1)
def callbacks(g: Writer) -> str:
    return g.rng.choice(("stackless.set_schedule_callback(callback)", "stackless.set_channel_callback(callback)",
                         "greenlet.settrace(callback)", "stackless.set_schedule_callback(None)",
                         "stackless.set_channel_callback(None)",
                         "greenlet.settrace(None)", "stackless.set_error_handler(callback)",
                         "stackless.set_error_handler(None)",
                         "softly(False)", "softly(True)"))


# --- what only wild programs do -----------------------------------------------------------------

def an_object(g: Writer) -> str:
    return g.rng.choice((tasklet, a_greenlet, channel))(g)


def wild(g: Writer, *forms: str) -> str:
    """One of the forms; {f} and {g} are functions, {x} objects, {n} and {m} numbers."""
    form = g.rng.choice(forms)
    g.depth += 1
    try:
        f = thunk(g) if "{f}" in form else ""
        other = thunk(g) if "{g}" in form else ""
    finally:
        g.depth -= 1
    return form.format(f=f, g=other, x=an_object(g), n=g.rng.randrange(8), m=g.rng.randrange(1, 30), t=tasklet(g),
                       i=g.rng.randrange(3), b=some_body(g), letter=g.rng.choice("TGC"))


@OPERATIONS.add(8, WILD)
def life(g: Writer) -> str:
    return wild(g, "renew('{letter}', {i}, {n}, {f})", "renew('{letter}', {i}, {n}, {f})",
                "forget('{letter}', {i})", "watch({x}, {f})",
                "holding({f}, {g})", "cyclic({x}, {f})", "collect({i})", "often({f})", "saved.clear()", "kept.clear()",
                "kept.append({x})", "kept.append({x}.frame)", "kept.append({x}.gr_frame)")


@OPERATIONS.add(6, WILD)
def beside(g: Writer) -> str:
    return wild(g, "traced({m}, {f}, {g})", "profiled({m}, {f}, {g})", "monitored({m}, {n} + 1, {f}, {g})",
                "set_callback({n}, {f})",
                "signalled({f}, {i} == 0)", "in_thread({f}, {i} == 0)", "in_thread({f}, True)",
                "set_functions({t}, {f})")


@OPERATIONS.add(6, WILD)
def elsewhere(g: Writer) -> str:
    return wild(g, "at_the_limit({f})", "in_another_greenlet({f})", "in_another_tasklet({f})", "in_a_task({f}, {g})",
                "in_context_of({t}, {f})", "time_slices({m}, {n}, {f})", "time_slices({m} * 10, {n}, {f})")


@OPERATIONS.add(4, WILD)
def looking(g: Writer) -> str:
    return wild(g, "look_at({x})", "look_around()", "copied({x})", "adopt({t})", "share_context({x})", "{t}.bind(None)",
                "{t}.bind({b}, ())", "{t}.setup()", "{t}.__init__({b})", "{x}.__class__",
                "stackless.getuncollectables()")


# --- statements -------------------------------------------------------------------------------

@STATEMENTS.add(3)
def logged(g: Writer) -> None:
    g.line(f"log({g.number()}, {operation(g)})")


@STATEMENTS.add(2)
def looked(g: Writer) -> None:
    g.line(f"log({g.number()}, look())")


@STATEMENTS.add(16)
def guarded(g: Writer) -> None:
    with g.block("try:"):
        g.line(f"log({g.number()}, {operation(g)})")
    with g.block(f"except {g.rng.choice(('Exception', 'Exception', 'Exception', 'BaseException'))} as e:"):
        g.line(f"log({g.number()}, e)")
        if g.chance(0.15):
            g.line(f"log({g.number()}, {operation(g)})")
    if g.chance(0.1):
        with g.block("finally:"):
            g.line(f"log({g.number()}, {operation(g)})")


@STATEMENTS.add(3)
def repeated(g: Writer) -> None:
    """The same call sites again."""
    if g.level > 2:
        return logged(g)
    with g.block(f"for i in range({g.rng.randint(2, 4)}):"):
        for _ in range(g.rng.randint(1, 2)):
            guarded(g)


def function(g: Writer, head: str, most: int) -> None:
    with g.block(head):
        g.line(f"log({head.partition('(')[0].removeprefix('def ')!r}, args, more)" if "args" in head else "log('main')")
        for _ in range(g.rng.randint(1, most)):
            STATEMENTS.pick(g)(g)
        g.line(f"return {argument(g)}")


def make_program(seed: int, kind: str) -> str:
    g = Writer(random.Random(seed))
    g.scopes = [Scope(kind)]
    size = g.rng.choice((3, 6, 12))
    for i in range(BODIES):
        function(g, f"def body{i}(*args, **more):", size)
    with g.block("def main():"):
        for i in range(TASKLETS):
            if g.chance(0.7):
                g.line(f"bind(T[{i}], body{g.rng.randrange(BODIES)})")
        for i in range(GREENLETS):
            if g.chance(0.8):
                g.line(f"set_run(G[{i}], body{g.rng.randrange(BODIES)})")
        for _ in range(g.rng.randint(4, 6 + size)):
            guarded(g)
            if g.chance(0.6):
                g.line(f"attempt({g.rng.choice(('run', 'schedule', f'G[{g.rng.randrange(GREENLETS)}].switch'))})")
    return g.text()
