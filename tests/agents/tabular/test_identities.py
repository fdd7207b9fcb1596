"""Methods that must be one another at some setting, and what holds of every model:
step by step, over random tables."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import purerl.random
from purerl import agents, mdp, policy, schedule
from purerl.envs import FiniteEnvironment, Transition, interact
from tests import quick

STEPS = 6
MODEL = mdp.garnet(purerl.random.key(0, "pcg4d"), 5, 3, 2)
ENV = FiniteEnvironment.of(MODEL)
# Whatever is done may end the episode.
ENDS = FiniteEnvironment.of(MODEL.replace(terminated=np.arange(2) == np.zeros((5, 3, 1))))

unit = st.floats(0, 1, width=32)
numbers = st.floats(-5, 5, width=32, allow_subnormal=False)
tables = arrays(np.float32, (5, 3), elements=numbers)
values = arrays(np.float32, 5, elements=numbers)
seeds = st.integers(0, 2**31 - 1)
models = st.builds(lambda seed: mdp.garnet(purerl.random.key(seed, "pcg4d"), 5, 3, 2), seeds)
discounts = st.floats(0, 0.9375, width=32)


def each(elements, dtype=np.int32):
    return arrays(dtype, STEPS, elements=elements)


flags = each(st.booleans(), bool)
streams = st.builds(
    Transition,
    each(st.integers(0, 4)),
    each(st.integers(0, 2)),
    each(numbers, np.float32),
    flags,
    flags,
    each(st.integers(0, 4)),
    st.just({}),
)
settings = st.fixed_dictionaries(
    {name: unit for name in ("alpha", "exponent", "discount", "epsilon")}
)


def methods(alpha, exponent, discount, epsilon):
    """The methods, each under a name."""
    basics = {
        "learning_rate": schedule.Power(alpha, exponent, 1.0),
        "discount": discount,
        "epsilon": epsilon,
        "count_visits": True,
    }
    made = {
        "sarsa": agents.SARSA(env=ENV, **basics),
        "1-step sarsa": agents.NStepSARSA(env=ENV, n=1, **basics),
        "2-step sarsa": agents.NStepSARSA(env=ENV, n=2, **basics),
        "expected sarsa": agents.ExpectedSARSA(env=ENV, **basics),
        "1-step tree backup": agents.TreeBackup(env=ENV, n=1, **basics),
        "q-learning": agents.QLearning(env=ENV, **basics),
        "greedy expected sarsa": agents.ExpectedSARSA(env=ENV, target=policy.Greedy(), **basics),
    }
    for kind in agents.TRACES:
        for lambda_ in (0.0, 0.9):
            made[f"sarsa({lambda_}), {kind}"] = agents.SARSALambda(
                env=ENV, lambda_=lambda_, trace=kind, **basics
            )
            made[f"q({lambda_}), {kind}"] = agents.QLambda(
                env=ENV, lambda_=lambda_, trace=kind, **basics
            )
    return made


@functools.cache
def learned():
    """A function compiled once for all: ``(q, stream, seed, settings) ->
    {name: (q after each transition, visits in the end)}``."""

    def run(q, stream, seed, settings):
        keys = jax.random.split(purerl.random.key(seed, "pcg4d"), STEPS)

        def follow(agent):
            def learn(state, step):
                state = agent.learn(step[0], state, *step[1:])
                return state, state.q

            start = agent.start(keys[0], None)._replace(q=q)
            state, qs = jax.lax.scan(
                learn, start, (keys, stream, jnp.arange(STEPS, dtype=jnp.int32))
            )
            return qs, state.visits

        return {name: follow(agent) for name, agent in methods(**settings).items()}

    return quick.jit(run)


SAME = {
    "1-step sarsa": "sarsa",
    "1-step tree backup": "expected sarsa",
    "greedy expected sarsa": "q-learning",
    **{f"sarsa(0.0), {kind}": "sarsa" for kind in agents.TRACES},
    **{f"q(0.0), {kind}": "q-learning" for kind in agents.TRACES},
}


@given(q=tables, stream=streams, seed=seeds, settings=settings)
def test_methods_that_are_one_another(q, stream, seed, settings):
    """n = 1, lambda = 0 and a greedy target give the one-step methods, whatever the
    transitions, and count as they do."""
    found = learned()(q, stream, seed, settings)
    for special, plain in SAME.items():
        np.testing.assert_allclose(
            found[special][0], found[plain][0], rtol=1e-5, atol=1e-5, err_msg=special
        )
        np.testing.assert_array_equal(found[special][1], found[plain][1], err_msg=special)
        assert found[plain][1].sum() == STEPS


@pytest.mark.parametrize(
    ("special", "plain"),
    [("2-step sarsa", "sarsa"), ("expected sarsa", "sarsa"), ("expected sarsa", "q-learning")]
    + [
        (f"{method}(0.9), {kind}", plain)
        for method, plain in (("sarsa", "sarsa"), ("q", "q-learning"))
        for kind in agents.TRACES
    ],
)
def test_they_are_not_at_other_settings(special, plain):
    """The comparison above sees two steps, traces and the target policy."""
    rng = np.random.default_rng(0)
    never = np.zeros(STEPS, bool)
    there = rng.integers(0, 5, STEPS).astype(np.int32)
    actions = rng.integers(0, 3, STEPS).astype(np.int32)
    stream = Transition(
        np.roll(there, 1), actions, rng.normal(size=STEPS).astype(np.float32), never, never, there
    )
    numbers = {"alpha": 0.5, "exponent": 0.0, "discount": 0.9, "epsilon": 0.5}
    found = learned()(
        rng.normal(size=(5, 3)).astype(np.float32), stream, 1, jax.tree.map(np.float32, numbers)
    )
    assert np.abs(found[special][0] - found[plain][0]).max() > 0.01


@functools.cache
def doubled():
    """From one table twice: what Double Q-learning makes of each transition, what
    Q-learning does, and the coin."""

    @quick.jit
    def run(q, stream, seed, alpha, discount):
        def one(key, transition):
            both, single = (
                method(env=ENV, learning_rate=alpha, discount=discount)
                for method in (agents.DoubleQLearning, agents.QLearning)
            )
            state = both.start(key, None)._replace(q=jnp.stack([q, q]))
            twice = both.learn(key, state, transition, jnp.int32(0)).q
            return twice, single.learn(key, state._replace(q=q), transition, jnp.int32(0)).q

        return jax.vmap(one)(jax.random.split(purerl.random.key(seed, "pcg4d"), STEPS), stream)

    return run


@given(q=tables, stream=streams, seed=seeds, alpha=st.floats(0.0625, 1, width=32), discount=unit)
def test_double_q_learning_from_equal_tables_is_q_learning_in_one(q, stream, seed, alpha, discount):
    twice, single = map(np.asarray, doubled()(q, stream, seed, alpha, discount))
    for i in range(STEPS):
        untouched = [np.array_equal(table, q) for table in twice[i]]
        assert any(untouched)
        moved = twice[i, untouched.index(False)] if False in untouched else twice[i, 0]
        np.testing.assert_allclose(moved, single[i], rtol=1e-6, atol=1e-6)


def test_the_coin_of_double_q_learning_falls_on_either_side():
    stream = jax.tree.map(
        lambda x: np.full(STEPS, x), Transition(0, 0, np.float32(1), False, False, 1)
    )
    q = np.zeros((5, 3), np.float32)
    moved = [
        np.asarray(doubled()(q, stream, seed, 0.5, 0.5)[0]).any(axis=(2, 3)) for seed in range(20)
    ]
    first, second = np.mean(moved, axis=(0, 1))
    assert first + second == 1 and 0.27 < first < 0.73  # five sigma of 120


@functools.cache
def whole_episodes():
    """Tables of Sarsa(1) with dutch traces and of every-visit Monte Carlo after each
    of 60 steps of the former."""

    @quick.jit
    def run(q, pi, alpha, seed):
        basics = {
            "env": ENDS,
            "learning_rate": alpha,
            "discount": 1.0,
            "behavior": policy.Fixed(pi),
            "count_visits": False,
        }
        sarsa = agents.SARSALambda(lambda_=1.0, trace="dutch", **basics)
        monte_carlo = agents.MonteCarlo(visit="every", **basics)
        key = purerl.random.key(seed, "pcg4d")

        def step(states, t):
            one, other = states
            act_key, env_key, learn_key = jax.random.split(jax.random.fold_in(key, t), 3)
            env_state, transition = interact(
                ENDS, env_key, one.env_state, sarsa.choose(act_key, one, t)
            )
            one = sarsa.learn(learn_key, one._replace(env_state=env_state), transition, t)
            other = monte_carlo.learn(learn_key, other, transition, t)
            return (one, other), (one.q, other.q, transition.done)

        start = sarsa.init(key)._replace(q=q), monte_carlo.init(key)._replace(q=q)
        return jax.lax.scan(step, start, jnp.arange(60, dtype=jnp.int32))[1]

    return run


@given(
    q=tables,
    weights=arrays(np.float32, (5, 3), elements=st.floats(0.0625, 1, width=32)),
    alpha=unit,
    seed=seeds,
)
def test_true_online_sarsa_1_is_monte_carlo_at_the_end_of_each_episode(q, weights, alpha, seed):
    """With a step size that is constant and no discount; between the ends it learns,
    and Monte Carlo does not."""
    pi = weights / weights.sum(axis=1, keepdims=True)
    traces, returns, done = map(np.asarray, whole_episodes()(q, pi, alpha, seed))
    assert done.sum() > 5
    np.testing.assert_allclose(traces[done], returns[done], rtol=1e-4, atol=2e-4)
    if alpha > 0.1:
        assert np.abs(traces[~done] - returns[~done]).max() > 1e-3


def permuted(model, order):
    """State ``s`` under the name ``order[s]``."""
    old = np.argsort(order)
    tables = {
        name: getattr(model, name)[old]
        for name in ("probability", "reward", "terminated", "initial")
    }
    return model.replace(next_state=jnp.asarray(order)[model.next_state][old], **tables)


@given(model=models, order=st.permutations(range(5)), discount=discounts)
def test_the_names_of_states_do_not_matter_to_value_iteration(model, order, discount):
    plain = mdp.value_iteration(model, discount)
    renamed = mdp.value_iteration(permuted(model, np.array(order)), discount)
    np.testing.assert_allclose(renamed.q[np.array(order)], plain.q, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(renamed.values[np.array(order)], plain.values, rtol=1e-5, atol=1e-5)


@given(order=st.permutations(range(5)))
def test_the_names_of_states_do_not_matter_to_the_average_reward(order):
    """But for a constant, which is that the bias is zero in state 0."""
    plain, renamed = (
        mdp.optimal_average_reward(MODEL),
        mdp.optimal_average_reward(permuted(MODEL, np.array(order))),
    )
    np.testing.assert_allclose(renamed.gain, plain.gain, rtol=1e-5)
    apart = np.asarray(renamed.bias)[np.array(order)] - plain.bias
    np.testing.assert_allclose(apart, apart[0], atol=1e-3)


@given(q=tables, stream=streams, seed=seeds, order=st.permutations(range(5)), settings=settings)
def test_the_names_of_states_do_not_matter_to_learning(q, stream, seed, order, settings):
    """To any method: states are only ever looked up."""
    order = np.array(order, np.int32)
    renamed = stream._replace(
        observation=order[stream.observation], next_observation=order[stream.next_observation]
    )
    plain, other = (
        learned()(q, stream, seed, settings),
        learned()(q[np.argsort(order)], renamed, seed, settings),
    )
    for name, (qs, visits) in plain.items():
        np.testing.assert_allclose(other[name][0][:, order], qs, rtol=1e-6, atol=1e-6, err_msg=name)
        np.testing.assert_array_equal(other[name][1][order], visits, err_msg=name)


@functools.cache
def optimal_backup():
    return quick.jit(lambda model, v, discount: mdp.backup(model, v, discount).max(axis=1))


@given(model=models, v=values, w=values, discount=unit)
def test_the_optimality_operator_contracts_by_the_discount(model, v, w, discount):
    """In the largest difference, up to rounding; and it is monotone."""
    low, high = np.minimum(v, w), np.maximum(v, w)
    tv, tw, tlow, thigh = (
        np.asarray(optimal_backup()(model, x, discount)) for x in (v, w, low, high)
    )
    assert np.abs(tv - tw).max() <= discount * np.abs(v - w).max() + 1e-5
    assert (tlow <= np.minimum(tv, tw) + 1e-5).all() and (thigh >= np.maximum(tv, tw) - 1e-5).all()


@given(
    model=models,
    weights=arrays(np.float32, (5, 3), elements=st.floats(0.0625, 1, width=32)),
    discount=discounts,
)
def test_the_value_of_a_policy_satisfies_its_bellman_equation(model, weights, discount):
    """And none is above the optimum, which satisfies its own."""
    pi = weights / weights.sum(axis=1, keepdims=True)
    found, best = mdp.evaluate_policy(model, pi, discount), mdp.value_iteration(model, discount)
    # By hand: over outcomes, in float64.
    p, r = (np.asarray(x, np.float64) for x in (model.probability, model.reward))
    for solution, reduce in (
        (found, lambda q: (pi * q).sum(axis=1)),
        (best, lambda q: q.max(axis=1)),
    ):
        v = np.asarray(solution.values, np.float64)
        q = (p * (r + discount * v[np.asarray(model.next_state)])).sum(axis=-1)
        np.testing.assert_allclose(solution.q, q, rtol=1e-5, atol=2e-5)
        np.testing.assert_allclose(v, reduce(q), rtol=1e-5, atol=2e-5)
    assert (found.values <= best.values + 1e-4).all()
