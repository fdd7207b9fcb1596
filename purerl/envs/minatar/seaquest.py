"""MinAtar's Seaquest."""

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from purerl.envs import drawing
from purerl.envs.base import Outcome
from purerl.envs.minatar.base import (
    CELL_COLUMN,
    CELL_ROW,
    DOWN,
    FIRE,
    LEFT,
    NEVER,
    RIGHT,
    SIZE,
    UP,
    Bits,
    RampingMinAtar,
    Stencil,
    pack,
)

MAX_OXYGEN = 200
MAX_DIVERS = 6
LAST_RAMP = 19
SLOTS = 32
LANES = 8  # rows in which things swim, from row 1 on
ENEMY_INTERVAL = 20
DIVER_INTERVAL = 30
SHOT_INTERVAL = 5
ENEMY_SHOT_INTERVAL = 10


class Field(NamedTuple):
    """Bits of a word, uint32, that hold one number."""

    first: int
    bits: int


# Of everything on the board. THERE is 0 where there is nothing; HEADING is 1 to the
# right.
X = Field(0, 4)
Y = Field(4, 4)
THERE = Field(8, 1)
HEADING = Field(9, 1)

# Of the player.
SURFACED = Field(10, 1)
OXYGEN = Field(11, 8)
RAMP = Field(19, 5)

# Of an enemy.
FISH = Field(10, 1)
WAIT = Field(11, 3)
PHASE = Field(14, 4)
SHOT_X = Field(18, 4)
SHOT = Field(22, 1)

# Of ``timers``.
ENEMY_TIMER = Field(0, 5)
DIVER_TIMER = Field(5, 5)
SHOT_TIMER = Field(10, 3)
ENTRIES = Field(13, 5)

# Of a word with two things.
LOWER = Field(0, 16)
UPPER = Field(16, 16)


def _get(word, field: Field):
    return word >> field.first & (1 << field.bits) - 1


def _int(word, field: Field):
    return _get(word, field).astype(jnp.int32)


def _word(*values: tuple[Field, ArrayLike]) -> jax.Array:
    """A word with these fields, and 0 in the others."""
    word = jnp.uint32(0)
    for field, value in values:
        word |= jnp.asarray(value).astype(jnp.uint32) << field.first
    return word


def _mask(*fields: Field) -> jax.Array:
    return jnp.uint32(sum((1 << field.bits) - 1 << field.first for field in fields))


CELL = _mask(X, Y, THERE)

# Of the words that are seen: BODY is the lower half of a word without its HEADING.
BODY = Field(0, 9)
BACK = Field(0, 8)  # its column counts from 1
OXYGEN_CELLS = Field(8, 10)
DIVER_CELLS = Field(18, 10)


