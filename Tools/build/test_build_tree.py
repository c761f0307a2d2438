"""Tests that ./python does from its folder, not installed, all that it does in upstream's build tree.

Run by unittest or pytest with the ./python of a build.  Nothing is downloaded: setuptools is the one
that upstream's tests bring along.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import unittest
from pathlib import Path

TREE = Path(sys.executable).resolve().parent
SETTINGS = TREE.parent / "config.sh"
WHEELS = TREE / "Lib/test/wheeldata"

C_EXTENSION = """\
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include "greenlet/greenlet.h"

static PyObject *
answer(PyObject *self, PyObject *ignored)
{
    return PyLong_FromLong(42);
}

static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS}, {NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "NAME", NULL, 0, methods};

PyMODINIT_FUNC
PyInit_NAME(void)
{
    PyGreenlet_Import();
    return PyErr_Occurred() ? NULL : PyModule_Create(&module);
}
"""

EMBEDDING = """\
#include <Python.h>

int
main(void)
{
    Py_Initialize();
    PyRun_SimpleString(
        "import stackless\\n"
        "stackless.tasklet(print)('in a tasklet')\\n"
        "stackless.run()\\n");
    return Py_FinalizeEx();
}
"""

SETUP = """\
from setuptools import Extension, setup
setup(name="in_c", version="1", ext_modules=[Extension("in_c", ["in_c.c"])])
"""


def setting(name: str) -> str:
    """What the build was configured with: a variable of its config.sh."""
    script = f'. "$0"; printf %s "${name}"'
    return subprocess.run(["sh", "-c", script, str(SETTINGS)], check=True, capture_output=True,
                          text=True).stdout


@unittest.skipUnless(SETTINGS.is_file(), "run by an interpreter that is not in a build tree of ours")
class BuildTreeCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.folder = Path(setting("topdir"))
        name = "python" if (cls.folder / "python").is_file() else "python.exe"
        cls.python = cls.folder / name

    def setUp(self) -> None:
        self.top = Path(tempfile.mkdtemp(prefix="test-build-tree-"))
        self.addCleanup(shutil.rmtree, self.top)

    def run_in(self, cwd: Path, *command: str | Path, **variables: str | Path) -> str:
        """Run a command as from a shell that knows nothing of this build; its output."""
        environment = {name: value for name, value in os.environ.items()
                       if not name.startswith(("PYTHON", "PIP_", "STACKLESS_", "LD_LIBRARY"))}
        environment.update((name, str(value)) for name, value in variables.items())
        done = subprocess.run([str(word) for word in command], cwd=cwd, env=environment,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=600)
        self.assertEqual(done.returncode, 0, f"{shlex.join(map(str, command))}:\n{done.stdout}")
        return done.stdout

    def config(self, *options: str) -> list[str]:
        return shlex.split(self.run_in(self.top, self.python.with_name("python-config"), *options))

    def write(self, name: str, text: str) -> Path:
        path = self.top / name
        path.write_text(text)
        return path


class EnvironmentTests(BuildTreeCase):
    def assertWorks(self, environment: Path, made_by: str = "") -> None:
        """Its Python starts, in the environment, on the library and modules of the build tree."""
        code = ("import encodings, math, stackless, sys; "
                "print(sys.prefix); print(encodings.__file__); print(sys.base_prefix)")
        for cwd in (self.top, Path("/")):
            with self.subTest(made_by, cwd=cwd):
                prefix, encodings, base = self.run_in(
                    cwd, environment / "bin/python", "-c", code).splitlines()
                self.assertEqual(Path(prefix).resolve(), environment.resolve())
                self.assertEqual(Path(encodings), TREE / "Lib/encodings/__init__.py")
                self.assertNotEqual(base, prefix)

    def test_with_links_and_with_copies(self) -> None:
        # The environment's home was the folder of ./python, which has no library beside it:
        # "Failed to import encodings module".
        for options in ([], ["--symlinks"], ["--copies"]):
            environment = self.top / f"env{''.join(options)}"
            self.run_in(self.top, self.python, "-m", "venv", "--without-pip", *options, environment)
            self.assertWorks(environment, f"venv {options}")

    def test_from_the_folder_of_the_build(self) -> None:
        environment = self.top / "env"
        self.run_in(self.folder, f"./{self.python.name}", "-m", "venv", "--without-pip", environment)
        self.assertWorks(environment)

    def test_through_a_link_and_through_path(self) -> None:
        (self.top / "bin").mkdir()
        link = self.top / "bin/spython"
        link.symlink_to(self.python)
        self.run_in(self.top, link, "-m", "venv", "--without-pip", "one")
        self.assertWorks(self.top / "one", "a link")
        path = f"{link.parent}{os.pathsep}{os.environ['PATH']}"
        self.run_in(self.top, "sh", "-c", "spython -m venv --without-pip two", PATH=path)
        self.assertWorks(self.top / "two", "PATH")

    def test_of_an_environment(self) -> None:
        self.run_in(self.top, self.python, "-m", "venv", "--without-pip", "one")
        self.run_in(self.top, "one/bin/python", "-m", "venv", "--without-pip", "two")
        self.assertWorks(self.top / "two")

    def test_of_the_debug_build(self) -> None:
        debug = Path(setting("builddir")) / "debug/python"
        if not debug.is_file():
            self.skipTest("no debug build beside this one")
        self.run_in(self.top, debug, "-m", "venv", "--without-pip", "env")
        code = "import encodings, sys; print(hasattr(sys, 'gettotalrefcount'))"
        self.assertEqual(self.run_in(self.top, "env/bin/python", "-c", code), "True\n")

    def test_pip_installs_a_source_distribution_in_c(self) -> None:
        project = self.top / "project"
        project.mkdir()
        (project / "setup.py").write_text(SETUP)
        (project / "in_c.c").write_text(C_EXTENSION.replace("NAME", "in_c"))
        self.run_in(self.top, self.python, "-m", "venv", "env")
        install = [self.top / "env/bin/pip", "install", "--no-index", "--disable-pip-version-check"]
        # setuptools, and what it needs in older releases.
        self.run_in(self.top, *install, *WHEELS.glob("*.whl"))
        self.run_in(project, self.top / "env/bin/python", "setup.py", "-q", "sdist")
        self.run_in(self.top, *install, "--no-build-isolation", project / "dist/in_c-1.tar.gz")
        code = "import in_c; print(in_c.__file__); print(in_c.answer())"
        place, answer = self.run_in(self.top, "env/bin/python", "-c", code).splitlines()
        self.assertEqual(Path(place).name, f"in_c{sysconfig.get_config_var('EXT_SUFFIX')}")
        self.assertTrue(Path(place).resolve().is_relative_to((self.top / "env").resolve()), place)
        self.assertEqual(answer, "42")


class ModuleTests(BuildTreeCase):
    def test_ensurepip_and_pip(self) -> None:
        user = {"PYTHONUSERBASE": self.top / "user", "PIP_ROOT_USER_ACTION": "ignore"}
        self.run_in(self.top, self.python, "-m", "ensurepip", "--user", **user)
        self.assertIn(str(self.top / "user"),
                      self.run_in(self.top, self.python, "-m", "pip", "--version", **user))
        self.run_in(self.top, self.python, "-m", "pip", "install", "--user", "--no-index",
                    "--find-links", WHEELS, "setuptools", **user)
        code = "import setuptools; print(setuptools.__file__)"
        self.assertTrue(self.run_in(self.top, self.python, "-c", code, **user).startswith(
            str(self.top / "user")))

    def test_sysconfig(self) -> None:
        self.assertIn("Current installation scheme", self.run_in(self.top, self.python, "-m", "sysconfig"))
        code = ("import sysconfig; print(sysconfig.is_python_build()); "
                "print(sysconfig.get_path('include')); print(sysconfig.get_config_h_filename())")
        in_build, include, config_h = self.run_in(self.top, self.python, "-c", code).splitlines()
        self.assertEqual(in_build, "True")
        self.assertTrue((Path(include) / "Python.h").is_file(), include)
        self.assertTrue(Path(config_h).is_file(), config_h)

    def test_upstreams_tests(self) -> None:
        self.assertIn("Result: SUCCESS",
                      self.run_in(self.top, self.python, "-m", "test", "test_bool", "test_stackless",
                                  "-m", "test_bool", "-m", "*ArgumentsTests*"))


class CompilerTests(BuildTreeCase):
    """python-config, where upstream's script assumes that it is installed."""

    def test_an_extension_by_hand(self) -> None:
        source = self.write("by_hand.c", C_EXTENSION.replace("NAME", "by_hand"))
        suffix, = self.config("--extension-suffix")
        self.run_in(self.top, *shlex.split(setting("CC")), "-shared", "-fPIC", *self.config("--includes"),
                    source, "-o", f"by_hand{suffix}")
        code = "import by_hand; print(by_hand.answer())"
        self.assertEqual(self.run_in(self.top, self.python, "-c", code), "42\n")

    def test_a_program_that_embeds_it(self) -> None:
        source = self.write("embedding.c", EMBEDDING)
        flags = self.config("--cflags", "--ldflags", "--embed")
        self.run_in(self.top, *shlex.split(setting("CC")), source, "-o", "embedding", *flags)
        # A program elsewhere does not find the library of a build tree: upstream neither.
        library = os.pathsep.join([str(TREE / "Lib"), str(TREE / (TREE / "pybuilddir.txt").read_text())])
        self.assertIn("in a tasklet\n",
                      self.run_in(self.top, self.top / "embedding", PYTHONPATH=library))


if __name__ == "__main__":
    unittest.main()
