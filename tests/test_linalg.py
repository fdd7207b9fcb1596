"""Decompositions against NumPy, and without a deadlock in threads."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purerl import linalg
from purerl.mdp.operators import linear_solve
from purerl.networks import orthogonal

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(3, 3), (5, 2), (2, 5)])
def test_qr(shape):
    matrices = RNG.normal(size=(4, *shape)).astype(np.float32)
    q, r = jax.vmap(linalg.qr)(matrices)
    np.testing.assert_allclose(q @ r, matrices, atol=1e-5)
    identity = np.broadcast_to(np.eye(min(shape)), (4, min(shape), min(shape)))
    np.testing.assert_allclose(np.swapaxes(q, 1, 2) @ q, identity, atol=1e-5)
    np.testing.assert_array_equal(np.tril(r, -1), 0)


@pytest.mark.parametrize("columns", [(), (2,)])
def test_solve_alone_and_under_two_vmaps(columns):
    matrices = RNG.normal(size=(2, 3, 4, 4)) + 4 * np.eye(4)
    sides = RNG.normal(size=(2, 3, 4, *columns))
    expected = np.linalg.solve(matrices, sides.reshape(2, 3, 4, -1)).reshape(sides.shape)
    for solve in (linalg.solve, linear_solve):
        each = jax.vmap(jax.vmap(solve))(jnp.float32(matrices), jnp.float32(sides))
        np.testing.assert_allclose(each, expected, atol=1e-5)
        alone = solve(jnp.float32(matrices[0, 0]), jnp.float32(sides[0, 0]))
        np.testing.assert_allclose(alone, expected[0, 0], atol=1e-5)


STRESS = """
import threading, jax, jax.numpy as jnp
from purerl.mdp.operators import linear_solve
from purerl.networks import orthogonal

def run(key):
    weights = orthogonal()(key, (64, 64))
    return linear_solve(weights + 2 * jnp.eye(64, dtype=jnp.float32), weights[0])

keys = jax.random.split(jax.random.key(0), {width})
program = jax.jit(jax.vmap(run)).lower(keys).compile()
threads = [
    threading.Thread(target=lambda: [program(keys).block_until_ready() for _ in range(10)])
    for _ in range(4)
]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


@pytest.mark.slow
@pytest.mark.parametrize("width", [3, 128])
def test_batches_in_threads_do_not_wait_for_each_other(width):
    """In a process of its own, because one that is deadlocked can only be killed."""
    command = [sys.executable, "-c", STRESS.format(width=width)]
    subprocess.run(command, check=True, timeout=300)


SWEEPS = """
import concurrent.futures
import purerl
from purerl.run.evaluation import Episodes

agent = purerl.PPO(
    env=purerl.make("FrozenLake-v1"),
    network=purerl.networks.ActorCritic((64, 64)),
    num_envs=1,
    rollout_length=2,
    epochs=1,
    minibatches=1,
)
settings = {"num_steps": 2, "points": 1, "evaluation": Episodes(1, 1), "progress": False}
with concurrent.futures.ThreadPoolExecutor(4) as executor:
    for i in range(50):
        purerl.sweep(agent, 16, base_seed=i, executor=executor, **settings)
"""


@pytest.mark.slow
def test_sweeps_in_threads_do_not_wait_for_each_other():
    """Each initializes orthogonal networks in four threads; with a batched
    decomposition they wait forever at this size."""
    subprocess.run([sys.executable, "-c", SWEEPS], check=True, timeout=300)


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (3, 3, 2, 5)])
def test_orthogonal_weights(shape):
    kernel = orthogonal(scale=2.0)(jax.random.key(1), shape, jnp.float32)
    assert (kernel.shape, kernel.dtype) == (shape, jnp.float32)
    matrix = np.asarray(kernel).reshape(-1, shape[-1])
    gram = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    np.testing.assert_allclose(gram, 4 * np.eye(len(gram)), atol=1e-5)


def test_orthogonal_weights_are_uniform():
    """Entries have mean 0 and variance 1 / N; without the signs the mean is not 0."""
    keys = jax.random.split(jax.random.key(2), 4000)
    entries = jax.jit(jax.vmap(lambda key: orthogonal()(key, (2, 2))))(keys)
    np.testing.assert_allclose(entries.mean(axis=0), 0, atol=4 * (0.5 / 4000) ** 0.5)
    np.testing.assert_allclose(
        jnp.square(entries).mean(axis=0), 0.5, atol=4 * (1 / 8 / 4000) ** 0.5
    )
