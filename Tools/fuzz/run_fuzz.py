#!/usr/bin/env python3
"""Attack this interpreter with random programs.

    run_fuzz.py --python PATH [--debug PATH] [--seed N] [--seconds N] [--only KIND] [-j N]

plain       programs of all constructs, run plainly and in tasklets, must do the same
operations  all operations of stackless and greenlet, from everywhere

The programs run in child processes, with the release build and with the debug build in its
modes (STACKLESS_DEBUG).  One that fails, crashes or hangs is made smaller, printed and saved.

Exit status: 0 nothing was found, 1 something was, 2 unusable arguments.
"""
from __future__ import annotations

import argparse
import itertools
import os
import random
import sys
import threading
import time
from pathlib import Path
from typing import Any

from finding import Finding, investigate
from process import Configuration, Process, signature

KINDS = ("plain", "operations")
MODES = ("", "hard", "slow", "gc", "shuffle:{seed}", "hard,gc", "", "slow", "hard,shuffle:{seed}")
BATCH = 60              # programs per process


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--python", required=True, type=Path, help="the release build")
    parser.add_argument("--debug", type=Path, help="the debug build, if there is one")
    parser.add_argument("--seed", type=int, help="repeat a run (a run prints its seed)")
    parser.add_argument("--seconds", type=float, default=60, help="begin no program after so many")
    parser.add_argument("--shrink-seconds", type=float, default=120, help="per finding")
    parser.add_argument("--only", choices=KINDS, help="programs of this kind alone")
    parser.add_argument("--mode", help="with this STACKLESS_DEBUG alone, on the debug build")
    parser.add_argument("-j", "--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--out", type=Path, default=Path("fuzz"), help="where findings are saved")
    parser.add_argument("--most", type=int, default=5, help="stop after so many different findings")
    arguments = parser.parse_args()
    for option in ("python", "debug"):
        path = getattr(arguments, option)
        if path is not None and (not os.access(path, os.X_OK) or path.is_dir()):
            parser.error(f"--{option}: {path} is not a program")
        setattr(arguments, option, path and path.absolute())
    if arguments.mode is not None and arguments.debug is None:
        parser.error("--mode needs --debug")
    return arguments


class Fuzzer:
    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.seed = random.SystemRandom().randrange(1_000_000) if arguments.seed is None else arguments.seed
        self.deadline = time.monotonic() + arguments.seconds
        self.batches = itertools.count()
        self.kinds = (arguments.only,) if arguments.only else KINDS
        self.findings: dict[str, Finding] = {}
        self.programs = 0
        self.lock = threading.Lock()

    def configuration(self, batch: int) -> Configuration:
        """Every other batch is for the release build; the debug build takes its modes in turn."""
        a = self.arguments
        if a.mode is not None:
            return Configuration(a.debug, a.mode, f"debug, {a.mode}")
        if a.debug is None or batch % 2 == 0:
            return Configuration(a.python, "", "release")
        mode = MODES[batch // 2 % len(MODES)].format(seed=self.seed)
        return Configuration(a.debug, mode, f"debug{', ' * bool(mode)}{mode}")

    @property
    def finished(self) -> bool:
        return time.monotonic() > self.deadline or len(self.findings) >= self.arguments.most

    def run(self) -> int:
        a = self.arguments
        print(f"fuzz: --seed {self.seed}, {a.seconds:.0f} s, {' and '.join(self.kinds)}", flush=True)
        threads = [threading.Thread(target=self.work) for _ in range(a.jobs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(f"fuzz: {self.programs} programs, {len(self.findings)} findings", flush=True)
        return bool(self.findings)

    def work(self) -> None:
        while not self.finished:
            batch = next(self.batches)
            kind = self.kinds[batch // 2 % len(self.kinds)]
            first = self.seed * 1_000_000 + batch * BATCH
            self.run_batch(kind, self.configuration(batch), range(first, first + BATCH))

    def run_batch(self, kind: str, configuration: Configuration, seeds: range) -> None:
        done: list[dict[str, Any]] = []
        with Process(configuration) as process:
            for seed in seeds:
                if self.finished:
                    return
                job = {"kind": kind, "seed": seed}
                outcome = process.run(job)
                done.append(job)
                self.programs += 1
                if outcome:
                    self.found(configuration, done, outcome)
                    done = []
                    process.end()

    def found(self, configuration: Configuration, jobs: list[dict[str, Any]], outcome: str) -> None:
        with self.lock:
            if signature(outcome) in self.findings:
                self.findings[signature(outcome)].times += 1
                return
            finding = self.findings[signature(outcome)] = Finding(configuration, jobs, outcome)
        first_line = outcome.partition("\n")[0]
        print(f"fuzz: found with seed {jobs[-1]['seed']} ({configuration.name}): {first_line}", flush=True)
        investigate(finding, self.arguments.out, self.arguments.shrink_seconds)
        print(finding.report, flush=True)


if __name__ == "__main__":
    sys.exit(Fuzzer(parse_arguments()).run())
