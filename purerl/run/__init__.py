"""Training, evaluation and sweeps: everything that turns an agent into results."""

from purerl.run import (
    archive,
    checkpoint,
    chunk,
    evaluation,
    folder,
    over_seeds,
    plain,
    policy_file,
    progress,
    report,
    result,
    spec,
    stored,
    sweep,
    training,
    worker,
)

__all__ = [
    "archive",
    "checkpoint",
    "chunk",
    "evaluation",
    "folder",
    "over_seeds",
    "plain",
    "policy_file",
    "progress",
    "report",
    "result",
    "spec",
    "stored",
    "sweep",
    "training",
    "worker",
]
