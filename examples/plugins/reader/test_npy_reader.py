"""The contract, for files and for folders of them, and what is special here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from npy_reader import NpyReader

from rmtaudit.errors import UnsafeError
from rmtaudit.plugins import Contents, ReaderContract


class TestFolder(ReaderContract):
    """A folder of `.npy` files, a tensor each."""

    reader = NpyReader()
    dtypes = ("float16", "float32", "float64", "int8", "int64", "bool")

    def write(self, folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
        """Write one file for each tensor."""
        for name, tensor in tensors.items():
            np.save(folder / f"{name}.npy", tensor.numpy())
        return folder

    def test_a_folder_is_recognised_by_its_files(self) -> None:
        """Other files beside them do not matter."""
        assert self.reader.recognises(Contents(names=("a.npy", "readme.txt"), folder=True))
        assert not self.reader.recognises(Contents(names=("readme.txt",), folder=True))

    def test_a_link_out_of_the_folder_is_refused(self, tmp_path: Path) -> None:
        """A checkpoint may not name files of the rest of the machine."""
        (tmp_path / "model").mkdir()
        np.save(tmp_path / "secret.npy", np.ones(3))
        (tmp_path / "model" / "a.npy").symlink_to(tmp_path / "secret.npy")
        with pytest.raises(UnsafeError, match="leaves the folder"):
            self.reader.open(tmp_path / "model")


class TestFile(ReaderContract):
    """One file alone: one tensor, in either memory order."""

    reader = NpyReader()
    dtypes = ("float32",)

    def write(self, folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
        """Write the one tensor."""
        ((name, tensor),) = tensors.items()
        path = folder / f"{name}.npy"
        np.save(path, np.asfortranarray(tensor.numpy()))
        return path
