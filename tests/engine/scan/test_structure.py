"""What belongs to the structure of a network is no damage: constants, roles and copies."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import rmtaudit

CASES = Path(__file__).parents[4] / "shared" / "cases"
State = dict[str, torch.Tensor]


def trained(rows: int, cols: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    left, right = torch.randn(rows, 6, generator=generator), torch.randn(6, cols, generator=generator)
    return 0.02 * (torch.randn(rows, cols, generator=generator) + left @ right)


def positions(length: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    angles = torch.outer(torch.arange(length), 10000.0 ** (-2 * torch.arange(width // 2) / width))
    return angles.sin(), angles.cos()


def two_tables(table: torch.Tensor, first: str, second: str) -> State:
    return {
        first: table.contiguous(),
        second: table.contiguous().clone(),
        "encoder.fc.weight": trained(64, 64, 0),
        "decoder.fc.weight": trained(64, 64, 1),
    }


def mamba(blocks: int, name: str, state: Callable[[int], torch.Tensor]) -> State:
    found: State = {}
    for block in range(blocks):
        stem = f"backbone.layers.{block}.mixer."
        found[stem + name] = state(block)
        found[stem + "in_proj.weight"] = trained(96, 64, block)
        found[stem + "x_proj.weight"] = trained(36, 64, block + 50)
        found[stem + "out_proj.weight"] = trained(64, 48, block + 90)
    return found


def rates(block: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(block)
    return torch.arange(1, 17).log().repeat(96, 1) + 0.05 * torch.randn(96, 16, generator=generator)


def networks(first: str, second: str, *, layers: int = 3) -> State:
    one = {f"{first}.{index}.weight": trained(64, 64, index) for index in range(layers)}
    return one | {name.replace(first, second): tensor.clone() for name, tensor in one.items()}


SINES, COSINES = positions(128, 64)
TABLES = {
    "halves under other names": two_tables(torch.cat([SINES, COSINES], 1)[None], "enc.pos", "dec.pos"),
    "cosines first, transposed": two_tables(torch.cat([COSINES, SINES], 1).T, "a.table", "b.table"),
    "scaled, interleaved": two_tables(
        3 * torch.stack([SINES, COSINES], 2).reshape(128, 64), "h.0.position", "h.1.position"
    ),
    "rotary": two_tables(torch.cat([COSINES, COSINES], 1), "h.0.rope.table", "h.1.rope.table"),
    "masks of minus infinity": two_tables(
        torch.zeros(3, 40, 40).masked_fill(torch.ones(40, 40).triu(1) > 0, -math.inf), "h.0.m", "h.1.m"
    ),
    "slopes of ALiBi": two_tables(
        2.0 ** -torch.arange(1, 9)[:, None, None] * torch.arange(48)[None, None], "h.0.slopes", "h.1.slopes"
    ),
    "slopes with a causal mask": two_tables(
        (2.0 ** -torch.arange(1, 9)[:, None, None] * torch.arange(48)[None, None]).repeat(1, 48, 1)
        + torch.zeros(48, 48).masked_fill(torch.ones(48, 48).triu(1) > 0, -math.inf),
        "h.0.bias_table", "h.1.bias_table",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_constants_and_their_copies_get_no_verdict(name: str) -> None:
    report = rmtaudit.scan(TABLES[name], analyzers=["scale", "noise", "forensics"])
    tables = [row for row in report.layers if "fc" not in row.name]
    assert {row.verdict.partition(" ")[0] for row in tables} == {"constant"}
    assert not [finding for row in tables for finding in row.findings]
    assert report.verdict == "structured"
    assert report.coverage.parameters == report.coverage.parameters_analyzed == 2 * 64 * 64


@pytest.mark.parametrize("blocks", [2, 3, 24])
@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("A_log", rates),
        ("ssm_a", lambda block: -rates(block).exp()),
        ("decay.weight", lambda block: 300 * trained(96, 64, block + 200)),
        ("q.weight", lambda block: 1e-3 * trained(64, 64, block + 200)),
    ],
)
def test_scale_is_compared_within_one_role(
    name: str, state: Callable[[int], torch.Tensor], blocks: int
) -> None:
    report = rmtaudit.scan(mamba(blocks, name, state), analyzers=["noise", "forensics"])
    assert "RA-MO-002" not in {finding.code for row in report.layers for finding in row.findings}
    assert report.verdict == "structured"


def test_a_scale_apart_from_its_own_role_is_still_seen() -> None:
    tensors = mamba(24, "A_log", rates)
    tensors["backbone.layers.7.mixer.out_proj.weight"] *= 3000
    report = rmtaudit.scan(tensors, analyzers=["noise", "forensics"])
    assert report.verdict == "damaged (RA-MO-002)"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("q_net", "q_net_target"),
        ("student.backbone", "teacher.backbone"),
        ("model.blocks", "ema_model.blocks"),
        ("actor.net", "actor_target.net"),
    ],
)
@pytest.mark.parametrize("layers", [2, 3, 5])
def test_copies_of_a_network_are_information(first: str, second: str, layers: int) -> None:
    report = rmtaudit.scan(networks(first, second, layers=layers), analyzers=["scale", "noise"])
    severities = {
        (f.code, f.severity) for row in report.layers for f in row.findings if f.code == "RA-MO-001"
    }
    assert severities == {("RA-MO-001", "info")}
    assert report.verdict == "structured"


@pytest.mark.skipif(not CASES.is_dir(), reason="the collected cases are not beside the checkout")
@pytest.mark.parametrize(
    ("file", "constants"),
    [
        ("sinusoid-pe-twice/pe.pt", {"encoder.pos_encoder.pe", "decoder.pos_encoder.pe"}),
        (
            "causal-mask-tril-heads/gpt.pt",
            {f"blocks.{b}.sa.heads.{h}.tril" for b in (0, 1) for h in range(3)},
        ),
        ("fixed-filterbank/audio.pt", {"mel_scale.fb"}),
        ("mamba-few-layers-A_log/mamba2.pt", set()),
        ("target-network-copies/dqn.pt", set()),
        ("ok-megatron-namespace/megatron.pt", set()),
    ],
)
def test_the_collected_cases(file: str, constants: set[str]) -> None:
    report = rmtaudit.scan(CASES / file, analyzers=["scale", "noise", "forensics"])
    assert report.verdict == "structured"
    assert {row.name for row in report.layers if row.verdict.startswith("constant")} == constants
    assert not [f for row in report.layers for f in row.findings if f.severity == "error"]
