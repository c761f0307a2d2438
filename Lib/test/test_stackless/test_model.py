"""Random programs, compared with a model of the scheduler in plain Python."""

import unittest

import stackless

from . import model
from .support import ChildTestCase, StacklessTestCase


class Random(StacklessTestCase):

    def check(self, seeds, length):
        for seed in seeds:
            model.check(seed, length)
            self.assertQueue([stackless.main])

    def test_short_programs(self):
        self.check(range(1500), 5)

    def test_programs(self):
        self.check(range(700), 12)

    def test_long_programs(self):
        self.check(range(100), 60)


class RandomScript(ChildTestCase):

    def test_at_the_bottom_of_a_script(self):
        out = self.run_ok("""
            from test_stackless import model
            for seed in range(2000, 2700):
                model.check(seed, 12)
            print("done")
            """)
        self.assertIn("done", out)


if __name__ == "__main__":
    unittest.main()
