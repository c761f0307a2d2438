"""Objects that are being freed: whatever code runs on the way finds them alive, or not at all.

The deallocator of a Python class drops the slots and the __dict__ of an instance, or puts
the instance aside (in the "trashcan"), before it lets the base class do its part.  What runs
in between looks for the instance here, by all ways there are, and a thread may end or a
collection begin.  What was wrong: a new reference was made of an object without any, which
was then freed twice, or freed and used.

Each script runs in a child of its own.
"""

import unittest

from .support import ChildTestCase, needs_many, needs_soft

HEAD = """
import gc, sys, threading, weakref
import stackless
from stackless import channel, schedule, schedule_remove, tasklet

sys.unraisablehook = lambda info: None
found = []

class Calls:
    "Calls a function when it goes away."
    def __init__(self, function):
        self.function = function
    def __del__(self):
        self.function()

callbacks = []

def attach(x, place, function):
    "Has function() called while x is being freed."
    if place == "weakref":
        callbacks.append(weakref.ref(x, lambda r: function()))
    else:
        setattr(x, place, Calls(function))

def subclass(base):
    "With a finalizer that does not call the base class's."
    class Subclass(base):
        __slots__ = ("slot", "__dict__")
        def __del__(self):
            pass
    return Subclass

def check(*classes):
    "What was found is alive: its memory is nobody else's."
    others = [cls() for cls in classes for i in range(20)]
    assert len(set(map(id, others))) == len(others), "two objects at one address"
    for x in found:
        assert all(x is not other for other in others), "freed, and in use again"
    found.clear()
    callbacks.clear()

PLACES = "slot", "attribute", "weakref"
"""
TAIL = """
gc.collect()
print("survived")
"""


class Freed(ChildTestCase):

    def survives(self, source):
        result = self.run_survives(HEAD + source + TAIL)
        self.assertEqual(result.stderr, "")


# Someone waits on a channel, and the channel goes away: a box is emptied.
CHANNELS = """
Channel = subclass(channel)

def wait(box, mine):
    box[0].receive()

def waiting(box, *owned):
    "Tasklets that wait on box[0], and own these objects."
    waiters = [tasklet(wait)(box, x) for x in owned]
    stackless.run()
    assert box[0].balance == -len(owned)
    return waiters
"""


@needs_soft                           # a waiter that was left hard holds on to its channel
class Channels(Freed):

    def test_a_collection_while_waiters_leave(self):
        # The collector was shown the channel.
        self.survives(CHANNELS + """
for Class in channel, Channel:
    for i in range(50):
        box = [Class()]
        waiting(box, *[Calls(gc.collect) for i in range(4)])
        box.clear()
        check(Class)
""")

    def test_a_collection_before_waiters_leave(self):
        self.survives(CHANNELS + """
for place in PLACES:
    for i in range(50):
        box = [Channel()]
        attach(box[0], place, gc.collect)
        waiters = waiting(box, 1, 2)
        box.clear()
        assert not any(w.blocked for w in waiters)
        check(Channel)
""")

    def test_seen_by_a_waiter_while_others_leave(self):
        self.survives(CHANNELS + """
def look():
    found.extend(w._channel for w in waiters)
    found.extend(w._channel for w in waiters)
for Class in channel, Channel:
    for i in range(50):
        box = [Class()]
        waiters = waiting(box, Calls(look), 1, Calls(look), 2)[1::2]
        box.clear()
        assert found == [None] * 8
        assert not any(w.blocked for w in waiters)
        check(Class)
""")

    def test_seen_by_a_waiter_before_any_leaves(self):
        self.survives(CHANNELS + """
def look():
    found.extend(w._channel for w in waiters)
for place in PLACES:
    for i in range(50):
        box = [Channel()]
        attach(box[0], place, look)
        waiters = waiting(box, 1, 2)
        box.clear()
        assert found == [None, None]
        assert not any(w.blocked for w in waiters)
        check(Channel)
""")

    def test_waiters_are_killed_meanwhile(self):
        self.survives(CHANNELS + """
def kill():
    for w in waiters:
        w.kill()
    gc.collect()
for place in PLACES:
    for i in range(50):
        box = [Channel()]
        attach(box[0], place, kill)
        waiters = waiting(box, 1, Calls(kill), 2, Calls(kill))[1:3]
        box.clear()
        assert not any(w.alive for w in waiters)
        check(Channel)
""")

    def test_a_thread_ends_meanwhile(self):
        # At its end the collector is shown the channels on which its tasklets wait.
        self.survives(CHANNELS + """
def other():
    waiters.extend(waiting(box, 1, 2))
    ready.set()
    end.wait()
for place in PLACES:
    box, waiters = [Channel()], []
    ready, end = threading.Event(), threading.Event()
    thread = threading.Thread(target=other)
    thread.start()
    ready.wait()
    def end_thread():
        end.set()
        thread.join()
        gc.collect()
        found.extend(w._channel for w in waiters)
    attach(box[0], place, end_thread)
    box.clear()
    assert not thread.is_alive()
    assert found == [None, None]
    check(Channel)
""")

    def test_revived(self):
        # What its own finalizer makes of it is another matter: then it lives.
        self.survives(CHANNELS + """
class Channel(channel):
    __slots__ = "slot",
    def __del__(self):
        found.append(waiters[0]._channel)
        gc.collect()
for i in range(50):
    box = [Channel()]
    box[0].slot = "slot"
    waiters = waiting(box, 1, 2)
    box.clear()
    [ch] = found
    assert ch is waiters[1]._channel and ch.balance == -2 and ch.slot == "slot"
    ch = None
    check(channel)
    assert not any(w.blocked for w in waiters)
""")

    @needs_many
    def test_in_the_trashcan(self):
        # So many in each other's slots that some of them are put aside.
        self.survives(CHANNELS + """
class Channel(channel):
    __slots__ = "a", "b"
def look():
    global looked
    looked += 1
    for w in waiters:
        w._channel
    if looked % 1000 == 1:
        gc.collect()
looked = 0
ch, waiters = None, []
for i in range(11_000):
    box = [Channel()]
    box[0].a, ch, box[0].b = ch, box[0], Calls(look) if i % 10 == 0 else None
    waiters += waiting(box, 1)[:i % 500 == 0]
    box.clear()
ch = None
assert looked == 1100
assert not any(w.blocked for w in waiters)
check(Channel)
""")


