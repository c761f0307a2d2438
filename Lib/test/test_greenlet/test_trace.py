"""settrace(): events for every transfer, and what the trace function may do."""

import sys
import unittest

import greenlet as module
from greenlet import GreenletExit, getcurrent, gettrace, greenlet, settrace

from .support import Error, GreenletTestCase, catch, echo, in_thread, switch_back


class TraceTestCase(GreenletTestCase):

    def setUp(self):
        super().setUp()
        self.addCleanup(settrace, None)

    def trace(self):
        """Trace from now on; the list of events (event, origin, target)."""
        events = []
        settrace(lambda event, args: events.append((event, *args)))
        return events


class Setting(TraceTestCase):

    def test_returns_the_previous(self):
        def tracer(event, args):
            pass
        self.assertIsNone(settrace(tracer))
        self.assertIs(gettrace(), tracer)
        self.assertIs(settrace(None), tracer)
        self.assertIsNone(gettrace())
        self.assertIsNone(settrace(None))

    def test_class_attributes(self):
        def tracer(event, args):
            pass
        self.assertIsNone(greenlet.settrace(tracer))
        self.assertIs(module.gettrace(), tracer)
        self.assertIs(greenlet.gettrace(), tracer)

    def test_not_callable(self):
        settrace(5)
        self.assertEqual(gettrace(), 5)
        with self.assertRaisesRegex(TypeError, "^'int' object is not callable$"):
            getcurrent().switch()
        self.assertIsNone(gettrace())

    def test_per_thread(self):
        events = self.trace()
        g = greenlet(lambda: gettrace())
        self.assertIsNone(in_thread(lambda: (gettrace(), greenlet(echo).switch(None))[0]))
        self.assertEqual(events, [])
        self.assertIsNotNone(g.switch())
        self.assertEqual(len(events), 2)

    def test_refcount(self):
        def tracer(event, args):
            pass
        before = sys.getrefcount(tracer)
        settrace(tracer)
        greenlet(echo).switch(None)
        settrace(None)
        self.assertEqual(sys.getrefcount(tracer), before)


class Events(TraceTestCase):

    def test_start_switch_finish(self):
        main = getcurrent()
        g = greenlet(switch_back)
        events = self.trace()
        g.switch()
        g.switch()
        self.assertEqual(events, [("switch", main, g), ("switch", g, main)] * 2)

    def test_argument_types(self):
        got = []
        settrace(lambda *args: got.append(args))
        greenlet(echo).switch(None)
        for event, args in got:
            self.assertIs(type(event), str)
            self.assertIs(type(args), tuple)
            self.assertEqual(len(args), 2)

    def test_throw(self):
        main = getcurrent()
        g = self.started(switch_back)
        events = self.trace()
        with self.assertRaises(Error):
            g.throw(Error)
        self.assertEqual(events, [("throw", main, g), ("throw", g, main)])

    def test_uncaught(self):
        def run():
            raise Error
        main = getcurrent()
        g = greenlet(run)
        events = self.trace()
        with self.assertRaises(Error):
            g.switch()
        self.assertEqual(events, [("switch", main, g), ("throw", g, main)])

    def test_exit_ends_with_switch(self):
        main = getcurrent()
        g = self.started(switch_back)
        events = self.trace()
        g.throw()
        self.assertEqual(events, [("throw", main, g), ("switch", g, main)])

    def test_throw_into_pending(self):
        main = getcurrent()
        g = greenlet(echo)
        events = self.trace()
        with self.assertRaises(Error):
            g.throw(Error)
        self.assertEqual(events, [("throw", main, g), ("throw", g, main)])

    def test_self(self):
        main = getcurrent()
        events = self.trace()
        main.switch()
        with self.assertRaises(Error):
            main.throw(Error)
        self.assertEqual(events, [("switch", main, main), ("throw", main, main)])

    def test_dead(self):
        main = getcurrent()
        g = greenlet(lambda: None)
        g.switch()
        events = self.trace()
        g.switch()
        with self.assertRaises(Error):
            g.throw(Error)
        g.throw(GreenletExit)
        self.assertEqual(events[:2], [("switch", main, main), ("throw", main, main)])
        self.assertEqual(events[2][1:], (main, main))

    def test_failed_start_is_none(self):
        events = self.trace()
        with self.assertRaises(AttributeError):
            greenlet().switch()
        with self.assertRaises(TypeError):
            getcurrent().throw(5)
        self.assertEqual(events, [])

    def test_deleted_greenlet(self):
        main = getcurrent()
        g = self.started(switch_back)
        address = id(g)
        events = []
        settrace(lambda event, args: events.append((event, *map(id, args))))
        del g
        self.assertEqual(events, [("throw", id(main), address), ("switch", address, id(main))])

    def test_in_the_target_before_run(self):
        log = []

        def tracer(event, args):
            log.append(getcurrent())

        def run():
            log.append("run")
        main = getcurrent()
        g = greenlet(run)
        settrace(tracer)
        g.switch()
        settrace(None)
        self.assertEqual(log, [g, "run", main])

    def test_exception_is_not_seen(self):
        log = []
        settrace(lambda event, args: log.append((event, sys.exc_info()[0])))

        def run():
            raise Error
        with self.assertRaises(Error):
            greenlet(run).switch()
        self.assertEqual(log, [("switch", None), ("throw", None)])

    def test_python_tracing_is_off_meanwhile(self):
        calls = []

        def profiler(frame, event, arg):
            if frame.f_code is tracer.__code__:
                calls.append(event)

        def tracer(event, args):
            len("")
        settrace(tracer)
        self.addCleanup(sys.setprofile, None)
        sys.setprofile(profiler)
        greenlet(lambda: None).switch()
        sys.setprofile(None)
        self.assertEqual(calls, [])


