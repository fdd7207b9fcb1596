"""Wrappers: equal to Gymnasium's step by step, each alone and in a stack, through the
ends of episodes."""

import functools

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.wrappers import (
    FlattenObservation,
    FrameStackObservation,
    NormalizeObservation,
    TransformReward,
)
from scipy import stats

import purerl.random
from purerl import mdp
from purerl.envs import Outcome, TimeLimit, Wrapper, frozen_lake, interact, make
from purerl.envs.classic import CartPole, Pendulum, PendulumState
from purerl.envs.wrappers import (
    ActionRepeat,
    DiscretizedActions,
    EpisodeStatistics,
    Flatten,
    FrameStack,
    ObservationNormalize,
    OneHot,
    RewardNoise,
    RewardNormalize,
    RewardScale,
    StickyActions,
)
from purerl.pytree import Node
from purerl.rollout import Episode
from tests import quick


def picture_of(x, t, stack):
    """An observation [2, 3], exact in float32."""
    return stack([x, t, x * t, x - t, x / 2, 0 * x + 1]).reshape(2, 3, *np.shape(x))


class Walk(Node):
    """From a random integer a step up or down, which is also the reward; an episode
    ends after 3 to 7 steps."""

    size: float = 1.0

    num_actions = 2
    observation = jax.ShapeDtypeStruct((2, 3), jnp.float32)

    def reset(self, key):
        return jnp.float32(jax.random.randint(key, (), 0, 10)), jnp.float32(0)

    def step(self, key, state, action):
        del key
        x, t = state
        move = (2.0 * action - 1) * self.size
        state = x + move, t + 1
        return state, Outcome(
            jnp.float32(move), state[1] >= 3 + jnp.abs(state[0]) % 5, jnp.bool_(False)
        )

    def observe(self, state):
        return picture_of(*state, jnp.stack)

    def render(self, state):
        return np.full((1, 1, 3), int(state[1]), np.uint8)


class TheSameWalk(gymnasium.Env):
    """The same for Gymnasium, with its starts given."""

    action_space = gymnasium.spaces.Discrete(2)
    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2, 3), np.float32)

    def __init__(self, starts):
        self.starts = iter(starts)

    def observe(self):
        return picture_of(*self.state, lambda numbers: np.array(numbers, np.float32))

    def reset(self, *, seed=None, options=None):
        self.state = float(next(self.starts)), 0.0
        return self.observe(), {}

    def step(self, action):
        x, t = self.state
        move = 2.0 * action - 1
        self.state = x + move, t + 1
        return self.observe(), move, self.state[1] >= 3 + abs(self.state[0]) % 5, False, {}


def key_of(seed):
    return purerl.random.key(seed, "pcg4d")  # quick to compile


def roll(env, num_steps=300, seed=0):
    """Transitions of random play, leaves [T]; the state each began in, [T]; and the
    last state."""
    key = key_of(seed)

    @quick.optimizing_jit
    def run():
        def step(state, t):
            action_key, env_key = jax.random.split(jax.random.fold_in(key, t))
            action = jax.random.randint(action_key, (), 0, env.num_actions)
            reached, transition = interact(env, env_key, state, action)
            return reached, (transition, state)

        return jax.lax.scan(step, env.reset(key), jnp.arange(num_steps))

    last, (transitions, states) = run()
    return jax.tree.map(np.asarray, transitions), jax.tree.map(np.asarray, states), last


def innermost(env, state):
    while hasattr(env, "env"):
        env, state = env.env, env.inner(state)
    return state


