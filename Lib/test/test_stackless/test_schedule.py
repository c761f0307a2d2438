"""The queue discipline, schedule() and schedule_remove()."""

import sys
import threading
import unittest
import weakref

import stackless
from stackless import bomb, schedule, schedule_remove, tasklet

from .support import SHUFFLED, ChildTestCase, StacklessTestCase, needs_order, runqueue


class Error(Exception):
    pass


def nothing():
    pass


class Module(StacklessTestCase):
    """What the module offers besides switching."""

    def test_current_main_and_runcount(self):
        self.assertIs(stackless.current, stackless.getcurrent())
        self.assertIs(stackless.main, stackless.getmain())
        self.assertIs(stackless.current, stackless.main)
        self.assertEqual(stackless.runcount, 1)
        self.assertEqual(stackless.getruncount(), 1)

    def test_within_a_tasklet(self):
        seen = []

        def task():
            seen.append((stackless.current, stackless.getcurrent(),
                         stackless.main, stackless.runcount))
        t = tasklet(task)()
        schedule()
        main = stackless.main
        self.assertEqual(seen, [(t, t, main, 2)])

    def test_runcount_counts_the_runnable(self):
        ch = stackless.channel()
        blocked = self.receiver(ch)
        paused = tasklet(nothing, ())
        self.assertEqual(stackless.runcount, 1)
        a = tasklet(nothing)()
        self.assertEqual(stackless.runcount, 2)
        a.remove()
        self.assertEqual(stackless.runcount, 1)
        a.insert()
        self.assertEqual(stackless.getruncount(), 2)
        stackless.run()
        blocked.kill()
        paused.kill()
        self.assertEqual(stackless.runcount, 1)

    def test_star_import(self):
        namespace = {}
        exec("from stackless import *", namespace)
        for name in ("atomic", "channel", "enable_softswitch",
                     "get_channel_callback", "get_schedule_callback",
                     "get_thread_info", "getcurrent", "getcurrentid", "getdebug",
                     "getmain", "getruncount", "getthreads", "getuncollectables",
                     "run", "schedule", "schedule_remove",
                     "set_channel_callback", "set_error_handler",
                     "set_schedule_callback", "switch_trap", "tasklet"):
            self.assertIs(namespace[name], getattr(stackless, name), name)
        self.assertIs(namespace["stackless"], stackless)
        self.assertNotIn("bomb", namespace)
        self.assertNotIn("current", namespace)

    def test_unknown_attribute(self):
        with self.assertRaisesRegex(AttributeError, "no_such_name"):
            stackless.no_such_name

    def test_thread_info_of_the_calling_thread(self):
        main = stackless.main
        tasklet(nothing)()
        for info in (stackless.get_thread_info(), stackless.get_thread_info(-1),
                     stackless.get_thread_info(threading.get_ident())):
            self.assertEqual(info, (main, main, 2))
        stackless.run()

    def test_thread_info_accepts_a_second_argument(self):
        self.assertEqual(stackless.get_thread_info(-1, 1)[:3],
                         stackless.get_thread_info())

    def test_thread_info_of_bad_ids(self):
        for bad in ("x", None, 1.5):
            with self.assertRaises(TypeError):
                stackless.get_thread_info(bad)
        for bad in (-2, -2 ** 40):
            with self.assertRaisesRegex(OverflowError, str(bad)):
                stackless.get_thread_info(bad)
        # Too large for a C long, these were once taken for -1.
        for bad in (1, sys.maxsize, sys.maxsize + 1):
            with self.assertRaisesRegex(RuntimeError, "^Thread id not found$"):
                stackless.get_thread_info(bad)
        with self.assertRaises(OverflowError):
            stackless.get_thread_info(2 ** 100)
        with self.assertRaises(TypeError):
            stackless.get_thread_info(thread_id=-1)

    def test_threads(self):
        self.assertIn(threading.get_ident(), stackless.getthreads())
        self.assertEqual(stackless.threads, stackless.getthreads())

    def test_functions_without_parameters_take_none(self):
        for f in (stackless.getcurrent, stackless.getmain, stackless.getruncount,
                  stackless.getcurrentid, stackless.getthreads,
                  stackless.getuncollectables, stackless.getdebug,
                  stackless.get_schedule_callback,
                  stackless.get_channel_callback):
            with self.assertRaises(TypeError):
                f(1)

    def test_debug_is_a_bool(self):
        self.assertIs(type(stackless.getdebug()), bool)
        self.assertIs(stackless.debug, stackless.getdebug())


