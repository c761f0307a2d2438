"""Waiting for a time, for one of several things, and being cancelled."""

from __future__ import annotations

import stackless
from sample import Sample, memory_figures, resident_bytes, timed
from stackless import channel, group, run, select, sleep, tasklet

LONG = 3600.0


def sleepers(count: int) -> Sample:
    """So many tasklets sleep, in virtual time.  One operation: a sleep and its end."""

    def task(seconds: float) -> None:
        sleep(seconds)

    def go_to_sleep() -> None:
        for number in range(count):
            tasklet(task)(1.0 + number * 7 % 1009)
        run(wait=False)

    with stackless.virtual_time():
        before = resident_bytes()
        seconds = timed(go_to_sleep)
        asleep = resident_bytes()
        seconds += timed(run)
    return Sample(seconds, count, memory_figures(count, before, asleep, resident_bytes()))


def timers(count: int) -> Sample:
    """A million tasklets sleep meanwhile.  One operation: a timer is started and stopped."""
    ch = channel()

    def sender(rounds: int) -> None:
        for number in range(rounds):
            ch.send(number)

    def receiver(rounds: int) -> None:
        for _ in range(rounds):
            ch.receive(timeout=LONG)

    with stackless.virtual_time():
        tasklets = [tasklet(sleep)(LONG + number) for number in range(1_000_000)]
        tasklet(receiver)(count)
        run(wait=False)
        tasklet(sender)(count)
        seconds = timed(lambda: run(wait=False))
        for t in tasklets:
            t.kill()
    return Sample(seconds, count)


def messages(count: int, how: str, ready: bool) -> Sample:
    """Received by receive(), receive(timeout=) or select(); from who waits (`ready`), or comes."""
    ch, other = channel(), channel()
    if ready:
        ch.preference = 1              # who sends goes on, and waits with the next one

    def sender() -> None:
        for number in range(count):
            ch.send(number)

    def plain() -> None:
        for _ in range(count):
            ch.receive()

    def with_timeout() -> None:
        for _ in range(count):
            ch.receive(timeout=LONG)

    def selecting() -> None:
        for _ in range(count):
            select(ch, other)

    tasklet({"receive": plain, "timeout": with_timeout, "select": selecting}[how])()
    tasklet(sender)()
    return Sample(timed(run), count)


def members(count: int, bare: bool) -> Sample:
    """So many tasklets run and return, in a group, or (`bare`) without.  One operation: one."""

    def task(number: int) -> int:
        return number

    def in_group() -> None:
        with group() as g:
            for number in range(count):
                g.spawn(task, number)

    def alone() -> None:
        for number in range(count):
            tasklet(task)(number)
        run()

    return Sample(timed(alone if bare else in_group), count)


def cancelled(count: int) -> Sample:
    """So many tasklets wait in a group that is cancelled.  One operation: one of them ends."""
    ch = channel()

    def task() -> None:
        ch.receive()

    seconds = 0.0
    with group() as g:
        for _ in range(count):
            g.spawn(task)
        stackless.schedule()
        seconds += timed(g.cancel)
        seconds += timed(lambda: run(wait=False))
    return Sample(seconds, count)
