"""Make a failing program smaller while it fails in the same way.

On the syntax tree: parts of lists of statements, of expressions, handlers ... are left out,
compound statements and expressions are replaced by what is within.  What comes out need not
make sense; it has to compile, and to fail.
"""
from __future__ import annotations

import ast
import copy
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

Test = Callable[[str], bool]

# Lists of a node from which items may be left out.
OPTIONAL_LISTS = ("body", "orelse", "finalbody", "handlers", "decorator_list", "bases", "keywords", "items",
                  "elts", "args",
                  "generators", "ifs", "cases", "values", "targets", "names", "defaults", "kw_defaults", "kwonlyargs")
STATEMENT_LISTS = ("body", "orelse", "finalbody")


class Shrinker:
    def __init__(self, source: str, fails: Test, seconds: float) -> None:
        self.fails = fails
        self.deadline = time.monotonic() + seconds
        with warnings.catch_warnings(action="ignore"):
            self.tree = ast.parse(source)
        self.tried: set[str] = set()
        self.changed = False

    @property
    def out_of_time(self) -> bool:
        return time.monotonic() > self.deadline

    def attempt(self) -> bool:
        """Does the tree, as it has been changed, still fail?"""
        if self.out_of_time:
            return False
        try:
            source = ast.unparse(ast.fix_missing_locations(self.tree))
            with warnings.catch_warnings(action="ignore"):
                compile(source, "program", "exec", dont_inherit=True)
        except (SyntaxError, ValueError, AttributeError, TypeError, RecursionError):
            return False
        if source in self.tried:
            return False
        self.tried.add(source)
        if self.fails(source):
            self.changed = True
            return True
        return False

    def run(self) -> str:
        self.changed = True
        while self.changed and not self.out_of_time:
            self.changed = False
            self.shorten_lists()
            self.unwrap_statements()
            self.simplify_expressions()
        return ast.unparse(ast.fix_missing_locations(self.tree)) + "\n"

    # -- lists --

    def shorten_lists(self) -> None:
        for node in list(ast.walk(self.tree)):
            for name in OPTIONAL_LISTS:
                if isinstance(getattr(node, name, None), list):
                    self.shorten_list(node, name)

    def shorten_list(self, node: ast.AST, name: str) -> None:
        """Without half of it, without a quarter ... without single items."""
        size = len(getattr(node, name))
        while size >= 1:
            i = 0
            while i < len(getattr(node, name)):
                whole = getattr(node, name)
                rest = whole[:i] + whole[i + size:]
                if not rest and name == "body" and not isinstance(node, ast.Module):
                    rest = [ast.Pass()] if not isinstance(whole[0], ast.Pass) else whole
                setattr(node, name, rest)
                if rest is whole or not self.attempt():
                    setattr(node, name, whole)
                    i += size
            size //= 2

    # -- statements --

    def unwrap_statements(self) -> None:
        """Compound statements are replaced by their bodies."""
        for node in list(ast.walk(self.tree)):
            for name in STATEMENT_LISTS:
                statements = getattr(node, name, None)
                if isinstance(statements, list):
                    self.unwrap_list(node, name)

    def unwrap_list(self, node: ast.AST, name: str) -> None:
        i = 0
        while i < len(getattr(node, name)):
            whole = getattr(node, name)
            for inner in inner_lists(whole[i]):
                setattr(node, name, whole[:i] + inner + whole[i + 1:])
                if self.attempt():
                    break
                setattr(node, name, whole)
            i += 1

    # -- expressions --

    def simplify_expressions(self) -> None:
        for node in list(ast.walk(self.tree)):
            for name, old in ast.iter_fields(node):
                if isinstance(old, ast.expr):
                    self.simplify(node, name, old)
                elif isinstance(old, list):
                    for i, item in enumerate(old):
                        if isinstance(item, ast.expr):
                            self.simplify_item(old, i, item)

    def simplify(self, node: ast.AST, name: str, old: ast.expr) -> None:
        for new in simpler(old):
            setattr(node, name, new)
            if self.attempt():
                return
        setattr(node, name, old)

    def simplify_item(self, items: list[Any], i: int, old: ast.expr) -> None:
        for new in simpler(old):
            items[i] = new
            if self.attempt():
                return
        items[i] = old


def inner_lists(statement: ast.stmt) -> Iterator[list[ast.stmt]]:
    """What may take the place of the statement."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return
    for name in STATEMENT_LISTS:
        inner = getattr(statement, name, None)
        if inner:
            yield inner
    for handler in getattr(statement, "handlers", None) or getattr(statement, "cases", []):
        yield handler.body
    if isinstance(statement, (ast.Return, ast.Assign, ast.AugAssign)) and statement.value is not None:
        yield [ast.Expr(statement.value)]


def simpler(old: ast.expr) -> Iterator[ast.expr]:
    """What may take the place of the expression: a constant, then its parts."""
    if isinstance(old, (ast.Constant, ast.Name)):
        return
    if isinstance(getattr(old, "ctx", None), (ast.Store, ast.Del)):
        return
    yield ast.Constant(1)
    for child in ast.walk(old):
        if child is not old and isinstance(child, ast.expr) and isinstance(getattr(child, "ctx", ast.Load()), ast.Load):
            yield copy.deepcopy(child)


def shrink(source: str, fails: Test, seconds: float) -> str:
    """*fails* tells whether a text fails in the same way; *source* does."""
    return Shrinker(source, fails, seconds).run()


def shrink_variant(variant: dict[str, Any], simplest: dict[str, Any], fails: Callable[[dict[str, Any]],
                                                                                      bool]) -> dict[str, Any]:
    """Each entry as in *simplest* if it fails so, too."""
    for key, value in simplest.items():
        if variant.get(key) == value:
            continue
        trial = {**variant, key: value}
        if fails(trial):
            variant = trial
    for key, value in variant.items():
        if isinstance(value, (list, tuple)):
            for item in list(value):
                shorter = [other for other in variant[key] if other != item]
                if shorter and fails({**variant, key: shorter}):
                    variant = {**variant, key: shorter}
    return variant
