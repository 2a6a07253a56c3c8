"""What the kernels find in one layer, gathered before observations are made of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from rmtaudit.analyzers.forensics.injuries import Injuries, gather_injuries
from rmtaudit.kernels.forensics.bitflips import FlippedBits, flipped_bits
from rmtaudit.kernels.forensics.bytes import ByteFacts, byte_facts
from rmtaudit.kernels.forensics.codebooks import CodeBook
from rmtaudit.kernels.forensics.duplicates import duplicated_rows
from rmtaudit.kernels.forensics.grids import Grid
from rmtaudit.kernels.forensics.outliers import OutlierTest, largest_entries
from rmtaudit.kernels.forensics.quantisation import quantisation
from rmtaudit.kernels.forensics.ranks import RankDeficit, explained_deficit, rank_deficit
from rmtaudit.kernels.forensics.rounding import rounded_to
from rmtaudit.kernels.forensics.samples import repeats
from rmtaudit.kernels.forensics.schemes import quantisation_scheme
from rmtaudit.kernels.forensics.sparsity import ZeroPattern, zero_pattern
from rmtaudit.kernels.forensics.survey import Survey, survey
from rmtaudit.kernels.forensics.truncation import lost_directions
from rmtaudit.kernels.forensics.vectors import localised_direction
from rmtaudit.kernels.spectra.scale import frobenius_norm
from rmtaudit.matrices.layers import Layer, LayerKind
from rmtaudit.matrices.tensors import FLOATING, UNIT_ROUNDOFF

if TYPE_CHECKING:
    from rmtaudit.analyzers.base import LayerInput

SUSPICIOUS = 0.01
"""P-value of the entry-outlier test at which an observation is made, with the singular vector pulled."""

LOUD = 0.25
"""Share of the squared Frobenius norm in one entry at which one is made likewise."""

_LOUD_ENTRIES = 1024
_COARSE = 2.0**-6
_ORDINARY = (1e-12, 1e12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loud:
    """One entry that carries much of the layer, and the singular direction it makes."""

    position: tuple[int, int]
    value: float
    share: float
    sigma: float
    localisation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything found in a layer that is not zero; ``None`` where a test does not apply or finds nothing.

    ``scheme`` names what ``grid`` or ``book`` belongs to. ``coarse``: the entries were rounded so coarsely
    (fp8) that their distribution is that of the format.
    Positions are those in ``entries``: the matrices of a pooled layer side by side.
    """

    rms: float
    facts: ByteFacts
    zeros: ZeroPattern
    rounded: str | None
    coarse: bool
    grid: Grid | None
    book: CodeBook | None
    scheme: str | None
    injuries: Injuries | None
    copied_rows: tuple[tuple[int, ...], ...]
    copied_columns: tuple[tuple[int, ...], ...]
    deficits: tuple[tuple[int, RankDeficit], ...]
    outliers: OutlierTest | None
    loud: Loud | None


def gather(given: LayerInput) -> Evidence:
    """Run every test that applies to a layer with at least one entry that is not zero."""
    entries = given.matrices[0] if len(given.matrices) == 1 else torch.cat(given.matrices, dim=1)
    stored = given.layer.dtype if given.layer.dtype in FLOATING else "float64"
    known = survey(entries)
    facts = byte_facts(entries, stored, known)
    true_entries = as_stored(given.layer)
    rounded = rounded_to(entries, stored) if true_entries else None
    epsilon, smallest_normal = _precision(given, stored, rounded)
    varied = facts.constant is None
    flipped = flipped_bits(entries, facts.largest, rounded or stored) if true_entries else None
    # What else there is to see is seen as it was before the bits flipped.
    usual = entries if flipped is None else _restored(entries, flipped)
    scale = _power_of_two(facts.largest if flipped is None else float(usual.abs().max()))
    work = usual if scale == 1 else usual.double() / scale
    if work is not entries:
        known = survey(work)
    zeros = zero_pattern(work, known)
    coarse = epsilon > _COARSE
    continuous = true_entries and varied and not coarse
    sample = repeats(work)
    grid, book = (
        quantisation(work, sample, epsilon=epsilon, smallest_normal=smallest_normal / scale)
        if continuous
        else (None, None)
    )
    scheme = quantisation_scheme(work, grid or book, epsilon=epsilon, smallest_normal=smallest_normal / scale)
    injuries = None
    if true_entries and varied and len(given.matrices) == 1:
        injuries = gather_injuries(
            work,
            scale,
            known=known,
            flipped=flipped,
            quantised=grid is not None or book is not None,
            coarse=coarse,
            zero_share=zeros.zeros / zeros.entries,
        )
    copied_rows = duplicated_rows(work, sample) if true_entries and varied else ()
    copied_columns = duplicated_rows(work.T, sample) if true_entries and varied else ()
    outliers = largest_entries(work, known) if continuous else None
    if outliers is not None and scale != 1:
        outliers = _rescaled(outliers, scale)
    # the eigenvalues have the sum of the squares already, in float64
    rms = frobenius_norm(given.spectrum.eigenvalues) / math.sqrt(entries.numel())
    evidence = Evidence(
        rms=rms,
        facts=facts,
        zeros=zeros,
        rounded=rounded,
        coarse=coarse,
        grid=grid,
        book=book,
        scheme=scheme,
        injuries=injuries,
        copied_rows=copied_rows,
        copied_columns=copied_columns,
        deficits=(),
        outliers=outliers,
        loud=_loudest(work, known, outliers, scale, rms)
        if true_entries and varied and flipped is None
        else None,
    )
    if flipped is not None:
        return evidence  # the spectrum is that of the flipped entries
    # One entry dwarfs the others: the root mean square is no measure of their rounding errors.
    if varied and (evidence.loud is None or evidence.loud.share < LOUD):
        deficits = _deficits(given, evidence, epsilon, smallest_normal)
        return replace(evidence, deficits=deficits) if deficits else evidence
    return evidence


