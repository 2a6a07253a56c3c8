"""Which layers of a model are analysed, as ``include`` and ``exclude`` say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import translate

from rmtaudit.errors import UsageError
from rmtaudit.matrices.layers import Layer
from rmtaudit.matrices.plan import LayerPlan
from rmtaudit.matrices.skips import Skip, SkipReason
from rmtaudit.names import display_name, suggestion


@dataclass(frozen=True, slots=True)
class Selection:
    """The layers that are left out, by their place in the plan, and remarks on patterns without effect."""

    excluded: Mapping[int, Skip]
    remarks: tuple[str, ...]


def select_layers(plan: LayerPlan, include: Sequence[str], exclude: Sequence[str]) -> Selection:
    """Return which layers of a plan are left out.

    Parameters
    ----------
    plan
        The layers of a model.
    include
        Patterns of a shell (``*``, ``?``, ``[…]``; ``*`` also matches dots) for names of layers or of their
        tensors: a layer that matches none of them is left out. Empty: all layers are taken.
    exclude
        Patterns likewise: a layer that matches one of them is left out, also if it is included.

    Returns
    -------
    Selection
        With a remark for every pattern that matches no layer.

    Raises
    ------
    UsageError
        RA-US-114: no layer matches any pattern of ``include``; the message has the nearest name, or why the
        tensor of that name is no layer.
    """
    including = {pattern: _matching(pattern, plan.layers) for pattern in include}
    excluding = {pattern: _matching(pattern, plan.layers) for pattern in exclude}
    if include and plan.layers and not any(including.values()):
        raise UsageError(
            "RA-US-114",
            f"No layer matches {' or '.join(map(_quoted, include))} of include."
            f"{_explanation(plan, include[0])}",
            hint=("Use rmtaudit inspect to list the layers; * matches any text: --include '*.attn.*'."),
        )
    excluded: dict[int, Skip] = {}
    chosen = set[int]().union(*including.values())
    for index in range(len(plan.layers)):
        pattern = next((pattern for pattern, places in excluding.items() if index in places), None)
        if pattern is not None:
            why = f"matches {_quoted(pattern)} of exclude"
            excluded[index] = Skip.of(SkipReason.EXCLUDED, why=why)
        elif include and index not in chosen:
            excluded[index] = Skip.of(SkipReason.EXCLUDED, why="matches no pattern of include")
    remarks = [
        f"{_quoted(pattern)} of {key} matches no layer.{_explanation(plan, pattern)}"
        for key, patterns in (("include", including), ("exclude", excluding))
        for pattern, places in patterns.items()
        if not places
    ]
    return Selection(excluded, tuple(remarks))


def _matching(pattern: str, layers: Sequence[Layer]) -> frozenset[int]:
    matches = re.compile(translate(pattern)).match
    return frozenset(
        index for index, layer in enumerate(layers) if any(matches(name) for name in _names(layer))
    )


def _names(layer: Layer) -> Iterator[str]:
    yield from dict.fromkeys((layer.name, layer.tensor, *layer.tensors))


def _explanation(plan: LayerPlan, pattern: str) -> str:
    """Return why a tensor of that name is no layer, or the nearest name of a layer, as a sentence."""
    matches = re.compile(translate(pattern)).match
    for each in plan.skipped:
        if matches(each.spec.name):
            return f" The tensor {_quoted(each.spec.name)} is not analysed: {display_name(each.reason)}."
    inside = [layer.name for layer in plan.layers if pattern and pattern in layer.name]
    if inside:
        return f" Did you mean {_quoted(f'*{pattern}*')}?"
    return display_name(suggestion(pattern, [layer.name for layer in plan.layers]))


def _quoted(text: str) -> str:
    return f"'{display_name(text)}'"
