"""What happens when the queue runs empty."""

import traceback
import unittest

import stackless
from stackless import channel, schedule, schedule_remove, tasklet

from .support import StacklessTestCase

DEADLOCK = "^Deadlock: the last runnable tasklet cannot be blocked\\.(\n|$)"


def nothing():
    pass


class MainBlocks(StacklessTestCase):

    def test_receive_of_the_only_tasklet(self):
        ch = channel()
        with self.unchanged(ch):
            with self.assertRaisesRegex(RuntimeError, DEADLOCK):
                ch.receive()
        self.assertEqual(ch.balance, 0)
        self.assertTrue(stackless.main.scheduled)
        self.assertFalse(stackless.main.blocked)

    def test_send_of_the_only_tasklet(self):
        ch = channel()
        with self.unchanged(ch):
            with self.assertRaisesRegex(RuntimeError, DEADLOCK):
                ch.send(1)

    def test_all_kinds_of_sending(self):
        ch = channel()
        with self.unchanged(ch):
            for call in (lambda: ch.send_exception(ValueError),
                         lambda: ch.send_throw(ValueError()),
                         lambda: ch.send_sequence([1]),
                         lambda: next(ch)):
                with self.assertRaisesRegex(RuntimeError, DEADLOCK):
                    call()

    def test_schedule_remove_of_the_only_tasklet_returns(self):
        self.assertIs(schedule_remove(), stackless.main)

    def test_a_temporary_channel(self):
        with self.assertRaisesRegex(RuntimeError, DEADLOCK):
            channel().receive()
        with self.assertRaisesRegex(RuntimeError, DEADLOCK):
            channel().send(1)
        self.assertQueue([stackless.main])

    def test_with_others_waiting_on_the_same_channel(self):
        ch = channel()
        t = self.receiver(ch)
        with self.unchanged(ch, t):
            with self.assertRaisesRegex(RuntimeError, DEADLOCK):
                ch.receive()
        t.kill()

    def test_others_end_while_main_receives(self):
        ch = channel()
        order = []
        tasklet(order.append)(1)
        tasklet(order.append)(2)
        with self.assertRaisesRegex(
                RuntimeError,
                "^the main tasklet is receiving without a sender available\\.(\n|$)"):
            ch.receive()
        self.assertTurns(order, [1, 2])
        self.assertEqual(ch.balance, 0)
        self.assertFalse(stackless.main.blocked)
        self.assertQueue([stackless.main])

    def test_others_end_while_main_sends(self):
        ch = channel()
        tasklet(nothing)()
        with self.assertRaisesRegex(
                RuntimeError,
                "^the main tasklet is sending without a receiver available\\.(\n|$)"):
            ch.send(1)
        self.assertEqual(ch.balance, 0)
        self.assertQueue([stackless.main])

    def test_main_can_go_on_after_that(self):
        ch = channel()
        for i in range(3):
            tasklet(nothing)()
            with self.assertRaises(RuntimeError):
                ch.receive()
        t = self.sender(ch, 1)
        self.assertEqual(ch.receive(), 1)
        stackless.run()
        self.assertDead(t)

    def test_the_error_is_raised_at_the_receive(self):
        ch = channel()

        def wait():
            ch.receive()
        tasklet(nothing)()
        try:
            wait()
        except RuntimeError as e:
            names = [f.name for f in traceback.extract_tb(e.__traceback__)]
            self.assertEqual(names, ["test_the_error_is_raised_at_the_receive",
                                     "wait"])
        else:
            self.fail("no exception")


