"""Layers that were once quantised: named in a float file, no finding in a file that declares it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import rmtaudit
from rmtaudit.analyzers.base import LayerInput
from rmtaudit.analyzers.contract import layer_input
from rmtaudit.analyzers.forensics import Forensics
from rmtaudit.matrices.tensors import Encoding

QUANTISED = {"RA-FO-002", "RA-FO-003", "RA-FO-004", "RA-FO-021", "RA-FO-022", "RA-FO-023"}
"""Findings that only restate that a layer was quantised."""

State = dict[str, torch.Tensor]


def trained(rows: int = 192, cols: int = 256) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    scales = (0.3 * torch.randn(rows, 1, generator=generator)).exp()
    directions = torch.randn(rows, 5, generator=generator) @ torch.randn(5, cols, generator=generator)
    return 0.02 * scales * torch.randn(rows, cols, generator=generator) + 0.02 * directions


def signed(W: torch.Tensor, bits: int, group: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return two's complement codes by group along the rows, and their scales."""
    blocks = W.reshape(len(W), -1, group)
    half = 2 ** (bits - 1)
    scale = blocks.abs().amax(2) / (half - 1)
    return (blocks / scale[:, :, None]).round().reshape(W.shape), scale


def int8() -> State:
    codes, scale = signed(trained(), 8, 256)
    return {"weight": codes.to(torch.int8), "weight_scale": scale}


def nvfp4() -> State:
    blocks = trained().reshape(-1, 16)
    overall = 6 * 448 / blocks.abs().max()
    scale = (blocks.abs().amax(1, keepdim=True) / 6 * overall).to(torch.float8_e4m3fn)
    levels = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    ratio = blocks / (scale.float() / overall)
    codes = (ratio.abs()[:, :, None] - levels).abs().argmin(2) + 8 * (ratio < 0)
    codes = codes.reshape(192, 256).to(torch.uint8)
    return {
        "weight_packed": codes[:, ::2] | codes[:, 1::2] << 4,
        "weight_scale": scale.reshape(192, 16),
        "weight_global_scale": overall.reshape(1),
    }


def gptq() -> State:
    codes, scale = signed(trained(), 4, 64)
    places = torch.arange(8)
    words = ((codes.T.long() + 8).reshape(32, 8, 192) << 4 * places[:, None]).sum(1)
    zeros = (torch.full((4, 24, 8), 7) << 4 * places).sum(2)
    return {
        "qweight": words.to(torch.uint32).view(torch.int32),
        "qzeros": zeros.to(torch.uint32).view(torch.int32),
        "scales": scale.T.contiguous(),
        "g_idx": torch.arange(256, dtype=torch.int32) // 64,
    }


@pytest.mark.parametrize("state", [int8, nvfp4, gptq])
def test_a_declared_quantisation_is_no_finding(state: object) -> None:
    assert callable(state)
    report = rmtaudit.scan(
        {f"layer.{name}": tensor for name, tensor in state().items()}, analyzers=["forensics"]
    )
    (layer,) = report.layers
    assert layer.encoding is not None
    assert not {finding.code for finding in report.findings} & QUANTISED


@pytest.mark.parametrize(
    ("bits", "group", "scheme"),
    [(8, 256, "int8 symmetric"), (4, 64, "int4 symmetric"), (4, 32, "int4 symmetric")],
)
def test_the_same_numbers_in_a_float_file_are_named(bits: int, group: int, scheme: str) -> None:
    codes, scale = signed(trained(), bits, group)
    W = codes * scale.repeat_interleave(group, 1)
    (finding,) = Forensics().analyze(layer_input(W)).observations
    assert finding.code == "RA-FO-002"
    assert finding.evidence["scheme"] == scheme
    assert finding.evidence["group"] == (group if group < 256 else None)
    block = "one scale for each row" if group == 256 else f"blocks of {group} along rows"
    assert finding.message.startswith(f"The weights were quantised before: {scheme}, {block} ({bits} bits")


def declared(W: torch.Tensor, bits: float) -> LayerInput:
    given = layer_input(W)
    encoding = Encoding(scheme="a scheme", dtype="int4", block=None, bits=bits)
    return replace(given, layer=replace(given.layer, encoding=encoding))


def codes_of(given: LayerInput) -> set[str]:
    return {each.code for each in Forensics().analyze(given).observations}


def test_the_largest_code_is_no_clipping_where_it_is_declared() -> None:
    W = trained()
    W = W.clamp(-0.05, 0.05)
    assert "RA-FO-022" in codes_of(layer_input(W))
    assert "RA-FO-022" not in codes_of(declared(W, 4.5))


@pytest.mark.parametrize(("bits", "pruned"), [(4.5, False), (8.1, True)])
def test_zeros_are_a_level_of_few_bits(bits: float, pruned: bool) -> None:
    W = trained()
    W[W.abs() < W.abs().quantile(0.4)] = 0
    assert "RA-FO-004" in codes_of(layer_input(W))
    assert ("RA-FO-004" in codes_of(declared(W, bits))) == pruned


@pytest.mark.parametrize("per_row", [False, True])
def test_rounding_heavy_tailed_weights_to_8_bits_is_no_pruning(per_row: bool) -> None:
    """A few large weights set the step, so that a third and more of the others are rounded to zero."""
    generator = torch.Generator().manual_seed(2)
    W = trained() * (1.2 * torch.randn(192, 256, generator=generator)).exp()
    step = (W.abs().amax(1, keepdim=True) if per_row else W.abs().max()) / 127 * (3 if per_row else 1)
    rounded = (W / step).round() * step
    assert (rounded == 0).double().mean() > 0.3
    assert "RA-FO-004" not in codes_of(declared(rounded, 8.1))
    pruned = torch.where(torch.rand(W.shape, generator=generator) < 0.95, 0, rounded)
    assert "RA-FO-004" in codes_of(declared(pruned, 8.1))


def test_dead_rows_of_a_declared_layer_are_a_finding_still() -> None:
    W = trained()
    W[7] = 0
    assert "RA-FO-005" in codes_of(declared(W, 4.5))
