"""Rows and columns of different scale: two ways to even them out before noise is judged.

Both look for ``x, y`` such that the noise in entry ``(i, j)`` has variance ``x_i y_j``, and divide by its
root; what is left is noise of variance 1, with a Marchenko-Pastur bulk. Sinkhorn's scaling takes the
squared entries for it, signal and all; the Dyson equaliser takes the resolvent, where low-rank signal
hardly shows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rmtaudit.kernels.spectra.gram import eigenvalues, gram, row_blocks

_TOLERANCE = 1e-4
"""Relative error of the sums of rows and columns that Sinkhorn's scaling accepts: a convention."""
_ROUNDS = 50
"""Most rounds of it, likewise."""
_VANISHING = 1e-36
"""Relative squares below this count as 0: float32 holds them with few digits or not at all."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Scales that even out a matrix: ``Ŵ_ij = W_ij · rows_i · cols_j`` has noise of variance 1.

    Attributes
    ----------
    rows, cols
        Shapes ``(n,)`` and ``(p,)``, float64, positive; 0 on lines that hold nothing, or nothing that counts
        against the largest entry of the matrix.
    """

    rows: torch.Tensor
    cols: torch.Tensor

    @property
    def support(self) -> tuple[int, int]:
        """Number of rows and of columns that hold anything."""
        return int((self.rows > 0).sum()), int((self.cols > 0).sum())


def sinkhorn(matrix: torch.Tensor) -> Profile:
    """Return scales after which the squared entries have mean 1 in every row and in every column.

    Parameters
    ----------
    matrix
        Shape ``(n, p)``, floating, finite. Not changed. Signs play no part.

    Notes
    -----
    Sinkhorn's alternation, to 1e-4 of every mean or 50 rounds. A matrix of a few rows, or a pattern of zeros
    that admits no exact scaling, may end at the 50th round: still a function of the magnitudes alone.

    References
    ----------
    Landa, Zhang, Kluger, *Biwhitening reveals the rank of a count matrix*, SIAM J. Math. Data Sci. 4 (2022),
    algorithm 1.
    """
    low, high = torch.aminmax(matrix)
    scale = max(-float(low), float(high))
    if scale == 0:
        zero = torch.zeros(matrix.shape[0] + matrix.shape[1], dtype=torch.float64, device=matrix.device)
        return Profile(zero[: matrix.shape[0]], zero[matrix.shape[0] :])
    # float32 is enough for scales that end at 1e-4, and halves what every round reads
    square = torch.threshold_((matrix / scale).square_().float(), _VANISHING, 0.0)
    n, p = _support(square)
    x = torch.ones(matrix.shape[0], dtype=torch.float32, device=matrix.device)
    y = _inverse(square.T @ x, n)
    for _ in range(_ROUNDS):
        mean = square @ y / p
        if bool(((mean * x - 1).abs()[mean > 0] < _TOLERANCE).all()):
            break
        x = _inverse(mean, 1)
        y = _inverse(square.T @ x, n)
    return Profile(x.double().sqrt() / scale, y.double().sqrt())


def dyson(
    matrix: torch.Tensor,
    start: Profile | None = None,
    *,
    product: torch.Tensor | None = None,
    spectrum: torch.Tensor | None = None,
) -> Profile:
    """Return scales from the diagonal of the resolvent: the Dyson equaliser.

    With ``η`` the median singular value, ``g = diag η(η² + WWᵀ)⁻¹`` and ``h = diag η(η² + WᵀW)⁻¹``, the
    variances are ``x = (1/g - η)/√(n - η Σg)`` and ``y = (1/h - η)/√(p - η Σh)``. No eigenvector is computed:
    one Cholesky inverse of the smaller side and one product give both diagonals.

    Parameters
    ----------
    matrix
        Shape ``(n, p)``, ``n >= p`` (see :func:`~rmtaudit.kernels.spectra.gram.tall`), floating, finite.
        It is not changed.
    start
        Scales to apply first; the result includes them. Noise of variance ``x_i y_j`` stays that under any
        scaling of lines, and ``η`` suits all lines better once they are roughly even.
    product, spectrum
        Gram matrix of the (scaled) matrix, shape ``(p, p)``, and its eigenvalues, if known.

    Raises
    ------
    ValueError
        If ``n < p``.
    ArithmeticError
        If half of the singular values are 0: the resolvent has no scale.

    References
    ----------
    Landa, Kluger, *The Dyson equalizer: adaptive noise stabilization for low-rank signal detection and
    recovery*, 2023, algorithm 1.
    """
    n, p = matrix.shape
    if n < p:
        raise ValueError(f"the longer side comes first, but the shape is {n} x {p}")
    if start is None:
        start = Profile(*(torch.ones(size, dtype=torch.float64, device=matrix.device) for size in (n, p)))
    if product is None:
        product = equalised_gram(matrix, start)
    values = eigenvalues(product) if spectrum is None else spectrum
    square = float(values.median())
    if not square > float(values.max()) * 1e-14:
        raise ArithmeticError("half of the singular values are 0: the resolvent has no scale")
    eta = square**0.5
    shifted = product + square * torch.eye(p, dtype=torch.float64, device=matrix.device)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(shifted))
    h = eta * inverse.diagonal()
    # diag η(η² + WWᵀ)⁻¹ = (1 - wᵢᵀ (η² + WᵀW)⁻¹ wᵢ)/η, row by row; the column scales go into the inverse
    inner = inverse * start.cols[:, None] * start.cols
    lengths = torch.cat([((block @ inner).mul_(block)).sum(1) for _, block in row_blocks(matrix)])
    g = (1 - start.rows.square() * lengths) / eta
    return Profile(start.rows * _equalise(g, eta), start.cols * _equalise(h, eta))


def equalised_gram(matrix: torch.Tensor, profile: Profile) -> torch.Tensor:
    """Return ``ŴᵀŴ`` of the scaled matrix, for ``n >= p``: shape ``(p, p)``, float64."""

    def scale(block: torch.Tensor, band: slice) -> torch.Tensor:
        return block.mul_(profile.rows[band, None]).mul_(profile.cols)

    return gram(matrix, scale)


def _support(square: torch.Tensor) -> tuple[int, int]:
    return int((square.sum(1) > 0).sum()), int((square.sum(0) > 0).sum())


def _inverse(sums: torch.Tensor, count: int) -> torch.Tensor:
    return torch.where(sums > 0, count / sums.clamp(min=1e-37), torch.zeros_like(sums))


def _equalise(diagonal: torch.Tensor, eta: float) -> torch.Tensor:
    """Return ``1/√x`` for the variances ``x`` behind a resolvent's diagonal; 0 where there is no variance."""
    variance = 1 / diagonal - eta
    alive = variance > eta * 1e-9
    total = float((1 - eta * diagonal).sum())
    return torch.where(alive, total**0.25 / variance.clamp(min=1e-300).sqrt(), torch.zeros_like(variance))
