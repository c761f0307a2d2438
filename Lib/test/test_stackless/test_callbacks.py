"""The schedule callback, the channel callback, the error handler."""

import sys
import threading
import unittest

import stackless
from stackless import bomb, channel, schedule, schedule_remove, tasklet

from .support import StacklessTestCase, needs_order, runqueue


class Error(Exception):
    pass


def nothing():
    pass


def fail(value=None):
    raise Error(value)


class Unraisable:
    """Collects what is reported through sys.unraisablehook."""

    def __enter__(self):
        self.old = sys.unraisablehook
        self.reports = []
        sys.unraisablehook = self.hook
        return self.reports

    def hook(self, info):
        self.reports.append((info.exc_type, str(info.exc_value), info.object))

    def __exit__(self, *args):
        sys.unraisablehook = self.old


class SetAndGet(StacklessTestCase):

    PAIRS = (
        (stackless.set_schedule_callback, stackless.get_schedule_callback,
         "^schedule callback must be callable$"),
        (stackless.set_channel_callback, stackless.get_channel_callback,
         "^channel callback must be callable$"),
    )

    def test_previous_one_is_returned(self):
        for setter, getter, message in self.PAIRS:
            self.assertIsNone(getter())
            self.assertIsNone(setter(nothing))
            self.assertIs(getter(), nothing)
            self.assertIs(setter(len), nothing)
            self.assertIs(getter(), len)
            self.assertIs(setter(None), len)
            self.assertIsNone(getter())

    def test_not_callable(self):
        for setter, getter, message in self.PAIRS:
            def callback(*args):
                pass
            setter(callback)
            for bad in (1, "x", ()):
                with self.assertRaisesRegex(TypeError, message):
                    setter(bad)
            self.assertIs(setter(None), callback)

    def test_arguments(self):
        for setter, getter, message in self.PAIRS:
            with self.assertRaises(TypeError):
                setter()
            with self.assertRaises(TypeError):
                setter(None, None)

    def test_the_callback_is_released(self):
        import weakref
        for setter, getter, message in self.PAIRS:
            def callback(*args):
                pass
            r = weakref.ref(callback)
            setter(callback)
            del callback
            self.assertIsNotNone(r())
            setter(None)
            self.assertIsNone(r())

    def test_replaced_by_its_own_death(self):
        # Dropping the old callback runs code that sets a new one.
        for setter, getter, message in self.PAIRS:
            class Callback:
                def __call__(self, *args):
                    pass

                def __del__(self):
                    setter(None)
            setter(Callback())
            setter(None)
            self.assertIsNone(getter())


