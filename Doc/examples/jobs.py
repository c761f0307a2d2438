"""The job runner of the tutorial: workers, results, exceptions, time limits and threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import stackless


class TooLong(Exception):
    """The job executed more instructions than its limit."""


class Runner:
    """Works on *workers* jobs at a time, each of at most *limit* instructions at a stretch."""

    def __init__(self, workers: int = 2, limit: int = 100_000) -> None:
        self.limit = limit
        self.pending = 0                 # jobs that have not been answered
        self.jobs = stackless.channel()
        self.workers = [stackless.tasklet(self._work)() for _ in range(workers)]

    def ask(self, function: Callable[..., Any], *args: Any) -> Any:
        """Have a worker call the function; return its result, or raise its exception."""
        answer = stackless.channel()
        self.pending += 1
        try:
            self.jobs.send((function, args, answer))
            return answer.receive()
        finally:
            self.pending -= 1

    def run(self) -> None:
        """Run until all jobs are done."""
        while True:
            task = stackless.run(self.limit, threadblock=True)
            if task is not None:
                task.throw(TooLong(f"more than {self.limit:,} instructions"), pending=True)
            elif not self.pending:
                return

    def stop(self) -> None:
        """End the workers."""
        for worker in self.workers:
            worker.kill()

    def _work(self) -> None:
        for function, args, answer in self.jobs:
            answer_with(answer, function, args)


def answer_with(answer: stackless.channel, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """Send what the function returns, or the exception that it raises."""
    try:
        result = function(*args)
    except Exception as exc:
        answer.send_throw(exc)
    else:
        answer.send(result)


def in_thread(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function that waits for the operating system; other tasklets run meanwhile."""
    answer = stackless.channel()
    threading.Thread(target=answer_with, args=(answer, function, args)).start()
    return answer.receive()


def collatz(number: int) -> int:
    """How many steps it takes to come to 1, if ever."""
    steps = 0
    while number != 1:
        number = number // 2 if number % 2 == 0 else 3 * number + 1
        steps += 1
    return steps


def client(runner: Runner, name: str, function: Callable[..., Any], *args: Any) -> None:
    """Ask for one job, and print what came of it."""
    try:
        print(f"{name}: {runner.ask(function, *args)}")
    except Exception as exc:
        print(f"{name}: {type(exc).__name__}: {exc}")


def main() -> None:
    runner = Runner()
    opened = threading.Event()
    for name, function, *args in (
        ("waits", in_thread, opened.wait),
        ("short", collatz, 27),
        ("fails", int, "twenty"),
        ("never ends", collatz, 0),
        ("opens", opened.set),
    ):
        stackless.tasklet(client)(runner, name, function, *args)
    runner.run()
    runner.stop()
    print(f"{sum(worker.alive for worker in runner.workers)} workers left")


if __name__ == "__main__":
    main()
