"""The tensors of a checkpoint and the decision on each, as a document of strict JSON.

Neither torch nor NumPy is imported, and no value is read, unless the container cannot do without.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.checkpoints.unread import unread_entries
from rmtaudit.matrices.layers import ConvPolicy, Layer
from rmtaudit.matrices.plan import LayerPlan, plan_layers
from rmtaudit.matrices.refusals import NotAnalysed
from rmtaudit.matrices.skips import label_of
from rmtaudit.matrices.tensors import Encoding, Role, TensorSpec
from rmtaudit.version import installed_version

Key = TypeVar("Key")

SCHEMA_NAME = "rmtaudit.inspect"
SCHEMA_VERSION = "1.0"
ANALYSED = "analysed"
"""The decision on a tensor that a scan makes a matrix of; for every other tensor it is a skip reason."""


@dataclass(slots=True)
class _Total:
    """Tensors and parameters of one kind."""

    tensors: int = 0
    parameters: int = 0

    def add(self, spec: TensorSpec) -> None:
        self.tensors += 1
        self.parameters += spec.parameters

    def document(self) -> dict[str, int]:
        return {"tensors": self.tensors, "parameters": self.parameters}


@dataclass(slots=True)
class _Totals:
    """Totals by dtype or scheme, by decision and its words, and by kind of layer."""

    stored: defaultdict[str, _Total] = field(default_factory=lambda: defaultdict(_Total))
    decisions: defaultdict[tuple[str, str], _Total] = field(default_factory=lambda: defaultdict(_Total))


def inspect_checkpoint(checkpoint: Checkpoint, *, conv: ConvPolicy = "flattened") -> dict[str, Any]:
    """Return what a scan would do with every tensor of an opened checkpoint.

    Constants of the architecture, copies of one weight under two names, and values that are not finite are
    recognised when values are read, so only by a scan.

    Parameters
    ----------
    checkpoint
        The opened checkpoint; it stays open.
    conv
        How a convolution becomes matrices.

    Returns
    -------
    dict
        The document ``rmtaudit.inspect`` (docs/commands/inspect.md): plain values, keys in published order.
        ``document["coverage"]["layers"]`` is 0 where a scan would find nothing to analyse.
    """
    plan = plan_layers(
        checkpoint.tensors,
        conv=conv,
        config=checkpoint.config,
        adapter_config=checkpoint.adapter_config,
    )
    unread = tuple(unread_entries(checkpoint))
    plan = replace(plan, skipped=(*plan.skipped, *unread))
    listed = (*checkpoint.tensors, *(each.spec for each in unread))
    layers: dict[str, list[Layer]] = {}
    for layer in plan.layers:
        for name in layer.tensors:
            layers.setdefault(name, []).append(layer)
    skipped = {skip.spec.name: skip for skip in plan.skipped}
    totals = _Totals()
    tensors = [_tensor(spec, layers.get(spec.name, ()), skipped.get(spec.name), totals) for spec in listed]
    return {
        "schema": {"name": SCHEMA_NAME, "version": SCHEMA_VERSION},
        "tool": {"version": installed_version(), "options": {"conv": conv}},
        "subject": {
            "path": str(checkpoint.path),
            "format": checkpoint.format,
            "tensors": len(checkpoint.tensors),
            "parameters": sum(spec.parameters for spec in checkpoint.tensors),
            "warnings": list(checkpoint.warnings),
        },
        "coverage": _coverage(listed, plan),
        "stored_as": [
            {"stored_as": label, **total.document()} for label, total in _largest(totals.stored.items())
        ],
        "decisions": [
            {"decision": decision, "label": label, **total.document()}
            for (decision, label), total in _largest(totals.decisions.items())
        ],
        "kinds": dict(Counter(str(layer.kind) for layer in plan.layers).most_common()),
        "tensors": tensors,
    }


def _coverage(tensors: Iterable[TensorSpec], plan: LayerPlan) -> dict[str, Any]:
    """Return the share of the parameters that a scan would analyse, counted as in its report."""
    excluded = sum(plan.counted(skip.spec) for skip in plan.skipped if not (skip.counted and skip.learned))
    parameters = sum(map(plan.counted, tensors)) - excluded
    planned = sum(layer.parameters for layer in plan.layers)
    return {
        "layers": len(plan.layers),
        "parameters": parameters,
        "parameters_planned": planned,
        "fraction": planned / parameters if parameters else 0.0,
    }


def _tensor(
    spec: TensorSpec, layers: Iterable[Layer], skip: NotAnalysed | None, totals: _Totals
) -> dict[str, Any]:
    decision = ANALYSED if skip is None else str(skip.skip.reason)
    reason = "" if skip is None else skip.reason
    stored_as = spec.dtype if spec.encoding is None else spec.encoding.scheme
    totals.stored[stored_as].add(spec)
    totals.decisions[decision, ANALYSED if skip is None else label_of(decision, reason)].add(spec)
    return {
        "name": spec.name,
        "shape": list(spec.shape),
        "dtype": spec.dtype,
        "parameters": spec.parameters,
        "encoding": None if spec.encoding is None else _encoding(spec.encoding),
        "role": None if spec.role is None else _role(spec.role),
        "decision": decision,
        "reason": reason,
        "layers": [
            {
                "name": layer.name,
                "kind": str(layer.kind),
                "view": layer.view,
                "shape": list(layer.shape),
                "matrices": layer.matrices,
            }
            for layer in layers
        ],
    }


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
