"""Tests of the documentation: its examples, its links, and that it has what help() has.

They are about the interpreter that runs them, which has to be one of ours.
"""
from __future__ import annotations

import inspect
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import textwrap
import types
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import build_html
import environment
import pages
from environment import REPOSITORY

DOC = REPOSITORY / "Doc"
PAGES = pages.load(DOC)
TIMEOUT = 60                 # seconds, for one file of examples


def make_targets() -> set[str]:
    text = (REPOSITORY / "Makefile.pre.in").read_text(encoding="utf-8")
    return {name for line in re.findall(r"^([a-z][a-z -]*):(?!=)", text, re.MULTILINE) for name in line.split()}


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run([sys.executable, *map(str, arguments)], cwd=folder, timeout=TIMEOUT, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


class Examples(unittest.TestCase):
    """What the pages show is what happens.  Each file has a process of its own."""

    def test_pages(self) -> None:
        files = [page.path for page in PAGES.values() if ">>> " in page.text] + [REPOSITORY / "README.rst"]
        for path in files:
            with self.subTest(path=path.relative_to(REPOSITORY).as_posix()):
                done = run("-m", "doctest", "-o", "ELLIPSIS", path)
                self.assertEqual(done.returncode, 0, done.stdout)

    def test_programs(self) -> None:
        programs = sorted((DOC / "examples").glob("*.py"))
        self.assertTrue(programs)
        for path in programs:
            with self.subTest(path=path.name):
                done = run(path)
                self.assertEqual((done.returncode, done.stdout),
                                 (0, path.with_suffix(".txt").read_text(encoding="utf-8")))

    @unittest.skipUnless(sysconfig.is_python_build(), "needs libpython of the build tree")
    @unittest.skipUnless(shutil.which("cc"), "needs a C compiler")
    def test_embedding(self) -> None:
        variable = sysconfig.get_config_var
        tree, sources = variable("abs_builddir"), sorted((DOC / "examples").glob("*.c"))
        libraries = [word for name in ("LINKFORSHARED", "LIBS", "SYSLIBS") for word in (variable(name) or "").split()]
        self.assertTrue(sources)
        for source in sources:
            with self.subTest(source=source.name), tempfile.TemporaryDirectory() as folder:
                program = Path(folder) / "program"
                subprocess.run(["cc", "-Wall", "-Werror", f"-I{tree}", f"-I{tree}/Include", source, "-o", program,
                                f"-L{tree}", f"-Wl,-rpath,{tree}", f"-lpython{variable('LDVERSION')}", *libraries],
                               check=True)
                # In the build tree the library is not where an embedding program looks for it.
                done = subprocess.run([program], env={"PYTHONPATH": f"{tree}/Lib"}, text=True, capture_output=True)
                self.assertEqual((done.returncode, done.stdout), (0, source.with_suffix(".txt").read_text()),
                                 done.stderr)

    def test_a_wrong_example_is_found(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "wrong.rst"
            path.write_text(">>> 1 + 1\n3\n", encoding="utf-8")
            self.assertIn("Expected:\n    3\nGot:\n    2", run("-m", "doctest", "-o", "ELLIPSIS", path).stdout)


class Links(unittest.TestCase):

    def problems(self, **texts: str) -> list[str]:
        made = {name: pages.Page(DOC / f"{name}.rst", name, text) for name, text in texts.items()}
        for page in made.values():
            page.entries = list(pages._entries(page))
        return pages.problems(made, REPOSITORY, {"all"})

    def test_all_lead_somewhere(self) -> None:
        self.assertEqual(pages.problems(PAGES, REPOSITORY, make_targets()), [])
        path = REPOSITORY / "README.rst"
        readme = pages.Page(path, "index", path.read_text(encoding="utf-8"))
        self.assertEqual(pages.problems({"index": readme}, REPOSITORY, make_targets()), [])

    def test_those_that_do_not_are_found(self) -> None:
        contents = ".. toctree::\n   :maxdepth: 1\n\n   other\n\n"
        self.assertEqual(self.problems(index=contents, other="``make all`` :mod:`stackless` ``Lib/stackless``"), [])
        for text, problem in (
            (":ref:`nowhere`", "other: :ref:`nowhere` leads nowhere"),
            (":c:func:`nothing`", "other: :c:func:`nothing` leads nowhere"),
            (":doc:`nowhere`", "other: :doc:`nowhere` leads nowhere"),
            (":func:`the text <stackless.nothing>`", "other: :func:`stackless.nothing` leads nowhere"),
            (".. image:: no.svg", "other: there is no file no.svg"),
            ("``Lib/no.py``", "other: there is no Lib/no.py in the repository"),
            ("``make\nhaste``", "other: there is no target haste in the Makefile"),
            (".. _twice:\n\n.. _twice:\n", "label twice is not unique"),
        ):
            with self.subTest(text=text):
                self.assertEqual(self.problems(index=contents, other=text), [problem])
        self.assertEqual(self.problems(index=""), [])
        self.assertEqual(self.problems(index="", other=""), ["other: no such page is in a toctree"])
        self.assertEqual(self.problems(index=contents), ["toctree: there is no page other"])

    def test_names_are_looked_up_as_sphinx_does(self) -> None:
        text = ".. module:: m\n\n.. class:: C()\n\n   .. method:: f(x)\n\n      Text.\n\n.. function:: g()\n"
        [page] = (pages.Page(DOC, "a", text),)
        self.assertEqual([(entry.kind, entry.name, entry.signature) for entry in pages._entries(page)],
                         [("class", "m.C", "()"), ("method", "m.C.f", "(x)"), ("function", "m.g", "()")])


def members(owner: Any) -> dict[str, Any]:
    """The public names of a module or class, what is inherited from Python's own left out."""
    if isinstance(owner, types.ModuleType):
        listed = dir(owner) if owner.__name__ in ("stackless", "greenlet") else owner.__all__
        names = [name for name in listed if not isinstance(getattr(owner, name), types.ModuleType)
                 or getattr(owner, name) is owner]
        names = [name for name in names if not inspect.isclass(getattr(owner, name))
                 or getattr(owner, name).__module__.lstrip("_").partition(".")[0] == owner.__name__.partition(".")[0]]
    else:
        names = list(vars(owner))
    return {name: getattr(owner, name) for name in names if not name.startswith("_")}


def public(module: types.ModuleType) -> Iterator[tuple[str, Any]]:
    """All public names, those of its classes included, as the reference writes them."""
    for name, thing in members(module).items():
        yield f"{module.__name__}.{name}", thing
        if inspect.isclass(thing):
            for inner, value in members(thing).items():
                yield f"{module.__name__}.{name}.{inner}", value


def signature(thing: Any) -> str | None:
    """As help() shows it, without annotations and self; None if it does not."""
    try:
        found = inspect.signature(thing)
    except ValueError:
        text = getattr(thing, "__text_signature__", None)
        if text is None:
            match = re.match(rf"{thing.__name__}(\(.*\))", (thing.__doc__ or "").strip())
            text = match[1] if match else None
        return text and text.replace("$module, /, ", "")
    parameters = [parameter.replace(annotation=parameter.empty) for parameter in found.parameters.values()
                  if parameter.name != "self"]
    return str(found.replace(parameters=parameters, return_annotation=found.empty)).replace("Ellipsis", "...")


class Reference(unittest.TestCase):
    """The reference has what help() has, and nothing else."""

    entries = {entry.name: entry for page in PAGES.values() for entry in page.entries}

    def modules(self) -> list[types.ModuleType]:
        import greenlet
        import stackless.snapshot
        return [stackless, greenlet, stackless.snapshot]

    def test_every_public_name(self) -> None:
        described = [entry.name for page in PAGES.values() for entry in page.entries]
        self.assertEqual(sorted(described), sorted(set(described)), "described twice")
        names = [name for module in self.modules() for name, _ in public(module)]
        self.assertEqual(sorted(set(names) - set(described)), [], "not described")
        self.assertEqual(sorted(set(described) - set(names)), [], "described, but not there")

    def test_signatures(self) -> None:
        for module in self.modules():
            for name, thing in public(module):
                entry = self.entries.get(name)
                if entry is None or not entry.is_callable:
                    continue
                with self.subTest(name=name):
                    self.assertEqual(entry.signature, signature(thing))

    def test_c_functions(self) -> None:
        text = (REPOSITORY / "Include/stackless/functions.h").read_text(encoding="utf-8")
        text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
        found = re.findall(r"^STACKLESS_FUNCTION(?:_ANYWHERE)?\(([^,]*),\s*(\w+),\s*(\((?:[^()]|\([^()]*\))*?\))", text,
                           re.MULTILINE)
        self.assertGreater(len(found), 50)
        declared = {re.sub(r"\s+", "", "".join(words)): words[1] for words in found}
        described = PAGES["reference/capi"].c_functions
        self.assertEqual(sorted(set(declared) - set(described)), [])
        self.assertEqual(set(described) - set(declared), {"intPyStackless_Import(void)"})

    def test_each_callable_has_an_example(self) -> None:
        for entry in self.entries.values():
            if entry.is_callable and not entry.body.startswith("See :"):
                with self.subTest(name=entry.name):
                    self.assertIn(">>> ", entry.body)

    def test_each_name_says_something(self) -> None:
        bodies = {entry.name for entry in self.entries.values() if not entry.body}
        # Such constants share a text.
        self.assertEqual(bodies, {"greenlet.GREENLET_USE_GC", "greenlet.GREENLET_USE_CONTEXT_VARS",
                                  "stackless.PICKLEFLAGS_PRESERVE_TRACING_STATE",
                                  "stackless.PICKLEFLAGS_PRESERVE_AG_FINALIZER"})

    def test_a_chapter_for_each_room(self) -> None:
        text = (REPOSITORY / "Stackless/layers.txt").read_text(encoding="utf-8")
        rooms = re.findall(r"^room (\w+)", text, re.MULTILINE)
        self.assertTrue(rooms)
        chapters = [name.rpartition("/")[2] for name in PAGES["internals/index"].contents]
        self.assertEqual([name for name in chapters if name in rooms], rooms)


class Html(unittest.TestCase):

    def test_no_warnings(self) -> None:
        folder = environment.build_folder()
        if folder is None:
            self.skipTest("an installed interpreter has no build folder")
        try:
            python = environment.make(Path(sys.executable), folder / "doc" / "environment",
                                      environment.HERE / "requirements.txt")
        except environment.Unavailable as reason:
            self.skipTest(f"Sphinx cannot be installed: {reason}")
        with tempfile.TemporaryDirectory() as out:
            self.assertEqual(build_html.build(python, Path(out)), 0)
            for page in PAGES:
                self.assertTrue((Path(out) / "html" / f"{page}.html").is_file(), page)

    def test_without_pypi(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            requirements = Path(folder) / "requirements.txt"
            requirements.write_text("sphinx\n", encoding="utf-8")
            program = textwrap.dedent(f"""
                import os, sys
                sys.path.insert(0, {str(environment.HERE)!r})
                os.environ["PIP_NO_INDEX"] = "1"
                import build_html
                sys.exit(build_html.main(["--environment", {folder + "/e"!r}, "--out", {folder + "/o"!r}]))
            """)
            done = run("-c", program)
        self.assertEqual(done.returncode, build_html.SKIPPED, done.stdout)
        self.assertRegex(done.stdout, "no web pages: Sphinx cannot be installed: .*sphinx")


if __name__ == "__main__":
    unittest.main()
