"""Methods of control with linear values: against the book's boxes in plain Python, step
by step; against the tabular agents; and where their expected updates vanish."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purerl
import purerl.random
from purerl import agents, mdp, policy, schedule
from purerl.envs import TimeLimit, Transition
from purerl.envs.diagnostic import Featured, access_control
from purerl.features import TileCoding, add, dot
from purerl.run import evaluation, training
from tests import quick
from tests.agents.lived import lived

GAMMA, ALPHA, EPSILON, START, ETA = 0.9, 0.05, 0.4, 0.3, 0.5
RNG = np.random.default_rng(11)
POINTS = RNG.uniform(size=(5, 2)).astype(np.float32)
TILES = TileCoding([0, 0], [1, 1], tiles=2, tilings=4)


def featured(points, ends=0.12):
    """A garnet of five states, some of whose outcomes end the episode."""

    @quick.jit
    def build():
        model = mdp.garnet(purerl.random.key(0, "pcg4d"), 5, 3, 2)
        over = jax.random.bernoulli(purerl.random.key(100, "pcg4d"), ends, model.reward.shape)
        return model.replace(terminated=over, reward=model.reward + 1)

    return Featured.of(build(), features=jnp.asarray(points, jnp.float32))


ENV = featured(POINTS)
CLIPPED = TimeLimit(ENV, 2)
BASICS = {"learning_rate": ALPHA, "epsilon": EPSILON, "initial_value": START}
DISCOUNTED = {"discount": GAMMA, **BASICS}


def vector(observation, tiled):
    """The features written out, float64."""
    if not tiled:
        return np.asarray(observation, float)
    return np.eye(TILES.size)[np.asarray(TILES(jnp.asarray(observation)))].sum(axis=0)


def facts(experience, tiled):
    """(x, A, R, x', terminated, ended, x of the next start, A'): A' is None where the
    episode has ended."""
    for now, later in itertools.pairwise(experience):
        done = bool(now.terminated | now.truncated)
        yield (
            vector(now.observation, tiled),
            int(now.action),
            float(now.reward),
            vector(now.next_observation, tiled),
            bool(now.terminated),
            done,
            vector(later.observation, tiled),
            int(later.action),
        )


def weights(tiled):
    return np.full((TILES.size if tiled else 2, 3), START)


def sarsa(experience, tiled, n):
    """Sections 10.1 and 10.2."""
    w, steps = weights(tiled), []
    for x, a, r, x2, ends, done, _, a2 in facts(experience, tiled):
        steps.append((x, a, r))
        last = 0.0 if ends else x2 @ w[:, a2]
        first = len(steps) - n
        for tau in range(max(first, 0), len(steps)) if done else [first] if first >= 0 else []:
            window = steps[tau : tau + n]
            g = sum(GAMMA**i * step[2] for i, step in enumerate(window))
            g += GAMMA ** len(window) * last
            x_tau, a_tau, _ = steps[tau]
            w[:, a_tau] += ALPHA * (g - x_tau @ w[:, a_tau]) * x_tau
        if done:
            steps = []
        yield w.copy()


def q_learning(experience, tiled):
    """Section 11.1."""
    w = weights(tiled)
    for x, a, r, x2, ends, *_ in facts(experience, tiled):
        target = r + (0.0 if ends else GAMMA * (x2 @ w).max())
        w[:, a] += ALPHA * (target - x @ w[:, a]) * x
        yield w.copy()


def differential_sarsa(experience, tiled):
    """Section 10.3; an episode that ends goes on where the next begins."""
    w, mean = weights(tiled), 0.0
    for x, a, r, x2, ends, _done, start, a2 in facts(experience, tiled):
        delta = r - mean + (start if ends else x2) @ w[:, a2] - x @ w[:, a]
        mean += ETA * ALPHA * delta
        w[:, a] += ALPHA * delta * x
        yield w.copy()


BOXES = {
    **{
        f"{n}-step sarsa, {'tiles' if tiled else 'vectors'}": (
            agents.LinearSARSA(env=ENV, n=n, features=TILES if tiled else None, **DISCOUNTED),
            functools.partial(sarsa, tiled=tiled, n=n),
        )
        for n in (1, 3, 40)
        for tiled in (False, True)
    },
    **{
        f"q-learning, {'tiles' if tiled else 'vectors'}": (
            agents.LinearQLearning(env=CLIPPED, features=TILES if tiled else None, **DISCOUNTED),
            functools.partial(q_learning, tiled=tiled),
        )
        for tiled in (False, True)
    },
    **{
        f"differential sarsa, {'tiles' if tiled else 'vectors'}": (
            agents.DifferentialSARSA(
                env=ENV, gain_rate=ETA, features=TILES if tiled else None, **BASICS
            ),
            functools.partial(differential_sarsa, tiled=tiled),
        )
        for tiled in (False, True)
    },
}


def differs(monkeypatch, agent, box, num_steps=300):
    """The largest difference of the agent's weights from its box, and how far these
    move."""
    experience, states, _ = lived(monkeypatch, agent, num_steps)
    expected = np.stack(list(box(experience)))
    assert sum(bool(x.terminated) for x in experience) >= 4
    return np.abs(states.weights[: len(expected)] - expected).max(), np.ptp(expected, axis=0).max()


@pytest.mark.parametrize("name", BOXES)
def test_a_method_is_its_box(monkeypatch, name):
    off, moves = differs(monkeypatch, *BOXES[name])
    assert off < 2e-4 and moves > 0.3


def test_what_differential_sarsa_keeps_is_the_box_too(monkeypatch):
    """The gain of two steps by hand: eta alpha delta each."""
    agent, _ = BOXES["differential sarsa, vectors"]
    experience, states, _ = lived(monkeypatch, agent, 3)
    first, second, third = experience
    w, mean = weights(False), 0.0
    pairs = (first, second), (second, third)
    for (now, later), found in zip(pairs, states.memory.gain[:2], strict=True):
        x, x2 = np.asarray(now.observation, float), np.asarray(later.observation, float)
        delta = now.reward - mean + x2 @ w[:, later.action] - x @ w[:, now.action]
        w[:, now.action] += ALPHA * delta * x
        mean += ETA * ALPHA * delta
        assert found == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize("cls", [agents.LinearSARSA, agents.DifferentialSARSA])
def test_what_is_planned_is_done_but_not_after_a_cut(monkeypatch, cls):
    """Where the average counts, the end of an episode is a step like any other."""
    experience, states, _ = lived(monkeypatch, cls(env=CLIPPED, **BASICS), 200)
    cuts = 0
    for (now, later), planned in zip(
        itertools.pairwise(experience), states.memory.next_action[:-1], strict=True
    ):
        forgets = now.truncated | (now.terminated & (cls is agents.LinearSARSA))
        assert planned == (-1 if forgets else later.action)
        cuts += bool(now.truncated)
    assert cuts > 5


class ThroughTheEnd(agents.LinearSARSA):
    """Bootstraps through terminations."""

    def learn(self, key, state, transition, t):
        ends = transition.terminated
        going_on = transition._replace(terminated=ends & False, truncated=ends)
        return super().learn(key, state, going_on, t)


class FullGradient(agents.LinearQLearning):
    """Moves the target's weights, too."""

    def learn(self, key, state, transition, t):
        q = dot(state.weights, self.x(transition.next_observation))
        after = super().learn(key, state, transition, t)
        x, action = self.x(transition.observation), transition.action
        goes_on = GAMMA * (1 - transition.terminated.astype(jnp.float32))
        delta = transition.reward + goes_on * jnp.max(q) - dot(state.weights, x, action)
        back = -ALPHA * goes_on * delta
        moved = add(after.weights, jnp.argmax(q), self.x(transition.next_observation), back)
        return after._replace(weights=moved)


