"""Generators, coroutines and greenlets."""

import asyncio
import itertools
import unittest

from greenlet import GreenletExit, getcurrent, greenlet

from .support import Error, GreenletTestCase, switch_back


class Running(GreenletTestCase):

    def test_switch_out_of_a_generator(self):
        def numbers():
            for i in range(3):
                yield switch_back(i)
        g = greenlet(lambda: list(numbers()))
        self.assertEqual([g.switch(), g.switch("a"), g.switch("b")], [0, 1, 2])
        self.assertEqual(g.switch("c"), ["a", "b", "c"])

    def test_left_running(self):
        def numbers():
            yield switch_back()
        gen = numbers()
        g = greenlet(lambda: next(gen))
        g.switch()
        self.assertTrue(gen.gi_running)
        for function in (lambda: next(gen), lambda: gen.send(None), lambda: gen.throw(Error),
                         gen.close):
            with self.assertRaisesRegex(ValueError, "^generator already executing$"):
                function()
        self.assertEqual(g.switch(5), 5)
        self.assertFalse(gen.gi_running)
        self.assertEqual(list(gen), [])

    def test_coroutine_left_running(self):
        async def coroutine():
            switch_back()
        coro = coroutine()
        g = greenlet(lambda: coro.send(None))
        g.switch()
        with self.assertRaisesRegex(ValueError, "^coroutine already executing$"):
            coro.send(None)
        with self.assertRaises(StopIteration):
            g.switch()

    def test_begun_here_and_continued_there(self):
        def numbers():
            seen.append(getcurrent())
            yield 1
            seen.append(getcurrent())
            yield 2
        seen = []
        gen = numbers()
        next(gen)
        g = greenlet(next)
        self.assertEqual(g.switch(gen), 2)
        self.assertEqual(seen, [getcurrent(), g])

    def test_throw_into_a_running_one(self):
        def numbers():
            try:
                yield switch_back()
            except Error:
                yield "caught"
        g = greenlet(lambda: next(numbers()))
        g.switch()
        self.assertEqual(g.throw(Error), "caught")

    def test_exit_in_a_running_one(self):
        log = []

        def numbers():
            try:
                yield switch_back()
            finally:
                log.append("finally")
        g = greenlet(lambda: list(numbers()))
        g.switch()
        self.assertIsInstance(g.throw(), GreenletExit)
        self.assertEqual(log, ["finally"])

    def test_close_switches(self):
        def numbers():
            try:
                yield 1
            finally:
                switch_back("closing")

        def run():
            gen = numbers()
            next(gen)
            gen.close()
            return "closed"
        g = greenlet(run)
        self.assertEqual(g.switch(), "closing")
        self.assertEqual(g.switch(), "closed")

    def test_yield_from(self):
        def inner():
            got = yield switch_back("inner")
            return got

        def outer():
            return (yield from inner())

        def run():
            gen = outer()
            first = next(gen)
            try:
                gen.send("sent")
            except StopIteration as e:
                return first, e.value
        g = greenlet(run)
        self.assertEqual(g.switch(), "inner")
        self.assertEqual(g.switch("x"), ("x", "sent"))

    def test_generator_expression(self):
        g = greenlet(lambda: sum(switch_back(i) for i in range(3)))
        self.assertEqual([g.switch(), g.switch(1), g.switch(2)], [0, 1, 2])
        self.assertEqual(g.switch(10), 1 + 2 + 10)


class AsGenerators(GreenletTestCase):
    """Greenlets that yield from below nested calls."""

    @staticmethod
    def generate(function, *args):
        g = greenlet(function)
        value = g.switch(*args)
        while not g.dead:
            yield value
            value = g.switch()

    def test_walk(self):
        def walk(tree):
            if isinstance(tree, list):
                for item in tree:
                    walk(item)
            else:
                switch_back(tree)
        tree = [1, [2, [3, [4]], 5], [[[6]]], 7]
        self.assertEqual(list(self.generate(walk, tree)), list(range(1, 8)))

    def test_permutations(self):
        def permute(n, chosen=()):
            if len(chosen) == n:
                switch_back(chosen)
                return
            for i in range(n):
                if i not in chosen:
                    permute(n, (*chosen, i))
        self.assertEqual(list(self.generate(permute, 4)),
                         list(itertools.permutations(range(4))))

    def test_nested(self):
        def inner():
            for i in range(3):
                switch_back(i)

        def outer():
            for i in self.generate(inner):
                for k in self.generate(inner):
                    switch_back((i, k))
        self.assertEqual(list(self.generate(outer)),
                         list(itertools.product(range(3), repeat=2)))

    def test_not_exhausted(self):
        log = []

        def endless():
            try:
                for i in itertools.count():
                    switch_back(i)
            finally:
                log.append("end")
        self.assertEqual(list(itertools.islice(self.generate(endless), 3)), [0, 1, 2])
        self.assertEqual(log, ["end"])


class Asyncio(GreenletTestCase):
    """Waiting for a coroutine from a plain function, as SQLAlchemy does."""

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        asyncio.set_event_loop_policy(None)        # asyncio.run() set it

    @staticmethod
    def wait_for(awaitable):
        return getcurrent().parent.switch(awaitable)

    @staticmethod
    async def drive(function, *args):
        g = greenlet(function)
        result = g.switch(*args)
        while not g.dead:
            try:
                value = await result
            except BaseException as e:
                result = g.throw(e)
            else:
                result = g.switch(value)
        return result

    def test_values(self):
        async def double(x):
            await asyncio.sleep(0)
            return 2 * x

        def function(n):
            return [self.wait_for(double(i)) for i in range(n)]

        async def main():
            return await asyncio.gather(*(self.drive(function, n) for n in range(5)))
        self.assertEqual(asyncio.run(main()),
                         [[2 * i for i in range(n)] for n in range(5)])

    def test_exceptions(self):
        async def fail():
            await asyncio.sleep(0)
            raise Error

        def function():
            try:
                self.wait_for(fail())
            except Error:
                return "caught"
        self.assertEqual(asyncio.run(self.drive(function)), "caught")

    def test_cancelled(self):
        log = []

        def function():
            try:
                self.wait_for(asyncio.sleep(3600))
            finally:
                log.append("finally")

        async def main():
            task = asyncio.create_task(self.drive(function))
            await asyncio.sleep(0)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
        asyncio.run(main())
        self.assertEqual(log, ["finally"])

    def test_task_is_the_threads(self):
        async def main():
            return await self.drive(lambda: asyncio.current_task()) is asyncio.current_task()
        self.assertTrue(asyncio.run(main()))


if __name__ == "__main__":
    unittest.main()
