"""How far an edit would take every layer of a checkpoint, before it is made."""

from rmtaudit.engine.whatif.preview import Edit, Prune, Quantise, Truncate, preview

__all__ = ["Edit", "Prune", "Quantise", "Truncate", "preview"]
