"""Whom the schedule callback is told of: always the tasklet that runs next.

(What else it may and may not do is in test_callbacks.py.)
"""

import functools
import random
import sys
import threading
import unittest

import greenlet
import stackless
from stackless import channel, schedule, schedule_remove, tasklet

from .support import (ChildTestCase, StacklessTestCase, kill_uncollectables, needs_order,
                      runqueue)


class Error(Exception):
    pass


def nothing():
    pass


def busy(number=200):
    for _ in range(number):
        pass


def within_c(function):
    list(map(lambda _: function(), [0]))


class Events:
    """A schedule callback that checks each event against the one before."""

    def __init__(self):
        self.log = []

    def __call__(self, prev, next):
        assert prev is stackless.current, "prev is not current"
        assert not self.log or prev is self.log[-1][1], \
            f"after {self.log[-1]}, but {prev} is left now"
        self.log.append((prev, next))

    def check_current(self):
        assert not self.log or self.log[-1][1] is stackless.current, \
            f"after {self.log[-1]}, but {stackless.current} runs"

    def __enter__(self):
        stackless.set_schedule_callback(self)
        return self

    def __exit__(self, *args):
        stackless.set_schedule_callback(None)


@needs_order
class SoftLimit(StacklessTestCase):
    """run(timeout, soft=True) sends a switch to its caller."""

    def check(self, function, events=None):
        # It named who would have run, where the tasklet ended.
        t = tasklet(function)()
        other = tasklet(nothing)()
        with Events() as seen:
            self.assertIsNone(stackless.run(1, soft=True))
        self.assertTrue(other.alive, "the limit was not observed")
        self.assertEqual(seen.log, [(stackless.main, t), (t, stackless.main)])
        t.kill()
        other.kill()
        stackless.run()

    def test_it_ends(self):
        self.check(busy)

    def test_it_ends_within_c_functions(self):
        self.check(lambda: within_c(busy))

    def test_it_exits(self):
        def task():
            busy()
            raise TaskletExit       # noqa: F821 (a builtin here)
        self.check(task)

    def test_it_schedules(self):
        def task():
            busy()
            schedule()
        self.check(task)
        self.check(lambda: within_c(task))

    def test_it_removes_itself(self):
        def task():
            busy()
            schedule_remove()
        self.check(task)
        self.check(lambda: within_c(task))

    def test_it_blocks(self):
        ch = channel()

        def task():
            busy()
            ch.receive()
        self.check(task)
        self.check(lambda: within_c(task))

    def test_it_runs_another_one(self):
        def task():
            busy()
            stackless.current.next.run()
        self.check(task)

    def test_a_greenlet_ends(self):
        # Its parent is not waiting for it, so the scheduler goes on.
        def task():
            g = greenlet.greenlet(busy)
            stackless.current.insert()
            tasklet(g.switch)()
            schedule()
            others.append(schedule())
        others = []
        tasklet(task)()
        tasklet(nothing)()
        with Events() as seen:
            while stackless.getruncount() > 1:
                self.assertIsNone(stackless.run(1, soft=True))
        self.assertIs(seen.log[-1][1], stackless.main)

    def test_an_exception_is_not_diverted(self):
        def task():
            busy()
            raise Error
        t = tasklet(task)()
        other = tasklet(nothing)()
        with Events() as seen:
            with self.assertRaises(Error):
                stackless.run(1, soft=True)
        self.assertEqual(seen.log, [(stackless.main, t), (t, stackless.main)])
        other.kill()


class FirstEvent(ChildTestCase):
    """A main tasklet that was there before the callback does not come into being."""

    def test_initial_thread(self):
        # There was an event None -> main before the first switch.
        self.run_ok("""
            import stackless
            log = []
            stackless.set_schedule_callback(lambda prev, next: log.append((prev, next)))
            t = stackless.tasklet(lambda: None)()
            stackless.run()
            stackless.set_schedule_callback(None)
            main = stackless.getmain()
            assert log == [(main, t), (t, main)], log
        """)

    def test_initial_thread_that_another_thread_was_faster_than(self):
        self.run_ok("""
            import stackless, threading
            log = []
            def callback(prev, next):
                if threading.current_thread() is threading.main_thread():
                    log.append((prev, next))
            t = threading.Thread(target=stackless.set_schedule_callback, args=(callback,))
            t.start()
            t.join()
            t = stackless.tasklet(lambda: None)()
            stackless.run()
            stackless.set_schedule_callback(None)
            main = stackless.getmain()
            assert log == [(main, t), (t, main)], log
        """)

    def test_the_thread_that_sets_it(self):
        self.run_ok("""
            import stackless, threading
            log = []
            def thread():
                stackless.set_schedule_callback(lambda *event: log.append(event))
                t = stackless.tasklet(lambda: None)()
                stackless.run()
                stackless.set_schedule_callback(None)
                main = stackless.getmain()
                assert log == [(main, t), (t, main)], log
                done.append(True)
            done = []
            t = threading.Thread(target=thread)
            t.start()
            t.join()
            assert done
        """)

    def test_a_greenlet_is_first(self):
        self.run_ok("""
            import _stackless, greenlet
            log = []
            _stackless.set_schedule_callback(lambda *event: log.append(event))
            greenlet.greenlet(lambda: None).switch()
            _stackless.set_schedule_callback(None)
            assert len(log) == 2 and log[0][0] is log[1][1] is _stackless.getmain(), log
        """)


