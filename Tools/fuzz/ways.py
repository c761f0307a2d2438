"""Ways of calling a function: directly, softly through the interpreter, through C functions.

Each one returns what the function returns, and raises what it raises.
"""
from __future__ import annotations

import contextvars
import functools
import importlib.util
import re
import sys
import types
import weakref
from collections.abc import Callable
from typing import Any

Thunk = Callable[[], Any]
WAYS: dict[str, Callable[[Thunk], Any]] = {}
INLINED = ("directly", "addition", "item", "in_context", "in_generator", "attribute", "partial", "sort_key",
           "construct",
           "leave_block", "evaluate")


def way(function: Callable[[Thunk], Any]) -> Callable[[Thunk], Any]:
    WAYS[function.__name__] = function
    return function


class Outcome:
    """Carries the result, or the exception, past what would drop it."""

    def __init__(self, f: Thunk) -> None:
        self.f = f
        self.value: Any = None
        self.error: BaseException | None = None

    def __call__(self, *args: Any) -> int:
        try:
            self.value = self.f()
        except BaseException as e:
            self.error = e
        return 0

    def get(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.value


@way
def directly(f: Thunk) -> Any:
    return f()


@way
def through_map(f: Thunk) -> Any:
    return list(map(lambda x: f(), [0]))[0]


@way
def minimum(f: Thunk) -> Any:
    outcome = Outcome(f)
    min([0], key=outcome)
    return outcome.get()


@way
def sort_key(f: Thunk) -> Any:
    outcome = Outcome(f)
    [0].sort(key=lambda x: outcome())
    return outcome.get()


@way
def sort_comparison(f: Thunk) -> Any:
    outcome = Outcome(f)
    sorted([1, 2], key=functools.cmp_to_key(outcome))
    return outcome.get()


@way
def execute(f: Thunk) -> Any:
    namespace: dict[str, Any] = {"f": f}
    exec("result = f()", namespace)
    return namespace["result"]


@way
def evaluate(f: Thunk) -> Any:
    return eval("f()", {"f": f})


@way
def substitute(f: Thunk) -> Any:
    outcome = Outcome(f)
    re.sub("x", lambda match: str(outcome()), "x")
    return outcome.get()


@way
def in_context(f: Thunk) -> Any:
    return contextvars.copy_context().run(f)


@way
def partial(f: Thunk) -> Any:
    return functools.partial(lambda x: f(), 1)()


@way
def in_generator(f: Thunk) -> Any:
    result = None
    for result in (f() for _ in (1,)):
        pass
    return result


@way
def list_of_generator(f: Thunk) -> Any:
    return list(f() for _ in (1,))[0]


@way
def in_coroutine(f: Thunk) -> Any:
    async def coroutine() -> Any:
        return f()
    try:
        coroutine().send(None)
    except StopIteration as e:
        return e.value


class Special:
    """Special methods that call the function."""

    def __init__(self, f: Thunk) -> None:
        self.f = f

    def __add__(self, other: Any) -> Any:
        return self.f()

    def __getitem__(self, key: Any) -> Any:
        return self.f()

    def __exit__(self, *exc: Any) -> None:
        self.f()

    def __enter__(self) -> None:
        pass

    def __hash__(self) -> int:
        return self.f()

    def __len__(self) -> int:
        return self.f()

    @property
    def attribute(self) -> Any:
        return self.f()

    def __index__(self) -> int:
        return self.f()

    def __format__(self, spec: str) -> str:
        return str(self.f())


@way
def addition(f: Thunk) -> Any:
    return Special(f) + 1


@way
def item(f: Thunk) -> Any:
    return Special(f)[1]


@way
def attribute(f: Thunk) -> Any:
    return Special(f).attribute


@way
def construct(f: Thunk) -> Any:
    class Made:
        def __init__(self) -> None:
            self.value = f()
    return Made().value


@way
def leave_block(f: Thunk) -> Any:
    outcome = Outcome(f)
    with Special(outcome):
        pass
    return outcome.get()


@way
def hashed(f: Thunk) -> Any:
    outcome = Outcome(f)
    hash(Special(outcome))
    return outcome.get()


@way
def indexed(f: Thunk) -> Any:
    outcome = Outcome(f)
    range(Special(outcome))
    return outcome.get()


@way
def formatted(f: Thunk) -> Any:
    outcome = Outcome(f)
    format(Special(outcome))
    return outcome.get()


@way
def class_hook(f: Thunk) -> Any:
    outcome = Outcome(f)

    class Base:
        def __init_subclass__(cls) -> None:
            outcome()

    class Derived(Base):
        pass
    return outcome.get()


class Finalized:
    """Calls the function when it dies."""

    def __init__(self, f: Thunk) -> None:
        self.f = f

    def __del__(self) -> None:
        self.f()


@way
def finalizer(f: Thunk) -> Any:
    outcome = Outcome(f)
    Finalized(outcome)
    return outcome.get()


@way
def weak_callback(f: Thunk) -> Any:
    outcome = Outcome(f)
    target = Special(f)
    reference = weakref.ref(target, outcome)
    del target
    del reference
    return outcome.get()


class Loader:
    """Imports a module whose body calls the function."""
    thunks: dict[str, Thunk] = {}
    serial = 0

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> Any:
        return importlib.util.spec_from_loader(name, cls) if name in cls.thunks else None

    @staticmethod
    def create_module(spec: Any) -> None:
        return None

    @classmethod
    def exec_module(cls, module: types.ModuleType) -> None:
        cls.thunks.pop(module.__name__)()


@way
def importing(f: Thunk) -> Any:
    Loader.serial += 1
    name = f"fuzzed_operation_{Loader.serial}"
    outcome = Outcome(f)
    Loader.thunks[name] = outcome
    try:
        __import__(name)
    finally:
        sys.modules.pop(name, None)
    return outcome.get()
