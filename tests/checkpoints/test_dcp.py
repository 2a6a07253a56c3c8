"""Folders of ``torch.distributed.checkpoint``, against torch's own reader."""

from __future__ import annotations

import json
import pickle
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save
from torch.distributed.checkpoint.state_dict_saver import save as save_distributed

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.checkpoints.registry import own_readers
from rmtaudit.errors import ChangedError, CorruptError, NotACheckpointError
from rmtaudit.matrices.plan import plan_layers
from rmtaudit.plugins import ReaderContract

DATA = Path(__file__).parents[1] / "data" / "dcp"
WHOLE = torch.load(DATA / "whole.pt", weights_only=True)


def save(state: dict[str, Any], folder: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is only one process
        save_distributed(state, checkpoint_id=folder)
    return folder


class TestContract(ReaderContract):
    reader = next(reader for reader in own_readers() if reader.name == "torch-dcp")
    dtypes = ("float32", "float64", "float16", "bfloat16", "int8", "bool")

    def write(self, folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
        return save(dict(tensors), folder / "checkpoint")


@pytest.mark.parametrize("folder", ["two_ranks", "two_ranks_hub"])
def test_chunks_of_two_processes_make_the_tensors(folder: str) -> None:
    with open_checkpoint(DATA / folder) as checkpoint:
        assert {spec.name: spec.shape for spec in checkpoint.tensors} == {
            name: tuple(tensor.shape) for name, tensor in WHOLE.items()
        }
        for name, tensor in WHOLE.items():
            assert checkpoint.read(name).dtype == tensor.dtype
            assert torch.equal(checkpoint.read(name), tensor)
            for start, stop in ((0, 1), (2, 9), (0, len(tensor)), (len(tensor) - 1, len(tensor))):
                assert torch.equal(checkpoint.read_band(name, start, stop), tensor[start:stop])


def test_the_same_as_torch_reads(tmp_path: Path) -> None:
    dcp_to_torch_save(DATA / "two_ranks", tmp_path / "torch.pt")
    expected = torch.load(tmp_path / "torch.pt", weights_only=False)["model"]
    with open_checkpoint(DATA / "two_ranks") as checkpoint:
        assert [spec.name for spec in checkpoint.tensors] == list(expected)
        assert all(torch.equal(checkpoint.read(name), value) for name, value in expected.items())


def test_the_optimizer_is_left_out_and_named() -> None:
    with open_checkpoint(DATA / "two_ranks") as checkpoint:
        assert checkpoint.warnings == (
            "2 tensors of optimizer or trainer state were ignored (optimizer)",
            "1 pickled objects that are not tensors were not read",
        )


def test_a_flat_state_without_wrappers(tmp_path: Path) -> None:
    state: dict[str, Any] = {
        "fc.weight": torch.randn(8, 4),
        "optimizer.state.0.exp_avg": torch.randn(8, 4),
        "n": 3,
    }
    with open_checkpoint(save(state, tmp_path / "flat")) as checkpoint:
        assert [spec.name for spec in checkpoint.tensors] == ["fc.weight"]
        assert torch.equal(checkpoint.read("fc.weight"), state["fc.weight"])


def test_scalars_and_empty_tensors(tmp_path: Path) -> None:
    state = {"scale": torch.tensor(2.5), "none": torch.empty(0, 4), "w": torch.ones(2, 3)}
    with open_checkpoint(save(state, tmp_path / "odd")) as checkpoint:
        assert checkpoint.read("scale").item() == 2.5
        assert checkpoint.read("none").shape == (0, 4)


def test_opening_imports_no_torch_and_runs_nothing() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from rmtaudit.checkpoints import open_checkpoint; "
        f"c = open_checkpoint({str(DATA / 'two_ranks')!r}); assert 'torch' not in sys.modules; c.close()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_file_of_the_folder_is_no_checkpoint_of_its_own() -> None:
    for name in ("two_ranks/.metadata", "two_ranks/__0_0.distcp"):
        with pytest.raises(NotACheckpointError, match="distributed checkpoint") as caught:
            open_checkpoint(DATA / name)
        assert (caught.value.code, caught.value.hint[:15]) == ("RA-IN-194", "Give the folder")
    shard = next((DATA / "two_ranks_hub").iterdir())
    with pytest.raises(NotACheckpointError, match="a shard of a distributed checkpoint") as caught:
        open_checkpoint(shard)
    assert caught.value.code == "RA-IN-194"


def test_a_change_is_noticed(tmp_path: Path) -> None:
    folder = shutil.copytree(DATA / "two_ranks", tmp_path / "c")
    checkpoint = open_checkpoint(folder)
    with (folder / "__0_0.distcp").open("ab") as file:
        file.write(b"more")
    with pytest.raises(ChangedError):
        checkpoint.read("a.weight")
    with pytest.raises(ChangedError):
        checkpoint.close()


def test_shards_that_are_missing(tmp_path: Path) -> None:
    folder = shutil.copytree(DATA / "two_ranks", tmp_path / "c")
    (folder / "__1_0.distcp").unlink()
    with pytest.raises(CorruptError, match=r"1 of 2 shards are missing: __1_0\.distcp"):
        open_checkpoint(folder)
    folder = shutil.copytree(DATA / "two_ranks_hub", tmp_path / "h")
    next(folder.glob("shard-00001-*")).unlink()
    with pytest.raises(CorruptError, match="1 of at least 2 shards are missing: number 1"):
        open_checkpoint(folder)


def test_the_number_of_hub_shards_is_not_known(tmp_path: Path) -> None:
    folder = shutil.copytree(DATA / "two_ranks_hub", tmp_path / "h")
    with open_checkpoint(folder) as checkpoint:
        assert "the format does not say if there are more" in checkpoint.warnings[0]


@pytest.mark.parametrize(
    ("offsets", "words"),
    [((0, 0), "overlap"), ((40, 0), "a part is missing"), ((33, 1), "a part is missing")],
)
def test_hub_shards_that_do_not_fit(tmp_path: Path, offsets: tuple[int, int], words: str) -> None:
    for number, first in ((1, (0, 0)), (2, offsets)):
        info = json.dumps({"w": {"saved_offsets": list(first)}})
        save_file(
            {"w": torch.ones(33, 4)},
            tmp_path / f"shard-0000{number}-model-00001-of-00001.safetensors",
            metadata={"DCP_SHARDING_INFO": info, "DCP_VERSION": "1.0"},
        )
    with pytest.raises(CorruptError, match=words) as caught:
        open_checkpoint(tmp_path)
    assert caught.value.code == "RA-IN-193"


def test_layers_that_megatron_stacks_are_told_apart(tmp_path: Path) -> None:
    state = {
        "decoder.layers.mlp.linear_fc1.weight": torch.randn(3, 48, 32),
        "decoder.layers.mlp.linear_fc1.layer_norm_weight": torch.randn(3, 32),
        "embedding.word_embeddings.weight": torch.randn(64, 32),
    }
    folder = save(state, tmp_path / "megatron")
    metadata = pickle.loads((folder / ".metadata").read_bytes())
    metadata.mcore_data = {}
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))
    with open_checkpoint(folder) as checkpoint:
        plan = plan_layers(checkpoint.tensors)
        assert [(layer.shape, layer.matrices) for layer in plan.layers] == [
            ((48, 32), 1),
            ((48, 32), 1),
            ((48, 32), 1),
            ((64, 32), 1),
        ]
        assert [row.reason for row in plan.skipped] == ["vectors of all layers (bias, norm), stacked"]


@pytest.mark.parametrize("folder", ["two_ranks", "two_ranks_hub"])
def test_a_whole_model_beside_the_shards_comes_first(tmp_path: Path, folder: str) -> None:
    path = shutil.copytree(DATA / folder, tmp_path / "c")
    save_file({"w": torch.ones(4, 4)}, path / "model.safetensors")
    with open_checkpoint(path) as checkpoint:
        assert (checkpoint.format, [spec.name for spec in checkpoint.tensors]) == ("safetensors", ["w"])


def test_the_folder_inside_is_named(tmp_path: Path) -> None:
    shutil.copytree(DATA / "two_ranks", tmp_path / "pytorch_model_fsdp_0")
    with pytest.raises(NotACheckpointError) as caught:
        open_checkpoint(tmp_path)
    assert caught.value.hint == "Give one of its folders: pytorch_model_fsdp_0."
