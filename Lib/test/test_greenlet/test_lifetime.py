"""What happens when nobody refers to a greenlet any more."""

import gc
import sys
import unittest
import weakref

from greenlet import GreenletExit, getcurrent, greenlet

from .support import (
    ChildTestCase, Error, GreenletTestCase, echo, run_python, switch_back)


class X:
    pass


class Called(GreenletTestCase):
    """A greenlet that is being switched to is referred to by that call."""

    def check(self, call):
        log = []
        main = getcurrent()

        def child():
            try:
                main.switch("child")
                log.append("back")
                main.switch("child")
            except GreenletExit:
                log.append("exit")
                raise

        def parent():
            log.append(call(child))
            main.switch("parent")
        p = greenlet(parent)
        self.assertEqual(p.switch(), "child")
        self.assertEqual(log, [])
        self.assertEqual(p.switch(5), "parent")
        self.assertEqual(log, ["exit", 5])

    def test_from_python(self):
        self.check(lambda child: greenlet(child).switch())

    def test_by_throw(self):
        def call(child):
            g = greenlet(child)
            g.switch_later = getcurrent()
            return greenlet(g.switch).switch()
        self.check(call)

    def test_from_c(self):
        self.check(lambda child: sorted([1], key=lambda x: 0) and
                   list(map(lambda g: g.switch(), [greenlet(child)]))[0])


class Immortal(ChildTestCase):

    def test_that_does_not_die(self):
        # It is left alone for ever, and its memory with it.
        result = run_python("""
            from greenlet import GreenletExit, getcurrent, greenlet

            def run():
                while True:
                    try:
                        getcurrent().parent.switch()
                    except GreenletExit:
                        pass
            g = greenlet(run)
            g.switch()
            print(f"{id(g):#x}")
            del g
            """)
        self.check(result, 0)
        address = result.stdout.strip()
        self.assertRegex(result.stderr, r"^GreenletExit did not kill <greenlet\.greenlet "
                         rf"object at {address} .*>\n$")


