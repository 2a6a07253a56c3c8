"""What stands beside a prediction and does not depend on it: the kernel polynomial density, true spectra."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmtaudit.engine.density.document import DECILES

if TYPE_CHECKING:
    import torch

    from rmtaudit.engine.density.blocks import Blocks
    from rmtaudit.kernels.extrapolation import Prediction
    from rmtaudit.kernels.slq.density import ChebyshevDensity
    from rmtaudit.matrices.sources import MatrixSource

MOMENTS, PROBES = 100, 16
"""A convention: 50 products with each of 16 probes resolve a hundredth of the range."""
_CHEAP = 1 << 25
"""A convention: all products with so many entries are ``5e10`` operations, which take seconds."""


def polynomial(
    source: MatrixSource, target: int, requested: bool | None, seed: int
) -> ChebyshevDensity | str:
    """Return the kernel polynomial density of the source, or in a clause why there is none.

    It is that of the source itself, so that it can stand beside a prediction of that size alone.
    """
    from rmtaudit.kernels.operators import Symmetric
    from rmtaudit.kernels.slq.density import kernel_polynomial
    from rmtaudit.kernels.slq.samplers import Sampler
    from rmtaudit.matrices.sources import Reach

    if requested is False:
        return "not requested"
    if target != source.shape[0]:
        return (
            f"the prediction is for size {target}, but products are available only with the "
            f"source, of size {source.shape[0]}"
        )
    if Reach.MATMUL not in source.reach:
        return "the source does not support products"
    work = _entries(source)
    if requested is None and work > _CHEAP:
        return f"{MOMENTS // 2} products with {work:.2g} entries would be needed: add --kpm to compute them"
    operator = Symmetric(
        size=source.shape[0], matmul=source.matmul, smallest=0.0 if source.semidefinite else None
    )
    try:
        return kernel_polynomial(operator, Sampler(seed), moments=MOMENTS, probes=PROBES)
    except ArithmeticError as error:
        return str(error)


def polynomial_document(
    estimate: ChebyshevDensity | str, prediction: Prediction, target: int
) -> dict[str, Any]:
    """Return the polynomial density's part of the document: where the prediction's deciles fall in it.

    Both are smoothed alike: the prediction's Chebyshev moments are damped as those of the matrix are.
    """
    if isinstance(estimate, str):
        return {"status": "skipped", "reason": estimate}
    out: dict[str, Any] = {"status": "ok", "reason": "", "moments": MOMENTS, "probes": PROBES}
    if prediction.law is None:
        return out | {"distance": None, "se": None}
    from rmtaudit.kernels.slq.density import ChebyshevDensity

    values = _with_spikes(prediction, target)
    scaled = ((values - estimate.centre) / estimate.half).clamp(-1, 1)
    angles = scaled.arccos()
    orders = range(estimate.moments.shape[1])
    own = scaled.new_tensor([float((angles * order).cos().mean()) for order in orders])
    smoothed = ChebyshevDensity(own.expand(2, -1), estimate.centre, estimate.half, target)
    points = prediction.quantiles(41)
    counted = estimate.counts(points)
    distances = (counted.values - smoothed.counts(points).values).abs() / target
    worst = int(distances.argmax())
    return out | {
        "distance": float(distances[worst]),
        "se": float(counted.standard_errors[worst]) / target,
        "width": float(counted.width[worst]),
    }


def against(path: Path, prediction: Prediction) -> dict[str, Any]:
    """Return how far the prediction is from the eigenvalues of a file.

    Raises
    ------
    InputError
        As :func:`rmtaudit.matrices.samples.read_samples`.
    """
    import torch

    from rmtaudit.kernels.free.validation import ks_distance
    from rmtaudit.matrices.samples import read_samples

    true = read_samples(path).sort().values
    out: dict[str, Any] = {"path": str(path), "eigenvalues": len(true)}
    if prediction.law is None:
        return out | {"status": "skipped", "reason": "there is no prediction to compare"}
    spikes = len(prediction.spikes)
    rest = true[: len(true) - spikes]
    predicted = prediction.quantiles(len(rest))
    # a zero with rounding and an atom at 0 are the same
    rounding = 1e-12 * float(true.abs().max())
    clean = torch.where(rest.abs() <= rounding, 0.0, rest)
    return out | {
        "status": "ok",
        "reason": "",
        "ks": ks_distance(torch.where(predicted.abs() <= rounding, 0.0, predicted), clean),
        "wasserstein": float((predicted - rest).abs().mean()),
        **true_numbers(rest),
        "spikes": true[len(true) - spikes :].flip(0).tolist() if spikes else [],
        "two_moments": _baseline_ks(prediction, clean),
    }


def true_numbers(values: torch.Tensor) -> dict[str, Any]:
    """Return functionals and deciles of true eigenvalues, ascending."""
    import torch

    positive = bool((values > 0).all())
    return {
        "functionals": {
            "mean": float(values.mean()),
            "standard_deviation": float(values.std(correction=0)),
            "lower_edge": float(values[0]),
            "upper_edge": float(values[-1]),
            "log_det": float(values.log().mean()) if positive else None,
            "condition": float(values[-1] / values[0]) if positive else None,
        },
        "quantiles": torch.quantile(values, values.new_tensor(DECILES)).tolist(),
    }


def moments_without_freeness(blocks: Blocks, target: int) -> dict[str, Any] | None:
    """Return mean and variance at the target from entries alone, which hold for any matrix drawn at random.

    ``tr A²/N = E a_ii² + (N - 1) E a_ij²``: no assumption but that the indices are exchangeable.
    """
    if blocks.moments is None:
        return None
    mean, squares, off = blocks.moments.T.tolist()
    variances = [d + (target - 1) * o - m * m for m, d, o in zip(mean, squares, off, strict=True)]
    if not all(map(math.isfinite, variances)):
        return None  # beyond the range of float64
    return {"mean": _averaged(mean), "variance": _averaged(variances)}


def _averaged(values: list[float]) -> dict[str, float | None]:
    middle = math.fsum(values) / len(values)
    if len(values) < 2:
        return {"value": middle, "se": None}
    square = math.fsum((value - middle) ** 2 for value in values) / (len(values) - 1)
    return {"value": middle, "se": math.sqrt(square / len(values))}


def _baseline_ks(prediction: Prediction, true: torch.Tensor) -> float | None:
    from rmtaudit.kernels.free.validation import ks_distance

    if 2 not in prediction.baselines:
        return None
    return ks_distance(prediction.baselines[2].quantiles(len(true)), true)


def _with_spikes(prediction: Prediction, target: int) -> torch.Tensor:
    import torch

    values = prediction.quantiles(min(max(1, target - len(prediction.spikes)), 20_000))
    if not prediction.spikes or len(values) < target - len(prediction.spikes):
        return values
    places = [place for _, place in prediction.spikes if place is not None]
    return torch.cat([values, values.new_tensor(places)])


def _entries(source: MatrixSource) -> float:
    known = source.known()
    if known.gram is not None:
        return 2 * _entries(known.gram.factor)
    return float(source.shape[0]) * source.shape[1] if known.nonzeros is None else float(known.nonzeros)
