"""Whatever might crash the interpreter, each in a child of its own.

The children may fail in any way a Python program can; the tests demand that
they live to print "survived", or exit with the status that they asked for.
"""

import textwrap
import unittest

from .support import ChildTestCase, needs_order

HEAD = """\
import gc, sys, weakref
import stackless
from stackless import *
from stackless import bomb
class X: pass
def nothing(*args): pass
sys.unraisablehook = lambda info: None
"""
TAIL = """
print("survived")
"""


class Crash(ChildTestCase):

    def survives(self, source, *args, **kwargs):
        return self.run_survives(HEAD + source + TAIL, *args, **kwargs)


class OddPlaces(Crash):
    """Switching where nobody expects it."""

    def test_destructor(self):
        self.survives("""
def switch():
    for f in (schedule, schedule_remove, stackless.run, channel().receive,
              lambda: tasklet(nothing)().run(), stackless.main.run):
        try:
            f()
        except RuntimeError:
            pass
class D:
    def __del__(self):
        switch()
def task(n):
    for i in range(3):
        x = D()
        del x
        schedule()
        [D() for i in range(3)]
        D().cycle = D()
    raise TaskletExit(D())
for i in range(10):
    tasklet(task)(i)
    D()
    x = D(); x.x = x; del x
    gc.collect()
while stackless.runcount > 1:
    stackless.run()
gc.collect()
""")

    def test_collector(self):
        # A collection at every third allocation, with switching finalizers.
        self.survives("""
gc.set_threshold(3)
class D:
    def __init__(self):
        self.me = self
    def __del__(self):
        try:
            schedule()
        except RuntimeError:
            pass
def task(ch):
    for i in range(30):
        D()
        schedule()
        ch.send([D()])
        D()
def reader(ch):
    for x in ch:
        D()
        x.append(x)
ch = channel()
r = tasklet(reader)(ch)
for i in range(5):
    tasklet(task)(ch)
for i in range(1000):
    if stackless.runcount == 1:
        break
    stackless.run()
r.kill()
gc.set_threshold(700)
gc.collect()
""")

    def test_collector_callback(self):
        self.survives("""
def callback(phase, info):
    for f in (schedule, stackless.run):
        try:
            f()
        except RuntimeError:
            pass
gc.callbacks.append(callback)
gc.set_threshold(10)
def task():
    for i in range(20):
        x = [[] for i in range(20)]
        x.append(x)
        schedule()
for i in range(10):
    tasklet(task)()
while stackless.runcount > 1:
    stackless.run()
gc.callbacks.clear()
""")

    def test_weakref_callback(self):
        self.survives("""
def callback(r):
    try:
        schedule()
    except RuntimeError:
        pass
def task():
    for i in range(10):
        x = X()
        r = weakref.ref(x, callback)
        del x
        schedule()
for i in range(10):
    tasklet(task)()
t = tasklet(nothing)
r = weakref.ref(t, callback)
del t
ch = channel()
s = weakref.ref(ch, callback)
del ch
while stackless.runcount > 1:
    stackless.run()
""")

    def test_trace_function(self):
        self.survives("""
def tracer(frame, event, arg):
    try:
        schedule()
    except RuntimeError:
        pass
    return tracer
def inner():
    return [i for i in range(3)]
def task():
    sys.settrace(tracer)
    for i in range(3):
        inner()
        schedule()
    sys.settrace(None)
for i in range(5):
    tasklet(task)()
sys.settrace(tracer)
for i in range(5):
    inner()
sys.settrace(None)
while stackless.runcount > 1:
    stackless.run()
""")

    def test_profile_function(self):
        self.survives("""
def profiler(frame, event, arg):
    try:
        schedule()
    except RuntimeError:
        pass
def task():
    sys.setprofile(profiler)
    for i in range(3):
        len(())
        schedule()
    sys.setprofile(None)
for i in range(5):
    tasklet(task)()
sys.setprofile(profiler)
len(())
sys.setprofile(None)
while stackless.runcount > 1:
    stackless.run()
""")

    def test_trace_function_that_kills(self):
        self.survives("""
def tracer(frame, event, arg):
    if event == "return":
        stackless.current.kill()
    return tracer
def task():
    schedule()
    nothing()
    schedule()
for i in range(5):
    t = tasklet(task)
    t.trace_function = tracer
    t()
for i in range(20):
    try:
        stackless.run()
    except BaseException:
        pass
""")

    def test_monitoring_callback(self):
        self.survives("""
E = sys.monitoring.events
sys.monitoring.use_tool_id(1, "x")
def callback(*args):
    try:
        schedule()
    except RuntimeError:
        pass
for e in (E.LINE, E.CALL, E.PY_RETURN, E.PY_START, E.C_RETURN, E.INSTRUCTION):
    sys.monitoring.register_callback(1, e, callback)
def task():
    for i in range(3):
        nothing()
        schedule()
sys.monitoring.set_local_events(
    1, task.__code__, E.LINE | E.CALL | E.PY_RETURN | E.PY_START | E.INSTRUCTION)
for i in range(5):
    tasklet(task)()
while stackless.runcount > 1:
    stackless.run()
sys.monitoring.free_tool_id(1)
""")

    @needs_order
    def test_signal_handler(self):
        self.survives("""
import signal
seen = []
def handler(signum, frame):
    seen.append(stackless.current.is_main)
    for f in (schedule, stackless.run, stackless.main.run):
        try:
            f()
        except RuntimeError:
            pass
signal.signal(signal.SIGINT, handler)
def task():
    for i in range(5):
        signal.raise_signal(signal.SIGINT)
        schedule()
for i in range(5):
    tasklet(task)()
signal.raise_signal(signal.SIGINT)
while stackless.runcount > 1:
    stackless.run()
assert len(seen) == 26, len(seen)
""")

    def test_trace_function_of_a_yield(self):
        # The generator counts as suspended already when its frame is left.
        self.survives("""
import sys
done = []
def numbers():
    yield 1
def trace(frame, event, arg):
    if event == "return" and frame.f_code.co_name == "numbers" and not done:
        done.append(1)
        schedule()
    return trace
def task():
    sys.settrace(trace)
    assert list(numbers()) == [1]
    sys.settrace(None)
    done.append(2)
tasklet(task)()
stackless.run()
assert done == [1, 2]
""")

    def test_signal_handler_that_raises(self):
        self.survives("""
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)   # a shell may have it ignored
log = []
def task():
    try:
        signal.raise_signal(signal.SIGINT)
        schedule()
    except KeyboardInterrupt:
        log.append(1)
    schedule()
for i in range(5):
    tasklet(task)()
stackless.run()
assert len(log) == 5
def loop():
    signal.raise_signal(signal.SIGINT)
    while True:
        schedule()
t = tasklet(loop)()
tasklet(loop)()
for i in range(2):
    try:
        stackless.run()
    except KeyboardInterrupt:
        log.append(2)
assert log[5:] == [2, 2], log
""")

    def test_pending_alarm_while_switching(self):
        self.survives("""
import signal
if hasattr(signal, "setitimer"):
    count = 0
    def handler(signum, frame):
        global count
        count += 1
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    def task():
        while count < 50:
            schedule()
    for i in range(10):
        tasklet(task)()
    stackless.run()
    signal.setitimer(signal.ITIMER_REAL, 0)
""")

    def test_unraisable_hook_and_excepthook(self):
        self.survives("""
def hook(*args):
    try:
        schedule()
    except RuntimeError:
        pass
sys.unraisablehook = hook
class D:
    def __del__(self):
        1 / 0
def task():
    D()
    schedule()
    D()
for i in range(5):
    tasklet(task)()
D()
while stackless.runcount > 1:
    stackless.run()
""")

    def test_audit_hook(self):
        self.survives("""
active = True
def hook(event, args):
    if active:
        try:
            schedule()
        except RuntimeError:
            pass
def task():
    sys._getframe()
    schedule()
    eval("1")
for i in range(5):
    tasklet(task)()
sys.addaudithook(hook)
eval("1")
while stackless.runcount > 1:
    stackless.run()
active = False
""")

    def test_descriptors_of_subclasses(self):
        self.survives("""
class T(tasklet):
    def __getattribute__(self, name):
        try:
            schedule()
        except RuntimeError:
            pass
        return super().__getattribute__(name)
    def __eq__(self, other):
        return True
    def __hash__(self):
        schedule()
        return 1
    def __bool__(self):
        return False
class C(channel):
    balance = queue = closing = None
    def __bool__(self):
        return False
    def __eq__(self, other):
        raise KeyError
    __hash__ = None
ch = C()
def task():
    ch.receive()
for i in range(5):
    T(task)()
schedule()
for i in range(5):
    ch.send(i)
for i in range(5):
    t = T(schedule)()
    t.run(); t.frame; t.alive
while stackless.runcount > 1:
    stackless.run()
""")


