"""The experiments are bsuite's, and what is recorded is what bsuite writes down."""

import bsuite
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bsuite import sweep
from bsuite.utils import wrappers

import purerl
import purerl.random
from purerl.envs import interact
from purerl.envs.bsuite import (
    ENVIRONMENTS,
    EXPERIMENTS,
    Bandit,
    Catch,
    DeepSea,
    DiscountingChain,
    MemoryChain,
    Record,
    UmbrellaChain,
    load,
)
from purerl.envs.bsuite.logging import logged_episodes
from purerl.envs.wrappers import RewardNoise, RewardScale
from tests import quick

IDS = [bsuite_id for bsuite_id in sweep.SWEEP if not bsuite_id.startswith("mnist")]


def test_ids_settings_episodes_and_tags_are_bsuites():
    assert [name.removeprefix("bsuite/") for name in ENVIRONMENTS] == IDS
    assert (len(EXPERIMENTS), len(IDS), len(sweep.SWEEP)) == (20, 408, 468)
    for bsuite_id in IDS:
        name, index = bsuite_id.split("/")
        ours = EXPERIMENTS[name]
        theirs = {
            key: value for key, value in sweep.SETTINGS[bsuite_id].items() if key != "seed"
        }  # the key is the seed here
        assert ours.settings[int(index)] == theirs
        assert ours.episodes == sweep.EPISODES[bsuite_id]
        assert set(ours.tags) == {tag for tag in sweep.TAGS if bsuite_id in sweep.TAGS[tag]}


def innermost(env):
    while hasattr(env, "env"):
        env = env.env
    return env


def test_every_id_builds_what_bsuite_builds():
    """Shapes, mappings for every seed in use, noise, scale and what else a setting
    sets."""
    for bsuite_id in IDS:
        env, theirs = purerl.make(f"bsuite/{bsuite_id}"), bsuite.load_from_id(bsuite_id)
        raw, inside = getattr(theirs, "raw_env", theirs), innermost(env)
        assert str(env) == bsuite_id
        assert env.observation.shape == theirs.observation_spec().shape
        assert env.observation.dtype == theirs.observation_spec().dtype == np.float32
        assert env.num_actions == theirs.action_spec().num_values
        wrapped = env.env
        if isinstance(theirs, wrappers.RewardNoise):
            assert isinstance(wrapped, RewardNoise) and wrapped.scale == theirs._noise_scale
            wrapped = wrapped.env
        elif isinstance(theirs, wrappers.RewardScale):
            assert isinstance(wrapped, RewardScale) and wrapped.scale == theirs._reward_scale
            wrapped = wrapped.env
        assert isinstance(wrapped, Record) and wrapped.episodes == theirs.bsuite_num_episodes
        match inside:
            case Bandit() | DiscountingChain():
                np.testing.assert_array_equal(inside.rewards, np.float32(raw._rewards))
            case DeepSea():
                np.testing.assert_array_equal(inside.right, raw._action_mapping)
                assert (inside.stochastic, inside.move_cost) == (
                    not raw._deterministic,
                    raw._unscaled_move_cost,
                )
            case MemoryChain():
                assert (inside.memory_length, inside.num_bits) == (
                    raw._memory_length,
                    raw._num_bits,
                )
            case UmbrellaChain():
                assert (inside.chain_length, inside.num_distractors) == (
                    raw._chain_length,
                    raw._n_distractor,
                )
        if bsuite_id.startswith("cartpole_swingup"):
            for field in (
                "height_threshold",
                "x_reward_threshold",
                "theta_dot_threshold",
                "move_cost",
                "max_time",
            ):
                assert getattr(inside, field) == getattr(raw, f"_{field}")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: load("mnist"), "unknown experiment 'mnist'; known: bandit, "),
        (lambda: load("catch", 20), "catch has no setting 20; allowed: 0 to 19"),
        (lambda: load("catch", episodes=0), "episodes is 0; allowed: a whole number in"),
        (lambda: load("catch", episodes=10_001), "episodes is 10001; allowed: a whole number in"),
        (lambda: Record(Catch(), 5, ("regret",)), "columns has 'regret'; allowed: total_return, "),
        (
            lambda: purerl.make("bsuite/catch/0", rows=5),
            "has no parameter 'rows'; allowed: episodes",
        ),
    ],
)
def test_wrong_arguments_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


# ---- the record --------------------------------------------------------------


