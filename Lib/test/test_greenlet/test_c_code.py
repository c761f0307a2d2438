"""Switching while C code is between the greenlet's Python functions."""

import functools
import itertools
import re
import signal
import sys
import unittest
from operator import attrgetter, methodcaller

from greenlet import GreenletExit, getcurrent, greenlet

from .support import Error, GreenletTestCase, switch_back


class Everything:
    """Each of its special methods switches."""

    def __init__(self, value=0):
        self.value = switch_back(value)

    def __add__(self, other):
        return switch_back("add")

    def __radd__(self, other):
        return switch_back("radd")

    def __eq__(self, other):
        return switch_back("eq")

    def __lt__(self, other):
        return switch_back("lt")

    def __hash__(self):
        return hash(switch_back("hash"))

    def __bool__(self):
        return bool(switch_back("bool"))

    def __len__(self):
        return switch_back("len")

    def __getitem__(self, key):
        return switch_back("getitem")

    def __setitem__(self, key, value):
        switch_back("setitem")

    def __contains__(self, x):
        return switch_back("contains")

    def __iter__(self):
        return iter(switch_back("iter"))

    def __call__(self):
        return switch_back("call")

    def __getattr__(self, name):
        return switch_back("getattr " + name)

    def __str__(self):
        return switch_back("str")

    def __format__(self, spec):
        return switch_back("format")

    def __index__(self):
        return switch_back("index")

    def __enter__(self):
        return switch_back("enter")

    def __exit__(self, *info):
        switch_back("exit")

    @property
    def property(self):
        return switch_back("property")


class Special(GreenletTestCase):

    def check(self, function, sent, value, expected=None):
        """*function*(x) switches back with *sent*; it is given *value* and returns *expected*."""
        def run():
            x = Everything.__new__(Everything)
            return function(x)
        g = greenlet(run)
        self.assertEqual(g.switch(), sent)
        self.assertActive(g)
        # Somebody else uses the C stack meanwhile.
        other = greenlet(run)
        self.assertEqual(other.switch(), sent)
        self.assertEqual(list(map(lambda i: sorted([3, i], key=lambda j: j), [1, 2])),
                         [[1, 3], [2, 3]])
        expected = value if expected is None else expected
        self.assertEqual(g.switch(value), expected)
        self.assertEqual(other.switch(value), expected)

        g = greenlet(run)
        g.switch()
        with self.assertRaises(Error):
            g.throw(Error)

    def test_add(self):
        self.check(lambda x: x + 1, "add", 5)

    def test_radd(self):
        self.check(lambda x: 1 + x, "radd", 5)

    def test_sum(self):
        self.check(lambda x: sum([x], 1), "radd", 5)

    def test_eq(self):
        self.check(lambda x: x == 1, "eq", 5)

    def test_lt(self):
        self.check(lambda x: x < 1, "lt", 5)

    def test_list_index(self):
        self.check(lambda x: [1, x].index(2), "eq", True, 1)

    def test_hash(self):
        self.check(lambda x: hash(x), "hash", 5)

    def test_set(self):
        self.check(lambda x: len({x}), "hash", 5, 1)

    def test_dictionary(self):
        self.check(lambda x: {}.setdefault(x, 7), "hash", 5, 7)

    def test_bool(self):
        self.check(lambda x: not x, "bool", 1, False)
        self.check(lambda x: "y" if x else "n", "bool", 0, "n")

    def test_len(self):
        self.check(len, "len", 5)

    def test_getitem(self):
        self.check(lambda x: x[1], "getitem", 5)

    def test_contains(self):
        self.check(lambda x: 1 in x, "contains", True)

    def test_iter(self):
        self.check(lambda x: [y for y in x], "iter", [1, 2])

    def test_call(self):
        self.check(lambda x: x(), "call", 5)

    def test_getattr(self):
        self.check(lambda x: x.foo, "getattr foo", 5)
        self.check(lambda x: getattr(x, "foo", None), "getattr foo", 5)
        self.check(attrgetter("foo"), "getattr foo", 5)

    def test_property(self):
        self.check(lambda x: x.property, "property", 5)

    def test_str(self):
        self.check(str, "str", "text")

    def test_format(self):
        self.check(lambda x: f"<{x}>", "format", "text", "<text>")
        self.check(lambda x: "%s!" % x, "str", "text", "text!")

    def test_index(self):
        self.check(lambda x: [1, 2, 3][x], "index", 1, 2)
        self.check(lambda x: len(range(x)), "index", 4)

    def test_methodcaller(self):
        self.check(methodcaller("__len__"), "len", 5)

    def test_enter_and_exit(self):
        def run():
            with Everything.__new__(Everything) as y:
                return y
        g = greenlet(run)
        self.assertEqual(g.switch(), "enter")
        self.assertEqual(g.switch(5), "exit")
        self.assertEqual(g.switch(), 5)

    def test_init(self):
        g = greenlet(lambda: Everything(3).value)
        self.assertEqual(g.switch(), 3)
        self.assertEqual(g.switch(4), 4)

    def test_init_through_c(self):
        g = greenlet(lambda: [e.value for e in map(Everything, "ab")])
        self.assertEqual(g.switch(), "a")
        self.assertEqual(g.switch(1), "b")
        self.assertEqual(g.switch(2), [1, 2])


