"""Snapshots: a group of tasklets that belong together, in one cut, in bytes or a file.

    from stackless import snapshot

    snapshot.save("state", key=b"secret")         # all tasklets of the thread but the caller
    ...
    group = snapshot.load("state", key=b"secret")     # in another process
    group.resume()
    stackless.run()

A snapshot is a header (format, Python, hashes), the pickle, and the code objects, each one once,
by its hash.  The header is looked at before anything of the rest is, and a file is complete or not
there: it is written beside its place, synced, and renamed.
"""

from __future__ import annotations

import builtins
import gc
import hashlib
import hmac
import io
import json
import os
import pickle
import struct
import sys
import types
from collections import deque
from typing import Any, BinaryIO, Callable, Iterable

import stackless
from stackless import _wrap

__all__ = ["Snapshot", "SnapshotError", "dumps", "load", "loads", "save"]

FORMAT = 1
_PREFIX = b"STACKLESS SNAPSHOT\n"
_HEADER = 512                     # bytes, the prefix included
_AT_ONCE = 100                    # tasklets
_REDUCE = stackless.tasklet.__reduce__
_ENTRY = struct.Struct(">32sI")   # of the code store: SHA-256 and size of what follows


class SnapshotError(pickle.UnpicklingError):
    """It is no snapshot, or damaged, or not signed with this key, or not allowed."""


class Snapshot:
    """What loads() and load() return.

    objects     what was given to dumps(): the same shapes, other objects
    tasklets    all tasklets of the group, as far as they were asked for or found
    """

    def __init__(self, objects: Any, places: list[tuple]) -> None:
        self.objects = objects
        self._places = places

    @property
    def tasklets(self) -> list[stackless.tasklet]:
        return [t for t, _ in self._places]

    def resume(self) -> None:
        """Put everybody where they were: who could run is in the run queue again, in order; who
        waits on a channel does already."""
        for t, place in self._places:
            if place == "runnable" and t.alive and not t.blocked:
                t.insert()


# --- writing --------------------------------------------------------------------------------

class _Writer:
    """A file that is hashed while it is written."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.size, self.hash = file, 0, hashlib.sha256()

    def write(self, data) -> int:
        self.hash.update(data)
        self.size += len(data)
        return self.file.write(data)


class _Pickler(pickle.Pickler):
    def __init__(self, file, progress, total) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self.codes: dict[bytes, bytes] = {}
        self.progress, self.done, self.total = progress, 0, total
        self.waiting: deque = deque()

    def reducer_override(self, op):
        """Tasklets are pickled blank, and what is in them later: so a chain of a million, each of
        which refers to the next one, takes no recursion."""
        if type(op) is types.CodeType:
            data = _wrap._data_of(op)
            digest = hashlib.sha256(data).digest()
            self.codes[digest] = data
            return _wrap.stored, (digest,)
        if isinstance(op, stackless.tasklet) and type(op).__reduce__ is _REDUCE:
            self.waiting.append(op)
            return type(op), ()
        return super().reducer_override(op)

    def dump_states(self) -> None:
        """What is in the tasklets that are waiting for that, and in those that they lead to."""
        while self.waiting:
            some = []
            while self.waiting and len(some) < _AT_ONCE:
                t = self.waiting.popleft()
                some.append((t, t.__reduce__()[2]))
            self.dump(some)
            self.done += len(some)
            if self.progress is not None:
                self.progress(self.done, max(self.done, self.total))
        self.dump(None)


class _ExternalPickler(_Pickler):
    external: Callable

    def persistent_id(self, op):
        return self.external(op)


def _place(t: stackless.tasklet) -> str:
    return ("blocked" if t.blocked and t._channel is not None else
            "runnable" if t.scheduled else "paused")


def _everybody() -> list[stackless.tasklet]:
    """The thread's tasklets but main and the caller, those in the run queue first."""
    current, main = stackless.getcurrent(), stackless.getmain()
    found = []
    t = current.next
    while t is not None and t is not current:
        found.append(t)
        t = t.next
    gc.collect()                  # then the collector knows all that are not in the run queue
    known = set(map(id, found))
    thread = current.thread_id
    found += [t for t in gc.get_objects() if isinstance(t, stackless.tasklet)
              and t.alive and id(t) not in known and t.thread_id == thread]
    return [t for t in found if t is not main and t is not current]


