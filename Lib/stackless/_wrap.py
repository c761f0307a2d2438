"""What pickles of tasklets, frames, generators, functions and code are made of.

The functions without an underscore are named by pickles: neither their names nor their arguments
may change.  An object that may refer to itself is made blank, and gets its state afterwards, with
__setstate__() (Stackless/pickle/objects.c).

When `stackless` and `pickle` (or `copy`) are imported, all that is registered with `copyreg`.
What that is not asked for, functions and classes, is left to a reducer_override() that picklers
inherit, which also explains why an object is not pickled.
"""

import copyreg
import gc
import importlib
import marshal
import pickle
import sys
import types
import warnings
import weakref

from importlib._bootstrap_external import MAGIC_NUMBER

import _stackless

try:
    from _sha2 import sha256
except ImportError:
    from hashlib import sha256

# Of what is written here, beside the format of the bytecode.
FORMAT = 1
MAGIC = int.from_bytes(MAGIC_NUMBER[:2], "little")
_CHECKSUM = 8                     # bytes before the marshalled code


# --- modules and their dicts ------------------------------------------------------------------

def module(name):
    """The module of that name, imported if need be."""
    found = sys.modules.get(name)
    return found if found is not None else importlib.import_module(name)


def names(name):
    """The __dict__ of the module of that name."""
    return module(name).__dict__


def unknown_module(name, contents):
    """A module that is in no sys.modules."""
    made = types.ModuleType(name)
    made.__dict__.update(contents)
    return made


def same(op):
    """The object itself: an exception that gets what its class does not pickle."""
    return op


def attribute(name, attr):
    """The global name `attr` of the module `name`."""
    return getattr(module(name), attr)


def _reduce_marker(op):
    for name, where in list(sys.modules.items()):
        if type(where) is types.ModuleType:
            for attr, value in list(where.__dict__.items()):
                if value is op:
                    return attribute, (name, attr)
    return same, (op,)


def _reduce_stand_in(stand_in):
    op = stand_in.op
    if type(op) is object:
        return _reduce_marker(op)
    if isinstance(op, dict):
        name = _stackless._module_name(op)
        if name is None:          # it has left sys.modules meanwhile
            return dict, (list(op.items()),)
        return names, (name,)
    if type(op).__setstate__ is not BaseException.__setstate__:
        return same, (op,)
    return same, (op,), {
        "__cause__": _stackless._stand_in_for(op.__cause__),
        "__context__": _stackless._stand_in_for(op.__context__),
        "__suppress_context__": op.__suppress_context__,
        "__traceback__": op.__traceback__}


def _reduce_module(op):
    name = op.__name__
    if isinstance(name, str) and sys.modules.get(name) is op:
        return module, (name,)
    for name, other in list(sys.modules.items()):
        if other is op:
            return module, (name,)
    return unknown_module, (op.__name__, dict(op.__dict__))


# --- code ---------------------------------------------------------------------------------------

class _Bytes:
    """The bytes of code objects that are equal: a pickle has them once."""
    __slots__ = ("data", "code", "__weakref__")


_bytes_of = {}                    # id of a code object -> (weak reference to it, _Bytes)
_by_digest = weakref.WeakValueDictionary()     # checksum -> _Bytes
_loaded = weakref.WeakValueDictionary()        # checksum -> code object
_invalid = weakref.WeakSet()      # code objects that are only there to be seen


def _dump_code(op):
    data = marshal.dumps(op)
    return sha256(data).digest()[:_CHECKSUM] + data


def _data_of(op):
    """The bytes of the code, the same object for all code objects with these bytes."""
    known = _bytes_of.get(id(op))
    if known is None or known[0]() is not op:
        data = _dump_code(op)
        kept = _by_digest.get(data[:_CHECKSUM])
        if kept is None or kept.data != data:
            kept = _Bytes()
            kept.data = data
            _by_digest[data[:_CHECKSUM]] = kept
        key = id(op)
        known = weakref.ref(op, lambda _, key=key: _bytes_of.pop(key, None)), kept
        _bytes_of[key] = known
    return known[1].data


