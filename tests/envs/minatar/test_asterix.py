"""Asterix: MinAtar's, step by step, from the start and from thousands of situations
that play seldom comes to; its chances."""

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from minatar.environments.asterix import Env as Original
from scipy import stats

import purerl.random
from purerl.envs.minatar.asterix import Asterix, Situation
from purerl.envs.minatar.base import DOWN, LEFT, RIGHT, UP
from tests import quick

LANES, STEPS = 16, 6_400
RANDOM_ACTIONS = np.resize(
    [0.0, 0.02, 0.2, 1.0], LANES
)  # how often a lane's player does not know what it does
RAMPING = np.arange(LANES) < 12
SLOTS = np.arange(8)


def player(env, key, state, word, random_actions):
    """Looks two moves ahead, for gold and for a way out, and keeps to the middle; or
    does anything at all."""

    def worth(state, action):
        state, outcome = env.step(key, state, action)
        return state, outcome.reward - 9 * outcome.terminated

    moves = jnp.arange(5)
    first, now = jax.vmap(worth, (None, 0))(state, moves)
    _, later = jax.vmap(jax.vmap(worth, (None, 0)), (0, None))(first, moves)
    taste = (word >> (4 * moves).astype(jnp.uint32) & 15).astype(jnp.float32) * 1e-3
    edge = jnp.maximum(jnp.abs(2 * first.unpacked().x - 9) - 5, 0)
    wise = jnp.argmax(now + 0.9 * later.max(1) + 0.1 * later.mean(1) + taste - 0.1 * edge)
    unwise = (word >> 8).astype(jnp.float32) * 2**-24 < random_actions
    return jnp.where(unwise, word % 6, wise).astype(jnp.int32)


@functools.cache
def played():
    """What happened in every lane: arrays ``[LANES, STEPS, ...]``; ``after`` is before
    any reset."""

    def lane(key, random_actions, ramping):
        env = Asterix(ramping=ramping)

        def step(state, t):
            step_key, word_key, guess_key = jax.random.split(jax.random.fold_in(key, t), 3)
            action = player(
                env, guess_key, state, jax.random.bits(word_key, (), jnp.uint32), random_actions
            )
            after, outcome = env.step(step_key, state, action)
            seen = jnp.packbits(env.observe(after))
            fresh = jax.tree.map(
                lambda a, b: jnp.where(outcome.terminated, a, b), env.reset(None), after
            )
            return fresh, (
                state.unpacked(),
                action,
                after.unpacked(),
                outcome.reward,
                outcome.terminated,
                seen,
            )

        return jax.lax.scan(step, env.reset(None), jnp.arange(STEPS))[1]

    keys = jax.random.split(purerl.random.key(0), LANES)
    before, action, after, reward, terminated, seen = jax.tree.map(
        np.asarray, quick.optimizing_jit(jax.vmap(lane))(keys, RANDOM_ACTIONS, RAMPING)
    )
    seen = np.unpackbits(seen, axis=-1, count=400).reshape(LANES, STEPS, 10, 10, 4).astype(bool)
    return SimpleNamespace(
        before=before, action=action, after=after, reward=reward, terminated=terminated, seen=seen
    )


def digits(word):
    """The eight things in a word, ``[...]`` -> ``[..., 8]``."""
    return word[..., None] >> (4 * SLOTS).astype(np.uint32) & 15


def came_in(before, after, reward):
    """Read off two states what came in between: ``slot`` (-1: nothing), ``lr`` and
    ``gold``, arrays ``[...]``.

    It is where there was nothing. If it is not there any more, the player was at the
    edge and took it at once.
    """
    filled, fills = digits(before.left) != 0, digits(after.left) != 0
    entered = ~filled & fills
    kind = digits(after.kind)
    slot = np.where(entered.any(-1), entered.argmax(-1), -1)
    kind = np.where(
        slot >= 0, np.take_along_axis(kind, np.maximum(slot, 0)[..., None], -1)[..., 0], 0
    )
    own = after.y - 1
    at_once = (slot < 0) & (reward > 0) & ~np.take_along_axis(filled, own[..., None], -1)[..., 0]
    slot, lr, gold = (
        np.where(at_once, own, slot),
        np.where(at_once, after.x < 5, kind & 1 == 1),
        at_once | (kind & 2 == 2),
    )
    return slot, lr, gold


