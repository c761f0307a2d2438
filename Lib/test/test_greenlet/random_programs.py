"""Random programs of greenlets, and a model of what they do.

A program is a list of steps for main and for each greenlet.  A step switches or throws to
one of them: from the eval loop itself, or from within C functions; at a call site that has
run before, or at one that has not.  run_real() executes a program with greenlets,
run_model() by the rules; both give a log of what every step got, which must be equal.

    python random_programs.py SEED COUNT

prints the logs of so many programs: with any greenlet on any interpreter the same text.
(Tools/ecosystem compares PyPI's.)
"""

from __future__ import annotations

import functools
import random
import re
import sys
import types
from typing import Any, Callable

import greenlet

GREENLETS = 5


class Error(Exception):
    """What programs throw at each other."""


# --- ways to a switch ---------------------------------------------------------
#
# Each calls f() and returns what it returns.  Between some of them and f() there is C code.

def directly(f):
    return f()


def deeper(f):
    def down(n):
        return down(n - 1) if n else f()
    return down(20)


def in_map(f):
    return list(map(lambda _: f(), [0]))[0]


def in_filter(f):
    got = []
    list(filter(lambda _: got.append(f()), [0]))
    return got[0]


def in_sort(f):
    got = []
    sorted([0], key=lambda _: got.append(f()) or 0)
    return got[0]


def in_min(f):
    got = []
    min([0], key=lambda _: got.append(f()) or 0)
    return got[0]


def in_reduce(f):
    return functools.reduce(lambda x, y: f(), [0, 1])


def in_sub(f):
    got = []
    re.sub("x", lambda match: got.append(f()) or "y", "x")
    return got[0]


def in_hash(f):
    got = []

    class H:
        def __hash__(self):
            got.append(f())
            return 1
    hash(H())
    return got[0]


def in_class_getitem(f):
    class C:
        def __class_getitem__(cls, key):
            return f()
    return C[0]


def in_property(f):
    class C:
        @property
        def value(self):
            return f()
    return C().value


def in_init(f):
    class C:
        def __init__(self):
            self.got = f()
    return C().got


def in_with(f):
    class C:
        def __enter__(self):
            return f()

        def __exit__(self, *info):
            pass
    with C() as got:
        return got


def in_generator(f):
    def generate():
        yield f()
    for value in generate():
        return value


def in_next(f):
    def generate():
        yield f()
    return next(generate())


def in_exec(f):
    names = {"f": f}
    exec("got = f()", names)
    return names["got"]


def in_partial(f):
    return functools.partial(f)()


def in_map_of_map(f):
    return in_map(lambda: in_map(f))


def in_handler(f):
    try:
        raise KeyError
    except KeyError:
        return f()


WAYS = [directly, directly, directly, deeper, in_map, in_filter, in_sort, in_min, in_reduce, in_sub,
        in_hash, in_class_getitem, in_property, in_init, in_with, in_generator, in_next, in_exec,
        in_partial, in_map_of_map, in_handler]


def switch(target, value):
    return target.switch(value)


def throw(target, value):
    return target.throw(Error(value))


def cold(function: Callable) -> Callable:
    """The same with none of its instructions specialised."""
    return types.FunctionType(function.__code__.replace(), function.__globals__)


# --- programs -----------------------------------------------------------------

def make_program(seed: int, length: int = 12) -> dict[Any, list[tuple]]:
    """The steps of main ("M") and of the greenlets 0 ... GREENLETS - 1, and who is whose
    parent.

    ("switch", way, cold, target, value), ("throw", ...) likewise, ("return", value) or
    ("raise", value).
    """
    rng = random.Random(seed)
    serial = 0

    def step(who):
        nonlocal serial
        serial += 1
        name = rng.choices(["switch", "throw", "return", "raise"],
                           [60, 2, who != "M" and 2, who != "M" and 1])[0]
        if name in ("return", "raise"):
            return name, serial
        # Main is the partner of most programs, and most often called softly.
        others = ["M"] * GREENLETS + list(range(GREENLETS))
        return name, rng.randrange(len(WAYS)), rng.random() < 0.3, rng.choice(others), serial
    program: dict[Any, Any] = {who: [step(who) for _ in range(rng.randrange(1, length))]
                               for who in ("M", *range(GREENLETS))}
    program["parents"] = [rng.choice(["M", "M", "M", *range(i)]) for i in range(GREENLETS)]
    return program


