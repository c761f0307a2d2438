"""Tasklets that vanish, being left softly: what they have begun, and others would not get over,
is undone; what they were in complains about nothing.

What a sort and a step of an asyncio task leave behind is in the files about these.
"""

from __future__ import annotations

import contextvars
import gc
import sys
import threading
import unittest
import weakref

import stackless
from stackless import schedule, schedule_remove, tasklet

from .support import ChildTestCase, StacklessTestCase, needs_soft, needs_testcapi

var = contextvars.ContextVar("var", default=None)


class Value:
    pass


@needs_soft
class Contexts(StacklessTestCase):
    # (What went wrong: the context counted as entered for ever.)

    def within(self, contexts, wait=lambda: schedule_remove(None)):
        """A tasklet that waits within Context.run() of all of them."""
        def enter(contexts):
            if contexts:
                return contexts[0].run(enter, contexts[1:])
            var.set("within")
            return wait()
        t = tasklet(enter)(contexts)
        t.run()
        return t

    def assertLeft(self, contexts):
        for context in contexts:
            self.assertEqual(context.run(var.get), "within" if context is contexts[-1] else None)

    def contexts(self, n=3):
        return [contextvars.copy_context() for _ in range(n)]

    def test_dropped(self):
        contexts = self.contexts()
        t = self.within(contexts)
        with self.assertRaisesRegex(RuntimeError, "already entered"):
            contexts[1].run(len, "")
        del t
        self.assertLeft(contexts)

    def test_killed(self):
        contexts = self.contexts()
        self.within(contexts).kill()
        self.assertLeft(contexts)

    def test_collected(self):
        contexts = self.contexts()
        cycle = [stackless.channel()]
        cycle.append(self.within(contexts, cycle[0].receive))
        cycle.append(cycle)
        self.assertTrue(cycle[1].blocked)
        del cycle
        gc.collect()
        self.assertLeft(contexts)

    def test_with_its_thread(self):
        contexts = self.contexts()
        ch = stackless.channel()
        box = []

        def thread():
            box.append(self.within(contexts, ch.receive))
        for kept in False, True:
            with self.subTest(kept=kept):
                t = threading.Thread(target=thread)
                t.start()
                t.join()
                if kept:
                    with self.assertRaisesRegex(RuntimeError, "already entered"):
                        contexts[0].run(len, "")
                box.clear()
                ch.close()
                ch = stackless.channel()
                gc.collect()
                self.assertLeft(contexts)

    def test_bound_to_something_else(self):
        contexts = self.contexts()
        t = self.within(contexts)
        self.assertEqual(t.context_id, id(contexts[-1]))
        t.bind(None)
        self.assertLeft(contexts)
        self.assertEqual(t.context_id, id_of_current_context())
        t.bind(schedule_remove, ())
        t.kill()

    def test_in_a_generator(self):
        contexts = self.contexts()

        def gen():
            self.within_run = contexts[0].run(lambda: (var.set("within"), schedule_remove()))
            yield
        t = tasklet(lambda: next(gen()))()
        t.run()
        del t
        self.assertLeft(contexts[:1])

    def test_twice_the_same_at_the_bottom(self):
        # The tasklet has had it from its creator, who has left it; then it enters it.
        context = contextvars.copy_context()
        t = context.run(lambda: tasklet(lambda: context.run(lambda: (
            var.set("within"), schedule_remove(None))))())
        t.run()
        t.bind(None)
        self.assertLeft([context])
        self.assertEqual(t.context_id, id(context))

    def test_nothing_is_kept(self):
        before = contextvars.copy_context()
        value = Value()
        kept = weakref.ref(value)
        before.run(var.set, value)
        contexts = self.contexts()
        t = before.run(lambda: self.within(contexts))
        del before, value
        self.assertIsNotNone(kept())
        del t
        self.assertIsNone(kept())
        self.assertLeft(contexts)
        inner = weakref.ref(contexts[-1])
        del contexts
        self.assertIsNone(inner())

    def test_entered_by_what_is_dropped(self):
        context = contextvars.copy_context()
        entered = []

        class Local:
            def __del__(self):
                context.run(lambda: entered.append(var.get()))

        def wait():
            local = Local()
            schedule_remove(local)
        t = self.within([context], wait)
        del t
        self.assertEqual(entered, ["within"])
        self.assertLeft([context])


def id_of_current_context():
    return stackless.current.context_id


@needs_testcapi
class NoMemory(StacklessTestCase):
    """An allocation fails in the middle: what was begun is undone, too."""

    def attempts(self, operation):
        from .nomemory import outcome_of
        outcomes = []

        def task():
            operation()
            while outcomes[-8:] != ["success"] * 8:
                outcomes.append(outcome_of(operation, len(outcomes)))
        self.run_tasklet(task)
        self.assertIn("failure", outcomes)
        self.assertEqual(set(outcomes), {"success", "failure"})

    def test_contexts(self):
        contexts = [contextvars.Context() for _ in range(4)]

        def operation():
            contexts[0].run(contexts[1].run, contexts[2].run, enter)

        def enter():
            contexts[3].run(callable, "")
        callable = len
        self.attempts(operation)
        callable = schedule
        self.attempts(operation)
        self.assertEqual([context.run(len, "") for context in contexts], [0] * 4)


