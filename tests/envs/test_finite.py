"""Episodes of a finite MDP follow its tables: outcomes, starts, padding."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import purerl.random
from purerl.envs import gridworld
from purerl.envs.finite import FiniteEnvironment
from purerl.envs.toy_text import frozen_lake
from purerl.mdp.model import FiniteMDP
from tests import quick


def random_mdp(seed, num_states=3, num_actions=2, num_outcomes=4, starts=None):
    """Every outcome goes to another state and has a reward of its own; about a third of
    the outcomes are padding."""
    rng = np.random.default_rng(seed)
    shape = num_states, num_actions, num_outcomes
    weight = rng.uniform(0.05, 1, shape) * (rng.uniform(size=shape) < 2 / 3)
    weight[..., rng.integers(num_outcomes)] += 0.1
    initial = np.zeros(num_states)
    initial[starts if starts is not None else slice(None)] = 1
    return FiniteMDP(
        probability=weight / weight.sum(-1, keepdims=True),
        next_state=np.broadcast_to(np.arange(num_outcomes) % num_states, shape),
        reward=np.broadcast_to(np.arange(num_outcomes, dtype=float), shape),
        terminated=rng.uniform(size=shape) < 0.5,
        initial=initial / initial.sum(),
    )


@quick.optimizing_jit
def draw_steps(env, keys):
    """Outcome of every state and action for each key, leaves [N, S, A]."""
    states, actions = jnp.arange(env.num_states), jnp.arange(env.num_actions)
    over_actions = jax.vmap(env.step, (None, None, 0))
    return jax.vmap(jax.vmap(over_actions, (None, 0, None)), (0, None, None))(keys, states, actions)


@pytest.mark.parametrize("seed", range(4))
def test_outcomes_are_drawn_with_their_probabilities(seed):
    env = FiniteEnvironment.of(random_mdp(seed))
    n = 20_000
    next_state, outcome = draw_steps(env, jax.random.split(purerl.random.key(seed), n))
    drawn = np.asarray(outcome.reward).astype(int)  # the reward is the outcome's number
    np.testing.assert_array_equal(next_state, drawn % env.num_states)
    assert not outcome.truncated.any()
    for s in range(env.num_states):
        for a in range(env.num_actions):
            p = np.asarray(env.mdp.probability[s, a], np.float64)
            counts = np.bincount(drawn[:, s, a], minlength=len(p))
            assert counts[p == 0].sum() == 0
            possible = p > 0
            expected = n * p[possible] / p.sum()
            assert possible.sum() == 1 or stats.chisquare(counts[possible], expected).pvalue > 1e-4
            np.testing.assert_array_equal(
                outcome.terminated[:, s, a], env.mdp.terminated[s, a][drawn[:, s, a]]
            )


@given(
    weights=st.lists(st.one_of(st.just(0.0), st.floats(1e-6, 1)), min_size=6, max_size=6).filter(
        any
    ),
    u=st.floats(0, 1, exclude_max=True, width=32),
)
def test_inversion_never_yields_an_impossible_outcome(weights, u):
    """For any ``u``, the largest included: ``F[k-1] <= u < F[k]``, and the outcome
    chosen has a positive probability."""
    p = (np.array(weights) / np.sum(weights)).astype(np.float32)
    mdp = FiniteMDP(
        probability=p[None, None],
        next_state=np.zeros((1, 1, 6), int),
        reward=np.zeros((1, 1, 6), np.float32),
        terminated=np.zeros((1, 1, 6), bool),
        initial=np.ones(1, np.float32),
    )
    thresholds = np.asarray(FiniteEnvironment.of(mdp).outcome_thresholds[0, 0])
    for draw in (u, 0.0, np.nextafter(np.float32(1), np.float32(0))):
        k = int(np.sum(np.float32(draw) >= thresholds))
        assert p[k] > 0
        distribution = np.cumsum(p, dtype=np.float64)
        assert (distribution[k - 1] if k else 0) - 1e-6 <= draw <= distribution[k] + 1e-6


def test_rounding_does_not_reach_the_padding():
    """Ten times 0.1 is less than one in float32: without care, the largest draws would
    choose the eleventh outcome."""
    p = np.array([0.1] * 10 + [0.0], np.float32)
    assert np.cumsum(p, dtype=np.float32)[9] != 1
    mdp = FiniteMDP(
        probability=p[None, None],
        next_state=np.zeros((1, 1, 11), int),
        reward=np.zeros((1, 1, 11), np.float32),
        terminated=np.zeros((1, 1, 11), bool),
        initial=np.ones(1, np.float32),
    )
    thresholds = FiniteEnvironment.of(mdp).outcome_thresholds[0, 0]
    assert int(jnp.sum(jnp.float32(1) >= thresholds)) == 9


@pytest.mark.parametrize("starts", [[2], [0, 4], [1, 2, 3, 6], list(range(7))])
def test_starts_follow_initial(starts):
    mdp = random_mdp(0, num_states=7, starts=starts)
    weight = np.zeros(7)
    weight[starts] = np.arange(1, len(starts) + 1)
    initial = weight / weight.sum()
    env = FiniteEnvironment.of(mdp.replace(initial=initial))
    np.testing.assert_array_equal(env.start_states, starts)
    n = 20_000
    states = quick.optimizing_jit(jax.vmap(env.reset))(jax.random.split(purerl.random.key(1), n))
    counts = np.bincount(np.asarray(states), minlength=7)
    assert counts[weight == 0].sum() == 0
    assert len(starts) == 1 or stats.chisquare(counts[starts], n * initial[starts]).pvalue > 1e-4


def test_nothing_is_drawn_where_there_is_nothing_to_choose():
    env = frozen_lake(slip=0.0)
    no_key = None  # would fail if it were used
    assert int(env.reset(no_key)) == 0
    state, outcome = env.step(no_key, jnp.int32(14), jnp.int32(2))
    assert (int(state), float(outcome.reward), bool(outcome.terminated)) == (15, 1.0, True)


def test_contract():
    env = FiniteEnvironment.of(random_mdp(0, num_states=5, num_actions=3))
    assert (env.num_states, env.num_actions) == (5, 3)
    assert env.observation == jax.ShapeDtypeStruct((), jnp.int32)
    state = env.reset(purerl.random.key(0))
    reached, outcome = env.step(purerl.random.key(1), state, 1)
    for index in (state, reached, env.observe(reached)):
        assert (index.shape, index.dtype) == ((), jnp.int32)
    assert [x.dtype for x in outcome[:3]] == [jnp.float32, jnp.bool_, jnp.bool_]


def test_reward_is_float32_under_x64():
    with jax.enable_x64(True):
        env = FiniteEnvironment.of(random_mdp(0))
        assert env.mdp.reward.dtype == jnp.float64
        state, outcome = env.step(purerl.random.key(1), env.reset(purerl.random.key(0)), 0)
        assert (state.dtype, outcome.reward.dtype) == (jnp.int32, jnp.float32)


def test_models_of_one_shape_stack_and_map():
    """Derived under vmap, where the starts are not known, an environment behaves as the
    one derived outside."""
    mdps = [random_mdp(seed, starts=[seed % 3]) for seed in range(5)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *mdps)
    envs = jax.vmap(FiniteEnvironment.of)(stacked)
    keys = jax.random.split(purerl.random.key(3), (5, 40))
    resets = jax.vmap(lambda env, ks: jax.vmap(env.reset)(ks))(envs, keys)
    np.testing.assert_array_equal(resets, np.broadcast_to(np.arange(5)[:, None] % 3, (5, 40)))
    reached, outcome = jax.vmap(draw_steps)(envs, keys)
    for i, mdp in enumerate(mdps):
        alone, alone_outcome = draw_steps(FiniteEnvironment.of(mdp), keys[i])
        np.testing.assert_array_equal(reached[i], alone)
        np.testing.assert_array_equal(outcome.reward[i], alone_outcome.reward)


def test_leaves_map_without_a_new_environment():
    env = frozen_lake(slip=0.0)

    def reward_on_the_goal(scale):
        scaled = jax.tree.map(lambda leaf: scale * leaf if leaf is env.mdp.reward else leaf, env)
        return scaled.step(purerl.random.key(0), jnp.int32(14), jnp.int32(2))[1].reward

    np.testing.assert_array_equal(
        jax.vmap(reward_on_the_goal)(jnp.array([1.0, 2.0, -3.0])), [1.0, 2.0, -3.0]
    )


def test_a_new_model_brings_its_own_dynamics():
    slippery, dry = frozen_lake(slip=2 / 3), frozen_lake(slip=0.2)
    changed = slippery.replace(mdp=dry.mdp)
    chex.assert_trees_all_equal(jax.tree.leaves(changed)[:9], jax.tree.leaves(dry)[:9])
    elsewhere = dry.mdp.replace(initial=np.eye(16)[14])
    assert slippery.replace(mdp=elsewhere).reset(purerl.random.key(0)) == 14


def test_physics_of_grids_map_sweep_and_have_gradients():
    slips = np.array([0.0, 0.1, 0.9], np.float32)
    mapped = jax.vmap(lambda slip: frozen_lake(slip=slip).mdp.probability)(slips)
    swept = [frozen_lake().replace(slip=slip).mdp.probability for slip in slips]
    made = [frozen_lake(slip=slip).mdp.probability for slip in slips]
    np.testing.assert_allclose(mapped, swept, atol=1e-7)
    np.testing.assert_allclose(mapped[1:], made[1:], atol=1e-7)
    rewards = jax.vmap(lambda r: gridworld(["S.G"], step_reward=r).mdp.reward[0, 1, 0])(slips)
    np.testing.assert_array_equal(rewards, slips)

    def value(slip):
        return purerl.mdp.expected_return(frozen_lake(slip=slip).mdp, np.full(16, 1), 0.9)

    slope = (value(jnp.float32(0.31)) - value(jnp.float32(0.29))) / 0.02
    assert jax.grad(value)(jnp.float32(0.3)) == pytest.approx(float(slope), rel=1e-2)


def test_a_sweep_over_parts_of_a_model_plays_what_it_is_judged_by():
    env = purerl.make("FrozenLake-v1", slip=2 / 3)
    dry = frozen_lake(slip=0.0).replace(slip=0.2)

    def sweep(env, over=None):
        agent = purerl.QLearning(env=env, learning_rate=0.1)
        options = {"seeds": 4, "num_steps": 2000, "points": 1, "progress": False}
        return purerl.sweep(agent, over=over, **options).curves

    alone = sweep(env.replace(env=dry))
    for over in ({"env.env.slip": [0.2]}, {"env.env.mdp.probability": [dry.mdp.probability]}):
        chex.assert_trees_all_equal(sweep(env, over), alone)
