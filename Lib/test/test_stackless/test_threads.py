"""Threads: what they do to each other's tasklets and channels, sleeping, deadlock."""

import contextlib
import gc
import os
import random
import signal
import sys
import threading
import time
import unittest
import weakref

import stackless
from stackless import bomb, channel, schedule, schedule_remove, tasklet

from .support import ChildTestCase, StacklessTestCase, runqueue, waiters

DEADLOCK = "^Deadlock: the last runnable tasklet cannot be blocked\\.$"
TIMEOUT = 60        # seconds: whatever takes as long hangs


class Error(Exception):
    pass


def nothing(*args):
    pass


def pause():
    """What a tasklet runs that is to be found paused."""
    schedule_remove(None)


def wait_until(condition):
    """Let other threads run until condition() is true."""
    end = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("waited too long")
        time.sleep(0)


class Thread(threading.Thread):
    """Runs func(*args); join() returns its result or raises what it raised."""

    def __init__(self, func, *args):
        super().__init__(daemon=True)
        self.func, self.args = func, args
        self.result = self.exception = None

    def run(self):
        try:
            self.result = self.func(*self.args)
        except BaseException as e:
            self.exception = e
        finally:
            # What remains is the thread's end, and no reference of ours.
            del self.func, self.args

    def join(self, timeout=TIMEOUT):
        super().join(timeout)
        if self.is_alive():
            raise AssertionError("a thread does not end")
        if self.exception is not None:
            exc, self.exception = self.exception, None
            raise exc
        return self.result

    def asleep(self):
        return asleep(self.ident)


def asleep(ident):
    """Does the thread sleep for want of work?"""
    main, current, runcount = stackless.get_thread_info(ident)
    return main is not None and current is None and runcount == 0


class Server:
    """A thread that runs what it is given, in its main tasklet, until stop().

    While it waits it does not count as asleep.  Its tasklets run only within
    a call, or when somebody switches to them there.
    """

    def __init__(self):
        self.todo = threading.Semaphore(0)
        self.done = threading.Semaphore(0)
        self.func = None
        self.thread = Thread(self._serve)
        self.thread.start()
        self.ident = self.thread.ident
        self.main = self(stackless.getmain)

    def _serve(self):
        while True:
            self.todo.acquire()
            if self.func is None:
                return
            try:
                self.value = self.func(), None
            except BaseException as e:
                self.value = None, e
            self.func = None
            self.done.release()

    def start(self, func):
        self.func = func
        self.todo.release()

    def wait(self):
        if not self.done.acquire(timeout=TIMEOUT):
            raise AssertionError("a thread does not answer")
        (result, exc), self.value = self.value, None
        if exc is not None:
            try:
                raise exc
            finally:
                del exc
        return result

    def __call__(self, func):
        self.start(func)
        return self.wait()

    def wait_asleep(self):
        wait_until(self.thread.asleep)

    def stop(self):
        self.todo.release()
        self.thread.join()


class ThreadsTestCase(StacklessTestCase):

    def setUp(self):
        super().setUp()
        if (hasattr(signal, "alarm")
                and threading.current_thread() is threading.main_thread()):
            def too_long(*args):
                raise AssertionError("timeout")
            old = signal.signal(signal.SIGALRM, too_long)
            self.addCleanup(signal.signal, signal.SIGALRM, old)
            signal.alarm(TIMEOUT)
            self.addCleanup(signal.alarm, 0)

    def server(self):
        s = Server()
        self.addCleanup(s.stop)
        return s

    def thread(self, func, *args):
        t = Thread(func, *args)
        t.start()
        return t


class Inspection(ThreadsTestCase):

    def test_a_main_tasklet_per_thread(self):
        s = self.server()
        self.assertIsNot(s.main, stackless.main)
        self.assertEqual(s.main.thread_id, s.ident)
        self.assertTrue(s.main.is_main and s.main.is_current and s.main.alive)

    def test_thread_info(self):
        s = self.server()
        self.assertEqual(stackless.get_thread_info(s.ident), (s.main, s.main, 1))
        self.assertIn(s.ident, stackless.threads)

    def test_thread_info_of_one_without_tasklets(self):
        event = threading.Event()
        t = self.thread(event.wait)
        self.assertEqual(stackless.get_thread_info(t.ident), (None, None, 0))
        event.set()
        t.join()

    def test_traps_and_queues_are_per_thread(self):
        s = self.server()
        s(lambda: stackless.switch_trap(1))
        t = tasklet(nothing)()
        schedule()
        self.assertFalse(t.alive)
        self.assertEqual(s(lambda: stackless.switch_trap(-1)), 1)

    def test_a_tasklet_belongs_to_the_thread_that_made_it(self):
        s = self.server()
        t = s(tasklet)
        self.assertEqual(t.thread_id, s.ident)
        t.bind(nothing)
        self.assertEqual(t.thread_id, s.ident)

    def test_frame_of_a_running_thread(self):
        s = self.server()
        frame = s.main.frame
        names = []
        while frame is not None:
            names.append(frame.f_code.co_name)
            frame = frame.f_back
        self.assertIn("_serve", names)


class Insert(ThreadsTestCase):

    def test_insert(self):
        s = self.server()
        ran = []
        t = s(lambda: tasklet(lambda: ran.append(threading.get_ident())).bind(None, ()))
        self.assertTrue(t.paused)
        self.assertIs(t.insert(), t)
        self.assertTrue(t.scheduled)
        self.assertEqual(ran, [])
        self.assertEqual(s(runqueue), [s.main, t])
        s(stackless.run)
        self.assertEqual(ran, [s.ident])

    def test_insert_appends(self):
        s = self.server()
        a, b, c = (s(lambda: tasklet(nothing).bind(None, ())) for i in range(3))
        for t in (c, a, b, c):
            t.insert()
        self.assertEqual(s(runqueue), [s.main, c, a, b])
        s(stackless.run)

    def test_setup_and_call(self):
        s = self.server()
        ran = []
        a, b = s(lambda: (tasklet(ran.append), tasklet(ran.append)))
        a.setup(1)
        b(2)
        self.assertEqual(s(runqueue), [s.main, a, b])
        s(stackless.run)
        self.assertEqual(ran, [1, 2])

    def test_bind_elsewhere(self):
        s = self.server()
        ran = []
        t = s(lambda: self.paused(pause))
        t.bind(ran.append, (1,))
        t.insert()
        s(stackless.run)
        self.assertEqual(ran, [1])

    def test_remove(self):
        s = self.server()
        t = s(lambda: tasklet(nothing)())
        self.assertIs(t.remove(), t)
        self.assertTrue(t.paused)
        self.assertEqual(s(runqueue), [s.main])
        t.remove()
        with self.assertRaisesRegex(
                RuntimeError, "^The current tasklet cannot be removed\\.$"):
            s.main.remove()

    def test_errors(self):
        s = self.server()
        ch = channel()
        blocked, new, dead = s(lambda: (self.receiver(ch), tasklet(),
                                        self.run_tasklet(nothing)))
        for t in (new, dead):
            for f in (t.insert, t.run, t.switch):
                with self.assertRaisesRegex(
                        RuntimeError, "^You cannot run an unbound\\(dead\\) tasklet$"):
                    f()
            t.remove()
        for f in (blocked.insert, blocked.run, blocked.switch):
            with self.assertRaisesRegex(
                    RuntimeError, "^You cannot run a blocked tasklet$"):
                f()
        with self.assertRaisesRegex(
                RuntimeError, "^You cannot remove a blocked tasklet\\.$"):
            blocked.remove()
        with self.assertRaisesRegex(RuntimeError, "^tasklet is scheduled$"):
            blocked.bind(nothing)
        with self.assertRaisesRegex(RuntimeError, "^can't \\(re\\)bind the current"):
            s.main.bind(nothing)
        with self.assertRaisesRegex(RuntimeError, "^tasklet is alive$"):
            blocked.setup()
        self.assertEqual(waiters(ch), [blocked])
        ch.send(None)
        s(stackless.run)
        self.assertFalse(blocked.alive)

    def test_main_that_is_removed_while_another_runs(self):
        s = self.server()
        removed = threading.Event()
        running = threading.Event()

        def task():
            running.set()
            removed.wait()
            s.main.insert()

        def thread():
            t = tasklet(task)()
            t.run()
            return "done"
        s.start(thread)
        running.wait()
        s.main.remove()
        self.assertTrue(s.main.paused)
        removed.set()
        self.assertEqual(s.wait(), "done")


class Run(ThreadsTestCase):

    def test_run_where_another_is_running(self):
        s = self.server()
        a, b, c = s(lambda: [tasklet(nothing)() for i in range(3)])
        self.assertIsNone(c.run())
        self.assertEqual(s(runqueue), [s.main, c, a, b])
        t = s(lambda: tasklet(nothing).bind(None, ()))
        t.run()
        self.assertEqual(s(runqueue), [s.main, t, c, a, b])
        s.main.run()
        self.assertEqual(s(runqueue), [s.main, t, c, a, b])
        s(stackless.run)

    def test_switch(self):
        s = self.server()
        t = s(lambda: tasklet(nothing)())
        with self.unchanged(t):
            with self.assertRaisesRegex(
                    RuntimeError, "^can't switch to a different thread\\.$"):
                t.switch()
        s(stackless.run)

    def test_within_a_tasklet(self):
        s = self.server()
        ran = []
        t = s(lambda: tasklet(ran.append).bind(None, (1,)))

        def task():
            t.run()
            ran.append("caller")
        self.run_tasklet(task)
        self.assertEqual(ran, ["caller"])
        s(stackless.run)
        self.assertEqual(ran, ["caller", 1])

    def test_switch_trap_does_not_matter(self):
        s = self.server()
        ch = channel()
        t, r = s(lambda: (tasklet(nothing)(), self.receiver(ch)))
        stackless.switch_trap(1)
        try:
            t.run()
            t.kill()
            ch.send(1)
        finally:
            stackless.switch_trap(-1)
        s(stackless.run)
        self.assertFalse(t.alive or r.alive)


