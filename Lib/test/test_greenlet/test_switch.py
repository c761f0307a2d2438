"""switch(): what arrives where, when a greenlet begins, goes on and ends."""

import sys
import types
import unittest
import weakref

from greenlet import GreenletExit, getcurrent, greenlet

from .support import BaseError, Error, GreenletTestCase, catch, echo, switch_back


class Values(GreenletTestCase):
    """What one side gives is what the other one gets."""

    CASES = (
        ((), {}, ()),
        ((None,), {}, None),
        (((),), {}, ()),
        (((5,),), {}, (5,)),
        ((1,), {}, 1),
        ((1, 2), {}, (1, 2)),
        ((), {"a": 1}, {"a": 1}),
        ((), {"a": 1, "b": 2}, {"a": 1, "b": 2}),
        ((1,), {"a": 2}, ((1,), {"a": 2})),
        ((1, 2), {"a": 3}, ((1, 2), {"a": 3})),
        (({},), {}, {}),
    )

    def test_into_a_suspended_one(self):
        got = []

        def run():
            while True:
                got.append(switch_back())
        g = self.started(run)
        for args, kwargs, expected in self.CASES:
            with self.subTest(args=args, kwargs=kwargs):
                g.switch(*args, **kwargs)
                self.assertEqual(got.pop(), expected)

    def test_into_the_parent(self):
        def run():
            for args, kwargs, _ in self.CASES:
                getcurrent().parent.switch(*args, **kwargs)
        g = greenlet(run)
        for args, kwargs, expected in self.CASES:
            with self.subTest(args=args, kwargs=kwargs):
                self.assertEqual(g.switch(), expected)
        g.switch()

    def test_to_a_new_one_are_its_arguments(self):
        def run(*args, **kwargs):
            return args, kwargs
        for args, kwargs, _ in self.CASES:
            with self.subTest(args=args, kwargs=kwargs):
                self.assertEqual(greenlet(run).switch(*args, **kwargs), (args, kwargs))

    def test_to_the_current_one(self):
        for args, kwargs, expected in self.CASES:
            with self.subTest(args=args, kwargs=kwargs):
                self.assertEqual(getcurrent().switch(*args, **kwargs), expected)

    def test_to_a_dead_one(self):
        g = greenlet(lambda: None)
        g.switch()
        for args, kwargs, expected in self.CASES:
            with self.subTest(args=args, kwargs=kwargs):
                self.assertEqual(g.switch(*args, **kwargs), expected)

    def test_returned_value_is_not_unpacked(self):
        for value in (5,), (), (1, 2), None, {}, {"a": 1}, [1]:
            with self.subTest(value=value):
                self.assertEqual(greenlet(lambda: value).switch(), value)

    def test_wrong_arguments_for_run(self):
        g = greenlet(lambda x: x)
        with self.assertRaisesRegex(TypeError, "missing 1 required positional argument"):
            g.switch()
        self.assertDead(g)

    def test_identity(self):
        value = object()
        g = self.started(echo, None.__class__)
        self.assertIs(g.switch(value), value)


class Order(GreenletTestCase):

    def test_two(self):
        log = []

        def run(name):
            for i in range(3):
                log.append((name, i))
                switch_back()
        a, b = greenlet(run), greenlet(run)
        a.switch("a")
        b.switch("b")
        for i in range(2):
            a.switch()
            b.switch()
        self.assertEqual(log, [(n, i) for i in range(3) for n in "ab"])
        a.switch()
        b.switch()
        self.assertDead(a)
        self.assertDead(b)

    def test_without_the_parent(self):
        log = []

        def first():
            log.append(1)
            b.switch()
            log.append(3)
            b.switch()

        def second():
            log.append(2)
            a.switch()
            log.append(4)
        a, b = greenlet(first), greenlet(second)
        a.switch()
        self.assertEqual(log, [1, 2, 3, 4])
        self.assertDead(b)
        self.assertActive(a)
        a.switch()
        self.assertDead(a)

    def test_current(self):
        seen = []

        def run():
            seen.append(getcurrent())
            switch_back()
            seen.append(getcurrent())
        main = getcurrent()
        g = self.started(run)
        self.assertIs(getcurrent(), main)
        g.switch()
        self.assertEqual(seen, [g, g])

    def test_nested(self):
        def run(n):
            if n == 0:
                return [0]
            return greenlet(run).switch(n - 1) + [n]
        self.assertEqual(run(50), list(range(51)))

    def test_states(self):
        states = []

        def run():
            states.append((bool(g), g.dead))
            switch_back()
        g = greenlet(run)
        states.append((bool(g), g.dead))
        g.switch()
        states.append((bool(g), g.dead))
        g.switch()
        states.append((bool(g), g.dead))
        self.assertEqual(states, [(False, False), (True, False), (True, False), (False, True)])

    def test_self_switch_keeps_running(self):
        self.assertEqual(greenlet(lambda: getcurrent().switch(7) + 1).switch(), 8)

    def test_locals_survive(self):
        def run(n):
            values = [object() for i in range(n)]
            ids = [id(v) for v in values]
            switch_back()
            return ids == [id(v) for v in values]
        some = [self.started(run, n) for n in range(30)]
        self.assertTrue(all(g.switch() for g in reversed(some)))

    def test_from_different_depths(self):
        def down(n, value):
            if n:
                return down(n - 1, value) + 1
            return switch_back(value)
        some = [self.started(down, n, n) for n in range(0, 120, 7)]
        for g, n in zip(some, range(0, 120, 7)):
            self.assertEqual(g.switch(1000), 1000 + n)

    def test_bound_method(self):
        # gevent looks at these two.
        g = greenlet(lambda x: x)
        self.assertEqual(g.switch.__name__, "switch")
        self.assertIs(g.switch.__self__, g)
        self.assertEqual(g.throw.__name__, "throw")
        self.assertIs(g.throw.__self__, g)
        switch = g.switch
        self.assertEqual(switch(4), 4)


