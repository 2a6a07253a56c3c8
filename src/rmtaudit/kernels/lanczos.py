"""Lanczos and Golub-Kahan for a block of probes at once: one product for all, a recurrence for each.

Every probe keeps its own Krylov space and so its own quadrature rule; the product with the matrix is one
GEMM. Each new vector is orthogonalised against all earlier ones of its probe, twice where cancellation asks
for it (Daniel, Gragg, Kaufman, Stewart 1976), so that the rules are those of exact arithmetic but for
rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from rmtaudit.kernels.operators import Gram, Operator, Product, Symmetric

EPSILON = 2.0**-52
"""The distance from 1 to the next number of float64."""
_GROWTH = 32
"""A convention: vectors for which memory is taken at first; it grows by half."""


@dataclass(frozen=True, slots=True)
class Jacobi:
    """The Jacobi matrices of the probes after ``steps`` steps, on the CPU, float64.

    Attributes
    ----------
    factor
        ``None`` for Lanczos. For Golub-Kahan, (diagonal ``(s, l)``, superdiagonal ``(s, l - 1)``) of the
        bidiagonal ``B`` with ``T = BᵀB``: small eigenvalues are had from it without squaring.
    diagonal, off
        Of the tridiagonal ``T``, shapes ``(s, l)`` and ``(s, l - 1)``.
    next
        The next off-diagonal entry, shape ``(s,)``; 0 where the Krylov space is exhausted.
    """

    diagonal: torch.Tensor
    off: torch.Tensor
    next: torch.Tensor
    factor: tuple[torch.Tensor, torch.Tensor] | None = None


class AsymmetryError(ArithmeticError):
    """Products with a matrix that was taken for symmetric show that it is not.

    Parameters
    ----------
    skew
        Largest difference of ``xᵀAy`` and ``yᵀAx`` for unit vectors.
    size
        Largest length of a product with one.
    """

    def __init__(self, skew: float, size: float) -> None:
        super().__init__(
            f"the matrix is not symmetric: xᵀAy and yᵀAx differ by {skew:.3g} for unit vectors "
            f"with |Ax| = {size:.3g}"
        )
        self.skew, self.size = skew, size


class Process(Protocol):
    """A recurrence that can be carried on."""

    @property
    def steps(self) -> int:
        """Steps made, at most the order of the matrix."""

    def extend(self, steps: int) -> Jacobi:
        """Carry on to this many steps and return the Jacobi matrices."""


def start(operator: Operator, probes: torch.Tensor) -> Process:
    """Return the process of the operator for unit probes, shape ``(s, n)``, float64."""
    if isinstance(operator, Symmetric):
        return _Lanczos(operator, probes)
    return _GolubKahan(operator, probes)


class _Basis:
    """The orthonormal vectors of every probe so far, shape ``(s, k, n)``; grows as needed."""

    def __init__(self, probes: int, size: int, device: torch.device | str) -> None:
        self.vectors = torch.empty(probes, _GROWTH, size, dtype=torch.float64, device=device)
        self.count = 0

    def append(self, vectors: torch.Tensor) -> None:
        if self.count == self.vectors.shape[1]:
            grown = self.vectors.new_empty(
                self.vectors.shape[0], int(1.5 * self.count), self.vectors.shape[2]
            )
            grown[:, : self.count] = self.vectors
            self.vectors = grown
        self.vectors[:, self.count] = vectors
        self.count += 1

    @property
    def last(self) -> torch.Tensor:
        return self.vectors[:, self.count - 1]

    def orthogonalise(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return the part of each row orthogonal to the basis of its probe; ``vectors`` is overwritten."""
        known = self.vectors[:, : self.count]
        before = torch.linalg.vector_norm(vectors, dim=1)
        for _ in range(2):
            inner = torch.bmm(known, vectors.unsqueeze(2))
            vectors.sub_(torch.bmm(inner.transpose(1, 2), known).squeeze(1))
            after = torch.linalg.vector_norm(vectors, dim=1)
            if bool((after > 0.5 * before).all()):
                break
            before = after
        return vectors


def _product(matmul: Product, operator: Operator, rows: torch.Tensor, size: int) -> torch.Tensor:
    columns = matmul(rows.to(device=operator.device, dtype=operator.dtype).T)
    if columns.shape != (size, rows.shape[0]):
        raise ValueError(f"the product has shape {tuple(columns.shape)}, not {(size, rows.shape[0])}")
    result = columns.T.to(torch.float64).contiguous()
    # a fresh block: the caller changes it
    return result.clone() if result.data_ptr() == rows.data_ptr() else result


def _finite(norms: torch.Tensor) -> torch.Tensor:
    if not bool(torch.isfinite(norms).all()):
        raise ArithmeticError("a product with the matrix is not finite")
    return norms


