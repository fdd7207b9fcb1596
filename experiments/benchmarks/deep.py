"""Deep agents by head, replay and width: speed on one core; seconds to compile."""

from functools import partial
from typing import Any

import purerl
from experiments.benchmarks.report import SECONDS, Table, Unit
from experiments.benchmarks.timing import Case, Cases, Timing, chunks, measure_in_new_process
from purerl.heads import Categorical, Implicit, Quantile, Scalar
from purerl.networks import MLP, ConvNet
from purerl.random import Impl
from purerl.replay import Prioritized, Uniform
from purerl.run.evaluation import Episodes

THOUSANDS = Unit("thousand transitions a core-second", lambda seconds: 1e-3 / seconds, True)
CAPACITY = 100_000
EVERY_STEP: dict[str, Any] = {
    "batch_size": 32,
    "train_period": 1,
    "target_period": 1_000,
    "learning_starts": 1_000,
    "replay": Uniform(CAPACITY),
}
ONE_IN_FOUR = EVERY_STEP | {"num_envs": 4}
COMPILED, COMPILE_GOAL = ("DQN", "PQN", "C51", "Rainbow"), 3
FIRST = 8_192  # transitions of a call, as many as between two points of a curve
HEADS = {
    "scalar": Scalar(),
    "C51": Categorical(-10.0, 100.0),
    "QR, 51": Quantile(51),
    "IQN, 32 and 32": Implicit(32, target_count=32),
}


def dqn(convolution: bool, settings: dict[str, Any], **parts: Any) -> purerl.DQN:
    """DQN on Breakout by convolutions, or on CartPole by a perceptron."""
    env = purerl.make("MinAtar/Breakout-v0") if convolution else purerl.make("CartPole-v1")
    network = ConvNet((16,), (128,)) if convolution else MLP((64, 64))
    return purerl.DQN(env=env, network=network, **settings | parts)


def pqn() -> purerl.PQN:
    """PQN on Breakout with its authors' sizes."""
    return purerl.PQN(
        env=purerl.make("MinAtar/Breakout-v0"),
        network=ConvNet((16,), (128,), layer_norm=True),
        num_envs=128,
        rollout_length=32,
        minibatches=32,
    )


def case(agent: Any, lanes: int, transitions: int, impl: Impl = "pcg4d") -> Case:
    """A chunk of ``lanes`` seeds, each with about as many transitions."""
    iterations = max(1, transitions // agent.transitions_per_step)
    amount = lanes * iterations * agent.transitions_per_step
    return Case(partial(chunks, agent, impl, lanes, lanes, iterations, threads=1), amount)


def widths() -> Cases:
    agents = {
        "DQN, perceptron, every step": (dqn(False, EVERY_STEP), 1_000),
        "DQN, convolutions, every step": (dqn(True, EVERY_STEP), 200),
        "DQN, convolutions, one in four": (dqn(True, ONE_IN_FOUR), 800),
        "PQN, convolutions": (pqn(), 4_096),
    }
    return {
        (name, f"{lanes} lanes"): case(agent, lanes, work)
        for name, (agent, work) in agents.items()
        for lanes in (1, 2, 4)
    }


def parts() -> Cases:
    cases = {}
    for network, convolution, work in (("perceptron", False, 1_000), ("convolutions", True, 200)):
        for name, head in HEADS.items():
            agent = dqn(convolution, EVERY_STEP, head=head)
            cases[name, network] = case(agent, 2, work)
        agent = dqn(convolution, EVERY_STEP, replay=Prioritized(CAPACITY))
        cases["scalar, prioritized", network] = case(agent, 2, work)
    return cases


def first_call(name: str) -> Cases:
    """An agent by its name, with all its defaults; for a new process."""

    def build():
        agent = getattr(purerl, name)(env=purerl.make("CartPole-v1"))
        iterations = FIRST // agent.transitions_per_step
        width = agent.lanes
        return chunks(agent, "threefry", width, width, iterations, 1, evaluation=Episodes())

    return {(name, ""): Case(build, 1)}


def compiling() -> dict[tuple[str, str], Timing]:
    """Seconds until an agent's first iteration, from its construction."""
    timings = {}
    for name in COMPILED:
        for column, cores in (("all cores, wall time", None), ("one core, CPU time", 1)):
            (timing,) = measure_in_new_process(__name__, "first_call", name, cores=cores).values()
            timings[name, column] = Timing(*[timing.build] * 4)
    return timings


def benchmark() -> list[Table]:
    notes = ["One thread of one core; updates with batches of 32 from a ring of 100,000."]
    return [
        Table(
            title="Deep agents by width",
            unit=THOUSANDS,
            timings=measure_in_new_process(__name__, "widths", cores=1),
            notes=notes,
        ),
        Table(
            title="DQN by head and replay, an update every step, two lanes",
            unit=THOUSANDS,
            timings=measure_in_new_process(__name__, "parts", cores=1),
            peer="scalar",
            notes=notes,
        ),
        Table(
            title="Tracing and compiling in a new process, CartPole, threefry",
            unit=SECONDS,
            timings=compiling(),
            goals={(name, "all cores, wall time"): COMPILE_GOAL for name in COMPILED},
            notes=["All three programs of a sweep, greedy evaluation among them."],
        ),
    ]
