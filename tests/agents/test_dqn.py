"""Deep Q-learning, against a NumPy reference, true experience and problems whose
values are known."""

import functools

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purerl
import purerl.random
from purerl import heads, mdp, policy, replay, targets
from purerl.envs import FiniteEnvironment, FrameStack, OneHot, Outcome, TimeLimit
from purerl.mdp import FiniteMDP
from purerl.networks import MLP, ConvNet
from purerl.pytree import Node
from purerl.run import training
from tests import quick

KEY = purerl.random.key(1, "pcg4d")
SMALL = {
    "train_period": 2,
    "num_envs": 2,
    "target_period": 12,
    "batch_size": 16,
    "replay": replay.Uniform(64),
    "learning_starts": 32,
}


def finite(rng, num_states=5, num_actions=3):
    """A model in which a third of the steps end the episode, with rewards wide
    enough for Huber's linear part."""
    shape = (num_states, num_actions, 2)
    return FiniteMDP(
        probability=np.full(shape, 0.5),
        next_state=rng.integers(num_states, size=shape),
        reward=rng.normal(0, 2, shape),
        terminated=rng.random(shape) < 1 / 3,
        initial=np.full(num_states, 1 / num_states),
    )


TARGETS = {"q_learning": targets.QLearning(), "double_q": targets.DoubleQ()}
LOSSES = {"mse": heads.Squared(), "huber": heads.Huber()}


class Known(replay.Uniform):
    """Draws the same slots every time."""

    def sample(self, buffer, key, draw):
        index = jnp.arange(20, 20 + draw.batch_size)
        transition, discount = replay.n_step(buffer, index, 1, draw)
        return replay.Batch(transition, discount, jnp.ones(draw.batch_size), index)


ENV = OneHot(TimeLimit(FiniteEnvironment.of(finite(np.random.default_rng(0))), 4), 5)


init = quick.jit(lambda agent, key: agent.init(key))
step = quick.jit(lambda agent, state, t: agent.step(state, t))
step_on_known_batch = quick.jit(lambda agent, state, t: agent.step(state, t))


def layers(params):
    """Weights and biases, float64, in order."""
    dense = params["params"]
    return [
        np.asarray(dense[f"Dense_{i}"][kind], float)
        for i in range(len(dense))
        for kind in ("kernel", "bias")
    ]


def forward(weights, x):
    """The outputs of a perceptron with one hidden layer of rectifiers, and the
    hidden layer."""
    w0, b0, w1, b1 = weights
    hidden = np.maximum(x @ w0 + b0, 0)
    return hidden @ w1 + b1, hidden


def reference_gradient(weights, target_weights, batch, discount, target, loss):
    """Loss, mean action value and gradient, by hand."""
    index = np.arange(len(batch.action))
    q, hidden = forward(weights, batch.observation)
    next_target = forward(target_weights, batch.next_observation)[0]
    choosing = forward(weights, batch.next_observation)[0] if target == "double_q" else next_target
    bootstrap = next_target[index, choosing.argmax(axis=1)]
    goal = batch.reward + discount * np.where(batch.terminated, 0, bootstrap)
    error = q[index, batch.action] - goal
    value, slope = {
        "mse": (error**2, 2 * error),
        "huber": (
            np.where(np.abs(error) <= 1, error**2 / 2, np.abs(error) - 0.5),
            np.clip(error, -1, 1),
        ),
    }[loss]
    d_q = np.zeros_like(q)
    d_q[index, batch.action] = slope / len(index)
    d_hidden = (d_q @ weights[2].T) * (hidden > 0)
    gradient = [batch.observation.T @ d_hidden, d_hidden.sum(0), hidden.T @ d_q, d_q.sum(0)]
    return value.mean(), q[index, batch.action].mean(), gradient, error


def clip(gradient, max_norm):
    norm = np.sqrt(sum((g**2).sum() for g in gradient))
    return [g * min(1, max_norm / norm) for g in gradient], norm


