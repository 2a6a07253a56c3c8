"""The array on disk: what is kept, what is refused, and what damage does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rmtaudit.engine.kernel.array import Blocks, KernelArray, kept_size
from rmtaudit.errors import RmtauditError

zarr: Any = pytest.importorskip("zarr")

BLOCKS = Blocks(samples=7, outputs=2, size=3)
FACTS = {"network": "one"}


def whole() -> torch.Tensor:
    values = torch.randn(14, 14, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return values + values.T


def filled(folder: Path, count: int | None = None, *, resume: bool = False) -> KernelArray:
    array = KernelArray(folder, BLOCKS, "float64", FACTS, resume=resume)
    values = whole()
    for row, col in list(array.pending())[:count]:
        array.write(row, col, values[BLOCKS.span(row), BLOCKS.span(col)])
    return array


def code_of(folder: Path, **changes: Any) -> str:
    arguments: dict[str, Any] = {
        "blocks": BLOCKS,
        "dtype": "float64",
        "facts": FACTS,
        "resume": True,
        **changes,
    }
    with pytest.raises(RmtauditError) as caught:
        KernelArray(folder, **arguments)
    return caught.value.code


def test_the_blocks() -> None:
    assert (BLOCKS.rows, BLOCKS.count, BLOCKS.total) == (14, 3, 6)
    assert list(BLOCKS.indices(2)) == [6]
    assert BLOCKS.span(1) == slice(6, 12)


def test_a_finished_array_is_the_kernel_and_symmetric(tmp_path: Path) -> None:
    array = filled(tmp_path / "K.zarr")
    array.describe({"kernel": "ntk"})
    array.close()
    stored = zarr.open_array(tmp_path / "K.zarr", mode="r")
    np.testing.assert_array_equal(stored[:], whole().numpy())
    assert stored.attrs["rmtaudit"] == {"kernel": "ntk"}
    assert array.complete
    assert kept_size(tmp_path / "K.zarr") == 3


def test_an_unfinished_array_holds_nothing_that_could_be_mistaken(tmp_path: Path) -> None:
    filled(tmp_path / "K.zarr", 3).close()
    stored = zarr.open_array(tmp_path / "K.zarr", mode="r")[:]
    np.testing.assert_array_equal(stored[:12, :12], whole().numpy()[:12, :12])
    assert np.isnan(stored[12:]).all()
    assert np.isnan(stored[:, 12:]).all()


def test_going_on_keeps_what_is_finished(tmp_path: Path) -> None:
    filled(tmp_path / "K.zarr", 4).close()
    array = filled(tmp_path / "K.zarr", 0, resume=True)
    assert (array.finished, array.damaged) == (4, 0)
    array.close()
    filled(tmp_path / "K.zarr", resume=True).close()
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "K.zarr", mode="r")[:], whole().numpy())


@pytest.mark.parametrize("place", [(0, 0), (6, 1), (1, 6)])
def test_a_damaged_block_and_all_after_it_are_formed_again(tmp_path: Path, place: tuple[int, int]) -> None:
    filled(tmp_path / "K.zarr").close()
    stored = zarr.open_array(tmp_path / "K.zarr", mode="r+")
    stored[place] = 1e9
    array = KernelArray(tmp_path / "K.zarr", BLOCKS, "float64", FACTS, resume=True)
    finished = 0 if place == (0, 0) else 1
    assert (array.finished, array.damaged) == (finished, 6 - finished)
    array.close()


def test_a_line_of_the_journal_that_was_cut_short(tmp_path: Path) -> None:
    filled(tmp_path / "K.zarr").close()
    journal = tmp_path / "K.zarr" / "forming" / "journal"
    journal.write_bytes(journal.read_bytes()[:-9])
    array = KernelArray(tmp_path / "K.zarr", BLOCKS, "float64", FACTS, resume=True)
    assert array.finished == 5
    array.close()


def test_cutting_and_going_on(tmp_path: Path) -> None:
    array = filled(tmp_path / "K.zarr", 3)
    array.cut(12)
    array.close()
    stored = zarr.open_array(tmp_path / "K.zarr", mode="r")
    np.testing.assert_array_equal(stored[:], whole().numpy()[:12, :12])
    filled(tmp_path / "K.zarr", resume=True).close()
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "K.zarr", mode="r")[:], whole().numpy())


def test_what_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "K.zarr"
    array = filled(folder, 2)
    assert code_of(folder, resume=False) == "RA-KN-010"
    assert code_of(folder) == "RA-KN-011"
    array.close()
    assert code_of(folder, facts={"network": "other"}) == "RA-KN-012"
    assert code_of(folder, blocks=Blocks(samples=7, outputs=2, size=4)) == "RA-KN-012"
    manifest = folder / "forming" / "manifest.json"
    manifest.write_text(json.dumps({"schema": "another"}))
    assert code_of(folder) == "RA-KN-012"
    huge = Blocks(samples=10**9, outputs=1, size=10)
    assert code_of(tmp_path / "huge.zarr", blocks=huge, resume=False) == "RA-KN-013"
    (tmp_path / "file").write_text("")
    assert code_of(tmp_path / "file", resume=False) == "RA-KN-010"
