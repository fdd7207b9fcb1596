"""Exact policy gradients against differences, enumeration and formulas in NumPy."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purerl
import purerl.random
from purerl import mdp
from purerl.mdp import FiniteMDP

DISCOUNT = 0.9


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def in_double(model):
    return jax.tree.map(lambda x: x.astype(float) if x.dtype == jnp.float32 else x, model)


def normalized(model):
    """The same model with probabilities that sum to one in float64."""
    model = in_double(model)
    total = model.probability.sum(-1, keepdims=True)
    initial = model.initial / model.initial.sum()
    return FiniteMDP(**vars(model) | {"probability": model.probability / total, "initial": initial})


@functools.cache
def models():
    """Two garnets, one that ends and forbids actions, and the 2x3 grid."""
    found = {}
    for i in range(2):
        found[f"garnet {i}"] = normalized(mdp.garnet(purerl.random.key(i, "pcg4d"), 6, 3, 2))
    rng = np.random.default_rng(0)
    available = rng.random((5, 3)) < 0.6
    available[:, 0] |= ~available.any(axis=1)
    assert 2 < available.sum() < 13 and (available.sum(axis=1) > 1).any()
    found["ends"] = FiniteMDP(
        probability=rng.dirichlet(np.ones(3), (5, 3)),
        next_state=rng.integers(5, size=(5, 3, 3)),
        reward=rng.normal(size=(5, 3, 3)),
        terminated=rng.random((5, 3, 3)) < 0.2,
        initial=np.array([0.5, 0.5, 0, 0, 0]),
        available=available,
    )
    found["grid"] = in_double(purerl.make("Grid2x3-v0").mdp)
    return found


NAMES = ["garnet 0", "garnet 1", "ends", "grid"]
every_model = pytest.mark.parametrize("name", NAMES)


def logits_of(model, seed=1, scale=1.0):
    size = model.num_states, model.num_actions
    return scale * np.random.default_rng(seed).normal(size=size)


class Parts:
    """Policy, values, visits and advantages by dense linear algebra in NumPy."""

    def __init__(self, model, logits, discount=DISCOUNT):
        probability, next_state, reward, terminated, initial, available = map(
            np.asarray, jax.tree.leaves(model)
        )
        weights = np.where(available, np.exp(logits), 0)
        self.policy = weights / weights.sum(axis=1, keepdims=True)
        size = model.num_states
        onward = np.zeros((size, model.num_actions, size))
        for s, a, k in np.ndindex(probability.shape):
            onward[s, a, next_state[s, a, k]] += probability[s, a, k] * (not terminated[s, a, k])
        rewards = (probability * reward).sum(-1)
        self.chain = np.einsum("sa,sat->st", self.policy, onward)
        self.initial = initial
        values = np.linalg.solve(
            np.eye(size) - discount * self.chain, (self.policy * rewards).sum(1)
        )
        self.value = initial @ values
        self.visits = self.visits_at(discount)
        self.q = rewards + discount * onward @ values
        self.advantage = np.where(available, self.q - values[:, None], 0)

    def visits_at(self, discount):
        return np.linalg.solve(np.eye(len(self.chain)) - discount * self.chain.T, self.initial)


def differences(function, x, step=1e-5):
    """Central differences of a function of an array."""
    found = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        moved = np.zeros_like(x)
        moved[place] = step
        found[place] = (function(x + moved) - function(x - moved)) / (2 * step)
    return found


@every_model
def test_the_gradient_is_that_of_the_exact_value(name):
    model = models()[name]
    logits = logits_of(model)
    found = mdp.policy_gradient(model, jnp.asarray(logits), DISCOUNT)

    def value(logits):
        policy = jax.nn.softmax(jnp.where(model.available, logits, -jnp.inf))
        return mdp.expected_return(model, policy, DISCOUNT)

    assert found.gradient.dtype == jnp.float64
    np.testing.assert_allclose(found.gradient, jax.grad(value)(jnp.asarray(logits)), atol=1e-12)
    numerical = differences(lambda x: Parts(model, x).value, logits)
    np.testing.assert_allclose(found.gradient, numerical, atol=1e-8)


@every_model
def test_its_parts_are_those_of_numpy(name):
    model = models()[name]
    logits = logits_of(model)
    found = mdp.policy_gradient(model, jnp.asarray(logits), DISCOUNT)
    parts = Parts(model, logits)
    for field in ("policy", "visits", "advantage", "value"):
        np.testing.assert_allclose(
            getattr(found, field), getattr(parts, field), atol=1e-12, err_msg=field
        )
    available = np.asarray(model.available)
    assert (np.asarray(found.policy)[~available] == 0).all()
    assert (np.asarray(found.gradient)[~available] == 0).all()
    assert (np.asarray(found.policy)[available] > 0).all()


WRONG = {
    "no visits": lambda p: p.policy * p.advantage,
    "undiscounted visits": lambda p: p.visits_at(1.0)[:, None] * p.policy * p.advantage,
    "probabilities of states, not visits": lambda p: (
        (1 - DISCOUNT) * p.visits[:, None] * p.policy * p.advantage
    ),
    "visits from uniform starts": lambda p: (
        np.linalg.solve(
            np.eye(len(p.chain)) - DISCOUNT * p.chain.T, np.full(len(p.chain), 1 / len(p.chain))
        )[:, None]
        * p.policy
        * p.advantage
    ),
    "no probability": lambda p: p.visits[:, None] * p.advantage,
    "values for advantages": lambda p: p.visits[:, None] * p.policy * p.q,
}


@pytest.mark.parametrize("variant", WRONG)
def test_wrong_formulas_are_told_apart(variant):
    model = models()["grid"]  # whose start is one state
    logits = logits_of(model)
    found = mdp.policy_gradient(model, jnp.asarray(logits), DISCOUNT).gradient
    parts = Parts(model, logits)
    right = parts.visits[:, None] * parts.policy * parts.advantage
    np.testing.assert_allclose(found, right, atol=1e-12)
    assert np.abs(found - WRONG[variant](parts)).max() > 0.05


@every_model
def test_a_baseline_changes_nothing_if_probabilities_are_differentiated(name):
    """In sum_a q(s, a) grad pi(a | s) any function of the state may be subtracted."""
    model = models()[name]
    logits = jnp.asarray(logits_of(model))
    parts = Parts(model, np.asarray(logits))
    gradient = mdp.policy_gradient(model, logits, DISCOUNT).gradient
    baseline = np.random.default_rng(0).normal(size=(model.num_states, 1))
    q = np.where(np.asarray(model.available), parts.q, 0)
    for weights in (q, q - baseline, parts.advantage):
        _, pull_back = jax.vjp(functools.partial(mdp.softmax_policy, model), logits)
        (found,) = pull_back(jnp.asarray(parts.visits[:, None] * weights))
        np.testing.assert_allclose(found, gradient, atol=1e-12)


def episodic():
    """Two decisions at most, with random outcomes; 0 -> 1 or 2 or the end, then it
    ends."""
    return FiniteMDP(
        probability=np.array(
            [[[0.3, 0.7], [0.6, 0.4]], [[1.0, 0.0], [0.2, 0.8]], [[0.5, 0.5], [1.0, 0.0]]]
        ),
        next_state=np.array([[[1, 2], [2, 0]], [[0, 0], [0, 0]], [[0, 0], [0, 0]]]),
        reward=np.array(
            [[[1.0, -2.0], [0.5, 3.0]], [[2.0, 0.0], [-1.0, 4.0]], [[1.5, -0.5], [0.25, 0.0]]]
        ),
        terminated=np.array(
            [[[False, False], [False, True]], [[True, True]] * 2, [[True, True]] * 2]
        ),
        initial=np.array([0.8, 0.2, 0.0]),
    )


def trajectories(model, policy):
    """Every episode: its probability, and state, action and reward at each time."""
    leaves = map(np.asarray, jax.tree.leaves(model))
    probability, next_state, reward, terminated, initial, _ = leaves
    todo = [(initial[s], s, []) for s in range(model.num_states) if initial[s] > 0]
    while todo:
        chance, s, past = todo.pop()
        for a, k in itertools.product(range(2), range(2)):
            p = chance * policy[s, a] * probability[s, a, k]
            steps = [*past, (s, a, reward[s, a, k])]
            if p == 0:
                continue
            if terminated[s, a, k]:
                yield p, steps
            else:
                todo.append((p, next_state[s, a, k], steps))


def reinforce(steps, policy, discount, baseline=(0, 0, 0), discounted=True):
    """The estimate of one episode (Sutton & Barto, section 13.3)."""
    estimate = np.zeros_like(policy)
    for t, (s, a, _) in enumerate(steps):
        rewards = [r for _, _, r in steps[t:]]
        later = sum(discount**i * r for i, r in enumerate(rewards))
        score = np.eye(policy.shape[1])[a] - policy[s]
        weight = discount**t if discounted else 1
        estimate[s] += weight * (later - baseline[s]) * score
    return estimate


@pytest.mark.parametrize("discount", [0.7, 1.0])
def test_the_expectation_of_reinforce_over_all_episodes(discount):
    model = episodic()
    logits = logits_of(model)
    policy = Parts(model, logits).policy
    episodes = list(trajectories(model, policy))
    assert sum(p for p, _ in episodes) == pytest.approx(1, abs=1e-14)
    assert len(episodes) == 13 and {len(steps) for _, steps in episodes} == {1, 2}
    gradient = mdp.policy_gradient(model, jnp.asarray(logits), discount).gradient

    def expectation(**options):
        return sum(p * reinforce(steps, policy, discount, **options) for p, steps in episodes)

    np.testing.assert_allclose(expectation(), gradient, atol=1e-13)
    np.testing.assert_allclose(expectation(baseline=(0.3, -5, 2)), gradient, atol=1e-13)
    undiscounted = expectation(discounted=False)
    assert (np.abs(undiscounted - gradient).max() > 1e-3) == (discount < 1)


def fisher(parts, discount=DISCOUNT):
    """The Fisher matrix of a table of logits, ``[S A, S A]``, score by score."""
    states, actions = parts.policy.shape
    found = np.zeros((states * actions,) * 2)
    for s, a in np.ndindex(states, actions):
        score = np.zeros((states, actions))
        score[s] = np.eye(actions)[a] - parts.policy[s]
        weight = (1 - discount) * parts.visits[s] * parts.policy[s, a]
        found += weight * np.outer(score, score)
    return found


@every_model
def test_the_natural_gradient_solves_the_equations_of_fisher(name):
    model = models()[name]
    logits = logits_of(model)
    parts = Parts(model, logits)
    natural = np.asarray(mdp.natural_policy_gradient(model, jnp.asarray(logits), DISCOUNT))
    gradient = np.asarray(mdp.policy_gradient(model, jnp.asarray(logits), DISCOUNT).gradient)
    # Of an action that is not available the matrix has no entry, and the gradient none.
    matrix = fisher(parts)
    np.testing.assert_allclose(matrix @ natural.ravel(), gradient.ravel(), atol=1e-12)
    pseudo = (np.linalg.pinv(matrix, rcond=1e-10) @ gradient.ravel()).reshape(logits.shape)
    # The two differ by a constant in each state, where all states are visited.
    available = np.asarray(model.available)
    rest = np.where(available, natural - pseudo, np.nan)
    visited = parts.visits > 0
    spread = np.nanmax(rest, axis=1) - np.nanmin(rest, axis=1)
    np.testing.assert_allclose(spread[visited], 0, atol=1e-9)
    assert (natural[~available] == 0).all()


@every_model
def test_a_natural_step_is_soft_policy_iteration(name):
    model = models()[name]
    logits = logits_of(model)
    parts = Parts(model, logits)
    rate = 0.3
    step = rate * mdp.natural_policy_gradient(model, jnp.asarray(logits), DISCOUNT)
    weights = parts.policy * np.exp(rate / (1 - DISCOUNT) * parts.advantage)
    expected = weights / weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(mdp.softmax_policy(model, logits + step), expected, atol=1e-12)
    # An endless step is Howard's policy iteration.
    far = mdp.softmax_policy(model, logits + 1e6 * step)
    best = np.where(np.asarray(model.available), parts.q, -np.inf)
    ties = np.isclose(best, best.max(axis=1, keepdims=True), rtol=0, atol=1e-9)
    np.testing.assert_allclose(np.asarray(far)[~ties], 0, atol=1e-12)


def tanh(params, observation):
    """A small network, in the dtype of its parameters."""
    hidden = jnp.tanh(params["in"][observation] + params["bias"])
    return hidden @ params["out"]


def tanh_params(model, width=4, seed=0):
    rng = np.random.default_rng(seed)
    shapes = {
        "in": (model.num_states, width),
        "bias": (width,),
        "out": (width, model.num_actions),
    }
    return {name: jnp.asarray(rng.normal(size=shape)) for name, shape in shapes.items()}


@every_model
def test_gradients_of_networks(name):
    model = models()[name]
    params = tanh_params(model)
    states = jnp.arange(model.num_states)
    found = mdp.parameter_gradient(model, tanh, params, states, DISCOUNT)

    def value(params):
        logits = jax.vmap(tanh, (None, 0))(params, states)
        policy = jax.nn.softmax(jnp.where(model.available, logits, -jnp.inf))
        return mdp.expected_return(model, policy, DISCOUNT)

    expected = jax.grad(value)(params)

    def of_numpy(part, x):
        moved = params | {part: jnp.asarray(x)}
        return Parts(model, np.asarray(jax.vmap(tanh, (None, 0))(moved, states))).value

    assert found.keys() == params.keys()
    for part in params:
        np.testing.assert_allclose(found[part], expected[part], atol=1e-12)
        numerical = differences(functools.partial(of_numpy, part), np.asarray(params[part]))
        np.testing.assert_allclose(found[part], numerical, atol=1e-8)


@every_model
@pytest.mark.parametrize("damping", [1e-3, 0.1])
def test_natural_gradients_of_networks(name, damping):
    """Against a Fisher matrix summed up from the scores of each state and action."""
    model = models()[name]
    params = tanh_params(model)
    states = jnp.arange(model.num_states)
    found = mdp.natural_parameter_gradient(model, tanh, params, states, DISCOUNT, damping)
    parts = Parts(model, np.asarray(jax.vmap(tanh, (None, 0))(params, states)))

    def flat(tree):
        return np.concatenate([np.ravel(tree[part]) for part in sorted(tree)])

    def log_probability(params, s, a):
        allowed = jnp.where(model.available[s], tanh(params, s), -jnp.inf)
        return jax.nn.log_softmax(allowed)[a]

    matrix = damping * np.eye(len(flat(params)))
    score_of = jax.jit(jax.grad(log_probability))
    for s, a in np.ndindex(parts.policy.shape):
        if parts.policy[s, a] > 0:
            score = flat(score_of(params, s, a))
            weight = (1 - DISCOUNT) * parts.visits[s] * parts.policy[s, a]
            matrix += weight * np.outer(score, score)
    gradient = flat(mdp.parameter_gradient(model, tanh, params, states, DISCOUNT))
    np.testing.assert_allclose(flat(found), np.linalg.solve(matrix, gradient), rtol=1e-6, atol=1e-9)


@every_model
def test_with_little_damping_a_table_of_parameters_is_a_table(name):
    model = models()[name]
    logits = jnp.asarray(logits_of(model))
    states = jnp.arange(model.num_states)
    damped = mdp.natural_parameter_gradient(
        model, lambda table, s: table[s], logits, states, DISCOUNT, 1e-10
    )
    closed = mdp.natural_policy_gradient(model, logits, DISCOUNT)
    reached = Parts(model, np.asarray(logits)).visits > 0
    for direction in (damped, closed):
        step = mdp.softmax_policy(model, logits + 0.1 * direction)
        expected = mdp.softmax_policy(model, logits + 0.1 * closed)
        np.testing.assert_allclose(step[reached], expected[reached], atol=1e-6)


def test_at_discount_one_what_yields_nothing_for_ever_counts_for_nothing():
    """A step of reward 1 or 2 into a state that is left for no other and pays
    nothing."""
    model = FiniteMDP(
        probability=np.ones((2, 2, 1)),
        next_state=np.ones((2, 2, 1), int),
        reward=np.array([[[1.0], [2.0]], [[0.0], [0.0]]]),
        terminated=np.zeros((2, 2, 1), bool),
        initial=[1.0, 0.0],
    )
    found = mdp.policy_gradient(model, jnp.zeros((2, 2)), 1.0)
    np.testing.assert_allclose(found.gradient, [[-0.25, 0.25], [0, 0]], atol=1e-15)
    assert found.value == 1.5 and found.visits[1] == np.inf


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_advantages_survive_where_the_policy_is_nearly_deterministic(dtype):
    """In float32, too: the best action's is the others' loss times their probability,
    far below the rounding errors of its value."""
    reward = np.array([[[100.0], [99.0], [98.0]]])
    model = FiniteMDP(
        probability=np.ones((1, 3, 1), dtype),
        next_state=np.zeros((1, 3, 1), int),
        reward=reward.astype(dtype),
        terminated=np.ones((1, 3, 1), bool),
        initial=np.ones(1, dtype),
    )
    found = mdp.policy_gradient(model, jnp.asarray([[20.0, 0, 0]], dtype), 0.9)
    small = np.exp(-20)
    np.testing.assert_allclose(found.gradient[0], [3 * small, -small, -2 * small], rtol=1e-5)
    assert found.gradient.dtype == dtype


def test_models_logits_and_discounts_side_by_side():
    pair = [models()[name] for name in ("garnet 0", "garnet 1")]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *pair)
    logits = jnp.stack([jnp.asarray(logits_of(model, seed)) for seed, model in enumerate(pair)])
    discounts = jnp.array([0.5, 0.95])
    together = jax.vmap(mdp.policy_gradient)(stacked, logits, discounts)
    natural = jax.vmap(mdp.natural_policy_gradient)(stacked, logits, discounts)
    for i, model in enumerate(pair):
        alone = mdp.policy_gradient(model, logits[i], discounts[i])
        np.testing.assert_allclose(together.gradient[i], alone.gradient, atol=1e-12)
        one = mdp.natural_policy_gradient(model, logits[i], discounts[i])
        np.testing.assert_allclose(natural[i], one, atol=1e-12)


def test_models_too_large_for_elimination():
    """Visits and values are then iterated."""
    model = normalized(mdp.garnet(purerl.random.key(5, "pcg4d"), 2100, 2, 2))
    logits = logits_of(model)
    found, parts = mdp.policy_gradient(model, jnp.asarray(logits), 0.8), Parts(model, logits, 0.8)
    right = parts.visits[:, None] * parts.policy * parts.advantage
    np.testing.assert_allclose(found.gradient, right, atol=1e-12)
    assert np.abs(right).max() > 1e-4


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda m, x: mdp.policy_gradient(m, x, 1.5), r"discount is 1.5; allowed: a number in \["),
        (lambda m, x: mdp.natural_policy_gradient(m, x, 1.0), r"discount is 1.0; .* in \[0, 1\)"),
        (
            lambda m, x: mdp.policy_gradient(m, x[:, :2], 0.5),
            r"logits has shape \(6, 2\); allowed: \(6, 3\)",
        ),
        (
            lambda m, x: mdp.parameter_gradient(m, lambda p, s: p[s], x, jnp.arange(3), 0.5),
            r"logits has shape \(3, 3\)",
        ),
    ],
)
def test_wrong_arguments_are_refused(call, says):
    model = models()["garnet 0"]
    with pytest.raises(ValueError, match=says):
        call(model, jnp.zeros((6, 3)))
