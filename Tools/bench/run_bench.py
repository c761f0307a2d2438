"""Measures our build against the stock build of the same release, and against its peers.

    python Tools/bench/run_bench.py --python ./python --stock STOCK/python

Prints a table; --plot and --json write a picture and the raw data.  All processes stay on one
processor.  Runs alternate: in every round each workload is preceded by the yardstick (one
resumption of a generator on the stock build), followed by its peers on the stock build, and its
figure is divided by that yardstick.  The table shows medians over the rounds.

Exit status: 0; 1 if a workload of ours failed, or with --check if a target was not reached;
2 for unusable arguments.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import catalogue
import plot
import pyperf_suite
import report
from arguments import arguments_of_all, parse
from catalogue import Workload
from runner import Interpreter, Sampler, WorkloadFailed, find_greenlet, quietest_cpu, run


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    arguments_of_all(parser)
    parser.add_argument("--quick", action="store_true",
                        help="small sizes, about a minute: shows that all runs, measures roughly")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=["*"],
                        help="workloads by name, * and ? allowed; plain Python's: plain.NAME")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write an SVG picture there")
    parser.add_argument("--no-peers", action="store_true", help="leave out the peers")
    parser.add_argument("--pyperformance", action="store_true",
                        help="run part of pyperformance too, if installed (some ten minutes)")
    parser.add_argument("--cache", type=Path, metavar="FOLDER",
                        help="where greenlet is kept (default: beside the stock build)")
    parser.add_argument("--check", action="store_true",
                        help="exit with status 1 when a target is not reached")
    return parse(parser)


class Session:
    """All rounds of one call: which workloads, by whom, and the samples gathered."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.quick: bool = arguments.quick
        self.ours = Interpreter(arguments.python)
        self.stock = Interpreter(arguments.stock)
        self.peers = {} if arguments.no_peers else {"generators": self.stock,
                                                    "asyncio": self.stock}
        self.sampler = Sampler(0.02 if self.quick else 0.15, 1 if self.quick else 3,
                               quietest_cpu())
        # Differences of one per cent need more care.
        self.careful = Sampler(0.03 if self.quick else 0.1, 1 if self.quick else 5,
                               self.sampler.cpu)
        self.samples: list[dict[str, Any]] = []
        self.failures: list[str] = []
        self.notes: list[str] = []

    def wanted(self, name: str) -> bool:
        return any(fnmatch.fnmatch(name, pattern) for pattern in self.arguments.only)

    def workloads(self) -> list[Workload]:
        return [workload for workload in catalogue.WORKLOADS if self.wanted(workload.name)]

    def programs(self) -> list[str]:
        folder = str(Path(__file__).resolve().parent)
        code = (f"import sys; sys.path.insert(0, {folder!r}); "
                "import workloads_plain; print(*workloads_plain.PROGRAMS)")
        names = run([str(self.stock.executable), "-B", "-c", code]).split()
        return [name for name in names if self.wanted(f"plain.{name}")]

    def add_greenlet(self) -> None:
        if self.arguments.no_peers or not self.workloads():
            return
        place, reason = find_greenlet(self.stock.executable, self.arguments.cache,
                                      may_install=not self.quick)
        if place:
            self.peers["greenlet"] = Interpreter(self.stock.executable, [str(place)])
        else:
            self.notes.append(reason)

    def measure(self, who: str, python: Interpreter, workload: Workload, module: str,
                turn: int, yardstick: float) -> None:
        """Run once and keep the figures, or the reason why there are none."""
        size = workload.quick_size if self.quick else workload.size
        size = min(size, workload.peer_limits.get(who, size))
        sample = {"round": turn, "workload": workload.name, "who": who, "size": size,
                  "yardstick": yardstick}
        say(f"round {turn + 1}: {workload.name}, {who}")
        try:
            sample["figures"] = self.sampler.sample(
                python, module, workload.function, size, workload.options, workload.fixed)
        except WorkloadFailed as failure:
            sample["error"] = str(failure)
            line = f"{workload.name}, {who}: {failure}"
            if who == "ours" and line not in self.failures:
                self.failures.append(line)
            elif line not in self.notes:
                self.notes.append(line)
        self.samples.append(sample)

    def yardstick(self) -> float:
        """Nanoseconds that one resumption of a generator takes just now on the stock build."""
        stick = catalogue.YARDSTICK
        figures = self.sampler.sample(self.stock, stick.module, stick.function, stick.size,
                                      stick.options, stick.fixed)
        return figures["ns"]

    def tasklet_round(self, turn: int) -> None:
        for workload in self.workloads():
            if workload.fixed and turn >= 3:
                continue
            yardstick = self.yardstick()
            self.measure("ours", self.ours, workload, workload.module, turn, yardstick)
            if turn >= (1 if workload.fixed else 2):  # enough for what only serves to compare
                continue
            for peer in workload.peers:
                if peer in self.peers:
                    self.measure(peer, self.peers[peer], workload, f"workloads_{peer}", turn,
                                 yardstick)

    def plain_round(self, turn: int) -> None:
        pair = [("ours", self.ours), ("stock", self.stock)]
        if turn % 2:
            pair.reverse()
        for name in self.programs():
            say(f"round {turn + 1}: plain Python, {name}")
            sample: dict[str, Any] = {"round": turn, "program": name}
            for who, python in pair:
                try:
                    sample[who] = self.careful.sample(python, "workloads_plain", name, 10, {},
                                                      False)["ns"]
                except WorkloadFailed as failure:
                    self.failures.append(f"plain.{name}, {who}: {failure}")
            self.samples.append(sample)

    def check_builds(self) -> dict[str, Any]:
        """Describe both interpreters; note what makes them hard to compare."""
        builds = {"ours": self.ours.describe(), "stock": self.stock.describe()}
        for key, meaning in (("release", "releases"), ("debug", "kinds (debug or not)"),
                             ("config", "configure options"), ("opt", "compiler options")):
            if builds["ours"][key] != builds["stock"][key]:
                self.notes.append(f"the two builds have different {meaning}: "
                                  f"{builds['ours'][key]} and {builds['stock'][key]}")
        return builds


