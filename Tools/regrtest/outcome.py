"""What one run of one upstream test file did, read from its JUnit XML and log.

Upstream's XML has gaps that this module fills from the log (runs are verbose, so the log names everything):

- a method whose subtests failed leaves a <testcase> without a name; the log has "FAIL: name (id)";
- an error in setUpClass or setUpModule leaves no <testcase> at all; the log has "ERROR: setUpClass (...)";
- a crash, a timeout or a skip of the whole file leaves no XML.

Methods are named by their unittest id; a subtest counts as its method.  Where one id occurs more than once
the worst status stands.
"""
from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import asdict, dataclass, field
from pathlib import Path

PASSED, SKIPPED, FAILED = "passed", "skipped", "failed"
_RANK = {PASSED: 0, SKIPPED: 1, FAILED: 2}

# States of a whole file.
STATE_PASSED = "passed"
STATE_SKIPPED = "skipped"            # the file as a whole
STATE_NO_TESTS = "no tests"          # nothing matched the filters
STATE_FAILED = "failed"
STATE_ENV_CHANGED = "env changed"
STATE_CRASHED = "crashed"            # killed by a signal
STATE_TIMEOUT = "timeout"
GOOD_STATES = frozenset({STATE_PASSED, STATE_SKIPPED, STATE_NO_TESTS})

# Exit statuses of "python -m test" (libregrtest/results.py).
_EXIT_BAD_TEST, _EXIT_ENV_CHANGED, _EXIT_NO_TESTS = 2, 3, 4

_SUBTEST = re.compile(r"^([^\s(\[]+\.[^\s(\[]+) [\[(]")
_HEADLINE = re.compile(r"^(FAIL|ERROR): (\S+)(?: \(([^()]+)\))?", re.MULTILINE)
_RULE = "=" * 70
_FILE_SKIPPED = re.compile(r"^\S+ skipped -- (.*)$", re.MULTILINE)
_TIMED_OUT = re.compile(r"Timeout \(\d+:\d\d:\d\d(\.\d+)?\)!")


@dataclass
class Outcome:
    """One run of one test file."""

    name: str
    state: str
    methods: dict[str, str] = field(default_factory=dict)
    run: int = 0                 # test cases that were not skipped, repeated ids counted each time
    skipped: int = 0
    unnamed: int = 0             # failures that no name could be found for
    returncode: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    note: str = ""               # reason of a skip, the test that was running at a crash

    @property
    def good(self) -> bool:
        return self.state in GOOD_STATES

    def ids(self, *statuses: str) -> set[str]:
        """The ids of the methods that have one of these statuses."""
        return {name for name, status in self.methods.items() if status in statuses}

    @property
    def ran(self) -> set[str]:
        return self.ids(PASSED, FAILED)

    def as_dict(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, object]) -> "Outcome":
        return cls(**data)  # type: ignore[arg-type]


def plain_id(name: str) -> str:
    """The id of the method that a subtest's id belongs to; other ids unchanged."""
    found = _SUBTEST.match(name)
    return found.group(1) if found else name


def _status(case: ET.Element) -> str:
    if case.find("error") is not None or case.find("failure") is not None:
        return FAILED
    if (case.findtext("outcome") or "") == "UNEXPECTED_SUCCESS":
        return FAILED
    if case.find("skipped") is not None:
        return SKIPPED
    return PASSED


def _record(methods: dict[str, str], name: str, status: str) -> None:
    old = methods.get(name)
    if old is None or _RANK[status] > _RANK[old]:
        methods[name] = status


def read_xml(outcome: Outcome, path: Path) -> None:
    """Add the test cases of a JUnit XML file to *outcome*; a missing file adds nothing."""
    try:
        root = ET.parse(path).getroot()
    except (FileNotFoundError, ET.ParseError):
        return
    for case in root.iter("testcase"):
        name, status = case.get("name"), _status(case)
        if status == SKIPPED:
            outcome.skipped += 1
        else:
            outcome.run += 1
        if name is None:
            outcome.unnamed += 1
        else:
            _record(outcome.methods, plain_id(name), status)


def _headline_ids(log: str) -> set[str]:
    """The ids named under a double rule as FAIL or ERROR."""
    found = set()
    lines = log.splitlines()
    for rule, line in zip(lines, lines[1:]):
        match = _HEADLINE.match(line) if rule == _RULE else None
        if match:
            kind, short, where = match.groups()
            if where is None:
                found.add(short)
            elif short.startswith(("setUp", "tearDown")):
                found.add(f"{short} ({where})")
            else:
                # str(case) is "name (module.Class.name)"; a doctest's is "name (module)"
                found.add(where if where.endswith("." + short) else f"{where}.{short}")
    return found


def read_log(outcome: Outcome, log: str) -> None:
    """Name from the log what the XML left without a name."""
    for name in _headline_ids(log):
        if outcome.methods.get(name) != FAILED:
            _record(outcome.methods, name, FAILED)
            outcome.unnamed = max(0, outcome.unnamed - 1)


def _file_state(returncode: int, has_xml: bool, log: str) -> str:
    if _TIMED_OUT.search(log) and returncode != 0:
        return STATE_TIMEOUT
    if returncode < 0:
        return STATE_CRASHED
    if returncode == _EXIT_ENV_CHANGED:
        return STATE_ENV_CHANGED
    if returncode in (0, _EXIT_NO_TESTS) and not has_xml and _FILE_SKIPPED.search(log):
        return STATE_SKIPPED
    if returncode == _EXIT_NO_TESTS:
        return STATE_NO_TESTS
    return STATE_PASSED if returncode == 0 else STATE_FAILED


def _note(state: str, log: str) -> str:
    if state == STATE_SKIPPED:
        found = _FILE_SKIPPED.search(log)
        return found.group(1) if found else ""
    if state in (STATE_CRASHED, STATE_TIMEOUT):
        running = [line for line in log.splitlines() if re.match(r"test\w* \(.*\.\.\. *(Timeout .*)?$", line)]
        return f"last test begun: {running[-1]}" if running else ""
    return ""


def read_outcome(name: str, returncode: int, xml: Path, log: str, *, timed_out: bool = False) -> Outcome:
    """Build the Outcome of a finished run.

    *returncode* is as subprocess reports it (negative: a signal); *timed_out* says that the caller had to kill it.
    """
    state = STATE_TIMEOUT if timed_out else _file_state(returncode, xml.exists(), log)
    outcome = Outcome(name, state, returncode=returncode, note=_note(state, log))
    read_xml(outcome, xml)
    if not outcome.good:
        read_log(outcome, log)
    return outcome
