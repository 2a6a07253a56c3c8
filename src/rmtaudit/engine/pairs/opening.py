"""What a Python caller names as a checkpoint, opened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmtaudit.checkpoints import Checkpoint, open_checkpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import torch

    Target = str | Path | Checkpoint | Mapping[str, torch.Tensor | np.ndarray[Any, Any]] | torch.nn.Module


def opened(target: Target) -> Checkpoint:
    """Return the checkpoint that a path, a state dict or a module names; one that is open is returned as is.

    Raises
    ------
    InputError
        It cannot be read.
    UsageError
        It is nothing of these.
    """
    if isinstance(target, Checkpoint):
        return target
    if isinstance(target, (str, Path)):
        return open_checkpoint(target)
    from rmtaudit.checkpoints.memory import StateDictCheckpoint
    from rmtaudit.checkpoints.schemes import decoded

    return decoded(StateDictCheckpoint(target))
