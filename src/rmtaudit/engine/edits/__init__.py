"""Edits of a weight: what they are, whether their numbers make sense, and their result."""

from rmtaudit.engine.edits.edit import Edit, Prune, Quantise, Truncate, check_edit, described, edit_of, edited

__all__ = ["Edit", "Prune", "Quantise", "Truncate", "check_edit", "described", "edit_of", "edited"]
