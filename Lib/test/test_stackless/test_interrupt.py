"""Tasklets that are interrupted everywhere do what they do without: every instruction
once, every event of tracing and monitoring once."""

import contextlib
import dis
import gc
import sys
import unittest

import stackless
from stackless import tasklet

from .support import StacklessTestCase

LIMITS = range(1, 201)


# --- a program with one of everything ---------------------------------------

class Point:
    __slots__ = ("x", "y")

    def __init__(self, x, y=0):
        self.x = x
        self.y = y

    @property
    def length(self):
        return abs(self.x) + abs(self.y)

    def __add__(self, other):
        return Point(self.x + other.x, self.y + other.y)

    def __getitem__(self, i):
        return (self.x, self.y)[i]


class Manager:
    def __init__(self, log, swallow=()):
        self.log = log
        self.swallow = swallow

    def __enter__(self):
        self.log.append("enter")
        return self

    def __exit__(self, kind, value, tb):
        self.log.append(("exit", kind and kind.__name__))
        return kind is not None and issubclass(kind, self.swallow)


@contextlib.contextmanager
def managed(log):
    log.append("managed")
    try:
        yield len(log)
    finally:
        log.append("unmanaged")


def generator(n):
    try:
        for i in range(n):
            got = yield i
            if got:
                yield -got
    finally:
        generator.closed = getattr(generator, "closed", 0) + 1


def delegating(n):
    yield from generator(n)
    return n


async def coroutine(n):
    return sum([i async for i in agenerator(n)])


async def agenerator(n):
    for i in range(n):
        yield i


def await_it(coro):
    try:
        coro.send(None)
    except StopIteration as e:
        return e.value


def calls(a, /, b, *args, c=3, **kwargs):
    return a, b, args, c, sorted(kwargs.items())


def recursive(n):
    return n if n < 2 else recursive(n - 1) + recursive(n - 2)


def raising(n):
    try:
        if n:
            raising(n - 1)
        else:
            raise KeyError(n)
    finally:
        len("")


def cells(n):
    total = 0

    def add(x):
        nonlocal total
        total += x
        return total
    for i in range(n):
        add(i)
    return total, [lambda: i for i in range(2)][0]()


def matching(x):
    match x:
        case Point(x=0):
            return "zero"
        case [first, *rest]:
            return first, rest
        case {"key": value}:
            return value
    return None


def loops(log):
    for i in range(6):
        if i == 1:
            continue
        if i == 4:
            break
        log.append(i)
    else:
        log.append("no")
    while i:
        i -= 1
        if i % 2:
            log.append(i)
    else:
        log.append("else")
    for i in []:
        pass


def generators(log):
    for i in generator(3):
        log.append(i)
    for i in delegating(2):
        log.append(i)
    gen = generator(4)
    log.append([next(gen), gen.send(5), next(gen)])
    gen.close()
    log.append([*generator(2), *(i * i for i in range(3))])
    a, *b = generator(3)
    log.append((a, b, await_it(coroutine(3))))


def exceptions(log):
    try:
        raising(3)
    except KeyError as e:
        log.append(repr(e))
        try:
            raise ValueError from e
        except (TypeError, ValueError) as f:
            log.append(type(f.__context__).__name__)
    for kind in (None, ValueError, KeyError):
        try:
            with Manager(log, (ValueError,)) as m, managed(log) as n:
                log.append(n)
                if kind is not None:
                    raise kind
        except KeyError:
            log.append("key")
    try:
        try:
            int("x")
        finally:
            log.append("finally")
    except ValueError:
        pass
    try:
        raise ExceptionGroup("group", [ValueError(1), KeyError(2)])
    except* ValueError as group:
        log.append(len(group.exceptions))
    except* KeyError:
        log.append("star")


def program(log):
    loops(log)
    generators(log)
    exceptions(log)
    p = Point(1, y=2) + Point(3)
    log.append((p.length, p[0], p[1]))
    log.append(calls(1, *[2, 3], **{"d": 4, "c": 5}))
    log.append(calls(1, 2, e=7))
    log.append(recursive(6))
    log.append(cells(4))
    log.append([matching(x) for x in (Point(0), [1, 2], {"key": 3}, 4)])
    log.append({k: v for k, v in zip("ab", range(2))})
    log.append(sorted([3, 1, 2], key=lambda x: -x))
    log.append(f"{p.x}{p.y:>3}")

    class Local(Point):
        z = [log.append(i) for i in range(2)]
    log.append(Local(5).length)
    del p
    log.append("end")


def long_loop(log):
    for i in range(3):
        log.append(i)


# A loop whose jumps need an EXTENDED_ARG.
exec("def long_loop(log):\n  for i in range(4):\n"
     + "    if i == 2:\n      log.append('two')\n      continue\n"
     + "    log.append(i); log[-1] += 1; x = [log[0], i]; y = x[1] + i\n" * 40)


