"""Free decompression against known laws, against real larger matrices, and beside freealg.

Needs ``../shared/data`` for the real matrices. freealg 0.12.2 uses a function that numpy 2.4 removed: give
``--peer`` the interpreter of an environment of its own with numpy 2.3.5::

    OMP_NUM_THREADS=1 python benchmarks/free.py [--part NAME] [--cases N] [--peer /path/to/python]

``oracles``: laws in closed form, from their exact transform and from sampled matrices of size 1000; beside
them a fit that is told how many atoms the law has, and that it ends.
``large``: 1000 to 32000, 100000 and 8000. ``ntk``: the log-NTK from 1024 to 16384, and the nine-output NTK.
``graph``: the Facebook graph from 4096 to 22470; the whole spectrum is by 1000 Chebyshev moments of 20
vectors. ``rows``: row-scaled Wishart. ``bands``: how often the 90 % band of each decile holds; ``numbers``:
the same of moments, extremes, log-determinant and the rest. ``forms``: how often a law of few numbers is
taken, where it is right and where it is not. ``speed``: process CPU seconds. KS in %, W1 in
units of the eigenvalues. Nothing is set for any case.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import scipy.linalg
import scipy.sparse
import torch
from safetensors.torch import load_file

from rmtaudit.kernels.extrapolation import predict
from rmtaudit.kernels.extrapolation.functionals import functionals
from rmtaudit.kernels.free import laws
from rmtaudit.kernels.free.atoms import AtomParameters, fit_atoms
from rmtaudit.kernels.free.decompression import Decompression, decompress_spectrum, take_spikes
from rmtaudit.kernels.free.deformed import deformed_quantiles
from rmtaudit.kernels.free.empirical import empirical_transform
from rmtaudit.kernels.free.evolution import evolve
from rmtaudit.kernels.free.fit import fit_levy, fit_many
from rmtaudit.kernels.free.fluctuations import whiten
from rmtaudit.kernels.free.forms import find_form, fit_form
from rmtaudit.kernels.free.measure import LevyMeasure
from rmtaudit.kernels.free.rows import RowScaledLaw
from rmtaudit.kernels.free.validation import free_block, ks_distance

DATA = Path(__file__).resolve().parents[2] / "shared/data"
NTK = DATA / "ntk_resnet50_cifar10"
MODELS = DATA.parent / "models"
_BANDS, _NUMBERS, _FORMS = 9600, 9800, 9900  # first seeds: no constant was chosen on these samples
PEER = """
import sys, time, warnings
warnings.filterwarnings("ignore")
import numpy as np, freealg
eig, size, truth = np.load(sys.argv[1]), int(sys.argv[2]), np.load(sys.argv[3])
pad = 0.1 * (truth[-1] - truth[0])
x = np.linspace(truth[0] - pad, truth[-1] + pad, 1000)
grid, n = np.sort(np.concatenate([x, truth])), len(truth)
damped = {"alpha": 0.5, "beta": 0.5, "damp": "jackson", "force": True}
for settings in ({}, damped):
    start = time.process_time()
    form = freealg.FreeForm(eig)
    form.fit(**settings)
    rho = np.asarray(form.decompress(size, x=x)[0]).ravel()
    cpu = time.process_time() - start
    cdf = np.concatenate([[0], np.cumsum((rho[1:] + rho[:-1]) / 2 * np.diff(x))])
    f = np.interp(grid, x, cdf / cdf[-1])
    g = np.searchsorted(truth, grid, side="right") / n
    print("RESULT", 100 * np.max(np.abs(f - g)), np.sum(np.abs(f - g)[:-1] * np.diff(grid)), cpu, flush=True)
