"""Cancel scopes and groups of tasklets."""

import contextlib
import contextvars
import gc
import threading
import unittest
import weakref

import stackless
from stackless import (Cancelled, channel, group, move_on_after, schedule, select, shield, sleep,
                       tasklet, timeout)

from .support import many, needs_soft
from .test_waiting import LONG, VirtualTestCase


class Error(Exception):
    pass


def fail(seconds=0):
    sleep(seconds)
    raise Error(seconds)


class Scopes(VirtualTestCase):

    def test_move_on_after(self):
        with move_on_after(2) as scope:
            sleep(1)
            self.assertFalse(scope.cancelled)
            sleep(5)
            self.fail("not reached")
        self.assertTrue(scope.cancelled)
        self.assertTrue(scope.expired)
        self.assertEqual(stackless.now(), 2.0)
        sleep(1)
        self.assertEqual(stackless.now(), 3.0)

    def test_in_time(self):
        with move_on_after(2) as scope:
            sleep(1)
        with timeout(2):
            sleep(1)
        self.assertFalse(scope.cancelled)
        sleep(5)
        self.assertFalse(scope.cancelled)

    def test_timeout(self):
        with self.assertRaisesRegex(TimeoutError, "time of the block"):
            with timeout(2):
                channel().receive()
        self.assertEqual(stackless.now(), 2.0)

    def test_every_way_to_wait(self):
        ch = channel()
        t = tasklet(sleep)(LONG)
        for operation in (lambda: sleep(LONG), ch.receive, lambda: ch.send(1), t.join, t.result,
                          lambda: select(ch, (channel(), 1)), lambda: ch.receive(timeout=LONG),
                          lambda: next(ch), lambda: sleep(None)):
            with move_on_after(1) as scope:
                operation()
            self.assertTrue(scope.expired)
            with move_on_after(None) as scope:
                scope.cancel()
                operation()
            self.assertTrue(scope.cancelled)
            self.assertFalse(scope.expired)
        self.assertEqual(ch.balance, 0)
        t.kill()

    def test_who_need_not_wait_is_not_cancelled(self):
        ch = channel()
        with move_on_after(None) as scope:
            scope.cancel()
            self.sender(ch, 7)
            self.assertEqual(ch.receive(), 7)
            schedule()
            sleep(0)
            scope.cancel()
        self.assertTrue(scope.cancelled)
        stackless.run()

    def test_it_is_a_level(self):
        log = []
        with move_on_after(1):
            for i in range(3):
                try:
                    sleep(5)
                except Cancelled:
                    log.append(stackless.now())
        self.assertEqual(log, [1.0] * 3)

    def test_cancel_from_another_tasklet(self):
        log = []

        def task():
            with move_on_after(None) as scope:
                scopes.append(scope)
                try:
                    sleep(LONG)
                except Cancelled as e:
                    log.append((e.args, e.scope is scope))
                    raise
            log.append(stackless.now())
        scopes = []
        t = tasklet(task)()
        sleep(1)
        self.assertEqual(scopes[0].tasklets, [t])
        scopes[0].cancel("reason")
        self.assertTrue(t.scheduled)
        stackless.run()
        self.assertEqual(log, [(("reason",), True), 1.0])
        self.assertEqual(scopes[0].reason, "reason")

    def test_result_that_has_arrived_beats_it(self):
        ch = channel()
        ch.preference = 1              # who is served has to wait for its turn
        log = []

        def task():
            with move_on_after(None) as scope:
                scopes.append(scope)
                log.append(ch.receive())
                sleep(LONG)
                log.append("not reached")
        scopes = []
        tasklet(task)()
        stackless.run()
        ch.send("value")
        scopes[0].cancel()
        stackless.run()
        self.assertEqual(log, ["value"])

    def test_nested(self):
        for outer, inner in ((1, 2), (2, 1)):
            log = []
            start = stackless.now()
            with move_on_after(outer) as a:
                with move_on_after(inner) as b:
                    sleep(10)
                log.append("inner left")
                sleep(10)
                log.append("not reached")
            self.assertEqual((a.expired, b.expired), (True, inner < outer))
            self.assertEqual(log, ["inner left"] if inner < outer else [])
            self.assertEqual(stackless.now() - start, outer)

    def test_shield(self):
        with move_on_after(1) as scope:
            with shield():
                sleep(5)
            self.assertEqual(stackless.now(), 5.0)
            sleep(1)
            self.fail("not reached")
        self.assertTrue(scope.expired)
        log = []

        def task():
            with move_on_after(None) as scope:
                scopes.append(scope)
                with move_on_after(3, shield=True):
                    sleep(LONG)
                log.append(stackless.now())
                sleep(LONG)
        scopes = []
        tasklet(task)()
        stackless.run(wait=False)
        scopes[0].cancel()
        stackless.run()
        self.assertEqual(log, [8.0])
        self.assertEqual(stackless.now(), 8.0)

    def test_grace(self):
        log = []
        with move_on_after(1, grace=3) as scope:
            try:
                sleep(LONG)
            finally:
                sleep(2)
                log.append(stackless.now())
                sleep(2)
                log.append("not reached")
        self.assertEqual(log, [3.0])
        self.assertEqual(stackless.now(), 4.0)
        self.assertTrue(scope.expired)

    def test_left_by_another_exception(self):
        for scope in (move_on_after(1), timeout(1), shield()):
            with self.assertRaises(Error):
                with scope:
                    raise Error
        with self.assertRaises(Error):
            with timeout(1):
                try:
                    sleep(5)
                finally:
                    raise Error

    def test_someone_elses_cancelled_is_not_caught(self):
        exc = Cancelled()
        exc.scope = None
        with self.assertRaises(Cancelled):
            with move_on_after(1):
                raise exc

    def test_cancelled_before_it_is_entered(self):
        scope = move_on_after(5)
        scope.cancel()
        with scope:
            sleep(1)
            self.fail("not reached")
        self.assertEqual(stackless.now(), 0.0)

    def test_misuse(self):
        with move_on_after(1) as scope:
            with self.assertRaisesRegex(RuntimeError, "entered once"):
                with scope:
                    pass
            with self.assertRaises(RuntimeError):
                scope.__init__()
        with self.assertRaises(RuntimeError):
            scope._exit()
        for args, kwargs, error in (((-1,), {}, ValueError), ((float("nan"),), {}, ValueError),
                                    (("x",), {}, TypeError), ((1, 2), {}, TypeError),
                                    ((1,), {"grace": -1}, ValueError)):
            with self.assertRaises(error):
                move_on_after(*args, **kwargs)

    def test_left_out_of_order(self):
        a, b = move_on_after(1), move_on_after(1)
        a.__enter__()
        b.__enter__()
        with self.assertRaisesRegex(RuntimeError, "still open"):
            a.__exit__(None, None, None)
        b.__exit__(None, None, None)
        a.__exit__(None, None, None)

    def test_left_in_another_tasklet(self):
        def generator():
            with move_on_after(1):
                yield
        g = generator()

        def task():
            next(g)
            schedule()
            with self.assertRaisesRegex(RuntimeError, "has been entered by"):
                next(g)
        # The one that has entered it ends within it.
        tasklet(next)(g)
        stackless.run()
        with self.assertRaisesRegex(RuntimeError, "has been entered by"):
            next(g)

    @needs_soft
    def test_soft(self):
        def task():
            with timeout(5):
                sleep(1)
        t = tasklet(task)()
        t.run()
        self.assertEqual(t.nesting_level, 0)
        stackless.run()

    @needs_soft
    def test_garbage(self):
        def task(ch):
            with move_on_after(None):
                ch.receive()

        def make():
            ch = channel()
            t = tasklet(task)(ch)
            t.run()
            return weakref.ref(t)
        ref = make()
        gc.collect()
        gc.collect()
        self.assertIsNone(ref())

    def test_many(self):
        n = many(1000)
        ended = []

        def task():
            try:
                sleep(LONG)
            finally:
                ended.append(1)
        with group() as g:
            for i in range(n):
                g.spawn(task)
            sleep(1)
            g.cancel()
        self.assertEqual(len(ended), n)
        self.assertEqual(stackless.now(), 1.0)

    def test_in_a_new_thread(self):
        log = []

        def run():
            with move_on_after(1e-3) as scope:
                channel().receive()
            log.append(scope.expired)
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        self.assertEqual(log, [True])

    def test_cancel_from_another_thread(self):
        log = []
        ready = threading.Event()

        def run():
            with move_on_after(None) as scope:
                log.append(scope)
                ready.set()
                sleep(LONG)
            log.append("end")
        thread = threading.Thread(target=run)
        thread.start()
        ready.wait()
        log[0].cancel()
        thread.join()
        self.assertEqual(log[1:], ["end"])

    def test_deeply_nested(self):
        # What Py_EnterRecursiveCall() returned was taken for success.
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(move_on_after(None))
            for _ in range(many(100_000)):
                stack.enter_context(move_on_after(None))
            try:
                first.cancel()
            except RecursionError:
                pass
        self.assertTrue(first.cancelled)

    def test_grace_without_end(self):
        log = []
        with move_on_after(1, grace=float("inf")):
            try:
                sleep(5)
            finally:
                sleep(1)
                log.append("cleaned up")
        self.assertEqual(log, ["cleaned up"])


