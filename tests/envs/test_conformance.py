"""``check_env`` is content with our environments, and names what is wrong in others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purerl
from purerl.agents import QLearning
from purerl.envs import (
    EpisodeStatistics,
    FiniteEnvironment,
    Outcome,
    StickyActions,
    TimeLimit,
    check_env,
    grid_2x3,
    kinds,
    make,
)
from purerl.envs.contract import check_shapes
from purerl.mdp import FiniteMDP
from purerl.pytree import Node, static

INDEX = jax.ShapeDtypeStruct((), jnp.int32)
FALSE = jnp.bool_(False)


class Corridor(Node):
    """Three states in a row; action 1 moves on, and the last one ends the episode."""

    slip: float = 0.25

    num_actions = 2
    num_states = 3
    observation = INDEX

    def reset(self, key):
        return jnp.int32(0)

    def reached(self, key, state, action):
        moves = (action == 1) & (jax.random.uniform(key, dtype=jnp.float32) >= self.slip)
        return jnp.minimum(state + moves.astype(jnp.int32), 2)

    def outcome(self, state):
        return Outcome(jnp.float32(state == 2), state == 2, FALSE)

    def step(self, key, state, action):
        state = self.reached(key, state, action)
        return state, self.outcome(state)

    def observe(self, state):
        return state


class Modeled(Corridor):
    wrong: tuple = static(default=())

    def states(self):
        return jnp.arange(3, dtype=jnp.int32)

    @property
    def mdp(self):
        table = {
            "probability": [[[1.0, 0.0], [0.75, 0.25]]] * 3,
            "next_state": [[[s, s], [min(s + 1, 2), s]] for s in range(3)],
            "reward": [[[float(s == 2)] * 2, [float(s >= 1), float(s == 2)]] for s in range(3)],
            "terminated": [[[s == 2] * 2, [s >= 1, s == 2]] for s in range(3)],
            "initial": [1.0, 0.0, 0.0],
        }
        return FiniteMDP(**table | dict(self.wrong))


WRAPPED = {
    "corridor": Corridor(),
    "clock": TimeLimit(EpisodeStatistics(Modeled()), 3),
    "sticky": StickyActions(TimeLimit(grid_2x3(), 9), 0.3),
    "restarts": make("BlockingMaze-v0", change=5),
    "continuous": purerl.envs.Pendulum(),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param("sticky", marks=pytest.mark.slow), "corridor", "clock", "restarts", "continuous"],
)
def test_it_is_content(name):
    check_env(WRAPPED[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", kinds().values())
def test_it_is_content_with_all(name):
    check_env(make(name))


def with_(**members):
    """A corridor with some of its members replaced."""
    return type("Corridor", (Corridor,), {"__annotations__": {}, **members})()


def outcome(**fields):
    return {"outcome": lambda self, state: Corridor.outcome(self, state)._replace(**fields)}


def mutated(self, key, state, action):
    state["cell"] = jnp.minimum(state["cell"] + 1, 2)
    return state, self.outcome(state["cell"])


class Settings(Corridor):
    setting: object = static(default_factory=list)


class Named(Corridor):
    name: str = "corridor"


SHAPES = {
    "int reward": (
        outcome(reward=jnp.int32(1)),
        "Corridor.step: reward has dtype int32; allowed: float32",
    ),
    "bool reward": (outcome(reward=FALSE), "reward has dtype bool; allowed: float32"),
    "reward [1]": (outcome(reward=jnp.ones(1)), r"reward has shape \[1\]; allowed: \[\]"),
    "text reward": (outcome(reward="1"), "step raises TypeError"),
    "float terminated": (
        outcome(terminated=jnp.float32(0)),
        "terminated has dtype float32; allowed: bool",
    ),
    "int truncated": (outcome(truncated=jnp.int32(0)), "truncated has dtype int32; allowed: bool"),
    "no outcome": (
        {"outcome": lambda self, state: 1.0},
        "the second result is .*; allowed: an Outcome",
    ),
    "five results": (
        {"step": lambda self, key, state, action: (state, 1.0, FALSE, FALSE, {})},
        r"step returns 5 values; allowed: \(state, Outcome",
    ),
    "float state": (
        {"reached": lambda self, key, state, action: state + 0.5},
        r"the state is float32 \[\]; allowed: int32 \[\]",
    ),
    "another state": (
        {
            "reached": lambda self, key, state, action: state,
            "step": lambda self, key, state, action: ((state, state), self.outcome(state)),
        },
        "the state is .*; allowed: the structure",
    ),
    "float index": (
        {"observe": lambda self, state: state.astype(jnp.float32)},
        "Corridor.observe: the observation has dtype float32; allowed: int32, as env.observation",
    ),
    "index [1]": ({"observe": lambda self, state: state[None]}, r"has shape \[1\]; allowed: \[\]"),
    "python if": (
        {"outcome": lambda self, state: Corridor.outcome(self, 2 if state == 2 else 0)},
        "step raises TracerBoolConversionError",
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_and_dtypes_are_checked_and_named_in_training_too(name):
    members, says = SHAPES[name]
    env = with_(**members)
    agent = QLearning(env=TimeLimit(env, 5))
    key = purerl.random.key(0)
    for run in (
        lambda: check_env(env),
        lambda: jax.eval_shape(lambda: purerl.train(agent, key, 10, 1)),
    ):
        with pytest.raises(ValueError, match=says) as error:
            run()
        assert len(str(error.value)) < 300 and "\n" not in str(error.value)


def test_numbers_of_python_are_let_through():
    check_shapes(with_(**outcome(reward=1.0, truncated=False)))
    agent = QLearning(env=with_(**outcome(reward=1.0, truncated=False)))
    assert purerl.train(agent, purerl.random.key(0), 10, 1)[1]["episode_return"].shape == (1,)


random = np.random.default_rng(0)
FAULTS = {
    "actions": (with_(num_actions=2.0), "num_actions is 2.0; allowed: a positive whole number"),
    "space": (with_(observation=(3,)), "observation is .3,.; allowed: a jax.ShapeDtypeStruct"),
    "text field": (Named(), "name is 'corridor'; allowed: numbers and arrays"),
    "list": (Settings(), "setting is ..; allowed: a hashable value"),
    "chance": (
        with_(outcome=lambda self, state: Outcome(jnp.float32(random.random()), state == 2, FALSE)),
        "step is another program each time it is traced; .* chance comes from the key",
    ),
    "mutation": (
        with_(
            reset=lambda self, key: {"cell": jnp.int32(0)},
            step=mutated,
            observe=lambda self, state: state["cell"],
        ),
        "step changes the state given to it; allowed: a new state",
    ),
    "nan": (with_(**outcome(reward=jnp.float32(np.nan))), "reward is nan; allowed: finite numbers"),
    "range": (
        with_(observe=lambda self, state: state + 1, num_states=2),
        r"the observation is 2; allowed: an integer in \[0, env.num_states\)",
    ),
    "picture": (
        with_(render=lambda self, state: np.zeros((2, 2))),
        r"the picture is float64 \[2, 2\]",
    ),
    "start": (
        Modeled(wrong=(("initial", (0.5, 0.5, 0.0)),)),
        "reset: a start is .* as env.mdp says",
    ),
    "law": (
        Modeled(wrong=(("probability", (((1.0, 0.0), (0.5, 0.5)),) * 3),)),
        "step: the state after action 1 in state .* as env.mdp says",
    ),
    "reward": (
        Modeled(wrong=(("reward", (((2.0,) * 2,) * 2,) * 3),)),
        "step: the mean reward after action .* allowed: 2, as env.mdp says",
    ),
    "end": (
        Modeled(wrong=(("terminated", (((False,) * 2,) * 2,) * 3),)),
        "the state after action . in state . is .* of the draws",
    ),
    "states": (
        type("Few", (Modeled,), {"__annotations__": {}, "states": lambda self: jnp.arange(2)})(),
        "states: the shape of a leaf is .2.; allowed: a leading axis of 3",
    ),
}


def slow_where_alike(name):
    return (
        pytest.param(name, marks=pytest.mark.slow) if name in ("start", "reward", "end") else name
    )


@pytest.mark.parametrize("name", [*map(slow_where_alike, FAULTS)])
def test_faults_are_named(name):
    env, says = FAULTS[name]
    with pytest.raises(ValueError, match=says) as error:
        check_env(env)
    assert len(str(error.value)) < 300 and "\n" not in str(error.value)


def test_a_state_whose_type_changes_is_named():
    env = with_(reset=lambda self, key: 0)  # of Python: weak
    with pytest.raises(ValueError, match=r"the state is int32 \[\]; allowed: weak int32 \[\]"):
        check_env(env)


def test_a_model_of_another_size_is_named():
    lake = make("FrozenLake-v1")
    env = type("Wide", (FiniteEnvironment,), {"num_actions": 5}).of(lake.mdp)
    with pytest.raises(ValueError, match=r"mdp: num_actions is 4; allowed: env\.num_actions, 5"):
        check_env(env)
