"""Seaquest: MinAtar's game step by step, with everything rare in it; its spawn laws;
the bounds that its state relies on."""

from collections import Counter
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from minatar.environments import seaquest as original
from scipy import stats

import purerl.random
from purerl.envs.minatar import seaquest, seaquest_state
from purerl.envs.minatar.base import DOWN, FIRE, LEFT, RIGHT, UP
from purerl.envs.minatar.seaquest import Seaquest
from tests import quick

LANES, STEPS = 48, 2100
GHOSTS = 24  # lanes in which death does not count, so that a board becomes as full as it can
SETTABLE = ("x", "y", "oxygen", "divers", "ramp", "surfaced")


class Step(NamedTuple):
    action: jax.Array
    draw: tuple
    reward: jax.Array
    terminated: jax.Array
    seen: jax.Array  # the observation reached, packed
    restarts: jax.Array  # whether there is a new start after it
    start: tuple  # the SETTABLE fields from which it goes on
    seen_next: jax.Array  # the observation from which it goes on, packed


def packed(observation):
    return jnp.packbits(observation.reshape(-1))


def get(state, name):
    """One number out of the packed state."""
    return (
        state.divers
        if name == "divers"
        else seaquest_state.get_int(state.player, getattr(seaquest_state, name.upper()))
    )


def put(state, **numbers):
    """The state with some of the player's numbers changed."""
    player = state.player
    for name, value in numbers.items():
        field = getattr(seaquest_state, name.upper())
        player = (
            player & ~seaquest_state.mask_of(field)
            | jnp.asarray(value).astype(jnp.uint32) << field[0]
        )
    return state._replace(player=player)