class _Lanczos:
    def __init__(self, operator: Symmetric, probes: torch.Tensor) -> None:
        self.operator = operator
        self.basis = _Basis(probes.shape[0], operator.size, operator.device)
        self.basis.append(probes.to(operator.device))
        self.diagonal: list[torch.Tensor] = []
        self.off: list[torch.Tensor] = []
        self.scale = torch.zeros(probes.shape[0], dtype=torch.float64, device=operator.device)

    @property
    def steps(self) -> int:
        return len(self.diagonal)

    def extend(self, steps: int) -> Jacobi:
        while self.steps < min(steps, self.operator.size):
            self._step()
        off = torch.stack(self.off, dim=1).cpu()
        return Jacobi(torch.stack(self.diagonal, dim=1).cpu(), off[:, :-1], off[:, -1])

    def _step(self) -> None:
        last = self.basis.last
        w = _product(self.operator.matmul, self.operator, last, self.operator.size)
        if not self.diagonal:
            self._check_symmetry(last, w)
        alpha = _finite((last * w).sum(dim=1))
        w -= alpha[:, None] * last
        if self.off:
            w -= self.off[-1][:, None] * self.basis.vectors[:, self.basis.count - 2]
        w = self.basis.orthogonalise(w)
        beta = _finite(torch.linalg.vector_norm(w, dim=1))
        self.scale = torch.maximum(self.scale, alpha.abs() + beta)
        alive = beta > EPSILON * self.operator.size**0.5 * self.scale
        if self.off:
            alive &= self.off[-1] > 0
            # an exhausted probe goes on with an eigenvalue that its rule cannot see: the weight is 0
            alpha = torch.where(self.off[-1] > 0, alpha, self.diagonal[0])
        beta = torch.where(alive, beta, 0.0)
        self.diagonal.append(alpha)
        self.off.append(beta)
        self.basis.append(torch.where(alive[:, None], w / beta.clamp(min=1e-300)[:, None], 0.0))

    def _check_symmetry(self, probes: torch.Tensor, products: torch.Tensor) -> None:
        inner = probes @ products.T
        skew = float((inner - inner.T).abs().max())
        sizes = torch.linalg.vector_norm(products, dim=1)
        allowed = 100 * self.operator.epsilon * self.operator.size**0.5
        if skew > allowed * float(sizes.max()):
            raise AsymmetryError(skew, float(sizes.max()))


class _GolubKahan:
    """``W V = U B`` with ``V`` on the smaller side, both sides orthogonalised."""

    def __init__(self, operator: Gram, probes: torch.Tensor) -> None:
        self.operator = operator
        tall = operator.rows >= operator.cols
        self.forward, self.back = (
            (operator.matmul, operator.transposed) if tall else (operator.transposed, operator.matmul)
        )
        self.long, self.short = (operator.rows, operator.cols) if tall else (operator.cols, operator.rows)
        self.right = _Basis(probes.shape[0], self.short, operator.device)
        self.left = _Basis(probes.shape[0], self.long, operator.device)
        self.right.append(probes.to(operator.device))
        self.rho: list[torch.Tensor] = []
        self.psi: list[torch.Tensor] = []
        self.scale = torch.zeros(probes.shape[0], dtype=torch.float64, device=operator.device)

    @property
    def steps(self) -> int:
        return len(self.rho)

    def extend(self, steps: int) -> Jacobi:
        while self.steps < min(steps, self.short):
            self._step()
        rho, psi = torch.stack(self.rho, dim=1).cpu(), torch.stack(self.psi, dim=1).cpu()
        diagonal = rho**2
        diagonal[:, 1:] += psi[:, :-1] ** 2
        inner = psi[:, :-1]
        return Jacobi(diagonal, rho[:, :-1] * inner, rho[:, -1] * psi[:, -1], (rho, inner))

    def _step(self) -> None:
        operator, last = self.operator, self.right.last
        u = _product(self.forward, operator, last, self.long)
        if self.rho:
            u -= self.psi[-1][:, None] * self.left.last
            u = self.left.orthogonalise(u)
        rho = _finite(torch.linalg.vector_norm(u, dim=1))
        going = self.psi[-1] > 0 if self.psi else torch.ones_like(rho, dtype=torch.bool)
        self.scale = torch.maximum(self.scale, rho)
        floor = EPSILON * self.long**0.5 * self.scale
        usable = going & (rho > floor)
        u = torch.where(usable[:, None], u / rho.clamp(min=1e-300)[:, None], 0.0)
        # rho below the floor is a singular value of 0: it stays in the rule, as 0, and ends it
        rho = torch.where(usable, rho, torch.where(going, 0.0, self.rho[0] if self.rho else rho))
        self.left.append(u)
        w = _product(self.back, operator, u, self.short)
        w -= rho[:, None] * last
        w = self.right.orthogonalise(w)
        psi = _finite(torch.linalg.vector_norm(w, dim=1))
        self.scale = torch.maximum(self.scale, psi)
        alive = usable & (psi > EPSILON * self.long**0.5 * self.scale)
        psi = torch.where(alive, psi, 0.0)
        self.rho.append(rho)
        self.psi.append(psi)
        self.right.append(torch.where(alive[:, None], w / psi.clamp(min=1e-300)[:, None], 0.0))
