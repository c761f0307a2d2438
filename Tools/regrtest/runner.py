"""Run upstream's test runner, one test file per process.

One process per file (instead of upstream's -jN) gives one XML and one log per file, loses nothing but that file when
the runner itself is killed, and lets the slow files start first, so that no long one is left over at the end.

Every process gets: no standard input; default dispositions of the signals that a shell ignores for background jobs
(with SIGINT ignored, test_asyncio.test_runners hangs); a session, a working and a temporary directory of its own; an
environment without PYTHON* and make's variables; the same random seed.
"""
from __future__ import annotations

import glob
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from outcome import Outcome, read_outcome

# Everything that upstream's suite can do without a network, a display, a sound card or gigabytes of disk.
RESOURCES = "all,-audio,-gui,-largefile,-network,-urlfetch"
RANDOM_SEED = 20130313
KILL_GRACE = 60.0            # seconds between the runner's own time-out and the kill
_MAKE_VARIABLES = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "GNUMAKEFLAGS")

_DESCRIBE = """
import json, platform, sys, sysconfig
print(json.dumps({"path": sys.executable, "version": platform.python_version(),
                  "soabi": sysconfig.get_config_var("SOABI") or "",
                  "flags": sysconfig.get_config_var("CONFIG_ARGS") or "", "debug": hasattr(sys, "gettotalrefcount")}))
"""


class RunnerError(Exception):
    """The given binary can't be used; the text says why."""


def restore_default_signals() -> None:
    """Make signals that are ignored here have their default action in child processes.

    A handler that does nothing keeps them ignored in this process; exec() resets handlers, but not SIG_IGN.
    """
    for name in ("SIGINT", "SIGQUIT", "SIGHUP", "SIGTERM"):
        number = getattr(signal, name)
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda signum, frame: None)


def stop_on_terminate() -> None:
    """Let SIGTERM end this process as Ctrl-C does, so that no test is left running."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler)


@dataclass(frozen=True)
class Binary:
    """A Python that has upstream's test package: where it is, and what it says about itself."""

    path: Path
    version: str
    flags: str
    soabi: str
    debug: bool

    def environment(self, tmp: Path | None = None) -> dict[str, str]:
        return _environment(self.path, tmp)


def _environment(path: Path, tmp: Path | None) -> dict[str, str]:
    env = {key: value for key, value in os.environ.items()
           if not key.startswith("PYTHON") and key not in _MAKE_VARIABLES}
    if glob.glob(str(path.parent / "libpython*.so*")) or glob.glob(str(path.parent / "libpython*.dylib")):
        for variable in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"):
            env[variable] = os.pathsep.join(filter(None, [str(path.parent), env.get(variable)]))
    if tmp is not None:
        env["TMPDIR"] = env["TEMP"] = env["TMP"] = str(tmp)
    return env


def describe(path: Path) -> Binary:
    """Ask a Python what it is; a script or link to one in a build tree is followed.  Raises RunnerError."""
    path = path.absolute()
    try:
        done = subprocess.run([path, "-c", _DESCRIBE], env=_environment(path, None), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=60, check=True)
    except OSError as exc:
        raise RunnerError(f"{path} can't be run: {exc.strerror}") from exc
    except subprocess.SubprocessError as exc:
        raise RunnerError(f"{path} does not work: {getattr(exc, 'stderr', None) or exc}") from exc
    described = json.loads(done.stdout)
    path = Path(described.pop("path"))
    if (path.resolve().parent / "pybuilddir.txt").exists():
        path = path.resolve()
    return Binary(path=path, **described)


