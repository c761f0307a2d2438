"""Greenlets that are being freed: whatever code runs on the way finds them alive, or not at all.

The deallocator of a Python class drops an instance's slots before it lets the base class do
its part, which for an active greenlet is to raise GreenletExit in it.  What the slots held can
make the greenlet's tasklet run before that.  What was wrong: a new reference was made of an
object without any, which was then freed twice, or freed and used.

Each script runs in a child of its own.
"""

import unittest

from .support import OURS, ChildTestCase, needs_many, needs_soft

if not OURS:
    raise unittest.SkipTest("about tasklets, which this interpreter has none of")

HEAD = """
import gc, sys, weakref
import greenlet, stackless
from greenlet import getcurrent

sys.unraisablehook = lambda info: None
found = []

class Calls:
    "Calls a function when it goes away."
    def __init__(self, function):
        self.function = function
    def __del__(self):
        self.function()

class Greenlet(greenlet.greenlet):
    "With a finalizer that does not call the base class's."
    __slots__ = "slot", "other"
    def __del__(self):
        pass

def run_tasklet():
    "Has the scheduler run a greenlet's tasklet."
    tasklet.insert()
    stackless.schedule()

def suspended(Class, rest, function=run_tasklet):
    "Has switched back, and goes on with rest().  Its slot calls the function."
    def body():
        global tasklet
        tasklet = stackless.getcurrent()
        getcurrent().parent.switch()
        return rest()
    g = Class(body)
    g.slot = Calls(function)
    g.switch()
    return g

def check():
    "What was found is alive: its memory is nobody else's."
    others = [Greenlet() for i in range(20)]
    assert len(set(map(id, others))) == len(others), "two objects at one address"
    for x in found:
        assert all(x is not other for other in others), "freed, and in use again"
    found.clear()

def repeat(test, *args):
    "In main and in a tasklet."
    for i in range(30):
        test(*args)
        check()
        t = stackless.tasklet(test)(*args)
        stackless.run()
        t = None
        check()
"""
TAIL = """
gc.collect()
print("survived")
"""


class Freed(ChildTestCase):

    def survives(self, source):
        self.assertEqual(self.run_ok(HEAD + source + TAIL), "survived\n")

    def check_freed(self, rest, setup=""):
        """rest: what the greenlet does when the scheduler makes it run once more."""
        self.survives(setup + """
def rest():
    REST
def test():
    g = suspended(Greenlet, rest)
    g = None
repeat(test)
""".replace("REST", rest))


class RunOnceMore(Freed):

    def test_is_current(self):
        self.check_freed("found.append(getcurrent())")

    def test_is_current_and_switches(self):
        self.check_freed("found.append(getcurrent()); getcurrent().parent.switch()")

    def test_is_current_and_schedules(self):
        self.check_freed("found.append(getcurrent()); stackless.schedule_remove()")

    def test_becomes_a_parent(self):
        self.check_freed("found.append(greenlet.greenlet(len).parent)")

    def test_becomes_an_ancestor_of_what_is_deleted(self):
        # It is the parent for the time being, and gets what comes.
        self.check_freed("other = greenlet.greenlet(wait); other.switch(); other = None", """
def wait():
    try:
        getcurrent().parent.switch()
    except greenlet.GreenletExit:
        found.append(getcurrent().parent)
        raise ValueError
    except greenlet.error:             # main is inside run()
        pass
""")

    def test_is_seen_by_the_trace_function(self):
        self.check_freed("getcurrent().parent.switch()", """
greenlet.settrace(lambda event, args: found.extend(args))
""")

    def test_ends_and_is_seen_by_the_trace_function(self):
        self.check_freed("pass", """
greenlet.settrace(lambda event, args: found.extend(args))
""")

    def test_is_seen_by_the_schedule_callback(self):
        self.check_freed("found.append(getcurrent())", """
stackless.set_schedule_callback(lambda prev, next: found.extend([prev, next, getcurrent()]))
""")

    def test_is_told_of_an_exception(self):
        self.check_freed("raise ValueError", """
stackless.set_error_handler(lambda *args: found.append(getcurrent()))
""")

    def test_is_found_by_the_collector(self):
        self.check_freed("""
    gc.collect()
    found.extend(x for x in gc.get_objects() if isinstance(x, greenlet.greenlet))
    found.extend(gc.get_referrers(tasklet))
    found.extend(gc.get_referents(tasklet))
    tasklet.kill(pending=True)
""".strip())

    def test_is_blocked(self):
        # GreenletExit is raised where it waits.
        self.check_freed("""
    try:
        stackless.channel().receive()
    except greenlet.GreenletExit:
        found.append(getcurrent())
        assert type(getcurrent()) is Greenlet
        raise
""".strip())

    @needs_many
    def test_in_the_trashcan(self):
        # So many in each other's slots that some of them are put aside.
        self.survives("""
def body():
    tasklets.append(stackless.getcurrent())
    getcurrent().parent.switch()
    getcurrent()
    getcurrent().parent.switch()
tasklets, n = [], 0
def look():
    global n
    n += 1
    if tasklets:
        tasklets.pop(0).insert()
        stackless.schedule()
g = None
for i in range(11_000):
    inner, g = g, Greenlet(body)
    if i % 100 == 0:
        g.switch()
        g.other = Calls(look)
    g.slot, inner = inner, None
g = None
assert n == 110
check()
""")


