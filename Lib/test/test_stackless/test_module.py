"""The module `stackless`: attributes that are computed on access, and how fast the others are."""

import copy
import dis
import gc
import importlib
import inspect
import pickle
import pydoc
import sys
import threading
import types
import unittest
import unittest.mock
import weakref

import stackless
from stackless import tasklet

from .support import ChildTestCase, StacklessTestCase

COMPUTED = {
    "current": stackless.getcurrent,
    "main": stackless.getmain,
    "runcount": stackless.getruncount,
    "threads": stackless.getthreads,
    "uncollectables": stackless.getuncollectables,
    "debug": stackless.getdebug,
}

# So often an instruction is executed before it is surely specialised.
WARM = 100


def in_tasklet(function):
    """What the function returns in a tasklet of its own."""
    result = []
    tasklet(lambda: result.append(function()))()
    stackless.run()
    return result[0]


def load_instruction(function, name):
    """The specialised form of the instruction that loads the attribute in the function."""
    return next(i.opname for i in dis.get_instructions(function, adaptive=True)
                if i.baseopname == "LOAD_ATTR" and i.argval == name)


class Computed(StacklessTestCase):

    def read(self):
        return {name: getattr(stackless, name) for name in COMPUTED}

    def called(self):
        return {name: function() for name, function in COMPUTED.items()}

    def test_equal_what_the_functions_return(self):
        self.assertEqual(self.read(), self.called())
        self.assertIs(stackless.current, stackless.main)
        current, called = in_tasklet(lambda: (self.read(), self.called()))
        self.assertEqual(current, called)
        self.assertIsNot(current["current"], current["main"])

    def test_in_another_thread(self):
        seen = []

        def body():
            seen.append(stackless.current is stackless.main)
            seen.append(stackless.main)
            seen.append(in_tasklet(lambda: stackless.current is stackless.main))
        t = threading.Thread(target=body)
        t.start()
        t.join()
        self.assertEqual(seen[::2], [True, False])
        self.assertIsNot(seen[1], stackless.main)

    def refused(self):
        for name in COMPUTED:
            for change in (f"stackless.{name} = 1", f"del stackless.{name}",
                           f"setattr(stackless, {name!r}, 1)",
                           f"delattr(stackless, {name!r})"):
                with self.subTest(change):
                    before = self.read()
                    for _ in range(WARM):
                        with self.assertRaisesRegex(AttributeError, f"'{name}' .*not writable"):
                            exec(change)
                    self.assertEqual(self.read(), before)
                    self.assertNotIn(name, vars(stackless))

    def test_cannot_be_assigned_or_deleted(self):
        self.refused()

    def test_cannot_be_assigned_or_deleted_in_a_tasklet(self):
        in_tasklet(self.refused)

    def test_cannot_be_patched(self):
        with self.assertRaisesRegex(AttributeError, "'current'"):
            with unittest.mock.patch("stackless.current", 1):
                self.fail("patched")
        self.assertIs(stackless.current, stackless.main)

    def test_do_not_look_into_the_dict(self):
        def load():
            return [stackless.current for _ in range(WARM)]
        for run in (lambda f: f()), in_tasklet:
            vars(stackless)["current"] = 1
            try:
                found = run(lambda: (set(load()), {stackless.current}))
            finally:
                del vars(stackless)["current"]
            self.assertEqual(*found)
            self.assertNotIn(1, found[0])

    def test_can_be_found(self):
        members = dict(inspect.getmembers(stackless))
        for name in COMPUTED:
            self.assertIn(name, dir(stackless))
            self.assertIn(name, members)
            self.assertIs(getattr(type(stackless), name),
                          inspect.getattr_static(stackless, name))
        self.assertEqual(dir(stackless), sorted(set(dir(stackless))))
        self.assertTrue(inspect.ismodule(stackless))
        self.assertIn("schedule_remove(retval", pydoc.plain(pydoc.render_doc(stackless)))

    def test_from_import(self):
        from stackless import current, main
        self.assertIs(current, main)
        with self.assertRaisesRegex(ImportError, "no_such_name"):
            from stackless import no_such_name    # noqa: F401

    def test_reload(self):
        kind = type(stackless)
        self.assertIs(importlib.reload(stackless), stackless)
        self.assertIs(type(stackless), kind)
        self.assertIs(stackless.current, stackless.main)


