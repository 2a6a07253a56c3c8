"""How far an edit would take every layer of a checkpoint, before it is made."""

from rmtaudit.engine.edits import Edit, Prune, Quantise, Truncate
from rmtaudit.engine.whatif.preview import preview

__all__ = ["Edit", "Prune", "Quantise", "Truncate", "preview"]