@pytest.mark.parametrize("max_grad_norm", [0.05, 1e6])
@pytest.mark.parametrize(
    ("target", "loss"),
    [
        ("q_learning", "mse"),
        ("double_q", "huber"),
    ],
)
def test_updates_are_those_of_the_formulas(target, loss, max_grad_norm):
    """Three updates with Adam, so that its moments and their correction are seen to
    be kept, on batches that are known."""
    agent = purerl.DQN(
        env=ENV,
        learning_rate=3e-2,
        discount=0.9,
        max_grad_norm=max_grad_norm,
        target=TARGETS[target],
        head=heads.Scalar(LOSSES[loss]),
        network=MLP((7,)),
        **SMALL | {"replay": Known(64)},
    )
    state, other = (init(agent, purerl.random.key(seed, "pcg4d")) for seed in (1, 9))
    state = state._replace(target_params=other.params)  # online and target differ
    weights, target_weights = layers(state.params), layers(state.target_params)
    first = second = [np.zeros_like(w) for w in weights]
    linear = clipped = 0
    for t in range(3):
        state, metrics = step_on_known_batch(agent, state, t)
        batch = jax.tree.map(lambda x: np.asarray(x)[20:36], state.buffer)
        value, q, gradient, error = reference_gradient(
            weights, target_weights, batch, 0.9, target, loss
        )
        linear += (np.abs(error) > 1).sum()
        gradient, norm = clip(gradient, max_grad_norm)
        clipped += norm > max_grad_norm
        first = [0.9 * m + 0.1 * g for m, g in zip(first, gradient, strict=True)]
        second = [0.999 * v + 0.001 * g**2 for v, g in zip(second, gradient, strict=True)]
        weights = [
            w - 3e-2 * (m / (1 - 0.9 ** (t + 1))) / (np.sqrt(v / (1 - 0.999 ** (t + 1))) + 1e-8)
            for w, m, v in zip(weights, first, second, strict=True)
        ]
        assert metrics["loss"].count == metrics["q"].count == 1
        np.testing.assert_allclose(
            [metrics["loss"].total, metrics["q"].total], [value, q], rtol=1e-4, atol=1e-6
        )
        for got, expected in zip(layers(state.params), weights, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-3, atol=2e-5)
        if t < 2:  # the target period of twelve transitions is three updates
            for got, expected in zip(layers(state.target_params), target_weights, strict=True):
                np.testing.assert_array_equal(got, expected)
    assert linear and clipped == (
        3 if max_grad_norm < 1 else 0
    )  # what was to be told apart was there


@pytest.mark.parametrize("step_size", [1.0, 0.25])
def test_the_target_follows_at_its_period_and_not_between(step_size):
    agent = purerl.DQN(env=ENV, target_step_size=step_size, network=MLP((7,)), **SMALL)
    state = init(agent, KEY)
    for t in range(7):
        before = state
        state, _ = step(agent, state, t)
        for old, online, new in zip(
            *map(layers, (before.target_params, state.params, state.target_params)), strict=True
        ):
            if (t + 1) * 4 % 12:
                np.testing.assert_array_equal(new, old)
            elif step_size == 1:
                np.testing.assert_array_equal(new, online)  # a copy, to the last bit
            else:
                assert not np.array_equal(online, old)
                np.testing.assert_allclose(new, 0.25 * online + 0.75 * old, rtol=1e-6, atol=1e-7)


class Ladder(Node):
    """Everything about a step can be read from it: observed are the rung and a
    number drawn at the episode's start."""

    num_actions = 3
    observation = jax.ShapeDtypeStruct((2,), jnp.float32)

    def reset(self, key):
        return jnp.array([0.0, jax.random.uniform(key)])

    def step(self, key, state, action):
        del key
        state = state.at[0].add(action)
        return state, Outcome(10 * state[0] + action, state[0] >= 5, jnp.bool_(False))

    def observe(self, state):
        return state


