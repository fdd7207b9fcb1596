"""Agents in environments where not every action is available in every state."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purerl
from purerl import agents, envs, policy
from purerl.envs import FiniteEnvironment
from purerl.envs.interop import to_gymnasium, to_gymnasium_vector
from purerl.mdp import FiniteMDP

S, A = 5, 3


@functools.cache
def environment():
    """A corridor; of its actions a third is available, and the others pay more."""
    states = np.arange(S)
    available = np.array([[1, 0, 0], [0, 1, 1], [1, 1, 0], [0, 0, 1], [1, 1, 1]], bool)
    next_state = np.stack([states, (states + 1) % S, (states + 2) % S], axis=1)
    next_state[0, 0], next_state[3, 2] = 1, 4
    model = FiniteMDP(
        probability=np.ones((S, A, 1)),
        next_state=next_state[..., None],
        reward=np.where(available, np.linspace(0, 1, S * A).reshape(S, A), 10.0)[..., None],
        terminated=np.zeros((S, A, 1), bool),
        initial=np.full(S, 1 / S),
        available=available,
    )
    return envs.TimeLimit(FiniteEnvironment.of(model), 20)


SHALLOW = [
    name
    for name, method in agents.METHODS.items()
    if isinstance(method.agent, type)
    and issubclass(method.agent, (agents.TabularControl, agents.LinearControl))
]


def taken(agent, num_steps):
    """Whether each action taken in a run was available, and the final state."""

    class Watched(envs.Wrapper):
        def step(self, key, state, action):
            allowed = self.env.available(self.env.observe(state))[action]
            state, outcome = self.env.step(key, state, action)
            wrong = purerl.metrics.Mean(1.0 - allowed.astype(jnp.float32), jnp.float32(1))
            return state, outcome._replace(metrics=outcome.metrics | {"wrong": wrong})

    watched = agent.replace(env=Watched(agent.env))
    state, curves = jax.jit(
        functools.partial(purerl.train, watched, num_steps=num_steps, points=1)
    )(purerl.random.key(0))
    return curves["wrong"], watched, state


@pytest.mark.parametrize("name", SHALLOW)
def test_tables_and_weights_never_choose_what_is_not_available(name):
    agent = agents.METHODS[name].agent(env=environment())
    wrong, agent, state = taken(agent, 3000)
    assert wrong == 0
    snapshot = agent.snapshot(state)
    available = np.asarray(environment().mdp.available)
    observations = jnp.arange(S)
    pi = np.asarray(jax.vmap(agent.probabilities, (None, 0))(snapshot, observations))
    assert (pi[~available] == 0).all()
    np.testing.assert_allclose(pi.sum(axis=1), 1, rtol=1e-5)
    q = np.asarray(jax.vmap(agent.values, (None, 0))(snapshot, observations))
    assert (np.isneginf(q) == ~available).all()
    assert np.isfinite(q[available]).all()


def test_maxima_leave_it_out():
    """Q-learning with a step size of 1 finds the values of a deterministic model, in
    which what is not available would pay 10 at once."""
    agent = agents.QLearning(env=environment(), learning_rate=1.0, epsilon=1.0, discount=0.5)
    result = purerl.sweep(agent, seeds=2, num_steps=5000, points=1, progress=False)
    assert not result.failures
    np.testing.assert_allclose(result.final["q_error"], 0, atol=1e-5)
    np.testing.assert_allclose(result.final["policy_regret"], 0, atol=1e-5)


@pytest.mark.parametrize(
    "target", [purerl.targets.QLearning(), purerl.targets.DoubleQ()], ids=["q_learning", "double_q"]
)
def test_networks_leave_it_out(target):
    env = envs.OneHot(environment(), S)
    agent = agents.DQN(
        env=env,
        network=purerl.networks.MLP(()),
        discount=0.5,
        learning_rate=3e-2,
        epsilon=1.0,
        target=target,
        learning_starts=100,
        replay=purerl.replay.Uniform(500),
        train_period=1,
        target_period=20,
        batch_size=32,
    )
    wrong, agent, state = taken(agent, 4000)
    assert wrong == 0
    values = jax.vmap(agent.values, (None, 0))(agent.snapshot(state), jnp.eye(S))
    best = purerl.mdp.optimal_q(environment().mdp, 0.5)
    np.testing.assert_allclose(values, best, atol=0.1)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("Reinforce", {}),
        ("ActorCriticLambda", {"entropy_weight": 0.01}),
        ("A2C", {"entropy_weight": 0.01}),
        ("PPO", {"entropy_weight": 0.01, "rollout_length": 16}),
    ],
)
def test_policies_of_networks_leave_it_out(name, fields):
    """Its probability is exactly 0, whatever its logit; the rest improves, with
    finite numbers."""
    network = purerl.networks.ActorCritic(())
    settings = {"network": network, "discount": 0.5, "learning_rate": 0.03} | fields
    wrong, agent, state = taken(getattr(agents, name)(env=environment(), **settings), 6400)
    assert wrong == 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))
    available = np.asarray(environment().mdp.available)
    probabilities = jax.vmap(agent.probabilities, (None, 0))
    pi = np.asarray(probabilities(agent.snapshot(state), jnp.arange(S)))
    assert (pi[~available] == 0).all() and (pi[available] > 0).all()
    uniform = available / available.sum(axis=1, keepdims=True)
    best, found, at_first = (
        float(purerl.mdp.expected_return(environment().mdp, policy, 0.5))
        for policy in (purerl.mdp.optimal_q(environment().mdp, 0.5).argmax(1), pi, uniform)
    )
    assert found - at_first > (best - at_first) / 5


@pytest.mark.parametrize("natural", [False, True])
@pytest.mark.parametrize("network", [None, purerl.networks.MLP((8,))], ids=["table", "network"])
def test_exact_gradients_leave_it_out(network, natural):
    """Its probability is exactly 0 at every time, and the rest becomes the optimum."""
    agent = agents.ExactPolicyGradient(
        env=environment(), network=network, natural=natural, discount=0.5, learning_rate=3.0
    )
    available = np.asarray(environment().mdp.available)
    observations = jnp.arange(S)
    state = agent.init(purerl.random.key(0))
    for num_steps in (1, 1, 1000):
        pi = np.asarray(jax.vmap(agent.probabilities, (None, 0))(state, observations))
        assert (pi[~available] == 0).all() and (pi[available] > 0).all()
        state, _ = purerl.run.training.segment(agent, state, 0, num_steps)
    pi = jax.vmap(agent.probabilities, (None, 0))(state, observations)
    regret = purerl.mdp.expected_return(
        environment().mdp, purerl.mdp.optimal_q(environment().mdp, 0.5).argmax(1), 0.5
    ) - purerl.mdp.expected_return(environment().mdp, pi, 0.5)
    assert -1e-6 < regret < 0.02
    drawn = jax.vmap(agent.act, (None, 0, None))(
        state, jax.random.split(purerl.random.key(1), 100), jnp.int32(1)
    )
    assert (drawn > 0).all()


@pytest.mark.parametrize(
    "choice",
    [
        policy.Greedy(),
        policy.EpsilonGreedy(0.3),
        policy.EpsilonGreedy(1.0),
        policy.Softmax(2.0),
        policy.UCB(1.0),
        policy.CountBonus(1.0),
        policy.Thompson(),
    ],
    ids=lambda choice: type(choice).__name__,
)
def test_policies_leave_it_out(choice):
    values = jnp.array([0.5, -jnp.inf, 0.5, 0.0])
    inputs = policy.PolicyInput(jnp.int32(0), values, jnp.array([3, 0, 2, 1]), jnp.int32(0))
    keys = jax.random.split(purerl.random.key(0), 4000)
    drawn = np.bincount(jax.jit(jax.vmap(choice.sample, (0, None)))(keys, inputs), minlength=4)
    assert drawn[1] == 0 and len(drawn) == 4
    if not isinstance(choice, policy.Thompson):
        pi = np.asarray(choice.probabilities(inputs))
        assert pi[1] == 0 and pi.sum() == pytest.approx(1, rel=1e-6)
        error = np.sqrt(pi * (1 - pi) / len(keys))
        assert (np.abs(drawn / len(keys) - pi) <= 4.5 * error + 1e-9).all()


def test_adapters_show_the_mask():
    one, many = to_gymnasium(environment()), to_gymnasium_vector(environment(), 3)
    observation, info = one.reset(seed=0)
    available = np.asarray(environment().mdp.available)
    assert info["action_mask"].dtype == np.int8
    for _ in range(10):
        np.testing.assert_array_equal(info["action_mask"], available[observation])
        action = int(np.flatnonzero(info["action_mask"])[0])
        observation, _, _, _, info = one.step(action)
    observations, infos = many.reset(seed=0)
    np.testing.assert_array_equal(infos["action_mask"], available[observations])
    assert "action_mask" not in to_gymnasium(purerl.make("FrozenLake-v1")).reset(seed=0)[1]


def test_wrappers_that_change_what_is_observed_must_say_what_is_available():
    assert not envs.base.limits_actions(purerl.make("FrozenLake-v1"))
    hot = envs.OneHot(environment(), S)
    np.testing.assert_array_equal(hot.available(jnp.eye(S)[1]), [False, True, True])
    with pytest.raises(ValueError, match=r"Flatten: env is .* every action can be taken"):
        envs.base.limits_actions(envs.Flatten(environment()))
