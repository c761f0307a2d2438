"""Tests of check_layers.py."""
from __future__ import annotations

import unittest

import check_layers as cl

LAYERS = """\
# A comment.
room low   what is below
    and goes on here
room high  what is above
file Modules/thing.c high
up low -> high Allowed  because
"""


class Parse(unittest.TestCase):
    def test_rooms_files_and_exceptions(self):
        layers = cl.parse(LAYERS)
        self.assertEqual(layers.rooms, {"low": 0, "high": 1})
        self.assertEqual(layers.room("Modules/thing.c"), "high")
        self.assertEqual(layers.room("Stackless/low/a.c"), "low")
        self.assertIsNone(layers.room("Python/ceval.c"))
        self.assertEqual(layers.exceptions, {("low", "high", "Allowed"): "because"})

    def test_an_exception_needs_a_reason(self):
        with self.assertRaisesRegex(cl.Malformed, "line 3: expected .*up a -> b X"):
            cl.parse("room a  x\nroom b  y\nup a -> b X\n")

    def test_an_exception_downwards_is_none(self):
        with self.assertRaisesRegex(cl.Malformed, "no call upwards"):
            cl.parse("room a  x\nroom b  y\nup b -> a X  why\n")

    def test_unknown_rooms_are_refused(self):
        with self.assertRaisesRegex(cl.Malformed, "line 2"):
            cl.parse("room a  x\nfile Modules/b.c b\n")


class Symbols(unittest.TestCase):
    def test_nm(self):
        listing = "0000 T _Py_Def\n                 U _Py_Need\n0010 t local\n0020 D _Py_Data\n"
        self.assertEqual(cl.symbols(listing), ({"_Py_Def", "_Py_Data"}, {"_Py_Need"}))

    def test_uses_lead_to_the_file_that_defines(self):
        uses = list(cl.uses_of_symbols({"a.c": "0 T F\n U malloc\n", "b.c": " U F\n"}))
        self.assertEqual(uses, [cl.Use("b.c", "a.c", "F")])


class Problems(unittest.TestCase):
    files = ["Stackless/low/a.c", "Stackless/high/b.c", "Stackless/high/b.h"]

    def find(self, *uses: cl.Use, files=None) -> list[str]:
        return cl.problems(cl.parse(LAYERS), files or self.files, uses)

    allowed = cl.Use("Stackless/low/a.c", "Stackless/high/b.c", "Allowed")

    def test_downward_and_listed_uses_are_none(self):
        self.assertEqual(self.find(self.allowed, cl.Use("Stackless/high/b.c", "Stackless/low/a.c", "F")), [])

    def test_an_upward_call(self):
        found = self.find(self.allowed, cl.Use("Stackless/low/a.c", "Stackless/high/b.c", "G"))
        self.assertEqual(found, ["Stackless/low/a.c uses G of Stackless/high/b.c: low lies below high"])

    def test_an_upward_include(self):
        uses = cl.uses_of_headers({"Stackless/low/a.c": '#include "Stackless/high/b.h"\n', "Stackless/high/b.h": ""})
        found = self.find(self.allowed, *uses)
        self.assertEqual(found, ["Stackless/low/a.c uses b.h of Stackless/high/b.h: low lies below high"])

    def test_an_exception_that_nobody_needs(self):
        self.assertEqual(self.find(), ["layers.txt: nothing of low uses Allowed of high any more: take the line out"])

    def test_a_file_in_no_room(self):
        found = self.find(self.allowed, files=["Stackless/attic/c.c"])
        self.assertEqual(found, ["Stackless/attic/c.c is in no room: 'attic' is not in layers.txt"])


class Circles(unittest.TestCase):
    def test_the_largest_first(self):
        pairs = ["ab", "ba", "cd", "de", "ec", "ca"]
        self.assertEqual(cl.circles(cl.Use(user, owner, "F") for user, owner in pairs), [["c", "d", "e"], ["a", "b"]])

    def test_none(self):
        self.assertEqual(cl.circles([cl.Use("a", "b", "F")]), [])


if __name__ == "__main__":
    unittest.main()
