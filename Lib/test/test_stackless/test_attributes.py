"""What a tasklet tells about itself: attributes, ids, frames, depth."""

import functools
import sys
import threading
import types
import unittest
import weakref

import stackless
from stackless import schedule, schedule_remove, tasklet

from .support import StacklessTestCase


def nothing():
    pass


class Attributes(StacklessTestCase):

    READ_ONLY = ("alive", "paused", "scheduled", "blocked", "restorable",
                 "atomic", "ignore_nesting", "is_main", "is_current", "frame",
                 "nesting_level", "recursion_depth", "thread_id", "next",
                 "prev", "_channel", "context_id")

    def test_read_only(self):
        for t in (tasklet(nothing), stackless.main):
            for name in self.READ_ONLY:
                with self.subTest(name=name):
                    value = getattr(t, name)
                    with self.assertRaises(AttributeError):
                        setattr(t, name, value)
                    with self.assertRaises(AttributeError):
                        delattr(t, name)

    def test_types(self):
        ch = stackless.channel()
        blocked = self.receiver(ch)
        for t in (tasklet(), tasklet(nothing), tasklet(nothing, ()), blocked,
                  stackless.main):
            for name in ("alive", "paused", "scheduled", "blocked", "restorable",
                         "atomic", "ignore_nesting", "block_trap", "is_main",
                         "is_current"):
                self.assertIs(type(getattr(t, name)), bool, name)
            for name in ("nesting_level", "recursion_depth", "thread_id",
                         "context_id"):
                self.assertIs(type(getattr(t, name)), int, name)
        blocked.kill()

    def test_main_of_a_program(self):
        main = stackless.main
        self.assertTrue(main.alive)
        self.assertTrue(main.scheduled)
        self.assertTrue(main.is_main)
        self.assertTrue(main.is_current)
        self.assertFalse(main.paused)
        self.assertFalse(main.blocked)
        self.assertIs(main.next, main)
        self.assertIs(main.prev, main)
        self.assertIsNone(main._channel)

    def test_is_current_and_is_main_within_a_tasklet(self):
        log = []

        def task():
            me = stackless.current
            log.append((me.is_current, me.is_main, stackless.main.is_current,
                        stackless.main.is_main))
        self.run_tasklet(task)
        self.assertEqual(log, [(True, False, False, True)])

    def test_current_tasklet(self):
        log = []

        def task():
            me = stackless.current
            log.append((me.alive, me.scheduled, me.paused, me.blocked))
            log.append((me.next is me, me.prev is me))
        self.run_tasklet(task)
        self.assertEqual(log, [(True, True, False, False), (True, True)])

    def test_blocked_tasklet(self):
        ch = stackless.channel()
        t = self.receiver(ch)
        self.assertTrue(t.alive)
        self.assertTrue(t.scheduled)
        self.assertTrue(t.blocked)
        self.assertFalse(t.paused)
        self.assertIs(t._channel, ch)
        self.assertIsNone(t.next)
        self.assertIsNone(t.prev)
        self.assertIsNone(t.tempval)
        t.kill()

    def test_blocked_sender_shows_its_value(self):
        ch = stackless.channel()
        value = object()
        t = self.sender(ch, value)
        self.assertIs(t.tempval, value)
        self.assertIs(t.blocked, True)
        self.assertIs(ch.receive(), value)
        stackless.run()

    def test_next_and_prev_in_a_channel(self):
        ch = stackless.channel()
        a, b, c = [self.receiver(ch) for i in range(3)]
        self.assertEqual((a.prev, a.next), (None, b))
        self.assertEqual((b.prev, b.next), (a, c))
        self.assertEqual((c.prev, c.next), (b, None))
        for t in (a, b, c):
            t.kill()

    def test_next_and_prev_in_the_queue(self):
        a, b = tasklet(nothing)(), tasklet(nothing)()
        main = stackless.main
        self.assertEqual((main.next, main.prev), (a, b))
        self.assertEqual((a.next, a.prev), (b, main))
        self.assertEqual((b.next, b.prev), (main, a))
        stackless.run()

    def test_dead_tasklet(self):
        t = tasklet(nothing)()
        stackless.run()
        self.assertDead(t)
        self.assertTrue(t.restorable)
        self.assertEqual(t.nesting_level, 0)
        self.assertEqual(t.thread_id, threading.get_ident())

    def test_flags_survive_death(self):
        def task():
            me = stackless.current
            me.set_atomic(True)
            me.set_ignore_nesting(True)
            me.block_trap = True
        t = self.run_tasklet(task)
        self.assertDead(t)
        self.assertEqual((t.atomic, t.ignore_nesting, t.block_trap),
                         (True, True, True))

    def test_block_trap_is_settable(self):
        t = tasklet()
        for value in (True, 1, -1, 2 ** 31, 2 ** 80):
            t.block_trap = value
            self.assertIs(t.block_trap, True)
            t.block_trap = False
        t.block_trap = True
        t.block_trap = 0
        self.assertIs(t.block_trap, False)

    def test_block_trap_wants_an_int(self):
        t = tasklet()
        for bad in (None, "x", 1.0, []):
            with self.assertRaisesRegex(
                    TypeError, "^block_trap must be set to a bool or integer$"):
                t.block_trap = bad
        with self.assertRaises((TypeError, AttributeError)):
            del t.block_trap
        self.assertIs(t.block_trap, False)

    def test_set_atomic_and_set_ignore_nesting(self):
        t = tasklet()
        for method, name in ((t.set_atomic, "atomic"),
                             (t.set_ignore_nesting, "ignore_nesting")):
            self.assertIs(method(True), False)
            self.assertIs(getattr(t, name), True)
            self.assertIs(method(1), True)
            self.assertIs(method(0), True)
            self.assertIs(getattr(t, name), False)
            for bad in (None, "x", 1.0):
                with self.assertRaisesRegex(
                        TypeError,
                        f"^set_{name} needs exactly one bool or integer$"):
                    method(bad)
            with self.assertRaises(TypeError):
                method()
            with self.assertRaises(TypeError):
                method(1, 2)
            self.assertIs(getattr(t, name), False)

    def test_the_value_of_an_int_is_its_own(self):
        # Not that of a __bool__(), whose exception was once lost on the way.
        class Int(int):
            def __bool__(self):
                raise AssertionError("called")
        t = tasklet()
        for set_flag, name in ((t.set_atomic, "atomic"),
                               (t.set_ignore_nesting, "ignore_nesting"),
                               (functools.partial(setattr, t, "block_trap"), "block_trap")):
            for value in (1, 0, 2 ** 100):
                set_flag(Int(value))
                self.assertIs(getattr(t, name), bool(value))

    def test_tempval_is_settable(self):
        t = tasklet()
        t.tempval = nothing
        self.assertIs(t.tempval, nothing)
        log = []
        t.tempval = log.append
        t(1)
        stackless.run()
        self.assertEqual(log, [1])

    def test_deleting_tempval_does_no_harm(self):
        t = tasklet(nothing)
        try:
            del t.tempval
        except (TypeError, AttributeError):
            self.assertIs(t.tempval, nothing)
        else:
            self.assertIsNone(t.tempval)

    def test_tempval_releases_the_old_value(self):
        class X:
            pass
        t = tasklet()
        t.tempval = x = X()
        r = weakref.ref(x)
        del x
        self.assertIsNotNone(r())
        t.tempval = None
        self.assertIsNone(r())

    def test_frame_of_the_current_tasklet(self):
        self.assertIs(stackless.current.frame, sys._getframe())

        def task():
            self.assertIs(stackless.current.frame, sys._getframe())
        self.run_tasklet(task)

    def test_frame_of_a_suspended_tasklet(self):
        def inner():
            schedule_remove()

        def task():
            inner()
        t = self.paused(task)
        frame = t.frame
        self.assertIsInstance(frame, types.FrameType)
        self.assertIs(frame.f_code, inner.__code__)
        self.assertIs(frame.f_back.f_code, task.__code__)
        self.assertIsNone(frame.f_back.f_back)
        del frame
        t.kill()

    def test_frame_without_python_code(self):
        for t in (tasklet(), tasklet(nothing), tasklet(nothing, ())):
            self.assertIsNone(t.frame)
        t = tasklet(schedule_remove)()
        stackless.run()
        self.assertTrue(t.alive)
        self.assertIsNone(t.frame)
        t.kill()

    def test_nesting_level_of_soft_tasklets(self):
        seen = []

        def task():
            seen.append(stackless.current.nesting_level)
            schedule_remove()
        t = self.paused(task)
        self.assertEqual(seen, [0])
        self.assertEqual(t.nesting_level, 0)
        self.assertIs(t.restorable, True)
        t.kill()

    def test_recursion_depth_starts_at_one(self):
        seen = []

        def inner():
            seen.append(stackless.current.recursion_depth)

        def task():
            seen.append(stackless.current.recursion_depth)
            inner()
            seen.append(stackless.current.recursion_depth)
            schedule_remove()
        t = self.paused(task)
        self.assertEqual(seen, [1, 2, 1])
        self.assertEqual(t.recursion_depth, 1)
        t.kill()
        self.assertEqual(t.recursion_depth, 0)

    def test_recursion_depth_does_not_depend_on_the_creator(self):
        seen = []

        def create(n):
            if n:
                create(n - 1)
            else:
                tasklet(lambda: seen.append(stackless.current.recursion_depth))()
                schedule()
        create(0)
        create(50)
        self.assertEqual(seen, [1, 1])

    def test_recursion_depth_while_deeply_suspended(self):
        def deep(n):
            if n:
                deep(n - 1)
            else:
                schedule_remove()
        t = self.paused(deep, 10)
        self.assertEqual(t.recursion_depth, 11)
        t.run()
        self.assertDead(t)


class Ids(StacklessTestCase):

    def test_main_has_the_thread_id(self):
        self.assertEqual(stackless.getcurrentid(), threading.get_ident())

    def test_unique_among_the_living(self):
        ids = [stackless.getcurrentid()]

        def task():
            ids.append(stackless.getcurrentid())
            schedule()
            ids.append(stackless.getcurrentid())
        a, b = tasklet(task)(), tasklet(task)()
        stackless.run()
        self.assertEqual(len(set(ids)), 3)
        self.assertEqual(ids[1:3], ids[3:5])
        self.assertTrue(all(isinstance(i, int) and i > 0 for i in ids))


class BindThread(StacklessTestCase):

    def test_own_thread_is_a_no_op(self):
        for t in (tasklet(), tasklet(nothing, ()), tasklet(nothing)()):
            with self.unchanged(t):
                self.assertIsNone(t.bind_thread())
        stackless.run()

    def test_wants_an_int(self):
        t = tasklet()
        for bad in ("x", None, 1.0):
            with self.assertRaises(TypeError):
                t.bind_thread(bad)
        with self.assertRaises(TypeError):
            t.bind_thread(1, 2)


if __name__ == "__main__":
    unittest.main()
