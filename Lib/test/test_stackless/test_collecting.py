"""A garbage collection in which something waits: a finalizer, a weakref's callback, what
gc.callbacks has.  The tasklet that collects is left hard, as within any C function, and what
the collector has found is safe from what others do meanwhile.

It was refused: a finalizer that had sent a request never read the reply."""

import gc
import random
import sys
import threading
import unittest
import weakref

import stackless
from stackless import channel, schedule, schedule_remove, tasklet

from .support import ChildTestCase, StacklessTestCase, many


def through_map(f):
    return list(map(lambda _: f(), [0]))[0]


class Node:
    """In a cycle with itself, and with others by `more`."""

    def __init__(self, log=None, name=None, wait=None):
        self.me, self.nodes = self, []
        self.log, self.name, self.wait = log, name, wait

    def __del__(self):
        if self.wait is not None:
            self.wait(self)
        if self.log is not None:
            self.log.append(self.name)


class CollectingTestCase(StacklessTestCase):

    def setUp(self):
        super().setUp()
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        unraisable = []
        self.addCleanup(self.assertEqual, unraisable, [])
        self.addCleanup(setattr, sys, "unraisablehook", sys.unraisablehook)
        sys.unraisablehook = lambda u: unraisable.append(repr(u.exc_value))

    def check_collects(self):
        """The collector works, and has nothing left over."""
        gc.collect()
        log = []
        Node(log, "later")
        self.assertGreater(gc.collect(), 0)
        self.assertEqual(log, ["later"])
        self.assertEqual(gc.garbage, [])


class Finalizers(CollectingTestCase):

    def test_waits_for_a_channel(self):
        ch, log = channel(), []

        def body():
            Node(log, "finalized", lambda node: log.append(ch.receive()))
            log.append(gc.collect() > 0)
        t = self.run_tasklet(body)
        self.assertTrue(t.blocked)
        self.assertEqual(gc.collect(), 0)          # one is in progress
        ch.send("value")
        self.assertEqual(log, ["value", "finalized", True])
        self.assertFalse(t.alive)
        self.check_collects()

    def test_main_collects(self):
        log = []

        def other(n):
            for i in range(3):
                (schedule if n % 2 else lambda: through_map(schedule))()
                log.append(n)
        for n in range(4):
            tasklet(other)(n)
        # Some of them are suspended hard already, with their slices above main's part.
        through_map(lambda: through_map(lambda: through_map(schedule)))
        Node(log, "finalized", lambda node: stackless.run())
        gc.collect()
        self.assertEqual(sorted(map(str, log)), sorted([*"000111222333", "finalized"]))
        self.check_collects()

    def test_others_run_in_c_functions(self):
        ch, log = channel(), []

        def other(n):
            for i in range(5):
                through_map(lambda: through_map(schedule))
            log.append(n)

        def body():
            for i in range(10):
                Node(log, "finalized", lambda node: through_map(ch.receive))
            gc.collect()
            log.append("collected")
        self.run_tasklet(body)
        for i in range(10):
            for n in range(3):
                tasklet(other)(n)
            stackless.run()
            ch.send(None)
        self.assertEqual(log.count("finalized"), 10)
        self.assertEqual(log.count(0), 10)
        self.assertEqual(log[-1], "collected")
        self.check_collects()

    def check_taken_off(self, which, order):
        # What the collector has found becomes reachable, and is freed, while it waits.
        ch, log, given = channel(), [], []

        def wait(node):
            given.extend(node.nodes)
            ch.receive()

        def body():
            nodes = [Node() for i in range(5)]
            for node in nodes:
                node.nodes = nodes
                node.me = None
            nodes[2].wait = wait
            del nodes, node
            gc.collect()
            log.append("collected")
        self.run_tasklet(body)
        refs = [weakref.ref(node) for node in given]
        for node in given:
            node.nodes.clear()
        del node
        taken = [given[i] for i in which]
        given.clear()
        for i in order:
            taken[i] = None
        Node()                                     # others use the memory
        stackless.run()
        through_map(lambda: through_map(schedule))
        self.assertEqual([r() is None for r in refs], [True, True, False, True, True])
        ch.send(None)
        self.assertEqual(log, ["collected"])
        taken.clear()
        self.assertIsNone(refs[2]())
        self.check_collects()

    def test_taken_off_meanwhile(self):
        for order in range(4), range(3, -1, -1), (1, 3, 0, 2):
            self.check_taken_off((0, 1, 3, 4), order)

    def test_resurrected_meanwhile(self):
        ch, kept = channel(), []

        def wait(node):
            kept.append(node)
            ch.receive()

        def body():
            Node(None, "resurrected", wait)
            gc.collect()
        self.run_tasklet(body)
        node = kept.pop()
        ch.send(None)
        self.assertIs(node.me, node)
        self.assertTrue(gc.is_tracked(node))
        node.wait = None
        del node
        self.check_collects()

    def test_finalizer_of_what_is_not_collected(self):
        # It is called when the collector clears what refers to it.
        class Plain:
            __slots__ = ()

            def __del__(self):
                log.append(ch.receive())
        ch, log = channel(), []

        def body():
            for i in range(3):
                Node().plain = Plain()
            gc.collect()
            log.append("collected")
        self.run_tasklet(body)
        for i in range(3):
            Node()
            ch.send(i)
        self.assertEqual(log, [0, 1, 2, "collected"])
        self.check_collects()

    def test_automatic_collection(self):
        ch, log = channel(), []

        def body():
            Node(log, "finalized", lambda node: ch.receive())
            kept = []
            gc.enable()
            while not log:
                kept.append([])
            gc.disable()
        t = self.run_tasklet(body)
        self.assertTrue(t.blocked)
        ch.send(None)
        self.assertFalse(t.alive)
        self.assertEqual(log, ["finalized"])
        self.check_collects()

    def test_killed(self):
        log = []

        def wait(node):
            try:
                schedule_remove()
            except TaskletExit:
                log.append("killed")

        def body():
            Node(log, "finalized", wait)
            Node(log, "another")
            gc.collect()
            log.append("collected")
        t = self.run_tasklet(body)
        t.kill()
        self.assertFalse(t.alive)
        self.assertEqual(set(log), {"killed", "finalized", "another", "collected"})
        self.check_collects()

    def check_at_random(self, seed):
        """A collector and others, who keep, link and drop what it has found and what not."""
        rng = random.Random(seed)
        known, finalized = [], []
        rest = 12

        def wait(node):
            known.append(node)
            known.extend(rng.sample(node.nodes, rng.randrange(len(node.nodes) + 1)))
            rng.choice((schedule, lambda: through_map(schedule)))()
            finalized.append(node.name)

        def collector():
            nonlocal rest
            while rest > 0:
                rest -= 1
                nodes = [Node(None, i, rng.choice((None, wait)))
                         for i in range(rng.randrange(1, 12))]
                for node in nodes:
                    node.nodes = rng.sample(nodes, rng.randrange(len(nodes) + 1))
                nodes = node = None
                gc.collect(rng.choice((0, 0, 0, 0, 1, 2)))

        def other():
            while rest > 0:
                for i in range(rng.randrange(4)):
                    if not known:
                        break
                    node = known.pop(rng.randrange(len(known)))
                    rng.choice((node.nodes.clear, lambda: node.nodes.append(Node()),
                                lambda: setattr(node, "me", None), int))()
                node = None
                rng.choice((schedule, lambda: through_map(schedule)))()
        for body in (collector, other, other, other):
            tasklet(body)()
        stackless.run()
        while known:
            known.pop().wait = None
        self.check_collects()
        return len(finalized)

    def test_at_random(self):
        self.assertGreater(sum(self.check_at_random(seed) for seed in range(max(many(60), 6))), 0)


