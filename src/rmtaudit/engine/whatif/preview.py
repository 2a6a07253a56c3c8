"""Each layer edited in memory, and the distance to what it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.engine.resources.memory import free_memory
from rmtaudit.errors import CorruptError, NothingAuditableError, UsageError
from rmtaudit.matrices.layers import LayerKind
from rmtaudit.matrices.plan import plan_layers
from rmtaudit.report.derivations import EditedLayer, Version, Whatif, WhatifHeader, WhatifSubject
from rmtaudit.version import installed_version

if TYPE_CHECKING:
    import torch

_WORK = 64
"""Bytes an entry that the edit and the two spectra take in float64: measured, rounded up."""


@dataclass(frozen=True, slots=True)
class Quantise:
    """Round every weight to the levels of a scheme of :mod:`rmtaudit.kernels.edits.quantise`."""

    scheme: str


@dataclass(frozen=True, slots=True)
class Truncate:
    """Keep the largest singular values: a number of them, or a share of their squares."""

    rank: int | None = None
    energy: float | None = None


@dataclass(frozen=True, slots=True)
class Prune:
    """Set a share of the entries of every layer, the smallest, to 0."""

    share: float


Edit = Quantise | Truncate | Prune


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

    _check(edit)
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
            result = distortion(weight, _edited(weight, edit))
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
        edit=_described(edit),
        layers=rows,
        left_out=left_out,
    ).to_dict()


def _check(edit: Edit) -> None:
    from rmtaudit.kernels.edits.quantise import SCHEMES

    match edit:
        case Quantise(scheme=scheme):
            problem = "" if scheme in SCHEMES else f"There is no scheme {scheme!r}."
            hint = f"The schemes are {', '.join(SCHEMES)}."
        case Truncate(rank=rank, energy=energy):
            fits = (rank is None) != (energy is None)
            fits = fits and (rank is None or rank >= 1) and (energy is None or 0 < energy <= 1)
            problem = (
                "" if fits else "A truncation keeps a rank of at least 1, or an energy above 0, at most 1."
            )
            hint = "Give one of the two."
        case Prune(share=share):
            problem = "" if 0 <= share < 1 else f"A share of {share:g} of the entries cannot be pruned."
            hint = "Give a share of at least 0 and below 1."
    if problem:
        raise UsageError("RA-US-814", problem, hint=hint)


def _edited(weight: torch.Tensor, edit: Edit) -> torch.Tensor:
    from rmtaudit.kernels.edits.quantise import quantised
    from rmtaudit.kernels.edits.spectra import pruned, truncated

    match edit:
        case Quantise(scheme=scheme):
            return quantised(weight, scheme)
        case Truncate(rank=rank, energy=energy):
            return truncated(weight, rank=rank, energy=energy)
        case Prune(share=share):
            return pruned(weight, share)


def _described(edit: Edit) -> dict[str, Any]:
    match edit:
        case Quantise(scheme=scheme):
            return {"kind": "quantise", "scheme": scheme}
        case Truncate(rank=rank, energy=energy):
            return {"kind": "truncate", "rank": rank, "energy": energy}
        case Prune(share=share):
            return {"kind": "prune", "share": share}
