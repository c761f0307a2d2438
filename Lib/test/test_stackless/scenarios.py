"""Small programs that must work wherever the main tasklet is.

Each takes no arguments and raises (AssertionError or anything else) if
something is wrong.  test_main_places.py runs all of them with main at the
bottom of a script, below C code, in a thread, and so on.
"""

from __future__ import annotations

import contextvars
import gc
import sys
import threading
import time
import traceback
import weakref
from typing import Callable

import stackless
from stackless import (atomic, bomb, channel, schedule, schedule_remove,
                       tasklet)

from .support import in_turn

SCENARIOS: dict[str, Callable[[], None]] = {}


def scenario(f: Callable[[], None]) -> Callable[[], None]:
    SCENARIOS[f.__name__] = f
    return f


class Error(Exception):
    pass


@scenario
def round_robin():
    order = []

    def task(name):
        for i in range(3):
            order.append(name)
            schedule()
    for name in "abc":
        tasklet(task)(name)
    stackless.run()
    assert in_turn(order) == in_turn("abcabcabc"), order


@scenario
def main_takes_its_turn():
    order = []

    def task():
        for i in range(3):
            order.append("t")
            schedule()
    tasklet(task)()
    for i in range(4):
        order.append("m")
        result = schedule()
        assert result is stackless.main
    assert order == list("mtmtmtm"), order


@scenario
def many_tasklets():
    count = 0

    def task():
        nonlocal count
        schedule()
        count += 1
    for i in range(2000):
        tasklet(task)()
    stackless.run()
    assert count == 2000


@scenario
def deep_tasklets():
    done = []

    def deep(n):
        if n:
            deep(n - 1)
        else:
            schedule()
            done.append(1)
    for i in range(10):
        tasklet(deep)(200)
    stackless.run()
    assert len(done) == 10


@scenario
def ping_pong_with_main():
    there, back = channel(), channel()

    def task():
        for x in there:
            back.send(x + 1)
    tasklet(task)()
    for i in range(10):
        there.send(i)
        answer = back.receive()
        assert answer == i + 1
    there.send_exception(StopIteration)
    stackless.run()


@scenario
def main_receives_from_many():
    ch = channel()

    def task(i):
        ch.send(i)
    for i in range(20):
        tasklet(task)(i)
    received = sorted(ch.receive() for i in range(20))
    assert received == list(range(20))
    stackless.run()


@scenario
def prime_sieve():
    def generate(out):
        i = 2
        while True:
            out.send(i)
            i += 1

    def sift(prime, left, right):
        while True:
            i = left.receive()
            if i % prime:
                right.send(i)
    primes = []
    tasklets = []
    ch = channel()
    tasklets.append(tasklet(generate)(ch))
    while len(primes) < 30:
        prime = ch.receive()
        primes.append(prime)
        right = channel()
        tasklets.append(tasklet(sift)(prime, ch, right))
        ch = right
    assert primes[-1] == 113, primes
    for t in tasklets:
        t.kill()


@scenario
def exception_reaches_main():
    def task():
        raise Error(5)
    for wait in (stackless.run, schedule, schedule_remove):
        tasklet(task)()
        try:
            wait()
        except Error as e:
            assert e.args == (5,)
            names = [f.name for f in traceback.extract_tb(e.__traceback__)]
            assert names == ["exception_reaches_main", "task"], names
        else:
            raise AssertionError("no exception")


@scenario
def exception_into_a_tasklet():
    log = []

    def task():
        try:
            schedule_remove()
        except Error as e:
            log.append(e.args)
    t = tasklet(task)()
    t.run()
    t.throw(Error, (1, 2))
    assert log == [(1, 2)] and not t.alive


@scenario
def main_is_thrown_into():
    def task():
        stackless.main.throw(Error, 7)
    t = tasklet(task)()
    try:
        stackless.run()
    except Error as e:
        assert e.args == (7,)
    else:
        raise AssertionError("no exception")
    stackless.run()
    assert not t.alive


@scenario
def kill_runs_finally():
    log = []

    def task():
        try:
            schedule_remove()
        finally:
            log.append("finally")
    t = tasklet(task)()
    t.run()
    t.kill()
    assert log == ["finally"]


@scenario
def nested_runs():
    order = []

    def level(n):
        if n:
            tasklet(level)(n - 1)
            stackless.run()
        order.append(n)
    tasklet(level)(5)
    stackless.run()
    assert order == [0, 1, 2, 3, 4, 5], order


@scenario
def deadlock_in_main():
    if len(stackless.threads) > 1:
        return    # another thread could still send something
    try:
        channel().receive()
    except RuntimeError as e:
        assert str(e).startswith("Deadlock"), e
    else:
        raise AssertionError("no deadlock")
    assert stackless.runcount == 1


@scenario
def main_waits_for_nobody():
    tasklet(len)(())
    try:
        channel().receive()
    except RuntimeError as e:
        assert "without a sender" in str(e), e
    else:
        raise AssertionError("no exception")


@scenario
def main_below_callbacks():
    log = []

    def task():
        while True:
            log.append("t")
            schedule()
    t = tasklet(task)()

    def callback(x):
        schedule()
        return x
    mapped = list(map(callback, range(3)))
    assert mapped == [0, 1, 2]
    ordered = sorted([3, 1, 2], key=callback)
    assert ordered == [1, 2, 3]
    assert log == ["t"] * 6
    t.kill()


