"""The options of a limited stackless.run(), and what delays an interrupt."""

import gc
import _thread
import signal
import sys
import threading
import time
import unittest

import stackless
from stackless import schedule, tasklet

from .support import StacklessTestCase, needs_order, runqueue
from .test_watchdog import LIMITS, Box, forever, nothing


class Deferred(StacklessTestCase):

    def test_main_is_not_interrupted(self):
        seen = []

        def task():
            stackless.main.run()

        def caller():
            tasklet(task)()
            seen.append(stackless.run(10))
        t = tasklet(caller)()
        stackless.run()
        for i in range(1000):
            len("")
        stackless.run()
        self.assertDead(t)

    def test_atomic(self):
        def task():
            with stackless.atomic():
                for i in range(5000):
                    seen.append(i)
            seen.append("not reached")
            while True:
                pass
        seen = []
        t = tasklet(task)()
        self.assertIs(stackless.run(100), t)
        self.assertEqual(seen, list(range(5000)))
        self.assertFalse(t.atomic)
        t.kill()

    def test_set_atomic(self):
        def task():
            stackless.current.set_atomic(True)
            for i in range(5000):
                seen.append(i)
            stackless.current.set_atomic(False)
            seen.append("not reached")
            while True:
                pass
        seen = []
        t = tasklet(task)()
        self.assertIs(stackless.run(100), t)
        self.assertEqual(seen, list(range(5000)))
        t.kill()

    def test_nested_atomic(self):
        def task():
            with stackless.atomic():
                for i in range(500):
                    with stackless.atomic():
                        seen.append(i)
            seen.append("not reached")
        seen = []
        t = tasklet(task)()
        self.assertIs(stackless.run(100), t)
        self.assertEqual(seen, list(range(500)))
        t.kill()

    def test_switch_trap(self):
        def task():
            stackless.switch_trap(1)
            for i in range(500):
                seen.append(i)
            stackless.switch_trap(-1)
            while True:
                pass
        seen = []
        t = tasklet(task)()
        self.assertIs(stackless.run(100), t)
        self.assertEqual(seen, list(range(500)))
        t.kill()

    def test_within_callbacks(self):
        def busy():
            for i in range(500):
                pass

        def schedule_callback(prev, next):
            busy()
            seen.append((prev, next))

        def channel_callback(*args):
            busy()
            seen.append(args)

        def task():
            ch = stackless.channel()
            tasklet(ch.send)(1)
            ch.receive()
            while True:
                pass
        seen = []
        stackless.set_schedule_callback(schedule_callback)
        stackless.set_channel_callback(channel_callback)
        t = tasklet(task)()
        try:
            while stackless.run(100) is not t:
                pass
        finally:
            stackless.set_schedule_callback(None)
            stackless.set_channel_callback(None)
        self.assertEqual(seen[-1], (t, stackless.main))
        t.kill()
        stackless.run()

    def test_the_schedule_callback_sees_it(self):
        seen = []
        t = tasklet(forever)()
        stackless.set_schedule_callback(lambda *args: seen.append(args))
        try:
            self.assertIs(stackless.run(100), t)
        finally:
            stackless.set_schedule_callback(None)
        self.assertEqual(seen, [(stackless.main, t), (t, stackless.main)])
        t.kill()

    def test_nesting_level(self):
        def key(x):
            for i in range(100):
                pass
            seen.append(x)
            return -x

        def task():
            max([1, 2, 3, 4], key=key)
            seen.append("not reached")
            while True:
                pass
        seen = []
        t = tasklet(task)()
        self.assertIs(stackless.run(100), t)
        self.assertEqual(seen, [1, 2, 3, 4])
        self.assertEqual(t.nesting_level, 0)
        t.kill()

    def check_ignored_nesting(self, set_flag, **kwargs):
        def key(x):
            if set_flag:
                stackless.current.set_ignore_nesting(True)
            for i in range(1000):
                done.append(i)
            return -x

        def task():
            done.append(max([1, 2], key=key))
        done = []
        t = tasklet(task)()
        self.assertIs(stackless.run(100, **kwargs), t)
        self.assertLess(len(done), 100)
        self.assertGreater(t.nesting_level, 0)
        self.assertFalse(t.restorable)
        self.assertTrue(t.paused)
        self.assertIs(t.frame.f_code, key.__code__)
        t.insert()
        self.assertIsNone(stackless.run())
        self.assertEqual(done[-1], 1)
        self.assertDead(t)

    def test_ignore_nesting(self):
        self.check_ignored_nesting(False, ignore_nesting=True)

    def test_set_ignore_nesting(self):
        self.check_ignored_nesting(True)

    def test_ignore_nesting_set_when_due(self):
        def key(x):
            for i in range(1000):
                done.append(i)
            stackless.current.set_ignore_nesting(True)
            done.append("not reached")
            return -x
        done = []
        t = tasklet(max)([1, 2], key=key)
        self.assertIs(stackless.run(100), t)
        self.assertEqual(done, list(range(1000)))
        t.kill()

    def test_killed_within_c_functions(self):
        def key(x):
            try:
                while True:
                    pass
            finally:
                done.append("finally")

        def task():
            try:
                max([1, 2], key=key)
            except TaskletExit:
                done.append("exit")
                raise
        done = []
        t = tasklet(task)()
        self.assertIs(stackless.run(100, ignore_nesting=True), t)
        t.kill()
        self.assertEqual(done, ["finally", "exit"])
        self.assertDead(t)

    def test_finalizer_that_the_collector_calls(self):
        # It could not be left, once, and ended after the time limit.
        class Finalized:
            def __del__(self):
                for i in range(500):
                    done.append(i)

        def task():
            x = Finalized()
            x.x = x
            del x
            gc.collect()
            done.append("end")
        done = []
        interrupted = 0
        t = tasklet(task)()
        while "end" not in done:
            if stackless.run(100, ignore_nesting=True) is t:
                interrupted += 1
                t.insert()
        self.assertGreater(interrupted, 1)
        self.assertEqual(done, [*range(500), "end"])

    def test_an_error_handler(self):
        def handler(*args):
            for i in range(500):
                pass
            seen.append(args[0])

        def task():
            1 / 0
        seen = []
        stackless.set_error_handler(handler)
        tasklet(task)()
        try:
            self.assertIsNone(stackless.run(100))
        finally:
            stackless.set_error_handler(None)
        self.assertEqual(seen, [ZeroDivisionError])


