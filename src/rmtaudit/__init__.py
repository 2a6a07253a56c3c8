"""Audit neural-network checkpoints from their weights alone, with random matrix theory.

Examples
--------
>>> import rmtaudit
>>> report = rmtaudit.scan("model.safetensors")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rmtaudit.checkpoints import open_checkpoint
    from rmtaudit.engine.claims.api import check_claim
    from rmtaudit.engine.compare import compare
    from rmtaudit.engine.density import density
    from rmtaudit.engine.gate.api import gate
    from rmtaudit.engine.lineage.document import lineage
    from rmtaudit.engine.logdet.api import logdet
    from rmtaudit.engine.merging.api import explain_merge
    from rmtaudit.engine.probe.api import probe
    from rmtaudit.engine.samples.api import forecast, forecast_ridge, tails
    from rmtaudit.engine.scan.api import scan
    from rmtaudit.report.comparison import Comparison
    from rmtaudit.report.files import load_reports
    from rmtaudit.report.model import Report
    from rmtaudit.report.probe import Probe

    __version__: str

__all__ = [
    "Comparison",
    "Probe",
    "Report",
    "__version__",
    "check_claim",
    "compare",
    "density",
    "explain_merge",
    "forecast",
    "forecast_ridge",
    "gate",
    "lineage",
    "load_reports",
    "logdet",
    "open_checkpoint",
    "probe",
    "scan",
    "tails",
]

_HOMES = {
    "Comparison": "rmtaudit.report.comparison",
    "Probe": "rmtaudit.report.probe",
    "Report": "rmtaudit.report.model",
    "check_claim": "rmtaudit.engine.claims.api",
    "compare": "rmtaudit.engine.compare",
    "density": "rmtaudit.engine.density",
    "explain_merge": "rmtaudit.engine.merging.api",
    "forecast": "rmtaudit.engine.samples.api",
    "forecast_ridge": "rmtaudit.engine.samples.api",
    "gate": "rmtaudit.engine.gate.api",
    "lineage": "rmtaudit.engine.lineage.document",
    "load_reports": "rmtaudit.report.files",
    "logdet": "rmtaudit.engine.logdet.api",
    "open_checkpoint": "rmtaudit.checkpoints",
    "probe": "rmtaudit.engine.probe.api",
    "scan": "rmtaudit.engine.scan.api",
    "tails": "rmtaudit.engine.samples.api",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that ``import rmtaudit`` is free (PEP 562)."""
    if name == "__version__":
        from rmtaudit.version import installed_version

        return installed_version()
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
