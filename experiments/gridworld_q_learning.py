"""Tabular Q-learning against the exact optimum: how fast does its table approach Q*?

    python -m experiments.gridworld_q_learning --seeds 128

Robbins-Monro step sizes (one over a power of the visits to a pair) and uniformly random
behavior, on the 2x3 grid and on slippery FrozenLake. Prints the distances of the greedy
policy and of the table from the exact solution, and draws them; where outcomes are
random, next to the rate predicted for these step sizes.
"""

from pathlib import Path

import purerl
from purerl.envs.registry import TabularName
from purerl.run.report import show
from purerl.schedule import power

EXPONENT = 0.6  # of the step sizes; errors of averages shrink with the root of these
SHORTER = 200  # how many times, where nothing is random and errors shrink geometrically


def main(
    seeds: int = 128,
    num_steps: int = 2_000_000,
    envs: tuple[TabularName, ...] = ("Grid2x3-v0", "FrozenLake-v1"),
    out: Path = Path("results/gridworld_q_learning"),
    resume: bool = False,
) -> list[purerl.SweepResult]:
    """Run Q-learning on each environment, and report it.

    Args:
        seeds: how many.
        num_steps: transitions of each run; a 200th where no outcome is random.
        envs: which environments.
        out: folder of the results.
        resume: continue the run in that folder.
    """
    results = []
    for name in envs:
        env = purerl.make(name)
        random = bool((env.mdp.probability.max(axis=-1) < 1).any())
        agent = purerl.QLearning(
            env=env,
            learning_rate=power(1.0, EXPONENT),
            epsilon=1.0,
            count_visits=True,
        )
        result = purerl.sweep(
            agent,
            seeds,
            num_steps=num_steps if random else num_steps // SHORTER,
            impl="pcg4d",
            out=out / name,
            resume=resume,
            label=f"QLearning on {name}",
        )
        # Where nothing is random the greedy policy is optimal almost at once.
        show(result, out / name, ["policy_regret", "q_error"] if random else ["q_error"])
        result.plot(
            out / name / "q_error.png",
            "q_error",
            ylabel="max |Q - Q*|",
            log="xy",
            slope=-EXPONENT / 2 if random else None,
        )
        results.append(result)
    return results


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
