"""Random programs of greenlets: with ours they must print what they print with PyPI's."""
from __future__ import annotations

import itertools
from pathlib import Path

from environments import Environment, Pair
from smoke_tests import OK, WORSE, SmokeResult
from suites import clean_environment, run_group

PROGRAMS = Path(__file__).resolve().parents[2] / "Lib" / "test" / "test_greenlet" / "random_programs.py"
COUNT = 4000
PROCESSES = 4       # that share the programs: in each of them nothing has run before
TIMEOUT = 300.0     # seconds for one of them


def output_of(environment: Environment, first: int, count: int, out: Path) -> list[str]:
    """What so many programs print, and how they ended."""
    log = out / f"programs-{first}.{environment.name}.log"
    log.unlink(missing_ok=True)
    code = run_group([str(environment.python), "-B", str(PROGRAMS), str(first), str(count)], TIMEOUT, log, out,
                     clean_environment())
    return log.read_text(encoding="utf-8", errors="replace").splitlines() + [f"exit status {code}"]


def difference(ours: list[str], stock: list[str]) -> str:
    """The first line in which two outputs differ, after the program's number; or nothing."""
    number = ""
    for here, there in itertools.zip_longest(ours, stock, fillvalue="nothing"):
        if here != there:
            return f"program {number}: {here.strip()} instead of {there.strip()}"
        if here.isdigit():
            number = here
    return ""


def run_random_programs(pair: Pair, out: Path, seed: int) -> SmokeResult:
    """Programs are numbered; those from *seed* on are run."""
    out.mkdir(parents=True, exist_ok=True)
    share = COUNT // PROCESSES
    for first in range(seed, seed + COUNT, share):
        ours, stock = (output_of(environment, first, share, out) for environment in pair.both)
        text = difference(ours, stock)
        if text:
            return SmokeResult("random_programs", WORSE, text)
    return SmokeResult("random_programs", OK, f"{COUNT} programs, from --seed {seed} on")
