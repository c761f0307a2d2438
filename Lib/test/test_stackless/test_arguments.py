"""Arguments of Python functions that a tasklet calls without C code in between: each call
gives what it gives outside of tasklets, an exception with the same message included.
"""

import functools
import gc
import itertools
import unittest
import weakref

import stackless
from stackless import schedule, tasklet

from .support import StacklessTestCase, needs_soft


def outcome(call):
    """What call() returns, or its exception."""
    try:
        return call()
    except Exception as e:
        return type(e), str(e)


class Name(str):
    """A keyword that is no exact str."""


def fresh(name):
    """An equal str that is not interned."""
    return "".join(list(name))


def wait(values):
    """What the functions below do: another tasklet runs, then they return their locals."""
    schedule()
    return sorted(values.items(), key=repr)


SIGNATURES = """
self
self, /
self, a
self, a, b=2
self, a=1, b=2
self, a, /, b
self, a, /, b=2
self, a=1, /, b=2
self, *args
self, a, *args
self, a=1, *args
self, **kw
self, /, **kw
self, a, **kw
self, a=1, **kw
self, a=1, /, **kw
self, *args, **kw
self, a, b=2, *args, **kw
self, *, c
self, *, c=3
self, a, *, c
self, a, b=2, *, c, d=4
self, a, b=2, *args, c, d=4, **kw
self, a, /, b=2, *args, c=3, **kw
*args
*args, **kw
*args, c=3
""".strip().splitlines()

POSITIONAL = (), (1,), (1, 2), (1, 2, 3)
KEYWORDS = ({}, {"a": "A"}, {"b": "B"}, {"c": "C"}, {"a": "A", "b": "B"},
            {"c": "C", "d": "D"}, {"b": "B", "c": "C"}, {"x": "X"},
            {"c": "C", "x": "X", "y": "Y"}, {"self": "S"}, {"args": 5, "kw": 6},
            {fresh("a_longer_name"): 1}, {Name("a"): 1}, {fresh("b"): "B", "c": "C"})


def functions():
    """A function for each signature, and for those with an inner function."""
    for signature in SIGNATURES:
        for body in ("return wait(locals())",
                     "inner = lambda: (self_or_args(locals()), {names})\n"
                     "    return wait(dict(enumerate(map(repr, inner()[1:]))))"):
            names = [part.split("=")[0].strip(" *") for part in signature.split(",")
                     if part.strip() not in "/*"]
            namespace = {"wait": wait, "self_or_args": lambda values: None}
            exec(f"def f({signature}):\n    "
                 + body.format(names=", ".join(names)), namespace)
            yield signature, namespace["f"]


class Calls(StacklessTestCase):

    def in_tasklet(self, call):
        """outcome(call) in a tasklet, twice, while another one takes turns."""
        results = []

        def task():
            results.append(outcome(call))

        def turns():
            for _ in range(3):
                schedule()
        for run in task, turns, task:
            tasklet(run)()
        stackless.run()
        self.assertEqual(results[0], results[1])
        return results[0]

    def as_outside(self, make_call):
        for (signature, f), args, kwargs in itertools.product(functions(), POSITIONAL,
                                                              KEYWORDS):
            call = make_call(f, args, kwargs)
            with self.subTest(signature=signature, args=args, kwargs=kwargs):
                self.assertEqual(self.in_tasklet(call), outcome(call))

    def test_bound_method_with_stars(self):
        def make_call(f, args, kwargs):
            method = f.__get__("me")
            return lambda: method(*args, **kwargs)
        self.as_outside(make_call)

    def test_instance_that_is_called(self):
        def make_call(f, args, kwargs):
            instance = type("C", (), {"__call__": f, "__repr__": lambda self: "me"})()
            return lambda: repr(instance(*args, **kwargs))
        self.as_outside(make_call)

    def test_class_with_init(self):
        def make_call(f, args, kwargs):
            def __init__(self, *args, **kwargs):
                self.got = repr(f(self, *args, **kwargs))
            cls = type("C", (), {"__init__": __init__, "__repr__": lambda self: "me"})
            return lambda: cls(*args, **kwargs).got
        self.as_outside(make_call)

    def test_class_with_this_init(self):
        def make_call(f, args, kwargs):
            # (It returns a list, where None is wanted: TypeError tells that it was called.)
            cls = type("C", (), {"__init__": f, "__repr__": lambda self: "me"})
            return lambda: cls(*args, **kwargs)
        self.as_outside(make_call)

    def test_partial(self):
        def make_call(f, args, kwargs):
            partial = functools.partial(f, "me", *args[:1])
            return lambda: partial(*args[1:], **kwargs)
        self.as_outside(make_call)

    def test_keywords_that_are_written_out(self):
        def f(self, a, b=2, *args, c, d=4, **kw):
            return wait(locals())
        method = f.__get__("me")
        instance = type("C", (), {"__call__": f, "__repr__": lambda self: "me"})()
        for callee in method, instance:
            for call in (lambda: callee(1, c=3), lambda: callee(a=1, c=3),
                         lambda: callee(1, 2, 3, c=3, x=5), lambda: callee(1, a=2, c=3),
                         lambda: callee(1), lambda: callee(c=3, d=5)):
                self.assertEqual(repr(self.in_tasklet(call)), repr(outcome(call)))

    def test_initial_function_of_a_tasklet(self):
        for (signature, f), args, kwargs in itertools.product(functions(), POSITIONAL,
                                                              KEYWORDS):
            results = []

            def error_handler(exc_type, exc, tb):
                results.append((exc_type, str(exc)))

            @functools.wraps(f)
            def g(*args, **kwargs):
                results.append(f(*args, **kwargs))
            with self.subTest(signature=signature, args=args, kwargs=kwargs):
                stackless.set_error_handler(error_handler)
                tasklet(g)("me", *args, **kwargs)
                stackless.run()
                stackless.set_error_handler(None)
                self.assertEqual(results, [outcome(lambda: f("me", *args, **kwargs))])