"""


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def levels(count: int) -> torch.Tensor:
    return (torch.arange(count, dtype=torch.float64) + 0.5) / count


def wishart(n: int, d: int, seed: int) -> torch.Tensor:
    """Draw the spectrum of ``XXᵀ/d`` by its bidiagonal model (Dumitriu, Edelman 2002)."""
    rng = np.random.default_rng(seed)
    diagonal = np.sqrt(rng.chisquare(d - np.arange(n)))
    below = np.sqrt(rng.chisquare(n - 1 - np.arange(n - 1)))
    square = diagonal**2
    square[1:] += below**2
    found = scipy.linalg.eigvalsh_tridiagonal(square, diagonal[:-1] * below)
    return torch.from_numpy(found / d).clamp(min=0)


def compound(
    n: int, rate: float, jumps: tuple[float, ...], weights: tuple[float, ...], seed: int
) -> torch.Tensor:
    """Draw the spectrum of ``Σ t_j X_j X_jᵀ/n``, ``X_j`` of shape ``n x rate w_j n``."""
    generator = seeded(seed)
    total = torch.zeros(n, n, dtype=torch.float64)
    for jump, weight in zip(jumps, weights, strict=True):
        x = torch.randn(n, round(rate * weight * n), generator=generator, dtype=torch.float64)
        total += jump * x @ x.T / n
    return torch.linalg.eigvalsh(total).clamp(min=0)


def distances(guess: torch.Tensor, truth: torch.Tensor) -> tuple[float, float]:
    return 100 * ks_distance(guess, truth), float((guess - truth).abs().mean())


def peer(python: str | None, eigenvalues: torch.Tensor, truth: torch.Tensor) -> str:
    """Return KS, W1 and CPU seconds of freealg: by default, and damped with square-root weights."""
    if python is None:
        return ""
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder, name)) for name in ("eig.npy", "truth.npy", "peer.py")]
        np.save(paths[0], eigenvalues.numpy())
        np.save(paths[1], truth.numpy())
        Path(paths[2]).write_text(PEER)
        try:
            done = subprocess.run(
                [python, paths[2], paths[0], str(len(truth)), paths[1]],
                capture_output=True,
                text=True,
                timeout=120,
            )
        except subprocess.TimeoutExpired:
            return "no answer in 120 s"
        found = []
        for line in done.stdout.splitlines():
            if line.startswith("RESULT"):
                ks, w1, cpu = (float(word) for word in line.split()[1:])
                found.append(f"KS {ks:.2f}, W1 {w1:.4f}, {cpu:.1f} s")
        if found:
            return "; ".join(found)
        return "error: " + (done.stderr.strip().splitlines() or ["none"])[-1][:60]


def verdict(found: Decompression) -> str:
    return found.verdict + (f" ({found.reason})" if found.reason else "")


def oracles(_: str | None) -> None:
    print(
        "| law | factor | density, cdf from the transform | mass - 1 | five samples: KS, median (worst) | "
        "the same, form known | verdict |\n|---|---:|---:|---:|---:|---:|---|"
    )
    quadratic = [
        ("semicircle", laws.semicircle(0.3, 2.0), 8.0),
        ("MP, no atom", laws.marchenko_pastur(0.1), 4.0),
        ("MP, atom", laws.marchenko_pastur(0.1), 16.0),
        ("Kesten-McKay, d = 10", laws.kesten_mckay(10.0), 4.0),
        ("Wachter 3, 4", laws.wachter(3.0, 4.0), 2.0),
        ("Meixner", laws.meixner(1.2, 0.5, 0.3, 0.4), 4.0),
    ]
    for name, law, factor in quadratic:
        want, got = law.decompress(factor), evolve(law.levy(), factor)
        low, high = want.edges
        x = low + (high - low) * torch.linspace(0.005, 0.995, 101, dtype=torch.float64)
        worst = max(
            float((got.pdf(x) / want.pdf(x) - 1).abs().max()), float((got.cdf(x) - want.cdf(x)).abs().max())
        )
        sampled(name, law.levy(), factor, worst, got.mass)
    jumps, weights = torch.tensor([0.25, 0.6875]), torch.tensor([0.75, 0.25])
    for name, measure, factor in (
        ("compound free Poisson", laws.compound_free_poisson(0.8, jumps, weights), 8.0),
        ("free Levy", laws.free_levy(0.5, 1.0, 0.5, 2.0), 8.0),
    ):
        got = evolve(measure, factor)
        sampled(name, measure, factor, transform_error(measure, factor), got.mass)
    scaled = RowScaledLaw(torch.tensor([1.0, 10.0]), torch.tensor([0.7, 0.3]), 1 / 16)
    grown = scaled.decompress(8.0)
    eigenvalues = torch.linalg.eigvalsh(scaled.sample_matrix(1000, seeded(1)))
    guess = deformed_quantiles(eigenvalues, 16_000, 8.0, 8000)
    print(
        f"| row-scaled MP, by `deformed` | 8 | {transform_error(grown.companion_levy(), 1.0):.1e} | "
        f"{grown.companion.mass - 1:+.0e} | {distances(guess, grown.quantiles(8000))[0]:.2f} | | |",
        flush=True,
    )
    for name, law, factor in (
        ("Kesten-McKay, d = 5, past its end", laws.kesten_mckay(5.0), 5.5),
        ("Wachter 3, 4, past its end", laws.wachter(3.0, 4.0), 7.5),
    ):
        eigenvalues = torch.linalg.eigvalsh(law.sample_matrix(1000, seeded(1)))
        found = decompress_spectrum(eigenvalues, factor, generator=seeded(0), replicas=0)
        print(f"| {name} | {factor:g} | refused | | | | {verdict(found)} |", flush=True)
    limit()


def transform_error(measure: LevyMeasure, factor: float) -> float:
    """Return how far the boundary is from ``R(w) + 1/w`` of the evolved cumulants at ``w = G(z)``."""
    law = evolve(measure, factor)
    inside = law.v > 1e-6
    u = torch.complex(law.s, law.v)[inside]
    w = 1 / (factor * u)
    jumps = measure.left * factor
    masses = measure.mass * factor
    r = measure.mean + (w[:, None] * masses / (1 - jumps * w[:, None])).sum(1)
    return float(((r + 1 / w) - law.x[inside]).abs().max() / (law.x[-1] - law.x[0]))


def sampled(name: str, measure: LevyMeasure, factor: float, worst: float, mass: float) -> None:
    truth = evolve(measure, factor).quantiles(round(1000 * factor))
    rows = []
    for seed in range(1, 6):
        eigenvalues = torch.linalg.eigvalsh(laws.sample_matrix(measure, 1000, seeded(seed)))
        rounding = 1e-12 * float(eigenvalues.abs().max())
        eigenvalues = torch.where(eigenvalues.abs() < rounding, 0.0, eigenvalues)
        found = decompress_spectrum(eigenvalues, factor, generator=seeded(0), replicas=0)
        form = form_known(eigenvalues, measure)
        rows.append(
            [
                distances(found.quantiles(len(truth)), truth)[0],
                distances(evolve(form, factor).quantiles(len(truth)), truth)[0],
            ]
        )
    (ks, known), (most, _) = np.median(rows, 0), np.max(rows, 0)
    print(
        f"| {name} | {factor:g} | {worst:.1e} | {mass - 1:+.0e} | {ks:.2f} ({most:.2f}) | {known:.2f} | "
        f"{found.verdict} |",
        flush=True,
    )


def limit() -> None:
    """Print how near 30 samples of a Kesten-McKay law come, plainly and with the exact covariance."""
    law = laws.kesten_mckay(10.0).levy()
    truth = evolve(law, 4.0).quantiles(4000)
    rows = []
    for seed in range(1, 31):
        eigenvalues = torch.linalg.eigvalsh(laws.sample_matrix(law, 1000, seeded(seed)))
        given, plain = empirical_transform(eigenvalues), form_known(eigenvalues, law)
        parameters = AtomParameters(1, given.mean, ending=True)
        places, masses = plain.left.numpy() / given.scale, plain.mass.numpy() / given.scale**2
        start = parameters.pack(places, masses, plain.index)
        exact = fit_form("free Meixner", given, whiten(given, plain), parameters, start).measure
        rows.append([distances(evolve(one, 4.0).quantiles(4000), truth)[0] for one in (plain, exact)])
    plainly, exactly = np.median(rows, 0)
    print(
        f"\nKesten-McKay, form known, 30 samples: median KS {plainly:.2f}, with the exact covariance "
        f"{exactly:.2f}",
        flush=True,
    )


def form_known(eigenvalues: torch.Tensor, measure: LevyMeasure) -> LevyMeasure:
    """Return the law fitted with its number of atoms, and whether it ends, known: what the sample allows."""
    given = empirical_transform(eigenvalues)
    places, masses = measure.left.numpy() / given.scale, measure.mass.numpy() / given.scale**2
    from_zero = measure.index == 0 and abs(measure.inverse_moments()[0] - measure.mean) < 1e-12
    return fit_atoms(given, places, masses, from_zero=from_zero, ending=measure.index != 0)


def large(python: str | None) -> None:
    print("| case | KS | W1 | log-det error | atom at 0 | mean - 1 | freealg: defaults; damped |")
    print("|---|---:|---:|---:|---:|---:|---|")
    for size, seeds in ((32000, 8), (100000, 8)):
        law = laws.marchenko_pastur(0.02).decompress(size / 1000)
        truth = evolve(laws.marchenko_pastur(0.02).levy(), size / 1000).quantiles(size)
        rows = []
        for seed in range(seeds):
            eigenvalues = wishart(1000, 50_000, seed)
            found = decompress_spectrum(eigenvalues, size / 1000, generator=seeded(seed), replicas=0)
            ks, w1 = distances(found.quantiles(size), truth)
            wrong = math.nan if law.atoms else 100 * abs(found.law.log_det() / float(truth.log().mean()) - 1)
            atom = math.fsum(mass for place, mass in found.law.atoms if abs(place) < 1e-9)
            rows.append((ks, w1, wrong, atom, found.law.measure.mean - float(eigenvalues.mean())))
        table = np.array(rows)
        other = peer(python, wishart(1000, 50_000, 0), truth) if size == 32000 else ""
        for label, row in (("median", np.median(table, 0)), ("worst", np.abs(table).max(0))):
            print(
                f"| MP 1/50, 1000 to {size}, {seeds} seeds, {label} | {row[0]:.2f} | {row[1]:.4f} | "
                f"{row[2]:.2f} % | {row[3]:.3f} | {row[4]:.0e} | {other} |",
                flush=True,
            )
    measure = laws.compound_free_poisson(0.8, torch.tensor([0.25, 0.6875]), torch.tensor([0.75, 0.25]))
    truth = evolve(measure, 8.0).quantiles(8000)
    for seed in range(3):
        eigenvalues = compound(1000, 0.8, (0.25, 0.6875), (0.75, 0.25), seed)
        found = decompress_spectrum(eigenvalues, 8.0, generator=seeded(seed), replicas=0)
        ks, w1 = distances(found.quantiles(8000), truth)
        atom = math.fsum(mass for place, mass in found.law.atoms if abs(place) < 1e-9)
        other = peer(python, eigenvalues, truth) if seed == 0 else ""
        print(
            f"| CFP 1000 to 8000, seed {seed} | {ks:.2f} | {w1:.4f} | | {atom:.4f} | | {other} |", flush=True
        )


def load(name: str) -> torch.Tensor:
    return torch.from_numpy(np.load(NTK / f"cifar_resnet50_fp64_{name}.npy")).sort(-1).values


def ntk(python: str | None) -> None:
    print("| log-NTK 1024 to 16384 | KS | W1 | verdict | 2, 3, 4 cumulants: KS | freealg: defaults; damped |")
    print("|---|---:|---:|---|---|---|")
    samples, truth = load("logm_n55K_eig_n01024_samples"), load("logm_n55K_eig_n16384")
    rows = []
    for index, sample in enumerate(samples):
        found = decompress_spectrum(sample, 16.0, generator=seeded(0), replicas=3)
        rows.append(distances(found.quantiles(len(truth)), truth))
        simple = ", ".join(
            f"{distances(law.quantiles(len(truth)), truth)[0]:.1f}" for law in found.baselines.values()
        )
        other = peer(python, sample, truth) if index < 3 else ""
        print(
            f"| sample {index} | {rows[-1][0]:.2f} | {rows[-1][1]:.4f} | {verdict(found)} | {simple} | "
            f"{other} |",
            flush=True,
        )
    mean = np.mean(rows, 0)
    print(f"| mean | {mean[0]:.2f} | {mean[1]:.4f} | | | |")
    found = decompress_spectrum(samples, 16.0, generator=seeded(0))
    ks, w1 = distances(found.quantiles(len(truth)), truth)
    print(f"| ten pooled | {ks:.2f} | {w1:.4f} | {verdict(found)} | | |\n", flush=True)
    block, whole = load("l9_p08"), load("l9_p11")
    found = decompress_spectrum(block, 8.0, generator=seeded(0), replicas=0)
    print(f"Nine-output NTK, 2304 to 18432: {verdict(found)}\n", flush=True)
    print(
        "Whether it is free, by the exact relation of ridges: m of the block over m of the whole, 1 if free"
    )
    for ridge in (31.6, 100.0, 1000.0):
        target = float((1 / (whole + ridge)).mean())
        own = ridge - 7 / (8 * target)
        print(f"- ridge {ridge:g}: {float((1 / (block + own)).mean()) / (8 * target):.3f}", flush=True)


def graph(_: str | None) -> None:
    edges = np.loadtxt(DATA / "facebook_graph/edges.csv", delimiter=",", skiprows=1, dtype=np.int64)
    n = int(edges.max()) + 1
    rng = np.random.default_rng(42)
    more = rng.integers(0, n, (rng.binomial(n * (n - 1) // 2, math.log(n) / n), 2))
    edges = np.concatenate([edges, more])
    edges = np.unique(np.sort(edges[edges[:, 0] != edges[:, 1]], 1), axis=0)
    half = scipy.sparse.coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(n, n)).tocsr()
    adjacency = half + half.T
    scale = scipy.sparse.diags(1 / np.sqrt(np.asarray(adjacency.sum(1)).ravel()))
    shifted = (-(scale @ adjacency @ scale)).tocsr()  # the Laplacian less 1: its spectrum lies in [-1, 1]
    truth = 1 + torch.from_numpy(chebyshev_quantiles(shifted, n, rng))
    chosen = np.sort(rng.permutation(n)[:4096])
    block = torch.from_numpy(shifted[chosen][:, chosen].toarray())
    block = (block + block.T) / 2 + torch.eye(len(block), dtype=torch.float64)
    eigenvalues = torch.linalg.eigvalsh(block)
    found = decompress_spectrum(eigenvalues, n / 4096, generator=seeded(0), matrix=block, replicas=0)
    print(f"Facebook graph, 4096 to {n}: {verdict(found)}\n")
    print("| prediction | KS | W1 |\n|---|---:|---:|")
    rows = {"the answer (a simple law where refused)": found.quantiles(n)}
    rows["the fit that was refused"] = evolve(found.fit.measure, n / 4096).quantiles(n)
    for order, law in found.baselines.items():
        rows[f"{order} free cumulants"] = law.quantiles(n)
    for name, guess in rows.items():
        ks, w1 = distances(guess, truth)
        print(f"| {name} | {ks:.2f} | {w1:.4f} |", flush=True)


def chebyshev_quantiles(matrix: scipy.sparse.csr_matrix, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return the quantiles of a spectrum in [-1, 1] by 1000 damped moments of 20 random vectors."""
    degree, vectors = 500, 20
    start = rng.choice([-1.0, 1.0], (n, vectors))
    before, now = start, matrix @ start
    moments = np.zeros(2 * degree)
    moments[0] = 1
    moments[1] = (start * now).sum() / (n * vectors)
    for k in range(1, degree):
        before, now = now, 2 * (matrix @ now) - before
        moments[2 * k] = 2 * (before * before).sum() / (n * vectors) - 1
        moments[2 * k + 1] = 2 * (before * now).sum() / (n * vectors) - moments[1]
    k, size = np.arange(2 * degree), 2 * degree + 1
    damp = ((size - k) * np.cos(np.pi * k / size) + np.sin(np.pi * k / size) / np.tan(np.pi / size)) / size
    angle = np.linspace(np.pi, 0, 40_001)
    level = 1 - angle / np.pi
    for order in range(1, 2 * degree):
        level -= 2 / np.pi * damp[order] * moments[order] * np.sin(order * angle) / order
    return np.interp((np.arange(n) + 0.5) / n, np.maximum.accumulate(level), np.cos(angle))


