"""Whether a matrix equals its transpose, and on what ground that is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from rmtaudit.errors import InputError

if TYPE_CHECKING:
    import torch

SAMPLES, SAMPLE_SIDE = 64, 32
"""A convention: 64 blocks of 32 x 32 are read in milliseconds, wherever they lie in a file."""


class Ground(StrEnum):
    """On what ground a matrix is treated as symmetric, or not."""

    CONSTRUCTION = "by construction"
    DECLARED = "declared by the user"
    COMPARED = "every pair compared"
    PRODUCTS = "products with random vectors"
    SAMPLED = "a sample"
    CLAIMED = "claimed by the source"


PRESUMPTIONS = frozenset({Ground.SAMPLED, Ground.CLAIMED})


@dataclass(frozen=True, slots=True)
class Symmetry:
    """A judgement about symmetry: yes or no, on what ground, and the evidence in words."""

    symmetric: bool
    ground: Ground
    words: str


BY_CONSTRUCTION = Symmetry(True, Ground.CONSTRUCTION, str(Ground.CONSTRUCTION))


class AsymmetricError(InputError):
    """A matrix that was presumed to be symmetric is not (RA-MS-006)."""

    def __init__(self, name: str, words: str) -> None:
        super().__init__(
            "RA-MS-006",
            f"{name} is not symmetric: {words}.",
            hint=(
                "Use LU, which works for any square matrix, or --symmetric to use the lower triangle only."
            ),
        )
        self.words = words


def sample_corners(rows: int, cols: int, generator: torch.Generator) -> Iterator[tuple[int, int]]:
    """Yield the corners of 64 blocks of 32 x 32, row >= column where the shape allows it."""
    import torch

    if rows == 0 or cols == 0:
        return
    for _ in range(SAMPLES):
        first, second = (
            int(torch.randint(0, max(1, side - SAMPLE_SIDE + 1), (), generator=generator))
            for side in (rows, cols)
        )
        if second > first and second < rows and first < cols:
            first, second = second, first
        yield first, second
