"""Greenlets and threads: whose is whose, errors across them, threads that end."""

import gc
import threading
import unittest
import weakref

import greenlet as module
from greenlet import GreenletExit, _greenlet, error, getcurrent, greenlet

from .support import (
    TIMEOUT, Error, GreenletTestCase, echo, in_ended_thread, in_thread, switch_back)


class OtherThread:
    """A thread that calls what it is told to until it is told to end."""

    def __init__(self):
        self._wanted, self._done = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._function = None
        self._thread.start()

    def _work(self):
        while True:
            self._wanted.wait()
            self._wanted.clear()
            if self._function is None:
                return
            try:
                self._result = self._function(), None
            except BaseException as e:
                self._result = None, e
            self._function = None
            self._done.set()

    def __call__(self, function, *args):
        self._function = lambda: function(*args)
        self._wanted.set()
        assert self._done.wait(TIMEOUT), "the thread hangs"
        self._done.clear()
        (value, exception), self._result = self._result, None
        if exception is not None:
            raise exception
        return value

    def end(self):
        self._wanted.set()
        self._thread.join(TIMEOUT)
        assert not self._thread.is_alive()


class ThreadTestCase(GreenletTestCase):

    def other_thread(self):
        thread = OtherThread()
        self.addCleanup(thread.end)
        return thread