class ScheduleCallback(StacklessTestCase):

    def setUp(self):
        super().setUp()
        self.log = []

    def callback(self, prev, next):
        self.assertIs(stackless.current, prev)
        self.log.append((prev, next))

    def install(self):
        stackless.set_schedule_callback(self.callback)

    def seen(self):
        stackless.set_schedule_callback(None)
        result, self.log = self.log, []
        return result

    def test_no_call_without_a_switch(self):
        self.install()
        schedule()
        stackless.run()
        schedule_remove()
        stackless.current.run()
        t = tasklet(nothing)()
        t.remove()
        t.insert()
        t.kill(pending=True)
        self.assertEqual(self.seen(), [])
        stackless.run()

    def test_schedule(self):
        main = stackless.main
        t = tasklet(schedule)()
        self.install()
        schedule()
        schedule()
        self.assertEqual(self.seen(), [(main, t), (t, main), (main, t), (t, main)])
        self.assertDead(t)

    def test_state_of_the_dying_tasklet(self):
        states = []

        def callback(prev, next):
            states.append((prev, next, prev.alive, prev.scheduled))
        main = stackless.main
        t = tasklet(nothing)()
        stackless.set_schedule_callback(callback)
        stackless.run()
        stackless.set_schedule_callback(None)
        self.assertEqual(states[0][:2], (main, t))
        self.assertEqual(states[1], (t, main, True, False))
        self.assertEqual(len(states), 2)

    @needs_order
    def test_end_with_a_successor(self):
        main = stackless.main
        a, b = tasklet(nothing)(), tasklet(nothing)()
        self.install()
        stackless.run()
        self.assertEqual(self.seen(), [(main, a), (a, b), (b, main)])

    def test_channel_actions(self):
        main = stackless.main
        ch = channel()
        t = tasklet(ch.receive)()
        self.install()
        stackless.run()         # t blocks
        ch.send(1)              # t ends
        self.assertEqual(self.seen(), [(main, t), (t, main), (main, t), (t, main)])

    def test_channel_action_without_a_switch(self):
        ch = channel()
        t = self.sender(ch, 1)
        self.install()
        ch.receive()
        self.assertEqual(self.seen(), [])
        t.run()

    def test_methods_of_tasklets(self):
        main = stackless.main

        def task():
            for i in range(3):
                schedule_remove()
        t = tasklet(task)()
        self.install()
        t.run()
        t.run()
        t.switch()
        self.assertEqual(self.seen(), [(main, t), (t, main)] * 3)
        t.kill()

    def test_throw_and_kill(self):
        main = stackless.main
        t = self.paused(schedule_remove)
        u = self.paused(schedule_remove)
        self.install()
        t.kill()
        with self.assertRaises(Error):
            u.throw(Error)
        self.assertEqual(self.seen(), [(main, t), (t, main), (main, u), (u, main)])

    @needs_order
    def test_uncaught_exception(self):
        main = stackless.main

        def task():
            raise Error
        t = tasklet(task)()
        other = tasklet(nothing)()
        self.install()
        with self.assertRaises(Error):
            stackless.run()
        self.assertEqual(self.seen(), [(main, t), (t, main)])
        other.kill()

    def test_nested_run(self):
        main = stackless.main

        def outer():
            tasklets.append(tasklet(nothing)())
            stackless.run()
        tasklets = []
        t = tasklet(outer)()
        self.install()
        stackless.run()
        u = tasklets[0]
        self.assertEqual(self.seen(), [(main, t), (t, u), (u, t), (t, main)])

    def test_the_main_tasklet_of_a_new_thread(self):
        log = []

        def callback(prev, next):
            log.append((threading.get_ident(), prev, next))

        def thread():
            info.extend((threading.get_ident(), stackless.getmain()))
        info = []
        stackless.set_schedule_callback(callback)
        t = threading.Thread(target=thread)
        t.start()
        t.join()
        stackless.set_schedule_callback(None)
        ident, main = info
        self.assertIn((ident, None, main), log)
        del main, info[:], log[:]

    def test_it_does_not_switch_in_a_new_thread(self):
        # It could: its own main tasklet was not yet made known by then.
        seen = []

        def callback(prev, next):
            if prev is None:
                tasklet(nothing)().remove()
                for switch in (schedule_remove, channel().receive, stackless.run):
                    t = tasklet(nothing)()
                    try:
                        switch()
                    except RuntimeError as e:
                        seen.append(str(e))
                    t.kill(pending=True)
                    t.remove().bind(None)

        def thread():
            stackless.getmain()
        stackless.set_schedule_callback(callback)
        t = threading.Thread(target=thread)
        t.start()
        t.join()
        stackless.set_schedule_callback(None)
        self.assertEqual(
            seen, ["cannot switch tasklets inside the schedule callback"] * 3)

    def test_it_is_called_in_every_thread(self):
        log = []

        def callback(prev, next):
            log.append((prev, next))

        def thread():
            t = tasklet(nothing)()
            pair.extend((stackless.main, t))
            stackless.run()
        pair = []
        stackless.set_schedule_callback(callback)
        t = threading.Thread(target=thread)
        t.start()
        t.join()
        stackless.set_schedule_callback(None)
        self.assertIn((pair[0], pair[1]), log)
        self.assertIn((pair[1], pair[0]), log)
        del pair[:], log[:]

    def test_its_result_is_ignored(self):
        stackless.set_schedule_callback(lambda prev, next: 1)
        tasklet(nothing)()
        self.assertIs(schedule(), stackless.main)
        stackless.set_schedule_callback(None)

    def test_its_exception_is_reported_and_ignored(self):
        def callback(prev, next):
            raise Error("in callback")
        log = []
        tasklet(log.append)(1)
        with Unraisable() as reports:
            stackless.set_schedule_callback(callback)
            stackless.run()
            stackless.set_schedule_callback(None)
        self.assertEqual(log, [1])
        self.assertEqual(
            reports, [(Error, "in callback", "Error in scheduling callback")] * 2)

    def test_wrong_signature(self):
        log = []
        tasklet(log.append)(1)
        with Unraisable() as reports:
            stackless.set_schedule_callback(nothing)
            stackless.run()
            stackless.set_schedule_callback(None)
        self.assertEqual(log, [1])
        self.assertEqual([r[0] for r in reports], [TypeError] * 2)

    @needs_order
    def test_switching_in_it_is_refused(self):
        log = []
        ch = channel()
        paused = tasklet(nothing, ())

        def callback(prev, next):
            # A dying tasklet is current, but in no queue.
            before = runqueue() if prev.scheduled else None
            for f in (schedule, schedule_remove, stackless.run, paused.run,
                      paused.switch, paused.kill, ch.receive,
                      lambda: ch.send(1), lambda: paused.throw(Error)):
                try:
                    f()
                except RuntimeError:
                    log.append("refused")
                else:
                    log.append(f)
            if before:
                log.append(runqueue() == before)
        a = tasklet(nothing)()
        b = tasklet(nothing)()
        stackless.set_schedule_callback(callback)
        with Unraisable() as reports:
            schedule()
        stackless.set_schedule_callback(None)
        self.assertEqual(reports, [])
        # main to a, a to b, b to main
        refused = ["refused"] * 9
        self.assertEqual(log, refused + [True] + refused + refused)
        self.assertDead(a)
        self.assertDead(b)
        self.assertEqual(ch.balance, 0)
        self.assertTrue(paused.paused)

    @needs_order
    def test_queue_operations_in_it_are_allowed(self):
        order = []
        late = tasklet(order.append, ("late",))

        def callback(prev, next):
            if prev is not late and late.alive:
                late.insert()
        tasklet(order.append)("a")
        stackless.set_schedule_callback(callback)
        stackless.run()
        stackless.set_schedule_callback(None)
        self.assertEqual(order, ["a", "late"])

    def test_inserting_the_dying_tasklet(self):
        # It is still alive and in no queue, but nothing is left of it to run.
        def callback(prev, next):
            if prev is t:
                for f in (t.insert, t.remove, lambda: t.kill(pending=True),
                          lambda: t.bind(None), lambda: t.setup()):
                    try:
                        f()
                    except (RuntimeError, TaskletExit):     # noqa: F821
                        pass
        t = tasklet(nothing)()
        other = tasklet(schedule)()
        stackless.set_schedule_callback(callback)
        stackless.run()
        stackless.set_schedule_callback(None)
        stackless.run()
        self.assertDead(other)
        self.assertFalse(t.alive)
        self.assertQueue([stackless.main])

    def test_removing_itself_in_the_middle(self):
        def callback(prev, next):
            self.log.append((prev, next))
            stackless.set_schedule_callback(None)
        t = tasklet(nothing)()
        stackless.set_schedule_callback(callback)
        stackless.run()
        self.assertEqual(self.log, [(stackless.main, t)])
        self.log = None

    def test_dropping_the_next_tasklet(self):
        # The callback takes the target of the switch out of the queue, kills
        # it pending, or unbinds it: refused or obeyed, but consistent.
        for action in (lambda t: t.remove(), lambda t: t.kill(pending=True),
                       lambda t: t.bind(None), lambda t: t.insert()):
            log = []

            def callback(prev, next):
                if next is t:
                    try:
                        action(t)
                    except RuntimeError:
                        log.append("refused")
            t = tasklet(nothing)()
            stackless.set_schedule_callback(callback)
            stackless.run()
            stackless.set_schedule_callback(None)
            for u in runqueue():
                self.assertTrue(u.alive)
            t.kill()
            self.assertQueue([stackless.main])


