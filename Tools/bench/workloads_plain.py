"""Plain Python that uses no tasklets: small programs of the usual kinds.

Each is run by our build and by the stock build; only the ratio matters.  The parts of the
interpreter that this project touches are represented on purpose: calls, `for`, operators
written in Python, `with`, exceptions.
"""

from __future__ import annotations

import functools
from typing import Any, Callable, Iterator

from sample import Sample, timed

PROGRAMS: list[str] = []


def program(function: Callable[[int], Any]) -> Callable[[int], Sample]:
    """Make a workload of a function that does something so many times."""
    PROGRAMS.append(function.__name__)

    @functools.wraps(function)
    def workload(count: int) -> Sample:
        return Sample(timed(lambda: function(count)), count)

    return workload


@program
def nbody(count: int) -> float:
    """Arithmetic on floats in lists."""
    bodies = [([0.0, 0.0, 0.0], [0.0, 0.0, 0.0], 39.5),
              ([4.8, -1.2, -0.1], [0.6, 2.8, 0.0], 0.04),
              ([8.3, 4.1, -0.4], [-1.0, 1.8, 0.0], 0.01),
              ([12.9, -15.1, -0.2], [1.1, 0.9, 0.0], 0.002)]
    pairs = [(a, b) for index, a in enumerate(bodies) for b in bodies[index + 1:]]
    for _ in range(count):
        for (p1, v1, m1), (p2, v2, m2) in pairs:
            dx = p1[0] - p2[0]
            dy = p1[1] - p2[1]
            dz = p1[2] - p2[2]
            pull = 0.001 * (dx * dx + dy * dy + dz * dz) ** -1.5
            v1[0] -= dx * m2 * pull
            v1[1] -= dy * m2 * pull
            v1[2] -= dz * m2 * pull
            v2[0] += dx * m1 * pull
            v2[1] += dy * m1 * pull
            v2[2] += dz * m1 * pull
        for position, (vx, vy, vz), _ in bodies:
            position[0] += 0.001 * vx
            position[1] += 0.001 * vy
            position[2] += 0.001 * vz
    return bodies[0][0][0]


@program
def fannkuch(count: int) -> int:
    """Small integers and list slices: flipping permutations of seven."""
    most = 0
    for _ in range(count):
        permutation = list(range(7))
        for shift in range(7):
            flipped = permutation[shift:] + permutation[:shift]
            flipped[0], flipped[shift] = flipped[shift], flipped[0]
            flips = 0
            while first := flipped[0]:
                flipped[:first + 1] = flipped[first::-1]
                flips += 1
                if flips > 30:
                    break
            most = max(most, flips)
    return most