@pytest.mark.parametrize(
    ("wrap", "theirs", "rtol"),
    [
        (lambda env: FrameStack(env, 4), lambda env: FrameStackObservation(env, 4), 0),
        (lambda env: FrameStack(env, 1), lambda env: FrameStackObservation(env, 1), 0),
        (Flatten, FlattenObservation, 0),
        (ObservationNormalize, NormalizeObservation, 1e-4),
        (
            lambda env: ObservationNormalize(env, epsilon=0.5),
            lambda env: NormalizeObservation(env, epsilon=0.5),
            1e-4,
        ),
        (
            lambda env: RewardScale(env, 0.5),
            lambda env: TransformReward(env, lambda reward: reward * 0.5),
            0,
        ),
        (
            lambda env: Flatten(FrameStack(ObservationNormalize(env), 3)),
            lambda env: FlattenObservation(FrameStackObservation(NormalizeObservation(env), 3)),
            1e-4,
        ),
        (
            lambda env: ObservationNormalize(FrameStack(env, 3)),
            lambda env: NormalizeObservation(FrameStackObservation(env, 3)),
            1e-4,
        ),
    ],
    ids=[
        "stack4",
        "stack1",
        "flatten",
        "normalize",
        "normalise_epsilon",
        "scale",
        "flat_stack_of_normal",
        "normal_stack",
    ],
)
def test_equals_gymnasiums_step_by_step(wrap, theirs, rtol):
    """300 steps of some 50 episodes: what is seen before and after each step, the last
    ones of episodes too."""
    env = wrap(Walk())
    transition, states, _ = roll(env)
    x, t = innermost(env, states)
    reference = theirs(TheSameWalk(x[t == 0]))
    assert env.observation.shape == reference.observation_space.shape
    assert (
        env.observation.dtype == reference.observation_space.dtype == transition.observation.dtype
    )
    seen, _ = reference.reset()
    for i in range(300):
        # The first observation is all but equal to the mean so far: what is left of it
        # is rounding.
        np.testing.assert_allclose(transition.observation[i], seen, rtol=rtol, atol=rtol / 10)
        seen, reward, terminated, _, _ = reference.step(int(transition.action[i]))
        np.testing.assert_allclose(transition.next_observation[i], seen, rtol=rtol, atol=rtol / 10)
        assert (transition.reward[i], transition.terminated[i]) == (np.float32(reward), terminated)
        if terminated:
            seen, _ = reference.reset()
    assert transition.terminated.sum() > 40


# What every wrapper keeps.

WRAPPERS = {
    "TimeLimit": lambda env: TimeLimit(env, 4),
    "Flatten": Flatten,
    "FrameStack": lambda env: FrameStack(env, 3),
    "ObservationNormalize": lambda env: ObservationNormalize(env, clip=5.0),
    "StickyActions": lambda env: StickyActions(env, 0.3),
    "RewardScale": lambda env: RewardScale(env, -0.5),
    "RewardNoise": lambda env: RewardNoise(env, 0.1),
    "EpisodeStatistics": EpisodeStatistics,
    "all": lambda env: Flatten(
        FrameStack(
            ObservationNormalize(
                RewardNoise(
                    RewardScale(EpisodeStatistics(TimeLimit(StickyActions(env, 0.3), 4)), 0.1), 0.1
                ),
                clip=5.0,
            ),
            3,
        )
    ),
    "all the other way round": lambda env: RewardNormalize(
        StickyActions(
            TimeLimit(
                EpisodeStatistics(
                    RewardScale(
                        RewardNoise(ObservationNormalize(FrameStack(Flatten(env), 3)), 0.1), 0.1
                    )
                ),
                4,
            ),
            0.3,
        ),
    ),
}
of_every_wrapper = pytest.mark.parametrize("name", WRAPPERS)


@of_every_wrapper
def test_the_next_observation_is_the_one_reached(name):
    """Within episodes it is the next one's observation; always it is that of the state
    a step by hand leads to."""
    env = WRAPPERS[name](Walk())

    class ByHand(Wrapper):
        """Puts what each step reaches, and the walk inside of it, into the metrics."""

        def step(self, key, state, action):
            reached, outcome = self.env.step(key, state, action)
            return reached, outcome._replace(
                metrics={"seen": self.env.observe(reached), "inside": innermost(env, reached)}
            )

    transition, states, _ = roll(ByHand(env), 200)
    done = transition.terminated | transition.truncated
    assert done.sum() > 20
    assert transition.truncated.any() == ("all" in name or name == "TimeLimit")
    np.testing.assert_allclose(
        transition.next_observation, transition.metrics["seen"], rtol=1e-5, atol=1e-6
    )
    on = ~done[:-1]
    np.testing.assert_allclose(
        transition.next_observation[:-1][on], transition.observation[1:][on], rtol=1e-5, atol=1e-6
    )
    (x, t), (x_before, t_before) = transition.metrics["inside"], innermost(env, states)
    np.testing.assert_array_equal(np.abs(x - x_before), 1)
    np.testing.assert_array_equal(t, t_before + 1)
    np.testing.assert_array_equal(t_before[1:], np.where(done, 0, t)[:-1])
    shown = transition.next_observation.reshape(200, -1)[:, -6:]
    if name in (
        "TimeLimit",
        "Flatten",
        "FrameStack",
        "StickyActions",
        "RewardScale",
        "RewardNoise",
        "EpisodeStatistics",
    ):
        np.testing.assert_array_equal(shown[:, 0], x)
        np.testing.assert_array_equal(shown[:, 1], t)


