"""MinAtar's Seaquest."""

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from purerl.envs import drawing
from purerl.envs.base import Outcome
from purerl.envs.minatar.base import DOWN, FIRE, LEFT, RIGHT, SIZE, UP, RampingMinAtar, expand

MAX_OXYGEN, MAX_DIVERS, LAST_RAMP, SLOTS = 200, 6, 19, 32
ENEMY_INTERVAL, DIVER_INTERVAL, SHOT_INTERVAL, ENEMY_SHOT_INTERVAL = 20, 30, 5, 10

# Fields of a word: their first bit, and how many they are. Whatever is on the board has the first four; THERE is 0 where there
# is nothing, HEADING is 1 to the right.
X, Y, THERE, HEADING = (0, 4), (4, 4), (8, 1), (9, 1)
SURFACED, OXYGEN, RAMP = (10, 1), (11, 8), (19, 5)  # of the player
FISH, WAIT, PHASE, SHOT_X, SHOT = (10, 1), (11, 3), (14, 4), (18, 4), (22, 1)  # of an enemy
ENEMY_TIMER, DIVER_TIMER, SHOT_TIMER, ENTRIES = (0, 5), (5, 5), (10, 3), (13, 5)  # of ``timers``
LOWER, UPPER = (0, 16), (16, 16)


def _get(word, field):
    first, bits = field
    return word >> first & (1 << bits) - 1


def _word(**fields):
    """A word of fields by name (in lower case); 0 in the others."""
    word = jnp.uint32(0)
    for name, value in fields.items():
        word |= jnp.asarray(value).astype(jnp.uint32) << globals()[name.upper()][0]
    return word


def _mask(*fields):
    return jnp.uint32(sum((1 << bits) - 1 << first for first, bits in fields))


def _int(word, field):
    return _get(word, field).astype(jnp.int32)


