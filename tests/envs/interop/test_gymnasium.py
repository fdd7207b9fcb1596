"""Gymnasium: its checker is content, what it sees is what purerl does, and many
environments are as many single ones."""

import warnings
from typing import NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics

import purerl
import purerl.random
from purerl.envs import (
    CartPole,
    FiniteEnvironment,
    Flatten,
    FrameStack,
    ObservationNormalize,
    OneHot,
    Outcome,
    Pendulum,
    TimeLimit,
    restart,
)
from purerl.envs.interop import from_gymnasium, to_gymnasium, to_gymnasium_vector
from purerl.pytree import Node, static
from tests import quick

CART, LAKE = TimeLimit(CartPole(), 15), TimeLimit(purerl.make("FrozenLake-v1").env, 5)


class Episodes(NamedTuple):
    number: jax.Array
    time: jax.Array


class Counter(Node):
    """Counts its episodes, which it remembers, and its steps, of which the third
    terminates; shows both in some dtype."""

    dtype: str = static(default="int32")

    num_actions = 2

    @property
    def observation(self):
        return jax.ShapeDtypeStruct((2,), jnp.dtype(self.dtype))

    def reset(self, key):
        return Episodes(jnp.int32(0), jnp.int32(0))

    def restart(self, key, reached):
        return Episodes(reached.number + 1, jnp.int32(0))

    def step(self, key, state, action):
        state = state._replace(time=state.time + 1)
        return state, Outcome(jnp.float32(state.time), state.time == 3, jnp.bool_(False))

    def observe(self, state):
        return jnp.stack(state).astype(self.dtype)

    def render(self, state):
        return np.full((4, 6, 3), int(state.time), np.uint8)


# ---- one environment ---------------------------------------------------------


@pytest.mark.parametrize(
    "env",
    [LAKE, *map(Counter, ("bool", "uint8", "float32"))],
    ids=["lake", "bool", "uint8", "float32"],
)
def test_gymnasiums_checker_is_content(env):
    name = "purerl-checked-v0"
    gymnasium.register(name, lambda render_mode=None: to_gymnasium(env, render_mode))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            # A Box without bounds is all that can be said of a float.
            warnings.filterwarnings(
                "ignore", message=".*Box observation space m.*imum value is -?infinity"
            )
            check_env(
                gymnasium.make(name, render_mode="rgb_array", disable_env_checker=True).unwrapped
            )
    finally:
        del gymnasium.registry[name]


@pytest.mark.parametrize("env", [CART, LAKE], ids=["cart", "lake"])
def test_what_it_yields_is_what_purerl_does_with_the_keys_it_names(env):
    there = to_gymnasium(env)
    key = purerl.random.key(7)
    again = quick.optimizing_jit(
        lambda env, n, state: restart(env, jax.random.fold_in(key, n), state)
    )
    step = quick.optimizing_jit(
        lambda env, n, state, action: env.step(jax.random.fold_in(key, n), state, action)
    )
    state, n, ends = env.reset(jax.random.fold_in(key, 0)), 1, []
    observation, _ = there.reset(seed=7)
    np.testing.assert_array_equal(observation, env.observe(state))
    for action in np.random.default_rng(0).integers(env.num_actions, size=200):
        state, outcome = step(env, n, state, np.int32(action))
        observation, *rest, info = there.step(action)
        np.testing.assert_allclose(observation, env.observe(state), rtol=1e-5, atol=1e-6)
        assert (
            rest == [float(outcome.reward), bool(outcome.terminated), bool(outcome.truncated)]
            and info == {}
        )
        n += 1
        if rest[1] or rest[2]:
            ends.append(rest[1])
            state, n = again(env, n, state), n + 1
            np.testing.assert_array_equal(there.reset()[0], env.observe(state))
    assert ends.count(True) > 3 and ends.count(False) > 3


def test_types_are_those_that_gymnasium_code_expects():
    lake, cart, counter = map(to_gymnasium, (LAKE, CART, Counter("uint8")))
    assert lake.observation_space == spaces.Discrete(16) and lake.action_space == spaces.Discrete(4)
    assert type(lake.reset(seed=0)[0]) is int  # may be the key of a dictionary
    observation, reward, terminated, truncated, _ = lake.step(np.int64(2))
    assert [type(x) for x in (observation, reward, terminated, truncated)] == [
        int,
        float,
        bool,
        bool,
    ]
    for env, dtype, low in [(cart, np.float32, -np.inf), (counter, np.uint8, 0)]:
        observation, _ = env.reset(seed=0)
        assert (
            isinstance(env.observation_space, spaces.Box) and env.observation_space.low.min() == low
        )
        assert (
            observation.dtype
            == env.observation_space.dtype
            == env.source.observation.dtype
            == dtype
        )
        assert observation in env.observation_space
        observation += 1  # it may be written to


