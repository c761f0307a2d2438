"""stackless.run(): who runs, who is woken, and how runs nest."""

import gc
import sys
import traceback
import unittest

import stackless
from stackless import schedule, schedule_remove, tasklet

from .support import StacklessTestCase, needs_order, needs_soft, runqueue


class Error(Exception):
    pass


def nothing():
    pass


def fail(value=None):
    raise Error(value)


class Run(StacklessTestCase):

    def test_with_an_empty_queue(self):
        with self.unchanged():
            self.assertIsNone(stackless.run())

    def test_until_the_queue_is_empty(self):
        order = []

        def task(name):
            order.append(name)
            schedule()
            order.append(name)
        for name in "ab":
            tasklet(task)(name)
        self.assertIsNone(stackless.run())
        self.assertTurns(order, list("abab"))
        self.assertQueue([stackless.main])

    def test_the_caller_is_paused_meanwhile(self):
        seen = []

        def task():
            main = stackless.main
            seen.append((main.paused, main.scheduled, main.alive,
                         stackless.runcount))
        self.run_tasklet(task)
        self.assertEqual(seen, [(True, False, True, 1)])

    def test_new_tasklets_run_too(self):
        order = []

        def parent(n):
            order.append(n)
            if n:
                tasklet(parent)(n - 1)
        self.run_tasklet(parent, 3)
        self.assertEqual(order, [3, 2, 1, 0])

    def test_returns_when_all_are_blocked(self):
        ch = stackless.channel()
        a = tasklet(ch.receive)()
        b = tasklet(ch.receive)()
        self.assertIsNone(stackless.run())
        self.assertEqual(ch.balance, -2)
        self.assertQueue([stackless.main])
        a.kill()
        b.kill()

    def test_returns_when_all_are_paused(self):
        a = tasklet(schedule_remove)()
        self.assertIsNone(stackless.run())
        self.assertTrue(a.paused)
        a.kill()

    def test_result_is_none_whatever_is_in_tempval(self):
        def task():
            stackless.main.tempval = 5
        tasklet(task)()
        self.assertIsNone(stackless.run())

    def test_arguments(self):
        tasklet(nothing)()
        self.assertIsNone(stackless.run(0, False, False, False, False))
        self.assertIsNone(stackless.run(
            timeout=0, threadblock=False, soft=False, ignore_nesting=False,
            totaltimeout=False))
        self.assertIsNone(stackless.run(-1))

    def test_arguments_are_ints(self):
        t = tasklet(nothing)()
        with self.unchanged(t):
            for bad in (None, "1", 1.0, []):
                for name in ("timeout", "threadblock", "soft", "ignore_nesting",
                             "totaltimeout"):
                    with self.assertRaises(TypeError):
                        stackless.run(**{name: bad})
            with self.assertRaises(OverflowError):
                stackless.run(2 ** 100)
            with self.assertRaises(OverflowError):
                stackless.run(-2 ** 100)
            with self.assertRaises(OverflowError):
                stackless.run(0, 2 ** 100)
            with self.assertRaises(TypeError):
                stackless.run(time=0)
            with self.assertRaises(TypeError):
                stackless.run(0, 0, 0, 0, 0, 0)
        stackless.run()

    def test_switch_trap(self):
        t = tasklet(nothing)()
        stackless.switch_trap(1)
        try:
            with self.unchanged(t):
                with self.assertRaisesRegex(RuntimeError, "switch_trap"):
                    stackless.run()
        finally:
            stackless.switch_trap(-1)
        stackless.run()

    def test_exception(self):
        a = tasklet(fail)(1)
        with self.assertRaises(Error) as cm:
            stackless.run()
        self.assertEqual(cm.exception.args, (1,))
        self.assertDead(a)
        self.assertQueue([stackless.main])

    @needs_order
    def test_queue_after_an_exception(self):
        order = []
        a = tasklet(schedule)()
        b = tasklet(fail)()
        c = tasklet(order.append)(1)
        with self.assertRaises(Error):
            stackless.run()
        # The caller, then the successor of the dead one.
        self.assertQueue([stackless.main, c, a])
        self.assertDead(b)
        stackless.run()
        self.assertEqual(order, [1])

    def test_again_after_an_exception(self):
        for i in range(5):
            tasklet(fail)(i)
        values = []
        while stackless.runcount > 1:
            try:
                stackless.run()
            except Error as e:
                values.append(e.args[0])
        self.assertTurns(values, [0, 1, 2, 3, 4])

    def test_from_below_c_frames_of_main(self):
        order = []

        def callback(x):
            tasklet(order.append)(x)
            stackless.run()
            return -x
        self.assertEqual(list(map(callback, [1, 2])), [-1, -2])
        self.assertEqual(sorted([2, 1], key=callback), [2, 1])
        self.assertEqual(order, [1, 2, 2, 1])


