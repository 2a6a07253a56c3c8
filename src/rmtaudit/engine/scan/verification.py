"""The second opinion on a scan: a few layers, chosen by the seed, from their bytes on."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace
from scipy import linalg

from rmtaudit.engine.scan.run import Inspect, scan_checkpoint
from rmtaudit.engine.verify.checks import Check, check, fit_checks, section
from rmtaudit.engine.verify.readers import SecondReader
from rmtaudit.errors import InputError
from rmtaudit.report.model import LayerResult, Report
from rmtaudit.report.second_opinion import NotCompared, Verification

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from rmtaudit.checkpoints.base import Checkpoint
    from rmtaudit.engine.resources.progress import Estimate, Progress
    from rmtaudit.engine.settings.scan import ScanSettings
    from rmtaudit.kernels.spectra.spectrum import Spectrum


def scan_and_verify(
    checkpoint: Checkpoint,
    settings: ScanSettings,
    *,
    layers: int,
    progress: Callable[[Progress], None] | None = None,
    inspect: Inspect | None = None,
    base: Checkpoint | None = None,
    expect: Callable[[Estimate], None] | None = None,
) -> Report:
    """Scan a checkpoint and add a second opinion on a few layers, unless the scan was stopped.

    ``layers`` as of :func:`verify_scan`, the rest as of :func:`~rmtaudit.engine.scan.run.scan_checkpoint`.
    Raises ``InputError`` (RA-IN-226) for a checkpoint that is read over the network.
    """
    if checkpoint.streamed:
        raise InputError(
            "RA-IN-226",
            "The second opinion of other libraries needs the files on this machine.",
            hint="Omit --stream to download the model.",
        )
    spectra: dict[str, Spectrum] = {}

    def keep(row: LayerResult, spectrum: Spectrum) -> None:
        spectra[row.name] = spectrum
        if inspect is not None:
            inspect(row, spectrum)

    report = scan_checkpoint(checkpoint, settings, progress=progress, inspect=keep, base=base, expect=expect)
    if not report.complete:
        return report
    return replace(report, verification=verify_scan(checkpoint, report, spectra, layers=layers))


def verify_scan(
    checkpoint: Checkpoint, report: Report, spectra: Mapping[str, Spectrum], *, layers: int
) -> Verification:
    """Return the section ``verification``: checks of ``layers`` layers, chosen by the seed of the report.

    Parameters
    ----------
    checkpoint
        The scanned one, still open; its values are what is compared with the second reader's.
    report
        Of the scan.
    spectra
        By layer.
    layers
        How many, at least 1; fewer where fewer are a tensor of their own.
    """
    stored = {spec.name: spec.parameters for spec in checkpoint.tensors}
    able = [row for row in report.layers if row.name in spectra and _is_whole(row, stored)]
    seed = report.tool["seed"]
    chosen = random.Random(seed).sample(able, min(layers, len(able)))
    reader = SecondReader(Path(checkpoint.path))
    checks: list[Check] = []
    skipped: list[NotCompared] = []
    if not able:
        skipped.append({"owner": "", "reason": "no layer that was analysed is a single stored matrix"})
    for row in sorted(chosen, key=report.layers.index):
        read = reader.read(row.tensor)
        if isinstance(read, str):
            skipped.append({"owner": row.name, "reason": read})
            continue
        tensor, library = read
        ours = checkpoint.read(row.tensor)
        checks.append(_values(row.name, library, ours, tensor))
        matrix = _matrix(row, tensor)
        if matrix is None:
            skipped.append(
                {"owner": row.name, "reason": "its matrix is not the tensor by its first or last side"}
            )
            continue
        min_tail = int(report.tool["options"].get("powerlaw", {}).get("min_tail", 2))
        checks.extend(_numbers(row, matrix, spectra[row.name], min_tail))
    return section(checks, skipped, seed)


def _is_whole(row: LayerResult, stored: Mapping[str, int]) -> bool:
    """Whether a layer is all of one stored tensor, seen as one matrix; what is decoded is in no file."""
    whole = row.matrices == 1 and stored.get(row.tensor) == math.prod(row.shape)
    return row.status == "ok" and row.encoding is None and whole


def _values(name: str, library: str, ours: torch.Tensor, theirs: torch.Tensor) -> Check:
    """Count the values that differ."""
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return Check(
            owner=name,
            quantity="values",
            library=library,
            ours=ours.numel(),
            theirs=theirs.numel(),
            deviation=math.inf,
        )
    # every floating dtype is exact in float64, and NaN is equal to NaN here
    left, right = (part.double().flatten().numpy() for part in (ours, theirs))
    different = int((~((left == right) | (np.isnan(left) & np.isnan(right)))).sum())
    return Check(
        owner=name,
        quantity="values",
        library=library,
        ours=len(left),
        theirs=len(right),
        deviation=float(different),
    )


def _matrix(row: LayerResult, tensor: torch.Tensor) -> NDArray[np.float64] | None:
    """Return the tensor as the matrix of its first side, or of its last one, by all others."""
    values: NDArray[np.float64] = tensor.double().numpy()
    for matrix in (values.reshape(len(values), -1), values.reshape(-1, values.shape[-1])):
        if sorted(matrix.shape) == sorted(row.shape):
            return matrix
    return None


def _numbers(
    row: LayerResult, matrix: NDArray[np.float64], spectrum: Spectrum, min_tail: int
) -> Iterator[Check]:
    sigma = linalg.svdvals(matrix)[::-1]
    theirs = sigma**2
    if len(theirs) != len(spectrum.eigenvalues):
        yield Check(
            owner=row.name,
            quantity="eigenvalues",
            library="LAPACK",
            ours=len(spectrum.eigenvalues),
            theirs=len(theirs),
            deviation=math.inf,
        )
        return
    ours = spectrum.eigenvalues.numpy()
    worst = int(np.abs(ours - theirs).argmax())
    apart = abs(float(ours[worst] - theirs[worst])) / spectrum.error_bound if spectrum.error_bound else 0.0
    yield Check(
        owner=row.name,
        quantity="eigenvalues",
        library="LAPACK",
        ours=float(ours[worst]),
        theirs=float(theirs[worst]),
        deviation=apart,
    )
    if not sigma[-1] > 0:  # a zero matrix has no norms in decades, no stable rank and no tail
        return
    expected = {
        "log10_spectral_norm": math.log10(sigma[-1]),
        "log10_frobenius_norm": math.log10(float(np.linalg.norm(matrix))),
        "stable_rank": float(theirs.sum() / theirs[-1]),
    }
    for name, value in expected.items():
        metric = row.number(name)
        if metric is not None:
            yield check(row.name, name, "LAPACK", metric, value)
    alpha, xmin, distance, size = (row.number(name) for name in ("alpha", "xmin", "ks_distance", "tail_size"))
    if alpha is not None and xmin is not None and distance is not None and size is not None:
        resolved = theirs[spectrum.unresolved :]
        yield from fit_checks(
            row.name, resolved, exponent="alpha", alpha=alpha, xmin=xmin, size=int(size),
            distance=distance, min_tail=min_tail,
        )  # fmt: skip
