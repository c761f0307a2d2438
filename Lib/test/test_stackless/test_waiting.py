"""Waiting for a time: sleep(), timeouts, clocks, and what goes on meanwhile."""

import gc
import random
import threading
import time
import unittest
import weakref

import stackless
from stackless import channel, schedule, schedule_remove, sleep, tasklet

from .support import (ChildTestCase, SOFT, StacklessTestCase, many, needs_order, needs_soft,
                      waiters)

LONG = 1e6             # seconds: whoever waits for so long would be noticed


class Error(Exception):
    pass


class VirtualTestCase(StacklessTestCase):
    """Time is virtual in each test."""

    def setUp(self):
        super().setUp()
        time = stackless.virtual_time()
        time.__enter__()
        self.addCleanup(time.__exit__)


class Sleep(VirtualTestCase):

    def test_who_sleeps_shorter_goes_on_earlier(self):
        log = []

        def task(seconds):
            log.append((sleep(seconds), seconds, stackless.now()))
        for seconds in (3, 1, 2.5, 0.25):
            tasklet(task)(seconds)
        stackless.run()
        self.assertEqual(log, [(None, 0.25, 0.25), (None, 1, 1.0), (None, 2.5, 2.5), (None, 3, 3.0)])

    @needs_order
    def test_equal_deadlines_in_the_order_of_starting(self):
        log = []

        def task(n):
            sleep(1)
            log.append(n)
        for n in range(100):
            tasklet(task)(n)
        stackless.run()
        self.assertEqual(log, list(range(100)))

    def test_many_started_and_stopped_at_random(self):
        seed = random.randrange(1 << 32)
        rng = random.Random(seed)
        log = []

        def task(deadline):
            sleep(deadline)
            log.append(stackless.now())
        times = [rng.choice((rng.random() * 100, rng.randrange(1, 20))) for _ in range(many(3000))]
        tasklets = [tasklet(task)(seconds) for seconds in times]
        stackless.run(wait=False)
        expected = []
        for t, seconds in zip(tasklets, times):
            if rng.random() < 0.5:
                t.kill()
            else:
                expected.append(seconds)
        stackless.run()
        self.assertEqual(len(log), len(expected), seed)
        for now, seconds in zip(log, sorted(expected)):
            self.assertAlmostEqual(now, seconds, 6, seed)

    def test_main_sleeps(self):
        log = []
        tasklet(lambda: (sleep(1), log.append(1)))()
        tasklet(lambda: (sleep(3), log.append(3)))()
        sleep(2)
        self.assertEqual(log, [1])
        self.assertEqual(stackless.now(), 2.0)
        stackless.run()
        self.assertEqual(log, [1, 3])

    def test_zero_lets_others_run(self):
        log = []
        tasklet(log.append)(1)
        self.assertIsNone(sleep(0))
        self.assertEqual(log, [1])
        self.assertEqual(stackless.now(), 0.0)

    def test_bad_times(self):
        t = tasklet(schedule)()
        with self.unchanged(t):
            for seconds in (-1, -1e-9, float("-inf"), float("nan")):
                with self.assertRaisesRegex(ValueError, f"negative or nan, but is {seconds}"):
                    sleep(seconds)
            with self.assertRaisesRegex(TypeError, "number of seconds or None, not str"):
                sleep("1")
            for args, kwargs in (((), {}), ((1, 2), {}), ((), {"seconds": 1})):
                with self.assertRaises(TypeError):
                    sleep(*args, **kwargs)
        stackless.run()

    def test_for_ever(self):
        for seconds in (None, float("inf"), 1e300):
            t = tasklet(sleep)(seconds)
            stackless.run()
            self.assertTrue(t.blocked)
            t.kill()
            self.assertDead(t)
            with self.assertRaisesRegex(RuntimeError, "Deadlock"):
                sleep(seconds)

    def test_one_that_is_killed(self):
        log = []

        def task():
            try:
                sleep(LONG)
            finally:
                log.append(stackless.now())
        t = tasklet(task)()
        t.run()
        self.assertTrue(t.blocked)
        self.assertIsNone(t._channel)
        t.kill()
        self.assertEqual(log, [0.0])
        self.assertDead(t)
        stackless.run()
        self.assertEqual(stackless.now(), 0.0)

    def test_an_exception_that_is_thrown(self):
        for pending in (False, True):
            with self.subTest(pending=pending):
                t = tasklet(sleep)(LONG)
                t.run()
                with self.assertRaises(Error):
                    t.throw(Error, pending=pending)
                    stackless.run()
                self.assertEqual(stackless.now(), 0.0)

    def test_block_trap(self):
        stackless.main.block_trap = True
        try:
            with self.assertRaisesRegex(RuntimeError, "does not like to be blocked"):
                sleep(1)
            self.assertIsNone(sleep(0))
        finally:
            stackless.main.block_trap = False

    def test_in_an_atomic_tasklet(self):
        def task():
            with stackless.atomic():
                sleep(1)
                self.assertTrue(stackless.current.atomic)
        t = self.run_tasklet(task)
        self.assertDead(t)
        self.assertEqual(stackless.now(), 1.0)

    def test_switch_trap(self):
        stackless.switch_trap(1)
        try:
            with self.assertRaisesRegex(RuntimeError, "switch_trap"):
                sleep(1)
        finally:
            stackless.switch_trap(-1)

    @needs_soft
    def test_soft(self):
        t = tasklet(lambda: sleep(1))()
        t.run()
        self.assertEqual(t.nesting_level, 0)
        stackless.run()

    def test_below_c_functions(self):
        def task(n):
            return sum(map(lambda x: (sleep(n), n)[1], range(3)))
        log = []
        for n in (2, 1):
            tasklet(lambda n=n: log.append((task(n), stackless.now())))()
        stackless.run()
        self.assertEqual(log, [(3, 3.0), (6, 6.0)])

    def test_in_a_dump(self):
        t = tasklet(sleep)(1)
        t.run()
        import io
        out = io.StringIO()
        stackless.dump(out)
        self.assertIn("sleeping", out.getvalue())
        t.kill()

    def test_channel_callback_is_not_told(self):
        told = []
        stackless.set_channel_callback(lambda *args: told.append(args))
        sleep(1)
        stackless.set_channel_callback(None)
        self.assertEqual(told, [])

    def test_schedule_callback_sees_who_goes_on(self):
        told = []
        t = tasklet(sleep)(1)
        stackless.set_schedule_callback(lambda prev, next: told.append(next))
        stackless.run()
        stackless.set_schedule_callback(None)
        self.assertIn(t, told)
        self.assertIs(told[-1], stackless.main)


