"""Each layer edited in memory, and the distance to what it was."""

from __future__ import annotations

from typing import Any

from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.engine.edits import Edit, check_edit, described, edited
from rmtaudit.engine.resources.memory import free_memory
from rmtaudit.errors import CorruptError, NothingAuditableError
from rmtaudit.matrices.layers import LayerKind
from rmtaudit.matrices.plan import plan_layers
from rmtaudit.report.derivations import EditedLayer, Version, Whatif, WhatifHeader, WhatifSubject
from rmtaudit.version import installed_version

_WORK = 64
"""Bytes an entry that the edit and the two spectra take in float64: measured, rounded up."""


def preview(checkpoint: Checkpoint, edit: Edit) -> dict[str, Any]:
    """Return, as a document, how far an edit would take every weight matrix, the furthest first.

    Distortion is not harm: which layer's edit costs a model most is not in its weights alone.

    Parameters
    ----------
    checkpoint
        Opened; it stays open, and nothing is written.
    edit
        What would be done to every weight matrix.

    Raises
    ------
    UsageError
        RA-US-814: the edit has no such scheme, or a number outside what it may be.
    NothingAuditableError
        RA-NA-011: there is no weight matrix that can be read.
    """
    from rmtaudit.kernels.difference.distortion import distortion

    check_edit(edit)
    plan = plan_layers(checkpoint.tensors, config=checkpoint.config)
    rows: list[EditedLayer] = []
    left_out: list[str] = []
    budget = free_memory() // 2
    for layer in plan.layers:
        if layer.kind is LayerKind.ADAPTER or _WORK * layer.parameters > budget:
            left_out.append(layer.name)
            continue
        try:
            if layer.band is None:
                stored = tuple(checkpoint.read(name) for name in layer.tensors)
            else:
                stored = tuple(checkpoint.read_band(name, *layer.band) for name in layer.tensors)
        except CorruptError:
            left_out.append(layer.name)
            continue
        matrices = layer.build(tuple(each if each.element_size() >= 4 else each.float() for each in stored))
        for index, weight in enumerate(matrices):
            if not bool(weight.isfinite().all()):
                left_out.append(layer.name)
                break
            result = distortion(weight, edited(weight, edit))
            rows.append(
                EditedLayer(
                    name=layer.name if len(matrices) == 1 else f"{layer.name}[{index}]",
                    shape=list(weight.shape),
                    parameters=weight.numel(),
                    relative_error=result.relative_error,
                    spectral_error=result.spectral_error,
                    kept=result.kept,
                )
            )
    if not rows:
        raise NothingAuditableError(
            "RA-NA-011", "No weight matrix could be edited and compared.", where=str(checkpoint.path)
        )
    rows.sort(key=lambda row: (-row.relative_error, row.name))
    return Whatif(
        schema=WhatifHeader(),
        tool=Version(version=installed_version()),
        subject=WhatifSubject(path=str(checkpoint.path), format=checkpoint.format),
        edit=described(edit),
        layers=rows,
        left_out=left_out,
    ).to_dict()
