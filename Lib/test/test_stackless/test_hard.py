"""Hard switching: tasklets that are left with C functions between their frames."""

import ctypes
import dis
import functools
import gc
import io
import itertools
import json
import operator
import random
import re
import sqlite3
import sys
import threading
import traceback
import unittest
import weakref
import xml.parsers.expat

import stackless
from stackless import channel, getcurrent, schedule, schedule_remove, tasklet
from test import support

from .support import (
    SHUFFLED, ChildTestCase, StacklessTestCase, many, needs_order, needs_testcapi,
)


serial = itertools.count()


def through_map(f):
    return list(map(lambda x: f(), [0]))[0]


def through_max(f):
    return max([0], key=lambda x: f())


def through_reduce(f):
    return functools.reduce(lambda a, b: f(), [0, 1])


def through_hash(f):
    class C:
        def __hash__(self):
            f()
            return 1
    return {C(): 1}


def through_repr(f):
    class C:
        def __repr__(self):
            f()
            return "C"
    return repr([C()])


def through_len(f):
    class C:
        def __len__(self):
            f()
            return 1
    return len(C())


def through_import(f):
    # Each a module of its own: there is a lock for each.
    wanted = f"no_such_module_{next(serial)}"

    class Finder:
        @staticmethod
        def find_spec(name, path, target=None):
            if name == wanted:
                f()
    sys.meta_path.append(Finder)
    try:
        __import__(wanted)
    except ImportError:
        pass
    finally:
        sys.meta_path.remove(Finder)


def through_exec(f):
    exec("f()", {"f": f})


def through_eval(f):
    eval("f()", {"f": f})


def through_ctypes(f):
    prototype = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)
    return prototype(lambda x: (f(), x)[1])(1)


def through_qsort(f):
    libc = ctypes.CDLL(None)
    prototype = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int),
                                 ctypes.POINTER(ctypes.c_int))
    numbers = (ctypes.c_int * 3)(3, 1, 2)
    compare = prototype(lambda a, b: (f(), a[0] - b[0])[1])
    libc.qsort(numbers, 3, ctypes.sizeof(ctypes.c_int), compare)
    return list(numbers)


def through_sqlite(f):
    with sqlite3.connect(":memory:") as db:
        db.create_function("f", 0, lambda: (f(), 1)[1])
        result = db.execute("select f()").fetchone()
    db.close()
    return result


def through_expat(f):
    parser = xml.parsers.expat.ParserCreate()
    parser.StartElementHandler = lambda name, attrs: f()
    parser.Parse("<a><b/></a>", True)


def through_re(f):
    return re.sub("a", lambda m: (f(), "b")[1], "aa")


def through_json(f):
    return json.loads('{"a": {}}', object_hook=lambda d: (f(), d)[1])


def through_destructor(f):
    class C:
        def __del__(self):
            f()
    C()


def through_filter(f):
    return list(filter(lambda x: f(), [1]))


def through_max(f):
    return max([1, 2], key=lambda x: (f(), x)[1])


def through_attrgetter(f):
    class C:
        @property
        def p(self):
            f()
    return operator.attrgetter("p")(C())


def through_itertools(f):
    return list(itertools.starmap(lambda a: f(), [(1,)]))


def through_weakref(f):
    class C:
        pass
    c = C()
    r = weakref.ref(c, lambda r: f())
    del c
    return r


def nested(f):
    return through_map(lambda: through_max(lambda: through_reduce(f)))


def after_an_exception(f):
    try:
        raise KeyError("outer")
    except KeyError as e:
        through_map(f)
        assert sys.exception() is e


def from_a_generator(f):
    def generator():
        yield through_map(f)
    return list(generator())


WAYS = [value for name, value in list(globals().items())
        if name.startswith("through_")] + [nested, after_an_exception, from_a_generator]


