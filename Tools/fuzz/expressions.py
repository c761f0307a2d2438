"""Random expressions: text, of which nothing is known but that it is one."""
from __future__ import annotations

from writer import Function, Table, Writer

EXPRESSIONS = Table()
SIMPLE = Table()
ITERABLES = Table()
DEEPEST = 3


def value(g: Writer) -> str:
    if g.depth >= DEEPEST:
        return str(SIMPLE.pick(g)(g))
    g.depth += 1
    try:
        return str(EXPRESSIONS.pick(g)(g))
    finally:
        g.depth -= 1


def iterable(g: Writer) -> str:
    if g.depth >= DEEPEST:
        return f"({g.number()}, {g.number()})"
    g.depth += 1
    try:
        return str(ITERABLES.pick(g)(g))
    finally:
        g.depth -= 1


def instance(g: Writer) -> str:
    """An expression that makes an instance of one of the program's classes."""
    known = [name for name in g.scope.names if name.startswith("o")]
    if known and g.chance(0.5):
        return g.rng.choice(known)
    if not g.classes:
        return "Base(1)"
    return f"{g.rng.choice(g.classes)}({g.number()})"


def arguments(g: Writer, function: Function) -> str:
    """Arguments of a call that nearly always fit."""
    given = [value(g) for _ in range(function.parameters)]
    text = ", ".join(given)
    form = g.rng.randrange(8)
    if form == 0 and given:
        text = f"*({text},)"
    elif form == 1 and given:
        text = f"{given[0]}, *[{', '.join(given[1:])}]"
    elif form == 2 and function.keywords:
        text = ", ".join([*given, f"{g.rng.choice(function.keywords)}={value(g)}"])
    elif form == 3:
        text = ", ".join([*given, f"**{{{', '.join(f'{k!r}: {g.number()}' for k in function.keywords)}}}"])
    elif form == 4 and g.chance(0.3):
        text = ", ".join([*given, "1", "2"])            # too many, perhaps
    return text


def function_of(g: Writer, *kinds: str) -> Function | None:
    candidates = [f for f in g.functions if f.kind in kinds]
    return g.rng.choice(candidates) if candidates else None


def callback(g: Writer) -> str:
    """A function of one argument, which may switch, raise, or do neither."""
    f = function_of(g, "function")
    choice = g.rng.randrange(5)
    if choice == 0 and f is not None and f.parameters == 1:
        return f.name
    if choice == 1:
        return f"lambda x: (S(), x)[{g.rng.randrange(2)}]"
    if choice == 2:
        return f"lambda x: ev({g.number()}, x)"
    if choice == 3:
        return f"lambda x, y={value(g)}: schedule(y)"
    return f"lambda x: {value(g)}"


# --- simple ones ------------------------------------------------------------

@SIMPLE.add(4)
@EXPRESSIONS.add(4)
def constant(g: Writer) -> str:
    return g.rng.choice((str(g.number()), f"'s{g.number()}'", "None", "()", f"({g.number()}, 'x')", "True", "1.5"))


@SIMPLE.add(5)
@EXPRESSIONS.add(6)
def switch(g: Writer) -> str:
    return g.rng.choice(("S()", "S()", f"schedule({g.number()})", "take()"))


@SIMPLE.add(4)
@EXPRESSIONS.add(5)
def local(g: Writer) -> str:
    return g.rng.choice(g.scope.names) if g.scope.names else "S()"


@SIMPLE.add(1)
@EXPRESSIONS.add(3)
def an_instance(g: Writer) -> str:
    return instance(g)


@SIMPLE.add(1)
@EXPRESSIONS.add(2)
def seen(g: Writer) -> str:
    return g.rng.choice((f"where({g.number()})", f"handled({g.number()})", f"ev({g.number()})"))


# --- calls ------------------------------------------------------------------

@EXPRESSIONS.add(12)
def call(g: Writer) -> str:
    f = function_of(g, "function")
    return f"{f.name}({arguments(g, f)})" if f else "S()"


@EXPRESSIONS.add(2)
def call_partial(g: Writer) -> str:
    f = function_of(g, "function")
    return f"functools.partial({f.name}, {arguments(g, f)})()" if f else "S()"


@EXPRESSIONS.add(4)
def call_method(g: Writer) -> str:
    form = g.rng.choice(("{o}.method({v})", "{o}.method(x={v})", "Base.method({o}, {v})", "{o}({v})",
                         "{o}.class_method({v})",
                         "{o}.static_method({v})", "{o}.method(*[{v}])", "operator.methodcaller('method', {v})({o})"))
    return form.format(o=instance(g), v=value(g))


