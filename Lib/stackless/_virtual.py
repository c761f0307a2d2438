"""Time that needs no patience."""

from __future__ import annotations

from _stackless import _virtual_clock, set_clock


class virtual_time:
    """A block, or a function, in which the calling thread's time is virtual.

        with stackless.virtual_time():
            stackless.sleep(86400)             # takes no time

    now() starts at 0.0, stands still while tasklets run, and jumps to the next deadline when
    all of them wait: programs behave in the same way each time.  Threads and other parts of
    the world are not waited for.  Who still waits at the end goes on to wait, by the clock that
    was there before.  RuntimeError if time is virtual already.
    """

    def __init__(self) -> None:
        self._clock: object = None

    def __enter__(self) -> virtual_time:
        self._clock = _virtual_clock()
        return self

    def __exit__(self, *exc: object) -> None:
        clock, self._clock = self._clock, None
        set_clock(clock)

    def __call__(self, function):
        import functools               # not before somebody needs it

        @functools.wraps(function)
        def with_virtual_time(*args, **kwargs):
            with virtual_time():
                return function(*args, **kwargs)
        return with_virtual_time
