"""select(), join() and result(): waiting for one of several things, and for the end."""

import collections
import gc
import random
import threading
import unittest
import weakref

import stackless
from stackless import bomb, channel, schedule, select, sleep, tasklet

from .support import StacklessTestCase, many, needs_soft, waiters
from .test_waiting import LONG, VirtualTestCase


class Error(Exception):
    pass


class Join(VirtualTestCase):

    def test_one_that_runs(self):
        log = []

        def task():
            sleep(1)
            log.append("end")
            return 7
        t = tasklet(task)()
        self.assertIsNone(t.join())
        self.assertEqual(log, ["end"])
        self.assertEqual(t.result(), 7)
        self.assertEqual(t.result(timeout=0), 7)
        self.assertIsNone(t.join(0))

    def test_result(self):
        def task(x):
            sleep(1)
            return x
        t = tasklet(task)("value")
        log = []
        others = [tasklet(lambda: log.append(t.result()))() for _ in range(3)]
        self.assertEqual(t.result(), "value")
        stackless.run()
        self.assertEqual(log, ["value"] * 3)
        for other in others:
            self.assertDead(other)

    def test_exception(self):
        def task():
            sleep(1)
            raise Error("here")
        t = tasklet(task)()
        with self.assertRaisesRegex(Error, "here"):
            t.result()
        stackless.run()                # it is not raised in main
        with self.assertRaisesRegex(Error, "here"):
            t.result()

    def test_exception_that_a_tasklet_waits_for(self):
        log = []

        def task():
            sleep(1)
            raise Error

        def other():
            try:
                t.result()
            except Error as e:
                log.append(e)
        t = tasklet(task)()
        tasklet(other)()
        tasklet(other)()
        stackless.run()
        self.assertEqual(len(log), 2)

    def test_exception_of_one_that_is_only_joined(self):
        def task():
            sleep(1)
            raise Error
        t = tasklet(task)()
        joiner = tasklet(t.join)()
        with self.assertRaises(Error):
            stackless.run()
        stackless.run()
        self.assertDead(joiner)

    def test_one_that_was_killed(self):
        t = tasklet(sleep)(LONG)
        log = []

        def other():
            with self.assertRaisesRegex(RuntimeError, "was killed"):
                t.result()
            log.append(1)
        tasklet(other)()
        stackless.run(wait=False)
        t.kill()
        stackless.run()
        self.assertEqual(log, [1])

    def test_timeout(self):
        t = tasklet(sleep)(LONG)
        for f in (t.join, t.result):
            with self.assertRaises(TimeoutError):
                f(1)
            with self.assertRaises(TimeoutError):
                f(timeout=0)
        self.assertEqual(stackless.now(), 2.0)
        t.kill()

    def test_one_that_has_ended_before(self):
        t = self.run_tasklet(lambda: 7)
        self.assertIsNone(t.join())
        with self.assertRaisesRegex(RuntimeError, "no result"):
            t.result()

    def test_one_that_is_bound_again(self):
        t = tasklet(lambda: 1)()
        self.assertEqual(t.result(), 1)
        t.bind(lambda: 2)
        with self.assertRaisesRegex(RuntimeError, "no result"):
            t.result()
        t()
        self.assertEqual(t.result(), 2)
        t.bind(lambda: 3, ())
        t.bind(None)
        with self.assertRaisesRegex(RuntimeError, "no result"):
            t.result()

    def test_result_is_released_with_the_tasklet(self):
        class Value:
            pass
        t = tasklet(Value)()
        ref = weakref.ref(t.result())
        self.assertIsNotNone(ref())
        del t
        gc.collect()
        self.assertIsNone(ref())

    @needs_soft
    def test_one_that_is_dropped(self):
        t = tasklet(stackless.schedule_remove)()
        log = []

        def other():
            with self.assertRaisesRegex(RuntimeError, "was dropped"):
                t.result()
            log.append(1)
        tasklet(other)()
        stackless.run()
        t.bind(None)
        stackless.run()
        self.assertEqual(log, [1])

    def test_misuse(self):
        current = stackless.current
        with self.assertRaisesRegex(RuntimeError, "its own end"):
            current.join()
        with self.assertRaisesRegex(RuntimeError, "main tasklet does not end"):
            error = []

            def task(main):
                try:
                    main.result()
                except RuntimeError as e:
                    error.append(e)
            self.run_tasklet(task, current)
            raise error[0]
        t = tasklet(schedule)()
        for args, kwargs in (((1, 2), {}), ((), {"time": 1}), ((1,), {"timeout": 1})):
            with self.assertRaises(TypeError):
                t.join(*args, **kwargs)
        stackless.run()

    def test_deadlock(self):
        t = tasklet(channel().receive)()
        with self.assertRaisesRegex(RuntimeError, "Deadlock"):
            t.join()
        self.assertDead(t)

    @needs_soft
    def test_soft(self):
        t = tasklet(sleep)(1)
        u = tasklet(lambda: t.join())()
        u.run()
        self.assertEqual(u.nesting_level, 0)
        stackless.run()

    def test_from_another_thread(self):
        t = tasklet(lambda: (sleep(1), 7)[1])()
        log = []
        thread = threading.Thread(target=lambda: log.append(t.result()))
        thread.start()
        while not t.alive or not log:
            stackless.run()
            if not t.alive:
                break
        thread.join()
        self.assertIn(log, ([7], []))

    def test_after_one_of_a_thread_that_has_ended(self):
        # Who cannot be woken is passed over.
        awaited = tasklet(lambda: 42)()
        awaited.remove()
        kept, got = [], []
        def wait_elsewhere():
            t = tasklet(awaited.join)()
            t.run()
            kept.append(t)
        thread = threading.Thread(target=wait_elsewhere)
        thread.start()
        thread.join()
        t = tasklet(lambda: got.append(awaited.result()))()
        t.run()
        awaited.insert()
        stackless.run()
        self.assertEqual(got, [42])
        self.assertDead(t)
        self.assertDead(awaited)


