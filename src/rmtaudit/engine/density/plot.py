"""The figure of a prediction, as a file."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from rmtaudit.errors import OutputError, UsageError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from rmtaudit.engine.density.answer import DensityResult
    from rmtaudit.engine.density.whole_answer import WholeResult
    from rmtaudit.report.plots.density import Curve, DensityPicture

_POINTS, _LEVELS, _DRAWN = 600, 400, 100_000
"""A convention: points and levels of the curves, more than a figure is wide; eigenvalues in the histogram at
most."""


def check_plot(path: Path) -> None:
    """Find out before the work whether a figure can be drawn.

    Raises
    ------
    UsageError
        RA-US-506: neither .png nor .svg; RA-US-303: matplotlib is not installed.
    """
    if path.suffix.lower() not in (".png", ".svg"):
        message = f"The ending {path.suffix!r} is neither .png nor .svg."
        raise UsageError("RA-US-506", message, where=str(path))
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError(
            "RA-US-303",
            "Plots need matplotlib, which is not installed.",
            hint="pip install 'rmtaudit[plots]'",
        )


def save_plot(result: DensityResult | WholeResult, path: Path, *, truth: Path | None = None) -> None:
    """Draw density and share below, with their bands, the block, the simple laws and what is known beside.

    Raises
    ------
    UsageError
        As :func:`check_plot`.
    OutputError
        RA-OU-003: the file cannot be written.
    """
    check_plot(path)
    from rmtaudit.engine.density.whole_answer import WholeResult
    from rmtaudit.report.plots.canvas import png, settle, style, svg
    from rmtaudit.report.plots.density import density_figure

    picture = _whole(result, truth) if isinstance(result, WholeResult) else _predicted(result, truth)
    with style():
        figure = density_figure(picture)
        settle(figure)
        if path.suffix.lower() == ".png":
            data = png(figure)
        else:
            prefix = f"rmt-{hashlib.sha256(picture.title.encode(errors='replace')).hexdigest()[:8]}-"
            data = svg(figure, prefix, picture.title).encode()
    try:
        path.write_bytes(data)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OutputError("RA-OU-003", f"The file cannot be written: {reason}.", where=str(path)) from error


def _whole(result: WholeResult, truth: Path | None) -> DensityPicture:
    import torch

    from rmtaudit.report.plots.density import Curve, DensityPicture

    document, spectrum = result.document, result.spectrum
    levels = (torch.arange(_LEVELS, dtype=torch.float64) + 0.5) / _LEVELS
    value, low, high = spectrum.band(levels)
    low, high = (torch.where(bound.isfinite(), bound, value) for bound in (low, high))
    values = spectrum.quantiles(min(spectrum.order, _DRAWN))
    return DensityPicture(
        title=f"{document['subject']['name']}: order {document['subject']['order']}",
        verdict=f"{document['verdict']['word']}: {document['verdict']['route']}",
        block=_numpy(values),
        share=Curve(x=_numpy(value), y=_numpy(levels), low=_numpy(low), high=_numpy(high)),
        truth=None if truth is None else _truth(truth),
        block_label="eigenvalues" if spectrum.distribution is None else "quantiles",
    )


def _predicted(result: DensityResult, truth: Path | None) -> DensityPicture:
    from rmtaudit.report.plots.density import DensityPicture

    document, prediction = result.document, result.prediction
    verdict = document["verdict"]
    return DensityPicture(
        title=f"{document['subject']['name']}: order {document['subject']['block']} to "
        f"{document['target']['size']}",
        verdict=f"{verdict['word']}: {verdict['reason']}" if verdict["reason"] else verdict["word"],
        block=_numpy(result.blocks.spectra.reshape(-1)),
        density=_density(result),
        share=_share(result),
        baselines={} if prediction.law is None else _baselines(result),
        polynomial=_polynomial(result),
        truth=None if truth is None else _truth(truth),
        spikes=prediction.spikes,
    )


def _density(result: DensityResult) -> Curve | None:
    """Return the density with a band, pointwise, from the replicas as the quantiles have theirs."""
    from rmtaudit.kernels.extrapolation.functionals import student
    from rmtaudit.report.plots.density import Curve

    prediction = result.prediction
    if prediction.law is None:
        return None
    import torch

    at = _points(result)
    centre = prediction.density(at)
    if len(prediction.replicas) < 2:
        return Curve(x=_numpy(at), y=_numpy(centre))
    drawn = torch.stack([law.pdf(at) for law in prediction.replicas])
    half = student(len(drawn)) * drawn.std(0) / (len(drawn) ** 0.5 if prediction.pooled else 1.0)
    return Curve(
        x=_numpy(at), y=_numpy(centre), low=_numpy((centre - half).clamp(min=0)), high=_numpy(centre + half)
    )


def _share(result: DensityResult) -> Curve | None:
    from rmtaudit.report.plots.density import Curve

    prediction = result.prediction
    if prediction.law is None:
        return None
    import numpy as np
    import torch

    levels = (torch.arange(_LEVELS, dtype=torch.float64) + 0.5) / _LEVELS
    band = prediction.band(levels)
    x = np.array([float(one.value or 0.0) for one in band])
    if any(one.low is None for one in band):
        return Curve(x=x, y=_numpy(levels))
    low = np.array([float(one.low or 0.0) for one in band])
    high = np.array([float(one.high or 0.0) for one in band])
    return Curve(x=x, y=_numpy(levels), low=low, high=high)


def _baselines(result: DensityResult) -> dict[int, Curve]:
    from rmtaudit.report.plots.density import Curve

    at = _points(result)
    return {
        order: Curve(x=_numpy(at), y=_numpy(law.pdf(at)))
        for order, law in result.prediction.baselines.items()
    }


def _polynomial(result: DensityResult) -> Curve | None:
    """Return the kernel polynomial density with two standard errors; it is smoothed over its width."""
    from rmtaudit.report.plots.density import Curve

    polynomial = result.polynomial
    if isinstance(polynomial, str):
        return None
    import torch

    if result.prediction.law is None:
        reach = 0.999 * polynomial.half
        at = torch.linspace(
            polynomial.centre - reach, polynomial.centre + reach, _POINTS, dtype=torch.float64
        )
    else:
        at = _points(result)
    curve = polynomial.density(at)
    low = (curve.values - 2 * curve.standard_errors).clamp(min=0)
    high = curve.values + 2 * curve.standard_errors
    return Curve(
        x=_numpy(at), y=_numpy(curve.values), low=_numpy(low), high=_numpy(high), width=_numpy(curve.width)
    )


def _points(result: DensityResult) -> torch.Tensor:
    """Return points spread over the mass of the prediction and over its range."""
    import torch

    law = result.prediction.law
    assert law is not None
    levels = torch.linspace(0, 1, _POINTS, dtype=torch.float64)
    low, high = law.edges[0][0], law.edges[-1][1]
    grid = torch.linspace(low, high, _POINTS, dtype=torch.float64)
    both = torch.cat([law.ppf(levels).clamp(low, high), grid])
    if low > 0:
        both = torch.cat([both, torch.logspace(0, 1, _POINTS, base=high / low, dtype=torch.float64) * low])
    points: torch.Tensor = torch.unique(both)
    return points


def _truth(path: Path) -> NDArray[np.float64]:
    from rmtaudit.matrices.samples import read_samples

    return _numpy(read_samples(path))


def _numpy(values: torch.Tensor) -> NDArray[np.float64]:
    import numpy as np

    return np.asarray(values.numpy(), dtype=np.float64)
