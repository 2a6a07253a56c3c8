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
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from rmtaudit.engine.logdet.exact import dense_bytes, mixed_bytes, spectral_bytes
from rmtaudit.engine.logdet.facts import Facts, kind_of, stored_bytes
from rmtaudit.engine.logdet.settings import LogdetSettings, Method
from rmtaudit.engine.logdet.spectral import gram_bytes
from rmtaudit.engine.logdet.target import Target
from rmtaudit.engine.logdet.tiling import Tiling, least_memory, tiling_for
from rmtaudit.engine.resources.memory_size import format_memory

if TYPE_CHECKING:
    from rmtaudit.kernels.determinants.sparse_fill import Elimination

_ITEM = 8
_SUPERLU = 12
"""Bytes that SuperLU takes for an entry of a factor: a float64 and an index."""
_COPIES = 2
"""SuperLU's own arrays, and the matrices that scipy makes of them."""
_SLACK = 1.2
_FEWEST_STEPS = 30
_LOOKS, _LEAST_SIDE = 24, 128
_PRODUCTS = 16 << 20
"""What products take beside the vectors, where the matrix streams past them."""


class Lack(StrEnum):
    """What a method needs more of."""

    MEMORY = "memory"
    DISK = "disk"


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
    lacks
        What alone stands in the way of a method that the mathematics allows.
    elimination
        Of sparse factors, the order that was analysed.
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
    lacks: Lack | None = None
    elimination: Elimination | None = field(default=None, repr=False, compare=False)


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

    @property
    def cheapest(self) -> Candidate | None:
        """Of the methods that lack only memory (or disk), the one that needs the least."""
        short = [each for each in self.candidates if each.lacks is not None]
        return min(short, key=lambda each: (each.lacks is Lack.DISK, each.memory or 0), default=None)


def make_plan(
    target: Target, settings: LogdetSettings, *, budget: int, threads: int, scratch: Path, kept: int = 0
) -> Plan:
    """Return the plan for a matrix; never raises for one that has no method.

    Parameters
    ----------
    target
        What would be factored.
    settings
        What is asked for.
    budget, threads
        Bytes of memory, and threads.
    scratch
        Folder whose disk would hold a factor; it need not exist.
    kept
        Bytes of that disk which the factor of an earlier run takes: they are used again.
    """
    planner = _Planner(
        target.facts,
        target.by_products,
        settings,
        budget,
        threads,
        _free_disk(scratch) + kept,
        _rows(target.facts, settings),
        settings.pseudo and target.facts.source is target.subject,
    )
    found = tuple(planner.candidates())
    wanted = [each for each in found if settings.method in (None, each.method)]
    taken = next((each for each in wanted if each.possible), None)
    forced = settings.method is not None
    if taken is None:
        shown = wanted if forced else [each for each in wanted if each.method not in _SIDE_METHODS]
        why = _grouped(shown)
        return Plan(None, why, forced, found, budget, threads)
    why = f"asked for; {taken.reason}" if forced else taken.reason
    return Plan(taken, why, forced, found, budget, threads)


def _grouped(candidates: list[Candidate]) -> str:
    """Return why none of them is possible, methods with the same reason together."""
    names: dict[str, list[str]] = {}
    for each in candidates:
        name = f"{each.method} {each.place}"
        if not any(name in known for known in names.get(each.reason, [])):
            names.setdefault(each.reason, []).append(name)
    return "; ".join(f"{', '.join(methods)}: {reason}" for reason, methods in names.items())


_SIDE_METHODS = frozenset({Method.SPARSE, Method.QR, Method.EIGENVALUES, Method.FLODANCE})
"""Methods for special matrices or questions: that they do not apply explains nothing."""


