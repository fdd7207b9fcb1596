"""Where methods coincide: on any table, any transition, any step size and discount."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import purerl.random
from purerl import agents, mdp, policy
from purerl.envs import FiniteEnvironment
from purerl.envs.base import Transition

MODEL = mdp.garnet(purerl.random.key(0, "pcg4d"), 5, 3, 2)
ENV = FiniteEnvironment.of(MODEL)
CASES = {
    "1-step sarsa is sarsa": (agents.NStepSARSA(env=ENV, n=1), agents.SARSA(env=ENV)),
    "1-step tree backup is expected sarsa": (agents.TreeBackup(env=ENV, n=1), agents.ExpectedSARSA(env=ENV)),
    "expected sarsa of the greedy policy is q-learning": (
        agents.ExpectedSARSA(env=ENV, target=policy.Greedy()),
        agents.QLearning(env=ENV),
    ),
    **{
        f"sarsa(0) is sarsa, {kind}": (agents.SARSALambda(env=ENV, lambda_=0.0, trace=kind), agents.SARSA(env=ENV))
        for kind in agents.TRACES
    },
    **{
        f"q(0) is q-learning, {kind}": (agents.QLambda(env=ENV, lambda_=0.0, trace=kind), agents.QLearning(env=ENV))
        for kind in agents.TRACES
    },
}


@functools.cache
def learner(name):
    """Both tables after a transition."""

    def run(seed, alpha, discount, terminated, truncated):
        table_key, step_key, learn_key = jax.random.split(purerl.random.seed_key(0, seed, "pcg4d"), 3)
        q = jax.random.normal(table_key, (5, 3))
        s, a, r, s2 = jax.random.randint(step_key, (4,), 0, jnp.array([5, 3, 9, 5]))
        transition = Transition(s, a, r / 3 - 1.0, terminated, truncated, s2)

        def after(agent):
            agent = agent.replace(learning_rate=alpha, discount=discount)
            state = agent.start(learn_key, s2)
            return agent.learn(learn_key, state._replace(q=q), transition, jnp.int32(0)).q

        return q, *(after(agent) for agent in CASES[name])

    return jax.jit(run)


UNIT = st.floats(0, 1, width=32)


@pytest.mark.parametrize("name", CASES)
@given(case=st.tuples(st.integers(0, 2**16), UNIT, UNIT, st.booleans(), st.booleans()))
def test_methods_coincide(name, case):
    before, one, other = learner(name)(*case)
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    assert np.count_nonzero(one != before) <= 1


@given(st.integers(0, 2**16), UNIT, UNIT, st.booleans())
def test_double_q_learning_of_equal_tables_is_q_learning(seed, alpha, discount, terminated):
    before, double, single = doubled()(seed, alpha, discount, terminated)
    moved = np.abs(np.asarray(double) - np.asarray(before)).max(axis=(1, 2))
    assert np.count_nonzero(moved) <= 1
    np.testing.assert_allclose(double[np.argmax(moved)], single, rtol=1e-5, atol=1e-5)


@functools.cache
def doubled():
    def run(seed, alpha, discount, terminated):
        table_key, step_key, learn_key = jax.random.split(purerl.random.seed_key(1, seed, "pcg4d"), 3)
        q = jax.random.normal(table_key, (5, 3))
        s, a, r, s2 = jax.random.randint(step_key, (4,), 0, jnp.array([5, 3, 9, 5]))
        transition = Transition(s, a, r / 3 - 1.0, terminated, False, s2)
        fields = {"env": ENV, "learning_rate": alpha, "discount": discount}
        double, single = agents.DoubleQLearning(**fields), agents.QLearning(**fields)
        state = double.start(learn_key, s2)._replace(q=jnp.stack([q, q]))
        after = double.learn(learn_key, state, transition, jnp.int32(0)).q
        return q, after, single.learn(learn_key, single.start(learn_key, s2)._replace(q=q), transition, jnp.int32(0)).q

    return jax.jit(run)


def test_true_online_sarsa_with_lambda_one_is_every_visit_monte_carlo():
    """At the end of each episode, fed with the same experience of a fixed policy."""
    ends = jax.random.bernoulli(purerl.random.key(1, "pcg4d"), 0.2, MODEL.terminated.shape)
    env = FiniteEnvironment.of(MODEL.replace(terminated=ends))
    data = agents.collect(env, policy.EpsilonGreedy(1.0), purerl.random.key(2, "pcg4d"), 400)
    fields = {"env": env, "learning_rate": 0.1, "discount": 0.9, "behaviour": policy.EpsilonGreedy(1.0)}
    traces = Fed(lambda_=1.0, trace="dutch", following=jnp.roll(data.action, -1), **fields)
    returns = agents.MonteCarlo(visit="every", count_visits=False, **fields)

    def run(agent):
        def step(state, x):
            state = agent.learn(state.key, state, *x)
            return state, state.q

        start = agent.start(purerl.random.key(3, "pcg4d"), jnp.int32(0))
        return jax.lax.scan(step, start, (data, jnp.arange(400, dtype=jnp.int32)))[1]

    one, other = jax.jit(lambda: (run(traces), run(returns)))()
    at_ends = np.flatnonzero(data.terminated)
    assert len(at_ends) > 30
    np.testing.assert_allclose(np.asarray(one)[at_ends], np.asarray(other)[at_ends], rtol=1e-3, atol=1e-3)


class Given(policy.Policy):
    """Draws the actions that were taken."""

    actions: jax.Array

    def sample(self, key, seen):
        return self.actions[seen.t]


class Fed(agents.SARSALambda):
    """Sarsa that is told what comes next."""

    following: jax.Array | None = None

    @property
    def acts_by(self):
        return Given(self.following)


@given(st.permutations(range(5)))
def test_the_names_of_states_do_not_matter(order):
    order = np.array(order)
    place = np.argsort(order)  # state s is now called place[s]
    renamed = mdp.FiniteMDP(
        probability=MODEL.probability[order],
        next_state=jnp.asarray(place)[MODEL.next_state[order]],
        reward=MODEL.reward[order],
        terminated=MODEL.terminated[order],
        initial=MODEL.initial[order],
    )
    np.testing.assert_allclose(mdp.optimal_q(renamed, 0.9), np.asarray(mdp.optimal_q(MODEL, 0.9))[order], rtol=1e-5, atol=1e-4)
    bias, other = (mdp.optimal_average_reward(m).q.max(axis=1) for m in (MODEL, renamed))
    np.testing.assert_allclose(other - other.mean(), (bias - bias.mean())[order], atol=1e-3)


@given(st.integers(0, 2**16), UNIT)
def test_the_backup_contracts_by_the_discount(seed, discount):
    u, v = np.random.default_rng(seed).normal(size=(2, 5)).astype(np.float32)
    apart = np.abs(u - v).max()
    one, other = (np.asarray(backup(x, discount)).max(axis=1) for x in (u, v))
    assert np.abs(one - other).max() <= discount * apart + 1e-5


@jax.jit
def backup(values, discount):
    return mdp.backup(MODEL, values, discount)


@given(st.integers(0, 2**16), st.floats(0, 0.9375, width=32))
def test_the_value_of_a_policy_satisfies_its_bellman_equation(seed, discount):
    pi = np.random.default_rng(seed).dirichlet(np.ones(3), size=5).astype(np.float32)
    values = np.asarray(mdp.evaluate_policy(MODEL, pi, discount).values)
    again = (pi * np.asarray(backup(values, discount))).sum(axis=1)
    np.testing.assert_allclose(values, again, rtol=1e-4, atol=1e-4)
