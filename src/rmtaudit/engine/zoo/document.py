"""The audit of a zoo as a whole: its models, their relations, and the files of the result."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rmtaudit.engine.resources.store import Index, RecordStore
from rmtaudit.engine.resources.store.records import write_whole
from rmtaudit.engine.settings.scan import ScanSettings
from rmtaudit.engine.zoo.cluster import ClusterOptions
from rmtaudit.engine.zoo.run import ZooProgress, audit_models, known_members
from rmtaudit.engine.zoo.subjects import subjects_among
from rmtaudit.errors import OutputError
from rmtaudit.report.document import dumps
from rmtaudit.report.zoo import ZOO_HEADER, Zoo, ZooRun

DOCUMENT = "zoo.json"
STORE = "store"


def audit_zoo(
    paths: Sequence[str],
    out: Path,
    settings: ScanSettings,
    cluster: ClusterOptions,
    *,
    rehash: bool = False,
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
    audited = audit_models(subjects, store, settings, cluster, rehash=rehash, progress=progress)
    zoo = Zoo(
        schema=ZOO_HEADER,
        tool=audited.tool,
        models=audited.models,
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
        raise OutputError("RA-OU-003", f"Cannot be written: {reason}.", where=str(out / DOCUMENT)) from error
    return zoo
