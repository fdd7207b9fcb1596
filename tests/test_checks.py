"""Validation at construction, and what passes because JAX put it there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purerl import checks
from purerl.pytree import Node, static


class Node(Node):
    rate: float = 0.5
    scale: float = 1.0
    size: int = static(default=4)
    kind: str = static(default="a")

    def __post_init__(self):
        checks.check_numbers(self, rate=checks.UNIT_INTERVAL, scale=checks.POSITIVE)
        checks.check_choice(self, kind={"a": 1, "b": 2})
        checks.check_size(self, "size", multiple_of=2)


RULES = {
    "FINITE": ([0, -1e30, 1e30], [np.inf, -np.inf, np.nan]),
    "ABOVE_ZERO": ([1e-30, np.inf], [0, -1, np.nan]),
    "POSITIVE": ([1e-30, 1e30], [0, -1, np.inf, np.nan]),
    "NOT_NEGATIVE": ([0, 1e30], [-1e-30, np.inf, np.nan]),
    "AT_LEAST_ONE": ([1, 2**30], [0, -3, 0.999, np.nan]),
    "UNIT_INTERVAL": ([0, 0.5, 1], [-1e-9, 1.0000001, np.inf, np.nan]),
}


@pytest.mark.parametrize("name", RULES)
def test_rules(name):
    allowed, refused = RULES[name]
    words, accepts = getattr(checks, name)
    for value in allowed:
        checks.check_values("thing", {"x": value}, {"x": (words, accepts)})
    checks.check_values("thing", {"x": np.array(allowed)}, {"x": (words, accepts)})
    for value in refused:
        with pytest.raises(ValueError, match=r"^thing: x is .*; allowed: a") as error:
            checks.check_values("thing", {"x": value}, {"x": (words, accepts)})
        assert str(error.value) == f"thing: x is {value}; allowed: {words}"
        with pytest.raises(ValueError, match="x is"):
            checks.check_values(
                "thing", {"x": np.array([allowed[0], value])}, {"x": (words, accepts)}
            )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rate": 1.5}, r"Node: rate is 1\.5; allowed: a number in \[0, 1\]"),
        ({"rate": 2}, r"Node: rate is 2; allowed"),
        ({"scale": 0}, "Node: scale is 0; allowed: a finite number above 0"),
        ({"scale": np.float32("nan")}, "Node: scale is nan; allowed"),
        ({"kind": "c"}, "Node: kind is 'c'; allowed: 'a', 'b'"),
        ({"size": 3}, "Node: size is 3; allowed: a positive multiple of 2"),
        ({"size": 0}, "Node: size is 0; allowed"),
        ({"size": 4.0}, r"Node: size is 4\.0; allowed"),
        ({"size": True}, "Node: size is True; allowed"),
    ],
)
def test_wrong_fields_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        Node(**fields)


@pytest.mark.parametrize("fields", [{"rate": "0.5"}, {"scale": "1e-3"}])
def test_text_is_not_a_number(fields):
    ((name, value),) = fields.items()
    with pytest.raises(ValueError, match=rf"Node: {name} is '{value}'; allowed: a .*number"):
        Node(**fields)


def test_a_name_spelled_similarly_is_suggested():
    class Named(Node):
        method: str = static(default="watkins")

        def __post_init__(self):
            checks.check_choice(self, method=("watkins", "peng"))

    says = r"Named: method is 'watkin'; allowed: 'watkins', 'peng' \(did you mean 'watkins'\?\)"
    with pytest.raises(ValueError, match=says):
        Named(method="watkin")
    with pytest.raises(ValueError, match=r"allowed: 'watkins', 'peng'$"):
        Named(method="sarsa")


def test_long_values_are_cut():
    error = checks.refusal("Node", "table", np.arange(1000).tolist(), "fewer numbers")
    assert str(error).endswith("...; allowed: fewer numbers")
    assert len(str(error)) < 250


PLACEHOLDERS = {
    "None": None,
    "0": 0,
    "5": 5,
    "-1": -1,
    "object": object(),
    "text": "x",
    "shape": jax.ShapeDtypeStruct((), jnp.float32),
}


@pytest.mark.parametrize("leaf", PLACEHOLDERS.values(), ids=PLACEHOLDERS)
def test_what_jax_puts_in_a_leafs_place_is_let_through(leaf):
    assert jax.tree.map(lambda _: leaf, Node()).scale is leaf


def test_arrays_and_tracers_are_let_through():
    Node(rate=np.array([0.5, 1.5]), scale=jnp.float32(-1))
    assert jax.jit(lambda rate: Node(rate=rate).rate)(1.5) == 1.5
    assert jax.vmap(lambda node: node.rate, in_axes=(Node(rate=0, scale=None),))(
        Node(rate=jnp.array([0.5, 1.5]), scale=1.0)
    ).tolist() == [0.5, 1.5]
