"""The checks that need a build: sizes and offsets by a small C program, exported symbols by nm, and the binary's word.

The same program is compiled twice with the build's pyconfig.h: against upstream's headers and against the build's.
"""
from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import csource
from upstream import Release

# Structs whose every member must keep its place, by the tag or typedef name that the headers define them with.
STRUCTS = {
    "PyObject": "_object", "PyVarObject": "PyVarObject",
    "PyTypeObject": "_typeobject", "PyHeapTypeObject": "_heaptypeobject",
    "PyThreadState": "_ts", "PyFrameObject": "_frame", "_PyInterpreterFrame": "_PyInterpreterFrame",
    "PyCodeObject": "PyCodeObject", "PyFunctionObject": "PyFunctionObject", "PyGenObject": "PyGenObject",
    "PyCoroObject": "PyCoroObject", "PyAsyncGenObject": "PyAsyncGenObject", "PyMethodObject": "PyMethodObject",
    "PyCFunctionObject": "PyCFunctionObject", "PyModuleDef": "PyModuleDef", "PyMethodDef": "PyMethodDef",
    "PyBaseExceptionObject": "PyBaseExceptionObject", "_PyErr_StackItem": "_err_stackitem",
    "_PyThreadStateImpl": "_PyThreadStateImpl", "PyInterpreterState": "_is", "PyConfig": "PyConfig",
}
# The end of these may move: the first holds our state, the second holds the first.
GROWS = {"_PyThreadStateImpl": None, "PyInterpreterState": "_initial_thread"}
_INCLUDES = """
#define Py_BUILD_CORE 1
#include "Python.h"
#include "internal/pycore_frame.h"
#include "internal/pycore_genobject.h"
#include "internal/pycore_interp.h"
#include "internal/pycore_tstate.h"
#include <stddef.h>
#include <stdio.h>
"""
# What linkers add to every binary.
_LINKER = ("__", "_IO_", "_edata", "_end", "_start", "_init", "_fini", "data_start")
_IDENTIFIER = re.compile(rb"[A-Za-z_]\w+")


@dataclass(frozen=True)
class Build:
    """A configured build tree (in which the merged sources lie) and its interpreter."""

    tree: Path
    python: Path
    version: str


class BuildError(Exception):
    """The build can't be used; the text says why."""


def open_build(tree: Path, python: Path | None) -> Build:
    """Look at a build tree; *python* defaults to the interpreter in it."""
    header = tree / "Include/patchlevel.h"
    if not (tree / "pyconfig.h").exists() or not header.exists():
        raise BuildError(f"{tree} is not a configured build tree")
    found = re.search(r'#define PY_VERSION\s+"([^"+]+)', header.read_text(encoding="utf-8"))
    if not found:
        raise BuildError(f"{header} names no version")
    if python is None:
        python = next((tree / name for name in ("python", "python.exe") if (tree / name).is_file()), tree / "python")
    return Build(tree.resolve(), python.resolve(), found.group(1))


def _make_variable(tree: Path, name: str, default: str) -> str:
    try:
        makefile = (tree / "Makefile").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return default
    found = re.search(rf"^{name}=[ \t]*(.*)$", makefile, re.MULTILINE)
    return found.group(1).strip() if found and found.group(1).strip() and "$" not in found.group(1) else default


def _compiler(build: Build, headers: Path) -> list[str]:
    """The compiler's command with the include path: the given Include folder and the build's pyconfig.h."""
    folders = (headers, headers / "internal", headers / "internal/mimalloc", build.tree)
    return [*shlex.split(_make_variable(build.tree, "CC", "cc")), "-std=c11", "-w",
            *(f"-I{folder}" for folder in folders)]


def _declared(declaration: str) -> list[str]:
    """The names that one declaration declares; "@" stands for the braces of a nested struct."""
    pointer = re.search(r"\(\s*\*\s*(\w+)\s*\)\s*\(", declaration)
    if pointer:
        return [pointer.group(1)]
    if ":" in declaration:
        return []
    first, *others = declaration.rpartition("@")[2].split(",")
    words = re.findall(r"\w+", first)
    least = 1 if "@" in declaration else 2
    return words[-1:] * (len(words) >= least) + [word for other in others for word in re.findall(r"\w+", other)[-1:]]


def member_names(inside: str) -> list[str]:
    """The names of a struct's members, from its preprocessed inside; bit-fields and unnamed members have none.

    >>> member_names("int a, *b; struct { int x; } c[3]; void (*f)(int); unsigned d : 1;")
    ['a', 'b', 'c', 'f']
    """
    inside = re.sub(r"__attribute__ ?\(\((?:[^()]|\([^()]*\))*\)\)|_Alignas ?\([^()]*\)|__extension__", " ", inside)
    while re.search(r"\{[^{}]*\}", inside):
        inside = re.sub(r"\{[^{}]*\}", "@", inside)
    names = []
    for declaration in inside.split(";"):
        names += _declared(re.sub(r"\[[^\]]*\]", " ", declaration))
    return names


