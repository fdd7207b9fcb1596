"""Every head of deep Q-learning with every target, against exact fixed points.

A network without hidden layer is a table on the states of a finite model. Over a batch
that enumerates all paths of ``n`` steps, weighted by their probabilities, the gradient
of the agent's own loss is an expectation, and at the exact fixed point it is zero.
"""

import dataclasses
import functools
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats
from scipy.special import entr, log_softmax, logsumexp, softmax

import purerl
import purerl.random
from purerl import heads, optimizers, policy, replay, targets
from purerl.envs import FiniteEnvironment, OneHot, TimeLimit, Transition
from purerl.mdp import FiniteMDP
from purerl.networks import MLP, Dueling
from purerl.run import training
from tests import quick
from tests.agents.fixed_points import (
    GAMMA,
    A,
    S,
    batch_of,
    binary_model,
    categorical_fixed_point,
    expectation,
    going_on,
    greedy,
    mean_fixed_point,
    moved,
    munchausen,
    noisy_model,
    paths,
    quantile_fixed_point,
    shares,
)
from tests.agents.test_dqn import PROBES

KEY = purerl.random.key(0, "pcg4d")
TEMPERATURE, SCALE, CLIP = 0.3, 0.6, -0.25
TARGETS = {
    "q_learning": targets.QLearning(),
    "double_q": targets.DoubleQ(),
    "munchausen": targets.Munchausen(TEMPERATURE, SCALE, CLIP),
}
RULES = {
    "q_learning": greedy,
    "double_q": greedy,  # where the two networks are equal
    "munchausen": functools.partial(munchausen, temperature=TEMPERATURE, scale=SCALE, clip=CLIP),
}

# Agents whose network is a table.


class Lines(nn.Module):
    """A quantile function for each pair that is a line."""

    num_outputs: int = 1
    num_states: int = 1

    @nn.compact
    def __call__(self, observation, fractions):
        start = nn.Embed(self.num_states, self.num_outputs, name="start")(observation)
        slope = nn.Embed(self.num_states, self.num_outputs, name="slope")(observation)
        return start[:, None] + slope[:, None] * fractions


class Drawn(heads.Implicit):
    def network(self, network):
        return Lines()


class Spaced(Drawn):
    """At evenly spaced fractions in place of drawn ones, which make sums of integrals:
    sums that are exact where the quantile functions are lines."""

    def fractions(self, key, of_target=False):
        return heads.midpoints(self.target_count if of_target else self.count)


ATOMS = np.arange(-32.0, 33.0, 2.0)
COUNT = 4
MIDPOINTS = (np.arange(COUNT) + 0.5) / COUNT
KAPPA = 0.7
HEADS = {
    "scalar": heads.Scalar(),
    "huber": heads.Scalar(heads.Huber(KAPPA)),
    "categorical": heads.Categorical(-32.0, 32.0, len(ATOMS)),
    "quantile": heads.Quantile(COUNT, kappa=0.0),
    "smooth quantile": heads.Quantile(COUNT, KAPPA),
    "implicit": Spaced(8, 0.0, 8),
}
BINARY = {"implicit"}  # heads that are seen on that model


def agent_of(model, head, target):
    return purerl.DQN(env=FiniteEnvironment.of(model), head=head, target=target, network=MLP(()))


def table(numbers):
    """Parameters with which the network says ``numbers [S, A, K]``."""
    kernel = numbers.reshape(len(numbers), -1)
    return {"params": {"Dense_0": {"kernel": kernel, "bias": 0 * kernel[0]}}}


def lines(start, slope):
    return {"params": {"start": {"embedding": start}, "slope": {"embedding": slope}}}


@quick.jit
def differentiated(agent, params, target_params, batch, key):
    return jax.value_and_grad(agent.loss, has_aux=True)(params, target_params, batch, key)


def in_double(agent, params, target_params, batch):
    """``(loss, (q, priorities)), gradient`` in float64, as NumPy arrays."""
    key = KEY if isinstance(agent.head, heads.Implicit) else None
    with jax.enable_x64(True):
        found = differentiated(agent, params, target_params, batch, key)
        found = jax.tree.map(np.asarray, found)
    for leaf in jax.tree.leaves(found):
        assert leaf.dtype == np.float64 and np.isfinite(leaf).all()
    return found


def gradient(agent, params, batch, target_params=None):
    """The expected gradient of the loss, one array."""
    _, found = in_double(agent, params, params if target_params is None else target_params, batch)
    return np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(found)])


UNIFORM = np.full((S, A), 1 / A)
FIRST = np.eye(A)[np.zeros(S, int)]


@functools.cache
def example(binary, n):
    """A model and its paths. Lines are closed under one action's returns, and not under
    mixtures of several."""
    rng = np.random.default_rng(0)
    if binary:
        model = binary_model(rng)
        return model, paths(model, 0.5, n, FIRST)
    model = noisy_model(rng)
    return model, paths(model, GAMMA, n, UNIFORM)


@functools.cache
def fixed_point(head, rule, n):
    """Parameters at the exact fixed point."""
    _, path = example(head in BINARY, n)
    if head == "scalar":
        return table(mean_fixed_point(path, rule)[..., None])
    if head == "categorical":
        law = categorical_fixed_point(path, rule, ATOMS)
        return table(np.log(np.maximum(law, 1e-30)))
    if head == "implicit":
        q = mean_fixed_point(path, rule)
        return lines(q - 1, np.full((S, A), 2.0))
    if head == "huber":  # twice the loss of a smoothed median
        return table(quantile_fixed_point(path, rule, np.array([0.5]), KAPPA))
    kappa = KAPPA if head == "smooth quantile" else 0
    return table(quantile_fixed_point(path, rule, MIDPOINTS, kappa))


