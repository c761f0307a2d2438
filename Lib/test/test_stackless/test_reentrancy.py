"""What is true for a moment, within a call that runs Python code, is the affair of the tasklet
that called: that code switches, and nothing of it is left for the others."""

import _thread
import importlib.util
import signal
import sys
import threading
import unittest
import weakref

import greenlet
import stackless
from stackless import channel, schedule, schedule_remove, tasklet

from .support import (ChildTestCase, StacklessTestCase, needs_order, needs_testcapi)


class Error(Exception):
    pass


def nothing():
    pass


def spin():
    while True:
        pass


def within_c(function):
    return list(map(lambda _: function(), [0]))[0]


class ChannelCallback(StacklessTestCase):
    """All channels raised, and run(timeout) never returned, while one was suspended in it."""

    def setUp(self):
        super().setUp()
        self.noisy, self.quiet = channel(), channel()
        self.noisy.preference = self.quiet.preference = 0
        self.events = []
        self.errors = []
        self.switch = schedule_remove
        stackless.set_channel_callback(self.callback)
        self.addCleanup(self.release)

    def release(self):
        stackless.set_channel_callback(None)
        self.noisy = self.quiet = self.events = self.switch = None

    def callback(self, ch, t, sending, willblock):
        self.events.append((ch, t, t.tempval))
        if ch is self.noisy:
            self.switch()
            try:
                self.quiet.send(0)
            except RuntimeError as e:
                self.errors.append(str(e))

    def check_others(self):
        """Channels, callbacks and time limits work."""
        got = []
        r = tasklet(lambda: got.append(self.quiet.receive()))()
        s = tasklet(self.quiet.send)(5)
        stackless.run()
        self.assertEqual(got, [5])
        self.assertCountEqual(self.events[-2:], [(self.quiet, r, None), (self.quiet, s, 5)])
        victim = tasklet(spin)()
        self.assertIs(stackless.run(1000), victim)
        victim.kill()

    def check_own(self, number=1):
        self.assertEqual(self.errors, ["Recursive channel call due to callbacks!"] * number)

    def check(self, action):
        done = []
        t = tasklet(lambda: done.append(action()))()
        stackless.run()
        self.assertTrue(t.paused)
        self.check_others()
        t.insert()
        stackless.run()
        if t.blocked:
            self.check_own()
            self.switch = nothing
            self.noisy.send(1)
        elif self.noisy.balance < 0:
            self.noisy.send(1)
        stackless.run()
        self.assertEqual(len(done), 1)
        self.check_others()

    def test_receive(self):
        self.check(self.noisy.receive)

    def test_receive_within_c_functions(self):
        self.check(lambda: within_c(self.noisy.receive))

    def test_in_a_loop(self):
        self.check(lambda: next(iter(self.noisy)))

    def test_the_value_is_not_lost(self):
        # In the callback, tempval is the value to be sent, and then what schedule() returns.
        for action in (self.noisy.send, lambda value: within_c(lambda: self.noisy.send(value))):
            self.switch = schedule_remove
            t = tasklet(action)("value")
            stackless.run()
            self.assertTrue(t.paused)
            t.insert()
            stackless.run()
            self.assertTrue(t.blocked)
            self.switch = nothing
            self.assertEqual(self.noisy.receive(), "value")
            stackless.run()
            self.assertDead(t)

    def test_the_partner_goes_meanwhile(self):
        got = []
        first = tasklet(lambda: got.append(self.quiet.receive()))()
        stackless.run()
        self.noisy, self.quiet = self.quiet, self.noisy
        t = tasklet(self.noisy.send)(1)
        stackless.run()
        first.kill()
        self.check_others()
        t.insert()
        stackless.run()
        self.assertTrue(t.blocked)
        self.switch = nothing
        self.assertEqual(self.noisy.receive(), 1)
        stackless.run()
        self.assertEqual(got, [])

    def test_main(self):
        def others():
            got.append(self.quiet.receive())
        got = []
        tasklet(others)()
        tasklet(self.quiet.send)(5)
        self.switch = stackless.run
        tasklet(lambda: self.noisy.receive())
        self.noisy.schedule_all = 1
        with self.assertRaises(RuntimeError):      # nobody receives
            self.noisy.send(1)
        self.assertEqual(got, [5])
        self.check_own()
        self.check_others()

    def test_within_c_functions_in_main(self):
        self.switch = stackless.run
        t = tasklet(self.quiet.receive)()
        with self.assertRaises(RuntimeError):
            within_c(lambda: self.noisy.send(1))
        self.assertEqual(self.errors, ["Recursive channel call due to callbacks!"])
        self.assertTrue(t.blocked)
        self.quiet.send(1)
        stackless.run()
        self.check_others()

    def test_killed_in_it(self):
        for way in (lambda f: f(), within_c):
            t = tasklet(way)(self.noisy.receive)
            stackless.run()
            self.check_others()
            t.kill()
            self.assertDead(t)
            self.assertEqual(self.noisy.balance, 0)
            self.check_others()

    @needs_order
    def test_interrupted_in_it(self):
        # A time limit does not apply within it, but to those that run meanwhile.
        def switch():
            busy = sum(1 for _ in range(1000))
            schedule_remove()
            return busy
        self.switch = switch
        t = tasklet(self.noisy.receive)()
        other = tasklet(spin)()
        self.assertIs(stackless.run(100, ignore_nesting=True), other)
        self.assertTrue(t.paused)
        other.kill()
        t.kill()

    def test_two_at_once(self):
        def first():
            self.noisy.receive()
        tasklets = [tasklet(first)() for i in range(3)]
        stackless.run()
        self.check_others()
        for t in tasklets:
            self.assertTrue(t.paused)
            t.insert()
        stackless.run()
        self.check_own(3)
        self.switch = nothing
        for t in tasklets:
            self.noisy.send(1)
        stackless.run()
        self.check_others()

    def test_of_a_greenlet(self):
        self.switch = lambda: main.switch("away")
        main = greenlet.getcurrent()
        g = greenlet.greenlet(self.noisy.send)
        self.assertEqual(g.switch(1), "away")
        self.check_others()
        self.switch = nothing
        got = []
        r = tasklet(lambda: got.append(self.noisy.receive()))()
        stackless.run()
        self.assertIsNone(g.switch())
        stackless.run()
        self.assertEqual(got, [1])
        self.assertFalse(r.alive)
        self.check_own(2)
        self.check_others()