def rows(_: str | None) -> None:
    print(
        "| row-scaled Wishart 250 to 2000, d = 4000 | KS deformed | the 250 scales known | all 2000 known | "
        "log-det | true | KS free |\n|---|---:|---:|---:|---:|---:|---:|"
    )
    found = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        weights = rng.standard_normal((2000, 4000))
        scales = np.exp(rng.standard_normal(2000) / 2)
        weights *= scales[:, None]
        gram = torch.from_numpy(weights @ weights.T / 4000)
        truth, block = torch.linalg.eigvalsh(gram), torch.linalg.eigvalsh(gram[:250, :250])
        guess = deformed_quantiles(block, 4000, 8.0, 2000)
        free = evolve(fit_levy(block, positive=True)[0].measure, 8.0).quantiles(2000)
        squares = torch.from_numpy(scales**2)
        known = (RowScaledLaw(part, torch.ones_like(part), 0.5) for part in (squares[:250], squares))
        found.append([distances(one, truth)[0] for one in (guess, *(law.quantiles(2000) for law in known))])
        each = " | ".join(f"{ks:.2f}" for ks in found[-1])
        print(
            f"| seed {seed} | {each} | {float(guess.log().mean()):.3f} | "
            f"{float(truth.log().mean()):.3f} | {distances(free, truth)[0]:.1f} |",
            flush=True,
        )
    print(f"| median | {' | '.join(f'{ks:.2f}' for ks in np.median(found, 0))} | | | |")


