"""Evaluations, against solutions worked out by NumPy, known returns and exact
probabilities."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purerl
from purerl import envs
from purerl.agents.base import start_state
from purerl.agents.tabular.base import TabularSnapshot
from purerl.envs import EpisodeStatistics, OneHot, RewardScale, TimeLimit
from purerl.run.evaluation import Episodes, Exact, default
from tests import quick

WALLED = envs.gridworld(
    ("S.#.", ".H#G", "..#."), slip=0.2, step_reward=-0.1
)  # nothing behind the wall is ever reached


def table(model):
    """A model as NumPy arrays."""
    return (
        np.asarray(x, np.float64) for x in (model.probability, model.reward, model.terminated)
    ), np.asarray(model.next_state)


def backup(model, values, discount):
    (probability, reward, terminated), next_state = table(model)
    return (probability * (reward + discount * (1 - terminated) * values[next_state])).sum(-1)


def optimal_values(model, discount):
    values = np.zeros(model.num_states)
    for _ in range(5_000):
        values = backup(model, values, discount).max(axis=1)
    return values


def policy_values(model, policy, discount):
    """``(I - discount P) v = r``, with ``P`` built entry by entry."""
    (probability, reward, terminated), next_state = table(model)
    matrix, rewards = np.eye(model.num_states), np.zeros(model.num_states)
    for s in range(model.num_states):
        for k in range(model.num_outcomes):
            p = probability[s, policy[s], k]
            rewards[s] += p * reward[s, policy[s], k]
            matrix[s, next_state[s, policy[s], k]] -= (
                discount * p * (1 - terminated[s, policy[s], k])
            )
    return np.linalg.solve(matrix, rewards)


def reached(model):
    """By walking from every start."""
    (probability, _, terminated), next_state = table(model)
    todo = list(np.flatnonzero(np.asarray(model.initial)))
    found = set(todo)
    while todo:
        s = todo.pop()
        for goes, to in zip(
            (probability[s] > 0) & (terminated[s] == 0), next_state[s], strict=True
        ):
            new = set(to[goes].tolist()) - found
            found |= new
            todo += new
    return sorted(found)


def snapshot_of(agent, q):
    return TabularSnapshot(jnp.float32(q), agent.env.reset(jax.random.key(1)))


def evaluate(evaluation, agent, state, key=None):
    key = purerl.random.key(0, "pcg4d") if key is None else key
    measures = judge(evaluation, agent, state, key)
    return {name: float(value) for name, value in measures.items()}


@functools.partial(quick.jit, static_argnums=0)
def judge(evaluation, agent, state, key):
    return evaluation(agent, state, key, evaluation.prepare(agent))


EXACT = {
    "frozen lake": (purerl.make("FrozenLake-v1"), 0.99),
    "cliff": (purerl.make("CliffWalking-v1", slip=0.3), 0.8),
    "walled": (WALLED, 0.95),
}


@pytest.mark.parametrize(("env", "discount"), EXACT.values(), ids=EXACT)
def test_exact_is_what_numpy_finds(env, discount):
    agent = purerl.QLearning(env=env, discount=discount)
    model = env.mdp
    q = (
        np.random.default_rng(0)
        .normal(size=(model.num_states, model.num_actions))
        .astype(np.float32)
    )
    optimal = optimal_values(model, discount)
    initial = np.asarray(model.initial, np.float64)
    value = initial @ policy_values(model, q.argmax(axis=1), discount)

    found = evaluate(Exact(), agent, snapshot_of(agent, q))

    assert found.keys() == {"q_error", "policy_value", "policy_regret"}
    error = np.abs(q - backup(model, optimal, discount))[reached(model)].max()
    np.testing.assert_allclose(found["q_error"], error, rtol=1e-4)
    np.testing.assert_allclose(found["policy_value"], value, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        found["policy_regret"], initial @ optimal - value, rtol=1e-4, atol=1e-4
    )


def test_what_is_never_reached_does_not_count():
    agent = purerl.QLearning(env=WALLED, discount=0.95)
    q = backup(WALLED.mdp, optimal_values(WALLED.mdp, 0.95), 0.95)
    outside = sorted(set(range(12)) - set(reached(WALLED.mdp)))
    assert {3, 7, 11} < set(
        outside
    )  # the cells behind the wall; the hole too, where no action is taken
    q[outside] = 1e6
    found = evaluate(Exact(), agent, snapshot_of(agent, q))
    assert found["q_error"] < 1e-5
    q[reached(WALLED.mdp)[-1], 2] += 0.5
    assert evaluate(Exact(), agent, snapshot_of(agent, q))["q_error"] == pytest.approx(
        0.5, abs=1e-5
    )


def test_the_optimum_has_no_regret():
    agent = purerl.QLearning(env=purerl.make("Grid2x3-v0"), discount=1.0)
    found = evaluate(
        Exact(),
        agent,
        snapshot_of(agent, backup(agent.env.mdp, optimal_values(agent.env.mdp, 1.0), 1.0)),
    )
    assert found["q_error"] == pytest.approx(0, abs=1e-6)
    assert found["policy_value"] == pytest.approx(0.8, abs=1e-6)
    assert found["policy_regret"] == pytest.approx(0, abs=1e-6)


def test_exact_of_a_network():
    env = OneHot(purerl.make("Grid2x3-v0"), 6)
    agent = purerl.DQN(
        env=env,
        network=purerl.networks.MLP(()),
        learning_starts=10,
        replay=purerl.replay.Uniform(200),
        discount=0.9,
    )
    state = quick.jit(agent.init)(purerl.random.key(0, "pcg4d"))
    dense = jax.tree.map(np.asarray, state.params["params"]["Dense_0"])
    q = dense["kernel"] + dense["bias"]  # a linear network on a one-hot observation is a table
    error = np.abs(q - backup(env.mdp, optimal_values(env.mdp, 0.9), 0.9))[reached(env.mdp)].max()
    value = policy_values(env.mdp, q.argmax(axis=1), 0.9)[0]
    found = evaluate(Exact(), agent, state)
    np.testing.assert_allclose(
        [found["q_error"], found["policy_value"]], [error, value], rtol=1e-4, atol=1e-5
    )


def test_exact_side_by_side_is_exact_alone():
    base = purerl.QLearning(env=purerl.make("FrozenLake-v1"))
    q = np.random.default_rng(1).normal(size=(3, 16, 4)).astype(np.float32)
    discounts = [0.5, 0.9, 0.99]

    def judge(discount, q):
        agent = base.replace(discount=discount)
        return Exact()(agent, snapshot_of(agent, q), jax.random.key(0), Exact().prepare(agent))

    together = quick.jit(jax.vmap(judge))(jnp.float32(discounts), q)
    for i, discount in enumerate(discounts):
        agent = base.replace(discount=discount)
        for name, value in evaluate(Exact(), agent, snapshot_of(agent, q[i])).items():
            np.testing.assert_allclose(together[name][i], value, rtol=1e-5, atol=1e-6)


def greedy_return(env, q, **options):
    agent = purerl.QLearning(env=env)
    key = options.pop("key", None)
    return evaluate(Episodes(**options), agent, snapshot_of(agent, q), key)["evaluation_return"]


def always(env, action):
    return np.tile(np.eye(4)[action], (env.mdp.num_states, 1))


UP = 0
DETERMINISTIC = {
    # environment, q, max_steps: return
    "the way to the goal": ("Grid2x3-v0", None, 100, 0.8),
    "cut before the goal": ("Grid2x3-v0", None, 2, -0.2),
    "against the border": ("Grid2x3-v0", UP, 7, -0.7),
    "until the time limit": ("Grid2x3-v0", UP, 1000, -5.0),
    "no time limit": ("CliffWalking-v1", UP, 33, -33.0),
    "down the cliff again and again": ("CliffWalking-v1", 1, 3, -300.0),
}


@pytest.mark.parametrize(
    ("name", "action", "max_steps", "expected"), DETERMINISTIC.values(), ids=DETERMINISTIC
)
def test_known_returns(name, action, max_steps, expected):
    env = purerl.make(name)
    q = (
        backup(env.mdp, optimal_values(env.mdp, 0.9), 0.9)
        if action is None
        else always(env, action)
    )
    assert greedy_return(env, q, episodes=3, max_steps=max_steps) == pytest.approx(
        expected, abs=1e-5
    )


def test_a_reported_return_counts():
    """In wrappers that change rewards, the return of the original ones, as in training;
    an episode that did not end has none."""
    env = purerl.make("Grid2x3-v0")
    q = backup(env.mdp, optimal_values(env.mdp, 0.9), 0.9)
    scaled = RewardScale(env, 10.0)
    assert greedy_return(scaled, q, episodes=3) == pytest.approx(8.0, abs=1e-5)
    scaled = RewardScale(EpisodeStatistics(env), 10.0)
    assert greedy_return(scaled, q, episodes=3) == pytest.approx(0.8, abs=1e-5)
    assert np.isnan(greedy_return(scaled, q, episodes=3, max_steps=2))


def with_logits(logits):
    """A stochastic policy in the 2x3 grid, and its snapshot."""
    network = purerl.networks.ActorCritic(())
    agent = purerl.Reinforce(env=purerl.make("Grid2x3-v0"), discount=0.9, network=network)
    state = quick.jit(agent.init)(purerl.random.key(0, "pcg4d"))
    state.params["network"]["params"]["actor"]["Dense_0"]["kernel"] = jnp.float32(logits)
    return agent, agent.snapshot(state)


def test_the_most_probable_actions_of_a_stochastic_policy():
    """They lead to the goal; drawn ones mostly do not, but have the known values."""
    model = purerl.make("Grid2x3-v0").mdp
    optimum = optimal_values(model, 0.9)
    agent, snapshot = with_logits(backup(model, optimum, 0.9))
    for greedy, low, high in ((True, 0.8 - 1e-5, 0.8 + 1e-5), (False, -np.inf, 0.7)):
        found = evaluate(Episodes(30, 100, greedy), agent, snapshot)["evaluation_return"]
        assert low < found < high
    found = evaluate(Exact(), agent, snapshot)
    assert found["greedy_regret"] == pytest.approx(0, abs=1e-6)
    assert found["policy_regret"] > 0.1

    drawn = np.exp(backup(model, optimum, 0.9))
    drawn /= drawn.sum(axis=1, keepdims=True)
    values = np.zeros(model.num_states)
    for _ in range(1000):
        values = (drawn * backup(model, values, 0.9)).sum(axis=1)
    start = np.asarray(model.initial)
    value = start @ values
    assert found["policy_value"] == pytest.approx(value, abs=1e-5)
    assert found["policy_regret"] == pytest.approx(optimum @ start - value, abs=1e-5)

    astray = evaluate(Exact(), *with_logits(always(agent.env, UP)))  # -0.1 in every step
    best = optimum @ start
    assert astray["greedy_regret"] == pytest.approx(best + 0.1 / (1 - 0.9), abs=1e-5)


def test_agents_without_a_stochastic_policy_are_greedy_anyway():
    env = purerl.make("Grid2x3-v0")
    q = backup(env.mdp, optimal_values(env.mdp, 0.9), 0.9)
    assert greedy_return(env, q, episodes=3, max_steps=100, greedy=True) == pytest.approx(0.8)


def test_the_lake_without_slipping_is_crossed():
    env = purerl.make("FrozenLake-v1", slip=0.0)
    q = backup(env.mdp, optimal_values(env.mdp, 0.99), 0.99)
    assert greedy_return(env, q, episodes=5, max_steps=6) == 1.0  # six moves, and not one fewer
    assert greedy_return(env, q, episodes=5, max_steps=5) == 0.0


def test_slippery_episodes_have_the_exact_mean():
    """The chance to be over the lake within the limit, by the policy's transition
    matrix, against 20,000 episodes."""
    env, limit, episodes = purerl.make("FrozenLake-v1"), 100, 20_000
    q = backup(env.mdp, optimal_values(env.mdp, 0.99), 0.99)
    policy = q.astype(np.float32).argmax(axis=1)
    (probability, reward, terminated), next_state = table(env.mdp)
    where, success = np.asarray(env.mdp.initial, np.float64), 0.0
    for _ in range(limit):
        moved = np.zeros_like(where)
        for s in range(16):
            weight = where[s] * probability[s, policy[s]]
            success += weight @ reward[s, policy[s]]
            np.add.at(moved, next_state[s, policy[s]], weight * (1 - terminated[s, policy[s]]))
        where = moved
    assert 0.7 < success < 0.78

    key = purerl.random.key(5, "pcg4d")
    found = greedy_return(env, q, episodes=episodes, key=key)
    assert abs(found - success) < 4 * np.sqrt(success * (1 - success) / episodes)
    assert found == greedy_return(env, q, episodes=episodes, key=key)
    assert found != greedy_return(env, q, episodes=episodes, key=purerl.random.key(6, "pcg4d"))


def test_episodes_of_the_agent_itself():
    """Pushing the way that the pole falls and turns keeps it up for the 500 steps of
    the limit; always left drops it."""
    agent = purerl.DQN(
        env=purerl.make("CartPole-v1"),
        network=purerl.networks.MLP(()),
        learning_starts=10,
        replay=purerl.replay.Uniform(200),
    )
    state = quick.jit(agent.init)(purerl.random.key(0, "pcg4d"))

    def pushing(weights):
        kernel = np.outer(weights, [-1, 1]).astype(np.float32)
        bias = np.float32([1e-6, 0])
        return state._replace(params={"params": {"Dense_0": {"kernel": kernel, "bias": bias}}})

    def score(weights, **options):
        return evaluate(Episodes(episodes=8, **options), agent, pushing(weights))[
            "evaluation_return"
        ]

    assert score([0.05, 0.1, 1, 1]) == 500
    assert score([0.05, 0.1, 1, 1], max_steps=123) == 123
    assert 8 <= score([0, 0, 0, 0]) <= 11


def test_default_is_exact_where_the_model_is_known():
    assert default(purerl.QLearning(env=purerl.make("FrozenLake-v1"))) == Exact()
    assert default(purerl.DQN(env=OneHot(TimeLimit(envs.grid_2x3(), 9), 6))) == Exact()
    assert default(purerl.DQN(env=purerl.make("CartPole-v1"))) == Episodes()


def test_evaluations_are_part_of_a_programs_identity():
    assert hash(Episodes(3, 7)) == hash(Episodes(3, 7))
    assert Episodes(3, 7) != Episodes(3, 8)


def test_evaluations_begin_with_what_the_environment_remembers():
    """The walls of this maze change after 5 steps of learning, and every way then
    leads to another number of steps."""
    maze = envs.grids.changing_maze(["S.G", "###", "..."], ["S#G", ".#.", "..."], change=5)
    agent = purerl.QLearning(env=TimeLimit(maze, 2), epsilon=0.0)
    right = np.tile(np.float32([0, 1, 0, 0]), (9, 1))
    state = quick.jit(agent.init)(purerl.random.key(0))._replace(q=right)

    def value(state):
        found = evaluate(Episodes(episodes=3), agent, agent.snapshot(state), purerl.random.key(1))
        return found["evaluation_return"]

    assert value(state) == 1.0  # two steps to the right
    later = quick.jit(lambda state: jax.lax.scan(agent.step, state, jnp.arange(5))[0])(state)
    assert value(later._replace(q=right)) == 0.0  # against the new wall


def test_normalised_observations_are_judged_by_the_statistics_learned():
    env = envs.ObservationNormalize(purerl.make("CartPole-v1"))
    agent = purerl.DQN(
        env=env,
        replay=purerl.replay.Uniform(100),
        batch_size=10,
        learning_starts=100,
        target_period=10,
    )
    state = quick.jit(agent.init)(purerl.random.key(0))
    begin = quick.jit(lambda state, key: start_state(agent, agent.snapshot(state), key))
    began = begin(state, purerl.random.key(1))
    assert float(began.count) == pytest.approx(float(state.env_state.count[0]) + 1)
    assert float(began.count) > 100
    assert float(quick.jit(env.reset)(purerl.random.key(1)).count) < 2
