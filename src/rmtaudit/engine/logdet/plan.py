"""The plan: which method is taken, why, and what continues where it meets an indefinite matrix.

:meth:`rmtaudit.engine.logdet.candidates.Planner.candidates` is the ladder of methods; the first possible one
is taken, or the one that the user named.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmtaudit.engine.logdet.candidates import Candidate, Lack, Planner
from rmtaudit.engine.logdet.settings import LogdetSettings, Method
from rmtaudit.engine.logdet.target import Facts, Target
from rmtaudit.engine.logdet.tiling import dense_bytes
from rmtaudit.matrices.sources import MatrixSource

_SIDE_METHODS = frozenset({Method.SPARSE, Method.QR, Method.EIGENVALUES, Method.FLODANCE})
"""Methods for special matrices or questions: that they do not apply explains nothing."""
_DENSE_FLOPS = 1e9
"""Operations up to which dense LDLᵀ, which counts negative eigenvalues, is taken for a sparse matrix: about a
tenth of a second of one core (a choice)."""


@dataclass(frozen=True, slots=True, kw_only=True)
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

    def reason_for(self, method: str) -> str:
        """Return why a method gave the answer; empty stands for none."""
        if self.taken is None or not method or method == self.taken.method:
            return self.why
        return f"{self.taken.method} was planned, but failed: see the warning"

    def next_rung(self, facts: Facts) -> Method | None:
        """Return what continues where the method that was taken meets an indefinite matrix.

        Cholesky is followed by LDLᵀ, if that fits the memory and no method was named. Sparse factors without
        exchanges are followed by dense LDLᵀ, if it is cheap, and else by sparse factors with exchanges. Out
        of core nothing follows: the row to exchange a pivot with would lie beyond the tile.
        """
        fits = dense_bytes(facts.order) <= self.budget and not self.forced
        match self.taken:
            case Candidate(method=Method.CHOLESKY) if fits:
                return Method.LDLT
            case Candidate(method=Method.SPARSE):
                return Method.LDLT if fits and facts.order**3 / 3 <= _DENSE_FLOPS else Method.SPARSE
            case _:
                return None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values; what depends on the state of the machine is left out."""
        return {
            "method": None if self.taken is None else self.taken.method,
            "place": None if self.taken is None else self.taken.place,
            "why": self.why,
            "chosen_by": "user" if self.forced else "planner",
            "candidates": [self._verdict(each) for each in self.candidates],
        }

    def _verdict(self, each: Candidate) -> dict[str, Any]:
        return {
            "method": each.method,
            "place": each.place,
            "verdict": "taken" if each is self.taken else "possible" if each.possible else "not possible",
            "reason": each.reason,
            "lacks": each.lacks,
            "flops": each.flops,
            "memory_bytes": each.memory,
            "scratch_bytes": each.scratch,
            "moved_bytes": each.moved,
        }


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
    planner = Planner(
        facts=target.facts,
        by_products=target.by_products,
        settings=settings,
        budget=budget,
        threads=threads,
        disk=_free_disk(scratch) + kept,
        rows=_rows(target.facts, settings),
        unresolved=settings.pseudo and target.facts.source is target.subject,
    )
    candidates = tuple(planner.candidates())
    wanted = [each for each in candidates if settings.method in (None, each.method)]
    taken = next((each for each in wanted if each.possible), None)
    forced = settings.method is not None
    if taken is not None:
        why = f"requested; {taken.reason}" if forced else taken.reason
    else:
        why = _group_reasons([each for each in wanted if forced or each.method not in _SIDE_METHODS])
    return Plan(taken=taken, why=why, forced=forced, candidates=candidates, budget=budget, threads=threads)


def kept_bytes(folder: Path) -> int:
    """Return the bytes of disk that the factor of an earlier run takes in a scratch folder."""
    factor = folder / "factor.bin"
    if not (folder / "manifest.json").is_file() or not factor.is_file():
        return 0
    return 512 * factor.stat().st_blocks


def cache_folder() -> Path:
    """Return the folder of the user's cache for factors on disk."""
    from platformdirs import user_cache_path

    return user_cache_path("rmtaudit") / "logdet"


def default_scratch(source: MatrixSource) -> Path:
    """Return the folder of the user's cache for the factor of this matrix: the same for the same matrix."""
    return cache_folder() / hashlib.sha256(source.fingerprint().encode()).hexdigest()[:16]


def kept_factor(facts: Facts, settings: LogdetSettings, budget: int) -> int:
    """Return the bytes of an earlier factor in the folder that would be used, where one may be needed."""
    if not (facts.blocks and facts.symmetric) or facts.source.entries_bytes <= budget:
        return 0
    return kept_bytes(settings.scratch or default_scratch(facts.source))


def _group_reasons(candidates: list[Candidate]) -> str:
    """Return why none of them is possible, methods with the same reason together."""
    names: dict[str, list[str]] = {}
    for each in candidates:
        if not any(each.name in known for known in names.get(each.reason, [])):
            names.setdefault(each.reason, []).append(each.name)
    return "; ".join(f"{', '.join(methods)}: {reason}" for reason, methods in names.items())


def _rows(facts: Facts, settings: LogdetSettings) -> int:
    """Return the rows that a factorisation would take."""
    points = facts.order // settings.outputs
    limits = [each for each in (settings.size, settings.up_to) if each is not None]
    return facts.order if not limits else min(points, *limits) * settings.outputs


def _free_disk(folder: Path) -> int:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free
