"""Who keeps whom alive: reference counts, the cyclic collector, weak
references; what is (not) executed when a tasklet is collected."""

import gc
import sys
import unittest
import weakref

import stackless
from stackless import channel, schedule, schedule_remove, tasklet

from .support import COLLECTS, StacklessTestCase, many, needs_soft


class Error(Exception):
    pass


class X:
    """Something that can be weakly referenced."""


def nothing():
    pass


class Owners(StacklessTestCase):

    def setUp(self):
        super().setUp()
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)

    def test_a_new_tasklet_has_no_owner(self):
        for args in ((), (nothing,), (nothing, ())):
            r = weakref.ref(tasklet(*args))
            self.assertIsNone(r())

    def test_the_queue_owns_the_runnable(self):
        r = weakref.ref(tasklet(nothing)())
        self.assertIsNotNone(r())
        stackless.run()
        self.assertIsNone(r())

    def test_the_queue_owns_the_current(self):
        seen = []

        def task():
            seen.append(r() is stackless.current)
            schedule()
            seen.append(r() is stackless.current)
        r = weakref.ref(tasklet(task)())
        stackless.run()
        self.assertEqual(seen, [True, True])
        self.assertIsNone(r())

    def test_nobody_owns_the_paused(self):
        t = tasklet(nothing)()
        r = weakref.ref(t)
        t.remove()
        del t
        self.assertIsNone(r())

    def test_nobody_owns_the_suspended_paused(self):
        x = X()
        rx = weakref.ref(x)

        def task(x):
            schedule_remove(None)
        t = tasklet(task)(x)
        del x
        t.run()
        self.assertIsNotNone(rx())
        r = weakref.ref(t)
        del t
        self.assertIsNone(r())
        self.assertIsNone(rx())

    def test_schedule_remove_parks_the_tasklet_in_itself(self):
        # The default result is the tasklet: a cycle, left to the collector.
        t = tasklet(schedule_remove)()
        t.run()
        r = weakref.ref(t)
        del t
        gc.collect()
        self.assertIsNone(r())

    def test_the_channel_owns_the_blocked(self):
        ch = channel()
        r = weakref.ref(tasklet(ch.receive)())
        schedule()
        self.assertIsNotNone(r())
        self.assertIs(ch.queue, r())
        ch.send(1)
        self.assertIsNone(r())

    def test_run_owns_its_caller(self):
        refs = []

        def outer():
            refs.append(weakref.ref(stackless.current))
            tasklet(lambda: refs.append(refs[0]().paused))()
            stackless.run()
        tasklet(outer)()
        stackless.run()
        self.assertEqual(refs[1], True)
        self.assertIsNone(refs[0]())

    def test_weakref_callbacks_run(self):
        log = []
        t = tasklet(nothing)
        r = weakref.ref(t, lambda r: log.append("tasklet"))
        del t
        ch = channel()
        s = weakref.ref(ch, lambda r: log.append("channel"))
        del ch
        self.assertEqual(log, ["tasklet", "channel"])
        del r, s

    def test_reference_counts_of_a_value_passed_around(self):
        x = X()
        before = sys.getrefcount(x)
        ch = channel()
        for i in range(10):
            t = self.sender(ch, x)
            ch.receive()
            t.run()
            t = self.receiver(ch)
            ch.send(x)
            t = self.sender(ch, x)
            t.kill()
            tasklet(nothing)()
            schedule(x)
            t = tasklet(len)
            t.tempval = x
        del t
        self.assertEqual(sys.getrefcount(x), before)

    def test_reference_counts_of_none_and_functions(self):
        # Immortal objects aside: whoever counts wrongly counts every time.
        f = nothing
        before = sys.getrefcount(f)
        for i in range(100):
            tasklet(f)()
            tasklet(f, ())
            tasklet(f)
            t = tasklet().bind(f, (), {})
            t.kill()
        stackless.run()
        del t
        gc.collect()
        self.assertEqual(sys.getrefcount(f), before)

    def test_arguments_of_unstarted_tasklets(self):
        x = X()
        r = weakref.ref(x)
        t = tasklet(nothing)(x, k=x)
        t.remove()
        del x
        self.assertIsNotNone(r())
        del t
        self.assertIsNone(r())

    def test_arguments_of_killed_unstarted_tasklets(self):
        x = X()
        r = weakref.ref(x)
        t = tasklet(nothing)(x, k=x)
        del x
        t.kill()
        self.assertIsNone(r())