@pytest.mark.parametrize(("num_envs", "train_period", "iterations"), [(1, 4, 11), (3, 2, 7)])
def test_the_buffer_holds_what_really_happened(num_envs, train_period, iterations):
    limit, size = 4, 48
    agent = purerl.DQN(
        env=TimeLimit(Ladder(), limit),
        num_envs=num_envs,
        train_period=train_period,
        target_period=24,
        batch_size=8,
        replay=replay.Uniform(size),
        learning_starts=24,
        epsilon=0.5,
        network=MLP((4,)),
    )
    per_step = num_envs * train_period
    assert agent.transitions_per_step == per_step
    state = init(agent, KEY)
    assert not any(
        np.asarray(leaf)[24:].any() for leaf in jax.tree.leaves(state.buffer)
    )  # the warm-up, and no more
    assert np.asarray(state.buffer.observation)[:24, 1].all()
    state, totals = quick.jit(lambda state: training.segment(agent, state, 0, iterations))(state)

    added = 24 + iterations * per_step
    oldest_first = (added + np.arange(size)) % size
    kept = jax.tree.map(lambda x: np.asarray(x)[oldest_first], state.buffer)  # [size], oldest first
    kept = jax.tree.map(lambda x: x.reshape(-1, num_envs, *x.shape[1:]), kept)
    o, a, r, terminated, truncated, o_next, _ = kept
    assert len(set(a.ravel().tolist())) == 3
    np.testing.assert_array_equal(
        o_next, o + np.stack([a, np.zeros_like(a)], axis=-1)
    )  # also where the episode ended
    np.testing.assert_array_equal(r, 10 * o_next[..., 0] + a)
    np.testing.assert_array_equal(terminated, o_next[..., 0] >= 5)
    ended = terminated | truncated
    assert terminated.any() and truncated.any() and not (terminated & truncated).any()
    for env in range(num_envs):
        going_on = ~ended[:-1, env]
        np.testing.assert_array_equal(o[1:, env][going_on], o_next[:-1, env][going_on])
        fresh = o[1:, env][~going_on]
        np.testing.assert_array_equal(fresh[:, 0], 0)
        assert len(set(fresh[:, 1].tolist())) == len(fresh)  # of an episode of its own
        assert (fresh[:, 1] != o_next[:-1, env][~going_on][:, 1]).all()
        ends = np.flatnonzero(ended[:, env])
        for begin, end in zip(ends[:-1] + 1, ends[1:], strict=True):
            assert truncated[end, env] == (end - begin + 1 == limit and not terminated[end, env])
    assert len({o[0, env, 1] for env in range(num_envs)}) == num_envs  # environments differ

    # The returns of the episodes that ended since the warm-up: as far as the buffer
    # goes back, they can be seen in it.
    if iterations * per_step <= size:
        since = jax.tree.map(lambda x: x[-iterations * train_period :], kept)
        done = since.terminated | since.truncated
        assert totals["episode_return"].count == done.sum()
    assert totals["loss"].count == totals["q"].count == iterations


def test_behavior_follows_the_network_but_for_epsilon():
    agent = purerl.DQN(env=ENV, epsilon=0.0, learning_rate=1e-12, network=MLP((7,)), **SMALL)
    start = init(agent, KEY)
    state, _ = quick.jit(lambda state: training.segment(agent, state, 0, 16))(start)
    q = forward(layers(state.params), np.eye(5))[0]
    act = quick.jit(jax.vmap(agent.act, (None, None, 0)))
    acted = act(agent.snapshot(state), KEY, np.eye(5, dtype=np.float32))
    np.testing.assert_array_equal(acted, q.argmax(axis=1))
    np.testing.assert_array_equal(
        state.buffer.action, q.argmax(axis=1)[np.asarray(state.buffer.observation).argmax(axis=1)]
    )
    warm = np.asarray(start.buffer.action)[:32]
    assert len(set(warm.tolist())) == 3  # the warm-up ignores it all


def probe(rewards, next_state, terminated, initial):
    """A model of two states and two actions, nothing in it random but the start."""
    table = {
        "reward": np.array(rewards, float),
        "next_state": np.array(next_state),
        "terminated": np.array(terminated),
    }
    table = {name: np.broadcast_to(x, (2, 2))[..., None] for name, x in table.items()}
    return FiniteMDP(probability=np.ones((2, 2, 1)), initial=np.array(initial, float), **table)


