"""Experience replay: a ring buffer of transitions, sampled uniformly or by priority.

The buffer stores no position. The place of the next write and the number of filled
entries follow from the number of items added so far, which is a function of time. So
neither is batched under ``vmap``, and a write stays one slice that, in a scan with
donated buffers, happens in place.

:class:`Uniform` and :class:`Prioritized` are what agents take; the functions below them
are the ring itself.
"""

import functools
import math
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from purerl.checks import (
    POSITIVE,
    UNIT_INTERVAL,
    check_choice,
    check_numbers,
    check_size,
    refusal,
    shown,
)
from purerl.envs.base import Transition
from purerl.pytree import Node, static
from purerl.schedule import Schedule, at, check_schedules

Buffer = Any


class Batch(NamedTuple):
    r"""Transitions drawn from a buffer.

    Attributes:
        transition: of ``m <= n`` steps each: the observation and the action that it
            begins with, the discounted sum of its rewards, the observation that it led
            to, and whether the episode ended there. Leaves ``[B, ...]``.
        discount: :math:`\gamma^m`, of the next state's value, float32 ``[B]``.
        weight: of each in the loss, float32 ``[B]``.
        index: where each stands in the buffer, int32 ``[B]``.
    """

    transition: Transition
    discount: jax.Array
    weight: jax.Array
    index: jax.Array


class Draw(NamedTuple):
    r"""What a draw depends on, beside the buffer.

    Attributes:
        item: a pytree of ``jax.ShapeDtypeStruct``, shaped like one transition.
        batch_size: ``B``.
        num_envs: environments whose transitions take turns in the buffer.
        added: how many have been added so far, int32 ``[]``.
        discount: :math:`\gamma`, float32 ``[]``.
        t: the time at which schedules are evaluated, int32 ``[]``.
    """

    item: Transition
    batch_size: int
    num_envs: int
    added: jax.Array
    discount: jax.Array
    t: jax.Array


class Uniform(Node):
    r"""Transitions drawn uniformly, with replacement.

    Lin, "Self-improving reactive agents based on reinforcement learning, planning and
    teaching" (Machine Learning 8, 1992). With ``n`` above 1 the rewards of several
    steps are summed (:func:`n_step`), and the newest ``(n - 1) * num_envs``
    transitions, which do not have as many steps behind them, are not drawn.

    Attributes:
        capacity: transitions that are held. Static, as is ``n``.
        n: steps of a return.

    Raises:
        ValueError: a size that is not a positive whole number.
    """

    capacity: int = static(default=10_000)
    n: int = static(default=1)

    def __post_init__(self):
        check_size(self, "capacity", "n")

    def init(self, item: Transition) -> Buffer:
        """An empty buffer.

        Args:
            item: a pytree of ``jax.ShapeDtypeStruct``, shaped like one transition.
        """
        return create(item, self.capacity)

    def write(self, buffer: Buffer, items: Transition, added: jax.Array, num_envs: int) -> Buffer:
        """The buffer with transitions in the place of the oldest ones.

        Args:
            buffer: of :meth:`init`.
            items: leaves ``[N, ...]``, in the order of time, and within a time
                of environments.
            added: how many were added before, a multiple of ``N``.
            num_envs: environments that they come from.
        """
        return write(buffer, items, added)

    def sample(self, buffer: Buffer, key: jax.Array, draw: Draw) -> Batch:
        """Transitions drawn from the buffer. The key is consumed."""
        held = self._held(draw)
        index = jax.random.randint(key, (draw.batch_size,), 0, held, jnp.int32)
        if self.n > 1:  # counted from the oldest, so that the newest are left out
            oldest = draw.added - jnp.minimum(draw.added, self.capacity)
            index = (oldest + index) % self.capacity
        transition, discount = n_step(buffer, index, self.n, draw)
        return Batch(transition, discount, jnp.ones(draw.batch_size, jnp.float32), index)

    def learned(self, buffer: Buffer, batch: Batch, priority: jax.Array) -> Buffer:
        """The buffer after a batch was learned from, with priorities ``[B]``."""
        return buffer

    def _held(self, draw):
        """The number of transitions that may be drawn, int32 ``[]``."""
        return jnp.minimum(draw.added, self.capacity) - (self.n - 1) * draw.num_envs


