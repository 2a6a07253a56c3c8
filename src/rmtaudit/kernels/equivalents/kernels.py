"""Conjugate and neural tangent kernels of wide random layers, as spectra.

Inputs ``x_i`` with ``‖x_i‖ ≈ 1`` and nearly orthogonal, as of many normalised features, ``μ`` the spectrum of
their Gram matrix ``XᵀX``; weights with independent entries of mean 0 and variance 1. Where ``a_0`` is not 0
the kernel has one more eigenvalue, ``n a_0²``, which no spectrum of ``n`` values shows in the limit.
"""

from __future__ import annotations

from collections.abc import Sequence

from rmtaudit.kernels.equivalents.hermite import HermiteCoefficients
from rmtaudit.kernels.equivalents.population import Population
from rmtaudit.kernels.equivalents.sample_law import SampleLaw

_QUANTILES = 500
"""A convention: quantiles that stand for the law of a layer in the next."""


def conjugate_kernel(gram: Population, coefficients: HermiteCoefficients) -> Population:
    """Return the spectrum of ``E_w[φ(wᵀx_i) φ(wᵀx_j)]``, of infinitely many units.

    ``K ≈ a_0² 11ᵀ + a_1² XᵀX + (ν - a_0² - a_1²) I``, up to few eigenvalues.

    Parameters
    ----------
    gram
        Spectrum of ``XᵀX``, its mean close to 1.
    coefficients
        Of the activation function.

    References
    ----------
    Pennington, Worah, *Nonlinear random matrix theory for deep learning*, NeurIPS 2017; Fan, Wang, *Spectra
    of the conjugate kernel and neural tangent kernel for linear-width neural networks*, NeurIPS 2020.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import equivalents
    >>> gram = equivalents.population(torch.tensor([0.5, 1.5]))
    >>> relu = equivalents.hermite_coefficients("relu")
    >>> round(equivalents.conjugate_kernel(gram, relu).mean, 4)  # the variance of ReLU: 1/2 - 1/(2π)
    0.3408
    """
    linear = float(coefficients.values[1]) ** 2
    return gram.affine(linear, max(coefficients.variance - linear, 0.0))


def finite_conjugate_kernel(
    gram: Population, coefficients: HermiteCoefficients, *, samples: int, width: int
) -> SampleLaw:
    """Return the law of the eigenvalues of ``φ(WX)ᵀφ(WX)/d`` with ``d`` units.

    Parameters
    ----------
    gram, coefficients
        As of :func:`conjugate_kernel`.
    samples, width
        ``n`` and ``d``.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import equivalents
    >>> gram = equivalents.population(torch.tensor([0.5, 1.5]))
    >>> relu = equivalents.hermite_coefficients("relu")
    >>> law = equivalents.finite_conjugate_kernel(gram, relu, samples=1000, width=250)
    >>> law.zeros  # the rank is at most the width
    0.75
    """
    return SampleLaw(conjugate_kernel(gram, coefficients), samples / width)


def deep_conjugate_kernel(
    gram: Population, layers: Sequence[tuple[HermiteCoefficients, int]], *, samples: int
) -> tuple[SampleLaw, ...]:
    """Return the laws of the conjugate kernels of a deep random network, a law for each layer.

    ``X_l = φ_l(W_l X_{l-1})/√d_l`` with ``φ_l`` centred and normalised: subtract ``a_0`` and divide by
    ``√(ν - a_0²)``. With ``b = a_1/√(ν - a_0²)`` the population of layer ``l`` is that of ``b² t + 1 - b²``,
    ``t`` from the law of layer ``l - 1``. Activations that are not centred leave inputs that are not nearly
    orthogonal, and this does not hold.

    Parameters
    ----------
    gram
        Spectrum of ``XᵀX``, with mean 1.
    layers
        Coefficients and units ``d_l`` of each layer, from the first.
    samples
        ``n``.

    References
    ----------
    Fan, Wang (2020), theorem 3.4.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import equivalents
    >>> gram = equivalents.population(torch.tensor([0.5, 1.5]))
    >>> relu = equivalents.hermite_coefficients("relu")
    >>> laws = equivalents.deep_conjugate_kernel(gram, [(relu, 4000), (relu, 4000)], samples=1000)
    >>> laws[1].bands[0].high > laws[0].bands[0].high  # every layer widens the spectrum
    True
    """
    laws: list[SampleLaw] = []
    below = gram
    for coefficients, width in layers:
        share = coefficients.linear_fraction
        laws.append(SampleLaw(below.affine(share, 1 - share), samples / width))
        below = laws[-1].quantiles(_QUANTILES)
    return tuple(laws)


def tangent_kernel(gram: Population, coefficients: HermiteCoefficients) -> Population:
    """Return the spectrum of the neural tangent kernel of one wide hidden layer, both layers trained.

    ``K ≈ a_0² 11ᵀ + 2 a_1² XᵀX + (ν + ν' - 2 a_1² - a_0²) I`` for ``f(x) = vᵀφ(Wx)/√d``, up to few
    eigenvalues.

    Parameters
    ----------
    gram, coefficients
        As of :func:`conjugate_kernel`.

    Raises
    ------
    ValueError
        If the activation function jumps: its derivative has no second moment.

    References
    ----------
    Fan, Wang (2020), theorem 3.7 with one layer; Jacot, Gabriel, Hongler (2018).

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import equivalents
    >>> gram = equivalents.population(torch.tensor([0.5, 1.5]))
    >>> relu = equivalents.hermite_coefficients("relu")
    >>> round(equivalents.tangent_kernel(gram, relu).mean, 4)  # ν + ν' - a_0²
    0.8408
    """
    moment = coefficients.derivative_moment
    if moment is None:
        raise ValueError("the activation function jumps, and has no neural tangent kernel")
    linear = 2 * float(coefficients.values[1]) ** 2
    return gram.affine(linear, max(coefficients.variance + moment - linear, 0.0))
