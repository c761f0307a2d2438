"""atomic, switch_trap, block_trap and the query of enable_softswitch."""

import unittest

import stackless
from stackless import atomic, schedule, tasklet

from .support import SOFT, StacklessTestCase, needs_order


def nothing():
    pass


class Atomic(StacklessTestCase):

    def test_context_manager(self):
        me = stackless.current
        self.assertIs(me.atomic, False)
        with atomic() as value:
            self.assertIsNone(value)
            self.assertIs(me.atomic, True)
        self.assertIs(me.atomic, False)

    def test_restores_the_old_value(self):
        me = stackless.current
        me.set_atomic(True)
        try:
            with atomic():
                self.assertIs(me.atomic, True)
            self.assertIs(me.atomic, True)
        finally:
            me.set_atomic(False)

    def test_nested(self):
        me = stackless.current
        with atomic():
            with atomic():
                self.assertIs(me.atomic, True)
            self.assertIs(me.atomic, True)
        self.assertIs(me.atomic, False)

    def test_left_by_an_exception(self):
        with self.assertRaises(KeyError):
            with atomic():
                raise KeyError
        self.assertIs(stackless.current.atomic, False)

    def test_it_is_the_current_tasklets_flag(self):
        seen = []

        def task():
            seen.append((stackless.main.atomic, stackless.current.atomic))
            with atomic():
                schedule()
                seen.append(stackless.current.atomic)
            seen.append(stackless.current.atomic)
        tasklet(task)()
        with atomic():
            schedule()
            self.assertIs(stackless.current.atomic, True)
        self.assertIs(stackless.current.atomic, False)
        stackless.run()
        self.assertEqual(seen, [(True, False), True, False])

    def test_switching_is_allowed(self):
        log = []
        tasklet(log.append)(1)
        with atomic():
            schedule()
        self.assertEqual(log, [1])

    def test_it_does_not_swallow_exceptions(self):
        a = atomic()
        self.assertIsNone(a.__enter__())
        self.assertIsNone(a.__exit__(None, None, None))

    def test_arguments(self):
        with self.assertRaises(TypeError):
            atomic(1)


