"""The result of a gate in MLflow: numbers as metrics, the verdict as tags, the documents as artefacts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rmtaudit.errors import OutputError, UsageError
from rmtaudit.names import display_name
from rmtaudit.report.document import dumps
from rmtaudit.report.gate import GateDocument
from rmtaudit.report.model import Report, Result

if TYPE_CHECKING:
    from types import ModuleType

_REFUSED = re.compile(r"[^\w. :-]", re.ASCII)
"""Characters that the name of a metric may not have in MLflow, and slashes, which make folders of it."""

FOLDER = "rmtaudit"
"""Folder of the artefacts, and prefix of metrics and tags."""


def log_to_mlflow(document: GateDocument, results: Sequence[Result]) -> str:
    """Log the result of a gate to a run of MLflow and return the identifier of the run.

    The server and the experiment are those of ``MLFLOW_TRACKING_URI`` and ``MLFLOW_EXPERIMENT_NAME``. The run
    is the active one or that of ``MLFLOW_RUN_ID``; a new one where there is neither.

    Parameters
    ----------
    document
        The result.
    results
        The reports that were judged, in the order of its subjects.

    Raises
    ------
    UsageError
        RA-US-307: MLflow is not installed.
    OutputError
        RA-OU-008: MLflow refuses the result, or its server cannot be reached.
    """
    try:
        import mlflow
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        hint = "pip install 'rmtaudit[mlflow]'"
        raise UsageError("RA-US-307", "MLflow is not installed.", hint=hint) from error
    try:
        active = mlflow.active_run()
        if active is not None:
            _log(mlflow, document, results)
            return str(active.info.run_id)
        with mlflow.start_run() as run:
            _log(mlflow, document, results)
        return str(run.info.run_id)
    except (MlflowException, OSError) as error:
        message = display_name(" ".join(str(error).split()), longest=400)
        hint = "Set MLFLOW_TRACKING_URI to the server."
        raise OutputError("RA-OU-008", f"MLflow did not accept the result: {message}", hint=hint) from error


def metrics_of_gate(document: GateDocument) -> dict[str, float]:
    """Return the metrics by the names that they have in MLflow.

    ``rmtaudit.alpha``, with ``rmtaudit.alpha.low`` and ``.high`` where there is an interval; of several
    subjects ``rmtaudit.1.alpha``, counted from 1.
    """
    return dict(_metrics(document))


def _metrics(document: GateDocument) -> Iterator[tuple[str, float]]:
    yield f"{FOLDER}.exit_code", float(document.exit_code)
    several = len(document.subjects) > 1
    for index, subject in enumerate(document.subjects, 1):
        prefix = f"{FOLDER}.{index}" if several else FOLDER
        if subject.coverage is not None:
            yield f"{prefix}.coverage", float(subject.coverage.fraction)
        for outcome in ("passed", "failed", "inconclusive", "suppressed"):
            count = sum(check.outcome == outcome for check in subject.checks)
            yield f"{prefix}.checks.{outcome}", float(count)
        for name, metric in subject.metrics.items():
            key = f"{prefix}.{_REFUSED.sub('_', name)[:200]}"
            for end, number in (("", metric.value), (".low", metric.low), (".high", metric.high)):
                if number is not None:
                    yield f"{key}{end}", float(number)


def _log(mlflow: ModuleType, document: GateDocument, results: Sequence[Result]) -> None:
    mlflow.log_metrics(metrics_of_gate(document))
    policy = document.policy
    mlflow.set_tags(
        {
            f"{FOLDER}.outcome": document.outcome,
            f"{FOLDER}.policy": f"{display_name(policy.name)} {display_name(policy.version)}".strip(),
            f"{FOLDER}.policy_sha256": policy.sha256,
            f"{FOLDER}.version": document.tool.version,
        }
    )
    mlflow.log_text(document.to_json(), f"{FOLDER}/gate.json")
    for index, result in enumerate(results, 1):
        if isinstance(result, Report):
            name = "report.json" if len(results) == 1 else f"report-{index}.json"
            mlflow.log_text(dumps(result.to_dict()), f"{FOLDER}/{name}")
