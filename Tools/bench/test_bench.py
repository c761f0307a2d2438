"""Tests of what the benchmarks make of their samples.  Run by unittest or pytest, any Python."""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import sys
import unittest
import xml.etree.ElementTree
from pathlib import Path
from typing import Any
from unittest import mock

import arguments
import bench_greenlet
import catalogue
import plot
import report

HERE = Path(__file__).resolve().parent


def sample(workload: str, who: str, turn: int, yardstick: float = 10.0,
           size: int = 1_000_000, **figures: float) -> dict[str, Any]:
    return {"round": turn, "workload": workload, "who": who, "size": size,
            "yardstick": yardstick, "figures": figures}


def row(rows: list[report.Result], label: str) -> report.Result:
    return next(each for each in rows if label in each.label)


class CatalogueTests(unittest.TestCase):
    def functions(self, module: str) -> set[str]:
        tree = ast.parse((HERE / f"{module}.py").read_text())
        return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}

    def test_each_workload_exists_for_us_and_for_its_peers(self) -> None:
        for workload in catalogue.WORKLOADS:
            for module in [workload.module, *(f"workloads_{peer}" for peer in workload.peers)]:
                with self.subTest(workload=workload.name, module=module):
                    self.assertIn(workload.function, self.functions(module))

    def test_workloads_of_the_greenlet_benchmark_exist(self) -> None:
        functions = self.functions(bench_greenlet.MODULE)
        for workload in bench_greenlet.WORKLOADS:
            self.assertIn(workload.function, functions)

    def test_each_construct_exists(self) -> None:
        functions = self.functions("workloads_contexts")
        for workload in catalogue.CONTEXTS + catalogue.C_CONTEXTS:
            self.assertIn(workload.options["construct"], functions)

    def test_derived_rows_are_made_of_known_workloads(self) -> None:
        names = {workload.name for workload in catalogue.WORKLOADS}
        for _, above, below, _ in catalogue.DERIVED:
            self.assertLessEqual({above, below}, names)


class SummaryTests(unittest.TestCase):
    def test_a_ratio_is_taken_within_its_round(self) -> None:
        rows = report.summarise([sample("switch2", "ours", 0, yardstick=10.0, ns=9.0),
                                 sample("switch2", "ours", 1, yardstick=20.0, ns=18.0)])
        self.assertAlmostEqual(row(rows, "schedule()").shown("ours"), 0.9)
        self.assertIs(row(rows, "schedule()").reached, True)

    def test_a_target_is_missed(self) -> None:
        rows = report.summarise([sample("switch2", "ours", 0, ns=11.0)])
        self.assertIs(row(rows, "schedule()").reached, False)

    def test_memory_is_compared_as_it_is(self) -> None:
        rows = report.summarise([sample("blocked_1", "ours", 0, bytes=230.0, given_back=0.5,
                                        ns=1.0, finish_ns=1.0)])
        self.assertIs(row(rows, "memory each").reached, True)
        self.assertIs(row(rows, "given back").reached, False)

    def test_a_failed_run_leaves_a_hole(self) -> None:
        failed = sample("switch2", "ours", 0)
        del failed["figures"]
        rows = report.summarise([failed])
        self.assertIsNone(row(rows, "schedule()").reached)

    def test_derived_row_divides_within_a_round(self) -> None:
        rows = report.summarise([sample("depth_1", "ours", 0, ns=10.0),
                                 sample("depth_1000", "ours", 0, ns=12.0)])
        self.assertAlmostEqual(row(rows, "relative to depth 1").values["ours"], 1.2)
        self.assertIs(row(rows, "relative to depth 1").reached, False)

    def test_a_sum_is_of_one_round(self) -> None:
        names = [workload.name for workload in catalogue.CONTEXTS]
        samples = [sample(name, "ours", turn, yardstick=10.0 * (turn + 1), ns=20.0)
                   for name in names for turn in (0, 1)]
        total = row(report.summarise(samples), "sum")
        self.assertAlmostEqual(total.shown("ours"), len(names) * 1.5)
        self.assertIs(total.reached, True)
        without_first = [each for each in samples if each["workload"] != names[0]]
        self.assertNotIn("sum", " ".join(each.label for each in report.summarise(without_first)))

    def test_plain_python_is_a_geometric_mean(self) -> None:
        rows = report.summarise([{"round": 0, "program": "one", "ours": 2.0, "stock": 1.0},
                                 {"round": 0, "program": "two", "ours": 1.0, "stock": 2.0}])
        self.assertAlmostEqual(row(rows, "geometric mean").values["ours"], 1.0)
        self.assertIs(row(rows, "geometric mean").reached, True)

    def test_table_and_picture_of_everything(self) -> None:
        samples = [sample(workload.name, who, 0, ns=12.0, bytes=250.0, peak=5e8, given_back=1.0,
                          finish_ns=3.0, size=10 if who == "greenlet" else 1_000)
                   for workload in catalogue.WORKLOADS for who in report.SERIES]
        samples.append({"round": 0, "program": "one", "ours": 2.0, "stock": 1.0})
        rows = report.summarise(samples)
        data = {"builds": {"ours": {"version": "3"}, "stock": {"version": "3"}}, "quick": True,
                "samples": samples, "rounds": 1, "seconds": 1.0, "notes": [], "failures": ["x"]}
        text = report.table(rows, data)
        for each in rows:
            self.assertIn(each.label, text)
        self.assertIn("FAILED: x", text)
        self.assertIn("greenlet with only 10", text)
        self.assertIn("both:  built without --enable-optimizations", text)
        drawn = xml.etree.ElementTree.fromstring(plot.picture(rows))
        self.assertTrue(drawn.tag.endswith("svg"))


