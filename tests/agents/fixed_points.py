"""Exact fixed points of the operators behind deep Q-learning, by dynamic programming.

All is NumPy, on models of a few states. A fixed point is computed from the paths of
``n`` steps that a model allows: of means, of probabilities on atoms, or of quantiles.
"""

import itertools
from typing import NamedTuple

import numpy as np
from scipy.special import log_softmax

from purerl import replay
from purerl.envs import Transition
from purerl.mdp import FiniteMDP

S, A, GAMMA = 6, 3, 0.9


def noisy_model(rng):
    """Two outcomes of every action, a sixth of which end the episode."""
    shape = (S, A, 2)
    return FiniteMDP(
        probability=np.broadcast_to([5 / 16, 11 / 16], shape),
        next_state=rng.integers(S, size=shape),
        reward=rng.normal(0, 0.5, shape),
        terminated=rng.random(shape) < 1 / 6,
        initial=np.full(S, 1 / S),
    )


def binary_model(rng):
    """Rewards of a coin, 0 or 1, beside fixed ones: discounted by a half, their sum is
    uniform on an interval of length 2, whatever is done."""
    fixed = rng.normal(size=(S, A, 1))
    next_state = rng.integers(S, size=(S, A, 1))
    return FiniteMDP(
        probability=np.full((S, A, 2), 0.5),
        next_state=np.broadcast_to(next_state, (S, A, 2)),
        reward=fixed + np.array([0.0, 1.0]),
        terminated=np.zeros((S, A, 2), bool),
        initial=np.full(S, 1 / S),
    )


class Paths(NamedTuple):
    """All paths of up to ``n`` steps from every pair, arrays ``[P]``."""

    state: np.ndarray
    action: np.ndarray
    reward: np.ndarray  # discounted sum
    discount: np.ndarray  # gamma to the power of the steps taken
    terminated: np.ndarray
    next_state: np.ndarray
    probability: np.ndarray  # given the pair


def paths(model, discount, n, behavior):
    """Paths on which the actions after the first follow ``behavior``, ``[S, A]``."""
    table = {
        name: np.asarray(getattr(model, name))
        for name in ("probability", "next_state", "reward", "terminated")
    }
    found = []

    def walk(pair, reward, factor, probability, state, action, steps):
        for k in range(table["probability"].shape[2]):
            place = state, action, k
            total = reward + factor * float(table["reward"][place])
            chance = probability * float(table["probability"][place])
            reached, ended = int(table["next_state"][place]), bool(table["terminated"][place])
            if ended or steps == n:
                found.append((*pair, total, factor * discount, ended, reached, chance))
                continue
            for following in np.flatnonzero(behavior[reached]):
                p = chance * behavior[reached, following]
                walk(pair, total, factor * discount, p, reached, following, steps + 1)

    for pair in itertools.product(range(S), range(A)):
        walk(pair, 0.0, 1.0, 1.0, *pair, 1)
    return Paths(*(np.array(column) for column in zip(*found, strict=True)))


def batch_of(path, size):
    """The paths as a batch whose mean loss is the expectation, summed over pairs,
    filled up with entries of no weight."""

    def filled(x):
        return np.concatenate([x, np.zeros(size - len(x), x.dtype)])

    transition = Transition(
        observation=filled(path.state.astype(np.int32)),
        action=filled(path.action.astype(np.int32)),
        reward=filled(path.reward),
        terminated=filled(path.terminated),
        truncated=np.zeros(size, bool),
        next_observation=filled(path.next_state.astype(np.int32)),
    )
    weight = filled(path.probability) * size
    return replay.Batch(transition, filled(path.discount), weight, np.arange(size))


# Targets, as the paper writes them: weights of the next actions, what is added to the
# value of the next state, and to the reward, from action values [S, A].


class Rule(NamedTuple):
    weights: np.ndarray  # [S, A]
    entropy: np.ndarray  # [S]
    bonus: np.ndarray  # [S, A]


def greedy(q):
    return Rule(np.eye(q.shape[1])[q.argmax(axis=1)], np.zeros(len(q)), np.zeros(q.shape))


def munchausen(q, temperature, scale, clip):
    log_pi = log_softmax(q / temperature, axis=1)
    entropy = -temperature * (np.exp(log_pi) * log_pi).sum(axis=1)
    bonus = scale * np.clip(temperature * log_pi, clip, 0)
    return Rule(np.exp(log_pi), entropy, bonus)


def expectation(path, values):
    """The expectation of ``values [P, ...]`` for each pair, ``[S, A, ...]``."""
    total = np.zeros((S, A, *values.shape[1:]))
    weight = path.probability.reshape(-1, *[1] * (values.ndim - 1))
    np.add.at(total, (path.state, path.action), weight * values)
    return total


def going_on(path):
    """The factor of what comes after a path, ``[P]``."""
    return np.where(path.terminated, 0, path.discount)


