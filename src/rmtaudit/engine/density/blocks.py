"""From a source to the spectra of principal blocks: what a file holds, and which indices are drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from tokenize import TokenError
from typing import TYPE_CHECKING, Any

from rmtaudit.engine.density.settings import DensitySettings
from rmtaudit.engine.sources import SourceOptions, open_source
from rmtaudit.engine.sources.words import SEPARATOR, printed, split_name
from rmtaudit.errors import InputError, UsageError
from rmtaudit.names import display_name

if TYPE_CHECKING:
    import torch

    from rmtaudit.matrices.sources import MatrixSource

_BLOCK, _WHOLE, _SAMPLES = 1024, 2048, 8
"""A convention: order of a block at most, and of the largest source that is a block itself; blocks that are
drawn."""
_TEXTS = frozenset({".csv", ".tsv", ".txt"})
_LARGEST = 1 << 27
"""A convention: eigenvalues that are read at most, 1 GiB of float64."""
_LEAST, _MOST = 1e-60, 1e60
"""Fourth powers of numbers between are in the range of float64."""
_ROUNDING = 1e-12
"""A convention: asymmetry, relative to the largest entry, that sums in another order leave; some thousands of
roundings."""
_COMPARED = 1 << 30
"""Entries that are compared with the transpose: 8 GB of float64, at about 150 million entries a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """What was seen of the source.

    Attributes
    ----------
    name
        Printable.
    holds
        ``eigenvalues``, ``spectra`` or ``matrix``.
    order
        Order of the source: of the block itself where only eigenvalues are given.
    spectra
        Shape ``(R, n)``, float64, ascending.
    matrix
        The first block; ``None`` where only eigenvalues are given.
    dimension
        Of a Gram matrix, the entries of the vectors whose inner products it holds.
    moments
        Of each block: mean of the diagonal, of its squares, and of the squares off it; shape ``(R, 3)``.
    facts
        How the matrix is known to be symmetric, and how blocks were drawn: JSON values.
    """

    name: str
    holds: str
    order: int
    spectra: torch.Tensor
    matrix: torch.Tensor | None = None
    dimension: int | None = None
    moments: torch.Tensor | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Order of a block."""
        return int(self.spectra.shape[-1])


def open_file(text: str, options: SourceOptions, settings: DensitySettings) -> MatrixSource | Blocks:
    """Open what a command line names: a matrix to be closed by the caller, or spectra that were read.

    Raises
    ------
    UsageError
        RA-DE-001, RA-DE-002: the file does not say what it holds.
    RmtauditError
        As :func:`rmtaudit.matrices.samples.read_samples` and
        :func:`rmtaudit.engine.sources.open_source`.
    """
    path = split_name(text)[0]
    plain = options == SourceOptions(symmetric=options.symmetric) and SEPARATOR not in text
    holds = settings.holds
    if holds is None and plain and path.is_file():
        if path.suffix.lower() in _TEXTS:
            raise UsageError(
                "RA-DE-001",
                "A text file may hold eigenvalues, edges or points, and this one does not state which.",
                hint="Add --holds eigenvalues, --laplacian normalised, or --kernel matern --length L.",
                where=printed(path),
            )
        if _sides(path) == 1:
            holds = "eigenvalues"
    if holds == "eigenvalues":
        from rmtaudit.matrices.samples import read_samples

        values = without_rounding(read_samples(path).sort().values)
        return Blocks(name=printed(path), holds="eigenvalues", order=len(values), spectra=values[None])
    if holds == "spectra":
        return _read_spectra(text)
    source = open_source(text, options)
    if options.symmetric is None:
        try:
            confirm_symmetry(source)
        except BaseException:
            source.close()
            raise
    if source.symmetric:
        return source
    shape, why = source.shape, source.symmetry
    source.close()
    if holds is None and plain and path.suffix.lower() == ".npy":
        raise UsageError(
            "RA-DE-002",
            f"An array of {shape[0]} x {shape[1]} ({why}) may hold spectra or the weights of a "
            "layer, and the file does not state which.",
            hint=(
                "Add --holds spectra (one in each row), or --as wwt or --as wtw for the Gram "
                "matrix of the rows or of the columns."
            ),
            where=printed(path),
        )
    raise InputError(
        "RA-DE-003",
        f"The matrix is not symmetric: {why}.",
        hint=("Use --as wwt or --as wtw for its Gram matrix, or --symmetric to use the lower triangle only."),
        where=display_name(text),
    )


def confirm_symmetry(source: MatrixSource) -> None:
    """Compare a matrix with its transpose, all of it where that takes seconds, and tell the source.

    Products of matrices are symmetric to a few ulps; that counts as symmetric, since blocks are averaged with
    their mirrors. Beyond ``2**30`` entries symmetry stays a presumption from samples, and its words say so.
    """
    from rmtaudit.matrices.sources import Reach, settle_symmetry
    from rmtaudit.matrices.sources.comparison import compare_whole
    from rmtaudit.matrices.sources.symmetry import Ground, Symmetry

    small = source.shape[0] ** 2 <= _COMPARED
    if source.presumed and (small or Reach.BLOCK not in source.reach):
        settle_symmetry(source)
    differs = source.square and not source.symmetric and source.ground is Ground.COMPARED
    if differs and _differs_by_rounding(source):
        if small and Reach.BLOCK in source.reach:
            comparison = compare_whole(source, tolerance=math.inf)
            if comparison.absolute <= _ROUNDING * comparison.largest:
                source.take_symmetry(Symmetry(True, Ground.COMPARED, "up to rounding, every pair compared"))
        else:
            source.take_symmetry(Symmetry(True, Ground.SAMPLED, "up to rounding"))
    if source.presumed:
        words = f"assumed ({source.symmetry}); --symmetric declares it"
        source.take_symmetry(Symmetry(True, source.ground, words))


def _differs_by_rounding(source: MatrixSource) -> bool:
    """Whether sampled rows and columns differ from their mirror images by rounding at most."""
    import torch

    from rmtaudit.matrices.sources import Reach

    if Reach.PRINCIPAL not in source.reach:
        return False
    generator = torch.Generator().manual_seed(0)
    block = source.principal(torch.randperm(source.shape[0], generator=generator)[:_BLOCK])
    return float((block - block.T).abs().max()) <= _ROUNDING * float(block.abs().max())


def draw_blocks(source: MatrixSource, settings: DensitySettings) -> Blocks:
    """Return the spectra of principal blocks of a symmetric source.

    Raises
    ------
    UsageError
        RA-US-504: no such blocks can be drawn.
    UnreachableError
        RA-MS-001: the source has no principal submatrices.
    """
    import torch

    from rmtaudit.engine.density.entries import entries_document, entries_of
    from rmtaudit.engine.resources.devices import chosen_device
    from rmtaudit.matrices.sources.arrays import check_finite

    order = source.shape[0]
    device = chosen_device(settings.device)
    size = block_order(order, settings)
    count = settings.samples or (1 if size == order else _SAMPLES)
    _refuse(order, size, settings)
    generator = torch.Generator().manual_seed(settings.seed)
    spectra, moments = [], []
    first: torch.Tensor | None = None
    for indices in _draw(order, size, count, settings, generator):
        block = source.principal(indices)
        check_finite(source.name, block)
        if source.presumed and not float((block - block.T).abs().max()) <= _ROUNDING * float(
            block.abs().max()
        ):
            raise InputError(
                "RA-DE-003",
                "The matrix is not symmetric: a block of it differs from its transpose.",
                hint="Use --as wwt or --as wtw for its Gram matrix.",
                where=source.name,
            )
        check_range(float(block.abs().max()), source.name)
        block = (block + block.T) / 2
        first = block if first is None else first
        spectra.append(_eigenvalues(block.to(device), semidefinite=source.semidefinite))
        moments.append(_entries(block))
    gram = source.known().gram
    dimension = None if gram is None else gram.factor.shape[0 if gram.of == "columns" else 1]
    facts = {
        "symmetric": source.symmetry,
        "symmetry_assumed": source.presumed,
        "sampling": "whole" if size == order else settings.sampling,
        "block_size": settings.block_size,
        "rounding": entries_document(entries_of(source)),
    }
    return Blocks(
        name=source.name,
        holds="matrix",
        order=order,
        spectra=torch.stack(spectra),
        matrix=first,
        dimension=dimension,
        moments=torch.tensor(moments),
        facts=facts,
    )


def check_range(largest: float, where: str) -> None:
    """Raise ``InputError`` RA-DE-006 where powers of the largest eigenvalue or entry leave float64."""
    if 0 < largest < _LEAST or not largest <= _MOST:
        raise InputError(
            "RA-DE-006",
            f"The largest entry of the block is {largest:.3g}: its powers leave the range of float64.",
            hint="Divide the matrix by its largest entry.",
            where=where,
        )


def block_order(order: int, settings: DensitySettings) -> int:
    """Return the order of a block: the one asked for, else of a target within the source at most half of it.

    Beyond the source the whole of it is the block, up to 2048; blocks are of 1024 at most otherwise, and of
    whole runs with ``--sampling blocks``.
    """
    if settings.sample is not None:
        size = settings.sample
    else:
        target = target_order(order, settings)
        size = order if target > order and order <= _WHOLE else min(_BLOCK, order, max(1, target // 2))
    if settings.block_size is not None and settings.sample is None:
        size -= size % settings.block_size
    return size


def target_order(order: int, settings: DensitySettings) -> int:
    """Return the order of the larger matrix."""
    if settings.size is not None:
        return settings.size
    return order if settings.factor is None else round(order * settings.factor)


def _refuse(order: int, size: int, settings: DensitySettings) -> None:
    run = settings.block_size
    problem = ""
    if not 1 <= size <= order:
        problem = f"blocks of order {size} cannot be drawn from a matrix of order {order}"
    elif settings.sampling == "paired" and 2 * size > order:
        problem = f"two blocks of order {size} without a common index need more than {order} indices"
    elif run is not None and (size % run or size // run > order // run or run > size):
        problem = (
            f"a block of order {size} is not a whole number of runs of {run}, or the matrix has too few runs"
        )
    elif settings.samples is not None and settings.samples > 1 and size == order:
        problem = "the block is the whole matrix, so there is only one"
    if problem:
        raise UsageError("RA-US-504", f"{problem[0].upper()}{problem[1:]}.", hint="Change --sample.")


def _draw(
    order: int, size: int, count: int, settings: DensitySettings, generator: torch.Generator
) -> list[torch.Tensor]:
    import torch

    if size == order:
        return [torch.arange(order)]
    if settings.block_size is not None:
        run = settings.block_size
        starts = [torch.randperm(order // run, generator=generator)[: size // run] for _ in range(count)]
        within = torch.arange(run)
        return [(one.sort().values[:, None] * run + within).reshape(-1) for one in starts]
    if settings.sampling == "paired":
        halves = []
        for _ in range((count + 1) // 2):
            both = torch.randperm(order, generator=generator)
            halves += [both[:size].sort().values, both[size : 2 * size].sort().values]
        return halves[:count]
    return [torch.randperm(order, generator=generator)[:size].sort().values for _ in range(count)]


def without_rounding(values: torch.Tensor) -> torch.Tensor:
    """Return ascending eigenvalues, shape ``(..., n)``, with 0 for those below ``n eps max|λ|``.

    A backward-stable solver moves a zero by no more: what is left of it is rounding, of either sign.
    """
    import torch

    if not values.shape[-1]:
        return values
    rounding = values.shape[-1] * torch.finfo(torch.float64).eps * values.abs().amax(-1, keepdim=True)
    return torch.where(values.abs() <= rounding, 0.0, values)


def _eigenvalues(block: torch.Tensor, *, semidefinite: bool) -> torch.Tensor:
    import torch

    values = without_rounding(torch.linalg.eigvalsh(block).cpu())
    return values.clamp(min=0) if semidefinite else values


def _entries(block: torch.Tensor) -> list[float]:
    n = len(block)
    diagonal = block.diagonal()
    squares = float((diagonal**2).sum())
    off = (float((block**2).sum()) - squares) / max(1, n * (n - 1))
    return [float(diagonal.mean()), squares / n, off]


def _read_spectra(text: str) -> Blocks:
    source = open_source(text, SourceOptions(symmetric=False))
    try:
        rows, cols = source.shape
        if rows * cols > _LARGEST:
            raise InputError(
                "RA-DE-004", f"{rows} spectra of {cols} eigenvalues are too many to read.", where=text
            )
        values = source.dense()
    finally:
        source.close()
    return Blocks(
        name=source.name, holds="spectra", order=cols, spectra=without_rounding(values.sort(-1).values)
    )


def _sides(path: Path) -> int:
    """Return the number of sides of the array in a numpy file; 0 for what is none, or a broken one."""
    import numpy as np

    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            if version == (1, 0):
                return len(np.lib.format.read_array_header_1_0(file)[0])
            return len(np.lib.format.read_array_header_2_0(file)[0]) if version == (2, 0) else 0
    except (OSError, ValueError, EOFError, SyntaxError, TypeError, MemoryError, RecursionError, TokenError):
        return 0
