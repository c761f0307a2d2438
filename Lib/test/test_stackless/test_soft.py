"""From where a tasklet can be left: softly, through C code, from main."""

import functools
import gc
import unittest
import warnings

import stackless
from stackless import channel, schedule, schedule_remove, tasklet

from .constructs import SOFT, WARM
from .constructs_c import THROUGH_C
from .constructs_inline import INLINED
from .support import StacklessTestCase, needs_order, reset_scheduler


class Error(Exception):
    pass


def nothing():
    pass


class InTasklets(StacklessTestCase):
    """Every construct, with a switch inside, in a tasklet that is not main."""

    def waits(self, construct):
        """Suspend within *construct*, look at it, go on."""
        log = []

        def task():
            log.append(construct(lambda: schedule_remove("result")))
            log.append("end")
        t = tasklet(task)()
        t.run()
        self.assertEqual(log, [])
        self.assertTrue(t.paused)
        self.assertEqual(t.nesting_level, 0)
        self.assertIs(t.restorable, True)
        gc.collect()
        t.run()
        self.assertEqual(log, ["result", "end"])
        self.assertDead(t)

    def raises(self, construct):
        """Suspend within *construct*, throw something into it."""
        def task():
            construct(lambda: schedule_remove(None))
        t = tasklet(task)()
        t.run()
        self.assertTrue(t.paused)
        with self.assertRaises(Error) as cm:
            t.throw(Error, 5)
        self.assertEqual(cm.exception.args, (5,))
        self.assertDead(t)

    def vanishes(self, construct):
        """Suspend within *construct*, drop the tasklet."""
        def task():
            construct(lambda: schedule_remove(None))
        t = tasklet(task)()
        t.run()
        self.assertTrue(t.paused)
        del t
        gc.collect()

    def interleaves(self, construct):
        """Several tasklets within *construct* at the same time."""
        log = []

        def task(n):
            for i in range(3):
                log.append((construct(lambda: schedule(n)), i))
        for n in range(3):
            tasklet(task)(n)
        stackless.run()
        self.assertEqual(sorted(log), [(n, i) for n in range(3) for i in range(3)])

    def receives(self, construct):
        ch = channel()
        log = []

        def task():
            log.append(construct(lambda: ch.receive()))
        t = tasklet(task)()
        t.run()
        self.assertTrue(t.blocked)
        ch.send("value")
        self.assertEqual(log, ["value"])

    CHECKS = ("waits", "raises", "vanishes", "interleaves", "receives")

    def check_all(self, table):
        for name, construct in table.items():
            for check in self.CHECKS:
                with self.subTest(construct=name, check=check):
                    try:
                        getattr(self, check)(construct)
                    finally:
                        # One that fails must not spoil the next.
                        reset_scheduler()

    def test_soft(self):
        self.check_all(SOFT)

    def test_inlined(self):
        self.check_all(INLINED)

    def test_soft_when_specialised(self):
        for construct in WARM.values():
            for i in range(200):
                construct(nothing)
        self.check_all(WARM)

    def test_through_c(self):
        # Either it works, or it is refused with everything as it was.
        for name, construct in THROUGH_C.items():
            with self.subTest(construct=name):
                self.refused_or_done(construct)

    def refused_or_done(self, construct):
        log = []
        other = []

        def switch():
            before = stackless.current.scheduled, stackless.runcount
            try:
                schedule()
            except RuntimeError as e:
                self.assertTrue(str(e))
                self.assertEqual(
                    (stackless.current.scheduled, stackless.runcount), before)
                log.append("refused")
            else:
                log.append("done")
            return "result"

        def task():
            log.append(construct(switch))
        t = tasklet(task)()
        tasklet(other.append)(1)
        stackless.run()
        self.assertDead(t)
        self.assertIn(log, (["refused", "result"], ["done", "result"]))
        self.assertEqual(other, [1])

    def test_every_operation_through_c(self):
        ch = channel()
        done = []
        operations = {
            "schedule": schedule, "schedule_remove": schedule_remove,
            "run": stackless.run,
            "tasklet.run": lambda: tasklet(nothing, ()).run(),
            "switch": lambda: tasklet(nothing, ()).switch(),
            "kill": lambda: tasklet(nothing, ()).kill(),
            "receive": ch.receive, "send": lambda: ch.send(1),
            "send_sequence": lambda: ch.send_sequence([1]),
            "next": lambda: next(ch),
        }

        def task():
            for name, f in operations.items():
                list(map(lambda f: f(), [f]))
                done.append(name)
        other = tasklet(nothing)()
        t = tasklet(task, ())
        t.run()
        while t.alive:
            if t.paused:
                t.insert()
            elif ch.balance < 0:
                ch.send(1)
            elif ch.balance > 0:
                ch.receive()
            stackless.run()
        self.assertEqual(done, list(operations))
        self.assertDead(other)

    def test_operations_that_do_not_switch_are_never_refused(self):
        ch = channel()
        ch.preference = 0
        log = []
        receiver = self.receiver(ch, log)
        paused = tasklet(log.append, ("paused",))

        def call(x):
            ch.send("sent")
            paused.insert()
            tasklet(log.append)("new")
            tasklet().kill()
            stackless.current.run()
            stackless.current.block_trap = True

        def task():
            list(map(call, [1]))
        self.run_tasklet(task)
        self.assertDead(receiver)
        self.assertTurns(log, ["sent", "paused", "new"])

    def test_schedule_alone_through_c(self):
        log = []

        def task():
            log.append(list(map(schedule, [5])))
        self.run_tasklet(task)
        self.assertEqual(log, [[5]])


