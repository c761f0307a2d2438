"""The same work with asyncio, written as its documentation teaches.

A queue of one place stands in for a channel.
"""

from __future__ import annotations

import asyncio

from sample import (Sample, clock, memory_figures, peak_bytes, resident_bytes, sieve_messages,
                    tree_size)


async def take_turns(turns: int) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


def switch_many(count: int, tasklets: int) -> Sample:
    """So many tasks take turns.  One operation: one sleep(0)."""
    rounds = max(count // tasklets, 1)

    async def main() -> float:
        tasks = [asyncio.create_task(take_turns(rounds + 1)) for _ in range(tasklets)]
        await asyncio.sleep(0)  # all have started
        start = clock()
        for task in tasks:
            await task
        return clock() - start

    return Sample(asyncio.run(main()), rounds * tasklets)


def switch2(count: int) -> Sample:
    """Two tasks take turns.  One operation: one sleep(0)."""
    return switch_many(count, 2)


def switch_deep(count: int, depth: int) -> Sample:
    """Two tasks take turns from so deep a chain of awaits."""
    import sys

    sys.setrecursionlimit(depth + 200)

    async def nested(turns: int, level: int) -> None:
        if level > 1:
            await nested(turns, level - 1)
        else:
            await take_turns(turns)

    async def main() -> float:
        start = clock()
        await asyncio.gather(nested(count // 2, depth), nested(count // 2, depth))
        return clock() - start

    return Sample(asyncio.run(main()), count // 2 * 2)


def spawn(count: int) -> Sample:
    """Batches of 1,000 tasks.  One operation: a task is created, runs and finishes."""

    async def nothing() -> None:
        pass

    async def main() -> float:
        start = clock()
        for _ in range(max(count // 1000, 1)):
            async with asyncio.TaskGroup() as group:
                for _ in range(1000):
                    group.create_task(nothing())
        return clock() - start

    return Sample(asyncio.run(main()), max(count // 1000, 1) * 1000)


def pingpong(count: int) -> Sample:
    """Two tasks send a message to and fro."""
    rounds = count // 2

    async def ping(there: asyncio.Queue, back: asyncio.Queue) -> None:
        for number in range(rounds):
            await there.put(number)
            await back.get()

    async def pong(there: asyncio.Queue, back: asyncio.Queue) -> None:
        for _ in range(rounds):
            await back.put(await there.get())

    async def main() -> float:
        there, back = asyncio.Queue(1), asyncio.Queue(1)
        start = clock()
        await asyncio.gather(ping(there, back), pong(there, back))
        return clock() - start

    return Sample(asyncio.run(main()), rounds * 2)


def ring(count: int, size: int = 503) -> Sample:
    """A token travels round a ring until it has been passed on so many times."""

    async def member(left: asyncio.Queue, right: asyncio.Queue, done: asyncio.Event) -> None:
        while True:
            token = await left.get()
            if token == 0:
                done.set()
            else:
                await right.put(token - 1)

    async def main() -> float:
        queues = [asyncio.Queue(1) for _ in range(size)]
        done = asyncio.Event()
        tasks = [asyncio.create_task(member(queues[index], queues[(index + 1) % size], done))
                 for index in range(size)]
        await asyncio.sleep(0)  # all are waiting
        start = clock()
        await queues[0].put(count)
        await done.wait()
        seconds = clock() - start
        for task in tasks:
            task.cancel()
        return seconds

    return Sample(asyncio.run(main()), count + 1)


def sieve(primes: int) -> Sample:
    """A pipeline with one filter for each prime found so far."""

    async def generate(output: asyncio.Queue) -> None:
        number = 2
        while True:
            await output.put(number)
            number += 1

    async def sift(source: asyncio.Queue, output: asyncio.Queue, prime: int) -> None:
        while True:
            number = await source.get()
            if number % prime:
                await output.put(number)

    found = []

    async def main() -> float:
        start = clock()
        source = asyncio.Queue(1)
        tasks = [asyncio.create_task(generate(source))]
        for _ in range(primes):
            prime = await source.get()
            found.append(prime)
            output = asyncio.Queue(1)
            tasks.append(asyncio.create_task(sift(source, output, prime)))
            source = output
        seconds = clock() - start
        for task in tasks:
            task.cancel()
        return seconds

    return Sample(asyncio.run(main()), sieve_messages(found))


def skynet(leaves: int) -> Sample:
    """A tree of tasks, ten children each; the leaves' numbers are added up."""

    async def node(number: int, size: int) -> int:
        if size == 1:
            return number
        size //= 10
        return sum(await asyncio.gather(*[node(number + child * size, size)
                                          for child in range(10)]))

    async def main() -> float:
        start = clock()
        assert await node(0, leaves) == leaves * (leaves - 1) // 2
        return clock() - start

    return Sample(asyncio.run(main()), tree_size(leaves), {"peak": peak_bytes()})


def blocked(count: int, depth: int) -> Sample:
    """So many tasks wait for one event, below so many awaits.  Operation: one made."""

    async def wait(gate: asyncio.Event, level: int) -> None:
        if level > 1:
            await wait(gate, level - 1)
        else:
            await gate.wait()

    async def main() -> Sample:
        gate = asyncio.Event()
        before = resident_bytes()
        start = clock()
        tasks = [asyncio.create_task(wait(gate, depth)) for _ in range(count)]
        await asyncio.sleep(0)
        seconds_to_create = clock() - start
        while_blocked = resident_bytes()
        start = clock()
        gate.set()
        while tasks:
            await tasks.pop()
        seconds_to_finish = clock() - start
        figures = memory_figures(count, before, while_blocked, resident_bytes())
        figures["finish_ns"] = seconds_to_finish / count * 1e9
        return Sample(seconds_to_create, count, figures)

    return asyncio.run(main())
