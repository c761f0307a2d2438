"""The same work with greenlets from PyPI under the smallest scheduler and channel that will do."""

from __future__ import annotations

import sys
from collections import deque
from typing import Any, Callable

from greenlet import getcurrent, greenlet
from sample import (Sample, memory_figures, peak_bytes, resident_bytes, sieve_messages, timed,
                    tree_size)

ready: deque[greenlet] = deque()


def dispatch() -> None:
    """The parent of all others, so what goes on when one ends.  With nothing ready, main does."""
    while True:
        (ready.popleft() if ready else main).switch()


main = getcurrent()
hub = greenlet(dispatch)


def start(function: Callable, *args: Any) -> None:
    """Make a greenlet that will call function(*args) when its turn comes."""
    if args:
        ready.append(greenlet(lambda: function(*args), hub))
    else:
        ready.append(greenlet(function, hub))


def schedule() -> None:
    """Let the next one go on; the caller queues up."""
    ready.append(getcurrent())
    next_one()


def next_one() -> Any:
    """Let the next one go on; the caller is not queued.

    The hub starts new ones: a greenlet begins at the recursion depth of whoever starts it.
    """
    return (ready.popleft() if ready and ready[0] else hub).switch()


def run() -> None:
    """Let the others run until none is ready."""
    hub.switch()


class Channel:
    """Unbuffered: whoever comes first waits.  A receiver that waited goes on at once."""

    def __init__(self) -> None:
        self.senders: deque[tuple[greenlet, Any]] = deque()
        self.receivers: deque[greenlet] = deque()

    def send(self, value: Any) -> None:
        if self.receivers:
            ready.append(getcurrent())
            self.receivers.popleft().switch(value)
        else:
            self.senders.append((getcurrent(), value))
            next_one()

    def receive(self) -> Any:
        if self.senders:
            sender, value = self.senders.popleft()
            ready.append(sender)
            return value
        self.receivers.append(getcurrent())
        return next_one()


def switch2(count: int) -> Sample:
    """Two greenlets take turns.  One operation: one schedule()."""

    def take_turns(turns: int) -> None:
        for _ in range(turns):
            schedule()

    start(take_turns, count // 2)
    start(take_turns, count // 2)
    return Sample(timed(run), count // 2 * 2)


def switch_many(count: int, tasklets: int) -> Sample:
    """So many greenlets and the main one take turns."""
    rounds = max(count // tasklets, 1)

    def take_turns() -> None:
        for _ in range(rounds + 1):
            schedule()

    def main_takes_turns() -> None:
        for _ in range(rounds):
            schedule()

    for _ in range(tasklets):
        start(take_turns)
    schedule()
    seconds = timed(main_takes_turns)
    run()
    return Sample(seconds, rounds * (tasklets + 1))


def switch_deep(count: int, depth: int) -> Sample:
    """Two greenlets take turns from so deep a chain of Python calls."""
    sys.setrecursionlimit(depth + 200)

    def take_turns(turns: int, level: int) -> None:
        if level > 1:
            take_turns(turns, level - 1)
        else:
            for _ in range(turns):
                schedule()

    start(take_turns, count // 2, depth)
    start(take_turns, count // 2, depth)
    return Sample(timed(run), count // 2 * 2)


def spawn(count: int) -> Sample:
    """Batches of 1,000 greenlets.  One operation: one is created, runs and finishes."""

    def nothing() -> None:
        pass

    def batches() -> None:
        for _ in range(max(count // 1000, 1)):
            for _ in range(1000):
                start(nothing)
            run()

    return Sample(timed(batches), max(count // 1000, 1) * 1000)


def pingpong(count: int) -> Sample:
    """Two greenlets send a message to and fro."""
    there, back = Channel(), Channel()
    rounds = count // 2

    def ping() -> None:
        for number in range(rounds):
            there.send(number)
            back.receive()

    def pong() -> None:
        for _ in range(rounds):
            back.send(there.receive())

    start(ping)
    start(pong)
    return Sample(timed(run), rounds * 2)


def ring(count: int, size: int = 503) -> Sample:
    """A token travels round a ring until it has been passed on so many times."""
    channels = [Channel() for _ in range(size)]
    done = Channel()

    def member(left: Channel, right: Channel) -> None:
        while True:
            token = left.receive()
            if token == 0:
                done.send(None)
            else:
                right.send(token - 1)

    def travel() -> None:
        channels[0].send(count)
        done.receive()

    for index in range(size):
        start(member, channels[index], channels[(index + 1) % size])
    run()
    return Sample(timed(travel), count + 1)


def sieve(primes: int) -> Sample:
    """A pipeline with one filter for each prime found so far."""

    def generate(output: Channel) -> None:
        number = 2
        while True:
            output.send(number)
            number += 1

    def sift(source: Channel, output: Channel, prime: int) -> None:
        while True:
            number = source.receive()
            if number % prime:
                output.send(number)

    found = []

    def collect() -> None:
        source = Channel()
        start(generate, source)
        for _ in range(primes):
            prime = source.receive()
            found.append(prime)
            output = Channel()
            start(sift, source, output, prime)
            source = output

    seconds = timed(collect)
    return Sample(seconds, sieve_messages(found))


def skynet(leaves: int) -> Sample:
    """A tree of greenlets, ten children each; the leaves' numbers are added up."""

    def node(parent: Channel, number: int, size: int) -> None:
        if size == 1:
            parent.send(number)
            return
        size //= 10
        children = Channel()
        for child in range(10):
            start(node, children, number + child * size, size)
        total = 0
        for _ in range(10):
            total += children.receive()
        parent.send(total)

    def whole() -> None:
        results = Channel()
        start(node, results, 0, leaves)
        assert results.receive() == leaves * (leaves - 1) // 2

    seconds = timed(whole)
    return Sample(seconds, tree_size(leaves), {"peak": peak_bytes()})


def blocked(count: int, depth: int) -> Sample:
    """So many greenlets wait on one channel, below so many Python calls."""
    gate = Channel()

    def wait(level: int) -> None:
        if level > 1:
            wait(level - 1)
        else:
            gate.receive()

    def create() -> None:
        for _ in range(count):
            start(wait, depth)
        run()

    def finish() -> None:
        for _ in range(count):
            gate.send(None)
        run()

    before = resident_bytes()
    seconds_to_create = timed(create)
    while_blocked = resident_bytes()
    seconds_to_finish = timed(finish)
    figures = memory_figures(count, before, while_blocked, resident_bytes())
    figures["finish_ns"] = seconds_to_finish / count * 1e9
    return Sample(seconds_to_create, count, figures)
