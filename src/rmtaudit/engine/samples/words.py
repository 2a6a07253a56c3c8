"""What the fits of a tail support, in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rmtaudit.kernels.tails.bootstrap import TailBootstrap
    from rmtaudit.kernels.tails.tail import Tail
    from rmtaudit.kernels.tails.ties import Tied

UPPER_NAMES = {
    "power_law": "power law",
    "truncated_power_law": "truncated power law",
    "lognormal": "lognormal",
    "stretched_exponential": "stretched exponential",
    "exponential": "exponential",
}
LOWER_NAMES = {
    "power_law": "power law",
    "truncated_power_law": "inverse gamma",
    "lognormal": "lognormal",
    "stretched_exponential": "Fréchet",
    "exponential": "inverse exponential",
}
"""What the laws of ``1/x`` are called as laws of ``x``."""

_IMPLAUSIBLE = 0.1
"""Clauset, Shalizi and Newman (2009), section 4.1: a power law with a smaller p-value is ruled out."""
_DOUBT = 0.5
"""A convention: more likely than not."""


def tie_sentence(ties: Tied, value: float | None, side: str) -> str:
    """Say why equal values leave no verdict. ``value``: that of the file which is there most often."""
    at = "" if value is None else f" ({value:.6g})"
    if ties.kind == "top":
        end = "greatest" if side == "upper" else "least"
        return (
            f"{ties.count} of {ties.size} values are equal to the {end} one{at}: clipped or "
            "censored values, which none of these laws describes."
        )
    if ties.kind == "heap":
        return (
            f"{ties.count} of the {ties.size} values in the tail are equal{at}: no continuous law fits them."
        )
    return (
        f"Only {ties.distinct} of the {ties.size} values in the tail are distinct: the laws and "
        "their p-values are those of independent values without ties."
    )


def misfit_sentence(tail: Tail) -> str:
    """Say that no law fits."""
    least = min(tail.distances.values())
    return (
        f"None of the five laws fits: the nearest has a distance of {least:.3f}, which samples of "
        f"{tail.power_law.tail_size} values from these laws have in less than 1 of 1000 cases."
    )


def sentence(tail: Tail, bootstrap: TailBootstrap | None) -> str:
    """Say what the comparisons of the laws support."""
    names = UPPER_NAMES if tail.side == "upper" else LOWER_NAMES
    verdict = tail.verdict
    left = [names[law] for law in verdict.plausible]
    if verdict.winner is not None:
        text = (
            f"{left[0]}: each of the four other laws is rejected. It is the best of the five, "
            "which does not prove that it fits."
        )
    elif not left:
        text = misfit_sentence(tail)
    elif not verdict.ruled_out:
        text = (
            f"The laws are not distinguishable: {tail.power_law.tail_size} values reject none of "
            "the five laws."
        )
    elif verdict.simplest is not None:
        simple = names[verdict.simplest]
        bends = _listed([name for name in left if name != simple])
        text = f"Not distinguishable from the {simple}: {bends} contain it and fit no better."
    else:
        text = f"Undecided: {_listed(left)} cannot be distinguished."
    if verdict.winner is None and verdict.ruled_out and left:
        text += f" Rejected: {_listed([names[law] for law, _ in verdict.ruled_out])}."
    if bootstrap is not None and bootstrap.p_value < _IMPLAUSIBLE:
        text += f" A power law itself is implausible (p = {bootstrap.p_value:.2g})."
    if bootstrap is not None and bootstrap.start_doubt > _DOUBT:
        text += " The exponent changes inside the tail: where the power law begins is uncertain."
    return text


def _listed(names: Sequence[str]) -> str:
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
