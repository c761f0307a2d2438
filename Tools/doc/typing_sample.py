"""What type checkers are to understand; checked by test_stubs.py, and run."""
from __future__ import annotations

from typing import Any, assert_type

import greenlet
import stackless


def produce(numbers: stackless.channel[int]) -> None:
    numbers.send(1, timeout=1.5)
    assert_type(numbers.send_sequence([2, 3]), int)
    numbers.send_exception(StopIteration)


def consume(numbers: stackless.channel[int]) -> int:
    first = numbers.receive()
    assert_type(first, int)
    return first + sum(numbers)


class Task(stackless.tasklet):
    name = "a task"


numbers: stackless.channel[int] = stackless.channel()
words = stackless.channel[str]()
task = Task(produce)(numbers)
assert_type(task, Task)
total = consume(numbers)
assert total == 6
assert_type(stackless.run(1000, seconds=0.5), stackless.tasklet | None)
assert_type(stackless.schedule(), stackless.tasklet)
assert_type(stackless.schedule("x"), str)
assert_type(task.context_run(len, "abc"), int)
assert_type(stackless.get_thread_info()[2], int)
assert_type(stackless.current.alive, bool)
with stackless.atomic():
    pass


@stackless.virtual_time()
def wait(seconds: float) -> float:
    stackless.sleep(seconds)
    return stackless.now()


assert_type(wait(3), float)


def echo(value: Any) -> None:
    while True:
        value = main.switch(value)


main = greenlet.getcurrent()
other = greenlet.greenlet(echo)
assert other.switch(1) == 1
assert_type(other.dead, bool)
try:
    other.throw(greenlet.GreenletExit)
except greenlet.error:
    pass
print(total)
