"""MessagePack files of Flax, against the packing of ``flax.serialization``."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.checkpoints.flax.reader import FlaxReader
from rmtaudit.matrices.plan import plan_layers
from rmtaudit.matrices.tensors import Use
from rmtaudit.plugins import ReaderContract

msgpack = pytest.importorskip("msgpack")
RNG = np.random.default_rng(20261130)


def _load(name: str) -> Any:
    path = Path(__file__).parents[1] / "fuzz" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fuzz = _load("fuzz_flax")


class TestContract(ReaderContract):
    reader = FlaxReader()
    dtypes = ("float32", "float64", "float16", "int64", "uint8")

    def write(self, folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
        path = folder / "m.msgpack"
        path.write_bytes(fuzz.pack({name: values.numpy() for name, values in tensors.items()}))
        return path


def test_names_roles_and_values(tmp_path: Path) -> None:
    kernel, conv = RNG.standard_normal((6, 4)), RNG.standard_normal((3, 3, 4, 8))
    heads, out = RNG.standard_normal((6, 2, 5)), RNG.standard_normal((2, 5, 6))
    half = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).bfloat16()
    params = {
        "dense": {"kernel": kernel, "bias": kernel[0]},
        "conv": {"kernel": conv},
        "embed": {"embedding": RNG.standard_normal((9, 4))},
        "attention": {"query": {"kernel": heads, "bias": heads[0]}, "out": {"kernel": out}},
        "norm": {"scale": kernel[0]},
        "half": {"kernel": fuzz.array(half.view(torch.int16).numpy(), "bfloat16")},
    }
    statistics = {"norm": {"mean": kernel[0]}}
    state = {"0": {"mu": {"dense": {"kernel": kernel}}}}
    tree = {"params": params, "batch_stats": statistics, "opt_state": state, "step": 7}
    (tmp_path / "m.msgpack").write_bytes(fuzz.pack(tree))
    with open_checkpoint(tmp_path / "m.msgpack") as checkpoint:
        assert torch.equal(checkpoint.read("half/kernel"), half)
        plan = plan_layers(checkpoint.tensors)
        matrices = {each.name: each.build((checkpoint.read(each.tensor),))[0] for each in plan.layers}
        np.testing.assert_array_equal(matrices["dense/kernel"], kernel.T)
        np.testing.assert_array_equal(matrices["conv/kernel"], conv.transpose(3, 2, 0, 1).reshape(8, -1))
        np.testing.assert_array_equal(matrices["attention/query/kernel"], heads.reshape(6, 10).T)
        np.testing.assert_array_equal(matrices["attention/out/kernel"], out.reshape(10, 6).T)
        assert matrices["embed/embedding"].shape == (9, 4)
        assert len(matrices) == 6
        none = {spec.name for spec in checkpoint.tensors if spec.role and spec.role.use is Use.NONE}
        assert none == {"dense/bias", "attention/query/bias", "norm/scale", "batch_stats/norm/mean"}
        assert any("1 arrays of the optimizer's state (24 values)" in each for each in checkpoint.warnings)


def test_arrays_in_chunks_are_put_together(tmp_path: Path) -> None:
    values = RNG.standard_normal((6, 7)).astype(np.float32)
    (tmp_path / "m.msgpack").write_bytes(fuzz.pack({"params": {"a": {"kernel": fuzz.chunked(values, 5)}}}))
    with open_checkpoint(tmp_path / "m.msgpack") as checkpoint:
        np.testing.assert_array_equal(checkpoint.read("a/kernel").numpy(), values)
        np.testing.assert_array_equal(checkpoint.read_band("a/kernel", 2, 4).numpy(), values[2:4])


def test_names_stay_unique(tmp_path: Path) -> None:
    one = np.ones((2, 2), np.float32)
    tree = {"params": {"a": one}, "model": {"a": one * 2}, "b/c": one * 3, "b": {"c": one * 4}}
    (tmp_path / "m.msgpack").write_bytes(fuzz.pack(tree))
    with open_checkpoint(tmp_path / "m.msgpack") as checkpoint:
        values = {checkpoint.read(spec.name)[0, 0].item() for spec in checkpoint.tensors}
        assert values == {1, 2, 3, 4}


def test_other_things_are_passed_over(tmp_path: Path) -> None:
    tree = {
        "k": np.ones((2, 2)),
        "x": msgpack.ExtType(2, b"ab"),
        "b": b"bytes",
        "n": None,
        "t": True,
        "f": 1.5,
    }
    tree["odd"] = msgpack.ExtType(1, msgpack.packb(((2,), "V4", b"12345678")))
    (tmp_path / "m.msgpack").write_bytes(fuzz.pack(tree))
    with open_checkpoint(tmp_path / "m.msgpack") as checkpoint:
        assert {spec.name: spec.unreadable for spec in checkpoint.tensors} == {
            "k": None,
            "odd": "numpy dtype 'V4'",
        }