class Main(ThreadTestCase):

    def test_each_thread_has_its_own(self):
        there = self.other_thread()
        a, b = there(getcurrent), there(getcurrent)
        self.assertIs(a, b)
        self.assertIsNot(a, getcurrent())
        self.assertIsNone(a.parent)
        self.assertActive(a)
        self.assertIs(type(a), greenlet)
        del a, b

    def test_new_ones_belong_to_the_thread(self):
        there = self.other_thread()
        g = there(lambda: greenlet(lambda: 5))
        self.assertIs(g.parent, there(getcurrent))
        self.assertEqual(there(g.switch), 5)

    def test_pending_moves_with_its_parent(self):
        there = self.other_thread()
        g = greenlet(lambda: getcurrent())
        g.parent = there(getcurrent)
        with self.assertRaises(error):
            g.switch()
        self.assertIs(there(g.switch), g)

    def test_run_by_threads_at_a_time(self):
        def work():
            some = [greenlet(echo) for i in range(20)]
            for g in some:
                g.switch(0)
            total = 0
            for i in range(100):
                for g in some:
                    total += g.switch(i)
            return total, [g.switch(None) for g in some]
        results = []
        threads = [threading.Thread(target=lambda: results.append(work())) for i in range(6)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(results, [(20 * 4950, ["end"] * 20)] * 6)

    def test_thread_locals_are_the_threads(self):
        local = threading.local()
        local.x = 1
        self.assertEqual(greenlet(lambda: local.x).switch(), 1)
        self.assertEqual(greenlet(threading.get_ident).switch(), threading.get_ident())


class Across(ThreadTestCase):
    """Nobody switches into another thread."""

    MESSAGE = (r"(?s)^Cannot switch to a different thread\n\tCurrent: .*main>"
               r"\n\tExpected: .*main>$")

    def refused(self, g):
        with self.assertRaisesRegex(error, self.MESSAGE):
            g.switch()
        with self.assertRaisesRegex(error, self.MESSAGE):
            g.switch(1, a=2)
        with self.assertRaisesRegex(error, self.MESSAGE):
            g.throw(Error)
        with self.assertRaisesRegex(error, self.MESSAGE):
            g.throw()

    def test_pending(self):
        there = self.other_thread()
        g = there(lambda: greenlet(echo))
        self.refused(g)
        self.assertPending(g)
        self.assertEqual(there(g.switch, 1), 1)
        there(g.switch, None)

    def test_suspended(self):
        there = self.other_thread()
        g = there(self.started, echo, 1)
        self.refused(g)
        self.assertActive(g)
        self.assertEqual(there(g.switch, 2), 2)
        there(g.switch, None)

    def test_dead(self):
        there = self.other_thread()
        g = there(lambda: greenlet(echo))
        there(g.switch, None)
        self.refused(g)

    def test_main(self):
        there = self.other_thread()
        self.refused(there(getcurrent))

    def test_names_both(self):
        there = self.other_thread()
        g = there(lambda: greenlet(echo))
        with self.assertRaises(error) as cm:
            g.switch()
        current, expected = str(cm.exception).split("\n")[1:]
        self.assertEqual(current, f"\tCurrent:  {getcurrent()!r}")
        self.assertIn(f"{id(g.parent):#x}", expected)

    def test_run_is_looked_up_in_vain(self):
        log = []

        class G(greenlet):
            @property
            def run(self):
                log.append(1)
        there = self.other_thread()
        self.refused(there(G))
        self.assertEqual(log, [])

    def test_lookup_of_run_moves_it(self):
        there = self.other_thread()
        foreign = there(getcurrent)

        class G(greenlet):
            @property
            def run(self):
                self.parent = foreign
                return lambda: 1
        g = G()
        with self.assertRaises(error):
            g.switch()

    def test_attributes_of_foreign_ones(self):
        there = self.other_thread()
        g = there(self.started, echo, 1)
        self.assertIs(g.gr_frame.f_code, switch_back.__code__)
        self.assertIs(g.gr_frame.f_back.f_code, echo.__code__)
        self.assertFalse(g.dead)
        self.assertTrue(repr(g).endswith(" suspended active started>"))
        self.assertIs(g.parent, there(getcurrent))
        there(g.switch, None)
        self.assertDead(g)


class End(ThreadTestCase):
    """A thread ends while it has greenlets."""

    def test_main_is_dead(self):
        main = in_ended_thread(getcurrent)
        self.assertTrue(main.dead)
        self.assertFalse(main)
        self.assertTrue(repr(main).endswith(" (thread exited) dead>"))

    def test_suspended_never_runs_again(self):
        log = []

        def run():
            try:
                switch_back()
            finally:
                log.append("finally")

        def make():
            g = greenlet(run)
            g.switch()
            return g
        g = in_ended_thread(make)
        self.assertTrue(g.dead)
        self.assertFalse(g)
        self.assertIsNone(g.gr_frame)
        self.assertEqual(log, [])
        with self.assertRaises(error) as cm:
            g.switch()
        self.assertRegex(str(cm.exception), "thread|garbage")
        with self.assertRaises(error):
            g.throw()
        del g
        self.assertEqual(log, [])

    def test_message(self):
        g = in_ended_thread(lambda: greenlet(echo))
        with self.assertRaisesRegex(
                error, r"^cannot switch to (a different thread \(which happens to have exited\)|"
                       r"a garbage collected greenlet)$"):
            g.switch(1)
        self.assertFalse(g)

    def test_parent_of_a_dead_thread(self):
        main = in_ended_thread(getcurrent)
        g = greenlet(echo)
        g.parent = main
        with self.assertRaisesRegex(error, "thread"):
            g.switch()

    def test_locals_of_the_thread_are_finished(self):
        log = []

        def run():
            try:
                switch_back()
            except GreenletExit:
                log.append(threading.get_ident())
                raise

        def thread():
            g = greenlet(run)
            g.switch()
            log.append(threading.get_ident())
        in_thread(thread)
        self.assertEqual(len(log), 2)
        self.assertEqual(log[0], log[1])

    def test_counts_go_back(self):
        before = _greenlet.get_total_main_greenlets()
        for i in range(10):
            in_ended_thread(lambda: greenlet(echo).switch(None))
        gc.collect()
        self.assertLessEqual(_greenlet.get_total_main_greenlets(), before)
        self.assertEqual(_greenlet.get_pending_cleanup_count(), 0)

    def test_many_greenlets_left(self):
        def make():
            some = [greenlet(echo) for i in range(100)]
            for g in some:
                g.switch(1)
            return some
        some = in_ended_thread(make)
        self.assertTrue(all(g.dead for g in some))

    def test_ends_within_a_greenlet(self):
        # The thread's function has gone on in a greenlet, and main is left behind.
        log = []

        def run():
            log.append("run")

        def thread():
            greenlet(run).switch()
            log.append("main")
        in_thread(thread)
        self.assertEqual(log, ["run", "main"])


class Deletion(ThreadTestCase):
    """The last reference to a suspended greenlet goes away elsewhere."""

    def make(self, log):
        def run():
            try:
                switch_back()
            except GreenletExit:
                log.append(threading.get_ident())
                raise
        g = greenlet(run)
        g.switch()
        return g

    def test_postponed_until_the_owner_looks(self):
        for look in getcurrent, greenlet, lambda: getcurrent().switch():
            log = []
            there = self.other_thread()
            box = [there(self.make, log)]
            del box[:]
            self.assertEqual(log, [])
            there(look)
            self.assertEqual(log, [there(threading.get_ident)])

    def test_thread_ends_first(self):
        log = []
        g = in_ended_thread(lambda: self.make(log))
        del g
        gc.collect()
        self.assertEqual(log, [])

    def test_pending_one(self):
        there = self.other_thread()
        g = there(lambda: greenlet(echo))
        r = weakref.ref(g)
        del g
        self.assertIsNone(r())

    def test_exceptions_are_reported(self):
        caught = self.catch_unraisable()

        def run():
            try:
                switch_back()
            finally:
                raise Error("while killed")

        def make():
            g = greenlet(run)
            g.switch()
            return g
        there = self.other_thread()
        box = [there(make)]
        del box[:]
        there(getcurrent)
        self.assertEqual(caught, [(Error, "while killed", None, greenlet)])

    def test_keeps_the_pending_exception(self):
        log = []
        there = self.other_thread()
        box = [there(self.make, log)]

        def handle():
            try:
                raise Error(1)
            except Error as e:
                del box[:]
                in_thread(int)
                getcurrent()
                return e.args
        self.assertEqual(there(handle), (1,))


class MakingThreads(ThreadTestCase):

    def test_thread_started_and_joined_in_a_greenlet(self):
        self.assertEqual(greenlet(lambda: in_thread(lambda: 5)).switch(), 5)

    def test_thread_with_greenlets_in_a_greenlet(self):
        def there():
            return greenlet(lambda: getcurrent().parent is not None).switch()
        self.assertTrue(greenlet(lambda: in_thread(there)).switch())

    def test_tracing_is_per_thread(self):
        there = self.other_thread()
        there(module.settrace, len)
        self.assertIsNone(module.gettrace())
        self.assertIs(there(module.settrace, None), len)

    def test_many_threads(self):
        def thread():
            g = greenlet(echo)
            return g.switch(1), g.switch(None)
        for i in range(50):
            self.assertEqual(in_thread(thread), (1, "end"))

    def test_lock_held_across_a_switch(self):
        lock = threading.Lock()

        def run():
            with lock:
                switch_back()
        g = self.started(run)
        self.assertTrue(lock.locked())
        self.assertFalse(in_thread(lock.acquire, False))
        g.switch()
        self.assertFalse(lock.locked())


if __name__ == "__main__":
    unittest.main()
