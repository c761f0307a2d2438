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

sleep(), select(), tasklet.join() and result(), and the timeout= of what waits, are about time and
choice; timeout, move_on_after, shield and group about what is cancelled together; virtual_time lets
a program wait without patience.

`current`, `main`, `runcount`, `threads`, `uncollectables` and `debug` are computed on
access, and read-only.
"""

import sys as _sys

from _stackless import (
    Cancelled,
    _tasklet_get_unpicklable_state,
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
    module as _module,
    now,
    pickle_flags,
    pickle_flags_default,
    run,
    schedule,
    schedule_remove,
    scope,
    select,
    set_channel_callback,
    set_clock,
    set_error_handler,
    set_schedule_callback,
    sleep,
    switch_trap,
    tasklet,
)

# Not in __all__, as sleep() and others: they are common names.
from stackless._dump import dump
from stackless._scopes import group, move_on_after, shield, timeout
from stackless._virtual import virtual_time

PICKLEFLAGS_PRESERVE_TRACING_STATE = 1
PICKLEFLAGS_PRESERVE_AG_FINALIZER = 2
PICKLEFLAGS_RESET_AG_FINALIZER = 4
PICKLEFLAGS_PICKLE_CONTEXT = 8

__all__ = [
    "atomic", "channel", "enable_softswitch", "get_channel_callback",
    "get_schedule_callback", "get_thread_info", "getcurrent", "getcurrentid",
    "getdebug", "getmain", "getruncount", "getthreads", "getuncollectables", "run",
    "schedule", "schedule_remove", "set_channel_callback", "set_error_handler",
    "set_schedule_callback", "stackless", "switch_trap", "tasklet",
]

if _sys.flags.dev_mode:
    from stackless import _development

# `from stackless import *` provides the module itself, too.  That is what it is pickled as.
stackless = _sys.modules[__name__]
stackless.__class__ = _module
__module__ = __name__

from stackless import _lazily

_lazily.register()


def __dir__() -> list[str]:
    return sorted([*globals(), *(name for name in vars(_module) if not name.startswith("_"))])
