"""The planner: which methods a matrix allows, what each would cost, which one is taken and why.

It looks at the tier of access, at what the construction guarantees (symmetric, semidefinite, a known null
space), at the order, at the memory and at the free disk; never at an entry. The rules, in order:

1. A minor beyond the matrix is extrapolated; nothing else can reach it. It is never done unasked.
2. Exact before estimated, where it fits: sparse factors, QR of the factor of a Gram matrix, Cholesky or LU.
3. Out of core before estimated, but for sparse matrices: their products cost less than their dense factor.
4. Lanczos quadrature for what is left.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from rmtaudit.engine.logdet.facts import Facts, stored_bytes
from rmtaudit.engine.logdet.settings import LogdetSettings, Method
from rmtaudit.engine.logdet.tiling import least_memory, tiling_for
from rmtaudit.matrices.sources import Leading, MatrixSource

_ITEM = 8
_SUPERLU = 12
"""Bytes that SuperLU takes for an entry of a factor: a float64 and an index."""
_SLACK = 1.2
_FEWEST_STEPS = 30
PLACES = ("in memory", "on disk", "by products")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One method, and what it would take.

    Attributes
    ----------
    method, place
        What and where: ``"in memory"``, ``"on disk"``, ``"by products"``.
    possible
        Whether it can be done.
    reason
        Why not; of one that can, what speaks for and against it.
    flops
        Operations, about; ``None`` where only doing it tells.
    memory, scratch
        Bytes of memory and of disk that it takes.
    moved
        Bytes read: of the file of the matrix and back from the scratch file.
    steps
        Lanczos steps that the memory allows; 0 for other methods.
    """

    method: Method
    place: str
    possible: bool
    reason: str
    flops: float | None = None
    memory: int | None = None
    scratch: int = 0
    moved: int = 0
    steps: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be done, and why.

    Attributes
    ----------
    taken
        The candidate; ``None`` where none is possible.
    why
        One sentence: why it is taken, or why none is.
    forced
        Whether the user named the method.
    candidates
        All of them, in the order of preference.
    budget, threads
        Bytes of memory and threads.
    """

    taken: Candidate | None
    why: str
    forced: bool
    candidates: tuple[Candidate, ...]
    budget: int
    threads: int


def make_plan(facts: Facts, settings: LogdetSettings, *, budget: int, threads: int, scratch: Path) -> Plan:
    """Return the plan for a matrix; never raises for one that has no method."""
    found = tuple(_candidates(facts, settings, budget, threads, _free_disk(scratch)))
    wanted = [each for each in found if settings.method in (None, each.method)]
    taken = next((each for each in wanted if each.possible), None)
    if taken is None:
        reasons = "; ".join(f"{each.method} {each.place}: {each.reason}" for each in wanted)
        return Plan(None, reasons or "no method is left", settings.method is not None, found, budget, threads)
    why = taken.reason
    if settings.method is not None:
        why = f"asked for with --method; {why}"
    return Plan(taken, why, settings.method is not None, found, budget, threads)


def _candidates(
    facts: Facts, settings: LogdetSettings, budget: int, threads: int, disk: int
) -> Iterator[Candidate]:
    reached = _sizes(facts, settings)
    if reached is not None and reached[1]:
        yield from _extrapolated(facts, settings, budget, threads, disk, reached[0])
        for method in Method:
            if method is not Method.FLODANCE:
                reason = "the minor that is asked for has entries that are not there"
                yield Candidate(method, "in memory", possible=False, reason=reason)
        return
    made: dict[Method, Callable[[], Iterator[Candidate]]] = {
        Method.SPARSE: lambda: _sparse(facts, budget),
        Method.QR: lambda: _qr(facts, settings, budget),
        Method.CHOLESKY: lambda: _cholesky(facts, settings, budget, threads, disk),
        Method.LDLT: lambda: _ldlt(facts, settings, budget),
        Method.LU: lambda: _lu(facts, settings, budget),
        Method.SLQ: lambda: _slq(facts, settings, budget),
        Method.MIXED: lambda: _mixed(facts, settings, budget),
        Method.EIGENVALUES: lambda: _eigenvalues(facts, settings, budget),
        Method.FLODANCE: lambda: _flodance(facts, settings, budget, threads, disk),
    }
    order = [each for method in made for each in made[method]()]
    if facts.sparse is not None:  # rule 3
        order.sort(key=lambda each: each.method is Method.CHOLESKY and each.place == "on disk")
    if settings.pseudo and facts.laplacian is None and facts.gram is None:
        order.sort(key=lambda each: each.method is not Method.EIGENVALUES)
    yield from order


def _sizes(facts: Facts, settings: LogdetSettings) -> tuple[int, bool] | None:
    """Return the rows that may be looked at, and whether the minor asked for lies beyond them."""
    if settings.size is None:
        return None
    seen = facts.order if settings.up_to is None else min(facts.order, settings.up_to * settings.outputs)
    return seen, settings.size * settings.outputs > seen


def _refused(method: Method, reason: str, place: str = "in memory") -> Candidate:
    return Candidate(method, place, possible=False, reason=reason)


def _fit(candidate: Candidate, budget: int) -> Candidate:
    if candidate.possible and candidate.memory is not None and candidate.memory > budget:
        return replace(candidate, possible=False, reason="more than the memory holds")
    return candidate


def _sparse(facts: Facts, budget: int) -> Iterator[Candidate]:
    if facts.sparse is None:
        yield _refused(Method.SPARSE, "the matrix is not sparse")
        return
    worst = int(_SLACK * _SUPERLU * facts.order**2) + _SUPERLU * int(facts.sparse.nnz)
    if worst > budget:
        reason = "how far the factors fill up is only known afterwards, and dense ones exceed the memory"
        # Forced, it is done all the same: the user may know.
        yield Candidate(Method.SPARSE, "in memory", False, reason, None, worst)
        return
    reason = "sparse and exact; even factors that fill up fit the memory"
    yield Candidate(Method.SPARSE, "in memory", True, reason, None, worst)


def _qr(facts: Facts, settings: LogdetSettings, budget: int) -> Iterator[Candidate]:
    if facts.gram is None:
        yield _refused(Method.QR, "the matrix is not WᵀW of a matrix W")
        return
    rows, cols = sorted(facts.gram.factor.shape, reverse=True)
    reason = "exact, and from W itself: WᵀW would square its condition number"
    candidate = Candidate(
        Method.QR,
        "in memory",
        True,
        reason,
        2.0 * cols**2 * (rows - cols / 3) + cols**3 / 3,
        int(_SLACK * _ITEM * (2 * rows * cols + cols * cols)),
        moved=stored_bytes(facts.source) or 0,
    )
    if settings.minors or settings.size is not None:
        candidate = replace(candidate, possible=False, reason="it gives no leading minors")
    yield _fit(candidate, budget)


def _cholesky(
    facts: Facts, settings: LogdetSettings, budget: int, threads: int, disk: int
) -> Iterator[Candidate]:
    wrong = _no_factor(facts) or _singular(facts, settings)
    if not facts.symmetric:
        wrong = "the matrix is not symmetric"
    if wrong:
        yield _refused(Method.CHOLESKY, wrong)
        return
    n = facts.order
    read = stored_bytes(facts.source) or 0
    needed = tiling_for(n, 1 << 62, threads).working_bytes(threads)
    sure = "" if facts.semidefinite else ", if the matrix is positive definite: it will show"
    whole = Candidate(
        Method.CHOLESKY, "in memory", True, f"exact{sure}, and the matrix fits the memory",
        n**3 / 3, needed, moved=read,
    )  # fmt: skip
    yield _fit(whole, budget)
    yield _on_disk(n, budget, threads, disk, read, sure)


def _on_disk(n: int, budget: int, threads: int, disk: int, read: int, sure: str) -> Candidate:
    if least_memory(n, threads) > budget:
        return _refused(Method.CHOLESKY, "not even one tile fits the memory", "on disk")
    tiling = tiling_for(n, budget, threads)
    if tiling.in_core:
        return _refused(Method.CHOLESKY, "not needed: the matrix fits the memory", "on disk")
    found = Candidate(
        Method.CHOLESKY, "on disk", True,
        f"exact{sure}; the matrix exceeds the memory, its factor fits the disk, and `--resume` goes on",
        n**3 / 3, tiling.working_bytes(threads), tiling.scratch_bytes, read + tiling.read_bytes(),
    )  # fmt: skip
    if tiling.scratch_bytes > disk:
        return replace(found, possible=False, reason="the factor exceeds the free disk; --scratch names another")
    return found


def _ldlt(facts: Facts, settings: LogdetSettings, budget: int) -> Iterator[Candidate]:
    wrong = _no_factor(facts) or _singular(facts, settings)
    if not facts.symmetric:
        wrong = "the matrix is not symmetric"
    if wrong:
        yield _refused(Method.LDLT, wrong)
        return
    n = facts.order
    reason = "exact, for an indefinite matrix; a definite one is left to Cholesky, which needs no exchanges"
    yield _fit(
        Candidate(
            Method.LDLT, "in memory", True, reason, n**3 / 3, _dense_bytes(n),
            moved=stored_bytes(facts.source) or 0,
        ),
        budget,
    )  # fmt: skip


def _lu(facts: Facts, settings: LogdetSettings, budget: int) -> Iterator[Candidate]:
    wrong = _no_factor(facts) or _singular(facts, settings)
    if wrong:
        yield _refused(Method.LU, wrong)
        return
    n = facts.order
    reason = "exact" if not facts.symmetric else "exact; twice the work of methods for symmetric matrices"
    yield _fit(
        Candidate(
            Method.LU, "in memory", True, reason, 2 * n**3 / 3, _dense_bytes(n),
            moved=stored_bytes(facts.source) or 0,
        ),
        budget,
    )  # fmt: skip


def _slq(facts: Facts, settings: LogdetSettings, budget: int) -> Iterator[Candidate]:
    place = "by products"
    wrong = "" if facts.products else "the source offers no products"
    wrong = wrong or _singular(facts, settings)
    if not facts.symmetric:
        wrong = "the matrix is not symmetric"
    if settings.minors:
        wrong = "it gives no leading minors"
    if wrong:
        yield _refused(Method.SLQ, wrong, place)
        return
    n = facts.order
    sides = sum(facts.gram.factor.shape) if facts.gram is not None else n
    steps = min(settings.steps, n)
    each = _ITEM * settings.probes * sides * 3 // 2  # the basis grows by half
    fitting = min(steps, budget // max(1, each) - 1)
    flops = settings.probes * fitting * (facts.product_flops + 4.0 * sides * fitting)
    reason = "estimated, with an interval; only products are needed"
    found = Candidate(
        Method.SLQ, place, True, reason, flops, each * (fitting + 1),
        moved=(stored_bytes(facts.source) or 0) * fitting, steps=fitting,
    )  # fmt: skip
    if fitting < min(steps, _FEWEST_STEPS):
        reason = f"the memory holds {max(fitting, 0)} Lanczos vectors a probe; fewer --probes need less"
        found = replace(found, possible=False, reason=reason, flops=None, memory=each * (steps + 1), steps=0)
    yield found


def _mixed(facts: Facts, settings: LogdetSettings, budget: int) -> Iterator[Candidate]:
    wrong = _no_factor(facts) or _singular(facts, settings)
    if not facts.symmetric:
        wrong = "the matrix is not symmetric"
    if settings.minors:
        wrong = "it gives no leading minors"
    if wrong:
        yield _refused(Method.MIXED, wrong)
        return
    n = facts.order
    reason = "a factor in float32, corrected by probes; estimated, with an interval"
    flops = n**3 / 3 + settings.probes * 12 * 4.0 * n**2
    yield _fit(
        Candidate(
            Method.MIXED, "in memory", True, reason, flops, int(2.6 * _ITEM * n * n),
            moved=stored_bytes(facts.source) or 0,
        ),
        budget,
    )  # fmt: skip


def _eigenvalues(facts: Facts, settings: LogdetSettings, budget: int) -> Iterator[Candidate]:
    wrong = "" if facts.blocks else "the source offers no entries"
    if not facts.symmetric:
        wrong = "the matrix is not symmetric"
    if not settings.pseudo:
        wrong = "only needed for a pseudo-determinant"
    if wrong:
        yield _refused(Method.EIGENVALUES, wrong)
        return
    n = facts.order
    reason = "all eigenvalues: which of them are 0 is judged by a gap, and said"
    yield _fit(
        Candidate(
            Method.EIGENVALUES, "in memory", True, reason, 4 * n**3 / 3, _dense_bytes(n),
            moved=stored_bytes(facts.source) or 0,
        ),
        budget,
    )  # fmt: skip


def _flodance(
    facts: Facts, settings: LogdetSettings, budget: int, threads: int, disk: int
) -> Iterator[Candidate]:
    """Yield the extrapolation of a minor that is within the matrix: only where it is asked for."""
    if settings.method is not Method.FLODANCE and not (settings.size and settings.tolerance):
        yield _refused(
            Method.FLODANCE, "it extrapolates from leading minors, which is done only if asked for", "on disk"
        )
        return
    yield from _extrapolated(facts, settings, budget, threads, disk, facts.order)


def _extrapolated(
    facts: Facts, settings: LogdetSettings, budget: int, threads: int, disk: int, rows: int
) -> Iterator[Candidate]:
    wrong = _no_factor(facts) or _singular(facts, settings)
    if not facts.symmetric:
        wrong = "the matrix is not symmetric"
    if wrong:
        yield _refused(Method.FLODANCE, wrong)
        return
    base = replace(settings, size=None, up_to=None)
    parts = list(_cholesky(replace(facts, source=_shorter(facts, rows)), base, budget, threads, disk))
    chosen = next((each for each in parts if each.possible), None)
    if chosen is None:
        yield _refused(Method.FLODANCE, parts[-1].reason, parts[-1].place)
        return
    until = ", growing until the interval is narrow enough" if settings.tolerance else ""
    yield replace(
        chosen,
        method=Method.FLODANCE,
        reason=f"extrapolated from the leading minors of {rows:,} rows{until}, with a prediction interval",
    )


def _shorter(facts: Facts, rows: int) -> MatrixSource:
    return facts.source if rows == facts.order else Leading(facts.source, rows)


def _no_factor(facts: Facts) -> str:
    return "" if facts.blocks else "the source offers no entries, only products"


def _singular(facts: Facts, settings: LogdetSettings) -> str:
    return "" if settings.pseudo or not facts.singular else "the matrix is singular"


def _dense_bytes(n: int) -> int:
    return _ITEM * (n * n + 256 * n)


def _free_disk(folder: Path) -> int:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free
