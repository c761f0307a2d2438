"""throw(): an exception instead of a value."""

import sys
import traceback
import unittest
import weakref

from greenlet import GreenletExit, getcurrent, greenlet

from .support import BaseError, Error, GreenletTestCase, catch, switch_back


class Two(Exception):
    def __init__(self, a, b):
        super().__init__(a, b)


class Broken(Exception):
    def __init__(self, *args):
        raise Error("constructor")


def traceback_of(e):
    try:
        raise e
    except BaseException:
        return sys.exc_info()[2]


class ThrowTestCase(GreenletTestCase):

    def thrown(self, *args):
        """The exception that arrives in a suspended greenlet."""
        log = []
        g = self.started(catch, log)
        g.throw(*args)
        self.assertDead(g)
        return log[0]


class Arguments(ThrowTestCase):

    def test_none(self):
        e = self.thrown()
        self.assertIs(type(e), GreenletExit)
        self.assertEqual(e.args, ())

    def test_class(self):
        for cls in Error, BaseError, KeyboardInterrupt, GreenletExit:
            e = self.thrown(cls)
            self.assertIs(type(e), cls)
            self.assertEqual(e.args, ())

    def test_class_and_argument(self):
        self.assertEqual(self.thrown(Error, 5).args, (5,))
        self.assertEqual(self.thrown(Error, "x", None).args, ("x",))

    def test_class_and_none(self):
        self.assertEqual(self.thrown(Error, None).args, ())

    def test_class_and_tuple(self):
        self.assertEqual(self.thrown(Two, (1, 2)).args, (1, 2))
        self.assertEqual(self.thrown(ValueError, (1, 2)).args, (1, 2))

    def test_class_and_instance(self):
        e = Error(3)
        self.assertIs(self.thrown(Error, e), e)
        self.assertIs(self.thrown(Exception, e), e)

    def test_instance(self):
        e = Error(3)
        self.assertIs(self.thrown(e), e)
        self.assertIs(self.thrown(e, None), e)
        self.assertIs(self.thrown(e, None, None), e)

    def test_constructor_fails(self):
        e = self.thrown(Broken)
        self.assertIs(type(e), Error)
        self.assertEqual(str(e), "constructor")

    def test_wrong_number_for_the_constructor(self):
        self.assertIs(type(self.thrown(Two, 1)), TypeError)

    def test_traceback(self):
        def origin():
            raise Error
        try:
            origin()
        except Error:
            info = sys.exc_info()
        e = self.thrown(*info)
        names = [f.name for f in traceback.extract_tb(e.__traceback__)]
        self.assertEqual(names[-1], "origin")
        self.assertIn("catch", names)

    def test_traceback_for_an_instance(self):
        tb = traceback_of(Two(1, 2))
        e = self.thrown(Error(), None, tb)
        tbs = []
        t = e.__traceback__
        while t is not None:
            tbs.append(t)
            t = t.tb_next
        self.assertIn(tb, tbs)


class BadArguments(ThrowTestCase):
    """Nothing happens but a TypeError in the caller."""

    def refused(self, message, *args, **kwargs):
        log = []
        g = self.started(catch, log)
        for target in g, greenlet(lambda: None), getcurrent():
            with self.assertRaisesRegex(TypeError, message):
                target.throw(*args, **kwargs)
        self.assertEqual(log, [])
        self.assertActive(g)

    def test_instance_and_value(self):
        self.refused("^instance exception may not have a separate value$", Error(), 1)

    def test_not_an_exception(self):
        for bad, name in ((5, "int"), ("x", "str"), (None, "NoneType"), (int, "type"),
                          ((Error,), "tuple"), (object(), "object")):
            self.refused("^exceptions must be classes, or instances, not " + name, bad)

    def test_traceback(self):
        self.refused(r"^throw\(\) third argument must be a traceback object$", Error, None, 5)
        self.refused(r"^throw\(\) third argument must be a traceback object$", Error(), None, "")

    def test_too_many(self):
        self.refused(r"^throw\(\) takes at most 3 arguments \(4 given\)$",
                     Error, None, None, None)

    def test_keywords(self):
        self.refused("takes no keyword arguments", typ=Error)


