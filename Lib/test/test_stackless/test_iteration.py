"""Channels as iterators, and send_sequence."""

import sys
import unittest

import stackless
from stackless import channel, schedule, tasklet

from .soft_table import fresh
from .support import StacklessTestCase


class Error(Exception):
    pass


class Iteration(StacklessTestCase):

    def test_is_its_own_iterator(self):
        ch = channel()
        self.assertIs(iter(ch), ch)

    def test_until_stop_iteration_is_sent(self):
        ch = channel()
        log = []

        def consumer():
            for x in ch:
                log.append(x)
            log.append("end")
        t = tasklet(consumer)()
        t.run()
        for i in range(3):
            ch.send(i)
        self.assertEqual(log, [0, 1, 2])
        ch.send_exception(StopIteration)
        self.assertEqual(log, [0, 1, 2, "end"])
        self.assertDead(t)

    def test_until_stop_iteration_that_waits(self):
        # It is received without a switch.
        log = []

        def consumer(ch):
            for x in ch:
                log.append(x)
            log.append("end")
        for i in range(3):
            ch = channel()
            sender = tasklet(ch.send_exception)(StopIteration)
            sender.run()
            t = tasklet(consumer)(ch)
            t.run()
            self.assertEqual(log, ["end"])
            self.assertDead(t)
            stackless.run()
            # And in main.
            sender = tasklet(ch.send_exception)(StopIteration)
            sender.run()
            consumer(ch)
            self.assertEqual(log, ["end"] * 2)
            stackless.run()
            del log[:]

    def test_until_closing_and_no_sender(self):
        ch = channel()
        for i in range(3):
            self.sender(ch, i)
        ch.close()
        self.assertEqual([x for x in ch], [0, 1, 2])
        stackless.run()

    def test_next_on_a_closed_channel(self):
        ch = channel()
        ch.close()
        with self.assertRaises(StopIteration):
            next(ch)
        with self.assertRaises(StopIteration):
            ch.__next__()

    def test_next_on_a_closing_channel_with_receivers(self):
        ch = channel()
        t = self.receiver(ch)
        ch.close()
        with self.unchanged(ch, t):
            with self.assertRaises(StopIteration):
                next(ch)
        t.kill()

    def test_next_receives(self):
        ch = channel()
        self.sender(ch, 5)
        self.assertEqual(next(ch), 5)
        stackless.run()

    def test_a_blocked_loop_is_not_ended_by_close(self):
        ch = channel()
        log = []

        def consumer():
            for x in ch:
                log.append(x)
            log.append("end")
        t = tasklet(consumer)()
        t.run()
        ch.close()
        self.assertTrue(t.blocked)
        ch.send(1)
        # It noticed at the next round.
        self.assertEqual(log, [1, "end"])
        self.assertDead(t)

    def test_stop_iteration_out_of_receive_is_an_exception(self):
        ch = channel()
        log = []

        def receiver():
            try:
                ch.receive()
            except StopIteration as e:
                log.append(e.value)
        tasklet(receiver)().run()
        ch.send_exception(StopIteration, 5)
        self.assertEqual(log, [5])

    def test_another_exception_leaves_the_loop(self):
        ch = channel()

        def consumer():
            for x in ch:
                pass
        t = tasklet(consumer)()
        t.run()
        ch.send(1)
        with self.assertRaises(Error):
            ch.send_exception(Error)
        self.assertDead(t)

    def test_break_and_go_on(self):
        ch = channel()
        log = []

        def consumer():
            for x in ch:
                if x == 1:
                    break
                log.append(x)
            for x in ch:
                log.append(-x)
        tasklet(consumer)().run()
        for x in (5, 1, 6, 7):
            ch.send(x)
        ch.send_exception(StopIteration)
        self.assertEqual(log, [5, -6, -7])

    def test_else_branch(self):
        ch = channel()
        log = []

        def consumer():
            for x in ch:
                pass
            else:
                log.append("else")
        tasklet(consumer)().run()
        ch.send(1)
        ch.send_exception(StopIteration)
        self.assertEqual(log, ["else"])

    def test_nested_loops_over_one_channel(self):
        ch = channel()
        log = []

        def consumer():
            for x in ch:
                for y in ch:
                    log.append((x, y))
                log.append(x)
        tasklet(consumer)().run()
        for x in (1, 2, 3):
            ch.send(x)
        ch.send_exception(StopIteration)
        self.assertEqual(log, [(1, 2), (1, 3), 1])
        ch.send_exception(StopIteration)
        self.assertEqual(ch.balance, 0)


