"""The n-th allocation of an operation fails, for n = 0, 1, 2, ...

Each case makes the greenlets for an operation, and returns the operation and what to watch.
The operation is tried with the first allocation failing, anew with the second one failing, and
so on until it needs no more.  A failure must be a MemoryError raised by the operation, and must
have changed nothing; where the allocation may be one of a greenlet that the operation runs, that
one may have died of it.

main(case, place) runs a case in one of these places:

main        the main greenlet
greenlet    another one
map         another one that has C functions between its frames: its switches are hard
"""

from __future__ import annotations

import gc
import sys
import types

import greenlet as module
from greenlet import getcurrent, greenlet

from ..test_stackless.nomemory import fail_each, outcome_of

CASES = {}
TARGET_MAY_FAIL = set()


def case(f):
    CASES[f.__name__] = f
    return f


def target_may_fail(f):
    TARGET_MAY_FAIL.add(f.__name__)
    return case(f)


class Error(Exception):
    pass


class Subclass(greenlet):
    def run(self, *args, **kwargs):
        return args


def nothing(*args, **kwargs):
    pass


def wait(*args, **kwargs):
    """Waits for ever, here; an exception ends it."""
    while True:
        getcurrent().parent.switch()


def wait_below_c(*args):
    return list(map(wait, [0]))


def deep(n):
    return deep(n - 1) if n else wait()


def survive(*args):
    while True:
        try:
            getcurrent().parent.switch()
        except Error:
            pass


def waiting(function=wait, *args):
    g = greenlet(function)
    g.switch(*args)
    return g


# --- the cases --------------------------------------------------------------

@case
def new():
    return lambda: greenlet(nothing),


@case
def new_with_a_parent():
    parent = greenlet(nothing)
    return lambda: greenlet(nothing, parent), parent


@case
def new_with_keywords():
    return lambda: greenlet(run=nothing, parent=None),


@case
def new_of_a_subclass():
    return lambda: Subclass(),


@target_may_fail
def first_switch():
    g = greenlet(nothing)
    return g.switch, g


@target_may_fail
def first_switch_with_arguments():
    g = greenlet(nothing)
    return lambda: g.switch(1, 2, 3), g


@target_may_fail
def first_switch_with_keywords():
    g = greenlet(nothing)
    return lambda: g.switch(1, two=2), g


@target_may_fail
def first_switch_to_one_that_waits():
    g = greenlet(wait)
    return g.switch, g


@target_may_fail
def first_switch_to_one_that_waits_deep():
    g = greenlet(deep)
    return lambda: g.switch(20), g


@target_may_fail
def first_switch_to_one_that_waits_below_c():
    g = greenlet(wait_below_c)
    return g.switch, g


@target_may_fail
def first_switch_of_a_subclass():
    g = Subclass()
    return lambda: g.switch(1), g


@target_may_fail
def first_switch_of_a_method():
    g = greenlet(types.MethodType(nothing, 1))
    return lambda: g.switch(1), g


@target_may_fail
def first_switch_of_a_class():
    g = greenlet(list)
    return lambda: g.switch((1, 2)), g


@target_may_fail
def switch():
    g = waiting()
    return g.switch, g


@target_may_fail
def switch_with_arguments():
    g = waiting()
    return lambda: g.switch(1, 2), g


@target_may_fail
def switch_with_keywords():
    g = waiting()
    return lambda: g.switch(one=1), g


@target_may_fail
def switch_from_below():
    def down(n):
        return down(n - 1) if n else g.switch()
    g = waiting()
    return lambda: down(10), g


@target_may_fail
def switch_to_one_below_c():
    g = waiting(wait_below_c)
    return lambda: g.switch(1), g


@target_may_fail
def switch_to_a_sibling():
    def to_the_second():
        while True:
            second.switch()

    def back():
        while True:
            me.switch()
    me = getcurrent()
    first, second = greenlet(to_the_second), greenlet(back)
    first.switch()
    return first.switch, first, second


@case
def switch_to_a_dead_one():
    g = greenlet(nothing)
    g.switch()
    return lambda: g.switch(1, 2), g


@target_may_fail
def end():
    g = greenlet(lambda: getcurrent().parent.switch())
    g.switch()
    return lambda: g.switch(5), g


@target_may_fail
def throw_class():
    g = waiting(survive)
    return lambda: g.throw(Error), g


@target_may_fail
def throw_instance():
    g = waiting(survive)
    e = Error(1)
    return lambda: g.throw(e), g


@target_may_fail
def throw_to_one_below_c():
    g = waiting(lambda: list(map(survive, [0])))
    return lambda: g.throw(Error, 1), g


@target_may_fail
def throw_exit():
    g = waiting()
    return g.throw, g


@target_may_fail
def throw_exit_to_a_new_one():
    g = greenlet(nothing)
    return g.throw, g


@case
def throw_exit_to_a_dead_one():
    g = greenlet(nothing)
    g.switch()
    return g.throw, g


@case
def set_parent():
    g, parent = waiting(), greenlet(nothing)

    def operation():
        g.parent = parent
        g.parent = getcurrent()
    return operation, g, parent


@case
def set_run():
    g = greenlet(nothing)

    def operation():
        g.run = wait
    return operation, g


@case
def attributes():
    g = waiting(deep, 5)
    return lambda: (g.gr_frame, g.gr_context, g.dead, repr(g), g._stack_saved), g


@target_may_fail
def with_a_trace_function():
    g = waiting()

    def operation():
        old = module.settrace(nothing)
        try:
            g.switch(1)
        finally:
            module.settrace(old)
    return operation, g


# --- running them ------------------------------------------------------------

def dump(watched):
    """What a program can see of the greenlets."""
    return getcurrent(), module.gettrace(), [
        (bool(g), g.dead, g.parent, g.gr_frame, g.gr_frame and g.gr_frame.f_lasti,
         g.__dict__.get("run"), vars(g).copy(), sys.getrefcount(g)) for g in watched]


class Attempt:
    """One attempt of a case with one failing allocation."""

    def __init__(self, make, n):
        self.make = make
        self.n = n

    def attempt(self, *_):
        operation, *watched = self.make()
        gc.collect()
        before = dump(watched)
        outcome = outcome_of(operation, self.n)
        if outcome == "failure":
            died = self.make.__name__ in TARGET_MAY_FAIL and any(g.dead for g in watched)
            after = dump(watched)
            if after != before and not died:
                outcome = f"changed:\n{before}\n{after}"
        return outcome


def attempt(make, n, place):
    a = Attempt(make, n)
    if place == "main":
        return a.attempt()
    if place == "greenlet":
        return greenlet(a.attempt).switch()
    return greenlet(lambda: list(map(a.attempt, [0]))[0]).switch()


def main(name: str, place: str) -> None:
    make = CASES[name]
    fail_each(lambda n: attempt(make, n, place), 1000, greenlet, Error)
