"""Which matrix has the eigenvalues of a file, and what the other one of the pair then has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rmtaudit.errors import NothingAuditableError, UsageError

if TYPE_CHECKING:
    import torch

Matrix = Literal["covariance", "kernel"]

_ZERO = 1e-5
"""Share of the largest eigenvalue up to which a structural zero may be off 0: float32 leaves about 1e-6."""
_LEAST = 2.0**-1000
"""Below it, and above its reciprocal, sums and squares of eigenvalues leave the range of normal numbers."""
_ASK = (
    "Give --matrix covariance for the features x features matrix, or --matrix kernel for the samples x "
    "samples matrix, and --shape SAMPLES FEATURES."
)


@dataclass(frozen=True, slots=True)
class FeatureSpectrum:
    """The eigenvalues that the sample covariance and the kernel matrix of the same features share.

    Attributes
    ----------
    matrix
        Whose eigenvalues the file has.
    eigenvalues
        Ascending, float64, shape ``(min(samples, features),)``; where one of the two is not known, those
        above 0. In the unit of the file.
    samples, features
        ``None``: not known.
    """

    matrix: Matrix
    eigenvalues: torch.Tensor
    samples: int | None
    features: int | None


def feature_spectrum(
    values: torch.Tensor, matrix: Matrix | None, shape: tuple[int, int] | None, *, path: str = ""
) -> FeatureSpectrum:
    """Return the shared eigenvalues of a file's ``values``, shape ``(n,)``, not negative.

    Raises
    ------
    UsageError
        RA-US-402 where the matrix has another number of eigenvalues; RA-US-403 where it cannot be told which
        matrix it is; RA-US-404 where more eigenvalues are above 0 than the rank of the features.
    NothingAuditableError
        RA-NA-003 where every eigenvalue is 0, or the largest is out of range.
    """
    values = values.double().sort().values
    if not _LEAST < float(values[-1]) < 1 / _LEAST:
        message = "Every eigenvalue is 0, or the largest is out of range: nothing can be learned."
        raise NothingAuditableError("RA-NA-003", message, where=path)
    if matrix is None:
        matrix = _declared(len(values), shape, path)
    if shape is None:
        # rounding leaves zeros at n eps max
        known, above = len(values), values[values > len(values) * 2.0**-52 * values[-1]]
        return FeatureSpectrum(
            matrix, above, known if matrix == "kernel" else None, known if matrix == "covariance" else None
        )
    samples, features = shape
    expected = samples if matrix == "kernel" else features
    if len(values) != expected:
        raise UsageError(
            "RA-US-402",
            f"The {matrix} matrix of {samples} samples and {features} features has {expected} "
            f"eigenvalues, but the file has {len(values)}.",
            hint="Give samples and features in this order, and all eigenvalues, including zeros.",
            where=path,
        )
    rank = min(shape)
    above = values[: len(values) - rank]
    if len(above) and float(above[-1]) > _ZERO * float(values[-1]):
        raise UsageError(
            "RA-US-404",
            f"{int((values > _ZERO * values[-1]).sum())} of {len(values)} eigenvalues are above 0, and the "
            f"rank of {samples} samples of {features} features is at most {rank}.",
            hint=(
                "Check the order of --shape SAMPLES FEATURES. A ridge that was already added "
                "must be subtracted."
            ),
            where=path,
        )
    return FeatureSpectrum(matrix, values[len(values) - rank :], samples, features)


def _declared(size: int, shape: tuple[int, int] | None, path: str) -> Matrix:
    """Return the matrix that the number of eigenvalues tells, or ask."""
    if shape is None:
        raise UsageError(
            "RA-US-403",
            f"It is not stated which matrix has these {size} eigenvalues, and the forecast depends on it.",
            hint=_ASK,
            where=path,
        )
    samples, features = shape
    if samples == features == size:
        raise UsageError(
            "RA-US-403",
            f"Covariance and kernel matrix of {size} samples of {size} features have as many eigenvalues.",
            hint="Give --matrix covariance or --matrix kernel.",
            where=path,
        )
    if size not in shape:
        raise UsageError(
            "RA-US-402",
            f"{samples} samples of {features} features have a matrix of {samples} or of "
            f"{features} eigenvalues, but the file has {size}.",
            hint="Give samples and features, and all eigenvalues, including zeros.",
            where=path,
        )
    return "kernel" if size == samples else "covariance"
