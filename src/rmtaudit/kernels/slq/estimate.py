"""The third noun: what is estimated, from how many probes and steps, and how far off it can be.

Two errors are kept apart. Each probe's ``uᵀ f(A) u`` is known up to a bracket (quadrature). The mean over the
probes is a sample mean (Monte Carlo). The interval goes from Student's lower limit of the lower ends to his
upper limit of the upper ends, so that it covers at its level whatever the quadrature left over.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from scipy.special import stdtrit

from rmtaudit.kernels.lanczos import Jacobi, Process, start
from rmtaudit.kernels.operators import Gram, Operator
from rmtaudit.kernels.slq.edges import Edge, Edges, check_domain, spectrum_edges
from rmtaudit.kernels.slq.integrands import LOG, Integrand
from rmtaudit.kernels.slq.quadrature import Bracket, Rule, bracket, gauss, step_bracket
from rmtaudit.kernels.slq.samplers import Sampler

BLOCK = 32
"""Probes that share one product; fixed, so that the numbers do not depend on how many are asked for."""

_FIRST_CHECK = 12
"""A convention: Lanczos steps before the bracket is looked at for the first time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is spent.

    Attributes
    ----------
    probes
        At least 2. With a ``tolerance``, those of the pilot.
    steps
        Most Lanczos steps a probe; fewer where the brackets are narrow before.
    level
        Of the interval.
    tolerance
        Half width that the Monte Carlo part of the interval is to have, in the units of the estimate;
        ``None`` keeps to ``probes``. The number of probes is fixed once, from the pilot, and the interval
        takes the pilot's variance (Stein 1945), so that the level holds.
    most
        Most probes that a tolerance may ask for.
    share
        Steps end where the mean bracket is narrower than this share of the standard error.
    """

    probes: int = 16
    steps: int = 200
    level: float = 0.95
    tolerance: float | None = None
    most: int = 512
    share: float = 0.1

    def __post_init__(self) -> None:
        if self.probes < 2 or self.steps < 1 or self.most < self.probes:
            raise ValueError(
                "at least 2 probes, at least 1 step, and at most as many probes as in the pilot are needed"
            )
        if not 0 < self.level < 1 or not self.share > 0 or not (self.tolerance is None or self.tolerance > 0):
            raise ValueError("the level must lie between 0 and 1, and share and tolerance must be positive")


STANDARD = Effort()
"""16 probes, at most 200 steps, 95 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceEstimate:
    """``tr f(A)`` with its errors apart.

    Attributes
    ----------
    value
        Mean of the middles of the brackets; of the Gauss rules where a side is missing.
    bracket
        Means of the lower and of the upper ends: what the probes' own mean is known to, infinite where that
        side is not known.
    standard_error
        Of the mean over the probes.
    interval, level
        See the module; infinite where the bracket is.
    probes, steps, products
        Probes used, Lanczos steps a probe, and products with single vectors.
    edge, edge_source
        The lower bound of the spectrum behind the bracket, and where it is from: ``given`` with the operator,
        ``converged`` (the smallest Ritz values of all the probes less their residuals), or ``none``.
    rounding
        What is allowed in the bracket for rounding.
    samples
        Lower and upper ends, probe by probe, in units of the trace.
    narrow
        Whether the steps sufficed: the bracket is narrower than the share of the standard error that was
        asked for (or is all rounding), and the interval covers at its level. Where there were no more steps
        it is wider, and covers more often than that.
    reason
        Why a side is missing, or empty.
    """

    value: float
    bracket: tuple[float, float]
    standard_error: float
    interval: tuple[float, float]
    level: float
    probes: int
    steps: int
    products: int
    edge: float | None
    edge_source: Edge
    rounding: float
    samples: tuple[tuple[float, float], ...]
    narrow: bool
    reason: str = ""