@unittest.skipUnless(hasattr(signal, "SIGUSR1"), "needs POSIX signals")
class SignalHandler(StacklessTestCase):
    """A handler that runs right after a switch, since the tasklet before was atomic."""

    def setUp(self):
        super().setUp()
        self.handler = schedule
        old = signal.signal(signal.SIGUSR1, lambda *args: self.handle())
        self.addCleanup(signal.signal, signal.SIGUSR1, old)
        self.calls = []
        self.addCleanup(self.calls.clear)

    def handle(self):
        self.calls.append(stackless.current)
        self.handler()

    def trip(self):
        """Switch to the next one, in which the handler is called."""
        with stackless.atomic():
            _thread.interrupt_main(signal.SIGUSR1)
            self.assertEqual(self.calls, [])
            schedule()

    @needs_order
    def test_others_are_interrupted(self):
        # run(timeout) never returned.
        def runaway():
            schedule_remove()
            spin()

        def second():
            schedule()
        victim = tasklet(within_c)(runaway)
        victim.run()
        first = tasklet(self.trip)()
        other = tasklet(second)()
        victim.insert()
        self.assertIs(stackless.run(10000, ignore_nesting=True), victim)
        self.assertEqual(self.calls, [other])
        victim.kill()
        stackless.run()
        self.assertDead(first)
        self.assertDead(other)

    @needs_order
    def test_others_are_interrupted_softly(self):
        tasklet(self.trip)()
        other = tasklet(lambda: (schedule(), schedule()))()
        victim = tasklet(spin)()
        self.assertIs(stackless.run(10000), victim)
        self.assertEqual(self.calls, [other])
        victim.kill()
        stackless.run()
        self.assertDead(other)

    @needs_order
    def test_the_handler_is_interrupted(self):
        # It is Python code within C functions like any other.
        self.handler = spin
        tasklet(self.trip)()
        other = tasklet(schedule)()
        self.assertIs(stackless.run(1000, ignore_nesting=True), other)
        self.assertEqual(self.calls, [other])
        other.kill()
        stackless.run()

    @needs_order
    def test_short_lived_code_in_the_handler(self):
        # What the time limit remembered of it was not let go of, and went over the end of
        # the scheduler's trash.
        def handler():
            for i in range(50):
                exec(f"def f(): return {i}\nf()\nf()\n", {})
        self.handler = handler
        tasklet(self.trip)()
        other = tasklet(schedule)()
        self.assertIsNone(stackless.run(1000000))
        self.assertEqual(self.calls, [other])

    @needs_order
    def test_main_runs_in_it(self):
        # The tasklet is left in the handler, and main starts another time limit.
        self.handler = schedule_remove
        tasklet(self.trip)()
        other = tasklet(schedule)()
        self.assertIsNone(stackless.run(1000))
        self.assertTrue(other.paused)
        victim = tasklet(spin)()
        self.assertIs(stackless.run(1000), victim)
        victim.kill()
        other.insert()
        stackless.run()
        self.assertDead(other)


