"""Python constructs that call back a function, for use inside of tasklets.

Each function of the tables takes a callable without arguments, calls it
exactly once from within its construct, and returns what it returned.

SOFT    Python functions call Python functions: no C code in between
WARM    the same, once the interpreter has specialised the code

Those with C code in between are in constructs_c.py.
"""

from __future__ import annotations

import contextlib
import functools
from typing import Any, Callable

Construct = Callable[[Callable[[], Any]], Any]

SOFT: dict[str, Construct] = {}
WARM: dict[str, Construct] = {}


def enter(table: dict[str, Construct]) -> Callable[[Construct], Construct]:
    def decorator(f: Construct) -> Construct:
        assert f.__name__ not in table
        table[f.__name__] = f
        return f
    return decorator


soft = enter(SOFT)
warm = enter(WARM)


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
