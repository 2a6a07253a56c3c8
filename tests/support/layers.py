"""A layer as a scan analyses it, on any device."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rmtaudit.analyzers.registry import build_all
from rmtaudit.engine.scan.worker import AnalysedLayer, LayerWork, analyse_layer
from rmtaudit.engine.settings.presets import preset_settings
from rmtaudit.matrices.plan import plan_layers
from rmtaudit.matrices.tensors import TensorSpec


def analysed(
    tensor: torch.Tensor, device: str | torch.device, preset: str = "default", analyzers: Sequence[str] = ()
) -> AnalysedLayer:
    """Return the analysis of one weight, as a scan with a preset makes it."""
    settings = preset_settings(preset).settings
    dtype = str(tensor.dtype).removeprefix("torch.")
    plan = plan_layers([TensorSpec(name="layer.weight", shape=tuple(tensor.shape), dtype=dtype)])
    work = LayerWork(
        analyzers=build_all(analyzers or settings.analyzers, settings.options),
        solver=settings.solver,
        device=torch.device(device),
        seed=0,
        precision=settings.precision,
    )
    return analyse_layer(plan.layers[0], (tensor,), work)
