"""The error of ridge regression on random features: a network whose last layer alone is trained.

Features ``Σ = φ(WX)``, ``W`` of shape ``d x p`` with independent standard normal entries; coefficients
``β = Σ (ΣᵀΣ/n + γ I)^-1 y / n`` of ``n`` samples. Training and test error, means over ``W``, follow from the
kernel ``K = E_w[φ(Xᵀw) φ(wᵀX)]`` alone, in the limit of large ``n``, ``p`` and ``d``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rmtaudit.kernels.equivalents.activations import ACTIVATIONS

_HALVINGS = 60
"""Halvings of the logarithm of ``δ``: more than the bits of float64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RidgeProblem:
    """Training and test data as the theory needs them: see :func:`ridge_problem`.

    Attributes
    ----------
    eigenvalues
        Of ``K``, shape ``(n,)``, ascending, not negative.
    coefficients
        ``Uᵀy``, shape ``(n, k)``: targets along the eigenvectors.
    cross
        ``K(x', x) U``, shape ``(n', n)``; no rows without test data.
    variances
        ``K(x', x')``, shape ``(n',)``.
    test_targets
        Shape ``(n', k)``.
    """

    eigenvalues: torch.Tensor
    coefficients: torch.Tensor
    cross: torch.Tensor
    variances: torch.Tensor
    test_targets: torch.Tensor


@dataclass(frozen=True, slots=True)
class RidgeErrors:
    """Mean squared errors at several ridges, averaged over the columns of the targets and over ``W``.

    Attributes
    ----------
    train
        Shape ``(m,)``.
    test
        Shape ``(m, n')``: of each test sample.
    """

    train: torch.Tensor
    test: torch.Tensor


def ridge_problem(
    kernel: torch.Tensor,
    targets: torch.Tensor,
    *,
    cross: torch.Tensor | None = None,
    variances: torch.Tensor | None = None,
    test_targets: torch.Tensor | None = None,
) -> RidgeProblem:
    """Decompose the kernel once, for any number of widths and ridges.

    Parameters
    ----------
    kernel
        ``K`` of the training inputs, shape ``(n, n)``: :func:`feature_kernel`.
    targets
        Shape ``(n,)`` or ``(n, k)``.
    cross, variances, test_targets
        Test data: ``K(x', x)``, shape ``(n', n)``, ``K(x', x')``, shape ``(n',)``, and targets; all or none.

    Raises
    ------
    ValueError
        For shapes that do not go together.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import equivalents
    >>> problem = equivalents.ridge_problem(torch.eye(3), torch.tensor([1.0, -1.0, 1.0]))
    >>> problem.eigenvalues.tolist()
    [1.0, 1.0, 1.0]
    """
    wanted = _columns(targets)
    count = len(wanted)
    if not count or kernel.shape != (count, count):
        raise ValueError(f"the kernel of {count} samples has the shape {tuple(kernel.shape)}")
    if cross is None or variances is None or test_targets is None:
        if not (cross is None and variances is None and test_targets is None):
            raise ValueError("test data must be a cross kernel, variances and targets")
        cross, variances = kernel.new_zeros(0, count), kernel.new_zeros(0)
        test_targets = kernel.new_zeros(0, wanted.shape[1])
    after = _columns(test_targets)
    if (
        cross.shape != (len(after), count)
        or len(variances) != len(after)
        or after.shape[1:] != wanted.shape[1:]
    ):
        raise ValueError("the shapes of the test data do not match each other or the training data")
    values, vectors = torch.linalg.eigh(kernel.double())
    return RidgeProblem(
        eigenvalues=values.clamp(min=0),
        coefficients=vectors.T @ wanted,
        cross=cross.double() @ vectors,
        variances=variances.double(),
        test_targets=after,
    )


def ridge_errors(problem: RidgeProblem, width: int, ridges: torch.Tensor) -> RidgeErrors:
    """Return the deterministic equivalents of training and test error.

    Parameters
    ----------
    problem
        The data.
    width
        ``d``, at least 1.
    ridges
        ``γ``, shape ``(m,)``, positive.

    Raises
    ------
    ValueError
        For another width or ridges, or a kernel that is 0.

    References
    ----------
    Louart, Liao, Couillet, *A random matrix approach to neural networks*, Ann. Appl. Probab. 28 (2018),
    theorem 3 and corollary 1; Liao, Couillet, Mahoney (2020), theorems 1 to 3.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import equivalents
    >>> inputs = torch.randn(50, 20, generator=torch.Generator().manual_seed(0)).double() / 20**0.5
    >>> problem = equivalents.ridge_problem(equivalents.feature_kernel("relu", inputs), inputs[:, 0])
    >>> small, large = equivalents.ridge_errors(problem, 40, torch.tensor([0.01, 1.0])).train.tolist()
    >>> small < large
    True
    """
    gammas = ridges.to(problem.eigenvalues)
    if width < 1 or gammas.ndim != 1 or not bool((gammas > 0).all()):
        raise ValueError("the width must be at least 1, and ridges positive")
    if not bool(problem.eigenvalues.sum() > 0):
        raise ValueError("the kernel is 0")
    count, outputs = problem.coefficients.shape
    delta = _delta(problem.eigenvalues, width / count, gammas)
    slope = width / count / (1 + delta)
    gamma = gammas[:, None]
    kernel = slope[:, None] * problem.eigenvalues
    q = 1 / (kernel + gamma)
    energy = problem.coefficients.square().sum(1) / outputs
    # 1 - Σ(k̄q)²/d without its cancellation: Σk̄q = d δ/(1 + δ), and 1 - k̄q = γq
    psi = 1 / (1 + delta) + (gamma * kernel * q.square()).sum(1) / width
    inflation = (kernel * q.square()).sum(1) / width / psi
    train = gammas.square() / count * ((q.square() * (inflation[:, None] * kernel + 1)) @ energy)
    spread = (q.square() * kernel) @ energy / width / psi
    if not len(problem.cross):
        return RidgeErrors(train, train.new_zeros(len(gammas), 0))
    bias = torch.stack(
        [
            (problem.test_targets - a * (problem.cross @ (row[:, None] * problem.coefficients)))
            .square()
            .mean(1)
            for a, row in zip(slope, q, strict=True)
        ]
    )
    removed = slope.square() * (problem.cross.square() @ (gamma * q.square() + q).T)
    variance = slope[:, None] * problem.variances - removed.T
    return RidgeErrors(train, bias + spread[:, None] * variance)


