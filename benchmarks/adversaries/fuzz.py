"""Small hostile matrices through every command that takes one: answers, refusals and internal errors.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/adversaries.py --part fuzz --matrices 2000

Orders are 1 to 64. A matrix is drawn from a family, its entries are replaced, repeated or rescaled, and it is
stored in some type. Of each the log-determinant is asked (several methods and options); the spectrum of the
whole matrix, or one predicted from a block or from eigenvalues alone; and both tails of its eigenvalues or
entries, or the forecast: by the functions that the commands call.

What can be checked cheaply is: determinants against exact integers, eigenvalues against 40 digits, exponents
of tails against their likelihood equation, biases of a forecast against their definition. A warning of numpy
or torch that a user would see counts as well.
"""

from __future__ import annotations

import math
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import scipy.sparse
import torch

import rmtaudit
from adversaries.logdet import exact
from rmtaudit.engine.samples.forecast import ForecastSettings, forecast_file
from rmtaudit.engine.samples.tails import TailSettings, study_file
from rmtaudit.engine.sources import SourceOptions
from rmtaudit.errors import RmtauditError

DIGITS = 40
CHECKED_DETERMINANT, CHECKED_EIGENVALUES = 14, 8
"""Largest orders whose determinant and eigenvalues are computed exactly."""
LEVEL = 0.9999
_PROGRESS = 300
"""Calls after which the counts so far are printed."""


@dataclass(frozen=True, slots=True)
class Row:
    """How one call ended.

    Attributes
    ----------
    call
        What was asked.
    ended
        ``answered``, ``refused`` (by an error of our own, or by an answer without a number), ``internal``.
    checked, right
        Whether the answer was compared with a reference, and whether it agreed.
    warned
        Whether a warning escaped.
    note
        What a reader needs to draw the matrix again, and what went wrong.
    held, of
        Deciles inside their intervals of 90 %, of so many that were compared.
    seconds
        CPU time.
    """

    call: str
    ended: str
    checked: bool = False
    right: bool = True
    warned: bool = False
    note: str = ""
    held: int = 0
    of: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """``None`` for ``right``: there is nothing to compare with."""

    answered: bool
    right: bool | None = None
    note: str = ""
    held: int = 0
    of: int = 0


Make = Callable[[np.random.Generator, int], Any]


