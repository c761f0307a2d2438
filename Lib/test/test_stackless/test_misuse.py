"""Wrong arguments, wrong places, odd types: in children, since they might
crash."""

import unittest

from .support import ChildTestCase, needs_soft

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


class Misuse(Crash):

    def test_uninitialised_objects(self):
        self.survives("""
for cls in (tasklet, channel, bomb, stackless.atomic):
    for make in (cls.__new__, lambda cls: object.__new__(cls)):
        try:
            ob = make(cls)
        except TypeError:
            continue
        for name in dir(ob):
            try:
                value = getattr(ob, name)
                if callable(value) and name not in ("__class__", "__init_subclass__"):
                    value()
            except BaseException:
                pass
stackless.set_schedule_callback(None)
""")

    def test_subclassing_both(self):
        self.survives("""
for bases in ((tasklet, channel), (channel, tasklet), (tasklet, int),
              (channel, dict), (tasklet, Exception), (tasklet, list)):
    try:
        type("C", bases, {})()
    except TypeError:
        pass
class M(tasklet, metaclass=type("Meta", (type,), {})):
    __slots__ = ("a",)
M(nothing)()
stackless.run()
""")

    def test_copying_and_pickling(self):
        self.survives("""
import copy, pickle
def task():
    schedule_remove(None)
t = tasklet(task)()
t.run()
ch = channel()
u = tasklet(ch.receive)()
u.run()
for ob in (t, u, ch, tasklet(), stackless.main, bomb(KeyError), stackless.atomic(),
           t.frame, schedule, ch.receive):
    for f in (copy.copy, copy.deepcopy, pickle.dumps, lambda x: x.__reduce__(),
              lambda x: x.__reduce_ex__(4), lambda x: x.__getstate__()):
        try:
            f(ob)
        except BaseException:
            pass
assert t.alive and u.blocked and ch.balance == -1
""")

    def test_changing_types(self):
        self.survives("""
class S(tasklet):
    pass
class U(tasklet):
    def __del__(self):
        pass
t = S(schedule_remove)(None)
t.run()
t.__class__ = U
for cls in (tasklet, channel, int):
    try:
        t.__class__ = cls
    except TypeError:
        pass
for cls in (tasklet, channel):
    for name in ("x", "run", "send", "__del__", "__call__"):
        try:
            setattr(cls, name, nothing)
        except TypeError:
            pass
t.run()
""")

    def test_deleting_attributes(self):
        self.survives("""
t = tasklet(nothing)
ch = channel()
for ob in (t, ch, stackless.main, bomb()):
    for name in dir(type(ob)):
        if name != "__class__":
            try:
                delattr(ob, name)
            except (AttributeError, TypeError):
                pass
try:
    t()
except RuntimeError:
    pass        # deleting tempval may unbind it
stackless.run()
""")

    def test_setting_attributes(self):
        self.survives("""
values = (None, 0, 1, -1, 2 ** 100, "x", 1.5, (), [], {}, nothing, KeyError, X())
def blocked():
    channel().receive()
for make in (tasklet, lambda: tasklet(nothing), lambda: tasklet(nothing)(),
             lambda: tasklet(blocked)()):
    for name in dir(tasklet):
        if name.startswith("__"):
            continue
        for value in values:
            t = make()
            stackless.run()
            try:
                setattr(t, name, value)
            except (AttributeError, TypeError, OverflowError):
                pass
            if t.alive:
                try:
                    t.kill()
                except BaseException:
                    pass
for name in dir(channel):
    if not name.startswith("__"):
        for value in values:
            ch = channel()
            try:
                setattr(ch, name, value)
            except (AttributeError, TypeError, OverflowError):
                pass
""")

    @needs_soft
    def test_frames_of_suspended_tasklets(self):
        self.survives("""
def inner():
    a = 1
    b = [2]
    schedule_remove(None)
    return a, b
def task():
    return inner()
for i in range(20):
    t = tasklet(task)()
    t.run()
    for f in (t.frame, t.frame.f_back):
        for action in (f.clear, lambda: f.f_locals.clear(),
                       lambda: f.f_locals.update(a=5, new=6),
                       lambda: f.f_locals.__setitem__("b", t),
                       lambda: setattr(f, "f_lineno", f.f_lineno + 1),
                       lambda: setattr(f, "f_trace", nothing),
                       lambda: setattr(f, "f_trace_opcodes", True),
                       lambda: repr(f), lambda: f.f_builtins,
                       lambda: eval("a", f.f_globals, f.f_locals)):
            try:
                action()
            except Exception:
                pass
    frame = t.frame
    if i % 4 == 0:
        t.run()
    elif i % 4 == 1:
        t.kill()
    elif i % 4 == 2:
        t.bind(None)
    del t, f, action
    gc.collect()
    frame.f_locals, frame.f_back, frame.f_lineno
    try:
        frame.clear()
    except RuntimeError:
        pass
    del frame
""")

    @needs_soft
    def test_bound_again_while_it_is_unbound(self):
        # The tempval that is dropped sees the tasklet without a function, and gives it one.
        self.survives("""
class Binds:
    def __init__(self, then):
        self.then = then
    def __del__(self):
        t.bind(called, (1,), {"a": 2})
        self.then()
def called(*args, **kwargs):
    calls.append((args, kwargs))
for then, scheduled in ((nothing, False), (lambda: t.insert(), True), (lambda: t.run(), False)):
    for args in (None, ()):
        calls = []
        t = tasklet(lambda: schedule_remove(Binds(then)))()
        t.run()
        try:
            t.bind(nothing, args)
            assert not scheduled
            assert t.alive == (args is not None)
        except RuntimeError as e:
            assert scheduled and str(e) == "tasklet is scheduled"
        stackless.run()
        if scheduled:
            assert calls == [((1,), {"a": 2})]
""")

    @needs_soft
    def test_bound_again_after_a_send(self):
        # That send() will return None was taken for keyword arguments of the new function.
        self.survives("""
def sender():
    channel().send(1)       # the channel goes, which ends the waiting
def runner():
    stackless.run()
    raise AssertionError("went on")
def bind_anew():
    sent.bind(calls.append, ([1, 2],)).insert()
    running.bind(calls.append, ([3, 4],)).insert()
calls = []
sent = tasklet(sender)()
sent.run()
running = tasklet(runner)()
tasklet(bind_anew)()
running.run()
stackless.run()
assert sorted(calls) == [[1, 2], [3, 4]], calls
""")

    def test_names_of_arguments_that_switch(self):
        # They are compared when the tasklet starts, before its frame has the arguments.
        self.survives("""
class Name(str):
    def __eq__(self, other):
        schedule()
        return str.__eq__(self, other)
    __hash__ = str.__hash__
def task(a, b, **rest):
    schedule()
    results.append((a, b, rest))
results = []
for i in range(20):
    tasklet(task)([i], **{Name("b"): [2], Name("c"): [3]})
    tasklet().bind(task, ([i],), {Name("b"): [2], Name("c"): [3]}).insert()
while stackless.runcount > 1:
    stackless.run()
assert sorted(results, key=str) == sorted([([i], [2], {"c": [3]}) for i in range(20)] * 2, key=str)
""")

    def test_objects_of_another_thread(self):
        # Done or refused; in any case no crash, and a clear error.
        self.survives("""
import threading
ready = threading.Event()
done = threading.Event()
objects = []
def task(ch):
    ch.receive()
def thread():
    ch = channel()
    objects.extend([ch, tasklet(task)(ch), tasklet(nothing), tasklet(nothing, ())])
    stackless.run()
    objects.append(tasklet(nothing)())
    objects.append(stackless.main)
    ready.set()
    done.wait()
t = threading.Thread(target=thread)
t.start()
ready.wait()
stackless.main.block_trap = True
try:
    for ob in objects:
        for name in dir(ob):
            if name.startswith("__"):
                continue
            if ob is objects[-1] and name in ("kill", "throw", "raise_exception"):
                continue
            for args in ((), (1,), (KeyError,)):
                try:
                    value = getattr(ob, name)
                    if callable(value):
                        value(*args)
                except (RuntimeError, TypeError, ValueError, OverflowError,
                        KeyError):
                    pass
finally:
    stackless.main.block_trap = False
    done.set()
t.join()
objects.clear()
gc.collect()
assert stackless.current is stackless.main
""")

    def test_wrong_arguments_everywhere(self):
        for seed in range(3):
            self.survives(FUZZ.replace("SEED", str(seed)))