class Interrupted(StacklessTestCase):

    @unittest.skipUnless(importlib.util.find_spec("_testcapi"), "_testcapi is not built")
    def test_an_event_after_the_jump_that_switches_and_raises(self):
        # The interrupted loop goes on with a LINE event.  Others that were resumed meanwhile
        # took it for their own jump, and the exception was raised at the line before.
        tool = 4
        events = sys.monitoring.events
        code = None

        def victim():
            number = 0
            while number < 1000000:
                try: number += 1                   # noqa: E701 (where the loop jumps to)
                except Error:
                    return caught.append("in the loop")

        def line(line_code, number):
            if armed:
                armed.clear()
                schedule_remove()
                raise Error
        code = victim.__code__
        armed, caught = [], []
        sys.monitoring.use_tool_id(tool, "test")
        self.addCleanup(sys.monitoring.free_tool_id, tool)
        self.addCleanup(sys.monitoring.set_local_events, tool, code, 0)
        sys.monitoring.register_callback(tool, events.LINE, line)
        self.addCleanup(sys.monitoring.register_callback, tool, events.LINE, None)
        t = tasklet(victim)()
        self.assertIs(stackless.run(100), t)
        sys.monitoring.set_local_events(tool, code, events.LINE)
        armed.append(True)
        t.insert()
        other = tasklet(lambda: (schedule(), schedule()))()
        stackless.run()
        self.assertTrue(t.paused)
        self.assertDead(other)
        tasklet(schedule)()
        t.insert()
        stackless.run()
        self.assertEqual(caught, ["in the loop"])

    def test_what_another_thread_has_thrown(self):
        # The interrupt came first, and the exception was forgotten.
        for way in (lambda f: f(), within_c):
            def task():
                thread = threading.Thread(target=t.throw, args=(Error,),
                                          kwargs={"pending": True})
                thread.start()
                thread.join()
                try:
                    spin()
                except Error:
                    caught.append(True)
            caught = []
            t = tasklet(way)(task)
            stackless.run(100000, ignore_nesting=True)
            self.assertEqual(caught, [True])
            if t.alive:
                t.insert()
            stackless.run()

    def test_its_own_tempval(self):
        # It is for the call that returns it, and not for the interrupt.
        def task():
            stackless.current.tempval = "own"
            for i in range(1000):
                pass
            got.append(stackless.current.tempval)
            got.append(other.run())
        for way in (lambda f: f(), within_c):
            got = []
            other = tasklet(nothing, ())
            t = tasklet(way)(task)
            self.assertIs(stackless.run(100, ignore_nesting=True), t)
            t.insert()
            stackless.run()
            self.assertEqual(got, ["own", "own"])

    def test_thrown_into_while_interrupted(self):
        def task():
            stackless.current.tempval = "own"
            try:
                spin()
            except Error:
                got.append("caught")
        for way in (lambda f: f(), within_c):
            for pending in (False, True):
                got = []
                t = tasklet(way)(task)
                self.assertIs(stackless.run(100, ignore_nesting=True), t)
                t.throw(Error, pending=pending)
                stackless.run()
                self.assertEqual(got, ["caught"])
                self.assertDead(t)


