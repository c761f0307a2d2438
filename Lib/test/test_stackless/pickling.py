"""Pickling in tests: other processes that go on with what this one has pickled, and classes by
value, which programs have at the top level of modules."""

from __future__ import annotations

import io
import pickle
import struct
import subprocess
import sys
import types
from typing import Any

import _stackless
import stackless
from stackless import _wrap

from .support import PACKAGE_PARENT


# Constructs in which a tasklet is not pickled, or not loaded, and why.
REFUSED = {
    "run_in_a_context": "contexts are not pickled",
    "run_in_a_context_with_arguments": "contexts are not pickled",
    "enum_member": "an enum's class that is being made has an object of module enum",
    "getattribute": "its __getattribute__() gives pickle no __reduce_ex__()",
    "getattr_after_getattribute": "its __getattribute__() gives pickle no __reduce_ex__()",
    "metaclass_new_and_init": "its metaclass wants a keyword that is not pickled",
    "task_of_asyncio": "its loop is this process's",
    "woken_task_of_asyncio": "its loop is this process's",
    "cancelled_task_of_asyncio": "its loop is this process's",
    "eager_task_of_asyncio": "its loop is this process's",
    "method_of_a_class_with_call": "an instance of a class that pretends to be a function",
}


def forget() -> None:
    """Drops what is kept of what has been pickled: it would look like a leak."""
    _wrap._bytes_of.clear()
    _stackless._lately_reduced().clear()


def make_class(meta: type, name: str, bases: tuple) -> type:
    return types.new_class(name, bases, {} if meta is type else {"metaclass": meta})


def fill_class(cls: type, contents: dict[str, Any]) -> None:
    for name, value in contents.items():
        type.__setattr__(cls, name, value)


def _class_contents(cls: type) -> dict[str, Any]:
    return {name: value for name, value in cls.__dict__.items()
            if name not in ("__dict__", "__weakref__", "__static_attributes__")
            and not isinstance(value, (types.GetSetDescriptorType, types.MemberDescriptorType))}


def _is_local(cls: type) -> bool:
    return "<locals>" in cls.__qualname__


class Pickler(pickle.Pickler):
    """Classes that are defined in functions go by value, and so do a few descriptors."""

    def reducer_override(self, op):
        if isinstance(op, type) and _is_local(op):
            return (make_class, (type(op), op.__name__, op.__bases__), _class_contents(op),
                    None, None, fill_class)
        if type(op) is property:
            return property, (op.fget, op.fset, op.fdel)
        if type(op) in (staticmethod, classmethod):
            return type(op), (op.__func__,)
        return super().reducer_override(op)


def dumps(op: Any, protocol: int = 5) -> bytes:
    file = io.BytesIO()
    Pickler(file, protocol).dump(op)
    return file.getvalue()


# --- other processes ------------------------------------------------------------------

def serve() -> None:
    """Calls functions that are pickled together with their arguments, and answers with what is
    printed and the result."""
    pipe_in, pipe_out = sys.stdin.buffer, sys.stdout.buffer
    while True:
        head = pipe_in.read(4)
        if len(head) < 4:
            return
        data = pipe_in.read(*struct.unpack("!I", head))
        sys.stdout = io.StringIO()
        try:
            function, args = pickle.loads(data)
            result = "ok", function(*args)
        except BaseException as exc:
            import traceback
            result = "raised", "".join(traceback.format_exception(exc))
        answer = pickle.dumps((sys.stdout.getvalue(), *result))
        pipe_out.write(struct.pack("!I", len(answer)) + answer)
        pipe_out.flush()


class OtherProcess:
    """A process in which nothing of what is pickled here has ever been."""

    def __init__(self) -> None:
        program = (f"import sys; sys.path.insert(0, {PACKAGE_PARENT!r})\n"
                   f"import {__name__} as pickling; pickling.serve()")
        self.process = subprocess.Popen([sys.executable, "-c", program],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def call(self, function, *args) -> tuple[str, str, Any]:
        """(what was printed, "ok", result) or (..., "raised", traceback)"""
        return self.call_pickled(pickle.dumps((function, args)))

    def call_pickled(self, data: bytes) -> tuple[str, str, Any]:
        self.process.stdin.write(struct.pack("!I", len(data)) + data)
        self.process.stdin.flush()
        head = self.process.stdout.read(4)
        if len(head) < 4:
            raise RuntimeError(f"the other process has ended: {self.process.wait()}")
        return pickle.loads(self.process.stdout.read(*struct.unpack("!I", head)))

    def close(self) -> None:
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def go_on(data: bytes) -> list:
    """What the tasklet of a pickled pair (tasklet, log) appends to the log."""
    t, log = pickle.loads(data)
    while t.alive:
        t.run()
    return log


def leave() -> Any:
    """Leaves the tasklet, which gets "result" when it goes on."""
    return stackless.schedule_remove("result")


def task(construct, log: list) -> None:
    """Leaves within a construct (see constructs.py)."""
    log.append(construct(lambda: leave()))
    log.append("end")


def how_pickled(construct, other: OtherProcess) -> str:
    """Leave within the construct, go on in the other process and here: "yes" if the same comes
    of it, "no" if it is refused, "-" if it is left hard."""
    log: list = []
    t = stackless.tasklet(task)(construct, log)
    t.run()
    if not t.paused or not t.restorable:
        if t.paused:
            t.run()
        return "-"
    try:
        data = dumps((t, log))
    except Exception:
        how, result = "raised", None
    else:
        _, how, result = other.call(go_on, data)
    t.run()
    return "no" if how != "ok" else "yes" if result == log == ["result", "end"] else "wrong"
