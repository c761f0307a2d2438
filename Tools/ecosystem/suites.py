"""The test suites that PyPI's packages bring along: which modules, and how each one is run.

A module runs in a process of its own, through recorder.py.  A test that takes the process down, or hangs, is
recorded as "crash" or "timeout", and the module runs again without it, so that the others have their say.
"""
from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

RECORDER = Path(__file__).resolve().parent / "recorder.py"
MAX_RERUNS = 6

PASS, SKIP, FAIL, CRASH, TIMEOUT = "pass", "skip", "fail", "crash", "timeout"
BAD = (FAIL, CRASH, TIMEOUT)


@dataclass(frozen=True)
class Suite:
    """A package of test modules."""

    name: str                       # of the PyPI project
    package: str                    # its tests
    pattern: str                    # of the modules' file names
    timeout: float                  # seconds for one module
    environment: dict[str, str] = field(default_factory=dict)


SUITES = (
    Suite("greenlet", "greenlet.tests", "test_*.py", 300,
          # What this leaves out are tests which demand that cycles leak.
          {"GREENLET_SKIP_FAILING_LEAKCHECKS": "1"}),
    Suite("gevent", "gevent.tests", "test_*.py", 180,
          # No host but this one, and one resolver: the others do the same by other means.
          {"GEVENTTEST_USE_RESOURCES": "all,-network", "GEVENTTEST_QUIET": "1", "GEVENT_RESOLVER": "thread",
           "PYTHONWARNINGS": "default,ignore:::site:", "PYTHONFAULTHANDLER": "true"}),
)


@dataclass
class Result:
    """What became of one test."""

    status: str
    text: str = ""


Results = dict[str, Result]


def clean_environment() -> dict[str, str]:
    """The environment without what would lead an interpreter astray."""
    return {name: value for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "GEVENT", "EVENTLET", "MAKE", "MFLAGS")) and name != "VIRTUAL_ENV"}


def run_group(command: list[str], timeout: float, log: Path, cwd: Path | str, environment: dict[str, str]) -> int | None:
    """Run a command in a session of its own, which is killed as a whole.  Exit status; None after a timeout."""
    with open(log, "ab") as output:
        process = subprocess.Popen(command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=output,
                                   stderr=subprocess.STDOUT, start_new_session=True)
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass
            process.wait()


def parse(text: str) -> tuple[Results, list[str]]:
    """The results in a recorder's log, and the tests that began and did not end."""
    results: Results = {}
    begun: dict[str, None] = {}
    for line in text.splitlines():
        event, name, detail = (line.split("\t") + ["", ""])[:3]
        if event == "begin":
            begun[name] = None
            continue
        begun.pop(name, None)
        old = results.get(name)
        # Failing in a subtest or in a clean-up is failing.
        if old is None or old.status != FAIL:
            results[name] = Result(event, detail)
    # A test whose subtests all passed is recorded as such at its end; one that failed in
    # a subtest only has no such line, and is no longer running when another begins.
    return results, [name for name in begun if name not in results]


@dataclass
class Module:
    """One test module, to be run in one environment."""

    suite: Suite
    name: str
    python: Path
    directory: Path                 # of the package's files: tests refer to data there
    out: Path

    def run(self) -> Results:
        results: Results = {}
        left_out: list[str] = []
        log = self.out / f"{self.name}.log"
        log.unlink(missing_ok=True)
        for _ in range(MAX_RERUNS):
            found, unfinished, code = self._once(left_out, log)
            for name, result in found.items():
                if name not in left_out:
                    results[name] = result
            if code is not None and code >= 0 and not unfinished:
                break
            culprit = unfinished[-1:]
            status = TIMEOUT if code is None else CRASH
            text = f"no end after {self.suite.timeout:g} s" if code is None else f"exit status {code}"
            if not culprit:
                results[self.name] = Result(status, text)
                return results
            results[culprit[0]] = Result(status, text)
            left_out.append(culprit[0])
        if not any(name != self.name for name in results):
            # A script: its exit status is what it has to say.
            results[self.name] = Result(PASS if code == 0 else FAIL, f"exit status {code}")
        return results

    def _once(self, left_out: list[str], log: Path) -> tuple[Results, list[str], int | None]:
        with tempfile.TemporaryDirectory(prefix="eco", ignore_cleanup_errors=True) as tmp:
            record, skip = Path(tmp, "record"), Path(tmp, "skip")
            record.touch()
            skip.write_text("".join(f"{name}\n" for name in left_out), encoding="utf-8")
            environment = clean_environment() | self.suite.environment | {"TMPDIR": tmp}
            code = run_group([str(self.python), "-u", "-B", str(RECORDER), str(record), str(skip), self.name],
                             self.suite.timeout, log, self.directory, environment)
            results, unfinished = parse(record.read_text(encoding="utf-8"))
        return results, unfinished, code


def list_modules(suite: Suite, directory: Path, only: list[str]) -> list[str]:
    names = sorted(f"{suite.package}.{path.stem}" for path in directory.glob(suite.pattern))
    return [name for name in names if not only or any(word in name for word in only)]


def run_modules(modules: list[Module], jobs: int, done: Callable[[Module, Results], None]) -> dict[str, Results]:
    """Run them, so many at a time; the results of each module."""
    def run(module: Module) -> Results:
        results = module.run()
        done(module, results)
        return results

    with ThreadPoolExecutor(max_workers=jobs) as pool:
        return dict(zip([module.name for module in modules], pool.map(run, modules)))
