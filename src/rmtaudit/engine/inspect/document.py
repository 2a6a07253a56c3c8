"""The tensors of a checkpoint and the decision on each, as a document of strict JSON.

Neither torch nor NumPy is imported, and no value is read, unless the container cannot do without. Tensors
that are alike are handled together, so that a header of a hundred thousand takes less than a second.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from msgspec.structs import replace

from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.checkpoints.unread import unread_entries
from rmtaudit.matrices.layers import ConvPolicy, Layer
from rmtaudit.matrices.plan import Outcome, plan_tensors
from rmtaudit.matrices.refusals import NotAnalysed
from rmtaudit.matrices.roles import role
from rmtaudit.matrices.skips import label_of
from rmtaudit.matrices.tensors import Encoding, Role, TensorSpec
from rmtaudit.version import installed_version

Key = TypeVar("Key")

SCHEMA_NAME = "rmtaudit.inspect"
SCHEMA_VERSION = "1.0"
ANALYSED = "analysed"
"""The decision on a tensor that a scan makes a matrix of; for every other tensor it is a skip reason."""


_NO_NAME = "\0"
"""Stands for the name in the text of an object."""

_NONE = "[]\n}"
"""The end of a document without tensors."""


@dataclass(slots=True)
class _Total:
    """Tensors and parameters of one kind."""

    tensors: int = 0
    parameters: int = 0

    def add(self, count: int, parameters: int) -> None:
        self.tensors += count
        self.parameters += count * parameters

    def document(self) -> dict[str, int]:
        return {"tensors": self.tensors, "parameters": self.parameters}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Tensors of one shape, dtype, scheme and decision; names and what follows from them differ.

    ``layers`` and ``skip`` are those of the first.
    """

    specs: list[TensorSpec] = field(default_factory=list)
    layers: tuple[Layer, ...]
    skip: NotAnalysed | None

    @property
    def stored_as(self) -> str:
        return stored_as(self.specs[0])

    @property
    def decision(self) -> str:
        return ANALYSED if self.skip is None else str(self.skip.skip.reason)

    @property
    def reason(self) -> str:
        return "" if self.skip is None else self.skip.reason

    def documents(self, specs: Iterable[TensorSpec]) -> Iterator[dict[str, Any]]:
        """Yield the object of each of some tensors of the group."""
        first = self.specs[0]
        shared = {
            "shape": list(first.shape),
            "dtype": first.dtype,
            "parameters": first.parameters,
        }
        decided = {"decision": self.decision, "reason": self.reason}
        layers = [(layer.name[len(layer.tensor) :], _layer(layer)) for layer in self.layers]
        alone = len(self.specs) == 1
        for spec in specs:
            yield {
                "name": spec.name,
                **shared,
                "encoding": None if spec.encoding is None else _encoding(spec.encoding),
                "role": None if spec.role is None else _role(spec.role),
                **decided,
                "layers": [
                    {"name": layer.name if alone else f"{spec.name}{part}", **rest}
                    for layer, (part, rest) in zip(self.layers, layers, strict=True)
                ],
            }

    def texts(self) -> Iterator[tuple[str, str]]:
        """Yield the name and the object of each tensor as text, made of that of the first where it can be."""
        first = self.specs[0]
        if len(self.specs) == 1 or first.encoding is not None:
            for each in self.documents(self.specs):
                yield each["name"], _indented(each)
            return
        (nameless,) = self.documents([replace(first, name=_NO_NAME)])
        pieces = _indented(nameless).split(json.dumps(_NO_NAME)[1:-1])
        for spec in self.specs:
            yield spec.name, json.dumps(spec.name)[1:-1].join(pieces)


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a scan would do with every tensor of a checkpoint.

    Attributes
    ----------
    summary
        The document but for its last key, the list of tensors.
    """

    summary: Mapping[str, Any]
    _groups: tuple[_Group, ...]
    _order: tuple[TensorSpec, ...]

    @property
    def count(self) -> int:
        """Number of tensors."""
        return len(self._order)

    def document(self) -> dict[str, Any]:
        """Return the document ``rmtaudit.inspect`` (docs/commands/inspect.md), keys in published order."""
        return {**self.summary, "tensors": self.tensors()}

    def text(self) -> str:
        """Return the document as :func:`rmtaudit.report.document.dumps` does, in a tenth of its time."""
        head = json.dumps({**self.summary, "tensors": []}, allow_nan=False, indent=2)
        if not self._order:
            return f"{head}\n"
        texts: dict[str, str] = {}
        for group in self._groups:
            texts.update(group.texts())
        tensors = ",\n".join([texts[spec.name] for spec in self._order])
        return f"{head.removesuffix(_NONE)}[\n{tensors}\n  ]\n}}\n"

    def tensors(self, most: int | None = None) -> list[dict[str, Any]]:
        """Return the objects of the first tensors, or of all, in stored order."""
        chosen = self._order[:most]
        wanted = {spec.name for spec in chosen}
        objects: dict[str, dict[str, Any]] = {}
        for group in self._groups:
            specs = group.specs if most is None else [spec for spec in group.specs if spec.name in wanted]
            objects.update((each["name"], each) for each in group.documents(specs))
        return [objects[spec.name] for spec in chosen]

    def groups(self) -> list[tuple[int, dict[str, Any]]]:
        """Return tensors that are alike, in the order of their first, as a count and an object of one.

        Its name has ``#`` for the numbers that differ (:func:`rmtaudit.matrices.roles.role`).
        """
        merged: dict[tuple[Any, ...], tuple[int, dict[str, Any]]] = {}
        for group in self._groups:
            (first,) = group.documents(group.specs[:1])
            name = role(first["name"])
            views = tuple((layer["kind"], layer["view"]) for layer in first["layers"])
            reason = label_of(first["decision"], first["reason"])
            key = (name, *group.specs[0].shape, group.stored_as, first["decision"], reason, views)
            count, kept = merged.get(key, (0, {**first, "name": name}))
            merged[key] = (count + len(group.specs), kept)
        return list(merged.values())


def stored_as(spec: TensorSpec) -> str:
    """Return the scheme of a quantised weight, the dtype of any other tensor."""
    return spec.dtype if spec.encoding is None else spec.encoding.scheme


def inspect_checkpoint(checkpoint: Checkpoint, *, conv: ConvPolicy = "flattened") -> dict[str, Any]:
    """Return the document of :func:`inspection_of`: plain values.

    ``document["coverage"]["layers"]`` is 0 where a scan would find nothing to analyse.
    """
    return inspection_of(checkpoint, conv=conv).document()


def inspection_of(checkpoint: Checkpoint, *, conv: ConvPolicy = "flattened") -> Inspection:
    """Return what a scan would do with every tensor of an opened checkpoint.

    Constants of the architecture, copies of one weight under two names, and values that are not finite are
    recognised when values are read, so only by a scan.

    Parameters
    ----------
    checkpoint
        The opened checkpoint; it stays open.
    conv
        How a convolution becomes matrices.
    """
    plan = plan_tensors(
        checkpoint.tensors,
        conv=conv,
        config=checkpoint.config,
        adapter_config=checkpoint.adapter_config,
    )
    unread = [(each.spec, Outcome(skipped=(each,))) for each in unread_entries(checkpoint)]
    listed = (*plan.outcomes, *unread)
    outcomes: dict[int, tuple[Outcome, list[TensorSpec]]] = {}
    for spec, outcome in listed:
        alike = outcomes.get(id(outcome))
        if alike is None:
            outcomes[id(outcome)] = (outcome, [spec])
        else:
            alike[1].append(spec)
    groups = tuple(_groups(outcomes.values()))
    order = tuple(spec for spec, _ in listed)
    stored: defaultdict[str, _Total] = defaultdict(_Total)
    decisions: defaultdict[tuple[str, str], _Total] = defaultdict(_Total)
    excluded = 0
    for group in groups:
        count, size = len(group.specs), group.specs[0].parameters
        stored[group.stored_as].add(count, size)
        label = ANALYSED if group.skip is None else label_of(group.decision, group.reason)
        decisions[group.decision, label].add(count, size)
        if group.skip is not None and not (group.skip.counted and group.skip.learned):
            excluded += count * size - plan.shared.get(group.specs[0].name, 0)
    parameters = sum(total.parameters for total in stored.values())
    summary = {
        "schema": {"name": SCHEMA_NAME, "version": SCHEMA_VERSION},
        "tool": {"version": installed_version(), "options": {"conv": conv}},
        "subject": {
            "path": str(checkpoint.path),
            "format": checkpoint.format,
            "tensors": len(plan.outcomes),
            "parameters": parameters - sum(spec.parameters for spec, _ in unread),
            "warnings": list(checkpoint.warnings),
        },
        "coverage": _coverage(outcomes.values(), parameters - sum(plan.shared.values()) - excluded),
        "stored_as": [{"stored_as": label, **total.document()} for label, total in _largest(stored.items())],
        "decisions": [
            {"decision": decision, "label": label, **total.document()}
            for (decision, label), total in _largest(decisions.items())
        ],
        "kinds": _kinds(outcomes.values()),
    }
    return Inspection(summary, groups, order)


def _groups(outcomes: Iterable[tuple[Outcome, list[TensorSpec]]]) -> Iterator[_Group]:
    """Yield the tensors in groups; one whose layers or reason another one has (its factor) is by itself."""
    layers: defaultdict[str, list[Layer]] = defaultdict(list)
    skipped: dict[str, NotAnalysed] = {}
    outcomes = list(outcomes)
    for outcome, _ in outcomes:
        for layer in outcome.layers:
            for name in layer.tensors:
                layers[name].append(layer)
        skipped.update((each.spec.name, each) for each in outcome.skipped)
    for outcome, specs in outcomes:
        if len(specs) == 1:
            name = specs[0].name
            yield _Group(specs=specs, layers=tuple(layers.get(name, ())), skip=skipped.get(name))
            continue
        kinds: defaultdict[str, list[TensorSpec]] = defaultdict(list)
        for spec in specs:
            kinds[stored_as(spec)].append(spec)
        skip = outcome.skipped[0] if outcome.skipped else None
        for alike in kinds.values():
            yield _Group(specs=alike, layers=outcome.layers, skip=skip)


def _coverage(outcomes: Iterable[tuple[Outcome, list[TensorSpec]]], parameters: int) -> dict[str, Any]:
    """Return the share of the parameters that a scan would analyse, counted as in its report."""
    layers = planned = 0
    for outcome, specs in outcomes:
        layers += len(specs) * len(outcome.layers)
        planned += len(specs) * sum(layer.parameters for layer in outcome.layers)
    return {
        "layers": layers,
        "parameters": parameters,
        "parameters_planned": planned,
        "fraction": planned / parameters if parameters else 0.0,
    }


def _kinds(outcomes: Iterable[tuple[Outcome, list[TensorSpec]]]) -> dict[str, int]:
    kinds: Counter[str] = Counter()
    for outcome, specs in outcomes:
        for layer in outcome.layers:
            kinds[str(layer.kind)] += len(specs)
    return dict(kinds.most_common())


def _layer(layer: Layer) -> dict[str, Any]:
    return {
        "kind": str(layer.kind),
        "view": layer.view,
        "shape": list(layer.shape),
        "matrices": layer.matrices,
    }


def _indented(document: Mapping[str, Any]) -> str:
    """Return an object of the list of tensors as text."""
    lines = json.dumps(document, allow_nan=False, indent=2).replace("\n", "\n    ")
    return f"    {lines}"


def _encoding(encoding: Encoding) -> dict[str, Any]:
    return {
        "scheme": encoding.scheme,
        "dtype": encoding.dtype,
        "block": None if encoding.block is None else list(encoding.block),
        "bits": encoding.bits,
        "parts": list(encoding.parts),
    }


def _role(role: Role) -> dict[str, Any]:
    return {
        "use": str(role.use),
        "axes": role.axes,
        "parts": [list(part) for part in role.parts],
        "reason": role.reason,
    }


def _largest(totals: Iterable[tuple[Key, _Total]]) -> list[tuple[Key, _Total]]:
    return sorted(totals, key=lambda item: (-item[1].parameters, -item[1].tensors, str(item[0])))
