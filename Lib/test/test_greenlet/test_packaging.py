"""What tells pip and others that greenlet is there, in virtual environments too."""

import atexit
import functools
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

import greenlet

from .support import OURS, TIMEOUT

if not OURS:
    raise unittest.SkipTest("about the built-in greenlet, this is another one")

# What another greenlet would look like that somebody installs: it is not to be imported.
IMPOSTOR = "raise ImportError('this is not the built-in greenlet')\n"


def run(*command):
    env = {k: v for k, v in os.environ.items()
           if not k.startswith(("PYTHON", "PIP_")) and k != "VIRTUAL_ENV"}
    # Nothing here needs an index.
    env |= {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_CONFIG_FILE": os.devnull, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, env=env,
                          timeout=TIMEOUT, encoding="utf-8", errors="backslashreplace")


class Here(unittest.TestCase):

    def test_metadata(self):
        self.assertEqual(importlib.metadata.version("greenlet"), greenlet.__version__)
        metadata = importlib.metadata.metadata("greenlet")
        self.assertEqual(metadata["Name"], "greenlet")

    def test_lies_in_the_standard_library(self):
        stdlib = os.path.dirname(os.__file__)
        self.assertTrue(os.path.samefile(os.path.dirname(os.path.dirname(greenlet.__file__)),
                                         stdlib))
        directory = os.path.join(stdlib, f"greenlet-{greenlet.__version__}.dist-info")
        self.assertLessEqual({"METADATA", "INSTALLER", "RECORD"}, set(os.listdir(directory)))
        # Empty, so that pip does not take it for something to delete.
        self.assertEqual(os.path.getsize(os.path.join(directory, "RECORD")), 0)

    def test_is_built_in(self):
        spec = sys.modules["greenlet._greenlet"].__spec__
        self.assertEqual(spec.origin, "built-in")

    @unittest.skipUnless(os.path.exists("/proc/self/maps"), "this system does not tell what is loaded")
    def test_library_that_tools_look_for(self):
        # memray follows greenlets once a library of this name is loaded: it attributed
        # memory to the wrong stacks.
        code = "def loaded():\n" \
               "    with open('/proc/self/maps') as file:\n" \
               "        return '/_greenlet.' in file.read()\n" \
               "before = loaded()\n" \
               "import greenlet, _greenlet, sys\n" \
               "print(before, loaded(), sys.modules['greenlet._greenlet'] is _greenlet)\n"
        done = run(sys.executable, "-c", code)
        self.assertEqual((done.stdout.split(), done.stderr), (["False", "True", "True"], ""))


@functools.cache
def environment():
    """The Python of a virtual environment, made once (in random order a class is set up again and
    again), with pip from its bundled wheel; nothing is downloaded."""
    directory = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, directory)
    done = run(sys.executable, "-m", "venv", directory)
    if done.returncode:
        raise unittest.SkipTest("no virtual environment can be made: "
                                f"{(done.stdout + done.stderr).strip().splitlines()[-1]}")
    return os.path.join(directory, "bin", "python")


class VirtualEnvironment(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.python = environment()

    def ok(self, *args):
        done = run(self.python, *args)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_metadata(self):
        code = "import importlib.metadata as m; print(m.version('greenlet'))"
        self.assertEqual(self.ok("-c", code).strip(), greenlet.__version__)

    def test_pip_knows_it(self):
        self.assertRegex(self.ok("-m", "pip", "list"), rf"(?m)^greenlet +{greenlet.__version__}\b")
        self.assertIn("No broken requirements", self.ok("-m", "pip", "check"))
        self.assertIn(f"greenlet=={greenlet.__version__}", self.ok("-m", "pip", "freeze", "--all"))

    def test_requirements_are_satisfied(self):
        for requirement in "greenlet", "greenlet>=3.2.2", "greenlet>=3.1.1,<4.0.0", \
                f"greenlet=={greenlet.__version__}":
            self.assertIn("Requirement already satisfied",
                          self.ok("-m", "pip", "install", requirement))

    def test_cannot_be_uninstalled(self):
        done = run(self.python, "-m", "pip", "uninstall", "-y", "greenlet")
        self.assertIn("greenlet", done.stdout + done.stderr)
        self.ok("-c", "import greenlet, greenlet._greenlet")
        self.assertTrue(os.path.exists(greenlet.__file__))

    def test_a_copy_in_site_packages_does_not_shadow_it(self):
        code = "import sysconfig; print(sysconfig.get_path('purelib'))"
        site = self.ok("-c", code).strip()
        copy = os.path.join(site, "greenlet")
        os.mkdir(copy)
        path = os.path.join(copy, "__init__.py")
        try:
            with open(path, "w", encoding="utf-8") as file:
                file.write(IMPOSTOR)
            code = "import greenlet; print(greenlet.greenlet(lambda: 5).switch())"
            self.assertEqual(self.ok("-c", code), "5\n")
        finally:
            os.remove(path)
            os.rmdir(copy)


if __name__ == "__main__":
    unittest.main()
