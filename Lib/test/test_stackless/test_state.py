"""What the interpreter keeps per tasklet: handled exceptions, recursion,
context variables; generators, coroutines and with statements in tasklets.

Tracing, profiling and monitoring are in test_tracing.py, frames in
test_frames.py.
"""

import contextvars
import sys
import unittest

import stackless
from stackless import channel, schedule, schedule_remove, tasklet

from .support import SHUFFLED, StacklessTestCase, needs_order, needs_soft


class Error(Exception):
    pass


def nothing():
    pass


class HandledExceptions(StacklessTestCase):

    def test_a_new_tasklet_has_none(self):
        seen = []

        def task():
            seen.append(sys.exc_info())
            seen.append(sys.exception())
        try:
            raise Error
        except Error:
            tasklet(task)()
            schedule()
        self.assertEqual(seen, [(None, None, None), None])

    def test_a_bare_raise_in_a_new_tasklet(self):
        log = []

        def task():
            try:
                raise
            except RuntimeError as e:
                log.append(e.__context__)
        try:
            raise Error
        except Error:
            tasklet(task)()
            schedule()
        self.assertEqual(log, [None])

    def test_a_suspended_one_finds_its_own_again(self):
        log = []

        def task(cls):
            try:
                raise cls
            except cls:
                schedule()
                log.append(sys.exc_info()[0])
                schedule()
                log.append(sys.exc_info()[0])
            log.append(sys.exc_info()[0])
        tasklet(task)(KeyError)
        tasklet(task)(IndexError)
        try:
            raise Error
        except Error:
            stackless.run()
            self.assertIs(sys.exc_info()[0], Error)
        self.assertIsNone(sys.exc_info()[0])
        self.assertTurns(log, [KeyError, IndexError, KeyError, None, IndexError,
                               None])

    def test_implicit_chaining_does_not_leak(self):
        log = []

        def task():
            try:
                raise KeyError
            except KeyError as e:
                log.append(e.__context__)
        try:
            raise Error
        except Error:
            tasklet(task)()
            schedule()
        self.assertEqual(log, [None])

    def test_chaining_within_a_tasklet_over_a_switch(self):
        log = []

        def task():
            try:
                raise KeyError
            except KeyError:
                schedule()
                try:
                    raise IndexError
                except IndexError as e:
                    log.append(type(e.__context__))
        tasklet(task)()
        stackless.run()
        self.assertEqual(log, [KeyError])

    def test_nested_handlers(self):
        log = []

        def task(a, b):
            try:
                raise a
            except a:
                try:
                    raise b
                except b:
                    schedule()
                    log.append(sys.exc_info()[0])
                schedule()
                log.append(sys.exc_info()[0])
        tasklet(task)(KeyError, IndexError)
        tasklet(task)(ValueError, TypeError)
        stackless.run()
        self.assertTurns(log, [IndexError, TypeError, KeyError, ValueError])

    def test_finally_over_a_switch(self):
        log = []

        def task():
            try:
                try:
                    raise KeyError
                finally:
                    schedule()
                    log.append(sys.exc_info()[0])
            except KeyError:
                log.append("caught")
        tasklet(task)()
        stackless.run()
        self.assertEqual(log, [KeyError, "caught"])

    def test_in_a_generator_over_a_switch(self):
        log = []

        def gen():
            try:
                raise KeyError
            except KeyError:
                yield 1
                schedule()
                log.append(sys.exc_info()[0])
                yield 2

        def task():
            try:
                raise ValueError
            except ValueError:
                for x in gen():
                    log.append(sys.exc_info()[0])
                    schedule()
                    log.append(sys.exc_info()[0])
        tasklet(task)()
        stackless.run()
        self.assertEqual(log, [ValueError, ValueError, KeyError, ValueError,
                               ValueError])

    def test_dead_tasklets_keep_none(self):
        def task():
            try:
                raise Error
            except Error:
                return
        t = self.run_tasklet(task)
        self.assertDead(t)
        self.assertEqual(sys.exc_info(), (None, None, None))