def _tasklets_in(objects: Any) -> list[stackless.tasklet]:
    """Those that are given themselves, or in lists, tuples, dicts or sets."""
    found: list[stackless.tasklet] = []
    seen = set()
    todo = [objects]
    while todo:
        op = todo.pop()
        if id(op) in seen:
            continue
        seen.add(id(op))
        if isinstance(op, stackless.tasklet):
            found.append(op)
        elif type(op) is dict:
            todo += reversed([*op.keys(), *op.values()])
        elif type(op) in (list, tuple, set, frozenset):
            todo += reversed(list(op))
    return found


def _in_queue_order(tasklets: list) -> list:
    current = stackless.getcurrent()
    order, t = {}, current.next
    while t is not None and t is not current:
        order[id(t)] = len(order)
        t = t.next
    return sorted(tasklets, key=lambda t: order.get(id(t), len(order)))


def _write(file: BinaryIO, objects: Any, key, external, progress) -> None:
    if key is not None and (not isinstance(key, bytes) or not key):
        raise TypeError(f"key must be bytes that are not empty, or None, not {key!r}"
                        if not isinstance(key, bytes) else "key must not be empty")
    if objects is None:
        objects = _everybody()
    tasklets = _in_queue_order(_tasklets_in(objects))
    places = [(t, _place(t)) for t in tasklets]
    channels = [t._channel for t in tasklets if t.blocked]
    start = file.tell()
    file.write(bytes(_HEADER))
    writer = _Writer(file)
    kind = _Pickler
    if external is not None:
        kind = type("_ExternalPickler", (_ExternalPickler,), {"external": staticmethod(external)})
    pickler = kind(writer, progress, len(tasklets))
    pickler.dump((objects, places, channels))
    pickler.dump_states()
    main = writer.size
    for digest, data in sorted(pickler.codes.items()):
        writer.write(_ENTRY.pack(digest, len(data)))
        writer.write(data)
    header = {"format": FORMAT, "python": "%d.%d.%d" % sys.version_info[:3],
              "magic": _wrap.MAGIC, "pickle": main, "size": writer.size,
              "sha256": writer.hash.hexdigest()}
    if key is not None:
        header["hmac"] = _sign(header, key)
    text = _PREFIX + json.dumps(header).encode()
    assert len(text) < _HEADER
    end = file.tell()
    file.seek(start)
    file.write(text.ljust(_HEADER - 1) + b"\n")
    file.seek(end)


def _sign(header: dict, key: bytes) -> str:
    signed = json.dumps({name: header[name] for name in sorted(header) if name != "hmac"})
    return hmac.new(key, signed.encode(), "sha256").hexdigest()


def dumps(objects: Any = None, *, key: bytes | None = None,
          external: Callable[[Any], Any] | None = None,
          progress: Callable[[int, int], None] | None = None) -> bytes:
    """A snapshot of *objects* as bytes.

    objects    tasklets, channels, containers of them ...; None: a list of all tasklets of the
               calling thread but the main and the calling one
    key        signs it (HMAC-SHA256)
    external   external(object) is called for each object: what it returns, if not None, is
               stored in its place, and given to loads(resolve=)
    progress   progress(done, total) is called now and then, with numbers of tasklets

    Nothing is changed.  Errors are those of pickle.
    """
    file = io.BytesIO()
    _write(file, objects, key, external, progress)
    return file.getvalue()


def save(path: str | os.PathLike, objects: Any = None, *, key: bytes | None = None,
         external: Callable[[Any], Any] | None = None,
         progress: Callable[[int, int], None] | None = None) -> None:
    """The same to a file, which is the old one until the new one is complete and on the disk."""
    path = os.fspath(path)
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "wb") as file:
            _write(file, objects, key, external, progress)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        try:
            os.unlink(temporary)
        except OSError:
            pass
        raise
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


# --- reading -----------------------------------------------------------------------------------

