"""All scenarios with the main tasklet in many places.

Only at the bottom of a script is main's C stack as short as a tasklet's.
Everywhere else (also in this test, and in any test runner) C code lies below
it, and a switch away from main nests.
"""

import os
import sys
import tempfile
import unittest

import stackless

from . import scenarios
from .support import PACKAGE_PARENT, ChildTestCase, StacklessTestCase, needs_order

HEAD = """\
import sys
from test_stackless import scenarios
"""


class Here(StacklessTestCase):
    """In this process, each on its own."""

    def test_in_a_generator(self):
        def gen():
            scenarios.run_all("generator")
            yield
        list(gen())

    def test_in_a_coroutine(self):
        import asyncio

        async def coro():
            await asyncio.sleep(0)
            scenarios.run_all("coroutine")
        asyncio.run(coro())


def _make(f):
    def test(self):
        f()
        self.assertQueue([stackless.main])
    test.__name__ = "test_" + f.__name__
    return test


for _f in scenarios.SCENARIOS.values():
    _test = _make(_f)
    setattr(Here, _test.__name__, _test)
del _test


class Places(ChildTestCase):

    def place(self, source, *args, **kwargs):
        out = self.run_ok(HEAD + source, *args, **kwargs)
        self.assertIn("done", out)

    def test_bare_script(self):
        self.place("scenarios.run_all('script')\nprint('done')\n")

    @needs_order
    def test_bare_script_with_inlined_scenarios(self):
        # The switching calls themselves are at module level.
        self.place("""\
import stackless
log = []
def task(name):
    for i in range(3):
        log.append(name)
        stackless.schedule()
for name in "ab":
    stackless.tasklet(task)(name)
stackless.schedule()
assert log == ["a", "b"], log
stackless.run()
assert log == list("ababab"), log
ch = stackless.channel()
def sender():
    for i in range(3):
        ch.send(i)
    ch.send_exception(StopIteration)
stackless.tasklet(sender)()
assert [x for x in ch] == [0, 1, 2]
stackless.tasklet(ch.send)(5)
assert ch.receive() == 5
stackless.run()
def fail():
    1 / 0
stackless.tasklet(fail)()
try:
    stackless.run()
except ZeroDivisionError as e:
    assert e.__traceback__.tb_frame is sys._getframe()
    assert e.__traceback__.tb_next.tb_frame.f_code is fail.__code__
stackless.tasklet(fail)()
try:
    ch.receive()
except ZeroDivisionError:
    assert ch.balance == 0
def thrower():
    stackless.main.throw(KeyError)
stackless.tasklet(thrower)()
try:
    stackless.schedule()
except KeyError:
    pass
stackless.run()
assert stackless.runcount == 1
print("done")
""")

    def test_command(self):
        r = self.run_ok(None, "-c", HEAD + "scenarios.run_all('-c'); print('done')")
        self.assertIn("done", r)

    def test_standard_input(self):
        r = self.run_ok(None, "-", stdin=HEAD
                        + "scenarios.run_all('stdin')\nprint('done')\n")
        self.assertIn("done", r)

    def test_interactive(self):
        r = self.run_status(None, 0, "-i", "-q", stdin=HEAD
                            + "scenarios.run_all('interactive')\nprint('done')\n")
        self.assertIn("done", r.stdout)
        self.assertNotIn("Traceback", r.stderr)

    def test_module_with_m(self):
        with tempfile.TemporaryDirectory() as directory:
            with open(os.path.join(directory, "mod.py"), "w") as file:
                file.write(HEAD + "scenarios.run_all('-m')\nprint('done')\n")
            out = self.run_ok(None, "-m", "mod", cwd=directory)
        self.assertIn("done", out)

    def test_directory_with_a_main_module(self):
        with tempfile.TemporaryDirectory() as directory:
            with open(os.path.join(directory, "__main__.py"), "w") as file:
                file.write(HEAD + "scenarios.run_all('directory')\nprint('done')\n")
            out = self.run_ok(None, directory)
        self.assertIn("done", out)

    def test_exec(self):
        self.place("exec(\"scenarios.run_all('exec')\")\nprint('done')\n")

    def test_eval(self):
        self.place("eval(\"scenarios.run_all('eval')\")\nprint('done')\n")

    def test_import(self):
        with tempfile.TemporaryDirectory() as directory:
            with open(os.path.join(directory, "mod.py"), "w") as file:
                file.write(HEAD + "scenarios.run_all('import')\n")
            self.place(f"sys.path.append({directory!r})\nimport mod\n"
                       "print('done')\n")

    def test_import_star_within_an_import(self):
        with tempfile.TemporaryDirectory() as directory:
            for name, text in (("a", "from b import *\n"), ("b", "import c\n"),
                               ("c", HEAD + "scenarios.run_all('import')\n")):
                with open(os.path.join(directory, name + ".py"), "w") as file:
                    file.write(text)
            self.place(f"sys.path.append({directory!r})\nfrom a import *\n"
                       "print('done')\n")

    def test_sitecustomize(self):
        with tempfile.TemporaryDirectory() as directory:
            with open(os.path.join(directory, "mod.pth"), "w") as file:
                file.write("import sys; sys.path.append(%r); "
                           "from test_stackless import scenarios; "
                           "scenarios.run_all('pth'); print('done')\n"
                           % PACKAGE_PARENT)
            self.place(f"import site; site.addsitedir({directory!r})\n")

    def test_thread(self):
        self.place("""\
import threading
errors = []
def thread():
    try:
        scenarios.run_all("thread")
    except BaseException as e:
        errors.append(e)
        raise
t = threading.Thread(target=thread)
t.start()
t.join()
assert not errors
scenarios.run_all("after a thread")
print("done")
""")

    def test_several_threads_at_once(self):
        self.place("""\
import threading
sys.setswitchinterval(1e-5)
errors = []
# One that counts the calls of a callback cannot be run by several at once.
for name in ("callbacks",):
    del scenarios.SCENARIOS[name]
def thread():
    try:
        scenarios.run_all("threads")
    except BaseException as e:
        errors.append(e)
        raise
threads = [threading.Thread(target=thread) for i in range(4)]
for t in threads:
    t.start()
for t in threads:
    t.join()
assert not errors, errors
print("done")
""")

    def test_bare_thread(self):
        self.place("""\
import _thread
lock = _thread.allocate_lock()
lock.acquire()
ok = []
def thread():
    try:
        scenarios.run_all("_thread")
        ok.append(1)
    finally:
        lock.release()
_thread.start_new_thread(thread, ())
lock.acquire()
assert ok
print("done")
""")

    def test_map_callback(self):
        self.place("list(map(scenarios.run_all, ['map']))\nprint('done')\n")

    def test_sort_key(self):
        self.place("sorted(['sorted'], key=scenarios.run_all)\nprint('done')\n")

    def test_class_body(self):
        self.place("class C:\n    scenarios.run_all('class')\nprint('done')\n")

    def test_destructor(self):
        self.place("""\
class C:
    def __del__(self):
        scenarios.run_all("__del__")
        print("done")
C()
""")

    def test_destructor_during_a_collection(self):
        self.place("""\
import gc
# A collection cannot run within another one.
del scenarios.SCENARIOS["collection_while_suspended"]
class C:
    def __del__(self):
        scenarios.run_all("gc")
        print("done")
c = C()
c.c = c
del c
gc.collect()
""")

    def test_weakref_callback(self):
        self.place("""\
import weakref
class C:
    pass
def callback(r):
    scenarios.run_all("weakref")
    print("done")
c = C()
r = weakref.ref(c, callback)
del c
""")

    def test_property(self):
        self.place("""\
class C:
    @property
    def x(self):
        scenarios.run_all("property")
C().x
print("done")
""")

    def test_generator(self):
        self.place("""\
def gen():
    scenarios.run_all("generator")
    yield
for x in gen():
    print("done")
""")

    def test_except_block(self):
        self.place("""\
try:
    1 / 0
except ZeroDivisionError:
    scenarios.run_all("except")
    print("done")
""")

    def test_finally_block_of_an_exception(self):
        self.place("""\
try:
    try:
        1 / 0
    finally:
        scenarios.run_all("finally")
except ZeroDivisionError:
    print("done")
""")

    def test_deep_recursion(self):
        self.place("""\
def deep(n):
    if n:
        deep(n - 1)
    else:
        scenarios.run_all("deep")
deep(500)
print("done")
""")

    def test_atexit_function(self):
        self.place("""\
import atexit
# Threads cannot be started any more.
del scenarios.SCENARIOS["a_thread_within"]
@atexit.register
def last():
    scenarios.run_all("atexit")
    print("done")
""")

    def test_signal_handler(self):
        self.place("""\
import signal
def handler(signum, frame):
    scenarios.run_all("signal")
    print("done")
signal.signal(signal.SIGINT, handler)
signal.raise_signal(signal.SIGINT)
""")

    def test_trace_function(self):
        self.place("""\
done = []
def tracer(frame, event, arg):
    sys.settrace(None)
    if not done:
        done.append(1)
        del scenarios.SCENARIOS["tracing_of_main_goes_on"]
        scenarios.run_all("trace function")
def f():
    pass
sys.settrace(tracer)
f()
assert done
print("done")
""")

    def test_asyncio_callback(self):
        self.place("""\
import asyncio
async def main():
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    def callback():
        try:
            scenarios.run_all("asyncio")
        except BaseException as e:
            done.set_exception(RuntimeError(repr(e)))
        else:
            done.set_result("done")
    loop.call_soon(callback)
    print(await done)
asyncio.run(main())
""")

    def test_ctypes_callback(self):
        try:
            import ctypes       # noqa: F401
        except ImportError:
            self.skipTest("ctypes is not built")
        self.place("""\
import ctypes
ok = []
@ctypes.CFUNCTYPE(ctypes.c_int)
def callback():
    scenarios.run_all("ctypes")
    ok.append(1)
    return 0
callback()
assert ok
print("done")
""")

    def test_subinterpreter(self):
        try:
            import _interpreters    # noqa: F401
        except ImportError:
            self.skipTest("_interpreters is not built")
        self.place("""\
import _interpreters
source = '''
import sys
sys.path.append(%r)
from test_stackless import scenarios
scenarios.run_all("subinterpreter")
print("done", flush=True)
'''
for config in ("legacy", "isolated"):
    i = _interpreters.create(config)
    try:
        excinfo = _interpreters.exec(i, source)
        assert excinfo is None, excinfo.errdisplay
    finally:
        _interpreters.destroy(i)
""" % PACKAGE_PARENT)

    def test_unittest_runner(self):
        self.place("""\
import unittest
class T(unittest.TestCase):
    def test(self):
        scenarios.run_all("unittest")
r = unittest.TextTestRunner(stream=sys.stdout).run(
    unittest.defaultTestLoader.loadTestsFromTestCase(T))
assert r.wasSuccessful()
print("done")
""")

    def test_profiled_script(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "script.py")
            with open(path, "w") as file:
                file.write(HEAD + f"sys.path.append({PACKAGE_PARENT!r})\n"
                           "scenarios.run_all('cProfile')\nprint('done')\n")
            out = self.run_ok(None, "-m", "cProfile", path)
        self.assertIn("done", out)

    def test_executable_is_the_one_under_test(self):
        out = self.run_ok("import sys; print(sys.version)")
        self.assertEqual(out.strip(), sys.version.strip())


