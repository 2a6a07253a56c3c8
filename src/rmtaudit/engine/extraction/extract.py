"""The change from a base to a candidate, factored module by module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.engine.merging.rounding import rounding_of
from rmtaudit.engine.pairs import Layout, Pair, PairReader, paired
from rmtaudit.engine.pairs.levels import LevelReader
from rmtaudit.errors import CorruptError, NothingAuditableError
from rmtaudit.kernels.edits.factors import Factors, update_factors
from rmtaudit.matrices.fused import architecture, stores_inputs_first
from rmtaudit.matrices.layers import LayerKind
from rmtaudit.report.derivations import AdapterExtraction, ExtractionHeader, ModuleUpdate, Version
from rmtaudit.version import installed_version

if TYPE_CHECKING:
    import torch

_WORK = 64
"""Bytes an entry that a singular value decomposition in float64 takes: measured, rounded up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractedUpdate:
    """The update of one module.

    Attributes
    ----------
    module
        Name of the module in the base.
    shape
        Outputs and inputs.
    rank, resolved
        The rank of the factors, and the number of singular values above the edge of the rounding.
    relative_change, relative_error
        Frobenius norms: of the update over the base's weight, and of what the factors leave over the update.
    """

    module: str
    shape: tuple[int, int]
    rank: int
    resolved: int
    relative_change: float
    relative_error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """An adapter and what it leaves out.

    Attributes
    ----------
    updates
        Of every module that changed, in the order of the base.
    factors
        The tensors of the adapter, by their names in PEFT.
    inputs_first
        Whether the base stores its weights inputs first, as GPT-2 does.
    unchanged
        Number of modules without a change beyond rounding.
    left_out
        Names of tensors that changed and that an adapter does not hold: norms, biases, convolutions,
        embeddings.
    """

    updates: tuple[ExtractedUpdate, ...]
    factors: Mapping[str, torch.Tensor]
    inputs_first: bool
    unchanged: int
    left_out: tuple[str, ...]

    def document(self, base: str, candidate: str, out: str) -> dict[str, Any]:
        """Return the result as a document of strict JSON."""
        return AdapterExtraction(
            schema=ExtractionHeader(),
            tool=Version(version=installed_version()),
            base=base,
            candidate=candidate,
            adapter=out,
            parameters=sum(tensor.numel() for tensor in self.factors.values()),
            unchanged=self.unchanged,
            left_out=list(self.left_out),
            updates=[
                ModuleUpdate(
                    module=update.module,
                    shape=list(update.shape),
                    rank=update.rank,
                    resolved=update.resolved,
                    relative_change=update.relative_change,
                    relative_error=update.relative_error,
                )
                for update in self.updates
            ],
        ).to_dict()


def extract_adapter(
    base: Checkpoint, candidate: Checkpoint, *, rank: int | None = None, seed: int = 0
) -> Extraction:
    """Return the change of every dense weight as two factors.

    Parameters
    ----------
    base, candidate
        Opened checkpoints; they stay open.
    rank
        The rank of every update; ``None`` for the number of singular values above the rounding of the
        candidate's storage, module by module.
    seed
        Of the draws of rounding noise.

    Raises
    ------
    NothingAuditableError
        RA-NA-010: no dense weight that both have has changed beyond rounding.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    specs = {spec.name: spec for spec in base.tensors}
    known = architecture(specs, base.config)
    updates: list[ExtractedUpdate] = []
    factors: dict[str, torch.Tensor] = {}
    left_out: list[str] = []
    unchanged, inputs_first = 0, False
    for pair, weight, change, room in _changes(base, candidate, left_out):
        found = update_factors(change, room, rank=rank, generator=generator)
        if found.resolved == 0 or found.rank == 0:
            unchanged += 1
            continue
        module = pair.base.spec.name.removesuffix(".weight")
        inputs_first |= stores_inputs_first(pair.base.spec, known)
        factors |= _named(module, found)
        updates.append(
            ExtractedUpdate(
                module=module,
                shape=(change.shape[0], change.shape[1]),
                rank=found.rank,
                resolved=found.resolved,
                relative_change=float(change.double().norm() / weight.double().norm()),
                relative_error=found.relative_error,
            )
        )
    if not updates:
        raise NothingAuditableError(
            "RA-NA-010",
            "No dense weight that both checkpoints contain has changed by more than rounding.",
            hint="Base and candidate must be models of one architecture, and differ.",
            where=str(candidate.path),
        )
    return Extraction(
        updates=tuple(updates),
        factors=factors,
        inputs_first=inputs_first,
        unchanged=unchanged,
        left_out=tuple(left_out),
    )


def _named(module: str, factors: Factors) -> dict[str, torch.Tensor]:
    stem = f"base_model.model.{module}"
    return {
        f"{stem}.lora_A.weight": factors.down.contiguous(),
        f"{stem}.lora_B.weight": factors.up.contiguous(),
    }


def _changes(
    base: Checkpoint, candidate: Checkpoint, left_out: list[str]
) -> Iterator[tuple[Pair, torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Yield the dense weights with their changes, outputs x inputs, and the rounding of each entry."""
    pairing = paired(base, candidate, content=False)
    reader, levels = PairReader(base, candidate, work=_WORK), LevelReader(candidate)
    for pair in pairing.pairs:
        if reader.refusal(pair) is not None:
            left_out.append(pair.name)
            continue
        try:
            _, weight, stored = reader.read(pair)
        except CorruptError:
            left_out.append(pair.name)
            continue
        wide = stored if stored.element_size() >= 4 else stored.float()
        weight = weight if weight.element_size() >= 4 else weight.float()
        if not _is_dense(pair):
            if not bool((wide == weight).all()):
                left_out.append(pair.name)
            continue
        room = rounding_of(wide, pair.candidate.dtype, levels.read(pair))
        yield pair, weight, wide - weight, room
    left_out.extend(ref.name for ref in pairing.only_candidate)


def _is_dense(pair: Pair) -> bool:
    """Whether a pair is the whole weight of a dense layer under one name."""
    layer = pair.base.layer
    return (
        layer is not None
        and layer.kind is LayerKind.DENSE
        and pair.name == pair.base.spec.name
        and pair.name.endswith(".weight")
        and len(pair.base.spec.shape) == 2
        and pair.layout in (Layout.SAME, Layout.TRANSPOSED)
    )
