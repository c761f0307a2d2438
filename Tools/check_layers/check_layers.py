#!/usr/bin/env python3
"""Prove that the rooms of our C code (the folders of Stackless/) call only downward.

    check_layers.py --repo SRC --build BUILDTREE

Stackless/layers.txt names the rooms, the lowest first, and the exceptions, each with its reason.  A room may call, read
and include what belongs to itself and to those below it.  Looked at are

- the symbols that the object files in BUILDTREE need and define (by nm), functions and data alike, and
- the #include lines of the sources in SRC.

Exit status: 0 all is well, 1 problems (a line each: an upward use that is not on the list, an exception that is not
needed any more, a file in no room), 2 nothing could be checked.
"""
from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Use:
    """One file needs something of another one: a symbol, or (with the header's name) its declarations."""

    user: str
    owner: str
    name: str


@dataclass
class Layers:
    """What layers.txt says."""

    rooms: dict[str, int] = field(default_factory=dict)           # name: height
    places: dict[str, str] = field(default_factory=dict)          # file outside Stackless/: room
    exceptions: dict[tuple[str, str, str], str] = field(default_factory=dict)   # (user's room, owner's room, name): why

    def room(self, path: str) -> str | None:
        """The room of a source file, given relative to the root of the repository or of the build tree."""
        if path in self.places:
            return self.places[path]
        parts = path.split("/")
        return parts[1] if len(parts) > 2 and parts[0] == "Stackless" else None

    def upward(self, use: Use) -> tuple[str, str, str] | None:
        """The key under which an exception for this use would be listed, if it takes one."""
        user, owner = self.room(use.user), self.room(use.owner)
        if user is None or owner is None or self.rooms[user] >= self.rooms[owner]:
            return None
        return user, owner, use.name


class Malformed(Exception):
    """layers.txt cannot be read; says which line and why."""


def parse(text: str) -> Layers:
    """Read layers.txt: `room NAME  what it is`, `file PATH ROOM`, `up ROOM -> ROOM NAME  why`."""
    layers = Layers()
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split(None, 2)
        if not words or line.startswith(("#", " ")):
            continue                   # a comment, or what goes on from the line above
        try:
            if words[0] == "room" and len(words) == 3:
                layers.rooms[words[1]] = len(layers.rooms)
            elif words[0] == "file" and words[2] in layers.rooms:
                layers.places[words[1]] = words[2]
            elif match := re.fullmatch(r"up (\w+) -> (\w+) (\S+)\s+(\S.*)", line):
                user, owner, name, why = match.groups()
                if layers.rooms[user] >= layers.rooms[owner]:
                    raise Malformed(f"line {number}: {user} -> {owner} is no call upwards: {line!r}")
                layers.exceptions[user, owner, name] = why
            else:
                raise ValueError
        except (ValueError, KeyError, IndexError):
            raise Malformed(f"line {number}: expected `room NAME WHAT`, `file PATH ROOM` or "
                            f"`up ROOM -> ROOM NAME WHY`, not {line!r}") from None
    return layers


def symbols(listing: str) -> tuple[set[str], set[str]]:
    """What an object file defines for others and what it needs, from the output of nm."""
    defined, needed = set(), set()
    for line in listing.splitlines():
        kind, name = line.split()[-2:]
        if kind in "TDBRCVWGS":
            defined.add(name)
        elif kind == "U":
            needed.add(name)
    return defined, needed


def uses_of_symbols(listings: dict[str, str]) -> Iterator[Use]:
    """*listings*: nm's output for the object of each source file."""
    tables = {path: symbols(listing) for path, listing in listings.items()}
    owners = {name: path for path, (defined, _) in tables.items() for name in defined}
    for path, (_, needed) in sorted(tables.items()):
        for name in sorted(needed & owners.keys()):
            if owners[name] != path:
                yield Use(path, owners[name], name)


def uses_of_headers(sources: dict[str, str]) -> Iterator[Use]:
    """*sources*: the text of each of our C files and headers."""
    headers = {path.rpartition("/")[2]: path for path in sources if path.endswith(".h")}
    for path, text in sorted(sources.items()):
        for included in re.findall(r'^\s*#\s*include\s+"([^"]+)"', text, re.MULTILINE):
            owner = headers.get(included.rpartition("/")[2])
            if owner is not None and owner != path:
                yield Use(path, owner, included.rpartition("/")[2])


def circles(uses: Iterable[Use]) -> list[list[str]]:
    """The groups of files of which each needs each of the others, directly or not; the largest first."""
    graph: dict[str, set[str]] = {}
    for use in uses:
        graph.setdefault(use.user, set()).add(use.owner)

    def reach(start: str) -> set[str]:
        found: set[str] = set()
        todo = [start]
        while todo:
            for following in graph.get(todo.pop(), ()):
                if following not in found:
                    found.add(following)
                    todo.append(following)
        return found

    reached = {path: reach(path) for path in graph}
    groups = {tuple(sorted(other for other in reached[path] if path in reached.get(other, ())))
              for path in graph if path in reached[path]}
    return sorted((list(group) for group in groups), key=lambda group: (-len(group), group))


def problems(layers: Layers, files: Iterable[str], uses: Iterable[Use]) -> list[str]:
    """A line for each thing that is wrong."""
    found = [f"{path} is in no room: {room!r} is not in layers.txt" for path in sorted(files)
             if (room := layers.room(path)) not in layers.rooms]
    if found:
        return found
    needed = set()
    for use in uses:
        key = layers.upward(use)
        if key is None:
            continue
        needed.add(key)
        if key not in layers.exceptions:
            found.append(f"{use.user} uses {use.name} of {use.owner}: {key[0]} lies below {key[1]}")
    found += [f"layers.txt: nothing of {user} uses {name} of {owner} any more: take the line out"
              for user, owner, name in layers.exceptions if (user, owner, name) not in needed]
    return found


def read_listings(tree: Path, files: Iterable[str], nm: str) -> dict[str, str]:
    """nm's output for each C file of ours that has been built."""
    listings = {}
    for path in files:
        if path.endswith(".c") and (built := tree / (path[:-1] + "o")).is_file():
            listings[path] = subprocess.run([nm, str(built)], check=True, capture_output=True, text=True).stdout
    return listings


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repo", type=Path, required=True, help="the source root")
    parser.add_argument("--build", type=Path, required=True, help="a build tree with object files")
    options = parser.parse_args(argv)
    nm = shutil.which("nm")
    if nm is None:
        print("nothing checked: there is no nm here (it comes with the compiler's binutils)")
        return 2
    try:
        layers = parse((options.repo / "Stackless/layers.txt").read_text())
    except Malformed as error:
        print(f"PROBLEM: Stackless/layers.txt, {error}")
        return 1
    files = [str(path.relative_to(options.repo)) for path in sorted((options.repo / "Stackless").rglob("*.[ch]"))]
    files += [path for path in layers.places if (options.repo / path).is_file()]
    listings = read_listings(options.build, files, nm)
    if not listings:
        print(f"nothing checked: no object files of ours below {options.build}: run make")
        return 2
    calls = list(uses_of_symbols(listings))
    uses = calls + list(uses_of_headers({path: (options.repo / path).read_text() for path in files}))
    found = problems(layers, files, uses)
    for line in found:
        print(f"PROBLEM: {line}")
    largest = circles(calls)
    print(f"{len(listings)} object files in {len(layers.rooms)} rooms, {len(uses)} uses, "
          f"{len(layers.exceptions)} exceptions listed, {len(found)} problems; the largest circle of files: "
          f"{len(largest[0]) if largest else 0}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
