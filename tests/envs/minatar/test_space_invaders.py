"""Space Invaders: MinAtar's, step by step, from the start and from thousands of
situations that play seldom comes to."""

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from minatar.environments.space_invaders import Env as Original

import purerl.random
from purerl.envs.minatar.base import FIRE, LEFT, RIGHT
from purerl.envs.minatar.space_invaders import ALIEN, Situation, SpaceInvaders
from tests import quick

LANES, STEPS = 16, 6_400
RANDOM_ACTIONS = np.resize(
    [0.02, 0.05, 0.3, 1.0], LANES
)  # how often a lane's player does not know what it does
PEACEFUL = np.isin(
    np.arange(LANES), [5, 6, 8, 14]
)  # never fires on purpose, so that aliens come down
RAMPING = np.arange(LANES) < 12
NONE = -16
# Nothing; or some steps aside, a shot, and nothing until it has hit.
PLANS = jnp.array(
    [[0] * 13, *([way] * n + [FIRE] + [0] * (12 - n) for n in range(5) for way in (LEFT, RIGHT))]
)


def player(env, state, word, random_actions, peaceful):
    """Goes where a shot will hit, fires it, and dodges at the last moment; or does
    anything at all."""

    def shot(plan):
        def later(carry, action):
            state, reward = carry
            state, outcome = env.step(None, state, action)
            return (state, reward + outcome.reward), None

        return jax.lax.scan(later, (state, jnp.float32(0)), plan)[0][1]

    kills = jax.vmap(shot)(PLANS)
    now = state.unpacked()
    x = jnp.arange(10)
    nearest = x[
        jnp.argmin(jnp.where(env.observe(state)[..., ALIEN].any(0), jnp.abs(x - now.cannon), 99))
    ]
    towards = jnp.where(nearest < now.cannon, LEFT, jnp.where(nearest > now.cannon, RIGHT, 0))
    wish = jnp.where(
        (kills[1:] > kills[0]).any(), PLANS[1 + jnp.argmax(kills[1:] > kills[0]), 0], towards
    )
    wish = jnp.where(peaceful, 0, wish)
    choices = jnp.stack(
        [
            wish,
            jnp.int32(0),
            *jnp.where(word & 1 == 1, jnp.array([LEFT, RIGHT]), jnp.array([RIGHT, LEFT])),
        ]
    )
    safe = ~jax.vmap(lambda action: env.step(None, state, action)[1].terminated)(choices)
    unwise = (word >> 8).astype(jnp.float32) * 2**-24 < random_actions
    return jnp.where(unwise, (word >> 1) % 6, choices[jnp.argmax(safe)]).astype(jnp.int32)


@functools.cache
def played():
    """What happened in every lane: arrays ``[LANES, STEPS, ...]``; ``after`` is before
    any reset."""

    def lane(key, random_actions, peaceful, ramping):
        env = SpaceInvaders(ramping=ramping)

        def step(state, word):
            action = player(env, state, word, random_actions, peaceful)
            after, outcome = env.step(None, state, action)
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

        return jax.lax.scan(step, env.reset(None), jax.random.bits(key, (STEPS,), jnp.uint32))[1]

    keys = jax.random.split(purerl.random.key(0), LANES)
    before, action, after, reward, terminated, seen = quick.optimizing_jit(jax.vmap(lane))(
        keys, RANDOM_ACTIONS, PEACEFUL, RAMPING
    )
    seen = (
        np.unpackbits(np.asarray(seen), axis=-1, count=600)
        .reshape(LANES, STEPS, 10, 10, 6)
        .astype(bool)
    )
    to_numpy = functools.partial(jax.tree.map, np.asarray)
    return SimpleNamespace(
        before=to_numpy(before),
        action=np.asarray(action),
        after=to_numpy(after),
        reward=np.asarray(reward),
        terminated=np.asarray(terminated),
        seen=seen,
    )


def numbers(game):
    return (
        game.pos,
        game.shot_timer,
        game.alien_move_timer,
        game.alien_shot_timer,
        game.enemy_move_interval,
        game.ramp_index,
    )


def our_numbers(state):
    return np.stack(
        [
            state.cannon,
            state.cool_down,
            state.move_timer,
            state.bomb_timer,
            state.interval,
            12 - state.interval,
        ],
        axis=-1,
    )


