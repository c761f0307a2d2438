"""Read the overlay's patches: unified diffs with a header that says why."""
from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

_HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
# What the header must say, each in a line or paragraph that begins so.
HEADINGS = ("Why:", "Hook:", "Upstream:")
CONTEXT = 2


@dataclass
class Hunk:
    """One hunk: where it was made for, and its lines with their leading sign."""

    old_start: int
    old_count: int
    new_count: int
    lines: list[str] = field(default_factory=list)

    def _with(self, *signs: str) -> list[str]:
        return [line[1:] for line in self.lines if line[:1] in signs]

    @property
    def added(self) -> list[str]:
        return self._with("+")

    @property
    def quoted(self) -> list[str]:
        """Upstream's lines that the hunk repeats: context and removed ones."""
        return self._with(" ", "-")

    @property
    def removed(self) -> list[str]:
        return self._with("-")

    def context_runs(self) -> list[int]:
        """Lengths of the runs of context lines: before the first change, between changes, after the last."""
        runs = [0]
        for line in self.lines:
            if line[:1] == " ":
                runs[-1] += 1
            elif line[:1] in "+-" and (runs[-1] or len(runs) == 1):
                runs.append(0)
        return runs


@dataclass
class Patch:
    """One patch file for one upstream file."""

    file: str                     # path of the patch in the overlay
    target: str                   # path of the upstream file, from the patch file's own name
    header: str = ""
    old: str = ""
    new: str = ""
    hunks: list[Hunk] = field(default_factory=list)
    stray: list[str] = field(default_factory=list)

    @property
    def added(self) -> int:
        return sum(len(hunk.added) for hunk in self.hunks)

    @property
    def quoted(self) -> int:
        return sum(len(hunk.quoted) for hunk in self.hunks)


def _stripped(name: str) -> str:
    """A file name of a diff's header without its time stamp and first folder, as patch -p1 sees it."""
    return name.split("\t")[0].strip().partition("/")[2]


def parse(file: str, text: str) -> Patch:
    """Parse the text of the patch at overlay path *file*; what fits nowhere ends up in ``stray``."""
    patch = Patch(file, file.removesuffix(".patch"))
    lines = text.split("\n")
    position = next((n for n, line in enumerate(lines) if line.startswith("--- ")), len(lines))
    patch.header = "\n".join(lines[:position]).strip()
    if position + 1 < len(lines):
        patch.old, patch.new = _stripped(lines[position][4:]), _stripped(lines[position + 1][4:])
    position += 2
    while position < len(lines):
        match = _HUNK.match(lines[position])
        if not match:
            if lines[position].strip():
                patch.stray.append(lines[position])
            position += 1
            continue
        start, old, _, new = (int(group) if group else 1 for group in match.groups())
        hunk = Hunk(start, old, new)
        patch.hunks.append(hunk)
        position += 1
        while (old or new) and position < len(lines):
            line = lines[position] or " "         # editors strip the blank of an empty context line
            if line[0] not in " +-\\":
                break
            hunk.lines.append(line)
            old -= line[0] in " -"
            new -= line[0] in " +"
            position += 1
        if position < len(lines) and lines[position].startswith("\\"):
            position += 1
    return patch


def read(root: Path, path: Path) -> Patch:
    return parse(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8"))


def form_problems(patch: Patch) -> list[str]:
    """What is wrong with the form of a patch: its header, its names, its context."""
    problems = []
    for heading in HEADINGS:
        if not re.search(rf"^{heading}\s*\S", patch.header, re.MULTILINE | re.IGNORECASE):
            problems.append(f"{patch.file}: the header has no line that begins with \"{heading}\"")
    if not patch.hunks:
        problems.append(f"{patch.file}: no hunk")
    elif (patch.old, patch.new) != (patch.target, patch.target):
        problems.append(f"{patch.file}: edits {patch.new or patch.old or '?'}, "
                        f"its name says a/{patch.target} and b/{patch.target}")
    for line in patch.stray:
        problems.append(f"{patch.file}: a line that belongs to no hunk: {line.strip()[:60]}")
    for hunk in patch.hunks:
        runs = hunk.context_runs()
        if runs[0] > CONTEXT or runs[-1] > CONTEXT or any(run > 2 * CONTEXT for run in runs[1:-1]):
            problems.append(f"{patch.file}: the hunk at line {hunk.old_start} quotes more than {CONTEXT} "
                            "lines of context a side")
    return problems


def places(hunk: Hunk, lines: list[str]) -> list[int]:
    """The line numbers (from 1) at which the hunk's old text stands in a file."""
    old = hunk.quoted
    return [start + 1 for start in range(len(lines) - len(old) + 1) if lines[start:start + len(old)] == old]


def ambiguities(patch: Patch, upstream: str) -> list[str]:
    """Hunks whose place is a guess: moved from where they were made, and fitting at several places.

    With so little context, patch would take the nearest one without a word.
    """
    lines, found = upstream.split("\n"), []
    for hunk in patch.hunks:
        fits = places(hunk, lines)
        if len(fits) > 1 and hunk.old_start not in fits:
            found.append(f"{patch.file}: the hunk at line {hunk.old_start} fits at {len(fits)} places "
                         f"({', '.join(map(str, fits[:5]))})")
    return found
