"""Frames of running and suspended tasklets, as a debugger sees them."""

import gc
import inspect
import sys
import threading
import traceback
import unittest
import warnings

import stackless
from stackless import channel, schedule, schedule_remove, tasklet

from .support import ChildTestCase, StacklessTestCase, needs_order, needs_soft


class Error(Exception):
    pass


def names(frame):
    """The function names from *frame* outwards."""
    result = []
    while frame is not None:
        result.append(frame.f_code.co_name)
        frame = frame.f_back
    return result


class Running(StacklessTestCase):

    def test_f_back_is_none_at_the_bottom(self):
        seen = []

        def inner():
            seen.append(names(sys._getframe()))

        def task():
            inner()
            schedule()
            inner()
        tasklet(task)()
        stackless.run()
        self.assertEqual(seen, [["inner", "task"]] * 2)

    def test_getframe_beyond_the_bottom(self):
        seen = []

        def task():
            seen.append(sys._getframe(0).f_code.co_name)
            try:
                sys._getframe(1)
            except ValueError as e:
                seen.append(str(e))
        self.run_tasklet(task)
        self.assertEqual(seen, ["task", "call stack is not deep enough"])

    def test_frames_of_main_are_whole_while_it_runs(self):
        before = names(sys._getframe())
        t = tasklet(schedule)()
        schedule()
        self.assertEqual(names(sys._getframe()), before)
        stackless.run()
        self.assertEqual(names(sys._getframe()), before)
        self.assertDead(t)

    def test_frames_of_main_while_it_waits(self):
        before = names(sys._getframe())
        seen = []

        def task():
            seen.append(names(stackless.main.frame))
        tasklet(task)()
        stackless.run()
        self.assertEqual(seen, [before])

    def test_current_frames_shows_the_current_tasklet(self):
        seen = []

        def task():
            seen.append(names(sys._current_frames()[threading.get_ident()]))
        self.run_tasklet(task)
        self.assertEqual(seen, [["task"]])
        mine = sys._current_frames()[threading.get_ident()]
        self.assertIs(mine, sys._getframe())

    def test_current_exceptions_shows_the_current_tasklet(self):
        seen = []

        def task():
            seen.append(sys._current_exceptions()[threading.get_ident()])
            try:
                raise Error
            except Error:
                e = sys._current_exceptions()[threading.get_ident()]
                seen.append(type(e))
        try:
            raise KeyError
        except KeyError:
            self.run_tasklet(task)
        self.assertEqual(seen, [None, Error])

    def test_extract_stack(self):
        seen = []

        def inner():
            seen.append([f.name for f in traceback.extract_stack()])

        def task():
            inner()
        self.run_tasklet(task)
        self.assertEqual(seen, [["task", "inner"]])

    def test_inspect_stack(self):
        seen = []

        def task():
            seen.append([f.function for f in inspect.stack()])
        self.run_tasklet(task)
        self.assertEqual(seen, [["task"]])

    def test_traceback_of_a_caught_exception(self):
        seen = []

        def inner():
            schedule()
            raise Error

        def task():
            try:
                inner()
            except Error as e:
                seen.append([(f.name, f.lineno) for f in
                             traceback.extract_tb(e.__traceback__)])
        tasklet(task)()
        stackless.run()
        self.assertEqual(seen, [[("task", task.__code__.co_firstlineno + 2),
                                 ("inner", inner.__code__.co_firstlineno + 2)]])

    def test_traceback_columns_after_a_switch(self):
        seen = []

        def task():
            try:
                (1, schedule(), 1 / 0)
            except ZeroDivisionError as e:
                code = e.__traceback__.tb_frame.f_code
                positions = list(code.co_positions())[e.__traceback__.tb_lasti // 2]
                seen.append(positions[3] - positions[2])
        tasklet(task)()
        stackless.run()
        self.assertEqual(seen, [len("1 / 0")])

    def test_traceback_of_an_exception_out_of_the_switching_call(self):
        # The line is the call's, not that of what follows it.
        seen = []

        def task():
            try:
                ch.receive()
            except Error as e:
                seen.append(e.__traceback__.tb_lineno)
        ch = channel()
        tasklet(task)()
        schedule()
        ch.send_exception(Error)
        self.assertEqual(seen, [task.__code__.co_firstlineno + 2])

    def test_locals_and_globals_in_a_tasklet(self):
        seen = []

        def task(x):
            schedule()
            seen.append((locals()["x"], globals() is sys.modules[__name__].__dict__))
        tasklet(task)(5)
        stackless.run()
        self.assertEqual(seen, [(5, True)])

    def test_warnings_in_a_tasklet(self):
        def task():
            warnings.warn("in task", UserWarning)
        with warnings.catch_warnings(record=True) as w:
            warnings.simplefilter("always")
            self.run_tasklet(task)
        self.assertEqual(w[0].lineno, task.__code__.co_firstlineno + 1)

    def test_bottom_without_a_python_frame(self):
        with warnings.catch_warnings(record=True) as w:
            warnings.simplefilter("always")
            self.run_tasklet(warnings.warn, "no frame")
        self.assertEqual(len(w), 1)
        t = tasklet(sys._getframe)()
        with self.assertRaises(ValueError):
            stackless.run()
        self.assertDead(t)
        for f in (globals, locals, vars, dir):
            try:
                self.run_tasklet(f)
            except (SystemError, TypeError):
                pass        # "frame does not exist" is a fair answer
        self.assertQueue([stackless.main])

    def test_a_frame_object_outlives_its_tasklet(self):
        frames = []

        def inner(x):
            frames.append(sys._getframe())
            schedule()

        def task():
            y = 6       # noqa: F841
            inner(5)
        t = tasklet(task)()
        schedule()
        frame = frames.pop()
        self.assertIs(t.frame, frame)
        stackless.run()
        self.assertDead(t)
        self.assertEqual(frame.f_locals["x"], 5)
        self.assertIn(names(frame), (["inner"], ["inner", "task"]))
        frame.clear()
        self.assertEqual(frame.f_locals, {})

    @needs_soft
    def test_a_frame_object_outlives_an_unbound_tasklet(self):
        def inner(x):
            schedule_remove()

        def task():
            inner(5)
        t = self.paused(task)
        frame = t.frame
        t.bind(None)
        self.assertIn(names(frame), (["inner"], ["inner", "task"]))
        frame.f_locals
        frame.clear()


class Suspended(StacklessTestCase):

    def suspend(self, x=1):
        def inner(x):
            y = x + 1
            schedule_remove()
            log.append((x, y))

        def task():
            inner(x)
        log = []
        t = self.paused(task)
        return t, log, inner

    def test_names(self):
        t, log, inner = self.suspend()
        self.assertEqual(names(t.frame), ["inner", "task"])
        t.kill()

    def test_line_number(self):
        t, log, inner = self.suspend()
        first = inner.__code__.co_firstlineno
        self.assertEqual(t.frame.f_lineno, first + 2)
        t.kill()

    def test_lasti_is_at_the_call(self):
        import dis
        t, log, inner = self.suspend()
        at = {i.offset: i.opname for i in dis.get_instructions(inner)}
        self.assertIn(at[t.frame.f_lasti], ("CALL", "CALL_KW"))
        t.kill()

    def test_locals(self):
        t, log, inner = self.suspend(5)
        f_locals = t.frame.f_locals
        self.assertEqual((f_locals["x"], f_locals["y"]), (5, 6))
        self.assertIs(t.frame.f_globals, globals())
        t.kill()

    def test_locals_can_be_changed(self):
        t, log, inner = self.suspend(5)
        t.frame.f_locals["x"] = 50
        t.run()
        self.assertEqual(log, [(50, 6)])

    def test_the_frame_object_is_always_the_same(self):
        t, log, inner = self.suspend()
        self.assertIs(t.frame, t.frame)
        self.assertIs(t.frame.f_back, t.frame.f_back)
        t.kill()

    def test_clear_is_refused(self):
        t, log, inner = self.suspend(5)
        for frame in (t.frame, t.frame.f_back):
            with self.assertRaises(RuntimeError):
                frame.clear()
        t.run()
        self.assertEqual(log, [(5, 6)])

    def test_clear_frames_of_a_traceback(self):
        # unittest does this to every exception it catches.
        def task():
            x = 5
            try:
                raise Error
            except Error as e:
                caught.append(e)
                schedule_remove()
            log.append(x)
        caught = []
        log = []
        t = self.paused(task)
        traceback.clear_frames(caught.pop().__traceback__)
        t.run()
        self.assertEqual(log, [5])

    def test_extract_stack(self):
        t, log, inner = self.suspend()
        self.assertEqual([f.name for f in traceback.extract_stack(t.frame)],
                         ["task", "inner"])
        t.kill()

    def test_format_stack_shows_the_line(self):
        t, log, inner = self.suspend()
        text = "".join(traceback.format_stack(t.frame))
        self.assertIn("schedule_remove()", text)
        t.kill()

    def test_blocked_tasklet(self):
        ch = channel()

        def task():
            ch.receive()
        t = tasklet(task)()
        t.run()
        self.assertEqual(names(t.frame), ["task"])
        self.assertEqual(t.frame.f_lineno, task.__code__.co_firstlineno + 1)
        t.kill()

    @needs_order
    def test_f_back_of_an_outer_frame_while_another_runs(self):
        # An object for the bottom frame, made while it runs, must not come to
        # lead into whoever resumed the tasklet.
        frames = []

        def task():
            frames.append(sys._getframe())
            schedule()
            schedule()
        t = tasklet(task)()

        def resumer():
            schedule()
            self.assertIsNone(frames[0].f_back)
        tasklet(resumer)()
        schedule()
        self.assertIsNone(frames[0].f_back)
        schedule()
        self.assertIsNone(frames[0].f_back)
        stackless.run()
        self.assertIsNone(frames[0].f_back)
        self.assertDead(t)
        frames.clear()

    def test_a_frame_object_made_while_deep(self):
        frames = []

        def deep(n):
            if n:
                return deep(n - 1)
            frames.append(sys._getframe())
            schedule()
            frames.append(sys._getframe())
        t = tasklet(deep)(20)
        schedule()
        self.assertEqual(len(names(frames[0])), 21)
        schedule()
        self.assertIs(frames[0], frames[1])
        self.assertDead(t)
        del frames[:]

    @needs_soft
    def test_the_collector_looks_into_suspended_frames(self):
        marker = []

        def task(x):
            schedule_remove()
        t = self.paused(task, marker)
        gc.collect()
        self.assertIn(marker, gc.get_referents(t))
        gc.get_referrers(marker)
        gc.get_referents(t.frame)
        t.kill()

    def test_all_objects_can_be_looked_at(self):
        tasklets = [self.suspend(i)[0] for i in range(5)]
        for ob in gc.get_objects():
            if isinstance(ob, type(sys._getframe())):
                ob.f_lineno, ob.f_back
            elif isinstance(ob, (tasklet, channel)):
                gc.get_referents(ob)
        for t in tasklets:
            t.kill()

    def test_sizeof(self):
        t, log, inner = self.suspend()
        self.assertGreater(sys.getsizeof(t), 0)
        self.assertGreater(sys.getsizeof(t.frame), 0)
        self.assertGreater(sys.getsizeof(channel()), 0)
        t.kill()

    def test_f_trace_can_be_set(self):
        t, log, inner = self.suspend()
        t.frame.f_trace = lambda *args: None
        del t.frame.f_trace
        t.run()
        self.assertEqual(log, [(1, 2)])

    def test_f_lineno_cannot_be_set(self):
        t, log, inner = self.suspend()
        with self.assertRaises(ValueError):
            t.frame.f_lineno = t.frame.f_lineno
        t.kill()

    def test_generator_frames_in_a_tasklet(self):
        def gen():
            schedule_remove()
            yield 1

        def task():
            for x in gen():
                pass
        t = self.paused(task)
        self.assertEqual(names(t.frame), ["gen", "task"])
        t.kill()

    def test_inspecting_a_generator_that_runs_in_a_suspended_tasklet(self):
        gens = []

        def gen():
            schedule_remove()
            yield 1

        def task():
            g = gen()
            gens.append(g)
            for x in g:
                pass
        t = self.paused(task)
        g = gens.pop()
        self.assertTrue(g.gi_running)
        self.assertEqual(inspect.getgeneratorstate(g), inspect.GEN_RUNNING)
        self.assertIs(g.gi_frame, t.frame)
        with self.assertRaises(ValueError):
            g.send(None)
        with self.assertRaises(ValueError):
            g.close()
        t.run()
        self.assertDead(t)


class Faulthandler(ChildTestCase):

    def test_dump_in_a_tasklet(self):
        r = self.run_status("""
            import faulthandler, sys, stackless
            def inner():
                faulthandler.dump_traceback(file=sys.stderr)
            def task():
                stackless.schedule()
                inner()
            stackless.tasklet(task)()
            stackless.run()
            faulthandler.dump_traceback(file=sys.stderr)
            """, 0)
        first, second = r.stderr.split("Current thread")[1:]
        self.assertIn("in inner", first)
        self.assertIn("in task", first)
        self.assertNotIn("in task", second)
        self.assertIn("in <module>", second)

    @needs_order
    def test_dump_from_another_thread(self):
        r = self.run_status("""
            import faulthandler, sys, threading, stackless
            def task():
                t = threading.Thread(
                    target=faulthandler.dump_traceback,
                    kwargs=dict(file=sys.stderr, all_threads=True))
                t.start()
                t.join()
                stackless.schedule()
            for i in range(3):
                stackless.tasklet(task)()
            stackless.run()
            """, 0)
        # Who is current, and those that have been current before.
        self.assertEqual(r.stderr.count(" in task\n"), 1 + 2 + 3)

    def test_fatal_error_in_a_tasklet(self):
        from .support import run_python
        r = run_python("""
            import faulthandler, stackless
            faulthandler.enable()
            def task():
                stackless.schedule()
                faulthandler._sigabrt()
            stackless.tasklet(task)()
            stackless.run()
            """)
        self.assertNotEqual(r.returncode, 0)
        self.assertIn("Fatal Python error: Aborted", r.stderr)
        self.assertIn("in task", r.stderr)

    def test_main_below_c_frames(self):
        r = self.run_status("""
            import faulthandler, sys, stackless
            def task():
                faulthandler.dump_traceback(file=sys.stderr)
            def callback(x):
                stackless.tasklet(task)()
                stackless.run()
            list(map(callback, [1]))
            """, 0)
        self.assertIn("in task", r.stderr)


if __name__ == "__main__":
    unittest.main()
