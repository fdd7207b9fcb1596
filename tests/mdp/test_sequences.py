"""Sequences as finite models, against enumeration."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import rel_entr

from purerl import mdp
from purerl.mdp import gibbs, kl_divergence
from purerl.mdp.sequences import (
    best_of_n,
    best_of_n_bound,
    frontier,
    law,
    policy_of,
    prefix_tree,
    trie,
)

SEEDS = st.integers(0, 10_000)


@pytest.fixture
def double():
    with jax.enable_x64(True):
        yield


def some_policy(rng, tree, zeros=0.0):
    """Random probabilities of the available tokens, some of them zero."""
    available = np.asarray(tree.mdp.available)
    weights = rng.gamma(1.0, size=available.shape) * available
    dropped = weights * (rng.random(weights.shape) >= zeros)
    weights = np.where(dropped.sum(axis=1, keepdims=True) > 0, dropped, weights)
    return weights / weights.sum(axis=1, keepdims=True)


def unpadded(rows):
    return [tuple(token for token in row if token >= 0) for row in np.asarray(rows).tolist()]


def law_by_hand(tree, pi):
    """Each sequence's probability, by its prefixes alone."""
    number = {prefix: s for s, prefix in enumerate(unpadded(tree.prefixes))}
    sequences = unpadded(tree.tokens)
    return np.array(
        [math.prod(pi[number[y[:t]], y[t]] for t in range(len(y))) for y in sequences], float
    )


