"""What each method would take of a matrix: whether it applies, and its memory, disk and operations.

A candidate is judged by the tier of access, by what the construction guarantees (symmetric, semidefinite, a
known null space), by the order, the memory and the free disk; never by an entry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from rmtaudit.engine.logdet.settings import LogdetSettings, Method, Place
from rmtaudit.engine.logdet.target import Facts
from rmtaudit.engine.logdet.tiling import (
    ITEM,
    Tiling,
    dense_bytes,
    gram_bytes,
    grown_memory,
    least_memory,
    mixed_bytes,
    spectral_bytes,
    tiling_for,
)
from rmtaudit.engine.resources.memory_size import format_memory

if TYPE_CHECKING:
    from rmtaudit.kernels.determinants.sparse_fill import Elimination

_SUPERLU = 12
"""Bytes that SuperLU takes for an entry of a factor: a float64 and an index of 32 bits."""
_COPIES = 2
"""SuperLU's own arrays, and the matrices that scipy makes of them (``SuperLU.L`` and ``SuperLU.U``)."""
_SLACK = 1.2
"""Share by which workspaces of LAPACK and SuperLU may exceed what is counted here: a choice."""
_FEWEST_STEPS = 30
"""Lanczos steps below which quadrature is not planned for lack of memory (a choice); fewer can be set."""
_PRODUCTS = 16 << 20
"""Bytes of two strips of a matrix that streams past the vectors (``MatrixSource.matmul``)."""


