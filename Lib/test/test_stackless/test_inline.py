"""What instructions do in a tasklet is what they do in main, and it can be suspended.

Each construct is run cold (code that was never run before), warm, traced and
monitored; its result, its errors and the events that tools see must be those of main.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import re
import sys
import types
import unittest

import stackless
from stackless import channel, schedule, schedule_remove, tasklet

from . import soft_table
from .constructs import SOFT, WARM
from .constructs_inline import INLINED
from .soft_table import fresh
from .support import StacklessTestCase, needs_soft, reset_scheduler

TABLES = {**SOFT, **WARM, **INLINED}


class Error(Exception):
    pass


def in_main(f):
    return f()


def in_tasklet(f):
    box = []
    tasklet(lambda: box.append(f()))()
    stackless.run()
    return box[0]


def positions(tb):
    """Where the traceback passes through constructs, the callers left out."""
    result = []
    while tb is not None:
        code = tb.tb_frame.f_code
        if "constructs" in code.co_filename or code.co_filename == "<bad>":
            result.append((code.co_name, tb.tb_lineno, tb.tb_lasti))
        tb = tb.tb_next
    return result


def describe(exc):
    if exc is None:
        return None
    attributes = [getattr(exc, name, None) for name in ("name", "value")]
    if isinstance(exc, StopIteration):
        attributes.append(exc.args)
    message = re.sub("0x[0-9a-f]+", "0x...", str(exc))
    return (type(exc), message, attributes, positions(exc.__traceback__),
            describe(exc.__cause__), describe(exc.__context__), exc.__suppress_context__)


def outcome(f):
    try:
        return "value", f()
    except Exception as e:
        return "error", describe(e)


@functools.cache
def lines(code):
    return [position[0] for position in code.co_positions()]


class Monitor:
    """Records all events of sys.monitoring in the code of constructs."""

    tool = 4

    def __init__(self):
        self.events = []
        names = [n for n in dir(sys.monitoring.events)
                 if n.isupper() and n not in ("NO_EVENTS", "C_RETURN", "C_RAISE")]
        self.all = {n: getattr(sys.monitoring.events, n) for n in names}
        self.all["C_RETURN"] = sys.monitoring.events.C_RETURN
        self.all["C_RAISE"] = sys.monitoring.events.C_RAISE

    def callback(self, name):
        def record(code, *args):
            if "constructs" in code.co_filename:
                if name in ("RAISE", "RERAISE", "PY_UNWIND"):
                    # CPython tells another instruction where it has specialised.
                    args = lines(code)[args[0] // 2], *args[1:]
                self.events.append((name, code.co_name, *map(self.simple, args)))
        return record

    @staticmethod
    def simple(arg):
        if isinstance(arg, (int, str, bool, types.NoneType)):
            return arg
        return getattr(arg, "__qualname__", None) or type(arg).__qualname__

    def __enter__(self):
        sys.monitoring.use_tool_id(self.tool, "test")
        mask = 0
        for name, event in self.all.items():
            sys.monitoring.register_callback(self.tool, event, self.callback(name))
            if not name.startswith("C_R"):
                mask |= event
        sys.monitoring.set_events(self.tool, mask)
        return self

    def __exit__(self, *args):
        sys.monitoring.set_events(self.tool, 0)
        for event in self.all.values():
            sys.monitoring.register_callback(self.tool, event, None)
        sys.monitoring.free_tool_id(self.tool)


class Tracer:
    """Records what sys.settrace() tells of the code of constructs."""

    def __init__(self):
        self.events = []

    def __call__(self, frame, event, arg):
        if "constructs" in frame.f_code.co_filename:
            back = frame.f_back
            self.events.append((event, frame.f_code.co_name, frame.f_lineno,
                                back.f_code.co_name if back else None,
                                back.f_lineno if event == "call" and back else None,
                                Monitor.simple(arg) if event != "exception"
                                else arg[0].__name__))
        return self

    def __enter__(self):
        sys.settrace(self)
        return self

    def __exit__(self, *args):
        sys.settrace(None)


class Profiler(Tracer):
    def __enter__(self):
        sys.setprofile(self)
        return self

    def __exit__(self, *args):
        sys.setprofile(None)


class SameAsInMain(StacklessTestCase):
    maxDiff = None

    def each(self, make, table=TABLES):
        """make(construct) returns a function whose value must be the same."""
        for name, construct in table.items():
            with self.subTest(construct=name):
                expected = in_main(make(construct))
                self.assertEqual(in_tasklet(make(construct)), expected)

    def test_values(self):
        self.each(lambda construct: lambda: outcome(
            lambda: fresh(construct)(lambda: 42)))

    def test_errors(self):
        def fail():
            raise Error(5)

        def make(construct):
            return lambda: outcome(lambda: fresh(construct)(fail))
        self.each(make)

    def test_errors_that_mean_something(self):
        # To a loop, a missing attribute, a mapping, an operator.
        for exception, *args in ((StopIteration,), (StopIteration, 3), (KeyError,),
                                 (AttributeError, "x"), (StopAsyncIteration,),
                                 (TypeError, "y"), (GeneratorExit,), (IndexError,)):
            def fail():
                raise exception(*args)

            def make(construct):
                def run():
                    try:
                        return outcome(lambda: fresh(construct)(fail))
                    except BaseException as e:
                        return describe(e)
                return run
            with self.subTest(exception=exception):
                self.each(make)

    def test_nested_calls_see_the_same_callers(self):
        def callers():
            frame = sys._getframe(1)
            result = []
            while frame is not None and "constructs" in frame.f_code.co_filename:
                result.append((frame.f_code.co_name, frame.f_lineno, frame.f_lasti))
                frame = frame.f_back
            return result
        self.each(lambda construct: lambda: fresh(construct)(callers))

    def record(self, recorder):
        def make(construct):
            def run():
                f = fresh(construct)
                with recorder() as r:
                    f(lambda: 42)
                return r.events
            return run
        self.each(make)

    def test_monitoring_events(self):
        self.record(Monitor)

    def test_trace_events(self):
        self.record(Tracer)

    def test_profile_events(self):
        self.record(Profiler)

    def test_events_of_errors(self):
        def fail():
            raise Error(5)

        def make(construct):
            def run():
                f = fresh(construct)
                events = []
                for recorder in Monitor, Tracer, Profiler:
                    with recorder() as r:
                        outcome(lambda: f(fail))
                    events.append(r.events)
                return events
            return run
        self.each(make)


# Statements that raise: class C has one method that does the wrong thing.
BAD = """
C: __bool__ = lambda s: 3; not C()
C: __bool__ = lambda s: 3; 1 if C() else 2
C: __len__ = lambda s: -1; not C()
C: __len__ = lambda s: 1 << 100; not C()
C: __len__ = lambda s: 'x'; not C()
C: __bool__ = None; not C()
C: __add__ = lambda s, o: NotImplemented; C() + 1
C: __add__ = lambda s, o: NotImplemented; C() + C()
C: __iadd__ = lambda s, o: NotImplemented; c = C(); c += 1
C: __pow__ = lambda s, o: NotImplemented; C() ** 1
C: __ipow__ = lambda s, o: NotImplemented; c = C(); c **= 1
C: __rrshift__ = lambda s, o: NotImplemented; print >> C()
C: __rmul__ = lambda s, o: NotImplemented; [1] * C()
C: __rmul__ = lambda s, o: NotImplemented; c = [1]; c *= C()
C: __radd__ = lambda s, o: NotImplemented; [1] + C()
C: __add__ = lambda s: 1; C() + 1
C: __add__ = None; C() + 1
C: __neg__ = lambda s, o: 1; -C()
C: __lt__ = lambda s, o: NotImplemented; C() < 1
C: __lt__ = lambda s, o: NotImplemented; C() < C()
C: __gt__ = lambda s, o: NotImplemented; 1 < C()
C: __eq__ = None; C() == 1
C: __eq__ = lambda s: 1; C() != 1
C: __contains__ = None; 1 in C()
C: __contains__ = lambda s: 1; 1 in C()
C: __getitem__ = lambda s: 1; C()[1]
C: __getitem__ = lambda s: 1; C()[1:2]
C: __setitem__ = lambda s: 1; C()[1] = 1
C: __setitem__ = None; C()[1:2] = 1
C: __delitem__ = lambda s: 1; del C()[1]
C: __getitem__ = lambda s, i: 1; del C()[1]
C: __iter__ = lambda s: 3; for x in C(): pass
C: __iter__ = None; for x in C(): pass
C: __iter__ = lambda s, o: 3; [*C()]; iter(C())
C: __iter__ = lambda s: s; for x in C(): pass
C: __next__ = lambda s: 3; for x in C(): pass
C: __next__ = lambda s, o: 3; next(C())
C: __enter__ = lambda s: 3; with C(): pass
C: __exit__ = lambda s, *a: 3; with C(): pass
C: __enter__ = lambda s: 3; __exit__ = lambda s: 1; with C(): pass
C: __enter__ = lambda s: 3; __exit__ = lambda s: 1; with C(): 1 / 0
C: __enter__ = lambda s: 3; __exit__ = lambda s, *a: 1 / 0; with C(): {}[1]
C: __enter__ = lambda s: 3; __exit__ = lambda s, *a: a[1].args[1]; with C(): {}[1]
C: __enter__ = property(lambda s: 1 / 0); __exit__ = None; with C(): pass
C: __enter__ = lambda s: 3; __exit__ = property(lambda s: 1 / 0); with C(): pass
C: __init__ = lambda s: 3; C()
C: __init__ = lambda s: None; C(1)
C: __init__ = lambda s, x: None; C()
C: __init__ = lambda s, *, x: None; C(x=1, y=2)
C: __init__ = lambda s, *, x: None; C(**{'x': 1, 'y': 2})
C: __init__ = None; C()
C: __new__ = lambda c: 3; C(1)
C: __new__ = lambda c: object.__new__(c); C(1)
C: __new__ = lambda c, x: object.__new__(c); C(1); C(2).y
C: __new__ = lambda c, x: object.__new__(c); __init__ = lambda s: None; C(1)
C: __new__ = None; C()
C: __call__ = lambda s: 1; C()(1)
C: __call__ = None; C()()
C: x = property(lambda s: s.y); C().x
C: x = property(lambda s: s.y); C().x()
C: x = property(lambda s, o: 1); C().x
C: x = property(lambda s: 1); C().x = 2
C: x = property(lambda s: 1); del C().x
C: x = property(None, lambda s: 1); C().x = 2
C: x = property(None, lambda s, o: s.y); C().x = 2
C: __getattr__ = lambda s: 1; C().x
C: __getattr__ = lambda s, n: {}[n]; C().x
C: __getattr__ = lambda s, n: object.__getattribute__(s, n); C().x
C: __getattr__ = None; C().x
C: __getattribute__ = lambda s, n: object.__getattribute__(s, n); C().x
C: __getattribute__ = lambda s, n: object.__getattribute__(s, n); C().x()
C: __setattr__ = lambda s: 1; C().x = 1
C: __setattr__ = lambda s, n, v: {}[n]; C().x = 1
C: __delattr__ = lambda s, n: {}[n]; del C().x
C: __await__ = lambda s: 3; run(C())
C: __await__ = lambda s: 1 / 0; run(C())
C: __await__ = None; run(C())
C: __init__ = lambda s: C(); C()
C: __add__ = lambda s, o: s + o; C() + 1
C: __getattr__ = lambda s, n: s.y; C().x
C: x = property(lambda s: s.x); C().x
C: __call__ = lambda s: s(); C()()
C: __eq__ = lambda s, o: s != o; C() == 1
C: __bool__ = lambda s: not s; not C()
C: __getitem__ = lambda s, i: s[i]; C()[1]
C: __setitem__ = lambda s, i, v: s.__class__.__setitem__(s, i, v); C()[1] = 2
C: __next__ = lambda s: next(s); next(C())
C: pass; next((x for x in ()))
C: pass; next(1)
C: pass; g = (x for x in (1, 2)); g.send(3)
C: pass; g = (x for x in (1, 2)); next(g); g.throw(KeyError)
C: pass; g = (x for x in (1, 2)); next(g); g.throw(KeyError('x'))
C: pass; g = (x for x in (1, 2)); next(g); g.throw(3)
C: pass; g = delegate((1, 2)); next(g); g.throw(KeyError)
C: pass; g = delegate(delegate((1, 2))); next(g); g.throw(KeyError)
C: pass; g = delegate(delegate((1, 2))); next(g); g.throw(KeyError('x'))
C: pass; g = delegate(delegate((1, 2))); next(g); g.throw(StopIteration(3))
C: pass; g = delegate(delegate((1, 2))); next(g); g.throw(3)
C: throw = lambda s, *a: s.x; __next__ = lambda s: 1; __iter__ = lambda s: s; g = delegate(C()); next(g); g.throw(KeyError)
C: throw = lambda s, *a: a; __next__ = lambda s: 1; __iter__ = lambda s: s; g = delegate(C()); next(g); g.throw(KeyError)
C: throw = lambda s, *a: a; __next__ = lambda s: 1; __iter__ = lambda s: s; g = delegate(delegate(C())); next(g); g.throw(KeyError('x'))
C: throw = lambda s: 1; __next__ = lambda s: 1; __iter__ = lambda s: s; g = delegate(C()); next(g); g.throw(KeyError)
C: throw = lambda s, e: next(iter(())); __next__ = lambda s: 1; __iter__ = lambda s: s; g = delegate(delegate(C())); next(g); g.throw(KeyError)
C: throw = lambda s, *a: a; __next__ = lambda s: 1; __iter__ = lambda s: s; g = delegate(C()); next(g); g.throw(KeyError); g.throw(KeyError, KeyError("x"))
C: throw = lambda s, *a: a; __next__ = lambda s: 1; __iter__ = lambda s: s; g = delegate(C()); next(g); g.gi_yieldfrom.throw = len; g.throw(KeyError)
C: throw = lambda s, *a: a; __next__ = lambda s: 1; __iter__ = lambda s: s; g = delegate(C()); next(g); g.gi_yieldfrom.__dict__[1] = 2; g.throw(KeyError)
C: throw = lambda s, *a: a; __next__ = lambda s: 1; __iter__ = lambda s: s; g = delegate(C()); next(g); g.gi_yieldfrom.throw = lambda e: 7; g.throw(KeyError)
C: throw = staticmethod(lambda *a: a); __next__ = lambda s: 1; __iter__ = lambda s: s; g = delegate(C()); next(g); g.throw(KeyError)
C: throw = lambda s, e: g.gi_running; __next__ = lambda s: 1; __iter__ = lambda s: s; g = delegate(C()); next(g); g.throw(KeyError)
C: throw = property(lambda s: s.x); __next__ = lambda s: 1; __iter__ = lambda s: s; g = delegate(C()); next(g); g.throw(KeyError)
C: pass; g = (next(g) for x in (1, 2)); next(g)
C: pass; g = (g.send(None) for x in (1, 2)); next(g)
C: pass; partial(lambda x: 1)()
C: pass; partial(lambda x: 1, 1)(2)
C: pass; partial(lambda x: 1, y=1)(2)
C: pass; context = copy_context(); context.run(lambda: context.run(lambda: 1))
C: pass; context = copy_context(); context.run(lambda x: 1)
C: pass; copy_context().run()
C: __mro_entries__ = lambda s, b: 3; type('x', (), {}); exec('class D(C()): pass')
C: __prepare__ = lambda *a: 3; exec('class D(metaclass=C()): pass')
C: __call__ = lambda s, *a: 1 / 0; exec('class D(metaclass=C()): pass')
""".strip().splitlines()


def bad_function(line):
    body, statement = line.removeprefix("C: ").split("; ", 1)
    source = f"class C:\n  {body}\n"
    while statement.startswith("__"):
        more, statement = statement.split("; ", 1)
        source += f"  {more}\n"
    parts = statement.split("; ")
    source += "def f():\n" + "".join(f"  {part}\n" for part in parts)
    namespace = {}
    exec("from functools import partial\nfrom contextvars import copy_context\n"
         "def run(x):\n  async def coro(): await x\n  coro().send(None)\n"
         "def delegate(x):\n  yield from x\n", namespace)
    exec(compile(source, "<bad>", "exec"), namespace)
    return namespace["f"]


class SameErrors(StacklessTestCase):
    def test_wrong_methods(self):
        for line in BAD:
            with self.subTest(line):
                f = bad_function(line)
                expected = in_main(lambda: self.short(f))
                f = bad_function(line)
                self.assertEqual(in_tasklet(lambda: self.short(f)), expected)

    @staticmethod
    def short(f):
        result = outcome(f)
        # How deep a recursion got is not the same, that it ended is.
        if result[0] == "error" and result[1][0] is RecursionError:
            return RecursionError
        return result

    def test_deep_recursion_can_be_handled(self):
        def task():
            class C:
                def __getattr__(self, name):
                    return self.x + 1
            try:
                C().x
            except RecursionError:
                return stackless.current.recursion_depth < 10
        self.assertIs(in_tasklet(task), True)

    def test_the_tuple_of_arguments_is_gone_after_the_call(self):
        class C:
            def method(self, *args, **kwargs):
                return len(args), kwargs

        def call(size):
            marker = object()
            items = [marker] * size            # its references are the tuple's, too
            count = sys.getrefcount(marker)
            results.append(C().method(*items, x=1))
            self.assertEqual(sys.getrefcount(marker), count)
        results = []
        sizes = 1, 50, 100_001                 # of the last one, the memory is unmapped
        for size in sizes:
            tasklet(call)(size)
            stackless.run()
        self.assertEqual(results, [(size, {"x": 1}) for size in sizes])

    def test_an_exception_whose_making_runs_the_generator(self):
        class Thrown(Exception):
            n = 0

            def __init__(self):
                for _ in range(self.n):
                    next(self.gen, None)

        def plain():
            yield 1
            yield from (2, 3)
            yield 4

        def nested():
            yield from plain()

        def task(make, advance, n):
            Thrown.n = n
            Thrown.gen = gen = make()
            for _ in range(advance):
                next(gen)
            try:
                gen.throw(Thrown)
            except Exception as e:
                return type(e), str(e), list(gen)
        for make in plain, nested:
            for advance in range(1, 5):
                for n in range(6):
                    args = make, advance, n
                    with self.subTest(args):
                        expected = in_main(lambda: task(*args))
                        self.assertIn(expected[0], (Thrown, ValueError))
                        self.assertEqual(in_tasklet(lambda: task(*args)), expected)

    def test_throw_through_many_generators(self):
        def nested(n):
            try:
                if n:
                    yield from nested(n - 1)
                else:
                    yield
            except KeyError:
                yield n

        def task(n):
            gen = nested(n)
            next(gen)
            return gen.throw(KeyError)
        self.assertEqual(in_tasklet(lambda: task(sys.getrecursionlimit() - 100)), 0)

        def too_deep():
            gen = nested(50)
            next(gen)

            def recurse():
                # Where less is left of the recursion limit than the generators take.
                try:
                    return recurse()
                except RecursionError:
                    try:
                        gen.throw(KeyError)
                    except RecursionError:
                        return "refused"
                    except KeyError:
                        return "not caught"
            return recurse()
        self.assertEqual(in_tasklet(too_deep), "refused")

    def test_a_key_of_the_instance_deletes_getattr(self):
        def task():
            class Key:
                def __hash__(self):
                    return hash("x")

                def __eq__(self, other):
                    if "__getattr__" in vars(C):
                        del C.__getattr__
                    gc.collect()
                    return False

            class C:
                def __getattr__(self, name):
                    return name

            c = C()
            c.__dict__[Key()] = 1
            return c.x
        # Specialized code has looked for the attribute before.
        self.assertEqual(in_tasklet(fresh(task)), "x")
        self.assertEqual(in_main(fresh(task)), "x")

    def test_an_attribute_that_was_missing_comes_and_goes(self):
        def task():
            class C:
                def __getattr__(self, name):
                    return name

            c, d = C(), C()
            log = []

            def look():
                for owner in (c, c, c, d, d, d):
                    log.append((owner.x, owner.y))
            look()
            d.x = 1
            look()
            del d.x
            look()
            C.x = 2
            look()
            del C.x
            look()
            C.__getattr__ = lambda self, name: "other " + name
            look()
            C.__getattribute__ = lambda self, name: "any " + name
            look()
            del C.__getattribute__
            look()
            vars(c)["x"] = 3
            look()
            c.__dict__ = {"y": 4}
            look()
            c.__class__ = type("D", (C,), {"x": 5})
            look()
            return log
        log = in_tasklet(fresh(task))
        self.assertEqual(log, in_main(fresh(task)))
        self.assertEqual(log[:6], [("x", "y")] * 6)
        self.assertEqual(log[6:12], [("x", "y")] * 3 + [(1, "y")] * 3)


class Suspended(StacklessTestCase):
    """A switch in the Python function, at nesting level 0."""

    def each(self, run):
        for name, construct in TABLES.items():
            with self.subTest(construct=name):
                try:
                    self.suspend(lambda: run(construct))
                finally:
                    reset_scheduler()

    def suspend(self, run):
        log = []

        def task():
            log.append(run())
        t = tasklet(task)()
        t.run()
        self.assertTrue(t.paused, log)
        self.assertEqual(t.nesting_level, 0)
        gc.collect()
        t.run()
        self.assertEqual(log, ["result"])
        self.assertDead(t)

    @staticmethod
    def switch():
        return schedule_remove("result")

    def test_send_sequence_of_a_generator(self):
        ch = channel()
        log = []
        receiver = self.receiver(ch, log)

        def values():
            yield schedule_remove(7)
        t = tasklet(ch.send_sequence)(values())
        t.run()
        self.assertTrue(t.paused)
        self.assertEqual(t.nesting_level, 0)
        t.run()
        stackless.run()
        self.assertEqual(log, [7])
        self.assertDead(receiver)

    def test_task_of_asyncio_in_python(self):
        # Of the one written in C: test_asyncio_tasks.py.
        def factory(loop, coro, **kwargs):
            return asyncio.tasks._PyTask(coro, loop=loop, **kwargs)

        async def coro():
            return schedule_remove("result")

        def run():
            with asyncio.Runner() as runner:
                runner.get_loop().set_task_factory(factory)
                return runner.run(coro())
        self.suspend(run)

    def test_cold(self):
        self.each(lambda construct: fresh(construct)(self.switch))

    def test_warm(self):
        # The classes are new ones each time, the code is the same.
        for construct in TABLES.values():
            for _ in range(100):
                construct(lambda: None)
        self.each(lambda construct: construct(self.switch))

    def test_warm_in_tasklets(self):
        def task():
            for construct in TABLES.values():
                for _ in range(100):
                    construct(lambda: None)
        self.run_tasklet(task)
        self.each(lambda construct: construct(self.switch))

    def with_recorder(self, recorder):
        def run(construct):
            with recorder():
                return fresh(construct)(self.switch)
        self.each(run)

    def test_traced(self):
        self.with_recorder(Tracer)

    def test_profiled(self):
        self.with_recorder(Profiler)

    def test_monitored(self):
        self.with_recorder(Monitor)

    def test_monitoring_begins_while_suspended(self):
        for name, construct in TABLES.items():
            with self.subTest(construct=name):
                log = []

                def task():
                    log.append(fresh(construct)(self.switch))
                t = tasklet(task)()
                t.run()
                self.assertTrue(t.paused)
                with Monitor():
                    t.run()
                self.assertEqual(log, ["result"])

    def test_several_at_a_time(self):
        for name, construct in TABLES.items():
            with self.subTest(construct=name):
                log = []

                def task(n):
                    for i in range(3):
                        log.append((construct(lambda: schedule((n, i)))))
                for n in range(4):
                    tasklet(task)(n)
                stackless.run()
                self.assertEqual(sorted(log), [(n, i) for n in range(4) for i in range(3)])


@needs_soft
class Table(StacklessTestCase):
    def test_the_table_in_the_documentation_is_what_is_measured(self):
        path = os.path.join(os.path.dirname(stackless.__file__), "soft.rst")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        self.assertEqual(soft_table.document(), text,
                         "write it anew: python -m test.test_stackless.soft_table")


if __name__ == "__main__":
    unittest.main()