class Options(ChildTestCase):
    """With options of the interpreter that change how code is executed."""

    def option(self, *args):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "script.py")
            with open(path, "w") as file:
                file.write(HEAD + "scenarios.run_all('option')\nprint('done')\n")
            r = self.run_status(None, 0, *args, path)
        self.assertIn("done", r.stdout)
        return r

    def test_optimized(self):
        self.option("-OO")

    def test_development_mode(self):
        r = self.option("-X", "dev")
        self.assertEqual(r.stderr, "")

    def test_warnings_are_errors(self):
        self.option("-W", "error", "-b", "-b")

    def test_tracemalloc(self):
        self.option("-X", "tracemalloc=20")

    def test_without_debug_ranges(self):
        self.option("-X", "no_debug_ranges")

    def test_unfrozen_modules(self):
        self.option("-X", "frozen_modules=off")

    def test_verbose(self):
        self.option("-v")

    def test_isolated(self):
        r = self.run_status(
            None, 0, "-I", "-c",
            f"import sys; sys.path.append({PACKAGE_PARENT!r})\n" + HEAD
            + "scenarios.run_all('isolated'); print('done')\n")
        self.assertIn("done", r.stdout)

    def test_unbuffered(self):
        self.option("-u")

    def test_perf_trampoline(self):
        # Every call of a Python function is one of C then: tasklets cannot
        # be left softly.  Refused or done, but no crash.
        source = HEAD + """
for name, f in scenarios.SCENARIOS.items():
    try:
        f()
    except (RuntimeError, AssertionError):
        pass
    import stackless
    for i in range(20):
        if stackless.runcount == 1:
            break
        try:
            stackless.run()
        except Exception:
            pass
print("survived")
"""
        if not hasattr(sys, "activate_stack_trampoline"):
            self.skipTest("no stack trampolines in this Python")
        start = "import sys; sys.activate_stack_trampoline('perf')\n"
        try:
            sys.activate_stack_trampoline("perf")
        except ValueError as e:
            self.skipTest(f"no stack trampolines on this platform: {e}")
        else:
            sys.deactivate_stack_trampoline()
        self.run_survives(start + source)


if __name__ == "__main__":
    unittest.main()