@EXPRESSIONS.add(2)
def call_lambda(g: Writer) -> str:
    return g.rng.choice((f"(lambda: {value(g)})()", f"({callback(g)})({value(g)})"))


@EXPRESSIONS.add(3)
def run_coroutine(g: Writer) -> str:
    f = function_of(g, "coroutine")
    return f"drive({f.name}({arguments(g, f)}))" if f else "S()"


@EXPRESSIONS.add(2)
def run_async_generator(g: Writer) -> str:
    f = function_of(g, "asyncgen")
    return f"drive(collect({f.name}({arguments(g, f)})))" if f else "S()"


@EXPRESSIONS.add(1)
def run_in_context(g: Writer) -> str:
    f = function_of(g, "function")
    if f is None:
        return "VAR.get()"
    return f"contextvars.copy_context().run({', '.join(filter(None, (f.name, arguments(g, f))))})"


@EXPRESSIONS.add(1)
def evaluate(g: Writer) -> str:
    inner = value(g)
    if "yield" in inner or "await" in inner:
        inner = "S()"
    return g.rng.choice((f"eval(compile({inner!r}, FILE, 'eval'), globals(), {{**locals()}})",
                         f"eval(compile('S() + 1', FILE, 'eval'))"))


# --- generators, coroutines ----------------------------------------------------

@EXPRESSIONS.add(4)
def advance(g: Writer) -> str:
    f = function_of(g, "generator")
    known = [name for name in g.scope.names if name.startswith("g")]
    if known and g.chance(0.7):
        it = g.rng.choice(known)
        if g.chance(0.1):
            # (Thrown into one that has not begun, it breaks an assertion of upstream's.)
            return f"(next({it}, 0), {it}.throw(StopIteration({g.number()})))"
    elif f is not None:
        it = f"{f.name}({arguments(g, f)})"
    else:
        return "S()"
    form = g.rng.choice(("next({it})", "next({it}, {v})", "{it}.__next__()", "{it}.send(None)", "{it}.send({v})",
                         "{it}.throw(Error({n}))", "{it}.throw(Error)", "{it}.close()",
                         "{it}.throw(GeneratorExit)", "[*{it}]", "ev({n}, {it}.gi_running)",
                         "ev({n}, {it}.gi_yieldfrom)", "ev({n}, {it}.gi_suspended)"))
    return form.format(it=it, v=value(g), n=g.number())


@EXPRESSIONS.add(6, "generator", "asyncgen")
def yielded(g: Writer) -> str:
    return f"(yield {value(g)})"


@EXPRESSIONS.add(6, "generator")
def yielded_from(g: Writer) -> str:
    return f"(yield from {iterable(g)})"


@EXPRESSIONS.add(12, "coroutine", "asyncgen")
def awaited(g: Writer) -> str:
    f = function_of(g, "coroutine")
    form = g.rng.randrange(5)
    if form == 0:
        return f"(await Pause({value(g)}))"
    if form == 1:
        return f"(await pause({value(g)}))"
    if form == 2:
        agen = function_of(g, "asyncgen")
        if agen is not None:
            make = f"{agen.name}({arguments(g, agen)})"
            return g.rng.choice((f"(await collect({make}))", f"(await {make}.asend(None))", f"(await anext({make}))",
                                 f"(await anext({make}, {value(g)}))", f"(await {make}.athrow(Error({g.number()})))",
                                 f"(await {make}.aclose())", f"[x async for x in {make}]",
                                 f"{{x: 1 async for x in {make} if S()}}"))
    if f is None:
        return f"(await pause({g.number()}))"
    return f"(await {f.name}({arguments(g, f)}))"


# --- operators ------------------------------------------------------------------

@EXPRESSIONS.add(8)
def operation(g: Writer) -> str:
    op = g.rng.choice("+ - * / // % ** @ & | ^ << >> == != < <= > >= in is".split())
    left, right = instance(g), value(g)
    if g.chance(0.3):
        left, right = right, left
    elif g.chance(0.3):
        op, right = "+", instance(g)
    return f"({left} {op} {right})"


@EXPRESSIONS.add(2)
def number_operation(g: Writer) -> str:
    return f"({value(g)} {g.rng.choice('+ - * == < and or'.split())} {value(g)})"


