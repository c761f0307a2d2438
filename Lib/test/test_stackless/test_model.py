"""Random programs, compared with a model of the scheduler in plain Python."""

import sys
import unittest

import stackless

from . import model
from .support import SHUFFLED, ChildTestCase, StacklessTestCase, kill_uncollectables


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


    def test_hard(self):
        # Some operations are called by C functions.
        for seed in range(3000, 3500):
            model.check(seed, 15, hard=True)
            kill_uncollectables()
            self.assertQueue([stackless.main])

    def test_hard_long(self):
        for seed in range(3500, 3560):
            model.check(seed, 60, hard=True)
            kill_uncollectables()
            self.assertQueue([stackless.main])


@unittest.skipIf(SHUFFLED, "which programs would sleep instead of raising Deadlock "
                           "cannot be told in advance")
class RandomThreads(StacklessTestCase):
    """Schedulers that have nothing to do with each other, at the same time."""

    def check(self, hard):
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        try:
            model.check_threads([range(i, i + 60) for i in range(4000, 4300, 100)],
                                20, hard)
        finally:
            sys.setswitchinterval(interval)

    def test_soft(self):
        self.check(False)

    def test_hard(self):
        self.check(True)


class RandomScript(ChildTestCase):

    def test_at_the_bottom_of_a_script(self):
        out = self.run_ok("""
            from test_stackless import model
            for seed in range(2000, 2700):
                model.check(seed, 12)
            print("done")
            """)
        self.assertIn("done", out)


class Disturbed(ChildTestCase):
    """The same while something disturbs, that must not change the results."""

    HEAD = """
        import gc, random, sys
        from test_stackless import model
        rng = random.Random(1)
        E = sys.monitoring.events
        EVENTS = (E.LINE, E.CALL, E.PY_RETURN, E.PY_START, E.RAISE, E.PY_UNWIND,
                  E.INSTRUCTION, E.JUMP, E.BRANCH, E.PY_RESUME, E.PY_YIELD,
                  E.C_RETURN, E.C_RAISE)
        sys.monitoring.use_tool_id(1, "test")
        for event in EVENTS:
            sys.monitoring.register_callback(1, event, lambda *args: None)
        original = model.Real.deeper
        def disturb(action):
            def deeper(self, op, n):
                if rng.random() < 0.2:
                    action(self)
                return original(self, op, n - 1 if n else 0)
            model.Real.deeper = deeper
        """
    TAIL = """
        for seed in range(200):
            model.check(seed, 20)
        print("done")
        """

    def disturbed(self, disturbance):
        self.assertIn("done", self.run_ok(self.HEAD + disturbance + self.TAIL))

    def test_collecting_all_the_time(self):
        self.disturbed("""
        gc.set_threshold(1)
        """)

    def test_collecting_now_and_then(self):
        self.disturbed("""
        disturb(lambda real: gc.collect())
        """)

    def test_monitored(self):
        self.disturbed("""
        mask = 0
        for event in EVENTS[:-2]:
            mask |= event
        sys.monitoring.set_events(1, mask)
        """)

    def test_monitored_now_and_then(self):
        self.disturbed("""
        def action(real):
            sys.monitoring.set_events(1, rng.choice((0, *EVENTS[:-2])))
        disturb(action)
        """)

    def test_traced_now_and_then(self):
        self.disturbed("""
        def tracer(frame, event, arg):
            return tracer
        def action(real):
            t = real.tasklets[rng.choice(("M", 0, 1, 2, 3, 4))]
            if rng.random() < 0.5:
                t.trace_function = rng.choice((None, tracer))
            else:
                t.profile_function = rng.choice((None, tracer))
        disturb(action)
        """)

    def test_looked_at(self):
        self.disturbed("""
        import traceback
        def action(real):
            for t in real.tasklets.values():
                if t.frame is not None:
                    traceback.extract_stack(t.frame, lookup_lines=False) \
                        if False else list(traceback.walk_stack(t.frame))
                    t.frame.f_locals
            sys._current_frames()
        disturb(action)
        """)

    def test_contexts_that_change(self):
        self.disturbed("""
        import contextvars
        def action(real):
            t = real.tasklets[rng.choice((0, 1, 2, 3, 4))]
            t.set_context(contextvars.Context())
        disturb(action)
        """)


if __name__ == "__main__":
    unittest.main()
