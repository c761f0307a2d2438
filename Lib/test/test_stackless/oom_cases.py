"""The operations whose allocations fail in test_oom.py.

A case sets a scene, and returns an operation and the objects to watch.
"""

from __future__ import annotations

import gc
import sys
from typing import Callable

import stackless
from stackless import bomb, channel, schedule, schedule_remove, tasklet

CASES: dict[str, Callable[[], tuple]] = {}


# The cases in which the target may be the one that fails.
TARGET_MAY_FAIL: set[str] = set()

# The cases in which an exception arrives.
EXCEPTION_MAY_FAIL: set[str] = set()

# The cases that mean something else outside of main.
ONLY_MAIN: set[str] = set()

# The cases that mean something else if a tasklet was left hard.
NEEDS_SOFT: set[str] = set()


def case(f):
    CASES[f.__name__] = f
    return f


def target_may_fail(f):
    TARGET_MAY_FAIL.add(f.__name__)
    return f


def exception_may_fail(f):
    EXCEPTION_MAY_FAIL.add(f.__name__)
    return target_may_fail(f)


def only_main(f):
    ONLY_MAIN.add(f.__name__)
    return f


def only_soft(f):
    NEEDS_SOFT.add(f.__name__)
    return f


class Error(Exception):
    pass


def nothing(*args, **kwargs):
    pass


def wait_once():
    schedule_remove(None)


def deep(n):
    if n:
        deep(n - 1)
    else:
        schedule_remove(None)


def paused(f=wait_once, *args):
    t = tasklet(f)(*args)
    t.remove()
    t.run()
    return t


# --- construction -----------------------------------------------------------

@case
def new_tasklet():
    return tasklet,


@case
def new_tasklet_with_a_function():
    return lambda: tasklet(nothing),


@case
def new_tasklet_with_arguments():
    return lambda: tasklet(nothing, (1, 2), {"a": 3}),


@case
def new_channel():
    return channel,


@case
def new_bomb():
    return lambda: bomb(Error, 1, None),


@case
def setup():
    t = tasklet(nothing)
    return lambda: t(1, 2, a=3), t


@case
def setup_of_a_builtin():
    t = tasklet(len)
    return lambda: t(()), t


@case
def bind():
    t = tasklet(nothing)
    return lambda: t.bind(nothing, (1,), {"a": 2}), t


@case
@only_soft
def bind_drops_frames():
    t = paused(deep, 5)
    return lambda: t.bind(None), t


@case
@only_soft
def bind_drops_frames_for_arguments():
    t = paused(deep, 5)
    return lambda: t.bind(nothing, (1,), {"a": 2}), t


# --- the queue --------------------------------------------------------------

@case
def insert():
    t = tasklet(nothing, ())
    return t.insert, t


@case
def remove():
    t = tasklet(nothing)()
    return t.remove, t


@case
@target_may_fail
def schedule_with_a_new_tasklet():
    t = tasklet(nothing)()
    return schedule, t


@case
def schedule_with_a_suspended_tasklet():
    t = paused()
    t.insert()
    return schedule, t


@case
def schedule_from_depth():
    t = paused()
    t.insert()

    def call(n):
        if n:
            call(n - 1)
        else:
            schedule()
    return lambda: call(20), t


@case
def schedule_from_several_chunks_of_data_stack():
    t = paused()
    t.insert()

    def call(n):
        if n:
            call(n - 1)
        else:
            schedule()
    return lambda: call(200), t


@case
@target_may_fail
def schedule_with_keyword():
    t = tasklet(nothing)()
    return lambda: schedule(retval=1), t


@case
@target_may_fail
def schedule_with_star():
    t = tasklet(nothing)()
    return lambda: schedule(*[1]), t


@case
@target_may_fail
def remove_the_current():
    me = stackless.current
    t = tasklet(me.insert)()
    return schedule_remove, t


@case
@target_may_fail
def run():
    t = tasklet(nothing)()
    return stackless.run, t


@case
def run_with_a_suspended_tasklet():
    t = paused(deep, 20)
    t.insert()
    return stackless.run, t


@case
def tasklet_run():
    t = paused()
    return t.run, t


@case
@target_may_fail
def tasklet_run_new():
    t = tasklet(nothing, (1,), {"a": 2})
    return t.run, t


@case
@target_may_fail
def tasklet_run_builtin():
    t = tasklet(len, ((),))
    return t.run, t


@case
@target_may_fail
def tasklet_run_class():
    t = tasklet(list, ((),))
    return t.run, t


@case
@target_may_fail
def tasklet_switch():
    me = stackless.current
    t = tasklet(me.insert, ())
    return t.switch, t


# --- exceptions -------------------------------------------------------------

