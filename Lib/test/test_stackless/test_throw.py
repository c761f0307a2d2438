"""tasklet.throw and raise_exception: exceptions sent to a tasklet."""

import threading
import traceback
import types
import unittest
import weakref

import stackless
from stackless import channel, schedule, schedule_remove, tasklet

from .support import StacklessTestCase, needs_order, runqueue


class Error(Exception):
    pass


class SubExit(TaskletExit):     # noqa: F821 (a builtin here)
    pass


def nothing():
    pass


def catcher(log):
    """Wait; log the exception that ends the waiting."""
    try:
        schedule_remove()
    except BaseException as e:
        log.append(e)
    else:
        log.append("no exception")


def traceback_of(exc):
    try:
        raise exc
    except type(exc) as e:
        return e.__traceback__


class Normalisation(StacklessTestCase):

    def caught(self, *args, **kwargs):
        log = []
        t = self.paused(catcher, log)
        self.assertIsNone(t.throw(*args, **kwargs))
        self.assertDead(t)
        self.assertEqual(len(log), 1)
        return log[0]

    def test_class(self):
        e = self.caught(Error)
        self.assertIs(type(e), Error)
        self.assertEqual(e.args, ())

    def test_class_with_a_value(self):
        self.assertEqual(self.caught(Error, 5).args, (5,))

    def test_class_with_a_tuple_of_arguments(self):
        self.assertEqual(self.caught(Error, (5, 6)).args, (5, 6))

    def test_class_with_an_empty_tuple(self):
        self.assertEqual(self.caught(Error, ()).args, ())

    def test_class_with_an_instance_of_it(self):
        e = Error(1)
        self.assertIs(self.caught(Error, e), e)

    def test_class_with_an_instance_of_a_subclass(self):
        class Sub(Error):
            pass
        e = Sub(1)
        self.assertIs(self.caught(Error, e), e)

    def test_class_with_an_instance_of_another(self):
        other = KeyError(1)
        e = self.caught(Error, other)
        self.assertIs(type(e), Error)
        self.assertEqual(e.args, (other,))

    def test_instance(self):
        e = Error(1)
        self.assertIs(self.caught(e), e)

    def test_instance_with_none(self):
        e = Error(1)
        self.assertIs(self.caught(e, None, None), e)

    def test_keywords(self):
        self.assertEqual(self.caught(exc=Error, val=5, tb=None, pending=False).args,
                         (5,))

    def test_with_a_traceback(self):
        tb = traceback_of(Error("origin"))
        e = self.caught(Error, None, tb)
        entries = []
        last = e.__traceback__
        while last is not None:
            entries.append(last.tb_frame.f_code.co_name)
            last = last.tb_next
        # From the place of the catch down to the origin.
        self.assertEqual(entries, ["catcher", "traceback_of"])

    def test_instance_with_a_traceback(self):
        tb = traceback_of(Error("origin"))
        e = Error(2)
        caught = self.caught(e, None, tb)
        self.assertIs(caught, e)
        names = [f.name for f in traceback.extract_tb(e.__traceback__)]
        self.assertEqual(names, ["catcher", "traceback_of"])

    def test_the_instance_is_made_in_the_target(self):
        log = []

        class Lazy(Exception):
            def __init__(self):
                log.append(stackless.current)
        caught = []
        t = self.paused(catcher, caught)
        t.throw(Lazy)
        self.assertEqual(log, [t])

    def test_a_constructor_that_fails_fails_in_the_target(self):
        class Bad(Exception):
            def __init__(self):
                raise Error("constructor")
        e = self.caught(Bad)
        self.assertIs(type(e), Error)

    def test_instance_with_a_separate_value(self):
        t = self.paused(catcher, [])
        with self.unchanged(t):
            with self.assertRaisesRegex(
                    TypeError, "^instance exception may not have a separate value$"):
                t.throw(Error(), 1)
        t.kill()

    def test_not_an_exception(self):
        t = self.paused(catcher, [])
        with self.unchanged(t):
            for bad, name in ((1, "int"), ("x", "str"), (None, "NoneType"),
                              (int, "type"), ((Error,), "tuple")):
                with self.assertRaisesRegex(
                        TypeError,
                        f"^exceptions must be classes, or instances, not {name}$"):
                    t.throw(bad)
        t.kill()

    def test_not_a_traceback(self):
        t = self.paused(catcher, [])
        with self.unchanged(t):
            for bad in (1, "x", ()):
                with self.assertRaisesRegex(
                        TypeError, "^third argument must be a traceback object$"):
                    t.throw(Error, None, bad)
        t.kill()

    def test_wrong_number_or_name_of_arguments(self):
        t = self.paused(catcher, [])
        with self.unchanged(t):
            with self.assertRaises(TypeError):
                t.throw()
            with self.assertRaises(TypeError):
                t.throw(Error, None, None, False, 1)
            with self.assertRaises(TypeError):
                t.throw(Error, value=1)
        t.kill()

    def test_errors_come_before_the_state_of_the_target(self):
        for t in (tasklet(), stackless.current):
            with self.assertRaisesRegex(TypeError, "exceptions must be"):
                t.throw(1)
            with self.assertRaisesRegex(TypeError, "separate value"):
                t.throw(Error(), 1)


