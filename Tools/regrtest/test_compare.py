"""Tests of compare: small result files, and whole runs on made-up interpreters that play upstream's test runner.

Run: python3 -m unittest discover -s Tools/regrtest -p 'test_*.py'
"""
from __future__ import annotations

import contextlib
import io
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import baseline
import compare
import outcome
import runner
from judge import judge_alone, judge_probe, judge_whole
from outcome import FAILED, PASSED, SKIPPED, Outcome

RULE = "=" * 70


def xml(*cases: str) -> str:
    return f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>"


def case(name: str, inside: str = "") -> str:
    return f'<testcase name="{name}">{inside}</testcase>'


class OutcomeTests(unittest.TestCase):
    def read(self, code: int, text: str | None = None, log: str = "", **options: bool) -> Outcome:
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        path = folder / "x.xml"
        if text is not None:
            path.write_text(text)
        return outcome.read_outcome("test_x", code, path, log, **options)

    def test_statuses(self) -> None:
        read = self.read(2, xml(case("t.A.a"), case("t.A.b", "<skipped>why</skipped>"), case("t.A.c", "<error/>"),
                                case("t.A.d", "<failure/>"), case("t.A.e", "<output/>"),
                                case("t.A.f", "<outcome>UNEXPECTED_SUCCESS</outcome>")))
        self.assertEqual(read.methods, {"t.A.a": PASSED, "t.A.b": SKIPPED, "t.A.c": FAILED, "t.A.d": FAILED,
                                        "t.A.e": PASSED, "t.A.f": FAILED})
        self.assertEqual((read.state, read.run, read.skipped), ("failed", 5, 1))

    def test_a_skipped_subtest_counts_as_its_method(self) -> None:
        read = self.read(0, xml(case("t.A.a (i=1)", "<skipped>why</skipped>"), case("t.A.b [message]")))
        self.assertEqual(read.methods, {"t.A.a": SKIPPED, "t.A.b": PASSED})

    def test_the_worst_status_of_a_repeated_id_stands(self) -> None:
        read = self.read(2, xml(case("t.A.a", "<error/>"), case("t.A.a")))
        self.assertEqual((read.methods, read.run), ({"t.A.a": FAILED}, 2))

    def test_failed_subtests_are_named_by_the_log(self) -> None:
        log = f"{RULE}\nFAIL: a (t.A.a) (i=1)\n---\n{RULE}\nFAIL: a (t.A.a) (i=2)\n"
        read = self.read(2, xml("<testcase/>", case("t.A.b")), log)
        self.assertEqual(read.methods, {"t.A.a": FAILED, "t.A.b": PASSED})
        self.assertEqual(read.unnamed, 0)

    def test_what_the_log_does_not_name_is_counted(self) -> None:
        self.assertEqual(self.read(2, xml("<testcase/>")).unnamed, 1)

    def test_an_error_in_a_fixture_has_a_name_of_its_own(self) -> None:
        read = self.read(2, xml(case("t.A.b")), f"{RULE}\nERROR: setUpClass (t.A)\n")
        self.assertEqual(read.ids(FAILED), {"setUpClass (t.A)"})

    def test_file_states(self) -> None:
        skipped = "test_x skipped -- no such module\n"
        for expected, code, text, log in (
                ("passed", 0, xml(case("t.A.a")), ""), ("skipped", 0, None, skipped), ("skipped", 4, None, skipped),
                ("no tests", 4, xml(), ""), ("failed", 2, None, ""), ("env changed", 3, xml(case("t.A.a")), ""),
                ("crashed", -11, None, ""), ("timeout", 1, None, "test_a (t.A.test_a) ... Timeout (0:10:00)!\n")):
            with self.subTest(expected):
                self.assertEqual(self.read(code, text, log).state, expected)
        self.assertEqual(self.read(-9, timed_out=True).state, "timeout")

    def test_the_running_test_is_noted_at_a_crash(self) -> None:
        read = self.read(-11, None, "test_a (t.A.test_a) ... ok\ntest_b (t.A.test_b) ... \nFatal Python error\n")
        self.assertIn("test_b (t.A.test_b)", read.note)


