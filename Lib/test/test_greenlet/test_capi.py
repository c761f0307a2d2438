"""The C interface: capi_test.c, compiled here with each greenlet.h there is, as C and as C++."""

import atexit
import functools
import gc
import functools
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import unittest
import weakref

import greenlet as package
from greenlet import GreenletExit, error, getcurrent, greenlet

from .support import (
    OURS, Error, GreenletTestCase, catch, echo, in_ended_thread, run_python, switch_back)

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
SOURCE = os.path.join(HERE, "capi_test.c")
TIMEOUT = 120


def header_directories():
    """Directories that greenlet/greenlet.h is in: this repository's, the interpreter's, PyPI's."""
    candidates = [os.path.join(ROOT, "Include"), sysconfig.get_path("include"),
                  os.path.dirname(os.path.dirname(package.__file__))]
    found = []
    for directory in candidates:
        header = os.path.join(directory, "greenlet", "greenlet.h")
        if os.path.exists(header) and not any(os.path.samefile(directory, f) for f in found):
            found.append(directory)
    return found


def include_flags():
    directories = [sysconfig.get_path("include"), sysconfig.get_path("platinclude"),
                   os.path.dirname(sysconfig.get_config_h_filename())]
    return [f"-I{d}" for d in dict.fromkeys(directories)]


@functools.cache
def compiler(language):
    """A command that compiles this language, or None."""
    names = {"c": [sysconfig.get_config_var("CC") or "", "cc", "gcc", "clang"],
             "c++": [sysconfig.get_config_var("CXX") or "", "c++", "g++", "clang++"]}
    for name in names[language]:
        command = shlex.split(name)
        if command and shutil.which(command[0]):
            return command
    return None


def build(headers, language, directory):
    """Compile the module into a directory; its path.  SkipTest where there is no compiler."""
    command = compiler(language)
    if command is None:
        raise unittest.SkipTest(f"no {language} compiler")
    if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
        raise unittest.SkipTest("this interpreter's header files are not installed")
    library = os.path.join(directory, "capi_test" + sysconfig.get_config_var("EXT_SUFFIX"))
    standard = {"c": ["-std=c11", "-Wall"], "c++": ["-std=c++11"]}[language]
    done = subprocess.run(
        [*command, "-x", language, *standard, "-shared", "-fPIC", "-g", "-O1",
         f"-I{headers}", *include_flags(), SOURCE, "-o", library],
        capture_output=True, timeout=TIMEOUT, encoding="utf-8", errors="backslashreplace")
    if done.returncode:
        raise AssertionError(f"{SOURCE} does not compile:\n{done.stderr}")
    return library


@functools.cache
def built(headers, language):
    """The library, built once: its static types stay for good."""
    directory = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, directory)
    library = build(headers, language, directory)
    return library, load(library)