class Atomic(StacklessTestCase):
    """What the interpreter does not do between the bytecodes of an atomic tasklet."""

    @unittest.skipUnless(threading.current_thread() is threading.main_thread(),
                         "signals are handled in the main thread")
    def test_signal_handlers_wait(self):
        def task():
            with stackless.atomic():
                _thread.interrupt_main(signal.SIGINT)
                for i in range(100):
                    seen.append(i)
            for i in range(10):
                pass
            seen.append("end")
        seen = []
        old = signal.signal(signal.SIGINT, lambda *args: seen.append("signal"))
        try:
            self.run_tasklet(task)
        finally:
            signal.signal(signal.SIGINT, old)
        self.assertEqual(seen, [*range(100), "signal", "end"])

    def test_other_threads_wait(self):
        count = [0]
        stop = []

        def other():
            while not stop:
                count[0] += 1

        def task():
            clock = time.perf_counter
            with stackless.atomic():
                before = count[0]
                end = clock() + 0.05
                while clock() < end:
                    pass
                seen.append(count[0] - before)
            while count[0] == before:
                pass
        seen = []
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-4)
        thread = threading.Thread(target=other)
        thread.start()
        try:
            while not count[0]:
                time.sleep(0.001)
            self.run_tasklet(task)
        finally:
            stop.append(1)
            thread.join()
            sys.setswitchinterval(interval)
        self.assertEqual(seen, [0])

    def test_main_too(self):
        seen = []
        old = signal.signal(signal.SIGINT, lambda *args: seen.append("signal"))
        try:
            with stackless.atomic():
                _thread.interrupt_main(signal.SIGINT)
                for i in range(100):
                    seen.append(i)
            for i in range(10):
                pass
        finally:
            signal.signal(signal.SIGINT, old)
        self.assertEqual(seen, [*range(100), "signal"])