# A tasklet is left with C functions between its frames.
HARD = """
Tasklet = subclass(tasklet)

def leave():
    try:
        list(map(lambda x: schedule_remove(None), [1]))
    except TaskletExit:
        killed.append(type(stackless.current))
        raise
killed = []

def left(Class):
    t = Class(leave)()
    stackless.run()
    assert t.paused and t.nesting_level > 0
    return t
"""


class Tasklets(Freed):

    def test_uncollectable(self):
        self.survives(HARD + """
def look():
    found.extend(stackless.getuncollectables())
for place in PLACES:
    for i in range(50):
        t = left(Tasklet)
        attach(t, place, look)
        other = left(tasklet)
        t = None
        if place != "weakref":         # those are called later
            assert found == [other]
        check(Tasklet)
        other.kill()
""")

    def test_all_are_killed_meanwhile(self):
        # As at the end of the program.
        self.survives(HARD + """
[kill_all] = [f for f in gc.get_objects() if getattr(f, "__name__", None) == "kill_all"]
for place in PLACES:
    for i in range(50):
        t = left(Tasklet)
        attach(t, place, kill_all)
        other = left(tasklet)
        t = None
        assert killed == [tasklet], killed
        killed.clear()
        check(Tasklet)
""")

    def test_a_thread_ends_meanwhile(self):
        # The thread's tasklets are killed.  One of them is just freeing another one, or a
        # greenlet is, which is not killed.
        self.survives(HARD + """
import greenlet
def free(box):
    try:
        box.clear()
    finally:
        found.append("freed")
def other(place, in_greenlet):
    t = left(Tasklet)
    box = [t]
    if in_greenlet:
        attach(t, place, greenlet.getcurrent().switch)
        t = None
        greenlets.append(greenlet.greenlet(free))
        greenlets[0].switch(box)
    else:
        attach(t, place, schedule_remove)
        t = None
        tasklets.append(tasklet(free)(box))
        stackless.run()
for in_greenlet in False, True:
    for place in "slot", "attribute":
        tasklets, greenlets = [], []
        thread = threading.Thread(target=other, args=(place, in_greenlet))
        thread.start()
        thread.join()
        assert found == ([] if in_greenlet else ["freed"]), found
        assert not killed
        check(Tasklet)
""")

    @needs_many
    def test_in_the_trashcan(self):
        self.survives(HARD + """
class Tasklet(tasklet):
    __slots__ = "a", "b"
    def __del__(self):
        pass
def look():
    global looked
    looked += 1
    stackless.getuncollectables()
looked = 0
t = None
for i in range(11_000):
    inner, t = t, left(Tasklet) if i % 100 == 0 else Tasklet()
    t.a, inner, t.b = inner, None, Calls(look) if i % 10 == 0 else None
t = None
assert looked == 1100
check(Tasklet)
""")

    def test_revived_by_being_made_runnable(self):
        # A debug build was aborted: the tasklet was not tracked by the collector.
        self.survives("""
class Tasklet(tasklet):
    def __del__(self):
        how(self)
def block(t):
    t.insert()
    schedule()
    assert t.blocked
    ch.send(None)
log = []
ch = channel()
for how in tasklet.insert, block, lambda t: (t.insert(), t.remove(), t.insert()):
    t = Tasklet(lambda: (ch.receive() if how is block else None, log.append(how)))
    t.bind(None, ())
    t = None
    gc.collect()
    assert how is block or stackless.getruncount() == 2
    stackless.run()
    assert log.pop() is how
    check(Tasklet)
""")

    def test_bound_again_while_its_rest_is_dropped(self):
        # A tasklet that has ended lost the context and the greenlet that it got meanwhile.
        self.survives("""
import contextvars, greenlet
var = contextvars.ContextVar("var")
def first():
    callbacks.append(weakref.ref(greenlet.getcurrent(), lambda r: bind()))
def bind():
    t.bind(second, ())
    t.insert()
    stackless.run()
def second():
    var.set("mine")
    g = greenlet.getcurrent()
    schedule_remove(None)
    found.append((greenlet.getcurrent() is g, var.get(None)))
t = tasklet(first)()
stackless.run()
assert t.alive
t.insert()
stackless.run()
assert found == [(True, "mine")], found
""")


