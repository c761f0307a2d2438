"""Tasklet objects: construction, bind, setup, insert, remove.

The attributes are in test_attributes.py, the order in which tasklets run in
test_schedule.py, throw and kill in test_throw.py and test_kill.py.
"""

import gc
import threading
import unittest
import weakref

import stackless
from stackless import schedule, schedule_remove, tasklet

from .support import StacklessTestCase, needs_order, needs_soft, runqueue


def nothing():
    pass


class Construction(StacklessTestCase):

    def assertUnbound(self, t):
        self.assertFalse(t.alive)
        self.assertFalse(t.scheduled)
        self.assertFalse(t.blocked)
        self.assertFalse(t.paused)
        self.assertFalse(t.is_main)
        self.assertFalse(t.is_current)
        self.assertIsNone(t.frame)
        self.assertIsNone(t.next)
        self.assertIsNone(t.prev)
        self.assertIsNone(t._channel)
        self.assertEqual(t.recursion_depth, 0)

    def test_without_arguments_is_unbound(self):
        t = tasklet()
        self.assertUnbound(t)
        self.assertIsNone(t.tempval)

    def test_with_none_is_unbound(self):
        t = tasklet(None)
        self.assertUnbound(t)
        self.assertIsNone(t.tempval)

    def test_with_function_holds_it_in_tempval(self):
        t = tasklet(nothing)
        self.assertUnbound(t)
        self.assertIs(t.tempval, nothing)

    def test_with_args_is_alive_and_paused(self):
        t = tasklet(nothing, ())
        self.assertTrue(t.alive)
        self.assertTrue(t.paused)
        self.assertFalse(t.scheduled)
        self.assertIsNone(t.tempval)
        self.assertIsNone(t.frame)

    def test_with_kwargs_is_alive_and_paused(self):
        t = tasklet(nothing, None, {})
        self.assertTrue(t.alive)
        self.assertTrue(t.paused)

    def test_arguments_by_keyword(self):
        log = []
        t = tasklet(func=lambda *a, **k: log.append((a, k)), args=(1, 2),
                    kwargs={"x": 3})
        t.run()
        self.assertEqual(log, [((1, 2), {"x": 3})])

    def test_wrong_number_or_name_of_arguments(self):
        with self.assertRaises(TypeError):
            tasklet(nothing, (), {}, 1)
        with self.assertRaises(TypeError):
            tasklet(function=nothing)

    def test_new_ignores_its_arguments(self):
        t = tasklet.__new__(tasklet, 1, 2, 3, 4, five=6)
        self.assertUnbound(t)
        self.assertIsNone(t.tempval)

    def test_default_flags(self):
        t = tasklet()
        self.assertIs(t.atomic, False)
        self.assertIs(t.ignore_nesting, False)
        self.assertIs(t.block_trap, False)
        self.assertIs(t.restorable, True)
        self.assertEqual(t.nesting_level, 0)

    def test_flags_are_not_inherited(self):
        me = stackless.getcurrent()
        me.set_atomic(True)
        me.set_ignore_nesting(True)
        me.block_trap = True
        try:
            t = tasklet(nothing)()
        finally:
            me.set_atomic(False)
            me.set_ignore_nesting(False)
            me.block_trap = False
        self.assertEqual((t.atomic, t.ignore_nesting, t.block_trap),
                         (False, False, False))
        stackless.run()

    def test_belongs_to_the_calling_thread(self):
        self.assertEqual(tasklet().thread_id, threading.get_ident())

    def test_init_rebinds(self):
        t = tasklet(nothing)
        self.assertIsNone(t.__init__(len))
        self.assertIs(t.tempval, len)

    def test_init_has_the_errors_of_bind(self):
        t = tasklet(nothing)
        with self.assertRaisesRegex(TypeError, "must be a callable or None"):
            t.__init__(1)
        t()
        with self.assertRaisesRegex(RuntimeError, "tasklet is scheduled"):
            t.__init__(nothing)
        stackless.run()

    def test_call_is_setup(self):
        log = []
        t = tasklet(log.append)
        self.assertIs(t(5), t)
        self.assertEqual(log, [])
        stackless.run()
        self.assertEqual(log, [5])


