"""Keras files: layouts, orders of sides, gates, quantised layers, against h5py and the examples of Keras."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.checkpoints.keras.config import KerasLayer, layer_of, parse_layers
from rmtaudit.checkpoints.keras.readers import KerasArchiveReader, KerasHDF5Reader
from rmtaudit.checkpoints.keras.roles import einsum_sides
from rmtaudit.matrices.plan import plan_layers
from rmtaudit.matrices.tensors import Use
from rmtaudit.plugins import ReaderContract

h5py = pytest.importorskip("h5py")
Shared = Callable[..., Path]
RNG = np.random.default_rng(20261130)


def write(
    path: Path, arrays: dict[str, Any], config: Any = None, names: dict[str, str] | None = None
) -> Path:
    with h5py.File(path, "w") as file:
        if config is not None:
            file.attrs["model_config"] = json.dumps(config)
        for name, values in arrays.items():
            file.create_dataset(name, data=values)
        for group, name in (names or {}).items():
            file[group].attrs["name"] = name
    return path


def model(*layers: dict[str, Any]) -> dict[str, Any]:
    return {"class_name": "Functional", "config": {"name": "m", "layers": list(layers)}}


def layer(kind: str, name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": {"name": name, **config}}


class TestHDF5Contract(ReaderContract):
    reader = KerasHDF5Reader()
    dtypes = ("float32", "float64", "float16", "int8", "int64")

    def write(self, folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
        return write(folder / "m.h5", {name: values.numpy() for name, values in tensors.items()})


class TestArchiveContract(ReaderContract):
    reader = KerasArchiveReader()

    def write(self, folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
        buffer = io.BytesIO()
        with h5py.File(buffer, "w") as file:
            for name, values in tensors.items():
                file.create_dataset(name, data=values.numpy())
        return archive(folder / "m.keras", buffer.getvalue(), {})


def archive(path: Path, weights: bytes, config: Any, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("config.json", json.dumps(config))
        file.writestr("model.weights.h5", weights)
    return path


@pytest.mark.parametrize("libver", ["earliest", ("v108", "v108"), "latest"])
@pytest.mark.parametrize("track", [False, True])
def test_every_layout_of_hdf5_reads_what_h5py_reads(tmp_path: Path, libver: Any, track: bool) -> None:
    options: list[dict[str, Any]] = [
        {},
        {"chunks": (7, 4)},
        {"chunks": (7, 4), "compression": "gzip"},
        {"chunks": (7, 4), "compression": "gzip", "shuffle": True, "fletcher32": True},
        {"chunks": (50, 40), "compression": "gzip"},
        {"chunks": (50, 40), "fletcher32": True},
    ]
    expected = {}
    with h5py.File(tmp_path / "m.h5", "w", libver=libver, track_order=track) as file:
        file.attrs["model_config"] = json.dumps(model(layer("Dense", "x" * 70_000)))
        group = file.create_group("many", track_order=track)
        for index in range(120):
            expected[f"many/{index}"] = RNG.standard_normal((3, 2))
            group.create_dataset(f"{index}", data=expected[f"many/{index}"])
        for index, option in enumerate(options):
            for dtype in ("f4", ">f8", "f2", "i1", ">i4"):
                name = f"group{index}/{dtype}"
                expected[name] = (50 * RNG.standard_normal((50, 40))).astype(dtype)
                file.create_dataset(name, data=expected[name], **option)
    with open_checkpoint(tmp_path / "m.h5") as checkpoint:
        assert {spec.name for spec in checkpoint.tensors} == set(expected)
        for name, values in expected.items():
            native = torch.from_numpy(values.astype(values.dtype.newbyteorder("=")))
            assert torch.equal(checkpoint.read(name), native), name
            assert torch.equal(checkpoint.read_band(name, 1, 3), native[1:3]), name


def test_datasets_without_numbers_are_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("text", data="words")
        file.create_dataset("complex", data=np.ones((2, 2), np.complex64))
        file.create_dataset("never", shape=(4, 4), dtype="f4")
        file.create_dataset("lzf", data=np.ones((4, 4)), compression="lzf")
        file.create_dataset("part", shape=(8, 4), dtype="f4", chunks=(4, 4))[:4] = 1
        file["soft"] = h5py.SoftLink("/complex")
        file["again"] = file["part"]
    with open_checkpoint(tmp_path / "m.h5") as checkpoint:
        reasons = {spec.name: spec.unreadable or "" for spec in checkpoint.tensors}
        assert "variable length" in reasons["text"]
        assert "compound" in reasons["complex"]
        assert "never written" in reasons["never"]
        assert "lzf" in reasons["lzf"]
        assert "1 of its 2 chunks" in reasons["part"]
        assert any("'soft' was not followed" in warning for warning in checkpoint.warnings)
        aliases = {spec.alias for spec in checkpoint.tensors if spec.name in {"part", "again"}}
        assert len(aliases) == 1
        assert None not in aliases


def test_orders_of_sides_come_from_the_configuration(tmp_path: Path) -> None:
    config = model(
        layer("Dense", "d"),
        layer("Conv2D", "c"),
        layer("Conv2DTranspose", "t"),
        layer("DepthwiseConv2D", "p"),
        layer("SeparableConv2D", "s"),
        layer("Embedding", "e"),
        layer("EinsumDense", "q", equation="abc,cde->abde"),
    )
    arrays = {
        "d/d/kernel:0": RNG.standard_normal((12, 5)),
        "c/c/kernel:0": RNG.standard_normal((3, 2, 4, 6)),
        "t/t/kernel:0": RNG.standard_normal((3, 3, 4, 6)),
        "p/p/kernel:0": RNG.standard_normal((3, 3, 4, 2)),
        "s/s/depthwise_kernel:0": RNG.standard_normal((3, 3, 4, 1)),
        "s/s/pointwise_kernel:0": RNG.standard_normal((1, 1, 4, 7)),
        "e/e/embeddings:0": RNG.standard_normal((11, 6)),
        "q/q/kernel:0": RNG.standard_normal((5, 3, 4)),
        "d/d/bias:0": np.ones(5),
    }
    path = write(
        tmp_path / "m.h5", {f"model_weights/{name}": value for name, value in arrays.items()}, config
    )
    a = {
        name.split("/")[0]: value
        for name, value in arrays.items()
        if "wise" not in name and "bias" not in name
    }
    expected = {
        "d/kernel": a["d"].T,
        "c/kernel": a["c"].transpose(3, 2, 0, 1).reshape(6, -1),
        "t/kernel": a["t"].transpose(2, 3, 0, 1).reshape(4, -1),
        "p/kernel": a["p"].transpose(2, 3, 0, 1).reshape(8, -1),
        "s/depthwise_kernel": arrays["s/s/depthwise_kernel:0"].transpose(2, 3, 0, 1).reshape(4, -1),
        "s/pointwise_kernel": arrays["s/s/pointwise_kernel:0"][0, 0].T,
        "e/embeddings": a["e"],
        "q/kernel": a["q"].reshape(5, 12).T,
    }
    with open_checkpoint(path) as checkpoint:
        plan = plan_layers(checkpoint.tensors)
        assert [each.name for each in plan.layers] == list(expected)
        for each in plan.layers:
            (matrix,) = each.build((checkpoint.read(each.tensor),))
            np.testing.assert_array_equal(matrix.numpy(), expected[each.name], err_msg=each.name)
        assert [skip.reason for skip in plan.skipped] == ["bias"]


@pytest.mark.parametrize(
    ("kind", "gates", "bias"), [("LSTM", "ifco", (20,)), ("GRU", "zrh", (2, 15)), ("SimpleRNN", "", (5,))]
)
@pytest.mark.parametrize("configured", [True, False])
def test_gates_are_parts(
    tmp_path: Path, kind: str, gates: str, bias: tuple[int, ...], configured: bool
) -> None:
    width = 5 * max(1, len(gates))
    kernel, recurrent = RNG.standard_normal((7, width)), RNG.standard_normal((5, width))
    arrays = {"r/r/kernel:0": kernel, "r/r/recurrent_kernel:0": recurrent, "r/r/bias:0": np.ones(bias)}
    path = write(tmp_path / "m.h5", arrays, model(layer(kind, "r")) if configured else None)
    with open_checkpoint(path) as checkpoint:
        plan = plan_layers(checkpoint.tensors)
        names = [f"r/{name}#{gate}" for name in ("kernel", "recurrent_kernel") for gate in gates]
        assert [each.name for each in plan.layers] == (names or ["r/kernel", "r/recurrent_kernel"])
        last = plan.layers[-1]
        (matrix,) = last.build((checkpoint.read(last.tensor),))
        np.testing.assert_array_equal(matrix.numpy(), recurrent[:, -5:].T)


@pytest.mark.parametrize("gates", [3, 4])
def test_kernels_of_cudnn_are_put_in_order(tmp_path: Path, gates: int) -> None:
    plain = RNG.standard_normal((7, 5 * gates))
    recurrent = RNG.standard_normal((5, 5 * gates))
    # what Keras 2 does to go from its own kernels to those of cuDNN (keras.engine.saving, from_cudnn=False)
    cudnn = np.hstack([k.T.reshape(k.shape, order="C") for k in np.hsplit(plain, gates)])
    turned = np.hstack([k.T for k in np.hsplit(recurrent, gates)])
    arrays = {"r/r/kernel:0": cudnn, "r/r/recurrent_kernel:0": turned, "r/r/bias:0": np.ones(10 * gates)}
    with open_checkpoint(write(tmp_path / "m.h5", arrays)) as checkpoint:
        np.testing.assert_array_equal(checkpoint.read("r/kernel").numpy(), plain)
        np.testing.assert_array_equal(checkpoint.read("r/recurrent_kernel").numpy(), recurrent)
    spectrum = np.linalg.svd(plain[:, :5], compute_uv=False)
    assert not np.allclose(np.linalg.svd(cudnn[:, :5], compute_uv=False), spectrum), "the order matters"


def test_numbered_variables_get_the_names_of_keras(tmp_path: Path) -> None:
    arrays = {
        "layers/bidirectional/forward_layer/cell/vars/0": np.ones((3, 8)),
        "layers/bidirectional/forward_layer/cell/vars/1": np.ones((2, 8)),
        "layers/bidirectional/forward_layer/cell/vars/2": np.ones(8),
        "layers/multi_head_attention/query_dense/vars/0": np.ones((6, 2, 4)),
        "layers/multi_head_attention/query_dense/vars/1": np.ones((2, 4)),
        "layers/conv2d_transpose/vars/0": np.ones((3, 3, 4, 6)),
        "layers/my_layer/vars/0": np.ones((4, 4)),
        "layers/dropout/seed_generator/vars/0": np.ones(2, np.uint32),
        "optimizer/vars/0": np.ones((4, 4)),
    }
    names = {
        "layers/bidirectional/forward_layer/cell/vars": "lstm_cell",
        "layers/multi_head_attention/query_dense/vars": "query",
    }
    with open_checkpoint(write(tmp_path / "m.weights.h5", arrays, names=names)) as checkpoint:
        specs: dict[str, Any] = {spec.name: spec for spec in checkpoint.tensors}
        assert len(specs["bidirectional/forward_layer/lstm_cell/kernel"].role.parts) == 4
        query = specs["multi_head_attention/query/kernel"]
        assert (query.shape, query.role.axes) == ((6, 8), "IO")
        assert specs["conv2d_transpose/kernel"].role.axes == "HWOI"
        assert specs["my_layer/vars/0"].role is None
        assert specs["dropout/seed_generator/vars/0"].role.use is Use.NONE
        assert not any(name.startswith("optimizer") for name in specs)
        assert any("1 arrays of the optimizer's state (16 values)" in each for each in checkpoint.warnings)


def test_the_class_of_a_layer_comes_from_the_configuration_first() -> None:
    known = parse_layers(
        json.dumps(
            model(
                layer("GRU", "lstm_1"),
                {"class_name": "Bidirectional", "config": {"name": "both", "layer": layer("LSTM", "inner")}},
            )
        )
    )
    assert layer_of(["both", "forward_inner", "lstm_cell"], known).kind == "LSTM"
    assert layer_of(["lstm_1"], known).kind == "GRU"
    assert layer_of(["lstm_7"], {}).kind == "LSTM"
    assert layer_of(["conv2d_transpose_3"], {}).kind == "Conv2DTranspose"
    assert layer_of(["tower"], {}).kind == ""
    clash = parse_layers(json.dumps(model(layer("GRU", "a"), layer("LSTM", "a"))))
    assert "a" not in clash
    for text in ("[]", "[" * 200_000, "{"):
        with pytest.raises(ValueError, match=r"."):
            parse_layers(text)
    assert KerasLayer(name="d", kind="Dense", config={"dtype": "int8_from_float32"}).quantisation == "int8"


@pytest.mark.parametrize(
    ("equation", "rank", "sides"),
    [
        ("ab,bc->ac", 2, ("IO", 1)),
        ("abc,cde->abde", 3, ("IO", 1)),
        ("abcd,cde->abe", 3, ("IO", 2)),
        ("...x,xy->...y", 2, ("IO", 1)),
        ("ab,cb->ac", 2, ("OI", 1)),
        ("abc,adc->abd", 3, None),
        ("abc,cde->abed", 3, None),
        ("ab,bc->ac", 3, None),
        (None, 2, None),
    ],
)
def test_equations_of_einsum_dense(equation: Any, rank: int, sides: Any) -> None:
    assert einsum_sides(equation, rank) == sides


@pytest.mark.parametrize(("scheme", "bits"), [("int8", 8.5), ("int4", 5.625)])
def test_examples_of_keras_are_decoded_exactly(shared: Shared, scheme: str, bits: float) -> None:
    folder = shared("golden", "quantised", f"keras_{scheme}")
    expected = np.load(folder / "expected.npz")["weight"]
    with open_checkpoint(folder / "model.keras") as checkpoint:
        spec: Any = next(spec for spec in checkpoint.tensors if spec.encoding is not None)
        assert (spec.name, spec.encoding.scheme, spec.encoding.bits) == ("d/kernel", f"Keras {scheme}", bits)
        np.testing.assert_array_equal(checkpoint.read("d/kernel").numpy(), expected)
        others = [each.role.use for each in checkpoint.tensors if each is not spec and each.role]
        assert set(others) == {Use.NONE}


def quantised(tmp_path: Path, mode: str, *, kind: str = "Dense", **arrays: Any) -> Any:
    config = model(layer(kind, "d", dtype={"config": {"mode": mode}}, output_dim=5, equation="ab,bc->ac"))
    path = write(tmp_path / "m.h5", {f"d/{name}": value for name, value in arrays.items()}, config)
    with open_checkpoint(path) as checkpoint:
        spec = next(spec for spec in checkpoint.tensors if spec.name in {"d/kernel", "d/embeddings"})
        return spec.unreadable or checkpoint.read(spec.name).numpy()


def nibbles(codes: np.ndarray) -> np.ndarray:
    """Pack signed int4 numbers as ``keras.quantizers.pack_int4(axis=-1)`` does."""
    padded = np.pad(codes, ((0, 0), (0, codes.shape[1] % 2))).astype(np.int16) & 15
    return (padded[:, ::2] | padded[:, 1::2] << 4).astype(np.uint8).view(np.int8)


def test_int8_divides_and_grouped_int4_multiplies(tmp_path: Path) -> None:
    codes = RNG.integers(-127, 127, (6, 5), dtype=np.int8)
    scale = (1 + RNG.random(5)).astype(np.float32)
    values = quantised(tmp_path, "int8", kernel=codes, kernel_scale=scale)
    np.testing.assert_array_equal(values, codes.astype(np.float32) / scale)
    assert not np.allclose(values, codes * scale), "the other convention"

    four = RNG.integers(-8, 8, (6, 5), dtype=np.int8)
    values = quantised(tmp_path, "int4", kernel=nibbles(four), kernel_scale=scale)
    np.testing.assert_array_equal(values, four.astype(np.float32) / scale)

    scales = RNG.random((2, 5)).astype(np.float32)
    zero = RNG.integers(-8, 8, (2, 5), dtype=np.int8)
    index = np.array([0, 0, 1, 1, 0, 1], np.float32)
    parts: dict[str, Any] = {"kernel_scale": scales, "kernel_zero": zero, "g_idx": index}
    values = quantised(tmp_path, "int4/3", kernel=nibbles(four), **parts)
    groups = index.astype(int)
    np.testing.assert_array_equal(values, (four - zero[groups].astype(np.float32)) * scales[groups])
    assert not np.allclose(values, (four - zero[groups]) / scales[groups]), "the other convention"
    assert not np.allclose(values, (four + zero[groups]) * scales[groups]), "the other sign"


def test_tables_are_decoded_by_rows(tmp_path: Path) -> None:
    scale = (1 + RNG.random(6)).astype(np.float32)
    codes = RNG.integers(-127, 127, (6, 5), dtype=np.int8)
    values = quantised(tmp_path, "int8", kind="Embedding", embeddings=codes, embeddings_scale=scale)
    np.testing.assert_array_equal(values, codes.astype(np.float32) / scale[:, None])
    four = RNG.integers(-8, 8, (6, 5), dtype=np.int8)
    values = quantised(tmp_path, "int4", kind="Embedding", embeddings=nibbles(four), embeddings_scale=scale)
    np.testing.assert_array_equal(values, four.astype(np.float32) / scale[:, None])
    scales, zero = RNG.random((6, 2)).astype(np.float32), RNG.integers(-8, 8, (6, 2), dtype=np.int8)
    index = np.array([0, 0, 1, 1, 1], np.float32)
    parts: dict[str, Any] = {"embeddings_scale": scales, "embeddings_zero": zero, "g_idx": index}
    values = quantised(tmp_path, "int4/3", kind="Embedding", embeddings=nibbles(four), **parts)
    groups = index.astype(int)
    np.testing.assert_array_equal(values, (four - zero[:, groups].astype(np.float32)) * scales[:, groups])


@pytest.mark.parametrize(
    ("mode", "arrays"),
    [
        ("gptq", {"kernel": np.ones((6, 5), np.uint8), "kernel_scale": np.ones(5, np.float32)}),
        ("int8", {"kernel": np.ones((6, 5), np.int8), "kernel_scale": np.ones(4, np.float32)}),
        ("int8", {"kernel": np.ones((6, 5), np.int8), "other": np.ones(5, np.float32)}),
        ("", {"kernel": np.ones((6, 5), np.int32), "kernel_scale": np.ones(5, np.float32)}),
        ("int4", {"kernel": np.ones((6, 5), np.int8), "kernel_scale": np.ones(5, np.float32)}),
    ],
)
def test_other_schemes_are_refused_by_name(tmp_path: Path, mode: str, arrays: dict[str, Any]) -> None:
    reason = quantised(tmp_path, mode, **arrays)
    assert reason.startswith("quantised (unknown: ")
    assert all(name in reason for name in arrays)


def test_bfloat16_is_read(tmp_path: Path) -> None:
    values = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).bfloat16()
    with h5py.File(tmp_path / "m.h5", "w") as file:
        raw = values.view(torch.int16).numpy().view("V2")
        file.create_dataset("d/vars/0", data=raw).attrs["dtype"] = "bfloat16"
    with open_checkpoint(tmp_path / "m.h5") as checkpoint:
        assert torch.equal(checkpoint.read(checkpoint.tensors[0].name), values)


@pytest.mark.parametrize(
    ("file", "layers", "parameters"),
    [
        ("chars2vec/eng_50.h5", 16, 41_800),
        ("dtln/DTLN_norm_40h.h5", 36, 983_680),
        ("mlperf_tiny/ad01.h5", 10, 264_192),
        ("mlperf_tiny/resnet8.h5", 10, 77_360),
        ("textgenrnn/textgenrnn_weights.hdf5", 18, 459_848),
    ],
)
def test_models_are_covered(shared: Shared, file: str, layers: int, parameters: int) -> None:
    with open_checkpoint(shared("models", file)) as checkpoint:
        plan = plan_layers(checkpoint.tensors)
        matrices = [each for each in plan.layers if min(each.shape) > 1]
        assert (len(matrices), sum(each.parameters for each in matrices)) == (layers, parameters)
        assert not any(skip.spec.unreadable for skip in plan.skipped)
