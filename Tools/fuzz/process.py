"""A child process (worker.py) that runs programs, and what becomes of it."""
from __future__ import annotations

import json
import os
import re
import selectors
import signal
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WORKER = Path(__file__).resolve().parent / "worker.py"
PATIENCE = 30           # seconds that a program may take
# What a C assertion, a fatal error or a sanitizer says, without what differs each time.
SAYINGS = (re.compile(r"Assertion `(.*)' failed"), re.compile(r"Fatal Python error: (\w+: .*)"),
           re.compile(r"object_assert|(Assertion failed: .*|Assertion \".*\" failed.*)"),
           re.compile(r"(ERROR: \w+Sanitizer: [\w-]+)"),
           re.compile(r"(runtime error: .*)"))


@dataclass(frozen=True)
class Configuration:
    """An interpreter, and what STACKLESS_DEBUG is there."""
    python: Path
    mode: str = ""
    name: str = ""
    worker: Path = WORKER

    @property
    def command(self) -> str:
        return f"{f'STACKLESS_DEBUG={self.mode} ' if self.mode else ''}PYTHONHASHSEED=0 {self.python}"


class Process:
    """Does jobs one after the other; begins again when it has died."""

    def __init__(self, configuration: Configuration, patience: float = PATIENCE) -> None:
        self.configuration, self.patience = configuration, patience
        self.child: subprocess.Popen[bytes] | None = None
        self.errors = tempfile.TemporaryFile()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *exc: object) -> None:
        self.end()
        self.errors.close()

    def start(self) -> subprocess.Popen[bytes]:
        self.errors.seek(0)
        self.errors.truncate()
        environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        environment.pop("STACKLESS_DEBUG", None)
        if self.configuration.mode:
            environment["STACKLESS_DEBUG"] = self.configuration.mode
        return subprocess.Popen([self.configuration.python, "-X", "faulthandler", self.configuration.worker], env=environment,
                                stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=self.errors)

    def run(self, job: dict[str, Any]) -> str:
        """What is wrong: "", or a line that tells its kind, and further ones with details."""
        if self.child is None:
            self.child = self.start()
        assert self.child.stdin is not None and self.child.stdout is not None
        try:
            self.child.stdin.write(json.dumps(job).encode() + b"\n")
            self.child.stdin.flush()
        except BrokenPipeError:
            return self.died()
        with selectors.DefaultSelector() as selector:
            selector.register(self.child.stdout, selectors.EVENT_READ)
            ready = selector.select(self.patience)
        if not ready:
            return self.hung()
        answer = self.child.stdout.readline()
        return json.loads(answer)["outcome"] if answer.endswith(b"\n") else self.died()

    def hung(self) -> str:
        assert self.child is not None
        self.child.send_signal(signal.SIGABRT)          # faulthandler tells where it was
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
        said = self.said()
        self.end()
        return f"hang\n{said}"

    def died(self) -> str:
        assert self.child is not None
        status = self.child.wait()
        said = self.said()
        self.end()
        name = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        message = next((match[1] for pattern in SAYINGS if (match := pattern.search(said)) and match[1]), "")
        return f"crash: {name}{': ' * bool(message)}{message}\n{said}"

    def said(self) -> str:
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")[-6000:]

    def end(self) -> None:
        if self.child is None:
            return
        child, self.child = self.child, None
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def run_all(self, jobs: Iterable[dict[str, Any]]) -> str:
        """In one new process: what is wrong with the first that fails."""
        self.end()
        return next(filter(None, map(self.run, jobs)), "")


def signature(outcome: str) -> str:
    """Failures with the same one are the same fault."""
    return re.sub(r"0x[0-9a-f]+|\d+", "N", outcome.partition("\n")[0])
