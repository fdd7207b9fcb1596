"""Build the API reference: ``python .github/docs/reference.py OUT``.

Each module gets a page with all its public names. The build fails if Sphinx warns, if a
reference leads nowhere, or if a public name has no entry.
"""

import argparse
import ast
import functools
import importlib
import inspect
import pkgutil
import re
import sys
from pathlib import Path
from types import ModuleType

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parents[1]
PACKAGE = "purerl"
# Libraries that only adapters import: the pages are built without them.
MOCKED = ("gymnasium", "gymnax", "jumanji", "navix", "pgx")


# The modules and their names.


def rooms() -> list[str]:
    """The package's rooms from the lowest to the highest, read from its README."""
    table = (ROOT / PACKAGE / "README.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)


@functools.cache
def modules() -> tuple[str, ...]:
    """Full names of the public modules, in the order of the rooms."""
    package = importlib.import_module(PACKAGE)
    inside = pkgutil.walk_packages(package.__path__, f"{PACKAGE}.")
    found = [m.name for m in inside if not re.search(r"\._", m.name)]
    places = {room: place for place, room in enumerate(rooms())}
    return PACKAGE, *sorted(found, key=lambda name: (places[name.split(".")[1]], name))


def submodules(package: str) -> list[str]:
    return [name for name in modules() if name.rpartition(".")[0] == package]


@functools.cache
def source(module: str) -> tuple[list[str], ast.Module]:
    """Lines and syntax tree of a module."""
    text = inspect.getsource(importlib.import_module(module))
    return text.splitlines(), ast.parse(text)


@functools.cache
def definitions(module: str) -> dict[str, ast.stmt]:
    """Functions, classes and constants that a module defines at its top level."""
    found: dict[str, ast.stmt] = {}
    for node in source(module)[1].body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        targets = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign):
            targets = [node.target]
        for target in targets:
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            found |= {name.id: node for name in names if isinstance(name, ast.Name)}
    return found


@functools.cache
def imports(module: str) -> dict[str, str]:
    """``{name: full name}`` of imports, those for type checkers included."""
    found = {}
    for node in ast.walk(source(module)[1]):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return found


def public_names(module: str) -> list[str]:
    """``__all__``, or all that a module defines, without names with an underscore."""
    defined = list(definitions(module))
    names = getattr(importlib.import_module(module), "__all__", defined)
    return [name for name in names if not name.startswith("_")]


@functools.cache
def home(module: str, name: str) -> str:
    """Full name of an object in the module that defines it.

    Raises:
        AttributeError: no module of the package defines it.
    """
    value = getattr(importlib.import_module(module), name)
    if isinstance(value, ModuleType):
        return value.__name__
    if name in definitions(module):
        return f"{module}.{name}"
    if name in imports(module):
        origin, _, original = imports(module)[name].rpartition(".")
        if origin.startswith(PACKAGE):
            return home(origin, original)
    if getattr(value, "__module__", "").startswith(f"{PACKAGE}."):  # imported on demand
        return home(value.__module__, value.__name__)
    raise AttributeError(f"no module of {PACKAGE} defines {module}.{name}")


def entries() -> dict[str, str]:
    """``{public name: full name of its entry}``, modules included."""
    found = {name: name for name in modules()}
    for module in modules():
        for name in public_names(module):
            found[f"{module}.{name}"] = home(module, name)
    return found


# Their pages.


def kind(module: str, name: str) -> str:
    """The directive for what a module defines."""
    node = definitions(module)[name]
    if isinstance(node, ast.ClassDef):
        return "autoclass"
    return "autofunction" if isinstance(node, ast.FunctionDef) else "autodata"


def documentation(full: str) -> str:
    """Docstring of a module, function or class; comment above or beside a constant."""
    if full in modules():
        return inspect.getdoc(importlib.import_module(full)) or ""
    module, _, name = full.rpartition(".")
    if kind(module, name) != "autodata":
        return inspect.getdoc(getattr(importlib.import_module(module), name)) or ""
    lines = source(module)[0]
    line = definitions(module)[name].lineno - 1
    beside = re.search(r"  #:? (.*)$", lines[line])
    if beside:
        return beside.group(1)
    above = []
    while line and lines[line - 1].startswith("#"):
        line -= 1
        above.insert(0, lines[line].lstrip("#: "))
    return "\n".join(above)


