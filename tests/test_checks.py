"""Validation at construction, and what passes because JAX put it there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purerl import checks, pytree
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


def test_what_is_known_is_checked_and_tracers_are_let_through():
    for wrong in ({"rate": np.array([0.5, 1.5])}, {"scale": jnp.float32(-1)}, {"rate": 2}):
        with pytest.raises(ValueError, match=f"Node: {next(iter(wrong))} is .*; allowed: a"):
            Node(**wrong)
    node = Node(rate=jnp.array([0.5, 1.0]), scale=np.int64(1), size=np.int32(6))
    assert type(node.size) is int
    assert jax.jit(lambda rate: Node(rate=rate).rate)(1.5) == 1.5
    axes = jax.tree.map(lambda leaf: 0 if np.ndim(leaf) else None, node)
    assert jax.vmap(lambda node: node.rate, in_axes=(axes,))(node).tolist() == [0.5, 1.0]


WRONG = {
    "rate": [True, None, "x", [0.5], (0.1, 0.2), 1j, {}, object(), np.array("a"), 10**400, float],
    "size": [True, None, "4", 4.0, [4], jnp.int32(4), np.float32(4)],
    "kind": [None, 1, ["a"], {}, np.float32(1)],
}


@pytest.mark.parametrize("field", WRONG)
def test_values_of_other_kinds_get_one_short_sentence(field):
    for value in WRONG[field]:
        with pytest.raises(ValueError, match=rf"^Node: {field} is .*; allowed: ") as error:
            Node(**{field: value})
        assert len(str(error.value)) < 300 and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("fields", "guess"),
    [
        ({"rate": "1e-4"}, "0.0001"),
        ({"scale": "5"}, "5"),
        ({"rate": [0.1, 0.2]}, "over={'rate': [0.1, 0.2]}"),
        ({"size": 8.0}, "8"),
        ({"size": "8"}, "8"),
        ({"size": 7}, "6"),
        ({"kind": "A"}, "'a'"),
    ],
)
def test_what_was_meant_is_guessed(fields, guess):
    with pytest.raises(ValueError, match="allowed") as error:
        Node(**fields)
    assert str(error.value).endswith(f"(did you mean {guess}?)")


@pytest.mark.parametrize("value", [[64, 64], 64, "64", (64, 0), (64, 2.0), (True,), None])
def test_sizes(value):
    class Layers(pytree.Node):
        sizes: tuple = static(default=())

        def __post_init__(self):
            checks.check_sizes(self, "sizes")

    assert Layers(sizes=(np.int64(64), 8)).sizes == (64, 8)
    with pytest.raises(ValueError, match=r"Layers: sizes is .* a tuple of positive whole numbers"):
        Layers(sizes=value)
