"""What is known about a stock build's results, kept between runs.

One JSON file per release, configure flags and resources.  For each test file it holds which methods pass on stock, and
which were not tried there because they had run on ours (a *probe* runs only the others).  The knowledge serves to find
suspects only: before anything is called a failure of ours, the file is run on stock again.
"""
from __future__ import annotations

import hashlib
import json
import os
import shlex
from dataclasses import asdict, dataclass, field
from pathlib import Path

from outcome import PASSED, Outcome
from runner import Binary

_FORMAT = 1
# Options of configure that change where things lie, not what they do.
_PLACES = ("--prefix", "--exec-prefix", "--srcdir", "--cache-file", "--quiet", "--silent", "--bindir", "--libdir",
           "--mandir", "--datarootdir")


def default_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "stackless-python" / "regrtest"


def plain_flags(flags: str) -> tuple[str, ...]:
    """The options of configure without those that only name places, sorted."""
    kept, skip = [], False
    for word in shlex.split(flags):
        name, equals, _ = word.partition("=")
        if skip:
            skip = False
        elif name in _PLACES:
            skip = not equals and name not in ("--quiet", "--silent")
        elif word not in ("-q", "-C"):
            kept.append(word)
    return tuple(sorted(kept))


@dataclass
class Known:
    """What is known about one test file on stock."""

    passed: set[str] = field(default_factory=set)
    untried: set[str] = field(default_factory=set)
    run: int | None = None               # test cases run, when the whole file was

    def open_questions(self, ours: Outcome) -> bool:
        """Whether stock may run more than *ours* did."""
        if self.run is not None and ours.run < self.run:
            return True
        return bool((self.passed | self.untried) - ours.ran)


class Baseline:
    """The known results; load() never fails, save() replaces the file in one step."""

    def __init__(self, cache: Path, binary: Binary, resources: str) -> None:
        identity = json.dumps([_FORMAT, plain_flags(binary.flags), binary.soabi, binary.debug, resources,
                               os.getuid() == 0])
        digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
        self.path = cache / f"stock-{binary.version}-{digest}.json"
        self.files: dict[str, Known] = {}

    def load(self) -> None:
        try:
            data = json.loads(self.path.read_text(encoding="utf-8"))
            self.files = {name: Known(set(entry["passed"]), set(entry["untried"]), entry["run"])
                          for name, entry in data.items()}
        except (OSError, ValueError, KeyError, TypeError):
            self.files = {}

    def save(self) -> None:
        data = {name: {key: sorted(value) if isinstance(value, set) else value
                       for key, value in asdict(known).items()} for name, known in sorted(self.files.items())}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_suffix(f".{os.getpid()}")
        new.write_text(json.dumps(data, indent=0), encoding="utf-8")
        new.replace(self.path)

    def open_questions(self, ours: Outcome) -> bool:
        known = self.files.get(ours.name)
        return known is None or known.open_questions(ours)

    def learn_whole(self, stock: Outcome) -> None:
        self.files[stock.name] = Known(stock.ids(PASSED), set(), stock.run if stock.good else None)

    def learn_probe(self, ours: Outcome, stock: Outcome) -> None:
        """Take in a stock run of what had not run on ours; what was known about the rest stays."""
        old = self.files.get(stock.name, Known())
        passed = (old.passed & ours.ran) | stock.ids(PASSED)
        self.files[stock.name] = Known(passed, ours.ran - passed, None)
