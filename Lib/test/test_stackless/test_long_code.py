"""Functions whose jumps are longer than 65,535 code units, the most that a frame's
return_offset can say: each construct gives in a tasklet what it gives in main, whatever has
taken the instruction over, however the tasklet is left, traced and monitored or not."""

from __future__ import annotations

import asyncio
import functools
import re
import sys
import types
import unittest
from typing import Any

import stackless
from stackless import schedule, tasklet

from .soft_table import fresh
from .support import StacklessTestCase

UNITS = 65_535
LINE = "o.a; " * 20 + "\n"                          # is never executed
UNITS_OF_A_LINE = len(compile(LINE * 2, "", "exec").co_code) // 2 // 2


# BODY stands for what makes a function long.  Each takes a function that logs, and one that
# makes the iterable (or the like).
SOURCES = {
    "for": """
def f(log, make, o=None):
    for x in make():
        log(x)
        if o is None:
            continue
        BODY
    else:
        log("else")
    log("end")
""",
    "for_that_ends_a_try": """
def f(log, make, o=None):
    try:
        for x in make():
            log(x)
            if o is None:
                continue
            BODY
    except ValueError as e:
        log(repr(e))
    log("end")
""",
    "nested_for": """
def f(log, make, o=None):
    for x in make():
        for y in make():
            log(x, y)
            if o is None:
                continue
            BODY
        log("inner")
    log("end")
""",
    "for_in_a_generator": """
def g(log, make, o=None):
    for x in make():
        yield x
        if o is None:
            continue
        BODY
    return "end"

def f(log, make):
    def outer():
        log((yield from g(log, make)))
    for x in outer():
        log(x)
""",
}

ASYNC_SOURCES = {
    "async_for": """
async def f(log, make, o=None):
    async for x in make():
        log(x)
        if o is None:
            continue
        BODY
    else:
        log("else")
    log("end")
""",
    "async_with": """
async def f(log, make, o=None):
    async with make() as x:
        log(x)
        if o is not None:
            BODY
    log("end")
""",
    "async_with_that_raises": """
async def f(log, make, o=None):
    async with make() as x:
        log(x)
        if o is None:
            raise KeyError(1)
        BODY
    log("end")
""",
}

TRUTH_SOURCES = {
    "while": """
def f(log, make, o=None):
    truth = make()
    while truth:
        log("body")
        if o is None:
            continue
        BODY
    else:
        log("else")
    log("end")
""",
    "if_else": """
def f(log, make, o=None):
    truth = make()
    for _ in range(4):
        if truth:
            log("true")
            if o is not None:
                BODY
        else:
            log("false")
    log("end")
""",
    "comparison": """
def f(log, make, o=None):
    value = make()
    while value < 3:
        log("less")
        if o is None:
            continue
        BODY
    log("end")
""",
    "membership": """
def f(log, make, o=None):
    value = make()
    while 3 not in value:
        log("not in")
        if o is None:
            continue
        BODY
    log("end")
""",
    "attribute_and_item": """
def f(log, make, o=None):
    value = make()
    while value.attribute and value[0] and not value():
        log("body")
        if o is None:
            continue
        BODY
    log("end")
""",
}

WITH_SOURCES = {
    "with": """
def f(log, make, o=None):
    with make() as x:
        log(x)
        if o is not None:
            BODY
    log("end")
""",
    "with_that_raises": """
def f(log, make, o=None):
    with make() as x:
        log(x)
        if o is None:
            raise KeyError(1)
        BODY
    log("end")
""",
    "with_in_a_for": """
def f(log, make, o=None):
    for i in range(2):
        with make() as x:
            log(x)
            if o is None:
                continue
            BODY
    log("end")
""",
}


def with_body(source: str, lines: int) -> types.FunctionType:
    """The function `f` of *source*."""
    body = re.compile(r"^( *)BODY\n", re.MULTILINE)
    namespace: dict[str, Any] = {}
    exec(body.sub(lambda match: (match[1] + LINE) * lines, source), namespace)
    return namespace["f"]


