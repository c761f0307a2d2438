"""Random statements."""
from __future__ import annotations

from expressions import arguments, callback, function_of, instance, iterable, value
from writer import Scope, Table, Writer

STATEMENTS = Table()
COMPOUND = Table()
EXCEPTIONS = ("Error", "Error", "ValueError", "KeyError", "TypeError", "(Error, TypeError)", "Exception",
              "BaseException",
              "StopIteration", "Injected", "GeneratorExit", "ZeroDivisionError", "AttributeError", "RuntimeError")
DEEPEST = 4
ASYNCHRONOUS = ("coroutine", "asyncgen")


def body(g: Writer, most: int = 4) -> None:
    """One statement or some."""
    for _ in range(g.rng.randint(1, most)):
        table = COMPOUND if g.level < DEEPEST and g.chance(0.35) else STATEMENTS
        table.pick(g)(g)


def new_local(g: Writer, prefix: str = "v") -> str:
    """A name to be bound, sometimes again."""
    known = [name for name in g.scope.names if name.startswith(prefix)]
    if known and g.chance(0.3):
        return g.rng.choice(known)
    return g.name(prefix)


def bound(g: Writer, name: str) -> None:
    if name not in g.scope.names:
        g.scope.names.append(name)


# --- simple statements -----------------------------------------------------------

@STATEMENTS.add(10)
def event(g: Writer) -> None:
    g.line(f"ev({g.number()}, {value(g)})")


@STATEMENTS.add(8)
def switch(g: Writer) -> None:
    g.line(g.rng.choice(("S()", "S()", f"schedule({g.number()})", "take()", f"where({g.number()})",
                         f"handled({g.number()})", f"ev({g.number()}, VAR.get())")))


@STATEMENTS.add(10)
def assign(g: Writer) -> None:
    name, text = new_local(g), value(g)
    g.line(f"{name} = {text}")
    bound(g, name)


@STATEMENTS.add(4)
def assign_instance(g: Writer) -> None:
    name = new_local(g, "o")
    g.line(f"{name} = {instance(g)}")
    bound(g, name)


@STATEMENTS.add(4)
def assign_generator(g: Writer) -> None:
    f = function_of(g, "generator")
    if f is None:
        return assign(g)
    name = new_local(g, "g")
    g.line(f"{name} = {f.name}({arguments(g, f)})")
    bound(g, name)
    for _ in range(g.rng.randrange(3)):
        g.line(f"ev({g.number()}, next({name}, {g.number()}))")


@STATEMENTS.add(4)
def assign_otherwise(g: Writer) -> None:
    o = instance(g)
    known = [name for name in g.scope.names if name[0] in "vo"]
    a = g.rng.choice(known) if known else "v0"
    form = g.rng.choice((
        "{o}.attr = {v}", "{o}.prop = {v}", "{o}.descr = {v}", "{o}.hooked = {v}", "{o}[{v}] = {w}",
        "{o}[{v}:{w}] = {v}",
        "{o}.attr += {v}", "{o}[{v}] += {w}", "{o}.prop -= {v}", "del {o}.attr", "del {o}.prop",
        "del {o}[{v}]", "del {o}.descr",
        "{a} += {v}", "{a} *= {v}", "{a} @= {o}", "{a} -= {o}", "{a} |= {o}", "v1, *v2 = {it}",
        "v1, v2 = {it}", "v1 = v2 = {v}",
        "(v1, v2), v3 = {it}, {v}", "v1: {v} = {w}", "VAR.set({v})", "type({o}).changed = {v}",
        "setattr({o}, 'prop', {v})"))
    g.line(form.format(o=o, v=value(g), w=value(g), it=iterable(g), a=a))


