"""An adapter with its base: the merged weights are those that its library computes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import rmtaudit
from rmtaudit.checkpoints.memory import StateDictCheckpoint
from rmtaudit.engine.scan.merged import MergedCheckpoint
from rmtaudit.errors import UsageError
from rmtaudit.matrices.plan import plan_layers
from rmtaudit.matrices.skips import SkipReason
from rmtaudit.matrices.tensors import Role, Use

OUT, IN, RANK = 24, 16, 3
GENERATOR = torch.Generator().manual_seed(5)
Tensors = dict[str, torch.Tensor]


def draw(*sides: int) -> torch.Tensor:
    return torch.randn(sides, generator=GENERATOR)


W, SQUARE, A, B = draw(OUT, IN), draw(OUT, OUT), draw(RANK, IN), draw(OUT, RANK)
PEFT = {"r": RANK, "lora_alpha": 12}
SCALE = 12 / RANK


def merged(
    adapter: Tensors,
    base: Tensors,
    adapter_config: Mapping[str, object] | None = None,
    config: Mapping[str, object] | None = None,
) -> MergedCheckpoint:
    first, second = StateDictCheckpoint(adapter), StateDictCheckpoint(base)
    first.adapter_config = PEFT if adapter_config is None else adapter_config
    second.config = config or {}
    return MergedCheckpoint(first, second, conv="flattened")


def lora(stem: str, a: torch.Tensor = A, b: torch.Tensor = B) -> Tensors:
    return {f"{stem}.lora_A.weight": a, f"{stem}.lora_B.weight": b}


def check(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found.double(), expected.double(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("stem", "weight"),
    [
        ("base_model.model.layers.0.q_proj", "layers.0.q_proj.weight"),
        ("base_model.model.layers.0.q_proj", "model.layers.0.q_proj.weight"),
        ("base_model.model.model.layers.0.q_proj", "layers.0.q_proj.weight"),
        ("layers.0.q_proj", "layers.0.q_proj.base_layer.weight"),
        ("blk.0.attn_q.weight", "blk.0.attn_q.weight"),
        ("layers/0/q", "layers.0.q.weight"),
    ],
)
def test_a_module_is_found_under_the_names_of_both(stem: str, weight: str) -> None:
    checkpoint = merged(lora(stem.replace("/", ".")), {weight: W, "other.weight": SQUARE})
    check(checkpoint.read(f"merged:{weight}"), W + SCALE * B @ A)
    (layer,) = (each for each in checkpoint.plan.layers if each.name.startswith("merged:"))
    assert "LoRA update of rank 3, scaled by alpha/r = 12/3" in layer.view
    (left,) = (each for each in checkpoint.plan.skipped if each.skip.reason is SkipReason.NO_UPDATE)
    assert left.spec.name == "base:other.weight"


def test_kohya_names_and_its_stored_alpha() -> None:
    stem = "lora_unet_down_blocks_0_to_q"
    adapter = {
        f"{stem}.lora_down.weight": A,
        f"{stem}.lora_up.weight": B,
        f"{stem}.alpha": torch.tensor(6.0),
    }
    checkpoint = merged(adapter, {"down_blocks.0.to_q.weight": W}, {})
    check(checkpoint.read("merged:down_blocks.0.to_q.weight"), W + 2 * B @ A)


@pytest.mark.parametrize(
    ("stem", "weight"),
    [
        ("lora_unet_mid_block_to_q", "unet.mid_block.to_q.weight"),
        ("lora_te2_text_model_q_proj", "text_encoder_2.text_model.q_proj.weight"),
        ("unet.mid_block.to_q", "mid_block.to_q.weight"),
        ("unet.mid_block.attn1.processor.to_k_lora", "unet.mid_block.attn1.to_k.weight"),
        ("mid_block.attn1.processor.to_out_lora", "mid_block.attn1.to_out.0.weight"),
    ],
)
def test_the_components_of_a_pipeline(stem: str, weight: str) -> None:
    adapter = {f"{stem}.down.weight": A, f"{stem}.up.weight": B}
    if not stem.endswith("_lora"):
        adapter = {f"{stem}.lora_down.weight": A, f"{stem}.lora_up.weight": B}
    others = {"text_encoder.text_model.q_proj.weight": W + 1, "unet.other.weight": W}
    found = merged(adapter, {weight: W, **others}, {}).read(f"merged:{weight}")
    check(found, W + B @ A)


def test_an_unstated_scale_is_no_reason_to_guess() -> None:
    with pytest.raises(UsageError, match="nothing states the scale"):
        merged(lora("m.q"), {"m.q.weight": W}, {})
    adapter = {"m.q.lora.down.weight": A, "m.q.lora.up.weight": B}  # diffusers applies these as they are
    check(merged(adapter, {"m.q.weight": W}, {}).read("merged:m.q.weight"), W + B @ A)


def test_two_weights_of_one_ending_are_not_told_apart() -> None:
    base = {"a.layers.0.q.weight": W, "b.layers.0.q.weight": W + 1}
    with pytest.raises(UsageError, match="2 weights of the base end in this name"):
        merged(lora("layers.0.q"), base)


def test_shapes_that_do_not_fit_are_refused_and_lower_the_coverage() -> None:
    with pytest.raises(UsageError, match="the update is 24 x 16, the weight of the base 24 x 24"):
        merged(lora("m.q"), {"m.q.weight": SQUARE})
    both = {**lora("m.q"), **lora("m.v")}
    checkpoint = merged(both, {"m.q.weight": W, "m.v.weight": SQUARE})
    (left,) = (each for each in checkpoint.plan.skipped if each.skip.reason is SkipReason.NOT_MERGED)
    assert (left.spec.name, left.spec.shape, left.weight) == ("merged:m.v", (OUT, IN), True)
    assert left.counted


def test_no_adapter_and_no_match_are_refused() -> None:
    with pytest.raises(UsageError, match="no low-rank update") as raised:
        merged({"m.q.weight": W}, {"m.q.weight": W})
    assert raised.value.code == "RA-US-202"
    with pytest.raises(UsageError, match="no weight of this name"):
        merged(lora("m.q"), {"other.weight": W})


def test_an_adapter_for_another_base_than_gguf_is_told_what_to_do() -> None:
    adapter = StateDictCheckpoint(lora("model.layers.0.self_attn.q_proj"))
    adapter.adapter_config = PEFT
    base = StateDictCheckpoint({"blk.0.attn_q.weight": W})
    base.format = "gguf"
    with pytest.raises(UsageError, match="no weight of this name") as raised:
        MergedCheckpoint(adapter, base, conv="flattened")
    assert "convert_lora_to_gguf.py" in raised.value.hint
    adapter.format = "gguf"
    with pytest.raises(UsageError) as raised:
        MergedCheckpoint(adapter, base, conv="flattened")
    assert "convert_lora_to_gguf.py" not in raised.value.hint


def test_weights_stored_inputs_first() -> None:
    base = {"h.0.attn.c_attn.weight": draw(IN, 3 * IN), "h.0.mlp.c_proj.weight": draw(IN, IN)}
    a, b = draw(RANK, IN), draw(3 * IN, RANK)
    square = draw(IN, RANK)
    adapter = {**lora("h.0.attn.c_attn", a, b), **lora("h.0.mlp.c_proj", a, square)}
    checkpoint = merged(adapter, base)
    check(
        checkpoint.read("merged:h.0.attn.c_attn.weight"),
        base["h.0.attn.c_attn.weight"] + SCALE * (b @ a).T,
    )
    check(
        checkpoint.read("merged:h.0.mlp.c_proj.weight"),
        base["h.0.mlp.c_proj.weight"] + SCALE * (square @ a).T,
    )
    parts = [each.name for each in checkpoint.plan.layers if each.name.startswith("merged:h.0.attn")]
    assert parts == [f"merged:h.0.attn.c_attn.weight#{part}" for part in "qkv"]


def test_a_base_that_fuses_what_the_adapter_does_not() -> None:
    """Query and value of NeoX lie interleaved by head: the updates go to their rows."""
    heads, width = 4, 4
    fused = draw(3 * heads * width, IN)
    config: dict[str, object] = {"model_type": "gpt_neox", "num_attention_heads": heads}
    a, b, c = draw(RANK, IN), draw(IN, RANK), draw(IN, RANK)
    adapter = {**lora("l.attention.query", a, b), **lora("l.attention.value", a, c)}
    base = {"l.attention.query_key_value.weight": fused}
    checkpoint = merged(adapter, base, config=config)
    expected = fused.clone().reshape(heads, 3, width, IN)
    expected[:, 0] += (SCALE * b @ a).reshape(heads, width, IN)
    expected[:, 2] += (SCALE * c @ a).reshape(heads, width, IN)
    check(checkpoint.read("merged:l.attention.query_key_value.weight"), expected.reshape(fused.shape))
    with pytest.raises(UsageError, match="does not state how"):
        merged(adapter, base)


def test_dora_as_peft_applies_it() -> None:
    magnitude = draw(OUT).abs()
    adapter = {**lora("m.q"), "m.q.lora_magnitude_vector": magnitude}
    total = W + SCALE * B @ A
    expected = magnitude[:, None] * total / total.norm(dim=1, keepdim=True)
    check(merged(adapter, {"m.q.weight": W}).read("merged:m.q.weight"), expected)


def test_dora_of_lycoris_by_inputs() -> None:
    magnitude = draw(1, IN).abs()
    adapter = {
        "m_q.lora_down.weight": A, "m_q.lora_up.weight": B, "m_q.dora_scale": magnitude,
        "m_q.alpha": torch.tensor(3.0),
    }  # fmt: skip
    total = W + B @ A
    expected = magnitude * total / total.norm(dim=0, keepdim=True)
    check(merged(adapter, {"m.q.weight": W}, {}).read("merged:m.q.weight"), expected)


def test_convolutions_and_a_tucker_core() -> None:
    weight = draw(8, 6, 3, 3)
    down, up = draw(RANK, 6, 3, 3), draw(8, RANK, 1, 1)
    adapter = {"c.lora_down.weight": down, "c.lora_up.weight": up, "c.alpha": torch.tensor(3.0)}
    delta = torch.einsum("or,rikl->oikl", up[:, :, 0, 0], down)
    check(merged(adapter, {"c.weight": weight}, {}).read("merged:c.weight"), weight + delta)
    core = draw(RANK, RANK, 3, 3)
    adapter = {
        "c.lora_down.weight": down[:, :, :1, :1].contiguous(), "c.lora_up.weight": up,
        "c.lora_mid.weight": core, "c.alpha": torch.tensor(3.0),
    }  # fmt: skip
    delta = torch.einsum("or,rskl,si->oikl", up[:, :, 0, 0], core, down[:, :, 0, 0])
    check(merged(adapter, {"c.weight": weight}, {}).read("merged:c.weight"), weight + delta)


def test_loha_and_lokr() -> None:
    parts = {"w1_a": draw(OUT, 2), "w1_b": draw(2, IN), "w2_a": draw(OUT, 2), "w2_b": draw(2, IN)}
    adapter = {f"m_q.hada_{name}": values for name, values in parts.items()}
    delta = (parts["w1_a"] @ parts["w1_b"]) * (parts["w2_a"] @ parts["w2_b"])
    check(merged(adapter, {"m.q.weight": W}, {}).read("merged:m.q.weight"), W + delta)
    one, two = draw(4, 2), draw(6, 8)
    adapter = {"m_q.lokr_w1": one, "m_q.lokr_w2": two}
    check(merged(adapter, {"m.q.weight": W}, {}).read("merged:m.q.weight"), W + torch.kron(one, two))


def test_an_embedding_of_peft() -> None:
    table = draw(40, IN)
    a, b = draw(RANK, 40), draw(IN, RANK)
    adapter = {"embed_tokens.lora_embedding_A": a, "embed_tokens.lora_embedding_B": b}
    found = merged(adapter, {"embed_tokens.weight": table}).read("merged:embed_tokens.weight")
    check(found, table + SCALE * (b @ a).T)


def test_a_stack_of_experts() -> None:
    stack, a, b = draw(4, OUT, IN), draw(4, RANK, IN), draw(4, OUT, RANK)
    adapter = {"m.experts.w.lora_a": a, "m.experts.w.lora_b": b}
    config = {"lora_parameters": {"scale": 2.0}}
    found = merged(adapter, {"m.experts.w.weight": stack}, config).read("merged:m.experts.w.weight")
    check(found, stack + 2 * b @ a)


def test_the_report_of_a_file(tmp_path: Path) -> None:
    """A half-precision base and a PEFT folder, through the files: the row is that of the merged matrix."""
    base, folder = tmp_path / "base.safetensors", tmp_path / "adapter"
    folder.mkdir()
    wide, a, b = draw(64, 48), draw(RANK, 48), draw(64, RANK)
    save_file({"model.q.weight": wide.half(), "model.k.weight": draw(64, 48).half()}, base)
    save_file(lora("base_model.model.model.q", a, b), folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(PEFT))
    alone = rmtaudit.scan(folder, analyzers=["scale"])
    report = rmtaudit.scan(folder, analyzers=["scale"], base=base)
    rows = {row.name: row for row in report.layers}
    assert list(rows) == ["base_model.model.model.q", "merged:model.q.weight"]
    row = rows["merged:model.q.weight"]
    expected = torch.linalg.matrix_norm((wide.half().double() + SCALE * (b @ a).double()), 2)
    assert row.number("log10_spectral_norm") == pytest.approx(math.log10(expected), abs=1e-6)
    assert report.coverage.parameters == 64 * 48 + RANK * (48 + 64)
    assert (report.coverage.fraction, report.coverage.tensors) == (1, 3)
    assert report.subject["digest"] == alone.subject["digest"]
    assert report.subject["base"]["merged"] == 1
    assert report.subject["base"]["without_update"] == 1
    (left,) = (each for each in report.coverage.skipped if each.skip is SkipReason.NO_UPDATE)
    assert left.name == "base:model.k.weight"


def test_an_adapter_of_mlx() -> None:
    a, b = draw(OUT, RANK), draw(RANK, OUT)  # inputs x rank, rank x outputs
    adapter = {"model.layers.0.q.lora_a": a, "model.layers.0.q.lora_b": b}
    config = {"lora_parameters": {"scale": 20.0}}
    found = merged(adapter, {"model.layers.0.q.weight": SQUARE}, config).read(
        "merged:model.layers.0.q.weight"
    )
    check(found, SQUARE + 20 * (a @ b).T)


@pytest.mark.parametrize(
    ("axes", "sides", "shape"),
    [
        ("IO", (IN, OUT), (OUT, IN)),
        ("OI", (OUT, IN), (OUT, IN)),
        ("HWIO", (3, 3, 4, OUT), (OUT, 4 * 9)),
        ("HWIM", (3, 3, 4, 2), (8, 9)),
        ("1HWO", (1, 3, 3, OUT), (OUT, 9)),
    ],
)
def test_a_base_that_states_the_order_of_its_sides(
    axes: str, sides: tuple[int, ...], shape: tuple[int, int]
) -> None:
    weight, a, b = draw(*sides), draw(2, shape[1]), draw(shape[0], 2)
    base = StateDictCheckpoint({"m.q.weight": weight})
    use = Use.DENSE if len(axes) == 2 else Use.CONVOLUTION
    base.tensors = (replace(base.tensors[0], role=Role(use=use, axes=axes)),)
    adapter = StateDictCheckpoint({"m.q.lora_A.weight": a, "m.q.lora_B.weight": b})
    adapter.adapter_config = {"r": 2, "lora_alpha": 4}
    checkpoint = MergedCheckpoint(adapter, base, conv="flattened")
    (layer,) = (each for each in checkpoint.plan.layers if each.tensor == "merged:m.q.weight")
    (original,) = plan_layers(base.tensors).layers
    (matrix,) = layer.build((checkpoint.read("merged:m.q.weight"),))
    check(matrix, original.build((weight,))[0] + 2 * b @ a)


@pytest.mark.parametrize("scheme", ["bnb_nf4", "gptq_v1", "awq_gemm", "mlx_affine_4bit_g64", "ct_nvfp4"])
def test_a_quantised_base_is_decoded_first(scheme: str, shared: Callable[..., Path], tmp_path: Path) -> None:
    folder = shared("golden", "quantised", scheme)
    with rmtaudit.open_checkpoint(folder) as checkpoint:
        (spec,) = (each for each in checkpoint.tensors if each.encoding is not None)
        weight = checkpoint.read(spec.name)
    a, b = draw(RANK, weight.shape[1]), draw(weight.shape[0], RANK)
    stem = spec.name.removesuffix(".weight")
    save_file(lora(f"base_model.model.{stem}", a, b), tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps(PEFT))
    with rmtaudit.open_checkpoint(tmp_path) as adapter, rmtaudit.open_checkpoint(folder) as base:
        found = MergedCheckpoint(adapter, base, conv="flattened").read(f"merged:{spec.name}")
    check(found, weight + SCALE * b @ a)
    assert spec.encoding is not None
    report = rmtaudit.scan(tmp_path, base=folder, analyzers=["scale"])
    row = next(row for row in report.layers if row.name.startswith("merged:"))
    assert row.encoding is not None
    assert row.encoding.scheme == spec.encoding.scheme