def say(text: str) -> None:
    """Progress, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def machine() -> dict[str, Any]:
    load = os.getloadavg() if hasattr(os, "getloadavg") else None
    return {"system": platform.system(), "machine": platform.machine(),
            "processors": os.cpu_count(), "load": load}


def main() -> int:
    arguments = parse_arguments()
    session = Session(arguments)
    data: dict[str, Any] = {"machine": machine(), "quick": arguments.quick,
                            "rounds": arguments.rounds}
    started = time.monotonic()
    try:
        data["builds"] = session.check_builds()
        session.add_greenlet()
        if not session.workloads() and not session.programs():
            print("--only: no such workload", file=sys.stderr)
            return 2
        for turn in range(arguments.rounds):
            session.tasklet_round(turn)
            session.plain_round(turn)
    except WorkloadFailed as failure:
        say("")
        print(f"cannot measure: {failure}", file=sys.stderr)
        return 1
    if arguments.pyperformance:
        session.notes += pyperf_suite.run_both(session.ours, session.stock, arguments.cache,
                                               session.sampler.cpu, session.samples, say)
    say("")
    rows = report.summarise(session.samples)
    data["seconds"] = time.monotonic() - started
    data["rows"] = [row.as_json() for row in rows]
    data.update(samples=session.samples, failures=session.failures, notes=session.notes)
    print(report.table(rows, data))
    if arguments.json:
        arguments.json.write_text(json.dumps(data, indent=1) + "\n")
    if arguments.plot:
        arguments.plot.write_text(plot.picture(rows))
    missed = [row.label for row in rows if row.reached is False]
    return 1 if session.failures or (arguments.check and missed) else 0


if __name__ == "__main__":
    sys.exit(main())
