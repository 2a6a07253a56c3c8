"""A layer among those of its role."""

from __future__ import annotations

import torch

import rmtaudit
from rmtaudit.engine.role_scale import beyond_its_role, role_of


def stack(count: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        f"layers.{index}.query.weight": 0.05 * torch.randn(64, 48, generator=generator)
        for index in range(count)
    }


def codes(state: dict[str, torch.Tensor]) -> dict[str, set[str]]:
    report = rmtaudit.scan(state, analyzers=["forensics"])
    return {row.name: {finding.code for finding in row.findings} for row in report.layers}


def test_roles_are_names_without_their_numbers() -> None:
    assert role_of("layer.3.query.weight") == role_of("layer.11.query.weight") == "layer.#.query.weight"


def test_ten_times_the_scale_is_named_with_four_peers() -> None:
    state = stack(5)
    state["layers.2.query.weight"] *= 10
    assert [name for name, found in codes(state).items() if "RA-MO-003" in found] == ["layers.2.query.weight"]


def test_not_with_three_peers_nor_at_four_times() -> None:
    state = stack(4)
    state["layers.2.query.weight"] *= 10
    assert not any("RA-MO-003" in found for found in codes(state).values())
    state = stack(8)
    state["layers.2.query.weight"] *= 4
    assert not any("RA-MO-003" in found for found in codes(state).values())
    assert beyond_its_role([]) == {}


def test_equal_parts_of_one_tensor_are_copies() -> None:
    part = 0.05 * torch.randn(48, 48, generator=torch.Generator().manual_seed(1))
    found = codes({"attn.in_proj_weight": torch.cat([part, part, 2 * part])})
    assert "RA-MO-001" in found["attn.in_proj_weight#k"]
    assert "RA-MO-001" not in found["attn.in_proj_weight#v"] | found["attn.in_proj_weight#q"]
    zeros = torch.zeros(48, 48)
    constant = codes({"attn.in_proj_weight": torch.cat([zeros, zeros, part])})
    assert not any("RA-MO-001" in each for each in constant.values())


def test_a_layer_of_zeros_is_a_warning_with_a_reason() -> None:
    report = rmtaudit.scan(
        {**stack(2), "layers.2.query.weight": torch.zeros(64, 48)}, analyzers=["forensics"]
    )
    row = next(row for row in report.layers if row.name == "layers.2.query.weight")
    assert [(each.code, each.severity) for each in row.findings] == [("RA-SC-002", "warning")]
    assert row.reason.startswith("zero:")
