"""Trace and profile functions per tasklet; sys.monitoring; cProfile."""

import collections
import cProfile
import io
import pstats
import sys
import unittest

import stackless
from stackless import channel, schedule, schedule_remove, tasklet

from .support import ChildTestCase, StacklessTestCase

# Attributes of a tasklet, the functions of sys, the same events for both.
KINDS = (
    ("trace_function", sys.settrace, sys.gettrace),
    ("profile_function", sys.setprofile, sys.getprofile),
)


class Error(Exception):
    pass


def nothing():
    pass


class Base(StacklessTestCase):

    def setUp(self):
        super().setUp()
        if sys.gettrace() is not None or sys.getprofile() is not None:
            self.skipTest("the test runner itself is traced")
        self.log = []

    def tearDown(self):
        sys.settrace(None)
        sys.setprofile(None)
        super().tearDown()

    def tracer(self, frame, event, arg):
        self.log.append((event, frame.f_code.co_name))
        return self.tracer

    def profiler(self, frame, event, arg):
        name = frame.f_code.co_name
        if event.startswith("c_"):
            name = arg.__name__
        self.log.append((event, name))

    def function(self, kind):
        return self.tracer if kind == "trace_function" else self.profiler


class PerTasklet(Base):

    def test_a_new_tasklet_is_not_traced(self):
        seen = []

        def task():
            seen.append((sys.gettrace(), sys.getprofile()))
            nothing()
        t = tasklet(task)()
        for name, setter, getter in KINDS:
            setter(self.function(name))
        schedule()
        sys.settrace(None)
        sys.setprofile(None)
        self.assertDead(t)
        self.assertEqual(seen, [(None, None)])
        self.assertNotIn(("call", "nothing"), self.log)
        self.assertNotIn(("call", "task"), self.log)

    def test_main_keeps_its_own(self):
        for name, setter, getter in KINDS:
            with self.subTest(name):
                function = self.function(name)
                tasklet(schedule)()
                setter(function)
                schedule()
                during = getter()
                setter(None)
                self.assertEqual(during, function)
                stackless.run()

    def test_set_in_a_tasklet_it_is_the_tasklets(self):
        for name, setter, getter in KINDS:
            with self.subTest(name):
                function = self.function(name)
                del self.log[:]
                seen = []

                def task():
                    setter(function)
                    schedule()
                    seen.append(getter())
                    nothing()
                    setter(None)

                def other():
                    seen.append(getter())
                    nothing()
                    schedule()
                tasklet(task)()
                tasklet(other)()
                stackless.run()
                self.assertEqual(seen, [None, function])
                self.assertIsNone(getter())
                self.assertEqual(self.log.count(("call", "nothing")), 1)
                self.assertNotIn(("call", "other"), self.log)

    def test_attribute_of_the_current_tasklet(self):
        for name, setter, getter in KINDS:
            with self.subTest(name):
                me = stackless.current
                function = self.function(name)
                self.assertIsNone(getattr(me, name))
                setattr(me, name, function)
                during = getter(), getattr(me, name)
                setattr(me, name, None)
                self.assertEqual(during, (function, function))
                self.assertIsNone(getter())
                setter(function)
                during = getattr(me, name)
                setter(None)
                self.assertEqual(during, function)

    def test_attribute_of_a_new_tasklet(self):
        for name, setter, getter in KINDS:
            with self.subTest(name):
                function = self.function(name)
                del self.log[:]
                t = tasklet(nothing)
                self.assertIsNone(getattr(t, name))
                setattr(t, name, function)
                self.assertEqual(getattr(t, name), function)
                t()
                stackless.run()
                self.assertEqual(self.log[0], ("call", "nothing"))
                self.assertEqual(self.log[-1], ("return", "nothing"))

    def test_attribute_of_a_suspended_tasklet(self):
        for name, setter, getter in KINDS:
            with self.subTest(name):
                function = self.function(name)
                del self.log[:]

                def task():
                    schedule_remove()
                    nothing()
                t = self.paused(task)
                setattr(t, name, function)
                self.assertEqual(getattr(t, name), function)
                self.assertIsNone(getter())
                t.run()
                self.assertIn(("call", "nothing"), self.log)
                self.assertIn(("return", "nothing"), self.log)
                self.assertIsNone(getter())

    def test_line_events_in_an_existing_frame(self):
        def task():
            schedule_remove()
            nothing()
        t = self.paused(task)
        t.trace_function = self.tracer
        t.frame.f_trace = self.tracer
        t.run()
        self.assertIn(("line", "task"), self.log)
        self.assertEqual(self.log[-1], ("return", "task"))

    def test_cleared_when_the_tasklet_ends(self):
        for name, setter, getter in KINDS:
            t = tasklet(nothing)
            setattr(t, name, self.function(name))
            t()
            stackless.run()
            self.assertIsNone(getattr(t, name))
            self.assertIsNone(getter())

    def test_cleared_when_the_tasklet_is_killed(self):
        for name, setter, getter in KINDS:
            t = self.paused(schedule_remove)
            setattr(t, name, self.function(name))
            t.kill()
            self.assertIsNone(getattr(t, name))

    def test_set_by_a_destructor_of_the_dying_tasklet(self):
        for name, setter, getter in KINDS:
            with self.subTest(name):
                class D:
                    def __init__(self, function):
                        self.function = function

                    def __del__(self):
                        setattr(stackless.current, name, self.function)

                def task(x):
                    schedule_remove(None)

                def ending(x):
                    del x
                t = self.paused(task, D(self.function(name)))
                t.kill()
                self.assertIsNone(getter())
                self.assertIsNone(getattr(t, name))
                t = tasklet(ending)(D(self.function(name)))
                t.run()
                self.assertIsNone(getter())
                self.assertIsNone(getattr(t, name))

    def test_allowed_on_a_dead_tasklet(self):
        for name, setter, getter in KINDS:
            t = tasklet(nothing)()
            stackless.run()
            setattr(t, name, self.function(name))
            setattr(t, name, None)
            self.assertIsNone(getattr(t, name))

    def test_switched_off_for_a_suspended_one(self):
        for name, setter, getter in KINDS:
            with self.subTest(name):
                def task():
                    setter(self.function(name))
                    schedule_remove()
                    nothing()
                t = self.paused(task)
                setattr(t, name, None)
                del self.log[:]
                t.run()
                self.assertEqual(self.log, [])

    def test_exception_in_a_trace_function(self):
        def bad(frame, event, arg):
            raise Error

        def task():
            nothing()
        t = tasklet(task)
        t.trace_function = bad
        t()
        with self.assertRaises(Error):
            stackless.run()
        self.assertDead(t)
        self.assertIsNone(sys.gettrace())

    def test_the_schedule_callback_may_set_it(self):
        def callback(prev, next):
            prev.trace_function = None
            if next is t:
                next.trace_function = self.tracer

        def task():
            nothing()
            schedule()
            nothing()
        t = tasklet(task)()
        tasklet(nothing)()
        stackless.set_schedule_callback(callback)
        stackless.run()
        stackless.set_schedule_callback(None)
        self.assertIsNone(sys.gettrace())
        self.assertEqual(self.log.count(("call", "nothing")), 2)

    def test_events_of_a_killed_tasklet(self):
        def task():
            schedule_remove()
        t = tasklet(task)
        t.trace_function = self.tracer
        t().run()
        del self.log[:]
        t.kill()
        self.assertEqual(self.log, [("exception", "task"), ("return", "task")])

    def test_line_events_over_switches(self):
        lines = []

        def tracer(frame, event, arg):
            if event == "line" and frame.f_code is task.__code__:
                lines.append(frame.f_lineno - task.__code__.co_firstlineno)
            return tracer

        def task():
            x = 1           # noqa: F841
            schedule()
            y = 2           # noqa: F841
            schedule()
            z = 3           # noqa: F841
        t = tasklet(task)
        t.trace_function = tracer
        t()
        stackless.run()
        self.assertEqual(lines, [1, 2, 3, 4, 5])

    def test_two_traced_tasklets(self):
        logs = {"a": [], "b": []}

        def make(name):
            def tracer(frame, event, arg):
                logs[name].append((event, frame.f_code.co_name,
                                   frame.f_locals.get("name")))
                return tracer
            return tracer

        def task(name):
            nothing()
            schedule()
            nothing()
        for name in "ab":
            t = tasklet(task)
            t.trace_function = make(name)
            t(name)
        stackless.run()
        for name in "ab":
            self.assertEqual({x[2] for x in logs[name]}, {name, None})
            self.assertEqual([x[:2] for x in logs[name]
                              if x[0] in ("call", "return")],
                             [("call", "task"), ("call", "nothing"),
                              ("return", "nothing"), ("call", "nothing"),
                              ("return", "nothing"), ("return", "task")])

    def test_switch_inside_main_s_trace_function(self):
        # The tasklet switched to is traced normally.
        seen = []

        def task():
            sys.settrace(self.tracer)
            nothing()
            sys.settrace(None)
        t = tasklet(task)()

        def tracer(frame, event, arg):
            if frame.f_code is nothing.__code__ and t.alive:
                schedule()
                seen.append(t.alive)
        sys.settrace(tracer)
        nothing()
        sys.settrace(None)
        self.assertEqual(seen, [False])
        self.assertIn(("call", "nothing"), self.log)

    def test_switch_inside_a_tasklets_trace_function(self):
        # C frames lie between: refused, and the tasklet goes on.
        seen = []

        def tracer(frame, event, arg):
            if not seen:
                try:
                    schedule()
                except RuntimeError:
                    seen.append("refused")
                else:
                    seen.append("switched")
            return tracer
        log = []

        def task():
            log.append(1)
        t = tasklet(task)
        t.trace_function = tracer
        t()
        tasklet(log.append)(2)
        stackless.run()
        self.assertEqual(len(seen), 1)
        self.assertEqual(sorted(log), [1, 2])


