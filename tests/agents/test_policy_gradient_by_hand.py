"""Policy gradient agents step by step, against NumPy.

In a chain whose episodes terminate and are truncated, in the middle and at the end of
rollouts, and whose states all have different values: the one observed after a reset is
never the last one reached.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purerl
import purerl.random
from purerl import mdp, rollout
from purerl.agents import actor_critic
from purerl.envs import FiniteEnvironment, TimeLimit
from purerl.networks import ActorCritic
from purerl.optimizers import Adam
from tests import quick

KEY = purerl.random.key(5, "pcg4d")
TABLE = ActorCritic((), output_scale=1.0)  # logits and values linear in indicator vectors

NEXT = np.array([[1, 2], [2, 3], [3, 0], [0, 0]])
ENDS = np.array([[False, False], [False, False], [False, True], [True, True]])
REWARD = np.array([[1.0, -1.0], [0.5, 2.0], [-2.0, 1.5], [3.0, -0.5]])
CHAIN = TimeLimit(
    FiniteEnvironment.of(
        mdp.FiniteMDP(
            probability=np.ones((4, 2, 1)),
            next_state=NEXT[..., None],
            reward=REWARD[..., None],
            terminated=ENDS[..., None],
            initial=np.array([1.0, 0.0, 0.0, 0.0]),
        )
    ),
    3,
)


def lived(monkeypatch, agent, num_steps, **watched):
    """What an agent did.

    Args:
        monkeypatch: to watch functions by.
        agent: the agent.
        num_steps: iterations.
        watched: names of functions that ``step`` calls, and the modules it finds them
            in.

    Returns:
        The parameters at the start, those after each iteration, and the results of the
        functions in each iteration, as NumPy arrays.
    """
    results = {}

    def watch(name, function):
        def watching(*args):
            results[name] = function(*args)
            return results[name]

        return watching

    def step(state, t):
        state, _ = agent.step(state, t)
        return state, (state.params, dict(results))

    def run(key):
        state = agent.init(key)
        steps = jnp.arange(num_steps, dtype=jnp.int32)
        return state.params, jax.lax.scan(step, state, steps)[1]

    with monkeypatch.context() as patch:
        for name, module in watched.items():
            patch.setattr(module, name, watch(name, getattr(module, name)))
        start, (after, found) = jax.tree.map(np.asarray, quick.jit(run)(KEY))
    return flat(start), flat(after), found


def flat(params):
    """The parameters as one vector, ``[..., 15]``: logits of each state and those in
    common, then values."""
    layers = [params["network"]["params"][stream]["Dense_0"] for stream in ("actor", "critic")]
    leaves = [layer[part] for layer in layers for part in ("kernel", "bias")]
    sizes = [2, 1, 2, 1]
    shapes = [leaf.shape[: leaf.ndim - size] for leaf, size in zip(leaves, sizes, strict=True)]
    rows = [leaf.reshape(*shape, -1) for leaf, shape in zip(leaves, shapes, strict=True)]
    return np.concatenate(rows, axis=-1).astype(np.float64)


def log_policy(vector, s):
    logits = vector[:8].reshape(4, 2)[s] + vector[8:10]
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def value(vector, s):
    return vector[10:14][s] + vector[14]


def score(vector, s, a):
    r"""The gradient of :math:`\ln \pi(a \mid s)`."""
    gradient = np.zeros(15)
    above_mean = np.eye(2)[a] - np.exp(log_policy(vector, s))
    gradient[2 * s : 2 * s + 2] = gradient[8:10] = above_mean
    return gradient


def value_gradient(s):
    gradient = np.zeros(15)
    gradient[[10 + s, 14]] = 1
    return gradient


def numerical_gradient(function, vector, width=1e-6):
    moved = [(vector + width * e, vector - width * e) for e in np.eye(len(vector))]
    return np.array([(function(up) - function(down)) / (2 * width) for up, down in moved])


# One transition at a time.

GAMMA, ALPHA, CRITIC, LAMBDA, ENTROPY = 0.8, 0.1, 0.5, 0.7, 0.05


def steps(transitions):
    """Each as numbers."""
    names = ("observation", "action", "reward", "terminated", "truncated", "next_observation")
    columns = [getattr(transitions, name) for name in names]
    return [tuple(column[t].item() for column in columns) for t in range(len(columns[0]))]


def reinforce(vector, transitions, baseline, factor=GAMMA, follow=True):
    """Sutton & Barto's algorithms of sections 13.3 and 13.4, all steps of an episode
    taken at its end.

    Wrong if the ``factor`` of later states is another, or if a truncated episode does
    not go on although values are known.
    """
    after, episode, returns = [], [], []
    for s, a, reward, terminated, truncated, reached in steps(transitions):
        episode.append((s, a, reward))
        if terminated or truncated:
            goes_on = baseline == "learned" and follow and not terminated
            future = value(vector, reached) if goes_on else 0.0
            mean, step = np.mean(returns) if returns else 0.0, np.zeros(15)
            for t in reversed(range(len(episode))):
                s, a, reward = episode[t]
                future = reward + GAMMA * future
                expected = {"none": 0.0, "mean": mean, "learned": value(vector, s)}[baseline]
                step += factor**t * (future - expected) * score(vector, s, a)
                if baseline == "learned":
                    step += CRITIC * (future - expected) * value_gradient(s)
                returns.append(future)
            vector, episode = vector + ALPHA * step, []
        after.append(vector)
    return np.array(after)


@pytest.mark.parametrize("baseline", ["none", "mean", "learned"])
def test_reinforce(monkeypatch, baseline):
    agent = purerl.Reinforce(
        env=CHAIN,
        learning_rate=ALPHA,
        discount=GAMMA,
        value_weight=CRITIC,
        network=TABLE,
        baseline=baseline,
    )
    start, after, found = lived(monkeypatch, agent, 40, interact=rollout)
    transitions = found["interact"][1]
    assert_kinds_of_ends(transitions)
    by_hand = functools.partial(reinforce, start, transitions)
    np.testing.assert_allclose(after, by_hand(baseline), atol=2e-5)
    assert distance(after, by_hand(baseline, factor=1.0)) > 1e-2
    if baseline == "learned":
        assert distance(after, by_hand(baseline, follow=False)) > 1e-2


def actor_critic_lambda(vector, transitions, wrong=None):
    """Sutton & Barto's algorithm of section 13.5, with a bonus for entropy."""
    after, trace, factor = [], np.zeros(15), 1.0
    for s, a, reward, terminated, truncated, reached in steps(transitions):
        done = terminated or truncated
        ends = done if wrong == "truncation ends" else terminated
        seen = 0 if done and wrong == "observed after reset" else reached
        beyond = 0.0 if ends else value(vector, seen)
        error = reward + GAMMA * beyond - value(vector, s)
        policy_part = factor * score(vector, s, a)
        trace = GAMMA * LAMBDA * trace + policy_part + CRITIC * value_gradient(s)

        def entropy(vector, s=s):
            log_pi = log_policy(vector, s)
            return -np.sum(np.exp(log_pi) * log_pi)

        bonus = ENTROPY * numerical_gradient(entropy, vector)
        vector = vector + ALPHA * (error * trace + bonus)
        factor = factor * (1.0 if wrong == "undiscounted" else GAMMA)
        if done and wrong != "one trace":
            trace, factor = np.zeros(15), 1.0
        after.append(vector)
    return np.array(after)


