"""Freeway: equal to MinAtar's in 100,000 steps, with the same traffic in both."""

import jax
import jax.numpy as jnp
import minatar.environments.freeway
import numpy as np
import pytest
from scipy import stats

import purerl.random
from purerl.envs import interact
from purerl.envs.minatar.freeway import Freeway, FreewayState
from tests import quick

STEPS = 100_000


def digits(words):
    return np.asarray(words)[..., None].astype(int) >> 4 * np.arange(8) & 15


def signed_speeds(state):
    return np.where(digits(state.right) == 1, 1, -1) * digits(state.speed)


def to_original(original, state):
    speeds = signed_speeds(state)
    cars = zip(
        digits(state.column).tolist(),
        range(1, 9),
        digits(state.wait).tolist(),
        speeds.tolist(),
        strict=True,
    )
    original.cars = [list(car) for car in cars]
    original.pos, original.move_timer, original.terminate_timer = (
        int(state.row),
        int(state.rest),
        int(state.remaining),
    )
    original.terminal = False


class Script:
    """A random generator that deals the speeds it is told."""

    def __init__(self):
        self.speeds = None

    def randint(self, low, high, size):
        assert (low, high, size) == (1, 6, 8)
        return np.abs(self.speeds)

    def rand(self, size):
        assert size == 8
        return np.where(self.speeds > 0, 0.9, 0.1)


@pytest.fixture(scope="module")
def experience():
    env = Freeway()

    def step(state, t):
        act_key, env_key = jax.random.split(jax.random.fold_in(purerl.random.key(0, "pcg4d"), t))
        # Mostly upwards, so that it arrives; the rest is anything.
        action = jnp.where(
            jax.random.uniform(act_key) < 0.8, 2, jax.random.randint(act_key, (), 0, 6)
        )
        after, transition = interact(env, env_key, state, action)
        return after, (state, action, transition)

    run = quick.optimizing_jit(
        lambda: jax.lax.scan(step, env.reset(purerl.random.key(1, "pcg4d")), jnp.arange(STEPS))[1]
    )
    return jax.tree.map(np.asarray, run())


def test_it_is_minatars_freeway_step_by_step(experience):
    states, actions, transition = experience
    original = minatar.environments.freeway.Env()
    original.random = script = Script()
    seen = dict.fromkeys(("arrived", "hit", "ended", "down", "too_soon", "bottom"), 0)
    speeds, ended = signed_speeds(states), True
    for t in range(STEPS - 1):
        if ended:
            script.speeds = speeds[t]
            original.reset()
            shown = original.state()
        assert np.array_equal(transition.observation[t], shown), t
        script.speeds = speeds[t + 1]
        row, rest, action = original.pos, original.move_timer, actions[t]
        reward, terminal = original.act(action)
        assert (transition.reward[t], transition.terminated[t]) == (reward, terminal), t
        shown = original.state()
        assert np.array_equal(transition.next_observation[t], shown), t
        ended = terminal
        seen["arrived"] += reward
        seen["hit"] += not reward and original.pos == 9 and row < 8
        seen["ended"] += terminal
        seen["down"] += action == 4 and rest == 0
        seen["too_soon"] += action == 2 and rest > 0
        seen["bottom"] += action == 4 and rest == 0 and row == 9
    assert all(count >= 5 for count in seen.values()), seen


def test_it_ends_after_2501_steps_by_its_own_rules(experience):
    """As a termination; a time limit of the library's would be 2500 steps and a
    truncation."""
    transition = experience[2]
    ends = np.flatnonzero(transition.terminated)
    np.testing.assert_array_equal(ends, np.arange(2501, STEPS + 1, 2501) - 1)
    assert not transition.truncated.any()