class WaysToCall(GreenletTestCase):
    """Whatever the call looks like, and however often it has been made."""

    TURNS = 40

    def by_attribute(g, *args):
        return g.switch(*args)

    def by_name(g, *args):
        if not args:
            return g.switch()
        return g.switch(args[0]) if len(args) == 1 else g.switch(args[0], args[1])

    def by_kept_method(g, *args):
        switch = g.switch
        if not args:
            return switch()
        return switch(args[0]) if len(args) == 1 else switch(args[0], args[1])

    def by_temporary_method(g, *args):
        if not args:
            return getattr(g, "switch")()
        return getattr(g, "switch")(args[0]) if len(args) == 1 else g.switch(*args)

    def by_method_of_a_method(g, *args):
        if not args:
            return g.switch()
        method = types.MethodType(g.switch, args[0])
        return method() if len(args) == 1 else method(args[1])

    def by_class(g, *args):
        switch = greenlet.switch
        if not args:
            return switch(g)
        return switch(g, args[0]) if len(args) == 1 else switch(g, args[0], args[1])

    def by_map(g, *args):
        return next(map(lambda _: g.switch(*args), [None]))

    def by_keywords(g, *args):
        return g.switch(**{f"a{i}": arg for i, arg in enumerate(args)}) if args else g.switch()

    WAYS = by_attribute, by_name, by_kept_method, by_temporary_method, \
        by_method_of_a_method, by_class, by_map, by_keywords

    def delivered(self, way, args):
        if way is WaysToCall.by_keywords and args:
            return {f"a{i}": arg for i, arg in enumerate(args)}
        return args[0] if len(args) == 1 else args

    def check(self, way, back, args, below_c):
        """Its partner, entered by `way`, switches to it by `back`."""
        def partner(*first, **kwargs):
            log.append(kwargs or (first[0] if len(first) == 1 else first))
            for i in range(self.TURNS):
                log.append(back(home, *args))
            return "end"

        def take_turns(p):
            results = [way(p, *args) for i in range(self.TURNS)]
            return results, way(p, *args)
        value = object()
        args = tuple([value] * args)
        for home in getcurrent(), greenlet(take_turns):
            log = []
            p = greenlet(lambda *a, **k: next(map(lambda _: partner(*a, **k), [None]))
                         if below_c else partner(*a, **k), home)
            if home is getcurrent():
                results, end = take_turns(p)
            else:
                results, end = home.switch(p)
            self.assertEqual(results, [self.delivered(back, args)] * self.TURNS)
            self.assertEqual(log, [self.delivered(way, args)] * (self.TURNS + 1))
            self.assertEqual(end, "end")
            self.assertTrue(p.dead)
        del log, results
        return value

    def test_all(self):
        for way in self.WAYS:
            for back in self.WAYS:
                for args in range(3):
                    for below_c in False, True:
                        with self.subTest(way=way.__name__, back=back.__name__, args=args,
                                          below_c=below_c):
                            self.check(way, back, args, below_c)

    def test_references_are_as_many_as_before(self):
        for way in self.WAYS:
            with self.subTest(way=way.__name__):
                def partner(*_, **__):
                    while True:
                        way(home, value)

                def take_turns(turns):
                    for _ in range(turns):
                        way(p, value)

                value = object()
                for home in getcurrent(), greenlet(lambda *_: take_turns(30)):
                    p = greenlet(partner)
                    if home is not getcurrent():
                        p = greenlet(partner, home)
                        home.switch()
                    take_turns(5)
                    counts = [sys.getrefcount(x) for x in (value, p, p.switch, partner)]
                    take_turns(30)
                    self.assertEqual(
                        [sys.getrefcount(x) for x in (value, p, p.switch, partner)], counts)
                    r = weakref.ref(p)
                    p = None
                    self.assertIsNone(r())
                home = None

    def test_the_call_holds_the_only_reference(self):
        def wait():
            return getattr(getcurrent().parent, "switch")("waits")

        for turn in range(self.TURNS):
            g = greenlet(wait)
            self.assertEqual(g.switch(), "waits")
            r = weakref.ref(g)
            some = [g]
            del g
            self.assertEqual(getattr(some.pop(), "switch")("end"), "end")
            self.assertIsNone(r())
            # One that switches on, and is then referred to by nobody.
            log = []
            second = greenlet(lambda: log.append(switch_back("second")), getcurrent())
            first = greenlet(lambda: some.pop().switch(), getcurrent())
            some = [second]
            del second
            self.assertEqual(first.switch(), "second")
            del first
            self.assertEqual(log, [])