SIZE = 1100  # of all batches, so that one program serves all


def gradient_at(head, target, n, params, head_node=None, target_node=None, change=None):
    """The expected gradient at parameters, of the parts by name or of others."""
    model, path = example(head in BINARY, n)
    batch = batch_of(path, SIZE)
    if change is not None:
        batch = change(batch)
    return gradient(
        agent_of(model, head_node or HEADS[head], target_node or TARGETS[target]), params, batch
    )


def is_stationary(head, target, n, params, **parts):
    """Whether the expected gradient is zero, or where it jumps changes its sign."""
    if head != "quantile":
        return np.abs(gradient_at(head, target, n, params, **parts)).max() < 1e-10
    model, path = example(False, n)
    agent = agent_of(model, parts.get("head_node", HEADS[head]), TARGETS[target])
    batch = batch_of(path, SIZE)
    left = gradient(agent, jax.tree.map(lambda x: x - 1e-7, params), batch, params)
    right = gradient(agent, jax.tree.map(lambda x: x + 1e-7, params), batch, params)
    return bool(((left < 0) & (right > 0)).all())


COMBINATIONS = [
    (head, target, n)
    for head in HEADS
    for target in TARGETS
    for n in (1, 3)
    if n == 1 or target != "munchausen"
]


@pytest.mark.parametrize(("head", "target", "n"), COMBINATIONS)
def test_the_gradient_is_zero_at_the_fixed_point_and_not_beside_it(head, target, n):
    params = fixed_point(head, RULES[target], n)
    assert is_stationary(head, target, n, params)
    beside = jax.tree.map(lambda x: x * 1.1, params)
    assert not is_stationary(head, target, n, beside)


def test_fixed_points_are_those_known_otherwise():
    """What the tests above rest on."""
    _, path = example(False, 1)
    q = mean_fixed_point(path, greedy)
    # With n steps: n - 1 backups of the behavior, one of the best action.
    three = mean_fixed_point(example(False, 3)[1], greedy)
    value = three.max(axis=1)
    for _ in range(3):
        backed = expectation(path, path.reward + going_on(path) * value[path.next_state])
        value = backed.mean(axis=1)
    np.testing.assert_allclose(three, backed, atol=1e-12)
    assert np.abs(three - q).max() > 0.5  # the bias of returns that are not corrected

    # Munchausen without clipping is soft Q-learning at a lower temperature.
    soft = np.zeros((S, A))
    temperature = (1 - SCALE) * TEMPERATURE
    for _ in range(400):
        value = temperature * logsumexp(soft / temperature, axis=1)
        soft = expectation(path, path.reward + going_on(path) * value[path.next_state])
    log_pi = log_softmax(soft / temperature, axis=1)
    rule = functools.partial(munchausen, temperature=TEMPERATURE, scale=SCALE, clip=-1000.0)
    closed = soft + SCALE * TEMPERATURE * log_pi
    np.testing.assert_allclose(mean_fixed_point(path, rule), closed, atol=1e-12)
    unclipped = targets.Munchausen(TEMPERATURE, SCALE, -1000.0)
    found = gradient_at("scalar", None, 1, table(closed[..., None]), target_node=unclipped)
    assert np.abs(found).max() < 1e-12


@pytest.mark.parametrize("target", ["q_learning", "munchausen"])
def test_the_projection_keeps_the_mean_and_widens_the_law_as_computed(target):
    _, path = example(False, 1)
    rule = RULES[target]
    law = categorical_fixed_point(path, rule, ATOMS)
    q = mean_fixed_point(path, rule)
    np.testing.assert_allclose(law @ ATOMS, q, atol=1e-12)

    def variance(widening):
        """By the law of total variance, the parts about the pair's mean."""
        now, spread = rule(q), np.zeros((S, A))
        for _ in range(400):
            second = spread + q**2
            first, second = ((now.weights * x).sum(axis=1) for x in (q, second))
            mean = path.reward + now.bonus[path.state, path.action]
            mean = mean + going_on(path) * (first + now.entropy)[path.next_state]
            within = going_on(path) ** 2 * (second - first**2)[path.next_state]
            about = mean - q[path.state, path.action]
            spread = expectation(path, about**2 + within) + widening
        return spread

    x = moved(path, rule(q), ATOMS)
    chance = np.einsum("sa,sak->sk", rule(q).weights, law)[path.next_state]
    beyond = x % 2.0
    widening = expectation(path, (chance * beyond * (2.0 - beyond)).sum(axis=1))
    found = law @ ATOMS**2 - q**2
    np.testing.assert_allclose(found, variance(widening), atol=1e-10)
    assert (found > variance(0 * widening) + 0.3).all()


def test_more_quantiles_come_nearer_to_the_mean():
    _, path = example(False, 1)
    q = mean_fixed_point(path, greedy)
    fractions = [(np.arange(count) + 0.5) / count for count in (4, 16, 64)]
    errors = [
        np.abs(quantile_fixed_point(path, greedy, f, 0).mean(-1) - q).max() for f in fractions
    ]
    assert errors[0] > errors[1] > errors[2] and errors[2] < 0.1


# Mistakes that others made, or could.


class WithoutTemperature(targets.Munchausen):
    """The bonus is the log-probability, not times the temperature."""

    def backup(self, values, action):
        found = super().backup(values, action)
        log_pi = jax.nn.log_softmax(values.target() / self.temperature)[action]
        return found._replace(bonus=self.scale * jnp.clip(log_pi, self.clip, 0))


