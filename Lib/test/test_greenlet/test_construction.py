"""Making greenlets: the constructor, `run`, `parent`."""

import abc
import unittest

from greenlet import getcurrent, greenlet

from .support import GreenletTestCase, echo, in_thread, switch_back

NO_RUN = "^Main greenlets do not have a run attribute.$"
STARTED = "^run cannot be set after the start of the greenlet$"


def nothing():
    pass


class Constructor(GreenletTestCase):

    def test_nothing(self):
        g = greenlet()
        self.assertPending(g)
        self.assertIs(g.parent, getcurrent())
        self.assertFalse(hasattr(g, "run"))

    def test_positional(self):
        parent = greenlet()
        g = greenlet(nothing, parent)
        self.assertIs(g.run, nothing)
        self.assertIs(g.parent, parent)

    def test_keywords(self):
        parent = greenlet()
        g = greenlet(parent=parent, run=nothing)
        self.assertIs(g.run, nothing)
        self.assertIs(g.parent, parent)
        self.assertFalse(hasattr(greenlet(parent=parent), "run"))

    def test_parent_none_is_the_default(self):
        for g in greenlet(nothing, None), greenlet(nothing, parent=None):
            self.assertIs(g.parent, getcurrent())

    def test_parent_is_the_creator(self):
        g = greenlet(lambda: (greenlet(), getcurrent()))
        made, maker = g.switch()
        self.assertIs(maker, g)
        self.assertIs(made.parent, g)

    def test_run_none(self):
        g = greenlet(run=None)
        self.assertIsNone(g.run)
        with self.assertRaisesRegex(TypeError, "^'NoneType' object is not callable$"):
            g.switch()
        self.assertDead(g)

    def test_run_is_not_checked(self):
        g = greenlet(5)
        self.assertEqual(g.run, 5)
        with self.assertRaisesRegex(TypeError, "^'int' object is not callable$"):
            g.switch()

    def test_too_many(self):
        with self.assertRaisesRegex(
                TypeError, r"^green\(\) takes at most 2 arguments \(3 given\)$"):
            greenlet(nothing, None, None)

    def test_unknown_keyword(self):
        with self.assertRaisesRegex(TypeError, "unexpected keyword argument 'foo'"):
            greenlet(foo=1)

    def test_parent_is_no_greenlet(self):
        for bad, name in (5, "int"), ("x", "str"), (object(), "object"), (greenlet, "type"):
            with self.assertRaisesRegex(
                    TypeError, "^GreenletChecker: Expected any type of greenlet, "
                               f"not {name}$"):
                greenlet(nothing, bad)

    def test_new_takes_anything(self):
        g = greenlet.__new__(greenlet, 1, 2, 3, foo=4)
        self.assertPending(g)
        self.assertIs(g.parent, getcurrent())
        self.assertFalse(hasattr(g, "run"))

    def test_new_alone_can_run(self):
        g = greenlet.__new__(greenlet)
        g.run = lambda: 7
        self.assertEqual(g.switch(), 7)


class InitAgain(GreenletTestCase):

    def test_pending(self):
        g = greenlet(nothing)
        g.__init__(echo)
        self.assertIs(g.run, echo)

    def test_run_of_a_started_one(self):
        g = self.started(echo, 1)
        with self.assertRaisesRegex(AttributeError, STARTED):
            g.__init__(nothing)
        self.assertActive(g)
        self.assertEqual(g.switch(2), 2)

    def test_parent_of_a_started_one(self):
        g = self.started(echo, 1)
        other = greenlet(lambda value: ("other", value))
        g.__init__(parent=other)
        self.assertIs(g.parent, other)
        self.assertEqual(g.switch(None), ("other", "end"))

    def test_main(self):
        main = getcurrent()
        main.__init__()
        self.assertIsNone(main.parent)
        with self.assertRaisesRegex(AttributeError, NO_RUN):
            main.__init__(nothing)


class Subclasses(GreenletTestCase):

    def test_without_base_init(self):
        class G(greenlet):
            def __init__(self, x):
                self.x = x

            def run(self):
                return self.x
        g = G(3)
        self.assertIs(g.parent, getcurrent())
        self.assertEqual(g.switch(), 3)

    def test_class_level_run_wins(self):
        class G(greenlet):
            def run(self, x):
                return "method", x
        self.assertEqual(G(lambda x: "argument").switch(1), ("method", 1))

    def test_run_in_the_instances_dictionary(self):
        class G(greenlet):
            run = None
        g = G()
        g.__dict__["run"] = lambda: "dictionary"
        self.assertEqual(g.switch(), "dictionary")

    def test_run_by_getattr(self):
        class G(greenlet):
            def __getattr__(self, name):
                if name == "run":
                    return lambda: "getattr"
                raise AttributeError(name)
        self.assertEqual(G().switch(), "getattr")

    def test_run_by_getattribute(self):
        log = []

        class G(greenlet):
            def __getattribute__(self, name):
                if name == "run":
                    log.append(getcurrent())
                    return lambda: getcurrent()
                return super().__getattribute__(name)
        g = G()
        self.assertIs(g.switch(), g)
        # Looked up by whoever switches.
        self.assertEqual(log, [getcurrent()])

    def test_run_property(self):
        class G(greenlet):
            run = property(lambda self: lambda: "property")
        self.assertEqual(G().switch(), "property")

    def test_abstract(self):
        class Base(greenlet, metaclass=abc.ABCMeta):
            @abc.abstractmethod
            def run(self):
                raise NotImplementedError

        class G(Base):
            def run(self):
                return 5
        with self.assertRaisesRegex(TypeError, "abstract"):
            Base()
        self.assertEqual(G().switch(), 5)

    def test_slots(self):
        class G(greenlet):
            __slots__ = ("a", "b")
        g = G(nothing)
        g.a = 1
        self.assertEqual(g.a, 1)
        g.free = 2
        self.assertEqual(g.free, 2)

    def test_second_base(self):
        class Mixin:
            def value(self):
                return 8

        class G(Mixin, greenlet):
            def run(self):
                return self.value()
        self.assertEqual(G().switch(), 8)

    def test_layout_conflict(self):
        with self.assertRaisesRegex(TypeError, "lay-out conflict"):
            class G(greenlet, dict):
                pass

    def test_bool_of_a_subclass_may_lie(self):
        class G(greenlet):
            def __bool__(self):
                return True
        g = G(lambda: 1)
        self.assertEqual(g.switch(), 1)
        self.assertTrue(g.dead)


