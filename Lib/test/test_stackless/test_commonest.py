"""The commonest ways in which instructions call Python code are short ones of their own:
warm, again and again, by tasklets that take turns, they do what they do in main.
"""

import abc
import gc
import itertools
import sys
import types
import unittest
import weakref

import stackless
from stackless import schedule, tasklet

from .support import StacklessTestCase


class Error(Exception):
    pass


class Manager:
    """Logs what it is told."""

    def __init__(self, log=None):
        self.log = log if log is not None else []

    def __enter__(self):
        schedule()
        return self

    def __exit__(self, *exc):
        schedule()
        self.log.append(exc)


class Swallows(Manager):
    def __exit__(self, exc_type, exc, tb):
        self.log.append((exc_type, exc, tb is None))
        return True


class SameAsInMain(StacklessTestCase):

    def check(self, *functions, turns=30):
        """So many turns of each, in tasklets that take turns, give what they give in main."""
        def run(f):
            result = []
            for i in range(turns):
                try:
                    result.append(f(i))
                except Exception as e:
                    result.append((type(e), str(e)))
            return result
        expected = [run(f) for f in functions]
        results = {}
        for i, f in enumerate(functions * 2):
            tasklet(lambda i=i, f=f: results.__setitem__(i, run(f)))()
        stackless.run()
        self.assertEqual([results[i] for i in range(2 * len(functions))], expected * 2)

    def test_with(self):
        def plainly(i):
            with Manager() as m:
                pass
            return m.log

        def shared(i, manager=Swallows()):
            with manager:
                pass
            return manager.log.pop()

        def with_an_error(i):
            m = Swallows()
            with m:
                raise Error
            return m.log[0][0], len(m.log)

        def error_that_gets_out(i):
            with Manager():
                raise Error(i)
        self.check(plainly, shared, with_an_error, error_that_gets_out)

    def test_nested_with(self):
        def nest(depth):
            if depth == 0:
                return []
            with Manager() as m:
                inner = nest(depth - 1)
            return inner + [len(m.log), m.log[-1]]

        def many(i):
            log = []
            with (Manager(log), Manager(log), Manager(log), Manager(log), Manager(log),
                  Manager(log), Swallows(log)):
                pass
            return log
        self.check(lambda i: nest(i % 12), many)

    def test_exit_that_is_no_function_or_not_there(self):
        class Static(Manager):
            @staticmethod
            def __exit__(*exc):
                schedule()

        class Method(Manager):
            __exit__ = types.MethodType(lambda self, *exc: None, "bound")

        class NoExit:
            def __enter__(self):
                pass

        def each(cls):
            def f(i):
                with cls() as value:
                    return type(value) is cls
            return f
        self.check(*map(each, (Static, Method, NoExit)))

    def test_classes(self):
        class Plain:
            pass

        class Init:
            def __init__(self, a, b=2):
                schedule()
                self.a, self.b = a, b

        class Slots:
            __slots__ = "a",

            def __init__(self, a):
                self.a = a
                schedule()

        class New:
            def __new__(cls, *args):
                schedule()
                self = super().__new__(cls)
                self.a = args
                return self

        class Inner(Init):
            def __init__(self, *args):
                super().__init__(*args)

        class Listed(list):
            def __init__(self, *args):
                schedule()
                super().__init__(args)

        class Fails:
            def __init__(self, *args):
                schedule()
                raise Error(args)

        class ReturnsSomething:
            def __init__(self, *args):
                schedule()
                return args

        class Abstract(abc.ABC):
            @abc.abstractmethod
            def method(self):
                pass

        class AbstractInit(Abstract):
            def __init__(self, a):
                schedule()

        class Meta(type):
            def __call__(cls, *args):
                schedule()
                return cls.__name__, args

        class OfMeta(metaclass=Meta):
            pass
        classes = (Plain, Init, Slots, New, Inner, Listed, Fails, ReturnsSomething, Abstract,
                   AbstractInit, OfMeta)

        def called(cls, *args):
            def f(i):
                made = cls(*args) if i % 2 else cls(*args, *())
                if isinstance(made, tuple):
                    return made
                state = {name: getattr(made, name) for name in ("a", "b")
                         if hasattr(made, name)}
                return type(made) is cls, state, getattr(made, "__dict__", None)
            return f

        def without(cls):
            return lambda i: type(cls()) is cls if cls is not OfMeta else cls()

        def with_one(cls):
            return lambda i: getattr(cls(i), "a", None)
        for args in (), (1,), (1, 2), (1, 2, 3):
            self.check(*(called(cls, *args) for cls in classes))
        self.check(*map(without, classes))
        self.check(*map(with_one, classes))

    def test_next(self):
        class Counts:
            def __init__(self, n):
                self.n = n

            def __iter__(self):
                return self

            def __next__(self):
                if self.n == 0:
                    raise StopIteration("over")
                here = self.n
                self.n -= 1
                schedule()
                return here

        class Fails(Counts):
            def __next__(self):
                schedule()
                raise Error

        class GivesGenerators(Counts):
            def __next__(self):
                yield 1

        def by_hand(i):
            it = Counts(3)
            return next(it), next(it), next(it), next(it)

        def with_default(i):
            it = Counts(1)
            return next(it, "default"), next(it, "default"), next(it, None)

        def loop(i):
            return [item for item in Counts(i % 5)]

        def nested_loops(i):
            return [(a, b) for a in Counts(i % 3) for b in Counts(2)]

        def loop_that_ends_in_else(i):
            for item in Counts(i % 4):
                if item == 3:
                    return "found"
            else:
                return "else"

        def loops_of_others(i):
            result = []
            for iterable in (Counts(2), [1, 2], range(2), Counts(0), {3: 4}, Counts(1)):
                for item in iterable:
                    result.append(item)
            return result

        def stop_iteration_that_is_not_the_loops(i):
            for item in Counts(2):
                next(Counts(0))
        self.check(by_hand, with_default, loop, nested_loops, loop_that_ends_in_else,
                   loops_of_others, stop_iteration_that_is_not_the_loops,
                   lambda i: next(Fails(1)), lambda i: [x for x in Fails(1)],
                   lambda i: list(next(GivesGenerators(1))))

    def test_monitored_meanwhile(self):
        """Events are switched on and off while a loop waits for __next__()."""
        tool = 4
        sys.monitoring.use_tool_id(tool, "test")
        self.addCleanup(sys.monitoring.free_tool_id, tool)
        self.addCleanup(sys.monitoring.set_events, tool, 0)
        events = itertools.cycle([sys.monitoring.events.BRANCH, 0,
                                  sys.monitoring.events.LINE, 0])

        class Counts:
            def __init__(self):
                self.n = 5

            def __iter__(self):
                return self

            def __next__(self):
                sys.monitoring.set_events(tool, next(events))
                schedule()
                self.n -= 1
                if self.n < 0:
                    raise StopIteration
                return self.n
        self.check(lambda i: [item for item in Counts()], turns=5)