class ThrowToCurrent(StacklessTestCase):

    def test_raised_in_the_caller(self):
        with self.unchanged():
            with self.assertRaises(Error) as cm:
                stackless.current.throw(Error, 5)
        self.assertEqual(cm.exception.args, (5,))

    def test_pending_is_ignored(self):
        with self.unchanged():
            with self.assertRaises(Error):
                stackless.current.throw(Error, pending=True)
        schedule()

    def test_within_a_tasklet(self):
        log = []

        def task():
            try:
                stackless.current.throw(Error(1))
            except Error as e:
                log.append(e.args)
        self.run_tasklet(task)
        self.assertEqual(log, [(1,)])


class ThrowToTheDead(StacklessTestCase):

    def targets(self):
        dead = tasklet(nothing)()
        stackless.run()
        return tasklet(), tasklet(nothing), dead

    def test_ordinary_exception(self):
        for t in self.targets():
            for pending in (False, True):
                with self.unchanged(t):
                    with self.assertRaisesRegex(
                            RuntimeError, "^You cannot throw to a dead tasklet$"):
                        t.throw(Error, pending=pending)

    def test_system_exit_is_an_ordinary_exception(self):
        for t in self.targets():
            with self.assertRaisesRegex(
                    RuntimeError, "^You cannot throw to a dead tasklet$"):
                t.throw(SystemExit)

    def test_tasklet_exit_succeeds(self):
        for t in self.targets():
            for pending in (False, True):
                with self.unchanged(t):
                    self.assertIsNone(t.throw(TaskletExit, pending=pending))
                    self.assertIsNone(t.throw(SubExit(1), pending=pending))

    def test_a_bound_one_stays_usable(self):
        log = []
        t = tasklet(log.append)
        t.throw(TaskletExit)
        t(1)
        stackless.run()
        self.assertEqual(log, [1])


