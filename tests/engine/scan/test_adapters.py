"""Adapters in a scan: one row a module, and no claim about a product that only weights allow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import rmtaudit

CASES = Path(__file__).parents[4] / "shared" / "cases" / "lora-other-spellings"
ROWS = {"mlx": (64, 96), "tune": (64, 96), "olddiffusers": (64, 96), "loha": (96, 64), "lokr": (768, 512)}


def factors(rank: int, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    down, up = torch.randn(rank, 160, generator=generator), torch.randn(120, rank, generator=generator)
    return {"q.lora_A.weight": down, "q.lora_B.weight": up}


@pytest.mark.parametrize("rank", [1, 8, 64, 96])
def test_factors_that_learned_nothing_are_not_judged(rank: int) -> None:
    analyzers = ["scale", "powerlaw", "noise", "null_alpha", "forensics", "phase", "traps"]
    (row,) = rmtaudit.scan(factors(rank), analyzers=analyzers).layers
    assert (row.status, row.kind, row.shape) == ("ok", "low-rank adapter", (120, 160))
    assert row.verdict == "unjudged (the update is a product of factors)"
    assert not [finding for finding in row.findings if finding.severity != "info"]
    assert row.metrics["frobenius_norm"].value is not None
    for name in ("noise_p_value", "alpha_null", "phase", "traps"):
        assert "product, not a weight matrix" in row.metrics[name].reason


def test_an_update_of_rank_one_is_no_constant() -> None:
    tensors = factors(1)
    (row,) = rmtaudit.scan(tensors, analyzers=["scale", "powerlaw"]).layers
    assert "constant" not in row.reason
    norm = float(tensors["q.lora_A.weight"].norm() * tensors["q.lora_B.weight"].norm())
    assert row.metrics["spectral_norm"].value == pytest.approx(norm, rel=1e-6)
    assert row.metrics["alpha"].status == "skipped"


def test_an_update_that_has_not_been_trained_is_zero() -> None:
    tensors = factors(1)
    tensors["q.lora_B.weight"].zero_()
    (row,) = rmtaudit.scan(tensors, analyzers=["noise"]).layers
    assert row.reason == "zero: every entry is 0"


@pytest.mark.parametrize(("rank", "cautioned"), [(8, True), (19, True), (20, False)])
def test_alpha_of_few_eigenvalues_says_that_it_means_little(rank: int, cautioned: bool) -> None:
    (row,) = rmtaudit.scan(factors(rank), analyzers=["powerlaw"]).layers
    assert row.metrics["alpha"].value is not None
    assert (row.reason == f"an alpha fitted to {rank} eigenvalues means little") is cautioned


def test_the_configuration_beside_an_adapter_scales_it(tmp_path: Path) -> None:
    save_file(factors(4), tmp_path / "adapter_model.safetensors")
    (plain,) = rmtaudit.scan(tmp_path, analyzers=["scale"]).layers
    (tmp_path / "adapter_config.json").write_text(json.dumps({"lora_alpha": 12, "r": 4}))
    for path in (tmp_path, tmp_path / "adapter_model.safetensors"):
        (row,) = rmtaudit.scan(path, analyzers=["scale"]).layers
        assert "scaled by alpha/r = 12/4" in row.view
        before, after = (float(each.metrics["spectral_norm"].value or 0) for each in (plain, row))
        assert after == pytest.approx(3 * before, rel=1e-12)
        assert after > 0
    (tmp_path / "adapter_config.json").write_text("[")
    report = rmtaudit.scan(tmp_path, analyzers=["scale"])
    assert any(
        warning.startswith("adapter_config.json was not read") for warning in report.subject["warnings"]
    )


@pytest.mark.skipif(not CASES.is_dir(), reason="the collected cases are not beside the checkout")
@pytest.mark.parametrize("name", ROWS)
def test_the_collected_spellings_have_a_row_a_module(name: str) -> None:
    report = rmtaudit.scan(CASES / f"{name}.safetensors", analyzers=["scale", "noise"])
    (row,) = report.layers
    assert (row.kind, row.shape, row.status) == ("low-rank adapter", ROWS[name], "ok")
    assert report.coverage.fraction == 1
