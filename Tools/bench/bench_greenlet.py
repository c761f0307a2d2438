"""Measures the built-in greenlet against PyPI's on the stock build, and gevent on both.

    python Tools/bench/bench_greenlet.py --python ./python --stock STOCK/python

The same programs (workloads_greenlet_api.py) run on both, in turns, on one processor; the table
shows medians over the rounds.  greenlet and gevent are installed beside the stock build if need
be (not with --quick); what cannot be had is left out, and said so.

Exit status: 0; 1 if a workload of ours failed or nothing could be compared; 2 for unusable
arguments.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

from arguments import arguments_of_all, parse
from catalogue import Row, Workload
from report import kind_of_build
from runner import Interpreter, Sampler, WorkloadFailed, find_greenlet, quietest_cpu

MODULE = "workloads_greenlet_api"


def timing(name: str, label: str, function: str, **options: Any) -> Workload:
    return Workload(name, MODULE, function, (Row(label),), options=options)


def holding(name: str, label: str, function: str, size: int) -> Workload:
    return Workload(name, MODULE, function,
                    (Row(f"{label}: memory each", "bytes", "bytes"), Row(f"{label}: create")),
                    size=size, quick_size=size // 10, fixed=True)


WORKLOADS = (
    *(timing(f"switch_main_{depth}", f"switch, main and one at depth {depth}", "switch_main",
             depth=depth) for depth in (0, 20, 200)),
    *(timing(f"switch_pair_{depth}", f"switch, two at depth {depth}", "switch_pair", depth=depth)
      for depth in (0, 20, 200)),
    timing("switch_below_c", "switch, main and one below map()", "switch_below_c"),
    timing("create_and_run", "create, run, finish", "create_and_run"),
    holding("suspended", "{size:,} suspended", "suspended", 20_000),
    timing("gevent_sleep", "gevent.sleep(0), 10 greenlets", "gevent_sleep"),
    timing("gevent_spawn", "gevent.spawn() to its end", "gevent_spawn"),
    holding("gevent_waiting", "{size:,} of gevent's waiting", "gevent_waiting", 20_000),
)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    arguments_of_all(parser)
    parser.add_argument("--quick", action="store_true", help="small sizes, measures roughly")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=["*"],
                        help="workloads by name, * and ? allowed")
    parser.add_argument("--cache", type=Path, metavar="FOLDER",
                        help="where greenlet and gevent are kept (default: beside the stock build)")
    return parse(parser)


def measure(arguments: argparse.Namespace, workloads: list[Workload],
            who: dict[str, Interpreter]) -> tuple[list[dict[str, Any]], list[str]]:
    """All samples, and what failed (each thing once)."""
    sampler = Sampler(0.02 if arguments.quick else 0.2, 1 if arguments.quick else 3,
                      quietest_cpu())
    samples, failures = [], []
    for turn in range(arguments.rounds):
        for workload in workloads:
            size = workload.quick_size if arguments.quick else workload.size
            for name in sorted(who, reverse=bool(turn % 2)):
                try:
                    figures = sampler.sample(who[name], MODULE, workload.function, size,
                                             workload.options, workload.fixed)
                except WorkloadFailed as failure:
                    line = f"{workload.name}, {name}: {failure}"
                    failures += [line] if line not in failures else []
                    continue
                samples.append({"round": turn, "workload": workload.name, "who": name,
                                "size": size, "figures": figures})
    return samples, failures


def table(workloads: list[Workload], samples: list[dict[str, Any]]) -> str:
    lines = [f"{'':44}{'ours':>12}{'PyPI':>12}{'ours/PyPI':>11}"]
    for workload in workloads:
        taken = [sample for sample in samples if sample["workload"] == workload.name]
        if not taken:
            continue
        for row in workload.rows:
            figures = {}
            for name in ("ours", "PyPI"):
                values = [sample["figures"][row.figure] for sample in taken
                          if sample["who"] == name and row.figure in sample["figures"]]
                if values:
                    figures[name] = median(values)
            line = f"{row.label.format(size=taken[0]['size']):44}"
            for name in ("ours", "PyPI"):
                unit = "B" if row.unit == "bytes" else row.unit
                line += f"{figures[name]:>9,.0f} {unit:2}" if name in figures else " " * 12
            if len(figures) == 2:
                line += f"{figures['ours'] / figures['PyPI']:>11.2f}"
            lines.append(line.rstrip())
    return "\n".join(lines)


def main() -> int:
    arguments = parse_arguments()
    workloads = [workload for workload in WORKLOADS
                 if any(fnmatch.fnmatch(workload.name, pattern) for pattern in arguments.only)]
    if not workloads:
        print("--only: no such workload", file=sys.stderr)
        return 2
    place, reason = find_greenlet(arguments.stock, arguments.cache, not arguments.quick, "gevent")
    if place is None:
        place, without = find_greenlet(arguments.stock, arguments.cache, not arguments.quick)
        if place is None:
            print(f"nothing to compare with: {without}", file=sys.stderr)
            return 1
        print(f"without gevent: {reason}")
        workloads = [workload for workload in workloads if "gevent" not in workload.name]
    # The folder comes after the standard library, where ours is.
    who = {"ours": Interpreter(arguments.python, [str(place)]),
           "PyPI": Interpreter(arguments.stock, [str(place)])}
    builds = {name: python.describe() for name, python in who.items()}
    samples, failures = measure(arguments, workloads, who)
    print(f"both {kind_of_build(builds['ours'])}")
    print(table(workloads, samples))
    for line in failures:
        print(f"failed: {line}")
    if arguments.json:
        arguments.json.write_text(json.dumps(
            {"builds": builds, "quick": arguments.quick, "samples": samples,
             "failures": failures}, indent=1) + "\n")
    return 1 if any(", ours: " in line for line in failures) else 0


if __name__ == "__main__":
    sys.exit(main())