class TypeProperties(StacklessTestCase):

    def test_type_name(self):
        self.assertEqual(type(tasklet()).__name__, "tasklet")

    def test_no_dict_on_exact_instances(self):
        t = tasklet()
        with self.assertRaises(AttributeError):
            t.something = 1
        with self.assertRaises(AttributeError):
            t.something
        self.assertFalse(hasattr(t, "__dict__"))

    def test_subclass_with_dict(self):
        class Sub(tasklet):
            pass
        t = Sub()
        t.something = 1
        self.assertEqual(t.__dict__, {"something": 1})

    def test_subclass_with_slots(self):
        class Sub(tasklet):
            __slots__ = ("something",)
        t = Sub()
        t.something = 1
        self.assertEqual(t.something, 1)
        with self.assertRaises(AttributeError):
            t.other = 1

    def test_subclass_runs(self):
        class Sub(tasklet):
            pass
        log = []
        t = Sub(log.append)(1)
        self.assertIs(type(t), Sub)
        stackless.run()
        self.assertEqual(log, [1])

    def test_subclass_with_own_init(self):
        class Sub(tasklet):
            def __init__(self, name, func):
                super().__init__(func)
                self.name = name
        log = []
        t = Sub("x", log.append)(1)
        stackless.run()
        self.assertEqual((t.name, log), ("x", [1]))

    def test_subclass_overrides_call(self):
        class Sub(tasklet):
            def __call__(self, *args):
                return self.setup("extra", *args)
        log = []
        Sub(lambda *a: log.append(a))(1)
        stackless.run()
        self.assertEqual(log, [("extra", 1)])

    def test_call_does_not_go_through_setup(self):
        class Sub(tasklet):
            def setup(self, *args):
                raise AssertionError("called")
        log = []
        Sub(log.append)(1)
        stackless.run()
        self.assertEqual(log, [1])

    def test_subclass_overriding_new(self):
        class Sub(tasklet):
            def __new__(cls, *args):
                t = super().__new__(cls)
                t.args = args
                return t
        t = Sub(nothing)
        self.assertEqual(t.args, (nothing,))
        self.assertIs(t.tempval, nothing)

    def test_weak_reference(self):
        t = tasklet()
        r = weakref.ref(t)
        self.assertIs(r(), t)
        del t
        self.assertIsNone(r())

    def test_identity_comparison_and_hash(self):
        a, b = tasklet(nothing), tasklet(nothing)
        self.assertEqual(a, a)
        self.assertNotEqual(a, b)
        self.assertEqual(len({a, b, a}), 2)
        with self.assertRaises(TypeError):
            a < b

    def test_truth(self):
        self.assertTrue(tasklet())
        t = tasklet(nothing)()
        stackless.run()
        self.assertTrue(t)

    def test_repr_is_the_default_one(self):
        self.assertRegex(repr(tasklet()), r"^<.*tasklet object at 0x[0-9a-fA-F]+>$")

    def test_reachable_objects_are_found_by_the_collector(self):
        class Sub(tasklet):
            pass
        t = Sub(nothing)
        t.cycle = t
        r = weakref.ref(t)
        del t
        gc.collect()
        self.assertIsNone(r())


