r"""Products of factors, by small matrices that have their singular values.

With QR factors :math:`L = Q_1 R_1` and :math:`R^T = Q_2 R_2`, the product ``L R`` has the singular values of
the core :math:`R_1 R_2^T`, and as many zeros as it lacks. The entrywise product of two products is again one,
of rank :math:`r_1 r_2`: :math:`(A_1 B_1) \circ (A_2 B_2) = (A_1 \odot A_2)(B_1 \odot B_2)` with the products
of all pairs of columns of the ``A`` and of rows of the ``B``. A Kronecker product of matrices has the core
that is the Kronecker product of their cores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    Product = tuple[torch.Tensor, torch.Tensor]


def core(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return a matrix with the nonzero singular values of ``left @ right``; float64.

    Parameters
    ----------
    left
        Shape ``(rows, rank)``.
    right
        Shape ``(rank, columns)``.
    """
    import torch

    upper: torch.Tensor = torch.linalg.qr(left.double()).R
    lower: torch.Tensor = torch.linalg.qr(right.double().T).R.T
    return upper @ lower


def dense(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return ``left @ right`` in float64, of shapes ``(rows, rank)`` and ``(rank, columns)``."""
    return left.double() @ right.double()


def tucker(kernel: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return the right factor of a convolution whose kernel stands between the factors; float64.

    Parameters
    ----------
    kernel
        Shape ``(left rank, right rank, *sides of the kernel)``.
    right
        Shape ``(right rank, inputs)``.

    Returns
    -------
    torch.Tensor
        Shape ``(left rank, inputs * size of the kernel)``.
    """
    import torch

    joined = torch.einsum("ijk,jr->irk", kernel.double().flatten(2), right.double())
    return joined.reshape(len(kernel), -1)


def entrywise_core(first: Product, second: Product) -> torch.Tensor:
    """Return a matrix with the nonzero singular values of the entrywise product of two products; float64."""
    import torch

    (left1, right1), (left2, right2) = first, second
    rank = left1.shape[1] * left2.shape[1]
    if rank >= min(left1.shape[0], right1.shape[1]):
        return (left1.double() @ right1.double()) * (left2.double() @ right2.double())
    left = torch.einsum("ip,iq->ipq", left1.double(), left2.double()).reshape(-1, rank)
    right = torch.einsum("pj,qj->pqj", right1.double(), right2.double()).reshape(rank, -1)
    return core(left, right)
