"""How a zoo is audited: what the store knows is taken from there, everything else is computed by workers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rmtaudit.engine.resources.store import Index, Kind, RecordStore
from rmtaudit.engine.resources.store.records import key_digest
from rmtaudit.engine.resources.store.upkeep import is_unchanged
from rmtaudit.engine.settings.scan import ScanSettings
from rmtaudit.engine.zoo.cluster import Cluster
from rmtaudit.engine.zoo.keys import layer_settings, report_settings, source_key
from rmtaudit.engine.zoo.messages import Outcome, Task, task_settings
from rmtaudit.engine.zoo.queue import Finished, TaskQueue
from rmtaudit.engine.zoo.subjects import ZooSubject
from rmtaudit.engine.zoo.summary import audited, not_audited
from rmtaudit.errors import OutputError
from rmtaudit.report.provenance import Tool
from rmtaudit.report.zoo import ModelError, Quarantined, ZooModel

_EVERY = 32
"""Models that are added to the index at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZooProgress:
    """How far a run is: models and bytes of those that are computed, and the seconds since it began.

    Once the models are done, ``pairs`` of ``pairs_total`` were tested in ``seconds``.
    """

    models: int
    models_total: int
    bytes: int
    bytes_total: int
    seconds: float
    dashboard: str = ""
    pairs: int = 0
    pairs_total: int = 0


@dataclass(slots=True, kw_only=True)
class AuditedZoo:
    """What came of the models of a zoo, and of the run."""

    models: tuple[ZooModel, ...] = ()
    tool: Tool
    program: Mapping[str, str]
    records: dict[str, str] = field(default_factory=dict)
    workers: int = 0
    bytes: int = 0
    tasks: int = 0
    retries: int = 0
    models_computed: int = 0
    models_reused: int = 0
    layers_computed: int = 0
    layers_reused: int = 0
    quarantined: list[Quarantined] = field(default_factory=list)
    complete: bool = True


@dataclass(slots=True)
class _Open:
    """A model that is being computed: its subject, its bytes, and its parts that have not come back."""

    subject: ZooSubject
    size: int
    parts: int = 0
    failed: list[tuple[str, str, str]] = field(default_factory=list)


def audit_models(
    subjects: Sequence[ZooSubject],
    store: RecordStore,
    settings: ScanSettings,
    cluster: Cluster,
    *,
    rehash: bool = False,
    progress: Callable[[ZooProgress], None] = lambda _: None,
) -> AuditedZoo:
    """Audit the models of a zoo.

    Parameters
    ----------
    subjects
        The models, with unique names.
    store
        Where records are looked for and kept. The workers reach it under the same path.
    settings
        Those of a scan; its threads, memory and device are those of the cluster.
    cluster
        The workers; started only where something has to be computed.
    rehash
        Read every file again, also where size, modification time and inode are those of the last run.
    progress
        Told now and then.

    Returns
    -------
    AuditedZoo
        ``complete`` is false if it was stopped from the keyboard: what was finished is in it, and kept.

    Raises
    ------
    UsageError
        RA-ZO-010 and RA-ZO-011: there is no Dask, or no worker.
    OutputError
        RA-ST-002 and RA-ST-003: the store cannot be written.
    """
    options = cluster.options
    assert options.budget is not None
    chosen = task_settings(settings, device=options.device, memory=options.budget)
    layer_key, report_key = layer_settings(chosen), report_settings(chosen)
    started = time.monotonic()
    with Index(store) as index:
        run = _Run(store, index, report_key, budget=options.budget, rehash=rehash)
        result = run.result
        todo = [subject for subject in subjects if not run.reuse(subject)]
        result.models_reused = len(subjects) - len(todo)
        if todo:
            from rmtaudit.engine.zoo.tasks import carry_out  # imports torch

            sizes = {subject.name: _size(subject.path) for subject in todo}
            todo.sort(key=lambda subject: -sizes[subject.name])
            total = sum(sizes.values())
            common = Task(
                path="", store=str(store.folder), settings=chosen, layer_key=layer_key, report_key=report_key
            )
            workers = cluster.workers()
            result.workers = workers.slots
            tasks = TaskQueue(workers, carry_out, gpu=options.device == "cuda")
            for subject in todo:
                run.open[subject.path] = _Open(subject, sizes[subject.name])
                tasks.add(replace(common, path=subject.path))
            try:
                for finished in tasks.results():
                    if finished is not None:
                        run.take(finished, tasks)
                    progress(
                        ZooProgress(
                            models=len(todo) - len(run.open),
                            models_total=len(todo),
                            bytes=total - sum(each.size for each in run.open.values()),
                            bytes_total=total,
                            seconds=time.monotonic() - started,
                            dashboard=workers.dashboard,
                        )
                    )
            except KeyboardInterrupt:
                result.complete = False
            finally:
                result.tasks, result.retries = tasks.tasks, tasks.retries
                run.flush()
        result.models = tuple(
            run.entries[subject.name] for subject in subjects if subject.name in run.entries
        )
    return result