class Ways(StacklessTestCase):
    """Each way through C code, with several tasklets inside it at once."""

    def way(self, way):
        turns = []

        def body(n):
            def f():
                level = stackless.current.nesting_level
                turns.append(n)
                schedule()
                turns.append(n)
                schedule()
                self.assertEqual(stackless.current.nesting_level, level)
            way(f)
        for n in range(3):
            tasklet(body)(n)
        stackless.run()
        self.assertGreaterEqual(len(turns), 6)
        if not SHUFFLED:
            self.assertEqual(turns[:3], [0, 1, 2])
            self.assertEqual(turns[3:6], [0, 1, 2])

    def way_with_channel(self, way):
        ch = channel()
        got = []

        def body(n):
            way(lambda: got.append(ch.receive()))
        ts = [tasklet(body)(n) for n in range(5)]
        stackless.run()
        self.assertEqual(ch.balance, -5)
        for t in ts:
            self.assertGreater(t.nesting_level, 0)
            self.assertFalse(t.restorable)
        while ch.balance < 0:
            ch.send(len(got))
        stackless.run()
        self.assertEqual(got, list(range(len(got))))
        self.assertEqual([t.alive for t in ts], [False] * 5)

    def way_killed(self, way):
        ended = []

        def body():
            try:
                way(schedule_remove)
            finally:
                ended.append(1)
        t = tasklet(body)()
        stackless.run()
        with support.catch_unraisable_exception():      # a destructor's
            while t.alive:
                try:
                    t.kill()
                except sqlite3.OperationalError:        # it translates exceptions
                    pass
        self.assertEqual(ended, [1])
        self.assertEqual(stackless.getuncollectables(), [])


def _add(kind):
    for way in WAYS:
        def test(self, way=way):
            getattr(self, kind)(way)
        name = f"test_{kind}_{way.__name__}"
        test.__name__ = name
        setattr(Ways, name, test)


for _kind in ("way", "way_with_channel", "way_killed"):
    _add(_kind)


def functions(frame):
    """The names of the functions of a frame and its callers."""
    names = []
    while frame is not None:
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    return names


