"""Matching by content: the matrices that names do not match, by the correlation of a sample of entries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.engine.pairs.names import Couple, Named
from rmtaudit.engine.pairs.refs import TensorRef
from rmtaudit.engine.pairs.sides import SideReader
from rmtaudit.matrices.tensors import FLOATING

if TYPE_CHECKING:
    import torch

_SIDE = 64
"""Rows and columns of the sample of a matrix, evenly spaced."""

_DEVIATIONS = 8.0
"""Standard deviations of the correlation of unrelated samples (1/sqrt(n)) that a match takes."""

_LEAST_ENTRIES = 64
"""Entries below which a sample matches by equality alone."""

_LEAST_CORRELATION = 0.25
_CROWD = 512
"""References of one shape on one side beyond which they are not compared with each other."""


def by_content(base: Checkpoint, candidate: Checkpoint, left: Named, right: Named) -> Iterator[Couple]:
    """Yield the references that are each other's best match, and a clear one.

    A sample of up to 64 x 64 entries of every matrix is centred and correlated with those of all matrices of
    the other side with the same sides in either order. Independent matrices correlate at about 1/sqrt(n).
    A copy, a cast, a quantised or fine-tuned one correlates at nearly 1.
    """
    groups: defaultdict[tuple[int, ...], tuple[list[TensorRef], list[TensorRef]]] = defaultdict(
        lambda: ([], [])
    )
    for place, refs in enumerate((left, right)):
        for ref in refs.values():
            if ref.parameters > 1 and ref.dtype in FLOATING:
                groups[tuple(sorted(ref.shape))][place].append(ref)
    readers = SideReader(base), SideReader(candidate)
    for shape, (ours, theirs) in groups.items():
        if ours and theirs and max(len(ours), len(theirs)) <= _CROWD:
            yield from _best(shape, ours, theirs, readers)


def _best(
    shape: tuple[int, ...],
    ours: list[TensorRef],
    theirs: list[TensorRef],
    readers: tuple[SideReader, SideReader],
) -> Iterator[Couple]:
    import torch

    first = torch.stack([_sample(readers[0].read(ref), ref.shape != shape) for ref in ours])
    second = torch.stack([_sample(readers[1].read(ref), ref.shape != shape) for ref in theirs])
    scores = (_centred(first) @ _centred(second).T).abs()
    if shape[0] == shape[1]:
        side = round(second.shape[1] ** 0.5)
        turned = second.reshape(-1, side, side).transpose(1, 2).reshape(len(theirs), -1)
        scores = torch.maximum(scores, (_centred(first) @ _centred(turned).T).abs())
    least = max(_LEAST_CORRELATION, _DEVIATIONS / first.shape[1] ** 0.5)
    if first.shape[1] < _LEAST_ENTRIES:
        least = 1 - 1e-6
    for index, ref in enumerate(ours):
        row = scores[index]
        best = int(row.argmax())
        if row[best] >= least and int(scores[:, best].argmax()) == index:
            yield ref, theirs[best]


def _sample(matrix: torch.Tensor, turn: bool) -> torch.Tensor:
    """Return entries at evenly spaced rows and columns, the shorter side first, as a vector of float64."""
    import torch

    values = matrix.T if turn else matrix
    if values.element_size() == 1:  # indexing is not implemented for every dtype of one byte
        values = values.float()
    down = min(_SIDE, values.shape[0])  # the shorter side: a matrix is sampled 64 x 64, a vector 1 x 4096
    across = min(_SIDE * _SIDE // down, values.shape[1])
    rows = torch.linspace(0, values.shape[0] - 1, down).round().long()
    cols = torch.linspace(0, values.shape[1] - 1, across).round().long()
    sample: torch.Tensor = values[rows][:, cols].to(torch.float64).reshape(-1).nan_to_num(0.0, 0.0, 0.0)
    return sample


def _centred(samples: torch.Tensor) -> torch.Tensor:
    moved = samples - samples.mean(dim=1, keepdim=True)
    lengths: torch.Tensor = moved.norm(dim=1, keepdim=True).clamp_min(1e-300)
    return moved / lengths
