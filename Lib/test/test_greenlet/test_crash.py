"""Scripts that have crashed a debug build."""

import unittest

from .support import ChildTestCase, needs_ours


class Tracing(ChildTestCase):
    """Trace functions that switch are left, and entered again, in all ways."""

    @needs_ours
    def test_left_by_a_greenlet_entered_by_a_tasklet(self):
        out = self.run_ok("""
            import greenlet, stackless, sys
            main = greenlet.getcurrent()
            first = [1]

            def trace(event, args):
                if first and args[1] is g:
                    first.clear()
                    main.switch()
            greenlet.settrace(trace)
            g = greenlet.greenlet(lambda: None)
            g.switch()
            greenlet.settrace(None)
            stackless.tasklet(g.switch)()
            stackless.run()
            events = []
            sys.settrace(lambda frame, event, arg: events.append(event))
            (lambda: 1)()
            sys.settrace(None)
            print(events)
            """)
        self.assertEqual(out, "['call']\n")

    @needs_ours
    def test_frames_entered_meanwhile(self):
        self.run_ok("""
            import greenlet, sys
            main = greenlet.getcurrent()

            def inner():
                main.switch()
                len([])

            def outer():
                inner()
                len([])
            entered = greenlet.greenlet(outer)

            def trace(event, args):
                if args[1] is traced:
                    entered.switch()
            traced = greenlet.greenlet(lambda: None)
            sys.setprofile(lambda *args: None)
            greenlet.settrace(trace)
            traced.switch()
            greenlet.settrace(None)
            traced.switch()
            entered.switch()
            sys.setprofile(None)
            """)


if __name__ == "__main__":
    unittest.main()