class Timeouts(VirtualTestCase):

    def test_nobody_comes(self):
        ch = channel()
        with self.assertRaisesRegex(TimeoutError, "nothing has been received"):
            ch.receive(timeout=2)
        self.assertEqual(stackless.now(), 2.0)
        with self.assertRaisesRegex(TimeoutError, "nobody has received"):
            ch.send(1, timeout=3)
        self.assertEqual(stackless.now(), 5.0)
        self.assertEqual(ch.balance, 0)

    def test_at_once(self):
        ch = channel()
        log = []
        for timeout in (0, 0.0, 5, None, float("inf")):
            with self.subTest(timeout=timeout):
                self.sender(ch, timeout)
                self.assertEqual(ch.receive(timeout=timeout), timeout)
                self.receiver(ch, log)
                self.assertIsNone(ch.send(timeout, timeout=timeout))
                stackless.run()
        self.assertEqual(len(log), 5)
        self.assertEqual(stackless.now(), 0.0)

    def test_zero_does_not_wait(self):
        ch = channel()
        others = []
        t = tasklet(others.append)(1)
        with self.unchanged(ch, t):
            with self.assertRaises(TimeoutError):
                ch.receive(timeout=0)
            with self.assertRaises(TimeoutError):
                ch.send(1, timeout=0)
        stackless.main.block_trap = True
        try:
            with self.assertRaises(TimeoutError):
                ch.receive(timeout=0)
        finally:
            stackless.main.block_trap = False
        stackless.run()

    def test_in_time(self):
        ch = channel()

        def task():
            sleep(1)
            ch.send("value")
            self.assertEqual(ch.receive(timeout=LONG), "answer")
        t = tasklet(task)()
        self.assertEqual(ch.receive(timeout=LONG), "value")
        ch.send("answer", timeout=LONG)
        stackless.run()
        self.assertDead(t)
        self.assertEqual(stackless.now(), 1.0)

    def test_who_has_timed_out_gets_nothing(self):
        ch = channel()
        log = []

        def task():
            with self.assertRaises(TimeoutError):
                ch.receive(timeout=1)
            log.append("late")
        tasklet(task)()
        stackless.run()
        with self.assertRaises(TimeoutError):
            ch.send("value", timeout=1)
        self.assertEqual(log, ["late"])

    @needs_order
    def test_others_keep_their_places(self):
        ch = channel()
        log = []

        def task(n, timeout):
            try:
                log.append((n, ch.receive(timeout=timeout)))
            except TimeoutError:
                log.append((n, None))
        tasklets = [tasklet(task)(n, 1 if n % 2 else None) for n in range(6)]
        stackless.run(wait=False)
        self.assertCountEqual(waiters(ch), tasklets)
        tasklets = waiters(ch)
        sleep(2)
        self.assertEqual(sorted(log), [(n, None) for n in (1, 3, 5)])
        self.assertEqual(waiters(ch), tasklets[::2])
        for value in "abc":
            ch.send(value)
        self.assertEqual(log[3:], [(0, "a"), (2, "b"), (4, "c")])

    def test_value_and_deadline_at_the_same_time(self):
        # The one that comes first wins, and nothing is lost.
        for first in ("sender", "receiver"):
            with self.subTest(first=first):
                ch = channel()
                log = []

                def sender():
                    sleep(1)
                    try:
                        ch.send("value", timeout=0)
                    except TimeoutError:
                        log.append("not sent")

                def receiver():
                    try:
                        log.append(ch.receive(timeout=1))
                    except TimeoutError:
                        log.append("not received")
                for f in (sender, receiver) if first == "sender" else (receiver, sender):
                    tasklet(f)().run()
                stackless.run()
                self.assertIn(sorted(log), (["value"], ["not received", "not sent"]))

    def test_each_item_of_a_sequence(self):
        ch = channel()
        log = []

        def task():
            for n in range(3):
                sleep(2)
                log.append(ch.receive())
        tasklet(task)()
        with self.assertRaises(TimeoutError):
            ch.send_sequence("abcde", timeout=3)
        self.assertEqual(log, ["a", "b", "c"])
        self.assertEqual(stackless.now(), 9.0)
        self.assertEqual(ch.send_sequence("", timeout=0), 0)

    def test_bad_arguments(self):
        ch = channel()
        with self.unchanged(ch):
            for timeout in (-1, float("nan")):
                with self.assertRaisesRegex(ValueError, f"but is {timeout}"):
                    ch.receive(timeout=timeout)
                with self.assertRaisesRegex(ValueError, f"but is {timeout}"):
                    ch.send(1, timeout=timeout)
            with self.assertRaisesRegex(TypeError, "timeout must be .* not list"):
                ch.receive(timeout=[])
            for kwargs in ({"timeouts": 1}, {"timeout": 1, "x": 2}):
                with self.assertRaises(TypeError):
                    ch.receive(**kwargs)
                with self.assertRaises(TypeError):
                    ch.send(1, **kwargs)
            with self.assertRaises(TypeError):
                ch.receive(1)
            with self.assertRaises(TypeError):
                ch.send(1, 2)

    def test_closed_channel(self):
        ch = channel()
        ch.close()
        for timeout in (0, 1):
            with self.assertRaisesRegex(ValueError, "closed channel"):
                ch.receive(timeout=timeout)

    def test_channel_that_nobody_else_has(self):
        with self.assertRaises(TimeoutError):
            channel().receive(timeout=1)
        log = []

        def task():
            try:
                channel().send(1, timeout=2)
            except TimeoutError:
                log.append(stackless.now())
        self.run_tasklet(task)
        self.assertEqual(log, [3.0])

    def test_who_waits_with_a_deadline_is_no_garbage(self):
        log = []

        def task():
            ch = channel()
            try:
                ch.receive(timeout=5)
            except TimeoutError:
                log.append(1)
        t = tasklet(task)()
        t.run()
        del t
        gc.collect()
        stackless.run()
        self.assertEqual(log, [1])

    def test_value_that_is_not_received_is_released(self):
        class Value:
            pass
        value = Value()
        ref = weakref.ref(value)

        def task(ch, value):
            try:
                ch.send(value, timeout=1)
            except TimeoutError:
                pass
        tasklet(task)(channel(), value)
        del value
        stackless.run()
        self.assertIsNone(ref())

    def test_many_at_the_same_time(self):
        # More references are dropped than a switch can put aside.
        class Value:
            pass
        log = []

        def task():
            try:
                channel().send(Value(), timeout=1)
            except TimeoutError:
                log.append(1)
        for n in range(100):
            tasklet(task)()
        stackless.run()
        self.assertEqual(len(log), 100)

    @needs_soft
    def test_soft(self):
        ch = channel()
        t = tasklet(lambda: ch.receive(timeout=1))()
        t.run()
        self.assertEqual(t.nesting_level, 0)
        ch.send(1)

    def test_an_exception_that_is_handled_is_the_context(self):
        ch = channel()

        def task():
            try:
                raise Error
            except Error:
                ch.receive(timeout=1)
        tasklet(task)()
        with self.assertRaises(TimeoutError):
            stackless.run()


