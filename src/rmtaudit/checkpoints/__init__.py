"""File formats in, tensors out."""

from rmtaudit.checkpoints.base import Checkpoint, Reader
from rmtaudit.checkpoints.folder import open_checkpoint

__all__ = ["Checkpoint", "Reader", "open_checkpoint"]
