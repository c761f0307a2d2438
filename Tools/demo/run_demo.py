"""A million tasklets at work, and the same program with asyncio beside it.

    ./python Tools/demo/run_demo.py

The program is demo_stackless.py: every pair of neighbouring words in the standard library's
source is a tasklet that learns which words come next.  Both halves run on this Python with the
same input, each in a process of its own, and check their result against a plain loop.

Exit status: 0; 1 if the stackless half failed or its result is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ASYNCIO_BYTES = 6_000       # to allow for each task with its queue, when asking what fits
FEWEST = 1_000              # give up below so many tasks


def available_bytes() -> int | None:
    """Memory that can be used without swapping, or None where the system does not tell."""
    try:
        with open("/proc/meminfo") as meminfo:
            for line in meminfo:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def run_half(script: str, tasks: int) -> dict[str, Any] | None:
    """The figures of one half, or None if it failed (its messages are on standard error)."""
    done = subprocess.run([sys.executable, str(HERE / script), "--tasks", str(tasks)],
                          stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    if done.returncode or not done.stdout.strip():
        print(f"  {script} ended with status {done.returncode}", file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def run_asyncio(tasks: int) -> dict[str, Any] | None:
    """The asyncio half with as many tasks as fit, trying fewer if it fails."""
    memory = available_bytes()
    if memory is not None:
        tasks = min(tasks, int(memory * 0.8) // ASYNCIO_BYTES)
    while tasks >= FEWEST:
        print(f"\nasyncio, {tasks:,} tasks:", file=sys.stderr, flush=True)
        figures = run_half("demo_asyncio.py", tasks)
        if figures:
            return figures
        tasks //= 2
    return None


def table(halves: dict[str, dict[str, Any]]) -> str:
    """The figures side by side."""
    def total(half: dict[str, Any]) -> float:
        return sum(half["seconds"].values())

    lines = [
        ("tasks alive at once", lambda half: f"{half['tasks']:,}"),
        ("messages", lambda half: f"{half['messages']:,}"),
        ("create them all", lambda half: f"{half['seconds']['create']:.2f} s"),
        ("read, learn", lambda half: f"{half['seconds']['read']:.2f} s"),
        ("ask them all", lambda half: f"{half['seconds']['ask']:.2f} s"),
        ("stop them all", lambda half: f"{half['seconds']['stop']:.2f} s"),
        ("altogether", lambda half: f"{total(half):.2f} s"),
        ("processor time", lambda half: f"{half['cpu_seconds']:.2f} s"),
        ("messages per second", lambda half: f"{half['messages'] / total(half):,.0f}"),
        ("memory for each task", lambda half: f"{half['bytes_each']:,.0f} bytes"),
        ("peak memory", lambda half: f"{half['peak'] / 1e6:,.0f} MB"),
        ("same result as a plain loop", lambda half: "yes"),
    ]
    columns = [["", *(label for label, _ in lines)]]
    for name, half in halves.items():
        columns.append([name, *(show(half) for _, show in lines)])
    widths = [max(map(len, column)) for column in columns]
    return "\n".join("  ".join([row[0].ljust(widths[0]),
                                *(text.rjust(width) for text, width in zip(row[1:], widths[1:]))])
                     for row in zip(*columns))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--tasks", type=int, default=1_000_000, help="default: a million")
    parser.add_argument("--no-asyncio", action="store_true", help="only the stackless half")
    arguments = parser.parse_args()

    print(f"stackless, {arguments.tasks:,} tasklets:", file=sys.stderr, flush=True)
    ours = run_half("demo_stackless.py", arguments.tasks)
    if ours is None:
        return 1
    halves = {"stackless": ours}
    if not arguments.no_asyncio:
        theirs = run_asyncio(arguments.tasks)
        if theirs:
            halves["asyncio"] = theirs
    print(f"""
{ours['tasks']:,} tasklets, one for each pair of words in {ours['files']:,} files of the standard
library, learned from {ours['lessons']:,} words what comes next.  Then they wrote, a word each:

    {ours['line']}

{table(halves)}

Memory for each task: with its channel or queue and its place in the index.  The plain loop
that the results were checked against, without any tasks, takes {ours['loop_seconds']:.1f} s.""")
    if not arguments.no_asyncio and len(halves) == 1:
        print("asyncio could not do it on this machine with any number of tasks tried.")
    elif len(halves) == 2 and halves["asyncio"]["tasks"] < ours["tasks"]:
        print("asyncio ran with as many tasks as fit into this machine's memory.")
    return 0


if __name__ == "__main__":
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    sys.exit(main())
