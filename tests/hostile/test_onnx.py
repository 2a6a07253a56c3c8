"""Hostile and broken ONNX models: row 66 of the corpus, and the rows that are about every container."""

from __future__ import annotations

import importlib.util
import os
import struct
import tracemalloc
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from clock import Clock
from hypothesis import given, settings
from hypothesis import strategies as st

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.errors import ChangedError, CorruptError, InputError, UnsafeError


def _load(name: str) -> Any:
    path = Path(__file__).parents[1] / "fuzz" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fuzz = _load("fuzz_onnx")
chunk, number, tensor, node, graph, model = (
    fuzz.chunk, fuzz.number, fuzz.tensor, fuzz.node, fuzz.graph, fuzz.model
)  # fmt: skip

Write = Callable[..., Path]


def single(*tensors: bytes) -> bytes:
    made: bytes = model(graph([node("MatMul", ["x", "w"], ["y"])], tensors))
    return made


def outcome(path: Path) -> InputError | None:
    """Open a file and read all of it; return the refusal, and let any other exception out."""
    try:
        with open_checkpoint(path) as checkpoint:
            for spec in checkpoint.tensors:
                if spec.unreadable is None:
                    assert tuple(checkpoint.read(spec.name).shape) == spec.shape
    except InputError as error:
        return error
    return None


def deep(levels: int) -> bytes:
    inner = graph([node("Relu", ["x"], ["y"])])
    for _ in range(levels):
        inner = graph([node("If", ["x"], ["y"], fuzz.graph_attribute("then_branch", inner))])
    made: bytes = model(inner)
    return made


FLOATS = fuzz.floats(6)
GOOD = tensor("w", [2, 3], raw=FLOATS)

FEWER_CODES = model(
    graph(
        [node("DequantizeLinear", ["q", "s"], ["y"])],
        [tensor("q", [2, 2], fuzz.INT4, rest=chunk(5, b"\xff\1")), tensor("s", [], raw=FLOATS[:4])],
    )
)

