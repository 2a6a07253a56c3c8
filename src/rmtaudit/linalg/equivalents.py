"""Deterministic equivalents: what large random matrices converge to, from a population or from data.

Sample covariances of a known population and the way back, spiked models, kernels of wide random layers,
ridge regression on random features.
See ``docs/equivalents.md``, in particular for what each of them assumes.

>>> from rmtaudit.linalg import equivalents
>>> equivalents.hermite_coefficients("tanh").linear_fraction > 0.9  # nearly linear in a wide layer
True
"""

from rmtaudit.kernels.equivalents.activations import ACTIVATIONS
from rmtaudit.kernels.equivalents.companion import CompanionSolution, companion_transform
from rmtaudit.kernels.equivalents.feature_kernel import FEATURES, feature_kernel, feature_variances
from rmtaudit.kernels.equivalents.hermite import HermiteCoefficients, hermite_coefficients
from rmtaudit.kernels.equivalents.inversion import (
    PopulationEstimate,
    corrected_log_mean,
    estimate_population,
)
from rmtaudit.kernels.equivalents.kernels import (
    conjugate_kernel,
    deep_conjugate_kernel,
    finite_conjugate_kernel,
    tangent_kernel,
)
from rmtaudit.kernels.equivalents.population import Population, population
from rmtaudit.kernels.equivalents.random_features import (
    RidgeErrors,
    RidgeProblem,
    ridge_errors,
    ridge_problem,
    simulate_ridge,
    trained_ridge,
)
from rmtaudit.kernels.equivalents.sample_law import SampleLaw, marchenko_pastur_stieltjes
from rmtaudit.kernels.equivalents.spikes import Outliers, spiked_outliers
from rmtaudit.kernels.equivalents.support import Band, support_bands

__all__ = [
    "ACTIVATIONS",
    "FEATURES",
    "Band",
    "CompanionSolution",
    "HermiteCoefficients",
    "Outliers",
    "Population",
    "PopulationEstimate",
    "RidgeErrors",
    "RidgeProblem",
    "SampleLaw",
    "companion_transform",
    "conjugate_kernel",
    "corrected_log_mean",
    "deep_conjugate_kernel",
    "estimate_population",
    "feature_kernel",
    "feature_variances",
    "finite_conjugate_kernel",
    "hermite_coefficients",
    "marchenko_pastur_stieltjes",
    "population",
    "ridge_errors",
    "ridge_problem",
    "simulate_ridge",
    "spiked_outliers",
    "support_bands",
    "tangent_kernel",
    "trained_ridge",
]
