"""Optimal values of a sparse grid in float64, against pymdptoolbox and QuantEcon.

By value iteration, and by modified policy iteration, QuantEcon's fastest method.

The grid is square and open, every step costs 1 until the corner that ends the episode,
and a move may slip to either side: four actions with three outcomes. All
implementations stop when ``max |v* - v| <= EPSILON`` is guaranteed, by the same
threshold ``EPSILON (1 - discount) / discount``: ours and QuantEcon's on the largest
change, pymdptoolbox's and QuantEcon's modified policy iteration on the span of the
changes, which is the same number here, because the value of the end never changes and
all others only decrease. The other libraries are measured where they are installed.
"""

import functools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

from experiments.benchmarks.report import SECONDS, Table, Unit
from experiments.benchmarks.timing import REPEATS, Timing

SIZES = (100, 300, 1000)
DISCOUNT, SLIP, EPSILON = 0.95, 0.2, 1e-8
THRESHOLD = EPSILON * (1 - DISCOUNT) / DISCOUNT
MANY = 10**6  # iterations, more than are needed
LONG = 60.0  # seconds of a contender's timed runs after which no further one starts
DENSE = 100  # the largest grid on which pymdptoolbox can run with all its checks
MEBIBYTES = Unit("MiB at most", lambda amount: amount / 2**20, False)
PEER = "QuantEcon, modified policy iteration"


class Grid(NamedTuple):
    """Outcomes of the grid's states and actions. The end is a self-loop.

    Attributes:
        probability: ``[S, 4, 3]``.
        next_state: ``[S, 4, 3]``.
        reward: ``[S, 4]``.
    """

    probability: np.ndarray
    next_state: np.ndarray
    reward: np.ndarray


def grid(size: int) -> Grid:
    """``size`` by ``size`` cells; the last is the end."""
    row, column = np.divmod(np.arange(size * size, dtype=np.int32), np.int32(size))
    moves = np.array([(-1, 0), (0, 1), (1, 0), (0, -1)], np.int32)
    reached = np.stack(
        [np.clip(row + i, 0, size - 1) * size + np.clip(column + j, 0, size - 1) for i, j in moves],
        axis=1,
    )
    reached[-1] = size * size - 1
    next_state = reached[:, (np.arange(4)[:, None] + (-1, 0, 1)) % 4]
    reward = np.full(reached.shape, -1.0)
    reward[-1] = 0
    probability = np.broadcast_to([SLIP / 2, 1 - SLIP, SLIP / 2], next_state.shape)
    return Grid(probability, next_state, reward)


