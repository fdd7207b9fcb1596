"""Policy gradient agents against exact gradients, each other and fixed points."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import purerl
import purerl.random
from purerl import mdp
from purerl.envs import (
    FiniteEnvironment,
    ObservationNormalize,
    Outcome,
    Pendulum,
    ScaledActions,
    TimeLimit,
    Transition,
)
from purerl.networks import ActorCritic
from purerl.optimizers import SGD
from purerl.pytree import Node
from tests import quick

KEY = purerl.random.key(3, "pcg4d")
TABLE = ActorCritic(())  # on indicator vectors a table of logits and one of values

# Two decisions, one certain outcome of each, and different states behind the end.
NEXT = np.array([[1, 2], [0, 2], [1, 0]])
REWARD = np.array([[1.0, -2.0], [2.0, -1.0], [0.5, 4.0]])
ENDS = np.array([[False, False], [True, True], [True, True]])
EPISODES = mdp.FiniteMDP(
    probability=np.ones((3, 2, 1)),
    next_state=NEXT[..., None],
    reward=REWARD[..., None],
    terminated=ENDS[..., None],
    initial=np.array([1.0, 0.0, 0.0]),
)


ANY = (0.5, -1.0, 2.0)  # values, far from true
HEAD = jnp.array([[0.3, -0.2], [0.1, 0.4], [-0.5, 0.2]])
POLICY = jax.nn.softmax(HEAD)
WAYS = np.array(list(itertools.product(range(2), range(2)))).T  # the actions, [2 steps, 4 ways]


def transitions(states, actions):
    return Transition(
        observation=jnp.int32(states),
        action=jnp.int32(actions),
        reward=jnp.float32(REWARD[states, actions]),
        terminated=jnp.asarray(ENDS[states, actions]),
        truncated=jnp.zeros(states.shape, bool),
        next_observation=jnp.int32(NEXT[states, actions]),
    )


def every_way():
    """All episodes, leaves ``[2 steps, 4 ways]``, and their probabilities, ``[4]``."""
    states = np.stack([np.zeros(4, int), NEXT[0, WAYS[0]]])
    return transitions(states, WAYS), np.prod(POLICY[states, WAYS], axis=0)


def heads(params):
    """The kernels of policy and value, tables ``[..., 3, 2]`` and ``[..., 3]``."""
    streams = params["network"]["params"]
    actor, critic = (streams[name]["Dense_0"]["kernel"] for name in ("actor", "critic"))
    return np.asarray(actor, float), np.asarray(critic, float)[..., 0]


def start(agent, values=ANY):
    """A state with these logits and values."""
    state = quick.jit(agent.init)(KEY)
    streams = state.params["network"]["params"]
    streams["actor"]["Dense_0"]["kernel"] = HEAD
    streams["critic"]["Dense_0"]["kernel"] = jnp.float32(values)[:, None]
    return state


def exact(discount):
    return mdp.policy_gradient(EPISODES, HEAD, jnp.float32(discount))


@quick.jit
def after_episodes(agent, states, ways):
    """States after an episode each, leaves ``[4, ...]`` as those of ``states``."""

    def learn(state, transition):
        return agent.learn(state, transition, jnp.int32(0)), None

    def after(state, way):
        return jax.lax.scan(learn, state, way)[0]

    return jax.vmap(after, (0, 1))(states, ways)


def reinforce(**fields):
    """An agent of steps that are the gradient, and its state after earlier episodes of
    four steps, whose returns sum to six."""
    env = FiniteEnvironment.of(EPISODES)
    agent = purerl.Reinforce(env=env, learning_rate=1.0, discount=0.7, network=TABLE, **fields)
    state = start(agent)
    past = purerl.metrics.Mean(jnp.float32(6), jnp.float32(4))
    return agent, state._replace(memory=state.memory._replace(past=past))


def repeated(state, times):
    return jax.tree.map(lambda x: jnp.stack([x] * times), state)


def expected_step(agent, state):
    """What an episode adds to the logits, in expectation over all episodes."""
    ways, chances = every_way()
    after = after_episodes(agent, repeated(state, 4), ways)
    return np.einsum("w,wsa->sa", chances, heads(after.params)[0] - HEAD)


@pytest.mark.parametrize("baseline", ["none", "mean", "learned"])
def test_the_mean_step_of_reinforce_is_the_exact_gradient(baseline):
    step = expected_step(*reinforce(baseline=baseline))
    np.testing.assert_allclose(step, exact(0.7).gradient, atol=2e-6)


def test_without_the_discount_of_states_it_is_another():
    step = expected_step(*reinforce(baseline="none", discounted_states=False))
    found = exact(0.7)
    undiscounted = exact(1.0).visits[:, None] * found.policy * found.advantage
    np.testing.assert_allclose(step, undiscounted, atol=2e-6)
    assert np.abs(step - found.gradient).max() > 1e-2


def test_a_baseline_that_contains_the_return_shrinks_the_gradient():
    """With n returns in the mean, by 1 - 1 / n; here for episodes of one step."""
    agent, state = reinforce(baseline="mean")
    states, actions = np.ones((1, 2), int), np.arange(2)[None]
    reward, pi = REWARD[1], np.asarray(POLICY[1])
    gradient = pi * (reward - pi @ reward)

    def step(total, count):
        past = purerl.metrics.Mean(jnp.float32(total), jnp.full(2, count, jnp.float32))
        both = repeated(state, 2)
        both = both._replace(memory=both.memory._replace(past=past))
        after = after_episodes(agent, both, transitions(states, actions))
        return pi @ (heads(after.params)[0] - HEAD)[:, 1]

    np.testing.assert_allclose(step([6.0, 6.0], 4), gradient, atol=2e-6)
    np.testing.assert_allclose(step(6 + reward, 5), 0.8 * gradient, atol=2e-6)


@quick.jit
def rows_of(agent, params, ways):
    """Rows of each way as a rollout of one environment, leaves ``[4, 2, ...]``."""
    clock = jnp.int32(0)

    def rows(way):
        return agent.rows(params, jax.tree.map(lambda x: x[:, None], way), clock)

    return jax.vmap(rows, 1)(ways)


@quick.jit
def improved(agent, state, rows):
    """Parameters after learning from each way, leaves ``[4, ...]``."""

    def improve(rows):
        return agent.improve(KEY, state.params, state.opt_state, rows, jnp.int32(0))[0]

    return jax.vmap(improve)(rows)


def whole_rollouts(kind):
    """An agent whose steps are gradients and whose rollouts are episodes."""
    settings = {
        "env": FiniteEnvironment.of(EPISODES),
        "network": TABLE,
        "optimizer": SGD(),
        "learning_rate": 1.0,
        "max_grad_norm": math.inf,
        "discount": 0.7,
        "lambda_": 1.0,
        "num_envs": 1,
        "rollout_length": 2,
    }
    if kind == "PPO":
        return purerl.PPO(**settings, clip=0.01, normalize="none", epochs=1, minibatches=1)
    return purerl.A2C(**settings)


def expected_steps(agent, values, ends=None, change=lambda rows: rows):
    """What an episode adds to logits and values, in expectation over all episodes."""
    ways, chances = every_way()
    ways = ways if ends is None else ways._replace(terminated=jnp.asarray(ends))
    state = start(agent, values)
    after = heads(improved(agent, state, change(rows_of(agent, state.params, ways))))
    before = heads(state.params)
    # The loss is a mean over two rows.
    return [2 * np.tensordot(chances, a - b, 1) for a, b in zip(after, before, strict=True)]


@pytest.mark.parametrize("kind", ["A2C", "PPO"])
def test_the_mean_step_from_a_rollout_is_the_exact_gradient(kind):
    """But for the discount of states: of the sum of advantages over the states of an
    episode, which do not depend on the parameters. Whatever the values, and with true
    values whatever lambda."""
    agent = whole_rollouts(kind)
    found, visits = exact(0.7), np.asarray(exact(1.0).visits)
    gradient = visits[:, None] * found.policy * found.advantage
    logits, critic = expected_steps(agent, ANY)
    np.testing.assert_allclose(logits, gradient, atol=3e-6)
    values = np.asarray(mdp.evaluate_policy(EPISODES, POLICY, 0.7).values)
    weight = agent.value_weight
    np.testing.assert_allclose(critic, weight * visits * (values - ANY), atol=3e-6)
    assert np.abs(logits - found.gradient).max() > 1e-2
    undiscounted, _ = expected_steps(agent.replace(discount=1.0), ANY)
    np.testing.assert_allclose(undiscounted, exact(1.0).gradient, atol=3e-6)

    less = agent.replace(lambda_=0.3)
    logits, critic = expected_steps(less, values)
    np.testing.assert_allclose(logits, gradient, atol=3e-6)
    np.testing.assert_allclose(critic, 0, atol=3e-6)
    biased, _ = expected_steps(less, ANY)
    assert np.abs(biased - gradient).max() > 1e-2


@pytest.mark.parametrize("kind", ["A2C", "PPO"])
def test_the_mean_step_is_another_with_wrong_advantages(kind):
    """Those of another time, and of returns that go on after the end."""
    agent = whole_rollouts(kind)
    found = exact(0.7)
    gradient = exact(1.0).visits[:, None] * found.policy * found.advantage
    shifted, _ = expected_steps(
        agent, ANY, change=lambda rows: rows._replace(advantage=rows.advantage[:, ::-1])
    )
    endless, _ = expected_steps(agent, ANY, ends=np.zeros((2, 4), bool))
    for wrong in (shifted, endless):
        assert np.abs(wrong - gradient).max() > 1e-2


class Aim(Node):
    """One throw, as near to 1 as possible."""

    observation = jax.ShapeDtypeStruct((1,), jnp.float32)
    action = jax.ShapeDtypeStruct((1,), jnp.float32)
    action_bounds = (jnp.array([-2.0]), jnp.array([2.0]))

    def reset(self, key):
        return jnp.int32(0)

    def step(self, key, state, action):
        return state, Outcome(-((action[0] - 1) ** 2), jnp.bool_(True), jnp.bool_(False))

    def observe(self, state):
        return jnp.zeros(1, jnp.float32)


def test_the_mean_step_with_continuous_actions_is_the_exact_gradient():
    """An action of 2 u with a normal u yields -(2 mean - 1) ** 2 - 4 std ** 2, by
    quadrature that is exact here."""
    mean, std = 0.3, 0.5
    agent = purerl.A2C(
        env=Aim(),
        network=TABLE,
        optimizer=SGD(),
        learning_rate=1.0,
        max_grad_norm=math.inf,
        initial_std=std,
        num_envs=1,
        rollout_length=1,
    )
    state = quick.jit(agent.init)(KEY)
    streams = state.params["network"]["params"]
    streams["actor"]["Dense_0"]["bias"] = jnp.array([mean])
    streams["critic"]["Dense_0"]["bias"] = jnp.array([0.7])
    nodes, weights = np.polynomial.hermite_e.hermegauss(4)

    @quick.jit
    def step(action):
        _, transition = purerl.envs.interact(agent.acting_env, KEY, jnp.int32(0), action)
        rolled = jax.tree.map(lambda x: x[None, None], transition)
        rows = agent.rows(state.params, rolled, jnp.int32(0))
        params = agent.improve(KEY, state.params, state.opt_state, rows, jnp.int32(0))[0]
        changes = jax.tree.map(jnp.subtract, params, state.params)
        return changes["network"]["params"]["actor"]["Dense_0"]["bias"], changes["log_std"]

    found = [step(jnp.float32([mean + std * node])) for node in nodes]
    expected = np.average(np.array(found)[..., 0], axis=0, weights=weights)
    np.testing.assert_allclose(expected, [-4 * (2 * mean - 1), -8 * std**2], rtol=1e-5)


def test_one_step_of_ppo_from_a_rollout_is_that_of_a2c():
    """And the ratio before it is 1, though observations are normalized by statistics
    that have moved meanwhile."""
    settings = {
        "env": ObservationNormalize(TimeLimit(purerl.make("CartPole-v1"), 5)),
        "network": ActorCritic((8,), output_scale=1.0),
        "optimizer": SGD(),
        "learning_rate": 0.1,
        "lambda_": 0.9,
        "entropy_weight": 0.01,
        "num_envs": 2,
        "rollout_length": 8,
    }
    a2c = purerl.A2C(**settings)
    ppo = purerl.PPO(**settings, normalize="none", epochs=1, minibatches=1)

    def run(agent):
        def step(state, t):
            state, metrics = agent.step(state, t)
            return state, (metrics, state.params, state.env_state.mean)

        return jax.lax.scan(step, agent.init(KEY), jnp.arange(4, dtype=jnp.int32))[1]

    (_, plain, _), (metrics, clipped, means) = quick.jit(run)(a2c), quick.jit(run)(ppo)
    assert np.abs(metrics["kl"].total).max() < 1e-9
    assert np.abs(np.diff(means, axis=0)).max() > 1e-2
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(clipped), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


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
    agent = purerl.PPO(env=pendulum, squash=True, network=TABLE, initial_std=2.0)
    observation = jnp.array([1.0, 0.0, 0.0])

    @quick.jit
    def acts(keys):
        snapshot = agent.snapshot(agent.init(KEY))
        actions = jax.vmap(agent.act, (None, 0, None))(snapshot, keys, observation)
        mean = agent.distribution(snapshot.params, observation).mean
        return actions, agent.greedy(snapshot, observation), mean

    actions, greedy, mean = acts(jax.random.split(KEY, 500))
    assert actions.shape == (500, 1) and np.abs(actions).max() <= 2
    np.testing.assert_allclose(greedy, 2 * np.tanh(mean), rtol=1e-6)
    found = scipy.stats.kstest(np.arctanh(actions[:, 0] / 2), "norm", (mean[0], 2.0))
    assert found.pvalue > 1e-3
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
    """Half of the range, the unit of the policy's numbers, is then not known."""
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
    with pytest.raises(ValueError, match=r"PPO: normalize is .* single transition"):
        purerl.PPO(env=FiniteEnvironment.of(EPISODES), **sizes)