class Select(VirtualTestCase):

    def test_ready(self):
        a, b = channel(), channel()
        self.sender(b, "value")
        self.assertEqual(select(a, b), (1, "value"))
        log = []
        self.receiver(a, log)
        self.assertEqual(select(b, (a, 7)), (1, None))
        stackless.run()
        self.assertEqual(log, [7])
        self.assertEqual((a.balance, b.balance), (0, 0))

    def test_wait_to_receive(self):
        channels = [channel() for _ in range(4)]
        for n, ch in enumerate(channels):
            with self.subTest(n=n):
                tasklet(lambda: (sleep(1), ch.send(n * 10)))()
                self.assertEqual(select(*channels), (n, n * 10))
                stackless.run()
                self.assertEqual([c.balance for c in channels], [0] * 4)

    def test_wait_to_send(self):
        channels = [channel() for _ in range(4)]
        for n, ch in enumerate(channels):
            with self.subTest(n=n):
                log = []
                tasklet(lambda: (sleep(1), log.append(ch.receive())))()
                self.assertEqual(select(*[(c, i) for i, c in enumerate(channels)]), (n, None))
                stackless.run()
                self.assertEqual(log, [n])
                self.assertEqual([c.balance for c in channels], [0] * 4)

    def test_two_that_select(self):
        a, b, c = channel(), channel(), channel()
        log = []
        tasklet(lambda: log.append(("receiver", select(a, b, c))))()
        tasklet(lambda: log.append(("sender", select((c, 3), (b, 2)))))()
        stackless.run()
        self.assertIn(sorted(log), ([("receiver", (1, 2)), ("sender", (1, None))],
                                    [("receiver", (2, 3)), ("sender", (0, None))]))
        self.assertEqual((a.balance, b.balance, c.balance), (0, 0, 0))

    def test_same_channel_twice(self):
        ch = channel()
        t = tasklet(lambda: log.append(select(ch, ch)))()
        log = []
        t.run()
        self.assertEqual(ch.balance, -2)
        self.assertEqual(waiters(ch) if ch.balance == -1 else [ch.queue, ch.queue], [t, t])
        ch.send(1)
        stackless.run()
        self.assertEqual(ch.balance, 0)
        self.assertIn(log, ([(0, 1)], [(1, 1)]))

    def test_tasklets(self):
        t = tasklet(lambda: sleep(1))()
        u = tasklet(lambda: sleep(2))()
        ch = channel()
        self.assertEqual(select(u, ch, t), (2, None))
        self.assertEqual(stackless.now(), 1.0)
        self.assertEqual(select(u, ch), (0, None))
        self.assertEqual(select(u, ch), (0, None))
        self.assertEqual(stackless.now(), 2.0)

    def test_timeout(self):
        a, b = channel(), channel()
        with self.assertRaises(TimeoutError):
            select(a, (b, 1), timeout=3)
        with self.assertRaises(TimeoutError):
            select((a, 1), b, timeout=0)
        self.assertEqual(stackless.now(), 3.0)
        self.assertEqual((a.balance, b.balance), (0, 0))

    def test_default(self):
        a, b = channel(), channel()
        with self.unchanged(a, b):
            self.assertEqual(select(a, b, default="none"), (None, "none"))
            self.assertEqual(select(a, b, default=None), (None, None))
        self.sender(a, 1)
        self.assertEqual(select(a, b, default=None), (0, 1))
        stackless.run()

    def test_biased(self):
        a, b = channel(), channel()
        for i in range(20):
            self.sender(a, i)
            self.sender(b, i)
        self.assertEqual([select(a, b, biased=True)[0] for _ in range(20)], [0] * 20)
        self.assertEqual([select(a, b, biased=True)[0] for _ in range(20)], [1] * 20)
        stackless.run()

    def test_fair(self):
        a, b, c = channel(), channel(), channel()
        for i in range(100):
            for ch in (a, b, c):
                self.sender(ch, i)
        count = collections.Counter(select(a, b, c)[0] for _ in range(90))
        self.assertTrue(all(count[i] > 10 for i in range(3)), count)
        for ch in (a, b, c):
            while ch.balance:
                ch.receive()
        stackless.run()

    def test_exceptions(self):
        a, b = channel(), channel()

        def task():
            with self.assertRaises(Error):
                select(a, b)
            with self.assertRaises(Error):
                select(b, a)
        t = tasklet(task)()
        t.run()
        b.send_exception(Error)
        stackless.run()
        b.send(bomb(Error))
        stackless.run()
        self.assertDead(t)
        tasklet(a.send_exception)(Error)
        schedule()
        with self.assertRaises(Error):
            select(b, a)
        stackless.run()

    def test_one_that_is_killed(self):
        a, b = channel(), channel()
        t = tasklet(lambda: select(a, (b, 1), timeout=LONG))()
        t.run()
        self.assertEqual((a.balance, b.balance), (-1, 1))
        t.kill()
        self.assertEqual((a.balance, b.balance), (0, 0))
        self.assertDead(t)
        stackless.run()
        self.assertEqual(stackless.now(), 0.0)

    def test_preference_of_the_channel(self):
        for preference in (-1, 0, 1):
            for waits in (False, True):
                with self.subTest(preference=preference, waits=waits):
                    a, b = channel(), channel()
                    a.preference = preference
                    log = []
                    tasklet(lambda: log.append(select(b, a)))()
                    if waits:
                        stackless.run()
                    a.send("value")
                    stackless.run()
                    self.assertEqual(log, [(1, "value")])

    def test_misuse(self):
        ch, other = channel(), channel()
        t = tasklet(schedule)()
        with self.unchanged(ch, other, t):
            for cases, kwargs, error in (
                    ((), {}, ValueError), ((1,), {}, TypeError), (((ch,),), {}, TypeError),
                    (((ch, 1, 2),), {}, TypeError), (((t, 1),), {}, TypeError),
                    ((ch, (ch, 1)), {}, ValueError), (((ch, 1), other, ch), {}, ValueError),
                    ((ch,), {"timeout": -1}, ValueError), ((ch,), {"timeout": "x"}, TypeError),
                    ((ch,), {"x": 1}, TypeError), ((stackless.current,), {}, RuntimeError)):
                with self.subTest(cases=cases), self.assertRaises(error):
                    select(*cases, **kwargs)
            closed = channel()
            closed.close()
            with self.assertRaisesRegex(ValueError, "case 1 .* closed"):
                select(ch, closed)
            stackless.main.block_trap = True
            try:
                with self.assertRaisesRegex(RuntimeError, "like to be blocked"):
                    select(ch, other)
            finally:
                stackless.main.block_trap = False
        stackless.run()
        with self.assertRaisesRegex(RuntimeError, "Deadlock"):
            select(ch, other)

    def test_nothing_is_kept(self):
        class Value:
            pass
        a, b = channel(), channel()
        value = Value()
        ref = weakref.ref(value)

        def task(value):
            select(a, (b, value))
            del value
            schedule()
        t = tasklet(task)(value)
        t.run()
        del value
        self.assertIsNotNone(ref())
        a.send(1)
        stackless.run()
        self.assertIsNone(ref())
        self.assertDead(t)

    @needs_soft
    def test_garbage(self):
        def make():
            a, b = channel(), channel()
            t = tasklet(lambda: select(a, b, (channel(), 1)))()
            t.run()
            return weakref.ref(t), weakref.ref(a), weakref.ref(b)
        refs = make()
        gc.collect()
        gc.collect()
        self.assertEqual([r() for r in refs], [None] * 3)

    @needs_soft
    def test_soft(self):
        a, b = channel(), channel()
        t = tasklet(lambda: select(a, b))()
        t.run()
        self.assertEqual(t.nesting_level, 0)
        a.send(1)

    def test_below_c_functions(self):
        a, b = channel(), channel()
        log = []
        t = tasklet(lambda: log.extend(map(lambda x: select(a, b), range(2))))()
        t.run()
        b.send(1)
        a.send(2)
        stackless.run()
        self.assertEqual(log, [(1, 1), (0, 2)])

    def test_moved_to_another_thread(self):
        a, b = channel(), channel()
        t = tasklet(lambda: select(a, b))()
        t.run()
        errors = []

        def run():
            try:
                t.bind_thread()
            except RuntimeError as e:
                errors.append(str(e))
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        self.assertEqual(len(errors), 1)
        a.send(1)


