"""The greenlet module itself, and gevent upon it: the same program for ours and for PyPI's."""

from __future__ import annotations

import sys
from typing import Any, Callable

from greenlet import getcurrent, greenlet
from sample import Sample, memory_figures, resident_bytes, timed


def below(depth: int, function: Callable, *args: Any) -> Any:
    """Call function(*args) so many calls deeper."""
    return below(depth - 1, function, *args) if depth else function(*args)


def switch_main(count: int, depth: int) -> Sample:
    """The main greenlet, and one that deep, take turns.  One operation: one switch."""
    sys.setrecursionlimit(depth + 1000)

    def answer() -> None:
        switch = main.switch
        while True:
            switch()

    def ask(turns: int) -> None:
        switch = other.switch
        for _ in range(turns):
            switch()

    main = getcurrent()
    other = greenlet(lambda: below(depth, answer))
    ask(1)
    return Sample(timed(lambda: ask(count // 2)), count // 2 * 2)


def switch_pair(count: int, depth: int) -> Sample:
    """Two greenlets, both so deep, take turns.  One operation: one switch."""
    sys.setrecursionlimit(depth + 1000)

    def take_turns(turns: int) -> None:
        switch = others[getcurrent()].switch
        main.switch()
        for _ in range(turns):
            switch()

    main = getcurrent()
    first = greenlet(lambda: below(depth, take_turns, count // 2))
    second = greenlet(lambda: below(depth, take_turns, count))
    others = {first: second, second: first}
    first.switch()
    second.switch()
    return Sample(timed(first.switch), count // 2 * 2)


def switch_below_c(count: int) -> Sample:
    """As switch_main, the greenlet being called by map(): its C stack must be kept."""

    def answer(_: int) -> None:
        switch = main.switch
        while True:
            switch()

    def ask(turns: int) -> None:
        switch = other.switch
        for _ in range(turns):
            switch()

    main = getcurrent()
    other = greenlet(lambda: list(map(answer, [1])))
    ask(1)
    return Sample(timed(lambda: ask(count // 2)), count // 2 * 2)


def create_and_run(count: int) -> Sample:
    """One operation: a greenlet is created, runs and finishes."""

    def nothing() -> None:
        pass

    def batch() -> None:
        for _ in range(count):
            greenlet(nothing).switch()

    return Sample(timed(batch), count)


def suspended(count: int) -> Sample:
    """So many greenlets wait, each in the function that it runs."""

    def wait() -> None:
        main.switch()

    def create() -> None:
        for _ in range(count):
            g = greenlet(wait)
            g.switch()
            some.append(g)

    def finish() -> None:
        for g in some:
            g.switch()
        some.clear()

    main = getcurrent()
    some: list[greenlet] = []
    before = resident_bytes()
    seconds = timed(create)
    meanwhile = resident_bytes()
    timed(finish)
    return Sample(seconds, count, memory_figures(count, before, meanwhile, resident_bytes()))


def gevent_sleep(count: int, greenlets: int = 10) -> Sample:
    """So many gevent greenlets take turns with sleep(0).  One operation: one sleep."""
    import gevent

    def sleeper(turns: int) -> None:
        sleep = gevent.sleep
        for _ in range(turns):
            sleep(0)

    def whole() -> None:
        gevent.joinall([gevent.spawn(sleeper, count // greenlets) for _ in range(greenlets)])

    return Sample(timed(whole), count // greenlets * greenlets)


def gevent_spawn(count: int) -> Sample:
    """One operation: a gevent greenlet is spawned, runs and finishes, in batches of 100."""
    import gevent

    def nothing() -> None:
        pass

    def batches() -> None:
        for _ in range(max(count // 100, 1)):
            gevent.joinall([gevent.spawn(nothing) for _ in range(100)])

    return Sample(timed(batches), max(count // 100, 1) * 100)


def gevent_waiting(count: int) -> Sample:
    """So many gevent greenlets wait for an event."""
    import gevent
    from gevent.event import Event

    gate = Event()
    some = []

    def create() -> None:
        some.extend(gevent.spawn(gate.wait) for _ in range(count))
        gevent.sleep(0)
        gevent.sleep(0)

    before = resident_bytes()
    seconds = timed(create)
    meanwhile = resident_bytes()
    gate.set()
    gevent.joinall(some)
    some.clear()
    return Sample(seconds, count, memory_figures(count, before, meanwhile, resident_bytes()))