class ThrowNow(StacklessTestCase):

    @needs_order
    def test_to_a_paused_tasklet(self):
        # Queue: main, other.  The target enters at the end and runs; main is
        # next after it.
        order = []
        log = []

        def target():
            try:
                schedule_remove()
            except Error:
                log.extend(runqueue())
                order.append("target")
        t = tasklet(target)()
        t.run()
        other = tasklet(order.append)("other")
        t.throw(Error)
        self.assertEqual(log, [t, stackless.main, other])
        self.assertEqual(order, ["target"])
        schedule()
        self.assertEqual(order, ["target", "other"])

    def test_to_a_runnable_tasklet(self):
        log = []

        def target():
            try:
                schedule()
            except Error:
                log.append("caught")
                log.append(runqueue())
        t = tasklet(target)()
        t.run()
        # Ahead of t in the queue, and jumped over.
        t.remove()
        other = tasklet(nothing)()
        t.insert()
        t.throw(Error)
        self.assertEqual(log, ["caught", [t, stackless.main, other]])
        stackless.run()

    def test_to_a_blocked_tasklet(self):
        ch = stackless.channel()
        log = []

        def target():
            try:
                ch.receive()
            except Error as e:
                log.append((e.args, stackless.current.blocked))
        t = tasklet(target)()
        t.run()
        self.assertEqual(ch.balance, -1)
        t.throw(Error, 1)
        self.assertEqual(log, [((1,), False)])
        self.assertEqual(ch.balance, 0)
        self.assertIsNone(ch.queue)
        self.assertIsNone(t._channel)
        self.assertDead(t)

    def test_to_a_blocked_sender_drops_the_value(self):
        ch = stackless.channel()

        class X:
            pass
        x = X()
        r = weakref.ref(x)

        def target():
            try:
                ch.send(box.pop())
            except Error:
                pass
        box = [x]
        del x
        t = tasklet(target)()
        t.run()
        self.assertIsNotNone(r())
        t.throw(Error)
        self.assertIsNone(r())
        self.assertEqual(ch.balance, 0)

    def test_to_the_middle_of_a_channels_queue(self):
        ch = stackless.channel()
        a, b, c = [self.receiver(ch) for i in range(3)]
        with self.assertRaises(Error):
            b.throw(Error)
        self.assertEqual(ch.balance, -2)
        self.assertIs(ch.queue, a)
        self.assertIs(a.next, c)
        self.assertIs(c.prev, a)
        a.kill()
        c.kill()

    def test_uncaught_comes_back_to_the_caller(self):
        t = self.paused(schedule_remove)
        with self.assertRaises(Error) as cm:
            t.throw(Error, 1)
        self.assertEqual(cm.exception.args, (1,))
        self.assertDead(t)
        self.assertQueue([stackless.main])

    def test_to_an_unstarted_tasklet(self):
        log = []
        t = tasklet(log.append)(1)
        with self.assertRaises(ValueError):
            t.throw(ValueError)
        self.assertEqual(log, [])
        self.assertDead(t)

    def test_to_an_unstarted_tasklet_outside_of_the_queue(self):
        log = []
        t = tasklet(log.append, (1,))
        with self.assertRaises(ValueError):
            t.throw(ValueError)
        self.assertEqual(log, [])
        self.assertDead(t)

    def test_to_main(self):
        def task():
            stackless.main.throw(Error, 7)
            log.append("continued")
        log = []
        t = tasklet(task)()
        with self.assertRaises(Error) as cm:
            schedule()
        self.assertEqual(cm.exception.args, (7,))
        self.assertEqual(log, [])
        self.assertTrue(t.scheduled)
        schedule()
        self.assertEqual(log, ["continued"])

    def test_to_main_in_run(self):
        def task():
            stackless.main.throw(Error)
        t = tasklet(task)()
        with self.assertRaises(Error):
            stackless.run()
        self.assertQueue([stackless.main, t])
        stackless.run()

    def test_from_tasklet_to_tasklet(self):
        log = []
        target = self.paused(catcher, log)

        def task():
            target.throw(Error(3))
            log.append("thrower")
        tasklet(task)()
        stackless.run()
        self.assertEqual(str(log), "[Error(3), 'thrower']")

    def test_a_tasklet_may_catch_and_go_on(self):
        log = []

        def target():
            for i in range(3):
                try:
                    schedule_remove()
                except Error as e:
                    log.append(e.args[0])
        t = tasklet(target)()
        t.run()
        for i in range(3):
            self.assertTrue(t.paused)
            t.throw(Error, i)
        self.assertEqual(log, [0, 1, 2])
        self.assertDead(t)

    def test_the_traceback_begins_in_the_target(self):
        log = []
        t = self.paused(catcher, log)
        t.throw(Error)
        names = [f.name for f in traceback.extract_tb(log[0].__traceback__)]
        self.assertEqual(names, ["catcher"])

    def test_switch_trap(self):
        t = self.paused(catcher, [])
        stackless.switch_trap(1)
        try:
            with self.unchanged(t):
                with self.assertRaisesRegex(RuntimeError, "switch_trap"):
                    t.throw(Error)
        finally:
            stackless.switch_trap(-1)
        t.kill()


