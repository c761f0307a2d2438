"""Python constructs in which an instruction calls a Python function.

INLINED is a table like those of constructs.py.  CPython runs these through C code
where they are not specialised; in a tasklet they stay in the eval loop.
"""

from __future__ import annotations

import contextlib
import contextvars
import enum
import functools
import types

from .constructs import Construct, enter

INLINED: dict[str, Construct] = {}

inlined = enter(INLINED)


class _Property:
    f = None

    @property
    def value(self):
        return self.f()

    def __getitem__(self, key):
        return key()


@inlined
def partial_object(f):
    return functools.partial(lambda g: g(), f)()


@inlined
def run_in_a_context(f):
    return contextvars.copy_context().run(lambda: f())


@inlined
def next_of_a_generator(f):
    return next(f() for x in (1,))


@inlined
def send_to_a_generator(f):
    def gen():
        yield f()
    return gen().send(None)


@inlined
def throw_into_a_generator(f):
    def gen():
        try:
            yield
        except KeyError:
            yield f()
    g = gen()
    next(g)
    return g.throw(KeyError)


@inlined
def throw_into_nested_generators(f):
    def inner():
        try:
            yield
        except KeyError:
            yield f()

    def outer():
        yield from inner()

    def outermost():
        yield from outer()
    g = outermost()
    next(g)
    return g.throw(KeyError)


@inlined
def throw_that_ends_a_nested_generator(f):
    def inner():
        try:
            yield
        except KeyError:
            return f()

    def outer():
        try:
            raise ValueError
        except ValueError:
            value = yield from inner()
        yield value
    g = outer()
    next(g)
    return g.throw(KeyError("thrown"))


@inlined
def throw_through_nested_generators(f):
    def inner():
        try:
            yield
        except KeyError:
            raise ValueError("instead")

    def outer():
        try:
            yield from inner()
        except ValueError as e:
            result = f()
            yield result if type(e.__context__) is KeyError else e
    g = outer()
    next(g)
    return g.throw(KeyError)


@inlined
def throw_past_an_iterator(f):
    def gen():
        try:
            yield from (1, 2)
        except KeyError:
            yield f()
    g = gen()
    next(g)
    return g.throw(KeyError)


@inlined
def throw_into_an_iterator(f):
    class Iterator:
        def __iter__(self):
            return self

        def __next__(self):
            return 1

        def throw(self, exc):
            return f()

    def gen():
        yield from Iterator()

    def outer():
        yield from gen()
    g = outer()
    next(g)
    return g.throw(KeyError)


@inlined
def throw_that_ends_an_iterator(f):
    class Iterator:
        def __iter__(self):
            return self

        def __next__(self):
            return 1

        def throw(self, exc):
            raise StopIteration(f())

    def gen():
        yield (yield from Iterator())
    g = gen()
    next(g)
    return g.throw(KeyError)


@inlined
def throw_into_what_is_awaited(f):
    @types.coroutine
    def wait():
        try:
            yield
        except KeyError:
            return f()

    async def inner():
        return await wait()

    async def coro():
        async with Closing():
            return await inner()

    class Closing:
        async def __aenter__(self):
            pass

        async def __aexit__(self, *exc_info):
            pass
    c = coro()
    c.send(None)
    try:
        c.throw(KeyError)
    except StopIteration as e:
        return e.value


@inlined
def throw_twice_into_nested_generators(f):
    def inner():
        for function in (None, f):
            try:
                yield
            except KeyError:
                yield function and function()

    def outer():
        yield from inner()
    g = outer()
    next(g)
    g.throw(KeyError)
    next(g)
    return g.throw(KeyError)


@inlined
def coroutine_send(f):
    async def coro():
        return f()
    try:
        coro().send(None)
    except StopIteration as e:
        return e.value


@inlined
def coroutine_await(f):
    async def inner():
        return f()

    async def outer():
        return await inner()
    try:
        outer().send(None)
    except StopIteration as e:
        return e.value


@inlined
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


@inlined
def property_getter(f):
    ob = _Property()
    ob.f = f
    return ob.value


@inlined
def getattr_hook(f):
    class C:
        def __getattr__(self, name):
            return f()
    return C().x


@inlined
def setattr_hook(f):
    box = []

    class C:
        def __setattr__(self, name, value):
            box.append(f())
    C().x = 1
    return box[0]


@inlined
def descriptor(f):
    class D:
        def __get__(self, ob, cls):
            return f()

    class C:
        x = D()
    return C().x


@inlined
def getitem(f):
    return _Property()[f]


@inlined
def setitem(f):
    box = []

    class C:
        def __setitem__(self, key, value):
            box.append(f())
    C()[1] = 2
    return box[0]


