"""MinAtar's Seaquest."""

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from purerl.envs import drawing
from purerl.envs.base import Outcome
from purerl.envs.minatar import seaquest_board
from purerl.envs.minatar.base import DOWN, FIRE, LEFT, RIGHT, SIZE, UP, RampingMinAtar
from purerl.envs.minatar.seaquest_state import (
    CELL,
    DIVER_TIMER,
    ENEMY_TIMER,
    ENTRIES,
    FISH,
    HEADING,
    MAX_DIVERS,
    MAX_OXYGEN,
    OXYGEN,
    PHASE,
    RAMP,
    SHOT,
    SHOT_TIMER,
    SHOT_X,
    SLOTS,
    SURFACED,
    THERE,
    WAIT,
    SeaquestState,
    X,
    Y,
    ahead,
    edge,
    get,
    get_int,
    halves,
    mask_of,
    moved,
    word_of,
)

LAST_RAMP = 19
ENEMY_INTERVAL = 20
DIVER_INTERVAL = 30
SHOT_INTERVAL = 5
ENEMY_SHOT_INTERVAL = 10


class Draw(NamedTuple):
    """All randomness of a step, uint32 or bool ``[]``; rows are counted from 0."""

    enemy_right: jax.Array
    enemy_is_submarine: jax.Array
    enemy_row: jax.Array
    diver_right: jax.Array
    diver_row: jax.Array


def _draw(key) -> Draw:
    word = jax.random.bits(key, (), jnp.uint32)
    return Draw(
        enemy_right=word & 1,
        enemy_is_submarine=word >> 8 < 5_592_406,  # 2**24 / 3, rounded up
        enemy_row=word >> 1 & 7,
        diver_right=word >> 4 & 1,
        diver_row=word >> 5 & 7,
    )


def _enemy_enters(state: SeaquestState, draw: Draw, ramp, wait):
    """Enemies with a new one, if it is due and has free way; their clocks."""
    newcomer = word_of(
        (X, jnp.where(draw.enemy_right == 1, 0, SIZE - 1)),
        (Y, draw.enemy_row + 1),
        (THERE, 1),
        (HEADING, draw.enemy_right),
        (FISH, ~draw.enemy_is_submarine),
        (WAIT, wait),
        (PHASE, ENEMY_SHOT_INTERVAL),
    )
    lane = mask_of(Y, THERE, HEADING)
    against = jnp.any(state.enemies & lane == newcomer & lane ^ mask_of(HEADING))
    timer = get_int(state.timers, ENEMY_TIMER)
    entries = get_int(state.timers, ENTRIES)
    enters = (timer == 0) & ~against
    enemies = jnp.where(
        enters & (jnp.arange(SLOTS, dtype=jnp.int32) == entries), newcomer, state.enemies
    )
    entries = entries + enters & SLOTS - 1
    timer = jnp.where(timer == 0, ENEMY_INTERVAL - ramp, timer) - 1
    return enemies, timer, entries


def _diver_enters(state: SeaquestState, draw: Draw):
    """The divers in the water with a new one, if it is time; their clock."""
    timer = get_int(state.timers, DIVER_TIMER)
    newcomer = word_of(
        (X, jnp.where(draw.diver_right == 1, 0, SIZE - 1)),
        (Y, draw.diver_row + 1),
        (THERE, 1),
        (HEADING, draw.diver_right),
    )
    swimmers = jnp.where(timer == 0, state.swimmers << 16 | newcomer, state.swimmers)
    timer = jnp.where(timer == 0, DIVER_INTERVAL, timer) - 1
    return swimmers, timer


def _shoot(state: SeaquestState, action):
    """The player's two bullets after their move; steps until it may fire."""
    timer = get_int(state.timers, SHOT_TIMER)
    fires = (action == FIRE) & (timer == 0)
    body = state.player & mask_of(X, Y, THERE, HEADING)
    bullets = jnp.where(fires, state.bullets << 16 | body, state.bullets)
    bullets = [moved(bullet, bullet != 0) for bullet in halves(bullets)]
    timer = jnp.where(fires, SHOT_INTERVAL, jnp.maximum(timer, 1)) - 1
    return bullets, timer


