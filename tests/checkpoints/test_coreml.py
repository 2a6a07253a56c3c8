"""Core ML programs: packages and compiled ones, roles from operators, compressed weights."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.matrices.plan import plan_layers
from rmtaudit.matrices.tensors import Use

Shared = Callable[..., Path]
RNG = np.random.default_rng(20261130)


def _load(name: str) -> Any:
    path = Path(__file__).parents[1] / "fuzz" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fuzz = _load("fuzz_coreml")


def package(folder: Path, blob: Any, *operations: bytes) -> Path:
    result: Path = fuzz.write(fuzz.case(fuzz.program(*operations), bytes(blob.data)), folder)
    return result


def matrices(path: Path) -> dict[str, np.ndarray]:
    with open_checkpoint(path) as checkpoint:
        layers = plan_layers(checkpoint.tensors).layers
        return {each.name: each.build((stored(checkpoint, each),))[0].numpy() for each in layers}


def stored(checkpoint: Any, layer: Any) -> Any:
    """Return what a layer is built of: its tensor, or the band of it that it takes."""
    return checkpoint.read_band(layer.tensor, *layer.band) if layer.band else checkpoint.read(layer.tensor)


@pytest.mark.parametrize(
    ("scheme", "encoding"),
    [
        ("f32", None),
        ("int4_block32", ("Core ML linear int4", (1, 32), 5.0)),
        ("palettized_4bit", ("Core ML palette uint4", None, 4.03125)),
    ],
)
def test_examples_of_coremltools_are_decoded_exactly(shared: Shared, scheme: str, encoding: Any) -> None:
    folder = shared("golden", "quantised", f"coreml_{scheme}")
    expected = np.load(folder / "expected.npz")["weight"]
    with open_checkpoint(folder / "model.mlpackage") as checkpoint:
        spec: Any = next(spec for spec in checkpoint.tensors if spec.shape == expected.shape)
        found = spec.encoding
        assert (None if found is None else (found.scheme, found.block, found.bits)) == encoding
        assert spec.role.axes == "OI"
        np.testing.assert_array_equal(checkpoint.read(spec.name).numpy(), expected)


CASES: dict[str, tuple[str, str, tuple[int, ...], dict[str, Any], Callable[[np.ndarray], np.ndarray]]] = {
    "linear": ("linear", "weight", (4, 6), {}, lambda w: w),
    "conv": ("conv", "weight", (4, 3, 2, 2), {}, lambda w: w.reshape(4, -1)),
    "conv_transpose": (
        "conv_transpose", "weight", (3, 4, 2), {}, lambda w: w.transpose(1, 0, 2).reshape(4, -1),
    ),
    "matmul, second": ("matmul", "y", (6, 4), {}, lambda w: w.T),
    "matmul, second, transposed": ("matmul", "y", (4, 6), {"transpose_y": fuzz.flag(True)}, lambda w: w),
    "matmul, first": ("matmul", "x", (4, 6), {"transpose_x": fuzz.flag(False)}, lambda w: w),
    "matmul, first, transposed": ("matmul", "x", (6, 4), {"transpose_x": fuzz.flag(True)}, lambda w: w.T),
    "gather": ("gather", "x", (9, 4), {}, lambda w: w),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_operator_says_what_a_constant_is(tmp_path: Path, case: str) -> None:
    kind, place, shape, others, matrix = CASES[case]
    values, blob = RNG.standard_normal(shape).astype(np.float32), fuzz.Blob()
    at = blob.add("fp32", values.tobytes())
    result = matrices(
        package(
            tmp_path,
            blob,
            fuzz.operation("const", "w", shape, given="fp32", val=fuzz.stored("fp32", shape, at)),
            fuzz.operation(kind, "y", (1, 4), **{place: "w"}, **others),
        )
    )
    assert list(result) == ["w"]
    np.testing.assert_array_equal(result["w"], matrix(values))


def test_gates_of_an_lstm(tmp_path: Path) -> None:
    values, blob = RNG.standard_normal((20, 3)).astype(np.float32), fuzz.Blob()
    weight = fuzz.stored("fp32", (20, 3), blob.add("fp32", values.tobytes()))
    path = package(tmp_path, blob, fuzz.operation("lstm", "y", (1, 5), weight_ih=weight))
    result = matrices(path)
    assert list(result) == [f"y/weight_ih#{gate}" for gate in "ifoz"]
    np.testing.assert_array_equal(result["y/weight_ih#o"], values[10:15])


def bits(codes: np.ndarray, width: int) -> bytes:
    """Pack numbers as coremltools does: a stream of bits, low ones first."""
    stream = (codes.reshape(-1, 1) >> np.arange(width)) & 1
    return np.packbits(stream.astype(np.uint8).ravel(), bitorder="little").tobytes()


def test_blocks_are_shifted_and_scaled(tmp_path: Path) -> None:
    codes = RNG.integers(0, 16, (4, 8))
    scale = RNG.random((4, 2)).astype(np.float16)
    offset = RNG.integers(0, 16, (4, 2))
    blob = fuzz.Blob()
    inputs = {
        "data": fuzz.stored("uint4", (4, 8), blob.add("uint4", bits(codes, 4))),
        "scale": fuzz.stored("fp16", (4, 2), blob.add("fp16", scale.tobytes())),
        "offset": fuzz.stored("uint4", (4, 2), blob.add("uint4", bits(offset, 4))),
    }
    made = fuzz.operation("constexpr_blockwise_shift_scale", "w", (4, 8), **inputs)
    (result,) = matrices(
        package(tmp_path, blob, made, fuzz.operation("linear", "y", (1,), weight="w"))
    ).values()
    wide = np.repeat(scale.astype(np.float32), 4, 1), np.repeat(offset, 4, 1)
    np.testing.assert_array_equal(result, (codes - wide[1]) * wide[0])
    assert not np.allclose(result, codes * wide[0] - wide[1]), "the other order"


def test_tables_by_block_and_for_all(tmp_path: Path) -> None:
    codes, table = RNG.integers(0, 16, (4, 8)), RNG.standard_normal((2, 1, 16, 1)).astype(np.float32)
    blob = fuzz.Blob()
    indices = fuzz.stored("uint4", (4, 8), blob.add("uint4", bits(codes, 4)))
    lut = fuzz.stored("fp32", (2, 1, 16, 1), blob.add("fp32", table.tobytes()))
    made = fuzz.operation("constexpr_lut_to_dense", "w", (4, 8), given="fp32", indices=indices, lut=lut)
    few, small = RNG.integers(0, 8, (3, 5)), RNG.standard_normal(8).astype(np.float32)
    packed = bits(few, 3)
    shape = fuzz.field(2, fuzz.tensor_type("int32", (2,))) + fuzz.field(
        3, fuzz.field(1, fuzz.field(2, fuzz.field(1, bytes([3, 5]))))
    )
    older = fuzz.operation(
        "constexpr_lut_to_dense",
        "v",
        (3, 5),
        given="fp32",
        indices=fuzz.stored("uint8", (len(packed),), blob.add("uint8", packed)),
        lut=fuzz.stored("fp32", (8,), blob.add("fp32", small.tobytes())),
        shape=shape,
    )
    uses = [fuzz.operation("linear", f"y{name}", (1,), weight=name) for name in "wv"]
    result = matrices(package(tmp_path, blob, made, older, *uses))
    rows = np.repeat([0, 1], 2)[:, None]
    np.testing.assert_array_equal(result["w"], table[rows, 0, codes, 0])
    assert not np.array_equal(result["w"], table[1 - rows, 0, codes, 0]), "the tables of the other rows"
    np.testing.assert_array_equal(result["v"], small[few])


def test_affine_values_along_an_axis(tmp_path: Path) -> None:
    codes = RNG.integers(-128, 128, (4, 6)).astype(np.int8)
    zero, scale = RNG.integers(-9, 9, 4).astype(np.int8), RNG.random(4).astype(np.float16)
    blob = fuzz.Blob()
    inputs = {
        "quantized_data": fuzz.stored("int8", (4, 6), blob.add("int8", codes.tobytes())),
        "zero_point": fuzz.stored("int8", (4,), blob.add("int8", zero.tobytes())),
        "scale": fuzz.stored("fp16", (4,), blob.add("fp16", scale.tobytes())),
    }
    made = fuzz.operation("constexpr_affine_dequantize", "w", (4, 6), **inputs)
    (result,) = matrices(
        package(tmp_path, blob, made, fuzz.operation("linear", "y", (1,), weight="w"))
    ).values()
    right = (codes.astype(np.float32) - zero[:, None]) * scale.astype(np.float32)[:, None]
    np.testing.assert_array_equal(result, right)


def test_codes_that_are_a_constant_are_counted_once(tmp_path: Path) -> None:
    blob = fuzz.Blob()
    codes = fuzz.stored("int8", (4, 6), blob.add("int8", bytes(24)))
    scale = fuzz.stored("fp16", (4, 1), blob.add("fp16", np.ones((4, 1), np.float16).tobytes()))
    path = package(
        tmp_path,
        blob,
        fuzz.operation("const", "codes", (4, 6), given="int8", val=codes),
        fuzz.operation("const", "scale", (4, 1), val=scale),
        fuzz.operation("constexpr_blockwise_shift_scale", "w", (4, 6), data="codes", scale="scale"),
        fuzz.operation("constexpr_sparse_to_dense", "s", (4, 6), nonzero_data="codes"),
        fuzz.operation("linear", "y", (1,), weight="w"),
    )
    with open_checkpoint(path) as checkpoint:
        specs: dict[str, Any] = {spec.name: spec for spec in checkpoint.tensors}
        assert set(specs) == {"w", "scale", "s"}
        assert specs["w"].encoding.parts == ("codes", "scale")
        assert (specs["scale"].role.use, specs["scale"].role.counted) == (Use.NONE, False)
        assert specs["s"].unreadable == "quantised (unknown: constexpr_sparse_to_dense)"


def test_a_compiled_program_is_read_as_the_package(tmp_path: Path) -> None:
    paths = [fuzz.write(case, tmp_path) for case in fuzz.seeds()]
    assert [path.suffix for path in paths] == [".mlpackage", ".mlmodelc"]
    with open_checkpoint(paths[0]) as one, open_checkpoint(paths[1]) as other:
        specs: dict[str, Any] = {spec.name: spec for spec in one.tensors}
        assert {spec.name for spec in other.tensors} == {"w", "b", "q", "few"}
        for spec in other.tensors:
            if spec.name == "few":
                np.testing.assert_array_equal(other.read("few").numpy(), [0.5, 1.5, 2.0])
                continue
            assert (spec.shape, spec.role, spec.encoding) == (
                specs[spec.name].shape,
                specs[spec.name].role,
                specs[spec.name].encoding,
            )
            np.testing.assert_array_equal(other.read(spec.name).numpy(), one.read(spec.name).numpy())
