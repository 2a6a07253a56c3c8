"""From the rows of a scan to its report: coverage, summary, provenance."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence

from rmtaudit.analyzers.base import Analyzer, Observation
from rmtaudit.analyzers.forensics.audit import Forensics
from rmtaudit.analyzers.registry import metric_catalogue
from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.checkpoints.unread import unread_entries
from rmtaudit.engine.scan.completion import completed, stored_bytes
from rmtaudit.engine.scan.judge import judge
from rmtaudit.engine.scan.merged import MergedCheckpoint
from rmtaudit.engine.scan.worker import encoding_of, row
from rmtaudit.engine.settings.scan import ScanSettings
from rmtaudit.errors import RmtauditError
from rmtaudit.finding_kind import FindingKind
from rmtaudit.kernels.signal import Signal, SignalWord
from rmtaudit.matrices.plan import LayerPlan
from rmtaudit.matrices.refusals import NotAnalysed
from rmtaudit.matrices.skips import Skip, SkipReason
from rmtaudit.matrices.tensors import TensorSpec
from rmtaudit.report.grouping import listed_findings
from rmtaudit.report.model import (
    HEADER,
    Coverage,
    LayerResult,
    MetricEntry,
    Report,
    SkippedTensor,
    StoppedBy,
    SummaryValue,
)
from rmtaudit.report.provenance import Subject
from rmtaudit.report.verdict import UNJUDGED
from rmtaudit.version import installed_version

_NOT_LOOKED_AT = frozenset({SkipReason.NO_UPDATE, SkipReason.NOT_READ})
"""Reasons of entries that are no tensors of the subject."""


def assemble_report(
    *,
    checkpoint: Checkpoint,
    merged: MergedCheckpoint | None = None,
    settings: ScanSettings,
    device: str,
    analyzers: Sequence[Analyzer],
    plan: LayerPlan,
    rows: Mapping[int, LayerResult],
    observed: Mapping[int, Sequence[Observation]],
    signals: Mapping[int, Signal],
    repeats: Mapping[int, str],
    copies: Mapping[int, str],
    kinds: Mapping[str, FindingKind],
    remarks: Sequence[str],
    digest: str | None,
    timings: Mapping[str, float],
    complete: bool,
    error: RmtauditError | None,
) -> Report:
    """Return the report of a scan.

    ``rows`` are the finished layers by their place in ``plan.layers``, ``observed`` what was seen in
    them, and ``signals`` what they say about learning. Those of ``repeats`` only repeat the values of another
    tensor and are not counted, and those of ``copies`` are the ones among them that should not. Layers
    without a row were not reached. ``merged`` is an adapter with its base. ``kinds`` is the catalogue of
    findings, with those of plugins; ``remarks`` are added to the warnings of the checkpoint.
    """
    unread = tuple(unread_entries(checkpoint))
    plan = dataclasses.replace(plan, skipped=(*plan.skipped, *unread))
    tensors = (*(merged or checkpoint).tensors, *(each.spec for each in unread))
    finished = [
        rows[index] if index in rows else row(layer, "skipped", Skip(SkipReason.NOT_REACHED))
        for index, layer in enumerate(plan.layers)
    ]
    every = [*finished, *(_row_of(skip) for skip in plan.skipped if skip.weight)]
    judged = judge(
        every,
        observed,
        {**signals, **_signals_of_copies(plan, signals, repeats)},
        copies=copies,
        kinds=kinds,
        thorough=any(isinstance(analyzer, Forensics) for analyzer in analyzers),
    )
    metrics = _metrics(analyzers, finished)
    return Report(
        schema=HEADER,
        tool={
            "version": installed_version(),
            "preset": settings.preset,
            "analyzers": list(settings.analyzers),
            "options": {analyzer.name: dataclasses.asdict(analyzer.options) for analyzer in analyzers},
            "conv": settings.conv,
            "solver": settings.solver,
            "precision": settings.precision,
            "seed": settings.seed,
            "device": device,
            "include": list(settings.include),
            "exclude": list(settings.exclude),
            "sort": settings.sort,
            "columns": list(settings.columns),
        },
        subject=_subject(
            checkpoint, merged, digest, [*remarks, *_unverified(checkpoint, digest, complete=complete)]
        ),
        coverage=_coverage(tensors, plan, finished, repeats, signals),
        layers=tuple(completed(each, metrics) for each in judged.layers),
        summary=_summary(analyzers, finished),
        metrics=metrics,
        integrity=judged.integrity,
        signal=judged.signal,
        verdict=judged.verdict,
        judgement=judged.judgement,
        findings=listed_findings(judged.layers),
        causes=judged.findings,
        complete=complete,
        error=None
        if error is None
        else StoppedBy(code=error.code, message=error.message, hint=error.hint, where=error.where),
        timings=timings,
    )


def _subject(
    checkpoint: Checkpoint, merged: MergedCheckpoint | None, digest: str | None, remarks: Sequence[str]
) -> Subject:
    subject = Subject(
        path=str(checkpoint.path),
        format=checkpoint.format,
        digest=digest,
        parameters=sum(spec.parameters for spec in checkpoint.tensors),
        bytes=sum(stored_bytes(spec.parameters, spec.dtype, spec.encoding) for spec in checkpoint.tensors),
        dtypes=_dtypes(checkpoint),
        warnings=[*checkpoint.warnings, *remarks],
    )
    if merged is not None:
        subject["base"] = merged.facts()
    if checkpoint.streamed:
        subject["streamed"] = [
            {"name": file.name, "bytes": file.size, "sha256": file.sha256} for file in checkpoint.streamed
        ]
    return subject


def _unverified(checkpoint: Checkpoint, digest: str | None, *, complete: bool) -> list[str]:
    """Say why a streamed model has no digest, and what stands in for one."""
    if not checkpoint.streamed or digest is not None or not complete:
        return []
    stated = any(file.sha256 is not None for file in checkpoint.streamed)
    others = (
        "the digests of its files are those that the Hub states, unverified"
        if stated
        else "the server states no digest"
    )
    return [f"tensors that are not analysed were not transferred, so that the model has no digest; {others}"]


def _metrics(analyzers: Sequence[Analyzer], rows: Sequence[LayerResult]) -> dict[str, MetricEntry]:
    """Return the words on every metric; of those that stand in for a spectrum, where a row has one."""
    names = {name for each in rows for name in each.metrics}
    standing = {metric.name for each in analyzers if each.stands_in for metric in each.active_metrics()}
    words = metric_catalogue(analyzers)
    return {
        name: MetricEntry(**entry) for name, entry in words.items() if name in names or name not in standing
    }


def _signals_of_copies(
    plan: LayerPlan, signals: Mapping[int, Signal], repeats: Mapping[int, str]
) -> dict[int, Signal]:
    """Return the signals of layers that repeat a constant of the architecture: they are that constant too."""
    constants = {
        plan.layers[index].tensor: signal
        for index, signal in signals.items()
        if signal.word is SignalWord.CONSTANT
    }
    return {index: constants[name] for index, name in repeats.items() if name in constants}


def _row_of(skip: NotAnalysed) -> LayerResult:
    spec = skip.spec
    return LayerResult(
        name=spec.name,
        tensor=spec.name,
        kind="none",
        view="none",
        shape=spec.shape,
        dtype=spec.dtype,
        matrices=0,
        parameters=spec.parameters,
        status="skipped",
        reason=skip.reason,
        skip=skip.skip.reason,
        verdict=UNJUDGED.text,
        spectrum={},
        metrics={},
        findings=(),
        encoding=encoding_of(spec.encoding),
    )


def _dtypes(checkpoint: Checkpoint) -> dict[str, int]:
    """Return the number of parameters of each dtype or scheme, the most frequent first."""
    counts: dict[str, int] = {}
    for spec in checkpoint.tensors:
        label = spec.dtype if spec.encoding is None else spec.encoding.scheme
        counts[label] = counts.get(label, 0) + spec.parameters
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _coverage(
    tensors: Sequence[TensorSpec],
    plan: LayerPlan,
    rows: Sequence[LayerResult],
    repeats: Mapping[int, str],
    signals: Mapping[int, Signal],
) -> Coverage:
    left_out = sum(plan.counted(skip.spec) for skip in plan.skipped if not (skip.counted and skip.learned))
    repeated = sum(plan.layers[index].parameters for index in repeats)
    constants = sum(
        layer.parameters
        for index, layer in enumerate(plan.layers)
        if index not in repeats and index in signals and signals[index].word is SignalWord.CONSTANT
    )
    skipped = [
        SkippedTensor(
            name=each.spec.name,
            shape=each.spec.shape,
            dtype=each.spec.dtype,
            reason=each.reason,
            skip=each.skip.reason,
        )
        for each in plan.skipped
    ]
    skipped += [
        SkippedTensor(name=each.name, shape=each.shape, dtype=each.dtype, reason=each.reason, skip=each.skip)
        for each in rows
        if each.status != "ok"
    ]
    parameters = sum(map(plan.counted, tensors)) - left_out - repeated - constants
    analyzed = sum(each.parameters for each in rows if each.status == "ok")
    return Coverage(
        tensors=len(tensors) - sum(each.skip.reason in _NOT_LOOKED_AT for each in plan.skipped),
        parameters=parameters,
        weight_parameters=sum(layer.parameters for layer in plan.layers)
        - repeated
        - constants
        + sum(plan.counted(skip.spec) for skip in plan.skipped if skip.weight and skip.counted),
        parameters_analyzed=analyzed,
        fraction=analyzed / parameters if parameters else 0.0,
        skipped=tuple(skipped),
    )


def _summary(analyzers: Sequence[Analyzer], rows: Sequence[LayerResult]) -> dict[str, SummaryValue]:
    """Return mean and median of every summarised metric over the layers that have a number for it.

    A metric that failed or was skipped on a layer is counted, and never enters an average.
    """
    summary = {}
    for metric in (metric for analyzer in analyzers for metric in analyzer.active_metrics()):
        if not metric.summarised:
            continue
        results = [each.metrics[metric.name] for each in rows if metric.name in each.metrics]
        numbers = [
            float(result.value)
            for result in results
            if isinstance(result.value, (int, float)) and not isinstance(result.value, bool)
        ]
        failures = sum(each.status == "failed" for each in rows)
        summary[metric.name] = SummaryValue(
            value=_mean(numbers),
            median=statistics.median(numbers) if numbers else None,
            n=len(numbers),
            n_failed=sum(result.status == "failed" for result in results) + failures,
            n_skipped=sum(result.status == "skipped" for result in results),
        )
    return summary


def _mean(numbers: Sequence[float]) -> float | None:
    if not numbers:
        return None
    mean = math.fsum(number / len(numbers) for number in numbers)
    return mean if math.isfinite(mean) else None