@inlined
def binary_operator(f):
    class C:
        def __add__(self, other):
            return f()
    return C() + 1


@inlined
def reflected_operator(f):
    class C:
        def __radd__(self, other):
            return f()
    return 1 + C()


@inlined
def in_place_operator(f):
    class C:
        def __iadd__(self, other):
            return f()
    x = C()
    x += 1
    return x


@inlined
def unary_operator(f):
    class C:
        def __neg__(self):
            return f()
    return -C()


@inlined
def comparison(f):
    class C:
        def __lt__(self, other):
            return f()
    return C() < 1


@inlined
def containment(f):
    box = []

    class C:
        def __contains__(self, x):
            box.append(f())
    1 in C()
    return box[0]


@inlined
def truth_value(f):
    box = []

    class C:
        def __bool__(self):
            box.append(f())
            return True
    if C():
        return box[0]


@inlined
def iterator_in_a_for_loop(f):
    class C:
        def __iter__(self):
            return self

        def __next__(self):
            return f()
    for x in C():
        return x


@inlined
def dunder_iter(f):
    box = []

    class C:
        def __iter__(self):
            box.append(f())
            return iter(())
    for x in C():
        pass
    return box[0]


@inlined
def enter_of_a_context_manager(f):
    class C:
        def __enter__(self):
            return f()

        def __exit__(self, *args):
            pass
    with C() as x:
        return x


@inlined
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


@inlined
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


@inlined
def contextmanager_decorator(f):
    @contextlib.contextmanager
    def manager():
        yield f()
    with manager() as x:
        return x


@inlined
def callable_instance(f):
    class C:
        def __call__(self):
            return f()
    return C()()


@inlined
def dunder_new(f):
    box = []

    class C:
        def __new__(cls):
            box.append(f())
            return object.__new__(cls)
    C()
    return box[0]


@inlined
def metaclass_call(f):
    class Meta(type):
        def __call__(cls):
            return f()

    class C(metaclass=Meta):
        pass
    return C()


@inlined
def class_body(f):
    class C:
        x = f()
    return C.x


@inlined
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


@inlined
def method_of_a_partial(f):
    class C:
        def method(self, g, h):
            return g() if h else None
        partial = functools.partialmethod(method, f)
    return C().partial(True)


@inlined
def partial_with_keywords(f):
    def inner(a, *, b, g):
        return g()
    return functools.partial(inner, b=1, g=None)(1, g=f)


@inlined
def run_in_a_context_with_arguments(f):
    def inner(a, *, g):
        return g()
    return contextvars.copy_context().run(inner, 1, g=f)


@inlined
def cached_property(f):
    class C:
        @functools.cached_property
        def x(self):
            return f()
    return C().x


@inlined
def property_setter(f):
    box = []

    class C:
        @property
        def x(self):
            pass

        @x.setter
        def x(self, value):
            box.append(f())
    C().x = 1
    return box[0]


@inlined
def property_deleter(f):
    box = []

    class C:
        @property
        def x(self):
            pass

        @x.deleter
        def x(self):
            box.append(f())
    c = C()
    del c.x
    return box[0]


@inlined
def property_that_is_called(f):
    class C:
        @property
        def x(self):
            value = f()
            return lambda: value
    return C().x()


@inlined
def property_of_a_metaclass(f):
    class Meta(type):
        @property
        def x(cls):
            return f()

    class C(metaclass=Meta):
        pass
    return C.x


@inlined
def data_descriptor(f):
    class D:
        def __get__(self, ob, cls):
            return f()

        def __set__(self, ob, value):
            pass

    class C:
        x = D()
    return C().x


@inlined
def descriptor_of_a_class(f):
    class D:
        def __get__(self, ob, cls):
            return f()

    class C:
        x = D()
    return C.x


@inlined
def descriptor_set(f):
    box = []

    class D:
        def __set__(self, ob, value):
            box.append(f())

    class C:
        x = D()
    C().x = 1
    return box[0]


@inlined
def descriptor_delete(f):
    box = []

    class D:
        def __delete__(self, ob):
            box.append(f())

    class C:
        x = D()
    c = C()
    del c.x
    return box[0]


@inlined
def getattribute(f):
    class C:
        def __getattribute__(self, name):
            return f()
    return C().x


@inlined
def getattr_after_getattribute(f):
    class C:
        def __getattribute__(self, name):
            raise AttributeError(name)

        def __getattr__(self, name):
            return f()
    return C().x


@inlined
def getattr_after_a_property(f):
    class C:
        @property
        def x(self):
            raise AttributeError

        def __getattr__(self, name):
            return f()
    return C().x


@inlined
def getattr_of_a_method(f):
    class C:
        def __getattr__(self, name):
            return lambda x: f()
    return C().method(1)