class NoFinally(StacklessTestCase):
    """A softly suspended tasklet that is collected just vanishes."""

    def setUp(self):
        super().setUp()
        self.log = []

    def suspended(self):
        log = self.log

        def task():
            try:
                schedule_remove(None)
            except BaseException as e:
                log.append(e)
            finally:
                log.append("finally")
        return self.paused(task)

    @needs_soft
    def test_by_its_reference_count(self):
        t = self.suspended()
        r = weakref.ref(t)
        del t
        gc.collect()
        self.assertIsNone(r())
        self.assertEqual(self.log, [])

    @needs_soft
    def test_with_exits_are_not_called(self):
        log = self.log

        class Manager:
            def __enter__(self):
                pass

            def __exit__(self, *args):
                log.append("exit")

        def task():
            with Manager():
                schedule_remove(None)
        t = self.paused(task)
        del t
        gc.collect()
        self.assertEqual(self.log, [])

    @needs_soft
    def test_by_the_collector(self):
        log = self.log

        def task(me):
            try:
                schedule_remove(None)
            finally:
                log.append("finally")
        t = tasklet(task)
        t(t)
        t.run()
        r = weakref.ref(t)
        del t
        gc.collect()
        self.assertIsNone(r())
        self.assertEqual(self.log, [])

    def test_locals_are_released_outermost_too(self):
        refs = []

        def deep(n):
            x = X()
            refs.append(weakref.ref(x))
            if n:
                deep(n - 1)
            else:
                schedule_remove(None)
        t = self.paused(deep, 10)
        self.assertEqual(sum(r() is not None for r in refs), 11)
        del t
        gc.collect()
        self.assertEqual(sum(r() is not None for r in refs), 0)

    def test_objects_on_the_evaluation_stack_are_released(self):
        refs = []

        def make():
            x = X()
            refs.append(weakref.ref(x))
            return x

        def task():
            (make(), [make()], schedule_remove(None))
        t = self.paused(task)
        self.assertEqual(sum(r() is not None for r in refs), 2)
        del t
        gc.collect()
        self.assertEqual(sum(r() is not None for r in refs), 0)

    def test_generators_in_it_are_closed(self):
        log = self.log

        def gen():
            try:
                yield
            finally:
                log.append("closed")

        def task():
            g = gen()
            next(g)
            schedule_remove(None)
        t = self.paused(task)
        del t
        gc.collect()
        self.assertEqual(self.log, ["closed"])

    def test_an_active_exception_is_preserved(self):
        t = self.suspended()
        try:
            raise Error
        except Error as e:
            del t
            gc.collect()
            self.assertIs(sys.exception(), e)

    def test_dunder_del_can_be_called(self):
        t = self.suspended()
        t.__del__()
        tasklet().__del__()
        t = tasklet(nothing)()
        t.__del__()
        stackless.run()

    def test_a_subclass_with_dunder_del(self):
        log = self.log

        class Sub(tasklet):
            def __del__(self):
                log.append("del")
                super().__del__()
        Sub(nothing)()
        stackless.run()
        self.assertEqual(log, ["del"])
        t = Sub(schedule_remove)(None)
        t.run()
        del t
        gc.collect()
        self.assertEqual(log, ["del", "del"])

    def test_a_subclass_that_kills_itself_in_dunder_del(self):
        log = self.log

        class Sub(tasklet):
            def __del__(self):
                self.kill()

        def task():
            try:
                schedule_remove(None)
            finally:
                log.append("finally")
        t = Sub(task)()
        t.run()
        del t
        gc.collect()
        self.assertEqual(log, ["finally"])

    def test_resurrection(self):
        log = self.log

        class Sub(tasklet):
            def __del__(self):
                kept.append(self)

        def task():
            schedule_remove(None)
            log.append("resumed")
        kept = []
        t = Sub(task)()
        t.run()
        del t
        gc.collect()
        self.assertEqual(len(kept), 1)
        kept[0].run()
        self.assertEqual(log, ["resumed"])
        self.assertDead(kept[0])


