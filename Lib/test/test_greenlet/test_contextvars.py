"""gr_context: each greenlet has its own contextvars context."""

import contextvars
import gc
import threading
import unittest
import weakref
from contextvars import Context, ContextVar, copy_context

from greenlet import getcurrent, greenlet

from .support import GreenletTestCase, in_thread, needs_ours, needs_soft, switch_back

var = ContextVar("var", default="default")


class ContextTestCase(GreenletTestCase):

    def setUp(self):
        super().setUp()
        # Whatever a test sets is undone: each runs in a context of its own.
        self.addCleanup(setattr, getcurrent(), "gr_context", getcurrent().gr_context)
        getcurrent().gr_context = Context()


class Values(ContextTestCase):

    def test_new_one_is_empty(self):
        var.set("main")
        g = greenlet(lambda: switch_back(var.get()))
        self.assertIsNone(g.gr_context)
        self.assertEqual(g.switch(), "default")
        self.assertIsNone(g.gr_context)

    def test_own_values(self):
        def run(value):
            var.set(value)
            switch_back()
            return var.get()
        var.set("main")
        some = [self.started(run, i) for i in range(10)]
        self.assertEqual(var.get(), "main")
        self.assertEqual([g.gr_context[var] for g in some], list(range(10)))
        self.assertEqual([g.switch() for g in some], list(range(10)))
        self.assertEqual(var.get(), "main")

    def test_lookups_are_not_cached_across(self):
        def run():
            var.set("greenlet")
            for i in range(20):
                seen.append(var.get())
                switch_back()
        seen = []
        var.set("main")
        g = greenlet(run)
        for i in range(20):
            g.switch()
            seen.append(var.get())
        self.assertEqual(seen, ["greenlet", "main"] * 20)
        g.switch()

    def test_reset(self):
        def run():
            token = var.set("x")
            switch_back()
            var.reset(token)
            return var.get()
        g = self.started(run)
        var.set("main")
        self.assertEqual(g.switch(), "default")

    def test_token_of_another(self):
        token = var.set("main")

        def run():
            with self.assertRaises(ValueError):
                var.reset(token)
        greenlet(run).switch()
        var.reset(token)


class Attribute(ContextTestCase):

    def test_of_the_current(self):
        ctx = getcurrent().gr_context
        var.set(1)
        self.assertIs(getcurrent().gr_context, ctx)
        self.assertEqual(ctx[var], 1)

    def test_set_before_the_start(self):
        ctx = Context()
        ctx.run(var.set, "prepared")
        g = greenlet(lambda: var.get())
        g.gr_context = ctx
        self.assertIs(g.gr_context, ctx)
        self.assertEqual(g.switch(), "prepared")

    def test_copy_of_the_creators(self):
        var.set("main")
        g = greenlet(lambda: (switch_back(var.get()), var.set("greenlet"), var.get())[2])
        g.gr_context = copy_context()
        self.assertEqual(g.switch(), "main")
        self.assertEqual(g.switch(), "greenlet")
        self.assertEqual(var.get(), "main")

    def test_set_while_suspended(self):
        ctx = Context()
        ctx.run(var.set, "replaced")
        g = greenlet(lambda: (var.set("own"), switch_back(), var.get())[2])
        g.switch()
        self.assertEqual(g.gr_context[var], "own")
        g.gr_context = ctx
        self.assertEqual(g.switch(), "replaced")

    def test_set_of_the_current(self):
        ctx = Context()
        ctx.run(var.set, "replaced")
        var.set("main")
        self.assertEqual(var.get(), "main")
        getcurrent().gr_context = ctx
        self.assertEqual(var.get(), "replaced")
        self.assertIs(getcurrent().gr_context, ctx)
        getcurrent().gr_context = None
        self.assertIsNone(getcurrent().gr_context)
        self.assertEqual(var.get(), "default")
        self.assertIsNone(getcurrent().gr_context)
        var.set("new")
        self.assertEqual(getcurrent().gr_context[var], "new")

    def test_kept_after_the_end(self):
        g = greenlet(lambda: var.set("last"))
        g.switch()
        self.assertDead(g)
        self.assertEqual(g.gr_context[var], "last")
        g.gr_context = None
        self.assertIsNone(g.gr_context)
        ctx = Context()
        g.gr_context = ctx
        self.assertIs(g.gr_context, ctx)

    def test_shared(self):
        ctx = Context()
        ctx.run(var.set, 0)

        def run():
            for i in range(5):
                var.set(var.get() + 1)
                switch_back()
            return var.get()
        some = [greenlet(run) for i in range(3)]
        for g in some:
            g.gr_context = ctx
        for i in range(5):
            for g in some:
                g.switch()
        self.assertEqual([g.switch() for g in some], [15] * 3)
        self.assertEqual(ctx[var], 15)

    def test_from_the_creators_current_one(self):
        # What SQLAlchemy does.
        var.set("driver")

        class G(greenlet):
            def __init__(self, fn, driver):
                super().__init__(fn, driver)
                self.gr_context = driver.gr_context
        g = G(lambda: (var.get(), var.set("changed"))[0], getcurrent())
        self.assertEqual(g.switch(), "driver")
        self.assertEqual(var.get(), "changed")

    def test_wrong_type(self):
        for target in greenlet(), getcurrent():
            for bad in 5, "x", {}, ContextVar, Context:
                with self.assertRaisesRegex(
                        TypeError,
                        "^greenlet context must be a contextvars.Context or None$"):
                    target.gr_context = bad

    def test_delete(self):
        for target in greenlet(), getcurrent():
            with self.assertRaisesRegex(AttributeError, "^can't delete context attribute$"):
                del target.gr_context


