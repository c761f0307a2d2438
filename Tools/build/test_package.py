"""Tests of package.py on a made-up tree.  Any Python from 3.12 on."""
from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest
from pathlib import Path

import package

PREFIX = "/opt/made-up"


class PackageTests(unittest.TestCase):

    def setUp(self) -> None:
        self.top = Path(tempfile.mkdtemp(prefix="test package "))
        self.addCleanup(shutil.rmtree, self.top)
        self.tree = self.top / "stage" / PREFIX.lstrip("/")
        for name, text in {
            "bin/python3.99": f'#!/bin/sh\nexec {sys.executable} "$@"\n',
            "bin/tool": f"#!{PREFIX}/bin/python3.99\nimport sys\nprint('tool', *sys.argv[1:])\n",
            "bin/other": "#!/bin/sh\necho other\n",
            "bin/foreign": "#!/usr/bin/python3.1\n",
            "lib/pkgconfig/python.pc": f"prefix={PREFIX}\nlibdir=${{prefix}}/lib\n",
            "lib/python3.99/_sysconfigdata_x.py":
                f"build_time_vars = {{'A': '{PREFIX}/lib', 'B': '-I{PREFIX}/include', 'C': 3, 'D': '{PREFIX}-not/lib',\n"
                f"                   'E': '{PREFIX}', 'F': '/else{PREFIX}/lib'}}\n",
            "lib/python3.99/__pycache__/_sysconfigdata_x.cpython-399.pyc": "old",
        }.items():
            path = self.tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            path.chmod(0o755)
        os.symlink("python3.99", self.tree / "bin" / "python3")

    def test_scripts(self) -> None:
        package.relocate(self.tree, PREFIX)
        moved = self.tree.rename(self.top / "else where")
        os.symlink(moved / "bin" / "tool", self.top / "link")
        for command in (moved / "bin" / "tool", self.top / "link"):
            done = subprocess.run([command, "a b", "c"], text=True, capture_output=True)
            self.assertEqual((done.returncode, done.stdout), (0, "tool a b c\n"), done.stderr)
        self.assertEqual((moved / "bin" / "other").read_text(), "#!/bin/sh\necho other\n")
        self.assertEqual((moved / "bin" / "foreign").read_text(), "#!/usr/bin/python3.1\n")

    def test_sysconfig(self) -> None:
        package.relocate(self.tree, PREFIX)
        path = self.tree / "lib/python3.99/_sysconfigdata_x.py"
        variables: dict[str, object] = {}
        exec(path.read_text(encoding="utf-8"), variables)
        here = sys.base_prefix
        # Only as a whole path, or an option's.
        self.assertEqual(variables["build_time_vars"],
                         {"A": f"{here}/lib", "B": f"-I{here}/include", "C": 3, "D": f"{PREFIX}-not/lib", "E": here,
                          "F": f"/else{PREFIX}/lib"})
        self.assertNotIn("_relocate", variables)
        self.assertEqual(list(path.parent.glob("__pycache__/*")), [])

    def test_pkgconfig(self) -> None:
        package.relocate(self.tree, PREFIX)
        self.assertEqual((self.tree / "lib/pkgconfig/python.pc").read_text(),
                         "prefix=${pcfiledir}/../..\nlibdir=${prefix}/lib\n")

    def test_no_tree(self) -> None:
        shutil.rmtree(self.tree / "lib" / "python3.99")
        with self.assertRaisesRegex(package.Broken, "no installed tree"):
            package.relocate(self.tree, PREFIX)

    def test_archive(self) -> None:
        archive = self.top / "a-1.tar.gz"
        digest = package.pack(self.tree, archive)
        self.assertEqual((self.top / "a-1.tar.gz.sha256").read_text(), f"{digest}  a-1.tar.gz\n")
        with tarfile.open(archive) as stream:
            members = {member.name: member for member in stream}
        self.assertIn("a-1/bin/tool", members)
        self.assertTrue(all(name.startswith("a-1/") for name in members))
        self.assertEqual(members["a-1/bin/python3"].linkname, "python3.99")
        self.assertEqual({member.uid for member in members.values()}, {0})
        self.assertEqual(int(members["a-1/bin/tool"].mtime), int((self.tree / "bin/tool").stat().st_mtime))

    def test_wrong_checksum(self) -> None:
        archive = self.top / "a-1.tar.gz"
        package.pack(self.tree, archive)
        archive.write_bytes(archive.read_bytes()[:-1] + b"x")
        with self.assertRaisesRegex(package.Broken, "checksum"):
            package.use(archive, self.top / "else")

    def test_a_package_that_does_not_work_is_none(self) -> None:
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors):
            status = package.main(["--stage", str(self.top / "stage"), "--prefix", PREFIX, "--version", "9",
                                   "--out", str(self.top)])
        self.assertEqual(status, 1)
        # This "python3" knows no stackless, or is not in the folder.
        self.assertRegex(errors.getvalue(), "(?s)no package: from the archive, .*python3 -c .*fails")


if __name__ == "__main__":
    unittest.main()
