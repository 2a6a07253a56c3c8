"""OpenVINO models: roles from consumers, decompression, the two files of a folder."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.checkpoints.openvino.reader import OpenVINOReader
from rmtaudit.checkpoints.registry import contents_of
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


fuzz = _load("fuzz_openvino")


def write(folder: Path, build: Any, name: str = "m") -> Path:
    (folder / f"{name}.xml").write_bytes(build.xml())
    (folder / f"{name}.bin").write_bytes(build.values)
    return folder / f"{name}.xml"


def matrices(path: Path) -> dict[str, np.ndarray]:
    with open_checkpoint(path) as checkpoint:
        layers = plan_layers(checkpoint.tensors).layers
        return {each.name: each.build((stored(checkpoint, each),))[0].numpy() for each in layers}


def stored(checkpoint: Any, layer: Any) -> Any:
    """Return what a layer is built of: its tensor, or the band of it that it takes."""
    return checkpoint.read_band(layer.tensor, *layer.band) if layer.band else checkpoint.read(layer.tensor)


def weight(shape: tuple[int, ...]) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


CASES: dict[str, tuple[str, int, dict[str, str], tuple[int, ...], Callable[[np.ndarray], np.ndarray]]] = {
    "dense in x out": ("MatMul", 1, {}, (6, 4), lambda w: w.T),
    "dense out x in": ("MatMul", 1, {"transpose_b": "true"}, (4, 6), lambda w: w),
    "dense from the left": ("MatMul", 0, {}, (4, 6), lambda w: w),
    "dense from the left, transposed": ("MatMul", 0, {"transpose_a": "true"}, (6, 4), lambda w: w.T),
    "dense with a side of 1": ("MatMul", 1, {}, (1, 6, 4), lambda w: w[0].T),
    "convolution": ("Convolution", 1, {}, (4, 3, 2, 2), lambda w: w.reshape(4, -1)),
    "transposed convolution": (
        "ConvolutionBackpropData", 1, {}, (3, 4, 2, 2), lambda w: w.transpose(1, 0, 2, 3).reshape(4, -1),
    ),
    "grouped convolution": ("GroupConvolution", 1, {}, (2, 3, 2, 2, 2), lambda w: w.reshape(6, -1)),
    "grouped transposed convolution": (
        "GroupConvolutionBackpropData", 1, {}, (2, 2, 3, 2, 2),
        lambda w: w.reshape(4, 3, 2, 2).transpose(1, 0, 2, 3).reshape(3, -1),
    ),
    "table": ("Gather", 0, {}, (9, 4), lambda w: w),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_consumer_says_what_a_constant_is(tmp_path: Path, case: str) -> None:
    kind, place, data, shape, matrix = CASES[case]
    build, values = fuzz.Model(), weight(shape)
    source = build.operator("Parameter", [])
    inputs = [source, source]
    inputs[place] = build.constant("w", values)
    build.operator(kind, inputs, data)
    result = matrices(write(tmp_path, build))
    assert list(result) == ["w"]
    np.testing.assert_array_equal(result["w"], matrix(values))


@pytest.mark.parametrize(
    ("kind", "place", "gates", "directions"),
    [
        ("LSTMSequence", 4, "fico", 1),
        ("LSTMSequence", 4, "fico", 2),
        ("LSTMCell", 3, "fico", 1),
        ("GRUSequence", 3, "zrh", 2),
        ("GRUCell", 2, "zrh", 1),
    ],
)
def test_gates_are_parts(tmp_path: Path, kind: str, place: int, gates: str, directions: int) -> None:
    build = fuzz.Model()
    source = build.operator("Parameter", [])
    sides = (directions,) if kind.endswith("Sequence") else ()
    values = [weight((*sides, 5 * len(gates), width)) for width in (3, 5)]
    constants = [build.constant(name, value) for name, value in zip(("w", "r"), values, strict=True)]
    build.operator(
        kind, [*[source] * place, *constants, build.constant("b", weight((*sides, 5 * len(gates))))]
    )
    result = matrices(write(tmp_path, build))
    assert len(result) == 2 * directions * len(gates)
    first = f"w#{'forward-' if directions == 2 else ''}{gates[0]}"
    np.testing.assert_array_equal(result[first], values[0].reshape(-1, 3)[:5])


def test_the_example_of_openvino_is_decoded_exactly(shared: Shared) -> None:
    folder = shared("golden", "quantised", "openvino_int8_u4")
    expected = np.load(folder / "expected.npz")
    with open_checkpoint(folder) as checkpoint:
        encoded: dict[str, Any] = {
            spec.name: spec for spec in checkpoint.tensors if spec.encoding is not None
        }
        facts = {name: (spec.encoding.scheme, spec.encoding.block) for name, spec in encoded.items()}
        assert facts == {"Constant_11": ("OpenVINO u4", (1, 64)), "Constant_3": ("OpenVINO i8", (1, 256))}
        np.testing.assert_array_equal(checkpoint.read("Constant_11").numpy(), expected["u4"])
        np.testing.assert_array_equal(checkpoint.read("Constant_3").numpy(), expected["int8"])
        others: list[Any] = [spec for spec in checkpoint.tensors if spec.encoding is None]
        assert all(spec.role.use is Use.NONE and not spec.role.counted for spec in others)


@pytest.mark.parametrize("kind", ["i4", "u4"])
def test_codes_are_shifted_before_they_are_scaled(tmp_path: Path, kind: str) -> None:
    codes = RNG.integers(0, 16, (4, 8), dtype=np.uint8)
    zero, scale = RNG.integers(0, 255, 4, dtype=np.uint8), RNG.random((4, 1)).astype(np.float16)
    build = fuzz.Model()
    packed = (codes[:, ::2] | codes[:, 1::2] << 4).astype(np.uint8)
    source = build.operator("Parameter", [])
    first = build.operator("Convert", [build.constant("w", packed, kind, (4, 8))])
    shift = build.operator("Convert", [build.constant("z", zero.reshape(4, 1))])
    scaled = build.operator(
        "Multiply", [build.operator("Subtract", [first, shift]), build.constant("s", scale)]
    )
    build.operator("MatMul", [source, scaled], {"transpose_b": "true"})
    signed = np.where(codes > 7, codes.astype(int) - 16, codes) if kind == "i4" else codes.astype(int)
    right = (signed - zero.reshape(4, 1).astype(np.float32)) * scale.astype(np.float32)
    (result,) = matrices(write(tmp_path, build)).values()
    np.testing.assert_array_equal(result, right)
    assert not np.allclose(result, signed * scale.astype(np.float32) - zero.reshape(4, 1)), "the other order"
    swapped = (codes[:, ::2] << 4 | codes[:, 1::2]).astype(np.uint8)
    assert not np.array_equal(packed, swapped), "the other half first"


def test_codes_without_a_scale_are_refused(tmp_path: Path) -> None:
    build = fuzz.Model()
    source = build.operator("Parameter", [])
    codes = RNG.integers(0, 255, 16, dtype=np.uint8)
    build.operator("MatMul", [source, build.constant("plain", codes, "u4", (4, 8))])
    nf4 = build.operator("Convert", [build.constant("nf4", codes, "nf4", (4, 8))])
    build.operator("MatMul", [source, build.operator("Multiply", [nf4, build.constant("s", weight((4, 1)))])])
    build.operator(
        "MatMul",
        [source, build.operator("Convert", [build.constant("i8", codes.view(np.int8).reshape(4, 4))])],
    )
    build.constant("alone", codes.reshape(4, 4))
    with open_checkpoint(write(tmp_path, build)) as checkpoint:
        reasons = {spec.name: spec.unreadable for spec in checkpoint.tensors if spec.unreadable}
    assert reasons == {
        "plain": "quantised (unknown: u4)",
        "nf4": "quantised (unknown: nf4)",
        "i8": "quantised (unknown: i8)",
        "alone": "quantised (unknown: u8)",
    }


def test_transposed_and_reshaped_weights_and_bodies_of_loops(tmp_path: Path) -> None:
    build, values = fuzz.Model(), weight((4, 6))
    source = build.operator("Parameter", [])
    order = build.constant("order", np.array([1, 0]))
    turned = build.operator("Transpose", [build.constant("w", values.astype(np.float16)), order])
    build.operator("MatMul", [source, turned])
    build.operator("Add", [source, build.constant("b", weight((1, 4)))])
    path = write(tmp_path, build)
    xml = path.read_text()
    inner = xml[xml.index("<layers>") : xml.index("</net>")].replace('name="w"', 'name="v"')
    loop = f'<layer id="99" name="loop" type="Loop"><body>{inner}</body></layer></layers><edges>'
    path.write_text(xml.replace("</layers><edges>", loop, 1))
    result = matrices(path)
    assert set(result) == {"w", "loop/v"} or set(result) == {"loop/v"}
    np.testing.assert_array_equal(result["loop/v"], values.astype(np.float16))
    with open_checkpoint(path) as checkpoint:
        assert {
            spec.role.reason for spec in checkpoint.tensors if spec.role and spec.name.endswith("/b")
        } == {"bias"}


def test_a_folder_of_two_models(tmp_path: Path) -> None:
    write(tmp_path, fuzz.model(), "openvino_model")
    write(tmp_path, fuzz.model(), "openvino_tokenizer")
    (tmp_path / "notes.xml").write_text("<notes/>")
    with open_checkpoint(tmp_path) as checkpoint:
        assert checkpoint.format == "openvino"
        assert Path(checkpoint.path).name == "openvino_model.xml"
        assert not any("openvino_model.bin" in warning for warning in checkpoint.warnings)


def test_it_is_known_by_its_root(tmp_path: Path) -> None:
    path = write(tmp_path, fuzz.model())
    assert OpenVINOReader().recognises(contents_of(path)[0])
    path.write_text("<?xml version='1.0'?><html></html>" + " " * 64)
    assert not OpenVINOReader().recognises(contents_of(path)[0])
