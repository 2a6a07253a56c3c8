"""Objects beside the weights: hyper-parameters, enumerations, settings, distributed tensors."""

from __future__ import annotations

import argparse
import enum
import functools
import importlib
import operator
import signal
import sys
import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed._shard.sharded_tensor.api import ShardedTensor

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.errors import NotACheckpointError, UnsafeError

try:
    placements: Any = importlib.import_module("torch.distributed.tensor")
    DTensor = placements.DTensor
except AttributeError:  # torch 2.4
    placements = importlib.import_module("torch.distributed._tensor")
    DTensor = placements.DTensor
Partial, Replicate, Shard = placements.Partial, placements.Replicate, placements.Shard
Shared = Callable[..., Path]
DATA = Path(__file__).parents[1] / "data" / "dcp"
W = torch.arange(12.0).reshape(4, 3)


class Colour(enum.Enum):
    RED = 1


class Level(enum.IntFlag):
    LOW = 1


class Settings:
    """Stands for the configuration of some library."""

    def __init__(self) -> None:
        self.rate = 0.1

    def step(self) -> None: ...


HARMLESS: dict[str, tuple[Any, str]] = {
    "functools.partial": (functools.partial(torch.nn.functional.softplus, beta=2), "functools.partial"),
    "nested partial": (functools.partial(functools.partial(max, 1), 2), "functools.partial"),
    "SimpleNamespace": (types.SimpleNamespace(lr=1e-3), "types.SimpleNamespace"),
    "enum": (Colour.RED, "Colour"),
    "flag": (Level.LOW, "Level"),
    "a bound method": (Settings().step, "Settings"),
    "a class": (Settings, ""),
    "an object": (Settings(), "Settings"),
    "itemgetter": (operator.itemgetter(0), "operator.itemgetter"),
    "attrgetter": (operator.attrgetter("loss.value"), "operator.attrgetter"),
    "signal": (signal.SIGTERM, "signal.Signals"),
    "Namespace": (argparse.Namespace(lr=1), ""),
    "a function": (torch.nn.functional.relu, ""),
    "map": (map(str, [1, 2]), ""),
    "slice": (slice(1, 2), ""),
    "a size": (torch.Size([2]), ""),
    "a generic alias": (list[int], "types.GenericAlias"),
}


@pytest.mark.parametrize("row", HARMLESS)
@pytest.mark.parametrize("protocol", [2, 4])
def test_hyper_parameters_do_not_hide_the_weights(tmp_path: Path, row: str, protocol: int) -> None:
    value, named = HARMLESS[row]
    state = {"state_dict": {"fc.weight": W}, "hyper_parameters": {"x": value}}
    torch.save(state, tmp_path / "m.ckpt", pickle_protocol=protocol)
    with open_checkpoint(tmp_path / "m.ckpt") as checkpoint:
        assert [spec.name for spec in checkpoint.tensors] == ["fc.weight"]
        assert torch.equal(checkpoint.read("fc.weight"), W)
        warnings = " ".join(checkpoint.warnings)
        assert (named in warnings) if named else not warnings


def test_several_foreign_classes_are_one_warning(tmp_path: Path) -> None:
    values = [functools.partial(max), types.SimpleNamespace(), Settings(), Colour.RED]
    torch.save({"state_dict": {"w": W}, "hparams": values}, tmp_path / "m.ckpt")
    with open_checkpoint(tmp_path / "m.ckpt") as checkpoint:
        (warning,) = checkpoint.warnings
        assert warning.startswith(
            "objects of 4 foreign classes were not built: functools.partial, types.Simple"
        )


@pytest.mark.parametrize("file", ["partial.ckpt", "simplenamespace.pt"])
def test_the_public_cases(shared: Shared, file: str) -> None:
    with open_checkpoint(shared("cases", "harmless-globals-in-hparams", file)) as checkpoint:
        assert [spec.name for spec in checkpoint.tensors] == ["fc.weight"]
        assert len(checkpoint.warnings) == 1