def check_replay(node: object, field: str) -> None:
    """Check that a field is a replay.

    Raises:
        ValueError: names the field, its value and what is allowed.
    """
    value = getattr(node, field)
    if not isinstance(value, Uniform):
        allowed = "a replay, such as purerl.replay.Uniform(10_000)"
        raise refusal(type(node).__name__, field, shown(value), allowed)


class PrioritizedBuffer(NamedTuple):
    """Buffer of :class:`Prioritized`.

    Attributes:
        ring: the transitions, leaves ``[capacity, ...]``.
        tree: first the priority of each slot to the power of the exponent, zero in
            slots that must not be drawn, in rows ``[R, F]``; then the sums of these
            rows, in rows of ``F`` again; and so on up to a single row. All float32.
        largest: the largest priority so far, to the power of the exponent, float32
            ``[]``.
    """

    ring: Buffer
    tree: tuple[jax.Array, ...]
    largest: jax.Array


# On CPUs, XLA splits a sum over more numbers in two.
_WIDEST = 32


class Prioritized(Uniform):
    r"""Transitions drawn by priority, with weights that correct for it.

    .. math::
        P(i) = \frac{p_i^\alpha}{\sum_k p_k^\alpha}, \qquad
        w_i = \left( N \, P(i) \right)^{-\beta}, \qquad p_i = \delta_i + \epsilon,

    where :math:`\delta_i` is the priority that the agent's head gave the transition
    when it was last learned from; a new one has the largest so far. With
    :math:`\beta = 1` and no normalization the weighted loss has the expectation of a
    uniform draw. Schaul, Quan, Antonoglou & Silver, "Prioritized experience replay"
    (ICLR 2016).

    Priorities are the leaves of a tree of sums. A draw descends to a row of at most 32
    slots and takes one of these. Rows are drawn stratified: one from each of ``B``
    equal parts of the total. Every sum is computed from its row whenever that changes,
    so nothing drifts, and a slot of priority zero is never drawn.

    Attributes:
        capacity: transitions that are held. Static.
        n: steps of a return. Static. Where it is above 1, a transition has priority
            zero until those steps are known.
        exponent: :math:`\alpha` in ``[0, 1]``.
        correction: :math:`\beta` in ``[0, 1]``; a schedule is evaluated at the number
            of transitions since the warm-up.
        epsilon: :math:`\epsilon`, above 0.
        normalize: by what weights are divided. ``"batch"``, the usual choice, is the
            largest of the batch: no weight is above 1, but how much smaller the mean
            step is depends on what was drawn. ``"buffer"`` is the largest that any
            transition in the buffer could have; it reads all priorities at every draw.
            ``"none"``: they are not divided. Static.

    Raises:
        ValueError: a number out of range.
    """

    exponent: float | jax.Array = 0.6
    correction: float | jax.Array | Schedule = 0.4
    epsilon: float | jax.Array = 1e-6
    normalize: str = static(default="batch")

    def __post_init__(self):
        super().__post_init__()
        check_numbers(self, exponent=UNIT_INTERVAL, epsilon=POSITIVE)
        check_schedules(self, correction=UNIT_INTERVAL)
        check_choice(self, normalize=("batch", "buffer", "none"))

    def init(self, item):
        depth = 2
        while _WIDEST**depth < self.capacity:
            depth += 1
        width = math.ceil(self.capacity ** (1 / depth))
        rows, tree = self.capacity, []
        while rows > 1 or len(tree) < 2:
            rows = math.ceil(rows / width)
            tree.append(jnp.zeros((rows, width), jnp.float32))
        ring = create(item, self.capacity)
        return PrioritizedBuffer(ring, tuple(tree), jnp.ones((), jnp.float32))

    def write(self, buffer, items, added, num_envs):
        count = items.reward.shape[0]
        too_new = (self.n - 1) * num_envs
        order = jnp.arange(count + too_new, dtype=jnp.int32)
        place = added - too_new + order
        # Older ones are no longer held, or were never there.
        oldest = jnp.maximum(added + count - self.capacity, 0)
        value = jnp.where((order < count) & (place >= oldest), buffer.largest, 0)
        index = place % self.capacity
        leaves = _at(buffer.tree[0], index).set(value)
        return buffer._replace(
            ring=write(buffer.ring, items, added), tree=_summed(leaves, buffer.tree, index)
        )

    def sample(self, buffer, key, draw):
        count = draw.batch_size
        stratum, within = jax.random.uniform(key, (2, count), jnp.float32)
        total = jnp.sum(buffer.tree[-1])
        goal = total * ((jnp.arange(count, dtype=jnp.float32) + stratum) / count)
        index = jnp.zeros(count, jnp.int32)
        for level in buffer.tree[:0:-1]:
            index, goal, mass = _descend(level, index, goal)
        # What is left of the goal has few digits, too few to tell slots apart.
        index, _, mass = _descend(buffer.tree[0], index, within * mass)

        mean = total / self._held(draw).astype(jnp.float32)
        correction = at(self.correction, draw.t)
        weight = (mass / mean) ** -correction
        if self.normalize == "batch":
            weight = weight / jnp.max(weight)
        elif self.normalize == "buffer":
            leaves = buffer.tree[0]
            least = jnp.min(jnp.where(leaves > 0, leaves, jnp.inf))
            weight = weight / (least / mean) ** -correction
        transition, discount = n_step(buffer.ring, index, self.n, draw)
        return Batch(transition, discount, weight, index)

    def learned(self, buffer, batch, priority):
        new = (priority + self.epsilon) ** self.exponent
        # A transition drawn twice gets the larger one, whatever the order.
        leaves = _at(buffer.tree[0], batch.index).set(0.0)
        leaves = _at(leaves, batch.index).max(new)
        return buffer._replace(
            tree=_summed(leaves, buffer.tree, batch.index),
            largest=jnp.maximum(buffer.largest, jnp.max(new)),
        )


