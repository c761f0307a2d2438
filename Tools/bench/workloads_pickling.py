"""Pickling a tasklet that waits below so many Python calls, and loading it."""

from __future__ import annotations

import pickle

from sample import Sample, timed
from stackless import schedule_remove, tasklet


def wait(level: int) -> None:
    if level > 1:
        wait(level - 1)
    else:
        schedule_remove()


def dumps(count: int, depth: int) -> Sample:
    """pickle.dumps(), so many times.  Operation: one."""
    task = tasklet(wait)(depth)
    task.run()
    size = len(pickle.dumps(task))

    def repeat() -> None:
        for _ in range(count):
            pickle.dumps(task)
    return Sample(timed(repeat), count, {"pickled": size})


def loads(count: int, depth: int) -> Sample:
    """pickle.loads(), so many times; what was loaded is dropped.  Operation: one."""
    task = tasklet(wait)(depth)
    task.run()
    data = pickle.dumps(task)

    def repeat() -> None:
        for _ in range(count):
            pickle.loads(data)
    return Sample(timed(repeat), count, {})
