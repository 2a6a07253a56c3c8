"""What the libraries write comes back, value for value."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

import rmtaudit
from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.checkpoints.schemes.eight_bit import _numbers
from rmtaudit.checkpoints.values import torch_dtype

DTYPES = [
    "float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz",
    "float8_e5m2fnuz", "float8_e8m0fnu", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16",
    "uint8", "bool", "complex64",
]  # fmt: skip
WRITERS = ["safetensors", "zip", "legacy"]


def save(state: dict[str, Any], path: Path, writer: str) -> None:
    if writer == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=writer == "zip")


def identical(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether shape, dtype and every bit agree (NaN included)."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    bits = [value.contiguous().reshape(-1).view(torch.uint8) for value in (one, other)]
    return torch.equal(*bits)


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(tmp_path: Path, writer: str, dtype: str) -> None:
    if not hasattr(torch, dtype):
        pytest.skip(f"torch {torch.__version__} has no {dtype}")
    kind = getattr(torch, dtype)
    bits = torch.randint(0, 2 if dtype == "bool" else 256, (4, 3 * kind.itemsize), dtype=torch.uint8)
    state = {"w": bits.view(kind), "scalar": bits[:1, : kind.itemsize].clone().view(kind).reshape(())}
    state["empty"] = torch.empty((0, 3), dtype=kind)
    save(state, tmp_path / "m.bin", writer)
    with open_checkpoint(tmp_path / "m.bin") as checkpoint:
        assert {spec.name: (spec.shape, spec.dtype) for spec in checkpoint.tensors} == {
            name: (tuple(value.shape), dtype) for name, value in state.items()
        }
        for name, value in state.items():
            assert identical(checkpoint.read(name), value)


def test_a_dtype_that_torch_does_not_have_is_read_as_its_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch before 2.7: every byte of the scales arrives, and the digest of the file stays the same."""
    header = json.dumps(
        {
            "scales": {"dtype": "F8_E8M0", "shape": [2, 64], "data_offsets": [0, 128]},
            "w": {"dtype": "F32", "shape": [4, 8], "data_offsets": [128, 256]},
        }
    ).encode()
    path = tmp_path / "m.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(range(128)) + bytes(128))
    digests = set()
    for have in (hasattr(torch, "float8_e8m0fnu"), False):
        if not have:
            monkeypatch.delattr(torch, "float8_e8m0fnu", raising=False)
        with open_checkpoint(path) as checkpoint:
            scales = checkpoint.read("scales")
            assert checkpoint.tensors[0].dtype == "float8_e8m0fnu"
            assert scales.dtype == (torch.float8_e8m0fnu if have else torch.uint8)
            assert bytes(scales.view(torch.uint8).flatten().tolist()) == bytes(range(128))
            assert torch.equal(
                checkpoint.read_band("scales", 1, 2).view(torch.uint8), scales[1:].view(torch.uint8)
            )
        digests.add(rmtaudit.scan(path, threads=1).subject["digest"])
    assert len(digests) == 1