class Bind(StacklessTestCase):

    def test_returns_self(self):
        t = tasklet()
        self.assertIs(t.bind(nothing), t)
        self.assertIs(t.bind(nothing, ()), t)
        self.assertIs(t.bind(None), t)
        self.assertIs(t.bind(), t)

    def test_none_unbinds(self):
        t = tasklet(nothing)
        t.bind(None)
        self.assertIsNone(t.tempval)
        with self.assertRaisesRegex(RuntimeError, "the tasklet was not bound to a function"):
            t()

    def test_function_only(self):
        t = tasklet().bind(nothing)
        self.assertFalse(t.alive)
        self.assertIs(t.tempval, nothing)

    def test_with_arguments_does_not_insert(self):
        log = []
        t = tasklet().bind(log.append, (1,))
        self.assertTrue(t.alive)
        self.assertTrue(t.paused)
        self.assertQueue([stackless.main])
        t.insert()
        stackless.run()
        self.assertEqual(log, [1])

    def test_missing_function_means_the_bound_one(self):
        log = []
        t = tasklet(log.append)
        t.bind(args=(1,))
        t.run()
        self.assertEqual(log, [1])

    def test_missing_args_are_empty(self):
        log = []
        t = tasklet().bind(lambda **k: log.append(k), None, {"x": 1})
        t.run()
        self.assertEqual(log, [{"x": 1}])

    def test_missing_function_without_a_bound_one(self):
        t = tasklet()
        with self.assertRaisesRegex(RuntimeError, "the tasklet was not bound to a function"):
            t.bind(None, ())
        with self.assertRaisesRegex(RuntimeError, "the tasklet was not bound to a function"):
            t.bind(None, None, {})
        self.assertFalse(t.alive)
        self.assertIsNone(t.tempval)

    def test_function_must_be_callable(self):
        t = tasklet(nothing)
        for bad in (1, "f", ()):
            with self.assertRaisesRegex(
                    TypeError, "^tasklet function must be a callable or None$"):
                t.bind(bad)
        self.assertIs(t.tempval, nothing)

    def test_args_must_be_a_tuple(self):
        t = tasklet(nothing)
        for bad in (1, [1], {}):
            with self.assertRaisesRegex(
                    TypeError, "^tasklet args must be a tuple or None$"):
                t.bind(nothing, bad)
        self.assertIs(t.tempval, nothing)
        self.assertFalse(t.alive)

    def test_kwargs_must_be_a_dictionary(self):
        t = tasklet(nothing)
        for bad in (1, (), []):
            with self.assertRaisesRegex(
                    TypeError, "^tasklet kwargs must be a dictionary or None$"):
                t.bind(nothing, (), bad)
        self.assertIs(t.tempval, nothing)
        self.assertFalse(t.alive)

    def test_order_of_the_checks(self):
        current = stackless.getcurrent()
        with self.assertRaisesRegex(TypeError, "function must be"):
            current.bind(1, 1, 1)
        with self.assertRaisesRegex(TypeError, "args must be"):
            current.bind(nothing, 1, 1)
        with self.assertRaisesRegex(TypeError, "kwargs must be"):
            current.bind(nothing, (), 1)
        with self.assertRaisesRegex(RuntimeError, "current"):
            current.bind(nothing, (), {})

    def test_current_tasklet(self):
        def task():
            with self.assertRaisesRegex(
                    RuntimeError, r"^can't \(re\)bind the current tasklet$"):
                stackless.getcurrent().bind(nothing)
        self.run_tasklet(task)
        with self.assertRaisesRegex(RuntimeError, "current tasklet"):
            stackless.main.bind(None)

    def test_runnable_tasklet(self):
        t = tasklet(nothing)()
        with self.unchanged(t):
            for args in ((), (None,), (nothing,), (nothing, ())):
                with self.assertRaisesRegex(RuntimeError, "^tasklet is scheduled$"):
                    t.bind(*args)
        stackless.run()

    def test_blocked_tasklet(self):
        ch = stackless.channel()
        t = self.receiver(ch)
        with self.unchanged(t, ch):
            with self.assertRaisesRegex(RuntimeError, "^tasklet is scheduled$"):
                t.bind(nothing)
        t.kill()

    def test_main_cannot_be_unbound(self):
        main = stackless.main
        log = []

        def task():
            # The caller of run() is in no queue meanwhile.
            self.assertFalse(main.scheduled)
            try:
                main.bind(None)
            except RuntimeError as e:
                log.append(str(e))
        self.run_tasklet(task)
        self.assertEqual(len(log), 1)
        self.assertIn(log[0], ("can't unbind the main tasklet",
                               "tasklet has C state on its stack"))
        self.assertTrue(main.alive)

    @needs_soft
    def test_drops_frames_without_running_them(self):
        log = []

        def task():
            try:
                schedule_remove()
            except BaseException as e:
                log.append(e)
            finally:
                log.append("finally")
        t = self.paused(task)
        t.bind(None)
        self.assertEqual(log, [])
        self.assertFalse(t.alive)
        self.assertIsNone(t.frame)
        self.assertIsNone(t.tempval)
        self.assertEqual(t.recursion_depth, 0)

    @needs_soft
    def test_dropping_frames_releases_locals(self):
        class X:
            pass
        refs = []

        def inner(x):
            refs.append(weakref.ref(x))
            schedule_remove()

        def task():
            x = X()
            refs.append(weakref.ref(x))
            inner(X())
        t = self.paused(task)
        self.assertIsNotNone(refs[0]())
        self.assertIsNotNone(refs[1]())
        t.bind(None)
        self.assertEqual([r() for r in refs], [None, None])

    @needs_soft
    def test_dropping_frames_closes_generators(self):
        log = []

        def gen():
            try:
                yield 1
            finally:
                log.append("closed")

        def task():
            g = gen()
            next(g)
            schedule_remove()
        t = self.paused(task)
        t.bind(None)
        self.assertEqual(log, ["closed"])

    @needs_soft
    def test_rebinding_a_paused_tasklet(self):
        log = []
        t = self.paused(schedule_remove_once)
        t.bind(log.append, (1,))
        self.assertTrue(t.paused)
        t.run()
        self.assertEqual(log, [1])
        self.assertDead(t)

    def test_a_dead_tasklet_can_be_used_again(self):
        log = []
        t = tasklet(log.append)(1)
        stackless.run()
        self.assertDead(t)
        t.bind(log.append)(2)
        stackless.run()
        self.assertEqual(log, [1, 2])

    def test_a_dead_tasklet_forgets_its_function(self):
        t = tasklet(nothing)()
        stackless.run()
        with self.assertRaisesRegex(RuntimeError, "the tasklet was not bound to a function"):
            t()

    @needs_soft
    def test_binding_a_tasklet_within_its_own_locals(self):
        # Dropping the frames drops objects that use the tasklet.
        log = []

        class X:
            def __del__(self):
                log.append(t.alive)

        def task():
            x = X()     # noqa: F841
            schedule_remove()
        t = self.paused(task)
        t.bind(nothing)
        self.assertEqual(log, [False])
        self.assertIs(t.tempval, nothing)


