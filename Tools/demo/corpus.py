"""The text that the demo learns from, and the straightforward computation it is checked against.

The text is the Python source on this machine: the standard library's own .py files, which every
Python brings along.  A *phrase* is a pair of words that stand next to each other.
"""

from __future__ import annotations

import os
import random
import re
from pathlib import Path
from sys import intern
from typing import Callable, Iterator

Phrase = tuple[str, str]
Followers = dict[str, int]      # how often each word came next


def files() -> list[Path]:
    """All .py files of the standard library, in a fixed order."""
    library = Path(os.__file__).parent
    return sorted(path for path in library.rglob("*.py") if "site-packages" not in path.parts)


def words(path: Path) -> Iterator[str]:
    """The words of a file, one after the other: whatever stands between blanks."""
    text = path.read_text(encoding="utf-8", errors="replace")
    for match in re.finditer(r"\S+", text):
        yield intern(match.group())


def lessons(path: Path) -> Iterator[tuple[Phrase, str]]:
    """Each phrase of a file together with the word that follows it."""
    source = words(path)
    first, second = next(source, ""), next(source, "")
    for third in source:
        yield (first, second), third
        first, second = second, third


def phrases(paths: list[Path], limit: int) -> list[Phrase]:
    """The different phrases of all files in order of appearance; the first `limit` of them."""
    found: dict[Phrase, None] = {}
    for path in paths:
        for phrase, _ in lessons(path):
            found[phrase] = None
            if len(found) == limit:
                return list(found)
    return list(found)


def learn_in_a_loop(paths: list[Path], known: list[Phrase]) -> dict[Phrase, Followers]:
    """What all tasks together must find out: the same in one loop, without any task."""
    learned: dict[Phrase, Followers] = {phrase: {} for phrase in known}
    for path in paths:
        for phrase, word in lessons(path):
            if phrase in learned:
                followers = learned[phrase]
                followers[word] = followers.get(word, 0) + 1
    return learned


def pick(followers: Followers, chance: random.Random) -> str:
    """One of the words, the more frequent the more likely; independent of the dict's order."""
    candidates = sorted(followers)
    return chance.choices(candidates, [followers[word] for word in candidates])[0]


READERS = 8     # tasks that read files
SENTENCE_START = ("while", "True:")
SENTENCE_LENGTH = 24
