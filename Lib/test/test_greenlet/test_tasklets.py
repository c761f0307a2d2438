"""Greenlets and tasklets together.

Every greenlet that is not a tasklet's own runs in a tasklet made for it.
switch() pauses the calling tasklet and makes the other greenlet's tasklet
current in its place of the run queue.  A tasklet that was not made so has a
greenlet too, which getcurrent() returns in it.
"""

import unittest

import greenlet as module
from greenlet import GreenletExit, getcurrent, greenlet

from .support import OURS, ChildTestCase, Error, GreenletTestCase, echo, switch_back

if not OURS:
    raise unittest.SkipTest("about tasklets, which this interpreter has none of")

import stackless
from stackless import channel, schedule, tasklet
from test.test_stackless.support import in_turn


class TaskletTestCase(GreenletTestCase):

    def setUp(self):
        super().setUp()
        self.assertEqual(stackless.getruncount(), 1)
        self.addCleanup(self._check_queue)

    def _check_queue(self):
        left = 0
        while stackless.getruncount() > 1:
            stackless.getcurrent().next.remove()
            left += 1
        self.assertEqual(left, 0, "tasklets are left in the queue")


class Identity(TaskletTestCase):

    def test_a_greenlet_runs_in_a_tasklet(self):
        t = greenlet(stackless.getcurrent).switch()
        self.assertIsInstance(t, tasklet)
        self.assertIsNot(t, stackless.getmain())
        self.assertFalse(t.alive)

    def test_each_in_its_own(self):
        a = greenlet(lambda: switch_back(stackless.getcurrent()))
        b = greenlet(lambda: switch_back(stackless.getcurrent()))
        self.assertIsNot(a.switch(), b.switch())

    def test_the_same_at_every_switch(self):
        def run():
            first = stackless.getcurrent()
            switch_back()
            return first is stackless.getcurrent()
        self.assertTrue(self.started(run).switch())

    def test_main(self):
        self.assertIs(stackless.getcurrent(), stackless.getmain())
        self.assertIsNone(getcurrent().parent)
        main = stackless.getmain()
        greenlet(lambda: self.assertIs(stackless.getmain(), main)).switch()

    def test_current_in_a_tasklet(self):
        seen = []

        def task():
            seen.append(getcurrent())
            schedule()
            seen.append(getcurrent())
        tasklet(task)()
        stackless.run()
        self.assertIs(seen[0], seen[1])
        self.assertIs(type(seen[0]), greenlet)
        self.assertIsNot(seen[0], getcurrent())
        self.assertIs(seen[0].parent, getcurrent())
        self.assertDead(seen[0])

    def test_different_tasklets_different_greenlets(self):
        seen = []
        for i in range(3):
            tasklet(lambda: seen.append(getcurrent()))()
        stackless.run()
        self.assertEqual(len(set(seen)), 3)

    def test_active_while_the_tasklet_is(self):
        seen = []

        def task():
            seen.append(getcurrent())
            stackless.schedule_remove()
        t = tasklet(task)()
        t.run()
        self.assertActive(seen[0])
        self.assertFalse(hasattr(seen[0], "run"))
        t.run()
        self.assertDead(seen[0])


