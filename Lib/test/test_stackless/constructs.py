"""Python constructs that call back a function, for use inside of tasklets.

Each function of the tables takes a callable without arguments, calls it
exactly once from within its construct, and returns what it returned.

SOFT        Python functions call Python functions: no C code in between
WARM        the same, once the interpreter has specialised the code
THROUGH_C   C code lies in between
"""

from __future__ import annotations

import contextlib
import contextvars
import enum
import functools
import gc
import itertools
import operator
import re
import weakref
from typing import Any, Callable

import stackless

Construct = Callable[[Callable[[], Any]], Any]

SOFT: dict[str, Construct] = {}
WARM: dict[str, Construct] = {}
THROUGH_C: dict[str, Construct] = {}


def _enter(table: dict[str, Construct]) -> Callable[[Construct], Construct]:
    def decorator(f: Construct) -> Construct:
        assert f.__name__ not in table
        table[f.__name__] = f
        return f
    return decorator


soft = _enter(SOFT)
warm = _enter(WARM)
through_c = _enter(THROUGH_C)


# --- soft -------------------------------------------------------------------

@soft
def directly(f):
    return f()


@soft
def nested_function(f):
    def inner():
        return f()
    return inner()


@soft
def positional_arguments(f):
    def inner(a, b, g, /):
        return g()
    return inner(1, 2, f)


@soft
def keyword_arguments(f):
    def inner(*, a, g):
        return g()
    return inner(g=f, a=1)


@soft
def default_arguments(f):
    def inner(a=1, g=f):
        return g()
    return inner()


@soft
def star_arguments(f):
    def inner(*args):
        return args[0]()
    return inner(*[f, 1])


@soft
def double_star_arguments(f):
    def inner(**kwargs):
        return kwargs["g"]()
    return inner(**{"g": f})


@soft
def all_kinds_of_arguments(f):
    def inner(a, /, b, *args, c, **kwargs):
        return kwargs["g"]()
    return inner(1, *[2, 3], c=4, **{"g": f})


@soft
def closure(f):
    x = [f]

    def inner():
        return x[0]()
    return inner()


@soft
def lambda_expression(f):
    return (lambda g: g())(f)


@soft
def recursion(f):
    def deep(n):
        if n:
            return deep(n - 1)
        return f()
    return deep(50)


@soft
def bound_method(f):
    class C:
        def method(self):
            return f()
    return C().method()


@soft
def bound_method_object(f):
    class C:
        def method(self, g):
            return g()
    method = C().method
    return method(f)


@soft
def bound_method_with_keywords(f):
    class C:
        def method(self, *, g):
            return g()
    return C().method(g=f)


@soft
def bound_method_with_star(f):
    class C:
        def method(self, *args):
            return args[0]()
    return C().method(*(f,))


@soft
def unbound_method(f):
    class C:
        def method(self):
            return f()
    return C.method(C())


@soft
def static_method(f):
    class C:
        @staticmethod
        def method():
            return f()
    return C.method()


@soft
def class_method(f):
    class C:
        @classmethod
        def method(cls):
            return f()
    return C.method()


@soft
def super_method(f):
    class A:
        def method(self):
            return f()

    class B(A):
        def method(self):
            return super().method()
    return B().method()


@soft
def decorated_function(f):
    def decorator(g):
        @functools.wraps(g)
        def wrapper(*args, **kwargs):
            return g(*args, **kwargs)
        return wrapper

    @decorator
    def inner():
        return f()
    return inner()


@soft
def try_except(f):
    try:
        raise KeyError
    except KeyError:
        return f()


@soft
def try_finally(f):
    try:
        pass
    finally:
        result = f()
    return result


@soft
def return_in_try_finally(f):
    try:
        return f()
    finally:
        len("")


@soft
def with_statement_body(f):
    with contextlib.nullcontext():
        return f()


@soft
def for_loop_over_a_list(f):
    for x in [1]:
        result = f()
    return result


@soft
def while_loop(f):
    n = 3
    while n:
        n -= 1
        if n == 1:
            result = f()
    return result


@soft
def list_comprehension(f):
    return [f() for x in (1,)][0]


