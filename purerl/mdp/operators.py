"""Bellman's operators of finite Markov decision processes, their fixed points, and how far off these may be.

Notation: for values ``v`` let ``(T v)(s) = max_a q(s, a)`` with ``q = backup(mdp, v, discount)``, and ``T_pi`` the same with
the mean under ``pi(a | s)`` in place of the maximum. ``v* = T v*`` and ``v_pi = T_pi v_pi`` (Bellman, *Dynamic Programming*,
1957; Puterman, *Markov Decision Processes*, 1994, chapters 5-7).

Everything here and in what is built on it (:mod:`~purerl.mdp.optimal`, :mod:`~purerl.mdp.policy_evaluation`) is a pure function that
works under ``jit`` and ``vmap``, over stacked models, policies and discounts. Each is compiled as a whole when called; what it
is asked (a discount outside ``[0, 1]``, something that is no policy) is checked when its value is known, that is, not inside
another transformation. Models need ``S * A * K`` numbers, never ``S * S``, but for the direct linear solve, which is used for
up to ``max_exact_states`` states.

**Error bounds.** Both operators contract the largest difference by ``m``, which is ``discount`` times the largest probability
that an episode goes on. So for any ``v``, computed ``w = T v`` up to rounding errors of at most ``e``, and fixed point ``v*``:
``max |w - v*| <= (m max |w - v| + e) / (1 - m)``, from which a bound for ``q`` follows. The one reported is for both, with
``e`` bounded from the number of operations and the precision of the dtype. It is about the model as stored, and the discount
rounded to the same dtype.

**At** ``discount == 1`` values are expected total rewards. ``m`` is then one, unless every action may end the episode, and the
bound infinite: how far there is to go cannot be told from the last change. Iteration from zero still converges to the
optimal values where rewards have one sign (Puterman, sections 7.2 and 7.3), or where some policy surely ends every episode
and those that do not lose without limit (Bertsekas & Tsitsiklis, "An analysis of stochastic shortest path problems",
Mathematics of Operations Research 16, 1991).
"""

import functools
import inspect
import operator
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from purerl.mdp.model import FiniteMDP, check_policy, is_concrete

LARGE, UNROLLED = (
    2**16,
    32,
)  # the least numbers in a table, and the most of a state, for a backup written out term by term


class Solution(NamedTuple):
    """What is known of an optimal policy, or of a given one.

    Attributes:
        q: action values, float ``[S, A]``.
        values: state values, float ``[S]``: the maximum of ``q``, or its mean under the given policy.
        policy: the policy found (int32 ``[S]``), or the one given.
        iterations: how many it took, int32 ``[]``.
        error_bound: no entry of ``q`` and ``values`` is farther than this from the truth, float ``[]``; maybe infinite.
    """

    q: jax.Array
    values: jax.Array
    policy: jax.Array
    iterations: jax.Array
    error_bound: jax.Array


_ALLOWED = {  # of arguments beside policy and discount
    "epsilon": ("a number in [0, 1]", lambda x: 0 <= x <= 1),
    "temperature": ("a finite number above 0", lambda x: 0 < x < np.inf),
    "lambda_": ("a number in [0, 1]", lambda x: 0 <= x <= 1),
}


_one_by_one = jax.custom_batching.sequential_vmap(jnp.linalg.solve)


def linear_solve(matrix: jax.Array, side: jax.Array) -> jax.Array:
    """``x`` of ``matrix @ x = side``, differentiable. Under ``vmap`` systems are solved in turn on a CPU: XLA shares a batch
    out among its threads, and several such batches in one program can wait for one another for ever (JAX 0.10.2)."""

    def solve(matrix, side):
        return lax.platform_dependent(matrix, side, cpu=_one_by_one, default=jnp.linalg.solve)

    return lax.custom_linear_solve(
        lambda x: matrix @ x,
        side,
        lambda _, side: solve(matrix, side),
        lambda _, side: solve(matrix.T, side),
    )