class Queue(TaskletTestCase):

    def test_suspended_is_paused(self):
        t = (g := greenlet(lambda: switch_back(stackless.getcurrent()))).switch()
        self.assertTrue(t.paused)
        self.assertFalse(t.scheduled)
        self.assertEqual(stackless.getruncount(), 1)
        g.switch()

    def test_has_no_result_while_it_is_suspended(self):
        # What it switched to was seen there, unless it had been left hard.
        main = module.getcurrent()
        for call in (lambda: main.switch(), lambda: list(map(lambda x: main.switch(), [0]))):
            g = greenlet(lambda: (seen.append(stackless.getcurrent()), call()))
            seen = []
            g.switch()
            with self.subTest(call):
                self.assertIsNone(seen[0].tempval)
            g.switch()

    def test_takes_the_place_of_the_caller(self):
        log = []
        other = tasklet(log.append)("other")

        def run():
            current = stackless.getcurrent()
            log.append((stackless.getruncount(), current.next is other, current.prev is other,
                        main.scheduled, main.paused))
        main = stackless.getmain()
        greenlet(run).switch()
        self.assertEqual(log, [(2, True, True, False, True)])
        self.assertIs(stackless.getcurrent().next, other)
        stackless.run()
        self.assertEqual(log[1:], ["other"])

    def test_others_do_not_run_meanwhile(self):
        log = []
        tasklet(log.append)("other")
        g = self.started(echo, 1)
        for i in range(10):
            g.switch(i)
        self.assertEqual(log, [])
        g.switch(None)
        stackless.run()
        self.assertEqual(log, ["other"])

    def test_from_a_tasklet(self):
        log = []

        def task(name):
            g = greenlet(echo)
            for i in range(3):
                log.append((name, g.switch(i)))
                schedule()
            log.append((name, g.switch(None)))
        tasklet(task)("a")
        tasklet(task)("b")
        stackless.run()
        self.assertEqual(in_turn(log), in_turn((n, v) for v in (0, 1, 2, "end") for n in "ab"))

    def test_parent_of_greenlets_made_in_a_tasklet(self):
        def task():
            log.append(greenlet().parent is getcurrent())
        log = []
        tasklet(task)()
        stackless.run()
        self.assertEqual(log, [True])


class Scheduling(TaskletTestCase):
    """A greenlet does what tasklets do."""

    def test_channel_from_a_greenlet(self):
        ch = channel()
        log = []

        def task():
            for i in range(3):
                ch.send(i)
        tasklet(task)()

        def run():
            return [ch.receive() for i in range(3)]

        def whole():
            log.append(greenlet(run).switch())
        t = tasklet(whole)()
        stackless.run()
        self.assertFalse(t.alive)
        self.assertEqual(log, [[0, 1, 2]])

    def blocked(self, ch, log=None):
        """A greenlet that waits for a message; its tasklet."""
        def run():
            box.append(stackless.getcurrent())
            try:
                value = ch.receive()
            except BaseException as e:
                value = e
            if log is not None:
                log.append(value)
            return value
        box = []
        g = greenlet(run)

        # Whoever switches is paused; so let that be a tasklet, and not main.
        starter = tasklet(g.switch)()
        starter.run()
        self.assertEqual(ch.balance, -1)
        return g, box[0], starter

    def test_blocked_like_any_tasklet(self):
        ch = channel()
        log = []
        g, t, starter = self.blocked(ch, log)
        self.assertTrue(t.blocked)
        self.assertIs(ch.queue, t)
        self.assertActive(g)
        ch.send(5)
        stackless.run()
        self.assertEqual(log, [5])
        self.assertDead(g)
        starter.kill()

    def test_switch_to_a_blocked_one(self):
        ch = channel()
        g, t, starter = self.blocked(ch)
        with self.assertRaises(module.error):
            g.switch()
        self.assertTrue(t.blocked)
        self.assertEqual(ch.balance, -1)
        ch.send(None)
        stackless.run()
        starter.kill()

    def test_throw_to_a_blocked_one(self):
        ch = channel()
        log = []
        g, t, starter = self.blocked(ch, log)
        g.parent = getcurrent()
        self.assertIs(type(g.throw(Error)), Error)
        self.assertEqual(ch.balance, 0)
        self.assertIs(type(log[0]), Error)
        self.assertDead(g)
        starter.kill()

    def test_switch_to_a_runnable_one(self):
        box = []

        def run():
            box.append(stackless.getcurrent())
            schedule()
        g = greenlet(run)
        starter = tasklet(g.switch)()
        starter.run()
        self.assertTrue(box[0].scheduled)
        with self.assertRaises(module.error):
            g.switch()
        self.assertTrue(box[0].scheduled)
        g.parent = getcurrent()
        self.assertIsInstance(g.throw(), GreenletExit)
        self.assertFalse(box[0].alive)
        starter.kill()

    def test_switch_to_a_runnable_tasklet(self):
        seen = []

        def task():
            seen.append(getcurrent())
            schedule()
        t = tasklet(task)()
        t.run()
        self.assertTrue(t.scheduled)
        with self.assertRaises(module.error):
            seen[0].switch()
        stackless.run()

    def test_switch_to_a_paused_tasklet(self):
        def task():
            log.append(getcurrent())
            stackless.schedule_remove()
            log.append("resumed")
            switch_back("value")
            log.append("end")
        log = []
        t = tasklet(task)()
        t.switch()
        self.assertTrue(t.paused)
        self.assertEqual(log[0].switch(), "value")
        self.assertEqual(log[1:], ["resumed"])
        self.assertTrue(t.paused)
        t.run()
        self.assertEqual(log[1:], ["resumed", "end"])
        self.assertDead(log[0])

    def test_value_for_one_in_schedule_remove(self):
        # It got its tasklet, as if the scheduler had made it go on.
        def soft():
            got = [stackless.schedule_remove()]
            got.append(switch_back())
            return got

        def hard():
            return list(map(lambda _: stackless.schedule_remove(), [0, 0]))

        for run in soft, hard:
            for how in "called by main", "called by a greenlet", "called by C code":
                with self.subTest(run=run.__name__, how=how):
                    g = self.started(run)
                    for value in 1, 2:
                        if how == "called by main":
                            got = g.switch(value)
                        elif how == "called by a greenlet":
                            got = greenlet(g.switch).switch(value)
                        else:
                            got = list(map(g.switch, [value]))[0]
                    self.assertEqual(got, [1, 2])
                    self.assertDead(g)


