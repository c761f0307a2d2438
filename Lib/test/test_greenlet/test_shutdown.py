"""The end of the interpreter, in children."""

import unittest

from .support import ChildTestCase

SUSPENDED = """
import greenlet
def run():
    try:
        greenlet.getcurrent().parent.switch()
    finally:
        print("finally", flush=True)
g = greenlet.greenlet(run)
g.switch()
"""


class AtExit(ChildTestCase):

    def test_everything_works(self):
        self.assertEqual(self.run_ok("""
            import atexit, greenlet
            @atexit.register
            def end():
                main = greenlet.getcurrent()
                g = greenlet.greenlet(lambda x: main.switch(x))
                print(g.switch(1), repr(main)[-5:], greenlet.gettrace(), g.dead, g.throw())
            """), "1 main> None False \n")

    def test_registered_before_the_import(self):
        self.assertEqual(self.run_ok("""
            import atexit
            @atexit.register
            def end():
                import greenlet
                print(greenlet.greenlet(lambda: 5).switch())
            """), "5\n")
        self.assertEqual(self.run_ok("""
            import atexit
            @atexit.register
            def end():
                print(greenlet.greenlet(lambda: 5).switch())
            import greenlet
            greenlet.getcurrent()
            """), "5\n")

    def test_suspended_one_may_end_there(self):
        self.assertEqual(self.run_ok(SUSPENDED + """
import atexit
atexit.register(g.switch)
            """), "finally\n")

    def test_trace_function_is_left(self):
        self.assertEqual(self.run_ok("""
            import atexit, greenlet
            greenlet.settrace(lambda *args: print(args[0]))
            @atexit.register
            def end():
                greenlet.greenlet(lambda: 5).switch()
            """), "switch\nswitch\n")


class Finalization(ChildTestCase):

    def test_suspended_are_not_run(self):
        self.assertEqual(self.run_ok(SUSPENDED), "")

    def test_suspended_in_a_cycle(self):
        self.assertEqual(self.run_ok(SUSPENDED + "g.me = g; del g\n"), "")

    def test_suspended_in_c_code(self):
        self.assertEqual(self.run_ok(SUSPENDED.replace(
            "g.switch()\n", "") + "g = greenlet.greenlet(lambda: list(map(lambda x: run(), [1])))"
                                  "\ng.switch()\n"), "")

    def test_suspended_in_another_module(self):
        self.assertEqual(self.run_ok(SUSPENDED + "import sys; sys.g = g\n"), "")

    def test_exit_from_a_greenlet(self):
        self.assertEqual(self.run_ok("""
            import sys, greenlet
            greenlet.greenlet(lambda: sys.exit(0)).switch()
            print("not reached")
            """), "")

    def test_exit_from_a_greenlet_with_others_suspended(self):
        self.assertEqual(self.run_ok(SUSPENDED + """
import sys
greenlet.greenlet(lambda: sys.exit(0)).switch()
            """), "")

    def test_getcurrent_raises(self):
        # An exception, and never None.
        self.assertEqual(self.run_ok("""
            import greenlet, sys
            class X:
                def __del__(self, getcurrent=greenlet.getcurrent, write=sys.stdout.write,
                            finalizing=sys.is_finalizing):
                    try:
                        current = getcurrent()
                    except RuntimeError as e:
                        write(f"{e}\\n")
                    else:
                        write(f"{current!r} {finalizing()}\\n")
            greenlet._greenlet.x = X()
            """), "greenlet is being finalized\n")

    def test_switch_at_the_teardown_of_modules(self):
        # Any Python exception will do, or none.
        out = self.run_ok("""
            import greenlet, sys
            class X:
                def __init__(self):
                    self.g = greenlet.greenlet(lambda: None)
                    self.write = sys.stdout.write
                def __del__(self):
                    try:
                        self.g.switch()
                    except SystemError as e:
                        self.write(f"SystemError: {e}\\n")
                    except Exception:
                        pass
                    self.write("end\\n")
            greenlet._greenlet.x = X()
            """)
        self.assertEqual(out, "end\n")

    def test_other_threads_have_some(self):
        self.assertEqual(self.run_ok("""
            import greenlet, threading, time
            def thread():
                g = greenlet.greenlet(lambda: greenlet.getcurrent().parent.switch())
                g.switch()
                ready.set()
                threading.Event().wait()
            ready = threading.Event()
            threading.Thread(target=thread, daemon=True).start()
            ready.wait()
            print("end")
            """), "end\n")

    def test_thread_that_has_ended_left_some(self):
        self.assertEqual(self.run_ok("""
            import greenlet, threading
            def thread():
                g = greenlet.greenlet(lambda: greenlet.getcurrent().parent.switch())
                g.switch()
                left.append(g)
            left = []
            t = threading.Thread(target=thread)
            t.start()
            t.join()
            print("end")
            """), "end\n")

    def test_many_suspended(self):
        self.assertEqual(self.run_ok(SUSPENDED + """
some = [greenlet.greenlet(run) for i in range(300)]
for other in some:
    other.switch()
            """), "")

    def test_uncaught_exception(self):
        from .support import run_python
        result = run_python("""
            import greenlet
            def run():
                raise ValueError("from the greenlet")
            greenlet.greenlet(run).switch()
            """)
        self.check(result, 1)
        self.assertIn("in run\n", result.stderr)
        self.assertTrue(result.stderr.endswith("ValueError: from the greenlet\n"))


class Fork(ChildTestCase):

    def test_in_main(self):
        self.assertEqual(self.run_ok("""
            import os, sys, greenlet
            if not hasattr(os, "fork"):
                print("child 5")
                sys.exit()
            g = greenlet.greenlet(lambda: greenlet.getcurrent().parent.switch(5))
            pid = os.fork()
            if not pid:
                print("child", g.switch(), flush=True)
                os._exit(0)
            os.waitpid(pid, 0)
            """), "child 5\n")

    def test_in_a_greenlet(self):
        self.assertEqual(self.run_ok("""
            import os, sys, greenlet
            def run():
                pid = os.fork()
                main.switch()
                return pid
            if not hasattr(os, "fork"):
                print("child 0")
                sys.exit()
            main = greenlet.getcurrent()
            g = greenlet.greenlet(run)
            g.switch()
            pid = g.switch()
            if not pid:
                print("child", pid, flush=True)
                os._exit(0)
            os.waitpid(pid, 0)
            """), "child 0\n")


if __name__ == "__main__":
    unittest.main()
