import functools
import itertools
import re
import subprocess
import sys

import chex
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from purerl.mdp import (
    FiniteMDP,
    backup,
    evaluate_policy,
    expected_return,
    finite_horizon,
    from_dense,
    from_gymnasium,
    garnet,
    greedy,
    occupancy,
    operators,
    optimal_q,
    policy_iteration,
    reachable,
    value_iteration,
)
from purerl.random import key
from tests import quick

S, A, K = 7, 3, 3
SEEDS = st.integers(0, 2**31 - 1)
DISCOUNTS = st.sampled_from([0.0, 0.5, 0.9, 0.99])


def random_model(seed, shape=(S, A, K), ending=0.1):
    """Some outcomes terminate, and some lead to the same state as another."""
    rng = np.random.default_rng(seed)
    return FiniteMDP(
        probability=rng.dirichlet(np.ones(shape[2]), shape[:2]),
        next_state=rng.integers(shape[0], size=shape),
        reward=rng.normal(size=shape),
        terminated=rng.random(shape) < ending,
        initial=rng.dirichlet(np.ones(shape[0])),
    )


def random_policy(seed):
    return jnp.asarray(np.random.default_rng([seed, 1]).dirichlet(np.ones(A), S), jnp.float32)


def dense(mdp):
    """``P [S, A, S]`` without termination and ``R [S, A]``, in float64."""
    leaves = [
        np.asarray(x, float if jnp.issubdtype(x.dtype, jnp.floating) else None)
        for x in jax.tree.leaves(mdp)
    ]
    probability, next_state, reward, terminated, *_ = leaves
    transition = np.zeros((*probability.shape[:2], mdp.num_states))
    for s, a, k in np.ndindex(probability.shape):
        if not terminated[s, a, k]:
            transition[s, a, next_state[s, a, k]] += probability[s, a, k]
    return transition, (probability * reward).sum(-1)


def dense_values(mdp, policy, discount):
    """``v_pi`` by NumPy's linear algebra in float64."""
    transition, reward = dense(mdp)
    policy = np.asarray(policy, float)
    p, r = np.einsum("sa,sat->st", policy, transition), (policy * reward).sum(-1)
    return np.linalg.solve(np.eye(mdp.num_states) - discount * p, r)


def best_values(mdp, discount):
    """``v*`` by linear programming: the least values that no action improves.

    Puterman, section 6.9.
    """
    transition, reward = dense(mdp)
    size = mdp.num_states
    excess = discount * transition.reshape(-1, size) - np.repeat(
        np.eye(size), mdp.num_actions, axis=0
    )
    answer = linprog(
        np.ones(size), A_ub=excess, b_ub=-reward.ravel(), bounds=(None, None), method="highs"
    )
    assert answer.success
    return answer.x


def single(number):
    return float(np.float32(number))


@functools.cache
def gym_model(name, **settings):
    return from_gymnasium(gymnasium.make(name, **settings))


# The backup.


in_either_form = pytest.mark.parametrize("large", [0, 2**16], ids=["term by term", "as arrays"])


