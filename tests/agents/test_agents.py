"""What holds for every agent."""

import dataclasses
import functools
import itertools
import operator

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purerl
import purerl.random
from purerl import schedule
from purerl.agents.network import NetworkAgent
from purerl.envs import OneHot, TimeLimit
from purerl.pytree import replace_paths
from purerl.run import training
from tests import quick

FROZEN_LAKE = purerl.make("FrozenLake-v1")
SIZES = {
    "num_envs": 2,
    "train_period": 2,
    "target_period": 8,
    "batch_size": 8,
    "replay": purerl.replay.Uniform(64),
    "learning_starts": 16,
    "network": purerl.networks.MLP((8,)),
}
SCHEDULES = {
    "learning_rate": schedule.power(0.5, 0.6, 3.0),
    "discount": schedule.linear(0.5, 0.97, 113),
    "epsilon": schedule.exponential(1.0, 37.0, 0.05),
}
AGENTS = {
    "q_learning": purerl.QLearning(
        env=FROZEN_LAKE, initial_value=1.0
    ),  # so that all of it matters before the first reward
    "q_learning, schedules": purerl.QLearning(env=FROZEN_LAKE, count_visits=True, **SCHEDULES),
    "dqn": purerl.DQN(env=purerl.make("CartPole-v1"), epsilon=0.3, **SIZES),
    "dqn, schedules": purerl.DQN(
        env=OneHot(FROZEN_LAKE, 16),
        target=purerl.targets.DoubleQ(),
        head=purerl.heads.Scalar(purerl.heads.Huber()),
        target_step_size=schedule.constant(0.5),
        max_grad_norm=schedule.constant(1.0),
        **SIZES,
        **SCHEDULES,
    ),
}
# Functions that make a DQN, in small.
FAMILY = {
    "DoubleDQN": {},
    "DuelingDQN": {"network": purerl.networks.Dueling(purerl.networks.MLP((8,)), (8,))},
    "C51": {"low": 0.0, "high": 1.0, "atoms": 5},
    "QRDQN": {"count": 5},
    "IQN": {"count": 4, "target_count": 3},
    "MunchausenDQN": {},
    "Rainbow": {
        "low": 0.0,
        "high": 1.0,
        "atoms": 5,
        "network": purerl.networks.Dueling(purerl.networks.MLP((8,)), (8,), noisy=True),
        "replay": purerl.replay.Prioritized(64, n=3, correction=0.4),
    },
}
PQN = {"num_envs": 4, "rollout_length": 4, "minibatches": 2, "network": SIZES["network"]}
# Agents with a network for their policy.
NETWORK = purerl.networks.ActorCritic((8,))
POLICY = {
    "A2C": {  # of continuous actions
        "env": TimeLimit(purerl.envs.Pendulum(), 5),
        "squash": True,
        "num_envs": 2,
        "entropy_weight": 0.01,
    },
    "PPO": {"num_envs": 2, "rollout_length": 8, "epochs": 2, "minibatches": 2},
    "Reinforce": {},
    "ActorCriticLambda": {"entropy_weight": 0.01},
}
for name, method in purerl.agents.METHODS.items():
    cls = method.agent
    if name in FAMILY:
        AGENTS[name] = cls(env=FROZEN_LAKE, **SIZES | FAMILY[name])
    elif name in POLICY:
        short = TimeLimit(purerl.make("CartPole-v1"), 5)  # so that episodes end
        AGENTS[name] = cls(**{"env": short, "network": NETWORK} | POLICY[name])
    elif name == "PQN":
        AGENTS[name] = cls(env=FROZEN_LAKE, **PQN)
    elif name == "ExactPolicyGradient":  # in which nothing but the first parameters is random
        AGENTS[name] = cls(
            env=FROZEN_LAKE,
            network=SIZES["network"],
            learning_rate=schedule.exponential(10.0, 37.0),
        )
    elif name not in ("DQN", "QLearning"):  # which are there, in two forms each
        fields = {field.name for field in dataclasses.fields(cls)}
        AGENTS[name] = cls(
            env=FROZEN_LAKE, **({"initial_value": 1.0} if "initial_value" in fields else {})
        )
TOLERANCES = {
    # Twenty updates of a network magnify rounding.
    name: {"rtol": 1e-3, "atol": 1e-4}
    for name, agent in AGENTS.items()
    if isinstance(agent, (NetworkAgent, purerl.ExactPolicyGradient))
} | {
    "PrioritizedSweeping": {
        "rtol": 1e-6,
        "atol": 1e-6,
    },  # its priorities are differences of values of about 1
}
KEYS = jax.random.split(purerl.random.key(4, "pcg4d"), 3)
# What these have beyond the others is seen often enough when all is run.
SLOW = {"dqn, schedules", "DoubleDQN", "DuelingDQN", "C51", "QRDQN"}
NAMES = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in AGENTS]
every_agent = pytest.mark.parametrize("name", NAMES)