class Bomb(StacklessTestCase):

    def test_empty(self):
        b = bomb()
        self.assertEqual((b.type, b.value, b.traceback), (None, None, None))

    def test_three_arguments(self):
        try:
            raise Error
        except Error as e:
            tb = e.__traceback__
        b = bomb(Error, 1, tb)
        self.assertEqual((b.type, b.value), (Error, 1))
        self.assertIs(b.traceback, tb)

    def test_a_triple(self):
        b = bomb((Error, 1, None))
        self.assertEqual((b.type, b.value, b.traceback), (Error, 1, None))

    def test_keywords(self):
        b = bomb(type=Error, value=1, traceback=None)
        self.assertEqual((b.type, b.value), (Error, 1))

    def test_attributes_are_read_only(self):
        b = bomb(Error, 1)
        for name in ("type", "value", "traceback"):
            with self.assertRaises(AttributeError):
                setattr(b, name, None)
            with self.assertRaises(AttributeError):
                delattr(b, name)

    def test_final_type(self):
        with self.assertRaises(TypeError):
            type("Sub", (bomb,), {})

    def test_too_many_arguments(self):
        with self.assertRaises(TypeError):
            bomb(Error, 1, None, 2)

    @needs_order
    def test_explodes_at_the_resumption(self):
        log = []

        def task(b):
            try:
                schedule(b)
            except Error as e:
                log.append(e.args)
        for b in (bomb(Error), bomb(Error, 1), bomb(Error, (1, 2)),
                  bomb(Error, Error(5)), bomb((Error, 6, None))):
            tasklet(task)(b)
        stackless.run()
        self.assertEqual(log, [(), (1,), (1, 2), (5,), (6,)])

    def test_a_cycle_through_a_bomb_is_collected(self):
        class X:
            pass
        x = X()
        x.bomb = bomb(Error, x)
        r = weakref.ref(x)
        del x
        import gc
        gc.collect()
        self.assertIsNone(r())


class Schedule(StacklessTestCase):

    def test_alone_returns_the_current_tasklet(self):
        self.assertIs(schedule(), stackless.current)

    def test_alone_returns_the_argument(self):
        x = object()
        self.assertIs(schedule(x), x)
        self.assertIs(schedule(retval=x), x)
        self.assertIsNone(schedule(None))

    def test_result_after_a_switch(self):
        log = []

        def task():
            log.append(schedule())
            log.append(schedule(5))
            log.append(schedule(None))
            log.append(schedule(retval="x"))
        t = self.run_tasklet(task)
        self.assertEqual(log, [t, 5, None, "x"])
        tasklet(nothing)()
        self.assertIs(schedule(), stackless.main)
        tasklet(nothing)()
        self.assertEqual(schedule(7), 7)

    def test_wrong_arguments(self):
        for f in (schedule, schedule_remove):
            with self.unchanged():
                with self.assertRaises(TypeError):
                    f(1, 2)
                with self.assertRaises(TypeError):
                    f(value=1)
                with self.assertRaises(TypeError):
                    f(1, retval=1)

    def test_takes_turns(self):
        order = []

        def task(name):
            for i in range(3):
                order.append(name + str(i))
                schedule()
        for name in "abc":
            tasklet(task)(name)
        stackless.run()
        self.assertTurns(order, "a0 b0 c0 a1 b1 c1 a2 b2 c2".split())

    @needs_order
    def test_main_is_one_of_them(self):
        order = []

        def task(name):
            for i in range(2):
                order.append(name)
                schedule()
        a, b = tasklet(task)("a"), tasklet(task)("b")
        for i in range(3):
            order.append("main")
            schedule()
        self.assertEqual(order, ["main", "a", "b", "main", "a", "b", "main"])
        self.assertDead(a)
        self.assertDead(b)

    def test_result_assigned_by_another(self):
        log = []

        def waiter():
            log.append(schedule("own"))

        def setter():
            self.assertEqual(t.tempval, "own")
            t.tempval = "other's"
        t = tasklet(waiter)()
        t.run()
        tasklet(setter)().run()
        stackless.run()
        self.assertEqual(log, ["other's"])

    def test_main_sees_an_assigned_result(self):
        def setter():
            stackless.main.tempval = 42
        tasklet(setter)()
        self.assertEqual(schedule(), 42)

    def test_bomb_assigned_by_another(self):
        def setter():
            stackless.main.tempval = bomb(Error, "boom")
        tasklet(setter)()
        with self.assertRaisesRegex(Error, "boom"):
            schedule()

    def test_bomb_in_an_unstarted_tasklet(self):
        log = []
        t = tasklet(log.append)(1)
        t.tempval = bomb(Error, 3)
        with self.assertRaises(Error) as cm:
            stackless.run()
        self.assertEqual(cm.exception.args, (3,))
        self.assertEqual(log, [])
        self.assertDead(t)

    def test_tempval_is_cleared_by_resumption(self):
        class X:
            pass
        refs = []

        def task():
            x = X()
            refs.append(weakref.ref(x))
            schedule(x)
            del x
            schedule_remove(None)
        t = tasklet(task)()
        schedule()
        schedule()
        self.assertIsNone(refs[0]())
        self.assertTrue(t.paused)
        t.kill()

    def test_deep_in_calls(self):
        order = []

        def deep(name, n):
            if n:
                deep(name, n - 1)
            else:
                order.append(name)
                schedule()
                order.append(name)
        for name in "ab":
            tasklet(deep)(name, 30)
        stackless.run()
        self.assertTurns(order, list("abab"))

    def test_many_tasklets(self):
        count = 0

        def task():
            nonlocal count
            for i in range(3):
                count += 1
                schedule()
        for i in range(1000):
            tasklet(task)()
        self.assertEqual(stackless.runcount, 1001)
        stackless.run()
        self.assertEqual(count, 3000)

    def test_exception_state_is_kept_over_a_switch(self):
        log = []

        def task(exc):
            try:
                raise exc
            except Exception as e:
                schedule()
                log.append(e)
                try:
                    raise
                except Exception as again:
                    log.append(again is e)
        a, b = KeyError(), IndexError()
        tasklet(task)(a)
        tasklet(task)(b)
        stackless.run()
        self.assertIn(log, ([a, True, b, True], [b, True, a, True])[:1 + SHUFFLED])


