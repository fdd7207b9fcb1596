"""Labels of configurations: short, unequal, and of nothing but what differs."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

import purerl
from purerl import policy, schedule
from purerl.figures.labels import factors, labels, short


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-4, "1e-4"),
        (-5e-4, "-5e-4"),
        (2.5e-5, "2.5e-5"),
        (1e-3, "0.001"),
        (2e-3, "0.002"),
        (0.01, "0.01"),
        (0.05, "0.05"),
        (1 / 3, "0.3333"),
        (10**-1.5, "0.03162"),
        (np.float32(0.99999), "0.99999"),
        (np.float32(0.1), "0.1"),
        (jnp.float32(0.1), "0.1"),
        (1.0, "1"),
        (0, "0"),
        (500, "500"),
        (5_000, "5k"),
        (2_500, "2.5k"),
        (12_345, "12345"),
        (1_500_000, "1.5M"),
        (2_000_000_000, "2G"),
        (float("inf"), "inf"),
        (True, "True"),
        (None, "None"),
        ("double_q", "double_q"),
        ((64, 64), "(64, 64)"),
        (np.zeros((2, 3), np.float32), "float32[2, 3]"),
        (schedule.constant(0.3), "0.3"),
        (schedule.linear(1.0, 0.05, 5_000), "1 to 0.05 in 5k"),
        (schedule.linear(1.0, 0.05, 5_000, 100), "1 to 0.05 in 5k from 100"),
        (schedule.exponential(0.5, 1_000), "0.5 halved every 1k"),
        (schedule.power(1.0, 0.8), "1 (1 + t)^-0.8"),
        (schedule.power(1.0, 0.8, 10.0), "1 (1 + t/10)^-0.8"),
        (schedule.Function(jnp.sqrt), "sqrt"),
        (purerl.make("CartPole-v1"), "CartPole"),
    ],
)
def test_values_in_few_characters(value, text):
    assert short(value) == text


def test_a_value_without_a_short_form_is_cut():
    assert len(short("x" * 1000)) == 40
    assert "\n" not in short("a\nb")


def test_only_what_differs_is_named():
    grid = [
        {"learning_rate": rate, "epsilon": epsilon, "discount": 0.9}
        for rate, epsilon in itertools.product([1e-4, 1e-3], [schedule.linear(1.0, 0.05, 5_000), 0])
    ]
    assert labels(grid) == [
        "lr 1e-4, eps 1 to 0.05 in 5k",
        "lr 1e-4, eps 0",
        "lr 0.001, eps 1 to 0.05 in 5k",
        "lr 0.001, eps 0",
    ]
    rate, epsilon = factors(grid)
    assert (rate.name, rate.values, rate.index) == ("learning_rate", [1e-4, 1e-3], [0, 0, 1, 1])
    assert epsilon.index == [0, 1, 0, 1]
    assert labels(grid[:1]) == [""] and factors(grid[:1]) == factors([]) == labels([]) == []


def test_nodes_of_one_class_are_told_apart_by_what_differs_in_them():
    lakes = [purerl.make("FrozenLake-v1", slip=slip) for slip in (0.0, 0.5)]
    assert labels([{"env": lake} for lake in lakes]) == ["slip 0", "slip 0.5"]
    games = [purerl.make("CartPole-v1"), purerl.make("Acrobot-v1")]
    assert labels([{"env": game} for game in games]) == ["CartPole", "Acrobot"]
    behaviors = [policy.Softmax(1.0), policy.Softmax(0.1), policy.UCB(2.0)]
    assert labels([{"behavior": behavior} for behavior in behaviors]) == [
        "behavior Softmax temperature 1",
        "behavior Softmax temperature 0.1",
        "behavior UCB",
    ]


def test_values_that_print_alike_are_numbered():
    tables = [policy.Fixed(np.float32([[1.0, 0.0]])), policy.Fixed(np.float32([[0.0, 1.0]]))]
    assert labels([{"behavior": table} for table in tables]) == [
        "behavior Fixed (1)",
        "behavior Fixed (2)",
    ]
    assert labels([{"epsilon": 0.1}, {"epsilon": 0.1 + 1e-12}]) == ["eps 0.1 (1)", "eps 0.1 (2)"]
    assert labels([{"epsilon": 0.1}, {"epsilon": 0.1}]) == ["#0", "#1"]
    assert labels([{"epsilon": 0.1}, {"epsilon": 0.2}, {"epsilon": 0.1}]) == [
        "eps 0.1 #0",
        "eps 0.2",
        "eps 0.1 #2",
    ]


def test_values_whose_class_is_gone_are_told_apart_by_their_text():
    class Gone:
        def __init__(self, text):
            self.text = text

        def __repr__(self):
            return self.text

    sizes = [3, 4, 3]
    assert labels([{"env": Gone(f"Corridor(size={size})")} for size in sizes]) == [
        "Corridor(size=3) #0",
        "Corridor(size=4)",
        "Corridor(size=3) #2",
    ]


def test_the_same_last_name_of_two_fields_is_not_enough():
    grid = [{"env.limit": 5, "inner.limit": x} for x in (3, 4)]
    assert labels(grid) == ["inner.limit 3", "inner.limit 4"]
    assert labels([{"env.limit": x} for x in (3, 4)]) == ["limit 3", "limit 4"]