class InMain(StacklessTestCase):
    """The main tasklet may switch from anywhere."""

    def test_all_constructs(self):
        for table in (SOFT, WARM, INLINED, THROUGH_C):
            for name, construct in table.items():
                with self.subTest(construct=name):
                    log = []
                    t = tasklet(log.append)("task")
                    result = construct(lambda: schedule("result"))
                    self.assertEqual(result, "result")
                    self.assertEqual(log, ["task"])
                    self.assertDead(t)

    def test_all_constructs_receive(self):
        for table in (SOFT, WARM, INLINED, THROUGH_C):
            for name, construct in table.items():
                with self.subTest(construct=name):
                    ch = channel()
                    t = tasklet(ch.send)("value")
                    self.assertEqual(construct(lambda: ch.receive()), "value")
                    t.run()

    def test_all_constructs_raise(self):
        def fail():
            raise Error
        for table in (SOFT, WARM, INLINED, THROUGH_C):
            for name, construct in table.items():
                with self.subTest(construct=name):
                    tasklet(fail)()
                    with self.assertRaises(Error):
                        construct(lambda: stackless.run())

    def test_nested_callbacks(self):
        # Each level is one more dispatcher on main's C stack.
        log = []

        def task(n):
            while True:
                log.append(n)
                schedule()
        t = tasklet(task)("t")

        def level(n):
            schedule()
            if n:
                list(map(level, [n - 1]))
                schedule()
        level(10)
        self.assertEqual(log, ["t"] * 21)
        t.kill()