class Main(VirtualTestCase):
    """What main does while somebody sleeps."""

    def test_run_goes_on(self):
        log = []

        def task():
            for n in range(3):
                sleep(1)
                log.append(n)
        tasklet(task)()
        self.assertIsNone(stackless.run())
        self.assertEqual(log, [0, 1, 2])

    def test_run_goes_on_when_the_last_one_ends(self):
        log = []
        tasklet(lambda: (sleep(1), log.append(1)))()
        tasklet(lambda: None)()
        stackless.run()
        self.assertEqual(log, [1])

    def test_run_that_does_not_wait(self):
        log = []
        t = tasklet(lambda: (sleep(1), log.append(1)))()
        self.assertIsNone(stackless.run(wait=False))
        self.assertIsNone(stackless.run(wait=False))
        self.assertEqual(log, [])
        self.assertTrue(t.blocked)
        stackless.run()
        self.assertEqual(log, [1])

    def test_inner_run_that_does_not_wait(self):
        log = []

        def outer():
            stackless.run(wait=False)
            log.append("run")
        tasklet(lambda: (sleep(1), log.append("slept")))()
        tasklet(outer)()
        stackless.run()
        self.assertEqual(log, ["run", "slept"])

    def test_no_deadlock(self):
        ch = channel()

        def task():
            sleep(5)
            ch.send(7)
        tasklet(task)()
        self.assertEqual(ch.receive(), 7)
        stackless.run()

    def test_deadlock_after_the_last_one_has_slept(self):
        tasklet(sleep)(5)
        with self.assertRaisesRegex(RuntimeError, "receiving without a sender"):
            channel().receive()
        self.assertEqual(stackless.now(), 5.0)

    def test_main_that_is_paused(self):
        main = stackless.main

        def task():
            sleep(5)
            main.insert()
        tasklet(task)()
        schedule_remove()
        self.assertEqual(stackless.now(), 5.0)

    def test_an_exception_after_a_sleep(self):
        def task():
            sleep(1)
            raise Error
        tasklet(task)()
        with self.assertRaises(Error):
            stackless.run()

    def test_time_limit(self):
        def task():
            sleep(1)
            for i in range(100000):
                pass
        t = tasklet(task)()
        self.assertIs(stackless.run(1000), t)
        t.kill()


