"""Solvers at extreme scales, against solvers in float64 of these tests' own."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import purerl
from purerl import mdp

S, A, K = 6, 3, 3
DISCOUNT = float(np.float32(0.99))  # solvers round it to the dtype of the model


def tables(model):
    """``P(s' and not ended | s, a) [S, A, S]`` and ``r(s, a) [S, A]``, in float64."""
    probability = np.array(model.probability, float)
    probability /= probability.sum(axis=-1, keepdims=True)
    reward = (probability * np.asarray(model.reward, float)).sum(axis=-1)
    goes_on = np.where(model.terminated, 0, probability)
    transition = np.zeros((*reward.shape, model.num_states))
    s, a, _ = np.indices(goes_on.shape)
    np.add.at(transition, (s, a, np.asarray(model.next_state)), goes_on)
    return transition, np.where(model.available, reward, -np.inf)


def worth(model, policy, discount):
    """``v_pi`` of actions ``[S]`` by NumPy's linear algebra in float64."""
    transition, reward = tables(model)
    here = np.arange(model.num_states), np.asarray(policy)
    matrix = np.eye(model.num_states) - discount * transition[here]
    return np.linalg.lstsq(matrix, reward[here], rcond=None)[0]


def optimum(model, discount):
    """``q*`` by Howard's policy iteration in float64, from the best of three starts."""
    transition, reward = tables(model)
    values = np.zeros(model.num_states)
    for _ in range(3000):
        values = (reward + discount * transition @ values).max(axis=-1)
    actions = (reward + discount * transition @ values).argmax(axis=-1)
    for _ in range(100):
        q = reward + discount * transition @ worth(model, actions, discount)
        kept = np.take_along_axis(q, actions[:, None], axis=1)[:, 0]
        better = q.max(axis=-1) > kept + 1e-9 * np.abs(kept)
        if not better.any():
            break
        actions = np.where(better, q.argmax(axis=-1), actions)
    return q


SOLVERS = {
    "value iteration": mdp.value_iteration,
    "modified policy iteration": mdp.modified_policy_iteration,
    "policy iteration": mdp.policy_iteration,
    "solve": mdp.solve,
}


def random_model(rng, reward, ending=0.1):
    """A quarter of the outcomes of every action may end."""
    return mdp.FiniteMDP(
        probability=rng.dirichlet(np.ones(K), (S, A)),
        next_state=rng.integers(S, size=(S, A, K)),
        reward=reward,
        terminated=rng.random((S, A, K)) < ending,
        initial=np.full(S, 1 / S),
    )


def lake(hole, **settings):
    return purerl.make("FrozenLake-v1", reward_schedule=(1.0, hole, -0.001), **settings).mdp


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("hole", [-1e2, -1e5, -1e9])
@pytest.mark.parametrize("slip", [0.0, 1 / 3])
def test_a_large_penalty_stops_no_solver(name, hole, slip):
    """A hole that a good policy never enters, or never needs to."""
    model = lake(hole, slip=slip)
    solution = SOLVERS[name](model, DISCOUNT)
    q = optimum(model, DISCOUNT)
    assert solution.values[0] == pytest.approx(q.max(axis=1)[0], rel=3e-5)
    assert worth(model, solution.policy, DISCOUNT)[0] == pytest.approx(q.max(axis=1)[0], rel=3e-5)
    assert (np.abs(solution.values - q.max(axis=1)) <= solution.errors).all()


def scaled(seed, low, high):
    """Rewards whose sizes are spread evenly over powers of ten."""
    rng = np.random.default_rng(seed)
    size = 10.0 ** rng.uniform(low, high, (S, A, 1))
    return random_model(rng, rng.choice([-1, 1], (S, A, 1)) * size * rng.random((S, A, K)))


@pytest.mark.optimized
@given(
    st.integers(0, 2**31 - 1),
    st.sampled_from([(-8, -8), (0, 0), (9, 9), (-8, 9), (-3, 3)]),
    st.sampled_from([0.0, 0.5, DISCOUNT]),
)
def test_every_scale_is_solved_within_its_bounds(seed, powers, discount):
    model = scaled(seed, *powers)
    q = optimum(model, discount)
    best = q.max(axis=1)
    for name, solve in SOLVERS.items():
        solution = solve(model, discount)
        error = np.abs(np.asarray(solution.values, float) - best)
        assert (error <= solution.errors + 1e-12 * np.abs(best)).all(), name
        lost = best - worth(model, solution.policy, discount)
        assert (lost <= 2 * solution.errors + 1e-9 * np.abs(best)).all(), name
        assert np.max(np.abs(solution.q - q)) <= solution.error_bound, name
    # The errors are small beside the answer where nothing cancels.
    found = mdp.solve(model, discount)
    if powers[0] == powers[1]:
        assert np.max(found.errors) < 1e-3 * np.max(np.abs(best))


def test_forbidden_actions_as_large_costs():
    """A chain of six states; going right five times earns 10 and ends."""
    model = chain(-1e9)
    truth = 10 * 0.95 ** np.arange(4, -1, -1)
    for name, solve in SOLVERS.items():
        solution = solve(model, 0.95)
        np.testing.assert_allclose(solution.values[:5], truth, rtol=1e-6, err_msg=name)
        assert (np.asarray(solution.policy)[:5] == 1).all(), name
        assert np.max(solution.errors) < 1e-3, name
    gain = mdp.optimal_average_reward(model)
    assert gain.gain == pytest.approx(2.0, abs=1e-6) and gain.error_bound < 1e-3
    program = mdp.linear_program(model, 0.95)
    np.testing.assert_allclose(program.values[:5], truth, rtol=1e-6)
    assert (program.policy[:5] == 1).all()
    soft = mdp.soft_optimal(model, 0.95, 1e-3)
    np.testing.assert_allclose(soft.values[:5], truth, atol=0.05)
    near = mdp.epsilon_soft_optimal(model, 0.95, 0.0)
    np.testing.assert_allclose(near.values[:5], truth, rtol=1e-6)


def chain(cost, **fields):
    size = 6
    transition = np.zeros((size, 3, size))
    reward = np.zeros((size, 3))
    for s in range(size):
        transition[s, 0, s] = transition[s, 2, s] = 1
        transition[s, 1, min(s + 1, size - 1)] = 1
        reward[s] = 0.1, 10.0 if s == size - 2 else 0.0, cost
    ends = np.arange(size) == size - 1
    return mdp.from_dense(transition, reward, np.eye(size)[0], ends, **fields)


# Policy evaluation.


@pytest.mark.parametrize("exact", [0, 2048], ids=["iterated", "eliminated"])
@pytest.mark.parametrize("hole", [-1e3, -1e5, -1e7])
def test_values_of_states_that_are_never_reached_stay_there(hole, exact):
    model = lake(hole, slip=1 / 3, rows="8x8")
    policy = optimum(model, DISCOUNT).argmax(axis=1)
    truth = worth(model, policy, DISCOUNT)
    solution = mdp.evaluate_policy(model, policy, DISCOUNT, max_exact_states=exact)
    assert solution.values[0] == pytest.approx(truth[0], rel=1e-5)
    if exact:
        assert (np.abs(solution.values - truth) <= solution.errors + 1e-15 * -hole).all()
        assert solution.errors[0] < 1e-4
        assert mdp.expected_return(model, policy, DISCOUNT) == pytest.approx(truth[0], rel=1e-5)


@pytest.mark.parametrize("end", [1e-2, 1e-5, 1e-8])
def test_an_episode_that_hardly_ever_ends(end):
    """Reward 1 in the first of two states that switch, until an end of probability
    ``end``: ``v0 = 1 + v1``, ``v1 = (1 - end) v0``."""
    model = mdp.FiniteMDP(
        probability=[[[1.0, 0.0]], [[1 - end, end]]],
        next_state=[[[1, 1]], [[0, 0]]],
        reward=[[[1.0, 0.0]], [[0.0, 0.0]]],
        terminated=[[[False, False]], [[False, True]]],
        initial=[1.0, 0.0],
    )
    end = float(np.float32(end))
    solution = mdp.evaluate_policy(model, [0, 0], 1.0)
    np.testing.assert_allclose(solution.values, [1 / end, 1 / end - 1], rtol=1e-5)
    assert (solution.errors < 1e-4 / end).all()
    np.testing.assert_allclose(mdp.expected_visits(model, [0, 0]), [1 / end, 1 / end], rtol=1e-5)
    np.testing.assert_allclose(mdp.solve(model, 1.0).values, [1 / end, 1 / end - 1], rtol=1e-5)


def test_visits_without_end_are_infinite():
    """The second of three states is never left again; the third is never entered."""
    model = mdp.from_dense([[[0.5, 0.5, 0]], [[0, 1, 0]], [[0, 0, 1]]], np.zeros((3, 1)), [1, 0, 0])
    assert mdp.expected_visits(model, [0, 0, 0]).tolist() == [2.0, np.inf, 0.0]


def cancelling():
    """Rewards of 1e9, -1e9 and 0.5: in float32 the sum may be anything near zero."""
    model = mdp.from_dense(
        [[[0, 1, 0, 0]], [[0, 0, 1, 0]], [[0, 0, 0, 1]], []],
        [[1e9], [-1e9], [0.5], []],
        np.eye(4)[0],
    )
    return model


def test_what_cannot_be_told_is_not_told():
    model = cancelling()
    solution = mdp.solve(model, 1.0)
    truth = [0.5, -1e9 + 0.5, 0.5, 0]
    assert (np.abs(np.asarray(solution.values, float) - truth) <= solution.errors).all()
    assert solution.errors[0] > 100
    assert np.isnan(mdp.optimal_q(model, 1.0)[:, 0]).tolist() == [True, False, False, False]
    agent = purerl.QLearning(env=purerl.envs.FiniteEnvironment.of(model), discount=1.0)
    result = purerl.sweep(agent, seeds=2, num_steps=200, points=1, progress=False)
    assert np.isnan(result.final["policy_value"]).all()
    with jax.enable_x64(True):
        double = cancelling()
        assert mdp.optimal_q(double, 1.0)[0, 0] == pytest.approx(0.5, abs=1e-6)


@pytest.mark.slow
def test_a_long_walk_is_eliminated_after_all():
    """A fair walk on a line, with a cost of 1 a step: v(i) = -(i + 1) (n - i)."""
    size = 2500
    states = np.arange(size)
    beside = np.stack([states - 1, states + 1], axis=1)[:, None]
    model = mdp.FiniteMDP(
        probability=np.full((size, 1, 2), 0.5),
        next_state=np.clip(beside, 0, size - 1),
        reward=-np.ones((size, 1, 2)),
        terminated=(beside < 0) | (beside >= size),
        initial=np.eye(size)[size // 2],
    )
    values = mdp.evaluate_policy(model, np.zeros(size, int), 1.0).values
    np.testing.assert_allclose(values, -(states + 1) * (size - states), rtol=1e-4)


# Long-run averages.


@pytest.mark.parametrize("rate", [1e-3, 1e-6, 1e-8, 1e-12])
def test_a_chain_that_hardly_ever_switches(rate):
    """Detailed balance: two states that switch with probability e and e / 2."""
    model = mdp.from_dense([[[1 - rate, rate]], [[rate / 2, 1 - rate / 2]]], [[1], [0]], [1, 0])
    np.testing.assert_allclose(mdp.stationary(model, [0, 0]), [1 / 3, 2 / 3], rtol=1e-6)
    found = mdp.average_reward(model, [0, 0])
    assert abs(found.gain - 1 / 3) <= found.error_bound < 1e-5
    np.testing.assert_allclose(mdp.gains(model, [0, 0]), 1 / 3, rtol=1e-6)
    assert found.bias[0] - found.bias[1] == pytest.approx(2 / (3 * rate), rel=1e-4)
    best = mdp.optimal_average_reward(model)
    assert abs(best.gain - 1 / 3) <= best.error_bound < 1e-5


def cesaro(matrix):
    """The limit of ``((I + P) / 2)^n`` in float64."""
    power = (np.eye(len(matrix)) + matrix) / 2
    for _ in range(60):
        power = power @ power
        power /= power.sum(axis=1, keepdims=True)
    return power


@given(st.integers(0, 2**31 - 1))
def test_chains_with_several_classes(seed):
    """Sparse random chains: transient states, classes, periods."""
    rng = np.random.default_rng(seed)
    transition = np.zeros((S, 1, S))
    for s in range(S):
        reached = rng.choice(S, size=rng.integers(1, 3), replace=False)
        transition[s, 0, reached] = rng.dirichlet(np.ones(len(reached)))
    model = mdp.from_dense(transition, rng.normal(size=(S, 1)), rng.dirichlet(np.ones(S)))
    matrix = np.asarray(mdp.transition_matrix(model, np.zeros(S, int)), float)
    limit = cesaro(matrix / matrix.sum(axis=1, keepdims=True))
    reward = tables(model)[1][:, 0]
    found = mdp.average_reward(model, np.zeros(S, int))
    np.testing.assert_allclose(found.gains, limit @ reward, atol=1e-5)
    assert found.gain == pytest.approx(np.asarray(model.initial, float) @ limit @ reward, abs=1e-5)
    np.testing.assert_allclose(mdp.gains(model, np.zeros(S, int)), limit @ reward, atol=1e-5)
    law = mdp.stationary(model, np.zeros(S, int))
    np.testing.assert_allclose(law, np.asarray(model.initial, float) @ limit, atol=1e-5)
    # The equation of the bias, and its normalization.
    bias = np.asarray(found.bias, float)
    np.testing.assert_allclose(bias, reward - limit @ reward + matrix @ bias, atol=1e-4)
    np.testing.assert_allclose(limit @ bias, 0, atol=1e-4)


@given(st.integers(0, 2**31 - 1))
def test_the_best_gain_may_depend_on_the_first_state(seed):
    rng = np.random.default_rng(seed)
    size, actions = 4, 2
    transition = np.zeros((size, actions, size))
    for s, a in np.ndindex(size, actions):
        reached = rng.choice(size, size=rng.integers(1, 3), replace=False)
        transition[s, a, reached] = rng.dirichlet(np.ones(len(reached)))
    model = mdp.from_dense(transition, rng.normal(size=(size, actions)), np.full(size, 1 / size))
    dense, reward = tables(model)
    best = np.full(size, -np.inf)
    for policy in itertools.product(range(actions), repeat=size):
        here = np.arange(size), np.array(policy)
        best = np.maximum(best, cesaro(dense[here]) @ reward[here])
    found = mdp.optimal_average_reward(model)
    np.testing.assert_allclose(found.gains, best, atol=1e-4)
    assert abs(found.gain - best.mean()) <= found.error_bound < 1e-3
    again = mdp.average_reward(model, found.policy)
    np.testing.assert_allclose(again.gains, best, atol=1e-4)


@pytest.mark.parametrize("name", ["RandomWalk1000-v0", "Taxi-v3", "CliffWalking-v1"])
def test_gains_of_known_environments(name):
    """Against the stationary distribution by least squares in float64."""
    model = purerl.make(name).mdp
    uniform = np.full((model.num_states, model.num_actions), 1 / model.num_actions, np.float32)
    matrix = np.asarray(mdp.transition_matrix(model, uniform), float)
    matrix /= matrix.sum(axis=1, keepdims=True)
    reached = np.asarray(model.initial) > 0
    while (wider := reached | (reached @ matrix > 0)).sum() > reached.sum():
        reached = wider
    within = matrix[np.ix_(reached, reached)]
    size = len(within)
    law = np.linalg.lstsq(
        np.vstack([np.eye(size) - within.T, np.ones(size)]), np.eye(size + 1)[-1], rcond=None
    )[0]
    truth = law @ tables(model)[1].mean(axis=1)[reached]
    found = mdp.average_reward(model, uniform)
    assert abs(found.gain - truth) <= found.error_bound
    assert found.gain == pytest.approx(truth, rel=1e-3)
    best = mdp.optimal_average_reward(model)
    again = mdp.average_reward(model, best.policy)
    assert again.gain == pytest.approx(float(best.gain), abs=float(best.error_bound))


# Traps: actions of the largest value that postpone the reward forever.


def gambler(heads, goal):
    """Example 4.3 of Sutton & Barto: the stake 0, which changes nothing, is allowed."""
    capital = np.arange(goal + 1)[:, None]
    stake = np.minimum(np.arange(goal // 2 + 1), np.minimum(capital, goal - capital))
    next_state = np.stack([capital + stake, capital - stake], axis=-1)
    playing = (capital > 0) & (capital < goal)
    return mdp.FiniteMDP(
        probability=np.broadcast_to([heads, 1 - heads], next_state.shape),
        next_state=next_state,
        reward=np.where(playing[..., None], next_state == goal, 0).astype(float),
        terminated=(next_state == 0) | (next_state == goal),
        initial=np.eye(goal + 1)[goal // 2],
    )


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("discount", [1.0, 1 - 1e-7])
def test_a_policy_attains_the_values_beside_it(name, discount):
    """Bold play is optimal: ``v = p`` at half the goal (Dubins & Savage, 1965)."""
    model = gambler(0.4, 32)
    solution = SOLVERS[name](model, discount)
    assert solution.values[16] == pytest.approx(0.4, rel=1e-5)
    assert solution.values[8] == pytest.approx(0.4**2, rel=1e-5)
    attained = mdp.evaluate_policy(model, solution.policy, discount).values
    np.testing.assert_allclose(attained[1:-1], solution.values[1:-1], rtol=1e-4)


def test_waiting_for_free_is_a_trap_at_discount_one():
    """Waiting is the first of the best actions; paying 1 for a prize of 3 is worth it,
    and in the last state, worth nothing, nothing is done for ever."""
    model = mdp.from_dense(
        [[[1, 0, 0], [0, 1, 0]], [[0, 1, 0], [0, 0, 1]], [[0, 0, 1], [0, 0, 1]]],
        [[0, -1], [0, 3], [0, -1]],
        [1, 0, 0],
    )
    for name, solve in SOLVERS.items():
        solution = solve(model, 1.0)
        assert solution.values.tolist() == [2.0, 3.0, 0.0], name
        assert solution.policy.tolist() == [1, 1, 0], name
    near = mdp.epsilon_soft_optimal(model, 1.0, 0.0)
    assert near.policy.argmax(axis=1).tolist() == [1, 1, 0]


def test_policies_that_never_end_are_worth_infinities():
    model = mdp.from_dense(
        [[[1, 0], [0, 1]], [[0, 1], [0, 1]]], [[-1, 0], [0, 0]], [1, 0], [False, True]
    )
    assert mdp.evaluate_policy(model, [0, 0], 1.0).values[0] == -np.inf
    assert mdp.solve(model, 1.0).values.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("name", SOLVERS)
def test_solvers_serve_many_models_in_one_program(name):
    models = [scaled(seed, 0, 0) for seed in range(4)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)
    solve = functools.partial(SOLVERS[name], discount=0.9)
    together = jax.vmap(solve)(stacked)
    for i, model in enumerate(models):
        alone = solve(model)
        np.testing.assert_allclose(together.values[i], alone.values, atol=1e-5)
        np.testing.assert_array_equal(together.policy[i], alone.policy)
