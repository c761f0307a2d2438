"""Tests of the stub files of `stackless` and `greenlet`, which type checkers read.

They are about the interpreter that runs them, which has to be one of ours.
"""
from __future__ import annotations

import ast
import inspect
import os
import re
import shutil
import subprocess
import sys
import tempfile
import types
import unittest
from pathlib import Path

import environment
from environment import HERE
from test_doc import members, public

# They have a signature that only documentation strings tell (tests of which are in test_doc.py), or several.
UNREADABLE = {"stackless.schedule", "stackless.schedule_remove", "stackless.select",
              "greenlet.greenlet.throw"}


def modules() -> list[types.ModuleType]:
    import greenlet
    import stackless
    return [stackless, greenlet]


def stub(module: types.ModuleType) -> Path:
    return Path(module.__path__[0]) / "__init__.pyi"


def declared(body: list[ast.stmt], prefix: str) -> dict[str, ast.AST]:
    """The public names of a stub, those of its classes included."""
    found: dict[str, ast.AST] = {}
    for node in body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            name = node.name
        else:
            continue
        if not name.startswith("_"):
            found[prefix + name] = node
            if isinstance(node, ast.ClassDef):
                found |= declared(node.body, f"{prefix}{name}.")
    return found


def parameters(function: ast.FunctionDef) -> list[tuple[str, int, bool]]:
    """Name, kind (as `inspect` has it) and whether there is a default, of each but self."""
    kinds, arguments, found = inspect.Parameter, function.args, []
    plain = [(name, kinds.POSITIONAL_ONLY) for name in arguments.posonlyargs] + \
            [(name, kinds.POSITIONAL_OR_KEYWORD) for name in arguments.args]
    first = len(plain) - len(arguments.defaults)
    found = [(name.arg, int(kind), number >= first) for number, (name, kind) in enumerate(plain)]
    if arguments.vararg:
        found.append((arguments.vararg.arg, int(kinds.VAR_POSITIONAL), False))
    found += [(name.arg, int(kinds.KEYWORD_ONLY), default is not None)
              for name, default in zip(arguments.kwonlyargs, arguments.kw_defaults)]
    if arguments.kwarg:
        found.append((arguments.kwarg.arg, int(kinds.VAR_KEYWORD), False))
    return [parameter for parameter in found if parameter[0] != "self"]


class Names(unittest.TestCase):
    """The stubs have what the modules have, and nothing else."""

    def test_names(self) -> None:
        for module in modules():
            with self.subTest(module=module.__name__):
                tree = ast.parse(stub(module).read_text(encoding="utf-8"))
                in_stub = set(declared(tree.body, module.__name__ + "."))
                in_module = {name for name, _ in public(module)}
                self.assertEqual(sorted(in_module - in_stub), [], "not in the stub")
                self.assertEqual(sorted(in_stub - in_module), [], "not in the module")
                # A package without it is not looked at.
                self.assertTrue(stub(module).with_name("py.typed").is_file())

    def test_all(self) -> None:
        for module in modules():
            tree = ast.parse(stub(module).read_text(encoding="utf-8"))
            [node] = [node for node in tree.body if isinstance(node, ast.Assign)
                      and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__"]
            self.assertEqual(sorted(ast.literal_eval(node.value)), sorted(module.__all__))

    def test_parameters(self) -> None:
        checked = 0
        for module in modules():
            nodes = declared(ast.parse(stub(module).read_text(encoding="utf-8")).body, module.__name__ + ".")
            for name, thing in public(module):
                node = nodes.get(name)
                if not isinstance(node, ast.FunctionDef) or node.decorator_list and not inspect.isroutine(thing):
                    continue
                if name in UNREADABLE:
                    self.assertRaises(ValueError, inspect.signature, thing)
                    continue
                checked += 1
                with self.subTest(name=name):
                    self.assertEqual(
                        parameters(node),
                        [(p.name, int(p.kind), p.default is not p.empty)
                         for p in inspect.signature(thing).parameters.values() if p.name != "self"])
        self.assertGreater(checked, len(members(modules()[0])))

    def test_properties_are_no_methods(self) -> None:
        for module in modules():
            nodes = declared(ast.parse(stub(module).read_text(encoding="utf-8")).body, module.__name__ + ".")
            for name, thing in public(module):
                node = nodes.get(name)
                if isinstance(node, ast.FunctionDef):
                    is_property = any(ast.unparse(decorator) == "property" for decorator in node.decorator_list)
                    self.assertNotEqual(is_property, inspect.isroutine(thing), name)

    def test_channels_are_generic(self) -> None:
        import stackless
        alias = stackless.channel[int]
        self.assertIs(alias.__origin__, stackless.channel)
        self.assertEqual(alias.__args__, (int,))
        self.assertIs(type(alias()), stackless.channel)

    def test_the_sample_runs(self) -> None:
        done = subprocess.run([sys.executable, HERE / "typing_sample.py"], text=True, capture_output=True)
        self.assertEqual((done.returncode, done.stdout), (0, "6\n"), done.stderr)


class Mypy(unittest.TestCase):
    """mypy --strict accepts the stubs, and understands them."""

    @classmethod
    def setUpClass(cls) -> None:
        folder = environment.build_folder()
        if folder is None:
            raise unittest.SkipTest("an installed interpreter has no build folder")
        try:
            cls.python = environment.make(Path(sys.executable), folder / "doc" / "typing",
                                          HERE / "requirements-typing.txt")
        except environment.Unavailable as reason:
            raise unittest.SkipTest(f"mypy cannot be installed: {reason}") from None
        cls.folder = Path(tempfile.mkdtemp(prefix="test-stubs-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        for module in modules():
            package = cls.folder / "typings" / module.__name__
            package.mkdir(parents=True)
            for name in ("__init__.pyi", "py.typed"):
                shutil.copy(stub(module).with_name(name), package)

    def check(self, *paths: Path) -> str:
        done = subprocess.run([self.python, "-m", "mypy", "--strict", "--cache-dir", self.folder / "cache", *paths],
                              env={**os.environ, "MYPYPATH": str(self.folder / "typings")}, cwd=self.folder,
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.stdout

    def test_right(self) -> None:
        output = self.check(HERE / "typing_sample.py", *sorted(self.folder.glob("typings/*/__init__.pyi")))
        self.assertRegex(output, r"\ASuccess: no issues found in 3 source files\n\Z")

    def test_wrong(self) -> None:
        path = HERE / "typing_wrong.py"
        lines = path.read_text(encoding="utf-8").splitlines()
        wrong = {number for number, line in enumerate(lines, 1) if line.endswith("# wrong")}
        found = {int(number) for number in re.findall(r":(\d+): error:", self.check(path))}
        self.assertEqual(found, wrong)


if __name__ == "__main__":
    unittest.main()
