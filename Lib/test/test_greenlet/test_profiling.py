"""sys.setprofile() and sys.settrace(): a switch looks like any call of a builtin."""

import sys
import unittest

from greenlet import getcurrent, greenlet

from .support import Error, GreenletTestCase, switch_back


class ProfileTestCase(GreenletTestCase):

    def setUp(self):
        super().setUp()
        self.addCleanup(sys.setprofile, sys.getprofile())
        self.addCleanup(sys.settrace, sys.gettrace())
        self.events = []

    def name(self, frame, event, arg):
        if event.startswith("c_"):
            return event, arg.__name__
        return event, frame.f_code.co_name

    def profile(self, frame, event, arg):
        if frame.f_code is not ProfileTestCase.name.__code__:
            self.events.append(self.name(frame, event, arg))

    def trace(self, frame, event, arg):
        if frame.f_code.co_filename == __file__ and event in ("call", "return", "exception"):
            self.events.append((event, frame.f_code.co_name))
        return self.trace


def body():
    getcurrent().parent.switch(1)
    return 2


def after():
    pass


class Profile(ProfileTestCase):

    def profiled(self, function):
        """The events while *function* runs, its own and setprofile()'s left out."""
        sys.setprofile(self.profile)
        try:
            function()
        finally:
            sys.setprofile(None)
        first, *events, last = self.events
        self.assertEqual(first, ("call", function.__name__))
        self.assertEqual(last, ("c_call", "setprofile"))
        self.assertEqual(events.pop(), ("return", function.__name__))
        return events

    def test_start_suspend_resume_finish(self):
        g = greenlet(body)

        def function():
            g.switch()
            g.switch()
        self.assertEqual(self.profiled(function), [
            ("c_call", "switch"),
            ("call", "body"),
            ("c_call", "getcurrent"), ("c_return", "getcurrent"),
            ("c_call", "switch"),
            ("c_return", "switch"),
            ("c_call", "switch"),
            ("c_return", "switch"),
            ("return", "body"),
            ("c_return", "switch"),
        ])

    def test_throw(self):
        g = self.started(body)

        def function():
            try:
                g.throw(Error)
            except Error:
                pass
        self.assertEqual(self.profiled(function), [
            ("c_call", "throw"),    # and nothing for the switch() that began before
            ("return", "body"),
            ("c_exception", "throw"),
        ])

    def test_set_in_a_greenlet_stays(self):
        def run():
            sys.setprofile(self.profile)
        greenlet(run).switch()
        self.assertIsNotNone(sys.getprofile())
        after()
        sys.setprofile(None)
        self.assertEqual(self.events[:1], [("return", "run")])
        self.assertIn(("call", "after"), self.events)

    def test_set_outside_holds_in_a_suspended_one(self):
        g = self.started(lambda: (switch_back(), after()))
        sys.setprofile(self.profile)
        g.switch()
        sys.setprofile(None)
        self.assertIn(("call", "after"), self.events)

    def test_disabled_by_another(self):
        def profiled():
            sys.setprofile(self.profile)
            switch_back()
            len("")

        def other():
            sys.setprofile(None)
        g = greenlet(profiled)
        g.switch()
        greenlet(other).switch()
        del self.events[:]
        g.switch()
        self.assertEqual(self.events, [])

    def test_balanced(self):
        # Whoever counts calls gets back to where it began.
        depth = {}

        def profile(frame, event, arg):
            g = getcurrent()
            if event == "call":
                depth[g] = depth.get(g, 0) + 1
            elif event == "return":
                depth[g] = depth.get(g, 0) - 1

        def run(n):
            if n:
                run(n - 1)
            else:
                switch_back()
        some = [greenlet(run) for i in range(3)]
        sys.setprofile(profile)
        for g in some:
            g.switch(5)
        for g in some:
            g.switch()
        sys.setprofile(None)
        self.assertEqual([depth[g] for g in some], [0] * 3)


class Trace(ProfileTestCase):

    def test_start_suspend_resume_finish(self):
        g = greenlet(body)
        sys.settrace(self.trace)
        g.switch()
        g.switch()
        sys.settrace(None)
        self.assertEqual(self.events, [("call", "body"), ("return", "body")])

    def test_exception(self):
        g = greenlet(body)
        sys.settrace(self.trace)
        try:
            g.switch()
            g.throw(Error)
        except Error:
            pass
        sys.settrace(None)
        self.assertEqual(self.events, [
            ("call", "body"), ("exception", "body"), ("return", "body")])

    def test_set_in_a_greenlet_stays(self):
        def run():
            sys.settrace(self.trace)

        def traced():
            pass
        greenlet(run).switch()
        self.assertIsNotNone(sys.gettrace())
        traced()
        sys.settrace(None)
        self.assertEqual(self.events, [("call", "traced"), ("return", "traced")])

    def test_lines(self):
        lines = []

        def trace(frame, event, arg):
            if frame.f_code is run.__code__ and event == "line":
                lines.append(frame.f_lineno - run.__code__.co_firstlineno)
            return trace

        def run():
            x = 1
            getcurrent().parent.switch()
            return x
        a, b = greenlet(run), greenlet(run)
        sys.settrace(trace)
        a.switch()
        b.switch()
        a.switch()
        b.switch()
        sys.settrace(None)
        self.assertEqual(lines, [1, 2, 1, 2, 3, 3])

    def test_trace_function_switches(self):
        other = self.started(lambda: [switch_back(i) for i in range(10)])
        got = []

        def trace(frame, event, arg):
            if frame.f_code is traced.__code__:
                got.append(other.switch(event))

        def traced():
            return 1
        sys.settrace(trace)
        traced()
        traced()
        sys.settrace(None)
        self.assertEqual(got, [1, 2])
        other.throw()

    def test_nobody_is_traced_while_the_trace_function_switches(self):
        # As within the trace function itself; gevent's tests want this of its hub.
        def run():
            while True:
                after()
                switch_back()
        other = self.started(run)
        calls = []

        def trace(frame, event, arg):
            calls.append(frame.f_code.co_name)
            if frame.f_code is traced.__code__:
                other.switch()

        def traced():
            return 1
        sys.settrace(trace)
        traced()
        sys.settrace(None)
        self.assertEqual(calls, ["traced"])
        other.throw()


class Monitoring(ProfileTestCase):

    def test_events(self):
        tool = sys.monitoring.PROFILER_ID
        if sys.monitoring.get_tool(tool) is not None:
            self.skipTest("another profiler is at work")
        m = sys.monitoring.events
        log = []
        sys.monitoring.use_tool_id(tool, "test_greenlet")
        try:
            for event, name in (m.PY_START, "start"), (m.PY_RETURN, "return"):
                sys.monitoring.register_callback(
                    tool, event, lambda code, *args, name=name: log.append((name, code)))
                sys.monitoring.set_local_events(tool, body.__code__, m.PY_START | m.PY_RETURN)
            g = greenlet(body)
            g.switch()
            g.switch()
        finally:
            sys.monitoring.set_local_events(tool, body.__code__, 0)
            sys.monitoring.free_tool_id(tool)
        self.assertEqual(log, [("start", body.__code__), ("return", body.__code__)])


if __name__ == "__main__":
    unittest.main()
