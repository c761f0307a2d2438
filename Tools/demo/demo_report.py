"""What both halves of the demo share: arguments, clock, memory gauge, progress line, the check."""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import contextmanager
from time import monotonic, process_time
from typing import Any, Callable, Iterator, TextIO

import corpus


class Report:
    """Counts and times one run.  The fields that the program itself changes come first."""

    def __init__(self, tasks: int) -> None:
        self.messages = 0               # sent so far
        self.files_read = 0
        self.line = ""                  # what the tasks wrote together
        self.display = Display(sys.stderr)
        self.paths = corpus.files()
        self.files = len(self.paths)
        self.display.show(f"looking for {tasks:,} different phrases in {self.files:,} files")
        self.phrases = corpus.phrases(self.paths, tasks)
        self.tasks = 0
        self.seconds: dict[str, float] = {}
        self.memory_before = resident_bytes()
        self.memory_waiting = 0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a part of the program."""
        self.progress(name)
        start = monotonic()
        yield
        self.seconds[name] = monotonic() - start
        self.display.show(f"{name}: {self.seconds[name]:.1f} s", lasting=True)

    def progress(self, doing: str) -> None:
        """Show how far we are."""
        self.display.show(f"{doing}: {self.files_read:,} of {self.files:,} files, "
                          f"{self.messages:,} messages, {self.tasks:,} tasks alive, "
                          f"{resident_bytes() / 1e6:,.0f} MB")

    def tasks_alive(self, count: int) -> None:
        """To be called when so many tasks are alive and all of them wait."""
        self.tasks = count
        self.memory_waiting = resident_bytes()
        self.display.show(f"{count:,} tasks alive and waiting", lasting=True)

    @classmethod
    def run(cls, program: Callable[[Report], dict[corpus.Phrase, corpus.Followers]]) -> None:
        """Run one half, check what it found out, and print its figures."""
        parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
        parser.add_argument("--tasks", type=int, default=1_000_000, help="default: a million")
        arguments = parser.parse_args()
        report = cls(arguments.tasks)
        cpu = process_time()
        learned = program(report)
        cpu, peak = process_time() - cpu, peak_bytes()
        report.display.show("checking the result with a plain loop")
        start = monotonic()
        expected = corpus.learn_in_a_loop(report.paths, report.phrases)
        seconds_in_a_loop = monotonic() - start
        if learned != expected:
            sys.exit("WRONG: the tasks learned something else than a plain loop finds")
        print(json.dumps({**report.figures(), "peak": peak, "cpu_seconds": cpu,
                          "loop_seconds": seconds_in_a_loop,
                          "lessons": sum(sum(each.values()) for each in learned.values())}),
              flush=True)
        os._exit(0)     # spare the time to take everything down object by object

    def figures(self) -> dict[str, Any]:
        return {"tasks": self.tasks, "phrases": len(self.phrases), "files": self.files,
                "messages": self.messages, "seconds": self.seconds, "line": self.line,
                "bytes_each": (self.memory_waiting - self.memory_before) / max(self.tasks, 1)}


class Display:
    """A line of progress that overwrites itself on a terminal; elsewhere one now and then."""

    INTERVAL = 5.0      # seconds between lines where nothing can be overwritten

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.terminal = stream.isatty()
        self.due = 0.0

    def show(self, text: str, lasting: bool = False) -> None:
        """`lasting` lines stay."""
        if self.terminal:
            self.stream.write(f"\r\033[K  {text}" + ("\n" if lasting else ""))
        elif lasting or monotonic() >= self.due:
            self.stream.write(f"  {text}\n")
            self.due = monotonic() + self.INTERVAL
        self.stream.flush()


def resident_bytes() -> int:
    """Memory of this process that is resident now; where unknown, the most it ever was."""
    try:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return peak_bytes()


def peak_bytes() -> int:
    """The most memory this process ever had resident.

    On Linux from the kernel's count for this program image: getrusage() there also counts the
    memory that the parent had when it started us.
    """
    try:
        with open("/proc/self/status") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
