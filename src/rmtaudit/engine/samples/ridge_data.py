"""Data of a regression: a ``.npz`` file with inputs and targets, split into training and test samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rmtaudit.errors import InputError
from rmtaudit.names import display_name

if TYPE_CHECKING:
    import torch

LEAST_SAMPLES, LEAST_TESTED = 40, 20
"""A convention: training and test samples below which nothing is forecast. The theory is one of many samples,
and an eighth of the training samples must still be some."""
_CLASSES = 100
"""A convention: labels of more classes are taken for numbers by mistake."""
_SAVE = "Write it with numpy.savez(path, x=inputs, y=targets), inputs of shape (samples, features)"


@dataclass(frozen=True, slots=True, kw_only=True)
class RidgeData:
    """Training and test samples.

    Attributes
    ----------
    inputs, targets, test_inputs, test_targets
        Float64, shapes ``(n, p)``, ``(n, k)``, ``(n', p)``, ``(n', k)``.
    held_out
        Whether the test samples were drawn from those of training.
    available
        Training samples of the file, or what is left of them after the test samples.
    classes
        Number of classes; ``None`` where targets are numbers.
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    test_inputs: torch.Tensor
    test_targets: torch.Tensor
    held_out: bool
    available: int
    classes: int | None

    def to(self, device: torch.device) -> RidgeData:
        """Return the samples on a device."""
        return replace(
            self,
            inputs=self.inputs.to(device),
            targets=self.targets.to(device),
            test_inputs=self.test_inputs.to(device),
            test_targets=self.test_targets.to(device),
        )


def read_arrays(path: Path) -> dict[str, torch.Tensor]:
    """Return the arrays ``x``, ``y`` and, if there are any, ``x_test`` and ``y_test`` of a file.

    Raises
    ------
    InputError
        As :func:`rmtaudit.checkpoints.open_checkpoint`; RA-SA-005 an array of no numbers; RA-SA-017 the file
        is no ``.npz`` or has not the arrays.
    """
    from rmtaudit.checkpoints import open_checkpoint

    where = display_name(str(path))
    if path.suffix.lower() != ".npz":
        raise InputError("RA-SA-017", "The file is not an .npz file.", hint=_SAVE, where=where)
    arrays: dict[str, torch.Tensor] = {}
    with open_checkpoint(path) as file:
        for spec in file.tensors:
            if spec.name in ("x", "y", "x_test", "y_test"):
                if spec.unreadable is not None:
                    reason = f"The array {spec.name} has no numbers: {spec.unreadable}."
                    raise InputError("RA-SA-005", reason, where=where)
                arrays[spec.name] = file.read(spec.name)
    return arrays


