"""Training, evaluation and sweeps: everything that turns an agent into results."""

from purerl.run import (
    checkpoint,
    chunk,
    evaluation,
    folder,
    over_seeds,
    plain,
    progress,
    report,
    result,
    spec,
    sweep,
    training,
    worker,
)

__all__ = [
    "checkpoint",
    "chunk",
    "evaluation",
    "folder",
    "over_seeds",
    "plain",
    "progress",
    "report",
    "result",
    "spec",
    "sweep",
    "training",
    "worker",
]
