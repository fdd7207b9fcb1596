"""Learning from a fixed data set."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import purerl.random
from purerl import agents, mdp, policy, schedule
from purerl.agents import Offline, collect
from purerl.envs import FiniteEnvironment, TimeLimit
from purerl.run import evaluation, training
from tests import quick

S, A, DISCOUNT = 5, 2, 0.8
UNIFORM = policy.EpsilonGreedy(1.0)


@functools.cache
def model_and_env(seed, outcomes, ending=0.1):
    @quick.jit
    def build(key, ends_key):
        model = mdp.garnet(key, S, A, outcomes)
        ends = jax.random.bernoulli(ends_key, ending, model.terminated.shape)
        return model.replace(terminated=ends)

    model = build(*(purerl.random.key(seed + i, "pcg4d") for i in (0, 1)))
    return model, TimeLimit(FiniteEnvironment.of(model), 20)


def empirical(data):
    """The model that has the data's frequencies; by hand."""
    p, r = np.zeros((S, A, 2 * S)), np.zeros((S, A, 2 * S))
    for s, a, reward, terminated, next_state in zip(
        *map(
            np.asarray,
            (data.observation, data.action, data.reward, data.terminated, data.next_observation),
        ),
        strict=True,
    ):
        outcome = next_state + S * terminated
        p[s, a, outcome] += 1
        r[s, a, outcome] += reward
    r /= np.maximum(p, 1)
    assert (p.sum(axis=-1) > 0).all()
    next_state = np.broadcast_to(np.tile(np.arange(S), 2), p.shape)
    terminated = np.broadcast_to(np.arange(2 * S) >= S, p.shape)
    return mdp.FiniteMDP(p / p.sum(axis=-1, keepdims=True), next_state, r, terminated, np.eye(S)[0])


def test_collected_transitions_follow_each_other():
    model, env = model_and_env(0, 3)
    data = jax.tree.map(np.asarray, collect(env, UNIFORM, purerl.random.key(1, "pcg4d"), 4_000))
    assert data.reward.shape == (4_000,)
    done = data.done
    assert data.terminated.any() and data.truncated.any()
    np.testing.assert_array_equal(
        data.next_observation[:-1][~done[:-1]], data.observation[1:][~done[:-1]]
    )
    begins = data.observation[1:][done[:-1]]
    assert np.asarray(model.initial)[begins].all()
    assert stats.chisquare(np.bincount(data.action, minlength=A)).pvalue > 1e-6
    # Every one of them is one of the model's outcomes.
    possible = {
        (s, a, int(model.next_state[s, a, k]), bool(model.terminated[s, a, k])): float(
            model.reward[s, a, k]
        )
        for s, a, k in itertools.product(range(S), range(A), range(3))
    }
    for s, a, reward, terminated, next_state in zip(*data[:4], data.next_observation, strict=True):
        assert possible[s, a, next_state, terminated] == pytest.approx(reward)


def test_collecting_is_by_the_policy():
    _, env = model_and_env(0, 3)
    table = np.random.default_rng(0).dirichlet(np.ones(A), S).astype(np.float32)
    data = collect(env, policy.Fixed(table), purerl.random.key(1, "pcg4d"), 20_000)
    for s in range(S):
        taken = np.bincount(np.asarray(data.action)[np.asarray(data.observation) == s], minlength=A)
        error = np.sqrt(table[s] * (1 - table[s]) / taken.sum())
        assert (np.abs(taken / taken.sum() - table[s]) < 5 * error).all()


def test_batch_q_learning_finds_the_optimum_of_the_empirical_model():
    """And not that of the model that the data were drawn from, which is another for
    so few of them."""
    model, env = model_and_env(2, 3)
    data = collect(env, UNIFORM, purerl.random.key(3, "pcg4d"), 150)
    agent = agents.QLearning(
        env=env, discount=DISCOUNT, learning_rate=schedule.power(1.0, 0.8), count_visits=True
    )
    offline = Offline(agent=agent, data=data)

    def run(key):
        state, _ = training.segment(offline, offline.init(key), 0, 200_000)
        return state.q

    keys = jax.random.split(purerl.random.key(4, "pcg4d"), 32)
    q = np.asarray(quick.optimizing_jit(jax.vmap(run))(keys))
    optimum, truth = (np.asarray(mdp.optimal_q(m, DISCOUNT)) for m in (empirical(data), model))
    error = np.abs(q - optimum).max(axis=(1, 2))
    assert error.max() < 0.06 < 0.5 < np.abs(optimum - truth).max()


METHODS = [  # the last two look at transitions that follow each other
    ("QLearning", {}, True),
    ("DoubleQLearning", {}, True),
    ("ExpectedSARSA", {"target": policy.Greedy()}, True),
    ("QLearning", {}, False),
    ("TreeBackup", {"n": 3, "target": policy.Greedy()}, False),
    ("QLambda", {"lambda_": 0.8, "trace": "replacing"}, False),
]