class Pickling(VirtualTestCase):

    def test_who_waits_for_what_a_pickle_cannot_have(self):
        import pickle
        ch, other = channel(), channel()
        end = tasklet(sleep)(LONG)
        for task in (lambda: sleep(LONG), lambda: ch.receive(timeout=LONG), end.join,
                     lambda: select(ch, other)):
            t = tasklet(task)()
            stackless.run(wait=False)
            with self.assertRaisesRegex(TypeError, "would be lost"):
                pickle.dumps(t)
            t.kill()
        t = tasklet(lambda: select(ch, other))()
        stackless.run(wait=False)
        for c in (ch, other):
            with self.assertRaises(TypeError):
                pickle.dumps(c)
        t.kill()
        end.kill()


class Model:
    """Random operations: each value that was sent is received once, or its sender knows that
    it was not, or it still waits."""

    def __init__(self, seed, tasks=8, channels=4, operations=60):
        self.rng = random.Random(seed)
        self.channels = [channel() for _ in range(channels)]
        for ch in self.channels:
            ch.preference = self.rng.choice((-1, 0, 1))
        self.sent = set()
        self.received = collections.Counter()
        self.values = 0
        self.left = operations
        self.tasks = [tasklet(self.task)() for _ in range(tasks)]
        self.killer = tasklet(self.kill)()

    def value(self):
        self.values += 1
        return self.values

    def timeout(self):
        return self.rng.choice((0, 0, 1, 2, 3, 5))

    def task(self):
        rng = self.rng
        while self.left > 0:
            self.left -= 1
            try:
                rng.choice((self.send, self.receive, self.choose, self.choose, self.rest))()
            except TimeoutError:
                pass

    def rest(self):
        sleep(self.rng.choice((0, 1, 2)))

    def send(self):
        value = self.value()
        self.sent.add(value)
        done = False
        try:
            self.rng.choice(self.channels).send(value, timeout=self.timeout())
            done = True
        finally:
            if not done:               # killed, or too late: it was not received
                self.sent.discard(value)

    def receive(self):
        self.received[self.rng.choice(self.channels).receive(timeout=self.timeout())] += 1

    def choose(self):
        cases, directions, values = [], {}, {}
        for i in range(self.rng.randrange(1, 5)):
            ch = self.rng.choice(self.channels)
            sends = directions.setdefault(ch, self.rng.random() < 0.5)
            if sends:
                values[i] = self.value()
                self.sent.add(values[i])
                cases.append((ch, values[i]))
            else:
                cases.append(ch)
        which = None
        try:
            which, value = select(*cases, timeout=self.timeout(),
                                  biased=self.rng.random() < 0.3)
            if which not in values:
                self.received[value] += 1
        finally:
            for i, value in values.items():
                if i != which:
                    self.sent.discard(value)

    def kill(self):
        while self.left > 0:
            sleep(self.rng.choice((1, 2)))
            victim = self.rng.randrange(len(self.tasks))
            if self.tasks[victim].blocked and self.rng.random() < 0.5:
                self.tasks[victim].kill()
                self.tasks[victim] = tasklet(self.task)()

    def check(self):
        assert all(n == 1 for n in self.received.values()), "received twice"
        assert set(self.received) == self.sent, (set(self.received) ^ self.sent)
        assert [ch.balance for ch in self.channels] == [0] * len(self.channels)


