"""The relies list: unpatched definitions of upstream whose behaviour we depend on, each by a hash of its text.

One line each: path, definition (as csource.extract names it), SHA-256, why.  Where releases differ there are several
lines for one definition, and the text of every release must have one of their hashes.  "-" for a hash: may be absent.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from csource import digest, extract
from upstream import Release

ABSENT = "-"


@dataclass(frozen=True)
class Reliance:
    path: str
    definition: str
    sha256: str
    why: str


def read(path: Path) -> tuple[list[Reliance], list[str]]:
    """The entries of the list, and what is wrong with its lines."""
    entries, problems = [], []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = line.split(None, 3)
        if len(fields) < 4:
            problems.append(f"{path.name}:{number}: needs a path, a definition, a hash and the reason")
        else:
            entries.append(Reliance(*fields))
    return entries, problems


def found_hash(release: Release, path: str, definition: str) -> str:
    """The hash of a definition in a release, or ABSENT."""
    text = release.text(path)
    found = extract(text, definition) if text is not None else None
    return ABSENT if found is None else digest(found)


def check(release: Release, entries: Iterable[Reliance]) -> list[str]:
    """Every definition whose text in this release has none of the accepted hashes."""
    accepted: dict[tuple[str, str], list[Reliance]] = {}
    for entry in entries:
        accepted.setdefault((entry.path, entry.definition), []).append(entry)
    problems = []
    for (path, definition), known in accepted.items():
        actual = found_hash(release, path, definition)
        if actual in (entry.sha256 for entry in known):
            continue
        why = "; ".join(dict.fromkeys(entry.why for entry in known))
        what = "is not there any more" if actual == ABSENT else f"has changed (now {actual})"
        problems.append(f"{release.version}: {path} {definition} {what}; we rely on it: {why}")
    return problems


def lines_to_add(releases: Iterable[Release], path: str, definition: str, why: str = "WHY") -> list[str]:
    """The lines for the list, one for each different text."""
    hashes = dict.fromkeys(found_hash(release, path, definition) for release in releases)
    return [f"{path} {definition} {value} {why}" for value in hashes]