class Garbage(Freed):
    """The collector may have cleared what belongs to the one that is found."""

    def test_a_tasklet_that_cannot_be_cleared(self):
        # It could be found and run still, and its context was no more.
        self.survives(HARD + """
import contextvars
var = contextvars.ContextVar("var")
def leave():
    try:
        var.set("mine")
        list(map(lambda x: schedule_remove(None), [1]))
    finally:
        found.append(var.get())
for Class in tasklet, Tasklet:
    t = Class(leave).set_context(contextvars.Context())()
    stackless.run()
    t.tempval = (t,)                   # a tuple keeps what it has
    t = None
    for i in range(3):
        gc.collect()
        gc.garbage.clear()             # a finalizer that could not kill it has put it there
    for t in stackless.getuncollectables():
        t.run()
    assert found == ["mine"], found
    found.clear()
    t = None
""")

    @needs_soft                        # a waiter that was left hard holds on to its channel
    def test_a_neighbour_on_a_channel(self):
        self.survives("""
class Looks:
    "Not seen by the collector: called while it clears the others."
    __slots__ = ()
    def __del__(self):
        looked.append((other.prev, other.next, other._channel))

def wait(box, mine):
    box[0].receive()

for Channel in channel, subclass(channel):
    for Tasklet in tasklet, subclass(tasklet):
        looked = []
        box = [Channel()]
        Tasklet(wait)(box, [Looks()])
        stackless.run()
        others = box[:]
        other = tasklet(wait)(others, None)
        stackless.run()
        others.clear()
        Tasklet(wait)(box, [Looks()])
        stackless.run()
        assert other.prev is box[0].queue and other._channel is box[0]
        box = None
        gc.collect()
        assert looked == [(None, None, None)] * 2, looked
        assert other.paused
""")


class TimeLimits(Freed):

    @needs_soft                        # the code is counted at other places
    def test_ended_by_the_code_that_it_counted(self):
        # A function's code was kept for the sake of the time limit only.  When that let go of
        # it, run() returned; and whoever did not run any more was interrupted.
        self.survives("""
import types
main = stackless.main
def callback(r):
    if armed and stackless.current is not main:
        armed.clear()
        ended.append(n)
        main.run()                     # its run() returns
def body():
    for i in range(12):
        module = compile("def f():\\n for i in range(3): pass", "f", "exec")
        [code] = [c for c in module.co_consts if isinstance(c, types.CodeType)]
        callbacks.append(weakref.ref(code, callback))
        f = types.FunctionType(code, {})
        module = code = None
        f()
armed, ended = [], []
gc.disable()
for n in range(5, 400):
    armed[:] = [1]
    t = tasklet(body)()
    t.set_ignore_nesting(True)
    stackless.run(n, ignore_nesting=True)
    armed.clear()
    if not t.scheduled and t.alive:
        t.insert()
    while t.alive:
        stackless.run()
    callbacks.clear()
assert ended
""")


class Bombs(Freed):

    def test_many_in_each_other(self):
        # The C stack was exhausted.
        self.survives("""
b = None
for i in range(500_000):
    b = stackless.bomb(ValueError, b)
b = None
""")


if __name__ == "__main__":
    unittest.main()