class SwitchTrap(StacklessTestCase):

    def tearDown(self):
        stackless.switch_trap(-stackless.switch_trap(0))
        super().tearDown()

    def test_returns_the_old_level(self):
        self.assertEqual(stackless.switch_trap(), 0)
        self.assertEqual(stackless.switch_trap(1), 0)
        self.assertEqual(stackless.switch_trap(1), 1)
        self.assertEqual(stackless.switch_trap(0), 2)
        self.assertEqual(stackless.switch_trap(-1), 2)
        self.assertEqual(stackless.switch_trap(-1), 1)
        self.assertEqual(stackless.switch_trap(), 0)

    def test_arguments(self):
        for bad in (None, "x", 1.0):
            with self.assertRaises(TypeError):
                stackless.switch_trap(bad)
        with self.assertRaises(TypeError):
            stackless.switch_trap(change=1)
        with self.assertRaises(TypeError):
            stackless.switch_trap(1, 2)
        with self.assertRaises(OverflowError):
            stackless.switch_trap(2 ** 100)
        self.assertEqual(stackless.switch_trap(), 0)

    def test_levels_out_of_range(self):
        for level, change in ((2 ** 31 - 1, 1), (-2 ** 31, -1)):
            stackless.switch_trap(level)
            with self.assertRaisesRegex(OverflowError, f"{level} by {change}$"):
                stackless.switch_trap(change)
            self.assertEqual(stackless.switch_trap(-(level // 2)), level)
            stackless.switch_trap(-stackless.switch_trap())

    def test_a_negative_level_traps_too(self):
        t = tasklet(nothing)()
        stackless.switch_trap(-1)
        with self.assertRaisesRegex(RuntimeError, "switch_trap"):
            schedule()
        stackless.switch_trap(1)
        t.kill()

    @needs_order
    def test_what_is_trapped(self):
        t = tasklet(nothing)()
        paused = tasklet(nothing, ())
        ch = stackless.channel()
        blocked = self.receiver(ch)
        t.insert()
        stackless.switch_trap(1)
        for name, call in (
                ("schedule", schedule),
                ("schedule_remove", stackless.schedule_remove),
                ("run", stackless.run),
                ("t.run", t.run),
                ("t.switch", t.switch),
                ("paused.run", paused.run),
                ("paused.switch", paused.switch),
                ("t.throw", lambda: t.throw(KeyError)),
                ("t.raise_exception", lambda: t.raise_exception(KeyError)),
                ("t.kill", t.kill),
                ("paused.kill", paused.kill),
                ("blocked.kill", blocked.kill),
                ("send", lambda: ch.send(1)),
                ("receive", ch.receive),
                ("next", lambda: next(ch))):
            with self.subTest(name), self.unchanged(t, paused, blocked, ch):
                with self.assertRaisesRegex(RuntimeError, "^switch_trap$"):
                    call()
        stackless.switch_trap(-1)
        blocked.kill()
        stackless.run()

    def test_what_is_not_trapped(self):
        ch = stackless.channel()
        ch.preference = 0
        receiver = self.receiver(ch)
        paused = tasklet(nothing, ())
        dead = tasklet()
        stackless.switch_trap(1)
        paused.insert()
        paused.remove()
        t = tasklet(nothing)()
        ch.send(1)
        dead.kill()
        t.kill(pending=True)
        stackless.current.run()
        stackless.current.switch()
        with self.assertRaises(KeyError):
            stackless.current.throw(KeyError)
        stackless.switch_trap(-1)
        stackless.run()
        self.assertDead(receiver)
        self.assertDead(t)

    def test_alone_in_the_queue(self):
        def task():
            stackless.switch_trap(1)
            try:
                schedule()
            except RuntimeError as e:
                log.append(str(e))
            stackless.switch_trap(-1)
        log = []
        tasklet(task)()
        stackless.run()
        # Alone in the queue there was nothing to switch to.
        self.assertEqual(log, [])
        self.assertEqual(stackless.switch_trap(), 0)

    @needs_order
    def test_in_a_tasklet_with_others(self):
        log = []

        def task():
            stackless.switch_trap(1)
            try:
                schedule()
            except RuntimeError as e:
                log.append(str(e))
            finally:
                stackless.switch_trap(-1)
            schedule()
            log.append("end")
        t = tasklet(task)()
        tasklet(log.append)("other")
        stackless.run()
        self.assertEqual(log, ["switch_trap", "other", "end"])
        self.assertDead(t)

    def test_trap_as_of_a_thread(self):
        import threading
        seen = []

        def thread():
            seen.append(stackless.switch_trap())
            tasklet(seen.append)("ran")
            stackless.run()
        stackless.switch_trap(1)
        t = threading.Thread(target=thread)
        t.start()
        t.join()
        stackless.switch_trap(-1)
        self.assertEqual(seen, [0, "ran"])


class BlockTrap(StacklessTestCase):

    def test_schedule_remove_is_not_trapped(self):
        def task():
            stackless.current.block_trap = True
            stackless.schedule_remove()
        t = self.run_tasklet(task)
        self.assertTrue(t.paused)
        t.kill()

    def test_of_a_suspended_tasklet(self):
        ch = stackless.channel()
        log = []

        def task():
            schedule()
            try:
                ch.receive()
            except RuntimeError as e:
                log.append(str(e))
        t = tasklet(task)()
        schedule()
        t.block_trap = True
        stackless.run()
        self.assertEqual(log, ["this tasklet does not like to be blocked."])


class SoftSwitch(StacklessTestCase):

    def test_asking_changes_nothing(self):
        self.assertIs(stackless.enable_softswitch(None), SOFT)
        self.assertIs(stackless.enable_softswitch(None), SOFT)

    def test_on_stays_on(self):
        self.addCleanup(stackless.enable_softswitch, SOFT)
        stackless.enable_softswitch(True)
        for value in (True, 1, "x"):
            self.assertIs(stackless.enable_softswitch(value), True)

    def test_arguments(self):
        with self.assertRaises(TypeError):
            stackless.enable_softswitch()
        with self.assertRaises(TypeError):
            stackless.enable_softswitch(None, None)
        with self.assertRaises(TypeError):
            stackless.enable_softswitch(flag=None)


if __name__ == "__main__":
    unittest.main()