def test_scales_are_the_same_powers_of_two_without_their_dtype(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = torch.tensor([0, 126, 127, 130], dtype=torch.uint8)
    monkeypatch.delattr(torch, "float8_e8m0fnu", raising=False)
    assert _numbers(codes).tolist() == [2.0**-127, 0.5, 1.0, 8.0]


def test_a_dtype_that_nobody_knows_is_no_dtype() -> None:
    with pytest.raises(AttributeError, match="float3"):
        torch_dtype("float3")


@pytest.mark.parametrize("writer", ["zip", "legacy"])
def test_views_are_gathered(tmp_path: Path, writer: str) -> None:
    base = torch.arange(24.0).reshape(4, 6)
    state = {
        "transposed": base.T,
        "columns": base[:, 1::2],
        "last": base[3, 4:],
        "element": base[2, 2],
        "expanded": torch.arange(6.0)[:3].expand(2, 3),
    }
    save(state, tmp_path / "m.pt", writer)
    with open_checkpoint(tmp_path / "m.pt") as checkpoint:
        for name, value in state.items():
            read = checkpoint.read(name)
            assert identical(read, value)
            assert read.is_contiguous()
            assert read.untyped_storage().nbytes() <= base.untyped_storage().nbytes()


@pytest.mark.parametrize("writer", ["zip", "legacy"])
def test_tied_tensors_have_one_alias_and_others_do_not(tmp_path: Path, writer: str) -> None:
    base = torch.randn(4, 4)
    save({"a": base, "b": base, "row": base[0], "copy": base.clone()}, tmp_path / "m.pt", writer)
    with open_checkpoint(tmp_path / "m.pt") as checkpoint:
        alias = {spec.name: spec.alias for spec in checkpoint.tensors}
        assert alias["a"] == alias["b"] is not None
        assert len(set(alias.values())) == 3
        assert {hash(value) for value in alias.values()}


def test_safetensors_cannot_share(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "m.safetensors")
    with open_checkpoint(tmp_path / "m.safetensors") as checkpoint:
        assert checkpoint.tensors[0].alias is None


@pytest.mark.parametrize("writer", ["zip", "legacy"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_pickle_protocol(tmp_path: Path, writer: str, protocol: int) -> None:
    state = {f"layer.{i}.weight": torch.full((2, 2), float(i)) for i in range(300)}
    new = writer == "zip"
    torch.save(state, tmp_path / "m.pt", pickle_protocol=protocol, _use_new_zipfile_serialization=new)
    with open_checkpoint(tmp_path / "m.pt") as checkpoint:
        assert [spec.name for spec in checkpoint.tensors] == list(state)
        assert torch.equal(checkpoint.read("layer.299.weight"), state["layer.299.weight"])


@pytest.mark.filterwarnings(
    "ignore:Sparse CSR tensor", "ignore:The PyTorch API of nested", "ignore:.*quantize"
)
def test_tensors_without_plain_values_are_listed(tmp_path: Path) -> None:
    dense = torch.eye(3)
    state = {
        "plain": dense,
        "sparse": dense.to_sparse(),
        "csr": dense.to_sparse_csr(),
        "qint8": torch.quantize_per_tensor(dense, 0.1, 0, torch.qint8),
        "meta": torch.empty(3, 3, device="meta"),
        "nested": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    }
    torch.save(state, tmp_path / "m.pt")
    with open_checkpoint(tmp_path / "m.pt") as checkpoint:
        reasons = {spec.name: spec.unreadable for spec in checkpoint.tensors}
        assert reasons.pop("plain") is None
        assert identical(checkpoint.read("plain"), dense)
        assert {name: str(reason).split()[0] for name, reason in reasons.items()} == {
            "sparse": "sparse", "csr": "sparse", "qint8": "quantised", "meta": "meta", "nested": "nested",
        }  # fmt: skip
        shapes = {spec.name: spec.shape for spec in checkpoint.tensors}
        assert shapes["sparse"] == shapes["csr"] == shapes["qint8"] == shapes["meta"] == (3, 3)


@pytest.mark.parametrize("writer", ["zip", "legacy"])
@pytest.mark.filterwarnings("ignore:.*source code of class")
def test_whole_modules_are_walked(tmp_path: Path, writer: str) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Conv2d(1, 2, 3))
    save(net, tmp_path / "m.pt", writer)  # type: ignore[arg-type]
    with open_checkpoint(tmp_path / "m.pt") as checkpoint:
        expected = net.state_dict()
        assert {spec.name for spec in checkpoint.tensors} == set(expected)
        assert all(identical(checkpoint.read(name), value) for name, value in expected.items())
        assert any("torch.nn.modules.linear.Linear" in warning for warning in checkpoint.warnings)


@pytest.mark.filterwarnings("ignore:.torch.jit.*is deprecated")
def test_torchscript_is_walked(tmp_path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Conv2d(1, 2, 3))
    torch.jit.save(torch.jit.script(net), tmp_path / "m.pt")
    with open_checkpoint(tmp_path / "m.pt") as checkpoint:
        expected = net.state_dict()
        assert {spec.name for spec in checkpoint.tensors} == set(expected)
        assert all(identical(checkpoint.read(name), value) for name, value in expected.items())
        assert checkpoint.warnings == ()


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2", "<i8", ">i2", "|u1", "|b1", "<c8"])
def test_lone_pickles_of_arrays(tmp_path: Path, protocol: int, dtype: str) -> None:
    import pickle

    array = np.arange(12).reshape(3, 4).astype(dtype)
    state = {
        "c": array,
        "f": np.asfortranarray(array),
        "view": array[:, ::2],
        "n": np.float64(1.5),
        "s": "text",
    }
    (tmp_path / "m.ckpt").write_bytes(pickle.dumps(state, protocol))
    with open_checkpoint(tmp_path / "m.ckpt") as checkpoint:
        assert checkpoint.format == "pickle"
        assert [spec.name for spec in checkpoint.tensors] == ["c", "f", "view"]
        for name in ("c", "f", "view"):
            expected = torch.from_numpy(
                np.ascontiguousarray(state[name]).astype(array.dtype.newbyteorder("="))
            )
            assert identical(checkpoint.read(name), expected)


def test_arrays_of_objects_are_listed_and_not_read(tmp_path: Path) -> None:
    import pickle

    state = {"o": np.array([{}, None], dtype=object), "w": np.ones(3), "u": np.array(["a", "bc"])}
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(state))
    with open_checkpoint(tmp_path / "m.pkl") as checkpoint:
        readable = {spec.name: spec.unreadable is None for spec in checkpoint.tensors}
        assert readable == {"o": False, "w": True, "u": False}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.lists(st.integers(0, 4), max_size=4),
    writer=st.sampled_from(WRITERS),
    dtype=st.sampled_from(["float32", "bfloat16", "int8"]),
    name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8),
)
def test_any_shape_and_name(tmp_path: Path, shape: list[int], writer: str, dtype: str, name: str) -> None:
    value = torch.randn(shape).to(getattr(torch, dtype))
    key = f"k{name}"
    save({key: value}, tmp_path / "m.bin", writer)
    with open_checkpoint(tmp_path / "m.bin") as checkpoint:
        assert identical(checkpoint.read(key), value)