class Channels(ThreadsTestCase):

    def test_send_to_another_thread(self):
        s = self.server()
        for preference in (-1, 0, 1):
            for schedule_all in (0, 1):
                ch = channel()
                ch.preference, ch.schedule_all = preference, schedule_all
                log = []
                r = s(lambda: self.receiver(ch, log))
                other = tasklet(nothing)()
                self.assertIsNone(ch.send("x"))
                self.assertTrue(other.alive, "the sender goes on at once")
                self.assertEqual(ch.balance, 0)
                self.assertTrue(r.scheduled and not r.blocked)
                self.assertEqual(s(runqueue), [s.main, r])
                s(stackless.run)
                self.assertEqual(log, ["x"])
                stackless.run()

    def test_receive_from_another_thread(self):
        s = self.server()
        for preference in (-1, 0, 1):
            ch = channel()
            ch.preference = preference
            log = []
            t = s(lambda: self.sender(ch, "x", log))
            other = tasklet(nothing)()
            self.assertEqual(ch.receive(), "x")
            self.assertTrue(other.alive)
            self.assertEqual(log, [])
            s(stackless.run)
            self.assertEqual(log, ["sent"])
            self.assertFalse(t.alive)
            stackless.run()

    def test_appended_to_its_queue(self):
        s = self.server()
        ch = channel()
        r, other = s(lambda: (self.receiver(ch), tasklet(nothing)()))
        ch.send(1)
        self.assertEqual(s(runqueue), [s.main, other, r])
        s(stackless.run)

    def test_exceptions_cross(self):
        s = self.server()
        ch = channel()
        s(lambda: tasklet(ch.receive)().run())
        ch.send_exception(Error, 1)
        with self.assertRaises(Error) as cm:
            s(stackless.run)
        self.assertEqual(cm.exception.args, (1,))
        s(lambda: tasklet(ch.send)(bomb(Error, Error(2))).run())
        with self.assertRaises(Error) as cm:
            ch.receive()
        self.assertEqual(cm.exception.args, (2,))
        s(stackless.run)

    def test_first_come_first_served(self):
        s = self.server()
        ch = channel()
        log = []
        mine = self.receiver(ch, log)
        his = s(lambda: self.receiver(ch, log))
        mine_too = self.receiver(ch, log)
        self.assertEqual(waiters(ch), [mine, his, mine_too])
        for i in range(3):
            ch.send(i)
        self.assertEqual(log, [0, 2])
        s(stackless.run)
        self.assertEqual(log, [0, 2, 1])

    def test_in_a_loop(self):
        s = self.server()
        ch = channel()

        def consume():
            return [x for x in ch]
        s.start(consume)
        s.wait_asleep()
        self.assertEqual(ch.send_sequence(range(5)), 5)
        ch.send_exception(StopIteration)
        self.assertEqual(s.wait(), list(range(5)))

    def test_channel_callback_comes_afterwards(self):
        s = self.server()
        ch = channel()
        log = []
        s(lambda: self.receiver(ch))

        def callback(ch, t, sending, willblock):
            log.append((t, t.tempval, sending, willblock, ch.balance))
        stackless.set_channel_callback(callback)
        try:
            ch.send("x")
        finally:
            stackless.set_channel_callback(None)
        self.assertEqual(log, [(stackless.main, "x", 1, 0, 0)])
        s(lambda: self.sender(ch, "y"))
        stackless.set_channel_callback(callback)
        try:
            self.assertEqual(ch.receive(), "y")
        finally:
            stackless.set_channel_callback(None)
        self.assertEqual(log[1:], [(stackless.main, None, 0, 0, 0)])
        s(stackless.run)

    def test_channel_callback_that_fails_comes_too_late(self):
        from test.support import catch_unraisable_exception
        s = self.server()
        ch = channel()
        s(lambda: self.sender(ch, "x"))

        def callback(*args):
            raise Error
        stackless.set_channel_callback(callback)
        try:
            with catch_unraisable_exception() as cm:
                self.assertEqual(ch.receive(), "x")
                self.assertIs(cm.unraisable.exc_type, Error)
        finally:
            stackless.set_channel_callback(None)
        s(stackless.run)

    def test_channel_call_in_the_channel_callback(self):
        s = self.server()
        ch, other = channel(), channel()
        s(lambda: self.sender(other, "x"))
        r = self.receiver(ch)
        errors = []

        def callback(*args):
            try:
                other.receive()
            except RuntimeError as e:
                errors.append(str(e))
        stackless.set_channel_callback(callback)
        try:
            ch.send(1)
        finally:
            stackless.set_channel_callback(None)
        self.assertEqual(errors, ["Recursive channel call due to callbacks!"])
        self.assertEqual(other.balance, 1)
        self.assertFalse(r.alive)
        self.assertEqual(other.receive(), "x")
        s(stackless.run)

    def test_schedule_callback_is_not_called(self):
        s = self.server()
        ch = channel()
        s(lambda: self.receiver(ch))
        log = []
        stackless.set_schedule_callback(lambda *args: log.append(args))
        try:
            ch.send(1)
            self.assertEqual(log, [])
        finally:
            stackless.set_schedule_callback(None)
        s(stackless.run)

    def test_close_and_block_trap(self):
        s = self.server()
        ch = channel()
        s(lambda: self.receiver(ch))
        ch.close()
        self.assertFalse(ch.closed)
        stackless.main.block_trap = True
        try:
            ch.send(1)
        finally:
            stackless.main.block_trap = False
        self.assertTrue(ch.closed)
        s(stackless.run)

    def test_channel_that_goes_away(self):
        s = self.server()
        ch = channel()
        t = s(lambda: self.sender(ch, 1))
        t2 = s(lambda: tasklet(nothing)())
        refs = [weakref.ref(ch)]
        t.bind_thread            # the bound method would keep it
        # The tasklet's frame refers to the channel: only a collection helps.
        del ch
        t.kill()
        s(stackless.run)
        self.assertFalse(t.alive or t2.alive)
        del t
        gc.collect()
        self.assertIsNone(refs[0]())


class Throw(ThreadsTestCase):

    def catcher(self, s, suspend):
        """A tasklet of `s` that logs what is raised where it is suspended."""
        log = []

        def task():
            try:
                suspend()
                log.append("nothing")
            except BaseException as e:
                log.append((type(e), e.args))
        t = s(lambda: tasklet(task)())
        s(lambda: t.run())
        return t, log

    def test_blocked(self):
        s = self.server()
        for pending in (False, True):
            ch = channel()
            t, log = self.catcher(s, ch.receive)
            self.assertEqual(ch.balance, -1)
            self.assertIsNone(t.throw(Error, (1, 2), pending=pending))
            self.assertEqual(ch.balance, 0)
            self.assertEqual(log, [])
            self.assertEqual(s(runqueue), [s.main, t])
            s(stackless.run)
            self.assertEqual(log, [(Error, (1, 2))])

    def test_paused_and_runnable(self):
        s = self.server()
        for pending in (False, True):
            for suspend in (pause, schedule):
                t, log = self.catcher(s, suspend)
                t.throw(Error(3), pending=pending)
                s(stackless.run)
                self.assertEqual(log, [(Error, (3,))])

    def test_raise_exception_and_kill(self):
        s = self.server()
        t, log = self.catcher(s, pause)
        t.raise_exception(Error, 1)
        s(stackless.run)
        self.assertEqual(log, [(Error, (1,))])
        t, log = self.catcher(s, channel().send_sequence.__get__(None) if 0 else pause)
        t.kill()
        self.assertTrue(t.alive)
        s(stackless.run)
        self.assertEqual(log, [(TaskletExit, ())])

    def test_unstarted(self):
        s = self.server()
        t = s(lambda: tasklet(nothing)())
        t.kill()
        s(stackless.run)
        self.assertFalse(t.alive)
        t = s(lambda: tasklet(nothing)())
        t.throw(Error)
        with self.assertRaises(Error):
            s(stackless.run)

    def test_dead(self):
        s = self.server()
        for t in (s(tasklet), s(lambda: tasklet(nothing)), s(lambda: self.run_tasklet(nothing))):
            for pending in (False, True):
                t.kill(pending)
                t.throw(TaskletExit, pending=pending)
                with self.assertRaisesRegex(
                        RuntimeError, "^You cannot throw to a dead tasklet$"):
                    t.throw(Error, pending=pending)
            self.assertEqual(s(runqueue), [s.main])

    def test_running(self):
        # It is raised by the next call that might switch.
        s = self.server()
        for pending in (False, True):
            for call in (schedule, pause, stackless.run, lambda: channel().receive()):
                go, ready = threading.Event(), threading.Event()

                def body():
                    ready.set()
                    go.wait()
                    try:
                        call()
                    except Error:
                        return "raised"
                s.start(body)
                ready.wait()
                s.main.throw(Error, pending=pending)
                go.set()
                self.assertEqual(s.wait(), "raised")
                self.assertIsNone(s.main.tempval)
                self.assertEqual(s(runqueue), [s.main])

    def test_running_tasklet(self):
        s = self.server()
        go, ready = threading.Event(), threading.Event()
        log = []

        def task():
            ready.set()
            go.wait()
            try:
                schedule()
            except TaskletExit:
                log.append("killed")
                raise

        def body():
            tasklet(task)()
            other = tasklet(nothing)()
            stackless.run()
            return other.alive
        s.start(body)
        ready.wait()
        t = stackless.get_thread_info(s.ident)[1]
        self.assertFalse(t.is_main)
        t.kill()
        self.assertIsInstance(t.tempval, bomb)
        go.set()
        self.assertFalse(s.wait())
        self.assertEqual(log, ["killed"])

    def test_running_in_a_callback(self):
        # What is thrown while a callback runs is not lost.
        s = self.server()
        for setter in (stackless.set_schedule_callback, stackless.set_channel_callback):
            go, ready = threading.Event(), threading.Event()

            armed = []

            def callback(*args):
                if threading.get_ident() == s.ident and armed:
                    armed.clear()
                    ready.set()
                    go.wait()

            def body():
                ch = channel()
                r = tasklet(ch.receive)()
                r.run()
                armed.append(1)
                try:
                    ch.send(1)
                except Error:
                    return ch.balance, r
            setter(callback)
            try:
                s.start(body)
                ready.wait()
                s.main.throw(Error)
                go.set()
                balance, r = s.wait()
            finally:
                setter(None)
            self.assertEqual(balance, -1, "the call has failed, so nothing happened")
            r.kill()
            s(stackless.run)

    def test_a_tasklet_may_catch_it(self):
        s = self.server()
        t, log = self.catcher(s, pause)
        t.kill()
        s(stackless.run)
        self.assertEqual(log, [(TaskletExit, ())])
        self.assertFalse(t.alive)