@dataclass(frozen=True, slots=True)
class _Planner:
    facts: Facts
    by_products: Facts
    settings: LogdetSettings
    budget: int
    threads: int
    disk: int
    rows: int
    unresolved: bool

    def candidates(self) -> list[Candidate]:
        """Return every method in the order of preference."""
        made: dict[Method, Callable[[], list[Candidate]]] = {
            Method.SPARSE: self.sparse,
            Method.QR: self.qr,
            Method.CHOLESKY: self.cholesky,
            Method.LDLT: self.ldlt,
            Method.LU: self.lu,
            Method.SLQ: self.slq,
            Method.MIXED: self.mixed,
            Method.EIGENVALUES: self.eigenvalues,
            Method.FLODANCE: self.flodance,
        }
        if self.beyond:
            away = "the minor that is asked for lies beyond what may be looked at"
            others = [_refused(method, away) for method in made if method is not Method.FLODANCE]
            return [*self.flodance(), *others]
        found = [each for method in made.values() for each in method()]
        if self.facts.sparse is not None:  # rule 3
            found.sort(key=lambda each: each.method is Method.CHOLESKY and each.place == "on disk")
        first = Method.FLODANCE if self.grown else Method.EIGENVALUES if self.unresolved else None
        found.sort(key=lambda each: each.method is not first)
        return found

    @property
    def beyond(self) -> bool:
        """Whether the minor that is asked for is larger than what may be looked at."""
        return self.settings.size is not None and self.settings.size * self.settings.outputs > self.rows

    @property
    def grown(self) -> bool:
        """Whether a minor within the matrix is to be known to a tolerance only."""
        return self.settings.size is not None and self.settings.tolerance is not None

    def sparse(self) -> list[Candidate]:
        if self.facts.sparse is None:
            return [_refused(Method.SPARSE, "the matrix is not sparse")]
        wrong = self._wrong(minors=True, symmetric=False)
        if wrong:
            return [_refused(Method.SPARSE, wrong)]
        stored = 3 * _SUPERLU * int(self.facts.sparse.nnz)
        structure = self.facts.structure
        if structure is not None and structure.triangular:
            reason = "triangular in some order of rows and columns: the determinant is one product"
            return [Candidate(Method.SPARSE, "in memory", True, reason, None, stored)]
        worst = int(_SLACK * _SUPERLU * self.rows**2) + stored
        if worst <= self.budget:
            reason = "sparse and exact; even factors that fill up fit the memory"
            return [Candidate(Method.SPARSE, "in memory", True, reason, None, worst)]
        if self.settings.method not in (None, Method.SPARSE):
            return [_refused(Method.SPARSE, "not asked for: how far the factors fill up was not analysed")]
        return [self._filled(stored)]

    def _filled(self, stored: int) -> Candidate:
        """Return sparse factors of the size that their pattern predicts."""
        from rmtaudit.kernels.determinants.sparse_fill import general_fill, narrow_band, symmetric_elimination

        forced = self.settings.method is Method.SPARSE  # whoever asks for it may know better
        band, elimination = narrow_band(self.facts.sparse), None
        if band is not None:
            fill: int | None = band
        elif self.facts.symmetric:
            elimination = symmetric_elimination(self.facts.sparse)
            fill = 2 * elimination.entries
        else:
            fill = general_fill(self.facts.sparse)
        if fill is None:
            reason = (
                "how far the factors fill up is not known: the pattern of AᵀA is too dense to be analysed"
            )
            return Candidate(Method.SPARSE, "in memory", forced, reason)
        memory = int(_SLACK * _COPIES * _SUPERLU * fill) + stored
        most = "" if self.facts.symmetric and band is None else "at most "
        reason = f"sparse and exact; its factors have {most}{fill:,} entries, as their pattern predicts"
        found = Candidate(Method.SPARSE, "in memory", True, reason, None, memory, elimination=elimination)
        if memory <= self.budget or forced:
            return found
        needed = format_memory(memory)
        reason = f"its factors have {most}{fill:,} entries, which take {needed}: more than the memory"
        return replace(found, possible=False, reason=reason, lacks=Lack.MEMORY)

    def qr(self) -> list[Candidate]:
        if self.facts.gram is None:
            return [_refused(Method.QR, "the matrix is not WᵀW of a matrix W")]
        wrong = self._wrong(minors=True)
        if wrong:
            return [_refused(Method.QR, wrong)]
        long, short = sorted(self.facts.gram.factor.shape, reverse=True)
        flops = 2.0 * short**2 * (long - short / 3) + short**3 / 3
        memory = int(_SLACK * _ITEM * (3 * long * short + 2 * short * short))
        reason = "exact, and from W itself: WᵀW would square its condition number"
        return [self._fit(Method.QR, reason, flops, memory)]

    def cholesky(self) -> list[Candidate]:
        wrong = self._wrong(entries=True)
        if wrong:
            return [_refused(Method.CHOLESKY, wrong)]
        n = self.rows
        sure = "" if self.facts.semidefinite else " if the matrix is positive definite, which will show"
        whole = f"exact{sure}; it fits the memory"
        needed = Tiling(n, n, n).working_bytes(self.threads)
        return [self._fit(Method.CHOLESKY, whole, n**3 / 3, needed), self._on_disk(sure)]

    def _on_disk(self, sure: str) -> Candidate:
        n, place = self.rows, "on disk"
        least = least_memory(n, self.threads)
        if least > self.budget:
            reason = f"a tile takes {format_memory(least)}, more than the memory"
            return Candidate(Method.CHOLESKY, place, False, reason, memory=least, lacks=Lack.MEMORY)
        tiling = tiling_for(n, self.budget, self.threads)
        if tiling.in_core:
            return _refused(Method.CHOLESKY, "not needed: the matrix fits the memory", place)
        found = Candidate(
            Method.CHOLESKY,
            place,
            True,
            f"exact{sure}; the matrix exceeds the memory, and its factor fits the disk",
            n**3 / 3,
            tiling.working_bytes(self.threads),
            tiling.scratch_bytes,
            self._stored() + tiling.read_bytes(),
        )
        if tiling.scratch_bytes > self.disk:
            needed = format_memory(tiling.scratch_bytes)
            reason = f"the factor takes {needed} of disk, more than is free: --scratch elsewhere"
            return replace(found, possible=False, reason=reason, lacks=Lack.DISK)
        return found

    def ldlt(self) -> list[Candidate]:
        wrong = self._wrong(entries=True, minors=True)
        if wrong:
            return [_refused(Method.LDLT, wrong)]
        reason = "exact, definite or not; a definite matrix is left to Cholesky, which needs no exchanges"
        return [self._fit(Method.LDLT, reason, self.rows**3 / 3, dense_bytes(self.rows))]

    def lu(self) -> list[Candidate]:
        wrong = self._wrong(entries=True, minors=True, symmetric=False)
        if wrong:
            return [_refused(Method.LU, wrong)]
        twice = "; twice the work of the methods for symmetric ones" if self.facts.symmetric else ""
        reason = f"exact, for any square matrix{twice}"
        return [self._fit(Method.LU, reason, 2 * self.rows**3 / 3, dense_bytes(self.rows))]

    def slq(self) -> list[Candidate]:
        place, facts = "by products", self.by_products
        wrong = "" if facts.products else "the source offers no products"
        wrong = wrong or self._wrong(minors=True)
        if wrong:
            return [_refused(Method.SLQ, wrong, place)]
        sides = sum(facts.gram.factor.shape) if facts.gram is not None else facts.order
        probes, steps = self.settings.probes, min(self.settings.steps, facts.order)
        each = _ITEM * probes * sides * 8 // 3  # room for them grows by half at a time, and is copied then
        streamed = facts.sparse is None and kind_of(facts.source) not in ("array", "laplacian")
        beside = min(_PRODUCTS, 2 * _ITEM * facts.order**2) if streamed else 0
        fitting = min(steps, (self.budget - beside) // each - 1)
        if fitting < min(steps, _FEWEST_STEPS):
            least = each * (min(steps, _FEWEST_STEPS) + 1) + beside
            reason = (
                f"{min(steps, _FEWEST_STEPS)} Lanczos steps of {probes} probes take {format_memory(least)}, "
                "more than the memory: fewer --probes need less"
            )
            return [Candidate(Method.SLQ, place, False, reason, None, least, lacks=Lack.MEMORY)]
        flops = probes * fitting * (facts.product_flops + 4.0 * sides * fitting)
        moved = self._stored() * fitting
        reason = "estimated, with an interval; only products are needed"
        memory = each * (fitting + 1) + beside
        return [Candidate(Method.SLQ, place, True, reason, flops, memory, 0, moved, fitting)]

    def mixed(self) -> list[Candidate]:
        wrong = self._wrong(entries=True, minors=True)
        if wrong:
            return [_refused(Method.MIXED, wrong)]
        n = self.rows
        reason = "a factor in float32 that probes correct: estimated, with an interval"
        flops = n**3 / 3 + 48.0 * self.settings.probes * n**2
        return [
            self._fit(Method.MIXED, reason, flops, mixed_bytes(n, self.settings.probes, self.settings.steps))
        ]

    def eigenvalues(self) -> list[Candidate]:
        wrong = self._wrong(entries=True, minors=True, zeros=True)
        if not self.settings.pseudo:
            wrong = "needed for a pseudo-determinant only"
        elif not self.unresolved:
            wrong = "not needed: the null space is known by construction"
        if wrong:
            return [_refused(Method.EIGENVALUES, wrong)]
        reason = "all eigenvalues; which of them are 0 is judged by a gap"
        gram = self.facts.gram
        needed = spectral_bytes(self.rows) if gram is None else gram_bytes(*gram.factor.shape)
        return [self._fit(Method.EIGENVALUES, reason, 4 * self.rows**3 / 3, needed)]

    def flodance(self) -> list[Candidate]:
        if not (self.beyond or self.grown or self.settings.method is Method.FLODANCE):
            return [_refused(Method.FLODANCE, "extrapolates: done only where it is asked for")]
        wrong = self._wrong(entries=True)
        if wrong:
            return [_refused(Method.FLODANCE, wrong)]
        budget = (
            self.budget
            if self.settings.tolerance is None
            else grown_memory(self.rows, self.budget, self.threads)
        )
        parts = replace(self, budget=budget).cholesky()
        chosen = next((each for each in parts if each.possible), parts[-1])
        if not chosen.possible:
            return [_refused(Method.FLODANCE, chosen.reason, chosen.place)]
        until = ", as many as the tolerance needs" if self.settings.tolerance else ""
        reason = f"extrapolated from leading minors of up to {self.rows:,} rows{until}, with an interval"
        return [replace(chosen, method=Method.FLODANCE, reason=reason)]

    def _wrong(
        self, *, entries: bool = False, minors: bool = False, symmetric: bool = True, zeros: bool = False
    ) -> str:
        """Return why a method cannot be used that needs entries or symmetry, or that gives no minors."""
        if symmetric and not self.facts.symmetric:
            return f"the matrix is not symmetric: {self.facts.source.symmetry}"
        if self.facts.singular and not self.settings.pseudo:
            return "the matrix is singular"
        if self.unresolved and not zeros:
            return "which eigenvalues are 0 is not known by construction"
        if entries and not self.facts.blocks:
            return "the source offers no entries, only products"
        if minors and self.settings.minors:
            return "it gives no leading minors"
        if minors and self.settings.size is not None:
            return "only Cholesky gives a leading minor"
        return ""

    def _fit(self, method: Method, reason: str, flops: float, memory: int) -> Candidate:
        found = Candidate(method, "in memory", True, reason, flops, memory, 0, self._stored())
        if memory > self.budget:
            reason = f"takes {format_memory(memory)}, more than the memory"
            return replace(found, possible=False, reason=reason, lacks=Lack.MEMORY)
        return found

    def _stored(self) -> int:
        return stored_bytes(self.facts.source) or 0


def grown_memory(rows: int, budget: int, threads: int) -> int:
    """Return the memory that cuts a matrix into enough tile rows to stop between, at most the budget."""
    strip = 64
    side = -(-max(_LEAST_SIDE, -(-rows // _LOOKS)) // strip) * strip
    if side >= rows:
        return budget
    wanted = max(least_memory(rows, threads), Tiling(rows, side, strip).working_bytes(threads))
    return min(budget, wanted)


def _rows(facts: Facts, settings: LogdetSettings) -> int:
    """Return the rows that a factorisation would take."""
    points = facts.order // settings.outputs
    limits = [each for each in (settings.size, settings.up_to) if each is not None]
    return facts.order if not limits else min(points, *limits) * settings.outputs


def _refused(method: Method, reason: str, place: str = "in memory") -> Candidate:
    return Candidate(method, place, possible=False, reason=reason)


def kept_bytes(folder: Path) -> int:
    """Return the bytes of disk that the factor of an earlier run takes in a scratch folder."""
    factor = folder / "factor.bin"
    if not (folder / "manifest.json").is_file() or not factor.is_file():
        return 0
    return 512 * factor.stat().st_blocks


def _free_disk(folder: Path) -> int:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free
