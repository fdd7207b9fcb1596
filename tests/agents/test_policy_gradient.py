"""Policy gradient agents against exact gradients, each other and fixed points."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purerl
import purerl.random
from purerl import mdp
from purerl.envs import (
    FiniteEnvironment,
    Outcome,
    Pendulum,
    ScaledActions,
    TimeLimit,
    Transition,
)
from purerl.networks import ActorCritic
from purerl.optimizers import SGD
from purerl.pytree import Node

KEY = purerl.random.key(3, "pcg4d")
TABLE = ActorCritic(())  # on indicator vectors a table of logits and one of values

# Two decisions at most, and one certain outcome of each.
NEXT = np.array([[1, 2], [0, 0], [0, 0]])
REWARD = np.array([[1.0, -2.0], [2.0, -1.0], [0.5, 4.0]])
ENDS = np.array([[False, False], [True, True], [True, True]])
EPISODES = mdp.FiniteMDP(
    probability=np.ones((3, 2, 1)),
    next_state=NEXT[..., None],
    reward=REWARD[..., None],
    terminated=ENDS[..., None],
    initial=np.array([1.0, 0.0, 0.0]),
)


def logits(agent, params):
    return jax.vmap(lambda s: agent.distribution(params, s).logits)(jnp.arange(3))


def expected_step(agent, past=(0.0, 0.0)):
    """What an episode adds to the logits, in expectation over all episodes."""
    state = agent.init(KEY)
    head = state.params["network"]["params"]["actor"]["Dense_0"]
    head["kernel"] = jnp.array([[0.3, -0.2], [0.1, 0.4], [-0.5, 0.2]])
    if agent.baseline == "mean":
        mean = purerl.metrics.Mean(*map(jnp.float32, past))
        state = state._replace(memory=state.memory._replace(past=mean))
    pi = np.asarray(jax.nn.softmax(logits(agent, state.params)))
    learn = jax.jit(lambda state, transition: agent.learn(state, transition, jnp.int32(0)))
    total = 0
    for first, second in itertools.product(range(2), range(2)):
        probability, s, after = 1.0, 0, state
        for action in (first, second):
            probability *= pi[s, action]
            transition = Transition(
                jnp.int32(s),
                jnp.int32(action),
                jnp.float32(REWARD[s, action]),
                jnp.bool_(ENDS[s, action]),
                jnp.bool_(False),
                jnp.int32(NEXT[s, action]),
            )
            after, s = learn(after, transition), NEXT[s, action]
        kernel = after.params["network"]["params"]["actor"]["Dense_0"]["kernel"]
        total += probability * (np.asarray(kernel, float) - np.asarray(head["kernel"], float))
    exact = mdp.policy_gradient(EPISODES, logits(agent, state.params), agent.discount).gradient
    return total, np.asarray(exact)


@pytest.mark.parametrize("baseline", ["none", "mean", "learned"])
def test_the_mean_step_of_reinforce_is_the_exact_gradient(baseline):
    agent = purerl.Reinforce(
        env=FiniteEnvironment.of(EPISODES),
        learning_rate=1.0,
        discount=0.7,
        network=TABLE,
        baseline=baseline,
    )
    found, exact = expected_step(agent, past=(6.0, 4.0))
    np.testing.assert_allclose(found, exact, atol=2e-6)
    wrong, _ = expected_step(agent.replace(discounted_states=False), past=(6.0, 4.0))
    assert np.abs(wrong - exact).max() > 1e-2


def test_the_first_step_of_ppo_is_that_of_a2c():
    settings = {
        "env": purerl.make("CartPole-v1"),
        "network": ActorCritic((8,)),
        "optimizer": SGD(),
        "learning_rate": 0.1,
        "lambda_": 0.9,
        "entropy_weight": 0.01,
        "num_envs": 2,
        "rollout_length": 8,
    }
    a2c = purerl.A2C(**settings)
    ppo = purerl.PPO(**settings, normalize="none", epochs=1, minibatches=1)
    state = a2c.init(KEY)
    (plain, _), (clipped, metrics) = (agent.step(state, 0) for agent in (a2c, ppo))
    assert metrics["kl"].total < 1e-9  # the ratio is 1
    for a, b in zip(jax.tree.leaves(plain.params), jax.tree.leaves(clipped.params), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    whitened, _ = ppo.replace(normalize="minibatch").step(state, 0)
    differences = jax.tree.map(lambda a, b: np.abs(a - b).max(), plain.params, whitened.params)
    assert max(jax.tree.leaves(differences)) > 1e-4


class Same(Node):
    """One state, in which every step yields 1."""

    num_actions = 1
    num_states = 1
    observation = jax.ShapeDtypeStruct((), jnp.int32)

    def reset(self, key):
        return jnp.int32(0)

    def step(self, key, state, action):
        return state, Outcome(jnp.float32(1), jnp.bool_(False), jnp.bool_(False))

    def observe(self, state):
        return state


@pytest.mark.parametrize("name", ["A2C", "PPO", "ActorCriticLambda", "Reinforce"])
def test_truncation_is_no_end(name):
    """The value is 1 / (1 - .9) = 10; taken for an end, truncation would give 6.5."""
    fields = {"num_envs": 1} if name in ("A2C", "PPO") else {"value_weight": 1.0}
    agent = getattr(purerl, name)(
        env=TimeLimit(Same(), 10),
        discount=0.9,
        learning_rate=0.05 if name != "Reinforce" else 0.01,
        max_grad_norm=math.inf,
        optimizer=SGD(),
        network=TABLE,
        **fields,
    )
    steps = 6_400 // agent.transitions_per_step
    state, _ = jax.jit(lambda: purerl.run.training.segment(agent, agent.init(KEY), 0, steps))()
    value = agent.value(agent.snapshot(state), jnp.int32(0))
    np.testing.assert_allclose(value, 10, atol=0.05)


def test_actions_in_units_of_their_range():
    pendulum = TimeLimit(Pendulum(), 200)
    plain, squashed = ScaledActions(pendulum), ScaledActions(pendulum, squash=True)
    u = jnp.array([0.5])
    np.testing.assert_allclose(plain.scale(u), [1.0])
    np.testing.assert_allclose(squashed.scale(u), 2 * np.tanh([0.5]), rtol=1e-6)
    agent = purerl.PPO(env=pendulum, squash=True, rollout_length=16)
    state, _ = jax.jit(agent.step)(agent.init(KEY), 0)
    snapshot = agent.snapshot(state)
    observation = jnp.array([1.0, 0.0, 0.0])
    actions = jax.vmap(agent.act, (None, 0, None))(snapshot, jax.random.split(KEY, 50), observation)
    assert actions.shape == (50, 1) and np.abs(actions).max() <= 2 and np.std(actions) > 0.5
    assert agent.greedy(snapshot, observation).shape == (1,)
    with pytest.raises(ValueError, match="DiscretizedActions"):
        purerl.DQN(env=pendulum)


class Unbounded(Pendulum):
    """Torques of any size."""

    @property
    def action_bounds(self):
        return jnp.array([-jnp.inf]), jnp.array([jnp.inf])


class Wholes(Pendulum):
    """Torques of -2, -1, 0, 1 or 2."""

    @property
    def action(self):
        return jax.ShapeDtypeStruct((1,), jnp.int32)


@pytest.mark.parametrize("kind", ["ScaledActions", "A2C", "Reinforce"])
@pytest.mark.parametrize(
    ("env", "what"),
    [
        (Unbounded(), "Unbounded, whose actions have no finite bounds"),
        (ScaledActions(Pendulum(), squash=True), r".*, whose actions have no finite bounds"),
        (Wholes(), "Wholes, whose actions are int32"),
    ],
)
def test_actions_without_a_range_are_refused(kind, env, what):
    """Nor are half of it and its middle known."""
    build = getattr(purerl.envs, kind, None) or getattr(purerl, kind)
    with pytest.raises(ValueError, match=rf"{kind}: env is {what}; allowed: .* bounded continuous"):
        build(env=env)


def test_finitely_many_actions_have_no_scale():
    with pytest.raises(ValueError, match=r"ScaledActions: env is .* bounded continuous actions"):
        ScaledActions(purerl.make("Pendulum-v1"))


def test_several_environments_may_be_given_for_vmap():
    torques = jnp.array([1.0, 2.0])
    agent = purerl.PPO(env=Pendulum(), network=TABLE, squash=True)
    both = agent.replace(env=Pendulum(max_torque=torques))
    axes = jax.tree.map(lambda x: 0 if x is both.env.max_torque else None, both)
    largest = jax.vmap(lambda agent: agent.acting_env.scale(jnp.array([9.0])), (axes,))(both)
    np.testing.assert_allclose(largest[:, 0], torques, rtol=1e-6)


@pytest.mark.parametrize("fields", [{"minibatches": 8}, {"normalize": "rollout", "num_envs": 1}])
def test_single_advantages_are_not_normalized(fields):
    """They would all be zero, and the policy never learn."""
    sizes = {"num_envs": 8, "rollout_length": 1, "minibatches": 1} | fields
    purerl.PPO(env=FiniteEnvironment.of(EPISODES), **sizes | {"normalize": "none"})
    with pytest.raises(ValueError, match="PPO: normalize is .* single transition"):
        purerl.PPO(env=FiniteEnvironment.of(EPISODES), **sizes)
