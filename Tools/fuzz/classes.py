"""Random classes: special methods of all kinds, whose bodies are random too."""
from __future__ import annotations

from expressions import instance, iterable, value
from statements import body
from writer import Writer

# Name, parameters, and what is to be returned.
METHODS: dict[str, tuple[str, str]] = {
    "__init__": ("self, n=0, *rest, **more", "none"),
    "method": ("self, x=0", "value"),
    "__call__": ("self, *args", "value"),
    "__bool__": ("self", "bool"),
    "__len__": ("self", "small"),
    "__hash__": ("self", "small"),
    "__index__": ("self", "small"),
    "__int__": ("self", "small"),
    "__str__": ("self", "str"),
    "__repr__": ("self", "str"),
    "__format__": ("self, spec", "str"),
    "__contains__": ("self, item", "bool"),
    "__getitem__": ("self, key", "item"),
    "__setitem__": ("self, key, new", "none"),
    "__delitem__": ("self, key", "none"),
    "__getattr__": ("self, name", "attribute"),
    "__setattr__": ("self, name, new", "setting"),
    "__delattr__": ("self, name", "deleting"),
    "__getattribute__": ("self, name", "any attribute"),
    "__next__": ("self", "next"),
    "__enter__": ("self", "value"),
    "__exit__": ("self, *exc", "bool"),
    "__eq__": ("self, other", "compared"),
    "__ne__": ("self, other", "compared"),
    "__lt__": ("self, other", "compared"),
    "__le__": ("self, other", "compared"),
    "__gt__": ("self, other", "compared"),
    "__ge__": ("self, other", "compared"),
    "close": ("self", "none"),
    "__missing__": ("self, key", "value"),
    "__del__": ("self", "none"),
    **{f"__{name}__": ("self", "value") for name in ("neg", "pos", "invert", "abs", "round", "reversed")},
    **{f"__{prefix}{name}__": ("self, other", "operand")
       for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor",
                    "lshift", "rshift",
                    "divmod")
       for prefix in ("", "r", "i") if prefix != "i" or name != "divmod"},
}
RARE = {"__getattribute__", "__setattr__", "__delattr__", "__ne__", "__missing__", "__getattr__"}
# Finalizers run when the last reference goes, which collections at random places change.
FINALIZERS = {"__del__"}


def method(g: Writer, name: str) -> None:
    parameters, kind = METHODS[name]
    names = tuple(p.strip("* ").partition("=")[0] for p in parameters.split(","))
    with g.function("function", f"def {name}({parameters}):", names[1:]):
        g.line(f"ev('{name}')")
        ending(g, kind)


def ending(g: Writer, kind: str) -> None:
    """Some statements, and a result of that kind."""
    if kind in ("setting", "deleting", "attribute", "any attribute"):
        g.line("S()" if g.chance(0.6) else "pass")
        if g.chance(0.3):
            with g.block(f"if name == {g.rng.choice(('hooked', 'attr', 'prop', 'missing'))!r}:"):
                body(g, 2)
    elif g.chance(0.6):
        body(g, 2)
    if kind == "setting":
        g.line("return super().__setattr__(name, new)")
    elif kind == "deleting":
        g.line("return super().__delattr__(name)")
    elif kind == "any attribute":
        g.line("return super().__getattribute__(name)")
    elif kind == "attribute":
        with g.block("if name.startswith('__') or name == 'missing':"):
            g.line("raise AttributeError(name)")
        g.line(f"return {g.rng.choice((g.number(), 'name', 'S()'))}")
    elif kind == "item":
        with g.block("if key in (3, 4):"):
            g.line("raise IndexError(key)")
        g.line(f"return {value(g)}")
    elif kind == "next":
        g.line("self.__dict__['count'] = count = self.__dict__.get('count', 0) + 1")
        with g.block(f"if count > {g.rng.randint(1, 4)}:"):
            g.line(g.rng.choice(("raise StopIteration", f"raise StopIteration({value(g)})",
                                 "S(); raise StopIteration")))
        g.line(f"return {value(g)}")
    else:
        g.line(f"return {result(g, kind)}")


