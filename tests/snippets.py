"""Snippets of the READMEs and docstrings, written to files for a type checker.

``python tests/snippets.py FOLDER`` writes one file for each README, its Python blocks
in their order; one for each module with doctests, every example a function of its own;
and one that holds agents and environments against their protocols.
"""

import ast
import doctest
import re
import sys
import textwrap
from pathlib import Path

from purerl.agents import METHODS
from purerl.envs.wrappers import ScaledActions
from purerl.pytree import Node

ROOT = Path(__file__).parents[1]
READMES = ("README.md", "purerl/*.md", "purerl/*/*.md", "experiments/README.md")


def of_readme(text: str) -> str:
    """The Python blocks of a README."""
    return "\n".join(re.findall(r"^```python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE))


def of_module(name: str, source: str) -> str:
    """The examples of a module's docstrings, which see the module's names."""
    parser = doctest.DocTestParser()
    functions = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            continue
        examples = parser.get_examples(ast.get_docstring(node, clean=True) or "")
        if examples:
            body = textwrap.indent("".join(example.source for example in examples), "    ")
            functions.append(f"def example_{len(functions)}():\n{body}")
    # What a module imports is no part of `*` where it has `__all__`.
    imports = [line for line in source.splitlines() if re.match(r"import \S+ as \S+$", line)]
    head = "\n".join([f"from {name} import *", *imports])
    return f"{head}\n\n\n" + "\n\n".join(functions) if functions else ""


def kinds_of_environments() -> list[str]:
    """Dotted names of the classes with discrete actions that can be stepped."""
    found, todo = set(), [Node]
    while todo:
        kind = todo.pop()
        todo += kind.__subclasses__()
        members = "num_actions", "reset", "step", "observe"
        steps = all(hasattr(kind, name) for name in members)
        steps &= kind is not ScaledActions  # whose actions stay continuous
        if steps and kind.__module__.startswith("purerl.") and not kind.__name__.startswith("_"):
            found.add(f"{kind.__module__}.{kind.__qualname__}")
    return sorted(found)


def of_protocols() -> str:
    """Every agent as an ``Agent``, every environment as an ``Environment``."""
    agents = "".join(f"    purerl.{name}(env=lake),\n" for name in METHODS)
    kinds = kinds_of_environments()
    imports = "".join(f"import {name.rpartition('.')[0]}\n" for name in kinds)
    functions = "".join(
        f"def environment_{i}(env: {name}) -> Environment:\n    return env\n\n\n"
        for i, name in enumerate(kinds)
    )
    return (
        f"import purerl\n{imports}from purerl.agents import Agent\n"
        "from purerl.envs import Environment\n\n"
        'lake = purerl.make("FrozenLake-v1")\n'
        f"agents: list[Agent] = [\n{agents}]\n\n\n{functions}"
    )


def write(folder: Path) -> None:
    """Write all snippets into a folder, replacing those of an earlier run."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.py"):
        old.unlink()
    snippets = {"protocols": of_protocols()}
    for pattern in READMES:
        for path in ROOT.glob(pattern):
            name = "_".join(path.relative_to(ROOT).with_suffix("").parts).lower()
            snippets[name] = of_readme(path.read_text())
    for path in (ROOT / "purerl").rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts).removesuffix(".__init__")
        snippets["_".join(parts)] = of_module(name, path.read_text())
    for name, text in snippets.items():
        if text:
            (folder / f"{name}.py").write_text(text)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
