"""Run our test suites with pytest, several processes at a time.  Called by run_tests.sh.

    run_suites.py --python PATH [--debug PATH] --site DIR --jobs N [--seed N] [PYTEST-ARGUMENT]...

On the build as configured; with --debug then on the debug build: in random order, with every switch hard, and, those
files in which the order does not matter, with tasklets chosen at random; and the tests of our tools.

A suite is cut into parts, by a choice of files that depends on the seed, so that all processors have something to do.
What a part prints is shown when it has ended; with --jobs 1 nothing is cut, and all is shown at once.  Lines that
begin with "time:" say at the end what took how long.  Exit status: 1 if any test failed.
"""
from __future__ import annotations

import argparse
import os
import random
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGES = ("test.test_stackless", "test.test_greenlet")
# Where the order does not matter.  (The whole suite passes with some seeds: elsewhere a test of who is next that is
# not marked so (needs_order) would fail with others.)
ANY_ORDER = ["test.test_stackless.test_model", "test.test_stackless.test_inflight",
             "test.test_stackless.test_threads_stress"]
# pytest's folder comes last on the module search path, and only there, so that tests that start interpreters see none
# of it.
_PYTEST = "import sys; sys.path.append(sys.argv.pop(1)); import pytest; sys.exit(pytest.main())"
_OPTIONS = ("-p", "no:cacheprovider", "-o", "faulthandler_timeout=300", "-q")
_NO_TESTS = 5                # pytest's exit status when no test was selected


@dataclass
class Suite:
    """Tests that one interpreter runs in one mode (see Stackless/sched/debug.c)."""

    name: str
    python: Path
    mode: str
    tests: list[str]             # what pytest is given, dotted names or files


@dataclass
class Part:
    """One process, and what came of it."""

    suite: Suite
    tests: list[str]
    number: int
    of: int
    status: int = 0
    seconds: float = 0.0
    processor: float = 0.0       # seconds, its child processes included

    @property
    def title(self) -> str:
        mode = f", STACKLESS_DEBUG={self.suite.mode}" if self.suite.mode else ""
        cut = f", part {self.number} of {self.of}" if self.of > 1 else ""
        return f"{self.suite.name} ({self.suite.python}{mode}){cut}"


def modules(python: Path) -> list[str]:
    """The dotted names of all our test files, of the interpreter's library."""
    code = "import os; print(os.path.dirname(os.__file__))"
    library = Path(subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip())
    return [f"{package}.{path.stem}" for package in PACKAGES
            for path in sorted(library.joinpath(*package.split(".")).glob("test_*.py"))]


def cut(suite: Suite, parts: int, seed: int) -> list[Part]:
    """Deal a suite's tests out to so many parts, in the order that they have in the suite."""
    parts = min(parts, len(suite.tests))
    hands = [number % parts for number in range(len(suite.tests))]
    random.Random(seed).shuffle(hands)
    return [Part(suite, [test for test, hand in zip(suite.tests, hands) if hand == number], number + 1, parts)
            for number in range(parts)]


def suites(args: argparse.Namespace) -> list[Suite]:
    """All that is to be run, dearest first."""
    everything = modules(args.python)
    found = [Suite("test suite", args.python, "", everything)]
    if args.debug:
        found[:0] = [Suite("debug build", args.debug, f"random:{args.seed}", everything),
                     Suite("debug build", args.debug, "hard", everything)]
        found.append(Suite("debug build", args.debug, f"shuffle:{args.seed}", ANY_ORDER))
        # Each for itself: the tools have modules of the same names.
        found += [Suite(f"tests of Tools/{path.parent.name}", args.python, "", [str(path)])
                  for path in sorted(HERE.parent.glob("*/test_*.py"))]
    return found


class Pool:
    """Runs parts, so many at a time."""

    def __init__(self, jobs: int, site: Path, options: Sequence[str]) -> None:
        self._jobs, self._site, self._options = jobs, site, options
        self._printing = threading.Lock()

    def run(self, parts: Sequence[Part]) -> None:
        with ThreadPoolExecutor(self._jobs) as pool:
            list(pool.map(self._run_one, parts))

    def command(self, part: Part) -> list[str]:
        dotted = ["--pyargs"] if part.suite.tests[0].startswith("test.") else []
        return [str(part.suite.python), "-c", _PYTEST, str(self._site), *_OPTIONS, *dotted, *part.tests,
                *self._options]

    def _run_one(self, part: Part) -> None:
        environment = {**os.environ, "STACKLESS_DEBUG": part.suite.mode}
        with tempfile.TemporaryFile("w+") as output:
            if self._jobs == 1:
                print(f"stackless: {part.title}", flush=True)
            begin = time.monotonic()
            # Alone it has the terminal, so that --pdb works.
            streams = {} if self._jobs == 1 else {"stdin": subprocess.DEVNULL, "stdout": output,
                                                  "stderr": subprocess.STDOUT}
            process = subprocess.Popen(self.command(part), env=environment, **streams)
            _, status, usage = os.wait4(process.pid, 0)
            part.status = process.returncode = os.waitstatus_to_exitcode(status)
            part.seconds = time.monotonic() - begin
            part.processor = usage.ru_utime + usage.ru_stime
            if self._jobs > 1:
                output.seek(0)
                with self._printing:
                    print(f"stackless: {part.title}\n{output.read()}", end="", flush=True)


def failed(parts: Sequence[Part]) -> list[Part]:
    """Those with a failed test; that no test was selected (-k) is a failure only if it is so in all."""
    allowed = {0, _NO_TESTS} if any(part.status == 0 for part in parts) else {0}
    return [part for part in parts if part.status not in allowed]


def parse_args(argv: Sequence[str] | None = None) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)
    add = parser.add_argument
    add("--python", type=Path, required=True, metavar="PATH", help="the interpreter to test")
    add("--debug", type=Path, metavar="PATH", help="its debug build: run everything")
    add("--site", type=Path, required=True, metavar="DIR", help="where pytest is")
    add("--jobs", type=int, required=True, metavar="N", help="processes at a time")
    add("--seed", type=int, default=1, metavar="N", help="of the debug build's order and of the parts")
    return parser.parse_known_args(argv)


def print_times(parts: Sequence[Part], seconds: float, jobs: int) -> None:
    """A line for each suite, and one for all."""
    spent: dict[str, list[float]] = {}
    for part in parts:
        mode = f", {part.suite.mode.partition(':')[0]}" if part.suite.mode else ""
        times = spent.setdefault(f"{part.suite.name}{mode}", [0.0, 0.0])
        times[0] += part.seconds
        times[1] += part.processor
    for name, (elapsed, processor) in spent.items():
        print(f"time: {elapsed:5.0f} s in its processes, {processor:.0f} s of the processor: {name}")
    print(f"time: {seconds:5.0f} s: all of our suites, {jobs} processes at a time", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    args, options = parse_args(argv)
    count = 1 if args.jobs == 1 else 2 * args.jobs
    parts = [part for suite in suites(args) for part in cut(suite, count, args.seed)]
    pool = Pool(args.jobs, args.site, options)
    begin = time.monotonic()
    pool.run(parts)
    print_times(parts, time.monotonic() - begin, args.jobs)
    bad = failed(parts)
    for part in bad:
        print(f"stackless: error: failed: {part.title}; to repeat:\n    STACKLESS_DEBUG={part.suite.mode} "
              f"{shlex.join(pool.command(part))}", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
