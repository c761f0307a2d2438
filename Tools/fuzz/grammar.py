"""Random programs of all constructs of the language.

make_program(seed) is the text of a module.  Its main() is to be called once.
A program ends: functions call only what is written before them, loops are
short, and all that may recurse counts in ev(), which has a budget.

What a program uses without defining it (see plain.py):

    ev(...)         log the arguments (show() makes something comparable of them)
    where(tag)      log the program's functions and lines on the stack
    handled(tag)    log the exceptions that are being handled
    S()             a place at which a tasklet may be left; a number
    schedule(x)     stackless.schedule: the same without a Python function; x
    take()          another C function that waits; a number
"""
from __future__ import annotations

import random

from classes import class_definition
from expressions import value
from statements import body
from writer import Function, Writer

PRELUDE = '''\
import collections, contextlib, contextvars, functools, importlib, itertools, json, operator, re, types

class Error(Exception):
    pass

def note(x):
    e = Error(x)
    e.add_note(f"note {x}")
    return e

class Base:
    n = 0
    attr = 1
    changed = 0
    def __init__(self, n=0, *rest, **more):
        self.__dict__['n'] = n
    def __hash__(self):
        return 7
    def method(self, x=0):
        S()
        return x
    @classmethod
    def class_method(cls, x=0):
        S()
        return x
    @staticmethod
    def static_method(x=0):
        return schedule(x)
    def close(self):
        ev('close')

class Manager(Base):
    def __enter__(self):
        ev('enter', self.n, S())
        return self
    def __exit__(self, *exc):
        ev('exit', self.n, S(), *exc[:2])
        handled('exit')

class Swallow(Manager):
    def __exit__(self, *exc):
        schedule()
        return True

@contextlib.contextmanager
def manager(n):
    ev('manager', n, S())
    try:
        yield n
    finally:
        ev('manager ends', n, S())

@contextlib.contextmanager
def changed(n):
    token = VAR.set(n)
    S()
    try:
        yield token
    finally:
        VAR.reset(token)

class Meta(type):
    def __call__(cls, *args, **kwargs):
        ev('Meta.__call__', S())
        return super().__call__(*args, **kwargs)
    def __instancecheck__(cls, ob):
        ev('Meta.__instancecheck__', S())
        return False

class Checked(metaclass=Meta):
    pass

class PreparedMeta(type):
    @classmethod
    def __prepare__(mcs, name, bases, **kwargs):
        S()
        return {'prepared': take()}
    def __new__(mcs, name, bases, namespace, **kwargs):
        ev('Meta.__new__', name, S())
        return super().__new__(mcs, name, bases, namespace)

class Prepared(Base, metaclass=PreparedMeta):
    pass

class Hooked(Base):
    def __init_subclass__(cls, word=None, **kwargs):
        ev('__init_subclass__', word, S())

class Named(Base):
    def __set_name__(self, owner, name):
        ev('__set_name__', name, S())

class Descriptor(Base):
    def __get__(self, ob, owner=None):
        ev('__get__', S())
        return self.n

class Data(Descriptor):
    def __set__(self, ob, new):
        ev('__set__', new, S())
    def __delete__(self, ob):
        ev('__delete__', S())

class Missing(dict):
    def __missing__(self, key):
        ev('__missing__', key, S())
        return key

class Pattern(Base):
    __match_args__ = ('n', 'attr')

def decorated(x):
    def decorate(cls):
        S()
        return cls
    return decorate

@functools.lru_cache(2)
def cached_call(x):
    return S()

@functools.singledispatch
def single(x):
    return S()

@single.register
def _(x: int):
    return schedule(x)

class Pause:
    def __init__(self, x):
        self.x = x
    def __await__(self):
        S()
        got = yield self.x
        return (self.x, got)

@types.coroutine
def pause(x):
    got = yield x
    S()
    return (x, got)

class Async:
    def __init__(self, n):
        self.n = n
    def __aiter__(self):
        S()
        return self
    async def __anext__(self):
        await pause(self.n)
        self.n -= 1
        if self.n < 0:
            raise StopAsyncIteration
        return self.n

class AsyncManager(Base):
    async def __aenter__(self):
        await pause(self.n)
        return S()
    async def __aexit__(self, *exc):
        ev('aexit', *exc[:2])
        await pause(self.n)
        return self.n % 3 == 0

@contextlib.asynccontextmanager
async def amanager(n):
    await pause(n)
    try:
        yield n
    finally:
        ev('amanager ends', await Pause(n))

def drive(coro):
    result = None
    try:
        while True:
            result = coro.send(result)
            ev('awaited', result, S())
    except StopIteration as e:
        return e.value

async def collect(agen):
    return [x async for x in agen]

'''


def parameters(g: Writer) -> tuple[str, int, tuple[str, ...]]:
    number = g.rng.randrange(3)
    names = ["a", "b"][:number]
    text = list(names)
    keywords: tuple[str, ...] = ()
    if g.chance(0.2):
        text.append(f"c={g.number()}")
    if g.chance(0.15):
        text.append("*rest")
    if g.chance(0.2):
        if "*rest" not in text:
            text.append("*")
        text.append(f"k={g.number()}")
        keywords = ("k",)
    if g.chance(0.15):
        text.append("**more")
    return ", ".join(text), number, keywords


def function_definition(g: Writer) -> None:
    kind = g.rng.choice(("function",) * 5 + ("generator",) * 4 + ("coroutine",) * 3 + ("asyncgen",) * 2)
    name = g.name("f")
    text, number, keywords = parameters(g)
    head = f"{'async ' * (kind in ('coroutine', 'asyncgen'))}def {name}({text}):"
    with g.function(kind, head, ("a", "b")[:number]):
        g.line(f"ev('{name}')")
        if kind in ("generator", "asyncgen") and g.chance(0.8):
            g.line(f"yield {value(g)}")
        body(g, 5)
        if kind == "generator":
            g.line(f"yield {g.number()}")
        if kind == "asyncgen":
            g.line(f"yield {value(g)}")
        else:
            g.line(f"return {value(g)}")
    g.functions.append(Function(name, kind, number, keywords))


def guarded_call(g: Writer) -> None:
    """What main() consists of: an exception does not end it."""
    with g.block("try:"):
        body(g, 2)
        g.line(f"ev({g.number()}, {value(g)})")
    with g.block("except Exception as error:"):
        g.line(f"handled({g.number()})")


def write_program(rng: random.Random, size: int, finalizers: bool) -> str:
    g = Writer(rng)
    for _ in range(rng.randint(1, 2 + size)):
        if g.chance(0.3):
            class_definition(g, finalizers)
        else:
            function_definition(g)
    with g.function("function", "def main():"):
        for _ in range(rng.randint(1, 2 + size)):
            guarded_call(g)
        g.line(f"return {value(g)}")
    return PRELUDE + g.text()


def make_program(seed: int, size: int = 6, finalizers: bool = True) -> str:
    """The same text for the same arguments."""
    rng = random.Random(seed)
    while True:
        text = write_program(rng, size, finalizers)
        try:
            compile(text, "program", "exec", dont_inherit=True)
        except SyntaxError:
            continue            # a jump out of except*, nonlocal after use ...: take the next
        return text