@unittest.skipUnless(hasattr(signal, "pthread_kill"), "needs POSIX signals")
class Asleep(ChildTestCase):
    """A thread that sleeps in a channel is woken by a signal, and its time is over."""

    def check_way(self, way):
        self.run_ok(f"""
            import signal, stackless, threading, time
            def receive():
                got.append(ch.receive())
                got.append("after")
            def task():
                {way}
            def other():
                while ch.balance == 0:
                    time.sleep(0)
                signal.pthread_kill(main, signal.SIGUSR1)
                signalled.wait()
                while ch.balance == 0:
                    time.sleep(0)
                ch.send(5)
            main = threading.get_ident()
            signal.signal(signal.SIGUSR1, lambda *args: signalled.set())
            for limit in range(1, 60):
                ch = stackless.channel()
                got = []
                signalled = threading.Event()
                thread = threading.Thread(target=other)
                thread.start()
                stackless.tasklet(task)()
                while got[1:] != ["after"]:
                    t = stackless.run(limit, threadblock=True, totaltimeout=True,
                                      ignore_nesting=True)
                    if t is None:
                        break
                    t.insert()
                thread.join()
                assert got == [5, "after"], (limit, got)
                stackless.run()
        """)

    def test_nobody_is_interrupted_within_the_call(self):
        # The receive() was taken for one that had returned.
        self.check_way("receive()")

    def test_nobody_is_interrupted_within_the_call_within_c_functions(self):
        self.check_way("list(map(lambda _: receive(), [0]))")


class ThreadState(ChildTestCase):
    """Fields of the thread state that belong to a C function under way."""

    def test_recursion_headroom(self):
        # Whoever recursed too deep, while one was left in PyErr_NormalizeException(), met a
        # fatal error, since that was taken for a second overflow.
        for where in ("stackless.tasklet(task)()", "task()"):
            self.run_ok(f"""
                import stackless, warnings
                warnings.simplefilter("ignore")
                class E(Exception):
                    def __init__(self, *args):
                        stackless.schedule()
                def gen():
                    yield
                def task():
                    g = gen()
                    next(g)
                    try:
                        g.throw(E, "argument")
                    except E:
                        caught.append(E)
                def recurse():
                    recurse()
                class C:
                    def __repr__(self):
                        return repr(self)
                def other():
                    for function in (recurse, lambda: repr(C())):
                        try:
                            function()
                        except RecursionError:
                            caught.append(RecursionError)
                caught = []
                if {where!r} == "task()":
                    stackless.tasklet(other)()
                    {where}
                else:
                    {where}
                    stackless.tasklet(other)()
                stackless.run()
                assert caught == [RecursionError, RecursionError, E], caught
            """)

    @needs_testcapi
    def test_pending_calls(self):
        # None was made any more while a tasklet was left in one.
        self.run_ok("""
            import _testcapi, stackless
            def call():
                calls.append(stackless.current)
                stackless.schedule_remove()
            def task(function):
                _testcapi._pending_threadfunc(function)
                for i in range(1000):
                    pass
            calls = []
            first = stackless.tasklet(task)(call)
            stackless.run()
            assert calls == [first] and first.paused
            second = stackless.tasklet(task)(lambda: calls.append(stackless.current))
            stackless.run()
            assert calls == [first, second], calls
            task(lambda: calls.append(stackless.current))
            assert calls == [first, second, stackless.main], calls
            first.insert()
            stackless.run()
            assert not first.alive
            task(lambda: calls.append(0))
            assert calls[-1] == 0
        """)

    def test_the_exception_that_ended_a_tasklet_is_not_kept(self):
        # Main has caught the TaskletExit that stands for its SystemExit, and goes on.
        self.run_ok("""
            import stackless, sys, weakref
            class Local:
                pass
            def f():
                local = Local()
                refs.append(weakref.ref(local))
                stackless.tasklet(sys.exit)(5)
                stackless.run()
            refs = []
            try:
                f()
            except TaskletExit:
                pass
            stackless.tasklet(lambda: None)()
            stackless.run()
            assert refs[0]() is None
        """)


