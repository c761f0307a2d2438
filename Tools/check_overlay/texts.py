"""The checks that need an upstream release's texts only.  Each returns a list of problems, one clear line each."""
from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import csource
from overlay import BYTECODES, Overlay
from patchfile import Patch, ambiguities
from upstream import Release

UPSTREAM_BYTECODES = "Python/bytecodes.c"
GENERATORS = "Tools/cases_generator/"
_OPCODE_IDS = "Include/opcode_ids.h"
_OPCODE_METADATA = "Include/internal/pycore_opcode_metadata.h"
# Where the .pyc magic number stands; the second one is newer than 3.13.
MAGIC_FILES = ("Lib/importlib/_bootstrap_external.py", "Include/internal/pycore_magic_number.h")
_MAGIC = re.compile(r"^(?:MAGIC_NUMBER = \((\d+)\)|#define PYC_MAGIC_NUMBER (\d+))", re.MULTILINE)
_DEFINE = re.compile(r"^#define (\w+)\s+(\d+)$", re.MULTILINE)
_CACHES = re.compile(r"_PyOpcode_Caches\[256\] = \{(.*?)\};", re.DOTALL)
THREAD_STATE = ("Include/internal/pycore_tstate.h", "_PyThreadStateImpl")
_PATCH = ("patch", "-F0", "-p1", "--batch", "--forward", "--no-backup-if-mismatch", "-r", "-")
# Headers that only CPython's own build reads; nothing of theirs is public.
_INTERNAL = "Include/internal/"


def needed(name: str) -> bool:
    """Whether a file of an upstream release is needed here, whatever the overlay holds."""
    return (name.startswith((GENERATORS, "Include/")) or name in MAGIC_FILES
            or name in (UPSTREAM_BYTECODES, "Lib/_opcode_metadata.py"))


def shadowing(overlay: Overlay, release: Release) -> list[str]:
    """Files of ours that upstream has too, and patches of files that it does not have."""
    problems = [f"{release.version}: {name} is a file of upstream's: put the change into {name}.patch"
                for name in overlay.files if name in release.names]
    problems += [f"{release.version}: {patch.file}: upstream has no {patch.target}"
                 for patch in overlay.patches if patch.target not in release.names]
    problems += [f"{release.version}: {patch.file} is a file of upstream's"
                 for patch in overlay.patches if patch.file in release.names]
    return problems


def apply_patches(overlay: Overlay, release: Release, target: Path) -> list[str]:
    """Copy the release's texts to *target* and apply every patch there, without fuzz."""
    shutil.copytree(release.root, target, dirs_exist_ok=True)
    problems = []
    for patch in overlay.patches:
        if patch.target not in release.names:
            continue
        with open(overlay.root / patch.file, "rb") as stdin:
            done = subprocess.run(_PATCH, cwd=target, stdin=stdin, capture_output=True, text=True)
        if done.returncode:
            lines = [line for line in (done.stdout + done.stderr).splitlines()
                     if re.search("FAILED|malformed|Only garbage|can't find", line)]
            problems.append(f"{release.version}: {patch.file} does not apply: "
                            f"{'; '.join(lines) or done.stdout.strip()}")
        problems += [f"{release.version}: {line}" for line in ambiguities(patch, release.text(patch.target) or "")]
    return problems