def list_tests(binary: Binary, names: Sequence[str] = ()) -> list[str]:
    """The names of the test files, split as upstream splits them; all when *names* is empty.

    Upstream names the parts of split packages "test.test_asyncio.test_x" or "test_asyncio.test_x", depending on how
    they were asked for; here it is always the latter.
    """
    done = subprocess.run([binary.path, "-m", "test", "--list-tests", *names], env=binary.environment(),
                          cwd=tempfile.gettempdir(), stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise RunnerError(f"{binary.path} -m test --list-tests failed:\n{done.stderr.strip()}")
    return [name.removeprefix("test.") for name in done.stdout.split()]


def as_pattern(test_id: str) -> str:
    """A pattern for upstream's filters that matches this id only."""
    return glob.escape(test_id)


class Runner:
    """Runs test files on one binary and keeps XML files and logs below *out*."""

    def __init__(self, binary: Binary, out: Path, *, timeout: float = 600.0, resources: str = RESOURCES,
                 ignore: Iterable[str] = ()) -> None:
        self.binary = binary
        self.out = out
        self.timeout = timeout
        self.resources = resources
        self.ignore = tuple(ignore)
        out.mkdir(parents=True, exist_ok=True)

    def _command(self, name: str, xml: Path, tmp: Path, ignore: Sequence[str]) -> list[str]:
        command = [str(self.binary.path), "-m", "test", "-v", "--fail-env-changed", f"--randseed={RANDOM_SEED}",
                   f"--timeout={self.timeout:g}", "-u", self.resources, f"--junit-xml={xml}", f"--tempdir={tmp}"]
        patterns = [*self.ignore, *ignore]
        if patterns:
            listing = tmp / "ignore.txt"
            listing.write_text("".join(f"{pattern}\n" for pattern in patterns), encoding="utf-8")
            command.append(f"--ignorefile={listing}")
        return [*command, name]

    def run(self, name: str, *, ignore: Sequence[str] = ()) -> Outcome:
        """Run one test file; *ignore* are further patterns of methods to leave out.  Blocks until it has ended."""
        xml, log = self.out / f"{name}.xml", self.out / f"{name}.log"
        xml.unlink(missing_ok=True)
        tmp = Path(tempfile.mkdtemp(prefix="rt"))
        try:
            command = self._command(name, xml, tmp, ignore)
            with open(log, "wb") as output:
                code, seconds, cpu, killed = _run_group(command, tmp, self.binary.environment(tmp), output,
                                                        self.timeout + KILL_GRACE)
        finally:
            shutil.rmtree(tmp, ignore_errors=True)
        outcome = read_outcome(name, code, xml, log.read_text(encoding="utf-8", errors="replace"), timed_out=killed)
        outcome.seconds, outcome.cpu = round(seconds, 2), round(cpu, 2)
        return outcome

    def run_all(self, names: Sequence[str], jobs: int, done: Callable[[Outcome], None],
                ignore: Callable[[str], Sequence[str]] = lambda name: ()) -> dict[str, Outcome]:
        """Run many files, *jobs* at once, in the given order; *done* is called in this thread after each."""
        outcomes: dict[str, Outcome] = {}
        with ThreadPoolExecutor(max_workers=jobs) as pool:
            running = [pool.submit(self.run, name, ignore=ignore(name)) for name in names]
            try:
                for future in as_completed(running):
                    outcome = future.result()
                    outcomes[outcome.name] = outcome
                    done(outcome)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for group in list(_groups):
                    _kill_group(group)
                raise
        return outcomes


# The process groups of running tests, for a clean end on Ctrl-C.
_groups: set[int] = set()


def _run_group(command: Sequence[str], cwd: Path, env: dict[str, str], output: object,
               limit: float) -> tuple[int, float, float, bool]:
    """Run a command in a session of its own; kill the whole group after *limit* seconds.

    Returns exit status, wall seconds, CPU seconds (children included), whether it was killed.
    """
    begin = time.monotonic()
    process = subprocess.Popen(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=output,  # type: ignore
                               stderr=subprocess.STDOUT, start_new_session=True)
    _groups.add(process.pid)
    killed = threading.Event()

    def kill() -> None:
        killed.set()
        _kill_group(process.pid)

    timer = threading.Timer(limit, kill)
    timer.daemon = True
    timer.start()
    try:
        _, status, usage = os.wait4(process.pid, 0)
    finally:
        timer.cancel()
        _kill_group(process.pid)         # whatever a test left behind
        _groups.discard(process.pid)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, time.monotonic() - begin, usage.ru_utime + usage.ru_stime, killed.is_set()


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
