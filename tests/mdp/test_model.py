import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purerl.mdp import (
    FiniteMDP,
    action_probabilities,
    backup,
    evaluate_policy,
    value_iteration,
)

LEAVES = ("probability", "next_state", "reward", "terminated", "initial", "available")


def arrays():
    """Three states, two actions, two outcomes."""
    shape = (3, 2, 2)
    return {
        "probability": np.full(shape, 0.5),
        "next_state": np.arange(12).reshape(shape) % 3,
        "reward": np.arange(12.0).reshape(shape),
        "terminated": np.zeros(shape, bool),
        "initial": np.array([0.5, 0.25, 0.25]),
        "available": np.ones((3, 2), bool),
    }


def changed(name, place, value):
    given = arrays()
    given[name][place] = value
    return given


def test_keeps_what_it_was_given():
    given = arrays()
    mdp = FiniteMDP(**given)
    assert (mdp.num_states, mdp.num_actions, mdp.num_outcomes) == (3, 2, 2)
    for name in LEAVES:
        np.testing.assert_array_equal(getattr(mdp, name), given[name])
    assert [getattr(mdp, name).dtype for name in LEAVES] == [
        jnp.float32,
        jnp.int32,
        jnp.float32,
        jnp.bool_,
        jnp.float32,
        jnp.bool_,
    ]


def test_what_is_done_to_the_given_arrays_later_does_not_show():
    given = {
        name: np.ascontiguousarray(a.astype(np.float32) if a.dtype == float else a)
        for name, a in arrays().items()
    }
    mdp = FiniteMDP(**given)
    given["reward"][:] = 77
    given["terminated"][:] = True
    assert float(mdp.reward.max()) == 11
    assert not mdp.terminated.any()


def test_float64_is_kept_where_jax_has_it():
    given = arrays()
    with jax.enable_x64(True):
        mdp = FiniteMDP(**given)
        assert {mdp.probability.dtype, mdp.reward.dtype, mdp.initial.dtype} == {
            jnp.dtype(jnp.float64)
        }
        single = FiniteMDP(
            **{n: jnp.asarray(a, jnp.float32) if a.dtype == float else a for n, a in given.items()}
        )
        assert {single.probability.dtype, single.reward.dtype, single.initial.dtype} == {
            jnp.dtype(jnp.float32)
        }
        assert mdp.next_state.dtype == jnp.int32
        integers = FiniteMDP(
            np.ones((1, 1, 1), int),
            np.zeros((1, 1, 1), int),
            np.ones((1, 1, 1), int),
            [[[True]]],
            [1],
        )
        assert integers.reward.dtype == jnp.float64