def policy(lane, key, state, observation):
    """Random play; or a diver hunt with fire, air in time and, where divers are owed,
    bobbing up and down."""
    x, y, oxygen, divers = (get(state, name) for name in ("x", "y", "oxygen", "divers"))
    words = jax.random.bits(key, (4,), jnp.uint32)
    anything = (words[0] % 6).astype(jnp.int32)
    diver = jnp.argmax(observation[..., 9].reshape(-1))
    above = jnp.where(observation[..., 9].any(), diver // 10, 4)
    for_air = (divers == 6) | (oxygen < 30) & (divers != 0) & (lane % 2 == 0)
    above = jnp.where(for_air, 0, above)
    across = jnp.where(diver % 10 > x, RIGHT, jnp.where(diver % 10 < x, LEFT, FIRE))
    upright = jnp.where(above > y, DOWN, jnp.where(above < y, UP, across))
    hunt = jnp.where(
        words[1] % 8 == 0,
        anything,
        jnp.where(words[1] % 8 < 3, FIRE, jnp.where(words[1] % 8 < 5, across, upright)),
    )
    hunt = jnp.where((y == 0) & ~for_air & (hunt == UP), DOWN, hunt)
    bob = jnp.where((words[2] % 16 == 0) | (divers >= 0), hunt, jnp.where(y == 0, DOWN, UP))
    return jnp.where(lane % 4 == 0, anything, jnp.where(lane % 4 == 1, bob, hunt))


def start(env, lane, key):
    """A plain reset in one lane of three; otherwise something late in the game."""
    state = env.reset(key)
    words = jax.random.bits(key, (5,), jnp.uint32).astype(jnp.int32)
    late = put(
        state._replace(divers=words[1] % 10 - 3),
        x=words[0] % 9 & 7,
        y=1 + (words[0] >> 8 & 7),
        ramp=jnp.where(env.ramping, jnp.where(lane % 2 == 0, 19, words[2] % 20), 0),
        oxygen=jnp.where(words[3] % 2 == 0, 200, 1 + words[3] % 30),
        surfaced=False,
    )
    return jax.tree.map(lambda a, b: jnp.where(lane % 3 == 0, a, b), state, late)


def play(lane, ramping):
    """One lane, as a scan of everything needed to replay it."""
    env = Seaquest(ramping=ramping)
    ghost = lane >= LANES - GHOSTS

    def settable(state):
        return tuple(get(state, name) for name in SETTABLE)

    def one(carry, t):
        state, shown, key = carry
        step_key, act_key, start_key = jax.random.split(jax.random.fold_in(key, t), 3)
        action = policy(lane, act_key, state, shown)
        reached, outcome = env.step(step_key, state, action)
        restarts = jnp.where(ghost, t % 400 == lane, outcome.terminated)
        oxygen = get(reached, "oxygen")
        alive = put(reached, oxygen=jnp.where(outcome.terminated & (oxygen == 0), 200, oxygen))
        following = jax.tree.map(
            lambda a, b: jnp.where(restarts, a, b), start(env, lane, start_key), alive
        )
        shown = env.observe(following)
        step = Step(
            action=action,
            draw=seaquest._draw(step_key),
            reward=outcome.reward,
            terminated=outcome.terminated,
            seen=packed(env.observe(reached)),
            restarts=restarts,
            start=settable(following),
            seen_next=packed(shown),
        )
        return (following, shown, key), step

    key = purerl.random.seed_key(0, lane)
    first = start(env, lane, key)
    _, steps = jax.lax.scan(one, (first, env.observe(first), key), jnp.arange(STEPS))
    return settable(first), steps


@cache
def recorded():
    ramping = jnp.arange(LANES) % 12 != 5
    record = quick.optimizing_jit(jax.vmap(play))(jnp.arange(LANES), ramping)
    return jax.tree.map(np.asarray, record), ramping


class Watched(list):
    """A list that reports what is removed from it."""

    def __init__(self, report):
        super().__init__()
        self.report = report

    def remove(self, item):
        self.report(self, item)
        super().remove(item)


class Script:
    """The original's random generator, which says what it is told to."""

    def __init__(self):
        self.words = []

    def rand(self):
        return 0.1 if self.words.pop(0) else 0.9

    def randint(self, low, high):
        assert (low, high) == (1, 9)
        return int(self.words.pop(0)) + 1


class Reference:
    """The original, driven by records of ours, and a count of what happened in it."""

    def __init__(self, ramping):
        self.env = original.Env(ramping=ramping)
        self.env.random = Script()
        self.seen = Counter()
        self.surface, self.env._surface = self.env._surface, self.surfaced

    def start(self, x, y, oxygen, divers, ramp, surfaced):
        env = self.env
        env.reset()
        for name in ("f_bullets", "e_bullets", "e_fish", "e_subs", "divers"):
            setattr(env, name, Watched(self.removed))
        env.sub_x, env.sub_y, env.oxygen, env.diver_count = int(x), int(y), int(oxygen), int(divers)
        env.surface, env.ramp_index = bool(surfaced), int(ramp)
        env.move_speed, env.e_spawn_speed = 5 - min(env.ramp_index // 2, 3), 20 - env.ramp_index

    def go_on(self):
        if self.env.terminal and self.env.oxygen <= 0:
            self.env.oxygen = 200
        self.env.terminal = False

    def surfaced(self):
        env, seen = self.env, self.seen
        divers, ramp = env.diver_count, env.ramp_index
        reward = self.surface()
        seen[
            "surfaced with "
            + ("less than none" if divers < 0 else "six" if divers == 6 else "some")
        ] += 1
        seen["rescue rewarded"] += reward > 0
        seen[f"ramp {env.ramp_index}" if env.ramp_index > ramp else "surfaced without ramp"] += 1
        return reward

    def removed(self, where, item):
        env, seen = self.env, self.seen
        name = next(name for name, value in vars(env).items() if value is where)
        seen[f"{name} off" if not 0 <= item[0] <= 9 else f"{name} out"] += 1
        if where[where.index(item)] is not item:
            seen["an equal one removed in its place"] += 1
        if name in ("e_fish", "e_subs") and 0 <= item[0] <= 9:
            seen[
                "swam into a bullet"
                if self.columns.get(id(item), item[0]) != item[0]
                else "caught by a bullet"
            ] += 1
            if sum(other[:2] == item[:2] for other in env.e_fish + env.e_subs) > 1:
                seen["one of several in a cell shot"] += 1

    def act(self, action, draw):
        env, seen = self.env, self.seen
        (right, is_submarine, row), (diver_right, diver_row) = draw
        env.random.words = []
        enemies = len(env.e_fish) + len(env.e_subs)
        if env.e_spawn_timer == 0:
            env.random.words += [right, is_submarine, row]
        if env.d_spawn_timer == 0:
            env.random.words += [diver_right, diver_row]
            seen["diver came in to the " + ("right" if diver_right else "left")] += 1
        spawns = env.e_spawn_timer == 0
        self.columns = (
            {id(enemy): enemy[0] for enemy in env.e_fish + env.e_subs}
            if env.f_bullets or action == FIRE
            else {}
        )
        airless = env.oxygen <= 0
        outs = seen["e_fish off"] + seen["e_subs off"] + seen["e_fish out"] + seen["e_subs out"]
        reward, terminal = env.act(action)
        assert not env.random.words
        outs = (
            seen["e_fish off"] + seen["e_subs off"] + seen["e_fish out"] + seen["e_subs out"] - outs
        )
        if spawns:
            came = len(env.e_fish) + len(env.e_subs) + outs - enemies
            seen[
                ("submarine" if is_submarine else "fish") + (" came in" if came else " stayed out")
            ] += 1
        seen["came up empty"] += env.sub_y == 0 and not env.surface
        seen["oxygen out"] += airless
        seen["terminal"] += terminal
        seen["two things in a step"] += reward > 1
        seen["diver passed by with six"] += (
            any(d[:2] == [env.sub_x, env.sub_y] for d in env.divers) and env.diver_count == 6
        )
        if terminal:
            for name, what in (
                ("bullet met", env.e_bullets),
                ("fish met", env.e_fish),
                ("submarine met", env.e_subs),
            ):
                seen[name] += any(thing[:2] == [env.sub_x, env.sub_y] for thing in what)
        sizes = {
            name: len(getattr(env, name))
            for name in ("f_bullets", "e_bullets", "e_fish", "e_subs", "divers")
        }
        sizes["enemies"] = sizes["e_fish"] + sizes["e_subs"]
        for name, size in sizes.items():
            if size > seen[f"most {name}"]:
                seen[f"most {name}"] = size
        return reward, terminal


@cache
def replayed():
    """The original along our records: differences, and the count of everything seen."""
    (first, steps), ramping = recorded()
    total = Counter()
    for lane in range(LANES):
        reference = Reference(bool(ramping[lane]))
        reference.start(*(value[lane] for value in first))
        seen, seen_next = steps.seen[lane], steps.seen_next[lane]
        draws = list(
            zip(
                *(np.asarray(leaf[lane]).tolist() for leaf in jax.tree.leaves(steps.draw)),
                strict=True,
            )
        )
        starts = list(zip(*(np.asarray(leaf[lane]).tolist() for leaf in steps.start), strict=True))
        actions, rewards = steps.action[lane].tolist(), steps.reward[lane].tolist()
        terminals, restarts = steps.terminated[lane].tolist(), steps.restarts[lane].tolist()
        for t in range(STEPS):
            draw = draws[t]
            reward, terminal = reference.act(actions[t], (draw[:3], draw[3:]))
            state = np.packbits(reference.env.state().reshape(-1))
            assert (reward, terminal) == (rewards[t], terminals[t]), (lane, t)
            assert state.tobytes() == seen[t].tobytes(), (lane, t)
            if restarts[t]:
                reference.start(*starts[t])
            else:
                reference.go_on()
            if restarts[t] or terminal:
                state = np.packbits(reference.env.state().reshape(-1))
                assert state.tobytes() == seen_next[t].tobytes(), (lane, t)
        for name, count in reference.seen.items():
            total[name] = (
                max(total[name], count) if name.startswith("most") else total[name] + count
            )
    return total


def test_equals_minatar_over_episodes():
    """100,800 steps from start to end and beyond, nothing but actions and chance in
    common."""
    seen = replayed()
    at_least = {
        "surfaced with six": 50,
        "rescue rewarded": 20,
        "surfaced with some": 50,
        "surfaced with less than none": 1000,
        "came up empty": 100,
        "oxygen out": 20,
        "surfaced without ramp": 100,
        **{f"ramp {ramp}": 10 for ramp in range(1, 20)},
        "divers out": 500,  # picked up
        "divers off": 100,
        "diver passed by with six": 10,
        "diver came in to the left": 1000,
        "diver came in to the right": 1000,
        "e_fish out": 300,  # shot
        "e_subs out": 100,
        "e_fish off": 1000,
        "e_subs off": 1000,
        "caught by a bullet": 300,
        "swam into a bullet": 50,
        "one of several in a cell shot": 10,
        "two things in a step": 50,
        "f_bullets off": 1000,
        "e_bullets off": 1000,
        "bullet met": 50,
        "fish met": 50,
        "submarine met": 50,
        "fish came in": 1000,
        "submarine came in": 1000,
        "fish stayed out": 1000,
        "submarine stayed out": 1000,
        "most divers": 2,
        "most f_bullets": 2,
        "most e_bullets": 5,
        "most enemies": 20,
    }
    assert {name: seen[name] for name in at_least if seen[name] < at_least[name]} == {}


# Boards put together by hand. ``draws`` stand in the place of keys.

FULL = [(1, 0, 3), (0, 1)]  # a fish to the right in row 4, a diver to the left in row 2


def word(**fields):
    """The fields of a word by name, in Python's numbers."""
    return np.uint32(
        sum(
            int(value) << getattr(seaquest_state, name.upper())[0] for name, value in fields.items()
        )
    )


def board(*, enemies=(), bullets=(), swimmers=(), divers=0, timers=(), **player):
    """A state of ours. Enemies are (x, y, right, fish, wait, phase), the eldest first;
    bullets and swimmers (x, y, right), the later first."""
    words = [
        word(x=x, y=y, there=1, heading=h, fish=fish, wait=wait, phase=phase)
        for x, y, h, fish, wait, phase in enemies
    ]
    pairs = [
        [word(x=x, y=y, there=1, heading=h) << 16 * i for i, (x, y, h) in enumerate(things)]
        for things in (bullets, swimmers)
    ]
    return seaquest_state.SeaquestState(
        player=word(**{"x": 5, "y": 4, "there": 1, "oxygen": 200, **player}),
        divers=np.int32(divers),
        timers=word(
            **{"enemy_timer": 20, "diver_timer": 30, "entries": len(words), **dict(timers)}
        ),
        bullets=np.uint32(sum(pairs[0])),
        swimmers=np.uint32(sum(pairs[1])),
        enemies=np.array(words + [0] * (32 - len(words)), np.uint32),
    )


def restored(state, seen):
    """The original in that state."""
    reference = Reference(True)
    reference.seen = seen
    word = {name: int(getattr(state, name)) for name in ("player", "timers", "bullets", "swimmers")}

    def read(word, *names):
        return [
            (word >> first) & ((1 << bits) - 1)
            for first, bits in (getattr(seaquest_state, name) for name in names)
        ]

    x, y, heading, surfaced, oxygen, ramp = read(
        word["player"], "X", "Y", "HEADING", "SURFACED", "OXYGEN", "RAMP"
    )
    reference.start(x, y, oxygen, state.divers, ramp, surfaced)
    env = reference.env
    env.sub_or = bool(heading)
    env.e_spawn_timer, env.d_spawn_timer, env.shot_timer, entries = read(
        word["timers"], "ENEMY_TIMER", "DIVER_TIMER", "SHOT_TIMER", "ENTRIES"
    )
    for half in (16, 0):
        for name, where in (("bullets", env.f_bullets), ("swimmers", env.divers)):
            ox, oy, there, right = read(word[name] >> half, "X", "Y", "THERE", "HEADING")
            if there:
                where += [
                    [ox, oy, bool(right)] + [(env.d_spawn_timer - 1) % 6] * (name == "swimmers")
                ]
    for i in range(32):
        enemy = int(state.enemies[(entries + i) % 32])
        ex, ey, there, right, fish, wait, phase = read(
            enemy, "X", "Y", "THERE", "HEADING", "FISH", "WAIT", "PHASE"
        )
        if there and fish:
            env.e_fish += [[ex, ey, bool(right), wait]]
        elif there:
            env.e_subs += [[ex, ey, bool(right), wait, phase]]
    return reference


@pytest.fixture(scope="module")
def compare():
    """Play boards on along actions and draws, and compare with the original: rewards,
    terminations, states, counts."""
    cases, length = 400, 40

    def run(state, actions, draws):
        env = Seaquest()

        def one(state, t):
            action, draw = t
            state, outcome = env.step(draw, state, action)
            return put(state, oxygen=jnp.maximum(get(state, "oxygen"), 1)), (
                outcome.reward,
                outcome.terminated,
                state,
                packed(env.observe(state)),
            )

        return jax.lax.scan(one, state, (actions, draws))[1]

    run = quick.optimizing_jit(jax.vmap(run))

    def compare(boards, actions, draws):
        seen = Counter()
        pad = cases - len(boards)
        states = jax.tree.map(lambda *leaves: np.stack(leaves), *boards, *[boards[0]] * pad)
        actions = np.array(
            [list(a) + [0] * (length - len(a)) for a in actions] + [[0] * length] * pad, np.int32
        )
        draws = np.array(
            [
                [[*enemy, *diver] for enemy, diver in d] + [[0] * 5] * (length - len(d))
                for d in draws
            ],
            np.uint32,
        )
        draws = np.concatenate([draws, np.zeros((pad, length, 5), np.uint32)])
        scripted = seaquest.Draw(
            enemy_right=draws[..., 0],
            enemy_is_submarine=draws[..., 1] == 1,
            enemy_row=draws[..., 2],
            diver_right=draws[..., 3],
            diver_row=draws[..., 4],
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(seaquest, "_draw", lambda draw: draw)
            rewards, terminated, after, shown = jax.tree.map(
                np.asarray, run(states, actions, scripted)
            )
        for case, state in enumerate(boards):
            reference = restored(state, seen)
            for t in range(length):
                draw = draws[case, t].tolist()
                result = reference.act(int(actions[case, t]), (draw[:3], draw[3:]))
                assert result == (rewards[case, t], terminated[case, t]), (case, t)
                assert (
                    np.packbits(reference.env.state().reshape(-1)).tobytes()
                    == shown[case, t].tobytes()
                ), (case, t)
                reference.env.terminal = False
                reference.env.oxygen = max(reference.env.oxygen, 1)
        return (
            rewards[: len(boards)],
            terminated[: len(boards)],
            jax.tree.map(lambda x: x[: len(boards)], after),
            seen,
        )

    return compare


def test_equals_minatar_on_crowded_boards(compare):
    """Adjacent bullets, pairs of divers and every mixture of waits. On some of these
    boards the original takes another, equal thing from a list than the one it means."""
    rng = np.random.default_rng(0)
    boards, actions, draws = [], [], []
    for _ in range(400):
        ramp = int(rng.integers(20))
        wait = 5 - min(ramp // 2, 3)
        headings = rng.random(9) < 0.5
        crowded = rng.integers(1, 9, 2)  # rows
        places = sorted(
            {
                (int(rng.choice(crowded)), int(rng.integers(10)), int(rng.integers(wait + 1)))
                for _ in range(22)
            },
            key=lambda p: p[2],
        )
        # The later bullet was shot ``since`` steps ago, the one before it 5 steps
        # earlier by a player that followed it.
        right, since = bool(rng.integers(2)), int(rng.integers(4))
        earlier = int(rng.integers(6 + since, 10))
        x, y = earlier - 1 - int(rng.integers(1, 4)), int(rng.choice([*crowded, rng.integers(9)]))
        bullets = [(earlier - 1, y, right), (earlier, y, right)]
        if not right:
            x, bullets = 9 - x, [(9 - column, y, right) for column, y, right in bullets]
        enemies = [
            (ex, ey, headings[ey], rng.random() < 0.6, w, int(rng.integers(11)))
            for ey, ex, w in places
            if (ex, ey) != (x, y)
        ]
        timer = int(rng.integers(30))
        age = (30 - timer) // 6
        swimmers = [
            (age if h else 9 - age, int(rng.choice([y or 1, *crowded])), h)
            for h in [bool(rng.integers(2))]
        ]
        if age + 5 <= 9:
            h = bool(rng.integers(2))
            swimmers.append((age + 5 if h else 4 - age, swimmers[0][1], h))
        boards.append(
            board(
                enemies=enemies,
                bullets=bullets,
                swimmers=swimmers,
                x=x,
                y=y,
                heading=right,
                oxygen=int(rng.integers(1, 201)),
                divers=int(rng.integers(-2, 7)),
                ramp=ramp,
                timers={"enemy_timer": 30, "diver_timer": timer, "shot_timer": 4 - since},
            )
        )
        actions.append(rng.choice(6, size=40, p=[0.1, 0.15, 0.15, 0.15, 0.15, 0.3]).tolist())
        draws.append(
            [[rng.integers([2, 2, 8]).tolist(), rng.integers([2, 8]).tolist()] for _ in range(40)]
        )
    _, _, _, seen = compare(boards, actions, draws)
    assert seen["one of several in a cell shot"] > 60
    assert seen["an equal one removed in its place"] > 5
    assert seen["two things in a step"] > 60
    assert seen["swam into a bullet"] > 25
    assert seen["most enemies"] >= 20


def test_twenty_nine_enemies_in_one_row(compare):
    """At ramp 19 an enemy comes in in every step: none of them is lost from the 32
    places."""
    state = board(x=9, y=1, heading=True, ramp=19, timers={"enemy_timer": 0})
    _, _, after, seen = compare([state], [[0] * 40], [[FULL] * 40])
    assert seen["most enemies"] == 29
    there = np.bitwise_count(np.bitwise_and(after.enemies[0] >> seaquest_state.THERE[0], 1)).sum(-1)
    assert there.max() == there[-1] == 29


def test_diver_count_after_a_rescue_is_minus_one(compare):
    """So that one may come up at will for air; the next diver but one makes coming up
    deadly again."""
    state = board(y=1, divers=6, oxygen=137)
    rewards, terminated, after, seen = compare([state], [[UP, DOWN, UP, DOWN, UP]], [[]])
    assert rewards[0, :5].tolist() == [6, 0, 0, 0, 0]
    assert after.divers[0, :5].tolist() == [-1, -1, -2, -2, -3]
    assert get(after, "oxygen")[0, :5].tolist() == [200, 199, 200, 199, 200]
    assert get(after, "ramp")[0, :5].tolist() == [1, 1, 2, 2, 3]
    assert not terminated.any()
    assert seen["surfaced with six"] == 1 and seen["surfaced with less than none"] == 2


def test_coming_up_sets_one_diver_down_and_none_is_death(compare):
    boards = [board(y=1, divers=divers, oxygen=10) for divers in (0, 1, 5)]
    rewards, terminated, after, _ = compare(boards, [[UP, DOWN, UP]] * 3, [[]] * 3)
    assert not rewards.any()
    assert terminated[:, :3].tolist() == [
        [True, False, True],
        [False, False, True],
        [False, False, False],
    ]
    assert after.divers[:, :3].tolist() == [[0, 0, 0], [0, 0, 0], [4, 4, 3]]


def test_oxygen_never_shows_below_zero(compare):
    """At 0 there is one step left, and coming up in it does not help."""
    boards = [board(y=4, oxygen=1, divers=1), board(y=1, oxygen=0, divers=6)]
    rewards, terminated, after, _ = compare(boards, [[0, 0, 0], [UP]], [[], []])
    assert terminated[0, :1].tolist() == [False] and terminated[1, 0] and rewards[1, 0] == 0
    assert get(after, "oxygen")[0, 0] == 0 and get(after, "oxygen")[1, 0] == 200


# What the state relies on.


def test_nobody_catches_up_and_thirty_places_are_enough():
    """Over all times at which a player could come up, by exhaustion: no two enemies of
    one row ever wait equally long in one column, and an enemy and those who have come
    in after it are never more than 30."""

    def moved(enemy, speed):
        column, wait = enemy
        return (column + 1, speed) if wait == 0 else (column, wait - 1)

    # (elder, younger or None, ramp, steps to the next entry, steps since coming up,
    # entries since the elder's)
    frontier = {((0, 5 - min(ramp // 2, 3)), None, ramp, 20 - ramp, 2, 1) for ramp in range(20)}
    most, known = 0, set(frontier)
    while frontier:
        following = set()
        for elder, younger, ramp, timer, dived, entries in frontier:
            speed = 5 - min(ramp // 2, 3)
            most = max(most, entries)
            elder, younger = moved(elder, speed), younger and moved(younger, speed)
            assert elder != younger
            if elder[0] == 10:
                continue
            for up in (False, True)[: 1 + (dived >= 1)]:
                later = min(ramp + up, 19)
                since = 0 if up else min(dived + 1, 1)
                # An entry at the start of the next step: nobody, somebody else, or the
                # younger one that is looked at.
                if timer > 1:
                    nexts = [(elder, younger, later, timer - 1, since, entries)]
                else:
                    nexts = [(elder, younger, later, 20 - later, since, entries + 1)]
                    if younger is None:
                        nexts.append(
                            (
                                elder,
                                (0, 5 - min(later // 2, 3)),
                                later,
                                20 - later,
                                since,
                                entries + 1,
                            )
                        )
                following.update(state for state in nexts if state not in known)
        known |= following
        frontier = following
    assert most == 30


def test_who_comes_in_follows_the_law():
    """Kind, heading and row of an enemy, heading and row of a diver: jointly as they
    should be."""
    env = Seaquest()
    state = board(timers={"enemy_timer": 0, "diver_timer": 0}, x=5, y=8)

    def drawn(key):
        after, _ = env.step(key, state, 0)
        enemy, diver = after.enemies[0], after.swimmers
        y, right, fish = (
            seaquest_state.get(enemy, field)
            for field in (seaquest_state.Y, seaquest_state.HEADING, seaquest_state.FISH)
        )
        return jnp.stack(
            [
                fish,
                right,
                y - 1,
                seaquest_state.get(diver, seaquest_state.HEADING),
                seaquest_state.get(diver, seaquest_state.Y) - 1,
            ]
        )

    draws = quick.optimizing_jit(jax.vmap(drawn))(jax.random.split(purerl.random.key(7), 2**17))
    counts, _ = np.histogramdd(
        np.asarray(draws), bins=[np.arange(n + 1) - 0.5 for n in (2, 2, 8, 2, 8)]
    )
    law = np.array([1 / 3, 2 / 3])[:, None, None, None, None] * np.full((2, 2, 8, 2, 8), 1 / 256)
    assert stats.chisquare(counts.reshape(-1), law.reshape(-1) * 2**17).pvalue > 1e-4


# The rest of the contract.


def test_contract():
    env = Seaquest()
    state = env.reset(purerl.random.key(0))
    assert env.num_actions == 6 and env.MINIMAL == (0, 1, 2, 3, 4, 5)
    assert (
        jax.eval_shape(env.observe, state)
        == env.observation
        == jax.ShapeDtypeStruct((10, 10, 10), jnp.bool_)
    )
    after, outcome = jax.eval_shape(env.step, purerl.random.key(0), state, 0)
    assert after == jax.eval_shape(env.reset, purerl.random.key(0))
    assert outcome.reward.dtype == jnp.float32
    reference = original.Env()
    np.testing.assert_array_equal(env.observe(state), reference.state())
    assert list(env.CHANNELS) != sorted(env.CHANNELS) and len(env.CHANNELS) == len(
        env.COLORS
    ) == len(reference.channels)
    picture = env.render(board(enemies=[(3, 3, True, True, 1, 1)], swimmers=[(5, 5, True)]))
    assert picture.dtype == np.uint8 and picture.ndim == 3


@pytest.mark.parametrize("wrong", [0.5, -1.0])
def test_wrong_ramping_is_refused(wrong):
    with pytest.raises(ValueError, match=f"ramping is {wrong}; allowed: True or False"):
        Seaquest(ramping=wrong)