class Sleeping(ThreadsTestCase):

    def test_woken_by_send(self):
        s = self.server()
        ch = channel()
        s.start(ch.receive)
        s.wait_asleep()
        ch.send("x")
        self.assertEqual(s.wait(), "x")

    def test_woken_by_receive(self):
        s = self.server()
        ch = channel()
        s.start(lambda: ch.send("x"))
        s.wait_asleep()
        self.assertEqual(ch.receive(), "x")
        self.assertIsNone(s.wait())

    def test_main_thread_sleeps(self):
        ch = channel()
        main = threading.get_ident()

        def thread():
            wait_until(lambda: asleep(main))
            ch.send("x")
            wait_until(lambda: asleep(main))
            return ch.receive()
        t = self.thread(thread)
        self.assertEqual(ch.receive(), "x")
        ch.send("y")
        self.assertEqual(t.join(), "y")
        self.assertEqual(stackless.runcount, 1)

    def test_a_tasklet_sleeps(self):
        # main is in run(), which would return; or blocked.
        s = self.server()
        mine, his = channel(), channel()
        log = []

        def body():
            def task():
                log.append(his.receive())
            tasklet(task)()
            return mine.receive()
        s.start(body)
        s.wait_asleep()
        self.assertEqual(mine.balance + his.balance, -2)
        his.send("task")
        # Which ends: then nobody else can go on, by the rule for an end.
        with self.assertRaisesRegex(
                RuntimeError,
                "^the main tasklet is receiving without a sender available\\.$"):
            s.wait()
        self.assertEqual(log, ["task"])
        self.assertEqual(mine.balance, 0)

    def test_another_one_is_woken(self):
        s = self.server()
        mine, his, third = channel(), channel(), channel()
        log = []

        def body():
            def task():
                log.append(his.receive())
                log.append(third.receive())
            tasklet(task)()
            log.append(mine.receive())
            return list(log)
        s.start(body)
        s.wait_asleep()
        his.send(1)
        wait_until(lambda: third.balance == -1 and s.thread.asleep())
        mine.send(2)
        self.assertEqual(s.wait(), [1, 2])
        third.send(3)
        s(stackless.run)
        self.assertEqual(log, [1, 2, 3])

    def test_attributes_of_one_asleep(self):
        s = self.server()
        ch = channel()
        s.start(ch.receive)
        s.wait_asleep()
        t = ch.queue
        self.assertIs(t, s.main)
        self.assertTrue(t.alive and t.blocked and t.scheduled and t.is_main)
        self.assertFalse(t.is_current or t.paused)
        self.assertIs(t._channel, ch)
        self.assertEqual(t.thread_id, s.ident)
        self.assertGreater(t.recursion_depth, 0)
        self.assertIsNotNone(t.frame)
        self.assertIsNone(t.next)
        self.assertIsNone(t.trace_function)
        t.context_id
        with self.assertRaises(RuntimeError):
            t.trace_function = nothing
        self.assertEqual(stackless.get_thread_info(s.ident), (s.main, None, 0))
        gc.collect()
        ch.send(None)
        s.wait()

    def test_a_soft_tasklet_asleep(self):
        s = self.server()
        ch, never = channel(), channel()
        log = []

        def task():
            log.append(ch.receive())
            s.main.kill()

        def body():
            tasklet(task)()
            never.receive()
        s.start(body)
        s.wait_asleep()
        t = ch.queue
        self.assertFalse(t.is_main)
        self.assertEqual(t.frame.f_code.co_name, "task")
        self.assertEqual(t.nesting_level, 0)
        self.assertEqual(t.recursion_depth, 1)
        for call in (lambda: t.bind_thread(), lambda: t.bind_thread(threading.get_ident())):
            with self.assertRaisesRegex(
                    RuntimeError, "^tasklet has C state on its stack$"):
                call()
        gc.collect()
        ch.send(1)
        with self.assertRaises(TaskletExit):
            s.wait()
        self.assertEqual(log, [1])

    def test_removed_one_asleep(self):
        # It is paused, but its thread still needs its frames.
        s = self.server()
        never = channel()
        tasklets = []

        def task():
            tasklets.append(stackless.current)
            log.append(schedule_remove("value"))
            s.main.throw(Error)
        log = []

        def body():
            tasklet(task)()
            never.receive()
        s.start(body)
        s.wait_asleep()
        [t] = tasklets
        self.assertTrue(t.paused and not t.scheduled)
        for call in (lambda: t.bind(None), lambda: t.bind(nothing, ()), t.bind_thread):
            with self.assertRaisesRegex(
                    RuntimeError, "^tasklet has C state on its stack$"):
                call()
        del tasklets[:]
        gc.collect()
        t.insert()
        with self.assertRaises(Error):
            s.wait()
        self.assertEqual(log, ["value"])

    def test_context_of_one_asleep(self):
        import contextvars
        var = contextvars.ContextVar("var")
        s = self.server()
        ch = channel()

        def body():
            return ch.receive(), var.get(None)
        s.start(body)
        s.wait_asleep()
        context = contextvars.copy_context()
        context.run(var.set, 42)
        s.main.set_context(context)
        self.assertEqual(s.main.context_id, id(context))
        ch.send(1)
        self.assertEqual(s.wait(), (1, 42))

    def test_woken_by_insert(self):
        s = self.server()
        ch = channel()
        ran = []
        t = s(lambda: tasklet(ran.append).bind(None, (1,)))
        x = s(lambda: tasklet(lambda: ch.send(2)).bind(None, ()))
        s.start(ch.receive)
        s.wait_asleep()
        t.insert()
        x.insert()
        self.assertEqual(s.wait(), 2)
        self.assertEqual(ran, [1])

    def test_woken_by_run_and_call(self):
        for how in ("run", "call", "kill", "throw", "throw pending", "insert"):
            with self.subTest(how=how):
                s = Server()
                ch = channel()
                log = []

                def task():
                    try:
                        log.append(schedule_remove(0))
                    except BaseException as e:
                        log.append(type(e))
                    tasklet(ch.send)(1)
                t = s(lambda: tasklet(task)())
                s(stackless.run)
                new = s(lambda: tasklet(lambda: ch.send(1)))
                s.start(ch.receive)
                s.wait_asleep()
                expected = [0]
                if how == "run":
                    t.run()
                    expected = [None]
                elif how == "call":
                    new()
                    expected = []
                elif how == "kill":
                    t.kill()
                    expected = [TaskletExit]
                elif how.startswith("throw"):
                    t.throw(Error, pending="pending" in how)
                    expected = [Error]
                else:
                    t.insert()
                self.assertEqual(s.wait(), 1)
                if how != "run":
                    self.assertEqual(log, expected)
                if t.alive:
                    t.kill()
                s(stackless.run)
                s.stop()

    def test_run_comes_first_where_all_sleep(self):
        s = self.server()
        ch = channel()
        log = []
        a, b, c = s(lambda: [tasklet(log.append).bind(None, (i,)) for i in "abc"])
        end = s(lambda: tasklet(lambda: ch.send(1)).bind(None, ()))
        s.start(ch.receive)
        s.wait_asleep()
        # While we do not give up the GIL, it can't get up.
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1000)
        try:
            a.insert(), b.insert(), end.insert(), c.run()
            info = stackless.get_thread_info(s.ident)
        finally:
            sys.setswitchinterval(interval)
        if info[2] == 4:
            self.assertIs(info[1], c)
            self.assertEqual(s.wait(), 1)
            self.assertEqual(log, ["c", "a", "b"])
        else:
            s.wait()
            s(stackless.run)

    def test_removed_before_it_gets_up(self):
        s = self.server()
        ch = channel()
        a, b = s(lambda: [tasklet(nothing).bind(None, ()) for i in range(2)])
        s.start(ch.receive)
        s.wait_asleep()
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1000)
        try:
            a.insert(), b.insert(), a.remove(), b.remove()
        finally:
            sys.setswitchinterval(interval)
        wait_until(lambda: not a.alive and not b.alive or s.thread.asleep())
        ch.send("x")
        self.assertEqual(s.wait(), "x")
        if a.alive:
            a.kill(), b.kill()
        s(stackless.run)

    def test_killed_while_asleep(self):
        s = self.server()
        ch = channel()
        for call in (ch.receive, lambda: ch.send(1)):
            s.start(call)
            s.wait_asleep()
            s.main.throw(Error, "x")
            with self.assertRaises(Error):
                s.wait()
            self.assertEqual(ch.balance, 0)

    def test_callbacks(self):
        # T(main) sleeps; X is woken: the callback sees the switch from T to X.
        s = self.server()
        ch = channel()
        x = s(lambda: tasklet(lambda: ch.send(1)).bind(None, ()))
        log = []

        def callback(prev, next):
            if threading.get_ident() == s.ident:
                log.append((prev, next))
                self.assertIs(stackless.current, prev)
                self.assertEqual(stackless.runcount, len(runqueue()))
        s.start(ch.receive)
        s.wait_asleep()
        stackless.set_schedule_callback(callback)
        try:
            x.insert()
            self.assertEqual(s.wait(), 1)
        finally:
            stackless.set_schedule_callback(None)
        self.assertEqual(log[:2], [(s.main, x), (x, s.main)])
        s(stackless.run)

    def test_callback_after_the_sleeper_was_served(self):
        s = self.server()
        ch = channel()
        ran = []
        x = s(lambda: tasklet(ran.append).bind(None, (1,)))
        log = []

        def callback(prev, next):
            if threading.get_ident() == s.ident:
                log.append((prev, next))
        s.start(ch.receive)
        s.wait_asleep()
        interval = sys.getswitchinterval()
        stackless.set_schedule_callback(callback)
        sys.setswitchinterval(1000)
        try:
            x.insert()
            ch.send("x")
            sys.setswitchinterval(interval)
            self.assertEqual(s.wait(), "x")
        finally:
            sys.setswitchinterval(interval)
            stackless.set_schedule_callback(None)
        self.assertEqual(log[:1], [(s.main, x)])
        s(stackless.run)
        self.assertEqual(ran, [1])

    def test_hard_sleep(self):
        # There are C functions between the call and the scheduler.
        s = self.server()
        ch, log = channel(), []

        def task():
            log.append(max([1, 2], key=lambda x: ch.receive()))

        def body():
            t = tasklet(task)()
            stackless.run(threadblock=True)
            return t.alive
        s.start(body)
        for i in range(2):
            wait_until(lambda: ch.balance == -1 and s.thread.asleep())
            self.assertGreater(ch.queue.nesting_level, 0)
            ch.send(i)
        self.assertFalse(s.wait())
        self.assertEqual(log, [2])

    def test_with_soft_switching_off(self):
        stackless.enable_softswitch(False)
        try:
            self.test_hard_sleep()
            self.test_another_one_is_woken()
        finally:
            stackless.enable_softswitch(True)

    def test_sub_second_latency(self):
        # A wake-up must not wait for any interval.
        s = self.server()
        ping, pong = channel(), channel()

        def body():
            for i in range(200):
                pong.send(ping.receive())
        s.start(body)
        start = time.monotonic()
        for i in range(200):
            ping.send(i)
            self.assertEqual(pong.receive(), i)
        s.wait()
        self.assertLess(time.monotonic() - start, 30)


