"""Breakout: equal to MinAtar's in 100,000 steps and in every rare situation."""

import jax
import jax.numpy as jnp
import minatar.environments.breakout
import numpy as np
import pytest

import purerl.random
from purerl.envs import interact
from purerl.envs.minatar.breakout import Breakout, Situation
from tests import quick

STEPS = 100_000
DIRECTIONS = {(-1, -1): 0, (1, -1): 1, (1, 1): 2, (-1, 1): 3}


def to_original(original, state):
    x, y, dx, dy, last_x, last_y, paddle, bricks, strike = (x.item() for x in state)
    original.ball_x, original.ball_y, original.ball_dir = x, y, DIRECTIONS[dx, dy]
    original.last_x, original.last_y, original.pos, original.strike = last_x, last_y, paddle, strike
    original.brick_map = np.zeros((10, 10))
    original.brick_map[1:4] = np.array([bricks >> i & 1 for i in range(30)]).reshape(3, 10)
    original.terminal = False


def from_original(original):
    dx, dy = {number: direction for direction, number in DIRECTIONS.items()}[original.ball_dir]
    bricks = sum(int(brick) << i for i, brick in enumerate(original.brick_map[1:4].ravel()))
    numbers = (
        original.ball_x,
        original.ball_y,
        dx,
        dy,
        original.last_x,
        original.last_y,
        original.pos,
    )
    return Situation(*map(int, numbers), bricks, bool(original.strike))


@pytest.fixture(scope="module")
def experience():
    """(situation, action, transition) of a player who is nearly always below the ball,
    leaves [STEPS]."""
    env = Breakout()

    def step(state, t):
        act_key, luck_key, env_key = jax.random.split(
            jax.random.fold_in(purerl.random.key(0, "pcg4d"), t), 3
        )
        situation = state.unpacked()
        ahead = jnp.clip(situation.ball_x + situation.ball_dx, 0, 9)
        paddle = situation.paddle
        follow = jnp.where(ahead < paddle, 1, jnp.where(ahead > paddle, 3, 0))
        # Nine times in ten it follows the ball. What it does in between moves it off
        # the middle, and it loses now and then.
        action = jnp.where(
            jax.random.uniform(luck_key) < 0.9, follow, jax.random.randint(act_key, (), 0, 6)
        )
        after, transition = interact(env, env_key, state, action)
        return after, (situation, action, transition)

    run = quick.optimizing_jit(
        lambda: jax.lax.scan(step, env.reset(purerl.random.key(1, "pcg4d")), jnp.arange(STEPS))[1]
    )
    return jax.tree.map(np.asarray, run())


def test_it_is_minatars_breakout_step_by_step(experience):
    states, actions, transition = experience
    original = minatar.environments.breakout.Env()
    seen = dict.fromkeys(
        ("brick", "middle", "edge", "lost", "side", "top", "inside", "refilled"), 0
    )
    ended = True
    for t in range(STEPS):
        state = Situation(*(leaf[t] for leaf in states))
        if ended:  # the episode that follows an end starts in one of the two start states
            original.reset()
            assert (int(state.ball_x), int(state.ball_dx)) in {(0, 1), (9, -1)}
            to_original(original, state)
        bricks, before = (
            np.count_nonzero(original.brick_map),
            (original.ball_x, original.ball_dir, original.ball_y),
        )
        assert np.array_equal(transition.observation[t], original.state())
        reward, terminal = original.act(actions[t])
        assert (transition.reward[t], transition.terminated[t]) == (reward, terminal), t
        assert np.array_equal(transition.next_observation[t], original.state()), t
        ended = terminal
        seen["brick"] += reward
        seen["lost"] += terminal
        seen["refilled"] += bricks == 0 and np.count_nonzero(original.brick_map) == 30
        seen["inside"] += original.strike and not reward
        seen["top"] += before[2] == 0 and before[1] in (0, 1)
        seen["side"] += before[0] in (0, 9) and original.ball_x == before[0]
        if before[2] == 8 and original.ball_y == 8:
            middle = before[0] == original.pos
            seen["middle"] += middle
            seen["edge"] += not middle
    assert not transition.truncated.any()
    assert all(count >= 5 for count in seen.values()), seen