class Suspended(GreenletTestCase):

    def test_is_killed(self):
        log = []

        def run():
            try:
                switch_back()
            except GreenletExit as e:
                log.append(e.args)
                raise
        g = self.started(run)
        del g
        self.assertEqual(log, [
            ("Killing the greenlet because all references have vanished.",)])

    def test_finally_runs(self):
        log = []

        def run():
            try:
                switch_back()
            finally:
                log.append("finally")
        g = self.started(run)
        g = None
        self.assertEqual(log, ["finally"])

    def test_parent_is_the_deleter(self):
        log = []

        def run():
            try:
                switch_back()
            except GreenletExit:
                log.append(getcurrent().parent)
        g = self.started(run)
        box = [g]
        del g
        deleter = greenlet(box.clear)
        deleter.switch()
        self.assertEqual(log, [deleter])

    def test_returning_is_as_good(self):
        def run():
            try:
                switch_back()
            except GreenletExit:
                return "value for nobody"
        g = self.started(run)
        r = weakref.ref(g)
        del g
        self.assertIsNone(r())

    def test_other_exceptions_are_reported(self):
        caught = self.catch_unraisable()

        def run():
            try:
                switch_back()
            except GreenletExit:
                raise Error("instead") from None
        g = self.started(run)
        del g
        self.assertEqual(caught, [(Error, "instead", None, greenlet)])

    def test_locals_go_before_the_weak_references(self):
        log = []

        class Logger:
            def __del__(self):
                log.append("local")

        def run():
            local = Logger()
            switch_back()
        g = self.started(run)
        r = weakref.ref(g, lambda r: log.append("weak"))
        del g
        self.assertEqual(log, ["local", "weak"])
        self.assertIsNone(r())

    def test_keeps_the_pending_exception(self):
        g = self.started(switch_back)
        box = [g]
        del g
        try:
            raise Error(1)
        except Error as e:
            box.clear()
            self.assertIs(sys.exception(), e)

    def test_while_an_exception_travels(self):
        def fails():
            g = self.started(switch_back)
            self.assertActive(g)
            raise Error("travels")
        try:
            fails()
        except Error as e:
            text = str(e)
        self.assertEqual(text, "travels")

    def test_may_switch_meanwhile(self):
        log = []
        other = self.started(echo, 1)

        def run():
            try:
                switch_back()
            finally:
                other.parent = getcurrent()
                log.append(other.switch(5))
                other.parent = main
        main = getcurrent()
        g = self.started(run)
        del g
        self.assertEqual(log, [5])

    def test_resurrected(self):
        saved = []

        def run():
            try:
                switch_back()
            except GreenletExit:
                saved.append(getcurrent())
                switch_back("not yet")
            return "end"
        parent = greenlet(lambda value: value)
        g = self.started(run)
        g.parent = parent
        del g
        g = saved.pop()
        self.assertActive(g)
        self.assertIs(g.parent, parent)
        self.assertEqual(g.switch(), "end")
        self.assertDead(g)

    def test_resurrected_instances_keep_their_type(self):
        saved = []

        class G(greenlet):
            @staticmethod
            def run():
                try:
                    switch_back()
                except GreenletExit:
                    saved.append(getcurrent())
                    switch_back()
        before = sys.getrefcount(G)
        for i in range(10):
            g = G()
            g.switch()
            del g
            saved.pop().switch()
        self.assertEqual(sys.getrefcount(G), before)
        self.assertEqual(saved, [])

    def test_resurrected_twice(self):
        saved = []

        def run():
            for i in range(2):
                try:
                    switch_back()
                except GreenletExit:
                    saved.append(getcurrent())
            return "end"
        g = self.started(run)
        del g
        g = saved.pop()
        self.assertTrue(g)
        r = weakref.ref(g)
        del g
        g = saved.pop()
        self.assertDead(g)
        self.assertIs(r(), g)

    def test_value_in_flight_is_not_lost(self):
        log = []

        def run():
            # Nobody but this frame refers to the greenlet any more once it has switched.
            nonlocal g
            p, g = getcurrent().parent, None
            p.switch("on the way")
        g = greenlet(run)
        log.append(g.switch())
        self.assertEqual(log, ["on the way"])
        self.assertIsNone(g)

    def test_deletes_itself_while_running(self):
        box = []

        def run():
            box.clear()
            return "value"
        box.append(greenlet(run))
        self.assertEqual(box[0].switch(), "value")

    def test_many(self):
        log = []

        def run(i):
            try:
                switch_back()
            finally:
                log.append(i)
        some = [self.started(run, i) for i in range(100)]
        del some[:]
        self.assertEqual(sorted(log), list(range(100)))

    def test_one_deletes_the_next(self):
        log = []

        def run(rest):
            try:
                switch_back()
            finally:
                log.append(len(rest))
                rest.clear()
        rest = []
        for i in range(20):
            rest = [self.started(run, rest)]
        rest.clear()
        self.assertEqual(log, [1] * 19 + [0])


class PendingAndDead(GreenletTestCase):

    def test_pending(self):
        x = X()
        r = weakref.ref(x)
        g = greenlet(x)
        w = weakref.ref(g)
        del x, g
        self.assertIsNone(w())
        self.assertIsNone(r())

    def test_dead(self):
        g = greenlet(lambda: None)
        g.switch()
        w = weakref.ref(g)
        del g
        self.assertIsNone(w())

    def test_result_is_dropped(self):
        x = X()
        r = weakref.ref(x)
        g = greenlet(lambda x: x)
        self.assertIs(g.switch(x), x)
        del x
        self.assertIsNone(r())
        self.assertDead(g)

    def test_child_keeps_its_parent(self):
        parent = greenlet(lambda value: ("parent", value))
        child = greenlet(lambda: 1, parent)
        w = weakref.ref(parent)
        del parent
        self.assertIsNotNone(w())
        self.assertEqual(child.switch(), ("parent", 1))
        del child
        self.assertIsNone(w())

    def test_exception_leaves_nothing(self):
        def run():
            x = X()
            refs.append(weakref.ref(x))
            raise Error
        refs = []
        g = greenlet(run)
        with self.assertRaises(Error):
            g.switch()
        self.assertIsNone(refs[0]())


