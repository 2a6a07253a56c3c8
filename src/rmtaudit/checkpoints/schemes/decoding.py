"""A checkpoint whose quantised weights are presented as the weights that they stand for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.checkpoints.schemes import blocks_of_bytes, eight_bit, four_bit_floats, packed_integers
from rmtaudit.checkpoints.schemes.constant_codes import decoded_levels
from rmtaudit.checkpoints.schemes.modules import Facts, Module, quantised_modules
from rmtaudit.checkpoints.schemes.scheme import Decoded, Refused
from rmtaudit.checkpoints.schemes.sides import stated_inputs, stated_outputs
from rmtaudit.matrices.skips import SkipReason
from rmtaudit.matrices.tensors import Role, TensorSpec, Use
from rmtaudit.names import display_name

if TYPE_CHECKING:
    import torch

    from rmtaudit.checkpoints.levels import Levels

SCHEMES: tuple[Callable[[Module, Facts], Decoded | Refused | None], ...] = (
    packed_integers.pack_quantized,
    packed_integers.awq,
    packed_integers.gptq,
    packed_integers.mlx,
    four_bit_floats.nvfp4,
    four_bit_floats.mxfp4,
    blocks_of_bytes.bitsandbytes_4bit,
    blocks_of_bytes.hqq,
    blocks_of_bytes.quanto_int4,
    blocks_of_bytes.gemma,
    eight_bit.bitsandbytes_int8,
    eight_bit.scaled,
)
"""Every scheme that is decoded, each asked in turn."""

_NAMED: tuple[tuple[str, frozenset[str]], ...] = (
    ("AQLM", frozenset({"codes", "codebooks"})),
    ("VPTQ", frozenset({"indices", "centroids.weight"})),
    ("QuIP#", frozenset({"Qidxs"})),
    ("SpQR", frozenset({"dense_weights", "row_offsets"})),
    ("HIGGS", frozenset({"weight", "scales", "tables"})),
    ("Marlin", frozenset({"B", "s"})),
    ("SVDQuant", frozenset({"qweight", "wscales"})),
    ("EXL2", frozenset({"q_weight", "q_scale"})),
    ("EXL3", frozenset({"trellis", "suh"})),
)
"""Schemes that are not decoded, by names that they alone have together."""


@dataclass(frozen=True, slots=True)
class _Weight:
    """A module that is decoded."""

    module: Module
    decoded: Decoded

    def source(self, label: str) -> str:
        """Return the stored tensor behind a name within the module."""
        codes = self.module.codes
        return codes.name if label == self.module.label else self.module.parts[label].name


def decode_modules(checkpoint: Checkpoint) -> Checkpoint:
    """Return a checkpoint with its quantised weights decoded; the same one where no module holds codes."""
    quantisation = checkpoint.config.get("quantization_config", checkpoint.config.get("compression_config"))
    mlx = checkpoint.config.get("quantization")
    rows = {spec.name: spec.shape[0] for spec in checkpoint.tensors if len(spec.shape) == 1}
    facts = Facts(
        quantisation=quantisation if isinstance(quantisation, Mapping) else {},
        mlx=mlx if isinstance(mlx, Mapping) else {},
        metadata=checkpoint.metadata,
        read=checkpoint.read,
        outputs=lambda weight: (
            rows.get(f"{weight.removesuffix('weight')}bias") or stated_outputs(weight, checkpoint.config)
        ),
        inputs=lambda weight: stated_inputs(weight, checkpoint.config),
    )
    modules = quantised_modules(checkpoint.tensors, facts)
    return _DecodedCheckpoint(checkpoint, modules, facts) if modules else checkpoint


class _DecodedCheckpoint(Checkpoint):
    def __init__(self, inner: Checkpoint, modules: list[Module], facts: Facts) -> None:
        self._inner = inner
        self._weights: dict[str, _Weight] = {}
        taken = {spec.name for spec in inner.tensors}
        instead: dict[str, TensorSpec] = {}
        refused: Counter[str] = Counter()
        doubts: Counter[str] = Counter()
        for module in modules:
            answer = _answer(module, facts)
            if isinstance(answer, Refused):
                refused[answer.reason] += 1
                instead[module.codes.name] = replace(
                    module.codes, unreadable=f"quantised ({answer.reason})", skip=SkipReason.QUANTISED
                )
                scheme = answer.reason
            else:
                name = (
                    module.name
                    if module.name == module.codes.name or module.name not in taken
                    else module.codes.name
                )
                self._weights[name] = _Weight(module, answer)
                instead[module.codes.name] = TensorSpec(
                    name=name, shape=answer.shape, dtype="float32", encoding=answer.encoding
                )
                scheme = answer.encoding.scheme
                doubts[answer.warning] += 1
            for part in module.parts.values():
                reason = f"part of a quantised weight ({scheme})"
                skip = SkipReason.QUANTISATION_PARAMETER
                role = Role(use=Use.NONE, reason=reason, counted=False, skip=skip)
                instead[part.name] = replace(part, role=role)
        self.path: Path | str = inner.path
        self.format = inner.format
        self.tensors = tuple(instead.get(spec.name, spec) for spec in inner.tensors)
        self.config = inner.config
        self.adapter_config = inner.adapter_config
        self.metadata = inner.metadata
        self.warnings = (
            *inner.warnings,
            *(
                f"{count} quantised {'weight' if count == 1 else 'weights'} not decoded: "
                f"{display_name(reason, longest=200)}"
                for reason, count in refused.items()
            ),
            *(doubt for doubt in doubts if doubt),
        )

    def read(self, name: str) -> torch.Tensor:
        """Return the values of one tensor, decoded where it is a quantised weight."""
        weight = self._weights.get(name)
        if weight is None:
            return self._inner.read(name)
        answer = weight.decoded
        return answer.decode(
            {label: self._inner.read(weight.source(label)) for label in answer.takes}
        ).contiguous()

    def read_band(self, name: str, start: int, stop: int) -> torch.Tensor:
        """Return a range of the first side of one tensor."""
        weight = self._weights.get(name)
        if weight is None:
            return self._inner.read_band(name, start, stop)
        answer = weight.decoded
        if not answer.banded:
            return self.read(name)[start:stop]
        bands = {label: self._inner.read_band(weight.source(label), start, stop) for label in answer.takes}
        return answer.decode(bands).contiguous()

    def levels(self, name: str) -> Levels | None:
        """Return the levels of a quantised weight, from what its decoder makes of constant codes."""
        weight = self._weights.get(name)
        if weight is None:
            return self._inner.levels(name)
        answer = weight.decoded
        tensors = {label: self._inner.read(weight.source(label)) for label in answer.takes}
        return decoded_levels(answer, weight.module.label, tensors)

    def position(self, name: str) -> tuple[str, int] | None:
        """Return the file and the position of the first byte of a tensor that is not decoded."""
        return None if name in self._weights else self._inner.position(name)

    def check_unchanged(self) -> None:
        """Raise ``ChangedError`` if a file changed since it was opened."""
        self._inner.check_unchanged()

    def close(self) -> None:
        """Close the checkpoint that was decoded, and take over what it says at its end."""
        before = len(self._inner.warnings)
        self._inner.close()
        self.warnings = (*self.warnings, *self._inner.warnings[before:])


def _answer(module: Module, facts: Facts) -> Decoded | Refused:
    labels = {module.label, *module.parts}
    for name, signature in _NAMED:
        if signature <= labels:
            return Refused(name)
    for scheme in SCHEMES:
        answer = scheme(module, facts)
        if answer is not None:
            return answer
    return Refused(f"unknown: {module.seen}")
