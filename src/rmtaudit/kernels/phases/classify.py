"""The phase of a trained weight matrix, from its eigenvalues: one of the "5+1" of Martin and Mahoney.

Each phase is decided by a few statistics of the spectrum. How sure it is follows from moving every statistic
by its own sampling error and looking how often the same phase comes out: see :func:`phase_confidence`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from rmtaudit.kernels.noise.marchenko_pastur import BulkFit, fit_bulk
from rmtaudit.kernels.noise.table import LEAST_P, bulk_p_value
from rmtaudit.kernels.noise.tracy_widom import STANDARD_DEVIATION, soft_edge
from rmtaudit.kernels.powerlaw.fit import NoFit, PowerLawFit, fit_power_law

Phase = Literal[
    "random-like", "bleeding-out", "bulk+spikes", "bulk-decay", "heavy-tailed", "rank-collapse", "none"
]
OUTCOMES: tuple[Phase, ...] = get_args(Phase)
PHASES = OUTCOMES[:-1]
"""The 5+1. ``none`` is a spectrum that none of them describes: narrower than noise, as orthogonal columns, or
with far outliers and a bulk that is neither noise nor a power law."""

LEAST_SIDE = 32
"""Eigenvalues that a phase needs, a convention: a bulk, an edge and a tail each need some."""

# docs/analyzers/phase.md says what each lies between on the matrices that set it
ZERO_SHARE = 0.02
BULK_LEVEL = 0.05
SPIKE_SHARE = 0.06
GAP = 0.18
DECAY_GAP = 1.5
HEAVY_ALPHA = 4.0
TAIL_SHARE = 0.02
TAIL_MISFIT = 0.8
TAIL_LEVEL = 0.01

AGREEMENT: dict[Phase, float] = {
    "random-like": 0.85,
    "bleeding-out": 0.25,
    "bulk+spikes": 0.86,
    "bulk-decay": 0.67,
    "heavy-tailed": 0.83,
    "rank-collapse": 0.75,
    "none": 0.70,
}
"""How often a second training of a small network gave a layer the same phase: benchmarks/phases_trained.py.

By Laplace's rule of succession over layers of recipes, ``(agreements + 1)/(layers + 2)``: few layers in a
phase keep its factor from 0 and 1.
"""

_MIN_TAIL = 8  # as of the analyzer powerlaw
_TINY, _BELOW_EDGE = 1e-6, 1e-3  # conventions: see PhaseStatistics.zero_share
_EDGE_VALUES = 8  # of the bulk: a move that takes one further down over the edge is beyond 6 deviations
_MISFIT_ERROR = 0.15  # the standard deviation of the misfit over samples of power laws
_HOPELESS = 1e-12  # a bulk less likely than this does not become noise by a few standard deviations


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseStatistics:
    """What decides the phase of a ``p x n`` matrix, ``p <= n``. Eigenvalues are those of ``WᵀW``.

    Attributes
    ----------
    size
        Number of eigenvalues, ``p``.
    zero_share
        Share of eigenvalues that are zero: beyond the numerical rank, under 1e-6 of the median of the others,
        or under 1e-3 of the lower edge of the bulk.
    bulk
        The bulk as Marchenko-Pastur noise, spikes taken off from one side of the matrix or, where they are
        few and that is closer to the law, from both; ``None`` where too much is zero for a bulk.
    bulk_p_value
        Probability that the bulk of noise is as far from that law; 0 without a bulk.
    gap
        Largest distance from an eigenvalue above the bulk to the next below it, over ``lambda_plus``; 0
        without spikes.
    tail
        Power law of the tail, or ``None`` where there is none to fit.
    reach
        Logarithm of the largest eigenvalue over the start of the tail; 0 without a tail.
    """

    size: int
    zero_share: float
    bulk: BulkFit | None
    bulk_p_value: float
    gap: float
    tail: PowerLawFit | None
    reach: float

    @property
    def spikes(self) -> int:
        """Number of eigenvalues above the bulk; 0 without a bulk."""
        return self.bulk.spikes if self.bulk else 0

    @property
    def tail_share(self) -> float:
        """Eigenvalues in the tail, over all."""
        return self.tail.tail_size / self.size if self.tail else 0.0

    @property
    def tail_misfit(self) -> float:
        """Distance of the tail to its power law, times the root of the tail's size; infinite without one."""
        return self.tail.ks_distance * math.sqrt(self.tail.tail_size) if self.tail else math.inf

    @property
    def tail_reach_p_value(self) -> float:
        """Probability that a sample of the fitted law reaches no further than the tail; 0 without a tail.

        Near 0 the tail is cut off, which no power law is, whatever its exponent.
        """
        if self.tail is None:
            return 0.0
        alpha = torch.tensor(self.tail.alpha, dtype=torch.float64)
        return math.exp(-float(_expected_beyond(self, alpha)))


