"""Whether a prediction may be made, and whether a simple law would have done."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rmtaudit.kernels.free.evolution import EvolvedLaw
from rmtaudit.kernels.free.fit import REJECTED, LevyFit
from rmtaudit.kernels.free.validation import Choice, Freeness

SAMPLE = 4000
"""Quantiles by which laws are compared."""
_AS_GOOD = 1.1
"""A convention: within a tenth of the score of the decompression a simple law does as well."""
_POOR = 0.15
"""A convention: the share of its spread by which quarters may miss the block."""
_MARGIN = 1.1
"""Ends are refused from so much before them; how much more of them is not known is added."""


def end_of(fit: LevyFit) -> float:
    """Return the factor to which a law can be decompressed at most; infinite without an end."""
    return math.inf if fit.measure.index <= 0 else 1 / fit.measure.index


def margin_of(fit: LevyFit, size: int) -> float:
    """Return by how much an end that was found may be too far.

    The index of one atom had a standard deviation of 2.6, 2.3 and 1.7 over ``n`` at 128, 256 and 1000
    (Kesten-McKay of degree 10); two of them are kept. An end found by halving was 7 to 19 % too far at 1000
    and 27 to 86 % at 300.
    """
    if fit.measure.index <= 0:
        return 1.0
    if fit.atoms:
        return max(_MARGIN, 1 + 5 / (fit.measure.index * size))
    return max(_MARGIN, 1 + 15 / math.sqrt(size))


def refusal(
    fit: LevyFit,
    choice: Choice | None,
    last: float,
    margin: float,
    factor: float,
    test: Freeness | None,
) -> str:
    """Return every reason why there is no prediction, or nothing."""
    reasons = []
    if test is not None and not test.free:
        reasons.append(
            f"the matrix is not free of its coordinates: nested blocks differ by KS {test.distance:.2%} "
            f"(chance {test.noise:.2%}), and the diagonal holds {test.diagonal_share:.1%} of the variance"
        )
    if factor * margin >= last:
        reasons.append(
            f"the law can be decompressed by about {last:.3g}, at worst {last / margin:.3g}; "
            f"{factor:.4g} was requested"
        )
    elif fit.chi_square > REJECTED:
        reasons.append(
            f"χ² is {fit.chi_square:.2g} per datum: no law that can be decompressed fits the block"
        )
    if choice is None:
        reasons.append("fewer than 128 eigenvalues are too few for validation")
    elif choice.score > _POOR:
        reasons.append(
            f"validation on a quarter of the block has an error of {choice.score:.0%} of the spread"
        )
    return "; ".join(reasons)


def simple_law(
    law: EvolvedLaw,
    choice: Choice | None,
    baselines: Mapping[int, EvolvedLaw],
    drawn: tuple[EvolvedLaw, ...],
) -> int | None:
    """Return how many free cumulants predict as well as a fit; ``None`` if none do.

    A simple law is as good if it validates as well on a quarter of the block, and if at the factor asked for
    it lies within the noise of the prediction: what looks alike at 4 need not at 50.
    """
    if choice is None:
        return None
    simple = {order: score for order, score in choice.baselines.items() if order in baselines}
    order = min(simple, key=lambda key: (simple[key], key), default=None)
    if order is None or simple[order] > _AS_GOOD * choice.score:
        return None
    centre = law.quantiles(SAMPLE)
    away = float((baselines[order].quantiles(SAMPLE) - centre).abs().mean())
    noise = [float((one.quantiles(SAMPLE) - centre).abs().mean()) for one in drawn]
    return order if not noise or away <= 2 * sum(noise) / len(noise) else None
