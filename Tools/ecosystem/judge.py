"""Comparing our results with the stock build's, test by test."""
from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from suites import BAD, PASS, Result, Results

WORSE, KNOWN, FLAKY, BOTH, BETTER = "worse", "known", "flaky", "fails on both", "better"


class ListError(Exception):
    """The list of exceptions is not in order; the text says why."""


def read_known(path: Path) -> dict[str, str]:
    """The tests that may fail here: on each line a pattern of ids, then the reason."""
    known = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        pattern, _, reason = line.partition(" ")
        if not reason.strip():
            raise ListError(f"{path.name}:{number}: {pattern} has no reason beside it")
        known[pattern] = reason.strip()
    return known


@dataclass
class Verdict:
    """One test that is not the same on both."""

    test: str
    kind: str
    ours: str
    stock: str
    text: str

    def as_json(self) -> dict[str, str]:
        return dict(vars(self))


def _missing(module: str, results: Results) -> Result:
    """What to say of a test without a result of its own: the module's, if that went down."""
    whole = results.get(module)
    return Result("missing", "did not run") if whole is None else whole


def compare(module: str, ours: Results, stock: Results, known: dict[str, str]) -> list[Verdict]:
    """Everything in which one module's results differ, or fail on both."""
    verdicts = []
    for test in sorted(ours.keys() | stock.keys()):
        here = ours.get(test) or _missing(module, ours)
        there = stock.get(test) or _missing(module, stock)
        if here.status in BAD and there.status in BAD:
            kind, text = BOTH, there.text
        elif here.status == PASS and there.status in BAD:
            kind, text = BETTER, there.text
        elif here.status in BAD or (there.status == PASS and here.status != PASS):
            # Skipped there and failing here counts too: there is nothing to excuse it.
            reason = next((why for pattern, why in known.items() if fnmatchcase(test, pattern)), None)
            kind, text = (WORSE, here.text) if reason is None else (KNOWN, reason)
        else:
            continue
        verdicts.append(Verdict(test, kind, here.status, there.status, text))
    return verdicts


def unused(known: dict[str, str], tests: set[str], verdicts: list[Verdict]) -> list[str]:
    """Patterns that name a test which ran, and excuse nothing."""
    excused = [v.test for v in verdicts if v.kind == KNOWN]
    return [pattern for pattern in known
            if any(fnmatchcase(test, pattern) for test in tests)
            and not any(fnmatchcase(test, pattern) for test in excused)]
