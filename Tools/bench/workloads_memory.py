"""A great many tasklets that all wait: their memory, and what it takes to make and end them."""

from __future__ import annotations

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

    def create() -> None:
        for _ in range(count):
            tasklet(wait)(depth)
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
