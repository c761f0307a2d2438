"""Python constructs that call back a function through C code.

THROUGH_C is a table like those of constructs.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import importlib.machinery
import itertools
import operator
import re
import sys
import weakref

import stackless

from .constructs import Construct, enter

THROUGH_C: dict[str, Construct] = {}

through_c = enter(THROUGH_C)


@through_c
def map_callback(f):
    return list(map(lambda x: f(), [1]))[0]


@through_c
def filter_callback(f):
    box = []
    list(filter(lambda x: box.append(f()), [1]))
    return box[0]


@through_c
def min_key(f):
    box = []
    min([1], key=lambda x: box.append(f()))
    return box[0]


@through_c
def cmp_to_key(f):
    box = []

    def compare(a, b):
        if not box:
            box.append(f())
        return 0
    sorted([1, 2], key=functools.cmp_to_key(compare))
    return box[0]


@through_c
def reduce_callback(f):
    return functools.reduce(lambda a, b: f(), [1, 2])


@through_c
def lru_cache(f):
    @functools.lru_cache
    def inner():
        return f()
    return inner()


@through_c
def run_in_the_context_of_a_tasklet(f):
    return stackless.tasklet(len).context_run(lambda: f())


@through_c
def operator_call(f):
    return operator.call(lambda: f())


@through_c
def itertools_starmap(f):
    return list(itertools.starmap(lambda g: g(), [(f,)]))[0]


@through_c
def regex_callback(f):
    box = []
    re.sub("a", lambda m: box.append(f()) or "", "a")
    return box[0]


@through_c
def list_of_a_generator(f):
    return list(f() for x in (1,))[0]


@through_c
def close_of_a_generator(f):
    box = []

    def gen():
        try:
            yield
        finally:
            box.append(f())
    g = gen()
    next(g)
    g.close()
    return box[0]


@through_c
def unpacking_of_a_generator(f):
    (x,) = (f() for y in (1,))
    return x


@through_c
def star_of_a_generator(f):
    return [*(f() for x in (1,))][0]


@through_c
def any_of_a_generator(f):
    box = []
    any(box.append(f()) for x in (1,))
    return box[0]


@through_c
def length(f):
    box = []

    class C:
        def __len__(self):
            box.append(f())
            return 0
    len(C())
    return box[0]


@through_c
def hashing(f):
    box = []

    class C:
        def __hash__(self):
            box.append(f())
            return 1
    {}.get(C())
    return box[0]


@through_c
def index(f):
    box = []

    class C:
        def __index__(self):
            box.append(f())
            return 0
    [1][C()]
    return box[0]


@through_c
def string_conversion(f):
    box = []

    class C:
        def __str__(self):
            box.append(f())
            return ""
    str(C())
    return box[0]


@through_c
def format_hook(f):
    box = []

    class C:
        def __format__(self, spec):
            box.append(f())
            return ""
    f"{C()}"
    return box[0]


@through_c
def init_subclass(f):
    box = []

    class C:
        def __init_subclass__(cls):
            box.append(f())

    class D(C):
        pass
    return box[0]


@through_c
def set_name(f):
    box = []

    class D:
        def __set_name__(self, owner, name):
            box.append(f())

    class C:
        x = D()
    return box[0]


@through_c
def exec_of_a_string(f):
    namespace = {"f": f}
    exec("x = f()", namespace)
    return namespace["x"]


@through_c
def eval_of_a_string(f):
    return eval("f()", {"f": f})


@through_c
def destructor(f):
    box = []

    class C:
        def __del__(self):
            box.append(_caught(f))
    C()
    return _uncaught(box[0])


@through_c
def weakref_callback(f):
    box = []

    class C:
        pass
    c = C()
    r = weakref.ref(c, lambda r: box.append(_caught(f)))
    del c
    assert r() is None
    return _uncaught(box[0])


@through_c
def collector_callback(f):
    box = []

    def callback(phase, info):
        gc.callbacks.remove(callback)
        box.append(_caught(f))
    gc.callbacks.append(callback)
    gc.collect(0)
    return _uncaught(box[0])


@through_c
def instance_check(f):
    box = []

    class Meta(type):
        def __instancecheck__(cls, ob):
            box.append(f())
            return True

    class C(metaclass=Meta):
        pass
    isinstance(1, C)
    return box[0]


@through_c
def missing(f):
    class D(dict):
        def __missing__(self, key):
            return f()
    return D()[1]


@through_c
def property_through_super(f):
    class A:
        @property
        def x(self):
            return f()

    class B(A):
        def method(self):
            return super().x
    return B().method()


@through_c
def aclose_of_an_async_generator(f):
    box = []

    async def agen():
        try:
            yield
        finally:
            box.append(f())

    async def coro():
        gen = agen()
        await anext(gen)
        await gen.aclose()
    with contextlib.suppress(StopIteration):
        coro().send(None)
    return box[0]


@through_c
def import_of_a_module(f):
    box = []

    class Finder:
        @staticmethod
        def find_spec(name, path, target):
            if name == "_stackless_probe":
                return importlib.machinery.ModuleSpec(name, Finder)

        @staticmethod
        def create_module(spec):
            pass

        @staticmethod
        def exec_module(module):
            box.append(f())
    sys.meta_path.insert(0, Finder)
    try:
        import _stackless_probe
    finally:
        sys.meta_path.remove(Finder)
        sys.modules.pop("_stackless_probe", None)
    return box[0]


@through_c
def task_of_asyncio(f):
    async def coro():
        return f()
    with asyncio.Runner() as runner:
        return runner.run(coro())


@through_c
def woken_task_of_asyncio(f):
    async def coro():
        await asyncio.sleep(0)
        await asyncio.create_task(asyncio.sleep(0))
        return f()
    with asyncio.Runner() as runner:
        return runner.run(coro())


@through_c
def cancelled_task_of_asyncio(f):
    async def coro():
        asyncio.current_task().cancel()
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            return f()
    with asyncio.Runner() as runner:
        return runner.run(coro())


@through_c
def eager_task_of_asyncio(f):
    async def coro():
        return f()

    async def main():
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        return await asyncio.create_task(coro())
    with asyncio.Runner() as runner:
        return runner.run(main())


def _caught(f):
    # An exception in these places would go to the unraisable hook.
    try:
        return True, f()
    except Exception as e:
        return False, e


def _uncaught(outcome):
    ok, value = outcome
    if ok:
        return value
    raise value