class Shutdown(Crash):

    def test_blocked_tasklets(self):
        self.survives("""
ch = channel()
def task(x):
    try:
        ch.receive()
    finally:
        print("finally", file=sys.stderr)
for i in range(10):
    tasklet(task)(X())
stackless.run()
""")

    def test_runnable_and_unstarted_tasklets(self):
        self.survives("""
def task():
    while True:
        schedule()
for i in range(10):
    tasklet(task)()
schedule()
for i in range(10):
    tasklet(task)()
""")

    def test_everything_in_builtins(self):
        self.survives("""
import builtins
def task():
    while True:
        schedule()
builtins.t = tasklet(task)()
schedule()
builtins.ch = channel()
builtins.u = tasklet(builtins.ch.receive)()
schedule()
builtins.m = stackless.main
builtins.s = stackless
builtins.f = sys._getframe()
builtins.g = builtins.t.frame
""")

    def test_destructors_that_use_stackless(self):
        self.survives("""
class D:
    def __init__(self):
        self.s = stackless
        self.t = tasklet
        self.ch = channel()
        self.n = nothing
    def __del__(self):
        for f in (self.s.schedule, self.s.run, self.s.schedule_remove,
                  self.t(self.n)().run, self.t(self.ch.receive)().run,
                  self.s.main.kill, self.s.getcurrent().kill,
                  self.t(self.n)().kill, lambda: self.ch.send(1),
                  self.s.getruncount, self.s.getthreads):
            try:
                f()
            except BaseException:
                pass
import builtins
builtins.d = D()
d = D()
e = D(); e.e = e
sys.d = D()
def task():
    d = D()
    schedule_remove(d)
for i in range(3):
    t = tasklet(task)()
    t.run()
""")

    def test_atexit_functions(self):
        self.survives("""
import atexit
def task():
    schedule()
    print("task")
@atexit.register
def last():
    tasklet(task)()
    stackless.run()
    tasklet(task)()
@atexit.register
def first():
    tasklet(sys.exit)(5)
    try:
        stackless.run()
    except BaseException:
        pass
""")

    def test_exit_in_a_tasklet_while_others_wait(self):
        self.run_status(HEAD + """
class D:
    def __del__(self):
        try:
            schedule()
        except BaseException:
            pass
ch = channel()
def task(x):
    ch.receive()
for i in range(5):
    tasklet(task)(D())
    tasklet(nothing)(D())
tasklet(sys.exit)(7)
stackless.run()
""", 7)

    def test_exit_in_a_nested_run(self):
        self.run_status(HEAD + """
def outer():
    tasklet(sys.exit)(8)
    stackless.run()
tasklet(outer)()
stackless.run()
""", 8)

    def test_exit_with_main_below_c_frames(self):
        self.run_status(HEAD + """
tasklet(sys.exit)(9)
list(map(lambda x: stackless.run(), [1]))
""", 9)

    def test_exit_from_depth(self):
        self.run_status(HEAD + """
def deep(n):
    if n:
        deep(n - 1)
    else:
        schedule()
        sys.exit(10)
tasklet(deep)(100)
stackless.run()
""", 10)

    def test_main_sees_the_exit_of_a_tasklet(self):
        # main was in run(): it may have TaskletExit raised there, and if it
        # then exits with a status of its own, that is the one.
        r = self.run_status(HEAD + """
tasklet(sys.exit)(11)
try:
    stackless.run()
except TaskletExit:
    sys.exit(42)
""", 42)
        self.assertEqual(r.stderr, "")

    def test_os_exit_in_a_tasklet(self):
        self.run_status(HEAD + """
import os
def task():
    schedule()
    os._exit(12)
tasklet(task)()
stackless.run()
""", 12)

    def test_fork_in_a_tasklet(self):
        self.survives("""
import os, warnings
if hasattr(os, "fork"):
    ch = channel()
    def task():
        pid = os.fork()
        ch.send(pid)
    for i in range(2):
        t = tasklet(task)()
        pid = ch.receive()
        stackless.run()
        if not pid:
            tasklet(nothing)()
            stackless.run()
            os._exit(3)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
""")

    def test_daemon_thread_that_switches(self):
        self.survives("""
import threading
started = threading.Event()
def task():
    while True:
        started.set()
        schedule()
def thread():
    for i in range(3):
        tasklet(task)()
    stackless.run()
threading.Thread(target=thread, daemon=True).start()
started.wait()
""")

    def test_daemon_thread_that_is_blocked(self):
        self.survives("""
import threading
started = threading.Event()
blocker = threading.Lock()
blocker.acquire()
def task():
    started.set()
    blocker.acquire()
def thread():
    ch = channel()
    tasklet(ch.receive)()
    tasklet(task)()
    tasklet(nothing)()
    stackless.run()
threading.Thread(target=thread, daemon=True).start()
started.wait()
""")

    def test_threads_that_end_with_tasklets(self):
        self.survives("""
import threading
kept = []
def task():
    x = X()
    schedule_remove(None)
def thread():
    ch = channel()
    kept.append(ch)
    kept.append(tasklet(ch.receive)())
    stackless.run()
    t = tasklet(task)()
    t.run()
    kept.append(t)
    kept.append(tasklet(task)())
    schedule()
    kept.append(stackless.main)
for i in range(5):
    t = threading.Thread(target=thread)
    t.start()
    t.join()
for ob in kept:
    for name in dir(ob):
        if not name.startswith("__"):
            try:
                value = getattr(ob, name)
                if callable(value):
                    value()
            except BaseException:
                pass
gc.collect()
del kept[:]
gc.collect()
""")

    def test_exception_at_the_end_of_main(self):
        r = self.run_status(HEAD + """
def task():
    while True:
        schedule()
for i in range(5):
    tasklet(task)()
schedule()
raise KeyError("end")
""", 1)
        self.assertIn("KeyError: 'end'", r.stderr)

    def test_generators_and_coroutines_left_over(self):
        self.survives("""
def gen(x):
    try:
        yield
    finally:
        try:
            schedule()
        except RuntimeError:
            pass
async def agen():
    try:
        yield 1
    finally:
        pass
def task():
    g = gen(X()); next(g)
    a = agen()
    schedule_remove(g)
kept = []
for i in range(5):
    t = tasklet(task)()
    t.run()
    kept.append(t)
""")

    def test_import_in_a_tasklet(self):
        self.survives("""
def task():
    import json, decimal, xml.dom.minidom
    schedule()
    import email.message
for i in range(3):
    tasklet(task)()
stackless.run()
""")

    def test_reimport(self):
        self.survives("""
for name in ("stackless", "_stackless"):
    del sys.modules[name]
t = tasklet(schedule)()
import stackless as s
assert s.getcurrent() is stackless.getcurrent()
s.run()
stackless.run()
import importlib
importlib.reload(s)
s.tasklet(nothing)()
s.run()
""")