class Clocks(StacklessTestCase):

    def setUp(self):
        super().setUp()
        self.addCleanup(stackless.set_clock, None)

    def test_monotonic(self):
        before = stackless.now()
        sleep(1e-3)
        self.assertGreaterEqual(stackless.now(), before + 1e-3)

    def busy(self, *tasks, limit=100000):
        """Some are always runnable, and the clock counts what they do: is the one that sleeps
        woken in time?"""
        self.count = 0
        self.woken = None

        def clock():
            return self.count

        def sleeper():
            sleep(100)
            self.woken = self.count
        self.assertIsNone(stackless.set_clock(clock))
        tasklet(sleeper)()
        for task in tasks:
            tasklet(task)()
        while self.woken is None and self.count < limit:
            stackless.run(wait=False)
        stackless.run(wait=False)
        self.assertIsNotNone(self.woken)
        self.assertLess(self.woken, 1000)
        self.assertIs(stackless.set_clock(None), clock)

    def going(self):
        self.count += 1
        return self.woken is None and self.count < 100000

    def test_busy_scheduling(self):
        def task():
            while self.going():
                schedule()
        for n in (1, 2, 3, 10):
            with self.subTest(n=n):
                self.busy(*[task] * n)

    def test_busy_below_c_functions(self):
        def task():
            list(map(lambda x: schedule(), iter(self.going, False)))
        self.busy(task, task, task)

    def test_busy_channels(self):
        ch = channel()

        def sender():
            while self.going():
                ch.send(1)
            ch.send(None)

        def receiver():
            while ch.receive() is not None:
                pass
        self.busy(sender, receiver)
        self.busy(sender, receiver, sender, receiver)

    def test_busy_spawning(self):
        def task():
            if self.going():
                tasklet(task)()
        self.busy(task)
        self.busy(task, task)

    def test_busy_removing(self):
        def task():
            while self.going():
                for t in (mate, mate):
                    if t.alive and t is not stackless.current:
                        t.insert()
                        t.remove()
                        t.insert()
                schedule()
        mate = tasklet(schedule_remove)()
        mate.run()
        self.busy(task, task)
        mate.kill()

    def test_who_waits_goes_on_for_as_long_as_before(self):
        log = []
        with stackless.virtual_time():
            t = tasklet(lambda: (sleep(5), log.append(stackless.now())))()
            t.run()
            sleep(2)
            count = 1000
            stackless.set_clock(lambda: count)
            stackless.run(wait=False)
            count = 1002.9
            schedule()
            self.assertEqual(log, [])
            count = 1003
            schedule()
            schedule()
            self.assertEqual(log, [1003.0])

    def test_faster_clock(self):
        # Nobody can run: it has to be asked now and then.
        stackless.set_clock(lambda: time.monotonic() * 1e5)
        log = []
        sleep(1000)
        tasklet(lambda: (sleep(1000), log.append(1)))()
        stackless.run()
        with self.assertRaises(TimeoutError):
            channel().receive(timeout=1000)
        self.assertEqual(log, [1])

    def test_clock_that_fails_while_main_sleeps(self):
        asked = []

        def clock():
            asked.append(1)
            if len(asked) > 3:
                raise Error
            return 0
        stackless.set_clock(clock)
        with self.assertRaises(Error):
            sleep(1)

    def test_clock_that_goes_back_stands_still(self):
        times = [5, 3, 7]
        stackless.set_clock(lambda: times.pop(0) if len(times) > 1 else times[0])
        self.assertEqual([stackless.now() for _ in range(3)], [5.0, 7.0, 7.0])

    def test_bad_clocks(self):
        with self.assertRaisesRegex(TypeError, "callable or None, not int"):
            stackless.set_clock(5)
        for value, error in (("x", TypeError), (float("nan"), ValueError),
                             (float("inf"), ValueError), (1e300, ValueError)):
            with self.assertRaises(error):
                stackless.set_clock(lambda: value)
        with self.assertRaises(Error):
            stackless.set_clock(self.fail_with_error)
        self.assertGreater(stackless.now(), 0)

    def fail_with_error(self):
        raise Error

    def test_clock_that_fails_later(self):
        value = 1
        stackless.set_clock(lambda: 1 / value)
        value = 0
        for operation in (stackless.now, lambda: sleep(1), lambda: channel().receive(timeout=1)):
            with self.assertRaises(ZeroDivisionError):
                operation()

    def test_clock_cannot_switch(self):
        log = []

        def clock():
            try:
                schedule()
            except RuntimeError as e:
                log.append(str(e))
            return len(log)
        first = True
        stackless.set_clock(lambda: 0 if first else clock())
        first = False
        t = tasklet(lambda: None)()
        stackless.now()
        self.assertEqual(log, ["switch_trap"])
        stackless.run()
        self.assertDead(t)

    def test_virtual_time_nests_not(self):
        with stackless.virtual_time():
            with self.assertRaisesRegex(RuntimeError, "virtual already"):
                with stackless.virtual_time():
                    pass
            self.assertEqual(stackless.now(), 0.0)

    def test_virtual_time_of_a_function(self):
        @stackless.virtual_time()
        def f(x):
            sleep(LONG)
            return x, stackless.now()
        self.assertEqual(f(7), (7, LONG))
        self.assertEqual(f(x=7), (7, LONG))

    def test_a_day_of_timers(self):
        with stackless.virtual_time():
            def task(n):
                for i in range(24):
                    sleep(3600 + n)
            for n in range(many(500)):
                tasklet(task)(n)
            stackless.run()
            self.assertEqual(stackless.now(), 24 * (3600 + many(500) - 1))

    def test_one_that_sets_another(self):
        armed = []
        def first():
            if armed:
                armed.clear()
                stackless.set_clock(lambda: 5.0)
            return 1000.0
        stackless.set_clock(first)
        armed.append(True)
        self.assertEqual((stackless.now(), stackless.now()), (5.0, 5.0))


