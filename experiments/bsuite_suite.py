"""DQN on the Behaviour Suite, next to an agent that acts at random.

    python -m experiments.bsuite_suite --quick
    python -m experiments.bsuite_suite --seeds 3 --out results/bsuite

The hyperparameters are those of bsuite's own DQN: two hidden layers of 64 units, an
update after every step.
"""

from pathlib import Path

import purerl
from purerl.figures import radar
from purerl.suites import bsuite


def dqn(env: purerl.envs.Environment) -> purerl.DQN:
    """DQN with the hyperparameters of bsuite's baseline."""
    return purerl.DQN(
        env=env,
        learning_rate=1e-3,
        epsilon=0.05,
        target_period=4,
        train_period=1,
        batch_size=32,
        replay=purerl.replay.Uniform(10_000),
        learning_starts=100,
        network=purerl.networks.MLP((64, 64)),
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
    """Score DQN and a uniformly random agent on the suite, and draw a radar picture.

    Args:
        experiments: which; by default all.
        seeds: how often the suite is run.
        fraction: of bsuite's episodes.
        most_settings: how many settings of each experiment, evenly spread; by default
            all.
        quick: run a fiftieth of the episodes of two settings of each experiment.
        out: folder of the results.
        resume: continue the run in that folder.
    """
    if quick:
        fraction, most_settings = 0.02, 2
    reports = {}
    for label, make_agent in {"uniform": bsuite.Uniform, "DQN": dqn}.items():
        reports[label] = bsuite.run(
            make_agent,
            experiments or None,
            seeds=seeds,
            fraction=fraction,
            most_settings=most_settings,
            label=label,
            out=out / label.lower(),
            resume=resume,
        )
        print(reports[label].table())
    tags = {label: report.tags for label, report in reports.items()}
    print(f"picture: {radar.radar(out / 'radar.png', tags)}")
    return reports


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