@soft
def dict_comprehension(f):
    return {x: f() for x in (1,)}[1]


@soft
def nested_comprehension(f):
    return [[f() for y in (1,)] for x in (1,)][0][0]


@soft
def conditional_expression(f):
    return f() if f else None


@soft
def boolean_expression(f):
    return (f and [f()])[0]


@soft
def as_an_argument(f):
    def inner(a, b, c):
        return b
    return inner(1, f(), 2)


@soft
def as_a_keyword_argument(f):
    def inner(a, b):
        return b
    return inner(1, b=f())


@soft
def as_an_argument_of_a_builtin(f):
    return list((1, f(), 2))[1]


@soft
def in_a_display(f):
    return [1, (2, {3: f()})][1][1][3]


@soft
def in_an_f_string(f):
    box = []
    f"{1} {box.append(f())} {2}"
    return box[0]


@soft
def in_a_starred_display(f):
    return [*[1], f(), *[2]][1]


@soft
def in_an_assignment_to_an_item(f):
    d = {}
    d["x"] = f()
    return d["x"]


@soft
def in_an_unpacking_assignment(f):
    a, b = 1, f()
    return b


@soft
def in_a_walrus(f):
    if [x := f()]:
        return x


@soft
def in_a_match(f):
    match [f()]:
        case [x]:
            return x


@soft
def in_a_default_value(f):
    def inner(x=f()):
        return x
    return inner()


@soft
def in_a_decorator(f):
    def decorator(x):
        return lambda g: x

    @decorator(f())
    def inner():
        pass
    return inner


@soft
def in_global_code_of_a_function(f):
    global _global
    _global = f()
    return _global


@soft
def in_an_assertion(f):
    box = []
    assert not box.append(f())
    return box[0]


@soft
def in_a_deletion(f):
    d = {1: 2}
    box = []
    del d[1 if box.append(f()) is None else 2]
    return box[0]


@soft
def in_a_raise(f):
    box = []
    try:
        raise KeyError(box.append(f()))
    except KeyError:
        return box[0]


@soft
def generator_in_a_for_loop(f):
    def gen():
        yield f()
    for x in gen():
        return x


@soft
def generator_expression_in_a_for_loop(f):
    for x in (f() for y in (1,)):
        return x


@soft
def many_locals(f):
    a = b = c = d = e = g = h = i = j = k = list(range(3))
    result = f()
    assert a == b == c == d == e == g == h == i == j == k == [0, 1, 2]
    return result


@soft
def deep_evaluation_stack(f):
    return [1, [2, [3, [4, [5, [6, [7, [8, f()]]]]]]]][1][1][1][1][1][1][1][1]


# --- soft when specialised --------------------------------------------------

@warm
def yield_from(f):
    def inner():
        x = f()
        yield 1
        return x

    def outer():
        box.append((yield from inner()))
    box = []
    for x in outer():
        pass
    return box[0]


@warm
def nested_generators(f):
    def gen(n):
        if n:
            yield from gen(n - 1)
        else:
            yield f()
    for x in gen(5):
        result = x
    return result


class _Init:
    def __init__(self, f):
        self.result = f()


@warm
def class_with_init(f):
    return _Init(f).result


class _Property:
    f = None

    @property
    def value(self):
        return self.f()

    def __getitem__(self, key):
        return key()


# --- with C code in between -------------------------------------------------

@through_c
def map_callback(f):
    return list(map(lambda x: f(), [1]))[0]


@through_c
def filter_callback(f):
    box = []
    list(filter(lambda x: box.append(f()), [1]))
    return box[0]


@through_c
def sort_key(f):
    box = []
    [1].sort(key=lambda x: box.append(f()))
    return box[0]


@through_c
def sorted_key(f):
    box = []
    sorted([1], key=lambda x: box.append(f()) or 0)
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
def partial_object(f):
    return functools.partial(lambda g: g(), f)()


@through_c
def lru_cache(f):
    @functools.lru_cache
    def inner():
        return f()
    return inner()


@through_c
def run_in_a_context(f):
    return contextvars.copy_context().run(lambda: f())


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
def next_of_a_generator(f):
    return next(f() for x in (1,))