def run(agent, key, start=0):
    """The state and the totals after twenty iterations from time ``start`` on."""
    return training.segment(agent, agent.init(key), start, 20)


alone_quickly = quick.jit(run)
alone_as_lanes_are = jax.jit(run)
lanes = jax.jit(jax.vmap(run, (None, 0)))


def alone(agent, key, start):
    """One run, compiled as lanes are only where products that nearly cancel would show
    the difference."""
    compiled = alone_as_lanes_are if isinstance(agent, purerl.GTD2) else alone_quickly
    return compiled(agent, key, start)


@functools.cache
def result(name, lane):
    return jax.block_until_ready(alone(AGENTS[name], KEYS[lane], 0))


def arrays(tree):
    """The tree with NumPy arrays for leaves, keys as their words."""
    return jax.tree.map(
        lambda x: np.asarray(
            jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
        ),
        tree,
    )


def plain(tree):
    """The leaves of :func:`arrays`."""
    return jax.tree.leaves(arrays(tree))


def assert_same_bits(x, y):
    assert jax.tree.structure(x) == jax.tree.structure(y)
    for a, b in zip(plain(x), plain(y), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def assert_close(name, x, y):
    """To rounding."""
    for a, b in zip(plain(x), plain(y), strict=True):
        np.testing.assert_allclose(a, b, **TOLERANCES.get(name, {"rtol": 1e-6}))


@functools.cache
def side_by_side(name):
    """A run for each key, as NumPy arrays ``[3, ...]``."""
    return arrays(lanes(AGENTS[name], KEYS))


@every_agent
def test_the_same_key_gives_the_same_bits(name):
    assert_same_bits(alone(AGENTS[name], KEYS[0], 0), result(name, 0))


# Their base class is that of another, which is seen.
SIBLINGS = {
    "q_learning, schedules",
    "DoubleQLearning",
    "ExpectedSARSA",
    "TreeBackup",
    "QLambda",
    "OffPolicyMonteCarlo",
    "UCBQLearning",
    "RLearning",
    "DynaQPlus",
    "TDLambda",
    "MonteCarloPrediction",
    "TDC",
    "LinearQLearning",
    "MunchausenDQN",
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in SLOW | SIBLINGS else name
        for name in AGENTS
    ],
)
def test_lanes_are_runs(name):
    together = side_by_side(name)
    for i in range(len(KEYS)):
        assert_close(name, jax.tree.map(operator.itemgetter(i), together), result(name, i))
    backwards = arrays(lanes(AGENTS[name], KEYS[::-1]))
    assert_same_bits(jax.tree.map(lambda x: x[::-1], backwards), together)  # whatever its place


NARROWER = [
    pytest.param(name, marks=pytest.mark.slow) if name in SIBLINGS else name
    for name, agent in AGENTS.items()
    if getattr(agent, "fewest_lanes", agent.lanes) < agent.lanes and name not in SLOW
]


@functools.cache
def keys(width):
    return jnp.concatenate([KEYS, jax.random.split(KEYS[0], 512)])[:width]


WIDTHS = [16, *(pytest.param(width, marks=pytest.mark.slow) for width in (2, 8, 128, 512))]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", NARROWER)
def test_bits_do_not_depend_on_the_width(name, width):
    """Between ``fewest_lanes`` and ``lanes``, where sweeps choose the width freely."""
    if width > AGENTS[name].lanes:
        pytest.skip(f"at most {AGENTS[name].lanes} lanes")
    assert AGENTS[name].fewest_lanes == 2
    common = min(width, len(KEYS))

    def first(tree):
        return jax.tree.map(lambda x: x[:common], tree)

    wide = arrays(lanes(AGENTS[name], keys(width)))
    assert_same_bits(first(wide), first(side_by_side(name)))


@every_agent
def test_seeds_differ(name):
    first, second = (plain(result(name, lane)[0]) for lane in (0, 1))
    assert not all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@every_agent
def test_numbers_are_finite_and_states_keep_their_types(name):
    state, metrics = result(name, 0)
    for leaf in plain((state, metrics)):
        assert np.isfinite(leaf).all()
    start = jax.eval_shape(AGENTS[name].init, KEYS[0])
    assert jax.tree.structure(start) == jax.tree.structure(state)
    assert [(x.shape, x.dtype) for x in jax.tree.leaves(start)] == [
        (x.shape, x.dtype) for x in jax.tree.leaves(state)
    ]
    for mean in metrics.values():
        assert (mean.total.shape, mean.total.dtype, mean.count.shape, mean.count.dtype) == (
            (),
            jnp.float32,
        ) * 2


@every_agent
def test_another_time_is_another_run(name):
    later = plain(alone(AGENTS[name], KEYS[0], 20))
    assert not all(np.array_equal(a, b) for a, b in zip(later, plain(result(name, 0)), strict=True))


