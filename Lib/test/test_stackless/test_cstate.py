"""Switches that are called from C code, with the C stack in use (_teststackless,
and what is private in _stackless)."""

import gc
import sys
import traceback
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


class Steps(StacklessTestCase):
    """softswitchablefunc() and SoftSwitchableDemo.demo()"""

    functions = (_teststackless.softswitchablefunc, _teststackless.SoftSwitchableDemo().demo)

    def test_no_switch(self):
        for f in self.functions:
            seen = []
            tasklet(seen.append)(1)
            self.assertEqual(f(0), 2)
            self.assertEqual(seen, [])
            stackless.run()

    def test_schedule(self):
        for f in self.functions:
            turns = []

            def other():
                for _ in range(3):
                    turns.append("other")
                    schedule()

            tasklet(lambda: turns.append(f(1, "value")))()
            tasklet(other)()
            stackless.run()
            self.assertCountEqual(turns, [2] + ["other"] * 3)
            self.assertGreater(turns.index(2), 1)

    def test_schedule_remove(self):
        for f in self.functions:
            for action in 2, 3, 99:
                got = []
                t = tasklet(lambda: got.append(f(action, "value")))()
                for _ in range(2):
                    t.run()
                    self.assertTrue(t.paused)
                    self.assertGreater(t.nesting_level, 0)
                t.run()
                self.assertEqual(got, [2])
                self.assertFalse(t.alive)

    def test_exception_in_a_step(self):
        for f in self.functions:
            t = tasklet(lambda: f(2))()
            t.run()
            with self.assertRaises(ZeroDivisionError):
                t.throw(ZeroDivisionError)
            self.assertFalse(t.alive)

    def test_callback(self):
        def fail():
            raise error
        for f in self.functions:
            self.assertEqual(f(100, lambda: 7), 7)
            error = ValueError("that")
            with self.assertRaisesRegex(RuntimeError,
                                        "^demo_soft_switchable callback failed$") as caught:
                f(100, fail)
            self.assertIs(caught.exception.__context__, error)
            error = TaskletExit()
            with self.assertRaises(TaskletExit) as caught:
                f(100, fail)
            self.assertIs(caught.exception, error)

    def test_result(self):
        for f in self.functions:
            result = object()
            self.assertIs(f(101, result), result)

    def test_wrong_arguments(self):
        for f in self.functions:
            for action in -1, 102, 1000:
                with self.assertRaisesRegex(SystemError, "^invalid state$"):
                    f(action, None)
            for args in (), ("1",), (1, 2, 3):
                with self.assertRaises(TypeError):
                    f(*args)


class SoftCFrame(StacklessTestCase):
    """_test_cframe_nr()"""

    def test_takes_turns_softly(self):
        turns = []

        def other():
            for _ in range(3):
                turns.append(t.nesting_level)
                schedule()
            turns.append("done")

        t = tasklet(lambda: turns.append(_stackless._test_cframe_nr(3)))()
        tasklet(other)()
        stackless.run()
        self.assertEqual(turns[:3], [0, 0, 0])
        self.assertCountEqual(turns[3:], [t, "done"])   # whoever was the first to run

    def test_in_main(self):
        seen = []
        tasklet(seen.append)(1)
        self.assertIs(_stackless._test_cframe_nr(2), stackless.main)
        self.assertEqual(seen, [1])

    def test_nobody_sees_its_frame(self):
        t = tasklet(lambda: _stackless._test_cframe_nr(1))()
        t.run()
        self.assertEqual(t.frame.f_code.co_name, "<lambda>")
        try:
            t.throw(ZeroDivisionError)
        except ZeroDivisionError as e:
            frames = traceback.extract_tb(e.__traceback__)
        self.assertEqual(frames[-1].name, "<lambda>")

    def test_wrong_arguments(self):
        self.assertIs(_stackless._test_cframe_nr(-1), stackless.current)
        for args in (), (1, 2), ("1",):
            with self.assertRaises(TypeError):
                _stackless._test_cframe_nr(*args)


class Outside(StacklessTestCase):
    """_test_outside()"""

    def test_runs_all(self):
        seen = []

        def task(n):
            seen.append(n)
            schedule()
            seen.append(n)
        for n in 1, 2:
            tasklet(task)(n)
        self.assertIsNone(_stackless._test_outside())
        self.assertIn(seen, ([1, 2, 1, 2], [2, 1, 2, 1]))
        self.assertTrue(stackless.main.is_current)

    def test_nothing_to_run(self):
        self.assertIsNone(_stackless._test_outside())
        self.assertEqual(stackless.runcount, 1)

    def test_an_exception_ends_it(self):
        over = False

        def task():
            while not over:
                schedule()
        tasklet(lambda: 1 / 0)()
        rest = tasklet(task)()
        with self.assertRaises(ZeroDivisionError):
            _stackless._test_outside()
        self.assertTrue(stackless.main.is_current)
        self.assertTrue(rest.scheduled)
        over = True
        stackless.run()

    def test_main_is_still_scheduled(self):
        errors = []

        def task():
            try:
                _stackless._test_outside()
            except RuntimeError as e:
                errors.append(str(e))
        tasklet(task)()
        schedule()                     # main stays in the run queue
        self.assertEqual(errors, ["main tasklet is still scheduled"])

    def test_while_main_waits(self):
        seen = []
        ch = channel()

        def task():
            tasklet(seen.append)(1)
            _stackless._test_outside()
            seen.append(2)
            ch.send(3)
        tasklet(task)()
        seen.append(ch.receive())
        self.assertEqual(seen, [1, 2, 3])
        stackless.run()


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


@unittest.skipUnless(hasattr(sys, "gettotalrefcount"), "in debug builds only")
class AllObjects(StacklessTestCase):

    def test_all_objects(self):
        ch = channel()
        content = object()             # not for the garbage collector
        hidden = [content]
        running = tasklet(ch.send)(hidden)
        _stackless._gc_untrack(hidden)
        running.run()
        found = _stackless._get_all_objects()
        for op in running, ch, content, hidden, type(ch), _stackless, running.frame:
            self.assertEqual(sum(1 for x in found if x is op), 1)
        self.assertFalse(any(x is found for x in found))
        self.assertIs(ch.receive(), hidden)
        stackless.run()
        _stackless._gc_track(hidden)

    def test_the_object_with_most_references(self):
        op = object()
        many = [op] * 3_000_000
        most, count, total, computed = _stackless._get_refinfo()
        self.assertIs(most, op)
        self.assertEqual(count, sys.getrefcount(op) - 2)     # two: this call, most
        del most
        self.assertGreater(computed, count)
        self.assertGreaterEqual(total, computed)
        del many
        after = _stackless._get_refinfo()
        self.assertIsNot(after[0], op)
        self.assertLess(after[1], count)
        self.assertLess(abs(total - after[2] - 3_000_000), 100_000)
        self.assertLess(abs(computed - after[3] - 3_000_000), 100_000)

    def test_peek(self):
        for op in object(), tasklet(), stackless.current, type, None:
            self.assertIs(_stackless._peek(id(op)), op)
        for address in 0, 16, id([]) + 1, sys.maxsize:
            with self.assertRaisesRegex(ValueError, "no object at"):
                _stackless._peek(address)
        for address in -2**70, 2**70:
            with self.assertRaises(OverflowError):
                _stackless._peek(address)
        with self.assertRaises(TypeError):
            _stackless._peek("1")


if __name__ == "__main__":
    unittest.main()
