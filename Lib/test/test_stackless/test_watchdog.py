"""stackless.run() with a time limit: who is interrupted, when, and what is left."""

import dis
import gc
import math
import _thread
import signal
import sys
import threading
import time
import unittest
import weakref

import stackless
from stackless import schedule, tasklet

from .support import StacklessTestCase, needs_soft, run_python, runqueue

LIMITS = (100, 150, 200, 350, 500, 700, 1000)


def nothing():
    pass


def forever():
    while True:
        pass


class Box:
    value = 0

    def method(self):
        return self.value

    def add(self, number):
        self.value = number + self.value
        return number


def straight(a):
    b = a + 1
    c = [a, b]
    d = c[0] + c[1]
    return d * 2


# Statements without jumps, which may not change `i`.
BODIES = {
    "names": "x = i; y = x; z = y; x = z",
    "arithmetic": "x = i + 1; y = x * 2 - i; z = x ^ y",
    "attributes": "x = box.value; box.value = x; y = box.value; z = box.value",
    "globals": "x = math.pi; y = math.e; z = math.tau; x = len",
    "subscripts": "t[0] = i; x = t[0]; t[1] = t[2]; y = t[-1]",
    "builtins": "x = len(t); y = abs(-i); z = min(i, 3)",
    "methods of builtins": "t.append(i); x = t.pop(); y = t.count(7)",
    "functions": "x = straight(i); y = straight(x)",
    "methods": "x = box.method(); y = box.add(2)",
    "instances": "x = Box(); y = x.value",
    "conditions": "x = i if i % 2 else 3; y = i and x; z = not y",
    "strings": "x = f'{i}:{i!r}'; y = x + 'a'",
    "containers": "x = [i, i]; y = (x, i); z = {i: x}; a, b = y",
}


def statements(body):
    """How a source of so many statements is repeated without a loop."""
    return [s.strip() for s in body.split(";")]


def make_loop(body, times=1):
    """A function that loops for ever and counts its rounds in box.rounds."""
    lines = ["def loop(box, t):", "    i = 0", "    while True:",
             "        i += 1", "        box.rounds = i"]
    lines += ["        " + s for _ in range(times) for s in statements(body)]
    namespace = {"Box": Box, "straight": straight, "math": math}
    exec("\n".join(lines), namespace)
    return namespace["loop"]


def straight_length(code):
    return sum(i.opname != "EXTENDED_ARG" for i in dis.get_instructions(code))


def round_length(loop, body, times):
    """Instructions that one round takes, those of functions it calls included."""
    instructions = list(dis.get_instructions(loop))
    jump = [i for i in instructions if i.opname == "JUMP_BACKWARD"][-1]
    length = sum(jump.jump_target <= i.offset <= jump.offset
                 and i.opname != "EXTENDED_ARG" for i in instructions)
    for name, function in (("straight(", straight), ("box.method(", Box.method),
                           ("box.add(", Box.add)):
        length += times * body.count(name) * straight_length(function.__code__)
    return length


class Count(StacklessTestCase):
    """How much runs before an interrupt, and that no more runs than that."""

    def rounds(self, loop, limit):
        box = Box()
        box.rounds = 0
        t = tasklet(loop)(box, [1, 2, 3])
        self.assertIs(stackless.run(limit), t)
        first = box.rounds
        t.insert()
        self.assertIs(stackless.run(limit), t)
        t.kill()
        return first, box.rounds - first

    def check(self, body, times):
        loop = make_loop(body, times)
        length = round_length(loop, body, times)
        self.rounds(loop, 10_000)              # the code is warm after that
        for limit in LIMITS:
            if length > limit:
                continue
            with self.subTest(body, limit=limit, length=length):
                for rounds in self.rounds(loop, limit):
                    self.assertGreater(2 * rounds * length, limit)
                    self.assertLessEqual((rounds - 1) * length, 2 * limit)
                    if " if " not in body:
                        # Counted exactly, but for the part of a round.
                        self.assertLess(abs(rounds * length - limit),
                                        2 * length + 20)

    def test_short_loops(self):
        for name, body in BODIES.items():
            with self.subTest(name):
                self.check(body, 1)

    def test_long_loops(self):
        for name, body in BODIES.items():
            with self.subTest(name):
                self.check(body, 12)

    def test_loops_that_need_extended_arguments(self):
        self.check(BODIES["attributes"], 60)

    def test_a_cold_loop(self):
        for limit in LIMITS:
            body = BODIES["attributes"]
            loop = make_loop(body)
            length = round_length(loop, body, 1)
            rounds, _ = self.rounds(loop, limit)
            self.assertLess(abs(rounds * length - limit), 2 * length + 20)

    def test_a_loop_over_a_generator(self):
        def numbers():
            i = 0
            while True:
                i += 1
                yield i

        def loop(box, t):
            for i in numbers():
                box.rounds = i

        length = 0
        for f, skip in ((numbers, 5), (loop, 5)):
            length += straight_length(f.__code__) - skip
        for limit in LIMITS:
            rounds, _ = self.rounds(loop, limit)
            self.assertLess(abs(rounds * length - limit), limit / 2 + 2 * length)

    def test_recursion(self):
        def fibonacci(n):
            return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

        def loop(box, t):
            while True:
                box.rounds += 1
                fibonacci(4)

        # 9 calls, 4 of them with calls in them
        length = 9 * 5 + 4 * 13 + 10
        for limit in LIMITS[2:]:
            rounds, _ = self.rounds(loop, limit)
            self.assertLess(abs(rounds * length - limit), limit / 2 + 2 * length)

    def test_handled_exceptions(self):
        def loop(box, t):
            while True:
                try:
                    box.rounds += 1
                    raise ValueError
                except ValueError:
                    pass
        for limit in LIMITS:
            rounds, _ = self.rounds(loop, limit)
            self.assertGreater(rounds * 30, limit / 2)
            self.assertLess(rounds, limit)

    def test_a_larger_limit_lets_more_run(self):
        for name, body in BODIES.items():
            loop = make_loop(body)
            before = 0
            for limit in range(100, 3000, 60):
                rounds, _ = self.rounds(loop, limit)
                self.assertGreaterEqual(rounds, before, (name, limit))
                before = rounds
            self.assertGreater(rounds, self.rounds(loop, 100)[0] * 10)

    def test_an_empty_loop(self):
        t = tasklet(forever)()
        self.assertIs(stackless.run(100), t)
        t.kill()