def _reduce_code(op):
    return code, (FORMAT << 16 | MAGIC, _data_of(op))


def stored(digest):
    """Code in the store of a snapshot: its unpickler knows it."""
    raise pickle.UnpicklingError("this is a part of a snapshot: use stackless.snapshot")


def code_hash(op):
    """A hash of what the code does: file name and line numbers make no difference."""
    digest = sha256()
    for part in (op.co_code, op.co_exceptiontable, op.co_names, op.co_varnames, op.co_cellvars,
                 op.co_freevars, op.co_flags, op.co_argcount, op.co_posonlyargcount,
                 op.co_kwonlyargcount, op.co_stacksize, op.co_name, op.co_qualname):
        digest.update(repr(part).encode("utf-8", "backslashreplace") + b"\0")
    _hash_constant(digest, op.co_consts)
    return digest.digest()


def _hash_constant(digest, op):
    kind = type(op)
    digest.update(kind.__name__.encode() + b"(")
    if kind is types.CodeType:
        digest.update(code_hash(op))
    elif kind is tuple:
        for item in op:
            _hash_constant(digest, item)
    elif kind is frozenset:
        parts = []
        for item in op:
            part = sha256()
            _hash_constant(part, item)
            parts.append(part.digest())
        digest.update(b"".join(sorted(parts)))
    else:
        digest.update(repr(op).encode("utf-8", "backslashreplace"))
    digest.update(b")")


def code(number, data):
    """The code object that was pickled as `data`; `number`: format and magic number."""
    if number >> 16 > FORMAT:
        raise RuntimeError(
            f"the code was pickled by a newer Stackless: its format is {number >> 16}, and the "
            f"newest one that is known here is {FORMAT}")
    if number & 0xffff != MAGIC:
        warnings.warn("Unpickling code object with invalid magic number "
                      f"{number & 0xffff}", RuntimeWarning, stacklevel=2)
        op = _unusable.__code__.replace()
        _invalid.add(op)
        return op
    digest = data[:_CHECKSUM]
    op = _loaded.get(digest)
    if op is not None:
        return op
    if not isinstance(data, bytes) or sha256(data[_CHECKSUM:]).digest()[:_CHECKSUM] != digest:
        raise pickle.UnpicklingError("the pickle is damaged: the code's checksum is wrong")
    op = marshal.loads(data[_CHECKSUM:])
    if not isinstance(op, types.CodeType):
        raise pickle.UnpicklingError(f"code is expected, not {type(op).__name__}")
    _loaded[digest] = op
    return op


def _unusable(*args, **kwargs):
    raise SystemError("the code was pickled by a Python with other bytecode")


# --- functions, cells ------------------------------------------------------------------------------

def function(op):
    """A function of the code that has no state yet."""
    if op in _invalid:
        warnings.warn(f"Unpickling function with invalid code object: {op!r}", RuntimeWarning,
                      stacklevel=2)
    return _stackless._new_function(op)


def cell():
    """An empty cell."""
    return types.CellType()


def _is_importable(op):
    try:
        found = sys.modules.get(op.__module__)
        if found is None:
            found = module(pickle.whichmodule(op, op.__qualname__))
    except Exception:
        return False
    try:
        for name in op.__qualname__.split("."):
            found = getattr(found, name)
    except AttributeError:
        return False
    return found is op


def _has_own_way(pickler, kind):
    """Does the pickler itself say how objects of this type are pickled?"""
    table = getattr(pickler, "dispatch_table", None)
    if table is not None:
        try:
            table[kind]
            return True
        except KeyError:
            pass
    if isinstance(pickler, pickle._Pickler) and pickler.dispatch is not _DISPATCH:
        return pickler.dispatch.get(kind) not in (None, _DISPATCH.get(kind), _STOCK.get(kind))
    return False


