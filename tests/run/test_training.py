"""Training: segments, curves, and metrics that count what they say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purerl
import purerl.random
from purerl import schedule
from purerl.envs import FiniteEnvironment, OneHot, TimeLimit
from purerl.mdp import FiniteMDP
from purerl.metrics import Mean
from purerl.pytree import Node
from purerl.rollout import Episode
from purerl.run import training
from tests import quick

KEY = purerl.random.key(5, "pcg4d")


def corridor(rewards, ends=True):
    """One action, and a reward at each step of the way; the last step ends the
    episode or leads back to the start."""
    n = len(rewards)
    return FiniteEnvironment.of(
        FiniteMDP(
            probability=np.ones((n, 1, 1)),
            next_state=np.roll(np.arange(n), -1)[:, None, None],
            reward=np.array(rewards, float)[:, None, None],
            terminated=(np.arange(n) == n - 1)[:, None, None] & ends,
            initial=np.eye(n)[0],
        )
    )


def q_learning(env, **fields):
    return purerl.QLearning(env=env, **fields)


def small_dqn(env, **fields):
    sizes = dict(
        num_envs=2,
        train_period=2,
        target_period=8,
        batch_size=8,
        replay=purerl.replay.Uniform(64),
        learning_starts=16,
        network=purerl.networks.MLP((8,)),
    )
    return purerl.DQN(env=env, **(sizes | fields))


FROZEN_LAKE = purerl.make("FrozenLake-v1")
AGENTS = {
    "q_learning": q_learning(FROZEN_LAKE),
    "q_learning with schedules": q_learning(
        FROZEN_LAKE,
        learning_rate=schedule.power(0.9, 0.6, 3.0),
        discount=schedule.linear(0.5, 0.97, 113),
        epsilon=schedule.exponential(1.0, 37.0, 0.05),
        count_visits=True,
    ),
    "dqn": small_dqn(purerl.make("CartPole-v1"), epsilon=schedule.linear(1.0, 0.1, 97)),
    "dqn with schedules": small_dqn(
        OneHot(FROZEN_LAKE, 16),
        learning_rate=schedule.linear(1e-2, 1e-4, 101),
        discount=schedule.linear(0.5, 0.97, 113),
        target_step_size=schedule.constant(0.3),
    ),
    "ppo with schedules": purerl.PPO(
        env=FROZEN_LAKE,
        network=purerl.networks.ActorCritic(()),
        num_envs=2,
        rollout_length=8,
        learning_rate=schedule.linear(1e-2, 1e-4, 101),
        clip=schedule.exponential(0.3, 41.0, 0.1),
        entropy_weight=schedule.linear(0.1, 0.0, 97),
    ),
}

init = jax.jit(lambda agent, key: agent.init(key))
segment = jax.jit(training.segment, static_argnums=3)


def assert_same_bits(x, y):
    assert jax.tree.structure(x) == jax.tree.structure(y)
    for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(y), strict=True):
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(a, b)


CUTS = {
    "q_learning": (258, [1, 130]),
    "q_learning with schedules": (258, [1, 130]),
    "dqn": (15, [5, 10]),
    "dqn with schedules": (15, [5, 10]),
    "ppo with schedules": (15, [5, 10]),
}


@pytest.mark.optimized
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name.startswith("dqn") else name
        for name in AGENTS
    ],
)
def test_a_run_cut_into_segments_is_the_run(name):
    """At odd places, into pieces shorter and longer than a block of
    ``timescan.time_scan``; nothing is kept but the state."""
    agent, (length, cuts) = AGENTS[name], CUTS[name]
    start = init(agent, KEY)
    whole, totals = segment(agent, start, 0, length)
    state, parts = start, []
    for begin, end in zip([0, *cuts], [*cuts, length], strict=True):
        state, part = segment(agent, state, begin, end - begin)
        parts.append(part)
    assert_same_bits(state, whole)
    added = jax.tree.map(lambda *x: sum(x), *parts)
    assert_same_bits(
        added["episode_return"], totals["episode_return"]
    )  # whole numbers, added without rounding
    for one, other in zip(jax.tree.leaves(added), jax.tree.leaves(totals), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


@pytest.mark.optimized
def test_a_run_cut_into_segments_is_the_run_with_any_jax_key():
    agent = AGENTS["q_learning"]
    start = init(agent, jax.random.key(0, impl="rbg"))
    state = segment(agent, segment(agent, start, 0, 101)[0], 101, 101)[0]
    assert_same_bits(state, segment(agent, start, 0, 202)[0])


@pytest.mark.optimized
def test_a_segment_may_begin_at_a_traced_time():
    agent = AGENTS["q_learning with schedules"]
    start = init(agent, KEY)
    assert_same_bits(segment(agent, start, jnp.int32(40), 10), segment(agent, start, 40, 10))


@pytest.mark.optimized
@pytest.mark.parametrize("name", ["q_learning", "dqn"])
def test_training_is_the_segments_one_after_another(name):
    agent = AGENTS[name]
    unit = agent.transitions_per_step
    num_iterations, _ = CUTS[name]
    train = jax.jit(lambda agent, key: purerl.train(agent, key, num_iterations * unit, points=3))
    state, curves = train(agent, KEY)
    uncut, totals = segment(agent, init(agent, jax.random.split(KEY)[0]), 0, num_iterations)
    assert_same_bits(state, uncut)
    for name, mean in totals.items():
        assert curves[name].shape == (3,) and curves[name].dtype == jnp.float32
        if name == "loss":  # counted at every step, so that the mean of the points is the mean
            np.testing.assert_allclose(np.mean(curves[name]), mean.total / mean.count, rtol=1e-5)


@pytest.mark.parametrize(
    ("env", "returns", "at"),
    [
        (corridor([1, 2, 4]), [7], 3),  # terminated
        (TimeLimit(corridor([1, 2, 4]), 2), [3], 2),  # truncated before the end
        (
            TimeLimit(corridor([1, 2, 4]), 3),
            [7],
            3,
        ),  # at the end and at the limit at once: one episode, not two
        (TimeLimit(corridor([1, -2, 8], ends=False), 4), [8], 4),  # truncated after coming round
    ],
)
def test_the_return_of_an_episode_is_counted_when_it_ends(env, returns, at):
    agent = q_learning(env)
    num_steps = 12
    _, curves = quick.jit(lambda key: purerl.train(agent, key, num_steps, points=num_steps))(KEY)
    ended = (np.arange(1, num_steps + 1) % at) == 0
    np.testing.assert_array_equal(
        curves["episode_return"], np.where(ended, returns[0], np.nan)
    )  # nothing counted is NaN
    _, totals = segment(agent, init(agent, KEY), 0, num_steps + 1)
    assert totals["episode_return"] == Mean(returns[0] * (num_steps // at), num_steps // at)


def test_an_episode_goes_on_through_points_and_counts_where_it_ends():
    agent = q_learning(corridor([1, 2, 4, 8, 16]))
    _, curves = quick.jit(lambda key: purerl.train(agent, key, 12, points=4))(
        KEY
    )  # ends at steps 5 and 10
    np.testing.assert_array_equal(curves["episode_return"], [np.nan, 31, np.nan, 31])


def test_long_and_short_episodes_count_alike():
    """One random start leads to an episode of one step and return 0, the other to
    one of nine steps and return 9."""
    chain = corridor([0, 1, 1, 1, 1, 1, 1, 1, 1, 1]).mdp
    mdp = chain.replace(
        terminated=chain.terminated.at[0, 0, 0].set(True),
        initial=jnp.zeros(10).at[jnp.array([0, 1])].set(0.5),
    )
    agent = q_learning(FiniteEnvironment.of(mdp))
    _, totals = segment(agent, init(agent, KEY), 0, 50_000)
    total, count = totals["episode_return"]
    ended, rest = divmod(50_000 - float(count - total / 9) - float(total), 1)
    assert (
        rest == 0 and 0 <= ended < 9
    )  # every step belongs to a counted episode, or to the one under way
    share = float(total / 9 / count)
    assert abs(share - 0.5) < 5 * 0.5 / np.sqrt(
        float(count)
    )  # by steps it would be .9, by episodes it is .5


def test_means_reduce_by_adding():
    lanes = {
        "x": Mean(jnp.array([6.0, 0.0, 4.0]), jnp.array([3.0, 0.0, 1.0])),
        "none": Mean(jnp.zeros(3), jnp.zeros(3)),
    }
    each, together = training.averages(lanes), training.averages(jax.tree.map(jnp.sum, lanes))
    np.testing.assert_array_equal(each["x"], [2.0, np.nan, 4.0])
    assert together["x"] == 2.5  # not the average of the averages
    assert np.isnan(together["none"])


def transition(reward, terminated=False, truncated=False):
    zero = jnp.int32(0)
    return purerl.envs.Transition(
        zero, zero, jnp.float32(reward), jnp.bool_(terminated), jnp.bool_(truncated), zero
    )


def test_an_episode_adds_up_and_starts_again():
    episode, reported = Episode.new(), []
    for step in [(1.0,), (2.0, True), (4.0, False, True), (8.0,), (16.0, True, True)]:
        episode, metrics = episode.update(transition(*step))
        reported.append(tuple(map(float, metrics["episode_return"])))
    assert reported == [(0, 0), (3, 1), (4, 1), (0, 0), (24, 1)]
    assert episode.episode_return == 0


class Endless(Node):
    """The least agent there is: every step ends an episode of return 1."""

    env = None
    transitions_per_step = 1

    def init(self, key):
        del key
        return jnp.int32(0)

    def step(self, state, t):
        del t
        return state + 1, {"episode_return": Mean(jnp.float32(1), jnp.float32(1))}


def test_a_segment_counts_beyond_the_whole_numbers_of_float32():
    length = 2**24 + 64
    state, totals = segment(Endless(), jnp.int32(0), 0, length)
    assert state == length
    assert abs(int(totals["episode_return"].count) - length) <= 2
    assert abs(int(totals["episode_return"].total) - length) <= 2


def test_more_iterations_than_time_can_count_are_refused():
    with pytest.raises(ValueError, match="num_steps"):
        jax.eval_shape(lambda key: purerl.train(AGENTS["q_learning"], key, 2**32, points=2), KEY)


class Spy:
    """An evaluation that shows what it is given."""

    def prepare(self, agent):
        return 10 * agent.learning_rate

    def __call__(self, agent, state, key, prepared):
        return {
            "first": state.q[0, 0] * agent.learning_rate,
            "draw": jax.random.bits(key),
            "prepared": prepared,
        }


def test_an_evaluation_sees_the_agent_and_the_state_of_its_point_and_a_key_of_its_own():
    agent = q_learning(corridor([1.0, 2.0]), learning_rate=0.5, discount=0.0)
    state, curves = quick.jit(lambda key: purerl.train(agent, key, 6, points=3, evaluation=Spy()))(
        KEY
    )
    np.testing.assert_array_equal(
        curves["first"], [0.25, 0.375, 0.4375]
    )  # half-way to 1 at each visit, times one half
    np.testing.assert_array_equal(curves["prepared"], [5, 5, 5])
    assert len(set(curves["draw"].tolist())) == 3
    assert_same_bits(
        state, quick.jit(lambda key: purerl.train(agent, key, 6, points=3))(KEY)[0]
    )  # looking on changes nothing


@pytest.mark.parametrize(
    ("num_steps", "points", "message"),
    [
        (0, 1, "num_steps is 0; allowed: a positive whole number"),
        (-40, 1, "num_steps is -40"),
        (42, 1, "num_steps is 42; allowed: a positive multiple of 4 .*such as 40"),
        (
            40,
            4,
            "num_steps is 40; allowed: a positive multiple of 16 .*points=4 times the 4 "
            "transitions.* such as 32",
        ),
        (3, 1, "such as 4"),
        (40, 0, "points is 0; allowed: a positive whole number"),
        (40, -1, "points is -1"),
    ],
)
def test_steps_that_cannot_be_cut_are_refused(num_steps, points, message):
    with pytest.raises(ValueError, match=message):
        purerl.train(AGENTS["dqn"], KEY, num_steps, points=points)
    if points > 0:
        suggested = max(4 * points, num_steps // (4 * points) * 4 * points)
        assert training.iterations_per_point(AGENTS["dqn"], suggested, points) == suggested // (
            4 * points
        )