class Collection(GreenletTestCase):

    def test_tracked(self):
        g = greenlet()
        self.assertTrue(gc.is_tracked(g))
        self.assertTrue(any(x is g for x in gc.get_objects()))
        self.assertTrue(gc.is_tracked(getcurrent()))

    def test_pending_in_a_cycle(self):
        g = greenlet()
        g.me = g
        g.run = lambda: g
        w = weakref.ref(g)
        del g
        gc.collect()
        self.assertIsNone(w())

    def test_dead_in_a_cycle(self):
        g = greenlet(lambda: None)
        g.switch()
        g.me = g
        w = weakref.ref(g)
        del g
        gc.collect()
        self.assertIsNone(w())

    def test_cycle_of_two(self):
        a = greenlet()
        b = greenlet(parent=a)
        a.b = b
        w = weakref.ref(a)
        del a, b
        gc.collect()
        self.assertIsNone(w())

    def test_referents(self):
        def run():
            pass
        parent = greenlet()
        g = greenlet(run, parent)
        g.x = 1
        referents = gc.get_referents(g)
        referents += gc.get_referents(*referents)  # they may belong to a part of it
        for x in run, parent:
            self.assertTrue(any(r is x for r in referents))

    def test_suspended_that_is_referred_to_survives(self):
        def run():
            x = X()
            refs.append(weakref.ref(x))
            switch_back()
            return x
        refs = []
        g = self.started(run)
        for i in range(3):
            gc.collect()
        self.assertIsNotNone(refs[0]())
        self.assertIs(type(g.switch()), X)

    def test_switching_in_a_collection(self):
        log = []
        other = self.started(echo, 0)

        class Cycle:
            def __del__(self):
                log.append(other.switch(1))
        c = Cycle()
        c.me = c
        del c
        gc.collect()
        self.assertEqual(log, [1])

    def test_waiting_in_a_collection(self):
        # It was refused, and the finalizer failed.
        class Cycle:
            def __init__(self):
                self.me = self

            def __del__(self):
                log.append(switch_back("waits"))

        def collect():
            for i in range(3):
                Cycle()
            gc.collect()
            return "end"

        log = []
        unraisable = self.catch_unraisable()
        gc.collect()
        g = greenlet(collect)
        self.assertEqual(g.switch(), "waits")
        others = [self.started(echo, i) for i in range(3)]
        for i in 1, 2:
            self.assertEqual(gc.collect(), 0)      # one is in progress
            self.assertEqual(g.switch(i), "waits")
            self.assertEqual([other.switch(i) for other in others], [i] * 3)
        self.assertEqual(g.switch(3), "end")
        self.assertEqual(log, [1, 2, 3])
        self.assertEqual(unraisable, [])
        for other in others:
            other.switch(None)
        Cycle.__del__ = lambda self: log.append("finalized")
        Cycle()
        gc.collect()
        self.assertEqual(log[3:], ["finalized"])

    def test_collection_by_many_greenlets(self):
        def run():
            for i in range(30):
                cycle = []
                cycle.append(cycle)
                if not i % 10:
                    gc.collect()
                switch_back()
            return True
        some = [greenlet(run) for i in range(10)]
        results = []
        for i in range(31):
            results = [g.switch() for g in some]
        self.assertEqual(results, [True] * 10)
        self.assertTrue(gc.isenabled())


class LastReferenceInAFrame(GreenletTestCase):
    """The greenlet is deleted while the bottom frame of an eval loop is being cleared, to which
    C functions will return."""

    def check(self, below_c):
        def stubborn():
            try:
                if below_c:
                    list(map(lambda _: switch_back(), [1]))
                else:
                    switch_back()
            except GreenletExit:
                log.append("exit")
                # While whoever has deleted it waits for its end, others run, and look.
                for g in others:
                    g.switch(getcurrent())
                gc.collect()

        def function(x):
            local = greenlet(stubborn)
            local.switch()
            return x

        def other(back):
            while True:
                back = list(map(lambda _: back.switch(), [1]))[0]

        def many():
            results.append([list(map(function, [1, 2])) for _ in range(5)])
        for body in many, lambda: greenlet(many).switch():
            log, results = [], []
            others = [greenlet(other), greenlet(other)]
            for g in others:
                g.switch(getcurrent())
            body()
            self.assertEqual(results, [[[1, 2]] * 5])
            self.assertEqual(log, ["exit"] * 10)
            del g, others

    def test_left_softly(self):
        self.check(False)

    def test_left_below_c(self):
        self.check(True)


if __name__ == "__main__":
    unittest.main()
