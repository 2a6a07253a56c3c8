"""The Python API of a comparison."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Unpack

from rmtaudit.checkpoints.base import Checkpoint
from rmtaudit.engine.compare.settings import CompareKeywords, CompareSettings
from rmtaudit.engine.settings.keywords import settings_from

if TYPE_CHECKING:
    from rmtaudit.engine.pairs.opening import Target
    from rmtaudit.engine.resources.progress import Progress
    from rmtaudit.report.comparison import Comparison


def compare(
    base: Target,
    candidate: Target,
    *,
    settings: CompareSettings | None = None,
    progress: Callable[[Progress], None] | None = None,
    **keywords: Unpack[CompareKeywords],
) -> Comparison:
    """Return what happened between two checkpoints.

    Parameters
    ----------
    base, candidate
        A file or folder, an opened checkpoint, a state dict, or a module, each.
    settings
        A ready-made object, or its fields as keywords.
    progress
        Told after every pair, from any thread.
    **keywords
        Fields of ``CompareSettings``: ``metrics=False``, ``seed=1`` …

    Returns
    -------
    Comparison
        The document: a sentence, and a row for every pair of tensors. It prints as text, is a table in a
        notebook, and has ``to_pandas()``, ``to_json()`` and ``to_markdown()``.

    Raises
    ------
    InputError
        A checkpoint cannot be read.
    UsageError
        A setting does not exist.

    Examples
    --------
    >>> import torch, rmtaudit
    >>> state = {"layer.weight": torch.randn(64, 64, generator=torch.Generator().manual_seed(0))}
    >>> rmtaudit.compare(state, {"layer.weight": state["layer.weight"].bfloat16()}).summary.sentence
    'The only layer was cast to bfloat16.'
    """
    from rmtaudit.engine.compare.run import compare_checkpoints
    from rmtaudit.engine.pairs.opening import opened

    chosen = settings_from(CompareSettings, settings, keywords)
    with ExitStack() as stack:
        sides = []
        for target in (base, candidate):
            checkpoint = opened(target)
            if not isinstance(target, Checkpoint):
                stack.enter_context(checkpoint)
            sides.append(checkpoint)
        return compare_checkpoints(sides[0], sides[1], chosen, progress=progress)