def some_words(seed, num_tokens=3, longest=4):
    """Different sequences of many lengths, among them beginnings of others."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, longest + 1, rng.integers(1, 12))
    drawn = [tuple(rng.integers(num_tokens, size=n).tolist()) for n in lengths]
    return list(dict.fromkeys(drawn))


# Few, so that little is compiled: the numbers vary.
WORDS = [some_words(seed) for seed in (6, 14, 15)]
SOME_WORDS = st.sampled_from(WORDS)


def test_the_words_are_of_many_kinds():
    assert sorted(map(len, WORDS)) == [2, 4, 9]
    nested = [any(v[:t] in words for v in words for t in range(len(v))) for words in WORDS]
    assert sorted(nested) == [False, True, True]


# The trees.


@pytest.mark.parametrize(("base", "length"), [(2, 1), (2, 4), (3, 3), (5, 2)])
def test_all_sequences_of_one_length(base, length):
    reward = np.arange(base**length, dtype=np.float32)
    tree = prefix_tree(reward, base)
    everything = list(itertools.product(range(base), repeat=length))
    assert unpadded(tree.tokens) == everything
    shorter = [itertools.product(range(base), repeat=t) for t in range(length)]
    assert unpadded(tree.prefixes) == list(itertools.chain(*shorter))
    assert tree.mdp.num_states == (base**length - 1) // (base - 1)
    assert tree.mdp.num_actions == base and tree.mdp.available.all()
    np.testing.assert_array_equal(tree.reward, reward)
    # Digits of the number, as of an array indexed by tokens.
    indexed = reward.reshape((base,) * length)
    assert [indexed[y] for y in everything] == tree.reward.tolist()


@given(SEEDS)
def test_a_trie_has_every_prefix_once(seed):
    words = some_words(seed)
    reward = np.random.default_rng(seed).normal(size=len(words)).astype(np.float32)
    tree = trie(words, reward, 3)
    assert unpadded(tree.tokens) == [(*word, 3) for word in words]
    prefixes = {word[:t] for word in words for t in range(len(word) + 1)}
    assert unpadded(tree.prefixes) == sorted(prefixes, key=lambda prefix: (len(prefix), prefix))
    states = unpadded(tree.prefixes)
    model = jax.tree.map(np.asarray, tree.mdp)
    for s, prefix in enumerate(states):
        for a in range(4):
            goes_on, ends = (*prefix, a) in prefixes, a == 3 and prefix in words
            assert model.available[s, a] == (goes_on or ends)
            assert model.terminated[s, a, 0] == ends
            if goes_on:
                assert states[model.next_state[s, a, 0]] == (*prefix, a)
            paid = reward[words.index(prefix)] if ends else 0
            assert model.reward[s, a, 0] == paid
    # Padding stands behind every sequence, and nowhere else.
    assert ((tree.states >= 0) == (tree.tokens >= 0)).all()


def test_the_end_is_counted_once():
    """A sequence of ``n`` tokens takes ``n + 1`` decisions: the last one ends it."""
    words = [(0,), (0, 1), (0, 1, 1), (1,)]
    tree = trie(words, [1.0, 2.0, 3.0, 4.0], 2)
    uniform = np.asarray(tree.mdp.available) / np.asarray(tree.mdp.available).sum(1, keepdims=True)
    visits = np.asarray(mdp.expected_visits(tree.mdp, uniform.astype(np.float32)))
    chances = np.asarray(law(tree, uniform.astype(np.float32)))
    np.testing.assert_allclose(chances, [1 / 4, 1 / 8, 1 / 8, 1 / 2])
    lengths = np.array([len(word) + 1 for word in words])
    assert visits.sum() == pytest.approx(chances @ lengths)
    # The reward is paid once, at the end.
    assert mdp.expected_return(tree.mdp, uniform, 1.0) == pytest.approx(chances @ [1, 2, 3, 4])


@given(SEEDS)
def test_equal_lengths_give_the_same_laws_with_and_without_an_end(seed):
    """A trie of all sequences differs from their tree by decisions that are none."""
    rng = np.random.default_rng(seed)
    reward = rng.normal(size=8).astype(np.float32)
    tree = prefix_tree(reward, 2)
    other = trie(tree.tokens, reward, 2)
    assert other.mdp.num_states == tree.mdp.num_states + 8
    pi = some_policy(rng, tree).astype(np.float32)
    longer = np.zeros((15, 3), np.float32)
    longer[:7, :2], longer[7:, 2] = pi, 1
    np.testing.assert_allclose(law(tree, pi), law(other, longer), rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: prefix_tree(np.zeros(6), 2), "reward has 6 numbers; allowed: a power of num_tok"),
        (lambda: prefix_tree(np.zeros(1), 2), "reward has 1 numbers"),
        (lambda: prefix_tree(np.zeros((2, 2)), 2), r"reward has shape \(2, 2\); allowed: \[N\]"),
        (lambda: prefix_tree(np.zeros(4), 1), "num_tokens is 1; allowed: a whole number of at"),
        (lambda: prefix_tree(np.zeros(4), 2.0), "prefix_tree: num_tokens is 2.0"),
        (lambda: prefix_tree([0, 1, np.nan, 0], 2), "reward at state 2, action 0.* is nan"),
        (lambda: trie([], [], 2), "trie: sequences is empty; allowed: one sequence or more"),
        (lambda: trie([[0], [2]], [0, 0], 2), r"sequence 1 is \[2\].* tokens in \[0, 2\)"),
        (lambda: trie([[0], [0.5]], [0, 0], 2), r"trie: sequence 1 is \[0.5\]; allowed: a list"),
        (lambda: trie(["ab"], [0], 2), "trie: sequence 0 is 'ab'; allowed: a list of tokens"),
        (lambda: trie([[1], [0], [1]], [0] * 3, 2), "sequence 2 is that of 0; allowed: different"),
        (lambda: trie([[0], [1]], [0], 2), r"trie: reward has shape \(1,\); allowed: \(2,\)"),
        (lambda: trie([[0]], [0], 0), "trie: num_tokens is 0; allowed: a whole number of at le"),
        (lambda: prefix_tree(np.zeros(4), 2).with_reward(0.0), r"reward has shape \(\)"),
        (lambda: law(trie([[0]], [0.0], 1), np.full((2, 2), 0.5)), "policy at state 0, action 1"),
        (lambda: best_of_n([1.0], [0.0], 0), "best_of_n: n is 0; allowed: a number of at least 1"),
        (lambda: gibbs([1.0], [0.0], 0), "gibbs: temperature is 0; allowed: a finite number above"),
        (lambda: frontier([1.0], [0.0], [1.0, -1.0]), "frontier: temperatures is"),
    ],
)
def test_what_makes_no_sense_is_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()


# Laws.


@given(SOME_WORDS, SEEDS, st.sampled_from([0.0, 0.4]))
def test_laws_by_hand(words, seed, zeros):
    rng = np.random.default_rng(seed)
    tree = trie(words, np.zeros(len(words)), 3)
    pi = some_policy(rng, tree, zeros).astype(np.float32)
    found = np.asarray(law(tree, pi))
    expected = law_by_hand(tree, pi)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert ((found == 0) == (expected == 0)).all()
    assert found.sum() == pytest.approx(1, rel=1e-5)
    # Without its last decision it would be a law of prefixes, which sums to more.
    shortened = tree.replace(tokens=jnp.where(tree.tokens == 3, -1, tree.tokens))
    if any(word[:t] in words for word in words for t in range(len(word))) and not zeros:
        assert law(shortened, pi).sum() > 1 + 1e-4


@given(SOME_WORDS, SEEDS)
def test_a_policy_and_its_law_are_the_same(words, seed):
    rng = np.random.default_rng(seed)
    with jax.enable_x64(True):
        tree = trie(words, np.zeros(len(words)), 3)
        pi = some_policy(rng, tree)
        np.testing.assert_allclose(policy_of(tree, law(tree, pi)), pi, rtol=1e-12, atol=1e-300)
        given_law = rng.dirichlet(np.ones(len(words)))
        np.testing.assert_allclose(law(tree, policy_of(tree, given_law)), given_law, rtol=1e-12)


def test_a_policy_from_counts():
    """What was seen 3, 1 and 0 times; behind a prefix never seen it is uniform."""
    tree = trie([[0, 0], [0, 1], [1, 0], [1]], np.zeros(4), 2)
    pi = policy_of(tree, np.array([3, 1, 0, 0]))
    assert unpadded(tree.prefixes) == [(), (0,), (1,), (0, 0), (0, 1), (1, 0)]
    expected = [[1, 0, 0], [0.75, 0.25, 0], [0.5, 0, 0.5], [0, 0, 1], [0, 0, 1], [0, 0, 1]]
    np.testing.assert_array_equal(pi, expected)
    np.testing.assert_array_equal(law(tree, pi), [0.75, 0.25, 0, 0])


def test_an_integer_policy_writes_one_sequence():
    tree = prefix_tree(np.zeros(27), 3)
    pi = np.arange(tree.mdp.num_states) % 3  # 0, then in (0) 1, then in (0, 1) 2
    assert unpadded(tree.prefixes)[5] == (0, 1)
    expected = np.zeros(27)
    expected[[0 * 9 + 1 * 3 + 2]] = 1
    np.testing.assert_array_equal(law(tree, pi), expected)


def test_the_gradient_of_a_law(double):
    """REINFORCE: the gradient of ``E[r]`` is ``E[r grad log p]``."""
    rng = np.random.default_rng(0)
    words = some_words(5, longest=5)
    reward = rng.normal(size=len(words))
    tree = trie(words, reward, 3)
    logits = rng.normal(size=tree.mdp.available.shape)

    def law_of(logits):
        return law(tree, jax.nn.softmax(jnp.where(tree.mdp.available, logits, -jnp.inf)))

    gradient = jax.grad(lambda logits: law_of(logits) @ reward)(logits)
    scores = jax.jacobian(lambda logits: jnp.log(law_of(logits)))(logits)
    np.testing.assert_allclose(
        gradient, np.einsum("n,n,nsa->sa", law_of(logits), reward, scores), atol=1e-12
    )
    assert np.abs(gradient).max() > 0.01


# The optimum: of the policy by dynamic programming, of the law by its formula.


def log_partition(prior, reward, temperature):
    """``ln sum prior e^(r / tau)``, by exact sums of Python floats."""
    top = max(reward)
    terms = (p * math.exp((r - top) / temperature) for p, r in zip(prior, reward, strict=True))
    return top / temperature + math.log(math.fsum(terms))


@pytest.mark.parametrize("temperature", [0.02, 0.5, 1.0, 40.0])
def test_the_soft_optimum_under_a_prior_is_gibbs(double, temperature):
    """On all 1,024 sequences of 5 tokens out of 4."""
    rng = np.random.default_rng(1)
    reward = rng.normal(size=4**5)
    tree = prefix_tree(reward, 4)
    prior = some_policy(rng, tree)
    reference = law_by_hand(tree, prior)
    best = mdp.soft_optimal(tree.mdp, 1.0, temperature, prior=prior)
    value = temperature * log_partition(reference, reward, temperature)
    assert best.values[0] == pytest.approx(value, rel=1e-12, abs=1e-12)
    exponent = reward / temperature - log_partition(reference, reward, temperature)
    optimum = reference * np.exp(exponent)
    np.testing.assert_allclose(law(tree, best.policy), optimum, rtol=1e-12)
    found = gibbs(reference, reward, temperature)
    assert found.value == pytest.approx(value, rel=1e-12, abs=1e-12)
    np.testing.assert_allclose(found.law, optimum, rtol=1e-12)
    np.testing.assert_allclose(policy_of(tree, optimum), best.policy, atol=1e-13)
    # Without the prior it is something else.
    entropy = mdp.soft_optimal(tree.mdp, 1.0, temperature).policy
    assert np.abs(np.asarray(entropy - best.policy)).max() > 0.1


@given(SOME_WORDS, SEEDS, st.floats(-1.5, 1.5))
def test_what_a_policy_loses_is_its_divergence_from_gibbs(words, seed, exponent):
    """On tries: in the model and by the laws, with tokens that the prior excludes."""
    rng = np.random.default_rng(seed)
    temperature = 10**exponent
    reward = rng.normal(size=len(words))
    with jax.enable_x64(True):
        tree = trie(words, reward, 3)
        prior = some_policy(rng, tree, 0.3)
        pi = policy_of(tree, law_by_hand(tree, prior) * rng.gamma(1.0, size=len(words)))
        p, reference = np.asarray(law(tree, pi)), law_by_hand(tree, prior)
        best = mdp.soft_optimal(tree.mdp, 1.0, temperature, prior=prior)
        optimum = np.asarray(law(tree, best.policy))
        np.testing.assert_allclose(optimum, gibbs(reference, reward, temperature).law, rtol=1e-10)
        assert (optimum[reference == 0] == 0).all()
        # The chain rule of divergences.
        apart = mdp.trajectory_kl(tree.mdp, pi, prior)
        np.testing.assert_allclose(apart, rel_entr(p, reference).sum(), rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(kl_divergence(p, reference), apart, rtol=1e-10, atol=1e-13)
        loss = best.values[0] - (p @ reward - temperature * apart)
        far = temperature * rel_entr(p, optimum).sum()
        np.testing.assert_allclose(loss, far, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(
            temperature * mdp.trajectory_kl(tree.mdp, pi, best.policy), far, rtol=1e-9, atol=1e-12
        )


@given(SEEDS, st.floats(-6, 8))
def test_gibbs_in_float32_at_every_scale(seed, exponent):
    rng = np.random.default_rng(seed)
    temperature = np.float32(10**exponent)
    prior = rng.dirichlet(np.ones(6)) * (rng.random(6) < 0.7)
    prior[0] += 0.1
    prior = (prior / prior.sum()).astype(np.float32)
    reward = (10 * rng.normal(size=6)).astype(np.float32)
    found = gibbs(prior, reward, temperature)
    wide = prior.astype(np.longdouble) / prior.astype(np.longdouble).sum()
    top = np.longdouble(reward[prior > 0].max())
    gap = np.where(prior > 0, reward - top, 0) / np.longdouble(temperature)
    power = np.exp(gap) * wide
    error = abs(float(found.value) - float(top + temperature * np.log(power.sum())))
    assert error <= found.rounding <= 1e-4
    np.testing.assert_allclose(
        found.law, (power / power.sum()).astype(float), rtol=1e-4, atol=1e-37
    )
    assert (np.asarray(found.law)[prior == 0] == 0).all()
    # No other law attains more.
    other = rng.dirichlet(np.ones(6)) * (prior > 0)
    other = other / other.sum()
    attained = other @ reward - temperature * rel_entr(other, wide.astype(float)).sum()
    assert attained <= found.value + 1e-4


def test_gold_along_the_path_of_a_proxy(double):
    """``d E[gold] / d(1 / tau) = Cov(gold, proxy)``: the peak is where it vanishes."""
    rng = np.random.default_rng(2)
    proxy, noise, prior = rng.normal(size=(2, 40)), rng.normal(size=40), rng.dirichlet(np.ones(40))
    gold = proxy[0] - 0.5 * proxy[0] ** 2 + 0.1 * noise
    proxy = proxy[0]

    def attained(inverse, reward):
        return gibbs(prior, proxy, 1 / inverse).law @ reward

    slope = jax.grad(attained)
    for inverse in (0.01, 0.5, 1.0, 4.0):
        p = np.asarray(gibbs(prior, proxy, 1 / inverse).law)
        covariance = p @ (gold * proxy) - (p @ gold) * (p @ proxy)
        assert slope(inverse, gold) == pytest.approx(covariance, rel=1e-9, abs=1e-12)
        # The variance of the proxy, which is always positive, is the proxy's own slope.
        variance = p @ proxy**2 - (p @ proxy) ** 2
        assert slope(inverse, proxy) == pytest.approx(variance, rel=1e-9)
        assert abs(variance - covariance) > 1e-3
    inverses = np.linspace(0.05, 6, 400)
    golds = np.asarray(jax.vmap(attained, (0, None))(inverses, gold))
    peak = golds.argmax()
    assert 0 < peak < 399 and slope(inverses[peak - 1], gold) > 0 > slope(inverses[peak + 1], gold)


# The best of n.


def best_of_n_by_hand(p, reward, n):
    """All n-tuples of sequences; the first of the best is taken."""
    found = np.zeros(len(p))
    for drawn in itertools.product(range(len(p)), repeat=n):
        winner = max(drawn, key=lambda y: reward[y])  # the first, among equals
        found[winner] += math.prod(p[y] for y in drawn)
    return found


@given(SEEDS, st.integers(1, 4))
def test_the_best_of_n_by_enumeration(seed, n):
    """Rewards in few values, so that many are equal; some are impossible."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(5)) * (rng.random(5) < 0.8)
    p = p / p.sum() if p.sum() > 0 else np.full(5, 0.2)
    reward = rng.integers(0, 3, 5).astype(float)
    with jax.enable_x64(True):
        found = np.asarray(best_of_n(p, reward, n))
        np.testing.assert_allclose(found, best_of_n_by_hand(p, reward, n), rtol=1e-11, atol=1e-15)
        assert kl_divergence(found, p) <= best_of_n_bound(n) + 1e-12
    single = best_of_n(p.astype(np.float32), reward, n)
    np.testing.assert_allclose(single, found, rtol=1e-4, atol=1e-7)