class Total(StacklessTestCase):

    def test_without_it_the_time_starts_anew(self):
        def task():
            for i in range(500):
                schedule()
        a, b = (tasklet(task)() for _ in range(2))
        self.assertIsNone(stackless.run(100))
        self.assertDead(a)

    def test_counts_all_tasklets(self):
        def task(box):
            while True:
                box.value += 1
                schedule()
        length = 10
        for limit in LIMITS:
            boxes = [Box(), Box()]
            tasklets = [tasklet(task)(box) for box in boxes]
            t = stackless.run(limit, totaltimeout=True)
            self.assertIn(t, tasklets)
            rounds = sum(box.value for box in boxes)
            self.assertGreater(rounds * length * 2, limit)
            self.assertLess(rounds * length, limit * 2 + 2 * length)
            self.assertEqual(set(runqueue()), {stackless.main, *tasklets} - {t})
            for t in tasklets:
                t.kill()

    def test_tasklets_that_end(self):
        def task():
            tasklet(task)()
            seen.append(1)
        seen = []
        t = tasklet(task)()
        while t is not None and len(seen) < 10_000:
            t = stackless.run(200, totaltimeout=True)
            break
        self.assertIsNotNone(t)
        self.assertLess(len(seen), 50)
        self.assertGreater(len(seen), 5)
        for t in runqueue()[1:]:
            t.remove()


class Soft(StacklessTestCase):

    def test_nobody_is_interrupted(self):
        def task():
            for i in range(5000):
                seen.append(i)
            schedule()
            seen.append("end")
        seen = []
        t = tasklet(task)()
        self.assertIsNone(stackless.run(100, soft=True))
        self.assertEqual(seen, list(range(5000)))
        self.assertQueue([stackless.main, t])
        self.assertIsNone(stackless.run())
        self.assertEqual(seen[-1], "end")

    @needs_order
    def test_the_queue_is_as_it_was(self):
        def busy():
            for i in range(1000):
                pass
            schedule()
        a, b, c = (tasklet(busy)() for _ in range(3))
        self.assertIsNone(stackless.run(100, soft=True))
        self.assertQueue([stackless.main, b, c, a])
        self.assertIsNone(stackless.run(100, soft=True))
        self.assertQueue([stackless.main, c, a, b])
        stackless.run()

    def test_it_ends_by_the_queue_running_empty(self):
        t = tasklet(forever)
        t.bind(lambda: [None for i in range(1000)], ())
        t.insert()
        self.assertIsNone(stackless.run(100, soft=True))
        self.assertDead(t)

    def check_switch(self, leave, expected):
        def task():
            for i in range(1000):
                pass
            leave()
            seen.append("back")

        def other():
            seen.append("other")
        seen = []
        t = tasklet(task)()
        u = tasklet(other)()
        self.assertIsNone(stackless.run(100, soft=True))
        self.assertEqual(seen, expected)
        self.assertIs(stackless.main.next, u)
        return t, u

    @needs_order
    def test_schedule_remove(self):
        t, u = self.check_switch(stackless.schedule_remove, [])
        self.assertTrue(t.paused)
        self.assertQueue([stackless.main, u])
        t.insert()
        stackless.run()

    @needs_order
    def test_blocking(self):
        ch = stackless.channel()
        t, u = self.check_switch(lambda: ch.receive(), [])
        self.assertTrue(t.blocked)
        self.assertQueue([stackless.main, u])
        ch.send(1)
        stackless.run()

    @needs_order
    def test_the_end_of_a_tasklet(self):
        def task():
            for i in range(1000):
                pass
        t = tasklet(task)()
        u = tasklet(nothing)()
        self.assertIsNone(stackless.run(100, soft=True))
        self.assertDead(t)
        self.assertQueue([stackless.main, u])
        stackless.run()

    @needs_order
    def test_run_of_a_tasklet(self):
        def task():
            for i in range(1000):
                pass
            v.run()
        v = tasklet(nothing)()
        v.remove()
        t = tasklet(task)()
        u = tasklet(nothing)()
        self.assertIsNone(stackless.run(100, soft=True))
        self.assertIs(stackless.main.next, v)
        self.assertEqual(set(runqueue()), {stackless.main, t, u, v})
        stackless.run()

    def test_a_preferred_partner_is_not_delayed(self):
        def task():
            for i in range(1000):
                pass
            ch.send("value")
            seen.append("not before main")

        def receiver():
            seen.append(ch.receive())
            schedule()
            seen.append("not before main")
        seen = []
        ch = stackless.channel()
        r = tasklet(receiver)()
        stackless.run()
        t = tasklet(task)()
        self.assertIsNone(stackless.run(100, soft=True))
        self.assertEqual(seen, ["value"])
        self.assertQueue([stackless.main, t, r])
        stackless.run()

    @needs_order
    def test_an_exception_is_not_delayed(self):
        def task():
            for i in range(1000):
                pass
            1 / 0
        tasklet(task)()
        u = tasklet(nothing)()
        with self.assertRaises(ZeroDivisionError):
            stackless.run(100, soft=True)
        self.assertQueue([stackless.main, u])
        stackless.run()

    @needs_order
    def test_the_schedule_callback_is_told(self):
        def task():
            for i in range(1000):
                pass
            schedule()
        t = tasklet(task)()
        u = tasklet(nothing)()
        seen = []
        stackless.set_schedule_callback(lambda *args: seen.append(args))
        try:
            stackless.run(100, soft=True)
        finally:
            stackless.set_schedule_callback(None)
        self.assertEqual(seen, [(stackless.main, t), (t, stackless.main)])
        stackless.run()
        self.assertDead(u)

    def test_total(self):
        def task(box):
            while True:
                box.value += 1
                schedule()
        boxes = [Box(), Box()]
        tasklets = [tasklet(task)(box) for box in boxes]
        self.assertIsNone(stackless.run(1000, soft=True, totaltimeout=True))
        rounds = sum(box.value for box in boxes)
        self.assertGreater(rounds, 50)
        self.assertLess(rounds, 200)
        self.assertEqual(set(runqueue()), {stackless.main, *tasklets})
        for t in tasklets:
            t.kill()


