from __future__ import annotations

import os
import pickle
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rmtaudit.errors import CorruptError, InputError, UnsafeError
from rmtaudit.matrices.samples import Sign, read_samples

ROOT = Path(__file__).resolve().parents[2]


def refusal(path: Path, sign: Sign = "any") -> InputError:
    with pytest.raises(InputError) as caught:
        read_samples(path, sign=sign)
    assert caught.value.where == str(path)
    return caught.value


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def saved(path: Path, values: Any) -> Path:
    np.save(path, values)
    return path


@settings(max_examples=60, deadline=None)
@given(
    values=hnp.arrays(
        st.sampled_from(["<f8", ">f8", "<f4", ">f2", "<i8", ">i4", "u1", "<u2"]),
        st.integers(1, 30),
        elements={"allow_nan": False, "allow_infinity": False},
    )
)
def test_every_real_dtype_and_byte_order(values: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = saved(tmp_path_factory.mktemp("samples") / "x.npy", values)
    found = read_samples(path)
    assert found.numpy().dtype == np.float64
    np.testing.assert_array_equal(found.numpy(), values.astype(np.float64))


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20),
    separator=st.sampled_from(["\n", "\r\n", ",", "; ", "\t", " ", ",\t"]),
    heading=st.sampled_from(["", "eigenvalue\n", "# saved by hand\n", "\ufeff\n", "\n\n"]),
)
def test_text_comes_back_to_the_last_digit(
    values: list[float], separator: str, heading: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = heading + separator.join(map(repr, values)) + "\n"
    path = written(tmp_path_factory.mktemp("samples") / "x.csv", text)
    np.testing.assert_array_equal(read_samples(path).numpy(), np.array(values))


def test_fortran_order_and_version_two(tmp_path: Path) -> None:
    values = np.arange(5.0)
    path = tmp_path / "x.npy"
    with path.open("wb") as file:
        np.lib.format.write_array(file, values, version=(2, 0))
    assert read_samples(path).tolist() == values.tolist()


def test_the_values_outlive_the_file(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.npy", np.arange(1000.0))
    values = read_samples(path)
    os.truncate(path, 0)  # under a map this would end the process
    assert values.sum().item() == 499500


@pytest.mark.parametrize(
    ("values", "code", "words"),
    [
        (np.zeros((3, 4)), "RA-SA-006", "(3, 4)"),
        (np.float64(3), "RA-SA-006", "()"),
        (np.zeros(3, complex), "RA-SA-005", "complex"),
        (np.zeros(3, bool), "RA-SA-005", "truth"),
        (np.array(["1"]), "RA-SA-005", "U1"),
        (np.zeros(3, [("a", "f8")]), "RA-SA-005", "real numbers"),
        (np.zeros(3, "M8[s]"), "RA-SA-005", "real numbers"),
        (np.zeros(0), "RA-SA-007", "no values"),
        (np.array([1, np.nan, np.inf]), "RA-SA-008", "2 of 3 values are not finite; the first is number 2"),
        (np.array([np.finfo(np.longdouble).max]), "RA-SA-008", "inf"),
    ],
)  # fmt: skip
def test_what_is_no_list_of_finite_numbers(tmp_path: Path, values: Any, code: str, words: str) -> None:
    error = refusal(saved(tmp_path / "x.npy", values))
    assert error.code == code
    assert words in error.message


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    path = tmp_path / "x.npy"
    np.save(path, np.array([Bomb()], dtype=object), allow_pickle=True)
    error = refusal(path)
    assert isinstance(error, UnsafeError)
    assert error.code == "RA-SA-012"
    assert refusal(written(tmp_path / "y.npy", pickle.dumps(Bomb()))).code == "RA-SA-003"
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "RA-SA-003"),
        (b"\x93NUMPY", "RA-SA-003"),
        (b"\x93NUMPY\x01\x00\xff\xff{", "RA-SA-003"),
        (b"\x93NUMPY\x09\x00v\x00{", "RA-SA-003"),
        (b"PK\x03\x04" + bytes(50), "RA-SA-003"),
    ],
)
def test_no_header(tmp_path: Path, content: bytes, code: str) -> None:
    error = refusal(written(tmp_path / "x.npy", content))
    assert isinstance(error, CorruptError)
    assert error.code == code


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': 3, }",
        "{'descr': 'nonsense', 'fortran_order': False, 'shape': (3,), }",
        "{'descr': '<f8', 'shape': (3,), }",
        "__import__('os').abort()",
        "(" * 5000,
    ],
)
def test_a_damaged_header(tmp_path: Path, header: str) -> None:
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(24)
    assert refusal(written(tmp_path / "x.npy", data)).code == "RA-SA-003"