def solver(function=None, *, static=(), below_one=False):
    """Check the arguments that go by the names ``policy``, ``discount`` and those in ``_ALLOWED``, and compile the rest as one
    program."""
    if function is None:
        return functools.partial(solver, static=static, below_one=below_one)
    compiled = jax.jit(function, static_argnames=static)
    signature = inspect.signature(function)

    @functools.wraps(function)
    def checked(*args, **kwargs):
        call = signature.bind(*args, **kwargs)
        call.apply_defaults()
        given = call.arguments
        if "policy" in given:
            given["policy"] = check_policy(given["mdp"], given["policy"])
        dtype = given["mdp"].reward.dtype
        for name in given.keys() & _ALLOWED.keys():
            allowed, accepts = _ALLOWED[name]
            if is_concrete(given[name]) and not (
                np.shape(given[name]) == () and accepts(given[name])
            ):
                raise ValueError(f"{name} is {given[name]}; allowed: {allowed}")
            given[name] = jnp.asarray(given[name], dtype)
        if "discount" not in given:
            return compiled(**given)
        if is_concrete(given["discount"]):
            discount = np.asarray(given["discount"]).astype(dtype)
            if not (
                discount.shape == () and 0 <= discount <= 1 and (discount < 1 or not below_one)
            ):
                raise ValueError(
                    f"discount is {given['discount']}; allowed: a number in [0, 1{')' if below_one else ']'}"
                )
        given["discount"] = jnp.asarray(given["discount"], dtype)
        return compiled(**given)

    return checked


def mean(weights, values, axis=-1):
    """A weighted sum where weight zero outweighs even an infinite value."""
    return jnp.sum(jnp.where(weights > 0, weights * values, 0), axis)


def expected(mdp: FiniteMDP, value: Callable[..., jax.Array]) -> jax.Array:
    """``sum_k probability value(next_state, reward, terminated)``, float ``[S, A]``, where an outcome of probability zero
    counts for nothing, even with an infinite value. ``value`` works element by element."""

    def term(*at):
        probability, *outcome = (
            table[at] for table in (mdp.probability, mdp.next_state, mdp.reward, mdp.terminated)
        )
        return jnp.where(probability > 0, probability * value(*outcome), 0)

    actions, outcomes = range(mdp.num_actions), range(mdp.num_outcomes)
    if mdp.reward.size < LARGE or len(actions) * len(outcomes) > UNROLLED:
        return jnp.sum(term(...), axis=-1)
    # One loop over the states that stores nothing between: three times as fast as sums over an array [S, A, K], in less memory,
    # for a second more of compilation.
    return jnp.stack(
        [functools.reduce(operator.add, [term(..., a, k) for k in outcomes]) for a in actions],
        axis=-1,
    )


def look_ahead(
    mdp: FiniteMDP, values: jax.Array, discount: float | jax.Array, ended: float | jax.Array
) -> jax.Array:
    """:func:`backup` where what follows the end of an episode is worth ``ended``: float ``[S, A]``."""
    values = jnp.asarray(values)

    def returns(next_state, reward, terminated):
        # Indices are known to be in range. To look for others would take time, and the memory of another table.
        value = values.at[next_state].get(mode="promise_in_bounds", wrap_negative_indices=False)
        return reward + discount * jnp.where(terminated, ended, value)

    return expected(mdp, returns)


def backup(mdp: FiniteMDP, values: jax.Array, discount: float | jax.Array) -> jax.Array:
    """``q(s, a) = sum_k probability (reward + discount (1 - terminated) values[next_state])``.

    Args:
        mdp: the model.
        values: of the states, float ``[S]``.
        discount: in ``[0, 1]``.

    Returns:
        float ``[S, A]``.
    """
    return look_ahead(mdp, values, discount, 0)


def expected_reward(mdp: FiniteMDP) -> jax.Array:
    """``r(s, a)``, float ``[S, A]``."""
    return expected(mdp, lambda next_state, reward, terminated: reward)