def made(state: str = "passed", code: int = 0, **methods: str) -> Outcome:
    return Outcome("test_x", state, dict(methods), run=sum(m != SKIPPED for m in methods.values()), returncode=code)


class JudgeTests(unittest.TestCase):
    def test_what_fails_on_both_is_stocks(self) -> None:
        verdict = judge_whole(made("failed", 2, a=FAILED), made("failed", 2, a=FAILED))
        self.assertEqual((verdict.ours, verdict.stock_too), ([], ["a: failed"]))

    def test_what_passes_on_stock_is_ours(self) -> None:
        verdict = judge_whole(made("failed", 2, a=FAILED, b=FAILED), made("failed", 2, a=FAILED, b=PASSED))
        self.assertEqual(verdict.ours, ["b: failed; on stock: passed"])

    def test_what_stock_does_not_have_is_ours(self) -> None:
        self.assertEqual(judge_whole(made("failed", 2, a=FAILED), made()).ours, ["a: failed; on stock: does not exist"])

    def test_what_is_skipped_or_missing_here_is_ours(self) -> None:
        verdict = judge_whole(made(a=SKIPPED), made(a=PASSED, b=PASSED))
        self.assertEqual(verdict.ours, ["a: skipped; on stock: passed", "b: missing; on stock: passed"])

    def test_what_is_skipped_on_both_is_not(self) -> None:
        self.assertEqual(judge_probe(made(a=SKIPPED), made(a=SKIPPED)).ours, [])

    def test_a_crash_is_ours_unless_stock_crashes_alike(self) -> None:
        crash = made("crashed", -11)
        self.assertEqual(len(judge_whole(crash, made(a=PASSED)).ours), 1)
        self.assertEqual(judge_whole(crash, made("crashed", -11)).ours, [])
        self.assertEqual(len(judge_whole(crash, made("crashed", -6)).ours), 1)

    def test_a_changed_environment_is_ours_unless_stock_changes_it(self) -> None:
        self.assertEqual(len(judge_whole(made("env changed", 3, a=PASSED), made(a=PASSED)).ours), 1)
        self.assertEqual(judge_whole(made("env changed", 3, a=PASSED), made("env changed", 3, a=PASSED)).ours, [])

    def test_a_file_that_fails_without_a_name(self) -> None:
        self.assertEqual(len(judge_whole(made("failed", 2), made("failed", 2, a=FAILED)).ours), 0)
        self.assertEqual(len(judge_whole(made("failed", 2), made(a=PASSED)).ours), 2)

    def test_fewer_runs_of_the_same_id(self) -> None:
        stock = made(a=PASSED)
        stock.run = 2
        self.assertEqual(judge_whole(made(a=PASSED), stock).ours, ["whole file: ran 1 test cases; on stock: 2"])

    def test_without_stock_everything_is_ours(self) -> None:
        self.assertEqual(len(judge_alone(made("failed", 2, a=FAILED)).ours), 1)
        self.assertEqual(len(judge_alone(made("crashed", -11)).ours), 1)


class BaselineTests(unittest.TestCase):
    def test_places_do_not_count_as_flags(self) -> None:
        self.assertEqual(baseline.plain_flags("'--prefix=/a b' --with-pydebug -q '--srcdir' '/x' 'CC=clang'"),
                         ("--with-pydebug", "CC=clang"))

    def test_a_probe_leaves_the_rest_untried(self) -> None:
        known = baseline.Baseline(Path("none"), runner.Binary(Path("x"), "3.13.1", "", "", False), "none")
        known.learn_probe(made(a=PASSED, b=SKIPPED), made(b=SKIPPED))
        self.assertFalse(known.open_questions(made(a=PASSED, b=SKIPPED)))
        self.assertTrue(known.open_questions(made(a=SKIPPED, b=SKIPPED)))

    def test_a_whole_run_answers_everything(self) -> None:
        known = baseline.Baseline(Path("none"), runner.Binary(Path("x"), "3.13.1", "", "", False), "none")
        known.learn_whole(made(a=PASSED, b=SKIPPED, c=FAILED))
        self.assertFalse(known.open_questions(made(a=PASSED, d=PASSED)))
        self.assertTrue(known.open_questions(made(c=PASSED, d=PASSED)))


