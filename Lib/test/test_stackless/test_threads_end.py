"""The end of threads; shutdown, fork, interpreters."""

import gc
import os
import threading
import unittest
import weakref

import stackless
from stackless import channel, schedule, schedule_remove, tasklet

from .support import needs_order, needs_soft, needs_testcapi, waiters
from .threading_support import (
    Error, HEAD, ThreadsChild, ThreadsTestCase, nothing, pause,
)


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

    @needs_soft
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

    @needs_soft
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

    @needs_soft
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
                with self.unchanged(t):
                    with self.assertRaisesRegex(RuntimeError, f"^{message}$"):
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

    @needs_soft
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

    @needs_soft
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

    @needs_soft
    def test_no_finally_for_soft_ones(self):
        log = []

        def task(suspend):
            try:
                suspend()
            finally:
                log.append("finally")

        def thread():
            for suspend in (pause, channel().receive, schedule):
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
            kept = []
            for suspend in (pause, ch.receive, schedule):
                kept.append(tasklet(hard)(suspend))
                kept[-1].run()
            self.assertTrue(all(t.nesting_level for t in kept))
            return kept, threading.get_ident()
        kept, ident = self.end_with(thread)
        self.assertEqual(log, [(ident, True)] * 3)
        for t in kept:
            self.assertFalse(t.alive)
            self.assertEqual(t.thread_id, -1)
        self.assertEqual(ch.balance, 0)

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

    @needs_soft
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

    @needs_soft
    def test_dropped_elsewhere(self):
        s = self.server()
        t = s(lambda: self.paused(pause))
        ref = weakref.ref(t)
        del t
        gc.collect()
        self.assertIsNone(ref())

    @needs_soft
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


class Refusing(ThreadsChild):

    def test_those_that_refuse_to_die(self):
        # In a child: what such a tasklet owns is lost.
        self.ok("""
count = []
kept = []
def hard():
    while True:
        try:
            max([1], key=lambda x: schedule_remove())
        except TaskletExit:
            count.append(1)
def thread():
    kept.append(tasklet(hard)())
    schedule()
t = threading.Thread(target=thread)
t.start()
t.join()
assert 1 <= len(count) <= 20, count
[t] = kept
assert t.thread_id == -1 and not t.alive and t.frame is None
try:
    t.bind_thread()
except RuntimeError as e:
    assert str(e) == "tasklet has C state on its stack", e
else:
    raise AssertionError
t.kill()
assert not t.scheduled
""")


class Shutdown(ThreadsChild):

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
        self.assertEqual(r.stdout.splitlines()[0],
                         "Deadlock: the last runnable tasklet cannot be blocked.")

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
        # At the end they see TaskletExit, and may have the time to report it.
        for i in range(3):
            self.assertEqual(self.ok("""
threading.excepthook = nothing
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
        self.assertEqual(self.run_ok("""
import atexit
def report():
    # It gets some time at the end, but perhaps needs more.
    t.join(60)
    print(*sorted(log), t.is_alive())
# The first to be registered is called last.
atexit.register(report)
""" + HEAD + """
started = threading.Event()
log = []
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
t = threading.Thread(target=thread, daemon=True)
t.start()
started.wait()
"""), "main task False\n")

    def test_killed_threads_when_builtins_goes(self):
        self.assertEqual(self.ok("""
started = threading.Event()
kept = []
def thread():
    kept.append(stackless.main)
    kept.append(tasklet(pause)())
    while True:
        schedule()
        started.set()
threading.Thread(target=thread, daemon=True).start()
started.wait()
class AtTheEnd:
    def __del__(self, write=os.write, kept=kept):
        for t in kept:
            write(1, f"{t.thread_id} {t.frame}\\n".encode())
import builtins
builtins._ = AtTheEnd()
"""), "-1 None\n" * 2)

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
class Fork(ThreadsChild):

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

    @needs_order
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


class Interpreters(ThreadsChild):

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

    @needs_order
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

    def test_system_exit_of_a_tasklet(self):
        # No process ends: in the initial thread it goes where any exception goes.
        self.both("""
run_in(CONFIG, '''
    def leave():
        raise SystemExit(3)
    def run():
        tasklet(leave)()
        try:
            stackless.run()
        except SystemExit as e:
            return e.code
        return "nothing"
    assert run() == 3
    handled = []
    stackless.set_error_handler(lambda *args: handled.append(args[1].code))
    assert run() == "nothing" and handled == [3], handled
    stackless.set_error_handler(None)
    results = []
    t = threading.Thread(target=lambda: results.append(run()))
    t.start()
    t.join()
    assert results == ["nothing"], results
''')
""")

    @needs_testcapi
    def test_system_exit_of_a_tasklet_in_an_interpreter_made_by_the_c_api(self):
        out = self.ok(f"HEAD = {HEAD!r}" + '''
import _testcapi
print(_testcapi.run_in_subinterp(HEAD + """
def leave():
    raise SystemExit(3)
def run():
    tasklet(leave)()
    try:
        stackless.run()
    except SystemExit as e:
        results.append(e.code)
    else:
        results.append("nothing")
results = []
run()
thread = threading.Thread(target=run)
thread.start()
thread.join()
assert results == [3, "nothing"], results
"""))
''')
        self.assertEqual(out, "0\n")

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