class NotInterrupted(StacklessTestCase):
    """Ten instructions between switches are never too many."""

    def check(self, function, switches):
        # schedule() alone is no switch
        def other():
            while t.alive:
                schedule()
        seen = []
        t = tasklet(function)(seen)
        tasklet(other)()
        self.assertIsNone(stackless.run(100))
        self.assertEqual(len(seen), switches)
        self.assertDead(t)

    def test_a_loop_with_schedule(self):
        def function(seen):
            for i in range(2000):
                schedule()
                seen.append(i)
        self.check(function, 2000)

    def test_a_long_branch_not_taken(self):
        source = ["def function(seen):",
                  "    for i in range(200):",
                  "        schedule()",
                  "        if i % 2:",
                  "            schedule()"]
        source += ["            x = i + 1; y = x; len(seen)"] * 8
        source += ["            schedule()",
                   "            x = i + 1; y = x; z = i"] * 8
        source += ["        seen.append(i)"]
        namespace = {"schedule": schedule}
        exec("\n".join(source), namespace)

        self.check(namespace["function"], 200)

    def test_a_callee_that_returned_early(self):
        source = ["def callee(n):",
                  "    if n: return",
                  "    schedule()"]
        source += ["    x = n; y = x; z = y; x = z"] * 200
        source += ["    schedule()"]
        source += ["def function(seen):",
                   "    for i in range(50):",
                   "        schedule()",
                   "        callee(1)",
                   "        len(seen)",
                   "        seen.append(i)"]
        namespace = {"schedule": schedule}
        exec("\n".join(source), namespace)
        self.check(namespace["function"], 50)

    def test_channels(self):
        def sender(ch, n):
            for i in range(n):
                ch.send(i)

        def receiver(seen):
            for i in range(1000):
                seen.append(ch.receive())
        for preference in (-1, 1):
            ch = stackless.channel()
            ch.preference = preference
            tasklet(sender)(ch, 1000)
            self.check(receiver, 1000)

    def test_without_a_limit(self):
        t = tasklet(lambda: [None for i in range(100_000)])()
        self.assertIsNone(stackless.run())
        self.assertIsNone(stackless.run(0))
        self.assertDead(t)


