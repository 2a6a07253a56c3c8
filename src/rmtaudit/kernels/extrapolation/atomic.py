"""Spectra of atoms alone: no larger matrix that is free of its coordinates has a block with one.

Free convolution powers above 1 have an absolutely continuous part unless they are a point (Belinschi and
Voiculescu 2004, theorem 3.1), and the spectrum of a block is such a power but for its scale.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

_FEWEST = 32
"""Eigenvalues that a fit needs beside the atoms."""


class Atoms(NamedTuple):
    """Places that hold several eigenvalues, their share, and how many eigenvalues are elsewhere."""

    places: int
    share: float
    elsewhere: int

    @property
    def reason(self) -> str:
        """Why nothing is predicted, in a clause."""
        rest = f", and the other {self.elsewhere} are too few to fit a law" if self.elsewhere else ""
        held = "all" if not self.elsewhere else f"{self.share:.1%}"
        places = "1 place holds" if self.places == 1 else f"{self.places} places hold"
        return (
            f"the spectrum consists of atoms: {places} {held} of the eigenvalues{rest}; "
            "no block of a larger free matrix has such a spectrum"
        )


def atoms_alone(spectrum: torch.Tensor) -> Atoms | None:
    """Return the atoms of a spectrum that consists of them; ``None`` for any other, and for a single point.

    Parameters
    ----------
    spectrum
        Shape ``(n,)``, float64, ascending. Values closer than ``n eps max|λ|`` are at one place.
    """
    n = len(spectrum)
    rounding = n * torch.finfo(torch.float64).eps * float(spectrum.abs().max())
    distinct = (spectrum.diff() > rounding).nonzero().flatten() + 1
    ends = torch.cat([distinct.new_zeros(1), distinct, distinct.new_full((1,), n)])
    counts = ends.diff()
    several = counts > 1
    elsewhere = int((~several).sum())
    if len(counts) < 2 or not bool(several.any()) or elsewhere >= _FEWEST or 2 * elsewhere > n:
        return None
    return Atoms(int(several.sum()), 1 - elsewhere / n, elsewhere)