class Callbacks(GreenletTestCase):

    def ping_pong(self, function, count):
        """*function*(callback) calls callback *count* times; two of them take turns."""
        def run():
            return function(lambda *args: switch_back(*args) or 0)
        a, b = greenlet(run), greenlet(run)
        for i in range(count):
            a.switch()
            b.switch()
        first, second = a.switch(), b.switch()
        self.assertDead(a)
        self.assertDead(b)
        self.assertEqual(first, second)
        return first

    def test_map(self):
        self.assertEqual(self.ping_pong(lambda f: list(map(f, range(10))), 10), [0] * 10)

    def test_filter(self):
        self.assertEqual(self.ping_pong(lambda f: list(filter(f, range(10))), 10), [])

    def test_sort(self):
        self.assertEqual(self.ping_pong(lambda f: sorted([2, 1, 3], key=f), 3), [2, 1, 3])

    def test_min(self):
        self.assertEqual(self.ping_pong(lambda f: min([2, 1, 3], key=f), 3), 2)

    def test_reduce(self):
        self.ping_pong(lambda f: functools.reduce(f, range(5)), 4)

    def test_comparison(self):
        self.ping_pong(lambda f: sorted([2, 1], key=functools.cmp_to_key(f)), 1)

    def test_substitution(self):
        self.assertEqual(
            self.ping_pong(lambda f: re.sub("a", lambda m: str(f()), "banana"), 3), "b0n0n0")

    def test_exec(self):
        self.ping_pong(lambda f: exec("f(); f()", {"f": f}), 2)

    def test_eval(self):
        self.ping_pong(lambda f: eval("f() + f()", {"f": f}), 2)

    def test_partial(self):
        self.ping_pong(lambda f: functools.partial(f, 1)(2), 1)

    def test_groupby(self):
        self.ping_pong(lambda f: [list(v) for k, v in itertools.groupby(range(3), f)], 3)

    def test_lru_cache(self):
        self.ping_pong(lambda f: functools.lru_cache(f)(1), 1)

    def test_class_body(self):
        def function(f):
            class C:
                x = f()
            return C.x
        self.ping_pong(function, 1)

    def test_metaclass_and_set_name(self):
        def function(f):
            class Descriptor:
                def __set_name__(self, owner, name):
                    f()

            class Base:
                def __init_subclass__(cls):
                    f()

            class C(Base):
                d = Descriptor()
            return C.__name__
        self.ping_pong(function, 2)

    def test_nested(self):
        def function(f):
            return list(map(lambda i: sorted([i], key=lambda j: list(map(f, [j]))[0]), range(4)))
        self.ping_pong(function, 4)

    def test_switch_itself_as_the_callback(self):
        g = greenlet(lambda: list(map(getcurrent().parent.switch, "abc")))
        self.assertEqual([g.switch(), g.switch(1), g.switch(2)], ["a", "b", "c"])
        self.assertEqual(g.switch(3), [1, 2, 3])

    def test_import(self):
        class Finder:
            def find_spec(self, name, path, target=None):
                if name.startswith("test_greenlet_nonesuch"):
                    switch_back(name)
                return None
        finder = Finder()
        sys.meta_path.insert(0, finder)
        self.addCleanup(sys.meta_path.remove, finder)

        def run():
            try:
                import test_greenlet_nonesuch    # noqa: F401
            except ImportError:
                return "ImportError"
        g = greenlet(run)
        self.assertEqual(g.switch(), "test_greenlet_nonesuch")
        self.assertEqual(g.switch(), "ImportError")

    def test_abandoned_in_c(self):
        log = []

        def f(x):
            try:
                switch_back()
            finally:
                log.append(x)
        g = greenlet(lambda: list(map(f, [1])))
        g.switch()
        del g
        self.assertEqual(log, [1])

    def test_exit_through_c(self):
        g = greenlet(lambda: list(map(lambda x: switch_back(), [1])))
        g.switch()
        self.assertIsInstance(g.throw(), GreenletExit)


