"""Small programs that are interrupted after every number of instructions, pickled, and go on in
another process: the same has to come of them.

    python -m test.test_stackless.everywhere [NAME ...]

does that with all of them, or those named; the test suite with a sample.
"""

from __future__ import annotations

import contextlib
import pickle
import sys
import types
from typing import Callable

import stackless

from . import pickling
from .constructs import SOFT, WARM
from .constructs_inline import INLINED
from .pickling import OtherProcess

PROGRAMS: dict[str, Callable] = {}


def program(f):
    PROGRAMS[f.__name__] = f
    return f


class Error(Exception):
    pass


class Manager:
    def __init__(self, p, swallow=False):
        self.p, self.swallow = p, swallow

    def __enter__(self):
        self.p("enter")
        return self

    def __exit__(self, kind, value, tb):
        self.p("exit", kind and kind.__name__, str(value))
        return self.swallow


class Vector:
    def __init__(self, *values):
        self.values = values

    def __add__(self, other):
        return Vector(*(a + b for a, b in zip(self.values, other.values)))

    def __radd__(self, other):
        return self if other == 0 else NotImplemented

    def __eq__(self, other):
        return isinstance(other, Vector) and self.values == other.values

    def __lt__(self, other):
        for a, b in zip(self.values, other.values):
            if a != b:
                return a < b
        return False

    def __getitem__(self, i):
        return self.values[i]

    def __len__(self):
        n = 0
        for _ in self.values:
            n += 1
        return n

    def __bool__(self):
        return any([x for x in self.values])

    def __contains__(self, x):
        for y in self.values:
            if x == y:
                return True
        return False

    def __iter__(self):
        for x in self.values:
            yield x

    def __call__(self, k):
        return Vector(*[k * x for x in self.values])

    def __neg__(self):
        return self(-1)

    @property
    def norm(self):
        total = 0
        for x in self.values:
            total += x * x
        return total

    def __getattr__(self, name):
        if name == "unknown":
            return "found"
        raise AttributeError(name)


class Countdown:
    def __init__(self, n):
        self.n = n

    def __iter__(self):
        return self

    def __next__(self):
        self.n -= 1
        if self.n < 0:
            raise StopIteration
        return self.n

    def __aiter__(self):
        return self

    async def __anext__(self):
        self.n -= 1
        if self.n < 0:
            raise StopAsyncIteration
        return self.n

    async def __aenter__(self):
        return self.n

    async def __aexit__(self, *args):
        return False


@program
def loops(p):
    total = 0
    for i in range(5):
        for j in (1, 2, 3):
            if j == 2:
                continue
            total += i * j
        else:
            total += 100
    while total:
        total //= 7
        if total < 3:
            break
    p(total)


@program
def try_finally(p):
    for i in range(3):
        try:
            try:
                if i == 1:
                    raise Error(i)
                p("body", i)
            finally:
                p("finally", i)
        except Error as e:
            p("caught", e.args)
    p("end")


@program
def nested_handlers(p):
    try:
        try:
            raise Error(1)
        except Error as e:
            try:
                raise KeyError(2) from e
            finally:
                p("inner", repr(sys.exception()))
    except KeyError as e:
        p(repr(e), repr(e.__cause__), repr(e.__context__), e.__suppress_context__)
        n = 0
        for tb in iter_traceback(e.__traceback__):
            n += 1
        p(n)
    p(sys.exception())


def iter_traceback(tb):
    while tb is not None:
        yield tb
        tb = tb.tb_next


@program
def reraise(p):
    def f(n):
        try:
            return 10 // n
        except ZeroDivisionError:
            p("zero")
            raise
        finally:
            p("done", n)
    for n in (5, 0):
        try:
            p(f(n))
        except ArithmeticError as e:
            p(type(e).__name__)


@program
def except_star(p):
    try:
        raise ExceptionGroup("group", [Error(1), KeyError(2), ValueError(3)])
    except* Error as eg:
        p("errors", [e.args for e in eg.exceptions])
    except* (KeyError, ValueError) as eg:
        p("others", [e.args for e in eg.exceptions])
    try:
        try:
            raise ExceptionGroup("group", [Error(1), KeyError(2)])
        except* Error:
            p("first")
    except ExceptionGroup as eg:
        p(eg.message, len(eg.exceptions))


@program
def with_statements(p):
    with Manager(p) as m, Manager(p, True):
        p(m.swallow)
        raise Error("in with")
    try:
        with Manager(p):
            raise Error("again")
    except Error as e:
        p(e.args)
    for i in range(2):
        with Manager(p):
            if i:
                break


@contextlib.contextmanager
def generated(p, name):
    p("begin", name)
    try:
        yield name
    except Error:
        p("error", name)
    finally:
        p("end", name)


@program
def generated_managers(p):
    with generated(p, "a") as name:
        p(name)
        raise Error
    with generated(p, "b"):
        p("body")