def survive():
    try:
        schedule_remove(None)
    except Error:
        pass


@case
@target_may_fail
def throw_class():
    t = paused(survive)
    return lambda: t.throw(Error), t


@case
@target_may_fail
def throw_instance():
    t = paused(survive)
    e = Error(1)
    return lambda: t.throw(e), t


@case
@target_may_fail
def throw_class_and_value():
    t = paused(survive)
    return lambda: t.throw(Error, (1, 2)), t


@case
def throw_pending():
    t = paused(survive)
    return lambda: t.throw(Error, pending=True), t


@case
@target_may_fail
def raise_exception():
    t = paused(survive)
    return lambda: t.raise_exception(Error, 1, 2), t


@case
@target_may_fail
def kill():
    t = paused()
    return t.kill, t


@case
def kill_pending():
    t = paused()
    return lambda: t.kill(True), t


@case
@target_may_fail
def kill_unstarted():
    t = tasklet(nothing)()
    return t.kill, t


@case
@target_may_fail
def kill_blocked():
    ch = channel()
    t = tasklet(ch.receive)()
    t.run()
    return t.kill, t, ch


# --- channels ---------------------------------------------------------------

def receiver(ch):
    t = tasklet(lambda: ch.receive())()
    t.run()
    return t


def sender(ch):
    t = tasklet(lambda: ch.send(1))()
    t.run()
    return t


@case
def send_to_a_receiver():
    ch = channel()
    t = receiver(ch)
    return lambda: ch.send(1), t, ch


@case
def send_to_a_receiver_without_a_switch():
    ch = channel()
    ch.preference = 1
    t = receiver(ch)
    return lambda: ch.send(1), t, ch


@case
def receive_from_a_sender():
    ch = channel()
    t = sender(ch)
    return ch.receive, t, ch


@case
def receive_from_a_preferred_sender():
    ch = channel()
    ch.preference = 1
    t = sender(ch)
    return ch.receive, t, ch


@case
@target_may_fail
def send_and_wait():
    ch = channel()
    t = tasklet(ch.receive)()
    return lambda: ch.send(1), t, ch


@case
@target_may_fail
def receive_and_wait():
    ch = channel()
    t = tasklet(ch.send)(1)
    return ch.receive, t, ch


@case
@target_may_fail
def receive_with_star():
    ch = channel()
    t = tasklet(ch.send)(1)
    return lambda: ch.receive(*()), t, ch


@case
def schedule_all():
    ch = channel()
    ch.schedule_all = 1
    t = receiver(ch)
    return lambda: ch.send(1), t, ch


@case
def loop_over_a_channel():
    ch = channel()
    t = sender(ch)
    ch.close()

    def loop():
        for x in ch:
            return
    return loop, t, ch


@case
@target_may_fail
def loop_over_a_channel_that_waits():
    ch = channel()
    t = tasklet(ch.send)(1)

    def loop():
        for x in ch:
            return
    return loop, t, ch


def survivor(ch):
    def target():
        try:
            ch.receive()
        except Error:
            pass
    t = tasklet(target)()
    t.run()
    return t


@case
@target_may_fail
def send_exception():
    ch = channel()
    t = survivor(ch)
    return lambda: ch.send_exception(Error, 1), t, ch


@case
@target_may_fail
def send_throw():
    ch = channel()
    t = survivor(ch)
    return lambda: ch.send_throw(Error, (1, 2)), t, ch


@case
@exception_may_fail
def receive_an_exception_that_waits():
    ch = channel()
    t = tasklet(lambda: ch.send_exception(Error, 1))()
    t.run()

    def call():
        try:
            ch.receive()
        except Error:
            pass
    return call, t, ch


@case
@exception_may_fail
def loop_ended_by_an_exception_that_waits():
    ch = channel()
    t = tasklet(lambda: ch.send_exception(StopIteration))()
    t.run()

    def call():
        for x in ch:
            pass
    return call, t, ch


@case
@exception_may_fail
def loop_ended_by_an_exception_that_comes():
    ch = channel()
    t = tasklet(lambda: ch.send_exception(StopIteration))()

    def call():
        for x in ch:
            pass
    return call, t, ch


@case
@exception_may_fail
def resumed_by_a_bomb():
    me = stackless.current

    def target():
        me.tempval = bomb(Error, 1)
    t = tasklet(target)()

    def call():
        try:
            schedule()
        except Error:
            pass
    return call, t


@case
@exception_may_fail
def resumed_by_a_throw():
    me = stackless.current

    def target():
        me.throw(Error, (1, 2))
    t = tasklet(target)()

    def call():
        try:
            schedule()
        except Error:
            pass
    return call, t


