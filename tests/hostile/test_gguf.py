"""Rows 62-64 of the hostile corpus: files that call themselves GGUF."""

from __future__ import annotations

import importlib.util
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from clock import Clock
from hypothesis import given, settings
from hypothesis import strategies as st

import rmtaudit.checkpoints.gguf.tensors  # noqa: F401  # start-up is not what the tests measure
from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.checkpoints.files import FileSource
from rmtaudit.checkpoints.gguf import header as parsing
from rmtaudit.checkpoints.gguf.header import Header, parse_header
from rmtaudit.errors import InputError


def _load(name: str) -> Any:
    path = Path(__file__).parents[1] / "fuzz" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fuzz = _load("fuzz_gguf")
Tensor, build, fact, text = fuzz.Tensor, fuzz.build, fuzz.fact, fuzz.text
Write = Callable[..., Path]

W = Tensor("w.weight", (2, 4), 0, bytes(range(32)))
V = Tensor("v.weight", (2, 4), 0, bytes(32))


def key(name: str | bytes, kind: int) -> bytes:
    return text(name) + struct.pack("<I", kind)


def array(kind: int, count: int) -> bytes:
    return key("a", 9) + struct.pack("<IQ", kind, count)


NESTED = key("a", 9) + struct.pack("<IQ", 9, 1) * 2000
FILES: dict[str, tuple[bytes, str]] = {
    "cut after the magic": (b"GGUF\3\0\0\0", "RA-IN-100"),
    "version 0": (build([W], version=0), "RA-IN-101"),
    "version 1": (build([W], version=1), "RA-IN-101"),
    "version 99": (build([W], version=99), "RA-IN-101"),
    "big-endian": (struct.pack(">4sI2Q", b"GGUF", 3, 0, 0), "RA-IN-102"),
    "tensor count 2^60": (build([W], counts=(1 << 60, 0)), "RA-IN-103"),
    "tensor count of a larger file": (build([W], counts=(9000, 0)), "RA-IN-103"),
    "key count 2^60": (build([W], counts=(1, 1 << 60)), "RA-IN-103"),
    "key count of a larger file": (build([W], counts=(1, 90_000)), "RA-IN-103"),
    "key of 2^63 bytes": (build(facts=[struct.pack("<Q", 1 << 63) + bytes(64)]), "RA-IN-104"),
    "key past the file": (build(facts=[struct.pack("<Q", 60_000) + bytes(64)]), "RA-IN-100"),
    "key not UTF-8": (build(facts=[key(b"\xff", 4) + bytes(4)]), "RA-IN-104"),
    "string of 2^63 bytes": (build(facts=[key("a", 8) + struct.pack("<Q", 1 << 63)]), "RA-IN-100"),
    "string past the file": (build(facts=[key("a", 8) + struct.pack("<Q", 1 << 20)]), "RA-IN-100"),
    "array of 2^40 numbers": (build(facts=[array(4, 1 << 40)]), "RA-IN-100"),
    "array of 2^63 bytes": (build(facts=[array(0, 1 << 63)]), "RA-IN-100"),
    "array of 2^40 strings": (build(facts=[array(8, 1 << 40)]), "RA-IN-105"),
    "array of three million strings": (build(facts=[array(8, 3_000_000)]), "RA-IN-100"),
    "arrays nested 2000 times": (build(facts=[NESTED]), "RA-IN-105"),
    "array of an unknown type": (build(facts=[array(77, 1) + bytes(8)]), "RA-IN-106"),
    "value of an unknown type": (build(facts=[key("a", 13) + bytes(8)]), "RA-IN-106"),
    "key twice": (build(facts=[fact("a", 4, 1), fact("a", 4, 2)]), "RA-IN-107"),
    "alignment 0": (build([W], [fact("general.alignment", 4, 0)]), "RA-IN-108"),
    "alignment 7": (build([W], [fact("general.alignment", 4, 7)]), "RA-IN-108"),
    "alignment 2^40": (build([W], [fact("general.alignment", 10, 1 << 40)]), "RA-IN-108"),
    "alignment a string": (build([W], [fact("general.alignment", 8, "32")]), "RA-IN-108"),
    "alignment a number with a point": (build([W], [fact("general.alignment", 6, 32.0)]), "RA-IN-108"),
    "five sides": (build([W], sides={"w.weight": (1, 1, 1, 2, 4)}), "RA-IN-109"),
    "10^9 sides": (
        build([W]).replace(struct.pack("<I2Q", 2, 4, 2), struct.pack("<I2Q", 10**9, 4, 2)),
        "RA-IN-109",
    ),
    "sizes overflow": (build([W], sides={"w.weight": (1 << 40, 1 << 40)}), "RA-IN-110"),
    "sizes wrap to zero": (build([W], sides={"w.weight": (1 << 32, 1 << 32)}), "RA-IN-110"),
    "sizes overflow beside zero": (build([W], sides={"w.weight": (0, 1 << 62, 1 << 62)}), "RA-IN-110"),
    "negative size": (build([W], sides={"w.weight": (2, (1 << 64) - 4)}), "RA-IN-110"),
    "negative offset": (build([W], offsets={"w.weight": (1 << 64) - 32}), "RA-IN-110"),
    "unknown type": (build([W._replace(kind=97)]), "RA-IN-111"),
    "type of 32 bits": (build([W._replace(kind=(1 << 32) - 1)]), "RA-IN-111"),
    "type that was removed": (build([W._replace(kind=31)]), "RA-IN-111"),
    "row no multiple of the block": (build([W._replace(kind=2)]), "RA-IN-112"),
    "single number of a block type": (build([W._replace(kind=12, shape=())]), "RA-IN-112"),
    "offset not aligned": (build([W, V], offsets={"v.weight": 33}, end=bytes(32)), "RA-IN-113"),
    "overlap": (build([W, V._replace(shape=(4, 4), data=bytes(64))], offsets={"w.weight": 32}), "RA-IN-114"),
    "same place": (build([W, V], offsets={"v.weight": 0}), "RA-IN-114"),
    "offset past the file": (build([W], offsets={"w.weight": 1 << 40}), "RA-IN-115"),
    "values cut short": (build([W])[:-1], "RA-IN-115"),
    "no values at all": (build([W])[:-32], "RA-IN-115"),
    "values of 2^40 bytes": (build([W], sides={"w.weight": (1 << 20, 1 << 18)}), "RA-IN-115"),
    "two tensors of one name": (build([W, W]), "RA-IN-116"),
    "tensor name of 2^63 bytes": (
        build([W]).replace(text("w.weight"), struct.pack("<Q", 1 << 63)),
        "RA-IN-104",
    ),
    "tensor name not UTF-8": (build([W]).replace(b"w.weight", b"\xff.weight"), "RA-IN-104"),
}