def simulate_ridge(
    activation: str,
    train: tuple[torch.Tensor, torch.Tensor],
    test: tuple[torch.Tensor, torch.Tensor],
    width: int,
    ridges: torch.Tensor,
    *,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return training and test errors of one random network, shapes ``(m,)``.

    Parameters
    ----------
    activation
        Name of the activation function.
    train, test
        Inputs, shape ``(n, p)``, and targets, shape ``(n,)`` or ``(n, k)``.
    width, ridges
        As of :func:`ridge_errors`.
    generator
        On the CPU.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import equivalents
    >>> generator = torch.Generator().manual_seed(0)
    >>> inputs = torch.randn(50, 20, generator=generator).double() / 20**0.5
    >>> data = (inputs, inputs[:, 0])
    >>> errors = equivalents.simulate_ridge("relu", data, data, 40, torch.tensor([0.1]), generator=generator)
    >>> torch.allclose(*errors)  # the same samples
    True
    """
    inputs, targets = train[0].double(), _columns(train[1])
    after, wanted = test[0].double(), _columns(test[1])
    weights = torch.randn(width, inputs.shape[1], dtype=torch.float64, generator=generator).to(inputs.device)
    phi = ACTIVATIONS[activation]
    return trained_ridge(phi(weights @ inputs.T), targets, phi(weights @ after.T), wanted, ridges)


def trained_ridge(
    features: torch.Tensor,
    targets: torch.Tensor,
    test_features: torch.Tensor,
    test_targets: torch.Tensor,
    ridges: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return training and test errors of ridge regression on given features, shapes ``(m,)``.

    Parameters
    ----------
    features, test_features
        ``Σ`` of training and test samples, shapes ``(d, n)`` and ``(d, n')``.
    targets, test_targets
        Shapes ``(n,)`` and ``(n',)``, or with ``k`` columns.
    ridges
        ``γ``, shape ``(m,)``, positive.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import equivalents
    >>> features, targets = torch.eye(2).double(), torch.ones(2)
    >>> train, _ = equivalents.trained_ridge(features, targets, features, targets, torch.tensor([0.5]))
    >>> train.tolist()  # β = 1/2: half of the target is left
    [0.25]
    """
    y, wanted = _columns(targets), _columns(test_targets)
    width, count = features.shape
    narrow = width <= count
    gram = (features @ features.T if narrow else features.T @ features) / count
    right = (features @ y if narrow else y) / count
    errors = []
    for gamma in ridges.tolist():
        shifted = gram.clone()
        shifted.diagonal().add_(gamma)
        solution = torch.cholesky_solve(right, torch.linalg.cholesky(shifted))
        left = y - features.T @ solution if narrow else gamma * count * solution
        beta = solution if narrow else features @ solution
        errors.append((left.square().mean(), (wanted - test_features.T @ beta).square().mean()))
    return torch.stack([one for one, _ in errors]), torch.stack([other for _, other in errors])


def _delta(eigenvalues: torch.Tensor, ratio: float, gammas: torch.Tensor) -> torch.Tensor:
    """Solve ``δ = (1/n) Σ λ/((d/n) λ/(1 + δ) + γ)``: its root lies between the right sides at 0 and at ∞."""

    def image(delta: torch.Tensor) -> torch.Tensor:
        scaled = ratio / (1 + delta[:, None]) * eigenvalues + gammas[:, None]
        return (eigenvalues / scaled).mean(1)

    low, high = image(torch.zeros_like(gammas)).log(), (eigenvalues.mean() / gammas).log()
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        delta = middle.exp()
        under = image(delta) > delta
        low, high = torch.where(under, middle, low), torch.where(under, high, middle)
    return ((low + high) / 2).exp()


def _columns(targets: torch.Tensor) -> torch.Tensor:
    if targets.ndim not in (1, 2):
        raise ValueError("targets must have the shape (n,) or (n, k)")
    return targets.double() if targets.ndim == 2 else targets.double()[:, None]
