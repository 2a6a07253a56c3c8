"""Rows 54 and 1-45 of the hostile corpus, for NumPy's archives and arrays."""

from __future__ import annotations

import importlib.util
import io
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clock import Clock
from hypothesis import given, settings
from hypothesis import strategies as st

import rmtaudit.checkpoints.npz.tensors  # noqa: F401  # start-up is not what the tests measure
from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.errors import InputError


def _load(name: str) -> Any:
    path = Path(__file__).parents[1] / "fuzz" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fuzz = _load("fuzz_npz")
Write = Callable[..., Path]
GOOD = fuzz.npy(np.arange(6, dtype=np.float32).reshape(2, 3))


def archive(entries: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as file:
        for name, data in entries.items():
            file.writestr(name, data)
    return stream.getvalue()


def header(text: str, data: bytes = bytes(24), version: int = 1) -> bytes:
    raw = text.encode("utf-8" if version == 3 else "latin-1")
    length = struct.pack("<H" if version == 1 else "<I", len(raw))
    return b"\x93NUMPY" + bytes([version, 0]) + length + raw + data


def described(descr: str = "'<f4'", fortran: str = "False", shape: str = "(2, 3)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n"


ARRAYS: dict[str, tuple[bytes, str]] = {
    "magic alone": (b"\x93NUMPY\x01\x00", "RA-IN-180"),
    "version 9": (b"\x93NUMPY\x09\x00" + GOOD[8:], "RA-IN-180"),
    "version 0": (b"\x93NUMPY\x00\x00" + GOOD[8:], "RA-IN-180"),
    "header of 4 GiB": (b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(64), "RA-IN-180"),
    "header past the file": (b"\x93NUMPY\x01\x00\xff\x7f" + bytes(64), "RA-IN-181"),
    "not a dictionary": (header("[1, 2]"), "RA-IN-180"),
    "no literal": (header("__import__('os').system('true')"), "RA-IN-180"),
    "nested deeply": (header("(" * 30_000), "RA-IN-180"),
    "signs without end": (header("-" * 60_000 + "1"), "RA-IN-180"),
    "field missing": (header("{'descr': '<f4', 'shape': (2, 3)}"), "RA-IN-180"),
    "field too many": (header(described().replace("}", "'x': 1}")), "RA-IN-180"),
    "negative side": (header(described(shape="(-2, 3)")), "RA-IN-180"),
    "side with a point": (header(described(shape="(2.0, 3)")), "RA-IN-180"),
    "true as a side": (header(described(shape="(True, 6)")), "RA-IN-180"),
    "shape a number": (header(described(shape="6")), "RA-IN-180"),
    "order a number": (header(described(fortran="1")), "RA-IN-180"),
    "shape overflows": (header(described(shape="(4294967296, 4294967296)")), "RA-IN-180"),
    "shape overflows beside zero": (header(described(shape=f"(0, {1 << 62}, {1 << 62})")), "RA-IN-180"),
    "hundred sides": (header(described(shape=f"({'1, ' * 100})")), "RA-IN-180"),
    "values cut short": (GOOD[:-1], "RA-IN-181"),
    "values of 2^62 bytes": (header(described(shape=f"({1 << 60},)")), "RA-IN-181"),
    "bytes behind": (GOOD + b"more", "RA-IN-181"),
    "two arrays": (GOOD + GOOD, "RA-IN-181"),
}


def refused(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        open_checkpoint(path)
    return caught.value


@pytest.mark.parametrize("case", ARRAYS)
@pytest.mark.parametrize("inside", [False, True])
def test_broken_arrays_are_refused(write: Write, case: str, inside: bool) -> None:
    data, code = ARRAYS[case]
    path = write(archive({"w.npy": data}), "m.npz") if inside else write(data, "m.npy")
    clock = Clock()
    tracemalloc.start()
    error = refused(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert error.code == code
    assert "Array 'w'" in error.message or "Array 'm'" in error.message
    assert peak < 8 << 20
    assert clock.seconds() < 0.3


def test_a_bomb_is_refused_before_it_is_unpacked(write: Write) -> None:
    zeros = header(described(shape=f"({1 << 25},)"), bytes(4 << 25))
    path = write(archive({"w.npy": zeros}, zipfile.ZIP_DEFLATED), "m.npz")
    assert path.stat().st_size < 1 << 18
    clock = Clock()
    tracemalloc.start()
    error = refused(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert error.code == "RA-IN-182"
    assert peak < 1 << 20
    assert clock.seconds() < 0.3


def test_many_entries_that_are_a_bomb_together(write: Write) -> None:
    zeros = header(described(shape=f"({1 << 20},)"), bytes(4 << 20))
    data = archive({f"w{i}.npy": zeros for i in range(20)}, zipfile.ZIP_DEFLATED)
    assert refused(write(data, "m.npz")).code == "RA-IN-182"


def test_zeros_that_fit_are_no_bomb(write: Write) -> None:
    zeros = header(described(shape=f"({1 << 20},)"), bytes(4 << 20))
    with open_checkpoint(write(archive({"w.npy": zeros}, zipfile.ZIP_DEFLATED), "m.npz")) as checkpoint:
        assert not checkpoint.read("w").any()


def sizes_changed(data: bytes, unpacked: int) -> bytes:
    """Return the archive with another unpacked size in its directory."""
    at = data.rindex(b"PK\x01\x02")
    return data[: at + 24] + struct.pack("<I", unpacked) + data[at + 28 :]


def test_a_directory_that_lies_about_the_size(write: Write) -> None:
    data = archive({"w.npy": GOOD}, zipfile.ZIP_DEFLATED)
    for unpacked in (0, 11, 100, len(GOOD) - 1, len(GOOD) + 1, 60 << 20):
        assert refused(write(sizes_changed(data, unpacked), "m.npz")).code in {
            "RA-IN-180",
            "RA-IN-181",
            "RA-IN-183",
        }
    longer = header(described(shape="(2, 4)"), bytes(24))  # the directory agrees with the header
    lying = sizes_changed(archive({"w.npy": longer}, zipfile.ZIP_DEFLATED), len(longer) + 8)
    with open_checkpoint(write(lying, "m.npz")) as checkpoint, pytest.raises(InputError) as caught:
        checkpoint.read("w")
    assert caught.value.code == "RA-IN-183"


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_damaged_values_are_noticed(write: Write, method: int) -> None:
    values = np.random.default_rng(1).standard_normal((64, 64)).astype(np.float32)
    data = bytearray(archive({"w.npy": fuzz.npy(values)}, method))
    data[len(data) // 2] ^= 0x10
    with open_checkpoint(write(bytes(data), "m.npz")) as checkpoint, pytest.raises(InputError) as caught:
        checkpoint.read("w")
    assert caught.value.code == "RA-IN-183"


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_named(write: Write, method: int) -> None:
    error = refused(write(archive({"w.npy": GOOD}, method), "m.npz"))
    assert error.code == "RA-IN-184"
    assert f"method {method}" in error.message


def test_an_encrypted_entry(write: Write) -> None:
    data = bytearray(archive({"w.npy": GOOD}))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    assert refused(write(bytes(data), "m.npz")).code == "RA-IN-184"


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("names", "code"),
    [
        (("../../w.npy",), "RA-IN-060"),
        (("/etc/w.npy",), "RA-IN-060"),
        (("C:\\w.npy",), "RA-IN-060"),
        (("a\\..\\w.npy",), "RA-IN-060"),
        (("w.npy", "w.npy"), "RA-IN-059"),
    ],
)
def test_names_that_leave_the_archive(write: Write, names: tuple[str, ...], code: str) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name in names:
            file.writestr(name, GOOD)
    assert refused(write(stream.getvalue(), "m.npz")).code == code


def test_truncated_archives(write: Write) -> None:
    data = archive({"w.npy": GOOD})
    assert refused(write(data[:-30], "m.npz")).code == "RA-IN-056"
    assert refused(write(data + b"more", "m.npz")).code == "RA-IN-062"


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    np.savez(
        tmp_path / "m.npz", w=np.ones((4, 3)), trap=np.array([Trap(), None], dtype=object), allow_pickle=True
    )
    with open_checkpoint(tmp_path / "m.npz") as checkpoint:
        reasons = {spec.name: spec.unreadable for spec in checkpoint.tensors}
        assert reasons["trap"] == "an array of Python objects, which only running a pickle could restore"
        assert checkpoint.read("w").shape == (4, 3)
        with pytest.raises(InputError) as caught:
            checkpoint.read("trap")
        assert caught.value.code == "RA-IN-009"
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["", "\x1b[31mred\r\n::error::", "<b>[bold]|", "\u202ename", "kernel:0"])
def test_odd_names_are_read(write: Write, name: str) -> None:
    with open_checkpoint(write(archive({f"{name}.npy": GOOD}), "m.npz")) as checkpoint:
        assert [spec.name for spec in checkpoint.tensors] == [name]
        assert all(warning.isprintable() for warning in checkpoint.warnings)


def test_a_file_that_changes_is_noticed(write: Write) -> None:
    path = write(archive({"w.npy": GOOD}), "m.npz")
    checkpoint = open_checkpoint(path)
    path.write_bytes(archive({"w.npy": GOOD, "v.npy": GOOD}))
    with pytest.raises(InputError) as caught:
        checkpoint.read("w")
    assert caught.value.code == "RA-IN-007"


def test_nothing_heavy_is_imported_for_headers(write: Write) -> None:
    code = (
        "import sys; from rmtaudit.checkpoints import open_checkpoint; open_checkpoint(sys.argv[1]); "
        "assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    for data, name in ((fuzz.seeds()[1], "m.npz"), (fuzz.seeds()[2], "m.npy")):
        subprocess.run([sys.executable, "-c", code, str(write(data, name))], check=True)


PICKS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=4
)


@settings(max_examples=60)
@given(seed=st.integers(0, 3), picks=PICKS)
def test_mutated_files_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, seed: int, picks: list[tuple[int, int, int]]
) -> None:
    fuzz.target(fuzz.mutate(fuzz.seeds()[seed], picks), tmp_path_factory.getbasetemp())