def refused(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        open_checkpoint(path)
    return caught.value


@pytest.mark.parametrize("case", FILES)
def test_broken_headers_are_refused(write: Write, case: str) -> None:
    data, code = FILES[case]
    clock = Clock()
    tracemalloc.start()
    error = refused(write(data, "m.gguf"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert error.code == code
    assert error.where == "m.gguf"
    assert peak < 2 << 20
    assert clock.seconds() < 0.3


def test_another_magic_number_is_no_gguf_file(write: Write) -> None:
    assert refused(write(b"FUGG" + build([W])[4:], "m.gguf")).code == "RA-IN-018"
    assert "GGML" in refused(write(b"tjgg" + build([W])[4:], "m.gguf")).message


def test_a_sparse_file_of_strings_is_given_up_early(tmp_path: Path) -> None:
    """Each string is long, so that a parser reads far more than it keeps; the file takes no room on disk."""
    path = tmp_path / "m.gguf"
    count, length = 3_000_000, 1 << 16
    with path.open("wb") as file:
        file.write(build(facts=[array(8, count)])[: 24 + len(array(8, count))])
        at = 24 + len(array(8, count))
        for index in range(8192):
            file.seek(at + index * (8 + length))
            file.write(struct.pack("<Q", length))
        file.truncate(at + count * (8 + length))
    clock = Clock()
    assert refused(path).code == "RA-IN-118"
    assert clock.seconds() < 3


@pytest.mark.parametrize(
    "name", ["", "a\0b", "\x1b[31mred\r\n::error::", "<b>[bold]|", "\u202ename", "n" * 5000]
)
def test_odd_names_are_read_with_a_warning(write: Write, name: str) -> None:
    with open_checkpoint(write(build([W._replace(name=name)]), "m.gguf")) as checkpoint:
        (spec,) = checkpoint.tensors
        assert spec.name == name
        assert checkpoint.read(name).shape == (2, 4)
        odd = not name or len(name) > 1000 or not name.isprintable()
        assert len(checkpoint.warnings) == odd
        assert all(warning.isprintable() for warning in checkpoint.warnings)


def test_bytes_that_belong_to_no_tensor_are_a_warning(write: Write) -> None:
    with open_checkpoint(write(build([W], end=bytes(100)), "m.gguf")) as checkpoint:
        assert "100 bytes follow the last tensor, at position 128" in checkpoint.warnings[0]
    data = build([W, V._replace(data=bytes(96))], offsets={"v.weight": 96})
    with open_checkpoint(write(data, "m.gguf")) as checkpoint:
        assert "between 1 tensors" in checkpoint.warnings[0]


def test_empty_tensors_and_no_tensors(write: Write) -> None:
    empty = Tensor("e.weight", (0, 4), 0, b"")
    with open_checkpoint(write(build([empty, W]), "m.gguf")) as checkpoint:
        assert checkpoint.read("e.weight").shape == (0, 4)
    for kind in (2, 12, 41):
        for shape in ((4, 0), (0, 256), (0,), (2, 0, 256), (0, 0)):
            path = write(build([Tensor("e.weight", shape, kind, b""), W]), "m.gguf")
            with open_checkpoint(path) as checkpoint:
                assert checkpoint.read("e.weight").shape == shape
                assert checkpoint.read_band("e.weight", 0, 0).shape == (0, *shape[1:])
    with open_checkpoint(write(build(), "m.gguf")) as checkpoint:
        assert checkpoint.tensors == ()


def test_a_file_that_changes_is_noticed(write: Write) -> None:
    path = write(build([W]), "m.gguf")
    checkpoint = open_checkpoint(path)
    path.write_bytes(build([W], end=bytes(8)))
    with pytest.raises(InputError) as caught:
        checkpoint.read("w.weight")
    assert caught.value.code == "RA-IN-007"
    with pytest.raises(InputError):
        checkpoint.close()


def test_thirty_thousand_tensors_open_quickly(write: Write) -> None:
    many = [Tensor(f"blk.{i}.ffn_up.weight", (1, 8), 0, bytes(32)) for i in range(30_000)]
    head = [text(t.name) + struct.pack("<I2QIQ", 2, 8, 1, 0, 32 * i) for i, t in enumerate(many)]
    data = struct.pack("<4sI2Q", b"GGUF", 3, len(many), 0) + b"".join(head)
    path = write(data + bytes(-len(data) % 32) + bytes(32 * len(many)), "m.gguf")
    clock = Clock()
    with open_checkpoint(path) as checkpoint:
        assert len(checkpoint.tensors) == len(many)
    assert clock.seconds() < 3


def test_nothing_heavy_is_imported_for_a_header(write: Write) -> None:
    path = write(fuzz.seeds()[0], "m.gguf")
    code = (
        "import sys; from rmtaudit.checkpoints import open_checkpoint; open_checkpoint(sys.argv[1]); "
        "assert not {'torch', 'numpy', 'gguf'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)


PICKS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 1200), st.integers(0, 255)), min_size=1, max_size=4
)


@settings(max_examples=120)
@given(seed=st.integers(0, 3), picks=PICKS)
def test_mutated_files_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, seed: int, picks: list[tuple[int, int, int]]
) -> None:
    fuzz.target(fuzz.mutate(fuzz.seeds()[seed], picks), tmp_path_factory.getbasetemp())


def test_the_seeds_are_valid(write: Write) -> None:
    for data in fuzz.seeds():
        with open_checkpoint(write(data, "m.gguf")) as checkpoint:
            assert checkpoint.warnings == ()
            for spec in checkpoint.tensors:
                checkpoint.read(spec.name)


MANY = build([Tensor(f"blk.{i}.{'n' * (90 * i)}", (2, 4), 0, bytes(32)) for i in range(8)]) + bytes(600)


def parsed(path: Path) -> Header | tuple[str, str]:
    source = FileSource(path)
    try:
        return parse_header(source)
    except InputError as error:
        return error.code, error.message
    finally:
        source.abandon()


@settings(max_examples=150)
@given(changes=st.lists(st.tuples(st.integers(24, 3000), st.integers(0, 255)), max_size=3))
def test_entries_read_together_are_those_read_one_by_one(
    changes: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = bytearray(MANY)
    for at, value in changes:
        data[at] = value
    path = tmp_path_factory.getbasetemp() / "many.gguf"
    path.write_bytes(data)
    together = parsed(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parsing, "_regular_entries", lambda *_: [])
        assert parsed(path) == together