def experience(env, steps, policy, seed=0):
    """Transitions of episodes in a row."""
    reset_key, key = jax.random.split(purerl.random.key(seed))

    def step(state, t):
        act_key, env_key = jax.random.split(jax.random.fold_in(key, t))
        return interact(env, env_key, state, policy(act_key, state))

    return jax.tree.map(
        np.asarray,
        quick.optimizing_jit(
            lambda: jax.lax.scan(step, env.reset(reset_key), jnp.arange(steps))[1]
        )(),
    )


def uniform(key, state):
    return jax.random.randint(key, (), 0, 2)


def test_a_record_survives_episodes_and_then_stands_still():
    ours = experience(
        Record(Catch(), 50, ("total_regret", "total_return", "best_episode")), 900, uniform
    )
    column = {name: mean.total for name, mean in ours.metrics.items()}
    assert all((mean.count == 1).all() for mean in ours.metrics.values())
    last = 9 * 50 - 1
    reward = ours.reward[ours.terminated]
    assert (
        column["total_regret"][last] == (1 - reward[:50]).sum()
        and column["total_return"][last] == reward[:50].sum()
    )
    for values in column.values():
        assert (values[last:] == values[last]).all()
    assert column["best_episode"][last] == 1
    assert (column["finished"] == (np.arange(900) >= last)).all()
    np.testing.assert_array_equal(column["episodes"], np.minimum(np.cumsum(ours.terminated), 50))


def test_noise_and_scale_are_not_recorded():
    noisy, scaled = (
        experience(load(name, 0), 90, uniform) for name in ("catch_noise", "catch_scale")
    )
    assert np.abs(scaled.reward).max() == np.float32(0.001) and len(np.unique(noisy.reward)) == 90
    for ours in (noisy, scaled):
        landed = ours.terminated.nonzero()[0]
        raw = np.where(
            ours.next_observation[landed].sum((1, 2)) == 1, 1, -1
        )  # ball and paddle are one
        np.testing.assert_array_equal(
            ours.metrics["total_regret"].total[landed], np.cumsum(1 - raw)
        )


def test_logged_episodes_are_bsuites():
    theirs = [episode for episode in range(1, 10_001) if wrappers._logarithmic_logging(episode)]
    assert list(logged_episodes(10_000)) == theirs


def test_solved_episode_is_the_first_logged_one_with_few_bad_episodes():
    """Of divers who err less and less, each at a pace of its own, by the criteria of
    both experiments."""
    criteria = (
        (9, 1),
        (8, 100),
    )  # fewer than that many tenths of the episodes are bad, from that episode on
    records = [load(name, 0).env for name in ("deep_sea", "deep_sea_stochastic")]
    assert tuple((record.solved_tenths, record.solved_from) for record in records) == criteria
    env = records[0]
    right = innermost(env).right

    def one(lane, tenths, first):
        recorded = env.replace(solved_tenths=tenths, solved_from=first)
        reset_key, key = jax.random.split(purerl.random.seed_key(0, lane))

        def step(state, t):
            act_key, env_key = jax.random.split(jax.random.fold_in(key, t))
            error = jnp.clip(0.9 - t / (2_000.0 * (lane + 0.2) ** 2), 0.01, 0.9)
            correct = jnp.asarray(right)[state.inner.row, state.inner.column]
            action = jnp.where(jax.random.uniform(act_key) < error, 1 - correct, correct)
            return interact(recorded, env_key, state, action)

        return jax.lax.scan(step, recorded.reset(reset_key), jnp.arange(10_000))[1]

    lanes = np.arange(8)
    tenths, first = np.array([criteria[lane % 2] for lane in lanes]).T
    ours = jax.tree.map(np.asarray, quick.optimizing_jit(jax.vmap(one))(lanes // 2, tenths, first))
    found = []
    for lane in lanes:
        column = {
            name: mean.total[lane][ours.terminated[lane]] for name, mean in ours.metrics.items()
        }
        share = column["total_bad_episodes"] / np.arange(1, 1_001)
        logged = [e for e in range(first[lane], 1_001) if wrappers._logarithmic_logging(e)]
        good = [e for e in logged if share[e - 1] < tenths[lane] / 10]
        assert column["solved_episode"][-1] == (good[0] if good else 0)
        found.append(int(column["solved_episode"][-1]))
    assert min(found) == 0 and len(set(found[::2])) >= 3 and len(set(found[1::2])) >= 3, found