def test_actor_critic_lambda(monkeypatch):
    agent = purerl.ActorCriticLambda(
        env=CHAIN,
        learning_rate=ALPHA,
        discount=GAMMA,
        value_weight=CRITIC,
        lambda_=LAMBDA,
        entropy_weight=ENTROPY,
        network=TABLE,
    )
    start, after, found = lived(monkeypatch, agent, 40, interact=rollout)
    transitions = found["interact"][1]
    assert_kinds_of_ends(transitions)
    np.testing.assert_allclose(after, actor_critic_lambda(start, transitions), atol=2e-5)
    for wrong in ("truncation ends", "observed after reset", "undiscounted", "one trace"):
        assert distance(after, actor_critic_lambda(start, transitions, wrong)) > 1e-2


def assert_kinds_of_ends(transitions):
    """Some episodes terminate and some are truncated."""
    assert transitions.terminated.any() and transitions.truncated.any()


def distance(a, b):
    return np.abs(a - b).max()


# Rollouts.

SETTINGS = {
    "discount": 0.9,
    "lambda_": 0.8,
    "learning_rate": 0.05,
    "entropy_weight": 0.02,
    "value_weight": 0.7,
    "max_grad_norm": 0.5,
    "clip": 0.1,
    "value_clip": 0.2,
}
B1, B2, EPS = 0.9, 0.99, 1e-3


def advantages(vector, rolled, discount, lambda_, wrong):
    """Lambda-returns and advantages of one environment's part of a rollout."""
    values = value(vector, rolled.observation)
    reached = rolled.next_observation
    if wrong == "observed after reset":
        reached = np.where(rolled.terminated | rolled.truncated, 0, reached)
    ends = rolled.terminated | (rolled.truncated & (wrong == "truncation ends"))
    if wrong == "termination goes on":
        ends = np.zeros_like(ends)
    beyond = np.where(ends, 0, value(vector, reached))
    cut = rolled.terminated | rolled.truncated | (np.arange(len(values)) == len(values) - 1)
    if wrong == "across episodes":
        cut = np.arange(len(values)) == len(values) - 1
    targets, later = np.zeros(len(values)), 0.0
    for t in reversed(range(len(values))):
        mixture = (1 - lambda_) * beyond[t] + lambda_ * later
        later = rolled.reward[t] + discount * (beyond[t] if cut[t] or ends[t] else mixture)
        if wrong == "window's end twice" and t == len(values) - 1:
            later += discount * lambda_ * beyond[t]
        targets[t] = later
    return targets, targets - values


