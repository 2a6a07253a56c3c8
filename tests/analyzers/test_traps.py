"""The traps analyzer: outliers that survive a shuffle, and the determinant condition."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch

from rmtaudit.analyzers.contract import AnalyzerContract, layer_input
from rmtaudit.analyzers.traps import Traps, TrapsOptions
from rmtaudit.kernels.noise.tracy_widom import MEAN, STANDARD_DEVIATION, soft_edge
from rmtaudit.kernels.spectra.spectrum import Spectrum


class TestContract(AnalyzerContract):
    analyzer = Traps()


class TestContractWithoutSigns(AnalyzerContract):
    analyzer = Traps(TrapsOptions(signs=False))


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.05 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_noise_has_no_trap() -> None:
    found = Traps().analyze(layer_input(gaussian(200, 150)))
    assert not found.observations
    assert found.values["traps"] == 0
    # Tracy-Widom: mean and four standard deviations, in units of the edge
    centre, width = soft_edge(200, 150)
    for name in ("trap_ratio", "sign_flip_ratio"):
        top = found.values[name] * (200**0.5 + 150**0.5) ** 2
        assert (top - centre) / width == pytest.approx(MEAN, abs=4 * STANDARD_DEVIATION)


def test_one_huge_entry_is_a_trap_and_is_named() -> None:
    matrix = gaussian(200, 150)
    matrix[31, 7] = -40
    found = Traps().analyze(layer_input(matrix))
    (trap,) = found.observations
    assert trap.code == "RA-NF-003"
    assert trap.p_value is not None
    assert trap.p_value == found.values["trap_p_value"]
    assert trap.p_value < 1e-100
    assert trap.evidence["largest_entry_position"] == [31, 7]
    assert trap.evidence["largest_entry"] == -40
    assert found.values["traps"] == 1


def test_structure_alone_is_no_trap() -> None:
    """Five strong directions: a shuffle destroys them."""
    matrix = gaussian(200, 150) + 10 * gaussian(200, 5, seed=1) @ gaussian(5, 150, seed=2)
    found = Traps().analyze(layer_input(matrix))
    values: Mapping[str, Any] = found.values
    assert values["trap_ratio"] < 1.15
    assert found.values["traps"] == 0


def test_a_large_row_shows_with_random_signs_alone() -> None:
    matrix = gaussian(200, 150)
    matrix[3] *= 5
    found = Traps().analyze(layer_input(matrix))
    values: Mapping[str, Any] = found.values
    assert values["sign_flip_ratio"] > 1.5 > values["trap_ratio"]


def test_the_determinant_condition_where_a_product_would_overflow() -> None:
    """A share 1/e of 2600 eigenvalues at e: their product is exp(2600/e), beyond float64."""
    size, high = 2600, round(2600 / math.e)
    low = (size - high * math.e) / (size - high)
    values = torch.cat([torch.full((size - high,), low), torch.full((high,), math.e)]).double()
    values *= torch.linspace(0.999, 1.001, size, dtype=torch.float64)
    given = replace(
        layer_input(gaussian(40, 30)),
        spectrum=Spectrum(eigenvalues=values, rows=size, cols=size, method="exact", floor=0.0, unresolved=0),
    )
    found = Traps().analyze(given)
    logs = (values / values.mean()).flip(0).log().cumsum(0)
    assert float(logs.max()) > math.log(sys.float_info.max)
    assert found.values["erg_rank"] == int((logs >= 0).sum()) + 1
    assert isinstance(found.values["erg_gap"], int)


def test_the_seed_decides_the_shuffle() -> None:
    given = layer_input(gaussian(60, 40))
    one, again = (Traps().analyze(given).values for _ in range(2))
    other = Traps().analyze(replace(given, seed=given.seed + 1)).values
    assert one == again
    assert one["trap_p_value"] != other["trap_p_value"]


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="level"):
        TrapsOptions(level=0)
