"""The relation of two checkpoints as plain values of a document."""

from __future__ import annotations

from typing import Any

from rmtaudit.engine.pairs.relation import ModelRelation, Relation


def evidence_of(relation: ModelRelation) -> dict[str, Any]:
    """Return the numbers of a relation, keys in published order (docs/lineage.md)."""
    matched = relation.matched
    return {
        "p_value": relation.p_value,
        "cosine": relation.cosine,
        "detectable_cosine": relation.detectable,
        "tested": sum(layer.test is not None for layer in relation.layers),
        "identical": relation.identical,
        "matched_cosine": None if matched is None else matched.cosine,
        "obstacle": None if relation.obstacle is None else str(relation.obstacle),
    }


def sentence_of(relation: ModelRelation) -> str:
    """Return the relation in words, with its numbers."""
    word = str(relation.relation)
    if relation.obstacle is not None:
        return f"{word}: {relation.obstacle}"
    if relation.p_value is None or relation.cosine is None or relation.detectable is None:
        return word
    if relation.relation is Relation.INDEPENDENT:
        return (
            f"{word} (p = {relation.p_value:.2g}; a mean cosine of {relation.detectable:.2g} between units "
            "would have been detected)"
        )
    return f"{word} (p = {relation.p_value:.2g}, mean cosine of units {relation.cosine:.2g})"
