"""Upstream's releases as texts: the table of pinned ones, and the needed files of each."""
from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

# Stands for the hash of the tree of a release that is known but was never tested.
_UNTESTED = "-"


def default_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "stackless-python"


class Pinned(NamedTuple):
    """A row of the table: *sha256* is the tarball's."""

    version: str
    sha256: str
    tested: bool


def pinned(table: Path) -> list[Pinned]:
    """Each release in the table, in its order."""
    rows = []
    for line in table.read_text(encoding="utf-8").splitlines():
        fields = line.split()
        if len(fields) >= 2 and not line.startswith("#"):
            rows.append(Pinned(fields[0], fields[1], fields[2:] != [_UNTESTED]))
    return rows


@dataclass
class Release:
    """One release: the names of all its files, and those files that were taken out, below *root*."""

    version: str
    root: Path
    names: set[str] = field(default_factory=set)

    def text(self, path: str) -> str | None:
        """The text of a file that was taken out, or None."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="surrogateescape")
        except (FileNotFoundError, IsADirectoryError):
            return None


def file_sha256(path: Path) -> str:
    state = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            state.update(block)
    return state.hexdigest()


def unpack(version: str, tarball: Path, root: Path, needed: Callable[[str], bool]) -> Release:
    """Take the needed files of a release out of its (verified) tarball."""
    release = Release(version, root)
    prefix = f"Python-{version}/"
    with tarfile.open(tarball, "r|*") as archive:
        for member in archive:
            name = member.name.removeprefix(prefix)
            if not member.isfile():
                continue
            release.names.add(name)
            stream = archive.extractfile(member) if needed(name) else None
            if stream is not None:
                target = root / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(stream.read())
    return release
