"""Classic control: equal to Gymnasium's over 100,000 steps each, and with each of its
numbers changed.

Gymnasium goes first. Its steps are recorded and ours are taken from the same states,
all at once: rounding cannot add up, so that a difference of 1e-12 shows even in what is
chaotic.
"""

import dataclasses
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.envs.classic_control import continuous_mountain_car

from purerl.envs import classic
from purerl.envs.classic import Acrobot, CartPole, MountainCar, MountainCarContinuous, Pendulum
from tests import quick

NUM_STEPS = 100_000
pytestmark = pytest.mark.filterwarnings("ignore:.*precision lowered by casting")


class Case(NamedTuple):
    env: Any
    state: type
    name: str
    policy: Callable  # (state, random number in [0, 1)) -> action
    wild: tuple  # half the width of the box that starts off the beaten track are drawn from
    covered: Callable  # records -> {rare thing: how often}
    leaves: dict = {}  # noqa: RUF012  ours: Gymnasium's name, where they differ
    float32: float = 1e-5


def cartpole(r):
    x, _, theta, _ = r.after.T
    ends = {
        "left": x < -2.4,
        "right": x > 2.4,
        "tips left": theta < -0.2095,
        "tips right": theta > 0.2095,
    }
    return {name: np.sum(hit & r.terminated) for name, hit in ends.items()}


def mountain_car(r):
    position, velocity = r.after.T
    return {
        "goal": np.sum(r.terminated),
        "wall": np.sum((position == -1.2) & (velocity == 0)),
        "out of the wall": np.sum((position == -1.2) & (velocity > 0)),
        "too far": np.sum(position == 0.6),
        "too fast": np.sum(np.abs(velocity) == 0.07),
        "over the goal backwards": np.sum((position >= 0.5) & (velocity < 0) & ~r.terminated),
    }


def acrobot(r):
    turned = np.abs(r.after[:, :2] - r.before[:, :2]) > np.pi
    return {
        "goal": np.sum(r.terminated),
        "wraps 1": np.sum(turned[:, 0]),
        "wraps 2": np.sum(turned[:, 1]),
        "too fast 1": np.sum(np.abs(r.after[:, 2]) == 4 * np.pi),
        "too fast 2": np.sum(np.abs(r.after[:, 3]) == 9 * np.pi),
    }


def pendulum(r):
    return {
        "too fast": np.sum(np.abs(r.after[:, 1]) == 8),
        "turned": np.sum(np.abs(r.before[:, 0]) > np.pi),
        "turned twice": np.sum(np.abs(r.before[:, 0]) > 3 * np.pi),
        "too strong": np.sum(np.abs(r.action) > 2),
    }


def forced(r):
    return mountain_car(r) | {"too strong": np.sum(np.abs(r.action) > 1)}


CASES = {
    "CartPole": Case(
        env=CartPole(),
        state=classic.CartPoleState,
        name="CartPole-v1",
        policy=lambda s, u: (
            int(3 * s[2] + s[3] + 0.3 * s[0] + 0.5 * s[1] > 0) if u < 0.6 else int(u < 0.8)
        ),
        wild=(2.39, 6, 0.2, 4),
        covered=cartpole,
        leaves={"theta_threshold": "theta_threshold_radians"},
    ),
    "MountainCar": Case(
        env=MountainCar(),
        state=classic.MountainCarState,
        name="MountainCar-v0",
        policy=lambda s, u: (2 if s[1] > 0 else 0) if u < 0.7 else int(u * 10) - 7,
        wild=(1.5, 0.07),
        covered=mountain_car,
    ),
    "MountainCarContinuous": Case(
        env=MountainCarContinuous(),
        state=classic.MountainCarState,
        name="MountainCarContinuous-v0",
        policy=lambda s, u: np.array(
            [(1.5 if s[1] > 0 else -1.5) * u if u < 0.9 else 30 * (u - 0.95)]
        ),
        wild=(1.5, 0.07),
        covered=forced,
        float32=1e-4,  # squares of forces
    ),
    "Acrobot": Case(
        env=Acrobot(),
        state=classic.AcrobotState,
        name="Acrobot-v1",
        policy=lambda s, u: (2 if s[2] < 0 else 0) if u < 0.8 else int(u * 15) - 12,
        wild=(np.pi, np.pi, 12.5, 28),
        covered=acrobot,
        leaves={
            **{
                field: field.upper()
                for field in ("link_length_1", "link_length_2", "link_mass_1", "link_mass_2")
            },
            **{
                field: field.upper()
                for field in (
                    "link_com_pos_1",
                    "link_com_pos_2",
                    "link_moi",
                    "max_vel_1",
                    "max_vel_2",
                )
            },
            "tau": "dt",
        },
        float32=2e-4,
    ),
    "Pendulum": Case(
        env=Pendulum(),
        state=classic.PendulumState,
        name="Pendulum-v1",
        policy=lambda s, u: np.array([(2.5 if s[1] > 0 else -2.5) if u < 0.7 else 20 * (u - 0.85)]),
        wild=(12, 8),
        covered=pendulum,
        leaves={"tau": "dt", "gravity": "g", "mass": "m", "length": "l"},
        float32=5e-5,  # squares of angles that have turned twice
    ),
}