FILES: dict[str, tuple[bytes, str]] = {
    "truncated": (single(GOOD)[:-30], "RA-IN-120"),
    "no graph behind the version": (b"\x08\x08\x12\x07pytorch" + bytes(64), "RA-IN-120"),
    "a length of 2^63": (model(b"")[:-9] + chunk(1, "")[:1] + b"\xff" * 8 + b"\x7f", "RA-IN-120"),
    "a number of 11 bytes": (single(number(1, 2)[:1] + b"\xff" * 11), "RA-IN-120"),
    "two graphs": (single(GOOD) + chunk(7, graph()), "RA-IN-121"),
    "too few values": (single(tensor("w", [2, 4], raw=FLOATS)), "RA-IN-124"),
    "too many values": (single(tensor("w", [2, 2], raw=FLOATS)), "RA-IN-124"),
    "no values": (single(tensor("w", [2, 3])), "RA-IN-124"),
    "a negative side": (single(tensor("w", [-2, 3], raw=FLOATS)), "RA-IN-123"),
    "a shape that overflows": (single(tensor("w", [1 << 40, 1 << 40])), "RA-IN-123"),
    "a shape that wraps to nothing": (single(tensor("w", [1 << 32, 1 << 32], raw=b"")), "RA-IN-123"),
    "an overflow beside nothing": (single(tensor("w", [0, 1 << 62, 1 << 62], raw=b"")), "RA-IN-123"),
    "a terabyte of nothing": (single(tensor("w", [1 << 38], fuzz.INT8)), "RA-IN-124"),
    "65 sides": (single(tensor("w", [1] * 65, raw=FLOATS[:4])), "RA-IN-123"),
    "an unknown data type": (single(tensor("w", [2, 3], 99, raw=FLOATS)), "RA-IN-123"),
    "values of two kinds": (single(tensor("w", [2, 3], raw=FLOATS, rest=chunk(4, FLOATS))), "RA-IN-124"),
    "values of another type": (single(tensor("w", [2, 3], rest=chunk(7, b"\1" * 6))), "RA-IN-124"),
    "floats that are cut": (single(tensor("w", [2, 3], rest=chunk(4, FLOATS[:-1]))), "RA-IN-124"),
    "whole numbers that are cut": (
        single(tensor("w", [3], fuzz.INT64, rest=chunk(7, b"\1\1\xff"))), "RA-IN-125"),
    "fewer numbers than bytes": (
        single(tensor("w", [3], fuzz.INT64, rest=chunk(7, b"\1\xff\1"))), "RA-IN-125"),
    "fewer codes than bytes": (FEWER_CODES, "RA-IN-125"),
    "a name twice": (single(GOOD, GOOD), "RA-IN-126"),
    "100 graphs in one another": (deep(100), "RA-IN-122"),
    "location: nothing": (single(fuzz.external("w", [2, 3])), "RA-IN-127"),
    "location: up": (single(fuzz.external("w", [2, 3], location="../data")), "RA-IN-127"),
    "location: up from below": (single(fuzz.external("w", [2, 3], location="a/../../data")), "RA-IN-127"),
    "location: absolute": (single(fuzz.external("w", [2, 3], location="/etc/passwd")), "RA-IN-127"),
    "location: a drive": (single(fuzz.external("w", [2, 3], location="C:data")), "RA-IN-127"),
    "location: a share": (single(fuzz.external("w", [2, 3], location="\\\\host\\data")), "RA-IN-127"),
    "location: backslashes": (single(fuzz.external("w", [2, 3], location="..\\data")), "RA-IN-127"),
    "location: a NUL": (single(fuzz.external("w", [2, 3], location="data\0")), "RA-IN-127"),
    "location: memory": (single(fuzz.external("w", [2, 3], location="*/_ORT_MEM_ADDR_/*")), "RA-IN-129"),
    "location: missing": (single(fuzz.external("w", [2, 3], location="absent")), "RA-IN-129"),
    "location: a folder": (single(fuzz.external("w", [2, 3], location="folder")), "RA-IN-129"),
    "location: a FIFO": (single(fuzz.external("w", [2, 3], location="fifo")), "RA-IN-129"),
    "offset: no number": (single(fuzz.external("w", [2, 3], location="data", offset="-8")), "RA-IN-128"),
    "offset: past the end": (
        single(fuzz.external("w", [2, 3], location="data", offset="64", length="24")), "RA-IN-128"),
    "offset: 10^19": (
        single(fuzz.external("w", [2, 3], location="data", offset="9" * 19, length="24")), "RA-IN-128"),
    "offset: a thousand digits": (
        single(fuzz.external("w", [2, 3], location="data", offset="9" * 999)), "RA-IN-128"),
    "length: past the end": (
        single(fuzz.external("w", [32, 8], location="data", length="1024")), "RA-IN-128"),
    "length: another": (single(fuzz.external("w", [2, 3], location="data", length="23")), "RA-IN-128"),
    "length: the rest, another": (single(fuzz.external("w", [2, 3], location="data")), "RA-IN-128"),
    "linked file": (single(fuzz.external("w", [2, 3], location="linked", length="24")), "RA-IN-081"),
    "linked folder": (single(fuzz.external("w", [2, 3], location="parent/secret", length="24")), "RA-IN-081"),
    "hard link": (single(fuzz.external("w", [2, 3], location="hard", length="24")), "RA-IN-130"),
    "dangling link": (single(fuzz.external("w", [2, 3], location="dangling", length="24")), "RA-IN-129"),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with what external data may name: a file, links of all kinds, a FIFO."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(bytes(64))
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "data").write_bytes(bytes(64))
    (inside / "folder").mkdir()
    (inside / "linked").symlink_to(outside / "secret")
    (inside / "parent").symlink_to(outside)
    (inside / "dangling").symlink_to("nowhere")
    (outside / "other").write_bytes(bytes(64))
    os.link(outside / "other", inside / "hard")
    os.mkfifo(inside / "fifo")
    return inside


@pytest.mark.parametrize("case", FILES)
def test_a_broken_file_is_refused_with_its_code(case: str, folder: Path) -> None:
    data, code = FILES[case]
    path = folder / "m.onnx"
    path.write_bytes(data)
    clock = Clock()
    error = outcome(path)
    assert error is not None
    assert error.code == code, str(error)
    assert error.where == "m.onnx" or code == "RA-IN-081"
    assert clock.seconds() < 0.3


def test_a_refusal_names_tensor_position_and_rule(folder: Path) -> None:
    path = folder / "m.onnx"
    path.write_bytes(single(tensor("w\x1b[31m", [2, 4], raw=FLOATS)))
    error = outcome(path)
    assert isinstance(error, CorruptError)
    assert "Tensor 'w\\x1b[31m': 24 bytes of values, but its shape needs 32 (at position" in error.message


def test_a_link_inside_the_folder_and_one_of_a_cache_are_followed(tmp_path: Path) -> None:
    data = single(fuzz.external("w", [2, 3], location="weights", length="24"))
    (tmp_path / "m.onnx").write_bytes(data)
    (tmp_path / "blob").write_bytes(bytes(24))
    (tmp_path / "weights").symlink_to("blob")
    assert outcome(tmp_path / "m.onnx") is None
    snapshot = tmp_path / "models--org--name" / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    blobs = tmp_path / "models--org--name" / "blobs"
    blobs.mkdir()
    for name, content in (("m.onnx", data), ("weights", bytes(24))):
        (blobs / f"of-{name}").write_bytes(content)
        (snapshot / name).symlink_to(f"../../blobs/of-{name}")
    assert outcome(snapshot / "m.onnx") is None


