"""What authors of extensions import: the bases of analyzers, readers and matrix sources, and their tests.

An extension is a class in one of three entry-point groups: an :class:`Analyzer` in ``rmtaudit.analyzers``, a
:class:`Reader` in ``rmtaudit.readers``, a :class:`SourceOpener` in ``rmtaudit.sources``. The pages
``writing-an-analyzer``, ``writing-a-reader`` and ``writing-a-matrix-source`` of the documentation say how,
and ``examples/plugins`` has a complete package of each. A name is imported when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rmtaudit.analyzers.base import (
        Analysis,
        Analyzer,
        LayerInput,
        Metric,
        MetricValue,
        NoOptions,
        Observation,
        Scalar,
        failed,
        skipped,
    )
    from rmtaudit.analyzers.contract import AnalyzerContract, layer_input
    from rmtaudit.checkpoints.base import Checkpoint, Contents, Reader
    from rmtaudit.checkpoints.contract import ReaderContract
    from rmtaudit.checkpoints.files import FileSource
    from rmtaudit.finding_kind import FindingKind
    from rmtaudit.kernels.spectra.accuracy import Accuracy
    from rmtaudit.matrices.sources.base import MatrixSource, Reach
    from rmtaudit.matrices.sources.contract import SourceContract
    from rmtaudit.matrices.sources.known import FLOAT32_ROUNDING, Known
    from rmtaudit.matrices.sources.opener import SourceOpener
    from rmtaudit.matrices.sources.symmetry import Ground
    from rmtaudit.matrices.tensors import TensorSpec

__all__ = [
    "FLOAT32_ROUNDING",
    "Accuracy",
    "Analysis",
    "Analyzer",
    "AnalyzerContract",
    "Checkpoint",
    "Contents",
    "FileSource",
    "FindingKind",
    "Ground",
    "Known",
    "LayerInput",
    "MatrixSource",
    "Metric",
    "MetricValue",
    "NoOptions",
    "Observation",
    "Reach",
    "Reader",
    "ReaderContract",
    "Scalar",
    "SourceContract",
    "SourceOpener",
    "TensorSpec",
    "failed",
    "layer_input",
    "skipped",
]

_HOMES = {
    "rmtaudit.analyzers.base": (
        "Analysis", "Analyzer", "LayerInput", "Metric", "MetricValue", "NoOptions", "Observation", "Scalar",
        "failed", "skipped",
    ),
    "rmtaudit.analyzers.contract": ("AnalyzerContract", "layer_input"),
    "rmtaudit.checkpoints.base": ("Checkpoint", "Contents", "Reader"),
    "rmtaudit.checkpoints.contract": ("ReaderContract",),
    "rmtaudit.checkpoints.files": ("FileSource",),
    "rmtaudit.finding_kind": ("FindingKind",),
    "rmtaudit.kernels.spectra.accuracy": ("Accuracy",),
    "rmtaudit.matrices.sources.base": ("MatrixSource", "Reach"),
    "rmtaudit.matrices.sources.contract": ("SourceContract",),
    "rmtaudit.matrices.sources.known": ("FLOAT32_ROUNDING", "Known"),
    "rmtaudit.matrices.sources.opener": ("SourceOpener",),
    "rmtaudit.matrices.sources.symmetry": ("Ground",),
    "rmtaudit.matrices.tensors": ("TensorSpec",),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for (PEP 562): the tests need torch, the bases do not."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