def _matrix(size):
    """Distributions of the next state, ``[4 S, S]``, actions in adjacent rows."""
    from scipy import sparse

    probability, next_state, reward = grid(size)
    begins = np.arange(0, next_state.size + 1, 3, dtype=np.int32)
    matrix = sparse.csr_matrix(
        (probability.ravel(), next_state.ravel(), begins), shape=(next_state.size // 3, len(reward))
    )
    matrix.sum_duplicates()
    return matrix, reward


# Given whether to make one iteration only: the values, and the number of iterations.
Solver = Callable[[bool], tuple[Any, int]]


def _ours(method, size):
    import purerl

    probability, next_state, reward = grid(size)
    mdp = purerl.mdp.FiniteMDP(
        probability=probability,
        next_state=next_state,
        reward=np.broadcast_to(reward[..., None], next_state.shape),
        terminated=next_state == len(reward) - 1,
        initial=np.eye(1, len(reward))[0],
    )
    if mdp.reward.dtype != np.float64:
        raise ValueError(
            f"rewards are {mdp.reward.dtype}; allowed: float64, with JAX_ENABLE_X64 set"
        )

    def solve(once):
        solution = getattr(purerl.mdp, method)(mdp, DISCOUNT, THRESHOLD, 1 if once else MANY)
        return np.asarray(solution.values), int(solution.iterations)

    return solve


ours = functools.partial(_ours, "value_iteration")
ours_modified = functools.partial(_ours, "modified_policy_iteration")


def _quantecon(method, size):
    from quantecon.markov import DiscreteDP  # pyright: ignore[reportMissingImports] (optional)

    matrix, reward = _matrix(size)
    states, actions = (index.ravel() for index in np.indices(reward.shape))
    problem = DiscreteDP(reward.ravel(), matrix, DISCOUNT, states, actions)

    # The epsilon of its value iteration is twice the error, that of the other once.
    epsilon = 2 * EPSILON

    def solve(once):
        result = problem.solve(method, epsilon=epsilon, max_iter=1 if once else MANY)
        return result.v, result.num_iter

    return solve


quantecon = functools.partial(_quantecon, "value_iteration")
quantecon_modified = functools.partial(_quantecon, "modified_policy_iteration")


def toolbox(size: int) -> Solver:
    """pymdptoolbox without its checks of the matrices and its bound on iterations.

    Both use dense arrays of ``S * S`` entries, which do not fit into memory.
    """
    from mdptoolbox.mdp import (  # pyright: ignore[reportMissingImports] (optional)
        ValueIteration,
    )

    class Bare(ValueIteration):
        def _boundIter(self, epsilon):
            self.max_iter = MANY

    with mock.patch("mdptoolbox.util.check"):
        return _toolbox(Bare, size)


def toolbox_as_is(size: int) -> Solver:
    """pymdptoolbox with its checks."""
    from mdptoolbox.mdp import (  # pyright: ignore[reportMissingImports] (optional)
        ValueIteration,
    )

    return _toolbox(ValueIteration, size)


def _toolbox(kind, size):
    matrix, reward = _matrix(size)
    transitions = [matrix[action :: reward.shape[1]] for action in range(reward.shape[1])]
    problem = kind(transitions, reward, DISCOUNT, EPSILON)
    limit = problem.max_iter

    def solve(once):
        problem.V = np.zeros(len(reward))
        problem.iter = 0
        problem.max_iter = 1 if once else limit
        problem.run()
        return np.asarray(problem.V), problem.iter

    return solve


def contend(name: str, size: int) -> None:
    """Print a contender's time and memory as JSON; for a new process."""
    began = time.perf_counter()
    solve = globals()[name](size)
    solve(True)
    build = time.perf_counter() - began
    began = time.perf_counter()
    values, iterations = solve(False)
    seconds = [time.perf_counter() - began]
    memory = _most_memory()  # of the first run: later ones may reuse memory of earlier ones
    while len(seconds) < REPEATS and sum(seconds) < LONG:
        began = time.perf_counter()
        values, iterations = solve(False)
        seconds.append(time.perf_counter() - began)
    figures = {
        "build": build,
        "seconds": seconds,
        "iterations": int(iterations),
        "mean": float(np.mean(values)),
        "memory": memory,
    }
    print(json.dumps(figures))


def _most_memory():
    """The most memory of this process so far, in bytes.

    On Linux not by ``ru_maxrss``, which includes the parent process's.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text().splitlines()
        peak = next(line for line in lines if line.startswith("VmHWM"))
        return 1024 * int(peak.split()[1])
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


CONTENDERS = {  # by row: the package needed, the function, the largest grid
    "purerl": ("purerl", "ours", max(SIZES)),
    "purerl, modified policy iteration": ("purerl", "ours_modified", max(SIZES)),
    PEER: ("quantecon", "quantecon_modified", max(SIZES)),
    "QuantEcon, value iteration": ("quantecon", "quantecon", max(SIZES)),
    "pymdptoolbox": ("mdptoolbox", "toolbox_as_is", DENSE),
    "pymdptoolbox, bare": ("mdptoolbox", "toolbox", max(SIZES)),
}


def _measure(function, size):
    program = (
        "import sys; from experiments.benchmarks.value_iteration import contend; "
        "contend(sys.argv[1], int(sys.argv[2]))"
    )
    command = [sys.executable, "-c", program, function, str(size)]
    done = subprocess.run(
        command,
        env=os.environ | {"JAX_ENABLE_X64": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def benchmark() -> list[Table]:
    seconds = {}
    memory = {}
    notes = []
    for size in SIZES:
        means = []
        for row, (package, function, largest) in CONTENDERS.items():
            if find_spec(package) is None:
                notes.append(f"{row} is not installed here.")
                continue
            if size > largest:
                continue
            column = f"{size} x {size}"
            found = _measure(function, size)
            samples, build, most = found["seconds"], found["build"], found["memory"]
            median = statistics.median(samples)
            seconds[row, column] = Timing(median, min(samples), max(samples), build)
            memory[row, column] = Timing(most, most, most, build)
            means.append(found["mean"])
            notes.append(
                f"{row}, {column}: {found['iterations']} iterations, {len(samples)} runs, "
                f"built in {build:.1f} s."
            )
        if max(means) - min(means) > 2 * EPSILON:
            raise ValueError(f"on {size} x {size} the mean values differ: {means}")
    rule = (
        f"Stopped at a change of {THRESHOLD:.2g} (pymdptoolbox: span), "
        f"so within {EPSILON:g} of the optimal values."
    )
    about = f"Discount {DISCOUNT}, slip {SLIP}, float64, a process each, on any core."
    return [
        Table(
            "Value iteration, grid, 4 actions, 3 outcomes",
            SECONDS,
            seconds,
            PEER,
            notes=[about, rule, *dict.fromkeys(notes)],
        ),
        Table("Value iteration, the same, memory of the process", MEBIBYTES, memory, PEER),
    ]