def run_plainly():
    stackless.run()
    return 0


def run_interrupted(limit, ignore_nesting=False):
    n = 0
    while (t := stackless.run(limit, ignore_nesting=ignore_nesting)) is not None:
        t.insert()
        n += 1
    return n


class ExactlyOnce(StacklessTestCase):

    def results(self, function, run, *args):
        log = []
        tasklet(function)(log)
        return log, run(*args)

    def check(self, function, minimum):
        expected, _ = self.results(function, run_plainly)
        self.results(function, run_interrupted, 1)
        for limit in LIMITS:
            with self.subTest(limit=limit):
                log, n = self.results(function, run_interrupted, limit)
                self.assertEqual(log, expected)
                if limit == 1:
                    self.assertGreater(n, minimum)

    def test_the_program(self):
        self.check(program, 100)

    def test_extended_arguments(self):
        jumps = [i for i in dis.get_instructions(long_loop)
                 if i.opname == "JUMP_BACKWARD"]
        self.assertTrue(all(i.arg > 255 for i in jumps[1:]))
        self.check(long_loop, 5)

    def test_hard(self):
        self.addCleanup(stackless.enable_softswitch, stackless.enable_softswitch(False))
        expected, _ = self.results(program, run_plainly)
        for limit in (*range(1, 30), 50, 100):
            log, _ = self.results(program, run_interrupted, limit)
            self.assertEqual(log, expected)

    def test_within_c_functions(self):
        expected, _ = self.results(program, run_plainly)
        _, n = self.results(program, run_interrupted, 1)
        for limit in (*range(1, 30), 50, 100):
            log, m = self.results(program, run_interrupted, limit, True)
            self.assertEqual(log, expected)
            if limit == 1:
                self.assertGreater(m, n + 20)

    def test_two_at_once(self):
        expected, _ = self.results(program, run_plainly)
        for limit in range(1, 100, 7):
            a, b = [], []
            tasklet(program)(a)
            tasklet(program)(b)
            run_interrupted(limit)
            self.assertEqual((a, b), (expected, expected))

    def test_with_collections(self):
        expected, _ = self.results(program, run_plainly)
        for limit in (1, 10, 50):
            log = []
            tasklet(program)(log)
            while (t := stackless.run(limit)) is not None:
                gc.collect()
                t.insert()
            self.assertEqual(log, expected)

    def test_frames_are_seen(self):
        log = []
        tasklet(program)(log)
        while (t := stackless.run(1)) is not None:
            frame = t.frame
            while frame is not None:
                self.assertIsNotNone(frame.f_lineno)
                self.assertLess(frame.f_lasti, len(frame.f_code.co_code))
                bottom = frame
                frame = frame.f_back
            self.assertIs(bottom.f_code, program.__code__)
            frame = bottom = None
            t.insert()

    def test_recursion_depth(self):
        def task(log):
            depth = stackless.current.recursion_depth
            log.append(depth)
            program([])
            log.append(stackless.current.recursion_depth - depth)
        for limit in (1, 3, 10):
            log, _ = self.results(task, run_interrupted, limit)
            self.assertEqual(log[1], 0)