def _steer(player, action):
    """The player's column, row and heading (1: right) after an action."""
    right = jnp.where(action == RIGHT, 1, 0) - jnp.where(action == LEFT, 1, 0)
    down = jnp.where(action == DOWN, 1, 0) - jnp.where(action == UP, 1, 0)
    x = jnp.clip(get_int(player, X) + right, 0, SIZE - 1)
    y = jnp.clip(get_int(player, Y) + down, 0, SIZE - 2)
    heading = (action == RIGHT) | (get(player, HEADING) == 1) & (action != LEFT)
    return x, y, heading


class Hits(NamedTuple):
    """Hits of the player's two bullets; each member has one entry a bullet.

    Attributes:
        victims: the place of the enemy that may be hit, int32 ``[]``.
        at_once: whether the enemy is in the bullet's cell before it moves, bool ``[]``.
        hit: whether there is a hit, bool ``[]``.
    """

    victims: list[jax.Array]
    at_once: list[jax.Array]
    hit: list[jax.Array]


def _hits(bullets, enemies, swum, moves, entries) -> Hits:
    """The enemies that the player's bullets hit.

    A bullet hits the eldest fish in its cell, otherwise the eldest submarine there; if
    there is none, the enemy that moves into the cell, if any. That enemy has the lowest
    rank. An enemy that one bullet hits at once cannot be hit by the other after its
    move.
    """
    age = jnp.arange(SLOTS, dtype=jnp.int32) - entries & SLOTS - 1
    rank = jnp.where(get(enemies, FISH) == 1, jnp.int32(0), SLOTS)

    def ranks(bullet):
        target = jnp.where(bullet == 0, CELL + 1, bullet & CELL)
        later = jnp.where(moves & (swum & CELL == target), 2 * SLOTS, 4 * SLOTS)
        return jnp.where(enemies & CELL == target, rank, later) | age

    first = jax.lax.reduce(
        (ranks(bullets[0]), ranks(bullets[1])),
        (jnp.int32(4 * SLOTS),) * 2,
        lambda a, b: (jnp.minimum(a[0], b[0]), jnp.minimum(a[1], b[1])),
        (0,),
    )
    victims = [rank + entries & SLOTS - 1 for rank in first]
    at_once = [rank < 2 * SLOTS for rank in first]
    same = victims[0] == victims[1]
    hit = [(first[i] < 4 * SLOTS) & (at_once[i] | ~(same & at_once[1 - i])) for i in range(2)]
    return Hits(victims, at_once, hit)


def _spared(victims, flags):
    """Places that hold none of the flagged victims, bool ``[32]``."""
    place = jnp.arange(SLOTS, dtype=jnp.int32)
    shot = [jnp.where(flag, victim, -1) for flag, victim in zip(flags, victims, strict=True)]
    return (place != shot[0]) & (place != shot[1])


def _pick_up(swimmers, divers, here, timer):
    """Divers in the water and on board, after the player has picked up those it meets.

    They are picked up before or after their move, the later one first, while there is
    room.
    """
    left = []
    for swimmer in halves(swimmers):
        after = moved(swimmer, (swimmer != 0) & (timer % 6 == 0))
        met = (swimmer & CELL == here) | (after & CELL == here)
        picked = met & (divers < MAX_DIVERS)
        divers += picked
        left.append(jnp.where(picked, 0, after))
    return left[0] | left[1] << 16, divers


class AtSurface(NamedTuple):
    """The player at the surface, bool ``[]``.

    Attributes:
        comes_up: whether it has just come up.
        breathes: whether it also gets oxygen, because divers are on board.
        rescue: whether it also sets down six divers.
        stays: whether it is at the surface and need not come up again.
    """

    comes_up: jax.Array
    breathes: jax.Array
    rescue: jax.Array
    stays: jax.Array


