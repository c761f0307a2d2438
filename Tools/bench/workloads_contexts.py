"""Tasklets that take turns from within a construct that calls Python code.

One operation is one turn: what a tasklet does from one of its schedule() calls to the next.  That
is the rest of the construct in which it waited, one iteration of its loop, and the construct's
beginning, up to the schedule() in the function, method or generator that it calls.

Each function of CONTEXTS is what one tasklet does, so many turns long.
"""

from __future__ import annotations

import sys
from contextvars import copy_context
from functools import partial, reduce
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Callable, Generator

from sample import Sample, timed
from stackless import getcurrentid, run, schedule, tasklet

CONTEXTS: dict[str, Callable[[int], None]] = {}


def context(function: Callable[[int], None]) -> Callable[[int], None]:
    CONTEXTS[function.__name__] = function
    return function


def turn(count: int, construct: str) -> Sample:
    """Two tasklets take turns, both from within the same construct."""
    tasklet(CONTEXTS[construct])(count // 2)
    tasklet(CONTEXTS[construct])(count // 2)
    return Sample(timed(run), count // 2 * 2)


# --- what is called ----------------------------------------------------------------------------

def wait() -> None:
    schedule()


def wait_with(first: int, second: int) -> None:
    schedule()


def wait_for(item: int) -> int:
    schedule()
    return item


async def wait_async() -> None:
    schedule()


def ticks() -> Generator[None, None, None]:
    while True:
        schedule()
        yield


def numbers(count: int) -> Generator[int, None, None]:
    for number in range(count):
        schedule()
        yield number


class Waiter:
    """Whatever is done with it lets the other tasklet run."""

    def method(self) -> None:
        schedule()

    def method_with(self, first: int, second: int) -> None:
        schedule()

    @property
    def value(self) -> None:
        schedule()

    def __getitem__(self, key: int) -> None:
        schedule()

    def __call__(self) -> None:
        schedule()

    def __add__(self, other: int) -> None:
        schedule()

    def __enter__(self) -> None:
        schedule()

    def __exit__(self, exc_type: Any, exc: Any, traceback: Any) -> None:
        pass


class WaitsWhenMade:
    def __init__(self) -> None:
        schedule()


class WaitsWhenAsked:
    def __getattr__(self, name: str) -> None:
        schedule()


class WaitsWhenCompared:
    def __lt__(self, other: WaitsWhenCompared) -> bool:
        schedule()
        return True


class Turns:
    def __init__(self, count: int) -> None:
        self.left = count

    def __iter__(self) -> Turns:
        return self

    def __next__(self) -> None:
        if not self.left:
            raise StopIteration
        self.left -= 1
        schedule()


# --- what the tasklets do ----------------------------------------------------------------------

@context
def function(turns: int) -> None:
    for _ in range(turns):
        wait()


@context
def method(turns: int) -> None:
    waiter = Waiter()
    for _ in range(turns):
        waiter.method()


@context
def star_arguments(turns: int) -> None:
    pair = (1, 2)
    for _ in range(turns):
        wait_with(*pair)


@context
def all_arguments(turns: int) -> None:
    method = Waiter().method_with
    arguments, keywords = (1,), {"second": 2}
    for _ in range(turns):
        method(*arguments, **keywords)


@context
def except_block(turns: int) -> None:
    try:
        raise ValueError
    except ValueError:
        for _ in range(turns):
            schedule()


@context
def generator_for(turns: int) -> None:
    for _ in numbers(turns):
        pass


@context
def generator_next(turns: int) -> None:
    generator = ticks()
    for _ in range(turns):
        next(generator)


@context
def yield_from(turns: int) -> None:
    def delegate() -> Generator[int, None, None]:
        yield from numbers(turns)

    for _ in delegate():
        pass


@context
def coroutine(turns: int) -> None:
    async def main() -> None:
        for _ in range(turns):
            await wait_async()

    try:
        main().send(None)
    except StopIteration:
        pass


@context
def with_statement(turns: int) -> None:
    waiter = Waiter()
    for _ in range(turns):
        with waiter:
            pass


@context
def instance(turns: int) -> None:
    for _ in range(turns):
        WaitsWhenMade()


@context
def property_value(turns: int) -> None:
    waiter = Waiter()
    for _ in range(turns):
        waiter.value


@context
def getattr_hook(turns: int) -> None:
    waiter = WaitsWhenAsked()
    for _ in range(turns):
        waiter.missing


@context
def getitem(turns: int) -> None:
    waiter = Waiter()
    for _ in range(turns):
        waiter[0]


@context
def call(turns: int) -> None:
    waiter = Waiter()
    for _ in range(turns):
        waiter()


@context
def operator(turns: int) -> None:
    waiter = Waiter()
    for _ in range(turns):
        waiter + 1


@context
def iterator(turns: int) -> None:
    for _ in Turns(turns):
        pass


@context
def partial_object(turns: int) -> None:
    wait_for = partial(wait_with, 1)
    for _ in range(turns):
        wait_for(2)


@context
def context_run(turns: int) -> None:
    own = copy_context()
    for _ in range(turns):
        own.run(wait)


# --- called by C code --------------------------------------------------------------------------

@context
def map_callback(turns: int) -> None:
    for _ in map(wait_for, range(turns)):
        pass


@context
def sorted_key(turns: int) -> None:
    sorted(range(turns), key=wait_for)


@context
def sorted_comparison(turns: int) -> None:
    sorted(WaitsWhenCompared() for _ in range(turns + 1))


@context
def reduce_callback(turns: int) -> None:
    reduce(wait_with, range(turns + 1))


@context
def exec_code(turns: int) -> None:
    code = compile("wait()", "<exec>", "exec")
    names = {"wait": wait}
    for _ in range(turns):
        exec(code, names)


@context
def eval_code(turns: int) -> None:
    code = compile("wait()", "<eval>", "eval")
    names = {"wait": wait}
    for _ in range(turns):
        eval(code, names)


class WaitingModules:
    """Finds and loads modules whose code is a schedule()."""

    @staticmethod
    def find_spec(name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(name, WaitingModules) if name.startswith("waiting_") else None

    @staticmethod
    def create_module(spec: ModuleSpec) -> None:
        pass

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        schedule()


@context
def import_module(turns: int) -> None:
    name = f"waiting_{getcurrentid()}"
    if WaitingModules not in sys.meta_path:
        sys.meta_path.insert(0, WaitingModules)
    for _ in range(turns):
        __import__(name)
        del sys.modules[name]
