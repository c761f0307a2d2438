"""How deep tasklets may recurse: as deep as main, whatever the recursion goes through."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
import unittest

import stackless
from stackless import tasklet

from .constructs import SOFT, WARM
from .constructs_inline import INLINED
from .soft_table import fresh
from .support import ChildTestCase, StacklessTestCase

LIMIT = 300


def recurse(construct):
    """How many levels of calls within *construct* there are room for, and how it ends."""
    levels = 0

    def f():
        nonlocal levels
        levels += 1
        return construct(f)
    try:
        f()
    except RecursionError as e:
        return levels, str(e)
    raise AssertionError("it came to an end")


def in_main(func, *args):
    """func(*args) in main of a thread of its own, where nothing is on the stack."""
    results = []
    thread = threading.Thread(target=lambda: results.append(func(*args)))
    thread.start()
    thread.join()
    return results[0]


def in_tasklet(func, *args):
    results = []

    def task():
        before = stackless.current.recursion_depth
        results.append(func(*args))
        results.append(stackless.current.recursion_depth - before)
    tasklet(task)()
    stackless.run()
    return results


class Depth(StacklessTestCase):

    def setUp(self):
        super().setUp()
        self.addCleanup(sys.setrecursionlimit, sys.getrecursionlimit())
        sys.setrecursionlimit(LIMIT)

    def check(self, table):
        for name, construct in table.items():
            with self.subTest(name):
                for n in range(2):
                    self.assertAsDeep(lambda: recurse(fresh(construct)))

    def test_inlined(self):
        # (What went wrong: continuations counted as levels, so that there was only half the
        # depth, and less within several of them.)
        self.check(INLINED)

    def test_functions(self):
        self.check(SOFT)
        self.check(WARM)


    def assertAsDeep(self, run):
        """*run* returns how many levels there are room for, and the text of the error."""
        expected, text = in_main(run)
        (found, text_found), left_over = in_tasklet(run)
        # (C code says more, in main, where it comes first: in debug builds.)
        self.assertIn(text_found, text)
        self.assertEqual(text_found, "maximum recursion depth exceeded")
        self.assertGreaterEqual(found, expected - 1 - expected // 50)
        self.assertLessEqual(found, LIMIT)
        self.assertEqual(left_over, 0)

    def test_eager_tasks(self):
        def run():
            levels = 0

            async def level(loop):
                nonlocal levels
                levels += 1
                await asyncio.Task(level(loop), loop=loop, eager_start=True)

            async def main():
                try:
                    await level(asyncio.get_running_loop())
                except RecursionError as e:
                    return str(e)
            error = asyncio.run(main())
            return levels, error
        self.assertAsDeep(run)

    def test_async_generators(self):
        def run():
            levels = 0

            async def gen():
                nonlocal levels
                levels += 1
                async for x in gen():
                    yield x

            async def main():
                async for x in gen():
                    pass
            try:
                main().send(None)
            except RecursionError as e:
                return levels, str(e)
        self.assertAsDeep(run)

    def test_throw_through_many_generators(self):
        # Those that delegate are no levels, until they go on.
        def nested(n):
            if n:
                yield from nested(n - 1)
            else:
                while True:
                    try:
                        yield
                    except KeyError:
                        pass

        def run():
            gen = nested(LIMIT // 3)
            next(gen)

            def throw(n):
                return throw(n - 1) if n else gen.throw(KeyError)
            for n in range(LIMIT):
                try:
                    throw(n)
                except RecursionError as e:
                    return n, str(e)
        self.assertAsDeep(run)

    def test_what_was_begun_is_undone(self):
        # At the limit, and by the RecursionError on its way down.
        contexts = [contextvars.Context() for _ in range(LIMIT)]
        lists = [[3, 1, 2] for _ in range(LIMIT)]

        def enter(n):
            contexts[n].run(enter, n + 1)

        def sort(n):
            lists[n].sort(key=lambda x: sort(n + 1))

        def run():
            for f in enter, sort:
                self.assertRaises(RecursionError, f, 0)
        self.assertEqual(in_tasklet(run), [None, 0])
        self.assertEqual([context.run(len, "") for context in contexts], [0] * LIMIT)
        self.assertEqual(lists, [[3, 1, 2]] * LIMIT)


class NoCrash(ChildTestCase):

    def test_endless_recursion(self):
        # It takes memory, and no C stack.
        self.run_ok("""
import sys, stackless
sys.setrecursionlimit(200_000)
class C:
    def __add__(self, other):
        return self + other
    def __getattr__(self, name):
        return self.x
    def __bool__(self):
        return not self
    def __iter__(self):
        return iter(*self)
    def __next__(self):
        return next(self)
    def __new__(cls, *args):
        return C(1) if args else object.__new__(C)
def generate():
    for x in generate():
        yield next(generate())
c = C()
ENDLESS = [lambda: c + 1, lambda: c.x, lambda: not c, lambda: [*c], lambda: next(c),
           lambda: C(1), lambda: next(generate())]
ended = []
def task(f):
    try:
        f()
    except RecursionError as e:
        ended.append(e.args)
for f in ENDLESS:
    stackless.tasklet(task)(f)
    stackless.run()
assert ended == [("maximum recursion depth exceeded",)] * len(ENDLESS), ended
""")

    def test_context_run_of_context_run(self):
        # As many calls as there are arguments.  (It was a crash.)
        self.run_ok("""
import contextvars, stackless
def nested(n):
    contexts = [contextvars.Context() for _ in range(n)]
    try:
        return contexts[0].run(*[context.run for context in contexts[1:]], len, "")
    except RecursionError:
        return "too deep"
    finally:
        for context in contexts:
            context.run(int)
results = []
for n in 1, 90, 110, 200, 200_000:
    stackless.tasklet(lambda: results.append(nested(n)))()
    stackless.run()
assert results == [0, 0, 0, 0, "too deep"], results
""")


if __name__ == "__main__":
    unittest.main()