class Audit(ChildTestCase):
    # A hook cannot be removed again.

    def test_events(self):
        self.run_ok("""
            import sys
            from stackless import *
            def task():
                schedule_remove(None)
            t = tasklet(task)()
            t.run()
            events = []
            def hook(event, args):
                if event in ("sys.settrace", "sys.setprofile", "sys._getframe"):
                    events.append(event)
            sys.addaudithook(hook)
            t.trace_function = None
            t.profile_function = None
            t.frame
            assert events == ["sys.settrace", "sys.setprofile",
                              "sys._getframe"], events
            """)


class Profile(Base):

    def test_c_call_and_c_return_are_paired(self):
        def task():
            for i in range(3):
                schedule()
        t = tasklet(task)
        t.profile_function = self.profiler
        t()
        tasklet(task)()
        stackless.run()
        self.assertEqual(self.log[:-1],
                         [("call", "task")]
                         + [("c_call", "schedule"), ("c_return", "schedule")] * 3)
        self.assertEqual(self.log[-1], ("return", "task"))

    def test_c_exception(self):
        ch = channel()

        def task():
            try:
                ch.receive()
            except Error:
                pass
        t = tasklet(task)
        t.profile_function = self.profiler
        t()
        t.run()
        ch.send_exception(Error)
        self.assertEqual(self.log, [("call", "task"), ("c_call", "receive"),
                                    ("c_exception", "receive"),
                                    ("return", "task")])

    def test_c_exception_of_a_refused_call(self):
        def task():
            try:
                stackless.current.remove()
            except RuntimeError:
                pass
            schedule()
        t = tasklet(task)
        t.profile_function = self.profiler
        t()
        tasklet(nothing)()
        stackless.run()
        events = [x for x in self.log if x[1] in ("remove", "schedule")]
        self.assertEqual(events, [("c_call", "remove"), ("c_exception", "remove"),
                                  ("c_call", "schedule"), ("c_return", "schedule")])

    def test_cprofile_around_run(self):
        def inner():
            schedule()

        def task():
            for i in range(5):
                inner()
        p = cProfile.Profile()
        for i in range(3):
            tasklet(task)()
        p.enable()
        stackless.run()
        nothing()
        p.disable()
        calls = self.calls(p)
        self.assertEqual(calls["nothing"], 1)

    def test_cprofile_in_a_tasklet(self):
        p = cProfile.Profile()

        def inner():
            schedule()

        def task():
            p.enable()
            for i in range(5):
                inner()
            p.disable()
        tasklet(task)()
        tasklet(nothing)()
        stackless.run()
        calls = self.calls(p)
        self.assertEqual(calls["inner"], 5)

    def calls(self, p):
        stats = pstats.Stats(p, stream=io.StringIO()).stats
        return collections.Counter(
            {key[2]: value[1] for key, value in stats.items()})