class Result(StacklessTestCase):

    def test_the_victim_is_returned(self):
        t = tasklet(forever)()
        self.assertIs(stackless.run(1000), t)
        self.assertTrue(t.alive)
        self.assertTrue(t.paused)
        self.assertFalse(t.scheduled)
        self.assertEqual(t.nesting_level, 0)
        self.assertTrue(t.restorable)
        self.assertIsNone(t.tempval)
        self.assertEqual(t.frame.f_code, forever.__code__)
        self.assertQueue([stackless.main])
        t.kill()
        self.assertDead(t)

    def test_none_if_the_queue_is_empty_first(self):
        t = tasklet(nothing)()
        self.assertIsNone(stackless.run(1000))
        self.assertDead(t)
        self.assertIsNone(stackless.run(1000))

    def test_an_exception_is_raised(self):
        def fail():
            raise ZeroDivisionError
        t = tasklet(forever)()
        tasklet(fail)()
        self.assertIs(stackless.run(1000), t)
        with self.assertRaises(ZeroDivisionError):
            stackless.run(1000)
        t.kill()

    def test_the_queue_goes_on_with_the_successor(self):
        a, b, c = (tasklet(forever)() for _ in range(3))
        self.assertIs(stackless.run(500), a)
        self.assertQueue([stackless.main, b, c])
        a.insert()
        self.assertIs(stackless.run(500), b)
        self.assertQueue([stackless.main, c, a])
        for t in a, b, c:
            t.kill()

    def test_round_robin(self):
        def count(box):
            while box.value < 1000:
                box.value += 1
        boxes = [Box() for _ in range(5)]
        for box in boxes:
            tasklet(count)(box)
        rounds = 0
        while (t := stackless.run(100)) is not None:
            rounds += 1
            t.insert()
            values = [box.value for box in boxes if box.value < 1000]
            if len(values) == 5:
                self.assertLess(max(values) - min(values), 100)
        self.assertEqual([box.value for box in boxes], [1000] * 5)
        self.assertGreater(rounds, 200)

    def test_from_a_tasklet(self):
        seen = []

        def caller():
            t = tasklet(forever)()
            seen.append(stackless.run(1000) is t)
            seen.append(stackless.current.alive)
            t.kill()
        tasklet(caller)()
        self.assertIsNone(stackless.run())
        self.assertEqual(seen, [True, True])

    def test_tempval_is_not_used(self):
        def task():
            while not done:
                pass
            done.append("end")
        done = []
        t = tasklet(task)()
        self.assertIs(stackless.run(100), t)
        t.tempval = object()
        done.append(1)
        t.insert()
        self.assertIsNone(stackless.run(100_000))
        self.assertEqual(done, [1, "end"])

    def test_the_watchdog_list(self):
        seen = []

        def task():
            seen.append(stackless.get_thread_info(-1, 1 << 31)[3])
        tasklet(task)()
        stackless.run(1000)
        self.assertEqual(seen, [[stackless.main]])
        del seen[:]
        self.assertEqual(stackless.get_thread_info(-1, 1 << 31)[3], [None])

    def test_seconds_is_a_number(self):
        for bad in ("1", None, []):
            with self.assertRaises(TypeError):
                stackless.run(seconds=bad)
        with self.assertRaises(ValueError):
            stackless.run(seconds=math.nan)
        for none in (0, -1, math.inf, 1e300):
            t = tasklet(nothing)()
            self.assertIsNone(stackless.run(seconds=none))
            self.assertDead(t)
        with self.assertRaises(TypeError):
            stackless.run(0, False, False, False, False, 1.0)

    def test_nothing_is_left_in_force(self):
        t = tasklet(forever)()
        self.assertIs(stackless.run(100), t)
        t.kill()
        t = tasklet(lambda: [None for i in range(10_000)])()
        self.assertIsNone(stackless.run())
        self.assertDead(t)

    def test_code_is_not_kept_alive(self):
        def make():
            namespace = {}
            exec("def f():\n while True: g()\ndef g(): pass", namespace)
            return namespace["f"], weakref.ref(namespace["g"].__code__)
        f, ref = make()
        t = tasklet(f)()
        self.assertIs(stackless.run(100), t)
        t.kill()
        del f, t
        gc.collect()
        self.assertIsNone(ref())


