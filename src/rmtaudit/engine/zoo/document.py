"""The audit of a zoo as a whole: its models, their relations, and the files of the result."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rmtaudit.engine.resources.store import Index, RecordStore
from rmtaudit.engine.resources.store.records import write_whole
from rmtaudit.engine.settings.scan import ScanSettings
from rmtaudit.engine.zoo.cluster import Cluster, ClusterOptions
from rmtaudit.engine.zoo.queue import Finished, TaskQueue
from rmtaudit.engine.zoo.run import AuditedZoo, ZooProgress, audit_models, known_members
from rmtaudit.engine.zoo.subjects import subjects_among
from rmtaudit.errors import CorruptError, OutputError
from rmtaudit.report.document import dumps
from rmtaudit.report.zoo import ZOO_HEADER, Relations, Zoo, ZooRun, load_zoo

DOCUMENT = "zoo.json"
STORE = "store"

PAIRS = 1000
"""Pairs of models that are tested at most, where nothing else is said."""


def audit_zoo(
    paths: Sequence[str],
    out: Path,
    settings: ScanSettings,
    cluster: ClusterOptions,
    *,
    rehash: bool = False,
    pairs: int = PAIRS,
    progress: Callable[[ZooProgress], None] = lambda _: None,
) -> Zoo:
    """Audit the models of folders, patterns and manifests, and write the document of the zoo.

    Parameters
    ----------
    paths
        See :func:`rmtaudit.engine.zoo.subjects.subjects_among`.
    out
        A folder that is created where it does not exist: ``zoo.json`` is the document, ``store`` has the
        records. What a run that was stopped has finished is in it as well.
    pairs
        Pairs of models that are tested for a relation at most; 0: the relations are not looked for.
    settings, cluster, rehash, progress
        See :func:`rmtaudit.engine.zoo.run.audit_models`.

    Raises
    ------
    UsageError, OutputError
        See :func:`audit_models` and :func:`subjects_among`.
    """
    started = time.monotonic()
    store = RecordStore(out / STORE, create=True)
    with Index(store) as index:
        subjects = subjects_among(paths, known_members(index))
    with Cluster(cluster) as opened:
        audited = audit_models(subjects, store, settings, opened, rehash=rehash, progress=progress)
        relations = None
        if pairs and audited.complete:
            try:
                relations = _relations(
                    audited, store, opened, document=out / DOCUMENT, most=pairs, progress=progress
                )
            except KeyboardInterrupt:  # the pairs that were tested are in the store
                audited.complete = False
    zoo = Zoo(
        schema=ZOO_HEADER,
        tool=audited.tool,
        models=audited.models,
        relations=relations,
        run=ZooRun(
            seconds=time.monotonic() - started,
            workers=audited.workers,
            bytes=audited.bytes,
            tasks=audited.tasks,
            retries=audited.retries,
            models_computed=audited.models_computed,
            models_reused=audited.models_reused,
            layers_computed=audited.layers_computed,
            layers_reused=audited.layers_reused,
            quarantined=tuple(audited.quarantined),
            complete=audited.complete,
        ),
    )
    try:
        write_whole(out / DOCUMENT, dumps(zoo.to_dict(), compact=True).encode())
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OutputError(
            "RA-OU-003", f"The file cannot be written: {reason}.", where=str(out / DOCUMENT)
        ) from error
    return zoo


def _relations(
    audited: AuditedZoo,
    store: RecordStore,
    cluster: Cluster,
    *,
    document: Path,
    most: int,
    progress: Callable[[ZooProgress], None],
) -> Relations:
    """Return the relations of the models: those of the last document, where it is of the same ones."""
    if audited.tasks == 0:
        last: Zoo | None = None
        with suppress(OSError, CorruptError):
            last = load_zoo(document.read_bytes())
        same = last is not None and last.models == audited.models and last.tool == audited.tool
        if last is not None and same and last.relations is not None:
            known = last.relations
            if known.tested + known.unreadable <= most and (not known.untested or known.tested == most):
                return known

    from rmtaudit.engine.zoo.relations import relations_of  # imports torch

    def run(function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Finished]:
        started = time.monotonic()
        workers = cluster.workers()
        queue = TaskQueue(workers, function)
        for task in tasks:
            queue.add(task)
        done, models, size = 0, len(audited.models), audited.bytes
        try:
            for finished in queue.results():
                if finished is not None:
                    done += 1
                    yield finished
                progress(
                    ZooProgress(
                        models=models,
                        models_total=models,
                        bytes=size,
                        bytes_total=size,
                        seconds=time.monotonic() - started,
                        dashboard=workers.dashboard,
                        pairs=done,
                        pairs_total=len(tasks),
                    )
                )
        finally:
            audited.tasks += queue.tasks
            audited.retries += queue.retries

    return relations_of(
        audited.models, store, run, seed=audited.tool["seed"], program=audited.program, most=most
    )
