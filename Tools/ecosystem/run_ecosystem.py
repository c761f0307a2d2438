#!/usr/bin/env python3
"""Run what lives on greenlets with the built-in greenlet, and compare with PyPI's on the stock build.

    run_ecosystem.py --python PATH --stock PATH [--out DIR] [-j N] [--only WORD ...] [--seed N]

1. A virtual environment is made of each interpreter, with the same packages from PyPI in the same versions; only
   stock's has PyPI's greenlet.
2. greenlet's and gevent's own test suites run in both, on this host alone, each module in a process of its own.
3. What is worse with ours runs again, alone, twice: what passes then was the load.
4. Random programs of greenlets (Lib/test/test_greenlet/random_programs.py) must print the same in both.
5. Small programs (smoke/) use eventlet, SQLAlchemy's asyncio, NumPy and other popular binary wheels.

A test that passes with stock and not with ours is a failure, unless known.txt names it with a reason.

Exit status: 0 nothing is worse, 1 something is, 2 unusable arguments, 77 skipped because PyPI cannot be reached (make
then tells so and goes on).
"""
from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path

from differential import run_random_programs
from environments import Pair, Unavailable
from judge import BETTER, BOTH, FLAKY, KNOWN, WORSE, ListError, Verdict, compare, read_known, unused
from smoke_tests import SmokeResult, run_smoke_tests
from suites import PASS, SKIP, SUITES, Module, Results, Suite, list_modules, run_modules

HERE = Path(__file__).resolve().parent
SKIPPED = 77
RETRIES = 2