@inlined
def getattr_of_a_metaclass(f):
    class Meta(type):
        def __getattr__(cls, name):
            return f()

    class C(metaclass=Meta):
        pass
    return C.x


@inlined
def getattr_of_a_module(f):
    module = types.ModuleType("m")
    module.__getattr__ = lambda name: f()
    return module.x


@inlined
def delattr_hook(f):
    box = []

    class C:
        def __delattr__(self, name):
            box.append(f())
    c = C()
    del c.x
    return box[0]


@inlined
def delitem(f):
    box = []

    class C:
        def __delitem__(self, key):
            box.append(f())
    c = C()
    del c[1]
    return box[0]


@inlined
def slice_getitem(f):
    class C:
        def __getitem__(self, key):
            return f()
    return C()[1:2]


@inlined
def slice_setitem(f):
    box = []

    class C:
        def __setitem__(self, key, value):
            box.append(f())
    C()[1:2] = 3
    return box[0]


@inlined
def reflected_after_not_implemented(f):
    class A:
        def __add__(self, other):
            return NotImplemented

    class B:
        def __radd__(self, other):
            return f()
    return A() + B()


@inlined
def reflected_of_a_subclass(f):
    class A:
        def __mul__(self, other):
            raise AssertionError

    class B(A):
        def __rmul__(self, other):
            return f()
    return A() * B()


@inlined
def in_place_after_not_implemented(f):
    class C:
        def __ipow__(self, other):
            return NotImplemented

        def __pow__(self, other):
            return f()
    c = C()
    c **= 2
    return c


@inlined
def negation_and_inversion(f):
    box = []

    class C:
        def __invert__(self):
            return self

        def __neg__(self):
            return self

        def __pos__(self):
            box.append(f())
    +-~C()
    return box[0]


@inlined
def reflected_comparison(f):
    class A:
        def __lt__(self, other):
            return NotImplemented

    class B:
        def __gt__(self, other):
            return f()
    return A() < B()


@inlined
def inequality_by_eq(f):
    box = []

    class C:
        def __eq__(self, other):
            box.append(f())
            return True
    assert not C() != 1
    return box[0]


@inlined
def comparison_in_a_condition(f):
    box = []

    class Bool:
        def __bool__(self):
            box.append(f())
            return True

    class C:
        def __ge__(self, other):
            return Bool()
    if C() >= 1:
        return box[0]


@inlined
def truth_by_length(f):
    box = []

    class C:
        def __len__(self):
            box.append(f())
            return 3
    if C():
        return box[0]


@inlined
def not_in(f):
    box = []

    class Bool:
        def __bool__(self):
            return False

    class C:
        def __contains__(self, x):
            box.append(f())
            return Bool()
    assert 1 not in C()
    return box[0]


@inlined
def next_of_an_iterator(f):
    class C:
        def __iter__(self):
            return self

        def __next__(self):
            return f()
    return next(C())


@inlined
def next_with_a_default(f):
    def gen():
        box.append(f())
        return
        yield
    box = []
    assert next(gen(), 5) == 5
    return box[0]


@inlined
def dunder_next_of_a_generator(f):
    return (f() for x in (1,)).__next__()


@inlined
def end_of_a_for_loop(f):
    box = []

    class C:
        def __iter__(self):
            return self

        def __next__(self):
            box.append(f())
            raise StopIteration
    for x in C():
        pass
    return box[0]


@inlined
def end_of_a_generator(f):
    def gen():
        yield 1
        box.append(f())
        return 5
    box = []
    for x in gen():
        pass
    return box[0]


@inlined
def yield_from_an_iterator(f):
    class C:
        def __iter__(self):
            return self

        def __next__(self):
            return f()

    def gen():
        yield from C()
    for x in gen():
        return x


@inlined
def value_of_yield_from(f):
    class C:
        def __iter__(self):
            return self

        def __next__(self):
            raise StopIteration(f())

    def gen():
        box.append((yield from C()))
    box = []
    for x in gen():
        pass
    return box[0]


@inlined
def async_with(f):
    class C:
        async def __aenter__(self):
            return f()

        async def __aexit__(self, *args):
            pass

    async def coro():
        async with C() as x:
            return x
    return _run(coro())


@inlined
def async_with_exit(f):
    box = []

    class C:
        async def __aenter__(self):
            pass

        async def __aexit__(self, *args):
            box.append(f())
            return True

    async def coro():
        async with C():
            raise KeyError
    _run(coro())
    return box[0]


@inlined
def async_with_plain_methods(f):
    class C:
        def __aenter__(self):
            self.x = f()
            return self

        def __aexit__(self, *args):
            return self

        def __await__(self):
            return self.x
            yield

    async def coro():
        async with C() as x:
            return x
    return _run(coro())


