"""The test that every reader must pass, shipped for those who write one.

In a test module of the plugin (pytest collects the inherited tests)::

    from rmtaudit.plugins import ReaderContract

    class TestMine(ReaderContract):
        reader = MyReader()

        def write(self, folder, tensors):
            path = folder / "weights.mine"
            ...
            return path
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from pathlib import Path

import torch

from rmtaudit.checkpoints.base import Reader
from rmtaudit.checkpoints.registry import contents_of, own_readers
from rmtaudit.errors import InputError
from rmtaudit.matrices.tensors import ITEMSIZE

_CUTS = 24
"""Places at which a file is cut short."""
_FLIPS = 64
"""Files with one byte changed."""
_STRANGERS = {
    "empty": b"",
    "zeros": bytes(4096),
    "text": b"A text that is no checkpoint.\n" * 40,
    "safetensors": (2).to_bytes(8, "little") + b"{}",
    "torch before 1.6": b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.",
    "pickle": b"\x80\x04}\x94.",
    "page": b"<!DOCTYPE html><html>404</html>",
    "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
}


class ReaderContract(ABC):
    """What rmtaudit relies on, as tests. Set :attr:`reader`, and write a checkpoint of its format.

    Attributes
    ----------
    reader
        The reader.
    dtypes
        torch's names of the dtypes that the format can hold.
    """

    reader: Reader
    dtypes: tuple[str, ...] = ("float32", "float64")

    @abstractmethod
    def write(self, folder: Path, tensors: dict[str, torch.Tensor]) -> Path:
        """Write tensors as a checkpoint of the format into an empty folder, and return its path.

        The path is that of a file, or the folder itself where the format is a folder of files.
        """

    def test_declares_a_format(self) -> None:
        """The format has a name, and endings with dots, in lower case."""
        assert self.reader.name, "a reader needs a name"
        for ending in (*self.reader.extensions, *self.reader.other_extensions):
            assert ending.startswith("."), f"the ending {ending!r} does not begin with a dot"
            assert ending == ending.lower(), f"the ending {ending!r} is not in lower case"
        taken = {ending for own in own_readers() for ending in own.extensions if own.name != self.reader.name}
        shared = taken & set(self.reader.extensions)
        assert not shared or type(self.reader).__module__.startswith("rmtaudit."), (
            f"{shared} are in use already"
        )

    def test_reads_what_was_written(self, tmp_path: Path) -> None:
        """Names, shapes, dtypes and values are those that were written, in memory of their own."""
        tensors = self.tensors()
        with self.reader.open(self.write(tmp_path, tensors)) as checkpoint:
            specs = {spec.name: spec for spec in checkpoint.tensors}
            assert set(specs) == set(tensors)
            assert len(specs) == len(checkpoint.tensors), "a name occurs twice"
            assert checkpoint.format, "a checkpoint names its format"
            for name, tensor in tensors.items():
                dtype = str(tensor.dtype).removeprefix("torch.")
                assert (specs[name].shape, specs[name].dtype) == (tuple(tensor.shape), dtype), name
                assert specs[name].dtype in ITEMSIZE
                values = checkpoint.read(name)
                assert values.is_contiguous(), name
                assert torch.equal(values, tensor), name
                values.zero_()
                assert torch.equal(checkpoint.read(name), tensor), f"{name} does not own its memory"

    def test_reads_bands(self, tmp_path: Path) -> None:
        """A range of the first side is that of the whole."""
        tensors = self.tensors()
        with self.reader.open(self.write(tmp_path, tensors)) as checkpoint:
            for name, tensor in tensors.items():
                assert torch.equal(checkpoint.read_band(name, 1, 3), tensor[1:3]), name

    def test_an_unknown_name_is_a_key_error(self, tmp_path: Path) -> None:
        """``KeyError``, and nothing else."""
        with self.reader.open(self.write(tmp_path, self.tensors())) as checkpoint:
            try:
                checkpoint.read("no such tensor")
            except KeyError:
                return
        raise AssertionError("a tensor that does not exist was read")

    def test_threads_may_read_at_once(self, tmp_path: Path) -> None:
        """Threads share the checkpoint: together they get what one gets alone."""
        tensors = self.tensors()
        problems: list[str] = []
        with self.reader.open(self.write(tmp_path, tensors)) as checkpoint:

            def work() -> None:
                for name, tensor in tensors.items():
                    if not torch.equal(checkpoint.read(name), tensor):
                        problems.append(name)

            threads = [threading.Thread(target=work) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert not problems

    def test_closing_twice_is_no_error(self, tmp_path: Path) -> None:
        """``close`` is idempotent."""
        checkpoint = self.reader.open(self.write(tmp_path, self.tensors()))
        checkpoint.close()
        checkpoint.close()

    def test_recognises_its_own_and_nothing_else(self, tmp_path: Path) -> None:
        """Its file is known by its contents, whatever its name; those of others are not."""
        (tmp_path / "own").mkdir()
        path = self.write(tmp_path / "own", self.tensors())
        if path.is_file():
            renamed = path.rename(path.with_name("renamed"))
            contents, _ = contents_of(renamed)
            assert self.reader.recognises(contents)
        for name, data in _STRANGERS.items():
            stranger = tmp_path / "stranger"
            stranger.write_bytes(data)
            contents, _ = contents_of(stranger)
            known = next((own.name for own in own_readers() if own.recognises(contents)), None)
            if known != self.reader.name:
                assert not self.reader.recognises(contents), f"{name} is recognised as {self.reader.name}"

    def test_a_damaged_file_is_an_input_error(self, tmp_path: Path) -> None:
        """A file cut short, or with a byte changed, is opened and read, or refused with an ``InputError``."""
        path = self.write(tmp_path, self.tensors())
        files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
        for file in files[:2]:
            data = file.read_bytes()
            cuts = [data[: len(data) * part // _CUTS] for part in range(_CUTS)]
            flips = []
            for flip in range(_FLIPS):
                changed = bytearray(data)
                changed[flip * min(len(data), 512) // _FLIPS] ^= 0xFF
                flips.append(bytes(changed))
            for damaged in (*cuts, *flips):
                file.write_bytes(damaged)
                self._try(path)
            file.write_bytes(data)

    def _try(self, path: Path) -> None:
        try:
            with self.reader.open(path) as checkpoint:
                for spec in checkpoint.tensors:
                    if spec.unreadable is None:
                        checkpoint.read(spec.name)
        except InputError:
            return

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the tensors that are written: matrices of every dtype, with names as models have them."""
        generator = torch.Generator().manual_seed(20240917)
        found = {}
        for index, dtype in enumerate(self.dtypes):
            values = 8 * torch.randn(6 + index, 5, generator=generator)
            found[f"layers.{index}.weight"] = values.to(getattr(torch, dtype))
        return found
