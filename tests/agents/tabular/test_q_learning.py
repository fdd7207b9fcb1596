"""Tabular Q-learning, against hand-computed numbers, a plain NumPy implementation
and exact solutions."""

import functools
import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purerl
import purerl.random
from purerl import mdp, schedule
from purerl.envs import FiniteEnvironment, OneHot, TimeLimit
from purerl.mdp import FiniteMDP
from purerl.run import training
from tests import quick
from tests.agents.lived import lived

NUM_SEEDS = 64
KEYS = jax.vmap(lambda i: purerl.random.seed_key(0, i, "pcg4d"))(jnp.arange(NUM_SEEDS))


def one_way(rewards, ends):
    """A single action, from each state to the next and from the last to the first."""
    n = len(rewards)
    return FiniteMDP(
        probability=np.ones((n, 1, 1)),
        next_state=np.roll(np.arange(n), -1)[:, None, None],
        reward=np.array(rewards, float)[:, None, None],
        terminated=np.array(ends)[:, None, None],
        initial=np.eye(n)[0],
    )


def tables(agent, num_steps):
    """The table after each step, ``[num_steps, S, A]``."""

    def step(state, t):
        state, _ = agent.step(state, t)
        return state, (state.q, state.visits)

    return quick.jit(
        lambda: jax.lax.scan(step, agent.init(KEYS[0]), jnp.arange(num_steps, dtype=jnp.int32))
    )()[1]


def test_steps_by_hand():
    env = FiniteEnvironment.of(one_way([2.0, 5.0], [False, True]))
    agent = purerl.QLearning(env=env, learning_rate=0.25, discount=0.5, initial_value=10.0)
    q, visits = tables(agent, 4)
    expected = [
        [9.25, 10.0],  # 10 + (2 + 10/2 - 10) / 4
        [9.25, 8.75],  # 10 + (5 - 10) / 4: what follows the end is worth nothing
        [8.53125, 8.75],  # 9.25 + (2 + 8.75/2 - 9.25) / 4
        [8.53125, 7.8125],
    ]
    np.testing.assert_array_equal(q[..., 0], expected)
    assert visits is None


def test_step_sizes_by_visits_or_by_time():
    """With a step size of ``1 / (1 + n)`` a value is the mean of its targets, if
    ``n`` counts the visits."""
    env = FiniteEnvironment.of(
        one_way([2.0, 4.0], [True, True]).replace(
            next_state=jnp.ones((2, 1, 1), int), initial=[0.5, 0.5]
        )
    )
    counting = purerl.QLearning(
        env=env, learning_rate=schedule.power(1.0, 1.0), count_visits=True, initial_value=7.0
    )
    q, visits = tables(counting, 50)
    seen = np.asarray(visits)[..., 0]
    np.testing.assert_array_equal(seen.sum(axis=1), np.arange(1, 51))
    assert (seen[-1] > 10).all()
    np.testing.assert_array_equal(q[..., 0], np.where(seen == 0, 7.0, [2.0, 4.0]))
    q, _ = tables(counting.replace(count_visits=False), 50)
    first = np.argmax(
        seen > 0, axis=0
    )  # by time, the one first seen later starts with a smaller step
    late = np.argmax(first)
    np.testing.assert_allclose(
        q[first[late], late, 0], 7 + ([2, 4][late] - 7) / (1 + first[late]), rtol=1e-6
    )


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        (
            TimeLimit(FiniteEnvironment.of(one_way([1.0], [False])), 1),
            [1, 1.5, 1.75, 1.875],
        ),  # truncated at every step
        (
            TimeLimit(FiniteEnvironment.of(one_way([1.0], [True])), 1),
            [1, 1, 1, 1],
        ),  # terminated at every step
        (FiniteEnvironment.of(one_way([1.0], [False])), [1, 1.5, 1.75, 1.875]),
    ],
    ids=["truncated", "terminated", "endless"],
)
def test_truncation_bootstraps_and_termination_does_not(env, expected):
    q, _ = tables(purerl.QLearning(env=env, learning_rate=1.0, discount=0.5), 4)
    np.testing.assert_array_equal(q[:, 0, 0], expected)


