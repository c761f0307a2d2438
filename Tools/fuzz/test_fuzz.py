"""Tests of the fuzzer: faults put in on purpose are found, and made small.  Run by unittest or pytest."""
from __future__ import annotations

import sys
import tempfile
import textwrap
import unittest
import warnings
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from case import Case, read_case, write_case                    # noqa: E402
from finding import Finding, investigate                        # noqa: E402
from grammar import make_program                                # noqa: E402
from operations import make_program as make_operations          # noqa: E402
from process import Configuration, Process, signature           # noqa: E402
from shrink import shrink, shrink_variant                       # noqa: E402

SELF = Path(sys.executable)
PROGRAMS = 300              # of which one has to fail

# A worker that begins with a fault.
FAULTY = """
import sys
sys.path.insert(0, {here!r})
import plain, world, attack, stackless, greenlet
{fault}
import worker
worker.prepare()
worker.serve()
"""


class Generators(unittest.TestCase):
    def test_the_same_seed_makes_the_same_program(self) -> None:
        self.assertEqual(make_program(5), make_program(5))
        self.assertNotEqual(make_program(5), make_program(6))
        self.assertEqual(make_operations(5, "wild"), make_operations(5, "wild"))

    def test_programs_have_all_kinds_of_functions(self) -> None:
        text = "".join(make_program(seed) for seed in range(60))
        for part in ("async def f", "yield from", "except*", "match ", "lambda", "await ", "__add__", "async with", "finally:",
                     "nonlocal", "@property", "async for", "metaclass", "**more", "exec(", "import fuzzed_"):
            self.assertIn(part, text)

    def test_operations_compile(self) -> None:
        for seed in range(100):
            for kind in ("compare", "wild"):
                with warnings.catch_warnings(action="ignore"):
                    compile(make_operations(seed, kind), "operations", "exec")


class Shrinking(unittest.TestCase):
    def test_only_what_is_needed_is_left(self) -> None:
        source = make_program(8)
        self.assertIn("drive", source)
        small = shrink(source, lambda text: "coro.send" in text, 60)
        self.assertLess(len(small.splitlines()), 6, small)

    def test_variant(self) -> None:
        variant = shrink_variant({"a": 3, "b": [1, 2], "c": True}, {"a": 0, "b": [], "c": False},
                                 lambda v: v["c"] and 2 in v["b"])
        self.assertEqual(variant, {"a": 0, "b": [2], "c": True})

    def test_a_case_is_read_as_it_was_written(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "case.py"
            write_case(path, Case("plain", "def main(): pass\n", {"seed": 3}), "what is wrong\nin two lines")
            case = read_case(path)
            self.assertEqual((case.kind, case.variant), ("plain", {"seed": 3}))
            self.assertIn("def main(): pass", case.source)

    def test_signatures_ignore_addresses_and_numbers(self) -> None:
        self.assertEqual(signature("crash: at 0x7f12 line 3\ndetails"), signature("crash: at 0x8a line 44\nothers"))
        self.assertNotEqual(signature("crash: SIGSEGV"), signature("hang"))


class Faults(unittest.TestCase):
    """Of different kinds, in Python; prove.py puts some into the C code."""

    def find(self, kind: str, fault: str) -> str:
        """Run programs until one fails; what is wrong, and the program."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        script = Path(folder.name) / "faulty.py"
        script.write_text(FAULTY.format(here=str(HERE), fault=textwrap.dedent(fault)))
        configuration = Configuration(SELF, "", "faulty", script)
        with Process(configuration, patience=5) as process:
            for seed in range(PROGRAMS):
                job = {"kind": kind, "seed": seed}
                outcome = process.run(job)
                if outcome:
                    finding = Finding(configuration, [job], outcome)
                    investigate(finding, Path(folder.name), 3)
                    self.assertTrue(list(Path(folder.name).glob(f"{kind}-*")))
                    return finding.report
        self.fail("the fault was not found")

    def test_nothing_is_found_without_a_fault(self) -> None:
        with Process(Configuration(SELF)) as process:
            for kind in ("plain", "operations"):
                for seed in range(12):
                    self.assertEqual(process.run({"kind": kind, "seed": seed}), "", (kind, seed))

    def test_a_wrong_value(self) -> None:
        report = self.find("plain", """
            real = plain.Switcher.switch
            def switch(self, n):
                real(self, n)
                if n == 3 and stackless.getcurrent() is not stackless.getmain():
                    self.runner.instances[0].switches += 1
            plain.Switcher.switch = switch
            """)
        self.assertIn("difference", report)

    def test_an_exception_without_its_context(self) -> None:
        report = self.find("plain", """
            real = plain.Switcher.wait_for_exception
            def wait_for_exception(self, n):
                try:
                    real(self, n)
                except plain.Injected as e:
                    e.__context__ = None
                    raise e from None
            plain.Switcher.wait_for_exception = wait_for_exception
            """)
        self.assertIn("difference", report)

    def test_a_crash(self) -> None:
        report = self.find("operations", """
            import faulthandler
            real = world.World.handling
            def handling(self, f):
                if greenlet.getcurrent() is not self.home:
                    faulthandler._sigsegv()
                return real(self, f)
            world.World.handling = handling
            """)
        self.assertIn("crash: SIGSEGV", report)

    def test_a_hang(self) -> None:
        report = self.find("operations", """
            real = world.World.trapped
            def trapped(self, f):
                while greenlet.getcurrent() is not self.home:
                    pass
                return real(self, f)
            world.World.trapped = trapped
            """)
        self.assertIn("hang", report)

    def test_what_depends_on_the_kind_of_switch(self) -> None:
        report = self.find("operations", """
            real = world.World.do
            def do(self, n, f):
                def g():
                    value = f()
                    hard = stackless.getcurrent().nesting_level > 0
                    return value + 1 if hard and type(value) is int else value
                return real(self, n, g)
            world.World.do = do
            """)
        self.assertIn("difference: operations", report)


if __name__ == "__main__":
    unittest.main()