@pytest.mark.parametrize(
    "program",
    [
        b"c__builtin__\ngetattr\n(ctorch.serialization\nos\nX\x06\x00\x00\x00systemtR",
        b"c__builtin__\ngetattr\n(cmypkg\nNet\nX\x0b\x00\x00\x00__globals__tR",
        b"cbuiltins\ngetattr\n(cmypkg\nNet\nX\x0e\x00\x00\x00__subclasses__tR",
        b"cbuiltins\ngetattr\n(}X\x09\x00\x00\x00__class__tR",
        b"cbuiltins\ngetattr\n(cbuiltins\ngetattr\n(cmypkg\nutil\nX\x02\x00\x00\x00ostRX\x06\x00\x00\x00systemtR",
        b"coperator\nattrgetter\n(X\x09\x00\x00\x00os.systemtR",
        b"c_operator\nattrgetter\n(X\x11\x00\x00\x00__class__.__mro__tR",
        b"coperator\nmethodcaller\n(X\x06\x00\x00\x00systemtR",
        b"cfunctools\npartial\n(cos\nsystem\ntR",
        b"cbuiltins\nmap\n(cbuiltins\neval\n]tR",
        b"ctypes\nFunctionType\n(tR",
        b"ctypes\nCodeType\n(tR",
        b"cinspect\ngetsource\n(tR",
        b"csignal\nsignal\n(tR",
        b"ctorch.serialization\nos\n",
        b"cmypkg.sub.subprocess\nPopen\n",
        b"cmypkg\nimportlib.import_module\n",
    ],
)
def test_what_runs_code_is_refused_through_the_same_doors(tmp_path: Path, program: bytes) -> None:
    (tmp_path / "m.pkl").write_bytes(b"\x80\x02" + program + b".")
    with pytest.raises(UnsafeError, match="contains code") as caught:
        open_checkpoint(tmp_path / "m.pkl")
    assert caught.value.code == "RA-IN-040"


