"""Networks that run, and the inputs that are shown to them: what kernels, activations and probes share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rmtaudit.engine.networks.factory import open_module
    from rmtaudit.engine.networks.network import Batch, Network, Origin, TokenFacts
    from rmtaudit.engine.networks.opening import open_network
    from rmtaudit.engine.networks.samples import Samples, open_samples
    from rmtaudit.engine.networks.settings import NetworkSettings

__all__ = [
    "Batch",
    "Network",
    "NetworkSettings",
    "Origin",
    "Samples",
    "TokenFacts",
    "open_module",
    "open_network",
    "open_samples",
]

_HOMES = {
    "NetworkSettings": "settings",
    "Samples": "samples",
    "open_module": "factory",
    "open_network": "opening",
    "open_samples": "samples",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for: the settings are read before torch is imported."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'network')}"), name)