class WhatIsInterrupted(StacklessTestCase):
    """Tasklets that were interrupted, and what can be done with them."""

    def interrupted(self, function, *args, limit=500):
        t = tasklet(function)(*args)
        self.assertIs(stackless.run(limit), t)
        return t

    def test_throw(self):
        def task():
            try:
                while True:
                    pass
            except ValueError:
                seen.append("caught")
            seen.append("end")
        seen = []
        t = self.interrupted(task)
        t.throw(ValueError)
        self.assertEqual(seen, ["caught", "end"])
        self.assertDead(t)

    def test_throw_pending(self):
        def task():
            try:
                while True:
                    len(seen)
            except ValueError:
                seen.append("caught")
        seen = []
        t = self.interrupted(task)
        t.throw(ValueError, pending=True)
        self.assertEqual(seen, [])
        stackless.run()
        self.assertEqual(seen, ["caught"])

    def test_a_bomb_as_tempval(self):
        t = self.interrupted(forever)
        t.tempval = stackless.bomb(ZeroDivisionError)
        t.insert()
        with self.assertRaises(ZeroDivisionError):
            stackless.run()

    def test_throw_at_each_place(self):
        # The handler that the exception finds is the one of the place where the
        # tasklet stands: the others would leave a broken stack.
        def task(log):
            while True:
                try:
                    with Context(log):
                        for x in numbers():
                            try:
                                int("no" if x else "1")
                            except ValueError:
                                log.append(x)
                            else:
                                log.append(-x)
                        while x:
                            x -= 1
                except KeyError:
                    log.append("outer")
                    return

        class Context:
            def __init__(self, log):
                self.log = log

            def __enter__(self):
                self.log.append("enter")

            def __exit__(self, *exc):
                self.log.append("exit")

        def numbers():
            for i in range(3):
                try:
                    yield i
                finally:
                    helper(i)

        def helper(i, *args):
            return [i for i in range(i)]

        outer = 0
        for limit in range(1, 300):
            log = []
            t = tasklet(task)(log)
            stackless.run(limit)
            self.throw_error(t)
            self.assertDead(t)
            outer += "outer" in log            # else it was not in the try block
            # (It may have been just inside __enter__ or __exit__.)
            self.assertLessEqual(log.count("enter") - log.count("exit"), 1)
        self.assertGreater(outer, 200)

    def throw_error(self, t):
        try:
            t.throw(KeyError)
        except KeyError:
            pass

    def test_traceback_of_a_throw(self):
        def task():
            while True:
                len("")
        for limit in range(100, 120):
            t = self.interrupted(task, limit=limit)
            line = t.frame.f_lineno
            try:
                t.throw(KeyError)
            except KeyError as e:
                tb = e.__traceback__
                while tb.tb_next is not None:
                    tb = tb.tb_next
            self.assertEqual(tb.tb_lineno, line)
            self.assertIs(tb.tb_frame.f_code, task.__code__)
            del tb

    @needs_soft
    def test_vanishes(self):
        def task(x):
            try:
                while True:
                    pass
            finally:
                seen.append("finally")
        seen = []
        box = Box()
        ref = weakref.ref(box)
        t = self.interrupted(task, box)
        del box, t
        self.assertIsNone(ref())
        self.assertEqual(seen, [])

    @needs_soft
    def test_collected(self):
        def task():
            me = stackless.current
            while True:
                me.alive
        ref = weakref.ref(self.interrupted(task))
        gc.collect()
        self.assertIsNone(ref())

    @needs_soft
    def test_bind(self):
        t = self.interrupted(forever)
        t.bind(None)
        self.assertDead(t)
        t.bind(nothing, ())
        t.run()
        self.assertDead(t)

    def test_run_and_switch(self):
        def task():
            for i in range(10_000):
                seen.append(i)
        for method in (tasklet.run, tasklet.switch):
            seen = []
            t = self.interrupted(task)
            tasklet(stackless.main.insert)()
            method(t)
            stackless.run()
            self.assertDead(t)
            self.assertEqual(seen, list(range(10_000)))

    def test_switches_are_as_before(self):
        def task():
            for i in range(300):
                pass
            for i in range(300):
                seen.append(schedule(i))
        seen = []
        t = self.interrupted(task)
        t.insert()
        stackless.run()
        self.assertEqual(seen, list(range(300)))

    def test_in_an_exception_handler(self):
        def task():
            try:
                raise ValueError(1)
            except ValueError as e:
                while not seen:
                    pass
                seen.append(sys.exception() is e)
        seen = []
        t = self.interrupted(task)
        self.assertIsNone(sys.exception())
        seen.append(None)
        t.insert()
        stackless.run()
        self.assertEqual(seen, [None, True])

    def test_as_its_first_instruction(self):
        t = tasklet(forever)()
        for _ in range(5):
            self.assertIs(stackless.run(1), t)
            t.insert()
        t.kill()


