"""Large numbers, great depth: in children, since they might crash."""

import unittest

from .support import ChildTestCase, needs_many, needs_soft

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


class Sizes(Crash):

    @needs_many
    def test_a_million_tasklets(self):
        self.survives("""
n = 0
def task():
    global n
    n += 1
for i in range(1_000_000):
    tasklet(task)()
stackless.run()
assert n == 1_000_000
""")

    @needs_many
    def test_a_million_unstarted_tasklets_dropped(self):
        self.survives("""
kept = [tasklet(nothing, (i,)) for i in range(1_000_000)]
del kept
""")

    def test_a_scheduler_for_each_of_so_many_threads(self):
        self.survives("""
import _thread
done = _thread.allocate_lock()
done.acquire()
kept, failed = [], []
def use():
    try:
        kept.append(tasklet())
    except RuntimeError as exc:
        failed.append(str(exc))
    done.release()
def in_a_thread():
    _thread.start_new_thread(use, ())
    done.acquire()
tasklet(nothing)()
run()
while not failed:
    in_a_thread()
assert len(kept) == 65_535, len(kept)
assert failed.pop().startswith("at most 65536 threads can use tasklets")
in_a_thread()
assert failed.pop() and len(kept) == 65_535
kept.pop(1000)
in_a_thread()
assert not failed and len(kept) == 65_535
run()
""")

    @needs_soft
    @needs_many
    def test_blocked_by_the_hundred_thousand(self):
        self.survives("""
ch = channel()
def task():
    ch.receive()
for i in range(100_000):
    tasklet(task)()
stackless.run()
assert ch.balance == -100_000
r = weakref.ref(ch)
task = ch = None
gc.collect()
assert r() is None
""")

    @needs_many
    def test_long_chains_of_tasklets(self):
        self.survives("""
def task(x):
    schedule_remove(None)
t = None
for i in range(200_000):
    t = tasklet(task)(t)
    t.run()
del t
t = None
for i in range(200_000):
    t = tasklet(nothing, (t,))
del t
t = None
for i in range(200_000):
    u = tasklet()
    u.tempval = t
    t = u
del t, u
t = None
for i in range(200_000):
    ch = channel()
    u = tasklet(ch.send)((t, ch))
    u.run()
    t = u
del t, u, ch
gc.collect()
""")

    def test_deep_recursion_in_tasklets(self):
        self.survives("""
sys.setrecursionlimit(100_000)
def deep(n):
    if n:
        deep(n - 1)
        return
    schedule_remove(None)
kept = []
for i in range(10):
    t = tasklet(deep)(50_000)
    t.run()
    kept.append(t)
gc.collect()
kept[0].run()
kept[1].kill()
del kept[2]
depth = 0
frame = kept[-1].frame
while frame is not None:
    depth += 1
    frame = frame.f_back
assert depth == 50_001
del frame, t, kept
gc.collect()
""")

    def test_depth_counts_wherever_it_is(self):
        """Depths above 32,767 are kept elsewhere than small ones."""
        self.survives("""
from contextvars import ContextVar, copy_context
LIMIT = 50_000
sys.setrecursionlimit(LIMIT)
var = ContextVar("var")
there, back = channel(), channel()
def turns(name):
    for i in range(3):
        schedule()
        assert there.receive() == i
        back.send(i)
        assert var.get() == name
def turns_in_a_generator(name):
    turns(name)
    yield
def bottom(name, generator):
    own = getcurrent().recursion_depth
    if generator:
        for _ in turns_in_a_generator(name):
            pass
    else:
        turns(name)
    assert getcurrent().recursion_depth == own
    n = 0
    def further():
        nonlocal n
        n += 1
        further()
    try:
        further()
    except RecursionError:
        assert abs(own + n - LIMIT) < 5, (own, n)
    ended.append(name)
def deep(n, name, generator):
    if n:
        deep(n - 1, name, generator)
    else:
        bottom(name, generator)
def task(n, generator):
    name = n, generator
    var.set(name)
    deep(n, name, generator)
ended = []
depths = (0, 5, 32_000, 32_762, 32_763, 32_764, 32_765, 32_766, 32_767, 32_768, 40_000)
for n in depths:
    for generator in (False, True):
        tasklet(task)(n, generator).set_context(copy_context())
def partner():
    for i in range(3):
        for _ in range(2 * len(depths)):
            there.send(i)
        for _ in range(2 * len(depths)):
            assert back.receive() == i
tasklet(partner)()
run()
assert len(ended) == 2 * len(depths), len(ended)
""")

    def test_more_changes_of_what_is_monitored_than_are_counted(self):
        # Each suspended tasklet remembers 16 bits of how many there were.
        self.survives("""
monitoring = sys.monitoring
tool, events = monitoring.DEBUGGER_ID, monitoring.events
monitoring.use_tool_id(tool, "test_limits")
def marker():
    pass
def task():
    while True:
        schedule_remove(None)
        marker()
called = []
monitoring.register_callback(
    tool, events.CALL, lambda code, offset, callable, arg: called.append(callable))
def count():
    for t in ts:
        t.insert()
    run()
    n = called.count(marker)
    called.clear()
    return n
ts = [tasklet(task)() for i in range(3)]
run()
there = []
for n in (0, 0x10000 - 10, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0x10000 - 1, 1, 1):
    for i in range(n):
        monitoring.set_events(tool, events.PY_UNWIND if i % 2 else 0)
        tasklet(schedule)()
        run()
    monitoring.set_events(tool, events.CALL)
    there.append(count())
    monitoring.set_events(tool, 0)
    assert count() == 0
assert there == [3] * len(there), there
""")

    def test_deep_recursion_whose_frames_never_had_to_move(self):
        # The depth was cut to 16 bits when such a tasklet was left the first time.
        self.survives("""
sys.setrecursionlimit(100_000)
class Deep:
    def __call__(self, n):
        if n:
            self(n - 1)
            return
        for i in range(3):
            schedule()
            try:
                raise ValueError
            except ValueError:
                handled.append(sys.exception())
handled = []
def others():
    for i in range(10):
        schedule()
def task(n):
    Deep()(n)
for i in range(30):
    tasklet(task)(0)
stackless.run()
tasklet(others)()
tasklet(task)(40_000)
stackless.run()
assert len(handled) == 93
""")

    def test_endless_recursion_in_tasklets(self):
        self.survives("""
def deep():
    schedule()
    deep()
for i in range(5):
    tasklet(deep)()
errors = 0
while stackless.runcount > 1:
    try:
        stackless.run()
    except RecursionError:
        errors += 1
assert errors == 5
""")

    def test_endless_recursion_through_c(self):
        self.survives("""
def deep(x):
    list(map(deep, [x]))
class C:
    def __getattr__(self, name):
        return getattr(self, name + "x")
def more():
    C().x
for f, args in ((deep, (1,)), (more, ())):
    tasklet(f)(*args)
    try:
        stackless.run()
    except RecursionError:
        pass
""")

    def test_left_hard_at_the_limit(self):
        # The dispatcher's next call of the eval loop counted as a level of recursion of who
        # had been left, which was one too many: the frame that it then dropped was the
        # dispatcher's own.
        self.survives("""
order = []
def at_the_limit(x):
    try:
        return at_the_limit(x)
    except RecursionError:
        return schedule()
def first():
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(stackless.current.recursion_depth + 60)
    try:
        list(map(at_the_limit, [1]))
        order.append("first")
    finally:
        sys.setrecursionlimit(limit)
def second():
    order.append("second")
for i in range(3):
    tasklet(first)()
    tasklet(second)()
    stackless.run()
assert order == ["second", "first"] * 3, order
""")

    def test_depth_of_main_is_not_that_of_whom_it_resumes(self):
        # The C recursion of both was added up: "Cannot recover from stack overflow".
        self.survives("""
sys.setrecursionlimit(100_000)
def deep(n, function):
    list(map(lambda x: deep(n - 1, function) if n else function(), [1]))
def how_deep(n=1):
    "Until there is no C stack left."
    try:
        deep(n, nothing)
    except RecursionError:
        return n
    return how_deep(n + n // 4 + 1)
def task():
    schedule_remove()
    levels.append(t.nesting_level)
    sorted([1, 2], key=lambda x: -x)
    schedule()                         # softly, but for the C functions above
    levels.append(t.nesting_level)
levels = []
most = how_deep() // 2
for n in most, most * 3 // 4, 1:
    for m in most, most * 3 // 4, 1:
        t = tasklet(deep)(n, task)
        stackless.run()
        level = t.nesting_level
        t.insert()
        tasklet(sorted)([1, 2], key=lambda x: schedule() and x)
        deep(m, stackless.run)
        assert not t.alive
        assert levels == [level, level], (levels, level)
        levels.clear()
""")

    def test_endless_nesting_of_mains_dispatchers(self):
        self.survives("""
def other():
    while True:
        schedule()
t = tasklet(other)()
def deep(x):
    schedule()
    list(map(deep, [x]))
try:
    deep(1)
except RecursionError:
    pass
schedule()
t.kill()
""")

    def test_endless_nesting_of_runs(self):
        self.survives("""
n = 0
def outer():
    global n
    n += 1
    if n < 20_000:
        tasklet(outer)()
        stackless.run()
tasklet(outer)()
stackless.run()
assert n == 20_000
""")

    def test_deep_generators_in_tasklets(self):
        self.survives("""
def gen(n):
    if n:
        yield from gen(n - 1)
    else:
        try:
            schedule_remove(None)
        except RuntimeError:
            pass
        yield 1
def task(n):
    for x in gen(n):
        pass
kept = []
for n in (1, 10, 500):
    for i in range(10):
        t = tasklet(task)(n)
        t.run()
        kept.append(t)
for t in kept[::3]:
    t.run()
for t in kept[1::3]:
    t.kill()
del t, kept
gc.collect()
""")

    def test_large_frames(self):
        self.survives("""
names = ", ".join(f"v{i}" for i in range(5000))
source = f"def task():\\n  {names} = range(5000)\\n"
source += "  schedule_remove(None)\\n  return [" + names + "]\\n"
namespace = {"schedule_remove": schedule_remove}
exec(source, namespace)
kept = []
for i in range(20):
    t = tasklet(namespace["task"])()
    t.run()
    kept.append(t)
gc.collect()
for t in kept[:10]:
    t.run()
del kept, t
# A deep evaluation stack.
source = "def task():\\n  return [" + ", ".join("s()" for i in range(3000)) + "]\\n"
namespace = {"s": schedule}
exec(source, namespace)
for i in range(3):
    tasklet(namespace["task"])()
stackless.run()
""")

    def test_many_arguments(self):
        self.survives("""
def task(*args, **kwargs):
    schedule()
    assert len(args) == 5000 and len(kwargs) == 1000
for i in range(3):
    tasklet(task)(*range(5000), **{f"k{i}": i for i in range(1000)})
stackless.run()
""")

    def test_threads_by_the_dozen(self):
        self.survives("""
import threading
sys.setswitchinterval(1e-6)
errors = []
def thread():
    try:
        ch = channel()
        def task(i):
            for j in range(20):
                ch.send((i, j))
        for i in range(10):
            tasklet(task)(i)
        got = [ch.receive() for i in range(200)]
        assert len(set(got)) == 200
        stackless.run()
    except BaseException as e:
        errors.append(e)
        raise
for round in range(3):
    threads = [threading.Thread(target=thread) for i in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
assert not errors
""")


if __name__ == "__main__":
    unittest.main()
