"""What a build with --enable-optimizations is trained on: upstream's task, then tasklets and greenlets.

    profile_task.py [--ours]

Upstream's make runs this with the instrumented interpreter (PROFILE_TASK, see Makefile.pre.in).  Upstream's own task,
part of its test suite, switches nowhere: the compiler would take all of our code for cold, and make it slower than
without training.  So the programs that the benchmarks measure follow, in a process of their own: tasklets, channels,
all constructs that are left softly, some that are left hard, and greenlets.  Counts are fixed: the same source gives
the same profile.  --ours runs these alone.
"""
from __future__ import annotations

import importlib
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Of each program.  Together they take less than half the time of upstream's task: enough to make what they run hot, and
# too little to decide about what plain Python code runs as well.
OPERATIONS = 800_000
REPEATS_OF_FIXED = 3         # of those whose size is not a number of operations


def train(operations: int = OPERATIONS) -> None:
    """Run all programs of the benchmarks that need nothing from outside, for about so many operations."""
    sys.path.insert(0, str(HERE.parent / "bench"))
    import bench_greenlet
    import catalogue

    for workload in (*catalogue.WORKLOADS, *bench_greenlet.WORKLOADS):
        if workload.name.startswith("gevent"):
            continue
        function = getattr(importlib.import_module(workload.module), workload.function)
        repeats = REPEATS_OF_FIXED if workload.fixed else max(operations // workload.quick_size, 1)
        for _ in range(repeats):
            function(workload.quick_size, **workload.options)


def main() -> int:
    if sys.argv[1:] == ["--ours"]:
        train()
        return 0
    # As configured: make's own variable leads here.
    upstream = shlex.split(sysconfig.get_config_var("PROFILE_TASK") or "")
    for command in (upstream, ["-B", __file__, "--ours"]):
        status = subprocess.run([sys.executable, *command]).returncode
        if status:
            print(f"profile_task.py: error: exit status {status}: {shlex.join(command)}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
