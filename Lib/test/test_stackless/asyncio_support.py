"""What the tests of asyncio's tasks have in common."""

from __future__ import annotations

import asyncio

import _asyncio
from stackless import schedule_remove, tasklet

from . import support
from .support import StacklessTestCase


class Error(Exception):
    pass


class Loop(asyncio.SelectorEventLoop):
    """Keeps what it has to report of exceptions that nobody gets."""

    def __init__(self):
        super().__init__()
        self.reported = []
        self.set_exception_handler(
            lambda loop, context: self.reported.append(context.get("exception")))


class AsyncioTestCase(StacklessTestCase):

    def setUp(self):
        super().setUp()
        self.assertIsNone(asyncio._get_running_loop())
        self.loop = Loop()
        self.addCleanup(self.loop.close)
        self.addCleanup(self.loop.reported.clear)       # their tracebacks
        self.addCleanup(asyncio._set_running_loop, None)

    def run_in_tasklet(self, coro, log=None):
        """A tasklet in which the event loop runs *coro*, logging the outcome."""
        def task():
            try:
                outcome = self.loop.run_until_complete(coro)
            except BaseException as e:
                outcome = type(e), e.args
            if log is not None:
                log.append(outcome)
        t = tasklet(task)()
        t.run()
        return t

    def assertSuspended(self, t):
        self.assertTrue(t.paused)
        if support.SOFT:
            self.assertEqual(t.nesting_level, 0)
        self.assertIs(asyncio.current_task(self.loop), self.current)

    def assertEnded(self, t):
        self.assertDead(t)
        self.assertEqual(dict(_asyncio._current_tasks), {})
        self.assertIsNone(asyncio._get_running_loop())

    def switch(self, value=None):
        """Within a task: leaves the tasklet."""
        self.current = asyncio.current_task()
        return schedule_remove(value)

    def outcome(self, coro):
        """What the loop's run makes of *coro*, which switches once, softly."""
        log = []
        t = self.run_in_tasklet(coro, log)
        self.assertSuspended(t)
        t.run()
        self.assertEnded(t)
        return log[0]