def greedy(q: jax.Array) -> jax.Array:
    """The first of the best actions in each state: float ``[S, A]`` -> int32 ``[S]``."""
    return jnp.argmax(q, axis=-1).astype(jnp.int32)


def best(q):
    return jnp.max(q, axis=-1)


def _precision(mdp):
    """A bound on the relative error of one backup: each entry passes through this many roundings, at most, of half of ``eps``;
    the other half covers the products of such errors."""
    return (mdp.num_outcomes + mdp.num_actions + 4) * jnp.finfo(mdp.reward.dtype).eps


def rounding_of(mdp, discount):
    """How far rounding can take a backup of ``values`` from the true one: a function of ``values``."""
    size = expected(mdp, lambda next_state, reward, terminated: jnp.abs(reward))
    largest = jnp.max(lax.optimization_barrier(size))  # or XLA would keep every term for it
    return lambda values: _precision(mdp) * (largest + discount * jnp.max(jnp.abs(values)))


def _distance(x, y):
    return jnp.max(jnp.where(x == y, 0, jnp.abs(x - y)))  # infinities of one sign are equal


def bounded(mdp, discount, reduce, values, policy, iterations, weigh=None, more_rounding=0.0):
    """The solution and its error bound from ``values`` near a fixed point of ``reduce(backup(.))``.

    ``policy`` is a function of ``q``. By how much ``reduce`` can differ between two ``q`` is ``weigh`` of how much they do,
    which is ``reduce`` itself where it is linear or a maximum. ``more_rounding`` is what it errs beside sums and products.
    """
    weigh = reduce if weigh is None else weigh
    q = lax.optimization_barrier(backup(mdp, values, discount))  # as in rounding_of
    reduced = reduce(q)
    change, rounding = (
        _distance(reduced, values),
        rounding_of(mdp, discount)(values) + more_rounding,
    )
    goes_on = (
        discount
        * (1 + _precision(mdp))
        * expected(mdp, lambda next_state, reward, terminated: 1.0 - terminated)
    )
    modulus = jnp.max(weigh(goes_on))
    of_values = (modulus * change + rounding) / (1 - modulus)
    # q is off by what the values put in were, as far as the action goes on: maybe more than the policy's own actions do.
    of_q = jnp.max(goes_on) * (change + of_values) + rounding
    return Solution(q, reduced, policy(q), iterations, jnp.where(modulus < 1, of_q, jnp.inf))


def fixed_point(mdp, discount, reduce, tolerance, max_iterations):
    """Iterate ``values = reduce(backup(values))`` from zero until the largest change is at most ``tolerance``.

    Once the change is of the size of rounding errors it may stay there for ever, but often still shrinks: so many iterations as
    it took to come there are left then. Returns values and the number of iterations.
    """
    rounding = rounding_of(mdp, discount)

    def unfinished(carry):
        _, change, iterations, limit = carry
        return ~(change <= tolerance) & (iterations < limit)

    def sweep(carry):
        values, _, iterations, limit = carry
        updated, iterations = reduce(backup(mdp, values, discount)), iterations + 1
        change = _distance(updated, values)
        limit = jnp.where(change <= rounding(updated), jnp.minimum(limit, 2 * iterations), limit)
        return updated, change, iterations, limit

    dtype = mdp.reward.dtype
    start = (
        jnp.zeros(mdp.num_states, dtype),
        jnp.array(jnp.inf, dtype),
        jnp.int32(0),
        jnp.int32(max_iterations),
    )
    values, _, iterations, _ = lax.while_loop(unfinished, sweep, start)
    return values, iterations


def going_on(mdp, pi):
    """``P(s', the episode goes on | s)`` under ``pi [S, A]``: float ``[S, S]``."""
    weight = pi[..., None] * jnp.where(mdp.terminated, 0, mdp.probability)
    here = jnp.arange(mdp.num_states)[:, None, None]
    return jnp.zeros((mdp.num_states,) * 2, weight.dtype).at[here, mdp.next_state].add(weight)