class Others(StacklessTestCase):
    """Attributes that are in the module's dict."""

    def tearDown(self):
        vars(stackless).pop("spam", None)
        super().tearDown()

    def test_are_loaded_as_those_of_any_module(self):
        def load():
            for _ in range(WARM):
                stackless.schedule
                stackless.current
        load()
        self.assertEqual(load_instruction(load, "schedule"), "LOAD_ATTR_MODULE")
        self.assertEqual(load_instruction(load, "current"), "LOAD_ATTR")

    def test_are_called_as_those_of_any_module(self):
        def call():
            for _ in range(WARM):
                seen.append(stackless.getcurrentid())
        for run in (lambda f: f()), in_tasklet:
            seen = []
            run(call)
            self.assertEqual(len(seen), WARM)
            self.assertEqual(load_instruction(call, "getcurrentid"), "LOAD_ATTR_MODULE")

    def test_can_be_changed(self):
        def load():
            return stackless.spam
        for value in range(WARM):
            stackless.spam = value
            self.assertEqual(load(), value)
        self.assertEqual(load_instruction(load, "spam"), "LOAD_ATTR_MODULE")
        del stackless.spam
        with self.assertRaisesRegex(AttributeError, "'spam'"):
            load()
        stackless.spam = load
        self.assertIs(load(), load)

    def test_can_be_patched(self):
        def call():
            return stackless.getruncount()
        for _ in range(WARM):
            self.assertEqual(call(), 1)
        with unittest.mock.patch("stackless.getruncount", return_value="patched"):
            self.assertEqual(call(), "patched")
        self.assertEqual(call(), 1)

    def test_of_several_modules_at_one_instruction(self):
        def load(module):
            return module.spam
        stackless.spam = "ours"
        exact = types.ModuleType("exact")
        exact.spam = "exact"
        for _ in range(WARM):
            for module, spam in (stackless, "ours"), (exact, "exact"):
                for _ in range(WARM):
                    self.assertEqual(load(module), spam)
        for other in object(), sys, 1, int:
            with self.assertRaises(AttributeError):
                load(other)

    def test_names_of_the_type_are_the_types(self):
        def load():
            return stackless.__dict__
        vars(stackless)["__dict__"] = 1
        try:
            for _ in range(WARM):
                self.assertIsInstance(load(), dict)
        finally:
            del vars(stackless)["__dict__"]


class Type(StacklessTestCase):

    def test_is_pickled_by_name(self):
        self.assertEqual(stackless.__reduce__(), "stackless")
        self.assertEqual(stackless.__reduce_ex__(4), "stackless")
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            for dumps in pickle.dumps, pickle._dumps:
                self.assertIs(pickle.loads(dumps(stackless, protocol)), stackless)
        self.assertIs(copy.copy(stackless), stackless)
        self.assertIs(copy.deepcopy([stackless])[0], stackless)

    def test_is_closed(self):
        kind = type(stackless)
        for change in (lambda: kind("name"), lambda: kind.__new__(kind),
                       lambda: type("Sub", (kind,), {}),
                       lambda: setattr(kind, "current", 1),
                       lambda: delattr(kind, "current")):
            with self.assertRaises(TypeError):
                change()

    def test_class_of_the_module_can_be_assigned(self):
        def load():
            return stackless.getruncount
        kind = type(stackless)
        for other in types.ModuleType, type("Sub", (types.ModuleType,), {}), kind:
            try:
                stackless.__class__ = other
                for _ in range(WARM):
                    self.assertIs(load(), COMPUTED["runcount"])
            finally:
                stackless.__class__ = kind

    def test_a_module_of_it_is_collected(self):
        def load(module):
            return module.spam
        module = types.ModuleType("module")
        module.__class__ = type(stackless)
        module.itself = module.spam = module
        for _ in range(WARM):
            self.assertIs(load(module), module)
        self.assertIs(module.current, stackless.current)
        kind, gone = sys.getrefcount(type(stackless)), weakref.ref(module)
        self.assertIn(type(stackless), gc.get_referents(module))
        del module
        gc.collect()
        self.assertIsNone(gone())
        self.assertEqual(sys.getrefcount(type(stackless)), kind - 1)

    def test_last_reference_given_up_by_the_load(self):
        def load(modules):
            return modules.pop().spam
        for _ in range(WARM):
            module = types.ModuleType("module")
            module.spam = value = object()
            module.__class__ = type(stackless)
            gone, modules = weakref.ref(module), [module]
            del module
            self.assertIs(load(modules), value)
            self.assertIsNone(gone())


