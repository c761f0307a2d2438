#!/usr/bin/env python3
"""Run upstream's whole regression suite on a binary and say which failures are not upstream's own.

    compare.py --python PATH [--stock PATH] [--build-stock CMD] [-j N] [--timeout S] [--out DIR] [tests...]

1. Every test file runs on PATH, several at once.
2. A file that does not pass runs again on PATH, alone: what passes then was the load.  (A crash is never the load.)
3. What still does not pass runs on a stock build of the same release and flags, alone; judge.py compares method by
   method.  The stock binary is built with CMD when it is first needed.
4. Files that passed are compared as well: stock runs just those methods that did not run here (mostly skips, so this
   takes seconds per file at most), and each one that passes there is a failure of ours.  The answers are kept in the
   cache, and the next run asks only what is new.  With --full-stock the whole suite runs on stock once instead.

Exit status: 0 no new failure, 1 new failures, 2 the comparison could not be made.
"""
from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from baseline import Baseline, default_cache, plain_flags
from judge import Verdict, judge_alone, judge_probe, judge_whole
from outcome import PASSED, SKIPPED, STATE_CRASHED, STATE_TIMEOUT, Outcome
from runner import (RESOURCES, Binary, Runner, RunnerError, as_pattern, describe, list_tests, restore_default_signals,
                    stop_on_terminate)

_HERE = Path(__file__).resolve().parent


def read_skips(path: Path) -> dict[str, str]:
    """Read the skip list: a test file's name or a pattern of methods, then the reason, on each line."""
    skips = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        pattern, _, reason = line.partition(" ")
        if not reason.strip():
            raise RunnerError(f"{path.name}:{number}: {pattern} has no reason beside it")
        skips[pattern] = reason.strip()
    return skips


def slow_first(names: Sequence[str], listing: Path) -> list[str]:
    """Sort so that the files named in *listing* (slowest first) come first."""
    rank = {line: number for number, line in enumerate(listing.read_text(encoding="utf-8").split("\n"))
            if line and not line.startswith("#")}
    return sorted(names, key=lambda name: (rank.get(name, len(rank) + 10), name))


class Progress:
    """One line on standard output for each finished file."""

    def __init__(self, title: str, total: int) -> None:
        self.title, self.total, self.count = title, total, 0
        if total:
            print(f"{title}: {total} test file{'s' if total != 1 else ''}", flush=True)

    def __call__(self, outcome: Outcome) -> None:
        self.count += 1
        note = f" ({outcome.note})" if outcome.note else ""
        print(f"[{self.count}/{self.total}] {outcome.name} {outcome.state}{note} {outcome.seconds:.1f} s", flush=True)


class Stock:
    """The stock build, obtained when it is first asked for."""

    def __init__(self, ours: Binary, path: Path | None, command: str | None) -> None:
        self._ours, self._path, self._command = ours, path, command
        self._binary: Binary | None = None
        self.given = path is not None

    def binary(self) -> Binary:
        """The stock binary, built if need be.  Raises RunnerError."""
        if self._binary is None:
            self._binary = self._obtain()
        return self._binary

    def _fits(self) -> bool:
        assert self._path is not None
        return self._path.exists() and describe(self._path).version == self._ours.version

    def _obtain(self) -> Binary:
        if self._path is None:
            raise RunnerError("no stock build to compare with: give --stock")
        if not self._fits() and self._command:
            print(f"building stock Python {self._ours.version}: {self._command}", flush=True)
            code = subprocess.call(self._command, shell=True, stdin=subprocess.DEVNULL)
            if code:
                raise RunnerError(f"the stock build failed (exit status {code}): {self._command}")
        if not self._path.exists():
            raise RunnerError(f"there is no stock build at {self._path}")
        binary = describe(self._path)
        if binary.version != self._ours.version:
            raise RunnerError(f"{self._path} is Python {binary.version}, {self._ours.path} is {self._ours.version}")
        if plain_flags(binary.flags) != plain_flags(self._ours.flags):
            print(f"warning: configured differently: stock {plain_flags(binary.flags)}, "
                  f"ours {plain_flags(self._ours.flags)}")
        return binary


