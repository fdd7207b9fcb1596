"""Nodes: frozen dataclasses that are pytrees with structures of their own."""

import dataclasses
import inspect
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purerl
from purerl import policy
from purerl.networks import MLP, ConvNet, Dueling
from purerl.pytree import Node, replace_paths, static


class Point(Node):
    x: float
    y: float = 2.0
    name: str = static(default="p")

    def __post_init__(self):
        if self.x == "bad":
            raise ValueError("x is bad")


def test_fields_are_children_but_for_static_ones():
    leaves, treedef = jax.tree.flatten(Point(1.0))
    assert leaves == [1.0, 2.0]
    assert jax.tree.unflatten(treedef, [3.0, 4.0]) == Point(3.0, 4.0)
    assert treedef != jax.tree.structure(Point(1.0, name="q"))
    paths = [
        jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(Point(1.0))
    ]
    assert paths == [".x", ".y"]


def test_it_is_frozen_and_replaced():
    point = Point(1.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        point.x = 5.0
    assert point.replace(y=7.0, name="q") == Point(1.0, 7.0, "q")


def test_the_constructor_is_for_users():
    """JAX puts anything in the place of a leaf."""
    _, treedef = jax.tree.flatten(Point(1.0))
    for make in (lambda: Point("bad"), lambda: Point(1.0).replace(x="bad")):
        with pytest.raises(ValueError, match="x is bad"):
            make()
    assert jax.tree.unflatten(treedef, ["bad", None]).x == "bad"


def test_transformations():
    double = jax.jit(jax.vmap(lambda p: p.replace(x=2 * p.x)))
    doubled = double(Point(jnp.arange(3.0), jnp.ones(3)))
    assert (doubled.x.tolist(), doubled.y.tolist(), doubled.name) == (
        [0.0, 2.0, 4.0],
        [1.0] * 3,
        "p",
    )


def test_a_subclass_has_the_fields_of_its_parent_and_its_own():
    class Space(Point):
        z: float = 3.0

    assert jax.tree.leaves(Space(1.0)) == [1.0, 2.0, 3.0]
    assert isinstance(jax.tree.map(lambda x: x, Space(1.0)), Space)


class Pair(Node):
    low: float = 1.0
    high: float = 2.0

    def __post_init__(self):
        if not self.low < self.high:
            raise ValueError("low is not below high")


class Outer(Node):
    pair: Pair = Pair()
    name: str = static(default="p")


@pytest.mark.parametrize("paths", [*itertools.permutations(["pair.low", "pair.high", "name"])])
def test_fields_valid_only_together_are_set_in_any_order(paths):
    values = {"pair.low": 5.0, "pair.high": 6.0, "name": "q"}
    changed = replace_paths(Outer(), {path: values[path] for path in paths})
    assert changed == Outer(Pair(5.0, 6.0), "q")


def test_the_inside_of_a_new_value_is_changed():
    for changes in itertools.permutations([("pair", Pair(7.0, 8.0)), ("pair.high", 9.0)]):
        assert replace_paths(Outer(), dict(changes)).pair == Pair(7.0, 9.0)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"nam": "q"}, r"Outer has no field 'nam'; it has: pair, name \(did you mean 'name'\?\)"),
        ({"pair.lo": 1.0}, r"pair.lo: Pair has no field 'lo'; it has: low, high"),
        ({"pair.low": 5.0}, "pair.low: low is not below high"),
        ({"name.x": 1}, "name.x: str has no field 'x'; it has: none"),
    ],
)
def test_paths_that_lead_nowhere_are_named(changes, says):
    with pytest.raises(ValueError, match=says):
        replace_paths(Outer(), changes)


def test_arrays_are_shown_by_their_shape():
    node = Point(jnp.zeros((2, 3)), 5.0, "q")
    assert repr(node) == "Point(x=float32[2, 3], y=5.0, name='q')"
    node = Point(jnp.float32(0.1), np.float64(0.5), ("a", jnp.ones(64), [np.int32(3)]))
    assert repr(node) == "Point(x=0.1, y=0.5, name=('a', float32[64], [3]))"


def test_what_nodes_hold_is_shown_in_short():
    class Pair(NamedTuple):
        low: float
        table: jax.Array

    shown = {
        "[Pair(low=0.5, table=int32[3]), None]": [Pair(0.5, jnp.arange(3)), None],
        "{'a': float32[2], 'b': 1}": {"a": jnp.ones(2), "b": 1},
        "(1, 2, 3, 4, ... 9 in all)": tuple(range(1, 10)),
        "(1,)": (1,),
        "Point(x=1, y=2, name='p')": Point(1, 2),
        "MLP(features=(8, 8), noisy=True)": MLP((8, 8), noisy=True),
        "Dueling(torso=ConvNet(channels=(4,)), features=(8,))": Dueling(ConvNet((4,)), (8,)),
        "FiniteMDP(...)": purerl.make("FrozenLake-v1").mdp,
        "key<fry>[]": jax.random.key(0),
        "'" + 76 * "x" + "...": "x" * 1000,
    }
    for text, value in shown.items():
        assert repr(Point(value)) == f"Point(x={text}, y=2.0, name='p')"
    texts = []
    jax.jit(lambda node: texts.append(repr(node)))(Point(1.0))
    assert "float32[]" in texts[0]


@pytest.mark.parametrize("name", ["FrozenLake8x8-v1", "FourRooms-v0", "CartPole-v1"])
def test_agents_and_models_have_representations_of_a_few_lines(name):
    env = purerl.make(name)
    shown = [env, purerl.DQN(env=env)]
    if hasattr(env, "mdp"):
        shown += [env.mdp, purerl.QLearning(env=env)]
        assert repr(env.mdp).startswith("FiniteMDP(probability=float32[")
    for value in shown:
        assert len(repr(value)) < 800 and "\n" not in repr(value)


def test_alike_classes_are_not_taken_for_each_other():
    """The cache of jit compares structures."""
    kinds = [
        type(f"Kind{i}", (Node,), {"__annotations__": {"x": float}, "number": i})
        for i in range(100)
    ]
    number = jax.jit(lambda node: jnp.int32(node.number))
    assert [int(number(kind(1.0))) for kind in kinds] == list(range(100))
    structures = [jax.tree.structure(kind(1.0)) for kind in kinds[:20]]
    assert all(one != other for one, other in itertools.combinations(structures, 2))


def test_policies_have_structures_of_their_own():
    kinds = [
        kind
        for _, kind in inspect.getmembers(policy, inspect.isclass)
        if issubclass(kind, policy.Policy)
    ]
    structures = [
        jax.tree.structure(kind(jnp.ones((1, 1))) if kind is policy.Fixed else kind())
        for kind in kinds
    ]
    assert all(one != other for one, other in itertools.combinations(structures, 2))