def sampled_kinds(n: int) -> tuple[tuple[str, LevyMeasure, Callable[[int], torch.Tensor]], ...]:
    jumps, weights = (0.125, 0.34375), (0.75, 0.25)
    poisson = laws.compound_free_poisson(16.0, torch.tensor(jumps), torch.tensor(weights))
    return (
        ("MP, ratio 1/50", laws.marchenko_pastur(0.02).levy(), lambda seed: wishart(n, 50 * n, seed)),
        ("CFP", poisson, lambda seed: compound(n, 16.0, jumps, weights, seed)),
        ("Wishart, ratio 1/16", laws.marchenko_pastur(1 / 16).levy(), lambda seed: wishart(n, 16 * n, seed)),
    )


def bands(_: str | None, cases: int = 17) -> None:
    print("| law | cases | bands that hold | each decile |\n|---|---:|---:|---|")
    at = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    n, factor = 400, 8.0
    total = []
    for name, measure, draw in sampled_kinds(n):
        truth = evolve(measure, factor).ppf(at)
        held = []
        for seed in range(cases):
            found = decompress_spectrum(draw(_BANDS + seed), factor, generator=seeded(seed))
            low, high = found.band(at)
            held.append(((low <= truth) & (truth <= high)).double())
        total += held
        table = torch.stack(held)
        each = " ".join(f"{100 * float(share):.0f}" for share in table.mean(0))
        print(f"| {name} | {len(held)} | {100 * float(table.mean()):.1f} % | {each} |", flush=True)
    table = torch.stack(total)
    each = " ".join(f"{100 * float(share):.0f}" for share in table.mean(0))
    print(f"| all | {len(total)} | {100 * float(table.mean()):.1f} % | {each} |", flush=True)


