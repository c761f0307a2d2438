"""Tasklets: microthreads that talk over channels and are scheduled cooperatively.

    import stackless

    def producer(channel):
        for number in range(3):
            channel.send(number)
        channel.send_exception(StopIteration)

    channel = stackless.channel()
    stackless.tasklet(producer)(channel)
    for number in channel:
        print(number)

`current`, `main`, `runcount`, `threads`, `uncollectables` and `debug` are computed on
access.  An exact module object, so that `stackless.schedule` is as fast as any global.
"""

import sys as _sys

from _stackless import (
    atomic,
    bomb,
    channel,
    enable_softswitch,
    get_channel_callback,
    get_schedule_callback,
    get_thread_info,
    getcurrent,
    getcurrentid,
    getdebug,
    getmain,
    getruncount,
    getthreads,
    getuncollectables,
    run,
    schedule,
    schedule_remove,
    set_channel_callback,
    set_error_handler,
    set_schedule_callback,
    switch_trap,
    tasklet,
)

from stackless._dump import dump       # not in __all__: it is a common name

__all__ = [
    "atomic", "channel", "enable_softswitch", "get_channel_callback",
    "get_schedule_callback", "get_thread_info", "getcurrent", "getcurrentid",
    "getdebug", "getmain", "getruncount", "getthreads", "getuncollectables", "run",
    "schedule", "schedule_remove", "set_channel_callback", "set_error_handler",
    "set_schedule_callback", "stackless", "switch_trap", "tasklet",
]

# `from stackless import *` provides the module itself, too.
stackless = _sys.modules[__name__]


_computed = {
    "current": getcurrent,
    "main": getmain,
    "runcount": getruncount,
    "threads": getthreads,
    "uncollectables": getuncollectables,
    "debug": getdebug,
}


def __getattr__(name: str) -> object:
    try:
        compute = _computed[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return compute()


def __dir__() -> list[str]:
    return sorted([*globals(), *_computed])