@scenario
def main_below_callbacks_left_by_a_tasklet_that_goes_on():
    # A tasklet is started on one level of main's C stack and goes on on
    # another one.
    ch = channel()
    log = []

    def task():
        for i in range(4):
            log.append(ch.receive())
    t = tasklet(task)()
    t.run()

    def level(n):
        ch.send(n)
        if n:
            list(map(level, [n - 1]))
    level(3)
    assert log == [3, 2, 1, 0]
    assert not t.alive


@scenario
def generator_in_main_switches():
    log = []

    def task():
        log.append("t")

    def gen():
        for i in range(3):
            tasklet(task)()
            schedule()
            yield i
    generated = list(gen())
    assert generated == [0, 1, 2]
    assert log == ["t"] * 3


@scenario
def f_back_ends_at_the_bottom():
    seen = []

    def task():
        schedule()
        seen.append(sys._getframe().f_back)
    tasklet(task)()
    stackless.run()
    assert seen == [None]


@scenario
def main_frames_stay():
    def names():
        result, frame = [], sys._getframe(1)
        while frame is not None:
            result.append(frame.f_code.co_name)
            frame = frame.f_back
        return result
    before = names()
    seen = []

    def task():
        frame = stackless.main.frame
        while frame is not None:
            seen.append(frame.f_code.co_name)
            frame = frame.f_back
    tasklet(task)()
    stackless.run()
    assert seen == before, (seen, before)
    assert names() == before


@scenario
def handled_exceptions_stay():
    seen = []

    def task():
        seen.append(sys.exc_info()[0])
        try:
            raise KeyError
        except KeyError:
            schedule()
            seen.append(sys.exc_info()[0])
    try:
        raise Error
    except Error:
        tasklet(task)()
        stackless.run()
        assert sys.exc_info()[0] is Error
    assert seen == [None, KeyError], seen


@scenario
def contexts_stay():
    var = contextvars.ContextVar("var")
    seen = []

    def task(name):
        var.set(name)
        schedule()
        seen.append(var.get())
    token = var.set("main")
    for name in "ab":
        contextvars.copy_context().run(lambda: tasklet(task)(name))
    stackless.run()
    assert var.get() == "main"
    assert in_turn(seen) == ["a", "b"], seen
    var.reset(token)


@scenario
def recursion_limit_is_per_tasklet():
    reached = []

    def deep(n):
        try:
            deep(n + 1)
        except RecursionError:
            if not reached or n > reached[-1]:
                reached.append(n)
            raise
    t = tasklet(deep)(1)
    try:
        stackless.run()
    except RecursionError:
        pass
    assert reached[0] > sys.getrecursionlimit() - 20, reached
    assert not t.alive


@scenario
def collection_while_suspended():
    if not stackless.enable_softswitch(None):
        return              # what was left hard is not collected
    class X:
        pass
    refs = []

    def task(ch):
        x = X()
        refs.append(weakref.ref(x))
        ch.receive()
    channels = [channel() for i in range(100)]
    for ch in channels:
        tasklet(task)(ch)
    del ch
    stackless.run()
    gc.collect()
    assert all(r() is not None for r in refs)
    channels.clear()
    # gc.collect() does nothing while another thread is collecting.
    for i in range(1000):
        gc.collect()
        if not any(r() for r in refs):
            break
        time.sleep(0.001)
    assert all(r() is None for r in refs)


@scenario
def bomb_for_main():
    def task():
        stackless.main.tempval = bomb(Error, 1)
    tasklet(task)()
    try:
        schedule()
    except Error:
        pass
    else:
        raise AssertionError("no exception")


@scenario
def flags():
    with atomic():
        assert stackless.current.atomic
    tasklet(len)(())
    stackless.switch_trap(1)
    try:
        schedule()
    except RuntimeError as e:
        assert str(e) == "switch_trap"
    else:
        raise AssertionError("no exception")
    finally:
        stackless.switch_trap(-1)
    stackless.run()


@scenario
def tracing_of_main_goes_on():
    events = []

    def tracer(frame, event, arg):
        events.append((event, frame.f_code.co_name))
        return tracer

    def traced():
        schedule()

    def task():
        pass
    tasklet(task)()
    old = sys.gettrace()
    sys.settrace(tracer)
    traced()
    sys.settrace(old)
    names = {name for event, name in events}
    assert "traced" in names and "task" not in names, events
    assert ("return", "traced") in events, events


@scenario
def callbacks():
    log = []
    t = tasklet(schedule)()
    stackless.set_schedule_callback(lambda prev, next: log.append((prev, next)))
    try:
        stackless.run()
    finally:
        stackless.set_schedule_callback(None)
    # schedule() alone in the queue returns at once.
    assert log == [(stackless.main, t), (t, stackless.main)], log


@scenario
def main_is_main():
    assert stackless.current is stackless.main
    assert stackless.main.is_main and stackless.main.is_current
    assert stackless.main.thread_id == threading.get_ident()
    assert stackless.runcount == 1


@scenario
def exec_in_a_tasklet():
    namespace = {"log": []}
    tasklet(exec)("log.append(1)", namespace)
    stackless.run()
    assert namespace["log"] == [1]


@scenario
def a_thread_within():
    seen = []

    def task():
        seen.append("t")
        schedule()
        seen.append("t")

    def thread():
        tasklet(task)()
        stackless.run()
    t = threading.Thread(target=thread)
    t.start()
    t.join()
    assert seen == ["t", "t"]
    assert stackless.runcount == 1


def run_all(where: str = "") -> None:
    """Run every scenario; each must leave the queue as it found it."""
    for name, f in SCENARIOS.items():
        try:
            f()
            assert stackless.runcount == 1, "tasklets are left in the queue"
            assert stackless.current is stackless.main
        except BaseException:
            print(f"scenario {name} failed ({where})", file=sys.stderr)
            raise