def test_unseeded_resets_keep_what_is_remembered_and_seeded_ones_do_not():
    env = to_gymnasium(Counter())
    for number in range(3):
        assert env.reset()[0].tolist() == [number, 0]
    assert env.reset(seed=0)[0].tolist() == [0, 0]
    assert env.reset()[0].tolist() == [1, 0]


def test_seeds():
    env, other = to_gymnasium(CART), to_gymnasium(CART)
    first = env.reset(seed=3)[0]
    np.testing.assert_array_equal(first, other.reset(seed=3)[0])
    np.testing.assert_array_equal(first, other.reset(seed=2**32 + 3)[0])
    assert not np.array_equal(first, env.reset()[0]) and not np.array_equal(
        first, env.reset(seed=4)[0]
    )
    fresh = [to_gymnasium(CART).reset()[0] for _ in range(2)]
    assert not np.array_equal(*fresh)


def test_a_model_makes_environments_of_one_kind():
    """From Gymnasium's table to purerl, and back: the same spaces, and it compiles once
    for all of its kind."""
    theirs = gymnasium.make("FrozenLake-v1", is_slippery=False)
    env = to_gymnasium(TimeLimit(FiniteEnvironment.of(from_gymnasium(theirs)), 100))
    assert (env.observation_space, env.action_space) == (
        theirs.observation_space,
        theirs.action_space,
    )
    theirs.reset(seed=0)
    env.reset(seed=0)
    for action in [2, 2, 1, 1, 1, 2]:  # the way to the goal
        step = env.step(action)
        assert step == (*theirs.step(action)[:4], {})
    assert step[:3] == (15, 1.0, True)


def test_pictures():
    env = to_gymnasium(Counter(), render_mode="rgb_array")
    env.reset(seed=0)
    env.step(1)
    assert env.render().tolist() == np.ones((4, 6, 3)).tolist() and env.render().dtype == np.uint8
    assert env.render_mode in env.metadata["render_modes"]
    silent = to_gymnasium(Counter())
    silent.reset(seed=0)
    assert silent.render() is None


CONTROL = ["CartPole-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Acrobot-v1", "Pendulum-v1"]


@pytest.mark.parametrize("name", CONTROL)
def test_bounds_are_those_that_gymnasium_declares(name):
    ours = to_gymnasium(purerl.make(name)).observation_space
    theirs = gymnasium.make(name).observation_space
    np.testing.assert_allclose(ours.low, theirs.low, rtol=1e-6)
    np.testing.assert_allclose(ours.high, theirs.high, rtol=1e-6)


@pytest.mark.parametrize(
    ("wrap", "low", "high"),
    [
        (lambda env: OneHot(env, 16), 0, 1),
        (lambda env: Flatten(OneHot(env, 16)), 0, 1),
        (lambda env: FrameStack(OneHot(env, 16), 2), 0, 1),
        (lambda env: ObservationNormalize(OneHot(env, 16), clip=3.0), -3, 3),
        (lambda env: Flatten(env), -(2**31), 2**31 - 1),
    ],
)
def test_bounds_under_wrappers(wrap, low, high):
    space = to_gymnasium(wrap(purerl.make("FrozenLake-v1"))).observation_space
    assert (space.low == low).all() and (space.high == high).all()


@pytest.mark.parametrize("adapt", [to_gymnasium, lambda env: to_gymnasium_vector(env, 2)])
def test_what_is_no_environment_is_refused(adapt):
    for env in ("CartPole-v1", CartPole, gymnasium.make("CartPole-v1"), Pendulum(), None):
        with pytest.raises(ValueError, match=r"^to_gymnasium.*: env is .*; allowed") as error:
            adapt(env)
        assert len(str(error.value)) < 300


def test_wrong_use_is_refused():
    with pytest.raises(ValueError, match="render_mode is 'human'; allowed: None, 'rgb_array'"):
        to_gymnasium(CART, render_mode="human")
    env = to_gymnasium(CART)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(0)
    env.reset(seed=0)
    for action in (2, -1, 0.5, None):
        with pytest.raises(ValueError, match=r"allowed: an integer in \[0, 2\)"):
            env.step(action)