# Plays "python": describes itself, lists test files, and runs one as the script beside it says.
FAKE = """\
import fnmatch, json, os, signal, sys
here = os.path.dirname(os.path.abspath(__file__))
script = json.load(open(os.path.join(here, "script.json")))
args = sys.argv[1:]
if args[0] == "-c":
    print(json.dumps({"path": os.path.join(here, "python"), "version": script["version"], "flags": "", "soabi": "", "debug": False}))
    sys.exit()
if "--list-tests" in args:
    print("\\n".join(args[args.index("--list-tests") + 1:] or script["files"]))
    sys.exit()
options = dict(arg[2:].split("=", 1) for arg in args if arg.startswith("--") and "=" in arg)
name = args[-1]
runs = os.path.join(here, "runs")
count = open(runs).read().split().count(name) if os.path.exists(runs) else 0
print(name, file=open(runs, "a"))
plans = script["files"][name]
plan = plans[min(count, len(plans) - 1)]
if plan == "crash":
    os.kill(os.getpid(), signal.SIGSEGV)
if plan == "skip":
    print(name, "skipped -- because")
    sys.exit(4)
if plan == "hang":
    signal.pause()
if plan == "sigint":
    plan = {"t.A.a": "passed" if signal.getsignal(signal.SIGINT) is signal.default_int_handler else "failed"}
ignored = open(options["ignorefile"]).read().split() if "ignorefile" in options else []
plan = {test: status for test, status in plan.items() if not any(fnmatch.fnmatchcase(test, p) for p in ignored)}
inside = {"passed": "", "failed": "<failure/>", "skipped": "<skipped>x</skipped>"}
with open(options["junit-xml"], "w") as stream:
    stream.write("<testsuites><testsuite>" + "".join(
        f'<testcase name="{test}">{inside[status]}</testcase>' for test, status in plan.items())
        + "</testsuite></testsuites>")
sys.exit(2 if "failed" in plan.values() else 0 if plan else 4)
"""


