"""Rows of the table of kernels: damage, constants of an architecture, starts of training, exchangeability."""

from __future__ import annotations

from typing import Any

import torch
from kernel_inputs import Put, Row, normal, seeded, spectrum, weight

from rmtaudit.kernels import exchangeability
from rmtaudit.kernels.constants import grids, patterns, recognise, recurrences, symmetries
from rmtaudit.kernels.exchangeability import moments
from rmtaudit.kernels.forensics import (
    bitflips,
    clipping,
    codebooks,
    duplicates,
    lattices,
    line_order,
    lines,
    outliers,
    pages,
    quantisation,
    rounding,
    samples,
    schemes,
    sparsity,
    survey,
    tables,
    truncation,
    units,
    vectors,
)
from rmtaudit.kernels.forensics import grids as uniform
from rmtaudit.kernels.forensics.bytes import byte_facts
from rmtaudit.kernels.harm import divergence
from rmtaudit.kernels.harm import noise as harm_noise
from rmtaudit.kernels.starts import laws, orthogonal, shapes

_FLOAT32 = {"epsilon": 2.0**-24, "smallest_normal": 2.0**-126}


def _damaged() -> list[torch.Tensor]:
    base = weight(40, 32)
    size = float(base.abs().max()) / 127
    return [
        base,
        (base / size).round() * size,
        torch.tensor([-0.5, -0.2, 0.1, 0.7])[(base * 1000).long() % 4],
    ]


def _forensics(put: Put) -> Any:
    rows = []
    for each in _damaged():
        W = put(each)
        known = survey.survey(W)
        grid, book = quantisation.quantisation(W, **_FLOAT32)
        order = line_order.line_order(W)
        rows += [
            grid,
            book,
            bitflips.flipped_bits(W, float(each.abs().max()), "float32"),
            byte_facts(W, "float32"),
            clipping.clipping(W),
            codebooks.repeats_values(W),
            codebooks.table_book(W, **_FLOAT32),
            codebooks.few_values(W, epsilon=2.0**-24),
            duplicates.duplicated_rows(W),
            uniform.uniform_grid(W, **_FLOAT32),
            order,
            [(block.profile, block.sizes) for block in (order.whole, *order.halves)],
            order.contrast,
            lines.loud_lines(known.rows),
            known.columns,
            outliers.largest_entries(W),
            rounding.rounded_to(W, "float32"),
            schemes.quantisation_scheme(W, grid or book, **_FLOAT32),
            sparsity.zero_pattern(W),
            truncation.lost_directions(W, **_FLOAT32),
        ]
    return rows


def _parts_of_forensics(put: Put) -> Any:
    W = put(weight())
    steps = put(0.25 * torch.arange(-20, 21, dtype=torch.float32).repeat(10))
    return [
        lattices.fit_lattice(steps, 2.0**-24, 2.0**-126),
        pages.damaged_regions(put(weight(256, 256))),
        samples.strided(W, 100),
        samples.repeats(W),
        samples.sorted_values(W),
        [tables.fit_table(steps, each, 2.0**-24, 2.0**-126) for each in tables.TABLES.values()],
        [part for family in ("row", "column") for part in units.units(W, family, None)],
        vectors.localised_direction(W, 3),
    ]


def _constants(put: Put) -> Any:
    positions = torch.arange(64.0)[:, None] / 10000 ** (torch.arange(0, 32.0, 2) / 32)
    sinusoids = torch.cat([positions.sin(), positions.cos()], dim=1)
    grid = torch.stack(torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij"))
    identity, W = torch.eye(16), weight()
    kernel = normal(4, 1, 3, 3).float()
    symmetric = kernel + kernel.flip(2) + kernel.flip(3) + kernel.flip(2, 3)
    each = [sinusoids, grid, identity, W, torch.ones(12, 12).tril(), torch.arange(36.0).reshape(6, 6)]
    return [
        [recognise.recognise_constant(put(tensor), 2.0**-24) for tensor in (*each, symmetric)],
        grids.is_coordinate_grid(put(grid), 2.0**-24),
        patterns.has_two_values(put(identity), 0.0, 1.0),
        patterns.is_diagonal(put(identity)),
        patterns.is_one_entry_per_line(put(identity.bool())),
        patterns.is_triangular(put(torch.ones(12, 12).tril().bool())),
        patterns.is_masked_triangle(put(torch.ones(12, 12).tril().bool())),
        patterns.is_haar_basis(put(torch.tensor([[1.0, 1.0], [1.0, -1.0]]) / 2**0.5), 2.0**-24),
        patterns.is_index_table(put(torch.arange(36.0).reshape(6, 6))),
        patterns.is_filter_bank(put(weight().abs())),
        recurrences.oscillation(put(sinusoids), 2.0**-20),
        symmetries.kernels_are_symmetric(put(symmetric), 2.0**-20),
        symmetries.is_wigner_tensor(put(normal(3, 3, 3).float()), 2.0**-20),
        symmetries.is_semi_orthogonal(put(torch.linalg.qr(normal(20, 8))[0]), 2.0**-40),
    ]


def _starts(put: Put) -> Any:
    Q = torch.linalg.qr(normal(48, 48))[0]
    ones = torch.ones(48, dtype=torch.float64)
    W = put(weight())
    removed = shapes.identity_removed(put(torch.eye(32) + 0.01 * normal(32, 32).float()))
    return [
        laws.entry_law(W),
        laws.entry_law(put(torch.rand(80, 60, generator=seeded()) - 0.5)),
        orthogonal.is_orthogonal(put(ones), 96, 48, 2.0**-40),
        orthogonal.is_block_of_orthogonal(put(spectrum(48) / 10), 48, 48, 96),
        orthogonal.orthogonal_blocks(put(torch.cat([Q, Q.flip(0)])), 2.0**-40),
        orthogonal.scaled_orthogonal(put(torch.cat([Q, 2 * Q.flip(0)])), 2.0**-40),
        shapes.without_zero_lines(put(torch.nn.functional.pad(weight(), (1, 1, 1, 1)))),
        shapes.is_identity(put(torch.eye(32))),
        removed,
        [block for _, block in shapes.rescaled_blocks(W)],
        shapes.lines_are_even(W),
    ]


def _exchangeability(put: Put) -> Any:
    W = put(weight())
    scores = moments.permutation_moments(put(normal(60, 40)))
    return [
        exchangeability.exchangeability(W),
        exchangeability.exchangeability(put(weight(16, 27)), kernel=(3, 3)),
        exchangeability.exchangeability_of_nonzeros(put(torch.where(weight() > 0, weight(), 0.0))),
        moments.squared_group_sums(scores, put(torch.full((60,), 40))),
    ]


def _harm(put: Put) -> Any:
    before, after = put(weight()), put(weight(seed=40))
    return [
        divergence.divergence_of_logits(before, after),
        divergence.cosine_distance(before, after),
        divergence.squared_error(before, after),
        harm_noise.mean_and_error(before.double()),
        harm_noise.relative_noise(before, 0.1, seeded()),
    ]


ROWS: dict[str, Row] = {
    "harm": _harm,
    "forensics": _forensics,
    "parts of forensics": _parts_of_forensics,
    "constants": _constants,
    "starts": _starts,
    "exchangeability": _exchangeability,
}