class OtherThread(ContextTestCase):

    def test_executing(self):
        def thread():
            mains.append(getcurrent())
            ready.set()
            done.wait()
        mains, ready, done = [], threading.Event(), threading.Event()
        t = threading.Thread(target=thread)
        t.start()
        ready.wait()
        try:
            with self.assertRaisesRegex(
                    ValueError, "^cannot get context of a greenlet that is running in a "
                                "different thread$"):
                mains[0].gr_context
            with self.assertRaisesRegex(
                    ValueError, "^cannot set context of a greenlet that is running in a "
                                "different thread$"):
                mains[0].gr_context = None
        finally:
            done.set()
            t.join()

    def test_suspended(self):
        ctx = Context()
        g = greenlet(lambda: (var.set("x"), switch_back(), var.get())[2])
        g.switch()

        def there():
            value = g.gr_context[var]
            g.gr_context = ctx
            return value
        self.assertEqual(in_thread(there), "x")
        self.assertEqual(g.switch(), "default")


class Run(ContextTestCase):

    def test_within_a_greenlet(self):
        ctx = Context()

        def run():
            var.set("outside")
            return ctx.run(inner), var.get()

        def inner():
            var.set("inside")
            switch_back()
            return var.get()
        g = self.started(run)
        self.assertIs(g.gr_context, ctx)
        self.assertEqual(var.get(), "default")
        self.assertEqual(g.switch(), ("inside", "outside"))

    def test_whole_body(self):
        ctx = Context()
        g = greenlet(lambda: ctx.run(switch_back))
        g.switch()
        self.assertIs(g.gr_context, ctx)
        g.switch()
        self.assertIsNone(g.gr_context)

    def test_entered_in_a_suspended_one(self):
        ctx = Context()
        g = greenlet(lambda: ctx.run(switch_back))
        g.switch()
        with self.assertRaisesRegex(RuntimeError, "^cannot enter context: .* is already entered$"):
            ctx.run(int)
        g.switch()
        ctx.run(int)

    def test_each_its_own(self):
        def run(i):
            ctx = copy_context()
            ctx.run(body, i)
            return ctx[var]

        def body(i):
            for k in range(5):
                var.set((i, k))
                switch_back()
                self.assertEqual(var.get(), (i, k))
        some = [self.started(run, i) for i in range(5)]
        for k in range(4):
            for g in some:
                g.switch()
        self.assertEqual([g.switch() for g in some], [(i, 4) for i in range(5)])

    @needs_ours
    @needs_soft
    def test_left_when_it_vanishes(self):
        # The greenlet of a thread that has ended: nothing of what its frames held stays, and
        # the context can be entered again, even if gr_context was replaced meanwhile.
        class Value:
            pass

        def run():
            value = Value()
            kept.append(weakref.ref(value))
            var.set(value)
            del value
            ctx.run(lambda: getcurrent().parent.switch())

        def thread(replace):
            g = greenlet(run)
            g.switch()
            if replace:
                g.gr_context = Context()
            some.append(g)
        for replace in False, True:
            with self.subTest(replace=replace):
                kept = []
                some = []
                ctx = Context()
                in_thread(lambda: thread(replace))
                self.assertRaises(RuntimeError, ctx.run, int)
                some.clear()
                gc.collect()
                self.assertEqual([ref() for ref in kept], [None])
                self.assertEqual(ctx.run(int), 0)

    def test_module_level_functions(self):
        def run():
            var.set("x")
            return contextvars.copy_context()
        self.assertEqual(greenlet(run).switch()[var], "x")
        self.assertNotIn(var, copy_context())


if __name__ == "__main__":
    unittest.main()