def say(text: str) -> None:
    print(text, flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--python", required=True, type=Path, help="our build")
    parser.add_argument("--stock", required=True, type=Path, help="a stock build of the same release")
    parser.add_argument("--out", type=Path, default=Path("ecosystem"), help="logs, results.json, the environments")
    parser.add_argument("-j", "--jobs", type=int, default=os.cpu_count() or 2, help="test processes at a time")
    parser.add_argument("--only", nargs="+", metavar="WORD", default=[],
                        help="only test modules and smoke tests with one of these in their names")
    parser.add_argument("--seed", type=int, default=0, help="number of the first random program of greenlets")
    arguments = parser.parse_args()
    for option in ("python", "stock"):
        path = getattr(arguments, option).absolute()
        if not os.access(path, os.X_OK) or path.is_dir():
            parser.error(f"--{option}: {path} is not a program")
        setattr(arguments, option, path)
    arguments.out = arguments.out.absolute()
    arguments.out.mkdir(parents=True, exist_ok=True)
    return arguments


class SuiteRun:
    """One suite in both environments."""

    def __init__(self, suite: Suite, pair: Pair, out: Path, known: dict[str, str], only: list[str]) -> None:
        self.suite, self.pair, self.out, self.known = suite, pair, out / suite.name, known
        directory = pair.stock.directory_of(suite.package)
        self.names = list_modules(suite, directory, only)
        self.verdicts: list[Verdict] = []
        self.results: dict[str, dict[str, Results]] = {}
        self.counts: dict[str, Counter[str]] = {}
        self.seconds: dict[str, float] = {}

    def module(self, name: str, who: str, where: str) -> Module:
        environment = getattr(self.pair, who)
        out = self.out / where
        out.mkdir(parents=True, exist_ok=True)
        return Module(self.suite, name, environment.python, environment.directory_of(self.suite.package), out)

    def run(self, jobs: int) -> None:
        for who in ("stock", "ours"):
            begin, total = time.monotonic(), len(self.names)
            finished = 0

            def done(module: Module, results: Results) -> None:
                nonlocal finished
                finished += 1
                counts = Counter(result.status for result in results.values())
                say(f"[{finished}/{total}] {who}: {module.name} "
                    + ", ".join(f"{count} {status}" for status, count in sorted(counts.items())))

            if not self.names:
                return
            first = self.module(self.names[0], who, who)
            modules = [Module(self.suite, name, first.python, first.directory, first.out) for name in self.names]
            self.results[who] = run_modules(modules, jobs, done)
            self.counts[who] = Counter(result.status for results in self.results[who].values()
                                       for result in results.values())
            self.seconds[who] = time.monotonic() - begin
        for name in self.names:
            self.judge(name)

    def judge(self, name: str) -> None:
        """Compare one module; give what is worse another chance."""
        ours, stock = (self.results[who][name] for who in ("ours", "stock"))
        verdicts = compare(name, ours, stock, self.known)
        for attempt in range(RETRIES):
            worse = [v for v in verdicts if v.kind == WORSE]
            if not worse:
                break
            say(f"again, alone: {name} ({len(worse)} worse)")
            again = self.module(name, "ours", f"again{attempt + 1}").run()
            for verdict in worse:
                result = again.get(verdict.test)
                if result is not None and result.status == PASS:
                    verdict.kind = FLAKY
        self.verdicts += verdicts

    def as_json(self) -> dict[str, object]:
        return {"suite": self.suite.name, "modules": len(self.names), "seconds": self.seconds,
                "counts": {who: dict(counts) for who, counts in self.counts.items()},
                "different": [verdict.as_json() for verdict in self.verdicts],
                "results": {who: {name: {test: vars(result) for test, result in results.items()}
                                  for name, results in modules.items()} for who, modules in self.results.items()}}


def run_suites(pair: Pair, arguments: argparse.Namespace, known: dict[str, str]) -> list[SuiteRun]:
    runs = []
    for suite in SUITES:
        run = SuiteRun(suite, pair, arguments.out, known, arguments.only)
        if run.names:
            say(f"{suite.name}: {len(run.names)} test modules")
            run.run(arguments.jobs)
            runs.append(run)
    return runs


def table(runs: list[SuiteRun], smoke: list[SmokeResult]) -> str:
    """What there is to know at the end."""
    head = f"{'':24}{'passed':>8}{'skipped':>9}{'failed':>8}{'seconds':>9}"
    lines = ["", head]
    for run in runs:
        for who in ("stock", "ours"):
            counts = run.counts[who]
            bad = sum(counts.values()) - counts[PASS] - counts[SKIP]
            lines.append(f"{run.suite.name + ', ' + who:24}{counts[PASS]:8}{counts[SKIP]:9}{bad:8}"
                         f"{run.seconds[who]:9.0f}")
    for result in smoke:
        lines.append(f"{result.name:24}{result.verdict}" + (f": {result.text}" if result.text else ""))
    for kind, title in ((BETTER, "passes with ours only"), (BOTH, "fails with both"), (FLAKY, "passed when run again"),
                        (KNOWN, "fails for a known reason"), (WORSE, "WORSE THAN STOCK")):
        verdicts = [verdict for run in runs for verdict in run.verdicts if verdict.kind == kind]
        if verdicts:
            lines += ["", f"{title} ({len(verdicts)}):"]
            lines += [f"  {v.test}: {v.ours}, stock: {v.stock}" + (f" ({v.text})" if v.text else "") for v in verdicts]
    return "\n".join(lines)


def main() -> int:
    arguments = parse_arguments()
    try:
        known = read_known(HERE / "known.txt")
    except ListError as error:
        print(error, file=sys.stderr)
        return 2
    pair = Pair(arguments.python, arguments.stock, arguments.out / "environments")
    try:
        pair.make()
        version = pair.check_greenlet()
        pair.install([f"greenlet=={version}", "gevent[test]"])
        pair.lend_greenlet_tests()
    except Unavailable as error:
        print(f"skipped: the packages to test with cannot be had: {error}")
        return SKIPPED
    except RuntimeError as error:
        print(f"gevent {error}", file=sys.stderr)
        return 1
    smoke = run_smoke_tests(pair, arguments.out / "smoke", arguments.only)
    if not arguments.only or any(word in "random_programs" for word in arguments.only):
        smoke.append(run_random_programs(pair, arguments.out / "random", arguments.seed))
    runs = run_suites(pair, arguments, known)
    data = {"versions": {env.name: env.freeze() for env in pair.both}, "suites": [run.as_json() for run in runs],
            "smoke": [vars(result) for result in smoke]}
    (arguments.out / "results.json").write_text(json.dumps(data, indent=1) + "\n")
    print(table(runs, smoke))
    tests = {test for run in runs for who in run.results.values() for results in who.values() for test in results}
    verdicts = [verdict for run in runs for verdict in run.verdicts]
    for pattern in unused(known, tests, verdicts):
        print(f"known.txt: {pattern} is no longer worse: remove it")
    worse = [v for v in verdicts if v.kind == WORSE] + [s for s in smoke if s.worse]
    print(f"\n{len(worse)} worse than stock" if worse else "\nnothing is worse than stock")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
