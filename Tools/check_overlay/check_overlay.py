#!/usr/bin/env python3
"""Prove that the overlay fits every pinned release of CPython and stays binary compatible with it.

    check_overlay.py --repo SRC [--cache DIR] [--release V] [--build BUILDTREE] [--python BINARY]
    check_overlay.py --repo SRC [--cache DIR] --relies-hash PATH:DEFINITION

For every tested release of Tools/build/upstream.txt, that of the build, or just the one that is named, if its tarball
is in the cache, from the texts alone:

- all patches apply without fuzz, at places that are no guess; no file of ours shadows one of upstream's;
- opcode numbers, inline cache sizes and the .pyc magic number are upstream's;
- no patch of a header changes the layout of a struct (our state at the end of _PyThreadStateImpl apart);
- the definitions of relies.txt are the ones that we looked at.

For the overlay itself: each patch says why it is there, quotes no more of upstream than it must (limits.txt), and all
together keep the budget.  With a build at hand: sizes and offsets of public structs, prefixes of exported symbols, and
what the interpreter says of itself.

--relies-hash prints the lines to add to relies.txt; DEFINITION is a function, inst:NAME or op:NAME of
Python/bytecodes.c, or struct:NAME.  Exit status: 0 all is well, 1 problems (a line each), 2 nothing could be checked.
"""
from __future__ import annotations

import argparse
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

import binary
import overlay as overlays
import relies
import texts
import upstream
from patchfile import form_problems

_HERE = Path(__file__).resolve().parent
_SOURCES = ("Include/", "Python/", "Objects/", "Modules/", "Parser/", "Programs/")


class Report:
    """Collects problems; prints each at once."""

    def __init__(self) -> None:
        self.problems = 0
        self.unchecked: list[str] = []

    def problem(self, *lines: str) -> None:
        for line in lines:
            print(f"PROBLEM: {line}")
        self.problems += len(lines)

    def note(self, line: str) -> None:
        print(line)

    def not_checked(self, what: str, why: str) -> None:
        print(f"not checked: {why}: {what}")
        self.unchecked.append(what)


class Releases:
    """The pinned releases at hand, unpacked on demand below a scratch folder."""

    def __init__(self, repo: Path, cache: Path, scratch: Path) -> None:
        self._rows = upstream.pinned(repo / "Tools/build/upstream.txt")
        self._cache, self._scratch = cache, scratch

    def choose(self, version: str | None, built: str | None) -> list[str]:
        """The version given, or those that are tested, and the one that was built."""
        return [row.version for row in self._rows if row.version == version
                or version is None and (row.tested or row.version == built)]

    def unpack(self, versions: Sequence[str], wanted: set[str], report: Report) -> list[upstream.Release]:
        """Unpack each of these that is in the cache and has the right hash; *wanted* are further files needed."""
        found = []
        for version, sha256, _ in self._rows:
            if version not in versions:
                continue
            tarball = self._cache / f"Python-{version}.tar.xz"
            if not tarball.is_file():
                report.not_checked(f"release {version}", f"no {tarball.name} in {self._cache}")
            elif upstream.file_sha256(tarball) != sha256:
                report.problem(f"{tarball} does not have the pinned SHA-256")
            else:
                found.append(upstream.unpack(version, tarball, self._scratch / version,
                                             lambda name: name in wanted or texts.needed(name)))
        return found

    def source_identifiers(self, version: str) -> set[str]:
        """Every identifier in a release's C sources and headers."""
        prefix = f"Python-{version}/"
        blobs = []
        with tarfile.open(self._cache / f"Python-{version}.tar.xz", "r|*") as archive:
            for member in archive:
                name = member.name.removeprefix(prefix)
                if member.isfile() and name.startswith(_SOURCES) and name.endswith((".c", ".h")):
                    stream = archive.extractfile(member)
                    blobs.append(stream.read() if stream else b"")
        return binary.identifiers(blobs)


def check_form(overlay: overlays.Overlay, limits: dict[str, int], report: Report) -> None:
    """The patches by themselves: form, quotation, budget."""
    for patch in overlay.patches:
        report.problem(*form_problems(patch))
    quoted = sum(patch.quoted for patch in overlay.patches)
    counts = {"patched-files": len(overlay.core), "added-lines": sum(patch.added for patch in overlay.core),
              "quoted-lines": quoted}
    report.note(f"patched upstream files {counts['patched-files']} of {limits['patched-files']}, "
                f"added lines {counts['added-lines']} of {limits['added-lines']}, "
                f"quoted upstream lines {quoted} of {limits['quoted-lines']}; test data apart: "
                f"{len(overlay.test_data)} files, {sum(patch.added for patch in overlay.test_data)} added lines")
    for name, count in counts.items():
        if count > limits[name]:
            report.problem(f"{name}: {count}, the limit is {limits[name]} (limits.txt)")


def check_release(overlay: overlays.Overlay, release: upstream.Release, entries: Sequence[relies.Reliance],
                  scratch: Path, report: Report) -> None:
    """All checks of one release that need its texts only."""
    patched = scratch / f"{release.version}-patched"
    before = report.problems
    report.problem(*texts.shadowing(overlay, release))
    report.problem(*texts.apply_patches(overlay, release, patched))
    report.problem(*texts.opcodes(overlay, release, patched))
    report.problem(*texts.magic_number(release, patched))
    for patch in overlay.patches:
        report.problem(*texts.layouts(patch, release, patched))
    report.problem(*relies.check(release, entries))
    if report.problems == before:
        report.note(f"{release.version}: {len(overlay.patches)} patches apply, {len(overlay.files)} files of ours "
                    "shadow nothing; opcodes, magic number and struct texts are upstream's; "
                    f"{len({(entry.path, entry.definition) for entry in entries})} relied-on definitions unchanged")


