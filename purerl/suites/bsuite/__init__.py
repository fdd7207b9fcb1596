"""The Behaviour Suite: run an agent through all experiments and score it.

Osband et al., "Behaviour Suite for Reinforcement Learning" (ICLR 2020). Experiments,
episodes, tags and scores are those of bsuite 0.3.6, except for the three on MNIST; the
averages by tag are over the other twenty.

An experiment is a sweep whose lanes are its settings and seeds: settings of one
structure are lanes of one program, and equal settings (independent runs in bsuite) are
further seeds of one. bsuite counts episodes and a sweep counts steps, so a run takes as
many steps as its episodes can have at most, and recording stops when they have ended.

- ``scores``: bsuite's score of each experiment;
- ``report``: scores of an agent over seeds, as tables and pictures;
- ``parts``: the settings that share a program;
- ``runs``: running the suite, and reading results;
- ``uniform``: the baseline that acts uniformly at random.
"""

from purerl.suites.bsuite.report import TAGS, Recorded, Report
from purerl.suites.bsuite.runs import POINTS, NoEvaluation, read, run
from purerl.suites.bsuite.scores import score
from purerl.suites.bsuite.uniform import Uniform, UniformState

__all__ = [
    "POINTS",
    "TAGS",
    "NoEvaluation",
    "Recorded",
    "Report",
    "Uniform",
    "UniformState",
    "read",
    "run",
    "score",
]