class TaskletBlocks(StacklessTestCase):

    def test_while_main_is_blocked(self):
        # The error is raised in the one that blocks last.
        a, b = channel(), channel()
        log = []

        def task():
            try:
                b.receive()
            except RuntimeError as e:
                log.append(str(e))
                log.append((stackless.current.scheduled,
                            stackless.current.blocked, b.balance))
            a.send("value")
        tasklet(task)()
        self.assertEqual(a.receive(), "value")
        self.assertRegex(log[0], DEADLOCK)
        self.assertEqual(log[1], (True, False, 0))
        stackless.run()

    def test_uncaught_it_goes_to_main(self):
        a, b = channel(), channel()
        t = tasklet(lambda: b.receive())()
        with self.assertRaisesRegex(RuntimeError, DEADLOCK):
            a.receive()
        self.assertDead(t)
        self.assertEqual((a.balance, b.balance), (0, 0))
        self.assertFalse(stackless.main.blocked)
        self.assertQueue([stackless.main])

    def test_sending_while_main_is_blocked(self):
        a, b = channel(), channel()
        t = tasklet(lambda: b.send(1))()
        with self.assertRaisesRegex(RuntimeError, DEADLOCK):
            a.send(1)
        self.assertDead(t)
        self.assertEqual((a.balance, b.balance), (0, 0))

    def test_a_builtin_at_the_bottom(self):
        a, b = channel(), channel()
        t = tasklet(b.receive)()
        with self.assertRaisesRegex(RuntimeError, DEADLOCK):
            a.receive()
        self.assertDead(t)
        self.assertEqual((a.balance, b.balance), (0, 0))

    def test_in_a_for_loop_over_the_channel(self):
        a, b = channel(), channel()

        def task():
            for x in b:
                pass
        t = tasklet(task)()
        with self.assertRaisesRegex(RuntimeError, DEADLOCK):
            a.receive()
        self.assertDead(t)
        self.assertEqual((a.balance, b.balance), (0, 0))

    def test_removing_itself_while_main_is_blocked(self):
        a = channel()
        log = []

        def task():
            try:
                schedule_remove()
            except RuntimeError as e:
                log.append(str(e))
                log.append(stackless.current.scheduled)
            a.send(1)
        tasklet(task)()
        self.assertEqual(a.receive(), 1)
        self.assertRegex(log[0], DEADLOCK)
        self.assertEqual(log[1], True)
        stackless.run()

    def test_main_in_run_goes_on(self):
        ch = channel()
        t = tasklet(ch.receive)()
        stackless.run()
        self.assertTrue(t.blocked)
        t.kill()

    def test_main_removed_goes_on(self):
        ch = channel()
        t = tasklet(ch.receive)()
        self.assertEqual(schedule_remove(5), 5)
        self.assertTrue(t.blocked)
        self.assertQueue([stackless.main])
        t.kill()

    def test_main_switched_away_goes_on(self):
        ch = channel()
        t = tasklet(ch.receive, ())
        t.switch()
        self.assertTrue(t.blocked)
        self.assertQueue([stackless.main])
        t.kill()

    def test_the_caller_of_a_nested_run_goes_on(self):
        ch = channel()
        log = []

        def outer():
            t = tasklet(ch.receive)()
            stackless.run()
            log.append(t.blocked)
            t.kill()
        self.run_tasklet(outer)
        self.assertEqual(log, [True])

    def test_nobody_is_blocked_for_ever_when_all_wait_for_each_other(self):
        a, b = channel(), channel()
        errors = []

        def task(left, right):
            try:
                left.receive()
            except RuntimeError as e:
                errors.append(str(e))
                right.send(None)
        tasklet(task)(a, b)
        tasklet(task)(b, a)
        with self.assertRaisesRegex(RuntimeError, "main tasklet is receiving"):
            channel().receive()
        # The last to block got the error, and served the other one.
        self.assertEqual(len(errors), 1)
        self.assertRegex(errors[0], DEADLOCK)
        self.assertEqual((a.balance, b.balance), (0, 0))

    def test_the_end_of_the_last_wakes_main(self):
        # main neither in run() nor blocked: removed by another.
        def task():
            stackless.main.remove()
        tasklet(task)()
        self.assertIs(schedule(), stackless.main)
        self.assertQueue([stackless.main])


if __name__ == "__main__":
    unittest.main()
