"""The Markov chain of a policy: its equations, and its values."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from purerl.mdp.elimination import eliminate, limiting, total, visits
from purerl.mdp.model import FiniteMDP
from purerl.mdp.operators import backup, expected_reward, fixed_point, rounding_errors

MARGIN = 1e-2  # for the rounding errors made in adding up a bound
LARGEST_MATRIX = 4096  # states; elimination then takes some 300 MB and ten seconds
PATIENCE = 20_000  # iterations after which elimination is faster


def reaches_any(possible, next_state, goal):
    """The states from which a ``goal`` can be reached, goals included: bool ``[S]``."""

    def spread(carry):
        reached, _ = carry
        wider = reached | jnp.any(possible & reached[next_state], axis=(1, 2))
        return wider, jnp.any(wider != reached)

    return lax.while_loop(lambda carry: carry[1], spread, (goal, jnp.any(goal)))[0]


def _classify(chain, discount, reward):
    """States by the total reward that may follow.

    Returns:
        ``gains``: bool ``[S]``, the total is infinite upwards; ``loses``: downwards;
        ``nothing``: no reward can follow.
    """
    taken = chain.probability > 0
    reaches = functools.partial(reaches_any, taken & ~chain.terminated, chain.next_state)
    may_end = jnp.any(taken & chain.terminated, axis=(1, 2))

    def outlook(earning):
        # A total is infinite if the chain can reach a set of states that it cannot
        # leave and in which it goes on earning.
        earns = reaches(earning)
        return earns, (discount == 1) & reaches(~reaches(may_end | ~earns))

    earns, (gains, loses) = jax.vmap(outlook)(jnp.stack([reward > 0, reward < 0]))
    return gains, loses, ~jnp.any(earns, axis=0)


def chain_of(mdp: FiniteMDP, policy: jax.Array) -> FiniteMDP:
    """The Markov chain of a policy, as a model with one action.

    Args:
        mdp: the model.
        policy: int ``[S]`` or float ``[S, A]``; its entries are not checked.
    """
    if jnp.issubdtype(policy.dtype, jnp.floating):
        weight = jnp.where(policy > 0, policy, 0).astype(mdp.probability.dtype)
        probability = weight[..., None] * mdp.probability
        merge = functools.partial(jnp.reshape, shape=(mdp.num_states, 1, -1))
    else:
        probability = mdp.probability
        merge = functools.partial(jnp.take_along_axis, indices=policy[:, None, None], axis=1)
    return FiniteMDP(
        probability=merge(probability),
        next_state=merge(mdp.next_state),
        reward=merge(mdp.reward),
        terminated=merge(mdp.terminated),
        initial=mdp.initial,
    )


def only_action(q):
    """``[S, 1]`` -> ``[S]``: the values of a model with one action."""
    return q[:, 0]


class Equations(NamedTuple):
    """Solvers of ``x = side + P x``, of ``x = side + x P``, and the chain's limit."""

    total: Callable[[jax.Array], jax.Array]
    visits: Callable[[jax.Array], jax.Array]
    limiting: Callable[[jax.Array], jax.Array]