class Threads(StacklessTestCase):

    def in_thread(self, f, *args):
        thread = threading.Thread(target=f, args=args)
        thread.start()
        return thread

    def test_main_is_woken_by_another_thread(self):
        ch = channel()
        ch.preference = 0
        thread = self.in_thread(ch.send, 7)
        self.assertEqual(ch.receive(timeout=LONG), 7)
        thread.join()

    def test_sleeper_is_woken_by_an_exception_from_another_thread(self):
        main = stackless.main
        started = threading.Event()

        def task():
            started.wait()
            main.throw(Error, pending=True)
        thread = self.in_thread(task)
        with self.assertRaises(Error):
            started.set()
            sleep(LONG)
        thread.join()

    def test_no_deadlock_while_another_thread_sleeps(self):
        ch = channel()

        def run():
            def task():
                sleep(0.01)
                ch.send(7)
            tasklet(task)()
            stackless.run()
        thread = self.in_thread(run)
        self.assertEqual(ch.receive(), 7)
        thread.join()

    def test_thread_that_ends_while_some_sleep(self):
        log = []

        def run():
            t = tasklet(sleep)(LONG)
            t.run()
            log.append(t)
        self.in_thread(run).join()
        t = log.pop()
        self.assertFalse(t.alive)

    def test_clocks_are_each_threads_own(self):
        log = []
        with stackless.virtual_time():
            def run():
                log.append(stackless.now())
            self.in_thread(run).join()
            self.assertNotEqual(log, [0.0])
            self.assertEqual(stackless.now(), 0.0)

    @unittest.skipUnless(SOFT, "it has C state")
    def test_moved_to_another_thread(self):
        log = []
        ch = channel()

        def task():
            try:
                ch.receive(timeout=0.01)
            except TimeoutError:
                log.append(threading.get_ident())
        t = tasklet(task)()
        t.run()

        def run():
            t.bind_thread()
            stackless.run()
            log.append(threading.get_ident())
        self.in_thread(run).join()
        self.assertEqual(len(log), 2)
        self.assertEqual(log[0], log[1])
        sleep(0)

    @needs_soft
    def test_a_timer_comes_to_a_thread_that_sleeps(self):
        # It reckons again until when it sleeps.
        ids, ch, log = [], channel(), []
        def wait():
            ids.append(stackless.getcurrent().thread_id)
            log.append(ch.receive())
        thread = threading.Thread(target=wait)
        thread.start()
        while ch.balance == 0:
            time.sleep(0.001)
        def work():
            sleep(0.01)
            ch.send("slept")
        t = tasklet(work)()
        t.run()
        t.bind_thread(ids[0])
        thread.join(60)
        self.assertEqual(log, ["slept"])


