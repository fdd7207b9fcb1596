"""Frozen dataclasses that are pytrees: agents, environments, policies, schedules."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, dataclass_transform, overload

import jax
import jax.numpy as jnp

T = TypeVar("T")


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
    ``in_axes`` and placeholders in the place of leaves.

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
        dataclasses.dataclass(frozen=True)(cls)
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

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed, checked as by the constructor."""
        return dataclasses.replace(self, **changes)


def copied(tree: T) -> T:
    """A copy of a pytree of arrays in which no two leaves share a buffer.

    It may be donated: JAX refuses to donate a buffer twice, and one that also belongs
    to a hyperparameter would be gone with the donation.
    """
    return jax.tree.map(jnp.copy, tree)


def replace_path(node: T, path: str, value: Any) -> T:
    """A copy of a dataclass with one field changed.

    A dotted path reaches into fields that are dataclasses, as in ``"env.limit"``.

    Raises:
        ValueError: there is no such field.
    """
    head, *rest = path.split(".", 1)
    owner = type(node).__name__
    if not dataclasses.is_dataclass(node) or isinstance(node, type):
        raise ValueError(f"{owner} has no field {head!r}; it has: none")
    names = [field.name for field in dataclasses.fields(node)]
    if head not in names:
        raise ValueError(f"{owner} has no field {head!r}; it has: {', '.join(names) or 'none'}")
    if rest:
        try:
            value = replace_path(getattr(node, head), rest[0], value)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    return dataclasses.replace(node, **{head: value})