def _at_surface(player, y, divers) -> AtSurface:
    surface = ~(y > 0)
    comes_up = surface & (get(player, SURFACED) == 0)
    breathes = comes_up & (divers != 0)
    rescue = breathes & (divers == MAX_DIVERS)
    return AtSurface(comes_up, breathes, rescue, stays=surface & (~comes_up | breathes))


def _fly(enemies, swum, lives):
    """The enemies' bullets, as column and presence, before and after their move."""
    shoots = lives & (get(enemies, FISH) == 0) & (get(enemies, PHASE) == 0)
    fired = get(swum, X) | get(swum, THERE) << 4
    begun = jnp.where(shoots, fired, enemies >> SHOT_X.first)
    gone = (begun >> 4 == 0) | (begun & 15 == edge(enemies))
    return begun, jnp.where(gone, 0, begun + ahead(enemies))


def _touched(enemies, swum, lives, bullets, x, y):
    """True if an enemy or its bullet meets the player, before or after its move."""
    here = word_of((X, x), (Y, y), (THERE, 1))
    begun, flown = bullets
    target = (x + 16).astype(jnp.uint32)
    met = lives & ((enemies & CELL == here) | (swum & CELL == here))
    met |= (get(enemies, Y) == y.astype(jnp.uint32)) & ((begun == target) | (flown == target))
    return jnp.any(met)


def _advance(enemies, swum, moves, stays, flown, wait):
    """The enemies that stay on the board, clocks advanced, and all their bullets."""
    waits = jnp.where(moves, word_of((WAIT, wait + 1)), 0)
    reloads = jnp.where(get(enemies, PHASE) == 0, word_of((PHASE, ENEMY_SHOT_INTERVAL + 1)), 0)
    alive = (swum & ~mask_of(SHOT_X, SHOT)) + (waits + reloads) - word_of((WAIT, 1), (PHASE, 1))
    return jnp.where(stays, alive, enemies & mask_of(Y, HEADING)) | flown << SHOT_X.first


