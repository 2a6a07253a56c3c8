"""Traces of matrices known by products: Hutchinson, Hutch++, XTrace and XNysTrace, each with its error.

All of them are unbiased. The error is a standard error over the probes; of XTrace and XNysTrace, whose
leave-one-out estimates are exchangeable but not independent, it is an estimate that has no proof.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.special import stdtrit

from rmtaudit.kernels.counter import normals, signs
from rmtaudit.kernels.randnla.operators import Product

_TRACE = 9
_LOW = 10
_EPSILON = 2.0**-52


@dataclass(frozen=True, slots=True)
class RandomTrace:
    """An estimate of a trace.

    Attributes
    ----------
    value, standard_error
        See the module.
    degrees
        Degrees of freedom of the standard error.
    products
        Products with single vectors.
    """

    value: float
    standard_error: float
    degrees: int
    products: int

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return Student's interval; but for Hutchinson's and Hutch++'s its level is only nominal."""
        half = float(stdtrit(self.degrees, (1 + level) / 2)) * self.standard_error
        return self.value - half, self.value + half


def hutchinson(matmul: Product, size: int, products: int, seed: int) -> RandomTrace:
    """Return the mean of ``ωᵀAω`` over random signs (Hutchinson 1990; Girard 1989)."""
    _check(products >= 2)
    omega = signs(seed, _TRACE, range(products), size).T
    forms = (omega * matmul(omega)).sum(dim=0)
    return _mean(forms, 0.0, products)


def hutch_plus_plus(matmul: Product, size: int, products: int, seed: int) -> RandomTrace:
    """Return Hutch++ (Meyer, Musco, Musco, Woodruff 2021): a third each for range, trace on it, and rest."""
    third = min(products // 3, size - 1)
    _check(third >= 2)
    basis = torch.linalg.qr(matmul(signs(seed, _LOW, range(third), size).T))[0]
    exact = float((basis * matmul(basis)).sum())
    count = products - 2 * third
    omega = signs(seed, _TRACE, range(count), size).T
    omega = omega - basis @ (basis.T @ omega)
    return _mean((omega * matmul(omega)).sum(dim=0), exact, 2 * third + count)


def xtrace(matmul: Product, size: int, products: int, seed: int) -> RandomTrace:
    """Return XTrace (Epperly, Tropp, Webber 2024, section 2.1): every probe is both sketch and sample."""
    count = min(products // 2, size - 1)
    _check(count >= 2)
    omega = _sphere(seed, count, size)
    Y = matmul(omega)
    Q, R = torch.linalg.qr(Y)
    Z = matmul(Q)
    H, W, T = Q.T @ Z, Q.T @ omega, omega.T @ Z
    S = torch.linalg.inv(R).T
    S = S / torch.linalg.vector_norm(S, dim=0)
    # the projection of probe i on the range of the others, in the basis Q
    U = W - S * (S * W).sum(dim=0)
    forms = (W * R).sum(dim=0) - (T.T * U).sum(dim=0) - (U * R).sum(dim=0) + (U * (H @ U)).sum(dim=0)
    left = size - (U**2).sum(dim=0)
    scale = (size - count + 1) / left
    each = H.trace() - (S * (H @ S)).sum(dim=0) + scale * forms
    return _mean(each, 0.0, 2 * count)


def xnystrace(matmul: Product, size: int, products: int, seed: int) -> RandomTrace:
    """Return XNysTrace (Epperly, Tropp, Webber 2024, section 2.3) of a positive semidefinite matrix.

    Raises
    ------
    ArithmeticError
        If the matrix is not positive semidefinite on the probes.
    """
    count = min(products, size - 1)
    _check(count >= 2)
    omega = _sphere(seed, count, size)
    Y = matmul(omega)
    shift = _EPSILON * float(torch.linalg.matrix_norm(Y)) / size**0.5
    Y = Y + shift * omega
    inner = omega.T @ Y
    factor, info = torch.linalg.cholesky_ex((inner + inner.T) / 2)
    if int(info):
        raise ArithmeticError("the matrix is not positive semidefinite: its compression to the probes is not")
    B = torch.linalg.solve_triangular(factor, Y.T, upper=False).T
    inverse = torch.linalg.solve_triangular(factor, torch.eye(count, dtype=Y.dtype), upper=False)
    diagonal = (inverse**2).sum(dim=0)  # of (ΩᵀAΩ)⁻¹
    lost = ((B @ inverse) ** 2).sum(dim=0) / diagonal
    R = torch.linalg.qr(omega).R
    free = 1 / (torch.linalg.inv(R) ** 2).sum(dim=1)  # squared distance of a probe from the others' span
    each = (B**2).sum() - lost + (size - count + 1) / free / diagonal - size * shift
    return _mean(each, 0.0, count)


def _sphere(seed: int, count: int, size: int) -> torch.Tensor:
    omega = normals(seed, _TRACE, range(count), size).T
    return omega * (size**0.5 / torch.linalg.vector_norm(omega, dim=0))


def _mean(samples: torch.Tensor, offset: float, products: int) -> RandomTrace:
    count = len(samples)
    error = float(samples.std()) / count**0.5
    return RandomTrace(offset + float(samples.mean()), error, count - 1, products)


def _check(enough: bool) -> None:
    if not enough:
        raise ValueError("too few products: an error needs at least two samples")