@pytest.mark.parametrize(
    ("name", "fields", "shuffled"),
    METHODS,
    ids=[f"{name}, {shuffled}" for name, _, shuffled in METHODS],
)
def test_off_policy_methods_learn_from_whatever_was_done(name, fields, shuffled):
    """The optimum, without error where nothing is random, from a policy that seldom
    does what is best."""
    model, env = model_and_env(5, 1)
    optimum = np.asarray(mdp.optimal_q(model, DISCOUNT))
    worst = np.full((S, A), 0.2) + 0.6 * np.eye(A)[optimum.argmin(axis=1)]
    data = collect(env, policy.Fixed(worst), purerl.random.key(6, "pcg4d"), 1_000)
    met = np.zeros((S, A), bool)
    met[np.asarray(data.observation), np.asarray(data.action)] = True
    assert met.sum() > S
    agent = getattr(agents, name)(env=env, discount=DISCOUNT, learning_rate=0.5, **fields)
    offline = Offline(agent=agent, data=data, shuffled=shuffled)

    @quick.optimizing_jit
    def learned(key):
        state, _ = training.segment(offline, offline.init(key), 0, 40_000)
        return jax.vmap(lambda s: offline.values(offline.snapshot(state), s))(jnp.arange(S))

    q = np.asarray(learned(purerl.random.key(7, "pcg4d")))
    np.testing.assert_allclose(q[met], optimum[met], atol=1e-4)
    assert met.all()


def test_in_order_it_is_plain_q_learning_over_and_over():
    """Against a loop in Python, and whatever the key."""
    _, env = model_and_env(8, 3)
    data = collect(env, UNIFORM, purerl.random.key(9, "pcg4d"), 30)
    offline = Offline(
        agent=agents.QLearning(env=env, discount=DISCOUNT, learning_rate=0.3),
        data=data,
        shuffled=False,
    )
    run = quick.jit(lambda key: training.segment(offline, offline.init(key), 0, 70)[0])
    states = [run(purerl.random.key(seed, "pcg4d")) for seed in (0, 1)]
    q = np.zeros((S, A))
    columns = [np.asarray(column) for column in (*data[:4], data.next_observation)]
    for t in range(70):
        s, a, reward, terminated, next_state = (column[t % 30] for column in columns)
        q[s, a] += 0.3 * (reward + DISCOUNT * (not terminated) * q[next_state].max() - q[s, a])
    for state in states:
        np.testing.assert_allclose(state.q, q, rtol=1e-5, atol=1e-6)


def test_runs_side_by_side_are_runs():
    _, env = model_and_env(8, 3)
    data = collect(env, UNIFORM, purerl.random.key(9, "pcg4d"), 30)
    offline = Offline(agent=agents.QLearning(env=env, learning_rate=0.3), data=data)

    def run(key):
        return training.segment(offline, offline.init(key), 0, 50)[0].q

    keys = jax.random.split(purerl.random.key(10, "pcg4d"), 3)
    together, alone = np.asarray(quick.jit(jax.vmap(run))(keys)), quick.jit(run)
    for key, q in zip(keys, together, strict=True):
        np.testing.assert_allclose(alone(key), q, rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(alone(key), alone(key))
    assert not np.array_equal(together[0], together[1])


def test_it_is_judged_as_other_agents_are():
    model, env = model_and_env(5, 1)
    data = collect(env, UNIFORM, purerl.random.key(6, "pcg4d"), 300)
    offline = Offline(
        agent=agents.QLearning(env=env, discount=DISCOUNT, learning_rate=1.0), data=data
    )
    judge = evaluation.default(offline)
    assert isinstance(judge, evaluation.Exact)

    @quick.jit
    def judged(key, judge_key):
        state, metrics = training.segment(offline, offline.init(key), 0, 5_000)
        assert metrics == {}
        return judge(offline, offline.snapshot(state), judge_key, judge.prepare(offline))

    found = judged(*(purerl.random.key(seed, "pcg4d") for seed in (7, 8)))
    best = np.asarray(model.initial) @ np.asarray(mdp.optimal_q(model, DISCOUNT)).max(axis=1)
    np.testing.assert_allclose(found["policy_value"], best, rtol=1e-5)


@pytest.mark.parametrize("lengths", [(3, 2), (0, 0)])
def test_columns_of_unequal_length_are_refused(lengths):
    _, env = model_and_env(5, 1)
    data = collect(env, UNIFORM, purerl.random.key(6, "pcg4d"), 3)
    data = jax.tree.map(lambda x: x[: lengths[0]], data)._replace(reward=data.reward[: lengths[1]])
    with pytest.raises(
        ValueError,
        match=r"Offline: data has columns of lengths \[.*\]; allowed: one length, of at least 1",
    ):
        Offline(agent=agents.QLearning(env=env), data=data).init(purerl.random.key(0))