def test_ties_are_shared():
    """Sorted without regard to them, the last of the equals would get more."""
    p, reward = np.full(4, 0.25), np.array([1.0, 1.0, 1.0, 0.0])
    found = np.asarray(best_of_n(p, reward, 3))
    np.testing.assert_allclose(found, [*[(1 - 1 / 64) / 3] * 3, 1 / 64], rtol=1e-6)
    up_to = np.cumsum(p[[3, 0, 1, 2]]) ** 3
    wrong = np.diff(up_to, prepend=0)[[1, 2, 3, 0]]
    assert wrong.sum() == pytest.approx(1) and np.abs(wrong - found).max() > 0.2


def test_the_bound_of_the_divergence_is_attained_where_nothing_ties(double):
    many = np.full(20_000, 1 / 20_000)
    reward = np.random.default_rng(3).permutation(20_000)
    for n in (1, 2, 4, 16):
        found = kl_divergence(best_of_n(many, reward, n), many)
        assert found == pytest.approx(math.log(n) - (n - 1) / n, abs=5e-4)
        assert found <= best_of_n_bound(n) + 1e-15
    # Where n is not small beside the number of sequences, it is far from it.
    few = np.full(1_000, 1e-3)
    found = kl_divergence(best_of_n(few, reward[:1_000], 4_096), few)
    assert best_of_n_bound(4_096) - found > 0.4
    assert found <= math.log(1_000)