class Recursion(StacklessTestCase):

    def depth_reached(self):
        def deep(n):
            nonlocal reached
            reached = n
            deep(n + 1)
        reached = 0
        try:
            deep(1)
        except RecursionError:
            pass
        return reached

    def test_every_tasklet_has_the_whole_limit(self):
        seen = []

        def task():
            seen.append(self.depth_reached())

        def create(n):
            if n:
                create(n - 1)
            else:
                tasklet(task)()
                schedule()
        create(0)
        create(100)
        self.assertEqual(len(seen), 2)
        self.assertEqual(seen[0], seen[1])
        self.assertGreater(seen[0], sys.getrecursionlimit() - 20)

    def test_depth_is_kept_over_switches(self):
        seen = []

        def task(n):
            if n:
                task(n - 1)
                return
            seen.append(stackless.current.recursion_depth)
            schedule()
            seen.append(stackless.current.recursion_depth)
        tasklet(task)(10)
        tasklet(task)(20)
        stackless.run()
        self.assertTurns(seen, [11, 21, 11, 21])

    def test_main_has_its_own(self):
        before = stackless.current.recursion_depth
        self.run_tasklet(self.depth_reached)
        self.assertEqual(stackless.current.recursion_depth, before)

    def test_recursion_error_in_a_tasklet(self):
        def deep():
            deep()
        t = tasklet(deep)()
        with self.assertRaises(RecursionError):
            stackless.run()
        self.assertDead(t)

    def test_the_limit_is_global(self):
        seen = []

        def task():
            seen.append(self.depth_reached())
            schedule()
            seen.append(self.depth_reached())
        tasklet(task)()
        limit = sys.getrecursionlimit()
        try:
            schedule()
            sys.setrecursionlimit(limit + 500)
            schedule()
        finally:
            sys.setrecursionlimit(limit)
        stackless.run()
        self.assertEqual(seen[1] - seen[0], 500)

    def test_a_lower_limit_and_deep_suspended_tasklets(self):
        seen = []

        def task(n):
            if n:
                return task(n - 1)
            schedule()
            try:
                nothing()
            except RecursionError:
                seen.append("limit")
            else:
                seen.append("fine")
        tasklet(task)(400)
        schedule()
        limit = sys.getrecursionlimit()
        try:
            sys.setrecursionlimit(300)
        except RecursionError:
            self.skipTest("the test runner itself is deeper than 300 calls")
        try:
            schedule()
        finally:
            sys.setrecursionlimit(limit)
        stackless.run()
        self.assertEqual(seen, ["limit"])

    def test_many_deep_tasklets(self):
        # The sum of all depths is far beyond the limit.
        done = []

        def deep(n):
            if n:
                deep(n - 1)
            else:
                schedule()
                done.append(1)
        for i in range(50):
            tasklet(deep)(500)
        stackless.run()
        self.assertEqual(len(done), 50)


