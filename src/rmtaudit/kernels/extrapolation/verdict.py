"""The verdict on a prediction: a value with its numbers, and the one place where sentences are made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Assumption(Enum):
    """What an answer rests on that the data do not show."""

    FREE = "free"
    SMOOTH = "smooth"


class Obstacle(Enum):
    """Why there is no answer."""

    ATOMS = "atoms"
    CONCENTRATED = "concentrated"
    WIDE = "wide"
    SHAPE = "shape"
    SMALL = "small"
    NOT_FREE = "not free"
    MISSED = "missed"
    SHARED = "shared"
    ORTHOGONAL = "orthogonal"
    LOST = "lost"
    CONTRADICTED = "contradicted"
    FAILED = "failed"


_SENTENCES: Mapping[Obstacle, str] = {
    Obstacle.ATOMS: "the spectrum consists of atoms",
    Obstacle.CONCENTRATED: "the eigenvalues lie at so few places that no law can be fitted to them",
    Obstacle.WIDE: "laws that fit the block equally well differ by {measure:.0%} of the eigenvalues",
    Obstacle.SHAPE: "the spectrum has few atoms or gaps, and blocks do not determine such a spectrum",
    Obstacle.SMALL: (
        "only a smooth spectrum would be determined, and that takes a block of {measure:.0f} rows or more"
    ),
    Obstacle.NOT_FREE: (
        "the matrix is not free of its coordinates, which is tolerable up to {measure:.3g} times the block"
    ),
    Obstacle.MISSED: "real quarters of the block differ from it by {measure:.0%} of the spread",
    Obstacle.SHARED: "rows have directions in common, which hold {measure:.0%} of the variance at the target",
    Obstacle.ORTHOGONAL: (
        "rows are closer to orthogonal than free rows, which would give {measure:.3g} times the variance"
    ),
    Obstacle.LOST: "the mass of the computed law has an error of {measure:.1g}",
    Obstacle.CONTRADICTED: "products with the whole matrix contradict it by {measure:.1%}",
    Obstacle.FAILED: "no law was found that could have produced the block",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What may be said of the larger matrix.

    Attributes
    ----------
    obstacle
        Why there is no answer; ``None`` where there is one.
    measure
        The number of the obstacle's sentence.
    assumptions
        What the answer rests on beyond the data: none where the block determines it.
    share
        ``c``: the larger matrix is taken for a free block of one so many times as large; ``None`` on the
        route ``rows``.
    width
        The largest width of the band of the distribution function under that assumption.
    largest_factor
        Of a refusal: the largest factor that the block could answer; ``None`` if none was found.
    simple
        The number of free cumulants whose law predicts the block as well; ``None`` if none does.
    detail
        More about a contradiction.
    departs
        Whether the block departs significantly from freeness, by an amount that the factor tolerates.
    """

    obstacle: Obstacle | None = None
    measure: float = 0.0
    assumptions: tuple[Assumption, ...] = ()
    share: float | None = None
    width: float | None = None
    largest_factor: float | None = None
    simple: int | None = None
    detail: str = ""
    departs: bool = False

    @property
    def refused(self) -> bool:
        """Whether there is no answer."""
        return self.obstacle is not None

    @property
    def word(self) -> str:
        """``determined``, ``determined if …`` or ``refused``."""
        if self.refused:
            return "refused"
        if not self.assumptions:
            return "determined"
        return "determined if " + " and ".join(one.value for one in self.assumptions)

    @property
    def reason(self) -> str:
        """Why, in clauses; may be empty for ``determined``."""
        return "; ".join(self._clauses())

    def granted(self, *, free: bool, smooth: bool) -> bool:
        """Return whether there is an answer and every assumption of it is made by the caller."""
        made = {Assumption.FREE: free, Assumption.SMOOTH: smooth}
        return not self.refused and all(made[one] for one in self.assumptions)

    def _clauses(self) -> list[str]:
        clauses = []
        if self.obstacle is not None:
            clauses.append(self.detail or _SENTENCES[self.obstacle].format(measure=self.measure))
            if self.largest_factor is not None:
                clauses.append(f"a factor of {self.largest_factor:.3g} could be predicted")
        if self.departs:
            clauses.append("the block departs from freeness significantly, though little for this factor")
        elif Assumption.FREE in self.assumptions:
            clauses.append("eigenvalues alone cannot tell whether the matrix is free of its coordinates")
        if Assumption.SMOOTH in self.assumptions:
            clauses.append(
                f"only laws of a free block of a matrix {self.share:g} times as large are considered"
            )
        if self.simple is not None:
            clauses.append(f"{self.simple} free cumulants predict the block equally well")
        return clauses
