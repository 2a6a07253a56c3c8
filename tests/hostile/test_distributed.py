"""Row 67 of the hostile corpus: ``.metadata`` is a pickle, and its shards may point anywhere."""

from __future__ import annotations

import os
import pickle
import shutil
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from clock import Clock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)

from rmtaudit.checkpoints import open_checkpoint
from rmtaudit.checkpoints.dcp.chunks import Chunk, check_tiling
from rmtaudit.errors import CorruptError, InputError, UnsafeError

DATA = Path(__file__).parents[1] / "data" / "dcp"
Edit = Callable[[Metadata], object]


class Calls:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(DATA / "two_ranks", tmp_path / "c")


def edit(folder: Path, change: Edit) -> Path:
    """Change the metadata as torch reads it, and write it back."""
    path = folder / ".metadata"
    metadata = pickle.loads(path.read_bytes())
    change(metadata)
    path.write_bytes(pickle.dumps(metadata))
    return folder


def read_all(folder: Path) -> None:
    with open_checkpoint(folder) as checkpoint:
        for spec in checkpoint.tensors:
            if spec.unreadable is None:
                assert tuple(checkpoint.read(spec.name).shape) == spec.shape


def refused(folder: Path) -> InputError:
    clock = Clock()
    with pytest.raises(InputError) as caught:
        read_all(folder)
    assert clock.seconds() < 1
    assert str(caught.value).isprintable()
    return caught.value


def test_code_in_the_metadata_is_refused_and_does_not_run(folder: Path, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    edit(folder, lambda m: setattr(m, "planner_data", Calls(os.system, f"touch {witness}")))
    error = refused(folder)
    assert isinstance(error, UnsafeError)
    assert error.code == "RA-IN-040"
    assert not witness.exists()


@pytest.mark.parametrize("value", [pickle.PickleBuffer, time.struct_time, Path.cwd().__class__])
def test_names_that_have_no_business_there(folder: Path, value: Any) -> None:
    edit(folder, lambda m: setattr(m, "planner_data", value))
    if value.__module__ in {"pathlib", "pathlib._local"}:  # the id of a checkpoint is a path
        open_checkpoint(folder).close()
        return
    assert refused(folder).code in {"RA-IN-190", "RA-IN-040"}


@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("../out.distcp", "RA-IN-078"),
        ("/etc/passwd", "RA-IN-078"),
        ("C:\\x.distcp", "RA-IN-078"),
        ("\\\\host\\x.distcp", "RA-IN-078"),
        ("", "RA-IN-078"),
        ("a\0b", "RA-IN-078"),
        ("absent.distcp", "RA-IN-080"),
        ("x" * 300, "RA-IN-080"),
    ],
)
def test_shards_outside_the_folder(folder: Path, file: str, code: str) -> None:
    def move(metadata: Metadata) -> None:
        next(iter(metadata.storage_data.values())).relative_path = file

    assert refused(edit(folder, move)).code == code


def test_a_shard_that_is_a_link_out(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / "__0_0.distcp", tmp_path / "elsewhere")
    (folder / "__0_0.distcp").symlink_to(tmp_path / "elsewhere")
    assert refused(folder).code == "RA-IN-081"


def tensor(metadata: Metadata, name: str = "model.a.weight") -> Any:
    return metadata.state_dict_metadata[name]


def chunk(metadata: Metadata, name: str = "model.a.weight", number: int = 1) -> ChunkStorageMetadata:
    found: ChunkStorageMetadata = tensor(metadata, name).chunks[number]
    return found


def place(metadata: Metadata, name: str = "model.a.weight", number: int = 1) -> _StorageInfo:
    home: _StorageInfo = metadata.storage_data[MetadataIndex(name, chunk(metadata, name, number).offsets)]
    return home


BROKEN: dict[str, tuple[Edit, str]] = {
    "a chunk is missing": (lambda m: tensor(m).chunks.pop(), "RA-IN-193"),
    "a chunk twice": (
        lambda m: tensor(m).chunks.append(chunk(m)),
        "RA-IN-193",
    ),
    "the tensor is larger": (
        lambda m: setattr(tensor(m), "size", torch.Size([34, 16])),
        "RA-IN-193",
    ),
    "the tensor is smaller": (
        lambda m: setattr(tensor(m), "size", torch.Size([32, 16])),
        "RA-IN-193",
    ),
    "sizes overflow": (
        lambda m: setattr(tensor(m), "size", torch.Size([2**62, 2**62])),
        "RA-IN-193",
    ),
    "a chunk is wider": (lambda m: setattr(chunk(m), "sizes", torch.Size([16, 17])), "RA-IN-193"),
    "a different number of dimensions": (
        lambda m: setattr(chunk(m), "sizes", torch.Size([256])),
        "RA-IN-193",
    ),
    "negative size": (lambda m: setattr(chunk(m), "sizes", (-1, 16)), "RA-IN-189"),
    "sizes no integers": (lambda m: setattr(chunk(m), "sizes", (1.5, 16)), "RA-IN-189"),
    "not stored": (lambda m: m.storage_data.pop(next(iter(m.storage_data))), "RA-IN-189"),
    "past the end": (lambda m: setattr(place(m), "length", 10**9), "RA-IN-193"),
    "far offset": (lambda m: setattr(place(m), "offset", 2**60), "RA-IN-193"),
    "negative offset": (lambda m: setattr(place(m), "offset", -8), "RA-IN-193"),
    "too short": (lambda m: setattr(place(m), "length", 100), "RA-IN-193"),
    "overlapping ranges": (lambda m: setattr(place(m), "offset", place(m).offset + 64), "RA-IN-193"),
    "offset no integer": (lambda m: setattr(place(m), "offset", "0"), "RA-IN-189"),
    "another dtype": (
        lambda m: setattr(tensor(m).properties, "dtype", torch.float16),
        "RA-IN-193",
    ),
    "no storage": (lambda m: setattr(m, "storage_data", None), "RA-IN-189"),
    "no tensors": (lambda m: setattr(m, "state_dict_metadata", [1]), "RA-IN-189"),
}


