"""Networks that run, and the inputs that are shown to them: what kernels, activations and probes share."""

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
    "open_network",
    "open_samples",
]