class ThrowPending(StacklessTestCase):

    def test_to_a_paused_tasklet(self):
        log = []
        t = self.paused(catcher, log)
        other = tasklet(nothing)()
        self.assertIsNone(t.throw(Error, 5, None, True))
        self.assertEqual(log, [])
        self.assertQueue([stackless.main, other, t])
        self.assertIsInstance(t.tempval, stackless.bomb)
        stackless.run()
        self.assertEqual(log[0].args, (5,))

    def test_to_a_runnable_tasklet_does_not_move_it(self):
        log = []
        t = self.paused(catcher, log)
        t.insert()
        other = tasklet(nothing)()
        t.throw(Error, pending=True)
        self.assertQueue([stackless.main, t, other])
        stackless.run()
        self.assertIs(type(log[0]), Error)

    def test_to_a_blocked_tasklet(self):
        ch = stackless.channel()
        t = self.receiver(ch)
        t.throw(Error, pending=True)
        self.assertEqual(ch.balance, 0)
        self.assertFalse(t.blocked)
        self.assertQueue([stackless.main, t])
        with self.assertRaises(Error):
            stackless.run()

    def test_to_an_unstarted_tasklet(self):
        log = []
        t = tasklet(log.append)(1)
        t.throw(Error, pending=True)
        self.assertTrue(t.alive)
        with self.assertRaises(Error):
            stackless.run()
        self.assertEqual(log, [])
        self.assertDead(t)

    def test_to_main_from_a_tasklet(self):
        log = []

        def task():
            stackless.main.throw(Error, pending=True)
            log.append(1)
        tasklet(task)()
        with self.assertRaises(Error):
            schedule()
        self.assertEqual(log, [1])

    def test_the_last_of_two_wins(self):
        log = []
        t = self.paused(catcher, log)
        t.throw(Error, 1, pending=True)
        t.throw(Error, 2, pending=True)
        stackless.run()
        self.assertEqual(log[0].args, (2,))

    def test_the_bomb_can_be_defused(self):
        log = []
        t = self.paused(catcher, log)
        t.throw(Error, pending=True)
        t.tempval = None
        stackless.run()
        self.assertEqual(log, ["no exception"])

    def test_is_not_trapped(self):
        log = []
        t = self.paused(catcher, log)
        stackless.switch_trap(1)
        try:
            t.throw(Error, pending=True)
        finally:
            stackless.switch_trap(-1)
        stackless.run()
        self.assertIs(type(log[0]), Error)

    def test_from_below_c_frames(self):
        log = []
        t = self.paused(catcher, log)

        def task():
            list(map(lambda x: t.throw(Error, x, pending=True), [1]))
        self.run_tasklet(task)
        self.assertEqual(log[0].args, (1,))


class RaiseException(StacklessTestCase):

    def test_class(self):
        log = []
        t = self.paused(catcher, log)
        self.assertIsNone(t.raise_exception(Error))
        self.assertIs(type(log[0]), Error)
        self.assertEqual(log[0].args, ())

    def test_arguments(self):
        log = []
        t = self.paused(catcher, log)
        t.raise_exception(Error, 1, 2)
        self.assertEqual(log[0].args, (1, 2))

    def test_current(self):
        with self.assertRaises(Error) as cm:
            stackless.current.raise_exception(Error, 1)
        self.assertEqual(cm.exception.args, (1,))

    def test_no_arguments(self):
        with self.assertRaisesRegex(
                TypeError, r"^raise_exception\(\) takes at least 1 argument"):
            tasklet().raise_exception()

    def test_not_an_exception_class(self):
        t = self.paused(catcher, [])
        with self.unchanged(t):
            for bad in (1, None, int, Error(), Error):
                if bad is Error:
                    continue
                with self.assertRaisesRegex(
                        TypeError,
                        "^tasklet.raise_exception needs Exception or string "
                        "subclass as first parameter$"):
                    t.raise_exception(bad)
        t.kill()

    def test_a_string_is_not_an_exception(self):
        # It passed the check of 2.7 and then crashed.
        t = self.paused(catcher, [])
        with self.unchanged(t):
            for bad in ("x", str):
                with self.assertRaises(TypeError):
                    t.raise_exception(bad, 1)
        t.kill()

    def test_dead_tasklet(self):
        t = tasklet(nothing)()
        stackless.run()
        with self.assertRaisesRegex(
                RuntimeError, "^You cannot throw to a dead tasklet$"):
            t.raise_exception(Error)
        t.raise_exception(TaskletExit)

    def test_keywords_are_refused(self):
        with self.assertRaises(TypeError):
            tasklet().raise_exception(exc_class=Error)


class Types(StacklessTestCase):

    def test_tasklet_exit_is_a_builtin(self):
        import builtins
        self.assertIs(builtins.TaskletExit, TaskletExit)
        self.assertTrue(issubclass(TaskletExit, SystemExit))
        self.assertEqual(TaskletExit.__module__, "builtins")
        self.assertFalse(issubclass(TaskletExit, Exception))

    def test_bomb_in_tempval_after_pending_throw(self):
        t = self.paused(catcher, [])
        tb = traceback_of(Error())
        t.throw(Error, 3, tb, True)
        b = t.tempval
        self.assertIs(b.type, Error)
        self.assertIsInstance(b.traceback, types.TracebackType)
        t.kill()


