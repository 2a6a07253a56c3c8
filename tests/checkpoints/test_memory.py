"""State dicts and modules in memory follow the same contract as files."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rmtaudit.checkpoints.memory import StateDictCheckpoint
from rmtaudit.errors import InputError, UsageError


def test_a_module_is_its_state_dict() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    checkpoint = StateDictCheckpoint(net, "net")
    assert checkpoint.path == "net"
    assert [spec.name for spec in checkpoint.tensors] == list(net.state_dict())
    for name, value in net.state_dict().items():
        read = checkpoint.read(name)
        assert torch.equal(read, value)
        assert not read.requires_grad
        assert read.data_ptr() != value.data_ptr()


def test_tied_tensors_share_an_alias() -> None:
    w = torch.randn(3, 3)
    checkpoint = StateDictCheckpoint({"a": w, "b": w, "t": w.T, "c": w.clone()})
    alias = {spec.name: spec.alias for spec in checkpoint.tensors}
    assert alias["a"] == alias["b"]
    assert len(set(alias.values())) == 3


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2", ">i8", "|u1", "|b1"])
def test_arrays(dtype: str) -> None:
    array = np.arange(12).reshape(3, 4).astype(dtype)[:, ::2]
    array.flags.writeable = False
    checkpoint = StateDictCheckpoint({"w": array})
    read = checkpoint.read("w")
    assert read.tolist() == array.tolist()
    assert checkpoint.tensors[0].dtype == str(read.dtype).removeprefix("torch.")


def test_the_dtypes_of_torch() -> None:
    w = torch.randn(3, 3)
    state = {str(kind): w.to(kind) for kind in (torch.bfloat16, torch.float8_e4m3fn, torch.int8)}
    checkpoint = StateDictCheckpoint(state)
    assert [spec.dtype for spec in checkpoint.tensors] == ["bfloat16", "float8_e4m3fn", "int8"]
    assert all(checkpoint.read(name).dtype == value.dtype for name, value in state.items())


def test_what_has_no_plain_values() -> None:
    state = {
        "sparse": torch.eye(3).to_sparse(),
        "meta": torch.empty(3, 3, device="meta"),
        "object": np.array([{}], dtype=object),
    }
    checkpoint = StateDictCheckpoint(state)
    assert all(spec.unreadable for spec in checkpoint.tensors)
    for name in state:
        with pytest.raises(InputError, match="cannot be read"):
            checkpoint.read(name)


def test_a_cyclic_state_ends() -> None:
    state: dict[str, object] = {"w": torch.ones(2, 2)}
    state["self"] = state
    assert [spec.name for spec in StateDictCheckpoint(state).tensors] == ["w"]


@pytest.mark.parametrize("state", [None, 3, "model.pt", [torch.ones(2)]])
def test_anything_else_is_a_usage_error(state: object) -> None:
    with pytest.raises(UsageError) as caught:
        StateDictCheckpoint(state)  # type: ignore[arg-type]
    assert caught.value.code == "RA-IN-096"
