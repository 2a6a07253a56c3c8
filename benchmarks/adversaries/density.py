"""Spectra predicted from blocks and measured by products, against the true eigenvalues.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/adversaries.py --part density FOLDER ...

Four kinds of rows: ``block`` (a principal block of every family of ``matrices.py``), ``eigenvalues`` (the
same block without its matrix, ``--assume-free``), ``products`` (the whole matrix), and ``law`` (blocks of
matrices with a smooth spectrum in a uniformly random basis, hence free). With folders, ``layer``: blocks of
the Gram matrices of trained layers below them.
"""

from __future__ import annotations

import time
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

import rmtaudit
from adversaries.matrices import Matrix, families
from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.errors import RmtauditError
from rmtaudit.matrices.plan import plan_layers

KINDS = ("block", "eigenvalues", "products", "law", "layer")
"""Rows that can be asked for."""
SHIFT = 1e-3
"""Shifts of so much of the range of the true eigenvalues are forgiven."""
ROUNDING = 1e-9
"""And of so much of the largest of them: the eigenvalues of an identity have no range."""
DECILES = np.arange(1, 10) / 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one matrix was answered.

    ``ks`` is the distance between the predicted and the true distribution and ``held`` the deciles, of nine,
    inside their intervals of 90 %; both ``None`` without an answer. ``error`` is the code and message of a
    refusal before any answer, or the class of an exception that is no refusal. ``obstacle`` says why there is
    no prediction.
    """

    kind: str
    family: str
    n: int
    factor: float
    verdict: str
    assumptions: tuple[str, ...] = ()
    ks: float | None = None
    held: int | None = None
    seconds: float = 0.0
    error: str = ""
    obstacle: str = ""

    @property
    def internal(self) -> bool:
        """Whether the tool itself failed."""
        return bool(self.error) and not self.error.startswith("RA-")


def smooth_spectra(size: int, rng: np.random.Generator) -> dict[str, Matrix]:
    """Return spectra with smooth densities on one interval: the quantiles of laws, no independent draws."""
    levels = (np.arange(size) + 0.5) / size
    wide = rng.standard_normal((size // 4, size // 4)) / np.sqrt(size // 4)
    semicircle = np.linalg.eigvalsh((wide + wide.T) / np.sqrt(2))
    rows = rng.standard_normal((size // 4, size))
    weights = 1 + 4 * rng.random(size)
    poisson = np.linalg.eigvalsh((rows * weights) @ rows.T / size)
    wishart = np.linalg.eigvalsh(rows[:, : 3 * size // 4] @ rows[:, : 3 * size // 4].T / size)
    stretched = {"semicircle": semicircle, "compound-poisson": poisson, "wishart": wishart}
    found = {
        name: np.interp(levels, (np.arange(len(some)) + 0.5) / len(some), some)
        for name, some in stretched.items()
    }
    normal = stats.norm.ppf(levels)
    found |= {
        "beta(2,2)": stats.beta(2, 2).ppf(levels),
        "beta(2,5)": stats.beta(2, 5).ppf(levels),
        "gamma(4)": stats.gamma(4).ppf(levels),
        "normal": normal,
        "two-humps": np.sort(np.r_[-1 + 0.7 * normal[::2], 1 + 0.7 * normal[::2]]),
    }
    return found


def free_block(spectrum: Matrix, n: int, rng: np.random.Generator) -> Matrix:
    """Return a principal block of order n of ``U diag(spectrum) Uᵀ`` with a uniform orthogonal ``U``."""
    basis = np.linalg.qr(rng.standard_normal((len(spectrum), n)))[0]
    block = basis.T @ (spectrum[:, None] * basis)
    return np.asarray((block + block.T) / 2)


def distance(predicted: Matrix, true: Matrix) -> float:
    """Return the Kolmogorov-Smirnov distance, forgiving shifts of ``SHIFT`` of the range."""
    shift = SHIFT * (true[-1] - true[0]) + ROUNDING * float(np.abs(true).max())
    predicted, true = np.sort(predicted), np.sort(true)
    level = np.arange(1, len(predicted) + 1) / len(predicted)
    above = np.searchsorted(true, predicted + shift, side="right") / len(true)
    below = np.searchsorted(true, predicted - shift, side="left") / len(true)
    return float(max(0, (level - 1 / len(predicted) - above).max(), (below - level).max()))


def asked(kind: str, family: str, source: Any, factor: float, true: Matrix, **options: Any) -> Row:
    """Return how a block or a matrix was answered."""
    start = time.process_time()
    common: dict[str, Any] = {"kind": kind, "family": family, "n": len(source), "factor": factor}
    size = None if factor == 1 else len(true)
    try:
        result = rmtaudit.density(source, size=size, **options)
    except RmtauditError as error:
        told = f"{error.code} {error.message}"
        return Row(**common, verdict="error", error=told, seconds=time.process_time() - start)
    except Exception as error:  # whatever it is, it is what this benchmark looks for
        return Row(**common, verdict="error", error=type(error).__name__, seconds=time.process_time() - start)
    seconds = time.process_time() - start
    verdict = result.document["verdict"]
    if not result.answered:
        obstacle = verdict["obstacle"]
        return Row(**common, verdict=verdict["word"], seconds=seconds, obstacle=obstacle)
    quantiles = result.document["prediction"]["quantiles"]
    tolerance = SHIFT * (true[-1] - true[0])
    held = sum(
        each["low"] is not None and each["low"] - tolerance <= value <= each["high"] + tolerance
        for each, value in zip(quantiles, np.quantile(true, DECILES), strict=True)
    )
    predicted = np.sort(np.asarray(result.quantiles(), dtype=np.float64))
    return Row(
        **common,
        verdict=verdict["word"],
        assumptions=tuple(verdict.get("assumptions", ())),
        ks=distance(predicted, true),
        held=held,
        seconds=seconds,
    )


def run(order: int, factors: tuple[float, ...], seed: int, kinds: Container[str]) -> Iterator[Row]:
    """Yield the rows of every family: blocks with and without the matrix, and products with the whole."""
    for number, (name, family) in enumerate(families().items()):
        for factor in factors:
            rng = np.random.default_rng([seed, number, round(10 * factor)])
            matrix = family(order, rng)
            true = np.linalg.eigvalsh(matrix)
            n = round(order / factor)
            chosen = np.sort(rng.permutation(order)[:n])
            block = matrix[np.ix_(chosen, chosen)]
            if "block" in kinds:
                yield asked("block", name, block, factor, true, seed=seed)
            if factor == factors[-1] and "eigenvalues" in kinds:
                values = np.linalg.eigvalsh(block)
                yield asked("eigenvalues", name, values, factor, true, seed=seed, assume_free=True)
            if factor == factors[-1] and "products" in kinds:
                yield asked("products", name, matrix, 1, true, seed=seed, method="products")


def run_laws(n: int, factors: tuple[float, ...], seed: int) -> Iterator[Row]:
    """Yield the rows of free matrices with smooth spectra, from blocks of order n."""
    for factor in factors:
        rng = np.random.default_rng([seed, round(10 * factor)])
        for name, spectrum in smooth_spectra(round(n * factor), rng).items():
            values = np.linalg.eigvalsh(free_block(spectrum, n, rng))
            yield asked("law", name, values, factor, spectrum, seed=seed, assume_free=True)


def run_layers(folder: Path, factors: tuple[float, ...], seed: int, most: int) -> Iterator[Row]:
    """Yield the rows of blocks of the Gram matrices of at most so many layers of every checkpoint."""
    for path in sorted(folder.rglob("*")):
        if path.suffix not in (".safetensors", ".pt", ".pth", ".th", ".bin"):
            continue
        try:
            checkpoint = open_checkpoint(path)
        except RmtauditError:
            continue
        with checkpoint:
            layers = [one for one in plan_layers(checkpoint.tensors).layers if min(one.shape) >= 128]
            rng = np.random.default_rng(seed)
            for layer in [layers[at] for at in sorted(rng.permutation(len(layers))[:most])]:
                if layer.matrices != 1 or max(layer.shape) > 4096:
                    continue
                (entries,) = layer.build(tuple(checkpoint.read(name) for name in layer.tensors))
                weights = entries.to(torch.float64).numpy()
                weights = weights if len(weights) <= weights.shape[1] else weights.T
                gram = weights @ weights.T
                true = np.linalg.eigvalsh(gram)
                for factor in factors:
                    chosen = np.sort(rng.permutation(len(gram))[: round(len(gram) / factor)])
                    block = gram[np.ix_(chosen, chosen)]
                    yield asked("layer", f"{path.parent.name}/{layer.name}", block, factor, true, seed=seed)
