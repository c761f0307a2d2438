"""What the tests of this package share.

StacklessTestCase   every test starts and ends with an empty scheduler, no
                    callbacks, no traps, and as many tasklets and channels
                    alive as before
dump()              the complete visible state of queues and tasklets, as a
                    value that can be compared
run_python()        a child interpreter for whatever may crash, or needs main
                    to be somewhere else
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import os
import subprocess
import sys
import tempfile
import textwrap
import unittest
from typing import Any, Iterable, Iterator

from test.support import check_sanitizer

import stackless

# The directory from which `test_stackless` is importable as a package of its
# own, however this module itself was imported.
PACKAGE_PARENT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# Is there a garbage collection at every switch?
COLLECTS = "gc" in os.environ.get("STACKLESS_DEBUG", "").split(",")

SANITIZED = check_sanitizer(address=True)

# A child that takes this long (seconds) hangs.
CHILD_TIMEOUT = 1200 if COLLECTS or SANITIZED else 120

needs_usual_frames = unittest.skipIf(
    SANITIZED, "the frames of C functions are larger with AddressSanitizer")

needs_many = unittest.skipIf(
    COLLECTS, "takes so many that collections at every switch would never come to an end")

# Is the next tasklet chosen at random?
SHUFFLED = any(word.partition(":")[0] == "shuffle"
               for word in os.environ.get("STACKLESS_DEBUG", "").split(","))


def in_turn(turns: Iterable) -> list:
    """What tasklets have logged, to be compared with what they should: in any order if the
    next one is random."""
    return sorted(turns, key=repr) if SHUFFLED else list(turns)


needs_order = unittest.skipIf(
    SHUFFLED, "says who is next in the queue, where any of its members may be chosen")

needs_testcapi = unittest.skipUnless(
    importlib.util.find_spec("_testcapi"), "_testcapi is not built")


def many(number: int) -> int:
    """So many, or a hundredth if a garbage collection at every switch looks at all of them."""
    return number // 100 if COLLECTS else number


# --- looking at the scheduler ----------------------------------------------

def runqueue() -> list[stackless.tasklet]:
    """The runnable tasklets of this thread in order, the current one first."""
    first = stackless.getcurrent()
    result = [first]
    t = first.next
    while t is not first:
        assert t.prev is result[-1], "next and prev disagree"
        result.append(t)
        t = t.next
    return result


def waiters(ch: stackless.channel) -> list[stackless.tasklet]:
    """The tasklets blocked on *ch*, the first to be served first."""
    result = []
    t = ch.queue
    while t is not None:
        if result:
            assert t.prev is result[-1], "next and prev disagree"
        result.append(t)
        t = t.next
    assert len(result) == abs(ch.balance), "balance and queue disagree"
    return result


_TASKLET_ATTRIBUTES = (
    "alive", "paused", "scheduled", "blocked", "is_current", "is_main",
    "atomic", "ignore_nesting", "block_trap", "nesting_level", "restorable",
    "thread_id",
)
_CHANNEL_ATTRIBUTES = (
    "balance", "closing", "closed", "preference", "schedule_all",
)


def _dump_tasklet(t: stackless.tasklet) -> tuple:
    state = [id(t)]
    state += [getattr(t, name) for name in _TASKLET_ATTRIBUTES]
    state += [id(t.next), id(t.prev), id(t._channel), id(t.tempval)]
    if not t.is_current:
        frame = t.frame
        state.append(frame is not None and (id(frame), frame.f_lasti))
        state.append(t.recursion_depth)
    return tuple(state)


def _dump_channel(ch: stackless.channel) -> tuple:
    state = [id(ch)]
    state += [getattr(ch, name) for name in _CHANNEL_ATTRIBUTES]
    state.append([_dump_tasklet(t) for t in waiters(ch)])
    return tuple(state)


def dump(*objects: Any) -> list:
    """Everything visible about this thread's queue and *objects*.

    *objects* are tasklets and channels.  Two dumps are equal iff nothing that
    a program can see has changed between them.
    """
    state: list = [[_dump_tasklet(t) for t in runqueue()]]
    state.append(stackless.getruncount())
    state.append(id(stackless.getmain()))
    state.append(id(stackless.getcurrent()))
    level = stackless.switch_trap(0)
    state.append(level)
    for ob in objects:
        if isinstance(ob, stackless.channel):
            state.append(_dump_channel(ob))
        else:
            state.append(_dump_tasklet(ob))
    return state


# --- the base class ---------------------------------------------------------

# False if STACKLESS_DEBUG=hard forces every switch to be hard.
SOFT = stackless.enable_softswitch(None)

needs_soft = unittest.skipUnless(
    SOFT, "a tasklet that was left hard can be neither rebound nor collected")


def exempt_from_collections() -> None:
    """Nothing that exists is looked at any more by the collections at every switch."""
    if COLLECTS:
        gc.collect()
        gc.freeze()


with stackless.virtual_time():
    stackless.sleep(1)          # the channel where a thread sleeps is there from now on
exempt_from_collections()       # also in the child interpreters that import this module


def kill_uncollectables() -> None:
    """End the tasklets with C state that nothing but their own C stack may refer to.

    Those that a collection has found are in gc.garbage: it cannot switch to them.
    """
    for t in stackless.getuncollectables():
        for i in range(10):
            if t.alive:
                with contextlib.suppress(Exception, TaskletExit):
                    t.kill()
    gc.garbage[:] = [x for x in gc.garbage
                     if not isinstance(x, stackless.tasklet) or x.alive]


def reset_scheduler() -> list[str]:
    """Bring this thread's scheduler back to its initial state.

    Returns one sentence per thing that was not as it should be.
    """
    wrong = []
    if stackless.set_schedule_callback(None) is not None:
        wrong.append("a schedule callback is left")
    if stackless.set_channel_callback(None) is not None:
        wrong.append("a channel callback is left")
    if stackless.set_error_handler(None) is not None:
        wrong.append("an error handler is left")
    level = stackless.switch_trap(0)
    if level:
        stackless.switch_trap(-level)
        wrong.append(f"switch_trap is left at {level}")
    main = stackless.getmain()
    if stackless.getcurrent() is not main:
        wrong.append("the current tasklet is not main")
        return wrong
    for name in ("block_trap", "atomic", "ignore_nesting", "blocked"):
        if getattr(main, name):
            wrong.append(f"main's {name} is true")
    main.block_trap = False
    main.set_atomic(False)
    main.set_ignore_nesting(False)
    if stackless.enable_softswitch(SOFT) is not SOFT:
        wrong.append("enable_softswitch() is left changed")
    left = runqueue()[1:]
    if left:
        wrong.append(f"{len(left)} tasklets are left in the queue")
    for t in left:
        with contextlib.suppress(BaseException):
            t.remove()
    del left
    info = stackless.get_thread_info(-1, 1 << 31)
    if len(info) > 3 and info[3] not in (None, [None]):
        wrong.append(f"the watchdog stack has {len(info[3])} entries")
    return wrong


def _instances() -> tuple[int, int]:
    # An instance of a heap type owns a reference to its type, so these two
    # counts go up and down with the tasklets and channels that exist, whether
    # the collector knows them or not.
    return sys.getrefcount(stackless.tasklet), sys.getrefcount(stackless.channel)


class StacklessTestCase(unittest.TestCase):
    """Checks after each test that it left nothing behind."""

    # Set to False by a test that (for a reason it tells) cannot be judged so.
    check_leaks = True

    def setUp(self):
        super().setUp()
        # What cannot be cleaned up is the fault of an earlier test.
        self._wrong = reset_scheduler()
        self._before = _instances()
        self.addCleanup(self._check_clean)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        exempt_from_collections()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        if "asyncio" in sys.modules:       # asyncio.run() sets it, for ever
            sys.modules["asyncio"].set_event_loop_policy(None)

    def _check_clean(self):
        wrong = [w for w in reset_scheduler() if w not in self._wrong]
        self.assertEqual(wrong, [])
        if self.check_leaks and not self._failed() and self._leaked():
            # Cycles are legitimate; what is left after a collection is not.
            kill_uncollectables()
            gc.collect()
            gc.collect()
            self.assertFalse(self._leaked(), "tasklets or channels leaked")
            self.assertEqual(gc.garbage, [])

    def _leaked(self) -> bool:
        # Fewer than before is no leak: an earlier test's cycles are gone.
        return any(now > then for now, then in zip(_instances(), self._before))

    def _failed(self) -> bool:
        # The traceback of a failure keeps the test's objects alive.
        outcome = getattr(self, "_outcome", None)
        return outcome is not None and not outcome.success

    # -- helpers --

    def run_tasklet(self, func, /, *args, **kwargs) -> stackless.tasklet:
        """Run func(*args, **kwargs) in a tasklet until the queue is empty."""
        t = stackless.tasklet(func)(*args, **kwargs)
        stackless.run()
        return t

    def paused(self, func, /, *args) -> stackless.tasklet:
        """A tasklet that has run func(*args) up to its schedule_remove()."""
        t = stackless.tasklet(func)(*args)
        t.run()
        self.assertTrue(t.paused)
        return t

    def receiver(self, ch, log=None) -> stackless.tasklet:
        """A tasklet blocked receiving once from *ch*, logging the value."""
        t = stackless.tasklet(_receive_once)(ch, log)
        t.run()
        self.assertTrue(t.blocked)
        return t

    def sender(self, ch, value, log=None) -> stackless.tasklet:
        """A tasklet blocked sending *value* to *ch*."""
        t = stackless.tasklet(_send_once)(ch, value, log)
        t.run()
        self.assertTrue(t.blocked)
        return t

    @contextlib.contextmanager
    def unchanged(self, *objects: Any) -> Iterator[None]:
        """What happens in the block must change nothing about *objects*."""
        before = dump(*objects)
        yield
        self.assertEqual(dump(*objects), before)

    def assertQueue(self, expected: Iterable[stackless.tasklet]) -> None:
        """The queue, beginning with the current tasklet, is *expected*."""
        self.assertEqual(runqueue(), list(expected))
        self.assertEqual(stackless.getruncount(), len(runqueue()))

    def assertTurns(self, turns: list, expected: list) -> None:
        """Each tasklet has logged its *turns*: in this order, unless the next one is random."""
        self.assertEqual(in_turn(turns), in_turn(expected))

    def assertDead(self, t: stackless.tasklet) -> None:
        self.assertFalse(t.alive)
        self.assertFalse(t.scheduled)
        self.assertFalse(t.blocked)
        self.assertFalse(t.paused)
        self.assertFalse(t.is_current)
        self.assertIsNone(t.frame)
        self.assertIsNone(t.tempval)
        self.assertIsNone(t.next)
        self.assertIsNone(t.prev)
        self.assertEqual(t.recursion_depth, 0)


def _receive_once(ch, log):
    value = ch.receive()
    if log is not None:
        log.append(value)


def _send_once(ch, value, log):
    ch.send(value)
    if log is not None:
        log.append("sent")


# --- child interpreters -----------------------------------------------------

def _child_environment() -> dict[str, str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    # Switches of the implementation's own debugging aids are to reach the
    # children too.
    for name, value in os.environ.items():
        if "STACKLESS" in name or name == "PYTHONHOME":
            env[name] = value
    env["PYTHONPATH"] = os.pathsep.join([PACKAGE_PARENT])
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    return env


def run_python(source: str | None = None, *args: str, stdin: str = "",
               cwd: str | None = None) -> subprocess.CompletedProcess:
    """Run *source* as a bare script (or just *args*) in a child interpreter."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-X", "faulthandler"]
        if source is not None:
            path = os.path.join(directory, "script.py")
            with open(path, "w", encoding="utf-8") as file:
                file.write(textwrap.dedent(source))
            command.append(path)
        command += args
        env = _child_environment()
        if COLLECTS:                   # what exists before the script is not looked at
            with open(os.path.join(directory, "sitecustomize.py"), "w") as file:
                file.write("import gc\ngc.freeze()\n")
            env["PYTHONPATH"] += os.pathsep + directory
        try:
            return subprocess.run(
                command, input=stdin, capture_output=True, cwd=cwd,
                env=env, timeout=CHILD_TIMEOUT,
                encoding="utf-8", errors="backslashreplace")
        except subprocess.TimeoutExpired as e:
            out, err = ((text or b"").decode("utf-8", "backslashreplace")
                        for text in (e.stdout, e.stderr))
            raise AssertionError(
                f"a child did not end\n--- stdout\n{out[-2000:]}\n"
                f"--- stderr\n{err[-2000:]}") from None


