"""From a source and what is asked of it to the document: the one path of the command and the Python API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from rmtaudit.engine.density.blocks import (
    Blocks,
    check_range,
    confirm_symmetry,
    draw_blocks,
    open_file,
    target_order,
    without_rounding,
)
from rmtaudit.engine.density.method import Method, plan
from rmtaudit.engine.density.settings import DensityKeywords, DensitySettings
from rmtaudit.engine.density.whole_answer import MOST_QUANTILES, WholeResult, whole_answer
from rmtaudit.engine.settings.keywords import settings_from
from rmtaudit.engine.sources import SourceOptions
from rmtaudit.engine.sources.in_memory import in_memory
from rmtaudit.engine.sources.words import without_secrets
from rmtaudit.errors import InputError, OutputError, UsageError

if TYPE_CHECKING:
    import numpy as np
    import torch

    from rmtaudit.kernels.extrapolation import Prediction
    from rmtaudit.kernels.slq.density import ChebyshevDensity
    from rmtaudit.matrices.sources import MatrixSource


@dataclass(frozen=True, slots=True)
class DensityResult:
    """The document, and what it was made of.

    Attributes
    ----------
    document
        JSON values: see ``docs/commands/density.md``.
    prediction
        Laws, tests and intervals.
    blocks
        The spectra that were seen.
    polynomial
        The kernel polynomial density of the source, or why there is none.
    """

    document: Mapping[str, Any]
    prediction: Prediction
    blocks: Blocks
    polynomial: ChebyshevDensity | str = field(default="The source is not a matrix")

    @property
    def verdict(self) -> str:
        """``determined``, ``determined if`` free, smooth or both, or ``refused``."""
        return str(self.document["verdict"]["word"])

    @property
    def answered(self) -> bool:
        """Whether there is a prediction."""
        return self.prediction.law is not None

    @property
    def complete(self) -> bool:
        """Whether everything is answered, with no assumption that the caller did not make."""
        assumed = self.blocks.facts.get("symmetry_assumed", False)
        granted = bool(self.document["verdict"]["granted"]) and not assumed
        return granted and self.document["ridge"]["status"] != "refused"

    def quantiles(self) -> torch.Tensor:
        """Return the predicted eigenvalues without spikes, ascending.

        Raises
        ------
        ValueError
            If the verdict refuses the prediction.
        """
        count = self.document["target"]["size"] - len(self.prediction.spikes)
        return self.prediction.quantiles(min(max(1, count), MOST_QUANTILES))


def density(
    source: str | Path | MatrixSource | torch.Tensor | np.ndarray[Any, Any],
    *,
    against: str | Path | None = None,
    options: SourceOptions | None = None,
    settings: DensitySettings | None = None,
    **keywords: Unpack[DensityKeywords],
) -> DensityResult | WholeResult:
    """Find the spectrum of a matrix, or predict that of a larger one from principal blocks.

    A matrix that can be read or multiplied is measured as a whole: see :class:`DensitySettings`.

    Parameters
    ----------
    source
        What the command line takes; or a matrix source; or an array: eigenvalues of one block (one side), or
        with ``holds="spectra"`` of several (two sides), or a matrix (dense, or sparse of scipy).
    against
        A file of eigenvalues to compare with.
    options
        What a path cannot say of itself; of an array too the view (``SourceOptions(view="wwt")``), kernel,
        Laplacian and shift.
    settings
        What is asked for, as an object.
    **keywords
        Or its fields: ``size`` or ``factor`` say how large the matrix is (neither: the source's own), …

    Returns
    -------
    DensityResult or WholeResult
        Of blocks also where the verdict is ``refused``: then without a prediction.

    Raises
    ------
    InputError
        The source cannot be read; RA-DE-003 not symmetric, RA-DE-005 nothing to predict from,
        RA-DE-006 eigenvalues beyond the range of float64.
    UsageError
        It does not say what it holds, or what is asked for contradicts itself. RA-US-701 to 703: an unknown
        setting, or one that is given twice.

    Examples
    --------
    >>> result = rmtaudit.density("eigenvalues.npy", factor=8)  # doctest: +SKIP
    >>> result.verdict, result.prediction.numbers()["log_det"]  # doctest: +SKIP
    """
    chosen = settings_from(DensitySettings, settings, keywords)
    opened, text = _opened(source, options or SourceOptions(), chosen)
    compared = None if against is None else Path(against)
    if isinstance(opened, Blocks):
        return _answer(
            text, opened, source=None, settings=chosen, options=options or SourceOptions(), compared=compared
        )
    try:
        chosen_plan = plan(opened, chosen)
        if chosen_plan.method is not Method.BLOCKS:
            return whole_answer(
                text,
                opened,
                plan=chosen_plan,
                settings=chosen,
                options=options or SourceOptions(),
                compared=compared,
            )
        blocks = draw_blocks(opened, chosen)
        return _answer(
            text,
            blocks,
            source=opened,
            settings=chosen,
            options=options or SourceOptions(),
            compared=compared,
        )
    finally:
        opened.close()


def _is_array(source: Any) -> bool:
    import scipy.sparse

    from rmtaudit.matrices.sources import MatrixSource

    return not isinstance(source, MatrixSource) and not scipy.sparse.issparse(source)


def save_quantiles(quantiles: torch.Tensor, path: Path) -> None:
    """Write predicted eigenvalues as ``.npy``. Raises ``OutputError`` (RA-OU-003)."""
    import numpy as np

    try:
        with path.open("wb") as file:
            np.save(file, quantiles.numpy())
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OutputError("RA-OU-003", f"The file cannot be written: {reason}.", where=str(path)) from error


def _opened(
    source: Any, options: SourceOptions, settings: DensitySettings
) -> tuple[MatrixSource | Blocks, str]:
    import torch

    from rmtaudit.matrices.sources import TensorSource
    from rmtaudit.matrices.sources.arrays import declared_symmetry

    if isinstance(source, (str, Path)):
        return open_file(str(source), options, settings), without_secrets(str(source))
    if _is_array(source) and options.kernel is None and options.laplacian is None:
        flat = torch.as_tensor(source)
        if flat.ndim == 1:
            eigenvalues = TensorSource(flat[:, None], "eigenvalues", symmetric=None).matrix[:, 0]
            return Blocks(
                name="eigenvalues",
                holds="eigenvalues",
                order=len(eigenvalues),
                spectra=without_rounding(eigenvalues.sort().values)[None],
            ), ""
        if settings.holds == "spectra":
            rows = without_rounding(TensorSource(flat, "spectra").matrix.sort(-1).values)
            return Blocks(name="spectra", holds="spectra", order=rows.shape[1], spectra=rows), ""
    matrix = in_memory(source, options, "matrix")
    declared = declared_symmetry(options.symmetric, matrix.square, matrix.name)
    if declared is None:
        confirm_symmetry(matrix)
    else:
        matrix.take_symmetry(declared)
    if not matrix.symmetric:
        message = f"{matrix.name} is not symmetric: {matrix.symmetry}."
        raise InputError("RA-DE-003", message, hint="Pass rmtaudit.density(W.T @ W) for weights.")
    return matrix, matrix.name


def _answer(
    text: str,
    blocks: Blocks,
    source: MatrixSource | None,
    settings: DensitySettings,
    options: SourceOptions,
    compared: Path | None,
) -> DensityResult:
    import torch

    from rmtaudit.engine.density.companions import (
        against,
        moments_without_freeness,
        polynomial,
        polynomial_document,
    )
    from rmtaudit.engine.density.document import document_of
    from rmtaudit.engine.density.ridge import ridge_document
    from rmtaudit.engine.resources.devices import chosen_device
    from rmtaudit.kernels.extrapolation import predict

    _refuse(blocks, source, settings, text)
    target = target_order(blocks.order, settings)
    generator = torch.Generator().manual_seed(settings.seed)
    factor = target / blocks.size
    device = chosen_device(settings.device)
    try:
        prediction = predict(
            blocks.spectra.to(device),
            factor,
            generator=generator,
            matrix=None if blocks.matrix is None else blocks.matrix.to(device),
            dimension=blocks.dimension,
            replicas=settings.replicas,
        )
    except ValueError as error:
        raise InputError("RA-DE-005", f"There is nothing to predict from: {error}.", where=text) from error
    companion: ChebyshevDensity | str = "The source is not a matrix"
    if source is not None:
        companion = polynomial(source, target, settings.kpm, settings.seed)
    document = document_of(
        text, settings, source=options, blocks=blocks, target=target, prediction=prediction
    )
    document["method"] = {"name": str(Method.BLOCKS)}
    document["moments"] = moments_without_freeness(blocks, target)
    document["ridge"] = ridge_document(blocks, prediction, factor, settings.ridge, generator)
    document["kpm"] = polynomial_document(companion, prediction, target)
    document["against"] = None if compared is None else against(compared, prediction)
    return DensityResult(document, prediction, blocks, companion)


def _refuse(blocks: Blocks, source: MatrixSource | None, settings: DensitySettings, text: str) -> None:
    if source is None:
        if settings.size is None and settings.factor is None:
            raise UsageError(
                "RA-US-501",
                "The size of the matrix does not follow from its eigenvalues.",
                hint="Add --size or --factor.",
            )
        if settings.sample is not None or settings.samples is not None or settings.sampling != "plain":
            raise UsageError("RA-US-504", "The eigenvalues belong to given blocks, so no blocks are drawn.")
    check_range(float(blocks.spectra.abs().max()) if blocks.spectra.numel() else 0.0, text)
    target = target_order(blocks.order, settings)
    if target <= blocks.size:
        raise UsageError(
            "RA-US-503",
            f"The matrix must be larger than the block of order {blocks.size}; {target} was requested.",
            hint="Give a smaller --sample or a larger --size.",
            where=text,
        )