def equations(
    chain: FiniteMDP, discount: float | jax.Array, known: jax.Array | bool = False
) -> Equations:
    """Solvers of the equations of a chain with discount, differentiable.

    Args:
        chain: a model with one action.
        discount: in ``[0, 1]``.
        known: states in which the chain stops, bool ``[S]``.
    """
    size = chain.num_states
    stops = jnp.broadcast_to(known, (size,))
    weight = jnp.where(stops[:, None], 0, chain.probability[:, 0])
    terminated = chain.terminated[:, 0]
    ends = jnp.sum(weight * jnp.where(terminated, 1, 1 - discount), axis=-1)
    goes_on = discount * jnp.where(terminated, 0, weight)
    here = jnp.arange(size)[:, None]
    matrix = jnp.zeros((size, size), weight.dtype).at[here, chain.next_state[:, 0]].add(goes_on)
    # The last state stands for the end, and for what is discounted.
    factors = lax.stop_gradient(eliminate(jnp.pad(matrix, (0, 1)).at[:-1, -1].set(ends)))

    def with_end(function):
        def solve(side):
            return function(factors, jnp.pad(side, [(0, 1)] + [(0, 0)] * (side.ndim - 1)))[:-1]

        return solve

    def solver_of(matrix, solve, transposed):
        return lambda side: lax.custom_linear_solve(
            lambda x: x - matrix @ x,
            side,
            lambda _, side: solve(side),
            lambda _, side: transposed(side),
        )

    forwards, backwards = with_end(total), with_end(visits)
    return Equations(
        solver_of(matrix, forwards, backwards),
        solver_of(matrix.T, backwards, forwards),
        with_end(limiting),
    )


class Evaluated(NamedTuple):
    """The values of a chain.

    Attributes:
        values: float ``[S]``.
        errors: the largest possible error of each, float ``[S]``; infinite if not
            known.
        iterations: int32 ``[]``; zero if equations were solved instead.
    """

    values: jax.Array
    errors: jax.Array
    iterations: jax.Array


def values_of(
    chain: FiniteMDP,
    discount: float | jax.Array,
    max_exact_states: int,
    tolerance: float | jax.Array = 0.0,
    max_iterations: int | jax.Array = 1_000_000,
) -> Evaluated:
    """The values of a model with one action."""
    reward = only_action(expected_reward(chain))
    gains, loses, nothing = _classify(chain, discount, reward)
    # All other states can leave every set in which rewards are yet to come, so their
    # linear equations have one solution. Those before which no reward is to come may
    # have many solutions, of which zero is the right one.
    known = gains | loses | nothing

    def improved(values):
        return jnp.where(known, 0, only_action(backup(chain, values, discount)))

    def eliminated():
        total_of = equations(chain, discount, known).total
        counted = jnp.where(known, 0, reward)
        values, sizes = total_of(jnp.stack([counted, jnp.abs(counted)], axis=1)).T
        of_step = jnp.abs(improved(values) - values)
        of_step = of_step + only_action(rounding_errors(chain, values, discount))
        errors = total_of(jnp.where(known, 0, of_step))
        # Errors of single steps say little of long episodes. There it helps that each
        # elimination errs by a few roundings of a sum of up to S numbers, and that a
        # relative error of the probabilities changes no sum of positive rewards by more
        # than 2 S times as much.
        size = chain.num_states
        of_elimination = size**2 * (size + 10) * jnp.finfo(values.dtype).eps / 2
        return values, (1 + MARGIN) * jnp.minimum(errors, of_elimination * sizes)

    def iterated(most):
        return fixed_point(
            chain, discount, lambda q: jnp.where(known, 0, only_action(q)), tolerance, most
        )

    if chain.num_states <= max_exact_states:
        values, errors = eliminated()
        iterations = jnp.int32(0)
    elif chain.num_states <= LARGEST_MATRIX and max_exact_states > 0:
        # Elimination takes seconds, and iteration usually much less, but near a
        # discount of 1 it may take much longer. A loop of at most one pass, unlike a
        # condition, costs nothing under vmap where no run needs it.
        most = jnp.minimum(max_iterations, PATIENCE)
        values, iterations = iterated(most)
        slow = (iterations >= PATIENCE) & (max_iterations > PATIENCE)
        start = values, jnp.full_like(values, jnp.inf), slow
        values, errors, _ = lax.while_loop(
            lambda carry: carry[2], lambda _: (*eliminated(), jnp.bool_(False)), start
        )
    else:
        values, iterations = iterated(max_iterations)
        errors = jnp.full_like(values, jnp.inf)
    infinite = jnp.where(gains, jnp.inf, 0) - jnp.where(loses, jnp.inf, 0)
    return Evaluated(values + infinite, errors, iterations)