class ThreadBlock(ThreadsTestCase):

    def test_alone(self):
        self.assertIsNone(stackless.run(threadblock=True))
        ch = channel()
        r = self.receiver(ch)
        tasklet(nothing)()
        self.assertIsNone(stackless.run(threadblock=True))
        self.assertTrue(r.blocked)
        ch.send(1)

    def test_woken(self):
        ch = channel()
        log = []
        r = self.receiver(ch, log)
        main = threading.get_ident()

        def thread():
            wait_until(lambda: asleep(main))
            ch.send(1)
        t = self.thread(thread)
        tasklet(nothing)()
        tasklet(pause)()
        # The last to go must not be one that ends.
        self.assertIsNone(stackless.run(threadblock=True))
        t.join()
        self.assertEqual(log, [1])
        self.assertFalse(r.alive)

    def test_an_empty_queue(self):
        main = stackless.main
        ident = threading.get_ident()
        ran = []
        x = tasklet(ran.append).bind(None, (1,))

        def thread():
            wait_until(lambda: asleep(ident))
            x.insert()
        t = self.thread(thread)
        self.assertIsNone(stackless.run(threadblock=True))
        t.join()
        self.assertEqual(ran, [1])
        self.assertQueue([main])

    def test_other_threads_end(self):
        # Then nobody is left who could wake us.
        ident = threading.get_ident()
        t = self.thread(lambda: wait_until(lambda: asleep(ident)))
        self.assertIsNone(stackless.run(threadblock=True))
        t.join()

    def test_main_is_inserted(self):
        main, ident = stackless.main, threading.get_ident()
        never = channel()
        go = threading.Event()
        r = self.receiver(never)

        def thread():
            wait_until(lambda: asleep(ident))
            main.insert()
            go.wait()
        t = self.thread(thread)
        self.assertIsNone(stackless.run(threadblock=True))
        go.set()
        t.join()
        never.send(1)
        self.assertFalse(r.alive)

    def test_in_another_thread(self):
        # The last one to go asleep gets the error.
        def thread():
            with self.assertRaisesRegex(RuntimeError, DEADLOCK):
                stackless.run(threadblock=True)
            ch = channel()
            errors = []

            def task():
                try:
                    ch.receive()
                except RuntimeError as e:
                    errors.append(str(e))
            tasklet(task)()
            stackless.run(threadblock=True)
            tasklet(ch.receive)()
            stackless.run()
            self.assertEqual(ch.balance, -1)
            return errors, ch
        ch = channel()
        ready = channel()

        def starter():
            ready.receive()
            return thread()
        t = self.thread(starter)
        wait_until(t.asleep)
        ready.send(None)
        # This thread sleeps, too.
        with self.assertRaises(RuntimeError):
            ch.receive()
        errors, other = t.join()
        self.assertEqual(len(errors), 1)
        self.assertRegex(errors[0], DEADLOCK)

    def test_nested(self):
        # An inner run() does not end the sleep of the outer one.
        ident = threading.get_ident()
        ch = channel()
        log = []

        def task():
            tasklet(nothing)()
            stackless.run(threadblock=False)
            log.append(ch.receive())
        tasklet(task)()

        def thread():
            wait_until(lambda: asleep(ident) and ch.balance == -1)
            ch.send(1)
        t = self.thread(thread)
        stackless.run(threadblock=True)
        t.join()
        self.assertEqual(log, [1])

    def test_not_asked_for(self):
        go = threading.Event()
        t = self.thread(go.wait)
        ch = channel()
        r = self.receiver(ch)
        self.assertIsNone(stackless.run())
        self.assertIsNone(stackless.run(threadblock=0))
        go.set()
        t.join()
        ch.send(1)
        self.assertFalse(r.alive)

    def test_not_remembered(self):
        ident = threading.get_ident()
        t = self.thread(lambda: wait_until(lambda: asleep(ident)))
        stackless.run(threadblock=True)
        t.join()
        go = threading.Event()
        t = self.thread(go.wait)
        ch = channel()
        r = self.receiver(ch)
        stackless.run()
        go.set()
        t.join()
        ch.send(1)
        self.assertFalse(r.alive)


class Deadlock(ThreadsTestCase):

    def test_the_last_thread_to_block(self):
        s = self.server()
        ch, other = channel(), channel()
        ident = threading.get_ident()

        def body():
            wait_until(lambda: asleep(ident))
            with self.assertRaisesRegex(RuntimeError, DEADLOCK):
                other.receive()
            self.assertEqual(other.balance, 0)
            ch.send("rescued")
        s.start(body)
        self.assertEqual(ch.receive(), "rescued")
        s.wait()

    def test_decided_again_when_a_thread_ends(self):
        ident = threading.get_ident()
        ch = channel()
        t = self.thread(lambda: wait_until(lambda: asleep(ident)))
        with self.assertRaisesRegex(RuntimeError, DEADLOCK):
            ch.receive()
        self.assertEqual(ch.balance, 0)
        self.assertQueue([stackless.main])
        t.join()

    def test_a_thread_without_tasklets_ends(self):
        import _thread
        ident = threading.get_ident()
        lock = _thread.allocate_lock()
        lock.acquire()
        _thread.start_new_thread(lock.acquire, ())
        # A thread of its own, without any Stackless, must find us asleep; so a
        # third one lets it go.
        t = self.thread(lambda: (wait_until(lambda: asleep(ident)), lock.release()))
        with self.assertRaisesRegex(RuntimeError, DEADLOCK):
            channel().receive()
        t.join()

    def test_the_initial_thread_gets_it(self):
        # Several sleep when the last one that runs ends.
        ident = threading.get_ident()
        ch = channel()
        sleepers = [self.thread(ch.receive) for i in range(3)]

        def last():
            wait_until(lambda: asleep(ident) and all(t.asleep() for t in sleepers))
        t = self.thread(last)
        with self.assertRaisesRegex(RuntimeError, DEADLOCK):
            ch.receive()
        t.join()
        self.assertEqual(ch.balance, -3)
        for i, t in enumerate(sleepers):
            ch.send(i)
        self.assertEqual(sorted(t.join() for t in sleepers), [0, 1, 2])

    def test_one_after_the_other(self):
        # The error ends a thread, which is the next deadlock.
        ident = threading.get_ident()
        ch = channel()
        order = []

        def thread(i):
            try:
                ch.receive()
            except RuntimeError:
                order.append(i)
        threads = []
        for i in range(3):
            threads.append(self.thread(thread, i))
            wait_until(threads[-1].asleep)
        for i in range(2):
            with self.assertRaisesRegex(RuntimeError, DEADLOCK):
                # All others are asleep.
                channel().receive()
        self.assertEqual(order, [])
        for t in threads:
            ch.send(None)
            t.join()
        self.assertEqual(order, [])

    def test_blocked_in_io_is_no_deadlock(self):
        ch = channel()
        r, w = os.pipe()
        ident = threading.get_ident()

        def thread():
            os.read(r, 1)
            ch.send("x")
        t = self.thread(thread)
        t2 = self.thread(lambda: (wait_until(lambda: asleep(ident)), os.write(w, b"1")))
        self.assertEqual(ch.receive(), "x")
        t.join()
        t2.join()
        os.close(r)
        os.close(w)

    def test_a_new_thread_can_help(self):
        # A thread that has not begun yet counts.
        for i in range(20):
            ch = channel()
            t = self.thread(ch.send, i)
            self.assertEqual(ch.receive(), i)
            t.join()


