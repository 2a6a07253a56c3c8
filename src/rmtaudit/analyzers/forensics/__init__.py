"""``forensics``: the traces that damage leaves in a layer, from its weights alone."""

from rmtaudit.analyzers.forensics.audit import Forensics

__all__ = ["Forensics"]