def test_equals_minatar_from_the_start():
    """102,400 steps: the same picture, reward, end and timers at each, terminal ones
    and later episodes included."""
    ours = played()
    for lane in range(LANES):
        game = Original(ramping=bool(RAMPING[lane]))
        seen, outcome, timers = [], [], []
        for action in ours.action[lane].tolist():
            if game.terminal:
                game.reset()
            outcome.append(game.act(action))
            seen.append(game.state())
            timers.append(numbers(game))
        np.testing.assert_array_equal(ours.seen[lane], seen)
        np.testing.assert_array_equal(
            np.stack([ours.reward[lane], ours.terminated[lane]], -1), outcome
        )
        np.testing.assert_array_equal(
            our_numbers(Situation(*(x[lane] for x in ours.after))), timers
        )


def aliens_on_board(state):
    """bool ``[..., 10, 10]`` of a state in NumPy, cell by cell."""
    board = np.zeros((*np.shape(state.aliens), 10, 10), bool)
    for bit in range(24):
        alive = state.aliens >> bit & 1 == 1
        row, column = (state.top + bit // 6) % 10, state.left + bit % 6
        where = np.nonzero(alive)
        board[(*where, row[where], column[where])] = True
    return board


def rare(counts):
    """What happened less than ten times."""
    return {
        name: int(np.sum(happened)) for name, happened in counts.items() if np.sum(happened) < 10
    }


def test_play_reached_what_is_rare():
    ours = played()
    before, after, ends = ours.before, ours.after, ours.terminated
    cleared = (ours.reward > 0) & (after.aliens == 2**24 - 1)
    ramping = RAMPING[:, None]
    turns = before.heading != after.heading
    moves, drops, fire = before.move_timer == 0, before.bomb_timer == 0, ours.action == FIRE
    counts = {
        "turns at the left": turns & (after.heading == 1),
        "turns at the right": turns & (after.heading == -1),
        "meets an alien": ends & (before.bomb != 8 * 16 + after.cannon),
        "the last alien moves": moves & (before.aliens & (before.aliens - 1) == 0),
        "bomb": ends & (before.bomb == 8 * 16 + after.cannon),
        "fire in cool-down": fire & (before.cool_down > 0),
        "fire": fire & (before.cool_down == 0),
        "shot and lost": ends & (ours.reward > 0),
        "cleared without ramping": cleared & ~ramping,
    }
    counts |= {
        f"cleared at {interval}": cleared & ramping & (before.interval == interval)
        for interval in range(6, 13)
    }
    counts |= {f"drops in column {x}": drops & (after.bomb & 15 == x) for x in range(10)}
    counts |= {f"drops in row {y}": drops & (after.bomb >> 4 == y) for y in range(9)}
    assert rare(counts) == {}


def test_an_episode_may_be_longer_than_gymnaxs_thousand_steps():
    ends = played().terminated
    longest = max(np.diff(np.flatnonzero(lane), prepend=-1).max(initial=0) for lane in ends)
    assert longest > 2_000


def situations(count):
    """States of every kind, NumPy ``[count]``, and actions.

    Few aliens and many, anywhere; timers about to run out; shots right below an alien,
    bombs right above the cannon. The first twentieth is a whole block that lands or
    nearly so, above one shot and below another.
    """
    rng = np.random.default_rng(0)

    def chance(p):
        return rng.random(count) < p

    def between(low, high):
        """Often at an end of what is possible."""
        return np.where(
            chance(0.5), rng.integers(low, high + 1, count), np.where(chance(0.5), low, high)
        )

    landing = np.arange(count) < count // 20
    density = np.where(landing, 0.95, rng.choice([0, 0.1, 0.5, 0.9], count))
    alive = rng.random((count, 4, 6)) < density[:, None, None]
    row, column = rng.integers(4, size=count), rng.integers(6, size=count)
    alive[np.arange(count), row, column] = True
    lowest, first, last = (
        3 - alive.any(2)[:, ::-1].argmax(1),
        alive.any(1).argmax(1),
        5 - alive.any(1)[:, ::-1].argmax(1),
    )
    heading = rng.choice([-1, 1], count)
    top = np.where(landing, 9 - lowest, between(0 * lowest, 9 - lowest))
    left = np.where(landing, np.where(heading < 0, -first, 9 - last), between(-first, 9 - last))

    cannon, cool_down, bomb_timer = rng.integers(10, size=count), between(0, 4), between(0, 9)
    cool_down = np.where(landing, 4, cool_down)
    shot_y = np.where(
        chance(0.5), np.minimum(top + row + 1, 4 + cool_down), rng.integers(5 + cool_down)
    )
    shot_y = np.where(landing, 8, shot_y)
    shot_x = np.where(chance(0.5), left + column, np.clip(left + rng.integers(6, size=count), 0, 9))
    older_y = np.where(landing, 1, shot_y - 5 - rng.integers(2, size=count))
    older_x = np.clip(left + rng.integers(6, size=count), 0, 9)
    bomb_x, bomb_y = (
        np.where(chance(0.5), cannon, rng.integers(10, size=count)),
        between(9 - bomb_timer, 10),
    )
    fields = {
        "cannon": cannon,
        "top": top,
        "left": left,
        "heading": heading,
        "shot": np.where(chance(0.9), 16 * shot_y + shot_x, NONE),
        "older": np.where(older_y >= 0, 16 * older_y + older_x, NONE),
        "bomb": 16 * bomb_y + bomb_x,
        "cool_down": cool_down,
        "move_timer": np.where(landing, 0, between(0, 11)),
        "bomb_timer": bomb_timer,
        "interval": between(6, 12),
    }
    aliens = (alive.reshape(count, 24) << np.arange(24)).sum(1).astype(np.uint32)
    return Situation(
        aliens=aliens, **{name: x.astype(np.int32) for name, x in fields.items()}
    ), rng.integers(6, size=count)


def put(game, board, state):
    """A state, all of whose fields are Python numbers, and its aliens as a board."""
    game.reset()
    game.pos, game.alien_dir = state.cannon, state.heading
    game.alien_map = board.astype(float)
    for cells, cell in (
        (game.f_bullet_map, state.shot),
        (game.f_bullet_map, state.older),
        (game.e_bullet_map, state.bomb),
    ):
        if 0 <= cell < 160:
            cells[cell // 16, cell % 16] = 1
    game.shot_timer, game.alien_move_timer, game.alien_shot_timer = (
        state.cool_down,
        state.move_timer,
        state.bomb_timer,
    )
    game.enemy_move_interval, game.ramp_index = state.interval, 12 - state.interval


@functools.cache
def stepped():
    """A step from each situation, ours and the original's."""
    count = 12_000
    before, action = situations(count)
    env = SpaceInvaders()

    def step(state, action):
        state = state.packed()
        after, outcome = env.step(None, state, action)
        return (
            env.observe(state),
            after.unpacked(),
            env.observe(after),
            outcome.reward,
            outcome.terminated,
        )

    ours = jax.tree.map(np.asarray, quick.optimizing_jit(jax.vmap(step))(before, action))
    boards = aliens_on_board(before)
    game = Original()
    theirs = []
    for i, state in enumerate(zip(*(x.tolist() for x in before), strict=True)):
        put(game, boards[i], Situation(*state))
        at_first = game.state()
        reward, ends = game.act(int(action[i]))
        theirs.append((at_first, game.state(), reward, ends, numbers(game), game.alien_dir))
    return before, action, ours, [np.array(x) for x in zip(*theirs, strict=True)]


def test_equals_minatar_in_any_situation():
    """12,000 single steps."""
    _, _, (at_first, after, seen, reward, terminated), theirs = stepped()
    for name, x, y in zip(
        ("at first", "after", "reward", "terminated", "numbers", "heading"),
        (at_first, seen, reward, terminated, our_numbers(after), after.heading),
        theirs,
        strict=True,
    ):
        np.testing.assert_array_equal(x, y, err_msg=name)


def test_the_situations_have_what_is_rare():
    before, action, (_, after, seen, reward, terminated), _ = stepped()
    boards = aliens_on_board(before)
    moves, drops = before.move_timer == 0, before.bomb_timer == 0
    at_left, at_right, at_bottom = (
        boards[:, :, 0].any(1),
        boards[:, :, 9].any(1),
        boards[:, 9].any(1),
    )
    turns = moves & np.where(before.heading < 0, at_left, at_right)
    cleared = (reward > 0) & (after.aliens == 2**24 - 1)
    cannon = after.cannon
    index = np.arange(len(cannon))
    counts = {
        "turns at the left": turns & at_left,
        "turns at the right": turns & at_right,
        "lands": turns & at_bottom,
        "what landed is seen in row 0": turns
        & at_bottom
        & seen[:, 0, :, 1].any(1)
        & (before.top > 0),
        "what landed is shot in row 0": turns & at_bottom & (reward > 0) & (before.shot >> 4 == 1),
        "meets the cannon unmoved": boards[index, 9, cannon],
        "meets the cannon sideways": moves
        & ~turns
        & ~boards[index, 9, cannon]
        & seen[index, 9, cannon, 1],
        "meets the cannon from above": turns
        & ~at_bottom
        & ~boards[index, 9, cannon]
        & seen[index, 9, cannon, 1],
        "bomb": before.bomb == 8 * 16 + cannon,
        "bomb and alien": (before.bomb == 8 * 16 + cannon) & seen[index, 9, cannon, 1],
        "two shot": reward == 2,
        "shot and lost": (reward > 0) & terminated,
        "cleared": cleared,
        "cleared and lost": cleared & terminated,
        "cleared at full speed": cleared & (before.interval == 6),
        "cleared while a bomb is dropped": cleared & drops,
        "drops in the last row": drops & (after.bomb >> 4 == 9),
        "drops after landing": drops & turns & at_bottom,
        "drops, two columns as near": drops & tie(boards, before, after, turns),
        "fire in cool-down": (action == FIRE) & (before.cool_down > 0),
        "fire at once": (action == FIRE) & (before.cool_down == 0),
        "stays at the left": (action == LEFT) & (before.cannon == 0),
        "stays at the right": (action == RIGHT) & (before.cannon == 9),
        "one alien moves": moves & (boards.sum((1, 2)) == 1),
    }
    counts |= {f"drops in column {x}": drops & (after.bomb & 15 == x) for x in range(10)}
    assert rare(counts) == {}


def tie(boards, before, after, turns):
    """Columns on both sides of the cannon are the nearest."""
    moved = np.where((before.move_timer == 0) & ~turns, before.heading, 0)
    occupied = np.stack(
        [np.roll(columns, shift) for columns, shift in zip(boards.any(1), moved, strict=True)]
    )
    distance = np.where(occupied, np.abs(np.arange(10) - after.cannon[:, None]), 99)
    return (distance == distance.min(1, keepdims=True)).sum(1) == 2


def test_twenty_four_aliens_not_28():
    board = first_picture()[..., ALIEN]
    assert board.sum() == 24 and board[0:4, 2:8].all()


def test_the_picture_has_a_row_first():
    """Cannon in row 9, column 5: not the transposed picture."""
    env = SpaceInvaders()
    assert (
        env.observation
        == jax.ShapeDtypeStruct((10, 10, 6), jnp.bool_)
        == jax.eval_shape(env.observe, env.reset(None))
    )
    assert np.argwhere(first_picture()[..., 0]).tolist() == [[9, 5]]


@functools.cache
def first_picture():
    env = SpaceInvaders()
    return np.asarray(quick.optimizing_jit(lambda: env.observe(env.reset(None)))())


def test_minimal_actions_are_minatars():
    env = SpaceInvaders(actions=SpaceInvaders.MINIMAL)
    assert list(env.actions) == Original().minimal_action_set()
    assert (env.num_actions, SpaceInvaders().num_actions) == (4, 6)
    cannons = quick.optimizing_jit(
        jax.vmap(lambda action: env.step(None, env.reset(None), action)[0].unpacked().cannon)
    )(jnp.arange(4))
    assert cannons.tolist() == [5, 4, 6, 5]


def test_render():
    env = SpaceInvaders()
    picture = env.render(env.reset(None))
    assert (picture.shape, picture.dtype) == ((240, 240, 3), np.uint8)


@pytest.mark.parametrize("ramping", [0.5, 7.0, float("nan")])
def test_wrong_ramping_is_refused(ramping):
    with pytest.raises(ValueError, match=r"SpaceInvaders: ramping is .*; allowed: True or False"):
        SpaceInvaders(ramping=ramping)


def test_wrong_actions_are_refused():
    with pytest.raises(ValueError, match="SpaceInvaders: actions is"):
        SpaceInvaders(actions=(0, 6))
