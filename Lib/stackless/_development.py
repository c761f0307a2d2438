"""What a program is told with -X dev."""

import atexit
import sys
import warnings

import _stackless

SHOWN = 5                              # different functions


def _names_of_unstarted() -> list[str]:
    """The functions of the calling thread's tasklets that are ready to run and never have."""
    for thread in _stackless._dump(sys.maxsize, 0):
        if thread["calling"]:
            return [tasklet["function"] for tasklet in thread["tasklets"]
                    if tasklet["state"] == "runnable" and tasklet["function"] is not None]
    return []


def warn() -> None:
    """A ResourceWarning if tasklets are left behind that have never run."""
    names = _names_of_unstarted()
    if names:
        kinds = list(dict.fromkeys(names))
        named = ", ".join(kinds[:SHOWN]) + (", ..." if len(kinds) > SHOWN else "")
        warnings.warn(f"the program ends, and of the tasklets that were ready to run {len(names):,} never "
                      f"have ({named}): is a stackless.run() missing?", ResourceWarning, stacklevel=2)


atexit.register(warn)