def numbers(_: str | None, cases: int = 17) -> None:
    n, factor = 400, 8.0
    print(f"| number | intervals that hold, {cases} cases each: MP, CFP, Wishart |\n|---|---|")
    held: dict[str, list[int]] = {}
    for _name, measure, draw in sampled_kinds(n):
        truth = functionals(evolve(measure, factor), order=n * factor, positive=True)
        found = [predict(draw(_NUMBERS + seed), factor, generator=seeded(seed)) for seed in range(cases)]
        for number, true in truth.items():
            ends = [one.numbers()[number] for one in found if isinstance(true, float)]
            known = [one for one in ends if one.low is not None and one.high is not None]
            held.setdefault(number, []).append(sum(one.low <= true <= one.high for one in known))
    for number, counts in held.items():
        print(f"| {number} | {', '.join(map(str, counts))} |", flush=True)


def forms(_: str | None, cases: int = 17) -> None:
    print("| blocks | number | taken as a law of few numbers |\n|---|---:|---|")
    rng = np.random.default_rng(_FORMS)
    entries = {
        "Gaussian": rng.standard_normal,
        "uniform": lambda size: rng.uniform(-1, 1, size),
        "Student's, 5 degrees": lambda size: rng.standard_t(5, size),
    }
    for n, d in ((128, 384), (400, 800), (400, 6400)):
        for name, draw in entries.items():
            squares = (draw((n, d)) for _ in range(cases))
            taken(f"noise {n} x {d}, {name}", (gram(torch.from_numpy(x)) for x in squares), positive=True)
    jumps, weights = (0.125, 0.34375), (0.75, 0.25)
    for n in (200, 400):
        found = (compound(n, 16.0, jumps, weights, _FORMS + seed) for seed in range(cases))
        taken(f"compound free Poisson, {n}", found, positive=True)
    for name, measure in (
        ("semicircle", laws.semicircle(0.3, 2.0).levy()),
        ("Meixner", laws.meixner(1.2, 0.5, 0.3, 0.4).levy()),
        ("free Levy", laws.free_levy(0.5, 1.0, 0.5, 2.0)),
    ):
        for n in (200, 1000):
            matrices = (laws.sample_matrix(measure, n, seeded(_FORMS + seed)) for seed in range(cases))
            taken(f"{name}, {n}", (torch.linalg.eigvalsh(one) for one in matrices), positive=False)
    samples = load("logm_n55K_eig_n01024_samples")
    for n in (128, 256, 512):
        blocks = (free_block(one, n, seeded(n)) for one in samples)
        taken(f"log-NTK, {n}", blocks, positive=False)
    taken("log-NTK, 1024", iter(samples), positive=False)
    taken("rows of layers of MiniLM and BERT, 128", layers(), positive=True)


