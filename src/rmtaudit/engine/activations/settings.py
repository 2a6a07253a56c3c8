"""Which layers are measured, and with what; checked before torch is imported."""

from __future__ import annotations

from dataclasses import dataclass

from rmtaudit.errors import UsageError

GROUPS = 10
"""Groups of samples that are left out in turn for the standard errors: a convention."""
FEWEST = 2 * GROUPS
"""Samples that are needed at least: two a group."""
MOST_FEATURES = 4.0
"""Features a sample beyond which the spectrum of the population is not estimated: up to there the inversion
was checked (``tests/kernels/equivalents/test_inversion.py``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationsSettings:
    """How activations are measured.

    Attributes
    ----------
    include, exclude
        Patterns of a shell for names of layers; none: all layers, and none is left out.
    limit
        Use the first so many samples; ``None``: all.
    batch
        Samples that run together.
    memory
        Working memory in bytes; ``None``: half of what is free, at most 2 GiB.
    seed
        Of the positions, the groups, and the random directions and weights.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    limit: int | None = None
    batch: int = 16
    memory: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("limit", "batch", "memory"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError("RA-AC-001", f"The setting {name} must be at least 1, not {value}.")