def _restored(entries: torch.Tensor, flipped: FlippedBits) -> torch.Tensor:
    usual = entries.clone()
    for (row, column), value in zip(flipped.positions, flipped.restored, strict=True):
        usual[row, column] = value
    return usual


def _precision(given: LayerInput, stored: str, rounded: str | None) -> tuple[float, float]:
    if rounded is not None:
        return UNIT_ROUNDOFF[rounded], float(torch.finfo(getattr(torch, rounded)).smallest_normal)
    return given.epsilon, float(torch.finfo(getattr(torch, stored)).smallest_normal)


def _power_of_two(largest: float) -> float:
    """Return what to divide by lest squares overflow or vanish in float32; 1 for ordinary sizes."""
    low, high = _ORDINARY
    return 1.0 if low < largest < high else math.ldexp(1.0, math.frexp(largest)[1])


def _rescaled(test: OutlierTest, scale: float) -> OutlierTest:
    return replace(
        test,
        values=tuple(value * scale for value in test.values),
        next_largest=test.next_largest * scale,
        largest_values=tuple(value * scale for value in test.largest_values),
    )


def _loudest(
    work: torch.Tensor, known: Survey, outliers: OutlierTest | None, scale: float, rms: float
) -> Loud | None:
    loudest = known.high if known.high > -known.low else known.low
    share = (loudest * scale / rms) ** 2 / work.numel()
    surprising = outliers is not None and outliers.p_value <= SUSPICIOUS
    if not surprising and (share < LOUD or work.numel() < _LOUD_ENTRIES):
        return None
    row, column = divmod(int((work == loudest).reshape(-1).int().argmax()), work.shape[1])
    sigma, localisation = localised_direction(work, column)
    return Loud(
        position=(row, column),
        value=loudest * scale,
        share=share,
        sigma=sigma * scale,
        localisation=localisation,
    )


def _deficits(
    given: LayerInput, evidence: Evidence, epsilon: float, smallest_normal: float
) -> tuple[tuple[int, RankDeficit], ...]:
    """Return the rank deficits that dead and copied rows and columns do not explain, by matrix."""
    deficits = []
    for index, part in enumerate(given.spectrum.parts or (given.spectrum,)):
        alone = len(given.matrices) == 1
        zeros = evidence.zeros if alone or evidence.zeros.zeros == 0 else zero_pattern(given.matrices[index])
        copies = (evidence.copied_rows, evidence.copied_columns) if alone else ((), ())
        dead = (zeros.dead_rows, zeros.dead_columns)
        alike = [sum(len(group) - 1 for group in groups) for groups in copies]
        possible = min(part.rows - len(dead[0]) - alike[0], part.cols - len(dead[1]) - alike[1])
        deficit = rank_deficit(part, possible=possible, epsilon=epsilon, smallest_normal=smallest_normal)
        if deficit is not None and as_stored(given.layer):
            matrix = _without_copies(given.matrices[index], copies)
            lost = lost_directions(matrix, epsilon=epsilon, smallest_normal=smallest_normal)
            deficit = None if lost is None else explained_deficit(part, lost)
        if deficit is not None:
            deficits.append((index, deficit))
    return tuple(deficits)


def _without_copies(
    matrix: torch.Tensor, copies: tuple[tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]]
) -> torch.Tensor:
    keep = []
    for length, groups in zip(matrix.shape, copies, strict=True):
        kept = torch.ones(length, dtype=torch.bool, device=matrix.device)
        kept[[place for group in groups for place in group[1:]]] = False
        keep.append(kept)
    return matrix[keep[0]][:, keep[1]]


def as_stored(layer: Layer) -> bool:
    """Whether the entries of the layer's matrices are stored numbers.

    Those computed from two tensors (weight norm) and the core of a low-rank adapter are not.
    """
    return len(layer.tensors) == 1 and layer.kind is not LayerKind.ADAPTER