class Objects(StacklessTestCase):
    """What becomes of the objects that are handed over."""

    def run_in_tasklet(self, f):
        results = []
        tasklet(lambda: results.append(f()))()
        stackless.run()
        return results[0]

    def test_the_dict_of_keywords_is_the_functions_own(self):
        class C:
            def method(self, *args, **kwargs):
                schedule()
                kwargs["more"] = 1
                return args, kwargs
        method = C().method
        given = {"x": 1}

        def calls():
            first = method(*(1, 2), **given)
            second = method(*(1, 2), **given, y=2)
            return first, second
        first, second = self.run_in_tasklet(calls)
        self.assertEqual(first, ((1, 2), {"x": 1, "more": 1}))
        self.assertEqual(second, ((1, 2), {"x": 1, "y": 2, "more": 1}))
        self.assertEqual(given, {"x": 1})

    def test_are_let_go(self):
        class Thing:
            pass

        class C:
            def good(self, a, b=None, *args, c=None, **kw):
                schedule()

            def bad(self, *, only):
                schedule()
        instance = C()

        def calls():
            things = [Thing() for _ in range(6)]
            gone.extend(map(weakref.ref, things))
            a, b, c, d, e, f = things
            things = None
            instance.good(*[a, b, c], **{"c": d, "x": e})
            instance.good(*[a], **{"b": b, "x": e, "y": f})
            for _ in range(2):
                try:
                    instance.bad(*[], **{"only": a, "unknown": f})
                except TypeError:
                    pass
        gone = []
        self.run_in_tasklet(calls)
        gc.collect()
        self.assertEqual([ref() for ref in gone], [None] * 6)

    def test_defaults_of_keyword_only_arguments_with_strange_keys(self):
        class Key:
            def __hash__(self):
                return hash("c")

            def __eq__(self, other):
                log.append(other)
                return False

        def f(self, *, c):
            schedule()
            return c
        log = []
        f.__kwdefaults__ = {Key(): 1, "c": 3}
        method = f.__get__("me")
        log.clear()                 # of the making of the dict
        self.assertEqual(self.run_in_tasklet(lambda: method(*(), **{})), 3)
        in_tasklet = list(log)
        log.clear()
        method(*(), **{})
        self.assertEqual(set(log), {"c"})      # how often depends on the hash
        self.assertEqual(in_tasklet, log)

    @needs_soft
    def test_waits_in_the_midst(self):
        """The frames are those of suspended tasklets: they can be looked at and dropped."""
        class C:
            def method(self, a, *args, c=3, **kw):
                stackless.schedule_remove()
                return a, args, c, kw
        method = C().method
        results = []
        t = tasklet(lambda: results.append(method(*(1, 2), **{"x": 5})))()
        stackless.run()
        frame = t.frame
        self.assertEqual({name: frame.f_locals[name] for name in ("a", "args", "c", "kw")},
                         {"a": 1, "args": (2,), "c": 3, "kw": {"x": 5}})
        t.run()
        self.assertEqual(results, [(1, (2,), 3, {"x": 5})])


if __name__ == "__main__":
    unittest.main()
