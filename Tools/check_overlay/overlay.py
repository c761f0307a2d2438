"""What the overlay consists of: our files and our patches, in the folders that are merged into upstream's tree."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from patchfile import Patch, read

# The merged folders, and what in them is not: as Tools/build/merge.sh has it.
FOLDERS = ("Stackless", "Python", "Objects", "Include", "Modules", "Lib", "Tools")
_NOT_MERGED = ("Tools/build/",)
_LEFTOVERS = (".pyc", ".pyo", "~", ".orig", ".rej", ".swp")
BYTECODES = "Python/stackless_bytecodes.c"
TEST_DATA = "Lib/test/"


@dataclass
class Overlay:
    """Paths are relative to *root*, with slashes."""

    root: Path
    files: list[str]              # ours, patches not among them
    patches: list[Patch]

    @property
    def core(self) -> list[Patch]:
        return [patch for patch in self.patches if not patch.target.startswith(TEST_DATA)]

    @property
    def test_data(self) -> list[Patch]:
        return [patch for patch in self.patches if patch.target.startswith(TEST_DATA)]


def _merged(name: str) -> bool:
    parts = name.split("/")
    return not (name.startswith(_NOT_MERGED) or name.endswith(_LEFTOVERS) or "__pycache__" in parts
                or parts[-1].startswith("."))


def load(root: Path) -> Overlay:
    """Read the overlay whose top folder is *root*."""
    paths = sorted(path for folder in FOLDERS for path in (root / folder).rglob("*") if path.is_file())
    merged = [path for path in paths if _merged(path.relative_to(root).as_posix())]
    return Overlay(root,
                   [path.relative_to(root).as_posix() for path in merged if path.suffix != ".patch"],
                   [read(root, path) for path in merged if path.suffix == ".patch"])


def numbers(path: Path) -> dict[str, int]:
    """Read a data file of names and numbers."""
    rows = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    return {row[0]: int(row[1]) for row in rows if row and not row[0].startswith("#")}


def words(path: Path) -> tuple[str, ...]:
    """Read a data file of one word a line."""
    rows = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return tuple(row for row in rows if row and not row.startswith("#"))