@unittest.skipUnless(hasattr(signal, "pthread_kill"), "needs pthread_kill")
class Signals(ThreadsTestCase):
    # Signals have to find the main thread asleep.

    def interrupted(self, call, handler, *, helper=None):
        ident = threading.get_ident()
        old = signal.signal(signal.SIGUSR1, handler)
        go = threading.Event()

        def thread():
            wait_until(lambda: asleep(ident))
            signal.pthread_kill(ident, signal.SIGUSR1)
            if helper is not None:
                helper()
            go.wait()
        t = self.thread(thread)
        try:
            return call()
        finally:
            go.set()
            t.join()
            signal.signal(signal.SIGUSR1, old)

    def test_exception(self):
        ch = channel()

        def handler(*args):
            # As if the call had not begun.
            self.assertIs(stackless.current, stackless.main)
            self.assertFalse(stackless.main.blocked)
            self.assertQueue([stackless.main])
            self.assertEqual(ch.balance, 0)
            raise Error
        for call in (ch.receive, lambda: ch.send(1), lambda: next(ch)):
            with self.unchanged(ch):
                with self.assertRaises(Error):
                    self.interrupted(call, handler)

    def test_exception_in_run(self):
        def handler(*args):
            raise Error
        r = self.receiver(channel())
        with self.unchanged(r):
            with self.assertRaises(Error):
                self.interrupted(lambda: stackless.run(threadblock=True), handler)
        r.kill()

    def test_exception_in_a_tasklet(self):
        def handler(*args):
            self.assertFalse(stackless.current.is_main)
            raise Error
        ch, never = channel(), channel()
        caught = []

        def task(call):
            try:
                call()
            except Error:
                caught.append(ch.balance)
            stackless.main.throw(KeyError)
        for call in (ch.receive, lambda: ch.send(1), pause,
                     lambda: max([1, 2], key=lambda x: ch.receive())):
            tasklet(task)(call)
            with self.assertRaises(KeyError):
                self.interrupted(never.receive, handler)
            self.assertEqual(caught.pop(), 0)
            stackless.run()
            self.assertEqual(never.balance, 0)

    def test_handler_that_returns(self):
        called = []
        ch = channel()
        ident = threading.get_ident()

        def helper():
            wait_until(lambda: called and asleep(ident))
            ch.send("x")
        value = self.interrupted(ch.receive, lambda *args: called.append(1),
                                 helper=helper)
        self.assertEqual((value, called), ("x", [1]))

    def test_handler_that_serves_it(self):
        ch = channel()

        def handler(*args):
            tasklet(ch.send)("from the handler")
        self.assertEqual(self.interrupted(ch.receive, handler), "from the handler")
        stackless.run()

    def test_handler_that_switches(self):
        ch = channel()
        log = []

        def handler(*args):
            tasklet(log.append)(1)
            schedule()
            tasklet(ch.send)(2)
            schedule()
        self.assertEqual(self.interrupted(ch.receive, handler), 2)
        stackless.run()
        self.assertEqual(log, [1])

    def test_handler_does_not_cost_the_place_in_the_queue(self):
        ch = channel()
        ident = threading.get_ident()
        called = []
        s = self.server()

        def helper():
            wait_until(lambda: called and asleep(ident))
            values = [ch.send(i) for i in range(2)]
            return values

        def handler(*args):
            called.append(1)
        later = []

        def start_later():
            later.append(self.thread(ch.receive))
            wait_until(later[0].asleep)
        t = self.thread(lambda: (wait_until(lambda: asleep(ident)), start_later(),
                                 signal.pthread_kill(ident, signal.SIGUSR1),
                                 helper()))
        old = signal.signal(signal.SIGUSR1, handler)
        try:
            self.assertEqual(ch.receive(), 0)
        finally:
            signal.signal(signal.SIGUSR1, old)
        t.join()
        self.assertEqual(later[0].join(), 1)
        self.assertEqual(s(stackless.getruncount), 1)

    def test_keyboard_interrupt(self):
        ch = channel()
        with self.assertRaises(KeyboardInterrupt):
            self.interrupted(ch.receive, signal.default_int_handler)
        self.assertEqual(ch.balance, 0)

    def test_other_threads_are_not_disturbed(self):
        s = self.server()
        ch = channel()
        called = []
        old = signal.signal(signal.SIGUSR1, lambda *args: called.append(1))
        try:
            s.start(ch.receive)
            s.wait_asleep()
            signal.pthread_kill(s.ident, signal.SIGUSR1)
            wait_until(lambda: called)
            ch.send(1)
            self.assertEqual(s.wait(), 1)
        finally:
            signal.signal(signal.SIGUSR1, old)


class BindThread(ThreadsTestCase):

    def test_to_the_calling_thread(self):
        s = self.server()
        log = []

        def task():
            log.append(threading.get_ident())
            schedule_remove()
            log.append(threading.get_ident())
        t = s(lambda: self.paused(task))
        self.assertIsNone(t.bind_thread())
        self.assertEqual(t.thread_id, threading.get_ident())
        self.assertTrue(t.paused)
        t.run()
        self.assertEqual(log, [s.ident, threading.get_ident()])

    def test_to_another_thread(self):
        s = self.server()
        log = []

        def task():
            log.append(threading.get_ident())
            schedule_remove()
            log.append(threading.get_ident())
        for t in (self.paused(task), tasklet(task).bind(None, ()), tasklet(task)):
            t.bind_thread(s.ident)
            self.assertEqual(t.thread_id, s.ident)
            if not t.alive:
                t.setup()
            t.insert()
            s(stackless.run)
            if t.alive:
                t.insert()
                s(stackless.run)
        self.assertEqual(log[0], threading.get_ident())
        self.assertEqual(set(log[1:]), {s.ident})
        self.assertEqual(len(log), 6)

    def test_blocked(self):
        s = self.server()
        ch = channel()
        log = []
        t = s(lambda: self.receiver(ch, log))
        t.bind_thread()
        self.assertTrue(t.blocked)
        self.assertEqual(waiters(ch), [t])
        ch.send(1)
        self.assertEqual(log, [1])
        self.assertFalse(t.alive)

    def test_state_travels(self):
        import contextvars
        var = contextvars.ContextVar("var")
        s = self.server()
        log = []

        def gen():
            try:
                raise Error(1)
            except Error:
                yield (schedule_remove("in"), sys.exception().args)
            yield var.get()

        def task():
            var.set("value")
            try:
                raise KeyError(2)
            except KeyError:
                for x in gen():
                    log.append(x)
                log.append(sys.exception().args)
            log.append(sys.exception())
        t = s(lambda: tasklet(task).set_context(contextvars.Context())())
        s(stackless.run)
        t.bind_thread()
        t.run()
        self.assertEqual(log, [("in", (1,)), "value", (2,), None])
        self.assertFalse(t.alive)
        self.assertIsNone(sys.exception())

    def test_monitoring_finds_it(self):
        s = self.server()
        calls = []

        def inner():
            pass

        def task():
            schedule_remove()
            inner()
            inner()
        t = s(lambda: self.paused(task))
        tool = 4
        sys.monitoring.use_tool_id(tool, "test")
        try:
            sys.monitoring.register_callback(
                tool, sys.monitoring.events.PY_START, lambda code, at: calls.append(code))
            sys.monitoring.set_events(tool, sys.monitoring.events.PY_START)
            t.bind_thread()
            t.run()
        finally:
            sys.monitoring.set_events(tool, 0)
            sys.monitoring.free_tool_id(tool)
        self.assertEqual(calls.count(inner.__code__), 2)

    def test_runnable(self):
        s = self.server()
        t = s(lambda: tasklet(nothing)())
        for u in (t, s.main):
            with self.assertRaisesRegex(
                    RuntimeError, "^can't \\(re\\)bind a runnable tasklet$"):
                u.bind_thread()
        with self.assertRaisesRegex(
                RuntimeError, "^can't \\(re\\)bind a runnable tasklet$"):
            stackless.main.bind_thread(s.ident)
        s(stackless.run)

    def test_c_state(self):
        s = self.server()
        message = "^tasklet has C state on its stack$"

        def task():
            max([1], key=lambda x: schedule_remove())
        t = s(lambda: self.paused(task))
        self.assertGreater(t.nesting_level, 0)
        with self.assertRaisesRegex(RuntimeError, message):
            t.bind_thread()
        t.kill()
        s(stackless.run)
        self.assertFalse(t.alive)
        # main; and one that is inside run()
        ch = channel()
        ready = threading.Event()
        watchdogs = []

        def inner():
            ready.set()
            watchdogs.append(stackless.current)
            ch.receive()

        def body():
            tasklet(inner)()
            ch.receive()
        s.start(body)
        s.wait_asleep()
        with self.assertRaisesRegex(RuntimeError, message):
            s.main.bind_thread()
        ch.send(1)
        ch.send(1)
        s.wait()
        s(stackless.run)

    def test_bad_threads(self):
        t = tasklet()
        event = threading.Event()
        other = self.thread(event.wait)
        for bad in (1, sys.maxsize, other.ident):
            with self.assertRaisesRegex(ValueError, "^bad thread$"):
                t.bind_thread(bad)
        event.set()
        other.join()
        for bad in (-2, -2 ** 31, -2 ** 100, 2 ** 100):
            with self.assertRaises(OverflowError):
                t.bind_thread(bad)
        for bad in ("x", None, 1.0):
            with self.assertRaises(TypeError):
                t.bind_thread(bad)
        self.assertEqual(t.thread_id, threading.get_ident())

    def test_back_and_forth(self):
        servers = [self.server() for i in range(3)]
        log = []

        def task():
            for i in range(30):
                log.append(threading.get_ident())
                schedule_remove()
        t = tasklet(task).bind(None, ())
        idents = []
        for i in range(30):
            s = random.choice(servers)
            idents.append(s.ident)
            t.bind_thread(s.ident)
            s(t.run)
        self.assertEqual(log, idents)
        t.kill()
        servers and s(stackless.run)
        self.assertFalse(t.alive)


