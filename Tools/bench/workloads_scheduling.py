"""Tasklets that take turns, and tasklets that come and go."""

from __future__ import annotations

import sys

import stackless
from sample import Sample, timed
from stackless import run, schedule, tasklet


def switch2(count: int) -> Sample:
    """Two tasklets take turns.  One operation: one schedule()."""

    def take_turns(turns: int) -> None:
        for _ in range(turns):
            schedule()

    tasklet(take_turns)(count // 2)
    tasklet(take_turns)(count // 2)
    return Sample(timed(run), count // 2 * 2)


def switch2_module(count: int) -> Sample:
    """The same, with the function looked up in the module each time."""

    def take_turns(turns: int) -> None:
        for _ in range(turns):
            stackless.schedule()

    stackless.tasklet(take_turns)(count // 2)
    stackless.tasklet(take_turns)(count // 2)
    return Sample(timed(stackless.run), count // 2 * 2)


def switch_many(count: int, tasklets: int) -> Sample:
    """So many tasklets and the main one take turns.  One operation: one schedule()."""
    rounds = max(count // tasklets, 1)

    def take_turns() -> None:
        for _ in range(rounds + 1):
            schedule()

    def main_takes_turns() -> None:
        for _ in range(rounds):
            schedule()

    for _ in range(tasklets):
        tasklet(take_turns)()
    schedule()  # all have started and are in their loops
    seconds = timed(main_takes_turns)
    run()
    return Sample(seconds, rounds * (tasklets + 1))


def switch_deep(count: int, depth: int) -> Sample:
    """Two tasklets take turns from so deep a chain of Python calls."""
    sys.setrecursionlimit(depth + 200)

    def take_turns(turns: int, level: int) -> None:
        if level > 1:
            take_turns(turns, level - 1)
        else:
            for _ in range(turns):
                schedule()

    tasklet(take_turns)(count // 2, depth)
    tasklet(take_turns)(count // 2, depth)
    return Sample(timed(run), count // 2 * 2)


def spawn(count: int) -> Sample:
    """Batches of 1,000 tasklets.  One operation: a tasklet is created, runs and finishes."""

    def nothing() -> None:
        pass

    def batches() -> None:
        for _ in range(max(count // 1000, 1)):
            for _ in range(1000):
                tasklet(nothing)()
            run()

    return Sample(timed(batches), max(count // 1000, 1) * 1000)