def test_any_situation_leads_where_minatar_leads():
    """20,000 boards drawn at random, most of which play never reaches."""
    rng, n = np.random.default_rng(0), 20_000

    def number(low, high):
        return rng.integers(low, high, n).astype(np.int32)

    def sign():
        return rng.choice(np.array([-1, 1], np.int32), n)

    bricks = rng.integers(0, 2**30, n) & rng.integers(0, 2**30, n) * (rng.random(n) < 0.8)
    states = Situation(
        number(0, 10),
        number(0, 9),
        sign(),
        sign(),
        number(0, 10),
        number(0, 10),
        number(0, 10),
        bricks.astype(np.uint32),
        rng.random(n) < 0.3,
    )
    actions = number(0, 6)
    env = Breakout()

    @jax.jit
    @jax.vmap
    def step(state, action):
        reached, outcome = env.step(None, state.packed(), action)
        return reached.unpacked(), env.observe(reached), outcome

    reached, seen, outcome = step(states, actions)
    reached = jax.tree.map(np.asarray, reached)
    seen, reward, terminated = (
        np.asarray(seen),
        np.asarray(outcome.reward),
        np.asarray(outcome.terminated),
    )
    original = minatar.environments.breakout.Env()
    for i in range(n):
        to_original(original, Situation(*(leaf[i] for leaf in states)))
        theirs = original.act(actions[i])
        assert (reward[i], terminated[i]) == theirs
        assert np.array_equal(seen[i], original.state())
        if not terminated[i]:
            ours = Situation(*(leaf[i].item() for leaf in reached))
            assert ours == from_original(original)


def test_both_sides_are_as_likely_at_the_start():
    keys = jax.random.split(purerl.random.key(0), 10_000)
    states = jax.jit(jax.vmap(lambda key: Breakout().reset(key).unpacked()))(keys)
    right = int((states.ball_x == 9).sum())
    assert abs(right - 5_000) < 4 * 50
    original = minatar.environments.breakout.Env()
    starts = set()
    for seed in range(20):
        original.random = np.random.RandomState(seed)
        original.reset()
        starts.add(tuple(from_original(original)))
    assert starts == {tuple(leaf[i].item() for leaf in states) for i in range(100)}


def test_actions_can_be_the_minimal_set():
    full, minimal = Breakout(), Breakout(actions=Breakout.MINIMAL)
    names = minatar.environments.breakout.Env().minimal_action_set()
    assert list(Breakout.MINIMAL) == names and minimal.num_actions == 3
    state = full.reset(purerl.random.key(0))
    for index, meaning in enumerate(names):
        paddles = [
            int(env.step(None, state, action)[0].unpacked().paddle)
            for env, action in ((minimal, index), (full, meaning))
        ]
        assert paddles == [4 + (meaning == 3) - (meaning == 1)] * 2


@pytest.mark.parametrize("actions", [(), (0, 6), (-1,), (True,), (0.0,)])
def test_wrong_actions_are_refused(actions):
    with pytest.raises(
        ValueError, match=r"Breakout: actions is .*; allowed: a tuple of numbers from 0 to 5"
    ):
        Breakout(actions=actions)


def test_the_picture_has_the_channels_colors():
    env = Breakout()
    picture = env.render(env.reset(purerl.random.key(0)))
    assert picture.shape == (240, 240, 3) and picture.dtype == np.uint8
    assert tuple(picture[9 * 24 + 5, 4 * 24 + 5]) == env.COLORS[0]
    assert tuple(picture[1 * 24 + 5, 5]) == env.COLORS[3]
