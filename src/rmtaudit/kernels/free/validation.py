"""Which smoothness, and whether any law beats a simple one: prediction of the spectrum from parts of itself."""

from __future__ import annotations

import torch


def free_block(eigenvalues: torch.Tensor, size: int, generator: torch.Generator) -> torch.Tensor:
    """Return the eigenvalues of a principal block of ``QΛQᵀ``, ``Q`` uniform orthogonal: a free matrix's block.

    Parameters
    ----------
    eigenvalues
        Shape ``(n,)``, float64.
    size
        Size of the block, at most ``n``.
    generator
        Source of ``Q``, on the CPU.
    """
    n = len(eigenvalues)
    noise = torch.randn(n, size, generator=generator, dtype=torch.float64).to(eigenvalues.device)
    columns = torch.linalg.qr(noise).Q
    return torch.linalg.eigvalsh(columns.T @ (eigenvalues[:, None] * columns))
