"""Runs one workload in a process of its own and prints what came out as one line of JSON.

Called by run_bench.py as `python harness.py REQUEST`, REQUEST being a JSON object:

module, function   the workload
size               its first argument; the starting value if `seconds` is given
options            further keyword arguments
seconds            grow the size until one call takes so long (0: call once with this size)
repeats            how many calls; the fastest counts, because what disturbs only ever adds
cpu                the processor to stay on, or null
path               folders to put on the module search path (for greenlet), or null

The workload's function is called from the top level of a script, as a user would.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any, Callable

from sample import Sample, peak_bytes


def fastest(workload: Callable[..., Sample], request: dict[str, Any]) -> Sample:
    size, options = request["size"], request["options"]
    sample = workload(size, **options)
    while sample.seconds < request["seconds"]:
        growth = 1.25 * request["seconds"] / max(sample.seconds, 1e-9)
        size = int(size * min(max(growth, 1.5), 20))
        sample = workload(size, **options)
    for _ in range(request["repeats"] - 1):
        again = workload(size, **options)
        if again.seconds < sample.seconds:
            sample = again
    return sample


def main() -> None:
    request = json.loads(sys.argv[1])
    if request["cpu"] is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [request["cpu"]])
    sys.path.extend(request["path"] or [])
    workload = getattr(importlib.import_module(request["module"]), request["function"])
    sample = fastest(workload, request)
    print(json.dumps({
        "ns": sample.seconds / sample.operations * 1e9,
        "operations": sample.operations,
        "peak": peak_bytes(),
        **sample.figures,
    }), flush=True)
    os._exit(0)  # taking down what still waits would only cost time


main()