class ScheduleRemove(StacklessTestCase):

    def test_alone_in_main_returns_at_once(self):
        x = object()
        with self.unchanged():
            self.assertIs(schedule_remove(x), x)
            self.assertIs(schedule_remove(retval=x), x)
            self.assertIs(schedule_remove(), stackless.main)
        self.assertTrue(stackless.main.scheduled)

    def test_pauses(self):
        log = []

        def task():
            log.append(schedule_remove())
            log.append(schedule_remove(5))
        t = tasklet(task)()
        stackless.run()
        self.assertTrue(t.paused)
        self.assertFalse(t.scheduled)
        self.assertEqual(log, [])
        t.insert()
        stackless.run()
        t.run()
        self.assertEqual(log, [t, 5])
        self.assertDead(t)

    @needs_order
    def test_the_successor_runs(self):
        seen = []

        def task():
            schedule_remove()
        a = tasklet(task)()
        tasklet(lambda: seen.append(runqueue()))()
        b = seen
        schedule()
        self.assertEqual(len(b[0]), 2)
        self.assertIs(b[0][1], stackless.main)
        self.assertTrue(a.paused)
        a.kill()

    def test_result_assigned_by_another(self):
        log = []

        def task():
            log.append(schedule_remove())
        t = tasklet(task)()
        t.run()
        t.tempval = "value"
        t.run()
        self.assertEqual(log, ["value"])

    def test_main_removes_itself(self):
        def task():
            self.assertTrue(stackless.main.paused)
            stackless.main.insert()
            self.assertFalse(stackless.main.paused)
        tasklet(task)()
        self.assertEqual(schedule_remove(3), 3)
        self.assertQueue([stackless.main])

    @needs_order
    def test_main_removes_itself_and_is_woken_by_the_end_of_all(self):
        order = []
        tasklet(order.append)(1)
        tasklet(order.append)(2)
        schedule_remove()
        self.assertEqual(order, [1, 2])
        self.assertQueue([stackless.main])