@functools.cache
def long_function(source: str) -> types.FunctionType:
    """The same with a jump that is too long."""
    return with_body(source, UNITS // UNITS_OF_A_LINE + 2)


# --- what the functions go through --------------------------------------------------

def generator(switch):
    def gen():
        for i in range(3):
            switch()
            yield i
    return gen()


def generator_with_a_value(switch):
    def gen():
        yield from generator(switch)
        return "value"
    return gen()


def python_iterator(switch):
    class Iterator:
        n = 0

        def __iter__(self):
            return self

        def __next__(self):
            switch()
            self.n += 1
            if self.n > 3:
                raise StopIteration
            return self.n
    return Iterator()


def iterator_of_c(switch):
    switch()
    return iter([1, 2, 3])


def map_object(switch):
    return map(lambda x: (x, switch())[0], [1, 2, 3])


def channel(switch):
    ch = stackless.channel()

    def feed():
        for i in range(3):
            switch()
            ch.send(i)
        ch.send_exception(StopIteration)
    tasklet(feed)()
    return ch


def empty_channel(switch):
    ch = stackless.channel()
    ch.close()
    return ch


ITERABLES = {f.__name__: f for f in (
    generator, generator_with_a_value, python_iterator, iterator_of_c, map_object, channel,
    empty_channel)}


def async_generator(switch):
    async def gen():
        for i in range(3):
            switch()
            yield i
    return gen()


def waiting_async_generator(switch):
    async def gen():
        for i in range(3):
            await _Pause()
            switch()
            yield i
    return gen()


class _Pause:
    def __await__(self):
        yield


class AsyncIterator:
    def __init__(self, switch):
        self.n = 0
        self.switch = switch

    def __aiter__(self):
        self.switch()
        return self

    async def __anext__(self):
        await _Pause()
        self.switch()
        self.n += 1
        if self.n > 3:
            raise StopAsyncIteration
        return self.n


class AsyncManager:
    def __init__(self, switch):
        self.switch = switch

    async def __aenter__(self):
        self.switch()
        await _Pause()
        return "entered"

    async def __aexit__(self, exc_type, exc, tb):
        self.switch()
        await _Pause()
        return exc_type is KeyError


ASYNC_ITERABLES = {f.__name__: f for f in (
    async_generator, waiting_async_generator, AsyncIterator)}


class Manager:
    def __init__(self, switch):
        self.switch = switch

    def __enter__(self):
        self.switch()
        return "entered"

    def __exit__(self, exc_type, exc, tb):
        self.switch()
        return exc_type is KeyError


class Value:
    """Is true three times, less than 3, and so on."""

    def __init__(self, switch):
        self.n = 0
        self.switch = switch

    def answer(self):
        self.switch()
        self.n += 1
        return self.n <= 3

    def __bool__(self):
        return self.answer()

    def __lt__(self, other):
        return Value.of(self.answer(), self.switch)

    def __contains__(self, item):
        return not self.answer()

    @classmethod
    def of(cls, truth, switch):
        value = cls(switch)
        value.n = 0 if truth else 3
        return value

    def __getitem__(self, i):
        self.switch()
        return self.of(True, self.switch)

    def __call__(self):
        return not self.answer()

    @property
    def attribute(self):
        self.switch()
        return self


class Length(Value):
    __bool__ = None

    def __len__(self):
        return int(self.answer())
del Length.__bool__


def drive(coro, switch):
    """Run a coroutine that only pauses."""
    try:
        while True:
            coro.send(None)
            switch()
    except StopIteration as e:
        return e.value


# --- ways to run them ----------------------------------------------------------------

def plain(run):
    return run()


def nested_in_c(run):
    return list(map(lambda _: run(), (1,)))[0]      # the tasklet is left hard


def traced(run):
    lines = []
    here = None

    def trace(frame, event, arg):
        if frame.f_code.co_name in ("f", "g"):
            lines.append((event, frame.f_lineno))
        return trace
    sys.settrace(trace)
    try:
        result = run()
    finally:
        sys.settrace(None)
    return result, lines


def monitored(run):
    """With the events of branches, whose targets are code units."""
    events = []
    monitoring = sys.monitoring
    tool = monitoring.DEBUGGER_ID

    def branch(code, offset, target):
        if code.co_name in ("f", "g"):
            events.append((offset, target))
    monitoring.use_tool_id(tool, "long code")
    monitoring.register_callback(tool, monitoring.events.BRANCH, branch)
    monitoring.set_events(tool, monitoring.events.BRANCH)
    try:
        result = run()
    finally:
        monitoring.set_events(tool, 0)
        monitoring.register_callback(tool, monitoring.events.BRANCH, None)
        monitoring.free_tool_id(tool)
    return result, events


WAYS = [plain, nested_in_c, traced, monitored]


class LongJumps(StacklessTestCase):
    # (What went wrong: the loop over a generator, a Python iterator or a channel went on in
    # the middle of its body, or at no instruction at all, which is a crash.)

    def logged(self, f, make, switch):
        log = []
        f(lambda *args: log.append(args), lambda: make(switch))
        return log

    def in_tasklet(self, run, way, limit=0):
        result = []
        tasklet(lambda: result.append(way(run)))()
        while stackless.getruncount() > 1:
            interrupted = stackless.run(limit)
            if interrupted is not None:
                interrupted.insert()
        return result[0]

    def check(self, source, make, wrap=lambda f: f):
        def run(switch):
            f = wrap(fresh(long_function(source)))
            return self.logged(f, make, switch)
        for way in WAYS:
            with self.subTest(way=way.__name__):
                expected = way(lambda: run(lambda: None))
                for switch in (lambda: None), schedule:
                    self.assertEqual(self.in_tasklet(lambda: run(switch), way), expected)

    def test_the_jumps_are_long(self):
        for table in SOURCES, ASYNC_SOURCES, TRUTH_SOURCES, WITH_SOURCES:
            for name, source in table.items():
                f = long_function(source)
                code = f.__code__
                if name == "for_in_a_generator":
                    code = f.__globals__["g"].__code__
                self.assertGreater(len(code.co_code) // 2, UNITS, name)

    def test_for(self):
        for name, source in SOURCES.items():
            for kind, make in ITERABLES.items():
                with self.subTest(name, iterable=kind):
                    self.check(source, make)

    def test_async_for(self):
        source = ASYNC_SOURCES["async_for"]
        for kind, make in ASYNC_ITERABLES.items():
            with self.subTest(iterable=kind):
                self.check(source, make, self.driven)

    def test_async_with(self):
        for name in "async_with", "async_with_that_raises":
            with self.subTest(name):
                self.check(ASYNC_SOURCES[name], AsyncManager, self.driven)

    @staticmethod
    def driven(f):
        def run(log, make):
            drive(f(log, make), lambda: None)
        return run

    def test_truth(self):
        for name, source in TRUTH_SOURCES.items():
            for make in Value, Length:
                with self.subTest(name, value=make.__name__):
                    self.check(source, make)

    def test_with(self):
        for name, source in WITH_SOURCES.items():
            with self.subTest(name):
                self.check(source, Manager)

    def test_with_a_time_limit(self):
        # (Where the tasklet is interrupted is seen from return_offset, too.)
        source = SOURCES["for"]
        for kind, make in ITERABLES.items():
            for limit in range(1, 60, 7):
                with self.subTest(iterable=kind, limit=limit):
                    f = fresh(long_function(source))
                    expected = self.logged(f, make, lambda: None)
                    f = fresh(long_function(source))
                    found = self.in_tasklet(lambda: self.logged(f, make, schedule), plain, limit)
                    self.assertEqual(found, expected)

    def test_a_task_of_asyncio(self):
        source = ASYNC_SOURCES["async_for"]

        async def gen():
            for i in range(3):
                await asyncio.sleep(0)
                schedule()
                yield i

        def run():
            log = []
            f = fresh(long_function(source))
            asyncio.run(f(lambda *args: log.append(args), gen))
            return log
        expected = run()
        self.assertEqual(self.in_tasklet(run, plain), expected)

    def test_an_exception_of_a_branch_event(self):
        # It is raised where the loop goes on, in main as in a tasklet.  (It was raised in the
        # loop: where that ends a `try`, its handler caught it.)
        def run(switch, generator_or_iterator, source):
            f = fresh(source)
            log = []
            monitoring = sys.monitoring
            tool = monitoring.DEBUGGER_ID
            count = 0

            def branch(code, offset, target):
                nonlocal count
                if code is f.__code__:
                    count += 1
                    log.append((offset, target))
                    if count == number:
                        raise ValueError(count)
            monitoring.use_tool_id(tool, "long code")
            monitoring.register_callback(tool, monitoring.events.BRANCH, branch)
            monitoring.set_local_events(tool, f.__code__, monitoring.events.BRANCH)
            try:
                f(log.append, lambda: generator_or_iterator(switch))
            except ValueError as e:
                log.append(("not caught", e.args))
            finally:
                monitoring.set_local_events(tool, f.__code__, 0)
                monitoring.register_callback(tool, monitoring.events.BRANCH, None)
                monitoring.free_tool_id(tool)
            return log
        source = SOURCES["for_that_ends_a_try"]
        for f in with_body(source, 1), long_function(source):
            for make in generator, python_iterator:
                for number in range(1, 9):
                    with self.subTest(make=make.__name__, number=number):
                        expected = run(lambda: None, make, f)
                        found = self.in_tasklet(lambda: run(schedule, make, f), plain)
                        self.assertEqual(found, expected)


if __name__ == "__main__":
    unittest.main()
