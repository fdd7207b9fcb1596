"""Frozen dataclasses that are pytrees: what agents, environments, policies and schedules are."""

import dataclasses
from typing import Any, Self, dataclass_transform

import jax


def static(**settings: Any) -> Any:
    """A field that is no leaf but part of the structure: a change of it compiles anew. ``settings`` are those of
    :func:`dataclasses.field`; its values are hashable."""
    return dataclasses.field(metadata={"pytree_node": False}, **settings)


@dataclass_transform(frozen_default=True, field_specifiers=(static,))
class Node:
    """Base of frozen dataclasses whose fields are children of a pytree, but for those that are :func:`static`.

    The constructor is for users, and may check what it is given. JAX rebuilds a node without it, because it puts anything in a
    leaf's place.

    It is made of :func:`jax.tree_util.register_pytree_with_keys`, and not of ``register_dataclass`` (or ``flax.struct``, which
    is made of that): up to JAX 0.12 at least, the structures of two such classes with alike fields compare equal, and ``jit``
    then now and then runs the program of the other class.

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

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        dataclasses.dataclass(frozen=True)(cls)
        children, structure = [], []
        for field in dataclasses.fields(cls):
            (children if field.metadata.get("pytree_node", True) else structure).append(field.name)
        keys = [jax.tree_util.GetAttrKey(name) for name in children]

        def flatten(node):
            return [getattr(node, name) for name in children], tuple(
                getattr(node, name) for name in structure
            )

        def flatten_with_keys(node):
            values, aux = flatten(node)
            return list(zip(keys, values, strict=True)), aux

        def unflatten(aux, values):
            node = object.__new__(cls)
            vars(node).update(zip((*children, *structure), (*values, *aux), strict=True))
            return node

        jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed, checked as by the constructor."""
        return dataclasses.replace(self, **changes)


def replace_path(node: Any, path: str, value: Any) -> Any:
    """A copy of a dataclass with one field changed; dots reach inside, as in ``"env.limit"``.

    Raises:
        ValueError: there is no such field.
    """
    head, *rest = path.split(".", 1)
    names = [f.name for f in dataclasses.fields(node)] if dataclasses.is_dataclass(node) else []
    if head not in names:
        raise ValueError(
            f"{type(node).__name__} has no field {head!r}; it has: {', '.join(names) or 'none'}"
        )
    if rest:
        try:
            value = replace_path(getattr(node, head), rest[0], value)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    return node.replace(**{head: value})