def result(g: Writer, kind: str) -> str:
    if g.chance(0.04):
        return value(g)             # the wrong kind, probably
    if kind == "bool":
        return g.rng.choice(("True", "False", "self.n % 2 == 0", "S() % 2 == 0", "False"))
    if kind == "small":
        return g.rng.choice((str(g.rng.randrange(4)), "self.n % 3", "S() % 3"))
    if kind == "str":
        return g.rng.choice((f"'text{g.number()}'", "str(self.n)", "'%d' % S()"))
    if kind == "none":
        return "None"
    if kind in ("compared", "operand"):
        if g.chance(0.25):
            return "NotImplemented"
        return value(g) if kind == "operand" else g.rng.choice(("True", "False", "S() % 2 == 0", value(g)))
    return value(g)


def iteration(g: Writer) -> None:
    """__iter__() in one of its forms."""
    form = g.rng.randrange(4)
    with g.function("generator" if form == 0 else "function", "def __iter__(self):"):
        g.line("ev('__iter__')")
        if form == 0:
            g.line(f"yield {value(g)}")
            body(g, 3)
        elif form == 1:
            g.line("S()")
            g.line("return self")
        elif form == 2:
            g.line(f"return iter({iterable(g)})")
        else:
            g.line(f"return map(ev, (1, {value(g)}))")


def accessors(g: Writer) -> None:
    """Properties, descriptors, methods of the class."""
    if g.chance(0.7):
        g.line("@property")
        with g.function("function", "def prop(self):"):
            body(g, 2)
            g.line(f"return {value(g)}")
        if g.chance(0.6):
            g.line("@prop.setter")
            with g.function("function", "def prop(self, new):", ("new",)):
                body(g, 2)
            g.line("@prop.deleter")
            with g.function("function", "def prop(self):"):
                body(g, 2)
    if g.chance(0.5):
        g.line(f"descr = {g.rng.choice(('Descriptor', 'Data'))}({g.number()})")
    for decorator, name in (("functools.cached_property", "cached"), ("classmethod", "class_method"),
                            ("staticmethod", "static_method")):
        if g.chance(0.4):
            g.line(f"@{decorator}")
            first = "" if decorator == "staticmethod" else "self" if name == "cached" else "cls"
            rest = "" if name == "cached" else "x=0"
            with g.function("function", f"def {name}({', '.join(filter(None, (first, rest)))}):"):
                body(g, 2)
                g.line(f"return {value(g)}")


def new_method(g: Writer) -> None:
    with g.function("function", "def __new__(cls, *args, **kwargs):"):
        g.line("ev('__new__')")
        body(g, 2)
        if g.chance(0.1):
            g.line(f"return {value(g)}")
        g.line("return super().__new__(cls)")


def class_definition(g: Writer, finalizers: bool) -> None:
    name = g.name("K")
    base = g.rng.choice(("Base", "Base", *g.classes[-2:]))
    extra = g.rng.choice(("", "", "", ", metaclass=Meta" if base == "Base" else ""))
    rng = g.rng
    with g.block(f"class {name}({base}{extra}):"):
        g.line(f"n = {rng.randrange(4)}")
        names = [m for m in METHODS if m not in RARE and (finalizers or m not in FINALIZERS)]
        chosen = rng.sample(names, rng.randint(3, 14)) + [m for m in sorted(RARE) if g.chance(0.06)]
        if g.chance(0.5):       # operands of two classes that both answer
            chosen += [m for m in ("__add__", "__radd__") if m not in chosen]
        for each in chosen:
            method(g, each)
        if "__eq__" in chosen and "__hash__" not in chosen:
            g.line("__hash__ = Base.__hash__")
        if g.chance(0.5):
            iteration(g)
        if g.chance(0.2):
            new_method(g)
        accessors(g)
    g.classes.append(name)


__all__ = ["class_definition", "instance"]