class Calls(StacklessTestCase):
    """Every way to write the call of a switching function."""

    def check(self, make):
        """make(ch) returns a function that receives from ch and returns it."""
        ch = channel()
        receive = make(ch)
        log = []

        def task():
            for i in range(3):
                log.append(receive())
        t = tasklet(task)()
        t.run()
        for i in range(3):
            self.assertTrue(t.blocked)
            self.assertEqual(t.nesting_level, 0)
            ch.send(i)
        self.assertEqual(log, [0, 1, 2])
        self.assertDead(t)

    def test_method(self):
        def make(ch):
            def receive():
                return ch.receive()
            return receive
        self.check(make)

    def test_bound_method_in_a_variable(self):
        def make(ch):
            f = ch.receive

            def receive():
                return f()
            return receive
        self.check(make)

    def test_bound_method_as_the_function(self):
        self.check(lambda ch: ch.receive)

    def test_unbound_method(self):
        def make(ch):
            def receive():
                return channel.receive(ch)
            return receive
        self.check(make)

    def test_star_arguments(self):
        def make(ch):
            def receive():
                return ch.receive(*())
            return receive
        self.check(make)

    def test_star_and_keyword_arguments(self):
        def make(ch):
            def receive():
                return ch.receive(*(), **{})
            return receive
        self.check(make)

    def test_unbound_method_with_star(self):
        def make(ch):
            def receive():
                return channel.receive(*[ch])
            return receive
        self.check(make)

    def test_getattr(self):
        def make(ch):
            def receive():
                return getattr(ch, "receive")()
            return receive
        self.check(make)

    def test_container_item(self):
        def make(ch):
            d = {"f": ch.receive}

            def receive():
                return d["f"]()
            return receive
        self.check(make)

    def test_subclass_method(self):
        class Sub(channel):
            pass

        def make(ch):
            def receive():
                return sub.receive()
            return receive
        sub = Sub()
        receive = make(None)
        log = []
        t = tasklet(lambda: log.append(receive()))()
        t.run()
        sub.send(1)
        self.assertEqual(log, [1])
        self.assertDead(t)

    def test_super_method(self):
        class Sub(channel):
            def receive(self):
                return super().receive()

            def send(self, value):
                super().send(value)
        ch = Sub()
        log = []
        t = self.receiver(ch, log)
        self.assertEqual(t.nesting_level, 0)
        ch.send(1)
        self.assertEqual(log, [1])

    def test_call_in_a_loop_of_mixed_callables(self):
        # The call site is not specialised for one of them.
        ch = channel()
        log = []

        def task():
            for f in (len, ch.receive, str, ch.receive, nothing, ch.receive):
                log.append(f() if f is not len else f(""))
        t = tasklet(task)()
        t.run()
        for i in range(3):
            ch.send(i)
        self.assertEqual(log, [0, 0, "", 1, None, 2])
        self.assertDead(t)

    def test_module_function(self):
        self.interleaved(lambda: stackless.schedule())

    def test_imported_function(self):
        self.interleaved(lambda: schedule())

    def test_function_with_keyword(self):
        self.interleaved(lambda: schedule(retval=1))

    def test_function_with_star(self):
        self.interleaved(lambda: schedule(*[1]))

    def test_function_with_double_star(self):
        self.interleaved(lambda: schedule(**{"retval": 1}))

    def test_local_alias(self):
        def task():
            s = stackless.schedule
            s()
        self.interleaved(task)

    def test_argument_as_callable(self):
        def call(f, *args):
            return f(*args)
        self.interleaved(lambda: call(schedule, 1))

    def test_function_itself(self):
        self.interleaved(schedule)

    def interleaved(self, f):
        order = []

        def task(name):
            for i in range(3):
                order.append(name)
                f()
        tasklet(task)("a")
        tasklet(task)("b")
        stackless.run()
        self.assertTurns(order, list("ababab"))

    def test_send_with_star(self):
        ch = channel()

        def task():
            args = (5,)
            ch.send(*args)
        t = tasklet(task)()
        t.run()
        self.assertEqual(t.nesting_level, 0)
        self.assertEqual(ch.receive(), 5)
        t.run()

    def test_wrong_arguments_in_a_tasklet(self):
        ch = channel()
        log = []

        def task():
            for f in (lambda: ch.send(), lambda: ch.send(*(1, 2)),
                      lambda: ch.receive(1), lambda: schedule(x=1),
                      lambda: schedule(*(1, 2)), lambda: schedule(**{"y": 1})):
                try:
                    f()
                except TypeError:
                    log.append(1)
        self.run_tasklet(task)
        self.assertEqual(log, [1] * 6)
        self.assertEqual(ch.balance, 0)

    @needs_order
    def test_tasklet_methods(self):
        order = []

        def other(name):
            while True:
                order.append(name)
                schedule_remove(None)

        def task():
            t = tasklet(other, ("o",))
            t.run()
            order.append("task")
            t.insert()
            t.switch()
            order.append("task again")
            t.kill()
            order.append("end")
        me = tasklet(task)()
        stackless.run()
        self.assertTrue(me.paused)
        me.run()
        self.assertEqual(order, ["o", "task", "o", "task again", "end"])
        self.assertDead(me)

    def test_result_is_used_in_every_way(self):
        ch = channel()
        log = []

        def task():
            ch.receive()
            x = ch.receive()
            log.append(x)
            log.append(ch.receive() + ch.receive())
            if ch.receive():
                log.append("true")
            log.append([ch.receive(), ch.receive()])
            log.append(f"{ch.receive()}-{ch.receive()}")
            a, b = ch.receive(), ch.receive()
            log.append(a * b)
            log.append({ch.receive(): ch.receive()})
            for x in ch.receive():
                log.append(x)
            return ch.receive()
        t = tasklet(task)()
        t.run()
        for x in range(1, 14):
            ch.send(x)
        ch.send([14, 15])
        ch.send(16)
        self.assertEqual(log, [2, 7, "true", [6, 7], "8-9", 110, {12: 13}, 14, 15])
        self.assertDead(t)


