"""Greenlets that wait within C functions and greenlets that do not, in turns."""

import itertools
import random
import re
import unittest

from greenlet import getcurrent, greenlet

from . import random_programs
from .support import ChildTestCase, GreenletTestCase, many, needs_ours


def switch_to_main():
    return getcurrent().parent.switch()


def in_map():
    return list(map(lambda _: switch_to_main(), [0]))[0]


def in_sub():
    got = []
    re.sub("x", lambda match: got.append(switch_to_main()) or "", "x")
    return got[0]


def in_hash():
    got = []

    class H:
        def __hash__(self):
            got.append(switch_to_main())
            return 1
    hash(H())
    return got[0]


def in_class_getitem():
    class C:
        def __class_getitem__(cls, key):
            return switch_to_main()
    return C[0]


HARD = [in_map, in_sub, in_hash, in_class_getitem]


def steps(functions):
    return [function() for function in functions]


class SoftAndHard(GreenletTestCase):
    """One that left for main at a call that had run before left a value behind, which became
    the result of the one that went on within C functions and ended next; or worse."""

    ORDERS = sorted(set(itertools.permutations([0] * 3 + [1] * 3)))

    def warm_up(self):
        g = greenlet(steps)
        g.switch([switch_to_main] * 10)
        while not g.dead:
            g.switch()

    def test_result_of_who_ends_next(self):
        self.warm_up()
        for hard in HARD:
            with self.subTest(hard.__name__):
                a, b = greenlet(hard), greenlet(switch_to_main)
                a.switch()
                b.switch()
                self.assertEqual((a.switch("a"), a.dead), ("a", True))
                self.assertEqual((b.switch("b"), b.dead), ("b", True))

    def test_exception_of_who_ends_next(self):
        def fails():
            in_map()
            raise KeyError("a")
        self.warm_up()
        a, b = self.started(fails), self.started(switch_to_main)
        with self.assertRaisesRegex(KeyError, "a"):
            a.switch()
        self.assertDead(a)
        self.assertEqual(b.switch("b"), "b")

    def test_main_leaves_within_c_functions(self):
        def pass_on(got):
            while got is not None:
                got = getcurrent().parent.switch(got)
            return "end"
        self.warm_up()
        a, b = greenlet(in_map), greenlet(pass_on)
        a.switch()
        self.assertEqual(list(map(b.switch, range(20))), list(range(20)))
        self.assertEqual((a.switch("a"), a.dead), ("a", True))
        self.assertEqual((b.switch(None), b.dead), ("end", True))

    def test_two_in_every_order(self):
        self.warm_up()
        for hard in HARD:
            for kinds in itertools.product((switch_to_main, hard), repeat=3):
                for order in self.ORDERS:
                    self.check_order(kinds, order)

    def check_order(self, kinds, order):
        pair = [self.started(steps, kinds), self.started(steps, kinds[::-1])]
        given, result = [[], []], [None, None]
        for k in order:
            given[k].append(f"{k}{len(given[k])}")
            result[k] = pair[k].switch(given[k][-1])
        self.assertEqual(result, given, (kinds, order))
        self.assertTrue(pair[0].dead and pair[1].dead)


class Random(GreenletTestCase):
    """Random programs, compared with a model."""

    def test_programs(self):
        for seed in range(many(1000)):
            random_programs.check(seed)

    def test_long_programs(self):
        for seed in range(5000, 5000 + many(100)):
            random_programs.check(seed, 60)


@needs_ours
class RandomInTasklets(GreenletTestCase):
    """Programs side by side, each begun by a tasklet of its own: what the scheduler does in
    between makes no difference."""

    def check_together(self, seeds):
        import stackless
        rng = random.Random(seeds[0])
        logs = {}

        class Real(random_programs.Real):
            def step(self, *args):
                if rng.random() < 0.3:
                    stackless.schedule()
                elif rng.random() < 0.2:
                    list(map(lambda _: stackless.schedule(), [0]))
                super().step(*args)

        def run(seed):
            logs[seed] = Real(random_programs.make_program(seed)).run()
        for seed in seeds:
            stackless.tasklet(run)(seed)
        stackless.run()
        for seed in seeds:
            self.assertEqual(logs[seed], random_programs.run_model(seed))

    def test_programs(self):
        for first in range(0, many(600), 3):
            self.check_together(range(first, first + 3))


class RandomScript(ChildTestCase):
    """The same in fresh interpreters, where nothing has run before."""

    HEAD = "from test.test_greenlet import random_programs\n"

    def test_each_in_its_own(self):
        for seed in range(8):
            self.run_ok(self.HEAD + f"random_programs.check({seed}, 60)")

    @needs_ours
    def test_traced_at_times(self):
        # Only a thread whose calls are not traced takes the short ways.
        self.run_ok(self.HEAD + """
import random, sys
rng = random.Random(1)
original = random_programs.Real.step
def step(self, *args):
    sys.settrace(rng.choice([None, lambda *args: None]))
    return original(self, *args)
random_programs.Real.step = step
for seed in range(300):
    random_programs.check(seed)
""")


if __name__ == "__main__":
    unittest.main()
