"""What is read together in a scan, and how much memory it takes."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from rmtaudit.engine.resources.memory_size import format_bytes
from rmtaudit.engine.scan.worker import LayerWork, NoSpectrum
from rmtaudit.matrices.layers import Layer
from rmtaudit.matrices.plan import LayerPlan
from rmtaudit.matrices.skips import Skip, SkipReason
from rmtaudit.matrices.tensors import ITEMSIZE, TensorSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Layers that are read together, by their place in the plan: the same tensors, the same band.

    ``size`` is what their analysis takes, ``stored`` the tensors alone; ``no_spectrum`` says why they are
    analysed without a spectrum.
    """

    indices: tuple[int, ...]
    tensors: tuple[str, ...]
    band: tuple[int, int] | None
    size: int
    stored: int
    no_spectrum: NoSpectrum | None = None


def jobs_of(
    plan: LayerPlan, specs: Mapping[str, TensorSpec], work: LayerWork, excluded: Collection[int] = ()
) -> Iterator[Job]:
    """Yield the layers of a plan, those together that take the same band of the same tensors.

    Parameters
    ----------
    plan
        What is to be analysed.
    specs
        The tensors of the checkpoint, by name.
    work
        The analyzers and the solver, which say how much memory a layer takes.
    excluded
        Places in the plan of layers that are left out.
    """
    groups: dict[tuple[tuple[str, ...], tuple[int, int] | None], list[int]] = {}
    for index, layer in enumerate(plan.layers):
        if index not in excluded:
            groups.setdefault((layer.tensors, layer.band), []).append(index)
    analyzers = work.analyzers_for(spectrum=True)
    with_matrix = any("matrix" in analyzer.needs for analyzer in analyzers)
    for (tensors, band), indices in groups.items():
        layers = [plan.layers[index] for index in indices]
        stored = sum(_stored_size(specs[name], band) for name in tensors)
        if work.needs_spectra:
            size = max(_working_size(layer, work, with_matrix) for layer in layers)
        else:
            sizes = (each.working_bytes(*layer.shape) for each in analyzers for layer in layers)
            size = max(sizes, default=0)
        yield Job(indices=tuple(indices), tensors=tensors, band=band, size=stored + size, stored=stored)


def _stored_size(spec: TensorSpec, band: tuple[int, int] | None) -> int:
    """Return the bytes of a tensor, or of its band, as read and (below 4 bytes an item) upcast to float32."""
    size = spec.nbytes if ITEMSIZE[spec.dtype] >= 4 else spec.nbytes + 4 * spec.parameters
    if spec.encoding is not None:
        size += math.ceil(spec.parameters * spec.encoding.bits / 8)  # the codes, while they are decoded
    return size if band is None else size * (band[1] - band[0]) // spec.shape[0]


def _working_size(layer: Layer, work: LayerWork, with_matrix: bool) -> int:
    """Return the bytes that the analysis of a layer takes in addition to its tensors."""
    rows, cols = layer.shape
    gram = 8 * min(rows, cols) ** 2
    dense = 8 * rows * cols
    if work.solver == "svd":
        return 3 * dense
    return gram + (dense + gram if with_matrix else 0)


def within_budget(job: Job, plan: LayerPlan, work: LayerWork, budget: int) -> Job | Skip:
    """Return a job as it is carried out within a budget of bytes.

    Where a spectrum takes more, analyzers that need none look at the layers, as far as there is room; if none
    is left, the result is why the layers are skipped.
    """
    if job.size <= budget:
        return job
    skip = Skip.of(
        SkipReason.BEYOND_MEMORY,
        needed=format_bytes(job.size, round_up=True),
        budget=format_bytes(budget),
    )
    room = budget - job.stored
    shapes = [plan.layers[index].shape for index in job.indices]
    alone = work.analyzers_for(spectrum=False)
    sizes = [size for each in alone for shape in shapes if (size := each.working_bytes(*shape)) <= room]
    if not sizes:
        return skip
    return replace(job, size=job.stored + max(sizes), no_spectrum=NoSpectrum(skip, room))
