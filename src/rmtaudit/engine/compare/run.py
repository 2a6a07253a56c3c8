"""How a comparison is carried out: one thread reads pairs, a few compare them, a gate keeps the budget."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from rmtaudit.analyzers.base import Analyzer
from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.engine.compare.layer import compare_pair, skipped_pair
from rmtaudit.engine.compare.metrics import metric_analyzers
from rmtaudit.engine.compare.settings import CompareSettings
from rmtaudit.engine.compare.summary import summarise
from rmtaudit.engine.pairs import (
    ModelRelation,
    Pair,
    Pairing,
    PairReader,
    PairValues,
    RelationTest,
    TensorRef,
    evidence_of,
    paired,
    relation_test,
    sentence_of,
)
from rmtaudit.engine.resources.devices import chosen_device
from rmtaudit.engine.resources.memory import MemoryGate, free_memory
from rmtaudit.engine.resources.pool import Pool
from rmtaudit.engine.resources.progress import Progress
from rmtaudit.engine.resources.threads import cpus, one_thread_each
from rmtaudit.errors import CorruptError
from rmtaudit.matrices.skips import Skip, SkipReason
from rmtaudit.names import display_name
from rmtaudit.report.comparison import (
    COMPARISON_HEADER,
    ComparedSubject,
    Comparison,
    ComparisonCoverage,
    ComparisonTool,
    LayerComparison,
    Unmatched,
)
from rmtaudit.version import installed_version

_WORK = 32
"""Bytes an entry that a comparison takes beyond the values, at most: four matrices of float64.