class Garbage(Freed):

    @needs_soft
    def test_nothing_of_it_is_cleared(self):
        # GreenletExit was raised in frames whose functions had lost their globals, unless the
        # finalizer that calls for it was the base class's, and called for the first time.
        self.survives("""
import contextvars
source = '''
def body():
    var.set("mine")
    me = greenlet.getcurrent()
    for i in range(3):
        try:
            me.parent.switch()
        except greenlet.GreenletExit:
            found.append((var.get(), type(me), sorted(globals())[-1]))
            if i == 1:
                raise
            revived.append(me)
'''
class CallsSuper(greenlet.greenlet):
    def __del__(self):
        super().__del__()
for Class in greenlet.greenlet, Greenlet, CallsSuper:
    revived = []
    var = contextvars.ContextVar("var")
    scope = {"var": var, "greenlet": greenlet, "found": found, "revived": revived}
    exec(source, scope)
    g = Class(scope.pop("body"))
    g.gr_context = contextvars.Context()
    g.switch()
    g = scope = None
    for i in range(3):
        gc.collect()
        getcurrent()                   # deletes what the collector could not
        if revived:
            assert revived.pop()
            assert not revived
    assert found == [("mine", Class, "var")] * 2, found
    assert not gc.garbage
    check()
""")


class Tasklets(Freed):

    def test_what_is_dropped_with_the_tasklet_collects(self):
        # The tasklet of a pending greenlet was still known to the collector.
        self.survives("""
class Run:
    def __call__(self):
        pass
    def __del__(self):
        gc.collect()

class Parent(greenlet.greenlet):
    run = property(lambda self: Run())

def adopt(prev, next):
    global parent
    if prev is not stackless.main:
        child.parent = main            # somebody else gets its result
        parent = None

main = getcurrent()
for i in range(30):
    parent = Parent()
    child = greenlet.greenlet(lambda: None, parent)
    stackless.set_schedule_callback(adopt)
    child.switch()
    stackless.set_schedule_callback(None)
    child = None
    assert parent is None
    check()
""")

    def test_many_parents_that_cannot_be_run(self):
        # What was left over after the switch overflowed.
        self.survives("""
class Parent(greenlet.greenlet):
    @property
    def run(self):
        raise KeyError(self.number)
parent = None
for i in range(100):
    inner, parent = parent, Parent(parent=parent)
    parent.number, inner = i, None
child = greenlet.greenlet(lambda: None, parent)
parent = None
try:
    child.switch()
except KeyError as e:
    assert e.args == (0,)
else:
    assert False
""")

    def test_another_class_while_being_deleted(self):
        # Its class was freed, or could not be: the reference count was wrong.
        self.survives("""
class Other(greenlet.greenlet):
    __slots__ = "slot", "other"
    def __del__(self):
        pass
def body():
    try:
        getcurrent().parent.switch()
    except greenlet.GreenletExit:
        getcurrent().__class__ = Other
        if revive:
            found.append(getcurrent())
            getcurrent().parent.switch()
counts = sys.getrefcount(Greenlet), sys.getrefcount(Other)
for revive in False, True:
    for i in range(30):
        g = Greenlet(body)
        g.switch()
        g = None
        assert [type(g) for g in found] == [Other] * revive
        check()
assert (sys.getrefcount(Greenlet), sys.getrefcount(Other)) == counts
""")

    def test_the_scheduler_keeps_what_it_runs(self):
        # The greenlet was deleted, by itself.
        self.survives("""
def body():
    global tasklet
    tasklet = stackless.getcurrent()
    getcurrent().parent.switch()
    r = weakref.ref(getcurrent())
    found.append(r)
    box.clear()
    gc.collect()
    assert getcurrent() is r()
    stackless.schedule()
    assert getcurrent() is r()
    found.append("ended")
for Class in greenlet.greenlet, Greenlet:
    for insert in "insert", "run", "switch":
        box = [Class(body)]
        box[0].switch()
        if insert == "switch":
            stackless.tasklet(stackless.getcurrent().insert)()
        getattr(tasklet, insert)()
        stackless.run()
        tasklet = None
        r, ended = found
        assert r() is None
        check()
""")


if __name__ == "__main__":
    unittest.main()
