"""Where a command computes: the choice of a device, and its refusal where there is none."""

from __future__ import annotations

import torch

from rmtaudit.engine.resources.device_names import Device
from rmtaudit.errors import UsageError

CPU = torch.device("cpu")


def chosen_device(name: Device) -> torch.device:
    """Return the device of a name.

    Raises
    ------
    UsageError
        RA-US-201: a CUDA device is asked for, and there is none.
    """
    available = name != "cpu" and torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UsageError("RA-US-201", "This machine has no CUDA device.", hint="Use --device cpu, or auto.")
    return torch.device("cuda" if available else "cpu")
