"""stackless.dump(): what all tasklets are doing, as text or JSON."""

from __future__ import annotations

import sys

import _stackless

TYPE_CHECKING = False                  # typing takes longer to import than all of this
if TYPE_CHECKING:
    from typing import Any, Iterator, TextIO

MOST = sys.maxsize


def dump(file: TextIO | None = None, *, format: str = "text",
         limit: int | None = 100, depth: int | None = 20) -> None:
    """Write what the tasklets of all threads are doing to *file* (default: sys.stderr).

    For each thread the first *limit* tasklets are shown with their *depth* topmost
    frames, the others are counted; None shows all.  *format* is "text" or "json": a
    list with an object for each thread.  Tasklets that are new or dead are left out.

    Works at any time, also in a signal handler written in Python.  To see the tasklets
    of a process that hangs in C code, use faulthandler.register().
    """
    if format not in ("text", "json"):
        raise ValueError(f"format must be 'text' or 'json', not {format!r}")
    threads = _stackless._dump(_bound("limit", limit), _bound("depth", depth))
    if file is None:
        file = sys.stderr
    if format == "json":
        import json
        json.dump(threads, file, indent=1)
        file.write("\n")
    else:
        for line in _lines(threads):
            file.write(line + "\n")


def _bound(name: str, value: int | None) -> int:
    if value is None:
        return MOST
    if value < 0:
        raise ValueError(f"{name} must not be negative, got {value!r}")
    return min(value, MOST)


def _lines(threads: list[dict[str, Any]]) -> Iterator[str]:
    for number, thread in enumerate(threads):
        if number:
            yield ""
        ident = thread["thread_id"]
        name = "Threads that have ended" if ident is None else f"Thread {ident:#x}"
        counts = [f"{thread[key]} {key}" for key in ("runnable", "blocked", "paused")]
        calling = " (calling)" if thread["calling"] else ""
        yield f"{name}{calling}: {', '.join(counts)}"
        for tasklet in thread["tasklets"]:
            yield from _tasklet_lines(tasklet)
        total = thread["runnable"] + thread["blocked"] + thread["paused"]
        more = total - len(thread["tasklets"])
        if more:
            yield f"  and {more} more"


def _tasklet_lines(tasklet: dict[str, Any]) -> Iterator[str]:
    main = "main " if tasklet["main"] else ""
    line = f"  {main}<{tasklet['type']} at {tasklet['id']:#x}> {tasklet['state']}"
    channel = tasklet["channel"]
    if channel is not None:
        word = "to" if tasklet["state"] == "sending" else "from"
        line += (f" {word} <{channel['type']} at {channel['id']:#x}>"
                 f" (balance {channel['balance']})")
    for name in ("atomic", "interrupted"):
        if tasklet[name]:
            line += f", {name}"
    if tasklet["thread_sleeps"]:
        line += ", its thread sleeps"
    if tasklet["c_frames"]:
        line += ", within C functions"
    if tasklet["function"] is not None:
        line += f", not started: {tasklet['function']}"
    yield line
    for file, number, function in tasklet["frames"]:
        yield f'    File "{file}", line {number}, in {function}'
    more = tasklet["depth"] - len(tasklet["frames"])
    if more:
        yield f"    and {more} more frames"
