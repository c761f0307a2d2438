"""Why something cannot be pickled, so that a person can act on it: which tasklet, function and
line refer to it, and how."""

import os
import sys
import types
from collections import deque

import _stackless

MOST = 100_000                    # objects that are looked at


def explain(exc: BaseException, op) -> BaseException:
    """The exception, raised for `op`, with the way to it from what is being pickled."""
    for ref in reversed(list(_stackless._lately_reduced())):
        root = ref()
        where = find(root, op) if root is not None else None
        if where is not None:
            message = f"{exc}: {where}: {type(op).__name__}"
            try:
                return type(exc)(message)
            except TypeError:
                return exc
    return exc


def find(root, op) -> str | None:
    """The way from a tasklet or generator to the object, or None."""
    if isinstance(root, _stackless.tasklet):
        whose = f", in {root!r}"
        try:
            records = root.__reduce__()[2][3]
        except Exception:
            return None
    else:
        whose = ""
        records = [_stackless._generator_state(root)[3]]
    seen = {id(op): None}
    for record in reversed(records or ()):
        if isinstance(record, tuple) and record and isinstance(record[0], types.CodeType):
            way = _in_record(record, op)
            if way is not None:
                return f"{way} of {_function(record)}{whose}"
        elif isinstance(record, tuple):
            way = _search([("", value) for value in record], op)
            if way is not None:
                return f"what is called{way}{whose}"
    if isinstance(root, _stackless.tasklet):
        way = _search([("what it gets", root.tempval)], op)
        if way is not None:
            return way + whose
    return None


def _function(record) -> str:
    code, instr = record[0], record[3]
    line = code.co_firstlineno
    for i, position in enumerate(code.co_positions()):
        if i == instr and position[0]:
            line = position[0]
            break
    return f"{code.co_qualname}() at {os.path.basename(code.co_filename)}:{line}"


def _in_record(record, op) -> str | None:
    code, _, namespace, _, _, nulls, *values = record
    names = code.co_varnames + tuple(n for n in code.co_cellvars if n not in code.co_varnames) \
        + code.co_freevars
    starts = []
    i = 0
    for value in values:
        while nulls >> i & 1:
            i += 1
        starts.append((f"local {names[i]!r}" if i < len(names) else "a value under way", value))
        i += 1
    if isinstance(namespace, dict) and namespace is not record[1]:
        starts += [(f"name {name!r}", value) for name, value in namespace.items()]
    way = _search(starts, op)
    if way is None and isinstance(record[1], dict):
        way = _search([(f"global {name!r}", value) for name, value in record[1].items()], op)
    return way


def _search(starts, op) -> str | None:
    todo = deque()
    seen = set()
    for way, value in starts:
        value = getattr(value, "op", value) if type(value) is _stackless._stand_in else value
        if value is op:
            return way
        todo.append((way, value))
    while todo and len(seen) < MOST:
        way, value = todo.popleft()
        if id(value) in seen:
            continue
        seen.add(id(value))
        for step, inner in _parts(value):
            if inner is op:
                return way + step
            if not isinstance(inner, (str, int, float, bytes, type, types.ModuleType,
                                      types.CodeType, type(None))):
                todo.append((way + step, inner))
    return None


def _parts(value):
    """(how it is written, the object) for all that pickle would go on with."""
    if isinstance(value, dict):
        if _stackless._module_name(value) is None:
            for key, inner in list(value.items()):
                yield f"[{_short(key)}]", inner
                yield f" (key {_short(key)})", key
    elif isinstance(value, (list, tuple)):
        for i, inner in enumerate(list(value)):
            yield f"[{i}]", inner
    elif isinstance(value, (set, frozenset)):
        for inner in list(value):
            yield " (member)", inner
    elif isinstance(value, types.CellType):
        try:
            yield "", value.cell_contents
        except ValueError:
            pass
    elif isinstance(value, types.FunctionType):
        if "<locals>" in value.__qualname__ or value.__name__ == "<lambda>":
            for name, inner in zip(value.__code__.co_freevars, value.__closure__ or ()):
                yield f" (variable {name!r} of {value.__qualname__})", inner
            yield ".__defaults__", value.__defaults__
            yield ".__dict__", value.__dict__
    elif isinstance(value, types.MethodType):
        yield ".__self__", value.__self__
    elif isinstance(value, types.BuiltinMethodType):
        yield ".__self__", value.__self__
    else:
        if type(value).__module__ != "builtins":
            yield " (its class)", type(value)
        try:
            names = object.__getattribute__(value, "__dict__")
        except AttributeError:
            names = {}
        for name, inner in list(names.items()) if isinstance(names, dict) else ():
            yield f".{name}", inner
        for cls in type(value).__mro__:
            for name, slot in list(cls.__dict__.items()):
                if isinstance(slot, types.MemberDescriptorType):
                    try:
                        yield f".{name}", slot.__get__(value)
                    except AttributeError:
                        pass
        if isinstance(value, BaseException):
            yield ".args", value.args


def _short(key) -> str:
    text = repr(key) if isinstance(key, (str, int, bytes, tuple)) else f"a {type(key).__name__}"
    return text if len(text) <= 40 else text[:37] + "..."