class Groups(VirtualTestCase):

    def test_results(self):
        def task(n):
            sleep(5 - n)
            return n * n
        with group() as g:
            tasklets = [g.spawn(task, n) for n in range(5)]
            other = g.spawn(lambda **kwargs: kwargs, a=1)
        self.assertEqual(g.results, [0, 1, 4, 9, 16, {"a": 1}])
        self.assertEqual(g.errors, [])
        self.assertEqual(stackless.now(), 5.0)
        for t in tasklets:
            self.assertDead(t)

    def test_empty(self):
        with group() as g:
            pass
        self.assertEqual(g.results, [])

    def test_failure_cancels_the_others(self):
        log = []

        def task():
            try:
                sleep(LONG)
            except Cancelled as e:
                log.append(type(e.args[0]))
                raise
        with self.assertRaises(ExceptionGroup) as caught:
            with group() as g:
                g.spawn(task)
                g.spawn(fail, 1)
                g.spawn(task)
                sleep(LONG)
        self.assertEqual([type(e) for e in caught.exception.exceptions], [Error])
        self.assertEqual(log, [Error] * 2)
        self.assertEqual(stackless.now(), 1.0)

    def test_several_failures(self):
        def task():
            try:
                sleep(LONG)
            finally:
                raise KeyError
        with self.assertRaises(ExceptionGroup) as caught:
            with group() as g:
                g.spawn(task)
                g.spawn(fail)
        self.assertCountEqual([type(e) for e in caught.exception.exceptions], [Error, KeyError])

    def test_failure_of_the_block(self):
        ended = []

        def task():
            try:
                sleep(LONG)
            finally:
                ended.append(1)
        with self.assertRaises(Error):
            with group() as g:
                g.spawn(task)
                sleep(1)
                raise Error
        self.assertEqual(ended, [1])
        with self.assertRaises(ExceptionGroup) as caught:
            with group() as g:
                g.spawn(fail, 1)
                try:
                    sleep(LONG)
                finally:
                    raise KeyError
        self.assertCountEqual([type(e) for e in caught.exception.exceptions], [Error, KeyError])

    def test_cancel(self):
        with group() as g:
            g.spawn(sleep, LONG)
            g.cancel()
            sleep(1)
            self.fail("not reached")
        self.assertEqual(g.results, [None])
        self.assertEqual(stackless.now(), 0.0)

    def test_return(self):
        def f():
            with group() as g:
                g.spawn(sleep, 3)
                return stackless.now()
        self.assertEqual(f(), 0.0)
        self.assertEqual(stackless.now(), 3.0)

    def test_limit(self):
        running = most = 0

        def task():
            nonlocal running, most
            running += 1
            most = max(running, most)
            sleep(1)
            running -= 1
        with group(limit=3) as g:
            for i in range(9):
                g.spawn(task)
        self.assertEqual(most, 3)
        self.assertEqual(stackless.now(), 3.0)

    def test_first(self):
        def task(n):
            sleep(n)
            return n
        with group(policy="first") as g:
            for n in (3, 1, 2):
                g.spawn(task, n)
            g.spawn(fail)
        self.assertEqual(g.results, [None, 1, None, None])
        self.assertEqual(stackless.now(), 1.0)
        with self.assertRaises(ExceptionGroup):
            with group(policy="first") as g:
                g.spawn(fail)
                g.spawn(fail)

    def test_collect(self):
        with group(policy="collect") as g:
            g.spawn(fail)
            g.spawn(lambda: (sleep(1), 7)[1])
        self.assertEqual(g.results, [None, 7])
        self.assertEqual([type(e) for e in g.errors], [Error])

    def test_within_a_timeout(self):
        with self.assertRaises(TimeoutError):
            with timeout(1):
                with group() as g:
                    g.spawn(sleep, LONG)
                    g.spawn(channel().receive)
        self.assertEqual(stackless.now(), 1.0)

    def test_nested(self):
        ended = []

        def task():
            try:
                with group() as inner:
                    inner.spawn(sleep, LONG)
                    inner.spawn(sleep, LONG)
            finally:
                ended.append(stackless.now())
        with self.assertRaises(ExceptionGroup) as caught:
            with group() as g:
                g.spawn(task)
                g.spawn(fail, 2)
        self.assertEqual(ended, [2.0])
        self.assertEqual([type(e) for e in caught.exception.exceptions], [Error])

    def test_member_that_is_killed(self):
        with group() as g:
            t = g.spawn(sleep, LONG)
            u = g.spawn(sleep, 2)
            t.kill()                   # before it has begun
            v = g.spawn(sleep, LONG)
            sleep(1)
            v.kill()
        self.assertDead(u)
        self.assertEqual(stackless.now(), 2.0)

    def test_host_that_is_killed(self):
        ended = []

        def member():
            try:
                sleep(LONG)
            finally:
                ended.append("member")

        def host():
            with group() as g:
                g.spawn(member)
            ended.append("not reached")
        t = tasklet(host)()
        sleep(1)
        t.kill()
        stackless.run()
        self.assertDead(t)
        self.assertEqual(ended, ["member"])

    def test_result_of_a_member(self):
        with group() as g:
            t = g.spawn(lambda: (sleep(1), 7)[1])
            self.assertEqual(t.result(), 7)
        with self.assertRaises(ExceptionGroup):
            with group() as g:
                t = g.spawn(fail, 1)
                try:
                    t.result()
                except Error:
                    sleep(1)

    def test_spawned_by_members(self):
        log = []

        def task(n):
            if n:
                g.spawn(task, n - 1)
            sleep(1)
            log.append(n)
        with group() as g:
            g.spawn(task, 3)
        self.assertEqual(sorted(log), [0, 1, 2, 3])

    def test_context_is_a_copy(self):
        var = contextvars.ContextVar("var", default=0)

        def task(n):
            self.assertEqual(var.get(), 5)
            var.set(n)
            sleep(1)
            return var.get()
        token = var.set(5)
        with group() as g:
            for n in range(3):
                g.spawn(task, n)
        self.assertEqual(g.results, [0, 1, 2])
        self.assertEqual(var.get(), 5)
        var.reset(token)

    def test_misuse(self):
        with group() as g:
            pass
        with self.assertRaisesRegex(RuntimeError, "within its block"):
            g.spawn(sleep, 1)
        with self.assertRaisesRegex(ValueError, "not 'x'"):
            group(policy="x")
        with self.assertRaisesRegex(ValueError, "at least 1"):
            group(limit=0)
        with group() as g:
            with self.assertRaises(TypeError):
                g.spawn(7)
        with self.assertRaises(RuntimeError):
            with move_on_after() as scope:
                scope._spawn(sleep, (1,), None)
        with group() as g:
            g.spawn(lambda: 7)
            g.results.clear()          # whoever does that has no results
        self.assertEqual(g.results, [])

    def test_deadlock(self):
        with self.assertRaises(ExceptionGroup) as caught:
            with group() as g:
                g.spawn(channel().receive)
        self.assertRegex(str(caught.exception.exceptions[0]), "Deadlock")
        with self.assertRaisesRegex(RuntimeError, "(?i)deadlock"):
            with group() as g:
                t = g.spawn(channel().receive)
                sleep(1)
        self.assertDead(t)

    @needs_soft
    def test_soft(self):
        def task():
            with group() as g:
                g.spawn(sleep, 2)
        t = tasklet(task)()
        sleep(1)
        self.assertTrue(t.blocked)
        self.assertEqual(t.nesting_level, 0)
        stackless.run()
        self.assertDead(t)

    def test_a_free_place_is_handed_on(self):
        # Who was woken for it is killed before it takes it.
        ch, log = channel(), []
        with group(limit=1) as g:
            g.spawn(ch.receive)
            def spawn(n):
                g.spawn(log.append, n)
            first, second = tasklet(spawn)(1), tasklet(spawn)(2)
            while not (first.blocked and second.blocked):
                schedule()
            ch.send(None)
            while first.blocked:
                schedule()
            first.kill()
            for _ in range(5):
                schedule()
            self.assertFalse(second.blocked)
        self.assertIn(2, log)


if __name__ == "__main__":
    unittest.main()
