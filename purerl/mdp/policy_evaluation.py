"""Evaluation of policies of a finite model: values, visits, divergence."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from purerl.mdp.chain import chain_of, equations, reaches_any, values_of
from purerl.mdp.divergence import kl_divergence
from purerl.mdp.model import ArrayLike, FiniteMDP, action_probabilities
from purerl.mdp.operators import Solution, bounded, mean, solver


@solver(static=("max_exact_states",))
def evaluate_policy(
    mdp: FiniteMDP,
    policy: ArrayLike,
    discount: float | jax.Array,
    tolerance: float | jax.Array = 0.0,
    max_iterations: int | jax.Array = 1_000_000,
    max_exact_states: int = 2048,
) -> Solution:
    """The values of a policy, ``v_pi = (I - discount P_pi)^-1 r_pi``.

    They are computed by elimination (:mod:`purerl.mdp.elimination`) for up to
    ``max_exact_states`` states, and by iterating ``v <- T_pi v`` from zero for more
    (Puterman, section 6.1). If that has not converged after ``PATIENCE`` iterations,
    models of up to ``LARGEST_MATRIX`` states are eliminated after all.

    At ``discount == 1`` values are expected total rewards, also of a policy that may
    never end an episode. A value is ``inf`` or ``-inf`` if the policy may then gain or
    lose without end, ``nan`` if both (expected rewards per step of both signs, without
    end), and otherwise finite.

    Args:
        mdp: the model.
        policy: int ``[S]`` or float ``[S, A]``.
        discount: in ``[0, 1]``.
        tolerance: of the iteration, as in :func:`~purerl.mdp.optimal.value_iteration`.
        max_iterations: of the iteration, likewise.
        max_exact_states: the largest ``S`` for immediate elimination, which takes
            ``S**2`` numbers and ``S**3`` operations. Static.

    Raises:
        ValueError: ``discount`` is not in ``[0, 1]``, or ``policy`` is not a policy for
            ``mdp``.
    """
    given = jnp.asarray(policy)
    chain = chain_of(mdp, given)
    found = values_of(chain, discount, max_exact_states, tolerance, max_iterations)
    reduce = functools.partial(mean, action_probabilities(mdp, given))
    return bounded(
        mdp, discount, reduce, found.values, lambda _: given, found.iterations, errors=found.errors
    )


def expected_return(mdp: FiniteMDP, policy: ArrayLike, discount: float | jax.Array) -> jax.Array:
    """The expected return ``E[G_0] = sum_s initial(s) v_pi(s)``, float ``[]``.

    Arguments and errors are those of :func:`evaluate_policy`.
    """
    return mean(mdp.initial, evaluate_policy(mdp, policy, discount).values)


def _visits(mdp, policy, discount, max_exact_states):
    """``sum_t discount^t P(S_t = s, the episode has not ended)``, float ``[S]``."""
    chain = chain_of(mdp, policy)
    if mdp.num_states <= max_exact_states:
        solvers = equations(chain, discount)
        again_and_again = solvers.limiting(mdp.initial) > 0
        return jnp.where(again_and_again, jnp.inf, solvers.visits(mdp.initial))

    taken = chain.probability > 0
    may_end = jnp.any(taken & chain.terminated, axis=(1, 2))
    closed = (discount == 1) & ~reaches_any(taken & ~chain.terminated, chain.next_state, may_end)
    for_ever = jnp.where(closed & reachable(chain), jnp.inf, 0)
    weight = discount * jnp.where(chain.terminated | closed[:, None, None], 0, chain.probability)

    def flow(carry):
        count, current, _ = carry
        current = jnp.zeros_like(current).at[chain.next_state].add(weight * current[:, None, None])
        return count + current, current, jnp.sum(current)

    # The terms still to come sum to at most the present one divided by 1 - discount, or
    # by the probability that a step ends the episode.
    precision = jnp.finfo(weight.dtype).eps
    smallest = precision * jnp.maximum(1 - discount, precision)
    start = mdp.initial, mdp.initial, jnp.ones((), weight.dtype)
    return lax.while_loop(lambda carry: carry[2] > smallest, flow, start)[0] + for_ever


@solver(static=("max_exact_states",))
def expected_visits(
    mdp: FiniteMDP,
    policy: ArrayLike,
    discount: float | jax.Array = 1.0,
    max_exact_states: int = 2048,
) -> jax.Array:
    """The expected number of visits of an episode to each state.

    ``sum_t discount^t P(S_t = s, the episode has not ended before t)``, by default
    undiscounted, as in the box of Sutton & Barto (2018), section 9.2. Divided by its
    sum it is the on-policy distribution.

    At ``discount == 1`` it is infinite for states to which an episode returns without
    end; with more than ``max_exact_states`` states for all that it enters and from
    which it cannot end.

    Args:
        mdp: the model.
        policy: int ``[S]`` or float ``[S, A]``.
        discount: in ``[0, 1]``.
        max_exact_states: as in :func:`evaluate_policy`.

    Returns:
        float ``[S]``.

    Raises:
        ValueError: ``discount`` is not in ``[0, 1]``, or ``policy`` is not a policy for
            ``mdp``.

    Example:
        A coin is tossed until heads, on average twice:

        >>> coin = FiniteMDP(
        ...     probability=[[[0.5, 0.5]]],
        ...     next_state=[[[0, 0]]],
        ...     reward=[[[1.0, 0.0]]],
        ...     terminated=[[[True, False]]],
        ...     initial=[1.0],
        ... )
        >>> expected_visits(coin, [0]).tolist()
        [2.0]
    """
    return _visits(mdp, jnp.asarray(policy), discount, max_exact_states)


@solver(static=("max_exact_states",), below_one=True)
def occupancy(
    mdp: FiniteMDP, policy: ArrayLike, discount: float | jax.Array, max_exact_states: int = 2048
) -> jax.Array:
    """The discounted state occupancy: :func:`expected_visits` times ``1 - discount``.

    After its end an episode is in no state: the sum over states is one if no outcome
    terminates, and otherwise smaller by the discounted time after the end. So always
    ``expected_return == sum_s occupancy(s) r_pi(s) / (1 - discount)`` (Puterman,
    section 6.9). With more than ``max_exact_states`` states it is computed by
    iteration, until the remainder is below the precision of the dtype.

    Args:
        mdp: the model.
        policy: int ``[S]`` or float ``[S, A]``.
        discount: in ``[0, 1)``.
        max_exact_states: as in :func:`evaluate_policy`.

    Returns:
        float ``[S]``.

    Raises:
        ValueError: ``discount`` is not in ``[0, 1)``, or ``policy`` is not a policy for
            ``mdp``.
    """
    return (1 - discount) * _visits(mdp, jnp.asarray(policy), discount, max_exact_states)


@solver(static=("max_exact_states",))
def trajectory_kl(
    mdp: FiniteMDP,
    policy: ArrayLike,
    reference: ArrayLike,
    discount: float | jax.Array = 1.0,
    max_exact_states: int = 2048,
) -> jax.Array:
    r"""The expected sum of the divergences of a policy from another along an episode.

    .. math::
        \mathbb{E}_\pi \sum_t \gamma^t \,
            \mathrm{KL}(\pi(\cdot \mid S_t) \,\|\, \mu(\cdot \mid S_t))
        = \sum_s n_\pi(s) \, \mathrm{KL}(\pi(\cdot \mid s) \,\|\, \mu(\cdot \mid s)),

    with the :func:`expected_visits` :math:`n_\pi` and the reference :math:`\mu`.
    Undiscounted it is the divergence between the laws of whole trajectories, since the
    probabilities of the model cancel (the chain rule: Cover & Thomas, *Elements of
    Information Theory*, 2nd ed., 2006, theorem 2.5.3).

    It also says how far a policy is from the optimum of
    :func:`~purerl.mdp.optimal.soft_optimal`. With temperature :math:`\tau` and prior
    :math:`\mu` let :math:`J(\pi)` be the expected return minus :math:`\tau` times the
    divergence from :math:`\mu`, and :math:`\pi^*` the optimal policy. Then

    .. math::
        J(\pi^*) - J(\pi) = \tau \sum_s n_\pi(s) \,
            \mathrm{KL}(\pi(\cdot \mid s) \,\|\, \pi^*(\cdot \mid s)).

    Args:
        mdp: the model.
        policy: int ``[S]`` or float ``[S, A]``.
        reference: the other policy, in either form.
        discount: in ``[0, 1]``.
        max_exact_states: as in :func:`evaluate_policy`.

    Returns:
        float ``[]``; infinite if the policy, in a state that it visits, takes an action
        that the reference never takes.

    Raises:
        ValueError: ``discount`` is not in ``[0, 1]``, or ``policy`` or ``reference`` is
            not a policy for ``mdp``.

    Example:
        Stopping at once, where a fair coin would decide at each step:

        >>> model = FiniteMDP(
        ...     probability=[[[1.0], [1.0]]],
        ...     next_state=[[[0], [0]]],
        ...     reward=[[[0.0], [0.0]]],
        ...     terminated=[[[True], [False]]],
        ...     initial=[1.0],
        ... )
        >>> trajectory_kl(model, [0], [[0.5, 0.5]]).round(4).item()  # ln 2
        0.6931
    """
    counts = _visits(mdp, jnp.asarray(policy), discount, max_exact_states)
    apart = kl_divergence(action_probabilities(mdp, policy), action_probabilities(mdp, reference))
    finite = jnp.isfinite(counts) & jnp.isfinite(apart)
    product = jnp.where(finite, counts, 0) * jnp.where(finite, apart, 0)
    infinite = ~finite & (counts > 0) & (apart > 0)
    return jnp.sum(jnp.where(infinite, jnp.inf, product))


@jax.jit
def reachable(mdp: FiniteMDP) -> jax.Array:
    """The states in which an action can ever be taken, bool ``[S]``.

    They are the states that can be reached from a first state without terminating.

    Example:
        The second of two states is entered only by terminating in it:

        >>> ends = FiniteMDP(
        ...     probability=[[[1.0]], [[1.0]]],
        ...     next_state=[[[1]], [[1]]],
        ...     reward=[[[0.0]], [[0.0]]],
        ...     terminated=[[[True]], [[True]]],
        ...     initial=[1.0, 0.0],
        ... )
        >>> reachable(ends).tolist()
        [True, False]
    """
    possible = mdp.available[..., None] & (mdp.probability > 0) & ~mdp.terminated

    def spread(found):
        return found[1], found[1].at[mdp.next_state].max(possible & found[1][:, None, None])

    start = mdp.initial > 0
    found = (jnp.zeros_like(start), start)
    return lax.while_loop(lambda found: (found[0] != found[1]).any(), spread, found)[1]