def run_model(seed, **sizes):
    with stackless.virtual_time():
        model = Model(seed, **sizes)
        stackless.run()
        model.check()
        del model


class Conservation(StacklessTestCase):

    def test_random_operations(self):
        seed = random.randrange(1 << 32)
        for i in range(many(300)):
            try:
                run_model(seed + i)
            except BaseException as e:
                e.add_note(f"seed {seed + i}")
                raise

    def test_between_threads(self):
        seed = random.randrange(1 << 32)
        try:
            run_threads(seed)
        except BaseException as e:
            e.add_note(f"seed {seed}")
            raise


def run_threads(seed, threads=3, tasks=4, operations=60):
    """The same between threads, in real time."""
    channels = [channel() for _ in range(4)]
    for ch in channels:
        ch.preference = 0              # nobody else can switch to a tasklet of another thread
    sent, received, errors = set(), collections.Counter(), []

    def operation(rng, value):
        timeout = rng.choice((0, 1e-4, 1e-3))
        a, b = rng.sample(channels, 2)
        which = None
        kind = rng.randrange(4)
        if kind < 2:
            sent.add(value)
        try:
            if kind == 0:
                a.send(value, timeout=timeout)
                which = 0
            elif kind == 1:
                which, got = select((a, value), b, timeout=timeout)
                if which == 1:
                    received[got] += 1
            elif kind == 2:
                received[a.receive(timeout=timeout)] += 1
            else:
                with stackless.move_on_after(1e-4):
                    received[a.receive()] += 1
        except TimeoutError:
            pass
        if which != 0:
            sent.discard(value)

    def worker(k):
        def task(j):
            rng = random.Random(f"{seed} {k} {j}")
            for i in range(operations):
                operation(rng, (k, j, i))
        try:
            with stackless.group() as g:
                for j in range(tasks):
                    g.spawn(task, j)
        except BaseException as e:
            errors.append(e)
    workers = [threading.Thread(target=worker, args=(k,)) for k in range(threads)]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join()
    assert errors == [], errors
    assert all(n == 1 for n in received.values()), "received twice"
    assert set(received) == sent, set(received) ^ sent
    assert [ch.balance for ch in channels] == [0] * len(channels)


def main():
    """python -m test.test_stackless.test_select OPERATIONS [SEED]: as many random operations."""
    import sys
    left = int(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32)
    print("first seed:", seed)
    while left > 0:
        try:
            run_model(seed, operations=2000)
        except BaseException:
            print("seed", seed)
            raise
        seed += 1
        left -= 2000
    print("every value was received once or its sender knows")


if __name__ == "__main__":
    main()