class Stopping(agents.DifferentialSARSA):
    """Takes the state after the last as the next, not the next start."""

    def learn(self, key, state, transition, t):
        going_on = transition._replace(terminated=transition.terminated & False)
        return super().learn(key, state, going_on, t)


WRONG = {
    "1-step sarsa, vectors": ThroughTheEnd,
    "3-step sarsa, tiles": ThroughTheEnd,
    "q-learning, vectors": FullGradient,
    "differential sarsa, vectors": Stopping,
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_variants_are_not_their_box(monkeypatch, name):
    right, box = BOXES[name]
    fields = {field.name: getattr(right, field.name) for field in dataclasses.fields(right)}
    off, _ = differs(monkeypatch, WRONG[name](**fields), box)
    assert off > 0.02


# ---- with an indicator of the state, they are the tabular agents ---------------------

LAKE = TimeLimit(purerl.make("FrozenLake-v1").env, 15)
SCHEDULED = {
    "learning_rate": schedule.power(0.5, 0.6, 30.0),
    "discount": 0.9,
    "epsilon": schedule.linear(1.0, 0.2, 500),
    "initial_value": 0.7,
}
SAME = {
    "sarsa": (agents.LinearSARSA, agents.SARSA, {}),
    "4-step sarsa": (agents.LinearSARSA, agents.NStepSARSA, {"n": 4}),
    "softmax sarsa": (agents.LinearSARSA, agents.SARSA, {"behavior": policy.Softmax(0.3)}),
    "q-learning": (agents.LinearQLearning, agents.QLearning, {}),
}


@pytest.mark.parametrize("name", SAME)
def test_tables_are_linear(name):
    """The same runs: keys, actions, returns and tables."""
    linear, tabular, fields = SAME[name]

    def run(agent):
        state, metrics = training.segment(agent, agent.init(purerl.random.key(3)), 0, 1000)
        return state, metrics

    (ours, ours_means), (theirs, their_means) = (
        quick.jit(run)(kind(env=LAKE, **SCHEDULED, **fields)) for kind in (linear, tabular)
    )
    np.testing.assert_allclose(ours.weights, theirs.q, rtol=1e-5, atol=1e-6)
    assert np.ptp(theirs.q) > 0.3
    for name, mean in their_means.items():
        assert ours_means[name] == mean
    written_out = linear(
        env=LAKE, features=lambda state: jax.nn.one_hot(state, 16), **SCHEDULED, **fields
    )
    np.testing.assert_allclose(
        quick.jit(run)(written_out)[0].weights, theirs.q, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("kind", ["tiles", "vectors"])
def test_bits_do_not_depend_on_the_width(kind):
    """Whatever the features, sums of several weights included."""
    agent = agents.LinearSARSA(
        env=CLIPPED, features=TILES if kind == "tiles" else None, **DISCOUNTED
    )
    keys = jax.random.split(purerl.random.key(5), 33)

    @jax.jit
    def run(keys):
        return jax.vmap(lambda key: training.segment(agent, agent.init(key), 0, 50)[0].weights)(
            keys
        )

    narrow, wide = np.asarray(run(keys[:2])), np.asarray(run(keys))
    np.testing.assert_array_equal(wide[:2], narrow)


# ---- expected updates ----------------------------------------------------------------


class Taken(policy.Policy):
    """Always the same action."""

    action: jax.Array

    def sample(self, key, inputs):
        return self.action


def expected_update(agent, w, memory=None):
    """The mean of an agent's own update from given weights, under the uniform policy
    and the states that it visits: of the weights, and of the gain."""
    model, points = agent.env.mdp, agent.env.features
    uniform = jnp.full((5, 3), 1 / 3)
    visits = mdp.stationary(model, uniform)
    chance = visits[:, None, None] / 3 * model.probability
    key = purerl.random.key(0)
    start = agent.init(key)._replace(weights=jnp.asarray(w, jnp.float32))

    def update(s, a, k, start_state, next_action):
        transition = Transition(
            points[s],
            a,
            model.reward[s, a, k],
            model.terminated[s, a, k],
            jnp.bool_(False),
            points[model.next_state[s, a, k]],
        )
        state = start._replace(env_state=start_state)
        if memory is not None:
            state = state._replace(memory=memory)
        chosen = agent.replace(behavior=Taken(next_action))
        after = chosen.learn(key, state, transition, jnp.int32(0))
        gain = 0.0 if memory is None else after.memory.gain - memory.gain
        return after.weights - start.weights, gain

    grid = jnp.meshgrid(*(jnp.arange(size) for size in (5, 3, 2, 5, 3)), indexing="ij")
    changes = quick.jit(jax.vmap(update))(*(axis.ravel() for axis in grid))
    each = chance[..., None, None] * model.initial[:, None] / 3 * jnp.ones(3)
    flat = np.asarray(each, float).ravel()
    return tuple(np.tensordot(flat, np.asarray(change, float), 1) for change in changes)


def equations():
    """Of the features of pairs, float64: ``d`` of transitions and what goes on,
    everything for :func:`expected_update` written with matrices."""
    model = jax.tree.map(np.asarray, ENV.mdp)
    d = np.asarray(mdp.stationary(ENV.mdp, jnp.full((5, 3), 1 / 3)), float)
    x = np.kron(POINTS.astype(float), np.eye(3)).reshape(5, 3, 6)  # of a pair: [2, A]
    mean = x.mean(axis=1)  # over the next action
    first = np.asarray(model.initial, float) @ mean
    return model, d, x, mean, first


def test_sarsa_rests_at_the_fixed_point():
    """Section 9.4's, of state-action pairs."""
    model, d, x, mean, _ = equations()
    a, b = np.zeros((6, 6)), np.zeros(6)
    for s, action, k in np.ndindex(5, 3, 2):
        share = d[s] / 3 * model.probability[s, action, k]
        after = 0 if model.terminated[s, action, k] else mean[model.next_state[s, action, k]]
        a += share * np.outer(x[s, action], x[s, action] - GAMMA * after)
        b += share * x[s, action] * model.reward[s, action, k]
    w = np.linalg.solve(a, b).reshape(2, 3)
    agent = agents.LinearSARSA(env=ENV, learning_rate=1.0, discount=GAMMA)
    np.testing.assert_allclose(expected_update(agent, w)[0], 0, atol=1e-5)
    np.testing.assert_allclose(
        expected_update(agent, w + 1)[0].ravel(), -a @ np.ones(6), atol=1e-5
    )  # what is missing elsewhere
    wrong = ThroughTheEnd(env=ENV, learning_rate=1.0, discount=GAMMA)
    assert np.abs(expected_update(wrong, w)[0]).max() > 0.01


def test_differential_sarsa_rests_at_the_average_reward():
    model, d, x, mean, first = equations()
    share = d[:, None, None] / 3 * model.probability
    gain = np.sum(share * model.reward)
    a, b = np.zeros((6, 6)), np.zeros(6)
    for s, action, k in np.ndindex(5, 3, 2):
        after = first if model.terminated[s, action, k] else mean[model.next_state[s, action, k]]
        a += share[s, action, k] * np.outer(x[s, action], x[s, action] - after)
        b += share[s, action, k] * x[s, action] * (model.reward[s, action, k] - gain)
    w = np.linalg.lstsq(a, b, rcond=None)[0].reshape(2, 3)
    agent = agents.DifferentialSARSA(env=ENV, learning_rate=1.0, gain_rate=1.0)
    memory = agent.init_memory()._replace(gain=jnp.float32(gain))
    found = expected_update(agent, w, memory)
    np.testing.assert_allclose(found[0], 0, atol=1e-5)
    np.testing.assert_allclose(found[1], 0, atol=1e-5)
    higher = memory._replace(gain=jnp.float32(gain + 0.5))
    np.testing.assert_allclose(expected_update(agent, w, higher)[1], -0.5, atol=1e-5)
    wrong = Stopping(env=ENV, learning_rate=1.0, gain_rate=1.0)
    assert np.abs(expected_update(wrong, w, memory)[0]).max() > 2e-3


def test_q_learning_rests_at_the_optimum():
    """With a vector of its own for each state, at Q*."""
    env = featured(np.eye(5))
    agent = agents.LinearQLearning(env=env, learning_rate=1.0, discount=GAMMA)
    q = np.asarray(mdp.optimal_q(env.mdp, GAMMA))
    np.testing.assert_allclose(expected_update(agent, q)[0], 0, atol=1e-5)
    assert np.abs(expected_update(agent, q * 1.1)[0]).max() > 0.01


def soft_gains(model, epsilon):
    """The average rewards of all epsilon-greedy policies in float64, ascending."""
    probability, next_state = np.asarray(model.probability, float), np.asarray(model.next_state)
    size = len(probability)
    transition = np.zeros((size, 2, size))
    s, a, _ = np.indices(probability.shape)
    np.add.at(transition, (s, a, next_state), probability)
    reward = (probability * np.asarray(model.reward, float)).sum(axis=-1)
    free = np.flatnonzero(np.asarray(model.available).all(axis=1))
    gains = []
    for serves in itertools.product((0, 1), repeat=len(free)):
        pi = np.tile([1.0, 0.0], (size, 1))
        pi[free] = epsilon / 2
        pi[free, serves] += 1 - epsilon
        chain = np.einsum("sa,sat->st", pi, transition)
        matrix = np.vstack([chain.T - np.eye(size), np.ones(size)])
        d = np.linalg.lstsq(matrix, np.append(np.zeros(size), 1), rcond=None)[0]
        gains.append(d @ (pi * reward).sum(axis=1))
    return np.sort(gains)


def test_differential_sarsa_finds_the_best_soft_gain():
    """In a small queue, within the sampling error of its runs."""
    env = access_control(num_servers=2, release=0.3)
    gains = soft_gains(env.mdp, 0.2)
    agent = agents.DifferentialSARSA(
        env=env, learning_rate=schedule.power(0.3, 1.0, 1000.0), gain_rate=0.1, epsilon=0.2
    )

    def run(key):
        state, _ = training.segment(agent, agent.init(key), 0, 60_000)
        return agent.gain(agent.snapshot(state))

    found = np.asarray(quick.optimizing_jit(jax.vmap(run))(jax.random.split(KEY, 64)))
    error = found.std(ddof=1) / np.sqrt(len(found))
    assert abs(found.mean() - gains[-1]) < 4 * error and error < 0.006
    # Most policies are far from it, and so is the best that does not explore.
    assert gains[-1] - np.median(gains) > 0.1
    assert soft_gains(env.mdp, 0.0)[-1] - gains[-1] > 0.1


KEY = purerl.random.key(7, "pcg4d")


def test_the_mountain_car_is_driven_up():
    """A hundred episodes, from 600 steps and more to fewer than 180."""
    car = purerl.envs.MountainCar()
    agent = agents.LinearSARSA(
        env=car,
        features=TileCoding(*car.observation_bounds),
        n=4,
        learning_rate=0.5 / 8,
        epsilon=0.0,
        discount=1.0,
    )
    found = purerl.over_episodes(lambda _: agent, jnp.zeros(1), 8, 100, lanes=8)["length"][0]
    assert found[:, 0].mean() > 600 and 98 < found[:, -20:].mean() < 180


def test_policies_that_count_are_refused():
    with pytest.raises(ValueError, match=r"LinearSARSA: behavior is UCB.*needs no visit counts"):
        agents.LinearSARSA(env=ENV, behavior=policy.UCB())


@pytest.mark.parametrize(
    ("cls", "fields"),
    [
        (agents.LinearSARSA, {"learning_rate": -0.1}),
        (agents.LinearSARSA, {"epsilon": 1.1}),
        (agents.LinearSARSA, {"discount": 1.1}),
        (agents.LinearSARSA, {"n": 0}),
        (agents.LinearQLearning, {"discount": -0.1}),
        (agents.LinearQLearning, {"initial_value": float("nan")}),
        (agents.DifferentialSARSA, {"gain_rate": -1.0}),
    ],
)
def test_wrong_numbers_are_refused(cls, fields):
    ((field, value),) = fields.items()
    with pytest.raises(ValueError, match=rf"{cls.__name__}: {field} is {value}; allowed: a"):
        cls(env=ENV, **fields)


def test_models_judge_linear_agents_exactly():
    """Against the optimum where one is discounted, else against the best gain."""
    found = evaluation.default(agents.LinearQLearning(env=ENV))
    assert isinstance(found, evaluation.Exact)
    found = evaluation.default(agents.DifferentialSARSA(env=ENV))
    assert isinstance(found, evaluation.ExactGain)
