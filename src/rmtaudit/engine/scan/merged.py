"""An adapter with its base: what a scan sees in addition to the updates are the merged weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.errors import UsageError
from rmtaudit.matrices.adapter_bases import PREFIXES
from rmtaudit.matrices.adapter_merge import Merge, Merges, find_merges, without_update
from rmtaudit.matrices.layers import ConvPolicy, Layer
from rmtaudit.matrices.plan import LayerPlan, plan_layers
from rmtaudit.matrices.refusals import NotAnalysed
from rmtaudit.matrices.skips import Skip, SkipReason
from rmtaudit.matrices.tensors import TensorSpec
from rmtaudit.names import display_name
from rmtaudit.report.provenance import Base

if TYPE_CHECKING:
    import torch


_OF_NAMES = "Give the model that the adapter was trained on, under the names that it had at that time."
_OF_GGUF = (
    "A GGUF base has the names of llama.cpp, and permuted rows of q and k. Give the model that the adapter "
    "was trained on, or convert the adapter with llama.cpp: python convert_lora_to_gguf.py --base MODEL "
    "ADAPTER"
)


class MergedCheckpoint(Checkpoint):
    """The tensors of an adapter, then the weights of its base with the updates added.

    Parameters
    ----------
    adapter, base
        Both stay open; this object closes neither.
    conv
        How a convolution becomes matrices.

    Attributes
    ----------
    plan
        The layers of the adapter, then those of the merged weights. Layers of the base without an update, and
        updates that could not be merged, are listed as skipped.

    Raises
    ------
    UsageError
        RA-US-202: the first is no adapter, or none of its updates belongs to a weight of the base.
    """

    def __init__(self, adapter: Checkpoint, base: Checkpoint, *, conv: ConvPolicy) -> None:
        self.adapter, self.base = adapter, base
        self.path, self.format = adapter.path, adapter.format
        self.config, self.adapter_config = adapter.config, adapter.adapter_config
        # A weight may be merged under one of its names alone: the other keeps the values of the base.
        specs = tuple(replace(spec, alias=None) for spec in base.tensors)
        flattened = plan_layers(specs, config=base.config)
        self.merges = find_merges(
            adapter.tensors, specs, flattened, adapter_config=adapter.adapter_config, config=base.config
        )
        self._check()
        self._merged = {merge.name: merge for merge in self.merges.merged}
        planned = flattened if conv == "flattened" else plan_layers(specs, conv=conv, config=base.config)
        own = plan_layers(
            adapter.tensors, conv=conv, config=adapter.config, adapter_config=adapter.adapter_config
        )
        merged = tuple(layer for merge in self.merges.merged for layer in _layers_of(merge, planned))
        skipped = (*_unmerged(self.merges), *_without_update(planned, self.merges, adapter, specs))
        self.plan = LayerPlan((*own.layers, *merged), (*own.skipped, *skipped), own.shared)
        self.tensors = (
            *adapter.tensors,
            *(_spec_of(merge) for merge in self.merges.merged),
            *(each.spec for each in skipped),
        )

    def _check(self) -> None:
        if self.merges.merged:
            return
        where = display_name(str(self.adapter.path))
        if not self.merges.unmerged:
            raise UsageError(
                "RA-US-202",
                "The adapter holds no low-rank update, so there is nothing to merge with --base.",
                hint="Give the adapter as PATH and the model that it was trained on as --base.",
                where=where,
            )
        problems = list(dict.fromkeys(each.problem for each in self.merges.unmerged))
        first = self.merges.unmerged[0]
        raise UsageError(
            "RA-US-202",
            f"None of its {len(self.merges.unmerged)} updates can be merged with the base: "
            f"{display_name(first.name)}: {problems[0]}.",
            hint=_OF_GGUF if self._only_base_is_gguf() else _OF_NAMES,
            where=where,
        )

    def _only_base_is_gguf(self) -> bool:
        return self.base.format.startswith("gguf") and not self.adapter.format.startswith("gguf")

    def read(self, name: str) -> torch.Tensor:
        """Return a tensor of the adapter, or a merged weight (see :meth:`Checkpoint.read`)."""
        merge = self._merged.get(name)
        if merge is None:
            return self.adapter.read(name)
        return merge.apply(self.base.read(merge.base.name), self.adapter.read)

    def read_band(self, name: str, start: int, stop: int) -> torch.Tensor:
        """Return a range of the first side of one tensor."""
        if name in self._merged:
            return self.read(name)[start:stop].clone()
        return self.adapter.read_band(name, start, stop)

    def position(self, name: str) -> tuple[str, int] | None:
        """Return where a tensor of the adapter begins; a merged weight is in no file."""
        return None if name in self._merged else self.adapter.position(name)

    def check_unchanged(self) -> None:
        """Raise ``ChangedError`` if a file of the adapter or of the base changed."""
        self.adapter.check_unchanged()
        self.base.check_unchanged()

    def close(self) -> None:
        """Close nothing: both were opened by the caller."""

    def facts(self) -> Base:
        """Return what the report says of the base."""
        return {
            "path": str(self.base.path),
            "format": self.base.format,
            "parameters": sum(spec.parameters for spec in self.base.tensors),
            "merged": len(self.merges.merged),
            "not_merged": len(self.merges.unmerged),
            "without_update": sum(each.skip.reason is SkipReason.NO_UPDATE for each in self.plan.skipped),
            "warnings": list(self.base.warnings),
        }


def _layers_of(merge: Merge, planned: LayerPlan) -> Iterator[Layer]:
    spec = _spec_of(merge)
    for layer in planned.layers:
        if layer.tensor == merge.base.name:
            yield replace(
                layer,
                name=f"{merge.name}{layer.name.removeprefix(layer.tensor)}",
                tensor=merge.name,
                tensors=(merge.name,),
                view=f"{layer.view}; {merge.words}",
                dtype=spec.dtype,
            )


def _spec_of(merge: Merge) -> TensorSpec:
    dtype = "float64" if merge.base.dtype == "float64" else "float32"
    return replace(merge.base, name=merge.name, dtype=dtype, alias=None)


def _unmerged(merges: Merges) -> Iterator[NotAnalysed]:
    for each in merges.unmerged:
        skip = Skip.of(SkipReason.NOT_MERGED, problem=each.problem)
        spec = TensorSpec(name=each.name, shape=each.shape, dtype="float32", unreadable=each.problem)
        yield NotAnalysed(spec=spec, skip=skip, weight=True)


def _without_update(
    planned: LayerPlan, merges: Merges, adapter: Checkpoint, specs: tuple[TensorSpec, ...]
) -> Iterator[NotAnalysed]:
    by_name = {spec.name: spec for spec in specs}
    replaced = {PREFIXES.sub("", spec.name, count=1) for spec in adapter.tensors}
    for name in without_update(planned.layers, merges):
        how = (
            "the adapter has a weight of its own for it"
            if name in replaced
            else "the adapter leaves it as it is"
        )
        skip = Skip.of(SkipReason.NO_UPDATE, how=how)
        spec = replace(by_name[name], name=f"base:{name}", alias=None, unreadable="no update")
        yield NotAnalysed(spec=spec, skip=skip, weight=False, counted=False)
