"""Exceptions that travel, and those that each greenlet handles for itself."""

import sys
import traceback
import unittest

from greenlet import GreenletExit, getcurrent, greenlet

from .support import Error, GreenletTestCase, switch_back


def names(function, *args):
    """The functions in the traceback of the Error that a call raises."""
    try:
        function(*args)
    except Error as e:
        return [f.name for f in traceback.extract_tb(e.__traceback__)]


class HandledExceptions(GreenletTestCase):

    def test_new_one_handles_nothing(self):
        try:
            raise Error
        except Error:
            info = greenlet(sys.exc_info).switch()
        self.assertEqual(info, (None, None, None))

    def test_each_has_its_own(self):
        def run(e):
            try:
                raise e
            except BaseException:
                switch_back()
                return sys.exception()
        errors = [Error(i) for i in range(5)]
        some = [self.started(run, e) for e in errors]
        self.assertIsNone(sys.exception())
        try:
            raise KeyError
        except KeyError as e:
            for g, expected in zip(some, errors):
                self.assertIs(g.switch(), expected)
                self.assertIs(sys.exception(), e)
        self.assertIsNone(sys.exception())

    def test_switcher_keeps_its_own(self):
        def run():
            try:
                raise KeyError
            except KeyError:
                switch_back()
        try:
            raise Error
        except Error as e:
            g = self.started(run)
            self.assertIs(sys.exception(), e)
            g.switch()
            self.assertIs(sys.exception(), e)

    def test_bare_raise(self):
        def run():
            try:
                raise Error("mine")
            except Error:
                switch_back()
                raise
        g = self.started(run)
        with self.assertRaisesRegex(Error, "mine"):
            try:
                raise KeyError
            except KeyError:
                g.switch()

    def test_bare_raise_in_a_new_one(self):
        def run():
            raise
        with self.assertRaisesRegex(RuntimeError, "No active exception to reraise"):
            try:
                raise Error
            except Error:
                greenlet(run).switch()

    def test_nested_handlers(self):
        def run():
            try:
                raise Error(1)
            except Error:
                try:
                    raise Error(2)
                except Error:
                    switch_back()
                    inner = sys.exception().args
                switch_back()
                return inner, sys.exception().args
        g = self.started(run)
        g.switch()
        self.assertEqual(g.switch(), ((2,), (1,)))

    def test_in_a_generator(self):
        def gen():
            try:
                raise Error("gen")
            except Error:
                yield switch_back()
                yield str(sys.exception())
        g = greenlet(lambda: list(gen()))
        g.switch()
        self.assertIsNone(sys.exception())
        self.assertEqual(g.switch(1), [1, "gen"])

    def test_in_finally(self):
        log = []

        def run():
            try:
                try:
                    raise Error
                finally:
                    log.append(switch_back())
            except Error:
                return "caught"
        g = self.started(run)
        self.assertEqual(g.switch("x"), "caught")
        self.assertEqual(log, ["x"])

    def test_in_with(self):
        class Manager:
            def __enter__(self):
                return switch_back("enter")

            def __exit__(self, *info):
                return switch_back("exit", info[0])

        def run():
            with Manager() as m:
                raise Error
            return m
        g = greenlet(run)
        self.assertEqual(g.switch(), "enter")
        self.assertEqual(g.switch(5), ("exit", Error))
        self.assertEqual(g.switch(True), 5)

    def test_context_within_one(self):
        def run():
            try:
                raise KeyError
            except KeyError:
                switch_back()
                raise Error
        g = self.started(run)
        with self.assertRaises(Error) as cm:
            g.switch()
        self.assertIs(type(cm.exception.__context__), KeyError)

    def test_context_not_from_another(self):
        def run():
            raise Error
        try:
            raise KeyError
        except KeyError:
            try:
                greenlet(run).switch()
            except Error as e:
                context = e.__context__
        self.assertIsNone(context)

    def test_except_star(self):
        def run():
            try:
                raise ExceptionGroup("g", [Error(1), KeyError(2)])
            except* Error:
                switch_back()
            except* KeyError:
                switch_back()
            return sys.exception()
        g = self.started(run)
        g.switch()
        self.assertIsNone(g.switch())


class Tracebacks(GreenletTestCase):

    def test_grows_through_the_parents(self):
        def child():
            raise Error

        def parent():
            greenlet(child).switch()
        self.assertEqual(names(greenlet(parent).switch), ["names", "parent", "child"])

    def test_of_a_thrown_one(self):
        def run():
            switch_back()
        g = self.started(run)
        self.assertEqual(names(g.throw, Error), ["names", "run", "switch_back"])

    def test_stack_of_a_new_one_ends_with_it(self):
        def inner():
            return [f.name for f in traceback.extract_stack()]

        def run():
            return inner()
        self.assertEqual(greenlet(run).switch(), ["run", "inner"])

    def test_frames_do_not_reach_into_the_switcher(self):
        self.assertIsNone(greenlet(lambda: sys._getframe().f_back).switch())

        def depth():
            with self.assertRaises(ValueError):
                sys._getframe(1)
        greenlet(depth).switch()

    def test_exit_in_a_subgreenlet_stays_there(self):
        def run():
            value = greenlet(lambda: sys.exit(3)).switch()
            return value
        with self.assertRaises(SystemExit) as cm:
            greenlet(run).switch()
        self.assertEqual(cm.exception.code, 3)

    def test_kill(self):
        log = []

        def run():
            try:
                switch_back()
            except GreenletExit:
                log.append("exit")
                raise
        g = self.started(run)
        self.assertIsInstance(g.throw(), GreenletExit)
        self.assertEqual(log, ["exit"])

    def test_many_alternating(self):
        # Each switches in the midst of handling, in turn.
        def run(n):
            result = []
            for i in range(20):
                try:
                    raise Error(n, i)
                except Error as e:
                    switch_back()
                    result.append(sys.exception() is e and e.args == (n, i))
            return all(result)
        some = [self.started(run, n) for n in range(10)]
        for i in range(19):
            for g in some:
                g.switch()
        self.assertEqual([g.switch() for g in some], [True] * 10)

    def test_exception_pending_while_switching(self):
        # An exception travels while a destructor switches.
        log = []
        other = greenlet(lambda: [log.append(switch_back()) for i in range(3)])
        other.switch()

        class X:
            def __del__(self):
                other.switch(getcurrent() is main)
        main = getcurrent()

        def fails():
            x = X()
            raise Error("travels")
        for i in range(2):
            with self.assertRaisesRegex(Error, "travels"):
                try:
                    fails()
                except Error as e:
                    e.__traceback__ = None
                    raise
        self.assertEqual(log, [True, True])


if __name__ == "__main__":
    unittest.main()