def test_vmap_equals_a_loop():
    """Over environments that differ in a leaf inside, and over states."""

    @quick.optimizing_jit
    def run(size, key):
        env = WRAPPERS["all"](Walk(size=size))
        return interact(env, key, env.reset(key), 1)

    sizes, keys = jnp.array([1.0, 2.0, 0.5]), jax.random.split(key_of(1), 3)
    together = jax.vmap(run)(sizes, keys)
    for i in range(3):
        alone = run(sizes[i], keys[i])
        jax.tree.map(
            lambda a, b, i=i: np.testing.assert_allclose(a[i], b, rtol=1e-5, atol=1e-5),
            together,
            alone,
        )


@of_every_wrapper
def test_contract(name):
    env = WRAPPERS[name](Walk())
    state = jax.eval_shape(env.reset, key_of(0))
    reached, outcome = jax.eval_shape(
        env.step, key_of(0), state, jax.ShapeDtypeStruct((), jnp.int32)
    )
    assert reached == state
    assert jax.eval_shape(env.observe, state) == env.observation
    assert jax.eval_shape(env.restart, key_of(0), state) == state
    assert [(x.shape, x.dtype) for x in outcome[:3]] == [
        ((), jnp.float32),
        ((), jnp.bool_),
        ((), jnp.bool_),
    ]
    assert env.num_actions == 2
    picture = env.render(env.reset(key_of(0)))
    assert picture.shape == (1, 1, 3) and picture[0, 0, 0] == 0
    with pytest.raises(AttributeError):
        _ = env.mdp  # there is none inside


def test_keys_are_used_once():
    env = RewardNoise(StickyActions(frozen_lake(), 0.3), 0.1)
    reset_key, key = jax.random.split(key_of(0))
    with jax.debug_key_reuse(True):
        quick.optimizing_jit(lambda a, b: interact(env, b, env.reset(a), jnp.int32(0)))(
            reset_key, key
        )


def test_leaves_map():
    """A sweep over the numbers of wrappers is one program."""

    def rewards(scale, noise, epsilon, clip):
        env = ObservationNormalize(
            RewardNoise(RewardScale(Walk(), scale), noise), epsilon=epsilon, clip=clip
        )
        transition = interact(env, key_of(0), env.reset(key_of(1)), jnp.int32(1))[1]
        return transition.reward, transition.next_observation

    numbers = (
        jnp.array([1.0, 2.0]),
        jnp.array([0.0, 0.0]),
        jnp.array([1e-8, 1.0]),
        jnp.array([0.5, 0.01]),
    )
    reward, observed = quick.optimizing_jit(jax.vmap(rewards))(*numbers)
    np.testing.assert_array_equal(reward, [1, 2])
    np.testing.assert_allclose(np.abs(observed).max(axis=(1, 2)), [0.5, 0.01], rtol=1e-6)


# Observations.