def _reduce_function(op, pickler):
    """NotImplemented: by its name, or as the pickler says."""
    if isinstance(pickler, pickle._Pickler) and _has_own_way(pickler, types.FunctionType):
        return NotImplemented
    if _is_importable(op):
        return NotImplemented
    return (function, (op.__code__,), (
        _stackless._stand_in_for(op.__globals__), op.__closure__, op.__defaults__,
        op.__kwdefaults__, op.__name__, op.__qualname__, op.__module__, op.__doc__,
        op.__annotations__ or None, op.__dict__ or None))


def _reduce_cell(op):
    try:
        return cell, (), (op.cell_contents,)
    except ValueError:
        return cell, ()


# --- generators, frames, tracebacks -------------------------------------------------------------------

def generator(op):
    """A generator (coroutine, asynchronous generator) of the code that has no state yet."""
    return _stackless._new_generator(op)


def frame(op, globals):
    """A frame to be looked at that has no state yet."""
    return _stackless._new_frame(op, globals)


def traceback():
    """A traceback that has no state yet."""
    return types.TracebackType(None, _stackless._new_frame(_unusable.__code__, globals()), -2, 1)


def _reduce_generator(op):
    return generator, (_code_of(op),), _stackless._generator_state(op)


def _code_of(op):
    return (op.gi_code if isinstance(op, types.GeneratorType) else
            op.cr_code if isinstance(op, types.CoroutineType) else op.ag_code)


class _Frame:
    """Stands for a frame, which is pickled only as a part of something."""
    __slots__ = ("frame", "__weakref__")

    def __reduce__(self):
        op = self.frame
        return (frame, (op.f_code, _stackless._stand_in_for(op.f_globals)),
                _stackless._frame_state(op))


_frames = weakref.WeakValueDictionary()


def _frame_of(op):
    stand_in = _frames.get(id(op))
    if stand_in is None:
        stand_in = _Frame()
        stand_in.frame = op
        _frames[id(op)] = stand_in
    return stand_in


def _reduce_frame(op):
    from stackless import _refusal
    raise _refusal.explain(TypeError("cannot pickle 'frame' object"), op)


def _reduce_traceback(op):
    return traceback, (), (op.tb_next, _frame_of(op.tb_frame), op.tb_lasti, op.tb_lineno)


# --- other objects ---------------------------------------------------------------------------------------

def view(name, op):
    """dict.keys(), values(), items()"""
    if name not in ("keys", "values", "items") or type(op) is not dict:
        raise pickle.UnpicklingError(f"a dict has no view {name!r}")
    return getattr(op, name)()


def _view_reducer(name):
    def reduce(op):
        mapping = op.mapping
        return view, (name, dict(mapping))
    return reduce


def awaiter(op):
    """coroutine.__await__()"""
    return op.__await__()


def asend(generator, argument, state):
    """What generator.asend(argument) returns, in a later state."""
    op = generator.__anext__() if argument is None else generator.asend(argument)
    _stackless._set_asend_state(op, state)
    return op


def _reduce_asend(op):
    return asend, _stackless._asend_state(op)


def _reduce_awaiter(op):
    [coroutine] = [x for x in gc.get_referents(op) if isinstance(x, types.CoroutineType)]
    return awaiter, (coroutine,)


# By their ids: a metaclass may have a __hash__() of its own.  Three are pickle's.
_type_names = {id(getattr(types, name)): name for name in types.__all__
               if isinstance(getattr(types, name), type)
               and name not in ("NoneType", "EllipsisType", "NotImplementedType")}


def type_named(name):
    """A type of module types, which is in no module by its own name."""
    return getattr(types, name)


def _reduce_type(op, pickler):
    name = _type_names.get(id(op))
    if name is not None and getattr(sys.modules.get(op.__module__), op.__name__, None) is not op:
        return type_named, (name,)
    if type(op) is not type and (type(op) in copyreg.dispatch_table
                                 or _has_own_way(pickler, type(op))):
        return NotImplemented
    if _has_own_way(pickler, type):
        return NotImplemented
    if "<locals>" in op.__qualname__ and not _is_importable(op):
        from stackless import _refusal
        raise _refusal.explain(
            pickle.PicklingError(f"Can't pickle {op!r}: it is a class of a function"), op)
    return NotImplemented


