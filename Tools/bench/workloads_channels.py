"""Tasklets that talk through channels.  One operation: one message, sent and received."""

from __future__ import annotations

from sample import Sample, peak_bytes, sieve_messages, timed, tree_size
from stackless import channel, run, tasklet


def pingpong(count: int) -> Sample:
    """Two tasklets send a message to and fro."""
    there, back = channel(), channel()
    rounds = count // 2

    def ping() -> None:
        for number in range(rounds):
            there.send(number)
            back.receive()

    def pong() -> None:
        for _ in range(rounds):
            back.send(there.receive())

    tasklet(ping)()
    tasklet(pong)()
    return Sample(timed(run), rounds * 2)


def ring(count: int, size: int = 503) -> Sample:
    """A token travels round a ring until it has been passed on so many times."""
    channels = [channel() for _ in range(size)]
    done = channel()

    def member(left: channel, right: channel) -> None:
        while True:
            token = left.receive()
            if token == 0:
                done.send(None)
            else:
                right.send(token - 1)

    def main() -> None:
        channels[0].send(count)
        done.receive()

    for index in range(size):
        tasklet(member)(channels[index], channels[(index + 1) % size])
    run()  # all are waiting
    return Sample(timed(main), count + 1)


def sieve(primes: int) -> Sample:
    """A pipeline with one filter for each prime found so far."""

    def generate(output: channel) -> None:
        number = 2
        while True:
            output.send(number)
            number += 1

    def sift(source: channel, output: channel, prime: int) -> None:
        while True:
            number = source.receive()
            if number % prime:
                output.send(number)

    found = []

    def main() -> None:
        source = channel()
        tasklet(generate)(source)
        for _ in range(primes):
            prime = source.receive()
            found.append(prime)
            output = channel()
            tasklet(sift)(source, output, prime)
            source = output

    seconds = timed(main)
    return Sample(seconds, sieve_messages(found))


def skynet(leaves: int) -> Sample:
    """A tree of tasklets, ten children each; the leaves' numbers are added up through channels.

    One operation: one tasklet of the tree.
    """

    def node(parent: channel, number: int, size: int) -> None:
        if size == 1:
            parent.send(number)
            return
        size //= 10
        children = channel()
        for child in range(10):
            tasklet(node)(children, number + child * size, size)
        total = 0
        for _ in range(10):
            total += children.receive()
        parent.send(total)

    def main() -> None:
        results = channel()
        tasklet(node)(results, 0, leaves)
        assert results.receive() == leaves * (leaves - 1) // 2

    seconds = timed(main)
    return Sample(seconds, tree_size(leaves), {"peak": peak_bytes()})
