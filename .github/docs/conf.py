"""Sphinx's settings for the API reference."""

import dataclasses
import functools
import re
import sys
from importlib.resources import files
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import reference
from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging
from sphinx.util.nodes import make_refnode

logger = logging.getLogger(__name__)

project = html_title = "purerl"
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
html_theme = "furo"
html_math_renderer = "mathml"
html_static_path = [str(files("ziamath") / "fonts" / "STIXTwoMath-Regular.ttf"), "math.css"]
html_css_files = ["math.css"]
html_copy_source = False
html_show_sphinx = False
add_module_names = False
autodoc_inherit_docstrings = False  # the base class has the entry
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 140  # of full names, which are shortened later
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Attributes", "params_style")]
toc_object_entries_show_parents = "hide"


def visit_math(self, node):
    """Write a formula as MathML, which browsers draw without a script or a network."""
    as_block = isinstance(node, nodes.math_block)
    tex = node.astext().replace(r"\dots", r"\ldots")  # the converter knows only the latter
    try:
        formula = tex2mathml(tex, as_block=as_block)
    except Exception as error:
        logger.warning("%s: %s", tex, error, location=node)
        raise nodes.SkipNode from error
    self.body.append(f'<div class="math">{formula}</div>' if as_block else formula)
    raise nodes.SkipNode


def resolve(app, env, node, contnode):
    """Find an object by any of its names, such as that of a package which imports it.

    Other packages and private objects become plain text. A reference to nothing is
    reported.
    """
    if node.get("refdomain") != "py":
        return None
    module, cls, target = node.get("py:module"), node.get("py:class"), node["reftarget"]
    objects = env.get_domain("py").objects
    for prefix in (f"{module}.{cls}.", f"{module}.", "builtins.", ""):
        name = canonical(prefix + target)
        if name in objects:
            entry = objects[name]
            where = node["refdoc"], entry.docname, entry.node_id
            return make_refnode(app.builder, *where, contnode, name)
        if name is not None:
            return contnode
    known = {*sys.modules, "ArrayTree"} - {reference.PACKAGE}  # a forward reference of chex
    if target.partition(".")[0] not in known:
        where = node if node.source else node["refdoc"]
        logger.warning("unresolved reference: %s", target, location=where)
    return contnode


@functools.cache
def canonical(name):
    """The name of an object in the module that defines it, None if it does not exist.

    A field of a dataclass has no entry of its own and is found as its class.
    """
    parts = name.split(".")
    lengths = range(len(parts), 0, -1)
    length = next((n for n in lengths if ".".join(parts[:n]) in sys.modules), 0)
    module, rest = ".".join(parts[:length]), parts[length:]
    if not length or not rest:
        return module or None
    if module.partition(".")[0] != reference.PACKAGE:
        return name if hasattr(sys.modules[module], rest[0]) else None
    try:
        first = reference.home(module, rest[0])
    except AttributeError:  # not ours, or imported for type checkers alone
        return reference.imports(module).get(rest[0])
    value = getattr(sys.modules[module], rest[0])
    for i, part in enumerate(rest[1:]):
        fields = dataclasses.fields(value) if dataclasses.is_dataclass(value) else ()
        if part in [field.name for field in fields]:
            return ".".join([first, *rest[1 : i + 1]])
        value = getattr(value, part, None)
        if value is None:
            return None
    return ".".join([first, *rest[1:]])


def skip(app, what, name, obj, skipped, options):
    """Leave out the fields of named tuples, which the docstring lists."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def mend_table(app, what, name, obj, options, lines):
    """Keep a dash in the last cell of a table row from becoming a bullet."""
    lines[:] = [re.sub(r"(?<=\S  )( *)-$", r"\1–", line) for line in lines]


def plain_signature(app, what, name, obj, options, signature, returns):
    """Leave out what flax adds to its modules, and objects without a name in Python.

    Sphinx cannot parse their ``<...>``, and splits such a signature at every comma.
    """
    if signature:
        signature = re.sub(r"(, )?parent: [^=]* = <flax[^>]*>, name: [^=]* = None", "", signature)
        signature = re.sub(r"<[^<>]*(<[^<>]*>)?[^<>]*>", "...", signature)
    return signature, returns


def document_constant(app, what, name, obj, options, lines):
    """Document a constant by its comment instead of its class's docstring."""
    if what == "data":
        lines[:] = [*reference.documentation(name).splitlines(), ""]


def setup(app):
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))
    app.connect("missing-reference", resolve)
    app.connect("autodoc-skip-member", skip)
    app.connect("autodoc-process-signature", plain_signature)
    app.connect("autodoc-process-docstring", mend_table)
    app.connect("autodoc-process-docstring", document_constant, priority=900)  # the last word