def trace(
    operator: Operator, integrand: Integrand, sampler: Sampler, effort: Effort = STANDARD
) -> TraceEstimate:
    """Return ``tr f(A)`` by stochastic Lanczos quadrature (Ubaru, Chen, Saad 2017), bracketed.

    Equivalent to ``f(numpy.linalg.eigvalsh(A)).sum()`` within ``interval``.

    Raises
    ------
    ValueError
        If the function has no value at eigenvalues that the shape makes 0.
    ArithmeticError
        If the matrix is not symmetric, if a product is not finite, or if f needs a positive definite matrix
        and a Ritz value says that this is none: Ritz values lie inside the spectrum, so that is a proof for
        an indefinite one, and for a singular one a statement about the working precision.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import operators, slq
    >>> matrix = torch.diag(torch.linspace(1, 2, 200, dtype=torch.float64))
    >>> operator = operators.dense(matrix, smallest=1.0)
    >>> estimate = slq.trace(operator, slq.power(2.0), slq.Sampler(0), slq.Effort(probes=8))
    >>> abs(estimate.value - float((matrix**2).trace())) < 1e-6  # signs are exact on diagonals
    True
    """
    if operator.zeros and integrand.at_zero is None:
        raise ValueError(
            f"{operator.zeros} eigenvalues of this Gram matrix are 0 because of its shape, where "
            f"{integrand.name} has no value: take the Gram matrix of the smaller side"
        )

    def measure(jacobi: Jacobi, rule: Rule, edges: Edges) -> Bracket:
        return bracket(
            jacobi,
            rule,
            integrand=integrand,
            smallest=edges.smallest,
            largest=edges.largest,
            epsilon=edges.epsilon,
        )

    estimate = _run(operator, measure, sampler, effort, positive=integrand.positive, order=integrand.order,
                 nonnegative=integrand.nonnegative)  # fmt: skip
    offset = operator.zeros * (integrand.at_zero or 0.0)
    return moved(estimate, offset) if offset else estimate


def log_determinant(operator: Operator, sampler: Sampler, effort: Effort = STANDARD) -> TraceEstimate:
    """Return ``log det A`` of a positive definite matrix: :func:`trace` of ``log``. In nats.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import operators, slq
    >>> matrix = torch.diag(torch.linspace(1, 2, 200, dtype=torch.float64))
    >>> operator = operators.dense(matrix, smallest=1.0)
    >>> estimate = slq.log_determinant(operator, slq.Sampler(0), slq.Effort(probes=8))
    >>> abs(estimate.value - float(matrix.diagonal().log().sum())) < 1e-6  # signs are exact on diagonals
    True
    """
    return trace(operator, LOG, sampler, effort)


def count(operator: Operator, threshold: float, sampler: Sampler, effort: Effort = STANDARD) -> TraceEstimate:
    """Return the number of eigenvalues at or below a threshold, bracketed by the separation theorem.

    Examples
    --------
    >>> import torch
    >>> from rmtaudit.linalg import operators, slq
    >>> matrix = torch.diag(torch.linspace(1, 2, 200, dtype=torch.float64))
    >>> operator = operators.dense(matrix, smallest=1.0)
    >>> estimate = slq.count(operator, 1.5, slq.Sampler(0), slq.Effort(probes=8))
    >>> abs(estimate.value - 100) < 10
    True
    """

    def measure(jacobi: Jacobi, rule: Rule, edges: Edges) -> Bracket:
        del rule, edges
        return step_bracket(jacobi, threshold)

    estimate = _run(operator, measure, sampler, effort)
    return moved(estimate, float(operator.zeros)) if operator.zeros and threshold >= 0 else estimate


_Measure = Callable[[Jacobi, Rule, Edges], Bracket]


