"""A virtual environment of its own for a tool from PyPI."""
from __future__ import annotations

import ensurepip
import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
TIMEOUT = 300                # seconds for one command


class Unavailable(Exception):
    """What is needed cannot be had; the text says what and why."""


def build_folder() -> Path | None:
    """Where the build of the running interpreter keeps what it makes; None if it is an installed one."""
    if not sysconfig.is_python_build():
        return None
    return Path(sysconfig.get_config_var("abs_builddir")).parent


def _run(command: list[str | Path], path: Path | None = None) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "STACKLESS_"))}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    try:
        done = subprocess.run([str(word) for word in command], env=environment, timeout=TIMEOUT, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{command[0]} has not finished after {TIMEOUT} s") from None
    if done.returncode:
        lines = [line for line in done.stdout.splitlines() if line.strip()] or ["no message"]
        errors = [line for line in lines if "error" in line.lower()] or lines
        raise Unavailable(errors[-1].strip())


def make(python: Path, folder: Path, requirements: Path) -> Path:
    """The interpreter of an environment in *folder* with what the file lists, made anew if that is something else than
    last time.  Raises Unavailable if PyPI cannot be reached."""
    stamp = folder / "made.txt"
    wanted = f"{python}\n{requirements.read_text(encoding='utf-8')}"
    inside = folder / "bin" / "python"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return inside
    shutil.rmtree(folder, ignore_errors=True)
    _run([python, "-m", "venv", "--without-pip", folder])
    # pip is run from the wheel that comes with CPython, which takes seconds less than to install it.
    pip = next(Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl"))
    _run([inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:",
          "--retries", "1", "--requirement", requirements], path=pip)
    stamp.write_text(wanted, encoding="utf-8")
    return inside