class Deferred(StacklessTestCase):

    def test_main_is_not_interrupted(self):
        seen = []

        def task():
            stackless.main.run()

        def caller():
            tasklet(task)()
            seen.append(stackless.run(10))
        t = tasklet(caller)()
        stackless.run()
        for i in range(1000):
            len("")
        stackless.run()
        self.assertDead(t)

    def test_atomic(self):
        def task():
            with stackless.atomic():
                for i in range(5000):
                    seen.append(i)
            seen.append("not reached")
            while True:
                pass
        seen = []
        t = tasklet(task)()
        self.assertIs(stackless.run(100), t)
        self.assertEqual(seen, list(range(5000)))
        self.assertFalse(t.atomic)
        t.kill()

    def test_set_atomic(self):
        def task():
            stackless.current.set_atomic(True)
            for i in range(5000):
                seen.append(i)
            stackless.current.set_atomic(False)
            seen.append("not reached")
            while True:
                pass
        seen = []
        t = tasklet(task)()
        self.assertIs(stackless.run(100), t)
        self.assertEqual(seen, list(range(5000)))
        t.kill()

    def test_nested_atomic(self):
        def task():
            with stackless.atomic():
                for i in range(500):
                    with stackless.atomic():
                        seen.append(i)
            seen.append("not reached")
        seen = []
        t = tasklet(task)()
        self.assertIs(stackless.run(100), t)
        self.assertEqual(seen, list(range(500)))
        t.kill()

    def test_switch_trap(self):
        def task():
            stackless.switch_trap(1)
            for i in range(500):
                seen.append(i)
            stackless.switch_trap(-1)
            while True:
                pass
        seen = []
        t = tasklet(task)()
        self.assertIs(stackless.run(100), t)
        self.assertEqual(seen, list(range(500)))
        t.kill()

    def test_within_callbacks(self):
        def busy():
            for i in range(500):
                pass

        def schedule_callback(prev, next):
            busy()
            seen.append((prev, next))

        def channel_callback(*args):
            busy()
            seen.append(args)

        def task():
            ch = stackless.channel()
            tasklet(ch.send)(1)
            ch.receive()
            while True:
                pass
        seen = []
        stackless.set_schedule_callback(schedule_callback)
        stackless.set_channel_callback(channel_callback)
        t = tasklet(task)()
        try:
            while stackless.run(100) is not t:
                pass
        finally:
            stackless.set_schedule_callback(None)
            stackless.set_channel_callback(None)
        self.assertEqual(seen[-1], (t, stackless.main))
        t.kill()
        stackless.run()

    def test_the_schedule_callback_sees_it(self):
        seen = []
        t = tasklet(forever)()
        stackless.set_schedule_callback(lambda *args: seen.append(args))
        try:
            self.assertIs(stackless.run(100), t)
        finally:
            stackless.set_schedule_callback(None)
        self.assertEqual(seen, [(stackless.main, t), (t, stackless.main)])
        t.kill()

    def test_nesting_level(self):
        def key(x):
            for i in range(100):
                pass
            seen.append(x)
            return -x

        def task():
            sorted([1, 2, 3, 4], key=key)
            seen.append("not reached")
            while True:
                pass
        seen = []
        t = tasklet(task)()
        self.assertIs(stackless.run(100), t)
        self.assertEqual(seen, [1, 2, 3, 4])
        self.assertEqual(t.nesting_level, 0)
        t.kill()

    def check_ignored_nesting(self, set_flag, **kwargs):
        def key(x):
            if set_flag:
                stackless.current.set_ignore_nesting(True)
            for i in range(1000):
                done.append(i)
            return -x

        def task():
            done.append(sorted([1, 2], key=key))
        done = []
        t = tasklet(task)()
        self.assertIs(stackless.run(100, **kwargs), t)
        self.assertLess(len(done), 100)
        self.assertGreater(t.nesting_level, 0)
        self.assertFalse(t.restorable)
        self.assertTrue(t.paused)
        self.assertIs(t.frame.f_code, key.__code__)
        t.insert()
        self.assertIsNone(stackless.run())
        self.assertEqual(done[-1], [2, 1])
        self.assertDead(t)

    def test_ignore_nesting(self):
        self.check_ignored_nesting(False, ignore_nesting=True)

    def test_set_ignore_nesting(self):
        self.check_ignored_nesting(True)

    def test_ignore_nesting_set_when_due(self):
        def key(x):
            for i in range(1000):
                done.append(i)
            stackless.current.set_ignore_nesting(True)
            done.append("not reached")
            return -x
        done = []
        t = tasklet(sorted)([1, 2], key=key)
        self.assertIs(stackless.run(100), t)
        self.assertEqual(done, list(range(1000)))
        t.kill()

    def test_killed_within_c_functions(self):
        def key(x):
            try:
                while True:
                    pass
            finally:
                done.append("finally")

        def task():
            try:
                sorted([1, 2], key=key)
            except TaskletExit:
                done.append("exit")
                raise
        done = []
        t = tasklet(task)()
        self.assertIs(stackless.run(100, ignore_nesting=True), t)
        t.kill()
        self.assertEqual(done, ["finally", "exit"])
        self.assertDead(t)

    def test_where_nobody_can_be_left(self):
        # A finalizer that the collector calls.
        class Finalized:
            def __del__(self):
                for i in range(500):
                    done.append(i)

        def task():
            x = Finalized()
            x.x = x
            del x
            gc.collect()
            while True:
                pass
        done = []
        t = tasklet(task)()
        self.assertIs(stackless.run(100, ignore_nesting=True), t)
        self.assertEqual(done, list(range(500)))
        t.kill()

    def test_an_error_handler(self):
        def handler(*args):
            for i in range(500):
                pass
            seen.append(args[0])

        def task():
            1 / 0
        seen = []
        stackless.set_error_handler(handler)
        tasklet(task)()
        try:
            self.assertIsNone(stackless.run(100))
        finally:
            stackless.set_error_handler(None)
        self.assertEqual(seen, [ZeroDivisionError])


