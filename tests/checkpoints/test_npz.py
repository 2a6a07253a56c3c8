"""NumPy's archives and arrays: every value equals that of ``numpy.load``."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from safetensors.torch import save_file

import rmtaudit
from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.checkpoints.npz.reader import NpyReader, NpzReader
from rmtaudit.checkpoints.registry import contents_of, own_readers
from rmtaudit.errors import InputError, UsageError
from rmtaudit.matrices.plan import plan_layers
from rmtaudit.plugins import ReaderContract

Shared = Callable[..., Path]
READERS = {reader.name: reader for reader in own_readers()}
savez: Any = np.savez  # whose annotations do not take arrays by keyword
savez_compressed: Any = np.savez_compressed
DTYPES = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool", "complex64")


class TestStored(ReaderContract):
    reader = READERS["npz"]
    dtypes = DTYPES

    def write(self, folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
        savez(folder / "model.npz", **{name: tensor.numpy() for name, tensor in tensors.items()})
        return folder / "model.npz"


class TestCompressed(ReaderContract):
    reader = READERS["npz"]
    dtypes = DTYPES

    def write(self, folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
        savez_compressed(folder / "model.npz", **{name: tensor.numpy() for name, tensor in tensors.items()})
        return folder / "model.npz"


class TestByColumns(ReaderContract):
    reader = READERS["npz"]
    dtypes = ("float32",)

    def write(self, folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
        arrays = {name: np.asfortranarray(tensor.numpy()) for name, tensor in tensors.items()}
        savez(folder / "model.npz", **arrays)
        return folder / "model.npz"


class TestSingle(ReaderContract):
    reader = READERS["npy"]
    dtypes = ("float32",)

    def write(self, folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
        ((name, tensor),) = tensors.items()
        np.save(folder / f"{name}.npy", tensor.numpy())
        return folder / f"{name}.npy"

    def test_recognises_its_own_and_nothing_else(self, tmp_path: Path) -> None:
        """It leaves its file to a plugin that knows it, and takes it where there is none."""
        contents, _ = contents_of(self.write(tmp_path, self.tensors()))
        assert not self.reader.recognises(contents)
        assert self.reader.may_know(contents)


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {
        "by rows": rng.standard_normal((5, 4)),
        "by columns": np.asfortranarray(rng.standard_normal((5, 4, 3))),
        "big-endian": rng.standard_normal((5, 4)).astype(">f4"),
        "big-endian by columns": np.asfortranarray(rng.standard_normal((5, 4)).astype(">f8")),
        "number": np.array(3.5),
        "empty": np.zeros((0, 3), dtype=np.float32),
        "params/Dense_0/kernel": rng.standard_normal((3, 2)).astype(np.float16),
    }


@pytest.mark.parametrize("save", [savez, savez_compressed])
def test_values_equal_those_of_numpy(tmp_path: Path, save: Callable[..., None]) -> None:
    expected = arrays()
    save(tmp_path / "m.npz", **expected)
    with open_checkpoint(tmp_path / "m.npz") as checkpoint:
        assert [spec.name for spec in checkpoint.tensors] == list(expected)
        assert (checkpoint.format, checkpoint.warnings) == ("npz", ())
        for spec in checkpoint.tensors:
            value = expected[spec.name]
            read = checkpoint.read(spec.name)
            assert spec.dtype == value.dtype.newbyteorder("=").name == str(read.dtype).removeprefix("torch.")
            assert np.array_equal(read.numpy(), value)
            if value.ndim > 1 and len(value):
                assert np.array_equal(checkpoint.read_band(spec.name, 1, 3).numpy(), value[1:3])


@pytest.mark.parametrize("name", arrays())
def test_a_single_array_is_named_as_its_file(tmp_path: Path, name: str) -> None:
    value = arrays()[name]
    np.save(tmp_path / "layer.0.npy", value)
    with open_checkpoint(tmp_path / "layer.0.npy") as checkpoint:
        assert [spec.name for spec in checkpoint.tensors] == ["layer.0"]
        assert np.array_equal(checkpoint.read("layer.0").numpy(), value)


def test_the_other_order_would_give_other_values(tmp_path: Path) -> None:
    """Rows for columns, and bytes the other way round: both change what is read."""
    value = np.arange(6, dtype=">f4").reshape(2, 3)
    stream = io.BytesIO()
    np.save(stream, value)
    for old, new in ((b"False", b"True "), (b"'>f4'", b"'<f4'")):
        (tmp_path / "m.npy").write_bytes(stream.getvalue().replace(old, new))
        with open_checkpoint(tmp_path / "m.npy") as checkpoint:
            assert not np.array_equal(checkpoint.read("m").numpy(), value)


def test_large_compressed_arrays_are_read_in_pieces(tmp_path: Path) -> None:
    value = np.random.default_rng(4).integers(0, 9, (700, 1000)).astype(np.float32)
    savez_compressed(tmp_path / "m.npz", w=value)
    with open_checkpoint(tmp_path / "m.npz") as checkpoint:
        assert np.array_equal(checkpoint.read("w").numpy(), value)
        assert np.array_equal(checkpoint.read_band("w", 333, 600).numpy(), value[333:600])
        assert np.array_equal(checkpoint.read_band("w", 600, 700).numpy(), value[600:])


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (np.array(["a", "b"]), "text"),
        (np.array([b"a"]), "text"),
        (np.array(["2026-11-30"], dtype="M8[D]"), "dates"),
        (np.zeros(2, dtype=[("a", "f4"), ("b", "i4")]), "an array of records"),
        (np.zeros((2, 2), dtype="V2"), "values of a type that numpy does not name"),
        (np.zeros(2, dtype=np.longdouble), "numpy dtype"),
        (np.array([None]), "an array of Python objects"),
    ],
)
def test_what_is_no_number_is_named(tmp_path: Path, value: np.ndarray, reason: str) -> None:
    savez(tmp_path / "m.npz", allow_pickle=True, x=value, w=np.ones((3, 3)))
    with open_checkpoint(tmp_path / "m.npz") as checkpoint:
        specs = {spec.name: spec for spec in checkpoint.tensors}
        assert str(specs["x"].unreadable).startswith(reason)
        assert specs["x"].shape == value.shape
        assert checkpoint.read("w").sum() == 9


def test_headers_of_python_2_and_of_versions_2_and_3(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    for version in (2, 3):
        stream = io.BytesIO()
        np.lib.format.write_array(stream, values, version=(version, 0))
        (tmp_path / "m.npy").write_bytes(stream.getvalue())
        with open_checkpoint(tmp_path / "m.npy") as checkpoint:
            assert np.array_equal(checkpoint.read("m").numpy(), values)
    stream = io.BytesIO()
    np.save(stream, values)
    old = stream.getvalue().replace(b"(2, 3), }  ", b"(2L, 3L), }")
    (tmp_path / "m.npy").write_bytes(old)
    with open_checkpoint(tmp_path / "m.npy") as checkpoint:
        assert np.array_equal(checkpoint.read("m").numpy(), values)


def test_equal_weights_make_equal_layers_in_safetensors_and_npz(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(7)
    shapes = {"embed.weight": (40, 16), "fc.weight": (24, 16), "fc.bias": (24,), "conv.weight": (8, 4, 3, 3)}
    state = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    save_file(state, tmp_path / "m.safetensors")
    savez(tmp_path / "m.npz", **{name: tensor.numpy() for name, tensor in state.items()})
    with open_checkpoint(tmp_path / "m.safetensors") as one, open_checkpoint(tmp_path / "m.npz") as other:
        plans = [plan_layers(each.tensors) for each in (one, other)]
        facts = [
            {layer.name: (layer.kind, layer.view, layer.shape, layer.dtype) for layer in plan.layers}
            for plan in plans
        ]
        assert facts[0] == facts[1]
        assert all(torch.equal(one.read(name), other.read(name)) for name in state)


def test_a_real_model_is_accounted_for(shared: Shared) -> None:
    path = shared("models", "g2p_en", "checkpoint20.npz")
    with np.load(path) as expected, open_checkpoint(path) as checkpoint:
        assert {spec.name for spec in checkpoint.tensors} == set(expected)
        assert all(np.array_equal(checkpoint.read(name).numpy(), expected[name]) for name in expected)
        plan = plan_layers(checkpoint.tensors)
    assert len(plan.layers) == 7
    assert {row.reason for row in plan.skipped} == {"vector (bias, norm, statistic)"}


def test_a_sparse_matrix_is_no_model(tmp_path: Path) -> None:
    scipy.sparse.save_npz(tmp_path / "m.npz", scipy.sparse.eye(9, format="csr"))
    with open_checkpoint(tmp_path / "m.npz") as checkpoint:
        plan = plan_layers(checkpoint.tensors)
    assert plan.layers == ()
    assert "part of a sparse matrix of scipy" in {row.reason for row in plan.skipped}


def test_a_folder_is_searched_for_archives_and_not_for_single_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "data.npy", np.ones((4, 4)))
    with pytest.raises(InputError, match="holds no checkpoint"):
        open_checkpoint(tmp_path)
    savez(tmp_path / "weights.npz", w=np.ones((4, 4)))
    with open_checkpoint(tmp_path) as checkpoint:
        assert checkpoint.format == "npz"


def test_arrays_are_numpys_own(tmp_path: Path) -> None:
    savez(tmp_path / "m.npz", text=np.array("csr"), **arrays())
    with NpzReader().open(tmp_path / "m.npz") as checkpoint:
        assert checkpoint.array("text").item() == "csr"
        for name, value in arrays().items():
            assert np.array_equal(checkpoint.array(name), value)
            assert checkpoint.stored_size(name) == value.nbytes
    np.save(tmp_path / "m.npy", np.array([{}]), allow_pickle=True)
    with NpyReader().open(tmp_path / "m.npy") as checkpoint, pytest.raises(InputError):
        checkpoint.array("m")


@pytest.mark.parametrize("save", [savez, savez_compressed])
def test_a_log_determinant_reads_the_same_archive(tmp_path: Path, save: Callable[..., None]) -> None:
    path = tmp_path / "m.npz"
    save(path, K=np.asfortranarray(np.diag([1.0, 2.0, 4.0]).astype(">f4")), other=np.eye(2))
    result = rmtaudit.logdet(f"{path}::K")
    assert result.logdet == pytest.approx(np.log(8))
    with pytest.raises(UsageError) as caught:
        rmtaudit.logdet(str(path))
    assert caught.value.code == "RA-MS-034"


def test_a_log_determinant_refuses_what_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    savez(path, K=np.eye(40))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(InputError) as caught:
        rmtaudit.logdet(str(path))
    assert caught.value.code == "RA-MS-012"
    path.write_bytes(bytes(data[:200]))
    with pytest.raises(InputError) as caught:
        rmtaudit.logdet(str(path))
    assert caught.value.code == "RA-MS-012"
    savez(path, K=np.array([[None, None]]), allow_pickle=True)
    with pytest.raises(InputError) as caught:
        rmtaudit.logdet(f"{path}::K")
    assert caught.value.code == "RA-MS-012"