@dataclass(frozen=True, slots=True)
class PhaseVerdict:
    """A phase and how sure it is.

    Attributes
    ----------
    phase
        By the statistics as they are.
    confidence
        Share of draws, each statistic moved by its sampling error, that give the same phase.
    shares
        That share of every phase that was drawn at all, the most frequent first.
    """

    phase: Phase
    confidence: float
    shares: tuple[tuple[Phase, float], ...]


def phase_statistics(eigenvalues: torch.Tensor, rows: int, cols: int, *, rank: int) -> PhaseStatistics:
    """Return the statistics that decide the phase.

    Parameters
    ----------
    eigenvalues
        Shape ``(p,)``, ``p = min(rows, cols)``, float64, ascending, those of ``WᵀW`` in (weight units)². The
        unit plays no part.
    rows, cols
        Shape of ``W``.
    rank
        How many of them the stored precision distinguishes from zero, at least 1.

    Raises
    ------
    ValueError
        If the number of eigenvalues is not ``min(rows, cols)`` or is below 32, or the rank not between 1 and
        it.

    References
    ----------
    Martin, Mahoney, *Implicit Self-Regularization in Deep Neural Networks*, JMLR 22 (2021), section 4.
    """
    p = min(rows, cols)
    if len(eigenvalues) != p:
        raise ValueError(f"a {rows} x {cols} matrix has {p} eigenvalues, not {len(eigenvalues)}")
    if p < LEAST_SIDE:
        raise ValueError(f"a phase needs {LEAST_SIDE} eigenvalues, not {p}")
    if not 1 <= rank <= p:
        raise ValueError(f"the rank must lie between 1 and {p}, not {rank}")
    values = eigenvalues.double()
    counted = values[p - rank :]
    zeros = p - rank + int((counted <= _TINY * counted.median()).sum())
    fit = fit_power_law(values[zeros:], min_tail=_MIN_TAIL)
    tail = None if isinstance(fit, NoFit) else fit
    reach = math.log(float(values[-1]) / tail.xmin) if tail else 0.0
    try:
        bulk = _fit_bulk(values, rows, cols)
    except ArithmeticError:
        return PhaseStatistics(
            size=p, zero_share=zeros / p, bulk=None, bulk_p_value=0.0, gap=0.0, tail=tail, reach=reach
        )
    zeros = max(zeros, int((values <= _BELOW_EDGE * bulk.lambda_minus).sum()))
    return PhaseStatistics(
        size=p,
        zero_share=zeros / p,
        bulk=bulk,
        bulk_p_value=bulk_p_value(bulk.n_ks, rows, cols),
        gap=float(_gap(values[-bulk.spikes - 1 :], bulk)),
        tail=tail,
        reach=reach,
    )


def phase_of(statistics: PhaseStatistics) -> Phase:
    """Return the phase that follows from the statistics.

    In this order: *rank-collapse* where more than 2 % of the eigenvalues are zero. Where the bulk is noise
    and fewer than 6 % of the eigenvalues stand above it: *random-like* if none does, *bulk+spikes* if there
    is a gap of more than 0.18 edges among them or below them, else *bleeding-out*. Otherwise *heavy-tailed*
    where a power law of an exponent below 4 fits a tail of at least 2 % of the eigenvalues, to its end;
    *bulk-decay* where something stands above the edge and either a power law of a larger exponent fits in the
    same way or no two neighbours there are more than 1.5 edges apart; else *none*.
    """
    return OUTCOMES[int(_decide(statistics, _unmoved(statistics)))]