class Forbidden(TaskletTestCase):
    """stackless.switch_trap() holds for greenlets: around calls of C libraries that would not get
    over a switch."""

    def check_refused(self, switch, *args):
        for call in lambda: switch(*args), lambda: list(map(lambda _: switch(*args), [0])):
            for _ in range(10):                    # cold and warm
                with self.assertRaisesRegex(RuntimeError, "switch_trap"):
                    call()

    def test_switches(self):
        other = self.started(echo, 0)
        for _ in range(10):
            other.switch(1)
        main = getcurrent()

        def run():
            stackless.switch_trap(1)
            try:
                self.check_refused(main.switch)
                self.check_refused(main.throw, Error)
                self.check_refused(other.switch, 2)
                self.check_refused(greenlet(list).switch)
            finally:
                stackless.switch_trap(-1)
            return main.switch("allowed again")
        g = greenlet(run)
        self.assertEqual(g.switch(), "allowed again")
        stackless.switch_trap(1)
        try:
            self.check_refused(g.switch)
            self.check_refused(g.throw)
            self.check_refused(other.switch, 3)
        finally:
            stackless.switch_trap(-1)
        self.assertEqual(g.switch("end"), "end")
        self.assertEqual(other.switch(4), 4)
        other.switch(None)


class LookingAgain(TaskletTestCase):
    """`run` is looked up before a switch begins; what the schedule callback does then may
    make it necessary to look again."""

    def check_switch(self, call):
        log = []

        class G(greenlet):
            @property
            def run(self):
                log.append("looked up")
                if log.count("looked up") == 2:
                    raise Error
                return lambda value: value

        def callback(prev, next):
            stackless.set_schedule_callback(None)
            with self.assertRaises(Error):
                g.switch("within the callback")

        def body():
            g.parent = getcurrent()
            stackless.set_schedule_callback(callback)
            return call(g.switch)
        g = G()
        self.addCleanup(stackless.set_schedule_callback, None)
        self.assertEqual(greenlet(body).switch(), "value")
        self.assertEqual(log, ["looked up"] * 3)

    def test_in_a_direct_call(self):
        self.check_switch(lambda switch: switch("value"))

    def test_below_a_c_function(self):
        self.check_switch(lambda switch: list(map(switch, ["value"]))[0])