class Values(StacklessTestCase):
    def test_results_and_exceptions(self):
        ch = channel()
        log = []

        def body():
            log.append(through_map(ch.receive))
            try:
                through_map(ch.receive)
            except ValueError as e:
                log.append(e.args)
            log.append(through_map(lambda: schedule(7)))
            log.append(through_map(schedule) is stackless.current)
            log.append(through_map(lambda: ch.send("from below")))
        tasklet(body)()
        stackless.run()
        ch.send(1)
        ch.send_exception(ValueError, 2)
        stackless.run()
        self.assertEqual(ch.receive(), "from below")
        stackless.run()
        self.assertEqual(log, [1, (2,), 7, True, None])

    def test_throw(self):
        def body():
            with self.assertRaises(ZeroDivisionError):
                through_max(schedule_remove)
            return 1
        t = tasklet(body)()
        t.run()
        t.throw(ZeroDivisionError)
        self.assertFalse(t.alive)

    def test_main_at_other_depths(self):
        turns = []

        def body(n):
            for i in range(5):
                through_map(schedule)
                turns.append(n)
        for n in range(4):
            tasklet(body)(n)

        def deep(n):
            if n:
                return deep(n - 1)
            return through_map(schedule)

        def deep_in_c(n):
            if n:
                return through_map(lambda: deep_in_c(n - 1))
            return schedule()
        while stackless.runcount > 1:
            deep(random.randrange(100))
            deep_in_c(random.randrange(20))
            schedule()
        self.assertEqual(sorted(turns), sorted(list(range(4)) * 5))

    def test_frames_while_suspended(self):
        def inner():
            local = "inner"
            schedule_remove()
            return local

        def body():
            local = "outer"
            result = through_map(inner)
            return local, result
        t = tasklet(body)()
        t.run()
        names = []
        frame = t.frame
        while frame is not None:
            names.append((frame.f_code.co_name, frame.f_locals.get("local"), frame.f_lineno))
            frame = frame.f_back
        self.assertEqual([n[:2] for n in names],
                         [("inner", "inner"), ("<lambda>", None), ("through_map", None),
                          ("body", "outer")])
        frame = t.frame
        frame.f_locals["local"] = "changed"
        with self.assertRaises(RuntimeError):
            frame.clear()
        del frame
        t.insert()
        stackless.run()
        self.assertFalse(t.alive)

    def finalizers(self, run):
        """run() is called in three tasklets that let each other run while the bottom frame
        of an eval loop is being cleared.  What is seen of them meanwhile is returned."""
        def watch():
            while any(t.alive for t in some):
                gc.collect()
                seen.append([functions(t.frame) for t in some])
                stackless.dump(file=io.StringIO())
                schedule()
        seen = []
        some = [tasklet(run)() for _ in range(3)]
        tasklet(watch)()
        stackless.run()
        for t in some:
            self.assertDead(t)
        return seen

    def test_finalizer_of_a_local_variable(self):
        class Switches:
            def __del__(self):
                schedule()
                log.append(1)

        def function(x):
            local = [Switches(), x]
            return x

        def run():
            for i in range(10):
                self.assertEqual(list(map(function, [1, 2])), [1, 2])
        log = []
        seen = self.finalizers(run)
        self.assertEqual(len(log), 3 * 10 * 2)
        self.assertIn(["__del__", "run"], seen[1])
        self.assertNotIn("function", str(seen))

    def test_finalizers_within_each_other(self):
        class Nested:
            def __init__(self, n):
                self.n = n

            def __del__(self):
                local = Nested(self.n - 1) if self.n else None
                schedule()

        def function(x):
            local = Nested(3)

        def run():
            for i in range(5):
                list(map(function, [1]))
        seen = self.finalizers(run)
        self.assertIn(["__del__", "run"], sum(seen, []))

    def test_finalizer_in_main(self):
        class Switches:
            def __del__(self):
                stackless.run()

        def function(x):
            local = Switches()

        def other():
            for i in range(30):
                list(map(lambda x: schedule(), [1]))
                gc.collect()
        t = tasklet(other)()
        for i in range(20):
            list(map(function, [1, 2]))
            if not t.alive:
                t.bind(other)
                t()
        stackless.run()
        self.assertDead(t)

    def test_locals_written_while_suspended(self):
        results = []

        def inner():
            local = "inner"
            schedule_remove()
            results.append(local)
        t = tasklet(through_map)(inner)
        t.run()
        t.frame.f_locals["local"] = "changed"
        t.insert()
        stackless.run()
        self.assertEqual(results, ["changed"])

    def test_deep_recursion_in_a_tasklet(self):
        # The data stack has several chunks then.
        def deep(n):
            if n:
                return deep(n - 1) + 1
            through_map(schedule)
            return 0
        results = []
        for n in (10, 900, 500, 3, 900):
            tasklet(lambda n=n: results.append(deep(n)))()
        stackless.run()
        self.assertEqual(sorted(results), [3, 10, 500, 900, 900])

    def test_data_stack_that_grows_and_shrinks(self):
        # Only some of these switches have more to keep than the first chunk.
        def deep(n):
            if n:
                return deep(n - 1) + 1
            through_map(schedule)
            return 0
        results = []

        def target():
            for n in (3, 700, 5, 900, 0, 600, 600, 1):
                results.append(deep(n))
        tasklet(target)()
        tasklet(target)()
        stackless.run()
        self.assertEqual(results, [3, 3, 700, 700, 5, 5, 900, 900, 0, 0,
                                   600, 600, 600, 600, 1, 1])

    def test_many_at_mixed_depths(self):
        count = many(10_000)
        ch = channel()
        got = []

        def deep(n):
            if n:
                return deep(n - 1)
            return through_map(ch.receive)
        for n in range(count):
            tasklet(lambda n=n: got.append(deep(n % 37)))()
        stackless.run()
        self.assertEqual(ch.balance, -count)
        self.assertEqual(len(stackless.getuncollectables()), count)
        for n in range(count):
            ch.send(n)
        stackless.run()
        self.assertEqual(got, list(range(count)))

    def test_left_in_place(self):
        # Those who are left while others run below them, on the C stack, until somebody
        # or main needs their memory.
        ways = [through_map, through_max, through_reduce, through_len, through_repr]
        ended = []

        def leave(depth, dice, way):
            if depth:
                return way(lambda: leave(depth - 1, dice, dice.choice(ways)))
            return way(lambda: schedule() and 1)

        def body(n):
            dice = random.Random(n)
            for turn in range(dice.randrange(30)):
                text = f"{n} {turn}"
                if dice.random() < 0.3:
                    schedule()
                else:
                    leave(dice.randrange(4), dice, dice.choice(ways))
                self.assertEqual(text, f"{n} {turn}")
            ended.append(n)

        def body_in_c(n):
            through_map(lambda: body(n) or 1)

        for size in 1, 2, 3, 10:
            ended.clear()
            tasklets = [tasklet((body, body_in_c)[n % 2])(n) for n in range(size)]
            for turn in range(15):
                leave(turn % 3, random.Random(turn), through_map)
            tasklets[0].kill()
            stackless.run()
            self.assertEqual(set(ended) | {0}, set(range(size)))

    @needs_order
    def test_dropped_in_place(self):
        # The one that stays in place is killed by the one that runs below it.
        class Witness:
            pass

        def victim():
            witness = Witness()
            refs.append(weakref.ref(witness))
            through_map(schedule)
            self.fail("it was killed")

        for end in tasklet.kill, lambda t: t.throw(TaskletExit, pending=True):
            refs = []
            first = tasklet(victim)()
            second = tasklet(lambda: through_max(lambda: end(first) or 1))()
            stackless.run()
            self.assertFalse(first.alive or second.alive)
            self.assertIsNone(refs[0]())

    def test_soft_again(self):
        def body():
            through_map(schedule_remove)
            schedule_remove()
        t = tasklet(body)()
        t.run()
        self.assertGreater(t.nesting_level, 0)
        with self.assertRaisesRegex(RuntimeError, "tasklet has C state on its stack"):
            t.bind(None)
        t.run()
        self.assertEqual(t.nesting_level, 0)
        t.kill()

    def test_recursion_limit(self):
        def body():
            def deep():
                return through_map(deep)
            with self.assertRaises(RecursionError):
                deep()
            through_map(schedule)
            with self.assertRaises(RecursionError):
                deep()
        ts = [tasklet(body)() for i in range(3)]
        stackless.run()
        self.assertEqual([t.alive for t in ts], [False] * 3)

    def test_exception_state(self):
        def body(n):
            try:
                raise KeyError(n)
            except KeyError as e:
                for i in range(3):
                    through_map(schedule)
                    self.assertIs(sys.exception(), e)
            self.assertIsNone(sys.exception())
        for n in range(3):
            tasklet(body)(n)
        stackless.run()

    def test_trace_function_that_switches(self):
        seen = []

        def trace(frame, event, arg):
            if frame.f_code.co_name == "traced":
                seen.append(event)
                schedule()
            return trace

        def traced():
            return 1

        def body():
            sys.settrace(trace)
            try:
                traced()
            finally:
                sys.settrace(None)
        others = []
        tasklet(body)()
        tasklet(lambda: [(schedule(), others.append(sys.gettrace())) for i in range(5)])()
        stackless.run()
        self.assertEqual(seen, ["call", "line", "return"])
        self.assertEqual(others, [None] * 5)