@pytest.mark.parametrize("name", ["q_learning", "dqn"])
def test_step_is_pure_and_takes_its_time_as_an_argument(name):
    agent = AGENTS[name]
    step, state = quick.jit(agent.step), result(name, 0)[0]
    before = jax.tree.map(np.copy, plain(state))
    assert_same_bits(step(state, 20), step(state, jnp.int32(20)))
    for a, b in zip(before, plain(state), strict=True):
        np.testing.assert_array_equal(a, b)


@every_agent
def test_acting_is_greedy_and_changes_with_no_key(name):
    agent = AGENTS[name]
    if not hasattr(agent, "values"):
        pytest.skip("has no action values")
    snapshot = agent.snapshot(result(name, 0)[0])

    @quick.jit
    def acts_and_values(key, observations):
        act, values = jax.vmap(agent.act, (None, None, 0)), jax.vmap(agent.values, (None, 0))
        return act(snapshot, key, observations), values(snapshot, observations)

    observations = start_observations(agent.env)
    actions, values = acts_and_values(KEYS[0], observations)
    assert actions.dtype == jnp.int32 and actions.shape == (20,)
    assert values.shape == (20, agent.env.num_actions) and values.dtype == jnp.float32
    np.testing.assert_array_equal(actions, np.argmax(values, axis=1))
    np.testing.assert_array_equal(actions, acts_and_values(KEYS[1], observations)[0])


@quick.jit
def start_observations(env):
    """What is seen at twenty starts: ``[20, ...]``."""
    return jax.vmap(lambda key: env.observe(env.reset(key)))(jax.random.split(KEYS[0], 20))


SWEEPS = {
    "q_learning": {"learning_rate": 0.6, "discount": 0.5, "epsilon": 0.9, "initial_value": 3.0},
    "dqn": {
        "learning_rate": 0.1,
        "discount": 0.5,
        "epsilon": 0.9,
        "target_step_size": 0.5,
        "max_grad_norm": 1e-3,
    },
    "PPO": {
        "discount": 0.5,
        "lambda_": 0.5,
        "clip": 1e-4,
        "value_clip": 1e-4,
        "entropy_weight": 0.1,
        "value_weight": 0.1,
        "max_grad_norm": 1e-3,
        "optimizer.eps": 0.1,
    },
    "Reinforce": {"learning_rate": 0.1, "discount": 0.5, "value_weight": 0.5},
    "ActorCriticLambda": {
        "learning_rate": 0.1,
        "discount": 0.5,
        "lambda_": 0.1,
        "value_weight": 0.5,
        "entropy_weight": 0.5,
    },
    "IQN": {"head.kappa": 0.01},
    "MunchausenDQN": {
        "target.temperature": 0.5,
        "target.scale": 0.1,
        "target.clip": -1e-3,
        "head.error.bound": 0.01,
    },
    "Rainbow": {
        "head.low": -1.0,
        "head.high": 2.0,
        "replay.exponent": 0.9,
        "replay.correction": 0.9,
        "replay.epsilon": 0.5,
        "optimizer.eps": 0.1,
    },
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name in FAMILY else name for name in SWEEPS],
)
def test_hyperparameters_are_lanes(name):
    """Every one of them changed in a lane of its own: each lane is that agent alone,
    and none is another."""
    agent, fields = AGENTS[name], SWEEPS[name]
    variants = [agent, *(replace_paths(agent, {field: fields[field]}) for field in fields)]
    stacked = replace_paths(
        agent,
        {
            field: jnp.array([operator.attrgetter(field)(one) for one in variants])
            for field in fields
        },
    )
    axes = jax.tree_util.tree_map_with_path(
        lambda path, _: 0 if jax.tree_util.keystr(path)[1:] in fields else None, stacked
    )
    swept = quick.jit(jax.vmap(run, (axes, None)))(stacked, KEYS[0])
    each = [plain(jax.tree.map(operator.itemgetter(i), swept)) for i in range(len(variants))]
    for one, lane in zip(variants, each, strict=True):
        assert_close(name, lane, plain(alone(one, KEYS[0], 0)))
    for one, other in itertools.combinations(each, 2):
        assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("name", SWEEPS)
def test_a_leaf_may_change_without_compiling_again(name):
    agent = AGENTS[name]
    chex.clear_trace_counter()  # which knows a function by its source
    step = jax.jit(chex.assert_max_traces(lambda agent, state: agent.step(state, 20), n=1))
    state = result(name, 0)[0]
    step.trace(agent, state)
    for field, value in SWEEPS[name].items():
        step.trace(replace_paths(agent, {field: value}), state)
    if name == "dqn":
        step.trace(
            agent.replace(env=agent.env.replace(env=agent.env.env.replace(gravity=50.0))), state
        )