def check_build(build: binary.Build | None, releases: Releases, found: Sequence[upstream.Release], scratch: Path,
                report: Report) -> None:
    """The checks that need a build."""
    what = "offsets of public structs, exported symbols"
    if build is None:
        report.not_checked(what, "no build at hand")
        return
    release = next((each for each in found if each.version == build.version), None)
    if release is None:
        report.not_checked(what, f"no texts of the build's release {build.version}")
        return
    problems, count = binary.offset_problems(build, release, scratch)
    report.problem(*(f"{build.version}: {line}" for line in problems))
    if not problems:
        report.note(f"{build.version}: {count} sizes and offsets are upstream's")
    if not build.python.is_file():
        report.not_checked("exported symbols", f"{build.python} is not built")
        return
    check_binary(build, release, releases, report)


def check_binary(build: binary.Build, release: upstream.Release, releases: Releases, report: Report) -> None:
    """The interpreter: the symbols that it exports, and what it says of itself."""
    names = set().union(*(binary.exported(path) for path in binary.exporting_files(build)))
    known = releases.source_identifiers(release.version)
    new = binary.new_exports(names, known)
    unexpected = [name for name in new if not name.startswith(overlays.words(_HERE / "exports.txt"))]
    report.problem(*(f"{build.version}: exported symbol {name} has none of our prefixes" for name in unexpected))
    magic = texts.magic_of(release)
    report.problem(*(f"{build.version}: {line}" for line in binary.identity_problems(build, magic)))
    if not unexpected:
        report.note(f"{build.version}: {len(names)} exported symbols, {len(new)} of them new, "
                    "all with our prefixes")


def print_relies(args: argparse.Namespace, releases: Releases, report: Report) -> int:
    """Print the lines for relies.txt of one definition."""
    path, _, definition = args.relies_hash.partition(":")
    found = releases.unpack(releases.choose(args.release, None), {path}, report)
    lines = relies.lines_to_add(found, path, definition)
    if not lines or all(line.split()[2] == relies.ABSENT for line in lines):
        print(f"check_overlay.py: {definition or '?'} is not in {path} of any release at hand", file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--repo", type=Path, required=True, metavar="SRC", help="top folder of the overlay")
    add("--cache", type=Path, default=upstream.default_cache(), metavar="DIR", help="where upstream's tarballs are")
    add("--release", metavar="V", help="check this release alone, tested or not")
    add("--build", type=Path, metavar="BUILDTREE", help="a configured build tree")
    add("--python", type=Path, metavar="BINARY", help="the built interpreter (default: the one in BUILDTREE)")
    add("--relies", type=Path, default=_HERE / "relies.txt", metavar="FILE", help="the relies list")
    add("--limits", type=Path, default=_HERE / "limits.txt", metavar="FILE", help="caps and budget")
    add("--relies-hash", metavar="PATH:DEFINITION", help="print the lines to add to the relies list, and end")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    if shutil.which("patch") is None:
        print("check_overlay.py: the program patch is not installed", file=sys.stderr)
        return 2
    report = Report()
    with tempfile.TemporaryDirectory(prefix="check-overlay-") as name:
        scratch = Path(name)
        releases = Releases(args.repo, args.cache, scratch)
        if args.release and not releases.choose(args.release, None):
            print(f"check_overlay.py: --release={args.release}: there is no such release in Tools/build/upstream.txt",
                  file=sys.stderr)
            return 2
        if args.relies_hash:
            return print_relies(args, releases, report)
        found = check_all(args, releases, scratch, report)
    return summary(report, found)


def check_all(args: argparse.Namespace, releases: Releases, scratch: Path, report: Report) -> list[upstream.Release]:
    """All checks; returns the releases that were looked at."""
    overlay = overlays.load(args.repo)
    entries, malformed = relies.read(args.relies)
    report.problem(*malformed)
    check_form(overlay, overlays.numbers(args.limits), report)
    build = None
    try:
        build = binary.open_build(args.build, args.python) if args.build else None
    except binary.BuildError as exc:
        report.problem(str(exc))
    wanted = {patch.target for patch in overlay.patches} | {entry.path for entry in entries}
    found = releases.unpack(releases.choose(args.release, build and build.version), wanted, report)
    for release in found:
        check_release(overlay, release, entries, scratch, report)
    try:
        check_build(build, releases, found, scratch, report)
    except binary.BuildError as exc:
        report.problem(str(exc))
    return found


def summary(report: Report, found: Sequence[upstream.Release]) -> int:
    """Print the last line; returns the exit status."""
    checked = f"checked {', '.join(release.version for release in found) or 'no release'}"
    unchecked = f"; not checked: {'; '.join(report.unchecked)}" if report.unchecked else ""
    print(f"check-overlay: {report.problems} problem{'s' if report.problems != 1 else ''}, {checked}{unchecked}")
    if report.problems:
        return 1
    return 0 if found else 2


if __name__ == "__main__":
    sys.exit(main())
