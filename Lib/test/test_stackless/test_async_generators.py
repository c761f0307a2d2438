"""Async generators: `await` of what their __anext__() and asend() return goes on in the eval loop
while a tasklet is current.  What it does must be what it does in main, through C code."""

import gc
import sys
import types
import unittest
import weakref

import stackless
from stackless import getcurrent, schedule, schedule_remove, tasklet

from .support import StacklessTestCase, needs_testcapi


@types.coroutine
def pause(value):
    """Awaited, it yields to whoever runs the coroutine.  The value is what that sends."""
    return (yield value)


def drive(coroutine, *sent):
    """Runs a coroutine: what it yields, and how it ends."""
    seen = []
    for value in (None, *sent):
        try:
            seen.append(coroutine.send(value))
        except StopIteration as e:
            seen.append(("returned", e.value))
            break
        except BaseException as e:
            seen.append((type(e).__name__, str(e), type(e.__context__).__name__))
            break
    coroutine.close()
    return seen


def in_tasklet(function, *args):
    results = []
    tasklet(lambda: results.append(function(*args)))()
    stackless.run()
    return results[0]


async def counting(n, log):
    try:
        for i in range(n):
            log.append((yield i))
    finally:
        log.append("end")


class SameAsInMain(StacklessTestCase):
    """Each scenario is run in main and in a tasklet."""

    def check(self, scenario, *sent):
        def attempt():
            log = []
            return log, drive(scenario(log), *sent)
        expected = attempt()
        self.assertNotEqual(expected[1], [])
        for _ in range(3):
            self.assertEqual(in_tasklet(attempt), expected)
        return expected

    def test_loop(self):
        async def scenario(log):
            return [x async for x in counting(4, log)]
        log, seen = self.check(scenario)
        self.assertEqual(seen, [("returned", [0, 1, 2, 3])])
        self.assertEqual(log, [None] * 4 + ["end"])

    def test_asend(self):
        async def scenario(log):
            gen = counting(3, log)
            return [await gen.asend(x) for x in (None, "a", "b")]
        log, seen = self.check(scenario)
        self.assertEqual(seen, [("returned", [0, 1, 2])])
        self.assertEqual(log, ["a", "b", "end"])

    def test_asend_to_one_that_has_not_begun(self):
        async def scenario(log):
            await counting(3, log).asend(1)
        self.assertEqual(self.check(scenario)[1][0][0], "TypeError")

    def test_anext(self):
        async def scenario(log):
            gen = counting(1, log)
            return [await anext(gen), await anext(gen, "default")]
        self.assertEqual(self.check(scenario)[1], [("returned", [0, "default"])])

    def test_end(self):
        async def scenario(log):
            gen = counting(0, log)
            for _ in range(2):
                try:
                    await anext(gen)
                except StopAsyncIteration as e:
                    log.append(repr(e))
        self.assertEqual(self.check(scenario)[0], ["end"] + ["StopAsyncIteration()"] * 2)

    def test_falsy_and_tuple_values(self):
        values = [None, (), (1, 2), StopIteration(1), StopIteration]

        async def gen():
            for value in values:
                yield value

        async def scenario(log):
            async for x in gen():
                log.append(x)
        self.assertEqual(self.check(scenario)[0], values)

    def test_it_awaits(self):
        async def gen(log):
            for i in range(2):
                log.append(await pause(i))
                yield i

        async def scenario(log):
            return [x async for x in gen(log)]
        log, seen = self.check(scenario, None, None)
        self.assertEqual(seen, [0, 1, ("returned", [0, 1])])
        # With values they are sent by a call of send().
        log, seen = self.check(scenario, "a", "b")
        self.assertEqual(log, ["a", "b"])

    def test_exceptions(self):
        for error in (ValueError("it"), StopIteration(1), StopAsyncIteration(2),
                      GeneratorExit(3), KeyboardInterrupt(4)):
            async def gen():
                yield 1
                raise error

            async def scenario(log):
                try:
                    async for x in gen():
                        log.append(x)
                except RuntimeError as e:
                    log.append((type(e.__cause__), str(e)))
                    raise
                finally:
                    log.append(type(sys.exception()))
            with self.subTest(error=error):
                self.assertEqual(self.check(scenario)[0][0], 1)

    def test_exception_thrown_in(self):
        async def gen(log):
            try:
                await pause(1)
            except ValueError as e:
                log.append(str(e))
            yield 2

        async def consume(log):
            async for x in gen(log):
                log.append(x)

        async def scenario(log):
            coroutine = consume(log)
            log.append(coroutine.send(None))
            try:
                coroutine.throw(ValueError("thrown"))
            except StopIteration:
                log.append("done")
        self.assertEqual(self.check(scenario)[0], [1, "thrown", 2, "done"])

    def test_already_running(self):
        async def gen(log):
            await pause(1)
            yield 2

        async def scenario(log):
            g = gen(log)
            first, second = anext(g), anext(g)
            log.append(first.send(None))
            for _ in range(2):
                try:
                    await second
                except RuntimeError as e:
                    log.append(str(e))
            try:
                await first
            except RuntimeError as e:
                log.append(str(e))
            return await anext(g, "closed")
        log = self.check(scenario)[0]
        self.assertIn("already running", log[1])
        self.assertIn("cannot reuse", log[2])

    def test_awaited_again(self):
        async def scenario(log):
            first = anext(counting(2, log))
            log.append(await first)
            await first
        self.assertIn("cannot reuse", self.check(scenario)[1][0][1])

    def test_awaits_itself(self):
        async def gen():
            yield await anext(g)

        async def scenario(log):
            nonlocal g
            g = gen()
            await anext(g)
        g = None
        self.assertIn("already running", self.check(scenario)[1][0][1])

    def test_closing(self):
        async def gen(log):
            try:
                yield 1
            finally:
                await pause("closing")
                log.append("closed")

        async def scenario(log):
            g = gen(log)
            log.append(await anext(g))
            await g.aclose()
            log.append(await anext(g, "none"))
        self.assertEqual(self.check(scenario, None)[0], [1, "closed", "none"])

    def test_athrow(self):
        async def gen(log):
            while True:
                try:
                    yield 1
                except ValueError as e:
                    log.append(str(e))

        async def scenario(log):
            g = gen(log)
            await anext(g)
            log.append(await g.athrow(ValueError("x")))
            log.append(await anext(g))
        self.assertEqual(self.check(scenario)[0], ["x", 1, 1])

    def test_chain(self):
        async def doubled(inner):
            async for x in inner:
                yield 2 * x

        async def scenario(log):
            inner = counting(3, log)
            for _ in range(50):
                inner = doubled(inner)
            return [x async for x in inner]
        self.assertEqual(self.check(scenario)[1], [("returned", [0, 2 ** 50, 2 ** 51])])

    def test_recursion_limit(self):
        async def nested(depth):
            async for x in nested(depth + 1):
                yield x

        async def scenario(log):
            try:
                async for x in nested(0):
                    pass
            except RecursionError:
                log.append("limit")
        self.assertEqual(self.check(scenario)[0], ["limit"])

    def test_exception_context(self):
        async def gen(log):
            log.append(type(sys.exception()))
            yield 1
            log.append(type(sys.exception()))

        async def scenario(log):
            try:
                raise KeyError
            except KeyError:
                async for x in gen(log):
                    log.append(type(sys.exception()))
        self.assertEqual(self.check(scenario)[0], [KeyError] * 3)

    def test_trace(self):
        async def gen():
            yield 1
            yield 2

        async def scenario(log):
            def trace(frame, event, arg):
                if frame.f_code.co_name in ("gen", "inner"):
                    kind = arg[0] if event == "exception" else type(arg)
                    log.append((frame.f_code.co_name, event, frame.f_lineno - first, kind))
                return trace

            async def inner():
                async for x in gen():
                    pass
            first = gen.__code__.co_firstlineno
            coroutine = inner()
            sys.settrace(trace)
            try:
                coroutine.send(None)
            except StopIteration:
                pass
            finally:
                sys.settrace(None)
        log = self.check(scenario)[0]
        self.assertEqual([(name, kind) for name, event, line, kind in log if event == "exception"],
                         [("inner", StopIteration)] * 2 + [("inner", StopAsyncIteration)])

    def test_monitoring(self):
        events = sys.monitoring.events
        tool = 4

        async def gen():
            yield 1

        async def scenario(log):
            async def inner():
                async for x in gen():
                    pass

            def note(name):
                def callback(code, *args):
                    if code.co_name in ("gen", "inner"):
                        log.append((name, code.co_name, type(args[-1]).__name__))
                return callback
            sys.monitoring.use_tool_id(tool, "test")
            try:
                names = ("PY_START", "PY_RESUME", "PY_YIELD", "PY_RETURN", "PY_UNWIND", "RAISE",
                         "STOP_ITERATION")
                for name in names:
                    sys.monitoring.register_callback(tool, getattr(events, name), note(name))
                sys.monitoring.set_events(tool, sum(getattr(events, name) for name in names))
                try:
                    inner().send(None)
                except StopIteration:
                    pass
            finally:
                sys.monitoring.set_events(tool, 0)
                sys.monitoring.free_tool_id(tool)
        log = self.check(scenario)[0]
        self.assertIn(("PY_YIELD", "gen", "async_generator_wrapped_value"), log)
        self.assertIn(("RAISE", "inner", "StopIteration"), log)


