"""Ascent of the exact gradient: its rate on the 2x3 grid, and what it converges to."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purerl
import purerl.random
from purerl import envs, mdp, schedule
from purerl.networks import MLP
from purerl.run.evaluation import Exact, default
from tests import quick

GRID = purerl.make("Grid2x3-v0")
DISCOUNT = 0.9
NETWORK = MLP((32,), activation=jnp.tanh)
KEY = purerl.random.key(0)


def agent(env=GRID, **fields):
    return purerl.ExactPolicyGradient(env=env, **{"discount": DISCOUNT} | fields)


def regrets(agent, num_steps, points, key=KEY):
    train = functools.partial(purerl.train, agent, num_steps=num_steps, points=points)
    curves = quick.optimizing_jit(functools.partial(train, evaluation=Exact()))(key)[1]
    return np.asarray(curves["policy_regret"], np.float64)


def slope(regret, per_point=100):
    """Of a line through the logarithms of regret and steps."""
    steps = per_point * np.arange(1, len(regret) + 1)
    return np.polyfit(np.log(steps), np.log(regret), 1)[0]


def uniform(env):
    return np.full((env.num_states, env.num_actions), 1 / env.num_actions, np.float32)


def test_the_ends_of_the_scale():
    optimum = mdp.solve(GRID.mdp, DISCOUNT).values @ GRID.mdp.initial
    assert optimum == pytest.approx(-0.1 - 0.09 + 0.81, abs=1e-6)  # three moves
    found = mdp.expected_return(GRID.mdp, uniform(GRID), DISCOUNT)
    assert found == pytest.approx(-0.639, abs=1e-3)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_the_regret_of_a_network_shrinks_as_one_over_t(seed):
    """Against measurements of another program: 2e-3, 1.5e-4 and 1.2e-5 at 100, 1,000
    and 10,000 steps, for which theory gives the slope -1 (Mei et al. 2020)."""
    found = regrets(agent(network=NETWORK), 10_000, 100, purerl.random.seed_key(0, seed))
    assert -1.3 <= slope(found) <= -0.9
    for point, known in ((0, 2e-3), (9, 1.5e-4), (99, 1.2e-5)):
        assert 0.7 < found[point] / known < 1.3


def test_the_regret_of_a_table_shrinks_as_one_over_t():
    assert -1.1 <= slope(regrets(agent(), 10_000, 100)) <= -0.9


def test_the_regret_of_a_natural_table_shrinks_geometrically():
    """By exp(-rate * gap / (1 - discount)) a step in the end, where the smallest gap on
    the way to the goal is that between going on from the start and staying there."""
    found = regrets(agent(natural=True, learning_rate=0.1), 100, 100)
    gap = 0.62 - (-0.1 + 0.9 * 0.62)
    factor = found[38:40] / found[37:39]
    np.testing.assert_allclose(factor, np.exp(-0.1 * gap / (1 - DISCOUNT)), rtol=0.01)
    assert abs(found[-1]) < 3e-7


@pytest.mark.slow
def test_natural_gradients_of_a_network_are_ahead():
    plain = regrets(agent(network=NETWORK), 1000, 10)
    natural = regrets(agent(network=NETWORK, natural=True, learning_rate=0.1), 1000, 10)
    assert (natural[1:] < plain[1:] / 10).all()


class WithoutVisits(purerl.ExactPolicyGradient):
    """Wrong: every state counts alike."""

    def direction(self, params):
        found = mdp.policy_gradient(self.env.mdp, params, self.discount)
        return found.policy * found.advantage


class WithoutProbabilities(purerl.ExactPolicyGradient):
    """Wrong: the probabilities of actions are missing."""

    def direction(self, params):
        found = mdp.policy_gradient(self.env.mdp, params, self.discount)
        return found.visits[:, None] * found.advantage


class Undiscounted(purerl.ExactPolicyGradient):
    """Wrong: visits are not discounted, as in most implementations."""

    def direction(self, params):
        found = mdp.policy_gradient(self.env.mdp, params, self.discount)
        visits = mdp.expected_visits(self.env.mdp, found.policy, 1.0)
        return visits[:, None] * found.policy * found.advantage


def one_step(kind, rate=1e-2):
    """What one step gains, by the exact evaluation, from the uniform policy."""
    made = kind(env=GRID, discount=DISCOUNT, learning_rate=rate)
    state = made.init(KEY)
    measures = [
        Exact()(made, made.snapshot(x), KEY, Exact().prepare(made))["policy_value"]
        for x in (state, made.step(state, jnp.int32(0))[0])
    ]
    return float(measures[1] - measures[0]), made.direction(state.params)


def test_a_small_step_gains_the_square_of_the_gradient():
    """And steps along wrong directions do not."""
    gain, gradient = one_step(purerl.ExactPolicyGradient)
    assert gain == pytest.approx(1e-2 * float(jnp.sum(gradient**2)), rel=0.02)
    for wrong in (WithoutVisits, WithoutProbabilities, Undiscounted):
        gain, direction = one_step(wrong)
        assert abs(gain / (1e-2 * float(jnp.sum(direction**2))) - 1) > 0.1


@pytest.mark.slow
def test_without_the_probabilities_the_rate_is_another():
    """That direction is nearly the natural one."""
    wrong = WithoutProbabilities(env=GRID, discount=DISCOUNT)
    assert regrets(wrong, 1000, 10)[4] < 1e-6 < regrets(agent(), 1000, 10)[4] / 1000


@pytest.mark.parametrize("network", [None, MLP((8,))], ids=["table", "network"])
@pytest.mark.parametrize("natural", [False, True])
def test_steps_are_those_of_the_exact_functions(network, natural):
    """And nothing else: on a lake where most outcomes are random, by hand."""
    env = purerl.make("FrozenLake-v1")
    rate = schedule.linear(0.5, 0.1, 10)
    made = agent(env, network=network, natural=natural, learning_rate=rate, damping=0.01)
    state = quick.jit(made.init)(KEY)
    after, metrics = quick.jit(made.step)(state, jnp.int32(5))
    assert metrics == {}
    states = jnp.arange(16, dtype=jnp.int32)
    if network is None:
        assert not state.params.any()
        natural_of, plain = mdp.natural_policy_gradient, mdp.policy_gradient
        found = natural_of if natural else lambda *args: plain(*args).gradient
        direction = found(env.mdp, state.params, DISCOUNT)
    else:
        fitted = network.clone(num_outputs=4, num_states=16, observation_ndim=0)
        arguments = env.mdp, fitted.apply, state.params, states, DISCOUNT
        if natural:
            direction = mdp.natural_parameter_gradient(*arguments, 0.01)
        else:
            direction = mdp.parameter_gradient(*arguments)
    expected = jax.tree.map(lambda x, d: x + 0.3 * d, state.params, direction)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6), after.params, expected
    )
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), after.params, state.params)
    assert max(jax.tree.leaves(moved)) > 1e-4


def test_evaluations_judge_the_stochastic_policy():
    """Not the greedy one, which is optimal long before."""
    made = agent(learning_rate=1.0)
    assert default(made) == Exact()
    state, curves = purerl.train(made, KEY, 100, points=1, evaluation=Exact())
    cells = jnp.arange(6, dtype=jnp.int32)
    pi = jax.vmap(made.probabilities, (None, 0))(made.snapshot(state), cells)
    np.testing.assert_allclose(pi, jax.nn.softmax(state.params), rtol=1e-6)
    optimum = mdp.solve(GRID.mdp, DISCOUNT).values @ GRID.mdp.initial
    stochastic = mdp.expected_return(GRID.mdp, pi, DISCOUNT)
    greedy = mdp.expected_return(GRID.mdp, mdp.greedy(pi), DISCOUNT)
    assert curves.keys() == {"policy_value", "policy_regret"}
    np.testing.assert_allclose(curves["policy_value"][0], stochastic, rtol=1e-6)
    np.testing.assert_allclose(curves["policy_regret"][0], optimum - stochastic, atol=1e-6)
    np.testing.assert_allclose(greedy, optimum, atol=1e-6)
    assert optimum - stochastic > 0.01


def test_actions_are_drawn_from_the_policy():
    made = agent()
    params = jnp.zeros((6, 4)).at[2].set(jnp.log(jnp.array([0.1, 0.2, 0.3, 0.4])))
    snapshot = made.snapshot(made.init(KEY)._replace(params=params))
    keys = jax.random.split(KEY, 4000)
    drawn = quick.jit(jax.vmap(made.act, (None, 0, None)))(snapshot, keys, jnp.int32(2))
    frequencies = np.bincount(drawn, minlength=4) / len(keys)
    np.testing.assert_allclose(frequencies, [0.1, 0.2, 0.3, 0.4], atol=0.03)


def test_what_is_observed_otherwise_than_by_index():
    """One-hot vectors are what a network makes of the index."""
    by_index = agent(network=NETWORK)
    by_vector = agent(envs.OneHot(GRID, 6), network=NETWORK)
    state = by_index.init(KEY)
    for made in (by_index, by_vector):
        assert jax.tree.structure(made.init(KEY)) == jax.tree.structure(state)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
        by_index.step(state, jnp.int32(0))[0],
        by_vector.step(state, jnp.int32(0))[0],
    )


@pytest.mark.slow
def test_a_sweep_over_learning_rates_is_one_program():
    made = agent(network=MLP((8,)))
    over = {"learning_rate": [0.1, 1.0], "discount": [0.5, 0.9]}
    result = purerl.sweep(made, 2, over, num_steps=20, points=2, progress=False)
    assert not result.failures and result.final["policy_regret"].shape == (4, 2)
    alone = purerl.sweep(
        made.replace(learning_rate=1.0, discount=0.5), 2, num_steps=20, points=2, progress=False
    )
    at = result.configurations.index({"learning_rate": 1.0, "discount": 0.5})
    np.testing.assert_allclose(
        result.final["policy_value"][at], alone.final["policy_value"][0], rtol=1e-5
    )


class Pair(nn.Module):
    @nn.compact
    def __call__(self, observation):
        return nn.Dense(3)(jax.nn.one_hot(observation, 6))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: agent(purerl.make("CartPole-v1")), r"env is .*; allowed: .* exact model, env.mdp"),
        (lambda: agent(envs.OneHot(GRID, 6)), "env is .*observes the index"),
        (lambda: agent(learning_rate=-1.0), "learning_rate is -1.0; allowed: a finite number"),
        (lambda: agent(discount=1.5), r"discount is 1.5; allowed: a number in \[0, 1\]"),
        (lambda: agent(discount=schedule.constant(0.5)), "discount is .*; allowed: a number"),
        (lambda: agent(discount=1.0, natural=True), r"discount is 1.0; .* in \[0, 1\)"),
        (lambda: agent(damping=0.0), "damping is 0.0; allowed: a finite number above 0"),
        (lambda: agent(natural=1), "natural is 1; allowed: False, True"),
        (lambda: agent(network=(32,)), "network is .*; allowed: a flax module"),
        (lambda: agent(network=Pair()), r"network is Pair, which gives \(3,\); .* 4 numbers"),
    ],
)
def test_wrong_fields_are_refused(make, says):
    with pytest.raises(ValueError, match=f"ExactPolicyGradient: {says}"):
        make()
