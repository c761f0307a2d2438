"""stackless.run() with a time limit: who is interrupted, when, and what is left."""

import dis
import gc
import math
import sys
import threading
import time
import unittest
import weakref

import stackless
from stackless import schedule, tasklet

from .support import StacklessTestCase, needs_order, needs_soft, run_python

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

    @needs_order
    def test_an_exception_is_raised(self):
        def fail():
            raise ZeroDivisionError
        t = tasklet(forever)()
        tasklet(fail)()
        self.assertIs(stackless.run(1000), t)
        with self.assertRaises(ZeroDivisionError):
            stackless.run(1000)
        t.kill()

    @needs_order
    def test_the_queue_goes_on_with_the_successor(self):
        a, b, c = (tasklet(forever)() for _ in range(3))
        self.assertIs(stackless.run(500), a)
        self.assertQueue([stackless.main, b, c])
        a.insert()
        self.assertIs(stackless.run(500), b)
        self.assertQueue([stackless.main, c, a])
        for t in a, b, c:
            t.kill()

    @needs_order
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

    @needs_order
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
            # On a busy machine the limit may not have been noticed by now.
            forever()
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