class End(TaskletTestCase):

    def test_of_a_tasklet_delivers_nothing(self):
        # The scheduler goes on with whoever is next, and not with the parent.
        log = []

        def task():
            getcurrent()
            log.append("task")
            return "lost"
        tasklet(task)()
        tasklet(log.append)("next")
        self.assertIsNone(stackless.run())
        self.assertEqual(in_turn(log), in_turn(["task", "next"]))

    def test_of_a_greenlet_goes_to_the_parent(self):
        log = []

        def task():
            log.append(greenlet(lambda: "value").switch())
        tasklet(task)()
        stackless.run()
        self.assertEqual(log, ["value"])

    def test_of_a_greenlet_by_an_exception(self):
        def run():
            raise Error

        def task():
            try:
                greenlet(run).switch()
            except Error as e:
                log.append(e)
        log = []
        tasklet(task)()
        stackless.run()
        self.assertIs(type(log[0]), Error)

    def test_uncaught_in_a_tasklet(self):
        def run():
            raise Error

        def task():
            greenlet(run).switch()
        tasklet(task)()
        with self.assertRaises(Error):
            stackless.run()

    def test_killing_the_greenlets_tasklet(self):
        log = []

        def run():
            try:
                switch_back(stackless.getcurrent())
            except TaskletExit:
                log.append("exit")
                raise
        g = greenlet(run)
        t = g.switch()
        t.kill()
        self.assertEqual(log, ["exit"])
        self.assertFalse(t.alive)
        self.assertDead(g)


class Many(TaskletTestCase):

    def test_tasklets_with_greenlets(self):
        ch = channel()
        results = []

        def worker(n):
            g = greenlet(echo)
            total = 0
            for i in range(10):
                total += g.switch(ch.receive() + n)
            g.switch(None)
            results.append(total)

        def feeder():
            for i in range(10 * 50):
                ch.send(1)
        for n in range(50):
            tasklet(worker)(n)
        tasklet(feeder)()
        stackless.run()
        self.assertEqual(sorted(results), [10 * (n + 1) for n in range(50)])

    def test_greenlets_as_scheduler_of_greenlets_in_tasklets(self):
        def hub(count):
            some = [greenlet(lambda i=i: [switch_back(i) for k in range(5)]) for i in range(count)]
            while some:
                for g in some[:]:
                    g.switch()
                    if g.dead:
                        some.remove(g)
                schedule()
            done.append(count)
        done = []
        for count in 3, 5, 8:
            tasklet(hub)(count)
        stackless.run()
        self.assertEqual(sorted(done), [3, 5, 8])


class ReplacedModule(ChildTestCase):
    """A thread's first greenlet takes the scheduler's module, whatever is in its place."""

    def check_replaced(self, replace):
        self.run_ok(f"""
import greenlet, sys, threading, types
{replace}
def thread():
    g = greenlet.greenlet(lambda x: greenlet.getcurrent().parent.switch(x + 1))
    done.append(g.switch(1))
done = []
t = threading.Thread(target=thread)
t.start()
t.join()
assert done == [2], done
""")

    def test_replaced(self):
        # It was taken for the module that it was not: a crash.
        self.check_replaced("sys.modules['_stackless'] = types.ModuleType('_stackless')")
        self.check_replaced("sys.modules['_stackless'] = None")

    def test_deleted(self):
        # Another one was imported, which knew nothing of greenlets: a crash.
        self.check_replaced("del sys.modules['_stackless']")

    def test_import_hook(self):
        # It ran the program's code within getcurrent().
        self.check_replaced("import builtins; builtins.__import__ = None")

    def test_replaced_before(self):
        self.run_ok("""
import sys, types
sys.modules["_stackless"] = types.ModuleType("_stackless")
try:
    import greenlet
except ImportError as e:
    assert str(e).startswith("_stackless must be the builtin module, not <module"), e
else:
    raise AssertionError("greenlet was imported")
""")


if __name__ == "__main__":
    unittest.main()