class Script:
    """A random generator that says what it is told."""

    def __init__(self, slot, lr, gold, free):
        self.chances = [0.25 if lr else 0.75, 0.3 if gold else 0.34]
        self.slot, self.free = slot, free

    def rand(self):
        return self.chances.pop(0)

    def randint(self, options):
        assert options == len(self.free)
        return self.free.index(self.slot)


def numbers(game):
    return (
        game.player_x,
        game.player_y,
        game.spawn_timer,
        game.move_timer,
        game.ramp_timer,
        game.ramp_index,
        game.spawn_speed,
        game.move_speed,
    )


def our_numbers(state):
    spawn_speed, move_speed = np.maximum(10 - state.ramp, 1), 5 - state.ramp // 2
    timers = state.spawn_timer, state.move_timer, state.ramp_timer, state.ramp
    return np.stack([state.x, state.y, *timers, spawn_speed, move_speed], axis=-1)


def act(game, action, slot, lr, gold):
    game.random = Script(
        slot, lr, gold, [i for i, thing in enumerate(game.entities) if thing is None]
    )
    return game.act(action)


def test_equals_minatar_from_the_start():
    """102,400 steps: the same picture, reward, end and timers at each, terminal ones
    and later episodes included."""
    ours = played()
    chances = [x.tolist() for x in came_in(ours.before, ours.after, ours.reward)]
    for lane in range(LANES):
        game = Original(ramping=bool(RAMPING[lane]))
        seen, outcome, timers = [], [], []
        for action, *chance in zip(
            ours.action[lane].tolist(), *(x[lane] for x in chances), strict=True
        ):
            if game.terminal:
                game.reset()
            outcome.append(act(game, action, *chance))
            seen.append(game.state())
            timers.append(numbers(game))
        np.testing.assert_array_equal(ours.seen[lane], seen)
        np.testing.assert_array_equal(
            np.stack([ours.reward[lane], ours.terminated[lane]], -1), outcome
        )
        np.testing.assert_array_equal(
            our_numbers(Situation(*(x[lane] for x in ours.after))), timers
        )


def happened(before, action, after, reward, terminated):
    """How often things happened."""
    spawns, moves = before.spawn_timer == 0, before.move_timer == 0
    full, last = (digits(before.left) != 0).all(-1), (digits(before.left) == 0).sum(-1) == 1
    slot, lr, gold = came_in(before, after, reward)
    at_edge = digits(before.left) == 1
    own = (after.y - 1)[..., None]
    kind, left = (
        np.take_along_axis(digits(word), own, -1)[..., 0] for word in (after.kind, before.left)
    )
    left = np.where(slot == after.y - 1, 10, left)
    meeting = np.where(kind & 1 == 1, 10 - after.x, after.x + 1)
    unmoved, moved = left == meeting, moves & (left == meeting + 1)
    is_gold = kind & 2 == 2
    counts = {
        "comes in from the left": spawns & (slot >= 0) & lr,
        "comes in from the right": spawns & (slot >= 0) & ~lr,
        "comes in, gold": spawns & (slot >= 0) & gold,
        "comes in, an enemy": spawns & (slot >= 0) & ~gold,
        "every row taken": spawns & full,
        "one row left": spawns & last & (slot >= 0),
        "leaves the board": moves & at_edge.any(-1),
        "leaves, and its row is free a move later": spawns & moves & full & at_edge.any(-1),
        "moves with every row taken": moves & full,
        "gold taken": (reward > 0) & unmoved & is_gold & ~moves,
        "gold taken before it moves": (reward > 0) & unmoved & is_gold & moves,
        "gold moves into the player": (reward > 0) & moved & is_gold,
        "gold taken as it comes in": (reward > 0) & (slot == after.y - 1) & spawns,
        "runs into an enemy": terminated & unmoved & ~is_gold & ~moves,
        "runs into an enemy that then moves on": terminated & unmoved & ~is_gold & moves,
        "an enemy moves into the player": terminated & moved & ~is_gold,
        "an enemy comes in on the player": terminated & (slot == after.y - 1) & unmoved & spawns,
        "stays at the left": (action == LEFT) & (before.x == 0),
        "stays at the right": (action == RIGHT) & (before.x == 9),
        "stays in row 1": (action == UP) & (before.y == 1),
        "stays in row 8": (action == DOWN) & (before.y == 8),
    }
    counts |= {f"comes in, row {row}": spawns & (slot == row - 1) for row in range(1, 9)}
    counts |= {
        f"harder, from {ramp}": (before.ramp == ramp) & (after.ramp == ramp + 1)
        for ramp in range(9)
    }
    counts |= {"as hard as can be": before.ramp == 9}
    return {name: int(np.sum(happened)) for name, happened in counts.items()}