@pytest.mark.parametrize("name", ["q_learning", "dqn"])
def test_a_constant_schedule_is_its_number(name):
    agent = AGENTS[name]
    scheduled = agent.replace(
        **{
            field: schedule.constant(getattr(agent, field))
            for field in ("learning_rate", "discount", "epsilon")
        }
    )
    assert_close(name, alone(scheduled, KEYS[0], 0), result(name, 0))


@every_agent
def test_no_key_is_used_twice(name):
    key = purerl.random.key(4, "pcg4d")
    with jax.debug_key_reuse(True):
        with pytest.raises(jax.errors.KeyReuseError):  # the checker knows this kind of key
            jax.jit(lambda key: jax.random.bits(key) + jax.random.bits(key)).trace(key)
        jax.jit(run).trace(AGENTS[name], key)


@pytest.mark.parametrize("name", ["q_learning", pytest.param("dqn", marks=pytest.mark.slow)])
def test_keys_of_every_kind_are_taken(name):
    legacy = jax.random.PRNGKey(3)
    assert legacy.dtype == jnp.uint32
    (a, b) = (
        plain(alone(AGENTS[name], key, 0)) for key in (legacy, purerl.random.key(3))
    )  # one generator, two engines
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)
    for leaf in plain(alone(AGENTS[name], jax.random.key(3, impl="rbg"), 0)):
        assert np.isfinite(leaf).all()


@every_agent
@pytest.mark.parametrize("placeholder", [None, object(), "x", 0, 1, -1])
def test_trees_of_placeholders_can_be_made(name, placeholder):
    """As JAX and those who write ``in_axes`` do."""
    leaves, treedef = jax.tree.flatten(AGENTS[name])
    tree = jax.tree.unflatten(treedef, [placeholder] * len(leaves))
    assert type(tree) is type(AGENTS[name])


BAD = {
    "learning_rate": (-0.1, float("nan"), float("inf")),
    "discount": (1.5, -0.1, float("nan")),
    "epsilon": (1.5, -0.1, float("nan")),
}


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        (name, field, value)
        for name in ("q_learning", "dqn")
        for field, values in BAD.items()
        for value in values
    ]
    + [
        ("q_learning", "learning_rate", 1.1),
        ("q_learning", "initial_value", float("inf")),
        ("q_learning", "initial_value", float("nan")),
        ("dqn", "learning_rate", -1e-3),
        ("dqn", "target_step_size", 1.1),
        ("dqn", "target_step_size", -0.5),
        ("dqn", "max_grad_norm", 0.0),
        ("dqn", "max_grad_norm", -1.0),
    ],
)
def test_wrong_numbers_are_refused(name, field, value):
    with pytest.raises(
        ValueError, match=rf"{type(AGENTS[name]).__name__}: {field} is {value}; allowed: a"
    ) as error:
        AGENTS[name].replace(**{field: value})
    assert "number" in str(error.value)


@pytest.mark.parametrize("name", ["q_learning", "dqn"])
def test_wrong_numbers_of_numpy_are_refused(name):
    with pytest.raises(ValueError, match="discount is 1"):
        AGENTS[name].replace(discount=np.float32(1.5))


@pytest.mark.parametrize("kind", [jnp.float32, lambda x: np.full(3, x)], ids=["jax", "numpy"])
@pytest.mark.parametrize("name", ["q_learning", "dqn"])
def test_arrays_are_judged(name, kind):
    AGENTS[name].replace(discount=kind(0.5))
    with pytest.raises(ValueError, match="discount is "):
        AGENTS[name].replace(discount=kind(1.5))


@pytest.mark.parametrize("name", ["q_learning", "dqn"])
def test_a_whole_number_is_judged_too(name):
    with pytest.raises(ValueError, match=r"discount is 2; allowed: a number in \[0, 1\]"):
        AGENTS[name].replace(discount=2)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        (
            "q_learning",
            {"learning_rate": 0.0, "discount": 0.0, "epsilon": 0.0, "initial_value": -1e30},
        ),
        ("q_learning", {"learning_rate": 1.0, "discount": 1.0, "epsilon": 1.0}),
        ("q_learning", {"learning_rate": 1, "discount": 1, "epsilon": 1}),
        (
            "dqn",
            {
                "learning_rate": 1e-30,
                "discount": 0.0,
                "epsilon": 0.0,
                "target_step_size": 0.0,
                "max_grad_norm": 1e-30,
            },
        ),
        (
            "dqn",
            {
                "discount": 1.0,
                "epsilon": 1.0,
                "target_step_size": 1.0,
                "replay": purerl.replay.Uniform(8),
                "learning_starts": 4,
            },
        ),
    ],
)
def test_the_ends_of_the_ranges_are_allowed(name, fields):
    AGENTS[name].replace(**fields)
