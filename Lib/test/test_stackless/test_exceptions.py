"""How a tasklet ends: normally, by TaskletExit, SystemExit, anything else."""

import sys
import unittest
import weakref

import stackless
from stackless import channel, schedule, schedule_remove, tasklet

from .support import ChildTestCase, StacklessTestCase, needs_order, needs_soft


class Error(Exception):
    pass


class SubExit(TaskletExit):     # noqa: F821 (a builtin here)
    pass


def nothing():
    pass


def raise_it(exc):
    raise exc


class CodeInBetween(StacklessTestCase):
    """Python code that runs when main is current again, but has not gone on yet."""

    def test_weakref_callback_that_switches(self):
        # It used to lose the exception for main.
        called = []

        def callback(ref):
            called.append(stackless.current)
            schedule()
        t = tasklet(raise_it)(Error(1))
        ref = weakref.ref(t, callback)
        other = tasklet(nothing)()
        del t
        with self.assertRaises(Error):
            stackless.run()
        self.assertIsNone(ref())
        self.assertEqual(called, [stackless.main])
        self.assertFalse(other.alive)

    def test_exception_whose_constructor_switches(self):
        # It used to leak the tasklet that had sent it.
        ch = channel()

        class Switching(Exception):
            def __init__(self):
                tasklet(nothing)()
                schedule()

        def receive():
            with self.assertRaises(Switching):
                ch.receive()

        def receive_below_c():
            with self.assertRaises(Switching):
                max([1], key=lambda x: ch.receive())
        for receiver in (receive, receive_below_c):
            tasklet(ch.send_exception)(Switching)
            receiver()
            tasklet(receiver)()
            tasklet(ch.send_exception)(Switching)
            stackless.run()
        self.assertEqual(ch.balance, 0)


class TaskletExitClass(unittest.TestCase):

    def test_is_a_builtin(self):
        import builtins
        self.assertTrue(issubclass(builtins.TaskletExit, SystemExit))
        self.assertEqual(builtins.TaskletExit.__name__, "TaskletExit")
        self.assertEqual(builtins.TaskletExit.__module__, "builtins")

    def test_is_no_attribute_of_the_module(self):
        self.assertFalse(hasattr(stackless, "TaskletExit"))

    def test_is_there_without_an_import(self):
        self.assertNotIn("stackless", vars(sys.modules["builtins"]))
        self.assertTrue(TaskletExit)    # noqa: F821 (a builtin here)

    def test_code_attribute(self):
        self.assertEqual(TaskletExit(5).code, 5)    # noqa: F821


class Ends(StacklessTestCase):

    def test_normally(self):
        t = self.run_tasklet(nothing)
        self.assertDead(t)

    def test_by_tasklet_exit(self):
        for exc in (TaskletExit, TaskletExit(), TaskletExit(1),     # noqa: F821
                    SubExit, SubExit("x")):
            t = tasklet(raise_it)(exc)
            after = []
            tasklet(after.append)(1)
            self.assertIsNone(stackless.run())
            self.assertDead(t)
            self.assertEqual(after, [1])

    def test_by_an_exception(self):
        for exc in (Error, Error(), KeyboardInterrupt, GeneratorExit,
                    StopIteration, MemoryError, RecursionError):
            t = tasklet(raise_it)(exc)
            cls = exc if isinstance(exc, type) else type(exc)
            with self.assertRaises(cls):
                stackless.run()
            self.assertDead(t)
            self.assertQueue([stackless.main])

    def test_by_an_exception_group(self):
        t = tasklet(raise_it)(ExceptionGroup("g", [Error(), KeyError()]))
        caught = []
        try:
            stackless.run()
        except* Error as g:
            caught.append(g)
        except* KeyError as g:
            caught.append(g)
        self.assertEqual(len(caught), 2)
        self.assertDead(t)

    @needs_order
    def test_by_tasklet_exit_its_successor_runs(self):
        order = []
        tasklet(raise_it)(TaskletExit)      # noqa: F821
        tasklet(order.append)("a")
        schedule()
        self.assertEqual(order, ["a"])

    def test_locals_are_released(self):
        import weakref

        class X:
            pass
        refs = []

        def task(exc):
            x = X()
            refs.append(weakref.ref(x))
            if exc is not None:
                raise exc
        tasklet(task)(None)
        tasklet(task)(TaskletExit)          # noqa: F821
        stackless.run()
        self.assertEqual([r() for r in refs], [None, None])

    def test_catching_tasklet_exit_as_system_exit(self):
        log = []

        def task():
            try:
                schedule_remove()
            except SystemExit as e:
                log.append(type(e).__name__)
        t = self.paused(task)
        t.kill()
        self.assertEqual(log, ["TaskletExit"])

    def test_except_exception_does_not_catch_it(self):
        log = []

        def task():
            try:
                schedule_remove()
            except Exception:
                log.append("caught")
        t = self.paused(task)
        t.kill()
        self.assertEqual(log, [])
        self.assertDead(t)