class RunTests(unittest.TestCase):
    """Whole runs of compare on made-up interpreters."""

    def setUp(self) -> None:
        self.top = Path(tempfile.mkdtemp(prefix="test-compare-"))
        self.addCleanup(shutil.rmtree, self.top)
        self.skips = self.data("skips", "# empty\n")
        self.slow = self.data("slow", "test_x\n")

    def data(self, name: str, text: str) -> Path:
        path = self.top / name
        path.write_text(text)
        return path

    def python(self, name: str, version: str = "3.13.1", **files: object) -> Path:
        """Make an interpreter; for each file what happens on its first run, second ... (the last one stays)."""
        folder = self.top / name
        folder.mkdir(exist_ok=True)
        plans = {file: plan if isinstance(plan, list) else [plan] for file, plan in files.items()}
        (folder / "script.json").write_text(json.dumps({"version": version, "files": plans}))
        (folder / "fake.py").write_text(FAKE)
        python = folder / "python"
        python.write_text(f"""#!/bin/sh\nexec "{sys.executable}" "$(dirname "$0")/fake.py" "$@"\n""")
        python.chmod(0o755)
        return python

    def runs(self, name: str) -> list[str]:
        path = self.top / name / "runs"
        return path.read_text().split() if path.exists() else []

    def compare(self, *options: str | Path) -> tuple[int, str]:
        args = ["--python", self.top / "ours/python", "--skips", self.skips, "--slow", self.slow, "-j", "2",
                "--cache", self.top / "cache", "--out", self.top / "out", *options]
        with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.redirect_stderr(text):
            status = compare.main([str(arg) for arg in args])
        return status, text.getvalue()

    def both(self, ours: object, stock: object, *options: str | Path) -> tuple[int, str]:
        self.python("ours", test_x=ours)
        return self.compare("--stock", self.python("stock", test_x=stock), *options)

    def test_no_new_failure(self) -> None:
        status, text = self.both({"t.A.a": PASSED, "t.A.b": SKIPPED}, {"t.A.a": PASSED, "t.A.b": SKIPPED})
        self.assertEqual(status, 0, text)
        self.assertIn("no new failure\n", text)
        self.assertEqual(text.splitlines()[-1], "1 passed, 0 failed, 1 skipped, 0 failing on stock too")

    def test_a_new_failure(self) -> None:
        status, text = self.both({"t.A.a": FAILED}, {"t.A.a": PASSED})
        self.assertEqual(status, 1, text)
        self.assertIn("test_x: t.A.a: failed; on stock: passed", text)
        self.assertIn("0 passed, 1 failed, 0 skipped", text)

    def test_a_failure_of_stocks_own(self) -> None:
        status, text = self.both({"t.A.a": FAILED}, {"t.A.a": FAILED})
        self.assertEqual(status, 0, text)
        self.assertIn("1 failing on stock too", text)

    def test_a_failure_under_load(self) -> None:
        status, text = self.both([{"t.A.a": FAILED}, {"t.A.a": PASSED}], {"t.A.a": PASSED})
        self.assertEqual(status, 0, text)
        self.assertIn("test_x: failed, then passed alone", text)

    def test_a_crash_is_never_the_load(self) -> None:
        status, text = self.both(["crash", {"t.A.a": PASSED}], {"t.A.a": PASSED})
        self.assertEqual(status, 1, text)
        self.assertIn("whole file: crashed (signal 11)", text)

    def test_a_skip_that_stock_does_not_have(self) -> None:
        status, text = self.both({"t.A.a": PASSED, "t.A.b": SKIPPED}, {"t.A.a": PASSED, "t.A.b": PASSED})
        self.assertEqual(status, 1, text)
        self.assertIn("t.A.b: skipped; on stock: passed", text)

    def test_a_skip_that_depends_on_the_tests_before(self) -> None:
        status, text = self.both({"t.A.a": PASSED, "t.A.b": SKIPPED},
                                 [{"t.A.b": PASSED}, {"t.A.a": PASSED, "t.A.b": SKIPPED}])
        self.assertEqual(status, 0, text)
        self.assertEqual(self.runs("stock"), ["test_x", "test_x"])

    def test_a_method_that_only_stock_has(self) -> None:
        status, text = self.both({"t.A.a": PASSED}, {"t.A.a": PASSED, "t.A.b": PASSED})
        self.assertEqual(status, 1, text)
        self.assertIn("t.A.b: missing; on stock: passed", text)

    def test_a_file_skipped_only_here(self) -> None:
        status, text = self.both("skip", {"t.A.a": PASSED})
        self.assertEqual(status, 1, text)
        self.assertIn("whole file: skipped (because); on stock 1 of its tests pass", text)

    def test_a_failing_file_that_stock_does_not_have(self) -> None:
        self.python("ours", test_new={"t.A.a": FAILED})
        status, text = self.compare("--stock", self.python("stock", test_x={}))
        self.assertEqual(status, 1, text)

    def test_a_time_out(self) -> None:
        limit, runner.KILL_GRACE = runner.KILL_GRACE, 0.3
        self.addCleanup(setattr, runner, "KILL_GRACE", limit)
        status, text = self.both("hang", {"t.A.a": PASSED}, "--timeout", "0.2")
        self.assertEqual(status, 1, text)
        self.assertIn("whole file: timeout", text)

    def test_the_second_run_asks_stock_nothing(self) -> None:
        plan = {"t.A.a": PASSED, "t.A.b": SKIPPED}
        self.both(plan, plan)
        self.assertEqual(self.runs("stock"), ["test_x"])
        self.assertEqual(self.compare("--stock", self.top / "stock/python")[0], 0)
        self.assertEqual(self.runs("stock"), ["test_x"])

    def test_a_known_method_that_stops_running_is_asked_again(self) -> None:
        self.both({"t.A.a": PASSED}, {"t.A.a": PASSED})
        self.python("ours", test_x={"t.A.a": SKIPPED})
        status, text = self.compare("--stock", self.top / "stock/python")
        self.assertEqual(status, 1, text)

    def test_a_full_stock_run_is_made_once(self) -> None:
        plan = {"t.A.a": PASSED}
        self.both(plan, plan, "--full-stock")
        self.assertEqual(self.compare("--stock", self.top / "stock/python", "--full-stock")[0], 0)
        self.assertEqual(self.runs("stock"), ["test_x"])

    def test_stock_is_built_only_when_it_is_needed(self) -> None:
        plan = {"t.A.a": PASSED}
        self.python("ours", test_x=plan)
        self.python("elsewhere", test_x=plan)
        command = f"mv '{self.top}/elsewhere' '{self.top}/later'"
        status, text = self.compare("--stock", self.top / "later/python", "--build-stock", command)
        self.assertEqual(status, 0, text)
        self.assertIn("building stock", text)
        status, text = self.compare("--stock", self.top / "never/python", "--build-stock", "false")
        self.assertEqual(status, 0, text)

    def test_a_stock_build_that_fails(self) -> None:
        self.python("ours", test_x={"t.A.a": FAILED})
        status, text = self.compare("--stock", self.top / "never/python", "--build-stock", "exit 3")
        self.assertEqual(status, 2, text)
        self.assertIn("the stock build failed (exit status 3)", text)

    def test_another_release_is_no_stock(self) -> None:
        self.python("ours", test_x={"t.A.a": FAILED})
        status, text = self.compare("--stock", self.python("stock", "3.13.2", test_x={"t.A.a": FAILED}))
        self.assertEqual(status, 2, text)

    def test_without_stock_the_rest_is_named(self) -> None:
        self.python("ours", test_x={"t.A.a": PASSED})
        status, text = self.compare()
        self.assertEqual(status, 0, text)
        self.assertIn("not compared with stock:\n  test_x", text)

    def test_the_skip_list(self) -> None:
        self.skips = self.data("skips", "test_y takes an hour\nt.A.b* talks to the moon\n")
        self.python("ours", test_x={"t.A.a": PASSED, "t.A.bb": FAILED}, test_y={"t.Y.a": FAILED})
        stock = self.python("stock", test_x={"t.A.a": PASSED, "t.A.bb": PASSED}, test_y={"t.Y.a": PASSED})
        status, text = self.compare("--stock", stock)
        self.assertEqual(status, 0, text)
        self.assertIn("test_y: takes an hour", text)

    def test_a_skip_without_a_reason(self) -> None:
        self.skips = self.data("skips", "test_y\n")
        self.python("ours", test_x={})
        status, text = self.compare()
        self.assertEqual(status, 2)
        self.assertIn("test_y has no reason beside it", text)

    def test_an_interpreter_that_is_not_there(self) -> None:
        status, text = self.compare()
        self.assertEqual(status, 2)
        self.assertIn("can't be run", text)

    def test_slow_files_come_first(self) -> None:
        self.assertEqual(compare.slow_first(["test_a", "test_x", "test_b"], self.slow), ["test_x", "test_a", "test_b"])

    def test_sigint_has_its_default_action_in_a_background_job(self) -> None:
        self.python("ours", test_x="sigint")
        script = textwrap.dedent(f"""\
            import signal, sys
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            sys.path.insert(0, {str(Path(compare.__file__).parent)!r})
            import compare
            sys.exit(compare.main(sys.argv[1:]))
            """)
        done = subprocess.run([sys.executable, "-c", script, "--python", self.top / "ours/python",
                               "--skips", self.skips, "--slow", self.slow, "--out", self.top / "out",
                               "--cache", self.top / "cache"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
