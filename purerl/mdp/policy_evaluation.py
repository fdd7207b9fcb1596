"""Policies of a finite model: what they are worth, and where they go."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from purerl.mdp.model import FiniteMDP, action_probabilities
from purerl.mdp.operators import (
    Solution,
    bounded,
    expected_reward,
    fixed_point,
    going_on,
    linear_solve,
    mean,
    solver,
)


def _reaches(possible, next_state, goal):
    """The states from which a ``goal`` can be reached, itself counted: bool ``[S]``."""

    def spread(carry):
        reached, _ = carry
        wider = reached | jnp.any(possible & reached[next_state], axis=(1, 2))
        return wider, jnp.any(wider != reached)

    return lax.while_loop(lambda carry: carry[1], spread, (goal, jnp.any(goal)))[0]


def values_of(mdp, pi, discount, max_exact_states, tolerance=0.0, max_iterations=1_000_000):
    """``v_pi`` of ``pi [S, A]``, and the iterations that it took."""
    reward = mean(pi, expected_reward(mdp))
    taken = (pi[..., None] > 0) & (mdp.probability > 0)
    reaches = functools.partial(_reaches, taken & ~mdp.terminated, mdp.next_state)
    may_end = jnp.any(taken & mdp.terminated, axis=(1, 2))

    def outlook(counts):
        # A total is infinite where the chain can come to a place that it cannot leave, and where it earns for ever.
        earns = reaches(counts)
        return earns, (discount == 1) & reaches(~reaches(may_end | ~earns))

    earns, (gains, loses) = jax.vmap(outlook)(jnp.stack([reward > 0, reward < 0]))
    # The rest can leave every place where rewards are yet to come, so its linear equations have one solution. Where none is
    # to come they may have many, of which zero is the right one.
    known = gains | loses | ~jnp.any(earns, axis=0)
    if mdp.num_states <= max_exact_states:
        weight = (
            discount
            * pi[..., None]
            * jnp.where(mdp.terminated | known[:, None, None], 0, mdp.probability)
        )
        here = jnp.arange(mdp.num_states)[:, None, None]
        matrix = jnp.eye(mdp.num_states, dtype=reward.dtype).at[here, mdp.next_state].add(-weight)
        values, iterations = linear_solve(matrix, jnp.where(known, 0, reward)), jnp.int32(0)
    else:
        values, iterations = fixed_point(
            mdp, discount, lambda q: jnp.where(known, 0, mean(pi, q)), tolerance, max_iterations
        )
    return values + jnp.where(gains, jnp.inf, 0) - jnp.where(loses, jnp.inf, 0), iterations


@solver(static=("max_exact_states",))
def evaluate_policy(
    mdp: FiniteMDP,
    policy: jax.Array,
    discount: float | jax.Array,
    tolerance: float = 0.0,
    max_iterations: int = 1_000_000,
    max_exact_states: int = 2048,
) -> Solution:
    """The values of a policy, ``v_pi = (I - discount P_pi)^-1 r_pi`` (Puterman, section 6.1).

    By one linear solve for up to ``max_exact_states`` states, and by ``v <- T_pi v`` from zero beyond.

    At ``discount == 1`` values are expected total rewards, also for a policy that may never end an episode: ``inf`` or ``-inf``
    from where it may go on gaining or losing for ever, ``nan`` where both (per-step expected rewards of both signs, for ever),
    and otherwise finite, rewards having ceased.

    Args:
        mdp: the model.
        policy: int ``[S]`` or float ``[S, A]``.
        discount: in ``[0, 1]``.
        tolerance: of the iteration, as in :func:`~purerl.mdp.optimal.value_iteration`.
        max_iterations: of the iteration, likewise.
        max_exact_states: the largest ``S`` for the linear solve, which takes ``S**2`` numbers and ``S**3`` operations. Static.

    Raises:
        ValueError: ``discount`` is not in ``[0, 1]``, or ``policy`` is not a policy for ``mdp``.
    """
    pi = action_probabilities(mdp, policy)
    values, iterations = values_of(mdp, pi, discount, max_exact_states, tolerance, max_iterations)
    return bounded(mdp, discount, functools.partial(mean, pi), values, lambda _: policy, iterations)


def expected_return(mdp: FiniteMDP, policy: jax.Array, discount: float | jax.Array) -> jax.Array:
    """``E[G_0] = sum_s initial(s) v_pi(s)``, float ``[]``; see :func:`evaluate_policy`."""
    return mean(mdp.initial, evaluate_policy(mdp, policy, discount).values)


def _visits(mdp, pi, discount, max_exact_states):
    """``sum_t discount^t P(S_t = s, the episode not over before t)``, float ``[S]``."""
    weight = discount * pi[..., None] * jnp.where(mdp.terminated, 0, mdp.probability)
    if mdp.num_states <= max_exact_states:
        here = jnp.arange(mdp.num_states)[:, None, None]
        matrix = jnp.eye(mdp.num_states, dtype=weight.dtype).at[mdp.next_state, here].add(-weight)
        return linear_solve(matrix, mdp.initial)

    def flow(carry):
        total, current, _ = carry
        current = jnp.zeros_like(current).at[mdp.next_state].add(weight * current[:, None, None])
        return total + current, current, jnp.sum(current)

    # What is still to come sums to at most the present sum divided by 1 - discount, or by the chance that a step ends it all.
    precision = jnp.finfo(weight.dtype).eps
    start = mdp.initial, mdp.initial, jnp.ones((), weight.dtype)
    return lax.while_loop(
        lambda carry: carry[2] > precision * jnp.maximum(1 - discount, precision), flow, start
    )[0]


@solver(static=("max_exact_states",))
def expected_visits(
    mdp: FiniteMDP,
    policy: jax.Array,
    discount: float | jax.Array = 1.0,
    max_exact_states: int = 2048,
) -> jax.Array:
    """How often an episode is in each state: ``sum_t discount^t P(S_t = s, the episode not over before t)``, by default without
    discount, as in the box of Sutton & Barto (2018), section 9.2. Divided by its sum it is the on-policy distribution.

    At ``discount == 1`` every episode must surely end; nothing is promised otherwise.

    Args:
        mdp: the model.
        policy: int ``[S]`` or float ``[S, A]``.
        discount: in ``[0, 1]``.
        max_exact_states: as in :func:`evaluate_policy`.

    Returns:
        float ``[S]``.

    Raises:
        ValueError: ``discount`` is not in ``[0, 1]``, or ``policy`` is not a policy for ``mdp``.

    Example:
        A coin is tossed until heads: two tosses are to be expected.

        >>> coin = FiniteMDP([[[0.5, 0.5]]], [[[0, 0]]], [[[1.0, 0.0]]], [[[True, False]]], [1.0])
        >>> expected_visits(coin, jnp.array([0])).tolist()
        [2.0]
    """
    return _visits(mdp, action_probabilities(mdp, policy), discount, max_exact_states)


@solver(static=("max_exact_states",), below_one=True)
def occupancy(
    mdp: FiniteMDP, policy: jax.Array, discount: float | jax.Array, max_exact_states: int = 2048
) -> jax.Array:
    """The discounted state occupancy ``(1 - discount) sum_t discount^t P(S_t = s, the episode not over before t)``.

    An episode that is over is nowhere: the sum over states is one where no outcome terminates, and less by the discounted time
    after the end otherwise. So always ``expected_return == sum_s occupancy(s) r_pi(s) / (1 - discount)``
    (Puterman, section 6.9). Iterated beyond ``max_exact_states``, until what is left is below the dtype's precision.

    Args:
        mdp: the model.
        policy: int ``[S]`` or float ``[S, A]``.
        discount: in ``[0, 1)``.
        max_exact_states: as in :func:`evaluate_policy`.

    Returns:
        float ``[S]``.

    Raises:
        ValueError: ``discount`` is not in ``[0, 1)``, or ``policy`` is not a policy for ``mdp``.
    """
    return (1 - discount) * _visits(
        mdp, action_probabilities(mdp, policy), discount, max_exact_states
    )


@jax.jit
def reachable(mdp: FiniteMDP) -> jax.Array:
    """The states in which an action can ever be taken: reached from a start without terminating. bool ``[S]``.

    Example:
        The second of two states is only ever entered by terminating in it:

        >>> ends = FiniteMDP(
        ...     probability=[[[1.0]], [[1.0]]], next_state=[[[1]], [[1]]], reward=[[[0.0]], [[0.0]]],
        ...     terminated=[[[True]], [[True]]], initial=[1.0, 0.0],
        ... )
        >>> reachable(ends).tolist()
        [True, False]
    """
    possible = (mdp.probability > 0) & ~mdp.terminated

    def spread(found):
        return found[1], found[1].at[mdp.next_state].max(possible & found[1][:, None, None])

    start = mdp.initial > 0
    return jax.lax.while_loop(
        lambda found: (found[0] != found[1]).any(), spread, (jnp.zeros_like(start), start)
    )[1]


@solver
def td_fixed_point(
    mdp: FiniteMDP,
    features: jax.Array,
    policy: jax.Array,
    weights: jax.Array,
    discount: float | jax.Array,
    lambda_: float | jax.Array = 0.0,
) -> jax.Array:
    r"""Where linear temporal-difference learning goes: the solution :math:`w` of :math:`A w = b`,

    .. math::
        A = X^\top D (I - \gamma \lambda P)^{-1} (I - \gamma P) X, \qquad b = X^\top D (I - \gamma \lambda P)^{-1} r,

    with :math:`P` of the policy, without what terminates, and :math:`D = \text{diag}(\text{weights})`. With one-hot features it
    gives :math:`v_\pi`, whatever the weights above zero. Where states are updated as often as the policy visits them,
    TD(:math:`\lambda`) converges to it; with other weights only methods made for that do (Tsitsiklis & Van Roy, "An analysis of
    temporal-difference learning with function approximation", IEEE Transactions on Automatic Control 42, 1997; Sutton & Barto,
    2018, section 9.4).

    Args:
        mdp: the model.
        features: :math:`X`, float ``[S, d]``, of full column rank over the states with weight.
        policy: the one whose values are sought, int ``[S]`` or float ``[S, A]``.
        weights: of the states, float ``[S]``, not negative.
        discount: in ``[0, 1]``.
        lambda_: in ``[0, 1]``.

    Returns:
        float ``[d]``.

    Raises:
        ValueError: ``discount`` or ``lambda_`` is not in ``[0, 1]``, or ``policy`` is not a policy for ``mdp``.
    """
    pi = action_probabilities(mdp, policy)
    matrix, reward = going_on(mdp, pi), mean(pi, expected_reward(mdp))
    identity = jnp.eye(mdp.num_states, dtype=matrix.dtype)
    features = jnp.asarray(features, matrix.dtype)
    sides = jnp.concatenate([(identity - discount * matrix) @ features, reward[:, None]], axis=1)
    if_traced = linear_solve(identity - discount * lambda_ * matrix, sides)
    equations = features.T @ (weights[:, None] * if_traced)
    return linear_solve(equations[:, :-1], equations[:, -1])


@solver
def emphasis(
    mdp: FiniteMDP,
    policy: jax.Array,
    weights: jax.Array,
    discount: float | jax.Array,
    lambda_: float | jax.Array = 0.0,
) -> jax.Array:
    r"""The weights of states under emphatic TD(:math:`\lambda`) with an interest of one,

    .. math:: m = \lambda d + (1 - \lambda) (I - \gamma P^\top)^{-1} d,

    with :math:`P` of the target policy, without what terminates, and :math:`d` how often the behavior is in each state. Its
    fixed point is :func:`td_fixed_point` with these weights (Sutton, Mahmood & White, "An emphatic approach to the problem of
    off-policy temporal-difference learning", JMLR 17, 2016, section 5).

    Args:
        mdp: the model.
        policy: the target, int ``[S]`` or float ``[S, A]``.
        weights: :math:`d`, float ``[S]``.
        discount: in ``[0, 1]``.
        lambda_: in ``[0, 1]``.

    Returns:
        float ``[S]``.

    Raises:
        ValueError: ``discount`` or ``lambda_`` is not in ``[0, 1]``, or ``policy`` is not a policy for ``mdp``.
    """
    matrix = going_on(mdp, action_probabilities(mdp, policy))
    identity = jnp.eye(mdp.num_states, dtype=matrix.dtype)
    followon = linear_solve(identity - discount * matrix.T, jnp.asarray(weights, matrix.dtype))
    return lambda_ * weights + (1 - lambda_) * followon
