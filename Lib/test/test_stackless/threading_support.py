"""What the tests of threads share.

Thread          a thread whose result or exception join() hands over
Server          a thread that does in its main tasklet what it is told
asleep()        does a thread sleep for want of work?
ThreadsTestCase every test is over within TIMEOUT
ThreadsChild    scripts that begin with HEAD
"""

import signal
import threading
import time

import stackless
from stackless import schedule_remove

from .support import COLLECTS, ChildTestCase, StacklessTestCase

DEADLOCK = "^Deadlock: the last runnable tasklet cannot be blocked\\."
# Seconds: whatever takes as long hangs.
TIMEOUT = 600 if COLLECTS else 60


class Error(Exception):
    pass


def nothing(*args):
    pass


def pause():
    """What a tasklet runs that is to be found paused."""
    schedule_remove(None)


def wait_until(condition):
    """Let other threads run until condition() is true."""
    end = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("waited too long")
        time.sleep(0)


class Thread(threading.Thread):
    """Runs func(*args); join() returns its result or raises what it raised."""

    def __init__(self, func, *args):
        super().__init__(daemon=True)
        self.func, self.args = func, args
        self.result = self.exception = None

    def run(self):
        try:
            self.result = self.func(*self.args)
        except BaseException as e:
            self.exception = e
        finally:
            # What remains is the thread's end, and no reference of ours.
            del self.func, self.args

    def join(self, timeout=TIMEOUT):
        super().join(timeout)
        if self.is_alive():
            raise AssertionError("a thread does not end")
        if self.exception is not None:
            exc, self.exception = self.exception, None
            raise exc
        return self.result

    def asleep(self):
        return asleep(self.ident)


def asleep(ident):
    """Does the thread sleep for want of work?"""
    main, current, runcount = stackless.get_thread_info(ident)
    return main is not None and current is None and runcount == 0


class Server:
    """A thread that runs what it is given, in its main tasklet, until stop().

    While it waits it does not count as asleep.  Its tasklets run only within
    a call, or when somebody switches to them there.
    """

    def __init__(self):
        self.todo = threading.Semaphore(0)
        self.done = threading.Semaphore(0)
        self.func = None
        self.thread = Thread(self._serve)
        self.thread.start()
        self.ident = self.thread.ident
        self.main = self(stackless.getmain)

    def _serve(self):
        while True:
            self.todo.acquire()
            if self.func is None:
                return
            try:
                self.value = self.func(), None
            except BaseException as e:
                self.value = None, e
            self.func = None
            self.done.release()

    def start(self, func):
        self.func = func
        self.todo.release()

    def wait(self):
        if not self.done.acquire(timeout=TIMEOUT):
            raise AssertionError("a thread does not answer")
        (result, exc), self.value = self.value, None
        if exc is not None:
            try:
                raise exc
            finally:
                del exc
        return result

    def __call__(self, func):
        self.start(func)
        return self.wait()

    def wait_asleep(self):
        wait_until(self.thread.asleep)

    def stop(self):
        self.todo.release()
        self.thread.join()


class ThreadsTestCase(StacklessTestCase):

    def setUp(self):
        super().setUp()
        if (hasattr(signal, "alarm")
                and threading.current_thread() is threading.main_thread()):
            def too_long(*args):
                raise AssertionError("timeout")
            old = signal.signal(signal.SIGALRM, too_long)
            self.addCleanup(signal.signal, signal.SIGALRM, old)
            signal.alarm(TIMEOUT)
            self.addCleanup(signal.alarm, 0)

    def server(self):
        s = Server()
        self.addCleanup(s.stop)
        return s

    def thread(self, func, *args):
        t = Thread(func, *args)
        t.start()
        return t


HEAD = """\
import gc, os, signal, sys, threading, time
import stackless
from stackless import *
def nothing(*args): pass
def pause(): schedule_remove(None)
def asleep(ident):
    main, current, runcount = stackless.get_thread_info(ident)
    return main is not None and current is None and runcount == 0
def wait_until(condition):
    while not condition():
        time.sleep(0)
"""


class ThreadsChild(ChildTestCase):

    def ok(self, source, *args):
        return self.run_ok(HEAD + source, *args)
