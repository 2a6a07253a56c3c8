"""What is done to every network before it is used."""

from __future__ import annotations

import hashlib

import torch

from rmtaudit.engine.networks.settings import NetworkSettings
from rmtaudit.names import display_name

_CALIBRATED = (torch.nn.modules.batchnorm._BatchNorm,)


def prepared(network: torch.nn.Module, settings: NetworkSettings) -> tuple[torch.nn.Module, tuple[str, ...]]:
    """Return a network in evaluation mode, in the dtype, on the device; and what is odd about it.

    In evaluation mode dropout does nothing and batch normalisation uses its running statistics, so that a
    sample's output does not depend on the other samples of its batch.
    """
    network = network.to(dtype=getattr(torch, settings.dtype), device=settings.device).eval()
    warnings = []
    mixing = [
        name
        for name, module in network.named_modules()
        if isinstance(module, _CALIBRATED) and not module.track_running_stats
    ]
    if mixing:
        warnings.append(
            f"The module '{display_name(mixing[0])}' normalises over the batch even in evaluation "
            "mode, so the output of a sample depends on the other samples of its batch."
        )
    bad = [name for name, each in network.named_parameters() if not bool(torch.isfinite(each).all())]
    if bad:
        warnings.append(f"The parameter '{display_name(bad[0])}' is not finite in {settings.dtype}.")
    return network, tuple(warnings)


def digest_of(network: torch.nn.Module) -> str:
    """Return ``sha256:`` and the digest of the parameters and buffers, names and shapes and bytes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        if not isinstance(tensor, torch.Tensor):
            continue
        digest.update(f"{name}\0{tensor.dtype}{tuple(tensor.shape)}".encode("utf-8", "surrogatepass"))
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        if flat.numel():
            digest.update(flat.view(torch.uint8).numpy().data)
    return f"sha256:{digest.hexdigest()}"