def load(library):
    spec = importlib.util.spec_from_file_location("capi_test", library)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class CapiTests:
    """What every way to compile must pass."""

    headers = language = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.library, cls.capi = built(cls.headers, cls.language)

    @classmethod
    def tearDownClass(cls):
        del cls.capi
        super().tearDownClass()

    # -- the table --

    def test_objects(self):
        self.assertEqual(self.capi.objects(), (greenlet, error, GreenletExit))

    def test_layout(self):
        self.assertEqual(self.capi.sizes(), (40, 16, 24))
        self.assertEqual(greenlet.__basicsize__, 40)

    def test_new(self):
        g = self.capi.new(echo, None)
        self.assertIs(type(g), greenlet)
        self.assertIs(g.run, echo)
        self.assertIs(g.parent, getcurrent())
        h = self.capi.new(None, g)
        self.assertFalse(hasattr(h, "run"))
        self.assertIs(h.parent, g)
        with self.assertRaises(TypeError):
            self.capi.new(echo, 5)

    def test_getcurrent(self):
        self.assertIs(self.capi.getcurrent(), getcurrent())
        g = greenlet(self.capi.getcurrent)
        self.assertIs(g.switch(), g)

    def test_getcurrent_at_the_end_of_the_interpreter(self):
        done = run_python(f"""
            import importlib.util, sys
            spec = importlib.util.spec_from_file_location("capi_test", {self.library!r})
            capi = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(capi)
            class X:
                def __del__(self, getcurrent=capi.getcurrent, write=sys.stdout.write):
                    try:
                        getcurrent()
                    except RuntimeError as e:
                        write(str(e))
            import greenlet
            greenlet._greenlet.x = X()
            """)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(done.stdout, "greenlet is being finalized")

    def test_switch(self):
        switch = self.capi.switch
        self.assertEqual(switch(greenlet(lambda *a, **k: (a, k)), (1, 2), {"x": 3}),
                         ((1, 2), {"x": 3}))
        g = greenlet(echo)
        self.assertEqual(switch(g, (1,), None), 1)
        self.assertEqual(switch(g, (1, 2), None), (1, 2))
        self.assertEqual(switch(g, None, None), ())
        self.assertEqual(switch(g, None, {"a": 1}), {"a": 1})
        self.assertEqual(switch(g, (None,), None), "end")
        self.assertEqual(switch(g, (5,), None), 5)

    def test_switch_raises(self):
        def run():
            raise Error("here")
        with self.assertRaisesRegex(Error, "^here$"):
            self.capi.switch(greenlet(run), None, None)
        with self.assertRaises(AttributeError):
            self.capi.switch(greenlet(), None, None)

    def test_throw(self):
        for args in ((Error, 1, None), (Error(1), None, None)):
            log = []
            g = self.started(catch, log)
            self.capi.throw(g, *args)
            self.assertEqual(log[0].args, (1,))
        g = self.started(switch_back)
        self.assertIsInstance(self.capi.throw(g, GreenletExit, None, None), GreenletExit)
        with self.assertRaises(TypeError):
            self.capi.throw(greenlet(), 5, None, None)

    def test_parent(self):
        a, b = greenlet(), greenlet()
        self.assertEqual(self.capi.setparent(a, b), 0)
        self.assertIs(self.capi.getparent(a), b)
        with self.assertRaisesRegex(ValueError, "^cyclic parent chain$"):
            self.capi.setparent(b, a)
        with self.assertRaisesRegex(AttributeError, "^can't delete attribute$"):
            self.capi.setparent(a, None)
        with self.assertRaises(TypeError):
            self.capi.setparent(a, 5)
        self.assertEqual(self.capi.getparent(getcurrent()), "NULL")

    def test_states(self):
        def state(g):
            return self.capi.main(g), self.capi.started(g), self.capi.active(g)
        self.assertEqual(state(getcurrent()), (1, 1, 1))
        g = greenlet(echo)
        self.assertEqual(state(g), (0, 0, 0))
        g.switch(1)
        self.assertEqual(state(g), (0, 1, 1))
        g.switch(None)
        self.assertEqual(state(g), (0, 1, 0))
        main = in_ended_thread(getcurrent)
        self.assertEqual(self.capi.main(main), 1)

    def test_not_a_greenlet(self):
        capi = self.capi
        for function in (capi.main, capi.started, capi.active, capi.getparent,
                         lambda x: capi.switch(x, None, None),
                         lambda x: capi.throw(x, Error, None, None),
                         lambda x: capi.setparent(x, getcurrent())):
            for bad in 5, None, greenlet:
                with self.assertRaises(TypeError):
                    function(bad)

    def test_check(self):
        class G(greenlet):
            pass
        for x in greenlet(), G(), getcurrent(), self.capi.StaticSub():
            self.assertEqual(self.capi.check(x), 1)
        for x in None, 5, greenlet:
            self.assertEqual(self.capi.check(x), 0)

    def test_references(self):
        g = greenlet(lambda *args: args)
        before = sys.getrefcount(g), sys.getrefcount(getcurrent())
        for i in range(10):
            self.capi.getcurrent()
            self.capi.getparent(g)
            self.capi.setparent(g, getcurrent())
            self.capi.main(g)
        self.assertEqual((sys.getrefcount(g), sys.getrefcount(getcurrent())), before)

    # -- the C stack --

    def test_deep(self):
        def run(n):
            return self.capi.deep(main, n)
        main = getcurrent()
        some = [greenlet(run) for n in range(60)]
        for n, g in enumerate(some):
            g.switch(n)
        for n, g in reversed(list(enumerate(some))):
            self.assertEqual(g.switch(n), n)
            self.assertDead(g)

    def test_deep_into_each_other(self):
        def run(n):
            for i in range(10):
                self.capi.deep(some[(n + 1) % len(some)] if i % 2 else main, n + i)
            return n
        main = getcurrent()
        some = [greenlet(run) for n in range(3)]
        for n, g in enumerate(some):
            g.switch(n)
        for i in range(200):
            for g in some:
                if g:
                    g.switch()
        self.assertTrue(all(g.dead for g in some))

    def test_thrown_into_c(self):
        log = []

        def run():
            try:
                self.capi.deep(getcurrent().parent, 20)
            except Error as e:
                log.append(e.args)
        g = self.started(run)
        g.throw(Error, 7)
        self.assertEqual(log, [(7,)])

    # -- subclasses --

    def subclasses(self):
        class Python(self.capi.StaticSub):
            pass

        class PythonOfHeap(self.capi.HeapSub):
            pass
        return self.capi.StaticSub, self.capi.HeapSub, Python, PythonOfHeap

    def test_subclass_runs(self):
        for cls in self.subclasses():
            with self.subTest(cls):
                g = cls(echo)
                self.assertEqual(g.number, 42)
                self.assertIsNone(g.extra)
                g.extra = extra = object()
                g.attribute = 1
                self.assertEqual(g.switch(1), 1)
                self.assertEqual(g.switch(2), 2)
                self.assertIs(g.extra, extra)
                self.assertEqual(g.number, 42)
                g.switch(None)
                self.assertDead(g)

    def test_subclass_with_parent_and_weakref(self):
        for cls in self.subclasses():
            with self.subTest(cls):
                parent = cls(lambda value: ("parent", value))
                g = cls(lambda: 1, parent)
                r = weakref.ref(g)
                self.assertEqual(g.switch(), ("parent", 1))
                del g
                self.assertIsNone(r())

    def test_subclass_loses_its_fields_first(self):
        # Not so with a Python class over it, if killing is left to a finalizer.
        for cls in self.capi.StaticSub, self.capi.HeapSub:
            with self.subTest(cls):
                log = []

                def run():
                    try:
                        switch_back()
                    finally:
                        log.append(getcurrent().extra)
                g = cls(run)
                g.extra = 5
                g.switch()
                del g
                self.assertEqual(log, [None])

    def test_subclass_resurrected(self):
        for cls in self.capi.StaticSub, self.capi.HeapSub:
            with self.subTest(cls):
                saved = []

                def run():
                    try:
                        switch_back()
                    except GreenletExit:
                        saved.append(getcurrent())
                        switch_back()
                    return "end"
                count = sys.getrefcount(cls)
                g = cls(run)
                g.switch()
                del g
                g = saved.pop()
                self.assertActive(g)
                if OURS:    # PyPI's leaves it untracked
                    self.assertTrue(gc.is_tracked(g))
                self.assertEqual(g.switch(), "end")
                del g
                self.assertEqual(sys.getrefcount(cls), count)

    def test_subclass_in_a_cycle(self):
        for cls in self.subclasses():
            with self.subTest(cls):
                g = cls()
                g.extra = g
                r = weakref.ref(g)
                del g
                gc.collect()
                self.assertIsNone(r())

    def test_heap_subclass_keeps_its_count(self):
        cls = self.capi.HeapSub
        gc.collect()                    # instances of earlier tests
        before = sys.getrefcount(cls)
        some = [cls(echo) for i in range(10)]
        for g in some[:5]:
            g.switch(1)
        del some, g
        gc.collect()
        self.assertEqual(sys.getrefcount(cls), before)


def _add_test_cases():
    for number, headers in enumerate(header_directories()):
        for language, word in ("c", "C"), ("c++", "Cxx"):
            name = f"{word}{number or ''}"
            globals()[name] = type(name, (CapiTests, GreenletTestCase), {
                "headers": headers, "language": language, "__module__": __name__,
                "__doc__": f"Compiled as {language} with the greenlet.h of place {number}."})


_add_test_cases()


class Header(unittest.TestCase):

    @unittest.skipUnless(OURS, "about the built-in greenlet, this is another one")
    def test_is_where_python_h_is(self):
        include = sysconfig.get_path("include")
        if not os.path.exists(os.path.join(include, "Python.h")):
            self.skipTest("this interpreter's header files are not installed")
        self.assertTrue(os.path.exists(os.path.join(include, "greenlet", "greenlet.h")))


if __name__ == "__main__":
    unittest.main()
