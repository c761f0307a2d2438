"""A random program with what else is needed to run it, and the file in which it is saved."""
from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MARK = "# variant: "


@dataclass
class Case:
    kind: str                                   # plain or operations
    source: str
    variant: dict[str, Any] = field(default_factory=dict)


def write_case(path: Path, case: Case, comment: str) -> None:
    """*comment* tells what is wrong and how it is run."""
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    head = MARK + json.dumps({"kind": case.kind, **case.variant})
    path.write_text("\n".join([*lines, head, "", case.source]))


def read_case(path: str | Path) -> Case:
    text = Path(path).read_text()
    for line in text.splitlines():
        if line.startswith(MARK):
            variant = json.loads(line.removeprefix(MARK))
            return Case(variant.pop("kind"), text, variant)
    raise SystemExit(f"{path}: no line that begins with {MARK!r}: was this file written by run_fuzz.py?")