@pytest.mark.parametrize(
    "given, message",
    [
        (
            changed("probability", (1, 0, 1), 0.4),
            "the sum of probability at state 1, action 0 is 0.9000000059604645; allowed: 1",
        ),
        (
            changed("probability", (2, 1), [1.25, -0.25]),
            "probability at state 2, action 1, outcome 1 is -0.25; allowed: a number >= 0",
        ),
        (
            changed("probability", (0, 1, 0), np.nan),
            "probability at state 0, action 1, outcome 0 is nan",
        ),
        (
            changed("next_state", (1, 1, 0), 3),
            "next_state at state 1, action 1, outcome 0 is 3; allowed: an integer in [0, 3)",
        ),
        (changed("next_state", (0, 0, 1), -1), "next_state at state 0, action 0, outcome 1 is -1;"),
        (
            changed("next_state", (0, 0, 1), 2**32),
            "next_state at state 0, action 0, outcome 1 is 4294967296;",
        ),
        (
            changed("reward", (2, 0, 1), np.inf),
            "reward at state 2, action 0, outcome 1 is inf; allowed: a finite number",
        ),
        (changed("reward", (2, 0, 1), 1e300), "reward at state 2, action 0, outcome 1 is inf;"),
        (changed("initial", 0, 0.75), "the sum of initial is 1.25; allowed: 1"),
        (changed("initial", slice(None), [1.5, 0, -0.5]), "initial at state 2 is -0.5;"),
        (
            arrays() | {"probability": np.ones((3, 2))},
            "probability has shape (3, 2); allowed: [S, A, K]",
        ),
        (
            arrays() | {"probability": np.ones((3, 0, 2))},
            "probability has shape (3, 0, 2); allowed: [S, A, K]",
        ),
        (
            arrays() | {"reward": np.ones((3, 2, 1))},
            "reward has shape (3, 2, 1); allowed: (3, 2, 2)",
        ),
        (arrays() | {"initial": np.ones(2) / 2}, "initial has shape (2,); allowed: (3,)"),
        (
            arrays() | {"next_state": np.zeros((3, 2, 2))},
            "next_state has dtype float64; allowed: integer",
        ),
        (
            arrays() | {"terminated": np.zeros((3, 2, 2))},
            "terminated has dtype float64; allowed: bool",
        ),
        (
            arrays() | {"reward": np.zeros((3, 2, 2), complex)},
            "reward has dtype complex128; allowed: integer or floating",
        ),
    ],
)
def test_refuses_what_is_no_model_and_says_where(given, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        FiniteMDP(**given)


def test_names_the_first_of_several_offenders():
    given = arrays()
    given["reward"][1:] = np.nan
    with pytest.raises(ValueError, match="reward at state 1, action 0, outcome 0 is nan"):
        FiniteMDP(**given)


def test_sums_may_be_off_by_rounding_in_their_own_precision_only():
    many = np.random.default_rng(0).dirichlet(np.ones(1000), size=(1, 1)).astype(np.float32)
    rest = {
        "next_state": np.zeros((1, 1, 1000), int),
        "reward": np.zeros((1, 1, 1000)),
        "initial": [1.0],
    }
    rest["terminated"] = np.zeros((1, 1, 1000), bool)
    FiniteMDP(probability=many, **rest)
    with (
        jax.enable_x64(True),
        pytest.raises(ValueError, match="the sum of probability at state 0, action 0 is"),
    ):
        FiniteMDP(probability=many.astype(np.float64), **rest)


def test_a_change_is_checked_as_well():
    mdp = FiniteMDP(**arrays())
    assert float(mdp.replace(reward=mdp.reward + 1).reward[0, 0, 0]) == 1
    with pytest.raises(ValueError, match="reward at state 0, action 0, outcome 0 is nan"):
        mdp.replace(reward=mdp.reward * jnp.nan)
    with pytest.raises(AttributeError):
        mdp.reward = mdp.reward


def test_transformations_rebuild_it_without_looking():
    mdp = FiniteMDP(**arrays())
    chex.assert_trees_all_equal(jax.jit(lambda m: m)(mdp), mdp)
    stacked = jax.tree.map(lambda x: jnp.stack([x, x, x]), mdp)
    assert stacked.reward.shape == (3, 3, 2, 2)
    assert (stacked.num_states, stacked.num_actions, stacked.num_outcomes) == (3, 2, 2)
    scaled = jax.vmap(lambda m, c: m.replace(reward=c * m.reward))(stacked, jnp.arange(3.0))
    chex.assert_trees_all_equal(scaled.reward[2], 2 * mdp.reward)
    assert jax.eval_shape(lambda m: m, mdp).reward == jax.ShapeDtypeStruct((3, 2, 2), jnp.float32)
    assert jax.tree.map(lambda _: None, mdp).reward is None
    assert [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(mdp)] == [
        f".{n}" for n in LEAVES
    ]


def test_inside_a_transformation_shapes_are_checked_and_values_are_not():
    given = arrays()

    def build(reward):
        return FiniteMDP(**given | {"reward": reward}).reward.sum()

    assert jnp.isnan(jax.jit(build)(jnp.full((3, 2, 2), jnp.nan)))
    np.testing.assert_array_equal(jax.vmap(build)(jnp.ones((5, 3, 2, 2))), jnp.full(5, 12.0))
    with pytest.raises(ValueError, match=re.escape("reward has shape (3, 2); allowed: (3, 2, 2)")):
        jax.jit(build)(jnp.ones((3, 2)))


def test_action_probabilities_of_both_forms():
    mdp = FiniteMDP(**arrays())
    chex.assert_trees_all_equal(
        action_probabilities(mdp, jnp.array([1, 0, 1])), jnp.array([[0.0, 1], [1, 0], [0, 1]])
    )
    stochastic = np.array([[0.25, 0.75], [1, 0], [0.5, 0.5]])
    chex.assert_trees_all_equal(
        action_probabilities(mdp, stochastic), jnp.asarray(stochastic, jnp.float32)
    )


@pytest.mark.parametrize(
    "policy, message",
    [
        ([0, 2, 0], "policy at state 1 is 2; allowed: an integer in [0, 2)"),
        ([0, 0], "policy has dtype int64 and shape (2,); allowed: integers (3,) or floats (3, 2)"),
        (
            [0.0, 1.0, 0.0],
            "policy has dtype float64 and shape (3,); allowed: integers (3,) or floats (3, 2)",
        ),
        (
            [[0, 1]] * 3,
            "policy has dtype int64 and shape (3, 2); allowed: integers (3,) or floats (3, 2)",
        ),
        ([[0.5, 0.5], [0.5, 0.25], [1.0, 0.0]], "the sum of policy at state 1 is 0.75; allowed: 1"),
        (
            [[0.5, 0.5], [1.5, -0.5], [1.0, 0.0]],
            "policy at state 1, action 1 is -0.5; allowed: a number >= 0",
        ),
        ([True, False, True], "policy has dtype bool; allowed: integer or floating"),
    ],
)
def test_refuses_what_is_no_policy(policy, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        action_probabilities(FiniteMDP(**arrays()), policy)


@pytest.mark.parametrize(
    "call, start",
    [
        (lambda mdp: mdp.replace(initial=[0.5, 0.5, 0.5]), "FiniteMDP: the sum of initial is 1.5;"),
        (lambda mdp: mdp.replace(initial=[1.0]), "FiniteMDP: initial has shape (1,); allowed:"),
        (lambda mdp: value_iteration(mdp, 2.0), "value_iteration: discount is 2.0; allowed:"),
        (
            lambda mdp: evaluate_policy(mdp, [0, 2, 0], 0.5),
            "evaluate_policy: policy at state 1 is 2; allowed:",
        ),
        (
            lambda mdp: action_probabilities(mdp, [[0, 1]]),
            "action_probabilities: policy has dtype int64 and shape (1, 2); allowed:",
        ),
    ],
)
def test_errors_name_the_class_or_function(call, start):
    with pytest.raises(ValueError) as error:
        call(FiniteMDP(**arrays()))
    assert str(error.value).startswith(start)


def test_lists_are_arrays():
    mdp = FiniteMDP(**{name: array.tolist() for name, array in arrays().items()})
    chex.assert_trees_all_equal(mdp, FiniteMDP(**arrays()))
    values, pi = [1.0, 2.0, 3.0], [[0.5, 0.5], [1.0, 0.0], [0.25, 0.75]]
    chex.assert_trees_all_equal(backup(mdp, values, 0.5), backup(mdp, jnp.array(values), 0.5))
    chex.assert_trees_all_equal(
        evaluate_policy(mdp, pi, 0.5), evaluate_policy(mdp, jnp.array(pi), 0.5)
    )