def q_learning(env, num_steps, rng):
    """Tabular Q-learning as one writes it for Gymnasium."""
    q = np.zeros((env.observation_space.n, env.action_space.n))
    observation, _ = env.reset(seed=0)
    for _ in range(num_steps):
        action = rng.integers(env.action_space.n) if rng.random() < 0.5 else q[observation].argmax()
        reached, reward, terminated, truncated, _ = env.step(action)
        q[observation, action] += 0.5 * (
            reward + 0.9 * (1 - terminated) * q[reached].max() - q[observation, action]
        )
        observation = env.reset()[0] if terminated or truncated else reached
    return q


def test_q_learning_finds_the_optimal_policy():
    home = purerl.make("Grid2x3-v0")
    q = q_learning(to_gymnasium(home), 600, np.random.default_rng(0))
    optimal = purerl.mdp.optimal_q(home.mdp, 0.9)
    for cell in (0, 1, 3, 4):
        np.testing.assert_allclose(
            [q[cell].max(), optimal[cell, q[cell].argmax()]], optimal[cell].max(), atol=1e-3
        )


# ---- many --------------------------------------------------------------------


def assert_same(ours, theirs):
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for name in ours:
            assert_same(ours[name], theirs[name])
    elif isinstance(ours, tuple) or (isinstance(ours, np.ndarray) and ours.dtype.kind == "O"):
        assert type(ours) is type(theirs)
        for a, b in zip(ours, theirs, strict=True):
            assert_same(a, b)
    elif ours is None or theirs is None:
        assert ours is theirs
    else:
        assert np.asarray(ours).dtype == np.asarray(theirs).dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("env", "mode"),
    [
        (CART, AutoresetMode.NEXT_STEP),
        (LAKE, AutoresetMode.SAME_STEP),
        (Counter(), AutoresetMode.NEXT_STEP),
    ],
    ids=["cart-next_step", "lake-same_step", "counter-next_step"],
)
def test_many_are_as_many_single_ones(env, mode):
    """Gymnasium's own ``SyncVectorEnv`` of single ones says the same in everything:
    observations, infos, their masks."""
    ours = to_gymnasium_vector(env, 4, mode)
    theirs = SyncVectorEnv([lambda: to_gymnasium(env)] * 4, autoreset_mode=mode)
    assert ours.metadata["autoreset_mode"] is theirs.metadata["autoreset_mode"] is mode
    for name in (
        "observation_space",
        "action_space",
        "single_observation_space",
        "single_action_space",
        "num_envs",
    ):
        assert getattr(ours, name) == getattr(theirs, name)
    ours.action_space.seed(0)
    assert_same(ours.reset(seed=5), theirs.reset(seed=5))
    ends = np.zeros(2, int)
    for t in range(100):
        if t == 50:  # in the middle of episodes
            assert_same(ours.reset(), theirs.reset())
        actions = ours.action_space.sample()
        observation, rewards, terminated, truncated, infos = ours.step(actions)
        assert_same(
            (observation, rewards.astype(np.float64), terminated, truncated, infos),
            theirs.step(actions),
        )
        assert observation in ours.observation_space
        assert ("final_obs" in infos) == (
            mode is AutoresetMode.SAME_STEP and (terminated | truncated).any()
        )
        ends += [terminated.sum(), truncated.sum()]
    assert ends.min() > 5 or (env == Counter() and ends[0] > 50)  # which is never truncated


