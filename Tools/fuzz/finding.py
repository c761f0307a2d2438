"""What is done with a program that fails: run it alone, make it smaller, save it."""
from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from case import Case, write_case
from process import Configuration, Process, signature
from shrink import shrink, shrink_variant


@dataclass
class Finding:
    configuration: Configuration
    jobs: list[dict[str, Any]]          # done by the process one after the other; the last one failed
    outcome: str
    times: int = 1
    report: str = ""


def investigate(finding: Finding, out: Path, seconds: float) -> None:
    """Fills in the report, and saves what reproduces it."""
    out.mkdir(parents=True, exist_ok=True)
    with Process(finding.configuration) as process:
        case = make_case(process, finding.jobs[-1])
        if process.run(as_job(case)):
            process.end()
            case, outcome = smaller(process, case, seconds)
            save_case(finding, case, outcome, out)
        else:
            save_jobs(finding, fewer_jobs(process, finding, seconds), out)


def as_job(case: Case) -> dict[str, Any]:
    return {"kind": case.kind, "source": case.source, "variant": case.variant}


def make_case(process: Process, job: dict[str, Any]) -> Case:
    """The program itself; the generators are ours, but only our interpreter imports them all."""
    made = json.loads(process.run({**job, "make": True}))
    return Case(job["kind"], made["source"], made["variant"])


def smaller(process: Process, case: Case, seconds: float) -> tuple[Case, str]:
    """The program and what is wrong with it then, which is the same."""
    wanted = signature(process.run(as_job(case)))
    simplest = json.loads(process.run({"kind": case.kind, "simplest": True}))
    deadline = time.monotonic() + seconds

    def fails(source: str, variant: dict[str, Any]) -> bool:
        return time.monotonic() < deadline and signature(process.run(as_job(Case(case.kind, source,
                                                                                 variant)))) == wanted
    variant = shrink_variant(case.variant, simplest, lambda variant: fails(case.source, variant))
    source = shrink(case.source, lambda source: fails(source, variant), max(0, deadline - time.monotonic()))
    process.end()
    variant = shrink_variant(variant, simplest, lambda variant: fails(source, variant))
    case = Case(case.kind, source, variant)
    process.end()
    return case, process.run(as_job(case))


def save_case(finding: Finding, case: Case, outcome: str, out: Path) -> None:
    path = out / f"{case.kind}-{finding.jobs[-1]['seed']}.py"
    command = f"{finding.configuration.command} {Path(__file__).with_name('worker.py')} {path.absolute()}"
    write_case(path, case, f"{outcome}\n\nRun by: {command}\n")
    finding.report = f"{outcome}\n--- {path}\n{case.source}---\nrun by: {command}\n"


# --- if it takes more than one program ------------------------------------------------

def fewer_jobs(process: Process, finding: Finding, seconds: float) -> list[dict[str, Any]]:
    """Those that are needed before the last one so that it fails; all of them if none are known."""
    deadline = time.monotonic() + seconds
    before, last = finding.jobs[:-1], finding.jobs[-1]
    wanted = signature(finding.outcome)

    def fails(jobs: list[dict[str, Any]]) -> bool:
        return time.monotonic() < deadline and signature(process.run_all([*jobs, last])) == wanted
    size = len(before)
    while size >= 1:
        i = 0
        while i < len(before):
            rest = before[:i] + before[i + size:]
            if fails(rest):
                before = rest
            else:
                i += size
        size //= 2
    return [*before, last]


def save_jobs(finding: Finding, jobs: list[dict[str, Any]], out: Path) -> None:
    path = out / f"{jobs[-1]['kind']}-{jobs[-1]['seed']}.jobs"
    path.write_text("".join(json.dumps(job) + "\n" for job in jobs))
    command = f"{finding.configuration.command} {Path(__file__).with_name('worker.py')} <{path.absolute()}"
    finding.report = (f"{finding.outcome}\nThe last of {len(jobs)} programs, run one after the other, failed; alone it "
                      f"does not.\n"
                      f"run by: {command}\n")