def _stencil() -> Stencil:
    """The board.

    The words are the bodies of the player, a bullet and a diver; the player's back and
    the numbers of the last row; the cells behind enemies and divers, fish, and
    submarines in the cell's own row; and the enemies' bullets of three rows each.
    """
    place = 16 * CELL_ROW + CELL_COLUMN
    there = 1 << THERE.first | place
    lane = CELL_ROW - 1
    in_lane = np.where((lane >= 0) & (lane < LANES), 1, NEVER)
    in_last_row = np.where(CELL_ROW == SIZE - 1, 1, NEVER)
    front, bullet, diver = ([Bits(0, i * BODY.bits, BODY.bits, there)] for i in range(3))
    behind, fish, submarine = ([Bits(2, SIZE * i + CELL_COLUMN, 1, in_lane)] for i in range(3))
    return Stencil.of(
        front,
        [Bits(1, BACK.first, BACK.bits, place + 1)],
        bullet,
        behind,
        [Bits(3 + lane // 3, SIZE * (lane % 3) + CELL_COLUMN, 1, in_lane)],
        fish,
        submarine,
        [Bits(1, OXYGEN_CELLS.first + CELL_COLUMN, 1, in_last_row)],
        [Bits(1, DIVER_CELLS.first + CELL_COLUMN, 1, in_last_row)],
        diver,
    )


STENCIL = _stencil()


class SeaquestState(NamedTuple):
    """Everything on the board, in words of fields; uint32 unless stated otherwise.

    The enemy that entered as number ``i`` has place ``i`` modulo 32. No enemy loses its
    place to another: an enemy and those that enter after it, before it has left, are at
    most 30. At most one enters per step, and from ramp 6 on, where an enemy moves every
    3 steps, it enters with 2 steps to wait and leaves in the 30th step from there. At
    lower ramps enemies are slower, but the next one does not enter for 15 steps. For
    the same reason enemies never catch up with those ahead: no two enemies of a row
    move into one column in the same step. (The tests go through all cases of both.)

    Attributes:
        player: besides cell and heading, whether it has been at the surface since it
            came up, the steps for which oxygen remains, and the number of times the
            game has become harder (up to 19). ``[]``
        divers: number on board; below 0 after a rescue. int32 ``[]``
        timers: steps until an enemy enters, until a diver enters, and until the player
            may shoot; and the number of enemies that have entered, modulo 32. ``[]``
        bullets: the player's, the later one in the lower half. They are shot 5 steps
            apart and leave the board within 10, so there are at most two. ``[]``
        swimmers: the divers in the water, the later one in the lower half. They enter
            30 steps apart and leave within 60. All move in the same steps, which follow
            from the timer. ``[]``
        enemies: each with its kind, the steps until it moves and until it shoots, and
            its bullet, which remains when the enemy is shot. A submarine shoots every
            11 steps, and its bullet leaves the board within 10. ``[32]``
    """

    player: jax.Array
    divers: jax.Array
    timers: jax.Array
    bullets: jax.Array
    swimmers: jax.Array
    enemies: jax.Array


def _ahead(word):
    """1 or -1 by heading, uint32."""
    return _get(word, HEADING) * 2 - 1


def _edge(word):
    """The last column ahead, uint32."""
    return jnp.where(_get(word, HEADING) == 1, jnp.uint32(SIZE - 1), jnp.uint32(0))


def _moved(word, moves):
    """A thing after moving by one column if it ``moves``; 0 if it leaves the board."""
    after = jnp.where(_get(word, X) == _edge(word), 0, word + _ahead(word))
    return jnp.where(moves, after, word)


def _halves(words):
    return _get(words, LOWER), _get(words, UPPER)


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
    newcomer = _word(
        (X, jnp.where(draw.enemy_right == 1, 0, SIZE - 1)),
        (Y, draw.enemy_row + 1),
        (THERE, 1),
        (HEADING, draw.enemy_right),
        (FISH, ~draw.enemy_is_submarine),
        (WAIT, wait),
        (PHASE, ENEMY_SHOT_INTERVAL),
    )
    lane = _mask(Y, THERE, HEADING)
    against = jnp.any(state.enemies & lane == newcomer & lane ^ _mask(HEADING))
    timer = _int(state.timers, ENEMY_TIMER)
    entries = _int(state.timers, ENTRIES)
    enters = (timer == 0) & ~against
    enemies = jnp.where(
        enters & (jnp.arange(SLOTS, dtype=jnp.int32) == entries), newcomer, state.enemies
    )
    entries = entries + enters & SLOTS - 1
    timer = jnp.where(timer == 0, ENEMY_INTERVAL - ramp, timer) - 1
    return enemies, timer, entries


def _diver_enters(state: SeaquestState, draw: Draw):
    """The divers in the water with a new one, if it is time; their clock."""
    timer = _int(state.timers, DIVER_TIMER)
    newcomer = _word(
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
    timer = _int(state.timers, SHOT_TIMER)
    fires = (action == FIRE) & (timer == 0)
    body = state.player & _mask(X, Y, THERE, HEADING)
    bullets = jnp.where(fires, state.bullets << 16 | body, state.bullets)
    bullets = [_moved(bullet, bullet != 0) for bullet in _halves(bullets)]
    timer = jnp.where(fires, SHOT_INTERVAL, jnp.maximum(timer, 1)) - 1
    return bullets, timer


def _steer(player, action):
    """The player's column, row and heading (1: right) after an action."""
    right = jnp.where(action == RIGHT, 1, 0) - jnp.where(action == LEFT, 1, 0)
    down = jnp.where(action == DOWN, 1, 0) - jnp.where(action == UP, 1, 0)
    x = jnp.clip(_int(player, X) + right, 0, SIZE - 1)
    y = jnp.clip(_int(player, Y) + down, 0, SIZE - 2)
    heading = (action == RIGHT) | (_get(player, HEADING) == 1) & (action != LEFT)
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
    rank = jnp.where(_get(enemies, FISH) == 1, jnp.int32(0), SLOTS)

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
    for swimmer in _halves(swimmers):
        after = _moved(swimmer, (swimmer != 0) & (timer % 6 == 0))
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
    comes_up = surface & (_get(player, SURFACED) == 0)
    breathes = comes_up & (divers != 0)
    rescue = breathes & (divers == MAX_DIVERS)
    return AtSurface(comes_up, breathes, rescue, stays=surface & (~comes_up | breathes))


def _fly(enemies, swum, lives):
    """The enemies' bullets, as column and presence, before and after their move."""
    shoots = lives & (_get(enemies, FISH) == 0) & (_get(enemies, PHASE) == 0)
    fired = _get(swum, X) | _get(swum, THERE) << 4
    begun = jnp.where(shoots, fired, enemies >> SHOT_X.first)
    gone = (begun >> 4 == 0) | (begun & 15 == _edge(enemies))
    return begun, jnp.where(gone, 0, begun + _ahead(enemies))


def _touched(enemies, swum, lives, bullets, x, y):
    """True if an enemy or its bullet meets the player, before or after its move."""
    here = _word((X, x), (Y, y), (THERE, 1))
    begun, flown = bullets
    target = (x + 16).astype(jnp.uint32)
    met = lives & ((enemies & CELL == here) | (swum & CELL == here))
    met |= (_get(enemies, Y) == y.astype(jnp.uint32)) & ((begun == target) | (flown == target))
    return jnp.any(met)


def _advance(enemies, swum, moves, stays, flown, wait):
    """The enemies that stay on the board, clocks advanced, and all their bullets."""
    waits = jnp.where(moves, _word((WAIT, wait + 1)), 0)
    reloads = jnp.where(_get(enemies, PHASE) == 0, _word((PHASE, ENEMY_SHOT_INTERVAL + 1)), 0)
    alive = (swum & ~_mask(SHOT_X, SHOT)) + (waits + reloads) - _word((WAIT, 1), (PHASE, 1))
    return jnp.where(stays, alive, enemies & _mask(Y, HEADING)) | flown << SHOT_X.first


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

    CHANNELS: ClassVar = (
        "front",
        "back",
        "bullet",
        "trail",
        "enemy_bullet",
        "fish",
        "submarine",
        "oxygen",
        "divers",
        "diver",
    )
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
            player=_word((X, 5), (Y, 0), (THERE, 1), (SURFACED, 1), (OXYGEN, MAX_OXYGEN)),
            divers=jnp.int32(0),
            timers=_word((ENEMY_TIMER, ENEMY_INTERVAL), (DIVER_TIMER, DIVER_INTERVAL)),
            bullets=jnp.uint32(0),
            swimmers=jnp.uint32(0),
            enemies=jnp.zeros(SLOTS, jnp.uint32),
        )

    def step(self, key, state, action):
        action = self.meaning(action)
        draw = _draw(key)
        ramp = _int(state.player, RAMP)
        wait = 5 - jnp.minimum(ramp >> 1, 3)  # of an enemy that has just moved or entered
        enemies, enemy_timer, entries = _enemy_enters(state, draw, ramp, wait)
        swimmers, diver_timer = _diver_enters(state, draw)
        bullets, shot_timer = _shoot(state, action)
        x, y, heading = _steer(state.player, action)

        there = _get(enemies, THERE) == 1
        moves = there & (_get(enemies, WAIT) == 0)
        swum = _moved(enemies, moves)
        hits = _hits(bullets, enemies, swum, moves, entries)
        bullets = [jnp.where(hit, 0, bullet) for hit, bullet in zip(hits.hit, bullets, strict=True)]

        here = _word((X, x), (Y, y), (THERE, 1))
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
        oxygen = _int(state.player, OXYGEN)
        at_surface = _at_surface(state.player, y, divers)
        reward = hits.hit[0].astype(jnp.int32) + hits.hit[1]
        reward += jnp.where(at_surface.rescue, oxygen // (MAX_OXYGEN // 10), 0)
        terminated = touched | (oxygen == 0) | at_surface.comes_up & (divers == 0)

        player = _word(
            (X, x),
            (Y, y),
            (THERE, 1),
            (HEADING, heading),
            (SURFACED, at_surface.stays),
            (OXYGEN, jnp.where(at_surface.breathes, MAX_OXYGEN, jnp.maximum(oxygen - (y > 0), 0))),
            (RAMP, ramp + (at_surface.breathes & (ramp < LAST_RAMP) & self.ramping)),
        )
        timers = _word(
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
        rows = jnp.arange(1, LANES + 1, dtype=jnp.uint32)
        lanes, shots = _enemy_rows(state.enemies, rows)
        for diver in _halves(state.swimmers):
            in_row = (rows == _get(diver, Y)) & (_get(diver, THERE) == 1)
            lanes |= jnp.where(in_row, _behind(diver), 0)
        shots = [*shots, jnp.uint32(0)]
        one = jnp.uint32(1)
        on_board = jnp.maximum(state.divers, 0).astype(jnp.uint32)
        last_row = _word(
            (BACK, _get(state.player, BACK) + 1 - _ahead(state.player)),
            (OXYGEN_CELLS, (one << _get(state.player, OXYGEN) // (MAX_OXYGEN // 10)) - 1),
            (DIVER_CELLS, (one << 9) - (one << 9 - on_board)),
        )
        later, earlier = (
            pack(BODY.bits, *(_get(body, BODY) for body in bodies))
            for bodies in zip(
                (state.player, jnp.uint32(0)),
                _halves(state.bullets),
                _halves(state.swimmers),
                strict=True,
            )
        )
        board = STENCIL.board(
            later,
            last_row,
            _of_lane(list(lanes)),
            *(shots[i] | shots[i + 1] << SIZE | shots[i + 2] << 2 * SIZE for i in (0, 3, 6)),
        )
        nothing = jnp.uint32(0)
        return board | STENCIL.board(earlier, *[nothing] * 5)


def _of_lane(words):
    """For each cell of the board the word of its lane, uint32 ``[cells]``.

    Halving the words costs a third of what reading each of them would.
    """
    cells = np.broadcast_to(CELL_ROW[..., None] - 1, (SIZE, SIZE, len(Seaquest.CHANNELS))).reshape(
        -1
    )
    for bit in range(3):
        odd = cells >> bit & 1 == 1
        words = [jnp.where(odd, b, a) for a, b in zip(words[::2], words[1::2], strict=True)]
    return words[0]


def _bit(word):
    """The column of a thing, as a bit."""
    return jnp.uint32(1) << _get(word, X)


def _behind(word):
    """The column behind a thing, as a bit; 0 outside the board."""
    bit = jnp.where(_get(word, HEADING) == 1, _bit(word) >> 1, _bit(word) << 1)
    return bit & _mask(Field(0, SIZE))


def _enemy_rows(enemies, rows):
    """Enemies by row, in the shape of ``rows``: words of ten columns per channel.

    The first has the cells behind enemies in its lowest ten bits, then fish, then
    submarines; the second has their bullets.
    """
    kind = jnp.where(_get(enemies, FISH) == 1, jnp.uint32(10), jnp.uint32(20))
    body = _bit(enemies) << kind | _behind(enemies)
    body = jnp.where(_get(enemies, THERE) == 1, body, 0)
    shot = _get(enemies, SHOT) << _get(enemies, SHOT_X)
    in_row = _get(enemies, Y) == rows[:, None]
    return jax.lax.reduce(
        (jnp.where(in_row, body, 0), jnp.where(in_row, shot, 0)),
        (jnp.uint32(0), jnp.uint32(0)),
        lambda a, b: (a[0] | b[0], a[1] | b[1]),
        (1,),
    )
