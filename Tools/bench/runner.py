"""Running workloads: interpreters, the processor to stay on, and getting greenlet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TIME_LIMIT = 600  # seconds for one process


class WorkloadFailed(Exception):
    """A workload's process ended badly; the text is the last line that it printed."""


@dataclass
class Interpreter:
    """A Python to run workloads with, and folders to add to its module search path."""

    executable: Path
    path: list[str] = field(default_factory=list)

    def describe(self) -> dict[str, Any]:
        """Version, compiler options and whether it is a debug build, as the Python says itself."""
        code = ("import json, sys, sysconfig as s; print(json.dumps({"
                "'version': sys.version, 'release': list(sys.version_info[:3]),"
                "'debug': hasattr(sys, 'gettotalrefcount'),"
                "'config': s.get_config_var('CONFIG_ARGS'), 'opt': s.get_config_var('OPT')}))")
        return json.loads(run([str(self.executable), "-c", code], timeout=60))


def run(command: list[str], timeout: float = TIME_LIMIT) -> str:
    """Standard output of a command.  Raises WorkloadFailed unless it ends well and in time."""
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith("PYTHON")}
    environment["PYTHONHASHSEED"] = "0"
    try:
        done = subprocess.run(command, env=environment, timeout=timeout, text=True,
                              stdin=subprocess.DEVNULL, capture_output=True)
    except subprocess.TimeoutExpired:
        raise WorkloadFailed(f"not finished after {timeout} s") from None
    except OSError as error:
        raise WorkloadFailed(f"cannot run {command[0]}: {error.strerror}") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [""]
        raise WorkloadFailed(f"exit status {done.returncode}: {lines[-1]}")
    return done.stdout


@dataclass
class Sampler:
    """Runs one workload once in a process of its own."""

    seconds: float      # how long a measured call should take at least
    repeats: int        # calls per process; the fastest counts
    cpu: int | None     # the processor that all processes stay on

    def sample(self, python: Interpreter, module: str, function: str, size: int,
               options: dict[str, Any], fixed: bool) -> dict[str, float]:
        """The workload's figures.  Raises WorkloadFailed."""
        request = {"module": module, "function": function, "size": size, "options": options,
                   "seconds": 0 if fixed else self.seconds,
                   "repeats": 1 if fixed else self.repeats,
                   "cpu": self.cpu, "path": python.path}
        output = run([str(python.executable), "-B", str(HERE / "harness.py"),
                      json.dumps(request)])
        return json.loads(output.splitlines()[-1])


def quietest_cpu() -> int | None:
    """The processor to pin to: the last one allowed (the first ones serve interrupts)."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    return max(os.sched_getaffinity(0))


def find_greenlet(stock: Path, folder: Path, may_install: bool,
                  package: str = "greenlet") -> tuple[Path | None, str]:
    """Where a greenlet for `stock` is, installed into `folder` if need be; or why there is none.

    The package may also be one that brings greenlet along.  Whatever pip can be had does it:
    stock's own in a virtual environment, else that of the Python running us.  Nothing outside
    `folder` changes.
    """
    target = folder / package
    if importable(stock, target, package):
        return target, ""
    if not may_install:
        return None, f"{package} is not installed and was not asked for"
    attempts = [
        [[str(stock), "-m", "venv", str(folder / "venv")],
         [str(folder / "venv/bin/python"), "-m", "pip", "install", "--quiet",
          "--target", str(target), package]],
        [[sys.executable, "-m", "pip", "install", "--quiet", "--target", str(target),
          "--python-version", "3.13", "--implementation", "cp", "--only-binary=:all:",
          package]],
    ]
    reason = ""
    for commands in attempts:
        try:
            for command in commands:
                run(command, timeout=180)
        except WorkloadFailed as failure:
            reason = reason or str(failure)
            continue
        if importable(stock, target, package):
            return target, ""
    return None, f"{package} cannot be installed ({reason or 'it does not import'})"


def importable(python: Path, target: Path, package: str) -> bool:
    """Whether this Python can import a package from there."""
    code = f"import sys; sys.path.insert(0, {str(target)!r}); import {package}"
    try:
        run([str(python), "-c", code], timeout=60)
    except WorkloadFailed:
        return False
    return True