class Records(NamedTuple):
    before: np.ndarray
    action: np.ndarray
    after: np.ndarray
    observation: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray


def reference_of(case):
    """Gymnasium's, without its order enforcement and checks of observations."""
    env = gymnasium.make(case.name).unwrapped
    env.reset(seed=0)
    return env


def take(env, state, action):
    """One step of Gymnasium's from a state."""
    env.state = np.array(state, np.float64)
    env.steps_beyond_terminated = None
    observation, reward, terminated, _, _ = env.step(action)
    return observation, reward, terminated, np.array(env.state, np.float64)


def record(case, num_steps):
    """Episodes of a policy that gets somewhere, each to its end or 150 steps; every
    other one starts off the beaten track."""
    rng = np.random.default_rng(0)
    env = reference_of(case)
    numbers, rows, episode, steps = rng.random(num_steps).tolist(), [], 0, 0
    for u in numbers:
        before = env.state
        action = case.policy(before, u)
        observation, reward, terminated, _, _ = env.step(action)
        rows.append((before, action, env.state, observation, reward, terminated))
        steps += 1
        if terminated or steps == (150 if episode % 2 == 0 else 20):
            episode, steps = episode + 1, 0
            env.reset()
            if episode % 2 == 1:
                env.state = rng.uniform(-1, 1, len(case.wild)) * case.wild
    return Records(*(np.array(column) for column in zip(*rows, strict=True)))


