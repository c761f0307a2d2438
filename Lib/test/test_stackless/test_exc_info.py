"""The handled exceptions of tasklets that are suspended: within generators and
coroutines, where they are the generator's, and elsewhere, where they are the tasklet's.
"""

import gc
import itertools
import sys
import threading
import unittest
import weakref

import stackless
from stackless import channel, schedule, schedule_remove, tasklet

from .support import StacklessTestCase, needs_soft


class Mine(Exception):
    pass


def below(depth, f):
    """f(), called so many frames further up."""
    return below(depth - 1, f) if depth else f()


def handling(exc, depth=0, turns=3, wait=schedule):
    """A generator that switches while it handles exc; yields what it sees."""
    try:
        raise exc
    except type(exc):
        for _ in range(turns):
            below(depth, wait)
            yield sys.exception()


def nested(*args, **kwargs):
    yield from handling(*args, **kwargs)


def plainly(exc, depth=0, turns=3, wait=schedule):
    """The same, but no generator: a list."""
    result = []
    try:
        raise exc
    except type(exc):
        for _ in range(turns):
            below(depth, wait)
            result.append(sys.exception())
    return result


def between(exc, depth=0):
    """The same, of which every other turn is in a generator that handles another one."""
    result = []
    try:
        raise exc
    except type(exc):
        for _ in handling(KeyError(), depth):
            below(depth, schedule)
            result.append(sys.exception())
    return result