class Finish(GreenletTestCase):

    def test_value_goes_to_the_parent_wherever_it_was_left(self):
        def parent():
            child = greenlet(lambda: "child's")
            return "parent got", child.switch()
        self.assertEqual(greenlet(parent).switch(), ("parent got", "child's"))

    def test_parent_and_not_the_switcher(self):
        log = []
        child = greenlet(lambda: "value")

        def other():
            log.append(child.switch())
        o = greenlet(other)
        self.assertEqual(o.switch(), "value")
        self.assertEqual(log, [])
        self.assertActive(o)
        o.switch(5)
        self.assertEqual(log, [5])

    def test_dead_parent_is_skipped(self):
        middle = greenlet(lambda: None)
        child = greenlet(lambda: 3, middle)
        middle.switch()
        self.assertDead(middle)
        self.assertEqual(child.switch(), 3)

    def test_unstarted_parent_is_started(self):
        log = []
        parent = greenlet(lambda *args, **kwargs: log.append((args, kwargs)))
        child = greenlet(lambda: (1, 2), parent)
        child.switch()
        self.assertEqual(log, [(((1, 2),), {})])
        self.assertDead(parent)

    def test_switch_to_dead_goes_to_the_living_ancestor(self):
        log = []

        def parent():
            log.append(switch_back())
        p = self.started(parent)
        child = greenlet(lambda: None, p)
        child.parent = getcurrent()
        child.switch()
        child.parent = p
        child.switch("for the parent")
        self.assertEqual(log, ["for the parent"])

    def test_switch_to_dead_starts_an_unstarted_ancestor(self):
        child = greenlet(lambda: None)
        child.switch()
        child.parent = greenlet(lambda *args, **kwargs: (args, kwargs))
        self.assertEqual(child.switch(1, a=2), ((1,), {"a": 2}))

    def test_many_levels(self):
        def run(n):
            return "end" if n == 0 else greenlet(run, getcurrent()).switch(n - 1)
        self.assertEqual(greenlet(run).switch(100), "end")


class Uncaught(GreenletTestCase):

    def test_raised_in_the_parent(self):
        def run():
            raise Error(1)
        g = greenlet(run)
        with self.assertRaises(Error) as cm:
            g.switch()
        self.assertEqual(cm.exception.args, (1,))
        self.assertDead(g)

    def test_any_class(self):
        for e in SystemExit, KeyboardInterrupt, BaseError, StopIteration, GeneratorExit:
            def run():
                raise e(5)
            with self.subTest(e), self.assertRaises(e) as cm:
                greenlet(run).switch()
            self.assertEqual(cm.exception.args, (5,))

    def test_same_instance(self):
        e = Error()

        def run():
            raise e
        with self.assertRaises(Error) as cm:
            greenlet(run).switch()
        self.assertIs(cm.exception, e)

    def test_dead_parent_is_skipped(self):
        middle = greenlet(lambda: None)

        def run():
            raise Error
        child = greenlet(run, middle)
        middle.switch()
        with self.assertRaises(Error):
            child.switch()

    def test_unstarted_parent_dies_of_it(self):
        log = []
        parent = greenlet(lambda *args: log.append(args))

        def run():
            raise Error
        with self.assertRaises(Error):
            greenlet(run, parent).switch()
        self.assertEqual(log, [])
        self.assertDead(parent)

    def test_exit_is_a_value(self):
        class Exit(GreenletExit):
            pass
        for cls in GreenletExit, Exit:
            def run():
                raise cls(1)
            value = greenlet(run).switch()
            self.assertIs(type(value), cls)
            self.assertEqual(value.args, (1,))

    def test_parent_goes_on(self):
        def child():
            raise Error("child")

        def parent():
            try:
                greenlet(child).switch()
            except Error as e:
                return str(e)
        self.assertEqual(greenlet(parent).switch(), "child")

    def test_parent_without_run(self):
        # The parent cannot begin, which is for the parent's parent to know.
        parent = greenlet()
        child = greenlet(lambda: 1, parent)
        with self.assertRaisesRegex(AttributeError, "run"):
            child.switch()
        self.assertDead(child)

    def test_parent_that_fails_to_look_up_run(self):
        class G(greenlet):
            def __getattribute__(self, name):
                if name == "run":
                    raise Error("no run today")
                return super().__getattribute__(name)
        child = greenlet(lambda: 1, G())
        with self.assertRaisesRegex(Error, "no run today"):
            child.switch()


