"""The door to exact log-determinants: what it answers, what it refuses, and how it ends."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rmtaudit.engine.logdet.answer import LogDeterminant, Outcome, Refusal
from rmtaudit.engine.logdet.estimated import by_mixed
from rmtaudit.engine.logdet.exact import Resources, exact_bytes, exact_logdet
from rmtaudit.engine.logdet.run import log_determinant
from rmtaudit.engine.logdet.settings import LogdetSettings, Method, Place
from rmtaudit.engine.logdet.spectral import by_eigenvalues, split_eigenvalues
from rmtaudit.engine.logdet.target import facts_of
from rmtaudit.engine.logdet.tiling import least_memory
from rmtaudit.engine.resources.threads import until_signalled
from rmtaudit.errors import InputError, StoppedWorkError, UsageError
from rmtaudit.matrices.sources import Gram, MaternMatrix, MatrixSource, Shifted, TensorSource

PLENTY = 10**9
N = 700
TILES = least_memory(N) + 100_000


def exact(
    source: MatrixSource,
    *,
    method: Method = Method.CHOLESKY,
    shift: float = 0.0,
    enough: Callable[[torch.Tensor], bool] | None = None,
    memory: int = PLENTY,
    **resources: Any,
) -> Outcome:
    given = Resources(memory=memory, **resources)
    return exact_logdet(source, given, method=method, shift=shift, enough=enough)


def planned(source: MatrixSource, memory: int = PLENTY, scratch: Path | None = None) -> LogDeterminant:
    """Return the answer of the whole ladder of methods."""
    return log_determinant(source, LogdetSettings(memory=memory, threads=1, scratch=scratch))


def rounding(outcome: Outcome) -> dict[str, float]:
    values: dict[str, float] = outcome.evidence["rounding"]
    return values


def _source(n: int = N, seed: int = 0, nugget: float = 1e-3) -> Shifted:
    points = torch.rand(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Shifted(MaternMatrix(points, nu=1.5, length=0.1), nugget)


def _rotated(values: torch.Tensor, seed: int = 0) -> TensorSource:
    n = len(values)
    generator = torch.Generator().manual_seed(seed)
    Q = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))[0]
    A = (Q * values) @ Q.T
    return TensorSource((A + A.T) / 2, symmetric=True)


def test_in_core_and_by_tiles_agree_with_the_dense_answer(tmp_path: Path) -> None:
    dense = _source().dense()
    wanted = 2 * torch.linalg.cholesky(dense).diagonal().log().cumsum(0)
    told: list[tuple[int, int]] = []
    for memory, in_core in ((PLENTY, True), (TILES, False)):
        found = exact(
            _source(), memory=memory, scratch=tmp_path / "s", progress=lambda *now: told.append(now)
        )
        assert found.refusal is None
        assert (found.place is Place.IN_MEMORY, found.sign) == (in_core, 1)
        assert found.evidence["negative_eigenvalues"] == 0
        assert found.minors is not None
        assert len(found.minors) == N
        assert found.logdet == pytest.approx(float(wanted[-1]), rel=1e-12)
        torch.testing.assert_close(found.minors, wanted, rtol=1e-12, atol=1e-12)
        assert found.work["planned_memory_bytes"] <= memory
        assert told[-1] == (found.work["tiles"], found.work["tiles"])
        assert rounding(found)["likely"] < rounding(found)["bound"] < 1e-3
        assert not found.cautions
        assert not (tmp_path / "s").exists()
        assert (found.work["scratch_bytes_written"] > 0) is not in_core
    needed, scratch, _ = exact_bytes(N, TILES)
    assert found.work["planned_memory_bytes"] == needed
    assert found.work["scratch_bytes_written"] <= scratch


def test_what_was_read_is_what_was_planned(tmp_path: Path) -> None:
    found = exact(_source(), memory=TILES, scratch=tmp_path / "s")
    assert found.work["scratch_bytes_read"] == exact_bytes(N, TILES)[2]


WATCHED = """
import sys, threading
from pathlib import Path
import torch
from rmtaudit.engine.logdet.exact import Resources, exact_logdet
from rmtaudit.engine.sources import open_source
from rmtaudit.matrices.sources import TensorSource