FUZZ = """
import random
rng = random.Random(SEED)
def make_values():
    return [None, 0, 1, -1, 2 ** 31, 2 ** 63, 2 ** 100, -2 ** 100, True, 1.5, "x",
            b"x", (), (1,), [], [1, 2], {}, {"a": 1}, object(), X, X(), nothing, len,
            KeyError, KeyError(1), TaskletExit, bomb(), bomb(KeyError),
            bomb(KeyError, 1), tasklet(), tasklet(nothing), channel(), iter(()),
            float("nan"), sys._getframe(), stackless, type, Ellipsis]
names = ["", "x", "retval", "func", "args", "kwargs", "exc", "val", "tb", "pending",
         "threadblock", "soft", "ignore_nesting", "totaltimeout", "value"]
def worker(ch):
    for x in ch:
        schedule()
def make_objects():
    ch = channel()
    blocked = tasklet(worker)(ch)
    blocked.run()
    full = channel()
    sender = tasklet(full.send)(1)
    sender.run()
    runnable = tasklet(nothing)()
    return [tasklet(), tasklet(nothing), tasklet(nothing, ()), runnable, blocked,
            sender, channel(), ch, full, stackless.main, stackless, bomb(KeyError),
            stackless.atomic()]
skip = {"set_error_handler", "enable_softswitch", "__class__", "__subclasshook__",
        "__init_subclass__", "TaskletExit", "__setattr__", "__delattr__",
        "__builtins__", "__loader__", "__spec__", "__path__", "sys",
        "sleep"}                 # for 2 ** 31 seconds
def clean():
    stackless.set_schedule_callback(None)
    stackless.set_channel_callback(None)
    stackless.set_error_handler(None)
    stackless.switch_trap(-stackless.switch_trap())
    m = stackless.main
    m.block_trap = False
    m.set_atomic(False)
    m.set_ignore_nesting(False)
    m.trace_function = m.profile_function = None
    for i in range(50):
        if stackless.runcount == 1:
            return
        try:
            stackless.run()
        except BaseException:
            pass
    raise AssertionError("the queue does not get empty")
calls = 0
for round in range(60):
    values = make_values()
    for ob in make_objects():
        attributes = [n for n in dir(ob) if n not in skip]
        for i in range(12):
            name = rng.choice(attributes)
            args = [rng.choice(values) for i in range(rng.choice((0, 1, 1, 2, 3, 4, 6)))]
            kwargs = {rng.choice(names): rng.choice(values)
                      for i in range(rng.choice((0, 0, 0, 1, 2)))}
            try:
                f = getattr(ob, name)
                if callable(f):
                    calls += 1
                    f(*args, **kwargs)
            except BaseException as e:
                e.__traceback__ = None
            try:
                clean()
            except BaseException:
                print(ob, name, args, kwargs)
                raise
    del ob, values
    gc.collect()
assert calls > 1000
"""


if __name__ == "__main__":
    unittest.main()