class AnnouncedCalls(StacklessTestCase):
    """The eval loop says which call it makes by itself, for that call only."""

    def items(self, ch, number=3):
        for i in range(number):
            ch.send(i)
        ch.send_exception(StopIteration)

    def test_an_iterator_over_the_channel_of_a_loop_that_ended_at_once(self):
        # Its first item came as the channel gave it, without the tuple.
        def task(wrap):
            ch.close()
            for x in ch:
                pass
            ch.open()
            for x in wrap(ch):
                got.append(x)
        for wrap, expected in ((zip, [(0,), (1,), (2,)]),
                               (enumerate, [(0, 0), (1, 1), (2, 2)]),
                               (lambda ch: map(str, ch), ["0", "1", "2"]),
                               (lambda ch: filter(None, ch), [1, 2])):
            ch = channel()
            got = []
            tasklet(task)(wrap).run()
            tasklet(self.items)(ch)
            stackless.run()
            self.assertEqual(got, expected)

    def test_a_weak_reference_s_callback(self):
        # The call fails; dropping its arguments calls the same method, from C.
        class Object:
            pass

        def task():
            ob = Object()
            send = ch.send
            references.append(weakref.ref(ob, send))
            arguments = [ob, 1]
            del ob
            try:
                send(*arguments)
            except TypeError:
                del arguments
                got.append("after")
        for receives_first in (False, True):
            ch = channel()
            got, references = [], []
            receiver = tasklet(lambda: got.append(ch.receive()))
            if receives_first:
                receiver()
            t = tasklet(task)()
            if not receives_first:
                receiver()
            stackless.run()
            self.assertCountEqual(got, ["after", references[0]])
            self.assertDead(t)

    def test_softly(self):
        # All kinds of calls that are announced.
        def task(call):
            call()
            got.append(True)
        main = stackless.main
        ch = channel()
        send, t = ch.send, tasklet(nothing)
        calls = (
            lambda: schedule(*()),
            lambda: schedule(*("value",)),
            lambda: schedule(**{"retval": 1}),
            lambda: schedule_remove(*[]),
            lambda: ch.receive(*()),
            lambda: send(*(1,)),
            lambda: ch.send(*[1]),
            lambda: channel.send(*(ch, 1)),
            lambda: channel.receive(*(ch,)),
            lambda: main.run(*()),
            lambda: tasklet.run(*(main,)),
            lambda: main.throw(*(Error,), **{"pending": False}),
            lambda: [x for x in ch],
        )
        for i, call in enumerate(calls):
            with self.subTest(number=i):
                got = []
                left = tasklet(task)(call)
                try:
                    left.run()
                except Error:
                    pass
                self.assertTrue(left.alive)
                if stackless.enable_softswitch(None):
                    self.assertTrue(left.restorable)
                left.kill()
                self.assertEqual(got, [])
        self.assertFalse(t.alive)


if __name__ == "__main__":
    unittest.main()