def test_a_size_larger_than_the_file_takes_no_memory(tmp_path: Path) -> None:
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (4611686018427387904,), }"
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(24)
    assert refusal(written(tmp_path / "x.npy", data)).code == "RA-SA-004"


@pytest.mark.parametrize("change", [-1, 1])
def test_cut_short_or_appended_to(tmp_path: Path, change: int) -> None:
    path = saved(tmp_path / "x.npy", np.arange(9.0))
    os.truncate(path, path.stat().st_size + change)
    error = refusal(path)
    assert (error.code, isinstance(error, CorruptError)) == ("RA-SA-004", True)


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("", "RA-SA-007", "no values"),
        ("eigenvalue\n", "RA-SA-007", "no values"),
        ("a\nb\n1\n", "RA-SA-010", "Line 2: 'b'"),
        ("1\n2\nthree\n", "RA-SA-010", "Line 3: 'three'"),
        ("1\n1_000\n", "RA-SA-010", "1_000"),
        ("1,,2\n", "RA-SA-010", "''"),
        ("1.0,2\n3,4\n", "RA-SA-011", "2 columns"),
        ("name,value\na,1\n", "RA-SA-010", "'a'"),
        ("1.5\n2.5,3\n", "RA-SA-011", "2 columns"),
        ("1\nnan\n", "RA-SA-008", "number 2"),
        ("1\n1e999\n", "RA-SA-008", "inf"),
        ("1\n\xff\x1b[31m\n", "RA-SA-010", "\\x1b"),
    ],
)
def test_text_that_is_no_list(tmp_path: Path, text: str, code: str, words: str) -> None:
    error = refusal(written(tmp_path / "x.txt", text.encode("latin-1")))
    assert error.code == code
    assert words in error.message


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("1,5735\n1,9733\n2\n", "sed 's/,/./g' FILE"),
        ("value\n1,5735\n1,9733\n", "sed 's/,/./g' FILE"),
        ("2\n1,5\n", "sed 's/,/./g' FILE"),
        ("1,5e-3\n-1,9e2\n", "sed 's/,/./g' FILE"),
        ("1,5;2,5;3\n", "sed 's/,/./g' FILE"),
        ("1,5 2,5\n", "sed 's/,/./g' FILE"),
        ("0;1,5\n1;2,5\n2;3,5\n", "sed 's/,/./g' FILE"),
        ("1.234,56\n2.345,67\n", r"sed 's/\.//g; s/,/./g' FILE"),
    ],
)
def test_decimal_commas_are_named_and_never_read_as_columns(tmp_path: Path, text: str, hint: str) -> None:
    error = refusal(written(tmp_path / "x.csv", text.encode()))
    assert error.code == "RA-SA-014"
    assert "decimal commas" in error.message
    assert hint in (error.hint or "")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (",0\n0,1.5\n1,1.9\n2,1.1\n", "awk -F',' 'NR>1 {print $2}'"),
        ("0,1.5\n1,1.9\n2,1.1\n", "awk -F',' '{print $2}'"),
        ("i;x\n1;1.5\n2;1.9\n3;1.1\n", "awk -F';' 'NR>1 {print $2}'"),
        ("0\t3\n1\t1\n2\t7\n", "awk '{print $2}'"),
        ('"","x"\n"1",1.5\n"2",1.9\n"3",1.1\n', "awk -F',' 'NR>1 {print $2}'"),
        ("0,5\n1,9\n2,1\n", "awk -F',' '{print $2}'"),  # whole numbers with an index
    ],
)
def test_a_column_that_counts_the_rows_is_named(tmp_path: Path, text: str, hint: str) -> None:
    error = refusal(written(tmp_path / "x.csv", text.encode()))
    assert error.code == "RA-SA-016"
    assert hint in (error.hint or "")