def phase_confidence(
    eigenvalues: torch.Tensor,
    rows: int,
    cols: int,
    statistics: PhaseStatistics,
    *,
    generator: torch.Generator,
    draws: int = 400,
) -> PhaseVerdict:
    """Return the phase, and how often it stays the same when the statistics are moved by their errors.

    A parametric bootstrap of the statistics, not of the matrix: to draw eigenvalues again with replacement
    would destroy their repulsion, and with it the bulk; to draw matrices again would need their law. Every
    statistic is moved independently of the others, by a Gaussian:

    - the normal score of ``bulk_p_value`` by 1, which is how much it fluctuates over noise;
    - the largest eigenvalues by the Tracy-Widom standard deviation, or by that of a spike (Paul 2007, theorem
      3) where that is more; the number of spikes and the gap are counted again, and the gaps moved back by as
      much as their median exceeds the gap: the largest of several steps grows when all are moved;
    - ``log(alpha - 1)`` by its standard error, widened by a quarter of its range over the starts of the tail
      that fit as well; the chance of the tail's reach follows;
    - the misfit of the tail by 0.15, its standard deviation over samples of power laws.

    The share of zeros stays: it is a fact about the stored numbers.

    Parameters
    ----------
    eigenvalues, rows, cols
        As for :func:`phase_statistics`.
    statistics
        What that function returned for them.
    generator
        Source of the moves, on the CPU.
    draws
        Number of draws, at least 1. The share has a standard error of at most ``1/(2 √draws)``.

    Raises
    ------
    ValueError
        If ``draws`` is below 1.

    References
    ----------
    Paul, *Asymptotics of sample eigenstructure for a large dimensional spiked covariance model*, Stat. Sinica
    17 (2007).
    """
    if draws < 1:
        raise ValueError(f"draws must be at least 1, not {draws}")
    score, alpha, misfit = torch.randn(3, draws, generator=generator, dtype=torch.float64)
    score += _score(statistics.bulk_p_value)
    spikes, gap = _moved_edge(eigenvalues, max(rows, cols), statistics, draws, generator)
    if statistics.tail is not None:
        alpha = 1 + (statistics.tail.alpha - 1) * torch.exp(_log_error(statistics.tail) * alpha)
    misfit = statistics.tail_misfit + _MISFIT_ERROR * misfit
    codes = _decide(statistics, _Moved(score=score, spikes=spikes, gap=gap, alpha=alpha, misfit=misfit))
    counts = torch.bincount(codes, minlength=len(OUTCOMES)).tolist()
    shares = [(phase, count / draws) for phase, count in zip(OUTCOMES, counts, strict=True) if count]
    phase = phase_of(statistics)
    return PhaseVerdict(
        phase,
        dict(shares).get(phase, 0.0),
        tuple(sorted(shares, key=lambda share: -share[1])),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moved:
    """The statistics that have an error, shape ``(draws,)``, float64 each."""

    score: torch.Tensor
    """Normal score of ``bulk_p_value``."""
    spikes: torch.Tensor
    gap: torch.Tensor
    alpha: torch.Tensor
    misfit: torch.Tensor


def _unmoved(statistics: PhaseStatistics) -> _Moved:
    """Return the statistics as they are, as one draw."""
    values = {
        "score": _score(statistics.bulk_p_value),
        "spikes": statistics.spikes,
        "gap": statistics.gap,
        "alpha": statistics.tail.alpha if statistics.tail else math.inf,
        "misfit": statistics.tail_misfit,
    }
    return _Moved(**{name: torch.tensor([value], dtype=torch.float64) for name, value in values.items()})


def _decide(statistics: PhaseStatistics, moved: _Moved) -> torch.Tensor:
    """Return the position in ``OUTCOMES`` of every draw, int64, shape ``(draws,)``."""
    codes = torch.full(moved.gap.shape, OUTCOMES.index("bulk-decay"))
    if statistics.zero_share > ZERO_SHARE:
        return codes.fill_(OUTCOMES.index("rank-collapse"))
    codes[(moved.spikes == 0) | (moved.gap > DECAY_GAP)] = OUTCOMES.index("none")
    if statistics.tail is not None and statistics.tail_share >= TAIL_SHARE:
        whole = _expected_beyond(statistics, moved.alpha) <= -math.log(TAIL_LEVEL)
        fits = (moved.misfit <= TAIL_MISFIT) & whole
        codes[fits & (moved.spikes > 0)] = OUTCOMES.index("bulk-decay")
        codes[fits & (moved.alpha < HEAVY_ALPHA)] = OUTCOMES.index("heavy-tailed")
    noise = (moved.score <= _score(BULK_LEVEL)) & (moved.spikes < SPIKE_SHARE * statistics.size)
    codes[noise] = OUTCOMES.index("bleeding-out")
    codes[noise & (moved.gap > GAP)] = OUTCOMES.index("bulk+spikes")
    codes[noise & (moved.spikes == 0)] = OUTCOMES.index("random-like")
    return codes


def _score(p_value: float) -> float:
    """Return the normal score of a p-value: 0 at 1/2, large for a small one."""
    bounded = torch.tensor(min(max(p_value, LEAST_P), 1 - 1e-9), dtype=torch.float64)
    return -float(torch.special.ndtri(bounded))


def _expected_beyond(statistics: PhaseStatistics, alpha: torch.Tensor) -> torch.Tensor:
    """Return how many values of a tail of this size the law has beyond the largest eigenvalue.

    None is beyond ``x`` with a chance near ``exp(-m (x/xmin)^(1 - alpha))``.
    """
    size = statistics.tail.tail_size if statistics.tail else 0
    return size * torch.exp(-statistics.reach * (alpha - 1))


def _fit_bulk(values: torch.Tensor, rows: int, cols: int) -> BulkFit:
    one = fit_bulk(values, rows, cols)
    if not one.spikes:
        return one
    try:
        both = fit_bulk(values, rows, cols, both_sides=True, most=int(SPIKE_SHARE * len(values)))
    except ArithmeticError:
        return one
    return both if both.n_ks < one.n_ks else one


def _log_error(tail: PowerLawFit) -> float:
    """Return the standard error of ``log(alpha - 1)``."""
    spread = 0.0
    if tail.alpha_low is not None and tail.alpha_high is not None:
        spread = math.log((tail.alpha_high - 1) / (tail.alpha_low - 1)) / 4
    return math.hypot(1 / math.sqrt(tail.tail_size), spread)


def _moved_edge(
    eigenvalues: torch.Tensor, n: int, statistics: PhaseStatistics, draws: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the numbers of spikes and the gaps with the largest eigenvalues moved."""
    bulk, p = statistics.bulk, statistics.size
    if bulk is None or statistics.bulk_p_value < _HOPELESS:
        unmoved = torch.tensor([statistics.spikes, statistics.gap], dtype=torch.float64)
        return unmoved[0].expand(draws), unmoved[1].expand(draws)
    top = eigenvalues[-min(p, bulk.spikes + _EDGE_VALUES) :].double().cpu()
    _, width = soft_edge(n, p - bulk.spikes)
    error = bulk.variance * torch.clamp(
        _spike_error(top / bulk.variance, p, n), min=STANDARD_DEVIATION * width
    )
    moved = top + error * torch.randn(draws, len(top), generator=generator, dtype=torch.float64)
    moved = moved.sort(dim=1).values
    gap = _gap(moved, bulk)
    return (moved > bulk.threshold).sum(1).double(), gap - (gap.median() - statistics.gap)


def _spike_error(values: torch.Tensor, p: int, n: int) -> torch.Tensor:
    """Return the standard deviation of eigenvalues of ``WᵀW`` as spikes of unit noise; 0 inside the bulk.

    ``1 + l`` comes to ``λ/n = (1 + l)(1 + c/l)``, with a variance of ``2 (1 + l)² (1 - c/l²)/n``.
    """
    c = p / n
    b = values / n - 1 - c
    strength = (b + (b.square() - 4 * c).clamp(min=0).sqrt()) / 2
    share = (1 - c / strength.square()).clamp(min=0)
    return torch.where(b > 2 * math.sqrt(c), (1 + strength) * torch.sqrt(2 * n * share), 0.0)


def _gap(ascending: torch.Tensor, bulk: BulkFit) -> torch.Tensor:
    """Return the largest step up to a value above the threshold, over the edge, along the last dimension."""
    if ascending.shape[-1] < 2:
        return torch.zeros(ascending.shape[:-1], dtype=torch.float64)
    steps = ascending[..., 1:] - ascending[..., :-1]
    steps = torch.where(ascending[..., 1:] > bulk.threshold, steps, 0.0)
    return steps.amax(-1) / bulk.lambda_plus