def _read_header(file: BinaryIO, key) -> dict:
    """The header, after everything that can be said without executing anything."""
    block = file.read(_HEADER)
    if not block.startswith(_PREFIX):
        raise SnapshotError("this is no snapshot: it does not begin as one")
    if len(block) < _HEADER:
        raise SnapshotError("the snapshot is truncated: its header is not complete")
    try:
        header = json.loads(block[len(_PREFIX):])
        if not isinstance(header, dict):
            raise ValueError
        numbers = [header[name] for name in ("format", "magic", "pickle", "size")]
        if not all(isinstance(n, int) and n >= 0 for n in numbers) \
                or not isinstance(header["sha256"], str):
            raise ValueError
    except (ValueError, KeyError, RecursionError):
        raise SnapshotError("the snapshot is damaged: its header cannot be read") from None
    if header["format"] > FORMAT:
        raise SnapshotError(f"the snapshot was made by a newer Stackless: its format is "
                            f"{header['format']}, the newest that is known here is {FORMAT}")
    _verify(header, key)
    if header["magic"] != _wrap.MAGIC:
        raise SnapshotError(f"the snapshot was made by Python {header.get('python')}, whose "
                            "bytecode is another one")
    start, digest, size = file.tell(), hashlib.sha256(), 0
    while data := file.read(1 << 20):
        digest.update(data)
        size += len(data)
    if size < header["size"] or header["pickle"] > header["size"]:
        raise SnapshotError(f"the snapshot is truncated: {header['size']} bytes are expected, "
                            f"not {size}")
    if size > header["size"] or not hmac.compare_digest(digest.hexdigest(), header["sha256"]):
        raise SnapshotError("the snapshot is damaged: its hash is another one")
    file.seek(start)
    return header


def _verify(header: dict, key) -> None:
    signature = header.get("hmac")
    if key is None:
        if signature is not None:
            raise SnapshotError("the snapshot is signed: the key is needed to load it")
        return
    if not isinstance(signature, str):
        raise SnapshotError("the snapshot is not signed")
    if not hmac.compare_digest(signature.encode(), _sign(header, key).encode()):
        raise SnapshotError("the snapshot is not signed with this key, or was changed")


def _read_codes(data: bytes) -> dict[bytes, bytes]:
    codes, at = {}, 0
    while at < len(data):
        if len(data) - at < _ENTRY.size:
            raise SnapshotError("the snapshot is damaged: its code store")
        digest, size = _ENTRY.unpack_from(data, at)
        at += _ENTRY.size
        code = data[at:at + size]
        at += size
        if hashlib.sha256(code).digest() != digest:
            raise SnapshotError("the snapshot is damaged: its code store")
        codes[digest] = code
    return codes


# Of the builtins, what takes no part of the interpreter apart.
_HARMLESS = frozenset("""
    bool bytearray bytes complex dict enumerate filter float frozenset int iter list map object
    range reversed set slice str tuple type zip NoneType ellipsis NotImplementedType
    """.split())
_OURS = frozenset("""
    unknown_module same function cell generator frame traceback type_named view awaiter asend
    invalid
    """.split())


class _Unpickler(pickle.Unpickler):
    def __init__(self, file, codes: dict, allow, resolve) -> None:
        super().__init__(file)
        self.codes, self.resolve, self.allow = codes, resolve, allow
        if allow is not None:
            self.hashes = _hashes_of(allow)

    def persistent_load(self, pid):
        if self.resolve is None:
            raise SnapshotError(f"resolve= is needed for the external object {pid!r}")
        return self.resolve(pid)

    def stored(self, digest):
        try:
            data = self.codes[digest]
        except (KeyError, TypeError):
            raise SnapshotError("the snapshot is damaged: code is not in its store") from None
        op = _wrap.code(_wrap.FORMAT << 16 | _wrap.MAGIC, data)
        if self.allow is not None and _wrap.code_hash(op) not in self.hashes:
            raise SnapshotError(f"the code of {op.co_qualname}() is not allowed: it is not that of "
                                "a function of an allowed module")
        return op

    def find_class(self, module, name):
        if module == "stackless._wrap":
            if name == "stored":
                return self.stored
            if self.allow is not None:
                return self._find_ours(name)
        if self.allow is None:
            return super().find_class(module, name)
        if module == "builtins":
            exception = getattr(builtins, name, None)
            if name in _HARMLESS or isinstance(exception, type) \
                    and issubclass(exception, BaseException):
                return super().find_class(module, name)
            if name == "getattr":
                return _bound_method
        elif module in ("_stackless", "stackless") and name in ("tasklet", "channel", "bomb"):
            return super().find_class(module, name)
        elif (module, name) in (("copyreg", "_reconstructor"), ("copyreg", "__newobj__")):
            return super().find_class(module, name)
        elif module in self.allow:
            found = super().find_class(module, name)
            if getattr(found, "__module__", None) in self.allow:
                return found
        raise SnapshotError(f"{module}.{name} is not allowed")

    def _find_ours(self, name):
        if name in ("module", "names", "attribute"):
            def checked(which, *attr):
                if which not in self.allow:
                    raise SnapshotError(f"the module {which} is not allowed")
                found = getattr(_wrap, name)(which, *attr)
                if attr and type(found) is not object:
                    raise SnapshotError(f"{which}.{attr[0]} is not allowed")
                return found
            return checked
        if name not in _OURS:
            raise SnapshotError(f"stackless._wrap.{name} is not allowed")
        return getattr(_wrap, name)