class ClipsTheLogarithm(targets.Munchausen):
    """The clip is on the log-probability before it is multiplied."""

    def backup(self, values, action):
        found = super().backup(values, action)
        log_pi = jax.nn.log_softmax(values.target() / self.temperature)[action]
        bonus = self.scale * self.temperature * jnp.clip(log_pi, self.clip, 0)
        return found._replace(bonus=bonus)


class MaximumOfSoftValues(targets.Munchausen):
    """The largest value in the place of the soft one."""

    def backup(self, values, action):
        best = targets.QLearning().backup(values, action)
        return best._replace(bonus=super().backup(values, action).bonus)


class WithoutEntropy(targets.Munchausen):
    def backup(self, values, action):
        return super().backup(values, action)._replace(entropy=0.0)


class BonusOfTheNextState(targets.Munchausen):
    def backup(self, values, action):
        return super().backup(values._replace(target=lambda: values.next_target), action)


class MeanOverActions(targets.QLearning):
    def backup(self, values, action):
        weights = jnp.full(values.next_target.shape, 1 / A)
        return targets.Backup(weights)


class ThroughTheEnd(heads.Scalar):
    """Bootstraps from terminal states."""

    def target(self, reward, terminated, discount, next_output, backup):
        going_on = jnp.zeros_like(terminated)
        return super().target(reward, going_on, discount, next_output, backup)


class NearestAtom(heads.Categorical):
    def target(self, reward, terminated, discount, next_output, backup):
        probabilities = backup.weights @ jax.nn.softmax(next_output.numbers)
        going_on = discount * jnp.where(terminated, 0, 1)
        moved = reward + backup.bonus + going_on * (self.support + backup.entropy)
        nearest = jnp.argmin(jnp.abs(moved[:, None] - self.support), axis=1)
        return jnp.zeros(self.atoms).at[nearest].add(probabilities)


class ReverseDivergence(heads.Categorical):
    def loss(self, output, action, target):
        log_p = jax.nn.log_softmax(output.numbers[action])
        loss = jnp.sum(jnp.exp(log_p) * (log_p - jnp.log(jnp.maximum(target, 1e-30))))
        return loss, loss


class OtherQuantiles(heads.Quantile):
    """Quantile regression to other fractions, or of errors of the other sign."""

    shift: float = 0.0
    sign: float = 1.0

    def loss(self, output, action, target):
        fractions = heads.midpoints(self.count) + self.shift
        theta = output.numbers[action]
        error = self.sign * (target[None] - theta[:, None])
        weight = jnp.abs(fractions[:, None] - (error < 0))
        return jnp.sum(jnp.mean(weight * jnp.abs(error), axis=1)), jnp.zeros(())


class Symmetric(heads.Quantile):
    """The loss of Huber without the weights of quantiles."""

    def loss(self, output, action, target):
        error = target[None] - output.numbers[action][:, None]
        return jnp.mean(heads.Huber(self.kappa)(error, 0.0)), jnp.zeros(())


class FlooredFractions(Spaced):
    """The left ends of the parts, not their midpoints."""

    def loss(self, output, action, target):
        fractions = output.fractions - 0.5 / self.count
        return super().loss(output._replace(fractions=fractions), action, target)


def one_discount(batch):
    """Bootstraps after n steps with the discount of one."""
    return batch._replace(discount=np.full_like(batch.discount, GAMMA))


MUNCHAUSEN = TARGETS["munchausen"]
NUMBERS = (TEMPERATURE, SCALE, CLIP)


def of(head, target, n, **parts):
    return head, target, n, parts