class Rows(NamedTuple):
    """Transitions, and what was known of them when the policy acted, ``[N]``."""

    s: np.ndarray
    a: np.ndarray
    log_probability: np.ndarray
    value: np.ndarray
    target: np.ndarray
    advantage: np.ndarray


def rows_of(vector, rolled, numbers, wrong):
    """Of a rollout, in the order of times, and at each of environments."""
    streams = [jax.tree.map(lambda x, e=e: x[:, e], rolled) for e in range(2)]
    found = [
        advantages(vector, one, numbers["discount"], numbers["lambda_"], wrong) for one in streams
    ]
    target, advantage = (np.stack(part, axis=1).ravel() for part in zip(*found, strict=True))
    s, a = rolled.observation.ravel(), rolled.action.ravel()
    log_probability = log_policy(vector, s)[np.arange(8), a]
    return Rows(s, a, log_probability, value(vector, s), target, advantage)


def loss(vector, rows, numbers):
    """And the share of rows whose ratio is out of bounds."""
    clip, value_clip = numbers["clip"], numbers["value_clip"]
    log_pi = log_policy(vector, rows.s)
    ratio = np.exp(log_pi[np.arange(len(rows.s)), rows.a] - rows.log_probability)
    bounded = np.clip(ratio, 1 - clip, 1 + clip)
    policy_part = np.minimum(ratio * rows.advantage, bounded * rows.advantage)
    now = value(vector, rows.s)
    near = rows.value + np.clip(now - rows.value, -value_clip, value_clip)
    value_part = np.maximum((now - rows.target) ** 2, (near - rows.target) ** 2) / 2
    entropy = -np.sum(np.exp(log_pi) * log_pi, axis=1)
    total = (
        -policy_part + numbers["value_weight"] * value_part - numbers["entropy_weight"] * entropy
    )
    return total.mean(), np.mean(np.abs(ratio - 1) > clip)


def ppo(vector, rollouts, orders, wrong=None, **changed):
    """Schulman et al.'s algorithm, with gradients by differences.

    Returns the parameters after each rollout, and of each update the norm of the
    gradient and the share of ratios out of bounds.
    """
    numbers = SETTINGS | changed
    after, norms, shares = [], [], []
    mean, square = np.zeros(15), np.zeros(15)
    for rolled, order in zip(rollouts, orders, strict=True):
        whole = rows_of(vector, rolled, numbers, wrong)
        for index in order:
            rows = Rows(*(column[index] for column in whole))
            if wrong != "as they are":
                centered = rows.advantage - rows.advantage.mean()
                rows = rows._replace(advantage=centered / (rows.advantage.std() + 1e-8))
            shares.append(loss(vector, rows, numbers)[1])
            gradient = numerical_gradient(lambda v, rows=rows: loss(v, rows, numbers)[0], vector)
            norms.append(np.linalg.norm(gradient))
            gradient *= min(1.0, numbers["max_grad_norm"] / norms[-1])
            mean = B1 * mean + (1 - B1) * gradient
            square = B2 * square + (1 - B2) * gradient**2
            root = np.sqrt(square / (1 - B2 ** len(norms))) + EPS
            vector = vector - numbers["learning_rate"] * mean / (1 - B1 ** len(norms)) / root
        after.append(vector)
    return np.array(after), np.array(norms), np.array(shares)


# Numbers that are not the agent's, and other mistakes.
CHANGED = {
    "entropy_weight": 0.0,
    "value_weight": 0.5,
    "max_grad_norm": np.inf,
    "clip": np.inf,
    "value_clip": np.inf,
    "lambda_": 1.0,
}
WRONG = (
    "observed after reset",
    "truncation ends",
    "termination goes on",
    "across episodes",
    "window's end twice",
    "as they are",
)


def test_ppo(monkeypatch):
    """Two passes of two minibatches over each rollout of two environments."""
    agent = purerl.PPO(
        env=CHAIN,
        network=TABLE,
        optimizer=Adam(B1, B2, EPS),
        num_envs=2,
        rollout_length=4,
        epochs=2,
        minibatches=2,
        **SETTINGS,
    )
    start, after, found = lived(
        monkeypatch, agent, 6, rollout=actor_critic, minibatches=actor_critic
    )
    rolled, orders = found["rollout"][1], found["minibatches"]
    for order in orders.reshape(12, 8):  # each pass goes through all rows
        np.testing.assert_array_equal(np.sort(order), np.arange(8))
    assert_kinds_of_ends(rolled)
    assert rolled.truncated[:, -1].any() and rolled.truncated[:, :-1].any()
    rollouts = [jax.tree.map(lambda x, i=i: x[i], rolled) for i in range(6)]
    by_hand = functools.partial(ppo, start, rollouts, orders)
    expected, norms, clipped = by_hand()
    assert norms.min() < SETTINGS["max_grad_norm"] < norms.max()
    assert 0 < clipped.mean() < 1
    np.testing.assert_allclose(after, expected, atol=1e-5)
    changes = [{name: number} for name, number in CHANGED.items()]
    for change in changes + [{"wrong": wrong} for wrong in WRONG]:
        assert distance(after, by_hand(**change)[0]) > 1e-3, change