@pytest.mark.parametrize("count_visits", [False, True])
@pytest.mark.parametrize("name", ["FrozenLake-v1", "CliffWalking-v1"])
def test_it_is_plain_q_learning_on_the_same_experience(monkeypatch, name, count_visits):
    """What the agent met is written down, and a loop in NumPy learns from it."""
    agent = purerl.QLearning(
        env=purerl.make(name),
        learning_rate=schedule.power(0.9, 0.6, 2.0),
        discount=0.97,
        epsilon=0.3,
        initial_value=0.5,
        count_visits=count_visits,
    )
    num_steps = 3_000
    experience, states, _ = lived(monkeypatch, agent, num_steps)
    q = states.q

    table, visits, after = np.full(q.shape[1:], 0.5), np.zeros(q.shape[1:], int), []
    for t, (s, a, r, terminated, _truncated, s_next, _metrics) in enumerate(experience):
        alpha = 0.9 * (1 + (visits[s, a] if count_visits else t) / 2) ** -0.6
        target = r if terminated else r + 0.97 * table[s_next].max()
        table[s, a] += alpha * (target - table[s, a])
        visits[s, a] += 1
        after.append(table.copy())
    np.testing.assert_allclose(q, after, rtol=2e-5, atol=2e-5)
    assert any(x.terminated for x in experience) and (
        name != "FrozenLake-v1" or len({int(x.action) for x in experience}) == 4
    )


def test_behavior_is_epsilon_greedy():
    """Greedy but for a share of epsilon, of which a uniform choice hits the greedy
    action now and then too."""
    best = np.random.default_rng(0).integers(4, size=16)
    agent = purerl.QLearning(
        env=purerl.make("FrozenLake-v1"), learning_rate=0.0, epsilon=0.4, count_visits=True
    )

    def run(key):
        state = agent.init(key)._replace(q=jnp.eye(4)[best])
        return training.segment(agent, state, 0, 20_000)[0].visits

    visits = np.asarray(quick.optimizing_jit(run)(KEYS[0]))
    total, greedy = visits.sum(), visits[np.arange(16), best].sum()
    expected = 1 - 0.4 * 3 / 4
    assert total == 20_000 and abs(greedy / total - expected) < 5 * np.sqrt(
        expected * (1 - expected) / total
    )


def test_an_observation_that_is_no_index_is_refused():
    with pytest.raises(ValueError, match="env is"):
        purerl.QLearning(env=purerl.make("CartPole-v1"))


def test_a_one_hot_observation_is_refused():
    with pytest.raises(ValueError, match="env is"):
        purerl.QLearning(env=OneHot(purerl.make("FrozenLake-v1"), 16))


@quick.jit
def values_of_the_optimum_and_of_greedy_policies(model, discount, q):
    evaluate = jax.vmap(lambda q: mdp.evaluate_policy(model, mdp.greedy(q), discount).values)
    return mdp.policy_iteration(model, discount).values, evaluate(q)


def regret(model, discount, q):
    """By how much the greedy policy of each table falls short of the optimum, at
    worst over all states that can be reached."""
    optimal, values = map(
        np.asarray, values_of_the_optimum_and_of_greedy_policies(model, discount, q)
    )
    reached, live = (
        np.asarray(model.initial) > 0,
        np.asarray((model.probability > 0) & ~model.terminated),
    )
    for _ in range(model.num_states):
        reached = reached | np.isin(
            np.arange(model.num_states), np.asarray(model.next_state)[live & reached[:, None, None]]
        )
    return np.max((optimal - values)[:, reached], axis=1)


@functools.partial(quick.optimizing_jit, static_argnums=1)
def learn(agent, num_steps):
    """The tables of all seeds."""
    return jax.vmap(lambda key: training.segment(agent, agent.init(key), 0, num_steps)[0].q)(KEYS)


