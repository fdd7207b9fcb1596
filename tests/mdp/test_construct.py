import re
from types import SimpleNamespace

import chex
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

import purerl
from purerl.mdp import FiniteMDP, evaluate_policy, from_dense, from_gymnasium, garnet
from purerl.random import key

SEEDS = st.integers(0, 2**31 - 1)


def random_dense(seed, size=5, num_actions=2):
    """A transition array of which about half is zero, and never a whole row."""
    rng = np.random.default_rng(seed)
    weights = rng.random((size, num_actions, size)) * (rng.random((size, num_actions, size)) < 0.5)
    weights[..., 0] += weights.sum(-1) == 0
    return (
        weights / weights.sum(-1, keepdims=True),
        rng.normal(size=weights.shape),
        rng.dirichlet(np.ones(size)),
        rng,
    )


@given(SEEDS)
def test_dense_there_and_back(seed):
    transition, reward, initial, rng = random_dense(seed)
    terminal = rng.random(5) < 0.3
    mdp = from_dense(transition, reward, initial, terminal)
    assert mdp.num_outcomes == (transition > 0).sum(-1).max()
    back, gains, ends = (np.zeros((5, 2, 5)) for _ in range(3))
    for s, a, k in np.ndindex(mdp.probability.shape):
        to = mdp.next_state[s, a, k]
        back[s, a, to] += mdp.probability[s, a, k]
        gains[s, a, to] += mdp.reward[s, a, k]
        ends[s, a, to] += mdp.terminated[s, a, k]
    np.testing.assert_allclose(back, transition, atol=1e-6)
    np.testing.assert_allclose(gains, np.where(transition > 0, reward, 0), rtol=1e-6)
    np.testing.assert_array_equal(ends, (transition > 0) & terminal)
    np.testing.assert_allclose(mdp.initial, initial, rtol=1e-6)


def test_dense_values_are_numpys():
    transition, reward, initial, _ = random_dense(0)
    expected = np.linalg.solve(
        np.eye(5) - 0.9 * transition[:, 1], (transition * reward).sum(-1)[:, 1]
    )
    by_successor = from_dense(transition, reward, initial)
    by_action = from_dense(transition, (transition * reward).sum(-1), initial)
    for mdp in (by_successor, by_action):
        np.testing.assert_allclose(
            evaluate_policy(mdp, [1] * 5, 0.9).values, expected, rtol=1e-4, atol=1e-5
        )


def test_dense_outcomes_are_ascending_and_padded():
    transition = [[[0.5, 0, 0.5]], [[0, 1, 0]], [[0.25, 0.5, 0.25]]]
    mdp = from_dense(transition, [[1.0], [2.0], [3.0]], [1, 0, 0])
    assert mdp.probability.tolist() == [[[0.5, 0.5, 0]], [[1, 0, 0]], [[0.25, 0.5, 0.25]]]
    assert mdp.next_state.tolist() == [[[0, 2, 1]], [[1, 0, 2]], [[0, 1, 2]]]
    assert mdp.reward.tolist() == [[[1, 1, 0]], [[2, 0, 0]], [[3, 3, 3]]]
    assert not mdp.terminated.any()


def test_dense_rewards_of_what_cannot_happen_do_not_matter():
    mdp = from_dense([[[0, 1]], [[0.5, 0.5]]], [[[np.nan, 1]], [[2, 3]]], [1, 0])
    assert mdp.reward.tolist() == [[[1, 0]], [[2, 3]]]