def test_a_file_that_changes_is_noticed(folder: Path) -> None:
    path = folder / "m.onnx"
    path.write_bytes(
        single(fuzz.external("w", [2, 3], location="data", length="24"), tensor("v", [2], raw=bytes(8)))
    )
    checkpoint = open_checkpoint(path)
    (folder / "data").write_bytes(bytes(80))
    with pytest.raises(ChangedError):
        checkpoint.read("w")
    checkpoint.read("v")
    with pytest.raises(ChangedError):
        checkpoint.check_unchanged()
    with pytest.raises(ChangedError):
        checkpoint.close()


def test_circles_and_long_chains_come_to_an_end(write: Write) -> None:
    circle = [
        node("Identity", ["a"], ["b"]),
        node("Identity", ["b"], ["a"]),
        node("MatMul", ["x", "a"], ["y"]),
    ]
    names = ["w", *(f"n{i}" for i in range(3000))]
    chain = [node("Identity", [one], [other]) for one, other in pairwise(names)]
    doubled = [node("Concat", [f"c{i}", f"c{i}"], [f"c{i + 1}"], fuzz.integer("axis", 0)) for i in range(60)]
    doubled += [node("MatMul", ["x", "c60"], ["z"])]
    body = graph(
        [*circle, *chain, node("MatMul", ["x", "n2999"], ["y2"]), *doubled],
        [GOOD, tensor("c0", [2, 3], raw=FLOATS)],
    )
    clock = Clock()
    assert outcome(write(model(body), "m.onnx")) is None
    assert clock.seconds() < 3  # the first read imports torch


def test_functions_that_call_each_other_come_to_an_end(write: Write) -> None:
    """A function of ten calls of the next, twenty deep, is 10^20 operators."""
    functions = b""
    for level in range(20):
        calls = b"".join(chunk(7, node(f"f{level + 1}", ["a"], [f"o{i}"], domain="d")) for i in range(10))
        functions += chunk(25, chunk(1, f"f{level}") + chunk(4, "a") + chunk(10, "d") + calls)
    functions += chunk(
        25,
        chunk(1, "loop") + chunk(4, "a") + chunk(10, "d") + chunk(7, node("loop", ["a"], ["b"], domain="d")),
    )
    body = graph([node("f0", ["w"], ["y"], domain="d"), node("loop", ["w"], ["z"], domain="d")], [GOOD])
    clock = Clock()
    assert outcome(write(model(body, functions), "m.onnx")) is None
    assert clock.seconds() < 3


def test_many_tensors_are_read_in_seconds(write: Write) -> None:
    tensors = [tensor(f"t{index}", [1], raw=b"\0\0\0\0") for index in range(5_000)]
    path = write(model(graph([], tensors)), "m.onnx")
    clock = Clock()
    with open_checkpoint(path) as checkpoint:
        assert len(checkpoint.tensors) == 5_000
    assert clock.seconds() < 3


def test_memory_is_bounded_by_what_is_read(write: Write) -> None:
    large = tensor("large", [1 << 22], raw=bytes(1 << 24))
    path = write(single(large, GOOD), "m.onnx")
    outcome(write(single(GOOD), "small.onnx"))  # imports
    tracemalloc.start()
    with open_checkpoint(path) as checkpoint:
        checkpoint.read("w")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 21


@pytest.mark.parametrize(
    "name", ["", "a\0b", "\x1b[31mred", "\r\n::error::", "[bold]", "<script>", "x" * 60_000]
)
def test_names_are_text_to_be_printed_with_care(name: str, write: Write) -> None:
    with open_checkpoint(write(single(tensor(name, [2, 3], raw=FLOATS)), "m.onnx")) as checkpoint:
        assert [spec.name for spec in checkpoint.tensors] == [name]


def test_a_model_without_a_matrix_is_opened(write: Write) -> None:
    assert outcome(write(single(), "m.onnx")) is None
    assert (
        outcome(write(single(tensor("w", [0, 3], raw=b""), tensor("s", [], raw=FLOATS[:4])), "m.onnx"))
        is None
    )


def test_its_name_does_not_matter(write: Write) -> None:
    with open_checkpoint(write(single(GOOD), "m.bin")) as checkpoint:
        assert checkpoint.format == "onnx"
    with pytest.raises(UnsafeError, match="The file name indicates safetensors"):
        open_checkpoint(write(single(GOOD), "m.safetensors"))


@settings(max_examples=40)
@given(seed=st.integers(0, 3), picks=st.lists(st.integers(0, 1 << 16), min_size=3, max_size=12))
def test_mutations_are_read_or_refused(
    seed: int, picks: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    fuzz.target(fuzz.mutate(fuzz.seeds()[seed], picks), tmp_path_factory.getbasetemp())


def test_the_seeds_are_valid(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(struct.pack("<16f", *range(16)))
    for data in fuzz.seeds():
        path = tmp_path / "seed.onnx"
        path.write_bytes(data)
        assert outcome(path) is None