def taken(name: str, spectra: Iterator[torch.Tensor], *, positive: bool) -> None:
    found = [find_form(one, fit_levy(one, positive=positive)[0]) for one in spectra]
    counts = Counter("none" if form is None else form.name for form in found)
    print(f"| {name} | {len(found)} | {', '.join(f'{k} {v}' for k, v in counts.items())} |", flush=True)


def gram(x: torch.Tensor) -> torch.Tensor:
    return torch.linalg.eigvalsh(x @ x.T / x.shape[1])


def layers() -> Iterator[torch.Tensor]:
    """Draw free blocks of 128 of the Gram matrices of trained layers, without spikes."""
    paths = [
        *sorted((MODELS / "derived/sharded").glob("*.safetensors")),
        MODELS / "rxnfp/bert_pretrained.bin",
    ]
    for path in paths:
        tensors = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
        for name, weight in sorted(tensors.items()):
            if (
                weight.ndim == 2
                and min(weight.shape) >= 256
                and max(weight.shape) <= 4096
                and "weight" in name
            ):
                w = weight.double() if weight.shape[0] <= weight.shape[1] else weight.double().T
                yield take_spikes(free_block(gram(w), 128, seeded(0))[None])[0][0]


def speed(_: str | None) -> None:
    sample = load("logm_n55K_eig_n01024")
    fit_levy(sample, positive=False)
    print("| what | CPU seconds, best of 5 |\n|---|---:|")

    def best(function: Callable[[], object], repeats: int = 5) -> float:
        times = []
        for _ in range(repeats):
            start = time.process_time()
            function()
            times.append(time.process_time() - start)
        return min(times)

    measure = fit_levy(sample, positive=False)[0].measure
    print(f"| fit, n = 1024 | {best(lambda: fit_levy(sample, positive=False)):.3f} |")
    seconds = best(lambda: evolve(measure, 48.9).quantiles(50_000))
    print(f"| 4000 points and 50,000 quantiles | {seconds:.3f} |", flush=True)
    layers = [wishart(256, 1024, seed) for seed in range(100)]
    alone = best(lambda: [fit_levy(one, positive=True) for one in layers], 2)
    together = best(lambda: fit_many(layers, positive=True), 2)
    print(f"| 100 layers of 256, one by one | {alone:.2f} |")
    print(f"| 100 layers of 256, batched | {together:.2f}: {alone / together:.1f} times |", flush=True)


PARTS = {
    "oracles": oracles,
    "large": large,
    "ntk": ntk,
    "graph": graph,
    "rows": rows,
    "bands": bands,
    "numbers": numbers,
    "forms": forms,
    "speed": speed,
}
COUNTED = ("bands", "numbers", "forms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--part", choices=PARTS)
    parser.add_argument("--peer")
    parser.add_argument("--cases", type=int, default=17, help="bands, numbers, forms: cases of each law")
    options = parser.parse_args()
    for name, part in PARTS.items():
        if options.part in (None, name):
            print(f"\n## {name}\n")
            part(options.peer, options.cases) if name in COUNTED else part(options.peer)


if __name__ == "__main__":
    main()