class InLoops(StacklessTestCase):
    """schedule(), called by the instruction that calls of such functions are specialised to,
    within C functions."""

    def setUp(self):
        super().setUp()
        self.turns = []

    def take_turns(self, function, count=50, tasklets=3):
        """So many tasklets call *function*, below C code.  What each call returned."""
        results = []

        def body(n):
            for result in map(function, range(n, n + count)):
                results.append(result)
        for n in range(0, tasklets * 1000, 1000):
            tasklet(body)(n)
        stackless.run()
        self.assertEqual(len(results), tasklets * count)
        names = [i.opname for i in dis.get_instructions(function, adaptive=True)]
        self.assertIn("CALL_BUILTIN_FAST_WITH_KEYWORDS", names)
        return results

    def test_result_among_operands(self):
        def function(n):
            return [n, schedule(), getcurrent(), n + 1]
        for first, result, current, second in self.take_turns(function):
            self.assertIs(result, current)
            self.assertEqual(first + 1, second)

    def test_order_and_level(self):
        def function(n):
            level = getcurrent().nesting_level
            self.turns.append(n)
            schedule()
            self.assertEqual(getcurrent().nesting_level, level)
            self.assertGreater(level, 0)
        self.take_turns(function)
        self.assertTurns(self.turns, [n + i for i in range(50) for n in (0, 1000, 2000)])

    def test_generator_below_c(self):
        def numbers(n):
            yield n
            yield schedule() is getcurrent()
            yield n

        def function(n):
            schedule()
            return list(numbers(n))
        for result in self.take_turns(function):
            self.assertEqual(result[1], True)
            self.assertEqual(result[0], result[2])

    def test_exceptions(self):
        raised = []

        def function(n):
            try:
                schedule()
            except ZeroDivisionError as e:
                raised.append(traceback.extract_tb(e.__traceback__)[-1].name)
                raise

        def body():
            list(map(function, range(1000)))
        self.take_turns(function)
        ts = [tasklet(body)() for n in range(3)]
        for n in range(10):
            schedule()
        for t in ts:
            self.assertGreater(t.nesting_level, 0)
            with self.assertRaises(ZeroDivisionError):
                t.throw(ZeroDivisionError)
        self.assertEqual(raised, ["function"] * 3)

    @needs_order
    def test_kill(self):
        ended = []

        def function(n):
            try:
                schedule()
            finally:
                if n == 5:
                    ended.append(n)

        def body():
            list(map(function, range(6)))
        self.take_turns(function)
        del ended[:]
        ts = [tasklet(body)() for n in range(3)]
        for n in range(6):
            schedule()
        for t in ts:
            t.kill()
        self.assertEqual(ended, [5] * 3)

    def test_trap(self):
        def function(n):
            try:
                schedule()
            except RuntimeError as e:
                return str(e)
            finally:
                if n % 1000 == 20:
                    stackless.switch_trap(1)
                elif n % 1000 == 21:
                    stackless.switch_trap(-1)
        results = self.take_turns(function)
        self.assertEqual([r for r in results if r is not None],
                         ["switch_trap"] * 3)

    @needs_testcapi
    def test_out_of_memory(self):
        import _testcapi

        def function(n):
            if n == 100:
                _testcapi.set_nomemory(0, 1)
            try:
                schedule()
                return "left"
            except MemoryError:
                return "not left"
            finally:
                _testcapi.remove_mem_hooks()

        def body():
            for n in (100, 0):         # it has no memory for its C stack yet
                results.extend(map(function, [n]))
        self.take_turns(function)
        results = []
        tasklet(body)()
        tasklet(schedule)()
        stackless.run()
        self.assertEqual(results, ["not left", "left"])