class Atomic(StacklessTestCase):
    """What the interpreter does not do between the bytecodes of an atomic tasklet."""

    @unittest.skipUnless(threading.current_thread() is threading.main_thread(),
                         "signals are handled in the main thread")
    def test_signal_handlers_wait(self):
        def task():
            with stackless.atomic():
                _thread.interrupt_main(signal.SIGINT)
                for i in range(100):
                    seen.append(i)
            for i in range(10):
                pass
            seen.append("end")
        seen = []
        old = signal.signal(signal.SIGINT, lambda *args: seen.append("signal"))
        try:
            self.run_tasklet(task)
        finally:
            signal.signal(signal.SIGINT, old)
        self.assertEqual(seen, [*range(100), "signal", "end"])

    def test_other_threads_wait(self):
        count = [0]
        stop = []

        def other():
            while not stop:
                count[0] += 1

        def task():
            clock = time.perf_counter
            with stackless.atomic():
                before = count[0]
                end = clock() + 0.05
                while clock() < end:
                    pass
                seen.append(count[0] - before)
            while count[0] == before:
                pass
        seen = []
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-4)
        thread = threading.Thread(target=other)
        thread.start()
        try:
            while not count[0]:
                time.sleep(0.001)
            self.run_tasklet(task)
        finally:
            stop.append(1)
            thread.join()
            sys.setswitchinterval(interval)
        self.assertEqual(seen, [0])

    def test_main_too(self):
        seen = []
        old = signal.signal(signal.SIGINT, lambda *args: seen.append("signal"))
        try:
            with stackless.atomic():
                _thread.interrupt_main(signal.SIGINT)
                for i in range(100):
                    seen.append(i)
            for i in range(10):
                pass
        finally:
            signal.signal(signal.SIGINT, old)
        self.assertEqual(seen, [*range(100), "signal"])


class Total(StacklessTestCase):

    def test_without_it_the_time_starts_anew(self):
        def task():
            for i in range(500):
                schedule()
        a, b = (tasklet(task)() for _ in range(2))
        self.assertIsNone(stackless.run(100))
        self.assertDead(a)

    def test_counts_all_tasklets(self):
        def task(box):
            while True:
                box.value += 1
                schedule()
        length = 10
        for limit in LIMITS:
            boxes = [Box(), Box()]
            tasklets = [tasklet(task)(box) for box in boxes]
            t = stackless.run(limit, totaltimeout=True)
            self.assertIn(t, tasklets)
            rounds = sum(box.value for box in boxes)
            self.assertGreater(rounds * length * 2, limit)
            self.assertLess(rounds * length, limit * 2 + 2 * length)
            self.assertEqual(set(runqueue()), {stackless.main, *tasklets} - {t})
            for t in tasklets:
                t.kill()

    def test_tasklets_that_end(self):
        def task():
            tasklet(task)()
            seen.append(1)
        seen = []
        t = tasklet(task)()
        while t is not None and len(seen) < 10_000:
            t = stackless.run(200, totaltimeout=True)
            break
        self.assertIsNotNone(t)
        self.assertLess(len(seen), 50)
        self.assertGreater(len(seen), 5)
        for t in runqueue()[1:]:
            t.remove()


