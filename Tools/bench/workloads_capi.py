"""The C interface, called by the extension module of its tests, which is compiled here."""

from __future__ import annotations

from sample import Sample, timed
from stackless import channel, run, schedule, tasklet


def _capi():
    from test.test_stackless.capi_support import load_module
    return load_module("capi_test.c")


def soft_map(count: int) -> Sample:
    """Two tasklets, each in a C function that calls a Python function by soft calls, which lets
    the other one run.  One operation: one schedule()."""
    capi = _capi()
    items = [0] * (count // 2)

    def task() -> None:
        capi.soft_map(lambda item: schedule(), items)

    tasklet(task)()
    tasklet(task)()
    return Sample(timed(run), len(items) * 2)


def forward(count: int, soft: bool) -> Sample:
    """A C function receives and sends what a tasklet sends and receives.  One operation: one
    message."""
    capi = _capi()
    to, back = channel(), channel()

    def talk() -> None:
        for _ in range(count // 2):
            to.send(None)
            back.receive()

    if soft:
        tasklet(lambda: capi.soft_forward(to.receive, back.send, count // 2))()
    else:
        tasklet(capi.forward)(to, back, count // 2)
    tasklet(talk)()
    return Sample(timed(run), count // 2 * 2)


def overshoot(count: int) -> Sample:
    """Ticks of two milliseconds, each interrupted while Python code computes.  One operation: what
    one of them lasts longer, in the middle."""
    capi = _capi()
    stop: list[bool] = []

    def hog() -> None:
        while not stop:
            pass

    tasklet(hog)()
    late = sorted(capi.PyStackless_RunFor(2_000_000)[1] for _ in range(count))
    stop.append(True)
    run()
    return Sample(late[len(late) // 2] / 1e9, 1)