def test_play_reached_what_is_rare():
    ours = played()
    counts = happened(ours.before, ours.action, ours.after, ours.reward, ours.terminated)
    assert {name: count for name, count in counts.items() if count < 10} == {}


def test_an_episode_may_be_longer_than_gymnaxs_thousand_steps():
    assert (played().after.ramp == 9).any()
    longest = [
        np.diff(np.flatnonzero(ends), prepend=-1).max(initial=0) for ends in played().terminated
    ]
    assert max(longest) > 1_500


def arrivals(rows, count=60_000):
    """States after something could come in, from one in which ``rows`` (1 to 8) are
    taken: Situation ``[count]``."""
    left = sum(7 << 4 * (row - 1) for row in rows)
    return jax.tree.map(lambda x: np.asarray(x)[:count], arrive(jnp.uint32(left)))


@quick.optimizing_jit
def arrive(left):
    start = (
        Asterix()
        .reset(None)
        .unpacked()
        ._replace(left=left, spawn_timer=jnp.int32(0), x=jnp.int32(2))
        .packed()
    )
    keys = jax.random.split(purerl.random.key(1), 60_000)
    return jax.vmap(lambda key: Asterix().step(key, start, 0)[0].unpacked())(keys)


@pytest.mark.parametrize("taken", [(), (5,), (1, 8), (2, 3, 4, 6, 7), (1, 2, 3, 4, 5, 6)])
def test_chances(taken):
    """Row, heading and gold are independent; rows are equally likely, headings too,
    gold one in three."""
    after = arrivals(taken)
    free = [row for row in range(1, 9) if row not in taken]
    entered = (digits(after.left) == 10).astype(int)
    assert (entered.sum(1) == 1).all()
    row = entered.argmax(1) + 1
    kind = np.take_along_axis(digits(after.kind), row[:, None] - 1, 1)[:, 0]
    observed = [(row == r) & (kind == k) for r in free for k in range(4)]
    expected = [len(row) / len(free) * p for r in free for p in (1 / 3, 1 / 3, 1 / 6, 1 / 6)]
    assert stats.chisquare(np.sum(observed, axis=1), expected).pvalue > 1e-4


@pytest.mark.parametrize("last", range(1, 9))
def test_the_last_free_row_is_always_found(last):
    """gymnax looks at seven rows of the eight."""
    after = arrivals([row for row in range(1, 9) if row != last], count=200)
    assert (digits(after.left)[:, last - 1] == 10).all()


def test_nothing_changes_where_every_row_is_taken():
    """gymnax takes one off the board. The timer starts again, as in MinAtar."""
    after = arrivals(range(1, 9), count=200)
    assert (
        (after.left == 0x77777777).all()
        and (after.kind == 0).all()
        and (after.spawn_timer == 9).all()
    )


def test_the_picture_has_a_row_first():
    env = Asterix()
    state = env.reset(None).unpacked()._replace(x=jnp.int32(2), y=jnp.int32(7)).packed()
    seen = quick.optimizing_jit(env.observe)(state)
    assert (
        env.observation
        == jax.ShapeDtypeStruct((10, 10, 4), jnp.bool_)
        == jax.eval_shape(env.observe, state)
    )
    assert np.argwhere(seen).tolist() == [[7, 2, 0]]


def test_minimal_actions_are_minatars():
    assert list(Asterix.MINIMAL) == Original().minimal_action_set()
    assert (Asterix(actions=Asterix.MINIMAL).num_actions, Asterix().num_actions) == (5, 6)


def test_other_actions_mean_what_they_say():
    env = Asterix(actions=(DOWN, RIGHT))
    step = quick.optimizing_jit(
        lambda action: env.step(purerl.random.key(0), env.reset(None), action)[0].unpacked()
    )
    assert [(int(step(action).x), int(step(action).y)) for action in (0, 1)] == [(5, 6), (6, 5)]


def test_render():
    env = Asterix()
    picture = env.render(env.reset(None))
    assert (picture.shape, picture.dtype) == ((240, 240, 3), np.uint8)


@pytest.mark.parametrize("ramping", [0.5, 7.0, float("nan")])
def test_wrong_ramping_is_refused(ramping):
    with pytest.raises(ValueError, match=r"Asterix: ramping is .*; allowed: True or False"):
        Asterix(ramping=ramping)


def test_wrong_actions_are_refused():
    with pytest.raises(ValueError, match="Asterix: actions is"):
        Asterix(actions=(0, 6))
