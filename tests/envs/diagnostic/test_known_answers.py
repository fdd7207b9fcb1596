"""Diagnostic problems: their tables as published, and the answers that are known of
them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import purerl
import purerl.random
from purerl import mdp
from purerl.envs import FiniteEnvironment, drawing
from purerl.envs.diagnostic import (
    ENVIRONMENTS,
    access_control,
    baird_star,
    boyan_chain,
    gambler,
    garnet,
    maximization_bias,
    random_walk,
    river_swim,
    short_corridor,
)
from tests import quick


def dense(model):
    """``P(s', going on | s, a)`` [S, A, S] and expected rewards [S, A], float64."""
    probability, next_state, terminated = map(
        np.asarray, (model.probability, model.next_state, model.terminated)
    )
    transition = np.zeros((*probability.shape[:2], len(probability)))
    s, a, _ = np.indices(probability.shape)
    np.add.at(transition, (s, a, next_state), probability * ~terminated)
    return transition, np.sum(probability.astype(float) * np.asarray(model.reward), axis=-1)


def values(env):
    """Undiscounted ones, where there is one action."""
    transition, reward = dense(env.mdp)
    return np.linalg.solve(np.eye(len(reward)) - transition[:, 0], reward[:, 0])


def test_five_states_of_example_6_2():
    env = purerl.make("RandomWalk5-v0")
    np.testing.assert_allclose(values(env)[1:6], np.arange(1, 6) / 6, atol=1e-6)
    assert int(env.reset(None)) == 3


def test_nineteen_states_of_example_7_1():
    env = purerl.make("RandomWalk-v0")
    np.testing.assert_allclose(values(env), [0, *np.arange(-9, 10) / 10, 0], atol=1e-6)
    assert int(env.reset(None)) == 10


def test_a_thousand_states_of_example_9_1():
    """Against equations set up move by move in another way, and the law near an edge
    read off the book."""
    env = purerl.make("RandomWalk1000-v0")
    assert int(env.reset(None)) == 500
    matrix, right = np.eye(1000), np.zeros(1000)
    for i in range(1000):
        for j in (*range(i - 100, i), *range(i + 1, i + 101)):
            if 0 <= j < 1000:
                matrix[i, j] -= 1 / 200
            else:
                right[i] += np.sign(j) / 200
    v = values(env)[1:1001]
    np.testing.assert_allclose(v, np.linalg.solve(matrix, right), atol=2e-4)
    np.testing.assert_allclose(v, -v[::-1], atol=2e-4)
    model = jax.tree.map(np.asarray, env.mdp)
    for state, chance in ((1, 100 / 200), (100, 1 / 200), (101, 0)):
        leaves = model.terminated[state, 0]
        assert model.probability[state, 0][leaves].sum() == pytest.approx(chance)
        assert (model.reward[state, 0][leaves] == -1).all()
        assert not model.reward[state, 0][~leaves].any()
    assert set(model.next_state[500, 0].tolist()) == {*range(400, 500), *range(501, 601)}


def test_bairds_counterexample_is_that_of_the_book():
    """Figure 11.1, and what it is for: expected updates diverge from Figure 11.2's
    weights, where on policy they do not."""
    env = baird_star()
    x = np.asarray(env.features, float)
    weights = np.arange(1.0, 9.0)
    assert (x @ weights).tolist() == [*(2 * weights[:6] + weights[7]), weights[6] + 2 * weights[7]]
    transition, reward = dense(env.mdp)
    np.testing.assert_allclose(transition[:, 0], np.tile([1 / 6] * 6 + [0], (7, 1)), atol=1e-7)
    np.testing.assert_array_equal(transition[:, 1], np.tile(np.eye(7)[6], (7, 1)))
    assert not reward.any()
    behavior, target = np.asarray(env.behavior, float), np.asarray(env.target, float)
    np.testing.assert_allclose(
        np.einsum("sa,sat->st", behavior, transition), np.full((7, 7), 1 / 7), atol=1e-7
    )
    np.testing.assert_allclose(env.mdp.initial, 1 / 7, rtol=1e-6)

    ratio = target / behavior
    step = (
        np.einsum("sa,sa,sat,td->sd", behavior, ratio, 0.99 * transition, x) - x
    )  # expected TD error by weight
    update = x.T @ step / 7
    assert np.linalg.eigvals(update).real.max() > 0.01
    weights = np.array([1, 1, 1, 1, 1, 1, 10, 1.0])
    for _ in range(1000):
        weights = weights + 0.01 * update @ weights
    assert weights[7] > 300  # as drawn there
    on_policy = x.T @ (np.einsum("sa,sat,td->sd", behavior, 0.99 * transition, x) - x) / 7
    assert np.linalg.eigvals(on_policy).real.max() < 1e-9


def test_boyans_chain_is_linear():
    """Values -2 s, features as printed, and the weights that least squares finds from
    the model."""
    env = boyan_chain()
    np.testing.assert_allclose(values(env), -2.0 * np.arange(13), atol=1e-5)
    x = np.asarray(env.features, float)
    for state, row in {
        12: [1, 0, 0, 0],
        11: [0.75, 0.25, 0, 0],
        8: [0, 1, 0, 0],
        6: [0, 0.5, 0.5, 0],
        0: [0, 0, 0, 1],
    }.items():
        assert x[state].tolist() == row
    transition, reward = dense(env.mdp)
    going_on = x[1:]  # no step is taken in state 0
    ahead = transition[1:, 0] @ x
    weights = np.linalg.lstsq(
        going_on.T @ (going_on - ahead), going_on.T @ reward[1:, 0], rcond=None
    )[0]
    np.testing.assert_allclose(x[1:] @ weights, -2.0 * np.arange(1, 13), atol=1e-5)
    np.testing.assert_allclose(x @ [-24, -16, -8, 0], -2.0 * np.arange(13), atol=1e-12)
    assert int(env.reset(None)) == 12


def test_the_short_corridor_of_example_13_1():
    """The value of the start for every probability of right, from equations set up by
    hand; its maximum as printed; and three steps for a policy that sees the state."""
    env = purerl.make("ShortCorridor-v0")
    assert env.observation == jax.ShapeDtypeStruct((1,), jnp.float32)
    assert {env.observe(s).tolist()[0] for s in range(3)} == {1.0} and int(env.reset(None)) == 0
    found = {}
    for right in (0.05, 0.3, 2 - 2**0.5, 0.95):
        left = 1 - right
        moves = np.array([[left, right, 0], [right, 0, left], [0, left, 0]])
        value = np.linalg.solve(np.eye(3) - moves, -np.ones(3))[0]
        policy = jnp.tile(jnp.array([left, right]), (4, 1))
        found[right] = float(mdp.expected_return(env.mdp, policy, 1.0))
        assert found[right] == pytest.approx(value, rel=1e-5)
        assert found[right] == pytest.approx(-2 * (2 - right) / (right * left), rel=1e-5)
    # As printed: -11.6 with 0.59, and -44 and -82 with an epsilon of 0.1.
    assert found[2 - 2**0.5] == pytest.approx(-6 - 4 * 2**0.5, rel=1e-6)
    assert round(found[0.95]) == -44 and round(found[0.05]) == -82
    best = mdp.policy_iteration(env.mdp, 1.0)
    assert best.values.tolist() == [-3, -2, -1, 0] and best.policy.tolist()[:3] == [1, 0, 1]


def test_the_short_corridor_shows_what_each_action_does():
    gray, red = [drawing.GRAY] * 4, [drawing.RED] * 4
    rewards = (["-1", "-1", "-1", ""], red)
    lines = [(["", ">", "<", ""], gray), rewards, ([">", "<", ">", ""], gray), rewards]
    written(short_corridor(), 1, lines)


def test_maximization_bias_by_its_law_and_its_model():
    """Rewards in B are normal (Kolmogorov-Smirnov), those in A nothing; the model shows
    their means."""
    env = maximization_bias()
    keys = jax.random.split(purerl.random.key(0), 20_000)
    reached, outcome = quick.optimizing_jit(
        jax.vmap(lambda key, state, action: env.step(key, state, action))
    )(keys, jnp.arange(20_000) % 2, jnp.arange(20_000) // 2 % 10)
    in_b, action = np.arange(20_000) % 2 == 1, np.arange(20_000) // 2 % 10
    rewards = np.asarray(outcome.reward)
    assert stats.kstest(rewards[in_b], stats.norm(-0.1, 1).cdf).pvalue > 1e-4
    assert not rewards[~in_b].any()
    np.testing.assert_array_equal(reached, np.where(in_b | (action % 2 == 1), 2, 1))
    np.testing.assert_array_equal(outcome.terminated, reached == 2)
    q = np.asarray(mdp.optimal_q(env.mdp, 1.0))
    np.testing.assert_allclose(q[:2], [[-0.1, 0] * 5, [-0.1] * 10], rtol=1e-6)


def test_noise_is_a_leaf():
    def reward(scale):
        return (
            maximization_bias(mean=0.5)
            .replace(scale=scale)
            .step(purerl.random.key(0), jnp.int32(1), 3)[1]
            .reward
        )

    none, one, two = jax.vmap(reward)(jnp.array([0.0, 1.0, 2.0])) - 0.5
    assert none == 0 and one != 0
    assert float(two) == pytest.approx(2 * float(one), rel=1e-5)


def test_q_learning_is_too_hopeful_there():
    """Example 6.7: at first it goes left far more often than the five per cent that are
    best, and later less often."""
    agent = purerl.QLearning(env=maximization_bias(), learning_rate=0.1, epsilon=0.1, discount=1.0)

    def run(key):
        def step(state, t):
            before = state.env_state
            state, _ = agent.step(state, t)
            return state, (before == 0, state.env_state == 1)

        return jax.lax.scan(step, agent.init(key), jnp.arange(2000))[1]

    choices, lefts = quick.optimizing_jit(jax.vmap(run))(
        jax.random.split(purerl.random.key(0, "pcg4d"), 400)
    )
    early, late = (
        np.sum(lefts[:, part]) / np.sum(choices[:, part]) for part in (slice(75), slice(1500, None))
    )
    assert early > 0.35
    assert late < early - 0.1


def test_river_swim_has_the_gain_of_its_closed_form():
    """Right is always best, and earns 0.3 * 10000 * 243/1090 a step: by policy
    iteration near discount one, in float64."""
    with jax.enable_x64(True):
        env = river_swim()
        discount = 1 - 1e-8
        solution = mdp.policy_iteration(env.mdp, discount)
        assert (np.asarray(solution.policy) == 1).all()
        np.testing.assert_allclose(
            (1 - discount) * np.asarray(solution.values), 0.3 * 10_000 * 243 / 1090, rtol=1e-6
        )
        assert (
            np.asarray(mdp.policy_iteration(env.mdp, 0.95).policy) == 1
        ).all()  # the paper's discount
        transition, reward = dense(env.mdp)
    law = np.linalg.matrix_power(transition[:, 1], 100_000)[0]
    np.testing.assert_allclose(law, np.array([1, 3, 9, 27, 81, 243 / 7]) * 7 / 1090, rtol=1e-9)
    np.testing.assert_allclose(transition[0], [[1, 0, 0, 0, 0, 0], [0.7, 0.3, 0, 0, 0, 0]])
    np.testing.assert_allclose(transition[3], [[0, 0, 1, 0, 0, 0], [0, 0, 0.1, 0.6, 0.3, 0]])
    np.testing.assert_allclose(transition[5], [[0, 0, 0, 0, 1, 0], [0, 0, 0, 0, 0.7, 0.3]])
    assert (
        reward[0, 0] == 5 and reward[5, 1] == pytest.approx(3000) and np.count_nonzero(reward) == 2
    )
    np.testing.assert_array_equal(env.mdp.initial, [0, 0.5, 0.5, 0, 0, 0])


def test_garnets_are_made_by_their_seed():
    env = purerl.make("Garnet-v0", num_states=30, num_actions=4, branching=2, seed=5)
    expected = mdp.garnet(purerl.random.key(5), 30, 4, 2)
    for ours, theirs in zip(jax.tree.leaves(env.mdp), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert np.any(garnet(seed=6).mdp.reward != env.mdp.reward)


@pytest.mark.parametrize("name", [name for name in ENVIRONMENTS if name != "Testbed-v0"])
def test_pictures_show_the_state(name):
    env = purerl.make(name)
    pictures = [env.render(state) for state in range(min(env.num_states, 3))]
    assert all(
        picture.dtype == np.uint8 and picture.shape == pictures[0].shape for picture in pictures
    )
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)


def written(env, state, lines, white=0):
    """Tests what is written below the cells of a chain.

    Args:
        env, state: what is drawn.
        lines: of texts and their color, a text for each state.
        white: pixels on either side of the cells.
    """
    expected = np.full((16 * len(lines), 32 * env.num_states, 3), 255, np.uint8)
    for i, (texts, inks) in enumerate(lines):
        for j, (characters, ink) in enumerate(zip(texts, inks, strict=True)):
            drawing.write(expected, characters, 16 * i + 8, 32 * j + 16, ink)
    picture = env.render(state)
    right = picture.shape[1] - white
    assert (picture[:, :white] == 255).all() and (picture[:, right:] == 255).all()
    np.testing.assert_array_equal(picture[32:, white:right], expected)


def test_pictures_of_chains_show_where_they_end():
    """Gray at both ends of a walk, blue in its middle, and the rest alike; a reward is
    expected next to the ends."""
    env = random_walk(5, left_reward=-3.0)
    picture = env.render(3)
    assert picture.shape == (32 + 16 + 16, 7 * 32, 3)
    colors = [tuple(map(int, color)) for color in picture[5, 5::32]]
    assert colors == [
        drawing.GRAY,
        *[drawing.PALE] * 2,
        drawing.BLUE,
        *[drawing.PALE] * 2,
        drawing.GRAY,
    ]
    rewards = ["", "-1.5", "", "", "", "0.5", ""]
    pointers = ["", *["<>"] * 5, ""], [drawing.GRAY] * 7
    written(env, 3, [pointers, (rewards, [drawing.RED] * 2 + [drawing.GREEN] * 5)])


def test_pictures_of_chains_show_each_action():
    """Down the river to its bank; up it, but for the upper bank, where 0.7 are swept
    back and 0.3 of the time 10,000 are earned."""
    gray, green = [drawing.GRAY] * 4, [drawing.GREEN] * 4
    lines = [
        (["", "<", "<", "<"], gray),
        (["5", "", "", ""], green),
        ([">", ">", ">", "<"], gray),
        (["", "", "", "3000"], green),
    ]
    written(river_swim(4), 1, lines)


def test_pictures_of_chains_show_like_actions_once():
    """Ten actions, all of which lead to a later state or the end."""
    lines = [([">", ">", ""], [drawing.GRAY] * 3), (["", "-0.1", ""], [drawing.RED] * 3)]
    written(maximization_bias(), 0, lines)


def test_a_number_too_long_for_its_cell_is_left_out():
    env = river_swim(3, left_reward=123456.0, right_reward=1e10)
    line = np.full((16, 32, 3), 255, np.uint8)
    drawing.write(line, "123456", 8, 16, drawing.GREEN, size=1)
    picture = env.render(0)
    np.testing.assert_array_equal(picture[48:64, :32], line)
    assert (picture[80:, 64:] == 255).all()


def test_probes_show_observations_and_rewards():
    """Instead of the states' indices; rows of fewer than three cells are widened."""
    env = purerl.make("ProbeContext-v0")
    assert env.render(0).shape == (64, 96, 3)
    inks = [drawing.GREEN, drawing.RED]
    written(env, 0, [(["1", "-1"], inks), (["-1", "1"], inks[::-1])], white=16)
    cells = drawing.cells([[drawing.BLUE, drawing.PALE]], 32)
    drawing.write(cells, "-1", 16, 16, drawing.WHITE)
    drawing.write(cells, "1", 16, 48)
    np.testing.assert_array_equal(env.render(0)[:32, 16:-16], cells)


def test_small_models_have_numbered_cells():
    numbered, plain = garnet(num_states=144), garnet(num_states=145)
    assert numbered.render(0).shape == (12 * 32, 12 * 32, 3)
    cell = np.full((31, 31, 3), drawing.PALE, np.uint8)
    drawing.write(cell, "13", 16, 16, drawing.GRAY)
    np.testing.assert_array_equal(numbered.render(0)[32:63, 32:63], cell)
    assert plain.render(0).shape == (13 * 16, 13 * 16, 3)


@pytest.mark.parametrize(
    ("build", "parameters", "allowed"),
    [
        (random_walk, {"length": 0}, "a positive whole number"),
        (random_walk, {"length": 2.5}, "a positive whole number"),
        (random_walk, {"reach": 0}, "a positive whole number"),
        (random_walk, {"left_reward": float("nan")}, "a finite number"),
        (random_walk, {"right_reward": float("inf")}, "a finite number"),
        (maximization_bias, {"num_actions": 3}, "an even number of at least 2"),
        (maximization_bias, {"mean": float("nan")}, "a finite number"),
        (maximization_bias, {"scale": -1.0}, "a finite number of at least 0"),
        (river_swim, {"num_states": 2}, "a whole number of at least 3"),
        (river_swim, {"left_reward": float("nan")}, "a finite number"),
        (river_swim, {"right_reward": float("inf")}, "a finite number"),
    ],
)
def test_wrong_parameters_are_refused(build, parameters, allowed):
    ((name, value),) = parameters.items()
    with pytest.raises(
        ValueError, match=f"{build.__name__}: {name} is {value}; allowed: {allowed}"
    ):
        build(**parameters)


def test_features_may_be_left_aside():
    """The same problem observed by index: the same states, the same values."""
    env = FiniteEnvironment.of(boyan_chain().mdp)
    assert env.observation == jax.ShapeDtypeStruct((), jnp.int32)
    assert boyan_chain().observation == jax.ShapeDtypeStruct((4,), jnp.float32)
    assert boyan_chain().observe(jnp.int32(11)).tolist() == [0.75, 0.25, 0, 0]


def test_a_gambler_plays_boldly_or_not_at_all():
    """Bold play (Dubins & Savage, 1965): v(1/2) = p, v(x) = p v(2 x) below; a fair coin
    makes no difference, and against a friendly one small stakes are best."""
    solution = mdp.solve(gambler().mdp, 1.0)
    np.testing.assert_allclose(
        np.asarray(solution.values)[[25, 50, 75]], [0.16, 0.4, 0.64], rtol=1e-5
    )
    small = np.arange(1, 50)
    values = np.asarray(solution.values)
    np.testing.assert_allclose(values[small], 0.4 * values[2 * small], rtol=1e-4)
    fair = mdp.solve(gambler(0.5, goal=20).mdp, 1.0)
    np.testing.assert_allclose(fair.values[1:-1], np.arange(1, 20) / 20, rtol=1e-4)
    friendly = mdp.solve(gambler(0.6, goal=20).mdp, 1.0)
    assert (friendly.policy[1:-1] == 1).all()
    odds = (0.4 / 0.6) ** np.arange(21)
    np.testing.assert_allclose(
        friendly.values[1:-1], ((1 - odds) / (1 - odds[-1]))[1:-1], rtol=1e-4
    )
    mapped = jax.vmap(lambda heads: gambler(heads, goal=4).mdp.probability)(np.array([0.4, 0.5]))
    np.testing.assert_allclose(mapped[0], gambler(0.4, goal=4).mdp.probability)


def test_the_access_control_queue_of_example_10_2():
    """Its law by SciPy's binomial distribution, and the best gain by value iteration in
    NumPy: cheap customers are sent away before the servers run out."""
    env = purerl.make("AccessControl-v0")
    transition, reward = dense(env.mdp)
    expected = np.zeros((44, 2, 44))
    for state, action, reached in np.ndindex(44, 2, 44):
        busy, after = state // 4 + action, reached // 4
        if busy <= 10:
            expected[state, action, reached] = stats.binom(busy, 0.06).pmf(busy - after) / 4
    np.testing.assert_allclose(transition[:, 0], expected[:, 0], atol=1e-7)
    np.testing.assert_allclose(transition[:40, 1], expected[:40, 1], atol=1e-7)
    np.testing.assert_allclose(reward[:40], np.tile([[0, 1], [0, 2], [0, 4], [0, 8]], (10, 1)))
    assert np.asarray(env.mdp.available).tolist() == [[True, True]] * 40 + [[True, False]] * 4
    assert not np.asarray(env.mdp.terminated).any()
    assert np.asarray(env.mdp.initial).tolist() == [0.25] * 4 + [0] * 40

    values = np.zeros(44)
    for _ in range(2000):
        q = np.where(env.mdp.available, reward + expected @ values, -np.inf)
        gain, values = q.max(axis=1)[0] - values[0], q.max(axis=1) - q.max(axis=1)[0]
    best = mdp.optimal_average_reward(env.mdp)
    assert best.gain == pytest.approx(gain, rel=1e-5) == pytest.approx(2.74764, abs=1e-5)
    np.testing.assert_array_equal(best.policy, q.argmax(axis=1))
    assert best.policy.reshape(11, 4)[6:].tolist() == [
        [0, 1, 1, 1],
        [0, 0, 1, 1],
        [0, 0, 1, 1],
        [0, 0, 1, 1],
        [0, 0, 0, 0],
    ]
    assert access_control(num_servers=2).mdp.num_states == 12


@pytest.mark.parametrize("wrong", [{"num_servers": 0}, {"num_servers": 2.5}, {"release": 1.1}])
def test_queues_that_are_none_are_refused(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"access_control: {name} is {value}; allowed: a"):
        access_control(**wrong)
