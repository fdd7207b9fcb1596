"""FrozenLake, CliffWalking and Taxi: equal to Gymnasium's tables, with the optima that
are known of them."""

import gymnasium
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.envs.toy_text.frozen_lake import generate_random_map

import purerl
from purerl.envs.toy_text import ENVIRONMENTS, cliff_walking, frozen_lake, taxi

LAKES = [
    "4x4",
    "8x8",
    *(
        generate_random_map(size, p, seed)
        for seed, (size, p) in enumerate([(3, 0.9), (5, 0.7), (11, 0.8)])
    ),
]


def assert_equal_to_gymnasium(mdp, name, **parameters):
    """The same outcomes in the same order with the same float32 numbers; what is left
    over has probability zero."""
    reference = gymnasium.make(name, **parameters).unwrapped
    probability, next_state, reward, terminated = map(
        np.asarray, (mdp.probability, mdp.next_state, mdp.reward, mdp.terminated)
    )
    assert probability.dtype == jnp.result_type(float)
    assert probability.shape[:2] == (len(reference.P), len(reference.P[0]))
    assert probability.shape[2] == max(
        len(outcomes) for actions in reference.P.values() for outcomes in actions.values()
    )
    for s, actions in reference.P.items():
        for a, outcomes in actions.items():
            for k, (p, reached, r, ends) in enumerate(outcomes):
                ours = (
                    np.float32(probability[s, a, k]),
                    next_state[s, a, k],
                    np.float32(reward[s, a, k]),
                    terminated[s, a, k],
                )
                assert ours == (np.float32(p), reached, np.float32(r), ends), (s, a, k)
            assert not probability[s, a, len(outcomes) :].any()
    np.testing.assert_array_equal(
        np.float32(mdp.initial), np.float32(reference.initial_state_distrib)
    )


@pytest.mark.parametrize("slippery", [False, True])
@pytest.mark.parametrize(
    "lake", LAKES, ids=lambda lake: lake if isinstance(lake, str) else f"random{len(lake)}"
)
def test_frozen_lake_is_gymnasiums(lake, slippery):
    of_map = {"map_name": lake} if isinstance(lake, str) else {"desc": lake}
    env = frozen_lake(lake, slip=2 / 3 if slippery else 0.0)
    assert_equal_to_gymnasium(env.mdp, "FrozenLake-v1", is_slippery=slippery, **of_map)


def test_frozen_lake_has_gymnasiums_success_rate_and_rewards():
    env = frozen_lake(slip=0.25, reward_schedule=(10, -7, -0.5))
    parameters = {"success_rate": 0.75, "reward_schedule": (10, -7, -0.5)}
    assert_equal_to_gymnasium(env.mdp, "FrozenLake-v1", is_slippery=True, **parameters)


@pytest.mark.parametrize("slippery", [False, True])
def test_cliff_walking_is_gymnasiums(slippery):
    env = cliff_walking(slip=2 / 3 if slippery else 0.0)
    assert_equal_to_gymnasium(env.mdp, "CliffWalking-v1", is_slippery=slippery)


def test_slippery_cliff_walking_is_gymnasiums_by_name():
    assert_equal_to_gymnasium(purerl.make("CliffWalkingSlippery-v1").mdp, "CliffWalkingSlippery-v1")


@pytest.mark.parametrize(
    "parameters", [{}, {"is_rainy": True}, {"is_rainy": True, "rainy_probability": 0.55}]
)
def test_taxi_is_gymnasiums(parameters):
    assert_equal_to_gymnasium(taxi(**parameters).mdp, "Taxi-v4", **parameters)


def best_return(mdp, horizon):
    """The best expected undiscounted return within a horizon, by backward induction in
    float64."""
    probability, next_state, reward, terminated = map(
        np.asarray, (mdp.probability, mdp.next_state, mdp.reward, mdp.terminated)
    )
    values = np.zeros(mdp.num_states)
    for _ in range(horizon):
        q = np.sum(
            probability.astype(float) * (reward + np.where(terminated, 0, values[next_state])),
            axis=-1,
        )
        values = q.max(axis=-1)
    return np.dot(np.asarray(mdp.initial, float), values)


@pytest.mark.parametrize(
    ("name", "horizon", "optimum"),
    [
        ("FrozenLake-v1", 100, 0.74419),
        ("FrozenLake8x8-v1", 200, 0.91322),
        ("CliffWalking-v1", 100, -13),
        ("Taxi-v3", 200, 7.93),
        ("Taxi-v4", 200, 7.93),
    ],
)
def test_known_optima(name, horizon, optimum):
    env = purerl.make(name)
    assert getattr(env, "limit", horizon) == horizon
    assert best_return(env.mdp, horizon) == pytest.approx(optimum, abs=5e-6)


def test_limits_are_gymnasiums():
    names = [name for name in ENVIRONMENTS if name != "Taxi-v3"]  # which Gymnasium 1.3 has no more
    ours = {name: ENVIRONMENTS[name][1] for name in names}
    assert ours == {name: gymnasium.spec(name).max_episode_steps for name in names}


def test_unknown_lake_is_refused():
    with pytest.raises(ValueError, match="rows is '5x5'; allowed: '4x4', '8x8'"):
        frozen_lake("5x5")


@pytest.mark.parametrize("schedule", [(1, 0), (1, 0, 0, 0), (1, float("nan"), 0), "100", 1])
def test_wrong_schedules_are_refused(schedule):
    with pytest.raises(ValueError, match=r"reward_schedule.* is .*; allowed: .*finite number"):
        frozen_lake(reward_schedule=schedule)


@pytest.mark.parametrize("name", ["rainy_probability", "fickle_probability"])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_wrong_probabilities_are_refused(name, value):
    with pytest.raises(
        ValueError, match=rf"taxi: {name} is {value}; allowed: a number in \[0, 1\]"
    ):
        taxi(**{name: value})