class Seaquest(RampingMinAtar):
    """A submarine that shoots, collects divers, and has to come up for air.

    Every ``20 - ramp`` steps an enemy enters at the left or the right edge of one of
    the rows 1 to 8, equally likely: a submarine with probability 1/3, otherwise a fish.
    It does not enter if an enemy in that row swims the other way. Enemies move by one
    column every ``6 - min(ramp // 2, 3)`` steps; submarines shoot ahead every 11 steps.
    Divers enter likewise every 30 steps and move every 6. Bullets move in every step.
    The player may shoot every 5 steps; its bullet hits the eldest fish in its cell,
    otherwise the eldest submarine. (1/3 is resolved to 24 bits.)

    At the surface the player gets oxygen for 200 steps and sets down one diver. With
    six on board it is a rescue: all are set down and, as in the original, their number
    becomes -1, so that the player may come up at will until it picks up the next diver.
    Every time ``ramp`` grows by 1, up to 19.

    - Observation: bool ``[10, 10, 10]``, planes of the player's front and back, its
      bullets, the cells behind enemies and divers, the enemies' bullets, fish,
      submarines, oxygen (row 9, from the left: one cell for every 20 steps), divers on
      board (row 9, from column 8 to the left), divers.
    - Actions: left and right turn and move the player, up and down move it (rows 0 to
      8), fire shoots ahead. ``MINIMAL``: all six.
    - Reward: 1 for an enemy shot; at a rescue 1 for every 20 steps of oxygen left.
    - Start: the player at the surface, in column 5, heading left with full oxygen, and
      nothing else.
    - Termination: the player meets an enemy or an enemy's bullet, before or after it
      moves; no oxygen is left; or the player comes up with 0 divers on board.

    Attributes:
        ramping: whether the game becomes harder. bool.

    Raises:
        ValueError: a wrong value of ``actions`` or ``ramping``.
    """

    CHANNELS: ClassVar = seaquest_board.CHANNELS
    COLORS: ClassVar = (
        drawing.YELLOW,
        drawing.BROWN,
        drawing.WHITE,
        drawing.GRAY,
        drawing.PINK,
        drawing.GREEN,
        drawing.RED,
        drawing.SKY,
        drawing.BLUE,
        drawing.BLUE,
    )
    MINIMAL: ClassVar = tuple(range(6))

    def reset(self, key):
        del key  # there is one start
        return SeaquestState(
            player=word_of((X, 5), (Y, 0), (THERE, 1), (SURFACED, 1), (OXYGEN, MAX_OXYGEN)),
            divers=jnp.int32(0),
            timers=word_of((ENEMY_TIMER, ENEMY_INTERVAL), (DIVER_TIMER, DIVER_INTERVAL)),
            bullets=jnp.uint32(0),
            swimmers=jnp.uint32(0),
            enemies=jnp.zeros(SLOTS, jnp.uint32),
        )

    def step(self, key, state, action):
        action = self.meaning(action)
        draw = _draw(key)
        ramp = get_int(state.player, RAMP)
        wait = 5 - jnp.minimum(ramp >> 1, 3)  # of an enemy that has just moved or entered
        enemies, enemy_timer, entries = _enemy_enters(state, draw, ramp, wait)
        swimmers, diver_timer = _diver_enters(state, draw)
        bullets, shot_timer = _shoot(state, action)
        x, y, heading = _steer(state.player, action)

        there = get(enemies, THERE) == 1
        moves = there & (get(enemies, WAIT) == 0)
        swum = moved(enemies, moves)
        hits = _hits(bullets, enemies, swum, moves, entries)
        bullets = [jnp.where(hit, 0, bullet) for hit, bullet in zip(hits.hit, bullets, strict=True)]

        here = word_of((X, x), (Y, y), (THERE, 1))
        swimmers, divers = _pick_up(swimmers, state.divers, here, diver_timer)

        # An enemy hit before moving does nothing more in this step. One hit after its
        # move has shot before; it does not touch the player, because the player's
        # bullets are never in the player's cell.
        lives = there & _spared(hits.victims, hits.at_once)
        flying = _fly(enemies, swum, lives)
        touched = _touched(enemies, swum, lives, flying, x, y)
        stays = there & (swum != 0) & _spared(hits.victims, hits.hit)
        enemies = _advance(enemies, swum, moves, stays, flying[1], wait)

        # With oxygen 0 the last step is taken: the original goes on to -1, unobserved.
        oxygen = get_int(state.player, OXYGEN)
        at_surface = _at_surface(state.player, y, divers)
        reward = hits.hit[0].astype(jnp.int32) + hits.hit[1]
        reward += jnp.where(at_surface.rescue, oxygen // (MAX_OXYGEN // 10), 0)
        terminated = touched | (oxygen == 0) | at_surface.comes_up & (divers == 0)

        player = word_of(
            (X, x),
            (Y, y),
            (THERE, 1),
            (HEADING, heading),
            (SURFACED, at_surface.stays),
            (OXYGEN, jnp.where(at_surface.breathes, MAX_OXYGEN, jnp.maximum(oxygen - (y > 0), 0))),
            (RAMP, ramp + (at_surface.breathes & (ramp < LAST_RAMP) & self.ramping)),
        )
        timers = word_of(
            (ENEMY_TIMER, enemy_timer),
            (DIVER_TIMER, diver_timer),
            (SHOT_TIMER, shot_timer),
            (ENTRIES, entries),
        )
        reached = SeaquestState(
            player=player,
            divers=jnp.where(at_surface.rescue, -1, divers - at_surface.breathes),
            timers=timers,
            bullets=bullets[0] | bullets[1] << 16,
            swimmers=swimmers,
            enemies=enemies,
        )
        return reached, Outcome(reward.astype(jnp.float32), terminated, jnp.bool_(False))

    def observe(self, state):
        return seaquest_board.observe(state)