@inlined
def async_for(f):
    class C:
        def __aiter__(self):
            return self

        async def __anext__(self):
            return f()

    async def coro():
        async for x in C():
            return x
    return _run(coro())


@inlined
def async_generator(f):
    async def agen():
        yield f()

    async def coro():
        async for x in agen():
            return x
    return _run(coro())


@inlined
def asend_to_an_async_generator(f):
    async def agen():
        yield
        yield f()

    async def coro():
        gen = agen()
        await anext(gen)
        return await gen.asend(None)
    return _run(coro())


@inlined
def dunder_aiter(f):
    box = []

    class C:
        def __aiter__(self):
            box.append(f())
            return self

        async def __anext__(self):
            raise StopAsyncIteration

    async def coro():
        async for x in C():
            pass
    _run(coro())
    return box[0]


@inlined
def class_with_init_that_takes_all(f):
    class C:
        def __init__(self, a, *args, b, **kwargs):
            self.x = f()
    return C(1, *[2], b=3, **{"c": 4}).x


@inlined
def class_with_new_and_init(f):
    class C:
        def __new__(cls, *args, **kwargs):
            self = super().__new__(cls)
            self.y = f()
            return self

        def __init__(self, x, *, z):
            self.x = x, z
    c = C(1, z=2)
    assert c.x == (1, 2)
    return c.y


@inlined
def class_with_a_base_in_c(f):
    class C(dict):
        def __init__(self, *args):
            super().__init__(*args)
            self.x = f()
    return C([(1, 2)]).x


@inlined
def exception_with_init(f):
    class C(Exception):
        def __init__(self, x):
            self.x = f()
    try:
        raise C(1)
    except C as e:
        return e.x


@inlined
def inherited_metaclass_call(f):
    class Meta(type):
        def __call__(cls, *args):
            return super().__call__(*args)

    class C(metaclass=Meta):
        def __init__(self, x):
            self.x = f()
    return C(1).x


@inlined
def metaclass_new_and_init(f):
    class Meta(type):
        def __new__(mcs, name, bases, namespace, **kwargs):
            return super().__new__(mcs, name, bases, namespace)

        def __init__(cls, name, bases, namespace, *, x):
            cls.x = f()

    class C(metaclass=Meta, x=1):
        def method(self):
            return __class__
    assert C().method() is C
    return C.x


@inlined
def metaclass_prepare(f):
    class Meta(type):
        @classmethod
        def __prepare__(mcs, name, bases):
            return {"x": f()}

    class C(metaclass=Meta):
        pass
    return C.x


@inlined
def class_decorator(f):
    class Decorator:
        def __init__(self, cls):
            self.x = f()

    @Decorator
    class C:
        pass
    return C.x


@inlined
def callable_with_star(f):
    class C:
        def __call__(self, *args, **kwargs):
            return f()
    return C()(*[1], **{"a": 2})


@inlined
def method_of_a_class_with_call(f):
    class C:
        def __call__(self, ob):
            return f()

    class D:
        pass
    D.method = types.MethodType(C(), 1)
    return D().method()


@inlined
def contextmanager_with_an_exception(f):
    box = []

    @contextlib.contextmanager
    def manager():
        try:
            yield
        except KeyError:
            box.append(f())
    with manager():
        raise KeyError
    return box[0]


@inlined
def sort_key(f):
    box = []
    [3, 1].sort(key=lambda x: box.append(f()) or 1 if x == 1 else x, reverse=True)
    return box[0]


@inlined
def sorted_key(f):
    box = []
    sorted(iter("b"), key=lambda x: box.append(f()))
    return box[0]


@inlined
def sorted_key_that_is_a_method(f):
    class C(list):
        def key(self, x):
            self.append(f())
    c = C()
    sorted([1], reverse=True, key=c.key)
    return c[0]


@inlined
def sorted_key_in_a_sort_key(f):
    box = []
    [[2], []].sort(key=lambda item: sorted(item, key=lambda x: box.append(f())))
    return box[0]


@inlined
def recursion_through_operators(f):
    class C:
        def __init__(self, n):
            self.n = n

        def __add__(self, other):
            return C(self.n - 1) + other if self.n else f()
    return C(50) + 1


@inlined
def several_in_one_expression(f):
    class C:
        def __init__(self, x):
            self.x = x

        def __getitem__(self, key):
            return self

        def __call__(self):
            return self

        def __add__(self, other):
            return other.value

        @property
        def value(self):
            return f()
    return C(1)[2]() + C(3)


def _run(coro):
    try:
        coro.send(None)
    except StopIteration as e:
        return e.value
    raise AssertionError