@STATEMENTS.add(3)
def raising(g: Writer) -> None:
    g.line(g.rng.choice((f"raise Error({value(g)})", "raise",
                         f"raise Error({g.number()}) from ValueError({g.number()})",
                         f"raise ValueError({g.number()}) from None", "raise StopIteration",
                         f"1 / {g.rng.randrange(2)}",
                         f"raise ExceptionGroup('g', [Error({g.number()}), ValueError({g.number()})])",
                         f"assert {value(g)}, {value(g)}", "undefined", "raise Error", f"raise note({g.number()})")))


@STATEMENTS.add(2)
def leaving(g: Writer) -> None:
    if g.scope.starred or g.scope.kind == "class" or g.chance(0.4):
        return event(g)
    if g.scope.loops and g.chance(0.7):
        g.line(g.rng.choice(("continue", "break")))
    elif g.scope.kind == "asyncgen":
        g.line("return")
    else:
        g.line(f"return {value(g)}")


@STATEMENTS.add(6, "generator", "asyncgen")
def yielding(g: Writer) -> None:
    text = g.rng.choice(("", f"ev({g.number()}, ", ""))
    g.line(f"{text}(yield {value(g)}){')' if text else ''}")


@STATEMENTS.add(6, "coroutine", "asyncgen")
def awaiting(g: Writer) -> None:
    g.line(f"ev({g.number()}, await pause({value(g)}))")


@STATEMENTS.add(1)
def execute(g: Writer) -> None:
    inner = g.rng.choice((f"S(); ev({g.number()}); v = schedule({g.number()})", f"raise Error({g.number()})",
                          f"class X(Base):\\n    S()\\n    ev({g.number()}, X.n)",
                          f"for x in range(3):\\n    ev({g.number()}, S())"))
    g.line(f"exec(compile('{inner}', FILE, 'exec'), {{**globals()}})")


@STATEMENTS.add(1)
def importing(g: Writer) -> None:
    module = f"fuzzed_{g.rng.randrange(3)}"
    g.line(g.rng.choice((f"import {module}", f"from {module} import number, missing", f"import {module} as v1",
                         f"v1 = importlib.import_module('{module}').number")))


# --- compound statements ----------------------------------------------------------

@COMPOUND.add(4)
def condition(g: Writer) -> None:
    with g.block(f"if {value(g)}:"):
        body(g)
    if g.chance(0.3):
        with g.block(f"elif {value(g)}:"):
            body(g, 2)
    if g.chance(0.4):
        with g.block("else:"):
            body(g, 2)


@COMPOUND.add(6)
def loop(g: Writer) -> None:
    name = new_local(g)
    head = f"for {name} in {iterable(g)}:"
    if g.scope.kind in ASYNCHRONOUS and g.chance(0.5):
        f = function_of(g, "asyncgen")
        source = f"{f.name}({arguments(g, f)})" if f and g.chance(0.7) else "Async(3)"
        head = f"async for {name} in {source}:"
    bound(g, name)
    g.scope.loops += 1
    with g.block(head):
        body(g, 3)
    g.scope.loops -= 1
    if g.chance(0.2):
        with g.block("else:"):
            body(g, 2)


@COMPOUND.add(2)
def while_loop(g: Writer) -> None:
    name = g.name("w")
    g.line(f"{name} = 0")
    g.scope.loops += 1
    with g.block(f"while ({name} := {name} + 1) < {g.rng.randint(2, 5)}{g.rng.choice(('', f' and {value(g)}'))}:"):
        body(g, 3)
    g.scope.loops -= 1
    if g.chance(0.2):
        with g.block("else:"):
            body(g, 2)


@COMPOUND.add(12)
def trying(g: Writer) -> None:
    with g.block("try:"):
        body(g)
    starred = g.chance(0.12)
    handlers = g.rng.choice((0, 1, 1, 1, 2))
    for _ in range(handlers):
        caught = g.rng.choice(EXCEPTIONS[:8] if starred else EXCEPTIONS)
        name = g.name("e")
        with g.block(f"except{'*' * starred} {caught} as {name}:"):
            g.line(f"handled({g.number()})")
            loops, g.scope.starred = g.scope.loops, g.scope.starred + starred
            if starred:
                g.scope.loops = 0
            body(g, 3)
            g.scope.loops, g.scope.starred = loops, g.scope.starred - starred
    if handlers and g.chance(0.2):
        with g.block("else:"):
            body(g, 2)
    if not handlers or g.chance(0.3):
        with g.block("finally:"):
            body(g, 2)


