"""What a scheme says of a module that it knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rmtaudit.matrices.tensors import Encoding, TensorSpec

if TYPE_CHECKING:
    import torch

    from rmtaudit.checkpoints.schemes.modules import Module

Decode = Callable[[Mapping[str, "torch.Tensor"]], "torch.Tensor"]
"""From the tensors of a module, by their names within it, to the weight (float32)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """A weight that can be decoded.

    Attributes
    ----------
    shape
        Of the weight.
    decode
        Makes the weight.
    takes
        The names within the module of the tensors that ``decode`` takes; the others are not read.
    encoding
        For the report.
    banded
        Whether a range of the first side of what ``decode`` takes gives that range of the weight.
    warning
        A doubt about the result, one sentence for the whole file; ``""`` for none.
    """

    shape: tuple[int, ...]
    decode: Decode
    takes: tuple[str, ...]
    encoding: Encoding
    banded: bool = False
    warning: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a module is not decoded: the name of a scheme, or the doubt, one phrase."""

    reason: str


def encoding(
    module: Module, scheme: str, dtype: str, block: tuple[int, int] | None, weights: int
) -> Encoding:
    """Return the encoding of a module whose tensors hold ``weights`` weights."""
    stored = (module.codes, *module.parts.values())
    return Encoding(
        scheme=scheme,
        dtype=dtype,
        block=block,
        bits=8 * sum(spec.nbytes for spec in stored) / weights,
        parts=tuple(spec.name for spec in stored),
    )


def sides(spec: TensorSpec | None) -> tuple[int, ...]:
    """Return the shape of a tensor; ``()`` where there is none."""
    return () if spec is None else spec.shape
