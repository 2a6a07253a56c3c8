"""How a scan is carried out: one thread reads, a few compute, a gate keeps to the memory budget.

The reader takes the layers largest first (so that none is left over at the end), hashes what it reads, and
hands it to workers with one BLAS thread each. Rows come out in stored order whatever finished first.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import torch

from rmtaudit.analyzers.base import Observation
from rmtaudit.analyzers.registry import build_all
from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.engine.resources.devices import chosen_device
from rmtaudit.engine.resources.digest import ContentDigest, digest_of_values
from rmtaudit.engine.resources.memory import MemoryGate, free_memory
from rmtaudit.engine.resources.pool import Pool
from rmtaudit.engine.resources.progress import Estimate, Progress
from rmtaudit.engine.resources.threads import cpus, one_thread_each
from rmtaudit.engine.scan.assemble import assemble_report
from rmtaudit.engine.scan.cost import Matrices, estimate_scan
from rmtaudit.engine.scan.jobs import Job, jobs_of, within_budget
from rmtaudit.engine.scan.known import KnownLayers, analysed_once
from rmtaudit.engine.scan.merged import MergedCheckpoint
from rmtaudit.engine.scan.pages import observed_pages
from rmtaudit.engine.scan.repeats import has_two_values, repeat_key, skip_of_repeat
from rmtaudit.engine.scan.selection import select_layers
from rmtaudit.engine.scan.spectra import narrow_expected
from rmtaudit.engine.scan.worker import AnalysedLayer, LayerWork, row
from rmtaudit.engine.settings.scan import ScanSettings
from rmtaudit.errors import CorruptError, RmtauditError
from rmtaudit.kernels.signal import Signal
from rmtaudit.kernels.spectra.spectrum import Spectrum
from rmtaudit.matrices.layers import Layer
from rmtaudit.matrices.plan import LayerPlan, plan_layers
from rmtaudit.matrices.skips import Skip, SkipReason
from rmtaudit.matrices.tensors import TensorSpec
from rmtaudit.names import display_name
from rmtaudit.report.catalogue import catalogue
from rmtaudit.report.model import LayerResult, Report, Status

_SLACK = 64 << 20
"""Bytes in flight beyond three times the largest matrix: blocks, and the next small tensors."""


_UNANALYSED = 0.02
"""Greatest share of a streamed model that is transferred for its digest alone."""

Inspect = Callable[[LayerResult, Spectrum], None]
"""Is given the row, without findings, and the spectrum of every layer that was analysed."""


@dataclass(slots=True, kw_only=True)
class _Scan:
    """A scan under way."""

    checkpoint: Checkpoint
    plan: LayerPlan
    work: LayerWork
    specs: dict[str, TensorSpec]
    progress: Callable[[Progress], None]
    inspect: Inspect | None
    known: KnownLayers | None
    excluded: Mapping[int, Skip]
    rows: dict[int, LayerResult] = field(default_factory=dict)
    observed: dict[int, tuple[Observation, ...]] = field(default_factory=dict)
    signals: dict[int, Signal] = field(default_factory=dict)
    repeats: dict[int, str] = field(default_factory=dict)
    copies: dict[int, str] = field(default_factory=dict)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    digest: ContentDigest = field(default_factory=ContentDigest)
    lock: threading.Lock = field(default_factory=threading.Lock)
    parameters_done: int = 0
    parameters_total: int = 0


def scan_checkpoint(
    checkpoint: Checkpoint,
    settings: ScanSettings,
    *,
    progress: Callable[[Progress], None] | None = None,
    inspect: Inspect | None = None,
    inspect_all: bool = True,
    base: Checkpoint | None = None,
    expect: Callable[[Estimate], None] | None = None,
    known: KnownLayers | None = None,
) -> Report:
    """Analyse every weight matrix of an opened checkpoint.

    Parameters
    ----------
    checkpoint
        The opened checkpoint; it stays open.
    settings
        How to scan.
    progress
        Told after every layer, from any thread.
    inspect
        Given every layer that was analysed, from any thread: its row and its spectrum, which the scan then
        lets go.
    inspect_all
        Whether spectra are computed for ``inspect`` where no analyzer needs them.
    base
        The opened model that an adapter was trained on; it stays open. The merged weights are analysed in
        addition to the updates.
    expect
        Given how long it will take before anything is read, where that is more than a minute and known.
    known
        Analyses of layers that were made before, and where new ones are kept.

    Returns
    -------
    Report
        ``complete`` is false if ``KeyboardInterrupt`` stopped the scan, or if the checkpoint changed while it
        was read (then ``error`` says so). What was finished is in it, and what was not reached is listed.

    Raises
    ------
    UsageError
        For a base that no update belongs to, an unknown analyzer or option, a code of findings that two
        analyzers use, a CUDA device that is not there, or patterns of ``include`` that match no layer.
    """
    started = time.perf_counter()
    analyzers = build_all(settings.analyzers, settings.options)
    kinds = catalogue(kind for each in analyzers for kind in each.findings)
    work = LayerWork(
        analyzers=analyzers,
        solver=settings.solver,
        precision=settings.precision,
        device=chosen_device(settings.device),
        seed=settings.seed,
        shown=inspect is not None and inspect_all,
    )
    merged = None if base is None else MergedCheckpoint(checkpoint, base, conv=settings.conv)
    scanned = merged or checkpoint
    plan = (
        merged.plan
        if merged
        else plan_layers(
            checkpoint.tensors,
            conv=settings.conv,
            config=checkpoint.config,
            adapter_config=checkpoint.adapter_config,
        )
    )
    selection = select_layers(plan, settings.include, settings.exclude)
    scan = _Scan(
        checkpoint=scanned,
        plan=plan,
        excluded=selection.excluded,
        work=work,
        specs={spec.name: spec for spec in scanned.tensors},
        progress=progress or (lambda _: None),
        inspect=inspect,
        known=known,
    )
    scan.parameters_total = sum(layer.parameters for layer in _selected(scan))
    budget = free_memory() // 2 if settings.memory is None else settings.memory
    threads = settings.threads or cpus()
    complete, problem, hashed = True, None, False
    with one_thread_each():
        try:
            if expect is not None:
                _announce(scan, settings, threads, budget, expect)
            with Pool(threads, initialise=lambda: torch.set_num_threads(1)) as pool:
                _read_all(scan, pool, budget)
                pool.join()
            hashed = _hash_the_rest(scan)
            scanned.check_unchanged()
            if known is not None:
                known.note_tensors(
                    {
                        spec.name: scan.digest.of(spec.name)
                        for spec in scan.checkpoint.tensors
                        if scan.digest.has(spec.name)
                    }
                )
        except KeyboardInterrupt:
            complete = False
        except RmtauditError as error:
            complete, problem = False, error
    with scan.lock:  # after an interrupt, layers under way go on and would still add theirs
        rows, observed, seconds = dict(scan.rows), dict(scan.observed), dict(scan.seconds)
        signals = dict(scan.signals)
    rows |= {index: row(plan.layers[index], "skipped", skip) for index, skip in scan.excluded.items()}
    return assemble_report(
        checkpoint=checkpoint,
        merged=merged,
        settings=settings,
        device=work.device.type,
        analyzers=analyzers,
        plan=scan.plan,
        rows=rows,
        observed=observed,
        signals=signals,
        repeats=scan.repeats,
        copies=scan.copies,
        kinds=kinds,
        remarks=selection.remarks,
        digest=scan.digest.hexdigest(spec.name for spec in checkpoint.tensors)
        if complete and hashed
        else None,
        timings={**seconds, "threads": threads, "total": time.perf_counter() - started},
        complete=complete,
        error=problem,
    )


def _announce(
    scan: _Scan, settings: ScanSettings, threads: int, budget: int, expect: Callable[[Estimate], None]
) -> None:
    """Pass on how long the scan will take; nothing where layers beyond the budget or a GPU change that."""
    jobs = jobs_of(scan.plan, scan.specs, scan.work, scan.excluded)
    if scan.work.device.type != "cpu" or any(job.size > budget for job in jobs):
        return
    layers = [
        Matrices(layer.shape, layer.matrices, narrow_expected(layer, scan.work)) for layer in _selected(scan)
    ]
    estimate = estimate_scan(layers, settings, threads=threads)
    if estimate is not None:
        expect(estimate)


def _read_all(scan: _Scan, pool: Pool, budget: int) -> None:
    jobs = sorted(jobs_of(scan.plan, scan.specs, scan.work, scan.excluded), key=lambda job: -job.size)
    largest = max((_float64_size(layer) for layer in _selected(scan)), default=0)
    gate = MemoryGate(min(budget, 3 * largest + _SLACK))
    originals: dict[Hashable, str] = {}
    for job in jobs:
        admitted = within_budget(job, scan.plan, scan.work, budget)
        if isinstance(admitted, Skip):
            _finish_all(scan, job, "skipped", admitted)
            continue
        job = admitted
        gate.acquire(job.size)
        started = time.perf_counter()
        try:
            tensors = _read(scan, job)
        except CorruptError as error:
            gate.release(job.size)
            _finish_all(scan, job, "failed", Skip.of(SkipReason.UNREADABLE, problem=error.message))
            continue
        with scan.lock:
            scan.seconds["read"] += time.perf_counter() - started
        original = _repeats(scan, job, tensors, originals)
        if original is not None:
            gate.release(job.size)
            for index in job.indices:
                scan.repeats[index] = original
            skip = skip_of_repeat(job, scan.plan, original)
            if skip.reason is SkipReason.COPY:
                scan.copies.update(dict.fromkeys(job.indices, original))
            _finish_all(scan, job, "skipped", skip)
            continue
        pool.submit(partial(_run_job, scan, job, tensors, gate))


def _selected(scan: _Scan) -> list[Layer]:
    return [layer for index, layer in enumerate(scan.plan.layers) if index not in scan.excluded]


def _read(scan: _Scan, job: Job) -> tuple[torch.Tensor, ...]:
    if job.band is None:
        tensors = tuple(scan.checkpoint.read(name) for name in job.tensors)
    else:
        tensors = tuple(scan.checkpoint.read_band(name, *job.band) for name in job.tensors)
    for name, tensor in zip(job.tensors, tensors, strict=True):
        scan.digest.update(scan.specs[name], tensor)
    return tensors


def _repeats(
    scan: _Scan, job: Job, tensors: tuple[torch.Tensor, ...], originals: dict[Hashable, str]
) -> str | None:
    """Return the name of the tensor or part of one whose very values these are, if there was one."""
    keyed = repeat_key(job, scan.plan, tensors, scan.digest.of)
    if keyed is None:
        return None
    original = originals.setdefault(*keyed)
    if original == keyed[1]:
        return None
    return None if has_two_values(tensors[0]) else original


def _run_job(scan: _Scan, job: Job, tensors: tuple[torch.Tensor, ...], gate: MemoryGate) -> None:
    try:
        digests = _digests(scan, job, tensors)
        for index in job.indices:
            layer = scan.plan.layers[index]
            try:
                analysed = analysed_once(
                    layer, tensors, scan.work, known=scan.known, digests=digests, no_spectrum=job.no_spectrum
                )
            except (
                Exception
            ) as error:  # a fault of ours in one layer is recorded, and must not lose the others
                problem = display_name(f"{type(error).__name__}: {error}")
                skip = Skip.of(SkipReason.INTERNAL_ERROR, problem=problem)
                analysed = AnalysedLayer(row=row(layer, "failed", skip))
            if index == job.indices[0]:
                analysed = replace(analysed, observed=analysed.observed + _overwritten(scan, job, tensors))
            if scan.inspect is not None and analysed.spectrum is not None:
                scan.inspect(analysed.row, analysed.spectrum)
            _finish(scan, index, analysed)
    finally:
        del tensors
        gate.release(job.size)


def _digests(scan: _Scan, job: Job, tensors: tuple[torch.Tensor, ...]) -> tuple[str, ...]:
    """Return the digests of the tensors of a job; none where nobody asks for them."""
    if scan.known is None:
        return ()
    if job.band is None:
        return tuple(scan.digest.of(name) for name in job.tensors)
    return tuple(digest_of_values(values) for values in tensors)


def _overwritten(scan: _Scan, job: Job, tensors: tuple[torch.Tensor, ...]) -> tuple[Observation, ...]:
    """Return what was overwritten in the stored tensors of a job."""
    named = zip(job.tensors, tensors, strict=True)
    return tuple(
        seen for name, values in named for seen in observed_pages(scan.checkpoint, name, values, job.band)
    )


def _finish_all(scan: _Scan, job: Job, status: Status, skip: Skip) -> None:
    for index in job.indices:
        _finish(scan, index, AnalysedLayer(row=row(scan.plan.layers[index], status, skip)))


def _finish(scan: _Scan, index: int, analysed: AnalysedLayer) -> None:
    with scan.lock:
        scan.rows[index] = analysed.row
        scan.observed[index] = analysed.observed
        if analysed.signal is not None:
            scan.signals[index] = analysed.signal
        scan.parameters_done += analysed.row.parameters
        for part, spent in analysed.seconds.items():
            scan.seconds[part] += spent
        step = Progress(
            done=len(scan.rows),
            total=len(scan.plan.layers) - len(scan.excluded),
            name=analysed.row.name,
            parameters_done=scan.parameters_done,
            parameters_total=scan.parameters_total,
        )
    scan.progress(step)


def _hash_the_rest(scan: _Scan) -> bool:
    """Read what no layer needed, for the digest: in bands, for a tensor may be larger than the budget.

    Returns whether that was done: it is not where it would transfer much that is not analysed.
    """
    readable = [spec for spec in scan.checkpoint.tensors if spec.unreadable is None]
    rest = [spec for spec in readable if not scan.digest.has(spec.name)]
    left = sum(spec.nbytes for spec in rest)
    if scan.checkpoint.streamed and left > _UNANALYSED * sum(spec.nbytes for spec in readable):
        return False
    for spec in rest:
        if spec.nbytes <= _SLACK:
            scan.digest.update(spec, scan.checkpoint.read(spec.name))
            continue
        step = max(1, _SLACK * spec.shape[0] // spec.nbytes)
        for start in range(0, spec.shape[0], step):
            band = scan.checkpoint.read_band(spec.name, start, min(start + step, spec.shape[0]))
            scan.digest.update(spec, band)
    return True


def _float64_size(layer: Layer) -> int:
    return 8 * layer.shape[0] * layer.shape[1]
