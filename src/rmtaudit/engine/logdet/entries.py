"""Whether a margin is about the matrix that is meant, or about its entries as they were computed.

An exact method bounds what its own rounding does. Entries that are computed have been rounded before; as long
as it is known how far they may be off, Cholesky, sparse factors and QR of a factor carry that into their
margin. Otherwise the margin says nothing about the matrix, and is not given as one.
"""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Any

from rmtaudit.engine.logdet.answer import Caution, Margin, Outcome
from rmtaudit.engine.logdet.facts import Facts
from rmtaudit.engine.logdet.settings import Method

ADDITIONS = 128
"""No tile of Cholesky is smaller, and no bound of a factorisation counts fewer roundings in an entry: entries
that are off by less are held by it."""

_CARRIED = frozenset({Method.CHOLESKY, Method.FLODANCE})
"""Methods that carry a known rounding of the entries into their margin, however large it is."""
_OF_THE_FACTOR = frozenset({Method.QR, Method.SLQ, Method.EIGENVALUES})
"""Methods that take a Gram matrix by its factor, and never form its entries."""
_UNKNOWN = "how far the entries, as they are computed, are off is not known"
_NOT_CARRIED = "the entries are computed, and this method does not carry their rounding into a margin"
_NO_BOUND = (
    "no bound holds for entries that are rounded so coarsely, and their errors need not be independent"
)


def about_the_matrix(outcome: Outcome, facts: Facts) -> Outcome:
    """Return an outcome whose margin is ``not known`` where it is about the computed entries alone.

    Parameters
    ----------
    outcome
        What a method found.
    facts
        Of the matrix that it was given.

    Returns
    -------
    Outcome
        The same where the margin holds the rounding of the entries, or where there is none. Otherwise the
        number with a margin that is not known, the warning RA-LD-102, and the margin about the computed
        entries in the evidence, as ``as_computed``.
    """
    why = "" if outcome.margin is None else _reason(outcome, facts)
    if outcome.margin is None or not why:
        return outcome
    message = (
        f"{why[0].upper()}{why[1:]}: the margin is not known. That of the evidence is about the entries as "
        "they were computed."
    )
    return replace(
        outcome,
        margin=Margin("not known", -math.inf, math.inf, None, why),
        evidence={**outcome.evidence, "as_computed": _values(outcome.margin)},
        cautions=(*outcome.cautions, Caution("RA-LD-102", message)),
    )


def _is_estimate(outcome: Outcome) -> bool:
    return outcome.margin is not None and outcome.margin.kind == "rounding estimate"


def _values(margin: Margin) -> dict[str, Any]:
    return {**asdict(margin), "half_width": margin.half_width}


def _reason(outcome: Outcome, facts: Facts) -> str:
    """Return why the margin does not hold the rounding of the entries, or nothing where it does."""
    if facts.rounding is None:
        return _UNKNOWN
    method = Method(outcome.method)
    if facts.rounding > ADDITIONS and facts.gram is None and _is_estimate(outcome):
        return _NO_BOUND
    by_factor = facts.gram is not None and method in _OF_THE_FACTOR
    symmetric_sparse = method is Method.SPARSE and "structure" not in outcome.evidence
    if facts.rounding <= ADDITIONS or by_factor or method in _CARRIED or symmetric_sparse:
        return ""
    return _NOT_CARRIED