def _bound_method(op, name):
    """What methods of built-in types are pickled as: getattr(object, name)."""
    found = getattr(op, name) if not isinstance(op, (types.ModuleType, type)) else None
    if not isinstance(found, (types.BuiltinMethodType, types.MethodType)) \
            or found.__self__ is not op or name.startswith("__"):
        raise SnapshotError(f"the attribute {name!r} of a {type(op).__name__} is not allowed")
    return found


def _hashes_of(allow: Iterable[str]) -> set[bytes]:
    """The hashes of all code in these modules."""
    found: set[bytes] = set()
    for name in allow:
        module = _wrap.module(name)
        for value in list(vars(module).values()):
            values = [value]
            if isinstance(value, type) and value.__module__ == name:
                values += vars(value).values()
            for op in values:
                op = getattr(op, "__func__", op)
                for part in (op, *(getattr(op, f, None) for f in ("fget", "fset", "fdel"))):
                    if isinstance(part, types.FunctionType) and part.__module__ == name:
                        _add_hashes(part.__code__, found)
    return found


def _add_hashes(op: types.CodeType, found: set[bytes]) -> None:
    found.add(_wrap.code_hash(op))
    for const in op.co_consts:
        if isinstance(const, types.CodeType):
            _add_hashes(const, found)


def _read(file: BinaryIO, key, allow, resolve) -> Snapshot:
    if isinstance(allow, str):
        raise TypeError("allow must be names of modules, not one str")
    if key is not None:                # what is verified is what is loaded
        file = io.BytesIO(file.read())
    header = _read_header(file, key)
    start = file.tell()
    file.seek(start + header["pickle"])
    codes = _read_codes(file.read())
    file.seek(start)
    allowed = None if allow is None else frozenset(allow)
    unpickler = _Unpickler(file, codes, allowed, resolve)
    loaded = unpickler.load()
    if not (isinstance(loaded, tuple) and len(loaded) == 3):
        raise SnapshotError("the snapshot is damaged: it has something else in it")
    while (states := unpickler.load()) is not None:
        for t, state in states:
            if not isinstance(t, stackless.tasklet):
                raise SnapshotError("the snapshot is damaged: it has something else in it")
            t.__setstate__(state)
    return Snapshot(loaded[0], loaded[1])


def loads(data: bytes, *, key: bytes | None = None, allow: Iterable[str] | None = None,
          resolve: Callable[[Any], Any] | None = None) -> Snapshot:
    """What dumps() has made, its tasklets paused or blocked on their channels.

    key       it must be signed with it; a signed one is not loaded without
    allow     names of the modules whose functions and classes may be used; code in the snapshot
              must be, by its hash, that of a function of theirs.  None: all.  This finds
              mistakes; against who forges snapshots only a key helps
    resolve   resolve(id) gives the object that external= has named

    SnapshotError: it is damaged, foreign, not signed with the key, or not allowed.  Unless it is
    the last, nothing of it was executed.
    """
    return _read(io.BytesIO(data), key, allow, resolve)


def load(path: str | os.PathLike, *, key: bytes | None = None,
         allow: Iterable[str] | None = None,
         resolve: Callable[[Any], Any] | None = None) -> Snapshot:
    """The same from a file."""
    with open(path, "rb") as file:
        return _read(file, key, allow, resolve)