# --- the real thing -------------------------------------------------------------

class Real:
    def __init__(self, program):
        self.program = program
        self.log = []
        self.places = {"M": greenlet.getcurrent()}
        for i, parent in enumerate(program["parents"]):
            self.places[i] = greenlet.greenlet(functools.partial(self.body, i),
                                               self.places[parent])

    def step(self, who, name, way, is_cold, target, value):
        function = switch if name == "switch" else throw
        if is_cold:
            function = cold(function)
        place = self.places[target]
        try:
            got = WAYS[way](lambda: function(place, value))
        except Error as e:
            got = f"Error({e})"
        self.log.append((who, value, got))

    def body(self, who, argument=None):
        self.log.append((who, "begins", argument))
        for name, *rest in self.program[who]:
            if name == "return":
                return rest[0]
            if name == "raise":
                raise Error(rest[0])
            self.step(who, name, *rest)
        return f"end of {who}"

    def run(self):
        for step in self.program["M"]:
            self.step("M", *step)
        serial = 10_000
        for i in range(GREENLETS):
            while not self.places[i].dead:
                serial += 1
                self.step("M", "switch", 0, False, i, serial)
        return self.log


# --- the model --------------------------------------------------------------------

class Model:
    """Who is suspended waits in a step; who goes on finishes it, and begins the next ones
    up to a switch."""

    def __init__(self, program):
        self.program = program
        self.log = []
        self.begun = {"M"}
        self.dead = set()
        self.rest = {who: list(program[who]) for who in ("M", *range(GREENLETS))}
        self.waits = {}             # who: the value of the step that waits
        self.current = "M"
        self.serial = 10_000

    def next_step(self):
        who = self.current
        if self.rest[who]:
            return self.rest[who].pop(0)
        if who != "M":
            return "return", f"end of {who}"
        for i in range(GREENLETS):
            if i not in self.dead:
                self.serial += 1
                return "switch", 0, False, i, self.serial
        return None

    def hand_over(self, target, value, raises):
        """`target` goes on with it, or its nearest ancestor who can.  (One that has not begun
        ends at once if something is thrown into it.)"""
        while target in self.dead or (raises and target not in self.begun):
            self.dead.add(target)
            target = self.program["parents"][target]
        self.current = target
        if target not in self.begun:
            self.begun.add(target)
            self.log.append((target, "begins", value))
        if target in self.waits:
            got = f"Error({value})" if raises else value
            self.log.append((target, self.waits.pop(target), got))

    def run(self):
        while (step := self.next_step()) is not None:
            name, *rest = step
            if name in ("return", "raise"):
                self.dead.add(self.current)
                self.hand_over(self.current, rest[0], name == "raise")
            else:
                self.waits[self.current] = rest[3]
                self.hand_over(rest[2], rest[3], name == "throw")
        return self.log


def run_model(seed: int, length: int = 12) -> list[tuple]:
    return Model(make_program(seed, length)).run()


def run_real(seed: int, length: int = 12) -> list[tuple]:
    return Real(make_program(seed, length)).run()


def check(seed: int, length: int = 12) -> None:
    """The two logs must be equal; says where they differ."""
    expected, got = run_model(seed, length), run_real(seed, length)
    for number, (right, wrong) in enumerate(zip(expected, got)):
        if right != wrong:
            raise AssertionError(f"seed {seed}, event {number}: {wrong}, not {right}")
    if len(expected) != len(got):
        raise AssertionError(f"seed {seed}: {len(got)} events, not {len(expected)}")


def main(arguments: list[str]) -> None:
    first, count = map(int, arguments)
    for seed in range(first, first + count):
        print(seed, *run_real(seed, 8 + seed % 50), sep="\n  ", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