def _generate(tree: Path, generator: str, inputs: list[str]) -> str | None:
    """The output of one of upstream's generators, or None after a failure."""
    out = tree / f"{generator}.out"
    done = subprocess.run([sys.executable, f"{GENERATORS}{generator}", "-o", out.name, *inputs], cwd=tree,
                          capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return out.read_text(encoding="utf-8") if done.returncode == 0 and out.exists() else None


def _opcode_numbers(generated: str, upstream: str) -> tuple[list[str], list[str]]:
    """Names whose number differs from upstream's, and names that upstream does not have."""
    ours, theirs = dict(_DEFINE.findall(generated)), dict(_DEFINE.findall(upstream))
    moved = [f"{name} {number} -> {ours.get(name, 'gone')}" for name, number in theirs.items()
             if ours.get(name) != number]
    return moved, [name for name in ours if name not in theirs]


def _cache_sizes(metadata: str) -> dict[str, str]:
    found = _CACHES.search(metadata)
    return dict(re.findall(r"\[(\w+)\] = (\d+)", found.group(1))) if found else {}


def opcodes(overlay: Overlay, release: Release, patched: Path) -> list[str]:
    """Opcode numbers and inline cache sizes must be upstream's: they are what a .pyc is made of."""
    inputs = [UPSTREAM_BYTECODES] + ([BYTECODES] if BYTECODES in overlay.files else [])
    if len(inputs) > 1:
        shutil.copy(overlay.root / BYTECODES, patched / BYTECODES)
    ids = _generate(patched, "opcode_id_generator.py", inputs)
    metadata = _generate(patched, "opcode_metadata_generator.py", inputs)
    if ids is None or metadata is None:
        return [f"{release.version}: upstream's generators do not accept {' '.join(inputs)}"]
    moved, added = _opcode_numbers(ids, release.text(_OPCODE_IDS) or "")
    problems = []
    if moved:
        problems.append(f"{release.version}: {len(moved)} opcode numbers are not upstream's: {', '.join(moved[:5])}"
                        f"{' ...' if len(moved) > 5 else ''}")
    if added:
        problems.append(f"{release.version}: opcodes that upstream does not have: {', '.join(added)}")
    ours, theirs = _cache_sizes(metadata), _cache_sizes(release.text(_OPCODE_METADATA) or "")
    changed = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    if changed:
        problems.append(f"{release.version}: inline cache sizes are not upstream's: {', '.join(changed)}")
    return problems


def magic_of(release: Release) -> int:
    """The magic number of a release's .pyc files."""
    for name in MAGIC_FILES:
        found = _MAGIC.search(release.text(name) or "")
        if found:
            return int(found.group(1) or found.group(2))
    raise ValueError(f"no .pyc magic number found in {' or '.join(MAGIC_FILES)} of {release.version}")


def magic_number(release: Release, patched: Path) -> list[str]:
    """The magic number of .pyc files must be upstream's."""
    problems, seen = [], False
    for name in MAGIC_FILES:
        upstream = release.text(name)
        theirs = _MAGIC.search(upstream) if upstream is not None else None
        if theirs is None:
            continue
        seen = True
        ours = _MAGIC.search((patched / name).read_text(encoding="utf-8"))
        if ours is None or ours.group() != theirs.group():
            problems.append(f"{release.version}: {name}: the .pyc magic number is not upstream's: "
                            f"{theirs.group()} -> {ours.group() if ours else 'gone'}")
    if not seen:
        problems.append(f"{release.version}: no .pyc magic number found in {' or '.join(MAGIC_FILES)}")
    return problems


def _aggregates(text: str) -> dict[tuple[str, str], tuple[str, str]]:
    """Kind and members of every struct, union and enum of a header, by all its names; unnamed ones by position."""
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for number, each in enumerate(csource.aggregates(csource.blank(text))):
        inside = csource.members(text, each.start, each.end)
        for name in each.names or (f"number {number}",):
            found[each.kind, name] = each.kind, inside
    return found


def _may_grow(path: str, kind: str, name: str) -> bool:
    """What may have members appended: our state at the end of the thread's, and internal enums."""
    return (path, name) == THREAD_STATE or (kind == "enum" and path.startswith(_INTERNAL))


def _same_layout(path: str, key: tuple[str, str], upstream: str, ours: str) -> bool:
    if upstream == ours:
        return True
    return _may_grow(path, *key) and ours.startswith(upstream.rstrip(", ") if key[0] == "enum" else upstream)


def layouts(patch: Patch, release: Release, patched: Path) -> list[str]:
    """A patch of a header must leave every struct as it is, and a public header's lines too."""
    if not patch.target.startswith("Include/") or patch.target not in release.names:
        return []
    problems = []
    if not patch.target.startswith(_INTERNAL) and any(hunk.removed for hunk in patch.hunks):
        problems.append(f"{release.version}: {patch.file} changes lines of a public header")
    upstream = _aggregates(release.text(patch.target) or "")
    ours = _aggregates((patched / patch.target).read_text(encoding="utf-8"))
    for key, (kind, inside) in upstream.items():
        if key not in ours or not _same_layout(patch.target, key, inside, ours[key][1]):
            problems.append(f"{release.version}: {patch.file} changes the layout of {kind} {key[1]}")
    return problems