class Lack(StrEnum):
    """What a method needs more of."""

    MEMORY = "memory"
    DISK = "disk"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One method, and what it would take.

    Attributes
    ----------
    method, place
        What and where.
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
    copied
        Of the memory, bytes of a copy of the matrix that every product reads; 0: products read the source.
    lacks
        What alone stands in the way of a method that the mathematics allows.
    elimination
        Of sparse factors, the order that was analysed.
    """

    method: Method
    place: Place = Place.IN_MEMORY
    possible: bool = True
    reason: str
    flops: float | None = None
    memory: int | None = None
    scratch: int = 0
    moved: int = 0
    steps: int = 0
    copied: int = 0
    lacks: Lack | None = None
    elimination: Elimination | None = field(default=None, repr=False, compare=False)

    @property
    def name(self) -> str:
        """Method and place in words."""
        return f"{self.method} {self.place}"

    def refused(self, reason: str, lacks: Lack | None = None) -> Candidate:
        """Return it as not possible."""
        return replace(self, possible=False, reason=reason, lacks=lacks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planner:
    """What the candidates depend on.

    Attributes
    ----------
    facts, by_products
        Of the matrix that is factored, and of the one that Lanczos works on.
    settings
        What is asked for.
    budget, threads, disk
        Bytes of memory, threads, and bytes of free disk.
    rows
        Rows that a factorisation would take.
    unresolved
        Whether only the eigenvalues tell which of them are 0.
    """

    facts: Facts
    by_products: Facts
    settings: LogdetSettings
    budget: int
    threads: int
    disk: int
    rows: int
    unresolved: bool

    def candidates(self) -> list[Candidate]:
        """Return every method in the order of preference: the ladder.

        1. A minor beyond the matrix is extrapolated; nothing else can reach it. It is never done unasked.
        2. Exact before estimated, where it fits: sparse factors, QR of the factor of a Gram matrix, Cholesky
           or LU.
        3. Out of core before estimated, but for sparse matrices: their products cost less than their dense
           factor.
        4. Lanczos quadrature for what is left.
        """
        methods: dict[Method, Callable[[], list[Candidate]]] = {
            Method.SPARSE: self._sparse,
            Method.QR: self._qr,
            Method.CHOLESKY: self._cholesky,
            Method.LDLT: self._ldlt,
            Method.LU: self._lu,
            Method.SLQ: self._slq,
            Method.MIXED: self._mixed,
            Method.EIGENVALUES: self._eigenvalues,
            Method.FLODANCE: self._flodance,
        }
        if self._extrapolates:  # rule 1
            away = "the requested minor is larger than the rows that may be read"
            others = [_refused(method, away) for method in methods if method is not Method.FLODANCE]
            return [*self._flodance(), *others]
        ladder = [each for method in methods.values() for each in method()]
        if self.facts.sparse is not None:  # rule 3
            ladder.sort(key=lambda each: each.method is Method.CHOLESKY and each.place is Place.ON_DISK)
        first = Method.FLODANCE if self._grows else Method.EIGENVALUES if self.unresolved else None
        ladder.sort(key=lambda each: each.method is not first)
        return ladder

    @property
    def _extrapolates(self) -> bool:
        """Whether the minor that is asked for is larger than what may be looked at."""
        return self.settings.size is not None and self.settings.size * self.settings.outputs > self.rows

    @property
    def _grows(self) -> bool:
        """Whether a minor within the matrix is to be known to a tolerance only."""
        return self.settings.size is not None and self.settings.tolerance is not None

    def _sparse(self) -> list[Candidate]:
        method = Method.SPARSE
        if self.facts.sparse is None:
            return [_refused(method, "the matrix is not sparse")]
        if obstacle := self._obstacle(minors=True, symmetric=False):
            return [_refused(method, obstacle)]
        stored = 3 * _SUPERLU * int(self.facts.sparse.nnz)
        if self.facts.triangular:
            reason = "triangular in some order of rows and columns: the determinant is one product"
            return [Candidate(method=method, reason=reason, memory=stored)]
        worst = int(_SLACK * _SUPERLU * self.rows**2) + stored
        if worst <= self.budget:
            reason = "sparse and exact; even factors that fill up fit the memory"
            return [Candidate(method=method, reason=reason, memory=worst)]
        if self.settings.method not in (None, method):
            return [_refused(method, "not requested: the fill-in of the factors was not analysed")]
        return [self._predicted_fill(stored)]

    def _predicted_fill(self, stored: int) -> Candidate:
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
            reason = "the fill-in of the factors is unknown: the pattern of AᵀA is too dense to analyse"
            return Candidate(method=Method.SPARSE, possible=forced, reason=reason)
        memory = int(_SLACK * _COPIES * _SUPERLU * fill) + stored
        most = "" if self.facts.symmetric and band is None else "at most "
        reason = f"sparse and exact; its factors have {most}{fill:,} entries, as their pattern predicts"
        factors = Candidate(method=Method.SPARSE, reason=reason, memory=memory, elimination=elimination)
        if memory <= self.budget or forced:
            return factors
        needed = format_memory(memory)
        reason = f"its factors have {most}{fill:,} entries, which take {needed}: more than the memory"
        return factors.refused(reason, Lack.MEMORY)

    def _qr(self) -> list[Candidate]:
        if self.facts.gram is None:
            return [_refused(Method.QR, "the matrix is not WᵀW of a matrix W")]
        if obstacle := self._obstacle(minors=True):
            return [_refused(Method.QR, obstacle)]
        long, short = sorted(self.facts.gram.factor.shape, reverse=True)
        flops = 2.0 * short**2 * (long - short / 3) + short**3 / 3
        memory = int(_SLACK * ITEM * (3 * long * short + 2 * short * short))
        reason = "exact, and from W itself: WᵀW would square its condition number"
        return [self._fit(Method.QR, reason, flops, memory)]

    def _cholesky(self) -> list[Candidate]:
        if obstacle := self._obstacle(entries=True):
            return [_refused(Method.CHOLESKY, obstacle)]
        n = self.rows
        if_definite = (
            ""
            if self.facts.semidefinite
            else (" if the matrix is positive definite, which the factorisation will show")
        )
        memory = Tiling(n, n, n).working_bytes(self.threads)
        whole = self._fit(Method.CHOLESKY, f"exact{if_definite}; it fits the memory", n**3 / 3, memory)
        return [whole, self._on_disk(if_definite)]

    def _on_disk(self, if_definite: str) -> Candidate:
        method, place, n = Method.CHOLESKY, Place.ON_DISK, self.rows
        least = least_memory(n, self.threads)
        if least > self.budget:
            reason = f"a tile takes {format_memory(least)}, more than the memory"
            return replace(_refused(method, reason, place), memory=least, lacks=Lack.MEMORY)
        tiling = tiling_for(n, self.budget, self.threads)
        if tiling.in_core:
            return _refused(method, "not needed: the matrix fits the memory", place)
        tiles = Candidate(
            method=method,
            place=place,
            reason=f"exact{if_definite}; the matrix exceeds the memory, and its factor fits the disk",
            flops=n**3 / 3,
            memory=tiling.working_bytes(self.threads),
            scratch=tiling.scratch_bytes,
            moved=self._stored + tiling.read_bytes(),
        )
        if tiling.scratch_bytes > self.disk:
            needed = format_memory(tiling.scratch_bytes)
            reason = f"the factor takes {needed} of disk, more than is free: --scratch elsewhere"
            return tiles.refused(reason, Lack.DISK)
        return tiles

    def _ldlt(self) -> list[Candidate]:
        if obstacle := self._obstacle(entries=True, minors=True):
            return [_refused(Method.LDLT, obstacle)]
        reason = (
            "exact, also for indefinite matrices; Cholesky, which needs no pivoting, is "
            "preferred for a definite matrix"
        )
        return [self._fit(Method.LDLT, reason, self.rows**3 / 3, dense_bytes(self.rows))]

    def _lu(self) -> list[Candidate]:
        if obstacle := self._obstacle(entries=True, minors=True, symmetric=False):
            return [_refused(Method.LU, obstacle)]
        twice = "; twice the work of the methods for symmetric matrices" if self.facts.symmetric else ""
        reason = f"exact, for any square matrix{twice}"
        return [self._fit(Method.LU, reason, 2 * self.rows**3 / 3, dense_bytes(self.rows))]

    def _slq(self) -> list[Candidate]:
        method, place, facts = Method.SLQ, Place.BY_PRODUCTS, self.by_products
        obstacle = "" if facts.products else "the source does not support products"
        if obstacle := obstacle or self._obstacle(minors=True):
            return [_refused(method, obstacle, place)]
        sides = sum(facts.gram.factor.shape) if facts.gram is not None else facts.order
        probes, steps = self.settings.probes, min(self.settings.steps, facts.order)
        each = ITEM * probes * sides * 8 // 3  # room grows by half at a time, and is copied then: 2.5 times
        streamed = facts.sparse is None and facts.entry_flops != 0
        strips = min(_PRODUCTS, 2 * ITEM * facts.order**2) if streamed else 0
        copied = (facts.source if facts.gram is None else facts.gram.factor).copy_bytes
        if each * (steps + 1) + copied + strips > self.budget:
            copied = 0
        fitting = min(steps, (self.budget - strips - copied) // each - 1)
        fewest = min(steps, _FEWEST_STEPS)
        if fitting < fewest:
            least = each * (fewest + 1) + strips
            reason = (
                f"{fewest} Lanczos steps of {probes} probes take {format_memory(least)}, more "
                "than the memory: use fewer --probes"
            )
            return [replace(_refused(method, reason, place), memory=least, lacks=Lack.MEMORY)]
        return [
            Candidate(
                method=method,
                place=place,
                reason="estimated, with an interval; only products are needed",
                flops=probes * fitting * (facts.product_flops + 4.0 * sides * fitting),
                memory=each * (fitting + 1) + strips + copied,
                moved=self._stored * (1 if copied else fitting),
                steps=fitting,
                copied=copied,
            )
        ]

    def _mixed(self) -> list[Candidate]:
        if obstacle := self._obstacle(entries=True, minors=True):
            return [_refused(Method.MIXED, obstacle)]
        n, probes = self.rows, self.settings.probes
        reason = "a float32 factor corrected with random probes: estimated, with an interval"
        flops = n**3 / 3 + 48.0 * probes * n**2
        return [self._fit(Method.MIXED, reason, flops, mixed_bytes(n, probes, self.settings.steps))]

    def _eigenvalues(self) -> list[Candidate]:
        obstacle = self._obstacle(entries=True, minors=True, zeros=True)
        if not self.settings.pseudo:
            obstacle = "needed only for a pseudo-determinant"
        elif not self.unresolved:
            obstacle = "not needed: the null space follows from the construction"
        if obstacle:
            return [_refused(Method.EIGENVALUES, obstacle)]
        gram = self.facts.gram
        memory = spectral_bytes(self.rows) if gram is None else gram_bytes(*gram.factor.shape)
        reason = "all eigenvalues; a gap decides which of them are 0"
        return [self._fit(Method.EIGENVALUES, reason, 4 * self.rows**3 / 3, memory)]

    def _flodance(self) -> list[Candidate]:
        if not (self._extrapolates or self._grows or self.settings.method is Method.FLODANCE):
            return [_refused(Method.FLODANCE, "extrapolates, which is done only on request")]
        if obstacle := self._obstacle(entries=True):
            return [_refused(Method.FLODANCE, obstacle)]
        grown = self.settings.tolerance is not None
        budget = grown_memory(self.rows, self.budget, self.threads) if grown else self.budget
        parts = replace(self, budget=budget)._cholesky()
        chosen = next((each for each in parts if each.possible), parts[-1])
        if not chosen.possible:
            return [_refused(Method.FLODANCE, chosen.reason, chosen.place)]
        until = ", as many as the tolerance needs" if grown else ""
        reason = f"extrapolated from leading minors of up to {self.rows:,} rows{until}, with an interval"
        return [replace(chosen, method=Method.FLODANCE, reason=reason)]

    def _obstacle(
        self, *, entries: bool = False, minors: bool = False, symmetric: bool = True, zeros: bool = False
    ) -> str:
        """Return why a method cannot be used that needs entries or symmetry, or that gives no minors."""
        if symmetric and not self.facts.symmetric:
            return f"the matrix is not symmetric: {self.facts.source.symmetry}"
        if self.facts.singular and not self.settings.pseudo:
            return "the matrix is singular"
        if self.unresolved and not zeros:
            return "which eigenvalues are 0 does not follow from the construction"
        if entries and not self.facts.blocks:
            return "the source provides only products, not entries"
        if minors and self.settings.minors:
            return "it gives no leading minors"
        if minors and self.settings.size is not None:
            return "only Cholesky gives a leading minor"
        return ""

    def _fit(self, method: Method, reason: str, flops: float, memory: int) -> Candidate:
        candidate = Candidate(method=method, reason=reason, flops=flops, memory=memory, moved=self._stored)
        if memory <= self.budget:
            return candidate
        return candidate.refused(f"takes {format_memory(memory)}, more than the memory", Lack.MEMORY)

    @property
    def _stored(self) -> int:
        return self.facts.source.stored_bytes or 0


def _refused(method: Method, reason: str, place: Place = Place.IN_MEMORY) -> Candidate:
    return Candidate(method=method, place=place, possible=False, reason=reason)