class KindOfBuildTests(unittest.TestCase):
    def parse(self, *options: str) -> argparse.Namespace:
        parser = argparse.ArgumentParser()
        arguments.arguments_of_all(parser)
        parser.add_argument("--quick")
        parser.add_argument("--cache")
        given = ["--python", sys.executable, "--stock", sys.executable, *options]
        with mock.patch.object(sys, "argv", ["bench", *given]):
            return arguments.parse(parser)

    def test_the_report_says_how_both_were_built(self) -> None:
        self.assertEqual(report.kind_of_build({"config": "'--enable-optimizations' '--with-lto' 'CC=x'"}),
                         "built with --enable-optimizations --with-lto")
        self.assertEqual(report.kind_of_build({"config": "'CC=x'"}),
                         "built without --enable-optimizations")

    def test_optimised_builds_take_the_place_of_those_given(self) -> None:
        self.assertEqual(self.parse().python, Path(sys.executable))
        parsed = self.parse("--optimised", "--build-optimised", "echo /bin/sh; echo /bin/cat")
        self.assertEqual((parsed.python, parsed.stock), (Path("/bin/sh"), Path("/bin/cat")))
        self.assertEqual(parsed.cache, Path("/bin/bench-peers"))

    def test_a_build_that_fails_is_an_error(self) -> None:
        with contextlib.redirect_stderr(io.StringIO()) as output, self.assertRaises(SystemExit):
            self.parse("--optimised", "--build-optimised", "exit 3")
        self.assertIn("--optimised: the build failed", output.getvalue())


class PictureTests(unittest.TestCase):
    def boxes(self, rows: list[report.Result]) -> tuple[list[Any], list[Any]]:
        """Left, top, right and bottom of the target marks, and of the figures behind the bars."""
        marks, figures = [], []
        for shape in xml.etree.ElementTree.fromstring(plot.picture(rows)).iter():
            x, y = float(shape.get("x", 0)), float(shape.get("y", 0))
            if shape.get("fill") == "black" and y > plot.HEAD:
                marks.append((x, y, x + float(shape.get("width", 0)),
                              y + float(shape.get("height", 0))))
            elif shape.get("font-size") == "10":
                figures.append((x, y - 7, x + 6 * len(shape.text or ""), y))
        return marks, figures

    def test_target_marks_leave_the_figures_readable(self) -> None:
        # A target a little above what was reached was drawn over the figure.
        targets = [ratio / 10 for ratio in range(5, 600)]
        rows = [report.Result("tasklets", "x", "ns", {}, {"ours": 2.0, "asyncio": 20.0}, target)
                for target in targets]
        marks, figures = self.boxes(rows)
        self.assertEqual((len(marks), len(figures)), (len(targets), 2 * len(targets)))
        for mark in marks:
            for figure in figures:
                apart = (mark[2] <= figure[0] or figure[2] <= mark[0]
                         or mark[3] <= figure[1] or figure[3] <= mark[1])
                self.assertTrue(apart, (mark, figure))


class GreenletTableTests(unittest.TestCase):
    def test_medians_and_ratio(self) -> None:
        samples = [{"workload": "gevent_sleep", "who": who, "size": 1, "figures": {"ns": ns}}
                   for who, ns in (("ours", 10), ("ours", 30), ("ours", 20), ("PyPI", 40))]
        text = bench_greenlet.table(list(bench_greenlet.WORKLOADS), samples)
        self.assertEqual(text.splitlines()[1].split()[-5:], ["20", "ns", "40", "ns", "0.50"])

    def test_missing_figures(self) -> None:
        samples = [{"workload": "suspended", "who": "ours", "size": 5, "figures": {"ns": 7}}]
        text = bench_greenlet.table(list(bench_greenlet.WORKLOADS), samples)
        self.assertTrue(text.endswith("7 ns"))


if __name__ == "__main__":
    unittest.main()
