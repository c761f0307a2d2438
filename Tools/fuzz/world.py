"""What random programs of operations work on (operations.py), and what they call.

T tasklets, G greenlets, C channels, by number; do(n, f) calls f() in the n-th of the ways
that the variant has: directly, or through C functions and special methods.
"""
from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import greenlet
import stackless

from ways import WAYS, Thunk

BUDGET = 400                # entries of the log
TASKLETS, GREENLETS, CHANNELS = 5, 4, 3
ADDRESS = re.compile(r"0x[0-9a-fA-F]+|\d{9,}")


class Error(Exception):
    """What programs throw at each other."""


class Budget(BaseException):
    """The program has done enough."""


NAMES = {"stackless": stackless, "greenlet": greenlet, "Error": Error, "schedule": stackless.schedule,
         "schedule_remove": stackless.schedule_remove, "run": stackless.run, "current": stackless.getcurrent,
         "here": greenlet.getcurrent, "tasklet": stackless.tasklet, "new_greenlet": greenlet.greenlet,
         "bomb": stackless.bomb,
         "GreenletExit": greenlet.GreenletExit}


class World:
    """One run of a program."""

    def __init__(self, ways: list[str]) -> None:
        self.ways = [WAYS[name] for name in ways]
        self.entries: list[Any] = []
        self.ending = False
        self.names: dict[int, str] = {}
        self.T: list[Any] = [stackless.tasklet() for _ in range(TASKLETS)]
        self.G: list[Any] = [greenlet.greenlet() for _ in range(GREENLETS)]
        self.C: list[Any] = [stackless.channel() for _ in range(CHANNELS)]
        self.saved: dict[int, Any] = {0: stackless.getcurrent(), 1: greenlet.getcurrent()}
        self.home = greenlet.getcurrent()
        self.main = stackless.getcurrent()
        for letter, objects in (("T", self.T), ("G", self.G), ("C", self.C)):
            for i, x in enumerate(objects):
                self.names[id(x)] = f"{letter}{i}"
        self.names[id(self.main)], self.names[id(self.home)] = "main", "home"

    def namespace(self) -> dict[str, Any]:
        """Of the program: the objects, our methods, what the modules have."""
        names = [name for name in dir(type(self)) if not name.startswith("_")]
        return {"T": self.T, "G": self.G, "C": self.C, "saved": self.saved, "home": self.home,
                "main_tasklet": self.main,
                **{name: getattr(self, name) for name in names}, **NAMES}

    # -- what programs call --

    def log(self, *args: Any) -> None:
        if self.ending:
            raise Budget
        self.entries.append(tuple(map(self.show, args)))
        if len(self.entries) > BUDGET:
            raise Budget

    def show(self, x: Any, depth: int = 3) -> Any:
        if isinstance(x, (int, str, type(None))):
            return x
        if isinstance(x, (list, tuple)) and depth:
            return tuple(self.show(i, depth - 1) for i in x)
        if isinstance(x, BaseException):
            return (type(x).__name__, ADDRESS.sub("ADDRESS", str(x).partition("\n")[0]))
        return self.names.get(id(x), f"<{type(x).__name__}>")

    def do(self, n: int, f: Thunk) -> Any:
        """f() in the n-th way."""
        if self.ending:
            raise Budget
        return self.ways[n % len(self.ways)](f)

    def look(self) -> Any:
        """The run queue, the channels, and who is what."""
        queue, t = [], stackless.getcurrent()
        for _ in range(stackless.getruncount()):
            queue.append(t)
            t = t.next
        waiting = []
        for channel in self.C:
            t = channel.queue
            waiting.append((channel.balance, channel.closing))
            while t is not None:
                waiting.append(t)
                t = t.next
        return (queue, waiting, [(t.alive, t.scheduled, t.blocked, t.paused) for t in self.T],
                [(bool(g), g.dead, g.gr_frame is None, g.parent) for g in self.G], greenlet.getcurrent())

    def set_attribute(self, x: Any, name: str, value: Any) -> None:
        # Who is within Context.run() could not leave that in another context.
        if name != "gr_context" or not x:
            setattr(x, name, value)

    def set_run(self, g: Any, f: Callable[..., Any]) -> None:
        g.run = f

    def item_of(self, channel: Any) -> Any:
        for x in channel:
            return x
        return "end"

    def callback(self, *args: Any) -> None:
        """For set_schedule_callback() and its like."""
        self.log("callback", *args)

    def bind(self, t: Any, body: Callable[..., Any], *args: Any) -> Any:
        if t.alive:             # its frames would be dropped, unless it is hard
            raise Error("alive")
        return t.bind(body)(*args)

    def attempt(self, f: Thunk) -> None:
        try:
            self.log(f())
        except Exception as e:
            self.log(e)

    def softly(self, flag: bool) -> None:
        stackless.enable_softswitch(flag)

    def atomically(self, f: Thunk) -> Any:
        with stackless.atomic():
            return f()

    def trapped(self, f: Thunk) -> Any:
        stackless.switch_trap(1)
        try:
            return f()
        finally:
            stackless.switch_trap(-1)

    def handling(self, f: Thunk) -> Any:
        try:
            raise Error("handled")
        except Error:
            result = f()
            self.log(sys.exception())
            return result

    def finally_(self, f: Thunk, g: Thunk) -> Any:
        try:
            return f()
        finally:
            g()

    def deeper(self, n: int, f: Thunk) -> Any:
        return self.deeper(n - 1, f) if n else f()