class Comparison:
    """One run of the tool, from the list of files to the verdicts."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.ours = describe(args.python)
        self.stock = Stock(self.ours, args.stock, args.build_stock)
        self.skips = read_skips(args.skips)
        self.baseline = Baseline(args.cache, self.ours, args.resources)
        self.baseline.load()
        self.verdicts: dict[str, Verdict] = {}
        self.flaky: list[str] = []
        self.not_compared: list[str] = []
        self.times: list[tuple[str, float]] = []
        self._stock_names: set[str] | None = None

    def _runner(self, binary: Binary, folder: str, patterns: Sequence[str]) -> Runner:
        return Runner(binary, self.args.out / folder, timeout=self.args.timeout, resources=self.args.resources,
                      ignore=patterns)

    def run(self) -> dict[str, Outcome]:
        """Everything; returns the final outcome of each file on our binary."""
        listed = list_tests(self.ours, self.args.tests)
        left_out = set(self.skips) | set(self.args.exclude)
        names = slow_first([name for name in listed if name not in left_out], self.args.slow)
        self.patterns = [pattern for pattern in self.skips if pattern not in listed]
        with self._timed("upstream's test suite on this build"):
            final = self._run_ours(names)
        with self._timed("what had to run on stock"):
            if self.args.full_stock:
                self._run_full_stock(names)
            self._judge_bad([outcome for outcome in final.values() if not outcome.good])
            self._judge_good([outcome for outcome in final.values() if outcome.good])
        self.baseline.save()
        return final

    @contextlib.contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        begin = time.monotonic()
        yield
        self.times.append((name, time.monotonic() - begin))

    def _run_ours(self, names: Sequence[str]) -> dict[str, Outcome]:
        final = self._runner(self.ours, "ours", self.patterns).run_all(
            names, self.args.jobs, Progress(f"Python {self.ours.version}", len(names)))
        bad = [name for name in names if not final[name].good]
        alone = self._runner(self.ours, "ours-alone", self.patterns)
        report = Progress("again, alone", len(bad))
        for name in bad:
            first, again = final[name], alone.run(name)
            report(again)
            if again.good:
                self.flaky.append(f"{name}: {first.state}, then passed alone")
            if not (again.good and first.state == STATE_CRASHED):
                final[name] = again
        return final

    def _has(self, name: str) -> bool:
        """Whether stock has this test file at all."""
        if self._stock_names is None:
            self._stock_names = set(list_tests(self.stock.binary()))
        return name in self._stock_names

    def _run_full_stock(self, names: Sequence[str]) -> None:
        wanted = [name for name in names
                  if (name not in self.baseline.files or self.baseline.files[name].run is None) and self._has(name)]
        outcomes = self._runner(self.stock.binary(), "stock-full", self.patterns).run_all(
            wanted, self.args.jobs, Progress("stock, everything", len(wanted)))
        for outcome in outcomes.values():
            self.baseline.learn_whole(outcome)
        self.baseline.save()

    def _judge_bad(self, bad: Sequence[Outcome]) -> None:
        """Run on stock what does not pass here, and compare."""
        report = Progress("stock, alone", len(bad))
        for ours in bad:
            if not self.stock.given or not self._has(ours.name):
                self.verdicts[ours.name] = judge_alone(ours)
                continue
            stock = self._runner(self.stock.binary(), "stock", self.patterns).run(ours.name)
            report(stock)
            self.baseline.learn_whole(stock)
            self.verdicts[ours.name] = judge_whole(ours, stock)

    def _judge_good(self, good: Sequence[Outcome]) -> None:
        """Ask stock to run what did not run here."""
        asked = {outcome.name: outcome for outcome in good if self.baseline.open_questions(outcome)}
        if not asked:
            return
        if not self.stock.given:
            self.not_compared = sorted(asked)
            return
        asked = {name: outcome for name, outcome in asked.items() if self._has(name)}
        patterns = {name: [as_pattern(test) for test in sorted(outcome.ran)] for name, outcome in asked.items()}
        answers = self._runner(self.stock.binary(), "stock-probe", self.patterns).run_all(
            list(asked), self.args.jobs, Progress("stock, what did not run here", len(asked)), patterns.__getitem__)
        for name, stock in answers.items():
            if stock.state in (STATE_CRASHED, STATE_TIMEOUT):
                self.not_compared.append(name)
                continue
            self.verdicts[name] = judge_probe(asked[name], stock)
            if not self.verdicts[name].ours:
                self.baseline.learn_probe(asked[name], stock)
        self._judge_whole([name for name in answers if name in self.verdicts and self.verdicts[name].ours])

    def _judge_whole(self, names: Sequence[str]) -> None:
        """Run on both, whole, the files whose probe differs: a part of a file is not always run like the whole
        (one test leaves something behind for another, test cases are numbered as they come)."""
        alone = self._runner(self.ours, "ours-alone", self.patterns)
        whole = self._runner(self.stock.binary(), "stock", self.patterns)
        report = Progress("both, whole", 2 * len(names))
        for name in names:
            ours, stock = alone.run(name), whole.run(name)
            report(ours)
            report(stock)
            self.baseline.learn_whole(stock)
            self.verdicts[name] = judge_whole(ours, stock)


def _print_list(title: str, lines: Sequence[str]) -> None:
    if lines:
        print(f"\n{title}")
        for line in lines:
            print(f"  {line}")


def report(comparison: Comparison, final: dict[str, Outcome], seconds: float) -> int:
    """Print what was found; returns how many failures are ours."""
    verdicts = [verdict for _, verdict in sorted(comparison.verdicts.items())]
    ours = [f"{verdict.name}: {line}" for verdict in verdicts for line in verdict.ours]
    stock_too = [f"{verdict.name}: {line}" for verdict in verdicts for line in verdict.stock_too]
    _print_list("on the skip list:", [f"{name}: {why}" for name, why in comparison.skips.items()])
    _print_list("failed under load, passed alone:", comparison.flaky)
    _print_list("not compared with stock:", comparison.not_compared)
    _print_list("failing on stock too:", stock_too)
    _print_list("NEW FAILURES:", ours)
    passed = sum(len(outcome.ids(PASSED)) for outcome in final.values())
    skipped = sum(len(outcome.ids(SKIPPED)) for outcome in final.values())
    whole = sum(outcome.state == "skipped" for outcome in final.values())
    print()
    for name, taken in comparison.times:
        print(f"time: {taken:5.0f} s: {name}")
    print(f"{len(final)} test files ({whole} of them skipped as a whole) in {seconds / 60:.1f} minutes; "
          f"results in {comparison.args.out}")
    print(f"{len(ours)} new failure{'s' if len(ours) != 1 else ''}" if ours else "no new failure")
    print(f"{passed} passed, {len(ours)} failed, {skipped} skipped, {len(stock_too)} failing on stock too")
    return len(ours)


def write_results(comparison: Comparison, final: dict[str, Outcome]) -> None:
    """Leave everything that was found as JSON in the output folder."""
    data = {"files": {name: outcome.as_dict() for name, outcome in sorted(final.items())},
            "verdicts": {name: {"ours": verdict.ours, "stock_too": verdict.stock_too}
                         for name, verdict in sorted(comparison.verdicts.items())},
            "flaky": comparison.flaky, "not_compared": comparison.not_compared}
    (comparison.args.out / "results.json").write_text(json.dumps(data, indent=1), encoding="utf-8")


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--python", type=Path, required=True, metavar="PATH", help="the binary to test")
    add("--stock", type=Path, metavar="PATH", help="where the stock build of the same release is, or will be")
    add("--build-stock", metavar="CMD", help="shell command that builds it, run only when it is needed")
    add("-j", "--jobs", type=int, default=(os.cpu_count() or 1) + 1, metavar="N",
        help="test files at once (default: the processors and one more)")
    add("--timeout", type=float, default=600.0, metavar="S", help="seconds for one test file (default: 600)")
    add("--out", type=Path, metavar="DIR", help="where XML files and logs go (default: a new temporary folder)")
    add("--cache", type=Path, default=default_cache(), metavar="DIR", help="where stock's results are kept")
    add("--full-stock", action="store_true", help="run the whole suite on stock once and keep the results")
    add("--resources", default=RESOURCES, metavar="LIST", help=f"upstream's -u (default: {RESOURCES})")
    add("--skips", type=Path, default=_HERE / "skips.txt", metavar="FILE", help="the skip list")
    add("--slow", type=Path, default=_HERE / "slow.txt", metavar="FILE", help="the files to start first")
    add("-x", "--exclude", action="append", default=[], metavar="NAME", help="leave this test file out")
    add("tests", nargs="*", help="test files, as upstream's runner names them (default: all)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    restore_default_signals()
    stop_on_terminate()
    args.out = (args.out or Path(tempfile.mkdtemp(prefix="regrtest-"))).absolute()
    begin = time.monotonic()
    try:
        comparison = Comparison(args)
        final = comparison.run()
    except RunnerError as exc:
        print(f"compare.py: {exc}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 2
    write_results(comparison, final)
    return 1 if report(comparison, final, time.monotonic() - begin) else 0


if __name__ == "__main__":
    sys.exit(main())