class ThreadEnd(ThreadsTestCase):

    def end_with(self, func):
        """The result of func() in a thread that has ended."""
        return self.thread(func).join()

    def assertOrphan(self, t):
        self.assertEqual(t.thread_id, -1)
        self.assertFalse(t.alive or t.paused or t.is_current)
        self.assertIsNone(t.frame)
        self.assertIsInstance(t.recursion_depth, int)
        self.assertIsInstance(t.nesting_level, int)

    def test_orphans(self):
        ch = channel()
        log = []

        def thread():
            return (self.paused(pause), self.receiver(ch, log), tasklet(nothing)(),
                    tasklet(nothing), tasklet(), stackless.main)
        paused, blocked, runnable, bound, new, main = self.end_with(thread)
        for t in (paused, blocked, runnable, bound, new, main):
            self.assertOrphan(t)
        self.assertTrue(blocked.blocked and blocked.scheduled)
        self.assertEqual(ch.balance, -1)
        with self.unchanged(ch, blocked):
            with self.assertRaisesRegex(RuntimeError, "^tasklet has no thread$"):
                ch.send(1)
        blocked.kill()
        self.assertEqual(ch.balance, 0)
        self.assertEqual(log, [])

    def test_orphan_sender(self):
        ch = channel()
        t = self.end_with(lambda: self.sender(ch, 1))
        with self.unchanged(ch, t):
            with self.assertRaisesRegex(RuntimeError, "^tasklet has no thread$"):
                ch.receive()
        t.bind_thread()
        self.assertEqual(ch.receive(), 1)
        stackless.run()
        self.assertFalse(t.alive)

    def test_operations_on_orphans(self):
        ch = channel()

        def thread():
            return (self.paused(pause), tasklet(nothing).bind(None, ()), self.receiver(ch))
        paused, unstarted, blocked = self.end_with(thread)
        for t in (paused, unstarted):
            for call, message in (
                    (t.insert, "Target thread isn't initialized"),
                    (t.run, "tasklet has no thread"),
                    (t.switch, "tasklet has no thread"),
                    (t.setup, "tasklet has no thread"),
                    (lambda: t.throw(Error), "tasklet has no thread"),
                    (lambda: t.throw(Error, pending=True), "tasklet has no thread"),
                    (lambda: t.throw(TaskletExit), "tasklet has no thread"),
                    (lambda: t.raise_exception(Error), "tasklet has no thread"),
                    (lambda: t.bind(nothing, ()), "tasklet has no thread")):
                with self.unchanged(t), self.assertRaisesRegex(RuntimeError, f"^{message}$"):
                    call()
            self.assertIs(t.remove(), t)
        for call in (blocked.insert, blocked.run, blocked.switch):
            with self.unchanged(blocked, ch), self.assertRaisesRegex(
                    RuntimeError, "^You cannot run a blocked tasklet$"):
                call()
        for t in (paused, unstarted, blocked):
            self.assertIsNone(t.kill())
            self.assertDead(t)
            self.assertEqual(t.thread_id, -1)
            t.kill()
            t.throw(TaskletExit)
            with self.assertRaisesRegex(RuntimeError, "^tasklet has no thread$"):
                t.throw(Error)
        self.assertEqual(ch.balance, 0)

    def test_revived(self):
        log = []

        def task():
            log.append(1)
            schedule_remove()
            log.append(2)
        t = self.end_with(lambda: self.paused(task))
        t.bind_thread()
        self.assertTrue(t.alive and t.paused)
        self.assertEqual(t.thread_id, threading.get_ident())
        t.run()
        self.assertEqual(log, [1, 2])
        new = self.end_with(tasklet)
        new.bind_thread()
        new.bind(log.append, (3,)).run()
        self.assertEqual(log, [1, 2, 3])

    def test_revived_by_a_thread_new_to_tasklets(self):
        log = []

        def task():
            schedule_remove()
            log.append(threading.get_ident())
        t = self.end_with(lambda: self.paused(task))

        def thread():
            t.bind_thread()
            t.run()
            return threading.get_ident()
        self.assertEqual([self.end_with(thread)], log)

    def test_unbound(self):
        t = self.end_with(lambda: self.paused(pause))
        t.bind(None)
        self.assertDead(t)
        t.bind(nothing)
        with self.assertRaisesRegex(RuntimeError, "^tasklet has no thread$"):
            t.setup()

    def test_no_finally_for_soft_ones(self):
        log = []

        def task(suspend):
            try:
                suspend()
            finally:
                log.append("finally")

        def thread():
            for suspend in (pause, schedule, channel().receive):
                tasklet(task)(suspend).run()
            tasklet(task)(pause)
        self.end_with(thread)
        gc.collect()
        self.assertEqual(log, [])

    def test_those_with_c_state_are_killed(self):
        log = []
        ch = channel()

        def hard(suspend):
            try:
                max([1], key=lambda x: suspend())
            except TaskletExit:
                log.append((threading.get_ident(), stackless.main.alive))
                raise

        def thread():
            kept = [tasklet(hard)(suspend) for suspend in (pause, ch.receive, schedule)]
            schedule()
            self.assertTrue(all(t.nesting_level for t in kept))
            return kept, threading.get_ident()
        kept, ident = self.end_with(thread)
        self.assertEqual(log, [(ident, True)] * 3)
        for t in kept:
            self.assertFalse(t.alive)
            self.assertEqual(t.thread_id, -1)
        self.assertEqual(ch.balance, 0)

    def test_those_that_refuse_to_die(self):
        count = []

        def hard():
            while True:
                try:
                    max([1], key=lambda x: schedule_remove())
                except TaskletExit:
                    count.append(1)
        t = self.end_with(lambda: self.paused(hard))
        self.assertTrue(1 <= len(count) <= 20, count)
        self.assertOrphan(t)
        with self.assertRaisesRegex(RuntimeError, "^tasklet has C state on its stack$"):
            t.bind_thread()
        t.kill()
        self.assertFalse(t.alive)

    def test_runnable_ones_do_not_run(self):
        ran = []
        t = self.end_with(lambda: tasklet(ran.append)(1))
        gc.collect()
        self.assertEqual(ran, [])
        self.assertOrphan(t)

    def test_what_is_dropped_may_use_tasklets(self):
        log = []

        class X:
            def __del__(self):
                try:
                    tasklet(log.append)(1)
                    schedule()
                except RuntimeError as e:
                    log.append(str(e))
        local = threading.local()

        def task(x):
            schedule_remove()

        def thread():
            x = X()
            tasklet(task)(x)
            tasklet(task)(x).run()
            local.x = X()
        for i in range(3):
            self.end_with(thread)
        gc.collect()
        self.assertGreaterEqual(len(log), 3)

    def test_channel_shared_by_an_ended_thread(self):
        ch = channel()
        keep = self.end_with(lambda: self.receiver(ch))
        mine = self.receiver(ch)
        self.assertEqual(waiters(ch), [keep, mine])
        gc.collect()
        refs = [weakref.ref(ch), weakref.ref(keep), weakref.ref(mine)]
        del ch, keep, mine
        gc.collect()
        self.assertEqual([r() for r in refs], [None] * 3)

    def test_dropped_elsewhere(self):
        s = self.server()
        t = s(lambda: self.paused(pause))
        ref = weakref.ref(t)
        del t
        gc.collect()
        self.assertIsNone(ref())

    def test_hard_one_dropped_elsewhere(self):
        # Nobody here can run its clean-up code.
        s = self.server()
        t = s(lambda: self.paused(lambda: max([1], key=lambda x: schedule_remove())))
        del t
        gc.collect()
        self.assertEqual(len(gc.garbage), 1)
        t = gc.garbage.pop()
        self.assertTrue(t.alive)
        t.kill()
        s(stackless.run)
        self.assertFalse(t.alive)