class TheDying(StacklessTestCase):
    """In the callback for a tasklet that has ended, prev is as at any other switch."""

    def tracer(self, frame, event, arg):
        return None

    def check(self, function, error=None):
        # Its trace function was gone by then.
        def task():
            sys.settrace(self.tracer)
            sys.setprofile(self.tracer)
            schedule()
            function()

        def callback(prev, next):
            if prev is t:
                seen.append((prev.alive, prev.is_current, sys.gettrace(), sys.getprofile(),
                             prev.trace_function, prev.profile_function))
        t = tasklet(task)()
        tasklet(schedule)()
        seen = []
        stackless.set_schedule_callback(callback)
        try:
            stackless.run()
        except Error:
            pass
        stackless.set_schedule_callback(None)
        self.assertEqual(seen, [(True, True) + (self.tracer,) * 4] * 2)
        self.assertIsNone(t.trace_function)
        self.assertIsNone(t.profile_function)
        self.assertIsNone(sys.gettrace())
        self.assertIsNone(sys.getprofile())
        self.assertDead(t)
        stackless.run()

    def test_it_returns(self):
        self.check(nothing)

    def test_it_raises(self):
        def task():
            raise Error
        self.check(task)

    def test_it_exits(self):
        def task():
            raise TaskletExit       # noqa: F821
        self.check(task)

    def test_its_trace_function_is_called_for_the_callback(self):
        def trace(frame, event, arg):
            if event == "call" and frame.f_code is callback.__code__:
                calls.append(stackless.current)
            return None

        def task():
            sys.settrace(trace)
            schedule()

        def callback(prev, next):
            pass
        calls = []
        t = tasklet(task)()
        tasklet(schedule)()
        stackless.set_schedule_callback(callback)
        stackless.run()
        stackless.set_schedule_callback(None)
        self.assertEqual(calls, [t, t])

    @needs_order
    def test_dropping_the_trace_function_changes_whose_turn_it_is(self):
        class Trace:
            def __call__(self, frame, event, arg):
                return None

            def __del__(self):
                following.remove()

        def task():
            sys.settrace(Trace())
        t = tasklet(task)()
        following = tasklet(nothing)()
        last = tasklet(nothing)()
        main = stackless.main
        log = []
        stackless.set_schedule_callback(lambda *event: log.append(event))
        t.run()
        stackless.run()
        stackless.set_schedule_callback(None)
        self.assertEqual([event for event in log if event[0] is t][-1][1], log[-1][0])
        self.assertFalse(t.alive)
        self.assertFalse(last.alive)
        self.assertTrue(following.paused)
        self.assertIs(log[-1][1], main)
        following.kill()
        del log[:]


class ToldAgain(StacklessTestCase):
    """The callback, or another thread meanwhile, changes whose turn it is."""

    @needs_order
    def test_it_takes_away_the_next_one(self):
        ch = channel()
        main = stackless.main
        for action in (schedule, schedule_remove, nothing, ch.receive, stackless.run):
            with self.subTest(action.__name__):
                log = []

                def callback(prev, next):
                    log.append((prev, next))
                    if next is first:
                        first.remove()
                t = tasklet(action)()
                first, second = tasklet(nothing)(), tasklet(nothing)()
                stackless.set_schedule_callback(callback)
                stackless.run()
                stackless.set_schedule_callback(None)
                self.assertEqual(log[:3], [(main, t), (t, first), (t, second)])
                self.assertTrue(first.paused)
                self.assertFalse(second.alive)
                first.kill()
                t.kill()

    def test_it_takes_away_all(self):
        def callback(prev, next):
            log.append(next)
            if next is not main:
                next.remove()
        log = []
        main = stackless.main
        paused = [tasklet(nothing)() for i in range(5)]
        stackless.set_schedule_callback(callback)
        stackless.run()
        stackless.set_schedule_callback(None)
        self.assertCountEqual(log, paused)
        for t in paused:
            self.assertTrue(t.paused)
            t.kill()

    def test_it_never_agrees(self):
        # A new one whenever it is told of one: that comes to an end, too.
        def callback(prev, next):
            if next is not main:
                next.remove()
                made.append(tasklet(nothing)())
        made = []
        main = stackless.main
        tasklet(nothing)()
        stackless.set_schedule_callback(callback)
        schedule()
        stackless.set_schedule_callback(None)
        for t in made:
            t.remove().bind(None)
        stackless.run()

    def test_what_it_took_away_is_freed(self):
        # By then, nobody but the callback's caller refers to it.
        def callback(prev, next):
            if next is not main:
                next.remove()
        main = stackless.main
        for i in range(30):
            tasklet(nothing)()
        stackless.set_schedule_callback(callback)
        schedule()
        stackless.set_schedule_callback(None)
        self.assertEqual(runqueue(), [main])

    @needs_order
    def test_another_thread_inserts_one_in_front(self):
        def callback(prev, next):
            log.append((prev, next))
            if len(log) == 1:
                thread = threading.Thread(target=urgent.run)
                thread.start()
                thread.join()
        log = []
        main = stackless.main
        urgent = tasklet(nothing, ())
        t = tasklet(nothing)()
        me = threading.get_ident()
        stackless.set_schedule_callback(
            lambda *event: threading.get_ident() == me and callback(*event))
        stackless.run()
        stackless.set_schedule_callback(None)
        self.assertEqual(log, [(main, t), (main, urgent), (urgent, t), (t, main)])