class Context(StacklessTestCase):

    def setUp(self):
        super().setUp()
        self.var = contextvars.ContextVar("var", default="default")

    def test_a_tasklet_shares_its_creators_context(self):
        seen = []
        var = self.var

        def task():
            seen.append(var.get())
            var.set("task")
        token = var.set("main")
        try:
            self.run_tasklet(task)
            self.assertEqual(seen, ["main"])
            self.assertEqual(var.get(), "task")
        finally:
            var.reset(token)

    def test_context_id(self):
        me = stackless.current
        t = tasklet(nothing)
        self.assertEqual(t.context_id, me.context_id)
        self.assertEqual(tasklet().bind(nothing).context_id, me.context_id)
        self.assertNotEqual(tasklet().context_id, me.context_id)

    def test_context_id_is_the_id(self):
        ctx = contextvars.copy_context()
        t = tasklet(nothing).set_context(ctx)
        self.assertEqual(t.context_id, id(ctx))
        seen = []
        ctx.run(lambda: seen.append(tasklet(nothing).context_id))
        self.assertEqual(seen, [id(ctx)])

    def test_set_context(self):
        var = self.var
        ctx = contextvars.Context()
        ctx.run(var.set, "own")
        seen = []

        def task():
            seen.append(var.get())
            var.set("changed")
        t = tasklet(task)
        self.assertIs(t.set_context(ctx), t)
        t()
        stackless.run()
        self.assertEqual(seen, ["own"])
        self.assertEqual(ctx[var], "changed")
        self.assertEqual(var.get(), "default")

    def test_each_its_own_over_switches(self):
        var = self.var
        seen = []

        def task(name):
            var.set(name)
            for i in range(2):
                schedule()
                seen.append(var.get())
        for name in "abc":
            tasklet(task).set_context(contextvars.copy_context())(name)
        while stackless.runcount > 1:
            schedule()
            seen.append(var.get())
        self.assertTurns([x for x in seen if x != "default"], list("abcabc"))
        if not SHUFFLED:
            self.assertEqual(seen.count("default"), 3)

    def test_set_context_of_the_current_tasklet(self):
        var = self.var
        ctx = contextvars.Context()
        ctx.run(var.set, "other")
        seen = []

        def task():
            stackless.current.set_context(ctx)
            seen.append(var.get())
            schedule()
            seen.append(var.get())
        tasklet(task)()
        stackless.run()
        self.assertEqual(seen, ["other", "other"])
        self.assertEqual(var.get(), "default")

    def test_set_context_wants_a_context(self):
        t = tasklet(nothing)
        before = t.context_id
        for bad in (None, 1, {}):
            with self.assertRaises(TypeError):
                t.set_context(bad)
        with self.assertRaises(TypeError):
            t.set_context()
        self.assertEqual(t.context_id, before)

    def test_set_context_while_entered(self):
        ctx = contextvars.Context()
        errors = []

        def inner():
            try:
                stackless.current.set_context(contextvars.Context())
            except RuntimeError as e:
                errors.append(str(e))

        def task():
            ctx.run(inner)
        self.run_tasklet(task)
        self.assertEqual(errors, ["the current context of the tasklet has been "
                                  "entered."])

    def test_context_run(self):
        var = self.var
        ctx = contextvars.Context()
        ctx.run(var.set, "ctx")
        t = tasklet(nothing).set_context(ctx)

        def f(*args, **kwargs):
            return var.get(), stackless.current, args, kwargs
        self.assertEqual(t.context_run(f, 1, x=2),
                         ("ctx", stackless.main, (1,), {"x": 2}))
        self.assertEqual(var.get(), "default")

    def test_context_run_raises(self):
        t = tasklet(nothing).set_context(contextvars.Context())

        def f():
            self.var.set("in")
            raise Error
        with self.assertRaises(Error):
            t.context_run(f)
        self.assertEqual(self.var.get(), "default")

    def test_context_run_wants_a_callable(self):
        t = tasklet(nothing)
        with self.assertRaisesRegex(
                TypeError, r"run\(\) missing 1 required positional argument"):
            t.context_run()
        with self.assertRaises(TypeError):
            t.context_run(1)

    def test_a_context_is_used_by_two_tasklets(self):
        # It is not "entered" by being a tasklet's: both may use it.
        var = self.var
        ctx = contextvars.Context()
        seen = []

        def task(name):
            seen.append(var.get())
            var.set(name)
            schedule()
        tasklet(task).set_context(ctx)("a")
        tasklet(task).set_context(ctx)("b")
        stackless.run()
        self.assertIn(seen, (["default", "a"], ["default", "b"])[:1 + SHUFFLED])

    def test_caches_of_variables_do_not_lie(self):
        # ContextVar caches its last value per thread state.
        var = self.var
        seen = []

        def task(value):
            var.set(value)
            for i in range(5):
                if var.get() != value:
                    seen.append((value, var.get()))
                schedule()
        for i in range(5):
            tasklet(task).set_context(contextvars.Context())(i)
        stackless.run()
        self.assertEqual(seen, [])

    def test_unpicklable_state(self):
        ctx = contextvars.Context()
        t = tasklet(nothing).set_context(ctx)
        state = stackless._tasklet_get_unpicklable_state(t)
        self.assertIs(state["context"], ctx)
        with self.assertRaisesRegex(TypeError, "^Argument must be a tasklet$"):
            stackless._tasklet_get_unpicklable_state(1)