class Events(StacklessTestCase):
    """What tools are told of a loop over a channel: in a tasklet as in main, whoever wakes it.

    (In a tasklet they were told neither how the loop goes on nor that it got StopIteration.)
    """

    N = 30                                 # until the calls that switch are specialised, too

    def feed(self, ch, eager):
        def task():
            if not eager:
                schedule()
            for i in range(self.N):
                ch.send(i)
            ch.send_exception(StopIteration)
        tasklet(task)()

    def loop(self):
        def consume(ch):
            for x in ch:
                pass
            return "end"
        return fresh(consume)

    def in_tasklet(self, run, ch):
        result = []
        tasklet(lambda: result.append(run(ch)))()
        stackless.run()
        return result[0]

    def check(self, run):
        for preference in -1, 0, 1:
            for eager in False, True:
                with self.subTest(preference=preference, eager=eager):
                    results = []
                    for where in (lambda run, ch: run(ch)), self.in_tasklet:
                        ch = channel()
                        ch.preference = preference
                        self.feed(ch, eager)
                        results.append(where(run, ch))
                    self.assertEqual(results[1], results[0])
                    self.assertGreater(len(results[0]), self.N)

    def monitored(self, ch):
        log = []
        f = self.loop()
        monitoring = sys.monitoring
        tool = monitoring.DEBUGGER_ID
        events = monitoring.events.BRANCH, monitoring.events.RAISE
        monitoring.use_tool_id(tool, "test_iteration")

        def branch(code, offset, target):
            if code is f.__code__:
                log.append((offset, target))

        def raised(code, offset, exc):
            if code is f.__code__:
                log.append((offset, type(exc)))
        for event, callback in zip(events, (branch, raised)):
            monitoring.register_callback(tool, event, callback)
        monitoring.set_events(tool, sum(events))
        try:
            log.append(f(ch))
        finally:
            monitoring.set_events(tool, 0)
            for event in events:
                monitoring.register_callback(tool, event, None)
            monitoring.free_tool_id(tool)
        return log

    def test_monitored(self):
        self.check(self.monitored)

    def test_traced(self):
        def run(ch):
            log = []
            f = self.loop()

            def trace(frame, event, arg):
                if frame.f_code is f.__code__:
                    frame.f_trace_opcodes = opcodes
                    log.append((event, frame.f_lineno, frame.f_lasti))
                return trace
            sys.settrace(trace)
            try:
                log.append(f(ch))
            finally:
                sys.settrace(None)
            return log
        for opcodes in False, True:
            self.check(run)

    def test_monitored_while_it_waits(self):
        # Both loops go on as monitored ones; the first time at once, unless C code waits.
        log = []
        ch = channel()
        f = self.loop()
        for _ in range(2):
            tasklet(f)(ch)
        stackless.run()
        self.assertEqual(ch.balance, -2)
        monitoring = sys.monitoring
        tool = monitoring.DEBUGGER_ID
        monitoring.use_tool_id(tool, "test_iteration")
        monitoring.register_callback(
            tool, monitoring.events.BRANCH,
            lambda code, offset, target: code is f.__code__ and log.append((offset, target)))
        monitoring.set_events(tool, monitoring.events.BRANCH)
        try:
            for i in range(4):
                ch.send(i)
                stackless.run()
        finally:
            monitoring.set_events(tool, 0)
            monitoring.register_callback(tool, monitoring.events.BRANCH, None)
            monitoring.free_tool_id(tool)
        self.assertIn(len(log), (2, 3, 4))
        self.assertEqual(len(set(log)), 1)
        del log[:]
        for _ in range(2):
            ch.send_exception(StopIteration)
        stackless.run()
        self.assertEqual(log, [])


class SendSequence(StacklessTestCase):

    def consumer(self, ch, log):
        for x in ch:
            log.append(x)

    def test_result_is_the_number_of_items(self):
        ch = channel()
        log = []
        t = tasklet(self.consumer)(ch, log)
        t.run()
        self.assertEqual(ch.send_sequence("abc"), 3)
        self.assertEqual(ch.send_sequence([]), 0)
        self.assertEqual(log, list("abc"))
        t.kill()

    def test_it_ends_nothing(self):
        ch = channel()
        log = []
        t = tasklet(self.consumer)(ch, log)
        t.run()
        ch.send_sequence([1])
        self.assertTrue(t.blocked)
        self.assertFalse(ch.closing)
        t.kill()

    def test_a_generator_is_advanced_between_sends(self):
        ch = channel()
        log = []

        def gen():
            for i in range(3):
                log.append(f"make {i}")
                yield i
        t = tasklet(self.consumer)(ch, log)
        t.run()
        self.assertEqual(ch.send_sequence(gen()), 3)
        self.assertEqual(log, ["make 0", 0, "make 1", 1, "make 2", 2])
        t.kill()

    def test_exceptions_of_the_iterable(self):
        ch = channel()
        log = []

        def gen():
            yield 1
            raise Error
        t = tasklet(self.consumer)(ch, log)
        t.run()
        with self.assertRaises(Error):
            ch.send_sequence(gen())
        self.assertEqual(log, [1])
        t.kill()

    def test_not_iterable(self):
        ch = channel()
        with self.unchanged(ch):
            with self.assertRaises(TypeError):
                ch.send_sequence(5)

    def test_blocks_when_nobody_receives(self):
        ch = channel()
        log = []
        tasklet(lambda: log.append(ch.send_sequence([1, 2, 3])))()
        self.assertEqual([ch.receive() for i in range(3)], [1, 2, 3])
        stackless.run()
        self.assertEqual(log, [3])

    def test_killed_in_the_middle(self):
        ch = channel()
        log = []

        def gen():
            try:
                yield 1
                yield 2
            finally:
                log.append("closed")
        t = tasklet(ch.send_sequence)(gen())
        t.run()
        self.assertTrue(t.blocked)
        t.kill()
        self.assertDead(t)
        self.assertEqual(log, ["closed"])
        self.assertEqual(ch.balance, 0)


if __name__ == "__main__":
    unittest.main()