@pytest.mark.parametrize(
    "given, message",
    [
        (
            (np.ones((2, 3)), np.ones((2, 3)), [1, 0]),
            "transition has shape (2, 3); allowed: [S, A, S]",
        ),
        (
            (np.ones((2, 1, 3)), np.ones((2, 1)), [1, 0]),
            "transition has shape (2, 1, 3); allowed: [S, A, S]",
        ),
        (
            (np.ones((2, 1, 2)) / 2, np.ones(2), [1, 0]),
            "reward has shape (2,); allowed: (2, 1) or (2, 1, 2)",
        ),
        (
            (np.ones((2, 1, 2)) / 2, np.ones((2, 1)), [1, 0], [0, 1]),
            "terminal has dtype int64 and shape (2,); allowed: bool and (2,)",
        ),
        (
            (np.ones((2, 1, 2)), np.ones((2, 1)), [1, 0]),
            "the sum of probability at state 0, action 0 is 2.0",
        ),
        (
            (np.array([[[1, -1e-7]]] * 2), np.ones((2, 1)), [1, 0]),
            "probability at state 0, action 0, outcome 1 is -1e-07",
        ),
        ((np.ones((2, 1, 2)) / 2, np.ones((2, 1)), [1]), "initial has shape (1,); allowed: (2,)"),
    ],
)
def test_refuses_dense_arrays_that_are_no_model(given, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        from_dense(*given)


@pytest.mark.parametrize(
    "name, settings",
    [
        ("FrozenLake-v1", {}),
        ("FrozenLake-v1", {"map_name": "8x8"}),
        ("FrozenLake-v1", {"is_slippery": False}),
        ("CliffWalking-v1", {}),
        ("CliffWalking-v1", {"is_slippery": True}),
    ],
)
def test_gymnasium_tables_entry_by_entry(name, settings):
    env = gymnasium.make(name, **settings)
    inner, mdp = env.unwrapped, from_gymnasium(env)
    assert (mdp.num_states, mdp.num_actions) == (env.observation_space.n, env.action_space.n)
    np.testing.assert_allclose(mdp.initial, inner.initial_state_distrib, rtol=1e-6)
    for s, a in np.ndindex(mdp.num_states, mdp.num_actions):
        outcomes = inner.P[s][a]
        for k in range(mdp.num_outcomes):
            here = tuple(
                leaf[s, a, k]
                for leaf in (mdp.probability, mdp.next_state, mdp.reward, mdp.terminated)
            )
            assert here == pytest.approx(
                outcomes[k] if k < len(outcomes) else (0, s, 0, False), rel=1e-6
            )


def test_gymnasium_steps_follow_the_model():
    """Played without slipping, the environment itself does what the model says."""
    env = gymnasium.make("CliffWalking-v1", max_episode_steps=10_000)
    mdp, rng = from_gymnasium(env), np.random.default_rng(0)
    state, _ = env.reset(seed=0)
    assert mdp.initial[state] == 1
    for _ in range(200):
        action = int(rng.integers(4))
        following, reward, terminated, _, _ = env.step(action)
        told = (
            mdp.next_state[state, action, 0],
            mdp.reward[state, action, 0],
            mdp.terminated[state, action, 0],
        )
        assert (following, reward, terminated) == told
        state = env.reset()[0] if terminated else following


def test_any_object_with_a_table_will_do():
    table = {
        0: {0: [(0.25, 1, 1.0, True), (0.25, 1, 2.0, False), (0.5, 0, 0.0, False)]},
        1: {0: [(1.0, 1, 0.0, True)]},
    }
    mdp = from_gymnasium(SimpleNamespace(P=table, isd=[1.0, 0.0]))
    assert mdp.probability.tolist() == [[[0.25, 0.25, 0.5]], [[1, 0, 0]]]
    assert mdp.next_state.tolist() == [[[1, 1, 0]], [[1, 1, 1]]]
    assert mdp.reward.tolist() == [[[1, 2, 0]], [[0, 0, 0]]]
    assert mdp.terminated.tolist() == [[[True, False, False]], [[True, False, False]]]


@pytest.mark.parametrize(
    "env, message",
    [
        (
            gymnasium.make("CartPole-v1"),
            "env is CartPoleEnv, which shows no model; allowed: an environment with P and",
        ),
        (
            SimpleNamespace(P={0: {0: [(1.0, 0, 0.0, False)]}}),
            "env is SimpleNamespace, which shows no model",
        ),
        (
            SimpleNamespace(P={1: {0: [(1.0, 1, 0.0, False)]}}, isd=[1.0]),
            "P has states [1]; allowed: 0, ..., 0",
        ),
        (
            SimpleNamespace(P={0: {"left": [(1.0, 0, 0.0, False)]}}, isd=[1.0]),
            "P at state 0 has actions ['left']; allowed: [0]",
        ),
        (
            SimpleNamespace(P={0: {0: [(0.5, 0, 0.0, False)]}}, isd=[1.0]),
            "the sum of probability at state 0, action 0 is 0.5; allowed: 1",
        ),
    ],
)
def test_refuses_environments_without_a_model(env, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        from_gymnasium(env)


@pytest.mark.parametrize("size, branching", [(6, 1), (6, 4), (6, 6), (1, 1)])
def test_garnet_branches_to_distinct_states(size, branching):
    mdp = garnet(key(0, "pcg4d"), size, 3, branching)
    assert mdp.probability.shape == (size, 3, branching)
    assert all(
        len(set(row)) == branching
        for row in np.asarray(mdp.next_state).reshape(-1, branching).tolist()
    )
    assert not mdp.terminated.any()
    FiniteMDP(**vars(mdp))


def test_garnet_draws_what_it_says():
    """Over 40,000 rows: equally likely sets, uniform gaps, standard normal rewards."""
    mdp = jax.vmap(lambda seed: garnet(seed, 4, 5, 2))(jax.random.split(key(1, "pcg4d"), 2000))
    pairs = np.sort(np.asarray(mdp.next_state).reshape(-1, 2))
    _, counts = np.unique(pairs @ [4, 1], return_counts=True)
    assert len(counts) == 6
    spread = 5 * np.sqrt(40_000 * (1 / 6) * (5 / 6))
    np.testing.assert_allclose(counts, 40_000 / 6, atol=spread)
    gaps = np.asarray(mdp.probability)[..., 0].ravel()
    np.testing.assert_allclose(np.quantile(gaps, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.015)
    rewards = np.asarray(mdp.reward).ravel()
    assert abs(rewards.mean()) < 5 / np.sqrt(rewards.size)
    assert abs(rewards.std() - 1) < 5 / np.sqrt(2 * rewards.size)
    assert abs(np.corrcoef(gaps, pairs[:, 0])[0, 1]) < 0.03
    np.testing.assert_array_equal(mdp.initial, jnp.full((2000, 4), 0.25))


def test_garnet_under_transformations():
    build = jax.jit(chex.assert_max_traces(lambda seed: garnet(seed, 8, 2, 3), n=1))
    keys = jax.random.split(key(2, "pcg4d"), 3)
    many = jax.jit(jax.vmap(lambda seed: garnet(seed, 8, 2, 3)))(keys)
    for i in range(3):
        chex.assert_trees_all_close(
            build(keys[i]), jax.tree.map(lambda leaf, i=i: leaf[i], many), atol=1e-6
        )
    assert not np.array_equal(many.reward[0], many.reward[1])


def test_garnet_takes_legacy_keys():
    legacy = jax.random.PRNGKey(7)
    chex.assert_trees_all_equal(
        garnet(legacy, 2, 1, 1), garnet(jax.random.wrap_key_data(legacy), 2, 1, 1)
    )


def test_garnet_of_a_million_states():
    mdp = garnet(key(3, "pcg4d"), 1_000_000, 1, 3)
    ascending = np.sort(np.asarray(mdp.next_state), axis=-1)
    assert (np.diff(ascending, axis=-1) > 0).all()
    assert ascending.min() < 5 and ascending.max() > 999_994


@pytest.mark.parametrize(
    "sizes, message",
    [
        ((0, 2, 1), "num_states is 0 and num_actions is 2; allowed: 1 or more"),
        ((3, 0, 1), "num_states is 3 and num_actions is 0; allowed: 1 or more"),
        ((3, 2, 0), "branching is 0; allowed: an integer in [1, 3]"),
        ((3, 2, 4), "branching is 4; allowed: an integer in [1, 3]"),
    ],
)
def test_garnet_refuses_impossible_sizes(sizes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        garnet(key(0, "pcg4d"), *sizes)


# Actions that are not available.


def textbook():
    """Three states: two actions, one, and an end without any."""
    transition = [[[0.5, 0.5, 0], [0, 0, 1]], [[0, 0, 1]], []]
    return from_dense(transition, [[1, 2], [4], []], [1, 0, 0])


def test_rows_may_be_ragged_and_empty():
    model = textbook()
    assert model.available.tolist() == [[True, True], [True, False], [True, True]]
    assert model.terminated.tolist() == [
        [[False, False], [True, False]],
        [[True, False], [False, False]],
        [[True, True], [True, True]],
    ]
    # v1 = 4; going on from state 0 is worth 1 + 0.5 (v0 + 4) / 2, stopping 2.
    solution = purerl.mdp.value_iteration(model, 0.5)
    np.testing.assert_allclose(solution.values, [8 / 3, 4, 0], rtol=1e-6)
    assert solution.q[1, 1] == -np.inf
    zeros = np.zeros((3, 2, 3))
    zeros[0], zeros[1, 0] = [[0.5, 0.5, 0], [0, 0, 1]], [0, 0, 1]
    as_array = from_dense(zeros, [[1, 2], [4, 0], [0, 0]], [1, 0, 0])
    chex.assert_trees_all_equal(as_array, model)
    rounded = zeros + np.where(zeros > 0, 0, 0)
    rounded[0, 1, 0] = -1e-10
    assert from_dense(rounded, [[1, 2], [4, 0], [0, 0]], [1, 0, 0]).probability.min() == 0


def test_sparse_matrices_are_the_dense_ones():
    rng = np.random.default_rng(0)
    dense = rng.dirichlet(np.ones(5) * 0.3, (5, 3)) * (rng.random((5, 3, 5)) < 0.7)
    dense[2] = 0
    dense[3, 1] = 0
    dense /= np.maximum(dense.sum(axis=-1, keepdims=True), 1e-12)
    rewards = rng.normal(size=(5, 3, 5))
    sparse = [csr_array(dense[:, action]) for action in range(3)]
    paid = [csr_array(rewards[:, action]) for action in range(3)]
    for of_sparse, of_dense in ((paid, rewards), (rewards[..., 0], rewards[..., 0])):
        found = from_dense(sparse, of_sparse, np.eye(5)[0])
        expected = from_dense(dense, of_dense, np.eye(5)[0])
        # Padding may differ, in which state it names.
        padding = found.probability == 0
        assert (padding == (expected.probability == 0)).all()
        named = [
            model.replace(next_state=jnp.where(padding, 0, model.next_state))
            for model in (found, expected)
        ]
        chex.assert_trees_all_equal(*named)


def test_gymnasium_tables_may_lack_actions():
    table = {
        0: {0: [(1.0, 1, 1.0, False)], 1: [(1.0, 2, 0.0, False)]},
        1: {1: [(0.5, 0, 0.0, False), (0.5, 2, 3.0, False)], 0: []},
        2: {},
    }
    model = from_gymnasium(SimpleNamespace(P=table, isd=[1.0, 0.0, 0.0]))
    assert model.available.tolist() == [[True, True], [False, True], [True, True]]
    assert model.terminated[0].tolist() == [[False, False], [True, False]]
    np.testing.assert_allclose(purerl.mdp.value_iteration(model, 0.9).values[2], 0)


def test_taxis_mask_is_gymnasiums():
    model = purerl.envs.taxi(mask_actions=True).mdp
    theirs = gymnasium.make("Taxi-v4").unwrapped
    masks = np.array([theirs.action_mask(state) for state in range(500)], bool)
    np.testing.assert_array_equal(model.available, masks)


# Solvers leave them out: as in a model that has them not at all.


def without(model):
    """A model in which the action that is not available is a copy of one that is."""
    best = np.asarray(model.available).argmax(axis=1)
    rows = np.where(model.available, np.arange(model.num_actions), best[:, None])
    states = np.arange(model.num_states)[:, None]
    tables = {
        name: np.asarray(getattr(model, name))[states, rows]
        for name in ("probability", "next_state", "reward", "terminated")
    }
    return FiniteMDP(**tables, initial=model.initial)


def masked_model(seed):
    rng = np.random.default_rng(seed)
    model = garnet(purerl.random.key(seed), 6, 3, 2)
    available = rng.random((6, 3)) < 0.6
    available[np.arange(6), rng.integers(3, size=6)] = True
    # What is not available would be the best.
    reward = np.where(available[..., None], model.reward, 100)
    return model.replace(available=available, reward=reward)


@given(SEEDS)
def test_solvers_never_choose_what_is_not_available(seed):
    model = masked_model(seed)
    other = without(model)
    states = np.arange(6)
    for solve in (
        purerl.mdp.value_iteration,
        purerl.mdp.modified_policy_iteration,
        purerl.mdp.policy_iteration,
        purerl.mdp.solve,
    ):
        solution = solve(model, 0.9)
        np.testing.assert_allclose(solution.values, solve(other, 0.9).values, atol=1e-4)
        assert model.available[states, solution.policy].all()
        assert (np.isneginf(solution.q) == ~np.asarray(model.available)).all()
    program = purerl.mdp.linear_program(model, 0.9)
    np.testing.assert_allclose(program.values, solution.values, atol=1e-4)
    gain = purerl.mdp.optimal_average_reward(model)
    again = purerl.mdp.optimal_average_reward(other)
    np.testing.assert_allclose(gain.gains, again.gains, atol=1e-4)
    assert model.available[states, gain.policy].all()
    soft = purerl.mdp.soft_optimal(model, 0.9, 0.5)
    assert (soft.policy[~np.asarray(model.available)] == 0).all()
    np.testing.assert_allclose(soft.policy.sum(axis=1), 1, rtol=1e-5)
    near = purerl.mdp.epsilon_soft_optimal(model, 0.9, 0.3)
    count = np.sum(model.available, axis=1, keepdims=True)
    assert (near.policy >= np.where(model.available, 0.3 / count, 0) - 1e-6).all()
    found = purerl.mdp.evaluate_policy(model, near.policy, 0.9)
    np.testing.assert_allclose(found.values, near.values, atol=1e-3)


def test_policies_may_not_choose_it_either():
    model = textbook()
    for policy in ([0, 1, 0], np.full((3, 2), 0.5)):
        with pytest.raises(ValueError, match=r"policy at state 1.* an available action"):
            purerl.mdp.evaluate_policy(model, policy, 0.5)
    with pytest.raises(ValueError, match=r"any\(available\) at state 1 is False"):
        model.replace(available=[[True, True], [False, False], [True, True]])
