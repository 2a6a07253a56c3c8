"""Rows of the table of kernels: what compares two matrices, merges, relations, edits and claims."""

from __future__ import annotations

from typing import Any

import torch
from kernel_inputs import Put, Row, normal, seeded, weight

from rmtaudit.kernels.claims.codes import code_counts
from rmtaudit.kernels.claims.scales import scaled_to
from rmtaudit.kernels.difference import (
    arrangement,
    diagnosis,
    distortion,
    entries,
    equality,
    formats,
    leading,
    low_rank,
    moments,
    products,
    quantised,
    random_change,
    replaced,
    rounding,
    samples,
    subspaces,
    truncation,
)
from rmtaudit.kernels.edits import factors, spectra
from rmtaudit.kernels.edits.quantise import quantised as quantise
from rmtaudit.kernels.merges import patterns, regression, slerp
from rmtaudit.kernels.relation import evaluate, matching, scores


def _candidates() -> list[torch.Tensor]:
    base = weight()
    size = float(base.abs().max()) / 127
    return [
        base.clone(),
        base + 0.02 * normal(96, 64, seed=5).float(),
        base + 0.02 * (normal(96, 2, seed=6) @ normal(2, 64, seed=7)).float(),
        torch.where(base.abs() > 0.03, base, 0.0),
        (base / size).round() * size,
        1.5 * base,
        base.bfloat16(),
        base.flip(0),
        weight(seed=40),
        torch.where(normal(96, 64, seed=8) > 2.5, base + 0.1, base),
    ]


def _diagnoses(put: Put) -> Any:
    base = put(weight())
    return [diagnosis.diagnose(base, put(each), generator=seeded()) for each in _candidates()]


def _single_tests(put: Put) -> Any:
    base, rows = put(weight()), []
    for each in (*_candidates()[1:3], *_candidates()[4:6]):
        candidate = put(each)
        sums = moments.moments_of(base, candidate)
        spread = rounding.rounding_of(base, candidate, ("float32", "float32"))
        rows += [
            sums,
            spread,
            arrangement.find_rearranged(base, candidate, sums),
            entries.find_pruned(base, candidate, sums),
            entries.find_sparse_edit(base, candidate, sums, "float32"),
            equality.find_cast(base, candidate, sums),
            equality.find_scaled(base, candidate, sums, "float32"),
            low_rank.find_low_rank(base, candidate, sums, spread),
            truncation.find_truncated(base, candidate, spread),
            quantised.find_quantised(base, candidate, sums, epsilon=2.0**-24, smallest_normal=2.0**-126),
            replaced.find_replaced(base, candidate),
        ]
    candidate = put(_candidates()[1])
    sums = moments.moments_of(base, candidate)
    rows.append(random_change.find_noise(base, candidate, sums, 0.0, seeded()))
    return rows


def _parts_of_a_difference(put: Put) -> Any:
    base, candidate = put(weight()), put(_candidates()[1])
    product = base.T.double() @ base.double()
    factor = put(torch.linspace(0.5, 2, 96, dtype=torch.float64))
    return [
        distortion.distortion(base, candidate),
        products.singular_values(base.double()),
        equality.equal_values(base, candidate),
        equality.within_one_unit(base, candidate, "float32"),
        equality.line_factors(base, candidate),
        formats.ulp(base, "bfloat16"),
        formats.rounding_variance(base, "float16"),
        formats.cast(base, "bfloat16"),
        formats.truncated(base, "bfloat16"),
        leading.leading(leading.scaled(base, factor), 3),
        leading.of_product(product, 3)[0],
        leading.iterated(product, 3, 20).abs(),
        leading.is_oblong(base),
        leading.spectral_norm(base),
        [part for _, *parts in moments.bands(base, candidate) for part in parts],
        [part for _, part in moments.differences(base, candidate)],
        moments.difference_of(base, candidate, 1.0),
        samples.even_rows(base),
        samples.is_zero(base),
        samples.is_finite(base),
        samples.largest_entry(base),
        subspaces.followed(base, candidate, seeded()),
        subspaces.followed(put(weight(300, 300)), put(weight(300, 300, seed=9)), seeded()),
    ]


def _edits(put: Put) -> Any:
    W, update = put(weight()), put((normal(96, 2) @ normal(2, 64, seed=1)).float())
    return [
        factors.update_factors(update, put(torch.full((96, 64), 1e-16)), rank=None, generator=seeded()),
        [quantise(W, scheme) for scheme in ("int8", "fp8", "bf16", "nf4")],
        spectra.truncated(W, rank=5),
        spectra.truncated(W, energy=0.9),
        spectra.pruned(W, 0.5),
    ]


def _claims(put: Put) -> Any:
    base = put(weight())
    step = (base.abs().amax(dim=1, keepdim=True) / 7).expand(96, 64)
    stored = (base / step).round() * step
    table = put(torch.arange(-8, 8, dtype=torch.float32))
    origin = put(torch.zeros(96, 64))
    return [
        code_counts(stored, base, origin=origin, step=step, table=table),
        scaled_to(stored, base),
    ]


def _merges(put: Put) -> Any:
    parents = [put(weight(seed=10 * seed) - weight(seed=100)) for seed in (1, 2)]
    change = 0.3 * parents[0] + 0.6 * parents[1]
    rounding_ = put(torch.full((96, 64), 1e-16, dtype=torch.float64))
    return [
        patterns.pattern_sums(change, parents, rounding_),
        regression.fit_merge(regression.merge_sums(change, parents)),
        slerp.fit_slerp(change, *parents),
    ]


def _relations(put: Put) -> Any:
    first, second = put(normal(60, 40)), put(normal(60, 40, seed=1))
    linear = scores.unit_cosines(first, first + 0.5 * second)  # one stratum
    return [
        linear,
        matching.matched_similarity(first, first[:, :].flip(1), seeded()),
        evaluate.relabelling_test(scores.unit_scores(linear), generator=seeded()),
    ]


ROWS: dict[str, Row] = {
    "diagnoses": _diagnoses,
    "single tests of a difference": _single_tests,
    "parts of a difference": _parts_of_a_difference,
    "edits": _edits,
    "claims": _claims,
    "merges": _merges,
    "relations": _relations,
}
