"""The three edits, as values that the command line, a preview and a probe share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rmtaudit.errors import UsageError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Quantise:
    """Round every weight to the levels of a scheme of :mod:`rmtaudit.kernels.edits.quantise`."""

    scheme: str


@dataclass(frozen=True, slots=True)
class Truncate:
    """Keep the largest singular values: a number of them, or a share of their squares."""

    rank: int | None = None
    energy: float | None = None


@dataclass(frozen=True, slots=True)
class Prune:
    """Set a share of the entries of every layer, the smallest, to 0."""

    share: float


Edit = Quantise | Truncate | Prune


def edit_of(
    *, quantise: str | None = None, truncate: float | None = None, prune: float | None = None
) -> Edit | None:
    """Return the one edit that is given; ``None`` without one.

    Parameters
    ----------
    quantise
        A scheme.
    truncate
        A number of singular values from 1 on, below 1 the share of their squares that is kept.
    prune
        The share of the entries that is set to 0.

    Raises
    ------
    UsageError
        RA-US-815: more than one of them, or a rank that is no whole number.
    """
    if sum(value is not None for value in (quantise, truncate, prune)) > 1:
        raise UsageError("RA-US-815", "Give one of --quantise, --truncate and --prune.")
    if quantise is not None:
        return Quantise(quantise)
    if prune is not None:
        return Prune(prune)
    if truncate is None:
        return None
    if truncate >= 1:
        if truncate != int(truncate):
            raise UsageError("RA-US-815", f"--truncate {truncate:g} is neither a rank nor a share.")
        return Truncate(rank=int(truncate))
    return Truncate(energy=truncate)


def check_edit(edit: Edit) -> None:
    """Raise ``UsageError`` (RA-US-814) for an unknown scheme, or a number outside what it may be."""
    from rmtaudit.kernels.edits.quantise import SCHEMES

    match edit:
        case Quantise(scheme=scheme):
            problem = "" if scheme in SCHEMES else f"There is no scheme {scheme!r}."
            hint = f"The schemes are {', '.join(SCHEMES)}."
        case Truncate(rank=rank, energy=energy):
            fits = (rank is None) != (energy is None)
            fits = fits and (rank is None or rank >= 1) and (energy is None or 0 < energy <= 1)
            problem = (
                "" if fits else "A truncation keeps a rank of at least 1, or an energy above 0, at most 1."
            )
            hint = "Give either a rank or an energy."
        case Prune(share=share):
            problem = "" if 0 <= share < 1 else f"A share of {share:g} of the entries cannot be pruned."
            hint = "Give a share of at least 0 and below 1."
    if problem:
        raise UsageError("RA-US-814", problem, hint=hint)


def edited(weight: torch.Tensor, edit: Edit) -> torch.Tensor:
    """Return an edited weight: shape ``(rows, cols)``; float32 or float64, whatever the edit computes in."""
    from rmtaudit.kernels.edits.quantise import quantised
    from rmtaudit.kernels.edits.spectra import pruned, truncated

    match edit:
        case Quantise(scheme=scheme):
            return quantised(weight, scheme)
        case Truncate(rank=rank, energy=energy):
            return truncated(weight, rank=rank, energy=energy)
        case Prune(share=share):
            return pruned(weight, share)


def described(edit: Edit) -> dict[str, Any]:
    """Return an edit as JSON values: its kind, and the settings of that kind."""
    match edit:
        case Quantise(scheme=scheme):
            return {"kind": "quantise", "scheme": scheme}
        case Truncate(rank=rank, energy=energy):
            return {"kind": "truncate", "rank": rank, "energy": energy}
        case Prune(share=share):
            return {"kind": "prune", "share": share}
