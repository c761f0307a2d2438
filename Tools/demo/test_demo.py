"""Tests of the demo's input and of its table.  Run by unittest or pytest, any Python."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path
from random import Random

import corpus
import run_demo


class CorpusTests(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "text.py"
        self.path.write_text("to be or not\nto be  that\tis")

    def test_words_are_what_stands_between_blanks(self) -> None:
        self.assertEqual(list(corpus.words(self.path)), "to be or not to be that is".split())

    def test_a_lesson_is_a_phrase_and_the_word_after_it(self) -> None:
        self.assertEqual(list(corpus.lessons(self.path))[:2],
                         [(("to", "be"), "or"), (("be", "or"), "not")])

    def test_a_file_of_less_than_three_words_gives_no_lesson(self) -> None:
        for text in ("", "one", "one two"):
            self.path.write_text(text)
            self.assertEqual(list(corpus.lessons(self.path)), [])

    def test_phrases_are_different_and_not_more_than_asked_for(self) -> None:
        self.assertEqual(len(corpus.phrases([self.path], 100)), 5)
        self.assertEqual(corpus.phrases([self.path], 2), [("to", "be"), ("be", "or")])

    def test_the_loop_counts_followers_of_known_phrases(self) -> None:
        self.assertEqual(corpus.learn_in_a_loop([self.path], [("to", "be")]),
                         {("to", "be"): {"or": 1, "that": 1}})

    def test_picking_does_not_depend_on_the_order_of_counting(self) -> None:
        one, other = {"a": 1, "b": 2, "c": 3}, {"c": 3, "b": 2, "a": 1}
        for seed in range(5):
            self.assertEqual(corpus.pick(one, Random(seed)), corpus.pick(other, Random(seed)))

    def test_the_standard_library_has_plenty(self) -> None:
        self.assertGreater(len(corpus.files()), 100)


class TableTests(unittest.TestCase):
    def test_both_halves_side_by_side(self) -> None:
        half = {"tasks": 1000, "messages": 5000, "bytes_each": 300.4, "peak": 2_000_000,
                "cpu_seconds": 4.0,
                "seconds": {"create": 1, "read": 2, "ask": 1, "stop": 1}}
        text = run_demo.table({"stackless": half, "asyncio": half})
        self.assertIn("1,000", text)
        self.assertEqual(text.splitlines()[0].split(), ["stackless", "asyncio"])
        self.assertIn("messages per second", text)


if __name__ == "__main__":
    unittest.main()
