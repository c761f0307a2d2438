"""_greenlet.UnswitchableGreenlet: switches that fail, for the sake of tests."""

import unittest

from greenlet import greenlet
from greenlet._greenlet import UnswitchableGreenlet

from .support import ChildTestCase, GreenletTestCase, echo, run_python


class Unswitchable(GreenletTestCase):

    def test_type(self):
        self.assertTrue(issubclass(UnswitchableGreenlet, greenlet))
        g = UnswitchableGreenlet(echo)
        self.assertIs(g.force_switch_error, False)
        self.assertIs(g.force_slp_switch_error, False)
        self.assertEqual(g.switch(1), 1)
        g.switch(None)
        self.assertDead(g)

    def test_flags(self):
        g = UnswitchableGreenlet(echo)
        for name in "force_switch_error", "force_slp_switch_error":
            with self.assertRaisesRegex(AttributeError, f"^Cannot delete {name}$"):
                delattr(g, name)
            setattr(g, name, True)
            self.assertIs(getattr(g, name), True)
            setattr(g, name, False)
            self.assertIs(getattr(g, name), False)

    def test_pending(self):
        g = UnswitchableGreenlet(echo)
        g.force_switch_error = True
        with self.assertRaisesRegex(
                SystemError, "^Failed to switch stacks into a greenlet for the first time.$"):
            g.switch(1)
        g.force_switch_error = False

    def test_active(self):
        g = UnswitchableGreenlet(echo)
        g.switch(1)
        g.force_switch_error = True
        with self.assertRaisesRegex(
                SystemError, "^Failed to switch stacks into a running greenlet.$"):
            g.switch(2)
        self.assertActive(g)
        g.force_switch_error = False
        self.assertEqual(g.switch(3), 3)
        self.assertEqual(g.switch(None), "end")


class Abort(ChildTestCase):

    def test_aborts(self):
        result = run_python("""
            from greenlet import getcurrent
            from greenlet._greenlet import UnswitchableGreenlet
            g = UnswitchableGreenlet(getcurrent().switch)
            g.force_slp_switch_error = True
            g.switch()
            """)
        self.assertLess(result.returncode, 0)


if __name__ == "__main__":
    unittest.main()
