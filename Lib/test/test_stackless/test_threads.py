"""Threads: what they do to each other's tasklets and channels."""

import gc
import random
import sys
import threading
import unittest
import weakref

import stackless
from stackless import bomb, channel, schedule, schedule_remove, tasklet

from .support import needs_order, needs_soft, runqueue, waiters
from .threading_support import Error, ThreadsTestCase, nothing, pause


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
        self.assertEqual(stackless.get_thread_info(t.ident, 1 << 31), (None, None, 0, None))
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
        self.assertTurns(ran, [1, 2])

    @needs_soft
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

    @needs_order
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

    def test_from_within_callbacks(self):
        # Nothing of this switches here, so it is allowed.
        s = self.server()
        ch = channel()
        log = []

        def act():
            r, p, k = s(lambda: (self.receiver(ch, log), self.paused(pause),
                                 self.paused(pause)))
            p.run()
            k.kill()
            with self.assertRaisesRegex(RuntimeError, "different thread"):
                s.main.switch()
            return r, p, k
        tasklets = []

        def callback(*args):
            if not tasklets and threading.get_ident() != s.ident:
                tasklets.extend([None])
                tasklets[:] = act()
        stackless.set_schedule_callback(callback)
        try:
            tasklet(nothing)()
            schedule()
        finally:
            stackless.set_schedule_callback(None)
        self.assertEqual(len(tasklets), 3)
        s(stackless.run)
        self.assertFalse(tasklets[1].alive or tasklets[2].alive)
        ch.send(1)
        s(stackless.run)
        self.assertEqual(log, [1])
        log.clear()

        r = s(lambda: self.receiver(ch, log))

        def send(*args):
            if r.blocked and threading.get_ident() != s.ident:
                ch.send(2)
        stackless.set_schedule_callback(send)
        try:
            tasklet(nothing)()
            schedule()
        finally:
            stackless.set_schedule_callback(None)
        s(stackless.run)
        self.assertEqual(log, [2])

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

    @needs_soft
    def test_channel_that_goes_away(self):
        s = self.server()
        ch = channel()
        # No frame refers to the channel.
        t = s(lambda: tasklet(ch.receive)())
        s(t.run)
        refs = [weakref.ref(ch), weakref.ref(t)]
        self.assertTrue(t.blocked)
        del ch, t
        gc.collect()
        self.assertEqual([r() for r in refs], [None] * 2)


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
        t, log = self.catcher(s, pause)
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
        tasklets = s(lambda: (tasklet(), tasklet(nothing), self.run_tasklet(nothing)))
        for t in tasklets:
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


class BindThread(ThreadsTestCase):

    @staticmethod
    def two_turns():
        """A task that is paused once, and the list of the threads it runs in."""
        log = []

        def task():
            log.append(threading.get_ident())
            schedule_remove()
            log.append(threading.get_ident())
        return task, log

    @needs_soft
    def test_to_the_calling_thread(self):
        s = self.server()
        task, log = self.two_turns()
        t = s(lambda: self.paused(task))
        self.assertIsNone(t.bind_thread())
        self.assertEqual(t.thread_id, threading.get_ident())
        self.assertTrue(t.paused)
        t.run()
        self.assertEqual(log, [s.ident, threading.get_ident()])

    @needs_soft
    def test_to_another_thread(self):
        s = self.server()
        task, log = self.two_turns()
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

    @needs_soft
    def test_one_that_is_blocked(self):
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

    @needs_soft
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

    @needs_soft
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

    @needs_soft
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


if __name__ == "__main__":
    unittest.main()
