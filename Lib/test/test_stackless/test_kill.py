"""tasklet.kill: TaskletExit sent to a tasklet."""

import sys
import unittest

import stackless
from stackless import schedule, schedule_remove, tasklet

from .support import StacklessTestCase, needs_order


class Error(Exception):
    pass


class SubExit(TaskletExit):     # noqa: F821 (a builtin here)
    pass


def nothing():
    pass


def catcher(log):
    """Wait; log the exception that ends the waiting."""
    try:
        schedule_remove()
    except BaseException as e:
        log.append(e)
    else:
        log.append("no exception")


class Kill(StacklessTestCase):

    def test_runs_finally(self):
        log = []

        def task():
            try:
                schedule_remove()
            finally:
                log.append(sys.exc_info()[0])
        t = self.paused(task)
        self.assertIsNone(t.kill())
        self.assertEqual(log, [TaskletExit])
        self.assertDead(t)

    def test_runs_with_exits(self):
        log = []

        class Manager:
            def __enter__(self):
                pass

            def __exit__(self, cls, e, tb):
                log.append(cls)

        def task():
            with Manager():
                schedule_remove()
        t = self.paused(task)
        t.kill()
        self.assertEqual(log, [TaskletExit])

    def test_unwinds_nested_frames(self):
        log = []

        def deep(n):
            try:
                if n:
                    deep(n - 1)
                else:
                    schedule_remove()
            finally:
                log.append(n)
        t = self.paused(deep, 5)
        t.kill()
        self.assertEqual(log, [0, 1, 2, 3, 4, 5])

    def test_unstarted_tasklet_is_not_started(self):
        log = []
        t = tasklet(log.append)(1)
        t.kill()
        self.assertEqual(log, [])
        self.assertDead(t)
        self.assertQueue([stackless.main])

    def test_dead_and_new_tasklets(self):
        t = tasklet(nothing)()
        stackless.run()
        t.kill()
        t.kill()
        t = tasklet()
        t.kill()
        t = tasklet(nothing)
        t.kill()
        self.assertIs(t.tempval, nothing)

    def test_self(self):
        with self.unchanged():
            with self.assertRaises(TaskletExit):
                stackless.current.kill()
            with self.assertRaises(TaskletExit):
                stackless.current.kill(pending=True)

        def task():
            stackless.current.kill()
            raise AssertionError("not reached")
        self.assertDead(self.run_tasklet(task))

    def test_main_by_another(self):
        t = tasklet(lambda: stackless.main.kill())()
        with self.assertRaises(TaskletExit):
            schedule()
        self.assertTrue(t.alive)
        stackless.run()

    def test_main_in_run_by_another(self):
        t = tasklet(lambda: stackless.main.kill())()
        with self.assertRaises(TaskletExit):
            stackless.run()
        self.assertQueue([stackless.main, t])
        stackless.run()

    def test_pending(self):
        log = []
        t = self.paused(catcher, log)
        t.kill(pending=True)
        self.assertTrue(t.scheduled)
        self.assertEqual(log, [])
        stackless.run()
        self.assertIs(type(log[0]), TaskletExit)

    def test_pending_by_position(self):
        t = tasklet(nothing)()
        t.kill(True)
        self.assertTrue(t.alive)
        stackless.run()
        self.assertDead(t)

    def test_survivor(self):
        log = []

        def task():
            for i in range(3):
                try:
                    schedule_remove()
                except TaskletExit:
                    log.append(i)
        t = self.paused(task)
        t.kill()
        t.kill()
        self.assertTrue(t.alive)
        self.assertTrue(t.paused)
        t.kill()
        self.assertEqual(log, [0, 1, 2])
        self.assertDead(t)

    def test_survivor_that_schedules(self):
        order = []

        def task():
            try:
                schedule_remove()
            except TaskletExit:
                order.append("caught")
                schedule()
                order.append("end")
        t = self.paused(task)
        t.kill()
        order.append("main")
        self.assertTrue(t.alive)
        stackless.run()
        self.assertEqual(order, ["caught", "main", "end"])

    def test_blocked_tasklet_that_blocks_again(self):
        ch = stackless.channel()

        def task():
            try:
                ch.receive()
            except TaskletExit:
                ch.receive()
        t = tasklet(task)()
        t.run()
        t.kill()
        self.assertTrue(t.blocked)
        self.assertEqual(ch.balance, -1)
        t.kill()
        self.assertDead(t)
        self.assertEqual(ch.balance, 0)

    def test_exception_in_the_cleanup_reaches_the_killer(self):
        def task():
            try:
                schedule_remove()
            finally:
                raise Error("cleanup")
        t = self.paused(task)
        with self.assertRaises(Error) as cm:
            t.kill()
        self.assertIsInstance(cm.exception.__context__, TaskletExit)
        self.assertDead(t)

    def test_a_subclass_of_tasklet_exit_is_silent_too(self):
        t = self.paused(schedule_remove)
        t.throw(SubExit)
        self.assertDead(t)

    @needs_order
    def test_two_tasklets_that_kill_each_other(self):
        log = []

        def task(name, other):
            try:
                schedule()
                tasklets[other].kill()
                log.append(name)
            finally:
                log.append(name + " ends")
        tasklets = {}
        tasklets["a"] = tasklet(task)("a", "b")
        tasklets["b"] = tasklet(task)("b", "a")
        stackless.run()
        self.assertEqual(log, ["b ends", "a", "a ends"])

    def test_killed_within_its_own_finally(self):
        log = []

        def task():
            try:
                schedule_remove()
            finally:
                log.append(1)
                try:
                    stackless.current.kill()
                finally:
                    log.append(2)
        t = self.paused(task)
        t.kill()
        self.assertEqual(log, [1, 2])
        self.assertDead(t)

    def test_wrong_arguments(self):
        t = self.paused(schedule_remove)
        with self.unchanged(t):
            with self.assertRaises(TypeError):
                t.kill(True, 1)
            with self.assertRaises(TypeError):
                t.kill(now=True)
        t.kill()

    def test_generator_at_the_suspension_is_closed(self):
        log = []

        def gen():
            try:
                yield 1
                schedule_remove()
                yield 2
            finally:
                log.append("gen")

        def task():
            for x in gen():
                log.append(x)
        t = tasklet(task)()
        try:
            t.run()
        except RuntimeError:
            self.fail("a generator in a for loop did not switch softly")
        t.kill()
        self.assertEqual(log, [1, "gen"])


if __name__ == "__main__":
    unittest.main()