def test_normalisation_is_by_all_that_was_seen():
    """Mean and variance are those of every observation so far, starts included, after a
    start of variance 1 and weight 1e-4."""
    transition, states, last = roll(ObservationNormalize(TimeLimit(Walk(), 5)), 1000)
    (x, t), ended = states.inner.inner, transition.terminated | transition.truncated

    def pictures(x, t):
        return np.moveaxis(picture_of(x, t, np.stack), -1, 0)

    starts = pictures(
        *(
            np.append(before, after)[np.append(t, last.inner.inner[1]) == 0]
            for before, after in zip((x, t), last.inner.inner, strict=True)
        )
    )
    seen = np.concatenate([starts, pictures(x + 2.0 * transition.action - 1, t + 1)])
    assert len(starts) == ended.sum() + 1
    count = float(last.count)
    assert count == pytest.approx(len(seen) + 1e-4, rel=1e-6)
    mean = seen.sum(0) / count
    variance = (1e-4 + ((seen - mean) ** 2).sum(0) + 1e-4 * mean**2) / count
    np.testing.assert_allclose(last.mean, mean, rtol=1e-4)
    np.testing.assert_allclose(last.variance, variance, rtol=1e-4)


def test_normalised_wholes_are_floats_and_clipped():
    env = ObservationNormalize(frozen_lake(), clip=0.5)
    assert env.observation == jax.ShapeDtypeStruct((), jnp.float32)
    transition, _, _ = roll(env, 100)
    assert transition.observation.dtype == np.float32
    assert transition.observation.max() == 0.5
    assert -0.5 <= transition.observation.min() < 0
    assert Flatten(frozen_lake()).observation == jax.ShapeDtypeStruct((1,), jnp.int32)


def test_one_hot_of_a_stack():
    env = OneHot(FrameStack(frozen_lake(), 2), 16)
    seen = env.observe(env.reset(key_of(0)))
    assert env.observation == jax.ShapeDtypeStruct((2, 16), jnp.float32)
    np.testing.assert_array_equal(seen, np.eye(16)[[0, 0]])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda: OneHot(CartPole(), 4),
            r"OneHot: env is CartPole, which observes float32 \[4\]",
        ),
        (
            lambda: OneHot(frozen_lake(), 4),
            r"OneHot: size is 4; allowed: at least env.num_states, 16",
        ),
        (lambda: OneHot(FrameStack(frozen_lake(), 2), 15), "size is 15"),
    ],
)
def test_one_hot_of_what_it_cannot_show_is_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda env: FrameStack(env, 2),
        ObservationNormalize,
        RewardNormalize,
        lambda env: ActionRepeat(env, 2),
    ],
    ids=["stack", "normalize", "normalize_rewards", "repeat"],
)
def test_what_is_no_function_of_the_models_state_shows_no_model(wrap):
    """Else a policy over it would be judged exactly, and wrongly."""
    assert hasattr(frozen_lake(), "mdp")
    assert not hasattr(TimeLimit(wrap(frozen_lake()), 5), "mdp")


# Actions.


def test_a_sticky_action_is_taken_again():
    env = StickyActions(Walk(), 0.25)
    transition, states, last = roll(env, 20_000)
    taken = np.append(states.last_action[1:], last.last_action)
    np.testing.assert_array_equal(
        transition.reward, 2 * taken - 1
    )  # what was taken is what had an effect
    differ = transition.action != states.last_action  # also where an episode ended in between
    stuck = taken[differ] != transition.action[differ]
    assert stats.binomtest(int(stuck.sum()), len(stuck), 0.25).pvalue > 1e-4
    np.testing.assert_array_equal(taken[~differ], transition.action[~differ])
    after_an_end = np.flatnonzero(states.inner[1] == 0)[1:]
    np.testing.assert_array_equal(states.last_action[after_an_end], taken[after_an_end - 1])
    assert states.last_action[0] == 0


def test_repeated_actions_are_steps_by_hand():
    """Three steps of a slippery lake for each action, fewer where an episode ends."""
    inside = EpisodeStatistics(TimeLimit(RewardNoise(frozen_lake(slip=0.5), 0.1), 8))
    env = ActionRepeat(inside, 3)
    step, several = quick.jit(inside.step), quick.jit(env.step)
    state, ends = inside.reset(key_of(0)), []
    for t in range(40):
        key, action = key_of(t), t % 4
        rewards, taken = [], 0
        reached, (reward, terminated, truncated, metrics) = several(key, state, action)
        for one in jax.random.split(key, 3):
            state, outcome = step(one, state, action)
            rewards.append(outcome.reward)
            taken += 1
            if outcome.done:
                break
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), reached, state)
        assert (terminated, truncated) == (outcome.terminated, outcome.truncated)
        assert float(reward) == pytest.approx(float(sum(rewards)), abs=1e-6)
        np.testing.assert_allclose(
            metrics["episode_return"], outcome.metrics["episode_return"], rtol=1e-5
        )
        if outcome.done:
            ends.append((taken, bool(truncated)))
            state = inside.reset(key_of(t))
    assert {1, 2} <= {taken for taken, _ in ends} and {True, False} == {cut for _, cut in ends}


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_never_and_always_sticky(probability):
    transition, states, _ = roll(StickyActions(Walk(), probability), 100)
    np.testing.assert_array_equal(
        transition.reward, 2 * transition.action - 1 if probability == 0 else -np.ones(100)
    )
    assert states.last_action.dtype == np.int32


