"""Eager tasks of asyncio, whose first step is a part of making them, in tasklets."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import sys
import unittest
import weakref

import _asyncio
import stackless
from stackless import schedule, schedule_remove, tasklet

from . import support
from .asyncio_support import AsyncioTestCase, Error, Loop
from .support import ChildTestCase, needs_soft, needs_testcapi


class Eager(AsyncioTestCase):

    def setUp(self):
        super().setUp()
        self.loop.set_task_factory(asyncio.eager_task_factory)

    def assertEnded(self, t):
        super().assertEnded(t)
        self.assertEqual(_asyncio._eager_tasks, set())

    def outcome_of_eager(self, coro, after=None):
        """(made, task, outcome) of a task that switches in its first step."""
        outcome = []

        async def main():
            before = asyncio.current_task()
            try:
                task = self.loop.create_task(coro)
            except BaseException as e:
                outcome[:] = False, self.current, e
                return
            finally:
                self.assertIs(asyncio.current_task(), before)
                self.assertEqual(_asyncio._eager_tasks, set())
            try:
                outcome[:] = True, task, await task
            except BaseException as e:
                outcome[:] = True, task, e
        t = self.run_in_tasklet(self.not_eagerly(main()))
        self.assertSuspended(t)
        self.assertEqual(_asyncio._eager_tasks, {self.current})
        t.run()
        self.assertEnded(t)
        made, task, result = outcome
        self.assertIs(task, self.current)
        return made, result

    async def not_eagerly(self, coro):
        # Its task is made outside, and so has not begun eagerly.
        return await coro

    def test_a_result(self):
        async def eager():
            return self.switch("result")
        self.assertEqual(self.outcome_of_eager(eager()), (True, "result"))
        self.assertIsNone(self.current.get_coro())

    def test_an_exception(self):
        async def eager():
            raise Error(self.switch(7))
        made, e = self.outcome_of_eager(eager())
        self.assertTrue(made)
        self.assertEqual((type(e), e.args), (Error, (7,)))

    def test_it_waits(self):
        async def eager():
            result = self.switch("result")
            self.assertIn(asyncio.current_task(), _asyncio._eager_tasks)
            await asyncio.sleep(0)
            self.assertEqual(_asyncio._eager_tasks, set())
            return result
        self.assertEqual(self.outcome_of_eager(eager()), (True, "result"))
        self.assertIsNotNone(self.current.get_coro())

    def test_it_is_cancelled_within_its_first_step(self):
        async def eager():
            self.switch()
            asyncio.current_task().cancel("enough")
            await asyncio.sleep(10)
        made, e = self.outcome_of_eager(eager())
        self.assertEqual((made, type(e), e.args), (True, asyncio.CancelledError, ("enough",)))

    def test_exceptions_that_end_the_loop(self):
        # They come from the call that makes the task, which has them, too.
        for exc in (KeyboardInterrupt, SystemExit):
            with self.subTest(exc=exc):
                async def eager():
                    self.switch()
                    raise exc("end")
                made, e = self.outcome_of_eager(eager())
                self.assertEqual((made, type(e), e.args), (False, exc, ("end",)))
                self.assertIs(self.current.exception(), e)
                self.current = None

    def test_tasks_that_make_tasks(self):
        async def eager(n):
            if n:
                current = asyncio.current_task()
                task = self.loop.create_task(eager(n - 1))
                self.assertIs(asyncio.current_task(), current)
                return await task + 1
            return self.switch(0)
        log = []
        t = self.run_in_tasklet(eager(30), log)
        self.assertSuspended(t)
        self.assertEqual(len(_asyncio._eager_tasks), 30)
        t.run()
        self.assertEqual(log, [30])
        self.assertEnded(t)

    def test_recursion_without_end(self):
        async def eager():
            try:
                await self.loop.create_task(eager())
            except RecursionError:
                self.switch()
                raise

        async def main():
            try:
                await self.loop.create_task(eager())
            except RecursionError:
                return "caught"
        log = []
        t = self.run_in_tasklet(main(), log)
        while t.alive:
            t.run()
        self.assertEqual(log, ["caught"])
        self.assertEnded(t)

    def test_the_context_is_the_tasks(self):
        var = contextvars.ContextVar("var", default="outside")

        async def eager():
            var.set("task")
            self.switch()
            return var.get()

        async def main():
            task = self.loop.create_task(eager())
            return var.get(), await task
        self.assertEqual(self.outcome(main()), ("outside", "task"))

    def test_a_name_and_a_context(self):
        class Name:
            def __str__(self):
                return "name"
        var = contextvars.ContextVar("var")

        async def eager():
            var.set(self.switch("set"))

        async def main():
            context = contextvars.copy_context()
            task = self.loop.create_task(eager(), name=Name(), context=context)
            await task
            return task.get_name(), task.get_context() is context, context[var]
        self.assertEqual(self.outcome(main()), ("name", True, "set"))

    def test_names_are_numbered(self):
        async def eager():
            self.switch()

        async def main():
            tasks = [asyncio.Task(asyncio.sleep(0), loop=self.loop),
                     asyncio.Task(asyncio.sleep(0), loop=self.loop, eager_start=True),
                     asyncio.Task(eager(), loop=self.loop, name=None, eager_start=True)]
            await asyncio.gather(*tasks)
            return [int(task.get_name().removeprefix("Task-")) for task in tasks]
        first, *others = self.outcome(main())
        self.assertEqual(others, [first + 1, first + 2])

    def test_all_tasks(self):
        async def eager():
            self.switch()
            seen.append(asyncio.current_task() in asyncio.all_tasks())
            await asyncio.sleep(0)
            seen.append(asyncio.current_task() in asyncio.all_tasks())

        async def main():
            await self.loop.create_task(eager())
        seen = []
        self.outcome(main())
        self.assertEqual(seen, [True, True])

    def test_subclasses(self):
        class Task(asyncio.Task):
            pass

        class Made(asyncio.Task):
            def __new__(cls, *args, **kwargs):
                return super().__new__(cls)

        class Initialized(asyncio.Task):
            def __init__(self, coro, **kwargs):
                super().__init__(coro, **kwargs)

        async def eager():
            schedule()
            await asyncio.sleep(0)
            schedule()
            return asyncio.current_task()

        async def main(cls):
            self.loop.set_task_factory(asyncio.create_eager_task_factory(cls))
            task = self.loop.create_task(eager())
            self.assertIs(type(task), cls)
            return await task is task
        for cls in (Task, Made, Initialized):
            with self.subTest(cls=cls):
                log = []
                t = self.run_in_tasklet(main(cls), log)
                stackless.run()
                self.assertEqual(log, [True])
                self.assertEnded(t)

    def test_a_subclass_is_left_softly(self):
        class Task(asyncio.Task):
            pass

        async def eager():
            return self.switch("result")
        self.loop.set_task_factory(asyncio.create_eager_task_factory(Task))
        self.assertEqual(self.outcome_of_eager(eager()), (True, "result"))
        self.assertIs(type(self.current), Task)

    def test_ways_to_call(self):
        async def eager():
            return self.switch("result")
        ways = {
            "keywords": lambda coro: asyncio.Task(coro, loop=self.loop, eager_start=True),
            "in another order": lambda coro: asyncio.Task(
                coro, eager_start=True, name="name", loop=self.loop),
            "dict": lambda coro: asyncio.Task(
                coro, **{"loop": self.loop, "eager_start": True}),
            "class in a context": lambda coro: contextvars.copy_context().run(
                asyncio.Task, coro, loop=self.loop, eager_start=True),
        }
        for name, way in ways.items():
            with self.subTest(way=name):
                self.loop.set_task_factory(lambda loop, coro, **kwargs: way(coro))
                self.assertEqual(self.outcome_of_eager(eager()), (True, "result"))

    def test_wrong_calls(self):
        # They say what they ever said.
        async def coro():
            pass

        def messages():
            result = []
            for args, kwargs in [
                    ((), {}), ((1,), {}), ((1, 2), {}), ((None,), {"unknown": 1}),
                    ((), {"loop": self.loop}), ((None,), {"loop": None}),
                    ((None,), {"loop": 1}), ((None,), {"loop": Unready()}),
                    ((None,), {"name": Unnamed()})]:
                args = [coro() if arg is None else arg for arg in args]
                try:
                    asyncio.Task(*args, **{"loop": self.loop, "eager_start": True, **kwargs})
                except Exception as e:
                    result.append((type(e), e.args))
                else:
                    result.append(None)
                for arg in args:
                    if hasattr(arg, "close"):
                        arg.close()
            return result

        class Unnamed:
            def __str__(self):
                raise Error("no name")

        class Unready:
            def get_debug(self):
                return False

            def is_running(self):
                raise Error("is_running")

        async def main():
            return messages()
        expected = self.loop.run_until_complete(main())
        self.assertNotIn(None, expected)
        log = []
        t = self.run_in_tasklet(main(), log)
        self.assertEqual(log, [expected])
        self.assertEnded(t)

    def test_a_context_that_cannot_be_entered(self):
        # Upstream's would leave the new task as the current one.
        async def main():
            before = asyncio.current_task()
            for context, error in (before.get_context(), RuntimeError), (1, TypeError):
                with contextlib.closing(asyncio.sleep(0)) as coro:
                    with self.assertRaises(error):
                        self.loop.create_task(coro, context=context)
                self.assertIs(asyncio.current_task(), before)
                self.assertEqual(_asyncio._eager_tasks, set())
            return self.switch("result")
        self.assertEqual(self.outcome(main()), "result")

    def test_a_loop_that_is_not_running(self):
        async def coro():
            return self.switch("result")

        def task():
            made.append(self.loop.create_task(coro()))
        made = []
        self.run_tasklet(task)
        self.assertEqual(_asyncio._current_tasks, {})
        self.assertIn(made[0], asyncio.all_tasks(self.loop))
        self.assertEqual(self.outcome(made[0]), "result")

    def test_made_in_another_tasklet(self):
        # While the loop's tasklet is paused, in a step of a task.
        async def main():
            self.switch()
            return await made[0]

        async def eager():
            seen.append(asyncio.current_task())
            schedule_remove()
            seen.append(asyncio.current_task())
            await asyncio.sleep(0)
            return "result"
        made = []
        seen = []
        log = []
        t = self.run_in_tasklet(main(), log)
        u = tasklet(lambda: made.append(self.loop.create_task(eager())))()
        u.run()
        if support.SOFT:
            self.assertEqual(u.nesting_level, 0)
        self.assertIs(asyncio.current_task(self.loop), seen[0])
        u.run()
        self.assertDead(u)
        self.assertEqual(seen, made * 2)
        self.assertSuspended(t)
        t.run()
        self.assertEqual(log, ["result"])
        self.assertEnded(t)

    def test_a_loop_that_meddles(self):
        # is_running() may do anything with the new task: then upstream's code goes on.
        def cancels(task):
            task.cancel("early")

        def ends(task):
            task.get_coro().close()

        def plain(task):
            pass

        class Task(asyncio.Task):
            pass

        class MeddlingLoop(Loop):
            action = None

            def is_running(self):
                action, self.action = self.action, None
                if action is not None:
                    for op in gc.get_objects():
                        if type(op) is Task and not op.done():
                            action(op)
                return super().is_running()

        async def eager():
            schedule()
            await asyncio.sleep(0)
            return "result"

        async def main(action):
            self.loop.set_task_factory(asyncio.create_eager_task_factory(Task))
            self.loop.action = action
            try:
                return await self.loop.create_task(eager())
            except asyncio.CancelledError as e:
                return e.args
            except RuntimeError as e:
                return str(e)
        for action, expected in [
                (plain, "result"), (cancels, ("early",)),
                (ends, "cannot reuse already awaited coroutine")]:
            with self.subTest(action=action.__name__):
                self.loop = MeddlingLoop()
                self.addCleanup(self.loop.close)
                log = []
                t = self.run_in_tasklet(main(action), log)
                stackless.run()
                self.assertEqual(log, [expected])
                self.assertEnded(t)
                gc.collect()

    def test_killed(self):
        # As any exception, it is the task's.
        async def eager():
            try:
                self.switch()
            finally:
                log.append("finally")

        async def main():
            await self.loop.create_task(eager())
        log = []
        t = self.run_in_tasklet(main(), log)
        t.kill()
        self.assertEqual(log, ["finally", (TaskletExit, ())])
        self.assertEnded(t)

    @needs_soft
    def test_dropped(self):
        async def eager(n):
            asyncio.current_task()._log_destroy_pending = False
            tasks.append(weakref.ref(asyncio.current_task()))
            contexts.append(asyncio.current_task().get_context())
            if n:
                await self.loop.create_task(eager(n - 1))
            self.switch()

        async def main():
            asyncio.current_task()._log_destroy_pending = False
            await self.loop.create_task(eager(2))
        tasks = []
        contexts = []
        self.addCleanup(sys.set_asyncgen_hooks, *sys.get_asyncgen_hooks())
        self.addCleanup(setattr, self.loop, "_thread_id", None)
        t = self.run_in_tasklet(main())
        self.assertSuspended(t)
        self.assertEqual(len(_asyncio._eager_tasks), 3)
        del t
        self.current = None
        gc.collect()
        self.assertEqual(_asyncio._eager_tasks, set())
        self.assertEqual(_asyncio._current_tasks, {})
        self.assertIsNone(asyncio._get_running_loop())
        self.assertEqual([ref() for ref in tasks], [None] * 3)
        # (They counted as entered for ever.)
        self.assertEqual([context.run(lambda: 5) for context in contexts], [5] * 3)

    @needs_soft
    def test_dropped_in_another_tasklet(self):
        # The loop's own goes on, with its task.
        async def main():
            self.switch()
            self.assertIs(asyncio.get_running_loop(), self.loop)
            return "result"

        async def eager():
            asyncio.current_task()._log_destroy_pending = False
            schedule_remove()
        log = []
        t = self.run_in_tasklet(main(), log)
        u = tasklet(lambda: self.loop.create_task(eager()))()
        u.run()
        self.assertIsNot(asyncio.current_task(self.loop), self.current)
        del u
        gc.collect()
        self.assertEqual(_asyncio._eager_tasks, set())
        self.assertSuspended(t)
        t.run()
        self.assertEqual(log, ["result"])
        self.assertEnded(t)


class NoMemory(ChildTestCase):

    @needs_testcapi
    def test_no_memory(self):
        # There is a task, or an exception; the loop's current task is who it was.
        self.run_survives("""
            import asyncio, _asyncio, _testcapi, stackless
            class Loop(asyncio.SelectorEventLoop):
                def call_soon(self, callback, *args, context=None):
                    pass
                def is_running(self):
                    return running
            running = False
            loop = Loop()
            loop.set_exception_handler(lambda loop, context: None)
            async def ends():
                stackless.schedule()
                return 1
            async def waits():
                stackless.schedule()
                await asyncio.sleep(0)
            def attempt(function, n, previous):
                before = {"another loop": None} | previous
                _asyncio._current_tasks.clear()
                _asyncio._current_tasks.update(before)
                coro = function()
                task = None
                def tasklet():
                    nonlocal task
                    _testcapi.set_nomemory(n, n + 1)
                    try:
                        task = asyncio.Task(coro, loop=loop, eager_start=True)
                    except MemoryError:
                        pass
                    _testcapi.remove_mem_hooks()
                t = stackless.tasklet(tasklet)()
                stackless.run()
                assert not t.alive
                assert _asyncio._current_tasks == before, n
                assert _asyncio._eager_tasks == set(), n
                coro.close()
                if task is None:
                    return False
                if not task.done():
                    task._log_destroy_pending = False
                    return True
                if task.exception() is None:
                    return task.result() == 1
                # Upstream's take_ownership() may lose what is raised, in main as well.
                assert type(task.exception()) is MemoryError or (
                    str(task.exception()) == "error return without exception set"), n
                return False
            for running in True, False:
                for function in ends, waits:
                    for previous in {}, {loop: "previous"}:
                        for i in range(20):
                            assert attempt(function, 10 ** 6, previous)
                        n = done = 0
                        while done < 10:
                            done = done + 1 if attempt(function, n, previous) else 0
                            n += 1
                        assert n > 10, n      # some have failed
            loop.close()
            print("survived")
            """)


if __name__ == "__main__":
    unittest.main()
