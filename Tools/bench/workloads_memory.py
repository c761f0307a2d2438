"""A great many tasklets that all wait: their memory, and what it takes to make and end them."""

from __future__ import annotations

from typing import Any, Callable

from sample import Sample, memory_figures, resident_bytes, timed
from stackless import channel, run, tasklet


def blocked(count: int, depth: int) -> Sample:
    """So many tasklets wait on one channel, below so many Python calls.  Operation: one made."""
    gate = channel()

    def wait(level: int) -> None:
        if level > 1:
            wait(level - 1)
        else:
            gate.receive()

    return waiting(count, gate, wait, depth)


def blocked_in_map(count: int) -> Sample:
    """So many tasklets wait on one channel, called by map(): their C stack is kept, too."""
    gate = channel()

    def wait(_: int) -> None:
        gate.receive()

    def call() -> None:
        for _ in map(wait, (1,)):
            pass

    return waiting(count, gate, call)


def waiting(count: int, gate: channel, function: Callable, *args: Any) -> Sample:
    """So many tasklets call function(*args), which waits at the gate."""

    def create() -> None:
        for _ in range(count):
            tasklet(function)(*args)
        run()

    def finish() -> None:
        for _ in range(count):
            gate.send(None)
        run()

    before = resident_bytes()
    seconds_to_create = timed(create)
    assert gate.balance == -count
    while_blocked = resident_bytes()
    seconds_to_finish = timed(finish)
    assert gate.balance == 0
    figures = memory_figures(count, before, while_blocked, resident_bytes())
    figures["finish_ns"] = seconds_to_finish / count * 1e9
    return Sample(seconds_to_create, count, figures)
