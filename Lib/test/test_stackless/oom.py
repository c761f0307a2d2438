"""The n-th allocation of an operation fails, for n = 0, 1, 2, ...

Each case (oom_cases.py) sets a scene and returns an operation and the objects
to watch.  The operation is tried with the first allocation failing, in a new
scene with the second one failing, and so on until it needs no more.  A failure
must be a MemoryError raised by the operation, and must have changed nothing.

Where the operation starts a tasklet, or has an exception made in it, the
allocation may be one of the target's, which then dies of the MemoryError:
those cases are marked, and only the consistency of what is left is checked.
Where the operation ends with an exception that is made on its arrival, the
MemoryError may come in its stead.

main(case, place) runs one case in one of these places:

main        the main tasklet
tasklet     another one
map         another one that has C functions between its frames: its switches are hard
thread      main of a new thread, in which nothing is allocated yet, below C functions;
            there are tasklets whose slices of C stack overlap with its own
"""

from __future__ import annotations

import _thread
import gc
import sys

import _testcapi

import stackless
from stackless import channel, schedule_remove, tasklet

from .nomemory import fail_each, outcome_of
from .oom_cases import CASES, EXCEPTION_MAY_FAIL, TARGET_MAY_FAIL
from .support import dump, kill_uncollectables, reset_scheduler


class Attempt:
    """One attempt of a case with one failing allocation."""

    def __init__(self, make, n):
        self.make = make
        self.n = n
        self.outcome = "nothing"

    def attempt(self):
        operation, *watched = self.make()
        gc.collect()
        before = dump(*watched)
        outcome = outcome_of(operation, self.n)
        self.outcome = outcome
        if outcome == "failure":
            after = dump(*watched)
            if after != before and not self.target_failed(watched):
                self.outcome = f"changed:\n{before}\n{after}"

    def target_failed(self, watched):
        if self.make.__name__ in EXCEPTION_MAY_FAIL:
            return True
        if self.make.__name__ not in TARGET_MAY_FAIL:
            return False
        dead = [t for t in watched if isinstance(t, tasklet) and not t.alive]
        for t in dead:
            assert not t.scheduled and t.frame is None and t._channel is None
        return bool(dead)

    def finish(self):
        for i in range(20):
            if stackless.runcount == 1:
                break
            try:
                stackless.run()
            except BaseException:
                pass


def through_map(f):
    return list(map(lambda x: f(), [0]))[0]


def attempt_in_main(a):
    a.attempt()
    a.finish()
    return a.outcome


def attempt_in_tasklet(a, call):
    t = tasklet(call)(a.attempt)
    outcome = None
    try:
        t.run()
        _testcapi.remove_mem_hooks()
    except MemoryError:
        # Out of the target: of this tasklet it would be an outcome.
        _testcapi.remove_mem_hooks()
        if a.make.__name__ not in TARGET_MAY_FAIL:
            raise
        outcome = "failure"
    a.finish()
    if t.alive:
        # It is in run(), and waits for main to leave the queue.
        schedule_remove()
    outcome = outcome or a.outcome
    if t.alive:
        t.kill()
    return outcome


def attempt_in_thread(a):
    def thread():
        try:
            # Its slice of C stack begins above where main will be.
            t = tasklet(through_map)(schedule_remove)
            t.run()
            outcomes.append(through_map(lambda: attempt_in_main(a)))
            t.kill()
            clean_up()
            outcomes.append("clean")
        finally:
            done.release()
    # The calling thread just waits, and allocates nothing.
    sys.setswitchinterval(1000)
    outcomes = []
    done = _thread.allocate_lock()
    done.acquire()
    _thread.start_new_thread(thread, ())
    done.acquire()
    assert outcomes[1:] == ["clean"], "the thread died"
    return outcomes[0]


def clean_up():
    kill_uncollectables()
    wrong = reset_scheduler()
    assert not wrong, wrong


def attempt(make, n, place):
    a = Attempt(make, n)
    if place == "main":
        outcome = attempt_in_main(a)
    elif place == "thread":
        outcome = attempt_in_thread(a)
    else:
        outcome = attempt_in_tasklet(a, apply if place == "tasklet" else through_map)
    clean_up()
    return outcome


def apply(f):
    f()


def main(name: str, place: str) -> None:
    make = CASES[name]
    fail_each(lambda n: attempt(make, n, place), 2000, tasklet, channel)