@case
@exception_may_fail
def killed_by_another():
    me = stackless.current

    def target():
        me.kill(True)
    t = tasklet(target)()

    def call():
        try:
            schedule()
        except TaskletExit:         # noqa: F821 (a builtin here)
            pass
    return call, t


@case
@only_main
@target_may_fail
def uncaught_exception():
    def target():
        raise Error(1)
    t = tasklet(target)()

    def call():
        try:
            stackless.run()
        except Error:
            pass
    return call, t


@case
@only_main
@target_may_fail
def uncaught_exception_while_main_receives():
    def target():
        raise Error(1)
    t = tasklet(target)()
    ch = channel()

    def call():
        try:
            ch.receive()
        except Error:
            pass
    return call, t, ch


@case
@only_main
@target_may_fail
def end_of_all_while_main_receives():
    t = tasklet(nothing)()
    ch = channel()

    def call():
        try:
            ch.receive()
        except RuntimeError:
            pass
    return call, t, ch


@case
@only_main
@target_may_fail
def deadlock_of_a_tasklet_while_main_receives():
    ch = channel()

    def target():
        try:
            channel().receive()
        except RuntimeError:
            ch.send(1)
    t = tasklet(target)()
    return ch.receive, t, ch


@case
@target_may_fail
def nested_run():
    def target():
        tasklet(nothing)()
        stackless.run()
    t = tasklet(target)()
    return stackless.run, t


@case
@target_may_fail
def start_at_depth():
    def target(n):
        if n:
            target(n - 1)
    t = tasklet(target)(50)
    return t.run, t


@case
@target_may_fail
def start_of_a_generator_loop():
    def gen():
        for i in range(3):
            schedule()
            yield i

    def target():
        for x in gen():
            pass
    t = tasklet(target)()
    return t.run, t


@case
@only_main
def deadlock():
    ch = channel()

    def call():
        try:
            ch.receive()
        except RuntimeError:
            pass
    return call, ch


@case
def refused_by_block_trap():
    ch = channel()
    me = stackless.current

    def call():
        me.block_trap = True
        try:
            ch.receive()
        except RuntimeError:
            pass
        finally:
            me.block_trap = False
    return call, ch


# --- the rest ---------------------------------------------------------------

@case
def attributes():
    ch = channel()
    t = receiver(ch)
    u = paused(deep, 3)

    def call():
        for x in (t, u):
            (x.alive, x.frame, x.next, x.tempval, x.thread_id, x.recursion_depth,
             x._channel, x.context_id, x.trace_function)
        ch.balance, ch.queue, ch.preference
    return call, t, u, ch


@case
def thread_info():
    return stackless.get_thread_info,


@case
def set_trace_function():
    t = paused()

    def call():
        t.trace_function = nothing
        t.trace_function = None
    return call, t


@case
def set_context():
    import contextvars
    t = tasklet(nothing)
    ctx = contextvars.Context()
    return lambda: t.set_context(ctx), t


@case
def atomic():
    def call():
        with stackless.atomic():
            pass
    return call,


@case
def collect():
    t = paused(deep, 10)
    ch = channel()
    u = receiver(ch)
    return gc.collect, t, u, ch


@case
@only_soft
def drop_a_suspended_tasklet():
    box = [paused(deep, 10)]
    return box.clear,


# --- tasklets suspended hard --------------------------------------------------

def make_frame_objects():
    """Those of the callers.

    Upstream loses an exception that is on its way through a frame if the next one's
    frame object cannot be made (take_ownership() in Python/frame.c), and then aborts.
    """
    frame = sys._getframe()
    while frame is not None:
        frame = frame.f_back


def hard(f=schedule_remove, *args):
    """A tasklet that calls f(*args) where C functions lie between."""
    def call(x):
        make_frame_objects()
        f(*args)

    def through_map():
        try:
            list(map(call, [0]))
        except Error:
            pass
    t = tasklet(through_map)()
    t.run()
    return t


@case
@target_may_fail
def drop_a_hard_tasklet():
    box = [hard()]
    return box.clear,


@case
@target_may_fail
def schedule_with_a_hard_tasklet():
    t = hard()
    t.insert()
    return schedule, t


@case
@target_may_fail
def run_with_a_hard_tasklet():
    t = hard(schedule)
    return stackless.run, t


@case
@target_may_fail
def switch_to_a_hard_tasklet():
    me = stackless.current

    def back():
        schedule_remove()
        me.insert()
    t = hard(back)
    return t.switch, t


@case
@target_may_fail
def throw_to_a_hard_tasklet():
    t = hard()
    return lambda: t.throw(Error, 1), t


@case
@target_may_fail
def kill_a_hard_tasklet():
    t = hard()
    return t.kill, t


