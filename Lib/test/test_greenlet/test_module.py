"""The module: what is in it, and how the type looks."""

import builtins
import importlib
import sys
import types
import unittest

import greenlet
from greenlet import _greenlet

from .support import GreenletTestCase


class Names(GreenletTestCase):

    def test_package(self):
        self.assertTrue(hasattr(greenlet, "__path__"))
        self.assertIs(sys.modules["greenlet._greenlet"], _greenlet)
        self.assertIs(greenlet._greenlet, _greenlet)
        self.assertEqual(_greenlet.__name__, "greenlet._greenlet")

    def test_all(self):
        self.assertEqual(list(greenlet.__all__), [
            "__version__", "_C_API", "GreenletExit", "error", "getcurrent",
            "greenlet", "gettrace", "settrace"])
        namespace = {}
        exec("from greenlet import *", namespace)
        for name in greenlet.__all__:
            self.assertIs(namespace[name], getattr(greenlet, name))

    def test_version(self):
        self.assertRegex(greenlet.__version__, r"^3\.5\.\d+$")

    def test_same_objects_in_both(self):
        for name in ("greenlet", "getcurrent", "settrace", "gettrace", "error",
                     "GreenletExit", "_C_API", "GREENLET_USE_GC", "CLOCKS_PER_SEC",
                     "GREENLET_USE_TRACING", "GREENLET_USE_CONTEXT_VARS",
                     "enable_optional_cleanup",
                     "get_clocks_used_doing_optional_cleanup"):
            with self.subTest(name):
                self.assertIs(getattr(greenlet, name), getattr(_greenlet, name))

    def test_features(self):
        for name in ("GREENLET_USE_GC", "GREENLET_USE_TRACING", "GREENLET_USE_CONTEXT_VARS"):
            with self.subTest(name):
                self.assertIs(type(getattr(greenlet, name)), int)
                self.assertEqual(getattr(greenlet, name), 1)
        self.assertEqual(_greenlet.GREENLET_USE_STANDARD_THREADING, 1)
        self.assertGreater(greenlet.CLOCKS_PER_SEC, 1)

    def test_builtin_functions(self):
        for name in ("getcurrent", "settrace", "gettrace", "enable_optional_cleanup",
                     "get_clocks_used_doing_optional_cleanup"):
            self.assertIs(type(getattr(greenlet, name)), types.BuiltinFunctionType)

    def test_exceptions(self):
        self.assertEqual(greenlet.error.__bases__, (Exception,))
        self.assertEqual(greenlet.GreenletExit.__bases__, (BaseException,))
        for e, name in (greenlet.error, "error"), (greenlet.GreenletExit, "GreenletExit"):
            self.assertEqual((e.__module__, e.__name__), ("greenlet", name))
        self.assertFalse(hasattr(builtins, "GreenletExit"))

    def test_capsule(self):
        self.assertEqual(type(greenlet._C_API).__name__, "PyCapsule")
        self.assertIn('"greenlet._C_API"', repr(greenlet._C_API))

    def test_submodule_takes_attributes(self):
        _greenlet.test_attribute = 1
        del _greenlet.test_attribute

    def test_import_again(self):
        self.assertIs(importlib.import_module("greenlet._greenlet"), _greenlet)
        self.assertIs(importlib.import_module("greenlet"), greenlet)

    def test_no_arguments(self):
        for f in greenlet.getcurrent, greenlet.gettrace, \
                greenlet.get_clocks_used_doing_optional_cleanup:
            with self.subTest(f), self.assertRaises(TypeError):
                f(1)
        with self.assertRaises(TypeError):
            greenlet.settrace()
        with self.assertRaises(TypeError):
            greenlet.settrace(None, None)