class Scripts(ChildTestCase):

    def test_signal_while_main_sleeps(self):
        self.run_ok("""
            import signal, stackless
            class Error(Exception): pass
            def handler(*args):
                raise Error
            signal.signal(signal.SIGALRM, handler)
            for seconds in (1e6, None):
                for operation in (lambda s: stackless.sleep(1e6),
                                  lambda s: stackless.channel().receive(timeout=1e6),
                                  lambda s: stackless.run()):
                    t = stackless.tasklet(stackless.sleep)(1e6)
                    stackless.run(wait=False)
                    signal.setitimer(signal.ITIMER_REAL, 0.01)
                    try:
                        operation(seconds)
                    except Error:
                        pass
                    else:
                        raise AssertionError
                    t.kill()
            """)

    def test_signal_that_does_not_raise(self):
        self.run_ok("""
            import signal, stackless
            stop = []
            ch = stackless.channel()
            signal.signal(signal.SIGALRM, lambda *args: stop.append(1))
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            try:
                ch.receive(timeout=0.05)
            except TimeoutError:
                assert ch.balance == 0
            else:
                raise AssertionError
            assert stop
            """)

    def test_signal_when_the_last_one_has_ended(self):
        self.run_ok("""
            import signal, stackless
            class Error(Exception): pass
            def handler(*args):
                raise Error
            signal.signal(signal.SIGALRM, handler)
            t = stackless.tasklet(stackless.sleep)(1e6)
            stackless.tasklet(lambda: None)()
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            try:
                stackless.run()
            except Error:
                t.kill()
            else:
                raise AssertionError
            """)

    def test_end_of_the_program_while_some_sleep(self):
        self.run_ok("""
            import stackless
            for n in range(100):
                stackless.tasklet(stackless.sleep)(1e6)
            keep = stackless.tasklet(lambda: stackless.channel().receive(timeout=1e6))()
            stackless.run(wait=False)
            """)

    def test_fork_while_some_sleep(self):
        self.run_ok("""
            import os, stackless
            log = []
            stackless.tasklet(lambda: (stackless.sleep(0.01), log.append(1)))()
            stackless.run(wait=False)
            pid = os.fork()
            stackless.run()
            assert log == [1]
            if pid == 0:
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
            """)


if __name__ == "__main__":
    unittest.main()