class Callbacks(CollectingTestCase):

    def test_of_a_weakref(self):
        ch, log = channel(), []

        def body():
            refs = [weakref.ref(Node(), lambda r: log.append(ch.receive())) for i in range(3)]
            gc.collect()
            log.append(len(refs))
        self.run_tasklet(body)
        for i in range(3):
            Node()
            through_map(schedule)
            ch.send(i)
        self.assertEqual(log, [0, 1, 2, 3])
        self.check_collects()

    def test_weakref_is_dropped_meanwhile(self):
        ch, refs, log = channel(), [], []

        def body():
            for i in range(4):
                refs.append(weakref.ref(Node(), lambda r: log.append(ch.receive())))
            gc.collect()
            log.append("collected")
        self.run_tasklet(body)
        refs.clear()
        for i in range(4):
            through_map(schedule)
            ch.send(i)
        self.assertEqual(log, [0, 1, 2, 3, "collected"])
        self.check_collects()

    def test_of_the_collector(self):
        ch, log = channel(), []

        def callback(phase, info):
            log.append((phase, ch.receive()))

        def body():
            gc.callbacks.append(callback)
            Node(log, "finalized")
            gc.collect()
            gc.callbacks.remove(callback)
        self.run_tasklet(body)
        through_map(schedule)
        ch.send(1)
        through_map(schedule)
        ch.send(2)
        self.assertEqual(log, [("start", 1), "finalized", ("stop", 2)])
        self.check_collects()


class Threads(CollectingTestCase):

    def test_another_one_meanwhile(self):
        ch, log = channel(), []

        def thread():
            for i in range(100):
                Node()
            log.append(gc.collect())
            tasklet(log.append)("in a tasklet")
            stackless.run()

        def body():
            Node(log, "finalized", lambda node: ch.receive())
            gc.collect()
        self.run_tasklet(body)
        t = threading.Thread(target=thread)
        t.start()
        t.join()
        ch.send(None)
        self.assertEqual(log, [0, "in a tasklet", "finalized"])
        self.check_collects()


class Abandoned(ChildTestCase):
    """The thread ends, and nobody will go on with the collection: others are made again."""

    def test_by_a_greenlet(self):
        self.run_ok("""
            import gc, threading
            from greenlet import getcurrent, greenlet
            gc.disable()
            log, kept = [], []
            class Node:
                def __init__(self, wait):
                    self.me, self.wait = self, wait
                def __del__(self):
                    log.append("finalized")
                    if self.wait:
                        getcurrent().parent.switch()
            def collect():
                Node(False), Node(True), Node(False)
                gc.collect()
            def thread():
                g = greenlet(collect)
                g.switch()
                kept.append(g)
            t = threading.Thread(target=thread)
            t.start()
            t.join()
            log.clear()
            Node(False)
            assert gc.collect() > 0
            assert "finalized" in log, log
            kept.clear()
            gc.collect()
            """)


if __name__ == "__main__":
    unittest.main()
