"""The same work with generators, driven by loops: what plain Python offers without a library.

`resume` is the yardstick of the whole table.
"""

from __future__ import annotations

from collections import deque
from typing import Generator, Iterable

from sample import Sample, memory_figures, resident_bytes, timed


def resume(count: int) -> Sample:
    """The yardstick: `for _ in gen: pass`.  One operation: one resumption of a generator."""

    def numbers(n: int) -> Generator[int, None, None]:
        for number in range(n):
            yield number

    generator = numbers(count)

    def consume() -> None:
        for _ in generator:
            pass

    return Sample(timed(consume), count)


def run_all(ready: deque[Generator]) -> None:
    """Round robin: resume each generator in turn until all have ended."""
    while ready:
        generator = ready.popleft()
        try:
            next(generator)
        except StopIteration:
            continue
        ready.append(generator)


def take_turns(turns: int) -> Generator[None, None, None]:
    for _ in range(turns):
        yield


def switch2(count: int) -> Sample:
    """Two generators take turns under a round-robin loop."""
    ready = deque([take_turns(count // 2), take_turns(count // 2)])
    return Sample(timed(lambda: run_all(ready)), count // 2 * 2)


def switch_many(count: int, tasklets: int) -> Sample:
    """So many generators take turns under a round-robin loop."""
    rounds = max(count // tasklets, 1)
    ready = deque(take_turns(rounds + 1) for _ in range(tasklets))
    for generator in ready:
        next(generator)
    return Sample(timed(lambda: run_all(ready)), rounds * tasklets)


def switch_deep(count: int, depth: int) -> Sample:
    """Two generators take turns below so many levels of `yield from`."""
    import sys

    sys.setrecursionlimit(depth + 200)

    def nested(turns: int, level: int) -> Generator[None, None, None]:
        if level > 1:
            yield from nested(turns, level - 1)
        else:
            for _ in range(turns):
                yield

    ready = deque([nested(count // 2, depth), nested(count // 2, depth)])
    return Sample(timed(lambda: run_all(ready)), count // 2 * 2)


def spawn(count: int) -> Sample:
    """Batches of 1,000 generators.  One operation: one is created, runs and finishes."""

    def nothing() -> Generator[None, None, None]:
        return
        yield

    def batches() -> None:
        for _ in range(max(count // 1000, 1)):
            run_all(deque(nothing() for _ in range(1000)))

    return Sample(timed(batches), max(count // 1000, 1) * 1000)


def pingpong(count: int) -> Sample:
    """A loop sends values into a generator and takes its answers: two messages a round."""
    rounds = count // 2

    def pong() -> Generator[int, int, None]:
        answer = 0
        while True:
            answer = yield answer

    generator = pong()
    next(generator)

    def ping() -> None:
        for number in range(rounds):
            generator.send(number)

    return Sample(timed(ping), rounds * 2)


def sieve(primes: int) -> Sample:
    """A chain of generators, each pulling from the one before it."""
    from sample import sieve_messages

    def sift(source: Iterable[int], prime: int) -> Generator[int, None, None]:
        for number in source:
            if number % prime:
                yield number

    def count_up() -> Generator[int, None, None]:
        number = 2
        while True:
            yield number
            number += 1

    found = []

    def main() -> None:
        source = count_up()
        for _ in range(primes):
            prime = next(source)
            found.append(prime)
            source = sift(source, prime)

    import sys

    sys.setrecursionlimit(primes * 3 + 200)
    return Sample(timed(main), sieve_messages(found))


def blocked(count: int, depth: int) -> Sample:
    """So many suspended generators below so many levels of `yield from`."""

    def wait(level: int) -> Generator[None, None, None]:
        if level > 1:
            yield from wait(level - 1)
        else:
            yield

    waiting: list[Generator] = []

    def create() -> None:
        for _ in range(count):
            generator = wait(depth)
            next(generator)
            waiting.append(generator)

    def finish() -> None:
        while waiting:
            next(waiting.pop(), None)

    before = resident_bytes()
    seconds_to_create = timed(create)
    while_blocked = resident_bytes()
    seconds_to_finish = timed(finish)
    figures = memory_figures(count, before, while_blocked, resident_bytes())
    figures["finish_ns"] = seconds_to_finish / count * 1e9
    return Sample(seconds_to_create, count, figures)