def schedule_remove_once():
    schedule_remove()


class Setup(StacklessTestCase):

    def test_makes_runnable_at_the_end(self):
        a = tasklet(nothing)
        b = tasklet(nothing)
        self.assertIs(a.setup(), a)
        b.setup()
        self.assertQueue([stackless.main, a, b])
        for t in (a, b):
            self.assertTrue(t.alive)
            self.assertTrue(t.scheduled)
            self.assertFalse(t.paused)
            self.assertFalse(t.blocked)
            self.assertIsNone(t.tempval)
            self.assertIsNone(t.frame)
        stackless.run()

    def test_passes_arguments(self):
        log = []

        def task(*args, **kwargs):
            log.append((args, kwargs))
        tasklet(task)(1, 2, x=3)
        tasklet(task).setup(4, y=5)
        tasklet(task)()
        stackless.run()
        self.assertTurns(log, [((1, 2), {"x": 3}), ((4,), {"y": 5}), ((), {})])

    def test_passes_self_as_keyword(self):
        log = []
        tasklet(lambda **k: log.append(k))(self=1, func=2, args=3)
        stackless.run()
        self.assertEqual(log, [{"self": 1, "func": 2, "args": 3}])

    def test_alive_tasklet(self):
        t = tasklet(nothing)()
        with self.unchanged(t):
            with self.assertRaisesRegex(RuntimeError, "^tasklet is alive$"):
                t()
            with self.assertRaisesRegex(RuntimeError, "^tasklet is alive$"):
                t.setup(1)
        stackless.run()

    def test_bound_with_arguments_is_alive(self):
        t = tasklet(nothing, ())
        with self.assertRaisesRegex(RuntimeError, "^tasklet is alive$"):
            t()

    def test_current_tasklet_is_alive(self):
        with self.assertRaisesRegex(RuntimeError, "^tasklet is alive$"):
            stackless.main()

    def test_unbound_tasklet(self):
        t = tasklet()
        for f in (t, t.setup):
            with self.assertRaisesRegex(
                    RuntimeError, "^the tasklet was not bound to a function$"):
                f()
        self.assertFalse(t.alive)

    def test_mismatch_of_arguments_is_noticed_in_the_tasklet(self):
        t = tasklet(nothing)(1, 2)
        self.assertTrue(t.alive)
        with self.assertRaisesRegex(TypeError, "nothing"):
            stackless.run()
        self.assertDead(t)

    def test_arguments_are_released_at_the_end(self):
        class X:
            pass
        x = X()
        r = weakref.ref(x)
        t = tasklet(lambda *a, **k: None)(x, k=x)
        del x
        self.assertIsNotNone(r())
        stackless.run()
        self.assertIsNone(r())
        self.assertDead(t)

    def test_the_keyword_dictionary_is_not_shared(self):
        kwargs = {"x": 1}
        log = []

        def task(**k):
            k["y"] = 2
            log.append(k)
        t = tasklet(task, None, kwargs)
        t.run()
        self.assertEqual(kwargs, {"x": 1})
        self.assertEqual(log, [{"x": 1, "y": 2}])

    def test_result_is_dropped(self):
        class X:
            pass
        refs = []

        def task():
            x = X()
            refs.append(weakref.ref(x))
            return x
        t = tasklet(task)()
        stackless.run()
        self.assertIsNone(refs[0]())
        self.assertIsNone(t.tempval)