# --- generators ---------------------------------------------------------------------

def in_for(wait):
    def gen():
        while True:
            yield wait()
    for x in gen():
        pass


def in_yield_from(wait):
    def inner():
        yield wait()

    def outer():
        yield from inner()
    for x in outer():
        pass


def in_next(wait):
    next(wait() for _ in (1,))


def in_send(wait):
    def gen():
        yield wait()
    gen().send(None)


def in_throw(wait):
    def inner():
        try:
            yield
        except KeyError:
            yield wait()

    def outer():
        yield from inner()
    g = outer()
    next(g)
    g.throw(KeyError)


def in_throw_in_python(wait):
    class Iterator:
        def __iter__(self):
            return self

        def __next__(self):
            return 1

        def throw(self, exc):
            wait()

    def outer():
        yield from Iterator()
    g = outer()
    next(g)
    g.throw(KeyError)


def in_a_coroutine(wait):
    async def inner():
        return wait()

    async def outer():
        return await inner()
    outer().send(None)


async def _async_generator(wait):
    yield 1
    yield wait()


def in_an_async_generator(wait):
    async def outer():
        async for x in _async_generator(wait):
            pass
    outer().send(None)


def in_asend(wait):
    async def outer():
        g = _async_generator(wait)
        await g.asend(None)
        await g.asend(2)
    outer().send(None)


PLACES = [in_for, in_yield_from, in_next, in_send, in_throw, in_throw_in_python, in_a_coroutine,
          in_an_async_generator, in_asend]


class Complaints:
    """What sys.unraisablehook was called with."""

    def __enter__(self):
        self.list = []
        self.saved = sys.unraisablehook
        sys.unraisablehook = lambda u: self.list.append((u.exc_type, str(u.exc_value), u.err_msg))
        return self.list

    def __exit__(self, *exc_info):
        sys.unraisablehook = self.saved


@needs_soft
class Collected(StacklessTestCase):
    # (What went wrong: the collector calls all finalizers before it clears anything, and those
    # of generators complained: "generator already executing".)

    def test_in_a_cycle(self):
        for place in PLACES:
            with self.subTest(place.__name__), Complaints() as complaints:
                cycle = [stackless.channel()]
                cycle.append(tasklet(place)(cycle[0].receive))
                cycle.append(cycle)
                cycle[1].run()
                self.assertTrue(cycle[1].blocked)
                gone = weakref.ref(cycle[1])
                del cycle
                gc.collect()
                self.assertIsNone(gone())
                self.assertEqual(complaints, [])

    def test_dropped(self):
        for place in PLACES:
            with self.subTest(place.__name__), Complaints() as complaints:
                t = tasklet(place)(lambda: schedule_remove(None))
                t.run()
                self.assertTrue(t.paused)
                del t
                gc.collect()
                self.assertEqual(complaints, [])

    def test_the_hooks_of_async_generators(self):
        # There is nothing that an event loop could close.
        for place in in_an_async_generator, in_asend:
            with self.subTest(place.__name__), Complaints() as complaints:
                finalized = []
                hooks = sys.get_asyncgen_hooks()
                sys.set_asyncgen_hooks(finalizer=finalized.append)
                try:
                    cycle = [stackless.channel()]
                    cycle.append(tasklet(place)(cycle[0].receive))
                    cycle.append(cycle)
                    cycle[1].run()
                    del cycle
                    gc.collect()
                finally:
                    sys.set_asyncgen_hooks(*hooks)
                self.assertEqual(finalized, [])
                self.assertEqual(complaints, [])

    def test_its_finally_does_not_run(self):
        log = []

        def gen(wait):
            try:
                yield wait()
            finally:
                log.append("finally")

        def task(wait):
            for x in gen(wait):
                pass
        cycle = [stackless.channel()]
        cycle.append(tasklet(task)(cycle[0].receive))
        cycle.append(cycle)
        cycle[1].run()
        del cycle
        gc.collect()
        self.assertEqual(log, [])

    def test_those_that_are_suspended_are_closed(self):
        log = []

        def gen(name):
            try:
                yield
            finally:
                log.append(name)

        def running(wait):
            inner = gen("of a running one")
            next(inner)
            yield wait()

        def task(wait):
            local = gen("of the tasklet")
            next(local)
            for x in running(wait):
                pass
        cycle = [stackless.channel()]
        cycle.append(tasklet(task)(cycle[0].receive))
        cycle.append(cycle)
        cycle[1].run()
        with Complaints() as complaints:
            del cycle
            gc.collect()
        self.assertEqual(sorted(log), ["of a running one", "of the tasklet"])
        self.assertEqual(complaints, [])

    def test_those_that_delegate_to_a_running_one(self):
        # Each is closed for itself.
        log = []

        def inner(wait):
            yield
            yield wait()

        def outer(to):
            try:
                yield from to.pop()
            except GeneratorExit:
                log.append("closed")
                raise

        def cycle(outermost_first):
            # The collector finds those first that were made first.
            ch = stackless.channel()
            i = inner(ch.receive)
            box = []
            pair = [outer([i]), outer(box)]
            if outermost_first:
                pair = [outer(box), outer([i])][::-1]
            box.append(pair[0])
            o = pair.pop()
            next(o)
            t = tasklet(lambda: next(i))()
            t.run()
            self.assertTrue(t.blocked)
            parts = [i, o, ch]
            parts.append(parts)
            return weakref.ref(t)
        for outermost_first in False, True:
            log.clear()
            with Complaints() as complaints:
                gone = cycle(outermost_first)
                gc.collect()
            self.assertIsNone(gone())
            self.assertEqual(complaints, [])
            self.assertEqual(log, ["closed", "closed"])

    def test_saved_by_a_finalizer(self):
        # The generator goes on; and when it is dropped later, it is closed.
        log = []
        saved = []

        class Saviour:
            def __init__(self, t):
                self.t = t

            def __del__(self):
                saved.append(self.t)

        def gen(wait):
            try:
                log.append(wait())
                yield
            finally:
                log.append("closed")

        def task(ch):
            g = gen(ch.receive)
            next(g)
            log.append("after next")
            schedule_remove(None)

        cycle = [stackless.channel()]
        cycle.append(tasklet(task)(cycle[0]))
        cycle.append(Saviour(cycle[1]))
        cycle.append(cycle)
        cycle[1].run()
        with Complaints() as complaints:
            del cycle
            gc.collect()
            self.assertEqual(len(saved), 1)
            self.assertTrue(saved[0].blocked)
            saved[0]._channel.send(5)
            stackless.run()
            self.assertEqual(log, [5, "after next"])
            saved.clear()
            gc.collect()
        self.assertEqual(log, [5, "after next", "closed"])
        self.assertEqual(complaints, [])