def ridge_data(
    arrays: Mapping[str, torch.Tensor],
    *,
    labels: bool,
    raw: bool,
    hold_out: float,
    samples: int,
    seed: int,
    where: str = "",
) -> RidgeData:
    """Return the samples, split and scaled.

    Parameters
    ----------
    arrays
        ``x`` of at least two axes, ``y`` of one or two, and ``x_test`` with ``y_test`` or neither.
    labels
        Whether ``y`` holds classes: two become -1 and 1, more a column each, of 0 and 1.
    raw
        Whether inputs stay as they are. Otherwise the mean of the training inputs is taken off, and all are
        divided by one number, so that the mean squared length is 1.
    hold_out
        Share of the samples that are test samples where there is no ``x_test``.
    samples
        Most training samples, and most test samples; of more, a random part is used.
    seed
        Seed of what is random.
    where
        The file, for messages.

    Raises
    ------
    InputError
        RA-SA-005 complex numbers; RA-SA-008 values that are not finite; RA-SA-017 an array is missing;
        RA-SA-018 shapes that do not go together; RA-SA-019 too few samples, inputs or targets that are all
        equal, or too many classes.
    """
    import torch

    checked = _checked(arrays, where)
    x, y = checked["x"], checked["y"]
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(x), generator=generator)
    held_out = "x_test" not in checked
    if held_out:
        tested = round(hold_out * len(x))
        test_x, test_y = x[order[:tested]], y[order[:tested]]
        order = order[tested:]
    else:
        chosen = torch.randperm(len(checked["x_test"]), generator=generator)
        test_x, test_y = checked["x_test"][chosen], checked["y_test"][chosen]
    available = len(order)
    if available < LEAST_SAMPLES or len(test_x) < LEAST_TESTED:
        message = (
            f"{available} training and {len(test_x)} test samples are too few: at least {LEAST_SAMPLES} and "
            f"{LEAST_TESTED} are needed."
        )
        raise InputError("RA-SA-019", message, where=where)
    x, y = x[order[:samples]], y[order[:samples]]
    test_x, test_y = test_x[:samples], test_y[:samples]
    classes: int | None = None
    if labels:
        y, test_y, classes = _encoded(y, test_y, where)
    if bool((y == y[0]).all()):
        raise InputError("RA-SA-019", "All targets are equal.", where=where)
    if not raw:
        mean = x.mean(0)
        x, test_x = x - mean, test_x - mean
    size = float(x.square().sum(1).mean().sqrt())
    if not 0 < size < float("inf"):
        raise InputError("RA-SA-019", "All inputs are equal, or out of range.", where=where)
    if not raw:
        x, test_x = x / size, test_x / size
    return RidgeData(
        inputs=x,
        targets=y,
        test_inputs=test_x,
        test_targets=test_y,
        held_out=held_out,
        available=available,
        classes=classes,
    )


def _checked(arrays: Mapping[str, torch.Tensor], where: str) -> dict[str, torch.Tensor]:
    """Return float64 matrices whose shapes go together."""
    import torch

    missing = [name for name in ("x", "y") if name not in arrays]
    missing += [name for name in ("x_test", "y_test") if name not in arrays and len(arrays) > 2]
    if missing:
        raise InputError("RA-SA-017", f"The array {missing[0]} is missing.", hint=_SAVE, where=where)
    matrices = {}
    for name, array in arrays.items():
        if array.is_complex():
            raise InputError("RA-SA-005", f"The array {name} has complex numbers.", where=where)
        inputs = name.startswith("x")
        if array.ndim < (2 if inputs else 1) or (not inputs and array.ndim > 2) or not array.numel():
            shape = tuple(array.shape)
            raise InputError("RA-SA-018", f"The array {name} has the shape {shape}.", hint=_SAVE, where=where)
        values = array.to("cpu", torch.float64).reshape(len(array), -1)
        if not bool(torch.isfinite(values).all()):
            raise InputError("RA-SA-008", f"The array {name} has values that are not finite.", where=where)
        matrices[name] = values
    for suffix in ("", "_test"):
        x, y = matrices.get(f"x{suffix}"), matrices.get(f"y{suffix}")
        if x is not None and y is not None and len(x) != len(y):
            message = f"x{suffix} has {len(x)} samples, y{suffix} has {len(y)}."
            raise InputError("RA-SA-018", message, where=where)
    for name in ("x", "y"):
        other = matrices.get(f"{name}_test")
        if other is not None and other.shape[1] != matrices[name].shape[1]:
            raise InputError(
                "RA-SA-018", f"{name} and {name}_test have different numbers of columns.", where=where
            )
    return matrices


def _encoded(y: torch.Tensor, test_y: torch.Tensor, where: str) -> tuple[torch.Tensor, torch.Tensor, int]:
    import torch

    if y.shape[1] != 1:
        raise InputError("RA-SA-018", "There must be one label for each sample.", where=where)
    values = torch.unique(torch.cat([y, test_y]))
    if len(values) > _CLASSES:
        raise InputError("RA-SA-019", f"The labels have {len(values)} different values.", where=where)
    if len(values) == 2:
        first, second = (torch.where(part == values[1], 1.0, -1.0).double() for part in (y, test_y))
    else:
        first, second = ((part == values).double() for part in (y, test_y))
    return first, second, len(values)
