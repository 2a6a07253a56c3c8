"""Forming a kernel within two blocks of samples, however many there are."""

from __future__ import annotations

import gc
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from rmtaudit.engine.kernel import spill
from rmtaudit.engine.kernel.features import Features, Forming
from rmtaudit.engine.kernel.run import Formation, kernel_of, open_formation
from rmtaudit.engine.kernel.settings import KernelSettings
from rmtaudit.engine.networks.network import Network, Origin, TokenFacts
from rmtaudit.engine.networks.samples import Samples
from rmtaudit.kernels.ntk import Rows

zarr: Any = pytest.importorskip("zarr")


class Tied(nn.Module):
    """A table that is also the last linear map, and a norm: pieces of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.middle, self.norm = nn.Embedding(7, 6), nn.Linear(6, 6), nn.LayerNorm(6)
        self.recurrent = nn.GRU(6, 6, batch_first=True)
        self.head = nn.Linear(6, 7, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.tanh(self.middle(self.norm(self.embed(x))))
        return self.head(self.recurrent(hidden)[0]).mean(1)


def formation_of(folder: Path, count: int, size: int = 4, **more: Any) -> Formation:
    torch.manual_seed(0)
    network = Network(
        module=Tied().double().eval(),
        name="net",
        origin=Origin.FACTORY,
        dtype=torch.float64,
        device=torch.device("cpu"),
        main_input="",
        keywords=None,
        tokens=TokenFacts(vocabulary=7, longest=None, pad=0, encode=None),
    )
    values = torch.randint(0, 7, (count, 5), generator=torch.Generator().manual_seed(1))
    samples = Samples(
        name="data", count=count, arrays={"": values}, tokens=None, labels=None, truncated=0, digest=""
    )
    settings = KernelSettings(block=size, **more)
    return open_formation(kernel_of(network, samples, settings, folder), folder)


def entries(folder: Path) -> torch.Tensor:
    return torch.from_numpy(zarr.open_array(str(folder), mode="r")[:])


def live_bytes() -> int:
    storages = {}
    for each in gc.get_objects():
        if issubclass(type(each), torch.Tensor):  # without asking the object, which may warn
            storage = each.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def largest(folder: Path, count: int, *, size: int = 4) -> int:
    """Return the most that the tensors take at the end of a block of the last row, beyond the samples."""
    formation = formation_of(folder, count, size)
    gc.collect()
    before, seen = live_bytes(), [0]

    def note(done: int, total: int) -> None:
        if total - done < min(4, formation.kernel.blocks.count):
            seen.append(live_bytes() - before)

    formation.progress = note
    formation.form()
    formation.close()
    return max(seen)


@pytest.mark.parametrize("share", [4, 1 << 60])
def test_memory_does_not_grow_with_the_samples(
    share: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spill, "_SHARE", share)
    once, more = largest(tmp_path / "a", 16), largest(tmp_path / "b", 64)
    assert once > 50_000  # two blocks
    assert more == pytest.approx(once, rel=0.1)


def test_features_wait_on_disk_and_are_made_once(tmp_path: Path) -> None:
    formation = formation_of(tmp_path / "K", 22)
    seen: list[int] = []
    formation.progress = lambda _done, _total: seen.append(len(list(formation.array.spill.glob("*"))))
    formation.form()
    assert formation.made == 6
    assert max(seen) == 5  # the last block is of the last row alone
    assert not formation.array.spill.exists()
    formation.close()
    whole = formation_of(tmp_path / "L", 22, 22)
    whole.form()
    whole.close()
    torch.testing.assert_close(entries(tmp_path / "K"), entries(tmp_path / "L"))


def test_features_survive_the_disk(tmp_path: Path) -> None:
    formation = formation_of(tmp_path / "K", 12)
    made = formation.kernel.maker.features(range(4))
    kinds = {type(piece).__name__ for each in made.pieces.values() for piece in each}
    assert kinds == {"Factors", "Lookup", "Rows"}
    formation.spill.write(0, made)
    read = formation.spill.read(0)
    assert read is not None
    torch.testing.assert_close(read.products(read), made.products(made), rtol=1e-13, atol=1e-13)
    assert formation.spill.read(1) is None
    formation.close()
    assert formation.spill.read(0) is None


def test_a_disk_without_space_costs_time_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise RuntimeError("PytorchStreamWriter failed writing file")

    formation = formation_of(tmp_path / "K", 12)
    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", full)
        formation.form()
    formation.close()
    assert formation.made == 3 + 2  # the first and the second block again, for the third row
    small = formation_of(tmp_path / "L", 12)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    small.form()
    small.close()
    assert small.made == 5
    torch.testing.assert_close(entries(tmp_path / "K"), entries(tmp_path / "L"))


def test_what_a_kill_leaves_is_removed(tmp_path: Path) -> None:
    formation = formation_of(tmp_path / "K", 12)
    formation.stop = lambda: formation.array.finished == 3
    with pytest.raises(Exception, match="3 of 6 blocks"):
        formation.form()
    left = formation.array.spill
    formation.array.close()  # as a kill does: what lies on disk stays
    assert any(left.iterdir())
    again = formation_of(tmp_path / "K", 12, resume=True)
    assert not left.exists()
    again.form()
    again.close()
    assert not left.exists()
    direct = formation_of(tmp_path / "L", 12, 12)
    direct.form()
    direct.close()
    torch.testing.assert_close(entries(tmp_path / "K"), entries(tmp_path / "L"))


def test_few_numbers_are_held_side_by_side_and_many_alone(tmp_path: Path) -> None:
    formation = formation_of(tmp_path / "K", 4)
    maker = formation.kernel.maker
    assert isinstance(maker, Forming)
    made: Features = maker.features(range(4))
    alone = {name for name, pieces in made.pieces.items() if isinstance(pieces[0], Rows)}
    small = {each.name for each in maker.routes.parameters if each.name not in made.pieces}
    assert "norm.weight" in small
    assert all(name.startswith("recurrent") for name in alone)
    formation.close()
