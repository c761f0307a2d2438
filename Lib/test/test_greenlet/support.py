"""What the tests of this package share.

GreenletTestCase    every test ends in the greenlet that it began in, without
                    a trace function, and leaves no greenlet behind
run_python()        a child interpreter for whatever may crash or is about
                    the end of the interpreter
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tempfile
import textwrap
import threading
import unittest
from typing import Any, Callable

import greenlet
from greenlet import getcurrent

# Is this the built-in module, or a package from elsewhere?
OURS = "_stackless" in sys.builtin_module_names

# False where all greenlets are switched hard (see STACKLESS_DEBUG).
SOFT = True
if OURS:
    import stackless
    SOFT = stackless.enable_softswitch(None)

needs_soft = unittest.skipUnless(
    SOFT, "a greenlet that was left hard is not collected")
needs_ours = unittest.skipUnless(OURS, "about the built-in greenlet, this is another one")

# Is there a garbage collection at every switch?
COLLECTS = "gc" in os.environ.get("STACKLESS_DEBUG", "").split(",")

# A child or a thread that takes this long (seconds) hangs.
TIMEOUT = 1200 if COLLECTS else 120

needs_many = unittest.skipIf(
    COLLECTS, "takes so many that collections at every switch would never come to an end")


def many(number: int) -> int:
    """So many, or a hundredth if a garbage collection at every switch looks at all of them."""
    return number // 100 if COLLECTS else number


class Error(Exception):
    pass


class BaseError(BaseException):
    """Neither an Exception nor known to anybody."""


def greenlets() -> list[greenlet.greenlet]:
    """All greenlets but main ones, unreachable ones included."""
    return [x for x in gc.get_objects()
            if isinstance(x, greenlet.greenlet) and x.parent is not None]


class GreenletTestCase(unittest.TestCase):
    """Checks after each test that it left nothing behind."""

    # Set to False by a test that (for a reason it tells) cannot be judged so.
    check_leaks = True

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if COLLECTS:
            gc.collect()
            gc.freeze()                # what exists is not looked at any more

    def setUp(self):
        super().setUp()
        self._main = getcurrent()
        self._before = len(greenlets())
        self.addCleanup(self._check_clean)

    def _check_clean(self):
        tracer = greenlet.settrace(None)
        self.assertIsNone(tracer, "a trace function is left")
        self.assertIs(getcurrent(), self._main, "the current greenlet is another one")
        if self.check_leaks and not self._failed() and len(greenlets()) > self._before:
            # Cycles are legitimate; what is left after a collection is not.
            gc.collect()
            self.assertLessEqual(len(greenlets()), self._before, "greenlets leaked")
            self.assertEqual(gc.garbage, [])

    def _failed(self) -> bool:
        # The traceback of a failure keeps the test's objects alive.
        outcome = getattr(self, "_outcome", None)
        return outcome is not None and not outcome.success

    # -- helpers --

    def started(self, run: Callable, *args: Any) -> greenlet.greenlet:
        """A greenlet that has run until it switched back."""
        g = greenlet.greenlet(run)
        g.switch(*args)
        self.assertTrue(g)
        return g

    def assertPending(self, g: greenlet.greenlet) -> None:
        self.assertFalse(g)
        self.assertFalse(g.dead)
        self.assertIsNone(g.gr_frame)

    def assertActive(self, g: greenlet.greenlet) -> None:
        self.assertTrue(g)
        self.assertFalse(g.dead)

    def assertDead(self, g: greenlet.greenlet) -> None:
        self.assertTrue(g.dead)
        self.assertFalse(g)
        self.assertIsNone(g.gr_frame)

    def catch_unraisable(self) -> list:
        """From now until the test's end, what sys.unraisablehook is called with.

        Each entry: (type of the exception, its text, err_msg, the object's type).
        """
        caught = []

        def hook(u):
            caught.append((u.exc_type, str(u.exc_value), u.err_msg, type(u.object)))
        self.addCleanup(setattr, sys, "unraisablehook", sys.unraisablehook)
        sys.unraisablehook = hook
        return caught


def switch_back(*values: Any) -> Any:
    """Switch to the parent of the current greenlet; what it switches back with."""
    return getcurrent().parent.switch(*values)


def echo(*args: Any) -> Any:
    """A greenlet's body that gives back what it gets until it gets None."""
    value = args[0] if len(args) == 1 else args
    while value is not None:
        value = switch_back(value)
    return "end"


def catch(log: list) -> None:
    """A greenlet's body that waits once and logs the exception that comes."""
    try:
        log.append(switch_back())
    except BaseException as e:
        log.append(e)


def in_thread(function: Callable, *args: Any) -> Any:
    """Call function(*args) in a new thread; its result or its exception."""
    result: list = []

    def target():
        try:
            result.append((function(*args), None))
        except BaseException as e:
            result.append((None, e))

    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    thread.join(TIMEOUT)
    assert not thread.is_alive(), "a thread does not end"
    value, exception = result.pop()
    if exception is not None:
        raise exception
    return value


def in_ended_thread(make: Callable) -> Any:
    """What make() returns in a thread that has ended, and been cleaned up after."""
    result = in_thread(make)
    # PyPI's greenlet does that a little later.
    for i in range(1000):
        if not greenlet._greenlet.get_pending_cleanup_count():
            break
        getcurrent()
        in_thread(int)
    return result


# --- child interpreters -----------------------------------------------------

def _child_environment() -> dict[str, str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    if "PYTHONHOME" in os.environ:
        env["PYTHONHOME"] = os.environ["PYTHONHOME"]
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    return env


def run_python(source: str, *options: str, env: dict[str, str] | None = None
               ) -> subprocess.CompletedProcess:
    """Run *source* as a script in a child interpreter."""
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "script.py")
        with open(path, "w", encoding="utf-8") as file:
            file.write(textwrap.dedent(source))
        return subprocess.run(
            [sys.executable, *options, path], stdin=subprocess.DEVNULL,
            capture_output=True, env=_child_environment() | (env or {}),
            timeout=TIMEOUT, encoding="utf-8", errors="backslashreplace")


class ChildTestCase(unittest.TestCase):
    """Runs scripts in child interpreters and judges how they ended."""

    def run_ok(self, source: str, *options: str) -> str:
        """The child must exit with status 0 and a clean stderr; its stdout."""
        result = run_python(source, *options)
        self.check(result, 0)
        self.assertEqual(result.stderr, "")
        return result.stdout

    def check(self, result: subprocess.CompletedProcess, status: int) -> None:
        if result.returncode != status:
            self.fail(f"exit status {result.returncode}, not {status}\n"
                      f"--- stdout\n{result.stdout[-4000:]}\n"
                      f"--- stderr\n{result.stderr[-4000:]}")
