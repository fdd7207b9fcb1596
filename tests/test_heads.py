"""Heads against rlax, SciPy and what is known of laws and quantiles."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rlax
from scipy import special, stats

import purerl.random
from purerl import heads
from purerl.heads import Categorical, Huber, Implicit, Output, Quantile, Scalar, Squared
from purerl.targets import ActionValues, Backup, DoubleQ, QLearning
from tests import quick

A = 3
KEY = purerl.random.key(0, "pcg4d")


def test_losses_of_one_number():
    error = np.linspace(-3, 3, 25)
    one = np.ones_like(error)
    np.testing.assert_allclose(Squared()(one, 1 + error), error**2, rtol=1e-5)
    for bound in (0.5, 2.0):
        expected = special.huber(bound, error)
        np.testing.assert_allclose(Huber(bound)(one, 1 + error), expected, rtol=1e-5, atol=1e-7)
        slope = jax.vmap(jax.grad(Huber(bound)), (0, None))(jnp.asarray(error), 0.0)
        np.testing.assert_allclose(slope, np.clip(error, -bound, bound), rtol=1e-5, atol=1e-7)


def numbers(rng, count):
    """What an online and a target network say of both states, float32 ``[A, K]``."""
    return rng.normal(size=(4, A, count)).astype(np.float32)


@quick.jit
def learned(head, target, say, action, reward, terminated, discount):
    """Loss and priority of a transition, and the gradient, as in an agent."""
    online, next_online, frozen, next_frozen = say
    next_output = Output(next_frozen)
    values = ActionValues(
        head.values(next_output),
        lambda: head.values(Output(next_online)),
        lambda: head.values(Output(frozen)),
    )

    def loss(online):
        goal = head.target(reward, terminated, discount, next_output, target.backup(values, action))
        return head.loss(Output(online), action, jax.lax.stop_gradient(goal))

    return jax.value_and_grad(loss, has_aux=True)(online)


def transitions(seed, count=6):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        action = int(rng.integers(A))
        yield rng, action, np.float32(rng.normal()), bool(rng.random() < 0.3), np.float32(0.9)


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("error", [Squared(), Huber(0.5)], ids=["squared", "huber"])
def test_scalars_are_learned_as_by_rlax(error, double):
    target = DoubleQ() if double else QLearning()
    for rng, action, reward, terminated, discount in transitions(0):
        say = numbers(rng, 1)
        online, next_online, _, next_frozen = say[..., 0]
        factor = discount * (not terminated)
        if double:
            td = rlax.double_q_learning(online, action, reward, factor, next_frozen, next_online)
        else:
            td = rlax.q_learning(online, action, reward, factor, next_frozen)
        (loss, priority), slope = learned(
            Scalar(error), target, say, action, reward, terminated, discount
        )
        expected = td**2 if isinstance(error, Squared) else rlax.huber_loss(td, 0.5)
        np.testing.assert_allclose(loss, expected, rtol=1e-5)
        np.testing.assert_allclose(priority, abs(td), rtol=1e-5)
        factor = 2 * td if isinstance(error, Squared) else np.clip(td, -0.5, 0.5)
        np.testing.assert_allclose(slope[action, 0], -factor, rtol=1e-5)
        assert np.count_nonzero(slope) == 1


# Categorical.


@functools.partial(quick.jit, static_argnames="double")
def cross_entropy(atoms, say, action, reward, factor, double):
    """By rlax: loss, gradient and the target's law."""
    online, next_online, _, next_frozen = say
    means = [jax.nn.softmax(x) @ atoms for x in (next_online, next_frozen)]
    best = jnp.argmax(means[0] if double else means[1])

    def loss(online):
        common = atoms, online, action, reward, factor, atoms, next_frozen
        if double:
            return rlax.categorical_double_q_learning(*common, means[0])
        return rlax.categorical_q_learning(*common)

    law = rlax.categorical_l2_project(
        reward + factor * atoms, jax.nn.softmax(next_frozen[best]), atoms
    )
    return *jax.value_and_grad(loss)(online), law


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # rlax's
@pytest.mark.parametrize("double", [False, True])
def test_probabilities_are_learned_as_by_rlax(double):
    """The cross-entropy of rlax is the divergence and the entropy of the target, which
    has no gradient."""
    head = Categorical(-3.0, 3.0, 11)
    atoms = np.asarray(head.support)
    np.testing.assert_allclose(atoms, np.linspace(-3, 3, 11), rtol=1e-6)
    target = DoubleQ() if double else QLearning()
    for rng, action, reward, terminated, discount in transitions(1):
        say = numbers(rng, 11)
        factor = np.float32(discount * (not terminated))
        expected, expected_slope, law = cross_entropy(atoms, say, action, reward, factor, double)
        (loss, priority), slope = learned(head, target, say, action, reward, terminated, discount)
        np.testing.assert_allclose(loss, expected - stats.entropy(law), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(slope, expected_slope, atol=1e-5)
        assert priority == loss


def test_the_divergence_is_zero_only_where_the_law_is_right():
    """The cross-entropy would be the law's entropy there."""
    head = Categorical(0.0, 4.0, 5)
    law = np.array([0.1, 0.0, 0.4, 0.3, 0.2], np.float32)
    right = np.log(np.maximum(law, 1e-30))
    say = jnp.asarray(np.stack([right, np.zeros(5)]))
    loss, priority = head.loss(Output(say), 0, jnp.asarray(law))
    assert abs(loss) < 1e-6 and 0 <= priority < 1e-6
    assert stats.entropy(law) > 1
    loss, priority = head.loss(Output(say), 1, jnp.asarray(law))
    np.testing.assert_allclose(loss, stats.entropy(law, np.full(5, 0.2)), rtol=1e-5)
    assert priority == loss


@pytest.mark.parametrize("seed", range(3))
def test_projections_are_those_of_rlax_and_keep_mass_and_mean(seed):
    rng = np.random.default_rng(seed)
    atoms = np.linspace(-2.0, 3.0, 9)
    x, p = rng.uniform(-2, 3, 20), rng.dirichlet(np.ones(20))
    with jax.enable_x64(True):
        found = np.asarray(heads.project(x, p, atoms))
        theirs = np.asarray(rlax.categorical_l2_project(x, p, atoms))
        outside = np.asarray(heads.project(2 * x, p, atoms))
    np.testing.assert_allclose(found, theirs, atol=1e-12)
    assert (found >= 0).all()
    np.testing.assert_allclose([found.sum(), found @ atoms], [1, p @ x], rtol=1e-12)
    gap = atoms[1] - atoms[0]
    beyond = (x - atoms[0]) % gap
    widening = p @ (beyond * (gap - beyond))
    np.testing.assert_allclose(found @ atoms**2, p @ x**2 + widening, rtol=1e-10)
    np.testing.assert_allclose(outside @ atoms, p @ np.clip(2 * x, -2, 3), rtol=1e-12)


def by_floor_and_ceiling(x, p, atoms):
    """The projection as it is often written, without its special case."""
    position = (np.clip(x, atoms[0], atoms[-1]) - atoms[0]) / (atoms[1] - atoms[0])
    below, above = np.floor(position).astype(int), np.ceil(position).astype(int)
    found = np.zeros(len(atoms))
    np.add.at(found, below, p * (above - position))
    np.add.at(found, above, p * (position - below))
    return found


def test_a_law_on_the_atoms_is_moved_from_atom_to_atom():
    """As it is with whole rewards and no discount, where nothing needs to be shared."""
    atoms, p = np.arange(-3.0, 4.0), np.array([0, 0.2, 0.1, 0.3, 0, 0.4, 0])
    np.testing.assert_allclose(heads.project(atoms + 1, p, atoms), np.roll(p, 1), atol=1e-7)
    assert by_floor_and_ceiling(atoms + 1, p, atoms).sum() == 0  # all is lost
    between = heads.project(atoms + 0.75, p, atoms)
    np.testing.assert_allclose(between, by_floor_and_ceiling(atoms + 0.75, p, atoms), atol=1e-7)


def test_returns_beyond_the_atoms_count_as_the_nearest():
    atoms = jnp.arange(3.0)
    for x, expected in ((-9.0, [1, 0, 0]), (9.0, [0, 0, 1]), (2.0, [0, 0, 1])):
        found = heads.project(jnp.array([x]), jnp.array([1.0]), atoms)
        np.testing.assert_array_equal(found, expected)


def test_a_law_at_the_end_is_the_reward():
    head = Categorical(-1.0, 1.0, 5)
    backup = Backup(jnp.array([0.0, 1.0, 0.0]), bonus=-0.25, entropy=7.0)
    found = head.target(
        jnp.float32(0.75), jnp.bool_(True), jnp.float32(0.9), Output(jnp.ones((A, 5))), backup
    )
    np.testing.assert_allclose(found, [0, 0, 0, 1, 0], atol=1e-6)


# Quantiles.


@functools.partial(quick.jit, static_argnames=("kappa", "double"))
@functools.partial(jax.value_and_grad, argnums=1)
def quantile_regression(fractions, online, rest, action, reward, factor, kappa, double):
    """By rlax, whose loss is not divided by kappa, as that of the paper is."""
    next_online, next_frozen = rest
    selector = next_online if double else next_frozen
    given = online.T, fractions, action, reward, factor, selector.T, next_frozen.T
    return rlax.quantile_q_learning(*given, kappa) / (kappa or 1)


@pytest.mark.parametrize(("kappa", "double"), [(0.0, False), (0.4, True), (1.0, False)])
def test_quantiles_are_learned_as_by_rlax(kappa, double):
    count = 5
    head, target = Quantile(count, kappa), DoubleQ() if double else QLearning()
    fractions = ((np.arange(count) + 0.5) / count).astype(np.float32)
    for rng, action, reward, terminated, discount in transitions(2):
        say = numbers(rng, count)
        online, next_online, _, next_frozen = say
        factor = np.float32(discount * (not terminated))
        loss, slope = quantile_regression(
            fractions, online, (next_online, next_frozen), action, reward, factor, kappa, double
        )
        (found, priority), found_slope = learned(
            head, target, say, action, reward, terminated, discount
        )
        np.testing.assert_allclose(found, loss, rtol=1e-5)
        np.testing.assert_allclose(found_slope, slope, atol=1e-6)
        best = (next_online if double else next_frozen).mean(axis=1).argmax()
        td = reward + factor * next_frozen[best].mean() - online[action].mean()
        np.testing.assert_allclose(priority, abs(td), rtol=1e-4)


def quantile_loss(theta, fraction, samples, kappa=0.0):
    with jax.enable_x64(True):
        given = np.array([theta]), np.array([fraction]), samples, kappa
        return float(quick.jit(heads.quantile_loss)(*given))


@pytest.mark.parametrize("fraction", [0.07, 0.31, 0.5, 0.88])
def test_the_loss_is_least_at_the_quantile(fraction):
    """Of skewed samples, so that a fraction is not mistaken for its complement."""
    samples = np.random.default_rng(0).exponential(size=40)
    losses = [quantile_loss(x, fraction, samples) for x in samples]
    best = samples[int(np.argmin(losses))]
    assert best == np.quantile(samples, fraction, method="inverted_cdf")
    assert best != np.quantile(samples, 1 - fraction, method="inverted_cdf") or fraction == 0.5
    np.testing.assert_allclose(
        quantile_loss(best, fraction, samples, 1e-7), min(losses), rtol=1e-6
    )  # kappa = 0 is the limit


def test_the_smoothed_loss_is_the_formula():
    """By hand: errors of 3, 0.5 and -0.25 at kappa 2 and fraction 0.75."""
    found = heads.quantile_loss(jnp.array([1.0]), jnp.array([0.75]), jnp.array([4, 1.5, 0.75]), 2.0)
    expected = (0.75 * (3 - 1) + 0.75 * 0.25 / 4 + 0.25 * 0.0625 / 4) / 3
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("kappa", [0.0, 1e-30, 1.0])
def test_derivatives_are_finite_where_an_error_is_zero(kappa):
    def loss(theta, kappa):
        return heads.quantile_loss(theta, jnp.array([0.5]), jnp.array([1.0, 2.0]), kappa)

    (slope,) = jax.jit(jax.grad(loss))(jnp.array([1.0]), kappa)
    if kappa:
        assert slope == -0.25
    else:  # a subgradient
        assert -0.5 <= slope <= 0


def test_numbers_are_leaves():
    """A lane for each kappa, zero among them, and for each range of returns."""
    say = numbers(np.random.default_rng(1), 4)
    rest = (say, 1, jnp.float32(0.5), jnp.bool_(False), jnp.float32(0.9))
    kappa = jnp.array([0.0, 0.5])
    high = jnp.array([1.0, 2.0])
    for make, given in (
        (functools.partial(Quantile, 4), kappa),
        (lambda high: Categorical(-1.0, high, 4), high),
        (lambda low: Categorical(low, 2.0, 4), -high),
        (lambda bound: Scalar(Huber(bound)), kappa + 0.1),
    ):
        lanes = jax.vmap(lambda x, make=make: learned(make(x), QLearning(), *rest))(given)
        for i, x in enumerate(given):
            alone = learned(make(float(x)), QLearning(), *rest)
            lane = jax.tree.map(lambda leaf, i=i: leaf[i], lanes)
            jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-6), lane, alone)