def backup_as_if(large, *args):
    """As of models with so many numbers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operators, "LARGE", large)
        return backup(*args)


@in_either_form
@given(seed=SEEDS, discount=DISCOUNTS)
def test_backup_is_the_expectation_of_reward_and_what_follows(large, seed, discount):
    mdp = random_model(seed)
    values = np.random.default_rng(seed).normal(size=S)
    transition, reward = dense(mdp)
    found = backup_as_if(large, mdp, jnp.asarray(values, jnp.float32), discount)
    np.testing.assert_allclose(found, reward + discount * transition @ values, atol=1e-5)


@in_either_form
def test_backup_leaves_out_what_cannot_happen_and_what_follows_termination(large):
    mdp = FiniteMDP(
        [[[1.0, 0.0]], [[1.0, 0.0]]],
        [[[0, 1]], [[1, 0]]],
        [[[2.0, 5.0]], [[3.0, 5.0]]],
        [[[False, False]], [[True, False]]],
        [1, 0],
    )
    for values in (jnp.array([4.0, -jnp.inf]), np.array([4.0, -np.inf], np.float32)):
        assert backup_as_if(large, mdp, values, 0.5).tolist() == [[4.0], [3.0]]


def test_backup_of_a_million_states():
    size = 1_000_000
    states = np.arange(size)[:, None, None]
    mdp = FiniteMDP(
        probability=np.broadcast_to(np.float32([0.5, 0.25, 0.25]), (size, 4, 3)),
        next_state=(states + np.arange(4)[:, None] + np.arange(3)) % size,
        reward=np.ones((size, 4, 3), np.float32),
        terminated=np.zeros((size, 4, 3), bool),
        initial=np.full(size, 1 / size),
    )
    q = jax.jit(backup)(mdp, jnp.arange(size, dtype=jnp.float32) / size, 0.5)
    assert q.shape == (size, 4)
    np.testing.assert_allclose(
        q[[0, 10, 500_000], [0, 3, 2]], [1 + 0.375e-6, 1 + 6.875e-6, 1.25 + 1.375e-6], rtol=1e-6
    )


# Optimal values.


@pytest.mark.slow
def test_a_grid_of_a_million_states_is_solved():
    """Each step costs 1 until the last corner, so that the value d steps away from it
    is ``-(1 - discount ** d) / (1 - discount)``."""
    size, discount = 1_000, 0.99
    row, column = np.divmod(np.arange(size**2, dtype=np.int32), size)
    moves = np.array([(-1, 0), (0, 1), (1, 0), (0, -1)])
    next_state = np.stack(
        [np.clip(row + i, 0, size - 1) * size + np.clip(column + j, 0, size - 1) for i, j in moves],
        axis=1,
    )
    shape = size**2, 4, 1
    mdp = FiniteMDP(
        probability=np.ones(shape, np.float32),
        next_state=next_state.reshape(shape),
        reward=-np.ones(shape, np.float32),
        terminated=next_state.reshape(shape) == size**2 - 1,
        initial=np.eye(1, size**2, dtype=np.float32)[0],
    )
    solution = value_iteration(mdp, discount)
    away = 2 * (size - 1) - row - column
    steps = np.maximum(away, 1)  # the last corner itself is left, and entered again or stayed in
    exact = -(1 - discount**steps) / (1 - discount)
    error = np.abs(solution.values - exact)
    assert error.max() <= solution.error_bound < 0.1
    # Farther away two moves differ by less than float32 tells apart in values of about
    # -100.
    near = (away > 0) & (away <= 1_000)
    reached = next_state[np.arange(size**2), solution.policy]
    assert near.sum() > 400_000 and (away[reached] == away - 1)[near].all()


def test_many_models_times_many_policies_in_one_program():
    """In a process of its own, because the fault it looks for is a deadlock."""
    program = """if True:
        import jax, jax.numpy as jnp, numpy as np
        from purerl import mdp

        model = mdp.garnet(jax.random.key(0), 12, 2, 3)
        policies = jax.random.dirichlet(jax.random.key(1), jnp.ones(2), (8, 512, 12))
        each = jax.vmap(lambda pi: mdp.expected_return(model, pi, 0.9))
        values = jax.jit(lambda many: [each(pi) for pi in many])(policies)
        alone = mdp.expected_return(model, policies[7, 511], 0.9)
        np.testing.assert_allclose(values[7][511], alone, rtol=1e-5)
    """
    subprocess.run([sys.executable, "-c", program], check=True, timeout=100)


@pytest.mark.optimized
@given(SEEDS, DISCOUNTS)
def test_value_iteration_finds_the_linear_programs_optimum(seed, discount):
    mdp = random_model(seed)
    solution = value_iteration(mdp, discount)
    best = best_values(mdp, single(discount))
    np.testing.assert_allclose(solution.values, best, rtol=1e-4, atol=1e-4)
    transition, reward = dense(mdp)
    np.testing.assert_allclose(
        solution.q, reward + discount * transition @ best, rtol=1e-4, atol=1e-4
    )
    np.testing.assert_array_equal(solution.policy, np.argmax(solution.q, axis=-1))
    np.testing.assert_allclose(optimal_q(mdp, discount), solution.q, rtol=1e-5, atol=1e-4)


def test_optimal_values_are_the_best_of_all_policies():
    mdp = random_model(1)
    transition, reward = dense(mdp)
    policies = np.array(list(itertools.product(range(A), repeat=S)))
    moves, gains = transition[np.arange(S), policies], reward[np.arange(S), policies]
    values = np.linalg.solve(np.eye(S) - 0.9 * moves, gains[..., None])[..., 0]
    np.testing.assert_allclose(
        value_iteration(mdp, 0.9).values, values.max(axis=0), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_array_equal(
        policy_iteration(mdp, 0.9).policy, policies[np.argmax(values.sum(axis=-1))]
    )


@given(SEEDS, DISCOUNTS)
def test_policy_iteration_agrees_with_value_iteration_on_garnets(seed, discount):
    mdp = garnet(key(seed, "pcg4d"), S, A, K)
    by_policies, by_values = policy_iteration(mdp, discount), value_iteration(mdp, discount)
    np.testing.assert_allclose(by_policies.q, by_values.q, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        dense_values(mdp, np.eye(A)[by_policies.policy], discount),
        by_values.values,
        rtol=1e-4,
        atol=1e-4,
    )
    assert int(by_policies.iterations) < 20


def test_policy_iteration_ends_among_ties():
    """Every action is as good as every other, up to rounding."""
    mdp = random_model(0, ending=0)
    rolled = {
        name: jnp.stack([jnp.roll(getattr(mdp, name)[:, 0], a, axis=-1) for a in range(A)], axis=1)
        for name in ("probability", "next_state", "reward", "terminated")
    }
    assert int(policy_iteration(mdp.replace(**rolled), 0.999).iterations) <= 2


def test_greedy_takes_the_first_of_the_best():
    assert greedy(jnp.array([[1.0, 3.0, 3.0], [-jnp.inf, -jnp.inf, -jnp.inf]])).tolist() == [1, 0]
    assert greedy(jnp.zeros((2, 3))).dtype == jnp.int32


def test_two_states_by_hand():
    """From the first, stay for 1 or go for 0; in the second, 3 per step.

    Going is worth 3d / (1 - d), staying 1 / (1 - d).
    """
    mdp = from_dense([[[1, 0], [0, 1]], [[0, 1], [0, 1]]], [[1, 0], [3, 3]], [1, 0])
    assert value_iteration(mdp, 0.25).policy[0] == 0
    assert value_iteration(mdp, 0.5).policy[0] == 1
    np.testing.assert_allclose(optimal_q(mdp, 0.5), [[1 + 1.5, 3], [6, 6]], rtol=1e-6)
    np.testing.assert_allclose(optimal_q(mdp, 0.25), [[4 / 3, 1], [4, 4]], rtol=1e-6)


@pytest.mark.parametrize("name", ["FrozenLake-v1", "CliffWalking-v1"])
def test_toy_text_at_discount(name):
    mdp = gym_model(name)
    best = best_values(mdp, single(0.99))
    np.testing.assert_allclose(value_iteration(mdp, 0.99).values, best, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(policy_iteration(mdp, 0.99).values, best, rtol=1e-5, atol=1e-5)


# Error bounds.


@pytest.mark.optimized
@given(SEEDS, st.sampled_from([0.5, 0.9, 0.99, 0.999]), st.sampled_from([0.0, 1e-3, 0.3]))
def test_error_bounds_hold_in_float32(seed, discount, tolerance):
    mdp, policy = random_model(seed), random_policy(seed)
    best = best_values(mdp, single(discount))
    of_policy = dense_values(mdp, policy, single(discount))
    for solution, truth in [
        (value_iteration(mdp, discount, tolerance), best),
        (policy_iteration(mdp, discount), best),
        (evaluate_policy(mdp, policy, discount), of_policy),
        (evaluate_policy(mdp, policy, discount, tolerance, max_exact_states=0), of_policy),
    ]:
        assert np.abs(solution.values - truth).max() <= solution.error_bound
        transition, reward = dense(mdp)
        assert (
            np.abs(solution.q - (reward + single(discount) * transition @ truth)).max()
            <= solution.error_bound
        )


def test_error_bound_is_tight_and_tells_early_stops():
    """One state, reward 1.

    n iterations and the last backup give sum_{t <= n} d^t, which is too small by
    d^(n+1) / (1 - d).
    """
    mdp = FiniteMDP([[[1.0]]], [[[0]]], [[[1.0]]], [[[False]]], [1.0])
    for iterations in (0, 1, 5, 20):
        solution = value_iteration(mdp, 0.9, max_iterations=iterations)
        short = 0.9 ** (iterations + 1) / (1 - 0.9)
        assert int(solution.iterations) == iterations
        assert float(10 - solution.values[0]) == pytest.approx(short, rel=1e-4)
        assert short * (1 - 1e-4) <= float(solution.error_bound) <= short * 1.001
    assert float(value_iteration(mdp, 0.9).error_bound) < 1e-3


def test_error_bound_covers_actions_that_the_policy_does_not_take():
    """Action 0 pays 5 and ends, action 1 pays 1 and stays.

    The value of action 0 is exact at once, that of action 1 off by 0.9 * 5 until then.
    """
    mdp = FiniteMDP([[[1.0], [1.0]]], [[[0], [0]]], [[[5.0], [1.0]]], [[[True], [False]]], [1.0])
    early = evaluate_policy(mdp, [0], 0.9, max_iterations=0, max_exact_states=0)
    np.testing.assert_allclose(early.q, [[5, 1]])
    np.testing.assert_allclose(evaluate_policy(mdp, [0], 0.9).q, [[5, 5.5]], rtol=1e-6)
    assert 4.5 <= float(early.error_bound) < 4.51


def test_stops_at_the_tolerance():
    mdp = FiniteMDP([[[1.0]]], [[[0]]], [[[1.0]]], [[[False]]], [1.0])
    # The n-th change is d^(n-1): at most 1/16 for the first time when n = 5.
    assert int(value_iteration(mdp, 0.5, tolerance=1 / 16).iterations) == 5
    assert int(evaluate_policy(mdp, [0], 0.5, tolerance=1 / 16, max_exact_states=0).iterations) == 5


@pytest.mark.parametrize("discount", [0.9, 0.999, 0.99999])
def test_the_default_tolerance_is_reached_in_float32(discount):
    """With rewards of large mean rounding keeps changes far above zero."""
    mdp = random_model(2, ending=0)
    mdp = mdp.replace(reward=mdp.reward + 100)
    iterations = int(value_iteration(mdp, discount).iterations)
    assert iterations < 40 / (1 - discount)


def test_bound_at_discount_one():
    """The bound is finite if every action may end the episode (v = 1 + v/2)."""
    always = FiniteMDP([[[0.5, 0.5]]], [[[0, 0]]], [[[1.0, 1.0]]], [[[True, False]]], [1.0])
    solution = value_iteration(always, 1.0)
    assert float(solution.values[0]) == pytest.approx(2)
    assert abs(float(solution.values[0]) - 2) <= float(solution.error_bound) < 1e-4
    assert value_iteration(gym_model("CliffWalking-v1"), 1.0).error_bound == jnp.inf


# Policies.


@given(SEEDS, DISCOUNTS)
def test_policy_values_are_the_linear_solution(seed, discount):
    mdp, policy = random_model(seed), random_policy(seed)
    truth = dense_values(mdp, policy, discount)
    exact, iterated = (
        evaluate_policy(mdp, policy, discount),
        evaluate_policy(mdp, policy, discount, max_exact_states=0),
    )
    np.testing.assert_allclose(exact.values, truth, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(iterated.values, truth, rtol=1e-4, atol=1e-4)
    assert int(exact.iterations) == 0 < int(iterated.iterations)
    np.testing.assert_allclose((exact.q * policy).sum(-1), exact.values, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(exact.policy, policy)


def test_float64_is_exact_to_its_own_precision():
    with jax.enable_x64(True):
        mdp, policy = random_model(5), np.random.default_rng(6).dirichlet(np.ones(A), S)
        assert mdp.reward.dtype == jnp.float64
        np.testing.assert_allclose(
            evaluate_policy(mdp, policy, 0.99).values, dense_values(mdp, policy, 0.99), rtol=1e-11
        )
        best = policy_iteration(mdp, 0.99)
        np.testing.assert_allclose(
            best.values, dense_values(mdp, np.eye(A)[best.policy], 0.99), rtol=1e-11
        )
        np.testing.assert_allclose(value_iteration(mdp, 0.99).q, best.q, rtol=1e-11, atol=1e-11)
        assert float(value_iteration(mdp, 0.99).error_bound) < 1e-10


def test_chain_by_hand():
    """Four steps to the end, reward 1 at the last: v = d^3, d^2, d, 1 and 0."""
    transition = np.eye(5)[[1, 2, 3, 4, 4]][:, None]
    mdp = from_dense(
        transition, np.float32([[0], [0], [0], [1], [0]]), np.eye(5)[0], np.arange(5) == 4
    )
    for discount in (0.5, 1.0):
        np.testing.assert_allclose(
            evaluate_policy(mdp, [0] * 5, discount).values,
            [discount**n for n in (3, 2, 1, 0)] + [0],
        )
        assert expected_return(mdp, [0] * 5, discount) == discount**3


@pytest.mark.parametrize("max_exact_states", [0, 2048])
def test_total_rewards_of_policies_that_may_never_end(max_exact_states):
    """Deterministic moves: one action per state, with the reward and successor below.

    A successor of None is the end of the episode.
    """
    moves = {
        0: (1, None),  # ends
        1: (0, 1),  # stays for nothing
        2: (5, 1),  # gets there
        3: (-1, 3),  # loses without end
        4: (7, 3),  # gets there
        5: (1, 6),  # gains without end, in turns
        6: (0, 5),
        7: (1, 8),  # gains and loses in turns
        8: (-1, 7),
        9: (-2, 0),  # ends after two steps
    }
    states = list(moves)
    mdp = FiniteMDP(
        probability=np.ones((10, 1, 1)),
        next_state=[[[s if moves[s][1] is None else moves[s][1]]] for s in states],
        reward=[[[float(moves[s][0])]] for s in states],
        terminated=[[[moves[s][1] is None]] for s in states],
        initial=np.eye(10)[4],
    )
    inf, nan = np.inf, np.nan
    solution = evaluate_policy(mdp, [0] * 10, 1.0, max_exact_states=max_exact_states)
    np.testing.assert_array_equal(solution.values, [1, 0, 5, -inf, -inf, inf, inf, nan, nan, -1])
    assert expected_return(mdp, [0] * 10, 1.0) == -inf
    # At any smaller discount everything is finite.
    solution = evaluate_policy(mdp, [0] * 10, 0.5, max_exact_states=max_exact_states)
    np.testing.assert_allclose(
        solution.values, [1, 0, 5, -2, 6, 4 / 3, 2 / 3, 2 / 3, -2 / 3, -1.5], rtol=1e-6, atol=1e-6
    )


def test_a_chance_of_being_caught_makes_the_expectation_infinite():
    """From the first state half ends, half is caught in a state that costs 1 per step.

    The third state costs 1 per step too, but can be left.
    """
    mdp = FiniteMDP(
        probability=np.full((3, 1, 2), 0.5),
        next_state=[[[0, 1]], [[1, 1]], [[2, 2]]],
        reward=[[[0.0, 0.0]], [[-1.0, -1.0]], [[-1.0, -1.0]]],
        terminated=[[[True, False]], [[False, False]], [[True, False]]],
        initial=[1, 0, 0],
    )
    np.testing.assert_allclose(evaluate_policy(mdp, [0, 0, 0], 1.0).values, [-np.inf, -np.inf, -2])


def test_undiscounted_policy_iteration_does_not_put_the_reward_off_for_ever():
    """On ice that is not slippery every way to the goal is worth 1.

    The first of the greedy actions walks against a wall.
    """
    mdp = gym_model("FrozenLake-v1", is_slippery=False)
    by_values, by_policies = value_iteration(mdp, 1.0), policy_iteration(mdp, 1.0)
    np.testing.assert_array_equal(by_values.q, by_policies.q)
    assert by_values.values[0] == 1
    assert expected_return(mdp, greedy(by_values.q), 1.0) == 0
    assert expected_return(mdp, by_values.policy, 1.0) == 1
    assert expected_return(mdp, by_policies.policy, 1.0) == 1


def test_undiscounted_policy_iteration_from_where_nothing_seems_to_help():
    """Waiting costs 1 per step; trying costs 2 and ends with probability one half.

    If iteration started from waiting, both actions would have value -inf.
    """
    mdp = FiniteMDP(
        [[[1.0, 0.0], [0.5, 0.5]]],
        [[[0, 0], [0, 0]]],
        [[[-1.0, 0.0], [-2.0, -2.0]]],
        [[[False, False], [True, False]]],
        [1],
    )
    solution = policy_iteration(mdp, 1.0)
    assert solution.policy.tolist() == [1]
    np.testing.assert_allclose(solution.q, [[-5, -4]], rtol=1e-5)
    assert evaluate_policy(mdp, [0], 1.0).values[0] == -np.inf


def test_undiscounted_toy_text():
    """13 steps along the cliff; probability 14/17 of crossing the 4x4 lake."""
    cliff = policy_iteration(gym_model("CliffWalking-v1"), 1.0)
    assert cliff.values[36] == -13
    assert expected_return(gym_model("CliffWalking-v1"), cliff.policy, 1.0) == -13
    lake = policy_iteration(gym_model("FrozenLake-v1"), 1.0)
    assert float(lake.values[0]) == pytest.approx(14 / 17, abs=1e-5)


# Occupancy, return, horizon.


@given(SEEDS, st.sampled_from([0.0, 0.5, 0.9, 0.99]), st.booleans())
def test_occupancy_is_the_dual_of_values(seed, discount, ending):
    mdp, policy = random_model(seed, ending=0.1 * ending), random_policy(seed)
    weights = occupancy(mdp, policy, discount)
    transition, reward = dense(mdp)
    p = np.einsum("sa,sat->st", np.asarray(policy, float), transition)
    truth = (1 - discount) * np.linalg.solve(
        np.eye(S) - discount * p.T, np.asarray(mdp.initial, float)
    )
    np.testing.assert_allclose(weights, truth, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(
        occupancy(mdp, policy, discount, max_exact_states=0), truth, rtol=1e-3, atol=1e-6
    )
    assert float(weights.sum()) == pytest.approx(truth.sum(), abs=1e-5)
    if not ending:
        assert float(weights.sum()) == pytest.approx(1, abs=1e-5)
    gain = float((weights * (policy * reward).sum(-1)).sum()) / (1 - discount)
    value = float(expected_return(mdp, policy, discount))
    assert value == pytest.approx(gain, rel=1e-3, abs=1e-3)
    assert value == pytest.approx(
        np.asarray(mdp.initial) @ dense_values(mdp, policy, discount), rel=1e-3, abs=1e-3
    )


def test_occupancy_by_hand():
    """One state, half of whose episodes end at each step: (1 - d) sum_t (d/2)^t."""
    mdp = FiniteMDP([[[0.5, 0.5]]], [[[0, 0]]], [[[0.0, 0.0]]], [[[True, False]]], [1.0])
    assert float(occupancy(mdp, [0], 0.5)[0]) == pytest.approx(0.5 / 0.75)


def test_reachable_states_are_those_that_some_policy_occupies():
    """By powers of the matrix of possible moves, in models with few outcomes."""
    find = jax.jit(reachable)
    found = []
    for seed in range(10):
        mdp = random_model(seed, shape=(S, 1, 2), ending=0.3).replace(initial=np.eye(S)[seed % S])
        possible = np.eye(S) + dense(mdp)[0].sum(axis=1)
        found.append(find(mdp).tolist())
        assert found[-1] == (np.linalg.matrix_power(possible, S)[seed % S] > 0).tolist()
    assert 0.2 < np.mean(found) < 0.8


def test_gradient_of_the_return_is_the_policy_gradient():
    """d G / d pi(a | s) = occupancy(s) q(s, a) / (1 - d).

    Sutton et al., "Policy gradient methods", NIPS 1999, theorem 1.
    """
    mdp, policy = random_model(11), random_policy(11)
    gradient = jax.grad(lambda pi: expected_return(mdp, pi, 0.9))(policy)
    expected = (
        occupancy(mdp, policy, 0.9)[:, None] * evaluate_policy(mdp, policy, 0.9).q / (1 - 0.9)
    )
    np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "name, settings, horizon, best",
    [
        ("FrozenLake-v1", {}, 100, 0.74419),
        ("FrozenLake-v1", {"map_name": "8x8"}, 200, 0.91322),
        ("CliffWalking-v1", {}, 13, -13),
        ("CliffWalking-v1", {}, 12, -12),
    ],
)
def test_best_return_within_a_time_limit(name, settings, horizon, best):
    mdp = gym_model(name, **settings)
    assert float(mdp.initial @ finite_horizon(mdp, horizon)) == pytest.approx(best, abs=1e-5)


def test_best_return_within_few_steps_is_that_of_the_best_plan():
    mdp = random_model(8, shape=(3, 2, 2))
    transition, reward = dense(mdp)
    rules = [np.eye(2)[list(rule)] for rule in itertools.product(range(2), repeat=3)]
    returns = []
    for plan in itertools.product(rules, repeat=3):
        values = np.zeros(3)
        for rule in reversed(plan):
            values = (rule * (reward + 0.8 * transition @ values)).sum(-1)
        returns.append(values)
    np.testing.assert_allclose(
        finite_horizon(mdp, 3, 0.8), np.max(returns, axis=0), rtol=1e-5, atol=1e-6
    )
    assert finite_horizon(mdp, 0).tolist() == [0, 0, 0]


# Transformations.


def test_one_compilation_serves_all_and_maps_over_models_policies_and_discounts():
    discounts = jnp.array([0.0, 0.5, 0.9, 0.99])
    models = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(random_model, range(4)))
    policies = jnp.stack([random_policy(seed) for seed in range(4)])

    def everything(mdp, policy, discount):
        return (
            value_iteration(mdp, discount),
            policy_iteration(mdp, discount).q,
            evaluate_policy(mdp, greedy(policy), discount).q,
            occupancy(mdp, policy, discount),
            expected_return(mdp, policy, discount),
            finite_horizon(mdp, 10, discount),
        )

    together = quick.jit(jax.vmap(everything))(models, policies, discounts)
    alone = quick.jit(chex.assert_max_traces(everything, n=1))
    for i in range(4):
        expected = alone(random_model(i), random_policy(i), discounts[i])
        chex.assert_trees_all_close(
            jax.tree.map(lambda x, i=i: x[i], together), expected, rtol=1e-4, atol=1e-4
        )
    only_discounts = jax.vmap(optimal_q, (None, 0))(random_model(3), discounts)
    np.testing.assert_allclose(only_discounts[3], together[0].q[3], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda mdp: optimal_q(mdp, 1.5), "discount is 1.5; allowed: a number in [0, 1]"),
        (lambda mdp: policy_iteration(mdp, -0.1), "discount is -0.1; allowed: a number in [0, 1]"),
        (lambda mdp: value_iteration(mdp, np.nan), "discount is nan; allowed"),
        (lambda mdp: finite_horizon(mdp, 3, discount=2), "discount is 2; allowed"),
        (
            lambda mdp: optimal_q(mdp, jnp.array([0.5, 0.9])),
            "discount is [0.5 0.9]; allowed: a number in [0, 1]",
        ),
        (
            lambda mdp: occupancy(mdp, jnp.zeros(S, int), 1.0),
            "discount is 1.0; allowed: a number in [0, 1)",
        ),
        (
            lambda mdp: evaluate_policy(mdp, jnp.full(S, A), 0.9),
            "policy at state 0 is 3; allowed: an integer in [0, 3)",
        ),
        (
            lambda mdp: expected_return(mdp, jnp.ones((S, A)), 0.9),
            "the sum of policy at state 0 is 3.0; allowed: 1",
        ),
        (
            lambda mdp: occupancy(mdp, jnp.zeros(S - 1, int), 0.9),
            "shape (6,); allowed: integers (7,) or floats (7, 3)",
        ),
    ],
)
def test_refuses_impossible_questions(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call(random_model(0))
