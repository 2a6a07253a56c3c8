"""Tensors, and parts of them, that hold the very values of others of the model."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch

from rmtaudit.engine.resources.digest import digest_of_values
from rmtaudit.engine.scan.jobs import Job
from rmtaudit.matrices.layers import LayerKind
from rmtaudit.matrices.plan import LayerPlan
from rmtaudit.matrices.skips import Skip, SkipReason

_PARTS = frozenset({LayerKind.ATTENTION, LayerKind.RECURRENT, LayerKind.EXPERTS})
"""Kinds of layers that share a tensor and should have learned different things. Slices of a stack may be
constants."""


def repeat_key(
    job: Job, plan: LayerPlan, tensors: tuple[torch.Tensor, ...], digest_of: Callable[[str], str]
) -> tuple[Hashable, str] | None:
    """Return what is equal for equal values, and the name of what was read; ``None`` where none is compared.

    Parts are compared within their tensor: query, key and value, gates, experts.
    """
    layer = plan.layers[job.indices[0]]
    if job.band is None:
        return tuple(digest_of(name) for name in job.tensors), job.tensors[0]
    if layer.kind in _PARTS:
        return (layer.tensor, digest_of_values(tensors[0])), layer.name
    return None


def has_two_values(values: torch.Tensor) -> bool:
    """Whether a tensor has at most two values, and is never taken for a copy of another.

    Many layers start as zeros, and identities and masks are equal by construction.
    """
    flat = values.reshape(-1)
    others = flat[flat != flat[0]]
    return bool((others == others[:1]).all())


def skip_of_repeat(job: Job, plan: LayerPlan, original: str) -> Skip:
    """Return why a job that repeats the values of ``original`` is skipped.

    It is tied where one of the two is an embedding: a head may share it, and both are stored then.
    """
    names = {original, *job.tensors}
    kinds = {layer.kind for layer in plan.layers if layer.tensor in names}
    if LayerKind.EMBEDDING in kinds:
        return Skip.of(SkipReason.TIED, what="values", original=original)
    return Skip.of(SkipReason.COPY, original=original)