# Fractions that are drawn.


def test_fractions_are_drawn_uniformly_and_only_with_a_key():
    head = Implicit(count=400, target_count=300)
    drawn = np.asarray(head.fractions(KEY))
    assert drawn.shape == (400,) and drawn.dtype == np.float32
    assert stats.kstest(drawn, "uniform").pvalue > 1e-3
    assert head.fractions(KEY, of_target=True).shape == (300,)
    assert not np.array_equal(drawn, head.fractions(jax.random.fold_in(KEY, 1)))
    np.testing.assert_allclose(head.fractions(None), (np.arange(400) + 0.5) / 400, rtol=1e-6)
    assert Quantile(5).fractions(KEY) is None


def test_drawn_fractions_are_those_of_the_loss():
    """And not the midpoints, as of a head that has them fixed."""
    rng = np.random.default_rng(0)
    theta, y = rng.normal(size=(2, 6)).astype(np.float32)
    fractions = rng.random(6).astype(np.float32)
    output = Output(jnp.asarray(theta)[None], jnp.asarray(fractions))
    found, priority = Implicit(6, 1.0, 6).loss(output, 0, jnp.asarray(y))
    expected = rlax.quantile_q_learning(
        theta[:, None], fractions, 0, jnp.float32(0), jnp.float32(1), y[:, None], y[:, None], 1.0
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(priority, abs(theta.mean() - y.mean()), rtol=1e-5)


# Refusals.


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Categorical(1.0, 1.0), "Categorical: high is 1.0; allowed: a number above low, 1"),
        (lambda: Categorical(2.0, 1.0), "Categorical: high is 1.0; allowed: a number above low, 2"),
        (lambda: Categorical(np.zeros(2), np.array([1.0, -1.0])), "Categorical: high is"),
        (lambda: Categorical(float("-inf"), 1.0), "Categorical: low is -inf; allowed: a finite"),
        (lambda: Categorical(atoms=1), "Categorical: atoms is 1; allowed: a whole number of at l"),
        (lambda: Categorical(atoms=0), "Categorical: atoms is 0; allowed: a"),
        (lambda: Categorical(atoms=5.5), "Categorical: atoms is 5.5; allowed: a"),
        (lambda: Quantile(0), "Quantile: count is 0; allowed: a positive whole number"),
        (lambda: Quantile(kappa=-1.0), "Quantile: kappa is -1.0; allowed: a"),
        (lambda: Implicit(kappa=float("nan")), "Implicit: kappa is nan; allowed: a"),
        (lambda: Implicit(target_count=0), "Implicit: target_count is 0; allowed: a"),
        (lambda: Implicit(embedding=-1), "Implicit: embedding is -1; allowed: a"),
        (lambda: Implicit(features=(8, 0)), "Implicit: features is"),
        (lambda: Huber(0.0), "Huber: bound is 0.0; allowed: a"),
        (lambda: Huber(-1.0), "Huber: bound is -1.0; allowed: a"),
        (lambda: Scalar("mse"), "Scalar: error is 'mse'; allowed: a loss, such as purerl.heads.Hu"),
        (lambda: Scalar(Huber), "Scalar: error is .*; allowed: a loss, such as purerl.heads.Huber"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_what_a_head_or_a_loss_lacks_is_named():
    class Half(heads.Head):
        pass

    class NoLoss(heads.Loss):
        pass

    output = Output(jnp.zeros((A, 1)))
    with pytest.raises(NotImplementedError, match="Half does not define values"):
        Half().values(output)
    with pytest.raises(NotImplementedError, match="Half does not define target"):
        Half().target(0.0, False, 0.9, output, Backup(jnp.ones(A)))
    with pytest.raises(NotImplementedError, match="Half does not define loss"):
        Half().loss(output, 0, 0.0)
    with pytest.raises(NotImplementedError, match="NoLoss does not define __call__"):
        NoLoss()(0.0, 0.0)