class Run(GreenletTestCase):

    def test_set_get_delete(self):
        g = greenlet()
        with self.assertRaisesRegex(AttributeError, "run"):
            g.run
        g.run = nothing
        self.assertIs(g.run, nothing)
        g.run = None
        self.assertIsNone(g.run)
        del g.run
        self.assertFalse(hasattr(g, "run"))

    def test_missing_leaves_it_pending(self):
        g = greenlet()
        with self.assertRaisesRegex(AttributeError, "run"):
            g.switch()
        self.assertPending(g)
        g.run = lambda x: x
        self.assertEqual(g.switch(1), 1)

    def test_gone_once_started(self):
        g = greenlet(lambda: hasattr(getcurrent(), "run") or switch_back("no"))
        self.assertEqual(g.switch(), "no")
        for state in "active", "dead":
            with self.assertRaisesRegex(AttributeError, "run"):
                g.run
            with self.assertRaisesRegex(AttributeError, STARTED):
                g.run = nothing
            with self.assertRaisesRegex(AttributeError, STARTED):
                del g.run
            g.switch()
            self.assertDead(g)

    def test_not_kept_alive(self):
        import weakref

        def run():
            switch_back()
        r = weakref.ref(run)
        g = self.started(run)
        g.switch()
        del run
        self.assertIsNone(r())

    def test_main(self):
        main = getcurrent()
        with self.assertRaisesRegex(AttributeError, NO_RUN):
            main.run
        with self.assertRaisesRegex(AttributeError, NO_RUN):
            main.run = nothing
        with self.assertRaisesRegex(AttributeError, NO_RUN):
            del main.run


class Parent(GreenletTestCase):

    def test_main_has_none(self):
        self.assertIsNone(getcurrent().parent)

    def test_set(self):
        a, b = greenlet(), greenlet()
        a.parent = b
        self.assertIs(a.parent, b)
        a.parent = getcurrent()
        self.assertIs(a.parent, getcurrent())

    def test_set_while_active_and_dead(self):
        g = self.started(echo, 1)
        other = greenlet(echo)
        g.parent = other
        self.assertIs(g.parent, other)
        g.parent = getcurrent()
        g.switch(None)
        self.assertDead(g)
        g.parent = other
        self.assertIs(g.parent, other)

    def test_set_by_itself(self):
        other = greenlet(lambda value: ("other", value))

        def run():
            getcurrent().parent = other
            return 1
        self.assertEqual(greenlet(run).switch(), ("other", 1))

    def test_not_a_greenlet(self):
        g = greenlet()
        for bad, name in (5, "int"), (None, "NoneType"), ("", "str"):
            with self.assertRaisesRegex(
                    TypeError, f"^GreenletChecker: Expected any type of greenlet, not {name}$"):
                g.parent = bad
        self.assertIs(g.parent, getcurrent())

    def test_delete(self):
        g = greenlet()
        with self.assertRaisesRegex(AttributeError, "^can't delete attribute$"):
            del g.parent

    def test_cycle(self):
        a = greenlet()
        b = greenlet(parent=a)
        c = greenlet(parent=b)
        for bad in a, b, c:
            with self.assertRaisesRegex(ValueError, "^cyclic parent chain$"):
                a.parent = bad
        self.assertIs(a.parent, getcurrent())

    def test_of_main(self):
        main = getcurrent()
        for value in greenlet(), main, 5:
            with self.assertRaisesRegex(
                    AttributeError, "^cannot set the parent of a main greenlet$"):
                main.parent = value
        with self.assertRaisesRegex(AttributeError, "^can't delete attribute$"):
            del main.parent

    def test_in_another_thread(self):
        g = self.started(echo, 1)

        def attempt():
            try:
                g.parent = getcurrent()
            finally:
                del greenlet_there[:]
        greenlet_there = []
        with self.assertRaisesRegex(ValueError, "^parent cannot be on a different thread$"):
            in_thread(attempt)
        self.assertIs(g.parent, getcurrent())
        self.assertEqual(g.switch(None), "end")

    def test_pending_may_get_one_in_another_thread(self):
        g = greenlet(lambda: 5)

        def attempt():
            g.parent = getcurrent()
            return g.switch()
        self.assertEqual(in_thread(attempt), 5)
        self.assertDead(g)

    def test_tree(self):
        log = []

        def parent(value):
            log.append(("parent", value))
            return value + 1
        p = greenlet(parent)
        child = greenlet(lambda x: x + 1, p)
        self.assertEqual(child.switch(1), 3)
        self.assertEqual(log, [("parent", 2)])

    def test_deep_chain(self):
        chain = [greenlet(lambda x: x + 1)]
        for i in range(200):
            chain.append(greenlet(lambda x: x + 1, chain[-1]))
        self.assertEqual(chain[-1].switch(0), 201)


if __name__ == "__main__":
    unittest.main()
