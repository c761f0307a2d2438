"""Make an archive of an installed tree that runs from any folder.  Called by "make package".

    package.py --stage DIR --prefix PATH --version X.Y.Z --out DIR

--stage is what was installed into (DESTDIR), --prefix the place below it.  The results are
OUT/stackless-python-X.Y.Z-PLATFORM.tar.gz, the same name with .sha256, which `sha256sum -c` reads, and, after the
archive has been unpacked into another folder and used there, a line that says so.

What knows where it was installed is made to find out: scripts in bin/, pkg-config's files, and the variables of module
sysconfig.  (python3-config does so anyway.)  The libraries that the interpreter needs are the system's: the archive
runs where these and a C library at least as new are.
"""
from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
TIMEOUT = 300                # seconds for one command of the check

# The first lines of a script in bin/: a shell script that is a Python program, too.
_HEAD = """\
#!/bin/sh
'''exec' "$(dirname "$(readlink -f "$0")")/{name}" "$0" "$@"
' '''
"""
_SYSCONFIG = """

# The archive may have been unpacked anywhere.
def _relocate():
    import re
    import sys
    here = re.compile({pattern!r})
    for name, value in build_time_vars.items():
        if isinstance(value, str):
            build_time_vars[name] = here.sub(lambda match: sys.base_prefix, value)


_relocate()
del _relocate
"""


class Broken(Exception):
    """The tree or the archive is not what it should be."""


def _pattern(prefix: str) -> str:
    """The prefix as a whole path, or the beginning of one, or of an option's."""
    return rf"(?:(?<![\w./-])|(?<=-[IL])){re.escape(prefix)}(?![\w.-])"


def _scripts(tree: Path) -> Iterator[tuple[Path, str, bytes]]:
    """Of each script for an interpreter of this tree: the path, the interpreter's name, what follows the first line."""
    for path in sorted((tree / "bin").iterdir()):
        if path.is_file() and not path.is_symlink():
            first, _, rest = path.read_bytes().partition(b"\n")
            match = re.match(rb"#!\s*(?:/\S*/)?(python3?(?:\.\d+)?)\s*$", first)
            if match and (tree / "bin" / match[1].decode()).exists():
                yield path, match[1].decode(), rest


def relocate(tree: Path, prefix: str) -> None:
    """Let what is in the tree, which was installed for *prefix*, find out where it is."""
    for path, name, rest in list(_scripts(tree)):
        path.write_bytes(_HEAD.format(name=name).encode() + rest)
    for path in tree.glob("lib/pkgconfig/*.pc"):
        if not path.is_symlink():
            text = path.read_text(encoding="utf-8")
            path.write_text(re.sub(r"(?m)^prefix=.*$", "prefix=${pcfiledir}/../..", text), encoding="utf-8")
    found = list(tree.glob("lib/python3.*/_sysconfigdata_*.py"))
    if not found:
        raise Broken(f"{tree} has no lib/python3.*/_sysconfigdata_*.py: it is no installed tree")
    for path in found:
        with open(path, "a", encoding="utf-8") as stream:
            stream.write(_SYSCONFIG.format(pattern=_pattern(prefix)))
        for old in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
            old.unlink()               # they are of what it was


def pack(tree: Path, archive: Path) -> str:
    """Write the archive, with one folder named as it is; its SHA-256."""
    def everybody(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = "root"
        return member

    name = archive.name.removesuffix(".tar.gz")
    with tarfile.open(archive, "w:gz", compresslevel=6) as stream:
        for path in sorted(tree.rglob("*")):
            # Times stay: byte code is valid for a source of one time only.
            stream.add(path, f"{name}/{path.relative_to(tree).as_posix()}", recursive=False, filter=everybody)
    with open(archive, "rb") as packed:
        digest = hashlib.file_digest(packed, "sha256").hexdigest()
    archive.with_name(archive.name + ".sha256").write_text(f"{digest}  {archive.name}\n", encoding="utf-8")
    return digest


def _run(*command: str | Path) -> str:
    environment = {key: value for key, value in os.environ.items()
                   if not key.startswith(("PYTHON", "LD_", "VIRTUAL_ENV"))}
    done = subprocess.run([str(word) for word in command], env=environment, timeout=TIMEOUT, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise Broken(f"from the archive, {' '.join(map(str, command))} fails:\n{done.stdout}")
    return done.stdout


_CHECK = """\
import greenlet, os, ssl, sqlite3, stackless, sys, sysconfig
here = os.path.realpath(sys.argv[1])
assert os.path.realpath(sys.prefix) == here, sys.prefix
for name in "LIBDIR", "INCLUDEPY", "LIBPL", "BINDIR":
    value = sysconfig.get_config_var(name)
    assert os.path.realpath(value).startswith(here) and os.path.isdir(value), (name, value)
assert stackless.__file__.startswith(sys.prefix), stackless
print("works")
"""


def use(archive: Path, folder: Path) -> None:
    """Unpack the archive into the folder, and use what is there.  Raises Broken."""
    digest, name = archive.with_name(archive.name + ".sha256").read_text(encoding="utf-8").split()
    with open(archive, "rb") as packed:
        if hashlib.file_digest(packed, "sha256").hexdigest() != digest or name != archive.name:
            raise Broken(f"the checksum of {archive} is wrong")
    with tarfile.open(archive) as stream:
        stream.extractall(folder, filter="tar")
    here = folder / archive.name.removesuffix(".tar.gz")
    python = here / "bin" / "python3"
    _run(python, "-c", _CHECK, here)
    examples = REPOSITORY / "Doc" / "examples"
    if _run(python, examples / "jobs.py") != (examples / "jobs.txt").read_text(encoding="utf-8"):
        raise Broken("the tutorial's program does not print what it should")
    _run(here / "bin" / "pip3", "--version")
    _run(python, "-m", "venv", folder / "venv")
    _run(folder / "venv" / "bin" / "python", "-c", "import stackless")
    _run(folder / "venv" / "bin" / "pip", "--version")
    if shutil.which("cc"):
        flags = _run(here / "bin" / "python3-config", "--cflags", "--ldflags", "--embed").split()
        for source in sorted(examples.glob("*.c")):
            _run("cc", source, "-o", folder / source.stem, *flags)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", type=Path, required=True, metavar="DIR", help="DESTDIR of the installation")
    parser.add_argument("--prefix", required=True, metavar="PATH", help="what configure was given")
    parser.add_argument("--version", required=True, metavar="X.Y.Z", help="of CPython")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the archive goes")
    args = parser.parse_args(argv)
    tree = args.stage / args.prefix.lstrip("/")
    archive = args.out / f"stackless-python-{args.version}-{sysconfig.get_platform()}.tar.gz"
    try:
        relocate(tree, args.prefix)
        digest = pack(tree, archive)
        with tempfile.TemporaryDirectory(prefix="another-folder-") as folder:
            use(archive, Path(folder))
    except (Broken, OSError) as reason:
        print(f"stackless: error: no package: {reason}", file=sys.stderr)
        return 1
    print(f"stackless: {archive} ({archive.stat().st_size / 1e6:.0f} MB) works from another folder; SHA-256 {digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
