"""Tests of the parts that need neither a network nor another interpreter."""
from __future__ import annotations

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import differential
import judge
import smoke_tests
from suites import CRASH, FAIL, PASS, SKIP, TIMEOUT, Module, Result, Suite, parse

MODULE = '''
import os, sys, time, unittest

class T(unittest.TestCase):
    def test_a_passes(self):
        pass
    def test_b_fails(self):
        self.fail("on purpose")
    def test_c_is_skipped(self):
        self.skipTest("a reason")
    def test_d_dies(self):
        os.abort()
    def test_e_hangs(self):
        time.sleep(600)
    def test_f_subtest(self):
        for i in range(2):
            with self.subTest(i=i):
                self.assertEqual(i, 0)
    def test_g_passes(self):
        pass

class Broken(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        raise OSError("no such thing")
    def test(self):
        pass
'''
MAIN = '\nif __name__ == "__main__":\n    unittest.main()\n'


class Running(unittest.TestCase):

    def run_module(self, text: str, name: str = "sample") -> dict[str, Result]:
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, f"{name}.py").write_text(text)
            suite = Suite("sample", "sample", "*.py", 3.0)
            return Module(suite, name, Path(sys.executable), Path(directory), Path(directory)).run()

    def check(self, results: dict[str, Result]) -> None:
        statuses = {name.removeprefix("sample.T.test_")[:1]: result.status for name, result in results.items()
                    if name.startswith("sample.T")}
        self.assertEqual(statuses, {"a": PASS, "b": FAIL, "c": SKIP, "d": CRASH, "e": TIMEOUT, "f": FAIL, "g": PASS})
        self.assertEqual(results["setUpClass (sample.Broken)"].status, FAIL)
        self.assertIn("on purpose", results["sample.T.test_b_fails"].text)

    def test_with_main(self) -> None:
        self.check(self.run_module(MODULE + MAIN))

    def test_without_main(self) -> None:
        self.check(self.run_module(MODULE))

    def test_script(self) -> None:
        self.assertEqual(self.run_module("print('fine')")["sample"].status, PASS)
        self.assertEqual(self.run_module("raise SystemExit(3)")["sample"].status, FAIL)
        self.assertEqual(self.run_module("import os; os.abort()")["sample"].status, CRASH)

    def test_recorder_tells_how_it_is_called(self) -> None:
        done = subprocess.run([sys.executable, str(HERE / "recorder.py")], capture_output=True)
        self.assertNotEqual(done.returncode, 0)


class Parsing(unittest.TestCase):

    def test_failure_stays(self) -> None:
        results, unfinished = parse("begin\tx\t\nfail\tx\toh\npass\tx\t\nbegin\ty\t\n")
        self.assertEqual(results["x"].status, FAIL)
        self.assertEqual(unfinished, ["y"])


class Judging(unittest.TestCase):

    def judge(self, ours: str | None, stock: str | None, known: dict[str, str] | None = None) -> str | None:
        def results(status: str | None) -> dict[str, Result]:
            return {} if status is None else {"m.t": Result(status)}
        verdicts = judge.compare("m", results(ours), results(stock), known or {})
        return verdicts[0].kind if verdicts else None

    def test_table(self) -> None:
        for ours, stock, kind in ((PASS, PASS, None), (SKIP, SKIP, None), (PASS, SKIP, None), (PASS, None, None),
                                  (FAIL, FAIL, judge.BOTH), (CRASH, FAIL, judge.BOTH), (PASS, FAIL, judge.BETTER),
                                  (FAIL, PASS, judge.WORSE), (CRASH, PASS, judge.WORSE), (SKIP, PASS, judge.WORSE),
                                  (None, PASS, judge.WORSE), (FAIL, SKIP, judge.WORSE), (FAIL, None, judge.WORSE)):
            with self.subTest(ours=ours, stock=stock):
                self.assertEqual(self.judge(ours, stock), kind)

    def test_known(self) -> None:
        known = {"m.*": "a reason"}
        self.assertEqual(self.judge(FAIL, PASS, known), judge.KNOWN)
        self.assertEqual(judge.unused(known, {"m.t"}, []), ["m.*"])
        self.assertEqual(judge.unused({"other": "r"}, {"m.t"}, []), [])

    def test_list_is_in_order(self) -> None:
        judge.read_known(HERE / "known.txt")
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, "known.txt")
            path.write_text("# comment\nname\n")
            with self.assertRaises(judge.ListError):
                judge.read_known(path)


class Differences(unittest.TestCase):

    def test_first_one_is_told(self) -> None:
        stock = ["0", "  a", "1", "  b", "  c", "exit status 0"]
        self.assertEqual(differential.difference(stock, stock), "")
        self.assertEqual(differential.difference(["0", "  a", "1", "  x", "  y"], stock), "program 1: x instead of b")
        self.assertEqual(differential.difference(stock[:2], stock), "program 0: nothing instead of 1")

    def test_programs_are_there(self) -> None:
        self.assertTrue(differential.PROGRAMS.is_file(), differential.PROGRAMS)


class Smoke(unittest.TestCase):

    def test_every_program_is_listed(self) -> None:
        self.assertEqual({path.stem for path in smoke_tests.PROGRAMS.glob("*.py")}, set(smoke_tests.PACKAGES))


if __name__ == "__main__":
    unittest.main()
