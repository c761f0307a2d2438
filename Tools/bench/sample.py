"""What one workload hands back, and the clocks and gauges it reads.

A workload is a function of one size that sets up its tasks, measures, and returns a Sample.
Time is always that of whole loop iterations as a user writes them: nothing is subtracted.  It is
the processor time of the process: on an idle machine the same as elapsed time (no workload waits
for anything), and on a busy one not disturbed by what else runs.
"""

from __future__ import annotations

import gc
import os
from time import process_time as clock
from typing import Any, Callable, NamedTuple


class Sample(NamedTuple):
    """`seconds` spent on `operations` operations, and further figures by name."""

    seconds: float
    operations: int
    figures: dict[str, float] = {}


def timed(function: Callable[[], Any]) -> float:
    """Seconds that one call of `function()` takes."""
    start = clock()
    function()
    return clock() - start


def resident_bytes() -> int | None:
    """Memory of this process that is resident now, or None where the system does not tell."""
    gc.collect()
    try:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


def peak_bytes() -> int:
    """The most memory this process ever had resident.

    On Linux from the kernel's count for this program image: getrusage() there also counts the
    memory that the parent had when it started us.
    """
    try:
        with open("/proc/self/status") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    import resource
    import sys

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def memory_figures(count: int, before: int | None, blocked: int | None,
                   after: int | None) -> dict[str, float]:
    """Bytes for each of `count` tasks, and which part of them came back when they finished."""
    if before is None or blocked is None or after is None:
        return {}
    used = max(blocked - before, 1)
    return {"bytes": used / count, "given_back": (blocked - after) / used}


def sieve_messages(primes: list[int]) -> int:
    """How many messages a sieve sends until it has found these primes."""
    messages = 0
    for number in range(2, primes[-1] + 1):
        for prime in primes:
            messages += 1
            if prime >= number or not number % prime:
                break
    return messages


def tree_size(leaves: int) -> int:
    """Number of nodes, leaves included, of a tree with ten children per node."""
    return 1 if leaves == 1 else leaves + tree_size(leaves // 10)