@case
@target_may_fail
def send_to_a_hard_receiver():
    ch = channel()
    t = hard(ch.receive)
    return lambda: ch.send(1), t, ch


@case
@target_may_fail
def receive_from_a_hard_sender():
    ch = channel()
    ch.preference = 1
    t = hard(ch.send, 1)
    return ch.receive, t, ch


@case
@exception_may_fail
def throw_from_a_hard_tasklet():
    me = stackless.current

    def throw():
        schedule_remove()
        me.throw(Error, 1)
    t = hard(throw)

    def call():
        try:
            t.run()
        except Error:
            pass
    return call, t


@case
@target_may_fail
def start_of_a_tasklet_that_is_left_hard():
    # A lambda of its own would be upstream's trouble: its MAKE_FUNCTION drops the code
    # object twice if there is no memory.
    def target():
        sorted([0], key=schedule_remove)
    t = tasklet(target)()
    return t.run, t


@case
@target_may_fail
def switches_within_an_initializer():
    class C:
        def __init__(self, x):
            schedule_remove()

    def target():
        list(map(C, [0]))
    t = tasklet(target)()
    return t.run, t


@case
@target_may_fail
def many_frames_left_hard():
    def target(n):
        if n % 5 == 4:
            list(map(target, [n - 1]))
        elif n:
            target(n - 1)
        else:
            schedule_remove()
    t = tasklet(target)(30)
    return t.run, t


@case
@target_may_fail
def collect_a_hard_tasklet():
    t = hard()
    ch = channel()
    u = hard(ch.receive)
    return gc.collect, t, u, ch


@case
def keys_of_a_list():
    items = [3, 1, 2]

    def key(item):
        return -item

    def sort():
        try:
            items.sort(key=key)
        finally:
            assert len(items) == 3
    return sort,


@case
def keys_of_an_iterable():
    def key(item):
        return -item

    def sort():
        sorted(range(100), key=key)
    return sort,


# --- waiting ------------------------------------------------------------------

@case
def sleep_for_a_moment():
    ch = channel()
    return lambda: stackless.sleep(1e-9), ch


@case
@exception_may_fail
def receive_in_vain():
    ch = channel()

    def call():
        try:
            ch.receive(timeout=1e-9)
        except TimeoutError:
            pass
    return call, ch


@case
def select_what_is_ready():
    ch, other = channel(), channel()
    ch.preference = 1
    tasklet(ch.send)(1)
    stackless.run()
    return lambda: stackless.select((other, 1), ch), ch, other


@case
@exception_may_fail
def select_in_vain():
    a, b, c = channel(), channel(), channel()

    def call():
        try:
            stackless.select(a, b, (c, 1), timeout=1e-9)
        except TimeoutError:
            pass
    return call, a, b, c


@case
@exception_may_fail
def join_in_vain():
    t = tasklet(schedule_remove)()
    t.run()

    def call():
        try:
            t.join(1e-9)
        except TimeoutError:
            pass
    return call, t


@case
@target_may_fail
def result():
    t = tasklet(nothing)()
    return t.result, t


# --- pickling ----------------------------------------------------------------------------

def in_many_ways(n):
    """Waits within a generator, a handler and a continuation."""
    class Number:
        def __add__(self, other):
            schedule_remove(None)

    def gen():
        try:
            raise Error
        except Error as e:
            Number() + n
            yield e
    for _ in gen():
        pass


@case
@only_soft
def reduce_tasklet():
    t = paused(in_many_ways, 1)
    return lambda: t.__reduce__(), t


@case
@only_soft
def reduce_channel():
    ch = channel()
    t = tasklet(ch.receive)()
    t.run()
    return lambda: ch.__reduce__(), t, ch


@case
@only_soft
def set_state():
    import pickle                      # registers how
    t = paused(deep, 2)
    state = t.__reduce__()[2]
    made = []

    def load():
        other = tasklet()
        other.__setstate__(state)
        made[:] = [other]
    assert pickle
    return load, t


@case
def enter_a_scope():
    def call():
        with stackless.move_on_after(1):
            pass
    return call,


@case
@exception_may_fail
def cancelled_by_a_deadline():
    ch = channel()

    def call():
        with stackless.move_on_after(1e-9):
            ch.receive()
    return call, ch


@case
@exception_may_fail
def cancel_who_waits():
    ch = channel()

    def task():
        with stackless.move_on_after() as scope:
            scopes.append(scope)
            ch.receive()
    scopes = []
    t = tasklet(task)()
    t.run()
    return scopes[0].cancel, t, ch


@case
@only_main
@target_may_fail
def spawn_in_a_group():
    def call():
        with stackless.group() as g:
            g.spawn(nothing)
    return call,