def test_the_last_observation_is_the_true_one_and_the_next_step_that_of_a_new_episode():
    """By hand: episodes of three steps, numbered."""
    same = to_gymnasium_vector(Counter(), 2, AutoresetMode.SAME_STEP)
    following = to_gymnasium_vector(Counter(), 2, AutoresetMode.NEXT_STEP)
    for env in (same, following):
        assert env.reset(seed=0)[0].tolist() == [[0, 0], [0, 0]]
    actions = np.array([0, 1])
    seen = [same.step(actions) for _ in range(4)]
    assert [step[0][0].tolist() for step in seen] == [[0, 1], [0, 2], [1, 0], [1, 1]]
    assert [step[1][0] for step in seen] == [1, 2, 3, 1]
    assert [x.tolist() for x in seen[2][4]["final_obs"]] == [[0, 3], [0, 3]] and seen[2][4][
        "_final_obs"
    ].all()
    seen = [following.step(actions) for _ in range(5)]
    assert [step[0][0].tolist() for step in seen] == [[0, 1], [0, 2], [0, 3], [1, 0], [1, 1]]
    assert [step[1][0] for step in seen] == [1, 2, 3, 0, 1]
    assert [step[2][0] for step in seen] == [False, False, True, False, False]


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_seeds_of_each_and_masks_are_as_in_gymnasiums_own(mode):
    ours = to_gymnasium_vector(CART, 3, mode)
    theirs = SyncVectorEnv([lambda: to_gymnasium(CART)] * 3, autoreset_mode=mode)
    rng = np.random.default_rng(0)

    def both(seed, mask=None):
        options = [None if mask is None else {"reset_mask": np.array(mask)} for _ in range(2)]
        assert_same(
            ours.reset(seed=seed, options=options[0]), theirs.reset(seed=seed, options=options[1])
        )

    def play(steps):
        for _ in range(steps):
            actions = rng.integers(2, size=3)
            one, other = ours.step(actions), theirs.step(actions)
            assert_same(one[0], other[0])
            assert_same(one[2:4], other[2:4])

    both([7, 7, 9])
    observation = ours.reset(seed=[7, 7, 9])[0]
    theirs.reset(seed=[7, 7, 9])
    assert (
        np.array_equal(observation[0], observation[1]) and (observation[0] != observation[2]).any()
    )
    play(20)
    both(None, [True, False, False])
    play(10)
    both([3, None, 5], [True, True, False])
    play(16)
    both([None, 4, None])
    play(5)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"seed": [1, 2]}, r"seed is \[1, 2\]; allowed: None, an integer, or 3 of them"),
        ({"seed": 1.5}, "seed is 1.5"),
        ({"seed": "abc"}, "seed is 'abc'"),
        ({"seed": [1, 2, 0.5]}, "seed is"),
        (
            {"options": {"reset_mask": [True, False, False]}},
            r"allowed: a bool array \[3\], true some",
        ),
        ({"options": {"reset_mask": np.array([1, 0, 0])}}, "reset_mask"),
        ({"options": {"reset_mask": np.zeros(3, bool)}}, "true somewhere"),
        ({"options": {"reset_mask": np.ones(2, bool)}}, "reset_mask"),
    ],
)
def test_wrong_seeds_and_masks_are_refused(arguments, says):
    env = to_gymnasium_vector(Counter(), 3)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=says):
        env.reset(**arguments)


@pytest.mark.parametrize(
    "actions", [[7, -1], [0, 2], [0.9, 0.2], [0], 0, [[0, 1]], [True, False], ["0", "1"], None]
)
def test_wrong_actions_of_many_are_refused(actions):
    env = to_gymnasium_vector(Counter(), 2)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"action is .*; allowed: 2 of them, each an integer in"):
        env.step(actions)
    assert env.step(np.array([0, 1], np.int8))[1].tolist() == [1, 1]


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_gymnasiums_statistics_work_on_them(mode):
    env = RecordEpisodeStatistics(to_gymnasium_vector(Counter(), 3, mode))
    env.reset(seed=0)
    for _ in range(3):
        *_, infos = env.step(env.action_space.sample())
    assert infos["episode"]["r"].tolist() == [6, 6, 6] and infos["episode"]["l"].tolist() == [
        3,
        3,
        3,
    ]


def test_pictures_of_many():
    env = to_gymnasium_vector(Counter(), 2, render_mode="rgb_array")
    env.reset(seed=0)
    env.step(np.array([0, 0]))
    pictures = env.render()
    assert (
        isinstance(pictures, tuple)
        and [x.tolist() for x in pictures] == [np.ones((4, 6, 3)).tolist()] * 2
    )


def test_wrong_use_of_many_is_refused():
    with pytest.raises(
        ValueError,
        match=r"autoreset_mode is AutoresetMode\.DISABLED; allowed: AutoresetMode\.SAME_STEP, ",
    ):
        to_gymnasium_vector(CART, 2, AutoresetMode.DISABLED)
    with pytest.raises(ValueError, match="num_envs is 0; allowed: a positive whole number"):
        to_gymnasium_vector(CART, 0)
    with pytest.raises(gymnasium.error.ResetNeeded):
        to_gymnasium_vector(CART, 2).step(np.array([0, 0]))