@pytest.fixture(scope="module", autouse=True)
def unrounded():
    """MountainCarContinuous rounds its state to float32 after each step; here it does
    not."""
    in_float64 = types.SimpleNamespace(
        array=lambda x, dtype=None: np.array(x, np.float64), float32=np.float32
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(continuous_mountain_car, "np", in_float64)
        yield


@pytest.fixture(scope="module", params=CASES)
def recorded(request):
    case = CASES[request.param]
    return case, record(case, NUM_STEPS)


def ours(case, records, dtype):
    """The same steps: states and observations [N, .], rewards and terminated [N]."""

    def one(state, action):
        state, outcome = case.env.step(jax.random.key(0), case.state(*state), action)
        return jnp.stack(state), case.env.observe(state), outcome.reward, outcome.terminated

    action = records.action if records.action.ndim == 1 else records.action.astype(dtype)
    return map(
        np.asarray, quick.optimizing_jit(jax.vmap(one))(records.before.astype(dtype), action)
    )


def difference(case, a, b):
    """Of states, ``|a - b|``; Acrobot's angles, which must be wrapped, round the
    circle."""
    apart = a - b
    if isinstance(case.env, Acrobot):
        assert np.abs(a[:, :2]).max() <= np.pi + 1e-6
        apart[:, :2] = (apart[:, :2] + np.pi) % (2 * np.pi) - np.pi
    return np.abs(apart)


def test_equals_gymnasium_under_x64(recorded):
    case, theirs = recorded
    with jax.enable_x64(True):
        assert case.env.observation.dtype == jnp.float64
        state, observation, reward, terminated = ours(case, theirs, np.float64)
    assert len(state) == NUM_STEPS
    assert state.dtype == observation.dtype == np.float64
    scale = np.maximum(1, np.abs(theirs.before).max(axis=1, keepdims=True))  # rates reach 28
    assert (difference(case, state, theirs.after) / scale).max() < 1e-12
    np.testing.assert_allclose(
        observation, theirs.observation, rtol=1e-6, atol=1e-7
    )  # theirs is float32
    np.testing.assert_allclose(reward, theirs.reward, rtol=1e-6, atol=1e-7)  # ours is float32
    np.testing.assert_array_equal(terminated, theirs.terminated)


def test_equals_gymnasium_in_float32(recorded):
    """To rounding; where that decides on which side of a border a step ends, it may be
    the other."""
    case, theirs = recorded
    state, observation, reward, terminated = ours(case, theirs, np.float32)
    assert state.dtype == observation.dtype == np.float32
    near = (difference(case, state, theirs.after) < case.float32).all(axis=1)
    near &= (np.abs(observation - theirs.observation) < case.float32).all(axis=1)
    near &= np.abs(reward - theirs.reward) < case.float32
    near &= terminated == theirs.terminated
    assert np.sum(~near) <= 5


def test_rare_things_were_covered(recorded):
    case, theirs = recorded
    counts = case.covered(theirs)
    assert min(counts.values()) >= 10, counts


def lanes(env, leaves):
    """One environment a leaf and value, stacked, and which."""
    changed = [
        (leaf, getattr(env, leaf) * factor + shift)
        for leaf in leaves
        for factor, shift in ((0.5, 0), (1.25, 0.01), (1, 0.1))
    ]
    envs = [env.replace(**{leaf: value}) for leaf, value in changed]
    return jax.tree.map(lambda *xs: jnp.array(xs), *envs), changed


@pytest.mark.parametrize("name", CASES)
def test_every_leaf_sweeps(name):
    """vmap over environments that differ in one number each equals Gymnasium with that
    number changed."""
    case = CASES[name]
    rng = np.random.default_rng(0)
    starts = rng.uniform(-1.3, 1.3, (24, len(case.wild))) * case.wild
    actions = [
        case.policy(start, u) for start, u in zip(starts, np.linspace(0, 0.999, 24), strict=True)
    ]
    # What Gymnasium has no name for: gravity of two, the goal and unit lengths in
    # Acrobot's.
    constants = {
        "MountainCarContinuous": ["gravity"],
        "Acrobot": ["gravity", "torque", "target_height", "torque_noise_max"],
    }
    leaves = [
        field.name
        for field in dataclasses.fields(case.env)
        if field.metadata.get("pytree_node", True) and field.name not in constants.get(name, [])
    ]
    with jax.enable_x64(True):
        envs, changed = lanes(case.env, leaves)

        def one(env, start, action):
            state, outcome = env.step(jax.random.key(0), case.state(*start), action)
            return jnp.stack(state), outcome.reward, outcome.terminated

        over_starts = jax.vmap(one, (None, 0, 0))
        states, rewards, ends = map(
            np.asarray,
            quick.optimizing_jit(jax.vmap(over_starts, (0, None, None)))(
                envs, starts, np.array(actions)
            ),
        )

    mattered = set()
    default = [
        take(reference_of(case), start, action)
        for start, action in zip(starts, actions, strict=True)
    ]
    for i, (leaf, value) in enumerate(changed):
        env = reference_of(case)
        setattr(env, case.leaves.get(leaf, leaf), value)
        if isinstance(case.env, CartPole):  # derived numbers, brought up to date
            env.total_mass, env.polemass_length = (
                env.masscart + env.masspole,
                env.masspole * env.length,
            )
        theirs = [take(env, start, action) for start, action in zip(starts, actions, strict=True)]
        assert difference(case, states[i], np.array([row[3] for row in theirs])).max() < 1e-11, leaf
        if "link_length" in leaf:  # of which its goal knows nothing
            lengths = [value if leaf == f"link_length_{j}" else 1 for j in (1, 2)]
            angle = states[i, :, 0], states[i, :, 0] + states[i, :, 1]
            height = -lengths[0] * np.cos(angle[0]) - lengths[1] * np.cos(angle[1])
            np.testing.assert_array_equal(ends[i], height > 1)
        else:
            np.testing.assert_allclose(
                rewards[i], [row[1] for row in theirs], rtol=1e-6, err_msg=leaf
            )
            np.testing.assert_array_equal(ends[i], [row[2] for row in theirs], err_msg=leaf)
        if any(
            not np.array_equal(a[3], b[3]) or a[1:3] != b[1:3]
            for a, b in zip(theirs, default, strict=True)
        ):
            mattered.add(leaf)
    assert mattered == set(leaves) - {"link_length_2"}


def test_numbers_are_gymnasiums():
    for case in CASES.values():
        env = reference_of(case)
        for field in dataclasses.fields(case.env):
            theirs = getattr(env, case.leaves.get(field.name, field.name), None)
            assert theirs in (None, getattr(case.env, field.name)), field.name
    assert (Acrobot().torque, Acrobot().gravity, Acrobot().target_height) == (1, 9.8, 1)


def test_acrobots_dynamics_of_the_paper():
    case = CASES["Acrobot"]
    env = reference_of(case)
    env.book_or_nips = "nips"
    starts = np.random.default_rng(0).uniform(-1, 1, (500, 4)) * case.wild
    theirs = np.array([take(env, start, i % 3)[3] for i, start in enumerate(starts)])

    def reached(env):
        over = jax.vmap(
            lambda start, action: jnp.stack(env.step(None, classic.AcrobotState(*start), action)[0])
        )
        return np.asarray(quick.optimizing_jit(over)(starts, np.arange(500) % 3))

    with jax.enable_x64(True):
        nips, book = reached(Acrobot(dynamics="nips")), reached(Acrobot(dynamics="book"))
    assert difference(case, nips, theirs).max() < 1e-11
    assert difference(case, book, theirs).max() > 1


def test_cartpoles_reward_of_sutton_and_barto():
    env = gymnasium.make("CartPole-v1", sutton_barto_reward=True).unwrapped
    env.reset(seed=0)
    starts = np.random.default_rng(0).uniform(-1, 1, (1000, 4)) * [2.5, 6, 0.22, 4]
    theirs = [take(env, start, i % 2)[1:3] for i, start in enumerate(starts)]
    ours = CartPole(sutton_barto_reward=True)
    _, outcome = quick.optimizing_jit(
        jax.vmap(lambda s, a: ours.step(None, classic.CartPoleState(*s), a))
    )(starts, np.arange(1000) % 2)
    np.testing.assert_array_equal(np.stack([outcome.reward, outcome.terminated], 1), theirs)
    assert set(np.asarray(outcome.reward).tolist()) == {-1.0, 0.0}
    assert outcome.reward.dtype == jnp.float32
