r"""Features of observations, for values that are linear in them.

A feature function maps an observation to one of two things: the features, float32
``[F]``; or, where each feature is 0 or 1 and few are 1, the indices of those that are
1, int32 ``[k]``. A function of the second kind is a :class:`~purerl.pytree.Node` whose
``size`` says how many features there are. An agent keeps any other function as a
:class:`Function`.

A linear value :math:`w^\top x` is computed by :func:`dot`, and an update of its weights
by :func:`add`, whichever of the two :math:`x` is.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from numpy.typing import ArrayLike

from purerl.checks import FINITE, check_size, check_sizes, check_values, refusal, shown, whole
from purerl.pytree import Node, static

Features = Callable[[jax.Array], jax.Array]


def is_sparse(x: jax.Array | jax.ShapeDtypeStruct) -> bool:
    """Test for the indices of features that are 1, rather than features."""
    return jnp.issubdtype(x.dtype, jnp.integer)


def dot(weights: jax.Array, x: jax.Array, action: Any = ...) -> jax.Array:
    r""":math:`w_a^\top x` of an action, float32 ``[]``; by default of all, ``[A]``.

    Args:
        weights: :math:`w`, a column for each action, float32 ``[F, A]``.
        x: features, float32 ``[F]``, or indices of those that are 1, int32 ``[k]``.
        action: :math:`a`, int32 ``[]``.

    >>> import jax.numpy as jnp
    >>> weights = jnp.array([[1.0, 0.0], [2.0, 0.0], [4.0, 3.0]])
    >>> print(dot(weights, jnp.array([0, 2])))
    [5. 3.]
    >>> print(dot(weights, jnp.array([1.0, 0.0, 1.0]), 1))
    3.0
    """
    if is_sparse(x):
        return jnp.sum(weights[x, action], axis=0)
    column = weights[:, action]
    # No product of matrices, whose rounding depends on how many lanes there are.
    return jnp.sum(column * jnp.expand_dims(x, range(1, column.ndim)), axis=0)


def add(weights: jax.Array, action: jax.Array, x: jax.Array, move: jax.Array) -> jax.Array:
    r"""Weights after :math:`w_a \leftarrow w_a + m x`, float32 ``[F, A]``.

    Args:
        weights: :math:`w`, a column for each action, float32 ``[F, A]``.
        action: :math:`a`, int32 ``[]``.
        x: as in :func:`dot`.
        move: :math:`m`, float32 ``[]``.
    """
    if is_sparse(x):
        return weights.at[x, action].add(move)
    return weights.at[:, action].add(move * x)


class Function(Node):
    """Any function of an observation that JAX can trace.

    Attributes:
        function: maps an observation to float ``[F]``. Static.
    """

    function: Features = static()

    def __call__(self, observation: jax.Array) -> jax.Array:
        return self.function(observation)


def check_features(node: object, field: str) -> None:
    """Check that a field is a feature function, or None.

    A function that is no pytree is replaced by a :class:`Function`, so that the node
    can be passed to transformations.

    Raises:
        ValueError: names the field, its value and what is allowed.
    """
    value = getattr(node, field)
    if value is None:
        return
    if not callable(value) or isinstance(value, type):
        allowed = "a function of an observation, such as TileCoding(low, high), or None"
        raise refusal(type(node).__name__, field, shown(value), allowed)
    if any(leaf is value for leaf in jax.tree.leaves(value)):
        function: Callable[..., Any] = value
        object.__setattr__(node, field, Function(function))


def count(owner: str, features: Features, observation: Any) -> int:
    """The number of features, ``F``.

    Args:
        owner: the class named in the error message.
        features: a feature function.
        observation: shape and dtype of what it maps.

    Raises:
        ValueError: it gives neither float ``[F]`` nor, with a ``size``, integers
            ``[k]``.
    """
    allowed = "a function that gives float32 [F], or int32 [k] and has a size"
    try:
        found = jax.eval_shape(features, observation)
    except Exception as error:
        what = f"{shown(features)}, which raises {type(error).__name__} ({error})"
        raise refusal(owner, "features", what, allowed) from error
    if getattr(found, "ndim", None) == 1:
        size = whole(getattr(features, "size", None))
        if is_sparse(found) and size is not None:
            return size
        if jnp.issubdtype(found.dtype, jnp.floating):
            return found.shape[0]
    what = f"{shown(features)}, which gives {getattr(found, 'dtype', '')} "
    raise refusal(owner, "features", what + f"{getattr(found, 'shape', found)}", allowed)


class TileCoding(Node):
    r"""Tile coding: grids laid over a box, each shifted a little from the others.

    The side of the box in dimension :math:`i` is cut into ``tiles`` intervals of width
    :math:`w_i`, and there are ``tilings`` such grids. Grid :math:`j` is moved to the
    left by :math:`j (2 i + 1) / n` of :math:`w_i`, where :math:`n` is the number of
    grids and :math:`i` and :math:`j` count from 0. These are the asymmetric
    displacements (1, 3, 5, ...) that Sutton & Barto (2018), section 9.5.4, recommend,
    with a number of tilings that is a power of 2 and at least four times the number of
    dimensions. Each grid contains an observation in exactly one tile, whose feature is
    1, and all others are 0.

    A displacement counts without its whole tiles, which only rename the tiles of an
    unbounded grid. So ``tiles + 1`` tiles in a dimension cover the box, and every tile
    has a weight of its own: nothing is hashed. Below ``high`` the features are those of
    the book's software (``tiles3``) up to their numbers.

    Attributes:
        low: the least observation, ``D`` numbers.
        high: the largest, each above that of ``low``. An observation outside of the box
            counts as the nearest one inside, and ``high`` itself belongs to the last
            tile.
        tiles: in each dimension, one number or ``D`` of them. Static.
        tilings: at least 1. Static.

    Raises:
        ValueError: a field out of range, or bounds that do not fit together.

    >>> import jax.numpy as jnp
    >>> line = TileCoding(low=[0.0], high=[1.0], tiles=2, tilings=4)
    >>> line.size, [line(jnp.array([x])).tolist() for x in (0.0, 0.3, 1.0)]
    (12, [[0, 3, 6, 9], [0, 3, 7, 10], [1, 5, 8, 11]])
    """

    low: ArrayLike
    high: ArrayLike
    tiles: int | tuple[int, ...] = static(default=8)
    tilings: int = static(default=8)

    def __post_init__(self):
        check_size(self, "tilings")
        (check_sizes if whole(self.tiles) is None else check_size)(self, "tiles")
        for field in ("low", "high"):
            value = getattr(self, field)
            if isinstance(value, Tracer):
                continue
            array = np.asarray(value)
            check_values("TileCoding", {field: array}, {field: FINITE})
            object.__setattr__(self, field, array.astype(np.float32))
        self._check_bounds()

    def _check_bounds(self):
        low, high = self.low, self.high
        known = not isinstance(low, Tracer) and not isinstance(high, Tracer)
        shape = np.shape(low)
        if len(shape) == 0 or np.shape(high) != shape:
            found = f"{list(shape)} and {list(np.shape(high))}"
            raise refusal("TileCoding", "low and high", found, "[D] each", "have shapes")
        if known and not np.all(np.asarray(high) > np.asarray(low)):
            raise refusal("TileCoding", "high", shown(high), f"above low, {shown(low)}")
        if isinstance(self.tiles, tuple) and len(self.tiles) != shape[-1]:
            allowed = f"one number, or {shape[-1]}, as low has"
            raise refusal("TileCoding", "tiles", self.tiles, allowed)

    @property
    def _tiles(self) -> np.ndarray:
        """Tiles in each dimension, int32 ``[D]``."""
        return np.broadcast_to(np.asarray(self.tiles, np.int32), np.shape(self.low)[-1:])

    @property
    def size(self) -> int:
        """The number of features, which is that of the tiles of all tilings."""
        return self.tilings * int(np.prod(self._tiles + 1, dtype=np.int64))

    def __call__(self, observation: jax.Array) -> jax.Array:
        """The indices of the tiles that contain an observation, int32 ``[tilings]``.

        Args:
            observation: ``[D]``.
        """
        low, high = jnp.asarray(self.low, jnp.float32), jnp.asarray(self.high, jnp.float32)
        if jnp.shape(observation) != low.shape:
            found, allowed = list(jnp.shape(observation)), f"{list(low.shape)}"
            raise refusal("TileCoding", "observation", found, allowed, "has shape")
        # In units of 1 / tilings of a tile, everything after the first line is exact.
        n = self.tilings
        place = (jnp.asarray(observation, jnp.float32) - low) / (high - low) * (n * self._tiles)
        place = jnp.clip(place, 0, n * self._tiles - 1).astype(jnp.int32)
        grid = np.arange(n, dtype=np.int32)[:, None]
        shift = grid * (2 * np.arange(len(self._tiles), dtype=np.int32) + 1) % n
        tile = (place + shift) // n  # [tilings, D], each in [0, tiles]
        strides = np.cumprod([1, *(self._tiles[:0:-1] + 1)], dtype=np.int32)[::-1]
        first = jnp.asarray(grid[:, 0] * (self.size // n), jnp.int32)
        return first + jnp.sum(tile * strides, axis=-1, dtype=jnp.int32)
