"""One layer's work: from its stored tensors to its row in the report."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import torch

from rmtaudit.analyzers.base import (
    Analysis,
    Analyzer,
    LayerInput,
    MetricValue,
    Observation,
    Scalar,
    failed,
    skipped,
)
from rmtaudit.engine.scan.spectra import describe_spectrum, spectrum_of
from rmtaudit.engine.settings.scan import Precision, Solver
from rmtaudit.errors import RmtauditError
from rmtaudit.kernels.constants import Constant, recognise_constant
from rmtaudit.kernels.signal import Signal, SignalWord
from rmtaudit.kernels.spectra.spectrum import Spectrum, unknown
from rmtaudit.matrices.layers import Layer, LayerKind
from rmtaudit.matrices.skips import Skip, SkipReason
from rmtaudit.matrices.tensors import UNIT_ROUNDOFF, Encoding
from rmtaudit.names import display_name
from rmtaudit.report.model import LayerResult, MetricResult, Status, StoredEncoding
from rmtaudit.report.verdict import UNJUDGED


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWork:
    """What every layer of a scan is worked on with.

    ``shown``: the spectra are computed even where no analyzer needs them, for plots.
    """

    analyzers: Sequence[Analyzer]
    solver: Solver
    precision: Precision
    device: torch.device
    seed: int
    shown: bool = False

    @property
    def needs_spectra(self) -> bool:
        """Whether spectra are computed at all."""
        needed = any("spectrum" in each.needs or each.stands_in for each in self.analyzers)
        return self.shown or needed

    def analyzers_for(self, *, spectrum: bool) -> tuple[Analyzer, ...]:
        """Return the analyzers of a layer whose spectrum is within the memory budget, or is beyond it."""
        if spectrum:
            return tuple(each for each in self.analyzers if not each.stands_in)
        return tuple(each for each in self.analyzers if "spectrum" not in each.needs)


@dataclass(frozen=True, slots=True)
class NoSpectrum:
    """Why a layer is analysed without its spectrum, and how many bytes there are for its analysis."""

    skip: Skip
    room: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysedLayer:
    """The analysis of a layer: its row without findings, the observations, and how long its parts took.

    ``signal`` is ``None`` where no analyzer that judges has seen the layer.
    """

    row: LayerResult
    observed: tuple[Observation, ...] = ()
    signal: Signal | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    spectrum: Spectrum | None = None


class NonfiniteError(Exception):
    """The layer holds values that are not finite; the message says which, ``counts`` how many of each."""

    def __init__(self, message: str, **counts: int) -> None:
        super().__init__(message)
        self.counts = counts


class OneValue(StrEnum):
    """A layer whose entries all have one value, which has no more to be judged by."""

    ZERO = "zero"
    CONSTANT = "constant"

    @property
    def reason(self) -> str:
        """The reason in the row of the layer."""
        return f"{self}: every entry {'is 0' if self is OneValue.ZERO else 'has the same value'}"


def analyse_layer(
    layer: Layer, tensors: tuple[torch.Tensor, ...], work: LayerWork, no_spectrum: NoSpectrum | None = None
) -> AnalysedLayer:
    """Return the row of one layer, what was observed, and the seconds that its parts took.

    Parameters
    ----------
    layer
        The plan of the layer.
    tensors
        Its stored tensors (the layer's band of them), on the CPU, stored dtype.
    work
        Analyzers, solver, device and seed.
    no_spectrum
        Why there can be no spectrum: then only analyzers that need none, and no more than there is room for,
        look at the layer, and its row is ``skipped`` for this reason all the same.

    Nothing that goes wrong with the layer's values or with an analyzer is raised: it becomes the row's
    ``status`` and ``reason``, or those of the analyzer's metrics.
    """
    seconds: dict[str, float] = {}
    started = time.perf_counter()
    constant = _constant(layer, tensors) if any(each.judges for each in work.analyzers) else None
    if constant is not None:
        skip = Skip.of(SkipReason.CONSTANT, constant=constant)
        return AnalysedLayer(row=row(layer, "skipped", skip), signal=Signal(SignalWord.CONSTANT, constant))
    try:
        matrices = _matrices(layer, tensors, work.device)
        solved = not no_spectrum and work.needs_spectra
        spectrum = spectrum_of(layer, matrices, work) if solved else unknown(*layer.shape)
    except NonfiniteError as problem:
        observation = Observation(
            code="RA-SC-001",
            message=f"The layer holds values that are not finite: {problem}.",
            evidence=dict(problem.counts),
        )
        skip = Skip.of(SkipReason.NONFINITE, problem=problem)
        return AnalysedLayer(row=row(layer, "failed", skip), observed=(observation,))
    except (ArithmeticError, RuntimeError, MemoryError) as error:  # torch raises RuntimeError for both others
        skip = Skip.of(SkipReason.NO_SPECTRUM, problem=_words(error))
        return AnalysedLayer(row=row(layer, "failed", skip))
    seconds["spectrum"] = time.perf_counter() - started

    analyzers = work.analyzers if no_spectrum else work.analyzers_for(spectrum=True)
    with_matrices = any("matrix" in analyzer.needs for analyzer in analyzers)
    given = LayerInput(
        layer=layer,
        spectrum=spectrum,
        matrices=matrices if with_matrices else (),
        epsilon=UNIT_ROUNDOFF[layer.dtype],
        seed=work.seed,
    )
    flat = None if no_spectrum else _one_value(layer, matrices, spectrum)
    remarks = [] if no_spectrum else [flat.reason if flat else _unresolved(spectrum)]
    del matrices
    metrics: dict[str, MetricResult] = {}
    observed: list[Observation] = []
    signal: Signal | None = None
    for analyzer in analyzers:
        if no_spectrum and (reason := _left_out(analyzer, layer, no_spectrum)):
            metrics.update({metric.name: _result(skipped(reason)) for metric in analyzer.active_metrics()})
            continue
        started = time.perf_counter()
        values, analysis = _run(analyzer, given)
        metrics.update(values)
        observed.extend(_permitted(analyzer, analysis.observations))
        signal = analysis.signal or signal
        remarks.append(analysis.remark)
        seconds[analyzer.name] = time.perf_counter() - started
    if flat is not None:
        signal = Signal(SignalWord.UNJUDGED, flat)
    if flat is OneValue.ZERO:
        observed.append(
            Observation(code="RA-SC-002", message="Every weight of the layer is zero.", evidence={})
        )
    result = row(
        layer,
        "skipped" if no_spectrum else "ok",
        no_spectrum.skip if no_spectrum else None,
        remarks=remarks,
        spectrum=describe_spectrum(spectrum) if solved else {},
        metrics=metrics,
    )
    return AnalysedLayer(
        row=result,
        observed=tuple(observed),
        signal=signal,
        seconds=seconds,
        spectrum=spectrum if solved else None,
    )


def row(
    layer: Layer,
    status: Status,
    skip: Skip | None = None,
    *,
    remarks: Sequence[str] = (),
    spectrum: Mapping[str, object] | None = None,
    metrics: Mapping[str, MetricResult] | None = None,
) -> LayerResult:
    """Return the report's row of a planned layer; ``skip`` is why its status is not ``ok``."""
    return LayerResult(
        name=layer.name,
        tensor=layer.tensor,
        kind=str(layer.kind),
        view=layer.view,
        shape=layer.shape,
        dtype=layer.dtype,
        matrices=layer.matrices,
        parameters=layer.parameters,
        status=status,
        reason="; ".join(filter(None, (skip.sentence if skip else "", *remarks))),
        skip=skip.reason if skip else None,
        verdict=UNJUDGED.text,
        spectrum=spectrum or {},
        metrics=metrics or {},
        findings=(),
        encoding=encoding_of(layer.encoding),
    )


def encoding_of(encoding: Encoding | None) -> StoredEncoding | None:
    """Return the report's words on how a quantised weight is stored."""
    if encoding is None:
        return None
    return StoredEncoding(
        scheme=encoding.scheme, dtype=encoding.dtype, block=encoding.block, bits=encoding.bits
    )


def _constant(layer: Layer, tensors: tuple[torch.Tensor, ...]) -> Constant | None:
    """Return which constant of the architecture the layer is, if its one stored tensor is one."""
    if len(tensors) != 1 or layer.kind is LayerKind.ADAPTER:
        return None
    stored = tensors[0]
    wide = stored if stored.element_size() >= 4 else stored.float()
    return recognise_constant(wide, UNIT_ROUNDOFF[layer.dtype])


def _matrices(
    layer: Layer, tensors: tuple[torch.Tensor, ...], device: torch.device
) -> tuple[torch.Tensor, ...]:
    wide = tuple(tensor if tensor.element_size() >= 4 else tensor.float() for tensor in tensors)
    for name, tensor in zip(layer.tensors, wide, strict=True):
        _refuse_nonfinite(name, tensor)
    matrices = layer.build(tuple(tensor.to(device) for tensor in wide))
    for matrix in matrices:
        # Undoing weight normalisation divides by norms, which may be zero.
        if len(layer.tensors) > 1 and not bool(torch.isfinite(matrix).all()):
            raise NonfiniteError("the weight that its factors make is not finite")
    return matrices


def _refuse_nonfinite(name: str, tensor: torch.Tensor) -> None:
    low, high = torch.aminmax(tensor)
    if math.isfinite(float(low)) and math.isfinite(float(high)):
        return
    flat = tensor.reshape(-1)
    bad = (~torch.isfinite(flat)).nonzero().reshape(-1)
    first = [int(index) for index in torch.unravel_index(bad[0], tensor.shape)]
    nans = int(torch.isnan(flat).sum())
    raise NonfiniteError(
        f"{nans} NaN and {len(bad) - nans} infinite of {flat.numel()} values, the first at {first}"
        + (f" of '{name}'" if name else ""),
        nan=nans,
        infinite=len(bad) - nans,
    )


def _one_value(layer: Layer, matrices: tuple[torch.Tensor, ...], spectrum: Spectrum) -> OneValue | None:
    """Return what to call a layer whose matrices each have a single value, or ``None`` for any other."""
    total = len(spectrum.eigenvalues)
    if total and spectrum.unresolved < total - len(matrices):
        return None
    bounds = [tuple(float(bound) for bound in torch.aminmax(matrix)) for matrix in matrices]
    if all(low == high == 0 for low, high in bounds):
        return OneValue.ZERO
    if layer.kind is LayerKind.ADAPTER:  # the core of an update of rank 1 is a single number
        return None
    return OneValue.CONSTANT if all(low == high for low, high in bounds) else None


def _unresolved(spectrum: Spectrum) -> str:
    if not spectrum.unresolved:
        return ""
    total = len(spectrum.eigenvalues)
    return f"unresolved: {spectrum.unresolved} of {total} singular values are below the resolution floor"


def _left_out(analyzer: Analyzer, layer: Layer, no_spectrum: NoSpectrum) -> str:
    """Return why an analyzer skips a layer without a spectrum, or ``""``."""
    if "spectrum" in analyzer.needs:
        return no_spectrum.skip.sentence
    if analyzer.working_bytes(*layer.shape) > no_spectrum.room:
        return f"{no_spectrum.skip.sentence}, and {analyzer.name} also needs more memory"
    return ""


def _run(analyzer: Analyzer, given: LayerInput) -> tuple[dict[str, MetricResult], Analysis]:
    active = analyzer.active_metrics()
    try:
        returned = analyzer.analyze(given)
        analysis = returned if isinstance(returned, Analysis) else Analysis(returned)
    except RmtauditError as error:
        problem = failed(f"{analyzer.name}: {error.message}")
    except Exception as error:  # one analyzer failing on one layer is recorded, and stops nothing else
        problem = failed(f"{analyzer.name}: {_words(error)}")
    else:
        missing = failed(f"{analyzer.name} returned no such metric")
        return {
            metric.name: _result(analysis.values.get(metric.name, missing)) for metric in active
        }, analysis
    return {metric.name: _result(problem) for metric in active}, Analysis({})


def _permitted(analyzer: Analyzer, observations: Sequence[Observation]) -> tuple[Observation, ...]:
    """Return what an analyzer observed; under a code that is not its own, it is information.

    The severities of our codes were calibrated for our analyzers, and for nobody else's.
    """
    if type(analyzer).__module__.partition(".")[0] == "rmtaudit":
        return tuple(observations)
    own = {kind.code for kind in analyzer.findings}
    return tuple(each if each.code in own else replace(each, severity="info") for each in observations)


def _result(value: MetricValue | Scalar) -> MetricResult:
    if not isinstance(value, MetricValue):
        value = _finite(value)
    elif isinstance(value.value, float):
        checked = _finite(value.value)
        value = value if checked.status == "ok" else checked
    return MetricResult(
        value=value.value,
        se=value.se if value.se is not None and math.isfinite(value.se) else None,
        ci=value.ci if value.ci is not None and all(math.isfinite(end) for end in value.ci) else None,
        status=value.status,
        reason=value.reason,
    )


def _finite(value: Scalar) -> MetricValue:
    if isinstance(value, float) and not math.isfinite(value):
        return failed(f"not finite: {value}")
    return MetricValue(value=value)


def _words(error: BaseException) -> str:
    return display_name(f"{type(error).__name__}: {error}")