class Bottoms(StacklessTestCase):
    """What may be at the bottom of a tasklet that is left softly."""

    def check(self, f, *args):
        t = tasklet(f)(*args)
        t.run()
        self.assertTrue(t.paused, "the switch was refused")
        self.assertEqual(t.nesting_level, 0)
        gc.collect()
        t.run()
        self.assertDead(t)
        t = tasklet(f)(*args)
        t.run()
        t.kill()
        self.assertDead(t)

    def test_function(self):
        def task():
            schedule_remove(None)
        self.check(task)

    def test_function_with_a_cell(self):
        x = 1

        def task():
            schedule_remove(None)
            return x
        self.check(task)

    def test_lambda(self):
        self.check(lambda *args: schedule_remove(None), 1, 2)

    def test_bound_method(self):
        class C:
            def method(self):
                schedule_remove(None)
        self.check(C().method)

    def test_class_method(self):
        class C:
            @classmethod
            def method(cls):
                schedule_remove(None)
        self.check(C.method)

    def test_builtin(self):
        self.check(schedule_remove, None)

    def test_switching_method(self):
        ch = channel()
        for f, args in ((ch.receive, ()), (ch.send, (1,)),
                        (ch.send_exception, (Error,)), (ch.send_throw, (Error,))):
            t = tasklet(f)(*args)
            t.run()
            self.assertTrue(t.blocked)
            self.assertEqual(t.nesting_level, 0)
            t.kill()
            self.assertDead(t)

    def test_run_of_the_scheduler(self):
        t = tasklet(stackless.run)()
        tasklet(schedule_remove)(None)
        stackless.run()
        self.assertDead(t)

    def test_decorated_function(self):
        def decorator(f):
            @functools.wraps(f)
            def wrapper(*args):
                return f(*args)
            return wrapper

        @decorator
        def task(x):
            schedule_remove(x)
        self.check(task, None)

    def test_function_with_every_kind_of_parameter(self):
        log = []

        def task(a, /, b, *args, c, d=4, **kwargs):
            schedule_remove(None)
            log.append((a, b, args, c, d, kwargs))
        t = tasklet(task)(1, 2, 3, c=5, e=6)
        t.run()
        t.run()
        self.assertEqual(log, [(1, 2, (3,), 5, 4, {"e": 6})])


class OtherBottoms(StacklessTestCase):
    """Bottoms that may be reached through C code: done or refused."""

    def check(self, f, *args):
        refused = False
        t = tasklet(f)(*args)
        try:
            t.run()
        except RuntimeError:
            refused = True
            self.assertDead(t)
        else:
            self.assertTrue(t.paused)
            t.run()
            self.assertDead(t)
        return refused

    def test_class(self):
        class C:
            def __init__(self):
                schedule_remove(None)
        self.check(C)

    def test_partial(self):
        self.check(functools.partial(schedule_remove, None))
        self.check(functools.partial(lambda x: schedule_remove(x), None))

    def test_callable_instance(self):
        class C:
            def __call__(self):
                schedule_remove(None)
        self.check(C())

    def test_next_of_a_channel(self):
        ch = channel()
        t = tasklet(ch.__next__)()
        try:
            t.run()
        except RuntimeError:
            self.assertDead(t)
        else:
            ch.send(1)
            self.assertDead(t)
        self.assertEqual(ch.balance, 0)

    def test_generator_function(self):
        def gen():
            schedule_remove(None)
            yield
        t = self.run_tasklet(gen)
        self.assertDead(t)

    def test_coroutine_function(self):
        async def coro():
            schedule_remove(None)
        with warnings.catch_warnings(record=True) as w:
            warnings.simplefilter("always")
            t = self.run_tasklet(coro)
        self.assertDead(t)
        self.assertEqual(len(w), 1)
        self.assertIn("never awaited", str(w[0].message))

    def test_async_generator_function(self):
        async def agen():
            yield
        t = self.run_tasklet(agen)
        self.assertDead(t)

    def test_method_of_a_generator(self):
        log = []

        def gen():
            log.append("started")
            yield 1
        t = self.run_tasklet(gen().__next__)
        self.assertDead(t)
        self.assertEqual(log, ["started"])

    def test_send_of_a_coroutine(self):
        async def coro():
            pass
        t = tasklet(coro().send)(None)
        with self.assertRaises(StopIteration):
            stackless.run()
        self.assertDead(t)


if __name__ == "__main__":
    unittest.main()