ENDS = {
    "at exit": """
        stackless.tasklet(place)(channel.receive)
        stackless.run()
        """,
    "at exit, in the middle of the queue": """
        runnable.append(stackless.tasklet(place)(stackless.schedule_remove))
        stackless.run()
        """,
    "by the collector": """
        cycle = [stackless.channel()]
        cycle.append(stackless.tasklet(place)(cycle[0].receive))
        cycle.append(cycle)
        stackless.run()
        del cycle
        gc.collect()
        """,
    "with its thread": """
        threading.Thread(target=lambda: (stackless.tasklet(place)(channel.receive),
                                         stackless.run())).start()
        """,
    "with its thread, in a cycle": """
        def thread():
            ch = stackless.channel()
            stackless.tasklet(place)(ch.receive)
            stackless.run()
        threading.Thread(target=thread).start()
        """,
    "by its reference count": """
        t = stackless.tasklet(place)(stackless.schedule_remove)
        stackless.run()
        del t
        """,
    "killed": """
        t = stackless.tasklet(place)(channel.receive)
        stackless.run()
        t.kill()
        """,
    "in a greenlet, at exit": """
        kept.append(greenlet.greenlet(place))
        kept[-1].switch(greenlet.getcurrent().switch)
        """,
    "in a greenlet, by the collector": """
        cycle = [greenlet.greenlet(place)]
        cycle.append(cycle)
        cycle[0].switch(greenlet.getcurrent().switch)
        del cycle
        gc.collect()
        """,
    "in a greenlet, with its thread": """
        def thread():
            greenlet.greenlet(place).switch(greenlet.getcurrent().switch)
        threading.Thread(target=thread).start()
        """,
}


class Silent(ChildTestCase):
    """Nothing is written to stderr."""

    def test_ends(self):
        for end, program in ENDS.items():
            with self.subTest(end):
                self.run_ok(f"""
    import gc, greenlet, stackless, threading
    from test_stackless.test_vanishing import PLACES
    channel = stackless.channel()
    kept = []
    runnable = []
    def end(place):
        {program}
    for place in PLACES:
        end(place)
    for t in runnable:
        t.insert()
    """)

    def test_constructs_at_exit(self):
        self.run_ok("""
import stackless
from test_stackless.constructs import SOFT, WARM
from test_stackless.constructs_inline import INLINED
channel = stackless.channel()
for construct in [*SOFT.values(), *WARM.values(), *INLINED.values()]:
    for warm in range(2):
        stackless.tasklet(construct)(channel.receive)
        stackless.run()
""")


if __name__ == "__main__":
    unittest.main()