class Cycles(StacklessTestCase):

    @needs_soft
    def test_tasklet_in_its_own_frame(self):
        def task(t):
            x = X()
            refs.append(weakref.ref(x))
            schedule_remove(None)
        refs = []
        t = tasklet(task)
        t(t)
        t.run()
        refs.append(weakref.ref(t))
        del t
        gc.collect()
        self.assertEqual([r() for r in refs], [None, None])

    def test_unstarted_tasklet_as_its_own_argument(self):
        t = tasklet(nothing)
        t.bind(nothing, (t,), {"t": t})
        r = weakref.ref(t)
        del t
        gc.collect()
        self.assertIsNone(r())

    def test_tempval_is_the_tasklet(self):
        t = tasklet()
        t.tempval = t
        r = weakref.ref(t)
        del t
        gc.collect()
        self.assertIsNone(r())

    @needs_soft
    def test_blocked_on_an_unreachable_channel(self):
        def task(ch):
            x = X()
            refs.append(weakref.ref(x))
            ch.receive()
        refs = []
        ch = channel()
        t = tasklet(task)(ch)
        t.run()
        refs += [weakref.ref(t), weakref.ref(ch)]
        del t, ch
        gc.collect()
        self.assertEqual([r() for r in refs], [None] * 3)

    @needs_soft
    def test_blocked_without_a_frame_on_an_unreachable_channel(self):
        for method, args in (("receive", ()), ("send", (1,))):
            ch = channel()
            t = tasklet(getattr(ch, method))(*args)
            t.run()
            refs = [weakref.ref(t), weakref.ref(ch)]
            del t, ch
            gc.collect()
            self.assertEqual([r() for r in refs], [None] * 2)

    @needs_soft
    def test_several_blocked_on_each_other(self):
        def task(left, right):
            left.receive()
            right.receive()
        channels = [channel() for i in range(5)]
        refs = []
        for i in range(5):
            t = tasklet(task)(channels[i], channels[i - 1])
            t.run()
            refs.append(weakref.ref(t))
        refs += [weakref.ref(ch) for ch in channels]
        del t, channels
        gc.collect()
        self.assertEqual([r() for r in refs], [None] * 10)

    @needs_soft
    def test_a_blocked_sender_and_its_value(self):
        ch = channel()
        x = X()
        x.channel = ch
        t = tasklet(ch.send)(x)
        t.run()
        refs = [weakref.ref(ob) for ob in (ch, x, t)]
        del ch, x, t
        gc.collect()
        self.assertEqual([r() for r in refs], [None] * 3)

    @needs_soft
    def test_a_subclass_of_channel_with_a_dict(self):
        class Sub(channel):
            pass
        ch = Sub()
        ch.self = ch
        t = tasklet(ch.receive)()
        t.run()
        ch.task = t
        refs = [weakref.ref(ch), weakref.ref(t)]
        del ch, t
        gc.collect()
        self.assertEqual([r() for r in refs], [None] * 2)

    def test_a_handled_exception_in_a_suspended_tasklet(self):
        def task():
            try:
                raise Error
            except Error as e:
                refs.append(weakref.ref(e))
                schedule_remove(None)
        refs = []
        t = self.paused(task)
        del t
        gc.collect()
        self.assertIsNone(refs[0]())

    def test_a_bomb_that_leads_back(self):
        t = self.paused(schedule_remove)
        e = Error()
        e.tasklet = t
        t.throw(e, pending=True)
        t.remove()
        r = weakref.ref(e)
        del t, e
        gc.collect()
        self.assertIsNone(r())

    def test_a_trace_function_that_leads_back(self):
        t = tasklet(nothing, ())
        t.trace_function = lambda *args: t
        r = weakref.ref(t)
        del t
        gc.collect()
        self.assertIsNone(r())

    def test_the_reachable_ones_survive_a_collection(self):
        ch = channel()
        log = []
        for i in range(10):
            tasklet(lambda i=i: log.append((i, ch.receive())))()
        stackless.run()
        for i in range(5):
            tasklet(schedule_remove)
            tasklet(log.append)("runnable")
        gc.collect()
        self.assertEqual(ch.balance, -10)
        stackless.run()
        self.assertEqual(log, ["runnable"] * 5)
        del log[:]
        for i in range(10):
            ch.send(i)
        self.assertEqual([value for i, value in log], list(range(10)))
        self.assertTurns([i for i, value in log], list(range(10)))

    def test_reachable_only_through_a_runnable_tasklet(self):
        # channel -> blocked tasklet -> value; the channel itself is known to
        # a local of a runnable tasklet only.
        log = []

        def owner():
            ch = channel()
            tasklet(lambda: log.append(ch.receive()))()
            schedule()
            schedule()
            ch.send("alive")
        tasklet(owner)()
        schedule()
        schedule()
        gc.collect()
        stackless.run()
        self.assertEqual(log, ["alive"])

    def test_collection_in_every_state(self):
        # A collection between any two steps must not change anything.
        ch = channel()
        log = []

        def task(n):
            if n:
                gc.collect()
                task(n - 1)
                return
            schedule()
            gc.collect()
            log.append(ch.receive())
            gc.collect()
            ch.send("back")
            gc.collect()
        t = tasklet(task)(3)
        gc.collect()
        schedule()
        gc.collect()
        schedule()
        gc.collect()
        ch.send("there")
        gc.collect()
        self.assertEqual(ch.receive(), "back")
        gc.collect()
        stackless.run()
        self.assertEqual(log, ["there"])
        self.assertDead(t)

    def test_a_generator_that_owns_a_tasklet_that_runs_it(self):
        def gen():
            yield
            schedule_remove(None)
            yield

        def task(g):
            for x in g:
                pass
        g = gen()
        t = tasklet(task)(g)
        t.run()
        r = weakref.ref(t)
        s = weakref.ref(g)
        del t, g
        gc.collect()
        self.assertEqual((r(), s()), (None, None))

    @needs_soft
    def test_many_blocked_tasklets_are_freed_by_one_collection(self):
        count = many(20_000)
        freed = 0

        def on_free(r):
            nonlocal freed
            freed += 1

        def task(x, ch):
            ch.receive()
        refs = []
        for i in range(count):
            x = X()
            refs.append(weakref.ref(x, on_free))
            tasklet(task)(x, channel())
        del x
        stackless.run()
        if not COLLECTS:
            self.assertEqual(freed, 0)
        gc.collect()
        self.assertEqual(freed, count)

    def test_a_long_chain_is_freed_without_recursion(self):
        # tasklet -> frame -> tasklet -> ...
        def task(other):
            schedule_remove(None)
        t = None
        for i in range(many(20_000)):
            t = tasklet(task)(t)
            t.run()
        r = weakref.ref(t)
        del t
        self.assertIsNone(r())

    def test_a_long_chain_of_unstarted_ones(self):
        t = None
        for i in range(20_000):
            t = tasklet(nothing, (t,))
        r = weakref.ref(t)
        del t
        self.assertIsNone(r())