class Places(ChildTestCase):

    HOT = f"""
import stackless, sys
def hot():
    for _ in range({WARM}):
        assert stackless.current is stackless.main, stackless.current
        assert stackless.schedule() is stackless.main
    try:
        stackless.current = 1
    except AttributeError:
        pass
    else:
        raise AssertionError("assigned")
hot()
"""

    def test_imported_again(self):
        self.run_ok(self.HOT + """
old, kind = stackless, type(stackless)
del sys.modules["stackless"]
import stackless
assert stackless is not old and type(stackless) is kind
hot()
""")

    def test_imported_lazily(self):
        self.run_ok("""
import importlib.util, sys
spec = importlib.util.find_spec("stackless")
spec.loader = importlib.util.LazyLoader(spec.loader)
sys.modules["stackless"] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
assert type(module).__name__ == "_LazyModule"
""" + self.HOT)

    def test_builtin_module_alone(self):
        self.run_ok("""
import _stackless, sys, types
assert "stackless" not in sys.modules
assert type(_stackless) is types.ModuleType
assert _stackless.getcurrent() is _stackless.getmain()
""")

    def test_in_interpreters(self):
        try:
            import _interpreters    # noqa: F401
        except ImportError:
            self.skipTest("_interpreters is not built")
        self.run_ok(self.HOT + f"""
import _interpreters, threading
def run(config):
    for _ in range(3):
        interp = _interpreters.create(config)
        exc = _interpreters.exec(interp, {self.HOT!r})
        _interpreters.destroy(interp)
        assert exc is None, exc.formatted
        hot()
    ended.append(config)
ended = []
threads = [threading.Thread(target=run, args=[c]) for c in ("isolated", "legacy", "isolated")]
for t in threads:
    t.start()
for t in threads:
    t.join()
assert sorted(ended) == ["isolated", "isolated", "legacy"], ended
""")


class ReplacedNames(ChildTestCase):
    """What the module's own code needs it does not look up where programs put other things."""

    def test_builtins(self):
        self.run_ok("""
            import builtins
            names = {name: getattr(builtins, name)
                     for name in ("type", "dict", "list", "range", "next", "sorted", "__import__")}
            def refuse(*args, **kwargs):
                raise AssertionError(args)
            for name in names:
                if name != "__import__":
                    setattr(builtins, name, refuse)
            try:
                import _stackless
            finally:
                for name, value in names.items():
                    setattr(builtins, name, value)
            import stackless
            class C:
                def __add__(self, other):
                    stackless.schedule()
                    return stackless.getcurrent().restorable
            got = []
            t = stackless.tasklet(lambda: got.append(C() + 1))()
            stackless.run()
            assert got == [True], got
        """)

    def test_partial(self):
        # What had the type of something else in its place was taken for a partial(): a crash.
        for other in ("operator.itemgetter", "type('partial', (_functools.partial,), {})",
                      "lambda: 1", "5"):
            self.run_ok(f"""
                import _functools, operator
                _functools.partial = {other}
                import stackless
                def task():
                    for i in range(50):
                        got.add(first("items"))
                        got.add(first(*("items",)))
                first = operator.itemgetter(0)
                got = set()
                stackless.tasklet(task)()
                stackless.run()
                assert got == {{"i"}}, got
            """)

    def test_atexit(self):
        # Tasklets of threads are to be killed, whatever has become of atexit.register().
        self.run_ok("""
            import atexit
            real = atexit.register
            registered = []
            atexit.register = registered.append
            import stackless
            assert not registered
            def task():
                try:
                    list(map(lambda _: stackless.schedule_remove(), [0]))
                finally:
                    print("killed")
            t = stackless.tasklet(task)()
            stackless.run()
            """)


if __name__ == "__main__":
    unittest.main()
