r"""Heads of Q-networks: what a network's outputs say about the return.

A network maps an observation to ``[A, K]``: ``K`` numbers for each of ``A`` actions. A
head reads action values from them, moves what they say about the next state to the
present one, and measures how far the outputs are from that. All functions take one
transition; the agent maps them over a batch.

- :class:`Scalar`: the mean of the return, ``K = 1``;
- :class:`Categorical`: probabilities of ``K`` fixed returns (C51);
- :class:`Quantile`: ``K`` quantiles at fixed fractions (QR-DQN);
- :class:`Implicit`: the quantile function, at fractions that are drawn (IQN).
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax.core import Tracer

from purerl import bellman
from purerl.checks import (
    FINITE,
    NOT_NEGATIVE,
    POSITIVE,
    check_numbers,
    check_size,
    check_sizes,
    refusal,
    shown,
)
from purerl.networks.implicit import ImplicitQuantiles
from purerl.pytree import Node, static
from purerl.targets import Backup


class Loss(Node):
    """Base class of losses of one number."""

    def __call__(self, prediction: jax.Array, target: jax.Array) -> jax.Array:
        """The loss, elementwise."""
        raise NotImplementedError(f"{type(self).__name__} does not define __call__")


class Squared(Loss):
    """The squared error, :math:`(y - x)^2`."""

    def __call__(self, prediction, target):
        return optax.squared_error(prediction, target)


class Huber(Loss):
    r"""The loss of Huber: half the squared error up to a bound, linear beyond.

    .. math:: \tfrac12 u^2 \text{ if } |u| \le \delta, \text{ otherwise }
              \delta \left( |u| - \tfrac12 \delta \right), \qquad u = y - x.

    Huber, "Robust estimation of a location parameter" (Annals of Mathematical
    Statistics 35, 1964).

    Attributes:
        bound: :math:`\delta`, above 0.
    """

    bound: float | jax.Array = 1.0

    def __post_init__(self):
        check_numbers(self, bound=POSITIVE)

    def __call__(self, prediction, target):
        return optax.huber_loss(prediction, target, delta=self.bound)


class Output(NamedTuple):
    """A network's outputs for one observation.

    Attributes:
        numbers: float32 ``[A, K]``.
        fractions: at which quantiles were asked for, float32 ``[K]``; None unless the
            head draws them.
    """

    numbers: jax.Array
    fractions: jax.Array | None = None


class Head(Node):
    """Base class of heads."""

    @property
    def num_outputs(self) -> int:
        """``K``; for a head with fractions, the numbers for each of them."""
        return 1

    def network(self, network: nn.Module) -> nn.Module:
        """The network that the head needs, made from the agent's."""
        return network

    def fractions(self, key: jax.Array | None, of_target: bool = False) -> jax.Array | None:
        """Fractions for the network, float32 ``[K]``; None if it takes none.

        Args:
            key: consumed; without a key they are the same every time.
            of_target: whether they are for the target.
        """
        return None

    def values(self, output: Output) -> jax.Array:
        r""":math:`Q(s, \cdot)`, float32 ``[A]``."""
        raise NotImplementedError(f"{type(self).__name__} does not define values")

    def target(
        self,
        reward: jax.Array,
        terminated: jax.Array,
        discount: jax.Array,
        next_output: Output,
        backup: Backup,
    ) -> Any:
        """The target of the outputs for the action taken.

        Args:
            reward: float32 ``[]``.
            terminated: whether the next state is terminal, bool ``[]``.
            discount: of the next state, float32 ``[]``.
            next_output: what the target network says of the next state.
            backup: what is backed up from it.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define target")

    def loss(self, output: Output, action: jax.Array, target: Any) -> tuple[jax.Array, jax.Array]:
        """The loss, whose gradient is taken, and the priority in replay, both ``[]``.

        Args:
            output: what the online network says.
            action: the action taken, int32 ``[]``.
            target: of :meth:`target`, constant.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define loss")


def check_head(node: object, field: str) -> None:
    """Check that a field is a head.

    Raises:
        ValueError: names the field, its value and what is allowed.
    """
    value = getattr(node, field)
    if not isinstance(value, Head):
        allowed = "a head, such as purerl.heads.Scalar()"
        raise refusal(type(node).__name__, field, shown(value), allowed)