@pytest.mark.parametrize("n", [1, 3.5, 1e4, 1e7])
def test_the_best_of_very_many(n):
    """In float32, in which ``F(y)^n`` and ``F(y-)^n`` are equal for most: the largest
    reward has a probability of a millionth."""
    p = np.array([0.5, 0.5 - 1e-6, 1e-6], np.float32)
    reward = np.array([0.0, 1.0, 2.0], np.float32)
    found = np.asarray(best_of_n(p, reward, n))
    wide = p.astype(float) / p.astype(float).sum()
    top = -math.expm1(n * math.log1p(-wide[2]))
    assert found[2] == pytest.approx(top, rel=1e-4)
    assert found.sum() == pytest.approx(1, rel=1e-5)
    assert np.isfinite(jax.grad(lambda n: best_of_n(p, reward, n) @ reward)(float(n)))


# The frontier.


@given(SEEDS)
def test_no_law_is_above_the_frontier(seed):
    rng = np.random.default_rng(seed)
    prior, reward = rng.dirichlet(np.ones(7)), rng.normal(size=7)
    with jax.enable_x64(True):
        points = frontier(prior, reward, np.geomspace(1e-3, 1e3, 2_000))
        rewards, kl = map(np.asarray, points)
        # Less temperature, more of both.
        assert (np.diff(rewards) <= 1e-12).all() and (np.diff(kl) <= 1e-12).all()
        others = [rng.dirichlet(np.ones(7)) for _ in range(20)]
        others += [np.asarray(best_of_n(prior, reward, n)) for n in (1, 2, 4, 8)]
        for p in others:
            far = rel_entr(p, prior).sum()
            assert p @ reward <= np.interp(far, kl[::-1], rewards[::-1]) + 1e-5
        # The slope is the temperature.
        value = gibbs(prior, reward, 0.7).value
        near = frontier(prior, reward, [0.7 - 1e-5, 0.7, 0.7 + 1e-5])
        slope = (near.reward[2] - near.reward[0]) / (near.kl[2] - near.kl[0])
        assert slope == pytest.approx(0.7, rel=1e-5)
        assert near.reward[1] - 0.7 * near.kl[1] == pytest.approx(float(value), rel=1e-12)


