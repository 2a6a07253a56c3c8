"""A penalty on the spectra of a model's weights, to be added to the loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import nn

from rmtaudit.errors import UsageError
from rmtaudit.kernels.penalties.heavy_tail import alpha_penalty, kappa_penalty
from rmtaudit.kernels.penalties.norm import norm_penalty, power_iteration
from rmtaudit.training.watched import watch

Penalty = Literal["alpha", "kappa", "norm"]


class SpectralRegulariser:
    """The mean over a model's weight matrices of a penalty on their spectra, times a strength.

    ``loss + regulariser()`` is what is differentiated. The penalties are
    :func:`~rmtaudit.training.alpha_penalty` and :func:`~rmtaudit.training.kappa_penalty`, which pull the
    spectrum towards a heaviness and do not depend on its scale, and
    :func:`~rmtaudit.training.norm_penalty`, the squared spectral norm.

    Parameters
    ----------
    model
        The model. Its parameters are read at every call.
    penalty
        ``"alpha"``, ``"kappa"`` or ``"norm"``.
    strength
        Factor of the penalty, not negative.
    target
        What ``alpha`` or ``kappa`` is to become; ``"norm"`` takes none.
    tail
        Share of the eigenvalues that ``alpha`` is estimated from.
    power_steps
        Steps of the power iteration a call, for ``"norm"``; 0 decomposes the matrix instead.
    include, exclude
        Patterns of a shell for the names of layers or tensors.
    least_side
        Matrices with a shorter side are left alone.
    seed
        Of the vectors that the power iteration starts from.

    Attributes
    ----------
    names
        The layers that are regularised.

    Raises
    ------
    UsageError
        RA-TR-003: a parameter that makes no sense. RA-TR-005: no matrix is left. RA-US-114: no layer matches
        ``include``.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.training import SpectralRegulariser
    >>> model = torch.nn.Linear(64, 64)
    >>> regulariser = SpectralRegulariser(model, penalty="alpha", strength=0.01, target=3.0)
    >>> regulariser().backward()
    >>> bool(model.weight.grad.abs().sum() > 0)
    True
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        penalty: Penalty,
        strength: float,
        target: float | None = None,
        tail: float = 0.1,
        power_steps: int = 1,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        least_side: int = 32,
        seed: int = 0,
    ) -> None:
        _check(penalty, strength, target, tail=tail, power_steps=power_steps)
        self.strength = strength
        self._penalty = penalty
        self._target = target
        self._tail = tail
        self._power_steps = power_steps
        self._layers = watch(model, include=include, exclude=exclude, least_side=max(3, least_side)).layers
        if not self._layers:
            raise UsageError(
                "RA-TR-005",
                f"The model has no weight matrix with both sides of at least {least_side}.",
                hint="Lower least_side to include smaller ones.",
            )
        self.names = tuple(each.layer.name for each in self._layers)
        self._generator = torch.Generator().manual_seed(seed)
        self._vectors: dict[int, torch.Tensor] = {}

    def __call__(self) -> torch.Tensor:
        """Return the penalty: a scalar, float32 or wider, that can be differentiated."""
        parts = [self._of(index) for index in range(len(self._layers))]
        device = parts[0].device
        return self.strength * torch.stack([part.to(device) for part in parts]).mean()

    def _of(self, index: int) -> torch.Tensor:
        watched = self._layers[index]
        band = watched.layer.band
        tensors = watched.parameters if band is None else (watched.parameters[0][slice(*band)],)
        wide = tuple(tensor if tensor.element_size() >= 4 else tensor.float() for tensor in tensors)
        (matrix,) = watched.layer.build(wide)
        if self._penalty == "alpha":
            return alpha_penalty(matrix, alpha=self._aim, tail=self._tail)
        if self._penalty == "kappa":
            return kappa_penalty(matrix, kappa=self._aim)
        if not self._power_steps:
            return norm_penalty(matrix)
        start = self._vectors.get(index)
        if start is None:
            start = torch.randn(matrix.shape[1], generator=self._generator, dtype=matrix.dtype)
        value, self._vectors[index] = power_iteration(
            matrix, start.to(matrix.device, matrix.dtype), steps=self._power_steps
        )
        return value

    @property
    def _aim(self) -> float:
        assert self._target is not None
        return self._target


def _check(penalty: str, strength: float, target: float | None, *, tail: float, power_steps: int) -> None:
    problem = ""
    if penalty not in get_args(Penalty):
        problem = f"The penalty must be one of {', '.join(get_args(Penalty))}, not {penalty!r}."
    elif not strength >= 0:
        problem = f"The argument strength must not be negative, but is {strength}."
    elif penalty == "norm" and target is not None:
        problem = "The penalty 'norm' has no target."
    elif penalty != "norm" and target is None:
        problem = f"The penalty {penalty!r} needs a target."
    elif penalty == "alpha" and target is not None and not target > 1:
        problem = f"The target of alpha must be above 1, not {target}."
    elif penalty == "kappa" and target is not None and not target > 0:
        problem = f"The target of kappa must be positive, not {target}."
    elif not 0 < tail < 1:
        problem = f"The argument tail must lie between 0 and 1, not {tail}."
    elif power_steps < 0:
        problem = f"The argument power_steps must not be negative, but is {power_steps}."
    if problem:
        raise UsageError("RA-TR-003", problem)