def first_sentence(full: str) -> str:
    """First sentence of the documentation, with literals instead of references."""
    paragraph = re.sub(r"\s+", " ", documentation(full).strip().partition("\n\n")[0])
    role = r":(?!math)[a-z]+:`~?(?:[^`<]*<)?(?:\w+\.)*(\w+)>?`"
    paragraph = re.sub(role, r"``\1``", paragraph)
    ends = [match.end() for match in re.finditer(r"\.(?= |$)", paragraph)]
    whole = (paragraph[:end] for end in ends if is_closed(paragraph[:end]))
    return re.sub(r"[:,]$", "", next(whole, paragraph))


def is_closed(text: str) -> bool:
    """No literal, role, emphasis or parenthesis is left open."""
    rest = re.sub(r"``.*?``|`.*?`", "", text)
    return "`" not in rest and rest.count("*") % 2 == 0 and rest.count("(") == rest.count(")")


def table(names: list[str]) -> list[str]:
    """A table of names and first sentences, in reStructuredText."""
    lines = [".. list-table::", "   :align: left", ""]
    for full in names:
        module, _, name = full.rpartition(".")
        where = full if full in modules() else home(module, name)
        lines += [f"   * - :py:obj:`{name} <{full}>`", f"     - {first_sentence(where)}"]
    return [*lines, ""]


def page(module: str) -> str:
    """The page of a module, in reStructuredText."""
    lines = [module, "=" * len(module), "", f".. automodule:: {module}", "   :no-members:", ""]
    inside = submodules(module)
    if inside:
        lines += ["Modules", "-------", "", *table(inside), ".. toctree::", "   :hidden:", ""]
        lines += [f"   {name.rpartition('.')[2]} <{name}>" for name in inside] + [""]
    names = [name for name in public_names(module) if home(module, name) not in inside]
    own = [name for name in names if name in definitions(module)]
    imported = [f"{module}.{name}" for name in names if name not in own]
    if imported:
        lines += ["Names", "-----", "", *table(imported)]
    if own:
        own.sort(key=lambda name: definitions(module)[name].lineno)
        lines += ["Definitions", "-----------", ""]
        lines += table([f"{module}.{name}" for name in own]) if len(own) > 1 else []
    options = {
        "autoclass": ["   :members:", "   :show-inheritance:"],
        "autodata": ["   :no-value:"],
        "autofunction": [],
    }
    for name in own:
        directive = kind(module, name)
        lines += [f".. {directive}:: {module}.{name}", *options[directive], ""]
    return "\n".join(lines)


def build(out: Path) -> list[str]:
    """Write the pages into ``out`` and return what is wrong with them."""
    from sphinx.application import Sphinx
    from sphinx.ext.autodoc.mock import _MockObject, mock
    from sphinx.util.docutils import docutils_namespace

    # Sphinx's mocks do not know the union types of annotations.
    _MockObject.__or__ = _MockObject.__ror__ = lambda self, other: self
    sources = out / ".sources"
    sources.mkdir(parents=True, exist_ok=True)
    for stale in sources.glob("*.rst"):
        stale.unlink()
    with mock(list(MOCKED)), docutils_namespace():
        wanted = entries()
        for module in modules():
            name = "index" if module == PACKAGE else module
            (sources / f"{name}.rst").write_text(page(module), encoding="utf-8")
        app = Sphinx(
            sources,
            DOCS,
            out,
            out / ".doctrees",
            "html",
            status=None,
            warning=sys.stderr,
            freshenv=True,  # warnings of pages that were built before would not be repeated
            warningiserror=True,
        )
        app.build()
    written = {name for name, *_ in app.env.get_domain("py").get_objects()}
    problems = [f"{name} has no entry" for name, where in wanted.items() if where not in written]
    if app.statuscode:
        problems.append("Sphinx warns, see above")
    return problems


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder of the pages")
    out = parser.parse_args().out
    problems = build(out.resolve())
    if problems:
        raise SystemExit("\n".join(problems))
    print(f"{out}/index.html")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