@COMPOUND.add(5)
def with_statement(g: Writer) -> None:
    name = g.name("v")
    managers = [f"Manager({g.number()})", f"manager({g.number()})", f"Swallow({g.number()})",
                f"contextlib.suppress(Error)",
                f"contextlib.closing({instance(g)})", instance(g), f"changed({g.number()})"]
    chosen = g.rng.choice(managers)
    if g.scope.kind in ASYNCHRONOUS and g.chance(0.5):
        head = g.rng.choice((f"async with AsyncManager({g.number()}) as {name}:",
                             f"async with amanager({g.number()}) as {name}:"))
    elif g.chance(0.2):
        head = f"with {chosen} as {name}, {g.rng.choice(managers[:4])}:"
    else:
        head = f"with {chosen} as {name}:"
    bound(g, name)
    with g.block(head):
        body(g, 3)


@COMPOUND.add(2)
def matching(g: Writer) -> None:
    with g.block(f"match {value(g)}:"):
        for _ in range(g.rng.randint(1, 3)):
            pattern = g.rng.choice(("None", "int(x)", "[x, *y]", "(x, y)", "{'a': x}", "Base(attr=x)",
                                    "str() | None", "Pattern(x, y)",
                                    "Base(prop=x)", "Checked()", "[Base(n=x), *_]"))
            guard = f" if {value(g)}" if g.chance(0.3) else ""
            with g.block(f"case {pattern}{guard}:"):
                body(g, 2)
        with g.block("case _:"):
            body(g, 2)


@COMPOUND.add(3)
def nested_function(g: Writer) -> None:
    """A closure, called at once or some time."""
    name, shared = g.name("inner"), [n for n in g.scope.names if n[0] == "v"]
    if g.scope.kind == "class":
        return condition(g)
    kind = g.rng.choice(("function", "function", "generator"))
    shared = [] if g.scope.kind != "function" or len(g.scopes) < 2 else shared
    with g.function(kind, f"def {name}(a=1):", ("a", *shared)):
        if shared and g.chance(0.5):
            g.line(f"nonlocal {shared[0]}")
        if kind == "generator":
            g.line(f"yield {g.number()}")
        body(g, 3)
    g.line(f"ev({g.number()}, {f'list({name}())' if kind == 'generator' else f'{name}({value(g)})'})")


@COMPOUND.add(2)
def class_statement(g: Writer) -> None:
    name = g.name("L")
    head = g.rng.choice((f"class {name}(Base):", f"class {name}(Base, metaclass=Meta):", f"class {name}(Prepared):",
                         f"class {name}(Hooked, word={value(g)}):",
                         f"class {name}({', '.join(filter(None, [g.rng.choice(g.classes or ['Base'])]))}):"))
    if g.chance(0.2):
        g.line(f"@decorated({value(g)})")
    g.scopes.append(Scope("class"))
    with g.block(head):
        body(g, 3)
        g.line(f"named = Named({g.number()})")
        g.line(f"def method(self, x=0): return ({value(g)}, x)")
    g.scopes.pop()
    g.line(f"ev({g.number()}, {name}().method({value(g)}))")


@COMPOUND.add(1)
def sort_statement(g: Writer) -> None:
    name = new_local(g)
    bound(g, name)
    g.line(f"{name} = [3, 1, 2]")
    with g.block("try:"):
        g.line(f"{name}.sort(key={callback(g)})")
    with g.block("finally:"):
        g.line(f"ev({g.number()}, {name})")