class Context(StacklessTestCase):
    """The __context__ of an exception is what the target handles, as that of one that is
    raised there or thrown into a generator."""

    def handler(self, log, wait=schedule_remove):
        """A tasklet that waits while it handles the KeyError log[0]; the exception that
        it gets follows."""
        def target():
            try:
                raise KeyError("target")
            except KeyError as e:
                log.append(e)
                try:
                    wait()
                except BaseException as f:
                    log.append(f)
        t = tasklet(target)()
        t.run()
        return t

    def check(self, log, exc_type=Error):
        key_error, exc = log
        self.assertIs(type(exc), exc_type)
        self.assertIs(exc.__context__, key_error)
        self.assertIsNone(key_error.__context__)
        self.assertIsNone(exc.__cause__)
        log.clear()

    def test_thrown(self):
        log = []
        self.handler(log).throw(Error)
        self.check(log)
        self.handler(log).throw(Error, 1)
        self.check(log)
        self.handler(log).raise_exception(Error, 1)
        self.check(log)
        self.handler(log).throw(Error, pending=True)
        stackless.run()
        self.check(log)
        self.handler(log).kill()
        self.check(log, TaskletExit)    # noqa: F821
        t = self.handler(log)
        t.kill(pending=True)
        stackless.run()
        self.check(log, TaskletExit)    # noqa: F821

    def test_a_bomb(self):
        log = []
        ch = channel()
        self.handler(log, ch.receive)
        ch.send_exception(Error)
        self.check(log)
        self.handler(log, ch.receive)
        ch.send(stackless.bomb(Error))
        self.check(log)
        tasklet(ch.send_exception)(Error)
        stackless.run()
        self.handler(log, ch.receive)   # the sender waits
        self.check(log)
        self.handler(log, lambda: schedule(stackless.bomb(Error)))
        stackless.run()
        self.check(log)
        t = self.handler(log)
        t.tempval = stackless.bomb(Error)
        t.run()
        self.check(log)

    def test_below_c_code(self):
        log = []
        self.handler(log, lambda: list(map(lambda _: schedule_remove(), [1]))).throw(Error)
        self.check(log)

    def test_in_generators(self):
        def generator():
            try:
                raise KeyError("generator")
            except KeyError as e:
                log[:] = [e]
                yield schedule_remove()
        log = []
        self.handler(log, lambda: next(generator())).throw(Error)
        generators_own, exc = log
        self.assertEqual(generators_own.args, ("generator",))
        self.assertIs(exc.__context__, generators_own)
        self.assertEqual(generators_own.__context__.args, ("target",))

        def plain():
            yield schedule_remove()
        log.clear()
        self.handler(log, lambda: next(plain())).throw(Error)
        self.check(log)

    def test_main(self):
        log = []

        def throw():
            stackless.main.throw(Error)
        tasklet(throw)()
        try:
            raise KeyError
        except KeyError as e:
            log.append(e)
            try:
                schedule()
            except Error as f:
                log.append(f)
        self.check(log)
        stackless.run()

    def test_the_current_tasklet(self):
        log = []
        self.handler(log, lambda: stackless.current.throw(Error))
        self.check(log)

    def test_another_thread(self):
        log = []
        ready = threading.Event()
        targets = []

        def wait_in_worker():
            try:
                raise KeyError
            except KeyError as e:
                log.append(e)
                targets.append(stackless.current)
                ready.set()
                try:
                    channel().receive()
                except Error as f:
                    log.append(f)
        thread = threading.Thread(target=wait_in_worker)
        thread.start()
        ready.wait()
        targets.pop().throw(Error)
        thread.join()
        self.check(log)

    def test_it_does_not_come_from_the_caller(self):
        log = []
        t = self.handler(log)
        try:
            raise IndexError("caller")
        except IndexError:
            t.throw(Error)
        self.check(log)

    def test_none_is_handled(self):
        log = []
        t = tasklet(catcher)(log)
        t.run()
        try:
            raise IndexError("caller")
        except IndexError:
            t.throw(Error)
        self.assertIsNone(log[0].__context__)

    def test_what_is_handled_itself(self):
        log = []
        t = self.handler(log)
        t.throw(log[0])
        self.assertIs(log[1], log[0])
        self.assertIsNone(log[0].__context__)

    def test_no_cycles(self):
        log = []
        t = self.handler(log)
        exc = Error()
        log[0].__context__ = exc
        t.throw(exc)
        self.assertIs(exc.__context__, log[0])
        self.assertIsNone(log[0].__context__)

    def test_its_own_context_is_replaced(self):
        log = []
        t = self.handler(log)
        exc = Error()
        exc.__context__ = IndexError()
        t.throw(exc)
        self.check(log)

    def test_a_shared_instance(self):
        log, other = [], []
        t, u = self.handler(log), self.handler(other)
        exc = Error()
        t.throw(exc)
        self.check(log)
        u.throw(exc)
        self.check(other)


if __name__ == "__main__":
    unittest.main()
