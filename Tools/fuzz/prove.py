#!/usr/bin/env python3
"""Show that the fuzzer finds faults in our C code: put one in, build, fuzz until something is found; then the next.

    prove.py --repo DIR --version X.Y.Z --cache DIR --work DIR [--seconds N] [--only WORD]

A copy of the sources is built in --work, with --with-pydebug.

Exit status: 0 all were found, 1 one was not, or something was found without any, 2 unusable arguments.
"""
from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

SOURCES = ("Include", "Lib", "Modules", "Objects", "Python", "Stackless", "Tools")
FILES = ("LICENSE", "Makefile.pre.in", "configure")
EXIT_FAULT = 1
SEED = 1


@dataclass(frozen=True)
class Fault:
    kind: str
    file: str
    right: str                      # stands once in the file
    wrong: str


FAULTS = (
    Fault("a reference that is not counted", "Stackless/switch/fast.h",
          "? _PyStackless_NewShortReference((PyObject *)next) : Py_None;",
          "? (PyObject *)next : Py_None;"),
    Fault("the exception being handled is lost", "Stackless/switch/fast.h",
          "root->exc_value = _PyFrame_StackPop(next->frame);",
          "Py_DECREF(_PyFrame_StackPop(next->frame));"),
    Fault("the context stays with the thread", "Stackless/state/state.h",
          "        t->context = tstate->context;\n        tstate->context = context;\n",
          "        t->context = context;\n"),
    Fault("part of the C stack is not put back", "Stackless/cstack/cstack.c",
          "memcpy(to->near, to->copy, saved);",
          "memcpy(to->near, to->copy, saved - saved / 8);"),
    Fault("a time limit is never over", "Stackless/sched/watchdog.c",
          "w->due = w->ticks > w->limit;",
          "w->due = 0;"),
    Fault("operands are asked in the wrong order", "Stackless/inline/operators.c",
          "return subtype && is_overloaded(v, w, op->reflected)",
          "return is_overloaded(v, w, op->reflected)"),
)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--repo", required=True, type=Path, help="our sources")
    parser.add_argument("--version", required=True, help="the release of CPython to build with")
    parser.add_argument("--cache", required=True, type=Path, help="where its source is kept")
    parser.add_argument("--work", required=True, type=Path, help="a folder for the copy and its build")
    parser.add_argument("--seconds", type=int, default=300, help="to fuzz for each fault, at most")
    parser.add_argument("--only", metavar="WORD", help="faults whose description has this word")
    parser.add_argument("-j", "--jobs", type=int, default=1, help="processes at a time")
    return parser.parse_args()


class Trial:
    """A copy of the sources, its build, and the fuzzer run on that."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.copy: Path = arguments.work / "source"

    def run(self, *command: str, **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=self.copy, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, **options)        # type: ignore[call-overload]

    def prepare(self) -> None:
        a = self.arguments
        for name in SOURCES:
            shutil.rmtree(self.copy / name, ignore_errors=True)
            shutil.copytree(a.repo / name, self.copy / name, symlinks=True)
        for name in FILES:
            shutil.copy2(a.repo / name, self.copy / name)
        self.must("./configure", "--with-pydebug", f"--upstream-version={a.version}", f"--cache-dir={a.cache}")
        self.build()

    def must(self, *command: str) -> None:
        result = self.run(*command)
        if result.returncode != 0:
            sys.exit(f"prove.py: {' '.join(command)} failed:\n" + "\n".join(result.stdout.splitlines()[-20:]))

    def build(self) -> None:
        self.must("make", f"JOBS={self.arguments.jobs}", "all")

    def fuzz(self) -> tuple[str, float]:
        """What was found, in a line ("" if nothing was), and after how many seconds."""
        python = str(self.copy / "python")
        begin = time.monotonic()
        result = self.run(python, "-B", "Tools/fuzz/run_fuzz.py", "--python", python, "--debug", python,
                          "--seed", str(SEED), "--seconds", str(self.arguments.seconds), "--shrink-seconds", "1",
                          "--most", "1", "--jobs", str(self.arguments.jobs), "--out", str(self.copy / "found"))
        found = re.search(r"^fuzz: found with seed .*", result.stdout, re.MULTILINE)
        if (found is not None) != (result.returncode == EXIT_FAULT):
            sys.exit(f"prove.py: the fuzzer ended with {result.returncode}:\n{result.stdout[-2000:]}")
        return found.group().removeprefix("fuzz: found ") if found else "", time.monotonic() - begin

    def find(self, fault: Fault) -> bool:
        path = self.copy / fault.file
        text = path.read_text()
        if text.count(fault.right) != 1:
            sys.exit(f"prove.py: {fault.file} has {text.count(fault.right)} times, not once: {fault.right!r}")
        path.write_text(text.replace(fault.right, fault.wrong))
        self.build()
        found, seconds = self.fuzz()
        path.write_text(text)
        print(f"{fault.kind} ({fault.file}): {found or 'NOT FOUND'}, {seconds:.0f} s", flush=True)
        return bool(found)


def main() -> int:
    arguments = parse_arguments()
    faults = [fault for fault in FAULTS if (arguments.only or "") in fault.kind]
    if not faults:
        print(f"prove.py: --only: no fault has {arguments.only!r} in its description", file=sys.stderr)
        return 2
    arguments.repo, arguments.cache, arguments.work = (
        path.resolve() for path in (arguments.repo, arguments.cache, arguments.work))
    os.environ.pop("MAKEFLAGS", None)        # of the make that called
    trial = Trial(arguments)
    trial.copy.mkdir(parents=True, exist_ok=True)
    trial.prepare()
    found, seconds = trial.fuzz()
    print(f"no fault: {found or 'nothing found'}, {seconds:.0f} s", flush=True)
    missed = [fault.kind for fault in faults if not trial.find(fault)]
    print(f"{len(faults) - len(missed)} of {len(faults)} faults found")
    return bool(found or missed)


if __name__ == "__main__":
    sys.exit(main())
