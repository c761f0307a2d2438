"""The programs of Tools/embed, linked with this interpreter's library and run."""

import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
import unittest

from .capi_support import compiler, include_flags, run_compiler
from .support import CHILD_TIMEOUT, COLLECTS

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__)))))
PROGRAMS = os.path.join(ROOT, "Tools", "embed")


def link_flags():
    """What links a program with libpython, of the build tree or installed."""
    name = sysconfig.get_config_var("LDLIBRARY") or ""
    directories = ([sysconfig.get_config_var("abs_builddir")] if sysconfig.is_python_build()
                   else [sysconfig.get_config_var("LIBPL"), sysconfig.get_config_var("LIBDIR")])
    for directory in filter(None, directories):
        library = os.path.join(directory, name)
        if name and os.path.exists(library):
            flags = [library, f"-Wl,-rpath,{directory}", "-lpthread"]
            for variable in ("LIBS", "SYSLIBS", "LINKFORSHARED"):
                flags += shlex.split(sysconfig.get_config_var(variable) or "")
            return flags
    raise unittest.SkipTest("there is no library of this interpreter to link with")


@unittest.skipUnless(os.path.isdir(PROGRAMS), "Tools/embed is not here")
class Embed(unittest.TestCase):

    def run_program(self, name, *args):
        """Compile and run it; what it writes."""
        flags = link_flags()
        with tempfile.TemporaryDirectory() as directory:
            program = os.path.join(directory, name)
            run_compiler([*compiler("c"), "-std=c11", "-Wall", "-g", "-O1", *include_flags(),
                          os.path.join(PROGRAMS, name + ".c"), "-o", program, *flags])
            env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            r = subprocess.run([program, *args], capture_output=True, timeout=CHILD_TIMEOUT,
                               env=env, encoding="utf-8", errors="backslashreplace")
        self.assertEqual(r.returncode, 0, r.stdout[-1000:] + r.stderr[-3000:])
        return r.stdout

    def test_game_loop(self):
        out = self.run_program("game_loop", "5").splitlines()
        self.assertEqual(len(out), 6)
        for line in out[:5]:
            self.assertIn("interrupted: yes", line)
        self.assertEqual(out[5], "switches: counted")

    def test_threads(self):
        # The number is one more after each of the three others.
        rounds = 20 if COLLECTS else 300
        self.assertEqual(self.run_program("threads", str(rounds)).strip(), str(rounds * 3))

    def test_again(self):
        times = 2 if COLLECTS else 5 if hasattr(sys, "gettotalrefcount") else 20
        self.assertEqual(self.run_program("again", str(times)).strip(), f"{times} times")


if __name__ == "__main__":
    unittest.main()