@program
def spectral_norm(count: int) -> float:
    """Arithmetic in nested loops, with a function call in the innermost."""

    def element(i: int, j: int) -> float:
        return 1.0 / ((i + j) * (i + j + 1) // 2 + i + 1)

    vector = [1.0] * 20
    for _ in range(count):
        vector = [sum([element(i, j) * u for j, u in enumerate(vector)]) for i in range(20)]
    return vector[0]


@program
def recursion(count: int) -> int:
    """Fibonacci numbers."""

    def fib(n: int) -> int:
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    total = 0
    for _ in range(count):
        total += fib(11)
    return total


@program
def queens(count: int) -> int:
    """Backtracking through recursive generators."""

    def place(row: int, columns: frozenset, up: frozenset, down: frozenset) -> Iterator[int]:
        if row == 5:
            yield 1
            return
        for column in range(5):
            if column not in columns and row + column not in up and row - column not in down:
                yield from place(row + 1, columns | {column}, up | {row + column},
                                 down | {row - column})

    found = 0
    for _ in range(count):
        for one in place(0, frozenset(), frozenset(), frozenset()):
            found += one
    return found


class Packet:
    """What the devices of `simulation` hand on."""

    def __init__(self, kind: int, following: Packet | None) -> None:
        self.kind = kind
        self.following = following
        self.data = 0


class Device:
    """One device of `simulation`."""

    def __init__(self, cost: int) -> None:
        self.cost = cost
        self.queue: list[Packet] = []
        self.handled = 0

    def accept(self, packet: Packet) -> None:
        self.queue.append(packet)

    def step(self) -> Packet | None:
        if not self.queue:
            return None
        packet = self.queue.pop()
        return self.handle(packet)

    def handle(self, packet: Packet) -> Packet:
        packet.data += self.cost
        self.handled += 1
        return packet


class SlowDevice(Device):
    """Overrides and calls its base class."""

    def handle(self, packet: Packet) -> Packet:
        packet.kind ^= 1
        return super().handle(packet)


@program
def simulation(count: int) -> int:
    """Objects that call each other's methods, in the way of the Richards benchmark."""
    devices = [Device(1), SlowDevice(2), Device(3), SlowDevice(4)]
    for number in range(4):
        devices[number].accept(Packet(number & 1, None))
    for turn in range(count):
        for number, device in enumerate(devices):
            packet = device.step()
            if packet is not None:
                devices[(number + 1 + packet.kind) & 3].accept(packet)
    return sum(device.handled for device in devices)


@program
def attributes(count: int) -> int:
    """Attribute access: instance, class, slot and property."""

    class Plain:
        step = 1

        def __init__(self) -> None:
            self.value = 0

        @property
        def twice(self) -> int:
            return self.value * 2

    class Slotted:
        __slots__ = ("value",)

        def __init__(self) -> None:
            self.value = 0

    plain, slotted = Plain(), Slotted()
    for _ in range(count):
        plain.value += plain.step
        slotted.value = plain.twice
        plain.value = slotted.value - plain.value
    return plain.value


@program
def calls(count: int) -> int:
    """Calls with positions, keywords, defaults, *args and **kwargs, of functions and builtins."""

    def positional(a: int, b: int) -> int:
        return a + b

    def defaults(a: int, b: int = 2, *, c: int = 3) -> int:
        return a + b + c

    def collects(*args: int, **kwargs: int) -> int:
        return len(args) + len(kwargs)

    total = 0
    pair = (1, 2)
    for number in range(count):
        total += positional(number, 1) + defaults(number) + defaults(number, c=1)
        total += collects(1, 2, a=3) + positional(*pair) + max(*pair)
        total += len(pair) + abs(number) + min(number, 7)
    return total


@program
def closures(count: int) -> int:
    """Functions that make functions, nonlocal state, lambdas passed to map and filter."""

    def counter(step: int) -> Callable[[], int]:
        value = 0

        def advance() -> int:
            nonlocal value
            value += step
            return value

        return advance

    total = 0
    for number in range(count):
        advance = counter(number)
        advance()
        total += advance()
        total += sum(map(lambda x: x + number, (1, 2, 3)))
        total += len(list(filter(lambda x: x & 1, range(6))))
    return total


class Vector:
    """Operators written in Python, and a subscript."""

    __slots__ = ("x", "y")

    def __init__(self, x: float, y: float) -> None:
        self.x = x
        self.y = y

    def __add__(self, other: Vector) -> Vector:
        return Vector(self.x + other.x, self.y + other.y)

    def __mul__(self, factor: float) -> Vector:
        return Vector(self.x * factor, self.y * factor)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vector) and self.x == other.x and self.y == other.y

    def __bool__(self) -> bool:
        return self.x != 0.0

    def __getitem__(self, index: int) -> float:
        return self.y if index else self.x


@program
def operators(count: int) -> float:
    """Classes that define operators, comparison, truth and subscripts in Python."""
    position, step = Vector(0.0, 0.0), Vector(1.0, 0.5)
    for _ in range(count):
        position = position + step * 0.5
        if position == step or not position:
            position = Vector(position[1], position[0])
    return position.x


@program
def iterators(count: int) -> int:
    """for over a class with __next__, generators, enumerate, zip, dict items."""

    class Countdown:
        def __init__(self, start: int) -> None:
            self.left = start

        def __iter__(self) -> Countdown:
            return self

        def __next__(self) -> int:
            if not self.left:
                raise StopIteration
            self.left -= 1
            return self.left

    def squares(n: int) -> Iterator[int]:
        for number in range(n):
            yield number * number

    table = {number: str(number) for number in range(8)}
    total = 0
    for _ in range(count):
        for number in Countdown(8):
            total += number
        for square in squares(8):
            total += square
        for index, (left, right) in enumerate(zip(table, (1, 2, 3, 4))):
            total += index + left + right
        for key, text in table.items():
            total += key + len(text)
    return total


