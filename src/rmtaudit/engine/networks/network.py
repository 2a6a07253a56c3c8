"""A network that runs, a batch of inputs, and the output tensor of the one for the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch

from rmtaudit.errors import InputError, UsageError
from rmtaudit.names import display_name

POSITIONAL = ""
"""Key of the input that is passed by position."""
_OUTPUTS = ("logits", "prediction_logits", "pooler_output", "last_hidden_state")
"""Fields of what a transformers model returns, in the order of preference."""
_FAILURES = (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError)
"""What a network raises that cannot run on a batch."""


class Origin(StrEnum):
    """Where a network came from."""

    HUGGING_FACE = "Hugging Face folder"
    FACTORY = "factory"
    MODULE = "torch.nn.Module"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFacts:
    """What is known of the tokens that a network reads.

    Attributes
    ----------
    vocabulary
        Number of different tokens; ``None`` where the configuration does not say.
    longest
        Longest sequence that has positions; ``None`` where it is not bounded.
    pad
        The token that fills short sequences.
    encode
        From texts to lists of token ids, cut at ``longest``, and how many were cut; ``None`` without a
        tokenizer.
    """

    vocabulary: int | None
    longest: int | None
    pad: int
    encode: Callable[[Sequence[str]], tuple[list[list[int]], int]] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Some samples, on the device and in the dtype of the network.

    Attributes
    ----------
    inputs
        Keyword arguments of the network; the key ``""`` stands for its first positional argument.
    indices
        Which samples these are.
    mask
        Which positions are not padding, bool, shape ``(samples, positions)``; ``None``: all.
    labels
        Of these samples, or ``None``.
    """

    inputs: Mapping[str, torch.Tensor]
    indices: tuple[int, ...]
    mask: torch.Tensor | None = None
    labels: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.indices)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network in evaluation mode.

    Attributes
    ----------
    module
        The network itself; its floating parameters require gradients unless it says otherwise.
    name
        Printable.
    origin
        Where it came from.
    dtype, device
        Of its parameters.
    main_input
        Keyword of the input that an unnamed array is; ``""``: the first positional argument.
    keywords
        Keywords that its ``forward`` takes; ``None``: any.
    tokens
        What is known of its tokens; ``None`` where it reads numbers.
    warnings
        Printable sentences about what is odd but not fatal.
    digest
        ``sha256:`` of names, shapes and bytes of parameters and buffers, as they are used here.
    """

    module: torch.nn.Module
    name: str
    origin: Origin
    dtype: torch.dtype
    device: torch.device
    main_input: str
    keywords: frozenset[str] | None
    tokens: TokenFacts | None
    warnings: tuple[str, ...] = ()
    digest: str = ""

    def accepts(self, keyword: str) -> bool:
        """Whether ``forward`` takes a keyword."""
        return self.keywords is None or keyword in self.keywords

    def run(self, batch: Batch) -> Any:
        """Return what the network returns for a batch, whatever that is."""
        inputs = dict(batch.inputs)
        first = [inputs.pop(POSITIONAL)] if POSITIONAL in inputs else []
        return self.module(*first, **inputs)

    def output(self, batch: Batch) -> torch.Tensor:
        """Return the output tensor for a batch: samples along its first side.

        Of a ``transformers`` model the logits, else the pooled output, else the last hidden state; of a tuple
        the first tensor.

        Raises
        ------
        UsageError
            RA-NW-013: there is none with a row for each sample.
        InputError
            RA-NW-014: the network cannot run on the batch.
        """
        try:
            returned = self.run(batch)
        except _FAILURES as error:
            module = self._failing_module(batch)
            within = f" in its module '{display_name(module)}'" if module else ""
            precision = "; some operations need --precision float32" if self.dtype is torch.float64 else ""
            raise InputError(
                "RA-NW-014",
                f"The network cannot run on these inputs{within}: {display_name(str(error), longest=300)}.",
                hint=f"Check the shape and the names of the inputs{precision}.",
                where=self.name,
            ) from error
        tensor = main_tensor(returned)
        if tensor is None or not tensor.is_floating_point() or tensor.ndim < 1 or len(tensor) != len(batch):
            kind = (
                type(returned).__name__
                if tensor is None
                else f"{tensor.dtype} of shape {tuple(tensor.shape)}"
            )
            raise UsageError(
                "RA-NW-013",
                f"The network returns {kind} for {len(batch)} samples; a tensor of numbers with "
                "one row for each sample is needed.",
                where=self.name,
            )
        return tensor

    def _failing_module(self, batch: Batch) -> str:
        """Return the name of the innermost module that a batch enters and does not leave, or nothing."""
        entered: list[str] = []

        def enter(name: str) -> Callable[..., None]:
            return lambda *_: entered.append(name)

        def leave(name: str) -> Callable[..., None]:
            def left(*_: object) -> None:
                while entered.pop() != name:  # those within it that failed and were caught
                    pass

            return left

        handles: list[Any] = []
        for name, module in self.module.named_modules():
            handles += [
                module.register_forward_pre_hook(enter(name)),
                module.register_forward_hook(leave(name)),
            ]
        try:
            self.run(batch)
        except _FAILURES:
            return entered[-1] if entered else ""
        finally:
            for handle in handles:
                handle.remove()
        return ""


def main_tensor(returned: Any) -> torch.Tensor | None:
    """Return the tensor in what a network returned that holds its outputs, or ``None``."""
    if isinstance(returned, torch.Tensor):
        return returned
    if isinstance(returned, Mapping):
        named = [returned.get(field) for field in _OUTPUTS]
        candidates = [*named, *returned.values()]
    elif isinstance(returned, tuple | list):
        candidates = [getattr(returned, field, None) for field in _OUTPUTS] + list(returned)
    else:
        candidates = [getattr(returned, field, None) for field in _OUTPUTS]
    return next((each for each in candidates if isinstance(each, torch.Tensor)), None)