def _at(level, index):
    """The entries of a level of a tree, counted through its rows."""
    width = level.shape[1]
    return level.at[index // width, index % width]


def _summed(leaves, tree, index):
    """The tree of the leaves after those at ``index [N]`` have changed."""
    levels = [leaves]
    for above in tree[1:]:
        index = index // levels[-1].shape[1]
        # Where a row is named twice, both sums are the same.
        levels.append(_at(above, index).set(jnp.sum(levels[-1][index], axis=1)))
    return tuple(levels)


def _descend(level, row, goal):
    """One step down a tree of sums.

    Args:
        level: float32 ``[R, F]``.
        row: where the step starts, int32 ``[B]``.
        goal: a sum of masses in the row, float32 ``[B]``.

    Returns:
        The entries, counted through all rows, in which the sums from the left reach
        the goals, never one without mass; what is left of the goals; and the masses
        of the entries. All ``[B]``.
    """
    masses = level[row]
    width = level.shape[1]
    earlier = jnp.triu(jnp.ones((width, width), jnp.float32), 1)
    before = jnp.matmul(masses, earlier, precision="highest")
    begun = (before <= goal[:, None]) & (masses > 0)
    # Sums that are rounded need not ascend, so the last entry is taken that has begun.
    entry = jnp.max(jnp.where(begun, jnp.arange(width, dtype=jnp.int32), 0), axis=1)

    def of_entry(values):
        return jnp.take_along_axis(values, entry[:, None], axis=1)[:, 0]

    return row * width + entry, goal - of_entry(before), of_entry(masses)


def n_step(ring: Any, index: jax.Array, n: int, draw: Draw) -> tuple[Transition, jax.Array]:
    r"""Transitions of up to ``n`` steps, read from a ring.

    .. math:: \sum_{k=0}^{m-1} \gamma^k R_{t+k+1}, \qquad \gamma^m,

    with :math:`m < n` where the episode ends, by termination or truncation, after
    :math:`m` steps. Slot ``i + k * num_envs`` holds the same environment ``k`` steps
    later than slot ``i``.

    Args:
        ring: of transitions, leaves ``[capacity, ...]``.
        index: of the first steps, int32 ``[B]``.
        n: steps, at least 1. Static.
        draw: says what else it depends on.

    Returns:
        The transitions, leaves ``[B, ...]``, and :math:`\gamma^m`, float32 ``[B]``.
    """
    capacity = ring.reward.shape[0]
    later = draw.num_envs * jnp.arange(n, dtype=jnp.int32)
    rows = (index[:, None] + later) % capacity

    def read(name, slots):
        drawn = getattr(ring, name).at[slots].get(mode="promise_in_bounds")
        return drawn.reshape(*slots.shape, *getattr(draw.item, name).shape)

    rewards, terminated, truncated = (
        read(name, rows) for name in ("reward", "terminated", "truncated")
    )
    ended = jnp.cumsum(terminated | truncated, axis=1, dtype=jnp.int32) > 0
    taken = jnp.concatenate([jnp.ones_like(ended[:, :1]), ~ended[:, :-1]], axis=1)
    powers = jnp.cumprod(jnp.full(n, draw.discount, jnp.float32))
    factors = jnp.concatenate([jnp.ones(1, jnp.float32), powers])
    last = jnp.sum(taken, axis=1, dtype=jnp.int32) - 1
    of_last = functools.partial(jnp.take_along_axis, indices=last[:, None], axis=1)
    transition = Transition(
        observation=read("observation", index),
        action=read("action", index),
        reward=jnp.sum(jnp.where(taken, factors[:-1] * rewards, 0), axis=1),
        terminated=of_last(terminated)[:, 0],
        truncated=of_last(truncated)[:, 0],
        next_observation=read("next_observation", of_last(rows)[:, 0]),
    )
    return transition, factors[last + 1]


def create(item: Any, capacity: int) -> Buffer:
    """An empty ring buffer.

    Args:
        item: a pytree of arrays or ``jax.ShapeDtypeStruct``, shaped like one item.
        capacity: the number of items it can hold.

    Returns:
        The same pytree, of zeros with a leading axis ``[capacity]``. An item of several
        axes is held as a row, ``[capacity, size]``, since XLA copies along the last
        axis, which of a board is short. It stays one: a ring that is reshaped at every
        write is copied every time.
    """

    def ring(x):
        shape = (math.prod(x.shape),) if len(x.shape) > 1 else x.shape
        return jnp.zeros((capacity, *shape), x.dtype)

    return jax.tree.map(ring, item)


def write(buffer: Buffer, items: Any, added: int | jax.Array) -> Buffer:
    """Overwrite the oldest items.

    Args:
        buffer: the ring.
        items: leaves ``[N, ...]``. ``N`` must divide the capacity, so that no write
            wraps around the end.
        added: the number of items added before, a multiple of ``N``.

    Raises:
        AssertionError: ``N`` does not divide the capacity (while tracing).
    """
    capacity = jax.tree.leaves(buffer)[0].shape[0]
    count = jax.tree.leaves(items)[0].shape[0]
    chex.assert_is_divisible(capacity, count)

    def write(ring, items):
        rows = items.reshape(count, *ring.shape[1:])
        return _write_along(0)(added % capacity, ring, rows)

    return jax.tree.map(write, buffer, items)


@functools.cache
def _write_along(axis):
    """``dynamic_update_slice_in_dim`` along ``axis``, with a batching rule of its own.

    Under ``vmap`` it stays a slice update as long as the start is not batched. JAX's
    own rule turns it into a scatter, which XLA does not do in place: every write would
    copy the ring.
    """

    @jax.custom_batching.custom_vmap
    def write(start, ring, items):
        return jax.lax.dynamic_update_slice_in_dim(ring, items, start, axis)

    @write.def_vmap
    def write_batch(axis_size, batched, start, ring, items):
        if batched[0]:
            plain = functools.partial(jax.lax.dynamic_update_slice_in_dim, axis=axis)
            axes = [0 if is_batched else None for is_batched in batched]
            each = jax.vmap(lambda start, ring, items: plain(ring, items, start), axes)
            return each(start, ring, items), True
        ring, items = (
            x if is_batched else jnp.broadcast_to(x, (axis_size, *x.shape))
            for x, is_batched in zip((ring, items), batched[1:], strict=True)
        )
        return _write_along(axis + 1)(start, ring, items), True

    return write
