"""Pieces of a stored tensor that were overwritten, as observations with their place in the file."""

from __future__ import annotations

import torch

from rmtaudit.analyzers.base import Observation
from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.kernels.forensics.pages import Fault, Region, damaged_regions
from rmtaudit.report.numbers import format_value

CODE = "RA-FO-030"


def observed_pages(
    checkpoint: Checkpoint, name: str, values: torch.Tensor, band: tuple[int, int] | None
) -> tuple[Observation, ...]:
    """Return what was overwritten in a tensor.

    Parameters
    ----------
    checkpoint
        The checkpoint; nothing is returned where the bytes in its file are not those of the values.
    name
        The tensor.
    values
        Its values as stored, or those of the band.
    band
        The range of the first side that was read; ``None`` for all of it.
    """
    position = checkpoint.position(name)
    if position is None or not values.is_floating_point():
        return ()
    file, first = position
    if band is not None and len(values):
        first += band[0] * (values.numel() // len(values)) * values.element_size()
    return tuple(_observation(region, file, first) for region in damaged_regions(values))


def _observation(region: Region, file: str, first: int) -> Observation:
    start, stop = first + region.start, first + region.stop
    evidence = {"file": file, "start": start, "stop": stop, "bytes": stop - start, "fault": str(region.fault)}
    if region.fault is Fault.CONSTANT:
        content = f"hold only {format_value(region.value)}"
        evidence["value"] = region.value
    else:
        source = first + (region.source or 0)
        content = f"repeat those from {source} on"
        evidence["source"] = source
    return Observation(
        code=CODE,
        message=f"{stop - start} bytes from position {start} of {file} {content}. Download the file again.",
        evidence=evidence,
    )
