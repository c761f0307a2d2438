"""Many threads at once."""

import contextlib
import random
import sys
import threading
import time
import unittest

import stackless
from stackless import channel, schedule, schedule_remove, tasklet

from .threading_support import Error, TIMEOUT, ThreadsTestCase, wait_until


class Stress(ThreadsTestCase):

    @contextlib.contextmanager
    def fast_switching(self):
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        try:
            yield
        finally:
            sys.setswitchinterval(interval)

    def test_many_to_many(self):
        nthreads, ntasklets, nvalues = 4, 5, 40
        ch = channel()
        got = []

        def produce(i):
            for k in range(nvalues):
                ch.send((i, k))

        def consume():
            while True:
                x = ch.receive()
                if x is None:
                    return
                got.append(x)

        def thread(n, func, args):
            ts = [tasklet(func)(*args(n * ntasklets + i)) for i in range(ntasklets)]
            while any(t.alive for t in ts):
                stackless.run(threadblock=True)
        with self.fast_switching():
            consumers = [self.thread(thread, n, consume, lambda i: ())
                         for n in range(nthreads)]
            producers = [self.thread(thread, n, produce, lambda i: (i,))
                         for n in range(nthreads)]
            for t in producers:
                t.join()
            for i in range(nthreads * ntasklets):
                ch.send(None)
            for t in consumers:
                t.join()
        expected = [(i, k) for i in range(nthreads * ntasklets) for k in range(nvalues)]
        self.assertEqual(sorted(got), expected)
        self.assertEqual(ch.balance, 0)

    def test_ring(self):
        n, rounds = 6, 100
        ring = [channel() for i in range(n)]

        def node(i):
            for k in range(rounds):
                ring[(i + 1) % n].send(ring[i].receive() + 1)
        with self.fast_switching():
            threads = [self.thread(node, i) for i in range(1, n)]
            value = 0
            for k in range(rounds):
                ring[1].send(value)
                value = ring[0].receive()
            for t in threads:
                t.join()
        self.assertEqual(value, rounds * (n - 1))

    def test_insert_and_remove(self):
        # One thread inserts, removes and kills what the others run.
        n = 4
        stop = []
        counts = [0] * n
        tasklets = []
        lock = threading.Lock()

        def work(i):
            while not stop:
                counts[i] += 1
                if counts[i] % 3:
                    schedule()
                else:
                    schedule_remove()

        def thread(i):
            mine = [tasklet(work)(i) for k in range(3)]
            with lock:
                tasklets.extend(mine)
            while not stop:
                stackless.run()
            while any(t.alive for t in mine):
                for t in mine:
                    t.alive and t.insert()
                stackless.run()
        rng = random.Random(1)
        with self.fast_switching():
            threads = [self.thread(thread, i) for i in range(n)]
            wait_until(lambda: len(tasklets) == 3 * n)
            for i in range(3000):
                t = rng.choice(tasklets)
                with contextlib.suppress(RuntimeError):
                    rng.choice((t.insert, t.run, t.remove, t.insert, t.run))()
            stop.append(1)
            for t in threads:
                t.join()
        self.assertTrue(all(counts))

    def test_random(self):
        # Random operations on everything from everywhere: whatever they do, no
        # value is lost or doubled, and all queues stay sound.
        for seed in range(3):
            with self.subTest(seed=seed), self.fast_switching():
                self.random_program(seed)

    def random_program(self, seed):
        channels = [channel() for i in range(3)]
        for ch, preference in zip(channels, (-1, 0, 1)):
            ch.preference = preference
        sent, got, killed = [], [], []
        lists = [[], [], []]

        def task(rng, me):
            try:
                for i in range(30):
                    op = rng.randrange(6)
                    ch = rng.choice(channels)
                    if op < 2 and ch.balance >= -5:
                        value = (me, i)
                        sent.append(value)
                        try:
                            ch.send(value)
                        except BaseException:
                            # Whether it had been handed over cannot be told.
                            killed.append(value)
                            raise
                    elif op < 4 and ch.balance <= 5:
                        try:
                            got.append(ch.receive())
                        except BaseException:
                            raise
                    elif op == 4:
                        schedule()
                    else:
                        others = rng.choice(lists)
                        if others:
                            t = rng.choice(others)
                            with contextlib.suppress(RuntimeError):
                                rng.choice((t.insert, t.run, t.remove, t.bind_thread))()
            except RuntimeError as e:
                if "Deadlock" not in str(e):
                    raise
            except Error:
                pass

        def thread(n):
            rng = random.Random(seed * 10 + n)
            mine = lists[n]
            mine.extend(tasklet(task)(random.Random(seed * 100 + n * 10 + i), (n, i))
                        for i in range(6))
            for i in range(20):
                # A tasklet that had not begun does not catch it.
                with contextlib.suppress(Error):
                    stackless.run()
                t = rng.choice(rng.choice(lists) or mine)
                with contextlib.suppress(RuntimeError):
                    rng.choice((lambda: t.throw(Error, pending=True), t.insert,
                                t.bind_thread))()
            barrier.wait()
            end = time.monotonic() + TIMEOUT
            while any(t.alive for ts in lists for t in ts):
                for ts in lists:
                    for t in ts:
                        if t.alive and t.thread_id == threading.get_ident():
                            t.throw(Error, pending=True)
                with contextlib.suppress(Error):
                    stackless.run()
                self.assertLess(time.monotonic(), end)
                time.sleep(0)
            barrier.wait()
        barrier = threading.Barrier(3, timeout=TIMEOUT)
        threads = [self.thread(thread, n) for n in range(3)]
        for t in threads:
            t.join()
        self.assertEqual(len(got), len(set(got)), "a value was received twice")
        self.assertLessEqual(set(got), set(sent))
        self.assertEqual([ch.balance for ch in channels], [0, 0, 0])


if __name__ == "__main__":
    unittest.main()