class Switches(StacklessTestCase):

    def test_softly(self):
        levels = []

        async def gen():
            for i in range(3):
                levels.append(getcurrent().nesting_level)
                schedule()
                yield i

        async def consume(results):
            async for x in gen():
                schedule()
                levels.append(getcurrent().nesting_level)
                results.append(x)
            results.append(await anext(gen()))
        lists = [[] for _ in range(3)]
        for results in lists:
            tasklet(lambda results: drive(consume(results)))(results)
        stackless.run()
        self.assertEqual(lists, [[0, 1, 2, 0]] * 3)
        self.assertEqual(set(levels), {0})

    def test_awaited_by_two(self):
        """While it waits in one tasklet, another one cannot go on with it."""
        async def gen():
            schedule_remove()
            yield 1

        async def consume(g):
            return await anext(g)
        g = gen()
        t = tasklet(lambda: results.append(drive(consume(g))))
        results = []
        t()
        stackless.run()
        self.assertIn("already running", in_tasklet(drive, consume(g))[0][1])
        self.assertIn("already running", drive(consume(g))[0][1])
        t.insert()
        stackless.run()
        self.assertEqual(results, [[("returned", 1)]])

    def test_killed(self):
        log = []

        async def gen():
            try:
                schedule_remove()
                yield 1
            finally:
                log.append("end")

        g = gen()
        t = tasklet(lambda: exhaust(g).send(None))()
        stackless.run()
        self.assertTrue(g.ag_running)
        t.kill()
        self.assertEqual(log, ["end"])
        self.assertFalse(g.ag_running)
        self.assertEqual(drive(anext_or(g, "none")), [("returned", "none")])

    def test_dropped(self):
        """Without a reference to the tasklet its frames go, too."""
        async def gen():
            schedule_remove()
            yield 1

        g = gen()
        t = tasklet(lambda: exhaust(g).send(None))()
        stackless.run()
        alive = weakref.ref(t)
        del t
        gc.collect()
        self.assertIsNone(alive())
        self.assertFalse(g.ag_running)
        self.assertEqual(drive(anext_or(g, "none")), [("returned", "none")])

    @needs_testcapi
    def test_out_of_memory(self):
        import _testcapi

        async def gen():
            for i in range(3):
                yield i

        async def consume():
            return [x async for x in gen()]

        def attempt(n):
            coroutine = consume()
            _testcapi.set_nomemory(n, n + 1)
            try:
                coroutine.send(None)
            except StopIteration as e:
                _testcapi.remove_mem_hooks()
                return e.value
            except MemoryError:
                return "failed"
            finally:
                _testcapi.remove_mem_hooks()
        results = in_tasklet(lambda: [attempt(n) for n in range(40)])
        self.assertIn("failed", results)
        self.assertEqual(results[-1], [0, 1, 2])
        self.assertEqual([r for r in results if r not in ("failed", [0, 1, 2])], [])


async def exhaust(gen):
    async for x in gen:
        pass


async def anext_or(gen, default):
    return await anext(gen, default)


if __name__ == "__main__":
    unittest.main()
