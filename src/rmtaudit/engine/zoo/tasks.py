"""What a worker does: audit a model, or analyse a part of a large one. All that it learns is in the store.

A task takes and returns plain values, and raises nothing: an exception would have to be sent to another
process, and most of those of libraries cannot.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from rmtaudit.analyzers.registry import build_all
from rmtaudit.checkpoints import Checkpoint, open_checkpoint
from rmtaudit.checkpoints.local_bytes import opened_files
from rmtaudit.engine.resources.digest import ContentDigest, digest_of_values
from rmtaudit.engine.resources.store import Kind, RecordStore, key_digest
from rmtaudit.engine.resources.store.upkeep import state_of
from rmtaudit.engine.resources.threads import one_thread_each
from rmtaudit.engine.scan.jobs import Job, jobs_of, within_budget
from rmtaudit.engine.scan.known import analysed_once
from rmtaudit.engine.scan.run import scan_checkpoint
from rmtaudit.engine.scan.selection import select_layers
from rmtaudit.engine.scan.worker import LayerWork
from rmtaudit.engine.settings.scan import ScanSettings
from rmtaudit.engine.zoo.keys import digest_of, program, source_key
from rmtaudit.engine.zoo.messages import Outcome, Task
from rmtaudit.engine.zoo.summary import summary_of
from rmtaudit.errors import CorruptError, NotACheckpointError, OutputError, RmtauditError, UnsafeError
from rmtaudit.matrices.plan import LayerPlan, plan_layers
from rmtaudit.matrices.skips import Skip, SkipReason
from rmtaudit.report.model import Report

PART_BYTES = 128 << 20
"""Stored bytes from which a model is audited in parts of about this size, each a task of its own."""

_LASTING = (CorruptError, NotACheckpointError, UnsafeError)
"""Errors that the same bytes give again; others may come of permissions, networks or the machine."""

_BESIDE = ("config.json", "adapter_config.json")


def carry_out(task: Task) -> Outcome:
    """Carry out a task in a worker."""
    try:
        return _checked(task)
    except OutputError as error:
        return Outcome(error=(error.code, error.message, error.hint), stops=True)
    except RmtauditError as error:
        return Outcome(error=(error.code, error.message, error.hint))


def _checked(task: Task) -> Outcome:
    here = program(task.settings)
    if here != task.report_key["program"]:
        raise RmtauditError(
            "RA-ZO-012",
            "A worker runs another version of rmtaudit, or of a plugin.",
            hint="Install the same versions on every machine of the cluster.",
        )
    store = RecordStore(Path(task.store))
    with one_thread_each(), opened_files() as opened:
        torch.set_num_threads(1)
        try:
            with open_checkpoint(task.path) as checkpoint:
                if task.part is not None:
                    return _part(task, checkpoint, store)
                parts = 0 if task.whole else _parts_of(checkpoint, task.settings)
                if parts > 1:
                    return Outcome(parts=parts)
                kept = _Kept(store=store, settings=task.layer_key)
                report = scan_checkpoint(checkpoint, task.settings, known=kept)
            if report.error is not None:
                return Outcome(error=(report.error.code, report.error.message, report.error.hint))
        except _LASTING as error:
            failure = (error.code, error.message, error.hint)
            body = _source_body(task, opened, model=None, error=failure)
            name = store.put(Kind.SOURCE, source_key(task.path, task.report_key), body)
            return Outcome(source=name, body=body, error=failure)
        return _recorded(task, report, kept, opened)


def _recorded(task: Task, report: Report, kept: _Kept, opened: Mapping[Path, Any]) -> Outcome:
    summary = summary_of(report)
    document = report.to_dict()
    document["subject"]["path"] = ""
    document["timings"] = {}
    key = {
        "content": document["subject"]["digest"],
        "container": _container(document),
        "settings": task.report_key,
    }
    contents = {
        "summary": summary,
        "tensors": [[name, digest] for name, digest in kept.tensors.items()],
        "layers": sorted(kept.names),
        "report": document,
    }
    model = kept.store.put(Kind.MODEL, key, contents)
    limited = any(layer.skip == SkipReason.BEYOND_MEMORY for layer in report.layers)
    body = _source_body(task, opened, model=model, limit=task.settings.memory if limited else None)
    name = kept.store.put(Kind.SOURCE, source_key(task.path, task.report_key), body)
    return Outcome(
        source=name, model=model, body=body, summary=summary, computed=kept.computed, reused=kept.reused
    )


def _source_body(
    task: Task,
    opened: Mapping[Path, Any],
    *,
    model: str | None,
    error: tuple[str, str, str] | None = None,
    limit: int | None = None,
) -> dict[str, Any]:
    """Return the record of a source: the states of its files, those absent with ``null``."""
    files: dict[str, list[int] | None] = {
        str(path): [state.size, state.mtime_ns, state.inode] for path, state in sorted(opened.items())
    }
    path = Path(task.path)
    folder = path if path.is_dir() else path.parent
    for name in _BESIDE:
        files.setdefault(str(folder / name), state_of(str(folder / name)))
    if path.is_dir():  # its state changes where a file is added or removed
        files[str(path)] = state_of(str(path))
    return {
        "path": task.path,
        "model": model,
        "error": None if error is None else list(error),
        "files": files,
        "limit": limit,
    }


def _container(document: Mapping[str, Any]) -> str:
    """Return the digest of what a report says of the container, beside the values of the tensors."""
    places = [each["evidence"] for each in document["findings"] if "file" in each["evidence"]]
    layers = [
        [each[key] for key in ("name", "tensor", "kind", "view", "shape", "dtype")]
        for each in document["layers"]
    ]
    return digest_of([document["subject"], document["coverage"]["skipped"], layers, places])


@dataclass(slots=True, kw_only=True)
class _Kept:
    """The layers of a store, for one scan."""

    store: RecordStore
    settings: Mapping[str, Any]
    computed: int = 0
    reused: int = 0
    names: set[str] = field(default_factory=set)
    tensors: dict[str, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def _key(self, key: Mapping[str, Any]) -> dict[str, Any]:
        return {**key, "settings": self.settings}

    def get(self, key: Mapping[str, Any]) -> Any | None:
        """Return the contents of a record."""
        name = key_digest(Kind.LAYER, self._key(key))
        body = self.store.get(Kind.LAYER, name)
        with self.lock:
            if body is not None:
                self.reused += 1
                self.names.add(name)
        return body

    def put(self, key: Mapping[str, Any], body: Any) -> None:
        """Write a record."""
        name = self.store.put(Kind.LAYER, self._key(key), body)
        with self.lock:
            self.computed += 1
            self.names.add(name)

    def note_tensors(self, digests: Mapping[str, str]) -> None:
        """Take the digests of the tensors."""
        self.tensors.update(digests)


def _planned(checkpoint: Checkpoint, settings: ScanSettings) -> tuple[LayerPlan, LayerWork, list[list[Job]]]:
    """Return the jobs of a scan, in groups that share no tensor, the largest first."""
    work = LayerWork(
        analyzers=build_all(settings.analyzers, settings.options),
        solver=settings.solver,
        precision=settings.precision,
        device=torch.device(settings.device),
        seed=settings.seed,
    )
    plan = plan_layers(
        checkpoint.tensors,
        conv=settings.conv,
        config=checkpoint.config,
        adapter_config=checkpoint.adapter_config,
    )
    excluded = select_layers(plan, settings.include, settings.exclude).excluded
    groups: dict[str, list[Job]] = {}
    specs = {spec.name: spec for spec in checkpoint.tensors}
    for job in jobs_of(plan, specs, work, excluded):
        groups.setdefault(job.tensors[0], []).append(job)
    ordered = sorted(groups.values(), key=lambda jobs: -sum(job.stored for job in jobs))
    return plan, work, ordered


def _parts_of(checkpoint: Checkpoint, settings: ScanSettings) -> int:
    """Return the number of parts of a model: tasks of about the same size."""
    _, _, groups = _planned(checkpoint, settings)
    total = sum(job.stored for jobs in groups for job in jobs)
    return min(len(groups), -(-total // PART_BYTES))


def _groups_of_part(groups: list[list[Job]], part: tuple[int, int]) -> Iterator[list[Job]]:
    """Yield the groups of one part: each goes to the part that has the least so far."""
    number, parts = part
    loads = [0] * parts
    for jobs in groups:
        lightest = loads.index(min(loads))
        loads[lightest] += sum(job.stored for job in jobs)
        if lightest == number:
            yield jobs


def _part(task: Task, checkpoint: Checkpoint, store: RecordStore) -> Outcome:
    """Analyse the layers of a part and keep them: the scan of the model then finds them in the store."""
    settings, kept = task.settings, _Kept(store=store, settings=task.layer_key)
    plan, work, groups = _planned(checkpoint, settings)
    specs = {spec.name: spec for spec in checkpoint.tensors}
    names: list[str] = []
    for jobs in _groups_of_part(groups, task.part or (0, 1)):
        for job in jobs:
            names += [plan.layers[index].name for index in job.indices]
            admitted = within_budget(job, plan, work, settings.memory or 0)
            if isinstance(admitted, Skip) or admitted.no_spectrum is not None:
                continue
            with suppress(CorruptError):  # the scan of the model says so
                tensors, digests = _read(checkpoint, job, specs)
                for index in job.indices:
                    analysed_once(plan.layers[index], tensors, work, known=kept, digests=digests)
                del tensors
    return Outcome(
        computed=kept.computed, reused=kept.reused, layers=len(names), first=names[0] if names else ""
    )


def _read(
    checkpoint: Checkpoint, job: Job, specs: Mapping[str, Any]
) -> tuple[tuple[torch.Tensor, ...], tuple[str, ...]]:
    """Return the tensors of a job and their digests, as a scan has them."""
    if job.band is not None:
        bands = tuple(checkpoint.read_band(name, *job.band) for name in job.tensors)
        return bands, tuple(map(digest_of_values, bands))
    digest = ContentDigest()
    tensors = tuple(checkpoint.read(name) for name in job.tensors)
    for name, values in zip(job.tensors, tensors, strict=True):
        digest.update(specs[name], values)
    return tensors, tuple(map(digest.of, job.tensors))
