"""What is known of how far the entries of a matrix, as they are computed, are from those that are meant."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from rmtaudit.matrices.sources.known import FLOAT32_ROUNDING

if TYPE_CHECKING:
    from rmtaudit.matrices.sources import MatrixSource


class Entries(StrEnum):
    """How far the entries of a matrix are off."""

    FLOAT64 = "float64"
    COARSE = "coarse"
    UNKNOWN = "not known"


REASONS: Mapping[Entries, str] = {
    Entries.FLOAT64: "",
    Entries.COARSE: (
        "unknown: the entries are rounded to float32 or more coarsely, and no bound covers that"
    ),
    Entries.UNKNOWN: "unknown: the source does not state the error of its computed entries",
}
"""Why nothing follows from the computed entries about the matrix that is meant, as accurately as float64."""


def entries_of(source: MatrixSource) -> Entries:
    """Return how far the entries of a source are off, as it says so itself."""
    rounding = source.known().rounding
    if rounding is None:
        return Entries.UNKNOWN
    return Entries.FLOAT64 if rounding < FLOAT32_ROUNDING else Entries.COARSE


def entries_document(entries: Entries) -> dict[str, Any]:
    """Return JSON values: the name of what is known, and the sentence about it."""
    return {"status": entries.value, "reason": REASONS[entries]}