class WokenByHand(StacklessTestCase):

    def test_by_insert(self):
        order = []

        def task():
            order.append("a")
            stackless.main.insert()
            order.append("still a")
            schedule()
            order.append("a again")
        t = tasklet(task)()
        self.assertIsNone(stackless.run())
        order.append("main")
        self.assertTrue(t.scheduled)
        stackless.run()
        self.assertEqual(order, ["a", "still a", "main", "a again"])

    def test_by_run(self):
        def task():
            stackless.main.run()
            log.append(1)
        log = []
        t = tasklet(task)()
        self.assertIsNone(stackless.run())
        self.assertEqual(log, [])
        self.assertQueue([stackless.main, t])
        stackless.run()
        self.assertEqual(log, [1])

    def test_by_switch(self):
        def task():
            stackless.main.switch()
        t = tasklet(task)()
        self.assertIsNone(stackless.run())
        self.assertTrue(t.paused)
        t.kill()

    def test_by_throw(self):
        def task():
            stackless.main.throw(Error, 1)
        t = tasklet(task)()
        with self.assertRaises(Error):
            stackless.run()
        self.assertQueue([stackless.main, t])
        stackless.run()

    def test_by_pending_throw(self):
        log = []

        def task():
            stackless.main.throw(Error, 1, pending=True)
            log.append(1)
        tasklet(task)()
        with self.assertRaises(Error):
            stackless.run()
        self.assertEqual(log, [1])

    @needs_order
    def test_outer_one_while_an_inner_one_waits(self):
        # main runs outer, outer runs worker, worker wakes main: outer's run
        # ends too, in its turn.
        order = []

        def outer():
            stackless.run()
            order.append("outer")

        def worker():
            schedule()
            stackless.main.insert()
            schedule()
            order.append("worker")
        o = tasklet(outer)()
        w = tasklet(worker)()
        self.assertIsNone(stackless.run())
        order.append("main")
        self.assertTrue(o.scheduled)
        self.assertTrue(w.scheduled)
        stackless.run()
        self.assertEqual(order[0], "main")
        self.assertEqual(sorted(order), ["main", "outer", "worker"])
        self.assertDead(o)
        self.assertDead(w)

    @needs_order
    def test_inner_one_by_insert(self):
        order = []

        def outer():
            stackless.run()
            order.append("outer")

        def worker():
            o.insert()
            schedule()
            order.append("worker")
        o = tasklet(outer)()
        w = tasklet(worker)()
        stackless.run()
        self.assertEqual(order, ["outer", "worker"])
        self.assertDead(o)
        self.assertDead(w)


