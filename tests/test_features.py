"""Feature functions: tile coding against its definition in plain Python, and the two
kinds of features against each other."""

from fractions import Fraction
from math import floor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import purerl
from purerl import agents
from purerl.features import Function, TileCoding, add, count, dot
from tests import quick

STEPS = 64  # points a side of the box is cut into, by exact binary fractions


@st.composite
def codings(draw):
    """Arguments of a tile coding of a box with sides of 4, and a point in the box: each
    number exact in float32."""
    dimensions = draw(st.integers(1, 3))
    tiles = tuple(draw(st.integers(1, 5)) for _ in range(dimensions))
    low = tuple(draw(st.integers(-8, 8)) for _ in range(dimensions))
    point = [draw(st.integers(0, STEPS - 1)) for _ in range(dimensions)]
    return tiles, draw(st.integers(1, 9)), low, point


def made(tiles, tilings, low):
    return TileCoding(np.array(low), np.array(low) + 4.0, tiles, tilings)


def positions(low, point):
    return np.array([start + Fraction(4 * k, STEPS) for start, k in zip(low, point, strict=True)])


def indices(tiles, tilings, low, x):
    """Section 9.5.4 in exact arithmetic: tiles of all grids, numbered row by row."""
    found = []
    for j in range(tilings):
        coordinates = [
            floor((x[i] - low[i]) / Fraction(4, tiles[i]) + Fraction(j * (2 * i + 1), tilings) % 1)
            for i in range(len(tiles))
        ]
        shape = [count + 1 for count in tiles]
        found.append(j * np.prod(shape) + np.ravel_multi_index(coordinates, shape))
    return found