class Property(StacklessTestCase):
    """Random programs: each `prev` is the `next` of the event before, and who runs is the
    `next` of the last event."""

    TASKLETS = 5

    def operation(self, rng):
        other = rng.choice(self.tasklets)
        ch = rng.choice(self.channels)
        name = rng.choice((
            "schedule", "schedule", "remove", "run", "switch", "kill", "throw", "send", "send",
            "receive", "receive", "all", "preference", "busy", "busy", "busy", "insert",
            "greenlet", "nested"))
        if name == "schedule":
            schedule()
        elif name == "remove":
            schedule_remove()
        elif name == "run":
            other.run()
        elif name == "switch":
            other.switch()
        elif name == "kill":
            other.kill()
        elif name == "throw":
            other.throw(Error)
        elif name == "send":
            ch.send(1)
        elif name == "receive":
            ch.receive()
        elif name == "all":
            ch.schedule_all = rng.randrange(2)
        elif name == "preference":
            ch.preference = rng.randrange(-1, 2)
        elif name == "busy":
            busy(rng.randrange(100))
        elif name == "insert":
            other.insert()
        elif name == "greenlet":
            greenlet.greenlet(functools.partial(self.in_greenlet, rng)).switch()
        elif name == "nested":
            stackless.run(*self.limit(rng))

    def in_greenlet(self, rng):
        self.events.check_current()
        if rng.random() < 0.5:
            self.attempt(rng)
        if rng.random() < 0.2:
            try:
                greenlet.getcurrent().parent.switch()
            except greenlet.error:
                pass                   # it waits for something else
        self.events.check_current()
        if rng.random() < 0.1:
            raise Error

    def attempt(self, rng):
        try:
            if rng.random() < 0.3:
                within_c(lambda: self.operation(rng))
            else:
                self.operation(rng)
        except (RuntimeError, ValueError, Error, greenlet.error):
            pass
        self.events.check_current()

    def body(self, rng):
        self.events.check_current()
        for i in range(rng.randrange(8)):
            self.attempt(rng)
        if rng.random() < 0.1:
            raise Error

    @staticmethod
    def limit(rng):
        """Arguments of run(): timeout, threadblock, soft, ignore_nesting, totaltimeout."""
        return (rng.choice((0, 1, 30, 100)), False, rng.random() < 0.6, rng.random() < 0.5,
                rng.random() < 0.5)

    def program(self, seed):
        rng = random.Random(seed)
        main = stackless.main
        self.channels = [channel(), channel()]
        self.tasklets = [tasklet() for i in range(self.TASKLETS)]
        for t in self.tasklets:
            t.bind(self.body)(rng)
        with Events() as self.events:
            for i in range(40):
                try:
                    stackless.run(*self.limit(rng))
                except Error:
                    pass
                self.events.check_current()
                self.assertIs(stackless.current, main)
                for t in self.tasklets:
                    if t.paused and rng.random() < 0.7:
                        t.insert()
                if rng.random() < 0.1:
                    self.attempt(rng)
            number = len(self.events.log)
        for t in self.tasklets + runqueue()[1:]:
            for attempt in range(10):
                if t.alive and t is not main:
                    try:
                        t.kill()
                    except (Error, RuntimeError, ValueError):
                        pass
        for ch in self.channels:
            ch.preference, ch.schedule_all = -1, 0
            while ch.queue is not None:
                ch.queue.kill(pending=True)
        while stackless.getruncount() > 1:
            try:
                stackless.run()
            except (Error, RuntimeError):
                pass
        self.channels = self.tasklets = self.events = None
        kill_uncollectables()
        return number

    def test_programs(self):
        number = 0
        for seed in range(300):
            with self.subTest(seed=seed):
                number += self.program(seed)
        self.assertGreater(number, 300 * 10, "there was nothing to be seen")


if __name__ == "__main__":
    unittest.main()
