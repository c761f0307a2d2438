"""stackless.dump(): what all tasklets are doing, as text or JSON."""

from __future__ import annotations

import sys

import _stackless

TYPE_CHECKING = False                  # typing takes longer to import than all of this
if TYPE_CHECKING:
    from typing import Any, Iterator, TextIO

MOST = sys.maxsize
LOOKED_AT = 10_000                     # of each thread, for those that are alike: 0.1 s


def dump(file: TextIO | None = None, *, format: str = "text",
         limit: int | None = 100, depth: int | None = 20) -> None:
    """Write what the tasklets of all threads are doing to *file* (default: sys.stderr).

    For each thread the first *limit* tasklets are shown with their *depth* topmost
    frames, the others are counted; None shows all.  *format* is "text" or "json": a
    list with an object for each thread.  Tasklets that are new or dead are left out.

    In a text, those that do the same in the same place are shown once, and counted:
    among the first 10,000 of a thread, or *limit*, if that is more.

    Works at any time, also in a signal handler written in Python.  To see the tasklets
    of a process that hangs in C code, use faulthandler.register().
    """
    if format not in ("text", "json"):
        raise ValueError(f"format must be 'text' or 'json', not {format!r}")
    most, depth = _bound("limit", limit), _bound("depth", depth)
    read = most if format == "json" or most == 0 else max(most, LOOKED_AT)
    threads = _stackless._dump(read, depth)
    if file is None:
        file = sys.stderr
    if format == "json":
        import json
        json.dump(threads, file, indent=1)
        file.write("\n")
    else:
        for line in _lines(threads, most):
            file.write(line + "\n")


def _bound(name: str, value: int | None) -> int:
    if value is None:
        return MOST
    if value < 0:
        raise ValueError(f"{name} must not be negative, got {value!r}")
    return min(value, MOST)


def _lines(threads: list[dict[str, Any]], most: int) -> Iterator[str]:
    for number, thread in enumerate(threads):
        if number:
            yield ""
        ident = thread["thread_id"]
        name = "Threads that have ended" if ident is None else f"Thread {ident:#x}"
        counts = [f"{thread[key]} {key}" for key in ("runnable", "blocked", "paused")]
        calling = " (calling)" if thread["calling"] else ""
        yield f"{name}{calling}: {', '.join(counts)}"
        more = thread["runnable"] + thread["blocked"] + thread["paused"]
        for alike in _alike(thread["tasklets"])[:most]:
            more -= len(alike)
            yield from _tasklet_lines(alike[0])
            yield from _others_lines(alike)
        if more:
            yield f"  and {more} more"


def _alike(tasklets: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Lists of those that do the same in the same place, in the order of the first ones."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for tasklet in tasklets:
        channel = tasklet["channel"]
        what = {**tasklet, "id": None, "channel": channel and channel["type"],
                "frames": tuple(tasklet["frames"])}
        groups.setdefault(tuple(what.values()), []).append(tasklet)
    return list(groups.values())


def _others_lines(alike: list[dict[str, Any]]) -> Iterator[str]:
    others = len(alike) - 1
    if others:
        channels = {tasklet["channel"]["id"] for tasklet in alike if tasklet["channel"]}
        where = f", on {len(channels):,} channels" if len(channels) > 1 else ""
        yield f"    {others:,} more like this{where}"


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
