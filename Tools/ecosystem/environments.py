"""Two virtual environments with the same packages: ours, and the stock build's with PyPI's greenlet."""
from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from suites import clean_environment

PIP_TIMEOUT = 600.0      # seconds for one call of pip


class Unavailable(Exception):
    """Something from outside cannot be had; the text says what and why."""


def run(command: list[str | Path], timeout: float = PIP_TIMEOUT) -> str:
    """Standard output of a command.  Raises Unavailable with the last line of what it wrote."""
    try:
        done = subprocess.run([str(word) for word in command], env=clean_environment(), timeout=timeout,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    except subprocess.TimeoutExpired:
        raise Unavailable(f"not finished after {timeout:g} s") from None
    except OSError as error:
        raise Unavailable(f"cannot run {command[0]}: {error.strerror}") from None
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        errors = [line for line in lines if "error" in line.lower()] or lines or ["no message"]
        raise Unavailable(errors[-1].strip())
    return done.stdout


class Environment:
    """A virtual environment of one interpreter."""

    def __init__(self, name: str, interpreter: Path, folder: Path) -> None:
        self.name = name
        self.interpreter = interpreter
        self.folder = folder / name
        self.python = self.folder / "bin" / "python"

    def make(self) -> None:
        """Make it, anew if the interpreter is another one than last time."""
        stamp = self.folder / "interpreter"
        # In a build folder the interpreter is a script or link; what counts is the program in the build tree.
        real = Path(run([self.interpreter, "-c", "import sys; print(sys.executable)"]).strip()).resolve()
        about = f"{real} {real.stat().st_mtime_ns}\n"
        if stamp.exists() and stamp.read_text() == about:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        run([self.interpreter, "-m", "venv", self.folder])
        stamp.write_text(about)

    def install(self, packages: list[str], constraints: Path | None = None) -> None:
        """Install packages, wheels only.  Raises Unavailable."""
        if not packages:
            return
        options = ["--constraint", constraints] if constraints is not None else []
        run([self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:",
             *options, *packages])

    def freeze(self) -> list[str]:
        return run([self.python, "-m", "pip", "freeze", "--disable-pip-version-check"]).splitlines()

    def evaluate(self, code: str) -> object:
        """What *code* leaves in the variable `result`, which must be fit for JSON."""
        return json.loads(run([self.python, "-c", code + "\nimport json; print(json.dumps(result))"]).splitlines()[-1])

    def directory_of(self, package: str) -> Path:
        return Path(str(self.evaluate(f"import importlib.util as u\n"
                                      f"result = u.find_spec({package!r}).submodule_search_locations[0]")))


class Pair:
    """Both environments; what is installed into stock's is installed into ours in the same version."""

    def __init__(self, ours: Path, stock: Path, folder: Path) -> None:
        self.folder = folder
        self.ours = Environment("ours", ours, folder)
        self.stock = Environment("stock", stock, folder)
        self.both = (self.ours, self.stock)

    def make(self) -> None:
        for environment in self.both:
            environment.make()

    def check_greenlet(self) -> str:
        """The version of the built-in greenlet, after making sure that it is the one which is imported."""
        code = "import greenlet, importlib.metadata as m, sys\n" \
               "result = [m.version('greenlet'), sys.modules['greenlet._greenlet'].__spec__.origin or '']"
        version, origin = self.ours.evaluate(code)      # type: ignore[misc]
        if "site-packages" in origin:
            raise Unavailable(f"the greenlet of {self.ours.interpreter} is not built in: {origin}")
        return version

    def install(self, packages: list[str]) -> None:
        """Raises Unavailable if there is no such package for stock, and RuntimeError if only ours cannot have it."""
        self.stock.install(packages)
        constraints = self.folder / "constraints.txt"
        constraints.write_text("\n".join(self.stock.freeze()) + "\n")
        try:
            self.ours.install(packages, constraints)
        except Unavailable as error:
            raise RuntimeError(f"cannot be installed here, though on stock: {error}") from None

    def lend_greenlet_tests(self) -> Path:
        """Let ours import greenlet.tests, from a copy of nothing but PyPI's tests.  The copy."""
        source = self.stock.directory_of("greenlet") / "tests"
        lent = self.folder / "lent" / "greenlet"
        shutil.rmtree(lent, ignore_errors=True)
        shutil.copytree(source, lent / "tests", ignore=shutil.ignore_patterns("__pycache__"))
        site = Path(str(self.ours.evaluate("import sysconfig; result = sysconfig.get_path('purelib')")))
        (site / "lent-greenlet-tests.pth").write_text(f"import greenlet; greenlet.__path__.append({str(lent)!r})\n")
        return lent / "tests"