# Inside transformations.


def test_everything_works_under_transformations():
    rng = np.random.default_rng(4)
    words = [[0], [0, 1], [1, 1, 0], [1]]
    rewards = rng.normal(size=(3, 4)).astype(np.float32)

    @jax.jit
    @jax.vmap
    def answers(reward):
        tree = trie(words, reward, 2)
        best = mdp.soft_optimal(tree.mdp, 1.0, 0.5, prior=policy_of(tree, jnp.ones(4)))
        p = law(tree, best.policy)
        one = jnp.full(4, 0.25)
        return tree.reward, best.values[0], p, best_of_n(one, reward, 3), gibbs(one, reward, 0.5)

    read, value, p, several, optimum = answers(rewards)
    np.testing.assert_array_equal(read, rewards)
    np.testing.assert_allclose(value, optimum.value, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(p, optimum.law, rtol=1e-5)
    for reward, best in zip(rewards, several, strict=True):
        np.testing.assert_allclose(best, best_of_n(np.full(4, 0.25), reward, 3), rtol=1e-5)
    again = jax.jit(lambda reward: prefix_tree(reward, 2).reward)(rewards[0])
    np.testing.assert_array_equal(again, rewards[0])
    other = trie(words, rewards[0], 2).with_reward(rewards[1])
    alike = trie(words, rewards[1], 2)
    assert all(
        (a == b).all() for a, b in zip(jax.tree.leaves(other), jax.tree.leaves(alike), strict=True)
    )


def test_the_gradient_in_the_rewards_is_the_optimal_law():
    reward = np.random.default_rng(5).normal(size=8).astype(np.float32)
    tree = prefix_tree(reward, 2)
    prior = np.full((7, 2), 0.5, np.float32)

    def optimum(reward):
        model = tree.with_reward(reward).mdp
        return mdp.soft_optimal(model, 1.0, 0.5, prior=prior).values[0]

    expected = gibbs(np.full(8, 1 / 8), reward, 0.5).law
    np.testing.assert_allclose(jax.jacfwd(optimum)(reward), expected, rtol=1e-4)


def test_precision_is_that_of_the_rewards(double):
    assert prefix_tree(np.zeros(4, np.float32), 2).mdp.reward.dtype == jnp.float32
    assert prefix_tree([0, 1, 2, 3], 2).mdp.reward.dtype == jnp.float64
    leaves = jax.tree.leaves(trie([[0], [1]], np.zeros(2, np.float32), 2))
    assert {leaf.dtype.itemsize for leaf in leaves} == {1, 4}
