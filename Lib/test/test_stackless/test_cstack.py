"""Moving the C stack pointer, and slices of C stack: C programs of their own.

cstack_test.c is compiled together with the two files that it tests, without
Python's headers, by whatever compilers and for whatever processors there are.
"""

from __future__ import annotations

import functools
import os
import platform
import random
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
SOURCES = [os.path.join(ROOT, "Stackless", "cstack", "switch_stack.c"),
           os.path.join(ROOT, "Stackless", "cstack", "cstack.c"),
           os.path.join(HERE, "cstack_test.c")]
FLAGS = ["-g", "-DSTACKLESS_STANDALONE", "-I" + ROOT]

# A program that takes this long (seconds) hangs.
TIMEOUT = 300


def run(command: list[str]) -> subprocess.CompletedProcess:
    return subprocess.run(command, capture_output=True, timeout=TIMEOUT,
                          encoding="utf-8", errors="backslashreplace")


@functools.cache
def compiles(*command: str) -> bool:
    """Does this compiler, with these flags, make a program?"""
    if shutil.which(command[0]) is None:
        return False
    with tempfile.TemporaryDirectory() as directory:
        source = os.path.join(directory, "t.c")
        with open(source, "w", encoding="utf-8") as file:
            file.write("#include <stdlib.h>\nint main(void) { return 0; }\n")
        return not run([*command, source, "-o", source + ".out"]).returncode


class CStackTestCase(unittest.TestCase):
    """Compiles the test program and runs it."""

    compiler: list[str] = []
    emulator: list[str] = []

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for source in SOURCES:
            if not os.path.exists(source):
                raise unittest.SkipTest(
                    f"no {source}: this is not a build directory")

    def setUp(self):
        super().setUp()
        self.directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.directory)

    def compile(self, *flags: str) -> str:
        command = [*self.compiler, *flags]
        if not compiles(*command):
            self.skipTest(f"{shlex.join(command)!r} makes no program")
        program = os.path.join(self.directory, "program")
        self.succeed([*command, *FLAGS, *SOURCES, "-o", program,
                      "-lm", "-ldl"])
        return program

    def succeed(self, command: list[str]) -> str:
        result = run(command)
        if result.returncode:
            self.fail(f"{shlex.join(command)}: status {result.returncode}\n"
                      f"{result.stdout}{result.stderr}")
        if result.stdout.startswith("skipped: "):
            self.skipTest(result.stdout.strip())
        return result.stdout

    def check(self, switches: int, *flags: str) -> None:
        """Compiled with *flags*, the program survives so many switches."""
        program = self.compile(*flags)
        self.succeed([*self.emulator, program, str(switches),
                      str(random.getrandbits(30))])


class Native(CStackTestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        names = [sysconfig.get_config_var("CC") or "", "cc", "gcc", "clang"]
        for name in names:
            cls.compiler = shlex.split(name)
            if cls.compiler and compiles(*cls.compiler):
                break
        else:
            raise unittest.SkipTest("no C compiler")

    def test_not_optimised(self):
        self.check(100_000, "-O0")

    def test_million_switches(self):
        self.check(1_000_000, "-O2")

    def test_stack_protector(self):
        self.check(200_000, "-O2", "-fstack-protector-strong")

    def test_no_frame_pointer(self):
        self.check(200_000, "-O3", "-fomit-frame-pointer", "-fPIC")

    def test_link_time_optimisation(self):
        self.check(200_000, "-O2", "-flto")

    def test_cxx_exceptions(self):
        compiler = ["c++", "-std=c++17"]
        if not compiles(*compiler, "-x", "c++"):
            self.skipTest("no C++ compiler")
        library = os.path.join(self.directory, "body.so")
        self.succeed([*compiler, "-g", "-O2", "-fPIC", "-shared",
                      os.path.join(HERE, "cstack_test.cpp"), "-o", library])
        program = self.compile("-O2")
        self.succeed([program, "cxx", library])


class AArch64(CStackTestCase):
    """Compiled for the other processor, and emulated."""

    compiler = ["aarch64-linux-gnu-gcc"]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if platform.machine() in ("aarch64", "arm64"):
            raise unittest.SkipTest("that is this machine: see Native")
        for name in ("qemu-aarch64", "qemu-aarch64-static"):
            path = shutil.which(name)
            if path is not None:
                cls.emulator = [path]
                break
        else:
            raise unittest.SkipTest("no qemu-aarch64")

    def test_not_optimised(self):
        self.check(50_000, "-static", "-O0")

    def test_optimised(self):
        self.check(200_000, "-static", "-O2", "-fstack-protector-strong")

    def test_branch_protection(self):
        self.check(50_000, "-static", "-O2", "-mbranch-protection=standard")


if __name__ == "__main__":
    unittest.main()
