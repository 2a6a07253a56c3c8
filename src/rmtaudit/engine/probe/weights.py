"""The weights of a network that can be edited, as matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rmtaudit.engine.edits import Edit, edited
from rmtaudit.engine.networks import Network
from rmtaudit.engine.networks.patterns import is_chosen
from rmtaudit.errors import NothingAuditableError, UsageError
from rmtaudit.names import display_name, suggestion

_CONVOLUTIONS = (
    torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d,
    torch.nn.ConvTranspose1d, torch.nn.ConvTranspose2d, torch.nn.ConvTranspose3d,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """A parameter that is one matrix, or a stack of matrices.

    Attributes
    ----------
    name
        In the network.
    parameter
        The parameter itself, which is shared by all its uses.
    kind
        The name with the numbers of blocks left out: layers of one kind differ in their depth alone.
    shape
        Rows and columns of each matrix: a convolution is flattened to outputs and inputs times the kernel.
    matrices
        Number of matrices.
    """

    name: str
    parameter: torch.nn.Parameter
    kind: str
    shape: tuple[int, int]
    matrices: int

    def edited(self, edit: Edit) -> torch.Tensor:
        """Return the parameter after an edit of each matrix, as the network stores it."""
        stack = self.parameter.detach().reshape(self.matrices, *self.shape)
        stack = stack if stack.element_size() >= 4 else stack.float()
        result = torch.stack([edited(matrix, edit).to(self.parameter) for matrix in stack])
        return result.reshape(self.parameter.shape)


def chosen_weights(network: Network, include: Sequence[str], exclude: Sequence[str]) -> list[Weight]:
    """Return the weights of a network that the patterns leave.

    Raises
    ------
    NothingAuditableError
        RA-NA-012: the network has no weight matrix.
    UsageError
        RA-PB-006: the patterns leave none.
    """
    weights = weights_of(network.module)
    if not weights:
        raise NothingAuditableError("RA-NA-012", "The network has no weight matrix.", where=network.name)
    kept = [each for each in weights if is_chosen(_names(each), include, exclude)]
    if not kept:
        words = (*include, *exclude)
        shown = ", ".join(repr(display_name(each)) for each in words)
        near = suggestion(words[0], [each.name for each in weights])
        raise UsageError(
            "RA-PB-006",
            f"No weight matches the patterns {shown}.{display_name(near)}",
            hint="* matches any text: --include '*.mlp.*'.",
            where=network.name,
        )
    return kept


def _names(weight: Weight) -> tuple[str, str]:
    return weight.name, weight.name.removesuffix(".weight")


def weights_of(network: torch.nn.Module) -> list[Weight]:
    """Return the weights of at least two rows and columns, in the order of the network; shared ones once."""
    kernels = {id(module.weight): module for module in network.modules() if isinstance(module, _CONVOLUTIONS)}
    weights = []
    for name, parameter in network.named_parameters():
        if not parameter.is_floating_point() or parameter.ndim < 2:
            continue
        if id(parameter) in kernels:
            count, shape = 1, (parameter.shape[0], parameter.numel() // parameter.shape[0])
        else:
            shape = (parameter.shape[-2], parameter.shape[-1])
            count = parameter.numel() // max(1, shape[0] * shape[1])
        if min(shape) < 2 or not count:
            continue
        kind = ".".join("*" if part.isdigit() else part for part in name.removesuffix(".weight").split("."))
        kind = name if kind == "*" else kind
        weights.append(Weight(name=name, parameter=parameter, kind=kind, shape=shape, matrices=count))
    return weights