def test_the_sticky_model_is_exact():
    """Of every state, last action and action, by hand; and the states in the order of
    the model."""
    lake, p = frozen_lake(slip=0.4), 0.3
    env = StickyActions(TimeLimit(lake, 10), p)
    model, inside = jax.tree.map(np.asarray, (env.mdp, lake.mdp))
    assert model.probability.shape == (64, 4, 6)
    for s, b, a in np.ndindex(16, 4, 4):
        expected, found = {}, {}
        for taken, share in ((a, 1 - p), (b, p)):
            for k in range(3):
                row = s, taken, k
                entry = (
                    int(inside.next_state[row]) * 4 + taken,
                    float(inside.reward[row]),
                    bool(inside.terminated[row]),
                )
                expected[entry] = expected.get(entry, 0) + share * float(inside.probability[row])
        for k in range(6):
            row = s * 4 + b, a, k
            entry = (
                int(model.next_state[row]),
                float(model.reward[row]),
                bool(model.terminated[row]),
            )
            found[entry] = found.get(entry, 0) + float(model.probability[row])
        assert {e: q for e, q in found.items() if q} == pytest.approx(
            {e: q for e, q in expected.items() if q}, abs=1e-6
        )
    states = env.states()
    np.testing.assert_array_equal(env.observe(states), np.arange(64) // 4)
    np.testing.assert_array_equal(states.last_action, np.arange(64) % 4)
    np.testing.assert_array_equal(np.flatnonzero(model.initial), [0])


def test_the_sticky_model_says_what_happens():
    """The return it predicts is the mean of many episodes."""
    env = StickyActions(frozen_lake(slip=0.2), 0.5)
    policy = jnp.asarray([2, 3, 1, 0, 1, 0, 1, 0, 2, 1, 1, 0, 0, 2, 2, 0])
    predicted = mdp.expected_return(env.mdp, policy[env.observe(env.states())], 1.0)

    def episode(key):
        def step(carry, t):
            state, total, running = carry
            state, outcome = env.step(jax.random.fold_in(key, t), state, policy[env.observe(state)])
            return (
                state,
                total + jnp.where(running, outcome.reward, 0),
                running & ~outcome.terminated,
            ), None

        return jax.lax.scan(step, (env.reset(key), 0.0, True), jnp.arange(1, 200))[0][1]

    returns = np.asarray(quick.optimizing_jit(jax.vmap(episode))(jax.random.split(key_of(0), 2000)))
    assert abs(returns.mean() - predicted) < 4 * returns.std() / np.sqrt(2000)
    assert 0.05 < predicted < 0.95


def test_discretised_actions_map_over_tables():
    tables = jnp.array([[[-1.0], [1.0]], [[-2.0], [0.5]]])
    state = PendulumState(jnp.float32(1), jnp.float32(0))

    def step(table, action):
        env = DiscretizedActions(Pendulum(), table)
        assert env.num_actions == 2
        return env.step(None, state, action)[0].theta_dot

    got = quick.optimizing_jit(jax.vmap(jax.vmap(step, (None, 0)), (0, None)))(
        tables, jnp.arange(2)
    )
    direct = quick.optimizing_jit(
        jax.vmap(jax.vmap(lambda torque: Pendulum().step(None, state, torque)[0].theta_dot))
    )(tables)
    np.testing.assert_allclose(got, direct, rtol=1e-6)
    lanes = DiscretizedActions(Pendulum(), tables)
    axes = jax.tree.map(lambda leaf: 0 if leaf is tables else None, lanes)
    mapped = jax.vmap(lambda env: env.step(None, state, 1)[0], in_axes=(axes,))
    assert jax.eval_shape(mapped, lanes).theta_dot.shape == (2,)


# Rewards.


def test_reward_noise_is_normal_and_independent():
    env = RewardNoise(RewardScale(frozen_lake(slip=0.0, rows=["SSFF"]), 0.0), 2.0)
    transition, _, _ = roll(env, 20_000)
    assert stats.kstest(transition.reward, stats.norm(0, 2).cdf).pvalue > 1e-4
    for other in (transition.next_observation, transition.action, np.roll(transition.reward, 1)):
        assert abs(np.corrcoef(transition.reward, other)[0, 1]) < 0.03  # 4 standard errors
    quiet = roll(RewardNoise(Walk(), 0.0), 100)[0]
    np.testing.assert_array_equal(quiet.reward, 2 * quiet.action - 1)


def test_scaled_rewards_are_the_models_too():
    lake = frozen_lake()
    scaled = RewardScale(RewardNoise(lake, 1.0), -3.0)
    np.testing.assert_allclose(
        mdp.optimal_q(RewardScale(lake, 3.0).mdp, 0.9), 3 * mdp.optimal_q(lake.mdp, 0.9), rtol=1e-4
    )
    np.testing.assert_array_equal(scaled.mdp.reward, -3 * lake.mdp.reward)
    np.testing.assert_array_equal(scaled.states(), np.arange(16))


# Statistics.


def by_hand(rewards, done):
    """Returns and lengths of the episodes in a stream of steps."""
    ends = np.flatnonzero(done) + 1
    episodes = np.split(rewards, ends)[: len(ends)]
    return [episode.sum() for episode in episodes], [len(episode) for episode in episodes]


def test_statistics_are_of_what_lies_inside():
    """Under a reward wrapper the return is the true one; it is reported when an episode
    ends and at no other time."""
    env = RewardScale(EpisodeStatistics(TimeLimit(Walk(), 5)), 0.5)
    transition, _, _ = roll(env)
    done = transition.terminated | transition.truncated
    assert transition.truncated.any() and transition.terminated.any()
    returns, lengths = by_hand(2 * transition.reward, done)
    for name, expected in (("episode_return", returns), ("episode_length", lengths)):
        mean = transition.metrics[name]
        assert mean.total.dtype == mean.count.dtype == np.float32
        np.testing.assert_array_equal(mean.count, done)
        np.testing.assert_array_equal(mean.total[done], expected)
        assert not mean.total[~done].any()

    # An agent passes them on, and does not report its own, scaled, return in their
    # place.
    first = jax.tree.map(lambda x: x[np.flatnonzero(done)[0]], transition)
    _, metrics = Episode.new().update(first)
    assert metrics["episode_return"].total == returns[0] != first.reward


def test_statistics_inside_of_a_time_limit_see_only_what_terminates():
    """But of that the truth: each episode starts from nothing."""
    transition, _, _ = roll(TimeLimit(EpisodeStatistics(Walk()), 5))
    done = transition.terminated | transition.truncated
    _, lengths = by_hand(transition.reward, done)
    np.testing.assert_array_equal(transition.metrics["episode_length"].count, transition.terminated)
    kept = np.array(lengths)[transition.terminated[done]]
    np.testing.assert_array_equal(
        transition.metrics["episode_length"].total[transition.terminated], kept
    )
    assert len(kept) < len(lengths)


def test_the_innermost_statistics_are_heard():
    transition, _, _ = roll(EpisodeStatistics(RewardScale(EpisodeStatistics(Walk()), 100.0)))
    assert np.abs(transition.metrics["episode_return"].total).max() < 8


def test_statistics_of_cartpole_by_name():
    transition, _, _ = roll(EpisodeStatistics(make("CartPole-v1")), 500)
    mean = transition.metrics["episode_return"]
    assert mean.count.sum() == transition.terminated.sum() > 10
    assert mean.total.sum() == np.flatnonzero(transition.terminated)[-1] + 1  # a reward of 1 a step


def test_normalized_rewards_are_by_all_discounted_sums():
    """Each of rewards of its episode alone; mean and variance as for observations."""
    env = RewardNormalize(TimeLimit(Walk(), 5), discount=0.9, clip=2.0)
    transition, states, last = roll(env, 300)
    original = 2.0 * transition.action - 1
    ends = transition.terminated | transition.truncated
    discounted, so_far = np.zeros(300), 0.0
    for t in range(300):
        discounted[t] = so_far = 0.9 * so_far + original[t]
        so_far = 0.0 if ends[t] else so_far
    count = np.arange(1, 301) + 1e-4
    mean = np.cumsum(discounted) / count
    variance = (1e-4 + np.cumsum(discounted**2)) / count - mean**2
    expected = np.clip(original / np.sqrt(variance + 1e-8), -2, 2)
    np.testing.assert_allclose(transition.reward, expected, rtol=1e-3)
    assert (np.abs(transition.reward) == 2).any() and (np.abs(transition.reward) < 2).any()
    assert transition.reward.dtype == np.float32
    np.testing.assert_allclose(last.variance, variance[-1], rtol=1e-4)
    np.testing.assert_allclose(states.discounted[1:], np.where(ends, 0, discounted)[:-1], rtol=1e-5)
    np.testing.assert_allclose(np.diff(states.count), 1, rtol=1e-4)


# What is refused.


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: OneHot(frozen_lake(), 0), "OneHot: size is 0; allowed: a positive whole number"),
        (
            lambda: FrameStack(Walk(), 0),
            "FrameStack: num_frames is 0; allowed: a positive whole number",
        ),
        (
            lambda: FrameStack(Walk(), 2.0),
            "FrameStack: num_frames is 2.0; allowed: a positive whole number",
        ),
        (
            lambda: ObservationNormalize(Walk(), epsilon=0.0),
            "epsilon is 0.0; allowed: a finite number above 0",
        ),
        (
            lambda: ObservationNormalize(Walk(), clip=-1.0),
            "clip is -1.0; allowed: a number above 0",
        ),
        (lambda: ActionRepeat(Walk(), 0), "times is 0; allowed: a positive whole number"),
        (
            lambda: ActionRepeat(purerl.make("AccessControl-v0"), 2),
            "env is FiniteEnvironment; allowed: an environment in which every action can be taken",
        ),
        (
            lambda: RewardNormalize(Walk(), discount=1.5),
            r"RewardNormalize: discount is 1.5; allowed: a number in \[0, 1\]",
        ),
        (lambda: RewardNormalize(Walk(), epsilon=0.0), "epsilon is 0.0; allowed: a finite number"),
        (lambda: RewardNormalize(Walk(), clip=0.0), "clip is 0.0; allowed: a number above 0"),
        (lambda: StickyActions(Walk(), 1.5), r"probability is 1.5; allowed: a number in \[0, 1\]"),
        (lambda: RewardScale(Walk(), float("nan")), "scale is nan; allowed: a finite number"),
        (
            lambda: RewardNoise(Walk(), -1.0),
            "scale is -1.0; allowed: a finite number of at least 0",
        ),
        (
            lambda: DiscretizedActions(CartPole(), jnp.zeros((2, 1))),
            "env is CartPole; allowed: an environment with continuous actions",
        ),
        (
            lambda: DiscretizedActions(Pendulum(), jnp.zeros(3)),
            r"(?s)actions is .*; allowed: an array \[A, 1\]",
        ),
        (
            lambda: DiscretizedActions(Pendulum(), jnp.zeros((3, 2))),
            r"(?s)actions is .*; allowed: an array \[A, 1\]",
        ),
        (
            lambda: DiscretizedActions(Pendulum(), [[1.0], [2.0]]),
            r"(?s)actions is .*; allowed: an array \[A, 1\]",
        ),
        (
            lambda: DiscretizedActions(Pendulum(), np.array([[np.inf]])),
            "actions is .*; allowed: a finite number",
        ),
    ],
)
def test_wrong_parameters_are_refused(build, says):
    with pytest.raises(ValueError, match=says):
        build()
