"""Log-determinants of matrices that are made to deceive, against determinants in exact arithmetic.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/adversaries/logdet.py --count 600 --seed 0

Every matrix comes with its determinant: of small ones by fraction-free elimination of the stored numbers as
integers, of long banded ones by continuants in 400 bits, with the matrix determinant lemma where an entry
far from the diagonal was changed. A determinant that is 0 must not get a number, and what is no real square
matrix must be refused. Confidence intervals are asked for at 99.99 %.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import scipy.linalg
import scipy.sparse

LEVEL = 0.9999
BITS = 400


@dataclass(frozen=True, slots=True)
class Row:
    """What one matrix was answered.

    Attributes
    ----------
    family, n, method
        The generator, the order, and the method that answered or was forced.
    answered
        Whether there was a number.
    inside_bound, sign_right
        Of an answer; ``True`` where there was none.
    seconds
        CPU time.
    note
        The refusal, the code of the error, or ``internal error``.
    """

    family: str
    n: int
    method: str
    answered: bool
    inside_bound: bool
    sign_right: bool
    seconds: float
    note: str


@dataclass(frozen=True, slots=True)
class Case:
    """A matrix as ``rmtaudit.logdet`` takes it, with its determinant; ``sign`` ``None``: it has none."""

    source: Any
    n: int
    sign: int | None
    logabs: float = 0.0
    options: dict[str, Any] = field(default_factory=dict)


Make = Callable[[np.random.Generator, Path], Case]


def run(count: int, seed: int) -> list[Row]:
    """Return the rows of ``count`` matrices, the families in turn."""
    rng = np.random.default_rng(seed)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            name = list(FAMILIES)[number % len(FAMILIES)]
            rows.append(judged(name, FAMILIES[name](rng, Path(folder)), rng))
    return rows


def judged(family: str, case: Case, rng: np.random.Generator) -> Row:
    """Return how a matrix was answered."""
    import rmtaudit
    from rmtaudit.errors import RmtauditError

    options = {"confidence": LEVEL, "threads": 1, **case.options}
    if (
        "method" not in options
        and case.n <= 60
        and not scipy.sparse.issparse(case.source)
        and rng.random() < 0.25
    ):
        options["method"] = str(rng.choice(["lu", "ldlt", "cholesky", "mixed", "slq"]))
    began = time.process_time()
    try:
        found = rmtaudit.logdet(case.source, **options)
    except RmtauditError as error:
        spent = time.process_time() - began
        return Row(family, case.n, options.get("method", ""), False, True, True, spent, error.code)
    except Exception as error:  # this is what is looked for
        spent = time.process_time() - began
        note = f"internal error: {type(error).__name__}: {error}"
        return Row(family, case.n, options.get("method", ""), False, True, True, spent, note)
    spent = time.process_time() - began
    method = found.method or options.get("method", "")
    if found.status != "ok":
        right = found.sign is None or (found.sign == 0 and case.sign == 0)
        return Row(family, case.n, method, False, True, right, spent, found.reason)
    if not case.sign:
        return Row(
            family, case.n, method, True, False, False, spent, f"{found.logdet!r} of a determinant that is 0"
        )
    slack = 4 * np.spacing(abs(case.logabs))
    margin = found.evidence.get("as_computed") or asdict(found.margin)  # the truth is of computed entries
    inside = bool(margin["low"] - slack <= case.logabs <= margin["high"] + slack)
    half = (margin["high"] - margin["low"]) / 2
    note = "" if inside else f"{found.logdet!r} ± {half:.2g}, truth {case.logabs!r}"
    return Row(family, case.n, method, True, inside, found.sign == case.sign, spent, note)


def exact(matrix: Any) -> tuple[int, float]:
    """Return sign and logarithm of the determinant of stored numbers, by Bareiss' elimination."""
    dense = np.asarray(matrix)
    if dense.dtype.kind in "biu":
        rows, powers = [[int(value) for value in line] for line in dense.tolist()], 0
    else:
        dense = dense.astype(np.float64)
        n = len(dense)
        rows, powers = [], 0
        scale = [max((math.frexp(v)[1] for v in dense[:, j] if v), default=0) for j in range(n)]
        for line in dense:
            parts = [mantissa(value, scale[j]) for j, value in enumerate(line.tolist())]
            low = min((power for value, power in parts if value), default=0)
            rows.append([value << (power - low) if value else 0 for value, power in parts])
            powers += low
        powers += sum(scale)
    value = bareiss(rows)
    if not value:
        return 0, 0.0
    with mpmath.workprec(BITS):
        return (1 if value > 0 else -1), float(mpmath.log(abs(value)) + powers * mpmath.log(2))


