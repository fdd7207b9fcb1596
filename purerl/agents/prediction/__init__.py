"""Prediction of state values with linear features, one file a family."""

from purerl.agents.prediction.base import (
    IncrementalPrediction,
    LinearPrediction,
    PredictionState,
)
from purerl.agents.prediction.gradient_td import GTD2, TDC, EmphaticTD
from purerl.agents.prediction.lstd import LSTD
from purerl.agents.prediction.monte_carlo import MonteCarloPrediction
from purerl.agents.prediction.td import TD, NStepTD, TDLambda

__all__ = [
    "GTD2",
    "LSTD",
    "TD",
    "TDC",
    "EmphaticTD",
    "IncrementalPrediction",
    "LinearPrediction",
    "MonteCarloPrediction",
    "NStepTD",
    "PredictionState",
    "TDLambda",
]