def test_threads_read_at_the_same_time(tmp_path: Path) -> None:
    state = {f"w{i}": torch.randn(64, 64) for i in range(32)}
    save_file(state, tmp_path / "m.safetensors")
    with open_checkpoint(tmp_path / "m.safetensors") as checkpoint, ThreadPoolExecutor(8) as pool:
        for name, value in zip(state, pool.map(checkpoint.read, state), strict=True):
            assert identical(value, state[name])


def test_what_is_read_is_our_own(tmp_path: Path) -> None:
    save_file({"w": torch.ones(4)}, tmp_path / "m.safetensors")
    with open_checkpoint(tmp_path / "m.safetensors") as checkpoint:
        first = checkpoint.read("w")
        first.zero_()
        assert checkpoint.read("w").sum() == 4
        with pytest.raises(KeyError):
            checkpoint.read("absent")


@pytest.mark.parametrize("writer", WRITERS)
def test_opening_does_not_import_torch(tmp_path: Path, writer: str) -> None:
    save({"w": torch.ones(4)}, tmp_path / "m.bin", writer)
    (tmp_path / "bad.bin").write_bytes(b"PK\x03\x04 no archive")
    code = f"""
import sys
from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.errors import InputError
with open_checkpoint({str(tmp_path / "m.bin")!r}) as checkpoint:
    assert len(checkpoint.tensors) == 1
try:
    open_checkpoint({str(tmp_path / "bad.bin")!r})
except InputError:
    pass
loaded = {{"torch", "numpy", "scipy", "safetensors"}} & set(sys.modules)
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", code], check=True)