@EXPRESSIONS.add(5)
def other_operation(g: Writer) -> str:
    form = g.rng.choice((
        "(-{o})", "(+{o})", "(~{o})", "(not {o})", "({o} and {v})", "({o} or {v})", "({v} if {o} else {w})",
        "{o}[{v}]", "{o}[{v}:{w}]", "{o}.attr", "{o}.prop", "{o}.cached", "{o}.hooked", "{o}.descr", "len({o})",
        "hash({o})", "str({o})", "repr({o})", "bool({o})", "int({o})", "range({o})", "'%s' % ({o},)",
        "f'{{{o}}}'", "f'{{{o}!r:>5}}'", "format({o}, '>3')", "'{{}}'.format({o})", "({v} in {o})", "({v} not in {o})",
        "({v} < {o} < {w})", "({v} == {o} != {w})", "divmod({o}, {v})", "abs({o})", "round({o})",
        "isinstance({o}, Checked)", "getattr({o}, 'prop', {v})", "hasattr({o}, 'hooked')", "sorted([{o}, {o}])",
        "max({o}, {o})", "{{{o}: {v}}}", "{{{o}, {o}}}", "({o} is not None)", "type({o})({v})",
        "operator.add({o}, {v})", "sum([{o}], {v})", "Missing()[{v}]", "super(type({o}), {o}).method({v})"))
    return form.format(o=instance(g), v=value(g), w=value(g))


# --- displays, comprehensions -----------------------------------------------------

@EXPRESSIONS.add(3)
def display(g: Writer) -> str:
    form = g.rng.choice(("[{v}, {w}]", "({v}, *{it})", "{{'a': {v}, **{{'b': {w}}}}}", "[*{it}, {v}]", "({v}, {w})",
                         "f'{{{v}}}'", "(x := {v})"))
    return form.format(v=value(g), w=value(g), it=iterable(g))


@EXPRESSIONS.add(4)
def comprehension(g: Writer) -> str:
    """No yield, no await within: some of these are functions of their own."""
    g.scopes.append(type(g.scope)("function", ["x"]))
    try:
        form = g.rng.choice((
            "[{v} for x in {it}]", "[x for x in {it} if {v}]", "[(x, y) for x in {it} for y in (1, {v})]",
            "{{x: {v} for x in (1, 2)}}", "{{S() for x in {it}}}", "list({v} for x in {it})",
            "sum(1 for x in {it} if S())",
            "any({v} for x in {it})", "[[y for y in (x, {v})] for x in {it}]", "next(({v} for x in {it}), None)"))
        return form.format(v=value(g), it=iterable(g))
    finally:
        g.scopes.pop()


@EXPRESSIONS.add(5)
def through_c(g: Writer) -> str:
    form = g.rng.choice((
        "list(map({f}, {it}))", "list(filter({f}, {it}))", "sorted({it}, key={f})", "max({it}, key={f}, default=0)",
        "functools.reduce(lambda a, x: (S(), a)[1], {it}, {v})", "re.sub('x', lambda m: str(S()), 'axbxc')",
        "sorted({it}, key=functools.cmp_to_key(lambda a, b: S() % 3 - 1))", "list(zip({it}, {it2}))",
        "dict(enumerate({it}))", "tuple({it})", "list(itertools.starmap(lambda x, y=0: {v}, [(1, 2)]))",
        "list(itertools.takewhile({f}, {it}))", "'-'.join(map(str, {it}))", "cached_call({v})",
        "[1, 2, 3].sort(key={f})", "list(itertools.chain({it}, {it2}))", "min({it}, key={f}, default=1)",
        "collections.deque({it}, 2)", "all(map({f}, {it}))", "single({v})", "json.dumps([{o}], default={f})"))
    return form.format(f=callback(g), it=iterable(g), it2=iterable(g), v=value(g), o=instance(g))


# --- iterables ----------------------------------------------------------------------

@ITERABLES.add(4)
def a_tuple(g: Writer) -> str:
    return f"({value(g)}, {value(g)})"


@ITERABLES.add(2)
def a_range(g: Writer) -> str:
    return f"range({g.rng.randrange(4)})"


@ITERABLES.add(5)
def a_generator(g: Writer) -> str:
    f = function_of(g, "generator")
    return f"{f.name}({arguments(g, f)})" if f else "(S(), S())"


@ITERABLES.add(3)
def an_object(g: Writer) -> str:
    return g.rng.choice((instance(g), f"iter({instance(g)})", f"iter({instance(g)}, {value(g)})"))


@ITERABLES.add(2)
def lazily(g: Writer) -> str:
    g.scopes.append(type(g.scope)("function", ["x"]))
    try:
        form = g.rng.choice(("({v} for x in {it})", "map({f}, {it})", "zip({it}, (1, 2))", "enumerate({it})",
                             "reversed([{v}])",
                             "itertools.islice({it}, 2)"))
        return form.format(v=value(g), f=callback(g), it=iterable(g))
    finally:
        g.scopes.pop()


@ITERABLES.add(2)
def a_local(g: Writer) -> str:
    known = [name for name in g.scope.names if name[0] in "go"]
    return g.rng.choice(known) if known else f"[{value(g)}]"