class Watchdog(Crash):

    def test_loops_of_any_length(self):
        # The counting of ticks went on behind the EXTENDED_ARG of a `for`, took the
        # rest of its argument for all of it, and came to a place within an
        # instruction.  Here such places look like INSTRUMENTED_LINE (254).
        self.survives("""
namespace = {f"name{i}": i for i in range(300)}
exec("def gen(n):\\n for i in range(n):\\n  yield i", namespace)
index_254 = list(namespace)[254]
for n in range(40, 180, 4):
    for odd in (0, 1):
        exec("\\n".join(["def task():", " x = 1", " for i in gen(20):"] + ["  -x"] * odd
                       + [f"  {index_254}"] * n + ["  for j in range(3): pass"]),
             namespace)
        for limit in (200, 100000):
            tasklet(namespace["task"])()
            while (t := stackless.run(limit)) is not None:
                t.insert()
""")


class StrangeKeys(ChildTestCase):
    """Looking up a name compares it with a key whose __eq__ removes what was found already."""

    def check_as_in_main(self, source):
        """f() returns in a tasklet what it returns in main, in a child of its own."""
        source = "import stackless, types\n" + textwrap.dedent(source)
        in_main = self.run_ok(source + "print(f())")
        self.assertEqual(
            self.run_ok(source + "stackless.tasklet(lambda: print(f()))(); stackless.run()"),
            in_main)
        return in_main

    def test_getattr_of_a_module(self):
        self.assertEqual(self.check_as_in_main("""
            m = types.ModuleType("m")
            exec("def __getattr__(name): return name", m.__dict__)
            class Key:
                def __hash__(self):
                    return hash("missing")
                def __eq__(self, other):
                    m.__dict__.pop("__getattr__", None)
                    return False
            m.__dict__[Key()] = 1
            def f():
                try:
                    return m.missing
                except AttributeError:
                    return "none"
            """), "none\n")

    def test_get_of_a_descriptor(self):
        self.check_as_in_main("""
            class D:
                def __repr__(self):
                    return "D()"
            exec("def get(self, o, t): return 'got'\\nD.__get__ = get; del get")
            class Key:
                def __hash__(self):
                    return hash("d")
                def __eq__(self, other):
                    if "__get__" in D.__dict__:
                        del D.__get__
                    return False
            class A:
                d = D()
            a = A()
            a.__dict__[Key()] = 1
            def f():
                return a.d
            """)

    def test_dict_of_an_instance(self):
        self.assertEqual(self.check_as_in_main("""
            class Key:
                def __hash__(self):
                    return hash("d")
                def __eq__(self, other):
                    if a.__dict__:
                        a.__dict__ = {}
                        self.others = [dict.fromkeys(range(20)) for _ in range(20)]
                    return False
            class D:
                def __get__(self, o, t):
                    return "got"
            class A:
                d = D()
            def f():
                global a
                got = []
                for _ in range(50):
                    a = A()
                    a.__dict__[Key()] = 1
                    for i in range(30):
                        a.__dict__[f"z{i}"] = 1
                    got.append(a.d)
                return set(got)
            """), "{'got'}\n")

    def test_new_of_a_class(self):
        for call in "C(**d, y=arm())", "type.__call__(C, **d, y=arm())":
            self.assertEqual(self.check_as_in_main("""
                class Key(str):
                    armed = False
                    __eq__ = str.__eq__
                    def __hash__(self):
                        if self.armed and "__new__" in C.__dict__:
                            del C.__new__
                        return str.__hash__(self)
                class C:
                    pass
                exec("def new(cls, **kw): return 'new'\\nC.__new__ = new; del new")
                key = Key("x")
                d = {key: 1}
                def arm():
                    key.armed = True
                def f():
                    return CALL
                """.replace("CALL", call)), "new\n")


if __name__ == "__main__":
    unittest.main()