class Switches(StacklessTestCase):

    def each_sees_its_own(self, generators):
        seen = []

        def task(i, gen, exc):
            for found in gen(exc):
                seen.append((i, found is exc, sys.exception()))
            seen.append((i, True, sys.exception()))

        for i, gen in enumerate(generators):
            tasklet(task)(i, gen, Mine(i))
        stackless.run()
        self.assertEqual(len(seen), 4 * len(generators))
        self.assertEqual([s for s in seen if s[1:] != (True, None)], [])

    def test_in_generators(self):
        self.each_sees_its_own([handling] * 3)

    def test_in_generators_and_outside(self):
        self.each_sees_its_own([handling, plainly, nested, plainly])

    def test_outside_of_generators(self):
        self.each_sees_its_own([plainly] * 3)

    def test_around_generators(self):
        self.each_sees_its_own([between, plainly, between, handling])

    def test_deep_outside_of_generators(self):
        self.each_sees_its_own(
            [lambda exc, depth=depth: plainly(exc, depth) for depth in range(20)]
            + [lambda exc: between(exc, 20)])

    def test_so_deep_that_the_depth_is_kept_elsewhere(self):
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(50_000)
        self.addCleanup(sys.setrecursionlimit, limit)
        self.each_sees_its_own(
            [lambda exc, gen=gen, depth=depth: gen(exc, depth)
             for gen in (plainly, between, handling) for depth in (8_000, 9_000, 40_000)])

    def test_some_handle_nothing(self):
        def nothing(exc):
            for _ in range(3):
                schedule()
                self.assertIsNone(sys.exception())
                yield exc
        self.each_sees_its_own([nothing, plainly, nothing, between, nothing])

    def test_finished_while_another_one_handles(self):
        seen = []

        def ends():
            seen.append(sys.exception())

        def starts(exc):
            try:
                raise exc
            except Mine:
                tasklet(ends)()
                schedule()
                seen.append(sys.exception() is exc)
            seen.append(sys.exception())
        tasklet(starts)(Mine())
        stackless.run()
        self.assertEqual(seen, [None, True, None])

    def test_interrupted(self):
        seen = []

        def busy(exc):
            try:
                raise exc
            except Mine:
                while len(seen) < 3:
                    pass
                seen.append(sys.exception() is exc)
            seen.append(sys.exception())
        for _ in range(2):
            tasklet(busy)(Mine())
        while len(seen) < 3:
            t = stackless.run(500)
            self.assertIsNotNone(t)
            seen.append(sys.exception())
            t.insert()
        stackless.run()
        self.assertEqual(seen, [None] * 3 + [True, None] * 2)

    def test_let_go_when_handled(self):
        gone = []

        def task(turns):
            for _ in range(turns):
                thing = Mine()
                ref = weakref.ref(thing)
                gone.append(ref)
                try:
                    raise thing
                except Mine:
                    del thing
                    schedule()
                self.assertIsNone(ref())
                schedule()
        for turns in 1, 2, 3:
            tasklet(task)(turns)
        stackless.run()
        self.assertEqual([ref() for ref in gone], [None] * 6)

    def test_far_from_the_generator(self):
        self.each_sees_its_own(
            [lambda exc, depth=depth: handling(exc, depth) for depth in range(20)])

    def test_sometimes_far(self):
        depths = itertools.cycle([0, 30])

        def gen(exc):
            for _ in range(3):
                yield from handling(exc, next(depths), 1)
        self.each_sees_its_own([gen] * 2)

    def test_in_coroutines(self):
        seen = []

        async def inner(exc):
            try:
                raise exc
            except Mine:
                schedule()
                return sys.exception() is exc

        async def outer(exc):
            seen.append(await inner(exc))
            schedule()
            seen.append(sys.exception())

        def task():
            try:
                outer(Mine()).send(None)
            except StopIteration:
                pass
        for _ in range(2):
            tasklet(task)()
        stackless.run()
        self.assertEqual(seen, [True, True, None, None])

    def test_on_channels(self):
        ch = channel()
        self.each_sees_its_own([
            lambda exc: handling(exc, wait=lambda: ch.send(1)),
            lambda exc: handling(exc, wait=ch.receive)])
        self.each_sees_its_own([
            lambda exc: plainly(exc, wait=lambda: ch.send(1)),
            lambda exc: plainly(exc, wait=ch.receive)])
        for preference in -1, 0, 1:
            ch.preference = preference

            def sending(exc):
                result = []
                try:
                    raise exc
                except Mine:
                    for i in range(3):
                        ch.send(i)
                        result.append(sys.exception())
                return result

            def receiving(exc):
                result = []
                try:
                    raise exc
                except Mine:
                    for i in range(3):
                        self.assertEqual(ch.receive(), i)
                        result.append(sys.exception())
                return result
            self.each_sees_its_own([sending, receiving])
            self.each_sees_its_own([receiving, sending])

    def test_below_c_functions(self):
        def through_map(exc):
            return list(map(lambda _: next(handling(exc)), range(3)))
        self.each_sees_its_own([through_map, handling, nested, through_map])

    def test_traced_in_between(self):
        def gen(exc):
            for found in handling(exc):
                sys.settrace(lambda *args: None)
                schedule()
                sys.settrace(None)
                yield found
        self.each_sees_its_own([gen, handling, gen])

    def test_a_new_exception_is_chained(self):
        results = []

        def gen(exc):
            try:
                raise exc
            except Mine:
                schedule()
                yield 1 / 0

        def task(exc):
            try:
                for _ in gen(exc):
                    pass
            except ZeroDivisionError as e:
                results.append(e.__context__ is exc and exc.__context__ is None)
        for i in range(2):
            tasklet(task)(Mine(i))
        stackless.run()
        self.assertEqual(results, [True, True])

    def test_depth_of_recursion(self):
        depths = []

        def gen():
            schedule_remove()
            yield stackless.current.recursion_depth
        ts = [tasklet(lambda: depths.extend(gen()))() for _ in range(2)]
        stackless.run()
        self.assertEqual([t.recursion_depth for t in ts], [2, 2])
        for t in ts:
            t.run()
        self.assertEqual(depths, [2, 2])