class Nested(StacklessTestCase):

    def test_in_a_tasklet(self):
        order = []

        def inner(name):
            order.append(name)
            schedule()
            order.append(name)

        def outer():
            tasklet(inner)("x")
            tasklet(inner)("y")
            order.append("run")
            self.assertIsNone(stackless.run())
            order.append("ran")
            self.assertEqual(runqueue(), [stackless.current])
        o = self.run_tasklet(outer)
        self.assertEqual((order[0], order[-1]), ("run", "ran"))
        self.assertTurns(order[1:-1], ["x", "y", "x", "y"])
        self.assertDead(o)

    def test_in_a_tasklet_with_an_empty_queue(self):
        log = []
        self.run_tasklet(lambda: log.append(stackless.run()))
        self.assertEqual(log, [None])

    def test_the_caller_in_a_tasklet_is_paused(self):
        seen = []

        def outer():
            tasklet(lambda: seen.append((o.paused, stackless.main.paused)))()
            stackless.run()
        o = tasklet(outer)()
        stackless.run()
        self.assertEqual(seen, [(True, True)])

    def test_exception_goes_to_the_innermost_only(self):
        log = []

        def outer():
            tasklet(fail)(1)
            try:
                stackless.run()
            except Error as e:
                log.append(e.args)
        self.run_tasklet(outer)
        self.assertEqual(log, [(1,)])

    def test_uncaught_in_the_innermost_it_goes_further_out(self):
        def outer():
            tasklet(fail)(2)
            stackless.run()
        o = tasklet(outer)()
        with self.assertRaises(Error) as cm:
            stackless.run()
        self.assertEqual(cm.exception.args, (2,))
        self.assertDead(o)

    def test_several_levels(self):
        order = []

        def level(n):
            if n:
                tasklet(level)(n - 1)
                stackless.run()
            order.append(n)
        self.run_tasklet(level, 20)
        self.assertEqual(order, list(range(21)))

    def test_while_main_schedules(self):
        # Without main in run(), the tasklet's run includes main.
        order = []

        def outer():
            stackless.run()
            order.append("outer")
        o = tasklet(outer)()
        schedule()
        order.append("main")
        self.assertTrue(o.paused)
        # Only the end of main, or its waiting, empties the queue.
        o.insert()
        stackless.run()
        self.assertEqual(order, ["main", "outer"])

    def test_inner_run_returns_when_main_waits_in_turn(self):
        ch = stackless.channel()
        order = []

        def outer():
            stackless.run()         # until main blocks
            order.append("outer")
            ch.send(1)
        tasklet(outer)()
        schedule()
        order.append("main")
        self.assertEqual(ch.receive(), 1)
        self.assertEqual(order, ["main", "outer"])
        stackless.run()

    def test_blocked_in_the_inner_run(self):
        ch = stackless.channel()
        log = []

        def outer():
            t = tasklet(ch.receive)()
            log.append(stackless.run())
            log.append(t.blocked)
            ch.send(1)
        self.run_tasklet(outer)
        self.assertEqual(log, [None, True])
        self.assertEqual(ch.balance, 0)

    @needs_order
    def test_killed_while_in_run(self):
        log = []

        def outer():
            try:
                stackless.run()
            finally:
                log.append("killed")

        def worker():
            o.kill()
            log.append("worker")
        o = tasklet(outer)()
        tasklet(worker)()
        stackless.run()
        self.assertEqual(log, ["killed", "worker"])
        self.assertDead(o)

    @needs_order
    @needs_soft
    def test_unbound_while_in_run(self):
        # It stayed on the watchdog stack, was woken, and crashed.
        def outer():
            stackless.run()
        o = tasklet(outer)()
        waiting = tasklet(schedule_remove)(None)
        schedule()
        self.assertTrue(o.paused)
        o.bind(None)
        tasklet(len)(()).switch()
        self.assertQueue([stackless.main])
        ch = stackless.channel()
        t = tasklet(ch.receive)()
        schedule_remove()
        self.assertTrue(t.blocked)
        t.kill()
        tasklet(fail)()
        with self.assertRaises(Error):
            schedule()
        waiting.kill()

    @needs_order
    def test_dropped_while_in_run(self):
        def outer():
            stackless.run()
        o = tasklet(outer)()
        waiting = tasklet(schedule_remove)(None)
        schedule()
        self.assertTrue(o.paused)
        del o
        gc.collect()
        # Whoever it was that kept it, it is woken by the empty queue.
        tasklet(len)(()).switch()
        stackless.run()
        self.assertQueue([stackless.main])
        waiting.kill()

    @needs_order
    def test_killed_outer_one_while_an_inner_one_waits(self):
        order = []

        def outer():
            try:
                stackless.run()
            finally:
                order.append("outer")

        def inner():
            stackless.run()
            order.append("inner")

        def worker():
            o.kill()
            order.append("worker")
        o = tasklet(outer)()
        i = tasklet(inner)()
        w = tasklet(worker)()
        stackless.run()
        self.assertEqual(order[0], "outer")
        self.assertEqual(sorted(order), ["inner", "outer", "worker"])
        for t in (o, i, w):
            self.assertDead(t)

    def test_inner_one_that_came_when_the_outer_was_already_woken(self):
        # It was lost: paused for ever, and known to nobody.
        order = []

        def waker():
            stackless.main.insert()
            schedule()
            order.append("waker")

        def inner():
            stackless.run()
            order.append("inner")
        tasklet(waker)()
        i = tasklet(inner)()
        stackless.run()
        order.append("main")
        stackless.run()
        self.assertEqual(sorted(order), ["inner", "main", "waker"])
        self.assertDead(i)

    def test_run_of_a_run(self):
        log = []
        tasklet(stackless.run)()
        tasklet(log.append)(1)
        stackless.run()
        self.assertEqual(log, [1])

    @needs_order
    def test_finished_in_another_order_than_nested(self):
        order = []

        def outer(name):
            order.append(name)
            stackless.run()
            order.append(name)
        a = tasklet(outer)("a")
        b = tasklet(outer)("b")

        def worker():
            a.insert()              # the outer of the two
            schedule()
            order.append("worker")
        tasklet(worker)()
        stackless.run()
        self.assertEqual(order[:2], ["a", "b"])
        self.assertEqual(sorted(order[2:]), ["a", "b", "worker"])
        self.assertDead(a)
        self.assertDead(b)