class Discipline(StacklessTestCase):
    """Section by section what an operation does to the queue."""

    @needs_order
    def test_jump_over_those_in_between(self):
        # Queue M A B C; C.run(); C does schedule(): M goes on, and only later
        # A and B.
        order = []

        def task(name):
            order.append(name)
            schedule()
            order.append(name)
        main = stackless.main
        a, b, c = [tasklet(task)(name) for name in "ABC"]
        c.run()
        order.append("M")
        self.assertQueue([main, a, b, c])
        stackless.run()
        self.assertEqual(order, ["C", "M", "A", "B", "C", "A", "B"])

    def test_run_of_an_unqueued_tasklet(self):
        # It goes to the end, so the caller is the next one after it.
        seen = []
        a, b = tasklet(nothing)(), tasklet(nothing)()
        t = tasklet(lambda: seen.extend(runqueue()), ())
        t.run()
        self.assertEqual(seen, [t, stackless.main, a, b])
        stackless.run()

    @needs_order
    def test_run_of_a_queued_tasklet_does_not_move_it(self):
        seen = []
        a = tasklet(nothing)()
        t = tasklet(lambda: seen.extend(runqueue()))()
        b = tasklet(nothing)()
        t.run()
        # t is not moved: those after it come before main.
        self.assertEqual(seen, [t, b, stackless.main, a])
        self.assertDead(b)
        stackless.run()
        self.assertDead(a)

    def test_run_returns_none(self):
        t = tasklet(schedule_remove)
        self.assertIsNone(t().run())
        self.assertIsNone(t.run())

    def test_run_returns_what_another_put_into_tempval(self):
        def task():
            stackless.main.tempval = 5
        self.assertEqual(tasklet(task)().run(), 5)

    def test_run_returns_the_caller_s_own_tempval(self):
        # It was forgotten.
        def task():
            caller = stackless.current
            for t in (paused, caller):
                for method in (t.run, t.switch):
                    caller.tempval = "own"
                    if t is paused and method == t.switch:
                        tasklet(caller.insert)()
                    log.append(method())
                    log.append(caller.tempval)
        paused = tasklet(lambda: [schedule_remove(None) for i in range(10)])()
        paused.run()
        for way in (lambda f: f(), lambda f: list(map(lambda _: f(), [0]))):
            log = []
            self.run_tasklet(way, task)
            self.assertEqual(log, ["own", None] * 4)
        log = []
        task()
        self.assertEqual(log, ["own", None] * 4)
        paused.kill()

    def test_a_bomb_of_its_own(self):
        main = stackless.main
        for call in (tasklet(nothing)().run, main.run, main.switch):
            main.tempval = bomb(Error, "own")
            with self.assertRaisesRegex(Error, "own"):
                call()
            self.assertIsNone(main.tempval)
        stackless.run()

    def test_other_calls_do_not_return_it(self):
        main = stackless.main
        ch = stackless.channel()

        def check(call, expected=None):
            main.tempval = "own"
            self.assertEqual(call(), expected)
            self.assertIsNone(main.tempval)
        check(lambda: schedule("result"), "result")            # without a switch
        check(schedule, main)
        tasklet(nothing)()
        check(lambda: schedule("result"), "result")
        tasklet(nothing)()
        check(schedule, main)
        tasklet(nothing)()
        check(stackless.run)
        check(tasklet(schedule)().kill)
        receiver = self.receiver(ch)
        check(lambda: ch.send(1))
        self.assertDead(receiver)
        tasklet(ch.send)(2)
        check(ch.receive, 2)
        stackless.run()

    def test_it_stays_if_the_call_fails(self):
        main = stackless.main
        main.tempval = "own"
        stackless.switch_trap(1)
        try:
            t = tasklet(nothing)()
            for call in (t.run, t.switch, schedule, t.kill):
                with self.assertRaisesRegex(RuntimeError, "switch_trap"):
                    call()
                self.assertEqual(main.tempval, "own")
        finally:
            stackless.switch_trap(-1)
        with self.assertRaises(RuntimeError):
            tasklet().run()
        self.assertEqual(main.tempval, "own")
        main.tempval = None
        stackless.run()

    def test_run_of_the_current_tasklet(self):
        tasklet(nothing)()
        with self.unchanged():
            stackless.current.run()
        log = []

        def task():
            log.append(stackless.current.run())
        self.run_tasklet(task)
        self.assertEqual(log, [None])

    def test_run_of_blocked_and_dead_tasklets(self):
        ch = stackless.channel()
        blocked = self.receiver(ch)
        dead = tasklet(nothing)()
        dead.run()
        for method in ("run", "switch"):
            for t, message in (
                    (blocked, "^You cannot run a blocked tasklet$"),
                    (dead, r"^You cannot run an unbound\(dead\) tasklet$"),
                    (tasklet(), r"^You cannot run an unbound\(dead\) tasklet$"),
                    (tasklet(nothing), r"^You cannot run an unbound\(dead\) tasklet$")):
                with self.unchanged(ch, t):
                    with self.assertRaisesRegex(RuntimeError, message):
                        getattr(t, method)()
        blocked.kill()

    @needs_order
    def test_main_can_be_run(self):
        order = []

        def task():
            order.append("task")
            stackless.main.run()
            order.append("task again")
        a = tasklet(task)()
        b = tasklet(order.append)("b")
        schedule()
        self.assertEqual(order, ["task"])
        self.assertQueue([stackless.main, a, b])
        stackless.run()
        self.assertEqual(order, ["task", "task again", "b"])

    @needs_order
    def test_switch_leaves_the_caller_paused(self):
        seen = []

        def task():
            seen.append((stackless.main.paused, runqueue()))
            stackless.main.insert()
        a = tasklet(nothing)()
        t = tasklet(task, ())
        self.assertIsNone(t.switch())
        self.assertEqual(seen, [(True, [t, a])])
        self.assertDead(t)
        self.assertDead(a)

    def test_switch_of_a_queued_tasklet(self):
        seen = []

        def task():
            seen.extend(runqueue())
        a = tasklet(nothing)()
        t = tasklet(task)()
        b = tasklet(nothing)()
        t.switch()
        self.assertEqual(seen, [t, b, a])
        self.assertQueue([stackless.main])

    def test_switch_of_the_current_tasklet(self):
        with self.unchanged():
            stackless.current.switch()
        log = []

        def task():
            stackless.current.switch()
            log.append(stackless.current.scheduled)
        self.run_tasklet(task)
        self.assertEqual(log, [True])

    def test_coroutines_by_switch(self):
        order = []

        def task(name):
            for i in range(3):
                order.append(name + str(i))
                tasklets[other[name]].switch()
        other = {"a": "b", "b": "a"}
        tasklets = {name: tasklet(task, (name,)) for name in "ab"}
        tasklets["a"].switch()
        # a ended with b paused, and main was woken by the empty queue.
        self.assertEqual(order, "a0 b0 a1 b1 a2 b2".split())
        self.assertDead(tasklets["a"])
        self.assertTrue(tasklets["b"].paused)
        tasklets["b"].kill()

    @needs_order
    def test_the_end_passes_to_the_successor(self):
        order = []
        main = stackless.main
        a = tasklet(order.append)("a")
        b = tasklet(order.append)("b")
        a.run()
        self.assertEqual(order, ["a", "b"])
        self.assertDead(a)
        self.assertDead(b)
        self.assertQueue([main])

    @needs_order
    def test_new_ones_go_behind_the_current(self):
        order = []

        def parent():
            order.append("parent")
            tasklet(order.append)("child")
            schedule()
            order.append("parent again")
        tasklet(parent)()
        tasklet(order.append)("other")
        stackless.run()
        self.assertEqual(order, ["parent", "other", "child", "parent again"])

    def test_remove_of_the_successor(self):
        order = []
        a = tasklet(order.append)("a")
        tasklet(order.append)("b")
        a.remove()
        schedule()
        self.assertEqual(order, ["b"])
        a.kill()

    @needs_order
    def test_removed_by_a_neighbour_while_suspended(self):
        order = []

        def looper():
            while True:
                order.append("loop")
                schedule()
        t = tasklet(looper)()

        def remover():
            schedule()
            t.remove()
        tasklet(remover)()
        stackless.run()
        self.assertEqual(order, ["loop", "loop"])
        self.assertTrue(t.paused)
        t.kill()

    @needs_order
    def test_kill_of_the_successor(self):
        order = []

        def first():
            second.kill()
            order.append("first")
        tasklet(first)()
        second = tasklet(order.append)("second")
        stackless.run()
        self.assertEqual(order, ["first"])


class Trap(StacklessTestCase):

    def test_schedule_with_a_trap(self):
        t = tasklet(nothing)()
        stackless.switch_trap(1)
        try:
            with self.unchanged(t):
                for f in (schedule, schedule_remove):
                    with self.assertRaisesRegex(RuntimeError, "switch_trap"):
                        f()
        finally:
            stackless.switch_trap(-1)
        stackless.run()

    def test_alone_there_is_nothing_to_trap(self):
        stackless.switch_trap(1)
        try:
            self.assertIs(schedule(), stackless.main)
        finally:
            stackless.switch_trap(-1)


class LastReference(ChildTestCase):

    def test_to_the_function_itself(self):
        self.run_ok("""
            import _stackless, stackless

            def turns(some):
                for function in some:
                    if function is None:
                        function = holder.pop()
                    function()

            def task():
                turns([stackless.schedule] * 100)
                del stackless.schedule, _stackless.schedule
                turns([None])
                log.append("back")

            holder = [stackless.schedule]
            log = []
            stackless.tasklet(task)()
            stackless.tasklet(turns)([stackless.schedule] * 150)
            stackless.run()
            assert log == ["back"] and not holder, (log, holder)
            """)


if __name__ == "__main__":
    unittest.main()