def _run(
    operator: Operator,
    measure: _Measure,
    sampler: Sampler,
    effort: Effort,
    *,
    positive: bool = False,
    nonnegative: bool = False,
    order: float = 0.0,
) -> TraceEstimate:
    processes: list[Process] = []
    steps = min(effort.steps, operator.size)
    level = min(max(_FIRST_CHECK, math.ceil((order + 1) / 2)), steps)

    def grow(probes: int) -> None:
        # whole blocks, so that a probe's numbers are those of any other number of probes
        while BLOCK * len(processes) < probes:
            first = BLOCK * len(processes)
            last = min(first + BLOCK, probes) if effort.tolerance is None else first + BLOCK
            processes.append(start(operator, sampler.unit(range(first, last), operator.size)))

    def read(probes: int) -> tuple[Bracket, Edges]:
        parts = [process.extend(level) for process in processes]
        rules = [gauss(part) for part in parts]
        epsilon = operator.epsilon
        # Golub-Kahan resolves singular values to eps, Lanczos eigenvalues
        floor = 8 * epsilon * level**0.5
        check_domain(
            rules,
            floor**2 if isinstance(operator, Gram) else floor,
            positive=positive,
            nonnegative=nonnegative,
        )
        edges = spectrum_edges(operator, parts, rules, epsilon, positive=positive)
        brackets = [measure(part, rule, edges) for part, rule in zip(parts, rules, strict=True)]
        return _first(brackets, probes), edges

    def refine(probes: int) -> tuple[Bracket, Edges]:
        nonlocal level
        ends, edges = read(probes)
        while level < steps and not _is_narrow(ends, effort):
            level = min(max(level + 4, int(1.4 * level)), steps)
            ends, edges = read(probes)
        return ends, edges

    pilot = probes = effort.probes
    grow(probes)
    pooled, edges = refine(probes)
    deviations = _deviations(pooled)
    if effort.tolerance is not None:
        wanted = effort.tolerance / operator.size
        quantile = float(stdtrit(pilot - 1, (1 + effort.level) / 2))
        probes = min(max(pilot, math.ceil((quantile * max(deviations) / wanted) ** 2)), effort.most)
        if probes > pilot:
            grow(probes)
            pooled, edges = refine(probes)
    return _summary(
        operator, pooled, edges=edges, effort=effort, deviations=deviations, pilot=pilot, processes=processes
    )


def _first(parts: list[Bracket], probes: int) -> Bracket:
    def join(name: str) -> torch.Tensor:
        return torch.cat([getattr(part, name) for part in parts])[:probes]

    return Bracket(join("lower"), join("upper"), join("gauss"), join("rounding"))


def _is_narrow(ends: Bracket, effort: Effort) -> bool:
    width = float((ends.upper - ends.lower).mean())
    spread = float(ends.gauss.std()) / math.sqrt(len(ends.gauss))
    return width <= max(effort.share * spread, 4 * float(ends.rounding.mean()))


def _deviations(brackets: Bracket) -> tuple[float, float]:
    """Return the standard deviations of the lower and the upper ends, of Gauss where an end is missing."""
    ends = (brackets.lower, brackets.upper)
    usable = [end if bool(torch.isfinite(end).all()) else brackets.gauss for end in ends]
    return float(usable[0].std()), float(usable[1].std())


def _summary(
    operator: Operator,
    brackets: Bracket,
    edges: Edges,
    effort: Effort,
    deviations: tuple[float, float],
    pilot: int,
    processes: list[Process],
) -> TraceEstimate:
    n, probes = operator.size, len(brackets.gauss)
    quantile = float(stdtrit(pilot - 1, (1 + effort.level) / 2)) / math.sqrt(probes)
    low, high = float(brackets.lower.mean()), float(brackets.upper.mean())
    both = math.isfinite(low) and math.isfinite(high)
    middle = (brackets.lower + brackets.upper) / 2 if both else brackets.gauss
    nowhere = not math.isfinite(low) and not math.isfinite(high)
    reason = "the signs of the derivatives of f are not known" if nowhere else edges.reason
    return TraceEstimate(
        value=n * float(middle.mean()),
        bracket=(n * low, n * high),
        standard_error=n * max(deviations) / math.sqrt(probes),
        interval=(n * (low - quantile * deviations[0]), n * (high + quantile * deviations[1])),
        level=effort.level,
        probes=probes,
        steps=processes[0].steps,
        products=sum(process.steps for process in processes) * min(BLOCK, probes),
        edge=edges.smallest,
        edge_source=edges.source,
        rounding=n * float(brackets.rounding.mean()),
        samples=tuple(
            (n * float(a), n * float(b)) for a, b in zip(brackets.lower, brackets.upper, strict=True)
        ),
        narrow=both and _is_narrow(brackets, effort),
        reason="" if both else reason,
    )


def moved(estimate: TraceEstimate, offset: float) -> TraceEstimate:
    """Return the estimate of the trace plus a known number."""

    def move(pair: tuple[float, float]) -> tuple[float, float]:
        return pair[0] + offset, pair[1] + offset

    return replace(
        estimate,
        value=estimate.value + offset,
        bracket=move(estimate.bracket),
        interval=move(estimate.interval),
        samples=tuple(move(pair) for pair in estimate.samples),
    )
