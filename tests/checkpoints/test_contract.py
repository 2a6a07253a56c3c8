"""The contract of readers, on ours and on some that break it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from rmtaudit.checkpoints.registry import own_readers
from rmtaudit.matrices.tensors import TensorSpec
from rmtaudit.plugins import Checkpoint, Contents, Reader, ReaderContract

READERS = {reader.name: reader for reader in own_readers()}
DTYPES = ("float32", "float64", "float16", "bfloat16", "int8", "bool")


class TestSafetensors(ReaderContract):
    reader = READERS["safetensors"]
    dtypes = DTYPES

    def write(self, folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
        save_file(tensors, folder / "model.safetensors")
        return folder / "model.safetensors"


class TestTorchZip(ReaderContract):
    reader = READERS["torch-zip"]
    dtypes = DTYPES

    def write(self, folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
        torch.save(tensors, folder / "model.pt")
        return folder / "model.pt"


class TestTorchLegacy(ReaderContract):
    reader = READERS["torch-legacy"]
    dtypes = DTYPES

    def write(self, folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
        torch.save(tensors, folder / "model.pt", _use_new_zipfile_serialization=False)
        return folder / "model.pt"


class Careless(Reader):
    """Knows everything, checks nothing."""

    name = "careless"
    extensions = (".careless",)

    def recognises(self, _: Contents) -> bool:
        return True

    def open(self, path: Path) -> Checkpoint:
        return CarelessCheckpoint(np.load(path))


class CarelessCheckpoint(Checkpoint):
    format, path = "careless", "nowhere"

    def __init__(self, array: np.ndarray) -> None:
        self._values = torch.from_numpy(array)
        self.tensors = (TensorSpec(name="layers.0.weight", shape=tuple(array.shape), dtype="float32"),)

    def read(self, name: str) -> torch.Tensor:
        del name
        return self._values


class _Broken(ReaderContract):
    reader = Careless()
    dtypes = ("float32",)

    def write(self, folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
        np.save(folder / "a.npy", next(iter(tensors.values())).numpy())
        return folder / "a.npy"


@pytest.mark.parametrize(
    ("test", "words"),
    [
        ("test_reads_what_was_written", "own its memory"),
        ("test_an_unknown_name_is_a_key_error", "that does not exist was read"),
        ("test_recognises_its_own_and_nothing_else", "is recognised as careless"),
    ],
)
def test_the_contract_finds_what_is_wrong(test: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=words):
        getattr(_Broken(), test)(tmp_path)


def test_an_exception_of_its_own_is_no_input_error(tmp_path: Path) -> None:
    with pytest.raises((ValueError, EOFError)):
        _Broken().test_a_damaged_file_is_an_input_error(tmp_path)
