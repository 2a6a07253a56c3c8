"""The factorisation by tiles: exact, within its memory, and gone on with after whatever ended it."""

from __future__ import annotations

import errno
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rmtaudit.engine.logdet import journal as journal_module
from rmtaudit.engine.logdet.cholesky import StoppedError, TileCholesky
from rmtaudit.engine.logdet.scratch import Scratch
from rmtaudit.engine.logdet.tiling import Tiling, least_memory, tiling_for
from rmtaudit.errors import OutputError, UsageError
from rmtaudit.matrices.sources import MaternMatrix, Shifted, TensorSource


def _source(n: int, seed: int = 0) -> Shifted:
    points = torch.rand(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Shifted(MaternMatrix(points, nu=1.5, length=0.1), 1e-3)


def _run(folder: Path, n: int, tiling: Tiling, *, resume: bool = False, **given: object) -> TileCholesky:
    source = _source(n)
    scratch = None if tiling.in_core else Scratch(folder / "s", tiling, source.fingerprint(), resume=resume)
    work = TileCholesky(source=source, tiling=tiling, scratch=scratch, **given)  # type: ignore[arg-type]
    try:
        for _ in work.rows():
            pass
    finally:
        if scratch is not None:
            scratch.close()
    return work


@pytest.mark.parametrize(
    "tiling",
    [
        Tiling(300, 300, 300),
        Tiling(300, 128, 64),
        Tiling(300, 64, 64),
        Tiling(300, 100, 20),
        Tiling(257, 64, 32),
    ],
)
def test_every_minor_and_the_inverse_agree_with_the_dense_answer(tiling: Tiling, tmp_path: Path) -> None:
    found = _run(tmp_path, tiling.n, tiling).result
    dense = _source(tiling.n).dense()
    L = torch.linalg.cholesky(dense)
    torch.testing.assert_close(found.minors, 2 * L.diagonal().log().cumsum(0), rtol=1e-12, atol=1e-12)
    assert found.done == tiling.n
    assert found.failed is None
    torch.testing.assert_close(found.scale, dense.diagonal())
    root = dense.diagonal().sqrt()
    inverse = torch.linalg.inv(dense / root[:, None] / root[None])
    exact = float(inverse.trace())
    assert found.inverse_trace[0] == pytest.approx(exact, rel=0.5)  # eight probes
    assert found.inverse_norm == pytest.approx(float(torch.linalg.matrix_norm(inverse)), rel=0.5)
    whole = _run(tmp_path, tiling.n, Tiling(tiling.n, tiling.n, tiling.n)).result
    assert found.inverse_trace[0] == pytest.approx(whole.inverse_trace[0], rel=1e-9)


@pytest.mark.parametrize("minor", [1, 65, 128, 200])
@pytest.mark.parametrize("side", [64, 256])
def test_the_first_minor_that_is_not_positive_is_named(minor: int, side: int, tmp_path: Path) -> None:
    n = 256
    dense = _source(n).dense()
    before = dense[: minor - 1, : minor - 1]
    row = dense[minor - 1, : minor - 1]
    dense[minor - 1, minor - 1] = row @ torch.linalg.solve(before, row) - 0.25
    source = TensorSource(dense, symmetric=True)
    tiling = Tiling(n, side, min(side, 32))
    scratch = None if tiling.in_core else Scratch(tmp_path / "s", tiling, "x", resume=False)
    work = TileCholesky(source=source, tiling=tiling, scratch=scratch)
    assert list(work.rows()) == [stop for stop in range(side, n + 1, side) if stop < minor]
    if scratch is not None:
        scratch.remove()
    assert work.result.failed == minor
    assert work.result.pivot == pytest.approx(-0.25, abs=1e-9)
    assert work.result.done == minor - 1
    wanted = torch.linalg.slogdet(before)[1] if minor > 1 else 0.0
    assert float(work.result.minors.sum() if minor == 1 else work.result.minors[-1]) == pytest.approx(
        float(wanted), abs=1e-9
    )


@pytest.mark.parametrize(
    ("n", "memory"), [(1000, 2_300_000), (5000, 10**7), (8192, 8_400_000), (50_000, 10**9), (300, 10**7)]
)
def test_a_tiling_keeps_to_the_memory(n: int, memory: int) -> None:
    tiling = tiling_for(n, memory, threads=2)
    assert tiling.working_bytes(2) <= memory
    assert tiling.in_core or tiling.side % tiling.strip == 0
    spans = [tiling.span(row) for row in range(tiling.rows)]
    assert sum(len(span) for span in spans) == n
    rows = [tiling.row_bytes(row) for row in range(tiling.rows)]
    for row, place in enumerate(rows):
        last = tiling.strips(row)[-1]
        end = tiling.offset(row, last) + 8 * len(spans[row]) * tiling.width(last)
        assert end == 8 * len(spans[row]) * spans[row].stop <= len(place)
    assert all(a.stop == b.start for a, b in itertools.pairwise(rows))
    with pytest.raises(ValueError, match="does not fit into"):
        tiling_for(n, least_memory(n, 2) - 4_000, threads=2)


@given(st.integers(1, 100_000), st.floats(1, 1e4), st.integers(1, 64))
def test_no_tiling_exceeds_its_memory(n: int, times: float, threads: int) -> None:
    memory = int(times * least_memory(n, threads))
    tiling = tiling_for(n, memory, threads)
    assert tiling.working_bytes(threads) <= memory
    assert tiling.in_core or (tiling.side < n and tiling.side % tiling.strip == 0)


TILING = Tiling(384, 64, 32)  # 21 tiles


def test_going_on_gives_the_same_bits_and_repeats_nothing(tmp_path: Path) -> None:
    whole = _run(tmp_path, 384, TILING).result
    for stop_after in (0, 1, 7, 19):  # after 20, before the last of the 21
        done: list[int] = []
        with pytest.raises(StoppedError):
            _run(
                tmp_path,
                384,
                TILING,
                progress=done.append,
                stop=lambda done=done, k=stop_after: len(done) > k,
            )
        again: list[int] = []
        found = _run(tmp_path, 384, TILING, resume=True, progress=again.append).result
        assert found.resumed == len(done)
        assert again == list(range(len(done) + 1, 22))
        assert torch.equal(found.diagonal, whole.diagonal)
        assert found.inverse_trace[0] == pytest.approx(whole.inverse_trace[0], rel=1e-12)


@pytest.mark.parametrize("tile", [0, 5, 20])
def test_a_damaged_tile_is_found_and_computed_again(tile: int, tmp_path: Path) -> None:
    whole = _run(tmp_path, 384, TILING).result
    row, col = list(journal_module.order(6))[tile]
    offset = TILING.row_bytes(row).start + TILING.offset(row, TILING.strips(col).start)
    with (tmp_path / "s" / "factor.bin").open("r+b") as file:
        file.seek(offset + 100)
        byte = file.read(1)
        file.seek(offset + 100)
        file.write(bytes([byte[0] ^ 1]))
    found = _run(tmp_path, 384, TILING, resume=True).result
    assert (found.resumed, found.damaged) == (tile, 21 - tile)
    assert torch.equal(found.diagonal, whole.diagonal)


@pytest.mark.parametrize("cut", [b"", b"3 1 0", b"garbage\n", b"\n\n", b"1 1 00000000 00000000\n"])
def test_a_journal_that_was_cut_short_is_believed_as_far_as_it_goes(cut: bytes, tmp_path: Path) -> None:
    whole = _run(tmp_path, 384, TILING).result
    journal = tmp_path / "s" / "journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:8]) + cut)
    os.truncate(tmp_path / "s" / "factor.bin", TILING.row_bytes(3).stop)
    found = _run(tmp_path, 384, TILING, resume=True).result
    assert found.resumed == 8
    assert torch.equal(found.diagonal, whole.diagonal)


@pytest.mark.parametrize("writes", [1, 4, 11])
def test_a_full_disk_is_an_error_that_can_be_gone_on_from(
    writes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _run(tmp_path, 384, TILING).result
    left = [writes]

    def full(descriptor: int, data: memoryview, offset: int) -> int:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data[: max(1, len(data) // 2)], offset)  # and short writes before that

    real = os.pwrite
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(OutputError, match="The disk is full") as caught:
            _run(tmp_path, 384, TILING)
    assert "--resume" in caught.value.hint
    found = _run(tmp_path, 384, TILING, resume=True).result
    assert torch.equal(found.diagonal, whole.diagonal)


def test_a_limit_on_the_size_of_files_is_a_full_disk(tmp_path: Path) -> None:
    code = f"""
import resource, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))
from pathlib import Path
from test_cholesky import TILING, _run
_run(Path({str(tmp_path)!r}), 384, TILING)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "RA-LD-013" in ended.stderr
    assert "The disk is full" in ended.stderr
    assert 0 < len((tmp_path / "s" / "journal").read_bytes().splitlines()) < 21
    found = _run(tmp_path, 384, TILING, resume=True).result
    assert found.resumed > 0
    assert torch.equal(found.diagonal, _run(tmp_path, 384, Tiling(384, 64, 32)).result.diagonal)


def test_scratch_of_something_else_is_refused(tmp_path: Path) -> None:
    _run(tmp_path, 384, TILING)
    with pytest.raises(UsageError, match="RA-LD-012"):
        Scratch(tmp_path / "s", TILING, "another matrix", resume=True)
    with pytest.raises(UsageError, match="RA-LD-012"):
        Scratch(tmp_path / "s", Tiling(384, 128, 32), _source(384).fingerprint(), resume=True)
    (tmp_path / "s" / "precious.txt").write_text("mine")
    with pytest.raises(UsageError, match="RA-LD-010"):
        Scratch(tmp_path / "s", TILING, "x", resume=False)
    assert (tmp_path / "s" / "precious.txt").read_text() == "mine"


def test_two_processes_do_not_share_a_folder(tmp_path: Path) -> None:
    first = Scratch(tmp_path / "s", TILING, "x", resume=False)
    with pytest.raises(UsageError, match="RA-LD-011"):
        Scratch(tmp_path / "s", TILING, "x", resume=False)
    first.remove()
    assert not (tmp_path / "s").exists()


def test_more_scratch_than_the_disk_has_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="of scratch"):
        Scratch(tmp_path / "s", Tiling(40_000_000, 65_536, 256), "x", resume=False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="without CUDA there is nothing to skip")
def test_cuda_is_not_tested_here() -> None:
    pytest.skip("no CUDA device on this machine")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_tiles_on_a_gpu_agree(tmp_path: Path) -> None:
    found = _run(tmp_path, 384, TILING, device=torch.device("cuda")).result
    torch.testing.assert_close(found.diagonal, _run(tmp_path, 384, TILING).result.diagonal)


def _kill_at_random(
    folder: Path, n: int, tiling: str, times: int, seed: int
) -> tuple[list[int], torch.Tensor]:
    """Kill a child at random moments; return the tiles it had each time, and the diagonal in the end."""
    code = f"""
import sys, numpy as np
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_cholesky import Tiling, _run
work = _run(Path({str(folder)!r}), {n}, {tiling}, resume=True, progress=lambda k: print(k, flush=True))
np.save({str(folder / "diagonal.npy")!r}, work.result.diagonal.numpy())
"""
    environment = dict(os.environ, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
    chance = random.Random(seed)
    kept: list[int] = []
    for _ in range(times):
        with subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment
        ) as child:
            assert child.stdout is not None
            said = [int(child.stdout.readline() or -1)]  # the first tile of this run: it is at work
            time.sleep(chance.uniform(0, 0.25))
            child.send_signal(signal.SIGKILL)
            said += [int(line) for line in child.stdout.read().split()]
        written = len((folder / "s" / "journal").read_bytes().splitlines())
        assert said[-1] <= written <= said[-1] + 1  # what was said to be finished is kept
        assert kept == [] or said[0] == kept[-1] + 1  # and nothing finished was done again
        kept.append(written)
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, env=environment)
    return kept, torch.from_numpy(np.load(folder / "diagonal.npy"))


def test_sigkill_loses_less_than_one_tile(tmp_path: Path) -> None:
    tiling = Tiling(1280, 64, 32)  # 210 tiles
    kept, diagonal = _kill_at_random(tmp_path, 1280, "Tiling(1280, 64, 32)", 2, seed=1)
    assert kept == sorted(kept)
    (tmp_path / "whole").mkdir()
    assert torch.equal(diagonal, _run(tmp_path / "whole", 1280, tiling).result.diagonal)


@pytest.mark.slow
def test_sigkill_at_ten_moments(tmp_path: Path) -> None:
    tiling = Tiling(4096, 128, 64)  # 528 tiles
    kept, diagonal = _kill_at_random(tmp_path, 4096, "Tiling(4096, 128, 64)", 10, seed=2)
    assert kept == sorted(kept)
    (tmp_path / "whole").mkdir()
    assert torch.equal(diagonal, _run(tmp_path / "whole", 4096, tiling).result.diagonal)
