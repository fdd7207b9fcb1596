"""What can DQN do? The Behaviour Suite's answer, beside that of an agent that acts at random.

    python -m experiments.bsuite_suite --quick
    python -m experiments.bsuite_suite --seeds 3 --out results/bsuite

The agent has the numbers of bsuite's own DQN: two hidden layers of 64, an update after every step.
"""

from pathlib import Path

import purerl
from purerl.figures import plotting
from purerl.suites import bsuite

QUICK = {"fraction": 0.02, "most_settings": 2}


def dqn(env: purerl.envs.Environment) -> purerl.DQN:
    """DQN in the numbers of bsuite's baseline."""
    return purerl.DQN(
        env=env,
        learning_rate=1e-3,
        epsilon=0.05,
        target_period=4,
        train_period=1,
        batch_size=32,
        buffer_size=10_000,
        learning_starts=100,
        features=(64, 64),
    )


def main(
    experiments: tuple[str, ...] = (),
    seeds: int = 1,
    fraction: float = 1.0,
    most_settings: int | None = None,
    quick: bool = False,
    out: Path = Path("results/bsuite"),
    resume: bool = False,
) -> dict[str, bsuite.Report]:
    """Run DQN and a uniformly random agent through the Behaviour Suite, score them and draw a radar picture.

    Args:
        experiments: which; all, if none is named.
        seeds: how often the suite is run.
        fraction: of bsuite's episodes.
        most_settings: how many settings of each experiment, evenly spread; all, if not given.
        quick: a fiftieth of the episodes, two settings of each experiment.
        out: folder of the results.
        resume: go on with what is in that folder.
    """
    size = QUICK if quick else {"fraction": fraction, "most_settings": most_settings}
    reports = {}
    for label, agent in {"uniform": bsuite.Uniform, "DQN": dqn}.items():
        folder = out / label.lower()
        reports[label] = bsuite.run(
            agent, experiments or None, seeds=seeds, label=label, out=folder, resume=resume, **size
        )
        print(reports[label].table())
    print(
        f"picture: {plotting.radar(out / 'radar.png', {label: report.tags for label, report in reports.items()})}"
    )
    return reports


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
