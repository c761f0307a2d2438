"""The main tasklet of a thread that has ended: a tasklet like any other, to be used again."""

import gc
import threading
import unittest
import weakref

import greenlet
import stackless
from stackless import channel, tasklet

from .support import needs_soft
from .threading_support import Error, ThreadsChild, ThreadsTestCase, nothing


class FormerMain(ThreadsTestCase):

    def former(self, func=nothing):
        def thread():
            func()
            return stackless.getmain()
        return self.thread(thread).join()

    def test_it_is_no_main_tasklet(self):
        # It was one for ever.
        t = self.former()
        self.assertFalse(t.is_main)
        self.assertFalse(t.alive or t.paused or t.scheduled or t.blocked or t.is_current)
        self.assertEqual(t.thread_id, -1)
        self.assertIsNone(t.frame)
        self.assertIsNone(t.tempval)

    def test_what_ran_in_its_thread(self):
        # In any way that main can be left.
        def runs():
            tasklet(nothing)()
            stackless.run()

        def waits():
            ch = channel()
            tasklet(ch.send)(1)
            ch.receive()

        def hard():
            tasklet(nothing)()
            max([1], key=lambda x: stackless.schedule())

        def switches():
            greenlet.greenlet(nothing).switch()
        for func in (runs, waits, hard, switches):
            t = self.former(func)
            self.assertFalse(t.is_main)
            t.bind_thread()
            t.bind(nothing, ())
            t.run()
            self.assertDead(t)

    def test_bound_and_unbound(self):
        t = self.former()
        t.bind(len)
        self.assertIs(t.tempval, len)
        t.bind(None)
        self.assertIsNone(t.tempval)
        t.__init__(len)
        self.assertIs(t.tempval, len)

    def test_it_has_no_thread(self):
        t = self.former()
        t.bind(nothing)
        for call in (t, t.setup, t.run, lambda: t.bind(nothing, ()), lambda: t.throw(Error)):
            with self.assertRaisesRegex(RuntimeError, "^tasklet has no thread$"):
                call()
        with self.assertRaisesRegex(RuntimeError, "^Target thread isn't initialized$"):
            t.insert()
        t.remove()
        t.kill()
        self.assertIs(t.tempval, nothing)

    def test_used_again(self):
        t = self.former()
        t.bind_thread()
        self.assertFalse(t.is_main)
        self.assertEqual(t.thread_id, threading.get_ident())
        log = []
        for way in (lambda f: f(), lambda f: list(map(lambda _: f(), [0]))):
            def task():
                log.append(stackless.current)
                stackless.schedule_remove()
                raise Error
            t.bind(way)(task)
            stackless.run()
            self.assertTrue(t.paused)
            self.assertFalse(t.is_main)
            self.assertIsNotNone(t.frame)
            t.insert()
            with self.assertRaises(Error):
                stackless.run()
            self.assertDead(t)
        self.assertEqual(log, [t, t])

    def test_used_in_another_thread(self):
        t = self.former()
        s = self.server()
        log = []

        def use():
            t.bind_thread()
            t.bind(lambda: log.append((stackless.current, stackless.main)))()
            stackless.run()
        s(use)
        self.assertEqual(log, [(t, s.main)])
        self.assertFalse(t.is_main)
        self.assertTrue(s.main.is_main)

    def test_freed(self):
        for bound in (False, True):
            t = self.former()
            if bound:
                t.bind_thread()
            r = weakref.ref(t)
            t.bind(lambda: t)
            del t
            gc.collect()
            self.assertIsNone(r(), "the collector does not see what it refers to")

    def test_not_shown_as_main(self):
        t = self.former()
        from _stackless import _dump
        t.bind_thread()
        t.bind(nothing, ())
        shown = [info for thread in _dump(1000, 0) for info in thread["tasklets"]
                 if info["id"] == id(t)]
        self.assertEqual([info["main"] for info in shown], [False])
        t.kill()


