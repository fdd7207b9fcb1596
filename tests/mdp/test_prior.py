"""The soft optimum under a prior, and divergences of policies."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import rel_entr

import purerl
import purerl.random
from purerl import mdp
from purerl.envs.diagnostic.garnet import garnet

S, A = 6, 3
DISCOUNT = 0.9


@pytest.fixture
def double():
    with jax.enable_x64(True):
        yield


def some_policy(rng, mask=None, shape=(S, A)):
    weights = rng.dirichlet(np.ones(shape[1]), shape[0])
    weights = weights if mask is None else weights * mask
    return weights / weights.sum(axis=1, keepdims=True)


def dense_of(model):
    """``P(s', the episode goes on | s, a)`` and ``r(s, a)``."""
    p, r = np.zeros((model.num_states, model.num_actions, model.num_states)), 0
    for k in range(model.num_outcomes):
        states, actions = np.indices(model.probability.shape[:2])
        goes_on = model.probability[..., k] * ~model.terminated[..., k]
        np.add.at(p, (states, actions, np.asarray(model.next_state[..., k])), goes_on)
        r = r + np.asarray(model.probability[..., k] * model.reward[..., k])
    return p, np.asarray(r)


def kl_in_long_doubles(p, q):
    """Also right to the last digit if the numbers sum to one but for rounding."""
    p, q = p.astype(np.longdouble), q.astype(np.longdouble)
    log_ratio = np.log(np.where(p > 0, p / q, 1))
    return np.sum(p * log_ratio - p + q, axis=1)


def exact_values(model, policy, discount, temperature, prior):
    """Values of a policy that pays for its divergence, by NumPy."""
    p, r = dense_of(model)
    cost = kl_in_long_doubles(policy, prior).astype(float)
    paid = (policy * r).sum(axis=1) - temperature * cost
    matrix = np.eye(len(paid)) - discount * np.einsum("sa,sab->sb", policy, p)
    return np.linalg.solve(matrix, paid)


@pytest.mark.parametrize("temperature", [1e-3, 0.3, 1.0, 1e3, 1e6])
def test_it_satisfies_its_equations_at_every_scale(double, temperature):
    """The values are those of its policy, by a linear solve without logarithms of sums,
    and no other policy is better."""
    rng = np.random.default_rng(0)
    for seed in range(5):
        model, prior = garnet(S, A, 2, seed=seed).mdp, some_policy(rng)
        found = mdp.soft_optimal(model, DISCOUNT, temperature, prior=prior)
        np.testing.assert_allclose(found.policy.sum(axis=1), 1, rtol=1e-14)
        own = exact_values(model, np.asarray(found.policy), DISCOUNT, temperature, prior)
        np.testing.assert_allclose(found.values, own, rtol=1e-12, atol=1e-12)
        rounding = 1e-18 * temperature  # of the long doubles
        assert np.abs(found.values - own).max() <= found.error_bound + rounding < 1e-11
        for _ in range(3):
            other = exact_values(model, some_policy(rng), DISCOUNT, temperature, prior)
            assert (other <= found.values + 1e-12).all()


def test_a_high_temperature_leaves_the_prior_and_its_values():
    """In float32, too, where ``tau`` times a logarithm would be all rounding."""
    model = purerl.make("Garnet-v0").mdp
    prior = some_policy(np.random.default_rng(1), shape=(30, 4)).astype(np.float32)
    values = mdp.evaluate_policy(model, prior, DISCOUNT).values
    found = mdp.soft_optimal(model, DISCOUNT, 1e7, prior=prior)
    np.testing.assert_allclose(found.values, values, atol=2e-5)
    np.testing.assert_allclose(found.policy, prior, rtol=1e-5)
    assert found.error_bound < 1e-3


def test_a_low_temperature_finds_the_best_among_what_the_prior_allows():
    model = purerl.make("Garnet-v0").mdp
    prior = np.full((30, 4), [0.0, 1 - 2e-30, 1e-30, 1e-30], np.float32)
    allowed = model.replace(available=prior > 0)
    best = mdp.value_iteration(allowed, DISCOUNT)
    found = mdp.soft_optimal(model, DISCOUNT, 1e-6, prior=prior)
    np.testing.assert_allclose(found.values, best.values, rtol=1e-3, atol=1e-3)
    assert (found.policy.argmax(axis=1) == best.policy).all()
    assert (found.policy[:, 0] == 0).all() and np.isfinite(found.q).all()
    # Its own best action is the forbidden one, somewhere.
    assert (found.q.argmax(axis=1) == 0).any()


@given(st.integers(0, 10_000), st.floats(-3, 6), st.booleans())
def test_its_bound_on_the_error_holds(seed, exponent, tiny):
    """In float32 against float64, for priors with tiny and forbidden entries."""
    rng = np.random.default_rng(seed)
    mask = rng.random((S, A)) < 0.7
    mask[np.arange(S), rng.integers(A, size=S)] = True
    spread = mask * (10.0 ** rng.uniform(-30, 0, (S, A)) if tiny else 1.0)
    prior = some_policy(rng, spread).astype(np.float32)
    temperature = np.float32(10**exponent)
    model = mdp.garnet(purerl.random.key(seed), S, A, 2)
    found = mdp.soft_optimal(model, DISCOUNT, temperature, prior=prior)
    with jax.enable_x64(True):
        tables = ("probability", "reward", "initial")
        wide = {name: np.asarray(getattr(model, name), float) for name in tables}
        for name in ("probability", "initial"):
            wide[name] /= wide[name].sum(axis=-1, keepdims=True)
        wide = mdp.FiniteMDP(**{**vars(model), **wide})
        exact = prior.astype(float) / prior.astype(float).sum(axis=1, keepdims=True)
        discount = np.float64(np.float32(DISCOUNT))
        values = mdp.soft_optimal(wide, discount, np.float64(temperature), prior=exact).values
    values = np.asarray(values)
    # The bound is for the model as stored, whose probabilities are rounded.
    stored = 1e-6 * (1 + np.abs(values)).max() / (1 - DISCOUNT)
    assert np.abs(np.asarray(found.values) - values).max() <= found.error_bound + stored
    np.testing.assert_allclose(found.values, values, rtol=1e-3, atol=1e-4)
    assert (np.asarray(found.policy)[prior == 0] == 0).all()


def test_a_uniform_prior_is_the_entropy_but_for_a_constant(double):
    for seed in range(3):
        model = garnet(S, A, 2, seed=seed).mdp
        entropy = mdp.soft_optimal(model, DISCOUNT, 0.4)
        uniform = mdp.soft_optimal(model, DISCOUNT, 0.4, prior=np.full((S, A), 1 / A))
        constant = 0.4 * np.log(A) / (1 - DISCOUNT)
        np.testing.assert_allclose(uniform.values, entropy.values - constant, atol=1e-12)
        np.testing.assert_allclose(uniform.policy, entropy.policy, rtol=1e-11)


def test_a_prior_is_a_reward_of_its_logarithm_under_the_entropy(double):
    rng = np.random.default_rng(2)
    model, prior = garnet(S, A, 2, seed=4).mdp, some_policy(rng)
    found = mdp.soft_optimal(model, DISCOUNT, 0.7, prior=prior)
    folded = model.replace(reward=model.reward + 0.7 * np.log(prior)[..., None])
    entropy = mdp.soft_optimal(folded, DISCOUNT, 0.7)
    np.testing.assert_allclose(found.values, entropy.values, atol=1e-12)
    np.testing.assert_allclose(found.policy, entropy.policy, rtol=1e-11)


def test_a_prior_that_decides_is_followed(double):
    model, action = garnet(S, A, 2, seed=5).mdp, np.arange(S) % A
    values = mdp.evaluate_policy(model, action, DISCOUNT).values
    for prior in (action, np.eye(A)[action]):
        found = mdp.soft_optimal(model, DISCOUNT, 0.5, prior=prior)
        np.testing.assert_allclose(found.values, values, rtol=1e-12)
        np.testing.assert_array_equal(found.policy, np.eye(A)[action])


def test_an_unavailable_action_and_a_forbidden_one_are_the_same(double):
    rng = np.random.default_rng(3)
    mask = np.ones((S, A), bool)
    mask[np.arange(S), rng.integers(A, size=S)] = False
    model, prior = garnet(S, A, 2, seed=6).mdp, some_policy(rng, mask)
    forbidden = mdp.soft_optimal(model, DISCOUNT, 0.5, prior=prior)
    missing = mdp.soft_optimal(model.replace(available=mask), DISCOUNT, 0.5, prior=prior)
    np.testing.assert_allclose(missing.values, forbidden.values, rtol=1e-13)
    np.testing.assert_allclose(missing.policy, forbidden.policy, rtol=1e-12)
    assert (np.asarray(forbidden.policy)[~mask] == 0).all()
    assert np.isfinite(forbidden.q).all()


def test_the_bound_does_not_count_what_the_prior_forbids():
    """Only the forbidden action goes on; without a discount no bound is infinite."""
    model = mdp.from_dense([[[0, 1], [1, 0]], [[0, 1], [0, 1]]], [[1, 9], [0, 0]], [1, 0])
    model = model.replace(terminated=model.next_state == 1)
    found = mdp.soft_optimal(model, 1.0, 1.0, prior=[[1.0, 0.0], [0.5, 0.5]])
    np.testing.assert_allclose(found.values, [1, 0], atol=1e-6)
    assert np.isfinite(found.errors).all()


@pytest.mark.parametrize(
    ("prior", "says"),
    [
        (np.full((S, A), 0.5), r"soft_optimal: the sum of prior at state 0 is 1.5; allowed: 1"),
        (np.full((S, 2), 0.5), r"soft_optimal: prior has dtype float64 and shape \(6, 2\)"),
        (np.full(S, A), r"soft_optimal: prior at state 0 is 3; allowed: an integer in \[0, 3\)"),
        (np.eye(A)[[0] * S] * [2, -1, 1] + [0, 0, -1], "prior at state 0, action 2 is -1.0"),
        ("uniform", "soft_optimal: prior has dtype <U7; allowed: integer or floating"),
    ],
)
def test_what_is_no_prior_is_refused(prior, says):
    with pytest.raises(ValueError, match=says):
        mdp.soft_optimal(garnet(S, A, 2).mdp, DISCOUNT, 0.5, prior=prior)


def test_a_prior_for_unavailable_actions_is_refused():
    model = garnet(S, A, 2).mdp
    model = model.replace(available=np.arange(A) != 1 + np.zeros((S, 1)))
    with pytest.raises(ValueError, match=r"prior at state 0, action 1 is 0\.3.* available action"):
        mdp.soft_optimal(model, DISCOUNT, 0.5, prior=np.full((S, A), 1 / 3))


def test_priors_and_temperatures_side_by_side(double):
    rng = np.random.default_rng(4)
    model = garnet(S, A, 2).mdp
    priors = np.stack([some_policy(rng) for _ in range(3)])
    temperatures = np.array([0.01, 1.0, 100.0])
    solve = functools.partial(mdp.soft_optimal, model, DISCOUNT)
    together = jax.vmap(lambda prior, t: solve(t, prior=prior).values)(priors, temperatures)
    for values, prior, temperature in zip(together, priors, temperatures, strict=True):
        alone = solve(temperature, prior=prior).values
        np.testing.assert_allclose(values, alone, rtol=1e-12, atol=1e-12)


def test_gradients_are_those_of_the_envelope(double):
    """``J*`` grows with a reward by the visits of the optimal policy, with the log
    of the prior by ``tau`` times that; with ``tau`` it falls by the divergence."""
    rng = np.random.default_rng(5)
    model, temperature = garnet(S, A, 2, seed=7).mdp, 0.6
    prior = some_policy(rng, np.arange(A) != np.arange(S)[:, None] % 2)
    assert (prior == 0).sum() == S

    def optimum(reward, temperature, logits):
        tilted = prior * jnp.exp(logits)
        tilted = tilted / tilted.sum(axis=1, keepdims=True)
        found = mdp.soft_optimal(
            model.replace(reward=model.reward + reward[..., None]),
            DISCOUNT,
            temperature,
            prior=tilted,
        )
        return model.initial @ found.values

    zero = jnp.zeros((S, A))
    of_reward, of_temperature, of_logits = jax.jacfwd(optimum, (0, 1, 2))(zero, temperature, zero)
    pi = mdp.soft_optimal(model, DISCOUNT, temperature, prior=prior).policy
    visits = mdp.expected_visits(model, pi, DISCOUNT)[:, None]
    np.testing.assert_allclose(of_reward, visits * pi, atol=1e-12)
    apart = mdp.trajectory_kl(model, pi, prior, DISCOUNT)
    np.testing.assert_allclose(of_temperature, -apart, rtol=1e-11)
    # The rows of the prior stay normalized.
    np.testing.assert_allclose(of_logits, temperature * visits * (pi - prior), atol=1e-12)


# What a policy loses is its divergence from the optimum.


@pytest.mark.parametrize("discount", [0.5, 0.95])
def test_the_loss_is_the_temperature_times_the_divergence(double, discount):
    """On twenty garnets: ``J* - J(pi) = tau sum_s visits_pi(s) KL(pi || pi*)``."""
    rng = np.random.default_rng(6)
    for seed in range(20):
        model = garnet(8, A, 3, seed=seed).mdp
        prior, pi = some_policy(rng, shape=(8, A)), some_policy(rng, shape=(8, A))
        temperature = 10 ** rng.uniform(-1, 1)
        best = mdp.soft_optimal(model, discount, temperature, prior=prior)
        value = mdp.expected_return(model, pi, discount)
        value -= temperature * mdp.trajectory_kl(model, pi, prior, discount)
        loss = model.initial @ best.values - value
        apart = mdp.trajectory_kl(model, pi, best.policy, discount)
        np.testing.assert_allclose(loss, temperature * apart, rtol=1e-11, atol=1e-11)
        # The other way round, or with the optimal visits, it is something else.
        wrong = [
            mdp.trajectory_kl(model, best.policy, pi, discount),
            np.asarray(mdp.expected_visits(model, best.policy, discount))
            @ rel_entr(pi, best.policy).sum(axis=1),
        ]
        assert all(abs(temperature * x - loss) > 1e-4 * loss for x in wrong)


@pytest.mark.parametrize("name", ["FrozenLake-v1", "Grid2x3-v0", "Gambler-v0"])
def test_the_loss_in_episodes_without_a_discount(double, name):
    env = purerl.make(name)
    model = mdp.FiniteMDP(**{k: np.asarray(v, dtype_of(v)) for k, v in vars(env.mdp).items()})
    rng = np.random.default_rng(7)
    shape = (model.num_states, model.num_actions)
    pi, prior = (some_policy(rng, np.asarray(model.available), shape) for _ in range(2))
    best = mdp.soft_optimal(model, 1.0, 0.5, prior=prior)
    value = mdp.expected_return(model, pi, 1.0) - 0.5 * mdp.trajectory_kl(model, pi, prior)
    np.testing.assert_allclose(
        model.initial @ best.values - value,
        0.5 * mdp.trajectory_kl(model, pi, best.policy),
        rtol=1e-9,
    )


def dtype_of(leaf):
    return float if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf.dtype


def test_the_divergence_of_trajectories_by_enumeration(double):
    """The sum over all paths of three steps in a model unrolled in time."""
    rng = np.random.default_rng(8)
    model = mdp.time_expanded(garnet(3, 2, 2, seed=1).mdp, 3)
    pi, reference = (some_policy(rng, shape=(9, 2)) for _ in range(2))
    total = 0.0
    for path in itertools.product(range(3), repeat=3):
        states = [3 * t + s for t, s in enumerate(path)]
        for actions in itertools.product(range(2), repeat=3):
            chances, ratio = float(model.initial[states[0]]), 0.0
            for t, (s, a) in enumerate(zip(states, actions, strict=True)):
                chances *= pi[s, a]
                ratio += np.log(pi[s, a] / reference[s, a])
                if t < 2:
                    reached = np.asarray(model.next_state[s, a]) == states[t + 1]
                    chances *= float(np.asarray(model.probability[s, a])[reached].sum())
            total += chances * ratio
    found = mdp.trajectory_kl(model, pi, reference)
    assert found == pytest.approx(total, rel=1e-12)
    iterated = mdp.trajectory_kl(model, pi, reference, max_exact_states=0)
    assert iterated == pytest.approx(total, rel=1e-12)


def test_divergence_where_something_is_impossible():
    """One state: actions 0 and 1 end the episode, action 2 goes on for ever."""
    model = mdp.FiniteMDP(
        probability=np.ones((2, 3, 1)),
        next_state=[[[0], [0], [1]], [[1], [1], [1]]],
        reward=np.zeros((2, 3, 1)),
        terminated=[[[True], [True], [False]], [[True], [True], [False]]],
        initial=[1.0, 0.0],
    )
    half = np.array([[0.5, 0.5, 0], [0, 0, 1.0]], np.float32)
    third = np.full((2, 3), 1 / 3, np.float32)
    assert mdp.trajectory_kl(model, half, half) == 0
    # The second state is never visited, whatever happens there.
    assert mdp.trajectory_kl(model, half, third) == pytest.approx(np.log(1.5))
    assert mdp.trajectory_kl(model, third, half) == np.inf
    # Infinitely many visits of a state in which they agree, or do not.
    forever = np.array([[0, 0, 1.0], [0, 0, 1.0]], np.float32)
    assert mdp.trajectory_kl(model, forever, forever) == 0
    assert mdp.trajectory_kl(model, forever, third) == np.inf
    found = mdp.trajectory_kl(model, forever, third, 0.5)
    assert found == pytest.approx(2 * np.log(3), rel=1e-5)
    with pytest.raises(ValueError, match="trajectory_kl: reference at state 0 is 3"):
        mdp.trajectory_kl(model, half, [3, 0])


def test_its_gradient_is_that_of_finite_differences(double):
    rng = np.random.default_rng(9)
    model, reference = garnet(S, A, 2, seed=2).mdp, some_policy(rng)
    logits, direction = rng.normal(size=(2, S, A))

    def apart(logits):
        return mdp.trajectory_kl(model, jax.nn.softmax(logits), reference, DISCOUNT)

    slope = np.sum(jax.grad(apart)(logits) * direction)
    step = 1e-6 * direction
    differences = (apart(logits + step) - apart(logits - step)) / 2e-6
    assert slope == pytest.approx(float(differences), rel=1e-7)


# Kullback and Leibler.


@given(st.integers(0, 10_000), st.floats(-8, 1))
def test_divergences_are_scipys_and_small_ones_are_not_lost(seed, exponent):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(5), 3)
    q = p * np.exp(10**exponent * rng.normal(size=p.shape))
    p[:, 0] *= rng.random() < 0.5
    p, q = (x / x.sum(axis=1, keepdims=True) for x in (p, q))
    with jax.enable_x64(True):
        found = np.asarray(mdp.kl_divergence(p, q))
    assert (found >= 0).all()
    np.testing.assert_allclose(found, rel_entr(p, q).sum(axis=1), rtol=1e-9, atol=1e-15)
    # In float32, with what is left of p and q there.
    p, q = p.astype(np.float32), q.astype(np.float32)
    truth = kl_in_long_doubles(p, q).astype(float)
    error = np.abs(mdp.kl_divergence(p, q) - truth)
    assert (error <= 4e-7 * np.sqrt(truth) + 4e-7 * truth + 1e-13).all()


def test_divergences_of_what_is_impossible_and_their_gradient():
    assert mdp.kl_divergence([0.5, 0.5, 0.0], [0.5, 0.5, 0.0]) == 0
    assert mdp.kl_divergence([0.5, 0.5], [1.0, 0.0]) == np.inf
    assert mdp.kl_divergence([1.0, 0.0], [0.5, 0.5]) == pytest.approx(np.log(2))
    gradient = jax.grad(mdp.kl_divergence, (0, 1))(jnp.array([1.0, 0.0]), jnp.array([0.5, 0.5]))
    assert np.isfinite(gradient).all()
    assert gradient[1][0] == pytest.approx(-2 + 1)