class Scalar(Head):
    """The mean of the return: one number for each action.

    The priority is the absolute temporal-difference error.

    Attributes:
        error: the loss, :class:`Squared` or :class:`Huber`.
    """

    error: Loss = Squared()

    def __post_init__(self):
        if not isinstance(self.error, Loss):
            allowed = "a loss, such as purerl.heads.Huber(1.0)"
            raise refusal("Scalar", "error", shown(self.error), allowed)

    def values(self, output):
        return output.numbers[:, 0]

    def target(self, reward, terminated, discount, next_output, backup):
        next_value = jnp.sum(backup.weights * self.values(next_output)) + backup.entropy
        return bellman.one_step(reward + backup.bonus, terminated, next_value, discount)

    def loss(self, output, action, target):
        q = self.values(output)[action]
        return self.error(q, target), jnp.abs(target - q)


class Categorical(Head):
    r"""A distribution over fixed returns: the probabilities of evenly spaced atoms.

    With :math:`z_i = \text{low} + i \, \Delta z` and :math:`p = \text{softmax}` of the
    outputs, :math:`Q(s, a) = \sum_i z_i p_i(s, a)`. The target is the distribution of
    :math:`R + \gamma Z(S')`, clipped to the atoms' range, each of its masses shared by
    the two nearest atoms so that the mean stays. The loss is the Kullback-Leibler
    divergence from it, which is also the priority. Bellemare, Dabney & Munos, "A
    distributional perspective on reinforcement learning" (ICML 2017).

    Attributes:
        low, high: the smallest and the largest return, ``low < high``.
        atoms: ``K``, at least 2. Static.
    """

    low: float | jax.Array = -10.0
    high: float | jax.Array = 10.0
    atoms: int = static(default=51)

    def __post_init__(self):
        check_numbers(self, low=FINITE, high=FINITE)
        check_size(self, "atoms")
        if self.atoms < 2:
            raise refusal("Categorical", "atoms", self.atoms, "a whole number of at least 2")
        above = (f"a number above low, {self.low}", lambda x: x > self.low)
        if not isinstance(self.low, Tracer):
            check_numbers(self, high=above)

    @property
    def num_outputs(self) -> int:
        return self.atoms

    @property
    def support(self) -> jax.Array:
        """The atoms, float32 ``[K]``."""
        steps = jnp.arange(self.atoms, dtype=jnp.float32) / (self.atoms - 1)
        low = jnp.float32(self.low)
        return low + (jnp.float32(self.high) - low) * steps

    def values(self, output):
        return jax.nn.softmax(output.numbers) @ self.support

    def target(self, reward, terminated, discount, next_output, backup):
        probabilities = backup.weights @ jax.nn.softmax(next_output.numbers)
        moved = jax.vmap(bellman.one_step, (None, None, 0, None))(
            reward + backup.bonus, terminated, self.support + backup.entropy, discount
        )
        return project(moved, probabilities, self.support)

    def loss(self, output, action, target):
        divergence = optax.kl_divergence(jax.nn.log_softmax(output.numbers[action]), target)
        return divergence, jnp.maximum(divergence, 0)  # which rounding may undercut


def project(values: jax.Array, probabilities: jax.Array, atoms: jax.Array) -> jax.Array:
    r"""A distribution over evenly spaced atoms, with the mean of a given one.

    A mass at :math:`x` between two atoms is shared by them in proportion to nearness,

    .. math:: p_i = \sum_j p'_j \left[ 1 - |x_j - z_i| / \Delta z \right]_0^1,

    after values outside the atoms have been moved to the nearest.

    Args:
        values: :math:`x`, float ``[M]``.
        probabilities: :math:`p'`, float ``[M]``.
        atoms: :math:`z`, ascending, float ``[K]``.

    >>> import jax.numpy as jnp
    >>> print(project(jnp.array([0.25]), jnp.array([1.0]), jnp.array([0.0, 1.0, 2.0])))
    [0.75 0.25 0.  ]
    """
    position = (jnp.clip(values, atoms[0], atoms[-1]) - atoms[0]) / (atoms[1] - atoms[0])
    index = jnp.arange(len(atoms), dtype=jnp.float32)
    share = jnp.maximum(1 - jnp.abs(position[None, :] - index[:, None]), 0)
    return share @ probabilities