def tiles3(tiles, tilings, low, x):
    """The tiles that the book's software names, without hashing."""
    quantized = [floor((x[i] - low[i]) * tiles[i] * tilings / 4) for i in range(len(tiles))]
    found = []
    for tiling in range(tilings):
        shift, coordinates = tiling, [tiling]
        for q in quantized:
            coordinates.append((q + shift) // tilings)
            shift += tiling * 2
        found.append(tuple(coordinates))
    return found


@given(codings())
def test_tiles_are_those_of_the_definition(case):
    tiles, tilings, low, point = case
    x = positions(low, point)
    coding = made(tiles, tilings, low)
    active = coding(jnp.array(x.astype(float), jnp.float32))
    assert active.dtype == jnp.int32
    assert active.tolist() == indices(tiles, tilings, low, x)
    per_tiling = coding.size // tilings
    assert [i // per_tiling for i in active.tolist()] == list(range(tilings))  # one in each


@given(codings(), st.integers(0, 2**31))
def test_two_points_share_the_tiles_that_they_share_in_the_books_software(case, seed):
    tiles, tilings, low, point = case
    other = np.random.default_rng(seed).integers(0, STEPS, len(tiles))
    a, b = positions(low, point), positions(low, other)
    here, there = (made(tiles, tilings, low)(x.astype(np.float32)) for x in (a, b))
    theirs = [
        x == y for x, y in zip(*(tiles3(tiles, tilings, low, x) for x in (a, b)), strict=True)
    ]
    assert (here == there).tolist() == theirs


def test_the_nearest_points_share_all_tiles_but_one():
    """With a power of 2 of tilings, a step of 1 / tilings of a tile in any direction
    leaves one tile: what the displacements are for."""
    coding = TileCoding(np.zeros(3), np.ones(3), tiles=4, tilings=16)
    place = np.random.default_rng(0).integers(0, 63, (200, 3))

    def left_by(step):
        here, there = (
            jax.vmap(coding)(jnp.array((at + 0.5) / 64, jnp.float32))
            for at in (place, place + step)
        )
        return np.sum(here != there, axis=1)

    for step in np.eye(3):
        assert (left_by(step) == 1).all()
    # Were all displaced by (1, 1, 1), a step in all directions would leave one tile.
    assert left_by(np.ones(3)).max() == 3


def test_the_edges_of_the_box():
    coding = TileCoding([-1.2, -0.07], [0.6, 0.07])
    assert coding.size == 8 * 9 * 9
    low, high = coding(jnp.array([-1.2, -0.07])), coding(jnp.array([0.6, 0.07]))
    assert low.tolist() == [81 * j for j in range(8)]
    assert high[0] == 7 * 9 + 7  # the last of the undisplaced tiles
    assert high[1:].tolist() == [81 * j + 8 * 9 + 8 for j in range(1, 8)]
    for outside, inside in (([-9, 1], [-1.2, 0.07]), ([np.inf, -np.inf], [0.6, -0.07])):
        assert coding(jnp.array(outside)).tolist() == coding(jnp.array(inside)).tolist()


def test_each_side_may_have_a_number_of_tiles():
    coding = TileCoding([0, 0], [1, 1], tiles=(1, 3), tilings=1)
    assert coding.size == 2 * 4
    assert [int(coding(jnp.array([0.9, y]))[0]) for y in (0.1, 0.5, 0.9)] == [0, 1, 2]


def test_bounds_are_leaves():
    """Lanes may have boxes of their own, under one program."""
    boxes = TileCoding(np.array([[0.0], [0.5]]), np.ones((2, 1)), tiles=4, tilings=1)
    found = jax.jit(jax.vmap(lambda coding: coding(jnp.array([0.75]))))(boxes)
    assert found.tolist() == [[3], [2]]


def test_the_two_kinds_of_features_agree():
    rng = np.random.default_rng(0)
    weights = jnp.array(rng.normal(size=(6, 3)), jnp.float32)
    active = jnp.array([4, 1], jnp.int32)
    dense = jnp.zeros(6).at[active].set(1)
    np.testing.assert_allclose(dot(weights, active), weights[1] + weights[4], rtol=1e-6)
    np.testing.assert_allclose(dot(weights, dense), weights[1] + weights[4], rtol=1e-6)
    assert dot(weights, active, 2) == pytest.approx(float(weights[1, 2] + weights[4, 2]))
    assert dot(weights, dense, 2) == pytest.approx(float(weights[1, 2] + weights[4, 2]))
    expected = np.array(weights)
    expected[[1, 4], 2] += 0.5
    np.testing.assert_allclose(add(weights, 2, active, 0.5), expected, rtol=1e-6)
    np.testing.assert_allclose(add(weights, 2, dense, 0.5), expected, rtol=1e-6)


CAR = purerl.envs.MountainCar()


def fourier(observation):
    return jnp.cos(jnp.pi * jnp.arange(4, dtype=jnp.float32) * observation[0])


def test_a_function_is_a_feature_function():
    agent = agents.LinearSARSA(env=CAR, features=fourier)
    assert agent.features == Function(fourier) and agent.num_features == 4
    state = quick.jit(agent.init)(purerl.random.key(0))
    assert state.weights.shape == (4, 3)
    assert agents.LinearSARSA(env=CAR).num_features == 2  # the observation itself
    assert agents.LinearSARSA(env=purerl.make("FrozenLake-v1")).num_features == 16


@pytest.mark.parametrize(
    ("features", "says"),
    [
        (lambda x: x[None], "which gives float32 (1, 2); allowed: a function that gives float32"),
        (lambda x: jnp.arange(3), "which gives int32 (3,)"),
        (lambda x: x > 0, "which gives bool (2,)"),
        (lambda x: (x, x), "which gives"),
        (lambda x: x[5, 5], "which raises IndexError"),
        (TileCoding([0.0], [1.0]), "observation has shape [2]; allowed: [1]"),
    ],
)
def test_what_gives_no_features_is_refused(features, says):
    with pytest.raises(ValueError, match=r"LinearSARSA: features is .*; allowed: ") as error:
        agents.LinearSARSA(env=CAR, features=features).init(purerl.random.key(0))
    assert says in str(error.value) or says in str(error.value.__cause__)
    with pytest.raises(ValueError, match="tiny: features is "):
        count("tiny", features, CAR.observation)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"low": [0.0, 1.0], "high": [1.0, 1.0]}, "high is [1. 1.]; allowed: above low, [0. 1.]"),
        ({"low": [0.0], "high": [1.0, 1.0]}, "low and high have shapes [1] and [2]"),
        ({"low": 0.0, "high": 1.0}, "have shapes [] and []; allowed: [D] each"),
        ({"low": [-np.inf], "high": [1.0]}, "low is [-inf]; allowed: a finite number"),
        ({"low": [0.0], "high": [1.0], "tilings": 0}, "tilings is 0"),
        ({"low": [0.0], "high": [1.0], "tiles": (2, 2)}, "allowed: one number, or 1"),
        ({"low": [0.0], "high": [1.0], "tiles": [2]}, "(did you mean (2,)?)"),
        ({"low": [0.0], "high": [1.0], "tiles": 0}, "tiles is 0"),
    ],
)
def test_boxes_that_are_none_are_refused(arguments, says):
    with pytest.raises(ValueError, match="TileCoding: ") as error:
        TileCoding(**arguments)
    assert says in str(error.value)


@pytest.mark.parametrize("features", [3, "tiles", TileCoding])
def test_what_is_no_function_is_refused(features):
    with pytest.raises(ValueError, match=r"LinearSARSA: features is .*allowed: a function of an"):
        agents.LinearSARSA(env=CAR, features=features)
