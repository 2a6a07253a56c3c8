"""Traces of matrices known by products: Hutchinson, Hutch++, XTrace and XNysTrace, each with its error.

All of them are unbiased. The error of the first two is a standard error over independent probes. The
leave-one-out estimates that XTrace and XNysTrace average are exchangeable but not independent, and their
spread understates the error, up to twofold; theirs is the jackknife's, of the whole estimator without one
probe, which is too large on average rather than too small (Efron, Stein 1981) and needs no further product.

The probes are drawn on the CPU, so that they are the same everywhere, and handed to ``matmul`` on ``device``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.special import stdtrit

from rmtaudit.kernels.counter import normals, signs
from rmtaudit.kernels.operators import Product

_TRACE, _LOW = 9, 10  # purposes of random streams, see rmtaudit.kernels.counter.stream
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
        """Return Student's interval.

        Of a jackknife it covers more often than its level; of Hutchinson's less often where a few eigenvalues
        make most of the trace, for the forms are skewed then.
        """
        half = float(stdtrit(self.degrees, (1 + level) / 2)) * self.standard_error
        return self.value - half, self.value + half


def hutchinson(
    matmul: Product, size: int, products: int, seed: int, *, device: torch.device | str = "cpu"
) -> RandomTrace:
    """Return the mean of ``ωᵀAω`` over random signs (Hutchinson 1990; Girard 1989).

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import randnla
    >>> diagonal = torch.linspace(1, 2, 50, dtype=torch.float64)
    >>> estimate = randnla.hutchinson(lambda block: diagonal[:, None] * block, 50, 20, seed=0)
    >>> abs(estimate.value - 75) <= 4 * estimate.standard_error + 1e-9
    True
    """
    _check(products >= 2)
    omega = signs(seed, _TRACE, range(products), size).T.to(device)
    forms = (omega * matmul(omega)).sum(dim=0)
    return _mean(forms, 0.0, products)


def hutch_plus_plus(
    matmul: Product, size: int, products: int, seed: int, *, device: torch.device | str = "cpu"
) -> RandomTrace:
    """Return Hutch++ (Meyer, Musco, Musco, Woodruff 2021): a third each for range, trace on it, and rest.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import randnla
    >>> diagonal = torch.linspace(1, 2, 50, dtype=torch.float64)
    >>> estimate = randnla.hutch_plus_plus(lambda block: diagonal[:, None] * block, 50, 20, seed=0)
    >>> abs(estimate.value - 75) <= 4 * estimate.standard_error + 1e-9
    True
    """
    third = min(products // 3, size - 1)
    _check(third >= 2)
    basis = torch.linalg.qr(matmul(signs(seed, _LOW, range(third), size).T.to(device)))[0]
    exact = float((basis * matmul(basis)).sum())
    count = products - 2 * third
    omega = signs(seed, _TRACE, range(count), size).T.to(device)
    omega = omega - basis @ (basis.T @ omega)
    return _mean((omega * matmul(omega)).sum(dim=0), exact, 2 * third + count)


def xtrace(
    matmul: Product, size: int, products: int, seed: int, *, device: torch.device | str = "cpu"
) -> RandomTrace:
    """Return XTrace (Epperly, Tropp, Webber 2024, section 2.1): every probe is both sketch and sample.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import randnla
    >>> diagonal = torch.linspace(1, 2, 50, dtype=torch.float64)
    >>> estimate = randnla.xtrace(lambda block: diagonal[:, None] * block, 50, 20, seed=0)
    >>> abs(estimate.value - 75) <= 4 * estimate.standard_error + 1e-9
    True
    """
    count = min(products // 2, size - 1)
    _check(count >= 3)
    omega = _sphere(seed, count, size).to(device)
    Q, R = torch.linalg.qr(matmul(omega))
    Z = matmul(Q)
    H, W, T = Q.T @ Z, Q.T @ omega, omega.T @ Z
    replicates = []
    for kept in _leave_one_out(count):
        # the range of the other probes, in the basis Q
        P, smaller = torch.linalg.qr(R[:, kept])
        replicates.append(_xtrace(P.T @ H @ P, P.T @ W[:, kept], T[kept] @ P, smaller, size))
    return _jackknife(_xtrace(H, W, T, R, size), replicates, 2 * count)


def xnystrace(
    matmul: Product, size: int, products: int, seed: int, *, device: torch.device | str = "cpu"
) -> RandomTrace:
    """Return XNysTrace (Epperly, Tropp, Webber 2024, section 2.3) of a positive semidefinite matrix.

    Raises
    ------
    ArithmeticError
        If the matrix is not positive semidefinite on the probes.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import randnla
    >>> diagonal = torch.linspace(1, 2, 50, dtype=torch.float64)
    >>> estimate = randnla.xnystrace(lambda block: diagonal[:, None] * block, 50, 20, seed=0)
    >>> abs(estimate.value - 75) <= 4 * estimate.standard_error + 1e-9
    True
    """
    count = min(products, size - 1)
    _check(count >= 3)
    omega = _sphere(seed, count, size).to(device)
    Y = matmul(omega)
    shift = _EPSILON * float(torch.linalg.matrix_norm(Y)) / size**0.5
    # only inner products are needed: those of the triangle are the same
    R = torch.linalg.qr(torch.cat([Y + shift * omega, omega], dim=1)).R
    Y, omega = R[:, :count], R[:, count:]
    value = _xnystrace(Y, omega, size) - size * shift
    replicates = [
        _xnystrace(Y[:, kept], omega[:, kept], size) - size * shift for kept in _leave_one_out(count)
    ]
    return _jackknife(value, replicates, count)


def _xtrace(H: torch.Tensor, W: torch.Tensor, T: torch.Tensor, R: torch.Tensor, size: int) -> float:
    count = len(R)
    S = torch.linalg.inv(R).T
    S = S / torch.linalg.vector_norm(S, dim=0)
    # the projection of probe i on the range of the others, in the basis Q
    U = W - S * (S * W).sum(dim=0)
    forms = (W * R).sum(dim=0) - (T.T * U).sum(dim=0) - (U * R).sum(dim=0) + (U * (H @ U)).sum(dim=0)
    left = size - (U**2).sum(dim=0)
    each = H.trace() - (S * (H @ S)).sum(dim=0) + (size - count + 1) / left * forms
    return float(each.mean())


def _xnystrace(Y: torch.Tensor, omega: torch.Tensor, size: int) -> float:
    count = Y.shape[1]
    inner = omega.T @ Y
    factor, info = torch.linalg.cholesky_ex((inner + inner.T) / 2)
    if int(info):
        raise ArithmeticError("the matrix is not positive semidefinite: its compression to the probes is not")
    B = torch.linalg.solve_triangular(factor, Y.T, upper=False).T
    inverse = torch.linalg.solve_triangular(
        factor, torch.eye(count, dtype=Y.dtype, device=Y.device), upper=False
    )
    diagonal = (inverse**2).sum(dim=0)  # of (ΩᵀAΩ)⁻¹
    lost = ((B @ inverse) ** 2).sum(dim=0) / diagonal
    R = torch.linalg.qr(omega).R
    free = 1 / (torch.linalg.inv(R) ** 2).sum(dim=1)  # squared distance of a probe from the others' span
    each = (B**2).sum() - lost + (size - count + 1) / free / diagonal
    return float(each.mean())


def _sphere(seed: int, count: int, size: int) -> torch.Tensor:
    omega: torch.Tensor = normals(seed, _TRACE, range(count), size).T
    return omega.mul(size**0.5 / torch.linalg.vector_norm(omega, dim=0))


def _leave_one_out(count: int) -> list[list[int]]:
    return [[k for k in range(count) if k != left] for left in range(count)]


def _jackknife(value: float, replicates: list[float], products: int) -> RandomTrace:
    each = torch.tensor(replicates, dtype=torch.float64)
    count = len(each)
    error = ((count - 1) / count * float(((each - each.mean()) ** 2).sum())) ** 0.5
    return RandomTrace(value, error, count - 1, products)


def _mean(samples: torch.Tensor, offset: float, products: int) -> RandomTrace:
    count = len(samples)
    error = float(samples.std()) / count**0.5
    return RandomTrace(offset + float(samples.mean()), error, count - 1, products)


def _check(enough: bool) -> None:
    if not enough:
        raise ValueError("too few products: an error needs at least two samples, a jackknife three")