class References(StacklessTestCase):

    def run_in_tasklet(self, f):
        results = []
        tasklet(lambda: results.append(f()))()
        stackless.run()
        return results[0]

    def test_managers_are_let_go(self):
        def managers():
            gone = []
            for _ in range(20):
                with Manager() as a, Swallows() as b:
                    gone += weakref.ref(a), weakref.ref(b)
                del a, b
                if any(ref() is not None for ref in gone):
                    return "kept"
            return [ref() for ref in gone]
        self.assertEqual(self.run_in_tasklet(managers), [None] * 40)

    def test_a_bound_exit_that_somebody_else_holds(self):
        """It is found by the garbage collector, and is still what it was afterwards."""
        class Marked(Manager):
            pass
        held = []

        def manage():
            for i in range(10):
                with Marked() as m:
                    held.extend(method for method in gc.get_referrers(m)
                                if isinstance(method, types.MethodType))
                    self.assertEqual(len(held), i + 1)
                    m.number = i
            return [method.__self__.number for method in held]
        self.assertEqual(self.run_in_tasklet(manage), list(range(10)))
        self.assertEqual({method.__func__ for method in held}, {Manager.__exit__})
        held.clear()

    def test_an_exit_that_deletes_itself(self):
        class Deletes:
            def __enter__(self):
                return self

            def __exit__(self, *exc):
                del Deletes.__exit__
                schedule()
                log.append(exc)
        log = []

        def manage():
            with Deletes():
                pass
        self.run_in_tasklet(manage)
        self.assertEqual(log, [(None, None, None)])

    def test_in_another_thread(self):
        import threading

        def work():
            for _ in range(3):
                tasklet(lambda: [self.nest(8) for _ in range(3)])()
            stackless.run()
        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(self.run_in_tasklet(lambda: self.nest(8)), 8)

    def nest(self, depth):
        if depth == 0:
            return 0
        with Manager():
            return self.nest(depth - 1) + 1


if __name__ == "__main__":
    unittest.main()
