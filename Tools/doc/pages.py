"""The text of Doc/, as far as it can be checked without Sphinx: labels, links, what is described."""
from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_LABEL = re.compile(r"^\.\. _([\w-]+):$", re.MULTILINE)
_ROLE = re.compile(r":(ref|doc|c:func|func|class|meth|attr|exc|data|mod):`([^`]+)`")
_C_FUNCTION = re.compile(r"^(?:\.\. c:function::| {16}) *[\w ]+\*?\b(\w+)\(.*\)$", re.MULTILINE)
_DIRECTIVE = re.compile(r"^( *)\.\. (function|class|method|staticmethod|attribute|data|exception):: (.+)$")
_MODULE = re.compile(r"^\.\. (module|currentmodule):: ([\w.]+)$")
_FILE = re.compile(r"^ *\.\. (?:image|literalinclude):: (\S+)$", re.MULTILINE)
_TOCTREE = re.compile(r"^\.\. toctree::\n((?:   .*\n|\n)+)", re.MULTILINE)
# In literals: what looks like a file of the repository, or a target of the Makefile.
_LITERAL = re.compile(r"``([^`]+)``")
_PATH = re.compile(r"(?:Stackless|Lib|Tools|Modules|Include|Python|Objects|Doc)(?:/[\w.-]+)+/?")
_MAKE = re.compile(r"\bmake ([a-z][a-z-]+)\b")


@dataclass
class Entry:
    """A name that the reference describes."""

    kind: str
    name: str                    # with the module
    signature: str               # "" if it has none
    page: str
    body: str = ""

    @property
    def is_callable(self) -> bool:
        return self.kind in ("function", "class", "method", "staticmethod")


@dataclass
class Page:
    """One file."""

    path: Path
    name: str                    # relative to Doc/, without suffix
    text: str
    entries: list[Entry] = field(default_factory=list)

    @property
    def labels(self) -> list[str]:
        return _LABEL.findall(self.text)

    @property
    def c_functions(self) -> dict[str, str]:
        """The prototypes, without white space, and their names."""
        return {"".join(match[0].removeprefix(".. c:function::").split()): match[1]
                for match in _C_FUNCTION.finditer(self.text)}

    @property
    def contents(self) -> list[str]:
        """The pages that it lists, by their names."""
        folder = self.name.rpartition("/")[0]
        found = [line.strip() for block in _TOCTREE.findall(self.text) for line in block.splitlines()
                 if line.strip() and not line.strip().startswith(":")]
        return [f"{folder}/{name}" if folder else name for name in found]

    @property
    def files(self) -> list[Path]:
        return [self.path.parent / name for name in _FILE.findall(self.text)]

    def roles(self) -> Iterator[tuple[str, str]]:
        """Role and target of each reference."""
        for role, text in _ROLE.findall(self.text):
            target = text.rpartition("<")[2].rstrip(">") if "<" in text else text
            yield role, target.lstrip("~")

    def literals(self) -> list[str]:
        return [" ".join(text.split()) for text in _LITERAL.findall(self.text)]

    @property
    def paths(self) -> list[str]:
        return [text for text in self.literals() if _PATH.fullmatch(text)]

    @property
    def targets(self) -> list[str]:
        """Of make."""
        return [target for text in self.literals() for target in _MAKE.findall(text)]


def _entries(page: Page) -> Iterator[Entry]:
    module = outer = ""
    lines = page.text.splitlines()
    for number, line in enumerate(lines):
        if match := _MODULE.match(line):
            module = match[2]
        if match := _DIRECTIVE.match(line):
            indent, kind, rest = match.groups()
            name, parenthesis, arguments = rest.partition("(")
            inside = bool(indent) and bool(outer)
            full = f"{outer}.{name}" if inside else f"{module}.{name}"
            if not indent:
                outer = full if kind == "class" else ""
            body = []
            for text in lines[number + 1:]:
                if text.strip() and len(text) - len(text.lstrip()) <= len(indent):
                    break
                body.append(text)
            yield Entry(kind, full, parenthesis + arguments, page.name, "\n".join(body).strip())


def load(folder: Path) -> dict[str, Page]:
    """All pages below *folder*, by name."""
    pages = {}
    for path in sorted(folder.rglob("*.rst")):
        name = path.relative_to(folder).with_suffix("").as_posix()
        page = Page(path, name, path.read_text(encoding="utf-8"))
        page.entries = list(_entries(page))
        pages[name] = page
    return pages


def _is_described(page: Page, role: str, target: str, names: set[str]) -> bool:
    """As Sphinx looks names up: as it stands, in the module, in the class around it."""
    modules = {"stackless", "greenlet", "stackless.snapshot"}
    if role == "mod":
        return target in modules
    scopes = {""} | {f"{module}." for module in modules if f"module:: {module}\n" in page.text}
    if role in ("meth", "attr") and "." not in target:
        scopes |= {f"{entry.name.rpartition('.')[0]}." for entry in page.entries}
    return any(scope + target in names for scope in scopes)


def problems(pages: dict[str, Page], repository: Path, targets: set[str]) -> list[str]:
    """What is wrong with links.  *targets*: those of the Makefile."""
    found = []
    labels = [label for page in pages.values() for label in page.labels]
    names = {entry.name for page in pages.values() for entry in page.entries}
    c_functions = {name for page in pages.values() for name in page.c_functions.values()}
    listed = {name for page in pages.values() for name in page.contents}
    found += [f"label {label} is not unique" for label in sorted(set(labels)) if labels.count(label) > 1]
    found += [f"{name}: no such page is in a toctree" for name in sorted(set(pages) - listed - {"index"})]
    found += [f"toctree: there is no page {name}" for name in sorted(listed - set(pages))]
    for name, page in pages.items():
        for role, target in page.roles():
            if role == "ref":
                good = target in labels
            elif role == "c:func":
                good = target in c_functions
            elif role == "doc":
                good = target.lstrip("/") in pages
            else:
                good = _is_described(page, role, target, names)
            if not good:
                found.append(f"{name}: :{role}:`{target}` leads nowhere")
        found += [f"{name}: there is no file {path.name}" for path in page.files if not path.is_file()]
        found += [f"{name}: there is no {path} in the repository" for path in page.paths
                  if not (repository / path).exists()]
        found += [f"{name}: there is no target {target} in the Makefile" for target in page.targets
                  if target not in targets]
    return found