MISTAKES = {
    "log-probability not times temperature": of(
        "scalar", "munchausen", 1, target_node=WithoutTemperature(*NUMBERS)
    ),
    "clip before the temperature": of(
        "scalar", "munchausen", 1, target_node=ClipsTheLogarithm(*NUMBERS)
    ),
    "maximum for the soft value": of(
        "scalar", "munchausen", 1, target_node=MaximumOfSoftValues(*NUMBERS)
    ),
    "no entropy": of("scalar", "munchausen", 1, target_node=WithoutEntropy(*NUMBERS)),
    "bonus of the next state": of(
        "scalar", "munchausen", 1, target_node=BonusOfTheNextState(*NUMBERS)
    ),
    "no clip": of(
        "scalar", "munchausen", 1, target_node=targets.Munchausen(TEMPERATURE, SCALE, -1000.0)
    ),
    "mean over actions": of("scalar", "q_learning", 1, target_node=MeanOverActions()),
    "bootstrap from terminal states": of("scalar", "q_learning", 1, head_node=ThroughTheEnd()),
    "one step's discount after three": of("scalar", "q_learning", 3, change=one_discount),
    "nearest atom": of(
        "categorical", "q_learning", 1, head_node=NearestAtom(-32.0, 32.0, len(ATOMS))
    ),
    "divergence of the wrong direction": of(
        "categorical", "q_learning", 1, head_node=ReverseDivergence(-32.0, 32.0, len(ATOMS))
    ),
    "right ends of the parts": of(
        "quantile", "q_learning", 1, head_node=OtherQuantiles(COUNT, 0.0, 0.5 / COUNT)
    ),
    "errors of the other sign": of(
        "quantile", "q_learning", 1, head_node=OtherQuantiles(COUNT, 0.0, sign=-1.0)
    ),
    "no weights of quantiles": of(
        "smooth quantile", "q_learning", 1, head_node=Symmetric(COUNT, KAPPA)
    ),
    "another kappa": of(
        "smooth quantile", "q_learning", 1, head_node=heads.Quantile(COUNT, 1.5 * KAPPA)
    ),
    "left ends of the parts": of(
        "implicit", "q_learning", 1, head_node=FlooredFractions(8, 0.0, 8)
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_have_another_fixed_point(name):
    head, target, n, parts = MISTAKES[name]
    assert not is_stationary(head, target, n, fixed_point(head, RULES[target], n), **parts)


def test_drawn_fractions_give_the_same_in_the_mean():
    """Over many draws by the head itself, to 4.5 standard errors."""
    model, path = example(True, 1)
    batch = batch_of(path, len(path.state))
    agent = agent_of(model, Drawn(32, 0.0, 32), targets.QLearning())
    keys = jax.random.split(purerl.random.key(0, "pcg4d"), 200)

    @quick.jit
    def gradients(params):
        def one(key):
            return jax.grad(agent.loss, has_aux=True)(params, params, batch, key)[0]

        found = jax.vmap(one)(keys)
        return jnp.concatenate([x.reshape(len(keys), -1) for x in jax.tree.leaves(found)], axis=1)

    def largest(slope):
        start = mean_fixed_point(path, greedy) - slope / 2
        params = jax.tree.map(np.float32, lines(start, np.full((S, A), slope)))
        found = np.asarray(gradients(params), float)
        return np.abs(found.mean(0) / found.std(0, ddof=1) * np.sqrt(len(keys))).max()

    assert largest(2.0) < 4.5
    assert largest(1.6) > 9  # the same means


# Single losses, where the two networks differ.


def by_hand(head, target, online, frozen, batch):
    """Losses and priorities, from the numbers ``[S, A, K]`` of both networks."""
    values = {
        "categorical": lambda x: softmax(x, axis=-1) @ ATOMS,
        "implicit": lambda x: x[..., 0] + x[..., 1] / 2,
    }.get(head, lambda x: x.mean(axis=-1))
    next_q, losses, priorities = values(frozen), [], []
    transition = batch.transition
    for i in range(len(batch.index)):
        s, a = transition.observation[i], transition.action[i]
        later = transition.next_observation[i]
        factor = 0 if transition.terminated[i] else batch.discount[i]
        reward, entropy, weights = transition.reward[i], 0, np.zeros(A)
        if target == "munchausen":
            weights = softmax(next_q[later] / TEMPERATURE)
            entropy = -TEMPERATURE * np.sum(weights * np.log(weights))
            log_pi = TEMPERATURE * np.log(softmax(next_q[s] / TEMPERATURE)[a])
            reward = reward + SCALE * min(max(log_pi, CLIP), 0)
        else:
            chooses = values(online) if target == "double_q" else next_q
            weights[chooses[later].argmax()] = 1
        if head == "categorical":
            law = weights @ softmax(frozen[later], axis=-1)
            x = np.clip(reward + factor * (ATOMS + entropy), ATOMS[0], ATOMS[-1])
            goal = law @ shares(x, ATOMS)
            log_p = log_softmax(online[s, a])
            some = goal > 0
            loss = np.sum(goal[some] * (np.log(goal[some]) - log_p[some]))
            priority = loss
        elif head in ("scalar", "huber"):
            error = reward + factor * (weights @ next_q[later] + entropy) - online[s, a, 0]
            size = abs(error)
            smooth = size**2 / 2 if size <= KAPPA else KAPPA * (size - KAPPA / 2)
            loss = error**2 if head == "scalar" else smooth
            priority = size
        else:
            kappa = {"quantile": 0.0, "smooth quantile": KAPPA, "implicit": 0.0}[head]
            now, then = online[s, a], frozen[later]
            fractions = MIDPOINTS
            if head == "implicit":
                fractions = (np.arange(8) + 0.5) / 8
                now = now[0] + now[1] * fractions
                then = then[:, :1] + then[:, 1:] * fractions
            y = reward + factor * (weights @ then + entropy)
            loss = 0.0
            for tau, theta in zip(fractions, now, strict=True):
                error = y - theta
                size = np.abs(error)
                smooth = size
                if kappa:
                    smooth = np.where(size <= kappa, size**2 / 2 / kappa, size - kappa / 2)
                loss += np.mean(np.where(error < 0, 1 - tau, tau) * smooth)
            priority = abs(y.mean() - now.mean())
        losses.append(loss)
        priorities.append(priority)
    return np.array(losses), np.array(priorities)


def random_batch(rng, size=24):
    transition = Transition(
        observation=rng.integers(S, size=size).astype(np.int32),
        action=rng.integers(A, size=size).astype(np.int32),
        reward=rng.normal(size=size),
        terminated=rng.random(size) < 0.25,
        truncated=np.ones(size, bool),  # which stops nothing
        next_observation=rng.integers(S, size=size).astype(np.int32),
    )
    return replay.Batch(
        transition, rng.choice([0.9, 0.729], size), rng.uniform(0.2, 2, size), np.arange(size)
    )


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("head", HEADS)
def test_losses_and_priorities_are_those_written_out(head, target):
    rng = np.random.default_rng(3)
    batch = random_batch(rng)
    agent = agent_of(example(False, 1)[0], HEADS[head], TARGETS[target])
    numbers = {"scalar": 1, "huber": 1, "categorical": len(ATOMS), "implicit": 2}.get(head, COUNT)
    online, frozen, step = rng.normal(size=(3, S, A, numbers))
    as_params = (lambda x: lines(x[..., 0], x[..., 1])) if head == "implicit" else table
    (loss, (_, priority)), found = in_double(agent, as_params(online), as_params(frozen), batch)
    losses, priorities = by_hand(head, target, online, frozen, batch)
    np.testing.assert_allclose(loss, np.mean(batch.weight * losses), rtol=1e-12)
    np.testing.assert_allclose(priority, priorities, rtol=1e-10, atol=1e-12)

    def nudged(by):
        """Only what is learned moves, and not what it is compared with."""
        moved = by_hand(head, target, online + by * step, frozen, batch)[0]
        return np.mean(batch.weight * moved)

    slope = jax.tree.map(lambda g, x: np.sum(np.asarray(g) * x), found, as_params(step))
    expected = (nudged(1e-6) - nudged(-1e-6)) / 2e-6
    np.testing.assert_allclose(sum(jax.tree.leaves(slope)), expected, rtol=1e-6)
    for other in ((frozen, online), (online, online)):  # no or the wrong target network
        assert np.abs(by_hand(head, target, *other, batch)[0] - losses).max() > 0.1


class SoftInOnlineValues(targets.Target):
    """A target of one's own, which depends smoothly on what is learned."""

    def backup(self, values, action):
        return targets.Backup(jax.nn.softmax(values.next_online()))


class Stopped(SoftInOnlineValues):
    def backup(self, values, action):
        return jax.lax.stop_gradient(super().backup(values, action))


def test_no_target_is_differentiated():
    rng = np.random.default_rng(4)
    batch = random_batch(rng)
    online, frozen = map(table, rng.normal(size=(2, S, A, 1)))
    model = example(False, 1)[0]
    found, expected = (
        in_double(agent_of(model, heads.Scalar(), target), online, frozen, batch)
        for target in (SoftInOnlineValues(), Stopped())
    )
    jax.tree.map(np.testing.assert_array_equal, found, expected)


ONLINE_FRACTIONS = [0.2, 0.9, 0.6]
TARGET_FRACTIONS = [0.35, 0.05]


class KnownFractions(heads.Implicit):
    """Fractions that are the same at every draw, and others for the target."""

    def fractions(self, key, of_target=False):
        if key is None:
            return super().fractions(None)
        return jnp.array(TARGET_FRACTIONS if of_target else ONLINE_FRACTIONS, jnp.float32)


def test_an_implicit_network_is_updated_as_written_out():
    """One update of IQN. The action is chosen at evenly spaced fractions, by the target
    network; its quantiles are read at the target's fractions."""
    rng = np.random.default_rng(5)
    batch = random_batch(rng, 6)
    agent = purerl.DQN(
        env=FiniteEnvironment.of(example(False, 1)[0]),
        head=KnownFractions(count=3, target_count=2, embedding=4, kappa=KAPPA),
        network=MLP((5,)),
    )
    shapes = jax.eval_shape(agent.q_network.init, KEY, jnp.int32(0), jnp.zeros(3, jnp.float32))
    online, frozen, step = (jax.tree.map(lambda x: rng.normal(size=x.shape), shapes) for _ in "123")

    def quantiles(params, state, fractions):
        """Of each action at each fraction, ``[A, K]``."""
        layers = params["params"]
        torso, embedding, last = layers["torso"]["Dense_0"], layers["Dense_0"], layers["MLP_0"]
        features = np.maximum(torso["kernel"][state] + torso["bias"], 0)
        cosines = np.cos(np.pi * np.outer(fractions, [1, 2, 3, 4]))
        embedded = np.maximum(cosines @ embedding["kernel"] + embedding["bias"], 0)
        return ((features * embedded) @ last["Dense_0"]["kernel"] + last["Dense_0"]["bias"]).T

    def loss_of(params, chooses=frozen, read=frozen):
        transition, total = batch.transition, 0.0
        for i in range(len(batch.index)):
            later = transition.next_observation[i]
            best = quantiles(chooses, later, (np.arange(3) + 0.5) / 3).mean(axis=1).argmax()
            factor = 0 if transition.terminated[i] else batch.discount[i]
            y = transition.reward[i] + factor * quantiles(read, later, TARGET_FRACTIONS)[best]
            theta = quantiles(params, transition.observation[i], ONLINE_FRACTIONS)
            for tau, value in zip(ONLINE_FRACTIONS, theta[transition.action[i]], strict=True):
                size = np.abs(y - value)
                smooth = np.where(size <= KAPPA, size**2 / 2 / KAPPA, size - KAPPA / 2)
                weight = np.where(y < value, 1 - tau, tau)
                total += batch.weight[i] * np.mean(weight * smooth) / len(batch.index)
        return total

    (loss, _), found = in_double(agent, online, frozen, batch)
    np.testing.assert_allclose(loss, loss_of(online), rtol=1e-6)  # fractions are float32
    nudged = [
        loss_of(jax.tree.map(lambda x, d, by=by: x + by * d, online, step)) for by in (1e-6, -1e-6)
    ]
    slope = jax.tree.map(lambda g, x: np.sum(np.asarray(g) * x), found, step)
    expected = (nudged[0] - nudged[1]) / 2e-6
    np.testing.assert_allclose(sum(jax.tree.leaves(slope)), expected, rtol=1e-5)
    assert abs(loss_of(online, read=online) - loss) > 0.1  # without a target network
    assert abs(loss_of(online, chooses=online) - loss) > 0.1


# Priorities.


def deterministic_model(rng):
    shape = (S, A, 1)
    return FiniteMDP(
        probability=np.ones(shape),
        next_state=rng.integers(S, size=shape),
        reward=rng.normal(0, 0.5, shape),
        terminated=rng.random(shape) < 1 / 6,
        initial=np.full(S, 1 / S),
    )


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("head", ["scalar", "categorical", "smooth quantile", "implicit"])
def test_priorities_are_zero_where_nothing_is_left_to_learn(head, target):
    """In a deterministic model every single transition agrees with the fixed point. For
    probabilities this holds of the divergence and not of the cross-entropy, which keeps
    the entropy of the law."""
    model = deterministic_model(np.random.default_rng(1))
    path = paths(model, GAMMA, 1, UNIFORM)
    q = mean_fixed_point(path, RULES[target])
    if head == "categorical":
        law = categorical_fixed_point(path, RULES[target], ATOMS)
        params = table(np.log(np.maximum(law, 1e-30)))
        assert entr(np.maximum(law, 0)).sum(axis=-1).max() > 0.5
    elif head == "implicit":
        params = lines(q, np.zeros((S, A)))
    else:
        params = table(np.repeat(q[..., None], HEADS[head].num_outputs, axis=-1))
    batch = batch_of(path, SIZE)
    agent = agent_of(model, HEADS[head], TARGETS[target])
    (loss, (_, priority)), _ = in_double(agent, params, params, batch)
    beside = jax.tree.map(lambda x: 1.1 * x, params)
    (_, (_, other)), _ = in_double(agent, beside, params, batch)
    known = slice(0, len(path.state))
    assert loss < 1e-10 and (np.abs(priority[known]) < 1e-10).all()
    assert (other[known] >= 0).all() and np.median(other[known]) > 1e-3


@pytest.mark.parametrize("kind", ["scalar", "categorical", "quantile", "implicit"])
@pytest.mark.parametrize("n", [1, 3])
def test_returns_from_the_ring_agree_with_known_values(kind, n):
    """Experience of the agent's own, cut by ends and by a time limit, in a corridor
    whose values are known: 5, 4, ... 1 steps to the end, each with a reward of 1."""
    left = np.arange(5, 0, -1.0)
    shape = (5, A, 1)
    model = FiniteMDP(
        probability=np.ones(shape),
        next_state=np.broadcast_to(np.minimum(np.arange(5) + 1, 4)[:, None, None], shape),
        reward=np.ones(shape),
        terminated=np.broadcast_to(np.arange(5)[:, None, None] == 4, shape),
        initial=np.full(5, 0.2),
    )
    head, params, key = {
        "scalar": (heads.Scalar(), left[:, None], None),
        "categorical": (
            heads.Categorical(0.0, 8.0, 9),
            40.0 * (np.arange(9) == left[:, None]),
            None,
        ),
        "quantile": (heads.Quantile(3), np.repeat(left[:, None], 3, axis=1), None),
        "implicit": (Drawn(3, 1.0, 3), left[:, None], KEY),
    }[kind]
    numbers = np.repeat(params[:, None], A, axis=1).astype(np.float32)
    known = table(numbers)
    if kind == "implicit":
        known = jax.tree.map(np.float32, lines(numbers[..., 0], np.zeros((5, A))))
    agent = purerl.DQN(
        env=TimeLimit(FiniteEnvironment.of(model), 3),
        head=head,
        target=targets.DoubleQ(),
        network=MLP(()),
        replay=replay.Prioritized(64, n),
        discount=1.0,
        num_envs=2,
        train_period=1,
        learning_starts=64,
        target_period=2,
        batch_size=64,
    )
    draw = replay.Draw(agent._item, 64, 2, jnp.int32(64), jnp.float32(1), jnp.int32(0))

    @quick.jit
    def drawn(key, loss_key):
        batch = agent.replay.sample(agent.init(key).buffer, key, draw)
        return batch, agent.loss(known, known, batch, loss_key)

    batch, (loss, (q, priority)) = drawn(KEY, key)
    transition = batch.transition
    assert np.ptp(transition.reward) == n - 1
    assert transition.terminated.any() and transition.truncated.any()
    assert abs(loss) < 1e-5 and (np.abs(priority) < 1e-5).all()
    np.testing.assert_allclose(q, left[transition.observation].mean(), rtol=1e-5)


# The bias of the maximum.


def biased_agent(num_actions, target):
    env = purerl.make("MaximizationBias-v0", num_actions=num_actions)
    return purerl.DQN(env=env, target=target, network=MLP(()), discount=1.0)


@quick.jit
def targets_of_left(agent, online, frozen):
    """The target of going left from A, of values of B, ``[N, A]`` each."""
    transition = Transition(
        observation=jnp.zeros(1, jnp.int32),
        action=jnp.zeros(1, jnp.int32),
        reward=jnp.zeros(1),
        terminated=jnp.zeros(1, bool),
        truncated=jnp.zeros(1, bool),
        next_observation=jnp.ones(1, jnp.int32),
    )
    batch = replay.Batch(transition, jnp.ones(1), jnp.ones(1), jnp.zeros(1, jnp.int32))

    def one(online, frozen):
        low = jnp.full((3, online.size, 1), -100.0)
        known = [table(low.at[1, :, 0].set(x)) for x in (online, frozen)]
        return agent.loss(*known, batch)[1][1][0] - 100  # from the priority

    return jax.vmap(one)(online, frozen)


def test_the_bias_of_the_maximum_is_exact_in_every_case_of_two_outcomes():
    """Estimates of B's four actions from one reward each, of -1 or 1: all tables."""
    every = np.array(list(itertools.product([-1.0, 1.0], repeat=4)), np.float32)
    online, frozen = np.repeat(every, 16, axis=0), np.tile(every, (16, 1))
    q_learning = biased_agent(4, targets.QLearning())
    double_q = biased_agent(4, targets.DoubleQ())
    assert targets_of_left(q_learning, online, frozen).mean() == 1 - 2 * 2**-4
    assert targets_of_left(double_q, online, frozen).mean() == 0
    # Only as far as the two estimates are independent.
    assert targets_of_left(double_q, every, every).mean() == 1 - 2 * 2**-4


def test_the_bias_of_the_maximum_is_that_of_normal_rewards():
    """Estimates from one reward of the environment's own for each of ten actions."""
    size, num_actions = 4000, 10
    env = purerl.make("MaximizationBias-v0")

    @quick.jit
    def rewards(key):
        def one(key, action):
            return env.step(key, jnp.int32(1), action)[1].reward

        keys = jax.random.split(key, (2, size, num_actions))
        return jax.vmap(jax.vmap(jax.vmap(one), (0, None)), (0, None))(
            keys, jnp.arange(num_actions)
        )

    online, frozen = rewards(KEY)

    def largest(x):
        return x * num_actions * stats.norm.pdf(x) * stats.norm.cdf(x) ** (num_actions - 1)

    bias = integrate.quad(largest, -10, 10)[0]  # 1.54 standard deviations
    for target, mean in ((targets.QLearning(), bias - 0.1), (targets.DoubleQ(), -0.1)):
        found = np.asarray(targets_of_left(biased_agent(10, target), online, frozen), float)
        assert abs(found.mean() - mean) < 4.5 * found.std() / np.sqrt(size)


# Actions that are not available.


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("head", ["scalar", "categorical", "quantile", "implicit"])
def test_no_value_of_an_action_that_is_not_available_is_backed_up(head, target):
    """Whatever the networks say of such actions, the loss has the same bits."""
    rng = np.random.default_rng(2)
    available = np.array([[1, 0, 0], [0, 1, 1], [1, 1, 0], [0, 0, 1], [1, 1, 1], [0, 1, 0]], bool)
    model = noisy_model(rng).replace(available=available)
    agent = agent_of(model, HEADS[head], TARGETS[target])
    batch = random_batch(rng)
    allowed = np.argmax(available[batch.transition.observation], axis=1)
    batch = batch._replace(transition=batch.transition._replace(action=allowed.astype(np.int32)))
    numbers = {"scalar": 1, "categorical": len(ATOMS), "implicit": 2}.get(head, COUNT)
    online, frozen = rng.normal(size=(2, S, A, numbers))
    ascending = np.arange(numbers) / numbers + 1  # so that probabilities move upwards too

    def result(of_others, agent=agent):
        networks = [
            np.where(available[..., None], x, of_others * ascending) for x in (online, frozen)
        ]
        as_params = (lambda x: lines(x[..., 0], x[..., 1])) if head == "implicit" else table
        return in_double(agent, *map(as_params, networks), batch)

    low, high = result(-1e3), result(1e3)
    jax.tree.map(np.testing.assert_array_equal, low, high)
    free = agent.replace(env=FiniteEnvironment.of(model.replace(available=None)))
    assert result(1e3, free)[0][0] > high[0][0] + 1


# Parts together.


@pytest.mark.parametrize("head", HEADS)
def test_munchausen_is_refused_for_returns_of_several_steps(head):
    says = "DQN: replay.n is 2; allowed: 1 with the target Munchausen"
    env = FiniteEnvironment.of(example(False, 1)[0])
    with pytest.raises(ValueError, match=says):
        purerl.DQN(env=env, head=HEADS[head], target=MUNCHAUSEN, replay=replay.Uniform(n=2))


def test_networks_that_do_not_fit_a_head_are_refused():
    """Six numbers are said for three actions, of which a head with four quantiles
    wants twelve."""
    env = FiniteEnvironment.of(example(False, 1)[0])

    class Six(nn.Module):
        @nn.compact
        def __call__(self, observation):
            return nn.Embed(S, 6)(observation)

    assert purerl.DQN(env=env, network=Six(), head=heads.Quantile(2)).head.count == 2
    says = "DQN: network is Dueling; allowed: with the head Implicit a network of features"
    with pytest.raises(ValueError, match=says):
        purerl.IQN(env, network=Dueling(MLP((8,))))
    with pytest.raises(ValueError, match=r"network is Six, which gives \(6,\); .* gives 12 num"):
        purerl.DQN(env=env, network=Six(), head=heads.Quantile(4))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "head", [heads.Scalar(), heads.Implicit(3, 1.0, 2, 4)], ids=["scalar", "implicit"]
)
def test_noisy_networks_use_no_key_twice(head, target):
    """Not the network that draws nor the head, in acting nor in learning."""
    agent = purerl.DQN(
        env=FiniteEnvironment.of(example(False, 1)[0]),
        head=head,
        target=TARGETS[target],
        network=MLP((4,), noisy=True),
        replay=replay.Prioritized(100),
        learning_starts=20,
        target_period=20,
        batch_size=8,
    )

    def two(key):
        return agent.step(agent.init(key), 0)

    with jax.debug_key_reuse(True):
        jax.jit(two).trace(KEY)


def test_each_function_sets_what_its_paper_changed():
    env = purerl.make("FrozenLake-v1")
    plain = purerl.DQN(env=env)

    def changed(agent):
        names = [field.name for field in dataclasses.fields(agent) if field.name != "env"]
        return {name: x for name in names if (x := getattr(agent, name)) != getattr(plain, name)}

    dueling = Dueling(MLP((120,)), (84,))
    small_eps = optimizers.Adam(eps=0.01 / 32)
    assert changed(purerl.DoubleDQN(env)) == {"target": targets.DoubleQ()}
    assert changed(purerl.DuelingDQN(env)) == {
        "target": targets.DoubleQ(),
        "network": dueling,
        "max_grad_norm": 10.0,
    }
    assert changed(purerl.C51(env)) == {
        "head": heads.Categorical(-10.0, 10.0, 51),
        "optimizer": small_eps,
    }
    assert changed(purerl.QRDQN(env)) == {"head": heads.Quantile(200, 1.0), "optimizer": small_eps}
    assert changed(purerl.IQN(env)) == {
        "head": heads.Implicit(64, 1.0, 64),
        "optimizer": small_eps,
    }
    assert changed(purerl.MunchausenDQN(env)) == {
        "target": targets.Munchausen(0.03, 0.9, -1.0),
        "head": heads.Scalar(heads.Huber(1.0)),
    }
    rainbow = changed(purerl.Rainbow(env))
    assert rainbow.pop("replay").replace(correction=0.4) == replay.Prioritized(
        n=3, exponent=0.5, correction=0.4
    )
    assert rainbow == {
        "head": heads.Categorical(-10.0, 10.0, 51),
        "target": targets.DoubleQ(),
        "network": dueling.clone(noisy=True),
        "behavior": policy.Greedy(),
        "optimizer": optimizers.Adam(eps=1.5e-4),
        "max_grad_norm": 10.0,
    }


def test_arguments_of_functions_reach_the_parts():
    env = purerl.make("FrozenLake-v1")
    for function in (purerl.C51, purerl.Rainbow):
        assert function(env, 0.0, 1.0, 11).head == heads.Categorical(0.0, 1.0, 11)
        with pytest.raises(ValueError, match=r"Categorical: high is 0.0; allowed: a number above"):
            function(env, low=0.0, high=0.0)
    assert purerl.QRDQN(env, 7, 0.5).head == heads.Quantile(7, 0.5)
    assert purerl.IQN(env, 7, 5, 0.5).head == heads.Implicit(7, 0.5, 5)
    again = purerl.DoubleDQN(env, target=targets.QLearning(), discount=0.5)
    assert again == purerl.DQN(env=env, discount=0.5)
    with pytest.raises(TypeError, match="unexpected keyword argument 'atoms'"):
        purerl.DoubleDQN(env, atoms=11)


# The probes.

PARTS = {
    "head": {
        "scalar": heads.Scalar(heads.Huber()),
        "categorical": heads.Categorical(-3.0, 3.0, 13),
        "quantile": heads.Quantile(8),
        "implicit": heads.Implicit(8, 1.0, 8, 8),
    },
    "target": TARGETS,
    "replay": {
        "uniform": replay.Uniform(400),
        "three steps": replay.Uniform(400, n=3),
        "prioritized": replay.Prioritized(400),
    },
    "network": {
        "plain": MLP((16,)),
        "dueling": Dueling(MLP((16,)), ()),
        "noisy": MLP((16,), noisy=True),
    },
}
GRID = [
    names
    for names in itertools.product(*PARTS.values())
    if names[1:3] != ("munchausen", "three steps")
    and (names[0], names[3]) != ("implicit", "dueling")
]
# Most parts once (test_dqn.py has others), together with those that they have most to
# do with. The other combinations are slow: a program each.
OFTEN = [
    ("categorical", "double_q", "three steps", "dueling"),
    ("implicit", "munchausen", "prioritized", "noisy"),
]


def known_values(model, discount, rule):
    """The fixed point in a deterministic model, by iteration."""
    reward, ended, reached = (
        np.asarray(x)[..., 0] for x in (model.reward, model.terminated, model.next_state)
    )
    q = np.zeros(reward.shape)
    for _ in range(100):
        now = rule(q)
        value = (now.weights * q).sum(axis=1) + now.entropy
        q = reward + now.bonus + discount * np.where(ended, 0, value[reached])
    return q


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(names, id=", ".join(names), marks=() if names in OFTEN else pytest.mark.slow)
        for names in GRID
    ],
)
def test_combinations_solve_the_probes(names):
    """A lane for each probe and seed."""
    parts = {kind: PARTS[kind][name] for kind, name in zip(PARTS, names, strict=True)}
    discount, seeds = 0.5, 2
    models = jax.tree.map(lambda *x: np.stack(x), *PROBES.values())

    def run(model, key):
        agent = purerl.DQN(
            env=OneHot(TimeLimit(FiniteEnvironment.of(model), 3), 2),
            learning_rate=3e-3,
            discount=discount,
            epsilon=0.5,
            num_envs=1,
            train_period=4,
            target_period=40,
            batch_size=32,
            learning_starts=200,
            **parts,
        )
        state, _ = training.segment(agent, agent.init(key), 0, 1_500)
        return jax.vmap(agent.values, (None, 0))(agent.snapshot(state), jnp.eye(2))

    train = quick.optimizing_jit(jax.vmap(jax.vmap(run, (None, 0)), (0, None)))
    q = np.asarray(train(models, jax.random.split(KEY, seeds)))
    for i, (name, model) in enumerate(PROBES.items()):
        met = 2 if (model.initial[1] > 0) or (model.next_state == 1).any() else 1
        exact = known_values(model, discount, RULES[names[1]])[:met]
        np.testing.assert_allclose(
            q[i, :, :met], np.broadcast_to(exact, (seeds, *exact.shape)), atol=0.1, err_msg=name
        )
