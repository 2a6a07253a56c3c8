"""From the words of a command line to the document of a probe."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from rmtaudit.engine.edits import described
from rmtaudit.engine.networks import NetworkSettings, open_module, open_network
from rmtaudit.engine.probe.advice import advice_of
from rmtaudit.engine.probe.inputs import inputs_for
from rmtaudit.engine.probe.measure import Estimate, Probed, bench_of, probe_weights
from rmtaudit.engine.probe.readout import readout_of
from rmtaudit.engine.probe.settings import ProbeSettings
from rmtaudit.engine.probe.weights import chosen_weights
from rmtaudit.engine.resources.memory import free_memory
from rmtaudit.engine.resources.threads import cpus, threads
from rmtaudit.names import display_name
from rmtaudit.report.derivations import SeededVersion
from rmtaudit.report.probe import (
    Probe,
    ProbeAdvice,
    ProbedLayer,
    ProbeEstimate,
    ProbeHeader,
    ProbeInputs,
    ProbeMeasure,
    ProbeNoise,
    ProbePatterns,
    ProbeRun,
    ProbeSubject,
    ProbeWarning,
)
from rmtaudit.version import installed_version

_BUDGET = 4 << 30
"""Bytes of memory at most, unless more is given: a choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRequest:
    """What a command line asks for.

    Attributes
    ----------
    model
        A folder of ``transformers``, ``module:factory``, or the network itself.
    network, probe
        How it is opened and probed.
    threads
        Of torch and BLAS; ``None``: the CPUs of this process.
    """

    model: str | torch.nn.Module
    network: NetworkSettings
    probe: ProbeSettings
    threads: int | None = None


def answer_request(
    request: ProbeRequest,
    *,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Probe:
    """Probe a network; the most harmful layer comes first, without an edit the most sensitive one.

    Raises
    ------
    UsageError, InputError, UnsafeError, UnreachableError
        As opening the network, choosing its weights (RA-PB-006) and making its inputs do.
    NothingAuditableError
        RA-NA-012: it has no weight matrix.
    StoppedWorkError
        If ``stop`` ended the work.
    """
    started, cpu = time.perf_counter(), time.process_time()
    count, settings = request.threads or cpus(), request.probe
    folder = None
    with threads(count):
        if isinstance(request.model, torch.nn.Module):
            network = open_module(request.model, request.network)
        else:
            network = open_network(request.model, request.network)
            folder = Path(request.model) if Path(request.model).is_dir() else None
        weights = chosen_weights(network, settings.include, settings.exclude)
        samples, description = inputs_for(network, settings, folder)
        readout = readout_of(network, samples.batch(network, [0]), settings.loss, folder)
        memory = settings.memory or min(_BUDGET, free_memory() // 2)
        bench = bench_of(network, samples, readout, memory)
        probed, edits = probe_weights(bench, weights, settings, stop=stop, progress=progress)
        advice = advice_of(bench, probed, edits) if edits else None
    return Probe(
        schema=ProbeHeader(),
        tool=SeededVersion(version=installed_version(), seed=settings.seed),
        subject=ProbeSubject(
            model=display_name(request.model) if isinstance(request.model, str) else network.name,
            origin=str(network.origin),
            digest=network.digest,
            dtype=str(network.dtype).removeprefix("torch."),
            device=str(network.device),
        ),
        inputs=ProbeInputs(
            description=description,
            samples=len(samples),
            generated=settings.data is None,
            digest=samples.digest,
        ),
        measure=ProbeMeasure(loss=readout.loss.value, description=readout.words),  # type: ignore[arg-type]
        noise=ProbeNoise(relative_size=settings.noise, draws=settings.draws),
        edit=None if settings.edit is None else described(settings.edit),
        patterns=ProbePatterns(include=list(settings.include), exclude=list(settings.exclude)),
        layers=_rows(probed),
        advice=None
        if advice is None
        else ProbeAdvice(
            every=advice.every,
            total=advice.total,
            keep=list(advice.keep),
            share=advice.share,
            others=advice.others,
        ),
        warnings=[ProbeWarning(code="RA-PB-101", message=text) for text in network.warnings],
        run=ProbeRun(
            wall_seconds=round(time.perf_counter() - started, 3),
            cpu_seconds=round(time.process_time() - cpu, 3),
            threads=count,
        ),
    )


def _rows(probed: Sequence[Probed]) -> list[ProbedLayer]:
    """Return the rows, the most harmful one first; those that are not finite lead."""
    rows = [
        ProbedLayer(
            name=each.weight.name,
            kind=each.weight.kind,
            shape=list(each.weight.shape),
            matrices=each.weight.matrices,
            parameters=each.weight.parameter.numel(),
            sensitivity=_published(each.sensitivity),
            relative_error=each.relative_error,
            harm=_published(each.harm),
            second_order=each.second_order,
            kind_harm=_kind_harm(each, probed),
            finite=each.finite,
        )
        for each in probed
    ]
    return sorted(rows, key=_order)


def _order(row: ProbedLayer) -> tuple[bool, float, str]:
    estimate = row.harm or row.sensitivity
    return row.finite, -(estimate.value if estimate else 0.0), row.name


def _kind_harm(one: Probed, probed: Sequence[Probed]) -> float | None:
    others = [
        each.harm.value
        for each in probed
        if each is not one and each.weight.kind == one.weight.kind and each.harm is not None
    ]
    return sum(others) / len(others) if others else None


def _published(estimate: Estimate | None) -> ProbeEstimate | None:
    return None if estimate is None else ProbeEstimate(value=estimate.value, se=estimate.error)