# After Andy Jones, "Debugging reinforcement learning systems" (2021). Each needs one
# thing more than those before it.
PROBES = {
    "constant reward": probe(1, 0, True, [1, 0]),
    "reward of the observation": probe([[1, 1], [-1, -1]], 0, True, [0.5, 0.5]),
    "reward one step later": probe(
        [[0, 0], [1, 1]], [[1, 1], [0, 0]], [[False, False], [True, True]], [1, 0]
    ),
    "reward of the action": probe([[1, -1], [1, -1]], 0, True, [1, 0]),
    "reward of observation and action": probe([[1, -1], [-1, 1]], 0, True, [0.5, 0.5]),
    "no end but the time limit": probe(1, 0, False, [1, 0]),
}


@pytest.mark.parametrize("target", ["q_learning", pytest.param("double_q", marks=pytest.mark.slow)])
def test_probes(target):
    """Values known in closed form, and all at once: a lane for each probe and seed."""
    discount, seeds = 0.5, 3
    models = jax.tree.map(lambda *x: np.stack(x), *PROBES.values())

    def run(model, key):
        agent = purerl.DQN(
            env=OneHot(TimeLimit(FiniteEnvironment.of(model), 3), 2),
            learning_rate=3e-3,
            discount=discount,
            epsilon=0.5,
            target=TARGETS[target],
            network=MLP((16,)),
            num_envs=1,
            train_period=4,
            target_period=40,
            batch_size=32,
            replay=replay.Uniform(400),
            learning_starts=200,
        )
        state, _ = training.segment(agent, agent.init(key), 0, 1_500)
        return jax.vmap(functools.partial(agent.q_network.apply, state.params))(
            jnp.eye(2)
        ), mdp.optimal_q(model, discount)

    q, exact = quick.optimizing_jit(jax.vmap(jax.vmap(run, (None, 0)), (0, None)))(
        models, jax.random.split(KEY, seeds)
    )
    known = [
        [[1, 1]],
        [[1, 1], [-1, -1]],
        [[0.5, 0.5], [1, 1]],
        [[1, -1]],
        [[1, -1], [-1, 1]],
        [[2, 2]],
    ]
    for i, (name, values) in enumerate(zip(PROBES, known, strict=True)):
        met = slice(0, len(values))
        np.testing.assert_allclose(exact[i, 0, met], values, atol=1e-6)
        np.testing.assert_allclose(
            q[i, :, met], np.broadcast_to(values, (seeds, len(values), 2)), atol=0.05, err_msg=name
        )


