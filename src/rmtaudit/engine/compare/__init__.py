"""``rmtaudit compare``: what happened between two checkpoints."""

from rmtaudit.engine.compare.api import compare

__all__ = ["compare"]