class Iteration(GreenletTestCase):

    def test_iterator(self):
        class Numbers:
            def __init__(self, n):
                self.n = n

            def __iter__(self):
                return self

            def __next__(self):
                if not self.n:
                    raise StopIteration
                self.n -= 1
                return switch_back(self.n)

        def run():
            return [x for x in Numbers(3)], list(Numbers(2)), dict(enumerate(Numbers(1)))
        g = greenlet(run)
        self.assertEqual([g.switch(i) if i else g.switch() for i in range(6)],
                         [2, 1, 0, 1, 0, 0])
        self.assertEqual(g.switch(6), ([1, 2, 3], [4, 5], {0: 6}))

    def test_zip_of_two(self):
        def numbers(name):
            while True:
                yield switch_back(name)
        g = greenlet(lambda: next(zip(numbers("a"), numbers("b"))))
        self.assertEqual([g.switch(), g.switch(1)], ["a", "b"])
        self.assertEqual(g.switch(2), (1, 2))

    def test_star_arguments(self):
        def numbers():
            yield switch_back("n")

        def run():
            return (lambda *args: args)(*numbers())
        g = greenlet(run)
        self.assertEqual(g.switch(), "n")
        self.assertEqual(g.switch(1), (1,))


class Destructors(GreenletTestCase):

    def test_switch(self):
        class X:
            def __del__(self):
                log.append(switch_back("del"))

        def run():
            x = X()
            del x
            return "end"
        log = []
        g = greenlet(run)
        self.assertEqual(g.switch(), "del")
        self.assertEqual(log, [])
        self.assertEqual(g.switch(1), "end")
        self.assertEqual(log, [1])

    def test_of_locals_at_the_end(self):
        class X:
            def __del__(self):
                log.append(switch_back("del"))

        def run():
            x = X()    # noqa: F841
            return "end"
        log = []
        g = greenlet(run)
        self.assertEqual(g.switch(), "del")
        self.assertEqual(g.switch(1), "end")
        self.assertEqual(log, [1])

    def test_weakref_callback(self):
        import weakref

        class X:
            pass

        def run():
            x = X()
            r = weakref.ref(x, lambda r: log.append(switch_back("callback")))
            del x
            return r()
        log = []
        g = greenlet(run)
        self.assertEqual(g.switch(), "callback")
        self.assertIsNone(g.switch(1))
        self.assertEqual(log, [1])

    def test_within_deallocation_of_many(self):
        # Deep nests of containers are given back by the trashcan.
        class X:
            def __del__(self):
                log.append(other.switch(1))
        log = []

        def serve():
            while True:
                switch_back(5)
        other = self.started(serve)
        for i in range(3):
            nest = [X()]
            for k in range(3000):
                nest = [nest]
            del nest
        self.assertEqual(log, [5] * 3)


@unittest.skipUnless(hasattr(signal, "raise_signal"), "no signals here")
class Signals(GreenletTestCase):

    def setUp(self):
        super().setUp()
        old = signal.getsignal(signal.SIGTERM)
        self.addCleanup(signal.signal, signal.SIGTERM, old)

    def test_switch_in_a_handler(self):
        other = self.started(lambda: [switch_back(i) for i in range(3)])
        got = []
        signal.signal(signal.SIGTERM, lambda number, frame: got.append(other.switch(number)))
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        self.assertEqual(got, [1, 2])
        other.switch()

    def test_handler_runs_in_whoever_is_current(self):
        got = []
        signal.signal(signal.SIGTERM, lambda number, frame: got.append(getcurrent()))
        g = greenlet(lambda: signal.raise_signal(signal.SIGTERM))
        g.switch()
        self.assertEqual(got, [g])

    def test_handler_throws_to_main(self):
        main = getcurrent()

        def handler(number, frame):
            main.throw(Error("signal"))
        signal.signal(signal.SIGTERM, handler)
        g = greenlet(lambda: signal.raise_signal(signal.SIGTERM))
        with self.assertRaisesRegex(Error, "^signal$"):
            g.switch()
        self.assertActive(g)
        g.switch()
        self.assertDead(g)


if __name__ == "__main__":
    unittest.main()