def mean_fixed_point(path, rule):
    """Action values, by iteration of the operator."""
    q = np.zeros((S, A))
    for _ in range(400):
        now = rule(q)
        next_value = (now.weights * q).sum(axis=1) + now.entropy
        q = now.bonus + expectation(
            path, path.reward + going_on(path) * next_value[path.next_state]
        )
    return q


def moved(path, now, z):
    """Where a path takes each of the numbers ``z [..., K]`` said of the next state,
    ``[P, K]``."""
    z = np.broadcast_to(z, (S, z.shape[-1])) + now.entropy[:, None]
    reward = path.reward + now.bonus[path.state, path.action]
    return reward[:, None] + going_on(path)[:, None] * z[path.next_state]


def shares(x, atoms):
    """The part of a mass at ``x`` that each atom gets, ``[..., K]``: a mass between two
    atoms is cut so that the mean stays."""
    position = (x - atoms[0]) / (atoms[1] - atoms[0])
    below = np.clip(np.floor(position), 0, len(atoms) - 2).astype(int)
    above = (position - below)[..., None]
    return np.eye(len(atoms))[below] * (1 - above) + np.eye(len(atoms))[below + 1] * above


def categorical_fixed_point(path, rule, atoms):
    """Probabilities ``[S, A, K]``: with the weights known from the means, a linear
    system."""
    now = rule(mean_fixed_point(path, rule))
    count = len(atoms)
    x = moved(path, now, atoms)
    assert x.min() > atoms[0] and x.max() < atoms[-1]  # so that means are kept
    share = shares(x, atoms)  # [P, K of the next, K]
    one = path.probability[:, None, None, None] * now.weights[path.next_state][:, :, None, None]
    # Of each path, from the next state's actions and atoms to the pair's atoms.
    flow = one * share[:, None]
    system = np.zeros((S, A, count, S, A, count))  # to, from
    place = path.state, path.action, slice(None), path.next_state
    np.add.at(system, place, flow.transpose(0, 3, 1, 2))
    system = system.reshape(S * A * count, -1)
    # The first atom's equation says that probabilities add up to one.
    matrix, right = np.eye(len(system)) - system, np.zeros(len(system))
    for pair in range(S * A):
        row = pair * count
        matrix[row] = 0
        matrix[row, row : row + count] = 1
        right[row] = 1
    return np.linalg.solve(matrix, right).reshape(S, A, count)


def samples(path, now, theta):
    """The samples towards which the quantiles of each pair are regressed, and their
    probabilities, ``[S, A, N]``, filled up with probability zero."""
    quantiles = np.einsum("sa,sak->sk", now.weights, theta)
    y = moved(path, now, quantiles)
    longest = max(np.bincount(path.state * A + path.action)) * y.shape[1]
    values, chances = np.zeros((2, S, A, longest))
    for s, a in itertools.product(range(S), range(A)):
        mine = (path.state == s) & (path.action == a)
        size = mine.sum() * y.shape[1]
        values[s, a, :size] = y[mine].ravel()
        chances[s, a, :size] = np.repeat(path.probability[mine], y.shape[1]) / y.shape[1]
    return values, chances


def exact_quantiles(y, p, fractions):
    """Of weighted samples, the least that has such a part of the mass up to it."""
    order = np.argsort(np.where(p > 0, y, np.inf), axis=-1)
    y, p = np.take_along_axis(y, order, -1), np.take_along_axis(p, order, -1)
    first = (np.cumsum(p, axis=-1)[..., None, :] < fractions[:, None]).sum(axis=-1)
    return np.take_along_axis(y, first, -1)


def smooth_quantiles(y, p, fractions, kappa):
    """The zeros of the smoothed loss's derivative, by bisection."""
    low = np.broadcast_to(y.min(axis=-1)[..., None], (S, A, len(fractions))).copy()
    high = np.broadcast_to(y.max(axis=-1)[..., None], low.shape).copy()
    for _ in range(52):
        middle = (low + high) / 2
        error = y[..., None, :] - middle[..., None]
        weight = np.where(error < 0, 1 - fractions[:, None], fractions[:, None])
        pull = (p[..., None, :] * weight * np.clip(error / kappa, -1, 1)).sum(axis=-1)
        low, high = np.where(pull > 0, middle, low), np.where(pull > 0, high, middle)
    return (low + high) / 2


def quantile_fixed_point(path, rule, fractions, kappa):
    """Quantiles ``[S, A, K]``, by iteration of the operator."""
    theta = np.zeros((S, A, len(fractions)))
    for _ in range(300):
        y, p = samples(path, rule(theta.mean(axis=-1)), theta)
        found = (
            smooth_quantiles(y, p, fractions, kappa) if kappa else exact_quantiles(y, p, fractions)
        )
        change = np.abs(found - theta).max()
        theta = found
        if change < 1e-14:
            break
    return theta
