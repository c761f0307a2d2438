"""Tests of how configure chooses a release and verifies it, on small made-up releases.

Run by unittest or pytest, any Python.  Nothing is compiled and nothing fetched: the tarballs lie in
the cache, and their configure is a stand-in.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Tools/check_overlay"))

import csource
from test_check_overlay import CEVAL, CEVAL_HUNK, RELEASE, diff

TESTED, UNTESTED = "3.13.1", "3.13.2"
FILES = RELEASE | {
    "configure": "#!/bin/sh\necho all: >Makefile\n",
    "Modules/one.c": "", "Objects/one.c": "", "Parser/one.c": "", "Programs/one.c": "",
}
CHECKED = f"Python {UNTESTED} is known but was not tested"


class ReleaseCase(unittest.TestCase):
    """An overlay of one file and one patch; in the cache a tested release, and a newer one."""

    def setUp(self) -> None:
        self.top = Path(tempfile.mkdtemp(prefix="test-releases-"))
        self.addCleanup(shutil.rmtree, self.top)
        self.repo, self.cache, self.build = (self.top / name for name in ("repo", "cache", "build"))
        self.cache.mkdir()
        self.build.mkdir()
        for name in ("configure", "Makefile.pre.in", "Tools/build", "Tools/check_overlay"):
            source, target = ROOT / name, self.repo / name
            copy = shutil.copytree if source.is_dir() else shutil.copy
            target.parent.mkdir(parents=True, exist_ok=True)
            copy(source, target)
        helper = csource.digest(csource.extract(CEVAL, "helper") or "")
        self.write("Tools/check_overlay/relies.txt", f"Python/ceval.c helper {helper} it returns 0\n")
        self.write("Stackless/one.c", "int one;\n")
        self.write("Python/ceval.c.patch", diff("Python/ceval.c", CEVAL_HUNK))
        self.rows: dict[str, str] = {}
        self.release(UNTESTED)
        self.release(TESTED)

    def write(self, path: str, text: str) -> None:
        target = self.repo / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    def release(self, version: str, changed: dict[str, str] | None = None) -> Path:
        """Put a release into the cache and into the table of pinned ones."""
        files = FILES | {"Include/patchlevel.h": f'#define PY_VERSION "{version}"\n'} | (changed or {})
        source = self.top / "source" / f"Python-{version}"
        for path, text in files.items():
            target = source / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        (source / "configure").chmod(0o755)
        tarball = self.cache / f"Python-{version}.tar.xz"
        with tarfile.open(tarball, "w:xz") as archive:
            archive.add(source, source.name)
        tree = "-" if version == UNTESTED else self.tree_hash(source)
        self.rows[version] = f"{version} {hashlib.sha256(tarball.read_bytes()).hexdigest()} {tree}"
        self.write("Tools/build/upstream.txt", "".join(f"{row}\n" for row in self.rows.values()))
        return tarball

    def tree_hash(self, folder: Path) -> str:
        script = '. "$0"; tree_sha256 "$1"'
        return subprocess.run(["sh", "-c", script, str(ROOT / "Tools/build/common.sh"), str(folder)],
                              check=True, capture_output=True, text=True).stdout.strip()

    def configure(self, *options: str, status: int = 0) -> str:
        """Run it; its output, both streams."""
        done = subprocess.run(
            [str(self.repo / "configure"), f"--cache-dir={self.cache}",
             f"PYTHON_FOR_REGEN={sys.executable}", *options],
            cwd=self.build, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True)
        self.assertEqual(done.returncode, status, done.stdout)
        return done.stdout

    def built(self, path: str) -> str:
        return (self.build / "tree" / path).read_text(encoding="utf-8")


class ChoiceTests(ReleaseCase):
    def test_the_default_is_the_newest_that_is_tested(self) -> None:
        output = self.configure()
        self.assertIn(f"CPython {TESTED}, source in", output)
        self.assertNotIn("not tested", output)
        self.assertIn("hook();", self.built("Python/ceval.c"))

    def test_what_is_known_but_not_tested_is_in_the_help(self) -> None:
        self.assertIn(f"the CPython release: {TESTED}; or, known but not tested, {UNTESTED}",
                      self.configure("--help"))

    def test_an_unknown_release_is_refused_with_those_that_there_are(self) -> None:
        output = self.configure("--upstream-version=3.13.7", status=1)
        self.assertIn(f"Python 3.13.7 is not one of the pinned releases: {TESTED}; "
                      f"or, known but not tested, {UNTESTED}", output)


class UntestedTests(ReleaseCase):
    by_name = f"--upstream-version={UNTESTED}"

    def test_by_name_it_is_taken_and_says_what_was_checked(self) -> None:
        output = self.configure(self.by_name)
        self.assertIn(f"{CHECKED} with this overlay.  Checked: its tarball has the pinned SHA-256; "
                      "all patches apply without fuzz; opcodes,", output)
        self.assertIn("are as in the tested releases.  Not checked:", output)
        self.assertIn(UNTESTED, self.built("Include/patchlevel.h"))
        self.assertIn("hook();", self.built("Python/ceval.c"))

    def test_a_patch_that_needs_fuzz_refuses_it(self) -> None:
        self.release(UNTESTED, {"Python/ceval.c": CEVAL.replace("return helper(b)", "return helper(b + 1)")})
        output = self.configure(self.by_name, status=1)
        self.assertIn(f"Python/ceval.c.patch does not apply to CPython {UNTESTED} without fuzz", output)
        self.assertNotIn(CHECKED, output)

    def test_a_changed_definition_that_we_rely_on_is_named(self) -> None:
        self.release(UNTESTED, {"Python/ceval.c": CEVAL.replace("return 0", "return 1")})
        output = self.configure(self.by_name)
        self.assertIn(f"PROBLEM: {UNTESTED}: Python/ceval.c helper has changed", output)
        self.assertIn("it returns 0", output)
        self.assertIn("stackless: warning: what is not as in the tested releases is named above", output)
        self.assertIn(f"{CHECKED} with this overlay.", output)
        self.assertIn("were compared: see the warning", output)

    def test_a_tarball_with_another_hash_is_refused(self) -> None:
        given = shutil.copy(self.cache / f"Python-{UNTESTED}.tar.xz", self.top / "given.tar.xz")
        with open(given, "ab") as stream:
            stream.write(b"x")
        output = self.configure(self.by_name, f"--with-upstream={given}", status=1)
        self.assertIn(f"is refused: its SHA-256 ({hashlib.sha256(Path(given).read_bytes()).hexdigest()}) "
                      f"is not that of Python {UNTESTED}", output)

    def test_a_given_tarball_does_not_choose_it(self) -> None:
        tarball = self.cache / f"Python-{UNTESTED}.tar.xz"
        output = self.configure(f"--with-upstream={tarball}", status=1)
        self.assertIn(f"is Python {UNTESTED}, which is known but was not tested", output)
        self.assertIn(f"say --upstream-version={UNTESTED} too", output)
        self.assertIn(CHECKED, self.configure(f"--with-upstream={tarball}", self.by_name))

    def test_a_given_tree_cannot_be_verified(self) -> None:
        tree = self.top / "source" / f"Python-{UNTESTED}"
        output = self.configure(f"--with-upstream={tree}", self.by_name, status=1)
        self.assertIn("of which only the tarball is known", output)

    def test_an_unpacked_tree_that_was_modified_is_made_anew(self) -> None:
        self.configure(self.by_name, "--fetch-only")
        source = self.cache / f"Python-{UNTESTED}/Python/ceval.c"
        self.configure(self.by_name, "--fetch-only")
        source.write_text("modified\n")
        self.assertIn("was modified", self.configure(self.by_name, "--fetch-only"))
        self.assertEqual(source.read_text(), CEVAL)

    def test_without_a_python_it_is_checked_once_there_is_one(self) -> None:
        self.configure(self.by_name)
        settings = self.build / "config.sh"
        stock = self.top / "stock"
        stock.mkdir()
        (stock / "python").symlink_to(sys.executable)
        with open(settings, "a") as stream:
            stream.write(f"hostpython=''\nstockdir='{stock}'\n")
        (self.build / "merged/release-checked").unlink()
        script = ["sh", str(self.repo / "Tools/build/check_release.sh"), str(self.build)]
        first, second = (subprocess.run(script, check=True, capture_output=True, text=True).stdout
                         for _ in range(2))
        self.assertIn(CHECKED, first)
        self.assertEqual(second, "")


if __name__ == "__main__":
    unittest.main()