class Monitoring(StacklessTestCase):

    TOOL = sys.monitoring.PROFILER_ID

    def setUp(self):
        super().setUp()
        sys.monitoring.use_tool_id(self.TOOL, "test")
        self.log = []

    def tearDown(self):
        sys.monitoring.set_events(self.TOOL, 0)
        for event in vars(sys.monitoring.events).values():
            if event:
                sys.monitoring.register_callback(self.TOOL, event, None)
        sys.monitoring.free_tool_id(self.TOOL)
        super().tearDown()

    def watch(self, code, *events):
        """Log the *events* (names) in *code*."""
        mask = 0
        for name in events:
            event = getattr(sys.monitoring.events, name)
            # C_RETURN and C_RAISE come with CALL.
            if name not in ("C_RETURN", "C_RAISE"):
                mask |= event

            def callback(c, *args, name=name):
                if c is code:
                    self.log.append((name, *args))
            sys.monitoring.register_callback(self.TOOL, event, callback)
        sys.monitoring.set_local_events(self.TOOL, code, mask)

    def names(self):
        return [entry[0] for entry in self.log]

    def test_call_and_c_return_over_a_switch(self):
        def task():
            schedule()
            schedule()
        self.watch(task.__code__, "CALL", "C_RETURN", "C_RAISE")
        tasklet(task)()
        tasklet(schedule)()
        stackless.run()
        self.assertEqual(self.names(), ["CALL", "C_RETURN"] * 2)
        self.assertTrue(all(entry[2] is schedule for entry in self.log))

    def test_c_raise_over_a_switch(self):
        ch = channel()

        def task():
            try:
                ch.receive()
            except Error:
                pass
        self.watch(task.__code__, "CALL", "C_RETURN", "C_RAISE")
        tasklet(task)()
        schedule()
        ch.send_exception(Error)
        self.assertEqual(self.names(), ["CALL", "C_RAISE"])
        self.log.clear()        # its entries hold the channel

    def test_start_and_return(self):
        def task():
            schedule()
            return 5
        self.watch(task.__code__, "PY_START", "PY_RETURN")
        for i in range(2):
            tasklet(task)()
        stackless.run()
        self.assertEqual(self.names(), ["PY_START"] * 2 + ["PY_RETURN"] * 2)

    def test_unwind_of_a_killed_tasklet(self):
        def task():
            schedule_remove()
        # PY_UNWIND and RAISE are global events.
        mask = 0
        for name in ("RAISE", "PY_UNWIND"):
            event = getattr(sys.monitoring.events, name)
            mask |= event

            def callback(code, offset, exc, name=name):
                if code is task.__code__:
                    self.log.append((name, type(exc).__name__))
            sys.monitoring.register_callback(self.TOOL, event, callback)
        t = self.paused(task)
        sys.monitoring.set_events(self.TOOL, mask)
        t.kill()
        sys.monitoring.set_events(self.TOOL, 0)
        self.assertEqual(self.log, [("RAISE", "TaskletExit"),
                                    ("PY_UNWIND", "TaskletExit")])

    def test_no_raise_event_for_a_switch(self):
        seen = []

        def callback(code, offset, exc):
            seen.append(exc)
        sys.monitoring.register_callback(
            self.TOOL, sys.monitoring.events.RAISE, callback)

        def task():
            schedule()
        tasklet(task)()
        tasklet(task)()
        sys.monitoring.set_events(self.TOOL, sys.monitoring.events.RAISE)
        stackless.run()
        sys.monitoring.set_events(self.TOOL, 0)
        self.assertEqual(seen, [])

    def test_lines(self):
        def task():
            schedule()
            schedule()
            nothing()
        self.watch(task.__code__, "LINE")
        tasklet(task)()
        tasklet(schedule)()
        stackless.run()
        first = task.__code__.co_firstlineno
        self.assertEqual([line - first for name, line in self.log], [1, 2, 3])

    def test_switched_on_while_suspended(self):
        # Every frame of the suspended chain notices it at its resumption.
        def outer():
            inner()
            nothing()

        def inner():
            schedule_remove()
            nothing()
        t = self.paused(outer)
        log = []
        sys.monitoring.register_callback(
            self.TOOL, sys.monitoring.events.LINE,
            lambda code, line: log.append((code.co_name,
                                           line - code.co_firstlineno)))
        for f in (outer, inner):
            sys.monitoring.set_local_events(
                self.TOOL, f.__code__, sys.monitoring.events.LINE)
        t.run()
        self.assertEqual(log, [("inner", 2), ("outer", 2)])

    def test_switched_on_globally_while_suspended(self):
        def outer():
            inner()
            nothing()

        def inner():
            schedule_remove()
            nothing()
        t = self.paused(outer)
        log = []

        def callback(code, line):
            if code in (outer.__code__, inner.__code__):
                log.append((code.co_name, line - code.co_firstlineno))
        sys.monitoring.register_callback(
            self.TOOL, sys.monitoring.events.LINE, callback)
        sys.monitoring.set_events(self.TOOL, sys.monitoring.events.LINE)
        t.run()
        sys.monitoring.set_events(self.TOOL, 0)
        self.assertEqual(log, [("inner", 2), ("outer", 2)])

    def test_switched_off_while_suspended(self):
        def outer():
            inner()
            nothing()

        def inner():
            schedule_remove()
            nothing()
        self.watch(inner.__code__, "LINE", "CALL", "C_RETURN")
        t = self.paused(outer)
        sys.monitoring.set_local_events(self.TOOL, inner.__code__, 0)
        del self.log[:]
        t.run()
        self.assertEqual(self.log, [])
        self.assertDead(t)

    def test_switched_on_by_another_while_main_waits(self):
        # main's chain is below the dispatcher; its frames notice it too.
        log = []

        def callback(code, line):
            if code is wait.__code__:
                log.append(line - code.co_firstlineno)

        def wait():
            stackless.run()
            nothing()

        def task():
            sys.monitoring.set_events(self.TOOL, sys.monitoring.events.LINE)
        sys.monitoring.register_callback(
            self.TOOL, sys.monitoring.events.LINE, callback)
        tasklet(task)()
        wait()
        sys.monitoring.set_events(self.TOOL, 0)
        self.assertEqual(log, [2])

    def test_on_and_off_at_every_step(self):
        def task():
            for i in range(20):
                schedule()
                nothing()
        t = tasklet(task)()
        u = tasklet(task)()
        events = sys.monitoring.events
        i = 0
        while stackless.runcount > 1:
            sys.monitoring.set_local_events(
                self.TOOL, task.__code__,
                (events.LINE | events.CALL | events.PY_RETURN) if i % 2 else 0)
            schedule()
            i += 1
        self.assertDead(t)
        self.assertDead(u)

    def test_disable_in_a_callback(self):
        def task():
            for i in range(5):
                schedule()
        count = 0

        def callback(*args):
            nonlocal count
            count += 1
            return sys.monitoring.DISABLE
        sys.monitoring.register_callback(
            self.TOOL, sys.monitoring.events.LINE, callback)
        sys.monitoring.set_local_events(
            self.TOOL, task.__code__, sys.monitoring.events.LINE)
        sys.monitoring.restart_events()
        task()
        expected, count = count, 0
        sys.monitoring.restart_events()
        tasklet(task)()
        tasklet(task)()
        stackless.run()
        self.assertEqual(count, expected)

    def test_instructions(self):
        def task():
            schedule()
            nothing()
        self.watch(task.__code__, "INSTRUCTION")
        tasklet(task)()
        tasklet(schedule)()
        stackless.run()
        offsets = [entry[1] for entry in self.log]
        # A switch neither repeats nor loses an instruction.
        self.assertEqual(offsets, sorted(set(offsets)))
        del self.log[:]
        task()
        self.assertEqual([entry[1] for entry in self.log], offsets)

    def test_a_callback_that_switches_in_main(self):
        order = []
        t = tasklet(order.append)("task")

        def callback(code, offset):
            if t.alive:
                schedule()
                order.append("callback")
        sys.monitoring.register_callback(
            self.TOOL, sys.monitoring.events.PY_START, callback)

        def f():
            order.append("f")
        sys.monitoring.set_local_events(
            self.TOOL, f.__code__, sys.monitoring.events.PY_START)
        f()
        self.assertEqual(order, ["task", "callback", "f"])


if __name__ == "__main__":
    unittest.main()