class _Run:
    """A run under way: what is known of each model so far."""

    def __init__(
        self,
        store: RecordStore,
        index: Index,
        report_key: Mapping[str, Any],
        *,
        budget: int,
        rehash: bool,
    ) -> None:
        self._store, self._index, self._budget, self._rehash = store, index, budget, rehash
        self._report_key = report_key
        self._sources = {} if rehash else index.sources()
        self._summaries = {model.name: model.summary for model in index.models()}
        self._unwritten: list[tuple[Kind, str, Mapping[str, Any]]] = []
        self.entries: dict[str, ZooModel] = {}
        self.open: dict[str, _Open] = {}
        self.result = AuditedZoo(tool=_tool(report_key), program=report_key["program"])

    def reuse(self, subject: ZooSubject) -> bool:
        """Take what the store knows of a model whose files have not changed; whether it knows it."""
        if self._rehash:
            return False
        name = key_digest(Kind.SOURCE, source_key(subject.path, self._report_key))
        body = self._sources.get(name)
        unindexed = body is None
        if body is None:
            body = self._store.get(Kind.SOURCE, name)  # a run that was killed had no time to index it
        if body is None or not is_unchanged(body["files"]):
            return False
        if body["limit"] is not None and body["limit"] < self._budget:
            return False  # a layer was left out for want of memory, and there is more now
        model = body["model"]
        if model is None:
            code, message, hint = body["error"]
            self.entries[subject.name] = not_audited(
                subject, ModelError(code=code, message=message, hint=hint)
            )
        else:
            summary = self._summaries.get(model)
            if summary is None:
                record = self._store.get(Kind.MODEL, model)
                if record is None:
                    return False
                summary = record["summary"]
                self._unwritten.append((Kind.MODEL, model, {"summary": summary}))
            self._audited(subject, summary, model)
        if unindexed:
            self._unwritten.append((Kind.SOURCE, name, body))
            self.flush()
        return True

    def take(self, finished: Finished, tasks: TaskQueue) -> None:
        """Take a task that came back."""
        task: Task = finished.task
        state = self.open[task.path]
        outcome = finished.outcome if isinstance(finished.outcome, Outcome) else Outcome()
        if outcome.stops and outcome.error is not None:
            code, message, hint = outcome.error
            raise OutputError(code, message, hint=hint, where=str(self._store.folder))
        self.result.layers_computed += outcome.computed
        self.result.layers_reused += outcome.reused
        if finished.reason:
            self._give_up(task, state, finished.reason)
        if task.part is not None:
            state.parts -= 1
            if outcome.error is not None:
                state.failed.append(outcome.error)
            if state.parts == 0:
                if state.failed:
                    self._failed(state, state.failed[0])
                else:
                    tasks.add(replace(task, part=None, whole=True), first=True)
        elif finished.reason:
            self._failed(state, _given_up(finished.reason))
        elif outcome.parts:
            state.parts = outcome.parts
            for number in reversed(range(outcome.parts)):
                tasks.add(replace(task, part=(number, outcome.parts)), first=True)
        else:
            self._came(state, outcome)

    def flush(self) -> None:
        """Add what was finished to the index."""
        self._index.add(self._unwritten)
        self._unwritten.clear()

    def _came(self, state: _Open, outcome: Outcome) -> None:
        if outcome.source and outcome.body is not None:
            self._unwritten.append((Kind.SOURCE, outcome.source, outcome.body))
        if outcome.model is not None and outcome.summary is not None:
            self._unwritten.append((Kind.MODEL, outcome.model, {"summary": outcome.summary}))
            self._audited(state.subject, outcome.summary, outcome.model)
            self.result.models_computed += 1
            self.result.bytes += state.size
            self._close(state)
        else:
            self._failed(state, outcome.error or ("RA-ZO-013", "The task returned no result.", ""))
        if len(self._unwritten) >= _EVERY:
            self.flush()

    def _audited(self, subject: ZooSubject, summary: Mapping[str, Any], model: str) -> None:
        self.entries[subject.name] = audited(subject, summary, self._store.relative(Kind.MODEL, model))
        self.result.records[subject.name] = model

    def _give_up(self, task: Task, state: _Open, reason: str) -> None:
        part = "" if task.part is None else f"part {task.part[0] + 1} of {task.part[1]}"
        if part:
            state.failed.append(_given_up(f"{part}: {reason}"))
        self.result.quarantined.append(Quarantined(model=state.subject.name, part=part, reason=reason))

    def _failed(self, state: _Open, error: tuple[str, str, str]) -> None:
        code, message, hint = error
        self.entries[state.subject.name] = not_audited(
            state.subject, ModelError(code=code, message=message, hint=hint)
        )
        self._close(state)

    def _close(self, state: _Open) -> None:
        del self.open[state.subject.path]


_HINT = "Give each worker more memory with --worker-memory, or use fewer workers with --threads."


def _given_up(reason: str) -> tuple[str, str, str]:
    return "RA-ZO-013", f"The audit was abandoned: {reason}.", _HINT


def known_members(index: Index) -> dict[str, list[str]]:
    """Return the models of archives that were audited and have not changed, by the path of the archive."""
    members: dict[str, list[str]] = {}
    for body in index.sources().values():
        for file in body["files"]:
            if file.endswith(".zip") and body["path"].startswith(f"{file}/") and is_unchanged(body["files"]):
                members.setdefault(file, []).append(body["path"])
    return {file: sorted(set(paths)) for file, paths in members.items()}


def _size(path: str) -> int:
    """Return about how many bytes a model has: those of its file, or of the files of its folder."""
    try:
        if not Path(path).is_dir():
            return max(1, os.stat(path).st_size)  # noqa: PTH116
        return 1 + sum(each.stat().st_size for each in Path(path).rglob("*") if each.is_file())
    except OSError:
        return 1


def _tool(report_key: Mapping[str, Any]) -> Tool:
    return Tool(
        version=report_key["program"]["rmtaudit"],
        preset=report_key["preset"],
        analyzers=list(report_key["analyzers"]),
        options=report_key["analyzers"],
        conv=report_key["conv"],
        solver=report_key["solver"],
        precision=report_key["precision"],
        seed=report_key["seed"],
        device=report_key["device"],
        include=report_key["include"],
        exclude=report_key["exclude"],
        sort=report_key["sort"],
        columns=report_key["columns"],
    )