class Stress(ThreadsTestCase):

    @contextlib.contextmanager
    def fast_switching(self):
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        try:
            yield
        finally:
            sys.setswitchinterval(interval)

    def test_many_to_many(self):
        nthreads, ntasklets, nvalues = 4, 5, 40
        ch = channel()
        got = []

        def produce(i):
            for k in range(nvalues):
                ch.send((i, k))

        def consume():
            while True:
                x = ch.receive()
                if x is None:
                    return
                got.append(x)

        def thread(n, func, args):
            ts = [tasklet(func)(*args(n * ntasklets + i)) for i in range(ntasklets)]
            while any(t.alive for t in ts):
                stackless.run(threadblock=True)
        with self.fast_switching():
            consumers = [self.thread(thread, n, consume, lambda i: ())
                         for n in range(nthreads)]
            producers = [self.thread(thread, n, produce, lambda i: (i,))
                         for n in range(nthreads)]
            for t in producers:
                t.join()
            for i in range(nthreads * ntasklets):
                ch.send(None)
            for t in consumers:
                t.join()
        expected = [(i, k) for i in range(nthreads * ntasklets) for k in range(nvalues)]
        self.assertEqual(sorted(got), expected)
        self.assertEqual(ch.balance, 0)

    def test_ring(self):
        n, rounds = 6, 100
        ring = [channel() for i in range(n)]

        def node(i):
            for k in range(rounds):
                ring[(i + 1) % n].send(ring[i].receive() + 1)
        with self.fast_switching():
            threads = [self.thread(node, i) for i in range(1, n)]
            value = 0
            for k in range(rounds):
                ring[1].send(value)
                value = ring[0].receive()
            for t in threads:
                t.join()
        self.assertEqual(value, rounds * (n - 1))

    def test_insert_and_remove(self):
        # One thread inserts, removes and kills what the others run.
        n = 4
        stop = []
        counts = [0] * n
        tasklets = []
        lock = threading.Lock()

        def work(i):
            while not stop:
                counts[i] += 1
                if counts[i] % 3:
                    schedule()
                else:
                    schedule_remove()

        def thread(i):
            mine = [tasklet(work)(i) for k in range(3)]
            with lock:
                tasklets.extend(mine)
            while not stop:
                stackless.run()
            while any(t.alive for t in mine):
                for t in mine:
                    t.alive and t.insert()
                stackless.run()
        rng = random.Random(1)
        with self.fast_switching():
            threads = [self.thread(thread, i) for i in range(n)]
            wait_until(lambda: len(tasklets) == 3 * n)
            for i in range(3000):
                t = rng.choice(tasklets)
                with contextlib.suppress(RuntimeError):
                    rng.choice((t.insert, t.run, t.remove, t.insert, t.run))()
            stop.append(1)
            for t in threads:
                t.join()
        self.assertTrue(all(counts))

    def test_random(self):
        # Random operations on everything from everywhere: whatever they do, no
        # value is lost or doubled, and all queues stay sound.
        for seed in range(3):
            with self.subTest(seed=seed), self.fast_switching():
                self.random_program(seed)

    def random_program(self, seed):
        channels = [channel() for i in range(3)]
        for ch, preference in zip(channels, (-1, 0, 1)):
            ch.preference = preference
        sent, got, killed = [], [], []
        lists = [[], [], []]

        def task(rng, me):
            try:
                for i in range(30):
                    op = rng.randrange(6)
                    ch = rng.choice(channels)
                    if op < 2 and ch.balance >= -5:
                        value = (me, i)
                        sent.append(value)
                        try:
                            ch.send(value)
                        except BaseException:
                            # Whether it had been handed over cannot be told.
                            killed.append(value)
                            raise
                    elif op < 4 and ch.balance <= 5:
                        try:
                            got.append(ch.receive())
                        except BaseException:
                            raise
                    elif op == 4:
                        schedule()
                    else:
                        others = rng.choice(lists)
                        if others:
                            t = rng.choice(others)
                            with contextlib.suppress(RuntimeError):
                                rng.choice((t.insert, t.run, t.remove, t.bind_thread))()
            except RuntimeError as e:
                if "Deadlock" not in str(e):
                    raise
            except Error:
                pass

        def thread(n):
            rng = random.Random(seed * 10 + n)
            mine = lists[n]
            mine.extend(tasklet(task)(random.Random(seed * 100 + n * 10 + i), (n, i))
                        for i in range(6))
            for i in range(20):
                # A tasklet that had not begun does not catch it.
                with contextlib.suppress(Error):
                    stackless.run()
                t = rng.choice(rng.choice(lists) or mine)
                with contextlib.suppress(RuntimeError):
                    rng.choice((lambda: t.throw(Error, pending=True), t.insert,
                                t.bind_thread))()
            barrier.wait()
            end = time.monotonic() + TIMEOUT
            while any(t.alive for ts in lists for t in ts):
                for ts in lists:
                    for t in ts:
                        if t.alive and t.thread_id == threading.get_ident():
                            t.throw(Error, pending=True)
                with contextlib.suppress(Error):
                    stackless.run()
                self.assertLess(time.monotonic(), end)
                time.sleep(0)
            barrier.wait()
        barrier = threading.Barrier(3, timeout=TIMEOUT)
        threads = [self.thread(thread, n) for n in range(3)]
        for t in threads:
            t.join()
        self.assertEqual(len(got), len(set(got)), "a value was received twice")
        self.assertLessEqual(set(got), set(sent))
        self.assertEqual([ch.balance for ch in channels], [0, 0, 0])


HEAD = """\
import gc, os, signal, sys, threading, time
import stackless
from stackless import *
def nothing(*args): pass
def pause(): schedule_remove(None)
def asleep(ident):
    main, current, runcount = stackless.get_thread_info(ident)
    return main is not None and current is None and runcount == 0
def wait_until(condition):
    while not condition():
        time.sleep(0)
"""


class Children(ChildTestCase):

    def ok(self, source, *args):
        return self.run_ok(HEAD + source, *args)


class Shutdown(Children):

    def test_a_thread_that_main_waits_for(self):
        # It cannot be woken by a main thread that has ended.
        r = self.run_status(HEAD + """
def thread():
    ch = channel()
    try:
        ch.receive()
    except RuntimeError as e:
        print(e)
t = threading.Thread(target=thread)
t.start()
wait_until(lambda: asleep(t.ident))
""", 0)
        self.assertEqual(r.stdout,
                         "Deadlock: the last runnable tasklet cannot be blocked.\n")

    def test_several_such_threads(self):
        r = self.run_status(HEAD + """
ch = channel()
def thread(i):
    try:
        ch.receive()
    except RuntimeError as e:
        pass
    finally:
        print("end")
threads = [threading.Thread(target=thread, args=(i,)) for i in range(4)]
for t in threads:
    t.start()
for t in threads:
    wait_until(lambda: asleep(t.ident))
""", 0)
        self.assertEqual(r.stdout, "end\n" * 4)

    def test_they_may_wake_each_other(self):
        self.assertEqual(self.ok("""
ch = channel()
def receiver():
    print(ch.receive())
def sender():
    threading.main_thread().join()
    wait_until(lambda: asleep(r.ident))
    ch.send("from one to the other")
r = threading.Thread(target=receiver)
s = threading.Thread(target=sender)
r.start()
s.start()
"""), "from one to the other\n")

    def test_daemon_threads(self):
        self.assertEqual(self.ok("""
never = channel()
threads = []
def in_main():
    never.receive()
def in_a_tasklet():
    tasklet(never.receive)()
    stackless.run(threadblock=True)
def in_hard_one():
    tasklet(max)([1, 2], key=lambda x: never.receive())
    stackless.run(threadblock=True)
def removed():
    tasklet(pause)()
    never.receive()
for f in (in_main, in_a_tasklet, in_hard_one, removed):
    t = threading.Thread(target=f, daemon=True)
    t.start()
    threads.append(t)
for t in threads:
    wait_until(lambda: asleep(t.ident))
print("end")
"""), "end\n")

    def test_daemon_threads_that_are_busy(self):
        for i in range(3):
            self.assertEqual(self.ok("""
sys.setswitchinterval(1e-5)
ch = channel()
started = threading.Semaphore(0)
def ping():
    while True:
        ch.send(1)
def pong():
    while True:
        ch.receive()
def busy():
    started.release()
    tasklet(ping)()
    tasklet(pong)()
    while True:
        schedule()
def waits():
    started.release()
    time.sleep(1000)
for f in (busy, busy, waits):
    threading.Thread(target=f, daemon=True).start()
for i in range(3):
    started.acquire()
for i in range(10):
    tasklet(ch.send)(1)
print("end")
"""), "end\n")

    def test_running_daemon_threads_are_killed(self):
        # main and the current tasklet of a thread that switches see TaskletExit.
        self.assertEqual(self.ok("""
started = threading.Event()
log = []
import atexit
def report():
    print(sorted(log), t.is_alive())
def task():
    try:
        while True:
            schedule()
            started.set()
    except TaskletExit:
        log.append("task")
        raise
def thread():
    try:
        tasklet(task)()
        stackless.run()
    except TaskletExit:
        log.append("main")
        raise
# The first to be registered is called last.
import atexit
atexit.unregister(report)
t = threading.Thread(target=thread, daemon=True)
t.start()
started.wait()
class AtTheEnd:
    def __del__(self, write=os.write, log=log):
        write(1, (" ".join(sorted(log)) + "\\n").encode())
import builtins
builtins._ = AtTheEnd()
"""), "main task\n")

    def test_shutdown_inside_a_tasklet(self):
        self.run_status(HEAD + """
never = channel()
t = threading.Thread(target=never.receive, daemon=True)
t.start()
wait_until(lambda: asleep(t.ident))
def task():
    sys.exit(3)
tasklet(task)()
stackless.run()
""", 3)

    def test_ctrl_c(self):
        r = self.run_status(HEAD + """
ident = threading.get_ident()
def thread():
    wait_until(lambda: asleep(ident))
    os.kill(os.getpid(), signal.SIGINT)
    threading.main_thread().join()
threading.Thread(target=thread, daemon=True).start()
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    channel().receive()
except KeyboardInterrupt:
    print("interrupted")
    sys.exit(7)
""", 7)
        self.assertEqual(r.stdout, "interrupted\n")

    def test_kept_tasklets_of_ended_and_living_threads(self):
        self.assertEqual(self.ok("""
never = channel()
kept = []
def thread(daemon):
    kept.append(stackless.main)
    for suspend in (pause, never.receive):
        kept.append(tasklet(suspend)())
        kept[-1].run()
    kept.append(tasklet(max)([1], key=lambda x: schedule_remove()))
    kept[-1].run()
    if daemon:
        never.receive()
for daemon in (False, True):
    t = threading.Thread(target=thread, args=(daemon,), daemon=daemon)
    t.start()
    if daemon:
        wait_until(lambda: asleep(t.ident))
    else:
        t.join()
sys.kept = kept
print("end")
"""), "end\n")


