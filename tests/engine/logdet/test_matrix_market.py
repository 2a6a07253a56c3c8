"""Matrix Market files: what is read, and what is refused before memory is taken."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import scipy.io
import scipy.sparse

import rmtaudit
from rmtaudit.engine.density import DensitySettings
from rmtaudit.engine.density.blocks import open_file
from rmtaudit.engine.sources import SourceOptions, open_source
from rmtaudit.errors import CorruptError, InputError, UsageError
from rmtaudit.matrices.sources import MatrixSource

HEAD = "%%MatrixMarket matrix "


def written(folder: Path, text: str) -> str:
    (folder / "a.mtx").write_text(text, encoding="utf-8")
    return str(folder / "a.mtx")


def dense(path: str) -> np.ndarray:
    source = open_source(path)
    try:
        found: np.ndarray = source.dense().numpy()
        return found
    finally:
        source.close()


@pytest.mark.parametrize("symmetry", ["general", "symmetric", "skew-symmetric"])
@pytest.mark.parametrize("kind", ["coordinate", "array"])
@pytest.mark.parametrize("field", ["real", "integer"])
def test_what_scipy_writes_is_read(
    kind: str, symmetry: Literal["general", "symmetric", "skew-symmetric"], field: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    A = rng.integers(-9, 9, (7, 7)).astype(float if field == "real" else int) * (rng.random((7, 7)) < 0.5)
    if symmetry == "symmetric":
        A = A + A.T
    if symmetry == "skew-symmetric":
        A = A - A.T
    path = tmp_path / "a.mtx"
    scipy.io.mmwrite(path, scipy.sparse.coo_array(A) if kind == "coordinate" else A, symmetry=symmetry)
    assert np.array_equal(dense(str(path)), A)
    source = open_source(str(path))
    assert (type(source).__name__ == "SparseMatrix") == (kind == "coordinate")
    source.close()


def test_a_pattern_has_ones_and_either_triangle_will_do(tmp_path: Path) -> None:
    text = "coordinate pattern symmetric\n% a comment\n\n3 3 3\n1 1\n1 2\n2 3\n"
    assert np.array_equal(dense(written(tmp_path, HEAD + text)), [[1, 1, 0], [1, 0, 1], [0, 1, 0]])


def test_logdet_and_density_take_it(tmp_path: Path) -> None:
    A = scipy.sparse.diags_array([[-1.5] * 99, [2.0] * 100, [-0.5] * 99], offsets=[-1, 0, 1])
    scipy.io.mmwrite(tmp_path / "a.mtx", A)
    answer = rmtaudit.logdet(str(tmp_path / "a.mtx"), threads=1)
    assert answer.logdet == pytest.approx(np.linalg.slogdet(A.toarray())[1])
    W = np.random.default_rng(0).standard_normal((60, 240)) / 15
    scipy.io.mmwrite(tmp_path / "b.mtx", W @ W.T, symmetry="symmetric", precision=17)
    blocks = open_file(str(tmp_path / "b.mtx"), SourceOptions(), DensitySettings(factor=2))
    assert isinstance(blocks, MatrixSource)
    assert blocks.symmetric
    blocks.close()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("coordinate real general\n3 3 999999999999999\n1 1 1\n", "truncated"),
        ("coordinate real general\n3 3 2\n1 1 1\n", "truncated"),
        ("coordinate real general\n2 2 2\n1 1 1\n% 3 3 3 3 3\n", "announced"),
        ("array real general\n1000000 1000000\n1\n", "truncated"),
        ("coordinate real general\n2 2 1\n3 1 1.0\n", "outside"),
        ("coordinate real general\n2 2 1\n0 1 1.0\n", "positive integer"),
        ("coordinate real general\n2 2 1\n1.5 1 1.0\n", "positive integer"),
        ("coordinate real general\n2 2 1\n1 1 x.0\n", "x.0"),
        ("coordinate real general\n2 2 1\n1 1 1.0\n2 2 1.0\n", "announced"),
        ("coordinate real general\n2 2\n1 1 1.0\n", "sizes"),
        ("coordinate real general\n-2 2 1\n1 1 1.0\n", "sizes"),
        ("coordinate real symmetric\n2 3 1\n1 1 1.0\n", "not square"),
        ("coordinate real symmetric\n2 2 2\n1 2 1.0\n2 1 1.0\n", "both"),
        ("coordinate real skew-symmetric\n2 2 1\n1 1 1.0\n", "diagonal"),
        ("coordinate quaternion general\n2 2 1\n1 1 1.0\n", "quaternion"),
        ("array pattern general\n1 1\n1\n", "pattern"),
        ("coordinate real\n", "first line"),
        ("coordinate real general", "first line"),
        ("coordinate real general\n% nothing", "sizes"),
    ],
)
def test_hostile_files_are_refused(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(CorruptError, match=words) as caught:
        open_source(written(tmp_path, HEAD + text))
    assert caught.value.code == "RA-MS-016"


def test_sizes_beyond_memory_are_refused_before_it_is_taken(tmp_path: Path) -> None:
    text = HEAD + "coordinate real general\n999999999999 999999999999 1\n1 1 1.0\n"
    with pytest.raises(InputError, match="memory"):
        open_source(written(tmp_path, text))


def test_complex_numbers_and_overflow_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="complex"):
        open_source(written(tmp_path, HEAD + "coordinate complex general\n1 1 1\n1 1 1 1\n"))
    with pytest.raises(InputError, match="infinite"):
        open_source(written(tmp_path, HEAD + "coordinate real general\n1 1 1\n1 1 1e999\n"))
    (tmp_path / "b.mtx").write_bytes(b"garbage\n")
    with pytest.raises(CorruptError, match="RA-MS-016"):
        open_source(tmp_path / "b.mtx")
    with pytest.raises(UsageError, match="RA-MS-034"):
        open_source(written(tmp_path, HEAD + "array real general\n1 1\n1\n") + "::x")
