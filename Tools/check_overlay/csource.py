"""Find definitions in CPython's C sources, well enough for a hash of their text.  No preprocessing.

A definition is named by a kind and a name:

    take_ownership            a function
    inst:RETURN_GENERATOR     an instruction of Python/bytecodes.c, likewise op:NAME
    struct:_PyInterpreterFrame   a struct, union or enum, by its tag or its typedef name
"""
from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

# Comments, string and character literals: what braces may stand in without counting.
_OPAQUE = re.compile(r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.DOTALL)
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_AGGREGATE = re.compile(r"\b(struct|union|enum)\b[ \t]*(\w+)?\s*\{")


def blank(text: str) -> str:
    """The text with comments and literals blanked out; every other character keeps its place."""
    return _OPAQUE.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), text)


def _without_comments(text: str) -> str:
    return _OPAQUE.sub(lambda found: " " if _COMMENT.match(found.group()) else found.group(), text)


def _closing(bare: str, start: int) -> int | None:
    """The position after the bracket that closes the one at *start*, in blanked text."""
    opening = bare[start]
    closing = {"(": ")", "{": "}"}[opening]
    depth = 0
    for found in re.compile(f"[{re.escape(opening + closing)}]").finditer(bare, start):
        depth += 1 if found.group() == opening else -1
        if depth == 0:
            return found.end()
    return None


def _find_function(bare: str, name: str) -> tuple[int, int] | None:
    """The span of a function, from its name to its closing brace; prototypes and calls are passed over."""
    for found in re.finditer(rf"^(?:[A-Za-z_][\w \t*]*?[ \t*])?({re.escape(name)})[ \t]*\(", bare, re.MULTILINE):
        after = _closing(bare, found.end() - 1)
        if after is None:
            continue
        body = re.compile(r"\s*\{").match(bare, after)
        end = _closing(bare, body.end() - 1) if body else None
        if end is not None:
            return found.start(1), end
    return None


def _find_instruction(bare: str, kind: str, name: str) -> tuple[int, int] | None:
    found = re.search(rf"^[ \t]*(?:\w+[ \t]+)*({kind}[ \t]*\([ \t]*{re.escape(name)}[ \t]*,)", bare, re.MULTILINE)
    if not found:
        return None
    after = _closing(bare, bare.index("(", found.start(1)))
    body = re.compile(r"\s*\{").match(bare, after) if after is not None else None
    end = _closing(bare, body.end() - 1) if body else None
    return (found.start(1), end) if end is not None else None


@dataclass(frozen=True)
class Aggregate:
    """The definition of a struct, union or enum: its names and the span between its braces, in blanked text."""

    kind: str
    names: tuple[str, ...]
    start: int
    end: int


def aggregates(bare: str) -> Iterator[Aggregate]:
    """All definitions of structs, unions and enums in blanked text, the outermost only."""
    position = 0
    while found := _AGGREGATE.search(bare, position):
        end = _closing(bare, found.end() - 1)
        if end is None:
            position = found.end()
            continue
        position = end
        alias = re.compile(r"\s*(\w+)").match(bare, end)
        names = (found.group(2), alias.group(1) if alias else None)
        yield Aggregate(found.group(1), tuple(name for name in names if name), found.end(), end - 1)


def _find_aggregate(bare: str, name: str) -> tuple[int, int] | None:
    for each in aggregates(bare):
        if name in each.names:
            return each.start, each.end
    return None


def extract(text: str, wanted: str) -> str | None:
    """The text of the definition that *wanted* names, or None.

    >>> extract("int f(void);\\nint\\nf(void)\\n{ return 1; }\\n", "f")
    'f(void)\\n{ return 1; }'
    """
    bare = blank(text)
    kind, colon, name = wanted.partition(":")
    if not colon:
        span = _find_function(bare, wanted)
    elif kind in ("inst", "op"):
        span = _find_instruction(bare, kind, name)
    elif kind == "struct":
        span = _find_aggregate(bare, name)
    else:
        raise ValueError(f"unknown kind of definition: {wanted}")
    return text[slice(*span)] if span else None


def normalised(text: str) -> str:
    """The text with every run of white space as one blank."""
    return " ".join(text.split())


def digest(text: str) -> str:
    """SHA-256 of a definition's text, white space normalised."""
    return hashlib.sha256(normalised(text).encode()).hexdigest()


def members(text: str, start: int, end: int) -> str:
    """The inside of an aggregate without comments, white space normalised."""
    return normalised(_without_comments(text[start:end]))
