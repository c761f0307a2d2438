"""Many greenlets, deep ones, and endless recursion."""

import sys
import unittest

from greenlet import getcurrent, greenlet

from .support import Error, GreenletTestCase, echo, many, switch_back


def down(n, function, *args):
    """Call function(*args) so many calls deeper."""
    if n:
        return down(n - 1, function, *args)
    return function(*args)


class Recursion(GreenletTestCase):

    def test_endless(self):
        def run():
            return run() + 1
        for i in range(3):
            g = greenlet(run)
            with self.assertRaises(RecursionError):
                g.switch()
            self.assertDead(g)

    def test_endless_through_c(self):
        def run(x=None):
            return list(map(run, [1]))
        with self.assertRaises(RecursionError):
            greenlet(run).switch()

    def test_each_starts_another(self):
        # A few only: PyPI's count this as recursion.
        def run(n):
            return greenlet(run).switch(n - 1) + 1 if n else 0
        self.assertEqual(greenlet(run).switch(100), 100)

    def test_switching_does_not_use_it_up(self):
        g = self.started(echo, 0)
        for i in range(3 * sys.getrecursionlimit()):
            self.assertEqual(g.switch(i), i)
        self.assertEqual(g.switch(None), "end")

    def test_each_has_its_depth(self):
        half = sys.getrecursionlimit() // 2
        some = [self.started(down, half // 2, switch_back) for i in range(10)]
        down(half // 2, lambda: [g.switch() for g in some])
        self.assertTrue(all(g.dead for g in some))

    def test_depth_comes_back(self):
        def depth():
            try:
                return depth() + 1
            except RecursionError:
                return 1
        before = depth()
        g = self.started(down, 100, switch_back)
        self.assertEqual(depth(), before)
        g.switch()
        self.assertEqual(depth(), before)
        with self.assertRaises(Error):
            h = self.started(down, 100, switch_back)
            h.throw(Error)
        self.assertEqual(depth(), before)


class Many(GreenletTestCase):

    def test_created(self):
        some = [greenlet(echo) for i in range(50_000)]
        self.assertEqual(len(set(some)), 50_000)

    def test_suspended(self):
        some = [self.started(echo, i) for i in range(many(5_000))]
        self.assertEqual([g.switch(i) for i, g in enumerate(some)], list(range(len(some))))
        for g in some:
            g.switch(None)
        self.assertTrue(all(g.dead for g in some))

    def test_suspended_in_c_code(self):
        def run():
            return list(map(lambda x: switch_back(x), [1]))
        some = [self.started(run) for i in range(500)]
        self.assertEqual([g.switch(i) for i, g in enumerate(some)], [[i] for i in range(500)])

    def test_one_after_the_other(self):
        for i in range(many(20_000)):
            greenlet(echo).switch(None)

    def test_deep_ones(self):
        some = [self.started(down, 300, switch_back, i) for i in range(100)]
        self.assertEqual([g.switch(i) for i, g in enumerate(some)], list(range(100)))

    def test_large_values(self):
        value = list(range(100_000))
        g = self.started(echo, 1)
        self.assertIs(g.switch(value), value)
        args = tuple(range(10_000))
        self.assertEqual(g.switch(*args), args)
        g.switch(None)

    def test_many_arguments(self):
        g = greenlet(lambda *args, **kwargs: (len(args), len(kwargs)))
        kwargs = {f"k{i}": i for i in range(1000)}
        self.assertEqual(g.switch(*range(1000), **kwargs), (1000, 1000))


class Callables(GreenletTestCase):
    """Anything callable may be run."""

    def test_builtin(self):
        self.assertEqual(greenlet(len).switch("abc"), 3)
        self.assertEqual(greenlet(sorted).switch([2, 1], reverse=True), [2, 1])

    def test_class(self):
        class C:
            def __init__(self, x):
                self.x = x
        self.assertEqual(greenlet(C).switch(5).x, 5)
        self.assertEqual(greenlet(dict).switch(a=1), {"a": 1})

    def test_method(self):
        class C:
            def m(self, x):
                return self, x
        c = C()
        self.assertEqual(greenlet(c.m).switch(1), (c, 1))

    def test_callable_object(self):
        class C:
            def __call__(self, x):
                return switch_back(x)
        g = greenlet(C())
        self.assertEqual(g.switch(1), 1)
        self.assertEqual(g.switch(2), 2)

    def test_generator_function(self):
        def gen():
            yield getcurrent()
        g = greenlet(gen)
        self.assertEqual(list(g.switch()), [getcurrent()])

    def test_switch_of_another(self):
        inner = greenlet(lambda x: x + 1)
        g = greenlet(inner.switch)
        inner.parent = g
        self.assertEqual(g.switch(1), 2)
        self.assertDead(inner)
        self.assertDead(g)

    def test_its_own_switch(self):
        g = greenlet()
        g.run = g.switch
        self.assertEqual(g.switch(5), 5)
        self.assertDead(g)


if __name__ == "__main__":
    unittest.main()