def run(count: int, seed: int) -> Iterator[Row]:
    """Yield the rows of ``count`` matrices."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            yield from asked(number, seed, Path(folder))


def asked(number: int, seed: int, folder: Path) -> Iterator[Row]:
    """Yield the rows of one matrix, which its number and the seed determine."""
    rng = np.random.default_rng([seed, number])
    words, matrix = hostile(rng)
    for call in (
        "logdet",
        str(rng.choice(list(SPECTRA), p=list(SPECTRA.values()))),
        str(rng.choice(SAMPLES)),
    ):
        question = CALLS[call]
        began = time.process_time()
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            row = _ended(call, question, matrix, rng, folder)
        told = f"seed {seed} number {number} {words}: {row.note}"
        if seen:
            told += f" warning: {seen[0].message}"
        yield replace(row, warned=bool(seen), note=told, seconds=time.process_time() - began)


def _ended(
    call: str,
    question: Callable[[Any, np.random.Generator, Path], Answer],
    matrix: Any,
    rng: np.random.Generator,
    folder: Path,
) -> Row:
    try:
        found = question(matrix, rng, folder)
    except RmtauditError as error:
        return Row(call, "refused", note=error.code)
    except Exception as error:  # this is what is looked for
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        return Row(call, "internal", note=f"{type(error).__name__}: {error} at {where}")
    return Row(
        call,
        "answered" if found.answered else "refused",
        checked=found.right is not None,
        right=found.right is not False,
        note=found.note,
        held=found.held,
        of=found.of,
    )


def hostile(rng: np.random.Generator) -> tuple[str, Any]:
    """Return a matrix and the words that describe it."""
    n = int(rng.integers(1, 65)) if rng.random() < 0.6 else int(rng.integers(1, 9))
    family = str(rng.choice(list(FAMILIES)))
    with np.errstate(all="ignore"):
        matrix = np.asarray(FAMILIES[family](rng, n), dtype=np.float64)
        words = [family, f"n={n}"]
        for _ in range(int(rng.integers(0, 3))):
            change = str(rng.choice(list(CHANGES)))
            matrix = CHANGES[change](rng, matrix)
            words.append(change)
        kind = str(rng.choice(list(TYPES), p=list(TYPES.values())))
        words.append(kind)
        if kind.startswith("int") or kind == "uint8":
            matrix = np.nan_to_num(np.round(matrix), nan=0, posinf=100, neginf=-100)
            matrix = np.clip(matrix, 0 if kind == "uint8" else -100, 100)
        return " ".join(words), matrix.astype(kind)


def _normal(rng: np.random.Generator, n: int) -> Any:
    return rng.standard_normal((n, n))


def _symmetric(rng: np.random.Generator, n: int) -> Any:
    return _mirrored(rng.standard_normal((n, n)))


def _definite(rng: np.random.Generator, n: int) -> Any:
    rows = rng.standard_normal((n, int(rng.integers(1, 3 * n + 2))))
    return _mirrored(rows @ rows.T / n)


def _low_rank(rng: np.random.Generator, n: int) -> Any:
    rank = int(rng.integers(0, max(1, n // 2) + 1))
    rows = rng.standard_normal((n, rank))
    return _mirrored(rows @ rows.T) if rng.random() < 0.7 else rows @ rng.standard_normal((rank, n))


def _atoms(rng: np.random.Generator, n: int) -> Any:
    basis = np.linalg.qr(rng.standard_normal((n, n)))[0]
    places = rng.choice([-1.0, 0.0, 1e-9, 1.0, 1.0, 2.0, 1e3], n)
    return _mirrored(basis * places @ basis.T)


def _diagonal(rng: np.random.Generator, n: int) -> Any:
    return np.diag(rng.choice([0.0, 1.0, -1.0, 1e-300, 1e300, 5e-324, 2.0], n))


def _heavy(rng: np.random.Generator, n: int) -> Any:
    return _mirrored(rng.standard_cauchy((n, n)))


def _near_singular(rng: np.random.Generator, n: int) -> Any:
    basis = np.linalg.qr(rng.standard_normal((n, n)))[0]
    return _mirrored(basis * 10.0 ** rng.uniform(-18, 0, n) @ basis.T)


def _banded(rng: np.random.Generator, n: int) -> Any:
    near = np.abs(np.subtract.outer(np.arange(n), np.arange(n))) <= 1
    return near * np.where(np.eye(n) > 0, rng.choice([0.0, 2.0, 4.0]), rng.choice([-1.0, 1.0, 1e-8]))


def _graph(rng: np.random.Generator, n: int) -> Any:
    joined = np.tril(rng.random((n, n)) < rng.choice([0.02, 0.1, 0.5]), -1).astype(float)
    joined += joined.T
    return np.diag(joined.sum(1)) - joined if rng.random() < 0.5 else joined


def _triangle(rng: np.random.Generator, n: int) -> Any:
    return np.tril(rng.standard_normal((n, n)))


def _permutation(rng: np.random.Generator, n: int) -> Any:
    return np.eye(n)[rng.permutation(n)]


def _constant(rng: np.random.Generator, n: int) -> Any:
    return np.full((n, n), rng.choice([0.0, 1.0, -1.0, 1e-310, 1e308]))


def _rectangle(rng: np.random.Generator, n: int) -> Any:
    return rng.standard_normal((n, int(rng.integers(1, 65))))


def _mirrored(matrix: Any) -> Any:
    return np.tril(matrix) + np.tril(matrix, -1).T


def _keeping(change: Callable[[np.random.Generator, Any], Any]) -> Callable[[np.random.Generator, Any], Any]:
    """Return the change, of a symmetric matrix four times in five followed by mirroring."""

    def changed(rng: np.random.Generator, matrix: Any) -> Any:
        mirror = np.array_equal(matrix, matrix.T, equal_nan=True) and rng.random() < 0.8
        found = change(rng, matrix.copy())
        return _mirrored(found) if mirror else found

    return changed


def _duplicate(rng: np.random.Generator, matrix: Any) -> Any:
    chosen = rng.integers(0, len(matrix), len(matrix))
    return matrix[chosen][:, chosen] if matrix.shape[0] == matrix.shape[1] else matrix[chosen]


def _zero_lines(rng: np.random.Generator, matrix: Any) -> Any:
    matrix[rng.random(len(matrix)) < 0.3] = 0
    matrix[:, rng.random(matrix.shape[1]) < 0.2] = 0
    return matrix


def _thinned(rng: np.random.Generator, matrix: Any) -> Any:
    return matrix * (rng.random(matrix.shape) < rng.choice([0.05, 0.3]))


def _scaled(rng: np.random.Generator, matrix: Any) -> Any:
    return matrix * float(rng.choice([1e-320, 1e-300, 1e-150, 1e-75, 1e75, 1e150, 1e300, -1.0]))


def _graded(rng: np.random.Generator, matrix: Any) -> Any:
    width = float(rng.choice([3, 30, 150]))
    left, right = (
        10.0 ** rng.uniform(-width, width, len(matrix)),
        10.0 ** rng.uniform(-width, width, matrix.shape[1]),
    )
    square = matrix.shape[0] == matrix.shape[1]
    return left[:, None] * matrix * (left if square else right)


def _subnormal(rng: np.random.Generator, matrix: Any) -> Any:
    matrix[rng.random(matrix.shape) < 0.2] = float(rng.choice([5e-324, 1e-310, -1e-315]))
    return matrix


def _not_finite(rng: np.random.Generator, matrix: Any) -> Any:
    matrix[rng.integers(0, len(matrix)), rng.integers(0, matrix.shape[1])] = rng.choice(
        [np.nan, np.inf, -np.inf]
    )
    return matrix


def _one_entry(rng: np.random.Generator, matrix: Any) -> Any:
    matrix[rng.integers(0, len(matrix)), rng.integers(0, matrix.shape[1])] = rng.choice(
        [1e300, -1e150, 1e-300, 1e16]
    )
    return matrix


def _rounded(rng: np.random.Generator, matrix: Any) -> Any:
    return np.round(matrix, int(rng.integers(0, 2)))


def _negative_zero(rng: np.random.Generator, matrix: Any) -> Any:
    matrix[rng.random(matrix.shape) < 0.3] = -0.0
    return matrix


FAMILIES: dict[str, Make] = {
    "normal": _normal,
    "symmetric": _symmetric,
    "definite": _definite,
    "low-rank": _low_rank,
    "atoms": _atoms,
    "diagonal": _diagonal,
    "heavy": _heavy,
    "near-singular": _near_singular,
    "banded": _banded,
    "graph": _graph,
    "triangle": _triangle,
    "permutation": _permutation,
    "constant": _constant,
    "rectangle": _rectangle,
}
CHANGES: dict[str, Callable[[np.random.Generator, Any], Any]] = {
    "duplicates": _duplicate,
    "zero lines": _keeping(_zero_lines),
    "thinned": _keeping(_thinned),
    "scaled": _scaled,
    "graded": _graded,
    "subnormal": _keeping(_subnormal),
    "not finite": _keeping(_not_finite),
    "one entry": _keeping(_one_entry),
    "rounded": _rounded,
    "negative zero": _keeping(_negative_zero),
}
TYPES = {"float64": 0.6, "float32": 0.2, "float16": 0.05, "int8": 0.05, "int64": 0.05, "uint8": 0.05}


def _logdet(matrix: Any, rng: np.random.Generator, _: Path) -> Answer:
    options: dict[str, Any] = {"confidence": LEVEL, "threads": 1}
    plain = rng.random() < 0.4
    if not plain:
        draw = rng.integers(4)
        if draw == 0:
            options["method"] = str(rng.choice(METHODS))
        elif draw == 1:
            options["pseudo"] = True
        elif draw == 2:
            options["shift"] = float(rng.choice([1e-12, 1.0, 1e200]))
        else:
            options["view"] = str(rng.choice(["wtw", "wwt"]))
    source = scipy.sparse.csr_array(matrix) if _sparse_type(matrix) and rng.random() < 0.3 else matrix
    found = rmtaudit.logdet(source, **options)
    found.to_dict()
    note = f"{options} {found.method or found.reason}"
    comparable = plain or "method" in options
    if not comparable or len(matrix) > CHECKED_DETERMINANT:
        return Answer(found.status == "ok", None, note)
    sign, truth = exact(np.asarray(matrix))
    if found.status != "ok":
        return Answer(False, found.sign is None or (found.sign == 0) == (sign == 0), note)
    assert found.margin is not None
    slack = 4 * np.spacing(abs(truth)) + 1e-100  # the reference has 118 digits
    right = sign == found.sign and found.margin.low - slack <= truth <= found.margin.high + slack
    return Answer(True, bool(right), f"{note} {found.logdet!r} in {found.margin}, truth {sign} {truth!r}")


METHODS = ("cholesky", "ldlt", "lu", "sparse", "qr", "mixed", "eigenvalues", "slq")


def _sparse_type(matrix: Any) -> bool:
    return bool(matrix.dtype != np.float16)


def _whole(matrix: Any, rng: np.random.Generator, _: Path) -> Answer:
    options: dict[str, Any] = {"method": str(rng.choice(["auto", "eigenvalues", "products"]))}
    if options["method"] == "products":
        options |= {"steps": 16, "probes": 4}
    if rng.random() < 0.3:
        options["ridge"] = float(rng.choice([1e-300, 1e-6, 1.0, 1e300]))
    view = str(rng.choice(["auto", "auto", "wtw", "wwt"]))
    source = scipy.sparse.csr_array(matrix) if _sparse_type(matrix) and rng.random() < 0.3 else matrix
    found = rmtaudit.density(source, options=SourceOptions(view=view), **options)
    values = found.quantiles().numpy()
    note = f"{options} {view} {found.verdict}"
    _finite_document(found.document)
    if view != "auto" or len(matrix) > CHECKED_EIGENVALUES:
        return Answer(True, None, note)
    with mpmath.workdps(DIGITS):
        truth = sorted(
            mpmath.eigsy(mpmath.matrix(np.asarray(matrix, dtype=np.float64).tolist()), eigvals_only=True)
        )
        size = max((abs(value) for value in truth), default=mpmath.mpf(0))
        tolerance = 64 * len(truth) * mpmath.mpf(2) ** -52 * size + mpmath.mpf(2) ** -1073
        if found.verdict == "exact":
            right = all(abs(mpmath.mpf(a) - b) <= tolerance for a, b in zip(values, truth, strict=True))
            return Answer(True, right, f"{note} {values} truth {[float(each) for each in truth]}")
        held = 0
        for each in found.document["prediction"]["quantiles"]:
            at = truth[max(0, math.ceil(each["level"] * len(truth)) - 1)]
            slack = tolerance + abs(at) / 10**9
            held += bool(each["low"] - slack <= at <= each["high"] + slack)
    # a point estimate may leave the spectrum by what 16 steps cannot resolve; the deciles above may not
    tolerance += size / 10**8
    edges = truth[0] - tolerance, truth[-1] + tolerance
    inside = all(edges[0] <= mpmath.mpf(value) <= edges[1] for value in values)
    return Answer(True, inside, f"{note} {values} outside {edges}", held, 9)


def _block(matrix: Any, rng: np.random.Generator, _: Path) -> Answer:
    options: dict[str, Any] = {"seed": 0, "replicas": int(rng.choice([0, 2]))}
    if len(matrix) > 4 and rng.random() < 0.5:
        options |= {"method": "blocks", "sample": len(matrix) // 2}
    else:
        options["factor"] = float(rng.choice([1.5, 2.0, 10.0, 1e12]))
    if rng.random() < 0.3:
        options["ridge"] = float(rng.choice([1e-300, 1e-6, 1.0, 1e300]))
    options["assume_free"] = options["assume_smooth"] = bool(rng.random() < 0.5)
    view = str(rng.choice(["auto", "auto", "wtw", "wwt"]))
    found = rmtaudit.density(matrix, options=SourceOptions(view=view), **options)
    _finite_document(found.document)
    return Answer(found.answered, None, f"{options} {view} {found.verdict}")


def _eigenvalues(matrix: Any, rng: np.random.Generator, _: Path) -> Answer:
    values = _spectrum(matrix, rng, symmetric=True)
    if rng.random() < 0.05:
        values = np.tile(values, int(rng.integers(2, 6)))
    factor = float(rng.choice([1.5, 2.0, 10.0, 1e12]))
    found = rmtaudit.density(values, factor=factor, replicas=0, assume_free=True, assume_smooth=True)
    _finite_document(found.document)
    return Answer(found.answered, None, f"{len(values)} values x{factor:g} {found.verdict}")


def _tails(matrix: Any, rng: np.random.Generator, folder: Path) -> Answer:
    entries = rng.random() < 0.6
    values = np.asarray(matrix).ravel() if entries else _spectrum(matrix, rng, symmetric=False)
    path = folder / "values.npy"
    np.save(path, values)
    settings = TailSettings(bootstrap=100 if rng.random() < 0.02 else 0, min_tail=int(rng.choice([2, 8, 20])))
    document = study_file(path, settings)
    _finite_document(document)
    upper = document["upper"]
    note = f"{'entries' if entries else 'spectrum'} {settings.min_tail} {settings.bootstrap}"
    if upper["status"] != "ok":
        return Answer(any(document[part]["status"] == "ok" for part in ("lower", "near_zero")), None, note)
    start, alpha = upper["xmin"]["value"], upper["alpha"]["value"]
    tail = [mpmath.mpf(float(value)) for value in values if value >= start]
    with mpmath.workdps(DIGITS):
        logs = sum(mpmath.log(value / mpmath.mpf(start)) for value in tail)
        slope = alpha - 1
        if upper["support"] == "continuous":
            residual = len(tail) / mpmath.mpf(slope) - logs
            scale = len(tail) / mpmath.mpf(slope)
        else:
            step = document["subject"]["grid_step"] or 1.0
            first = mpmath.mpf(start) / step
            if first > 1000 or alpha > 30:
                return Answer(True, None, note)
            zeta = mpmath.zeta(alpha, first)
            scale = len(tail) * abs(mpmath.zeta(alpha, first, 1)) / zeta
            residual = scale - len(tail) * mpmath.log(first) - logs
            scale += len(tail)
        right = len(tail) == upper["tail_size"] and abs(residual) <= scale / 10**5
    return Answer(
        True, bool(right), f"{note} alpha {alpha} xmin {start} residual {float(residual / scale):.2g}"
    )


def _forecast(matrix: Any, rng: np.random.Generator, folder: Path) -> Answer:
    values = _spectrum(matrix, rng, symmetric=False)
    path = folder / "eigenvalues.npy"
    np.save(path, values)
    kind = str(rng.choice(["covariance", "kernel"]))
    other = int(rng.integers(1, 3 * len(values) + 2))
    shape = (other, len(values)) if kind == "covariance" else (len(values), other)
    settings = ForecastSettings(
        matrix=kind,  # type: ignore[arg-type]
        shape=shape if rng.random() < 0.7 else None,
        points=5,
        bootstrap=int(rng.choice([0, 20])),
    )
    document = forecast_file(path, settings)
    _finite_document(document)
    note = f"{kind} {settings.shape} {settings.bootstrap} {document['htmp']['status']}"
    if document["subject"]["features"] is None:
        return Answer(True, None, note)
    features = document["subject"]["features"]
    kept = np.sort(np.asarray(values, dtype=np.float64))[-min(shape) if settings.shape else 0 :]
    if settings.shape is None:  # what rounding makes of 0 counts as 0
        kept = kept[kept > len(kept) * 2.0**-52 * kept[-1]]
    with mpmath.workdps(DIGITS):
        for each in document["empirical"]:
            ridge = mpmath.mpf(each["mu"])
            held = sum((ridge / (mpmath.mpf(value) + ridge)) ** 2 for value in kept.tolist())
            truth = (held + features - len(kept)) / features
            if abs(each["bias"]["value"] - truth) > mpmath.mpf(10) ** -9 * truth:
                return Answer(True, False, f"{note} {each} truth {float(truth)!r}")
    return Answer(True, True, note)


CALLS: dict[str, Callable[[Any, np.random.Generator, Path], Answer]] = {
    "logdet": _logdet,
    "density, whole": _whole,
    "density, blocks": _block,
    "density, eigenvalues": _eigenvalues,
    "tails": _tails,
    "forecast": _forecast,
}
SPECTRA = {"density, whole": 0.8, "density, blocks": 0.14, "density, eigenvalues": 0.06}
"""How often each is asked: predictions cost a hundred times as much as eigenvalues."""
SAMPLES = ("tails", "forecast")


def _spectrum(matrix: Any, rng: np.random.Generator, *, symmetric: bool) -> Any:
    """Return eigenvalues, or squared singular values; entries where there are neither."""
    wide = np.asarray(matrix, dtype=np.float64)
    if not np.isfinite(wide).all():
        return wide.ravel()[:64]
    largest = np.abs(wide).max() or 1.0
    with np.errstate(all="ignore"):
        if symmetric and wide.shape[0] == wide.shape[1]:
            return np.linalg.eigvalsh(wide / largest) * largest
        return (np.linalg.svd(wide / largest, compute_uv=False) * np.sqrt(largest)) ** 2 * (
            largest if rng.random() < 0.5 else 1.0
        )


def _finite_document(document: Any, place: str = "document") -> None:
    """Raise ``AssertionError`` where a document holds a number that strict JSON has no word for."""
    if isinstance(document, Mapping):
        for key, each in document.items():
            _finite_document(each, f"{place}.{key}")
    elif isinstance(document, list | tuple):
        for number, each in enumerate(document):
            _finite_document(each, f"{place}[{number}]")
    elif isinstance(document, float) and not math.isfinite(document):
        raise AssertionError(f"{place} is {document}")
    elif isinstance(document, torch.Tensor | np.ndarray):
        raise AssertionError(f"{place} is an array")


def print_rows(rows: Iterable[Row]) -> None:
    """Print every row that is wrong as it comes, and the counts."""
    seen: list[Row] = []
    for row in rows:
        seen.append(row)
        if row.ended == "internal" or not row.right or row.warned:
            kind = "INTERNAL" if row.ended == "internal" else "WRONG" if not row.right else "warning"
            print(f"{kind} {row.call}: {row.note[:600]}", flush=True)
        if len(seen) % _PROGRESS == 0:
            ended = Counter(row.ended for row in seen)
            print(f"{len(seen)} calls: {dict(ended)}, {sum(row.checked for row in seen)} checked", flush=True)
    print("| asked | calls | answered | refused | checked | wrong | internal errors | warnings | CPU s |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for call in [*CALLS, "all"]:
        these = [row for row in seen if call in (row.call, "all")]
        ended = Counter(row.ended for row in these)
        print(
            f"| {call} | {len(these)} | {ended['answered']} | {ended['refused']} | "
            f"{sum(row.checked for row in these)} | {sum(not row.right for row in these)} | "
            f"{ended['internal']} | {sum(row.warned for row in these)} | "
            f"{sum(row.seconds for row in these):.0f} |"
        )
    held, of = sum(row.held for row in seen), sum(row.of for row in seen)
    print(f"\nDeciles of spectra measured by products that lie in their intervals of 90 %: {held} of {of}")