class Generators(StacklessTestCase):
    """Generators and coroutines that run within tasklets."""

    def test_a_generator_moved_between_tasklets(self):
        log = []

        def gen():
            for i in range(6):
                yield i

        def task(g):
            for i in range(3):
                log.append(next(g))
                schedule()
        g = gen()
        tasklet(task)(g)
        tasklet(task)(g)
        stackless.run()
        self.assertEqual(log, list(range(6)))

    @needs_order
    def test_next_in_a_running_generator_of_another_tasklet(self):
        log = []

        def gen():
            schedule()
            yield 1

        def first(g):
            for x in g:
                log.append(x)

        def second(g):
            try:
                next(g)
            except ValueError as e:
                log.append(str(e))
        g = gen()
        tasklet(first)(g)
        tasklet(second)(g)
        stackless.run()
        self.assertEqual(log, ["generator already executing", 1])

    def test_switch_in_a_for_loop_over_a_generator(self):
        log = []

        def gen(name):
            for i in range(3):
                schedule()
                yield name + str(i)

        def task(name):
            for x in gen(name):
                log.append(x)
        tasklet(task)("a")
        tasklet(task)("b")
        stackless.run()
        self.assertTurns(log, "a0 b0 a1 b1 a2 b2".split())

    def test_yield_from_across_a_switch(self):
        log = []

        def inner(name):
            for i in range(2):
                schedule()
                x = yield name + str(i)
                log.append(x)
            return name

        def outer(name):
            log.append((yield from inner(name)))

        def task(name):
            for x in outer(name):
                log.append(x)
        # The first round is for the interpreter to specialise the code.
        for i in range(100):
            tasklet(task)("")
            stackless.run()
        del log[:]
        tasklet(task)("a")
        tasklet(task)("b")
        stackless.run()
        self.assertEqual(sorted(map(str, log)), sorted(
            ["a0", "None", "a1", "None", "a", "b0", "None", "b1", "None", "b"]))

    def test_generator_suspended_in_a_dropped_tasklet(self):
        log = []

        def gen():
            try:
                yield 1
                log.append("resumed")
            finally:
                log.append("closed")

        def task():
            g = gen()
            log.append(next(g))
            schedule_remove(None)
        t = self.paused(task)
        self.assertEqual(log, [1])
        del t
        self.assertEqual(log, [1, "closed"])

    @needs_soft
    def test_generator_running_in_a_dropped_tasklet(self):
        # The frame that waits in schedule_remove(None) is the generator's.
        log = []

        def gen():
            try:
                schedule_remove(None)
                yield 1
            finally:
                log.append("finally")

        def task():
            for x in gen():
                pass
        t = self.paused(task)
        self.assertTrue(t.paused)
        del t
        # Frames of a collected tasklet vanish without their finally blocks.
        self.assertEqual(log, [])

    def test_coroutines_are_driven_in_tasklets(self):
        log = []

        async def inner(name):
            schedule()
            log.append(name)
            return name

        async def outer(name):
            return await inner(name) + await inner(name)

        def task(name):
            coro = outer(name)
            try:
                coro.send(None)
            except StopIteration as e:
                log.append(e.value)
        for name in "ab":
            task(name)          # in main, where any C frame is no matter
        self.assertEqual(log, ["a", "a", "aa", "b", "b", "bb"])

    def test_an_asyncio_program_in_main_with_tasklets(self):
        import asyncio
        log = []

        def worker(name):
            for i in range(2):
                log.append(name + str(i))
                schedule()

        async def main():
            tasklet(worker)("a")
            tasklet(worker)("b")
            while stackless.runcount > 1:
                schedule()
                await asyncio.sleep(0)
        asyncio.run(main())
        self.assertTurns(log, "a0 b0 a1 b1".split())

    def test_an_asyncio_program_in_a_tasklet(self):
        import asyncio
        log = []

        async def main():
            await asyncio.sleep(0)
            log.append("asyncio")
        t = tasklet(asyncio.run)(main())
        stackless.run()
        self.assertEqual(log, ["asyncio"])
        self.assertDead(t)

    def test_async_generator_in_a_tasklet(self):
        log = []

        async def agen():
            try:
                for i in range(3):
                    yield i
            finally:
                log.append("closed")

        async def consume():
            async for x in agen():
                log.append(x)

        def task():
            try:
                consume().send(None)
            except StopIteration:
                log.append("done")
        self.run_tasklet(task)
        self.assertEqual(log, [0, 1, 2, "closed", "done"])


class WithStatements(StacklessTestCase):

    def test_suspended_in_the_body(self):
        log = []

        class Manager:
            def __init__(self, name):
                self.name = name

            def __enter__(self):
                log.append("enter " + self.name)
                return self.name

            def __exit__(self, cls, e, tb):
                log.append("exit " + self.name)

        def task(name):
            with Manager(name) as x, Manager(name + "2"):
                schedule()
                log.append(x)
        tasklet(task)("a")
        tasklet(task)("b")
        stackless.run()
        self.assertTurns(log, ["enter a", "enter a2", "enter b", "enter b2",
                               "a", "exit a2", "exit a",
                               "b", "exit b2", "exit b"])

    def test_killed_in_the_body(self):
        log = []

        class Manager:
            def __enter__(self):
                pass

            def __exit__(self, cls, e, tb):
                log.append((cls.__name__, tb.tb_frame.f_code.co_name))

        def task():
            with Manager():
                schedule_remove()
        t = self.paused(task)
        t.kill()
        self.assertEqual(log, [("TaskletExit", "task")])

    def test_exit_swallows_a_thrown_exception(self):
        log = []

        class Manager:
            def __enter__(self):
                pass

            def __exit__(self, cls, e, tb):
                return cls is Error

        def task():
            with Manager():
                schedule_remove()
            log.append("after")
        t = self.paused(task)
        t.throw(Error)
        self.assertEqual(log, ["after"])

    @needs_order
    def test_lock_held_over_a_switch(self):
        import threading
        lock = threading.Lock()
        log = []

        def holder():
            with lock:
                schedule()
                log.append("holder")

        def other():
            log.append(lock.acquire(blocking=False))
        tasklet(holder)()
        tasklet(other)()
        stackless.run()
        self.assertEqual(log, [False, "holder"])
        self.assertFalse(lock.locked())

    def test_channel_in_the_body(self):
        ch = channel()
        log = []

        def task():
            with self.subTest(), stackless.atomic():
                log.append(ch.receive())
        tasklet(task)().run()
        ch.send(1)
        self.assertEqual(log, [1])


if __name__ == "__main__":
    unittest.main()
