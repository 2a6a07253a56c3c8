"""How exact the eigenvalues of a layer have to be for what is made of them."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Accuracy(StrEnum):
    """What an analyzer asks of a spectrum."""

    FULL = "full"
    """Float64 for every eigenvalue, as log-determinants and the smallest singular values need."""

    STORED = "stored"
    """Every eigenvalue as exact as the precision of the stored weights allows."""

    LARGE = "large"
    """The large eigenvalues alone, as the fits of a tail need."""


_ORDER = (Accuracy.FULL, Accuracy.STORED, Accuracy.LARGE)


def strictest(wanted: Iterable[Accuracy]) -> Accuracy:
    """Return the accuracy that suits everyone who asks for one: full where nobody does."""
    return min(wanted, key=_ORDER.index, default=Accuracy.FULL)
