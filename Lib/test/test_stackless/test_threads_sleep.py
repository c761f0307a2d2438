"""Threads that sleep for want of work; what wakes them; deadlock."""

import ctypes
import gc
import os
import signal
import sys
import threading
import time
import unittest

import stackless
from stackless import channel, schedule, schedule_remove, tasklet

from .support import needs_order, runqueue
from .threading_support import (
    DEADLOCK, Error, Thread, ThreadsTestCase, asleep, nothing, pause, wait_until,
    Server,
)


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
                "^the main tasklet is receiving without a sender available\\."):
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

    @needs_order
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
        old = stackless.enable_softswitch(False)
        try:
            self.test_hard_sleep()
            self.test_another_one_is_woken()
        finally:
            stackless.enable_softswitch(old)

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

    @needs_order
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

    def test_no_signal_is_lost(self):
        # Even if the main thread is only about to wait, or another thread gets it.
        old = signal.signal(signal.SIGUSR1, signal.default_int_handler)
        ident = threading.get_ident()
        try:
            for i in range(20):
                go = threading.Event()
                t = self.thread(lambda: (wait_until(lambda: asleep(ident)),
                                         signal.raise_signal(signal.SIGUSR1), go.wait()))
                with self.assertRaises(KeyboardInterrupt):
                    channel().receive()
                go.set()
                t.join()
        finally:
            signal.signal(signal.SIGUSR1, old)

    def test_interrupt_main(self):
        import _thread
        old = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            ident = threading.get_ident()
            go = threading.Event()
            t = self.thread(lambda: (wait_until(lambda: asleep(ident)),
                                     _thread.interrupt_main(), go.wait()))
            with self.assertRaises(KeyboardInterrupt):
                channel().receive()
            go.set()
            t.join()
        finally:
            signal.signal(signal.SIGINT, old)

    def test_exception_sent_to_a_thread(self):
        # A daemon thread slept through it.
        ch = channel()

        def thread():
            with self.assertRaises(Error):
                ch.receive()
            caught.append(1)
            t = tasklet(ch.receive)()
            with self.assertRaises(Error):
                stackless.run(threadblock=True)
            caught.append(2)
            t.kill()
        for daemon in (True, False):
            with self.subTest(daemon=daemon):
                caught = []
                t = Thread(thread)
                t.daemon = daemon
                t.start()
                for i in range(2):
                    wait_until(t.asleep)
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(
                        ctypes.c_ulong(t.ident), ctypes.py_object(Error))
                    wait_until(lambda: len(caught) > i)
                t.join()

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


if __name__ == "__main__":
    unittest.main()