class Soft(StacklessTestCase):

    def test_nobody_is_interrupted(self):
        def task():
            for i in range(5000):
                seen.append(i)
            schedule()
            seen.append("end")
        seen = []
        t = tasklet(task)()
        self.assertIsNone(stackless.run(100, soft=True))
        self.assertEqual(seen, list(range(5000)))
        self.assertQueue([stackless.main, t])
        self.assertIsNone(stackless.run())
        self.assertEqual(seen[-1], "end")

    def test_the_queue_is_as_it_was(self):
        def busy():
            for i in range(1000):
                pass
            schedule()
        a, b, c = (tasklet(busy)() for _ in range(3))
        self.assertIsNone(stackless.run(100, soft=True))
        self.assertQueue([stackless.main, b, c, a])
        self.assertIsNone(stackless.run(100, soft=True))
        self.assertQueue([stackless.main, c, a, b])
        stackless.run()

    def test_it_ends_by_the_queue_running_empty(self):
        t = tasklet(forever)
        t.bind(lambda: [None for i in range(1000)], ())
        t.insert()
        self.assertIsNone(stackless.run(100, soft=True))
        self.assertDead(t)

    def check_switch(self, leave, expected):
        def task():
            for i in range(1000):
                pass
            leave()
            seen.append("back")

        def other():
            seen.append("other")
        seen = []
        t = tasklet(task)()
        u = tasklet(other)()
        self.assertIsNone(stackless.run(100, soft=True))
        self.assertEqual(seen, expected)
        self.assertIs(stackless.main.next, u)
        return t, u

    def test_schedule_remove(self):
        t, u = self.check_switch(stackless.schedule_remove, [])
        self.assertTrue(t.paused)
        self.assertQueue([stackless.main, u])
        t.insert()
        stackless.run()

    def test_blocking(self):
        ch = stackless.channel()
        t, u = self.check_switch(lambda: ch.receive(), [])
        self.assertTrue(t.blocked)
        self.assertQueue([stackless.main, u])
        ch.send(1)
        stackless.run()

    def test_the_end_of_a_tasklet(self):
        def task():
            for i in range(1000):
                pass
        t = tasklet(task)()
        u = tasklet(nothing)()
        self.assertIsNone(stackless.run(100, soft=True))
        self.assertDead(t)
        self.assertQueue([stackless.main, u])
        stackless.run()

    def test_run_of_a_tasklet(self):
        def task():
            for i in range(1000):
                pass
            v.run()
        v = tasklet(nothing)()
        v.remove()
        t = tasklet(task)()
        u = tasklet(nothing)()
        self.assertIsNone(stackless.run(100, soft=True))
        self.assertIs(stackless.main.next, v)
        self.assertEqual(set(runqueue()), {stackless.main, t, u, v})
        stackless.run()

    def test_a_preferred_partner_is_not_delayed(self):
        def task():
            for i in range(1000):
                pass
            ch.send("value")
            seen.append("not before main")

        def receiver():
            seen.append(ch.receive())
            schedule()
            seen.append("not before main")
        seen = []
        ch = stackless.channel()
        r = tasklet(receiver)()
        stackless.run()
        t = tasklet(task)()
        self.assertIsNone(stackless.run(100, soft=True))
        self.assertEqual(seen, ["value"])
        self.assertQueue([stackless.main, t, r])
        stackless.run()

    def test_an_exception_is_not_delayed(self):
        def task():
            for i in range(1000):
                pass
            1 / 0
        tasklet(task)()
        u = tasklet(nothing)()
        with self.assertRaises(ZeroDivisionError):
            stackless.run(100, soft=True)
        self.assertQueue([stackless.main, u])
        stackless.run()

    def test_the_schedule_callback_is_told(self):
        def task():
            for i in range(1000):
                pass
            schedule()
        t = tasklet(task)()
        u = tasklet(nothing)()
        seen = []
        stackless.set_schedule_callback(lambda *args: seen.append(args))
        try:
            stackless.run(100, soft=True)
        finally:
            stackless.set_schedule_callback(None)
        self.assertEqual(seen, [(stackless.main, t), (t, stackless.main)])
        stackless.run()
        self.assertDead(u)

    def test_total(self):
        def task(box):
            while True:
                box.value += 1
                schedule()
        boxes = [Box(), Box()]
        tasklets = [tasklet(task)(box) for box in boxes]
        self.assertIsNone(stackless.run(1000, soft=True, totaltimeout=True))
        rounds = sum(box.value for box in boxes)
        self.assertGreater(rounds, 50)
        self.assertLess(rounds, 200)
        self.assertEqual(set(runqueue()), {stackless.main, *tasklets})
        for t in tasklets:
            t.kill()


class Nested(StacklessTestCase):

    def test_only_the_outermost_limit_counts(self):
        results = []

        def inner():
            results.append(stackless.run(100))
            results.append("inner goes on")

        def task():
            for i in range(1000):
                pass
            results.append("task ended")
        tasklet(inner)()
        tasklet(task)()
        self.assertIsNone(stackless.run(1_000_000))
        self.assertEqual(results, ["task ended", None, "inner goes on"])

    def test_the_outermost_gets_control_back(self):
        results = []

        def inner():
            t = tasklet(forever)()
            try:
                results.append(stackless.run(1))
            finally:
                t.kill()
        i = tasklet(inner)()
        t = stackless.run(1000)
        self.assertEqual(t.frame.f_code, forever.__code__)
        self.assertEqual(results, [])
        self.assertQueue([stackless.main, i])
        stackless.run()
        self.assertEqual(results, [None])
        self.assertFalse(t.alive)

    def test_a_limit_inside_a_run_without(self):
        results = []

        def inner():
            t = tasklet(forever)()
            results.append(stackless.run(1000) is t)
            t.kill()
        tasklet(inner)()
        self.assertIsNone(stackless.run())
        self.assertEqual(results, [True])

    def test_the_limit_ends_when_its_caller_is_woken(self):
        def task():
            stackless.main.insert()
            for i in range(50):
                pass
            schedule()
            for i in range(1000):
                seen.append(i)
        seen = []
        t = tasklet(task)()
        self.assertIsNone(stackless.run(500))
        self.assertIsNone(stackless.run())
        self.assertEqual(len(seen), 1000)
        self.assertDead(t)

    def test_the_caller_is_killed(self):
        seen = []

        def caller():
            tasklet(tasklet.kill)(stackless.current)
            tasklet(task)()
            stackless.run(500)

        def task():
            for i in range(1000):
                seen.append(i)
        c = tasklet(caller)()
        self.assertIsNone(stackless.run())
        self.assertDead(c)
        self.assertEqual(len(seen), 1000)

    def test_the_next_limit_starts_afresh(self):
        t = tasklet(forever)()
        for limit in (100, 1000, 100, 5000):
            self.assertIs(stackless.run(limit), t)
            t.insert()
        t.kill()


