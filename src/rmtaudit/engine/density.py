"""The spectrum of a larger matrix as a document of strict JSON: what ``rmtaudit density`` prints."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rmtaudit.errors import InputError, OutputError, UsageError

if TYPE_CHECKING:
    import torch

    from rmtaudit.kernels.free.decompression import Decompression
    from rmtaudit.kernels.free.evolution import EvolvedLaw

SCHEMA_NAME = "rmtaudit.density"
SCHEMA_VERSION = "1.0"
NOT_DECOMPRESSIBLE = "not decompressible"

Kind = Literal["eigenvalues", "samples", "matrix", "weights"]
_MOST_QUANTILES = 200_000
_DECILES = tuple(round(0.1 * index, 1) for index in range(1, 10))
_T_QUANTILE = 1.833
_LARGEST_MATRIX = 20_000


@dataclass(frozen=True, slots=True)
class DensitySettings:
    """What is asked for.

    Attributes
    ----------
    size, factor
        Size of the large matrix, or its ratio to that of the block: one of the two.
    kind
        What the file holds: ``None`` for eigenvalues in one dimension, a symmetric matrix in two;
        ``"samples"`` for one spectrum a row, ``"weights"`` for ``W``, of which ``WWᵀ/cols`` grows by rows.
    ridge
        Ridge of the log-determinant, if any.
    replicas
        Replicas behind the bands; 0 for none.
    seed
        Seed of validation and replicas.
    """

    size: int | None = None
    factor: float | None = None
    kind: Kind | None = None
    ridge: float | None = None
    replicas: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.size is None) == (self.factor is None):
            raise UsageError("RA-US-501", "Give --size or --factor, and not both.")
        if self.replicas == 1:
            raise UsageError("RA-US-502", "One replica has no spread.", hint="Give 0, or at least 2.")


@dataclass(frozen=True, slots=True)
class DensityResult:
    """The document, and the predicted eigenvalues without the spikes: shape ``(count,)``, ascending."""

    document: dict[str, Any]
    quantiles: torch.Tensor


def predict_file(path: Path, settings: DensitySettings) -> DensityResult:
    """Predict the spectrum of a larger matrix from a file.

    Raises
    ------
    InputError
        RA-SA-… as :func:`rmtaudit.matrices.samples.read_samples`; RA-DE-001 to RA-DE-004 for a matrix that
        cannot be taken; RA-DE-005 for a block that is too small or constant.
    UsageError
        RA-US-503 where the target is not larger than the block.
    """
    import torch

    from rmtaudit.kernels.free.decompression import decompress_spectrum

    kind, spectra, matrix, weights = _read(path, settings)
    n = spectra.shape[-1]
    factor = settings.size / n if settings.size is not None else settings.factor
    assert factor is not None
    if not factor > 1:
        raise UsageError(
            "RA-US-503",
            f"The target must be larger than the block of size {n}; the factor is {factor:.4g}.",
            where=str(path),
        )
    target = settings.size if settings.size is not None else round(n * factor)
    generator = torch.Generator().manual_seed(settings.seed)
    try:
        found = decompress_spectrum(
            spectra, factor, generator=generator, matrix=matrix, replicas=settings.replicas
        )
    except ValueError as error:
        raise InputError("RA-DE-005", f"Nothing to predict from: {error}.", where=str(path)) from error
    count = min(max(1, target - len(found.spikes)), _MOST_QUANTILES)
    quantiles = found.quantiles(count)
    document = _document(path, settings, kind, spectra, target, factor, found)
    if weights is not None:
        document, quantiles = _with_rows(document, quantiles, weights, factor, count, generator)
    return DensityResult(document, quantiles)


def save_quantiles(quantiles: torch.Tensor, path: Path) -> None:
    """Write the predicted eigenvalues as ``.npy``; raises ``OutputError`` (RA-OU-003)."""
    import numpy as np

    try:
        with path.open("wb") as file:
            np.save(file, quantiles.numpy())
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OutputError("RA-OU-003", f"Cannot be written: {reason}.", where=str(path)) from error


def _read(
    path: Path, settings: DensitySettings
) -> tuple[Kind, torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """Return the kind, the spectra, the matrix where there is one, and the weights where there are."""
    import torch

    from rmtaudit.matrices.samples import read_samples

    if settings.kind == "eigenvalues" or (settings.kind is None and _dimensions(path) != 2):
        return "eigenvalues", read_samples(path), None, None
    array = _array(path)
    if settings.kind == "samples":
        return "samples", array, None, None
    if settings.kind == "weights":
        gram = array @ array.T / array.shape[1]
        return "weights", torch.linalg.eigvalsh(gram).clamp(min=0), gram, array
    rows, cols = array.shape
    if rows != cols:
        raise InputError(
            "RA-DE-003",
            f"Has the shape {rows} x {cols}; a matrix must be square.",
            hint="--kind samples: one spectrum a row; --kind weights: the weights of a layer.",
            where=str(path),
        )
    if bool((array - array.T).abs().max() > 1e-8 * array.abs().max()):
        raise InputError("RA-DE-004", "The matrix is not symmetric.", where=str(path))
    array = (array + array.T) / 2
    return "matrix", torch.linalg.eigvalsh(array), array, None


def _dimensions(path: Path) -> int:
    import numpy as np

    if path.suffix.lower() != ".npy":
        return 1
    try:
        return int(np.load(path, mmap_mode="r", allow_pickle=False).ndim)
    except (OSError, ValueError, EOFError):
        return 1  # read_samples says what is wrong with it


def _array(path: Path) -> torch.Tensor:
    import numpy as np
    import torch

    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError("RA-DE-001", f"Cannot be read as .npy: {error}.", where=str(path)) from error
    if (
        array.ndim != 2
        or array.dtype.kind not in "fiu"
        or not array.size
        or max(array.shape) > _LARGEST_MATRIX
    ):
        raise InputError(
            "RA-DE-002",
            f"Holds dtype {array.dtype} of shape {array.shape}, not a real matrix of at most "
            f"{_LARGEST_MATRIX} a side.",
            where=str(path),
        )
    values = torch.from_numpy(np.array(array, dtype=np.float64))
    if not bool(torch.isfinite(values).all()):
        raise InputError("RA-SA-008", "Holds values that are not finite.", where=str(path))
    return values


def _document(
    path: Path,
    settings: DensitySettings,
    kind: Kind,
    spectra: torch.Tensor,
    target: int,
    factor: float,
    found: Decompression,
) -> dict[str, Any]:
    from rmtaudit import __version__

    rows = spectra.reshape(-1, spectra.shape[-1])
    refused = found.verdict == NOT_DECOMPRESSIBLE
    return {
        "schema": {"name": SCHEMA_NAME, "version": SCHEMA_VERSION},
        "tool": {"version": __version__, "options": asdict(settings), "seed": settings.seed},
        "subject": {"path": str(path), "kind": kind, "size": rows.shape[1], "samples": len(rows)},
        "target": {"size": target, "factor": factor},
        "verdict": {
            "word": found.verdict,
            "reason": found.reason,
            "shown": "two free cumulants" if refused else "free decompression",
        },
        "tests": _tests(found),
        "spikes": [{"block": block, "predicted": predicted} for block, predicted in found.spikes],
        "functionals": _functionals(found),
        "quantiles": _deciles(found),
        "atoms": [{"place": place, "mass": mass} for place, mass in found.law.atoms],
        "ridge": None if settings.ridge is None else _ridge(rows, factor, settings.ridge),
    }


def _tests(found: Decompression) -> dict[str, Any]:
    choice, test = found.choice, found.freeness
    return {
        "chi_square": found.fit.chi_square,
        "n_data": found.fit.n_data,
        "stays_positive": found.fit.positive,
        "slack": found.fit.slack,
        "last_factor": found.last_factor if math.isfinite(found.last_factor) else None,
        "mass": found.law.mass,
        "validation": None
        if choice is None
        else {
            "score": choice.score,
            "baselines": {str(order): score for order, score in choice.baselines.items()},
        },
        "freeness": None
        if test is None
        else {"distance": test.distance, "chance": test.noise, "diagonal_share": test.diagonal_share},
    }


def _functionals(found: Decompression) -> dict[str, Any]:
    functions: dict[str, Callable[[EvolvedLaw], float]] = {
        "mean": lambda law: law.cumulant(1),
        "standard_deviation": lambda law: math.sqrt(law.cumulant(2)),
        "skewness": lambda law: law.cumulant(3) / law.cumulant(2) ** 1.5,
        "lower_edge": lambda law: law.edges[0][0],
        "upper_edge": lambda law: law.edges[-1][1],
    }
    out = {name: _interval(found, function) for name, function in functions.items()}
    if found.fit.positive and float(found.law.x[0]) >= -1e-9 * float(found.law.x[-1]):
        out["effective_rank_share"] = _interval(
            found, lambda law: law.cumulant(1) ** 2 / (law.cumulant(2) + law.cumulant(1) ** 2)
        )
        if found.law.atoms:
            reason = "the predicted spectrum has an atom at 0"
            out["log_det"] = out["condition"] = _none(reason)
        else:
            out["log_det"] = _interval(found, lambda law: law.log_det())
            out["condition"] = _interval(found, lambda law: law.edges[-1][1] / max(law.edges[0][0], 1e-300))
    else:
        out["log_det"] = out["condition"] = out["effective_rank_share"] = _none(
            "the predicted spectrum is not that of a positive matrix"
        )
    return out


def _interval(found: Decompression, function: Callable[[EvolvedLaw], float]) -> dict[str, Any]:
    value = function(found.law)
    drawn = [function(law) for law in found.replicas]
    if not math.isfinite(value):
        return _none("not finite")
    if len(drawn) < 2 or not all(map(math.isfinite, drawn)):
        return {"value": value, "low": None, "high": None, "reason": ""}
    middle = math.fsum(drawn) / len(drawn)
    half = _T_QUANTILE * math.sqrt(math.fsum((one - middle) ** 2 for one in drawn) / (len(drawn) - 1))
    if found.pooled:
        value, half = middle, half / math.sqrt(len(drawn))
    return {"value": value, "low": value - half, "high": value + half, "reason": ""}


def _none(reason: str) -> dict[str, Any]:
    return {"value": None, "low": None, "high": None, "reason": reason}


def _deciles(found: Decompression) -> list[dict[str, Any]]:
    import torch

    levels = torch.tensor(_DECILES, dtype=torch.float64)
    low, high = found.band(levels)
    centre = (low + high) / 2 if found.pooled else found.law.ppf(levels)
    return [
        {
            "level": level,
            "value": value,
            "low": one if math.isfinite(one) else None,
            "high": other if math.isfinite(other) else None,
        }
        for level, value, one, other in zip(
            _DECILES, centre.tolist(), low.tolist(), high.tolist(), strict=True
        )
    ]


def _ridge(rows: torch.Tensor, factor: float, ridge: float) -> dict[str, Any]:
    from rmtaudit.kernels.free.ridge import resolvable_scale, ridge_log_det

    if bool((rows < 0).any()):
        return {"ridge": ridge, "status": "failed", "reason": "an eigenvalue of the block is negative"}
    values = rows.reshape(-1)
    least = resolvable_scale(values, factor)
    if ridge <= least:
        reason = f"a block of this size resolves no ridge below {least:.4g}"
        return {"ridge": ridge, "status": "failed", "reason": reason, "resolvable": least}
    found = ridge_log_det(values, factor, ridge)
    each = [
        ridge_log_det(row, factor, ridge).log_det for row in rows if ridge > resolvable_scale(row, factor)
    ]
    spread = None
    if len(each) > 1:
        middle = math.fsum(each) / len(each)
        spread = math.sqrt(math.fsum((one - middle) ** 2 for one in each) / (len(each) - 1) / len(each))
    return {
        "ridge": ridge,
        "status": "ok",
        "resolvable": least,
        "log_det": found.log_det,
        "se": spread,
        "effective_dimension": found.effective_dimension,
    }


def _with_rows(
    document: dict[str, Any],
    quantiles: torch.Tensor,
    weights: torch.Tensor,
    factor: float,
    count: int,
    generator: torch.Generator,
) -> tuple[dict[str, Any], torch.Tensor]:
    """Return the document with the row-scaled prediction, where nested blocks say that it is better."""
    import torch

    from rmtaudit.kernels.free.deformed import deformed_quantiles, nested_scores

    scores = nested_scores(weights, generator)
    document["tests"]["rows"] = {"deformed": scores[0], "free": scores[1]}
    share = document["tests"]["freeness"]["diagonal_share"]
    deformed = share >= 0.2 or scores[0] < scores[1]
    document["verdict"]["shown"] = "row-scaled (deformed)" if deformed else document["verdict"]["shown"]
    if not deformed or not scores[0] <= 0.15:
        return document, quantiles
    gram = torch.linalg.eigvalsh(weights @ weights.T / weights.shape[1]).clamp(min=0)
    quantiles = deformed_quantiles(gram, weights.shape[1], factor, count)
    levels = torch.tensor(_DECILES, dtype=torch.float64)
    reason = f"rows of different scale; nested blocks of rows are missed by {scores[0]:.1%} of the spread"
    document["verdict"] = {"word": "decompressible", "reason": reason, "shown": "row-scaled (deformed)"}
    document["spikes"], document["atoms"] = [], []
    zeros = float((quantiles == 0).double().mean())
    if zeros:
        document["atoms"] = [{"place": 0.0, "mass": zeros}]
    document["quantiles"] = [
        {"level": level, "value": value, "low": None, "high": None}
        for level, value in zip(_DECILES, torch.quantile(quantiles, levels).tolist(), strict=True)
    ]
    no_band = {"low": None, "high": None, "reason": ""}
    mean, variance = float(quantiles.mean()), float(quantiles.var(correction=0))
    document["functionals"] = {
        "mean": {"value": mean, **no_band},
        "standard_deviation": {"value": math.sqrt(variance), **no_band},
        "lower_edge": {"value": float(quantiles[0]), **no_band},
        "upper_edge": {"value": float(quantiles[-1]), **no_band},
        "effective_rank_share": {"value": mean**2 / (variance + mean**2), **no_band},
        "log_det": _none("the predicted spectrum has an atom at 0")
        if zeros
        else {"value": float(quantiles.clamp(min=1e-300).log().mean()), **no_band},
    }
    return document, quantiles