class Quantile(Head):
    r"""Quantiles of the return at evenly spaced fractions.

    The outputs estimate the quantiles at :math:`\tau_i = (i - 1/2) / K`, and
    :math:`Q(s, a)` is their mean. The loss is :func:`quantile_loss` towards the target
    network's quantiles, moved by the reward and the discount and averaged over the next
    action. The priority is the absolute temporal-difference error of the means. Dabney
    et al., "Distributional reinforcement learning with quantile regression" (AAAI
    2018).

    Attributes:
        count: ``K``. Static.
        kappa: :math:`\kappa`, where the loss becomes linear, at least 0.
    """

    count: int = static(default=51)
    kappa: float | jax.Array = 1.0

    def __post_init__(self):
        check_numbers(self, kappa=NOT_NEGATIVE)
        check_size(self, "count")

    @property
    def num_outputs(self) -> int:
        return self.count

    def values(self, output):
        return jnp.mean(output.numbers, axis=1)

    def target(self, reward, terminated, discount, next_output, backup):
        quantiles = backup.weights @ next_output.numbers + backup.entropy
        return jax.vmap(bellman.one_step, (None, None, 0, None))(
            reward + backup.bonus, terminated, quantiles, discount
        )

    def loss(self, output, action, target):
        quantiles = output.numbers[action]
        fractions = midpoints(self.count) if output.fractions is None else output.fractions
        loss = quantile_loss(quantiles, fractions, target, self.kappa)
        return loss, jnp.abs(jnp.mean(target) - jnp.mean(quantiles))


class Implicit(Quantile):
    r"""The quantile function of the return, evaluated at fractions that are drawn.

    The network takes fractions :math:`\tau` beside the observation
    (:class:`~purerl.networks.ImplicitQuantiles`); the agent's own gives it features, so
    it cannot be a dueling one. In training fractions are uniform in ``[0, 1)``; where
    the agent acts and where a target chooses an action they are ``count`` evenly spaced
    ones. Loss and priority are those of :class:`Quantile`. Dabney, Ostrovski, Silver &
    Munos, "Implicit quantile networks for distributional reinforcement learning" (ICML
    2018).

    Attributes:
        count: fractions of the online network. Static, as is all but ``kappa``.
        kappa: :math:`\kappa`, where the loss becomes linear, at least 0.
        target_count: fractions of the target.
        embedding: cosines by which a fraction enters the network.
        features: sizes of hidden layers behind the product of the embedded fraction and
            the network's features.
    """

    count: int = static(default=32)
    target_count: int = static(default=32)
    embedding: int = static(default=64)
    features: tuple[int, ...] = static(default=())

    def __post_init__(self):
        super().__post_init__()
        check_size(self, "target_count", "embedding")
        check_sizes(self, "features")

    @property
    def num_outputs(self) -> int:
        return 1

    def network(self, network):
        return ImplicitQuantiles(network, self.embedding, self.features)

    def fractions(self, key, of_target=False):
        if key is None:
            return midpoints(self.count)
        count = self.target_count if of_target else self.count
        return jax.random.uniform(key, (count,), jnp.float32)


def midpoints(count: int) -> jax.Array:
    """The midpoints of ``count`` equal parts of ``[0, 1]``, float32 ``[count]``.

    >>> print(midpoints(2))
    [0.25 0.75]
    """
    return (jnp.arange(count, dtype=jnp.float32) + 0.5) / count


def quantile_loss(
    quantiles: jax.Array, fractions: jax.Array, samples: jax.Array, kappa: float | jax.Array
) -> jax.Array:
    r"""The loss of quantile regression, smoothed near zero as by Huber.

    .. math::
        \sum_i \frac1M \sum_j \left| \tau_i - [u_{ij} < 0] \right| \ell(u_{ij}),
        \qquad u_{ij} = y_j - \theta_i,

    where :math:`\ell(u) = u^2 / 2\kappa` up to :math:`\kappa` and
    :math:`|u| - \kappa / 2` beyond. With :math:`\kappa = 0` it is least where
    :math:`\theta_i` are the quantiles of the samples. Koenker & Bassett, "Regression
    quantiles" (Econometrica 46, 1978); Dabney et al. (AAAI 2018), equation 10.

    Args:
        quantiles: :math:`\theta`, float ``[K]``.
        fractions: :math:`\tau`, float ``[K]``.
        samples: :math:`y`, float ``[M]``.
        kappa: :math:`\kappa`, at least 0, ``[]``.

    Returns:
        float ``[]``.

    >>> import jax.numpy as jnp
    >>> y = jnp.array([0.0, 4.0])
    >>> print(quantile_loss(jnp.array([2.0]), jnp.array([0.5]), y, kappa=0.0))
    1.0
    """
    error = samples[None, :] - quantiles[:, None]
    size = jnp.abs(error)
    near = size <= kappa
    # Both sides of a select are differentiated, so neither may divide by zero.
    smooth = error**2 / jnp.where(near, 2 * jnp.maximum(kappa, 1e-30), 1)
    loss = jnp.where(near & (kappa > 0), smooth, size - kappa / 2)
    weight = jnp.abs(fractions[:, None] - (error < 0))
    return jnp.sum(jnp.mean(jax.lax.stop_gradient(weight) * loss, axis=1))
