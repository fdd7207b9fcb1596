"""Optima of soft policies, models unrolled in time, expected visits."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purerl
import purerl.random
from purerl import mdp

GARNETS = [mdp.garnet(purerl.random.key(i, "pcg4d"), 4, 3, 2) for i in range(3)]
DISCOUNT = 0.8


def mixed(policy, epsilon, actions=3):
    return epsilon / actions + (1 - epsilon) * np.eye(actions, dtype=np.float32)[list(policy)]


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("model", GARNETS)
def test_no_epsilon_soft_policy_is_better(model, epsilon):
    """The best one is a mixture with one of 81 deterministic policies."""
    values = [
        np.asarray(mdp.evaluate_policy(model, mixed(policy, epsilon), DISCOUNT).values)
        for policy in itertools.product(range(3), repeat=4)
    ]
    found = mdp.epsilon_soft_optimal(model, DISCOUNT, epsilon)
    np.testing.assert_allclose(found.values, np.max(values, axis=0), atol=1e-5)
    np.testing.assert_allclose(
        mdp.evaluate_policy(model, found.policy, DISCOUNT).values, found.values, atol=1e-5
    )
    assert (
        np.abs(np.asarray(found.values) - np.max(values, axis=0)).max()
        <= 2 * found.error_bound
        < 1e-4
    )


def test_without_epsilon_it_is_the_optimum_bit_for_bit():
    exact = mdp.value_iteration(GARNETS[0], DISCOUNT)
    np.testing.assert_array_equal(mdp.epsilon_soft_optimal(GARNETS[0], DISCOUNT, 0.0).q, exact.q)


@pytest.mark.parametrize("temperature", [0.01, 0.5, 10.0])
@pytest.mark.parametrize("model", GARNETS)
def test_the_soft_optimum_satisfies_its_equations(model, temperature):
    found = mdp.soft_optimal(model, DISCOUNT, temperature)
    q, values, policy = (np.asarray(x, np.float64) for x in (found.q, found.values, found.policy))
    shift = q.max(axis=1)
    soft = shift + temperature * np.log(np.exp((q - shift[:, None]) / temperature).sum(axis=1))
    np.testing.assert_allclose(values, soft, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(policy.sum(axis=1), 1, rtol=1e-6)
    # The value of the policy in the model whose rewards include its entropy:
    # independent of any logarithm of a sum.
    entropy = -np.sum(policy * np.log(np.maximum(policy, 1e-30)), axis=1)
    dense = np.einsum("sa,sab->sb", policy, dense_of(model))
    reward = (policy * np.asarray((model.probability * model.reward).sum(-1))).sum(
        axis=1
    ) + temperature * entropy
    np.testing.assert_allclose(
        values, np.linalg.solve(np.eye(4) - DISCOUNT * dense, reward), rtol=1e-4, atol=1e-4
    )
    best = np.asarray(mdp.value_iteration(model, DISCOUNT).values)
    excess = temperature * np.log(3) / (1 - DISCOUNT)
    assert (values >= best - 1e-4).all() and (values <= best + excess + 1e-4).all()
    assert found.error_bound < 1e-3 * (1 + excess)


def dense_of(model):
    dense = np.zeros((model.num_states, model.num_actions, model.num_states))
    for s, a, k in np.ndindex(*model.probability.shape):
        dense[s, a, model.next_state[s, a, k]] += model.probability[s, a, k] * (
            not model.terminated[s, a, k]
        )
    return dense


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda m: mdp.epsilon_soft_optimal(m, 0.5, 1.5),
            r"epsilon is 1.5; allowed: a number in \[0, 1\]",
        ),
        (lambda m: mdp.epsilon_soft_optimal(m, 0.5, jnp.float32(-1)), "epsilon is -1.0"),
        (
            lambda m: mdp.soft_optimal(m, 0.5, 0.0),
            "temperature is 0.0; allowed: a finite number above 0",
        ),
        (lambda m: mdp.soft_optimal(m, 1.5, 1.0), "discount is 1.5"),
        (lambda m: mdp.time_expanded(m, 0), "horizon is 0; allowed: 1 or more"),
        (lambda m: mdp.expected_visits(m, np.zeros(3, int)), "policy has"),
        (lambda m: mdp.linear_program(m, 2.0), "discount is 2.0"),
        (lambda m: mdp.linear_program(m, 1.0), "no finite optimum"),
        (
            lambda m: mdp.td_fixed_point(m, np.eye(4), np.zeros(4, int), np.ones(4), 0.5, 2.0),
            "lambda_ is 2.0",
        ),
    ],
)
def test_wrong_numbers_are_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call(GARNETS[0])


@pytest.mark.parametrize("discount", [0.9, 1.0])
@pytest.mark.parametrize("name", ["FrozenLake-v1", "CliffWalking-v1", "RiverSwim-v0"])
def test_time_in_the_state_gives_the_finite_horizon(name, discount):
    model, horizon = purerl.make(name).mdp, 7
    unrolled = mdp.time_expanded(model, horizon)
    values = np.asarray(mdp.value_iteration(unrolled, discount).values).reshape(horizon, -1)
    for h in range(horizon):
        np.testing.assert_allclose(
            values[h], mdp.finite_horizon(model, horizon - h, discount), rtol=1e-6, atol=1e-6
        )
    assert unrolled.initial[: model.num_states].sum() == pytest.approx(1)


@pytest.mark.parametrize("name", ["FrozenLake-v1", "Blackjack-v1"])
def test_expected_visits_weigh_rewards_to_the_return(name):
    model = purerl.make(name).mdp
    policy = np.full((model.num_states, model.num_actions), 1 / model.num_actions, np.float32)
    reward = (policy * np.asarray((model.probability * model.reward).sum(-1))).sum(axis=1)
    for exact in (2048, 0):
        counts = mdp.expected_visits(model, policy, max_exact_states=exact)
        np.testing.assert_allclose(
            counts @ reward, mdp.expected_return(model, policy, 1.0), rtol=1e-4, atol=1e-6
        )
    np.testing.assert_allclose(
        mdp.occupancy(model, policy, 0.9), 0.1 * mdp.expected_visits(model, policy, 0.9), rtol=1e-5
    )


def test_visits_of_a_walk_by_hand():
    """From the middle of five states: 3 visits there, 2 and 1 on either side."""
    counts = mdp.expected_visits(purerl.make("RandomWalk5-v0").mdp, np.zeros(7, int))
    np.testing.assert_allclose(counts, [0, 1, 2, 3, 2, 1, 0], rtol=1e-5)


@pytest.mark.parametrize("discount", [0.5, 0.95])
@pytest.mark.parametrize("model", GARNETS)
def test_three_ways_to_the_optimum(model, discount):
    program = mdp.linear_program(model, discount)
    iterated, improved = mdp.value_iteration(model, discount), mdp.policy_iteration(model, discount)
    np.testing.assert_allclose(program.values, iterated.values, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(program.values, improved.values, rtol=1e-5, atol=1e-5)
    assert program.policy.tolist() == improved.policy.tolist()
    # The dual: occupancies from uniform starts.
    flow = mdp.expected_visits(model.replace(initial=np.full(4, 0.25)), program.policy, discount)
    np.testing.assert_allclose(program.occupancy.sum(axis=1), flow, rtol=1e-4)


@pytest.mark.parametrize(("name", "optimum"), [("CliffWalking-v1", -13), ("Taxi-v3", 7.93)])
def test_the_linear_program_of_known_problems(name, optimum):
    env = purerl.make(name)
    if name == "Taxi-v3":
        # Discounted, because some policies lose without end in Taxi.
        values = mdp.linear_program(env.mdp, 0.999).values
        np.testing.assert_allclose(
            values, mdp.value_iteration(env.mdp, 0.999).values, rtol=1e-4, atol=1e-3
        )
    else:
        assert mdp.linear_program(env.mdp, 1.0).values @ np.asarray(
            env.mdp.initial
        ) == pytest.approx(optimum)


def test_linear_values_by_hand():
    """Values of Boyan's chain are linear in its features, for all weights and lambda.

    With one-hot features any values are.
    """
    env = purerl.make("BoyanChain-v0")
    policy, rng = np.zeros(13, int), np.random.default_rng(0)
    for lambda_ in (0.0, 0.6, 1.0):
        weights = rng.uniform(0.1, 1, 13) * (np.arange(13) > 0)
        found = mdp.td_fixed_point(env.mdp, env.features, policy, weights, 1.0, lambda_)
        np.testing.assert_allclose(found[:3], [-24, -16, -8], rtol=1e-3)
    model = GARNETS[1]
    policy = rng.dirichlet(np.ones(3), 4).astype(np.float32)
    found = mdp.td_fixed_point(model, np.eye(4), policy, rng.uniform(0.1, 1, 4), DISCOUNT, 0.4)
    np.testing.assert_allclose(
        found, mdp.evaluate_policy(model, policy, DISCOUNT).values, rtol=1e-4, atol=1e-5
    )


def test_the_fixed_point_is_where_expected_updates_stand_still():
    model, rng = GARNETS[2], np.random.default_rng(1)
    features, weights = (
        rng.normal(size=(4, 2)).astype(np.float32),
        rng.uniform(0.1, 1, 4).astype(np.float32),
    )
    policy = rng.dirichlet(np.ones(3), 4).astype(np.float32)
    w = np.asarray(mdp.td_fixed_point(model, features, policy, weights, DISCOUNT))
    target = (policy * np.asarray(mdp.backup(model, jnp.asarray(features @ w), DISCOUNT))).sum(
        axis=1
    )
    np.testing.assert_allclose(features.T @ (weights * (target - features @ w)), 0, atol=1e-5)
    # lambda = 1 is the best approximation of the values under the weights.
    values = np.asarray(mdp.evaluate_policy(model, policy, DISCOUNT).values)
    best = np.linalg.lstsq(
        features * np.sqrt(weights)[:, None], values * np.sqrt(weights), rcond=None
    )[0]
    found = mdp.td_fixed_point(model, features, policy, weights, DISCOUNT, 1.0)
    np.testing.assert_allclose(found, best, rtol=1e-3, atol=1e-4)


def test_emphasis_is_a_sum_over_the_past():
    model, rng = GARNETS[0], np.random.default_rng(2)
    policy = rng.dirichlet(np.ones(3), 4).astype(np.float32)
    weights = rng.uniform(0.1, 1, 4).astype(np.float32)
    matrix = np.einsum("sa,sab->sb", policy, dense_of(model))
    followed, flow = np.zeros(4), weights.astype(float)
    for _ in range(400):
        followed, flow = followed + flow, 0.9 * flow @ matrix
    for lambda_ in (0.0, 0.3):
        found = mdp.emphasis(model, policy, weights, 0.9, lambda_)
        np.testing.assert_allclose(found, lambda_ * weights + (1 - lambda_) * followed, rtol=1e-4)


def test_models_and_numbers_side_by_side():
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *GARNETS)
    epsilons = jnp.array([0.1, 0.5, 0.9])
    together = jax.vmap(
        lambda model, epsilon: mdp.epsilon_soft_optimal(model, DISCOUNT, epsilon).values
    )(stacked, epsilons)
    for i, model in enumerate(GARNETS):
        np.testing.assert_allclose(
            together[i], mdp.epsilon_soft_optimal(model, DISCOUNT, epsilons[i]).values, atol=1e-5
        )