@program
def comprehensions(p):
    words = ["ab", "c", "def"]
    p([c for w in words for c in w if c != "c"])
    p({w: len(w) for w in words})
    p(sorted({c for w in words for c in w}))
    x = 5
    p([x for x in range(3)], x)
    fs = [lambda: y for y in range(3)]
    p([f() for f in fs])
    p([[i * j for j in range(2)] for i in range(2)])
    p(list(i for i in range(4) if i % 2))


@program
def generators(p):
    def squares(n):
        for i in range(n):
            got = yield i * i
            if got:
                p("got", got)

    def both(n):
        result = yield from squares(n)
        p("result", result)
        yield from [7, 8]
        return "returned"

    def outer():
        p((yield from both(2)))
    for x in outer():
        p(x)
    g = squares(3)
    p(next(g), g.send("hello"), next(g), next(g, "default"))
    g = squares(3)
    next(g)
    try:
        g.throw(Error("thrown"))
    except Error as e:
        p(e.args)
    g = squares(2)
    next(g)
    g.close()
    p(sum(x for x in squares(4)))


@program
def iterators(p):
    for x in Countdown(3):
        p(x)
    a, *rest = Countdown(4)
    p(a, rest)
    for i, (x, y) in enumerate(zip(Countdown(2), "ab")):
        p(i, x, y)


def run_coroutine(c):
    try:
        while True:
            c.send(None)
    except StopIteration as e:
        return e.value


@types.coroutine
def pause():
    yield


@program
def coroutines(p):
    async def inner(x):
        await pause()
        if x == 2:
            raise Error(x)
        return x

    async def agen():
        for i in range(2):
            await pause()
            yield i

    async def main():
        total = 0
        for i in range(4):
            try:
                total += await inner(i)
            except Error as e:
                p("error", e.args)
        async for x in agen():
            p("item", x)
        p([x async for x in Countdown(3)])
        async with Countdown(5) as c:
            p("with", c)
        return total
    p(run_coroutine(main()))


def classify(x):
    match x:
        case {"kind": kind, **rest}:
            return kind, rest
        case [a, b, *others]:
            return a, b, others
        case Error(args=(n,)):
            return n
        case str() as s if len(s) > 2:
            return s.upper()
        case 1 | 2 | None:
            return "small"
        case _:
            return "other"


@program
def matching(p):
    for x in ({"kind": 1, "b": 2}, [1, 2, 3, 4], (5, 6), Error(7), "abc", "a", 2, None, 3.5):
        p(classify(x))


@program
def operators(p):
    a, b = Vector(1, 2), Vector(3, 4)
    p((a + b).values, (-a).values, a == b, a != b, a < b, a[1], len(a), bool(a), 2 in a, 9 in b)
    p(sum([a, b]).values)
    a += b
    p(a.values, a.norm, a.unknown)
    p([x for x in a], (a if not Vector(0) else b).values)
    try:
        a + 5
    except AttributeError as e:
        p(type(e).__name__)
    try:
        a < 5 < a
    except AttributeError as e:
        p(str(e))


@program
def arguments(p):
    def f(a, b=2, *args, c, d=4, **kwargs):
        return a, b, args, c, d, kwargs
    p(f(1, c=3))
    p(f(*[1, 2, 3], **{"c": 4, "x": 5}))
    p(f(1, *(2,), c=f(0, c=1)))
    try:
        f(1)
    except TypeError:
        p("TypeError")


@program
def closures(p):
    def counter(start):
        n = start

        def step(k=1):
            nonlocal n
            n += k
            return n

        def reset():
            nonlocal n
            n = start
        return step, reset
    step, reset = counter(10)
    p(step(), step(5))
    reset()
    p(step())

    def outer(x):
        def middle(y):
            def inner(z):
                return x, y, z
            return inner
        return middle
    p(outer(1)(2)(3))


@program
def recursion(p):
    def fib(n):
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    def ackermann(m, n):
        if m == 0:
            return n + 1
        return ackermann(m - 1, ackermann(m, n - 1) if n else 1)
    p(fib(5), ackermann(1, 2))


@program
def sorting(p):
    words = ["banana", "fig", "apple"]

    def key(w):
        return len(w), w
    words.sort(key=key)
    p(words)
    p(sorted(words, key=lambda w: w[-1], reverse=True))
    p(max(words, key=len), min([3, 1, 2], key=lambda x: -x))
    p([v.values for v in sorted([Vector(2, 1), Vector(1, 2)])])


@program
def strings(p):
    for i in range(3):
        name = f"{i:>3}|{i!r}|{'x' * i}"
        p(name, "%d-%s" % (i, name))
    p(",".join(str(i) for i in range(4)))


@program
def deletion(p):
    d = {"a": 1, "b": 2}
    del d["a"]
    x = [1, 2, 3]
    del x[0], x[:1]
    p(d, x)
    y = 5
    del y
    try:
        y
    except UnboundLocalError as e:
        p("unbound")
    if d:
        y = 6
    p(y)


