"""Objects that act while a switch is under way.

Between the return of a switching function and the switch itself the
interpreter drops the references to callable and arguments.  If one was the
last, a __del__ runs there and may switch, send, kill, drop the channel ...

OPENERS     ways to start a switch that drops an object on the way
ACTIONS     what the object's __del__ does

main(opener, place) runs one opener with every action, in the main tasklet or
in another one, and prints "survived" if nothing was found wrong at the end.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from typing import Any, Callable

import stackless
from stackless import bomb, channel, schedule, schedule_remove, tasklet

from .support import SOFT, kill_uncollectables, reset_scheduler, runqueue, waiters


class Error(Exception):
    pass


class World:
    """What the actions may use; made anew for every combination."""

    def __init__(self) -> None:
        self.log: list = []
        self.acted = False
        self.current: Any = None            # who opened the window
        self.target: Any = None             # whom it switches to
        self.channel: Any = None            # the channel in use, if any
        self.full = channel()               # somebody waits to receive here
        self.full.preference = 0
        self.receiver = tasklet(self.receive)(self.full)
        self.receiver.run()
        self.bystander = tasklet(self.wait)()
        self.bystander.run()
        self.runnable = tasklet(self.spin)()

    def receive(self, ch):
        while True:
            self.log.append(ch.receive())

    def wait(self):
        while True:
            try:
                schedule_remove(None)
            except Error:
                self.log.append("bystander")

    def spin(self):
        for i in range(3):
            schedule()

    def act(self, action: Callable[["World"], None]) -> None:
        if self.acted:
            return
        self.acted = True
        try:
            action(self)
        except BaseException as e:
            self.log.append(type(e).__name__)


class Actor:
    """False, and acts when it dies."""

    def __init__(self, world, action):
        self.world = world
        self.action = action

    def __bool__(self):
        return False

    def __del__(self):
        self.world.act(self.action)


class IntActor(int):
    """Zero, and acts when it dies."""

    def __new__(cls, world, action):
        self = int.__new__(cls, 0)
        self.world = world
        self.action = action
        return self

    __del__ = Actor.__del__


class ChannelActor(channel):
    def __init__(self, world, action):
        self.world = world
        self.action = action

    __del__ = Actor.__del__


class TaskletActor(tasklet):
    def __init__(self, world, action, func, *args):
        super().__init__(func, args)
        self.world = world
        self.action = action

    def __del__(self):
        self.world.act(self.action)
        super().__del__()


# --- openers ----------------------------------------------------------------

OPENERS: dict[str, Callable[[World, Callable], Any]] = {}


def opener(f):
    OPENERS[f.__name__] = f
    return f


def _paused(w):
    def target():
        try:
            schedule_remove(None)
        finally:
            w.log.append("target ends")
    t = tasklet(target)()
    t.run()
    w.target = t
    return t


@opener
def kill(w, action):
    t = _paused(w)
    t.kill(Actor(w, action))


@opener
def kill_by_keyword(w, action):
    t = _paused(w)
    t.kill(pending=Actor(w, action))


@opener
def kill_by_star(w, action):
    t = _paused(w)
    t.kill(*[Actor(w, action)])


@opener
def kill_blocked(w, action):
    w.channel = ch = channel()
    w.target = t = tasklet(ch.receive)()
    t.run()
    t.kill(Actor(w, action))


@opener
def throw(w, action):
    t = _paused(w)
    t.throw(TaskletExit, None, None, Actor(w, action))      # noqa: F821


@opener
def run(w, action):
    stackless.run(IntActor(w, action))


@opener
def run_by_keyword(w, action):
    stackless.run(totaltimeout=IntActor(w, action))


@opener
def schedule_value(w, action):
    # Somebody replaces the value while it is parked.
    me = stackless.current

    def replace():
        me.tempval = None
    tasklet(replace)()
    schedule(Actor(w, action))


@opener
def schedule_dropped_result(w, action):
    schedule(Actor(w, action))


@opener
def schedule_bomb(w, action):
    try:
        schedule(bomb(Error, Actor(w, action)))
    except Error:
        pass


@opener
def schedule_remove_value(w, action):
    me = stackless.current
    tasklet(me.insert)()
    schedule_remove(Actor(w, action))


@opener
def send_to_a_receiver(w, action):
    w.channel = ch = channel()
    w.target = tasklet(ch.receive)()
    w.target.run()
    ch.send(Actor(w, action))


@opener
def send_to_a_receiver_that_drops_it(w, action):
    w.channel = ch = channel()

    def receiver():
        ch.receive()
        w.log.append("received")
    w.target = tasklet(receiver)()
    w.target.run()
    ch.send(Actor(w, action))


@opener
def send_and_wait(w, action):
    w.channel = ch = channel()

    def receiver():
        ch.receive()
        w.log.append("received")
    w.target = tasklet(receiver)()
    ch.send(Actor(w, action))


@opener
def send_to_one_who_is_killed(w, action):
    w.channel = ch = channel()
    ch.preference = 1
    w.target = tasklet(ch.receive)()
    w.target.run()
    ch.send(Actor(w, action))
    w.target.kill()


@opener
def receive_from_a_dying_channel(w, action):
    def feed(ch):
        for i in range(3):
            schedule()
        if ch.balance < 0:
            ch.send(1)
    ch = ChannelActor(w, action)
    tasklet(feed)(ch)
    box = [ch]
    del ch
    box.pop().receive()


@opener
def receive_by_a_dying_method(w, action):
    def feed(ch):
        for i in range(3):
            schedule()
        if ch.balance < 0:
            ch.send(1)
    ch = ChannelActor(w, action)
    tasklet(feed)(ch)
    box = [ch.receive]
    del ch
    box.pop()()


@opener
def send_into_a_dying_channel(w, action):
    # The receiver's wait is all that keeps the channel alive, and ends.
    def make():
        ch = ChannelActor(w, action)
        w.target = tasklet(ch.receive)()
        w.target.run()
        return ch
    make().send(1)


@opener
def blocked_sender_of_a_dying_channel(w, action):
    def make():
        ch = ChannelActor(w, action)
        ch.preference = 1
        w.target = tasklet(ch.send)(1)
        w.target.run()
        return ch
    make().receive()


@opener
def run_of_a_dying_tasklet(w, action):
    TaskletActor(w, action, w.log.append, 1).run()


@opener
def kill_of_a_dying_tasklet(w, action):
    TaskletActor(w, action, w.log.append, 1).kill()


@opener
def kill_of_a_suspended_dying_tasklet(w, action):
    def make():
        t = TaskletActor(w, action, schedule_remove, None)
        t.run()
        return t
    make().kill()


@opener
def throw_with_a_dying_value(w, action):
    t = _paused(w)
    try:
        t.throw(Error, Actor(w, action))
    except Error:
        pass


@opener
def tempval_of_another(w, action):
    t = _paused(w)
    t.tempval = Actor(w, action)
    t.tempval = None


@opener
def tempval_of_a_blocked_sender(w, action):
    w.channel = ch = channel()
    w.target = t = tasklet(ch.send)(Actor(w, action))
    t.run()
    t.tempval = None
    if ch.balance > 0:
        ch.receive()


@opener
def binding_drops_a_frame(w, action):
    def target(x):
        schedule_remove(None)
    w.target = t = tasklet(target)(Actor(w, action))
    t.run()
    t.bind(None)


@opener
def collecting_a_suspended_tasklet(w, action):
    def target(x):
        schedule_remove(None)
    t = tasklet(target)(Actor(w, action))
    t.run()
    del t
    gc.collect()


@opener
def end_of_a_tasklet(w, action):
    def target():
        x = Actor(w, action)        # noqa: F841
    w.target = tasklet(target)()
    w.target.run()


@opener
def result_of_a_tasklet(w, action):
    def target():
        return Actor(w, action)
    w.target = tasklet(target)()
    w.target.run()


@opener
def arguments_of_a_tasklet(w, action):
    w.target = tasklet(len)([Actor(w, action)])
    w.target.run()


@opener
def arguments_of_an_unstarted_tasklet(w, action):
    w.target = t = tasklet(len)([Actor(w, action)])
    t.kill()


@opener
def exception_out_of_a_tasklet(w, action):
    def target():
        raise Error(Actor(w, action))
    w.target = tasklet(target)()
    try:
        stackless.run()
    except Error:
        pass


@opener
def local_of_a_killed_tasklet(w, action):
    def target(x):
        schedule_remove(None)
    w.target = t = tasklet(target)(Actor(w, action))
    t.run()
    t.kill()


@opener
def local_of_a_generator(w, action):
    def gen():
        x = Actor(w, action)        # noqa: F841
        yield 1

    def target():
        for x in gen():
            pass
    w.target = tasklet(target)()
    w.target.run()


@opener
def item_of_a_loop_over_a_channel(w, action):
    w.channel = ch = channel()

    def target():
        for x in ch:
            del x
    w.target = tasklet(target)()
    w.target.run()
    ch.send(Actor(w, action))
    ch.send_exception(StopIteration)


@opener
def item_of_send_sequence(w, action):
    w.channel = ch = channel()

    def target():
        for x in ch:
            x = None
    w.target = tasklet(target)()
    w.target.run()
    ch.send_sequence(iter([Actor(w, action)]))
    ch.send_exception(StopIteration)


# --- actions ----------------------------------------------------------------

ACTIONS: dict[str, Callable[[World], Any]] = {}


def action(f):
    ACTIONS[f.__name__] = f
    return f


@action
def do_nothing(w):
    pass


@action
def switch(w):
    schedule()


@action
def switch_away(w):
    tasklet(w.current.insert)()
    schedule_remove()


@action
def run_everything(w):
    stackless.run()


@action
def run_the_bystander(w):
    w.bystander.run()


@action
def switch_to_the_bystander(w):
    tasklet(w.current.insert)()
    w.bystander.switch()


@action
def send(w):
    w.full.send("from __del__")


@action
def send_with_preference(w):
    w.full.preference = -1
    w.full.send("from __del__")


@action
def receive(w):
    ch = channel()
    tasklet(ch.send)(1)
    ch.receive()


@action
def deadlock(w):
    channel().receive()


@action
def kill_the_current(w):
    w.current.kill()


@action
def kill_the_current_pending(w):
    w.current.kill(pending=True)


@action
def kill_the_target(w):
    if w.target is not None:
        w.target.kill()


@action
def kill_the_target_pending(w):
    if w.target is not None:
        w.target.kill(pending=True)


@action
def run_the_target(w):
    if w.target is not None:
        w.target.run()


@action
def insert_the_target(w):
    if w.target is not None:
        w.target.insert()


@action
def remove_the_target(w):
    if w.target is not None:
        w.target.remove()


@action
def rebind_the_target(w):
    if w.target is not None:
        w.target.remove()
        w.target.bind(len, ((),))


@action
def forget_the_target(w):
    w.target = None
    gc.collect()


@action
def close_the_channel(w):
    if w.channel is not None:
        w.channel.close()


@action
def drop_the_channel(w):
    w.channel = None
    gc.collect()


@action
def use_the_channel(w):
    if w.channel is not None:
        w.channel.preference = 0
        if w.channel.balance < 0:
            w.channel.send("again")
        elif w.channel.balance > 0:
            w.channel.receive()


@action
def kill_all_waiting(w):
    if w.channel is not None:
        for t in waiters(w.channel):
            t.kill(pending=True)


@action
def remove_everyone(w):
    for t in runqueue()[1:]:
        t.remove()


@action
def kill_everyone_pending(w):
    for t in runqueue()[1:]:
        if not t.is_main:
            t.kill(pending=True)


@action
def insert_everyone(w):
    w.bystander.insert()
    stackless.main.insert()


@action
def raise_an_error(w):
    raise Error("from __del__")


@action
def throw_pending_into_the_current(w):
    w.current.throw(Error, pending=True)


@action
def set_the_current_tempval(w):
    w.current.tempval = "from __del__"


@action
def bomb_the_target(w):
    if w.target is not None and not w.target.is_current:
        w.target.tempval = bomb(Error)


@action
def trap(w):
    stackless.switch_trap(1)


@action
def block_trap(w):
    w.current.block_trap = True
    if w.target is not None:
        w.target.block_trap = True


@action
def collect(w):
    gc.collect()


@action
def let_another_thread_in(w):
    time.sleep(0)
    sys.setswitchinterval(1e-6)
    for i in range(1000):
        pass
    sys.setswitchinterval(0.005)


@action
def switch_in_another_thread(w):
    import threading

    def thread():
        tasklet(schedule)()
        tasklet(schedule)()
        stackless.run()
    t = threading.Thread(target=thread)
    t.start()
    t.join()


@action
def another_window(w):
    other = World()
    for f in (kill, run, send_to_a_receiver, send_into_a_dying_channel):
        f(other, do_nothing)


@action
def look_at_everything(w):
    for t in runqueue() + [w.current, w.target, w.bystander, w.receiver]:
        if t is not None:
            for name in dir(t):
                if not name.startswith("__"):
                    getattr(t, name)
    sys._getframe().f_back
    sys._current_frames()


@action
def install_callbacks(w):
    stackless.set_schedule_callback(lambda prev, next: w.log.append("cb"))
    stackless.set_channel_callback(lambda *args: w.log.append("channel cb"))


@action
def trace(w):
    w.current.trace_function = lambda *args: None
    if w.target is not None:
        w.target.profile_function = lambda *args: None


# --- the driver -------------------------------------------------------------

def undo() -> None:
    """Take back what actions have left set."""
    stackless.switch_trap(-stackless.switch_trap(0))
    stackless.main.block_trap = False
    stackless.set_schedule_callback(None)
    stackless.set_channel_callback(None)
    sys.settrace(None)
    sys.setprofile(None)


def run_to_the_end() -> None:
    for i in range(100):
        undo()
        if stackless.runcount == 1:
            break
        try:
            stackless.run()
        except (Exception, TaskletExit):    # noqa: F821 (a builtin here)
            continue
    undo()
    assert runqueue() == [stackless.main], runqueue()


def make_an_end_of(t: tasklet) -> None:
    # Some survive a kill or two; an action may come in between.
    for i in range(10):
        undo()
        if not t.alive or t.is_main:
            return
        try:
            t.kill()
        except (Exception, TaskletExit):    # noqa: F821
            continue
    if not t.scheduled:
        t.bind(None)
    assert not t.alive, "it does not die"


def combine(open_it: Callable, act: Callable, place: str) -> None:
    """One combination, and everything it left brought to an end."""
    w = World()

    def body():
        w.current = stackless.current
        try:
            open_it(w, act)
        except (Error, RuntimeError, TaskletExit, ValueError) as e:     # noqa: F821
            w.log.append(type(e).__name__)
    if place == "main":
        body()
    else:
        t = tasklet(body)()
        try:
            t.run()
        except Exception as e:
            w.log.append(type(e).__name__)
        run_to_the_end()
        make_an_end_of(t)
        del t
    run_to_the_end()
    for t in (w.target, w.bystander, w.receiver, w.runnable):
        if t is not None:
            make_an_end_of(t)
            run_to_the_end()
    kill_uncollectables()
    run_to_the_end()
    wrong = reset_scheduler()
    assert not wrong, wrong
    assert w.acted, "the window was not opened"


def main(opener_name: str, place: str) -> None:
    open_it = OPENERS[opener_name]
    only = os.environ.get("INFLIGHT_ACTION")
    # One run before counting: caches, specialisation, lazily made objects.
    combine(open_it, do_nothing, place)
    gc.collect()
    before = sys.getrefcount(tasklet), sys.getrefcount(channel)
    for name, act in ACTIONS.items():
        if only and only != name:
            continue
        print(name, flush=True)
        combine(open_it, act, place)
    gc.collect()
    gc.collect()
    after = sys.getrefcount(tasklet), sys.getrefcount(channel)
    if SOFT:                    # else what only a C stack refers to is not collected
        assert after == before, f"leaked: {before} {after}"
        assert not gc.garbage
    print("survived")
