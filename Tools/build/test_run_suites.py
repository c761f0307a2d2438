"""Tests of how our suites are cut into parts and run, on a made-up interpreter.  Any Python."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import sys
import tempfile
import unittest
from pathlib import Path

import profile_task
import run_suites
from run_suites import Part, Suite

# Plays "python": says where its library is, or notes what pytest is asked to do and ends as it says.
FAKE = """\
#!{python}
import json, os, sys
here = os.path.dirname(os.path.abspath(__file__))
if "os.__file__" in sys.argv[2]:
    print(os.path.join(here, "Lib"))
    sys.exit()
tests = [word for word in sys.argv if word.startswith("test.")]
with open(os.path.join(here, "runs"), "a") as stream:
    stream.write(json.dumps([os.environ["STACKLESS_DEBUG"], tests]) + "\\n")
print("3 passed in 0.01s")
fails = os.path.join(here, "fails")
sys.exit(json.load(open(fails)).get(tests[0], 0) if os.path.exists(fails) and tests else 0)
"""


class CutTests(unittest.TestCase):
    suite = Suite("made up", Path("python"), "", [f"test_{n:02}" for n in range(23)])

    def test_each_test_is_in_one_part_and_the_order_stays(self) -> None:
        parts = run_suites.cut(self.suite, 4, 1)
        self.assertEqual(sorted(test for part in parts for test in part.tests), self.suite.tests)
        self.assertEqual([len(part.tests) for part in parts], [6, 6, 6, 5])
        for part in parts:
            self.assertEqual(part.tests, sorted(part.tests))

    def test_the_seed_decides(self) -> None:
        first, again, other = (run_suites.cut(self.suite, 4, seed) for seed in (1, 1, 2))
        self.assertEqual(first, again)
        self.assertNotEqual(first, other)

    def test_no_more_parts_than_tests(self) -> None:
        few = Suite("few", Path("python"), "", ["one", "two"])
        self.assertEqual(sorted(part.tests for part in run_suites.cut(few, 8, 1)), [["one"], ["two"]])


class FailureTests(unittest.TestCase):
    def failed(self, *statuses: int) -> list[int]:
        suite = Suite("made up", Path("python"), "", [])
        return [part.status for part in run_suites.failed(
            [Part(suite, [], number, 9, status=status) for number, status in enumerate(statuses)])]

    def test_a_failed_part(self) -> None:
        self.assertEqual(self.failed(0, 1, 0, -11), [1, -11])

    def test_parts_in_which_no_test_was_selected(self) -> None:
        self.assertEqual(self.failed(0, 5), [])
        self.assertEqual(self.failed(5, 5), [5, 5])


class RunTests(unittest.TestCase):
    """Whole runs."""

    def setUp(self) -> None:
        self.top = Path(tempfile.mkdtemp(prefix="test-run-suites-"))
        self.addCleanup(shutil.rmtree, self.top)
        self.python = self.top / "python"
        self.python.write_text(FAKE.format(python=sys.executable))
        self.python.chmod(0o755)
        for package, count in (("test_stackless", 5), ("test_greenlet", 3)):
            folder = self.top / "Lib/test" / package
            folder.mkdir(parents=True)
            for number in range(count):
                (folder / f"test_{number}.py").touch()
            (folder / "support.py").touch()

    def run_suites(self, *options: str, jobs: int = 2) -> tuple[int, str, list[tuple[str, list[str]]]]:
        """Exit status, output, and mode and tests of each process."""
        with contextlib.redirect_stdout(io.StringIO()) as output, contextlib.redirect_stderr(output):
            status = run_suites.main(["--python", str(self.python), "--site", str(self.top),
                                      "--jobs", str(jobs), *options])
        runs = [json.loads(line) for line in (self.top / "runs").read_text().splitlines()]
        return status, output.getvalue(), runs

    def test_all_files_of_both_packages(self) -> None:
        status, output, runs = self.run_suites("-k", "channel")
        self.assertEqual(status, 0, output)
        self.assertEqual(len(runs), 4)
        self.assertEqual({mode for mode, _ in runs}, {""})
        self.assertEqual(sorted(test for _, tests in runs for test in tests),
                         [f"test.test_greenlet.test_{n}" for n in range(3)]
                         + [f"test.test_stackless.test_{n}" for n in range(5)])
        self.assertIn("3 passed in 0.01s", output)
        self.assertRegex(output, r"(?m)^time: .*: test suite$")

    def test_alone_nothing_is_cut(self) -> None:
        self.assertEqual(len(self.run_suites(jobs=1)[2]), 1)

    def test_the_modes_of_the_debug_build(self) -> None:
        status, output, runs = self.run_suites("--debug", str(self.python), "--seed", "7")
        counts = {mode: sum(each == mode for each, tests in runs if tests) for mode, _ in runs}
        self.assertEqual(counts, {"random:7": 4, "hard": 4, "": 4, "shuffle:7": 3})

    def test_a_failure_says_how_to_repeat_it(self) -> None:
        (self.top / "fails").write_text(json.dumps({"test.test_greenlet.test_0": 1,
                                                    "test.test_stackless.test_0": 1}))
        status, output, _ = self.run_suites(jobs=1)
        self.assertEqual(status, 1)
        self.assertRegex(output, r"error: failed: test suite .*; to repeat:\n +STACKLESS_DEBUG= \S+python -c")


class TrainingTests(unittest.TestCase):
    """What optimised builds are trained on runs; that it does nobody sees in the build."""

    def test_it_runs(self) -> None:
        try:
            import stackless  # noqa: F401
        except ImportError:
            self.skipTest("run by an interpreter that is not ours")
        profile_task.train(operations=1)


if __name__ == "__main__":
    unittest.main()