@pytest.mark.parametrize(
    ("name", "num_steps", "hyperparameters"),
    [
        ("Grid2x3-v0", 20_000, {"learning_rate": 0.1, "epsilon": 1.0}),
        (
            "Grid2x3-v0",
            20_000,
            {"learning_rate": schedule.power(1.0, 0.7), "epsilon": 0.5, "count_visits": True},
        ),
        (
            "CliffWalking-v1",
            200_000,
            {"learning_rate": 1.0, "epsilon": 0.3},
        ),  # nothing is random, so nothing need be averaged
        (
            "FrozenLake-v1",
            1_000_000,
            {"learning_rate": schedule.power(1.0, 0.6), "epsilon": 0.5, "count_visits": True},
        ),
    ],
)
def test_every_seed_finds_an_optimal_policy(name, num_steps, hyperparameters):
    agent = purerl.QLearning(env=purerl.make(name), discount=0.99, **hyperparameters)
    assert regret(agent.env.mdp, 0.99, learn(agent, num_steps)).max() < 1e-4


def test_a_cliff_without_chance_is_learnt_exactly():
    agent = purerl.QLearning(
        env=purerl.make("CliffWalking-v1"), discount=0.9, learning_rate=1.0, epsilon=1.0
    )
    q, exact = learn(agent, 200_000), mdp.optimal_q(agent.env.mdp, 0.9)
    walked = np.r_[0:37]  # not the cliff, nor the goal, where nobody ever stands
    assert np.abs(np.asarray(q - exact))[:, walked].max() < 1e-5


@pytest.mark.slow
def test_every_seed_finds_an_optimal_policy_of_random_models():
    """On twenty garnets, the first whose best actions are all better by 0.2: in a
    closer race a finite sample may err."""
    discount = 0.8
    models = jax.vmap(lambda i: mdp.garnet(purerl.random.seed_key(7, i), 6, 2, 3))(jnp.arange(400))
    q = np.sort(jax.vmap(lambda model: mdp.optimal_q(model, discount))(models), axis=-1)
    clear = np.flatnonzero((q[..., -1] - q[..., -2]).min(axis=1) > 0.2)[:20]
    assert len(clear) == 20
    for i in clear:
        model = jax.tree.map(operator.itemgetter(i), models)
        agent = purerl.QLearning(
            env=TimeLimit(
                FiniteEnvironment.of(model), 5
            ),  # starting again anywhere, so that every state is seen
            discount=discount,
            learning_rate=schedule.power(1.0, 0.8),
            epsilon=1.0,
            count_visits=True,
        )
        assert regret(model, discount, learn(agent, 100_000)).max() < 1e-4


@pytest.mark.parametrize("exponent", [0.6, 0.8])
def test_the_error_falls_at_the_rate_of_its_step_sizes(exponent):
    r"""Step sizes of :math:`n^{-\omega}`, :math:`\omega \in (1/2, 1)`, leave an
    error of :math:`O(n^{-\omega / 2})`."""
    env = FiniteEnvironment.of(quick.jit(lambda: mdp.garnet(purerl.random.key(3), 4, 2, 2))())
    exact = mdp.optimal_q(env.mdp, 0.5)
    agent = purerl.QLearning(
        env=env,
        discount=0.5,
        epsilon=1.0,
        learning_rate=schedule.power(1.0, exponent),
        count_visits=True,
    )
    points = 7
    times = 2_000 * 2 ** np.arange(points)

    def run(key):
        def go_on(state, start):
            state, _ = training.segment(agent, state, start, 2_000)
            return state, jnp.max(jnp.abs(state.q - exact))

        return jax.lax.scan(go_on, agent.init(key), jnp.arange(0, times[-1], 2_000))[1]

    errors = np.asarray(quick.optimizing_jit(jax.vmap(run))(KEYS))[:, times // 2_000 - 1]
    slopes = np.polyfit(np.log(times), np.log(errors).T, 1)[0]
    error_of_mean = slopes.std(ddof=1) / np.sqrt(NUM_SEEDS)
    assert error_of_mean < 0.03  # the interval is narrow enough to tell the two exponents apart
    assert abs(slopes.mean() + exponent / 2) < 4 * error_of_mean
    assert errors[:, -1].mean() < errors[:, 0].mean() / 2
