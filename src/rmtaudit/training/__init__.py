"""Watching a training, and steering its spectra: see ``docs/training.md``.

>>> from rmtaudit.training import TrainingMonitor, SpectralRegulariser
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rmtaudit.kernels.penalties.heavy_tail import alpha_penalty, kappa_penalty
    from rmtaudit.kernels.penalties.norm import norm_penalty
    from rmtaudit.training.callback import MonitorEvents as RmtauditCallback
    from rmtaudit.training.monitor import TrainingMonitor
    from rmtaudit.training.regulariser import SpectralRegulariser
    from rmtaudit.training.settings import MonitorSettings

__all__ = [
    "MonitorSettings",
    "RmtauditCallback",
    "SpectralRegulariser",
    "TrainingMonitor",
    "alpha_penalty",
    "kappa_penalty",
    "norm_penalty",
]

_HOMES = {
    "MonitorSettings": "rmtaudit.training.settings",
    "SpectralRegulariser": "rmtaudit.training.regulariser",
    "TrainingMonitor": "rmtaudit.training.monitor",
    "alpha_penalty": "rmtaudit.kernels.penalties.heavy_tail",
    "kappa_penalty": "rmtaudit.kernels.penalties.heavy_tail",
    "norm_penalty": "rmtaudit.kernels.penalties.norm",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: transformers only for the callback (PEP 562)."""
    if name == "RmtauditCallback":
        from rmtaudit.training.callback import callback_class

        return callback_class()
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
