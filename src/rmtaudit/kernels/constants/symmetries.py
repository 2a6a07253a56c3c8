"""Tensors with exact symmetries that training does not make: fixed convolution kernels, Wigner tensors."""

from __future__ import annotations

import torch

_LONGEST_KERNEL = 255
_HIGHEST_ORDER = 31


def kernels_are_symmetric(tensor: torch.Tensor, epsilon: float) -> bool:
    """Whether every kernel of a convolution equals plus or minus its mirror image along each axis.

    Gaussian blur, Sobel and Laplace operators, resampling filters and Hann windows do, to rounding.

    Parameters
    ----------
    tensor
        Shape ``(outputs, inputs, *kernel)``, at least three sides.
    epsilon
        Unit round-off of the stored entries.
    """
    kernel = tensor.shape[2:]
    axes = [axis for axis, size in enumerate(kernel) if size > 1]
    size = tensor[0, 0].numel() if tensor.ndim > 2 else 0
    if size < 4 or max(kernel) > _LONGEST_KERNEL or len({*tensor.shape[2:]} - {1}) != 1:
        return False
    kernels = tensor.reshape(-1, *kernel)
    if not _mirrored(kernels[:1], axes, epsilon):
        return False
    held = kernels.reshape(len(kernels), -1)
    constant = held.amax(1) == held.amin(1)
    if bool(constant.all()):
        return False
    kernels = kernels[~constant]
    return _mirrored(kernels, axes, epsilon)


def is_wigner_tensor(tensor: torch.Tensor, epsilon: float) -> bool:
    """Whether all three unfoldings of a tensor of odd sides have orthogonal rows of one length.

    That is so of the Wigner 3j symbols that couple angular momenta, whose sides are ``2l + 1``.
    """
    sides = tensor.shape
    if tensor.ndim != 3 or any(side % 2 == 0 or side > _HIGHEST_ORDER for side in sides):
        return False
    wide = tensor.double()
    return all(_rows_orthogonal(wide.movedim(axis, 0).reshape(sides[axis], -1), epsilon) for axis in range(3))


def is_semi_orthogonal(matrix: torch.Tensor, epsilon: float) -> bool:
    """Whether the lines of the shorter side of a matrix are orthogonal and of one length."""
    return _rows_orthogonal((matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T).double(), epsilon)


def _mirrored(kernels: torch.Tensor, axes: list[int], epsilon: float) -> bool:
    flat = (len(kernels), -1)
    tolerance = 8 * epsilon * kernels.reshape(flat).abs().amax(1)
    for axis in axes:
        mirror = kernels.flip(axis + 1)
        even = (kernels - mirror).reshape(flat).abs().amax(1) <= tolerance
        odd = (kernels + mirror).reshape(flat).abs().amax(1) <= tolerance
        if not bool((even | odd).all()):
            return False
    return True


def _rows_orthogonal(matrix: torch.Tensor, epsilon: float) -> bool:
    if matrix.shape[0] > matrix.shape[1]:
        return False
    product = matrix @ matrix.T
    scale = float(product.diagonal().mean())
    expected = scale * torch.eye(len(product), dtype=product.dtype, device=product.device)
    return scale > 0 and float((product - expected).abs().max()) <= scale * (
        64 * epsilon + 16 * max(matrix.shape) * 2.0**-24
    )