class Nested(StacklessTestCase):

    def test_only_the_outermost_limit_counts(self):
        results = []

        def inner():
            results.append(stackless.run(100))
            results.append("inner goes on")

        def task():
            for i in range(1000):
                pass
            results.append("task ended")
        tasklet(inner)()
        tasklet(task)()
        self.assertIsNone(stackless.run(1_000_000))
        self.assertEqual(results, ["task ended", None, "inner goes on"])

    def test_the_outermost_gets_control_back(self):
        results = []

        def inner():
            t = tasklet(forever)()
            try:
                results.append(stackless.run(1))
            finally:
                t.kill()
        i = tasklet(inner)()
        t = stackless.run(1000)
        self.assertEqual(t.frame.f_code, forever.__code__)
        self.assertEqual(results, [])
        self.assertQueue([stackless.main, i])
        stackless.run()
        self.assertEqual(results, [None])
        self.assertFalse(t.alive)

    def test_a_limit_inside_a_run_without(self):
        results = []

        def inner():
            t = tasklet(forever)()
            results.append(stackless.run(1000) is t)
            t.kill()
        tasklet(inner)()
        self.assertIsNone(stackless.run())
        self.assertEqual(results, [True])

    def test_the_limit_ends_when_its_caller_is_woken(self):
        def task():
            stackless.main.insert()
            for i in range(50):
                pass
            schedule()
            for i in range(1000):
                seen.append(i)
        seen = []
        t = tasklet(task)()
        self.assertIsNone(stackless.run(500))
        self.assertIsNone(stackless.run())
        self.assertEqual(len(seen), 1000)
        self.assertDead(t)

    @needs_order
    def test_the_caller_is_killed(self):
        seen = []

        def caller():
            tasklet(tasklet.kill)(stackless.current)
            tasklet(task)()
            stackless.run(500)

        def task():
            for i in range(1000):
                seen.append(i)
        c = tasklet(caller)()
        self.assertIsNone(stackless.run())
        self.assertDead(c)
        self.assertEqual(len(seen), 1000)

    def test_the_next_limit_starts_afresh(self):
        t = tasklet(forever)()
        for limit in (100, 1000, 100, 5000):
            self.assertIs(stackless.run(limit), t)
            t.insert()
        t.kill()


if __name__ == "__main__":
    unittest.main()
