"""Frozen dataclasses that are pytrees: agents, environments, policies, schedules."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, dataclass_transform, overload

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from purerl.checks import listed, meant, nearest

T = TypeVar("T")

_ENTRIES = 4  # of a sequence or dictionary that are shown
_LONGEST = 80  # characters of a value of another kind


@overload
def static(*, default: T, **settings: Any) -> T: ...
@overload
def static(*, default_factory: Callable[[], T], **settings: Any) -> T: ...
@overload
def static(**settings: Any) -> Any: ...
def static(**settings: Any) -> Any:
    """A field that is not a leaf but part of the pytree's structure.

    Changing it compiles anew, so its values must be hashable. ``settings`` are those of
    :func:`dataclasses.field`.
    """
    return dataclasses.field(metadata={"pytree_node": False}, **settings)


@dataclass_transform(frozen_default=True, field_specifiers=(static,))
class Node:
    """Base class of frozen dataclasses that are pytrees.

    Subclassing makes the class a frozen dataclass and registers it as a pytree; no
    decorator is needed. Its fields are the children, except for those that are
    :func:`static`.

    The constructor is for users, and ``__post_init__`` may check its arguments. JAX
    rebuilds a node without the constructor, because transformations put tracers,
    ``in_axes`` and placeholders in the place of leaves. So a tree of ``in_axes`` is
    made from a node by ``jax.tree.map``, and not by the constructor.

    Registration uses :func:`jax.tree_util.register_pytree_with_keys` rather than
    ``register_dataclass`` (on which ``flax.struct`` is built): up to JAX 0.12 at least,
    the structures of two such classes with the same fields compare equal, and ``jit``
    sometimes runs the program compiled for the other class.

    Example:
        >>> class Scaled(Node):
        ...     factor: float
        ...     times: int = static(default=1)
        ...
        ...     def __call__(self, x):
        ...         return x * self.factor**self.times
        >>> double = Scaled(2.0)
        >>> double.replace(times=3)(1.0), jax.tree.leaves(double)
        (8.0, [2.0])
    """

    if TYPE_CHECKING:  # set on every subclass by `dataclasses.dataclass`
        __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        dataclasses.dataclass(frozen=True, repr=False)(cls)
        children: list[str] = []
        structure: list[str] = []
        for field in dataclasses.fields(cls):
            (children if field.metadata.get("pytree_node", True) else structure).append(field.name)
        keys = [jax.tree_util.GetAttrKey(name) for name in children]

        def flatten(node):
            values = [getattr(node, name) for name in children]
            return values, tuple(getattr(node, name) for name in structure)

        def flatten_with_keys(node):
            values, aux = flatten(node)
            return list(zip(keys, values, strict=True)), aux

        def unflatten(aux, values):
            node = object.__new__(cls)
            vars(node).update(zip((*children, *structure), (*values, *aux), strict=True))
            return node

        jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)

    def __repr__(self):
        return in_a_line(self)

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed, checked as by the constructor."""
        return dataclasses.replace(self, **changes)


def copied(tree: T) -> T:
    """A copy of a pytree of arrays in which no two leaves share a buffer.

    It may be donated: JAX refuses to donate a buffer twice, and one that also belongs
    to a hyperparameter would be gone with the donation.
    """
    return jax.tree.map(jnp.copy, tree)


def replace_paths(node: T, changes: Mapping[str, Any]) -> T:
    """A copy of a dataclass with some fields changed, all at once.

    So fields that are valid only together are set in any order. A dotted path reaches
    into fields that are dataclasses, as in ``"env.limit"``; where a field is changed
    and something inside it too, the inside of the new value is.

    Raises:
        ValueError: there is no such field.
    """
    owner = type(node).__name__
    data: Any = node
    is_dataclass = dataclasses.is_dataclass(node) and not isinstance(node, type)
    names = [field.name for field in dataclasses.fields(data)] if is_dataclass else []
    fields: dict[str, Any] = {}
    inside: dict[str, dict[str, Any]] = {}
    for path, value in changes.items():
        head, _, rest = path.partition(".")
        if head not in names:
            near = nearest(head, names)
            guess = meant(repr(near)) if near else ""
            raise ValueError(f"{owner} has no field {head!r}; it has: {listed(names)}{guess}")
        if rest:
            inside.setdefault(head, {})[rest] = value
        else:
            fields[head] = value
    for head, deeper in inside.items():
        inner = fields.get(head, getattr(node, head))
        try:
            fields[head] = replace_paths(inner, deeper)
        except ValueError as error:
            raise ValueError(f"{head}.{', '.join(deeper)}: {error}") from None
    # A node's own replace keeps what follows from its fields in step with them.
    own = getattr(data, "replace", None)
    return own(**fields) if own is not None else dataclasses.replace(data, **fields)


def in_a_line(node: Any) -> str:
    """A dataclass and its fields in one line, arrays by dtype and shape."""
    shown = (
        f"{f.name}={_brief(getattr(node, f.name))}" for f in dataclasses.fields(node) if f.repr
    )
    return f"{type(node).__qualname__}({', '.join(shown)})"


def _brief(value):
    """A value in the representation of a node."""
    if isinstance(value, (jax.Array, np.ndarray, np.generic)) and not isinstance(value, Tracer):
        plain = not value.ndim and not jnp.issubdtype(value.dtype, jax.dtypes.extended)
        return str(np.asarray(value)) if plain else f"{value.dtype}{list(value.shape)}"
    if isinstance(value, tuple) and (names := getattr(value, "_fields", None)):
        pairs = zip(names, value, strict=True)
        return f"{type(value).__name__}({_entries(f'{k}={_brief(v)}' for k, v in pairs)})"
    if isinstance(value, tuple):
        return f"({_entries(map(_brief, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, list):
        return f"[{_entries(map(_brief, value))}]"
    if isinstance(value, dict):
        return f"{{{_entries(f'{k!r}: {_brief(v)}' for k, v in value.items())}}}"
    if isinstance(value, Node):
        return repr(value)
    if isinstance(value, nn.Module):
        names = (f.name for f in dataclasses.fields(value) if f.repr)
        given = (
            name for name in names if getattr(value, name) is not getattr(type(value), name, ...)
        )
        entries = _entries(f"{name}={_brief(getattr(value, name))}" for name in given)
        return f"{type(value).__name__}({entries})"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return f"{type(value).__name__}(...)"
    text = " ".join(repr(value).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _entries(texts):
    texts = list(texts)
    more = [f"... {len(texts)} in all"] if len(texts) > _ENTRIES else []
    return ", ".join(texts[:_ENTRIES] + more)
