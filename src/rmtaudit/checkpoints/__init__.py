"""File formats in, tensors out."""

from rmtaudit.checkpoints.base import Checkpoint, Contents, Reader
from rmtaudit.checkpoints.folder import open_checkpoint

__all__ = ["Checkpoint", "Contents", "Reader", "open_checkpoint"]