def test_any_traffic_drives_as_minatars():
    """20,000 situations drawn at random."""
    rng, n = np.random.default_rng(0), 20_000

    def word(low, high):
        return (rng.integers(low, high, (n, 8)) << 4 * np.arange(8)).sum(1).astype(np.uint32)

    def number(low, high):
        return rng.integers(low, high, n).astype(np.int32)

    states = FreewayState(
        word(0, 10), word(0, 6), word(1, 6), word(0, 2), number(1, 10), number(0, 4), number(0, 5)
    )
    actions, keys = number(0, 6), jax.random.split(purerl.random.key(0), n)
    env = Freeway()
    reached, outcome = quick.optimizing_jit(jax.vmap(env.step))(keys, states, actions)
    seen, reached, outcome = jax.tree.map(
        np.asarray, (quick.optimizing_jit(jax.vmap(env.observe))(reached), reached, outcome)
    )
    original = minatar.environments.freeway.Env()
    original.random = script = Script()
    for i in range(n):
        to_original(original, FreewayState(*(leaf[i] for leaf in states)))
        after = FreewayState(*(leaf[i] for leaf in reached))
        script.speeds = signed_speeds(after)
        assert (outcome.reward[i], outcome.terminated[i]) == original.act(actions[i])
        assert np.array_equal(seen[i], original.state())
        cars = list(
            zip(digits(after.column), digits(after.wait), signed_speeds(after), strict=True)
        )
        assert cars == [(car[0], car[2], car[3]) for car in original.cars]
        assert (after.row, after.rest, after.remaining) == (
            original.pos,
            original.move_timer,
            original.terminate_timer,
        )


def test_speeds_and_directions_are_uniform_and_independent():
    n = 20_000
    states = jax.tree.map(
        np.asarray,
        quick.optimizing_jit(jax.vmap(Freeway().reset))(jax.random.split(purerl.random.key(0), n)),
    )
    speed = np.stack([states.speed >> 4 * i & 15 for i in range(8)])
    right = np.stack([states.right >> 4 * i & 15 for i in range(8)])
    kind = speed - 1 + 5 * right
    for car in range(8):
        assert stats.chisquare(np.bincount(kind[car], minlength=10)).pvalue > 1e-4
    for a in range(8):
        for b in range(a):
            table = np.bincount(10 * kind[a] + kind[b], minlength=100)
            assert stats.chisquare(table).pvalue > 1e-5
    np.testing.assert_array_equal(states.column, 0)
    np.testing.assert_array_equal(states.wait, states.speed)


def test_its_numbers_are_leaves():
    """A chicken that rests for p steps has moved 12 // p times after 13 steps; it ends
    where it is told."""

    def walk(player_speed, time_limit):
        env = Freeway(player_speed=player_speed, time_limit=time_limit)
        slow = jnp.uint32(0x55555555)
        state = env.reset(purerl.random.key(3))._replace(
            speed=slow, wait=slow, column=jnp.uint32(0x77777777)
        )

        def step(state, t):
            state, outcome = env.step(purerl.random.key(0), state, 2)
            return state, (state.row, outcome.terminated)

        return jax.lax.scan(step, state, length=13)[1]

    rows, ends = quick.optimizing_jit(jax.vmap(walk))(
        jnp.array([2, 3, 4, 5]), jnp.array([0, 3, 5, 11])
    )
    np.testing.assert_array_equal(rows[:, -1], [9 - 6, 9 - 4, 9 - 3, 9 - 2])
    np.testing.assert_array_equal(np.argmax(ends, axis=1), [0, 3, 5, 11])


@pytest.mark.parametrize(
    ("field", "value"),
    [("player_speed", 0.5), ("time_limit", -1.0), ("player_speed", float("nan"))],
)
def test_wrong_numbers_are_refused(field, value):
    with pytest.raises(ValueError, match=f"Freeway: {field} is {value}; allowed:"):
        Freeway(**{field: value})


def test_the_minimal_set_is_minatars():
    assert list(Freeway.MINIMAL) == minatar.environments.freeway.Env().minimal_action_set()