def test_it_learns_to_balance():
    agent = purerl.DQN(
        env=purerl.make("CartPole-v1"), epsilon=purerl.schedule.linear(1.0, 0.05, 5_000)
    )
    keys = jax.random.split(KEY, 4)
    train = quick.optimizing_jit(jax.vmap(lambda key: purerl.train(agent, key, 20_000, points=10)))
    _, curves = train(keys)
    returns = np.asarray(curves["episode_return"])
    assert (returns[:, 0] < 40).all()  # a random policy falls after about 22 steps
    assert (returns[:, -3:].max(axis=1) > 90).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch_size": 20_000}, "batch_size is 20000; allowed: at most replay.capacity, 10000"),
        (
            {"replay": replay.Uniform(10_005)},
            "replay.capacity is 10005; allowed: a positive multiple of 10",
        ),
        ({"learning_starts": 1_001}, "learning_starts is 1001; allowed: a positive multiple of 10"),
        ({"learning_starts": 0}, "learning_starts is 0"),
        ({"target_period": 505}, "target_period is 505; allowed: a positive multiple of 10"),
        ({"num_envs": 3}, "target_period is 500; allowed: a positive multiple of 30"),
        ({"num_envs": 0}, "num_envs is 0; allowed: a positive whole number"),
        ({"train_period": -1}, "train_period is -1"),
        ({"batch_size": 2.5}, "batch_size is 2.5"),
        ({"target": "double_q"}, "target is 'double_q'; allowed: a target, such as"),
        ({"head": "mse"}, "head is 'mse'; allowed: a head, such as purerl.heads.Scalar"),
        ({"replay": 10_000}, r"replay is 10000; allowed: a replay, such as .*Uniform\(10_000\)"),
        ({"optimizer": "adam"}, "optimizer is 'adam'; allowed: an optimizer, such as"),
        ({"network": (64, 64)}, r"network is \(64, 64\); allowed: a flax module"),
        ({"behavior": policy.UCB()}, "behavior is UCB; allowed: a policy that needs no visit"),
        ({"replay": replay.Uniform(n=1002)}, "replay.n is 1002; allowed: at most 1000"),
        (
            {"replay": replay.Uniform(n=3), "target": targets.Munchausen()},
            "replay.n is 3; allowed: 1 with the target Munchausen",
        ),
        (
            {"network": flax.linen.Dense(5)},
            r"network is Dense, which gives \(5,\); allowed: a flax",
        ),
        pytest.param({"train_period": True}, "train_period"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        purerl.DQN(env=purerl.make("CartPole-v1"), **fields)


def test_boards_go_through_convolutions():
    """Bool boards are replayed as they are, and learning moves every layer."""
    env = purerl.make("MinAtar/Breakout-v1")
    sizes = {
        "replay": replay.Uniform(400),
        "learning_starts": 80,
        "target_period": 40,
        "train_period": 4,
        "batch_size": 16,
    }
    agent = purerl.DQN(env=env, network=ConvNet((4,), (16,)), **sizes)
    state = init(agent, purerl.random.key(0))
    after, metrics = quick.jit(lambda state: jax.lax.scan(agent.step, state, jnp.arange(20)))(state)
    assert after.buffer.observation.dtype == bool and after.buffer.observation.shape == (400, 400)
    assert np.isfinite(metrics["loss"].total).all()
    moved = jax.tree.map(lambda a, b: not np.array_equal(a, b), after.params, state.params)
    assert jax.tree.all(moved)

    @quick.jit
    def values(after, key):
        return agent.values(agent.snapshot(after), env.observe(env.reset(key)))

    assert values(after, purerl.random.key(1)).shape == (3,)


def test_indices_of_states_enter_as_indicators():
    """As under ``OneHot``, bit for bit, and in the layout of a batch of any shape."""
    lake = purerl.make("FrozenLake-v1", slip=0.0)
    sizes = {
        "network": MLP((8,)),
        "batch_size": 8,
        "learning_starts": 20,
        "replay": replay.Uniform(40),
    }
    final = []
    for env in (lake, OneHot(lake, 16)):
        agent = purerl.DQN(env=env, **sizes)
        train = jax.jit(jax.vmap(lambda key, agent=agent: purerl.train(agent, key, 200, points=1)))
        state, curves = train(jax.random.split(KEY, 2))
        final.append((state.params, curves))
        assert state.params["params"]["Dense_0"]["kernel"].shape == (2, 16, 8)
    jax.tree.map(np.testing.assert_array_equal, *final)
    stacked = purerl.DQN(env=FrameStack(lake, 3), **sizes)
    assert stacked.q_network == MLP((8,), 4, observation_ndim=1, num_states=16)


def test_an_integer_of_unknown_range_is_refused():
    class Count(Node):
        num_actions = 2
        observation = jax.ShapeDtypeStruct((), jnp.int32)

        def reset(self, key):
            return jnp.int32(0)

        def step(self, key, state, action):
            return state + 1, Outcome(jnp.float32(0), state > 9, jnp.bool_(False))

        def observe(self, state):
            return state

    says = "DQN: env is Count, which observes one integer; allowed: only with env.num_states"
    with pytest.raises(ValueError, match=says):
        purerl.DQN(env=Count())
    assert purerl.DQN(env=OneHot(Count(), 11)).q_network.num_states is None


def test_convolutions_are_for_boards_only():
    with pytest.raises(ValueError, match=r"board has shape \[4\]; allowed: \[..., H, W, C\]"):
        purerl.DQN(env=purerl.make("CartPole-v1"), network=ConvNet((4,)))


def test_a_learning_rate_may_be_annealed_to_zero():
    schedule = purerl.schedule.linear(1e-3, 0.0, steps=100)
    assert purerl.DQN(env=ENV, learning_rate=schedule, **SMALL).learning_rate == schedule
