"""Fitting a network to an environment and a head."""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from purerl.checks import refusal


def fitted(
    network: nn.Module, observation: jax.ShapeDtypeStruct, num_states: int | None, **outputs: Any
) -> nn.Module:
    """A network with the fields filled in that follow from where it is used.

    Args:
        network: any flax module. Fields that it does not have are left out.
        observation: of the environment; its number of axes is ``observation_ndim``, of
            the modules inside the network too.
        num_states: the number of values of an observation of integers, or None.
        outputs: such as ``num_outputs``, of the network itself.

    >>> import jax, jax.numpy as jnp
    >>> from purerl.networks import MLP
    >>> board = jax.ShapeDtypeStruct((3, 3), jnp.float32)
    >>> network = fitted(MLP((8,)), board, None, num_outputs=2)
    >>> network.num_outputs, network.observation_ndim
    (2, 2)
    """
    names = {field.name for field in dataclasses.fields(network)} - {"parent", "name"}
    inside: dict[str, Any] = {}
    for name in names:
        value = getattr(network, name)
        if isinstance(value, nn.Module):
            inside[name] = fitted(value, observation, num_states)
    about: dict[str, Any] = {
        "observation_ndim": len(observation.shape),
        "num_states": num_states,
    } | outputs
    known: dict[str, Any] = {name: value for name, value in about.items() if name in names}
    return network.clone(**inside, **known)


@functools.lru_cache(maxsize=256)
def check_network(
    owner: str,
    field: str,
    network: nn.Module,
    shape: tuple[int, ...],
    dtype: Any,
    size: int | tuple[int, ...],
    *arguments: Any,
) -> None:
    """Check that a fitted network maps an observation to so many numbers.

    Args:
        owner, field: the class and its field, named in the error message.
        network: of an agent.
        shape, dtype: of an observation.
        size: numbers that it should give; of each, where it gives several arrays.
        arguments: shapes of what the network takes beside the observation.

    Raises:
        ValueError: it does not.
    """

    def apply(key, observation, *more):
        return network.apply(network.init(key, observation, *more), observation, *more)

    inputs = [jax.ShapeDtypeStruct(argument, jnp.float32) for argument in arguments]
    observation = jax.ShapeDtypeStruct(shape, dtype)
    out: Any = jax.eval_shape(apply, jax.random.key(0), observation, *inputs)
    if isinstance(out, tuple):
        found = tuple(getattr(part, "size", None) for part in out)
    else:
        found = getattr(out, "size", None)
    if found != size:
        shapes = jax.tree.map(lambda leaf: leaf.shape, out)
        gives = f"{type(network).__name__}, which gives {shapes}"
        numbers = " and ".join(map(str, size)) if isinstance(size, tuple) else size
        raise refusal(owner, field, gives, f"a flax module that gives {numbers} numbers")