@program
def exceptions(count: int) -> int:
    """try without and with an exception, finally, a handler that raises anew."""

    def check(number: int) -> int:
        if number % 3 == 0:
            raise ValueError(number)
        return number

    def chain(number: int) -> int:
        try:
            return check(number)
        except ValueError as error:
            raise LookupError from error
        finally:
            number += 1

    total = 0
    for number in range(count):
        try:
            total += chain(number)
        except LookupError:
            total -= 1
        try:
            total += 1
        except TypeError:
            pass
    return total


@program
def with_statements(count: int) -> int:
    """Context managers: a class's, a generator's, and one that swallows an exception."""
    from contextlib import contextmanager

    class Manager:
        def __enter__(self) -> int:
            return 1

        def __exit__(self, kind: object, value: object, traceback: object) -> bool:
            return kind is KeyError

    @contextmanager
    def generated() -> Iterator[int]:
        yield 2

    total = 0
    manager = Manager()
    for number in range(count):
        with manager as one:
            total += one
        with generated() as two:
            total += two
        if not number & 7:
            with manager:
                raise KeyError
    return total


@program
def comprehensions(count: int) -> int:
    """List, set, dict comprehensions and generator expressions."""
    total = 0
    for number in range(count):
        numbers = [item * number for item in range(12) if item % 3]
        total += sum(item & 7 for item in numbers)
        total += len({item >> 2 for item in numbers})
        total += len({item: str(item) for item in numbers})
    return total


@program
def strings(count: int) -> int:
    """Building, splitting, joining, formatting and searching text."""
    total = 0
    for number in range(count):
        parts = [f"{name}={number + index:x}" for index, name in enumerate(("a", "b", "c", "d"))]
        text = ",".join(parts)
        line = ""
        for part in text.split(","):
            line += part.upper() + ";"
        total += len(line.replace("=", ": ")) + line.find("D") + text.count(",")
    return total


@program
def dictionaries(count: int) -> int:
    """Counting words in dicts, grouping in lists, sets and their operations."""
    words = "the quick brown fox jumps over the lazy dog and the quick cat".split()
    total = 0
    for _ in range(count):
        frequency: dict[str, int] = {}
        groups: dict[int, list[str]] = {}
        for word in words:
            frequency[word] = frequency.get(word, 0) + 1
            groups.setdefault(len(word), []).append(word)
        total += len(set(frequency) & {"the", "cat", "bird"}) + len(groups[3])
    return total


@program
def sorting(count: int) -> int:
    """Sorting with key functions, tuples, and reversed."""
    records = [(index * 7919 % 31, str(index * 31 % 17)) for index in range(31)]
    total = 0
    for _ in range(count):
        total += sorted(records, key=lambda record: record[1])[0][0]
        total += sorted(records, reverse=True)[0][0]
        total += max(records, key=lambda record: -record[0])[0]
    return total


@program
def json_parser(count: int) -> int:
    """A recursive-descent parser working character by character."""
    text = '{"name": "tasklet", "sizes": [1, 22, 333, {"deep": [true, null, []]}], "ok": false}'

    def skip(at: int) -> int:
        while text[at] in " ,:":
            at += 1
        return at

    def value(at: int) -> tuple[Any, int]:
        at = skip(at)
        first = text[at]
        if first == "{":
            return mapping(at + 1)
        if first == "[":
            return sequence(at + 1)
        if first == '"':
            end = text.index('"', at + 1)
            return text[at + 1:end], end + 1
        end = at
        while text[end].isalnum():
            end += 1
        word = text[at:end]
        return int(word) if word.isdigit() else word == "true", end

    def sequence(at: int) -> tuple[list, int]:
        items = []
        while text[skip(at)] != "]":
            item, at = value(at)
            items.append(item)
        return items, skip(at) + 1

    def mapping(at: int) -> tuple[dict, int]:
        items = {}
        while text[skip(at)] != "}":
            key, at = value(at)
            items[key], at = value(at)
        return items, skip(at) + 1

    total = 0
    for _ in range(count):
        total += len(value(0)[0])
    return total
