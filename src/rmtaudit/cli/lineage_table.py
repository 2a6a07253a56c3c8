"""How the family tree of a folder of models looks in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from rmtaudit.cli.grid import label_grid
from rmtaudit.engine.lineage.document import edge_label
from rmtaudit.names import display_name
from rmtaudit.report.numbers import human_count

_MOST_UNREAD = 5


def draw_lineage(console: Console, document: Mapping[str, Any]) -> None:
    """Print the document of :mod:`rmtaudit.engine.lineage.document`: a tree a family, then the evidence."""
    subject = document["subject"]
    console.print(Text(display_name(subject["path"]), style="bold", overflow="fold"))
    console.print(Text(f"{subject['models']} models · {document['level']['pairs']} pairs", style="dim"))
    console.print()
    models = {model["name"]: model for model in document["models"]}
    families: dict[str, list[str]] = {}
    for model in document["models"]:
        families.setdefault(model["family"], []).append(model["name"])
    for names in sorted(families.values(), key=lambda each: -len(each)):
        console.print(_tree(names, models, document["pairs"]))
    console.print()
    console.print(label_grid(_lines(document)))


def _tree(names: Sequence[str], models: Mapping[str, Any], pairs: Sequence[Mapping[str, Any]]) -> Tree:
    """Return the tree of a family, from the model with most neighbours of those that lead to no source."""
    edges: dict[str, list[tuple[str, Mapping[str, Any]]]] = {name: [] for name in names}
    derived = set()
    for pair in pairs:
        if pair["tree"] and pair["first"] in edges:
            edges[pair["first"]].append((pair["second"], pair))
            edges[pair["second"]].append((pair["first"], pair))
            if pair["source"] is not None:
                derived.add(pair["second"] if pair["source"] == pair["first"] else pair["first"])
    root = min(names, key=lambda name: (name in derived, -len(edges[name]), name))
    drawn = Tree(_label(models[root], ""))
    stack = [(root, "", drawn)]
    while stack:
        name, parent, branch = stack.pop()
        for other, pair in edges[name]:
            if other != parent:
                stack.append((other, name, branch.add(_label(models[other], edge_label(pair)))))
    return drawn


def _label(model: Mapping[str, Any], edge: str) -> Text:
    text = Text(f"{edge}: " if edge else "", style="cyan")
    text.append(display_name(model["name"]), style="default")
    return text.append(f"  {human_count(model['parameters'])}, {model['bits']:.3g} bits", style="dim")


def _lines(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if document["counts"]:
        yield "pairs", ", ".join(f"{count} {kind}" for kind, count in document["counts"].items())
    level = document["level"]
    if level["pairs"]:
        yield (
            "level",
            (
                f"{level['pair']:.2g} a pair: among independent models, the probability of one or "
                f"more false relations in {level['pairs']} pairs is at most {level['family']:g}"
            ),
        )
    powers = [
        pair["evidence"]["detectable_cosine"]
        for pair in document["pairs"]
        if pair["kind"] == "independent" and pair["evidence"]["detectable_cosine"] is not None
    ]
    if powers:
        yield (
            "power",
            f"independent: a mean cosine of {max(powers):.2g} between units would have been detected in "
            "9 of 10 cases",
        )
    if any(pair["kind"].endswith("(uncalibrated)") for pair in document["pairs"]):
        yield "uncalibrated", ("permuted copies are matched unit by unit, for which no p-value is valid")
    for each in document["unread"][:_MOST_UNREAD]:
        yield "not read", f"{display_name(each['name'])}: {each['message']} ({each['code']})"
    if len(document["unread"]) > _MOST_UNREAD:
        yield "", f"and {len(document['unread']) - _MOST_UNREAD} more"
