"""Files of a model that were not read, as entries of what a report lists as not analysed."""

from __future__ import annotations

from collections.abc import Iterator

from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.matrices.refusals import NotAnalysed
from rmtaudit.matrices.skips import Skip, SkipReason
from rmtaudit.matrices.tensors import TensorSpec

_USUAL_BYTES = 4.0


def unread_entries(checkpoint: Checkpoint) -> Iterator[NotAnalysed]:
    """Yield an entry for every unread file, with as many parameters as its size suggests.

    Their number is not known: it is the size of the file over the mean bytes that a parameter takes in the
    rest of the model, so that the share of what was analysed is not that of what could be opened.

    Parameters
    ----------
    checkpoint
        The opened checkpoint.
    """
    if not checkpoint.unread:
        return
    stored = [spec for spec in checkpoint.tensors if spec.nbytes and spec.encoding is None]
    parameters = sum(spec.parameters for spec in stored)
    width = sum(spec.nbytes for spec in stored) / parameters if parameters else _USUAL_BYTES
    for file in checkpoint.unread:
        count = round(file.nbytes / width)
        estimate = f"; about {count:,} parameters by its size" if count else ""
        spec = TensorSpec(name=file.name, shape=(count,), dtype="unknown", unreadable=file.problem)
        skip = Skip.of(SkipReason.NOT_READ, problem=f"{file.problem}{estimate}")
        yield NotAnalysed(spec=spec, skip=skip, weight=False)
