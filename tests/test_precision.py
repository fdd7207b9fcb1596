"""Nothing but precision depends on ``jax_enable_x64``; ``jax.debug_nans`` can be on.

Run as a program under ``JAX_ENABLE_X64=1``, this file makes the checks that need it.
"""

import ast
import functools
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend import core

import purerl
from purerl import agents, envs, features, heads, mdp, networks, policy, replay, schedule, targets
from purerl.metrics import Mean, averages
from purerl.run.evaluation import Episodes, Exact

ROOT = Path(purerl.__file__).parent
KEY = jax.random.key(0)

# The functions with a dtype that defaults to JAX's: (module, place of the dtype).
DTYPE_PLACE = {
    ("jax.random", "bits"): 2,
    ("jax.random", "uniform"): 2,
    ("jax.random", "normal"): 2,
    ("jax.random", "randint"): 4,
    ("jax.random", "gumbel"): 2,
    ("jax.random", "exponential"): 2,
    ("jax.random", "laplace"): 2,
    ("jax.random", "logistic"): 2,
    ("jax.random", "cauchy"): 2,
    ("jax.random", "truncated_normal"): 4,
    ("jax.random", "gamma"): 3,
    ("jax.random", "loggamma"): 3,
    ("jax.random", "beta"): 4,
    ("jax.random", "dirichlet"): 3,
    ("jax.random", "poisson"): 3,
    ("jax.random", "orthogonal"): 3,
    ("jnp", "zeros"): 1,
    ("jnp", "ones"): 1,
    ("jnp", "empty"): 1,
    ("jnp", "full"): 2,
    ("jnp", "arange"): 3,
    ("jnp", "eye"): 3,
    ("jnp", "identity"): 1,
    ("jnp", "linspace"): 5,
    ("jax.nn", "one_hot"): 3,
}
# The rooms in which the dtype of a model decides are left out.
FOLLOWS_A_MODEL = ("mdp",)


def without_dtype(source: str) -> list[tuple[int, str]]:
    """The calls of these functions that name no dtype, by line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        place = DTYPE_PLACE.get((ast.unparse(node.func.value), node.func.attr))
        named = any(keyword.arg == "dtype" for keyword in node.keywords)
        if place is not None and len(node.args) <= place and not named:
            found.append((node.lineno, ast.unparse(node)))
    return found


def test_every_draw_and_every_new_array_names_its_dtype():
    for path in sorted(ROOT.rglob("*.py")):
        room = path.relative_to(ROOT).parts[0]
        calls = without_dtype(path.read_text())
        if room in FOLLOWS_A_MODEL:
            calls = [call for call in calls if call[1].startswith("jax.random")]
        assert not calls, f"{path.relative_to(ROOT)}: {calls}"


def test_a_call_without_a_dtype_is_found():
    source = """