class Uncaught(StacklessTestCase):
    """Exceptions that leave a tasklet; the wakeup target."""

    def names(self, e):
        return [f.name for f in traceback.extract_tb(e.__traceback__)]

    def test_traceback(self):
        def inner():
            raise Error

        def task():
            inner()
        tasklet(task)()
        try:
            stackless.run()
        except Error as e:
            self.assertEqual(self.names(e), ["test_traceback", "task", "inner"])
            self.assertIsNone(e.__context__)
            self.assertIsNone(e.__cause__)
        else:
            self.fail("no exception")

    def test_traceback_lines(self):
        def task():
            schedule()
            nothing()
            raise Error         # line + 3
        tasklet(task)()
        try:
            stackless.run()     # line of run
        except Error as e:
            entries = traceback.extract_tb(e.__traceback__)
            first = task.__code__.co_firstlineno
            self.assertEqual([f.lineno - first for f in entries], [6, 3])

    def test_traceback_through_a_nested_run(self):
        def outer():
            tasklet(fail)()
            stackless.run()
        tasklet(outer)()
        try:
            stackless.run()
        except Error as e:
            self.assertEqual(self.names(e),
                             ["test_traceback_through_a_nested_run", "outer",
                              "fail"])

    def test_the_context_of_the_caller_does_not_leak(self):
        tasklet(fail)()
        try:
            raise KeyError
        except KeyError:
            try:
                stackless.run()
            except Error as e:
                self.assertIsNone(e.__context__)

    def test_the_context_within_the_tasklet_is_kept(self):
        def task():
            try:
                raise KeyError
            except KeyError:
                raise Error
        tasklet(task)()
        with self.assertRaises(Error) as cm:
            stackless.run()
        self.assertIsInstance(cm.exception.__context__, KeyError)

    def test_the_instance_is_the_same(self):
        e = Error()

        def task():
            raise e
        tasklet(task)()
        with self.assertRaises(Error) as cm:
            stackless.run()
        self.assertIs(cm.exception, e)
        del e, task

    @needs_order
    def test_main_in_schedule(self):
        order = []
        tasklet(fail)()
        tasklet(order.append)(1)
        with self.assertRaises(Error):
            schedule()
        # main runs at once, before all others.
        self.assertEqual(order, [])
        schedule()
        self.assertEqual(order, [1])

    def test_queue_when_main_was_in_it(self):
        a = tasklet(nothing)()
        b = tasklet(fail)()
        c = tasklet(nothing)()
        b.insert()
        with self.assertRaises(Error):
            b.run()
        # main was in the queue and is jumped to; c keeps its place.
        self.assertQueue([stackless.main, a, c])
        stackless.run()

    def test_main_in_tasklet_run(self):
        t = tasklet(fail)(3)
        with self.assertRaises(Error) as cm:
            t.run()
        self.assertEqual(cm.exception.args, (3,))

    def test_main_in_channel_receive(self):
        ch = stackless.channel()
        tasklet(fail)(4)
        with self.assertRaises(Error) as cm:
            ch.receive()
        self.assertEqual(cm.exception.args, (4,))
        self.assertEqual(ch.balance, 0)
        self.assertFalse(stackless.main.blocked)
        self.assertQueue([stackless.main])

    def test_main_in_channel_send(self):
        ch = stackless.channel()
        tasklet(fail)(4)
        with self.assertRaises(Error):
            ch.send(1)
        self.assertEqual(ch.balance, 0)

    def test_main_in_schedule_remove(self):
        tasklet(fail)(5)
        with self.assertRaises(Error):
            schedule_remove()
        self.assertQueue([stackless.main])

    def test_the_traceback_object_of_main_is_not_shared(self):
        # The exception passes main's frame as any other does.
        def task():
            raise Error

        def call():
            tasklet(task)()
            stackless.run()
        try:
            call()
        except Error as e:
            self.assertEqual(self.names(e)[1:], ["call", "task"])

    def test_exception_in_a_c_function_at_the_bottom(self):
        t = tasklet(int)("x")
        try:
            stackless.run()
        except ValueError as e:
            self.assertEqual(len(self.names(e)), 1)
        else:
            self.fail("no exception")
        self.assertDead(t)

    def test_frames_of_the_dead_tasklet_can_be_inspected(self):
        def task():
            local = 5       # noqa: F841
            raise Error
        t = tasklet(task)()
        try:
            stackless.run()
        except Error as e:
            tb = e.__traceback__.tb_next
            self.assertEqual(tb.tb_frame.f_locals["local"], 5)
            self.assertIsNone(tb.tb_frame.f_back)
            tb.tb_frame.clear()
        self.assertDead(t)

    def test_sys_exc_info_after_an_exception(self):
        tasklet(fail)()
        try:
            stackless.run()
        except Error as e:
            self.assertIs(sys.exc_info()[1], e)
        self.assertEqual(sys.exc_info(), (None, None, None))


if __name__ == "__main__":
    unittest.main()