def anonymous():
    with open("/proc/self/status") as status:
        return next(1024 * int(line.split()[1]) for line in status if line.startswith("RssAnon"))

folder, memory = Path(sys.argv[1]), int(sys.argv[2])
warm = TensorSource(torch.eye(700, dtype=torch.float64), symmetric=True)
exact_logdet(warm, Resources(memory=2_000_000, scratch=folder / "warm"))
source = open_source(str(folder / "a.npy"))
before, peak, over = anonymous(), [0], threading.Event()
def watch():
    while not over.wait(0.002):
        peak[0] = max(peak[0], anonymous() - before)
watcher = threading.Thread(target=watch)
watcher.start()
found = exact_logdet(source, Resources(memory=memory, scratch=folder / "s"))
over.set()
watcher.join()
print(peak[0], found.work["tiles"])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="anonymous pages are counted on Linux")
def test_anonymous_memory_keeps_to_the_request(tmp_path: Path) -> None:
    n, memory = 2500, 8_000_000
    np.save(tmp_path / "a.npy", _source(n).dense().numpy())
    one = dict(os.environ, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
    command = [sys.executable, "-c", WATCHED, str(tmp_path), str(memory)]
    peaks = []
    for _ in range(3):  # on a busy machine the allocator keeps arenas of threads, which are not the method's
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=one)
        peak, tiles = (int(word) for word in done.stdout.split())
        assert tiles > 1
        peaks.append(peak)
        if peak <= 1.2 * memory:
            break
    assert 0.5 * memory < min(peaks) <= 1.2 * memory


def test_it_ends_where_the_minors_are_enough(tmp_path: Path) -> None:
    whole = exact(_source())
    seen: list[int] = []

    def enough(minors: torch.Tensor) -> bool:
        seen.append(len(minors))
        return len(minors) > 200

    found = exact(_source(), memory=TILES, scratch=tmp_path / "s", enough=enough)
    assert found.refusal is None
    assert (found.logdet, found.sign) == (None, None)
    assert seen == sorted(seen)
    assert found.minors is not None
    assert len(found.minors) == seen[-1] < N
    assert whole.minors is not None
    torch.testing.assert_close(found.minors, whole.minors[: len(found.minors)], rtol=1e-12, atol=1e-12)
    assert not (tmp_path / "s").exists()


def test_a_signal_stops_it_and_it_goes_on(tmp_path: Path) -> None:
    whole = exact(_source(), memory=TILES, scratch=tmp_path / "s")

    def interrupt(done: int, total: int) -> None:  # noqa: ARG001
        if done == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with (
        until_signalled() as stop,
        pytest.raises(StoppedWorkError, match="finished tiles are kept") as raised,
    ):
        exact(_source(), memory=TILES, scratch=tmp_path / "s", stop=stop, progress=interrupt)
    assert signal.getsignal(signal.SIGTERM) is before
    assert raised.value.kept
    again = exact(_source(), memory=TILES, scratch=tmp_path / "s", resume=True)
    assert again.work["tiles_resumed"] == 5
    assert again.logdet == whole.logdet
    assert torch.equal(again.minors, whole.minors)  # type: ignore[arg-type]
    assert not (tmp_path / "s").exists()


