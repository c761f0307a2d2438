"""Tasks of asyncio whose event loop runs in a tasklet."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import os
import sys
import threading
import traceback
import types
import unittest
import weakref

import _asyncio
import stackless
from stackless import channel, schedule, tasklet

from . import support
from .asyncio_support import AsyncioTestCase, Error, Loop
from .support import ChildTestCase, needs_soft, needs_testcapi


class Steps(AsyncioTestCase):

    def test_the_first(self):
        async def main():
            return self.switch("result")
        self.assertEqual(self.outcome(main()), "result")

    def test_all_kinds(self):
        async def inner():
            await asyncio.sleep(0)
            return self.switch(3)

        async def main():
            loop = asyncio.get_running_loop()
            result = [self.switch(0)]
            await asyncio.sleep(0)                      # a bare yield
            result.append(self.switch(1))
            future = loop.create_future()
            loop.call_soon(future.set_result, None)
            await future
            result.append(self.switch(2))
            result.append(await inner())
            result.append(await asyncio.create_task(inner()))
            await asyncio.sleep(0.001)
            result.append(self.switch(4))
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(inner()) for i in range(2)]
            return result + [task.result() for task in tasks]
        log = []
        t = self.run_in_tasklet(main(), log)
        switches = 0
        while t.alive:
            self.assertSuspended(t)
            switches += 1
            t.run()
        self.assertEnded(t)
        self.assertEqual(log, [[0, 1, 2, 3, 3, 4, 3, 3]])
        self.assertEqual(switches, 8)

    def test_a_future_that_is_not_of_asyncio(self):
        # Woken with an object whose result() is a Python function.
        class Future(asyncio.futures._PyFuture):
            pass

        async def main():
            future = Future(loop=self.loop)
            self.loop.call_soon(future.set_result, "result")
            value = await future
            schedule()
            return value
        log = []
        self.run_in_tasklet(main(), log)
        stackless.run()
        self.assertEqual(log, ["result"])

    def test_channels(self):
        ch = channel()
        log = []

        async def reader():
            await asyncio.sleep(0)
            while (item := ch.receive()) is not None:
                log.append(item)
                await asyncio.sleep(0)
            return "end"
        t = self.run_in_tasklet(reader(), log)
        stackless.run()
        for item in ("a", "b", None):
            self.assertEqual(ch.balance, -1)
            if support.SOFT:
                self.assertEqual(t.nesting_level, 0)
            ch.send(item)
            stackless.run()
        self.assertEqual(log, ["a", "b", "end"])
        self.assertEnded(t)

    def test_a_subclass_of_task(self):
        class Task(asyncio.Task):
            pass
        self.loop.set_task_factory(
            lambda loop, coro, **kwargs: Task(coro, loop=loop, **kwargs))

        async def main():
            self.assertIs(type(asyncio.current_task()), Task)
            return self.switch("result")
        self.assertEqual(self.outcome(main()), "result")

    def test_the_context_is_the_tasks(self):
        var = contextvars.ContextVar("var", default="outside")

        async def main():
            var.set("task")
            self.switch()
            return var.get()
        log = []
        t = self.run_in_tasklet(main(), log)
        self.assertSuspended(t)
        self.assertEqual(var.get(), "outside")
        t.run()
        self.assertEqual(log, ["task"])
        self.assertEqual(var.get(), "outside")

    def test_one_within_another(self):
        # Is refused as ever.
        async def other():
            pass

        async def main():
            task = self.loop.create_task(coro)
            task._log_destroy_pending = False
            return self.switch("result")
        coro = other()
        self.addCleanup(coro.close)
        log = []
        t = self.run_in_tasklet(main(), log)
        self.loop._run_once()
        self.assertEqual([type(e) for e in self.loop.reported], [RuntimeError])
        self.assertRegex(str(self.loop.reported[0]), "^Cannot enter into task .*other")
        self.assertSuspended(t)
        t.run()
        self.assertEqual(log, ["result"])
        self.assertEnded(t)

    def test_recursion(self):
        async def deep(n):
            if n:
                return await deep(n - 1)
            return self.switch("deep")

        async def main():
            return await deep(100)
        self.assertEqual(self.outcome(main()), "deep")

    def test_recursion_without_end(self):
        async def deep():
            await deep()

        async def main():
            await asyncio.sleep(0)
            try:
                await deep()
            except RecursionError:
                return self.switch("caught")
        self.assertEqual(self.outcome(main()), "caught")


class Outcomes(AsyncioTestCase):
    """How a step ends is up to the task, as if the tasklet had not been left."""

    def test_a_result(self):
        async def main():
            await asyncio.sleep(0)
            return self.switch(("a", "tuple"))
        self.assertEqual(self.outcome(main()), ("a", "tuple"))

    def test_an_exception(self):
        async def main():
            raise Error(self.switch(7))
        self.assertEqual(self.outcome(main()), (Error, (7,)))

    def test_stop_iteration(self):
        async def main():
            self.switch()
            raise StopIteration(1)
        self.assertEqual(self.outcome(main()),
                         (RuntimeError, ("coroutine raised StopIteration",)))

    def test_cancelled_error(self):
        async def main():
            self.switch()
            raise asyncio.CancelledError("of its own")
        self.assertEqual(self.outcome(main())[0], asyncio.CancelledError)
        self.assertTrue(self.current.cancelled())

    def test_exceptions_that_end_the_loop(self):
        for exc in (KeyboardInterrupt, SystemExit, TaskletExit):
            with self.subTest(exc=exc):
                async def main():
                    self.switch()
                    raise exc("end")
                self.assertEqual(self.outcome(main()), (exc, ("end",)))
                self.assertIs(type(self.current.exception()), exc)

    def test_a_bad_yield(self):
        class Bad:
            def __await__(self):
                yield "bad"

        async def main():
            try:
                self.switch()
                await Bad()
            except RuntimeError as e:
                return str(e)
        self.assertRegex(self.outcome(main()), "^Task got bad yield: 'bad'")

    def test_a_future_of_another_loop(self):
        other = Loop()
        self.addCleanup(other.close)

        async def main():
            self.switch()
            try:
                await other.create_future()
            except RuntimeError as e:
                return str(e)
        self.assertRegex(self.outcome(main()), "attached to a different loop")

    def test_a_task_that_awaits_itself(self):
        async def main():
            self.switch()
            try:
                await self.current
            except RuntimeError as e:
                return str(e)
        self.assertRegex(self.outcome(main()), "^Task cannot await on itself")

    def test_what_it_awaits_fails(self):
        async def main():
            future = self.loop.create_future()
            self.loop.call_soon(future.set_exception, Error("failed"))
            try:
                await future
            except Error as e:
                return self.switch(e.args)
        self.assertEqual(self.outcome(main()), ("failed",))

    def test_the_exception_handled_around_the_step_is_not_seen(self):
        async def main():
            self.switch()
            return sys.exception()

        def task():
            try:
                raise Error
            except Error:
                log.append(self.loop.run_until_complete(main()))
        log = []
        t = tasklet(task)()
        t.run()
        self.assertSuspended(t)
        t.run()
        self.assertEqual([type(e) for e in log], [Error])      # as without tasklets


class Exceptions(AsyncioTestCase):
    """Steps that begin with an exception."""

    def cancel_soon(self):
        task = asyncio.current_task()
        self.loop.call_soon(lambda: task.cancel("enough"))

    def test_cancelled(self):
        async def main():
            self.cancel_soon()
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError as e:
                return self.switch(e.args)
        self.assertEqual(self.outcome(main()), ("enough",))

    def test_cancelled_in_what_is_awaited(self):
        @types.coroutine
        def wait():
            self.cancel_soon()
            try:
                yield from self.loop.create_future()
            except asyncio.CancelledError:
                self.switch()
                raise Error("instead")

        class Manager:
            async def __aenter__(self):
                await asyncio.sleep(0)

            async def __aexit__(self, *args):
                await asyncio.sleep(0)

        async def inner():
            async with Manager():
                await wait()

        async def main():
            try:
                await inner()
            except Error as e:
                return type(e.__context__), e.__context__.args
        self.assertEqual(self.outcome(main()), (asyncio.CancelledError, ("enough",)))

    def test_cancelled_and_waiting_again(self):
        async def inner():
            for _ in range(3):
                try:
                    await asyncio.sleep(10)
                except asyncio.CancelledError:
                    self.switch()
                    await asyncio.sleep(0)
                    self.cancel_soon()
            return "result"

        async def main():
            self.cancel_soon()
            return await inner()
        log = []
        t = self.run_in_tasklet(main(), log)
        for _ in range(3):
            self.assertSuspended(t)
            t.run()
        self.assertEnded(t)
        self.assertEqual(log, ["result"])

    def test_cancelled_by_itself(self):
        async def main():
            asyncio.current_task().cancel("mine")
            try:
                await asyncio.sleep(0)                  # a bare yield
            except asyncio.CancelledError as e:
                return self.switch(e.args)
        self.assertEqual(self.outcome(main()), ("mine",))

    def test_cancelled_before_it_begins(self):
        async def never():
            log.append("begun")

        async def main():
            task = asyncio.create_task(never())
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                return self.switch("result")
        log = []
        self.assertEqual(self.outcome(main()), "result")
        self.assertEqual(log, [])

    def test_a_cancelled_future(self):
        async def main():
            future = self.loop.create_future()
            self.loop.call_soon(future.cancel)
            try:
                await future
            except asyncio.CancelledError:
                self.switch()
            return asyncio.current_task().cancelling()
        self.assertEqual(self.outcome(main()), 0)

    def test_a_failed_task(self):
        async def fails():
            await asyncio.sleep(0)
            raise Error("failed")

        async def main():
            try:
                await asyncio.create_task(fails())
            except Error as e:
                names = [f.name for f in traceback.extract_tb(e.__traceback__)]
                return self.switch((e.args, names))
        self.assertEqual(self.outcome(main()), (("failed",), ["main", "fails"]))

    def test_a_timeout(self):
        async def main():
            try:
                async with asyncio.timeout(0):
                    try:
                        await asyncio.sleep(10)
                    finally:
                        self.switch()
            except TimeoutError:
                return "timeout"
        self.assertEqual(self.outcome(main()), "timeout")

    def test_a_task_group(self):
        async def fails():
            await asyncio.sleep(0)
            raise Error("failed")

        async def waits():
            try:
                await asyncio.sleep(10)
            finally:
                self.switch()

        async def main():
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(waits())
                    group.create_task(fails())
            except* Error as e:
                result = e.exceptions[0].args
            return result
        self.assertEqual(self.outcome(main()), ("failed",))

    def test_generator_exit(self):
        # Is not thrown into what a coroutine awaits: that is closed.
        async def main():
            future = self.loop.create_future()
            self.loop.call_soon(future.set_exception, GeneratorExit("exit"))
            try:
                await self.waits(future)
            except GeneratorExit as e:
                schedule()
                return e.args
        log = []
        self.run_in_tasklet(main(), log)
        stackless.run()
        self.assertEqual(log, [("exit",)])

    @staticmethod
    async def waits(awaitable):
        return await awaitable

    def awaitable(self, throws):
        """Its method throw() is throws(exc)."""
        class Awaitable:
            def __init__(self, future):
                self.future = future

            def __await__(self):
                return self

            def __iter__(self):
                return self

            def __next__(self):
                self.future._asyncio_future_blocking = True
                return self.future

            def throw(self, exc):
                return throws(exc)
        return Awaitable(self.loop.create_future())

    def test_a_throw_in_python(self):
        def throws(exc):
            self.switch()
            raise Error("instead") from exc

        async def main():
            self.cancel_soon()
            try:
                await self.awaitable(throws)
            except Error as e:
                return type(e.__cause__)
        self.assertEqual(self.outcome(main()), asyncio.CancelledError)

    def test_a_throw_in_python_that_ends_the_awaiting(self):
        def throws(exc):
            raise StopIteration(self.switch("value"))

        async def main():
            self.cancel_soon()
            return await self.waits(self.awaitable(throws))
        self.assertEqual(self.outcome(main()), "value")

    def test_a_throw_in_python_that_waits_again(self):
        def throws(exc):
            if isinstance(exc, Error):
                raise exc
            future = self.loop.create_future()
            future._asyncio_future_blocking = True
            self.loop.call_soon(future.set_exception, Error(self.switch(exc.args)))
            return future

        async def main():
            self.cancel_soon()
            await self.waits(self.awaitable(throws))
        self.assertEqual(self.outcome(main()), (Error, (("enough",),)))

    def test_as_without_tasklets(self):
        """The exceptions look the same."""
        def describe(e):
            if e is None:
                return None
            return (type(e), e.args, [f.name for f in traceback.extract_tb(e.__traceback__)],
                    describe(e.__context__), describe(e.__cause__))

        async def fails():
            try:
                await asyncio.sleep(0)
                raise KeyError("failed")
            except KeyError as e:
                raise Error from e

        async def inner(log):
            try:
                raise IndexError
            except IndexError:
                self.cancel_soon()
                try:
                    await asyncio.sleep(10)
                except asyncio.CancelledError as e:
                    log.append(describe(e))
                    log.append(describe(sys.exception()))
                log.append(describe(sys.exception()))
                try:
                    await asyncio.create_task(fails())
                except Error as e:
                    log.append(describe(e))
                    raise OSError

        async def main():
            log = []
            try:
                await inner(log)
            except OSError as e:
                log.append(describe(e))
            log.append(sys.exception())
            return log
        expected = self.loop.run_until_complete(main())
        self.assertEqual(len(expected), 6)
        log = []
        self.run_in_tasklet(main(), log)
        self.assertEqual(log, [expected])

    @needs_soft
    def test_dropped(self):
        # Coroutines that are executing while an exception is thrown through them.
        class Held:
            pass

        async def inner():
            held = Held()
            refs.append(weakref.ref(held))
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                self.switch()

        async def middle():
            await inner()

        async def main():
            self.cancel_soon()
            await middle()
        refs = []
        self.addCleanup(sys.set_asyncgen_hooks, *sys.get_asyncgen_hooks())
        self.addCleanup(setattr, self.loop, "_thread_id", None)
        t = self.run_in_tasklet(main())
        self.assertSuspended(t)
        self.current._log_destroy_pending = False
        self.current = None
        del t
        gc.collect()
        self.assertIsNone(refs[0]())
        self.assertEqual(dict(_asyncio._current_tasks), {})


    @needs_soft
    def test_dropped_in_a_throw_in_python(self):
        # Its coroutine is suspended, and closed as any other.
        log = []

        async def main():
            self.cancel_soon()
            try:
                await self.waits(self.awaitable(self.switch))
            finally:
                log.append(sys.exception())
        self.addCleanup(sys.set_asyncgen_hooks, *sys.get_asyncgen_hooks())
        self.addCleanup(setattr, self.loop, "_thread_id", None)
        coro = main()
        t = self.run_in_tasklet(coro)
        self.assertSuspended(t)
        self.current._log_destroy_pending = False
        self.current = None
        self.assertTrue(coro.cr_running)
        del t
        gc.collect()
        self.assertFalse(coro.cr_running)
        self.assertEqual(dict(_asyncio._current_tasks), {})
        coro.close()
        self.assertEqual(log, [])


class Cancelling(AsyncioTestCase):

    def cancelled_during(self, main):
        log = []
        t = self.run_in_tasklet(main(), log)
        self.assertSuspended(t)
        self.assertTrue(self.current.cancel("enough"))
        self.assertEqual(self.current.cancelling(), 1)
        t.run()
        self.assertEnded(t)
        return log[0]

    def test_a_step_that_ends_the_task(self):
        async def main():
            return self.switch("result")
        self.assertEqual(self.cancelled_during(main), (asyncio.CancelledError, ("enough",)))
        self.assertTrue(self.current.cancelled())

    def test_a_step_that_goes_on_to_wait(self):
        async def main():
            self.switch()
            try:
                await self.loop.create_future()
            except asyncio.CancelledError:
                return "caught"
        self.assertEqual(self.cancelled_during(main), "caught")

    def test_a_step_that_yields(self):
        async def main():
            self.switch()
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError as e:
                return e.args
        self.assertEqual(self.cancelled_during(main), ("enough",))

    def test_a_step_that_fails(self):
        async def main():
            self.switch()
            raise Error
        self.assertEqual(self.cancelled_during(main), (Error, ()))

    def test_a_timeout(self):
        async def main():
            try:
                async with asyncio.timeout(0):
                    self.switch()
                    await asyncio.sleep(10)
            except TimeoutError:
                return "timeout"
        self.assertEqual(self.outcome(main()), "timeout")

    def test_a_task_that_was_ended_from_outside(self):
        # Future's methods are not for tasks; the step finds the task done.
        async def main():
            self.switch()
            return "result"
        log = []
        t = self.run_in_tasklet(main(), log)
        self.assertSuspended(t)
        asyncio.Future.set_result(self.current, "outside")
        self.assertEqual(self.current.result(), "outside")
        t.run()
        self.assertEqual(log, ["outside"])
        self.assertEqual([type(e) for e in self.loop.reported],
                         [asyncio.InvalidStateError])
        self.assertEnded(t)


class Loops(AsyncioTestCase):
    """The running loop and its task are those of the thread, not of the tasklet."""

    def test_seen_by_other_tasklets(self):
        async def main():
            self.switch()
        t = self.run_in_tasklet(main())
        seen = []

        def look():
            seen.append(asyncio.get_running_loop())
            seen.append(asyncio.current_task())
        self.run_tasklet(look)
        self.assertEqual(seen, [self.loop, self.current])
        t.run()
        self.assertEnded(t)

    def test_a_second_one_is_refused(self):
        async def main():
            self.switch()

        async def nothing():
            pass
        t = self.run_in_tasklet(main())
        other = Loop()
        self.addCleanup(other.close)
        with contextlib.closing(nothing()) as coro:
            with self.assertRaisesRegex(RuntimeError, "another loop is running"):
                other.run_until_complete(coro)
        self.assertSuspended(t)
        t.run()
        self.assertEnded(t)

    def test_a_second_one_whose_owner_hides_the_first(self):
        # Each loop has its own current task.
        async def main():
            self.switch("first")
            return asyncio.current_task()

        async def second():
            schedule()
            self.assertIs(asyncio.current_task(self.loop), self.current)
            return asyncio.current_task() is not self.current
        log = []
        t = self.run_in_tasklet(main(), log)
        asyncio._set_running_loop(None)
        other = Loop()
        self.addCleanup(other.close)
        u = tasklet(lambda: log.append(other.run_until_complete(second())))()
        stackless.run()
        self.assertDead(u)
        asyncio._set_running_loop(self.loop)
        t.run()
        self.assertEqual(log, [True, self.current])
        self.assertEnded(t)

    def loop_with_hash(self, action):
        class HashLoop(Loop):
            action = None

            def __hash__(self):
                if self.action is not None:
                    self.action()
                return 7

            def __eq__(self, other):
                return self is other
        self.loop = HashLoop()
        self.addCleanup(self.loop.close)
        self.addCleanup(setattr, self.loop, "action", None)

        def once():
            self.loop.action = None
            action()
        return once

    def test_a_hash_that_cancels_the_task(self):
        hash_action = self.loop_with_hash(lambda: self.task.cancel())

        async def main():
            self.task = asyncio.current_task()
            self.loop.call_soon(lambda: setattr(self.loop, "action", hash_action))
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                return self.switch("cancelled")
        self.assertEqual(self.outcome(main()), "cancelled")

    def test_a_hash_that_runs_the_coroutine_to_its_end(self):
        def action():
            with self.assertRaises(StopIteration):
                while True:
                    coro.send(None)
        hash_action = self.loop_with_hash(action)

        async def main():
            self.loop.call_soon(lambda: setattr(self.loop, "action", hash_action))
            await asyncio.sleep(0)
            return "result"
        coro = main()
        log = []
        t = self.run_in_tasklet(coro, log)
        self.assertEqual(
            log, [(RuntimeError, ("cannot reuse already awaited coroutine",))])
        self.assertEnded(t)

    def test_a_hash_that_fails(self):
        def action():
            raise Error
        hash_action = self.loop_with_hash(action)

        async def main():
            self.loop.call_soon(lambda: setattr(self.loop, "action", hash_action))
            self.loop.call_soon(lambda: self.loop.call_soon(self.loop.stop))
            await asyncio.sleep(0)
        log = []
        t = self.run_in_tasklet(main(), log)
        self.assertEqual([type(e) for e in self.loop.reported], [Error])
        self.assertEqual(log, [(RuntimeError,
                                ("Event loop stopped before Future completed.",))])
        self.assertEnded(t)
        for task in asyncio.all_tasks(self.loop):
            task._log_destroy_pending = False


class Ends(AsyncioTestCase):

    def test_killed(self):
        log = []

        async def main():
            try:
                self.switch()
            finally:
                log.append("finally")
        t = self.run_in_tasklet(main(), log)
        self.assertSuspended(t)
        t.kill()
        self.assertEqual(log, ["finally", (TaskletExit, ())])
        self.assertIs(type(self.current.exception()), TaskletExit)
        self.assertEnded(t)
        self.assertEqual(self.loop.run_until_complete(asyncio.sleep(0, "again")), "again")

    def test_thrown_into(self):
        async def main():
            try:
                self.switch()
            except Error as e:
                return e.args
        log = []
        t = self.run_in_tasklet(main(), log)
        t.throw(Error, 1)
        self.assertEqual(log, [(1,)])
        self.assertEnded(t)

    def vanished(self):
        self.loop.set_debug(False)     # it would keep what it was running
        # What the loop's run would have put back.
        self.addCleanup(sys.set_asyncgen_hooks, *sys.get_asyncgen_hooks())
        self.addCleanup(setattr, self.loop, "_thread_id", None)
        async def main():
            self.switch()
        t = self.run_in_tasklet(main())
        self.assertSuspended(t)
        self.assertIn(self.loop, _asyncio._current_tasks)
        self.current._log_destroy_pending = False
        return t

    @needs_soft
    def test_dropped(self):
        # It vanishes: no finally block runs; but its task is no longer the current one.
        t = self.vanished()
        del t
        gc.collect()
        self.assertEqual(dict(_asyncio._current_tasks), {})
        self.assertIsNone(asyncio._get_running_loop())
        self.assertFalse(self.current.done())
        task = weakref.ref(self.current)
        self.current = None
        gc.collect()
        self.assertIsNone(task())

    @needs_soft
    def test_dropped_and_another_one_run(self):
        t = self.vanished()
        del t
        gc.collect()
        self.assertEqual(asyncio.run(asyncio.sleep(0, "result")), "result")

    @needs_soft
    def test_dropped_when_another_loop_is_running(self):
        t = self.vanished()
        asyncio._set_running_loop(None)

        async def main():
            nonlocal t
            t = None
            gc.collect()
            return asyncio.get_running_loop()
        with asyncio.Runner() as runner:
            self.assertIs(runner.run(main()), runner.get_loop())
        self.assertEqual(dict(_asyncio._current_tasks), {})

    @needs_soft
    def test_dropped_by_another_thread(self):
        # The running loop is that of the tasklet's thread.
        dropped = threading.Event()
        seen = []

        def work():
            nonlocal t
            try:
                t = self.vanished()
                seen.append(asyncio._get_running_loop())
            finally:
                begun.set()
            dropped.wait()
            seen.append(asyncio._get_running_loop())

        async def main():
            nonlocal t
            thread.start()
            begun.wait()
            t = None
            gc.collect()
            dropped.set()
            thread.join()
            return asyncio.get_running_loop()
        begun = threading.Event()
        t = None
        thread = threading.Thread(target=work)
        with asyncio.Runner() as runner:
            self.assertIs(runner.run(main()), runner.get_loop())
        self.assertEqual(seen, [self.loop, None])

    @needs_soft
    def test_dropped_after_the_end_of_its_thread(self):
        t = None

        def work():
            nonlocal t
            t = self.vanished()
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        t = None
        gc.collect()
        self.assertEqual(dict(_asyncio._current_tasks), {})

    @needs_soft
    def test_dropped_when_another_task_has_taken_its_place(self):
        t = self.vanished()
        _asyncio._leave_task(self.loop, self.current)
        _asyncio._enter_task(self.loop, "other")
        del t
        gc.collect()
        self.assertEqual(dict(_asyncio._current_tasks), {self.loop: "other"})
        _asyncio._leave_task(self.loop, "other")

    @needs_soft
    def test_a_hash_that_fails_when_it_is_dropped(self):
        class HashLoop(Loop):
            fails = False

            def __hash__(self):
                if self.fails:
                    raise Error("hash")
                return 7
        self.loop = HashLoop()
        self.addCleanup(self.loop.close)
        t = self.vanished()
        self.loop.fails = True
        from test.support import catch_unraisable_exception
        with catch_unraisable_exception() as caught:
            del t
            gc.collect()
            self.assertIs(caught.unraisable.exc_type, Error)
        self.loop.fails = False
        _asyncio._leave_task(self.loop, self.current)


class Module(ChildTestCase):

    def test_it_is_where_upstreams_is(self):
        import _bisect
        self.assertEqual(_asyncio.__name__, "_asyncio")
        self.assertEqual(hasattr(_asyncio, "__file__"), hasattr(_bisect, "__file__"))
        if hasattr(_asyncio, "__file__"):
            self.assertEqual(os.path.basename(_asyncio.__file__),
                             os.path.basename(_bisect.__file__).replace("bisect", "asyncio"))
        self.assertIs(asyncio.Task, _asyncio.Task)

    def test_wrong_calls(self):
        # What an event loop calls, called otherwise.
        self.assertEqual(self.run_ok("""
            import asyncio, contextvars, stackless
            class Loop(asyncio.SelectorEventLoop):
                def call_soon(self, callback, *args, context=None):
                    step.append(callback)
            step = []
            loop = Loop()
            async def main():
                return 1
            task = asyncio.Task(main(), loop=loop)
            step = step[0]
            def tasklet():
                run = contextvars.Context().run
                for args, kwargs in [((1,), {}), ((), {'a': 1})]:
                    try:
                        run(step, *args, **kwargs)
                    except TypeError as e:
                        print(e)
                run(step)
                try:
                    run(step)
                except asyncio.InvalidStateError as e:
                    print('already done' in str(e))
                print(task.result())
            stackless.tasklet(tasklet)()
            stackless.run()
            loop.close()
            """), "function takes no positional arguments\n"
                  "function takes no keyword arguments\nTrue\n1\n")

    def test_several_interpreters(self):
        for config in ("isolated", "legacy"):
            with self.subTest(config=config):
                self.run_ok(f"""
                    import _interpreters
                    source = '''if True:
                        import asyncio, stackless
                        async def main():
                            await asyncio.sleep(0)
                            return stackless.schedule_remove(1)
                        t = stackless.tasklet(asyncio.run)(main())
                        t.run()
                        assert t.paused
                        t.run()
                        assert not t.alive
                        '''
                    for i in range(3):
                        interp = _interpreters.create({config!r})
                        exc = _interpreters.exec(interp, source)
                        assert exc is None, exc.formatted
                        _interpreters.destroy(interp)
                        exec(source)
                    """)

    @needs_testcapi
    def test_no_memory(self):
        # Wherever it ends, the step of a task is whole: not begun, or the task has its
        # outcome; and the loop has no current task any more.
        self.run_survives("""
            import asyncio, contextvars, sys, _asyncio, _testcapi, stackless
            class Loop(asyncio.SelectorEventLoop):
                def call_soon(self, callback, *args, context=None):
                    steps.append((callback, args))
            loop = Loop()
            async def main():
                stackless.schedule()
                await asyncio.sleep(0)
                stackless.schedule()
                return 1
            async def cancelled():
                asyncio.current_task(loop).cancel()
                try:
                    await inner()
                except asyncio.CancelledError:
                    stackless.schedule()
                    return 1
            async def inner():
                await asyncio.sleep(0)
            def attempt(main, n):
                global steps
                steps = []
                # Upstream's PyDict_SetDefaultRef() of 3.13.5 does not say that there was
                # no memory for a new entry: there is room for it.
                _asyncio._current_tasks.clear()
                others = {"another loop": None} if sys.version_info < (3, 13, 15) else {}
                _asyncio._current_tasks.update(others)
                coro = main()
                task = asyncio.Task(coro, loop=loop)
                outcome = None
                def tasklet():
                    nonlocal outcome
                    run = contextvars.Context().run
                    _testcapi.set_nomemory(n, n + 1)
                    try:
                        for i in 0, 1:
                            callback, args = steps[i]
                            run(callback, *args)
                    except MemoryError:
                        outcome = "failed"
                    except IndexError:
                        outcome = "not woken"
                    _testcapi.remove_mem_hooks()
                t = stackless.tasklet(tasklet)()
                stackless.run()
                assert not t.alive
                assert _asyncio._current_tasks == others, n
                if task.done():
                    if task.exception() is None:
                        assert task.result() == 1
                        return outcome is None
                    # Upstream's take_ownership() may lose what is raised, in main as well.
                    assert type(task.exception()) is MemoryError or (
                        str(task.exception()) == "error return without exception set"), n
                else:
                    assert outcome is not None, n
                    task._log_destroy_pending = False
                coro.close()
                return False
            for function in main, cancelled:
                for i in range(20):
                    assert attempt(function, 10 ** 6)
                n = done = 0
                while done < 10:
                    done = done + 1 if attempt(function, n) else 0
                    n += 1
                assert n > 15, n
            loop.close()
            print("survived")
            """)

    def test_suspended_at_the_end(self):
        for end in ("", "sys.exit()", "del t; gc.collect()", "t.kill()"):
            for how in ("main(coro)", "main(eager)", "threaded(coro)", "threaded(eager)"):
                with self.subTest(end=end, how=how):
                    self.run_survives(f"""
                        import asyncio, gc, stackless, sys, threading
                        async def coro():
                            await asyncio.sleep(0)
                            stackless.schedule_remove(1)
                        async def eager():
                            loop = asyncio.get_running_loop()
                            await asyncio.Task(first(), loop=loop, eager_start=True)
                        async def first():
                            stackless.schedule_remove(1)
                        def main(function):
                            global t
                            t = stackless.tasklet(asyncio.run)(function())
                            t.run()
                            assert t.paused
                        def threaded(function):
                            thread = threading.Thread(target=main, args=(function,))
                            thread.start()
                            thread.join()
                        {how}
                        print("survived", flush=True)
                        {end}
                        """)


if __name__ == "__main__":
    unittest.main()