class ChildTestCase(unittest.TestCase):
    """Runs scripts in child interpreters and judges how they ended."""

    def run_ok(self, source: str | None, *args: str, **kwargs: Any) -> str:
        """The child must exit with status 0 and a clean stderr; its stdout."""
        result = run_python(source, *args, **kwargs)
        self.check(result, 0)
        self.assertEqual(result.stderr, "")
        return result.stdout

    def run_status(self, source: str | None, status: int, *args: str,
                   **kwargs: Any) -> subprocess.CompletedProcess:
        """The child must exit with *status*, whatever it writes."""
        result = run_python(source, *args, **kwargs)
        self.check(result, status)
        return result

    def run_survives(self, source: str | None, *args: str,
                     **kwargs: Any) -> subprocess.CompletedProcess:
        """The child may fail, but as a Python program does: no crash.

        It must print "survived" at its end.
        """
        result = run_python(source, *args, **kwargs)
        self.check(result, 0)
        self.assertIn("survived", result.stdout)
        return result

    def check(self, result: subprocess.CompletedProcess, status: int) -> None:
        if result.returncode != status:
            self.fail(f"exit status {result.returncode}, not {status}\n"
                      f"--- stdout\n{result.stdout[-4000:]}\n"
                      f"--- stderr\n{result.stderr[-4000:]}")