class Failing(TraceTestCase):

    def failing(self, on_call=1):
        calls = []

        def tracer(event, args):
            calls.append(event)
            if len(calls) == on_call:
                raise Error("tracer")
        settrace(tracer)
        return calls

    def test_first_switch(self):
        log = []
        g = greenlet(lambda: log.append("run"))
        calls = self.failing()
        with self.assertRaisesRegex(Error, "^tracer$"):
            g.switch()
        self.assertIsNone(gettrace())
        self.assertEqual(log, [])
        self.assertEqual(calls, ["switch"])
        self.assertDead(g)

    def test_resumed(self):
        log = []
        g = self.started(catch, log)
        self.failing()
        g.switch("lost")
        self.assertEqual(str(log), "[Error('tracer')]")
        self.assertIsNone(gettrace())

    def test_instead_of_the_exception(self):
        log = []
        g = self.started(catch, log)
        self.failing()
        g.throw(KeyError)
        self.assertEqual(str(log), "[Error('tracer')]")

    def test_on_the_way_back(self):
        g = greenlet(lambda: "value")
        self.failing(2)
        with self.assertRaisesRegex(Error, "^tracer$"):
            g.switch()
        self.assertDead(g)
        self.assertIsNone(gettrace())

    def test_self_switch(self):
        self.failing()
        with self.assertRaises(Error):
            getcurrent().switch()
        self.assertIsNone(gettrace())


class Reentrant(TraceTestCase):
    """The trace function switches, and the values still arrive where they belong."""

    def test_switches_elsewhere(self):
        log = []
        other = self.started(echo, 0)
        busy = []

        def tracer(event, args):
            if not busy:
                busy.append(1)
                other.parent = getcurrent()
                log.append(other.switch(args[0] is main))
                busy.clear()
        main = getcurrent()
        g = self.started(lambda: [switch_back(i) for i in range(3)])
        settrace(tracer)
        self.assertEqual(g.switch("a"), 1)
        self.assertEqual(g.switch("b"), 2)
        self.assertEqual(g.switch("c"), ["a", "b", "c"])
        settrace(None)
        other.parent = main
        self.assertEqual(log, [True, False] * 3)

    def test_exception_in_flight(self):
        log = []
        other = self.started(echo, 0)
        main = getcurrent()
        busy = []

        def tracer(event, args):
            if not busy:
                busy.append(1)
                other.parent = getcurrent()
                log.append(other.switch(event))
                busy.clear()
        got = []
        g = self.started(catch, got)
        settrace(tracer)
        g.throw(Error, "in flight")
        settrace(None)
        other.parent = main
        self.assertEqual(str(got), "[Error('in flight')]")
        self.assertEqual(log, ["throw", "switch"])

    def test_removes_itself(self):
        calls = []

        def tracer(event, args):
            calls.append(event)
            settrace(None)
        settrace(tracer)
        self.assertEqual(greenlet(lambda x: x).switch(1), 1)
        self.assertEqual(calls, ["switch"])

    def test_creates_and_runs_others(self):
        results = []

        def tracer(event, args):
            settrace(None)
            results.append(greenlet(lambda: 5).switch())
            settrace(tracer)
        settrace(tracer)
        self.assertEqual(greenlet(lambda x: x).switch(1), 1)
        settrace(None)
        self.assertEqual(results, [5, 5])


if __name__ == "__main__":
    unittest.main()