class Targets(ThrowTestCase):

    def test_suspended_goes_on(self):
        def run():
            try:
                switch_back()
            except Error:
                switch_back("caught")
            return "done"
        g = self.started(run)
        self.assertEqual(g.throw(Error), "caught")
        self.assertActive(g)
        self.assertEqual(g.switch(), "done")

    def test_suspended_does_not_catch(self):
        g = self.started(switch_back)
        with self.assertRaises(Error):
            g.throw(Error)
        self.assertDead(g)

    def test_exit_comes_back_as_a_value(self):
        g = self.started(switch_back)
        e = GreenletExit("bye")
        self.assertIs(g.throw(e), e)
        self.assertDead(g)

    def test_exit_runs_finally(self):
        log = []

        def run():
            try:
                switch_back()
            finally:
                log.append("finally")
        self.started(run).throw()
        self.assertEqual(log, ["finally"])

    def test_current(self):
        with self.assertRaises(Error):
            getcurrent().throw(Error)
        with self.assertRaises(GreenletExit):
            getcurrent().throw()

    def test_pending(self):
        log = []
        g = greenlet(log.append)
        with self.assertRaises(Error):
            g.throw(Error)
        self.assertEqual(log, [])
        self.assertDead(g)

    def test_pending_exit(self):
        g = greenlet(lambda: 1)
        e = g.throw()
        self.assertIs(type(e), GreenletExit)
        self.assertDead(g)

    def test_pending_goes_to_its_parent(self):
        log = []
        p = self.started(catch, log)
        g = greenlet(lambda: 1, p)
        g.throw(Error)
        self.assertIs(type(log[0]), Error)
        self.assertDead(p)

    def test_pending_exit_goes_to_its_parent(self):
        log = []
        p = self.started(catch, log)
        greenlet(lambda: 1, p).throw()
        self.assertIs(type(log[0]), GreenletExit)
        self.assertIsNone(log[0].__context__)

    def test_pending_chain(self):
        g = greenlet(lambda: 1, greenlet(lambda: 2))
        with self.assertRaises(Error):
            g.throw(Error)
        self.assertDead(g.parent)

    def test_dead(self):
        g = greenlet(lambda: None)
        g.switch()
        with self.assertRaises(Error):
            g.throw(Error)
        e = GreenletExit()
        self.assertIs(g.throw(e), e)
        self.assertIs(type(g.throw()), GreenletExit)

    def test_dead_goes_to_the_living_ancestor(self):
        log = []
        p = self.started(catch, log)
        g = greenlet(lambda: None)
        g.switch()
        g.parent = p
        g.throw(Error)
        self.assertIs(type(log[0]), Error)

    def test_parent(self):
        def run():
            getcurrent().parent.throw(Error, "from the child")
        g = greenlet(run)
        with self.assertRaisesRegex(Error, "from the child"):
            g.switch()
        self.assertActive(g)

    def test_catching_exit_and_going_on(self):
        def run():
            while True:
                try:
                    switch_back()
                except GreenletExit:
                    return "ended by exit"
        self.assertEqual(self.started(run).throw(), "ended by exit")

    def test_again_and_again(self):
        log = []

        def run():
            for i in range(5):
                catch(log)
        g = self.started(run)
        for i in range(5):
            g.throw(Error, i)
        self.assertEqual([e.args[0] for e in log], list(range(5)))
        self.assertDead(g)

    def test_another_exception_instead(self):
        def run():
            try:
                switch_back()
            except Error as e:
                raise KeyError("instead") from e
        g = self.started(run)
        with self.assertRaises(KeyError) as cm:
            g.throw(Error)
        self.assertIs(type(cm.exception.__cause__), Error)


class Context(ThrowTestCase):

    def test_not_from_the_thrower(self):
        try:
            raise KeyError
        except KeyError:
            e = self.thrown(Error)
        self.assertIsNone(e.__context__)

    def test_not_from_the_target(self):
        log = []

        def run():
            try:
                raise KeyError
            except KeyError:
                catch(log)
        self.started(run).throw(Error)
        self.assertIsNone(log[0].__context__)

    def test_not_when_it_comes_back(self):
        g = self.started(switch_back)
        try:
            raise KeyError
        except KeyError:
            with self.assertRaises(Error) as cm:
                g.throw(Error)
        self.assertIsNone(cm.exception.__context__)


class PendingParent(GreenletTestCase):
    """A parent that has not been started gets no GreenletExit as an argument."""

    def parent(self):
        return greenlet(lambda *args: args)

    def test_of_a_dead_one(self):
        g = greenlet(lambda: None)
        g.switch()
        g.parent = self.parent()
        self.assertEqual(g.throw(), ())

    def test_of_a_pending_one(self):
        self.assertEqual(greenlet(lambda: None, self.parent()).throw(), ())


class Thrower(GreenletTestCase):

    def test_does_not_keep_the_exception(self):
        main = getcurrent()
        g = greenlet(lambda: sorted([1], key=lambda x: main.throw(Error)))
        try:
            g.switch()
        except Error as e:
            r = weakref.ref(e)
        self.assertIsNone(r())


if __name__ == "__main__":
    unittest.main()
