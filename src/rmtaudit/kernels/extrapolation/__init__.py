"""What may be said of a larger matrix from principal blocks of it, with intervals, whatever the route."""

from rmtaudit.kernels.extrapolation.answer import Prediction
from rmtaudit.kernels.extrapolation.functionals import FUNCTIONALS, Interval, functionals
from rmtaudit.kernels.extrapolation.growth import GrownGram, grown_gram
from rmtaudit.kernels.extrapolation.nested import Nested, nested_scores
from rmtaudit.kernels.extrapolation.prediction import predict
from rmtaudit.kernels.extrapolation.verdict import Assumption, Obstacle, Verdict
from rmtaudit.kernels.extrapolation.witness import Witness, refuted, witness

__all__ = [
    "FUNCTIONALS",
    "Assumption",
    "GrownGram",
    "Interval",
    "Nested",
    "Obstacle",
    "Prediction",
    "Verdict",
    "Witness",
    "functionals",
    "grown_gram",
    "nested_scores",
    "predict",
    "refuted",
    "witness",
]
