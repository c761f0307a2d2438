"""Switches that are called from C code, with the C stack in use (_teststackless,
and what is private in _stackless)."""

import gc
import unittest

import _stackless

import stackless
from stackless import channel, schedule, schedule_remove, tasklet
from test.support import import_helper

from .support import StacklessTestCase

_teststackless = import_helper.import_module("_teststackless")


class CFrame(StacklessTestCase):

    def test_switches(self):
        turns = []

        def other(n):
            for i in range(3):
                turns.append(n)
                schedule()

        def task(n):
            self.assertIs(_teststackless.test_cframe(3), stackless.current)
            turns.append(n)
        tasklet(task)("c")
        tasklet(other)("python")
        stackless.run()
        self.assertEqual(turns, ["python"] * 3 + ["c"])

    def test_none(self):
        self.assertIs(_teststackless.test_cframe(0), stackless.current)

    def test_from_main(self):
        seen = []
        tasklet(seen.append)(1)
        self.assertIs(_teststackless.test_cframe(2), stackless.main)
        self.assertEqual(seen, [1])

    def test_stacks_of_all_sizes(self):
        # Each checks that its words are there when it comes back.
        sizes = [0, 1, 63, 64, 65, 1000, 5000, 30000]
        ts = [tasklet(_teststackless.test_cframe)(20, n) for n in sizes]
        stackless.run()
        self.assertEqual([t.alive for t in ts], [False] * len(sizes))

    def test_main_with_a_stack_of_its_own(self):
        ts = [tasklet(_teststackless.test_cframe)(3, n) for n in (10, 10000)]
        schedule()
        _teststackless.test_cframe(1, 20000)
        stackless.run()
        self.assertEqual([t.alive for t in ts], [False, False])

    def test_killed(self):
        t = tasklet(_teststackless.test_cframe)(1000, 1000)
        schedule()
        t.kill()
        self.assertDead(t)

    def test_arguments(self):
        for args in ((), ("x",), (1, 2, 3)):
            with self.assertRaises(TypeError):
                _teststackless.test_cframe(*args)
        for words in (-1, 1 << 20):
            with self.assertRaises(ValueError):
                _teststackless.test_cframe(1, words)


class CState(StacklessTestCase):

    def test_nesting_level(self):
        levels = []

        def inner():
            levels.append(stackless.current.nesting_level)
            schedule_remove()

        def task():
            levels.append(stackless.current.nesting_level)
            _teststackless.test_cstate(inner)
        t = tasklet(task)()
        t.run()
        self.assertEqual(levels, [0, 1])
        self.assertFalse(t.restorable)
        t.run()
        self.assertDead(t)

    def test_result_and_exception(self):
        ch = channel()
        results = []

        def task():
            results.append(_teststackless.test_cstate(ch.receive))
            try:
                _teststackless.test_cstate(ch.receive)
            except ValueError as e:
                results.append(e.args)
        tasklet(task)()
        stackless.run()
        ch.send(1)
        ch.send_exception(ValueError, 2)
        self.assertEqual(results, [1, (2,)])

    def test_arguments_go_through(self):
        def function(*args, **kwargs):
            schedule()
            return args, kwargs
        call = _stackless._test_nostacklesscall
        results = []
        tasklet(lambda: results.append(call(function, 1, 2, a=3)))()
        stackless.run()
        self.assertEqual(results, [((1, 2), {"a": 3})])
        with self.assertRaises(TypeError):
            call()


class Tracking(StacklessTestCase):

    def test_track_and_untrack(self):
        x = []
        self.assertTrue(gc.is_tracked(x))
        with self.assertRaises(ValueError):
            _stackless._gc_track(x)
        _stackless._gc_untrack(x)
        self.assertFalse(gc.is_tracked(x))
        with self.assertRaises(ValueError):
            _stackless._gc_untrack(x)
        _stackless._gc_track(x)
        self.assertTrue(gc.is_tracked(x))
        with self.assertRaises(TypeError):
            _stackless._gc_track(1)


if __name__ == "__main__":
    unittest.main()
