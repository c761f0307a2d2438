"""Tasklets that wait within C functions and tasklets that do not, in turns: each gets what is
meant for it, whoever goes on or ends before it.  (The random programs of test_model do this
with all operations; test_greenlet.test_mixed with greenlets.)"""

import itertools
import random
import re
import unittest

import stackless
from stackless import channel, schedule, tasklet

from .support import StacklessTestCase, many


def soft(wait):
    return wait()


def in_map(wait):
    return list(map(lambda _: wait(), [0]))[0]


def in_sub(wait):
    got = []
    re.sub("x", lambda match: got.append(wait()) or "", "x")
    return got[0]


def in_hash(wait):
    got = []

    class H:
        def __hash__(self):
            got.append(wait())
            return 1
    hash(H())
    return got[0]


HARD = [in_map, in_sub, in_hash]


class TwoInEveryOrder(StacklessTestCase):
    """Main makes one of two tasklets go on, three times each, up to their ends."""

    ORDERS = sorted(set(itertools.permutations([0] * 3 + [1] * 3)))

    def check_all(self, check):
        for hard in HARD:
            for kinds in itertools.product((soft, hard), repeat=3):
                for order in self.ORDERS:
                    with self.subTest(kinds=[k.__name__ for k in kinds], order=order):
                        check((kinds, kinds[::-1]), order)

    def test_sent_to(self):
        def body(name, kinds):
            ends[name] = [kind(channels[name].receive) for kind in kinds]

        def check(kinds, order):
            ends.clear()
            for name in 0, 1:
                self.run_tasklet(body, name, kinds[name])
            for i, name in enumerate(order):
                channels[name].send(i)
            self.assertEqual(ends, {name: [i for i, n in enumerate(order) if n == name]
                                    for name in (0, 1)})
        channels, ends = [channel(), channel()], {}
        self.check_all(check)

    def test_run(self):
        def body(name, kinds):
            turns.append(name)
            for kind in kinds:
                kind(stackless.schedule_remove)
                turns.append(name)

        def check(kinds, order):
            turns.clear()
            pair = [self.run_tasklet(body, name, kinds[name]) for name in (0, 1)]
            for name in order:
                pair[name].run()
            self.assertEqual(turns, [0, 1, *order])
            self.assertFalse(pair[0].alive or pair[1].alive)
        turns = []
        self.check_all(check)

    def test_raised_in(self):
        def body(name, kinds):
            for i, kind in enumerate(kinds):
                try:
                    kind(stackless.schedule_remove)
                except KeyError as e:
                    caught[name].append((i, *e.args))

        def check(kinds, order):
            caught[:] = [], []
            pair = [self.run_tasklet(body, name, kinds[name]) for name in (0, 1)]
            for i, name in enumerate(order):
                pair[name].throw(KeyError, i)
            self.assertEqual(caught, [list(enumerate(i for i, n in enumerate(order)
                                                     if n == name)) for name in (0, 1)])
        caught = [[], []]
        self.check_all(check)


class Ring(StacklessTestCase):

    def test_counted(self):
        # A number goes round.  Each adds one, and waits in places that are chosen at random.
        rng = random.Random(3)
        count, rounds = 8, many(300)
        links = [channel() for _ in range(count)]
        wrong = []

        def anywhere():
            return rng.choice([soft, soft, soft, *HARD])

        def body(i):
            for k in range(rounds):
                number = anywhere()(links[i].receive)
                if number != k * count + i:
                    wrong.append((i, k, number))
                if rng.random() < 0.3:
                    anywhere()(schedule)
                anywhere()(lambda: links[(i + 1) % count].send(number + 1))
        tasklets = [tasklet(body)(i) for i in range(count)]
        stackless.run()
        links[0].send(0)
        stackless.run()
        self.assertEqual(wrong, [])
        self.assertEqual(links[0].receive(), rounds * count)
        stackless.run()
        self.assertFalse(any(t.alive for t in tasklets))


if __name__ == "__main__":
    unittest.main()
