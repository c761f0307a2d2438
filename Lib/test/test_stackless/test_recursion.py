"""How deep tasklets may recurse: as deep as main, whatever the recursion goes through."""

from __future__ import annotations

import sys
import threading
import unittest

import stackless
from stackless import tasklet

from .constructs import SOFT, WARM
from .constructs_inline import INLINED
from .soft_table import fresh
from .support import StacklessTestCase

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
        return levels, type(e), e.args
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
                expected, *error = in_main(recurse, fresh(construct))
                for n in range(2):
                    (found, *error_found), left_over = in_tasklet(recurse, fresh(construct))
                    self.assertEqual(error_found, error)
                    self.assertGreaterEqual(found, expected - 1 - expected // 50)
                    self.assertLessEqual(found, LIMIT)
                    self.assertEqual(left_over, 0)

    def test_inlined(self):
        # (What went wrong: continuations counted as levels, so that there was only half the
        # depth, and less within several of them.)
        self.check(INLINED)

    def test_functions(self):
        self.check(SOFT)
        self.check(WARM)


if __name__ == "__main__":
    unittest.main()