@program
def globals_and_exec(p):
    namespace = {"p": p}
    exec("""
def f(n):
    global total
    total = 0
    for i in range(n):
        total += i
    return total
p(f(4), total)
p([f(i) for i in range(3)])
""", namespace)
    p(eval("f(2) + 1", namespace))


@program
def assignments(p):
    (a, b), *c, d = (1, 2), 3, 4, 5
    a, b = b, a
    x = y = [0] * 3
    x[1], x[2] = a, b
    p(a, b, c, d, x is y, x)
    if (n := len(x)) > 2:
        p(n)
    x[1:] = [9]
    p(y, 1 if x else 2, a and b or c, 1 < 2 < 3 != 4)
    p(*x, **{"k": 1} if 0 else {})


@program
def assertions(p):
    try:
        assert p is None, "message"
    except AssertionError as e:
        p(str(e))
    try:
        raise Error from None
    except Error as e:
        p(e.__suppress_context__)


@program
def methods(p):
    class Base:
        def __init__(self, x):
            self.x = x

        def value(self):
            return self.x

        @classmethod
        def make(cls, x):
            return cls(x)

        @staticmethod
        def double(x):
            return 2 * x
    p(Base.double(4))
    v = Vector(1, 2)
    p(v(3).values, Vector.__call__(v, 2).values)


# The constructs in which tasklets are left softly are programs, too.

def get_result():
    return "result"


class InConstruct:
    def __init__(self, name):
        self.name = name

    def __call__(self, p):
        construct = CONSTRUCTS[self.name]
        p(construct(lambda: get_result()))
        p(construct(lambda: get_result()))


CONSTRUCTS = {**SOFT, **WARM, **INLINED}
for name in sorted(set(CONSTRUCTS) - set(pickling.REFUSED)):
    PROGRAMS[f"construct_{name}"] = InConstruct(name)


# --- the test ---------------------------------------------------------------------------

class Log(list):
    """What a program prints."""

    def __call__(self, *args):
        self.append(repr(args))

    def __reduce__(self):
        return Log, (), None, iter(list(self))


def go_on_all(pickles: list[bytes]) -> list:
    """In another process: the logs of those tasklets."""
    return [_go_on(data) for data in pickles]


def _go_on(data: bytes):
    t, log = pickle.loads(data)
    t.insert()
    stackless.run()
    return list(log)


def expected(f: Callable) -> Log:
    log = Log()
    stackless.tasklet(f)(log)
    stackless.run()
    return log


def interrupted(f: Callable, ticks: int):
    """(the tasklet, pickled with its log; or why not), or None: it ends before."""
    log = Log()
    t = stackless.tasklet(f)(log)
    if stackless.run(ticks) is not t:
        return None
    try:
        if not t.restorable:
            return "hard"
        return pickling.dumps((t, log))
    except Exception as e:
        return f"{type(e).__name__}: {e}"
    finally:
        t.insert()
        stackless.run()


def check(name: str, f: Callable, other: OtherProcess, numbers=None) -> dict:
    """Interrupt the program at each place (or after these numbers of instructions).

    Returns how many places there were, and a list of what was wrong.
    """
    right = list(expected(f))
    places, wrong, refused = [], [], {}
    for ticks in numbers if numbers is not None else range(1, 1_000_000):
        data = interrupted(f, ticks)
        if data is None:
            break
        if isinstance(data, str):
            refused[data] = refused.get(data, 0) + 1
        else:
            places.append((ticks, data))
    for i in range(0, len(places), 50):
        some = places[i:i + 50]
        _, how, logs = other.call(go_on_all, [data for _, data in some])
        if how != "ok":
            for ticks, data in some:
                _, how, logs = other.call(go_on_all, [data])
                if how != "ok":
                    wrong.append((name, ticks, logs.strip().splitlines()[-1]))
                elif logs[0] != right:
                    wrong.append((name, ticks, logs[0]))
            continue
        wrong += [(name, ticks, log) for (ticks, _), log in zip(some, logs) if log != right]
    return {"places": len(places), "wrong": wrong, "refused": refused}


def main(names: list[str]) -> int:
    other = OtherProcess()
    failed = total = 0
    for name in names or PROGRAMS:
        result = check(name, PROGRAMS[name], other)
        total += result["places"]
        failed += len(result["wrong"])
        print(f"{name}: {result['places']} places, {len(result['wrong'])} wrong",
              result["refused"] or "", flush=True)
        for line in result["wrong"][:3]:
            print("   ", line)
    print(f"{total} places, {failed} wrong")
    other.close()
    return failed != 0


if __name__ == "__main__":
    from test.test_stackless import everywhere       # not __main__: pickles name the module
    sys.exit(everywhere.main(sys.argv[1:]))