class ChannelDeath(StacklessTestCase):

    def test_dead_or_alive_but_consistent(self):
        # The program drops the channel while a tasklet that it knows waits.
        ch = channel()
        t = tasklet(ch.receive)()
        t.run()
        del ch
        gc.collect()
        if t.blocked:
            self.assertIsNotNone(t._channel)
            self.assertEqual(t._channel.balance, -1)
            self.assertIs(t._channel.queue, t)
        else:
            self.assertTrue(t.paused)
            self.assertFalse(t.scheduled)
            self.assertIsNone(t._channel)
        t.kill()
        self.assertDead(t)

    def test_a_temporary_channel(self):
        log = []

        def task():
            try:
                channel().receive()
            finally:
                log.append("end")
        t = tasklet(task)()
        t.run()
        self.assertTrue(t.alive)
        gc.collect()
        self.assertTrue(t.alive)
        t.kill()
        self.assertEqual(log, ["end"])
        self.assertDead(t)

    @needs_soft
    def test_a_temporary_channel_and_tasklet(self):
        x = X()
        r = weakref.ref(x)

        def task(x):
            channel().receive()
        tasklet(task)(x)
        del x
        schedule()
        gc.collect()
        self.assertIsNone(r())

    @needs_soft
    def test_a_resurrected_tasklet_of_a_dead_channel(self):
        class Sub(tasklet):
            def __del__(self):
                kept.append(self)
        kept = []
        ch = channel()
        t = Sub(ch.receive)()
        t.run()
        del ch, t
        gc.collect()
        self.assertEqual(len(kept), 1)
        t = kept.pop()
        self.assertTrue(t.alive)
        if t.blocked:
            t._channel.send(1)
        else:
            t.kill()
        self.assertFalse(t.alive)

    @needs_soft
    def test_a_resurrected_channel(self):
        class Sub(channel):
            def __del__(self):
                kept.append(self)
        kept = []
        log = []
        ch = Sub()
        t = self.receiver(ch, log)
        r = weakref.ref(t)
        del ch, t
        gc.collect()
        self.assertEqual(len(kept), 1)
        ch = kept.pop()
        # Weak references are cleared before finalizers run, also for t.
        self.assertIsNone(r())
        self.assertEqual(ch.balance, -1)
        ch.send(1)
        self.assertEqual(log, [1])

    @needs_soft
    def test_closed_channels_are_collected_too(self):
        ch = channel()
        t = self.receiver(ch)
        ch.close()
        refs = [weakref.ref(ch), weakref.ref(t)]
        del ch, t
        gc.collect()
        self.assertEqual([r() for r in refs], [None, None])