def mantissa(value: float, scale: int) -> tuple[int, int]:
    """Return an integer and the power of two that make a number, divided by ``2**scale``."""
    part, power = math.frexp(value)
    return (int(math.ldexp(part, 53)), power - 53 - scale) if value else (0, 0)


def bareiss(rows: list[list[int]]) -> int:
    """Return the determinant of integers; destroys them."""
    n, sign, before = len(rows), 1, 1
    for k in range(n - 1):
        pivot = next((i for i in range(k, n) if rows[i][k]), None)
        if pivot is None:
            return 0
        if pivot != k:
            rows[k], rows[pivot], sign = rows[pivot], rows[k], -sign
        for i in range(k + 1, n):
            for j in range(k + 1, n):
                rows[i][j] = (rows[i][j] * rows[k][k] - rows[i][k] * rows[k][j]) // before
        before = rows[k][k]
    return sign * rows[-1][-1]


def continuants(low: Any, middle: Any, high: Any) -> tuple[list[Any], list[Any]]:
    """Return the leading and the trailing minors of a tridiagonal matrix, from order 0, in 400 bits."""
    with mpmath.workprec(BITS):
        a, b, c = ([mpmath.mpf(float(v)) for v in part] for part in (low, middle, high))
        n = len(b)
        first, last = [mpmath.mpf(1), b[0]], [mpmath.mpf(1), b[-1]]
        for k in range(1, n):
            first.append(b[k] * first[-1] - a[k - 1] * c[k - 1] * first[-2])
            last.append(b[n - 1 - k] * last[-1] - a[n - 1 - k] * c[n - 1 - k] * last[-2])
        return first, last


def tridiagonal(
    low: Any, middle: Any, high: Any, far: tuple[int, int, float] | None = None
) -> tuple[int, float]:
    """Return sign and logarithm of the determinant, ``far`` an entry ``(i, j, t)`` added at ``i > j``."""
    first, last = continuants(low, middle, high)
    n = len(middle)
    with mpmath.workprec(BITS):
        value = first[n]
        if far is not None:
            i, j, t = far  # (A⁻¹)_ji = (-1)^(i+j) Π high[j..i-1] first[j] last[n-1-i] / det A
            product = mpmath.mpf(1)
            for k in range(j, i):
                product *= mpmath.mpf(float(high[k]))
            value += mpmath.mpf(t) * (-1) ** (i + j) * product * first[j] * last[n - 1 - i]
        if not value:
            return 0, 0.0
        return (1 if value > 0 else -1), float(mpmath.log(abs(value)))


def small(matrix: Any, **options: Any) -> Case:
    return Case(matrix, len(matrix), *exact(matrix), options)


def order(rng: np.random.Generator, most: int = 24) -> int:
    return int(rng.integers(1, most + 1))


def symmetric(rng: np.random.Generator, n: int) -> Any:
    A = rng.standard_normal((n, n))
    return A + A.T


def definite(rng: np.random.Generator, n: int) -> Any:
    A = rng.standard_normal((n, n + 3))
    found = A @ A.T / n
    return np.tril(found) + np.tril(found, -1).T


def random(rng: np.random.Generator, _: Path) -> Case:
    n = order(rng)
    return small([rng.standard_normal((n, n)), symmetric(rng, n), definite(rng, n)][rng.integers(3)])


def stored(rng: np.random.Generator, _: Path) -> Case:
    n = order(rng)
    A = 8 * (definite(rng, n) if rng.random() < 0.5 else rng.standard_normal((n, n)))
    dtype = rng.choice(["float32", "float16", "int8", "int32", "int64", "uint8", "uint16", "bool"])
    if dtype == "bool":
        return small(A > 0)
    return small(np.abs(A).astype(dtype) if dtype.startswith("u") else A.astype(dtype))


def near_singular(rng: np.random.Generator, _: Path) -> Case:
    n = order(rng) + 1
    A = rng.standard_normal((n, n - 1)) @ rng.standard_normal((n - 1, n))
    if rng.random() < 0.5:
        A = A @ A.T
        A = np.tril(A) + np.tril(A, -1).T
    return small(A + 10.0 ** rng.uniform(-18, -6) * np.eye(n))


def singular(rng: np.random.Generator, _: Path) -> Case:
    n = order(rng) + 1
    A = rng.integers(-9, 9, (n, n - 1)) @ rng.integers(-9, 9, (n - 1, n))
    A = A @ A.T if rng.random() < 0.5 else A
    return small(A.astype(rng.choice(["int64", "float64"])))