class LookupOfRun(GreenletTestCase):
    """Finding `run` is arbitrary code, which may do anything."""

    def test_fails(self):
        class G(greenlet):
            @property
            def run(self):
                raise Error
        g = G()
        with self.assertRaises(Error):
            g.switch()
        self.assertPending(g)

    def test_switches(self):
        other = self.started(echo, 1)

        class G(greenlet):
            @property
            def run(self):
                got.append(other.switch(2))
                return lambda *args: args
        got = []
        self.assertEqual(G().switch(5), (5,))
        self.assertEqual(got, [2])

    def test_starts_it_meanwhile(self):
        got = []

        class G(greenlet):
            first = True

            @property
            def run(self):
                if self.first:
                    self.first = False
                    got.append(self.switch("inner"))
                return body

        def body(*args):
            got.append(args)
            got.append(switch_back("suspended"))
            return "done"
        g = G()
        self.assertEqual(g.switch("outer"), "done")
        self.assertEqual(got, [("inner",), "suspended", "outer"])

    def test_runs_it_to_its_end_meanwhile(self):
        class G(greenlet):
            first = True

            @property
            def run(self):
                if self.first:
                    self.first = False
                    self.switch("inner")
                return lambda *args: None
        g = G()
        self.assertEqual(g.switch("outer"), "outer")
        self.assertDead(g)

    def test_reparents(self):
        new = greenlet(lambda value: ("new parent", value))

        class G(greenlet):
            @property
            def run(self):
                self.parent = new
                return lambda: 1
        self.assertEqual(G().switch(), ("new parent", 1))

    def test_happens_for_throw_too(self):
        log = []

        class G(greenlet):
            @property
            def run(self):
                log.append("looked up")
                return None
        g = G()
        self.assertIsInstance(g.throw(), GreenletExit)
        self.assertEqual(log, ["looked up"])
        with self.assertRaisesRegex(AttributeError, "run"):
            greenlet().throw()

    def test_dropping_run_switches(self):
        log = []

        def serve():
            client = switch_back()
            client.switch("served")
        other = self.started(serve)

        class Body:
            def __call__(self):
                log.append("body")

            def __del__(self):
                log.append(other.switch(getcurrent()))
        g = greenlet(Body())
        g.switch()
        self.assertEqual(sorted(log), ["body", "served"])
        self.assertDead(g)


class Chain(GreenletTestCase):

    def test_generator_of_values(self):
        def produce(n):
            for i in range(n):
                switch_back(i)
            return None
        g = greenlet(produce)
        values = []
        value = g.switch(10)
        while value is not None:
            values.append(value)
            value = g.switch()
        self.assertEqual(values, list(range(10)))

    def test_ring(self):
        ring = []

        def member(index):
            total = 0
            value = switch_back()
            while value:
                total += 1
                value = ring[(index + 1) % len(ring)].switch(value - 1)
            return total
        for i in range(10):
            ring.append(self.started(member, i))
        # The last one ends; the others wait for ever in their turn.
        self.assertEqual(ring[0].switch(25), 2)
        self.assertEqual(sum(g.dead for g in ring), 1)
        log = []
        for g in ring:
            if not g.dead:
                log.append(g.switch(0))
        self.assertEqual(sorted(log), [2, 2, 2, 2, 3, 3, 3, 3, 3])

    def test_exception_then_value(self):
        log = []
        g = self.started(catch, log)
        g.throw(Error)
        self.assertIs(type(log[0]), Error)
        self.assertDead(g)


if __name__ == "__main__":
    unittest.main()