class SeaquestState(NamedTuple):
    """What there is, in words of fields; uint32 where nothing else is said.

    Attributes:
        player: besides cell and heading, whether it has been at the surface since it came up, for how many steps the oxygen
            lasts, and how often the game has become harder (up to 19). ``[]``
        divers: how many are on board; below 0 after a rescue. int32 ``[]``
        timers: steps until an enemy comes in, a diver comes in, and the player may shoot; and the number of enemies that have
            come in, modulo 32. ``[]``
        bullets: the player's, the later one in the lower half. They are shot 5 steps apart and leave the board within 10, so
            that there are at most two. ``[]``
        swimmers: the divers in the water, the later one in the lower half. They come in 30 steps apart and leave within 60.
            All move in the same steps, which follow from the timer. ``[]``
        enemies: each with its kind, the steps until it moves and until it shoots, and its bullet, which stays when the enemy is
            shot. A submarine shoots every 11 steps, its bullet leaves the board within 10. ``[32]``

    The enemy that came in as number ``i`` has place ``i`` modulo 32. None loses it to another one: an enemy and those who come
    in after it, before it has left, are at most 30. At most one comes in in a step, and from ramp 6 on, where an enemy moves
    every 3 steps, it comes in with 2 steps to wait and leaves in the 30th step counted from there. Below, enemies are slower,
    but the next one does not come in for 15 steps. For the same reason those behind never catch up with those ahead: no two
    enemies of a row move into one column in the same step. (The tests go through all cases of both.)
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
    """A thing after a move by a column if it ``moves``; 0 where it leaves the board."""
    return jnp.where(moves, jnp.where(_get(word, X) == _edge(word), 0, word + _ahead(word)), word)


def _halves(words):
    return _get(words, LOWER), _get(words, UPPER)


def _draw(key):
    """All chance of a step: an enemy's (to the right?, submarine?, row - 1) and a diver's (to the right?, row - 1)."""
    word = jax.random.bits(key, (), jnp.uint32)
    enemy = word & 1, word >> 8 < 5_592_406, word >> 1 & 7  # 2**24 / 3, rounded up
    diver = word >> 4 & 1, word >> 5 & 7
    return enemy, diver


class Seaquest(RampingMinAtar):
    """A submarine shoots fish and other submarines, collects divers and has to come up for air.

    Every ``20 - ramp`` steps an enemy comes in at the left or the right edge of one of the rows 1 to 8, each as likely: with
    probability 1/3 a submarine, otherwise a fish. It stays out if an enemy in that row swims the other way. Enemies move by a
    column every ``6 - min(ramp // 2, 3)`` steps; submarines shoot ahead every 11 steps. A diver comes in likewise every 30
    steps and moves every 6. Bullets move in every step. The player may shoot every 5 steps; its bullet hits the eldest fish
    in its cell, or else the eldest submarine. (1/3 is resolved to 24 bits.)

    At the surface the player gets air for 200 steps and sets down one diver. With six on board it is a rescue: all are set
    down, and, as in the original, there are -1 on board then, so that one may come up at will until the next diver is picked
    up. Every time ``ramp`` grows by 1, up to 19.

    - Observation: bool ``[10, 10, 10]``, planes of the player's front and back, its bullets, the cells behind enemies and
      divers, the enemies' bullets, fish, submarines, air (row 9, from the left: a cell for every 20 steps), divers on board
      (row 9, from column 8 to the left), divers.
    - Actions: left and right turn and move the player, up and down move it (rows 0 to 8), fire shoots where it is heading.
      ``MINIMAL``: all six.
    - Reward: 1 for an enemy shot; at a rescue 1 for every 20 steps of air left.
    - Start: the player at the surface, in column 5, heading left with full air, and nothing else.
    - Termination: the player meets an enemy or an enemy's bullet, before or after it moves; no air is left; or the player comes
      up with 0 divers on board.

    Attributes:
        ramping: whether the game becomes harder. bool.

    Raises:
        ValueError: ``actions`` or ``ramping`` is none of the allowed.
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
    ColorS: ClassVar = (
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
            player=_word(x=5, y=0, there=1, surfaced=1, oxygen=MAX_OXYGEN),
            divers=jnp.int32(0),
            timers=_word(enemy_timer=ENEMY_INTERVAL, diver_timer=DIVER_INTERVAL),
            bullets=jnp.uint32(0),
            swimmers=jnp.uint32(0),
            enemies=jnp.zeros(SLOTS, jnp.uint32),
        )

    def step(self, key, state, action):
        action = self.meaning(action)
        enemy_draw, diver_draw = _draw(key)
        ramp, timers = _int(state.player, RAMP), state.timers
        wait = 5 - jnp.minimum(ramp >> 1, 3)  # of an enemy that has just moved or come in
        place = jnp.arange(SLOTS)

        # An enemy comes in, unless another one swims against it, and a diver.
        right, is_submarine, row = enemy_draw
        newcomer = _word(
            x=jnp.where(right == 1, 0, SIZE - 1),
            y=row + 1,
            there=1,
            heading=right,
            fish=~is_submarine,
            wait=wait,
            phase=ENEMY_SHOT_INTERVAL,
        )
        lane = _mask(Y, THERE, HEADING)
        against = jnp.any(state.enemies & lane == newcomer & lane ^ _mask(HEADING))
        enemy_timer, entries = _int(timers, ENEMY_TIMER), _int(timers, ENTRIES)
        enters = (enemy_timer == 0) & ~against
        enemies = jnp.where(enters & (place == entries), newcomer, state.enemies)
        entries = entries + enters & SLOTS - 1
        enemy_timer = jnp.where(enemy_timer == 0, ENEMY_INTERVAL - ramp, enemy_timer) - 1

        right, row = diver_draw
        diver_timer = _int(timers, DIVER_TIMER)
        newcomer = _word(x=jnp.where(right == 1, 0, SIZE - 1), y=row + 1, there=1, heading=right)
        swimmers = jnp.where(diver_timer == 0, state.swimmers << 16 | newcomer, state.swimmers)
        diver_timer = jnp.where(diver_timer == 0, DIVER_INTERVAL, diver_timer) - 1

        # The player moves or shoots, and its bullets fly.
        shot_timer = _int(timers, SHOT_TIMER)
        fires = (action == FIRE) & (shot_timer == 0)
        body = state.player & _mask(X, Y, THERE, HEADING)
        bullets = jnp.where(fires, state.bullets << 16 | body, state.bullets)
        bullets = [_moved(bullet, bullet != 0) for bullet in _halves(bullets)]
        x, y = _int(state.player, X), _int(state.player, Y)
        x = jnp.clip(
            x + jnp.where(action == RIGHT, 1, 0) - jnp.where(action == LEFT, 1, 0), 0, SIZE - 1
        )
        y = jnp.clip(
            y + jnp.where(action == DOWN, 1, 0) - jnp.where(action == UP, 1, 0), 0, SIZE - 2
        )
        right = (action == RIGHT) | (_get(state.player, HEADING) == 1) & (action != LEFT)
        here = _word(x=x, y=y, there=1)

        # A bullet hits the eldest fish in its cell or else the eldest submarine; if there is none, the one that moves into the
        # cell, if any. That has the lowest rank. What one bullet hits at once the other cannot hit after the move.
        cell = _mask(X, Y, THERE)
        there = _get(enemies, THERE) == 1
        moves = there & (_get(enemies, WAIT) == 0)
        swum = _moved(enemies, moves)
        age = place - entries & SLOTS - 1
        rank = jnp.where(_get(enemies, FISH) == 1, 0, SLOTS)

        def ranks(bullet):
            target = jnp.where(bullet == 0, cell + 1, bullet & cell)
            later = jnp.where(moves & (swum & cell == target), 2 * SLOTS, 4 * SLOTS)
            return jnp.where(enemies & cell == target, rank, later) | age

        first = jax.lax.reduce(
            (ranks(bullets[0]), ranks(bullets[1])),
            (jnp.int32(4 * SLOTS),) * 2,
            lambda a, b: (jnp.minimum(a[0], b[0]), jnp.minimum(a[1], b[1])),
            (0,),
        )
        victims = [rank + entries & SLOTS - 1 for rank in first]
        at_once = [rank < 2 * SLOTS for rank in first]
        same = victims[0] == victims[1]
        hits = [(first[i] < 4 * SLOTS) & (at_once[i] | ~(same & at_once[1 - i])) for i in range(2)]
        bullets = [jnp.where(hit, 0, bullet) for hit, bullet in zip(hits, bullets, strict=True)]
        reward = hits[0].astype(jnp.int32) + hits[1]

        # Divers are picked up before or after their move, the later one first, while there is room.
        divers = state.divers
        swimmers = list(_halves(swimmers))
        for i in range(2):
            after = _moved(swimmers[i], (swimmers[i] != 0) & (diver_timer % 6 == 0))
            picked = ((swimmers[i] & cell == here) | (after & cell == here)) & (divers < MAX_DIVERS)
            divers += picked
            swimmers[i] = jnp.where(picked, 0, after)

        # Who is hit at once neither moves nor shoots nor touches the player. Who is hit after the move has shot before; it does
        # not touch the player, as no bullet of the player's is ever in the player's cell.
        shot = [jnp.where(flag, victim, -1) for flag, victim in zip(at_once, victims, strict=True)]
        lives = there & (place != shot[0]) & (place != shot[1])
        phase = _get(enemies, PHASE)
        shoots = lives & (_get(enemies, FISH) == 0) & (phase == 0)
        begun = jnp.where(shoots, _get(swum, X) | _get(swum, THERE) << 4, enemies >> SHOT_X[0])
        gone = (begun >> 4 == 0) | (begun & 15 == _edge(enemies))
        flown = jnp.where(gone, 0, begun + _ahead(enemies))
        target = (x + 16).astype(jnp.uint32)
        met = lives & ((enemies & cell == here) | (swum & cell == here))
        met |= (_get(enemies, Y) == y.astype(jnp.uint32)) & ((begun == target) | (flown == target))
        touched = jnp.any(met)

        shot = [jnp.where(flag, victim, -1) for flag, victim in zip(hits, victims, strict=True)]
        stays = there & (swum != 0) & (place != shot[0]) & (place != shot[1])
        wound = jnp.where(moves, _word(wait=wait + 1), 0) + jnp.where(
            phase == 0, _word(phase=ENEMY_SHOT_INTERVAL + 1), 0
        )
        alive = (swum & ~_mask(SHOT_X, SHOT)) + wound - _word(wait=1, phase=1)
        enemies = jnp.where(stays, alive, enemies & _mask(Y, HEADING)) | flown << SHOT_X[0]

        # Air. At 0 there was a last step: the original goes on to -1, which nobody can see.
        oxygen = _int(state.player, OXYGEN)
        diving = y > 0
        up = ~diving & (_get(state.player, SURFACED) == 0)
        surfaces = up & (divers != 0)
        rescue = surfaces & (divers == MAX_DIVERS)
        reward += jnp.where(rescue, oxygen // (MAX_OXYGEN // 10), 0)
        terminated = touched | (oxygen == 0) | up & (divers == 0)
        reached = SeaquestState(
            player=_word(
                x=x,
                y=y,
                there=1,
                heading=right,
                surfaced=~diving & (~up | surfaces),
                oxygen=jnp.where(surfaces, MAX_OXYGEN, jnp.maximum(oxygen - diving, 0)),
                ramp=ramp + (surfaces & (ramp < LAST_RAMP) & self.ramping),
            ),
            divers=jnp.where(rescue, -1, divers - surfaces),
            timers=_word(
                enemy_timer=enemy_timer,
                diver_timer=diver_timer,
                shot_timer=jnp.where(fires, SHOT_INTERVAL, jnp.maximum(shot_timer, 1)) - 1,
                entries=entries,
            ),
            bullets=bullets[0] | bullets[1] << 16,
            swimmers=swimmers[0] | swimmers[1] << 16,
            enemies=enemies,
        )
        return reached, Outcome(reward.astype(jnp.float32), terminated, jnp.bool_(False))

    def observe(self, state):
        # Words of a row each, which hold ten columns of up to three channels.
        rows = jnp.arange(SIZE, dtype=jnp.uint32)
        one = jnp.uint32(1)

        def bit(word):
            return one << _get(word, X)

        def behind(word):
            return jnp.where(_get(word, HEADING) == 1, bit(word) >> 1, bit(word) << 1) & _mask(
                (0, SIZE)
            )

        def at(word, bits):
            return jnp.where((rows == _get(word, Y)) & (_get(word, THERE) == 1), bits, 0)

        enemies = state.enemies
        body = bit(enemies) << jnp.where(
            _get(enemies, FISH) == 1, jnp.uint32(10), jnp.uint32(20)
        ) | behind(enemies)
        body = jnp.where(_get(enemies, THERE) == 1, body, 0)
        shot = _get(enemies, SHOT) << _get(enemies, SHOT_X)
        in_row = _get(enemies, Y) == rows[:, None]
        bodies, shots = jax.lax.reduce(
            (jnp.where(in_row, body, 0), jnp.where(in_row, shot, 0)),
            (jnp.uint32(0), jnp.uint32(0)),
            lambda a, b: (a[0] | b[0], a[1] | b[1]),
            (1,),
        )
        trails, divers = bodies, jnp.zeros_like(rows)
        for diver in _halves(state.swimmers):
            trails |= at(diver, behind(diver))
            divers |= at(diver, bit(diver))
        later, earlier = _halves(state.bullets)
        heading = _get(state.player, HEADING)
        air = (one << _get(state.player, OXYGEN) // (MAX_OXYGEN // 10)) - 1
        on_board = (one << 9) - (one << (9 - jnp.maximum(state.divers, 0)).astype(jnp.uint32))
        words = (
            at(state.player, bit(state.player)),
            at(
                state.player,
                jnp.where(heading == 1, bit(state.player) >> 1, bit(state.player) << 1),
            ),
            at(later, bit(later)) | at(earlier, bit(earlier)),
            trails,
            shots,
            bodies >> 10,
            bodies >> 20,
            jnp.where(rows == SIZE - 1, air, 0),
            jnp.where(rows == SIZE - 1, on_board, 0),
            divers,
        )
        return expand(jnp.stack(words, axis=-1))