class Bottoms(StacklessTestCase):
    """Any callable will do as the function of a tasklet."""

    def test_builtin_function(self):
        log = []
        tasklet(log.append)(1)
        stackless.run()
        self.assertEqual(log, [1])

    def test_builtin_function_with_keywords(self):
        log = [3, 1, 2]
        tasklet(log.sort)(reverse=True)
        stackless.run()
        self.assertEqual(log, [3, 2, 1])

    def test_class(self):
        log = []

        class C:
            def __init__(self, x):
                log.append(x)
        tasklet(C)(1)
        stackless.run()
        self.assertEqual(log, [1])

    def test_bound_method(self):
        log = []

        class C:
            def method(self, x):
                log.append((type(self), x))
        tasklet(C().method)(1)
        stackless.run()
        self.assertEqual(log, [(C, 1)])

    def test_callable_instance(self):
        log = []

        class C:
            def __call__(self, x):
                log.append(x)
        tasklet(C())(1)
        stackless.run()
        self.assertEqual(log, [1])

    def test_another_tasklets_method(self):
        log = []
        t = tasklet(log.append)(1)
        t.remove()
        tasklet(t.insert)()
        stackless.run()
        self.assertEqual(log, [1])

    def test_another_tasklets_run(self):
        log = []
        t = tasklet(log.append, (1,))
        tasklet(t.run)()
        stackless.run()
        self.assertEqual(log, [1])

    def test_channel_receive(self):
        ch = stackless.channel()
        t = tasklet(ch.receive)()
        t.run()
        self.assertTrue(t.blocked)
        self.assertIsNone(t.frame)
        ch.send(1)
        stackless.run()
        self.assertDead(t)

    def test_channel_send(self):
        ch = stackless.channel()
        t = tasklet(ch.send)(5)
        stackless.run()
        self.assertTrue(t.blocked)
        self.assertEqual(ch.receive(), 5)
        stackless.run()
        self.assertDead(t)

    def test_schedule(self):
        t = tasklet(schedule)()
        stackless.run()
        self.assertDead(t)

    def test_schedule_remove(self):
        t = tasklet(schedule_remove)()
        stackless.run()
        self.assertTrue(t.paused)
        t.run()
        self.assertDead(t)

    def test_generator_function_makes_a_generator_and_drops_it(self):
        log = []

        def gen():
            log.append("never")
            yield
        t = self.run_tasklet(gen)
        self.assertDead(t)
        self.assertEqual(log, [])

    def test_uncallable_by_then(self):
        class C:
            def __call__(self):
                pass
        t = tasklet(C())()
        del C.__call__
        with self.assertRaises(TypeError):
            stackless.run()
        self.assertDead(t)