def test_an_attribute_without_a_name_is_malformed(tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(b"\x80\x02cbuiltins\ngetattr\n(cmypkg\nNet\nK\x01tR.")
    with pytest.raises(Exception, match="an attribute whose name is not text"):
        open_checkpoint(tmp_path / "m.pkl")


def test_nothing_is_imported(tmp_path: Path) -> None:
    before = set(sys.modules)
    program = b"\x80\x02cantigravity2\nthis\n)R."
    (tmp_path / "m.pkl").write_bytes(program)
    with pytest.raises(NotACheckpointError):
        open_checkpoint(tmp_path / "m.pkl")
    assert not {name for name in set(sys.modules) - before if name.startswith("antigravity")}
    assert threading.active_count() >= 1


def test_a_joblib_dump_is_named(tmp_path: Path) -> None:
    program = b"\x80\x04cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81."
    (tmp_path / "model.pkl").write_bytes(program)
    with pytest.raises(NotACheckpointError, match="a joblib dump") as caught:
        open_checkpoint(tmp_path / "model.pkl")
    assert caught.value.code == "RA-IN-197"


@pytest.mark.parametrize("file", ["dtensor.pt", "shardedtensor.pt"])
def test_a_distributed_tensor_of_one_process_is_whole(shared: Shared, file: str) -> None:
    with open_checkpoint(shared("cases", "distributed-shards", file)) as checkpoint:
        (spec,) = checkpoint.tensors
        assert (spec.name, spec.shape, spec.unreadable) == ("fc.weight", (64, 48), None)
        assert checkpoint.read("fc.weight").shape == (64, 48)
        assert checkpoint.warnings == ()


def test_a_shard_of_a_distributed_tensor_says_which(tmp_path: Path) -> None:
    (tmp_path / "m.pt").write_bytes((DATA / "dtensor_rank0.pt").read_bytes())
    whole = torch.load(DATA / "whole.pt", weights_only=True)
    with open_checkpoint(tmp_path / "m.pt") as checkpoint:
        reasons = {spec.name: spec.unreadable for spec in checkpoint.tensors}
        assert reasons == {
            "a.weight": "a shard of a distributed tensor (DTensor): 17 x 16 of 33 x 16",
            "b.weight": "a shard of a distributed tensor (DTensor): 12 x 9 of 12 x 18",
            "norm.weight": None,
            "c.weight": None,
        }
        shapes = {spec.name: spec.shape for spec in checkpoint.tensors}
        assert shapes == {name: tuple(tensor.shape) for name, tensor in whole.items()}
        for name in ("norm.weight", "c.weight"):
            assert torch.equal(checkpoint.read(name), whole[name])


class Wrapped:
    """Pickles as a wrapper subclass of a class with a state."""

    def __init__(self, kind: Any, state: Any) -> None:
        self.kind, self.state = kind, state

    def __reduce__(self) -> Any:
        layout = (self.kind, torch.float32, (8, 3), (3, 1), 0, torch.strided, torch.device("cpu"), False)
        arguments = torch._utils._rebuild_wrapper_subclass, self.kind, layout, self.state
        return torch._tensor._rebuild_from_type_v2, arguments


ELSEWHERE = types.ModuleType("elsewhere_for_tests")
Elsewhere = type("DTensor", (), {"__module__": ELSEWHERE.__name__})
ELSEWHERE.DTensor = Elsewhere  # type: ignore[attr-defined]
sys.modules[ELSEWHERE.__name__] = ELSEWHERE


def shards(*offsets: tuple[int, int]) -> Any:
    """Return the state of a ``ShardedTensor`` with 4 x 3 shards at hand."""
    return (
        [
            types.SimpleNamespace(tensor=W, metadata=types.SimpleNamespace(shard_offsets=list(offset)))
            for offset in offsets
        ],
        None,
    )


def local(*placements: Any, tensor: Any = None) -> Any:
    """Return the state of a ``DTensor``."""
    values = torch.ones(8, 3) if tensor is None else tensor
    return (None, {"_local_tensor": values, "_spec": types.SimpleNamespace(placements=placements)})


@pytest.mark.parametrize(
    ("kind", "state", "reason"),
    [
        (DTensor, local(Shard(0)), None),
        (DTensor, local(Replicate()), None),
        (DTensor, local(Partial()), "partial sums of a distributed tensor (DTensor), to be added up"),
        (DTensor, local(Shard(0), tensor=W), "a shard of a distributed tensor (DTensor): 4 x 3 of 8 x 3"),
        (DTensor, (None, {}), "tensor subclass without a storage"),
        (DTensor, None, "tensor subclass without a storage"),
        (Elsewhere, local(Shard(0)), "tensor subclass without a storage"),
        (
            ShardedTensor,
            shards((4, 0)),
            "a shard of a distributed tensor (ShardedTensor): 4 x 3 at 4, 0 of 8 x 3",
        ),
        (
            ShardedTensor,
            shards((0, 0), (4, 0)),
            "a shard of a distributed tensor (ShardedTensor): 4 x 3 at 0, 0 of 8 x 3",
        ),
        (
            ShardedTensor,
            shards(),
            "a shard of a distributed tensor (ShardedTensor) without values here, of 8 x 3",
        ),
        (
            ShardedTensor,
            None,
            "a shard of a distributed tensor (ShardedTensor) without values here, of 8 x 3",
        ),
    ],
)
def test_what_a_wrapper_stands_for(tmp_path: Path, kind: Any, state: Any, reason: str | None) -> None:
    torch.save({"w": Wrapped(kind, state)}, tmp_path / "m.pt")
    with open_checkpoint(tmp_path / "m.pt") as checkpoint:
        (spec,) = checkpoint.tensors
        assert (spec.shape, spec.unreadable) == ((8, 3), reason)
        if reason is None:
            assert torch.equal(checkpoint.read("w"), torch.ones(8, 3))