def _all_members(build: Build, headers: Path, scratch: Path) -> dict[str, list[str]]:
    """The members of each struct of STRUCTS, as the preprocessor leaves them."""
    source = scratch / "members.c"
    source.write_text(_INCLUDES, encoding="utf-8")
    done = subprocess.run([*_compiler(build, headers), "-E", "-P", str(source)], capture_output=True, text=True)
    if done.returncode:
        raise BuildError(f"the headers can't be preprocessed: {done.stderr.strip().splitlines()[:1]}")
    bare = csource.blank(done.stdout)
    found = {name: bare[each.start:each.end] for each in csource.aggregates(bare) for name in each.names}
    missing = [name for name, tag in STRUCTS.items() if tag not in found]
    if missing:
        raise BuildError(f"definitions not found in upstream's headers: {', '.join(missing)}")
    return {name: member_names(found[tag]) for name, tag in STRUCTS.items()}


def _program(members: dict[str, list[str]]) -> str:
    lines = [_INCLUDES, "int main(void) {"]
    for struct, names in members.items():
        lines.append(f'printf("{struct} %zu\\n", sizeof({struct}));')
        lines += [f'printf("{struct}.{name} %zu\\n", offsetof({struct}, {name}));' for name in names]
    return "\n".join([*lines, "return 0; }", ""])


def _offsets(build: Build, headers: Path, program: str, scratch: Path, tag: str) -> dict[str, int]:
    source, executable = scratch / f"offsets-{tag}.c", scratch / f"offsets-{tag}"
    source.write_text(program, encoding="utf-8")
    done = subprocess.run([*_compiler(build, headers), "-o", str(executable), str(source)],
                          capture_output=True, text=True)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "error" in line]
        raise BuildError(f"the offsets program does not compile with the {tag} headers: {'; '.join(errors[:3])}")
    output = subprocess.run([executable], capture_output=True, text=True, check=True).stdout
    return {name: int(value) for name, value in (line.split() for line in output.splitlines())}


def _movable(members: dict[str, list[str]]) -> set[str]:
    """Sizes and offsets that may differ: see GROWS."""
    free = set()
    for struct, last in GROWS.items():
        free.add(struct)
        if last in members[struct]:
            after = members[struct].index(last) + 1
            free.update(f"{struct}.{name}" for name in members[struct][after:])
    return free


def offset_problems(build: Build, release: Release, scratch: Path) -> tuple[list[str], int]:
    """Sizes and offsets that differ from upstream's, and how many were compared.  Raises BuildError."""
    members = _all_members(build, release.root / "Include", scratch)
    program = _program(members)
    stock = _offsets(build, release.root / "Include", program, scratch, "stock")
    ours = _offsets(build, build.tree / "Include", program, scratch, "ours")
    free = _movable(members)
    moved: dict[str, list[str]] = {}
    for name, value in stock.items():
        if name not in free and ours[name] != value:
            struct, _, member = name.partition(".")
            moved.setdefault(struct, []).append(f"{member or 'size'} {value} -> {ours[name]}")
    problems = [f"{struct} does not have upstream's layout: {', '.join(places[:4])}{' ...' if places[4:] else ''}"
                for struct, places in moved.items()]
    return problems, len(stock) - len(free)


def exported(path: Path) -> set[str]:
    """The names that a binary exports, as nm tells."""
    done = subprocess.run(["nm", "-D", "--defined-only", path], capture_output=True, text=True)
    if done.returncode:
        raise BuildError(f"nm fails on {path}: {done.stderr.strip()}")
    rows = (line.split() for line in done.stdout.splitlines())
    return {row[-1] for row in rows if len(row) == 3 and row[1] in "TDBRVWGS" and "@" not in row[-1]}


def new_exports(names: Iterable[str], upstream: set[str]) -> list[str]:
    """Exported names that are not upstream's; the linker's own do not count."""
    return sorted(name for name in names if name not in upstream and not name.startswith(_LINKER))


def identifiers(blobs: Iterable[bytes]) -> set[str]:
    """Every identifier in C texts."""
    found: set[bytes] = set()
    for blob in blobs:
        found.update(_IDENTIFIER.findall(blob))
    return {name.decode("ascii") for name in found}


def exporting_files(build: Build) -> list[Path]:
    """The files that export the API: libpython when there is a shared one, and the interpreter."""
    shared = sorted(build.tree.glob("libpython3*.so*")) + sorted(build.tree.glob("libpython3*.dylib"))
    return [path for path in (*shared[:1], build.python) if path.is_file()]


_ASK = """
import importlib.util, sys, sysconfig
print(int.from_bytes(importlib.util.MAGIC_NUMBER[:2], "little"), sys.implementation.name,
      sysconfig.get_config_var("SOABI"), sys.implementation.cache_tag)
"""


def identity_problems(build: Build, magic: int) -> list[str]:
    """What the interpreter says of itself and must not."""
    done = subprocess.run([build.python, "-I", "-c", _ASK], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          env={"LD_LIBRARY_PATH": str(build.tree)})
    if done.returncode:
        raise BuildError(f"{build.python} does not work: {done.stderr.strip()[-200:]}")
    number, name, soabi, tag = done.stdout.split()
    short = "".join(build.version.split(".")[:2])
    problems = []
    if int(number) != magic:
        problems.append(f"the .pyc magic number is {number}, upstream's is {magic}")
    if name != "cpython" or tag != f"cpython-{short}":
        problems.append(f"sys.implementation says {name}, {tag}")
    if not re.match(rf"cpython-{short}[a-z]*(-|$)", soabi):
        problems.append(f"SOABI is {soabi}")
    return problems
