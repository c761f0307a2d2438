"""What the generators of random programs share: text with indentation, scopes, choices."""
from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

Producer = Callable[["Writer"], object]


class Table:
    """Productions with their weights: functions that take the writer."""

    def __init__(self) -> None:
        self.rows: list[tuple[Producer, int, frozenset[str]]] = []

    def add(self, weight: int, *kinds: str) -> Callable[[Producer], Producer]:
        """A decorator: the function is one of the choices, in scopes of *kinds* alone if any."""
        def enter(function: Producer) -> Producer:
            self.rows.append((function, weight, frozenset(kinds)))
            return function
        return enter

    def pick(self, g: Writer) -> Producer:
        rows = [row for row in self.rows if not row[2] or g.scope.kind in row[2]]
        return g.rng.choices([row[0] for row in rows], [row[1] for row in rows])[0]


@dataclass
class Scope:
    """Of the function that is being written."""
    kind: str                   # function, generator, coroutine, asyncgen, class
    names: list[str] = field(default_factory=list)
    loops: int = 0              # around the statement
    starred: int = 0            # except* blocks around it: nothing leaves them by a jump


@dataclass
class Function:
    """One that can be called from what is written after it."""
    name: str
    kind: str
    parameters: int
    keywords: tuple[str, ...] = ()


class Writer:
    """The text of a program, as it grows."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.lines: list[str] = []
        self.level = 0
        self.depth = 0          # of the expression that is being written
        self.serial = 0
        self.scopes = [Scope("function")]
        self.functions: list[Function] = []
        self.classes: list[str] = []

    @property
    def scope(self) -> Scope:
        return self.scopes[-1]

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def number(self) -> int:
        """Another one each time, so that values that were mixed up can be told."""
        self.serial += 1
        return self.serial

    def name(self, prefix: str) -> str:
        return f"{prefix}{self.number()}"

    def line(self, text: str) -> None:
        self.lines.append("    " * self.level + text)

    @contextlib.contextmanager
    def block(self, head: str) -> Iterator[None]:
        """A compound statement with what is written within as its body."""
        self.line(head)
        self.level += 1
        try:
            yield
        finally:
            self.level -= 1

    @contextlib.contextmanager
    def function(self, kind: str, head: str, names: tuple[str, ...] = ()) -> Iterator[None]:
        """A definition; *names* are bound in it."""
        self.scopes.append(Scope(kind, list(names)))
        depth, self.depth = self.depth, 0
        try:
            with self.block(head):
                yield
        finally:
            self.depth = depth
            self.scopes.pop()

    def text(self) -> str:
        return "\n".join(self.lines) + "\n"