@unittest.skipUnless(hasattr(os, "fork"), "needs fork")
class Fork(Children):

    FORK = """
def fork_and_check(check):
    import warnings
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        status = 1
        try:
            check()
            status = 0
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""

    def forks(self, source):
        self.assertEqual(self.ok(self.FORK + source + "\nprint('end')\n"), "end\n")

    def test_in_a_tasklet(self):
        self.forks("""
log = []
def child():
    t = tasklet(log.append)(1)
    schedule()
    assert log == [1], log
def task():
    fork_and_check(child)
def hard():
    max([1], key=lambda x: fork_and_check(child))
for f in (task, hard):
    other = tasklet(pause)()
    tasklet(f)()
    stackless.run()
""")

    def test_the_child_goes_on(self):
        # Not only the check: the forked tasklet returns to the scheduler, there too.
        self.assertEqual(self.ok("""
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
result = []
ch = channel()
def task():
    pid = os.fork()
    if pid:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    ch.send("child" if not pid else "parent")
never = channel()
t = threading.Thread(target=never.receive, daemon=True)
t.start()
wait_until(lambda: asleep(t.ident))
tasklet(task)()
print(ch.receive(), flush=True)
"""), "child\nparent\n")

    def test_threads_asleep(self):
        self.forks("""
ch, never = channel(), channel()
kept = []
def in_main():
    kept.append(stackless.main)
    ch.receive()
def in_tasklet():
    def task():
        kept.append(stackless.current)
        ch.receive()
    tasklet(task)()
    never.receive()
def removed():
    def task():
        kept.append(stackless.current)
        schedule_remove()
    tasklet(task)()
    never.receive()
threads = []
for f in (in_main, in_tasklet, removed):
    t = threading.Thread(target=f, daemon=True)
    t.start()
    wait_until(lambda: asleep(t.ident))
    threads.append(t)
def child():
    assert len(stackless.threads) == 1
    for t in kept:
        assert t.thread_id == -1 and not t.alive and t.frame is None
        t.recursion_depth, t.nesting_level, t.context_id, t.next, t.prev
        for call in (t.insert, t.run, t.bind_thread, lambda: t.throw(KeyError)):
            try:
                call()
            except RuntimeError as e:
                assert str(e) in (
                    "You cannot run a blocked tasklet", "tasklet has no thread",
                    "Target thread isn't initialized",
                    "tasklet has C state on its stack"), e
            else:
                raise AssertionError(call)
    assert ch.balance == -2
    try:
        ch.send(1)
    except RuntimeError as e:
        assert str(e) == "tasklet has no thread", e
    for t in kept:
        t.kill()
        assert not t.blocked and not t.scheduled
    assert ch.balance == 0
    if not stackless.current.is_main:
        return
    # Nobody else is there.
    try:
        ch.receive()
    except RuntimeError as e:
        assert str(e).startswith("Deadlock"), e
    t = threading.Thread(target=ch.send, args=(5,))
    t.start()
    assert ch.receive() == 5
    t.join()
    kept.clear()
    gc.collect()
def task():
    fork_and_check(child)
tasklet(task)()
stackless.run()
fork_and_check(child)
ch.send(1), ch.send(2)
for i in range(2):
    never.send(0)
for t in threads:
    t.join()
""")

    def test_threads_that_run(self):
        self.forks("""
go, ready = threading.Event(), threading.Semaphore(0)
kept = []
def in_main():
    kept.append((stackless.main, tasklet(nothing)()))
    ready.release()
    go.wait()
def in_tasklet():
    def task():
        x = tasklet(nothing)()
        kept.append((stackless.main, stackless.current, x))
        ready.release()
        go.wait()
    tasklet(task)()
    stackless.run()
def in_hard():
    def task():
        kept.append((stackless.main, stackless.current))
        ready.release()
        max([1], key=lambda x: go.wait())
    tasklet(task)()
    stackless.run()
threads = [threading.Thread(target=f) for f in (in_main, in_tasklet, in_hard)]
for t in threads:
    t.start()
    ready.acquire()
def child():
    for ts in kept:
        for t in ts:
            assert t.thread_id == -1 and not t.alive, t
            assert not t.is_current and not t.paused and t.frame is None
            t.kill()
            t.recursion_depth, t.nesting_level, t.tempval, t.next, t.context_id
    kept.clear()
    gc.collect()
    t = tasklet(nothing)()
    schedule()
    assert not t.alive
fork_and_check(child)
def task():
    fork_and_check(child)
tasklet(task)()
stackless.run()
go.set()
for t in threads:
    t.join()
""")

    def test_from_another_thread(self):
        # In the child it is the initial thread.
        self.forks("""
never = channel()
main = threading.get_ident()
def child():
    assert stackless.run(threadblock=True) is None
    if not stackless.current.is_main:
        return
    try:
        channel().receive()
    except RuntimeError as e:
        assert str(e).startswith("Deadlock"), e
    else:
        raise AssertionError
def thread():
    wait_until(lambda: asleep(main))
    def task():
        fork_and_check(child)
    tasklet(task)()
    stackless.run()
    fork_and_check(child)
    never.send(1)
t = threading.Thread(target=thread)
t.start()
never.receive()
t.join()
""")


class Interpreters(Children):

    HEAD = """
import _interpreters, textwrap
def run_in(config, source):
    interp = _interpreters.create(config)
    try:
        exc = _interpreters.exec(interp, HEAD + textwrap.dedent(source))
        assert exc is None, exc.formatted
    finally:
        _interpreters.destroy(interp)
"""

    def both(self, source):
        head = f"HEAD = {HEAD!r}\n" + self.HEAD
        for config in ("isolated", "legacy"):
            with self.subTest(config=config):
                out = self.ok(head + f"CONFIG = {config!r}\n" + source + "\nprint('end')\n")
                self.assertEqual(out, "end\n")

    def test_schedulers(self):
        self.both("""
run_in(CONFIG, '''
    log = []
    assert stackless.current is stackless.main
    for i in range(3):
        tasklet(log.append)(i)
    stackless.run()
    assert log == [0, 1, 2], log
    try:
        channel().receive()
    except RuntimeError as e:
        assert str(e).startswith("Deadlock"), e
    assert stackless.run(threadblock=True) is None
    assert len(stackless.threads) == 1, stackless.threads
''')
assert stackless.get_thread_info(-1)[0] is stackless.main
""")

    def test_threads_in_one(self):
        self.both("""
run_in(CONFIG, '''
    ch = channel()
    def thread():
        for i in range(10):
            ch.send(i)
    t = threading.Thread(target=thread)
    t.start()
    assert [ch.receive() for i in range(10)] == list(range(10))
    t.join()
    t = threading.Thread(target=lambda: wait_until(lambda: asleep(me)))
    me = threading.get_ident()
    t.start()
    try:
        ch.receive()
    except RuntimeError as e:
        assert str(e).startswith("Deadlock"), e
    t.join()
''')
""")

    def test_callbacks_are_its_own(self):
        self.both("""
log = []
stackless.set_schedule_callback(lambda *args: log.append(args))
run_in(CONFIG, '''
    assert stackless.get_schedule_callback() is None
    stackless.set_schedule_callback(nothing)
    tasklet(nothing)()
    stackless.run()
''')
assert log == [], log
stackless.set_schedule_callback(None)
""")

    def test_ended_with_tasklets(self):
        self.both("""
for i in range(3):
    run_in(CONFIG, '''
        ch = channel()
        for suspend in (ch.receive, pause, schedule):
            tasklet(suspend)()
        schedule()
        keep = tasklet(max)([1], key=lambda x: schedule_remove())
        keep.run()
        tasklet(nothing)()
        sys.kept = [keep, ch, stackless.main]
    ''')
""")

    def test_several_at_once(self):
        self.both("""
source = '''
    ch = channel()
    def produce():
        for i in range(300):
            ch.send(i)
    tasklet(produce)()
    assert [ch.receive() for i in range(300)] == list(range(300))
'''
errors = []
def thread():
    try:
        run_in(CONFIG, source)
    except BaseException as e:
        errors.append(e)
threads = [threading.Thread(target=thread) for i in range(4)]
for t in threads:
    t.start()
for t in threads:
    t.join()
assert not errors, errors
""")

    def test_a_thread_asleep_elsewhere_does_not_count(self):
        # A thread of another interpreter cannot wake us.
        self.both("""
ch = channel()
t = threading.Thread(target=ch.receive)
t.start()
wait_until(lambda: asleep(t.ident))
run_in(CONFIG, '''
    try:
        channel().receive()
    except RuntimeError as e:
        assert str(e).startswith("Deadlock"), e
    else:
        raise AssertionError
''')
ch.send(1)
t.join()
""")


if __name__ == "__main__":
    unittest.main()