class Suspended(StacklessTestCase):

    RESUMED = [(7,), None, "finally"]
    YIELDS = ["gen"]

    def setUp(self):
        super().setUp()
        self.log = []

    def suspend(self, depth=0):
        """A tasklet that waits in a generator which handles Mine(7)."""
        def gen():
            try:
                raise Mine(7)
            except Mine:
                try:
                    below(depth, schedule_remove)
                    self.log.append(sys.exception().args)
                    yield
                finally:
                    self.log.append("finally")

        def task():
            try:
                for _ in gen():
                    self.log.append(sys.exception())
            except BaseException as e:
                self.log.append(type(e))
                raise
        t = tasklet(task)()
        t.run()
        return t

    def test_resumed(self):
        self.suspend().run()
        self.assertEqual(self.log, self.RESUMED)

    def test_throw(self):
        for depth in 0, 20:
            with self.subTest(depth=depth):
                self.log.clear()
                t = self.suspend(depth)
                with self.assertRaises(KeyError):
                    t.throw(KeyError)
                self.assertEqual(self.log, ["finally", KeyError])
                self.assertIsNone(sys.exception())

    def test_kill(self):
        self.suspend().kill()
        self.assertEqual(self.log, ["finally", TaskletExit])

    def test_kill_pending(self):
        t = self.suspend()
        t.kill(pending=True)
        schedule()
        self.assertEqual(self.log, ["finally", TaskletExit])

    def test_gets_a_trace_function(self):
        events = []
        t = self.suspend()
        t.trace_function = lambda frame, event, arg: events.append(event)
        t.run()
        self.assertEqual(self.log, self.RESUMED)

    def test_monitoring_begins(self):
        tool = 4
        yields = []
        sys.monitoring.use_tool_id(tool, "test")
        self.addCleanup(sys.monitoring.free_tool_id, tool)
        t = self.suspend()
        event = sys.monitoring.events.PY_YIELD
        sys.monitoring.register_callback(
            tool, event, lambda code, *args: yields.append(code.co_name))
        sys.monitoring.set_events(tool, event)
        t.run()
        sys.monitoring.set_events(tool, 0)
        sys.monitoring.register_callback(tool, event, None)
        self.assertEqual(yields, self.YIELDS)
        self.assertEqual(self.log, self.RESUMED)

    @needs_soft
    def test_goes_on_in_another_thread(self):
        for depth in 0, 20:
            with self.subTest(depth=depth):
                self.log.clear()
                t = self.suspend(depth)

                def run():
                    t.bind_thread()
                    t.insert()
                    stackless.run()
                    self.log.append(sys.exception())
                thread = threading.Thread(target=run)
                thread.start()
                thread.join()
                self.assertEqual(self.log, self.RESUMED + [None])

    def handles(self, thing):
        def gen():
            try:
                raise Mine(thing)
            except Mine:
                schedule_remove()
                yield
        list(next(gen()))

    def test_dropped(self):
        class Thing:
            pass
        thing = Thing()
        gone = weakref.ref(thing)
        t = tasklet(self.handles)(thing)
        t.run()
        del thing, t
        gc.collect()
        self.assertIsNone(gone())
        self.assertIsNone(sys.exception())


class SuspendedOutside(Suspended):
    """The same outside of generators."""

    RESUMED = [(7,), "finally", None]
    YIELDS = []

    def suspend(self, depth=0):
        def handle():
            try:
                raise Mine(7)
            except Mine:
                try:
                    below(depth, schedule_remove)
                    self.log.append(sys.exception().args)
                finally:
                    self.log.append("finally")

        def task():
            try:
                handle()
                self.log.append(sys.exception())
            except BaseException as e:
                self.log.append(type(e))
                raise
        t = tasklet(task)()
        t.run()
        return t

    def handles(self, thing):
        try:
            raise Mine(thing)
        except Mine:
            schedule_remove()

    @needs_soft
    def test_in_a_cycle(self):
        class Thing:
            pass
        thing = Thing()
        gone = weakref.ref(thing)
        t = tasklet(self.handles)(thing)
        t.run()
        thing.tasklet = t
        del thing, t
        gc.collect()
        self.assertIsNone(gone())


if __name__ == "__main__":
    unittest.main()
