"""GGUF: every type equals its golden values, and names become the right layers."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.checkpoints.gguf.types import TYPES
from rmtaudit.checkpoints.registry import own_readers
from rmtaudit.errors import InputError
from rmtaudit.matrices.layers import LayerKind
from rmtaudit.matrices.plan import plan_layers
from rmtaudit.plugins import ReaderContract

Shared = Callable[..., Path]
DATA = Path(__file__).parents[1] / "data" / "gguf"

GOLDEN = (
    "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ2_XXS",
    "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ1_S", "IQ1_M", "IQ4_NL", "IQ4_XS", "TQ1_0", "TQ2_0",
    "MXFP4", "NVFP4", "Q1_0", "BF16",
)  # fmt: skip
NUMBERS = {kind.name: number for number, kind in TYPES.items()}


def _load(name: str) -> Any:
    path = Path(__file__).parents[1] / "fuzz" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


files = _load("fuzz_gguf")
Tensor, build, fact = files.Tensor, files.build, files.fact


class TestContract(ReaderContract):
    reader = next(reader for reader in own_readers() if reader.name == "gguf")
    dtypes = ("float32", "float64", "float16", "bfloat16", "int8", "int16", "int32", "int64")

    def write(self, folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
        path = folder / "model.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        for name, tensor in tensors.items():
            if tensor.dtype == torch.bfloat16:
                raw = tensor.view(torch.uint8).numpy()
                writer.add_tensor(name, raw, raw_dtype=gguf.GGMLQuantizationType.BF16)
            else:
                writer.add_tensor(name, tensor.numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path


def read_one(path: Path, tensors: list[Any], facts: tuple[bytes, ...] = ()) -> torch.Tensor:
    path.write_bytes(build(tensors, facts))
    with open_checkpoint(path) as checkpoint:
        return checkpoint.read(tensors[0].name)


def golden(name: str, path: Path = DATA / "types.npz") -> tuple[np.ndarray, np.ndarray]:
    """Return the blocks of a tensor, and the values that ``gguf`` and ``libgguf`` both make of them.

    The file beside the tests is a cut of the one in the shared folder: two rows of 256 values.
    """
    with np.load(path) as arrays:
        return arrays[f"{name}.raw"], arrays[f"{name}.expected"]


@pytest.mark.parametrize("name", GOLDEN)
def test_every_type_equals_the_larger_example(shared: Shared, tmp_path: Path, name: str) -> None:
    raw, expected = golden(name, shared("golden", "quantised", "gguf", "gguf_types.npz"))
    tensor = Tensor("w.weight", expected.shape, NUMBERS[name], raw.tobytes())
    assert torch.equal(read_one(tmp_path / "m.gguf", [tensor]).float(), torch.from_numpy(expected))


@pytest.mark.parametrize("name", GOLDEN)
def test_every_type_equals_its_golden_values(tmp_path: Path, name: str) -> None:
    raw, expected = golden(name)
    tensor = Tensor("w.weight", expected.shape, NUMBERS[name], raw.tobytes())
    values = read_one(tmp_path / "m.gguf", [tensor])
    assert torch.equal(values.float(), torch.from_numpy(expected))
    with open_checkpoint(tmp_path / "m.gguf") as checkpoint:
        (spec,) = checkpoint.tensors
        assert torch.equal(checkpoint.read_band("w.weight", 1, 2).float(), torch.from_numpy(expected[1:2]))
        if name == "BF16":
            assert (spec.dtype, spec.encoding) == ("bfloat16", None)
            return
        assert spec.dtype == "float32"
        assert spec.encoding is not None
        assert spec.encoding.scheme == name
        assert spec.encoding.bits == pytest.approx(8 * raw.size / expected.size)
        assert spec.encoding.block == (1, TYPES[NUMBERS[name]].block)


@pytest.mark.parametrize("name", GOLDEN)
def test_the_golden_values_tell_another_order_of_bytes(tmp_path: Path, name: str) -> None:
    """The high half of each byte first: the values are others, so the test above would fail."""
    raw, expected = golden(name)
    swapped = (raw << 4) | (raw >> 4)
    tensor = Tensor("w.weight", expected.shape, NUMBERS[name], swapped.astype(np.uint8).tobytes())
    assert not np.array_equal(read_one(tmp_path / "m.gguf", [tensor]).float().numpy(), expected)


@pytest.mark.parametrize(
    ("name", "other"), [("Q4_0", "IQ4_NL"), ("IQ4_NL", "Q4_0"), ("Q3_K", "IQ3_S"), ("IQ2_XXS", "TQ2_0")]
)
def test_the_golden_values_tell_types_of_one_size_apart(tmp_path: Path, name: str, other: str) -> None:
    raw, expected = golden(name)
    tensor = Tensor("w.weight", expected.shape, NUMBERS[other], raw.tobytes())
    assert not np.array_equal(read_one(tmp_path / "m.gguf", [tensor]).numpy(), expected)


def test_a_set_bit_of_q1_0_is_plus(tmp_path: Path) -> None:
    block = np.float16(0.25).tobytes() + bytes([0b0000_0101]) + bytes(15)
    values = read_one(tmp_path / "m.gguf", [Tensor("w.weight", (1, 128), 41, block)])
    assert values[0, :4].tolist() == [0.25, -0.25, 0.25, -0.25]
    assert (values[0, 4:] == -0.25).all()


def test_sides_are_reversed(tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.float32)
    got = read_one(tmp_path / "m.gguf", [Tensor("w.weight", (3, 4), 0, values.tobytes())])
    assert got.tolist() == values.reshape(3, 4).tolist()
    reader = gguf.GGUFReader(tmp_path / "m.gguf")
    assert reader.tensors[0].shape.tolist() == [4, 3]  # what the file says
    assert np.array_equal(reader.tensors[0].data, got.numpy())


def test_a_scale_multiplies(tmp_path: Path) -> None:
    raw, expected = golden("NVFP4")
    weight = Tensor("blk.0.attn_q.weight", expected.shape, 40, raw.tobytes())
    scale = Tensor("blk.0.attn_q.scale", (1,), 0, np.float32(0.5).tobytes())
    values = read_one(tmp_path / "m.gguf", [weight, scale])
    assert torch.equal(values, 0.5 * torch.from_numpy(expected))
    assert not torch.equal(values, torch.from_numpy(expected) / 0.5)
    with open_checkpoint(tmp_path / "m.gguf") as checkpoint:
        plan = plan_layers(checkpoint.tensors)
        assert [layer.name for layer in plan.layers] == ["blk.0.attn_q.weight"]
        assert [row.reason for row in plan.skipped] == ["scale of a quantised weight"]
        encoding = checkpoint.tensors[0].encoding
        assert encoding is not None
        assert encoding.parts == ("blk.0.attn_q.weight", "blk.0.attn_q.scale")


def test_each_expert_has_its_scale(tmp_path: Path) -> None:
    values = np.ones((3, 2, 4), dtype=np.float32)
    weight = Tensor("blk.0.ffn_up_exps.weight", values.shape, 0, values.tobytes())
    scale = Tensor("blk.0.ffn_up_exps.scale", (3,), 0, np.array([1, 2, 3], dtype=np.float32).tobytes())
    assert read_one(tmp_path / "m.gguf", [weight, scale])[:, 0, 0].tolist() == [1, 2, 3]
    with open_checkpoint(tmp_path / "m.gguf") as checkpoint:
        assert checkpoint.read_band(weight.name, 1, 3)[:, 1, 2].tolist() == [2, 3]
    two = scale._replace(shape=(2,), data=scale.data[:8])
    (tmp_path / "m.gguf").write_bytes(build([weight, two]))
    with open_checkpoint(tmp_path / "m.gguf") as checkpoint:
        assert checkpoint.tensors[0].unreadable == "quantised (F32, with 2 scales of an unknown order)"


def zeros(name: str, *shape: int) -> Any:
    return Tensor(name, shape, 0, bytes(4 * int(np.prod(shape))))


FACTS = (
    fact("general.architecture", 8, "phi3"),
    fact("phi3.attention.head_count", 4, 4),
    fact("phi3.attention.head_count_kv", 4, 2),
    fact("phi3.embedding_length", 4, 32),
)


def test_names_become_layers(tmp_path: Path) -> None:
    tensors = [
        zeros("token_embd.weight", 50, 32),
        zeros("rope_freqs.weight", 16),
        zeros("rope_factors_long.weight", 2, 8),
        zeros("output_norm.weight", 32),
        zeros("output.weight", 50, 32),
        zeros("blk.0.attn_qkv.weight", 64, 32),
        zeros("blk.0.ffn_gate_inp.weight", 3, 32),
        zeros("blk.0.ffn_gate_exps.weight", 3, 48, 32),
        zeros("blk.0.ffn_gate_exps.bias", 3, 48),
        zeros("blk.0.ffn_up_shexp.weight", 48, 32),
        zeros("blk.0.ssm_conv1d.weight", 64, 4),
        zeros("v.patch_embd.weight", 16, 3, 4, 4),
    ]
    (tmp_path / "m.gguf").write_bytes(build(tensors, FACTS))
    with open_checkpoint(tmp_path / "m.gguf") as checkpoint:
        plan = plan_layers(checkpoint.tensors)
    layers = {layer.name: (layer.kind, layer.shape) for layer in plan.layers}
    assert layers == {
        "token_embd.weight": (LayerKind.EMBEDDING, (50, 32)),
        "output.weight": (LayerKind.DENSE, (50, 32)),
        "blk.0.attn_qkv.weight#q": (LayerKind.ATTENTION, (32, 32)),
        "blk.0.attn_qkv.weight#k": (LayerKind.ATTENTION, (16, 32)),
        "blk.0.attn_qkv.weight#v": (LayerKind.ATTENTION, (16, 32)),
        "blk.0.ffn_gate_inp.weight": (LayerKind.DENSE, (3, 32)),
        **{f"blk.0.ffn_gate_exps.weight#{i}": (LayerKind.EXPERTS, (48, 32)) for i in range(3)},
        "blk.0.ffn_up_shexp.weight": (LayerKind.DENSE, (48, 32)),
        "blk.0.ssm_conv1d.weight": (LayerKind.CONV1D, (64, 4)),
        "v.patch_embd.weight": (LayerKind.CONV2D, (16, 48)),
    }
    assert {row.spec.name: row.reason for row in plan.skipped} == {
        "rope_freqs.weight": "frequencies of the rotary embedding",
        "rope_factors_long.weight": "frequencies of the rotary embedding",
        "output_norm.weight": "vector (bias, norm, statistic)",
        "blk.0.ffn_gate_exps.bias": "biases of stacked layers",
    }
    assert not any(row.weight for row in plan.skipped)


def test_a_fused_projection_is_whole_where_the_facts_do_not_fit(tmp_path: Path) -> None:
    for facts in ((), (*FACTS[:2], *FACTS[3:]), (*FACTS, fact("split.count", 2, 3))):
        (tmp_path / "m.gguf").write_bytes(build([zeros("blk.0.attn_qkv.weight", 64, 32)], facts))
        with open_checkpoint(tmp_path / "m.gguf") as checkpoint:
            (layer,) = plan_layers(checkpoint.tensors).layers
        assert layer.shape == (64, 32)


def test_statistics_of_activations_are_no_weights(tmp_path: Path) -> None:
    tensors = [
        zeros("blk.0.ffn_down_exps.weight.in_sum2", 4, 32),
        zeros("blk.0.ffn_down_exps.weight.counts", 4, 1),
    ]
    (tmp_path / "m.gguf").write_bytes(build(tensors, [fact("general.type", 8, "imatrix")]))
    with open_checkpoint(tmp_path / "m.gguf") as checkpoint:
        plan = plan_layers(checkpoint.tensors)
    assert plan.layers == ()
    assert {row.reason for row in plan.skipped} == {"statistic of activations (importance matrix)"}


def test_types_that_nothing_decodes_are_named(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(build([Tensor("w.weight", (2, 32), 9, bytes(80))]))
    with open_checkpoint(tmp_path / "m.gguf") as checkpoint:
        assert checkpoint.tensors[0].unreadable == "quantised (Q8_1, a type of intermediate results)"


def test_the_package_is_asked_for_where_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    path = tmp_path / "m.gguf"
    path.write_bytes(build([Tensor("w.weight", (2, 32), 8, bytes(68))]))
    with pytest.raises(InputError) as caught:
        open_checkpoint(path)
    assert (caught.value.code, caught.value.hint) == ("RA-IN-099", "pip install 'rmtaudit[gguf]'")
    block = np.float16(1).tobytes() + bytes([255] * 16)
    plain = np.ones((2, 2), dtype=np.float32).tobytes()
    path.write_bytes(build([Tensor("w.weight", (1, 128), 41, block), Tensor("v.weight", (2, 2), 0, plain)]))
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.read("w.weight").sum() == 128
        assert checkpoint.read("v.weight").sum() == 4


def test_parts_of_a_model_are_one_checkpoint(tmp_path: Path) -> None:
    facts = [[fact("split.no", 2, number), fact("split.count", 2, 3)] for number in range(3)]
    contents = [[], [zeros("token_embd.weight", 8, 4)], [zeros("output.weight", 8, 4)]]
    for number, (some, tensors) in enumerate(zip(facts, contents, strict=True)):
        (tmp_path / f"m-{number + 1:05}-of-00003.gguf").write_bytes(build(tensors, some))
    with open_checkpoint(tmp_path) as checkpoint:
        assert [spec.name for spec in checkpoint.tensors] == ["token_embd.weight", "output.weight"]
        assert checkpoint.read("output.weight").shape == (8, 4)
    (tmp_path / "m-00001-of-00003.gguf").unlink()
    with pytest.raises(InputError, match="1 of 3 shards are missing"):
        open_checkpoint(tmp_path)


def test_one_part_of_a_model_opens_all_of_it(tmp_path: Path) -> None:
    contents = [zeros("token_embd.weight", 8, 4), zeros("output.weight", 8, 4)]
    paths = [tmp_path / f"m-{number:05}-of-00002.gguf" for number in (1, 2)]
    for path, tensor in zip(paths, contents, strict=True):
        path.write_bytes(build([tensor]))
    for path in paths:
        with open_checkpoint(path) as checkpoint:
            assert [spec.name for spec in checkpoint.tensors] == ["token_embd.weight", "output.weight"]
            assert checkpoint.path == path
            assert checkpoint.warnings == ("all 2 parts of the model were opened",)
    paths[0].unlink()
    with pytest.raises(
        InputError, match="one of 2 parts of a model, and 1 of the others are missing"
    ) as caught:
        open_checkpoint(paths[1])
    assert caught.value.code == "RA-IN-194"


def test_a_scale_in_another_part_is_not_guessed(tmp_path: Path) -> None:
    weight = Tensor("blk.0.attn_q.weight", (1, 64), 40, bytes(36))
    (tmp_path / "m.gguf").write_bytes(build([weight], [fact("split.count", 2, 2)]))
    with open_checkpoint(tmp_path / "m.gguf") as checkpoint:
        assert "another part" in str(checkpoint.tensors[0].unreadable)


def test_safetensors_come_before_gguf_in_a_folder(tmp_path: Path) -> None:
    save_file({"w.weight": torch.ones(4, 4)}, tmp_path / "model.safetensors")
    (tmp_path / "model-Q8_0.gguf").write_bytes(build([zeros("w.weight", 4, 4)]))
    with open_checkpoint(tmp_path) as checkpoint:
        assert checkpoint.format == "safetensors"
        assert "model-Q8_0.gguf" in checkpoint.warnings[0]


def test_equal_weights_make_equal_layers_in_safetensors_and_gguf(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(7)
    shapes = {"embed.weight": (40, 16), "fc.weight": (24, 16), "fc.bias": (24,), "conv.weight": (8, 4, 3, 3)}
    state = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    save_file(state, tmp_path / "m.safetensors")
    path = tmp_path / "m.gguf"
    path.write_bytes(build([Tensor(n, tuple(t.shape), 0, t.numpy().tobytes()) for n, t in state.items()]))
    with open_checkpoint(tmp_path / "m.safetensors") as one, open_checkpoint(path) as other:
        plans = [plan_layers(each.tensors) for each in (one, other)]
        facts = [
            {layer.name: (layer.kind, layer.view, layer.shape, layer.dtype) for layer in plan.layers}
            for plan in plans
        ]
        assert facts[0] == facts[1]
        assert all(torch.equal(one.read(name), other.read(name)) for name in state)