@pytest.mark.skipif(shutil.which("awk") is None, reason="no awk")
@pytest.mark.parametrize("start", [",0\n", "", "index,value\n"])
def test_the_advice_for_an_index_keeps_the_values(tmp_path: Path, start: str) -> None:
    values = [1.5, 1.9, 1.1, 0.25]
    path = written(
        tmp_path / "x.csv", start + "".join(f"{index},{value}\n" for index, value in enumerate(values))
    )
    command = (refusal(path).hint or "").partition(": ")[2]
    command = command.replace("FILE", str(path)).replace("values.txt", str(tmp_path / "values.txt"))
    subprocess.run(command, shell=True, check=True)
    assert read_samples(tmp_path / "values.txt").tolist() == values


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_text_of_two_or_four_bytes_a_character_is_named(tmp_path: Path, encoding: str) -> None:
    error = refusal(written(tmp_path / "x.csv", "1.5\n2.5\n".encode(encoding)))
    assert error.code == "RA-SA-015"
    assert "UTF-16" in error.message
    assert "iconv" in (error.hint or "")


def test_lists_of_whole_numbers_are_no_decimal_commas(tmp_path: Path) -> None:
    for text in ("1,2,3\n", "1, 2, 3\n", "1 2 3\n", "1;2;3\n", "1,2, 3,4\n"):
        assert read_samples(written(tmp_path / "x.csv", text))[:3].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("sign", "values", "words"),
    [
        ("nonnegative", [1.0, -1e-12, 0.0], "1 of 3 values are negative; the first is number 2: -1e-12"),
        ("positive", [1.0, -1e-12, 0.0], "2 of 3 values are zero or negative; the first is number 2"),
        ("positive", [0.0], "1 of 1"),
    ],
)
def test_the_wrong_sign(tmp_path: Path, sign: Sign, values: list[float], words: str) -> None:
    path = saved(tmp_path / "x.npy", np.array(values))
    assert read_samples(path).tolist() == values
    error = refusal(path, sign)
    assert error.code == "RA-SA-009"
    assert words in error.message


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    folder = tmp_path / "folder.npy"
    folder.mkdir()
    assert refusal(folder).code == "RA-SA-001"
    assert refusal(tmp_path / "absent.npy").code == "RA-SA-001"
    os.mkfifo(tmp_path / "fifo.npy")
    assert refusal(tmp_path / "fifo.npy").code == "RA-SA-001"
    assert refusal(written(tmp_path / "x.npz", b"PK")).code == "RA-SA-002"
    assert refusal(written(tmp_path / "x", b"1")).code == "RA-SA-002"


def test_a_text_too_large_is_not_read(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", b"1")
    os.truncate(path, (1 << 30) + 1)  # sparse: takes no disk
    assert refusal(path).code == "RA-SA-013"


def test_every_code_is_on_the_page() -> None:
    code = re.compile(r"RA-SA-\d{3}")
    names = ("matrices/samples.py", "matrices/sample_text.py", "engine/samples/ridge_data.py")
    modules = [ROOT / "src/rmtaudit" / name for name in names]
    used = {found for module in modules for found in code.findall(module.read_text())}
    rows = re.findall(
        r"^\| (RA-SA-\d{3}) \| .+ \| .+ \|$", (ROOT / "docs/errors.md").read_text(), re.MULTILINE
    )
    assert rows == sorted(used)
