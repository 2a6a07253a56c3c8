"""A comparison in one sentence, and the layers that do not fit it."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from rmtaudit.matrices.roles import role
from rmtaudit.names import display_name
from rmtaudit.report.comparison import ComparisonSummary, LayerComparison
from rmtaudit.report.comparison_text import UNCHANGED
from rmtaudit.report.numbers import format_value, percent

_KEYS: Mapping[str, tuple[str, ...]] = {
    "cast": ("dtype",),
    "scaled": ("along",),
    "rearranged": ("order",),
    "pruned": ("pattern", "n", "m", "along"),
    "quantised": ("bits", "unit", "group"),
    "truncated": ("rank",),
    "low_rank_update": ("rank",),
    "dense_update": ("apart",),
    "unknown": ("reason",),
}
"""The numbers by which diagnoses of one kind are the same statement."""

_NAMED = 3
_ROLES = 4
_WORD = re.compile(r"[./#]")
_LEAVES = frozenset({"weight", "kernel", "bias"})


def summarise(layers: Sequence[LayerComparison], unmatched: int) -> ComparisonSummary:
    """Return the summary of all pairs.

    Parameters
    ----------
    layers
        Every pair.
    unmatched
        Number of weight matrices on either side that nothing corresponds to.
    """
    done = [layer for layer in layers if layer.diagnosis is not None]
    kinds = Counter(layer.diagnosis.kind for layer in done if layer.diagnosis is not None)
    groups = _groups([layer for layer in done if layer.kind is not None])
    exceptions: list[str] = []
    if len(groups) > _NAMED:
        for group in groups[_NAMED - 1 :]:
            exceptions.extend(layer.name for layer in group)
        groups = groups[: _NAMED - 1]
    value, interval = _distortion(done)
    return ComparisonSummary(
        sentence=_sentence(done, groups, exceptions, unmatched),
        kinds=dict(kinds.most_common()),
        exceptions=exceptions,
        distortion=value,
        distortion_ci=interval,
    )


def _groups(layers: Sequence[LayerComparison]) -> list[list[LayerComparison]]:
    """Return the layers that changed, together those of one statement; the largest group first."""
    groups: defaultdict[Hashable, list[LayerComparison]] = defaultdict(list)
    for layer in layers:
        assert layer.diagnosis is not None
        kind, numbers = layer.diagnosis.kind, layer.diagnosis.numbers
        if kind not in UNCHANGED:
            groups[(kind, *(numbers[key] for key in _KEYS.get(kind, ())))].append(layer)
    return sorted(groups.values(), key=lambda group: (-len(group), -sum(each.parameters for each in group)))


def _sentence(
    done: Sequence[LayerComparison],
    groups: Sequence[Sequence[LayerComparison]],
    exceptions: Sequence[str],
    unmatched: int,
) -> str:
    if not done:
        return "No tensors of the two could be compared."
    weights = [layer for layer in done if layer.kind is not None]
    small = [layer for layer in done if layer.kind is None and not _is_equal(layer) and not _is_whole(layer)]
    whole = sum(layer.kind is None and not _is_equal(layer) and _is_whole(layer) for layer in done)
    parts = [f"{_who(group, weights)} {_what(group)}" for group in groups]
    if exceptions:
        count = len(exceptions)
        parts.append(f"{count} other {'layer' if count == 1 else 'layers'} changed in other ways")
    changed = sum(map(len, groups)) + len(exceptions)
    if not changed and not small:
        how = "identical" if all(_kind(layer) == "identical" for layer in done) else "equal in value"
        what = "tensors of floating-point numbers" if whole else "pairs of tensors"
        sentence = f"All {len(done) - whole} {what} are {how}"
    elif not changed:
        sentence = f"All {len(weights)} weight matrices are equal"
    else:
        sentence = "; ".join(parts)
        if changed < len(weights):
            sentence += "; the other weight matrices are equal"
    if small:
        of = f"{len(small)} {'vector' if len(small) == 1 else 'vectors'} (biases, norms, statistics)"
        sentence += f"; {of} changed"
    if whole:
        sentence += f"; {whole} {'tensor' if whole == 1 else 'tensors'} of integers differ"
    if unmatched:
        sentence += (
            f"; {unmatched} weight {'matrix has' if unmatched == 1 else 'matrices have'} no counterpart"
        )
    return f"{sentence[0].upper()}{sentence[1:]}."


def _is_whole(layer: LayerComparison) -> bool:
    """Whether it holds whole numbers: shapes, indices, settings of a graph."""
    return any("int" in dtype or dtype == "bool" for dtype in layer.dtypes)


def _is_equal(layer: LayerComparison) -> bool:
    return _kind(layer) in UNCHANGED


def _kind(layer: LayerComparison) -> str:
    return "" if layer.diagnosis is None else layer.diagnosis.kind


def _who(group: Sequence[LayerComparison], weights: Sequence[LayerComparison]) -> str:
    """Return the layers of a group: by their roles where these are few and all of them are in it."""
    count = len(group)
    if count == 1:
        return f"layer '{display_name(group[0].name, longest=80)}'" if len(weights) > 1 else "the only layer"
    if count == len(weights):
        return f"all {count} weight matrices"
    roles = {role(layer.name) for layer in group}
    of_roles = sum(role(layer.name) in roles for layer in weights)
    names = sorted({_short(layer.name) for layer in group})
    if len(roles) <= _ROLES and len(names) == len(roles):
        listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
        return (
            f"all {count} {listed} layers"
            if of_roles == count
            else f"{count} of the {of_roles} {listed} layers"
        )
    return f"{count} of {len(weights)} weight matrices"


def _short(name: str) -> str:
    words = [word for word in _WORD.split(name) if word and word not in _LEAVES and not word.isdigit()]
    return display_name(words[-1] if words else name, longest=40)


def _what(group: Sequence[LayerComparison]) -> str:
    """Return what happened to all of a group; numbers that differ as a range."""
    first = group[0].diagnosis
    assert first is not None
    if len(group) == 1:
        return first.sentence
    numbers = [layer.diagnosis.numbers for layer in group if layer.diagnosis is not None]
    return _PLURALS[first.kind](numbers)


def _range(numbers: Sequence[Mapping[str, Any]], key: str) -> str:
    values = [each[key] for each in numbers if each[key] is not None]
    if not values:
        return "unknown"
    low, high = format_value(float(f"{min(values):.3g}")), format_value(float(f"{max(values):.3g}"))
    return low if low == high else f"{low} to {high}"


def _shares(numbers: Sequence[Mapping[str, Any]], key: str) -> str:
    low, high = percent(min(each[key] for each in numbers)), percent(max(each[key] for each in numbers))
    return low if low == high else f"{low} to {high}"


def _pruned(numbers: Sequence[Mapping[str, Any]]) -> str:
    first = numbers[0]
    if first["pattern"] == "N:M":
        return f"were pruned {first['n']}:{first['m']}"
    how = {"magnitude": " by magnitude", "random": " at random"}.get(first["pattern"], "")
    return f"were pruned to {_shares(numbers, 'sparsity')} zeros{how}"


def _quantised(numbers: Sequence[Mapping[str, Any]]) -> str:
    schemes = sorted({each["scheme"] for each in numbers})
    name = " or ".join(schemes) if len(schemes) < 3 else f"{numbers[0]['bits']} bits"
    return f"were quantised to {name} (relative error {_range(numbers, 'relative_error')})"


_WHY = {
    "too_small": "with too few entries to determine how",
    "not_floating": "and hold no floating-point numbers",
    "nonfinite": "and hold values that are not finite",
    "constant_base": "from a constant",
    "no_signs": "in too few places to determine how",
    "other_quantisation": "and lie on levels that are not the nearest ones to the base",
}

_PLURALS: Mapping[str, Callable[[Sequence[Mapping[str, Any]]], str]] = {
    "cast": lambda numbers: f"were cast to {numbers[0]['dtype']}",
    "scaled": lambda numbers: (
        f"were multiplied by {_range(numbers, 'factor')}"
        if numbers[0]["along"] == "matrix"
        else f"had their {numbers[0]['along']} multiplied by factors"
    ),
    "rearranged": lambda numbers: f"hold the base's entries in another order ({numbers[0]['order']})",
    "sparse_edit": lambda numbers: f"are unchanged except for {_range(numbers, 'entries')} entries each",
    "pruned": _pruned,
    "quantised": _quantised,
    "truncated": lambda numbers: f"were truncated to rank {numbers[0]['rank']}",
    "low_rank_update": lambda numbers: (
        f"carry an update of rank {numbers[0]['rank']} and relative norm {_range(numbers, 'relative_norm')}"
    ),
    "noise": lambda numbers: f"carry noise of {_range(numbers, 'sigma')} of their standard deviation",
    "replaced": lambda _: "show nothing of the base: replaced, trained independently, or relabelled",
    "dense_update": lambda numbers: (
        f"have little in common with the base (correlation {_range(numbers, 'correlation')})"
        if numbers[0]["apart"]
        else f"carry a dense update of relative norm {_range(numbers, 'relative_norm')}"
    ),
    "unknown": lambda numbers: f"changed by {_range(numbers, 'relative_norm')}, {_WHY[numbers[0]['reason']]}",
}


def _distortion(
    layers: Sequence[LayerComparison],
) -> tuple[float | None, tuple[float, float] | None]:
    """Return the mean over weight matrices, weighted by parameters, and its interval."""
    total = value = variance = 0.0
    for layer in layers:
        kept = layer.distortion
        if layer.kind is None or kept is None or kept.value is None or kept.ci is None:
            continue
        total += layer.parameters
        value += layer.parameters * kept.value
        half = max(kept.ci[1] - kept.value, kept.value - kept.ci[0])
        variance += (layer.parameters * half) ** 2
    if not total:
        return None, None
    mean, reach = value / total, math.sqrt(variance) / total
    return min(mean, 1.0), (max(0.0, mean - reach), min(1.0, mean + reach))