class InsertRemove(StacklessTestCase):

    def test_insert_appends_and_returns_self(self):
        a = tasklet(nothing)()
        b = tasklet(nothing, ())
        self.assertIs(b.insert(), b)
        self.assertQueue([stackless.main, a, b])
        stackless.run()

    def test_insert_of_a_queued_one_does_not_move_it(self):
        a, b = tasklet(nothing)(), tasklet(nothing)()
        with self.unchanged(a, b):
            self.assertIs(a.insert(), a)
            self.assertIs(stackless.main.insert(), stackless.main)
        stackless.run()

    def test_insert_of_blocked(self):
        ch = stackless.channel()
        t = self.receiver(ch)
        with self.unchanged(ch, t):
            with self.assertRaisesRegex(
                    RuntimeError, "^You cannot run a blocked tasklet$"):
                t.insert()
        t.kill()

    def test_insert_of_dead(self):
        dead = tasklet(nothing)()
        stackless.run()
        for t in (tasklet(), tasklet(nothing), dead):
            with self.unchanged(t):
                with self.assertRaisesRegex(
                        RuntimeError,
                        r"^You cannot run an unbound\(dead\) tasklet$"):
                    t.insert()

    @needs_order
    def test_insert_goes_just_before_the_current_one(self):
        late = tasklet(nothing, ())
        seen = []

        def task():
            late.insert()
            seen.append(runqueue())
        a = tasklet(task)()
        b = tasklet(nothing)()
        schedule()
        self.assertEqual(seen, [[a, b, stackless.main, late]])
        stackless.run()

    def test_remove_pauses_and_returns_self(self):
        a, b = tasklet(nothing)(), tasklet(nothing)()
        self.assertIs(a.remove(), a)
        self.assertTrue(a.paused)
        self.assertTrue(a.alive)
        self.assertFalse(a.scheduled)
        self.assertIsNone(a.next)
        self.assertQueue([stackless.main, b])
        stackless.run()
        self.assertTrue(a.alive)

    def test_remove_of_an_unqueued_one_does_nothing(self):
        dead = tasklet(nothing)()
        stackless.run()
        for t in (tasklet(), tasklet(nothing), tasklet(nothing, ()), dead):
            with self.unchanged(t):
                self.assertIs(t.remove(), t)

    def test_remove_of_blocked(self):
        ch = stackless.channel()
        t = self.receiver(ch)
        with self.unchanged(ch, t):
            with self.assertRaisesRegex(
                    RuntimeError, r"^You cannot remove a blocked tasklet\.$"):
                t.remove()
        t.kill()

    def test_remove_of_current(self):
        with self.unchanged():
            with self.assertRaisesRegex(
                    RuntimeError, r"^The current tasklet cannot be removed\.$"):
                stackless.current.remove()

        def task():
            with self.assertRaisesRegex(RuntimeError, "current tasklet"):
                stackless.current.remove()
        self.run_tasklet(task)

    def test_remove_of_main_by_another(self):
        log = []

        def task():
            stackless.main.remove()
            log.append((stackless.main.paused, stackless.runcount))
            # Ends with an empty queue: main is woken.
        tasklet(task)()
        schedule()
        self.assertEqual(log, [(True, 1)])
        self.assertQueue([stackless.main])

    def test_remove_and_insert_before_the_first_run(self):
        log = []
        t = tasklet(log.append)(1)
        t.remove()
        stackless.run()
        self.assertEqual(log, [])
        t.insert()
        stackless.run()
        self.assertEqual(log, [1])


if __name__ == "__main__":
    unittest.main()