class Seconds(StacklessTestCase):

    def test_a_runaway_is_interrupted(self):
        t = tasklet(forever)()
        for seconds in (0.001, 0.01, 0.05):
            begin = time.monotonic()
            self.assertIs(stackless.run(seconds=seconds), t)
            self.assertGreaterEqual(time.monotonic() - begin, seconds)
            t.insert()
        t.kill()

    def test_whoever_switches_is_not(self):
        def task(n):
            end = time.monotonic() + 0.1
            while time.monotonic() < end:
                schedule()
        for n in range(3):
            tasklet(task)(n)
        self.assertIsNone(stackless.run(seconds=0.03))

    def test_a_runaway_among_others(self):
        def good():
            while not stop:
                schedule()
        stop = []
        others = [tasklet(good)() for _ in range(3)]
        t = tasklet(forever)()
        self.assertIs(stackless.run(seconds=0.01), t)
        stop.append(1)
        stackless.run()
        t.kill()
        for t in others:
            self.assertDead(t)

    def test_total(self):
        def task(n):
            while True:
                schedule()
        tasklets = [tasklet(task)(n) for n in range(3)]
        begin = time.monotonic()
        self.assertIn(stackless.run(seconds=0.02, totaltimeout=True), tasklets)
        self.assertGreaterEqual(time.monotonic() - begin, 0.02)
        for t in tasklets:
            t.kill()

    def test_soft(self):
        def task():
            end = time.monotonic() + 0.1
            while time.monotonic() < end:
                pass
            seen.append(1)
            schedule()
            seen.append(2)
        seen = []
        t = tasklet(task)()
        u = tasklet(nothing)()
        self.assertIsNone(stackless.run(seconds=0.01, soft=True))
        self.assertEqual(seen, [1])
        self.assertQueue([stackless.main, u, t])
        stackless.run()

    def test_atomic(self):
        def task():
            with stackless.atomic():
                end = time.monotonic() + 0.05
                while time.monotonic() < end:
                    pass
                seen.append(1)
            seen.append("not reached")
        seen = []
        t = tasklet(task)()
        self.assertIs(stackless.run(seconds=0.005), t)
        self.assertEqual(seen, [1])
        t.kill()

    def test_together_with_ticks(self):
        t = tasklet(forever)()
        self.assertIs(stackless.run(1000, seconds=3600), t)
        t.insert()
        self.assertIs(stackless.run(10**12, seconds=0.005), t)
        t.kill()

    def test_in_other_threads(self):
        def thread():
            t = tasklet(forever)()
            for _ in range(3):
                results.append(stackless.run(seconds=0.005) is t)
                t.insert()
            t.kill()
            t = None
        results = []
        threads = [threading.Thread(target=thread) for _ in range(3)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(results, [True] * 9)

    def test_after_a_fork(self):
        result = run_python("""
            import os, sys, stackless, warnings
            warnings.simplefilter("ignore")
            if not hasattr(os, "fork"):
                sys.exit()
            def forever():
                while True: pass
            t = stackless.tasklet(forever)()
            assert stackless.run(seconds=0.005) is t
            pid = os.fork()
            t.insert()
            assert stackless.run(seconds=0.005) is t
            if pid:
                sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """)
        self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_fork_in_a_tasklet_with_a_limit(self):
        result = run_python("""
            import os, sys, stackless, warnings
            warnings.simplefilter("ignore")
            if not hasattr(os, "fork"):
                sys.exit()
            def task():
                global pid
                pid = os.fork()
            stackless.tasklet(task)()
            assert stackless.run(seconds=100) is None
            if pid:
                sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """)
        self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_a_thread_that_ends_with_a_limit_in_force(self):
        result = run_python("""
            import stackless, threading, time, _thread
            def task():
                while True:
                    if stop: raise SystemExit
            def daemon():
                stackless.tasklet(task)()
                stackless.run(seconds=1000)
            stop = []
            threads = [threading.Thread(target=daemon, daemon=True) for _ in range(4)]
            for t in threads: t.start()
            time.sleep(0.05)
            print("end")
        """)
        self.assertEqual((result.returncode, result.stdout), (0, "end\n"))


if __name__ == "__main__":
    unittest.main()
