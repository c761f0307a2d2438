"""The child process: runs random programs, and may crash or hang.

    python worker.py                    work as told by lines of JSON on stdin
    python worker.py CASE.py            run a saved program; exit status 1 if it fails

A job is {"kind": KIND, "seed": N} or {"kind": KIND, "source": TEXT, "variant": {...}}.  The
answer is a line of JSON, {"outcome": TEXT}: what is wrong, "" if nothing is.  With "make", the
program; with "simplest", the simplest variant.
"""
from __future__ import annotations

import faulthandler
import json
import os
import sys
import traceback
import warnings
from typing import Any

import attack
import plain
from case import Case, read_case

KINDS: dict[str, Any] = {"plain": plain, "operations": attack}


def run_job(job: dict[str, Any]) -> str:
    module = KINDS[job["kind"]]
    if "simplest" in job:
        return json.dumps(module.SIMPLEST)
    case = module.make_case(job["seed"]) if "seed" in job else Case(job["kind"], job["source"], job["variant"])
    if "make" in job:
        return json.dumps({"source": case.source, "variant": case.variant})
    return run_case(case)


def run_case(case: Case) -> str:
    try:
        return KINDS[case.kind].check(case.source, case.variant)
    except BaseException:
        text = traceback.format_exc()
        return f"error: {text.strip().splitlines()[-1]}\n{text}"


def serve() -> None:
    # What the programs print is nobody's business.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    for line in sys.stdin:
        print(json.dumps({"outcome": run_job(json.loads(line))}), file=answers)
    # The end of the process is not what is tested.
    answers.flush()
    os._exit(0)


def prepare() -> None:
    faulthandler.enable()
    warnings.simplefilter("ignore")
    sys.setrecursionlimit(5000)


if __name__ == "__main__":
    prepare()
    if len(sys.argv) < 2:
        serve()
    else:
        case = read_case(sys.argv[1])
        outcome = run_case(case)
        print(outcome or "nothing is wrong")
        sys.exit(bool(outcome))