class Traced(StacklessTestCase):
    """The events of a program, interrupted or not, are the same."""

    def traced(self, function, run, *args):
        events = []

        def trace(frame, event, arg):
            frame.f_trace_opcodes = opcodes
            if event == "exception":
                arg = arg[0].__name__
            elif event != "return" or not isinstance(arg, (int, str, tuple)):
                arg = None
            events.append((frame.f_code.co_name, event, frame.f_lineno, frame.f_lasti,
                           arg))
            return trace

        def task():
            sys.settrace(trace)
            function([])
            sys.settrace(None)

        for opcodes in (False, True):
            tasklet(task)()
            run(*args)
        return events

    def profiled(self, function, run, *args):
        events = []

        def profile(frame, event, arg):
            events.append((frame.f_code.co_name, event, frame.f_lineno, frame.f_lasti,
                           getattr(arg, "__name__", None)))

        def task():
            sys.setprofile(profile)
            function([])
            sys.setprofile(None)
        tasklet(task)()
        run(*args)
        return events

    def monitored(self, function, run, *args):
        events = []
        monitoring = sys.monitoring
        tool = monitoring.PROFILER_ID
        names = [name for name in vars(monitoring.events) if name.isupper()
                 and name != "NO_EVENTS"]

        def callback(name):
            def record(code, *args):
                if code in codes:
                    args = [a if isinstance(a, int) else type(a).__name__ for a in args]
                    events.append((name, code.co_name, *args))
            return record
        codes = {value.__code__ for value in globals().values()
                 if hasattr(value, "__code__")}
        codes -= {run_plainly.__code__, run_interrupted.__code__}
        monitoring.use_tool_id(tool, "test_interrupt")
        try:
            total = 0
            for name in names:
                event = getattr(monitoring.events, name)
                monitoring.register_callback(tool, event, callback(name))
                total |= event
            monitoring.set_events(tool, total)
            tasklet(function)([])
            run(*args)
        finally:
            monitoring.set_events(tool, 0)
            for name in names:
                monitoring.register_callback(
                    tool, getattr(monitoring.events, name), None)
            monitoring.free_tool_id(tool)
        return events

    def check(self, record, function, limits):
        record(function, run_plainly)
        expected = record(function, run_plainly)
        self.assertGreater(len(expected), 100)
        for limit in limits:
            with self.subTest(limit=limit):
                events = record(function, run_interrupted, limit)
                for n, (a, b) in enumerate(zip(events, expected)):
                    self.assertEqual(a, b, (n, events[max(n - 3, 0):n]))
                self.assertEqual(len(events), len(expected))

    def test_settrace(self):
        self.check(self.traced, program, [*range(1, 20), *range(20, 200, 17)])

    def test_settrace_with_extended_arguments(self):
        self.check(self.traced, long_loop, [1, 2, 5, 10, 50, 150])

    def test_setprofile(self):
        self.check(self.profiled, program, [*range(1, 20), *range(20, 200, 9)])

    def test_monitoring(self):
        self.check(self.monitored, program, [*range(1, 20), *range(20, 200, 17)])

    def test_monitoring_with_extended_arguments(self):
        self.check(self.monitored, long_loop, [1, 2, 5, 10, 50, 150])

    def test_a_line_that_begins_right_after_a_switch(self):
        # The instruction that follows the call used to be taken for the one before
        # itself: no LINE event.
        def task():
            sys.settrace(trace)
            x = [
                stackless.schedule(),
                len(""),
                None]
            sys.settrace(None)
            return x

        def trace(frame, event, arg):
            lines.append(frame.f_lineno - task.__code__.co_firstlineno)
            return trace

        def traced():
            sys.settrace(trace)
            task()
        expected = None
        for others in range(2):
            lines = []
            tasklet(traced)()
            for _ in range(others):
                tasklet(len)("")
            stackless.run()
            expected = expected or lines
            self.assertEqual(lines, expected)
        self.assertIn(4, lines)

    def test_disabled_events_stay_disabled(self):
        def jump(code, *args):
            if code is loop.__code__:
                events.append(code.co_name)
            return sys.monitoring.DISABLE

        def loop():
            for i in range(1000):
                len("")
        events = []
        monitoring = sys.monitoring
        tool = monitoring.PROFILER_ID
        monitoring.use_tool_id(tool, "test_interrupt")
        try:
            monitoring.register_callback(tool, monitoring.events.JUMP, jump)
            monitoring.register_callback(tool, monitoring.events.PY_START, jump)
            monitoring.set_events(
                tool, monitoring.events.JUMP | monitoring.events.PY_START)
            tasklet(loop)()
            run_interrupted(2)
        finally:
            monitoring.set_events(tool, 0)
            monitoring.register_callback(tool, monitoring.events.JUMP, None)
            monitoring.register_callback(tool, monitoring.events.PY_START, None)
            monitoring.free_tool_id(tool)
        self.assertEqual(len(events), 2)

    def test_tracing_that_begins_while_it_is_interrupted(self):
        def trace(frame, event, arg):
            events.append(event)
            return trace
        for limit in range(1, 60):
            events = []
            log = []
            t = tasklet(program)(log)
            self.assertIs(stackless.run(limit), t)
            t.trace_function = trace
            t.insert()
            run_interrupted(limit)
            self.assertEqual(log[-1], "end")
            self.assertIn("call", events)

    def test_a_trace_function_that_raises(self):
        def trace(frame, event, arg):
            if event == "call" and frame.f_code is recursive.__code__:
                raise ZeroDivisionError
            return trace

        def task():
            sys.settrace(trace)
            try:
                recursive(3)
            except ZeroDivisionError:
                seen.append(1)
        for limit in range(1, 40):
            seen = []
            tasklet(task)()
            run_interrupted(limit)
            self.assertEqual(seen, [1])

    def test_a_debugger_that_jumps(self):
        def task(log):
            log.append(1)
            for i in range(3):
                log.append(i)
            log.append("end")

        def trace(frame, event, arg):
            if frame.f_code is not task.__code__:
                return None
            first = frame.f_code.co_firstlineno
            if event == "line" and frame.f_lineno == first + 3 and len(jumped) < 2:
                jumped.append(1)
                frame.f_lineno = first + 2
            return trace

        def traced(log):
            sys.settrace(trace)
            task(log)
            sys.settrace(None)
        jumped, expected = [], []
        tasklet(traced)(expected)
        stackless.run()
        for limit in range(1, 40):
            jumped, log = [], []
            tasklet(traced)(log)
            run_interrupted(limit)
            self.assertEqual(log, expected)


if __name__ == "__main__":
    unittest.main()