class Ends(StacklessTestCase):
    def test_deallocation_kills(self):
        log = []

        def body():
            try:
                through_map(schedule_remove)
            except TaskletExit:             # noqa: F821 (a builtin here)
                log.append("exit")
                raise
            finally:
                log.append("finally")
        t = tasklet(body)()
        t.run()
        del t
        self.assertEqual(log, ["exit", "finally"])

    def test_one_that_will_not_die(self):
        def body():
            while not enough:
                try:
                    through_map(schedule_remove)
                except TaskletExit:         # noqa: F821
                    attempts.append(1)
        enough = []
        attempts = []
        t = tasklet(body)()
        t.run()
        del t
        self.assertEqual(len(attempts), 10)
        t = gc.garbage.pop()
        self.assertEqual(gc.garbage, [])
        enough.append(1)
        t.insert()
        stackless.run()
        self.assertFalse(t.alive)

    def test_referred_to_by_its_own_stack_only(self):
        t = tasklet(through_map)(lambda: channel().receive())
        t.run()
        r = weakref.ref(t)
        del t
        gc.collect()
        self.assertEqual(stackless.getuncollectables(), [r()])
        r().kill()
        self.assertIsNone(r())

    def test_threads(self):
        def thread():
            def body(n):
                for i in range(20):
                    through_map(schedule)
                done.append(n)
            for n in range(10):
                tasklet(body)(n)
            stackless.run()
        done = []
        threads = [threading.Thread(target=thread) for i in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(sorted(done), sorted(list(range(10)) * 4))


class Children(ChildTestCase):
    @needs_testcapi
    def test_frames_that_cannot_be_instrumented(self):
        """It is reported when the tasklet runs that has them, to a hook that may switch."""
        for action in "pass", "stackless.schedule()":
            out = self.run_ok("""
                import sys, _testcapi, stackless

                def hook(unraisable):
                    _testcapi.remove_mem_hooks()
                    ACTION
                    frame = sys._getframe(1)
                    while frame is not None:
                        frames.append(frame)
                        frame = frame.f_back
                    assert stackless.getcurrent() is ts[1]
                    assert isinstance(unraisable.exc_value, MemoryError)

                def a(n):
                    def inner(_):
                        stackless.schedule()
                        sys.monitoring.set_events(tool, sys.monitoring.events.LINE)
                        x = 0
                        _testcapi.set_nomemory(n, n + 1)
                        stackless.schedule()
                        _testcapi.remove_mem_hooks()
                    list(map(inner, [0]))

                def b():
                    ns = {"stackless": stackless}
                    exec("def body(_):\\n stackless.schedule()\\n x = 1\\n stackless.schedule()",
                         ns)
                    list(map(ns["body"], [0]))

                tool = 3
                sys.monitoring.use_tool_id(tool, "test")
                sys.monitoring.register_callback(tool, sys.monitoring.events.LINE,
                                                 lambda *args: None)
                sys.unraisablehook = hook
                seen = set()
                for n in range(60):
                    frames = []
                    ts = [stackless.tasklet(a)(n), stackless.tasklet(b)()]
                    try:
                        stackless.run()
                    except MemoryError:
                        pass
                    _testcapi.remove_mem_hooks()
                    for t in ts:
                        t.kill()
                    sys.monitoring.set_events(tool, 0)
                    for frame in frames:
                        frame.f_locals, frame.f_lineno
                    if frames:
                        seen.add(tuple(frame.f_code.co_name for frame in frames))
                print(seen)
                """.replace("ACTION", action))
            self.assertEqual(out, "{('body', 'b')}\n")

    def test_exit_with_suspended(self):
        self.run_survives("""
import stackless
def body():
    list(map(lambda x: stackless.schedule_remove(), [1]))
ts = [stackless.tasklet(body)() for i in range(10)]
stackless.run()
keep = stackless.channel()
stackless.tasklet(lambda: list(map(lambda x: keep.receive(), [1])))()
stackless.run()
print("survived")
""")

    def test_thread_that_ends_with_suspended(self):
        self.run_survives("""
import stackless, threading
ts = []
def body():
    list(map(lambda x: stackless.schedule_remove(), [1]))
def thread():
    ts.extend(stackless.tasklet(body)() for i in range(10))
    stackless.run()
t = threading.Thread(target=thread)
t.start()
t.join()
for t in ts:
    t.thread_id, t.alive, t.frame
del ts, t
print("survived")
""")


if __name__ == "__main__":
    unittest.main()
