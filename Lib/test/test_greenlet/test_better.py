"""Where the built-in greenlet does more than PyPI's greenlet 3.5 does.

- Suspended greenlets that only cycles refer to are collected, and ended as
  if their last reference had gone: PyPI's are never collected.
- A greenlet begins at recursion depth 0: PyPI's inherit the depth of whoever
  switched to them first.
- When a thread ends, what its greenlets' frames refer to is given back:
  PyPI's leaks it.
- Parent chains may be of any length: PyPI's recurses in C for each.
"""

import gc
import sys
import unittest
import weakref

from greenlet import GreenletExit, getcurrent, greenlet

from .support import (
    COLLECTS, ChildTestCase, Error, GreenletTestCase, in_ended_thread, needs_many, needs_ours,
    needs_soft, switch_back)


class X:
    pass


@needs_ours
@needs_soft
class Collection(GreenletTestCase):

    def test_cycle_through_the_dictionary(self):
        log = []

        def run():
            try:
                switch_back()
            except GreenletExit:
                log.append("exit")
                raise
        g = self.started(run)
        g.me = g
        r = weakref.ref(g)
        del g
        gc.collect()
        self.assertIsNone(r())
        self.assertEqual(log, ["exit"])

    def test_cycle_through_a_local_variable(self):
        def run():
            me = getcurrent()
            x = X()
            refs.append(weakref.ref(x))
            switch_back()
            return me
        refs = []
        g = self.started(run)
        r = weakref.ref(g)
        del g
        gc.collect()
        self.assertIsNone(r())
        self.assertIsNone(refs[0]())

    def test_two_that_refer_to_each_other(self):
        def run(other):
            switch_back()
            return other
        a, b = greenlet(run), greenlet(run)
        a.switch(b)
        b.switch(a)
        refs = weakref.ref(a), weakref.ref(b)
        del a, b
        gc.collect()
        gc.collect()
        self.assertEqual([r() for r in refs], [None, None])

    def test_chain_of_suspended_parents(self):
        def run(n):
            if n:
                return greenlet(run).switch(n - 1) + 1
            return self._main.switch("deepest") or 0
        g = greenlet(run)
        r = weakref.ref(g)
        self.assertEqual(g.switch(20), "deepest")
        del g
        for i in range(25):
            gc.collect()
        self.assertIsNone(r())

    def test_abandoned_generator(self):
        def produce(out):
            getcurrent().parent.switch(1)
        holder = X()
        holder.g = greenlet(produce)
        holder.g.switch(holder)
        r = weakref.ref(holder)
        del holder
        gc.collect()
        self.assertIsNone(r())

    def test_many_switches(self):
        main = getcurrent()
        alive = []

        def partner(a):
            while True:
                a = a.switch(getcurrent())

        def run(n):
            for i in range(n):
                g = greenlet(partner)
                alive.append(weakref.ref(g))
                g.switch(getcurrent())
                del g
                main.switch()
        p = greenlet(run)
        p.switch(20)
        for i in range(19):
            p.switch()
        self.assertEqual([r() for r in alive], [None] * 20)

    def test_reachable_ones_stay(self):
        g = self.started(lambda: switch_back("first"))
        g.me = g
        for i in range(3):
            gc.collect()
        self.assertEqual(g.switch("second"), "second")
        del g.me


@needs_ours
class Recursion(GreenletTestCase):

    def test_begins_at_zero(self):
        def depth():
            try:
                return depth() + 1
            except RecursionError:
                return 1

        def down(n):
            return down(n - 1) if n else greenlet(depth).switch()
        shallow = down(0)
        deep = down(sys.getrecursionlimit() // 2)
        self.assertEqual(shallow, deep)
        self.assertGreater(deep, depth())

    def test_nested_starts(self):
        def run(n):
            return greenlet(run).switch(n - 1) + 1 if n else 0
        n = (2 if COLLECTS else 20) * sys.getrecursionlimit()
        self.assertEqual(greenlet(run).switch(n), n)


@needs_ours
@needs_soft
class Threads(GreenletTestCase):

    def test_frames_are_given_back(self):
        def run():
            x = X()
            refs.append(weakref.ref(x))
            switch_back()

        def make():
            g = greenlet(run)
            g.switch()
            return g
        refs = []
        g = in_ended_thread(make)
        self.assertTrue(g.dead)
        gc.collect()
        self.assertIsNone(refs[0]())


@needs_ours
class Parents(ChildTestCase):

    def test_long_chain(self):
        # Made from its lower end: each step then checks a short chain for cycles.
        self.assertEqual(self.run_ok("""
            from greenlet import greenlet
            first = last = greenlet()
            for i in range(200_000):
                new = greenlet()
                last.parent = new
                last = new
            del last, new
            del first
            print("end")
            """), "end\n")

    @needs_many
    def test_value_through_a_long_chain_of_dead_ones(self):
        self.assertEqual(self.run_ok("""
            from greenlet import greenlet
            first = last = greenlet(lambda x: x)
            for i in range(50_000):
                new = greenlet(lambda: None)
                new.switch()
                last.parent = new
                last = new
            print(first.switch(5))
            """), "5\n")


@needs_ours
class Exceptions(GreenletTestCase):

    def test_collected_with_another_exception(self):
        caught = self.catch_unraisable()

        def run():
            try:
                switch_back()
            finally:
                raise Error("while collected")
        g = self.started(run)
        g.me = g
        del g
        gc.collect()
        self.assertEqual(caught, [(Error, "while collected", None, greenlet)])


if __name__ == "__main__":
    unittest.main()