@pytest.mark.parametrize("row", BROKEN)
def test_metadata_that_contradicts_the_files(folder: Path, row: str) -> None:
    change, code = BROKEN[row]
    error = refused(edit(folder, change))
    assert error.code == code


def test_another_chunk_in_the_place_of_one(folder: Path) -> None:
    def swap(metadata: Metadata) -> None:
        one, other = place(metadata), place(metadata, "model.b.weight")
        one.__dict__, other.__dict__ = other.__dict__, one.__dict__

    assert "is not the one that the metadata describes" in refused(edit(folder, swap)).message


@pytest.mark.parametrize("data", [b"", b"\x80\x04N.", b"\x80\x04}\x94.", b"not a pickle", b"\x80\x04K\x01."])
def test_metadata_that_is_none(folder: Path, data: bytes) -> None:
    (folder / ".metadata").write_bytes(data)
    assert isinstance(refused(folder), CorruptError)


def test_sizes_take_no_memory(tmp_path: Path) -> None:
    size = torch.Size([2**20, 2**20])
    box = ChunkStorageMetadata(torch.Size([0, 0]), size)
    metadata = Metadata(
        {
            "w": TensorStorageMetadata(TensorProperties(torch.float32), size, [box]),
            "n": BytesStorageMetadata(),
        },
        storage_data={MetadataIndex("w", [0, 0]): _StorageInfo("__0_0.distcp", 0, 2**42)},
    )
    (tmp_path / ".metadata").write_bytes(pickle.dumps(metadata))
    (tmp_path / "__0_0.distcp").write_bytes(bytes(1000))
    tracemalloc.start()
    error = refused(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert error.code == "RA-IN-193"
    assert peak < 2_000_000


def test_transformed_chunks_are_listed_and_not_read(folder: Path) -> None:
    def compress(metadata: Metadata) -> None:
        place(metadata, number=0).transform_descriptors = ["zstd"]

    with open_checkpoint(edit(folder, compress)) as checkpoint:
        reasons = {spec.name: spec.unreadable for spec in checkpoint.tensors}
        assert reasons["a.weight"] == "stored through zstd"
        assert reasons["b.weight"] is None


def test_very_many_chunks() -> None:
    size = 64
    boxes = [
        Chunk(offsets=(row, column), sizes=(1, 1), place=None)
        for row in range(size)
        for column in range(size)
    ]
    clock = Clock()
    check_tiling("w", (size, size), boxes, "here")
    assert clock.seconds() < 2
    for change in (boxes[:-1], [*boxes[:-1], boxes[0]], [*boxes, boxes[7]]):
        with pytest.raises(CorruptError):
            check_tiling("w", (size, size), change, "here")


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_tiling_is_what_covers_every_index_once(data: Any) -> None:
    """Boxes drawn at random, against a count of how often each index is covered."""
    sides = data.draw(st.integers(1, 3))
    shape = tuple(data.draw(st.integers(1, 4)) for _ in range(sides))
    boxes = []
    if data.draw(st.booleans()):  # a true tiling: the whole, split again and again
        pieces = [((0,) * sides, shape)]
        for _ in range(data.draw(st.integers(0, 4))):
            offsets, sizes = pieces.pop(data.draw(st.integers(0, len(pieces) - 1)))
            side = data.draw(st.integers(0, sides - 1))
            cut = data.draw(st.integers(0, sizes[side]))
            for first, size in ((0, cut), (cut, sizes[side] - cut)):
                pieces.append(
                    (
                        tuple(o + first * (i == side) for i, o in enumerate(offsets)),
                        tuple(size if i == side else n for i, n in enumerate(sizes)),
                    )
                )
        boxes = [Chunk(offsets=offsets, sizes=sizes, place=None) for offsets, sizes in pieces]
    else:
        for _ in range(data.draw(st.integers(0, 5))):
            offsets = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
            sizes = tuple(data.draw(st.integers(0, n - o)) for n, o in zip(shape, offsets, strict=True))
            boxes.append(Chunk(offsets=offsets, sizes=sizes, place=None))
    count = torch.zeros(shape)
    for box in boxes:
        count[tuple(slice(o, o + n) for o, n in zip(box.offsets, box.sizes, strict=True))] += 1
    if bool((count == 1).all()):
        check_tiling("w", shape, boxes, "here")
    else:
        with pytest.raises(CorruptError):
            check_tiling("w", shape, boxes, "here")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_mutation_opens_or_raises_input_error(folder: Path, data: Any) -> None:
    file = data.draw(st.sampled_from([".metadata", "__0_0.distcp", "__1_0.distcp"]))
    whole = (DATA / "two_ranks" / file).read_bytes()
    changed = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(len(changed) - 1, 0)))
        if data.draw(st.booleans()) and changed:
            changed[at] = data.draw(st.integers(0, 255))
        else:
            changed[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    (folder / file).write_bytes(bytes(changed))
    try:
        read_all(folder)
    except InputError as error:
        text = str(error)
    else:
        text = ""
    finally:
        (folder / file).write_bytes(whole)
    assert not text or text.isprintable()