class Exit(ChildTestCase):
    """SystemExit in a tasklet of the initial thread ends the process."""

    def test_status(self):
        self.run_status("""
            import sys, stackless
            stackless.tasklet(sys.exit)(43)
            stackless.run()
            print("not reached")
            """, 43)

    def test_status_without_a_traceback(self):
        r = self.run_status("""
            import sys, stackless
            def task():
                sys.exit(43)
            stackless.tasklet(task)()
            stackless.run()
            print("not reached")
            """, 43)
        self.assertEqual((r.stdout, r.stderr), ("", ""))

    def test_default_status(self):
        self.run_status("""
            import sys, stackless
            stackless.tasklet(sys.exit)()
            stackless.run()
            sys.exit(1)
            """, 0)

    def test_message(self):
        r = self.run_status("""
            import sys, stackless
            stackless.tasklet(sys.exit)("so it is")
            stackless.run()
            """, 1)
        self.assertEqual(r.stderr, "so it is\n")

    def test_raise_system_exit(self):
        self.run_status("""
            import stackless
            def task():
                raise SystemExit(44)
            stackless.tasklet(task)()
            stackless.run()
            """, 44)

    def test_atexit_functions_run(self):
        r = self.run_status("""
            import atexit, sys, stackless
            atexit.register(print, "atexit")
            stackless.tasklet(sys.exit)(45)
            stackless.run()
            """, 45)
        self.assertEqual(r.stdout, "atexit\n")

    def test_while_main_is_in_schedule(self):
        self.run_status("""
            import sys, stackless
            stackless.tasklet(sys.exit)(46)
            stackless.schedule()
            print("not reached")
            """, 46)

    def test_while_main_receives(self):
        self.run_status("""
            import sys, stackless
            stackless.tasklet(sys.exit)(47)
            stackless.channel().receive()
            print("not reached")
            """, 47)

    def test_finally_blocks_of_the_tasklet_run(self):
        r = self.run_status("""
            import sys, stackless
            def task():
                try:
                    sys.exit(48)
                finally:
                    print("finally")
            stackless.tasklet(task)()
            stackless.run()
            """, 48)
        self.assertEqual(r.stdout, "finally\n")

    def test_caught_in_the_tasklet(self):
        self.run_ok("""
            import sys, stackless
            def task():
                try:
                    sys.exit(48)
                except SystemExit as e:
                    assert e.code == 48
            stackless.tasklet(task)()
            stackless.run()
            """)

    @needs_soft
    def test_with_other_tasklets_waiting(self):
        r = self.run_status("""
            import sys, stackless
            ch = stackless.channel()
            def waiter():
                try:
                    ch.receive()
                finally:
                    print("not executed when softly suspended")
            for i in range(10):
                stackless.tasklet(waiter)()
            stackless.run()
            stackless.tasklet(sys.exit)(49)
            stackless.run()
            """, 49)
        self.assertEqual(r.stdout, "")

    def test_in_another_thread_it_ends_the_tasklet(self):
        self.run_ok("""
            import sys, threading, stackless
            log = []
            def thread():
                t = stackless.tasklet(sys.exit)(50)
                stackless.run()
                log.append(t.alive)
            t = threading.Thread(target=thread)
            t.start()
            t.join()
            assert log == [False], log
            """)

    def test_uncaught_tasklet_exit_in_main(self):
        r = self.run_status("raise TaskletExit('x')", 1)
        self.assertIn("TaskletExit: x", r.stderr)

    def test_main_killed_by_a_tasklet(self):
        r = self.run_status("""
            import stackless
            def task():
                stackless.main.kill()
            stackless.tasklet(task)()
            stackless.run()
            """, 1)
        self.assertIn("TaskletExit", r.stderr)

    def test_tasklet_exit_in_a_thread_is_swallowed(self):
        self.run_ok("""
            import threading
            def thread():
                raise TaskletExit
            t = threading.Thread(target=thread)
            t.start()
            t.join()
            """)

    def test_uncaught_exception_ends_the_program(self):
        r = self.run_status("""
            import stackless
            def task():
                1 / 0
            stackless.tasklet(task)()
            stackless.run()
            """, 1)
        lines = r.stderr.splitlines()
        self.assertEqual(lines[0], "Traceback (most recent call last):")
        self.assertEqual(lines[-1], "ZeroDivisionError: division by zero")
        self.assertIn("in <module>", r.stderr)
        self.assertIn("in task", r.stderr)
        self.assertNotIn("During handling", r.stderr)

    def test_end_of_main_with_tasklets_queued(self):
        out = self.run_ok("""
            import stackless
            for i in range(5):
                stackless.tasklet(print)("never")
            """)
        self.assertEqual(out, "")

    INSPECTED = (
        "import sys, stackless\n"
        "def task():\n"
        "    raise SystemExit(51)\n"
        "for call in (lambda: task(), lambda: list(map(lambda _: task(), [0]))):\n"
        "    t = stackless.tasklet(call)()\n"
        "    print(stackless.run(), t.alive)\n")

    def check_inspected(self, r, after=""):
        # Main got the TaskletExit that ends the process, which it did not.
        self.assertEqual(r.stdout, "None False\nNone False\n" + after)
        self.assertNotIn("Exit", r.stderr)

    def test_interactive_exit_is_silenced(self):
        r = self.run_status(None, 0, "-i", "-q", "-c", self.INSPECTED,
                            stdin="print('prompt')\n")
        self.check_inspected(r, "prompt\n")

    def test_inspect_variable(self):
        # In the environment when the interpreter starts.
        r = self.run_status(f"""
            import os, subprocess, sys
            r = subprocess.run([sys.executable, "-q", "-c", {self.INSPECTED!r}], input=b"",
                               env=os.environ | {{"PYTHONINSPECT": "1"}})
            sys.exit(r.returncode)
            """, 0)
        self.check_inspected(r)

    def test_exit_at_the_prompt(self):
        # Inspecting, nothing is silenced any more.
        for options in (("-i", "-q", "-c", ""), ("-i", "-q")):
            r = self.run_status(None, 51, *options,
                                stdin="import sys, stackless\n"
                                      "stackless.tasklet(sys.exit)(51); stackless.run()\n"
                                      "print('goes on')\n")
            self.assertNotIn("goes on", r.stdout)

    def test_inspected_exit_of_main(self):
        r = self.run_status(None, 0, "-i", "-q", "-c", "import sys; sys.exit(51)",
                            stdin="print('prompt')\n")
        self.assertIn("SystemExit: 51", r.stderr)
        self.assertIn("prompt", r.stdout)

    def test_inspected_exit_of_a_greenlet(self):
        # It goes to main, as any exception of a greenlet does.
        r = self.run_status(None, 0, "-i", "-q", "-c",
                            "import sys, greenlet\n"
                            "greenlet.greenlet(sys.exit).switch(51)\n",
                            stdin="print('prompt')\n")
        self.assertIn("SystemExit: 51", r.stderr)
        self.assertIn("prompt", r.stdout)

    def test_keyboard_interrupt_status(self):
        r = self.run_python_interrupt()
        self.assertIn("KeyboardInterrupt", r.stderr)
        self.assertIn("in task", r.stderr)

    def run_python_interrupt(self):
        from .support import run_python
        r = run_python("""
            import stackless
            def task():
                raise KeyboardInterrupt
            stackless.tasklet(task)()
            stackless.run()
            """)
        self.assertNotEqual(r.returncode, 0)
        return r


if __name__ == "__main__":
    unittest.main()
