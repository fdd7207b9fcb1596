"""The same sweep on threads and by other executors: are all bits the same?

    .venv/bin/python -m experiments.cluster spawn dask

Any of spawn, loky, dask, slurm, ray, submitit and mpi, each with its package installed.
"""

import time
from typing import Literal

import tyro

import purerl
from experiments.cluster import executors
from purerl.run.checkpoint import flatten

Name = Literal["spawn", "loky", "dask", "slurm", "ray", "submitit", "mpi"]


def main(names: tyro.conf.Positional[tuple[Name, ...]], /, seeds: int = 24) -> None:
    """Run a sweep on threads and by executors, and compare the bits.

    Args:
        names: of executors.
        seeds: how many runs, in chunks of 4.
    """
    agent = purerl.DQN(
        env=purerl.make("CartPole-v1"), network=purerl.networks.MLP((32,)), learning_starts=200
    )

    def sweep(executor=None):
        began = time.perf_counter()
        result = purerl.sweep(
            agent, seeds, num_steps=5_000, lanes=4, keep="state", executor=executor
        )
        leaves = flatten((result.curves, result.state))
        bits = {name: leaf.tobytes() for name, leaf in leaves.items()}
        return bits, time.perf_counter() - began

    expected, seconds = sweep()
    print(f"threads: {seconds:.0f} s")
    for name in names:
        with getattr(executors, name)() as executor:
            bits, seconds = sweep(executor)
        print(f"{name}: {seconds:.0f} s, {'the same bits' if bits == expected else 'OTHER BITS'}")


if __name__ == "__main__":
    tyro.cli(main)
