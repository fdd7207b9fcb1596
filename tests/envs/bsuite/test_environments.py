"""The Behaviour Suite's environments: equal to bsuite 0.3.6 at every step, whose random
numbers are scripted to be ours."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bsuite.environments.bandit import SimpleBandit
from bsuite.environments.cartpole import Cartpole as TheirCartpole
from bsuite.environments.catch import Catch as TheirCatch
from bsuite.environments.deep_sea import DeepSea as TheirDeepSea
from bsuite.environments.discounting_chain import DiscountingChain as TheirDiscountingChain
from bsuite.environments.memory_chain import MemoryChain as TheirMemoryChain
from bsuite.environments.mountain_car import MountainCar as TheirMountainCar
from bsuite.environments.umbrella_chain import UmbrellaChain as TheirUmbrellaChain
from bsuite.experiments.cartpole_swingup.cartpole_swingup import CartpoleSwingup as TheirSwingup
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import purerl.random
from purerl.envs import drawing, interact
from purerl.envs.bsuite import (
    EXPERIMENTS,
    Bandit,
    Cartpole,
    CartpoleSwingup,
    Catch,
    DeepSea,
    DiscountingChain,
    MemoryChain,
    MountainCar,
    Record,
    UmbrellaChain,
)
from purerl.envs.bsuite.bandit import BanditState
from purerl.envs.bsuite.discounting_chain import DiscountingChainState
from purerl.envs.bsuite.memory_chain import MemoryChainState
from purerl.envs.bsuite.umbrella_chain import UmbrellaChainState
from tests import quick

COLUMNS = {
    Bandit: ("total_regret",),
    Catch: ("total_regret",),
    MountainCar: ("total_return",),
    Cartpole: ("total_return", "best_episode"),
    CartpoleSwingup: ("total_return", "best_episode", "total_upright"),
    DeepSea: ("total_bad_episodes", "denoised_return"),
    DiscountingChain: (),
    MemoryChain: ("total_perfect", "total_regret"),
    UmbrellaChain: ("total_regret",),
}


class Script:
    """A random generator whose draws are given, by method."""

    def __init__(self, **draws):
        self.draws = {name: iter(values) for name, values in draws.items()}

    def __getattr__(self, name):
        return lambda *args, **kwargs: next(self.draws[name])


def uniform(key, env, state, lane):
    return jax.random.randint(key, (), 0, env.num_actions)


def rollout(make, parameters, steps, policy=uniform):
    """Ours, recorded, for each parameter (a lane): states, actions, transitions
    ``[lanes, steps]``, episodes in a row."""

    def one(parameter, lane):
        env = make(parameter)
        env = Record(env, 10_000, COLUMNS[type(env)])
        reset_key, key = jax.random.split(purerl.random.seed_key(0, lane, "pcg4d"))

        def step(state, t):
            act_key, key_t = jax.random.split(jax.random.fold_in(key, t))
            action = policy(act_key, env.env, state.inner, lane)
            after, transition = interact(env, key_t, state, action)
            return after, (state.inner, transition)

        return jax.lax.scan(step, env.reset(reset_key), jnp.arange(steps))[1]

    parameters = jnp.asarray(parameters)
    states, transitions = quick.optimizing_jit(jax.vmap(one))(
        parameters, jnp.arange(len(parameters))
    )
    assert not transitions.truncated.any()
    return jax.tree.map(np.asarray, (states, transitions))


def starts(state, done):
    """Where in a lane episodes start, as indices."""
    return [0, *(np.flatnonzero(done[:-1]) + 1)]


def compare(
    theirs_of, script_of, states, transitions, atol=1e-7, put=lambda theirs, state, t: None
):
    """Step bsuite's through the same actions, lane by lane, with ``put`` before each.
    Returns how many steps were compared."""
    lanes, steps = transitions.reward.shape
    for lane in range(lanes):
        state, ours = jax.tree.map(lambda x, i=lane: x[i], (states, transitions))
        theirs = theirs_of(lane)
        theirs._rng = script_of(state, ours, lane)
        timestep = theirs.reset()
        before, after, rewards, ends, info = [], [], [], [], []
        for t, action in enumerate(ours.action.tolist()):
            before.append(timestep.observation)
            put(theirs, state, t)
            timestep = theirs.step(action)
            after.append(timestep.observation)
            rewards.append(timestep.reward)
            ends.append(timestep.last())
            if timestep.last():
                assert timestep.discount == 0
                info.append(theirs.bsuite_info())
                if t + 1 < steps:
                    timestep = theirs.step(action)
                    assert timestep.first()
        assert ours.observation.dtype == before[0].dtype == np.float32
        np.testing.assert_array_equal(ours.terminated, ends)
        np.testing.assert_allclose(ours.reward, np.float32(rewards), rtol=0, atol=atol)
        np.testing.assert_allclose(ours.observation, np.stack(before), rtol=0, atol=atol)
        np.testing.assert_allclose(ours.next_observation, np.stack(after), rtol=0, atol=atol)
        for name in info[0] if info else ():
            column = ours.metrics["total_return" if name == "raw_return" else name].total
            np.testing.assert_allclose(
                column[ours.terminated], [row[name] for row in info], rtol=1e-6, atol=1e-3
            )
    return lanes * steps


def no_draws(state, ours, lane):
    return Script()


# ---- parity ------------------------------------------------------------------


def test_bandit_equals_bsuite_and_arms_are_not_shuffled_again_at_a_reset():
    rewards = np.stack([Bandit.of(seed).rewards for seed in range(20)])
    states, transitions = rollout(Bandit, rewards, 5_000)
    assert compare(SimpleBandit, no_draws, states, transitions) == 100_000
    assert transitions.terminated.all()


def test_catch_equals_bsuite():
    states, transitions = rollout(lambda _: Catch(), np.zeros(20), 5_000)

    def script(state, ours, lane):
        return Script(randint=state.ball_column[starts(state, ours.terminated)].tolist())

    assert compare(lambda lane: TheirCatch(), script, states, transitions) == 100_000
    caught = transitions.reward[transitions.terminated]
    assert set(caught) == {-1, 1} and len(caught) == 20 * (5_000 // 9)
    assert set(np.unique(states.paddle)) == set(range(5))


def test_discounting_chain_equals_bsuite_whose_mapping_seed_wraps_round():
    rewards = np.stack([DiscountingChain.of(seed).rewards for seed in range(20)])
    states, transitions = rollout(DiscountingChain, rewards, 5_000)
    assert compare(TheirDiscountingChain, no_draws, states, transitions) == 100_000
    paid = transitions.reward > 0
    for chain, horizon in enumerate((1, 3, 10, 30, 100)):
        assert (
            paid & (states.time + 1 == horizon) & (transitions.next_observation[..., 0, 0] == chain)
        ).sum() > 50
    assert set(np.unique(transitions.reward)) == {0, 1, np.float32(1.1)}


def memory_script(num_bits):
    def script(state, ours, lane):
        at = starts(state, ours.terminated)
        bits = (state.context[at][:, :, None] >> np.arange(32, dtype=np.uint32) & 1).reshape(
            len(at), -1
        )[:, :num_bits]
        return Script(binomial=bits.astype(int), randint=state.query[at].tolist())

    return script


def test_memory_chain_equals_bsuite_over_all_lengths():
    lengths = [setting["memory_length"] for setting in EXPERIMENTS["memory_len"].settings]
    states, transitions = rollout(MemoryChain, lengths, 2_500)
    assert (
        compare(lambda lane: TheirMemoryChain(lengths[lane]), memory_script(1), states, transitions)
        == 57_500
    )


def test_memory_chain_equals_bsuite_with_forty_bits():
    lengths = [2, 2, 2, 1, 4]
    states, transitions = rollout(lambda length: MemoryChain(length, 40), lengths, 8_500)
    assert (
        compare(
            lambda lane: TheirMemoryChain(lengths[lane], 40), memory_script(40), states, transitions
        )
        == 42_500
    )
    assert set(np.unique(states.query)) == set(range(40))
    bits = transitions.observation[..., 0, 2:]
    assert (np.abs(bits[states.time <= 1]) == 1).all()  # seen after the first step too
    assert not bits[states.time > 1].any()


def umbrella_script(n):
    def script(state, ours, lane):
        bits = (state.distractors[:, :, None] >> np.arange(32, dtype=np.uint32) & 1).reshape(
            len(ours.reward), -1
        )[:, :n]
        draws = []
        for t, done in enumerate(ours.terminated):
            if t == 0 or ours.terminated[t - 1]:
                draws += [state.need[t], state.have[t], bits[t]]
            if not done:
                draws.append(int(ours.reward[t] > 0))
            draws.append(ours.next_observation[t, 0, 3:])
        return Script(binomial=draws)

    return script


@pytest.mark.parametrize(
    ("n", "lengths", "steps"),
    [
        (
            20,
            [setting["chain_length"] for setting in EXPERIMENTS["umbrella_length"].settings],
            2_700,
        ),
        (0, [20], 9_000),
        (100, [20, 3], 15_000),
    ],
)
def test_umbrella_chain_equals_bsuite(n, lengths, steps):
    states, transitions = rollout(lambda length: UmbrellaChain(length, n), lengths, steps)
    compare(
        lambda lane: TheirUmbrellaChain(lengths[lane], n), umbrella_script(n), states, transitions
    )
    assert {-1, 1} == set(transitions.reward[transitions.terminated])


def mostly_right(key, env, state, lane):
    """A different share of errors in each lane."""
    right = env.right[state.row, state.column]
    return jnp.where(jax.random.uniform(key) < 0.03 * lane, 1 - right, right)


@pytest.mark.parametrize("stochastic", [False, True])
def test_deep_sea_equals_bsuite(stochastic):
    size, seeds = 10, [42, *range(9)]
    mappings = np.stack([DeepSea.of(size, seed).right for seed in seeds])
    states, transitions = rollout(
        lambda right: DeepSea(right, stochastic=stochastic), mappings, 5_000, mostly_right
    )
    row, column, last = states.row, states.column, size - 1
    right = transitions.action == np.stack(
        [m[r, c] for m, r, c in zip(mappings, row, column, strict=True)]
    )
    treasure = right & (column == last)
    noise = transitions.reward - treasure + right * 0.01 / size
    ends = (row == last) & ((column == 0) | (column == last))
    reached = transitions.next_observation.reshape(*row.shape, -1).argmax(-1) % size
    held = right & (reached == column) & (row < last)

    def script(state, ours, lane):
        return Script(
            randn=noise[lane][ends[lane]].tolist(),
            rand=np.where(held[lane], 0.0, 1.0)[right[lane]].tolist(),
        )

    def theirs(lane):
        return TheirDeepSea(size, deterministic=not stochastic, mapping_seed=seeds[lane])

    assert compare(theirs, script, states, transitions, atol=1e-6) == 50_000
    assert treasure.sum() > 500 and (ends & (column == 0)).sum() > 10
    if stochastic:
        assert stats.kstest(noise[ends], "norm").pvalue > 1e-4
        assert (
            stats.binomtest(int(held.sum()), int((right & (row < last)).sum()), 1 / size).pvalue
            > 1e-4
        )
    np.testing.assert_allclose(noise[ends if not stochastic else ~ends], 0, atol=1e-6)


def pump(key, env, state, lane):
    """Energy is pumped in, less and less reliably; the last lanes act at random, and
    never arrive."""
    return jnp.where(
        jax.random.uniform(key) < lane / 8,
        uniform(key, env, state, lane),
        jnp.where(state.velocity < 0, 0, 2),
    )


def test_mountain_car_equals_bsuite_under_x64():
    with jax.enable_x64(True):
        states, transitions = rollout(lambda _: MountainCar(), np.zeros(10), 10_000, pump)

    def script(state, ours, lane):
        return Script(uniform=state.position[starts(state, ours.terminated)].tolist())

    assert (
        compare(lambda lane: TheirMountainCar(), script, states, transitions, atol=1e-6) == 100_000
    )
    late = states.time[transitions.terminated] == 999
    assert late.sum() > 10 and (~late).sum() > 100
    assert (
        transitions.next_observation[..., 0, 0] == np.float32(-1.2)
    ).sum() > 100  # the left border


GAINS = np.array(
    # theta, theta_dot, x, x_dot, bias, noise
    [[10, 2, 0.3, 0.6, 0.0, 0.05]] * 4
    + [[10, 2, 0, 0, 1.0, 0.1]] * 4
    + [[0, 0, 0, 0, 0, 1.0]] * 2
    + [[-3, 0.3, 0.5, 0.3, 0, 0.5]] * 2
)


def controller(key, env, state, lane):
    theta = jnp.arctan2(jnp.sin(state.theta), jnp.cos(state.theta))
    a, b, c, d, bias, noise = jnp.asarray(GAINS)[lane]
    push = (
        a * theta
        + b * state.theta_dot
        + c * state.x
        + d * state.x_dot
        + bias
        + noise * jax.random.normal(key)
    )
    return 1 + jnp.where(jnp.abs(push) < 0.1, 0, jnp.sign(push)).astype(jnp.int32)


def cartpole_script(around=0.0):
    def script(state, ours, lane):
        at = starts(state, ours.terminated)
        draws = np.stack([state.x, state.x_dot, state.theta - around, state.theta_dot], -1)[at]
        return Script(uniform=draws.ravel().tolist())

    return script


def test_cartpole_equals_bsuite_under_x64():
    """Balanced to the end in some lanes, driven off the table in others, and dropped in
    the rest. A balanced pole stays up for ten seconds, in which rounding grows e**40
    times: so each step starts from our state, but for the time."""
    with jax.enable_x64(True):
        states, transitions = rollout(lambda _: Cartpole(), np.zeros(len(GAINS)), 8_500, controller)

    def put(theirs, state, t):
        x, x_dot, theta, theta_dot, _ = (float(x[t]) for x in state)
        theirs._state = theirs._state._replace(x=x, x_dot=x_dot, theta=theta, theta_dot=theta_dot)

    def theirs(lane):
        return TheirCartpole()

    assert compare(theirs, cartpole_script(), states, transitions, atol=2e-6, put=put) == 102_000
    done, observation = transitions.terminated, transitions.next_observation[..., 0, :]
    assert (done & (states.time == 1_000) & (transitions.reward == 1)).sum() > 10
    assert (done & (np.abs(observation[..., 0]) >= 1)).sum() > 10
    assert (done & (observation[..., 3] <= 0.8)).sum() > 100


def test_cartpole_swingup_equals_bsuite_under_x64():
    """Nothing but the start and the actions in common, over whole episodes, under
    settings from the easiest to the hardest."""
    settings = [
        EXPERIMENTS["cartpole_swingup"].settings[i] for i in (0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 10, 19)
    ]
    values = [list(setting.values()) for setting in settings]

    def make(value):
        return CartpoleSwingup(height_threshold=value[0], x_reward_threshold=value[1])

    with jax.enable_x64(True):
        states, transitions = rollout(make, values, 8_500, controller)

    def theirs(lane):
        return TheirSwingup(**settings[lane])

    assert compare(theirs, cartpole_script(around=np.pi), states, transitions, atol=2e-6) == 102_000
    done = transitions.terminated
    assert (done & (states.time == 1_000)).sum() > 3 and (done & (states.time < 1_000)).sum() > 3
    assert set(np.unique(transitions.observation[..., 0, 6:])) == {-1, 1}
    assert transitions.metrics["total_upright"].total.max() > 10
    assert set(np.unique(transitions.reward.round(1))) == {np.float32(r) for r in (-0.1, 0, 0.9, 1)}


@pytest.mark.parametrize(
    ("ours", "theirs", "low", "high"),
    [
        (MountainCar, TheirMountainCar, [-1.2, -0.07], [0.6, 0.07]),
        (Cartpole, TheirCartpole, [-3, -3, -3, -6], [3, 3, 3, 6]),
        (CartpoleSwingup, TheirSwingup, [-3, -3, -3, -6], [3, 3, 3, 6]),
    ],
)
def test_float32_steps_are_bsuites_to_rounding(ours, theirs, low, high):
    """From 2,000 states all over the place."""
    rng = np.random.default_rng(0)
    start = rng.uniform(low, high, (2_000, len(low))).astype(np.float32)
    actions, times = rng.integers(3, size=2_000), rng.integers(900, 1_005, size=2_000)
    env = ours()
    kind = type(jax.eval_shape(env.reset, purerl.random.key(0)))

    def step(x, time, action):
        state, outcome = env.step(None, kind(*x, time), action)
        return env.observe(state), outcome

    observation, outcome = quick.optimizing_jit(jax.vmap(step))(start, times, actions)
    reference, timesteps = theirs(), []
    reference.reset()
    for x, time, action in zip(start.astype(float), times.tolist(), actions.tolist(), strict=True):
        if ours is MountainCar:
            (reference._position, reference._velocity), reference._timestep = x, time
        else:
            reference._state = type(reference._state)(*x, time * 0.01)
        reference._reset_next_step = False
        timesteps.append(reference.step(action))
    np.testing.assert_allclose(
        observation, [timestep.observation for timestep in timesteps], rtol=1e-5, atol=1e-5
    )
    np.testing.assert_array_equal(
        outcome.reward, np.float32([timestep.reward for timestep in timesteps])
    )
    np.testing.assert_array_equal(outcome.terminated, [timestep.last() for timestep in timesteps])


# ---- chance ------------------------------------------------------------------


def many(function, n=50_000):
    return jax.tree.map(
        np.asarray,
        quick.optimizing_jit(jax.vmap(function))(jax.random.split(purerl.random.key(0), n)),
    )


def even(values, n):
    counts = np.bincount(np.ravel(values), minlength=n)
    assert len(counts) == n
    return stats.chisquare(counts).pvalue > 1e-4


def test_starts_are_drawn_evenly():
    assert even(many(Catch().reset).ball_column, 5)
    memory = many(MemoryChain(2, 7).reset)
    assert even(memory.query, 7)
    assert even(memory.context[:, 0] & 127, 128)
    umbrella = many(UmbrellaChain(20, 4).reset)
    assert even(umbrella.need * 32 + umbrella.have * 16 + (umbrella.distractors[:, 0] & 15), 64)


def test_umbrella_rewards_and_distractors_are_drawn_evenly():
    def step(key):
        env = UmbrellaChain(20, 4)
        state, outcome = env.step(key, env.reset(purerl.random.key(1)), 1)
        return (outcome.reward > 0) * 16 + (state.distractors[0] & 15).astype(jnp.int32)

    assert even(many(step), 32)


def test_starts_of_cars_and_poles_are_uniform():
    assert (
        stats.kstest(many(MountainCar().reset).position, stats.uniform(-0.6, 0.2).cdf).pvalue > 1e-4
    )
    for env, around in ((Cartpole(), 0), (CartpoleSwingup(), np.pi)):
        state = many(env.reset)
        for x in (state.x, state.x_dot, state.theta - around, state.theta_dot):
            assert stats.kstest(x, stats.uniform(-0.05, 0.1).cdf).pvalue > 1e-4


# ---- the rest ----------------------------------------------------------------


def test_a_bandits_bars_are_its_rewards():
    env = Bandit.of(mapping_seed=0, num_arms=5)
    picture = env.render(BanditState(jnp.int32(3)))
    scale = 248 / 5.6
    heights = []
    for i in range(5):
        column = picture[:, round((i + 0.8) * scale)]  # the middle of the bar
        color = drawing.BLUE if i == 3 else drawing.GRAY
        heights.append(np.sum((column == color).all(axis=-1)) / (2.5 * scale))
    np.testing.assert_allclose(heights, env.rewards, atol=0.06)


def test_a_discounting_chains_bars_are_at_its_horizons():
    """Three pixels a step, and 36 from line to line; green pays more."""
    picture = DiscountingChain.of(mapping_seed=2).render(
        DiscountingChainState(jnp.int32(1), jnp.int32(50))
    )
    for chain, horizon in enumerate((1, 3, 10, 30, 100)):
        pays = drawing.GREEN if chain == 2 else drawing.ORANGE
        assert tuple(picture[18 + 36 * chain + 10, 12 + 3 * horizon]) == pays
        clock = tuple(picture[18 + 36 * chain, 12 + 3 * 50]) == drawing.BLUE
        assert clock == (chain == 1)


def test_a_memory_chains_picture_shows_bits_query_and_clock():
    env = MemoryChain(memory_length=2, num_bits=3)
    picture = env.render(MemoryChainState(jnp.uint32([0b101]), jnp.int32(2), jnp.int32(1)))
    assert picture.shape == (48, 64, 3)
    middle = [tuple(picture[1, 16 * i + 1]) for i in range(4)]
    assert middle == [drawing.ORANGE, drawing.SKY, drawing.ORANGE, drawing.WHITE]
    asked = [(picture[16:31, 16 * i : 16 * i + 15] == drawing.BLACK).any() for i in range(4)]
    assert asked == [False, False, True, False]
    assert [tuple(picture[40, 16 * i + 8]) == drawing.BLUE for i in range(4)] == [0, 1, 0, 0]


@pytest.mark.parametrize("need", [0, 1])
@pytest.mark.parametrize("have", [0, 1])
def test_an_umbrella_chains_picture_shows_weather_and_umbrella(need, have):
    env = UmbrellaChain(chain_length=9, num_distractors=3)
    state = UmbrellaChainState(jnp.int32(need), jnp.int32(have), jnp.int32(4), jnp.uint32([0b110]))
    picture = env.render(state)
    assert picture.shape == (80 + 2 * 16, 10 * 16, 3)
    seen = {color: (picture == color).all(axis=-1).any() for color in (drawing.YELLOW, drawing.RED)}
    assert seen == {drawing.YELLOW: not need, drawing.RED: have}
    assert [tuple(picture[88, 16 * i + 8]) == drawing.BLUE for i in range(10)].index(True) == 4
    noise = [tuple(picture[104, 16 * i + 8]) == drawing.GRAY for i in range(3)]
    assert noise == [False, True, True]


def test_observations_keep_bsuites_leading_axis():
    """A batch of one, which others drop."""
    assert DiscountingChain.of().observation.shape == (1, 2)
    assert MemoryChain(2, 3).observation.shape == (1, 5)
    assert UmbrellaChain(20, 3).observation.shape == (1, 6)


@given(
    start=st.lists(st.floats(-50, 50, width=32), min_size=4, max_size=4),
    action=st.integers(-(2**31), 2**31 - 1),
    length=st.floats(0.01, 100),
    masspole=st.floats(0.001, 100),
)
def test_never_a_nan(start, action, length, masspole):
    for kind in (Cartpole, CartpoleSwingup):
        env = kind(length=length, masspole=masspole)
        state, outcome = _step(
            env, type(_reset(env))(*map(jnp.float32, start), jnp.int32(3)), action
        )
        assert np.isfinite(np.array(state)).all() and np.isfinite(outcome.reward)


_reset = quick.optimizing_jit(lambda env: env.reset(purerl.random.key(0)))
_step = quick.optimizing_jit(lambda env, state, action: env.step(None, state, action))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Bandit.of(mapping_seed=-1), "mapping_seed is -1; allowed: a whole number"),
        (lambda: Bandit.of(num_arms=1), "num_arms is 1; allowed"),
        (lambda: Catch(rows=1), "rows is 1; allowed: a whole number of at least 2"),
        (lambda: Catch(columns=0), "columns is 0; allowed"),
        (lambda: DeepSea.of(0), "size is 0; allowed"),
        (lambda: DeepSea.of(5, mapping_seed=True), "mapping_seed is True; allowed"),
        (lambda: DeepSea.of(5, move_cost=float("nan")), "move_cost is nan; allowed"),
        (lambda: DiscountingChain.of(1.5), "mapping_seed is 1.5; allowed"),
        (lambda: MemoryChain(-1), "memory_length is -1; allowed"),
        (lambda: MemoryChain(3, 0), "num_bits is 0; allowed"),
        (lambda: UmbrellaChain(0.5), "chain_length is 0.5; allowed"),
        (lambda: UmbrellaChain(3, -1), "num_distractors is -1; allowed"),
        (lambda: MountainCar(max_speed=0.0), "max_speed is 0.0; allowed"),
        (lambda: Cartpole(timescale=-1.0), "timescale is -1.0; allowed"),
        (lambda: CartpoleSwingup(move_cost=float("inf")), "move_cost is inf; allowed"),
    ],
)
def test_wrong_parameters_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