class Counters(GreenletTestCase):

    def test_main_greenlets(self):
        greenlet.getcurrent()
        self.assertGreaterEqual(_greenlet.get_total_main_greenlets(), 1)

    def test_pending_cleanups(self):
        self.assertGreaterEqual(_greenlet.get_pending_cleanup_count(), 0)

    def test_clocks(self):
        clocks = greenlet.get_clocks_used_doing_optional_cleanup
        enable = greenlet.enable_optional_cleanup
        self.addCleanup(enable, True)
        self.assertIsNone(enable(True))
        self.assertGreaterEqual(clocks(), 0)
        self.assertIsNone(enable(False))
        self.assertIsNone(clocks())
        enable([1])
        self.assertEqual(clocks(), 0)
        enable(())
        self.assertIsNone(clocks())
        with self.assertRaises(TypeError):
            enable()
        with self.assertRaises(TypeError):
            enable(1, 2)

    def test_thread_local(self):
        self.assertIsNone(_greenlet.set_thread_local("test_greenlet key", None))


class Type(GreenletTestCase):

    def test_name(self):
        G = greenlet.greenlet
        self.assertEqual((G.__module__, G.__name__, G.__qualname__),
                         ("greenlet", "greenlet", "greenlet"))
        self.assertEqual(repr(G), "<class 'greenlet.greenlet'>")
        self.assertIs(type(greenlet.getcurrent()), G)

    def test_layout(self):
        G = greenlet.greenlet
        self.assertEqual(
            (G.__basicsize__, G.__itemsize__, G.__dictoffset__, G.__weakrefoffset__),
            (40, 0, 24, 16))
        self.assertEqual(G.__base__, object)

    def test_flags(self):
        heap, base, gc = 1 << 9, 1 << 10, 1 << 14
        managed_dict, managed_weakref = 1 << 4, 1 << 3
        self.assertEqual(greenlet.greenlet.__flags__ & (
            heap | base | gc | managed_dict | managed_weakref), base | gc)

    def test_size(self):
        self.assertEqual(sys.getsizeof(greenlet.greenlet()), 56)

    def test_dictionary(self):
        # Ours has a finalizer, by which the garbage collector ends suspended ones.
        self.assertEqual(set(vars(greenlet.greenlet)) - {"__del__"}, set("""
            __bool__ __dict__ __doc__ __getstate__ __init__ __new__ __repr__ _stack_saved dead
            error getcurrent GreenletExit gettrace gr_context gr_frame parent run settrace switch
            throw""".split()))

    def test_class_attributes_are_the_modules(self):
        for name in "getcurrent", "error", "GreenletExit", "settrace", "gettrace":
            self.assertIs(getattr(greenlet.greenlet, name), getattr(greenlet, name))

    def test_functions_in_the_class_do_not_bind(self):
        g = greenlet.greenlet()
        self.assertIs(g.getcurrent(), greenlet.getcurrent())
        self.assertIsNone(g.gettrace())

    def test_immutable(self):
        for name in "foo", "run", "switch":
            with self.assertRaisesRegex(
                    TypeError, f"^cannot set '{name}' attribute of immutable type "
                               "'greenlet.greenlet'$"):
                setattr(greenlet.greenlet, name, 1)

    def test_docstrings(self):
        self.assertTrue(greenlet.greenlet.__doc__)
        for name in "switch", "throw":
            self.assertTrue(getattr(greenlet.greenlet, name).__doc__)

    def test_identity(self):
        a, b = greenlet.greenlet(), greenlet.greenlet()
        self.assertEqual(a, a)
        self.assertNotEqual(a, b)
        self.assertEqual(len({a, b, a}), 2)
        with self.assertRaises(TypeError):
            a < b
        with self.assertRaises(TypeError):
            len(a)

    def test_descriptors(self):
        # gevent calls them so.
        G = greenlet.greenlet
        g = G(lambda x: x)
        self.assertIs(G.dead.__get__(g), False)
        self.assertIs(G.parent.__get__(g), greenlet.getcurrent())
        self.assertEqual(G.switch(g, 5), 5)
        self.assertIs(G.dead.__get__(g), True)
        with self.assertRaises(TypeError):
            G.switch(5)
        with self.assertRaises(TypeError):
            G.throw()


if __name__ == "__main__":
    unittest.main()