Measured for every diagnosis: 19 to 30."""

_SLACK = 64 << 20


@dataclass(slots=True, kw_only=True)
class _Run:
    """A comparison under way."""

    pairing: Pairing
    analyzers: tuple[Analyzer, ...]
    seed: int
    device: torch.device
    progress: Callable[[Progress], None]
    rows: dict[str, LayerComparison] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    parameters: int = 0

    def finish(self, row: LayerComparison) -> None:
        with self.lock:
            self.rows[row.name] = row
            self.parameters += row.parameters
            step = Progress(
                done=len(self.rows),
                total=len(self.pairing.pairs),
                name=row.name,
                parameters_done=self.parameters,
                parameters_total=sum(pair.base.parameters for pair in self.pairing.pairs),
            )
        self.progress(step)


def compare_checkpoints(
    base: Checkpoint,
    candidate: Checkpoint,
    settings: CompareSettings,
    *,
    progress: Callable[[Progress], None] | None = None,
) -> Comparison:
    """Compare two opened checkpoints, which stay open.

    Parameters
    ----------
    base, candidate
        The two.
    settings
        How to compare.
    progress
        Told after every pair, from any thread.

    Raises
    ------
    InputError
        A tensor that names do not match cannot be read, or a file changed while it was read.
    UsageError
        RA-US-201: a CUDA device is asked for, and there is none.
    """
    with one_thread_each():
        pairing = paired(base, candidate)
        run = _Run(
            pairing=pairing,
            analyzers=metric_analyzers() if settings.metrics else (),
            seed=settings.seed,
            device=chosen_device(settings.device),
            progress=progress or (lambda _: None),
        )
        test = relation_test(base, candidate, seed=settings.seed)
        _compare_all(run, base, candidate, settings, test)
    base.check_unchanged()
    candidate.check_unchanged()
    rows = [run.rows[pair.name] for pair in pairing.pairs]
    unmatched = sum(ref.layer is not None for ref in (*pairing.only_base, *pairing.only_candidate))
    return Comparison(
        schema=COMPARISON_HEADER,
        tool=ComparisonTool(version=installed_version(), options=_options(settings, run), seed=settings.seed),
        base=_subject(base),
        candidate=_subject(candidate),
        summary=summarise(rows, unmatched),
        coverage=_coverage(pairing, rows),
        relation=_relation(test.result()),
        claim=None,
        layers=rows,
        notes=pairing.notes,
    )


def _options(settings: CompareSettings, run: _Run) -> dict[str, Any]:
    """Return the options that may change a number; that of the device where it is not the CPU."""
    elsewhere = {} if run.device.type == "cpu" else {"device": run.device.type}
    return {"metrics": settings.metrics, **elsewhere}


def _relation(relation: ModelRelation) -> dict[str, Any]:
    return {
        "word": str(relation.relation),
        "sentence": sentence_of(relation),
        "level": relation.level,
        **evidence_of(relation),
    }


def _compare_all(
    run: _Run, base: Checkpoint, candidate: Checkpoint, settings: CompareSettings, test: RelationTest
) -> None:
    budget = free_memory() // 2 if settings.memory is None else settings.memory
    reader = PairReader(base, candidate, budget=budget, work=_WORK)
    threads = 1 if run.device.type == "cuda" else settings.threads or cpus()
    largest = max((_size(pair) for pair in run.pairing.pairs), default=0)
    gate = MemoryGate(min(budget, threads * largest + _SLACK), most=threads + 1)

    with Pool(threads, initialise=lambda: torch.set_num_threads(1)) as pool:
        for pair in run.pairing.pairs:
            refused = reader.refusal(pair)
            if refused is not None:
                run.finish(skipped_pair(pair, "skipped", refused.sentence))
                continue
            size = _size(pair)
            gate.acquire(size)  # before the pair is read: a pair that waits for its turn takes memory too
            task = _read_and_test(run, reader, pair, test)
            if task is None:
                gate.release(size)
                continue
            if run.device.type == "cuda":
                _released(task, gate, size)
            else:
                pool.submit(partial(_released, task, gate, size))
            del task
        pool.join()


def _read_and_test(
    run: _Run, reader: PairReader, pair: Pair, test: RelationTest
) -> Callable[[], None] | None:
    """Read a pair, add it to the relation test, and return its comparison; ``None`` where it has no bytes."""
    try:
        values = reader.read(pair)
    except CorruptError as error:
        skip = Skip.of(SkipReason.UNREADABLE, problem=error.message)
        run.finish(skipped_pair(pair, "failed", skip.sentence))
        return None
    if pair.base.layer is not None:
        test.add(pair.name, values.base, values.candidate)
    return partial(_compare, run, values)


def _size(pair: Pair) -> int:
    return pair.base.bytes_read + pair.candidate.bytes_read + _WORK * pair.base.parameters


def _compare(run: _Run, values: PairValues) -> None:
    try:
        base, candidate = (each.to(run.device) for each in (values.base, values.candidate))
        row = compare_pair(PairValues(values.pair, base, candidate), run.analyzers, run.seed)
    except Exception as error:  # a fault of ours in one pair is recorded, and must not lose the others
        problem = display_name(f"{type(error).__name__}: {error}")
        skip = Skip.of(SkipReason.INTERNAL_ERROR, problem=problem)
        row = skipped_pair(values.pair, "failed", skip.sentence)
    run.finish(row)


def _released(task: Callable[[], None], gate: MemoryGate, size: int) -> None:
    try:
        task()
    finally:
        del task
        gate.release(size)


def _subject(checkpoint: Checkpoint) -> ComparedSubject:
    return ComparedSubject(
        path=str(checkpoint.path),
        format=checkpoint.format,
        tensors=len(checkpoint.tensors),
        parameters=sum(spec.parameters for spec in checkpoint.tensors),
    )


def _coverage(pairing: Pairing, rows: list[LayerComparison]) -> ComparisonCoverage:
    compared = sum(row.parameters for row in rows if row.status == "ok")
    total = sum(row.parameters for row in rows) + sum(ref.parameters for ref in pairing.only_base)
    others = sum(pair.candidate.parameters for pair in pairing.pairs)
    return ComparisonCoverage(
        pairs=len(rows),
        compared=sum(row.status == "ok" for row in rows),
        parameters_base=total,
        parameters_candidate=others + sum(ref.parameters for ref in pairing.only_candidate),
        parameters_compared=compared,
        fraction=compared / total if total else 0.0,
        only_base=_unmatched(pairing.only_base),
        only_candidate=_unmatched(pairing.only_candidate),
    )


def _unmatched(refs: tuple[TensorRef, ...]) -> list[Unmatched]:
    return [Unmatched(ref.name, ref.shape, ref.layer is not None) for ref in refs]
