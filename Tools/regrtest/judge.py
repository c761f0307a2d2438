"""Which of our failures are ours: test method by test method, against a stock build's run of the same file.

- What fails here and passes, or does not exist, on stock is ours; what fails on both is not.
- What passes on stock but is skipped or missing here is ours.
- A crash, a time-out, a changed environment, a file that can't be imported: ours unless stock ends the same way.
"""
from __future__ import annotations

from dataclasses import dataclass, field

from outcome import (FAILED, PASSED, SKIPPED, STATE_CRASHED, STATE_FAILED, STATE_SKIPPED, STATE_TIMEOUT,
                     Outcome)


@dataclass
class Verdict:
    """The judgement on one test file: lines for a human."""

    name: str
    ours: list[str] = field(default_factory=list)
    stock_too: list[str] = field(default_factory=list)


def _whole_file(outcome: Outcome) -> bool:
    """Whether the run went wrong in a way that no method's name tells."""
    if outcome.good:
        return False
    return outcome.state != STATE_FAILED or outcome.unnamed > 0 or not outcome.ids(FAILED)


def _describe(outcome: Outcome) -> str:
    text = outcome.state
    if outcome.state == STATE_CRASHED:
        text += f" (signal {-outcome.returncode})"
    return f"{text}; {outcome.note}" if outcome.note else text


def _judge_failures(ours: Outcome, stock: Outcome, verdict: Verdict) -> None:
    for test in sorted(ours.ids(FAILED)):
        on_stock = stock.methods.get(test)
        if on_stock == FAILED:
            verdict.stock_too.append(f"{test}: failed")
        elif test.startswith(("setUp", "tearDown")):
            verdict.ours.append(f"{test}: failed, not on stock")
        else:
            verdict.ours.append(f"{test}: failed; on stock: {on_stock or 'does not exist'}")
    if not _whole_file(ours):
        return
    line = f"whole file: {_describe(ours)}"
    same = stock.state == ours.state and stock.unnamed >= ours.unnamed and stock.returncode == ours.returncode
    if same:
        verdict.stock_too.append(line)
    else:
        verdict.ours.append(f"{line}; on stock: {_describe(stock)}")


def _judge_missing(ours: Outcome, stock: Outcome, verdict: Verdict) -> None:
    """Name what passes on stock and did not run here."""
    if ours.state in (STATE_CRASHED, STATE_TIMEOUT):
        return                           # nothing is known about single methods, and the crash is judged already
    missing = stock.ids(PASSED) - ours.ran
    if missing and ours.state == STATE_SKIPPED:
        verdict.ours.append(f"whole file: skipped ({ours.note}); on stock {len(missing)} of its tests pass")
        return
    for test in sorted(missing):
        here = "skipped" if ours.methods.get(test) == SKIPPED else "missing"
        verdict.ours.append(f"{test}: {here}; on stock: passed")


def judge_whole(ours: Outcome, stock: Outcome) -> Verdict:
    """Compare with a stock run of the whole file."""
    verdict = Verdict(ours.name)
    _judge_failures(ours, stock, verdict)
    _judge_missing(ours, stock, verdict)
    if not verdict.ours and ours.good and ours.run < stock.run:
        verdict.ours.append(f"whole file: ran {ours.run} test cases; on stock: {stock.run}")
    return verdict


def judge_probe(ours: Outcome, stock: Outcome) -> Verdict:
    """Compare with a stock run of only those methods that did not run here."""
    verdict = Verdict(ours.name)
    _judge_missing(ours, stock, verdict)
    return verdict


def judge_alone(ours: Outcome) -> Verdict:
    """Without a stock build, or for a file that stock does not have, every failure is ours."""
    return judge_whole(ours, Outcome(ours.name, "not there"))