def test_it_goes_on_with_more_memory_and_not_with_less(tmp_path: Path) -> None:
    def fail(done: int, total: int) -> None:  # noqa: ARG001
        if done == 3:
            raise RuntimeError

    whole = exact(_source(), memory=TILES + 600_000, scratch=tmp_path / "s")
    with pytest.raises(RuntimeError):
        exact(_source(), memory=TILES + 600_000, scratch=tmp_path / "s", progress=fail)
    with pytest.raises(UsageError, match="RA-LD-012"):
        exact(_source(), memory=TILES, scratch=tmp_path / "s", resume=True)
    with pytest.raises(UsageError, match="RA-LD-012"):
        exact(_source(seed=1), memory=PLENTY, scratch=tmp_path / "s", resume=True)
    found = exact(_source(), memory=PLENTY, threads=2, scratch=tmp_path / "s", resume=True)
    assert (found.work["tiles_resumed"], found.place) == (3, Place.ON_DISK)
    assert found.work["tiles"] == whole.work["tiles"]
    assert found.logdet == pytest.approx(whole.logdet, rel=1e-13)


def test_an_error_in_the_middle_keeps_what_is_finished(tmp_path: Path) -> None:
    def fail(done: int, total: int) -> None:  # noqa: ARG001
        if done == 3:
            raise RuntimeError("from outside")

    with pytest.raises(RuntimeError, match="from outside"):
        exact(_source(), memory=TILES, scratch=tmp_path / "s", progress=fail)
    assert exact(_source(), memory=TILES, scratch=tmp_path / "s", resume=True).work["tiles_resumed"] == 3


def test_an_indefinite_matrix_goes_on_to_ldlt_and_says_where_cholesky_failed() -> None:
    values = torch.linspace(0.5, 2, 60, dtype=torch.float64)
    values[::7] *= -1
    source = _rotated(values)
    found = planned(source)
    assert (found.status, found.method) == ("ok", Method.LDLT)
    assert found.evidence["negative_eigenvalues"] == 9
    assert found.sign == -1
    assert found.logdet == pytest.approx(float(values.abs().log().sum()), abs=1e-12)
    assert found.minors is None
    failed = exact(source)
    assert failed.refusal is Refusal.NOT_DEFINITE
    assert (failed.logdet, failed.sign) == (None, None)
    k = failed.evidence["failed_minor"]
    assert k == found.evidence["failed_minor"]
    assert k is not None
    dense = source.dense()
    before = dense[: k - 1, : k - 1]
    assert float(torch.linalg.eigvalsh(before)[0]) > 0
    row = dense[k - 1, : k - 1]
    assert failed.evidence["failed_pivot"] == pytest.approx(
        float(dense[k - 1, k - 1] - row @ torch.linalg.solve(before, row)), abs=1e-10
    )
    assert f"leading minor {k}" in failed.reason


def test_an_indefinite_matrix_that_does_not_fit_says_what_ldlt_would_take(tmp_path: Path) -> None:
    source = Shifted(_source(), -0.5)
    found = planned(source, memory=TILES, scratch=tmp_path / "s")
    assert found.refusal is Refusal.NOT_DEFINITE
    assert "outside the tile" in found.reason
    assert found.minors is not None
    assert len(found.minors) == found.evidence["failed_minor"] - 1 > 0
    assert not (tmp_path / "s").exists()
    for method in (Method.LDLT, Method.LU):
        with pytest.raises(UsageError, match="RA-LD-003"):
            exact(source, memory=TILES, method=method)