@needs_soft                            # what a greenlet's C stack owns is lost with its thread
class ItsGreenlet(ThreadsTestCase):

    def former(self):
        def thread():
            main = greenlet.getcurrent()
            child = greenlet.greenlet(lambda: main.switch())
            child.switch()
            pending = greenlet.greenlet(nothing)
            return stackless.getmain(), main, child, pending
        return self.thread(thread).join()

    def check_dead(self, main, child, pending):
        self.assertTrue(main.dead)
        self.assertFalse(main)
        self.assertIsNone(main.parent)
        self.assertIsNone(main.gr_frame)
        self.assertTrue(child.dead)
        for g in (main, child, pending):
            repr(g)
            with self.assertRaises(greenlet.error):
                g.switch()
            with self.assertRaises(greenlet.error):
                g.throw(Error)

    def test_it_is_dead(self):
        t, *greenlets = self.former()
        self.check_dead(*greenlets)
        t.bind(nothing)
        self.check_dead(*greenlets)

    def test_the_tasklet_is_used_again(self):
        from greenlet._greenlet import get_total_main_greenlets
        greenlet.getcurrent()
        number = get_total_main_greenlets()
        t, main, child, pending = self.former()
        self.assertEqual(get_total_main_greenlets(), number + 1)
        t.bind_thread()
        self.check_dead(main, child, pending)

        def task():
            current.append(greenlet.getcurrent())
            return greenlet.greenlet(nothing).parent
        current = []
        t.bind(task)()
        stackless.run()
        self.check_dead(main, child, pending)
        self.assertIsNot(current[0], main)
        self.assertIs(current[0].parent, greenlet.getcurrent())
        del main, child, pending, current[:]
        gc.collect()
        self.assertEqual(get_total_main_greenlets(), number)


class AfterAFork(ThreadsChild):
    """Threads that are gone with whatever their main tasklets did."""

    HEAD = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
def reuse(t):
    t.bind_thread()
    assert not t.is_main and not t.alive
    log = []
    t.bind(log.append, (1,)).insert()
    stackless.run()
    assert log == [1], log
def fork(check):
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
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
go, ready = threading.Event(), threading.Semaphore(0)
kept = []
"""

    def forks(self, source):
        self.ok(self.HEAD + source + """
t = threading.Thread(target=thread, daemon=True)
t.start()
ready.acquire()
fork(child)
go.set()
""")

    def test_main_ran(self):
        self.forks("""
def thread():
    kept.append(stackless.main)
    ready.release()
    go.wait()
def child():
    assert not kept[0].is_main
    reuse(kept[0])
""")

    def test_main_was_in_run(self):
        self.forks("""
def thread():
    def task():
        ready.release()
        go.wait()
    kept.append(stackless.main)
    tasklet(task)()
    stackless.run()
def child():
    t, = kept
    assert not (t.is_main or t.alive or t.paused)
    t.bind(nothing)
    assert t.tempval is nothing
    reuse(t)
""")

    def test_main_was_runnable(self):
        self.forks("""
def thread():
    def task():
        ready.release()
        go.wait()
    kept.append(stackless.main)
    tasklet(task)()
    schedule()
def child():
    assert not kept[0].scheduled
    reuse(kept[0])
""")

    def test_main_was_blocked(self):
        # It stays in the queue of its channel, and nothing is left of it that could run.
        self.forks("""
ch = channel()
def thread():
    def task():
        ready.release()
        go.wait()
        ch.send(1)
    kept.append(stackless.main)
    tasklet(task)()
    ch.receive()
def child():
    t, = kept
    assert not t.is_main and t.blocked and ch.balance == -1
    try:
        t.bind_thread()
    except RuntimeError as e:
        assert str(e) == "tasklet has C state on its stack", e
    else:
        raise AssertionError("main, blocked, was moved to another thread")
    gc.collect()
    t.kill()
    assert not t.blocked and ch.balance == 0
    reuse(t)
""")

    def test_main_was_blocked_on_a_channel_that_goes(self):
        self.forks("""
def thread():
    ch = channel()
    def task():
        ready.release()
        go.wait()
    kept.append(stackless.main)
    kept.append(ch)
    tasklet(task)()
    ch.receive()
def child():
    t = kept[0]
    kept.clear()
    # (The frames of that thread's main, which own the channel, too, are lost.)
    ch = t._channel
    ch.queue.kill()
    assert not t.blocked
    t.bind(None)
    reuse(t)
""")

    def test_the_thread_slept_in_main(self):
        self.forks("""
ch = channel()
def thread():
    kept.append(stackless.main)
    ready.release()
    ch.receive()
    kept.append(0)
def child():
    t, = kept
    assert not t.is_main
    if t.blocked:                      # if it did sleep already
        t.kill()
    reuse(t)
""")


if __name__ == "__main__":
    unittest.main()