def near_symmetric(rng: np.random.Generator, _: Path) -> Case:
    n = order(rng) + 1
    A = definite(rng, n) if rng.random() < 0.5 else symmetric(rng, n)
    i, j = rng.choice(n, 2, replace=False)
    A[i, j] = np.nextafter(A[i, j], np.inf) if rng.random() < 0.5 else A[i, j] + 10.0 ** rng.uniform(-12, 0)
    return small(A)


def companion(rng: np.random.Generator, _: Path) -> Case:
    n = order(rng) + 1
    return small(scipy.linalg.companion(np.r_[1.0, rng.standard_normal(n) * 10.0 ** rng.uniform(-5, 5, n)]))


def vandermonde(rng: np.random.Generator, _: Path) -> Case:
    return small(np.vander(rng.uniform(-2, 2, order(rng, 14))))


def structured(rng: np.random.Generator, _: Path) -> Case:
    n = order(rng, 16)
    growth = np.tril(-np.ones((n, n)), -1) + np.eye(n)
    growth[:, -1] = 1
    places = np.arange(1.0, n + 1)
    kinds = [
        scipy.linalg.hilbert(n),
        growth,
        scipy.linalg.hadamard(16),
        np.minimum.outer(places, places),
        scipy.linalg.hankel(rng.standard_normal(n)),
        scipy.linalg.pascal(n),
        scipy.linalg.toeplitz(rng.standard_normal(n)),
        scipy.linalg.circulant(rng.standard_normal(n)),
        np.zeros((n, n)),
        np.ones((n, n)),
    ]
    return small(kinds[rng.integers(len(kinds))])


def graded(rng: np.random.Generator, _: Path) -> Case:
    n = order(rng, 16)
    left, right = 10.0 ** rng.uniform(-150, 150, (2, n))
    match rng.integers(4):
        case 0:
            return small(np.diag(10.0 ** rng.uniform(-300, 300, n) * rng.choice([-1, 1], n)))
        case 1:
            return small(left[:, None] * rng.standard_normal((n, n)) * right)
        case 2:
            found = left[:, None] * symmetric(rng, n) * left
        case _:
            found = left[:, None] * definite(rng, n) * left
    return small(np.tril(found) + np.tril(found, -1).T)


def scaled(rng: np.random.Generator, _: Path) -> Case:
    n = order(rng, 16)
    A = [rng.standard_normal((n, n)), symmetric(rng, n), definite(rng, n)][rng.integers(3)]
    return small(A * float(rng.choice([1e-320, 1e-312, 1e-305, 1e-200, 1e200, 1e305])))


def indefinite(rng: np.random.Generator, _: Path) -> Case:
    n = order(rng, 12)
    B = rng.standard_normal((n, n))
    corner = np.zeros((n, n)) if rng.random() < 0.5 else 10.0 ** rng.uniform(-18, 0) * definite(rng, n)
    return small(np.block([[corner, B], [B.T, np.zeros((n, n))]]))


def permutation(rng: np.random.Generator, _: Path) -> Case:
    n = order(rng, 30)
    P = np.eye(n)[rng.permutation(n)]
    return small(P if rng.random() < 0.5 else P * rng.choice([-3.0, 1e-200, 1e200], n))


def triangle(rng: np.random.Generator, _: Path) -> Case:
    n = order(rng, 20)
    A = np.tril(rng.standard_normal((n, n)) * 10.0 ** rng.uniform(-20, 20, (n, n)))
    A = A.T if rng.random() < 0.5 else A
    if rng.random() < 0.3:
        A = A[rng.permutation(n)][:, rng.permutation(n)]
    return small(A)


def sparse(rng: np.random.Generator, _: Path) -> Case:
    n = order(rng, 30) + 2
    A = scipy.sparse.random_array(
        (n, n), density=rng.uniform(0.02, 0.3), rng=rng, data_sampler=rng.standard_normal
    )
    A = scipy.sparse.csr_array(A + (scipy.sparse.eye_array(n) if rng.random() < 0.6 else 0 * A))
    match rng.integers(4):
        case 0:
            A = scipy.sparse.csr_array(A + A.T)
        case 1:
            A = scipy.sparse.csr_array(A @ A.T + 1e-3 * scipy.sparse.eye_array(n))
            A = scipy.sparse.csr_array(scipy.sparse.tril(A) + scipy.sparse.tril(A, -1).T)
        case 2:
            q = rng.permutation(n)
            A = scipy.sparse.csr_array(scipy.sparse.csr_array(scipy.sparse.tril(A))[q])
    return Case(A, n, *exact(A.toarray()))


