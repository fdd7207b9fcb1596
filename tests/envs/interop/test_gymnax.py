"""gymnax: with the same keys, its environments here and ours there do what they do at
home."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purerl
import purerl.random
from purerl.envs import CartPole, StickyActions, TimeLimit, Wrapper, interact
from purerl.pytree import replace_paths
from purerl.run import plain

gymnax = pytest.importorskip("gymnax")
from gymnax.environments import spaces  # noqa: E402
from gymnax.wrappers import FlattenObservationWrapper, LogWrapper  # noqa: E402

from purerl.envs.interop import from_gymnax, to_gymnax  # noqa: E402
from tests import quick  # noqa: E402

CONTINUOUS = [
    "Pendulum-v1",
    "MountainCarContinuous-v0",
    "PointRobot-misc",
    "Reacher-misc",
    "Swimmer-misc",
]
DISCRETE = [
    name for name in gymnax.registered_envs if name not in [*CONTINUOUS, "MNISTBandit-bsuite"]
]  # which downloads


def equal(*pairs):
    """Whether two trees are equal bit for bit, as a traced bool."""
    leaves = [zip(*map(jax.tree.leaves, pair), strict=True) for pair in pairs]
    return jnp.all(jnp.array([jnp.array_equal(x, y) for x, y in itertools.chain(*leaves)]))


class Tally(NamedTuple):
    differing: int
    terminated: int
    truncated: int
    both: int


def side_by_side(theirs, params, ours, inner, steps=100_000):
    """Step gymnax's ``theirs`` and purerl's ``ours`` with the same keys and random
    actions, and count where they differ.

    ``inner`` takes both states to what must be equal in them.
    """

    @quick.optimizing_jit
    def run(params, ours):
        key = purerl.random.key(0, "pcg4d")

        def body(carry, t):
            observation, state, mine = carry
            act_key, key_t = jax.random.split(jax.random.fold_in(key, t))
            action = jax.random.randint(act_key, (), 0, ours.num_actions)
            shown, state, reward, terminated, truncated, info = theirs.step(
                key_t, state, action, params
            )
            mine, transition = interact(ours, key_t, mine, action)
            same = equal(
                (transition.observation, observation),
                (transition.next_observation, info["final_observation"]),
                (transition.reward, reward),
                (transition.terminated, terminated),
                (transition.truncated, truncated & ~terminated),
                (ours.observe(mine), shown),
                inner(state, mine),
            )
            counts = Tally(
                ~same, transition.terminated, transition.truncated, terminated & truncated
            )
            return (shown, state, mine), jax.tree.map(jnp.int32, counts)

        observation, state = theirs.reset(key, params)
        mine = ours.reset(key)
        same = equal((ours.observe(mine), observation), inner(state, mine))
        _, counts = jax.lax.scan(body, (observation, state, mine), jnp.arange(steps))
        return same, jax.tree.map(jnp.sum, counts)

    same, counts = run(params, ours)
    assert same
    return Tally(*map(int, counts))


# ---- from gymnax -------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("CartPole-v1", 20),
        ("FrozenLake-misc", 7),
        (
            "UmbrellaChain-bsuite",
            10,
        ),  # its observation depends on the key, and every episode ends at its limit
    ],
)
def test_interact_does_what_gymnaxs_step_does(name, limit):
    theirs, params = gymnax.make(name)
    params = params.replace(max_steps_in_episode=limit)
    tally = side_by_side(
        theirs, params, from_gymnax(name, params), lambda state, mine: (mine.inner, state)
    )
    assert tally.differing == 0
    assert (
        tally.terminated > 1000 and tally.both > 200
    )  # a step that does both is a termination here
    assert tally.truncated > 1000 or name == "UmbrellaChain-bsuite"


@pytest.mark.parametrize("name", DISCRETE)
def test_every_discrete_environment_keeps_the_contract(name):
    env = from_gymnax(name)

    def first_steps(key):
        state = env.reset(key)
        return state, *env.step(key, state, jnp.int32(0))

    state, reached, outcome = jax.eval_shape(first_steps, jax.random.key(0))
    assert jax.tree.leaves(reached) == jax.tree.leaves(
        state
    )  # weak types would show: a second compilation
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(state))
    assert jax.eval_shape(env.observe, reached) == env.observation
    assert [(x.shape, x.dtype) for x in outcome[:3]] == [
        ((), jnp.float32),
        ((), jnp.bool_),
        ((), jnp.bool_),
    ]
    assert env.num_actions == env.theirs.action_space(env.params).n


def test_dtypes_are_those_seen_not_those_announced():
    for name, seen, announced in [
        ("Catch-bsuite", jnp.float32, jnp.int32),
        ("FourRooms-misc", jnp.int32, jnp.float32),
    ]:
        env = from_gymnax(name)
        assert (env.theirs.observation_space(env.params).dtype, env.observation.dtype) == (
            announced,
            seen,
        )


class ThreeTorques(Wrapper):
    @property
    def num_actions(self):
        return 3

    def step(self, key, state, action):
        return self.env.step(key, state, jnp.array([[-2.0], [0.0], [2.0]])[action])


def test_continuous_actions_are_refused_unless_a_wrapper_offers_a_choice():
    env = from_gymnax("Pendulum-v1")
    with pytest.raises(
        ValueError, match=r"Pendulum-v1 has actions Box\(low=-2.0, .*; allowed: Discrete"
    ):
        purerl.DQN(env=env).env.num_actions  # noqa: B018
    env = ThreeTorques(env)
    key = jax.random.key(0)
    reached, outcome = quick.optimizing_jit(lambda key: env.step(key, env.reset(key), 2))(key)
    theirs, params = env.env.theirs, env.env.params
    observation, _, reward, *_ = theirs.step(
        key, theirs.reset(key, params)[1], jnp.array([2.0]), params
    )
    np.testing.assert_array_equal(env.observe(reached), observation)
    assert float(outcome.reward) == float(reward)


def test_parameters_sweep_without_compiling_again():
    env = from_gymnax("CartPole-v1")
    key = jax.random.key(0)
    traces = []

    @quick.optimizing_jit
    def fall(env):
        traces.append(env)
        return env.step(key, env.step(key, env.reset(key), 1)[0], 1)[0].inner.theta_dot

    alone = [fall(replace_paths(env, {"params.gravity": g})) for g in (1.6, 9.8)]
    assert len(traces) == 1
    together = jax.vmap(lambda g: fall(replace_paths(env, {"params.gravity": g})))(
        jnp.array([1.6, 9.8])
    )
    np.testing.assert_allclose(together, alone, rtol=1e-6)
    assert together[0] != together[1]


def test_a_name_makes_the_same_program_and_can_be_recorded():
    first, second = from_gymnax("Catch-bsuite", rows=5), from_gymnax("Catch-bsuite", rows=5)
    assert jax.tree.structure(first) == jax.tree.structure(second)
    assert jax.tree.structure(first) != jax.tree.structure(from_gymnax("Catch-bsuite", rows=6))
    assert first.observation.shape == (5, 5)
    arrays = {}
    data = plain.encode(first, arrays)
    with pytest.raises(ValueError, match=r"EnvParams may not be read back.*passed as classes"):
        plain.decode(data, arrays)  # a class of another library
    trusted = [type(gymnax.make("Catch-bsuite", rows=5)[1])]
    assert plain.decode(data, arrays, plain.finder(trusted)) == first
    with pytest.raises(TypeError, match="cannot be recorded"):
        plain.encode(from_gymnax(gymnax.make("Catch-bsuite", rows=5)[0]), {})


def test_first_made_under_jit_leaks_nothing():
    from purerl.envs.interop.gymnax import Gymnax

    params = gymnax.make("DeepSea-bsuite", size=3)[1]
    env = Gymnax(source="DeepSea-bsuite", settings=(("size", 3),), params=params)
    quick.optimizing_jit(env.reset)(
        jax.random.key(0)
    )  # its constructor draws the meaning of actions
    assert quick.optimizing_jit(lambda key: env.reset(key).observation)(
        jax.random.key(0)
    ).shape == (3, 3)


def test_what_is_not_an_environment_is_refused():
    cart_pole, _ = gymnax.make("CartPole-v1")
    with pytest.raises(
        ValueError,
        match=r"allowed: a name, or an environment of gymnax 1\.0 or later, without wrappers",
    ):
        from_gymnax(LogWrapper(cart_pole))
    with pytest.raises(ValueError, match="size given with an environment that is made already"):
        from_gymnax(cart_pole, size=3)
    with pytest.raises(ValueError, match="CartPole-v7 is not in registered gymnax environments"):
        from_gymnax("CartPole-v7")


def test_pictures():
    for name, shape in [("CartPole-v1", (16, 64, 3)), ("FrozenLake-misc", (16, 16, 3))]:
        env = from_gymnax(name)
        picture = env.render(env.reset(jax.random.key(0)))
        assert (picture.shape, picture.dtype) == (shape, np.uint8)


# ---- to gymnax ---------------------------------------------------------------

HOME = {
    "cart": TimeLimit(CartPole(), 20),
    "lake": purerl.make("FrozenLake-v1").replace(limit=7),
    "sticky": StickyActions(
        TimeLimit(CartPole(), 20), 0.5
    ),  # which remembers an action from one episode to the next
}


@pytest.mark.parametrize("name", HOME)
def test_gymnaxs_step_does_what_interact_does(name):
    env = HOME[name]
    theirs = to_gymnax(env)
    tally = side_by_side(
        theirs, theirs.default_params, env, lambda state, mine: (mine, state.inner)
    )
    assert tally.differing == 0
    assert tally.terminated > 100 and tally.truncated > 100 and tally.both == 0


def test_spaces():
    lake, cart = to_gymnax(HOME["lake"]), to_gymnax(HOME["cart"])
    assert (lake.observation_space(HOME["lake"]).n, lake.action_space().n, lake.num_actions) == (
        16,
        4,
        4,
    )
    box = cart.observation_space(cart.default_params)
    assert (box.shape, box.dtype, cart.action_space(cart.default_params).n) == (
        (4,),
        jnp.float32,
        2,
    )
    assert isinstance(box, spaces.Box) and box.contains(cart.reset(jax.random.key(0))[0])
    assert (cart.name, lake.name) == ("CartPole", "GridWorld")


def test_parameters_are_the_environment_itself():
    env = to_gymnax(CartPole())
    key = jax.random.key(0)

    def two_steps(params):
        _, state = env.reset(key, params)
        return env.step(key, env.step(key, state, 1, params)[1], 1, params)[0]

    masses = jnp.array([0.1, 1.0])
    swept = quick.optimizing_jit(
        jax.vmap(lambda mass: two_steps(env.default_params.replace(masspole=mass)))
    )(masses)
    home = quick.optimizing_jit(
        jax.vmap(lambda state, mass: CartPole(masspole=mass).step(None, state, 1)[0], (0, 0))
    )
    state = jax.tree.map(lambda x: jnp.stack([x, x]), CartPole().reset(key))
    np.testing.assert_allclose(swept, np.stack(home(home(state, masses), masses), -1), rtol=1e-6)


def test_q_learning_in_the_manner_of_purejaxrl():
    """Wrappers of gymnax, environments side by side, everything in one scan; the result
    is the optimal policy."""
    home = purerl.make("Grid2x3-v0")
    env, params = LogWrapper(to_gymnax(home)), home
    num_envs, num_steps = 8, 400

    def train(key):
        def update(carry, key):
            q, observation, state = carry
            act_key, explore_key, step_key = jax.random.split(key, 3)
            random = jax.random.randint(act_key, (num_envs,), 0, env.num_actions)
            action = jnp.where(
                jax.random.bernoulli(explore_key, 0.5, (num_envs,)),
                random,
                q[observation].argmax(-1),
            )
            shown, state, reward, terminated, _, info = jax.vmap(env.step, (0, 0, 0, None))(
                jax.random.split(step_key, num_envs), state, action, params
            )
            target = reward + 0.9 * (1 - terminated) * q[info["final_observation"]].max(-1)
            q = q.at[observation, action].add(0.1 * (target - q[observation, action]))
            return (q, shown, state), info

        observation, state = jax.vmap(env.reset, (0, None))(jax.random.split(key, num_envs), params)
        (q, *_), info = jax.lax.scan(
            update, (jnp.zeros((6, 4)), observation, state), jax.random.split(key, num_steps)
        )
        return q, info

    q, info = quick.optimizing_jit(train)(purerl.random.key(0, "pcg4d"))
    optimal = purerl.mdp.optimal_q(home.mdp, 0.9)
    for cell in (0, 1, 3, 4):
        np.testing.assert_allclose(
            [q[cell].max(), optimal[cell, q[cell].argmax()]], optimal[cell].max(), atol=0.02
        )
    ends = np.asarray(info["returned_episode"])
    assert ends.sum() > 100 and np.max(info["returned_episode_returns"][ends]) == np.float32(0.8)


def test_flattened_by_gymnaxs_wrapper():
    env = FlattenObservationWrapper(to_gymnax(from_gymnax("Catch-bsuite")))
    observation, _ = env.reset(jax.random.key(0), env.default_params)
    assert observation.shape == env.observation_space(env.default_params).shape == (50,)


# ---- there and back ----------------------------------------------------------


def test_to_gymnax_from_gymnax():
    """Step for step the same gymnax environment, dtypes included."""
    theirs, params = gymnax.make("FourRooms-misc")
    params = params.replace(max_steps_in_episode=12)
    ours = from_gymnax("FourRooms-misc", params)
    back = to_gymnax(ours)
    space = back.observation_space(ours)
    assert (space.shape, space.dtype) == (ours.observation.shape, ours.observation.dtype)

    @quick.optimizing_jit
    def run(key):
        def body(carry, key):
            a, b = carry
            action = jax.random.randint(key, (), 0, theirs.num_actions)
            a_shown, a, *a_rest, a_info = theirs.step(key, a, action, params)
            b_shown, b, *b_rest, b_info = back.step(key, b, action, ours)
            assert a_shown.dtype == b_shown.dtype
            a_rest[2] &= ~a_rest[1]
            finals = (a_info["final_observation"], b_info["final_observation"])
            return (a, b), (
                equal((a_shown, b_shown), (a_rest, b_rest), (a, b.inner.inner), finals),
                b_rest[1:],
            )

        starts = theirs.reset(key, params)[1], back.reset(key, ours)[1]
        return jax.lax.scan(body, starts, jax.random.split(key, 2000))[1]

    same, (terminated, truncated) = run(purerl.random.key(0, "pcg4d"))
    assert same.all() and terminated.sum() + truncated.sum() > 100


class WithModel(Wrapper):
    """Beside an environment, the model that was lost on the way."""

    model: purerl.mdp.FiniteMDP

    @property
    def mdp(self):
        return self.model


def test_q_learning_learns_the_same_there_and_back():
    """A few hundred steps on an environment, and on the same by way of gymnax."""
    home = purerl.make("Grid2x3-v0").replace(limit=4)

    def train(env):
        agent = purerl.QLearning(env=env, epsilon=0.5, learning_rate=0.3)
        state, curves = quick.optimizing_jit(lambda key: purerl.train(agent, key, 600, points=4))(
            purerl.random.key(0, "pcg4d")
        )
        return state.q, curves

    (q, curves), (other_q, other_curves) = (
        train(home),
        train(WithModel(from_gymnax(to_gymnax(home)), home.mdp)),
    )
    np.testing.assert_allclose(q, other_q, rtol=1e-5)
    np.testing.assert_allclose(curves["episode_return"], other_curves["episode_return"], rtol=1e-5)
    assert np.count_nonzero(q) > 10


@pytest.mark.slow
def test_dqn_trains_on_gymnaxs_cart_pole():
    agent = purerl.DQN(
        env=from_gymnax("CartPole-v1"),
        network=purerl.networks.MLP((8,)),
        batch_size=16,
        replay=purerl.replay.Uniform(500),
        learning_starts=100,
    )
    state, curves = quick.optimizing_jit(lambda key: purerl.train(agent, key, 400, points=4))(
        purerl.random.key(0, "pcg4d")
    )
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))
    assert 8 < np.nanmean(curves["episode_return"]) < 100


@pytest.mark.parametrize("make_key", [jax.random.PRNGKey, jax.random.key, purerl.random.key])
def test_keys_of_any_kind(make_key):
    theirs, env = to_gymnax(HOME["sticky"]), from_gymnax("UmbrellaChain-bsuite")
    key = make_key(0)
    jax.eval_shape(lambda key: theirs.step(key, theirs.reset(key)[1], 1), key)
    jax.eval_shape(lambda key: env.step(key, env.reset(key), 1), key)