def _is_trusted(kind):
    """Does no code of the program run when an object of this type is reduced?"""
    if isinstance(kind.__reduce_ex__, _METHOD_TYPES) and isinstance(kind.__reduce__, _METHOD_TYPES):
        for cls in kind.__mro__:
            if "__getstate__" in cls.__dict__:
                return (isinstance(cls.__dict__["__getstate__"], _METHOD_TYPES)
                        or cls.__module__.partition(".")[0] in sys.stdlib_module_names)
        return True
    return False


def _look_at_first(op, known, pickler):
    """A pickler has come upon an object of a type that is not in `known` and is written in C, or
    has a __getstate__(): if it is not pickled, that is explained here, where it is known what was
    on the way."""
    kind = type(op)
    if _has_own_way(pickler, kind):
        return NotImplemented
    if kind not in copyreg.dispatch_table and kind not in pickle._Pickler.dispatch:
        try:
            if _is_trusted(kind):
                op.__reduce_ex__(4)
        except Exception as exc:
            from stackless import _refusal
            raise _refusal.explain(exc, op) from None
    if not kind.__flags__ & 1 << 9 or kind.__flags__ & 1 << 8:     # no heap type, or immutable
        known.add(kind)
    return NotImplemented


_METHOD_TYPES = (types.MethodDescriptorType, types.WrapperDescriptorType,
                 types.BuiltinFunctionType)


class invalid:
    """What a tasklet calls that was pickled with C functions between its frames."""

    def __init__(self, state):
        self.state = state

    def __call__(self):
        records = self.state[3]
        op = records[-1][0] if records else None
        name = op.co_name if isinstance(op, types.CodeType) else "?"
        raise RuntimeError(f"cannot execute invalid frame with '{name}': frame had a C state that "
                           "can't be restored or an invalid code object.")


# --- registering -------------------------------------------------------------------------------------------

def _pickle_moduledict(pickler, op):
    """How to reduce the dict of a module; None: it is none."""
    name = _stackless._module_name(op)
    return None if name is None else (names, (name,))


def _save_dict(self, op):
    reduced = _pickle_moduledict(self, op)
    if reduced is None:
        self.save_dict(op)
    else:
        self.save_reduce(*reduced, obj=op)


# Of picklers written in Python: the table that they share, and what it was without us.
_DISPATCH = pickle._Pickler.dispatch
_STOCK = _DISPATCH.copy()


def _register():
    for kind, reducer in {
        _stackless._stand_in: _reduce_stand_in,
        types.ModuleType: _reduce_module,
        types.CodeType: _reduce_code,
        types.CellType: _reduce_cell,
        types.GeneratorType: _reduce_generator,
        types.CoroutineType: _reduce_generator,
        types.AsyncGeneratorType: _reduce_generator,
        _stackless._asend_type: _reduce_asend,
        _stackless._awaiter_type: _reduce_awaiter,
        types.FrameType: _reduce_frame,
        types.TracebackType: _reduce_traceback,
        type({}.keys()): _view_reducer("keys"),
        type({}.values()): _view_reducer("values"),
        type({}.items()): _view_reducer("items"),
    }.items():
        copyreg.pickle(kind, reducer)
    pickle._Pickler.dispatch[dict] = _save_dict
    known = {_stackless.tasklet, _stackless.channel, _stackless.bomb}

    def reducer_override(self, op):
        """See pickle.Pickler.reducer_override()."""
        if isinstance(op, types.FunctionType):
            return _reduce_function(op, self)
        if isinstance(op, type):
            return _reduce_type(op, self)
        return NotImplemented if type(op) in known else _look_at_first(op, known, self)
    pickle._Pickler.reducer_override = reducer_override
    c_pickler = getattr(sys.modules.get("_pickle"), "Pickler", None)
    _stackless._install_pickling((c_pickler, _reduce_function, _reduce_type, _look_at_first,
                                  known))


_stackless._wrap = sys.modules[__name__]
_stackless._pickle_moduledict = _pickle_moduledict
_register()
