"""The graph of related models, drawn as trees: each model under the one that it is closest to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from rmtaudit.names import display_name
from rmtaudit.report.ordering import natural_key
from rmtaudit.report.page.figures import quoted
from rmtaudit.report.zoo import Relation

MOST_MODELS = 150
"""Models that are drawn; the table of relations has the others."""

_LINE, _INDENT, _LETTER, _LONGEST = 24.0, 30.0, 7.2, 48


@dataclass(frozen=True, slots=True, kw_only=True)
class _Node:
    """A model in a tree: how deep it is, the row of what it hangs on, and how the two are related."""

    name: str
    depth: int
    parent: int | None = None
    kind: str = ""
    directed: bool = False


def graph_svg(edges: Sequence[Relation]) -> tuple[Markup | None, int]:
    """Return the drawing of the trees, and how many related models it leaves out; ``None`` for no edge."""
    nodes = list(_nodes([edge for edge in edges if edge.tree]))
    if not nodes:
        return None, 0
    shown = nodes[:MOST_MODELS]
    texts = [(display_name(node.name, longest=_LONGEST), node.kind) for node in shown]
    width = 24 + max(
        _INDENT * node.depth + _LETTER * (len(name) + len(display_name(kind)) + 4)
        for node, (name, kind) in zip(shown, texts, strict=True)
    )
    height = _LINE * len(shown) + 8
    related = sum(node.parent is not None for node in shown)
    label = f"Trees of related models: {len(shown)} models, {related} relations"
    parts = [
        f'<svg class="graph" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img" aria-label="{quoted(label)}">'
    ]
    for row, (node, (name, kind)) in enumerate(zip(shown, texts, strict=True)):
        x, y = 10 + _INDENT * node.depth, _LINE * row + 16
        if node.parent is not None:
            above = _LINE * node.parent + 16
            dash = "" if node.directed else ' stroke-dasharray="3 3"'
            parts.append(
                f'<path class="edge" d="M{x - _INDENT:g} {above + 5:g}V{y - 6:g}q0 6 6 6h14"{dash}/>'
            )
        parts.append(f'<circle class="c-data" cx="{x:g}" cy="{y:g}" r="4.5"/>')
        words = f' <tspan class="quiet">{quoted(kind)}</tspan>' if kind else ""
        parts.append(f'<text x="{x + 12:g}" y="{y + 4:g}">{quoted(name)}{words}</text>')
    parts.append("</svg>")
    return Markup("".join(parts)), len(nodes) - len(shown)


def _nodes(edges: Sequence[Relation]) -> Iterator[_Node]:
    """Yield the models of each tree from its root, which no other was made from where that is known."""
    near: defaultdict[str, list[Relation]] = defaultdict(list)
    made: set[str] = set()
    for edge in edges:
        near[edge.first].append(edge)
        near[edge.second].append(edge)
        if edge.source is not None:
            made.add(edge.second if edge.source == edge.first else edge.first)
    seen: set[str] = set()
    row = 0
    for root in sorted(near, key=lambda name: (name in made, -len(near[name]), natural_key(name), name)):
        if root in seen:
            continue
        stack: list[_Node] = [_Node(name=root, depth=0)]
        while stack:
            node = stack.pop()
            if node.name in seen:
                continue
            seen.add(node.name)
            yield node
            for edge in sorted(near[node.name], key=lambda edge: (edge.first, edge.second), reverse=True):
                other = edge.second if edge.first == node.name else edge.first
                if other not in seen:
                    stack.append(
                        _Node(
                            name=other,
                            depth=node.depth + 1,
                            parent=row,
                            kind=edge.kind,
                            directed=edge.source is not None,
                        )
                    )
            row += 1