@through_c
def send_to_a_generator(f):
    def gen():
        yield f()
    return gen().send(None)


@through_c
def throw_into_a_generator(f):
    def gen():
        try:
            yield
        except KeyError:
            yield f()
    g = gen()
    next(g)
    return g.throw(KeyError)


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
def coroutine_send(f):
    async def coro():
        return f()
    try:
        coro().send(None)
    except StopIteration as e:
        return e.value


@through_c
def coroutine_await(f):
    async def inner():
        return f()

    async def outer():
        return await inner()
    try:
        outer().send(None)
    except StopIteration as e:
        return e.value


@through_c
def dunder_await(f):
    class A:
        def __await__(self):
            yield f()

    async def coro():
        await A()
    c = coro()
    try:
        return c.send(None)
    finally:
        c.close()


@through_c
def property_getter(f):
    ob = _Property()
    ob.f = f
    return ob.value


@through_c
def getattr_hook(f):
    class C:
        def __getattr__(self, name):
            return f()
    return C().x


@through_c
def setattr_hook(f):
    box = []

    class C:
        def __setattr__(self, name, value):
            box.append(f())
    C().x = 1
    return box[0]


@through_c
def descriptor(f):
    class D:
        def __get__(self, ob, cls):
            return f()

    class C:
        x = D()
    return C().x


@through_c
def getitem(f):
    return _Property()[f]


@through_c
def setitem(f):
    box = []

    class C:
        def __setitem__(self, key, value):
            box.append(f())
    C()[1] = 2
    return box[0]


@through_c
def binary_operator(f):
    class C:
        def __add__(self, other):
            return f()
    return C() + 1


@through_c
def reflected_operator(f):
    class C:
        def __radd__(self, other):
            return f()
    return 1 + C()


@through_c
def in_place_operator(f):
    class C:
        def __iadd__(self, other):
            return f()
    x = C()
    x += 1
    return x


@through_c
def unary_operator(f):
    class C:
        def __neg__(self):
            return f()
    return -C()


@through_c
def comparison(f):
    class C:
        def __lt__(self, other):
            return f()
    return C() < 1


@through_c
def containment(f):
    box = []

    class C:
        def __contains__(self, x):
            box.append(f())
    1 in C()
    return box[0]


@through_c
def truth_value(f):
    box = []

    class C:
        def __bool__(self):
            box.append(f())
            return True
    if C():
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
def iterator_in_a_for_loop(f):
    class C:
        def __iter__(self):
            return self

        def __next__(self):
            return f()
    for x in C():
        return x


@through_c
def dunder_iter(f):
    box = []

    class C:
        def __iter__(self):
            box.append(f())
            return iter(())
    for x in C():
        pass
    return box[0]


@through_c
def enter_of_a_context_manager(f):
    class C:
        def __enter__(self):
            return f()

        def __exit__(self, *args):
            pass
    with C() as x:
        return x


@through_c
def exit_of_a_context_manager(f):
    box = []

    class C:
        def __enter__(self):
            pass

        def __exit__(self, *args):
            box.append(f())
    with C():
        pass
    return box[0]


@through_c
def exit_with_an_exception(f):
    box = []

    class C:
        def __enter__(self):
            pass

        def __exit__(self, *args):
            box.append(f())
            return True
    with C():
        raise KeyError
    return box[0]


@through_c
def contextmanager_decorator(f):
    @contextlib.contextmanager
    def manager():
        yield f()
    with manager() as x:
        return x


@through_c
def callable_instance(f):
    class C:
        def __call__(self):
            return f()
    return C()()


@through_c
def dunder_new(f):
    box = []

    class C:
        def __new__(cls):
            box.append(f())
            return object.__new__(cls)
    C()
    return box[0]


@through_c
def metaclass_call(f):
    class Meta(type):
        def __call__(cls):
            return f()

    class C(metaclass=Meta):
        pass
    return C()


@through_c
def class_body(f):
    class C:
        x = f()
    return C.x


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
def enum_member(f):
    box = []

    class E(enum.Enum):
        @classmethod
        def _missing_(cls, value):
            box.append(f())
            return cls.A
        A = 1
    E(2)
    return box[0]


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