def long_sparse(rng: np.random.Generator, _: Path) -> Case:
    n = int(rng.integers(2000, 6000))
    low, high = rng.standard_normal((2, n - 1)) * 10.0 ** rng.uniform(-3, 1)
    middle = rng.standard_normal(n) + rng.choice([0.0, 3.0, -3.0])
    high = low if rng.random() < 0.4 else high
    A = scipy.sparse.csr_array(scipy.sparse.diags_array([low, middle, high], offsets=[-1, 0, 1]))
    sign, logabs = tridiagonal(low, middle, high)
    if rng.random() < 0.5:
        P = scipy.sparse.csr_array(scipy.sparse.eye_array(n))[rng.permutation(n)]
        A = scipy.sparse.csr_array(P @ A @ P.T)
    return Case(A, n, sign, logabs)


def file(rng: np.random.Generator, folder: Path) -> Case:
    """Return a banded matrix in a file: symmetric, or with a band or an entry that 64 samples do not meet."""
    n = int(rng.integers(520, 900))
    middle = rng.uniform(3, 5, n)
    low = rng.uniform(-1, 1, n - 1)
    high, far = low.copy(), None
    kind = rng.integers(5)
    if kind == 1:
        high = rng.uniform(-1, 1, n - 1)
    elif kind == 2:
        place = int(rng.integers(n - 1))
        high[place] = np.nextafter(high[place], 2)
    A = np.diag(middle) + np.diag(low, -1) + np.diag(high, 1)
    if kind == 3:
        j, i = sorted(int(part) for part in rng.choice(n, 2, replace=False))
        if i > j + 1:
            far = (i, j, float(10.0 ** rng.uniform(-3, 3)))
            A[i, j] += far[2]
    sign, logabs = tridiagonal(low, middle, high, far)
    flip = rng.random() < 0.5
    A = np.asfortranarray(A.T) if flip else A
    if kind == 4:
        A = A.astype(">f8")
    path = folder / "matrix.npy"
    np.save(path, A)
    options: dict[str, Any] = {}
    match rng.integers(4):
        case 0:
            options = {"memory": int(rng.choice([2_000_000, 4_000_000])), "scratch": folder / "scratch"}
        case 1:
            options = {"method": "slq", "smallest": 1e-3}
        case 2:
            options = {"method": str(rng.choice(["cholesky", "ldlt", "lu", "mixed"]))}
    return Case(str(path), n, sign, logabs, options)


def no_matrix(rng: np.random.Generator, _: Path) -> Case:
    n = order(rng)
    A = rng.standard_normal((n, n))
    B = A.copy()
    B[0, -1] = rng.choice([np.nan, np.inf, -np.inf])
    kinds = [A + 1j * A, B, A[:, :0], np.zeros((0, 0)), A[:, : n - 1] if n > 1 else np.zeros((1, 2)), A[None],
             A.astype(object), A.astype(np.longdouble), A.astype(str)]  # fmt: skip
    return Case(kinds[rng.integers(len(kinds))], n, None)


FAMILIES: dict[str, Make] = {
    each.__name__: each
    for each in (
        random, stored, near_singular, singular, near_symmetric, companion, vandermonde, structured, graded,
        scaled, indefinite, permutation, triangle, sparse, long_sparse, file, no_matrix,
    )
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--refusals", action="store_true", help="print why matrices were refused")
    asked = parser.parse_args()
    rows = run(asked.count, asked.seed)
    print_rows(rows)
    if asked.refusals:
        for (family, note), times in sorted(
            Counter((row.family, row.note[:90]) for row in rows if row.note).items()
        ):
            print(f"{family:16} {times:4} {note}")


def print_rows(rows: list[Row]) -> None:
    """Print a line a family, and every answer that is wrong."""
    heads = ("matrices", "answered", "outside", "sign", "internal", "CPU s")
    print("family".ljust(16), *(head.rjust(8) for head in heads))
    for name in FAMILIES:
        print_line(name, [row for row in rows if row.family == name])
    print_line("all", rows)
    for row in rows:
        if not (row.inside_bound and row.sign_right) or row.note.startswith("internal"):
            print(row)


def print_line(name: str, rows: list[Row]) -> None:
    answered = sum(row.answered for row in rows)
    outside = sum(not row.inside_bound for row in rows)
    wrong = sum(not row.sign_right for row in rows)
    internal = sum(row.note.startswith("internal") for row in rows)
    seconds = sum(row.seconds for row in rows)
    print(f"{name:16} {len(rows):8} {answered:8} {outside:8} {wrong:8} {internal:8} {seconds:8.1f}")


if __name__ == "__main__":
    main()
