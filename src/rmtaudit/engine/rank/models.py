"""The models that are ranked: of the audit of a zoo, of a manifest of reports, or of a folder of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rmtaudit.engine.settings.manifest import read_manifest
from rmtaudit.errors import InputError, UsageError
from rmtaudit.report.files import load_reports
from rmtaudit.report.model import FailedSubject, Report
from rmtaudit.report.zoo import SCHEMA_NAME, Quality, Zoo, load_zoo

_ZOO = "zoo.json"
_MANIFESTS = ("manifest.yaml", "manifest.yml")
_YAML = (".yaml", ".yml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model.

    Attributes
    ----------
    name, family
        Hostile texts; the family is empty where none is given.
    parameters
        Number of parameters of all tensors.
    metrics
        Means over the layers, by metric.
    quality
        Measured qualities, by measure.
    """

    name: str
    family: str
    parameters: int
    metrics: Mapping[str, float]
    quality: Mapping[str, Quality] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Models:
    """Models, the metrics that their tables show, and how many have none."""

    models: tuple[Model, ...]
    columns: tuple[str, ...]
    left_out: int


def read_models(path: Path) -> Models:
    """Return the models of a path.

    Parameters
    ----------
    path
        The folder or the file ``zoo.json`` of ``rmtaudit zoo``; a manifest whose models name their reports;
        a folder with a manifest; or a report, or a folder of reports, without families and qualities.

    Raises
    ------
    InputError
        A report or the document of a zoo cannot be read; RA-RK-001: the folder has none.
    UsageError
        The manifest is wrong; RA-RK-002: a model of it names no report.
    """
    if path.is_dir():
        return _of_folder(path)
    if path.suffix.lower() in _YAML:
        return _of_manifest(path)
    return _of_file(path)


def _of_folder(folder: Path) -> Models:
    if (folder / _ZOO).is_file():
        return _of_file(folder / _ZOO)
    for name in _MANIFESTS:
        if (folder / name).is_file():
            return _of_manifest(folder / name)
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() == ".json")
    if not files:
        raise InputError(
            "RA-RK-001",
            "The folder contains no audit of a zoo, no manifest and no reports.",
            hint="Give the folder that `rmtaudit zoo --out` wrote, or a manifest whose models name reports.",
            where=str(folder),
        )
    return _of_reports((file.stem, "", {}, load_reports(file)) for file in files)


def _of_file(file: Path) -> Models:
    try:
        data = file.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError("RA-RP-005", f"The file cannot be read: {reason}.", where=str(file)) from error
    if json.dumps(SCHEMA_NAME).encode() in data[:400]:
        try:
            return _of_zoo(load_zoo(data))
        except InputError as error:
            error.where = error.where or str(file)
            raise
    return _of_reports([(file.stem, "", {}, load_reports(file))])


def _of_zoo(zoo: Zoo) -> Models:
    models = [
        Model(
            name=each.name,
            family=each.family,
            parameters=each.parameters,
            metrics={
                name: float(metric.value) for name, metric in each.metrics.items() if metric.value is not None
            },
            quality=each.quality,
        )
        for each in zoo.models
        if each.status == "ok" and each.parameters is not None
    ]
    return Models(tuple(models), tuple(zoo.tool["columns"]), len(zoo.models) - len(models))


def _of_manifest(file: Path) -> Models:
    entries = read_manifest(file)
    for entry in entries:
        if not entry.report:
            raise UsageError(
                "RA-RK-002",
                f"The model {entry.name!r} names no report.",
                hint=(
                    "Add report: FILE.json to each model, or give the folder that `rmtaudit zoo --out` wrote."
                ),
                where=str(file),
            )
    return _of_reports(
        (entry.name, entry.family, entry.quality, load_reports(file.parent / entry.report))
        for entry in entries
    )


def _of_reports(
    given: Iterable[tuple[str, str, Mapping[str, Quality], Sequence[Report | FailedSubject]]],
) -> Models:
    models: list[Model] = []
    columns: dict[str, None] = {}
    left_out = 0
    for name, family, quality, results in given:
        for result in results:
            if isinstance(result, FailedSubject):
                left_out += 1
                continue
            columns |= dict.fromkeys(result.tool["columns"])
            summary = {key: each.value for key, each in result.summary.items() if each.value is not None}
            models.append(
                Model(
                    name=name if len(results) == 1 else result.subject["path"],
                    family=family,
                    parameters=result.subject["parameters"],
                    metrics={key: float(value) for key, value in summary.items()},
                    quality=quality,
                )
            )
    return Models(tuple(models), tuple(columns), left_out)