class ChannelCallback(StacklessTestCase):

    def setUp(self):
        super().setUp()
        self.log = []

    def callback(self, ch, t, sending, willblock):
        self.log.append((ch, t, sending, willblock, t.tempval))

    def seen(self):
        stackless.set_channel_callback(None)
        result, self.log = self.log, []
        return result

    def test_arguments(self):
        ch = channel()
        main = stackless.main
        stackless.set_channel_callback(self.callback)

        def sender():
            ch.send("a")

        def receiver():
            ch.receive()
        s = tasklet(sender)()
        s.run()
        ch.receive()
        s.run()
        r = tasklet(receiver)()
        r.run()
        ch.send("b")
        self.assertEqual(self.seen(), [
            (ch, s, 1, 1, "a"),
            (ch, main, 0, 0, None),
            (ch, r, 0, 1, None),
            (ch, main, 1, 0, "b"),
        ])

    def test_the_last_two_are_ints(self):
        ch = channel()
        self.sender(ch, 1)
        stackless.set_channel_callback(self.callback)
        ch.receive()
        entry = self.seen()[0]
        self.assertIsInstance(entry[2], int)
        self.assertIsInstance(entry[3], int)
        stackless.run()

    def test_it_is_called_before_the_action(self):
        ch = channel()
        balances = []

        def callback(ch, t, sending, willblock):
            balances.append((ch.balance, stackless.current is t))
        t = tasklet(ch.receive)()
        stackless.set_channel_callback(callback)
        t.run()
        ch.send(1)
        stackless.set_channel_callback(None)
        self.assertEqual(balances, [(0, True), (-1, True)])

    def test_exceptions_are_shown_as_bombs(self):
        ch = channel()
        t = tasklet(ch.receive)()
        t.run()
        stackless.set_channel_callback(self.callback)
        with self.assertRaises(Error):
            ch.send_exception(Error, 5)
        entry = self.seen()[0]
        self.assertIsInstance(entry[4], bomb)
        self.assertIs(entry[4].type, Error)

    def test_iteration_and_sequences(self):
        ch = channel()
        stackless.set_channel_callback(self.callback)

        def consumer():
            for x in ch:
                pass
        t = tasklet(consumer)()
        t.run()
        ch.send_sequence([1, 2])
        actions = [entry[1:] for entry in self.seen()]
        main = stackless.main
        self.assertEqual(actions, [
            (t, 0, 1, None), (main, 1, 0, 1), (t, 0, 1, None),
            (main, 1, 0, 2), (t, 0, 1, None)])
        t.kill()

    def test_channel_actions_in_it_are_refused(self):
        ch = channel()
        other = channel()
        waiting = self.receiver(other)
        errors = []

        def callback(*args):
            for f in (other.receive, lambda: other.send(1),
                      lambda: other.send_exception(Error),
                      lambda: other.send_throw(Error()),
                      lambda: other.send_sequence([1])):
                try:
                    f()
                except RuntimeError as e:
                    errors.append(str(e))
        t = tasklet(ch.receive)()
        t.run()
        stackless.set_channel_callback(callback)
        ch.send(1)
        stackless.set_channel_callback(None)
        self.assertEqual(errors,
                         ["Recursive channel call due to callbacks!"] * 5)
        self.assertEqual(other.balance, -1)
        waiting.kill()
        self.assertDead(t)

    def test_its_exception_fails_the_action(self):
        ch = channel()
        t = self.receiver(ch)

        def callback(*args):
            raise Error("in callback")
        stackless.set_channel_callback(callback)
        with self.unchanged(ch, t):
            for f in (ch.receive, lambda: ch.send(1)):
                with self.assertRaisesRegex(Error, "in callback"):
                    f()
        stackless.set_channel_callback(None)
        ch.send(1)
        self.assertDead(t)

    def test_its_exception_fails_the_action_of_a_tasklet(self):
        ch = channel()
        log = []

        def callback(*args):
            raise Error("in callback")

        def task():
            try:
                ch.receive()
            except Error:
                log.append(ch.balance)
            for x in (1,):
                try:
                    for y in ch:
                        pass
                except Error:
                    log.append(ch.balance)
        t = tasklet(task)()
        stackless.set_channel_callback(callback)
        stackless.run()
        stackless.set_channel_callback(None)
        self.assertEqual(log, [0, 0])
        self.assertDead(t)

    def test_changing_the_channel_in_it(self):
        # The partner vanishes, a new one comes, the channel is closed.
        def kill_waiting(ch):
            t = ch.queue
            if t is not None:
                t.kill(pending=True)

        def close(ch):
            ch.close()

        def other_preference(ch):
            ch.preference = -ch.preference
            ch.schedule_all = 1 - ch.schedule_all

        for action in (kill_waiting, close, other_preference):
            with self.subTest(action.__name__):
                ch = channel()
                t = self.receiver(ch)

                def callback(ch, *args):
                    stackless.set_channel_callback(None)
                    action(ch)
                stackless.set_channel_callback(callback)
                keeper = tasklet(schedule)()
                try:
                    ch.send(1)
                except (RuntimeError, ValueError):
                    pass
                stackless.set_channel_callback(None)
                stackless.run()
                t.kill()
                self.assertEqual(ch.balance, 0)
                self.assertDead(keeper)
                self.assertQueue([stackless.main])

    def test_wrong_signature(self):
        ch = channel()
        t = self.receiver(ch)
        stackless.set_channel_callback(nothing)
        with self.unchanged(ch, t):
            with self.assertRaises(TypeError):
                ch.send(1)
        stackless.set_channel_callback(None)
        t.kill()

    def test_no_call_when_the_loop_just_ends(self):
        ch = channel()
        ch.close()
        stackless.set_channel_callback(self.callback)
        for x in ch:
            pass
        self.assertEqual(self.seen(), [])