jax.random.bits(key, (2,))
jax.random.bits(key, (2,), jnp.uint32)
jax.random.randint(key, (), 0, 5)
jax.random.randint(key, (), 0, 5, jnp.int32)
jnp.zeros(3)
jnp.zeros(3, dtype=bool)
jnp.arange(3)
"""
    assert [line for line, _ in without_dtype(source)] == [2, 4, 6, 8]


# Under x64.


def equations(jaxpr):
    """Every equation, those nested in others too."""
    for eqn in jaxpr.eqns:
        nested = core.jaxprs_in_params(eqn.params)
        if not nested:
            yield eqn
        for inner in nested:
            yield from equations(inner)


def trace(function, *args, double):
    """Trace a function, check its equations, and return the shape of its result.

    Unless ``double``, no number is computed in float64. Weak types are not counted,
    which Python numbers have until they meet an array; nor are entries of a model that
    are only read.
    """
    closed, result = jax.make_jaxpr(function, return_shape=True)(*args)
    reads = {"gather", "dynamic_slice", "slice", "squeeze", "convert_element_type"}
    for eqn in equations(closed.jaxpr):
        assert eqn.params.get("bit_width", 32) <= 32, f"draws more than words: {eqn}"
        for var in eqn.outvars:
            strong = getattr(var.aval, "dtype", None) == jnp.float64 and not var.aval.weak_type
            assert double or not strong or eqn.primitive.name in reads, f"in float64: {eqn}"
    return result


def dtypes(tree):
    """The type of each leaf by its path."""
    return {
        jax.tree_util.keystr(path): (leaf.shape, leaf.dtype, leaf.weak_type)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def check_dtypes(tree, double):
    """No leaf has 64 bits; if ``double`` floats may."""
    for path, (_, dtype, _) in dtypes(tree).items():
        wide = dtype in (jnp.int64, jnp.uint64) or (dtype == jnp.float64 and not double)
        assert not wide, f"{path} is {dtype}"


def check_environment(env, double):
    state = jax.eval_shape(env.reset, KEY)
    # An int64, as JAX's own argmax is under x64
    action = jax.ShapeDtypeStruct((), jnp.int64)
    step = functools.partial(envs.interact, env)
    reached, transition = trace(step, KEY, state, action, double=double)
    check_dtypes((state, transition._replace(action=None)), double)
    assert dtypes(reached) == dtypes(state)
    assert transition.reward.dtype == jnp.float32
    assert transition.terminated.dtype == transition.truncated.dtype == jnp.bool_
    seen = transition.next_observation
    assert (seen.shape, seen.dtype) == (env.observation.shape, env.observation.dtype)


def check_agent(agent, double=False):
    state = trace(agent.init, KEY, double=double)
    check_dtypes(state, double)
    check_dtypes(getattr(state, "params", ()), double=False)
    time = jax.ShapeDtypeStruct((), jnp.int32)
    after, metrics = trace(agent.step, state, time, double=double)
    assert dtypes(after) == dtypes(state)
    assert {dtype for _, dtype, _ in dtypes(metrics).values()} <= {jnp.dtype("float32")}
    snapshot = jax.eval_shape(agent.snapshot, state)
    seen = agent.env.observation
    action = jax.eval_shape(agent.act, snapshot, KEY, seen)
    continuous = getattr(agent, "is_continuous", False)
    expected = agent.env.action if continuous else jax.ShapeDtypeStruct((), jnp.int32)
    assert (action.shape, action.dtype) == (expected.shape, expected.dtype)
    for name in ("values", "value", "probabilities"):
        if hasattr(agent, name) and not (name == "probabilities" and continuous):
            assert jax.eval_shape(getattr(agent, name), snapshot, seen).dtype == jnp.float32
    if hasattr(agent, "gain"):
        assert jax.eval_shape(agent.gain, snapshot).dtype == jnp.float32


def variants():
    """Every agent, and options with code of their own."""
    frozen = envs.make("FrozenLake-v1")
    small = {
        "network": networks.MLP((8,)),
        "replay": replay.Uniform(200),
        "learning_starts": 20,
        "target_period": 40,
    }
    for name, method in agents.METHODS.items():
        if name != "DQN":
            yield method.agent(env=frozen)
    yield purerl.GradientBandit(env=envs.make("Testbed-v0"))
    for network in (None, networks.MLP((8,))):
        for natural in (False, True):
            yield purerl.ExactPolicyGradient(env=frozen, network=network, natural=natural)
    behaviors = (
        policy.UCB(),
        policy.CountBonus(),
        policy.Thompson(),
        policy.Softmax(),
        policy.Fixed(np.full((16, 4), 0.25)),
    )
    for behavior in behaviors:
        yield purerl.SARSA(env=frozen, behavior=behavior)
    for trace_kind in ("replacing", "dutch"):
        yield purerl.QLambda(env=frozen, trace=trace_kind)
        yield purerl.TDLambda(env=frozen, trace=trace_kind)
    yield purerl.MonteCarloPrediction(env=frozen, weighted=True, target=policy.Greedy())
    yield purerl.QLearning(
        env=frozen,
        count_visits=True,
        learning_rate=schedule.power(1.0, 0.6),
        epsilon=schedule.linear(1.0, 0.1, 100),
        discount=schedule.exponential(0.9, 100),
    )
    boyan = envs.make("BoyanChain-v0")
    tiles = features.TileCoding([0] * 4, [1] * 4, tiles=2, tilings=2)
    yield purerl.LinearSARSA(env=boyan, n=2, features=tiles)
    yield purerl.LinearQLearning(env=boyan)
    yield purerl.DQN(
        env=envs.make("MinAtar/Breakout-v1"), **small | {"network": networks.ConvNet((4,), (8,))}
    )
    yield purerl.PPO(
        env=envs.RewardNormalize(envs.TimeLimit(envs.Pendulum(), 5)),
        network=networks.ActorCritic((8,)),
        squash=True,
        entropy_weight=0.01,
    )
    double = {
        "target": targets.DoubleQ(),
        "head": heads.Scalar(heads.Huber()),
        "max_grad_norm": 1.0,
        "num_envs": 2,
    }
    yield purerl.DQN(env=envs.OneHot(frozen, 16), **double, **small)


def check_types():
    moves = envs.classic.ENVIRONMENTS.keys() | {"bsuite/cartpole", "bsuite/mountain_car"}
    for name in envs.kinds().values():
        in_default_float = any(name.startswith(move) for move in moves)
        check_environment(envs.make(name), in_default_float)
    for agent in variants():
        # Hyperparameters that a user made arrays of are float64.
        agent = jax.tree.map(lambda x: jnp.asarray(x) if type(x) is float else x, agent)
        # What is computed of a model has its dtype, and motions are computed in double.
        exact = isinstance(agent, purerl.ExactPolicyGradient)
        check_agent(agent, double=exact or getattr(agent, "is_continuous", False))


def check_truths():
    """A few agents, one of each family, reach what they reach in float32."""
    tabular = {"num_steps": 20_000, "points": 2}
    frozen = envs.make("FrozenLake-v1", slip=0.0)
    start = schedule.power(1.0, 0.6)
    visits = {"count_visits": True, "learning_rate": start, "epsilon": 1.0, "discount": 0.9}
    state, _ = purerl.train(purerl.QLearning(env=frozen, **visits), KEY, **tabular)
    reached = state.visits > 50
    assert reached.sum() > 30
    error = jnp.abs(state.q - mdp.optimal_q(frozen.mdp, 0.9))
    assert jnp.max(error, where=reached, initial=0) < 0.05

    walk = envs.make("RandomWalk5-v0")
    uniform = jnp.ones((walk.num_states, 1))
    values = mdp.evaluate_policy(walk.mdp, uniform, 1.0).values[1:6]
    for agent in (
        purerl.TD(env=walk, discount=1.0, count_visits=True, learning_rate=start),
        purerl.MonteCarloPrediction(env=walk, discount=1.0),
        purerl.LSTD(env=walk, discount=1.0),
    ):
        snapshot = agent.snapshot(purerl.train(agent, KEY, **tabular)[0])
        learned = jax.vmap(agent.value, (None, 0))(snapshot, jnp.arange(1, 6, dtype=jnp.int32))
        np.testing.assert_allclose(learned, values, atol=0.1)

    best = jnp.sum(frozen.mdp.initial * mdp.optimal_q(frozen.mdp, 0.95).max(axis=1))
    cells = jnp.arange(16, dtype=jnp.int32)
    for agent in (
        purerl.RMax(env=frozen, known_after=1),
        purerl.PSRL(env=frozen, reward_noise=0.1),
    ):
        snapshot = agent.snapshot(purerl.train(agent, KEY, num_steps=4000, points=1)[0])
        pi = jax.vmap(agent.probabilities, (None, 0))(snapshot, cells)
        assert abs(mdp.expected_return(frozen.mdp, pi, 0.95) - best) < 1e-3

    probe = envs.make("ProbeContext-v0")
    small = {
        "network": networks.MLP((16,)),
        "learning_starts": 100,
        "target_period": 100,
        "discount": 0.5,
    }
    dqn = purerl.DQN(env=probe, **small)
    state, _ = purerl.train(dqn, KEY, num_steps=10_000, points=1)
    states = jax.vmap(probe.observe)(probe.states())
    learned = jax.vmap(dqn.values, (None, 0))(dqn.snapshot(state), states)
    np.testing.assert_allclose(learned[:2], mdp.optimal_q(probe.mdp, 0.5)[:2], atol=0.1)


def under_x64(check):
    """Run one of these checks in a process of its own."""
    environment = os.environ | {"JAX_ENABLE_X64": "1"}
    command = [sys.executable, __file__, check]
    done = subprocess.run(command, env=environment, cwd=ROOT.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_type_depends_on_x64():
    under_x64("check_types")


@pytest.mark.slow
def test_agents_reach_the_same_truths_under_x64():
    under_x64("check_truths")


# Debugging.

SMALL = {
    "network": networks.MLP((8,)),
    "batch_size": 8,
    "replay": replay.Uniform(100),
    "learning_starts": 20,
}


def test_a_segment_without_an_episode_does_not_stop_debug_nans():
    agent = purerl.QLearning(env=envs.make("CliffWalking-v1"))
    with jax.debug_nans(True):
        curves = purerl.train(agent, KEY, 40, points=4, evaluation=Exact())[1]
        swept = purerl.sweep(agent, 2, num_steps=40, points=4, evaluation=Exact()).curves
    for found in (curves, swept):
        assert np.isnan(found["episode_return"]).all()
        assert np.isfinite(found["q_error"]).all()


def test_dqn_trains_under_debug_nans():
    agent = purerl.DQN(env=envs.make("CartPole-v1"), target_period=20, **SMALL)
    with jax.debug_nans(True):
        curves = purerl.train(agent, KEY, 20, points=2, evaluation=Episodes(2, 5))[1]
    assert np.isfinite(curves["loss"]).all()


def test_the_derivative_of_a_mean_is_finite_where_nothing_is_counted():
    def total(sums):
        return jnp.nansum(averages({"x": Mean(sums, jnp.array([2.0, 0.0]))})["x"])

    np.testing.assert_array_equal(jax.grad(total)(jnp.array([3.0, 0.0])), [0.5, 0.0])


def test_training_is_differentiable_in_a_hyperparameter():
    """Reverse mode through DQN, against differences.

    An observation that was never seen and a dead rectifier have gradients of zero.
    Actions do not depend on the parameters.
    """
    env = envs.OneHot(envs.make("FrozenLake-v1"), 16)
    agent = purerl.DQN(env=env, epsilon=1.0, target_period=20, train_period=1, **SMALL)

    @jax.jit
    @jax.value_and_grad
    def size(learning_rate):
        state, _ = purerl.train(agent.replace(learning_rate=learning_rate), KEY, 10, points=1)
        return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(state.params))

    step = 1e-4
    low, _ = size(jnp.float32(0.01 - step))
    high, _ = size(jnp.float32(0.01 + step))
    derivative = size(jnp.float32(0.01))[1]
    np.testing.assert_allclose(derivative, (high - low) / (2 * step), rtol=0.01)


@pytest.mark.parametrize(
    "make",
    [
        lambda: purerl.NStepSARSA(env=envs.make("FrozenLake-v1")),
        lambda: purerl.OffPolicyMonteCarlo(env=envs.make("FrozenLake-v1")),
        lambda: purerl.LSTD(env=envs.make("RandomWalk5-v0"), initial_value=jnp.zeros(7)),
        lambda: purerl.DQN(env=envs.make("MinAtar/Breakout-v1"), target_period=20, **SMALL),
        lambda: purerl.Rainbow(
            env=envs.make("FrozenLake-v1"),
            target_period=20,
            **SMALL | {"replay": replay.Prioritized(100, n=3)},
        ),
    ],
)
def test_an_initial_state_may_be_donated(make):
    agent = make()
    step = jax.jit(lambda state: state, donate_argnums=0)
    step(agent.init(KEY))  # fails where two leaves share a buffer
    agent.init(KEY)  # or where one was the agent's own


if __name__ == "__main__":
    globals()[sys.argv[1]]()