def test_a_gram_matrix_that_is_singular_is_not_given_a_sign() -> None:
    W = torch.randn(5, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    source = Gram(TensorSource(W), of="columns")
    failed = exact(source)
    assert failed.refusal is Refusal.NOT_DEFINITE
    assert failed.evidence["failed_minor"] >= 6
    found = log_determinant(source, LogdetSettings(threads=1, size=12))
    assert found.refusal is Refusal.SINGULAR
    assert found.sign is None
    assert "pseudo-determinant" in found.reason
    pseudo = by_eigenvalues(facts_of(source), memory=PLENTY)
    assert pseudo.rank == 5
    assert pseudo.refusal is None
    assert pseudo.logdet == pytest.approx(float(torch.linalg.slogdet(W @ W.T)[1]), abs=1e-10)
    assert pseudo.evidence["other_cuts"][1]["rank"] == 5


def test_a_general_matrix_goes_to_lu() -> None:
    A = torch.randn(90, 90, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    sign, logabs = np.linalg.slogdet(A.numpy())
    found = planned(TensorSource(A))
    assert found.method == Method.LU
    assert found.sign == int(sign)
    assert found.logdet == pytest.approx(float(logabs), rel=1e-12)
    with pytest.raises(UsageError, match="RA-MS-004"):
        exact(TensorSource(A))
    with pytest.raises(UsageError, match="RA-MS-004"):
        exact(TensorSource(A[:50]))


def test_an_exactly_singular_matrix_has_no_log_determinant() -> None:
    found = exact(TensorSource(torch.ones(4, 4, dtype=torch.float64).triu(1)), method=Method.LU)
    assert (found.refusal, found.logdet) == (Refusal.SINGULAR, None)


@pytest.mark.parametrize("memory", [PLENTY, TILES])
@pytest.mark.parametrize("where", [(0, 0), (600, 3), (650, 650)])
def test_an_entry_that_is_not_finite_is_an_error(memory: int, where: tuple[int, int], tmp_path: Path) -> None:
    class Broken(TensorSource):  # what is a file or an array is looked at as it is read
        def block_into(self, rows: range, cols: range, out: torch.Tensor) -> None:
            super().block_into(rows, cols, out)
            if where[0] in rows and where[1] in cols:
                out[where[0] - rows.start, where[1] - cols.start] = math.nan

    source = Broken(_source().dense(), symmetric=True)
    with pytest.raises(InputError, match="RA-MS-005"):
        exact(source, memory=memory, scratch=tmp_path / "s")


@pytest.mark.parametrize("memory", [PLENTY, TILES])
def test_a_shift_is_corrected_within_its_bound(memory: int, tmp_path: Path) -> None:
    source = _source()
    truth = exact(source).logdet
    assert truth is not None
    for shift in (1e-9, 1e-7, 1e-6):
        found = exact(source, memory=memory, scratch=tmp_path / "s", shift=shift)
        assert found.logdet is not None
        part = found.evidence["without_shift"]
        assert part["logdet"] == found.logdet + part["correction"]
        slack = 5 * part["standard_error"] + 1e-9
        assert -part["at_most_lower_by"] - slack <= truth - part["logdet"] <= slack
        assert abs(truth - part["logdet"]) < abs(truth - found.logdet)
        assert (part["standard_error"] == 0) is (memory == PLENTY)


def test_a_shift_that_is_too_large_gives_no_value() -> None:
    values = torch.linspace(0.5, 2, 60, dtype=torch.float64)
    values[0] = -0.01
    found = exact(_rotated(values), shift=0.1)
    assert found.evidence["without_shift"]["logdet"] is None
    assert found.logdet == pytest.approx(float((values + 0.1).log().sum()), abs=1e-10)
    for shift, method in ((-0.1, Method.CHOLESKY), (0.1, Method.LU), (math.nan, Method.CHOLESKY)):
        with pytest.raises(UsageError, match="RA-LD-004"):
            exact(_rotated(values), shift=shift, method=method)


def _extended(matrix: torch.Tensor) -> float:
    """Log-determinant of a definite matrix in extended precision."""
    A = matrix.numpy().astype(np.longdouble)
    total = np.longdouble(0)
    for k in range(len(A)):
        total += np.log(A[k, k])
        column = A[k + 1 :, k] / np.sqrt(A[k, k])
        A[k + 1 :, k + 1 :] -= np.outer(column, column)
    return float(total)


@pytest.mark.skipif(bool(np.finfo(np.longdouble).eps > 1e-18), reason="no extended precision here")
@pytest.mark.parametrize("condition", [1e2, 1e6, 1e10])
def test_the_error_is_within_its_bound(condition: float) -> None:
    for seed in range(5):
        values = condition ** -torch.linspace(0, 1, 120, dtype=torch.float64)
        source = _rotated(values, seed)
        found = exact(source)
        assert found.logdet is not None
        error = abs(found.logdet - _extended(source.dense()))
        assert error <= 3 * rounding(found)["likely"]
        assert rounding(found)["likely"] < rounding(found)["bound"]


def test_pivots_at_the_level_of_rounding_are_warned_of() -> None:
    values = torch.ones(80, dtype=torch.float64)
    values[:8] = 1e-15
    found = planned(_rotated(values))
    messages = " ".join(each.message for each in found.cautions)
    if found.method == Method.CHOLESKY:
        assert found.evidence["rounding"]["pivots_at_floor"] > 0
        assert "at the level of rounding" in messages
        assert "no digit is guaranteed" in messages
    else:  # rounding made it indefinite: then LDLᵀ says that its sign is not to be relied on
        assert found.evidence["rounding"]["bound"] == math.inf
    scaled = torch.diag(10.0 ** -torch.arange(0, 80, dtype=torch.float64) / 4)
    harmless = exact(TensorSource(scaled, symmetric=True))  # small pivots where the diagonal is small
    assert rounding(harmless)["pivots_at_floor"] == 0
    assert not harmless.cautions


def test_a_pseudo_determinant_says_when_there_is_no_gap() -> None:
    clear = split_eigenvalues(np.array([0.0, 1e-17, 0.5, 2.0]))
    assert (clear.rank, clear.sign, clear.clear) == (2, 1, True)
    assert clear.logdet == pytest.approx(0.0, abs=1e-15)
    slope = split_eigenvalues(10.0 ** -np.arange(0, 18.0))
    assert not slope.clear
    assert slope.alternatives[0][1] > slope.rank > slope.alternatives[1][1]
    assert split_eigenvalues(np.zeros(3)).rank == 0
    assert split_eigenvalues(np.array([-1.0, 0.0, 3.0])).sign == -1


def test_a_float32_factor_is_corrected() -> None:
    source = _source(400, nugget=1e-6)
    truth = exact(source).logdet
    assert truth is not None
    settings = LogdetSettings(confidence=0.999)
    found = by_mixed(facts_of(source), settings, memory=PLENTY)
    assert found.logdet is not None
    assert found.margin is not None
    assert found.margin.low <= truth <= found.margin.high
    assert found.evidence["standard_error"] < 1e-3 * 400
    assert abs(found.logdet - truth) < abs(found.evidence["factor_logdet"] - truth)
    assert found.evidence["shift_of_the_factor"] == 0
    steep = _rotated(torch.logspace(-10, 0, 60, dtype=torch.float64))  # too much for float32 as it is
    raised = by_mixed(facts_of(steep), settings, memory=PLENTY)
    assert raised.evidence["shift_of_the_factor"] > 0
    assert raised.margin is not None
    assert raised.margin.low <= -300 * math.log(10) <= raised.margin.high
    indefinite = _rotated(torch.linspace(-1, 1, 40, dtype=torch.float64))
    broken = by_mixed(facts_of(indefinite), settings, memory=PLENTY)
    assert broken.refusal is Refusal.NOT_DEFINITE
    assert "breaks down" in broken.reason


def test_what_does_not_fit_is_refused_with_the_bytes() -> None:
    source = _source()
    with pytest.raises(UsageError, match=f"Give --memory {least_memory(N)}"):
        exact(source, memory=10_000)
    with pytest.raises(UsageError, match="RA-LD-002"):
        exact(source, memory=TILES)
    with pytest.raises(UsageError, match="RA-LD-005"):
        by_eigenvalues(facts_of(source), memory=TILES)
    with pytest.raises(UsageError, match="RA-LD-005"):
        by_mixed(facts_of(source), LogdetSettings(), memory=TILES)


def test_a_matrix_of_order_one() -> None:
    one = TensorSource(torch.tensor([[4.0]], dtype=torch.float64), symmetric=True)
    assert exact(one).logdet == pytest.approx(math.log(4))
    negative = TensorSource(torch.tensor([[-4.0]], dtype=torch.float64), symmetric=True)
    assert planned(negative).sign == -1