class ErrorHandler(StacklessTestCase):

    def test_previous_one_is_returned(self):
        self.assertIsNone(stackless.set_error_handler(nothing))
        self.assertIs(stackless.set_error_handler(len), nothing)
        self.assertIs(stackless.set_error_handler(), len)
        self.assertIsNone(stackless.set_error_handler(None))

    def test_swallows_the_exception(self):
        log = []

        def handler(cls, e, tb):
            log.append((cls, e.args, tb.tb_frame.f_code.co_name))
        t = tasklet(fail)(5)
        stackless.set_error_handler(handler)
        self.assertIsNone(stackless.run())
        stackless.set_error_handler(None)
        self.assertEqual(log, [(Error, (5,), "fail")])
        self.assertDead(t)

    def test_runs_in_the_dying_tasklet(self):
        log = []

        def handler(cls, e, tb):
            log.append((stackless.current, stackless.current.alive))
        t = tasklet(fail)()
        stackless.set_error_handler(handler)
        stackless.run()
        stackless.set_error_handler(None)
        self.assertEqual(log, [(t, True)])
        self.assertDead(t)

    @needs_order
    def test_the_successor_follows(self):
        order = []

        def handler(cls, e, tb):
            order.append("handler")
        tasklet(fail)()
        tasklet(order.append)("next")
        stackless.set_error_handler(handler)
        stackless.run()
        stackless.set_error_handler(None)
        self.assertEqual(order, ["handler", "next"])

    def test_its_exception_goes_to_main(self):
        def handler(cls, e, tb):
            raise KeyError("handler")
        t = tasklet(fail)()
        stackless.set_error_handler(handler)
        with self.assertRaisesRegex(KeyError, "handler"):
            stackless.run()
        stackless.set_error_handler(None)
        self.assertDead(t)

    def test_not_callable(self):
        t = tasklet(fail)()
        stackless.set_error_handler(5)
        with self.assertRaises(TypeError):
            stackless.run()
        stackless.set_error_handler(None)
        self.assertDead(t)

    def test_not_for_tasklet_exit(self):
        log = []
        t = self.paused(schedule_remove)
        stackless.set_error_handler(lambda *args: log.append(args))
        t.kill()
        stackless.set_error_handler(None)
        self.assertEqual(log, [])

    def test_not_for_main(self):
        log = []
        stackless.set_error_handler(lambda *args: log.append(args))
        with self.assertRaises(Error):
            raise Error
        stackless.set_error_handler(None)
        self.assertEqual(log, [])

    def test_for_an_exception_before_the_first_instruction(self):
        log = []
        t = tasklet(nothing)()
        stackless.set_error_handler(lambda cls, e, tb: log.append(cls))
        t.throw(Error)
        stackless.set_error_handler(None)
        self.assertEqual(log, [Error])
        self.assertDead(t)

    def test_may_use_a_channel_without_blocking(self):
        ch = channel()
        ch.preference = 1
        got = []
        self.receiver(ch, got)

        def handler(cls, e, tb):
            ch.send(e.args)
        tasklet(fail)(1)
        stackless.set_error_handler(handler)
        stackless.run()
        stackless.set_error_handler(None)
        self.assertEqual(got, [(1,)])

    @needs_order
    def test_may_schedule(self):
        # C code may lie between it and the scheduler: then it is refused.
        order = []

        def handler(cls, e, tb):
            order.append("handler")
            try:
                schedule()
            except RuntimeError:
                order.append("refused")
            else:
                order.append("handler again")
        t = tasklet(fail)()
        tasklet(order.append)("other")
        stackless.set_error_handler(handler)
        stackless.run()
        stackless.set_error_handler(None)
        self.assertIn(order, (["handler", "other", "handler again"],
                              ["handler", "refused", "other"]))
        self.assertDead(t)

    def test_system_exit_in_it(self):
        def handler(cls, e, tb):
            raise TaskletExit       # noqa: F821 (a builtin here)
        t = tasklet(fail)()
        stackless.set_error_handler(handler)
        try:
            stackless.run()
        except BaseException as e:
            self.assertIs(type(e), TaskletExit)     # noqa: F821
        stackless.set_error_handler(None)
        self.assertDead(t)


if __name__ == "__main__":
    unittest.main()