class BoundWhileDropped(StacklessTestCase):
    """bind() drops what the tasklet held, which may run code that uses it."""

    def bind_with(self, act, *args):
        """t.bind(*args) while a local variable's __del__ does act(t)."""
        class Acts:
            def __del__(self):
                act(t)

        def task(x):
            schedule_remove(None)
        t = tasklet(task)(Acts())
        t.run()
        try:
            t.bind(*args)
        finally:
            self.assertFalse(t.alive and not (t.paused or t.scheduled))
        return t

    @needs_soft
    def test_bound(self):
        log = []
        t = self.bind_with(lambda t: t.bind(log.append, ("inner",)), log.append, ("outer",))
        self.assertTrue(t.paused)
        t.run()
        self.assertEqual(log, ["outer"])
        t = self.bind_with(lambda t: t.bind(log.append, ("inner",)), None)
        self.assertFalse(t.alive)

    @needs_soft
    def test_inserted(self):
        # It used to break the queue.
        log = []
        for args in ((log.append, ("outer",)), (log.append,), (None,)):
            with self.assertRaisesRegex(RuntimeError, "^tasklet is scheduled$"):
                self.bind_with(lambda t: t.bind(log.append, ("inner",)).insert(), *args)
            self.assertEqual(stackless.runcount, 2)
            stackless.run()
            self.assertEqual(log.pop(), "inner")
        self.assertEqual(log, [])


class Threads(StacklessTestCase):

    def test_main_tasklet_of_an_ended_thread(self):
        import threading
        refs = []

        def thread():
            refs.append(weakref.ref(stackless.getmain()))
        for i in range(3):
            t = threading.Thread(target=thread)
            t.start()
            t.join()
        gc.collect()
        self.assertEqual([r() for r in refs], [None] * 3)

    def test_tasklets_left_in_an_ended_thread(self):
        import threading
        refs = []

        def task(x):
            schedule_remove(None)

        def thread():
            x = X()
            refs.append(weakref.ref(x))
            t = tasklet(task)(x)
            t.run()
            ch = channel()
            tasklet(ch.receive)().run()
            runnable = tasklet(nothing)(x)
            refs.append(weakref.ref(runnable))
        t = threading.Thread(target=thread)
        t.start()
        t.join()
        del t
        gc.collect()
        self.assertEqual([r() for r in refs], [None] * 2)


if __name__ == "__main__":
    unittest.main()
