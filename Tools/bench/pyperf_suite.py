"""Part of the pyperformance suite, where that is installed.

Only benchmarks that need no further package: their scripts are run one after the other with
both builds, so that runs alternate as everywhere here.  Looked for in the folder
CACHE/pyperformance (`pip install --target CACHE/pyperformance pyperformance`) and in the Python
that runs us.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import tempfile
from pathlib import Path
from statistics import median
from typing import Any, Callable

from runner import Interpreter

BENCHMARKS = ("chaos", "coroutines", "deepcopy", "deltablue", "fannkuch", "float", "generators",
              "go", "hexiom", "json_dumps", "json_loads", "logging", "nbody", "nqueens",
              "pickle", "pidigits", "pyflate", "raytrace", "regex_compile", "richards",
              "scimark", "spectral_norm", "unpack_sequence")


def find(cache: Path) -> tuple[Path, Path] | None:
    """The folder to put on the module search path, and that of the benchmarks."""
    places = [cache / "pyperformance"]
    found = importlib.util.find_spec("pyperformance")
    if found and found.origin:
        places.append(Path(found.origin).parent.parent)
    for place in places:
        benchmarks = place / "pyperformance/data-files/benchmarks"
        if benchmarks.is_dir():
            return place, benchmarks
    return None


def run_both(ours: Interpreter, stock: Interpreter, cache: Path, cpu: int | None,
             samples: list[dict[str, Any]], say: Callable[[str], None]) -> list[str]:
    """Append a sample of plain Python for each benchmark; the result is a list of notes."""
    place = find(cache)
    if place is None:
        return [f"pyperformance is neither in {cache.name}/pyperformance nor in this Python"]
    notes = []
    for name in BENCHMARKS:
        script = place[1] / f"bm_{name}" / "run_benchmark.py"
        if not script.exists():
            continue
        say(f"pyperformance: {name}")
        try:
            times = [run_one(python, script, place[0], cpu) for python in (ours, stock)]
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            notes.append(f"pyperformance, {name}: {error}")
            continue
        for benchmark in sorted(times[0].keys() & times[1].keys()):
            samples.append({"round": 0, "program": f"pyperformance {benchmark}",
                            "ours": times[0][benchmark], "stock": times[1][benchmark]})
    return notes


def run_one(python: Interpreter, script: Path, modules: Path, cpu: int | None) -> dict[str, float]:
    """Median nanoseconds by benchmark; a script may hold several."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "result.json"
        pinned = [] if cpu is None else ["--affinity", str(cpu)]
        subprocess.run([str(python.executable), str(script), "--fast", "--quiet",
                        "--inherit-environ", "PYTHONPATH", "-o", str(output), *pinned],
                       env={**os.environ, "PYTHONPATH": str(modules)}, check=True, timeout=600,
                       stdin=subprocess.DEVNULL, capture_output=True)
        suite = json.loads(output.read_text())
    shared = suite.get("metadata", {})
    times = {}
    for benchmark in suite["benchmarks"]:
        values = [value for run in benchmark["runs"] for value in run.get("values", [])]
        name = {**shared, **benchmark.get("metadata", {})}["name"]
        times[name] = median(values) * 1e9
    return times
